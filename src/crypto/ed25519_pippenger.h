/*
 * Σ scalar[i]·point[i] for many points at once, by Pippenger's method with signed windows.
 *
 * Scalars are cut into digits of c bits. Within one window the points are dropped into 2^(c-1)
 * buckets by the size of their digit (a negative digit drops the negative point), and the buckets
 * are summed with their weights; the sums of the windows are joined from the top with c doublings
 * each. c is chosen by the number of points.
 *
 * Batch verification has two kinds of terms: few of full scalars (the base point and the keys) and
 * many of 128-bit coefficients (one for every signature). So the bits fall in two parts, each with
 * its own c: the upper part sees the full terms alone.
 */
#ifndef CRYPTO_ED25519_PIPPENGER_H
#define CRYPTO_ED25519_PIPPENGER_H

#include "crypto/ed25519_batch.h"
#include "crypto/ed25519_point.h"

struct pippenger;

/* Room for sums of `capacity` terms. NULL when memory is exhausted. kernel is PORTABLE, or IFMA
 * where ifma_available(). */
struct pippenger *pippenger_create(size_t capacity, enum ed25519_kernel kernel);
void pippenger_destroy(struct pippenger *);

/* Takes the next term: first all full ones, of scalars below 2^255, then those of coefficients
 * below 2^128. The point must live until the sum is taken. */
void pippenger_add_full(struct pippenger *, const struct point_lanes *, const struct scalar *);
void pippenger_add_short(struct pippenger *, const struct point_lanes *, const uint64_t word[2]);
/* The sum of all terms taken; none are left then. */
struct point pippenger_sum(struct pippenger *);

#endif
