/* Takes and encodes captured images (capture.h; image_format.h draws the file). */
#define _GNU_SOURCE
#include "sandbox/capture.h"

#include "base/clock.h"
#include "sandbox/image_format.h"
#include "sandbox/pages.h"
#include "sandbox/vector_state.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define RED_ZONE   128u
#define RUNS_BATCH 256
#define SMALL_COPY (2u << 20) /* copied without large pages */

struct capture {
    struct image_header header;
    struct vector_state vectors;
    struct arena_extent *parts;
    struct image_module *modules;
    struct artefact **artefacts;
    struct image_region *regions;
    uint64_t *externrefs;
    struct image_part *runs;
    uint64_t run_capacity;
    uint8_t *pages; /* copies of the runs, in order */
    uint64_t pages_capacity;
};

/* ---- pages ---- */

static bool runs_reserve(struct capture *c)
{
    if (c->header.run_count < c->run_capacity)
        return true;
    uint64_t capacity = c->run_capacity ? 2 * c->run_capacity : RUNS_BATCH;
    struct image_part *grown = realloc(c->runs, capacity * sizeof *grown);
    if (!grown)
        return false;
    c->runs = grown;
    c->run_capacity = capacity;
    return true;
}

/* Room for copies of all the arena's parts and its stack: address space, which costs nothing until
 * it is written. Large pages, where there are any, save most of the faults of a large copy; a small
 * one does without. */
static int pages_reserve(struct capture *c, const struct arena *a, struct error *e)
{
    c->pages_capacity = (uint64_t)(a->stack_high - a->stack_low);
    for (uint32_t k = 0; k < c->header.part_count; k++)
        c->pages_capacity += c->parts[k].len;
    void *pages = mmap(NULL, c->pages_capacity, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pages == MAP_FAILED)
        return error_set_errno(e, ATOLL_ENOMEM, "no room to copy the pages of an arena");
    c->pages = pages;
    if (c->pages_capacity > SMALL_COPY)
        (void)madvise(c->pages + SMALL_COPY, c->pages_capacity - SMALL_COPY, MADV_HUGEPAGE);
    return 0;
}

static int run_copy(struct capture *c, const struct arena *a, const uint8_t *start, uint64_t len,
                    struct error *e)
{
    if (!runs_reserve(c))
        return error_set(e, ATOLL_ENOMEM, "no memory to copy the pages of an arena");
    assert(len <= c->pages_capacity - c->header.run_bytes);
    c->runs[c->header.run_count++] = (struct image_part){start - a->base, len};
    memcpy(c->pages + c->header.run_bytes, start, len);
    c->header.run_bytes += len;
    return 0;
}

/* Copies [start, start + len). From zero_base on the base is zero, so zero pages can be left out.
 */
static int range_copy(struct capture *c, const struct arena *a, const uint8_t *start, uint64_t len,
                      const uint8_t *zero_base, struct error *e)
{
    for (uint64_t at = 0; at < len;) {
        uint64_t run = at;
        while (run < len && !(start + run >= zero_base && page_is_zero(start + run)))
            run += PAGE_BYTES;
        int rc = run > at ? run_copy(c, a, start + at, run - at, e) : 0;
        if (rc < 0)
            return rc;
        at = run + PAGE_BYTES;
    }
    return 0;
}

static int extent_copy(struct capture *c, const struct arena *a, const struct arena_extent *x,
                       struct error *e)
{
    uint8_t *at = a->base + x->from_b, *end = at + x->len;
    const struct instance *p = a->primary;
    bool of_primary = p && x->from_b == -(int64_t)p->artefact->layout.low_size;
    const uint8_t *zero_base =
        of_primary ? at + align_up(p->artefact->data_populated, PAGE_BYTES) : end;
    if (a->from_snapshot) /* its base is the snapshot, which stays behind: copy everything */
        return range_copy(c, a, at, x->len, zero_base, e);
    struct page_run runs[RUNS_BATCH];
    while (at < end) {
        int count = pages_written(at, (uint64_t)(end - at), runs, RUNS_BATCH, e);
        if (count < 0)
            return count;
        for (int k = 0; k < count; k++) {
            int rc = range_copy(c, a, runs[k].start, runs[k].len, zero_base, e);
            if (rc < 0)
                return rc;
        }
        if (count < RUNS_BATCH)
            break;
        at = runs[count - 1].start + runs[count - 1].len;
    }
    return 0;
}

static int stack_copy(struct capture *c, const struct arena *a, uint64_t rsp, struct error *e)
{
    uint64_t low = (rsp - RED_ZONE) & ~(uint64_t)(PAGE_BYTES - 1);
    uint64_t bottom = (uint64_t)(uintptr_t)a->stack_low, high = (uint64_t)(uintptr_t)a->stack_high;
    if (low < bottom)
        low = bottom;
    return low < high ? run_copy(c, a, (const uint8_t *)(uintptr_t)low, high - low, e) : 0;
}

/* ---- the rest of the state ---- */

static void header_fill(struct capture *c, const struct arena *a)
{
    const struct context *x = &a->context;
    struct image_header *h = &c->header;
    uint64_t b = (uint64_t)(uintptr_t)a->base;
    memcpy(h->magic, IMAGE_MAGIC, sizeof h->magic);
    h->format = IMAGE_FORMAT;
    h->slot = a->slot;
    gate_identity(h->gate);
    h->memory_bytes = a->limits.memory_bytes;
    h->stack_bytes = a->limits.stack_bytes;
    h->table_entries = a->limits.table_entries;
    h->no_window = a->limits.no_window;
    h->suspended = x->suspended;
    h->suspended_rsp = x->suspended_rsp;
    h->running_instance = x->running_instance;
    h->running_function = x->running_function;
    h->gate_calls = x->gate_calls;
    h->rest_used = a->rest_used;
    h->deadline_left_ns = HOST_NO_DEADLINE;
    if (x->suspended == LEAVE_INTERRUPTED) {
        memcpy(h->general, x->registers.general, sizeof h->general);
        h->rip = x->registers.rip;
        h->rflags = x->registers.rflags;
        vector_state_load(&x->registers, x->vector, &c->vectors);
    }
    if (x->suspended == LEAVE_PARKED) {
        h->pending_vm = (int64_t)(x->pending_vm - b);
        h->pending_number = x->pending_number;
        if (x->park->deadline_ns != HOST_NO_DEADLINE)
            h->deadline_left_ns = x->park->deadline_ns - clock_monotonic_ns();
    }
    h->thunk = (int64_t)(x->thunk - b);
    h->vm = (int64_t)(x->vm - b);
    h->code = (int64_t)(x->code - b);
    h->area = (int64_t)(x->area - b);
}

static int modules_copy(struct capture *c, const struct arena *a, struct error *e)
{
    c->modules = calloc(a->instance_count + 1ull, sizeof *c->modules);
    c->artefacts = calloc(a->instance_count + 1ull, sizeof(struct artefact *));
    if (!c->modules || !c->artefacts)
        return error_set(e, ATOLL_ENOMEM, "no memory for the modules of an image");
    for (uint32_t k = 0; k < a->instance_count; k++) {
        const struct instance *i = a->instances[k];
        c->artefacts[k] = artefact_retain(i->artefact);
        c->modules[k].image_offset = i->image_offset;
        c->modules[k].vm_from_b = i->vm - a->base;
        memcpy(c->modules[k].id, i->artefact->id, HASH_LEN);
        c->header.cpu_features |= i->artefact->cpu_features;
        c->header.module_count++;
    }
    return 0;
}

static int tables_copy(struct capture *c, const struct arena *a, struct error *e)
{
    c->regions = calloc(a->region_count + 1ull, sizeof *c->regions);
    c->externrefs = calloc(a->externref_count + 1ull, sizeof *c->externrefs);
    if (!c->regions || !c->externrefs)
        return error_set(e, ATOLL_ENOMEM, "no memory for the regions of an image");
    for (uint32_t k = 0; k < a->region_count; k++) {
        const struct region *r = &a->regions[k];
        struct image_region *out = &c->regions[k];
        *out = (struct image_region){
            .offset = r->offset, .len = r->len, .address = r->address, .rights = r->rights};
        memcpy(out->name, r->name, sizeof out->name);
    }
    if (a->externref_count)
        memcpy(c->externrefs, a->externrefs, a->externref_count * sizeof *c->externrefs);
    c->header.region_count = a->region_count;
    c->header.externref_count = a->externref_count;
    return 0;
}

static int capture_fill(struct capture *c, struct arena *a, struct error *e)
{
    header_fill(c, a);
    int rc = arena_extents(a, &c->parts, &c->header.part_count, e);
    if (rc == 0)
        rc = modules_copy(c, a, e);
    if (rc == 0)
        rc = tables_copy(c, a, e);
    if (rc == 0)
        rc = pages_reserve(c, a, e);
    *arena_field(a->base, FIELD_CONTEXT) = 0; /* written again at each enter */
    for (uint32_t k = 0; rc == 0 && k < c->header.part_count; k++)
        rc = extent_copy(c, a, &c->parts[k], e);
    uint64_t rsp =
        c->header.suspended == LEAVE_INTERRUPTED ? c->header.general[4] : c->header.suspended_rsp;
    return rc == 0 ? stack_copy(c, a, rsp, e) : rc;
}

int capture_take(struct arena *a, struct capture **out, struct error *e)
{
    *out = NULL;
    if (!a->context.suspended)
        return error_set(e, ATOLL_EBUSY,
                         "only a suspended arena can be captured: interrupt it "
                         "first");
    if (a->context.depth)
        return error_set(e, ATOLL_EBUSY,
                         "a host function that called the guest is still running: "
                         "its frames cannot be captured");
    struct capture *c = calloc(1, sizeof *c);
    if (!c)
        return error_set(e, ATOLL_ENOMEM, "no memory for an image");
    int rc = capture_fill(c, a, e);
    if (rc < 0) {
        capture_destroy(c);
        return rc;
    }
    *out = c;
    return 0;
}

void capture_destroy(struct capture *c)
{
    if (!c)
        return;
    for (uint32_t k = 0; k < c->header.module_count; k++)
        artefact_release(c->artefacts[k]);
    if (c->pages)
        munmap(c->pages, c->pages_capacity);
    free(c->parts);
    free(c->modules);
    free(c->artefacts);
    free(c->regions);
    free(c->externrefs);
    free(c->runs);
    free(c);
}

uint64_t capture_page_bytes(const struct capture *c)
{
    return c->header.run_bytes;
}

/* ---- encoding ---- */

static int modules_encode(const struct capture *c, struct buffer *out, struct error *e)
{
    for (uint32_t k = 0; k < c->header.module_count; k++) {
        struct buffer bytes = {0};
        int rc = artefact_bytes(c->artefacts[k], &bytes, e);
        if (rc == 0) {
            c->modules[k].artefact_len = bytes.len;
            if (!buffer_append(out, &c->modules[k], sizeof c->modules[k]) ||
                !buffer_append(out, bytes.data, bytes.len) || !buffer_align(out, 8))
                rc = error_set(e, ATOLL_ENOMEM, "no memory for an image");
        }
        buffer_free(&bytes);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static bool state_encode(const struct capture *c, const struct buffer *host_state,
                         const struct buffer *policy, struct buffer *out)
{
    const struct image_header *h = &c->header;
    for (uint32_t k = 0; k < h->part_count; k++) {
        struct image_part part = {c->parts[k].from_b, c->parts[k].len};
        if (!buffer_append(out, &part, sizeof part))
            return false;
    }
    return buffer_append(out, c->regions, h->region_count * sizeof *c->regions) &&
           buffer_append(out, c->externrefs, h->externref_count * sizeof *c->externrefs) &&
           buffer_append(out, c->runs, h->run_count * sizeof *c->runs) &&
           buffer_append(out, c->pages, h->run_bytes) &&
           buffer_append(out, host_state->data, host_state->len) && buffer_align(out, 8) &&
           buffer_append(out, policy->data, policy->len) && buffer_align(out, 8);
}

int capture_encode(const struct capture *c, const struct key_pair *key,
                   const struct buffer *host_state, const struct buffer *policy, struct buffer *out,
                   struct error *e)
{
    struct image_header header = c->header;
    header.host_state_len = host_state->len;
    header.policy_len = policy->len;
    if (!buffer_append(out, &header, sizeof header) ||
        !buffer_append(out, &c->vectors, sizeof c->vectors))
        return error_set(e, ATOLL_ENOMEM, "no memory for an image");
    int rc = modules_encode(c, out, e);
    if (rc < 0)
        return rc;
    struct image_trailer trailer;
    memcpy(trailer.signer, key->public_key, sizeof trailer.signer);
    if (!state_encode(c, host_state, policy, out) ||
        !buffer_append(out, trailer.signer, sizeof trailer.signer))
        return error_set(e, ATOLL_ENOMEM, "no memory for an image");
    uint8_t hash[HASH_LEN];
    hash_blake2b(out->data, out->len, (const uint8_t *)IMAGE_DOMAIN, sizeof IMAGE_DOMAIN - 1, hash);
    sign_detached(key, hash, sizeof hash, trailer.signature);
    return buffer_append(out, trailer.signature, sizeof trailer.signature)
               ? 0
               : error_set(e, ATOLL_ENOMEM, "no memory for an image");
}
