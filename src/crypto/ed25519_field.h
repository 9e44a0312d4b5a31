/*
 * The field of Ed25519: integers modulo p = 2^255 - 19, as five limbs of 51 bits.
 *
 *   value = limb[0] + limb[1]·2^51 + limb[2]·2^102 + limb[3]·2^153 + limb[4]·2^204   (mod p)
 *
 * An element has many representations. Two bounds are kept:
 *   tight  every limb < 2^51 + 2^14: what products, squares, differences and field_carry give;
 *   loose  every limb < 2^54: what every operation accepts; a sum of two tight ones is loose.
 * Only field_to_bytes gives the one representation below p. Arithmetic, inverses and bytes take the
 * same steps for all values, because signing uses them; comparisons and roots do not: they serve
 * verification, which knows no secrets. Plain 64-bit arithmetic; ed25519_field_ifma.h computes
 * eight elements at once in the same representation.
 */
#ifndef CRYPTO_ED25519_FIELD_H
#define CRYPTO_ED25519_FIELD_H

#include <stdbool.h>
#include <stdint.h>

#define FIELD_LIMBS     5
#define FIELD_LIMB_BITS 51
#define FIELD_LIMB_MASK ((UINT64_C(1) << FIELD_LIMB_BITS) - 1)

struct field {
    uint64_t limb[FIELD_LIMBS];
};

extern const struct field field_zero, field_one;
/* The curve's d = -121665/121666, and 2d. */
extern const struct field field_d, field_2d;

/* Little-endian; the top bit is ignored, a value from p to 2^255 - 1 is taken modulo p. Tight. */
struct field field_from_bytes(const uint8_t bytes[static 32]);
void field_to_bytes(const struct field *, uint8_t out[static 32]);
/* a^(2^252 - 3), the power that square roots need. */
struct field field_power_2_252_minus_3(const struct field *);
/* 1/a; 0 for 0. */
struct field field_invert(const struct field *);
bool field_equal(const struct field *, const struct field *);
bool field_is_zero(const struct field *);
/* The lowest bit of the value below p: the "sign" of RFC 8032, section 5.1.2. */
unsigned field_is_odd(const struct field *);
/*
 * Chooses a square root of u/v: given r = u v^3 (u v^7)^((p-5)/8), corrects it in place by sqrt(-1)
 * where needed. False when u/v is no square (RFC 8032, section 5.1.3).
 */
bool field_root_settle(const struct field *u, const struct field *v, struct field *r);

/* Any limbs below 2^63 become tight. */
static inline struct field field_carry(struct field a)
{
    struct field out;
    out.limb[0] = (a.limb[0] & FIELD_LIMB_MASK) + 19 * (a.limb[4] >> FIELD_LIMB_BITS);
    for (int i = 1; i < FIELD_LIMBS; i++)
        out.limb[i] = (a.limb[i] & FIELD_LIMB_MASK) + (a.limb[i - 1] >> FIELD_LIMB_BITS);
    return out;
}

/* Of tight ones; loose. */
static inline struct field field_add(const struct field *a, const struct field *b)
{
    struct field out;
    for (int i = 0; i < FIELD_LIMBS; i++)
        out.limb[i] = a->limb[i] + b->limb[i];
    return out;
}

/* Of loose ones; tight. 16p is added so that no limb goes below zero. */
static inline struct field field_subtract(const struct field *a, const struct field *b)
{
    struct field out;
    for (int i = 0; i < FIELD_LIMBS; i++)
        out.limb[i] = a->limb[i] + 16 * (FIELD_LIMB_MASK - (i == 0 ? 18 : 0)) - b->limb[i];
    return field_carry(out);
}

static inline struct field field_negate(const struct field *a)
{
    struct field zero = {{0}};
    return field_subtract(&zero, a);
}

/* Carries five sums below 2^115 into 51-bit limbs. */
static inline struct field field_fold(unsigned __int128 s0, unsigned __int128 s1,
                                      unsigned __int128 s2, unsigned __int128 s3,
                                      unsigned __int128 s4)
{
    struct field out;
    s1 += (uint64_t)(s0 >> FIELD_LIMB_BITS);
    s2 += (uint64_t)(s1 >> FIELD_LIMB_BITS);
    s3 += (uint64_t)(s2 >> FIELD_LIMB_BITS);
    s4 += (uint64_t)(s3 >> FIELD_LIMB_BITS);
    uint64_t low = ((uint64_t)s0 & FIELD_LIMB_MASK) + 19 * (uint64_t)(s4 >> FIELD_LIMB_BITS);
    out.limb[0] = low & FIELD_LIMB_MASK;
    out.limb[1] = ((uint64_t)s1 & FIELD_LIMB_MASK) + (low >> FIELD_LIMB_BITS);
    out.limb[2] = (uint64_t)s2 & FIELD_LIMB_MASK;
    out.limb[3] = (uint64_t)s3 & FIELD_LIMB_MASK;
    out.limb[4] = (uint64_t)s4 & FIELD_LIMB_MASK;
    return out;
}

/* 2^255 = 19 (mod p): what would go into limbs 5 to 8 comes back, times 19, in limbs 0 to 3. */
static inline struct field field_multiply(const struct field *left, const struct field *right)
{
    typedef unsigned __int128 wide;
    const uint64_t *a = left->limb, *b = right->limb;
    uint64_t b1 = 19 * b[1], b2 = 19 * b[2], b3 = 19 * b[3], b4 = 19 * b[4];
    wide s0 =
        (wide)a[0] * b[0] + (wide)a[1] * b4 + (wide)a[2] * b3 + (wide)a[3] * b2 + (wide)a[4] * b1;
    wide s1 =
        (wide)a[0] * b[1] + (wide)a[1] * b[0] + (wide)a[2] * b4 + (wide)a[3] * b3 + (wide)a[4] * b2;
    wide s2 = (wide)a[0] * b[2] + (wide)a[1] * b[1] + (wide)a[2] * b[0] + (wide)a[3] * b4 +
              (wide)a[4] * b3;
    wide s3 = (wide)a[0] * b[3] + (wide)a[1] * b[2] + (wide)a[2] * b[1] + (wide)a[3] * b[0] +
              (wide)a[4] * b4;
    wide s4 = (wide)a[0] * b[4] + (wide)a[1] * b[3] + (wide)a[2] * b[2] + (wide)a[3] * b[1] +
              (wide)a[4] * b[0];
    return field_fold(s0, s1, s2, s3, s4);
}

static inline struct field field_square(const struct field *of)
{
    typedef unsigned __int128 wide;
    const uint64_t *a = of->limb;
    uint64_t twice0 = 2 * a[0], twice1 = 2 * a[1], twice2 = 2 * a[2];
    uint64_t a3 = 19 * a[3], a4 = 19 * a[4];
    wide s0 = (wide)a[0] * a[0] + (wide)twice1 * a4 + (wide)twice2 * a3;
    wide s1 = (wide)twice0 * a[1] + (wide)twice2 * a4 + (wide)a[3] * a3;
    wide s2 = (wide)twice0 * a[2] + (wide)a[1] * a[1] + (wide)(2 * a[3]) * a4;
    wide s3 = (wide)twice0 * a[3] + (wide)twice1 * a[2] + (wide)a[4] * a4;
    wide s4 = (wide)twice0 * a[4] + (wide)twice1 * a[3] + (wide)a[2] * a[2];
    return field_fold(s0, s1, s2, s3, s4);
}

/* a^(2^count). */
static inline struct field field_square_times(const struct field *a, int count)
{
    struct field out = *a;
    for (int i = 0; i < count; i++)
        out = field_square(&out);
    return out;
}

#endif
