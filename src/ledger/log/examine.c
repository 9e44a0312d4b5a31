/*
 * Looking at the files of a log: what of them is whole, what was cut off, what is damaged
 * (segment.h and vote_log.h say which is which). Nothing is changed here.
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

static int segment_load(struct ledger_log *log, struct segment *s, uint64_t len,
                        struct buffer *bytes, struct error *e)
{
    bytes->len = 0;
    if (!buffer_append(bytes, NULL, (size_t)len))
        return no_memory(e);
    return log->files.read(log->files.context, s->file, 0, bytes->data, (size_t)len, e);
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

/* Opens the file of the segment and reads its head. ATOLL_ECORRUPT: no segment. */
static int segment_see(struct opening *o, const struct found_name *name, struct error *e)
{
    struct ledger_log *log = o->log;
    const struct log_files *files = &log->files;
    uint8_t head[SEGMENT_HEAD];
    char text[LOG_NAME_MAX];
    uint64_t bytes;
    struct segment *s = log_segment_add(log);
    if (!s)
        return no_memory(e);
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
    if (rc == 0)
        rc = segment_head_read(s, head, log->config.genesis, text, e);
    if (rc == 0 && (s->serial != name->serial || s->position != name->position ||
                    s->bytes != bytes || log->end != (s->jumped ? s->jumped_from : s->position)))
        rc = error_set(e, ATOLL_ECORRUPT, "the head of %s contradicts its name or its place", text);
    if (rc == 0 && s->jumped) {
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
    files->close(files->context, file);
    if (rc == 0 && size >= SEGMENT_HEAD &&
        segment_head_read(&next, head, o->log->config.genesis, text, &why) == 0)
        *limit = next.previous_end;
    return rc;
}

/* Notes SIGNED marks wherever they lie in bytes that are otherwise lost. */
static void signed_salvage(struct ledger_log *log, const uint8_t *bytes, uint64_t len,
                           uint64_t from, uint64_t salt)
{
    struct log_record r;
    for (uint64_t at = from; at + LOG_RECORD_HEAD <= len; at += 8)
        if (load_u16(bytes + at + 4) == LEDGER_RECORD_SIGNED &&
            load_u32(bytes + at) == LEDGER_SIGNED_LEN &&
            log_record_read(bytes + at, len - at, salt, &r))
            log_signed_note(log, r.payload);
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

static bool all_zero(const uint8_t *bytes, uint64_t len)
{
    return len == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, (size_t)len - 1) == 0);
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
static void last_judge(struct opening *o, size_t i, const struct buffer *bytes, uint64_t at)
{
    struct segment *s = o->log->segments[i];
    const struct state_slot *state = &o->log->state;
    bool marked = s->serial < state->segment_serial ||
                  (s->serial == state->segment_serial && at < state->segment_offset);
    o->end_at = at;
    o->set_aside = i + 1;
    if (marked)
        segment_break(o, i, at, "bytes that were on the disk for certain");
    else if (good_behind(s, bytes, at))
        segment_break(o, i, at, "records behind it are good");
    else
        o->torn = !all_zero(bytes->data + at, bytes->len - at);
    if (o->found->corrupt)
        signed_salvage(o->log, bytes->data, bytes->len, at, s->salt);
}

/* Reads the records of a segment, from *at on. */
static int segment_follow(struct opening *o, struct segment *s, uint64_t limit, bool last,
                          struct buffer *bytes, uint64_t *at, struct error *e)
{
    int rc = segment_load(o->log, s, s->bytes - SEGMENT_TAIL, bytes, e);
    return rc < 0 ? rc : segment_scan(o->log, s, bytes, limit, last, at, e);
}

static int segment_examine(struct opening *o, size_t i, struct buffer *bytes, struct error *e)
{
    struct ledger_log *log = o->log;
    struct segment *s = log->segments[i];
    bool last = i + 1 == o->count;
    uint64_t limit = s->bytes - SEGMENT_TAIL, at = SEGMENT_HEAD;
    int rc = last ? 0 : segment_limit(o, i, &limit, e);
    if (rc < 0)
        return rc;
    bool known = limit >= SEGMENT_HEAD && limit <= s->bytes - SEGMENT_TAIL;
    /* What the caller does not want checked is not read. */
    bool old = !last && i + 2 <= o->count && o->segments[i + 1].position <= log->config.check_from;
    if (old && known && segment_glance(log, s, limit))
        return 0;
    if (!known)
        limit = s->bytes - SEGMENT_TAIL;
    rc = segment_follow(o, s, limit, last, bytes, &at, e);
    /* Beside a writer, what is bad before something good may have been read before it was there. */
    for (int reads = 1;
         rc == 0 && last && log->config.read_only && reads < READS && good_behind(s, bytes, at);
         reads++)
        rc = segment_follow(o, s, limit, last, bytes, &at, e);
    if (rc < 0)
        return rc;
    if (last) {
        last_judge(o, i, bytes, at);
    } else if (!known || at != limit) {
        segment_break(o, i, at, "a record is bad");
        signed_salvage(log, bytes->data, bytes->len, at, s->salt);
    }
    return 0;
}

static int file_salvage(struct opening *o, const char *name, struct buffer *bytes, struct error *e)
{
    struct ledger_log *log = o->log;
    const struct log_files *files = &log->files;
    struct segment s = {.file = -1};
    struct error why;
    s.file = files->open(files->context, name, false, &why);
    if (s.file < 0)
        return 0;
    uint64_t size = 0;
    int rc = files->size(files->context, s.file, &size, &why);
    if (rc == 0 && (size < SEGMENT_HEAD + SEGMENT_TAIL || size > SEGMENT_BYTES_MAX))
        rc = -ATOLL_ECORRUPT;
    if (rc == 0)
        rc = segment_load(log, &s, size, bytes, e);
    /* The salt stands in the head and at the end. */
    if (rc == 0 && segment_head_read(&s, bytes->data, log->config.genesis, name, &why) < 0)
        s.salt = load_u64(bytes->data + size - 8);
    if (rc == 0)
        signed_salvage(log, bytes->data, bytes->len, SEGMENT_HEAD, s.salt);
    files->close(files->context, s.file);
    return rc == -ATOLL_ENOMEM ? rc : 0;
}

void log_aside_name(const struct found_name *of, char name[static LOG_NAME_MAX])
{
    char plain[LOG_NAME_MAX];
    segment_name(of->serial, of->position, plain);
    snprintf(name, LOG_NAME_MAX, LOG_DAMAGED "%.48s", plain);
}

/* Marks of what was signed in segments that are set aside now, or were when this was tried last. */
static int rest_salvage(struct opening *o, struct buffer *bytes, struct error *e)
{
    char name[LOG_NAME_MAX];
    int rc = 0;
    for (size_t i = o->set_aside; i < o->count && rc == 0; i++) {
        segment_name(o->segments[i].serial, o->segments[i].position, name);
        rc = file_salvage(o, name, bytes, e);
    }
    for (size_t i = 0; i < o->aside.count && rc == 0; i++) {
        log_aside_name(&o->aside.names[i], name);
        rc = file_salvage(o, name, bytes, e);
    }
    return rc;
}

/* All before segment i is good; it and what follows is not. */
static int segment_refuse(struct opening *o, size_t i, const char *why)
{
    struct ledger_log *log = o->log;
    if (log->segment_count > i) {
        struct segment *s = log->segments[--log->segment_count];
        log_segment_shut(log, s);
        free(s);
    }
    damage_note(o, "%s", why);
    o->found->missing = log->end;
    o->end_at = i > 0 ? log->segments[i - 1]->used : 0;
    o->set_aside = i;
    return 0;
}

/*
 * Whether the marks of what was signed are all there. The newest segment begins with all before it,
 * so it is enough that this one is whole: to its end, which is beyond the state file's mark, and
 * nothing good behind that. Otherwise the replica cannot know what it signed last.
 */
static int marks_judge(struct opening *o, struct buffer *bytes, struct error *e)
{
    struct ledger_log *log = o->log;
    const struct log_files *files = &log->files;
    const struct state_slot *state = &log->state;
    struct segment s = {.file = -1};
    struct log_record r;
    struct error why;
    char name[LOG_NAME_MAX];
    uint64_t size = 0;
    o->marks_lost = true;
    if (o->count == 0 || o->segments[o->count - 1].serial < state->segment_serial)
        return 0;
    const struct found_name *newest = &o->segments[o->count - 1];
    segment_name(newest->serial, newest->position, name);
    s.file = files->open(files->context, name, false, &why);
    if (s.file < 0)
        return 0;
    int rc = files->size(files->context, s.file, &size, &why);
    if (rc == 0 && (size < SEGMENT_HEAD + SEGMENT_TAIL || size > SEGMENT_BYTES_MAX))
        rc = -ATOLL_ECORRUPT;
    if (rc == 0)
        rc = segment_load(log, &s, size, bytes, e);
    if (rc == 0 && segment_head_read(&s, bytes->data, log->config.genesis, name, &why) == 0 &&
        s.bytes == size) {
        uint64_t at = SEGMENT_HEAD;
        while (log_record_read(bytes->data + at, size - at, s.salt, &r))
            at += log_record_size(r.len);
        bool marked = newest->serial == state->segment_serial && at < state->segment_offset;
        o->marks_lost = marked || log_record_search(bytes->data, size, at, s.salt, NULL);
    }
    files->close(files->context, s.file);
    return rc == -ATOLL_ENOMEM ? rc : 0;
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
        rc = rest_salvage(o, &bytes, e);
    if (rc == 0 && o->found->corrupt)
        rc = marks_judge(o, &bytes, e);
    buffer_free(&bytes);
    return rc;
}

/* ---- the vote log ---- */

__attribute__((format(printf, 2, 3))) static void votes_damaged(struct opening *o,
                                                                const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(o->found->what, sizeof o->found->what, format, arguments);
    va_end(arguments);
    o->found->votes_damaged = true;
}

static int votes_scan(struct opening *o, const struct buffer *bytes, struct error *e)
{
    struct vote_log *v = &o->log->votes;
    const struct state_slot *state = &o->log->state;
    struct log_record r;
    uint64_t at = VOTE_HEAD;
    while (at < bytes->len && log_record_read(bytes->data + at, bytes->len - at, v->salt, &r) &&
           r.kind >= LEDGER_RECORD_CERTIFICATE && r.kind <= LEDGER_RECORD_NEW_VIEW &&
           vote_payload_fits(r.kind, r.len)) {
        if (!vote_log_note(v, r.kind, r.payload, r.len))
            return no_memory(e);
        at += log_record_size(r.len);
    }
    v->used = at;
    uint64_t vouched = 0;
    log_record_search(bytes->data, bytes->len, at, v->salt, &vouched);
    if ((v->generation == state->vote_generation && at < state->vote_offset) || vouched > at)
        votes_damaged(o, "the vote log, generation %llu, is damaged at byte %llu",
                      (unsigned long long)v->generation, (unsigned long long)at);
    o->votes_torn = !all_zero(bytes->data + at, bytes->len - at);
    return 0;
}

/* All of the newest vote log, which is open. */
static int votes_read(struct opening *o, const char *name, struct buffer *bytes, struct error *e)
{
    struct ledger_log *log = o->log;
    const struct log_files *files = &log->files;
    uint64_t size;
    int rc = files->size(files->context, log->votes.file, &size, e);
    if (rc == 0 && (size < VOTE_HEAD || size > VOTE_BYTES_MAX)) {
        votes_damaged(o, "%s has %llu bytes", name, (unsigned long long)size);
        return 0;
    }
    if (rc == 0 && !buffer_append(bytes, NULL, (size_t)size))
        rc = no_memory(e);
    if (rc == 0)
        rc = files->read(files->context, log->votes.file, 0, bytes->data, bytes->len, e);
    if (rc < 0)
        return rc;
    rc = vote_log_head_read(&log->votes, bytes->data, log->config.genesis, name, e);
    if (rc == -ATOLL_ECORRUPT)
        votes_damaged(o, "%s", e->text);
    else if (rc == 0 && (log->votes.generation != o->votes || log->votes.bytes != size))
        votes_damaged(o, "the head of %s contradicts its name or size", name);
    return rc == -ATOLL_ECORRUPT ? 0 : rc;
}

int log_votes_examine(struct opening *o, struct error *e)
{
    struct ledger_log *log = o->log;
    struct vote_log *v = &log->votes;
    const struct log_files *files = &log->files;
    struct buffer bytes = {0};
    char name[LOG_NAME_MAX];
    if (o->votes == 0 || o->votes < log->state.vote_generation)
        return error_set(
            e, ATOLL_ECORRUPT,
            "the vote log is missing, and nobody else has it: this replica must return "
            "under a new key");
    vote_log_name(o->votes, name);
    int rc = files->open(files->context, name, false, e);
    if (rc < 0)
        return rc;
    v->file = rc;
    v->used = VOTE_HEAD;
    rc = votes_read(o, name, &bytes, e);
    if (rc == 0 && !o->found->votes_damaged)
        rc = votes_scan(o, &bytes, e);
    v->generation = o->votes;
    v->pending_at = v->synced = v->used;
    buffer_free(&bytes);
    return rc;
}
