/* A client of the ledger on a bad network, with a liar among the replicas (src/ledger/client). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ledger_client_world.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call_ends_with_its_receipt_whatever_is_lost_doubled_or_lied_about),
    };
    return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
