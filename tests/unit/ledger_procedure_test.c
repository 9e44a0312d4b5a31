/* Stored procedures: SmallBank, the no-op, and the table of executed requests. */
#define _GNU_SOURCE
#include "ledger/kv/client_table.h"
#include "ledger/kv/smallbank.h"

#include "base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t bucket_key[SIPHASH_KEY_LEN] = "public, as all";
static struct error e;
static struct procedure_table *table;

static struct kv *bank(uint64_t accounts, int64_t savings, int64_t checking)
{
    struct kv *kv;
    uint8_t initial[SMALLBANK_STATE_LEN];
    smallbank_state_encode(accounts, savings, checking, initial);
    assert_int_equal(kv_create(6, bucket_key, &kv, &e), 0);
    assert_int_equal(procedure_preload(PROCEDURE_FAMILY_SMALLBANK, initial, sizeof initial, kv, &e),
                     0);
    assert_int_equal(kv_batch_begin(kv, 1, &e), 0);
    return kv;
}

static int32_t run(struct kv *kv, struct smallbank_call call, struct procedure_result *result)
{
    uint8_t args[SMALLBANK_ARGS_MAX];
    struct procedure_call p = {.proc = call.proc, .args = args};
    p.args_len = smallbank_args_encode(&call, args);
    assert_int_equal(procedure_execute(table, &p, kv, result, &e), 0);
    return result->status;
}

static void assert_run(struct kv *kv, struct smallbank_call call, int32_t status, int64_t output)
{
    struct procedure_result r;
    assert_int_equal(run(kv, call, &r), status);
    bool has_output = status == PROCEDURE_OK && call.proc != SMALLBANK_CREATE_ACCOUNT;
    assert_int_equal(r.output_len, has_output ? 8 : 0);
    if (has_output)
        assert_int_equal((int64_t)load_u64(r.output), output);
}

static struct smallbank_call call_of(enum smallbank_procedure proc, uint64_t customer, uint64_t to,
                                     int64_t amount)
{
    return (struct smallbank_call){proc, customer, to, amount, 6};
}

static void accounts_follow_what_customers_do(void **state)
{
    (void)state;
    struct kv *kv = bank(3, 1000, 100);
    assert_run(kv, call_of(SMALLBANK_BALANCE, 0, 0, 0), PROCEDURE_OK, 1100);
    assert_run(kv, call_of(SMALLBANK_DEPOSIT_CHECKING, 0, 0, 11), PROCEDURE_OK, 111);
    assert_run(kv, call_of(SMALLBANK_TRANSACT_SAVINGS, 0, 0, -400), PROCEDURE_OK, 600);
    assert_run(kv, call_of(SMALLBANK_SEND_PAYMENT, 0, 1, 60), PROCEDURE_OK, 51);
    assert_run(kv, call_of(SMALLBANK_BALANCE, 1, 0, 0), PROCEDURE_OK, 1160);
    assert_run(kv, call_of(SMALLBANK_WRITE_CHECK, 0, 0, 70), PROCEDURE_OK, -19);
    assert_run(kv, call_of(SMALLBANK_AMALGAMATE, 0, 2, 0), PROCEDURE_OK, 100 + 600 - 19);
    assert_run(kv, call_of(SMALLBANK_BALANCE, 0, 0, 0), PROCEDURE_OK, 0);
    assert_run(kv, call_of(SMALLBANK_CREATE_ACCOUNT, 9, 0, 5), PROCEDURE_OK, 0);
    assert_run(kv, call_of(SMALLBANK_BALANCE, 9, 0, 0), PROCEDURE_OK, 11);
    kv_destroy(kv);
}

static void what_cannot_be_done_is_a_status_and_changes_nothing(void **state)
{
    (void)state;
    struct kv *kv = bank(2, 1000, 100);
    struct procedure_result r;
    uint8_t none[HASH_LEN];
    static const struct {
        struct smallbank_call call;
        int32_t status;
    } cases[] = {
        {{SMALLBANK_SEND_PAYMENT, 0, 1, 101, 0}, SMALLBANK_INSUFFICIENT},
        {{SMALLBANK_SEND_PAYMENT, 1, 1, 1, 0}, SMALLBANK_SAME_ACCOUNT},
        {{SMALLBANK_SEND_PAYMENT, 0, 2, 1, 0}, SMALLBANK_NO_ACCOUNT},
        {{SMALLBANK_SEND_PAYMENT, 2, 0, 1, 0}, SMALLBANK_NO_ACCOUNT},
        {{SMALLBANK_SEND_PAYMENT, 0, 1, -1, 0}, PROCEDURE_ARGUMENTS},
        {{SMALLBANK_TRANSACT_SAVINGS, 0, 0, -1001, 0}, SMALLBANK_INSUFFICIENT},
        {{SMALLBANK_TRANSACT_SAVINGS, 5, 0, 1, 0}, SMALLBANK_NO_ACCOUNT},
        {{SMALLBANK_WRITE_CHECK, 0, 0, 1101, 0}, SMALLBANK_INSUFFICIENT},
        {{SMALLBANK_WRITE_CHECK, 4, 0, 1, 0}, SMALLBANK_NO_ACCOUNT},
        {{SMALLBANK_AMALGAMATE, 0, 0, 0, 0}, SMALLBANK_SAME_ACCOUNT},
        {{SMALLBANK_AMALGAMATE, 0, 7, 0, 0}, SMALLBANK_NO_ACCOUNT},
        {{SMALLBANK_BALANCE, 7, 0, 0, 0}, SMALLBANK_NO_ACCOUNT},
        {{SMALLBANK_DEPOSIT_CHECKING, 7, 0, 1, 0}, SMALLBANK_NO_ACCOUNT},
        {{SMALLBANK_DEPOSIT_CHECKING, 0, 0, SMALLBANK_AMOUNT_MAX + 1, 0}, PROCEDURE_ARGUMENTS},
        {{SMALLBANK_CREATE_ACCOUNT, 0, 0, 1, 1}, SMALLBANK_ACCOUNT_EXISTS},
        {{SMALLBANK_CREATE_ACCOUNT, 3, 0, 1, -1}, PROCEDURE_ARGUMENTS},
    };
    kv_transaction_begin(kv);
    kv_transaction_abort(kv, none);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(run(kv, cases[i].call, &r), cases[i].status);
        assert_int_equal(r.output_len, 0);
        assert_memory_equal(r.writeset_hash, none, HASH_LEN);
    }
    assert_int_equal(smallbank_total(kv), 2200);
    kv_destroy(kv);
}

static void wrong_arguments_and_unknown_procedures_are_statuses(void **state)
{
    (void)state;
    struct kv *kv = bank(2, 0, 0);
    struct procedure_result r;
    static const uint8_t args[64];
    for (uint32_t proc = 1; proc <= 8; proc++) {
        for (size_t len = 0; len <= sizeof args; len++) {
            struct procedure_call p = {.proc = proc, .args = args, .args_len = len};
            assert_int_equal(procedure_execute(table, &p, kv, &r, &e), 0);
            if (proc == 8)
                assert_int_equal(r.status, PROCEDURE_UNKNOWN);
            else if (len % 8 != 0 || len == 0 || len > SMALLBANK_ARGS_MAX)
                assert_int_equal(r.status, PROCEDURE_ARGUMENTS);
        }
    }
    struct procedure_call no_op = {.proc = PROCEDURE_NO_OP, .args = args, .args_len = 5};
    assert_int_equal(procedure_execute(table, &no_op, kv, &r, &e), 0);
    assert_int_equal(r.status, PROCEDURE_OK);
    assert_int_equal(r.output_len, 5);
    kv_destroy(kv);
}

static void money_is_neither_made_nor_lost(void **state)
{
    (void)state;
    struct kv *kv = bank(50, 500, 500);
    struct smallbank_mix mix;
    int64_t total = 50 * 1000;
    uint64_t seen[8] = {0}, insufficient = 0;
    smallbank_mix_start(&mix, 4, 50);
    for (int i = 0; i < 20000; i++) {
        struct procedure_result r;
        struct smallbank_call call = smallbank_mix_next(&mix);
        run(kv, call, &r);
        assert_true(r.status == PROCEDURE_OK || r.status == SMALLBANK_INSUFFICIENT);
        insufficient += r.status == SMALLBANK_INSUFFICIENT;
        total += smallbank_total_change(&call, r.status);
        seen[call.proc]++;
        if (i % 1000 == 0)
            assert_int_equal(smallbank_total(kv), total);
    }
    assert_int_equal(smallbank_total(kv), total);
    for (int proc = SMALLBANK_BALANCE; proc <= SMALLBANK_WRITE_CHECK; proc++)
        assert_in_range(seen[proc], 20000 / 6 - 400, 20000 / 6 + 400);
    assert_true(insufficient > 0);
    kv_destroy(kv);
}

static void a_seed_gives_the_same_calls_everywhere(void **state)
{
    (void)state;
    struct smallbank_mix mix, again;
    uint8_t sum[HASH_LEN] = {0}, args[HASH_LEN + SMALLBANK_ARGS_MAX];
    char hex[2 * HASH_LEN + 1];
    smallbank_mix_start(&mix, 12345, 500000);
    again = mix;
    for (int i = 0; i < 1000; i++) {
        struct smallbank_call a = smallbank_mix_next(&mix), b = smallbank_mix_next(&again);
        assert_memory_equal(&a, &b, sizeof a);
        assert_true(a.customer < 500000 && a.to < 500000 && a.to != a.customer);
        memcpy(args, sum, HASH_LEN);
        hash_sha256(args, HASH_LEN + smallbank_args_encode(&a, args + HASH_LEN), sum);
    }
    hash_hex(sum, hex);
    assert_string_equal(hex, "107831d42c07b893fd5c37d328948f5508c15908f4cfbc1ae26cfbe22c284448");
}

static void decoding_undoes_encoding(void **state)
{
    (void)state;
    struct smallbank_mix mix;
    smallbank_mix_start(&mix, 1, 10);
    for (int i = 0; i < 100; i++) {
        struct smallbank_call call = smallbank_mix_next(&mix), back;
        uint8_t args[SMALLBANK_ARGS_MAX], twice[SMALLBANK_ARGS_MAX];
        size_t len = smallbank_args_encode(&call, args);
        assert_int_equal(smallbank_args_decode(call.proc, args, len, &back, &e), 0);
        assert_int_equal(smallbank_args_encode(&back, twice), len);
        assert_memory_equal(args, twice, len);
    }
}

/* ---- the table of executed requests ---- */

static void requests_are_executed_once_and_old_ones_never(void **state)
{
    (void)state;
    enum { NUMBERS = 6000 };
    struct kv *kv = bank(2, 0, 0);
    static bool executed[NUMBERS];
    const uint8_t client[CLIENT_KEY_LEN] = {9}, other[CLIENT_KEY_LEN] = {10};
    uint64_t random = 1, highest = 0;
    for (int i = 0; i < 5000; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        uint64_t ahead = random >> 33, reqno = highest;
        if (ahead % 500 == 0)
            reqno = highest + ahead % 1500;
        else if (ahead % 3 == 0)
            reqno = highest + ahead % 5;
        else
            reqno = highest - (highest < 1300 ? highest : 1300) * (ahead % 101) / 100;
        if (reqno >= NUMBERS)
            continue;
        enum client_verdict verdict = client_table_check(kv, client, reqno);
        if (i > 0 && highest >= reqno + CLIENT_WINDOW)
            assert_int_equal(verdict, CLIENT_TOO_OLD);
        else
            assert_int_equal(verdict, executed[reqno] ? CLIENT_DUPLICATE : CLIENT_NEW);
        if (verdict == CLIENT_NEW) {
            assert_int_equal(client_table_insert(kv, client, reqno, &e), 0);
            executed[reqno] = true;
            highest = reqno > highest ? reqno : highest;
        }
        assert_int_equal(client_table_check(kv, client, highest), CLIENT_DUPLICATE);
    }
    assert_true(highest > 3 * CLIENT_WINDOW);
    assert_int_equal(client_table_check(kv, other, 0), CLIENT_NEW);
    kv_destroy(kv);
}

static void the_window_ends_exactly_where_it_should(void **state)
{
    (void)state;
    struct kv *kv = bank(2, 0, 0);
    const uint8_t client[CLIENT_KEY_LEN] = {9};
    assert_int_equal(client_table_insert(kv, client, 0, &e), 0);
    assert_int_equal(client_table_insert(kv, client, CLIENT_WINDOW - 1, &e), 0);
    assert_int_equal(client_table_check(kv, client, 0), CLIENT_DUPLICATE);
    assert_int_equal(client_table_check(kv, client, 1), CLIENT_NEW);
    assert_int_equal(client_table_insert(kv, client, CLIENT_WINDOW, &e), 0);
    assert_int_equal(client_table_check(kv, client, 0), CLIENT_TOO_OLD);
    assert_int_equal(client_table_check(kv, client, 1), CLIENT_NEW);
    assert_int_equal(client_table_insert(kv, client, UINT64_MAX, &e), 0);
    assert_int_equal(client_table_check(kv, client, UINT64_MAX), CLIENT_DUPLICATE);
    assert_int_equal(client_table_check(kv, client, UINT64_MAX - 1), CLIENT_NEW);
    assert_int_equal(client_table_check(kv, client, UINT64_MAX - CLIENT_WINDOW), CLIENT_TOO_OLD);
    kv_destroy(kv);
}

static void a_rollback_forgets_requests_with_their_batch(void **state)
{
    (void)state;
    struct kv *kv = bank(2, 0, 0);
    const uint8_t client[CLIENT_KEY_LEN] = {9};
    assert_int_equal(client_table_insert(kv, client, 1, &e), 0);
    assert_int_equal(kv_batch_begin(kv, 2, &e), 0);
    assert_int_equal(client_table_insert(kv, client, 2, &e), 0);
    assert_int_equal(kv_rollback(kv, 1, &e), 0);
    assert_int_equal(client_table_check(kv, client, 1), CLIENT_DUPLICATE);
    assert_int_equal(client_table_check(kv, client, 2), CLIENT_NEW);
    kv_destroy(kv);
}

static int setup(void **state)
{
    (void)state;
    return procedure_table_create(PROCEDURE_FAMILY_SMALLBANK, &table, &e);
}

static int teardown(void **state)
{
    (void)state;
    procedure_table_destroy(table);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accounts_follow_what_customers_do),
        cmocka_unit_test(what_cannot_be_done_is_a_status_and_changes_nothing),
        cmocka_unit_test(wrong_arguments_and_unknown_procedures_are_statuses),
        cmocka_unit_test(money_is_neither_made_nor_lost),
        cmocka_unit_test(a_seed_gives_the_same_calls_everywhere),
        cmocka_unit_test(decoding_undoes_encoding),
        cmocka_unit_test(requests_are_executed_once_and_old_ones_never),
        cmocka_unit_test(the_window_ends_exactly_where_it_should),
        cmocka_unit_test(a_rollback_forgets_requests_with_their_batch),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
