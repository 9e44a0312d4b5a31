/*
 * The budget of the local tier. Values that nobody has open stay until their room is wanted: then
 * the least recently used go first. One with bytes that were not pushed is pushed before it goes,
 * and stays when that fails. Values that are local to the node, and those in use, never go.
 *
 * A request that needs room waits while such pushes are under way, and fails when nothing more can
 * go.
 */
#include "state/tier.h"

#include <assert.h>
#include <stddef.h>

static bool room_fits(const struct state_tier *t, uint64_t bytes)
{
    return bytes <= t->options.local_max && t->local_bytes <= t->options.local_max - bytes;
}

static bool room_evictable(const struct replica *v)
{
    return !v->pins && !v->local;
}

static bool room_evict(struct replica *v)
{
    if (!room_evictable(v) || replica_unpushed(v))
        return false;
    v->tier->counters.evictions++;
    replica_drop(v);
    return true;
}

bool room_make(struct state_tier *t, uint64_t bytes)
{
    struct replica *v, *next;
    for (v = TAILQ_FIRST(&t->idle); v && !room_fits(t, bytes); v = next) {
        next = TAILQ_NEXT(v, idle);
        room_evict(v);
    }
    return room_fits(t, bytes);
}

bool room_make_values(struct state_tier *t, uint32_t count)
{
    uint32_t evicted = 0;
    struct replica *v, *next;
    for (v = TAILQ_FIRST(&t->idle); v && evicted < count; v = next) {
        next = TAILQ_NEXT(v, idle);
        evicted += room_evict(v);
    }
    return evicted > 0;
}

static void room_pushed(void *context, int code)
{
    struct replica *v = context;
    if (code < 0)
        v->stuck = true; /* not again before somebody has opened it */
}

/* Begins to push idle values until what they hold would be room enough. */
static void room_push(struct state_tier *t, uint64_t bytes)
{
    uint64_t hoped = t->evicting_bytes;
    struct replica *v, *next;
    for (v = TAILQ_FIRST(&t->idle); v && hoped < bytes; v = next) {
        next = TAILQ_NEXT(v, idle);
        if (!room_evictable(v) || v->evicting || v->stuck)
            continue;
        v->evicting = replica_charge(v);
        t->evicting_bytes += v->evicting;
        hoped += replica_charge(v);
        if (!v->evicting)
            continue;
        replica_pin(v);
        if (replica_push_all(v, room_pushed, v) < 0)
            v->stuck = true;
        replica_unpin(v); /* with nothing to wait for, room_left comes from here */
    }
}

void room_left(struct replica *v)
{
    struct state_tier *t = v->tier;
    t->evicting_bytes -= v->evicting;
    v->evicting = 0;
    room_kick(t);
}

int room_take(struct pending *p, uint64_t bytes)
{
    struct state_tier *t = p->tier;
    if (room_make(t, bytes))
        return 0;
    if (bytes <= t->options.local_max)
        room_push(t, bytes);
    if (room_make(t, bytes))
        return 0;
    if (t->evicting_bytes && bytes <= t->options.local_max) {
        pending_wait(p, &t->waiting_room);
        return -ATOLL_EAGAIN;
    }
    pending_fail(p, ATOLL_ENOMEM,
                 "the local tier is full: %llu of %llu bytes are in use, and %llu more were wanted",
                 (unsigned long long)t->local_bytes, (unsigned long long)t->options.local_max,
                 (unsigned long long)bytes);
    return -ATOLL_ENOMEM;
}

static void room_look(struct task *task)
{
    struct state_tier *t =
        (struct state_tier *)((char *)task - offsetof(struct state_tier, room_task));
    struct pending_list again = TAILQ_HEAD_INITIALIZER(again);
    struct pending *p;
    t->looking_for_room = false;
    while ((p = TAILQ_FIRST(&t->waiting_room))) {
        pending_wait_end(p);
        pending_wait(p, &again);
    }
    while ((p = TAILQ_FIRST(&again))) {
        pending_wait_end(p);
        p->resume(p);
    }
}

void room_kick(struct state_tier *t)
{
    if (t->looking_for_room || TAILQ_EMPTY(&t->waiting_room))
        return;
    t->looking_for_room = true;
    tier_defer(t, &t->room_task, room_look);
}
