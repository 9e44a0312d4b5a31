/* What a client of the ledger believes, and of whom (src/ledger/client): replies, receipts,
 * refusals, order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ledger_client_world.h"

/* ---- answers ---- */

static void a_call_ends_with_a_quorum_and_one_replyx_in_any_order(void **state)
{
    (void)state;
    /* 'x': ReplyX; digits: who replies. Not ended before the last. */
    static const char *const orders[] = {"x012", "01x3", "013x", "1x30", "3210x"};
    for (size_t i = 0; i < sizeof orders / sizeof orders[0]; i++) {
        static struct batch b;
        client_open(1, 0, 0);
        uint64_t reqno = call_executed(&b, 1);
        for (const char *step = orders[i]; *step; step++) {
            assert_int_equal(ended_count, 0);
            if (*step == 'x')
                replyx_from(&b, 2);
            else
                reply_from(&b, (uint16_t)(*step - '0'));
        }
        assert_int_equal(ended_count, 1);
        assert_int_equal(ended[0].outcome.result, 0);
        assert_int_equal(ended[0].outcome.reqno, reqno);
        assert_ptr_equal(ended[0].outcome.tag, &service);
        receipts_hold();
        client_close();
        batch_free(&b);
    }
}

static void fewer_than_a_quorum_or_none_of_the_primary_is_no_answer(void **state)
{
    (void)state;
    static struct batch b;
    client_open(1, 0, 0);
    call_executed(&b, 1);
    replyx_from(&b, 1);
    for (unsigned i = 0; i < 3; i++)
        reply_from(&b, 1);
    reply_from(&b, 2);
    reply_from(&b, 3);
    assert_int_equal(ended_count, 0);
    reply_from(&b, 0);
    assert_int_equal(ended_count, 1);
    receipts_hold();
    client_close();
    batch_free(&b);
}

static void a_false_signature_or_nonce_does_not_count(void **state)
{
    (void)state;
    static struct batch b;
    client_open(1, 0, 0);
    call_executed(&b, 1);
    replyx_from(&b, 1);
    struct ledger_reply reply = reply_of(&b, 1);
    reply.signature[3] ^= 1;
    reply_send(1, &reply);
    reply_from(&b, 0);
    reply_from(&b, 2);
    assert_int_equal(ended_count, 0);
    assert_int_equal(status().answers_bad, 1);
    reply_from(&b, 3);
    assert_int_equal(ended_count, 1);
    receipts_hold();
    client_close();
    batch_free(&b);
}

static void nobody_replies_in_anothers_name(void **state)
{
    (void)state;
    static struct batch b;
    client_open(1, 0, 0);
    call_executed(&b, 1);
    replyx_from(&b, 1);
    for (uint16_t i = 0; i < 3; i++) {
        struct ledger_reply reply = reply_of(&b, i);
        reply_send(3, &reply);
    }
    assert_int_equal(ended_count, 0);
    assert_int_equal(status().answers_bad, 3);
    client_close();
    batch_free(&b);
}

static void a_replyx_that_nobody_signed_stands_in_nobodys_way(void **state)
{
    (void)state;
    static struct batch b, lie;
    client_open(1, 0, 0);
    call_executed(&b, 1);
    batch_make(&service, &lie, 0, 1, 0);
    struct ledger_tx tx;
    struct error e;
    assert_int_equal(ledger_tx_decode(slice_of_buffer(&b.txs[0]), &tx, &e), 0);
    batch_tx_add(&lie, tx.body, lie.pp.first_index);
    lie.pp.count = 1;
    lie.pp.kv_digest[0] ^= 1;
    batch_close(&lie);
    replyx_from(&lie, 3);
    for (uint16_t i = 0; i < 3; i++)
        reply_from(&b, i);
    assert_int_equal(ended_count, 0);
    replyx_from(&b, 2);
    assert_int_equal(ended_count, 1);
    receipts_hold();
    client_close();
    batch_free(&b);
    batch_free(&lie);
}

static void replies_of_different_views_are_never_mixed(void **state)
{
    (void)state;
    static struct batch old, new;
    client_open(1, 0, 0);
    call_executed(&old, 1);
    /* The same batch, proposed again in view 1. */
    batch_make(&service, &new, 1, 1, 0);
    struct ledger_tx tx;
    struct error e;
    assert_int_equal(ledger_tx_decode(slice_of_buffer(&old.txs[0]), &tx, &e), 0);
    batch_tx_add(&new, tx.body, new.pp.first_index);
    new.pp.count = 1;
    batch_close(&new);
    assert_memory_equal(new.pp.batch_root, old.pp.batch_root, HASH_LEN);
    replyx_from(&old, 0);
    replyx_from(&new, 1);
    reply_from(&old, 0);
    reply_from(&old, 1);
    reply_from(&new, 2);
    reply_from(&new, 3);
    assert_int_equal(ended_count, 0);
    reply_from(&new, 1);
    assert_int_equal(ended_count, 1);
    receipts_hold();
    assert_int_equal(status().primary, 1);
    /* From then on the client turns to the primary of that view. */
    call_sent();
    assert_int_equal(sent_count, 1);
    assert_int_equal(sent[0].to, 1);
    client_close();
    batch_free(&old);
    batch_free(&new);
}

static void answers_that_come_late_or_twice_end_nothing_twice(void **state)
{
    (void)state;
    static struct batch b;
    client_open(1, 0, 0);
    call_executed(&b, 1);
    for (unsigned round = 0; round < 2; round++) {
        replyx_from(&b, 1);
        for (uint16_t i = 0; i < 4; i++)
            reply_from(&b, i);
        receipt_from(&b, 0, 0, false);
    }
    assert_int_equal(ended_count, 1);
    assert_int_equal(status().sent, 0);
    client_close();
    batch_free(&b);
}

static void a_replica_cannot_make_the_client_remember_without_bound(void **state)
{
    (void)state;
    static struct batch b;
    client_open(1, 0, 0);
    call_executed(&b, 1);
    reply_from(&b, 0);
    for (uint64_t i = 0; i < 20000; i++) {
        struct ledger_reply reply = reply_of(&b, 3);
        reply.seqno = 100 + i;
        reply_send(3, &reply);
    }
    /* What others began is not pushed out by it. */
    replyx_from(&b, 1);
    reply_from(&b, 1);
    reply_from(&b, 2);
    assert_int_equal(ended_count, 1);
    client_close();
    batch_free(&b);
}

/* ---- receipts and refusals ---- */

static void a_receipt_answers_a_call_and_a_forged_one_does_not(void **state)
{
    (void)state;
    static struct batch b;
    client_open(1, 0, 0);
    call_executed(&b, 1);
    receipt_from(&b, 3, 0, true);
    assert_int_equal(ended_count, 0);
    assert_int_equal(status().answers_bad, 1);
    receipt_from(&b, 3, 0, false);
    assert_int_equal(ended_count, 1);
    receipts_hold();
    client_close();
    batch_free(&b);
}

static void a_receipt_of_a_batch_that_is_known_need_not_bring_good_signatures(void **state)
{
    (void)state;
    static struct batch b;
    struct ledger_tx tx;
    struct error e;
    client_open(1, 0, 0);
    call(0);
    call(0);
    ledger_client_settle(client);
    batch_execute(&b, 0, 1);
    /* A ReplyX with the first transaction only. */
    struct ledger_message_writer w;
    struct buffer message = {0};
    struct merkle_hash path[MERKLE_LEVELS];
    assert_int_equal(merkle_tree_path(b.tree, 0, 2, path, &e), 1);
    assert_true(ledger_replyx_begin(&w, &message, &b.pp) &&
                ledger_replyx_tx(&w, slice_of_buffer(&b.txs[0]), 0, path, 1));
    ledger_message_end(&w);
    ledger_client_on_message(client, 1, slice_of_buffer(&message));
    for (uint16_t i = 0; i < 3; i++)
        reply_from(&b, i);
    assert_int_equal(ended_count, 1);
    /* Its receipt is put together from the replies, whatever the signatures that came. */
    receipt_from(&b, 3, 1, true);
    assert_int_equal(ended_count, 2);
    assert_int_equal(ledger_tx_decode(slice_of_buffer(&b.txs[1]), &tx, &e), 0);
    assert_int_equal(ended[1].outcome.index, tx.index);
    receipts_hold();
    client_close();
    batch_free(&b);
    buffer_free(&message);
}

/* Batch 1 is another request of identity 0 under this number. */
static void another_executed(struct batch *b, uint64_t reqno)
{
    struct buffer body = {0};
    struct ledger_request other = service_request(&service, 0, reqno, "another one");
    batch_make(&service, b, 0, 1, 0);
    service_body(&service, 0, &other, &body);
    batch_tx_add(b, slice_of_buffer(&body), b->pp.first_index);
    b->pp.count = 1;
    batch_close(b);
    buffer_free(&body);
}

static void a_number_that_the_key_used_elsewhere_is_reported(void **state)
{
    (void)state;
    static struct batch b;
    client_open(1, 0, 0);
    another_executed(&b, call_sent());
    receipt_from(&b, 2, 0, false);
    assert_int_equal(ended_count, 1);
    assert_int_equal(ended[0].outcome.result, -ATOLL_EEXIST);
    assert_true(ended[0].receipt.len > 0);
    client_close();
    batch_free(&b);
}

static void another_request_under_a_number_of_ours_is_no_answer(void **state)
{
    (void)state;
    static struct batch b;
    client_open(1, 0, 0);
    another_executed(&b, call_sent());
    replyx_from(&b, 1);
    for (uint16_t i = 0; i < 4; i++)
        reply_from(&b, i);
    assert_int_equal(ended_count, 0);
    client_close();
    batch_free(&b);
}

static void a_refusal_for_good_needs_a_correct_replica(void **state)
{
    (void)state;
    uint8_t hash[HASH_LEN];
    client_open(1, 0, 0);
    call_sent();
    sent_hash(hash);
    for (unsigned i = 0; i < 5; i++)
        refusal_from(3, hash, LEDGER_REFUSAL_STRANGER, 0, 0);
    refusal_from(2, hash, LEDGER_REFUSAL_TOO_OLD, 0, 0);
    assert_int_equal(ended_count, 0);
    refusal_from(1, hash, LEDGER_REFUSAL_STRANGER, 0, 0);
    assert_int_equal(ended_count, 1);
    assert_int_equal(ended[0].outcome.result, -ATOLL_EREJECTED);
    assert_non_null(strstr(ended[0].outcome.text, "access list"));
    client_close();
}

static void a_busy_primary_is_asked_again_later_and_no_other_is_believed(void **state)
{
    (void)state;
    uint8_t hash[HASH_LEN];
    client_open(1, 0, 0);
    call_sent();
    sent_hash(hash);
    sent_count = 0;
    uint64_t due = timer_us;
    refusal_from(2, hash, LEDGER_REFUSAL_BUSY, 100, 0);
    assert_int_equal(timer_us, due);
    refusal_from(0, hash, LEDGER_REFUSAL_BUSY, 100, 0);
    assert_true(timer_us > now_us && timer_us < due);
    wait_us(timer_us - now_us);
    assert_int_equal(sent_count, 4); /* the request, to all */
    assert_int_equal(ledger_message_type(slice_of_buffer(&sent[0].message)),
                     LEDGER_MESSAGE_REQUEST);
    /* However long it asks for, it gets no more than the time between tries. */
    refusal_from(0, hash, LEDGER_REFUSAL_BUSY, UINT32_MAX, 0);
    sent_count = 0;
    wait_us(RETRY_US + RETRY_US / 8);
    assert_true(sent_count > 0);
    client_close();
}

static void a_hint_at_another_primary_is_followed(void **state)
{
    (void)state;
    uint8_t hash[HASH_LEN];
    client_open(1, 0, 0);
    call_sent();
    sent_hash(hash);
    refusal_from(0, hash, LEDGER_REFUSAL_NOT_PRIMARY, 0, 2);
    refusal_from(0, hash, LEDGER_REFUSAL_NOT_PRIMARY, 0, 60); /* there is none */
    sent_count = 0;
    call_sent();
    assert_int_equal(sent[0].to, 2);
    client_close();
}

/* ---- order ---- */

static void what_is_signed_after_a_receipt_asks_for_a_greater_index(void **state)
{
    (void)state;
    static struct batch b;
    struct ledger_body body;
    struct ledger_list list;
    struct slice bytes;
    struct error e;
    client_open(1, 0, 0);
    call_executed(&b, 7);
    quorum_answers(&b);
    assert_int_equal(status().min_index, 7000);
    ledger_client_saw(client, 6999);
    assert_int_equal(status().min_index, 7000);
    ledger_client_saw(client, 7005);
    call_sent();
    assert_int_equal(ledger_bodies_decode(slice_of_buffer(&sent[0].message), &list, &e), 0);
    assert_true(ledger_list_next_bytes(&list, &bytes));
    assert_int_equal(ledger_body_decode(bytes, &body, &e), 0);
    assert_int_equal(body.request.min_index, 7005);
    client_close();
    batch_free(&b);
}

static void an_index_at_or_below_min_index_is_reported_with_its_receipt(void **state)
{
    (void)state;
    static struct batch b;
    client_open(1, 0, 0);
    ledger_client_saw(client, 1000);
    call(0);
    call(0);
    ledger_client_settle(client);
    batch_execute(&b, 0, 1); /* begins at 1000 */
    receipt_from(&b, 1, 0, false);
    quorum_answers(&b);
    assert_int_equal(ended_count, 2);
    assert_int_equal(ended[0].outcome.result, -ATOLL_ERANGE);
    assert_true(ended[0].receipt.len > 0);
    assert_int_equal(ended[1].outcome.result, 0);
    client_close();
    batch_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_ends_with_a_quorum_and_one_replyx_in_any_order),
        cmocka_unit_test(fewer_than_a_quorum_or_none_of_the_primary_is_no_answer),
        cmocka_unit_test(a_false_signature_or_nonce_does_not_count),
        cmocka_unit_test(nobody_replies_in_anothers_name),
        cmocka_unit_test(a_replyx_that_nobody_signed_stands_in_nobodys_way),
        cmocka_unit_test(replies_of_different_views_are_never_mixed),
        cmocka_unit_test(answers_that_come_late_or_twice_end_nothing_twice),
        cmocka_unit_test(a_replica_cannot_make_the_client_remember_without_bound),
        cmocka_unit_test(a_receipt_answers_a_call_and_a_forged_one_does_not),
        cmocka_unit_test(a_receipt_of_a_batch_that_is_known_need_not_bring_good_signatures),
        cmocka_unit_test(a_number_that_the_key_used_elsewhere_is_reported),
        cmocka_unit_test(another_request_under_a_number_of_ours_is_no_answer),
        cmocka_unit_test(a_refusal_for_good_needs_a_correct_replica),
        cmocka_unit_test(a_busy_primary_is_asked_again_later_and_no_other_is_believed),
        cmocka_unit_test(a_hint_at_another_primary_is_followed),
        cmocka_unit_test(what_is_signed_after_a_receipt_asks_for_a_greater_index),
        cmocka_unit_test(an_index_at_or_below_min_index_is_reported_with_its_receipt),
    };
    return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
