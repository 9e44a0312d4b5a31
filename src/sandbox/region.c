/*
 * The window's allocator and the mappings in it (region.h). The list is sorted by address.
 *
 * Putting a mapping into the middle of the closed window splits that, which costs the kernel as
 * much as the mapping itself. A function that runs again and again maps the same value at the
 * window's start each time. So when a region of the same length is closed there for the second
 * time, its place stays a mapping by itself, closed without MAP_NORESERVE, which means nothing for
 * pages that nobody can reach but keeps the kernel from joining it with what is around it. The next
 * region of that length replaces it whole; before any other in its place, it is joined again. So an
 * arena has at most two mappings more by it.
 */
#include "sandbox/region.h"

#include "sandbox/pages.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

static uint64_t region_span(uint64_t len)
{
    return align_up(len, REGION_ALIGNMENT) + REGION_ALIGNMENT;
}

/* First gap that holds span bytes; 0 = none. */
static uint32_t window_place(const struct arena *a, uint64_t span)
{
    uint64_t at = WINDOW_START;
    for (uint32_t i = 0; i < a->region_count; i++) {
        if (a->regions[i].address - at >= span)
            return (uint32_t)at;
        at = a->regions[i].address + region_span(a->regions[i].len);
    }
    return WINDOW_END - at >= span && at < WINDOW_END ? (uint32_t)at : 0;
}

static bool window_free(const struct arena *a, uint32_t address, uint64_t len)
{
    if (address < WINDOW_START || address % REGION_ALIGNMENT ||
        region_span(len) > WINDOW_END - (uint64_t)address)
        return false;
    for (uint32_t i = 0; i < a->region_count; i++) {
        const struct region *r = &a->regions[i];
        if (address < r->address + region_span(r->len) && r->address < address + region_span(len))
            return false;
    }
    return true;
}

static int request_check(const struct arena *a, const char *name, uint64_t offset, uint64_t len,
                         uint32_t rights, struct error *e)
{
    if (strlen(name) >= sizeof a->regions->name)
        return error_set(e, ATOLL_EINVAL, "a region's name has at most 63 bytes");
    if (!len || len % PAGE_BYTES || offset % PAGE_BYTES || len > WINDOW_END - WINDOW_START)
        return error_set(e, ATOLL_EINVAL, "a region has a positive number of whole pages");
    if (!(rights & GUEST_READ) || rights & ~(uint32_t)(GUEST_READ | GUEST_WRITE))
        return error_set(e, ATOLL_EINVAL, "a region is readable, or readable and writable");
    if (a->limits.no_window)
        return error_set(e, ATOLL_EINVAL, "this arena gave its window to memory.grow");
    if (!a->primary || instance_memory(a->primary) != a->base)
        return error_set(e, ATOLL_EINVAL, "this arena has no memory 0 to map regions into");
    if (a->region_count == ARENA_REGIONS_MAX)
        return error_set(e, ATOLL_ELIMIT, "an arena maps at most %d regions", ARENA_REGIONS_MAX);
    return 0;
}

static int file_look(int fd, struct region_file *out, uint64_t *size, struct error *e)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return error_set_errno(e, 0, "cannot look at a region's memory file");
    *out = (struct region_file){.fd = fd, .device = st.st_dev, .inode = st.st_ino};
    *size = (uint64_t)st.st_size;
    return 0;
}

int region_file_look(int fd, struct region_file *out, struct error *e)
{
    uint64_t size;
    return file_look(fd, out, &size, e);
}

static int file_check(int fd, uint64_t offset, uint64_t len, struct region_file *out,
                      struct error *e)
{
    uint64_t size;
    int rc = file_look(fd, out, &size, e);
    if (rc == 0 && (offset > size || len > size - offset))
        rc = error_set(e, ATOLL_ERANGE, "the region reaches beyond the end of its memory file");
    return rc;
}

static int regions_reserve(struct arena *a, struct error *e)
{
    if (a->region_count < a->region_capacity)
        return 0;
    uint32_t capacity = a->region_capacity ? 2 * a->region_capacity : 4;
    struct region *grown = realloc(a->regions, capacity * sizeof *grown);
    if (!grown)
        return error_set(e, ATOLL_ENOMEM, "no memory for the list of regions");
    a->regions = grown;
    a->region_capacity = capacity;
    return 0;
}

static void range_close(struct arena *a, uint32_t address, uint64_t len, int flags)
{
    void *closed = mmap(a->base + address, len, PROT_NONE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | flags, -1, 0);
    assert(closed != MAP_FAILED); /* replaces one mapping by one: needs nothing new */
}

/* A region is going to lie there, unless it replaces the place that is apart. */
static void first_join(struct arena *a, uint32_t address, uint64_t len)
{
    if (!a->first_apart || address >= WINDOW_START + a->first_len ||
        (address == WINDOW_START && len == a->first_len))
        return;
    range_close(a, WINDOW_START, a->first_len, MAP_NORESERVE);
    a->first_apart = false;
}

static int region_insert(struct arena *a, const struct region *r, int fd, struct error *e)
{
    int rc = regions_reserve(a, e);
    if (rc < 0)
        return rc;
    int protection = PROT_READ | (r->rights & GUEST_WRITE ? PROT_WRITE : 0);
    arena_reach(a, a->base + r->address + r->len);
    first_join(a, r->address, r->len);
    if (mmap(a->base + r->address, r->len, protection, MAP_SHARED | MAP_FIXED, fd,
             (off_t)r->offset) == MAP_FAILED)
        return error_set_errno(e, 0, "cannot map region %s", r->name);
    a->first_apart &= r->address != WINDOW_START;
    uint32_t at = 0;
    while (at < a->region_count && a->regions[at].address < r->address)
        at++;
    memmove(&a->regions[at + 1], &a->regions[at], (a->region_count - at) * sizeof *r);
    a->regions[at] = *r;
    a->region_count++;
    return 0;
}

static int region_place(struct arena *a, const char *name, const struct region_file *file,
                        uint64_t offset, uint64_t len, uint32_t rights, uint32_t address,
                        struct error *e)
{
    struct region r = {.address = address,
                       .rights = rights,
                       .len = len,
                       .offset = offset,
                       .device = file->device,
                       .inode = file->inode,
                       .references = 1};
    memcpy(r.name, name, strlen(name));
    return region_insert(a, &r, file->fd, e);
}

int region_map_at(struct arena *a, const char *name, int fd, uint64_t offset, uint64_t len,
                  uint32_t rights, uint32_t address, struct error *e)
{
    struct region_file file;
    int rc = request_check(a, name, offset, len, rights, e);
    if (rc < 0 || (rc = file_check(fd, offset, len, &file, e)) < 0)
        return rc;
    if (!window_free(a, address, len))
        return error_set(e, ATOLL_EBUSY, "the window is not free at 0x%x", address);
    return region_place(a, name, &file, offset, len, rights, address, e);
}

static struct region *region_same(const struct arena *a, const char *name,
                                  const struct region_file *file, uint64_t offset, uint64_t len,
                                  uint32_t rights)
{
    for (uint32_t i = 0; i < a->region_count; i++) {
        struct region *r = &a->regions[i];
        if (r->device == file->device && r->inode == file->inode && r->offset == offset &&
            r->len == len && r->rights == rights && strcmp(r->name, name) == 0)
            return r;
    }
    return NULL;
}

int region_map_file(struct arena *a, const char *name, const struct region_file *file,
                    uint64_t offset, uint64_t len, uint32_t rights, uint32_t *address,
                    struct error *e)
{
    int rc = request_check(a, name, offset, len, rights, e);
    if (rc < 0)
        return rc;
    struct region *same = region_same(a, name, file, offset, len, rights);
    if (same) {
        same->references++;
        *address = same->address;
        return 0;
    }
    *address = window_place(a, region_span(len));
    if (!*address)
        return error_set(e, ATOLL_ENOMEM, "the window has no free range of %llu bytes",
                         (unsigned long long)len);
    return region_place(a, name, file, offset, len, rights, *address, e);
}

int region_map(struct arena *a, const char *name, int fd, uint64_t offset, uint64_t len,
               uint32_t rights, uint32_t *address, struct error *e)
{
    struct region_file file;
    int rc = request_check(a, name, offset, len, rights, e);
    if (rc < 0 || (rc = file_check(fd, offset, len, &file, e)) < 0)
        return rc;
    return region_map_file(a, name, &file, offset, len, rights, address, e);
}

/* Puts the unmapped window back over a region. */
static void region_close(struct arena *a, uint32_t index)
{
    struct region *r = &a->regions[index];
    bool first = r->address == WINDOW_START;
    a->first_apart |= first && r->len == a->first_len;
    range_close(a, r->address, r->len, first && a->first_apart ? 0 : MAP_NORESERVE);
    if (first)
        a->first_len = r->len;
    memmove(r, r + 1, (a->region_count - index - 1) * sizeof *r);
    a->region_count--;
}

int region_unmap(struct arena *a, uint32_t address, struct error *e)
{
    for (uint32_t i = 0; i < a->region_count; i++) {
        if (a->regions[i].address != address)
            continue;
        if (--a->regions[i].references == 0)
            region_close(a, i);
        return 0;
    }
    return error_set(e, ATOLL_ENOENT, "no region is mapped at 0x%x", address);
}

void region_unmap_all(struct arena *a)
{
    while (a->region_count)
        region_close(a, a->region_count - 1);
}
