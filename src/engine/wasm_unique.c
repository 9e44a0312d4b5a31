/*
 * The set: open addressing with linear probing, at most half full.
 *
 * SipHash-1-3 (Aumasson and Bernstein 2012) with the 16 random bytes the kernel gives every process
 * (AT_RANDOM): no system call, since confined compiler processes build sets too.
 */
#include "engine/wasm_unique.h"

#include "base/bytes.h"

#include <stdlib.h>
#include <sys/auxv.h>

#define FIRST_CAPACITY 16u /* power of two */

struct siphash {
    uint64_t v0, v1, v2, v3;
};

static uint64_t rotate_left(uint64_t x, unsigned by)
{
    return x << by | x >> (64 - by);
}

static void siphash_round(struct siphash *s)
{
    s->v0 += s->v1;
    s->v1 = rotate_left(s->v1, 13) ^ s->v0;
    s->v0 = rotate_left(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = rotate_left(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = rotate_left(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = rotate_left(s->v1, 17) ^ s->v2;
    s->v2 = rotate_left(s->v2, 32);
}

static void siphash_word(struct siphash *s, uint64_t word)
{
    s->v3 ^= word;
    siphash_round(s);
    s->v0 ^= word;
}

/* The bytes in words, the last one filled up with zeros, then the length. */
static void siphash_bytes(struct siphash *s, const uint8_t *bytes, uint32_t len)
{
    uint32_t i = 0;
    for (; len - i >= 8; i += 8)
        siphash_word(s, load_u64(bytes + i));
    uint64_t last = 0;
    if (len > i)
        memcpy(&last, bytes + i, len - i);
    siphash_word(s, last);
    siphash_word(s, len);
}

static uint64_t pair_hash(const uint64_t key[2], struct byte_pair pair)
{
    struct siphash s = {
        key[0] ^ 0x736f6d6570736575u,
        key[1] ^ 0x646f72616e646f6du,
        key[0] ^ 0x6c7967656e657261u,
        key[1] ^ 0x7465646279746573u,
    };
    siphash_bytes(&s, pair.first, pair.first_len);
    siphash_bytes(&s, pair.second, pair.second_len);
    s.v2 ^= 0xff;
    for (int i = 0; i < 3; i++)
        siphash_round(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

static bool bytes_equal(const uint8_t *a, const uint8_t *b, uint32_t len)
{
    return len == 0 || memcmp(a, b, len) == 0;
}

static bool pair_equal(struct byte_pair a, struct byte_pair b)
{
    return a.first_len == b.first_len && a.second_len == b.second_len &&
           bytes_equal(a.first, b.first, a.first_len) &&
           bytes_equal(a.second, b.second, a.second_len);
}

bool unique_set_create(struct unique_set *set,
                       struct byte_pair (*pair)(const void *context, uint32_t number),
                       const void *context)
{
    *set = (struct unique_set){.pair = pair, .context = context, .mask = FIRST_CAPACITY - 1};
    const void *random = (const void *)getauxval(AT_RANDOM);
    if (random)
        memcpy(set->key, random, sizeof set->key);
    set->slots = calloc(FIRST_CAPACITY, sizeof *set->slots);
    return set->slots != NULL;
}

/* The slot of the member equal to number, or the free one where it belongs. */
static uint32_t slot_find(const struct unique_set *set, uint32_t number)
{
    struct byte_pair pair = set->pair(set->context, number);
    uint32_t slot = (uint32_t)pair_hash(set->key, pair) & set->mask;
    while (set->slots[slot] != 0 &&
           !pair_equal(set->pair(set->context, set->slots[slot] - 1), pair))
        slot = (slot + 1) & set->mask;
    return slot;
}

static bool set_grow(struct unique_set *set)
{
    uint32_t *old = set->slots, old_mask = set->mask;
    uint32_t *slots = calloc(2 * ((uint64_t)old_mask + 1), sizeof *slots);
    if (!slots)
        return false;
    set->slots = slots;
    set->mask = 2 * old_mask + 1;
    for (uint64_t k = 0; k <= old_mask; k++)
        if (old[k])
            slots[slot_find(set, old[k] - 1)] = old[k];
    free(old);
    return true;
}

uint32_t unique_set_add(struct unique_set *set, uint32_t number)
{
    uint32_t slot = slot_find(set, number);
    if (set->slots[slot])
        return set->slots[slot] - 1;
    if (set->count >= (set->mask + 1) / 4 * 3) {
        if (!set_grow(set))
            return UNIQUE_SET_FULL;
        slot = slot_find(set, number);
    }
    set->slots[slot] = number + 1;
    set->count++;
    return number;
}

void unique_set_destroy(struct unique_set *set)
{
    free(set->slots);
    set->slots = NULL;
}
