/*
 * See ed25519_fixed.h. The multiples in the table are affine, as (y - x, y + x, 2d·x·y), so that an
 * addition takes seven multiplications (Hisil, Wong, Carter, Dawson, 2008, for a = -1 and Z = 1).
 */
#include "crypto/ed25519_fixed.h"

#include "crypto/ed25519_field_ifma.h"

#include <pthread.h>
#include <sodium.h>

#define POWERS (FIXED_STEPS * IFMA_LANES)

struct affine8 {
    struct field8 of[FIXED_AFFINE]; /* y - x, y + x, 2d·x·y */
};

static pthread_once_t base_once = PTHREAD_ONCE_INIT;
static struct fixed_table base;

/* ---- the table, of public values ---- */

static void entry_set(struct fixed_table *table, unsigned power, unsigned multiple,
                      const struct point *p, const struct field *inverse)
{
    struct field x = field_multiply(&p->x, inverse), y = field_multiply(&p->y, inverse);
    struct field xy = field_multiply(&x, &y), sum = field_add(&y, &x);
    const struct field value[FIXED_AFFINE] = {field_subtract(&y, &x), field_carry(sum),
                                              field_multiply(&xy, &field_2d)};
    struct fixed_entry *at = &table->entry[power % FIXED_STEPS][multiple];
    for (int c = 0; c < FIXED_AFFINE; c++)
        for (int i = 0; i < FIELD_LIMBS; i++)
            at->limb[c][i][power / FIXED_STEPS] = value[c].limb[i];
}

/* The multiples 1 … 8 of one power; the inverses of their Z by one inversion (Montgomery). */
static void power_fill(struct fixed_table *table, unsigned power, const struct point *of)
{
    struct point multiple[FIXED_MULTIPLES];
    struct field before[FIXED_MULTIPLES]; /* the product of all Z below */
    struct point_lanes step = point_cache(of);
    multiple[0] = *of;
    before[0] = field_one;
    for (int k = 1; k < FIXED_MULTIPLES; k++) {
        multiple[k] = point_add(&multiple[k - 1], &step);
        before[k] = field_multiply(&before[k - 1], &multiple[k - 1].z);
    }
    struct field all =
        field_multiply(&before[FIXED_MULTIPLES - 1], &multiple[FIXED_MULTIPLES - 1].z);
    struct field inverse = field_invert(&all);
    for (unsigned k = FIXED_MULTIPLES; k-- > 0;) {
        struct field own = field_multiply(&inverse, &before[k]);
        entry_set(table, power, k, &multiple[k], &own);
        inverse = field_multiply(&inverse, &multiple[k].z);
    }
}

void fixed_table_fill(struct fixed_table *table, const struct point *of)
{
    struct point power = *of;
    for (unsigned p = 0; p < POWERS; p++) {
        power_fill(table, p, &power);
        for (int i = 0; i < 4; i++)
            power = point_double(&power);
    }
}

static void base_fill(void)
{
    fixed_table_fill(&base, &point_base);
}

const struct fixed_table *fixed_table_base(void)
{
    pthread_once(&base_once, base_fill);
    return &base;
}

/* ---- of secret values ---- */

/* Digits of base 16 from -8 to 7, the last one to 8. */
static void digits_make(const uint8_t s[static 32], int8_t digits[static POWERS])
{
    int carry = 0;
    for (int p = 0; p < POWERS - 1; p++) {
        int nibble = (s[p / 2] >> p % 2 * 4 & 15) + carry;
        carry = (nibble + 8) >> 4;
        digits[p] = (int8_t)(nibble - carry * 16);
    }
    digits[POWERS - 1] = (int8_t)((s[31] >> 4) + carry);
}

/* |digit|·16^p·B in every lane, the neutral element for 0: reads everything, keeps one. */
IFMA_INLINE struct affine8 multiple_select(const struct fixed_entry *entries, __m512i size)
{
    struct affine8 out;
    const __m512i zero = _mm512_setzero_si512(), one = _mm512_set1_epi64(1);
#pragma clang loop unroll(full)
    for (int c = 0; c < FIXED_AFFINE; c++)
#pragma clang loop unroll(full)
        for (int i = 0; i < FIELD_LIMBS; i++)
            out.of[c].limb[i] = c < 2 && i == 0 ? one : zero;
#pragma clang loop unroll(full)
    for (int k = 0; k < FIXED_MULTIPLES; k++) {
        __mmask8 here = _mm512_cmpeq_epi64_mask(size, _mm512_set1_epi64(k + 1));
#pragma clang loop unroll(full)
        for (int c = 0; c < FIXED_AFFINE; c++)
#pragma clang loop unroll(full)
            for (int i = 0; i < FIELD_LIMBS; i++)
                out.of[c].limb[i] = _mm512_mask_mov_epi64(out.of[c].limb[i], here,
                                                          _mm512_load_si512(entries[k].limb[c][i]));
    }
    return out;
}

/* The negative where the mask says so: y - x and y + x change places, 2d·x·y its sign. */
IFMA_INLINE struct affine8 affine_negate(struct affine8 q, __mmask8 negative)
{
    struct affine8 out;
#pragma clang loop unroll(full)
    for (int i = 0; i < FIELD_LIMBS; i++) {
        __m512i a = q.of[0].limb[i], b = q.of[1].limb[i], t = q.of[2].limb[i];
        out.of[0].limb[i] = _mm512_mask_mov_epi64(a, negative, b);
        out.of[1].limb[i] = _mm512_mask_mov_epi64(b, negative, a);
        out.of[2].limb[i] = _mm512_mask_sub_epi64(t, negative, field8_twice_p(i), t);
    }
    out.of[2] = field8_carry(out.of[2]);
    return out;
}

IFMA_INLINE struct point8 point8_add(const struct point8 *p, const struct affine8 *q)
{
    struct field8 difference = field8_subtract(&p->y, &p->x), sum = field8_add(&p->y, &p->x);
    struct field8 a = field8_multiply(&difference, &q->of[0]);
    struct field8 b = field8_multiply(&sum, &q->of[1]);
    struct field8 c = field8_multiply(&p->t, &q->of[2]), d = field8_add(&p->z, &p->z);
    struct field8 e = field8_subtract(&b, &a), f = field8_subtract(&d, &c);
    struct field8 g = field8_add(&d, &c), h = field8_add(&b, &a);
    return (struct point8){field8_multiply(&e, &f), field8_multiply(&g, &h),
                           field8_multiply(&f, &g), field8_multiply(&e, &h)};
}

static IFMA_TARGET void points_scatter(const struct point8 *from,
                                       struct point to[static IFMA_LANES])
{
    struct field part[4][IFMA_LANES];
    lanes_scatter(&from->x, part[0]);
    lanes_scatter(&from->y, part[1]);
    lanes_scatter(&from->z, part[2]);
    lanes_scatter(&from->t, part[3]);
    for (int i = 0; i < IFMA_LANES; i++)
        to[i] = (struct point){field_carry(part[0][i]), field_carry(part[1][i]),
                               field_carry(part[2][i]), field_carry(part[3][i])};
    sodium_memzero(part, sizeof part);
}

/* Adds the multiple that the digits of a scalar stand for, each lane its part of it. */
IFMA_INLINE struct point8 lanes_add(struct point8 sum, const struct fixed_table *table,
                                    const int8_t digits[static POWERS])
{
    __m512i left = _mm512_loadu_si512(digits); /* a lane's digits, its first one lowest */
    for (int j = 0; j < FIXED_STEPS; j++) {
        __m512i digit = _mm512_srai_epi64(_mm512_slli_epi64(left, 56), 56);
        left = _mm512_srli_epi64(left, 8);
        struct affine8 q = multiple_select(table->entry[j], _mm512_abs_epi64(digit));
        q = affine_negate(q, _mm512_movepi64_mask(digit));
        sum = point8_add(&sum, &q);
    }
    return sum;
}

static IFMA_TARGET void lanes_sum(const struct fixed_table *const *tables,
                                  const uint8_t *const *scalars, size_t count,
                                  struct point out[static IFMA_LANES])
{
    const __m512i zero = _mm512_setzero_si512(), one = _mm512_set1_epi64(1);
    int8_t digits[POWERS];
    struct point8 sum;
    for (int i = 0; i < FIELD_LIMBS; i++) {
        sum.x.limb[i] = sum.t.limb[i] = zero;
        sum.y.limb[i] = sum.z.limb[i] = i == 0 ? one : zero;
    }
    for (size_t i = 0; i < count; i++) {
        digits_make(scalars[i], digits);
        sum = lanes_add(sum, tables[i], digits);
    }
    points_scatter(&sum, out);
    sodium_memzero(digits, sizeof digits);
    sodium_memzero(&sum, sizeof sum);
}

struct point ifma_fixed_sum(const struct fixed_table *const *tables, const uint8_t *const *scalars,
                            size_t count)
{
    struct point lanes[IFMA_LANES];
    lanes_sum(tables, scalars, count, lanes);
    for (int half = IFMA_LANES / 2; half > 0; half /= 2) {
        for (int i = 0; i < half; i++) {
            struct point_lanes other = point_cache(&lanes[i + half]);
            lanes[i] = point_add(&lanes[i], &other);
        }
    }
    struct point out = lanes[0];
    sodium_memzero(lanes, sizeof lanes);
    return out;
}
