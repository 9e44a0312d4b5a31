/*
 * The writer; see writer.h.
 *
 * Group commit. The first write begins a batch; it is synchronised after WRITER_BATCH_NS, after
 * WRITER_BATCH_OPERATIONS, or, when somebody waits for the disk, as soon as nothing more is in the
 * inbox. An operation without GT_DURABLE is acknowledged when it was carried out in the batch's
 * transaction; one with it when the batch is on disk.
 *
 * When a transaction fails. LMDB voids a transaction as a whole when the map or the disk is full.
 * What was acknowledged must not be lost by that, so the batch keeps a log of its writes and is
 * written again: at once into a larger map, or every WRITER_RETRY_NS onto a full disk. Meanwhile
 * reads see it, and whatever would change something is refused. Operations of a failed batch that
 * wait for the disk fail; when nothing of the batch was acknowledged it is dropped, so they have
 * not taken effect; otherwise they are kept with the rest, because others may have built on them.
 * The same log takes back what an operation wrote before it was refused.
 */
#define _GNU_SOURCE
#include "store/writer.h"

#include "base/clock.h"
#include "store/object.h"
#include "store/reader.h"
#include "store/table.h"

#include <assert.h>
#include <stdlib.h>

#define ALONE_SLACK (16u << 20)
#define PUBLISH_AT  64u /* the owner hears of finished operations in groups */

static uint64_t now_ns(void)
{
    return (uint64_t)clock_monotonic_ns();
}

static uint64_t writer_clock(const struct writer *w)
{
    return w->clock ? w->clock(w->clock_context) : now_ns();
}

static bool batch_dirty(const struct writer *w)
{
    return w->batch.writes > 0 || w->batch.log.len > 0;
}

/* ---- back to the owner ---- */

static void writer_publish(struct writer *w)
{
    w->unpublished = 0;
    completions_add(w->completions, &w->ready, &w->released,
                    (uint64_t)lock_waiting(w->locks) + w->lives.waiting);
}

static void operation_release(struct writer *w, struct operation *op)
{
    op->next_released = w->released;
    w->released = op;
}

static void operation_ready(struct writer *w, struct operation *op)
{
    operation_list_add(&w->ready, op);
    if (++w->unpublished >= PUBLISH_AT)
        writer_publish(w);
}

/* Over and done with. */
static void operation_finish(struct writer *w, struct operation *op)
{
    operation_ready(w, op);
    operation_release(w, op);
}

static void member_add(struct writer *w, struct operation *op)
{
    op->next_member = NULL;
    if (w->members_last)
        w->members_last->next_member = op;
    else
        w->members = op;
    w->members_last = op;
}

/* It succeeded: now, or when the batch is on disk. */
static void operation_succeed(struct writer *w, struct operation *op)
{
    if (!batch_dirty(w)) {
        operation_finish(w, op);
        return;
    }
    member_add(w, op);
    if (op->flags & GT_DURABLE) {
        w->batch_urgent = true;
    } else {
        w->acknowledged = true;
        operation_ready(w, op);
    }
}

static void operation_refuse(struct writer *w, struct operation *op, int code,
                             const struct error *e)
{
    operation_fail(op, code, e);
    operation_finish(w, op);
    /* The reason may lie in what is not on disk yet. */
    w->acknowledged |= batch_dirty(w);
}

/* Those that waited for a lock or at an object and wait no longer. */
static void writer_answers(struct writer *w)
{
    struct lock_answer answer;
    struct error e;
    while (lock_answered(w->locks, &answer)) {
        struct operation *op = answer.ticket;
        op->result.value = (int64_t)answer.token;
        if (answer.code < 0)
            operation_fail(op,
                           error_set(&e, -answer.code,
                                     answer.code == -ATOLL_ETIMEDOUT
                                         ? "the lock did not become free in time"
                                         : "the call that waited has ended"),
                           &e);
        operation_finish(w, op);
    }
    for (struct operation *op; (op = w->lives.answered.first);) {
        w->lives.answered.first = op->next;
        if (!op->next)
            w->lives.answered.last = NULL;
        if (op->result.code < 0)
            operation_finish(w, op);
        else
            operation_succeed(w, op);
    }
}

/* ---- the batch ---- */

/* The batch is on disk, or never will be: `e`. */
static void members_settle(struct writer *w, const struct error *e)
{
    struct operation *op = w->members;
    w->members = w->members_last = NULL;
    for (struct operation *next; op; op = next) {
        next = op->next_member;
        if (op->flags & GT_DURABLE) {
            if (e)
                operation_fail(op, e->code, e);
            operation_ready(w, op);
        }
        operation_release(w, op);
    }
    w->batch_operations = 0;
    w->batch_until = 0;
    w->batch_urgent = w->acknowledged = w->stuck = false;
}

/* Of a batch that is kept: who waits for the disk learns that it is full. */
static void members_disappoint(struct writer *w, struct error *e)
{
    struct operation *op = w->members;
    error_prefix(e, "not on disk yet, but kept and tried again");
    w->members = w->members_last = NULL;
    for (struct operation *next; op; op = next) {
        next = op->next_member;
        if (op->flags & GT_DURABLE) {
            operation_fail(op, e->code, e);
            operation_finish(w, op);
        } else {
            member_add(w, op);
        }
    }
    w->batch_urgent = false;
}

static int map_grow(struct writer *w, struct error *e)
{
    int rc = environment_grow(w->environment, e);
    w->counters.map_grown += rc == 0;
    return rc;
}

/* Brings the batch back to where its log was `len` long. When that fails the log is still whole,
 * and is tried again with the next commit. */
static int writer_replay(struct writer *w, size_t len, struct error *e)
{
    int rc;
    while ((rc = batch_replay(&w->batch, len, e)) < 0 && w->batch.broken == MDB_MAP_FULL) {
        batch_abort(&w->batch);
        if (map_grow(w, e) < 0)
            break;
    }
    if (rc < 0)
        batch_abort(&w->batch);
    return rc;
}

static void writer_stick(struct writer *w, const struct error *e)
{
    w->stuck = true;
    w->stuck_error = *e;
    w->retry_at = now_ns() + WRITER_RETRY_NS;
}

static void commit_failed(struct writer *w, struct error *e)
{
    struct error ignored;
    w->counters.commits_failed++;
    if (!w->acknowledged) {
        batch_abort(&w->batch);
        w->batch.log.len = 0;
        w->sequence.limit = w->sequence_kept;
        members_settle(w, e);
        return;
    }
    writer_stick(w, e);
    members_disappoint(w, e);
    writer_replay(w, w->batch.log.len, &ignored);
}

/* True when nothing is left that is not on disk. */
static bool writer_commit(struct writer *w)
{
    struct error e;
    int rc = 0;
    bool dirty = batch_dirty(w);
    writer_publish(w); /* it takes a while */
    uint64_t before = now_ns();
    if (!dirty)
        batch_abort(&w->batch);
    else if (!w->batch.txn)
        rc = writer_replay(w, w->batch.log.len, &e);
    if (rc == 0)
        rc = batch_commit(&w->batch, &e);
    /* A transaction's free pages are listed at its end, which takes pages, too. */
    if (rc < 0 && w->batch.broken == MDB_MAP_FULL && !w->batch.unlogged && map_grow(w, &e) == 0 &&
        (rc = writer_replay(w, w->batch.log.len, &e)) == 0)
        rc = batch_commit(&w->batch, &e);
    if (rc < 0) {
        commit_failed(w, &e);
        return false;
    }
    w->counters.commits += dirty;
    w->counters.commit_ns += dirty ? now_ns() - before : 0;
    w->sequence_kept = w->sequence.limit;
    members_settle(w, NULL);
    return true;
}

/* ---- carrying out ---- */

static int lock_carry_out(struct writer *w, struct operation *op, struct error *e)
{
    uint64_t now = writer_clock(w), timeout = op->lock.timeout_ns;
    uint64_t token = sequence_take(&w->sequence, &w->batch, e);
    if (token == 0)
        return e->code;
    const struct lock_request request = {
        .key = op->key,
        .key_len = op->key_len,
        .mode = op->lock.mode,
        .owner = op->lock.owner,
        .token = token,
        .lease_ns = op->lock.lease_ns,
        .ticket = op,
        .wait_until_ns = timeout >= DEADLINE_NEVER - now ? DEADLINE_NEVER : now + timeout};
    op->result.value = (int64_t)token;
    return lock_acquire(w->locks, &request, now, e);
}

static int change_carry_out(struct writer *w, struct operation *op, struct error *e)
{
    struct value_writer value = {.batch = &w->batch,
                                 .sequence = &w->sequence,
                                 .locks = w->locks,
                                 .now_ns = writer_clock(w),
                                 .chunk = w->chunk};
    switch (op->kind) {
    case OPERATION_COMMIT: return value_commit(&value, op, e);
    case OPERATION_APPEND: return value_append(&value, op, e);
    case OPERATION_CLEAR: w->garbage = true; return value_clear(&value, op, e);
    case OPERATION_DELETE: w->garbage = true; return value_delete(&value, op, e);
    case OPERATION_WRITE: return table_write(&w->batch, op, e);
    case OPERATION_OBJECT_OPEN: return object_open(&value, &w->lives, op, e);
    case OPERATION_OBJECT: return object_call(&value, &w->lives, op, e);
    case OPERATION_OBJECT_DELETE: w->garbage = true; return object_delete(&value, &w->lives, op, e);
    default: return lock_carry_out(w, op, e);
    }
}

/* What the writer does in a batch beside operations. */
static int upkeep_carry_out(struct writer *w, struct error *e)
{
    struct value_writer value = {.batch = &w->batch, .sequence = &w->sequence};
    int rc = objects_serve(&value, &w->lives, e);
    if (rc < 0 || !w->garbage || w->stuck)
        return rc;
    rc = garbage_collect(&w->batch, e);
    /* What is damaged there is not garbage to be waited for. */
    w->garbage = rc == 1 || w->batch.broken;
    return rc;
}

static void operation_restart(struct operation *op)
{
    op->result = (struct gt_result){0};
    op->out.len = 0;
}

/* Carries out an operation (NULL: the upkeep) in the batch. When it is refused after it wrote
 * something, or breaks the transaction, the batch is put back to what it was before; a full map
 * grows. */
static int writer_attempt(struct writer *w, struct operation *op, struct error *e)
{
    for (;;) {
        size_t mark = w->batch.log.len;
        uint64_t limit = w->sequence.limit;
        struct error ignored;
        int rc = batch_begin(&w->batch, e);
        if (rc < 0)
            return rc;
        uint64_t writes = w->batch.writes;
        if (op)
            operation_restart(op);
        rc = op ? change_carry_out(w, op, e) : upkeep_carry_out(w, e);
        if (!w->batch.broken && (rc >= 0 || w->batch.writes == writes))
            return rc;
        bool again = w->batch.broken == MDB_MAP_FULL;
        w->sequence.limit = limit;
        batch_abort(&w->batch);
        if (again && map_grow(w, e) < 0)
            again = false;
        if (writer_replay(w, mark, again ? e : &ignored) < 0) {
            writer_stick(w, again ? e : &ignored);
            return again ? e->code : rc;
        }
        if (!again)
            return rc;
    }
}

static void batch_count(struct writer *w)
{
    if (!batch_dirty(w))
        return;
    if (w->batch_until == 0)
        w->batch_until = now_ns() + WRITER_BATCH_NS;
    if (++w->batch_operations >= WRITER_BATCH_OPERATIONS ||
        w->batch.log.len >= WRITER_BATCH_BYTES || now_ns() >= w->batch_until)
        writer_commit(w);
}

/* Without a log a transaction cannot be written again into a larger map. */
static int alone_reserve(struct writer *w, const struct operation *op, struct error *e)
{
    int rc = 0;
    batch_abort(&w->batch);
    while (rc == 0 && environment_room(w->environment) < 2 * op->weight + ALONE_SLACK)
        rc = map_grow(w, e);
    return rc;
}

/* A large operation: in a transaction of its own, without a log; on disk before it is
 * acknowledged. */
static void writer_change_alone(struct writer *w, struct operation *op)
{
    struct error e;
    if (batch_dirty(w) && !writer_commit(w) && w->stuck) {
        operation_refuse(w, op, w->stuck_error.code, &w->stuck_error);
        return;
    }
    w->batch.unlogged = true;
    int rc = alone_reserve(w, op, &e);
    if (rc == 0)
        rc = writer_attempt(w, op, &e);
    if (rc < 0) {
        batch_abort(&w->batch);
        operation_refuse(w, op, rc, &e);
    } else {
        op->flags |= GT_DURABLE;
        operation_succeed(w, op);
        writer_commit(w);
    }
    w->batch.unlogged = false;
}

static void writer_change(struct writer *w, struct operation *op)
{
    struct error e;
    if (w->stuck && (now_ns() < w->retry_at || !writer_commit(w)) && w->stuck) {
        operation_refuse(w, op, w->stuck_error.code, &w->stuck_error);
        return;
    }
    if (op->weight > WRITER_ALONE_BYTES) {
        writer_change_alone(w, op);
        return;
    }
    int rc = writer_attempt(w, op, &e);
    if (rc == 0)
        operation_succeed(w, op);
    else if (rc < 0)
        operation_refuse(w, op, rc, &e);
    writer_answers(w);
    batch_count(w);
}

static void writer_lock(struct writer *w, struct operation *op)
{
    struct error e;
    uint64_t now = writer_clock(w);
    int rc = 0;
    switch (op->kind) {
    case OPERATION_LOCK: rc = writer_attempt(w, op, &e); break;
    case OPERATION_RENEW:
        rc = lock_renew(w->locks, op->key, op->key_len, op->lock.token, op->lock.lease_ns, now, &e);
        break;
    case OPERATION_UNLOCK:
        rc = lock_release(w->locks, op->key, op->key_len, op->lock.token, now, &e);
        break;
    default:
        lock_owner_end(w->locks, op->lock.owner, now);
        live_owner_end(&w->lives, op->lock.owner, now);
    }
    if (rc < 0)
        operation_fail(op, rc, &e);
    if (rc <= 0)
        operation_finish(w, op);
    writer_answers(w);
}

/* Reads come here when something is on its way that they must see. */
static void writer_read(struct writer *w, struct operation *op)
{
    struct error e;
    if (batch_dirty(w) && read_is_large(op) && !w->stuck)
        writer_commit(w);
    if (!batch_dirty(w)) {
        mailbox_put(w->readers, op);
        return;
    }
    if (!w->batch.txn && writer_replay(w, w->batch.log.len, &e) < 0) {
        operation_refuse(w, op, e.code, &e);
        return;
    }
    read_carry_out(w->environment, w->batch.txn, op);
    w->acknowledged = true;
    operation_finish(w, op);
}

static void writer_take(struct writer *w, struct operation *op)
{
    w->counters.operations++;
    if (operation_reads(op)) {
        writer_read(w, op);
    } else if (operation_changes(op)) {
        writer_change(w, op);
    } else if (op->kind == OPERATION_SYNC) {
        op->flags |= GT_DURABLE;
        operation_succeed(w, op);
        if (w->stuck) {
            struct error e = w->stuck_error;
            members_disappoint(w, &e);
        }
    } else if (op->kind == OPERATION_TICK) {
        operation_finish(w, op);
    } else {
        writer_lock(w, op);
    }
}

/* ---- the thread ---- */

static void writer_pass_time(struct writer *w)
{
    struct error e;
    uint64_t now = writer_clock(w);
    lock_expire(w->locks, now);
    live_expire(&w->lives, now);
    writer_answers(w);
    if (links_alone(&w->lives.to_serve) && (!w->garbage || w->stuck))
        return;
    if (writer_attempt(w, NULL, &e) < 0)
        w->garbage = false;
    writer_answers(w);
    batch_count(w);
}

/* Until when it may sleep. */
static uint64_t writer_until(const struct writer *w)
{
    uint64_t until = DEADLINE_NEVER;
    if (w->stuck)
        until = w->retry_at;
    else if (w->batch_urgent || w->garbage)
        return 0;
    else if (batch_dirty(w))
        until = w->batch_until;
    if (w->clock)
        return until; /* its owner calls store_tick */
    uint64_t lock = lock_next(w->locks), live = live_next(&w->lives);
    if (lock < until)
        until = lock;
    return live < until ? live : until;
}

static bool commit_due(const struct writer *w, bool inbox_empty)
{
    if (w->stuck)
        return now_ns() >= w->retry_at;
    return batch_dirty(w) && ((w->batch_urgent && inbox_empty) || now_ns() >= w->batch_until);
}

/* An empty transaction holds LMDB's lock for writers, for which other programs (mdb_copy) wait. */
static void writer_rest(struct writer *w)
{
    if (!w->stuck && !w->garbage && !batch_dirty(w))
        batch_abort(&w->batch);
}

static void *writer_run(void *argument)
{
    struct writer *w = argument;
    bool closed = false;
    while (!closed) {
        struct operation *op = mailbox_take_all(&w->inbox, writer_until(w), &closed);
        bool inbox_empty = !op;
        for (struct operation *next; op; op = next) {
            next = op->next;
            writer_take(w, op);
        }
        writer_pass_time(w);
        if (commit_due(w, inbox_empty))
            writer_commit(w);
        writer_rest(w);
        writer_publish(w);
    }
    lock_cancel_all(w->locks);
    live_cancel_all(&w->lives);
    writer_answers(w);
    writer_commit(w);
    batch_abort(&w->batch); /* a transaction ends on the thread that began it */
    return NULL;
}

static void writer_free(struct writer *w)
{
    lock_table_destroy(w->locks);
    live_table_free(&w->lives);
    batch_abort(&w->batch);
    buffer_free(&w->batch.log);
    free(w->chunk);
    mailbox_free(&w->inbox);
}

/* Ids that may have been given out before a crash are left behind. */
static int sequence_begin(struct writer *w, struct error *e)
{
    w->sequence.next = w->sequence.limit = w->environment->sequence_limit;
    int rc = batch_begin(&w->batch, e);
    if (rc == 0 && sequence_take(&w->sequence, &w->batch, e) == 0)
        rc = e->code;
    if (rc == 0)
        rc = batch_commit(&w->batch, e);
    w->sequence_kept = w->sequence.limit;
    return rc;
}

int writer_start(struct writer *w, struct error *e)
{
    w->batch = (struct batch){.environment = w->environment};
    w->garbage = true;
    w->chunk = malloc(CHUNK_HEAD + GT_CHUNK_BYTES);
    w->locks = lock_table_create(WRITER_LOCKS_MAX);
    if (!live_table_init(&w->lives) || !w->locks || !w->chunk) {
        lock_table_destroy(w->locks);
        free(w->chunk);
        return error_set(e, ATOLL_ENOMEM, "no memory for the store");
    }
    mailbox_init(&w->inbox);
    int rc = sequence_begin(w, e);
    if (rc == 0) {
        int number = pthread_create(&w->thread, NULL, writer_run, w);
        rc = number ? environment_error(e, number, "starting a thread of the store") : 0;
    }
    if (rc < 0)
        writer_free(w);
    return rc;
}

int writer_join(struct writer *w, struct error *e)
{
    pthread_join(w->thread, NULL);
    int rc = 0;
    if (batch_dirty(w)) {
        *e = w->stuck_error;
        rc = error_prefix(e, "acknowledged changes could not be written");
    }
    for (struct operation *op = w->members, *next; op; op = next) {
        next = op->next_member;
        operation_release(w, op);
    }
    writer_publish(w);
    writer_free(w);
    return rc;
}
