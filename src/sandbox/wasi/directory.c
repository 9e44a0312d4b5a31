/*
 * Reading directories.
 *
 * The first fd_readdir of a descriptor, and each one with cookie 0 (a rewind), takes down all
 * entries of the directory; later ones serve from there. So cookies are plain numbers that stay
 * good while files come and go, for a guest that re-reads from any of them, and in a checkpoint
 * that goes on elsewhere, none of which the positions of host file systems promise. The price is
 * memory, which has a bound per guest.
 *
 * A dirent in guest memory: next cookie u64 @0, inode u64 @8, length of the name u32 @16, filetype
 * u8 @20, then the name without NUL from @24. The last one may be cut off where the buffer ends: a
 * buffer that comes back full means that there may be more.
 */
#define _GNU_SOURCE
#include "sandbox/wasi/back_end.h"

#include <errno.h>
#include <stdlib.h>

bool listing_add(struct listing *l, const char *name, size_t name_len, uint64_t inode,
                 uint8_t filetype)
{
    if (l->count == l->capacity) {
        uint32_t capacity = l->capacity == 0 ? 32 : l->capacity * 2;
        struct listing_entry *grown = realloc(l->entries, capacity * sizeof *grown);
        if (grown == NULL) {
            return false;
        }
        l->entries = grown;
        l->capacity = capacity;
    }
    struct listing_entry entry = {.inode = inode,
                                  .name = (uint32_t)l->names.len,
                                  .name_len = (uint16_t)name_len,
                                  .filetype = filetype};
    if (!buffer_append(&l->names, name, name_len)) {
        return false;
    }
    l->entries[l->count++] = entry;
    return true;
}

uint64_t listing_bytes(const struct listing *l)
{
    return sizeof *l + l->capacity * sizeof *l->entries + l->names.capacity;
}

void listing_free(struct listing *l)
{
    if (l != NULL) {
        free(l->entries);
        buffer_free(&l->names);
        free(l);
    }
}

int listing_put(const struct wasi *w, struct listing *l, const char *name, size_t name_len,
                uint64_t inode, uint8_t filetype)
{
    bool good = name_len <= UINT8_MAX && listing_add(l, name, name_len, inode, filetype) &&
                w->listing_bytes + listing_bytes(l) <= WASI_MAX_LISTINGS;
    return good ? 0 : -ENOMEM;
}

/* Takes the directory down anew. */
static int listing_refresh(struct host_call *call, struct descriptor *d)
{
    struct wasi *w = call_world(call);
    if (d->listing != NULL) {
        w->listing_bytes -= listing_bytes(d->listing);
        listing_free(d->listing);
        d->listing = NULL;
    }
    struct listing *made = calloc(1, sizeof *made);
    int result = made != NULL ? d->back_end->list(call, d, made) : -ENOMEM;
    if (result != 0) {
        listing_free(made);
        return result;
    }
    w->listing_bytes += listing_bytes(made);
    d->listing = made;
    return 0;
}

/* Copies entries from the cookie on into the guest's buffer; *used says how much of it. */
static uint16_t entries_give(struct host_call *call, const struct listing *l, uint64_t cookie,
                             uint32_t address, uint32_t len, uint32_t *used)
{
    *used = 0;
    for (uint64_t i = cookie; i < l->count && *used < len; i++) {
        const struct listing_entry *entry = &l->entries[i];
        uint8_t dirent[24 + UINT8_MAX] = {0};
        store_u64(dirent, i + 1);
        store_u64(dirent + 8, entry->inode);
        store_u32(dirent + 16, entry->name_len);
        dirent[20] = entry->filetype;
        memcpy(dirent + 24, l->names.data + entry->name, entry->name_len);
        uint32_t size = 24u + entry->name_len;
        uint32_t fits = size < len - *used ? size : len - *used;
        if (guest_write(call->arena, address + *used, dirent, fits) != 0) {
            return WASI_EFAULT;
        }
        *used += fits;
    }
    return WASI_SUCCESS;
}

enum host_status preview1_fd_readdir(struct host_call *call)
{
    struct wasi *w = call_world(call);
    struct descriptor *d;
    uint32_t address = call->slots[1].u32, len = call->slots[2].u32, used = 0;
    uint64_t cookie = call->slots[3].u64;
    uint32_t used_address = call->slots[4].u32;
    uint16_t error = descriptor_get(w, call->slots[0].u32, 0, &d);
    if (error == WASI_SUCCESS && d->filetype != WASI_FILETYPE_DIRECTORY) {
        error = WASI_ENOTDIR;
    } else if (error == WASI_SUCCESS) {
        error = descriptor_get(w, call->slots[0].u32, WASI_RIGHT_FD_READDIR, &d);
    }
    if (error == WASI_SUCCESS) {
        error = call_room(call, address, len);
    }
    int result =
        error == WASI_SUCCESS && (cookie == 0 || d->listing == NULL) ? listing_refresh(call, d) : 0;
    if (result != 0) {
        return call_end(call, result);
    }
    if (error == WASI_SUCCESS) {
        error = entries_give(call, d->listing, cookie, address, len, &used);
    }
    return call_done(call,
                     error != WASI_SUCCESS ? error : call_store_u32(call, used_address, used));
}
