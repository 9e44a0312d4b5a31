/* Looking at the vote log: what of it is whole, what was cut off, what is damaged (vote_log.h says
 * which is which; opening.h). Nothing is changed here. */
#define _GNU_SOURCE
#include "ledger/log/opening.h"

#include <stdarg.h>
#include <stdio.h>

static int no_memory(struct error *e)
{
    return error_set(e, ATOLL_ENOMEM, "no memory to open the log");
}

__attribute__((format(printf, 2, 3))) static void votes_damaged(struct opening *o,
                                                                const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(o->found->what, sizeof o->found->what, format, arguments);
    va_end(arguments);
    o->found->votes_damaged = true;
}

static int votes_scan(struct opening *o, const struct buffer *bytes,
                      const struct log_unread *unread, struct error *e)
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
    if ((v->generation == state->vote_generation && at < state->vote_offset) || vouched > at ||
        unread->to > at)
        votes_damaged(o, "the vote log, generation %llu, is damaged at byte %llu",
                      (unsigned long long)v->generation, (unsigned long long)at);
    o->votes_torn = !log_bytes_blank(bytes, at);
    return 0;
}

/* All of the newest vote log, which is open. */
static int votes_read(struct opening *o, const char *name, struct buffer *bytes,
                      struct log_unread *unread, struct error *e)
{
    struct ledger_log *log = o->log;
    const struct log_files *files = &log->files;
    uint64_t size;
    int rc = files->size(files->context, log->votes.file, &size, e);
    if (rc == 0 && (size < VOTE_HEAD || size > VOTE_BYTES_MAX)) {
        votes_damaged(o, "%s has %llu bytes", name, (unsigned long long)size);
        return 0;
    }
    if (rc == 0)
        rc = log_file_load(log, log->votes.file, size, bytes, unread, e);
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
    struct log_unread unread;
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
    rc = votes_read(o, name, &bytes, &unread, e);
    if (rc == 0 && !o->found->votes_damaged)
        rc = votes_scan(o, &bytes, &unread, e);
    v->generation = o->votes;
    v->pending_at = v->synced = v->used;
    buffer_free(&bytes);
    return rc;
}
