/*
 * Timers of calls: a wheel of lists, one per millisecond, so that starting and stopping one costs
 * the same whatever their number. A timer far ahead stays in its list while the wheel goes round.
 * Under worker.lock.
 */
#ifndef NODE_WORKER_TIMER_H
#define NODE_WORKER_TIMER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#define WHEEL_SLOTS   4096u
#define WHEEL_TICK_NS 1000000

struct timer {
    LIST_ENTRY(timer) same_slot;
    int64_t at_ns; /* CLOCK_MONOTONIC */
    bool set;
    bool ends; /* the owner's: which of its timers it is */
};

struct wheel {
    LIST_HEAD(timer_list, timer) slots[WHEEL_SLOTS];
    uint64_t occupied[WHEEL_SLOTS / 64]; /* slots that are not empty; may say so of empty ones */
    int64_t tick;                        /* slots up to it have been looked at */
    uint32_t count;
};

void wheel_begin(struct wheel *, int64_t now_ns);
/* Starts or moves a timer. */
void timer_set(struct wheel *, struct timer *, int64_t at_ns);
void timer_clear(struct wheel *, struct timer *); /* not set: nothing */
/* Takes a timer that is due, NULL when none is. Call until NULL. */
struct timer *wheel_expire(struct wheel *, int64_t now_ns);
/* When to call wheel_expire next: not later than the earliest timer is due (and perhaps earlier);
 * INT64_MAX without timers. */
int64_t wheel_next(const struct wheel *, int64_t now_ns);

#endif
