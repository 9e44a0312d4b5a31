/* Deadlines: a heap of alarms that lie in what they belong to. */
#ifndef STATE_ALARM_H
#define STATE_ALARM_H

#include <stdint.h>

struct alarm {
    int64_t at_ns;
    void (*fire)(struct alarm *); /* no longer set when it runs */
    uint32_t place;               /* in the heap, from 1; 0: not set */
};

struct alarm_heap {
    struct alarm **alarms;
    uint32_t count, capacity;
};

/* Sets it, or moves it when it is set. -ATOLL_ENOMEM: not set. */
int alarm_set(struct alarm_heap *, struct alarm *, int64_t at_ns);
void alarm_clear(struct alarm_heap *, struct alarm *);
/* INT64_MAX when there is none. */
int64_t alarm_next(const struct alarm_heap *);
/* Fires, in order, those that are due at `now`. */
void alarm_run(struct alarm_heap *, int64_t now);
void alarm_heap_free(struct alarm_heap *);

#endif
