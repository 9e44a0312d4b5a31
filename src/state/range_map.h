/*
 * A map from byte offsets to small numbers, held as ranges: which bytes were written, which are
 * merged how.
 *
 * Ranges are sorted, do not overlap, are not empty, and neighbours that touch have different tags.
 * Looking up takes the logarithm of their number, changing moves what lies behind. A map has a
 * limit: ranges come from guests.
 */
#ifndef STATE_RANGE_MAP_H
#define STATE_RANGE_MAP_H

#include <stdbool.h>
#include <stdint.h>

struct tagged_range {
    uint64_t start, end; /* [start, end) */
    uint32_t tag;        /* never 0 */
};

/* Zero-initialise but for limit; the owner calls range_map_free. */
struct range_map {
    struct tagged_range *ranges;
    uint32_t count, capacity, limit;
};

/* Gives [start, end) this tag; 0 takes it out of the map. -ATOLL_ELIMIT when there would be more
 * ranges than the limit and than before, -ATOLL_ENOMEM; then nothing changed. */
int range_map_set(struct range_map *, uint64_t start, uint64_t end, uint32_t tag);
/* Index of the first range that ends after `at`; count when there is none. */
uint32_t range_map_find(const struct range_map *, uint64_t at);
/* Whether any byte of [start, end) is in the map. */
bool range_map_touches(const struct range_map *, uint64_t start, uint64_t end);
/* The tag at an offset, 0 = none; *until: where that changes next (UINT64_MAX: never). */
uint32_t range_map_at(const struct range_map *, uint64_t at, uint64_t *until);
void range_map_free(struct range_map *);

#endif
