/*
 * Opening a log: what is there, what of it is whole (examine.c), and going on behind that.
 *
 * Nothing is changed before everything was looked at. Then, in this order: the state file notes
 * what follows from damage, leftovers go, a damaged vote log is replaced, damaged segments are set
 * aside, torn ends are cleared, a new segment is begun if the last one cannot go on, and the state
 * file counts the start. A stop in between leaves a log that is opened the same way again, or one
 * that is trusted less.
 */
#define _GNU_SOURCE
#include "base/file.h"
#include "base/random.h"
#include "ledger/log/opening.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BOOT_ID "/proc/sys/kernel/random/boot_id"

static int no_memory(struct error *e)
{
    return error_set(e, ATOLL_ENOMEM, "no memory to open the log");
}

/* ---- which files there are ---- */

static void name_add(struct opening *o, struct name_list *list, const struct found_name *name)
{
    if (list->count == LEDGER_LOG_SEGMENTS_MAX) {
        o->too_many = true;
        return;
    }
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 64;
        struct found_name *names = realloc(list->names, capacity * sizeof *names);
        o->no_memory |= !names;
        if (!names)
            return;
        list->names = names;
        list->capacity = capacity;
    }
    list->names[list->count++] = *name;
}

static void name_see(void *context, const char *name)
{
    struct opening *o = context;
    struct found_name segment;
    uint64_t generation;
    o->state_there |= strcmp(name, STATE_FILE) == 0;
    o->segment_new |= strcmp(name, SEGMENT_NEW) == 0;
    o->votes_new |= strcmp(name, VOTE_NEW) == 0;
    if (vote_log_name_read(name, &generation)) {
        o->votes_old = generation > o->votes ? o->votes : generation;
        o->votes = generation > o->votes ? generation : o->votes;
    }
    if (segment_name_read(name, &segment.serial, &segment.position))
        name_add(o, &o->there, &segment);
    else if (strncmp(name, LOG_DAMAGED, strlen(LOG_DAMAGED)) == 0 &&
             segment_name_read(name + strlen(LOG_DAMAGED), &segment.serial, &segment.position))
        name_add(o, &o->aside, &segment);
}

static int by_serial(const void *a, const void *b)
{
    const struct found_name *x = a, *y = b;
    return (x->serial > y->serial) - (x->serial < y->serial);
}

static int names_see(struct opening *o, struct error *e)
{
    const struct log_files *files = &o->log->files;
    o->there.count = o->aside.count = 0;
    o->votes = o->votes_old = 0;
    int rc = files->list(files->context, name_see, o, e);
    if (rc == 0 && o->too_many)
        rc = error_set(e, ATOLL_ELIMIT, "the log has more than %d segments",
                       LEDGER_LOG_SEGMENTS_MAX);
    if (rc < 0 || o->no_memory)
        return rc < 0 ? rc : no_memory(e);
    o->segments = o->there.names;
    o->count = o->there.count;
    if (o->count > 0)
        qsort(o->segments, o->count, sizeof *o->segments, by_serial);
    return 0;
}

static int machine_name(struct ledger_log *log, struct error *e)
{
    const char *machine = log->config.machine;
    struct buffer id = {0};
    int rc = 0;
    if (!machine) {
        rc = file_read(BOOT_ID, STATE_MACHINE_SIZE, &id, e);
        if (rc == 0 && !buffer_append(&id, "", 1))
            rc = no_memory(e);
        machine = rc == 0 ? (const char *)id.data : "";
    }
    snprintf(log->machine, sizeof log->machine, "%.*s", (int)strcspn(machine, "\n"), machine);
    buffer_free(&id);
    return rc;
}

/* ---- going on ---- */

static int segment_aside(struct opening *o, size_t i, struct error *e)
{
    const struct log_files *files = &o->log->files;
    char name[LOG_NAME_MAX], aside[LOG_NAME_MAX];
    segment_name(o->segments[i].serial, o->segments[i].position, name);
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

/* A new segment behind what is there, in a file of its own. */
static int segment_start(struct ledger_log *log, uint64_t previous_end, struct error *e)
{
    const struct log_files *files = &log->files;
    bool first = log->segment_count == 0;
    int rc = files->open(files->context, SEGMENT_NEW, true, e);
    if (rc < 0)
        return rc;
    log->spare_file = rc;
    rc = files->allocate(files->context, log->spare_file, log->config.segment_bytes, e);
    if (rc < 0)
        return rc;
    int file = log->spare_file;
    log->spare_file = -1;
    rc = log_segment_begin(log, previous_end, log->config.segment_bytes, file, e);
    if (rc < 0)
        return rc;
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

static int leftovers_remove(struct opening *o, struct error *e)
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

static int segments_repair(struct opening *o, struct error *e)
{
    struct ledger_log *log = o->log;
    const struct log_files *files = &log->files;
    int rc = 0;
    for (size_t i = o->count; i-- > o->set_aside && rc == 0;)
        rc = segment_aside(o, i, e);
    if (rc == 0 && o->set_aside < o->count)
        rc = files->sync_names(files->context, e);
    if (rc == 0 && o->torn)
        rc = torn_clear(o, e);
    if (rc == 0 && log->segment_count == 0) {
        rc = segment_start(log, 0, e);
        log->mark_serial = 1;
        log->mark_offset = SEGMENT_HEAD;
        return rc;
    }
    if (rc < 0)
        return rc;
    struct segment *s = log->segments[log->segment_count - 1];
    rc = files->sync(files->context, s->file, e);
    s->used = o->end_at;
    if (rc == 0 && (o->found->corrupt || s->closed)) {
        s->closed = true;
        rc = segment_start(log, o->end_at, e);
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

/* ---- the state file ---- */

/* Whether the last stop may have cost marks of what was signed, whatever the files look like. */
static bool machine_stopped(const struct ledger_log *log)
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
    if (votes && (known || o->marks_lost || machine_stopped(o->log)))
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

static int state_read(struct opening *o, bool *fresh, struct error *e)
{
    struct ledger_log *log = o->log;
    const struct log_files *files = &log->files;
    uint8_t slots[2 * STATE_SLOT];
    uint64_t size = 0;
    int rc = 0;
    *fresh = false;
    if (o->state_there) {
        rc = files->open(files->context, STATE_FILE, false, e);
        if (rc < 0)
            return rc;
        log->state_file = rc;
        rc = files->size(files->context, log->state_file, &size, e);
    }
    if (rc == 0 && size >= sizeof slots)
        rc = files->read(files->context, log->state_file, 0, slots, sizeof slots, e);
    if (rc < 0)
        return rc;
    if (size >= sizeof slots && state_file_choose(slots, log->config.genesis, &log->state)) {
        *fresh = log->state.starts == 0;
        return 0;
    }
    /* The state file is the first file of a log to be made, and whole before the others begin. */
    *fresh = o->count == 0 && o->votes == 0;
    if (*fresh || log->config.read_only)
        return 0;
    return error_set(e, ATOLL_ECORRUPT,
                     "the state file of the log is %s: this replica cannot know what it signed and "
                     "must return under a new key (or the log is of another service)",
                     o->state_there ? "damaged" : "missing");
}

/* A state file that says that the log is being made. */
static int state_make(struct opening *o, struct error *e)
{
    struct ledger_log *log = o->log;
    const struct log_files *files = &log->files;
    int rc = 0;
    if (log->state_file < 0) {
        rc = files->open(files->context, STATE_FILE, true, e);
        if (rc < 0)
            return rc;
        log->state_file = rc;
    }
    rc = files->allocate(files->context, log->state_file, 2 * STATE_SLOT, e);
    log->state.starts = 0;
    if (rc == 0)
        rc = log_state_write(log, e);
    return rc < 0 ? rc : files->sync_names(files->context, e);
}

/* The whole of a log that was never there, or never finished. */
static int log_found(struct opening *o, struct error *e)
{
    struct ledger_log *log = o->log;
    const struct log_files *files = &log->files;
    char name[LOG_NAME_MAX];
    int rc = state_make(o, e);
    for (size_t i = 0; i < o->count && rc == 0; i++) {
        segment_name(o->segments[i].serial, o->segments[i].position, name);
        rc = files->remove(files->context, name, e);
    }
    if (rc == 0 && o->votes > 0) {
        vote_log_name(o->votes, name);
        rc = files->remove(files->context, name, e);
    }
    if (rc == 0)
        rc = log_votes_compact(log, e);
    if (rc == 0 && log->config.origin) {
        log->end = log->config.origin->size;
        log->frontier = *log->config.origin;
    }
    if (rc == 0)
        rc = segment_start(log, 0, e);
    if (rc < 0)
        return rc;
    log->mark_serial = 1;
    log->mark_offset = SEGMENT_HEAD;
    o->found->fresh = true;
    return 0;
}

static int start_count(struct opening *o, bool fresh, struct error *e)
{
    struct ledger_log *log = o->log;
    struct state_slot *state = &log->state;
    o->found->clean = !fresh && state->clean;
    if (!fresh && machine_stopped(log))
        state->quarantine = true;
    state->votes_damaged = false;
    o->found->quarantine = state->quarantine;
    state->starts += state->starts < STATE_COUNT_MAX;
    o->found->starts = state->starts;
    state->clean = false;
    state->async = log->config.mode == LEDGER_LOG_ASYNC;
    memcpy(state->machine, log->machine, sizeof state->machine);
    return log_mark(log, e);
}

/* ---- opening ---- */

static int log_init(struct ledger_log *log, const struct ledger_log_config *config, struct error *e)
{
    pthread_condattr_t monotonic;
    *log = (struct ledger_log){.config = *config,
                               .files = *config->files,
                               .spare_file = -1,
                               .state_file = -1,
                               .votes = {.file = -1, .pipeline = config->pipeline}};
    if (log->config.segment_bytes == 0)
        log->config.segment_bytes = LEDGER_LOG_SEGMENT_BYTES;
    log->spare_bytes = log->config.segment_bytes;
    bool made = pthread_mutex_init(&log->mutex, NULL) == 0 &&
                pthread_mutex_init(&log->state_mutex, NULL) == 0 &&
                pthread_condattr_init(&monotonic) == 0 &&
                pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0 &&
                pthread_cond_init(&log->work, &monotonic) == 0 &&
                pthread_cond_init(&log->done, NULL) == 0;
    return made ? machine_name(log, e) : no_memory(e);
}

/* Looks at everything, and changes nothing. */
static int log_examine(struct opening *o, struct error *e)
{
    bool read_only = o->log->config.read_only;
    int rc = log_votes_examine(o, e);
    if (rc < 0 && read_only && (rc == -ATOLL_ENOENT || rc == -ATOLL_ECORRUPT))
        rc = 0; /* replaced by the next one meanwhile, or lost: the ledger can be read without */
    if (rc == 0)
        rc = log_segments_examine(o, e);
    if (rc == 0 && o->log->segment_count == 0 && read_only)
        rc = error_set(e, ATOLL_ECORRUPT, "the log cannot be read: %s", o->found->what);
    return rc;
}

static int log_look(struct opening *o, struct error *e)
{
    struct ledger_log *log = o->log;
    bool fresh;
    int rc = names_see(o, e);
    if (rc == 0)
        rc = state_read(o, &fresh, e);
    if (rc == 0 && fresh && log->config.read_only)
        rc = error_set(e, ATOLL_ENOENT, "there is no log");
    /* What the state file vouches for has its name by now, also beside a running replica. */
    if (rc == 0 && log->config.read_only)
        rc = names_see(o, e);
    if (rc == 0 && fresh) {
        rc = leftovers_remove(o, e);
        if (rc == 0)
            rc = log_found(o, e);
        return rc < 0 ? rc : start_count(o, true, e);
    }
    if (rc == 0)
        rc = log_examine(o, e);
    if (rc < 0)
        return rc;
    log->mark_generation = log->votes.generation;
    log->mark_votes = log->written_votes = log->votes.used;
    log->unwritten = log->segment_count > 0 ? log->segment_count - 1 : 0;
    if (log->config.read_only)
        return 0;
    rc = damage_record(o, e);
    if (rc == 0)
        rc = leftovers_remove(o, e);
    if (rc == 0)
        rc = votes_repair(o, e);
    if (rc == 0)
        rc = segments_repair(o, e);
    return rc < 0 ? rc : start_count(o, false, e);
}

int ledger_log_open(const struct ledger_log_config *config, struct ledger_log **out,
                    struct ledger_log_found *found, struct error *e)
{
    *out = NULL;
    *found = (struct ledger_log_found){0};
    if (config->segment_bytes % 4096 != 0 || config->segment_bytes > SEGMENT_BYTES_MAX ||
        config->pipeline == 0 || config->pipeline > LEDGER_PIPELINE_MAX)
        return error_set(e, ATOLL_EINVAL, "a log cannot have this pipeline or size of segments");
    struct ledger_log *log = malloc(sizeof *log);
    if (!log)
        return no_memory(e);
    struct opening o = {.log = log, .found = found};
    struct error ignored;
    int rc = log_init(log, config, e);
    if (rc == 0)
        rc = log_look(&o, e);
    if (rc == 0)
        rc = log_gaps_open(log, e);
    free(o.there.names);
    free(o.aside.names);
    if (rc == 0 && !config->threadless && !config->read_only) {
        if (pthread_create(&log->thread, NULL, log_writer_main, log) == 0)
            log->thread_runs = true;
        else
            rc = error_set(e, ATOLL_EUNAVAIL, "cannot start the thread of the log");
    }
    if (rc < 0) {
        ledger_log_close(log, false, &ignored);
        return rc;
    }
    *out = log;
    return 0;
}
