/* Messages between clients and replicas; formats in message.h. */
#include "ledger/object/message.h"

#include "ledger/object/message_parts.h"
#include "ledger/object/write.h"

#include <assert.h>

/* ---- from clients ---- */

bool ledger_hello_write(struct buffer *out, const uint8_t (*keys)[ED25519_KEY_LEN], uint32_t count)
{
    assert(count <= LEDGER_HELLO_MAX);
    uint8_t *at = buffer_extend(out, 1 + 4 + (size_t)count * ED25519_KEY_LEN);
    if (!at)
        return false;
    put_list(put_u8(at, LEDGER_MESSAGE_HELLO), count, keys, (size_t)count * ED25519_KEY_LEN);
    return true;
}

int ledger_hello_decode(struct slice message, const uint8_t **keys, uint32_t *count,
                        struct error *e)
{
    struct ledger_reader r = ledger_message_open(message, LEDGER_MESSAGE_HELLO);
    *count = ledger_read_count(&r, LEDGER_HELLO_MAX, ED25519_KEY_LEN, "it names too many clients");
    *keys = ledger_read_raw(&r, (size_t)*count * ED25519_KEY_LEN);
    return ledger_read_end(&r, e);
}

bool ledger_bundle_write(struct buffer *out, struct slice bundle)
{
    uint8_t *at = buffer_extend(out, 1 + bundle.len);
    if (!at)
        return false;
    put_raw(put_u8(at, LEDGER_MESSAGE_BUNDLE), bundle.data, bundle.len);
    return true;
}

int ledger_bundle_message_decode(struct slice message, struct ledger_bundle *bundle,
                                 struct error *e)
{
    struct ledger_reader r = ledger_message_open(message, LEDGER_MESSAGE_BUNDLE);
    if (r.code < 0)
        return ledger_read_end(&r, e);
    return ledger_bundle_decode((struct slice){r.at, (size_t)(r.end - r.at)}, bundle, e);
}

bool ledger_fetch_receipt_write(struct buffer *out, const uint8_t req_hash[static HASH_LEN])
{
    uint8_t *at = buffer_extend(out, 1 + HASH_LEN);
    if (!at)
        return false;
    put_raw(put_u8(at, LEDGER_MESSAGE_FETCH_RECEIPT), req_hash, HASH_LEN);
    return true;
}

int ledger_fetch_receipt_decode(struct slice message, uint8_t req_hash[static HASH_LEN],
                                struct error *e)
{
    struct ledger_reader r = ledger_message_open(message, LEDGER_MESSAGE_FETCH_RECEIPT);
    ledger_read_copy(&r, req_hash, HASH_LEN);
    return ledger_read_end(&r, e);
}

/* ---- to clients ---- */

void ledger_reply_encode(const struct ledger_reply *reply,
                         uint8_t out[static LEDGER_REPLY_MESSAGE_LEN])
{
    uint8_t *at = put_u8(out, LEDGER_MESSAGE_REPLY);
    at = put_u32(at, reply->config);
    at = put_u64(at, reply->view);
    at = put_u64(at, reply->seqno);
    at = put_u16(at, reply->replica);
    at = put_raw(at, reply->signature, ED25519_SIGNATURE_LEN);
    at = put_raw(at, reply->nonce, LEDGER_NONCE_LEN);
    assert(at == out + LEDGER_REPLY_MESSAGE_LEN);
}

int ledger_reply_decode(struct slice message, struct ledger_reply *reply, struct error *e)
{
    struct ledger_reader r = ledger_message_open(message, LEDGER_MESSAGE_REPLY);
    reply->config = ledger_read_u32(&r);
    reply->view = ledger_read_u64(&r);
    reply->seqno = ledger_read_u64(&r);
    reply->replica = ledger_read_replica(&r);
    ledger_read_copy(&r, reply->signature, ED25519_SIGNATURE_LEN);
    ledger_read_copy(&r, reply->nonce, LEDGER_NONCE_LEN);
    return ledger_read_end(&r, e);
}

bool ledger_replyx_begin(struct ledger_message_writer *w, struct buffer *out,
                         const struct ledger_pp *pp)
{
    uint8_t fields[LEDGER_PP_LEN];
    ledger_pp_encode(pp, fields);
    return ledger_message_begin(w, out, LEDGER_MESSAGE_REPLYX, fields, sizeof fields);
}

bool ledger_replyx_tx(struct ledger_message_writer *w, struct slice tx, uint32_t position,
                      const struct merkle_hash *path, uint32_t path_len)
{
    size_t path_bytes = (size_t)path_len * HASH_LEN;
    uint8_t *at = buffer_extend(w->out, 4 + tx.len + 4 + 4 + path_bytes);
    if (!at)
        return false;
    at = put_bytes(at, tx);
    at = put_u32(at, position);
    put_list(at, path_len, path, path_bytes);
    w->count++;
    return true;
}

static struct ledger_reply_tx reply_tx_read(struct ledger_reader *r)
{
    struct ledger_reply_tx tx;
    tx.tx = ledger_read_bytes(r, LEDGER_TX_MAX, "its transaction is longer than one may be");
    tx.position = ledger_read_u32(r);
    tx.path_len = ledger_read_count(r, LEDGER_BATCH_PATH_MAX, HASH_LEN,
                                    "its path is longer than that of any batch");
    tx.path = (const struct merkle_hash *)ledger_read_raw(r, (size_t)tx.path_len * HASH_LEN);
    return tx;
}

static void reply_tx_skip(struct ledger_reader *r)
{
    reply_tx_read(r);
}

bool ledger_list_next_reply_tx(struct ledger_list *list, struct ledger_reply_tx *tx)
{
    if (list->left == 0)
        return false;
    struct ledger_reader r = ledger_reader_of(list->rest, "list");
    *tx = reply_tx_read(&r);
    assert(r.code == 0);
    list->left--;
    list->rest = (struct slice){r.at, (size_t)(r.end - r.at)};
    return true;
}

int ledger_replyx_decode(struct slice message, struct ledger_replyx *reply, struct error *e)
{
    struct ledger_reader r = ledger_message_open(message, LEDGER_MESSAGE_REPLYX);
    ledger_read_pp_fields(&r, &reply->pp);
    ledger_read_list(&r, LEDGER_BATCH_MAX, 4 + 4 + 4, reply_tx_skip, &reply->txs);
    return ledger_read_end(&r, e);
}

bool ledger_receipt_write(struct buffer *out, struct slice receipt)
{
    uint8_t *at = buffer_extend(out, 1 + receipt.len);
    if (!at)
        return false;
    put_raw(put_u8(at, LEDGER_MESSAGE_RECEIPT), receipt.data, receipt.len);
    return true;
}

int ledger_receipt_message_decode(struct slice message, struct slice *receipt, struct error *e)
{
    struct ledger_reader r = ledger_message_open(message, LEDGER_MESSAGE_RECEIPT);
    size_t left = (size_t)(r.end - r.at);
    *receipt = (struct slice){ledger_read_raw(&r, left), left};
    if (receipt->len > LEDGER_RECEIPT_MAX)
        ledger_read_fail(&r, ATOLL_ELIMIT, "it is longer than a receipt may be");
    return ledger_read_end(&r, e);
}

bool ledger_refusal_write(struct buffer *out, const struct ledger_refusal *refusal)
{
    uint8_t *at = buffer_extend(out, 1 + HASH_LEN + 1 + 4 + 2);
    if (!at)
        return false;
    at = put_u8(at, LEDGER_MESSAGE_REFUSAL);
    at = put_raw(at, refusal->req_hash, HASH_LEN);
    at = put_u8(at, (uint8_t)refusal->reason);
    at = put_u32(at, refusal->retry_after_ms);
    put_u16(at, refusal->primary);
    return true;
}

int ledger_refusal_decode(struct slice message, struct ledger_refusal *refusal, struct error *e)
{
    struct ledger_reader r = ledger_message_open(message, LEDGER_MESSAGE_REFUSAL);
    ledger_read_copy(&r, refusal->req_hash, HASH_LEN);
    unsigned reason = ledger_read_u8(&r);
    refusal->reason = (enum ledger_refusal_reason)reason;
    refusal->retry_after_ms = ledger_read_u32(&r);
    refusal->primary = ledger_read_replica(&r);
    if (reason < LEDGER_REFUSAL_BUSY || reason > LEDGER_REFUSAL_LAST)
        ledger_read_fail(&r, ATOLL_ECORRUPT, "its reason is unknown");
    return ledger_read_end(&r, e);
}

const char *ledger_refusal_name(enum ledger_refusal_reason reason)
{
    switch (reason) {
    case LEDGER_REFUSAL_BUSY: return "busy";
    case LEDGER_REFUSAL_QUOTA: return "quota";
    case LEDGER_REFUSAL_PENDING: return "pending";
    case LEDGER_REFUSAL_UNKNOWN: return "unknown request";
    case LEDGER_REFUSAL_TOO_OLD: return "too old";
    case LEDGER_REFUSAL_MALFORMED: return "malformed";
    case LEDGER_REFUSAL_SIGNATURE: return "bad signature";
    case LEDGER_REFUSAL_STRANGER: return "not on the access list";
    case LEDGER_REFUSAL_NOT_PRIMARY: return "not the primary";
    case LEDGER_REFUSAL_DUPLICATE: return "reqno used before";
    }
    return "unknown reason";
}
