/*
 * Opening a log: what is there, what of it is whole, and going on behind that (segment.h says what
 * may be cut off and what counts as damage); and replaying it.
 *
 * Nothing is changed before everything was looked at. Then, in this order: damaged segments are set
 * aside, torn ends are cleared, a new segment is begun if the last one cannot go on, and the state
 * file counts the start. A stop in between leaves a log that is opened the same way again.
 */
#define _GNU_SOURCE
#include "base/file.h"
#include "base/random.h"
#include "ledger/log/core.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAMES_MAX 1000000
#define BOOT_ID   "/proc/sys/kernel/random/boot_id"
#define DAMAGED   "damaged-"

struct found_name {
    uint64_t serial, position;
};

struct name_list {
    struct found_name *names;
    size_t count, capacity;
};

struct opening {
    struct ledger_log *log;
    struct ledger_log_found *found;
    struct found_name *segments; /* those of `there` */
    size_t count;
    struct name_list there, aside;
    uint64_t votes;     /* generation of the newest vote log; 0: none */
    uint64_t votes_old; /* of one that was to be removed */
    bool state_there, segment_new, votes_new, no_memory;
    /* The last segment that is whole to some point, and the point. */
    uint64_t end_at;
    bool torn;
    size_t set_aside; /* index of the first segment that is only damage */
};

static int no_memory(struct error *e)
{
    return error_set(e, ATOLL_ENOMEM, "no memory to open the log");
}

/* ---- which files there are ---- */

static bool name_add(struct name_list *list, uint64_t serial, uint64_t position)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 64;
        struct found_name *names = realloc(list->names, capacity * sizeof *names);
        if (!names || list->count == NAMES_MAX) {
            list->names = names ? names : list->names;
            return false;
        }
        list->names = names;
        list->capacity = capacity;
    }
    list->names[list->count++] = (struct found_name){serial, position};
    return true;
}

static void name_see(void *context, const char *name)
{
    struct opening *o = context;
    uint64_t serial, position;
    o->state_there |= strcmp(name, STATE_FILE) == 0;
    o->segment_new |= strcmp(name, SEGMENT_NEW) == 0;
    o->votes_new |= strcmp(name, VOTE_NEW) == 0;
    if (vote_log_name_read(name, &serial)) {
        o->votes_old = serial > o->votes ? o->votes : serial;
        o->votes = serial > o->votes ? serial : o->votes;
    }
    if (segment_name_read(name, &serial, &position))
        o->no_memory |= !name_add(&o->there, serial, position);
    else if (strncmp(name, DAMAGED, strlen(DAMAGED)) == 0 &&
             segment_name_read(name + strlen(DAMAGED), &serial, &position))
        o->no_memory |= !name_add(&o->aside, serial, position);
}

static int by_serial(const void *a, const void *b)
{
    const struct found_name *x = a, *y = b;
    return (x->serial > y->serial) - (x->serial < y->serial);
}

static int names_see(struct opening *o, struct error *e)
{
    const struct log_files *files = &o->log->files;
    int rc = files->list(files->context, name_see, o, e);
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

static int entry_take(struct ledger_log *log, const struct log_record *r, struct error *e)
{
    struct merkle_hash leaf =
        ledger_entry_leaf((enum ledger_entry_type)r->entry_type, slice_of(r->payload, r->len));
    if (r->entry_type != LEDGER_ENTRY_TX)
        log_frontier_keep(log);
    int rc = merkle_frontier_append(&log->frontier, &leaf, e);
    log->end += rc == 0;
    return rc;
}

static int rollback_take(struct ledger_log *log, const struct segment *s, uint64_t position,
                         struct error *e)
{
    int rc = log_frontier_back(log, position, e);
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
                         uint64_t at, struct error *e)
{
    switch (r->kind) {
    case LEDGER_RECORD_ENTRY:
        if (r->position != log->end || r->entry_type < LEDGER_ENTRY_GENESIS ||
            r->entry_type > LEDGER_ENTRY_NEW_VIEW)
            return error_set(e, ATOLL_ECORRUPT, "an entry is out of place");
        if (!segment_entry_note(s, r->position, at))
            return no_memory(e);
        return entry_take(log, r, e);
    case LEDGER_RECORD_ROLLBACK:
        if (r->position > log->end)
            return error_set(e, ATOLL_ECORRUPT, "a rollback goes forward");
        s->used = at;
        return rollback_take(log, s, r->position, e);
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

/* Goes through the records up to `limit`; *at becomes the end of the last good one. */
static int segment_scan(struct ledger_log *log, struct segment *s, const struct buffer *bytes,
                        uint64_t limit, uint64_t *at, struct error *e)
{
    struct log_record r;
    struct merkle_frontier end;
    struct error why;
    *at = SEGMENT_HEAD;
    while (*at < limit && log_record_read(bytes->data + *at, limit - *at, s->salt, &r)) {
        uint64_t next = *at + log_record_size(r.len);
        if (r.kind == LOG_RECORD_CLOSE) {
            if (r.position != log->end || next != limit || !segment_close_read(s, &r, *at, &end))
                break;
        } else {
            int rc = record_follow(log, s, &r, *at, &why);
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
                    s->bytes != bytes || s->position != log->end))
        rc = error_set(e, ATOLL_ECORRUPT, "the head of %s contradicts its name or its place", text);
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

static bool zeros(const uint8_t *bytes, uint64_t len)
{
    return len == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, (size_t)len - 1) == 0);
}

/* The end of the last segment: whole, torn, or damaged. */
static void last_judge(struct opening *o, size_t i, const struct buffer *bytes, uint64_t at)
{
    struct segment *s = o->log->segments[i];
    const struct state_slot *state = &o->log->state;
    bool marked = s->serial < state->segment_serial ||
                  (s->serial == state->segment_serial && at < state->segment_offset);
    /* Closed, but the next one never got its name: it goes on. */
    struct log_record r;
    uint64_t behind = at;
    if (log_record_read(bytes->data + at, bytes->len - at, s->salt, &r) &&
        r.kind == LOG_RECORD_CLOSE)
        behind += log_record_size(r.len);
    o->end_at = at;
    o->set_aside = i + 1;
    if (marked)
        segment_break(o, i, at, "bytes that were on the disk for certain");
    else if (log_record_search(bytes->data, bytes->len, behind, s->salt, NULL))
        segment_break(o, i, at, "records behind it are good");
    else
        o->torn = !zeros(bytes->data + at, bytes->len - at);
    if (o->found->corrupt)
        signed_salvage(o->log, bytes->data, bytes->len, at, s->salt);
}

static int segment_examine(struct opening *o, size_t i, struct buffer *bytes, struct error *e)
{
    struct ledger_log *log = o->log;
    struct segment *s = log->segments[i];
    bool last = i + 1 == o->count;
    uint64_t limit = s->bytes - SEGMENT_TAIL, at;
    int rc = last ? 0 : segment_limit(o, i, &limit, e);
    if (rc < 0)
        return rc;
    bool known = limit >= SEGMENT_HEAD && limit <= s->bytes - SEGMENT_TAIL;
    /* What the caller does not want checked is not read. */
    bool old = !last && i + 2 <= o->count && o->segments[i + 1].position <= log->config.check_from;
    if (old && known && segment_glance(log, s, limit))
        return 0;
    rc = segment_load(log, s, s->bytes - SEGMENT_TAIL, bytes, e);
    if (rc == 0)
        rc = segment_scan(log, s, bytes, known ? limit : s->bytes - SEGMENT_TAIL, &at, e);
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

static void aside_name(const struct found_name *of, char name[static LOG_NAME_MAX])
{
    char plain[LOG_NAME_MAX];
    segment_name(of->serial, of->position, plain);
    snprintf(name, LOG_NAME_MAX, DAMAGED "%.48s", plain);
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
        aside_name(&o->aside.names[i], name);
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
        if (s->file >= 0)
            log->files.close(log->files.context, s->file);
        free(s);
    }
    damage_note(o, "%s", why);
    o->found->missing = log->end;
    o->end_at = log->segments[i - 1]->used;
    o->set_aside = i;
    return 0;
}

/* Goes through all segments; afterwards end_at, set_aside, torn and found say what to do. */
static int segments_examine(struct opening *o, struct error *e)
{
    struct ledger_log *log = o->log;
    struct buffer bytes = {0};
    int rc = 0;
    for (size_t i = 0; i < o->count && !o->found->corrupt && rc == 0; i++) {
        bool follows = o->segments[i].serial == (i == 0 ? 1 : o->segments[i - 1].serial + 1);
        rc = follows ? segment_see(o, &o->segments[i], e)
                     : error_set(e, ATOLL_ECORRUPT, "a segment before number %llu is missing",
                                 (unsigned long long)o->segments[i].serial);
        if (rc == 0)
            rc = segment_examine(o, i, &bytes, e);
        else if (rc == -ATOLL_ECORRUPT && i > 0)
            rc = segment_refuse(o, i, e->text);
    }
    uint64_t last = log->segment_count > 0 ? log->segments[log->segment_count - 1]->serial : 0;
    if (rc == 0 && !o->found->corrupt && last < log->state.segment_serial) {
        damage_note(o, "segments from number %llu on are missing", (unsigned long long)last + 1);
        o->found->missing = log->end;
    }
    if (rc == 0 && o->found->corrupt)
        rc = rest_salvage(o, &bytes, e);
    buffer_free(&bytes);
    return rc;
}

/* ---- the vote log ---- */

static int votes_lost(struct error *e)
{
    return error_prefix(e, "the vote log cannot be read, and nobody else has it: this replica must "
                           "return under a new key");
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
    v->used = v->pending_at = v->synced = at;
    uint64_t vouched = 0;
    log_record_search(bytes->data, bytes->len, at, v->salt, &vouched);
    if ((v->generation == state->vote_generation && at < state->vote_offset) ||
        v->generation < state->vote_generation || vouched > at) {
        error_set(e, ATOLL_ECORRUPT, "generation %llu is damaged at byte %llu",
                  (unsigned long long)v->generation, (unsigned long long)at);
        return votes_lost(e);
    }
    return 0;
}

/* Reads the newest vote log and clears a torn end. */
static int votes_open(struct opening *o, struct error *e)
{
    struct ledger_log *log = o->log;
    const struct log_files *files = &log->files;
    struct buffer bytes = {0};
    char name[LOG_NAME_MAX];
    uint64_t size;
    if (o->votes == 0) {
        error_set(e, ATOLL_ECORRUPT, "there is none");
        return votes_lost(e);
    }
    vote_log_name(o->votes, name);
    int rc = files->open(files->context, name, false, e);
    if (rc < 0)
        return rc;
    log->votes.file = rc;
    rc = files->size(files->context, log->votes.file, &size, e);
    if (rc == 0 && (size < VOTE_HEAD || size > 8 * (uint64_t)SEGMENT_BYTES_MAX)) {
        error_set(e, ATOLL_ECORRUPT, "%s has %llu bytes", name, (unsigned long long)size);
        rc = votes_lost(e);
    }
    if (rc == 0 && !buffer_append(&bytes, NULL, (size_t)size))
        rc = no_memory(e);
    if (rc == 0)
        rc = files->read(files->context, log->votes.file, 0, bytes.data, bytes.len, e);
    if (rc == 0) {
        rc = vote_log_head_read(&log->votes, bytes.data, log->config.genesis, name, e);
        if (rc == 0 && (log->votes.generation != o->votes || log->votes.bytes != size))
            rc = error_set(e, ATOLL_ECORRUPT, "the head of %s contradicts its name or size", name);
        if (rc == -ATOLL_ECORRUPT)
            votes_lost(e);
    }
    if (rc == 0)
        rc = votes_scan(o, &bytes, e);
    uint64_t at = log->votes.used;
    if (rc == 0 && !zeros(bytes.data + at, bytes.len - at) && !log->config.read_only) {
        o->found->torn_bytes += bytes.len - at;
        memset(bytes.data + at, 0, (size_t)(bytes.len - at));
        rc = files->write(files->context, log->votes.file, at, bytes.data + at,
                          (size_t)(bytes.len - at), e);
    }
    /* A killed process may have left what only the kernel has. */
    if (rc == 0 && !log->config.read_only)
        rc = files->sync(files->context, log->votes.file, e);
    buffer_free(&bytes);
    return rc;
}

/* ---- going on ---- */

static int segment_aside(struct opening *o, size_t i, struct error *e)
{
    const struct log_files *files = &o->log->files;
    char name[LOG_NAME_MAX], aside[LOG_NAME_MAX];
    segment_name(o->segments[i].serial, o->segments[i].position, name);
    aside_name(&o->segments[i], aside);
    return files->rename(files->context, name, aside, e);
}

static int torn_clear(struct opening *o, struct error *e)
{
    struct ledger_log *log = o->log;
    struct segment *s = log->segments[log->segment_count - 1];
    size_t len = (size_t)(s->bytes - SEGMENT_TAIL - o->end_at);
    uint8_t *nothing = calloc(1, len);
    if (!nothing)
        return no_memory(e);
    int rc = log->files.write(log->files.context, s->file, o->end_at, nothing, len, e);
    free(nothing);
    o->found->torn_bytes += len;
    return rc;
}

/* A new segment behind what is there, in a file of its own. */
static int segment_start(struct ledger_log *log, uint64_t previous_end, struct error *e)
{
    const struct log_files *files = &log->files;
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
    struct segment *s = log->segments[log->segment_count - 1];
    if (rc == 0)
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
    if (*fresh)
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
    if (!fresh && state->async && !state->clean && strcmp(state->machine, log->machine) != 0)
        state->quarantine = true;
    o->found->quarantine = state->quarantine;
    o->found->starts = ++state->starts;
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

static int log_look(struct opening *o, struct error *e)
{
    bool fresh;
    int rc = names_see(o, e);
    if (rc == 0)
        rc = state_read(o, &fresh, e);
    if (rc == 0 && fresh && o->log->config.read_only)
        rc = error_set(e, ATOLL_ENOENT, "there is no log");
    if (rc < 0)
        return rc;
    if (!o->log->config.read_only)
        rc = leftovers_remove(o, e);
    if (rc == 0 && fresh) {
        rc = log_found(o, e);
        return rc < 0 ? rc : start_count(o, true, e);
    }
    if (rc == 0)
        rc = votes_open(o, e);
    if (rc == 0 && o->count == 0)
        rc = error_set(e, ATOLL_ECORRUPT,
                       "the log has no segments: this replica must return under a new key");
    if (rc == 0)
        rc = segments_examine(o, e);
    if (rc < 0)
        return rc;
    o->log->mark_generation = o->log->votes.generation;
    o->log->mark_votes = o->log->written_votes = o->log->votes.used;
    o->log->unwritten = o->log->segment_count - 1;
    if (o->log->config.read_only)
        return 0;
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

/* ---- replaying ---- */

static int segment_replay(struct ledger_log *log, struct segment *s, struct buffer *bytes,
                          ledger_log_visit *visit, void *context, struct error *e)
{
    struct log_record r;
    int file = s->file;
    char name[LOG_NAME_MAX];
    if (file < 0) {
        segment_name(s->serial, s->position, name);
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
    while (log->durable < log->appended && log->failure == 0) {
        if (log->thread_runs) {
            pthread_cond_wait(&log->done, &log->mutex);
            continue;
        }
        pthread_mutex_unlock(&log->mutex);
        log_writer_round(log);
        pthread_mutex_lock(&log->mutex);
    }
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
    for (size_t i = first; i < log->segment_count && rc == 0; i++)
        rc = segment_replay(log, log->segments[i], &bytes, visit, context, e);
    buffer_free(&bytes);
    const struct vote_log *v = &log->votes;
    for (unsigned i = 0; i < v->count && rc == 0; i++)
        rc = visit(context, (enum ledger_record_kind)v->votes[i].kind, 0, 0, v->votes[i].payload,
                   v->votes[i].len, e);
    return rc;
}
