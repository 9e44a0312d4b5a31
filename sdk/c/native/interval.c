/* See interval.h. */
#include "interval.h"

#include <stdlib.h>
#include <string.h>

static bool interval_reserve(struct interval_set *set)
{
    if (set->count + 1 < set->capacity)
        return true;
    size_t capacity = set->capacity ? 2 * set->capacity : 16;
    struct interval *larger = realloc(set->items, capacity * sizeof *larger);
    if (!larger)
        return false;
    set->items = larger;
    set->capacity = capacity;
    return true;
}

/* Puts `with` (0 to 2 of them) in the place of items [first, last). */
static void interval_replace(struct interval_set *set, size_t first, size_t last,
                             const struct interval *with, size_t count)
{
    memmove(set->items + first + count, set->items + last,
            (set->count - last) * sizeof *set->items);
    if (count > 0)
        memcpy(set->items + first, with, count * sizeof *with);
    set->count = set->count - (last - first) + count;
}

bool interval_add(struct interval_set *set, uint64_t start, uint64_t end)
{
    size_t first = 0;
    if (start >= end)
        return true;
    if (!interval_reserve(set))
        return false;
    while (first < set->count && set->items[first].end < start)
        first++;
    size_t last = first;
    for (; last < set->count && set->items[last].start <= end; last++) {
        start = set->items[last].start < start ? set->items[last].start : start;
        end = set->items[last].end > end ? set->items[last].end : end;
    }
    interval_replace(set, first, last, &(struct interval){start, end}, 1);
    return true;
}

bool interval_remove(struct interval_set *set, uint64_t start, uint64_t end)
{
    struct interval rest[2];
    size_t first = 0, kept = 0;
    if (start >= end)
        return true;
    if (!interval_reserve(set))
        return false;
    while (first < set->count && set->items[first].end <= start)
        first++;
    size_t last = first;
    while (last < set->count && set->items[last].start < end)
        last++;
    if (first == last)
        return true;
    if (set->items[first].start < start)
        rest[kept++] = (struct interval){set->items[first].start, start};
    if (set->items[last - 1].end > end)
        rest[kept++] = (struct interval){end, set->items[last - 1].end};
    interval_replace(set, first, last, rest, kept);
    return true;
}

bool interval_next(const struct interval_set *set, uint64_t from, uint64_t end,
                   struct interval *found)
{
    for (size_t i = 0; i < set->count; i++) {
        const struct interval *item = &set->items[i];
        uint64_t a = item->start > from ? item->start : from;
        uint64_t b = item->end < end ? item->end : end;
        if (a < b) {
            *found = (struct interval){a, b};
            return true;
        }
    }
    return false;
}

void interval_free(struct interval_set *set)
{
    free(set->items);
    *set = (struct interval_set){0};
}
