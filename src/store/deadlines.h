/* Points in time at which something ends, soonest first: a binary heap through its members. */
#ifndef STORE_DEADLINES_H
#define STORE_DEADLINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DEADLINE_NEVER UINT64_MAX

struct deadline {
    uint64_t at_ns;
    size_t place;    /* 1 + index in the heap; 0: not set */
    bool of_barrier; /* the member's own mark of what it belongs to */
};

/* Zero-initialise; deadlines_free at the end. */
struct deadlines {
    struct deadline **heap;
    size_t count, capacity;
};

void deadlines_free(struct deadlines *);
/* Makes room for one more member beyond those counted in `members`, so that deadline_set of members
 * cannot fail. False when memory is missing. */
bool deadlines_reserve(struct deadlines *, size_t members);
/* Sets or moves; DEADLINE_NEVER unsets. Room was reserved. */
void deadline_set(struct deadlines *, struct deadline *, uint64_t at_ns);
void deadline_unset(struct deadlines *, struct deadline *);
/* The soonest that has passed, or NULL. It stays set. */
struct deadline *deadlines_passed(const struct deadlines *, uint64_t now_ns);
/* When the soonest passes, or DEADLINE_NEVER. */
uint64_t deadlines_next(const struct deadlines *);

#endif
