/* A binary heap (alarm.h): the parent of place p is p / 2, and no later than its children. */
#include "state/alarm.h"

#include "atoll/errors.h"

#include <stdlib.h>

static void heap_put(struct alarm_heap *h, uint32_t place, struct alarm *t)
{
    h->alarms[place - 1] = t;
    t->place = place;
}

static void sift_up(struct alarm_heap *h, struct alarm *t)
{
    uint32_t place = t->place;
    while (place > 1 && h->alarms[place / 2 - 1]->at_ns > t->at_ns) {
        heap_put(h, place, h->alarms[place / 2 - 1]);
        place /= 2;
    }
    heap_put(h, place, t);
}

static void sift_down(struct alarm_heap *h, struct alarm *t)
{
    uint32_t place = t->place;
    for (;;) {
        uint32_t child = 2 * place;
        if (child > h->count)
            break;
        if (child < h->count && h->alarms[child]->at_ns < h->alarms[child - 1]->at_ns)
            child++;
        if (h->alarms[child - 1]->at_ns >= t->at_ns)
            break;
        heap_put(h, place, h->alarms[child - 1]);
        place = child;
    }
    heap_put(h, place, t);
}

int alarm_set(struct alarm_heap *h, struct alarm *t, int64_t at_ns)
{
    t->at_ns = at_ns;
    if (!t->place) {
        if (h->count == h->capacity) {
            uint32_t capacity = h->capacity ? 2 * h->capacity : 16;
            struct alarm **grown = realloc(h->alarms, capacity * sizeof(struct alarm *));
            if (!grown)
                return -ATOLL_ENOMEM;
            h->alarms = grown;
            h->capacity = capacity;
        }
        heap_put(h, ++h->count, t);
    }
    sift_up(h, t);
    sift_down(h, t);
    return 0;
}

void alarm_clear(struct alarm_heap *h, struct alarm *t)
{
    if (!t->place)
        return;
    struct alarm *last = h->alarms[--h->count];
    if (last != t) {
        heap_put(h, t->place, last);
        sift_up(h, last);
        sift_down(h, last);
    }
    t->place = 0;
}

int64_t alarm_next(const struct alarm_heap *h)
{
    return h->count ? h->alarms[0]->at_ns : INT64_MAX;
}

void alarm_run(struct alarm_heap *h, int64_t now)
{
    while (h->count && h->alarms[0]->at_ns <= now) {
        struct alarm *t = h->alarms[0];
        alarm_clear(h, t);
        t->fire(t);
    }
}

void alarm_heap_free(struct alarm_heap *h)
{
    free(h->alarms);
    *h = (struct alarm_heap){0};
}
