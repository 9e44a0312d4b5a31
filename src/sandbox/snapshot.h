/*
 * Snapshots of quiescent arenas, instances from them copy-on-write, and reset back to them.
 *
 * A snapshot is a sealed memory file with fields, tables and memory of all instances of an arena;
 * it holds no absolute address, so it fits any slot. It stays in the process and belongs to its
 * artefacts; proto_image.h is its form as a file. Taking, restoring and resetting are safe from
 * several threads at once; an arena is used by one at a time. Source: the project's specifications,
 * engine section 10 and faaslets section 7.
 */
#ifndef SANDBOX_SNAPSHOT_H
#define SANDBOX_SNAPSHOT_H

#include "engine/arena.h"

struct snapshot;

/* 0 when nothing in the arena refers to the world outside it, so that its state can be kept. Else
 * -ATOLL_EBUSY, naming the reason: it runs, is suspended, has a region mapped, or holds external
 * references. Descriptors of WASI and locks are their owners' to check. */
int arena_quiescent(const struct arena *, struct error *e);

/* Takes a snapshot of an arena that is quiescent (errors as above), which goes on unchanged. */
int snapshot_take(struct arena *, struct snapshot **out, struct error *e);
void snapshot_release(struct snapshot *); /* NULL is fine; thread-safe */
/* Bytes of the image. */
uint64_t snapshot_bytes(const struct snapshot *);

/* A new arena in the snapshot's state, in any slot (SLOT_ANY) or the given one; host functions are
 * bound as they were, with the same data pointers: instance_rebind gives an instance its own. */
int snapshot_restore(struct snapshot *, uint32_t slot, struct arena **out, struct error *e);

/* Puts an arena made by snapshot_restore back into the snapshot's state: no byte written since, in
 * memory, tables, fields or on the stack, can be observed afterwards; regions are unmapped.
 * -ATOLL_EBUSY while it runs; a suspended run is abandoned. When it fails otherwise, destroy the
 * arena. */
int snapshot_reset(struct snapshot *, struct arena *, struct error *e);

/* ---- how a reset works ---- */

/* All of them are complete: whatever was written is found by a scan of the page map, or everything
 * is replaced. They differ in cost. */
enum reset_mechanism {
    RESET_CHOOSE, /* by what resets of this snapshot have found so far; the default */
    RESET_REMAP,  /* a new mapping over the old one: many pages were written */
    RESET_DROP,   /* madvise: without a usable scan, and when no page is to stay */
    RESET_COPY,   /* copy the image over written pages; the hottest of them stay resident */
    RESET_MECHANISMS
};
/* Any thread, at any time. */
void snapshot_reset_by(struct snapshot *, enum reset_mechanism);

/* How many written pages of an arena, stack included, a reset keeps resident by copying them back:
 * the next call then writes them without a fault. The rest are dropped. Default
 * SNAPSHOT_KEEP_PAGES. Any thread, at any time. */
#define SNAPSHOT_KEEP_PAGES 64
void snapshot_keep_pages(struct snapshot *, uint32_t pages);

/* Sums since the snapshot was taken. */
struct snapshot_counters {
    uint64_t restores, restore_ns;
    uint64_t resets[RESET_MECHANISMS]; /* by what was done; [RESET_CHOOSE] stays 0 */
    uint64_t reset_ns;
    uint64_t pages_written; /* that differed from the image; 0 for drop and remap: not counted */
    uint64_t pages_kept;    /* left resident */
    uint64_t pages_dropped; /* by RESET_COPY: beyond the limit, or not written for long */
};
/* Reads without a lock: each sum is right by itself. */
void snapshot_counters(const struct snapshot *, struct snapshot_counters *out);

#endif
