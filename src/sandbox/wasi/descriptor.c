/*
 * The table of descriptors: which numbers the guest has, what each is, and what it may do.
 *
 * Rights only ever shrink: a descriptor opened through a directory gets at most that directory's
 * inheriting rights, and fd_fdstat_set_rights takes away. Flags (append, sync, nonblock) are kept
 * here and applied to each operation, never to the host's open file: a standard stream's is shared
 * with other processes.
 */
#define _GNU_SOURCE
#include "sandbox/wasi/back_end.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define RIGHTS_ANY                                                                      \
    (WASI_RIGHT_FD_FDSTAT_SET_FLAGS | WASI_RIGHT_FD_FILESTAT_GET | WASI_RIGHT_FD_SYNC | \
     WASI_RIGHT_FD_DATASYNC)
#define RIGHTS_STREAM                                                                       \
    (RIGHTS_ANY | WASI_RIGHT_FD_READ | WASI_RIGHT_FD_WRITE | WASI_RIGHT_POLL_FD_READWRITE | \
     WASI_RIGHT_FD_FILESTAT_SET_TIMES)
#define RIGHTS_FILE                                                                   \
    (RIGHTS_STREAM | WASI_RIGHT_FD_SEEK | WASI_RIGHT_FD_TELL | WASI_RIGHT_FD_ADVISE | \
     WASI_RIGHT_FD_ALLOCATE | WASI_RIGHT_FD_FILESTAT_SET_SIZE)
#define RIGHTS_SOCKET                                                                       \
    (RIGHTS_ANY | WASI_RIGHT_FD_READ | WASI_RIGHT_FD_WRITE | WASI_RIGHT_POLL_FD_READWRITE | \
     WASI_RIGHT_SOCK_SHUTDOWN | WASI_RIGHT_SOCK_ACCEPT)
#define RIGHTS_DIRECTORY                                                                \
    (RIGHTS_ANY | WASI_RIGHT_FD_ADVISE | WASI_RIGHT_FD_FILESTAT_SET_TIMES |             \
     WASI_RIGHT_PATH_CREATE_DIRECTORY | WASI_RIGHT_PATH_CREATE_FILE |                   \
     WASI_RIGHT_PATH_LINK_SOURCE | WASI_RIGHT_PATH_LINK_TARGET | WASI_RIGHT_PATH_OPEN | \
     WASI_RIGHT_FD_READDIR | WASI_RIGHT_PATH_READLINK | WASI_RIGHT_PATH_RENAME_SOURCE | \
     WASI_RIGHT_PATH_RENAME_TARGET | WASI_RIGHT_PATH_FILESTAT_GET |                     \
     WASI_RIGHT_PATH_FILESTAT_SET_SIZE | WASI_RIGHT_PATH_FILESTAT_SET_TIMES |           \
     WASI_RIGHT_PATH_SYMLINK | WASI_RIGHT_PATH_REMOVE_DIRECTORY | WASI_RIGHT_PATH_UNLINK_FILE)

uint16_t descriptor_get(const struct wasi *w, uint32_t number, uint64_t rights,
                        struct descriptor **out)
{
    if (number >= w->capacity || w->descriptors[number].kind == DESCRIPTOR_FREE) {
        return WASI_EBADF;
    }
    *out = &w->descriptors[number];
    return ((*out)->base & rights) == rights ? WASI_SUCCESS : WASI_ENOTCAPABLE;
}

int descriptor_describe(struct descriptor *d, int fd)
{
    struct stat status;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fstat(fd, &status) != 0) {
        return -errno;
    }
    d->back_end = &back_end_host;
    d->fd = fd;
    d->filetype = filetype_of(fd, &status);
    d->waits = S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode) || S_ISCHR(status.st_mode);
    d->seekable = lseek(fd, 0, SEEK_CUR) >= 0 && !S_ISDIR(status.st_mode);
    d->nonblocking = (flags & O_NONBLOCK) != 0;
    d->host_append = (flags & O_APPEND) != 0;
    if (d->host_append) {
        d->flags |= WASI_FDFLAG_APPEND;
    }
    return 0;
}

uint64_t descriptor_rights(const struct descriptor *d)
{
    switch (d->filetype) {
    case WASI_FILETYPE_DIRECTORY: return RIGHTS_DIRECTORY;
    case WASI_FILETYPE_SOCKET_DGRAM:
    case WASI_FILETYPE_SOCKET_STREAM: return RIGHTS_SOCKET;
    default: return d->seekable ? RIGHTS_FILE : RIGHTS_STREAM;
    }
}

/* Makes the table cover numbers up to this one. */
static uint16_t table_grow(struct wasi *w, uint32_t number)
{
    if (number >= w->limit) {
        return WASI_EMFILE;
    }
    if (number < w->capacity) {
        return WASI_SUCCESS;
    }
    uint32_t capacity = w->capacity < 4 ? 4 : w->capacity;
    while (capacity <= number) {
        capacity *= 2;
    }
    struct descriptor *grown = realloc(w->descriptors, capacity * sizeof *grown);
    if (grown == NULL) {
        return WASI_ENOMEM;
    }
    memset(grown + w->capacity, 0, (capacity - w->capacity) * sizeof *grown);
    w->descriptors = grown;
    w->capacity = capacity;
    return WASI_SUCCESS;
}

static uint32_t number_free(const struct wasi *w, uint32_t first)
{
    uint32_t number = first;
    while (number < w->capacity && w->descriptors[number].kind != DESCRIPTOR_FREE) {
        number++;
    }
    return number;
}

bool descriptor_room(struct wasi *w)
{
    return table_grow(w, number_free(w, 0)) == WASI_SUCCESS;
}

uint16_t descriptor_add(struct wasi *w, const struct descriptor *d, uint32_t first,
                        uint32_t *number)
{
    *number = number_free(w, first);
    return descriptor_put(w, d, *number);
}

uint16_t descriptor_put(struct wasi *w, const struct descriptor *d, uint32_t number)
{
    uint16_t error = table_grow(w, number);
    if (error != WASI_SUCCESS) {
        struct descriptor unwanted = *d;
        descriptor_close(w, &unwanted);
        return error;
    }
    assert(w->descriptors[number].kind == DESCRIPTOR_FREE);
    w->descriptors[number] = *d;
    return WASI_SUCCESS;
}

void descriptor_close(struct wasi *w, struct descriptor *d)
{
    if (d->listing != NULL) {
        w->listing_bytes -= listing_bytes(d->listing);
        listing_free(d->listing);
    }
    free(d->publish);
    d->back_end->close(w, d);
    *d = (struct descriptor){.kind = DESCRIPTOR_FREE};
}

/* Closes it for the guest. The descriptor is gone whatever the result, except with VFS_WAIT. */
static int descriptor_finish(struct host_call *call, struct descriptor *d)
{
    int result = d->back_end->finish != NULL ? d->back_end->finish(call, d) : 0;
    if (result != VFS_WAIT) {
        descriptor_close(call_world(call), d);
    }
    return result;
}

enum host_status preview1_fd_close(struct host_call *call)
{
    struct descriptor *d;
    uint16_t error = descriptor_get(call_world(call), call->slots[0].u32, 0, &d);
    return error != WASI_SUCCESS ? call_done(call, error)
                                 : call_end(call, descriptor_finish(call, d));
}

/* Both numbers must be open: giving one a place of the guest's choice would let it fill the table
 * with holes, and no C library asks for it. */
enum host_status preview1_fd_renumber(struct host_call *call)
{
    struct wasi *w = call_world(call);
    struct descriptor *from, *to;
    uint16_t error = descriptor_get(w, call->slots[0].u32, 0, &from);
    if (error == WASI_SUCCESS) {
        error = descriptor_get(w, call->slots[1].u32, 0, &to);
    }
    if (error != WASI_SUCCESS || from == to) {
        return call_done(call, error);
    }
    int result = descriptor_finish(call, to);
    if (result != VFS_WAIT) {
        *to = *from;
        *from = (struct descriptor){.kind = DESCRIPTOR_FREE};
    }
    return call_end(call, result);
}

/* fdstat: filetype u8 @0, flags u16 @2, base u64 @8, inheriting u64 @16. */
enum host_status preview1_fd_fdstat_get(struct host_call *call)
{
    struct descriptor *d;
    uint8_t fdstat[24] = {0};
    uint16_t error = descriptor_get(call_world(call), call->slots[0].u32, 0, &d);
    if (error != WASI_SUCCESS) {
        return call_done(call, error);
    }
    fdstat[0] = d->filetype;
    memcpy(fdstat + 2, &d->flags, 2);
    store_u64(fdstat + 8, d->base);
    store_u64(fdstat + 16, d->inheriting);
    bool bad = guest_write(call->arena, call->slots[1].u32, fdstat, sizeof fdstat) != 0;
    return call_done(call, bad ? WASI_EFAULT : WASI_SUCCESS);
}

enum host_status preview1_fd_fdstat_set_flags(struct host_call *call)
{
    struct descriptor *d;
    uint32_t flags = call->slots[1].u32;
    uint16_t error =
        descriptor_get(call_world(call), call->slots[0].u32, WASI_RIGHT_FD_FDSTAT_SET_FLAGS, &d);
    if (error == WASI_SUCCESS && (flags & ~(uint32_t)WASI_FDFLAGS_ALL) != 0) {
        error = WASI_EINVAL;
    }
    if (error == WASI_SUCCESS && d->host_append && (flags & WASI_FDFLAG_APPEND) == 0) {
        error = WASI_ENOTSUP;
    }
    if (error == WASI_SUCCESS) {
        d->flags = (uint16_t)flags;
    }
    return call_done(call, error);
}

enum host_status preview1_fd_fdstat_set_rights(struct host_call *call)
{
    struct descriptor *d;
    uint64_t base = call->slots[1].u64, inheriting = call->slots[2].u64;
    uint16_t error = descriptor_get(call_world(call), call->slots[0].u32, base, &d);
    if (error == WASI_SUCCESS && (inheriting & ~d->inheriting) != 0) {
        error = WASI_ENOTCAPABLE;
    }
    if (error == WASI_SUCCESS) {
        d->base = base;
        d->inheriting = inheriting;
    }
    return call_done(call, error);
}

/* The preopen behind a descriptor, or EBADF: C libraries look for preopens from 3 on until then. */
static uint16_t preopen_get(const struct wasi *w, uint32_t number, const struct preopen **out)
{
    struct descriptor *d;
    uint16_t error = descriptor_get(w, number, 0, &d);
    if (error == WASI_SUCCESS && d->kind != DESCRIPTOR_PREOPEN) {
        error = WASI_EBADF;
    }
    if (error == WASI_SUCCESS) {
        *out = &w->preopens[d->source];
    }
    return error;
}

/* prestat: tag u8 @0 (0 = directory), length of its name u32 @4. */
enum host_status preview1_fd_prestat_get(struct host_call *call)
{
    const struct preopen *p;
    uint8_t prestat[8] = {0};
    uint16_t error = preopen_get(call_world(call), call->slots[0].u32, &p);
    if (error != WASI_SUCCESS) {
        return call_done(call, error);
    }
    store_u32(prestat + 4, (uint32_t)strlen(p->guest_name));
    bool bad = guest_write(call->arena, call->slots[1].u32, prestat, sizeof prestat) != 0;
    return call_done(call, bad ? WASI_EFAULT : WASI_SUCCESS);
}

enum host_status preview1_fd_prestat_dir_name(struct host_call *call)
{
    const struct preopen *p;
    uint16_t error = preopen_get(call_world(call), call->slots[0].u32, &p);
    if (error != WASI_SUCCESS) {
        return call_done(call, error);
    }
    size_t len = strlen(p->guest_name);
    if (call->slots[2].u32 < len) {
        return call_done(call, WASI_ENAMETOOLONG);
    }
    bool bad = guest_write(call->arena, call->slots[1].u32, p->guest_name, len) != 0;
    return call_done(call, bad ? WASI_EFAULT : WASI_SUCCESS);
}
