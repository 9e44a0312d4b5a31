/* The tree beneath a directory: opening, making, linking, renaming and removing by path. */
#define _GNU_SOURCE
#include "sandbox/wasi/world.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define RIGHTS_TO_READ (WASI_RIGHT_FD_READ | WASI_RIGHT_FD_READDIR)
#define RIGHTS_TO_WRITE                                                      \
    (WASI_RIGHT_FD_WRITE | WASI_RIGHT_FD_DATASYNC | WASI_RIGHT_FD_ALLOCATE | \
     WASI_RIGHT_FD_FILESTAT_SET_SIZE)

/* The directory a path starts from, and the path. */
static uint16_t path_get(struct host_call *call, uint32_t number, uint64_t rights, uint32_t address,
                         uint32_t len, struct descriptor **d, char path[WASI_MAX_PATH])
{
    uint16_t error = descriptor_get(call_world(call), number, rights, d);
    if (error == WASI_SUCCESS && (*d)->filetype != WASI_FILETYPE_DIRECTORY) {
        error = WASI_ENOTDIR;
    }
    return error != WASI_SUCCESS ? error : call_path(call, address, len, path);
}

/* The same for a path whose last component is to be changed: its parent is opened too. */
static uint16_t parent_get(struct host_call *call, uint32_t number, uint64_t rights,
                           uint32_t address, uint32_t len, char path[WASI_MAX_PATH],
                           struct parent *parent)
{
    struct descriptor *d;
    uint16_t error = path_get(call, number, rights, address, len, &d, path);
    if (error == WASI_SUCCESS && d->read_only) {
        error = WASI_EROFS;
    }
    return error != WASI_SUCCESS
               ? error
               : wasi_result(path_parent_open(call_world(call), d->fd, path, parent));
}

/* ---- opening ---- */

struct opening {
    uint32_t lookup, oflags, fdflags;
    uint64_t base, inheriting;
};

/* Whether the rights asked for, and those the flags imply, are to be had through the directory. */
static uint16_t opening_check(const struct descriptor *directory, struct opening *o)
{
    uint64_t through = WASI_RIGHT_PATH_OPEN, passed = o->base | o->inheriting;
    if ((o->oflags & ~(uint32_t)WASI_OFLAGS_ALL) != 0 ||
        (o->fdflags & ~(uint32_t)WASI_FDFLAGS_ALL) != 0 ||
        ((o->oflags & WASI_OFLAG_DIRECTORY) && (o->oflags & WASI_OFLAG_CREAT))) {
        return WASI_EINVAL;
    }
    through |= o->oflags & WASI_OFLAG_CREAT ? WASI_RIGHT_PATH_CREATE_FILE : 0;
    through |= o->oflags & WASI_OFLAG_TRUNC ? WASI_RIGHT_PATH_FILESTAT_SET_SIZE : 0;
    passed |= o->fdflags & WASI_FDFLAG_DSYNC ? WASI_RIGHT_FD_DATASYNC : 0;
    passed |= o->fdflags & (WASI_FDFLAG_SYNC | WASI_FDFLAG_RSYNC) ? WASI_RIGHT_FD_SYNC : 0;
    bool held = (directory->base & through) == through && (passed & ~directory->inheriting) == 0;
    return held ? WASI_SUCCESS : WASI_ENOTCAPABLE;
}

/* O_NONBLOCK keeps the opening of a named pipe from waiting; regular files ignore it. */
static int opening_flags(const struct opening *o)
{
    bool reads = (o->base & RIGHTS_TO_READ) != 0, writes = (o->base & RIGHTS_TO_WRITE) != 0;
    int flags = O_NONBLOCK | O_NOCTTY;
    if (o->oflags & WASI_OFLAG_DIRECTORY) {
        writes = false;
    }
    flags |= writes ? (reads ? O_RDWR : O_WRONLY) : O_RDONLY;
    flags |= o->lookup & WASI_LOOKUP_SYMLINK_FOLLOW ? 0 : O_NOFOLLOW;
    flags |= o->oflags & WASI_OFLAG_CREAT ? O_CREAT : 0;
    flags |= o->oflags & WASI_OFLAG_DIRECTORY ? O_DIRECTORY : 0;
    flags |= o->oflags & WASI_OFLAG_EXCL ? O_EXCL : 0;
    flags |= o->oflags & WASI_OFLAG_TRUNC ? O_TRUNC : 0;
    return flags;
}

/* A read-only preopen answers as a read-only file system does. */
static int opening_open(const struct wasi *w, const struct descriptor *directory, const char *path,
                        int flags)
{
    if (!directory->read_only) {
        return path_open_beneath(w, directory->fd, path, flags, 0666);
    }
    if ((flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC)) {
        return -EROFS;
    }
    int fd = path_open_beneath(w, directory->fd, path, flags & ~(O_CREAT | O_EXCL), 0);
    if (fd >= 0 && (flags & O_CREAT) && (flags & O_EXCL)) {
        close(fd);
        return -EEXIST;
    }
    return fd == -ENOENT && (flags & O_CREAT) ? -EROFS : fd;
}

static uint16_t opened_add(struct wasi *w, const struct descriptor *directory, int fd,
                           const struct opening *o, uint32_t *number)
{
    struct descriptor made = {.kind = DESCRIPTOR_FILE,
                              .flags = (uint16_t)o->fdflags,
                              .read_only = directory->read_only,
                              .source = directory->source};
    int result = descriptor_describe(&made, fd);
    if (result < 0) {
        close(fd);
        return wasi_result(result);
    }
    made.base = o->base & descriptor_rights(&made);
    made.inheriting = made.filetype == WASI_FILETYPE_DIRECTORY ? o->inheriting : 0;
    return descriptor_add(w, &made, 0, number);
}

/* In: fd, lookup flags, path, length, oflags, base, inheriting, fdflags; out: the descriptor. */
enum host_status preview1_path_open(struct host_call *call)
{
    struct wasi *w = call_world(call);
    struct descriptor *directory;
    char path[WASI_MAX_PATH];
    uint32_t result_address = call->slots[8].u32, number;
    /* Rights that preview 1 does not define are asked for by some libraries; nobody has them. */
    struct opening o = {.lookup = call->slots[1].u32,
                        .oflags = call->slots[4].u32,
                        .base = call->slots[5].u64 & WASI_RIGHTS_ALL,
                        .inheriting = call->slots[6].u64 & WASI_RIGHTS_ALL,
                        .fdflags = call->slots[7].u32};
    uint16_t error = path_get(call, call->slots[0].u32, 0, call->slots[2].u32, call->slots[3].u32,
                              &directory, path);
    if (error == WASI_SUCCESS) {
        error = opening_check(directory, &o);
    }
    if (error == WASI_SUCCESS) {
        error = call_room(call, result_address, 4);
    }
    if (error == WASI_SUCCESS && !descriptor_room(w)) {
        error = WASI_EMFILE;
    }
    if (error != WASI_SUCCESS) {
        return call_done(call, error);
    }
    /* Making room may have moved the table. */
    directory = &w->descriptors[call->slots[0].u32];
    int fd = opening_open(w, directory, path, opening_flags(&o));
    if (fd < 0) {
        return call_done(call, wasi_result(fd));
    }
    struct descriptor parent = *directory;
    error = opened_add(w, &parent, fd, &o, &number);
    return call_done(call,
                     error != WASI_SUCCESS ? error : call_store_u32(call, result_address, number));
}

/* ---- making, removing, renaming ---- */

enum host_status preview1_path_create_directory(struct host_call *call)
{
    char path[WASI_MAX_PATH];
    struct parent p;
    uint16_t error = parent_get(call, call->slots[0].u32, WASI_RIGHT_PATH_CREATE_DIRECTORY,
                                call->slots[1].u32, call->slots[2].u32, path, &p);
    if (error == WASI_SUCCESS) {
        error = mkdirat(p.fd, p.name, 0777) != 0 ? wasi_errno(errno) : WASI_SUCCESS;
        path_parent_close(&p);
    }
    return call_done(call, error);
}

static enum host_status path_remove(struct host_call *call, uint64_t right, int flags)
{
    char path[WASI_MAX_PATH];
    struct parent p;
    uint16_t error = parent_get(call, call->slots[0].u32, right, call->slots[1].u32,
                                call->slots[2].u32, path, &p);
    if (error == WASI_SUCCESS) {
        error = unlinkat(p.fd, p.name, flags) != 0 ? wasi_errno(errno) : WASI_SUCCESS;
        path_parent_close(&p);
    }
    return call_done(call, error);
}

enum host_status preview1_path_remove_directory(struct host_call *call)
{
    return path_remove(call, WASI_RIGHT_PATH_REMOVE_DIRECTORY, AT_REMOVEDIR);
}

enum host_status preview1_path_unlink_file(struct host_call *call)
{
    return path_remove(call, WASI_RIGHT_PATH_UNLINK_FILE, 0);
}

enum host_status preview1_path_rename(struct host_call *call)
{
    char old_path[WASI_MAX_PATH], new_path[WASI_MAX_PATH];
    struct parent from, to;
    uint16_t error = parent_get(call, call->slots[0].u32, WASI_RIGHT_PATH_RENAME_SOURCE,
                                call->slots[1].u32, call->slots[2].u32, old_path, &from);
    if (error != WASI_SUCCESS) {
        return call_done(call, error);
    }
    error = parent_get(call, call->slots[3].u32, WASI_RIGHT_PATH_RENAME_TARGET, call->slots[4].u32,
                       call->slots[5].u32, new_path, &to);
    if (error == WASI_SUCCESS) {
        error =
            renameat(from.fd, from.name, to.fd, to.name) != 0 ? wasi_errno(errno) : WASI_SUCCESS;
        path_parent_close(&to);
    }
    path_parent_close(&from);
    return call_done(call, error);
}

/* ---- links ---- */

/* A hard link to whatever is found at the end of links; /proc is how Linux names an open file. */
static uint16_t link_followed(const struct wasi *w, int directory, const char *path,
                              const struct parent *to)
{
    char proc[40];
    int fd = path_open_beneath(w, directory, path, O_PATH, 0);
    if (fd < 0) {
        return wasi_result(fd);
    }
    snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
    uint16_t error = linkat(AT_FDCWD, proc, to->fd, to->name, AT_SYMLINK_FOLLOW) != 0
                         ? wasi_errno(errno)
                         : WASI_SUCCESS;
    close(fd);
    return error;
}

static uint16_t link_unfollowed(const struct wasi *w, int directory, char *path,
                                const struct parent *to)
{
    struct parent from;
    uint16_t error = wasi_result(path_parent_open(w, directory, path, &from));
    if (error == WASI_SUCCESS) {
        error =
            linkat(from.fd, from.name, to->fd, to->name, 0) != 0 ? wasi_errno(errno) : WASI_SUCCESS;
        path_parent_close(&from);
    }
    return error;
}

/* A hard link can be written through: its source must not be read-only either. Unlike the other
 * operations linkat follows a link that a slash stands behind, hence the detour. */
enum host_status preview1_path_link(struct host_call *call)
{
    struct wasi *w = call_world(call);
    struct descriptor *d;
    char old_path[WASI_MAX_PATH], new_path[WASI_MAX_PATH];
    struct parent to;
    uint16_t error = path_get(call, call->slots[0].u32, WASI_RIGHT_PATH_LINK_SOURCE,
                              call->slots[2].u32, call->slots[3].u32, &d, old_path);
    if (error == WASI_SUCCESS && d->read_only) {
        error = WASI_EROFS;
    }
    if (error == WASI_SUCCESS) {
        error = parent_get(call, call->slots[4].u32, WASI_RIGHT_PATH_LINK_TARGET,
                           call->slots[5].u32, call->slots[6].u32, new_path, &to);
    }
    if (error != WASI_SUCCESS) {
        return call_done(call, error);
    }
    bool follow = (call->slots[1].u32 & WASI_LOOKUP_SYMLINK_FOLLOW) != 0 ||
                  old_path[strlen(old_path) - 1] == '/';
    error =
        follow ? link_followed(w, d->fd, old_path, &to) : link_unfollowed(w, d->fd, old_path, &to);
    path_parent_close(&to);
    return call_done(call, error);
}

/* An absolute target would mean one thing to the guest and another to the host's programs. */
enum host_status preview1_path_symlink(struct host_call *call)
{
    char target[WASI_MAX_PATH], path[WASI_MAX_PATH];
    struct parent p;
    uint16_t error = call_path(call, call->slots[0].u32, call->slots[1].u32, target);
    if (error == WASI_SUCCESS && target[0] == '/') {
        error = WASI_EPERM;
    }
    if (error == WASI_SUCCESS) {
        error = parent_get(call, call->slots[2].u32, WASI_RIGHT_PATH_SYMLINK, call->slots[3].u32,
                           call->slots[4].u32, path, &p);
    }
    if (error == WASI_SUCCESS) {
        error = symlinkat(target, p.fd, p.name) != 0 ? wasi_errno(errno) : WASI_SUCCESS;
        path_parent_close(&p);
    }
    return call_done(call, error);
}

/* Reads a link through the descriptor that was checked to be one: nothing can come in between. */
static uint16_t link_read(struct host_call *call, int fd, uint32_t address, uint32_t len,
                          uint32_t used_address)
{
    char target[WASI_MAX_PATH];
    struct stat status;
    if (fstat(fd, &status) != 0 || !S_ISLNK(status.st_mode)) {
        return WASI_EINVAL;
    }
    ssize_t got = readlinkat(fd, "", target, sizeof target);
    if (got < 0) {
        return wasi_errno(errno);
    }
    uint32_t used = (uint32_t)got < len ? (uint32_t)got : len;
    return guest_write(call->arena, address, target, used) != 0
               ? WASI_EFAULT
               : call_store_u32(call, used_address, used);
}

enum host_status preview1_path_readlink(struct host_call *call)
{
    struct descriptor *d;
    char path[WASI_MAX_PATH];
    uint16_t error = path_get(call, call->slots[0].u32, WASI_RIGHT_PATH_READLINK,
                              call->slots[1].u32, call->slots[2].u32, &d, path);
    if (error != WASI_SUCCESS) {
        return call_done(call, error);
    }
    int fd = path_open_beneath(call_world(call), d->fd, path, O_PATH | O_NOFOLLOW, 0);
    if (fd < 0) {
        return call_done(call, wasi_result(fd));
    }
    error = link_read(call, fd, call->slots[3].u32, call->slots[4].u32, call->slots[5].u32);
    close(fd);
    return call_done(call, error);
}
