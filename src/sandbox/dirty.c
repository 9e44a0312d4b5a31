/* Dirty tracking (dirty.h): asynchronous write protection, or hashes of written pages. */
#define _GNU_SOURCE
#include "sandbox/dirty.h"

#include "crypto/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Features of kernel 6.7; older headers lack them. */
#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED (1 << 13)
#endif
#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC (1 << 15)
#endif
#define WANTED_FEATURES \
    (UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED | UFFD_FEATURE_WP_HUGETLBFS_SHMEM)

struct tracked_part {
    int64_t from_b;
    uint64_t len; /* armed so far */
    uint8_t (
        *hashes)[HASH_LEN]; /* compare: per page of the part's full range; zero = not written */
    uint64_t hash_pages;
};

struct dirty_tracker {
    struct arena *arena;
    enum dirty_method method;
    int fault_fd; /* userfaultfd */
    struct tracked_part *parts;
    uint32_t part_count;
};

struct run_list {
    struct page_run *runs;
    size_t count, capacity;
};

static int run_append(struct run_list *list, uint8_t *start, uint64_t len, struct error *e)
{
    struct page_run *last = list->count ? &list->runs[list->count - 1] : NULL;
    if (last && last->start + last->len == start) {
        last->len += len;
        return 0;
    }
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 64;
        struct page_run *grown = realloc(list->runs, capacity * sizeof *grown);
        if (!grown)
            return error_set(e, ATOLL_ENOMEM, "no memory for a list of dirty pages");
        list->runs = grown;
        list->capacity = capacity;
    }
    list->runs[list->count++] = (struct page_run){start, len};
    return 0;
}

/* ---- scan ---- */

static int fault_fd_open(void)
{
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
    struct uffdio_api api = {.api = UFFD_API, .features = WANTED_FEATURES};
    if (fd >= 0 && ioctl(fd, UFFDIO_API, &api) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Registers a range and protects its pages, so that the next write to each is marked. */
static int range_arm(int fd, const uint8_t *start, uint64_t len)
{
    struct uffdio_register range = {.range = {(uint64_t)(uintptr_t)start, len},
                                    .mode = UFFDIO_REGISTER_MODE_WP};
    struct uffdio_writeprotect protect = {.range = {(uint64_t)(uintptr_t)start, len},
                                          .mode = UFFDIO_WRITEPROTECT_MODE_WP};
    return ioctl(fd, UFFDIO_REGISTER, &range) == 0 && ioctl(fd, UFFDIO_WRITEPROTECT, &protect) == 0
               ? 0
               : -1;
}

/* A private mapping of a file, as arenas have: is a write seen, once, on touched and untouched
 * pages? */
static bool scan_tells_the_truth(void)
{
    int file = memfd_create("atoll-probe", MFD_CLOEXEC), fault = fault_fd_open();
    size_t len = 4 * PAGE_BYTES;
    bool truth = false;
    struct page_run runs[4];
    struct error e;
    volatile uint8_t *m = MAP_FAILED;
    if (file >= 0 && fault >= 0 && ftruncate(file, (off_t)len) == 0)
        m = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
    if (m != MAP_FAILED) {
        m[0] = 1;
        const uint8_t *start = (const uint8_t *)m;
        if (range_arm(fault, start, len) == 0 && pages_marked(start, len, runs, 4, &e) == 0) {
            m[0] = 2;
            m[2 * PAGE_BYTES] = 3;
            truth = pages_marked(start, len, runs, 4, &e) == 2 && runs[0].start == start &&
                    runs[1].start == start + 2 * PAGE_BYTES &&
                    pages_marked(start, len, runs, 4, &e) == 0;
        }
        munmap((void *)m, len);
    }
    if (file >= 0)
        close(file);
    if (fault >= 0)
        close(fault);
    return truth;
}

static bool scan_works;
static pthread_once_t scan_once = PTHREAD_ONCE_INIT;

static void scan_probe(void)
{
    scan_works = scan_tells_the_truth();
}

static int part_scan(struct tracked_part *p, const struct arena *a, struct run_list *out,
                     struct error *e)
{
    uint8_t *at = a->base + p->from_b, *end = at + p->len;
    struct page_run runs[64];
    while (at < end) {
        int count = pages_marked(at, (uint64_t)(end - at), runs, 64, e);
        if (count < 0)
            return count;
        for (int k = 0; k < count; k++) {
            int rc = run_append(out, runs[k].start, runs[k].len, e);
            if (rc < 0)
                return rc;
        }
        if (count < 64)
            break;
        at = runs[count - 1].start + runs[count - 1].len;
    }
    return 0;
}

/* ---- compare ---- */

static bool hashes_reserve(struct tracked_part *p, uint64_t pages)
{
    if (pages <= p->hash_pages)
        return true;
    uint8_t(*grown)[HASH_LEN] = calloc(pages, HASH_LEN);
    if (!grown)
        return false;
    if (p->hash_pages)
        memcpy(grown, p->hashes, p->hash_pages * HASH_LEN);
    free(p->hashes);
    p->hashes = grown;
    p->hash_pages = pages;
    return true;
}

/* Updates the hashes of written pages; appends those that changed (out NULL: none are wanted). */
static int part_compare(struct tracked_part *p, const struct arena *a, struct run_list *out,
                        struct error *e)
{
    uint8_t *start = a->base + p->from_b, *at = start, *end = at + p->len;
    struct page_run runs[64];
    if (!hashes_reserve(p, p->len / PAGE_BYTES))
        return error_set(e, ATOLL_ENOMEM, "no memory to track dirty pages");
    while (at < end) {
        int count = pages_written(at, (uint64_t)(end - at), runs, 64, e);
        if (count < 0)
            return count;
        for (int k = 0; k < count; k++) {
            for (uint8_t *page = runs[k].start; page < runs[k].start + runs[k].len;
                 page += PAGE_BYTES) {
                uint8_t hash[HASH_LEN], *known = p->hashes[(page - start) / PAGE_BYTES];
                hash_blake2b(page, PAGE_BYTES, NULL, 0, hash);
                if (memcmp(hash, known, HASH_LEN) == 0)
                    continue;
                memcpy(known, hash, HASH_LEN);
                int rc = out ? run_append(out, page, PAGE_BYTES, e) : 0;
                if (rc < 0)
                    return rc;
            }
        }
        if (count < 64)
            break;
        at = runs[count - 1].start + runs[count - 1].len;
    }
    return 0;
}

/* ---- both ---- */

static int written_append(uint8_t *at, const uint8_t *end, struct run_list *out, struct error *e)
{
    struct page_run runs[64];
    while (at < end) {
        int count = pages_written(at, (uint64_t)(end - at), runs, 64, e);
        for (int k = 0; k < count; k++) {
            int rc = run_append(out, runs[k].start, runs[k].len, e);
            if (rc < 0)
                return rc;
        }
        if (count < 64)
            return count < 0 ? count : 0;
        at = runs[count - 1].start + runs[count - 1].len;
    }
    return 0;
}

/* Tracks what a part has grown by; its written pages are dirty (out NULL: clean). They are looked
 * for before it is armed: protection leaves marks on untouched pages that look like swapped-out
 * ones. */
static int part_extend(struct dirty_tracker *t, struct tracked_part *p, uint64_t len,
                       struct run_list *out, struct error *e)
{
    uint64_t old = p->len;
    p->len = len;
    if (t->method == DIRTY_COMPARE || len == old)
        return 0; /* compare finds them by itself */
    uint8_t *at = t->arena->base + p->from_b + old, *end = t->arena->base + p->from_b + len;
    int rc = out ? written_append(at, end, out, e) : 0;
    if (rc == 0 && range_arm(t->fault_fd, at, len - old) < 0)
        rc = error_set_errno(e, ATOLL_EUNAVAIL, "cannot track writes to an arena");
    return rc;
}

static int parts_look(struct dirty_tracker *t, struct run_list *out, struct error *e)
{
    struct arena_extent *extents;
    uint32_t count;
    int rc = arena_extents(t->arena, &extents, &count, e);
    if (rc < 0)
        return rc;
    if (count != t->part_count)
        rc = error_set(e, ATOLL_EBUSY, "modules were linked while the arena was tracked");
    for (uint32_t k = 0; rc == 0 && k < count; k++) {
        struct tracked_part *p = &t->parts[k];
        if (t->method == DIRTY_SCAN && out)
            rc = part_scan(p, t->arena, out, e);
        if (rc == 0)
            rc = part_extend(t, p, extents[k].len, out, e);
        if (rc == 0 && t->method == DIRTY_COMPARE)
            rc = part_compare(p, t->arena, out, e);
    }
    free(extents);
    return rc;
}

static int tracker_prepare(struct dirty_tracker *t, struct error *e)
{
    struct arena_extent *extents;
    int rc = arena_extents(t->arena, &extents, &t->part_count, e);
    if (rc < 0)
        return rc;
    t->parts = calloc(t->part_count + 1ull, sizeof *t->parts);
    for (uint32_t k = 0; t->parts && k < t->part_count; k++)
        t->parts[k].from_b = extents[k].from_b;
    free(extents);
    if (!t->parts)
        return error_set(e, ATOLL_ENOMEM, "no memory to track an arena");
    if (t->method == DIRTY_SCAN && (t->fault_fd = fault_fd_open()) < 0)
        return error_set_errno(e, ATOLL_EUNAVAIL, "cannot track writes");
    return parts_look(t, NULL, e);
}

int dirty_start(struct arena *a, enum dirty_method method, struct dirty_tracker **out,
                struct error *e)
{
    *out = NULL;
    pthread_once(&scan_once, scan_probe);
    if (method == DIRTY_SCAN && !scan_works)
        return error_set(e, ATOLL_EUNAVAIL, "this kernel does not track writes asynchronously");
    struct dirty_tracker *t = calloc(1, sizeof *t);
    if (!t)
        return error_set(e, ATOLL_ENOMEM, "no memory to track an arena");
    t->arena = a;
    t->fault_fd = -1;
    t->method = method != DIRTY_BEST ? method : scan_works ? DIRTY_SCAN : DIRTY_COMPARE;
    int rc = tracker_prepare(t, e);
    if (rc < 0) {
        dirty_stop(t);
        return rc;
    }
    *out = t;
    return 0;
}

void dirty_stop(struct dirty_tracker *t)
{
    if (!t)
        return;
    if (t->fault_fd >= 0)
        close(t->fault_fd); /* unregisters and unprotects */
    for (uint32_t k = 0; t->parts && k < t->part_count; k++)
        free(t->parts[k].hashes);
    free(t->parts);
    free(t);
}

int dirty_collect(struct dirty_tracker *t, struct page_run **runs, size_t *count, struct error *e)
{
    struct run_list list = {0};
    int rc = parts_look(t, &list, e);
    if (rc < 0) {
        free(list.runs);
        list = (struct run_list){0};
    }
    *runs = list.runs;
    *count = list.count;
    return rc;
}
