/* Messages between replicas and with clients (src/ledger/object/message.c, client_message.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ledger_canonical.h"
#include "ledger_objects.h"

#include <string.h>

static struct service service;
static struct batch batch;
static struct buffer out;

static int world_setup(void **state)
{
    (void)state;
    service_make(&service, 4);
    batch_make(&service, &batch, 0, 3, 2);
    return 0;
}

static int world_teardown(void **state)
{
    (void)state;
    batch_free(&batch);
    service_free(&service);
    buffer_free(&out);
    return 0;
}

/* Checks what was written into `out`. */
static void check(unsigned type)
{
    assert_int_equal(ledger_message_type(slice_of_buffer(&out)), type);
    canonical_check(ledger_message_name(type), message_again, slice_of_buffer(&out));
    out.len = 0;
}

static struct slice tx_body(unsigned i)
{
    struct ledger_tx tx;
    struct error e;
    assert_int_equal(ledger_tx_decode(slice_of_buffer(&batch.txs[i]), &tx, &e), 0);
    return tx.body;
}

static void a_pre_prepare_brings_evidence_and_bodies_or_their_names(void **state)
{
    (void)state;
    struct buffer evidence = {0};
    struct ledger_message_writer w;
    struct ledger_pre_prepare_message m;
    struct ledger_batch_item item;
    struct error e;
    uint8_t hash[HASH_LEN];
    batch_evidence(&service, &batch, 7, &evidence);
    ledger_body_hash(tx_body(1), hash);
    assert_true(ledger_pre_prepare_begin(&w, &out, &batch.pp, slice_of_buffer(&evidence)) &&
                ledger_pre_prepare_body(&w, tx_body(0)) && ledger_pre_prepare_hash(&w, hash));
    ledger_message_end(&w);
    assert_int_equal(ledger_pre_prepare_decode(slice_of_buffer(&out), &m, &e), 0);
    assert_true(slice_equal(m.evidence, slice_of_buffer(&evidence)));
    assert_true(ledger_list_next_item(&m.items, &item) && !item.hash);
    assert_true(slice_equal(item.body, tx_body(0)));
    assert_true(ledger_list_next_item(&m.items, &item) && item.hash);
    assert_memory_equal(item.hash, hash, HASH_LEN);
    assert_false(ledger_list_next_item(&m.items, &item));
    check(LEDGER_MESSAGE_PRE_PREPARE);
    buffer_free(&evidence);
}

static void a_pre_prepare_has_as_many_bodies_as_its_batch_and_the_evidence_it_names(void **state)
{
    (void)state;
    struct buffer evidence = {0};
    struct ledger_message_writer w;
    struct ledger_pre_prepare_message m;
    struct error e;
    struct ledger_pp pp = batch.pp;
    batch_evidence(&service, &batch, 7, &evidence);
    struct slice whole = slice_of_buffer(&evidence);
    const struct {
        uint64_t bits;
        struct slice evidence;
        unsigned bodies;
    } wrong[] = {{7, whole, 1}, {7, whole, 3}, {0, whole, 2}, {7, {NULL, 0}, 2}, {11, whole, 2}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        out.len = 0;
        pp.evidence_bits = wrong[i].bits;
        assert_true(ledger_pre_prepare_begin(&w, &out, &pp, wrong[i].evidence));
        for (unsigned k = 0; k < wrong[i].bodies; k++)
            assert_true(ledger_pre_prepare_body(&w, tx_body(0)));
        ledger_message_end(&w);
        assert_int_equal(ledger_pre_prepare_decode(slice_of_buffer(&out), &m, &e), -ATOLL_ECORRUPT);
    }
    out.len = 0;
    buffer_free(&evidence);
}

static void votes_ride_alone(void **state)
{
    (void)state;
    struct ledger_commit commit = {.view = 1, .seqno = 2, .replica = 3, .nonce = {4}};
    assert_true(ledger_prepare_write(&out, &batch.prepares[1]));
    check(LEDGER_MESSAGE_PREPARE);
    assert_true(ledger_commit_write(&out, &commit));
    check(LEDGER_MESSAGE_COMMIT);
}

static void view_changes_ride_as_they_were_signed(void **state)
{
    (void)state;
    struct buffer object = {0}, set_bytes = {0};
    service_view_change(&service, 1, &batch, 1, true, &object);
    assert_true(ledger_view_change_write(&out, slice_of_buffer(&object)));
    check(LEDGER_MESSAGE_VIEW_CHANGE);
    struct ledger_vcset set = {.view = 3, .count = 1, .view_changes = {slice_of_buffer(&object)}};
    assert_true(ledger_vcset_encode(&set, &set_bytes));
    struct ledger_new_view nv = service_new_view(&service, 2);
    struct buffer nv_bytes = {0};
    assert_true(ledger_new_view_encode_signed(&nv, &nv_bytes));
    assert_true(
        ledger_new_view_write(&out, slice_of_buffer(&nv_bytes), slice_of_buffer(&set_bytes)));
    struct ledger_new_view_message m;
    struct error e;
    assert_int_equal(ledger_new_view_message_decode(slice_of_buffer(&out), &m, &e), 0);
    assert_true(slice_equal(m.vcset_bytes, slice_of_buffer(&set_bytes)));
    assert_int_equal(m.vcset.count, 1);
    assert_true(slice_equal(m.vcset.view_changes[0], slice_of_buffer(&object)));
    check(LEDGER_MESSAGE_NEW_VIEW);
    buffer_free(&object);
    buffer_free(&set_bytes);
    buffer_free(&nv_bytes);
}

static void evidence_rides_with_its_own_batch(void **state)
{
    (void)state;
    struct buffer evidence = {0};
    batch_evidence(&service, &batch, 7, &evidence);
    assert_true(ledger_evidence_write(&out, &batch.pp, slice_of_buffer(&evidence)));
    check(LEDGER_MESSAGE_EVIDENCE);
    struct ledger_pp other = batch.pp;
    struct ledger_evidence_message m;
    struct error e;
    other.seqno++;
    assert_true(ledger_evidence_write(&out, &other, slice_of_buffer(&evidence)));
    assert_int_equal(ledger_evidence_message_decode(slice_of_buffer(&out), &m, &e),
                     -ATOLL_ECORRUPT);
    out.len = 0;
    buffer_free(&evidence);
}

static void contents_and_entries_come_in_lists(void **state)
{
    (void)state;
    struct ledger_content content = {
        .seqno = 3, .kind = LEDGER_KIND_NORMAL, .first_index = batch.pp.first_index, .count = 2};
    struct ledger_message_writer w;
    memcpy(content.batch_root, batch.pp.batch_root, HASH_LEN);
    assert_true(ledger_content_begin(&w, &out, &content));
    for (unsigned i = 0; i < 2; i++)
        assert_true(ledger_content_tx(&w, slice_of_buffer(&batch.txs[i])));
    ledger_message_end(&w);
    check(LEDGER_MESSAGE_CONTENT);

    struct ledger_entries entries;
    struct error e;
    assert_true(ledger_entries_begin(&w, &out, 40, 50));
    for (unsigned i = 0; i < 2; i++)
        assert_true(ledger_entries_entry(&w, LEDGER_ENTRY_TX, slice_of_buffer(&batch.txs[i])));
    ledger_message_end(&w);
    assert_int_equal(ledger_entries_decode(slice_of_buffer(&out), &entries, &e), 0);
    assert_true(entries.from == 40 && entries.end == 50 && entries.entries.left == 2);
    check(LEDGER_MESSAGE_LEDGER);

    assert_true(ledger_entries_begin(&w, &out, 50, 50));
    assert_true(ledger_entries_entry(&w, LEDGER_ENTRY_TX, slice_of_buffer(&batch.txs[0])));
    ledger_message_end(&w);
    assert_int_equal(ledger_entries_decode(slice_of_buffer(&out), &entries, &e), -ATOLL_ECORRUPT);
    out.len = 0;
}

static void checkpoints_come_in_chunks_of_bounded_size(void **state)
{
    (void)state;
    struct ledger_chunk chunk = {.seqno = 10, .chunk = 2, .chunks = 3, .data = text_slice("data")};
    struct error e;
    assert_true(ledger_chunk_write(&out, &chunk));
    check(LEDGER_MESSAGE_CHECKPOINT);
    assert_true(ledger_chunk_write(&out, &chunk));
    store_u32(out.data + 9, 3);
    assert_int_equal(ledger_chunk_decode(slice_of_buffer(&out), &chunk, &e), -ATOLL_ECORRUPT);
    store_u32(out.data + 9, 2);
    store_u32(out.data + 17, LEDGER_CHUNK_MAX + 1);
    assert_int_equal(ledger_chunk_decode(slice_of_buffer(&out), &chunk, &e), -ATOLL_ELIMIT);
    out.len = 0;
}

static void questions_are_of_fixed_size(void **state)
{
    (void)state;
    struct ledger_status_message status = {1, 2, 3, 4, 5};
    assert_true(ledger_status_write(&out, &status));
    check(LEDGER_MESSAGE_STATUS);
    struct ledger_life_message life = {{6, {7}}, {8, {9}}};
    assert_true(ledger_life_write(&out, &life));
    check(LEDGER_MESSAGE_LIFE);
    for (unsigned type = LEDGER_MESSAGE_FETCH_BATCH; type <= LEDGER_MESSAGE_FETCH_CHECKPOINT;
         type++) {
        struct ledger_fetch fetch = {.type = type,
                                     .seqno = 7,
                                     .view = 8,
                                     .batch_root = {9},
                                     .from = 10,
                                     .until = 11,
                                     .max_bytes = 12,
                                     .link = {14},
                                     .chunk = 13};
        assert_true(ledger_fetch_write(&out, &fetch));
        check(type);
    }
}

static void requests_come_in_lists_of_bodies_or_as_a_bundle(void **state)
{
    (void)state;
    static const enum ledger_message_type types[] = {LEDGER_MESSAGE_REQUEST, LEDGER_MESSAGE_RELAY};
    struct ledger_message_writer w;
    struct buffer bundle = {0};
    struct ledger_list list;
    struct error e;
    for (size_t i = 0; i < 2; i++) {
        assert_true(ledger_bodies_begin(&w, &out, types[i]) && ledger_bodies_body(&w, tx_body(0)) &&
                    ledger_bodies_body(&w, tx_body(1)));
        ledger_message_end(&w);
        check(types[i]);
        assert_true(ledger_bodies_begin(&w, &out, types[i]));
        ledger_message_end(&w);
        assert_int_equal(ledger_bodies_decode(slice_of_buffer(&out), &list, &e), -ATOLL_ECORRUPT);
        out.len = 0;
    }
    service_bundle(&service, 0, 3, &bundle);
    assert_true(ledger_bundle_write(&out, slice_of_buffer(&bundle)));
    check(LEDGER_MESSAGE_BUNDLE);
    buffer_free(&bundle);
}

static void clients_say_who_they_are_and_ask_for_receipts(void **state)
{
    (void)state;
    static const uint8_t keys[2][ED25519_KEY_LEN] = {{1}, {2}};
    assert_true(ledger_hello_write(&out, keys, 2));
    check(LEDGER_MESSAGE_HELLO);
    assert_true(ledger_fetch_receipt_write(&out, batch.pp_hash));
    check(LEDGER_MESSAGE_FETCH_RECEIPT);
}

static void replies_are_short_and_one_brings_the_rest(void **state)
{
    (void)state;
    struct ledger_reply reply = {.view = 1, .seqno = 2, .replica = 3, .nonce = {4}};
    uint8_t message[LEDGER_REPLY_MESSAGE_LEN];
    struct ledger_message_writer w;
    struct merkle_hash path[MERKLE_LEVELS];
    struct error e;
    ledger_reply_encode(&reply, message);
    assert_true(buffer_append(&out, message, sizeof message));
    check(LEDGER_MESSAGE_REPLY);
    assert_true(ledger_replyx_begin(&w, &out, &batch.pp));
    for (uint32_t i = 0; i < 2; i++) {
        int len = merkle_tree_path(batch.tree, i, 2, path, &e);
        assert_int_equal(len, 1);
        assert_true(ledger_replyx_tx(&w, slice_of_buffer(&batch.txs[i]), i, path, (uint32_t)len));
    }
    ledger_message_end(&w);
    check(LEDGER_MESSAGE_REPLYX);
}

static void a_receipt_message_is_its_receipt(void **state)
{
    (void)state;
    struct buffer receipt = {0};
    struct slice found;
    struct error e;
    batch_receipt(&service, &batch, 0, 7, &receipt);
    assert_true(ledger_receipt_write(&out, slice_of_buffer(&receipt)));
    assert_int_equal(ledger_receipt_message_decode(slice_of_buffer(&out), &found, &e), 0);
    assert_true(slice_equal(found, slice_of_buffer(&receipt)));
    assert_true(buffer_append(&out, NULL, LEDGER_RECEIPT_MAX));
    assert_int_equal(ledger_receipt_message_decode(slice_of_buffer(&out), &found, &e),
                     -ATOLL_ELIMIT);
    out.len = 0;
    buffer_free(&receipt);
}

static void every_refusal_has_a_reason_with_a_name(void **state)
{
    (void)state;
    for (unsigned reason = LEDGER_REFUSAL_BUSY; reason <= LEDGER_REFUSAL_LAST; reason++) {
        struct ledger_refusal refusal = {
            .req_hash = {1}, .reason = reason, .retry_after_ms = 2, .primary = 3};
        assert_true(ledger_refusal_write(&out, &refusal));
        check(LEDGER_MESSAGE_REFUSAL);
        assert_string_not_equal(ledger_refusal_name(reason), "unknown reason");
    }
    assert_string_equal(ledger_refusal_name(0), "unknown reason");
}

static void messages_of_another_type_no_type_or_too_long_are_refused(void **state)
{
    (void)state;
    struct ledger_commit commit = {0};
    struct ledger_status_message status;
    struct ledger_fetch fetch;
    struct error e;
    assert_true(ledger_commit_write(&out, &commit));
    assert_int_equal(ledger_status_decode(slice_of_buffer(&out), &status, &e), -ATOLL_ECORRUPT);
    assert_int_equal(ledger_fetch_decode(slice_of_buffer(&out), &fetch, &e), -ATOLL_ECORRUPT);
    assert_int_equal(ledger_fetch_decode(slice_of(NULL, 0), &fetch, &e), -ATOLL_ECORRUPT);
    assert_string_equal(ledger_message_name(ledger_message_type(slice_of(NULL, 0))), "unknown");
    struct ledger_list list;
    out.len = 0;
    assert_true(buffer_append(&out, NULL, (size_t)LEDGER_MESSAGE_MAX + 1));
    out.data[0] = LEDGER_MESSAGE_REQUEST;
    assert_int_equal(ledger_bodies_decode(slice_of_buffer(&out), &list, &e), -ATOLL_ELIMIT);
    out.len = 0;
}

/* A list may not say that it has more items than could stand in its bytes. */
static void a_count_is_not_believed_before_its_bytes_are_there(void **state)
{
    (void)state;
    struct ledger_list list;
    struct error e;
    uint8_t message[5] = {LEDGER_MESSAGE_REQUEST};
    store_u32(message + 1, LEDGER_MESSAGE_BODIES_MAX);
    assert_int_equal(ledger_bodies_decode(slice_of(message, 5), &list, &e), -ATOLL_ECORRUPT);
    store_u32(message + 1, LEDGER_MESSAGE_BODIES_MAX + 1);
    assert_int_equal(ledger_bodies_decode(slice_of(message, 5), &list, &e), -ATOLL_ELIMIT);
    store_u32(message + 1, UINT32_MAX);
    assert_int_equal(ledger_bodies_decode(slice_of(message, 5), &list, &e), -ATOLL_ELIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pre_prepare_brings_evidence_and_bodies_or_their_names),
        cmocka_unit_test(a_pre_prepare_has_as_many_bodies_as_its_batch_and_the_evidence_it_names),
        cmocka_unit_test(votes_ride_alone),
        cmocka_unit_test(view_changes_ride_as_they_were_signed),
        cmocka_unit_test(evidence_rides_with_its_own_batch),
        cmocka_unit_test(contents_and_entries_come_in_lists),
        cmocka_unit_test(checkpoints_come_in_chunks_of_bounded_size),
        cmocka_unit_test(questions_are_of_fixed_size),
        cmocka_unit_test(requests_come_in_lists_of_bodies_or_as_a_bundle),
        cmocka_unit_test(clients_say_who_they_are_and_ask_for_receipts),
        cmocka_unit_test(replies_are_short_and_one_brings_the_rest),
        cmocka_unit_test(a_receipt_message_is_its_receipt),
        cmocka_unit_test(every_refusal_has_a_reason_with_a_name),
        cmocka_unit_test(messages_of_another_type_no_type_or_too_long_are_refused),
        cmocka_unit_test(a_count_is_not_believed_before_its_bytes_are_there),
    };
    return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
