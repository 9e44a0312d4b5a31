/*
 * The owner's side of the log (log.h): where records go, and where entries are.
 *
 * A record is put together here, at its final place in a segment or in the vote log, in memory; the
 * writer takes the bytes from there (writer.c). So the owner knows where every entry is, on the
 * disk or on its way there.
 */
#define _GNU_SOURCE
#include "ledger/log/log.h"

#include "ledger/log/core.h"

#include <assert.h>
#include <stdlib.h>

static int no_memory(struct error *e)
{
    return error_set(e, ATOLL_ENOMEM, "no memory for the log");
}

/* ---- appending ---- */

void log_signed_note(struct ledger_log *log, const uint8_t *payload)
{
    struct ledger_signed now, before;
    struct error e;
    if (ledger_signed_decode(slice_of(payload, LEDGER_SIGNED_LEN), &now, &e) < 0)
        return;
    uint8_t *mark = log->signed_marks[now.what];
    if (log->signed_there[now.what] &&
        ledger_signed_decode(slice_of(mark, LEDGER_SIGNED_LEN), &before, &e) == 0) {
        if (now.config != before.config ? now.config < before.config
            : now.view != before.view   ? now.view < before.view
                                        : now.seqno < before.seqno)
            return;
    }
    memcpy(mark, payload, LEDGER_SIGNED_LEN);
    log->signed_there[now.what] = true;
}

static struct segment *segment_open(const struct ledger_log *log)
{
    return log->segments[log->segment_count - 1];
}

static size_t parts_len(const struct slice *parts, unsigned count)
{
    size_t len = 0;
    for (unsigned i = 0; i < count; i++)
        len += parts[i].len;
    return len;
}

/* The ledger grows by an entry. */
static int entry_follow(struct ledger_log *log, uint8_t entry_type, const struct merkle_hash *leaf,
                        struct error *e)
{
    if (entry_type != LEDGER_ENTRY_TX)
        log_frontier_keep(log);
    int rc = merkle_frontier_append(&log->frontier, leaf, e);
    if (rc == 0)
        log->end++;
    return rc;
}

static void rollback_follow(struct ledger_log *log, const struct merkle_frontier *to)
{
    log_frontier_take(log, to);
    for (size_t i = 0; i < log->segment_count; i++)
        segment_rollback(log->segments[i], to->size, i + 1 == log->segment_count);
    log->end = to->size;
    log_gaps_rollback(log, to->size);
}

/* Puts a record among the pending bytes of the open segment; *own becomes an entry's leaf. Without
 * memory for it nothing has changed. */
static int segment_put(struct ledger_log *log, struct segment *s, enum ledger_record_kind kind,
                       uint8_t entry_type, uint64_t position, const struct slice *parts,
                       unsigned count, struct merkle_hash *own, struct error *e)
{
    size_t len = parts_len(parts, count);
    bool entry = kind == LEDGER_RECORD_ENTRY;
    pthread_mutex_lock(&log->mutex);
    size_t start = s->pending.len;
    if (!log_record_append(&s->pending, s->salt, (uint16_t)kind, entry_type, position, parts,
                           count) ||
        (entry && !segment_entry_note(s, position, s->used))) {
        s->pending.len = start;
        pthread_mutex_unlock(&log->mutex);
        return no_memory(e);
    }
    const uint8_t *payload = s->pending.data + start + LOG_RECORD_HEAD;
    if (own)
        *own = ledger_entry_leaf(entry_type, slice_of(payload, len));
    if (kind == LEDGER_RECORD_SIGNED && len == LEDGER_SIGNED_LEN)
        log_signed_note(log, payload);
    if (log->segment_first == 0)
        log->segment_first = log->appended + 1;
    s->used = s->pending_at + s->pending.len;
    log->pending_bytes += log_record_size(len);
    if (s->used > s->bytes / 2 && log->spare == SPARE_NONE) {
        log->spare = SPARE_WANTED;
        pthread_cond_signal(&log->work);
    }
    pthread_mutex_unlock(&log->mutex);
    return 0;
}

static int segment_append(struct ledger_log *log, enum ledger_record_kind kind, uint8_t entry_type,
                          uint64_t position, const struct merkle_hash *leaf,
                          const struct slice *parts, unsigned count, struct error *e)
{
    uint64_t size = log_record_size(parts_len(parts, count));
    struct segment *s = segment_open(log);
    struct merkle_hash own;
    struct merkle_frontier to;
    bool entry = kind == LEDGER_RECORD_ENTRY;
    /* What may fail comes first: a record that is on its way counts. */
    int rc = kind == LEDGER_RECORD_ROLLBACK ? log_frontier_find(log, position, &to, e) : 0;
    /* Closing takes four bytes more for every entry. */
    if (rc == 0 && s->used + size + segment_close_size(s) + 8 > s->bytes) {
        rc = log_segment_turn(log, size, NULL, e);
        s = segment_open(log);
    }
    if (rc == 0)
        rc = segment_put(log, s, kind, entry_type, position, parts, count,
                         entry && !leaf ? &own : NULL, e);
    if (rc == 0 && entry)
        rc = entry_follow(log, entry_type, leaf ? leaf : &own, e);
    if (rc == 0 && kind == LEDGER_RECORD_ROLLBACK)
        rollback_follow(log, &to);
    return rc;
}

uint64_t log_vote_bytes(const struct ledger_log *log)
{
    uint64_t least = 4 * (vote_log_live(&log->votes) + log->vote_need);
    uint64_t bytes = log->config.segment_bytes / 4;
    return align_up(VOTE_HEAD + (least > bytes ? least : bytes), VOTE_HEAD);
}

/* Waits until the vote log has room. Under the mutex. */
static int vote_room(struct ledger_log *log, uint64_t size, struct error *e)
{
    struct vote_log *v = &log->votes;
    while (v->used + size > v->bytes && log->failure == 0) {
        log->vote_need = size;
        log->compact_wanted = true;
        log->compact_failed = false;
        pthread_cond_signal(&log->work);
        while (log->compact_wanted && log->failure == 0)
            log_writer_await(log);
        if (log->compact_failed)
            return error_set(e, ATOLL_ELIMIT,
                             "the disk or the memory is full: there is no room for votes");
    }
    if (log->failure < 0)
        *e = log->failure_error;
    return log->failure;
}

static int vote_append(struct ledger_log *log, enum ledger_record_kind kind,
                       const struct slice *parts, unsigned count, struct error *e)
{
    struct vote_log *v = &log->votes;
    size_t len = parts_len(parts, count);
    assert(vote_payload_fits((uint16_t)kind, len));
    pthread_mutex_lock(&log->mutex);
    int rc = vote_room(log, log_record_size(len), e);
    size_t start = v->pending.len;
    if (rc == 0 &&
        (!log_record_append(&v->pending, v->salt, (uint16_t)kind, 0, v->synced, parts, count) ||
         !vote_log_note(v, (uint16_t)kind, v->pending.data + start + LOG_RECORD_HEAD, len))) {
        v->pending.len = start;
        rc = no_memory(e);
    }
    if (rc == 0) {
        v->used = v->pending_at + v->pending.len;
        log->pending_bytes += log_record_size(len);
        if (log->vote_first == 0)
            log->vote_first = log->appended + 1;
        if (kind != LEDGER_RECORD_CERTIFICATE)
            log->forced = log->appended + 1;
    }
    pthread_mutex_unlock(&log->mutex);
    return rc;
}

/* Hands much to the writer early, and waits for it when it cannot follow. Under the mutex. */
static void pending_push(struct ledger_log *log)
{
    if (log->pending_bytes < LEDGER_LOG_PUSH)
        return;
    pthread_cond_signal(&log->work);
    while (log->thread_runs && log->pending_bytes > LEDGER_LOG_PENDING_MAX && log->failure == 0)
        pthread_cond_wait(&log->done, &log->mutex);
}

int ledger_log_append(struct ledger_log *log, enum ledger_record_kind kind, uint8_t entry_type,
                      uint64_t position, const struct merkle_hash *leaf, const struct slice *parts,
                      unsigned count, uint64_t *lsn, struct error *e)
{
    assert(!log->config.read_only && !log->sealed);
    pthread_mutex_lock(&log->mutex);
    int rc = log->failure;
    if (rc < 0)
        *e = log->failure_error;
    pthread_mutex_unlock(&log->mutex);
    if (rc < 0)
        return rc;
    if (parts_len(parts, count) > LOG_PAYLOAD_MAX / 2)
        return error_set(e, ATOLL_ESIZE, "a record of the log has at most %u bytes",
                         LOG_PAYLOAD_MAX / 2);
    switch (kind) {
    case LEDGER_RECORD_ENTRY:
        assert(position == log->end);
        rc = segment_append(log, kind, entry_type, position, leaf, parts, count, e);
        break;
    case LEDGER_RECORD_ROLLBACK:
        assert(position <= log->end);
        if (log_gap_of(log, position) && position > log_gap_of(log, position)->from)
            return error_set(e, ATOLL_EINVAL,
                             "entry %llu came to fill a gap: the ledger cannot end before it",
                             (unsigned long long)position);
        rc = segment_append(log, kind, 0, position, NULL, parts, count, e);
        break;
    case LEDGER_RECORD_SIGNED:
        rc = segment_append(log, kind, 0, log->end, NULL, parts, count, e);
        break;
    case LEDGER_RECORD_CERTIFICATE:
    case LEDGER_RECORD_VIEW_CHANGE:
    case LEDGER_RECORD_NEW_VIEW: rc = vote_append(log, kind, parts, count, e); break;
    default: return error_set(e, ATOLL_EINVAL, "there is no kind %d of log records", (int)kind);
    }
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&log->mutex);
    *lsn = ++log->appended;
    pending_push(log);
    pthread_mutex_unlock(&log->mutex);
    return 0;
}

void ledger_log_sync(struct ledger_log *log, uint64_t lsn)
{
    pthread_mutex_lock(&log->mutex);
    assert(lsn <= log->appended);
    bool more = lsn > log->wanted;
    if (more)
        log->wanted = lsn;
    pthread_mutex_unlock(&log->mutex);
    if (!more || log_writer_at_once(log))
        return;
    pthread_mutex_lock(&log->mutex);
    pthread_cond_signal(&log->work);
    pthread_mutex_unlock(&log->mutex);
}

int ledger_log_complete(struct ledger_log *log, uint64_t *durable, struct error *e)
{
    pthread_mutex_lock(&log->mutex);
    int rc = log->failure;
    if (rc < 0)
        *e = log->failure_error;
    *durable = log->durable;
    pthread_mutex_unlock(&log->mutex);
    log_gaps_settle(log);
    return rc;
}

void ledger_log_work(struct ledger_log *log)
{
    assert(log->config.threadless);
    while (log_writer_round(log))
        continue;
}

/* ---- the end ---- */

int ledger_log_rejoined(struct ledger_log *log, struct error *e)
{
    pthread_mutex_lock(&log->state_mutex);
    log->state.quarantine = false;
    int rc = log_state_write(log, e);
    pthread_mutex_unlock(&log->state_mutex);
    return rc;
}

int ledger_log_close(struct ledger_log *log, bool orderly, struct error *e)
{
    int rc = 0;
    if (!log)
        return 0;
    log_writer_end(log);
    log_gaps_close(log, orderly);
    if (orderly && log->segment_count > 0 && !log->config.read_only) {
        log->wanted = log->appended;
        while (log_writer_round(log))
            continue;
        log->state.clean = true;
        rc = log->failure < 0 ? log->failure : log_mark(log, e);
        if (log->failure < 0)
            *e = log->failure_error;
    }
    for (size_t i = 0; i < log->segment_count; i++) {
        log_segment_shut(log, log->segments[i]);
        segment_destroy(log->segments[i]);
    }
    free(log->segments);
    vote_log_free(&log->votes);
    const int files[] = {log->votes.file, log->spare_file, log->state_file};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        if (files[i] >= 0)
            log->files.close(log->files.context, files[i]);
    pthread_cond_destroy(&log->work);
    pthread_cond_destroy(&log->done);
    pthread_mutex_destroy(&log->mutex);
    pthread_mutex_destroy(&log->state_mutex);
    free(log);
    return rc;
}
