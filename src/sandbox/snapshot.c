/* Taking and restoring snapshots (snapshot.h; snapshot_parts.h draws the memory file). */
#include "sandbox/snapshot.h"

#include "base/clock.h"
#include "base/file.h"
#include "sandbox/snapshot_parts.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- taking ---- */

int arena_quiescent(const struct arena *a, struct error *e)
{
    const char *why = NULL;
    if (a->context.depth)
        why = "it is running";
    else if (a->context.suspended)
        why = "a call is suspended in it";
    else if (a->externref_count)
        why = "it holds references to objects of the host";
    else if (a->region_count)
        return error_set(e, ATOLL_EBUSY,
                         "the state of this arena cannot be kept: the shared region \"%s\" is "
                         "mapped into it: unmap it first, and map it again where it is needed",
                         a->regions[0].name);
    return why ? error_set(e, ATOLL_EBUSY, "the state of this arena cannot be kept: %s", why) : 0;
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
        p->memory_bytes = i->artefact->module.imported_memories ? 0 : instance_memory_bytes(i);
        s->instance_count++;
    }
    return 0;
}

static int extent_compare(const void *left, const void *right)
{
    const struct arena_extent *a = left, *b = right;
    return (a->from_b > b->from_b) - (a->from_b < b->from_b);
}

/* Orders the extents and gives each its part of the file. */
static int parts_place(struct snapshot *s, struct arena_extent *extents, uint32_t count,
                       struct error *e)
{
    qsort(extents, count, sizeof *extents, extent_compare);
    s->parts = calloc(count + 1ull, sizeof *s->parts);
    if (!s->parts)
        return error_set(e, ATOLL_ENOMEM, "no memory for a snapshot");
    for (uint32_t x = 0; x < count; x++) {
        if (!extents[x].len)
            continue;
        s->parts[s->part_count++] =
            (struct snapshot_part){extents[x].from_b, extents[x].len, s->size};
        s->size += extents[x].len;
    }
    s->stack_pages = (uint32_t)(s->limits.stack_bytes / PAGE_BYTES);
    s->heat = calloc(s->stack_pages + s->size / PAGE_BYTES + 1, sizeof *s->heat);
    s->filled = calloc(s->size / PAGE_BYTES / 8 + 1, 1);
    return s->heat && s->filled ? 0 : error_set(e, ATOLL_ENOMEM, "no memory for a snapshot");
}

struct filling {
    struct snapshot *s;
    const uint8_t *start; /* of the extent, and where in the file it begins */
    uint64_t offset;
};

static int run_write(void *context, const uint8_t *start, uint64_t len, struct error *e)
{
    struct filling *f = context;
    uint64_t at = f->offset + (uint64_t)(start - f->start);
    if (file_write_at(f->s->fd, start, len, at, e) < 0)
        return error_set(e, ATOLL_ENOMEM, "cannot write a snapshot of %llu bytes: %s",
                         (unsigned long long)f->s->size, e->text);
    for (uint64_t page = at / PAGE_BYTES; page < (at + len) / PAGE_BYTES; page++)
        f->s->filled[page >> 3] |= (uint8_t)(1u << (page & 7));
    return 0;
}

/* Writes the extents' non-zero pages to the file; zero pages stay holes. */
static int parts_write(struct snapshot *s, const struct arena *a,
                       const struct arena_extent *extents, uint32_t count, struct error *e)
{
    struct filling f = {.s = s};
    for (uint32_t x = 0; x < count; x++) {
        f.start = a->base + extents[x].from_b;
        int rc = extent_visit(a, &extents[x], run_write, &f, e);
        if (rc < 0)
            return rc;
        f.offset += extents[x].len;
    }
    return 0;
}

static int file_fill(struct snapshot *s, const struct arena *a, struct error *e)
{
    struct arena_extent *extents;
    uint32_t count;
    int rc = arena_extents(a, &extents, &count, e);
    if (rc < 0)
        return rc;
    rc = parts_place(s, extents, count, e);
    if (rc == 0)
        rc = s->fd = memory_file("atoll-snapshot", NULL, 0, s->size, false, false, e);
    if (rc >= 0)
        rc = parts_write(s, a, extents, count, e);
    if (rc == 0)
        rc = memory_file_seal(s->fd, e);
    free(extents);
    return rc;
}

static int snapshot_fill(struct snapshot *s, struct arena *a, struct error *e)
{
    s->limits = a->limits;
    s->rest_used = a->rest_used;
    *arena_field(a->base, FIELD_CONTEXT) = 0; /* written again at each enter */
    int rc = instances_record(s, a, e);
    if (rc < 0 || (rc = file_fill(s, a, e)) < 0)
        return rc;
    s->view = mmap(NULL, s->size, PROT_READ, MAP_SHARED, s->fd, 0);
    if (s->view == MAP_FAILED) {
        s->view = NULL;
        return error_set_errno(e, ATOLL_ENOMEM, "cannot map a snapshot");
    }
    return 0;
}

int snapshot_take(struct arena *a, struct snapshot **out, struct error *e)
{
    *out = NULL;
    int rc = arena_quiescent(a, e);
    if (rc < 0 || (rc = arena_map_fields(a, e)) < 0)
        return rc;
    struct snapshot *s = calloc(1, sizeof *s);
    if (!s)
        return error_set(e, ATOLL_ENOMEM, "no memory for a snapshot");
    static _Atomic uint64_t serial;
    s->serial = 1 + atomic_fetch_add(&serial, 1);
    s->keep_pages = SNAPSHOT_KEEP_PAGES;
    s->fd = -1;
    if ((rc = snapshot_fill(s, a, e)) < 0) {
        snapshot_release(s);
        return rc;
    }
    *out = s;
    return 0;
}

void snapshot_release(struct snapshot *s)
{
    if (!s)
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
    free(s->parts);
    free(s->heat);
    free(s->filled);
    free(s);
}

uint64_t snapshot_bytes(const struct snapshot *s)
{
    return s->size;
}

void snapshot_counters(const struct snapshot *s, struct snapshot_counters *out)
{
    out->restores = s->sums.restores;
    out->restore_ns = s->sums.restore_ns;
    for (int k = 0; k < RESET_MECHANISMS; k++)
        out->resets[k] = s->sums.resets[k];
    out->reset_ns = s->sums.reset_ns;
    out->pages_written = s->sums.pages_written;
    out->pages_kept = s->sums.pages_kept;
    out->pages_dropped = s->sums.pages_dropped;
}

/* ---- restoring ---- */

int snapshot_part_map(const struct snapshot *s, const struct snapshot_part *part, struct arena *a,
                      struct error *e)
{
    uint8_t *at = a->base + part->from_b;
    arena_reach(a, at + part->len);
    if (mmap(at, part->len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, s->fd,
             (off_t)part->offset) == MAP_FAILED)
        return error_set_errno(e, ATOLL_ENOMEM, "cannot map a snapshot into an arena");
    pages_refuse_huge(at, part->len);
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

static int snapshot_place(const struct snapshot *s, struct arena *a, struct error *e)
{
    a->rest_used = s->rest_used;
    a->from_snapshot = true;
    int rc = instances_place(s, a, e);
    for (uint32_t x = 0; rc == 0 && x < s->part_count; x++) {
        const struct snapshot_part *p = &s->parts[x];
        bool low = p->from_b < 0; /* with the fields of the arena */
        const struct file_part part = {s->fd, p->offset, s->serial};
        rc = low ? arena_map_data(a, a->base + p->from_b, p->len, &part, e)
                 : snapshot_part_map(s, p, a, e);
        if (rc == 0)
            pages_refuse_huge(a->base + p->from_b, p->len);
    }
    for (uint32_t k = 0; rc == 0 && k < a->instance_count; k++)
        rc = instance_adopt_types(a->instances[k], e);
    return rc;
}

/* The artefact whose code stands at ARENA_IMAGES: a slot may have it mapped already. */
static const struct artefact *first_code(const struct snapshot *s)
{
    for (uint32_t k = 0; k < s->instance_count; k++)
        if (s->instances[k].image_offset == ARENA_IMAGES)
            return s->instances[k].artefact;
    return NULL;
}

int snapshot_restore(struct snapshot *s, uint32_t slot, struct arena **out, struct error *e)
{
    int64_t start = clock_monotonic_ns();
    struct arena *a;
    int rc = arena_create_for(slot, &s->limits, first_code(s), &a, e);
    *out = NULL;
    if (rc < 0)
        return rc;
    if ((rc = snapshot_place(s, a, e)) < 0) {
        arena_destroy(a);
        return rc;
    }
    sum_add(&s->sums.restores, 1);
    sum_add(&s->sums.restore_ns, (uint64_t)(clock_monotonic_ns() - start));
    *out = a;
    return 0;
}
