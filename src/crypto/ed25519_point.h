/*
 * Points of the curve of Ed25519, -x² + y² = 1 + d x² y² modulo p (RFC 8032, section 5.1), in
 * extended coordinates: x = X/Z, y = Y/Z, X·Y = Z·T. The addition formulas are complete: they hold
 * for all points, equal, opposite, neutral or of small order.
 *
 * The right operand of an addition is kept in a cached form, whose coordinates lie lane by lane, so
 * that the vector code of ed25519_ifma.c loads it as it is:
 *
 *   limb i of   lane 0: Y - X | lane 1: Y + X | lane 2: 2d·T | lane 3: 2·Z      (32 bytes, i = 0 …
 * 4)
 *
 * Caching, adding, doubling and encoding take the same steps for all points, because signing uses
 * them. The rest takes variable time: only verification uses it.
 */
#ifndef CRYPTO_ED25519_POINT_H
#define CRYPTO_ED25519_POINT_H

#include "crypto/ed25519_field.h"
#include "crypto/ed25519_scalar.h"

struct point {
    struct field x, y, z, t; /* tight */
};

/* Four field elements, limb by limb; tight. */
struct point_lanes {
    _Alignas(32) uint64_t limb[FIELD_LIMBS][4];
};

extern const struct point point_neutral, point_base;

/*
 * Decodes as ZIP-215 says: the low 255 bits are y modulo p, so y from p to 2^255 - 1 is taken; the
 * top bit is the sign of x, and is ignored where x = 0. False only when no such x exists.
 */
bool point_decode(const uint8_t bytes[static 32], struct point *out);
/* The second half of decoding: y, and root = u v^3 (u v^7)^((p-5)/8) for u = y² - 1, v = d y² + 1;
 * sign is the top bit. */
bool point_decode_finish(const struct field *y, const struct field *root, unsigned sign,
                         struct point *out);
/* The one canonical encoding. */
void point_encode(const struct point *, uint8_t out[static 32]);

struct point_lanes point_cache(const struct point *);
struct point_lanes point_cache_negate(const struct point_lanes *);
struct point point_add(const struct point *, const struct point_lanes *);
struct point point_double(const struct point *);

bool point_is_neutral(const struct point *);
/* 8·point is the neutral element: the point's order divides 8. */
bool point_is_small(const struct point *);
/* out[i] = (2i + 1)·p for i < count: what a non-adjacent form is multiplied with. */
#define POINT_ODD_BITS 5 /* of the form of an arbitrary point's scalar */
#define POINT_ODD      (1 << (POINT_ODD_BITS - 2))
void point_odd_multiples(const struct point *p, struct point_lanes *out, int count);
/* Those of the base point, made once. */
#define POINT_BASE_ODD_BITS 8
#define POINT_BASE_ODD      (1 << (POINT_BASE_ODD_BITS - 2))
const struct point_lanes *point_base_odd(void);
/* a·A + b·B, B the base point. Both scalars below 2^255. */
struct point point_multiply(const struct scalar *a, const struct point *A, const struct scalar *b);

#endif
