/* The user's keys and directories (src/crypto/key.c). */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/file.h"
#include "crypto/hash.h"
#include "crypto/key.h"
#include "scratch_directory.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct error failure;

static void directories_follow_the_environment_in_order(void **state)
{
    (void)state;
    char path[256], expected[256];
    unsetenv("ATOLL_HOME");
    unsetenv("ATOLL_CACHE");
    unsetenv("XDG_CACHE_HOME");
    setenv("XDG_DATA_HOME", scratch, 1);
    setenv("HOME", scratch, 1);
    assert_int_equal(home_directory(path, sizeof path, &failure), 0);
    snprintf(expected, sizeof expected, "%s/atoll", scratch);
    assert_string_equal(path, expected);
    unsetenv("XDG_DATA_HOME");
    assert_int_equal(home_directory(path, sizeof path, &failure), 0);
    snprintf(expected, sizeof expected, "%s/.local/share/atoll", scratch);
    assert_string_equal(path, expected);
    assert_int_equal(cache_directory(path, sizeof path, &failure), 0);
    snprintf(expected, sizeof expected, "%s/.cache/atoll", scratch);
    assert_string_equal(path, expected);
    struct stat status;
    assert_int_equal(stat(expected, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
    unsetenv("HOME");
    assert_int_equal(cache_directory(path, sizeof path, &failure), -ATOLL_ENOENT);
    assert_non_null(strstr(failure.text, "ATOLL_CACHE"));
}

static void a_key_is_made_once_and_closed_to_others(void **state)
{
    (void)state;
    uint8_t first[KEY_MAC_LEN], second[KEY_MAC_LEN];
    assert_int_equal(key_artefact_mac(first, &failure), 0);
    assert_int_equal(key_artefact_mac(second, &failure), 0);
    assert_memory_equal(first, second, sizeof first);
    struct stat status;
    assert_int_equal(stat(scratch_path("artefact.key"), &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
}

static void a_secret_open_to_others_is_refused(void **state)
{
    (void)state;
    uint8_t key[KEY_MAC_LEN];
    assert_int_equal(key_artefact_mac(key, &failure), 0);
    assert_int_equal(chmod(scratch_path("artefact.key"), 0640), 0);
    assert_int_equal(key_artefact_mac(key, &failure), -ATOLL_EPERM);
    assert_non_null(strstr(failure.text, "chmod 600"));
}

static void a_damaged_key_is_reported_and_not_replaced(void **state)
{
    (void)state;
    struct key_pair pair;
    assert_int_equal(key_signing(&pair, &failure), 0);
    struct buffer text = {0};
    assert_int_equal(file_read(scratch_path("sign.key"), 4096, &text, &failure), 0);
    /* One digit of the seed altered: the public half no longer fits. */
    text.data[0] = text.data[0] == '0' ? '1' : '0';
    assert_int_equal(file_replace(scratch_path("sign.key"), text.data, text.len, 0600, &failure),
                     0);
    assert_int_equal(key_signing(&pair, &failure), -ATOLL_ECORRUPT);
    assert_int_equal(file_replace(scratch_path("sign.key"), text.data, 7, 0600, &failure), 0);
    assert_int_equal(key_signing(&pair, &failure), -ATOLL_ECORRUPT);
    buffer_free(&text);
}

static void processes_that_race_for_the_first_key_agree(void **state)
{
    (void)state;
    enum { PROCESSES = 8 };
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    for (int i = 0; i < PROCESSES; i++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            uint8_t key[KEY_MAC_LEN] = {0};
            int bad = key_artefact_mac(key, &failure) != 0;
            bad |= write(ends[1], key, sizeof key) != sizeof key;
            _exit(bad);
        }
    }
    uint8_t first[KEY_MAC_LEN], next[KEY_MAC_LEN];
    assert_int_equal(read(ends[0], first, sizeof first), sizeof first);
    for (int i = 1; i < PROCESSES; i++) {
        assert_int_equal(read(ends[0], next, sizeof next), sizeof next);
        assert_memory_equal(first, next, sizeof first);
    }
    for (int i = 0; i < PROCESSES; i++) {
        int status;
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    close(ends[0]);
    close(ends[1]);
}

static void a_signature_holds_for_its_bytes_and_key_only(void **state)
{
    (void)state;
    struct key_pair pair;
    uint8_t signature[SIGNATURE_LEN], parsed[KEY_PUBLIC_LEN];
    assert_int_equal(key_signing(&pair, &failure), 0);
    sign_detached(&pair, "message", 7, signature);
    assert_int_equal(key_public_parse(scratch_path("sign.pub"), parsed, &failure), 0);
    assert_int_equal(sign_verify(parsed, "message", 7, signature), 0);
    assert_int_equal(sign_verify(parsed, "massage", 7, signature), -ATOLL_ESIGNATURE);
    signature[10] ^= 1;
    assert_int_equal(sign_verify(parsed, "message", 7, signature), -ATOLL_ESIGNATURE);
    signature[10] ^= 1;
    char hex[2 * HASH_LEN + 1];
    hash_hex(pair.public_key, hex);
    assert_int_equal(key_public_parse(hex, parsed, &failure), 0);
    assert_memory_equal(parsed, pair.public_key, sizeof parsed);
    parsed[0] ^= 1;
    assert_int_equal(sign_verify(parsed, "message", 7, signature), -ATOLL_ESIGNATURE);
}

static void what_is_no_public_key_is_refused_in_words(void **state)
{
    (void)state;
    uint8_t parsed[KEY_PUBLIC_LEN];
    assert_true(key_public_parse("0123", parsed, &failure) < 0);
    assert_non_null(strstr(failure.text, "64 hexadecimal digits"));
    assert_true(key_public_parse("/dev/zero", parsed, &failure) < 0);
    assert_true(key_public_parse("", parsed, &failure) < 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_create, scratch_destroy)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(directories_follow_the_environment_in_order),
        TEST(a_key_is_made_once_and_closed_to_others),
        TEST(a_secret_open_to_others_is_refused),
        TEST(a_damaged_key_is_reported_and_not_replaced),
        TEST(processes_that_race_for_the_first_key_agree),
        TEST(a_signature_holds_for_its_bytes_and_key_only),
        TEST(what_is_no_public_key_is_refused_in_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
