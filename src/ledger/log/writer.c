/*
 * The writer: takes what the owner appended, writes it, and synchronises what was asked for
 * (log.h).
 *
 * It works in rounds. A round takes all pending bytes at once, so that whoever asked while the last
 * round was waiting for the disk shares one fdatasync. Segments are written in order, and one gets
 * its name only after all before it are closed and on the disk; the order of fdatasyncs across the
 * two logs does not matter, because the owner is told of a record only when everything up to it is
 * durable.
 *
 * Rounds are the thread's, with one exception. In async mode "durable" means no more than written,
 * which takes 20 us; waking the thread and being woken by it takes several times as long, twice in
 * the life of each batch. So a round that has only a few bytes to write is the owner's own, unless
 * the thread is busy with one. `busy` keeps the two apart.
 */
#define _GNU_SOURCE
#include "base/clock.h"
#include "base/random.h"
#include "ledger/log/core.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define ROUND_SEGMENTS 16
#define AT_ONCE_BYTES  (256u << 10) /* what the owner writes itself */
#define MARK_NS        1000000000   /* the marks are at most this old under load */
#define REST_NS        100000000    /* … and exact when nothing happened for so long */
#define MARK_ROUNDS    8            /* without a thread: synchronisations between marks */

struct round {
    struct segment *segments[ROUND_SEGMENTS];
    bool closed[ROUND_SEGMENTS];
    unsigned count;
    bool all; /* everything pending was taken */
    bool votes;
    uint64_t bytes;
    uint64_t lsn, wanted, forced, durable;
    bool spare, compact;
};

/* ---- the state file ---- */

int log_state_write(struct ledger_log *log, struct error *e)
{
    uint8_t slot[STATE_SLOT];
    log->state.generation++;
    state_slot_make(&log->state, log->config.genesis, slot);
    int rc = log->files.write(log->files.context, log->state_file,
                              log->state.generation % 2 * STATE_SLOT, slot, sizeof slot, e);
    return rc < 0 ? rc : log->files.sync(log->files.context, log->state_file, e);
}

static int segments_sync(struct ledger_log *log, struct error *e)
{
    if (log->segment_dirty == 0)
        return 0;
    int rc = log->files.sync(log->files.context, log->written_segment->file, e);
    if (rc < 0)
        return rc;
    log->segment_dirty = 0;
    log->mark_serial = log->written_segment->serial;
    log->mark_offset = log->written_offset;
    log->unmarked++;
    return 0;
}

static int votes_sync(struct ledger_log *log, uint64_t lsn, struct error *e)
{
    if (log->vote_dirty == 0)
        return 0;
    int rc = log->files.sync(log->files.context, log->votes.file, e);
    if (rc < 0)
        return rc;
    log->vote_dirty = 0;
    log->vote_synced = lsn;
    log->mark_votes = log->written_votes;
    pthread_mutex_lock(&log->mutex);
    log->votes.synced = log->written_votes;
    pthread_mutex_unlock(&log->mutex);
    log->unmarked++;
    return 0;
}

int log_mark(struct ledger_log *log, struct error *e)
{
    int rc = segments_sync(log, e);
    if (rc == 0)
        rc = votes_sync(log, log->vote_synced, e);
    if (rc < 0)
        return rc;
    log->unmarked = 0;
    log->marked_at_ns = clock_monotonic_ns();
    if (log->config.part) /* nothing in it was signed */
        return 0;
    pthread_mutex_lock(&log->state_mutex);
    log->state.segment_serial = log->mark_serial;
    log->state.segment_offset = log->mark_offset;
    log->state.vote_generation = log->mark_generation;
    log->state.vote_offset = log->mark_votes;
    rc = log_state_write(log, e);
    pthread_mutex_unlock(&log->state_mutex);
    return rc;
}

/* ---- segments and votes ---- */

static int tail_write(struct ledger_log *log, const struct segment *s, struct error *e)
{
    uint8_t tail[SEGMENT_TAIL];
    store_u64(tail, s->close_at);
    store_u64(tail + 8, s->salt);
    return log->files.write(log->files.context, s->file, s->bytes - SEGMENT_TAIL, tail, sizeof tail,
                            e);
}

static int segment_named(struct ledger_log *log, struct segment *s, struct error *e)
{
    uint8_t head[SEGMENT_HEAD];
    char name[LOG_NAME_MAX];
    const struct log_files *files = &log->files;
    segment_head_make(s, log->config.genesis, head);
    segment_name(s->serial, s->position, name);
    int rc = files->write(files->context, s->file, 0, head, sizeof head, e);
    if (rc == 0)
        rc = tail_write(log, s, e);
    if (rc == 0)
        rc = files->sync(files->context, s->file, e);
    if (rc == 0)
        rc = files->rename(files->context, SEGMENT_NEW, name, e);
    if (rc == 0)
        rc = files->sync_names(files->context, e);
    s->named = rc == 0;
    return rc;
}

static int segment_write(struct ledger_log *log, struct segment *s, bool closed, struct error *e)
{
    const struct log_files *files = &log->files;
    int rc = 0;
    if (s->flying.len > 0)
        rc = files->write(files->context, s->file, s->flying_at, s->flying.data, s->flying.len, e);
    /* Its first records, the marks of what was signed, are there as soon as its name is. */
    if (rc == 0 && !s->named)
        rc = segment_named(log, s, e);
    if (rc < 0)
        return rc;
    log->written_segment = s;
    log->written_offset = s->flying_at + s->flying.len;
    if (!closed)
        return 0;
    /* That of a log's last segment is believed by nobody; that of a part's last one is, and so says
     * that all before it is on the disk. */
    if (log->config.part)
        rc = files->sync(files->context, s->file, e);
    if (rc == 0)
        rc = tail_write(log, s, e);
    if (rc == 0)
        rc = files->sync(files->context, s->file, e);
    if (rc == 0)
        files->release(files->context, s->file, log->written_offset, s->bytes - SEGMENT_TAIL);
    return rc;
}

static int spare_make(struct ledger_log *log, struct error *e)
{
    const struct log_files *files = &log->files;
    pthread_mutex_lock(&log->mutex);
    uint64_t bytes = log->spare_bytes;
    int file = log->spare_file;
    pthread_mutex_unlock(&log->mutex);
    int rc = 0;
    if (file < 0) {
        rc = files->open(files->context, SEGMENT_NEW, true, e);
        file = rc < 0 ? -1 : rc;
    }
    if (rc >= 0)
        rc = files->allocate(files->context, file, bytes, e);
    pthread_mutex_lock(&log->mutex);
    log->spare_file = file;
    /* The owner may have come to need a larger one meanwhile. */
    enum spare_state made = log->spare_bytes > bytes ? SPARE_WANTED : SPARE_READY;
    log->spare = rc >= 0 ? made : rc == -ATOLL_ELIMIT ? SPARE_FAILED : SPARE_NONE;
    pthread_mutex_unlock(&log->mutex);
    return rc == -ATOLL_ELIMIT || rc >= 0 ? 0 : rc;
}

/* Begins the next generation in a file, under the mutex: what is pending is among the records kept,
 * and so in the bytes that are to be written. Without memory nothing has changed. */
static int votes_turn(struct ledger_log *log, int file, uint64_t bytes, uint64_t salt,
                      struct error *e)
{
    struct vote_log *v = &log->votes;
    uint8_t head[VOTE_HEAD] = {0};
    uint64_t old = v->salt;
    v->flying.len = 0;
    v->salt = salt;
    if (!buffer_append(&v->flying, head, sizeof head) || !vote_log_write(v, &v->flying)) {
        v->flying.len = 0;
        v->salt = old;
        return error_set(e, ATOLL_ENOMEM, "no memory for the votes of the log");
    }
    v->generation++;
    v->bytes = bytes;
    v->file = file;
    vote_log_head_make(v, log->config.genesis, v->flying.data);
    log->pending_bytes -= v->pending.len;
    v->pending.len = 0;
    v->flying_at = 0;
    v->used = v->pending_at = v->flying.len;
    v->synced = 0;
    log->vote_first = 0;
    return 0;
}

static void votes_file_drop(struct ledger_log *log, int file)
{
    struct error ignored;
    log->files.close(log->files.context, file);
    log->files.remove(log->files.context, VOTE_NEW, &ignored);
}

/* Makes room for the next generation; the file, or a negative code. */
static int votes_file(struct ledger_log *log, uint64_t bytes, struct error *e)
{
    const struct log_files *files = &log->files;
    int file = files->open(files->context, VOTE_NEW, true, e);
    if (file < 0)
        return file;
    int rc = files->allocate(files->context, file, bytes, e);
    if (rc == 0)
        return file;
    votes_file_drop(log, file);
    return rc;
}

int log_votes_compact(struct ledger_log *log, struct error *e)
{
    const struct log_files *files = &log->files;
    struct vote_log *v = &log->votes;
    char name[LOG_NAME_MAX], old_name[LOG_NAME_MAX];
    int old = v->file;
    uint64_t salt;
    pthread_mutex_lock(&log->mutex);
    uint64_t bytes = log_vote_bytes(log), lsn;
    pthread_mutex_unlock(&log->mutex);
    if (random_bytes(&salt, sizeof salt) < 0)
        return error_set(e, ATOLL_EUNAVAIL, "the kernel gives no random bytes");
    int file = votes_file(log, bytes, e);
    if (file < 0)
        return file;
    vote_log_name(v->generation, old_name);
    pthread_mutex_lock(&log->mutex);
    lsn = log->appended;
    int rc = votes_turn(log, file, bytes, salt, e);
    pthread_mutex_unlock(&log->mutex);
    if (rc < 0) {
        votes_file_drop(log, file);
        return rc;
    }
    if (old >= 0)
        files->close(files->context, old);
    vote_log_name(v->generation, name);
    rc = files->write(files->context, file, 0, v->flying.data, v->flying.len, e);
    if (rc == 0)
        rc = files->sync(files->context, file, e);
    if (rc == 0)
        rc = files->rename(files->context, VOTE_NEW, name, e);
    if (rc == 0)
        rc = files->sync_names(files->context, e);
    if (rc < 0)
        return rc == -ATOLL_ELIMIT ? error_set(e, ATOLL_EIO, "the vote log lost its room") : rc;
    log->written_votes = log->mark_votes = v->flying.len;
    log->mark_generation = v->generation;
    log->vote_dirty = 0;
    log->vote_synced = lsn;
    pthread_mutex_lock(&log->mutex);
    v->synced = v->flying.len;
    v->flying.len = 0;
    pthread_mutex_unlock(&log->mutex);
    return old < 0 ? 0 : files->remove(files->context, old_name, e);
}

/* ---- rounds ---- */

static void bytes_take(struct buffer *pending, struct buffer *flying, uint64_t *pending_at,
                       uint64_t *flying_at)
{
    struct buffer empty = *flying;
    empty.len = 0;
    *flying = *pending;
    *flying_at = *pending_at;
    *pending = empty;
    *pending_at += flying->len;
}

/* Makes the writer's things its caller's until round_over, if there is something to do. */
static bool round_take(struct ledger_log *log, struct round *r)
{
    *r = (struct round){.all = true};
    pthread_mutex_lock(&log->mutex);
    if (log->busy) {
        pthread_mutex_unlock(&log->mutex);
        return false;
    }
    r->spare = log->spare == SPARE_WANTED;
    r->compact = log->compact_wanted || (vote_log_half_full(&log->votes) && !log->compact_failed);
    r->durable = log->durable;
    r->lsn = log->appended;
    r->wanted = log->wanted;
    r->forced = log->forced;
    /* The spare takes the name of the one before, so that must have gone. */
    bool due = log->wanted > log->durable || log->pending_bytes >= LEDGER_LOG_PUSH || r->spare;
    bool any = log->failure == 0 && (due || r->spare || r->compact);
    for (size_t i = log->unwritten; any && due && i < log->segment_count; i++) {
        struct segment *s = log->segments[i];
        if (r->count == ROUND_SEGMENTS) {
            r->all = false;
            break;
        }
        bytes_take(&s->pending, &s->flying, &s->pending_at, &s->flying_at);
        r->bytes += s->flying.len;
        r->closed[r->count] = s->closed;
        r->segments[r->count++] = s;
    }
    if (any && due) {
        struct vote_log *v = &log->votes;
        bytes_take(&v->pending, &v->flying, &v->pending_at, &v->flying_at);
        r->bytes += v->flying.len;
        r->votes = v->flying.len > 0;
        if (log->segment_dirty == 0)
            log->segment_dirty = log->segment_first;
        if (log->vote_dirty == 0)
            log->vote_dirty = log->vote_first;
        log->vote_first = 0;
        if (r->all)
            log->segment_first = 0;
    }
    log->busy = any;
    pthread_mutex_unlock(&log->mutex);
    return any;
}

/* Under the mutex. */
static void round_over(struct ledger_log *log)
{
    log->busy = false;
    log->written_at_ns = clock_monotonic_ns();
    /* Whoever waits for room. */
    pthread_cond_broadcast(&log->done);
    if (log->thread_next)
        pthread_cond_signal(&log->work);
    log->thread_next = false;
}

static int round_write(struct ledger_log *log, struct round *r, struct error *e)
{
    const struct log_files *files = &log->files;
    struct vote_log *v = &log->votes;
    int rc = 0;
    for (unsigned i = 0; i < r->count && rc == 0; i++)
        if (r->segments[i]->flying.len > 0 || !r->segments[i]->named)
            rc = segment_write(log, r->segments[i], r->closed[i], e);
    if (rc == 0 && r->votes) {
        rc = files->write(files->context, v->file, v->flying_at, v->flying.data, v->flying.len, e);
        log->written_votes = v->flying_at + v->flying.len;
    }
    if (rc < 0 || r->wanted <= r->durable)
        return rc;
    bool strict = log->config.mode == LEDGER_LOG_STRICT;
    if (strict && log->segment_dirty > 0 && log->segment_dirty <= r->wanted)
        rc = segments_sync(log, e);
    bool forced = r->forced > log->vote_synced && r->forced <= r->lsn;
    if (rc == 0 && log->vote_dirty > 0 && (strict ? log->vote_dirty <= r->wanted : forced))
        rc = votes_sync(log, r->lsn, e);
    return rc;
}

/* How far everything is durable now. */
static uint64_t round_durable(const struct ledger_log *log, const struct round *r)
{
    if (!r->all || r->wanted <= r->durable)
        return r->durable;
    uint64_t durable = r->lsn;
    if (log->config.mode == LEDGER_LOG_ASYNC)
        return durable;
    if (log->segment_dirty > 0 && log->segment_dirty <= durable)
        durable = log->segment_dirty - 1;
    if (log->vote_dirty > 0 && log->vote_dirty <= durable)
        durable = log->vote_dirty - 1;
    return durable;
}

/* Under the mutex. */
static void failure_note(struct ledger_log *log, int rc, const struct error *e)
{
    /* A file system that has no room for what it promised room for is no disk that is just full. */
    log->failure = rc == -ATOLL_ELIMIT ? -ATOLL_EIO : rc;
    log->failure_error = *e;
    log->failure_error.code = log->failure;
}

/* Marks what a round left, and says whether the owner should be woken. */
static bool round_end(struct ledger_log *log, const struct round *r, int rc, const struct error *e)
{
    pthread_mutex_lock(&log->mutex);
    for (unsigned i = 0; i < r->count; i++) {
        r->segments[i]->flying.len = 0;
        if (r->closed[i])
            log->unwritten++;
    }
    if (r->count > 0)
        log->votes.flying.len = 0;
    log->pending_bytes -= r->bytes < log->pending_bytes ? r->bytes : log->pending_bytes;
    uint64_t before = log->durable;
    if (rc < 0)
        failure_note(log, rc, e);
    else
        log->durable = round_durable(log, r);
    bool tell = log->durable > before || rc < 0;
    pthread_cond_broadcast(&log->done);
    pthread_mutex_unlock(&log->mutex);
    return tell;
}

static int round_extras(struct ledger_log *log, const struct round *r, struct error *e)
{
    int rc = r->spare ? spare_make(log, e) : 0;
    if (rc == 0 && r->compact) {
        rc = log_votes_compact(log, e);
        pthread_mutex_lock(&log->mutex);
        log->compact_failed = rc == -ATOLL_ELIMIT || rc == -ATOLL_ENOMEM;
        log->compact_wanted = false;
        if (log->compact_failed)
            rc = 0;
        pthread_mutex_unlock(&log->mutex);
    }
    bool due = log->thread_runs ? clock_monotonic_ns() - log->marked_at_ns > MARK_NS
                                : log->unmarked >= MARK_ROUNDS;
    /* A new vote log is whole on the disk: from here on anything less is damage. */
    if (rc == 0 && (due || r->compact) && log->unmarked > 0 &&
        log->config.mode == LEDGER_LOG_STRICT)
        rc = log_mark(log, e);
    return rc;
}

bool log_writer_round(struct ledger_log *log)
{
    struct round r;
    struct error e;
    if (!round_take(log, &r))
        return false;
    int rc = round_write(log, &r, &e);
    bool tell = round_end(log, &r, rc, &e);
    if (tell && rc == 0 && log->config.wake)
        log->config.wake(log->config.wake_context);
    if (rc == 0)
        rc = round_extras(log, &r, &e);
    pthread_mutex_lock(&log->mutex);
    if (rc < 0)
        failure_note(log, rc, &e);
    round_over(log);
    pthread_mutex_unlock(&log->mutex);
    if (rc < 0 && log->config.wake)
        log->config.wake(log->config.wake_context);
    return true;
}

void log_writer_await(struct ledger_log *log)
{
    if (log->thread_runs) {
        pthread_cond_wait(&log->done, &log->mutex);
        return;
    }
    pthread_mutex_unlock(&log->mutex);
    log_writer_round(log);
    pthread_mutex_lock(&log->mutex);
}

/* Whether there is nothing to do but writing a little to the open segment and the vote log, which
 * have their files. Under the mutex. */
static bool at_once_possible(const struct ledger_log *log)
{
    const struct segment *open = log->segment_count ? log->segments[log->segment_count - 1] : NULL;
    return log->config.mode == LEDGER_LOG_ASYNC && log->thread_runs && !log->busy &&
           log->failure == 0 && log->forced <= log->vote_synced && log->spare != SPARE_WANTED &&
           !log->compact_wanted && (log->compact_failed || !vote_log_half_full(&log->votes)) &&
           open && log->unwritten == log->segment_count - 1 && open->named && !open->closed &&
           log->pending_bytes <= AT_ONCE_BYTES;
}

bool log_writer_at_once(struct ledger_log *log)
{
    struct round r;
    struct error e;
    pthread_mutex_lock(&log->mutex);
    bool possible = at_once_possible(log);
    pthread_mutex_unlock(&log->mutex);
    if (!possible || !round_take(log, &r))
        return false;
    int rc = round_write(log, &r, &e);
    round_end(log, &r, rc, &e);
    pthread_mutex_lock(&log->mutex);
    round_over(log);
    if (log->unattended) /* nobody else would mark what was written, when there is a rest */
        pthread_cond_signal(&log->work);
    pthread_mutex_unlock(&log->mutex);
    return true;
}

static void mark_at_rest(struct ledger_log *log)
{
    struct error e;
    log->busy = true;
    pthread_mutex_unlock(&log->mutex);
    int rc = log_mark(log, &e);
    pthread_mutex_lock(&log->mutex);
    if (rc < 0)
        failure_note(log, rc, &e);
    round_over(log);
    if (rc < 0 && log->config.wake)
        log->config.wake(log->config.wake_context);
}

/* Sleeps until there may be work; after a rest makes the marks exact. Under the mutex. */
static void writer_sleep(struct ledger_log *log)
{
    bool marked = log->unmarked == 0 && log->segment_dirty == 0 && log->vote_dirty == 0;
    if (marked || log->failure < 0) {
        log->unattended = true;
        pthread_cond_wait(&log->work, &log->mutex);
        log->unattended = false;
        return;
    }
    int64_t at = log->written_at_ns + REST_NS;
    struct timespec until = {.tv_sec = at / 1000000000, .tv_nsec = at % 1000000000};
    if (pthread_cond_timedwait(&log->work, &log->mutex, &until) == 0 || log->busy)
        return;
    if (clock_monotonic_ns() - log->written_at_ns >= REST_NS) /* the owner wrote nothing either */
        mark_at_rest(log);
}

void log_writer_end(struct ledger_log *log)
{
    if (!log->thread_runs)
        return;
    pthread_mutex_lock(&log->mutex);
    log->stop = true;
    pthread_cond_signal(&log->work);
    pthread_mutex_unlock(&log->mutex);
    pthread_join(log->thread, NULL);
    log->thread_runs = false;
}

void *log_writer_main(void *argument)
{
    struct ledger_log *log = argument;
    pthread_setname_np(pthread_self(), "log");
    for (;;) {
        while (log_writer_round(log))
            continue;
        pthread_mutex_lock(&log->mutex);
        if (log->stop)
            break;
        bool idle = log->failure < 0 ||
                    (log->wanted <= log->durable && log->pending_bytes < LEDGER_LOG_PUSH &&
                     log->spare != SPARE_WANTED && !log->compact_wanted);
        if (log->busy) {
            log->thread_next = true;
            pthread_cond_wait(&log->work, &log->mutex);
        } else if (idle) {
            writer_sleep(log);
        }
        pthread_mutex_unlock(&log->mutex);
    }
    pthread_mutex_unlock(&log->mutex);
    return NULL;
}
