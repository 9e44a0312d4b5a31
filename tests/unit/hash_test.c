/* Hashes against the published vectors (src/crypto/hash.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "crypto/hash.h"

#include <string.h>

static void sha256_gives_the_values_of_fips_180(void **state)
{
    (void)state;
    uint8_t hash[HASH_LEN];
    char hex[2 * HASH_LEN + 1];
    hash_sha256("abc", 3, hash);
    hash_hex(hash, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    hash_sha256("", 0, hash);
    hash_hex(hash, hex);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void blake2b_gives_the_known_value_and_depends_on_the_key(void **state)
{
    (void)state;
    uint8_t plain[HASH_LEN], keyed[HASH_LEN], other[HASH_LEN];
    char hex[2 * HASH_LEN + 1];
    hash_blake2b("abc", 3, NULL, 0, plain);
    hash_hex(plain, hex);
    assert_string_equal(hex, "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
    uint8_t key[32] = {1};
    hash_blake2b("abc", 3, key, sizeof key, keyed);
    key[31] = 1;
    hash_blake2b("abc", 3, key, sizeof key, other);
    assert_false(hash_equal(plain, keyed));
    assert_false(hash_equal(keyed, other));
}

static void equality_sees_every_single_bit(void **state)
{
    (void)state;
    uint8_t a[HASH_LEN], b[HASH_LEN];
    hash_sha256("x", 1, a);
    memcpy(b, a, sizeof b);
    assert_true(hash_equal(a, b));
    for (unsigned bit = 0; bit < 8 * HASH_LEN; bit++) {
        b[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(hash_equal(a, b));
        b[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_gives_the_values_of_fips_180),
        cmocka_unit_test(blake2b_gives_the_known_value_and_depends_on_the_key),
        cmocka_unit_test(equality_sees_every_single_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
