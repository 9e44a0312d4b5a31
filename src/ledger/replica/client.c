/*
 * What clients ask, and what they are told: replies for whole batches, receipts, refusals.
 *
 * When our nonce leaves, every connection with transactions in the batch gets one Reply, and one
 * ReplyX with the entries and paths of those that this replica is chosen for (req_hash mod N).
 */
#include "ledger/replica/core.h"

void client_refuse(struct ledger_replica *r, uint64_t connection, const uint8_t *req_hash,
                   enum ledger_refusal_reason reason)
{
    struct ledger_refusal m = {
        .reason = reason, .retry_after_ms = 100, .primary = primary_of(r, r->view)};
    r->counters.requests_busy += reason == LEDGER_REFUSAL_BUSY || reason == LEDGER_REFUSAL_QUOTA;
    if (!connection)
        return;
    memcpy(m.req_hash, req_hash, HASH_LEN);
    r->scratch_reply.len = 0;
    if (ledger_refusal_write(&r->scratch_reply, &m)) {
        struct slice part = slice_of_buffer(&r->scratch_reply);
        r->env.reply(r->env.context, connection, &part, 1);
    }
}

/* ---- replies ---- */

static void reply_own(struct ledger_replica *r, const struct slot *slot, uint64_t connection)
{
    uint8_t message[LEDGER_REPLY_MESSAGE_LEN];
    struct ledger_reply reply = {
        .config = slot->pp.config, .view = slot->view, .seqno = slot->s, .replica = r->self};
    bool primary = primary_of(r, slot->view) == r->self;
    memcpy(reply.signature, primary ? slot->pp.signature : slot->votes[r->self].prepare.signature,
           ED25519_SIGNATURE_LEN);
    memcpy(reply.nonce, slot->votes[r->self].nonce, LEDGER_NONCE_LEN);
    ledger_reply_encode(&reply, message);
    struct slice part = slice_of(message, sizeof message);
    r->env.reply(r->env.context, connection, &part, 1);
}

static bool replyx_add(struct ledger_replica *r, struct ledger_message_writer *w,
                       const struct slot *slot, uint32_t i)
{
    struct merkle_hash path[MERKLE_LEVELS];
    struct error e;
    const struct slot_tx *tx = &slot->txs[i];
    int length = LEDGER_BARE ? 0 : merkle_tree_path(slot->g, i, slot->pp.count, path, &e);
    if (length < 0)
        return false;
    if (!w->out &&
        !(r->scratch_reply.len = 0, ledger_replyx_begin(w, &r->scratch_reply, &slot->pp)))
        return false;
    return ledger_replyx_tx(w, slice_of(slot->entries.data + tx->start, tx->len), i, path,
                            (uint32_t)length);
}

static void replyx_send(struct ledger_replica *r, struct ledger_message_writer *w,
                        uint64_t connection)
{
    if (!w->out)
        return;
    ledger_message_end(w);
    struct slice part = slice_of_buffer(&r->scratch_reply);
    r->env.reply(r->env.context, connection, &part, 1);
    w->out = NULL;
}

static const uint8_t *tx_client(const struct slot *slot, const struct slot_tx *tx)
{
    struct ledger_tx decoded;
    struct ledger_body body;
    struct error e;
    if (ledger_tx_decode(slice_of(slot->entries.data + tx->start, tx->len), &decoded, &e) ||
        ledger_body_decode(decoded.body, &body, &e))
        return NULL;
    /* The key in the entry itself: form, genesis, key. */
    return decoded.body.data + 1 + HASH_LEN;
}

/* Where the client of a transaction listens: newest, and first if that is another one. */
static void tx_connections(const struct ledger_replica *r, const struct slot *slot, uint32_t i,
                           uint64_t *newest, uint64_t *first)
{
    const uint8_t *key = tx_client(slot, &slot->txs[i]);
    const struct client *c = key ? client_find(r, key) : NULL;
    *newest = c ? c->connection : 0;
    *first = c && c->first != c->connection ? c->first : 0;
}

/* Every connection in the list, which has one for each transaction (0: none), is told of its own.
 */
static void reply_each(struct ledger_replica *r, struct slot *slot, const uint64_t *connections)
{
    uint32_t count = slot->pp.count;
    r->reply_stamp++;
    for (uint32_t i = 0; i < count; i++) {
        struct connection *c = connections[i] ? connection_find(r, connections[i]) : NULL;
        if (!c || c->batch_stamp == r->reply_stamp)
            continue;
        c->batch_stamp = r->reply_stamp;
        reply_own(r, slot, c->number);
        struct ledger_message_writer w = {0};
        for (uint32_t k = i; k < count; k++) {
            if (connections[k] != c->number || load_u64(slot->txs[k].req_hash) % r->n != r->self)
                continue;
            if (w.count && r->scratch_reply.len > LEDGER_MESSAGE_MAX / 4)
                replyx_send(r, &w, c->number);
            if (!replyx_add(r, &w, slot, k))
                break;
        }
        replyx_send(r, &w, c->number);
    }
}

/* Our nonce for this batch may leave: its clients hear of it. */
void reply_batch(struct ledger_replica *r, struct slot *slot)
{
    assert(slot->released && slot->own_ready);
    uint32_t count = slot->pp.count;
    if (count == 0)
        return;
    if (count > r->connections_room) {
        uint64_t *grown = realloc(r->run_connections, 2 * (size_t)count * sizeof *grown);
        if (!grown)
            return;
        r->run_connections = grown;
        r->connections_room = count;
    }
    uint64_t *newest = r->run_connections, *first = newest + count;
    bool both = false;
    for (uint32_t i = 0; i < count; i++) {
        tx_connections(r, slot, i, &newest[i], &first[i]);
        both = both || first[i];
    }
    reply_each(r, slot, newest);
    if (both)
        reply_each(r, slot, first);
}

static bool receipt_write(struct ledger_replica *r, struct slot *slot, uint32_t i)
{
    struct error e;
    struct ledger_evidence evidence;
    struct merkle_hash path[MERKLE_LEVELS];
    uint8_t signatures[LEDGER_REPLICAS_MAX][ED25519_SIGNATURE_LEN];
    const struct slot_tx *tx = &slot->txs[i];
    struct ledger_receipt receipt = {.pp = slot->pp, .of_transaction = true, .position = i};
    if ((slot != &r->old && !vote_evidence(r, slot)) ||
        ledger_evidence_decode(slice_of_buffer(&slot->evidence), &evidence, &e))
        return false;
    for (unsigned k = 0, taken = 0; k < r->n; k++) {
        if (!(evidence.bits >> k & 1))
            continue;
        bool primary = k == primary_of(r, slot->view);
        memcpy(signatures[receipt.signer_count++],
               primary ? slot->pp.signature
                       : evidence.signatures + (size_t)taken * ED25519_SIGNATURE_LEN,
               ED25519_SIGNATURE_LEN);
        taken += !primary;
    }
    int length = merkle_tree_path(slot->g, i, slot->pp.count, path, &e);
    receipt.tx_bytes = slice_of(slot->entries.data + tx->start, tx->len);
    if (length < 0 || ledger_tx_decode(receipt.tx_bytes, &receipt.tx, &e) ||
        ledger_body_decode(receipt.tx.body, &receipt.body, &e))
        return false;
    receipt.bits = evidence.bits;
    receipt.signatures = signatures[0];
    receipt.nonces = evidence.nonces;
    receipt.path = path;
    receipt.path_len = (uint32_t)length;
    r->scratch_reply.len = 0;
    r->scratch_read.len = 0;
    return ledger_receipt_encode(&receipt, &r->scratch_read) &&
           ledger_receipt_write(&r->scratch_reply, slice_of_buffer(&r->scratch_read));
}

/* Answers with what there is about an executed request: a receipt, or our own reply. False: we do
 * not know where it was executed, or the log cannot be read. */
bool reply_receipt(struct ledger_replica *r, uint64_t connection,
                   const uint8_t req_hash[static HASH_LEN])
{
    uint32_t i;
    struct slot *slot = executed_find(r, req_hash, &i);
    if (!slot)
        return false;
    if (!connection)
        return true;
    if (receipt_write(r, slot, i)) {
        struct slice part = slice_of_buffer(&r->scratch_reply);
        r->env.reply(r->env.context, connection, &part, 1);
        return true;
    }
    if (!slot->released) {
        client_refuse(r, connection, req_hash, LEDGER_REFUSAL_PENDING);
        return true;
    }
    struct ledger_message_writer w = {0};
    reply_own(r, slot, connection);
    if (replyx_add(r, &w, slot, i))
        replyx_send(r, &w, connection);
    return true;
}

/* ---- what clients say ---- */

static void client_hello(struct ledger_replica *r, uint64_t connection, struct slice message)
{
    struct error e;
    const uint8_t *keys;
    uint32_t count;
    if (ledger_hello_decode(message, &keys, &count, &e)) {
        r->counters.messages_dropped++;
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct client *c = client_make(r, keys + (size_t)i * ED25519_KEY_LEN);
        /* Anybody can name any key: what another connection listens for stays its own until a
         * request with a valid signature comes from elsewhere. */
        if (c && !c->connection)
            client_listen(r, c, connection, false);
        if (c)
            client_unuse(r, c);
    }
}

static void client_requests(struct ledger_replica *r, uint64_t connection, struct slice message)
{
    struct error e;
    struct ledger_list bodies;
    struct slice body;
    if (ledger_bodies_decode(message, &bodies, &e)) {
        r->counters.messages_dropped++;
        return;
    }
    while (ledger_list_next_bytes(&bodies, &body))
        pool_admit(r, body, connection, r->self);
}

static void client_bundle(struct ledger_replica *r, uint64_t connection, struct slice message)
{
    struct error e;
    struct ledger_bundle bundle;
    uint8_t hash[HASH_LEN];
    if (!r->bundle_ends && !(r->bundle_ends = calloc(LEDGER_BUNDLE_MAX, sizeof *r->bundle_ends)))
        return;
    if (ledger_bundle_message_decode(message, &bundle, &e) ||
        ledger_bundle_open(&bundle, &r->scratch_read, r->bundle_ends, NULL, hash, &e)) {
        r->counters.messages_dropped++;
        return;
    }
    for (uint32_t i = 0; i < bundle.count; i++) {
        size_t start = i ? r->bundle_ends[i - 1] : 0;
        /* pool_admit may answer, which uses scratch_read: the body is copied before that. */
        pool_admit(r, slice_of(r->scratch_read.data + start, r->bundle_ends[i] - start), connection,
                   r->self);
    }
}

void ledger_on_client(struct ledger_replica *r, uint64_t connection, const void *message,
                      size_t len)
{
    struct slice m = slice_of(message, len);
    struct error e;
    uint8_t req_hash[HASH_LEN];
    if (!r->started || !connection_make(r, connection))
        return;
    switch (ledger_message_type(m)) {
    case LEDGER_MESSAGE_HELLO: client_hello(r, connection, m); break;
    case LEDGER_MESSAGE_REQUEST: client_requests(r, connection, m); break;
    case LEDGER_MESSAGE_BUNDLE: client_bundle(r, connection, m); break;
    case LEDGER_MESSAGE_FETCH_RECEIPT:
        if (ledger_fetch_receipt_decode(m, req_hash, &e))
            r->counters.messages_dropped++;
        else if (!reply_receipt(r, connection, req_hash))
            client_refuse(r, connection, req_hash,
                          pool_find(r, req_hash) ? LEDGER_REFUSAL_PENDING : LEDGER_REFUSAL_UNKNOWN);
        break;
    default: r->counters.messages_dropped++; break;
    }
}

void ledger_on_client_gone(struct ledger_replica *r, uint64_t connection)
{
    connection_forget(r, connection);
}
