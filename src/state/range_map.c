/* See range_map.h. */
#include "state/range_map.h"

#include "atoll/errors.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

uint32_t range_map_find(const struct range_map *m, uint64_t at)
{
    uint32_t low = 0, high = m->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (m->ranges[middle].end > at)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

bool range_map_touches(const struct range_map *m, uint64_t start, uint64_t end)
{
    uint32_t i = range_map_find(m, start);
    return start < end && i < m->count && m->ranges[i].start < end;
}

uint32_t range_map_at(const struct range_map *m, uint64_t at, uint64_t *until)
{
    uint32_t i = range_map_find(m, at);
    if (i == m->count) {
        *until = UINT64_MAX;
        return 0;
    }
    const struct tagged_range *r = &m->ranges[i];
    *until = r->start <= at ? r->end : r->start;
    return r->start <= at ? r->tag : 0;
}

/* What replaces the ranges [low, high): what is left of the first, the new one, what is left of the
 * last. Widens [low, high) over neighbours that the new one joins. */
static uint32_t replacement(const struct range_map *m, struct tagged_range new, uint32_t *low,
                            uint32_t *high, struct tagged_range out[static 3])
{
    struct tagged_range left = {0}, right = {0};
    if (*low < *high) {
        left = m->ranges[*low];
        left.end = new.start < left.end ? new.start : left.end;
        right = m->ranges[*high - 1];
        right.start = new.end > right.start ? new.end : right.start;
    }
    if (new.tag && left.start >= left.end && *low > 0 && m->ranges[*low - 1].end == new.start)
        left = m->ranges[--*low];
    if (new.tag && right.start >= right.end && *high < m->count &&
        m->ranges[*high].start == new.end)
        right = m->ranges[(*high)++];
    if (left.start < left.end && left.tag == new.tag) {
        new.start = left.start;
        left.end = left.start;
    }
    if (right.start < right.end && right.tag == new.tag) {
        new.end = right.end;
        right.start = right.end;
    }
    uint32_t n = 0;
    if (left.start < left.end)
        out[n++] = left;
    if (new.tag)
        out[n++] = new;
    if (right.start < right.end)
        out[n++] = right;
    return n;
}

int range_map_set(struct range_map *m, uint64_t start, uint64_t end, uint32_t tag)
{
    assert(start <= end);
    if (start == end)
        return 0;
    uint32_t low = range_map_find(m, start), high = low;
    while (high < m->count && m->ranges[high].start < end)
        high++;
    struct tagged_range parts[3];
    uint32_t n = replacement(m, (struct tagged_range){start, end, tag}, &low, &high, parts);
    uint32_t count = m->count - (high - low) + n;
    if (count > m->limit && count > m->count)
        return -ATOLL_ELIMIT;
    if (count > m->capacity) {
        uint32_t capacity = m->capacity ? 2 * m->capacity : 4;
        struct tagged_range *grown = realloc(m->ranges, capacity * sizeof *grown);
        if (!grown)
            return -ATOLL_ENOMEM;
        m->ranges = grown;
        m->capacity = capacity;
    }
    if (m->count > high)
        memmove(m->ranges + low + n, m->ranges + high, (m->count - high) * sizeof *m->ranges);
    if (n)
        memcpy(m->ranges + low, parts, n * sizeof *parts);
    m->count = count;
    return 0;
}

void range_map_free(struct range_map *m)
{
    free(m->ranges);
    *m = (struct range_map){.limit = m->limit};
}
