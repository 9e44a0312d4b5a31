/* The heap of deadlines; see deadlines.h. */
#include "store/deadlines.h"

#include <assert.h>
#include <stdlib.h>

void deadlines_free(struct deadlines *d)
{
    free(d->heap);
    *d = (struct deadlines){0};
}

bool deadlines_reserve(struct deadlines *d, size_t members)
{
    if (members < d->capacity)
        return true;
    size_t capacity = d->capacity ? d->capacity : 64;
    while (capacity <= members)
        capacity *= 2;
    struct deadline **heap = realloc(d->heap, capacity * sizeof(struct deadline *));
    if (!heap)
        return false;
    d->heap = heap;
    d->capacity = capacity;
    return true;
}

static void place(struct deadlines *d, struct deadline *member, size_t at)
{
    d->heap[at] = member;
    member->place = at + 1;
}

static void rise(struct deadlines *d, size_t at)
{
    struct deadline *member = d->heap[at];
    while (at > 0 && d->heap[(at - 1) / 2]->at_ns > member->at_ns) {
        place(d, d->heap[(at - 1) / 2], at);
        at = (at - 1) / 2;
    }
    place(d, member, at);
}

static void sink(struct deadlines *d, size_t at)
{
    struct deadline *member = d->heap[at];
    for (size_t child; (child = 2 * at + 1) < d->count; at = child) {
        if (child + 1 < d->count && d->heap[child + 1]->at_ns < d->heap[child]->at_ns)
            child++;
        if (d->heap[child]->at_ns >= member->at_ns)
            break;
        place(d, d->heap[child], at);
    }
    place(d, member, at);
}

void deadline_unset(struct deadlines *d, struct deadline *member)
{
    if (member->place == 0)
        return;
    size_t at = member->place - 1;
    struct deadline *last = d->heap[--d->count];
    member->place = 0;
    if (last == member)
        return;
    place(d, last, at);
    rise(d, at);
    sink(d, last->place - 1);
}

void deadline_set(struct deadlines *d, struct deadline *member, uint64_t at_ns)
{
    deadline_unset(d, member);
    if (at_ns == DEADLINE_NEVER)
        return;
    assert(d->count < d->capacity);
    member->at_ns = at_ns;
    place(d, member, d->count++);
    rise(d, member->place - 1);
}

struct deadline *deadlines_passed(const struct deadlines *d, uint64_t now_ns)
{
    return d->count > 0 && d->heap[0]->at_ns <= now_ns ? d->heap[0] : NULL;
}

uint64_t deadlines_next(const struct deadlines *d)
{
    return d->count > 0 ? d->heap[0]->at_ns : DEADLINE_NEVER;
}
