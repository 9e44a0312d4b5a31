/* Finds written pages through the kernel's page map, drops pages, and lists an arena's writable
 * parts. */
#define _GNU_SOURCE
#include "sandbox/pages.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* linux/fs.h of kernel 6.7; older headers lack it. */
struct scan_argument {
    uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages, category_inverted,
        category_mask, category_anyof_mask, return_mask;
};
struct scan_region {
    uint64_t start, end, categories;
};
#define PAGEMAP_SCAN_IOCTL    _IOWR('f', 16, struct scan_argument)
#define SCAN_PROTECT_MATCHING 1ull
#define SCAN_CHECK_ASYNC      2ull
#define CATEGORY_WRITTEN      (1u << 1)
#define CATEGORY_FILE         (1u << 2)
#define CATEGORY_PRESENT      (1u << 3)
#define CATEGORY_SWAPPED      (1u << 4)
#define CATEGORY_ZERO         (1u << 5)

/* Bits of a /proc/self/pagemap entry. */
#define ENTRY_PRESENT (1ull << 63)
#define ENTRY_SWAPPED (1ull << 62)
#define ENTRY_FILE    (1ull << 61)

static int pagemap_fd = -1;
static bool scan_works;
static pthread_once_t pagemap_once = PTHREAD_ONCE_INIT;

/* What to look for: this process's own pages, or those written since they were protected. */
static const struct scan_argument own_pages = {
    .category_inverted = CATEGORY_FILE | CATEGORY_ZERO,
    .category_mask = CATEGORY_FILE | CATEGORY_ZERO,
    .category_anyof_mask = CATEGORY_PRESENT | CATEGORY_SWAPPED,
    .return_mask = CATEGORY_PRESENT,
};
static const struct scan_argument marked_pages = {
    .flags = SCAN_PROTECT_MATCHING | SCAN_CHECK_ASYNC,
    .category_mask = CATEGORY_WRITTEN,
    .return_mask = CATEGORY_WRITTEN,
};

static long scan(const struct scan_argument *what, const uint8_t *start, uint64_t len,
                 struct scan_region *regions, size_t cap)
{
    struct scan_argument argument = *what;
    argument.size = sizeof argument;
    argument.start = (uint64_t)(uintptr_t)start;
    argument.end = argument.start + len;
    argument.vec = (uint64_t)(uintptr_t)regions;
    argument.vec_len = cap;
    return ioctl(pagemap_fd, PAGEMAP_SCAN_IOCTL, &argument);
}

static void pagemap_open(void)
{
    static uint8_t probe[PAGE_BYTES] __attribute__((aligned(PAGE_BYTES)));
    struct scan_region found;
    pagemap_fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    *(volatile uint8_t *)probe = 1;
    scan_works = pagemap_fd >= 0 && scan(&own_pages, probe, sizeof probe, &found, 1) == 1;
}

/* The descriptor shows the process that opened it: a child needs its own. */
static void pagemap_open_in_child(void)
{
    if (pagemap_fd >= 0)
        close(pagemap_fd);
    pagemap_open();
}

static void pagemap_prepare(void)
{
    pagemap_open();
    (void)pthread_atfork(NULL, NULL, pagemap_open_in_child);
}

bool pages_scan_available(void)
{
    pthread_once(&pagemap_once, pagemap_prepare);
    return scan_works;
}

/* Appends a page to the runs; false when there is no room for a new run. */
static bool run_add(struct page_run *out, size_t *count, size_t cap, uint8_t *page)
{
    if (*count && out[*count - 1].start + out[*count - 1].len == page) {
        out[*count - 1].len += PAGE_BYTES;
        return true;
    }
    if (*count == cap)
        return false;
    out[(*count)++] = (struct page_run){page, PAGE_BYTES};
    return true;
}

static int written_by_pagemap(const uint8_t *start, uint64_t len, struct page_run *out, size_t cap,
                              struct error *e)
{
    uint64_t entries[512], first = (uint64_t)(uintptr_t)start / PAGE_BYTES;
    size_t count = 0;
    for (uint64_t page = 0, pages = len / PAGE_BYTES; page < pages;) {
        uint64_t step = pages - page < 512 ? pages - page : 512;
        ssize_t got = pread(pagemap_fd, entries, step * 8, (off_t)((first + page) * 8));
        if (got != (ssize_t)(step * 8))
            return error_set_errno(e, ATOLL_EUNAVAIL, "cannot read /proc/self/pagemap");
        for (uint64_t k = 0; k < step; k++, page++) {
            bool own = (entries[k] & (ENTRY_PRESENT | ENTRY_SWAPPED)) && !(entries[k] & ENTRY_FILE);
            if (own && !run_add(out, &count, cap, (uint8_t *)start + page * PAGE_BYTES))
                return (int)count;
        }
    }
    return (int)count;
}

static int scan_runs(const struct scan_argument *what, const uint8_t *start, uint64_t len,
                     struct page_run *out, size_t cap, struct error *e)
{
    struct scan_region regions[64];
    size_t count = 0;
    const uint8_t *at = start, *end = start + len;
    while (at < end && count < cap) {
        size_t want = cap - count < 64 ? cap - count : 64;
        long got = scan(what, at, (uint64_t)(end - at), regions, want);
        if (got < 0)
            return error_set_errno(e, ATOLL_EUNAVAIL, "PAGEMAP_SCAN failed");
        for (long k = 0; k < got; k++) {
            uint64_t run = regions[k].end - regions[k].start;
            uint8_t *first = (uint8_t *)(uintptr_t)regions[k].start;
            if (count && out[count - 1].start + out[count - 1].len == first)
                out[count - 1].len += run;
            else
                out[count++] = (struct page_run){first, run};
        }
        if ((size_t)got < want)
            break;
        at = (const uint8_t *)(uintptr_t)regions[got - 1].end;
    }
    return (int)count;
}

int pages_written(const uint8_t *start, uint64_t len, struct page_run *out, size_t cap,
                  struct error *e)
{
    if (pages_scan_available())
        return scan_runs(&own_pages, start, len, out, cap, e);
    return pagemap_fd < 0 ? error_set(e, ATOLL_EUNAVAIL, "/proc/self/pagemap cannot be opened")
                          : written_by_pagemap(start, len, out, cap, e);
}

int pages_marked(const uint8_t *start, uint64_t len, struct page_run *out, size_t cap,
                 struct error *e)
{
    if (!pages_scan_available())
        return error_set(e, ATOLL_EUNAVAIL, "this kernel has no PAGEMAP_SCAN");
    return scan_runs(&marked_pages, start, len, out, cap, e);
}

/* ---- dropping pages ---- */

/* linux/pidfd.h of kernel 6.15; process_madvise takes MADV_DONTNEED for the caller since 6.13. */
#define SELF (-10001)

static int range_drop(const struct iovec *range, struct error *e)
{
    if (madvise(range->iov_base, range->iov_len, MADV_DONTNEED) != 0)
        return error_set_errno(e, ATOLL_ENOMEM, "cannot drop pages of an arena");
    return 0;
}

int pages_drop_all(struct page_drops *d, struct error *e)
{
    uint32_t count = d->count;
    uint64_t bytes = 0;
    d->count = 0;
    for (uint32_t k = 0; k < count; k++)
        bytes += d->ranges[k].iov_len;
    if (count > 1 && syscall(SYS_process_madvise, SELF, d->ranges, (size_t)count, MADV_DONTNEED,
                             0) == (long)bytes)
        return 0;
    int rc = 0;
    for (uint32_t k = 0; k < count && rc == 0; k++)
        rc = range_drop(&d->ranges[k], e);
    return rc;
}

int pages_drop(struct page_drops *d, uint8_t *page, struct error *e)
{
    struct iovec *last = d->count ? &d->ranges[d->count - 1] : NULL;
    if (last && (uint8_t *)last->iov_base + last->iov_len == page) {
        last->iov_len += PAGE_BYTES;
        return 0;
    }
    int rc = d->count == sizeof d->ranges / sizeof *d->ranges ? pages_drop_all(d, e) : 0;
    if (rc == 0)
        d->ranges[d->count++] = (struct iovec){page, PAGE_BYTES};
    return rc;
}

/* ---- huge pages ---- */

static bool huge_imposed;
static pthread_once_t huge_once = PTHREAD_ONCE_INIT;

/* The mode in brackets is the one in force. */
static bool mode_is(const char *path, const char *mode)
{
    char text[128] = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;
    if (fd >= 0)
        close(fd);
    return got > 0 && strstr(text, mode);
}

static void huge_look(void)
{
    huge_imposed = mode_is("/sys/kernel/mm/transparent_hugepage/enabled", "[always]") ||
                   mode_is("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "[always]") ||
                   mode_is("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "[within_size]") ||
                   mode_is("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "[force]");
}

void pages_refuse_huge(uint8_t *start, uint64_t len)
{
    pthread_once(&huge_once, huge_look);
    if (huge_imposed) /* advice: without it things are only slower */
        (void)madvise(start, len, MADV_NOHUGEPAGE);
}

/* ---- the writable parts of an arena ---- */

static uint32_t instance_extents(const struct instance *i, struct arena_extent out[static 3])
{
    const struct artefact *artefact = i->artefact;
    const struct wasm_module *m = &artefact->module;
    int64_t vm = i->vm - i->arena->base;
    uint64_t low = artefact->layout.low_size;
    uint32_t count = 0;
    out[count++] = (struct arena_extent){.from_b = vm - (int64_t)low, .len = low, .known = low};
    if (artefact->options.link == LINK_PRIMARY) {
        if (m->memory_count)
            out[0].len += arena_memory_size(i->arena);
        if (artefact->data_populated > low)
            out[0].known = align_up(artefact->data_populated, PAGE_BYTES);
        out[0].image = artefact;
        if (artefact->layout.far_size)
            out[count++] =
                (struct arena_extent){.from_b = (int64_t)(ARENA_REST - ARENA_BASE),
                                      .len = align_up(artefact->layout.far_size, PAGE_BYTES)};
    } else if (artefact->options.link == LINK_OTHER && m->memory_count && !m->imported_memories) {
        uint8_t *memory = instance_memory(i);
        out[count++] = (struct arena_extent){.from_b = memory - i->arena->base,
                                             .len = instance_memory_bytes(i)};
    }
    for (uint32_t k = 0; i->arena->from_snapshot && k < count; k++) {
        out[k].known = out[k].len; /* the snapshot knows more than the artefact */
        out[k].image = NULL;
    }
    return count;
}

int arena_extents(const struct arena *a, struct arena_extent **out, uint32_t *count,
                  struct error *e)
{
    struct arena_extent *extents = calloc(3ull * a->instance_count + 1, sizeof *extents);
    uint32_t n = 0;
    if (!extents)
        return error_set(e, ATOLL_ENOMEM, "no memory for the list of an arena's parts");
    if (!a->primary && a->fields_mapped) /* context, fuel */
        extents[n++] = (struct arena_extent){
            .from_b = -(int64_t)PAGE_BYTES, .len = PAGE_BYTES, .known = PAGE_BYTES};
    for (uint32_t k = 0; k < a->instance_count; k++)
        n += instance_extents(a->instances[k], extents + n);
    *out = extents;
    *count = n;
    return 0;
}

/* The runs of non-zero pages in [at, end). */
static int range_visit(const uint8_t *at, const uint8_t *end, run_visit visit, void *context,
                       struct error *e)
{
    while (at < end) {
        const uint8_t *run = at;
        while (run < end && !page_is_zero(run))
            run += PAGE_BYTES;
        int rc = run > at ? visit(context, at, (uint64_t)(run - at), e) : 0;
        if (rc < 0)
            return rc;
        at = run + PAGE_BYTES;
    }
    return 0;
}

/* Where pages of an extent may be other than zero, from two sources: what is known without having
 * been written, and what the page map says was written. Both are asked with ascending addresses. */
struct search {
    const struct arena_extent *extent;
    const uint8_t *start, *end;
    uint32_t image_run; /* of the initial image; those before it lie behind */
    struct page_run written[64];
    int count, next;
    const uint8_t *scanned; /* the page map was asked up to here */
};

/* Cuts [from, to) to [low, high); false when nothing is left. */
static bool range_cut(const uint8_t *from, const uint8_t *to, const uint8_t *low,
                      const uint8_t *high, struct page_run *out)
{
    from = from > low ? from : low;
    to = to < high ? to : high;
    if (from >= to)
        return false;
    *out = (struct page_run){(uint8_t *)(uintptr_t)from, (uint64_t)(to - from)};
    return true;
}

static bool known_next(struct search *s, const uint8_t *at, struct page_run *out)
{
    const struct arena_extent *x = s->extent;
    const uint8_t *known = x->known < x->len ? s->start + x->known : s->end;
    if (!x->image)
        return range_cut(s->start, known, at, known, out);
    for (; s->image_run < artefact_run_count(x->image); s->image_run++) {
        uint64_t offset, size;
        artefact_run(x->image, s->image_run, &offset, &size);
        uint64_t end = align_up(offset + size, PAGE_BYTES);
        if (end <= x->image_offset)
            continue;
        offset = offset > x->image_offset ? offset / PAGE_BYTES * PAGE_BYTES - x->image_offset : 0;
        if (range_cut(s->start + offset, s->start + (end - x->image_offset), at, known, out))
            return true;
    }
    return false;
}

/* 1, 0 when there are none, negative when the page map cannot be asked. */
static int written_next(struct search *s, const uint8_t *at, struct page_run *out, struct error *e)
{
    for (;; s->next++) {
        if (s->next == s->count && s->scanned < s->end) {
            s->next = 0;
            s->count =
                pages_written(s->scanned, (uint64_t)(s->end - s->scanned), s->written, 64, e);
            if (s->count < 0)
                return s->count;
            s->scanned = s->count < 64 ? s->end : s->written[63].start + s->written[63].len;
        }
        if (s->next >= s->count)
            return 0;
        const struct page_run *run = &s->written[s->next];
        if (range_cut(run->start, run->start + run->len, at, s->end, out))
            return 1;
    }
}

/* The next range at or behind `at` that either source names; ranges that touch are one. */
static int search_next(struct search *s, const uint8_t *at, struct page_run *out, struct error *e)
{
    struct page_run known, written;
    bool more = known_next(s, at, &known);
    int rc = written_next(s, at, &written, e);
    if (rc < 0 || (!more && rc == 0))
        return rc;
    *out = more && (rc == 0 || known.start <= written.start) ? known : written;
    for (;;) {
        const uint8_t *end = out->start + out->len;
        if (known_next(s, end, &known) && known.start == end)
            out->len += known.len;
        else if ((rc = written_next(s, end, &written, e)) == 1 && written.start == end)
            out->len += written.len;
        else
            return rc < 0 ? rc : 1;
    }
}

int extent_visit(const struct arena *a, const struct arena_extent *x, run_visit visit,
                 void *context, struct error *e)
{
    const uint8_t *start = a->base + x->from_b, *at = start;
    struct search s = {.extent = x, .start = start, .end = start + x->len, .scanned = start};
    struct page_run run;
    int rc;
    while ((rc = search_next(&s, at, &run, e)) == 1) {
        at = run.start + run.len;
        if ((rc = range_visit(run.start, at, visit, context, e)) < 0)
            return rc;
    }
    /* The page map cannot be asked: look at every page. */
    return rc < 0 ? range_visit(at, s.end, visit, context, e) : 0;
}
