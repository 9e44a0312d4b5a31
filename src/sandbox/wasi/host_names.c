/* Files of the host, by their names beneath a directory. path.c sees to it that none leads out. */
#define _GNU_SOURCE
#include "sandbox/wasi/back_end.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A read-only preopen answers as a read-only file system does. */
static int open_path(const struct wasi *w, const struct descriptor *directory, const char *path,
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

/* O_NONBLOCK keeps the opening of a named pipe from waiting; regular files ignore it. */
int host_open(struct host_call *call, const struct descriptor *directory, char *path, int flags,
              struct descriptor *made)
{
    int fd = open_path(call_world(call), directory, path, flags | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        return fd;
    }
    made->read_only = directory->read_only;
    int result = descriptor_describe(made, fd);
    if (result < 0) {
        close(fd);
    }
    return result;
}

/* Opens a path only to look at it. */
static int open_look(const struct wasi *w, const struct descriptor *d, const char *path,
                     bool follow)
{
    return path_open_beneath(w, d->fd, path, O_PATH | (follow ? 0 : O_NOFOLLOW), 0);
}

int host_path_look(struct host_call *call, const struct descriptor *d, char *path, bool follow,
                   struct filestat *out)
{
    struct stat status;
    int fd = open_look(call_world(call), d, path, follow);
    if (fd < 0) {
        return fd;
    }
    int result = fstat(fd, &status) == 0 ? 0 : -errno;
    if (result == 0) {
        filestat_of(-1, &status, out);
    }
    close(fd);
    return result;
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

int host_path_set_times(struct host_call *call, const struct descriptor *d, char *path, bool follow,
                        const struct timespec times[2])
{
    int fd = open_look(call_world(call), d, path, follow);
    if (fd < 0) {
        return fd;
    }
    int result = times_set(fd, times);
    close(fd);
    return result;
}

int host_make_directory(struct host_call *call, const struct descriptor *d, char *path)
{
    struct parent p;
    int result = path_parent_open(call_world(call), d->fd, path, &p);
    if (result == 0) {
        result = mkdirat(p.fd, p.name, 0777) == 0 ? 0 : -errno;
        path_parent_close(&p);
    }
    return result;
}

int host_remove(struct host_call *call, const struct descriptor *d, char *path, bool is_directory)
{
    struct parent p;
    int result = path_parent_open(call_world(call), d->fd, path, &p);
    if (result == 0) {
        result = unlinkat(p.fd, p.name, is_directory ? AT_REMOVEDIR : 0) == 0 ? 0 : -errno;
        path_parent_close(&p);
    }
    return result;
}

int host_rename(struct host_call *call, const struct descriptor *old, char *old_path,
                const struct descriptor *new, char *new_path)
{
    struct parent from, to;
    int result = path_parent_open(call_world(call), old->fd, old_path, &from);
    if (result != 0) {
        return result;
    }
    result = path_parent_open(call_world(call), new->fd, new_path, &to);
    if (result == 0) {
        result = renameat(from.fd, from.name, to.fd, to.name) == 0 ? 0 : -errno;
        path_parent_close(&to);
    }
    path_parent_close(&from);
    return result;
}

/* ---- links ---- */

/* A hard link to whatever is found at the end of links; /proc is how Linux names an open file. */
static int link_followed(const struct wasi *w, int directory, const char *path,
                         const struct parent *to)
{
    char proc[40];
    int fd = path_open_beneath(w, directory, path, O_PATH, 0);
    if (fd < 0) {
        return fd;
    }
    snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
    int result = linkat(AT_FDCWD, proc, to->fd, to->name, AT_SYMLINK_FOLLOW) == 0 ? 0 : -errno;
    close(fd);
    return result;
}

static int link_unfollowed(const struct wasi *w, int directory, char *path, const struct parent *to)
{
    struct parent from;
    int result = path_parent_open(w, directory, path, &from);
    if (result == 0) {
        result = linkat(from.fd, from.name, to->fd, to->name, 0) == 0 ? 0 : -errno;
        path_parent_close(&from);
    }
    return result;
}

/* Unlike the other operations linkat follows a link that a slash stands behind, hence the detour.
 */
int host_link(struct host_call *call, const struct descriptor *old, char *old_path, bool follow,
              const struct descriptor *new, char *new_path)
{
    const struct wasi *w = call_world(call);
    struct parent to;
    int result = path_parent_open(w, new->fd, new_path, &to);
    if (result != 0) {
        return result;
    }
    result = follow || old_path[strlen(old_path) - 1] == '/'
                 ? link_followed(w, old->fd, old_path, &to)
                 : link_unfollowed(w, old->fd, old_path, &to);
    path_parent_close(&to);
    return result;
}

int host_symlink(struct host_call *call, const char *target, const struct descriptor *d, char *path)
{
    struct parent p;
    int result = path_parent_open(call_world(call), d->fd, path, &p);
    if (result == 0) {
        result = symlinkat(target, p.fd, p.name) == 0 ? 0 : -errno;
        path_parent_close(&p);
    }
    return result;
}

/* Reads a link through the descriptor that was checked to be one: nothing can come in between. */
ssize_t host_read_link(struct host_call *call, const struct descriptor *d, char *path, char *target,
                       size_t size)
{
    struct stat status;
    int fd = path_open_beneath(call_world(call), d->fd, path, O_PATH | O_NOFOLLOW, 0);
    if (fd < 0) {
        return fd;
    }
    ssize_t len = -EINVAL;
    if (fstat(fd, &status) == 0 && S_ISLNK(status.st_mode)) {
        len = readlinkat(fd, "", target, size);
        len = len >= 0 ? len : -errno;
    }
    close(fd);
    return len;
}

/* ---- listing ---- */

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
static int listing_fill(const struct wasi *w, struct listing *l, DIR *stream)
{
    struct stat self;
    if (fstat(dirfd(stream), &self) != 0) {
        return -errno;
    }
    bool top = is_preopen(w, &self);
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(stream);
        if (entry == NULL) {
            return -errno;
        }
        uint64_t inode = top && strcmp(entry->d_name, "..") == 0 ? self.st_ino : entry->d_ino;
        int result = listing_put(w, l, entry->d_name, strlen(entry->d_name), inode,
                                 entry_type(dirfd(stream), entry));
        if (result != 0) {
            return result;
        }
    }
}

/* Through an open file of its own: positions are not shared. */
int host_list(struct host_call *call, struct descriptor *d, struct listing *l)
{
    int fd = openat(d->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    DIR *stream = fdopendir(fd);
    if (stream == NULL) {
        close(fd);
        return -ENOMEM;
    }
    int result = listing_fill(call_world(call), l, stream);
    closedir(stream);
    return result;
}
