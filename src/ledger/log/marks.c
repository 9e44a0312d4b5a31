/*
 * Marks of what was signed, in a log whose segments are damaged (opening.h): they are looked for
 * also in what is set aside, because a replica that forgets one could sign against it.
 */
#include "ledger/log/opening.h"

#include <stdio.h>

void log_marks_note(struct ledger_log *log, const struct buffer *bytes, uint64_t from,
                    uint64_t salt)
{
    struct log_record r;
    for (uint64_t at = from; at + LOG_RECORD_HEAD <= bytes->len; at += 8)
        if (load_u16(bytes->data + at + 4) == LEDGER_RECORD_SIGNED &&
            load_u32(bytes->data + at) == LEDGER_SIGNED_LEN &&
            log_record_read(bytes->data + at, bytes->len - at, salt, &r))
            log_signed_note(log, r.payload);
}

/* All of a segment's file, as far as the disk gives it. False: there is nothing to read. */
static bool segment_read_all(struct ledger_log *log, const char *name, struct buffer *bytes,
                             struct log_unread *unread, int *rc)
{
    const struct log_files *files = &log->files;
    struct error why;
    uint64_t size = 0;
    int file = files->open(files->context, name, false, &why);
    *rc = 0;
    if (file < 0)
        return false;
    int read = files->size(files->context, file, &size, &why);
    if (read == 0 && (size < SEGMENT_HEAD + SEGMENT_TAIL || size > SEGMENT_BYTES_MAX))
        read = -ATOLL_ECORRUPT;
    if (read == 0)
        read = log_file_load(log, file, size, bytes, unread, &why);
    files->close(files->context, file);
    *rc = read == -ATOLL_ENOMEM ? read : 0;
    return read == 0;
}

static int file_salvage(struct opening *o, const char *name, struct buffer *bytes, struct error *e)
{
    struct segment s = {.file = -1};
    struct log_unread unread;
    struct error why;
    int rc;
    if (!segment_read_all(o->log, name, bytes, &unread, &rc))
        return rc < 0 ? error_set(e, ATOLL_ENOMEM, "no memory to look for marks in %s", name) : 0;
    /* The salt stands in the head and at the end. */
    if (segment_head_read(&s, bytes->data, o->log->config.genesis, name, &why) < 0)
        s.salt = load_u64(bytes->data + bytes->len - 8);
    log_marks_note(o->log, bytes, SEGMENT_HEAD, s.salt);
    return 0;
}

void log_aside_name(const struct log_name *of, char name[static LOG_NAME_MAX])
{
    char plain[LOG_NAME_MAX];
    segment_name(of->serial, of->position, plain);
    snprintf(name, LOG_NAME_MAX, LOG_DAMAGED "%.48s", plain);
}

static int rest_salvage(struct opening *o, struct buffer *bytes, struct error *e)
{
    char name[LOG_NAME_MAX];
    int rc = 0;
    for (size_t i = o->set_aside; i < o->count && rc == 0; i++) {
        segment_name(o->segments[i].serial, o->segments[i].position, name);
        rc = file_salvage(o, name, bytes, e);
    }
    for (size_t i = 0; i < o->aside.count && rc == 0; i++) {
        log_aside_name(&o->aside.list[i], name);
        rc = file_salvage(o, name, bytes, e);
    }
    return rc;
}

/* The records of the newest segment, all of which are read: whether marks may be missing. */
static bool newest_lacks(const struct opening *o, const struct log_name *newest,
                         const struct buffer *bytes, const struct log_unread *unread)
{
    const struct state_slot *state = &o->log->state;
    struct segment s = {.file = -1};
    struct log_record r;
    struct error why;
    uint64_t at = SEGMENT_HEAD;
    if (segment_head_read(&s, bytes->data, o->log->config.genesis, "", &why) < 0 ||
        s.bytes != bytes->len)
        return true;
    while (log_record_read(bytes->data + at, bytes->len - at, s.salt, &r))
        at += log_record_size(r.len);
    bool marked = newest->serial == state->segment_serial;
    if (marked && state->clean && at == state->segment_offset)
        return false; /* it ended there when the log was closed */
    return (marked && at < state->segment_offset) || unread->to > at ||
           log_record_search(bytes->data, bytes->len, at, s.salt, NULL);
}

/*
 * Whether the marks of what was signed are all there. The newest segment begins with all before it,
 * so it is enough that this one is whole: to its end, which is beyond the state file's mark, and
 * nothing good behind that, nor anything that the disk does not give. Otherwise the replica cannot
 * know what it signed last.
 */
static int marks_judge(struct opening *o, struct buffer *bytes, struct error *e)
{
    struct log_unread unread;
    char name[LOG_NAME_MAX];
    int rc;
    o->marks_lost = true;
    if (o->count == 0 || o->segments[o->count - 1].serial < o->log->state.segment_serial)
        return 0;
    const struct log_name *newest = &o->segments[o->count - 1];
    segment_name(newest->serial, newest->position, name);
    if (segment_read_all(o->log, name, bytes, &unread, &rc))
        o->marks_lost = newest_lacks(o, newest, bytes, &unread);
    return rc < 0 ? error_set(e, ATOLL_ENOMEM, "no memory to look for marks in %s", name) : 0;
}

int log_marks_rescue(struct opening *o, struct buffer *bytes, struct error *e)
{
    if (o->log->config.part) /* nothing in it was signed */
        return 0;
    int rc = rest_salvage(o, bytes, e);
    return rc < 0 ? rc : marks_judge(o, bytes, e);
}
