/* A binary heap (timer.h): the parent of place p is p / 2, and no later than its children. */
#include "state/timer.h"

#include "atoll/errors.h"

#include <stdlib.h>

static void heap_put(struct timer_heap *h, uint32_t place, struct timer *t)
{
    h->timers[place - 1] = t;
    t->place = place;
}

static void sift_up(struct timer_heap *h, struct timer *t)
{
    uint32_t place = t->place;
    while (place > 1 && h->timers[place / 2 - 1]->at_ns > t->at_ns) {
        heap_put(h, place, h->timers[place / 2 - 1]);
        place /= 2;
    }
    heap_put(h, place, t);
}

static void sift_down(struct timer_heap *h, struct timer *t)
{
    uint32_t place = t->place;
    for (;;) {
        uint32_t child = 2 * place;
        if (child > h->count)
            break;
        if (child < h->count && h->timers[child]->at_ns < h->timers[child - 1]->at_ns)
            child++;
        if (h->timers[child - 1]->at_ns >= t->at_ns)
            break;
        heap_put(h, place, h->timers[child - 1]);
        place = child;
    }
    heap_put(h, place, t);
}

int timer_set(struct timer_heap *h, struct timer *t, int64_t at_ns)
{
    t->at_ns = at_ns;
    if (!t->place) {
        if (h->count == h->capacity) {
            uint32_t capacity = h->capacity ? 2 * h->capacity : 16;
            struct timer **grown = realloc(h->timers, capacity * sizeof(struct timer *));
            if (!grown)
                return -ATOLL_ENOMEM;
            h->timers = grown;
            h->capacity = capacity;
        }
        heap_put(h, ++h->count, t);
    }
    sift_up(h, t);
    sift_down(h, t);
    return 0;
}

void timer_clear(struct timer_heap *h, struct timer *t)
{
    if (!t->place)
        return;
    struct timer *last = h->timers[--h->count];
    if (last != t) {
        heap_put(h, t->place, last);
        sift_up(h, last);
        sift_down(h, last);
    }
    t->place = 0;
}

int64_t timer_next(const struct timer_heap *h)
{
    return h->count ? h->timers[0]->at_ns : INT64_MAX;
}

void timer_run(struct timer_heap *h, int64_t now)
{
    while (h->count && h->timers[0]->at_ns <= now) {
        struct timer *t = h->timers[0];
        timer_clear(h, t);
        t->fire(t);
    }
}

void timer_heap_free(struct timer_heap *h)
{
    free(h->timers);
    *h = (struct timer_heap){0};
}
