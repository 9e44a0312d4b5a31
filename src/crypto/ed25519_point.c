/* The group law, encodings and the double multiplication of single checks (ed25519_point.h).
 * Formulas: Hisil, Wong, Carter, Dawson, "Twisted Edwards Curves Revisited" (2008), for a = -1. */
#include "crypto/ed25519_point.h"

#include <pthread.h>

const struct point point_neutral = {{{0}}, {{1}}, {{1}}, {{0}}};
const struct point point_base = {
    {{0x62d608f25d51a, 0x412a4b4f6592a, 0x75b7171a4b31d, 0x1ff60527118fe, 0x216936d3cd6e5}},
    {{0x6666666666658, 0x4cccccccccccc, 0x1999999999999, 0x3333333333333, 0x6666666666666}},
    {{1}},
    {{0x68ab3a5b7dda3, 0xeea2a5eadbb, 0x2af8df483c27e, 0x332b375274732, 0x67875f0fd78b7}},
};

static pthread_once_t base_once = PTHREAD_ONCE_INIT;
static struct point_lanes base_odd[POINT_BASE_ODD];

static struct field lane_get(const struct point_lanes *lanes, int lane)
{
    struct field out;
    for (int i = 0; i < FIELD_LIMBS; i++)
        out.limb[i] = lanes->limb[i][lane];
    return out;
}

static void lane_set(struct point_lanes *lanes, int lane, const struct field *value)
{
    for (int i = 0; i < FIELD_LIMBS; i++)
        lanes->limb[i][lane] = value->limb[i];
}

static void curve_fraction(const struct field *y, struct field *u, struct field *v)
{
    struct field square = field_square(y);
    *u = field_subtract(&square, &field_one);
    struct field product = field_multiply(&square, &field_d);
    *v = field_carry(field_add(&product, &field_one));
}

bool point_decode_finish(const struct field *y, const struct field *root, unsigned sign,
                         struct point *out)
{
    struct field u, v;
    curve_fraction(y, &u, &v);
    out->x = *root;
    if (!field_root_settle(&u, &v, &out->x))
        return false;
    if (field_is_odd(&out->x) != sign)
        out->x = field_negate(&out->x);
    out->y = *y;
    out->z = field_one;
    out->t = field_multiply(&out->x, y);
    return true;
}

bool point_decode(const uint8_t bytes[static 32], struct point *out)
{
    struct field y = field_from_bytes(bytes), u, v;
    curve_fraction(&y, &u, &v);
    struct field v2 = field_square(&v);
    struct field v3 = field_multiply(&v2, &v);
    struct field v6 = field_square(&v3);
    struct field v7 = field_multiply(&v6, &v);
    struct field uv7 = field_multiply(&u, &v7);
    struct field root = field_power_2_252_minus_3(&uv7);
    root = field_multiply(&root, &v3);
    root = field_multiply(&root, &u);
    return point_decode_finish(&y, &root, bytes[31] >> 7, out);
}

void point_encode(const struct point *p, uint8_t out[static 32])
{
    struct field inverse = field_invert(&p->z);
    struct field x = field_multiply(&p->x, &inverse), y = field_multiply(&p->y, &inverse);
    field_to_bytes(&y, out);
    out[31] |= (uint8_t)(field_is_odd(&x) << 7);
}

struct point_lanes point_cache(const struct point *p)
{
    struct point_lanes out;
    struct field difference = field_subtract(&p->y, &p->x);
    struct field sum = field_carry(field_add(&p->y, &p->x));
    struct field t = field_multiply(&p->t, &field_2d);
    struct field z = field_carry(field_add(&p->z, &p->z));
    lane_set(&out, 0, &difference);
    lane_set(&out, 1, &sum);
    lane_set(&out, 2, &t);
    lane_set(&out, 3, &z);
    return out;
}

struct point_lanes point_cache_negate(const struct point_lanes *p)
{
    struct point_lanes out;
    struct field difference = lane_get(p, 0), sum = lane_get(p, 1), t = lane_get(p, 2),
                 z = lane_get(p, 3);
    t = field_negate(&t);
    lane_set(&out, 0, &sum);
    lane_set(&out, 1, &difference);
    lane_set(&out, 2, &t);
    lane_set(&out, 3, &z);
    return out;
}

struct point point_add(const struct point *p, const struct point_lanes *q)
{
    struct field q0 = lane_get(q, 0), q1 = lane_get(q, 1), q2 = lane_get(q, 2), q3 = lane_get(q, 3);
    struct field difference = field_subtract(&p->y, &p->x), sum = field_add(&p->y, &p->x);
    struct field a = field_multiply(&difference, &q0), b = field_multiply(&sum, &q1);
    struct field c = field_multiply(&p->t, &q2), d = field_multiply(&p->z, &q3);
    struct field e = field_subtract(&b, &a), f = field_subtract(&d, &c);
    struct field g = field_add(&d, &c), h = field_add(&b, &a);
    return (struct point){field_multiply(&e, &f), field_multiply(&g, &h), field_multiply(&f, &g),
                          field_multiply(&e, &h)};
}

/* T is not computed unless asked for: in a row of doublings only the last needs it. */
static struct point point_double_step(const struct point *p, bool with_t)
{
    struct field xx = field_square(&p->x), yy = field_square(&p->y), zz = field_square(&p->z);
    struct field sum = field_add(&p->x, &p->y), square = field_square(&sum);
    struct field h = field_add(&yy, &xx), g = field_subtract(&yy, &xx);
    struct field e = field_subtract(&square, &h);
    struct field twice = field_add(&zz, &zz), f = field_subtract(&twice, &g);
    struct point out = {
        field_multiply(&e, &f), field_multiply(&h, &g), field_multiply(&g, &f), {{0}}};
    if (with_t)
        out.t = field_multiply(&e, &h);
    return out;
}

struct point point_double(const struct point *p)
{
    return point_double_step(p, true);
}

bool point_is_neutral(const struct point *p)
{
    return field_is_zero(&p->x) && field_equal(&p->y, &p->z);
}

bool point_is_small(const struct point *p)
{
    struct point t = *p;
    for (int i = 0; i < 3; i++)
        t = point_double_step(&t, false);
    return point_is_neutral(&t);
}

void point_odd_multiples(const struct point *p, struct point_lanes *out, int count)
{
    struct point doubled = point_double(p);
    struct point_lanes twice = point_cache(&doubled);
    struct point at = *p;
    for (int i = 0; i < count; i++) {
        out[i] = point_cache(&at);
        at = point_add(&at, &twice);
    }
}

static void base_fill(void)
{
    point_odd_multiples(&point_base, base_odd, POINT_BASE_ODD);
}

const struct point_lanes *point_base_odd(void)
{
    pthread_once(&base_once, base_fill);
    return base_odd;
}

static void naf_add(struct point *sum, int digit, const struct point_lanes *odd)
{
    if (digit > 0) {
        *sum = point_add(sum, &odd[digit / 2]);
    } else if (digit < 0) {
        struct point_lanes negative = point_cache_negate(&odd[-digit / 2]);
        *sum = point_add(sum, &negative);
    }
}

struct point point_multiply(const struct scalar *a, const struct point *A, const struct scalar *b)
{
    point_base_odd();
    struct point_lanes odd[POINT_ODD];
    point_odd_multiples(A, odd, POINT_ODD);
    int8_t digits[SCALAR_NAF_DIGITS], base_digits[SCALAR_NAF_DIGITS];
    scalar_naf(a, POINT_ODD_BITS, digits);
    scalar_naf(b, POINT_BASE_ODD_BITS, base_digits);
    int at = SCALAR_NAF_DIGITS - 1;
    while (at >= 0 && digits[at] == 0 && base_digits[at] == 0)
        at--;
    struct point sum = point_neutral;
    for (; at >= 0; at--) {
        sum = point_double_step(&sum, at == 0 || digits[at] != 0 || base_digits[at] != 0);
        naf_add(&sum, digits[at], odd);
        naf_add(&sum, base_digits[at], base_odd);
    }
    return sum;
}
