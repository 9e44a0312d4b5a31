/* Deadlines: a heap of timers that lie in what they belong to. */
#ifndef STATE_TIMER_H
#define STATE_TIMER_H

#include <stdint.h>

struct timer {
    int64_t at_ns;
    void (*fire)(struct timer *); /* no longer set when it runs */
    uint32_t place;               /* in the heap, from 1; 0: not set */
};

struct timer_heap {
    struct timer **timers;
    uint32_t count, capacity;
};

/* Sets it, or moves it when it is set. -ATOLL_ENOMEM: not set. */
int timer_set(struct timer_heap *, struct timer *, int64_t at_ns);
void timer_clear(struct timer_heap *, struct timer *);
/* INT64_MAX when there is none. */
int64_t timer_next(const struct timer_heap *);
/* Fires, in order, those that are due at `now`. */
void timer_run(struct timer_heap *, int64_t now);
void timer_heap_free(struct timer_heap *);

#endif
