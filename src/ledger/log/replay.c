/* Replaying a log: its records, in the order in which they were appended. */
#include "ledger/log/core.h"

static int no_memory(struct error *e)
{
    return error_set(e, ATOLL_ENOMEM, "no memory to open the log");
}

static int segment_replay(struct ledger_log *log, struct segment *s, struct buffer *bytes,
                          ledger_log_visit *visit, void *context, struct error *e)
{
    struct log_record r;
    int file = s->file;
    char name[LOG_NAME_MAX];
    if (file < 0) {
        segment_file_name(s, name);
        file = log->files.open(log->files.context, name, false, e);
        if (file < 0)
            return file;
    }
    bytes->len = 0;
    int rc = buffer_append(bytes, NULL, (size_t)s->used) ? 0 : no_memory(e);
    if (rc == 0)
        rc = log->files.read(log->files.context, file, 0, bytes->data, (size_t)s->used, e);
    if (file != s->file)
        log->files.close(log->files.context, file);
    for (uint64_t at = SEGMENT_HEAD; at < s->used && rc == 0; at += log_record_size(r.len)) {
        if (!log_record_read(bytes->data + at, s->used - at, s->salt, &r))
            return error_set(e, ATOLL_ECORRUPT,
                             "segment %llu of the log is damaged at byte %llu; open the log with "
                             "check_from before it",
                             (unsigned long long)s->serial, (unsigned long long)at);
        if (r.kind != LOG_RECORD_CLOSE)
            rc = visit(context, (enum ledger_record_kind)r.kind, (uint8_t)r.entry_type, r.position,
                       r.payload, r.len, e);
    }
    return rc;
}

/* Waits until everything appended is in the files. */
static int appended_settle(struct ledger_log *log, struct error *e)
{
    pthread_mutex_lock(&log->mutex);
    log->wanted = log->appended;
    pthread_cond_signal(&log->work);
    while (log->durable < log->appended && log->failure == 0)
        log_writer_await(log);
    int rc = log->failure;
    if (rc < 0)
        *e = log->failure_error;
    pthread_mutex_unlock(&log->mutex);
    return rc;
}

int ledger_log_replay(struct ledger_log *log, uint64_t from, ledger_log_visit *visit, void *context,
                      struct error *e)
{
    size_t first = 0;
    struct buffer bytes = {0};
    int rc = appended_settle(log, e);
    for (size_t i = 0; i < log->segment_count; i++)
        if (from > 0 && log->segments[i]->position <= from)
            first = i;
    /* A later segment may have taken back what this one begins with. */
    for (size_t i = first; i < log->segment_count; i++)
        while (first > 0 && log->segments[i]->base < log->segments[first]->position)
            first--;
    for (size_t i = first; i < log->segment_count && rc == 0; i++) {
        const struct log_gap *gap = i > first ? log_gap_before(log, log->segments[i]) : NULL;
        if (gap && gap->part)
            rc = ledger_log_replay(gap->part, gap->from, visit, context, e);
        for (size_t k = 0; gap && k < gap->filled_count && rc == 0; k++)
            rc = segment_replay(log, gap->filled[k], &bytes, visit, context, e);
        if (rc == 0)
            rc = segment_replay(log, log->segments[i], &bytes, visit, context, e);
    }
    buffer_free(&bytes);
    const struct vote_log *v = &log->votes;
    for (unsigned i = 0; i < v->count && rc == 0; i++)
        rc = visit(context, (enum ledger_record_kind)v->votes[i].kind, 0, 0, v->votes[i].payload,
                   v->votes[i].len, e);
    return rc;
}
