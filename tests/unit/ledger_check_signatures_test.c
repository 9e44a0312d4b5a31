/* Signatures that are gathered and checked many at once (src/ledger/check/signatures.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "crypto/secret.h"
#include "ledger/check/signatures.h"

#include <sodium.h>
#include <string.h>

static void signature_make(uint64_t number, struct secret *secret, struct ledger_signature *out,
                           uint8_t signature[static ED25519_SIGNATURE_LEN])
{
    hash_sha256(&number, sizeof number, out->hash);
    secret_sign(secret, out->hash, HASH_LEN, signature);
    out->public_key = secret_public(secret);
    out->signature = signature;
}

static void a_signature_is_taken_once_only_when_all_of_it_is_the_same(void **state)
{
    (void)state;
    struct check_signatures *gathered;
    struct check_subject subject = {1, 2, "a signature"};
    struct ledger_signature one, changed;
    struct secret *secret, *other;
    uint8_t signature[ED25519_SIGNATURE_LEN], bad[ED25519_SIGNATURE_LEN];
    struct error e;
    assert_int_equal(secret_generate(&secret, &e), 0);
    assert_int_equal(secret_generate(&other, &e), 0);
    assert_int_equal(check_signatures_create(&gathered, &e), 0);
    signature_make(1, secret, &one, signature);
    for (int what = 0; what < 4; what++) {
        changed = one;
        memcpy(bad, signature, sizeof bad);
        bad[what == 3 ? 40 : 0] ^= what == 2 || what == 3;
        changed.signature = bad;
        changed.hash[HASH_LEN - 1] ^= what == 0;
        changed.public_key = what == 1 ? secret_public(other) : one.public_key;
        assert_int_equal(check_signatures_add(gathered, &one, subject, &e), 0);
        assert_int_equal(check_signatures_add(gathered, &one, subject, &e), 0);
        assert_int_equal(check_signatures_flush(gathered, &e), 0);
        assert_int_equal(check_signatures_add(gathered, &one, subject, &e), 0);
        assert_int_equal(check_signatures_add(gathered, &changed, subject, &e), 0);
        assert_int_equal(check_signatures_flush(gathered, &e), -ATOLL_ECORRUPT);
        assert_int_equal(check_signatures_flush(gathered, &e), 0); /* nothing is left */
    }
    check_signatures_destroy(gathered);
    secret_destroy(secret);
    secret_destroy(other);
}

static void thousands_of_signatures_are_checked_on_the_way(void **state)
{
    (void)state;
    struct check_signatures *gathered;
    struct ledger_signature one;
    struct secret *secret;
    uint8_t signature[ED25519_SIGNATURE_LEN];
    struct error e;
    int rc = 0;
    assert_int_equal(secret_generate(&secret, &e), 0);
    assert_int_equal(check_signatures_create(&gathered, &e), 0);
    for (uint64_t i = 0; i < 6000 && rc == 0; i++) {
        signature_make(i, secret, &one, signature);
        signature[7] ^= i == 2500;
        rc = check_signatures_add(gathered, &one, (struct check_subject){i, i, "one"}, &e);
    }
    assert_int_equal(rc, -ATOLL_ECORRUPT);
    assert_int_equal(e.offset, 2500);
    check_signatures_destroy(gathered);
    check_signatures_destroy(NULL);
    secret_destroy(secret);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_signature_is_taken_once_only_when_all_of_it_is_the_same),
        cmocka_unit_test(thousands_of_signatures_are_checked_on_the_way),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
