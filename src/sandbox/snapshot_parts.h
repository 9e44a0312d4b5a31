/*
 * What snapshot.c (take, restore) and reset.c know of a snapshot.
 *
 * Layout of the memory file: the arena's extents (pages.h) by ascending address, one behind the
 * other. Every extent is one private mapping of its part of the file; the stack has no part of the
 * file, its image is zero.
 *
 * Pages of an instance are numbered for the heat: first those of the stack, from its top downwards,
 * then those of the file. Everything that resets learn is a hint and may be lost or torn between
 * threads; what must be put back is always found anew.
 */
#ifndef SANDBOX_SNAPSHOT_PARTS_H
#define SANDBOX_SNAPSHOT_PARTS_H

#include "sandbox/pages.h"
#include "sandbox/snapshot.h"

struct snapshot_part {
    int64_t from_b;
    uint64_t len, offset; /* in the file */
};

struct placed_instance {
    struct artefact *artefact;
    uint64_t image_offset;
    int64_t vm_from_b;
    uint64_t memory_bytes; /* 0: has no memory, or another module's */
    struct import_binding *bindings;
};

struct snapshot {
    int fd;
    uint64_t serial;     /* of the file, in this process */
    const uint8_t *view; /* the file, mapped for reading */
    uint64_t size;
    struct snapshot_part *parts;
    uint32_t part_count;
    struct placed_instance *instances;
    uint32_t instance_count;
    struct arena_limits limits;
    uint64_t rest_used;

    _Atomic uint32_t keep_pages, mechanism;
    uint32_t stack_pages;
    uint8_t *filled;       /* bit per page of the file: it is not zero */
    _Atomic uint8_t *heat; /* per page: rises when a reset finds it written, fades over resets */
    _Atomic uint32_t resets_since_fading;
    _Atomic uint32_t usual_pages; /* found written per reset: moving average, times 16 */

    struct {
        _Atomic uint64_t restores, restore_ns, resets[RESET_MECHANISMS], reset_ns, pages_written,
            pages_kept, pages_dropped;
    } sums;
};

static inline bool page_filled(const struct snapshot *s, uint64_t page)
{
    return s->filled[page >> 3] >> (page & 7) & 1;
}

static inline void sum_add(_Atomic uint64_t *sum, uint64_t value)
{
    atomic_fetch_add_explicit(sum, value, memory_order_relaxed);
}

/* Maps a part anew: the image's content, nothing private. */
int snapshot_part_map(const struct snapshot *, const struct snapshot_part *, struct arena *,
                      struct error *);

#endif
