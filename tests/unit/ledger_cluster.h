/*
 * A cluster of ledger replicas in memory, for tests that read as stories: every message arrives in
 * order unless the test cuts a link, disks are durable at once, time passes only when a test says
 * so. Signatures are a hash under the public key: whoever knows the key can forge them, and tests
 * of liars do.
 */
#ifndef LEDGER_CLUSTER_H
#define LEDGER_CLUSTER_H

#include "ledger/kv/smallbank.h"
#include "ledger/replica/core.h"

#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>

#include <setjmp.h>

#include <cmocka.h>

#define CLUSTER_MAX 13
#define CLUSTER_P   2
#ifndef CLUSTER_C
#define CLUSTER_C 10
#endif
#define CLUSTER_CLIENT \
    1000 /* connection numbers are this and up: of client k, CLUSTER_CLIENT + k */

struct cluster;

struct cluster_record {
    enum ledger_record_kind kind;
    uint8_t type;
    uint64_t position;
    struct buffer bytes;
};

/* A checkpoint that a node keeps: its chunks. */
struct cluster_checkpoint {
    struct ledger_checkpoint at;
    uint8_t digest[HASH_LEN];
    uint32_t count;
    struct buffer *chunks;
};

/* What a jump left out, and what of it came. */
struct cluster_gap {
    struct merkle_frontier from, now, goal;
};

struct cluster_node {
    struct cluster *cluster;
    uint16_t number;
    struct ledger_replica *replica; /* NULL: it is down */
    struct cluster_record *records;
    size_t record_count, record_capacity;
    size_t *entry_at; /* record of the entry at a position */
    size_t entry_capacity;
    uint64_t sync_wanted;
    uint64_t timers[LEDGER_TIMERS];
    struct ledger_verify_job *jobs[64];
    size_t job_count;
    struct ledger_checkpoint digest_of[8];
    struct kv_snapshot *digests[8];
    size_t digest_count;
    bool disk_full;
    const char *stopped;
    struct cluster_checkpoint kept[2]; /* newest first, with cluster.transfers */
    unsigned kept_count;
    struct cluster_gap gaps[4];
    unsigned gap_count, jumps;
    struct buffer proof; /* the last file that accuses another */
    unsigned proofs;
    uint64_t started_at; /* the checkpoint it was started from, 0: the genesis */
};

struct cluster_message {
    int from, to; /* replicas; to < 0: a client's connection */
    uint64_t connection;
    struct buffer bytes;
};

/* What a client heard. */
struct cluster_reply {
    uint64_t connection;
    struct ledger_reply reply;
};

struct cluster {
    unsigned n, f, quorum;
    uint64_t now;
    struct buffer genesis_bytes;
    struct ledger_genesis genesis;
    uint8_t public_key[CLUSTER_MAX + 64][ED25519_KEY_LEN]; /* replicas, then clients */
    struct cluster_node nodes[CLUSTER_MAX];
    struct cluster_message *queue;
    size_t queue_first, queue_count, queue_capacity;
    bool cut[CLUSTER_MAX][CLUSTER_MAX]; /* from, to */
    bool transfers;    /* checkpoints are kept, given and taken over; restarts begin at them */
    bool digests_held; /* they take long */
    /* May change or drop (false) a message on its way. */
    bool (*tamper)(struct cluster *, int from, int to, struct buffer *message);
    void *tamper_context;
    struct cluster_reply replies[4096];
    size_t reply_count;
    unsigned replyx_count, refusals[LEDGER_REFUSAL_LAST + 1];
    unsigned refused[64];  /* by client's connection */
    struct buffer receipt; /* the last one that a client got */
    uint64_t reqno[64];
    uint64_t delivered;
};

/* ---- signatures: fake, or (CLUSTER_REAL_SIGNATURES, for what checks them by itself) real ---- */

#ifdef CLUSTER_REAL_SIGNATURES
#include "crypto/ed25519.h"

static inline void cluster_sign(const uint8_t *public_key, const uint8_t *hash, uint8_t *signature)
{
    static uint8_t keys[CLUSTER_MAX + 64][ED25519_KEY_LEN],
        secrets[CLUSTER_MAX + 64][crypto_sign_SECRETKEYBYTES];
    static bool made;
    unsigned i = 0;
    for (; !made && i < CLUSTER_MAX + 64; i++) {
        uint8_t seed[crypto_sign_SEEDBYTES] = {(uint8_t)i};
        crypto_sign_seed_keypair(keys[i], secrets[i], seed);
    }
    made = true;
    for (i = 0; memcmp(keys[i], public_key, ED25519_KEY_LEN); i++)
        assert_true(i + 1 < CLUSTER_MAX + 64);
    crypto_sign_detached(signature, NULL, hash, HASH_LEN, secrets[i]);
}
#else

static inline void cluster_sign(const uint8_t *public_key, const uint8_t *hash, uint8_t *signature)
{
    struct hash_part parts[] = {{public_key, ED25519_KEY_LEN}, {hash, HASH_LEN}};
    hash_sha256_parts(parts, 2, signature);
    hash_sha256(signature, HASH_LEN, signature + HASH_LEN);
}
#endif

/* Another signature of the same, as valid: who has the key can make several. */
static inline void cluster_sign_again(uint8_t *signature)
{
    signature[ED25519_SIGNATURE_LEN - 1] ^= 0xff;
}

static inline int cluster_verify(void *context, const struct ledger_signature *items, size_t count,
                                 bool *valid, struct error *e)
{
#ifdef CLUSTER_REAL_SIGNATURES
    return LEDGER_VERIFIER_SINGLE.verify(context, items, count, valid, e);
#endif
    (void)context;
    (void)e;
    for (size_t i = 0; i < count; i++) {
        uint8_t expected[ED25519_SIGNATURE_LEN];
        cluster_sign(items[i].public_key, items[i].hash, expected);
        valid[i] = !memcmp(expected, items[i].signature, sizeof expected);
        cluster_sign_again(expected);
        valid[i] = valid[i] || !memcmp(expected, items[i].signature, sizeof expected);
    }
    return 0;
}

/* ---- env ---- */

static inline uint64_t cluster_now(void *context)
{
    return ((struct cluster_node *)context)->cluster->now;
}

static inline void cluster_timer_set(void *context, uint32_t id, uint64_t at)
{
    assert_in_range(id, 0, LEDGER_TIMERS - 1);
    ((struct cluster_node *)context)->timers[id] = at;
}

static inline void cluster_push(struct cluster *c, int from, int to, uint64_t connection,
                                const struct slice *parts, unsigned count)
{
    if (c->queue_first + c->queue_count == c->queue_capacity) {
        if (c->queue_first) {
            memmove(c->queue, c->queue + c->queue_first, c->queue_count * sizeof *c->queue);
            c->queue_first = 0;
        } else {
            c->queue_capacity = c->queue_capacity ? 2 * c->queue_capacity : 256;
            c->queue = realloc(c->queue, c->queue_capacity * sizeof *c->queue);
            assert_non_null(c->queue);
        }
    }
    struct cluster_message *m = &c->queue[c->queue_first + c->queue_count++];
    *m = (struct cluster_message){.from = from, .to = to, .connection = connection};
    for (unsigned i = 0; i < count; i++)
        assert_true(buffer_append(&m->bytes, parts[i].data, parts[i].len));
}

static inline void cluster_send(void *context, uint16_t to, const struct slice *parts,
                                unsigned count)
{
    struct cluster_node *node = context;
    assert_int_not_equal(to, node->number);
    cluster_push(node->cluster, node->number, to, 0, parts, count);
}

static inline void cluster_reply(void *context, uint64_t connection, const struct slice *parts,
                                 unsigned count)
{
    struct cluster_node *node = context;
    cluster_push(node->cluster, node->number, -1, connection, parts, count);
}

static inline int cluster_append(void *context, enum ledger_record_kind kind, uint8_t type,
                                 uint64_t position, const struct merkle_hash *leaf,
                                 const struct slice *parts, unsigned count, uint64_t *lsn,
                                 struct error *e)
{
    struct cluster_node *node = context;
    if (node->disk_full)
        return error_set(e, ATOLL_ELIMIT, "the disk is full");
    if (node->record_count == node->record_capacity) {
        node->record_capacity = node->record_capacity ? 2 * node->record_capacity : 256;
        node->records = realloc(node->records, node->record_capacity * sizeof *node->records);
        assert_non_null(node->records);
    }
    struct cluster_record *record = &node->records[node->record_count++];
    *record = (struct cluster_record){.kind = kind, .type = type, .position = position};
    for (unsigned i = 0; i < count; i++)
        assert_true(buffer_append(&record->bytes, parts[i].data, parts[i].len));
    if (kind == LEDGER_RECORD_ROLLBACK)
        while (node->gap_count && node->gaps[node->gap_count - 1].goal.size > position)
            node->gap_count--;
    if (kind == LEDGER_RECORD_ENTRY) {
        struct merkle_hash computed = ledger_entry_leaf(type, slice_of_buffer(&record->bytes));
        if (leaf)
            assert_memory_equal(leaf->bytes, computed.bytes, HASH_LEN);
        if (position >= node->entry_capacity) {
            node->entry_capacity = 2 * node->entry_capacity + position + 64;
            node->entry_at = realloc(node->entry_at, node->entry_capacity * sizeof(size_t));
            assert_non_null(node->entry_at);
        }
        node->entry_at[position] = node->record_count - 1;
    }
    *lsn = node->record_count;
    return 0;
}

static inline void cluster_sync(void *context, uint64_t lsn)
{
    ((struct cluster_node *)context)->sync_wanted = lsn;
}

static inline int cluster_read(void *context, uint64_t position, struct buffer *out, uint8_t *type,
                               struct error *e)
{
    struct cluster_node *node = context;
    for (unsigned i = 0; i < node->gap_count; i++)
        if (position >= node->gaps[i].now.size && position < node->gaps[i].goal.size)
            return error_set(e, ATOLL_ERANGE, "entry %llu is missing",
                             (unsigned long long)position);
    struct cluster_record *record = &node->records[node->entry_at[position]];
    assert_int_equal(record->position, position);
    out->len = 0;
    *type = record->type;
    return buffer_append(out, record->bytes.data, record->bytes.len) ? 0 : -ATOLL_ENOMEM;
}

static inline void cluster_verify_later(void *context, struct ledger_verify_job *job)
{
    struct cluster_node *node = context;
    assert_true(node->job_count < 64);
    node->jobs[node->job_count++] = job;
}

static inline void cluster_node_sign(void *context, const uint8_t *hash, uint8_t *signature)
{
    struct cluster_node *node = context;
    cluster_sign(node->cluster->public_key[node->number], hash, signature);
}

static inline void cluster_digest(void *context, const struct ledger_checkpoint *checkpoint,
                                  struct kv_snapshot *snapshot)
{
    struct cluster_node *node = context;
    assert_true(node->digest_count < 8);
    node->digest_of[node->digest_count] = *checkpoint;
    node->digests[node->digest_count++] = snapshot;
}

/* ---- state transfer ---- */

static inline int cluster_jump(void *context, const struct merkle_frontier *at, struct error *e)
{
    struct cluster_node *node = context;
    struct merkle_frontier from;
    (void)e;
    assert_in_range(node->gap_count, 0, 3);
    from = node->replica->frontier;
    assert_true(at->size > from.size);
    node->gaps[node->gap_count++] = (struct cluster_gap){from, from, *at};
    node->jumps++;
    return 0;
}

static inline bool cluster_gap(void *context, struct merkle_frontier *from,
                               struct merkle_frontier *goal)
{
    struct cluster_node *node = context;
    for (unsigned i = 0; i < node->gap_count; i++) {
        if (node->gaps[i].now.size == node->gaps[i].goal.size)
            continue;
        *from = node->gaps[i].now;
        *goal = node->gaps[i].goal;
        return true;
    }
    return false;
}

/* The entries of a gap are no records of the log: they are put before all, where nothing is fed. */
static inline int cluster_history(void *context, uint8_t type, struct slice payload,
                                  struct error *e)
{
    struct cluster_node *node = context;
    unsigned i = 0;
    while (node->gaps[i].now.size == node->gaps[i].goal.size)
        i++;
    struct cluster_gap *gap = &node->gaps[i];
    struct merkle_hash leaf = ledger_entry_leaf(type, payload);
    uint64_t position = gap->now.size, lsn;
    assert_int_equal(merkle_frontier_append(&gap->now, &leaf, e), 0);
    if (gap->now.size == gap->goal.size && !merkle_frontier_equal(&gap->now, &gap->goal)) {
        gap->now = gap->from;
        return -ATOLL_ECORRUPT;
    }
    unsigned gaps = node->gap_count;
    node->gap_count = 0;
    assert_int_equal(
        cluster_append(node, LEDGER_RECORD_ENTRY, type, position, &leaf, &payload, 1, &lsn, e), 0);
    node->gap_count = gaps;
    node->records[node->record_count - 1].kind = 0;
    return 0;
}

static inline struct cluster_checkpoint *cluster_kept(struct cluster_node *node, uint64_t s)
{
    for (unsigned i = 0; i < node->kept_count; i++)
        if (node->kept[i].at.s == s)
            return &node->kept[i];
    return NULL;
}

static inline int cluster_chunk(void *context, uint64_t s, uint32_t number, struct buffer *out,
                                uint32_t *chunks)
{
    const struct cluster_checkpoint *kept = cluster_kept(context, s);
    if (!kept || number >= kept->count)
        return -ATOLL_ENOENT;
    *chunks = kept->count;
    out->len = 0;
    return buffer_append(out, kept->chunks[number].data, kept->chunks[number].len) ? 0
                                                                                   : -ATOLL_ENOMEM;
}

static inline int cluster_origin(void *context, uint64_t s, struct merkle_frontier *out)
{
    const struct cluster_checkpoint *kept = cluster_kept(context, s);
    if (!kept)
        return -ATOLL_ENOENT;
    *out = kept->at.origin;
    return 0;
}

static inline void cluster_checkpoint_drop(struct cluster_checkpoint *kept)
{
    for (uint32_t i = 0; i < kept->count; i++)
        buffer_free(&kept->chunks[i]);
    free(kept->chunks);
    *kept = (struct cluster_checkpoint){0};
}

/* Takes the snapshot over. */
static inline void cluster_keep(struct cluster_node *node, const struct ledger_checkpoint *at,
                                struct kv_snapshot *snapshot)
{
    struct kv_checkpoint *open;
    struct error e;
    struct cluster_checkpoint kept = {.at = *at};
    assert_int_equal(kv_checkpoint_open(snapshot, &open, &e), 0);
    kv_checkpoint_digest(open, kept.digest);
    kept.count = kv_checkpoint_chunks(open);
    kept.chunks = calloc(kept.count, sizeof *kept.chunks);
    assert_non_null(kept.chunks);
    for (uint32_t i = 0; i < kept.count; i++)
        assert_int_equal(kv_checkpoint_chunk(open, i, &kept.chunks[i], &e), 0);
    kv_checkpoint_close(open);
    cluster_checkpoint_drop(&node->kept[1]);
    node->kept[1] = node->kept[0];
    node->kept[0] = kept;
    node->kept_count += node->kept_count < 2;
}

static inline struct kv *cluster_store(const struct cluster *c,
                                       const struct cluster_checkpoint *from)
{
    struct kv_transfer *t;
    struct kv *kv;
    struct error e;
    assert_int_equal(kv_transfer_open(from->digest, 4, c->genesis.bucket_key, &t, &e), 0);
    for (uint32_t i = 0; i < from->count; i++)
        assert_int_equal(kv_transfer_chunk(t, i, from->chunks[i].data, from->chunks[i].len, &e), 0);
    assert_int_equal(kv_transfer_finish(t, &kv, &e), 0);
    kv_transfer_close(t);
    return kv;
}

static inline void cluster_proof(void *context, const struct ledger_proof *proof, struct slice file)
{
    struct cluster_node *node = context;
    (void)proof;
    node->proofs++;
    node->proof.len = 0;
    assert_true(buffer_append(&node->proof, file.data, file.len));
}

static inline void cluster_stopped(void *context, const char *why)
{
    ((struct cluster_node *)context)->stopped = why;
}

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
    config->max_batch = 8;
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
