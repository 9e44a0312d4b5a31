/*
 * What files hold.
 *
 * A file in the overlay is an array of pages; where there is none, the bytes of the base (or of a
 * shared file) show, or zeros. So a write copies one page, and a sparse file costs its pages only.
 * Bytes behind the size are zeros in every page, and `under` ends at or before the size: growing
 * a file shows nothing of what it once held.
 */
#include "sandbox/vfs/layers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t zeros[PAGE];

static size_t least(uint64_t a, uint64_t b)
{
    return (size_t)(a < b ? a : b);
}

uint64_t vfs_size(const struct vfs *v, uint32_t node)
{
    const struct record *r = record_of(v, node);
    return r != NULL ? r->file.size : base_node(v, node)->size;
}

static uint8_t *page_of(const struct file_record *f, uint64_t page)
{
    return page < f->page_capacity ? f->pages[page] : NULL;
}

size_t vfs_peek(const struct vfs *v, uint32_t node, uint64_t offset, size_t len,
                const uint8_t **bytes)
{
    const struct record *r = record_of(v, node);
    const struct base_node *n = base_node(v, node);
    uint64_t size = r != NULL ? r->file.size : n->size;
    if (offset >= size) {
        return 0;
    }
    len = least(len, size - offset);
    if (r == NULL) {
        *bytes = n->bytes + offset;
        return len;
    }
    const struct file_record *f = &r->file;
    uint64_t page = offset / PAGE, within = offset % PAGE;
    const uint8_t *there = page_of(f, page);
    if (there != NULL || offset >= f->under_len) {
        *bytes = (there != NULL ? there : zeros) + within;
        return least(len, PAGE - within);
    }
    *bytes = f->under + offset;
    len = least(len, f->under_len - offset);
    uint64_t end = page + 1;
    while (end * PAGE < offset + len && page_of(f, end) == NULL) {
        end++;
    }
    return least(len, end * PAGE - offset);
}

/* Makes the array reach to that page. */
static int pages_reach(struct vfs *v, struct file_record *f, uint64_t page)
{
    if (page < f->page_capacity) {
        return 0;
    }
    uint64_t capacity = f->page_capacity == 0 ? 4 : f->page_capacity * 2;
    capacity = capacity > page ? capacity : page + 1;
    uint64_t more = (capacity - f->page_capacity) * sizeof *f->pages;
    int result = overlay_charge(v, more);
    if (result != 0) {
        return result;
    }
    uint8_t **grown = realloc(f->pages, capacity * sizeof *grown);
    if (grown == NULL) {
        overlay_release(v, more);
        return -ENOMEM;
    }
    memset(grown + f->page_capacity, 0, more);
    f->pages = grown;
    f->page_capacity = capacity;
    return 0;
}

/* The page, to be written: copied from what shows there. */
static int page_need(struct vfs *v, struct file_record *f, uint64_t page, uint8_t **out)
{
    int result = pages_reach(v, f, page);
    if (result != 0) {
        return result;
    }
    if (f->pages[page] == NULL) {
        result = overlay_charge(v, PAGE);
        uint8_t *made = result == 0 ? malloc(PAGE) : NULL;
        if (made == NULL) {
            overlay_release(v, result == 0 ? PAGE : 0);
            return result != 0 ? result : -ENOMEM;
        }
        uint64_t start = page * PAGE;
        size_t shows = start < f->under_len ? least(PAGE, f->under_len - start) : 0;
        if (shows > 0) {
            memcpy(made, f->under + start, shows);
        }
        memset(made + shows, 0, PAGE - shows);
        f->pages[page] = made;
    }
    *out = f->pages[page];
    return 0;
}

/* The record of a file that is about to be changed. */
static int file_need(struct vfs *v, uint32_t node, struct record **out)
{
    overlay_trim(v);
    int result = record_need(v, node, false, out);
    return result == 0 ? record_own(v, *out) : result;
}

ssize_t vfs_room(struct vfs *v, uint32_t node, uint64_t offset, size_t len, uint8_t **bytes)
{
    struct record *r;
    uint8_t *page;
    if (offset >= VFS_MAX_SIZE) {
        return -EFBIG;
    }
    int result = file_need(v, node, &r);
    if (result == 0) {
        result = page_need(v, &r->file, offset / PAGE, &page);
    }
    if (result != 0) {
        return result;
    }
    *bytes = page + offset % PAGE;
    return (ssize_t)least(len, PAGE - offset % PAGE);
}

void vfs_wrote(struct vfs *v, uint32_t node, uint64_t end)
{
    struct record *r = record_of(v, node);
    r->file.size = end > r->file.size ? end : r->file.size;
    record_modified(r);
}

static void pages_free(struct vfs *v, struct file_record *f, uint64_t from)
{
    for (uint64_t page = from; page < f->page_capacity; page++) {
        if (f->pages[page] != NULL) {
            free(f->pages[page]);
            f->pages[page] = NULL;
            overlay_release(v, PAGE);
        }
    }
}

void content_free(struct vfs *v, struct file_record *f)
{
    pages_free(v, f, 0);
    overlay_release(v, f->page_capacity * sizeof *f->pages);
    free(f->pages);
    f->pages = NULL;
    f->page_capacity = 0;
}

void content_resize(struct vfs *v, struct record *r, uint64_t size)
{
    struct file_record *f = &r->file;
    if (size < f->size) {
        uint8_t *last = page_of(f, size / PAGE);
        pages_free(v, f, (size + PAGE - 1) / PAGE);
        if (last != NULL && size % PAGE != 0) {
            memset(last + size % PAGE, 0, PAGE - size % PAGE);
        }
        f->under_len = least(f->under_len, size);
    }
    f->size = size;
    record_modified(r);
}

int vfs_resize(struct vfs *v, uint32_t node, uint64_t size)
{
    struct record *r;
    if (size > VFS_MAX_SIZE) {
        return -EFBIG;
    }
    int result = file_need(v, node, &r);
    if (result == 0) {
        content_resize(v, r, size);
    }
    return result;
}

int vfs_allocate(struct vfs *v, uint32_t node, uint64_t offset, uint64_t len)
{
    struct record *r;
    uint8_t *page;
    if (len == 0) {
        return -EINVAL;
    }
    if (offset > VFS_MAX_SIZE || len > VFS_MAX_SIZE - offset) {
        return -EFBIG;
    }
    int result = len > v->byte_limit ? -ENOSPC : file_need(v, node, &r);
    for (uint64_t at = offset / PAGE; result == 0 && at * PAGE < offset + len; at++) {
        result = page_need(v, &r->file, at, &page);
    }
    if (result == 0 && offset + len > r->file.size) {
        r->file.size = offset + len;
        record_modified(r);
    }
    return result;
}
