/*
 * Scalars of Ed25519: integers modulo the group's prime order L = 2^252 +
 * 277423177773723535358519…, as four 64-bit words, least significant first. Variable time: only
 * verification uses them.
 */
#ifndef CRYPTO_ED25519_SCALAR_H
#define CRYPTO_ED25519_SCALAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct scalar {
    uint64_t word[4];
};

/* A sum of products that is reduced once, at the end: room for 2^48 products of a scalar and a
 * coefficient below 2^128. */
struct scalar_sum {
    uint64_t word[8];
};

#define SCALAR_DIGIT_BITS_MIN 2
#define SCALAR_DIGIT_BITS_MAX 8
#define SCALAR_NAF_DIGITS     257

extern const struct scalar scalar_order; /* L itself */

/* False when the little-endian number is not below L (RFC 8032, section 5.1.7). */
bool scalar_from_canonical(const uint8_t bytes[static 32], struct scalar *out);
/* A little-endian number of 512 bits modulo L: what the hash of a signature becomes. */
struct scalar scalar_from_hash(const uint8_t bytes[static 64]);
struct scalar scalar_negate(const struct scalar *);

/* sum += scalar·coefficient; coefficient: two words, least significant first. */
void scalar_sum_add(struct scalar_sum *sum, const struct scalar *, const uint64_t coefficient[2]);
struct scalar scalar_sum_reduce(const struct scalar_sum *);

/*
 * The digit of base 2^bits (2 to 8) at bit `from` of a number of four words, plus the carry of the
 * digit below: in [-2^(bits-1), 2^(bits-1)); *carry becomes what the next digit must add, 0 or 1.
 */
int8_t scalar_digit(const uint64_t word[4], unsigned from, unsigned bits, uint8_t *carry);
/* Non-adjacent form of a number below 2^255: odd digits below 2^(bits-1) in size, or zero, each
 * followed by at least bits - 1 zeros. bits is from 2 to 8. */
void scalar_naf(const struct scalar *, unsigned bits, int8_t digits[static SCALAR_NAF_DIGITS]);
/* The same form without its zeros: digit·2^at, from the lowest. Returns how many. */
struct scalar_naf_part {
    uint16_t at;
    int8_t digit;
};
#define SCALAR_NAF_PARTS_MAX (SCALAR_NAF_DIGITS / 2 + 1)
size_t scalar_naf_parts(const struct scalar *, unsigned bits,
                        struct scalar_naf_part out[static SCALAR_NAF_PARTS_MAX]);

#endif
