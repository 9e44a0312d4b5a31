/* The sum of few multiples of points (ed25519_straus.h). */
#include "crypto/ed25519_straus.h"

#include "base/bytes.h"
#include "crypto/ed25519_ifma.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 64
/* Nonzero digits of a form of `bits`: each but the last is followed by bits - 1 zeros. */
#define DIGITS(bits) (SCALAR_NAF_DIGITS / (bits) + 1)

/* One digit of one scalar: what is added, and after the doublings down to which bit. */
struct part {
    uint16_t at;
    int32_t addend; /* as ifma_sum_rows takes it */
};

struct straus {
    size_t capacity, count;
    const struct point_lanes **points;
    struct scalar *scalars;
    struct part *parts; /* of one term after the other, */
    size_t part_count;
    int32_t *addends; /* … and from bit 0 on; those of bit i from row[i] to row[i + 1] */
    uint32_t row[SCALAR_NAF_DIGITS + 1];
    struct point_lanes *table; /* the neutral element; odd multiples of B; of each point */
};

void straus_destroy(struct straus *s)
{
    if (!s)
        return;
    free(s->points);
    free(s->scalars);
    free(s->parts);
    free(s->addends);
    free(s->table);
    free(s);
}

struct straus *straus_create(size_t capacity)
{
    struct straus *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    size_t parts = DIGITS(POINT_BASE_ODD_BITS) + capacity * DIGITS(POINT_ODD_BITS);
    size_t entries = 1 + POINT_BASE_ODD + align_up(capacity, IFMA_LANES) * POINT_ODD;
    s->capacity = capacity;
    s->points = malloc((capacity + 1) * sizeof *s->points);
    s->scalars = malloc((capacity + 1) * sizeof *s->scalars);
    s->parts = malloc(parts * sizeof *s->parts);
    s->addends = malloc(parts * sizeof *s->addends);
    s->table = aligned_alloc(ALIGNMENT, align_up(entries * sizeof *s->table, ALIGNMENT));
    if (!s->points || !s->scalars || !s->parts || !s->addends || !s->table) {
        straus_destroy(s);
        return NULL;
    }
    s->table[0] = point_cache(&point_neutral);
    memcpy(&s->table[1], point_base_odd(), POINT_BASE_ODD * sizeof *s->table);
    return s;
}

void straus_add(struct straus *s, const struct point_lanes *point, const struct scalar *scalar)
{
    assert(s->count < s->capacity);
    s->points[s->count] = point;
    s->scalars[s->count++] = *scalar;
}

/* The odd multiples of all points. */
static void multiples_make(struct straus *s, size_t first)
{
    for (size_t at = 0; at < s->count; at += IFMA_LANES) {
        const struct point_lanes *points[IFMA_LANES];
        for (size_t j = 0; j < IFMA_LANES; j++)
            points[j] = s->points[at + j < s->count ? at + j : at];
        ifma_odd_multiples(points, (struct point_lanes(*)[POINT_ODD]) & s->table[first]);
        first += IFMA_LANES * POINT_ODD;
    }
}

/* The digits of one scalar, whose point's odd multiples stand from `first` on. */
static void scalar_spread(struct straus *s, const struct scalar *scalar, unsigned bits,
                          size_t first)
{
    struct scalar_naf_part naf[SCALAR_NAF_PARTS_MAX];
    size_t count = scalar_naf_parts(scalar, bits, naf);
    for (size_t i = 0; i < count; i++) {
        int digit = naf[i].digit, size = digit < 0 ? -digit : digit;
        int32_t entry = (int32_t)first + size / 2;
        s->parts[s->part_count++] = (struct part){naf[i].at, digit < 0 ? -entry : entry};
        s->row[naf[i].at]++;
    }
}

/* Puts the addends into their rows. On entry row[i] is the size of row i. */
static void rows_fill(struct straus *s)
{
    uint32_t next[SCALAR_NAF_DIGITS], end = 0;
    for (size_t i = 0; i < SCALAR_NAF_DIGITS; i++) {
        uint32_t size = s->row[i];
        s->row[i] = next[i] = end;
        end += size;
    }
    s->row[SCALAR_NAF_DIGITS] = end;
    for (size_t i = 0; i < s->part_count; i++)
        s->addends[next[s->parts[i].at]++] = s->parts[i].addend;
}

struct point straus_sum(struct straus *s, const struct scalar *base)
{
    size_t first = 1 + POINT_BASE_ODD;
    multiples_make(s, first);
    memset(s->row, 0, sizeof s->row);
    s->part_count = 0;
    scalar_spread(s, base, POINT_BASE_ODD_BITS, 1);
    for (size_t i = 0; i < s->count; i++)
        scalar_spread(s, &s->scalars[i], POINT_ODD_BITS, first + i * POINT_ODD);
    rows_fill(s);
    s->count = 0;
    return ifma_sum_rows(s->table, s->addends, s->row);
}
