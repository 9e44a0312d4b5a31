/*
 * The locks of a value: readers and writers, in order of arrival, one queue for each scope. A
 * queue's front is granted: one writer, or all readers before the first writer.
 */
#define _GNU_SOURCE
#include "value.h"

#include <stdlib.h>

static void queue_grant(struct value_lock *lock)
{
    bool readers = true;
    for (struct lock_holder *at = lock->queue; at; at = at->next) {
        bool write = at->mode == ATOLL_LOCK_WRITE;
        if (write && at != lock->queue)
            return;
        if (!readers)
            return;
        if (!at->granted)
            lock->token++;
        at->granted = true;
        readers = !write;
    }
}

static void queue_remove(struct value_lock *lock, struct lock_holder *holder)
{
    struct lock_holder **at = &lock->queue;
    while (*at != holder)
        at = &(*at)->next;
    *at = holder->next;
    free(holder);
    queue_grant(lock);
}

static struct lock_holder *queue_find(const struct value_lock *lock, const struct native_call *call)
{
    struct lock_holder *at = lock->queue;
    while (at && at->call != call)
        at = at->next;
    return at;
}

int64_t lock_take(struct native_call *call, struct value *value, atoll_h handle, uint32_t mode,
                  uint32_t scope, uint64_t timeout_ns)
{
    struct value_lock *lock = &value->locks[scope];
    struct lock_holder *holder, **end = &lock->queue;
    uint64_t until = timeout_ns == ATOLL_FOREVER ? ATOLL_FOREVER : wait_end_ns(timeout_ns);
    int status = 0;
    if (queue_find(lock, call))
        return -ATOLL_EDEADLK;
    holder = calloc(1, sizeof *holder);
    if (!holder)
        return -ATOLL_ENOMEM;
    *holder = (struct lock_holder){.call = call, .handle = handle, .mode = mode};
    while (*end)
        end = &(*end)->next;
    *end = holder;
    queue_grant(lock);
    while (!holder->granted && status == 0)
        status = call_wait(call, until);
    if (holder->granted && status != -ATOLL_ECANCELED)
        return scope == ATOLL_SCOPE_GLOBAL ? (int64_t)lock->token : 0;
    queue_remove(lock, holder);
    node_changed(call->node);
    if (status == -ATOLL_ECANCELED)
        call_over_end(call);
    return timeout_ns == 0 ? -ATOLL_EAGAIN : status;
}

bool lock_give(struct native_call *call, struct value *value, atoll_h handle, uint32_t scope)
{
    struct lock_holder *holder = queue_find(&value->locks[scope], call);
    if (!holder || (handle >= 0 && holder->handle != handle))
        return false;
    queue_remove(&value->locks[scope], holder);
    node_changed(call->node);
    return true;
}
