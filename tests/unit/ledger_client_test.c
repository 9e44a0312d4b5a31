/* The client of a ledger, with replicas that answer as the test says (src/ledger/client). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ledger_objects.h"

#include "ledger/client/client.h"

#include <string.h>

#define RETRY_US  1000000
#define SENT_MAX  512
#define ENDED_MAX 2048

/* ---- a world without replicas: what the client does is written down ---- */

struct sent {
    uint16_t to;
    struct buffer message;
};

struct ended {
    struct ledger_outcome outcome;
    struct buffer receipt, output;
};

static struct service service;
static struct ledger_client *client;
static uint64_t now_us, timer_us, reserved[2];
static int reserve_result;
static struct sent sent[SENT_MAX];
static unsigned sent_count;
static struct ended ended[ENDED_MAX];
static unsigned ended_count;

static uint64_t world_now(void *context)
{
    (void)context;
    return now_us;
}

static void world_timer(void *context, uint64_t at_us)
{
    (void)context;
    timer_us = at_us;
}

static void world_send(void *context, uint16_t to, struct slice message)
{
    (void)context;
    assert_true(sent_count < SENT_MAX);
    sent[sent_count].to = to;
    sent[sent_count].message.len = 0;
    assert_true(buffer_append(&sent[sent_count].message, message.data, message.len));
    sent_count++;
}

static void world_sign(void *context, unsigned identity, const uint8_t hash[static HASH_LEN],
                       uint8_t signature[static ED25519_SIGNATURE_LEN])
{
    (void)context;
    secret_sign(service.clients[identity], hash, HASH_LEN, signature);
}

static int world_reserve(void *context, unsigned identity, uint64_t end, struct error *e)
{
    (void)context;
    if (reserve_result < 0)
        return error_set(e, -reserve_result, "the numbers could not be reserved");
    reserved[identity] = end;
    return 0;
}

static void world_finished(void *context, const struct ledger_outcome *outcome)
{
    (void)context;
    struct ended *end = &ended[ended_count++];
    assert_true(ended_count < ENDED_MAX);
    end->outcome = *outcome;
    end->receipt.len = end->output.len = 0;
    assert_true(buffer_append(&end->receipt, outcome->receipt.data, outcome->receipt.len));
    assert_true(buffer_append(&end->output, outcome->output.data, outcome->output.len));
}

static void client_open(uint32_t bundle_max, uint32_t window, uint64_t deadline_us)
{
    static const struct ledger_client_env env = {.now_us = world_now,
                                                 .timer_set = world_timer,
                                                 .send = world_send,
                                                 .sign = world_sign,
                                                 .reserve = world_reserve,
                                                 .finished = world_finished};
    struct ledger_client_identity identities[2] = {{.first_reqno = 10}, {.first_reqno = 5000}};
    struct error e;
    for (unsigned i = 0; i < 2; i++)
        memcpy(identities[i].public_key, secret_public(service.clients[i]), ED25519_KEY_LEN);
    struct ledger_client_settings settings = {.genesis = &service.genesis,
                                              .identities = identities,
                                              .identity_count = 2,
                                              .bundle_max = bundle_max,
                                              .window = window,
                                              .queue_max = 1000,
                                              .retry_us = RETRY_US,
                                              .deadline_us = deadline_us};
    now_us = 1000;
    timer_us = 0;
    sent_count = ended_count = 0;
    reserve_result = 0;
    assert_int_equal(ledger_client_open(&settings, &env, &client, &e), 0);
}

static void client_close(void)
{
    ledger_client_close(client);
    client = NULL;
}

static uint64_t call(unsigned identity)
{
    uint64_t reqno;
    struct error e;
    assert_int_equal(
        ledger_client_call(client, identity, 3, text_slice("arguments"), &service, &reqno, &e), 0);
    return reqno;
}

static struct ledger_client_status status(void)
{
    struct ledger_client_status s;
    ledger_client_status(client, &s);
    return s;
}

static void wait_us(uint64_t us)
{
    now_us += us;
    while (timer_us && timer_us <= now_us) {
        timer_us = 0;
        ledger_client_on_timer(client);
    }
}

/* ---- replicas ---- */

/* Adds every request in the messages that the client sent to `to` to the batch, and forgets all
 * messages. */
static void order(struct batch *b, uint16_t to)
{
    static size_t ends[LEDGER_BUNDLE_MAX];
    struct buffer bodies = {0};
    struct error e;
    for (unsigned i = 0; i < sent_count; i++) {
        struct slice message = slice_of_buffer(&sent[i].message), body;
        struct ledger_list list;
        struct ledger_bundle bundle;
        uint8_t hash[HASH_LEN];
        if (sent[i].to != to)
            continue;
        if (ledger_bodies_decode(message, &list, &e) == 0) {
            while (ledger_list_next_bytes(&list, &body))
                batch_tx_add(b, body, b->pp.first_index + b->pp.count++);
        } else if (ledger_bundle_message_decode(message, &bundle, &e) == 0) {
            assert_int_equal(ledger_bundle_open(&bundle, &bodies, ends, NULL, hash, &e), 0);
            for (uint32_t k = 0; k < bundle.count; k++) {
                size_t from = k ? ends[k - 1] : 0;
                batch_tx_add(b, slice_of(bodies.data + from, ends[k] - from),
                             b->pp.first_index + b->pp.count++);
            }
        }
    }
    sent_count = 0;
    buffer_free(&bodies);
}

/* Signs the batch that `order` filled. */
static void batch_close(struct batch *b)
{
    struct merkle_hash root = merkle_tree_root(b->tree);
    memcpy(b->pp.batch_root, root.bytes, HASH_LEN);
    batch_sign(&service, b);
}

/* Everything that was sent to the primary of the view becomes batch seqno. */
static void batch_execute(struct batch *b, uint64_t view, uint64_t seqno)
{
    batch_make(&service, b, view, seqno, 0);
    order(b, ledger_primary(&service.genesis.configuration, view));
    batch_close(b);
}

static struct ledger_reply reply_of(const struct batch *b, uint16_t replica)
{
    unsigned primary = ledger_primary(&service.genesis.configuration, b->pp.view);
    struct ledger_reply reply = {
        .config = b->pp.config, .view = b->pp.view, .seqno = b->pp.seqno, .replica = replica};
    memcpy(reply.signature, replica == primary ? b->pp.signature : b->prepares[replica].signature,
           ED25519_SIGNATURE_LEN);
    memcpy(reply.nonce, b->nonces[replica], LEDGER_NONCE_LEN);
    return reply;
}

static void reply_send(uint16_t from, const struct ledger_reply *reply)
{
    uint8_t message[LEDGER_REPLY_MESSAGE_LEN];
    ledger_reply_encode(reply, message);
    ledger_client_on_message(client, from, slice_of(message, sizeof message));
}

static void reply_from(const struct batch *b, uint16_t replica)
{
    struct ledger_reply reply = reply_of(b, replica);
    reply_send(replica, &reply);
}

/* A ReplyX with all transactions of the batch. */
static void replyx_from(const struct batch *b, uint16_t replica)
{
    struct ledger_message_writer w;
    struct buffer message = {0};
    struct merkle_hash path[MERKLE_LEVELS];
    struct error e;
    assert_true(ledger_replyx_begin(&w, &message, &b->pp));
    for (uint32_t i = 0; i < b->pp.count; i++) {
        int len = merkle_tree_path(b->tree, i, b->pp.count, path, &e);
        assert_true(len >= 0 &&
                    ledger_replyx_tx(&w, slice_of_buffer(&b->txs[i]), i, path, (uint32_t)len));
    }
    ledger_message_end(&w);
    ledger_client_on_message(client, replica, slice_of_buffer(&message));
    buffer_free(&message);
}

static void receipt_from(const struct batch *b, uint16_t replica, uint32_t position, bool damaged)
{
    struct buffer receipt = {0}, message = {0};
    batch_receipt(&service, b, position, batch_bits(&service, b), &receipt);
    if (damaged)
        receipt.data[250] ^= 1; /* in a signature */
    assert_true(ledger_receipt_write(&message, slice_of_buffer(&receipt)));
    ledger_client_on_message(client, replica, slice_of_buffer(&message));
    buffer_free(&receipt);
    buffer_free(&message);
}

static void refusal_from(uint16_t replica, const uint8_t *req_hash,
                         enum ledger_refusal_reason reason, uint32_t retry_after_ms,
                         uint16_t primary)
{
    struct ledger_refusal refusal = {
        .reason = reason, .retry_after_ms = retry_after_ms, .primary = primary};
    struct buffer message = {0};
    memcpy(refusal.req_hash, req_hash, HASH_LEN);
    assert_true(ledger_refusal_write(&message, &refusal));
    ledger_client_on_message(client, replica, slice_of_buffer(&message));
    buffer_free(&message);
}

/* The hash of the first request in the first message. */
static void sent_hash(uint8_t hash[static HASH_LEN])
{
    struct ledger_list list;
    struct ledger_body body;
    struct slice bytes;
    struct error e;
    assert_int_equal(ledger_bodies_decode(slice_of_buffer(&sent[0].message), &list, &e), 0);
    assert_true(ledger_list_next_bytes(&list, &bytes));
    assert_int_equal(ledger_body_decode(bytes, &body, &e), 0);
    ledger_request_hash(body.fields, hash);
}

/* That every call that ended well has a receipt which holds, and of its own index. */
static void receipts_hold(void)
{
    struct ledger_receipt_info info;
    struct error e;
    for (unsigned i = 0; i < ended_count; i++) {
        if (ended[i].outcome.result)
            continue;
        assert_int_equal(ledger_receipt_verify(slice_of_buffer(&ended[i].receipt), &service.keys,
                                               NULL, &info, &e),
                         0);
        assert_int_equal(info.receipt.tx.index, ended[i].outcome.index);
        assert_int_equal(info.receipt.body.request.reqno, ended[i].outcome.reqno);
        assert_int_equal(ended[i].outcome.status, -3);
        assert_true(slice_equal(slice_of_buffer(&ended[i].output), text_slice("out")));
    }
}

/* ---- answers ---- */

static void a_call_ends_with_a_quorum_and_one_replyx_in_any_order(void **state)
{
    (void)state;
    /* 'x': ReplyX; digits: who replies. Not ended before the last. */
    static const char *const orders[] = {"x012", "01x3", "013x", "1x30", "3210x"};
    for (size_t i = 0; i < sizeof orders / sizeof orders[0]; i++) {
        static struct batch b;
        client_open(1, 0, 0);
        uint64_t reqno = call(0);
        ledger_client_settle(client);
        batch_execute(&b, 0, 1);
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
    call(0);
    ledger_client_settle(client);
    batch_execute(&b, 0, 1);
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
    call(0);
    ledger_client_settle(client);
    batch_execute(&b, 0, 1);
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
    call(0);
    ledger_client_settle(client);
    batch_execute(&b, 0, 1);
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
    call(0);
    ledger_client_settle(client);
    batch_execute(&b, 0, 1);
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
    call(0);
    ledger_client_settle(client);
    batch_execute(&old, 0, 1);
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
    call(0);
    ledger_client_settle(client);
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
    call(0);
    ledger_client_settle(client);
    batch_execute(&b, 0, 1);
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
    call(0);
    ledger_client_settle(client);
    batch_execute(&b, 0, 1);
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
    call(0);
    ledger_client_settle(client);
    batch_execute(&b, 0, 1);
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

static void a_number_that_the_key_used_elsewhere_is_reported(void **state)
{
    (void)state;
    static struct batch b;
    struct buffer body = {0};
    client_open(1, 0, 0);
    uint64_t reqno = call(0);
    ledger_client_settle(client);
    batch_make(&service, &b, 0, 1, 0);
    struct ledger_request other = service_request(&service, 0, reqno, "another one");
    service_body(&service, 0, &other, &body);
    batch_tx_add(&b, slice_of_buffer(&body), b.pp.first_index);
    b.pp.count = 1;
    batch_close(&b);
    receipt_from(&b, 2, 0, false);
    assert_int_equal(ended_count, 1);
    assert_int_equal(ended[0].outcome.result, -ATOLL_EEXIST);
    assert_true(ended[0].receipt.len > 0);
    client_close();
    batch_free(&b);
    buffer_free(&body);
}

static void another_request_under_a_number_of_ours_is_no_answer(void **state)
{
    (void)state;
    static struct batch b;
    struct buffer body = {0};
    client_open(1, 0, 0);
    uint64_t reqno = call(0);
    ledger_client_settle(client);
    batch_make(&service, &b, 0, 1, 0);
    struct ledger_request other = service_request(&service, 0, reqno, "another one");
    service_body(&service, 0, &other, &body);
    batch_tx_add(&b, slice_of_buffer(&body), b.pp.first_index);
    b.pp.count = 1;
    batch_close(&b);
    replyx_from(&b, 1);
    for (uint16_t i = 0; i < 4; i++)
        reply_from(&b, i);
    assert_int_equal(ended_count, 0);
    client_close();
    batch_free(&b);
    buffer_free(&body);
}

static void a_refusal_for_good_needs_a_correct_replica(void **state)
{
    (void)state;
    uint8_t hash[HASH_LEN];
    client_open(1, 0, 0);
    call(0);
    ledger_client_settle(client);
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
    call(0);
    ledger_client_settle(client);
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
    call(0);
    ledger_client_settle(client);
    sent_hash(hash);
    refusal_from(0, hash, LEDGER_REFUSAL_NOT_PRIMARY, 0, 2);
    refusal_from(0, hash, LEDGER_REFUSAL_NOT_PRIMARY, 0, 60); /* there is none */
    sent_count = 0;
    call(0);
    ledger_client_settle(client);
    assert_int_equal(sent[0].to, 2);
    client_close();
}

/* ---- time ---- */

static void what_is_not_answered_is_sent_to_all_with_the_same_bytes(void **state)
{
    (void)state;
    struct buffer first = {0};
    client_open(1, 0, 0);
    call(0);
    ledger_client_settle(client);
    assert_int_equal(sent_count, 1);
    assert_int_equal(sent[0].to, 0);
    assert_true(buffer_append(&first, sent[0].message.data, sent[0].message.len));
    sent_count = 0;
    /* Nothing at all was answered: asking for receipts would be of no use. */
    wait_us(RETRY_US - 1);
    assert_int_equal(sent_count, 0);
    wait_us(RETRY_US / 8 + 1);
    assert_int_equal(sent_count, 4);
    for (uint16_t i = 0; i < 4; i++) {
        assert_int_equal(sent[i].to, i);
        assert_true(slice_equal(slice_of_buffer(&sent[i].message), slice_of_buffer(&first)));
    }
    client_close();
    buffer_free(&first);
}

static unsigned fetches_sent(void)
{
    unsigned count = 0;
    for (unsigned i = 0; i < sent_count; i++)
        count +=
            ledger_message_type(slice_of_buffer(&sent[i].message)) == LEDGER_MESSAGE_FETCH_RECEIPT;
    return count;
}

static void a_replyx_that_does_not_come_is_asked_for_as_a_receipt(void **state)
{
    (void)state;
    static struct batch b;
    client_open(1, 0, 0);
    call(0);
    ledger_client_settle(client);
    batch_execute(&b, 0, 1);
    now_us += 1000;
    for (uint16_t i = 0; i < 3; i++)
        reply_from(&b, i);
    wait_us(RETRY_US / 2 + RETRY_US / 16);
    assert_int_equal(fetches_sent(), 1);
    /* From one replica after the other. */
    uint16_t to = sent[0].to;
    sent_count = 0;
    wait_us(RETRY_US / 4);
    wait_us(RETRY_US / 4 - RETRY_US / 8);
    for (unsigned i = 0; i < sent_count; i++)
        assert_true(sent[i].to != to);
    receipt_from(&b, 2, 0, false);
    assert_int_equal(ended_count, 1);
    client_close();
    batch_free(&b);
}

static void a_call_that_later_ones_overtook_is_asked_for_soon(void **state)
{
    (void)state;
    static struct batch b;
    client_open(1, 0, 0);
    /* Answers take a millisecond or two. */
    for (uint64_t s = 1; s < 100; s++) {
        call(0);
        ledger_client_settle(client);
        batch_execute(&b, 0, s);
        now_us += 1000 + s % 2 * 1000;
        replyx_from(&b, 1);
        for (uint16_t i = 0; i < 3; i++)
            reply_from(&b, i);
        batch_free(&b);
    }
    call(0); /* goes unanswered */
    ledger_client_settle(client);
    now_us += 500;
    sent_count = 0;
    call(0);
    ledger_client_settle(client);
    batch_execute(&b, 0, 100);
    now_us += 1500;
    replyx_from(&b, 1);
    for (uint16_t i = 0; i < 3; i++)
        reply_from(&b, i);
    assert_int_equal(ended_count, 100);
    wait_us(30000);
    assert_int_equal(fetches_sent(), 1);
    client_close();
    batch_free(&b);
}

static void a_service_that_is_slow_because_it_is_busy_is_not_sent_everything_again(void **state)
{
    (void)state;
    static struct batch b;
    client_open(1, 0, 0);
    /* Ever later, to three times the time between tries. */
    for (uint64_t s = 1; s < 100; s++) {
        call(0);
        ledger_client_settle(client);
        batch_execute(&b, 0, s);
        wait_us(RETRY_US * 3 * s / 100);
        replyx_from(&b, 1);
        for (uint16_t i = 0; i < 3; i++)
            reply_from(&b, i);
        batch_free(&b);
    }
    assert_int_equal(ended_count, 99);
    assert_true(status().retries < 10 && status().fetches < 10);
    client_close();
}

static void tries_come_further_and_further_apart(void **state)
{
    (void)state;
    client_open(1, 0, 0);
    call(0);
    ledger_client_settle(client);
    unsigned tries[2] = {0, 0};
    for (unsigned half = 0; half < 2; half++) {
        for (unsigned i = 0; i < 100; i++) {
            wait_us(RETRY_US / 4);
            sent_count = 0;
        }
        tries[half] = (unsigned)status().retries - (half ? tries[0] : 0);
    }
    assert_true(tries[0] > 2 && tries[1] > 0 && tries[1] < tries[0]);
    client_close();
}

static void a_deadline_ends_calls_that_were_sent_and_calls_that_wait(void **state)
{
    (void)state;
    client_open(1, 1, RETRY_US / 4);
    call(0);
    call(0);
    ledger_client_settle(client);
    assert_int_equal(status().waiting, 1);
    wait_us(RETRY_US / 4 - 1);
    assert_int_equal(ended_count, 0);
    wait_us(1);
    assert_int_equal(ended_count, 2);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(ended[i].outcome.result, -ATOLL_ETIMEDOUT);
    assert_true(status().waiting == 0 && status().sent == 0);
    /* And the window is free again. */
    sent_count = 0;
    call(0);
    ledger_client_settle(client);
    assert_int_equal(sent_count, 1);
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
    call(0);
    ledger_client_settle(client);
    batch_execute(&b, 0, 7);
    replyx_from(&b, 1);
    for (uint16_t i = 0; i < 3; i++)
        reply_from(&b, i);
    assert_int_equal(status().min_index, 7000);
    ledger_client_saw(client, 6999);
    assert_int_equal(status().min_index, 7000);
    ledger_client_saw(client, 7005);
    call(0);
    ledger_client_settle(client);
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
    replyx_from(&b, 1);
    for (uint16_t i = 0; i < 3; i++)
        reply_from(&b, i);
    assert_int_equal(ended_count, 2);
    assert_int_equal(ended[0].outcome.result, -ATOLL_ERANGE);
    assert_true(ended[0].receipt.len > 0);
    assert_int_equal(ended[1].outcome.result, 0);
    client_close();
    batch_free(&b);
}

/* ---- many ---- */

static void calls_share_a_signature_up_to_the_size_of_a_bundle(void **state)
{
    (void)state;
    static struct batch b;
    client_open(3, 0, 0);
    for (unsigned i = 0; i < 7; i++)
        call(0);
    ledger_client_settle(client);
    assert_int_equal(sent_count, 3);
    static const unsigned types[] = {LEDGER_MESSAGE_BUNDLE, LEDGER_MESSAGE_BUNDLE,
                                     LEDGER_MESSAGE_REQUEST};
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(ledger_message_type(slice_of_buffer(&sent[i].message)), types[i]);
    batch_execute(&b, 0, 1);
    assert_int_equal(b.pp.count, 7);
    replyx_from(&b, 0);
    for (uint16_t i = 0; i < 3; i++)
        reply_from(&b, i);
    assert_int_equal(ended_count, 7);
    receipts_hold();
    client_close();
    batch_free(&b);
}

static void a_member_of_a_bundle_that_got_lost_is_sent_again_with_its_path(void **state)
{
    (void)state;
    static struct batch b;
    client_open(4, 0, 0);
    for (unsigned i = 0; i < 4; i++)
        call(0);
    ledger_client_settle(client);
    sent_count = 0;
    wait_us(RETRY_US);
    wait_us(RETRY_US);
    batch_execute(&b, 0, 1);
    assert_int_equal(b.pp.count, 4);
    replyx_from(&b, 0);
    for (uint16_t i = 0; i < 3; i++)
        reply_from(&b, i);
    assert_int_equal(ended_count, 4);
    receipts_hold();
    client_close();
    batch_free(&b);
}

static void no_more_are_on_their_way_than_the_window_has(void **state)
{
    (void)state;
    static struct batch b;
    client_open(1, 4, 0);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(call(0), 10 + i);
    ledger_client_settle(client);
    assert_int_equal(status().sent, 4);
    assert_int_equal(status().waiting, 6);
    batch_execute(&b, 0, 1);
    /* The second, third and fourth end: the first still holds the window. */
    for (uint32_t i = 1; i < 4; i++)
        receipt_from(&b, 1, i, false);
    ledger_client_settle(client);
    assert_int_equal(status().sent, 1);
    receipt_from(&b, 1, 0, false);
    ledger_client_settle(client);
    assert_int_equal(status().sent, 4);
    assert_int_equal(status().waiting, 2);
    client_close();
    batch_free(&b);
}

static void a_full_queue_says_so_and_a_large_one_works(void **state)
{
    (void)state;
    static struct batch b;
    uint64_t reqno;
    struct error e;
    client_open(1, 100, 0);
    for (unsigned i = 0; i < 1000; i++)
        call(0);
    assert_int_equal(ledger_client_call(client, 0, 0, text_slice(""), NULL, &reqno, &e),
                     -ATOLL_EBUSY);
    for (uint64_t s = 1; s <= 10; s++) {
        ledger_client_settle(client);
        batch_execute(&b, 0, s);
        assert_int_equal(b.pp.count, 100);
        replyx_from(&b, 1);
        for (uint16_t i = 0; i < 3; i++)
            reply_from(&b, i);
        batch_free(&b);
    }
    assert_int_equal(ended_count, 1000);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(ended[i].outcome.reqno, 10 + i);
    receipts_hold();
    client_close();
}

static void arguments_that_no_request_holds_are_refused(void **state)
{
    (void)state;
    static uint8_t args[LEDGER_BODY_MAX];
    uint64_t reqno;
    struct error e;
    client_open(1024, 0, 0);
    assert_int_equal(
        ledger_client_call(client, 0, 0, slice_of(args, sizeof args), NULL, &reqno, &e),
        -ATOLL_ESIZE);
    /* The largest that are taken go through, alone and in bundles that stay in their limits. */
    size_t most = LEDGER_BODY_MAX - 1 - LEDGER_REQUEST_FIXED_LEN - ED25519_SIGNATURE_LEN - 12 -
                  LEDGER_BUNDLE_PATH_MAX * HASH_LEN;
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(ledger_client_call(client, 0, 0, slice_of(args, most), NULL, &reqno, &e),
                         0);
    ledger_client_settle(client);
    assert_int_equal(status().sent, 20);
    for (unsigned i = 0; i < sent_count; i++)
        assert_true(sent[i].message.len < 2u << 20);
    client_close();
}

static void identities_have_their_own_numbers_and_share_what_is_checked(void **state)
{
    (void)state;
    static struct batch b;
    struct error e;
    const uint8_t *keys;
    uint32_t count;
    client_open(1, 0, 0);
    ledger_client_on_connected(client, 0);
    assert_int_equal(ledger_hello_decode(slice_of_buffer(&sent[0].message), &keys, &count, &e), 0);
    assert_int_equal(count, 2);
    assert_memory_equal(keys + ED25519_KEY_LEN, secret_public(service.clients[1]), ED25519_KEY_LEN);
    sent_count = 0;
    assert_int_equal(call(0), 10);
    assert_int_equal(call(1), 5000);
    assert_int_equal(call(1), 5001);
    ledger_client_settle(client);
    assert_int_equal(sent_count, 1); /* one message for all */
    batch_execute(&b, 0, 1);
    replyx_from(&b, 1);
    for (uint16_t i = 0; i < 3; i++)
        reply_from(&b, i);
    assert_int_equal(ended_count, 3);
    assert_int_equal(ended[0].outcome.identity, 0);
    assert_int_equal(ended[2].outcome.identity, 1);
    assert_int_equal(ended[2].outcome.reqno, 5001);
    receipts_hold();
    client_close();
    batch_free(&b);
}

static void a_link_that_comes_back_gets_what_was_on_its_way(void **state)
{
    (void)state;
    client_open(1, 0, 0);
    call(0);
    call(1);
    ledger_client_settle(client);
    sent_count = 0;
    ledger_client_on_connected(client, 2);
    assert_int_equal(sent_count, 1); /* not the primary: only who listens */
    ledger_client_on_connected(client, 0);
    assert_int_equal(sent_count, 3);
    assert_int_equal(ledger_message_type(slice_of_buffer(&sent[1].message)), LEDGER_MESSAGE_HELLO);
    struct ledger_list list;
    struct error e;
    assert_int_equal(ledger_bodies_decode(slice_of_buffer(&sent[2].message), &list, &e), 0);
    assert_int_equal(list.left, 2);
    client_close();
}

static void numbers_are_reserved_before_they_are_used(void **state)
{
    (void)state;
    uint64_t reqno;
    struct error e;
    client_open(1, 0, 0);
    reserve_result = -ATOLL_EIO;
    assert_int_equal(ledger_client_call(client, 0, 0, text_slice(""), NULL, &reqno, &e),
                     -ATOLL_EIO);
    reserve_result = 0;
    assert_int_equal(call(0), 10);
    assert_true(reserved[0] > 10);
    client_close();
}

static void nonsense_is_counted_and_dropped(void **state)
{
    (void)state;
    client_open(1, 0, 0);
    call(0);
    ledger_client_settle(client);
    ledger_client_on_message(client, 0, slice_of(NULL, 0));
    ledger_client_on_message(client, 0, text_slice("1234"));
    ledger_client_on_message(client, 0, text_slice("0"));
    ledger_client_on_message(client, 0, slice_of_buffer(&sent[0].message));
    ledger_client_on_message(client, 4, text_slice("no such replica"));
    assert_int_equal(status().answers_bad, 4);
    assert_int_equal(status().sent, 1);
    client_close();
}

static void settings_out_of_range_are_refused(void **state)
{
    (void)state;
    struct ledger_client_identity two[2] = {{.first_reqno = 1}, {.first_reqno = 1}};
    memcpy(two[0].public_key, secret_public(service.clients[0]), ED25519_KEY_LEN);
    memcpy(two[1].public_key, secret_public(service.clients[0]), ED25519_KEY_LEN);
    const struct ledger_client_settings good = {
        .genesis = &service.genesis, .identities = two, .identity_count = 1, .bundle_max = 1};
    struct ledger_client_settings wrong[5] = {good, good, good, good, good};
    wrong[0].identity_count = 0;
    wrong[1].identity_count = 2; /* the same key */
    wrong[2].bundle_max = 0;
    wrong[3].bundle_max = LEDGER_CLIENT_WINDOW + 1;
    wrong[4].window = LEDGER_CLIENT_WINDOW + 1;
    struct ledger_client_env env = {0};
    struct error e;
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(ledger_client_open(&wrong[i], &env, &client, &e), -ATOLL_EINVAL);
    memset(two[0].public_key, 0, ED25519_KEY_LEN);
    assert_int_equal(ledger_client_open(&good, &env, &client, &e), -ATOLL_EINVAL);
}

/* ---- a bad network and a liar ---- */

#define STORM_BATCHES 40

/* Honest replicas that share one ledger, and replica `liar`, which sends what they would with a
 * byte changed. Every message may be lost, and what is sent may be doubled. */
struct storm {
    uint64_t random;
    uint16_t liar;
    struct batch batches[STORM_BATCHES];
    uint64_t count;
};

static uint32_t storm_draw(struct storm *s, uint32_t below)
{
    s->random = s->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((s->random >> 33) % below);
}

static void storm_deliver(struct storm *s, uint16_t from, struct buffer *message)
{
    unsigned copies = storm_draw(s, 10) < 7 ? 1 + (storm_draw(s, 8) == 0) : 0;
    if (from == s->liar && message->len > 0)
        message->data[storm_draw(s, (uint32_t)message->len)] ^= (uint8_t)(1 + storm_draw(s, 255));
    while (copies--)
        ledger_client_on_message(client, from, slice_of_buffer(message));
    message->len = 0;
}

/* Replies of all replicas to a batch, and the ReplyX that each owes. */
static void storm_reply(struct storm *s, const struct batch *b)
{
    struct buffer message = {0};
    struct merkle_hash path[MERKLE_LEVELS];
    struct error e;
    for (uint16_t i = 0; i < 4; i++) {
        struct ledger_reply reply = reply_of(b, i);
        uint8_t bytes[LEDGER_REPLY_MESSAGE_LEN];
        ledger_reply_encode(&reply, bytes);
        assert_true(buffer_append(&message, bytes, sizeof bytes));
        storm_deliver(s, i, &message);
        struct ledger_message_writer w;
        assert_true(ledger_replyx_begin(&w, &message, &b->pp));
        for (uint32_t k = i; k < b->pp.count; k += 4) {
            int len = merkle_tree_path(b->tree, k, b->pp.count, path, &e);
            assert_true(len >= 0 &&
                        ledger_replyx_tx(&w, slice_of_buffer(&b->txs[k]), k, path, (uint32_t)len));
        }
        ledger_message_end(&w);
        storm_deliver(s, i, &message);
    }
    buffer_free(&message);
}

/* The place of a request in the ledger; false when it was not executed. */
static bool storm_find(const struct storm *s, const uint8_t *req_hash, uint64_t *batch,
                       uint32_t *position)
{
    for (*batch = 0; *batch < s->count; ++*batch) {
        const struct batch *b = &s->batches[*batch];
        for (*position = 0; *position < b->pp.count; ++*position) {
            struct ledger_tx tx;
            struct ledger_body body;
            uint8_t hash[HASH_LEN];
            struct error e;
            assert_int_equal(ledger_tx_decode(slice_of_buffer(&b->txs[*position]), &tx, &e), 0);
            assert_int_equal(ledger_body_decode(tx.body, &body, &e), 0);
            ledger_request_hash(body.fields, hash);
            if (memcmp(hash, req_hash, HASH_LEN) == 0)
                return true;
        }
    }
    return false;
}

static void storm_receipt(struct storm *s, uint16_t from, const uint8_t *req_hash)
{
    struct buffer receipt = {0}, message = {0};
    uint64_t at;
    uint32_t position;
    if (storm_find(s, req_hash, &at, &position)) {
        batch_receipt(&service, &s->batches[at], position, batch_bits(&service, &s->batches[at]),
                      &receipt);
        assert_true(ledger_receipt_write(&message, slice_of_buffer(&receipt)));
    } else {
        struct ledger_refusal refusal = {.reason = LEDGER_REFUSAL_UNKNOWN};
        memcpy(refusal.req_hash, req_hash, HASH_LEN);
        assert_true(ledger_refusal_write(&message, &refusal));
    }
    storm_deliver(s, from, &message);
    buffer_free(&receipt);
    buffer_free(&message);
}

/* Takes a body into the batch, unless it was executed: then its receipt goes out. */
static void storm_body(struct storm *s, struct batch *b, uint16_t to, struct slice bytes)
{
    struct ledger_body body;
    struct error e;
    uint8_t hash[HASH_LEN];
    uint64_t at;
    uint32_t position;
    assert_int_equal(ledger_body_decode(bytes, &body, &e), 0);
    ledger_request_hash(body.fields, hash);
    for (uint32_t i = 0; i < b->pp.count; i++) {
        struct ledger_tx tx;
        assert_int_equal(ledger_tx_decode(slice_of_buffer(&b->txs[i]), &tx, &e), 0);
        if (slice_equal(tx.body, bytes))
            return;
    }
    if (storm_find(s, hash, &at, &position))
        storm_receipt(s, to, hash);
    else
        batch_tx_add(b, bytes, b->pp.first_index + b->pp.count++);
}

/* What the client sent reaches the replicas, or not; what they execute becomes a batch. */
static void storm_step(struct storm *s)
{
    static size_t ends[LEDGER_BUNDLE_MAX];
    struct batch *b = &s->batches[s->count];
    struct buffer bodies = {0};
    struct error e;
    unsigned messages = sent_count;
    batch_make(&service, b, 0, s->count + 1, 0);
    for (unsigned i = 0; i < messages; i++) {
        struct slice message = slice_of_buffer(&sent[i].message), bytes;
        struct ledger_list list;
        struct ledger_bundle bundle;
        uint8_t hash[HASH_LEN];
        uint16_t to = sent[i].to;
        if (to == s->liar || storm_draw(s, 10) < 3)
            continue;
        if (ledger_fetch_receipt_decode(message, hash, &e) == 0)
            storm_receipt(s, to, hash);
        else if (ledger_bodies_decode(message, &list, &e) == 0)
            while (ledger_list_next_bytes(&list, &bytes))
                storm_body(s, b, to, bytes);
        else if (ledger_bundle_message_decode(message, &bundle, &e) == 0 &&
                 ledger_bundle_open(&bundle, &bodies, ends, NULL, hash, &e) == 0)
            for (uint32_t k = 0; k < bundle.count; k++)
                storm_body(
                    s, b, to,
                    slice_of(bodies.data + (k ? ends[k - 1] : 0), ends[k] - (k ? ends[k - 1] : 0)));
    }
    sent_count = 0;
    buffer_free(&bodies);
    if (b->pp.count == 0) {
        batch_free(b);
        return;
    }
    batch_close(b);
    s->count++;
    storm_reply(s, b);
}

static void every_call_ends_with_its_receipt_whatever_is_lost_doubled_or_lied_about(void **state)
{
    (void)state;
    static struct storm s;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        s.random = seed * UINT64_C(0x9e3779b97f4a7c15);
        s.count = 0;
        s.liar = (uint16_t)(1 + seed % 3); /* the primary's part is another test's */
        client_open(1 + (uint32_t)seed % 4, 8, 0);
        for (unsigned i = 0; i < 24; i++)
            call(i % 2);
        unsigned steps = 0;
        for (; ended_count < 24 && steps < 4000; steps++) {
            ledger_client_settle(client);
            if (s.count < STORM_BATCHES)
                storm_step(&s);
            wait_us(20000);
        }
        if (ended_count < 24)
            fail_msg("seed %llu: %u of 24 calls ended", (unsigned long long)seed, ended_count);
        for (unsigned i = 0; i < ended_count; i++)
            assert_int_equal(ended[i].outcome.result, 0);
        receipts_hold();
        client_close();
        for (uint64_t i = 0; i < s.count; i++)
            batch_free(&s.batches[i]);
    }
}

static int world_setup(void **state)
{
    (void)state;
    service_make(&service, 4);
    return 0;
}

static int world_teardown(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SENT_MAX; i++)
        buffer_free(&sent[i].message);
    for (unsigned i = 0; i < ENDED_MAX; i++) {
        buffer_free(&ended[i].receipt);
        buffer_free(&ended[i].output);
    }
    service_free(&service);
    return 0;
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
        cmocka_unit_test(what_is_not_answered_is_sent_to_all_with_the_same_bytes),
        cmocka_unit_test(a_replyx_that_does_not_come_is_asked_for_as_a_receipt),
        cmocka_unit_test(a_call_that_later_ones_overtook_is_asked_for_soon),
        cmocka_unit_test(a_service_that_is_slow_because_it_is_busy_is_not_sent_everything_again),
        cmocka_unit_test(tries_come_further_and_further_apart),
        cmocka_unit_test(a_deadline_ends_calls_that_were_sent_and_calls_that_wait),
        cmocka_unit_test(what_is_signed_after_a_receipt_asks_for_a_greater_index),
        cmocka_unit_test(an_index_at_or_below_min_index_is_reported_with_its_receipt),
        cmocka_unit_test(calls_share_a_signature_up_to_the_size_of_a_bundle),
        cmocka_unit_test(a_member_of_a_bundle_that_got_lost_is_sent_again_with_its_path),
        cmocka_unit_test(no_more_are_on_their_way_than_the_window_has),
        cmocka_unit_test(a_full_queue_says_so_and_a_large_one_works),
        cmocka_unit_test(arguments_that_no_request_holds_are_refused),
        cmocka_unit_test(identities_have_their_own_numbers_and_share_what_is_checked),
        cmocka_unit_test(a_link_that_comes_back_gets_what_was_on_its_way),
        cmocka_unit_test(numbers_are_reserved_before_they_are_used),
        cmocka_unit_test(nonsense_is_counted_and_dropped),
        cmocka_unit_test(settings_out_of_range_are_refused),
        cmocka_unit_test(every_call_ends_with_its_receipt_whatever_is_lost_doubled_or_lied_about),
    };
    return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
