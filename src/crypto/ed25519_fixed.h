/*
 * Multiples of points that are known beforehand, in constant time: of the base point for signing,
 * and with it of the keys whose signatures come again and again (ed25519_known.h). Eight additions
 * for each scalar in each of the eight lanes of AVX-512 vectors, then the sum of the lanes.
 *
 *   s = Σ e[p]·16^p, e[p] in [-8, 8], p = 0 … 63:   lane l sums e[8l + j]·16^(8l + j)·P, j = 0 … 7
 *
 * A scalar may be secret: no branch and no address depends on it. Of a table of all 8·64 multiples
 * every entry is read, and the right one kept, for every digit.
 */
#ifndef CRYPTO_ED25519_FIXED_H
#define CRYPTO_ED25519_FIXED_H

#include "crypto/ed25519_ifma.h"

#define FIXED_STEPS     8 /* digits of a lane */
#define FIXED_MULTIPLES 8 /* of a power: what the size of a digit may be */
#define FIXED_AFFINE    3 /* y - x, y + x, 2d·x·y */

/* Multiple k + 1 of the powers that step j takes: limb by limb of the three coordinates, one lane
 * for each power. */
struct fixed_entry {
    _Alignas(64) uint64_t limb[FIXED_AFFINE][FIELD_LIMBS][IFMA_LANES];
};

/* 60 KiB. */
struct fixed_table {
    struct fixed_entry entry[FIXED_STEPS][FIXED_MULTIPLES];
};

/* Takes 0.3 ms. The point is public. */
void fixed_table_fill(struct fixed_table *, const struct point *);
/* The base point's, made once. */
const struct fixed_table *fixed_table_base(void);

/* Σ scalar[i]·point[i] for little-endian scalars below 2^255. Only where ifma_available(). Any
 * thread. */
struct point ifma_fixed_sum(const struct fixed_table *const *tables, const uint8_t *const *scalars,
                            size_t count);

#endif
