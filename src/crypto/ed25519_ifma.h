/*
 * The vector kernels of batch verification: decoding eight points and making their odd multiples at
 * once, and sums in two halves at once: the buckets of two windows, or the rows of a sum of few.
 * Same values as the portable code, in about a quarter of the time.
 *
 * A vector of 512 bits holds either limb i of eight elements (decoding, odd multiples) or limb i of
 * the four coordinates of two points (sums: two products of eight lanes each, instead of eight of
 * one).
 * Only where ifma_available().
 */
#ifndef CRYPTO_ED25519_IFMA_H
#define CRYPTO_ED25519_IFMA_H

#include "crypto/ed25519_point.h"

#include <stddef.h>

#define IFMA_LANES 8

/* The processor has AVX-512 F, DQ, VL and IFMA, and the system saves its registers. */
bool ifma_available(void);

/* out[i] = a[i]·b[i] and a[i]²; for tests. */
void ifma_multiply(const struct field a[static IFMA_LANES], const struct field b[static IFMA_LANES],
                   struct field out[static IFMA_LANES]);
void ifma_square(const struct field a[static IFMA_LANES], struct field out[static IFMA_LANES]);

/* As point_decode, eight at a time: bit i of the result is set when bytes[i] could be decoded to
 * out[i]. */
unsigned ifma_decode(const uint8_t *const bytes[static IFMA_LANES],
                     struct point out[static IFMA_LANES]);

/* As bucket_sum of ed25519_pippenger.c, for two windows: out[w] = Σ digits[w][i]·points[i]. */
void ifma_bucket_sums(const struct point_lanes *const *points, size_t count,
                      const int8_t *const digits[static 2], unsigned bits,
                      struct point out[static 2]);

/* sum = 2^doublings·sum + addend. */
void ifma_shift_add(struct point *sum, unsigned doublings, const struct point *addend);
/* As point_odd_multiples, for eight points at once. */
void ifma_odd_multiples(const struct point_lanes *const points[static IFMA_LANES],
                        struct point_lanes out[static IFMA_LANES][POINT_ODD]);
/* The sum over i of 2^i times what row i adds: addends[row[i]] up to addends[row[i + 1]]. An addend
 * is the place in the table of a cached point, negative: of which it adds the opposite. Place 0
 * holds the neutral element. */
struct point ifma_sum_rows(const struct point_lanes *table, const int32_t *addends,
                           const uint32_t row[static SCALAR_NAF_DIGITS + 1]);

/* As point_multiply: a·A in one half of the vectors, b·B in the other. */
struct point ifma_multiply_points(const struct scalar *a, const struct point *A,
                                  const struct scalar *b);

#endif
