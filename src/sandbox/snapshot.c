/*
 * Snapshots (snapshot.h).
 *
 * Layout of the memory file: the arena's extents (pages.h) one behind the other. Every extent is
 * one private mapping of its part of the file, so a reset returns to the file's content either by
 * copying it over the written pages (few of them: they stay resident, no fault next time) or by
 * dropping all private pages (many). A scan of the page map finds what was written; nothing is
 * guessed.
 */
#include "sandbox/snapshot.h"

#include "base/file.h"
#include "sandbox/pages.h"
#include "sandbox/region.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define RUNS_MAX  512
#define DROP_RUNS 32 /* more runs than these are dropped by one call */

struct placed_instance {
    struct artefact *artefact;
    uint64_t image_offset;
    int64_t vm_from_b;
    struct import_binding *bindings;
};

struct snapshot {
    _Atomic uint32_t references;
    int fd;
    const uint8_t *view; /* the file, mapped for reading */
    uint64_t size;
    struct arena_extent *extents;
    uint64_t *offsets; /* of each extent in the file */
    uint32_t extent_count;
    struct placed_instance *instances;
    uint32_t instance_count;
    struct arena_limits limits;
    uint64_t rest_used;
    uint32_t keep_pages;
};

/* ---- taking ---- */

static int quiescent_check(const struct arena *a, struct error *e)
{
    const char *why = NULL;
    if (a->context.depth)
        why = "it is running";
    else if (a->context.suspended)
        why = "a call is suspended in it";
    else if (a->region_count)
        why = "shared regions are mapped into it";
    else if (a->externref_count)
        why = "it holds references to objects of the host";
    return why ? error_set(e, ATOLL_EBUSY, "no snapshot of this arena can be taken: %s", why) : 0;
}

static int instances_record(struct snapshot *s, const struct arena *a, struct error *e)
{
    s->instances = calloc(a->instance_count + 1ull, sizeof *s->instances);
    if (!s->instances)
        return error_set(e, ATOLL_ENOMEM, "no memory for a snapshot");
    for (uint32_t k = 0; k < a->instance_count; k++) {
        const struct instance *i = a->instances[k];
        struct placed_instance *p = &s->instances[k];
        size_t bytes = i->artefact->module.imported_functions * sizeof *p->bindings;
        p->bindings = malloc(bytes + 1);
        if (!p->bindings)
            return error_set(e, ATOLL_ENOMEM, "no memory for a snapshot");
        memcpy(p->bindings, i->bindings, bytes);
        p->artefact = artefact_retain(i->artefact);
        p->image_offset = i->image_offset;
        p->vm_from_b = i->vm - a->base;
        s->instance_count++;
    }
    return 0;
}

/* Writes the extents' non-zero pages to the file; zero pages stay holes. */
static int extents_write(const struct snapshot *s, const struct arena *a, struct error *e)
{
    for (uint32_t x = 0; x < s->extent_count; x++) {
        const uint8_t *from = a->base + s->extents[x].from_b;
        uint64_t len = s->extents[x].len;
        for (uint64_t at = 0; at < len;) {
            uint64_t run = at;
            while (run < len && !page_is_zero(from + run))
                run += PAGE_BYTES;
            if (run > at && pwrite(s->fd, from + at, run - at, (off_t)(s->offsets[x] + at)) !=
                                (ssize_t)(run - at))
                return error_set_errno(e, ATOLL_ENOMEM, "cannot write a snapshot of %llu bytes",
                                       (unsigned long long)s->size);
            at = run + PAGE_BYTES;
        }
    }
    return 0;
}

static int snapshot_fill(struct snapshot *s, struct arena *a, struct error *e)
{
    int rc = arena_extents(a, &s->extents, &s->extent_count, e);
    if (rc < 0 || (rc = instances_record(s, a, e)) < 0)
        return rc;
    s->offsets = calloc(s->extent_count + 1ull, sizeof *s->offsets);
    if (!s->offsets)
        return error_set(e, ATOLL_ENOMEM, "no memory for a snapshot");
    for (uint32_t x = 0; x < s->extent_count; x++) {
        s->offsets[x] = s->size;
        s->size += s->extents[x].len;
    }
    s->fd = memory_file("atoll-snapshot", NULL, 0, s->size, false, false, e);
    if (s->fd < 0)
        return s->fd;
    *arena_field(a->base, FIELD_CONTEXT) = 0; /* written again at each enter */
    if ((rc = extents_write(s, a, e)) < 0 || (rc = memory_file_seal(s->fd, e)) < 0)
        return rc;
    s->view = mmap(NULL, s->size, PROT_READ, MAP_SHARED, s->fd, 0);
    if (s->view == MAP_FAILED) {
        s->view = NULL;
        return error_set_errno(e, ATOLL_ENOMEM, "cannot map a snapshot");
    }
    s->limits = a->limits;
    s->rest_used = a->rest_used;
    return 0;
}

int snapshot_take(struct arena *a, struct snapshot **out, struct error *e)
{
    *out = NULL;
    int rc = quiescent_check(a, e);
    if (rc < 0 || (rc = arena_map_fields(a, e)) < 0)
        return rc;
    struct snapshot *s = calloc(1, sizeof *s);
    if (!s)
        return error_set(e, ATOLL_ENOMEM, "no memory for a snapshot");
    s->references = 1;
    s->keep_pages = SNAPSHOT_KEEP_PAGES;
    s->fd = -1;
    if ((rc = snapshot_fill(s, a, e)) < 0) {
        snapshot_release(s);
        return rc;
    }
    *out = s;
    return 0;
}

struct snapshot *snapshot_retain(struct snapshot *s)
{
    atomic_fetch_add(&s->references, 1);
    return s;
}

void snapshot_release(struct snapshot *s)
{
    if (!s || atomic_fetch_sub(&s->references, 1) != 1)
        return;
    if (s->view)
        munmap((void *)s->view, s->size);
    if (s->fd >= 0)
        close(s->fd);
    for (uint32_t k = 0; k < s->instance_count; k++) {
        artefact_release(s->instances[k].artefact);
        free(s->instances[k].bindings);
    }
    free(s->instances);
    free(s->offsets);
    free(s->extents);
    free(s);
}

void snapshot_keep_pages(struct snapshot *s, uint32_t pages)
{
    s->keep_pages = pages;
}

uint64_t snapshot_bytes(const struct snapshot *s)
{
    return s->size;
}

/* ---- restoring ---- */

static int extents_map(const struct snapshot *s, struct arena *a, struct error *e)
{
    for (uint32_t x = 0; x < s->extent_count; x++)
        if (s->extents[x].len &&
            mmap(a->base + s->extents[x].from_b, s->extents[x].len, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, s->fd,
                 (off_t)s->offsets[x]) == MAP_FAILED)
            return error_set_errno(e, ATOLL_ENOMEM, "cannot map a snapshot into an arena");
    a->fields_mapped = true;
    return 0;
}

static int instances_place(const struct snapshot *s, struct arena *a, struct error *e)
{
    for (uint32_t k = 0; k < s->instance_count; k++) {
        const struct placed_instance *p = &s->instances[k];
        struct instance *i;
        int rc = instance_adopt(a, p->artefact, p->image_offset, p->vm_from_b, &i, e);
        if (rc < 0)
            return rc;
        memcpy(i->bindings, p->bindings,
               p->artefact->module.imported_functions * sizeof *p->bindings);
    }
    return 0;
}

int snapshot_restore(struct snapshot *s, uint32_t slot, struct arena **out, struct error *e)
{
    struct arena *a;
    int rc = arena_create(slot, &s->limits, &a, e);
    *out = NULL;
    if (rc < 0)
        return rc;
    a->rest_used = s->rest_used;
    a->from_snapshot = true;
    if ((rc = instances_place(s, a, e)) == 0)
        rc = extents_map(s, a, e);
    for (uint32_t k = 0; rc == 0 && k < a->instance_count; k++)
        rc = instance_adopt_types(a->instances[k], e);
    if (rc < 0) {
        arena_destroy(a);
        return rc;
    }
    *out = a;
    return 0;
}

/* ---- reset ---- */

/* Memories that grew since: back to inaccessible, contents gone. */
static int memories_shrink(const struct snapshot *s, struct arena *a, struct error *e)
{
    struct arena_extent *now;
    uint32_t count;
    int rc = arena_extents(a, &now, &count, e);
    if (rc < 0)
        return rc;
    assert(count == s->extent_count);
    for (uint32_t x = 0; x < count && rc == 0; x++) {
        uint8_t *grown = a->base + s->extents[x].from_b + s->extents[x].len;
        uint64_t len = now[x].len - s->extents[x].len;
        if (len &&
            (madvise(grown, len, MADV_DONTNEED) != 0 || mprotect(grown, len, PROT_NONE) != 0))
            rc = error_set_errno(e, ATOLL_ENOMEM, "cannot take back grown memory");
    }
    free(now);
    return rc;
}

static int drop(uint8_t *start, uint64_t len, struct error *e)
{
    if (len && madvise(start, len, MADV_DONTNEED) != 0)
        return error_set_errno(e, ATOLL_ENOMEM, "cannot drop the pages of an arena");
    return 0;
}

static void copy_back(uint8_t *start, uint64_t len, const uint8_t *source)
{
    if (source)
        memcpy(start, source, len);
    else
        memset(start, 0, len);
}

/* Restores [start, start + len) to `source` (NULL = zeros): the first keep written pages are copied
 * over, the others dropped, one by one while they are few, else with all that lies behind them. */
static int range_reset(uint8_t *start, uint64_t len, const uint8_t *source, uint64_t keep,
                       struct error *e)
{
    struct page_run runs[RUNS_MAX];
    int count = pages_written(start, len, runs, RUNS_MAX, e);
    if (count < 0)
        return drop(start, len, e);
    for (int k = 0; k < count; k++) {
        uint8_t *at = runs[k].start;
        uint64_t left = runs[k].len, kept = left / PAGE_BYTES < keep ? left : keep * PAGE_BYTES;
        copy_back(at, kept, source ? source + (at - start) : NULL);
        keep -= kept / PAGE_BYTES;
        at += kept;
        left -= kept;
        if (left && count - k > DROP_RUNS)
            return drop(at, (uint64_t)(start + len - at), e);
        int rc = drop(at, left, e);
        if (rc < 0)
            return rc;
    }
    /* A full list may have missed what lies behind its last run. */
    uint8_t *end = count == RUNS_MAX ? runs[count - 1].start + runs[count - 1].len : start + len;
    return drop(end, (uint64_t)(start + len - end), e);
}

int snapshot_reset(struct snapshot *s, struct arena *a, struct error *e)
{
    if (a->context.depth)
        return error_set(e, ATOLL_EBUSY, "an arena cannot be reset while it runs");
    if (a->instance_count != s->instance_count)
        return error_set(e, ATOLL_EBUSY, "modules were linked since: destroy the arena instead");
    arena_abandon(a);
    atomic_store(&a->context.stop, 0);
    region_unmap_all(a);
    a->externref_count = 0;
    int rc = memories_shrink(s, a, e);
    for (uint32_t x = 0; rc == 0 && x < s->extent_count; x++)
        rc = range_reset(a->base + s->extents[x].from_b, s->extents[x].len, s->view + s->offsets[x],
                         s->keep_pages, e);
    if (rc == 0 && a->stack_low)
        rc = range_reset(a->stack_low, (uint64_t)(a->stack_high - a->stack_low), NULL,
                         s->keep_pages, e);
    return rc;
}
