/*
 * rand, random and arc4random for functions: none repeats itself in every call.
 *
 * All calls of a function start from one image of its memory. A generator that was seeded before
 * the image was taken would give each of them the same numbers; so atoll_on_restore, which the host
 * calls after each restore, seeds anew what was seeded. One that was never seeded keeps the
 * sequence that the C standard prescribes for it. arc4random asks the host each time.
 *
 * `atoll build` offers this file to the linker as a library member: it becomes part of a module
 * only if that uses one of these functions. A program with an atoll_on_restore of its own calls
 * atoll_reseed from it. drand48 and its family are the C library's, and are not reseeded.
 */
#include "../include/atoll_random.h"

#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#define WEAK __attribute__((weak))

struct generator {
    uint64_t state;
    uint32_t seeded;
};

static struct generator of_rand = {.state = 1}, of_random = {.state = 1};

/* PCG-XSH-RR over a 64-bit congruential state: 31 bits. */
static uint32_t generator_next(struct generator *generator)
{
    uint64_t state = generator->state;
    generator->state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    uint32_t mixed = (uint32_t)(((state >> 18) ^ state) >> 27), turn = (uint32_t)(state >> 59);
    return ((mixed >> turn) | (mixed << (-turn & 31))) >> 1;
}

static void generator_seed(struct generator *generator, uint64_t seed)
{
    *generator = (struct generator){.state = seed, .seeded = 1};
}

WEAK void srand(unsigned seed)
{
    generator_seed(&of_rand, seed);
}

WEAK int rand(void)
{
    return (int)generator_next(&of_rand);
}

WEAK void srandom(unsigned seed)
{
    generator_seed(&of_random, seed);
}

WEAK long random(void)
{
    return (long)generator_next(&of_random);
}

WEAK void arc4random_buf(void *bytes, size_t len)
{
    /* The host gives at most 256 bytes at once and does not fail. */
    for (size_t done = 0; done < len;) {
        size_t piece = len - done < 256 ? len - done : 256;
        if (getentropy((char *)bytes + done, piece) != 0)
            abort();
        done += piece;
    }
}

WEAK uint32_t arc4random(void)
{
    uint32_t number;
    arc4random_buf(&number, sizeof number);
    return number;
}

WEAK uint32_t arc4random_uniform(uint32_t bound)
{
    uint32_t number;
    if (bound < 2)
        return 0;
    do { /* what lies in the incomplete last stretch would favour small numbers */
        number = arc4random();
    } while (number < -bound % bound);
    return number % bound;
}

void atoll_reseed(void)
{
    uint64_t seeds[2];
    if (!of_rand.seeded && !of_random.seeded)
        return;
    arc4random_buf(seeds, sizeof seeds);
    if (of_rand.seeded)
        generator_seed(&of_rand, seeds[0]);
    if (of_random.seeded)
        generator_seed(&of_random, seeds[1]);
}

void atoll_on_restore(void);
__attribute__((weak, export_name("atoll_on_restore"))) void atoll_on_restore(void)
{
    atoll_reseed();
}
