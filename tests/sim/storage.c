/*
 * The log of a machine: records on the simulated disk, and where the entries of the ledger lie
 * among them.
 */
#include "machine.h"

#include <stdlib.h>

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

void entries_extend(struct sim_machine *m, uint64_t end)
{
    size_t capacity = m->entry_capacity ? m->entry_capacity : 256;

    while (capacity < end)
        capacity *= 2;
    if (capacity > m->entry_capacity)
        m->entry = sim_reallocate(m->entry, capacity * sizeof *m->entry);
    m->entry_capacity = capacity;
    while (m->entries < end)
        m->entry[m->entries++] = SIM_NOWHERE;
}

void entry_place(struct sim_machine *m, size_t record)
{
    const struct sim_record *r = &m->disk.record[record];

    m->entry[r->position] = record;
    if (r->type == LEDGER_ENTRY_PP)
        batch_note(m, r);
}

static void entries_note(struct sim_machine *m, size_t record)
{
    const struct sim_record *r = &m->disk.record[record];

    if (r->kind == SIM_KIND_JUMP)
        gap_note(m, record);
    if (r->kind == LEDGER_RECORD_ROLLBACK && r->position < m->entries) {
        m->entries = r->position;
        gaps_rollback(m, r->position);
        /* Of a jump that is undone, what lies before it is the end; one that stands has left its
         * gap behind, filled or not. */
        uint64_t behind = m->gaps ? m->gap[m->gaps - 1].goal.size : 0;
        while (m->entries > behind && m->entry[m->entries - 1] == SIM_NOWHERE)
            m->entries--;
    }
    if (r->kind != LEDGER_RECORD_ENTRY)
        return;
    if (r->position > m->entries) {
        sim_world_violated(machine_world(m), "machine %u appends entry %llu behind entry %zu",
                           m->number, (unsigned long long)r->position, m->entries);
        return;
    }
    m->entries = r->position;
    entries_extend(m, r->position + 1);
    entry_place(m, record);
}

bool sim_machine_is_hollow(const struct sim_machine *m)
{
    return gaps_open(m);
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
    return position < m->entries && m->entry[position] != SIM_NOWHERE
               ? &m->disk.record[m->entry[position]]
               : NULL;
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
    if (kind == LEDGER_RECORD_ROLLBACK)
        machine_covered(m, SIM_EVENT_ROLLBACK);
    entries_note(m, m->disk.count - 1);
    sim_world_log(machine_world(m), "append", m->number, (uint64_t)kind << 8 | entry_type,
                  position);
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
    uint64_t now = machine_world(m)->now_us, at = now + (real ? sim_disk_sync_delay(&m->disk) : 5);

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
    if (r->rotten)
        return error_set(e, ATOLL_ECORRUPT, "the record of entry %llu is damaged",
                         (unsigned long long)position);
    out->len = 0;
    if (!buffer_append(out, r->bytes, r->len))
        return error_set(e, ATOLL_ENOMEM, "no memory for an entry");
    *entry_type = r->type;
    return 0;
}

/* Of the segments' records from the first damaged one on only the marks of what was signed are of
 * use: the rest is set aside. */
static bool is_set_aside(const struct sim_record *r, void *ctx)
{
    const uint64_t *from = ctx;

    return r->file == SIM_FILE_SEGMENT && r->lsn >= *from &&
           (r->rotten || r->kind != LEDGER_RECORD_SIGNED);
}

static void damage_set_aside(struct sim_machine *m)
{
    size_t first = 0;
    uint64_t from;

    while (first < m->disk.count && !m->disk.record[first].rotten)
        first++;
    if (first == m->disk.count)
        return;
    from = m->disk.record[first].lsn;
    sim_world_log(machine_world(m), "set aside", m->number, from, m->disk.next_lsn);
    machine_covered(m, SIM_EVENT_SET_ASIDE);
    sim_disk_prune(&m->disk, is_set_aside, &from);
    m->damaged = true;
}

void storage_find(struct sim_machine *m)
{
    damage_set_aside(m);
    m->entries = 0;
    m->gaps = 0;
    for (size_t i = 0; i < m->disk.count; i++)
        entries_note(m, i);
    gaps_find(m);
}

bool storage_feed(struct sim_machine *m, struct error *e)
{
    size_t count = m->disk.count; /* recovering may append */

    for (size_t i = 0; i < count; i++) {
        struct sim_record r = m->disk.record[i];

        if (r.kind == SIM_KIND_JUMP && gap_feed(m, i, e) != 0)
            return false;
        if (r.kind >= SIM_KIND_JUMP)
            continue;
        if (ledger_recover(m->core, (enum ledger_record_kind)r.kind, r.type, r.position, r.bytes,
                           r.len, e) != 0)
            return false;
    }
    return true;
}

void storage_env(struct ledger_env *env)
{
    env->append = env_append;
    env->sync = env_sync;
    env->read = env_read;
}

void storage_close(struct sim_machine *m)
{
    sim_disk_close(&m->disk);
    free(m->entry);
    free(m->batch);
    m->entry = NULL;
    m->batch = NULL;
}
