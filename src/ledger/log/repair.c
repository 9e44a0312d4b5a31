/*
 * Going on behind what is whole of a log (opening.h). In this order: the state file notes what
 * follows from damage, leftovers go, a damaged vote log is replaced, damaged segments are set
 * aside, torn ends are cleared, and a new segment is begun if the last one cannot go on. A stop in
 * between leaves a log that is opened the same way again, or one that is trusted less.
 *
 * What fills a gap is only cut: nothing in it was signed, and what is lost is asked for again.
 */
#include "ledger/log/opening.h"

#include <stdio.h>
#include <stdlib.h>

static int no_memory(struct error *e)
{
    return error_set(e, ATOLL_ENOMEM, "no memory to open the log");
}

/* Whether the last stop may have cost marks of what was signed, whatever the files look like. */
bool log_machine_stopped(const struct ledger_log *log)
{
    const struct state_slot *state = &log->state;
    return state->async && !state->clean && strcmp(state->machine, log->machine) != 0;
}

/* Before damage is repaired, what follows from it is written down: a stop in the middle of the
 * repair must not leave a log that looks whole. */
static int damage_record(struct opening *o, struct error *e)
{
    struct state_slot *state = &o->log->state;
    bool votes = o->found->votes_damaged;
    if (!o->found->corrupt && !votes)
        return 0;
    bool known = state->quarantine && !state->votes_damaged;
    if (votes && (known || o->marks_lost || log_machine_stopped(o->log)))
        return error_set(e, ATOLL_ECORRUPT,
                         "%s, and it is not certain what was signed last: this replica must return "
                         "under a new key",
                         o->found->what);
    state->quarantine = state->quarantine || o->marks_lost || votes;
    state->votes_damaged = votes;
    if (o->set_aside < o->count && state->segment_serial < o->segments[o->count - 1].serial) {
        state->segment_serial = o->segments[o->count - 1].serial;
        state->segment_offset = SEGMENT_HEAD;
    }
    return log_state_write(o->log, e);
}

/* ---- segments ---- */

/* What is behind the damage is set aside; of what fills a gap it goes. */
static int segment_aside(struct opening *o, size_t i, struct error *e)
{
    const struct log_files *files = &o->log->files;
    char name[LOG_NAME_MAX], aside[LOG_NAME_MAX];
    segment_name(o->segments[i].serial, o->segments[i].position, name);
    if (o->log->config.part)
        return files->remove(files->context, name, e);
    log_aside_name(&o->segments[i], aside);
    return files->rename(files->context, name, aside, e);
}

/* Zeros from one byte of a file up to another. */
static int rest_clear(struct ledger_log *log, int file, uint64_t from, uint64_t to, struct error *e)
{
    uint8_t *nothing = calloc(1, (size_t)(to - from));
    if (!nothing)
        return no_memory(e);
    int rc = log->files.write(log->files.context, file, from, nothing, (size_t)(to - from), e);
    free(nothing);
    return rc;
}

static int torn_clear(struct opening *o, struct error *e)
{
    struct segment *s = o->log->segments[o->log->segment_count - 1];
    uint64_t to = s->bytes - SEGMENT_TAIL;
    o->found->torn_bytes += to - o->end_at;
    return rest_clear(o->log, s->file, o->end_at, to, e);
}

int log_segment_start(struct ledger_log *log, uint64_t previous_end, struct error *e)
{
    const struct log_files *files = &log->files;
    bool first = log->segment_count == 0;
    int rc = files->open(files->context, SEGMENT_NEW, true, e);
    if (rc < 0)
        return rc;
    log->spare_file = rc;
    rc = files->allocate(files->context, log->spare_file, log->config.segment_bytes, e);
    if (rc == 0)
        rc = log_segment_begin(log, previous_end, log->spare_file, e);
    if (rc < 0)
        return rc;
    log->spare_file = -1;
    log->segments[log->segment_count - 1]->jumped = first && log->end > 0; /* from nothing */
    /* The marks of what was signed, if any, are its first bytes. */
    log->wanted = log->appended = log->durable + 1;
    log->segment_first = log->appended;
    log_writer_round(log);
    if (log->failure < 0) {
        *e = log->failure_error;
        return log->failure;
    }
    return 0;
}

/* The last segment is cut and goes on: damage in what fills a gap is as good as a torn end. */
static int part_cut(struct opening *o, struct error *e)
{
    struct ledger_log *log = o->log;
    struct segment *s = log->segments[log->segment_count - 1];
    uint8_t tail[8] = {0}; /* not closed */
    o->torn = true;
    s->closed = false;
    s->close_at = s->table_at = 0;
    return log->files.write(log->files.context, s->file, s->bytes - SEGMENT_TAIL, tail, sizeof tail,
                            e);
}

/* Everything of a part was damaged: it begins anew. */
static void part_restart(struct ledger_log *log)
{
    log->end = log->config.part->origin->size;
    log->frontier = *log->config.part->origin;
}

/* The last segment goes on where it ended, or is closed and another one begins. */
static int last_resume(struct opening *o, struct error *e)
{
    struct ledger_log *log = o->log;
    struct segment *s = log->segments[log->segment_count - 1];
    int rc = 0;
    s->used = o->end_at;
    bool closed = s->closed || (o->found->corrupt && !log->config.part);
    if (!closed) /* its room may have been given back when it was to be closed */
        rc = log->files.allocate(log->files.context, s->file, s->bytes, e);
    if (rc == 0)
        rc = log->files.sync(log->files.context, s->file, e);
    if (rc == 0 && closed && !(log->config.part && log->end == log->config.part->until)) {
        s->closed = true;
        rc = log_segment_start(log, o->end_at, e);
    }
    if (rc < 0)
        return rc;
    s = log->segments[log->segment_count - 1];
    s->pending_at = s->used;
    log->written_segment = s;
    log->written_offset = log->mark_offset = s->used;
    log->mark_serial = s->serial;
    return 0;
}

static int segments_repair(struct opening *o, struct error *e)
{
    struct ledger_log *log = o->log;
    const struct log_files *files = &log->files;
    int rc = 0;
    for (size_t i = o->count; i-- > o->set_aside && rc == 0;)
        rc = segment_aside(o, i, e);
    if (rc == 0 && o->set_aside < o->count)
        rc = files->sync_names(files->context, e);
    if (rc == 0 && log->config.part && o->found->corrupt && log->segment_count > 0)
        rc = part_cut(o, e);
    if (rc == 0 && o->torn)
        rc = torn_clear(o, e);
    if (rc < 0 || log->segment_count > 0)
        return rc < 0 ? rc : last_resume(o, e);
    if (log->config.part)
        part_restart(log);
    rc = log_segment_start(log, 0, e);
    log->mark_serial = 1;
    log->mark_offset = SEGMENT_HEAD;
    return rc;
}

/* ---- the vote log, and files of no use ---- */

/* Goes on in the newest vote log behind what is whole, or in another one. */
static int votes_repair(struct opening *o, struct error *e)
{
    struct ledger_log *log = o->log;
    struct vote_log *v = &log->votes;
    const struct log_files *files = &log->files;
    char name[LOG_NAME_MAX], aside[2 * LOG_NAME_MAX];
    if (o->found->votes_damaged) {
        files->close(files->context, v->file);
        v->file = -1; /* so that it stays when the next one is made */
        vote_log_name(v->generation, name);
        snprintf(aside, sizeof aside, LOG_DAMAGED "%s", name);
        int rc = log_votes_compact(log, e);
        return rc < 0 ? rc : files->rename(files->context, name, aside, e);
    }
    int rc = 0;
    if (o->votes_torn) {
        rc = rest_clear(log, v->file, v->used, v->bytes, e);
        o->found->torn_bytes += v->bytes - v->used;
    }
    /* A killed process may have left what only the kernel has. */
    return rc < 0 ? rc : files->sync(files->context, v->file, e);
}

int log_leftovers_remove(struct opening *o, struct error *e)
{
    const struct log_files *files = &o->log->files;
    char name[LOG_NAME_MAX];
    int rc = 0;
    if (o->segment_new)
        rc = files->remove(files->context, SEGMENT_NEW, e);
    if (rc == 0 && o->votes_new)
        rc = files->remove(files->context, VOTE_NEW, e);
    if (rc == 0 && o->votes_old > 0) {
        vote_log_name(o->votes_old, name);
        rc = files->remove(files->context, name, e);
    }
    return rc;
}

int log_repair(struct opening *o, struct error *e)
{
    bool part = o->log->config.part;
    int rc = part ? 0 : damage_record(o, e);
    if (rc == 0)
        rc = log_leftovers_remove(o, e);
    if (rc == 0 && !part)
        rc = votes_repair(o, e);
    return rc < 0 ? rc : segments_repair(o, e);
}
