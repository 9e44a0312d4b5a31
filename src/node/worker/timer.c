/* See timer.h. */
#include "node/worker/timer.h"

#include <stddef.h>

void wheel_begin(struct wheel *w, int64_t now_ns)
{
    *w = (struct wheel){.tick = now_ns / WHEEL_TICK_NS};
    for (uint32_t k = 0; k < WHEEL_SLOTS; k++)
        LIST_INIT(&w->slots[k]);
}

/* The tick at which a timer is found due: never before its time. */
static int64_t tick_of(const struct wheel *w, int64_t at_ns)
{
    int64_t tick = at_ns / WHEEL_TICK_NS + 1;
    return tick > w->tick ? tick : w->tick + 1;
}

void timer_set(struct wheel *w, struct timer *t, int64_t at_ns)
{
    timer_clear(w, t);
    uint64_t slot = (uint64_t)tick_of(w, at_ns) % WHEEL_SLOTS;
    t->at_ns = at_ns;
    t->set = true;
    LIST_INSERT_HEAD(&w->slots[slot], t, same_slot);
    w->occupied[slot / 64] |= 1ull << (slot % 64);
    w->count++;
}

void timer_clear(struct wheel *w, struct timer *t)
{
    if (!t->set)
        return;
    LIST_REMOVE(t, same_slot);
    t->set = false;
    w->count--;
}

static struct timer *slot_due(struct wheel *w, uint64_t slot, int64_t now_ns)
{
    struct timer *t;
    LIST_FOREACH(t, &w->slots[slot], same_slot)
    {
        if (t->at_ns <= now_ns) {
            timer_clear(w, t);
            return t;
        }
    }
    if (LIST_EMPTY(&w->slots[slot]))
        w->occupied[slot / 64] &= ~(1ull << (slot % 64));
    return NULL;
}

struct timer *wheel_expire(struct wheel *w, int64_t now_ns)
{
    int64_t now = now_ns / WHEEL_TICK_NS;
    if (!w->count) {
        w->tick = now > w->tick ? now : w->tick;
        return NULL;
    }
    /* After a long sleep one round looks at every slot. */
    if (now - w->tick > WHEEL_SLOTS)
        w->tick = now - WHEEL_SLOTS;
    while (w->tick < now) {
        uint64_t slot = (uint64_t)(w->tick + 1) % WHEEL_SLOTS;
        bool maybe = w->occupied[slot / 64] >> (slot % 64) & 1;
        struct timer *t = maybe ? slot_due(w, slot, now_ns) : NULL;
        if (t)
            return t;
        w->tick++;
    }
    return NULL;
}

int64_t wheel_next(const struct wheel *w, int64_t now_ns)
{
    if (!w->count)
        return INT64_MAX;
    int64_t now = now_ns / WHEEL_TICK_NS;
    if (now - w->tick >= WHEEL_SLOTS)
        return now_ns;
    /* Word by word from the slot behind the tick. */
    for (uint32_t k = 1; k <= WHEEL_SLOTS;) {
        uint64_t slot = (uint64_t)(w->tick + k) % WHEEL_SLOTS;
        uint64_t rest = w->occupied[slot / 64] >> (slot % 64);
        if (rest)
            return (w->tick + k + __builtin_ctzll(rest)) * WHEEL_TICK_NS;
        k += 64 - (uint32_t)(slot % 64);
    }
    return (w->tick + WHEEL_SLOTS) * WHEEL_TICK_NS;
}
