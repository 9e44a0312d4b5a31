/*
 * Decodes bytes and encodes what was found: for every object and message of the ledger. What a
 * decoder accepts must come back byte for byte, or two encodings of one object would exist. Shared
 * by the unit tests and the fuzzers.
 */
#ifndef TESTS_LEDGER_AGAIN_H
#define TESTS_LEDGER_AGAIN_H

#include "ledger/object/message.h"
#include "ledger/object/receipt.h"

#include <assert.h>

/* 0 with the encoding in out (emptied before), or the decoder's refusal. */
typedef int again_function(struct slice, struct buffer *out, struct error *);

/* ---- objects ---- */

static inline int request_again(struct slice bytes, struct buffer *out, struct error *e)
{
    struct ledger_request request;
    int result = ledger_request_decode(bytes, &request, e);
    bool done = result < 0 || ledger_request_encode(&request, out);
    assert(done);
    return result;
}

/* A member's body has no encoder of its own but that of its bundle: put together here. */
static inline int body_again(struct slice bytes, struct buffer *out, struct error *e)
{
    struct ledger_body body;
    int result = ledger_body_decode(bytes, &body, e);
    if (result < 0)
        return result;
    struct buffer fields = {0};
    bool done = ledger_request_encode(&body.request, &fields) &&
                ledger_body_encode_alone(slice_of_buffer(&fields), body.signature, out);
    buffer_free(&fields);
    assert(done);
    if (body.form == LEDGER_BODY_MEMBER) {
        out->data[0] = LEDGER_BODY_MEMBER;
        done = buffer_append_u32(out, body.count) && buffer_append_u32(out, body.position) &&
               buffer_append_u32(out, body.path_len) &&
               buffer_append(out, body.path, (size_t)body.path_len * HASH_LEN);
        assert(done);
    }
    return 0;
}

/* The members come back through the bodies that the bundle is opened into. */
static inline int bundle_again(struct slice bytes, struct buffer *out, struct error *e)
{
    static size_t ends[LEDGER_BUNDLE_MAX];
    static struct ledger_request requests[LEDGER_BUNDLE_MAX];
    struct ledger_bundle bundle;
    struct buffer bodies = {0};
    uint8_t hash[HASH_LEN];
    int result = ledger_bundle_decode(bytes, &bundle, e);
    if (result == 0)
        result = ledger_bundle_open(&bundle, &bodies, ends, NULL, hash, e);
    for (uint32_t i = 0; result == 0 && i < bundle.count; i++) {
        struct ledger_body body;
        size_t from = i ? ends[i - 1] : 0;
        int good = ledger_body_decode(slice_of(bodies.data + from, ends[i] - from), &body, e);
        assert(good == 0 && body.count == bundle.count && body.position == i);
        (void)good;
        requests[i] = body.request;
    }
    bool done = result < 0 || ledger_bundle_encode(requests, bundle.count, bundle.signature, out);
    assert(done);
    buffer_free(&bodies);
    return result;
}

static inline int tx_again(struct slice bytes, struct buffer *out, struct error *e)
{
    struct ledger_tx tx;
    int result = ledger_tx_decode(bytes, &tx, e);
    bool done = result < 0 || ledger_tx_encode(&tx, out);
    assert(done);
    return result;
}

static inline int pp_again(struct slice bytes, struct buffer *out, struct error *e)
{
    struct ledger_pp pp;
    uint8_t object[LEDGER_PP_LEN];
    int result = ledger_pp_decode(bytes, &pp, e);
    if (result == 0)
        ledger_pp_encode(&pp, object);
    bool done = result < 0 || buffer_append(out, object, sizeof object);
    assert(done);
    return result;
}

static inline int pp_signed_again(struct slice bytes, struct buffer *out, struct error *e)
{
    struct ledger_pp pp;
    uint8_t object[LEDGER_PP_SIGNED_LEN];
    int result = ledger_pp_decode_signed(bytes, &pp, e);
    if (result == 0)
        ledger_pp_encode_signed(&pp, object);
    bool done = result < 0 || buffer_append(out, object, sizeof object);
    assert(done);
    return result;
}

static inline int evidence_again(struct slice bytes, struct buffer *out, struct error *e)
{
    struct ledger_evidence evidence;
    int result = ledger_evidence_decode(bytes, &evidence, e);
    bool done = result < 0 || ledger_evidence_encode(&evidence, out);
    assert(done);
    return result;
}

static inline int certificate_again(struct slice bytes, struct buffer *out, struct error *e)
{
    struct ledger_certificate certificate;
    int result = ledger_certificate_decode(bytes, &certificate, e);
    bool done = result < 0 || ledger_certificate_encode(&certificate, out);
    assert(done);
    return result;
}

static inline int new_view_again(struct slice bytes, struct buffer *out, struct error *e)
{
    struct ledger_new_view nv;
    int result = ledger_new_view_decode_signed(bytes, &nv, e);
    bool done = result < 0 || ledger_new_view_encode_signed(&nv, out);
    assert(done);
    return result;
}

static inline int view_change_again(struct slice bytes, struct buffer *out, struct error *e)
{
    struct ledger_view_change vc;
    uint8_t hash[HASH_LEN], same[HASH_LEN];
    int result = ledger_view_change_decode_signed(bytes, &vc, e);
    if (result < 0)
        return result;
    bool done = ledger_view_change_encode_signed(&vc, out) && ledger_view_change_hash(&vc, hash);
    ledger_view_change_hash_bytes(bytes, same);
    assert(done && hash_equal(hash, same));
    (void)done;
    return 0;
}

static inline int vcset_again(struct slice bytes, struct buffer *out, struct error *e)
{
    struct ledger_vcset set;
    int result = ledger_vcset_decode(bytes, &set, e);
    bool done = result < 0 || ledger_vcset_encode(&set, out);
    assert(done);
    return result;
}

static inline int configuration_again(struct slice bytes, struct buffer *out, struct error *e)
{
    struct ledger_configuration configuration;
    int result = ledger_configuration_decode(bytes, &configuration, e);
    bool done = result < 0 || ledger_configuration_encode(&configuration, out);
    assert(done);
    return result;
}

static inline int genesis_again(struct slice bytes, struct buffer *out, struct error *e)
{
    struct ledger_genesis genesis;
    int result = ledger_genesis_decode(bytes, &genesis, e);
    bool done = result < 0 || ledger_genesis_encode(&genesis, out);
    assert(done);
    return result;
}

static inline int signed_again(struct slice bytes, struct buffer *out, struct error *e)
{
    struct ledger_signed mark;
    uint8_t object[LEDGER_SIGNED_LEN];
    int result = ledger_signed_decode(bytes, &mark, e);
    if (result == 0)
        ledger_signed_encode(&mark, object);
    bool done = result < 0 || buffer_append(out, object, sizeof object);
    assert(done);
    return result;
}

static inline int receipt_again(struct slice bytes, struct buffer *out, struct error *e)
{
    struct ledger_receipt receipt;
    int result = ledger_receipt_decode(bytes, &receipt, e);
    bool done = result < 0 || ledger_receipt_encode(&receipt, out);
    assert(done);
    return result;
}

static inline int receipt_file_again(struct slice bytes, struct buffer *out, struct error *e)
{
    struct slice receipt;
    uint8_t genesis[HASH_LEN];
    int result = ledger_receipt_file_decode(bytes, &receipt, genesis, e);
    bool done = result < 0 || ledger_receipt_file_encode(receipt, genesis, out);
    assert(done);
    return result;
}

/* ---- messages ---- */

static inline int pre_prepare_again(struct slice m, struct buffer *out, struct error *e)
{
    struct ledger_pre_prepare_message message;
    struct ledger_message_writer w;
    struct ledger_batch_item item;
    int result = ledger_pre_prepare_decode(m, &message, e);
    if (result < 0)
        return result;
    bool done = ledger_pre_prepare_begin(&w, out, &message.pp, message.evidence);
    while (ledger_list_next_item(&message.items, &item))
        done &= item.hash ? ledger_pre_prepare_hash(&w, item.hash)
                          : ledger_pre_prepare_body(&w, item.body);
    ledger_message_end(&w);
    assert(done);
    return 0;
}

static inline int content_again(struct slice m, struct buffer *out, struct error *e)
{
    struct ledger_content content;
    struct ledger_message_writer w;
    struct slice tx;
    int result = ledger_content_decode(m, &content, e);
    if (result < 0)
        return result;
    bool done = ledger_content_begin(&w, out, &content);
    while (ledger_list_next_bytes(&content.txs, &tx))
        done &= ledger_content_tx(&w, tx);
    ledger_message_end(&w);
    assert(done);
    return 0;
}

static inline int entries_again(struct slice m, struct buffer *out, struct error *e)
{
    struct ledger_entries entries;
    struct ledger_message_writer w;
    struct ledger_list_entry entry;
    int result = ledger_entries_decode(m, &entries, e);
    if (result < 0)
        return result;
    bool done = ledger_entries_begin(&w, out, entries.from, entries.end);
    while (ledger_list_next_entry(&entries.entries, &entry))
        done &= ledger_entries_entry(&w, entry.type, entry.payload);
    ledger_message_end(&w);
    assert(done);
    return 0;
}

static inline int bodies_again(struct slice m, struct buffer *out, struct error *e)
{
    struct ledger_list bodies;
    struct ledger_message_writer w;
    struct slice body;
    int result = ledger_bodies_decode(m, &bodies, e);
    if (result < 0)
        return result;
    bool done = ledger_bodies_begin(&w, out, (enum ledger_message_type)ledger_message_type(m));
    while (ledger_list_next_bytes(&bodies, &body))
        done &= ledger_bodies_body(&w, body);
    ledger_message_end(&w);
    assert(done);
    return 0;
}

static inline int replyx_again(struct slice m, struct buffer *out, struct error *e)
{
    struct ledger_replyx reply;
    struct ledger_message_writer w;
    struct ledger_reply_tx tx;
    int result = ledger_replyx_decode(m, &reply, e);
    if (result < 0)
        return result;
    bool done = ledger_replyx_begin(&w, out, &reply.pp);
    while (ledger_list_next_reply_tx(&reply.txs, &tx))
        done &= ledger_replyx_tx(&w, tx.tx, tx.position, tx.path, tx.path_len);
    ledger_message_end(&w);
    assert(done);
    return 0;
}

/* The messages of one object, or of a few fields. */
static inline int small_message_again(struct slice m, struct buffer *out, struct error *e)
{
    int result = 0;
    bool done = true;
    struct slice bytes;
    switch ((enum ledger_message_type)ledger_message_type(m)) {
    case LEDGER_MESSAGE_PREPARE: {
        struct ledger_prepare prepare;
        result = ledger_prepare_message_decode(m, &prepare, e);
        done = result < 0 || ledger_prepare_write(out, &prepare);
        break;
    }
    case LEDGER_MESSAGE_COMMIT: {
        struct ledger_commit commit;
        result = ledger_commit_message_decode(m, &commit, e);
        done = result < 0 || ledger_commit_write(out, &commit);
        break;
    }
    case LEDGER_MESSAGE_VIEW_CHANGE: {
        struct ledger_view_change vc;
        result = ledger_view_change_message_decode(m, &vc, &bytes, e);
        done = result < 0 || ledger_view_change_write(out, bytes);
        break;
    }
    case LEDGER_MESSAGE_NEW_VIEW: {
        struct ledger_new_view_message message;
        result = ledger_new_view_message_decode(m, &message, e);
        done = result < 0 || ledger_new_view_write(out, message.signed_bytes, message.vcset_bytes);
        break;
    }
    case LEDGER_MESSAGE_EVIDENCE: {
        struct ledger_evidence_message message;
        result = ledger_evidence_message_decode(m, &message, e);
        done = result < 0 || ledger_evidence_write(out, &message.pp, message.evidence_bytes);
        break;
    }
    case LEDGER_MESSAGE_CHECKPOINT: {
        struct ledger_chunk chunk;
        result = ledger_chunk_decode(m, &chunk, e);
        done = result < 0 || ledger_chunk_write(out, &chunk);
        break;
    }
    case LEDGER_MESSAGE_LIFE: {
        struct ledger_life_message life;
        result = ledger_life_decode(m, &life, e);
        done = result < 0 || ledger_life_write(out, &life);
        break;
    }
    case LEDGER_MESSAGE_STATUS: {
        struct ledger_status_message status;
        result = ledger_status_decode(m, &status, e);
        done = result < 0 || ledger_status_write(out, &status);
        break;
    }
    default: {
        struct ledger_fetch fetch;
        result = ledger_fetch_decode(m, &fetch, e);
        done = result < 0 || ledger_fetch_write(out, &fetch);
    }
    }
    assert(done);
    return result;
}

/* Those with clients. */
static inline int client_message_again(struct slice m, struct buffer *out, struct error *e)
{
    int result = 0;
    bool done = true;
    switch ((enum ledger_message_type)ledger_message_type(m)) {
    case LEDGER_MESSAGE_HELLO: {
        const uint8_t *keys;
        uint32_t count;
        result = ledger_hello_decode(m, &keys, &count, e);
        done =
            result < 0 || ledger_hello_write(out, (const uint8_t(*)[ED25519_KEY_LEN])keys, count);
        break;
    }
    case LEDGER_MESSAGE_BUNDLE: {
        struct ledger_bundle bundle;
        result = ledger_bundle_message_decode(m, &bundle, e);
        done = result < 0 || ledger_bundle_write(out, slice_of(m.data + 1, m.len - 1));
        break;
    }
    case LEDGER_MESSAGE_FETCH_RECEIPT: {
        uint8_t req_hash[HASH_LEN];
        result = ledger_fetch_receipt_decode(m, req_hash, e);
        done = result < 0 || ledger_fetch_receipt_write(out, req_hash);
        break;
    }
    case LEDGER_MESSAGE_REPLY: {
        struct ledger_reply reply;
        uint8_t message[LEDGER_REPLY_MESSAGE_LEN];
        result = ledger_reply_decode(m, &reply, e);
        if (result == 0)
            ledger_reply_encode(&reply, message);
        done = result < 0 || buffer_append(out, message, sizeof message);
        break;
    }
    case LEDGER_MESSAGE_RECEIPT: {
        struct slice receipt;
        result = ledger_receipt_message_decode(m, &receipt, e);
        done = result < 0 || ledger_receipt_write(out, receipt);
        break;
    }
    case LEDGER_MESSAGE_REPLYX: return replyx_again(m, out, e);
    default: {
        struct ledger_refusal refusal;
        result = ledger_refusal_decode(m, &refusal, e);
        done = result < 0 || ledger_refusal_write(out, &refusal);
    }
    }
    assert(done);
    return result;
}

/* Any message, by its type. */
static inline int message_again(struct slice m, struct buffer *out, struct error *e)
{
    switch ((enum ledger_message_type)ledger_message_type(m)) {
    case LEDGER_MESSAGE_PRE_PREPARE: return pre_prepare_again(m, out, e);
    case LEDGER_MESSAGE_CONTENT: return content_again(m, out, e);
    case LEDGER_MESSAGE_LEDGER: return entries_again(m, out, e);
    case LEDGER_MESSAGE_RELAY:
    case LEDGER_MESSAGE_REQUEST: return bodies_again(m, out, e);
    default: break;
    }
    return ledger_message_type(m) < LEDGER_MESSAGE_HELLO ? small_message_again(m, out, e)
                                                         : client_message_again(m, out, e);
}

#endif
