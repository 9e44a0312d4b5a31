/* What files are: types, sizes, times; and setting the latter two. */
#define _GNU_SOURCE
#include "sandbox/wasi/world.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

uint8_t filetype_of(int fd, const struct stat *status)
{
    int type = SOCK_STREAM;
    switch (status->st_mode & S_IFMT) {
    case S_IFREG: return WASI_FILETYPE_REGULAR_FILE;
    case S_IFDIR: return WASI_FILETYPE_DIRECTORY;
    case S_IFLNK: return WASI_FILETYPE_SYMBOLIC_LINK;
    case S_IFCHR: return WASI_FILETYPE_CHARACTER_DEVICE;
    case S_IFBLK: return WASI_FILETYPE_BLOCK_DEVICE;
    case S_IFSOCK:
        if (fd >= 0) {
            getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &(socklen_t){sizeof type});
        }
        return type == SOCK_DGRAM ? WASI_FILETYPE_SOCKET_DGRAM : WASI_FILETYPE_SOCKET_STREAM;
    default: return WASI_FILETYPE_UNKNOWN; /* pipes have no type of their own */
    }
}

/* Preview 1 counts nanoseconds since 1970 without a sign. */
static uint64_t timestamp_from(struct timespec t)
{
    return t.tv_sec < 0 ? 0 : (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* filestat: device @0, inode @8, filetype u8 @16, links @24, size @32, atim @40, mtim @48, ctim
 * @56.
 */
static uint16_t filestat_give(struct host_call *call, uint32_t address, int fd,
                              const struct stat *status)
{
    uint8_t filestat[64] = {0};
    store_u64(filestat, status->st_dev);
    store_u64(filestat + 8, status->st_ino);
    filestat[16] = filetype_of(fd, status);
    store_u64(filestat + 24, status->st_nlink);
    store_u64(filestat + 32, (uint64_t)status->st_size);
    store_u64(filestat + 40, timestamp_from(status->st_atim));
    store_u64(filestat + 48, timestamp_from(status->st_mtim));
    store_u64(filestat + 56, timestamp_from(status->st_ctim));
    return guest_write(call->arena, address, filestat, sizeof filestat) == 0 ? WASI_SUCCESS
                                                                             : WASI_EFAULT;
}

enum host_status preview1_fd_filestat_get(struct host_call *call)
{
    struct descriptor *d;
    struct stat status;
    uint16_t error =
        descriptor_get(call_world(call), call->slots[0].u32, WASI_RIGHT_FD_FILESTAT_GET, &d);
    if (error == WASI_SUCCESS && fstat(d->fd, &status) != 0) {
        error = wasi_errno(errno);
    }
    if (error == WASI_SUCCESS) {
        error = filestat_give(call, call->slots[1].u32, d->fd, &status);
    }
    return call_done(call, error);
}

enum host_status preview1_fd_filestat_set_size(struct host_call *call)
{
    struct descriptor *d;
    uint64_t size = call->slots[1].u64;
    uint16_t error =
        descriptor_get(call_world(call), call->slots[0].u32, WASI_RIGHT_FD_FILESTAT_SET_SIZE, &d);
    if (error == WASI_SUCCESS && size > INT64_MAX) {
        error = WASI_EINVAL;
    }
    if (error == WASI_SUCCESS && ftruncate(d->fd, (off_t)size) != 0) {
        error = wasi_errno(errno);
    }
    return call_done(call, error);
}

static bool time_to_set(uint32_t flags, uint32_t given, uint32_t now, uint64_t ns,
                        struct timespec *out)
{
    if ((flags & given) && (flags & now)) {
        return false;
    }
    out->tv_sec = (time_t)(ns / 1000000000u);
    out->tv_nsec = (long)(ns % 1000000000u);
    if (flags & now) {
        out->tv_nsec = UTIME_NOW;
    } else if (!(flags & given)) {
        out->tv_nsec = UTIME_OMIT;
    }
    return true;
}

static uint16_t times_to_set(uint64_t access, uint64_t modified, uint32_t flags,
                             struct timespec times[2])
{
    bool good = (flags & ~(uint32_t)WASI_FSTFLAGS_ALL) == 0 &&
                time_to_set(flags, WASI_FSTFLAG_ATIM, WASI_FSTFLAG_ATIM_NOW, access, &times[0]) &&
                time_to_set(flags, WASI_FSTFLAG_MTIM, WASI_FSTFLAG_MTIM_NOW, modified, &times[1]);
    return good ? WASI_SUCCESS : WASI_EINVAL;
}

enum host_status preview1_fd_filestat_set_times(struct host_call *call)
{
    struct descriptor *d;
    struct timespec times[2];
    uint16_t error =
        descriptor_get(call_world(call), call->slots[0].u32, WASI_RIGHT_FD_FILESTAT_SET_TIMES, &d);
    if (error == WASI_SUCCESS && d->read_only) {
        error = WASI_EROFS;
    }
    if (error == WASI_SUCCESS) {
        error = times_to_set(call->slots[1].u64, call->slots[2].u64, call->slots[3].u32, times);
    }
    if (error == WASI_SUCCESS && futimens(d->fd, times) != 0) {
        error = wasi_errno(errno);
    }
    return call_done(call, error);
}

/* Opens a path only to look at it. */
static int path_look(const struct wasi *w, const struct descriptor *d, const char *path,
                     uint32_t lookup)
{
    int flags = O_PATH | (lookup & WASI_LOOKUP_SYMLINK_FOLLOW ? 0 : O_NOFOLLOW);
    return path_open_beneath(w, d->fd, path, flags, 0);
}

enum host_status preview1_path_filestat_get(struct host_call *call)
{
    struct wasi *w = call_world(call);
    struct descriptor *d;
    struct stat status;
    char path[WASI_MAX_PATH];
    uint16_t error = descriptor_get(w, call->slots[0].u32, WASI_RIGHT_PATH_FILESTAT_GET, &d);
    if (error == WASI_SUCCESS) {
        error = call_path(call, call->slots[2].u32, call->slots[3].u32, path);
    }
    if (error != WASI_SUCCESS) {
        return call_done(call, error);
    }
    int fd = path_look(w, d, path, call->slots[1].u32);
    if (fd < 0) {
        return call_done(call, wasi_result(fd));
    }
    error = fstat(fd, &status) != 0 ? wasi_errno(errno)
                                    : filestat_give(call, call->slots[4].u32, -1, &status);
    close(fd);
    return call_done(call, error);
}

/* Sets the times of what an O_PATH descriptor stands for; older kernels need the way by /proc. */
static int times_set(int fd, const struct timespec times[2])
{
    char proc[40];
    if (utimensat(fd, "", times, AT_EMPTY_PATH) == 0) {
        return 0;
    }
    if (errno != EINVAL) {
        return -errno;
    }
    struct stat status;
    if (fstat(fd, &status) != 0 || S_ISLNK(status.st_mode)) {
        return -ENOTSUP;
    }
    snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
    return utimensat(AT_FDCWD, proc, times, 0) == 0 ? 0 : -errno;
}

enum host_status preview1_path_filestat_set_times(struct host_call *call)
{
    struct wasi *w = call_world(call);
    struct descriptor *d;
    struct timespec times[2];
    char path[WASI_MAX_PATH];
    uint16_t error = descriptor_get(w, call->slots[0].u32, WASI_RIGHT_PATH_FILESTAT_SET_TIMES, &d);
    if (error == WASI_SUCCESS) {
        error = call_path(call, call->slots[2].u32, call->slots[3].u32, path);
    }
    if (error == WASI_SUCCESS) {
        error = times_to_set(call->slots[4].u64, call->slots[5].u64, call->slots[6].u32, times);
    }
    if (error == WASI_SUCCESS && d->read_only) {
        error = WASI_EROFS;
    }
    if (error != WASI_SUCCESS) {
        return call_done(call, error);
    }
    int fd = path_look(w, d, path, call->slots[1].u32);
    if (fd < 0) {
        return call_done(call, wasi_result(fd));
    }
    error = wasi_result(times_set(fd, times));
    close(fd);
    return call_done(call, error);
}
