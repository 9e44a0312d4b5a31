/* Decoding and bucket sums in vectors of AVX-512 (ed25519_ifma.h). */
#include "crypto/ed25519_ifma.h"

#include "crypto/ed25519_field_ifma.h"

#include <assert.h>
#include <string.h>

#define BUCKETS_MAX (1 << (SCALAR_DIGIT_BITS_MAX - 1))

/* The order of lanes within each half: lane i of the result is lane `i-th argument` of the source.
 */
#define LANES(a, b, c, d) ((a) | (b) << 2 | (c) << 4 | (d) << 6)
/* The same lanes of both halves. */
#define BOTH(mask) ((__mmask8)((mask) * 0x11))

bool ifma_available(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512ifma");
}

/* ---- eight elements, one a lane ---- */

IFMA_INLINE struct field8 lanes_gather(const struct field from[static IFMA_LANES])
{
    struct field8 out;
    for (int i = 0; i < FIELD_LIMBS; i++) {
        _Alignas(64) uint64_t lane[IFMA_LANES];
        for (int j = 0; j < IFMA_LANES; j++)
            lane[j] = from[j].limb[i];
        out.limb[i] = _mm512_load_si512(lane);
    }
    return out;
}

IFMA_INLINE struct field8 lanes_same(const struct field *value)
{
    struct field8 out;
    for (int i = 0; i < FIELD_LIMBS; i++)
        out.limb[i] = _mm512_set1_epi64((long long)value->limb[i]);
    return out;
}

IFMA_TARGET void ifma_multiply(const struct field a[static IFMA_LANES],
                               const struct field b[static IFMA_LANES],
                               struct field out[static IFMA_LANES])
{
    struct field8 left = field8_carry(lanes_gather(a)), right = field8_carry(lanes_gather(b));
    struct field8 product = field8_multiply(&left, &right);
    lanes_scatter(&product, out);
}

IFMA_TARGET void ifma_square(const struct field a[static IFMA_LANES],
                             struct field out[static IFMA_LANES])
{
    struct field8 of = field8_carry(lanes_gather(a));
    struct field8 square = field8_square(&of);
    lanes_scatter(&square, out);
}

static IFMA_TARGET struct field8 field8_square_times(struct field8 a, int count)
{
    for (int i = 0; i < count; i++)
        a = field8_square(&a);
    return a;
}

/* a^(2^252 - 3), by the same chain as field_power_2_252_minus_3. */
static IFMA_TARGET struct field8 field8_power_2_252_minus_3(const struct field8 *a)
{
    struct field8 a2 = field8_square(a);
    struct field8 t = field8_square_times(a2, 2);
    struct field8 a9 = field8_multiply(a, &t);
    struct field8 a11 = field8_multiply(&a9, &a2);
    t = field8_square(&a11);
    struct field8 run5 = field8_multiply(&t, &a9); /* runN: exponent of N ones */
    t = field8_square_times(run5, 5);
    struct field8 run10 = field8_multiply(&t, &run5);
    t = field8_square_times(run10, 10);
    struct field8 run20 = field8_multiply(&t, &run10);
    t = field8_square_times(run20, 20);
    t = field8_multiply(&t, &run20);
    t = field8_square_times(t, 10);
    struct field8 run50 = field8_multiply(&t, &run10);
    t = field8_square_times(run50, 50);
    struct field8 run100 = field8_multiply(&t, &run50);
    t = field8_square_times(run100, 100);
    t = field8_multiply(&t, &run100);
    t = field8_square_times(t, 50);
    t = field8_multiply(&t, &run50);
    t = field8_square_times(t, 2);
    return field8_multiply(&t, a);
}

/* The powers take nearly all the time of decoding; what is left is done point by point. */
static IFMA_TARGET void roots_find(const struct field y[static IFMA_LANES],
                                   struct field root[static IFMA_LANES])
{
    struct field8 one = lanes_same(&field_one), d = lanes_same(&field_d);
    struct field8 y8 = lanes_gather(y), square = field8_square(&y8), u, v;
    for (int i = 0; i < FIELD_LIMBS; i++)
        u.limb[i] =
            _mm512_sub_epi64(_mm512_add_epi64(square.limb[i], field8_twice_p(i)), one.limb[i]);
    u = field8_carry(u);
    v = field8_multiply(&square, &d);
    v.limb[0] = _mm512_add_epi64(v.limb[0], one.limb[0]);
    struct field8 v2 = field8_square(&v);
    struct field8 v3 = field8_multiply(&v2, &v);
    struct field8 v6 = field8_square(&v3);
    struct field8 v7 = field8_multiply(&v6, &v);
    struct field8 uv7 = field8_multiply(&u, &v7);
    struct field8 uv3 = field8_multiply(&u, &v3);
    struct field8 power = field8_power_2_252_minus_3(&uv7);
    power = field8_multiply(&power, &uv3);
    lanes_scatter(&power, root);
}

unsigned ifma_decode(const uint8_t *const bytes[static IFMA_LANES],
                     struct point out[static IFMA_LANES])
{
    struct field y[IFMA_LANES], root[IFMA_LANES];
    for (int i = 0; i < IFMA_LANES; i++)
        y[i] = field_from_bytes(bytes[i]);
    roots_find(y, root);
    unsigned decoded = 0;
    for (int i = 0; i < IFMA_LANES; i++) {
        /* The vector bound is a little wider than that of tight elements. */
        root[i] = field_carry(root[i]);
        if (point_decode_finish(&y[i], &root[i], bytes[i][31] >> 7, &out[i]))
            decoded |= 1u << i;
    }
    return decoded;
}

/* ---- two points, four coordinates each ---- */

/* Buckets and sums are (X, Y, Z, T), limb by limb, two windows side by side. */
struct bucket_pair {
    struct point_lanes half[2];
};

IFMA_INLINE struct field8 pair_load(const struct point_lanes *low, const struct point_lanes *high)
{
    struct field8 out;
#pragma clang loop unroll(full)
    for (int i = 0; i < FIELD_LIMBS; i++)
        out.limb[i] = _mm512_inserti64x4(
            _mm512_castsi256_si512(_mm256_load_si256((const __m256i *)low->limb[i])),
            _mm256_load_si256((const __m256i *)high->limb[i]), 1);
    return out;
}

IFMA_INLINE void pair_store(const struct field8 *from, struct point_lanes *low,
                            struct point_lanes *high)
{
#pragma clang loop unroll(full)
    for (int i = 0; i < FIELD_LIMBS; i++) {
        _mm256_store_si256((__m256i *)low->limb[i], _mm512_castsi512_si256(from->limb[i]));
        _mm256_store_si256((__m256i *)high->limb[i], _mm512_extracti64x4_epi64(from->limb[i], 1));
    }
}

/* Cached points, negated in the halves that `negative` (a mask of lanes) names: Y - X and Y + X
 * change places and 2d·T its sign. */
IFMA_INLINE struct field8 pair_negate(struct field8 q, __mmask8 negative)
{
    const __mmask8 t = negative & BOTH(4);
#pragma clang loop unroll(full)
    for (int i = 0; i < FIELD_LIMBS; i++) {
        __m512i turned =
            _mm512_mask_permutex_epi64(q.limb[i], negative, q.limb[i], LANES(1, 0, 2, 3));
        q.limb[i] = _mm512_mask_sub_epi64(turned, t, field8_twice_p(i), turned);
    }
    return q;
}

/* The mask of the halves whose digit is negative. */
static __mmask8 negative_halves(int low, int high)
{
    return (__mmask8)((low < 0 ? 0x0f : 0) | (high < 0 ? 0xf0 : 0));
}

/* (X, Y, Z, T) becomes (Y - X, Y + X, T, Z). */
IFMA_INLINE struct field8 pair_left(const struct field8 *p)
{
    struct field8 out;
#pragma clang loop unroll(full)
    for (int i = 0; i < FIELD_LIMBS; i++) {
        __m512i x = _mm512_maskz_permutex_epi64(BOTH(3), p->limb[i], LANES(0, 0, 0, 0));
        x = _mm512_mask_sub_epi64(x, BOTH(1), field8_twice_p(i), x);
        out.limb[i] = _mm512_add_epi64(_mm512_permutex_epi64(p->limb[i], LANES(1, 1, 3, 2)), x);
    }
    return field8_carry(out);
}

/* (E, H, F, G) becomes (E·F, G·H, F·G, E·H): how additions and doublings end. */
IFMA_INLINE struct field8 pair_finish(struct field8 ehfg)
{
    struct field8 first, second;
    ehfg = field8_carry(ehfg);
#pragma clang loop unroll(full)
    for (int i = 0; i < FIELD_LIMBS; i++) {
        first.limb[i] = _mm512_permutex_epi64(ehfg.limb[i], LANES(0, 3, 2, 0));
        second.limb[i] = _mm512_permutex_epi64(ehfg.limb[i], LANES(2, 1, 3, 1));
    }
    return field8_multiply(&first, &second);
}

/* As point_add, for two points. */
IFMA_INLINE struct field8 pair_add(const struct field8 *p, const struct field8 *q)
{
    struct field8 left = pair_left(p), abcd = field8_multiply(&left, q), ehfg;
#pragma clang loop unroll(full)
    for (int i = 0; i < FIELD_LIMBS; i++) {
        __m512i same = abcd.limb[i];
        __m512i other = _mm512_permutex_epi64(same, LANES(1, 0, 3, 2));
        same = _mm512_mask_sub_epi64(same, BOTH(5), field8_twice_p(i), same);
        ehfg.limb[i] = _mm512_add_epi64(other, same); /* B - A, A + B, D - C, C + D */
    }
    return pair_finish(ehfg);
}

/* As point_double, for two points: of XX, YY, ZZ and S = (X + Y)² come
 * E = S - XX - YY, H = YY + XX, F = 2·ZZ - YY + XX and G = YY - XX. */
IFMA_INLINE struct field8 pair_double(const struct field8 *p)
{
    struct field8 in, ehfg;
#pragma clang loop unroll(full)
    for (int i = 0; i < FIELD_LIMBS; i++) {
        __m512i y = _mm512_maskz_permutex_epi64(BOTH(8), p->limb[i], LANES(0, 0, 0, 1));
        in.limb[i] = _mm512_add_epi64(_mm512_permutex_epi64(p->limb[i], LANES(0, 1, 2, 0)), y);
    }
    in = field8_carry(in);
    struct field8 square = field8_square(&in);
#pragma clang loop unroll(full)
    for (int i = 0; i < FIELD_LIMBS; i++) {
        __m512i zz = square.limb[i];
        __m512i sum = _mm512_permutex_epi64(zz, LANES(3, 1, 2, 1));
        __m512i xx = _mm512_permutex_epi64(zz, LANES(0, 0, 0, 0));
        __m512i yy = _mm512_permutex_epi64(zz, LANES(1, 1, 1, 1));
        xx = _mm512_mask_sub_epi64(xx, BOTH(9), field8_twice_p(i), xx);
        yy = _mm512_maskz_sub_epi64(BOTH(5), field8_twice_p(i), yy);
        sum = _mm512_add_epi64(_mm512_add_epi64(sum, xx), yy);
        ehfg.limb[i] = _mm512_mask_add_epi64(sum, BOTH(4), sum, zz);
    }
    return pair_finish(ehfg);
}

/* The factors of point_cache: 1, 1, 2d, 2. */
IFMA_INLINE struct field8 pair_cache_factors(void)
{
    struct field8 out;
    for (int i = 0; i < FIELD_LIMBS; i++) {
        long long one = i == 0 ? 1 : 0, d = (long long)field_2d.limb[i];
        out.limb[i] = _mm512_setr_epi64(one, one, d, 2 * one, one, one, d, 2 * one);
    }
    return out;
}

IFMA_INLINE struct field8 pair_cache(const struct field8 *p, const struct field8 *factors)
{
    struct field8 left = pair_left(p);
    return field8_multiply(&left, factors);
}

IFMA_INLINE struct field8 pair_neutral(void)
{
    struct field8 out;
    for (int i = 0; i < FIELD_LIMBS; i++)
        out.limb[i] = i == 0 ? _mm512_setr_epi64(0, 1, 1, 0, 0, 1, 1, 0) : _mm512_setzero_si512();
    return out;
}

static struct point lanes_point(const struct point_lanes *lanes)
{
    struct field coordinate[4];
    for (int lane = 0; lane < 4; lane++) {
        for (int i = 0; i < FIELD_LIMBS; i++)
            coordinate[lane].limb[i] = lanes->limb[i][lane];
        coordinate[lane] = field_carry(coordinate[lane]);
    }
    return (struct point){coordinate[0], coordinate[1], coordinate[2], coordinate[3]};
}

IFMA_INLINE void pair_points(const struct field8 *pair, struct point out[static 2])
{
    struct point_lanes half[2];
    pair_store(pair, &half[0], &half[1]);
    out[0] = lanes_point(&half[0]);
    out[1] = lanes_point(&half[1]);
}

/* The same point in both halves. */
IFMA_INLINE struct field8 pair_of(const struct point *p)
{
    struct point_lanes lanes;
    for (int i = 0; i < FIELD_LIMBS; i++) {
        lanes.limb[i][0] = p->x.limb[i];
        lanes.limb[i][1] = p->y.limb[i];
        lanes.limb[i][2] = p->z.limb[i];
        lanes.limb[i][3] = p->t.limb[i];
    }
    return pair_load(&lanes, &lanes);
}

/* Σ j·bucket[j], as Σ over j from the top of the sum of all buckets from j on. */
static IFMA_TARGET void buckets_sum(const struct bucket_pair *bucket, int count,
                                    struct point out[static 2])
{
    struct field8 factors = pair_cache_factors();
    struct field8 run = pair_neutral(), sum = pair_neutral();
    for (int j = count; j >= 1; j--) {
        struct field8 at = pair_load(&bucket[j].half[0], &bucket[j].half[1]);
        at = pair_cache(&at, &factors);
        run = pair_add(&run, &at);
        struct field8 cached = pair_cache(&run, &factors);
        sum = pair_add(&sum, &cached);
    }
    pair_points(&sum, out);
}

IFMA_TARGET void ifma_bucket_sums(const struct point_lanes *const *points, size_t count,
                                  const int8_t *const digits[static 2], unsigned bits,
                                  struct point out[static 2])
{
    assert(bits >= SCALAR_DIGIT_BITS_MIN && bits <= SCALAR_DIGIT_BITS_MAX);
    /* Bucket 0 takes the points whose digit is 0 and counts for nothing. */
    struct bucket_pair bucket[BUCKETS_MAX + 1];
    int buckets = 1 << (bits - 1);
    struct field8 neutral = pair_neutral();
    for (int j = 0; j <= buckets; j++)
        pair_store(&neutral, &bucket[j].half[0], &bucket[j].half[1]);
    for (size_t i = 0; i < count; i++) {
        int low = digits[0][i], high = digits[1][i];
        if ((low | high) == 0)
            continue;
        struct point_lanes *a = &bucket[low < 0 ? -low : low].half[0];
        struct point_lanes *b = &bucket[high < 0 ? -high : high].half[1];
        struct field8 right = pair_load(points[i], points[i]), left = pair_load(a, b);
        right = pair_negate(right, negative_halves(low, high));
        left = pair_add(&left, &right);
        pair_store(&left, a, b);
    }
    buckets_sum(bucket, buckets, out);
}

IFMA_TARGET void ifma_shift_add(struct point *sum, unsigned doublings, const struct point *addend)
{
    struct field8 factors = pair_cache_factors(), at = pair_of(sum), right = pair_of(addend);
    for (unsigned i = 0; i < doublings; i++)
        at = pair_double(&at);
    right = pair_cache(&right, &factors);
    at = pair_add(&at, &right);
    struct point both[2];
    pair_points(&at, both);
    *sum = both[0];
}

/* The multiple of a table of odd ones that a digit asks for, without its sign. */
static const struct point_lanes *odd_multiple(const struct point_lanes *odd, int digit,
                                              const struct point_lanes *neutral)
{
    return digit == 0 ? neutral : &odd[(digit < 0 ? -digit : digit) / 2];
}

IFMA_TARGET struct point ifma_multiply_points(const struct scalar *a, const struct point *A,
                                              const struct scalar *b)
{
    struct point_lanes odd[POINT_ODD], neutral = point_cache(&point_neutral);
    const struct point_lanes *base_odd = point_base_odd();
    point_odd_multiples(A, odd, POINT_ODD);
    int8_t digits[2][SCALAR_NAF_DIGITS];
    scalar_naf(a, POINT_ODD_BITS, digits[0]);
    scalar_naf(b, POINT_BASE_ODD_BITS, digits[1]);
    struct field8 sum = pair_neutral();
    for (int at = SCALAR_NAF_DIGITS - 1; at >= 0; at--) {
        int low = digits[0][at], high = digits[1][at];
        sum = pair_double(&sum);
        if ((low | high) == 0)
            continue;
        struct field8 right =
            pair_load(odd_multiple(odd, low, &neutral), odd_multiple(base_odd, high, &neutral));
        right = pair_negate(right, negative_halves(low, high));
        sum = pair_add(&sum, &right);
    }
    struct point both[2];
    pair_points(&sum, both);
    struct point_lanes cached = point_cache(&both[1]);
    return point_add(&both[0], &cached);
}

IFMA_TARGET struct point ifma_sum_rows(const struct point_lanes *table, const int32_t *addends,
                                       const uint32_t row[static SCALAR_NAF_DIGITS + 1])
{
    struct field8 sum = pair_neutral();
    int at = SCALAR_NAF_DIGITS - 1;
    while (at > 0 && row[at] == row[at + 1])
        at--;
    for (; at >= 0; at--) {
        sum = pair_double(&sum);
        for (uint32_t i = row[at], end = row[at + 1]; i < end; i += 2) {
            int32_t low = addends[i], high = i + 1 < end ? addends[i + 1] : 0;
            struct field8 right =
                pair_load(&table[low < 0 ? -low : low], &table[high < 0 ? -high : high]);
            right = pair_negate(right, negative_halves(low, high));
            sum = pair_add(&sum, &right);
        }
    }
    struct point both[2];
    pair_points(&sum, both);
    struct point_lanes cached = point_cache(&both[1]);
    return point_add(&both[0], &cached);
}

/* ---- eight points, one a lane ---- */

/* Cached points: the coordinates of struct point_lanes, one a lane. */
struct cached8 {
    struct field8 of[4];
};

static IFMA_TARGET struct cached8
cached8_gather(const struct point_lanes *const from[static IFMA_LANES])
{
    struct cached8 out;
    for (int i = 0; i < FIELD_LIMBS; i++) {
        _Alignas(64) uint64_t lane[4][IFMA_LANES];
        for (int j = 0; j < IFMA_LANES; j++)
            for (int c = 0; c < 4; c++)
                lane[c][j] = from[j]->limb[i][c];
        for (int c = 0; c < 4; c++)
            out.of[c].limb[i] = _mm512_load_si512(lane[c]);
    }
    return out;
}

/* Writes lane j to out[j][index]. */
static IFMA_TARGET void cached8_scatter(const struct cached8 *from, int index,
                                        struct point_lanes out[static IFMA_LANES][POINT_ODD])
{
    const __m512i low = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
    const __m512i high = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
#pragma clang loop unroll(full)
    for (int i = 0; i < FIELD_LIMBS; i++) {
        __m512i a = from->of[0].limb[i], b = from->of[1].limb[i], c = from->of[2].limb[i],
                d = from->of[3].limb[i];
        __m512i ab[2] = {_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b)};
        __m512i cd[2] = {_mm512_unpacklo_epi64(c, d), _mm512_unpackhi_epi64(c, d)};
#pragma clang loop unroll(full)
        for (int odd = 0; odd < 2; odd++) {
            __m512i first = _mm512_permutex2var_epi64(ab[odd], low, cd[odd]);
            __m512i second = _mm512_permutex2var_epi64(ab[odd], high, cd[odd]);
            const __m256i lane[4] = {
                _mm512_castsi512_si256(first), _mm512_extracti64x4_epi64(first, 1),
                _mm512_castsi512_si256(second), _mm512_extracti64x4_epi64(second, 1)};
#pragma clang loop unroll(full)
            for (int j = 0; j < 4; j++)
                _mm256_store_si256((__m256i *)out[2 * j + odd][index].limb[i], lane[j]);
        }
    }
}

/* As point_cache. */
static IFMA_TARGET struct cached8 point8_cache(const struct point8 *p)
{
    struct field8 factor = lanes_same(&field_2d);
    return (struct cached8){{field8_subtract(&p->y, &p->x), field8_add(&p->y, &p->x),
                             field8_multiply(&p->t, &factor), field8_add(&p->z, &p->z)}};
}

/* As point_double, of points in cached form: that has 2·X, 2·Y and 2·Z, as good as X, Y and Z. */
static IFMA_TARGET struct point8 cached8_double(const struct cached8 *p)
{
    struct field8 x = field8_subtract(&p->of[1], &p->of[0]);
    struct field8 y = field8_add(&p->of[1], &p->of[0]), both = field8_add(&x, &y);
    struct field8 xx = field8_square(&x), yy = field8_square(&y), zz = field8_square(&p->of[3]);
    struct field8 square = field8_square(&both);
    struct field8 h = field8_add(&yy, &xx), g = field8_subtract(&yy, &xx);
    struct field8 e = field8_subtract(&square, &h), twice = field8_add(&zz, &zz);
    struct field8 f = field8_subtract(&twice, &g);
    return (struct point8){field8_multiply(&e, &f), field8_multiply(&h, &g),
                           field8_multiply(&g, &f), field8_multiply(&e, &h)};
}

/* As point_add. */
static IFMA_TARGET struct point8 point8_add(const struct point8 *p, const struct cached8 *q)
{
    struct field8 difference = field8_subtract(&p->y, &p->x), sum = field8_add(&p->y, &p->x);
    struct field8 a = field8_multiply(&difference, &q->of[0]);
    struct field8 b = field8_multiply(&sum, &q->of[1]);
    struct field8 c = field8_multiply(&p->t, &q->of[2]), d = field8_multiply(&p->z, &q->of[3]);
    struct field8 e = field8_subtract(&b, &a), f = field8_subtract(&d, &c);
    struct field8 g = field8_add(&d, &c), h = field8_add(&b, &a);
    return (struct point8){field8_multiply(&e, &f), field8_multiply(&g, &h),
                           field8_multiply(&f, &g), field8_multiply(&e, &h)};
}

IFMA_TARGET void ifma_odd_multiples(const struct point_lanes *const points[static IFMA_LANES],
                                    struct point_lanes out[static IFMA_LANES][POINT_ODD])
{
    struct cached8 cached = cached8_gather(points);
    struct point8 at = cached8_double(&cached);
    struct cached8 twice = point8_cache(&at);
    cached8_scatter(&cached, 0, out);
    at = point8_add(&at, &cached);
    for (int i = 1;; i++) {
        cached = point8_cache(&at);
        cached8_scatter(&cached, i, out);
        if (i == POINT_ODD - 1)
            return;
        at = point8_add(&at, &twice);
    }
}
