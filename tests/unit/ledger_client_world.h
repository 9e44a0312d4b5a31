/*
 * A client of the ledger in a world without replicas: what it does is written down, and the test
 * says what comes back. For the tests of src/ledger/client; not every one uses all of it.
 */
#ifndef LEDGER_CLIENT_WORLD_H
#define LEDGER_CLIENT_WORLD_H

#include "ledger_objects.h"

#include "ledger/client/client.h"

#include <string.h>

#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wunused-function"

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

/* A call of identity 0 that is on its way: its request number. */
static uint64_t call_sent(void)
{
    uint64_t reqno = call(0);
    ledger_client_settle(client);
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

/* Another call of identity 0, which becomes batch seqno of view 0: its request number. */
static uint64_t call_executed(struct batch *b, uint64_t seqno)
{
    uint64_t reqno = call_sent();
    batch_execute(b, 0, seqno);
    return reqno;
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

/* All that a client needs: the ReplyX, and the replies of a quorum with the primary of view 0. */
static void quorum_answers(const struct batch *b)
{
    replyx_from(b, 1);
    for (uint16_t i = 0; i < 3; i++)
        reply_from(b, i);
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

#pragma clang diagnostic pop

#endif
