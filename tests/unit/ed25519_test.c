/* Verdicts on Ed25519 signatures, one by one and in batches (src/crypto/ed25519.c, _batch.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/sanitized.h"
#include "ed25519_fixture.h"

#include "crypto/ed25519_batch.h"
#include "crypto/ed25519_ifma.h"
#include "crypto/ed25519_known.h"

#include <stdlib.h>

/* Of ordinary signatures; sanitizers make arithmetic ten times slower. */
#define ORDINARY (SANITIZED ? 1000 : 10000)
#define POOL     240
#define MANY     130 /* more than go into one sum by rows */

static struct ed25519_item item_of(const struct signed_message *m)
{
    return (struct ed25519_item){m->public_key, m->signature, m->message, m->len};
}

/* The verdict on one, which is the same when its key is known beforehand. Making a key known takes
 * long: the last one stays. */
static bool single(const struct signed_message *m)
{
    static struct ed25519_known *known;
    struct error e;
    bool valid = ed25519_verify(m->public_key, m->message, m->len, m->signature);
    if (known && memcmp(ed25519_known_key(known), m->public_key, ED25519_KEY_LEN) != 0) {
        ed25519_known_destroy(known);
        known = NULL;
    }
    if (!known)
        assert_int_equal(ed25519_known_create(m->public_key, &known, &e), 0);
    assert_int_equal(ed25519_known_verify(known, m->message, m->len, m->signature), valid);
    return valid;
}

static struct ed25519_batch *batch_of(size_t capacity, enum ed25519_kernel kernel)
{
    struct ed25519_batch *batch;
    struct error e;
    assert_int_equal(ed25519_batch_create(capacity, kernel, &batch, &e), 0);
    return batch;
}

/* The kernels this processor has, beginning with the portable one. */
static int kernels(enum ed25519_kernel out[static 2])
{
    out[0] = ED25519_KERNEL_PORTABLE;
    out[1] = ED25519_KERNEL_IFMA;
    return ifma_available() ? 2 : 1;
}

/* Every kernel's batch verdict on all of them, in batches of a capacity. */
static void batches_expect(const struct signed_message *messages, size_t count,
                           const bool *expected, size_t capacity)
{
    struct ed25519_item *items = calloc(count, sizeof *items);
    bool *valid = calloc(count, sizeof *valid);
    for (size_t i = 0; i < count; i++)
        items[i] = item_of(&messages[i]);
    enum ed25519_kernel kernel[2];
    int known = kernels(kernel);
    struct error e;
    for (int k = 0; k < known; k++) {
        struct ed25519_batch *batch = batch_of(capacity, kernel[k]);
        memset(valid, 0x55, count);
        assert_int_equal(ed25519_batch_verify(batch, items, count, valid, &e), 0);
        assert_memory_equal(valid, expected, count);
        ed25519_batch_destroy(batch);
    }
    free(valid);
    free(items);
}

/* One by one, as ed25519_verify does it in either way, and all together. */
static void batch_expect(const struct signed_message *messages, size_t count, const bool *expected)
{
    batches_expect(messages, count, expected, 1);
    batches_expect(messages, count, expected, count);
}

static void message_fill(struct signed_message *m)
{
    m->len = randombytes_uniform(sizeof m->message + 1);
    randombytes_buf(m->message, sizeof m->message);
}

static void message_sign(struct signed_message *m)
{
    uint8_t seed[32];
    message_fill(m);
    randombytes_buf(seed, sizeof seed);
    signed_by_sodium(m, seed);
}

static void scalars_draw(uint8_t a[static 32], uint8_t r[static 32])
{
    crypto_core_ed25519_scalar_random(a);
    crypto_core_ed25519_scalar_random(r);
}

static void bit_flip(uint8_t *bytes, size_t len)
{
    size_t bit = randombytes_uniform((uint32_t)len * 8);
    bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
}

/* ---- known answers ---- */

static void the_examples_of_rfc_8032_verify(void **state)
{
    (void)state;
    static const char *const example[][3] = {
        {"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
         "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
         "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"},
        {"3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
         "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
         "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"},
        {"fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
         "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
         "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"},
        {"ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
         "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
         "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
         "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b589"
         "09351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704"},
    };
    enum { COUNT = sizeof example / sizeof *example };
    struct signed_message messages[COUNT];
    bool expected[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        struct signed_message *m = &messages[i];
        sodium_hex2bin(m->public_key, 32, example[i][0], 64, NULL, NULL, NULL);
        sodium_hex2bin(m->message, sizeof m->message, example[i][1], strlen(example[i][1]), NULL,
                       &m->len, NULL);
        sodium_hex2bin(m->signature, 64, example[i][2], 128, NULL, NULL, NULL);
        expected[i] = true;
        assert_true(single(m));
    }
    batch_expect(messages, COUNT, expected);
}

static void every_single_bit_of_a_signature_matters(void **state)
{
    (void)state;
    struct signed_message m;
    message_sign(&m);
    m.len = 32;
    uint8_t seed[32] = {7};
    signed_by_sodium(&m, seed);
    assert_true(single(&m));
    uint8_t *parts[] = {m.signature, m.public_key, m.message};
    const size_t lens[] = {64, 32, 32};
    for (size_t part = 0; part < 3; part++) {
        for (size_t bit = 0; bit < 8 * lens[part]; bit++) {
            parts[part][bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_false(single(&m));
            parts[part][bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
    m.len = 31;
    assert_false(single(&m));
}

/* ---- ZIP-215 ---- */

static void all_196_pairs_of_small_encodings_verify_with_s_zero(void **state)
{
    (void)state;
    static struct signed_message messages[TORSION_COUNT * TORSION_COUNT];
    static bool expected[TORSION_COUNT * TORSION_COUNT];
    size_t count = 0, refused_by_sodium = 0;
    for (size_t a = 0; a < TORSION_COUNT; a++) {
        for (size_t r = 0; r < TORSION_COUNT; r++) {
            struct signed_message *m = &messages[count];
            *m = (struct signed_message){.message = "Zcash", .len = 5};
            torsion_encoding(a, m->public_key);
            torsion_encoding(r, m->signature);
            assert_true(single(m));
            expected[count++] = true;
            refused_by_sodium +=
                crypto_sign_verify_detached(m->signature, m->message, m->len, m->public_key) != 0;
        }
    }
    batch_expect(messages, count, expected);
    /* The reason why there is a verifier of our own. */
    assert_true(refused_by_sodium > 0);
}

static void parts_of_small_order_in_key_and_commitment_do_not_matter(void **state)
{
    (void)state;
    static struct signed_message messages[64];
    static bool expected[64];
    for (size_t i = 0; i < 64; i++) {
        uint8_t a[32], r[32];
        scalars_draw(a, r);
        message_fill(&messages[i]);
        signed_with_torsion(&messages[i], a, r, i % 8, i / 8);
        assert_true(single(&messages[i]));
        expected[i] = true;
    }
    batch_expect(messages, 64, expected);
}

static void a_small_commitment_does_not_excuse_a_wrong_equation(void **state)
{
    (void)state;
    struct signed_message m;
    message_sign(&m);
    memset(m.signature, 0, 64);
    for (size_t i = 0; i < TORSION_COUNT; i++) {
        torsion_encoding(i, m.signature);
        assert_false(single(&m)); /* an honest key, s = 0 */
    }
    for (size_t i = 0; i < TORSION_COUNT; i++) {
        torsion_encoding(i, m.signature);
        torsion_encoding(i, m.public_key);
        m.signature[32] = 1; /* a small key, s = 1 */
        assert_false(single(&m));
    }
}

static void s_must_be_below_the_order(void **state)
{
    (void)state;
    struct signed_message m;
    message_sign(&m);
    unsigned carry = 0;
    uint8_t above[32];
    for (size_t i = 0; i < 32; i++) {
        carry += (unsigned)m.signature[32 + i] + order_bytes[i];
        above[i] = (uint8_t)carry;
        carry >>= 8;
    }
    assert_true(single(&m));
    memcpy(m.signature + 32, above, 32); /* S + L satisfies the equation */
    assert_false(single(&m));

    struct signed_message small = {.len = 0};
    torsion_encoding(0, small.public_key);
    torsion_encoding(0, small.signature);
    assert_true(single(&small));
    memcpy(small.signature + 32, order_bytes, 32); /* as does S = L here */
    assert_false(single(&small));
    memset(small.signature + 32, 0xff, 32);
    assert_false(single(&small));
}

static void keys_and_commitments_off_the_curve_are_refused(void **state)
{
    (void)state;
    struct signed_message messages[3];
    bool expected[3] = {false, false, true};
    message_sign(&messages[2]);
    messages[0] = messages[1] = messages[2];
    memset(messages[0].public_key, 0, 32);
    messages[0].public_key[0] = 2; /* y = 2: x² is no square */
    memset(messages[1].signature, 0, 32);
    messages[1].signature[0] = 2;
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(single(&messages[i]), expected[i]);
    batch_expect(messages, 3, expected);
}

/* ---- keys ---- */

static void keys_to_be_registered_must_be_canonical_and_of_prime_order(void **state)
{
    (void)state;
    struct error e;
    struct signed_message m;
    for (int i = 0; i < 20; i++) {
        message_sign(&m);
        assert_int_equal(ed25519_key_check(m.public_key, &e), 0);
        assert_false(ed25519_key_is_small(m.public_key));
    }
    uint8_t key[32];
    for (size_t i = 0; i < TORSION_COUNT; i++) {
        torsion_encoding(i, key);
        assert_int_equal(ed25519_key_check(key, &e), -ATOLL_EINVAL);
        assert_true(ed25519_key_is_small(key));
        if (i == 0 || i >= 8)
            continue;
        points_add(m.public_key, key, key);
        assert_int_equal(ed25519_key_check(key, &e), -ATOLL_EINVAL);
        assert_false(ed25519_key_is_small(key));
    }
    memset(key, 0xff, 32);
    key[31] = 0x7f;
    for (unsigned low = 0xef; low <= 0xff; low++) { /* y from p + 2 to 2^255 - 1 */
        key[0] = (uint8_t)low;
        assert_int_equal(ed25519_key_check(key, &e), -ATOLL_EINVAL);
        assert_false(ed25519_key_is_small(key));
    }
}

/* ---- against others ---- */

static void ordinary_signatures_get_the_verdict_of_libsodium(void **state)
{
    (void)state;
    struct signed_message *messages = calloc(ORDINARY, sizeof *messages);
    bool *expected = calloc(ORDINARY, sizeof *expected);
    uint8_t seed[32] = {0};
    for (size_t i = 0; i < ORDINARY; i++) {
        struct signed_message *m = &messages[i];
        message_fill(m);
        randombytes_buf(seed, 1); /* 256 keys */
        signed_by_sodium(m, seed);
        switch (randombytes_uniform(16)) {
        case 0: bit_flip(m->signature, 32); break;
        case 1: bit_flip(m->signature + 32, 32); break;
        case 2: bit_flip(m->public_key, 32); break;
        case 3: m->message[0] ^= m->len > 0; break;
        default: break;
        }
        expected[i] =
            crypto_sign_verify_detached(m->signature, m->message, m->len, m->public_key) == 0;
        assert_int_equal(single(m), expected[i]);
    }
    for (size_t at = 0; at < ORDINARY; at += 500)
        batch_expect(messages + at, 500, expected + at);
    free(expected);
    free(messages);
}

/* One of every kind: honest, crafted, broken. */
static void pool_fill(struct signed_message *m, size_t index)
{
    uint8_t a[32], r[32], seed[32] = {0};
    scalars_draw(a, r);
    message_fill(m);
    seed[0] = (uint8_t)(index % 5);
    signed_by_sodium(m, seed);
    switch (index % 8) {
    case 0: signed_with_torsion(m, a, r, randombytes_uniform(8), randombytes_uniform(8)); break;
    case 1:
        memset(m->signature, 0, 64);
        torsion_encoding(randombytes_uniform(TORSION_COUNT), m->signature);
        torsion_encoding(randombytes_uniform(TORSION_COUNT), m->public_key);
        break;
    case 2:
        signed_with_torsion(m, a, r, randombytes_uniform(8), randombytes_uniform(8));
        bit_flip(m->signature + 32, 31);
        break;
    case 3: bit_flip(m->signature, 64); break;
    case 4: memcpy(m->signature + 32, order_bytes, 32); break;
    default: break;
    }
}

/* Draws a batch in which about one in `rarity` is bad, and compares it with the single verdicts. */
static void mix_check(struct ed25519_batch *batch, const struct signed_message *pool,
                      const bool *expected, unsigned rarity)
{
    struct ed25519_item items[100];
    bool valid[100], wanted[100];
    size_t count = 1 + randombytes_uniform(100);
    for (size_t i = 0; i < count; i++) {
        bool bad = randombytes_uniform(rarity) == 0;
        size_t at;
        do
            at = randombytes_uniform(POOL);
        while (expected[at] == bad);
        items[i] = item_of(&pool[at]);
        wanted[i] = expected[at];
    }
    struct error e;
    memset(valid, 0x55, sizeof valid);
    assert_int_equal(ed25519_batch_verify(batch, items, count, valid, &e), 0);
    assert_memory_equal(valid, wanted, count);
}

static void a_batch_gives_the_single_verdicts_in_every_grouping(void **state)
{
    (void)state;
    static struct signed_message pool[POOL];
    static bool expected[POOL];
    size_t good = 0;
    for (size_t i = 0; i < POOL; i++) {
        pool_fill(&pool[i], i);
        expected[i] = single(&pool[i]);
        good += expected[i];
    }
    assert_true(good > POOL / 4 && good < POOL * 3 / 4 + 1);
    enum ed25519_kernel kernel[2];
    int known = kernels(kernel);
    static const size_t capacities[] = {1, 2, 3, 7, 16, 100};
    for (int k = 0; k < known; k++) {
        for (size_t c = 0; c < sizeof capacities / sizeof *capacities; c++) {
            struct ed25519_batch *batch = batch_of(capacities[c], kernel[k]);
            for (unsigned rarity = 1; rarity <= 64; rarity *= 4)
                mix_check(batch, pool, expected, rarity);
            ed25519_batch_destroy(batch);
        }
    }
}

static void one_bad_signature_is_found_wherever_it_lies(void **state)
{
    (void)state;
    enum { COUNT = 67 };
    struct signed_message messages[COUNT];
    bool expected[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        message_sign(&messages[i]);
        expected[i] = true;
    }
    for (size_t bad = 0; bad < COUNT; bad++) {
        messages[bad].signature[40] ^= 1;
        expected[bad] = false;
        batches_expect(messages, COUNT, expected, COUNT);
        messages[bad].signature[40] ^= 1;
        expected[bad] = true;
    }
}

/* Valid ones: two of libsodium under one key, and between them two that only ZIP-215 takes: with
 * parts of small order, and of small order altogether. */
static void few_fill(struct signed_message *messages, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint8_t a[32], r[32], seed[32] = {(uint8_t)(i / 4)};
        message_fill(&messages[i]);
        scalars_draw(a, r);
        if (i % 4 == 1) {
            signed_with_torsion(&messages[i], a, r, randombytes_uniform(8), randombytes_uniform(8));
        } else if (i % 4 == 3) {
            memset(messages[i].signature, 0, 64);
            torsion_encoding(randombytes_uniform(TORSION_COUNT), messages[i].signature);
            torsion_encoding(randombytes_uniform(TORSION_COUNT), messages[i].public_key);
        } else {
            signed_by_sodium(&messages[i], seed);
        }
    }
}

/* Breaks a signature in one of the ways in which one can be. */
static void few_break(struct signed_message *m, size_t way)
{
    switch (way % 4) {
    case 0: m->signature[32] ^= 1; break;
    case 1: memcpy(m->signature + 32, order_bytes, 32); break;
    case 2: /* y = 2 is of no point */
        memset(m->signature, 0, 32);
        m->signature[0] = 2;
        break;
    default:
        memset(m->public_key, 0, 32);
        m->public_key[0] = 2;
        break;
    }
}

/* bad: which one is; count: none. */
static void one_bad_expect(struct signed_message *messages, size_t count, size_t bad)
{
    bool expected[MANY];
    few_fill(messages, count);
    for (size_t i = 0; i < count; i++)
        expected[i] = true;
    if (bad < count) {
        few_break(&messages[bad], bad + count);
        expected[bad] = false;
    }
    for (size_t i = 0; i < count; i++)
        assert_int_equal(ed25519_verify(messages[i].public_key, messages[i].message,
                                        messages[i].len, messages[i].signature),
                         expected[i]);
    batches_expect(messages, count, expected, count);
}

/* Up to more than go into one sum by rows (FEW_MAX), and more than make a table of keys. */
static void signatures_get_their_single_verdicts_wherever_a_bad_one_stands(void **state)
{
    (void)state;
    enum { EVERY = SANITIZED ? 10 : 18 };
    static struct signed_message messages[MANY];
    for (size_t count = 1; count <= EVERY; count++)
        for (size_t bad = 0; bad <= count; bad++)
            one_bad_expect(messages, count, bad);
    for (size_t count = 127; count <= MANY; count++)
        for (size_t round = 0; round < (SANITIZED ? 1 : 3); round++)
            one_bad_expect(messages, count, randombytes_uniform((uint32_t)count + 1));
}

/* A sum that came out wrong would be made good by single checks, but slowly. */
static void good_signatures_are_checked_together_and_not_singly(void **state)
{
    (void)state;
    enum { MOST = 150 };
    static struct signed_message messages[MOST];
    struct ed25519_item items[MOST];
    bool valid[MOST];
    struct error e;
    few_fill(messages, MOST);
    for (size_t i = 0; i < MOST; i++)
        items[i] = item_of(&messages[i]);
    enum ed25519_kernel kernel[2];
    int known = kernels(kernel);
    for (int k = 0; k < known; k++) {
        size_t least = kernel[k] == ED25519_KERNEL_IFMA ? 2 : 8;
        struct ed25519_batch *batch = batch_of(MOST, kernel[k]);
        for (size_t count = least; count <= MOST; count += count < 24 ? 1 : 16) {
            assert_int_equal(ed25519_batch_verify(batch, items, count, valid, &e), 0);
            assert_int_equal(ed25519_batch_singles(batch), 0);
        }
        assert_int_equal(ed25519_batch_verify(batch, items, 1, valid, &e), 0);
        assert_int_equal(ed25519_batch_singles(batch), 1);
        /* A bad one is looked for by halves: at most two groups are checked singly. */
        few_break(&messages[70], 0);
        assert_int_equal(ed25519_batch_verify(batch, items, MOST, valid, &e), 0);
        assert_true(ed25519_batch_singles(batch) > 1 && ed25519_batch_singles(batch) <= 1 + 16);
        few_break(&messages[70], 0); /* undone */
        /* One half is bad; the other is not suspected for it. */
        few_break(&messages[2], 0);
        uint64_t before = ed25519_batch_singles(batch);
        assert_int_equal(ed25519_batch_verify(batch, items, 16, valid, &e), 0);
        assert_int_equal(ed25519_batch_singles(batch) - before, 8);
        few_break(&messages[2], 0);
        ed25519_batch_destroy(batch);
    }
}

static void bad_signatures_cannot_cancel_each_other(void **state)
{
    (void)state;
    enum { COUNT = 16 };
    struct signed_message messages[COUNT];
    bool expected[COUNT];
    uint8_t seed[32] = {1}, one[32] = {1};
    for (size_t i = 0; i < COUNT; i++) {
        expected[i] = i > 1;
        message_fill(&messages[i]);
        signed_by_sodium(&messages[i], seed);
    }
    /* S + 1 in one and S - 1 in the other: their plain sum holds. */
    crypto_core_ed25519_scalar_add(messages[0].signature + 32, messages[0].signature + 32, one);
    crypto_core_ed25519_scalar_sub(messages[1].signature + 32, messages[1].signature + 32, one);
    for (int i = 0; i < 50; i++)
        batches_expect(messages, COUNT, expected, COUNT);
}

static void a_batch_has_bounds(void **state)
{
    (void)state;
    struct ed25519_batch *batch;
    struct error e;
    assert_int_equal(ed25519_batch_create(0, ED25519_KERNEL_BEST, &batch, &e), -ATOLL_EINVAL);
    assert_null(batch);
    assert_int_equal(ed25519_batch_create(ED25519_BATCH_MAX + 1, ED25519_KERNEL_BEST, &batch, &e),
                     -ATOLL_EINVAL);
    assert_null(batch);
    batch = batch_of(ED25519_BATCH_MAX, ED25519_KERNEL_BEST);
    assert_int_equal(ed25519_batch_verify(batch, NULL, 0, NULL, &e), 0);
    ed25519_batch_destroy(batch);
}

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_examples_of_rfc_8032_verify),
        cmocka_unit_test(every_single_bit_of_a_signature_matters),
        cmocka_unit_test(all_196_pairs_of_small_encodings_verify_with_s_zero),
        cmocka_unit_test(parts_of_small_order_in_key_and_commitment_do_not_matter),
        cmocka_unit_test(a_small_commitment_does_not_excuse_a_wrong_equation),
        cmocka_unit_test(s_must_be_below_the_order),
        cmocka_unit_test(keys_and_commitments_off_the_curve_are_refused),
        cmocka_unit_test(keys_to_be_registered_must_be_canonical_and_of_prime_order),
        cmocka_unit_test(ordinary_signatures_get_the_verdict_of_libsodium),
        cmocka_unit_test(a_batch_gives_the_single_verdicts_in_every_grouping),
        cmocka_unit_test(one_bad_signature_is_found_wherever_it_lies),
        cmocka_unit_test(signatures_get_their_single_verdicts_wherever_a_bad_one_stands),
        cmocka_unit_test(good_signatures_are_checked_together_and_not_singly),
        cmocka_unit_test(bad_signatures_cannot_cancel_each_other),
        cmocka_unit_test(a_batch_has_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
