/*
 * A cluster of ledger replicas in memory, for tests that read as stories: every message arrives in
 * order unless the test cuts a link, disks are durable at once, time passes only when a test says
 * so. Signatures are a hash under the public key: whoever knows the key can forge them, and tests
 * of liars do.
 */
#ifndef LEDGER_CLUSTER_H
#define LEDGER_CLUSTER_H

#include "ledger_cluster_node.h"

/* ---- life ---- */

static inline void cluster_store_genesis(struct cluster *c, struct kv **kv)
{
    struct error e;
    assert_int_equal(kv_create(4, c->genesis.bucket_key, kv, &e), 0);
    assert_int_equal(procedure_preload(c->genesis.procedures, c->genesis.state.data,
                                       c->genesis.state.len, *kv, &e),
                     0);
}

/* One attempt to start a node, from a checkpoint that it keeps or (NULL) from the genesis. */
static inline bool cluster_try_node(struct cluster *c, unsigned i,
                                    const struct cluster_checkpoint *from)
{
    struct cluster_node *node = &c->nodes[i];
    struct error e = {0};
    struct ledger_env env = {.context = node,
                             .now_us = cluster_now,
                             .timer_set = cluster_timer_set,
                             .send = cluster_send,
                             .reply = cluster_reply,
                             .append = cluster_append,
                             .sync = cluster_sync,
                             .read = cluster_read,
                             .verify = cluster_verify_later,
                             .sign = cluster_node_sign,
                             .digest = cluster_digest,
                             .proof = cluster_proof,
                             .stopped = cluster_stopped};
    if (c->transfers) {
        env.jump = cluster_jump;
        env.gap = cluster_gap;
        env.history = cluster_history;
        env.checkpoint_chunk = cluster_chunk;
        env.checkpoint_origin = cluster_origin;
    }
    struct ledger_config config = {.genesis = slice_of_buffer(&c->genesis_bytes),
                                   .replica = (uint16_t)i};
    memset(config.nonce_key, (int)i + 1, sizeof config.nonce_key);
    config.checkpoint = from ? &from->at : NULL;
    if (from)
        config.kv = cluster_store(c, from);
    else
        cluster_store_genesis(c, &config.kv);
    node->stopped = NULL;
    node->started_at = from ? from->at.s : 0;
    if (ledger_open(&config, &env, &node->replica, &e))
        fail_msg("replica %u does not open: %s", i, e.text);
    size_t count = node->record_count;
    for (size_t k = 0; k < count; k++) {
        const struct cluster_record *record = &node->records[k];
        if (record->kind &&
            ledger_recover(node->replica, record->kind, record->type, record->position,
                           record->bytes.data, record->bytes.len, &e))
            fail_msg("replica %u does not recover record %zu: %s", i, k, e.text);
    }
    int rc = ledger_start(node->replica, &e);
    if (rc && !from)
        fail_msg("replica %u does not start: %s", i, e.text);
    if (rc)
        ledger_close(node->replica);
    return rc == 0;
}

static inline void cluster_start_node(struct cluster *c, unsigned i)
{
    struct cluster_node *node = &c->nodes[i];
    for (unsigned k = 0; k < node->kept_count && c->transfers; k++)
        if (cluster_try_node(c, i, &node->kept[k]))
            return;
    cluster_try_node(c, i, NULL);
}

/* As if its process were killed; what it logged stays. */
static inline void cluster_stop_node(struct cluster *c, unsigned i)
{
    struct cluster_node *node = &c->nodes[i];
    while (node->digest_count)
        kv_snapshot_release(node->digests[--node->digest_count]);
    ledger_close(node->replica);
    node->replica = NULL;
    node->job_count = 0;
    node->sync_wanted = 0;
    memset(node->timers, 0, sizeof node->timers);
}

static inline void cluster_forget_disk(struct cluster *c, unsigned i)
{
    struct cluster_node *node = &c->nodes[i];
    for (size_t k = 0; k < node->record_count; k++)
        buffer_free(&node->records[k].bytes);
    node->record_count = 0;
    for (unsigned k = 0; k < node->kept_count; k++)
        cluster_checkpoint_drop(&node->kept[k]);
    node->kept_count = node->gap_count = 0;
}

static inline void cluster_open_genesis(struct cluster *c, unsigned n)
{
    struct error e = {0};
    static const uint8_t address[] = "host:1", name[] = "member";
    uint8_t secret[crypto_sign_SECRETKEYBYTES], seed[crypto_sign_SEEDBYTES] = {0};
    uint8_t state[SMALLBANK_STATE_LEN];
    for (unsigned i = 0; i < CLUSTER_MAX + 64; i++) {
        seed[0] = (uint8_t)i;
        assert_int_equal(crypto_sign_seed_keypair(c->public_key[i], secret, seed), 0);
    }
    smallbank_state_encode(100, 1000, 1000, state);
    struct ledger_genesis g = {.name = slice_of("test", 4),
                               .pipeline = CLUSTER_P,
                               .bucket_bits = 4,
                               .procedures = PROCEDURE_FAMILY_SMALLBANK,
                               .state = slice_of(state, sizeof state)};
    struct ledger_configuration *config = &g.configuration;
    config->max_batch = CLUSTER_BATCH;
    config->checkpoint_interval = CLUSTER_C;
    config->view_timeout_us = 1000000;
    config->member_count = 1;
    config->members[0] = (struct ledger_member){slice_of(name, 6), c->public_key[CLUSTER_MAX + 63]};
    config->replica_count = n;
    for (unsigned i = 0; i < n; i++)
        config->replicas[i] = (struct ledger_node){c->public_key[i], 0, slice_of(address, 6)};
    assert_true(ledger_genesis_encode(&g, &c->genesis_bytes));
    if (ledger_genesis_decode(slice_of_buffer(&c->genesis_bytes), &c->genesis, &e))
        fail_msg("the genesis does not decode: %s", e.text);
}

static inline struct cluster *cluster_create(unsigned n)
{
    struct cluster *c = calloc(1, sizeof *c);
    assert_non_null(c);
    c->n = n;
    c->f = (n - 1) / 3;
    c->quorum = n - c->f;
    c->now = 1;
    cluster_open_genesis(c, n);
    for (unsigned i = 0; i < n; i++) {
        c->nodes[i].cluster = c;
        c->nodes[i].number = (uint16_t)i;
    }
    for (unsigned i = 0; i < n; i++)
        cluster_start_node(c, i);
    return c;
}

static inline void cluster_destroy(struct cluster *c)
{
    for (unsigned i = 0; i < c->n; i++) {
        cluster_stop_node(c, i);
        cluster_forget_disk(c, i);
        free(c->nodes[i].records);
        free(c->nodes[i].entry_at);
        buffer_free(&c->nodes[i].proof);
    }
    for (size_t i = 0; i < c->queue_count; i++)
        buffer_free(&c->queue[c->queue_first + i].bytes);
    free(c->queue);
    buffer_free(&c->genesis_bytes);
    buffer_free(&c->receipt);
    free(c);
}

/* ---- running ---- */

static inline void cluster_client_hears(struct cluster *c, const struct cluster_message *m)
{
    struct error e;
    struct ledger_refusal refusal;
    struct ledger_replyx x;
    struct slice bytes = slice_of_buffer(&m->bytes), receipt;
    switch (ledger_message_type(bytes)) {
    case LEDGER_MESSAGE_REPLY:
        assert_true(c->reply_count < 4096);
        c->replies[c->reply_count].connection = m->connection;
        assert_int_equal(ledger_reply_decode(bytes, &c->replies[c->reply_count++].reply, &e), 0);
        break;
    case LEDGER_MESSAGE_REPLYX:
        assert_int_equal(ledger_replyx_decode(bytes, &x, &e), 0);
        c->replyx_count += x.txs.left;
        break;
    case LEDGER_MESSAGE_RECEIPT:
        assert_int_equal(ledger_receipt_message_decode(bytes, &receipt, &e), 0);
        c->receipt.len = 0;
        assert_true(buffer_append(&c->receipt, receipt.data, receipt.len));
        break;
    case LEDGER_MESSAGE_REFUSAL:
        assert_int_equal(ledger_refusal_decode(bytes, &refusal, &e), 0);
        c->refusals[refusal.reason]++;
        assert_in_range(m->connection, CLUSTER_CLIENT, CLUSTER_CLIENT + 63);
        c->refused[m->connection - CLUSTER_CLIENT]++;
        break;
    default: fail_msg("a client hears message type %u", ledger_message_type(bytes));
    }
}

static inline void cluster_deliver(struct cluster *c)
{
    struct cluster_message m = c->queue[c->queue_first++];
    c->queue_count--;
    if (!c->queue_count)
        c->queue_first = 0;
    if (m.to < 0) {
        cluster_client_hears(c, &m);
    } else if (!c->cut[m.from][m.to] && (!c->tamper || c->tamper(c, m.from, m.to, &m.bytes)) &&
               c->nodes[m.to].replica) {
        ledger_on_message(c->nodes[m.to].replica, (uint16_t)m.from, m.bytes.data, m.bytes.len);
        ledger_settle(c->nodes[m.to].replica);
        c->delivered++;
    }
    buffer_free(&m.bytes);
}

/* One step of a node's own: a job, the disk, a digest. */
static inline bool cluster_node_works(struct cluster_node *node)
{
    struct error e;
    if (!node->replica)
        return false;
    if (node->job_count) {
        struct ledger_verify_job *job = node->jobs[0];
        memmove(node->jobs, node->jobs + 1, --node->job_count * sizeof *node->jobs);
        cluster_verify(NULL, job->items, job->count, job->valid, &e);
        ledger_on_verified(node->replica, job);
    } else if (node->sync_wanted) {
        uint64_t lsn = node->sync_wanted;
        node->sync_wanted = 0;
        ledger_on_durable(node->replica, lsn);
    } else if (node->digest_count && !node->cluster->digests_held) {
        uint8_t digest[HASH_LEN];
        node->digest_count--;
        kv_snapshot_digest(node->digests[node->digest_count], digest);
        if (node->cluster->transfers)
            cluster_keep(node, &node->digest_of[node->digest_count],
                         node->digests[node->digest_count]);
        else
            kv_snapshot_release(node->digests[node->digest_count]);
        ledger_on_digest(node->replica, &node->digest_of[node->digest_count], digest);
    } else {
        return false;
    }
    ledger_settle(node->replica);
    return true;
}

/* Until nothing is under way; no time passes. */
static inline void cluster_run(struct cluster *c)
{
    for (uint64_t steps = 0;; steps++) {
        bool worked = false;
        assert_true(steps < 10000000);
        for (unsigned i = 0; i < c->n; i++)
            worked = cluster_node_works(&c->nodes[i]) || worked;
        if (c->queue_count)
            cluster_deliver(c);
        else if (!worked)
            return;
    }
}

/* Lets so much time pass, with all that happens meanwhile. */
static inline void cluster_pass(struct cluster *c, uint64_t us)
{
    uint64_t until = c->now + us;
    cluster_run(c);
    for (;;) {
        uint64_t next = until;
        struct cluster_node *who = NULL;
        unsigned id = 0;
        for (unsigned i = 0; i < c->n; i++)
            for (unsigned k = 0; k < LEDGER_TIMERS; k++)
                if (c->nodes[i].replica && c->nodes[i].timers[k] && c->nodes[i].timers[k] <= next) {
                    next = c->nodes[i].timers[k];
                    who = &c->nodes[i];
                    id = k;
                }
        if (!who)
            break;
        if (next > c->now)
            c->now = next;
        who->timers[id] = 0;
        ledger_on_timer(who->replica, id);
        ledger_settle(who->replica);
        cluster_run(c);
    }
    c->now = until;
}

/* ---- clients ---- */

/* Appends the body of a request of client k that deposits an amount; returns its hash. */
static inline void cluster_body(struct cluster *c, unsigned k, uint64_t reqno, uint64_t min_index,
                                struct buffer *body, uint8_t req_hash[static HASH_LEN])
{
    uint8_t args[SMALLBANK_ARGS_MAX], signature[ED25519_SIGNATURE_LEN];
    struct smallbank_call call = {
        .proc = SMALLBANK_DEPOSIT_CHECKING, .customer = k, .amount = (int64_t)reqno};
    struct ledger_request q = {.reqno = reqno, .min_index = min_index, .proc = call.proc};
    struct buffer fields = {0};
    q.args = slice_of(args, smallbank_args_encode(&call, args));
    memcpy(q.genesis, c->genesis.hash, HASH_LEN);
    memcpy(q.client, c->public_key[CLUSTER_MAX + k], ED25519_KEY_LEN);
    assert_true(ledger_request_encode(&q, &fields));
    ledger_request_hash(slice_of_buffer(&fields), req_hash);
    cluster_sign(q.client, req_hash, signature);
    assert_true(ledger_body_encode_alone(slice_of_buffer(&fields), signature, body));
    buffer_free(&fields);
}

/* Client k sends a body to one replica, or to all (-1). */
static inline void cluster_submit_body(struct cluster *c, unsigned k, int to, struct slice body)
{
    struct buffer message = {0};
    struct ledger_message_writer w;
    assert_true(ledger_bodies_begin(&w, &message, LEDGER_MESSAGE_REQUEST));
    assert_true(ledger_bodies_body(&w, body));
    ledger_message_end(&w);
    for (unsigned i = 0; i < c->n; i++) {
        if ((to >= 0 && (unsigned)to != i) || !c->nodes[i].replica)
            continue;
        ledger_on_client(c->nodes[i].replica, CLUSTER_CLIENT + k, message.data, message.len);
        ledger_settle(c->nodes[i].replica);
    }
    buffer_free(&message);
}

/* Client k says hello to everyone, so that all replicas know where to send its replies. */
static inline void cluster_hello(struct cluster *c, unsigned k)
{
    struct buffer message = {0};
    uint8_t key[1][ED25519_KEY_LEN];
    memcpy(key[0], c->public_key[CLUSTER_MAX + k], ED25519_KEY_LEN);
    assert_true(ledger_hello_write(&message, key, 1));
    for (unsigned i = 0; i < c->n; i++)
        if (c->nodes[i].replica)
            ledger_on_client(c->nodes[i].replica, CLUSTER_CLIENT + k, message.data, message.len);
    buffer_free(&message);
}

/* Client k's next request, to one replica or to all (-1). */
static inline void cluster_request(struct cluster *c, unsigned k, int to,
                                   uint8_t req_hash[static HASH_LEN])
{
    struct buffer body = {0};
    cluster_hello(c, k);
    cluster_body(c, k, ++c->reqno[k], 0, &body, req_hash);
    cluster_submit_body(c, k, to, slice_of_buffer(&body));
    buffer_free(&body);
}

/* `count` requests, each run to its end. */
static inline void cluster_requests(struct cluster *c, unsigned k, int to, unsigned count)
{
    uint8_t req_hash[HASH_LEN];
    for (unsigned i = 0; i < count; i++) {
        cluster_request(c, k, to, req_hash);
        cluster_run(c);
    }
}

/* Asks replica i for a receipt; true when it came and is valid. */
static inline bool cluster_receipt(struct cluster *c, unsigned i,
                                   const uint8_t req_hash[static HASH_LEN],
                                   struct ledger_receipt_info *info)
{
    struct buffer message = {0};
    struct error e;
    struct ledger_keys keys = ledger_keys_of(&c->genesis);
    struct ledger_verifier verifier = {cluster_verify, NULL};
    c->receipt.len = 0;
    assert_true(ledger_fetch_receipt_write(&message, req_hash));
    ledger_on_client(c->nodes[i].replica, CLUSTER_CLIENT, message.data, message.len);
    buffer_free(&message);
    cluster_run(c);
    if (!c->receipt.len)
        return false;
    int rc = ledger_receipt_verify(slice_of_buffer(&c->receipt), &keys, &verifier, info, &e);
    if (rc)
        fail_msg("the receipt is not valid: %s", e.text);
    return true;
}

/* ---- looking ---- */

static inline struct ledger_status cluster_status(struct cluster *c, unsigned i)
{
    struct ledger_status s;
    ledger_status(c->nodes[i].replica, &s);
    return s;
}

/* All replicas that are up hold the same ledger, entry by entry, up to the lowest committed batch,
 * and that is at least s. */
static inline void cluster_assert_agree(struct cluster *c, uint64_t s)
{
    struct error e;
    struct ledger_batch_info a, b;
    int first = -1;
    for (unsigned i = 0; i < c->n; i++) {
        if (!c->nodes[i].replica)
            continue;
        struct ledger_status status = cluster_status(c, i);
        if (status.s_committed < s)
            fail_msg("replica %u has committed %llu, not %llu; phase %u, view %llu, last %llu: %s",
                     i, (unsigned long long)status.s_committed, (unsigned long long)s, status.phase,
                     (unsigned long long)status.view, (unsigned long long)status.s_last,
                     status.why);
        if (first < 0) {
            first = (int)i;
            continue;
        }
        for (uint64_t k = 1; k <= s; k++) {
            assert_int_equal(ledger_batch_at(c->nodes[first].replica, k, &a, &e), 0);
            assert_int_equal(ledger_batch_at(c->nodes[i].replica, k, &b, &e), 0);
            assert_memory_equal(a.g, b.g, HASH_LEN);
            assert_int_equal(a.first_index, b.first_index);
        }
    }
}

/* Replicas from this one on ask for a view, without waiting for their timers. */
static inline void cluster_leave(struct cluster *c, unsigned from, uint64_t view)
{
    for (unsigned i = from; i < c->n; i++)
        view_leave(c->nodes[i].replica, view);
    for (unsigned i = from; i < c->n; i++)
        ledger_settle(c->nodes[i].replica);
}

/* Nobody hears replica i any more, nor it anybody; or again. */
static inline void cluster_cut(struct cluster *c, unsigned i, bool cut)
{
    for (unsigned k = 0; k < c->n; k++)
        c->cut[i][k] = c->cut[k][i] = cut;
}

#endif
