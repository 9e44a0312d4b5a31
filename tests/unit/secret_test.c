/* Signing keys in files, plain and under a passphrase. */
#define _GNU_SOURCE
#include "scratch_directory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/file.h"
#include "crypto/hash.h"
#include "crypto/secret.h"

#include <string.h>
#include <sys/stat.h>

static struct secret *fresh(void)
{
    struct secret *s;
    struct error e;
    assert_int_equal(secret_generate(&s, &e), 0);
    return s;
}

static void assert_same(const struct secret *a, const struct secret *b)
{
    uint8_t one[SIGNATURE_LEN], other[SIGNATURE_LEN];
    assert_memory_equal(secret_public(a), secret_public(b), KEY_PUBLIC_LEN);
    secret_sign(a, "text", 4, one);
    secret_sign(b, "text", 4, other);
    assert_memory_equal(one, other, sizeof one);
    assert_int_equal(sign_verify(secret_public(a), "text", 4, one), 0);
}

static void a_key_comes_back_from_its_file(void **state)
{
    (void)state;
    const char *phrases[] = {NULL, "correct horse"};
    for (int i = 0; i < 2; i++) {
        struct secret *s = fresh(), *back;
        struct error e;
        struct stat st;
        const char *path = scratch_path(i ? "sealed.key" : "plain.key");
        assert_int_equal(secret_write(s, path, phrases[i], &e), 0);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
        assert_int_equal(secret_read(path, phrases[i], &back, &e), 0);
        assert_same(s, back);
        secret_destroy(back);
        assert_int_equal(secret_write(s, path, NULL, &e), -ATOLL_EEXIST);
        secret_destroy(s);
    }
}

static void a_sealed_key_needs_its_passphrase(void **state)
{
    (void)state;
    struct secret *s = fresh(), *back;
    struct error e;
    const char *path = scratch_path("phrase.key");
    assert_int_equal(secret_write(s, path, "right", &e), 0);
    assert_int_equal(secret_read(path, "wrong", &back, &e), -ATOLL_ESIGNATURE);
    assert_null(back);
    assert_int_equal(secret_read(path, NULL, &back, &e), -ATOLL_ESIGNATURE);
    assert_null(back);
    secret_destroy(s);
}

static void a_key_that_others_can_read_is_refused(void **state)
{
    (void)state;
    struct secret *s = fresh(), *back;
    struct error e;
    const char *path = scratch_path("open.key");
    assert_int_equal(secret_write(s, path, NULL, &e), 0);
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(secret_read(path, NULL, &back, &e), -ATOLL_EPERM);
    assert_non_null(strstr(e.text, "chmod"));
    secret_destroy(s);
}

static void damaged_files_are_no_keys(void **state)
{
    (void)state;
    struct secret *s = fresh(), *back;
    struct error e;
    struct buffer file = {0};
    assert_int_equal(secret_write(s, scratch_path("whole.key"), "p", &e), 0);
    assert_int_equal(file_read(scratch_path("whole.key"), 4096, &file, &e), 0);
    const char *bad = scratch_path("bad.key");
    for (size_t len = 0; len < file.len; len++) {
        assert_int_equal(file_replace(bad, file.data, len, 0600, &e), 0);
        assert_int_equal(secret_read(bad, "p", &back, &e), -ATOLL_ECORRUPT);
    }
    file.data[14] = 0xff; /* work for years */
    assert_int_equal(file_replace(bad, file.data, file.len, 0600, &e), 0);
    assert_int_equal(secret_read(bad, "p", &back, &e), -ATOLL_ECORRUPT);
    file.data[14] = 0;
    file.data[file.len - 1] ^= 1;
    assert_int_equal(file_replace(bad, file.data, file.len, 0600, &e), 0);
    assert_int_equal(secret_read(bad, "p", &back, &e), -ATOLL_ESIGNATURE);
    buffer_free(&file);
    secret_destroy(s);
}

static void derived_secrets_depend_on_key_and_label(void **state)
{
    (void)state;
    struct secret *a = fresh(), *b = fresh();
    uint8_t one[32], two[32], three[32];
    secret_derive(a, "nonce", one, sizeof one);
    secret_derive(a, "nonse", two, sizeof two);
    secret_derive(b, "nonce", three, sizeof three);
    assert_false(hash_equal(one, two));
    assert_false(hash_equal(one, three));
    secret_derive(a, "nonce", two, sizeof two);
    assert_true(hash_equal(one, two));
    secret_destroy(a);
    secret_destroy(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_comes_back_from_its_file),
        cmocka_unit_test(a_sealed_key_needs_its_passphrase),
        cmocka_unit_test(a_key_that_others_can_read_is_refused),
        cmocka_unit_test(damaged_files_are_no_keys),
        cmocka_unit_test(derived_secrets_depend_on_key_and_label),
    };
    return cmocka_run_group_tests_name("secret", tests, scratch_create, scratch_destroy);
}
