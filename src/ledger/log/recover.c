/*
 * Opening a log: which files there are, what of them is whole (examine.c, vote_examine.c), going on
 * behind that (repair.c), and counting the start. Nothing is changed before everything was looked
 * at.
 *
 * A log that fills a gap of another one (gap.c) is only segments: it has no state file and no
 * votes, and where there are no segments it is made.
 */
#define _GNU_SOURCE
#include "base/file.h"
#include "ledger/log/opening.h"
#include "ledger/log/part.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BOOT_ID "/proc/sys/kernel/random/boot_id"

static int no_memory(struct error *e)
{
    return error_set(e, ATOLL_ENOMEM, "no memory to open the log");
}

/* ---- which files there are ---- */

static void name_add(struct opening *o, struct log_names *names, struct log_name name)
{
    if (names->count == LEDGER_LOG_SEGMENTS_MAX) {
        o->too_many = true;
        return;
    }
    if (names->count == names->capacity) {
        size_t capacity = names->capacity ? 2 * names->capacity : 64;
        struct log_name *list = realloc(names->list, capacity * sizeof *list);
        o->no_memory |= !list;
        if (!list)
            return;
        names->list = list;
        names->capacity = capacity;
    }
    names->list[names->count++] = name;
}

/* A file of a part. */
static void part_see(struct opening *o, uint64_t from, const char *rest)
{
    struct log_name name = {.part = from};
    if (!segment_name_read(rest, &name.serial, &name.position))
        name.serial = name.position = 0;
    name_add(o, &o->parts, name);
}

static void name_see(void *context, const char *name)
{
    struct opening *o = context;
    struct log_name segment = {0};
    uint64_t generation, from;
    const char *rest;
    o->state_there |= strcmp(name, STATE_FILE) == 0;
    o->segment_new |= strcmp(name, SEGMENT_NEW) == 0;
    o->votes_new |= strcmp(name, VOTE_NEW) == 0;
    if (vote_log_name_read(name, &generation)) {
        o->votes_old = generation > o->votes ? o->votes : generation;
        o->votes = generation > o->votes ? generation : o->votes;
    }
    if (segment_name_read(name, &segment.serial, &segment.position))
        name_add(o, &o->there, segment);
    else if (strncmp(name, LOG_DAMAGED, strlen(LOG_DAMAGED)) == 0 &&
             segment_name_read(name + strlen(LOG_DAMAGED), &segment.serial, &segment.position))
        name_add(o, &o->aside, segment);
    else if (log_part_prefix_read(name, &from, &rest))
        part_see(o, from, rest);
}

/* By part, then by serial. */
static int name_order(const void *a, const void *b)
{
    const struct log_name *x = a, *y = b;
    if (x->part != y->part)
        return x->part < y->part ? -1 : 1;
    return (x->serial > y->serial) - (x->serial < y->serial);
}

static void names_sort(struct log_names *names)
{
    if (names->count > 0)
        qsort(names->list, names->count, sizeof *names->list, name_order);
}

/* Who opens a part that is not written to may know its names already. */
static void names_take(struct opening *o, const struct log_names *names)
{
    for (size_t i = 0; i < names->count; i++)
        if (names->list[i].serial > 0)
            name_add(o, &o->there, names->list[i]);
}

static int names_see(struct opening *o, struct error *e)
{
    const struct log_files *files = &o->log->files;
    const struct log_part_of *part = o->log->config.part;
    int rc = 0;
    o->there.count = o->aside.count = o->parts.count = 0;
    o->votes = o->votes_old = 0;
    if (part && part->names)
        names_take(o, part->names);
    else
        rc = files->list(files->context, name_see, o, e);
    if (rc == 0 && o->too_many)
        rc = error_set(e, ATOLL_ELIMIT, "the log has more than %d segments",
                       LEDGER_LOG_SEGMENTS_MAX);
    if (rc < 0 || o->no_memory)
        return rc < 0 ? rc : no_memory(e);
    names_sort(&o->there);
    names_sort(&o->parts);
    o->segments = o->there.list;
    o->count = o->there.count;
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

/* ---- the state file ---- */

/* Both slots; one that the disk does not give is no slot. */
static int slots_read(struct ledger_log *log, uint8_t slots[static 2 * STATE_SLOT], bool *unread,
                      struct error *e)
{
    const struct log_files *files = &log->files;
    int rc[2];
    for (unsigned i = 0; i < 2; i++) {
        rc[i] = files->read(files->context, log->state_file, i * STATE_SLOT, slots + i * STATE_SLOT,
                            STATE_SLOT, e);
        if (rc[i] < 0)
            memset(slots + i * STATE_SLOT, 0, STATE_SLOT);
        if (rc[i] < 0 && rc[i] != -ATOLL_EIO)
            return rc[i];
    }
    *unread = rc[0] < 0 || rc[1] < 0;
    return rc[0] < 0 ? rc[1] : 0;
}

static int state_read(struct opening *o, bool *fresh, struct error *e)
{
    struct ledger_log *log = o->log;
    const struct log_files *files = &log->files;
    uint8_t slots[2 * STATE_SLOT];
    uint64_t size = 0;
    bool unread = false;
    int rc = 0;
    *fresh = o->count == 0;
    if (log->config.part)
        return 0;
    *fresh = false;
    if (o->state_there) {
        rc = files->open(files->context, STATE_FILE, false, e);
        if (rc < 0)
            return rc;
        log->state_file = rc;
        rc = files->size(files->context, log->state_file, &size, e);
    }
    if (rc == 0 && size >= sizeof slots)
        rc = slots_read(log, slots, &unread, e);
    if (rc < 0)
        return rc;
    if (size >= sizeof slots && state_file_choose(slots, log->config.genesis, &log->state)) {
        /* The slot that the disk does not give may have been the newer one. */
        log->state.quarantine = log->state.quarantine || unread;
        *fresh = log->state.starts == 0;
        return 0;
    }
    if (size >= sizeof slots && state_file_foreign(slots, log->config.genesis))
        return error_set(e, ATOLL_EINVAL,
                         "the log is of another ledger: it was made under another genesis");
    /* The state file is the first file of a log to be made, and whole before the others begin. */
    *fresh = o->count == 0 && o->votes == 0;
    if (*fresh || log->config.read_only)
        return 0;
    return error_set(e, ATOLL_ECORRUPT,
                     "the state file of the log is %s: this replica cannot know what it signed and "
                     "must return under a new key",
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
    const struct log_part_of *part = log->config.part;
    char name[LOG_NAME_MAX];
    int rc = part ? 0 : state_make(o, e);
    for (size_t i = 0; i < o->count && rc == 0; i++) {
        segment_name(o->segments[i].serial, o->segments[i].position, name);
        rc = files->remove(files->context, name, e);
    }
    if (rc == 0 && o->votes > 0) {
        vote_log_name(o->votes, name);
        rc = files->remove(files->context, name, e);
    }
    if (rc == 0 && !part)
        rc = log_votes_compact(log, e);
    if (part) {
        log->end = part->origin->size;
        log->frontier = *part->origin;
    }
    if (rc == 0)
        rc = log_segment_start(log, 0, e);
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
    if (log->config.part)
        return 0;
    o->found->clean = !fresh && state->clean;
    if (!fresh && log_machine_stopped(log))
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
    int rc = o->log->config.part ? 0 : log_votes_examine(o, e);
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
        rc = log_leftovers_remove(o, e);
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
    rc = log_repair(o, e);
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
        rc = log_gaps_open(log, &o.parts, e);
    free(o.there.list);
    free(o.aside.list);
    free(o.parts.list);
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
