/*
 * The owner's side of the store: opening and closing, handing operations over, and running their
 * callbacks. What the operations do is written in writer.c and reader.c and what those call; their
 * arguments are checked and copied in request.c.
 *
 * An operation is counted as outstanding from here until it is freed, which is after its callback
 * ran and what it wrote is on disk.
 */
#define _GNU_SOURCE
#include "store/request.h"

#include <assert.h>
#include <stdlib.h>

#define READERS_DEFAULT 2u
#define READERS_MAX     64u

/* ---- opening and closing ---- */

static void readers_stop(struct store *s)
{
    mailbox_close(&s->to_readers);
    while (s->reader_count > 0)
        reader_join(&s->readers[--s->reader_count]);
    mailbox_free(&s->to_readers);
    free(s->readers);
}

static int readers_start(struct store *s, uint32_t count, struct error *e)
{
    mailbox_init(&s->to_readers);
    s->readers = calloc(count, sizeof *s->readers);
    int rc = s->readers ? 0 : error_set(e, ATOLL_ENOMEM, "no memory for the store's readers");
    while (rc == 0 && s->reader_count < count) {
        struct reader *r = &s->readers[s->reader_count];
        *r = (struct reader){.environment = &s->environment,
                             .inbox = &s->to_readers,
                             .completions = &s->completions,
                             .counters = &s->reader_counters};
        rc = reader_start(r, e);
        s->reader_count += rc == 0;
    }
    if (rc < 0)
        readers_stop(s);
    return rc;
}

static int threads_start(struct store *s, const struct store_options *options, uint32_t readers,
                         struct error *e)
{
    completions_init(&s->completions, options->wake, options->wake_context);
    int rc = readers_start(s, readers, e);
    if (rc == 0) {
        s->writer.environment = &s->environment;
        s->writer.completions = &s->completions;
        s->writer.readers = &s->to_readers;
        s->writer.clock = options->clock;
        s->writer.clock_context = options->clock_context;
        rc = writer_start(&s->writer, e);
        if (rc < 0)
            readers_stop(s);
    }
    if (rc < 0)
        completions_free(&s->completions);
    return rc;
}

int store_open(const struct store_options *options, struct store **out, struct error *e)
{
    uint32_t readers = options->readers ? options->readers : READERS_DEFAULT;
    *out = NULL;
    if (readers > READERS_MAX)
        return error_set(e, ATOLL_EINVAL, "a store has at most %u readers", READERS_MAX);
    struct store *s = calloc(1, sizeof *s);
    if (!s || !pending_init(&s->pending)) {
        free(s);
        return error_set(e, ATOLL_ENOMEM, "no memory for the store");
    }
    s->gt.ops = &request_ops;
    int rc = environment_open(options->directory,
                              options->map_bytes ? options->map_bytes : STORE_MAP_BYTES_DEFAULT,
                              readers, !options->skip_check, &s->environment, e);
    if (rc == 0) {
        rc = threads_start(s, options, readers, e);
        if (rc < 0)
            environment_close(&s->environment);
    }
    if (rc < 0) {
        pending_free(&s->pending);
        free(s);
        return rc;
    }
    *out = s;
    return 0;
}

int store_close(struct store *s, struct error *e)
{
    if (!s)
        return 0;
    assert(!s->completing);
    s->closing = true;
    mailbox_close(&s->writer.inbox);
    int rc = writer_join(&s->writer, e);
    readers_stop(s);
    store_complete(s);
    assert(s->outstanding == 0 && s->uncalled == 0);
    completions_free(&s->completions);
    environment_close(&s->environment);
    pending_free(&s->pending);
    free(s->watches);
    free(s);
    return rc;
}

struct gt *store_gt(struct store *s)
{
    return &s->gt;
}

/* ---- handing over ---- */

int store_hand_over(struct store *s, struct operation *op, struct gt_callback callback,
                    struct error *e)
{
    if (s->closing || s->outstanding >= STORE_OUTSTANDING_MAX ||
        op->charged > STORE_OUTSTANDING_BYTES_MAX - s->outstanding_bytes) {
        operation_free(op);
        return error_set(e, s->closing ? ATOLL_EBADF : ATOLL_ELIMIT,
                         s->closing ? "the store is being closed"
                                    : "too many operations of the store are outstanding");
    }
    op->callback = callback;
    s->outstanding++;
    s->uncalled++;
    s->outstanding_bytes += op->charged;
    if (operation_changes(op))
        pending_add(&s->pending, op);
    if (operation_reads(op) && !pending_before(&s->pending, op))
        mailbox_put(&s->to_readers, op);
    else
        mailbox_put(&s->writer.inbox, op);
    return 0;
}

static int operation_bare(struct store *s, enum operation_kind kind, struct gt_callback callback,
                          struct error *e)
{
    struct operation *op = operation_create(kind, 0);
    if (!op)
        return error_set(e, ATOLL_ENOMEM, "no memory for an operation of the store");
    return store_hand_over(s, op, callback, e);
}

int store_sync(struct store *s, struct gt_callback callback, struct error *e)
{
    return operation_bare(s, OPERATION_SYNC, callback, e);
}

void store_tick(struct store *s)
{
    struct error ignored; /* without memory the clock is looked at with the next operation */
    operation_bare(s, OPERATION_TICK, (struct gt_callback){0}, &ignored);
}

/* ---- watching ---- */

static enum gt_change_kind change_kind(const struct operation *op)
{
    switch (op->kind) {
    case OPERATION_COMMIT: return GT_CHANGED;
    case OPERATION_APPEND: return GT_APPENDED;
    case OPERATION_CLEAR: return GT_CLEARED;
    case OPERATION_DELETE: return GT_DELETED;
    default: return 0;
    }
}

/* Watchers may watch and unwatch: new ones are behind `count`, old ones stay in place until all
 * were called. */
static void watchers_call(struct store *s, const struct operation *op)
{
    const struct gt_result *r = &op->result;
    enum gt_change_kind kind = change_kind(op);
    if (kind == 0 || r->code < 0 || s->watch_count == 0)
        return;
    const struct gt_change change = {.kind = kind,
                                     .key = {(const char *)op->key, op->key + op->tenant_len + 1,
                                             op->key_len - op->tenant_len - 1},
                                     .size = r->size,
                                     .version = r->version,
                                     .gen = r->gen,
                                     .entries = r->entries};
    uint32_t count = s->watch_count;
    for (uint32_t i = 0; i < count; i++) {
        const struct watch *w = &s->watches[i];
        if (w->watcher && w->prefix_len <= op->key_len &&
            memcmp(w->prefix, op->key, w->prefix_len) == 0)
            w->watcher(w->context, &change);
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < s->watch_count; i++) {
        if (s->watches[i].watcher)
            s->watches[kept++] = s->watches[i];
    }
    s->watch_count = kept;
}

/* ---- callbacks ---- */

static void operation_call(struct store *s, struct operation *op)
{
    s->uncalled--;
    watchers_call(s, op);
    if (op->kind == OPERATION_COMMIT && op->commit.release)
        op->commit.release(op->commit.release_context);
    if (op->callback.done)
        op->callback.done(op->callback.context, &op->result);
    op->called = true;
}

size_t store_complete(struct store *s)
{
    struct operation *released;
    size_t ran = 0;
    assert(!s->completing);
    s->completing = true;
    struct operation *op = completions_take(&s->completions, &released);
    for (struct operation *next; op; op = next, ran++) {
        next = op->next;
        operation_call(s, op);
    }
    for (struct operation *next; released; released = next) {
        next = released->next_released;
        assert(released->called);
        pending_remove(&s->pending, released);
        s->outstanding--;
        s->outstanding_bytes -= released->charged;
        operation_free(released);
    }
    s->completing = false;
    return ran;
}

size_t store_wait(struct store *s)
{
    if (s->uncalled == 0 || !completions_wait(&s->completions, s->uncalled))
        return 0;
    return store_complete(s);
}

void store_counters(struct store *s, struct store_counters *out)
{
    const struct writer_counters *w = &s->writer.counters;
    *out = (struct store_counters){.operations = w->operations,
                                   .reads = s->reader_counters.reads,
                                   .commits = w->commits,
                                   .commit_ns = w->commit_ns,
                                   .commits_failed = w->commits_failed,
                                   .map_grown = w->map_grown,
                                   .outstanding = s->outstanding,
                                   .waiting = completions_waiting(&s->completions)};
    pthread_rwlock_rdlock(&s->environment.gate);
    out->map_bytes = s->environment.map_bytes;
    if (!s->environment.lost)
        out->used_bytes = out->map_bytes - environment_room(&s->environment);
    pthread_rwlock_unlock(&s->environment.gate);
}
