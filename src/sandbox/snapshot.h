/*
 * Snapshots of quiescent arenas, instances from them copy-on-write, and reset back to them.
 *
 * A snapshot is a sealed memory file with fields, tables and memory of all instances of an arena;
 * it holds no absolute address, so it fits any slot. It stays in the process and belongs to its
 * artefacts. Source: the project's engine specification, section 10.
 */
#ifndef SANDBOX_SNAPSHOT_H
#define SANDBOX_SNAPSHOT_H

#include "engine/arena.h"

struct snapshot;

/* Takes a snapshot. -ATOLL_EBUSY, naming the reason, when the arena runs, is suspended, has regions
 * mapped or holds external references. The arena goes on unchanged. */
int snapshot_take(struct arena *, struct snapshot **out, struct error *e);
struct snapshot *snapshot_retain(struct snapshot *);
void snapshot_release(struct snapshot *); /* NULL is fine; thread-safe */
/* Bytes of the image, and of them non-zero pages. */
uint64_t snapshot_bytes(const struct snapshot *);

/* How many written pages of each part of an arena a reset keeps resident by copying them back: the
 * next call then writes them without a fault. The rest are dropped. Default SNAPSHOT_KEEP_PAGES. Not
 * while another thread resets. */
#define SNAPSHOT_KEEP_PAGES 64
void snapshot_keep_pages(struct snapshot *, uint32_t pages);

/* A new arena in the snapshot's state, in any slot (SLOT_ANY) or the given one; host functions are
 * bound as they were, with the same data pointers. */
int snapshot_restore(struct snapshot *, uint32_t slot, struct arena **out, struct error *e);

/* Puts an arena made by snapshot_restore back into the snapshot's state: no byte written since, in
 * memory, tables, fields or on the stack, can be observed afterwards; regions are unmapped.
 * -ATOLL_EBUSY while it runs; a suspended run is abandoned. When it fails otherwise, destroy the
 * arena. */
int snapshot_reset(struct snapshot *, struct arena *, struct error *e);

#endif
