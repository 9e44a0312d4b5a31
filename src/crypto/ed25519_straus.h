/*
 * Σ scalar[i]·point[i] + base·B for a few hundred points at most, by Straus' method: one row of
 * doublings for all of them.
 *
 * Scalars are written in non-adjacent form. From the top bit down the sum is doubled, and what
 * stands there is added to it: odd multiples of the points, from tables that are made eight at a
 * time. So a term costs the making of its table and an addition for every sixth bit, however few
 * terms there are. Of many the tables (1.3 KiB each) fill the caches: then Pippenger's method is
 * cheaper, which has none. With the vector kernel only: ifma_available().
 */
#ifndef CRYPTO_ED25519_STRAUS_H
#define CRYPTO_ED25519_STRAUS_H

#include "crypto/ed25519_point.h"

struct straus;

/* Room for sums of `capacity` terms. NULL when memory is exhausted. */
struct straus *straus_create(size_t capacity);
void straus_destroy(struct straus *);

/* Takes the next term, of a scalar below 2^255. The point must live until the sum is taken. */
void straus_add(struct straus *, const struct point_lanes *, const struct scalar *);
/* The sum of all terms taken, and of base·B, B the base point; no terms are left then. */
struct point straus_sum(struct straus *, const struct scalar *base);

#endif
