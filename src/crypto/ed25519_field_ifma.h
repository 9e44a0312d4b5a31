/*
 * Eight elements of the field modulo 2^255 - 19 at once, with the 52-bit multiply-add of AVX-512
 * IFMA. The representation is that of ed25519_field.h, one element in each 64-bit lane:
 *
 *   limb[i] = | lane 0 | lane 1 | … | lane 7 |     lane j: limb i of element j, i = 0 … 4
 *
 * The multiplier takes the low 52 bits of each operand and gives either half of the product of 104
 * bits. Limbs have weights 2^51, so a high half counts double. Two bounds:
 *   tight  every limb < 2^51 + 2^18: what every operation gives;
 *   whole  every limb < 2^52: what multiplication and squaring accept.
 * Call only where ifma_available() holds (ed25519_ifma.h). Values are those of the portable
 * code modulo p; only the choice of representation may differ.
 */
#ifndef CRYPTO_ED25519_FIELD_IFMA_H
#define CRYPTO_ED25519_FIELD_IFMA_H

#include "crypto/ed25519_ifma.h"

#include <immintrin.h>

#define IFMA_TARGET __attribute__((target("avx512f,avx512dq,avx512vl,avx512ifma")))
#define IFMA_INLINE static inline IFMA_TARGET __attribute__((always_inline))

struct field8 {
    __m512i limb[FIELD_LIMBS];
};

/* Eight points, one a lane. */
struct point8 {
    struct field8 x, y, z, t;
};

/* Any limbs below 2^63 become tight: the carries of all limbs at once. */
IFMA_INLINE struct field8 field8_carry(struct field8 a)
{
    const __m512i mask = _mm512_set1_epi64((long long)FIELD_LIMB_MASK);
    struct field8 out;
    __m512i top = _mm512_srli_epi64(a.limb[4], FIELD_LIMB_BITS);
    out.limb[0] = _mm512_add_epi64(_mm512_and_epi64(a.limb[0], mask),
                                   _mm512_mullo_epi64(top, _mm512_set1_epi64(19)));
#pragma clang loop unroll(full)
    for (int i = 1; i < FIELD_LIMBS; i++)
        out.limb[i] = _mm512_add_epi64(_mm512_and_epi64(a.limb[i], mask),
                                       _mm512_srli_epi64(a.limb[i - 1], FIELD_LIMB_BITS));
    return out;
}

/* The limbs of 2p: what differences of tight elements add so as not to go below zero. */
IFMA_INLINE __m512i field8_twice_p(int limb)
{
    return _mm512_set1_epi64((long long)(2 * (FIELD_LIMB_MASK - (limb == 0 ? 18 : 0))));
}

/* Of tight ones; tight. */
IFMA_INLINE struct field8 field8_add(const struct field8 *a, const struct field8 *b)
{
    struct field8 out;
#pragma clang loop unroll(full)
    for (int i = 0; i < FIELD_LIMBS; i++)
        out.limb[i] = _mm512_add_epi64(a->limb[i], b->limb[i]);
    return field8_carry(out);
}

IFMA_INLINE struct field8 field8_subtract(const struct field8 *a, const struct field8 *b)
{
    struct field8 out;
#pragma clang loop unroll(full)
    for (int i = 0; i < FIELD_LIMBS; i++)
        out.limb[i] = _mm512_sub_epi64(_mm512_add_epi64(a->limb[i], field8_twice_p(i)), b->limb[i]);
    return field8_carry(out);
}

/* Products of weight 2^(51·k) in low, of weight 2^(51·k - 51 + 52) in high: adds both up, folds
 * limbs 5 to 9 back with 2^255 = 19. Sums stay below 2^61. */
IFMA_INLINE struct field8 field8_fold(const __m512i low[9], const __m512i high[9])
{
    const __m512i nineteen = _mm512_set1_epi64(19);
    __m512i sum[10];
    sum[0] = low[0];
    sum[9] = _mm512_slli_epi64(high[8], 1);
#pragma clang loop unroll(full)
    for (int k = 1; k < 9; k++)
        sum[k] = _mm512_add_epi64(low[k], _mm512_slli_epi64(high[k - 1], 1));
    struct field8 out;
#pragma clang loop unroll(full)
    for (int k = 0; k < FIELD_LIMBS; k++)
        out.limb[k] = _mm512_add_epi64(sum[k], _mm512_mullo_epi64(sum[k + FIELD_LIMBS], nineteen));
    return field8_carry(out);
}

/* Of whole ones; tight. */
IFMA_INLINE struct field8 field8_multiply(const struct field8 *a, const struct field8 *b)
{
    __m512i low[9], high[9];
#pragma clang loop unroll(full)
    for (int k = 0; k < 9; k++)
        low[k] = high[k] = _mm512_setzero_si512();
#pragma clang loop unroll(full)
    for (int i = 0; i < FIELD_LIMBS; i++) {
#pragma clang loop unroll(full)
        for (int j = 0; j < FIELD_LIMBS; j++) {
            low[i + j] = _mm512_madd52lo_epu64(low[i + j], a->limb[i], b->limb[j]);
            high[i + j] = _mm512_madd52hi_epu64(high[i + j], a->limb[i], b->limb[j]);
        }
    }
    return field8_fold(low, high);
}

/* Of whole ones; tight. Products of different limbs are computed once and doubled. */
IFMA_INLINE struct field8 field8_square(const struct field8 *a)
{
    __m512i low[9], high[9];
#pragma clang loop unroll(full)
    for (int k = 0; k < 9; k++)
        low[k] = high[k] = _mm512_setzero_si512();
#pragma clang loop unroll(full)
    for (int i = 0; i < FIELD_LIMBS; i++) {
#pragma clang loop unroll(full)
        for (int j = i + 1; j < FIELD_LIMBS; j++) {
            low[i + j] = _mm512_madd52lo_epu64(low[i + j], a->limb[i], a->limb[j]);
            high[i + j] = _mm512_madd52hi_epu64(high[i + j], a->limb[i], a->limb[j]);
        }
    }
#pragma clang loop unroll(full)
    for (int k = 1; k < 8; k++) {
        low[k] = _mm512_slli_epi64(low[k], 1);
        high[k] = _mm512_slli_epi64(high[k], 1);
    }
#pragma clang loop unroll(full)
    for (int i = 0; i < FIELD_LIMBS; i++) {
        low[2 * i] = _mm512_madd52lo_epu64(low[2 * i], a->limb[i], a->limb[i]);
        high[2 * i] = _mm512_madd52hi_epu64(high[2 * i], a->limb[i], a->limb[i]);
    }
    return field8_fold(low, high);
}

/* to[j] = lane j; of the vectors' bound, which is a little wider than that of tight elements. */
IFMA_INLINE void lanes_scatter(const struct field8 *from, struct field to[static IFMA_LANES])
{
    for (int i = 0; i < FIELD_LIMBS; i++) {
        _Alignas(64) uint64_t lane[IFMA_LANES];
        _mm512_store_si512(lane, from->limb[i]);
        for (int j = 0; j < IFMA_LANES; j++)
            to[j].limb[i] = lane[j];
    }
}

#endif
