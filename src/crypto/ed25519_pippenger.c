/* The sum of many multiples of points (ed25519_pippenger.h). */
#include "crypto/ed25519_pippenger.h"

#include "crypto/ed25519_ifma.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SHORT_BITS 128
#define FULL_BITS  255
#define BUCKETS    (1 << (SCALAR_DIGIT_BITS_MAX - 1))
/* Above the highest bit that is set two are kept clear, so that the top digit leaves no carry. */
#define CLEAR_BITS  2
#define WINDOWS_MAX ((FULL_BITS + CLEAR_BITS) / SCALAR_DIGIT_BITS_MIN + 4)

struct pippenger {
    enum ed25519_kernel kernel;
    size_t capacity, full, count;
    const struct point_lanes **points;
    struct scalar *scalars;
    uint8_t *carries;  /* of each term's digits so far into the next window */
    int8_t *digits[2]; /* of the two windows at hand */
    size_t windows;
    struct {
        struct point sum;
        unsigned bits;
    } window[WINDOWS_MAX]; /* from the lowest */
};

void pippenger_destroy(struct pippenger *p)
{
    if (!p)
        return;
    free(p->points);
    free(p->scalars);
    free(p->carries);
    free(p->digits[0]);
    free(p->digits[1]);
    free(p);
}

struct pippenger *pippenger_create(size_t capacity, enum ed25519_kernel kernel)
{
    assert(kernel == ED25519_KERNEL_PORTABLE || kernel == ED25519_KERNEL_IFMA);
    struct pippenger *p = aligned_alloc(_Alignof(struct pippenger), sizeof *p);
    if (!p)
        return NULL;
    memset(p, 0, sizeof *p);
    p->kernel = kernel;
    p->capacity = capacity;
    p->points = malloc(capacity * sizeof *p->points);
    p->scalars = malloc(capacity * sizeof *p->scalars);
    p->carries = malloc(capacity);
    p->digits[0] = malloc(capacity);
    p->digits[1] = malloc(capacity);
    if (p->points && p->scalars && p->carries && p->digits[0] && p->digits[1])
        return p;
    pippenger_destroy(p);
    return NULL;
}

void pippenger_add_full(struct pippenger *p, const struct point_lanes *point,
                        const struct scalar *scalar)
{
    assert(p->count < p->capacity && p->full == p->count && scalar->word[3] >> 63 == 0);
    p->points[p->count] = point;
    p->scalars[p->count] = *scalar;
    p->full = ++p->count;
}

void pippenger_add_short(struct pippenger *p, const struct point_lanes *point,
                         const uint64_t word[2])
{
    assert(p->count < p->capacity);
    p->points[p->count] = point;
    p->scalars[p->count++] = (struct scalar){{word[0], word[1], 0, 0}};
}

/*
 * The cheapest c for `length` bits of `terms` scalars: a window costs an addition for every term
 * and about three (two additions and their caching) for every bucket. Windows are even in number,
 * because the vector kernel takes them by twos.
 */
static unsigned bits_choose(size_t terms, unsigned length, unsigned *windows)
{
    unsigned best = 0;
    size_t best_cost = SIZE_MAX;
    for (unsigned bits = SCALAR_DIGIT_BITS_MIN; bits <= SCALAR_DIGIT_BITS_MAX; bits++) {
        unsigned needed = (length + bits - 1) / bits;
        needed += needed % 2;
        size_t cost = needed * (terms + 3 * ((size_t)1 << (bits - 1)));
        if (cost < best_cost) {
            best = bits;
            best_cost = cost;
            *windows = needed;
        }
    }
    return best;
}

/* out = Σ digits[i]·points[i]: the portable twin of ifma_bucket_sums, of one window. */
static struct point bucket_sum(const struct point_lanes *const *points, size_t count,
                               const int8_t *digits, unsigned bits)
{
    struct point bucket[BUCKETS + 1];
    int buckets = 1 << (bits - 1);
    for (int j = 0; j <= buckets; j++)
        bucket[j] = point_neutral;
    for (size_t i = 0; i < count; i++) {
        int digit = digits[i];
        if (digit > 0) {
            bucket[digit] = point_add(&bucket[digit], points[i]);
        } else if (digit < 0) {
            struct point_lanes negative = point_cache_negate(points[i]);
            bucket[-digit] = point_add(&bucket[-digit], &negative);
        }
    }
    struct point run = point_neutral, sum = point_neutral;
    for (int j = buckets; j >= 1; j--) {
        struct point_lanes at = point_cache(&bucket[j]);
        run = point_add(&run, &at);
        at = point_cache(&run);
        sum = point_add(&sum, &at);
    }
    return sum;
}

/* The sums of the windows of `length` bits from bit `from` on, of the first `terms` terms. Returns
 * the bit after them. */
static unsigned windows_sum(struct pippenger *p, size_t terms, unsigned from, unsigned length)
{
    unsigned windows = 0, bits = bits_choose(terms, length, &windows);
    const struct point_lanes *const *points = p->points;
    const int8_t *const digits[2] = {p->digits[0], p->digits[1]};
    for (unsigned w = 0; w < windows; w += 2, from += 2 * bits) {
        for (size_t i = 0; i < terms; i++)
            for (unsigned half = 0; half < 2; half++)
                p->digits[half][i] =
                    scalar_digit(p->scalars[i].word, from + half * bits, bits, &p->carries[i]);
        struct point sum[2];
        if (p->kernel == ED25519_KERNEL_IFMA) {
            ifma_bucket_sums(points, terms, digits, bits, sum);
        } else {
            sum[0] = bucket_sum(points, terms, digits[0], bits);
            sum[1] = bucket_sum(points, terms, digits[1], bits);
        }
        for (unsigned half = 0; half < 2; half++) {
            assert(p->windows < WINDOWS_MAX);
            p->window[p->windows].sum = sum[half];
            p->window[p->windows++].bits = bits;
        }
    }
    return from;
}

/* From the top, 2^bits·sum + window for every window. */
static struct point windows_join(const struct pippenger *p)
{
    struct point sum = point_neutral;
    for (size_t w = p->windows; w-- > 0;) {
        unsigned bits = p->window[w].bits;
        if (p->kernel == ED25519_KERNEL_IFMA) {
            ifma_shift_add(&sum, bits, &p->window[w].sum);
            continue;
        }
        for (unsigned i = 0; i < bits; i++)
            sum = point_double(&sum);
        struct point_lanes cached = point_cache(&p->window[w].sum);
        sum = point_add(&sum, &cached);
    }
    return sum;
}

struct point pippenger_sum(struct pippenger *p)
{
    memset(p->carries, 0, p->count);
    p->windows = 0;
    unsigned split = windows_sum(p, p->count, 0, SHORT_BITS + CLEAR_BITS);
    if (p->full > 0)
        windows_sum(p, p->full, split, FULL_BITS + CLEAR_BITS - split);
    struct point sum = windows_join(p);
    for (size_t i = 0; i < p->count; i++)
        assert(p->carries[i] == 0);
    p->count = p->full = 0;
    return sum;
}
