/*
 * Looking at the segments of a log: what of them is whole, what was cut off, what is damaged
 * (segment.h says which is which). Nothing is changed here.
 *
 * A place that the disk does not give, while it gives others of the same file, is damage: nobody
 * can say what was there. A file of which it gives nothing is none, but ends the opening: the disk
 * may be well again later, and what it holds be whole.
 */
#define _GNU_SOURCE
#include "ledger/log/opening.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define READS 4 /* of a segment that somebody is writing to */

static int no_memory(struct error *e)
{
    return error_set(e, ATOLL_ENOMEM, "no memory to open the log");
}

/* ---- looking at segments ---- */

__attribute__((format(printf, 2, 3))) static void damage_note(struct opening *o, const char *format,
                                                              ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (!o->found->corrupt)
        vsnprintf(o->found->what, sizeof o->found->what, format, arguments);
    va_end(arguments);
    o->found->corrupt = true;
}

static int entry_take(struct ledger_log *log, const struct log_record *r, bool hash,
                      struct error *e)
{
    if (!hash) {
        log->end++;
        return 0;
    }
    struct merkle_hash leaf =
        ledger_entry_leaf((enum ledger_entry_type)r->entry_type, slice_of(r->payload, r->len));
    if (r->entry_type != LEDGER_ENTRY_TX)
        log_frontier_keep(log);
    int rc = merkle_frontier_append(&log->frontier, &leaf, e);
    log->end += rc == 0;
    return rc;
}

static int rollback_take(struct ledger_log *log, const struct segment *s, uint64_t position,
                         bool hash, struct error *e)
{
    int rc = hash ? log_frontier_back(log, position, e) : 0;
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < log->segment_count; i++)
        segment_rollback(log->segments[i], position, log->segments[i] == s);
    log->end = position;
    return 0;
}

/* What one record means when a segment is gone through. A negative code: it contradicts the ones
 * before. */
static int record_follow(struct ledger_log *log, struct segment *s, const struct log_record *r,
                         uint64_t at, bool hash, struct error *e)
{
    switch (r->kind) {
    case LEDGER_RECORD_ENTRY:
        if (r->position != log->end || r->entry_type < LEDGER_ENTRY_GENESIS ||
            r->entry_type > LEDGER_ENTRY_NEW_VIEW)
            return error_set(e, ATOLL_ECORRUPT, "an entry is out of place");
        if (!segment_entry_note(s, r->position, at))
            return no_memory(e);
        return entry_take(log, r, hash, e);
    case LEDGER_RECORD_ROLLBACK:
        if (r->position > log->end)
            return error_set(e, ATOLL_ECORRUPT, "a rollback goes forward");
        s->used = at;
        return rollback_take(log, s, r->position, hash, e);
    case LEDGER_RECORD_SIGNED:
        if (r->len == LEDGER_SIGNED_LEN)
            log_signed_note(log, r->payload);
        return 0;
    default: return error_set(e, ATOLL_ECORRUPT, "a record does not belong there");
    }
}

/*
 * Goes through the records from *at up to `limit`; *at becomes the end of the last good one.
 * Without `hash` the ledger tree's frontier is taken from the CLOSE record, if that is reached.
 */
static int segment_scan(struct ledger_log *log, struct segment *s, const struct buffer *bytes,
                        uint64_t limit, bool hash, uint64_t *at, struct error *e)
{
    struct log_record r;
    struct merkle_frontier end;
    struct error why;
    while (*at < limit && log_record_read(bytes->data + *at, limit - *at, s->salt, &r)) {
        uint64_t next = *at + log_record_size(r.len);
        if (r.kind == LOG_RECORD_CLOSE) {
            if (r.position != log->end || next != limit || !segment_close_read(s, &r, *at, &end))
                break;
        } else {
            int rc = record_follow(log, s, &r, *at, hash, &why);
            if (rc == -ATOLL_ECORRUPT)
                break;
            if (rc < 0) {
                *e = why;
                return rc;
            }
        }
        *at = next;
    }
    s->used = *at;
    if (hash)
        return 0;
    if (!s->closed)
        return log_frontier_back(log, log->end, e);
    log->frontier = end;
    return 0;
}

/* A closed segment of old: believes its last record, and reads nothing else. False: look closer. */
static bool segment_glance(struct ledger_log *log, struct segment *s, uint64_t limit)
{
    uint8_t tail[SEGMENT_TAIL];
    struct error why;
    struct buffer close = {0};
    struct log_record r;
    struct merkle_frontier end;
    const struct log_files *files = &log->files;
    bool good = false;
    if (files->read(files->context, s->file, s->bytes - SEGMENT_TAIL, tail, sizeof tail, &why) < 0)
        return false;
    uint64_t at = load_u64(tail);
    if (load_u64(tail + 8) != s->salt || at < SEGMENT_HEAD || at > limit ||
        limit - at > LOG_PAYLOAD_MAX || !buffer_append(&close, NULL, (size_t)(limit - at)))
        return false;
    if (files->read(files->context, s->file, at, close.data, close.len, &why) == 0 &&
        log_record_read(close.data, close.len, s->salt, &r) && r.kind == LOG_RECORD_CLOSE &&
        log_record_size(r.len) == close.len && segment_close_read(s, &r, at, &end)) {
        /* What this segment took back of older ones. */
        for (size_t i = 0; i + 1 < log->segment_count; i++)
            segment_rollback(log->segments[i], s->base, false);
        log->end = end.size;
        log->frontier = end;
        s->used = limit;
        good = true;
    }
    buffer_free(&close);
    return good;
}

/* Where the records of a closed segment end, by its own words. False: it is open. */
static bool closed_limit(struct ledger_log *log, const struct segment *s, uint64_t *limit)
{
    uint8_t tail[SEGMENT_TAIL], head[4];
    struct error why;
    const struct log_files *files = &log->files;
    uint64_t most = s->bytes - SEGMENT_TAIL;
    if (files->read(files->context, s->file, most, tail, sizeof tail, &why) < 0)
        return false;
    uint64_t at = load_u64(tail);
    if (load_u64(tail + 8) != s->salt || at < SEGMENT_HEAD || at >= most ||
        files->read(files->context, s->file, at, head, sizeof head, &why) < 0)
        return false;
    *limit = at + log_record_size(load_u32(head));
    return *limit <= most;
}

/* ATOLL_EIO of one place is damage, that of all is none. */
static int head_unread(struct ledger_log *log, int file, uint64_t bytes, const char *name,
                       struct error *e)
{
    struct buffer all = {0};
    struct log_unread unread;
    if (bytes > SEGMENT_BYTES_MAX)
        return error_set(e, ATOLL_ECORRUPT, "%s is too long", name);
    int rc = log_file_load(log, file, bytes, &all, &unread, e);
    buffer_free(&all);
    return rc < 0 ? rc
                  : error_set(e, ATOLL_ECORRUPT, "the disk does not give the head of %s", name);
}

/* Opens the file of the segment and reads its head. ATOLL_ECORRUPT: no segment. */
static int segment_see(struct opening *o, const struct log_name *name, struct error *e)
{
    struct ledger_log *log = o->log;
    const struct log_files *files = &log->files;
    uint8_t head[SEGMENT_HEAD];
    char text[LOG_NAME_MAX];
    uint64_t bytes;
    struct segment *s = log_segment_make(log);
    if (!s)
        return no_memory(e);
    log->segments[log->segment_count++] = s;
    segment_name(name->serial, name->position, text);
    int rc = files->open(files->context, text, false, e);
    if (rc < 0)
        return rc;
    s->file = rc;
    s->named = true;
    rc = files->size(files->context, s->file, &bytes, e);
    if (rc == 0 && bytes < SEGMENT_HEAD)
        rc = error_set(e, ATOLL_ECORRUPT, "%s is too short", text);
    if (rc == 0)
        rc = files->read(files->context, s->file, 0, head, sizeof head, e);
    if (rc == -ATOLL_EIO)
        rc = head_unread(log, s->file, bytes, text, e);
    if (rc == 0)
        rc = segment_head_read(s, head, log->config.genesis, text, e);
    if (rc == 0 && (s->serial != name->serial || s->position != name->position ||
                    s->bytes != bytes || log->end != (s->jumped ? s->jumped_from : s->position)))
        rc = error_set(e, ATOLL_ECORRUPT, "the head of %s contradicts its name or its place", text);
    if (rc == 0 && s->jumped) {
        s->origin = malloc(sizeof *s->origin);
        if (!s->origin)
            return no_memory(e);
        *s->origin = log->frontier;
        log->end = s->position;
        log->frontier = s->frontier;
    }
    return rc;
}

/* Where the records of segment i must end: the next one's head says so. 0: that is damaged. */
static int segment_limit(struct opening *o, size_t i, uint64_t *limit, struct error *e)
{
    const struct log_files *files = &o->log->files;
    struct segment next = {.file = -1};
    uint8_t head[SEGMENT_HEAD];
    char text[LOG_NAME_MAX];
    struct error why;
    segment_name(o->segments[i + 1].serial, o->segments[i + 1].position, text);
    uint64_t size;
    *limit = 0;
    int file = files->open(files->context, text, false, e);
    if (file < 0)
        return file;
    int rc = files->size(files->context, file, &size, e);
    if (rc == 0 && size >= SEGMENT_HEAD)
        rc = files->read(files->context, file, 0, head, sizeof head, e);
    if (rc == -ATOLL_EIO)
        rc = head_unread(o->log, file, size, text, e);
    files->close(files->context, file);
    if (rc == -ATOLL_ECORRUPT)
        return 0; /* as if it were damaged, which is found out when it is its turn */
    if (rc == 0 && size >= SEGMENT_HEAD &&
        segment_head_read(&next, head, o->log->config.genesis, text, &why) == 0)
        *limit = next.previous_end;
    return rc;
}

/* Segment i is good up to *at and no further. */
static void segment_break(struct opening *o, size_t i, uint64_t at, const char *why)
{
    struct segment *s = o->log->segments[i];
    damage_note(o, "segment %llu is damaged at byte %llu: %s", (unsigned long long)s->serial,
                (unsigned long long)at, why);
    o->found->missing = o->log->end;
    o->end_at = at;
    o->set_aside = i + 1;
}

/* Whether good records lie behind byte `at`, where none begins. */
static bool good_behind(const struct segment *s, const struct buffer *bytes, uint64_t at)
{
    /* Closed, but the next one never got its name: it goes on. */
    struct log_record r;
    if (log_record_read(bytes->data + at, bytes->len - at, s->salt, &r) &&
        r.kind == LOG_RECORD_CLOSE)
        at += log_record_size(r.len);
    return log_record_search(bytes->data, bytes->len, at, s->salt, NULL);
}

/* The end of the last segment: whole, torn, or damaged. */
static void last_judge(struct opening *o, size_t i, const struct buffer *bytes,
                       const struct log_unread *unread, uint64_t at)
{
    struct segment *s = o->log->segments[i];
    const struct state_slot *state = &o->log->state;
    bool marked = s->serial < state->segment_serial ||
                  (s->serial == state->segment_serial && at < state->segment_offset);
    o->end_at = at;
    o->set_aside = i + 1;
    if (marked)
        segment_break(o, i, at, "bytes that were on the disk for certain");
    else if (unread->to > at)
        segment_break(o, i, at, "the disk does not give what follows");
    else if (good_behind(s, bytes, at))
        segment_break(o, i, at, "records behind it are good");
    else
        o->torn = !log_bytes_blank(bytes, at);
    if (o->found->corrupt)
        log_marks_note(o->log, bytes, at, s->salt);
}

/* Reads the records of a segment, from *at on: of the last one all that may be any. */
static int segment_follow(struct opening *o, struct segment *s, uint64_t limit, bool last,
                          struct buffer *bytes, struct log_unread *unread, uint64_t *at,
                          struct error *e)
{
    int rc = log_file_load(o->log, s->file, limit, bytes, unread, e);
    return rc < 0 ? rc : segment_scan(o->log, s, bytes, limit, last, at, e);
}

static int last_examine(struct opening *o, size_t i, struct buffer *bytes, struct error *e)
{
    struct ledger_log *log = o->log;
    struct segment *s = log->segments[i];
    struct log_unread unread;
    uint64_t limit = s->bytes - SEGMENT_TAIL, at = SEGMENT_HEAD;
    int rc = segment_follow(o, s, limit, true, bytes, &unread, &at, e);
    /* Beside a writer, what is bad before something good may have been read before it was there. */
    for (int reads = 1; rc == 0 && log->config.read_only && reads < READS && unread.to == 0 &&
                        good_behind(s, bytes, at);
         reads++)
        rc = segment_follow(o, s, limit, true, bytes, &unread, &at, e);
    if (rc == 0)
        last_judge(o, i, bytes, &unread, at);
    return rc;
}

/* Segment i, whose records end at `limit` (0: nobody can say where), and the ledger at `end`. */
static int closed_examine(struct opening *o, size_t i, uint64_t limit, uint64_t end,
                          struct buffer *bytes, struct error *e)
{
    struct ledger_log *log = o->log;
    struct segment *s = log->segments[i];
    struct log_unread unread;
    uint64_t most = s->bytes - SEGMENT_TAIL, at = SEGMENT_HEAD;
    bool known = limit >= SEGMENT_HEAD && limit <= most;
    /* What the caller does not want checked is not read. */
    if (end <= log->config.check_from && known && segment_glance(log, s, limit))
        return 0;
    limit = known ? limit : most;
    int rc = segment_follow(o, s, limit, false, bytes, &unread, &at, e);
    if (rc < 0 || (known && at == limit))
        return rc;
    segment_break(o, i, at,
                  unread.to > at ? "the disk does not give what follows" : "a record is bad");
    log_marks_note(log, bytes, at, s->salt);
    return 0;
}

static int segment_examine(struct opening *o, size_t i, struct buffer *bytes, struct error *e)
{
    struct ledger_log *log = o->log;
    const struct log_part_of *part = log->config.part;
    uint64_t limit;
    if (i + 1 == o->count) { /* the last one is open, but for that of a part that is whole */
        if (!part || !closed_limit(log, log->segments[i], &limit))
            return last_examine(o, i, bytes, e);
        int rc = closed_examine(o, i, limit, part->until, bytes, e);
        o->end_at = log->segments[i]->used;
        o->set_aside = i + 1;
        return rc;
    }
    int rc = segment_limit(o, i, &limit, e);
    return rc < 0 ? rc : closed_examine(o, i, limit, o->segments[i + 1].position, bytes, e);
}

/* All before segment i is good; it and what follows is not. */
static int segment_refuse(struct opening *o, size_t i, const char *why)
{
    struct ledger_log *log = o->log;
    if (log->segment_count > i) {
        struct segment *s = log->segments[--log->segment_count];
        log_segment_shut(log, s);
        segment_destroy(s);
    }
    damage_note(o, "%s", why);
    o->found->missing = log->end;
    o->end_at = i > 0 ? log->segments[i - 1]->used : 0;
    o->set_aside = i;
    return 0;
}

int log_segments_examine(struct opening *o, struct error *e)
{
    struct ledger_log *log = o->log;
    struct buffer bytes = {0};
    int rc = 0;
    for (size_t i = 0; i < o->count && !o->found->corrupt && rc == 0; i++) {
        if (i >= 2) /* those that may be written to stay open */
            log_segment_shut(log, log->segments[i - 2]);
        bool follows = o->segments[i].serial == (i == 0 ? 1 : o->segments[i - 1].serial + 1);
        rc = follows ? segment_see(o, &o->segments[i], e)
                     : error_set(e, ATOLL_ECORRUPT, "a segment before number %llu is missing",
                                 (unsigned long long)o->segments[i].serial);
        if (rc == 0)
            rc = segment_examine(o, i, &bytes, e);
        else if (rc == -ATOLL_ECORRUPT)
            rc = segment_refuse(o, i, e->text);
    }
    uint64_t last = log->segment_count > 0 ? log->segments[log->segment_count - 1]->serial : 0;
    if (rc == 0 && !o->found->corrupt && last < log->state.segment_serial) {
        damage_note(o, "segments from number %llu on are missing", (unsigned long long)last + 1);
        o->found->missing = log->end;
    }
    if (rc == 0 && o->found->corrupt)
        rc = log_marks_rescue(o, &bytes, e);
    buffer_free(&bytes);
    return rc;
}
