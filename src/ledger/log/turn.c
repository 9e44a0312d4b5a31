/*
 * Where one segment of a log ends and the next begins (segment.h).
 *
 * A turn takes the spare segment, which the writer made while the last one filled up. Everything
 * that may fail, room on the disk and memory, is had before anything changes: a turn that is
 * refused leaves the log as it was, and may be tried again.
 */
#define _GNU_SOURCE
#include "base/random.h"
#include "ledger/log/core.h"

#include <assert.h>
#include <stdlib.h>

static int no_memory(struct error *e)
{
    return error_set(e, ATOLL_ENOMEM, "no memory for a segment of the log");
}

/* ---- segments ---- */

static bool list_reserve(struct ledger_log *log)
{
    if (log->segment_count < log->segment_capacity)
        return true;
    size_t capacity = log->segment_capacity ? 2 * log->segment_capacity : 16;
    pthread_mutex_lock(&log->mutex); /* the writer goes through the list */
    struct segment **segments = realloc(log->segments, capacity * sizeof(struct segment *));
    if (segments) {
        log->segments = segments;
        log->segment_capacity = capacity;
    }
    pthread_mutex_unlock(&log->mutex);
    return segments != NULL;
}

struct segment *log_segment_make(struct ledger_log *log)
{
    struct segment *s = list_reserve(log) ? malloc(sizeof *s) : NULL;
    if (s)
        *s = (struct segment){.file = -1};
    return s;
}

void log_segment_shut(struct ledger_log *log, struct segment *s)
{
    if (s->file >= 0)
        log->files.close(log->files.context, s->file);
    s->file = -1;
}

/* What was signed last stands at the beginning of every segment, so that it is found without
 * reading older ones. */
static bool signed_marks_append(const struct ledger_log *log, struct segment *s)
{
    for (int what = 0; what < SIGNED; what++) {
        struct slice payload = {log->signed_marks[what], LEDGER_SIGNED_LEN};
        if (log->signed_there[what] &&
            !log_record_append(&s->pending, s->salt, LEDGER_RECORD_SIGNED, 0, s->position, &payload,
                               1))
            return false;
    }
    s->used = s->pending_at + s->pending.len;
    return true;
}

/* The segment that is to follow when the ledger has this frontier, after a jump from where it is
 * now or without one; it is not in the list. NULL, and *rc why. */
static struct segment *segment_next(struct ledger_log *log, const struct merkle_frontier *at,
                                    bool jump, int *rc, struct error *e)
{
    struct segment *s = log_segment_make(log);
    *rc = s ? 0 : no_memory(e);
    if (!s)
        return NULL;
    s->serial = log->segment_count > 0 ? log->segments[log->segment_count - 1]->serial + 1 : 1;
    s->position = s->base = at->size;
    s->frontier = *at;
    s->used = s->pending_at = SEGMENT_HEAD;
    s->jumped = jump;
    s->jumped_from = jump ? log->end : 0;
    s->origin = jump ? malloc(sizeof *s->origin) : NULL;
    if (s->origin)
        *s->origin = log->frontier;
    if (random_bytes(&s->salt, sizeof s->salt) < 0)
        *rc = error_set(e, ATOLL_EUNAVAIL, "the kernel gives no random bytes");
    else if ((jump && !s->origin) || !signed_marks_append(log, s))
        *rc = no_memory(e);
    if (*rc == 0)
        return s;
    segment_destroy(s);
    return NULL;
}

int log_segment_begin(struct ledger_log *log, uint64_t previous_end, int file, struct error *e)
{
    int rc;
    struct segment *s = segment_next(log, &log->frontier, false, &rc, e);
    if (!s)
        return rc;
    s->bytes = log->config.segment_bytes;
    s->previous_end = previous_end;
    s->file = file;
    log->segments[log->segment_count++] = s;
    return 0;
}

/* Lets go of what is needed only while a segment is written. */
static void segments_settle(struct ledger_log *log)
{
    size_t before;
    pthread_mutex_lock(&log->mutex);
    before = log->unwritten;
    pthread_mutex_unlock(&log->mutex);
    for (size_t i = before; i-- > 0;) {
        struct segment *s = log->segments[i];
        bool settled = s->file < 0 || s == log->reading;
        /* One that was cut off where it was damaged has no table on the disk. */
        if (s->close_at > 0 && s->offsets)
            segment_free(s);
        else if (settled && s->close_at > 0)
            break;
        if (!settled)
            log_segment_shut(log, s);
    }
}

/* ---- turning ---- */

/* Waits for a spare segment of so many bytes. ATOLL_ELIMIT: there is no room for one. */
static int spare_wait(struct ledger_log *log, uint64_t bytes, struct error *e)
{
    pthread_mutex_lock(&log->mutex);
    if (log->spare != SPARE_READY || log->spare_bytes < bytes) {
        log->spare = SPARE_WANTED;
        if (bytes > log->spare_bytes)
            log->spare_bytes = bytes;
        pthread_cond_signal(&log->work);
    }
    while (log->spare == SPARE_WANTED && log->failure == 0)
        log_writer_await(log);
    int rc = 0;
    if (log->failure < 0) {
        *e = log->failure_error;
        rc = log->failure;
    } else if (log->spare != SPARE_READY) {
        rc = error_set(e, ATOLL_ELIMIT, "the disk is full: there is no room for %llu bytes of log",
                       (unsigned long long)bytes);
    }
    pthread_mutex_unlock(&log->mutex);
    return rc;
}

/* Closes the open segment. False: no memory, and nothing has changed. Under the mutex. */
static bool segment_finish(struct ledger_log *log)
{
    struct segment *s = log->segments[log->segment_count - 1];
    if (!segment_close_append(s, &log->frontier, &s->pending))
        return false;
    s->close_at = s->used;
    s->table_at = segment_table_at(s->close_at, log->end);
    s->used = s->pending_at + s->pending.len;
    s->closed = true;
    return true;
}

static uint64_t turn_bytes(const struct ledger_log *log, uint64_t record)
{
    uint64_t bytes = SEGMENT_HEAD + SIGNED * log_record_size(LEDGER_SIGNED_LEN) + record +
                     log_record_size(2 * SEGMENT_HEAD) + SEGMENT_TAIL;
    bytes = align_up(bytes, SEGMENT_HEAD);
    return bytes < log->config.segment_bytes ? log->config.segment_bytes : bytes;
}

int log_segment_turn(struct ledger_log *log, uint64_t record, const struct merkle_frontier *at,
                     struct error *e)
{
    int rc = spare_wait(log, turn_bytes(log, record), e);
    if (rc < 0)
        return rc;
    segments_settle(log);
    struct segment *next = segment_next(log, at ? at : &log->frontier, at != NULL, &rc, e);
    if (!next)
        return rc;
    pthread_mutex_lock(&log->mutex);
    if (!segment_finish(log)) {
        pthread_mutex_unlock(&log->mutex);
        segment_destroy(next);
        return no_memory(e);
    }
    next->previous_end = log->segments[log->segment_count - 1]->used;
    next->bytes = log->spare_bytes;
    next->file = log->spare_file;
    log->segments[log->segment_count++] = next;
    log->spare = SPARE_NONE;
    log->spare_file = -1;
    log->spare_bytes = log->config.segment_bytes;
    if (at) {
        log->end = at->size;
        log->frontier = *at;
    }
    pthread_mutex_unlock(&log->mutex);
    return 0;
}

int log_segments_seal(struct ledger_log *log, struct error *e)
{
    pthread_mutex_lock(&log->mutex);
    assert(!log->sealed);
    const struct segment *last = log->segments[log->segment_count - 1];
    log->sealed = last->closed || segment_finish(log);
    if (log->sealed) { /* what closes it counts as a record */
        log->wanted = ++log->appended;
        if (log->segment_first == 0)
            log->segment_first = log->appended;
        pthread_cond_signal(&log->work);
    }
    pthread_mutex_unlock(&log->mutex);
    return log->sealed ? 0 : no_memory(e);
}
