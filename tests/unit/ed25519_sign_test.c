/* Signing with Ed25519 (src/crypto/ed25519_sign.c, _fixed.c): the signatures of RFC 8032, bit for
 * bit, whichever way the multiple of the base point is made. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ed25519_fixture.h"

#include "crypto/ed25519_fixed.h"
#include "crypto/ed25519_sign.h"

#define ROUNDS 2000

static void from_hex(uint8_t *out, const char *hex, size_t len)
{
    assert_int_equal(sodium_hex2bin(out, len, hex, 2 * len, NULL, NULL, NULL), 0);
}

/* Every way that this processor has must give this signature. */
static void signatures_expect(const uint8_t seed[static 32], const uint8_t *message, size_t len,
                              const uint8_t public_key[static 32],
                              const uint8_t signature[static 64])
{
    struct ed25519_signer signer;
    uint8_t found[ED25519_SIGNATURE_LEN];
    ed25519_signer_init(&signer, seed);
    assert_memory_equal(signer.public_key, public_key, ED25519_KEY_LEN);
    for (enum ed25519_base with = ED25519_BASE_LIBSODIUM; with <= ed25519_base_best(); with++) {
        memset(found, 0, sizeof found);
        ed25519_sign_with(with, &signer, message, len, found);
        assert_memory_equal(found, signature, sizeof found);
    }
    ed25519_sign(&signer, message, len, found);
    assert_memory_equal(found, signature, sizeof found);
}

static void the_examples_of_rfc_8032_are_signed_as_there(void **state)
{
    (void)state;
    static const struct {
        const char *seed, *public_key, *message, *signature;
    } examples[] = {
        {"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
         "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
         "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701"
         "cf9b46bd25bf5f0595bbe24655141438e7a100b"},
        {"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
         "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
         "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d"
         "0f11d8c387b2eaeb4302aeeb00d291612bb0c00"},
        {"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
         "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
         "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f7609"
         "84dc6594a7c15e9716ed28dc027beceea1ec40a"},
    };
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        uint8_t seed[32], public_key[32], message[2], signature[64];
        size_t len = strlen(examples[i].message) / 2;
        from_hex(seed, examples[i].seed, 32);
        from_hex(public_key, examples[i].public_key, 32);
        from_hex(message, examples[i].message, len);
        from_hex(signature, examples[i].signature, 64);
        signatures_expect(seed, message, len, public_key, signature);
    }
}

static void signatures_are_those_of_libsodium(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROUNDS; i++) {
        struct signed_message m = {.len = i % (sizeof m.message + 1)};
        uint8_t seed[32];
        randombytes_buf(seed, sizeof seed);
        randombytes_buf(m.message, sizeof m.message);
        signed_by_sodium(&m, seed);
        signatures_expect(seed, m.message, m.len, m.public_key, m.signature);
        assert_true(ed25519_verify(m.public_key, m.message, m.len, m.signature));
    }
}

static void multiple_expect(const uint8_t scalar[static 32])
{
    uint8_t found[32], wanted[32];
    const struct fixed_table *table = fixed_table_base();
    struct point multiple = ifma_fixed_sum(&table, &scalar, 1);
    point_encode(&multiple, found);
    if (crypto_scalarmult_ed25519_base_noclamp(wanted, scalar) != 0) {
        memset(wanted, 0, sizeof wanted); /* it refuses the neutral element */
        wanted[0] = 1;
    }
    assert_memory_equal(found, wanted, sizeof found);
}

/* Every digit in every place alone, runs of equal digits whose carries run through, and numbers
 * about the order and 2^255. */
static void multiples_of_the_base_point_hold_for_every_digit(void **state)
{
    (void)state;
    if (!ifma_available())
        skip();
    uint8_t scalar[32] = {0};
    multiple_expect(scalar);
    for (unsigned place = 0; place < 64; place++) {
        for (unsigned digit = 1; digit < (place == 63 ? 8 : 16); digit++) {
            memset(scalar, 0, sizeof scalar);
            scalar[place / 2] = (uint8_t)(digit << place % 2 * 4);
            multiple_expect(scalar);
        }
    }
    for (unsigned digit = 1; digit < 16; digit++) {
        memset(scalar, (int)(digit | digit << 4), sizeof scalar);
        scalar[31] &= 0x7f;
        multiple_expect(scalar);
    }
    for (int off = -3; off <= 3; off++) {
        memcpy(scalar, order_bytes, sizeof scalar);
        scalar[0] = (uint8_t)(scalar[0] + off);
        multiple_expect(scalar);
    }
    for (size_t i = 0; i < ROUNDS; i++) {
        randombytes_buf(scalar, sizeof scalar);
        scalar[31] &= 0x7f;
        multiple_expect(scalar);
    }
}

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_examples_of_rfc_8032_are_signed_as_there),
        cmocka_unit_test(signatures_are_those_of_libsodium),
        cmocka_unit_test(multiples_of_the_base_point_hold_for_every_digit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
