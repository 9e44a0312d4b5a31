/*
 * The checkpoints of a machine, as they would lie in files: made from the core's snapshots at some
 * later time, and what a restart begins with.
 */
#include "machine.h"

#include <stdlib.h>

static void checkpoint_drop(struct sim_machine *m, unsigned number)
{
    struct sim_checkpoint *gone = &m->checkpoint[number];

    for (uint32_t i = 0; i < gone->chunks; i++)
        buffer_free(&gone->chunk[i]);
    free(gone->chunk);
    m->checkpoints--;
    memmove(&m->checkpoint[number], &m->checkpoint[number + 1],
            (m->checkpoints - number) * sizeof m->checkpoint[0]);
}

static void checkpoint_keep(struct sim_machine *m, struct sim_checkpoint checkpoint)
{
    for (unsigned i = 0; i < m->checkpoints; i++)
        if (m->checkpoint[i].at.s >= checkpoint.at.s) {
            checkpoint_drop(m, i);
            i--;
        }
    if (m->checkpoints == SIM_CHECKPOINTS_MAX)
        checkpoint_drop(m, 0);
    m->checkpoint[m->checkpoints++] = checkpoint;
}

static struct sim_checkpoint checkpoint_make(const struct sim_pending *pending)
{
    struct sim_checkpoint made = {.at = pending->at,
                                  .chunks = kv_checkpoint_chunks(pending->store)};
    struct error e;

    kv_checkpoint_digest(pending->store, made.digest);
    made.chunk = calloc(made.chunks, sizeof *made.chunk);
    if (!made.chunk)
        abort();
    for (uint32_t i = 0; i < made.chunks; i++)
        if (kv_checkpoint_chunk(pending->store, i, &made.chunk[i], &e) != 0)
            abort();
    return made;
}

/* I8: the same history has the same state on all who are correct. */
static void digest_note(struct sim_machine *m, const struct sim_checkpoint *checkpoint)
{
    struct sim_cluster *c = m->cluster;
    bool fresh;
    uint8_t *there;

    if (!m->correct)
        return;
    there = sim_table_put(&c->digests, checkpoint->at.pp_hash, &fresh);
    if (fresh)
        memcpy(there, checkpoint->digest, HASH_LEN);
    else if (memcmp(there, checkpoint->digest, HASH_LEN) != 0)
        sim_world_violated(&c->world, "I8: replica %u has another digest of checkpoint %llu",
                           m->replica, (unsigned long long)checkpoint->at.s);
}

static void digest_done(void *ctx, void *payload)
{
    struct sim_machine *m = ctx;
    struct visit *v = payload;
    struct sim_pending *pending;
    struct sim_checkpoint checkpoint;

    if (visit_is_late(m, v))
        return;
    pending = &m->pending[v->number];
    checkpoint = checkpoint_make(pending);
    digest_note(m, &checkpoint);
    kv_checkpoint_close(pending->store);
    pending->store = NULL;
    checkpoint_keep(m, checkpoint);
    machine_covered(m, SIM_EVENT_CHECKPOINT);
    ledger_on_digest(m->core, &checkpoint.at, checkpoint.digest);
    machine_after_event(m);
}

void checkpoint_forget_pending(struct sim_machine *m)
{
    for (unsigned i = 0; i < SIM_PENDING_MAX; i++) {
        kv_checkpoint_close(m->pending[i].store);
        m->pending[i].store = NULL;
    }
}

static void env_digest(void *context, const struct ledger_checkpoint *at,
                       struct kv_snapshot *snapshot)
{
    struct sim_machine *m = context;
    unsigned slot = 0;
    struct error e;

    while (slot < SIM_PENDING_MAX && m->pending[slot].store)
        slot++;
    if (slot == SIM_PENDING_MAX) {
        kv_snapshot_release(snapshot);
        sim_world_violated(machine_world(m), "machine %u asks for more than %d digests at once",
                           m->number, SIM_PENDING_MAX);
        return;
    }
    m->pending[slot].at = *at;
    if (kv_checkpoint_open(snapshot, NULL, &m->pending[slot].store, &e) != 0)
        abort();
    machine_plan(m, machine_stage_delay(m), digest_done, (struct visit){.number = slot});
}

static int env_checkpoint_chunk(void *context, uint64_t s, uint32_t number, struct buffer *out,
                                uint32_t *chunks)
{
    struct sim_machine *m = context;

    for (unsigned i = 0; i < m->checkpoints; i++) {
        const struct sim_checkpoint *kept = &m->checkpoint[i];

        if (kept->at.s != s || number >= kept->chunks)
            continue;
        *chunks = kept->chunks;
        out->len = 0;
        return buffer_append(out, kept->chunk[number].data, kept->chunk[number].len)
                   ? 0
                   : -ATOLL_ENOMEM;
    }
    return -ATOLL_ENOENT;
}

/* The last batch of the ledger as it lies on the disk. */
static uint64_t ledger_last(const struct sim_machine *m)
{
    for (uint64_t position = m->entries; position--;) {
        const struct sim_record *r = sim_machine_entry(m, position);

        if (r && r->type == LEDGER_ENTRY_PP)
            return load_u64(r->bytes + PP_SEQNO_AT);
    }
    return 0;
}

static struct kv *store_genesis(struct sim_cluster *c)
{
    struct kv *kv;
    struct error e;

    if (kv_create(c->genesis.bucket_bits, c->genesis.bucket_key, &kv, &e) != 0 ||
        procedure_preload(c->genesis.procedures, c->genesis.state.data, c->genesis.state.len, kv,
                          &e) != 0)
        abort();
    return kv;
}

const uint8_t *sim_checkpoint_digest(struct sim_cluster *c, const uint8_t pp_hash[static 32])
{
    static const uint8_t genesis[HASH_LEN];
    struct kv_snapshot *snapshot;
    struct kv *kv;
    struct error e;
    uint8_t *digest = sim_table_get(&c->digests, pp_hash);
    bool fresh;

    if (digest || memcmp(pp_hash, genesis, HASH_LEN) != 0)
        return digest;
    digest = sim_table_put(&c->digests, genesis, &fresh);
    kv = store_genesis(c);
    if (kv_snapshot_take(kv, &snapshot, &e) != 0)
        abort();
    kv_snapshot_digest(snapshot, digest);
    kv_snapshot_release(snapshot);
    kv_destroy(kv);
    return digest;
}

static struct kv *store_restore(struct sim_cluster *c, const struct sim_checkpoint *from)
{
    struct kv_transfer *transfer;
    struct kv *kv;
    struct error e;

    if (kv_transfer_open(from->digest, c->genesis.bucket_bits, c->genesis.bucket_key, &transfer,
                         &e) != 0)
        abort();
    for (uint32_t i = 0; i < from->chunks; i++)
        if (kv_transfer_chunk(transfer, i, from->chunk[i].data, from->chunk[i].len, &e) != 0)
            abort();
    if (kv_transfer_finish(transfer, &kv, &e) != 0)
        abort();
    kv_transfer_close(transfer);
    return kv;
}

/* The newest checkpoint below a batch whose own batch the ledger holds; those beyond it are
 * dropped.
 */
static const struct sim_checkpoint *checkpoint_choose(struct sim_machine *m, uint64_t below)
{
    uint64_t last = ledger_last(m);

    for (unsigned i = m->checkpoints; i--;) {
        const struct ledger_checkpoint *at = &m->checkpoint[i].at;
        struct sim_batch batch;

        if (at->s < below && sim_machine_batch(m, at->s, &batch) &&
            memcmp(batch.pp_hash, at->pp_hash, HASH_LEN) == 0 &&
            last >= at->s + 2 * m->cluster->genesis.pipeline)
            return &m->checkpoint[i];
    }
    return NULL;
}

struct kv *checkpoint_store(struct sim_machine *m, uint64_t below,
                            const struct ledger_checkpoint **at)
{
    const struct sim_checkpoint *from = checkpoint_choose(m, below);

    *at = from ? &from->at : NULL;
    if (from)
        machine_covered(m, SIM_EVENT_RESTORE);
    return from ? store_restore(m->cluster, from) : store_genesis(m->cluster);
}

void checkpoint_forget_all(struct sim_machine *m)
{
    while (m->checkpoints)
        checkpoint_drop(m, m->checkpoints - 1);
}

static int env_checkpoint_origin(void *context, uint64_t s, struct merkle_frontier *out)
{
    const struct sim_machine *m = context;

    for (unsigned i = 0; i < m->checkpoints; i++)
        if (m->checkpoint[i].at.s == s) {
            *out = m->checkpoint[i].at.origin;
            return 0;
        }
    return -ATOLL_ENOENT;
}

void checkpoint_env(struct ledger_env *env)
{
    env->digest = env_digest;
    env->checkpoint_chunk = env_checkpoint_chunk;
    env->checkpoint_origin = env_checkpoint_origin;
}
