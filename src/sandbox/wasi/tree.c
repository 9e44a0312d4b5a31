/* The tree beneath a directory: opening, making, linking, renaming and removing by path. */
#define _GNU_SOURCE
#include "sandbox/wasi/back_end.h"

#include <fcntl.h>

#define RIGHTS_TO_READ (WASI_RIGHT_FD_READ | WASI_RIGHT_FD_READDIR)
#define RIGHTS_TO_WRITE                                                      \
    (WASI_RIGHT_FD_WRITE | WASI_RIGHT_FD_DATASYNC | WASI_RIGHT_FD_ALLOCATE | \
     WASI_RIGHT_FD_FILESTAT_SET_SIZE)

/* A directory, and the path of a name in it that is to be changed. */
static uint16_t change_get(struct host_call *call, uint32_t number, uint64_t rights,
                           uint32_t address, uint32_t len, struct descriptor **d,
                           char path[WASI_MAX_PATH])
{
    uint16_t error = call_directory(call, number, rights, address, len, d, path);
    return error == WASI_SUCCESS && (*d)->read_only ? WASI_EROFS : error;
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

static int opening_flags(const struct opening *o)
{
    bool reads = (o->base & RIGHTS_TO_READ) != 0, writes = (o->base & RIGHTS_TO_WRITE) != 0;
    int flags = 0;
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

/* Opens the path; *number is the guest's for it. */
static int opening_open(struct host_call *call, const struct descriptor *directory, char *path,
                        const struct opening *o, uint16_t *error, uint32_t *number)
{
    struct descriptor made = {.back_end = directory->back_end,
                              .kind = DESCRIPTOR_FILE,
                              .flags = (uint16_t)o->fdflags,
                              .source = directory->source};
    int result = directory->back_end->open(call, directory, path, opening_flags(o), &made);
    if (result == 0) {
        made.base = o->base & descriptor_rights(&made);
        made.inheriting = made.filetype == WASI_FILETYPE_DIRECTORY ? o->inheriting : 0;
        *error = descriptor_add(call_world(call), &made, 0, number);
    }
    return result;
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
    uint16_t error = call_directory(call, call->slots[0].u32, 0, call->slots[2].u32,
                                    call->slots[3].u32, &directory, path);
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
    int result = opening_open(call, directory, path, &o, &error, &number);
    if (result != 0) {
        return call_end(call, result);
    }
    return call_done(call,
                     error != WASI_SUCCESS ? error : call_store_u32(call, result_address, number));
}

/* ---- making, removing, renaming ---- */

enum host_status preview1_path_create_directory(struct host_call *call)
{
    char path[WASI_MAX_PATH];
    struct descriptor *d;
    uint16_t error = change_get(call, call->slots[0].u32, WASI_RIGHT_PATH_CREATE_DIRECTORY,
                                call->slots[1].u32, call->slots[2].u32, &d, path);
    return error != WASI_SUCCESS ? call_done(call, error)
                                 : call_end(call, d->back_end->make_directory(call, d, path));
}

static enum host_status path_remove(struct host_call *call, uint64_t right, bool is_directory)
{
    char path[WASI_MAX_PATH];
    struct descriptor *d;
    uint16_t error = change_get(call, call->slots[0].u32, right, call->slots[1].u32,
                                call->slots[2].u32, &d, path);
    return error != WASI_SUCCESS ? call_done(call, error)
                                 : call_end(call, d->back_end->remove(call, d, path, is_directory));
}

enum host_status preview1_path_remove_directory(struct host_call *call)
{
    return path_remove(call, WASI_RIGHT_PATH_REMOVE_DIRECTORY, true);
}

enum host_status preview1_path_unlink_file(struct host_call *call)
{
    return path_remove(call, WASI_RIGHT_PATH_UNLINK_FILE, false);
}

enum host_status preview1_path_rename(struct host_call *call)
{
    char old_path[WASI_MAX_PATH], new_path[WASI_MAX_PATH];
    struct descriptor *from, *to;
    uint16_t error = change_get(call, call->slots[0].u32, WASI_RIGHT_PATH_RENAME_SOURCE,
                                call->slots[1].u32, call->slots[2].u32, &from, old_path);
    if (error == WASI_SUCCESS) {
        error = change_get(call, call->slots[3].u32, WASI_RIGHT_PATH_RENAME_TARGET,
                           call->slots[4].u32, call->slots[5].u32, &to, new_path);
    }
    if (error == WASI_SUCCESS && from->back_end != to->back_end) {
        error = WASI_EXDEV;
    }
    return error != WASI_SUCCESS
               ? call_done(call, error)
               : call_end(call, from->back_end->rename(call, from, old_path, to, new_path));
}

/* ---- links ---- */

/* A hard link can be written through: its source must not be read-only either. */
enum host_status preview1_path_link(struct host_call *call)
{
    char old_path[WASI_MAX_PATH], new_path[WASI_MAX_PATH];
    struct descriptor *from, *to;
    bool follow = (call->slots[1].u32 & WASI_LOOKUP_SYMLINK_FOLLOW) != 0;
    uint16_t error = change_get(call, call->slots[0].u32, WASI_RIGHT_PATH_LINK_SOURCE,
                                call->slots[2].u32, call->slots[3].u32, &from, old_path);
    if (error == WASI_SUCCESS) {
        error = change_get(call, call->slots[4].u32, WASI_RIGHT_PATH_LINK_TARGET,
                           call->slots[5].u32, call->slots[6].u32, &to, new_path);
    }
    if (error == WASI_SUCCESS && from->back_end != to->back_end) {
        error = WASI_EXDEV;
    }
    return error != WASI_SUCCESS
               ? call_done(call, error)
               : call_end(call, from->back_end->link(call, from, old_path, follow, to, new_path));
}

/* An absolute target would mean one thing to the guest and another to the host's programs. */
enum host_status preview1_path_symlink(struct host_call *call)
{
    char target[WASI_MAX_PATH], path[WASI_MAX_PATH];
    struct descriptor *d;
    uint16_t error = call_path(call, call->slots[0].u32, call->slots[1].u32, target);
    if (error == WASI_SUCCESS && target[0] == '/') {
        error = WASI_EPERM;
    }
    if (error == WASI_SUCCESS) {
        error = change_get(call, call->slots[2].u32, WASI_RIGHT_PATH_SYMLINK, call->slots[3].u32,
                           call->slots[4].u32, &d, path);
    }
    return error != WASI_SUCCESS ? call_done(call, error)
                                 : call_end(call, d->back_end->symlink(call, target, d, path));
}

enum host_status preview1_path_readlink(struct host_call *call)
{
    struct descriptor *d;
    char path[WASI_MAX_PATH], target[WASI_MAX_PATH];
    uint32_t address = call->slots[3].u32, room = call->slots[4].u32;
    uint16_t error = call_directory(call, call->slots[0].u32, WASI_RIGHT_PATH_READLINK,
                                    call->slots[1].u32, call->slots[2].u32, &d, path);
    if (error != WASI_SUCCESS) {
        return call_done(call, error);
    }
    ssize_t len = d->back_end->read_link(call, d, path, target, sizeof target);
    if (len < 0) {
        return call_end(call, len);
    }
    uint32_t used = (uint32_t)len < room ? (uint32_t)len : room;
    return call_done(call, guest_write(call->arena, address, target, used) != 0
                               ? WASI_EFAULT
                               : call_store_u32(call, call->slots[5].u32, used));
}
