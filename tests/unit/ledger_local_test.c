/* A whole ledger made on one machine, and the genesis it stands on (src/ledger/service/local,
 * genesis_draft). */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/file.h"
#include "crypto/secret.h"
#include "ledger/object/entry.h"
#include "ledger/service/local.h"
#include "scratch_directory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct ledger_local_settings small(void)
{
    struct ledger_local_settings s;
    ledger_local_defaults(&s);
    s.terms.name = "tide";
    s.terms.accounts = 77;
    s.terms.balance = 5;
    s.terms.pipeline = 3;
    s.terms.view_timeout_us = 123456;
    s.replicas = 5;
    s.first_port = 8200;
    return s;
}

static struct ledger_genesis genesis;
static struct buffer genesis_bytes;

static void genesis_read(const char *name)
{
    char path[128];
    struct error e;
    snprintf(path, sizeof path, "%s/%s", scratch, name);
    genesis_bytes.len = 0;
    assert_int_equal(file_read(path, LEDGER_ENTRY_MAX, &genesis_bytes, &e), 0);
    assert_int_equal(ledger_genesis_decode(slice_of_buffer(&genesis_bytes), &genesis, &e), 0);
}

static void every_replica_has_its_key_and_the_same_genesis(void **state)
{
    (void)state;
    struct ledger_local_settings s = small();
    struct error e;
    uint8_t hash[HASH_LEN];
    char path[128], address[32];
    assert_int_equal(ledger_local_make(scratch, &s, &e), 0);
    genesis_read("genesis");
    memcpy(hash, genesis.hash, HASH_LEN);
    assert_int_equal(genesis.configuration.replica_count, 5);
    assert_int_equal(genesis.configuration.member_count, 5);
    assert_int_equal(genesis.pipeline, 3);
    assert_int_equal(genesis.configuration.view_timeout_us, 123456);
    for (unsigned i = 0; i < 5; i++) {
        struct secret *key;
        struct stat status;
        snprintf(path, sizeof path, "replica-%u/genesis", i);
        genesis_read(path);
        assert_memory_equal(genesis.hash, hash, HASH_LEN);
        snprintf(path, sizeof path, "%s/replica-%u/replica.key", scratch, i);
        assert_int_equal(secret_read(path, NULL, &key, &e), 0);
        assert_memory_equal(secret_public(key), genesis.configuration.replicas[i].public_key,
                            KEY_PUBLIC_LEN);
        secret_destroy(key);
        assert_int_equal(stat(path, &status), 0);
        assert_int_equal(status.st_mode & 0777, 0600);
        snprintf(address, sizeof address, "127.0.0.1:%u", 8200 + i);
        assert_true(slice_equal(genesis.configuration.replicas[i].address,
                                slice_of(address, strlen(address))));
    }
    buffer_free(&genesis_bytes);
}

static void two_ledgers_of_the_same_settings_are_two(void **state)
{
    (void)state;
    struct genesis_draft *d;
    struct buffer bytes = {0};
    struct error e;
    uint8_t hash[2][HASH_LEN];
    struct ledger_local_settings s = small();
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(genesis_draft_create(&s.terms, &d, &e), 0);
        for (unsigned k = 0; k < 4; k++) {
            struct secret *key, *member;
            assert_int_equal(secret_generate(&key, &e), 0);
            assert_int_equal(secret_generate(&member, &e), 0);
            assert_int_equal(genesis_draft_add(d, slice_of("h:1", 3), secret_public(key),
                                               slice_of("m", 1), secret_public(member), &e),
                             0);
            secret_destroy(key);
            secret_destroy(member);
        }
        bytes.len = 0;
        assert_int_equal(genesis_draft_encode(d, &bytes, &e), 0);
        assert_int_equal(ledger_genesis_decode(slice_of_buffer(&bytes), &genesis, &e), 0);
        memcpy(hash[i], genesis.hash, HASH_LEN);
        genesis_draft_destroy(d);
    }
    assert_memory_not_equal(hash[0], hash[1], HASH_LEN);
    buffer_free(&bytes);
}

static void a_member_may_run_several_replicas(void **state)
{
    (void)state;
    struct genesis_draft *d;
    struct buffer bytes = {0};
    struct error e;
    struct secret *member, *key;
    struct ledger_local_settings s = small();
    assert_int_equal(secret_generate(&member, &e), 0);
    assert_int_equal(genesis_draft_create(&s.terms, &d, &e), 0);
    for (unsigned i = 0; i < LEDGER_REPLICAS_MAX; i++) {
        assert_int_equal(secret_generate(&key, &e), 0);
        assert_int_equal(genesis_draft_add(d, slice_of("h:1", 3), secret_public(key),
                                           slice_of("m", 1), secret_public(member), &e),
                         0);
        secret_destroy(key);
    }
    assert_int_equal(genesis_draft_add(d, slice_of("h:1", 3), secret_public(member),
                                       slice_of("m", 1), secret_public(member), &e),
                     -ATOLL_ELIMIT);
    assert_int_equal(genesis_draft_encode(d, &bytes, &e), 0);
    assert_int_equal(ledger_genesis_decode(slice_of_buffer(&bytes), &genesis, &e), 0);
    assert_int_equal(genesis.configuration.member_count, 1);
    assert_int_equal(genesis.configuration.replica_count, LEDGER_REPLICAS_MAX);
    genesis_draft_destroy(d);
    secret_destroy(member);
    buffer_free(&bytes);
}

static void what_cannot_be_a_ledger_is_refused_before_anything_is_made(void **state)
{
    (void)state;
    struct ledger_local_settings s = small();
    struct error e;
    char path[128];
    s.replicas = 3;
    assert_int_equal(ledger_local_make(scratch, &s, &e), -ATOLL_EINVAL);
    s.replicas = LEDGER_REPLICAS_MAX + 1;
    assert_int_equal(ledger_local_make(scratch, &s, &e), -ATOLL_EINVAL);
    snprintf(path, sizeof path, "%s/replica-0", scratch);
    assert_int_not_equal(access(path, F_OK), 0);
}

static void a_ledger_is_never_made_over_another_or_over_parts_of_one(void **state)
{
    (void)state;
    struct ledger_local_settings s = small();
    struct error e;
    char path[128];
    assert_int_equal(ledger_local_make(scratch, &s, &e), 0);
    genesis_read("genesis");
    assert_int_equal(ledger_local_make(scratch, &s, &e), -ATOLL_EEXIST);
    snprintf(path, sizeof path, "%s/genesis", scratch);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(ledger_local_make(scratch, &s, &e), -ATOLL_EEXIST);
    assert_non_null(strstr(e.text, "not finished"));
    buffer_free(&genesis_bytes);
}

static void the_settings_of_a_ledger_are_read_back(void **state)
{
    (void)state;
    struct ledger_local_settings s = small(), back;
    struct error e;
    assert_int_equal(ledger_local_read(scratch, &back, &e), -ATOLL_ENOENT);
    assert_int_equal(ledger_local_make(scratch, &s, &e), 0);
    assert_int_equal(ledger_local_read(scratch, &back, &e), 0);
    assert_int_equal(back.replicas, 5);
    assert_int_equal(back.terms.accounts, 77);
    assert_int_equal(back.terms.balance, 5);
    assert_int_equal(back.terms.pipeline, 3);
    assert_int_equal(back.terms.max_batch, s.terms.max_batch);
    assert_int_equal(back.terms.view_timeout_us, 123456);
}

static void ports_in_a_row_are_found(void **state)
{
    (void)state;
    uint16_t first = ledger_local_ports(8);
    assert_true(first >= 10000 && first < 30000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_replica_has_its_key_and_the_same_genesis,
                                        scratch_create, scratch_destroy),
        cmocka_unit_test(two_ledgers_of_the_same_settings_are_two),
        cmocka_unit_test(a_member_may_run_several_replicas),
        cmocka_unit_test_setup_teardown(what_cannot_be_a_ledger_is_refused_before_anything_is_made,
                                        scratch_create, scratch_destroy),
        cmocka_unit_test_setup_teardown(a_ledger_is_never_made_over_another_or_over_parts_of_one,
                                        scratch_create, scratch_destroy),
        cmocka_unit_test_setup_teardown(the_settings_of_a_ledger_are_read_back, scratch_create,
                                        scratch_destroy),
        cmocka_unit_test(ports_in_a_row_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
