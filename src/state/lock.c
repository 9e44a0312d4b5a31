/*
 * Locks of this node: many readers or one writer of a value, in order of arrival (tier.h).
 *
 * A reader that comes while a writer waits queues behind it, so neither side starves. The lock goes
 * with the attachment: closing, the end of the call and the death of its worker release it.
 */
#include "state/tier.h"

#include <assert.h>
#include <stddef.h>

static bool node_lock_free(const struct replica *v, uint32_t mode)
{
    return !v->node_writer && (mode == GT_LOCK_READ || !v->node_readers);
}

static void node_lock_take(struct attachment *a, uint32_t mode)
{
    a->node_lock = mode == GT_LOCK_READ ? NODE_LOCK_READ : NODE_LOCK_WRITE;
    if (mode == GT_LOCK_READ)
        a->value->node_readers++;
    else
        a->value->node_writer = true;
}

static void node_lock_next(struct replica *v)
{
    struct pending *p;
    replica_pin(v);
    while ((p = TAILQ_FIRST(&v->waiting_lock)) && node_lock_free(v, p->request.mode)) {
        pending_wait_end(p);
        node_lock_take(p->attachment, p->request.mode);
        pending_result(p, 0);
    }
    replica_unpin(v);
}

static void node_lock_timeout(struct alarm *alarm)
{
    struct pending *p = (struct pending *)((char *)alarm - offsetof(struct pending, alarm));
    struct replica *v = p->value;
    replica_pin(v);
    pending_wait_end(p);
    p->attachment->node_lock = NODE_LOCK_NONE;
    pending_fail(p, ATOLL_ETIMEDOUT, "the lock did not become free in time");
    node_lock_next(v);
    replica_unpin(v);
}

static void node_lock_start(struct pending *p)
{
    struct replica *v = p->value;
    uint64_t timeout = p->request.timeout_ns;
    if (p->attachment->node_lock != NODE_LOCK_NONE)
        return pending_fail(p, ATOLL_EDEADLK, "this call has the lock, or waits for it, already");
    if (TAILQ_EMPTY(&v->waiting_lock) && node_lock_free(v, p->request.mode)) {
        node_lock_take(p->attachment, p->request.mode);
        return pending_result(p, 0);
    }
    if (!timeout)
        return pending_fail(p, ATOLL_EAGAIN, "the lock is not free");
    int64_t now = tier_now(p->tier);
    p->alarm.fire = node_lock_timeout;
    if (timeout < (uint64_t)(INT64_MAX - now) &&
        tier_alarm(p->tier, &p->alarm, now + (int64_t)timeout) < 0)
        return pending_fail(p, ATOLL_ENOMEM, "no memory to wait for a lock");
    p->attachment->node_lock = NODE_LOCK_WAITS;
    pending_wait(p, &v->waiting_lock);
}

int node_lock_release(struct attachment *a)
{
    enum node_lock held = a->node_lock;
    a->node_lock = NODE_LOCK_NONE;
    if (held == NODE_LOCK_READ) {
        assert(a->value->node_readers);
        a->value->node_readers--;
    } else if (held == NODE_LOCK_WRITE) {
        a->value->node_writer = false;
    }
    /* Also when it only waited: it may have been what the next ones waited behind. */
    if (held != NODE_LOCK_NONE)
        node_lock_next(a->value);
    return held == NODE_LOCK_READ || held == NODE_LOCK_WRITE ? 0 : -ATOLL_ENOENT;
}

/* ---- requests of either scope ---- */

void lock_start(struct pending *p)
{
    if (!(p->attachment->grant & STATE_GRANT_LOCK))
        pending_fail(p, ATOLL_EPERM, "the owner has not granted locking this key");
    else if (p->value->stale)
        pending_fail(p, ATOLL_ESTALE, "the value was deleted");
    else if (p->request.number == STATE_SCOPE_NODE)
        node_lock_start(p);
    else
        lease_start(p);
}

void unlock_start(struct pending *p)
{
    enum node_lock held = p->attachment->node_lock;
    if (p->request.number == STATE_SCOPE_GLOBAL)
        lease_release(p);
    else if (held != NODE_LOCK_READ && held != NODE_LOCK_WRITE)
        pending_fail(p, ATOLL_ENOENT, "this call does not have the lock");
    else {
        node_lock_release(p->attachment);
        pending_result(p, 0);
    }
}
