/*
 * One machine: the environment that a replica's core asks for (ledger/replica/env.h), made of
 * simulated parts. Every completion is an event that carries the number of the machine's life, so
 * that nothing reaches a core that was started later.
 */
#include "cluster.h"

#include <assert.h>
#include <stdlib.h>

/* What an event for a machine brings along. */
struct visit {
    uint32_t life, version;
    uint64_t number;
    void *pointer;
};

static struct sim_world *world_of(struct sim_machine *m)
{
    return &m->cluster->world;
}

static void machine_plan(struct sim_machine *m, uint64_t delay_us, sim_action *action,
                         struct visit visit)
{
    struct visit *v = sim_allocate(sizeof *v);

    *v = visit;
    v->life = m->life;
    sim_world_after(world_of(m), delay_us, action, m, v);
}

static bool visit_is_late(const struct sim_machine *m, const struct visit *v)
{
    return !m->core || v->life != m->life;
}

static void machine_look(struct sim_machine *m)
{
    struct ledger_status before = m->status;

    ledger_status(m->core, &m->status);
    if (before.view != m->status.view || before.s_last != m->status.s_last ||
        before.s_committed != m->status.s_committed)
        sim_world_log(world_of(m), "progress", m->number, m->status.view << 32 | m->status.s_last,
                      m->status.s_committed);
    if (m->correct)
        sim_witness_moved(m->cluster->witness, m, &before);
}

static void settle_due(void *ctx, void *payload)
{
    struct sim_machine *m = ctx;

    if (visit_is_late(m, payload))
        return;
    m->settle_planned = false;
    ledger_settle(m->core);
    machine_look(m);
}

/* Bursts of events are settled together, more or less of them. */
static void machine_after_event(struct sim_machine *m)
{
    machine_look(m);
    if (!m->settle_planned) {
        m->settle_planned = true;
        machine_plan(m, sim_random_skewed(sim_world_random(world_of(m), SIM_STREAM_STAGE), 0, 200),
                     settle_due, (struct visit){0});
    }
}

/* ---- clock and timers ---- */

static uint64_t env_now_us(void *context)
{
    /* A clock that does not start at 0 finds whoever confuses "none" with the beginning. */
    return world_of(context)->now_us + 1000000;
}

static void timer_due(void *ctx, void *payload)
{
    struct sim_machine *m = ctx;
    struct visit *v = payload;

    if (visit_is_late(m, v) || v->version != m->timer_version[v->number])
        return;
    ledger_on_timer(m->core, (uint32_t)v->number);
    machine_after_event(m);
}

static void env_timer_set(void *context, uint32_t id, uint64_t at_us)
{
    struct sim_machine *m = context;
    uint64_t now = env_now_us(m);

    assert(id < LEDGER_TIMERS);
    m->timer_version[id]++;
    if (at_us)
        machine_plan(m, at_us > now ? at_us - now : 0, timer_due,
                     (struct visit){.number = id, .version = m->timer_version[id]});
}

/* ---- messages ---- */

static struct slice parts_join(struct buffer *out, const struct slice *parts, unsigned count)
{
    out->len = 0;
    for (unsigned i = 0; i < count; i++)
        if (parts[i].len && !buffer_append(out, parts[i].data, parts[i].len))
            abort();
    return slice_of_buffer(out);
}

static void env_send(void *context, uint16_t to, const struct slice *parts, unsigned count)
{
    struct sim_machine *m = context;
    struct sim_cluster *c = m->cluster;
    struct buffer joined = {0};
    struct slice message = parts_join(&joined, parts, count);

    assert(to < c->replicas && to != m->replica);
    sim_world_log(world_of(m), ledger_message_name(ledger_message_type(message)), m->number, to,
                  message.len);
    sim_tell_message(world_of(m), m->number, to, message);
    if (m->correct)
        sim_witness_sent(c->witness, m, message);
    for (uint64_t bodies = sim_adversary_bodies(c->adversary, m->number, to); bodies;
         bodies &= bodies - 1) {
        unsigned body = (unsigned)__builtin_ctzll(bodies);

        if (m->correct)
            sim_network_send(&c->network, m->number, body, message.data, message.len);
        else
            sim_adversary_send(c->adversary, m, body, message);
    }
    buffer_free(&joined);
}

/* Numbers of connections are never used again: they carry the machine's life. */
static uint64_t connection_of(const struct sim_machine *m, unsigned endpoint)
{
    return (uint64_t)m->life << 16 | endpoint;
}

static void env_reply(void *context, uint64_t connection, const struct slice *parts, unsigned count)
{
    struct sim_machine *m = context;
    struct sim_cluster *c = m->cluster;
    struct buffer joined = {0};
    struct slice message = parts_join(&joined, parts, count);
    unsigned to = connection & 0xffff;

    assert(connection == connection_of(m, to));
    sim_world_log(world_of(m), ledger_message_name(ledger_message_type(message)), m->number, to,
                  message.len);
    if (m->correct) {
        sim_witness_sent(c->witness, m, message);
        sim_network_send(&c->network, m->number, to, message.data, message.len);
    } else {
        sim_adversary_send(c->adversary, m, to, message);
    }
    buffer_free(&joined);
}

void sim_machine_receive(struct sim_machine *m, unsigned from, const uint8_t *bytes, size_t len)
{
    struct sim_cluster *c = m->cluster;

    if (!m->core)
        return;
    if (from < c->machines)
        ledger_on_message(m->core, c->machine[from].replica, bytes, len);
    else
        ledger_on_client(m->core, connection_of(m, from), bytes, len);
    machine_after_event(m);
}

/* ---- the disk ---- */

/* Where the seqno lies in a pp: batch.h. */
#define PP_SEQNO_AT 12

static void batch_note(struct sim_machine *m, const struct sim_record *r)
{
    uint64_t s = r->len == LEDGER_PP_SIGNED_LEN ? load_u64(r->bytes + PP_SEQNO_AT) : 0;

    if (s >= m->batch_capacity) {
        size_t capacity = m->batch_capacity ? m->batch_capacity : 128;

        while (capacity <= s)
            capacity *= 2;
        m->batch = sim_reallocate(m->batch, capacity * sizeof *m->batch);
        memset(m->batch + m->batch_capacity, 0, (capacity - m->batch_capacity) * sizeof *m->batch);
        m->batch_capacity = capacity;
    }
    m->batch[s] = r->position;
}

static void entries_note(struct sim_machine *m, size_t record)
{
    const struct sim_record *r = &m->disk.record[record];

    if (r->kind == LEDGER_RECORD_ROLLBACK && r->position < m->entries)
        m->entries = r->position;
    if (r->kind != LEDGER_RECORD_ENTRY)
        return;
    if (r->position > m->entries) {
        sim_world_violated(world_of(m), "machine %u appends entry %llu behind entry %zu", m->number,
                           (unsigned long long)r->position, m->entries);
        return;
    }
    if (r->position == m->entry_capacity) {
        m->entry_capacity = m->entry_capacity ? 2 * m->entry_capacity : 256;
        m->entry = sim_reallocate(m->entry, m->entry_capacity * sizeof *m->entry);
    }
    m->entry[r->position] = record;
    m->entries = r->position + 1;
    if (r->type == LEDGER_ENTRY_PP)
        batch_note(m, r);
}

bool sim_machine_batch(const struct sim_machine *m, uint64_t s, struct sim_batch *out)
{
    const struct sim_record *r = s < m->batch_capacity ? sim_machine_entry(m, m->batch[s]) : NULL;
    struct error e;

    if (!r || r->type != LEDGER_ENTRY_PP ||
        ledger_pp_decode_signed(slice_of(r->bytes, r->len), &out->pp, &e) != 0 ||
        out->pp.seqno != s)
        return false;
    out->position = r->position;
    ledger_pp_hash(&out->pp, out->pp_hash);
    return true;
}

const struct sim_record *sim_machine_entry(const struct sim_machine *m, uint64_t position)
{
    return position < m->entries ? &m->disk.record[m->entry[position]] : NULL;
}

static enum sim_file file_of(enum ledger_record_kind kind)
{
    return kind >= LEDGER_RECORD_CERTIFICATE ? SIM_FILE_VOTE : SIM_FILE_SEGMENT;
}

static int env_append(void *context, enum ledger_record_kind kind, uint8_t entry_type,
                      uint64_t position, const struct merkle_hash *leaf, const struct slice *parts,
                      unsigned count, uint64_t *lsn, struct error *e)
{
    struct sim_machine *m = context;
    struct buffer joined = {0};
    struct slice bytes = parts_join(&joined, parts, count);

    (void)leaf;
    *lsn = sim_disk_append(&m->disk, file_of(kind), (uint8_t)kind, entry_type, position, bytes.data,
                           bytes.len);
    buffer_free(&joined);
    if (!*lsn)
        return error_set(e, ATOLL_ELIMIT, "the simulated disk is full");
    entries_note(m, m->disk.count - 1);
    sim_world_log(world_of(m), "append", m->number, (uint64_t)kind << 8 | entry_type, position);
    if (m->correct)
        sim_witness_wrote(m->cluster->witness, m, &m->disk.record[m->disk.count - 1]);
    return 0;
}

static void sync_done(void *ctx, void *payload)
{
    struct sim_machine *m = ctx;
    struct visit *v = payload;

    if (visit_is_late(m, v))
        return;
    if (!v->version)
        sim_disk_synced(&m->disk, v->number);
    ledger_on_durable(m->core, v->number);
    machine_after_event(m);
}

/* Asynchronous durability: what is written counts as durable, but for view changes. */
static bool sync_is_real(const struct sim_machine *m, uint64_t lsn)
{
    if (!m->cluster->async)
        return true;
    for (size_t i = m->disk.count; i-- && m->disk.record[i].lsn > m->disk.durable_lsn;) {
        uint8_t kind = m->disk.record[i].kind;

        if (m->disk.record[i].lsn <= lsn &&
            (kind == LEDGER_RECORD_VIEW_CHANGE || kind == LEDGER_RECORD_NEW_VIEW))
            return true;
    }
    return false;
}

static void env_sync(void *context, uint64_t lsn)
{
    struct sim_machine *m = context;
    bool real = sync_is_real(m, lsn);
    uint64_t now = world_of(m)->now_us, at = now + (real ? sim_disk_sync_delay(&m->disk) : 5);

    if (at < m->synced_at_us)
        at = m->synced_at_us;
    m->synced_at_us = at;
    machine_plan(m, at - now, sync_done, (struct visit){.number = lsn, .version = !real});
}

static int env_read(void *context, uint64_t position, struct buffer *out, uint8_t *entry_type,
                    struct error *e)
{
    struct sim_machine *m = context;
    const struct sim_record *r = sim_machine_entry(m, position);

    if (!r)
        return error_set(e, ATOLL_ERANGE, "entry %llu of %zu was asked for",
                         (unsigned long long)position, m->entries);
    out->len = 0;
    if (!buffer_append(out, r->bytes, r->len))
        return error_set(e, ATOLL_ENOMEM, "no memory for an entry");
    *entry_type = r->type;
    return 0;
}

/* ---- stages ---- */

static uint64_t stage_delay(struct sim_machine *m)
{
    return sim_random_skewed(sim_world_random(world_of(m), SIM_STREAM_STAGE),
                             m->cluster->stage_low_us, m->cluster->stage_high_us);
}

static void verify_done(void *ctx, void *payload)
{
    struct sim_machine *m = ctx;
    struct visit *v = payload;
    struct ledger_verify_job *job = v->pointer;

    if (visit_is_late(m, v))
        return;
    for (size_t i = 0; i < job->count; i++)
        job->valid[i] = sim_verify(&m->cluster->signatures, job->items[i].public_key,
                                   job->items[i].hash, job->items[i].signature);
    ledger_on_verified(m->core, job);
    machine_after_event(m);
}

static void env_verify(void *context, struct ledger_verify_job *job)
{
    machine_plan(context, stage_delay(context), verify_done, (struct visit){.pointer = job});
}

static void env_sign(void *context, const uint8_t hash[static 32], uint8_t signature[static 64])
{
    struct sim_machine *m = context;

    sim_sign(&m->cluster->signatures, sim_key(m->replica), hash, signature);
    if (m->correct)
        sim_witness_signed(m->cluster->witness, m, hash);
}

/* ---- checkpoints ---- */

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
    kv_checkpoint_close(pending->store);
    pending->store = NULL;
    checkpoint_keep(m, checkpoint);
    ledger_on_digest(m->core, &checkpoint.at, checkpoint.digest);
    machine_after_event(m);
}

static void pending_drop(struct sim_machine *m)
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
        sim_world_violated(world_of(m), "machine %u asks for more than %d digests at once",
                           m->number, SIM_PENDING_MAX);
        return;
    }
    m->pending[slot].at = *at;
    if (kv_checkpoint_open(snapshot, &m->pending[slot].store, &e) != 0)
        abort();
    machine_plan(m, stage_delay(m), digest_done, (struct visit){.number = slot});
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

static void env_stopped(void *context, const char *why)
{
    struct sim_machine *m = context;

    sim_world_note(world_of(m), "machine %u stopped: %s", m->number, why);
    sim_world_log(world_of(m), "stopped", m->number, 0, 0);
    /* A full disk is a reason; that history contradicts itself is none while f bears the liars. */
    if (m->correct && !sim_cluster_overrun(m->cluster) && !m->disk.full)
        sim_world_violated(world_of(m), "replica %u, correct, stopped: %s", m->replica, why);
}

static void env_rejoined(void *context)
{
    struct sim_machine *m = context;

    m->quarantine = false;
    sim_world_log(world_of(m), "rejoined", m->number, 0, 0);
}

/* ---- life ---- */

void sim_machine_open(struct sim_machine *m, struct sim_cluster *c, unsigned number,
                      uint16_t replica, bool correct)
{
    *m = (struct sim_machine){
        .cluster = c, .number = number, .replica = replica, .correct = correct};
    sim_disk_open(&m->disk, &c->world, 200, 8000);
}

void sim_machine_close(struct sim_machine *m)
{
    pending_drop(m);
    ledger_close(m->core);
    m->core = NULL;
    while (m->checkpoints)
        checkpoint_drop(m, m->checkpoints - 1);
    sim_disk_close(&m->disk);
    free(m->entry);
    free(m->batch);
    m->entry = NULL;
    m->batch = NULL;
}

/* The records as they lie there now, after a stop that may have taken some. */
static void entries_find(struct sim_machine *m)
{
    m->entries = 0;
    for (size_t i = 0; i < m->disk.count; i++)
        entries_note(m, i);
}

/* The last batch of the ledger as it lies on the disk. */
static uint64_t ledger_last(const struct sim_machine *m)
{
    for (uint64_t position = m->entries; position--;) {
        const struct sim_record *r = sim_machine_entry(m, position);

        if (r->type == LEDGER_ENTRY_PP)
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

/* The newest checkpoint that no view change can roll back any more; those beyond it are dropped. */
static const struct sim_checkpoint *checkpoint_choose(struct sim_machine *m)
{
    uint64_t last = ledger_last(m);

    for (unsigned i = m->checkpoints; i--;) {
        const struct ledger_checkpoint *at = &m->checkpoint[i].at;
        struct sim_batch batch;

        if (sim_machine_batch(m, at->s, &batch) &&
            memcmp(batch.pp_hash, at->pp_hash, HASH_LEN) == 0 &&
            last >= at->s + 2 * m->cluster->genesis.pipeline)
            return &m->checkpoint[i];
    }
    return NULL;
}

static bool records_feed(struct sim_machine *m, struct error *e)
{
    size_t count = m->disk.count; /* recovering may append */

    for (size_t i = 0; i < count; i++) {
        struct sim_record r = m->disk.record[i];

        if (ledger_recover(m->core, (enum ledger_record_kind)r.kind, r.type, r.position, r.bytes,
                           r.len, e) != 0)
            return false;
    }
    return true;
}

static void core_open(struct sim_machine *m)
{
    struct sim_cluster *c = m->cluster;
    const struct sim_checkpoint *checkpoint = checkpoint_choose(m);
    struct ledger_env env = {
        .context = m,
        .now_us = env_now_us,
        .timer_set = env_timer_set,
        .send = env_send,
        .reply = env_reply,
        .append = env_append,
        .sync = env_sync,
        .read = env_read,
        .verify = env_verify,
        .sign = env_sign,
        .digest = env_digest,
        .checkpoint_chunk = env_checkpoint_chunk,
        .stopped = env_stopped,
        .rejoined = env_rejoined,
    };
    struct ledger_config config = {
        .genesis = slice_of_buffer(&c->genesis_bytes),
        .replica = m->replica,
        .nonce_key = {(uint8_t)(m->replica + 1), 7},
        .kv = checkpoint ? store_restore(c, checkpoint) : store_genesis(c),
        .checkpoint = checkpoint ? &checkpoint->at : NULL,
        .quarantine = m->quarantine,
    };
    struct error e;

    if (ledger_open(&config, &env, &m->core, &e) != 0) {
        kv_destroy(config.kv);
        m->core = NULL;
        sim_world_violated(world_of(m), "machine %u does not open: %s", m->number, e.text);
        return;
    }
    if (records_feed(m, &e) && ledger_start(m->core, &e) == 0)
        return;
    if (m->disk.full)
        sim_machine_crash(m, false, 20000); /* nothing can be written yet: tried again */
    else
        sim_world_violated(world_of(m), "machine %u does not recover: %s", m->number, e.text);
}

void sim_machine_start(struct sim_machine *m)
{
    assert(!m->core);
    m->life++;
    m->settle_planned = false;
    m->synced_at_us = 0;
    memset(&m->status, 0, sizeof m->status);
    /* What is found is synced before it is read: a process that died may have left it unsynced. */
    sim_disk_synced(&m->disk, m->disk.next_lsn - 1);
    entries_find(m);
    if (m->correct)
        sim_witness_found(m->cluster->witness, m);
    sim_world_log(world_of(m), "start", m->number, m->life, m->entries);
    core_open(m);
    if (m->core)
        machine_after_event(m);
}

static void restart_due(void *ctx, void *payload)
{
    struct sim_machine *m = ctx;

    (void)payload;
    m->restart_planned = false;
    if (!m->core)
        sim_machine_start(m);
}

void sim_machine_crash(struct sim_machine *m, bool power, uint64_t restart_us)
{
    if (m->core) {
        sim_world_log(world_of(m), power ? "power cut" : "crash", m->number, m->life, restart_us);
        pending_drop(m);
        ledger_close(m->core);
        m->core = NULL;
        m->life++;
        m->cluster->crashes++;
    }
    if (power) {
        sim_disk_power_cut(&m->disk);
        m->quarantine = m->cluster->async;
        m->cluster->power_cuts++;
    }
    if (restart_us && !m->restart_planned) {
        m->restart_planned = true;
        sim_world_after(world_of(m), restart_us, restart_due, m, NULL);
    }
}

void sim_machine_forget(struct sim_machine *m, uint64_t restart_us)
{
    assert(!m->correct);
    sim_machine_crash(m, false, restart_us);
    while (m->checkpoints)
        checkpoint_drop(m, m->checkpoints - 1);
    sim_disk_close(&m->disk);
    sim_disk_open(&m->disk, world_of(m), 200, 8000);
}
