/* Arithmetic modulo the order L (ed25519_scalar.h). */
#include "crypto/ed25519_scalar.h"

#include "base/bytes.h"

#include <assert.h>
#include <string.h>

typedef unsigned __int128 wide;

/* L = 2^252 + tail. */
static const uint64_t tail[2] = {0x5812631a5cf5d3ed, 0x14def9dea2f79cd6};
const struct scalar scalar_order = {{0x5812631a5cf5d3ed, 0x14def9dea2f79cd6, 0, UINT64_C(1) << 60}};

static bool scalar_below(const struct scalar *a, const struct scalar *b)
{
    for (int i = 3; i >= 0; i--)
        if (a->word[i] != b->word[i])
            return a->word[i] < b->word[i];
    return false;
}

/* a += b or a -= b on four words, modulo 2^256. */
static void words_add(uint64_t a[static 4], const uint64_t b[static 4])
{
    wide carry = 0;
    for (int i = 0; i < 4; i++) {
        carry += (wide)a[i] + b[i];
        a[i] = (uint64_t)carry;
        carry >>= 64;
    }
}

static void words_subtract(uint64_t a[static 4], const uint64_t b[static 4])
{
    unsigned borrow = 0;
    for (int i = 0; i < 4; i++) {
        wide difference = (wide)a[i] - b[i] - borrow;
        a[i] = (uint64_t)difference;
        borrow = (unsigned)(difference >> 64) & 1;
    }
}

/* out (count + 2 words) = a (count words)·tail. */
static void words_times_tail(const uint64_t *a, size_t count, uint64_t *out)
{
    for (size_t i = 0; i < count + 2; i++)
        out[i] = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t carry = 0;
        for (size_t j = 0; j < 2; j++) {
            wide sum = (wide)a[i] * tail[j] + out[i + j] + carry;
            out[i + j] = (uint64_t)sum;
            carry = (uint64_t)(sum >> 64);
        }
        out[i + 2] = carry;
    }
}

/* Splits a number at bit 252: low gets four words, high (count - 3 words) what lies above. */
static void words_split(const uint64_t *a, size_t count, uint64_t low[static 4], uint64_t *high)
{
    for (size_t i = 0; i < 3; i++)
        low[i] = a[i];
    low[3] = a[3] & ((UINT64_C(1) << 60) - 1);
    for (size_t i = 3; i < count; i++)
        high[i - 3] = a[i] >> 60 | (i + 1 < count ? a[i + 1] << 4 : 0);
}

/*
 * 2^252 = -tail (mod L), so x = low - high·tail; the product, at most 387 bits, is split again, and
 * its product, at most 260 bits, once more:
 *   x = low0 - low1 + low2 - high2·tail,  every low below 2^252, high2·tail below 2^133.
 * The result lies between -2^253 and 2^253; L is added or taken away until it is in range.
 */
static struct scalar words_reduce(const uint64_t x[static 8])
{
    uint64_t low0[4], low1[4], low2[4], high[5], product[7], rest[4];
    words_split(x, 8, low0, high);
    words_times_tail(high, 5, product);
    words_split(product, 7, low1, high);
    words_times_tail(high, 3, product); /* 135 bits of it are left: high[3] is 0 */
    words_split(product, 5, low2, high);
    words_times_tail(high, 2, rest);
    struct scalar out = {{low0[0], low0[1], low0[2], low0[3]}};
    words_add(out.word, low2);
    /* Two L keep the differences above zero: low1 + rest < 2^252 + 2^133 < 2L. */
    words_add(out.word, scalar_order.word);
    words_add(out.word, scalar_order.word);
    words_subtract(out.word, low1);
    words_subtract(out.word, rest);
    while (!scalar_below(&out, &scalar_order))
        words_subtract(out.word, scalar_order.word);
    return out;
}

bool scalar_from_canonical(const uint8_t bytes[static 32], struct scalar *out)
{
    for (int i = 0; i < 4; i++)
        out->word[i] = load_u64(bytes + 8 * i);
    return scalar_below(out, &scalar_order);
}

struct scalar scalar_from_hash(const uint8_t bytes[static 64])
{
    uint64_t word[8];
    for (int i = 0; i < 8; i++)
        word[i] = load_u64(bytes + 8 * i);
    return words_reduce(word);
}

struct scalar scalar_negate(const struct scalar *a)
{
    struct scalar out = {{0}};
    if ((a->word[0] | a->word[1] | a->word[2] | a->word[3]) == 0)
        return out;
    out = scalar_order;
    words_subtract(out.word, a->word);
    return out;
}

void scalar_sum_add(struct scalar_sum *sum, const struct scalar *a, const uint64_t coefficient[2])
{
    for (size_t j = 0; j < 2; j++) {
        wide carry = 0;
        for (size_t i = 0; i < 4; i++) {
            carry += (wide)a->word[i] * coefficient[j] + sum->word[i + j];
            sum->word[i + j] = (uint64_t)carry;
            carry >>= 64;
        }
        for (size_t i = 4 + j; i < 8 && carry; i++) {
            carry += sum->word[i];
            sum->word[i] = (uint64_t)carry;
            carry >>= 64;
        }
        assert(carry == 0);
    }
}

struct scalar scalar_sum_reduce(const struct scalar_sum *sum)
{
    return words_reduce(sum->word);
}

/* count bits (at most 16) of a number of four words from bit `at` on; zeros beyond its end. */
static unsigned words_bits(const uint64_t word[4], unsigned at, unsigned count)
{
    unsigned index = at / 64, shift = at % 64;
    if (index >= 4)
        return 0;
    uint64_t value = word[index] >> shift;
    if (shift + count > 64 && index + 1 < 4)
        value |= word[index + 1] << (64 - shift);
    return (unsigned)(value & ((1u << count) - 1));
}

int8_t scalar_digit(const uint64_t word[4], unsigned from, unsigned bits, uint8_t *carry)
{
    int half = 1 << (bits - 1);
    int digit = (int)(words_bits(word, from, bits) + *carry);
    *carry = digit >= half;
    return (int8_t)(*carry ? digit - 2 * half : digit);
}

/* The 64 bits of a number of four words from bit `at` on; zeros beyond its end. */
static uint64_t words_from(const uint64_t word[4], unsigned at)
{
    unsigned index = at / 64, shift = at % 64;
    uint64_t value = index < 4 ? word[index] >> shift : 0;
    if (shift > 0 && index + 1 < 4)
        value |= word[index + 1] << (64 - shift);
    return value;
}

size_t scalar_naf_parts(const struct scalar *a, unsigned bits,
                        struct scalar_naf_part out[static SCALAR_NAF_PARTS_MAX])
{
    assert(bits >= 2 && bits <= 8 && a->word[3] >> 63 == 0);
    int half = 1 << (bits - 1);
    unsigned carry = 0;
    size_t count = 0;
    for (unsigned at = 0; at < SCALAR_NAF_DIGITS;) {
        /* A digit is zero as long as the bits are those of the carry. */
        uint64_t left = words_from(a->word, at) ^ (0 - (uint64_t)carry);
        if (left == 0) {
            at += 64;
            continue;
        }
        at += (unsigned)__builtin_ctzll(left);
        int digit = (int)(words_from(a->word, at) & (uint64_t)(2 * half - 1)) + (int)carry;
        carry = digit >= half;
        assert(count < SCALAR_NAF_PARTS_MAX && at < SCALAR_NAF_DIGITS);
        out[count++] =
            (struct scalar_naf_part){(uint16_t)at, (int8_t)(digit - 2 * half * (int)carry)};
        at += bits;
    }
    assert(carry == 0);
    return count;
}

void scalar_naf(const struct scalar *a, unsigned bits, int8_t digits[static SCALAR_NAF_DIGITS])
{
    struct scalar_naf_part parts[SCALAR_NAF_PARTS_MAX];
    size_t count = scalar_naf_parts(a, bits, parts);
    memset(digits, 0, SCALAR_NAF_DIGITS);
    for (size_t i = 0; i < count; i++)
        digits[parts[i].at] = parts[i].digit;
}
