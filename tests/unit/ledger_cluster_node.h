/*
 * What a replica of ledger_cluster.h sees of the world: signatures, its disk, its timers, the
 * checkpoints that it keeps, and the queue that its messages go into.
 */
#ifndef LEDGER_CLUSTER_NODE_H
#define LEDGER_CLUSTER_NODE_H

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
#ifndef CLUSTER_BATCH
#define CLUSTER_BATCH 8
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
    assert_int_equal(kv_checkpoint_open(snapshot, NULL, &open, &e), 0);
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

#endif
