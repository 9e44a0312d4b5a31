/* The equation of ZIP-215 for one signature: single checks and the end of a batch's search for the
 * bad ones both come to this. */
#ifndef CRYPTO_ED25519_EQUATION_H
#define CRYPTO_ED25519_EQUATION_H

#include "crypto/ed25519_point.h"

/* 8·(s·B - R - k·A) = 0. vectors: with AVX-512 IFMA, only where ifma_available(). */
bool equation_holds(bool vectors, const struct scalar *s, const struct scalar *k,
                    const struct point *key, const struct point_lanes *commitment);

#endif
