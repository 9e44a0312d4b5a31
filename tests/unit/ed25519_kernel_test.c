/* The arithmetic under Ed25519: field, scalars, sums of many multiples, portable and in vectors
 * (src/crypto/ed25519_field.c, _scalar.c, _point.c, _pippenger.c, _ifma.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/sanitized.h"
#include "ed25519_fixture.h"

#include "crypto/ed25519_ifma.h"
#include "crypto/ed25519_pippenger.h"
#include "crypto/ed25519_straus.h"

#include <stdlib.h>

#define ROUNDS 2000
/* So many that the widest windows are taken. */
#define TERMS_MAX 1700

/* Random limbs, some at the edges of what operations accept. */
static struct field field_draw(void)
{
    struct field out;
    for (int i = 0; i < FIELD_LIMBS; i++) {
        uint64_t limb;
        randombytes_buf(&limb, sizeof limb);
        switch (randombytes_uniform(8)) {
        case 0: limb = 0; break;
        case 1: limb = FIELD_LIMB_MASK; break;
        case 2: limb = (UINT64_C(1) << 54) - 1; break;
        case 3: limb &= (UINT64_C(1) << 54) - 1; break;
        default: limb &= FIELD_LIMB_MASK; break;
        }
        out.limb[i] = limb;
    }
    return out;
}

static void field_expect(const struct field *a, const struct field *b)
{
    uint8_t left[32], right[32];
    field_to_bytes(a, left);
    field_to_bytes(b, right);
    assert_memory_equal(left, right, 32);
}

static void the_field_keeps_its_laws_at_the_edges_of_its_bounds(void **state)
{
    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        struct field a = field_draw(), b = field_draw(), c = field_draw();
        struct field left = field_multiply(&a, &b), right = field_multiply(&b, &a);
        field_expect(&left, &right);
        left = field_square(&a);
        right = field_multiply(&a, &a);
        field_expect(&left, &right);
        /* (a - b)·c + b·c = a·c */
        struct field difference = field_subtract(&a, &b), bc = field_multiply(&b, &c);
        left = field_multiply(&difference, &c);
        left = field_add(&left, &bc);
        right = field_multiply(&a, &c);
        field_expect(&left, &right);
        for (int j = 0; j < FIELD_LIMBS; j++)
            assert_true(right.limb[j] < (UINT64_C(1) << 51) + (UINT64_C(1) << 14));
        struct field inverse = field_invert(&a), product = field_multiply(&a, &inverse);
        field_expect(&product, field_is_zero(&a) ? &field_zero : &field_one);
    }
}

static void numbers_not_below_p_are_taken_modulo_p(void **state)
{
    (void)state;
    uint8_t high[32], low[32] = {0}, out[32];
    memset(high, 0xff, 32);
    for (unsigned i = 0; i < 19; i++) { /* p + i */
        high[0] = (uint8_t)(0xed + i);
        low[0] = (uint8_t)i;
        for (unsigned top = 0; top < 2; top++) {
            high[31] = top ? 0xff : 0x7f;
            struct field a = field_from_bytes(high), b = field_from_bytes(low);
            assert_true(field_equal(&a, &b));
            field_to_bytes(&a, out);
            assert_memory_equal(out, low, 32);
        }
    }
}

static void non_canonical_points_decode_like_their_canonical_twins(void **state)
{
    (void)state;
    uint8_t high[32], low[32] = {0}, left[32], right[32];
    size_t decoded = 0;
    memset(high, 0xff, 32);
    for (unsigned i = 0; i < 38; i++) {
        high[0] = (uint8_t)(0xed + i / 2);
        low[0] = (uint8_t)(i / 2);
        high[31] = i % 2 ? 0xff : 0x7f;
        low[31] = i % 2 ? 0x80 : 0;
        struct point a, b;
        bool good = point_decode(high, &a);
        assert_int_equal(good, point_decode(low, &b));
        if (!good)
            continue;
        decoded++;
        point_encode(&a, left);
        point_encode(&b, right);
        assert_memory_equal(left, right, 32);
    }
    assert_true(decoded > 8 && decoded < 38);
}

static void scalars_are_those_of_libsodium(void **state)
{
    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        uint8_t wide[64], expected[32], z[32] = {0}, product[32], sum[32] = {0};
        randombytes_buf(wide, sizeof wide);
        if (i < 64)
            memset(wide + i, 0xff, sizeof wide - (size_t)i);
        struct scalar k = scalar_from_hash(wide);
        crypto_core_ed25519_scalar_reduce(expected, wide);
        assert_memory_equal(k.word, expected, 32);
        struct scalar back;
        assert_true(scalar_from_canonical(expected, &back));

        struct scalar_sum total = {{0}};
        for (int j = 0; j < 8; j++) {
            uint64_t coefficient[2] = {UINT64_MAX, UINT64_MAX};
            if (i % 2)
                randombytes_buf(coefficient, sizeof coefficient);
            scalar_sum_add(&total, &k, coefficient);
            memcpy(z, coefficient, 16);
            crypto_core_ed25519_scalar_mul(product, z, expected);
            crypto_core_ed25519_scalar_add(sum, sum, product);
        }
        struct scalar reduced = scalar_sum_reduce(&total);
        assert_memory_equal(reduced.word, sum, 32);
        reduced = scalar_negate(&reduced);
        crypto_core_ed25519_scalar_negate(sum, sum);
        assert_memory_equal(reduced.word, sum, 32);
    }
}

static void a_number_and_its_negative_are_below_the_order_and_add_up_to_it(void **state)
{
    (void)state;
    struct scalar zero = {{0}}, negative = scalar_negate(&zero);
    assert_memory_equal(&negative, &zero, sizeof zero);
    for (int word = 0; word < 4; word++) {
        struct scalar one = {{0}}, again;
        one.word[word] = 1;
        negative = scalar_negate(&one);
        assert_true(scalar_from_canonical((const uint8_t *)negative.word, &again));
        again = scalar_negate(&negative);
        assert_memory_equal(&again, &one, sizeof one);
        assert_memory_not_equal(&negative, &one, sizeof one);
    }
}

static void only_numbers_below_the_order_are_canonical(void **state)
{
    (void)state;
    struct scalar s;
    uint8_t bytes[32];
    memcpy(bytes, order_bytes, 32);
    assert_false(scalar_from_canonical(bytes, &s));
    bytes[0]++;
    assert_false(scalar_from_canonical(bytes, &s));
    bytes[0] = (uint8_t)(bytes[0] - 2);
    assert_true(scalar_from_canonical(bytes, &s));
    memset(bytes, 0xff, 32);
    assert_false(scalar_from_canonical(bytes, &s));
    memset(bytes, 0, 32);
    assert_true(scalar_from_canonical(bytes, &s));
}

/* ---- sums ---- */

/* A term with points of every kind and scalars at the edges among the random ones. */
struct term {
    struct point point;
    struct point_lanes cached;
    struct scalar scalar;
};

static void term_draw(struct term *t, bool full)
{
    uint8_t bytes[32];
    do {
        randombytes_buf(bytes, sizeof bytes);
        if (randombytes_uniform(8) == 0)
            torsion_encoding(randombytes_uniform(TORSION_COUNT), bytes);
    } while (!point_decode(bytes, &t->point));
    t->cached = point_cache(&t->point);
    randombytes_buf(&t->scalar, sizeof t->scalar);
    switch (randombytes_uniform(6)) {
    case 0: memset(&t->scalar, 0xff, sizeof t->scalar); break;
    case 1: memset(&t->scalar, 0, sizeof t->scalar); break;
    default: break;
    }
    t->scalar.word[3] = full ? t->scalar.word[3] >> 1 : 0;
    if (!full)
        t->scalar.word[2] = 0;
}

static struct point terms_sum(const struct term *terms, size_t full, size_t count,
                              enum ed25519_kernel kernel)
{
    struct pippenger *p = pippenger_create(TERMS_MAX, kernel);
    assert_non_null(p);
    for (size_t i = 0; i < count; i++) {
        if (i < full)
            pippenger_add_full(p, &terms[i].cached, &terms[i].scalar);
        else
            pippenger_add_short(p, &terms[i].cached, terms[i].scalar.word);
    }
    struct point sum = pippenger_sum(p);
    pippenger_destroy(p);
    return sum;
}

static void a_sum_is_the_sum_of_its_multiples(void **state)
{
    (void)state;
    static struct term terms[TERMS_MAX];
    const struct scalar zero = {{0}};
    static const size_t counts[] = {0, 1, 2, 5, 17, 40, 160, TERMS_MAX};
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        size_t count = counts[c], full = c == 3 ? 1 : randombytes_uniform((uint32_t)count + 1);
        struct point expected = point_neutral;
        for (size_t i = 0; i < count; i++) {
            term_draw(&terms[i], i < full);
            struct point multiple = point_multiply(&terms[i].scalar, &terms[i].point, &zero);
            struct point_lanes cached = point_cache(&multiple);
            expected = point_add(&expected, &cached);
        }
        uint8_t wanted[32], found[32];
        point_encode(&expected, wanted);
        struct point sum = terms_sum(terms, full, count, ED25519_KERNEL_PORTABLE);
        point_encode(&sum, found);
        assert_memory_equal(found, wanted, 32);
        if (!ifma_available())
            continue;
        sum = terms_sum(terms, full, count, ED25519_KERNEL_IFMA);
        point_encode(&sum, found);
        assert_memory_equal(found, wanted, 32);
    }
}

static void multiples_of_the_base_are_those_of_libsodium(void **state)
{
    (void)state;
    const struct scalar zero = {{0}};
    for (int i = 0; i < 50; i++) {
        uint8_t a[32], wanted[32], found[32];
        struct scalar scalar;
        crypto_core_ed25519_scalar_random(a);
        assert_true(scalar_from_canonical(a, &scalar));
        assert_int_equal(crypto_scalarmult_ed25519_base_noclamp(wanted, a), 0);
        struct point p = point_multiply(&zero, &point_base, &scalar);
        point_encode(&p, found);
        assert_memory_equal(found, wanted, 32);
        p = point_multiply(&scalar, &point_base, &zero);
        point_encode(&p, found);
        assert_memory_equal(found, wanted, 32);
    }
}

/* ---- vectors ---- */

static void vectors_multiply_as_the_portable_code_does(void **state)
{
    (void)state;
    if (!ifma_available())
        skip();
    for (int round = 0; round < ROUNDS; round++) {
        struct field a[IFMA_LANES], b[IFMA_LANES], product[IFMA_LANES], square[IFMA_LANES];
        for (int i = 0; i < IFMA_LANES; i++) {
            a[i] = field_draw();
            b[i] = field_draw();
        }
        ifma_multiply(a, b, product);
        ifma_square(a, square);
        for (int i = 0; i < IFMA_LANES; i++) {
            struct field expected = field_multiply(&a[i], &b[i]);
            field_expect(&product[i], &expected);
            expected = field_square(&a[i]);
            field_expect(&square[i], &expected);
        }
    }
}

static void vectors_decode_as_the_portable_code_does(void **state)
{
    (void)state;
    if (!ifma_available())
        skip();
    size_t decoded = 0;
    for (int round = 0; round < ROUNDS / 4; round++) {
        uint8_t bytes[IFMA_LANES][32];
        const uint8_t *pointers[IFMA_LANES];
        for (int i = 0; i < IFMA_LANES; i++) {
            pointers[i] = bytes[i];
            randombytes_buf(bytes[i], 32);
            if (randombytes_uniform(4) == 0)
                torsion_encoding(randombytes_uniform(TORSION_COUNT), bytes[i]);
            if (randombytes_uniform(16) == 0)
                memset(bytes[i] + 1, 0xff, 31);
        }
        struct point points[IFMA_LANES];
        unsigned good = ifma_decode(pointers, points);
        for (int i = 0; i < IFMA_LANES; i++) {
            struct point expected;
            assert_int_equal(good >> i & 1, point_decode(bytes[i], &expected));
            if (!(good >> i & 1))
                continue;
            decoded++;
            field_expect(&points[i].x, &expected.x);
            field_expect(&points[i].y, &expected.y);
            field_expect(&points[i].z, &expected.z);
            field_expect(&points[i].t, &expected.t);
        }
    }
    assert_true(decoded > 0);
}

static void point_expect(const struct point *found, const struct point *wanted)
{
    uint8_t left[32], right[32];
    point_encode(found, left);
    point_encode(wanted, right);
    assert_memory_equal(left, right, 32);
}

static void vectors_multiply_points_as_the_portable_code_does(void **state)
{
    (void)state;
    if (!ifma_available())
        skip();
    for (int round = 0; round < 300; round++) {
        struct term a, b;
        term_draw(&a, true);
        term_draw(&b, true);
        struct point found = ifma_multiply_points(&a.scalar, &a.point, &b.scalar);
        struct point wanted = point_multiply(&a.scalar, &a.point, &b.scalar);
        point_expect(&found, &wanted);
        unsigned doublings = randombytes_uniform(9);
        ifma_shift_add(&found, doublings, &b.point);
        for (unsigned i = 0; i < doublings; i++)
            wanted = point_double(&wanted);
        wanted = point_add(&wanted, &b.cached);
        point_expect(&found, &wanted);
        struct field left = field_multiply(&found.x, &found.y);
        struct field right = field_multiply(&found.z, &found.t);
        field_expect(&left, &right);
    }
}

/* One room for sums of every size up to what it holds. */
static void a_sum_by_rows_is_the_sum_of_its_multiples(void **state)
{
    (void)state;
    enum { MOST = SANITIZED ? 20 : 260 };
    if (!ifma_available())
        skip();
    static struct term terms[MOST];
    const struct scalar zero = {{0}};
    struct straus *straus = straus_create(MOST);
    assert_non_null(straus);
    for (size_t count = 0; count <= MOST; count += count < 20 ? 1 : 16) {
        struct term base;
        term_draw(&base, true);
        struct point wanted = point_multiply(&zero, &point_base, &base.scalar);
        for (size_t i = 0; i < count; i++) {
            term_draw(&terms[i], i % 3 != 0);
            struct point multiple = point_multiply(&terms[i].scalar, &terms[i].point, &zero);
            struct point_lanes cached = point_cache(&multiple);
            wanted = point_add(&wanted, &cached);
            straus_add(straus, &terms[i].cached, &terms[i].scalar);
        }
        struct point found = straus_sum(straus, &base.scalar);
        point_expect(&found, &wanted);
    }
    straus_destroy(straus);
}

/* The form of this scalar has a digit wherever it may have one: the room for digits is filled. */
static void a_sum_by_rows_has_room_for_every_digit(void **state)
{
    (void)state;
    enum { COUNT = 16 };
    if (!ifma_available())
        skip();
    struct scalar dense = {{0}};
    for (unsigned at = 0; at < 255; at += POINT_ODD_BITS)
        dense.word[at / 64] |= UINT64_C(1) << at % 64;
    const struct scalar zero = {{0}};
    struct straus *straus = straus_create(COUNT);
    assert_non_null(straus);
    struct point wanted = point_neutral;
    struct term terms[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        term_draw(&terms[i], true);
        struct point multiple = point_multiply(&dense, &terms[i].point, &zero);
        struct point_lanes cached = point_cache(&multiple);
        wanted = point_add(&wanted, &cached);
        straus_add(straus, &terms[i].cached, &dense);
    }
    struct point found = straus_sum(straus, &zero);
    point_expect(&found, &wanted);
    straus_destroy(straus);
}

/* The form's digits add up to the number, are odd and small, and stand apart. */
static void a_non_adjacent_form_is_its_number(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        struct term t;
        term_draw(&t, round % 2 == 0);
        if (round % 3 == 0)
            t.scalar.word[round / 3 % 3] = 0; /* long runs of zeros */
        for (unsigned bits = 2; bits <= 8; bits++) {
            struct scalar_naf_part parts[SCALAR_NAF_PARTS_MAX];
            int8_t digits[SCALAR_NAF_DIGITS];
            size_t count = scalar_naf_parts(&t.scalar, bits, parts), nonzero = 0;
            scalar_naf(&t.scalar, bits, digits);
            for (size_t i = 0; i < count; i++) {
                assert_true(parts[i].digit % 2 != 0 && abs(parts[i].digit) < 1 << (bits - 1));
                assert_true(i == 0 || parts[i].at >= parts[i - 1].at + bits);
                assert_int_equal(digits[parts[i].at], parts[i].digit);
            }
            /* sum = 2·sum + digit from the top; it never goes below zero, as the number does not */
            unsigned __int128 low = 0, high = 0;
            for (int at = SCALAR_NAF_DIGITS - 1; at >= 0; at--) {
                int digit = digits[at];
                nonzero += digit != 0;
                high = high << 1 | low >> 127;
                low <<= 1;
                unsigned __int128 before = low;
                low += (unsigned __int128)(__int128)digit;
                if (digit < 0)
                    high -= low > before;
                else
                    high += low < before;
            }
            assert_int_equal(nonzero, count);
            assert_true((uint64_t)low == t.scalar.word[0]);
            assert_true((uint64_t)(low >> 64) == t.scalar.word[1]);
            assert_true((uint64_t)high == t.scalar.word[2]);
            assert_true((uint64_t)(high >> 64) == t.scalar.word[3]);
        }
    }
}

static void vectors_make_odd_multiples_as_the_portable_code_does(void **state)
{
    (void)state;
    if (!ifma_available())
        skip();
    for (int round = 0; round < 100; round++) {
        struct term terms[IFMA_LANES];
        const struct point_lanes *points[IFMA_LANES];
        struct point_lanes found[IFMA_LANES][POINT_ODD], wanted[POINT_ODD];
        for (int i = 0; i < IFMA_LANES; i++) {
            term_draw(&terms[i], true);
            points[i] = &terms[i].cached;
        }
        ifma_odd_multiples(points, found);
        for (int i = 0; i < IFMA_LANES; i++) {
            point_odd_multiples(&terms[i].point, wanted, POINT_ODD);
            for (int j = 0; j < POINT_ODD; j++) {
                struct point a = point_add(&point_neutral, &found[i][j]);
                struct point b = point_add(&point_neutral, &wanted[j]);
                point_expect(&a, &b);
                struct field left = field_multiply(&a.x, &a.y), right = field_multiply(&a.z, &a.t);
                field_expect(&left, &right);
            }
        }
    }
}

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_field_keeps_its_laws_at_the_edges_of_its_bounds),
        cmocka_unit_test(numbers_not_below_p_are_taken_modulo_p),
        cmocka_unit_test(non_canonical_points_decode_like_their_canonical_twins),
        cmocka_unit_test(scalars_are_those_of_libsodium),
        cmocka_unit_test(a_number_and_its_negative_are_below_the_order_and_add_up_to_it),
        cmocka_unit_test(only_numbers_below_the_order_are_canonical),
        cmocka_unit_test(a_sum_is_the_sum_of_its_multiples),
        cmocka_unit_test(multiples_of_the_base_are_those_of_libsodium),
        cmocka_unit_test(vectors_multiply_as_the_portable_code_does),
        cmocka_unit_test(vectors_decode_as_the_portable_code_does),
        cmocka_unit_test(vectors_multiply_points_as_the_portable_code_does),
        cmocka_unit_test(a_sum_by_rows_is_the_sum_of_its_multiples),
        cmocka_unit_test(a_sum_by_rows_has_room_for_every_digit),
        cmocka_unit_test(vectors_make_odd_multiples_as_the_portable_code_does),
        cmocka_unit_test(a_non_adjacent_form_is_its_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
