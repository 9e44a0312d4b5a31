/*
 * Dirty tracking: which pages of an arena were written since the last look, for incremental
 * checkpoints and for pushing state.
 *
 * Two methods, probed for truth at first use (write a page, expect to see it):
 *   scan     userfaultfd write protection in asynchronous mode with PAGEMAP_SCAN (kernel 6.7): the
 *            kernel marks pages as they are written, and a look rearms them in the same call
 *   compare  a hash of every written page is kept and compared: slower, needs nothing
 * Page protection with a fault handler is not among them: the kernel's own writes into guest memory
 * (a read() into a buffer) would fail with EFAULT instead of being seen.
 *
 * Tracked are the writable parts of the arena (tables, fields, memory), not its stack and not
 * shared regions. Memory that grows after the start is tracked from then on; its written pages are
 * dirty.
 */
#ifndef SANDBOX_DIRTY_H
#define SANDBOX_DIRTY_H

#include "sandbox/pages.h"

enum dirty_method { DIRTY_BEST, DIRTY_SCAN, DIRTY_COMPARE };

struct dirty_tracker;

/* Begins to track; every page counts as clean. One tracker per arena; the arena outlives it and is
 * not linked to further while tracked. -ATOLL_EUNAVAIL when the demanded method does not work here.
 */
int dirty_start(struct arena *, enum dirty_method, struct dirty_tracker **out, struct error *e);
void dirty_stop(struct dirty_tracker *); /* NULL is fine */

/* Appends the runs of pages written since the start or the last look, ordered within each part; all
 * count as clean afterwards. *runs is malloc'ed for the caller. The arena must not run meanwhile.
 */
int dirty_collect(struct dirty_tracker *, struct page_run **runs, size_t *count, struct error *e);

#endif
