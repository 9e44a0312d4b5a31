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
#include "sandbox/wasi/world.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

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

static uint8_t entry_type(int directory, const struct dirent *entry)
{
    struct stat status;
    switch (entry->d_type) {
    case DT_REG: return WASI_FILETYPE_REGULAR_FILE;
    case DT_DIR: return WASI_FILETYPE_DIRECTORY;
    case DT_LNK: return WASI_FILETYPE_SYMBOLIC_LINK;
    case DT_CHR: return WASI_FILETYPE_CHARACTER_DEVICE;
    case DT_BLK: return WASI_FILETYPE_BLOCK_DEVICE;
    case DT_SOCK: return WASI_FILETYPE_SOCKET_STREAM;
    case DT_UNKNOWN:
        return fstatat(directory, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0
                   ? filetype_of(-1, &status)
                   : WASI_FILETYPE_UNKNOWN;
    default: return WASI_FILETYPE_UNKNOWN;
    }
}

static bool is_preopen(const struct wasi *w, const struct stat *directory)
{
    struct stat status;
    for (uint32_t i = 0; i < w->preopen_count; i++) {
        if (fstat(w->preopens[i].fd, &status) == 0 && status.st_dev == directory->st_dev &&
            status.st_ino == directory->st_ino) {
            return true;
        }
    }
    return false;
}

/* Reads every entry of stream. A preopen is its own parent, as "/" is. */
static uint16_t listing_fill(const struct wasi *w, struct listing *l, DIR *stream)
{
    struct stat self;
    if (fstat(dirfd(stream), &self) != 0) {
        return wasi_errno(errno);
    }
    bool top = is_preopen(w, &self);
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(stream);
        if (entry == NULL) {
            return errno != 0 ? wasi_errno(errno) : WASI_SUCCESS;
        }
        uint64_t inode = top && strcmp(entry->d_name, "..") == 0 ? self.st_ino : entry->d_ino;
        if (!listing_add(l, entry->d_name, strlen(entry->d_name), inode,
                         entry_type(dirfd(stream), entry)) ||
            w->listing_bytes + listing_bytes(l) > WASI_MAX_LISTINGS) {
            return WASI_ENOMEM;
        }
    }
}

/* Takes the directory down anew, through an open file of its own: positions are not shared. */
static uint16_t listing_refresh(struct wasi *w, struct descriptor *d)
{
    if (d->listing != NULL) {
        w->listing_bytes -= listing_bytes(d->listing);
        listing_free(d->listing);
        d->listing = NULL;
    }
    int fd = openat(d->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return wasi_errno(errno);
    }
    struct listing *made = calloc(1, sizeof *made);
    DIR *stream = made != NULL ? fdopendir(fd) : NULL;
    if (stream == NULL) {
        free(made);
        close(fd);
        return WASI_ENOMEM;
    }
    uint16_t error = listing_fill(w, made, stream);
    closedir(stream);
    if (error != WASI_SUCCESS) {
        listing_free(made);
        return error;
    }
    w->listing_bytes += listing_bytes(made);
    d->listing = made;
    return WASI_SUCCESS;
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
    if (error == WASI_SUCCESS && (cookie == 0 || d->listing == NULL)) {
        error = listing_refresh(w, d);
    }
    if (error == WASI_SUCCESS) {
        error = entries_give(call, d->listing, cookie, address, len, &used);
    }
    return call_done(call,
                     error != WASI_SUCCESS ? error : call_store_u32(call, used_address, used));
}
