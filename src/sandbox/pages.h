/*
 * Which pages of an arena have been written: the ground of reset, capture and dirty tracking.
 *
 * A page counts as written when it is this process's own copy: present or swapped out, and neither
 * a page of the mapped file nor the shared zero page. PAGEMAP_SCAN tells (kernel 6.7), else
 * /proc/self/pagemap.
 */
#ifndef SANDBOX_PAGES_H
#define SANDBOX_PAGES_H

#include "base/error.h"
#include "engine/arena.h"

#include <stddef.h>
#include <string.h>
#include <sys/uio.h>

#define PAGE_BYTES 4096u

struct page_run {
    uint8_t *start;
    uint64_t len; /* bytes, whole pages */
};

/* Finds runs of written pages in [start, start + len), in order. Returns their number; when it
 * equals cap there may be more from the end of the last run on. Negative: an error code. */
int pages_written(const uint8_t *start, uint64_t len, struct page_run *out, size_t cap,
                  struct error *e);

/* Pages of a range registered for asynchronous write protection that were written since they were
 * last protected; protects them again in the same step. Results as above. */
int pages_marked(const uint8_t *start, uint64_t len, struct page_run *out, size_t cap,
                 struct error *e);

static inline bool page_is_zero(const uint8_t *page)
{
    return page[0] == 0 && memcmp(page, page + 1, PAGE_BYTES - 1) == 0;
}

/* A part of an arena that guests write to. */
struct arena_extent {
    int64_t from_b;
    uint64_t len;
    /* So many bytes from its start may be other than zero without having been written; if image is
     * not NULL, only those that lie in runs of its initial image, which begins image_offset bytes
     * before the extent. */
    uint64_t known, image_offset;
    const struct artefact *image;
};

/* The writable parts: for each instance its tables, fields and memory; far tables. The stack is not
 * among them. *out is malloc'ed for the caller. */
int arena_extents(const struct arena *, struct arena_extent **out, uint32_t *count, struct error *);

/* Calls visit for the runs of pages of an extent that are not all zero, in order; ends with the
 * first negative answer. Pages that were never written are not read, where that can be known. */
typedef int (*run_visit)(void *context, const uint8_t *start, uint64_t len, struct error *e);
int extent_visit(const struct arena *, const struct arena_extent *, run_visit visit, void *context,
                 struct error *e);

/* Whether the kernel answers PAGEMAP_SCAN. The first call in a process opens /proc/self/pagemap;
 * pages_written needs it too: make it before the process is confined. */
bool pages_scan_available(void);

/* Pages to be emptied (private changes dropped), collected so that many take one system call.
 * Zero-initialise; end with pages_drop_all. */
struct page_drops {
    struct iovec ranges[64];
    uint32_t count;
};
int pages_drop(struct page_drops *, uint8_t *page, struct error *e);
int pages_drop_all(struct page_drops *, struct error *e);

/* Forbids huge pages in a mapping where the system imposes them: on copy-on-write images they
 * multiply memory and the cost of a reset. */
void pages_refuse_huge(uint8_t *start, uint64_t len);

#endif
