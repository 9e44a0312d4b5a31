/* Reading entries back (log.h): from the segments' files, from memory while they are on their way
 * there, and from the parts of the log that filled its gaps (gap.c). */
#include "ledger/log/core.h"

#define READ_AT_ONCE 1024 /* bytes of an entry that are read with its head */

static int no_memory(struct error *e)
{
    return error_set(e, ATOLL_ENOMEM, "no memory for the log");
}

static int file_of(struct ledger_log *log, struct segment *s, struct error *e)
{
    char name[LOG_NAME_MAX];
    if (s->file >= 0)
        return 0;
    if (log->reading && log->reading->file >= 0) {
        log->files.close(log->files.context, log->reading->file);
        log->reading->file = -1;
    }
    segment_file_name(s, name);
    int file = log->files.open(log->files.context, name, false, e);
    if (file < 0)
        return file;
    s->file = file;
    log->reading = s;
    return 0;
}

/* Copies bytes of a segment, from memory when they are still on their way. */
static int segment_read(struct ledger_log *log, struct segment *s, uint64_t at, uint8_t *to,
                        size_t len, struct error *e)
{
    const uint8_t *from = NULL;
    pthread_mutex_lock(&log->mutex);
    if (s->pending.len > 0 && at >= s->pending_at)
        from = s->pending.data + (at - s->pending_at);
    else if (s->flying.len > 0 && at >= s->flying_at && at < s->flying_at + s->flying.len)
        from = s->flying.data + (at - s->flying_at);
    if (from)
        memcpy(to, from, len);
    pthread_mutex_unlock(&log->mutex);
    if (from)
        return 0;
    int rc = file_of(log, s, e);
    return rc < 0 ? rc : log->files.read(log->files.context, s->file, at, to, len, e);
}

static struct segment *segment_of(const struct ledger_log *log, uint64_t position)
{
    for (size_t i = log->segment_count; i-- > 0;) {
        struct segment *s = log->segments[i];
        if (position >= s->base && position - s->base < s->live)
            return s;
    }
    return NULL;
}

static int entry_offset(struct ledger_log *log, struct segment *s, uint32_t index, uint64_t *at,
                        struct error *e)
{
    uint8_t offset[4];
    if (s->offsets) {
        *at = s->offsets[index];
        return 0;
    }
    int rc = segment_read(log, s, s->table_at + 4 * (uint64_t)index, offset, sizeof offset, e);
    *at = rc < 0 ? 0 : load_u32(offset);
    return rc;
}

/* Reads the record at an offset into out, whole. */
static int record_fetch(struct ledger_log *log, struct segment *s, uint64_t at, struct buffer *out,
                        struct error *e)
{
    out->len = 0;
    if (at + LOG_RECORD_HEAD > s->used || !buffer_reserve(out, READ_AT_ONCE))
        return at + LOG_RECORD_HEAD > s->used ? error_set(e, ATOLL_ECORRUPT, "bad offset")
                                              : no_memory(e);
    /* The head and, most often, all of it. Records never straddle what is on its way. */
    size_t first = s->used - at < READ_AT_ONCE ? (size_t)(s->used - at) : READ_AT_ONCE;
    pthread_mutex_lock(&log->mutex);
    if (s->flying.len > 0 && at >= s->flying_at && at < s->flying_at + s->flying.len &&
        s->flying_at + s->flying.len - at < first)
        first = (size_t)(s->flying_at + s->flying.len - at);
    if (s->flying.len > 0 && at < s->flying_at && s->flying_at - at < first)
        first = (size_t)(s->flying_at - at);
    if (s->pending.len > 0 && at < s->pending_at && s->pending_at - at < first)
        first = (size_t)(s->pending_at - at);
    pthread_mutex_unlock(&log->mutex);
    int rc = segment_read(log, s, at, out->data, first, e);
    if (rc < 0)
        return rc;
    uint64_t len = load_u32(out->data), whole = LOG_RECORD_HEAD + len;
    if (len > LOG_PAYLOAD_MAX || at + whole > s->used)
        return error_set(e, ATOLL_ECORRUPT, "the length of a record makes no sense");
    out->len = (size_t)whole;
    if (whole <= first)
        return 0;
    out->len = first;
    if (!buffer_reserve(out, (size_t)whole - first))
        return no_memory(e);
    out->len = (size_t)whole;
    return segment_read(log, s, at + first, out->data + first, (size_t)whole - first, e);
}

int ledger_log_read(struct ledger_log *log, uint64_t position, struct buffer *out,
                    uint8_t *entry_type, struct error *e)
{
    struct segment *s = segment_of(log, position);
    struct log_record r;
    uint64_t at;
    const struct log_gap *gap = s ? NULL : log_gap_of(log, position);
    if (gap && gap->filled)
        s = log_gap_segment(gap, position);
    if (!s) {
        if (gap && gap->part && position < gap->part->end)
            return ledger_log_read(gap->part, position, out, entry_type, e);
        return error_set(e, ATOLL_ERANGE,
                         gap ? "entry %llu is still to come from the other replicas"
                             : "the log has no entry %llu",
                         (unsigned long long)position);
    }
    int rc = entry_offset(log, s, (uint32_t)(position - s->base), &at, e);
    if (rc == 0)
        rc = record_fetch(log, s, at, out, e);
    if (rc == 0 && (!log_record_read(out->data, out->len, s->salt, &r) ||
                    r.kind != LEDGER_RECORD_ENTRY || r.position != position))
        rc = error_set(e, ATOLL_ECORRUPT, "a checksum is wrong");
    if (rc < 0)
        return error_prefix(e, "cannot read entry %llu from segment %llu of the log",
                            (unsigned long long)position, (unsigned long long)s->serial);
    *entry_type = (uint8_t)r.entry_type;
    out->len -= LOG_RECORD_HEAD;
    memmove(out->data, out->data + LOG_RECORD_HEAD, out->len);
    return 0;
}
