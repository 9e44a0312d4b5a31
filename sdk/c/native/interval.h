/*
 * A set of bytes as intervals [start, end): sorted, disjoint, not touching.
 */
#ifndef ATOLL_NATIVE_INTERVAL_H
#define ATOLL_NATIVE_INTERVAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct interval {
    uint64_t start, end;
};

struct interval_set {
    struct interval *items;
    size_t count, capacity;
};

/* Both return false, with the set as it was, when memory is lacking. */
bool interval_add(struct interval_set *, uint64_t start, uint64_t end);
bool interval_remove(struct interval_set *, uint64_t start, uint64_t end);
/* The first part of the set in [from, end); false when there is none. */
bool interval_next(const struct interval_set *, uint64_t from, uint64_t end, struct interval *);
void interval_free(struct interval_set *);

#endif
