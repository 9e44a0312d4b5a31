/*
 * Gaps in a machine's ledger: what a jump to a checkpoint of others left out (env.h, state
 * transfer), and what of it has come since. On the disk a jump is a record among the segments',
 * with the frontiers before and behind what is missing; the entries that fill a gap lie in a file
 * of their own. A rollback below its end undoes a gap; entries of a gap that is none any more count
 * for nothing.
 */
#include "machine.h"

#include <stdlib.h>

/* What a jump's record holds. */
struct jump {
    struct merkle_frontier from, goal;
};

void gaps_rollback(struct sim_machine *m, uint64_t position)
{
    while (m->gaps && m->gap[m->gaps - 1].goal.size > position)
        m->gaps--;
}

bool gaps_open(const struct sim_machine *m)
{
    for (unsigned i = 0; i < m->gaps; i++)
        if (m->gap[i].now.size < m->gap[i].goal.size)
            return true;
    return false;
}

/* The oldest that is not filled; NULL: none. */
static struct sim_gap *gap_oldest(struct sim_machine *m)
{
    for (unsigned i = 0; i < m->gaps; i++)
        if (m->gap[i].now.size < m->gap[i].goal.size)
            return &m->gap[i];
    return NULL;
}

void gap_note(struct sim_machine *m, size_t record)
{
    const struct sim_record *r = &m->disk.record[record];
    struct jump jump;

    if (m->gaps == SIM_GAPS_MAX || r->len != sizeof jump) {
        sim_world_violated(machine_world(m), "machine %u jumps too often", m->number);
        return;
    }
    memcpy(&jump, r->bytes, sizeof jump);
    m->gap[m->gaps++] = (struct sim_gap){record, jump.from, jump.from, jump.goal};
    entries_extend(m, jump.goal.size);
}

/* The frontier of the ledger at its present end, from the end of its last gap on. */
static void frontier_compute(const struct sim_machine *m, struct merkle_frontier *out)
{
    struct error e;

    *out = m->gaps ? m->gap[m->gaps - 1].goal : (struct merkle_frontier){0};
    while (out->size < m->entries) {
        const struct sim_record *r = sim_machine_entry(m, out->size);
        struct merkle_hash leaf =
            ledger_entry_leaf((enum ledger_entry_type)r->type, slice_of(r->bytes, r->len));

        if (merkle_frontier_append(out, &leaf, &e) != 0)
            abort();
    }
}

static int env_jump(void *context, const struct merkle_frontier *at, struct error *e)
{
    struct sim_machine *m = context;
    struct jump jump;

    memset(&jump, 0, sizeof jump);
    frontier_compute(m, &jump.from);
    jump.goal = *at;
    if (at->size <= jump.from.size) {
        if (m->correct)
            sim_world_violated(machine_world(m), "machine %u jumps back", m->number);
        return error_set(e, ATOLL_EINVAL, "a jump back");
    }
    /* Some logs have jumped too often. */
    if (sim_random_chance(sim_world_random(machine_world(m), SIM_STREAM_DISK), 50) ||
        !sim_disk_append(&m->disk, SIM_FILE_SEGMENT, SIM_KIND_JUMP, 0, at->size,
                         (const uint8_t *)&jump, sizeof jump))
        return error_set(e, ATOLL_ELIMIT, "the simulated disk is full");
    sim_world_log(machine_world(m), "jump", m->number, jump.from.size, at->size);
    machine_covered(m, SIM_EVENT_JUMP);
    gap_note(m, m->disk.count - 1);
    return 0;
}

static bool env_gap(void *context, struct merkle_frontier *from, struct merkle_frontier *goal)
{
    const struct sim_gap *gap = gap_oldest(context);

    if (!gap)
        return false;
    *from = gap->now;
    *goal = gap->goal;
    return true;
}

static uint64_t env_jumped(void *context)
{
    const struct sim_machine *m = context;

    return m->gaps ? m->gap[m->gaps - 1].goal.size : 0;
}

/* What was put into a gap turns out to be wrong. */
static int gap_refuse(struct sim_machine *m, struct sim_gap *gap, struct error *e)
{
    for (uint64_t position = gap->from.size; position < gap->goal.size; position++) {
        m->disk.record[m->entry[position]].kind = SIM_KIND_GONE;
        m->entry[position] = SIM_NOWHERE;
    }
    gap->now = gap->from;
    return error_set(e, ATOLL_ECORRUPT, "the entries of a gap do not lead to its end");
}

/* Puts the entry of a record into the oldest gap, if that is where it belongs. */
static int gap_fill(struct sim_machine *m, size_t record, struct error *e)
{
    const struct sim_record *r = &m->disk.record[record];
    struct sim_gap *gap = gap_oldest(m);
    struct merkle_hash leaf =
        ledger_entry_leaf((enum ledger_entry_type)r->type, slice_of(r->bytes, r->len));

    if (!gap || gap->now.size != r->position || merkle_frontier_append(&gap->now, &leaf, e) != 0)
        return error_set(e, ATOLL_ERANGE, "an entry of no gap");
    entry_place(m, record);
    if (gap->now.size == gap->goal.size && !merkle_frontier_equal(&gap->now, &gap->goal))
        return gap_refuse(m, gap, e);
    return 0;
}

static int env_history(void *context, uint8_t entry_type, struct slice payload, struct error *e)
{
    struct sim_machine *m = context;
    const struct sim_gap *gap = gap_oldest(m);
    int rc;

    if (!gap)
        return error_set(e, ATOLL_ERANGE, "nothing is missing");
    /* Now and then there is no room for a moment. */
    if (sim_random_chance(sim_world_random(machine_world(m), SIM_STREAM_DISK), 5) ||
        !sim_disk_append(&m->disk, SIM_FILE_HISTORY, SIM_KIND_HISTORY, entry_type, gap->now.size,
                         payload.data, payload.len))
        return error_set(e, ATOLL_ELIMIT, "the simulated disk is full");
    rc = gap_fill(m, m->disk.count - 1, e);
    /* A replica whose ledger is whole again may find there what it signed, and go on behind it. */
    if (rc == 0 && m->correct)
        sim_witness_wrote(m->cluster->witness, m, &m->disk.record[m->disk.count - 1]);
    if (rc == 0 && !gaps_open(m))
        machine_covered(m, SIM_EVENT_GAP_FILLED);
    return rc;
}

/* After a start: the entries that fill gaps; those of gaps that are none any more are forgotten. */
void gaps_find(struct sim_machine *m)
{
    struct error e;

    for (size_t i = 0; i < m->disk.count; i++)
        if (m->disk.record[i].kind == SIM_KIND_HISTORY && gap_fill(m, i, &e) != 0)
            m->disk.record[i].kind = SIM_KIND_GONE;
}

int gap_feed(struct sim_machine *m, size_t jump, struct error *e)
{
    for (unsigned i = 0; i < m->gaps; i++) {
        const struct sim_gap *gap = &m->gap[i];

        if (gap->jump != jump || gap->now.size != gap->goal.size)
            continue;
        for (uint64_t position = gap->from.size; position < gap->goal.size; position++) {
            const struct sim_record *r = sim_machine_entry(m, position);
            int rc = ledger_recover(m->core, LEDGER_RECORD_ENTRY, r->type, position, r->bytes,
                                    r->len, e);

            if (rc != 0)
                return rc;
        }
    }
    return 0;
}

void gap_env(struct ledger_env *env)
{
    env->jump = env_jump;
    env->gap = env_gap;
    env->jumped = env_jumped;
    env->history = env_history;
}
