/*
 * Resets: an arena returns to its snapshot (snapshot.h).
 *
 * Completeness. A guest writes to its memory, tables, fields and stack. All of that is private
 * mappings of the snapshot's file, or anonymous memory (stack, memory that grew). What grew is
 * closed first. Then either every mapping is replaced or emptied (remap, drop), or every page that
 * is private to this process is found by one scan over the whole range, swapped-out ones included,
 * and is put back or dropped (copy). Nothing is guessed; what resets learn decides only which pages
 * stay resident and which mechanism is cheapest.
 *
 * Which pages stay. A page that is kept costs a comparison at every reset; a page that is dropped
 * costs a fault at its next write, thirty times as much. So the heat of a page rises when a reset
 * finds that the call has changed it, and all heats are halved every FADING_RESETS resets: a page
 * is kept while it is warm at all, and when there are more than the limit the hottest are.
 */
#define _GNU_SOURCE
#include "base/clock.h"
#include "sandbox/region.h"
#include "sandbox/snapshot_parts.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define RUNS_MAX    1024u /* of written pages; with more, everything is replaced */
#define REMAP_PAGES 256u  /* usually written: beyond, a new mapping is cheaper */
#define PROBE_RESETS                                                            \
    32u /* of a snapshot that is remapped: one looks whether it still should be \
         */
#define FADING_RESETS 64u
#define HEAT_STEP     2u
#define HEATS         256u
#define USUAL_WEIGHT  16u /* fixed point of usual_pages, and the length of its memory */

void snapshot_keep_pages(struct snapshot *s, uint32_t pages)
{
    s->keep_pages = pages;
}

void snapshot_reset_by(struct snapshot *s, enum reset_mechanism mechanism)
{
    s->mechanism = mechanism;
}

/* ---- what a reset learns ---- */

static void heat_raise(struct snapshot *s, uint64_t page)
{
    uint8_t heat = atomic_load_explicit(&s->heat[page], memory_order_relaxed);
    if (heat <= HEATS - 1 - HEAT_STEP)
        atomic_store_explicit(&s->heat[page], (uint8_t)(heat + HEAT_STEP), memory_order_relaxed);
}

static void heat_fade(struct snapshot *s)
{
    if (atomic_fetch_add_explicit(&s->resets_since_fading, 1, memory_order_relaxed) %
            FADING_RESETS !=
        FADING_RESETS - 1)
        return;
    for (uint64_t k = 0; k < s->stack_pages + s->size / PAGE_BYTES; k++) {
        uint8_t heat = atomic_load_explicit(&s->heat[k], memory_order_relaxed);
        if (heat)
            atomic_store_explicit(&s->heat[k], heat / 2, memory_order_relaxed);
    }
}

static void usual_learn(struct snapshot *s, uint64_t pages)
{
    uint32_t usual = atomic_load_explicit(&s->usual_pages, memory_order_relaxed);
    uint32_t found = (uint32_t)(pages < 1u << 24 ? pages : 1u << 24);
    atomic_store_explicit(&s->usual_pages, usual + found - usual / USUAL_WEIGHT,
                          memory_order_relaxed);
}

static enum reset_mechanism mechanism_choose(const struct snapshot *s)
{
    enum reset_mechanism forced = (enum reset_mechanism)s->mechanism;
    uint32_t usual = s->usual_pages / USUAL_WEIGHT;
    if (forced != RESET_CHOOSE)
        return forced;
    if (!s->keep_pages || !pages_scan_available())
        return RESET_DROP;
    return usual > REMAP_PAGES && usual / 4 > s->keep_pages && s->resets_since_fading % PROBE_RESETS
               ? RESET_REMAP
               : RESET_COPY;
}

/* ---- remap and drop: everything is replaced ---- */

static int drop(uint8_t *start, const uint8_t *end, struct error *e)
{
    if (start < end && madvise(start, (size_t)(end - start), MADV_DONTNEED) != 0)
        return error_set_errno(e, ATOLL_ENOMEM, "cannot drop the pages of an arena");
    return 0;
}

/* Clears the stack; its top page stays, every call writes it. */
static int stack_clear(struct arena *a, struct error *e)
{
    if (!a->stack_low)
        return 0;
    uint8_t *top = a->stack_high - PAGE_BYTES;
    memset(top, 0, PAGE_BYTES);
    return drop(a->stack_low, top, e);
}

static int reset_remap(const struct snapshot *s, struct arena *a, struct error *e)
{
    int rc = stack_clear(a, e);
    for (uint32_t x = 0; rc == 0 && x < s->part_count; x++)
        rc = snapshot_part_map(s, &s->parts[x], a, e);
    return rc;
}

static int reset_drop(const struct snapshot *s, struct arena *a, struct error *e)
{
    int rc = stack_clear(a, e);
    for (uint32_t x = 0; rc == 0 && x < s->part_count; x++) {
        uint8_t *at = a->base + s->parts[x].from_b;
        rc = drop(at, at + s->parts[x].len, e);
    }
    return rc;
}

/* ---- copy: written pages are found and put back ---- */

struct copy {
    struct snapshot *s;
    struct arena *a;
    const struct page_run *runs;
    int run_count;
    uint64_t found; /* pages in the runs */
    /* Kept are pages hotter than `coolest`, and the first `coolest_quota` of that heat. */
    uint32_t coolest;
    uint64_t coolest_quota;
    uint64_t written, kept, dropped;
};

/* Where a page's image is and what its number is. */
struct page_place {
    const uint8_t *image; /* NULL: zeros */
    uint64_t number;      /* UINT64_MAX: it lies in no part of the arena */
};

/* Pages come by ascending address; *part is where the last one was found. */
static struct page_place page_find(const struct copy *c, const uint8_t *page, uint32_t *part)
{
    const struct snapshot *s = c->s;
    if (page < c->a->stack_high && page >= c->a->stack_low)
        return (struct page_place){NULL, (uint64_t)(c->a->stack_high - 1 - page) / PAGE_BYTES};
    for (; *part < s->part_count; ++*part) {
        const struct snapshot_part *p = &s->parts[*part];
        const uint8_t *start = c->a->base + p->from_b;
        uint64_t offset = p->offset + (uint64_t)(page - start);
        if (page < start)
            break;
        if (page < start + p->len)
            return (struct page_place){page_filled(s, offset / PAGE_BYTES) ? s->view + offset
                                                                           : NULL,
                                       s->stack_pages + offset / PAGE_BYTES};
    }
    return (struct page_place){NULL, UINT64_MAX};
}

static uint8_t heat_of(const struct copy *c, const struct page_place *place)
{
    return place->number == UINT64_MAX
               ? 0
               : atomic_load_explicit(&c->s->heat[place->number], memory_order_relaxed);
}

/* Decides how hot a page must be to stay. */
static void keep_decide(struct copy *c)
{
    uint32_t counts[HEATS] = {0}, keep = c->s->keep_pages, part = 0;
    c->coolest = 0;
    c->coolest_quota = UINT64_MAX;
    if (c->found <= keep)
        return;
    for (int r = 0; r < c->run_count; r++)
        for (uint64_t at = 0; at < c->runs[r].len; at += PAGE_BYTES) {
            struct page_place place = page_find(c, c->runs[r].start + at, &part);
            counts[heat_of(c, &place)]++;
        }
    uint64_t hotter = 0;
    c->coolest = HEATS - 1;
    while (c->coolest && hotter + counts[c->coolest] <= keep)
        hotter += counts[c->coolest--];
    c->coolest_quota = keep - hotter;
}

/* Puts the image back over a page; whether it differed. */
static bool page_restore(uint8_t *page, const uint8_t *image)
{
    if (image ? memcmp(page, image, PAGE_BYTES) == 0 : page_is_zero(page))
        return false;
    if (image)
        memcpy(page, image, PAGE_BYTES);
    else
        memset(page, 0, PAGE_BYTES);
    return true;
}

/* Whether a written page stays resident, with the image's content. */
static bool page_keep(struct copy *c, uint8_t *page, const struct page_place *place)
{
    uint8_t heat = heat_of(c, place);
    if (place->number == UINT64_MAX)
        return false;
    if (heat < c->coolest || (heat == c->coolest && !c->coolest_quota)) {
        heat_raise(c->s, place->number);
        return false;
    }
    if (page_restore(page, place->image)) {
        heat_raise(c->s, place->number);
        c->written++;
    } else if (heat == 0) {
        return false; /* not written for long */
    }
    c->coolest_quota -= heat == c->coolest;
    c->kept++;
    return true;
}

static int pages_put_back(struct copy *c, struct error *e)
{
    struct page_drops drops = {0};
    uint32_t part = 0;
    int rc = 0;
    for (int r = 0; r < c->run_count; r++)
        for (uint64_t at = 0; rc == 0 && at < c->runs[r].len; at += PAGE_BYTES) {
            uint8_t *page = c->runs[r].start + at;
            struct page_place place = page_find(c, page, &part);
            if (page_keep(c, page, &place))
                continue;
            c->dropped++;
            rc = pages_drop(&drops, page, e);
        }
    return rc < 0 ? rc : pages_drop_all(&drops, e);
}

/* The range in which an arena has private pages. */
static void private_range(const struct snapshot *s, const struct arena *a, uint8_t **low,
                          uint8_t **high)
{
    const struct snapshot_part *last = s->part_count ? &s->parts[s->part_count - 1] : NULL;
    *high = last ? a->base + last->from_b + last->len : a->stack_high;
    *low = a->stack_low;
    if (last && (!*low || a->base + s->parts[0].from_b < *low))
        *low = a->base + s->parts[0].from_b;
}

/* How it was done in the end. */
static int reset_copy(struct snapshot *s, struct arena *a, enum reset_mechanism *how,
                      struct error *e)
{
    struct page_run runs[RUNS_MAX];
    struct copy c = {.s = s, .a = a, .runs = runs};
    uint8_t *low, *high;
    private_range(s, a, &low, &high);
    c.run_count = pages_written(low, (uint64_t)(high - low), runs, RUNS_MAX, e);
    if (c.run_count < 0) { /* no scan, no page map */
        *how = RESET_DROP;
        return reset_drop(s, a, e);
    }
    for (int r = 0; r < c.run_count; r++)
        c.found += runs[r].len / PAGE_BYTES;
    if (c.run_count == RUNS_MAX) { /* there may be more behind the last */
        *how = RESET_REMAP;
        usual_learn(s, c.found);
        return reset_remap(s, a, e);
    }
    keep_decide(&c);
    int rc = pages_put_back(&c, e);
    usual_learn(s, c.written + c.dropped);
    sum_add(&s->sums.pages_written, c.written);
    sum_add(&s->sums.pages_kept, c.kept);
    sum_add(&s->sums.pages_dropped, c.dropped);
    return rc;
}

/* ---- the whole ---- */

/* Memories that grew since: back to inaccessible, contents gone. */
static int memories_shrink(const struct snapshot *s, struct arena *a, struct error *e)
{
    for (uint32_t k = 0; k < s->instance_count; k++) {
        uint64_t then = s->instances[k].memory_bytes;
        struct memory_view memory = instance_memory_view(a->instances[k]);
        bool own = !a->instances[k]->artefact->module.imported_memories;
        if (own && memory.base && *memory.size > then &&
            !slot_close(memory.base + then, memory.base + *memory.size))
            return error_set_errno(e, ATOLL_ENOMEM, "cannot take back grown memory");
    }
    return 0;
}

int snapshot_reset(struct snapshot *s, struct arena *a, struct error *e)
{
    int64_t start = clock_monotonic_ns();
    if (a->context.depth)
        return error_set(e, ATOLL_EBUSY, "an arena cannot be reset while it runs");
    if (a->instance_count != s->instance_count)
        return error_set(e, ATOLL_EBUSY, "modules were linked since: destroy the arena instead");
    arena_abandon(a);
    atomic_store(&a->context.stop, 0);
    region_unmap_all(a);
    a->externref_count = 0;
    enum reset_mechanism how = mechanism_choose(s);
    int rc = memories_shrink(s, a, e);
    if (rc == 0)
        rc = how == RESET_REMAP  ? reset_remap(s, a, e)
             : how == RESET_DROP ? reset_drop(s, a, e)
                                 : reset_copy(s, a, &how, e);
    heat_fade(s);
    sum_add(&s->sums.resets[how], 1);
    sum_add(&s->sums.reset_ns, (uint64_t)(clock_monotonic_ns() - start));
    return rc;
}
