/*
 * The real files of a log: one directory (files.h). A file's number is its descriptor.
 *
 * The directory is locked through a file of its own in it, "lock", so that two processes never
 * write one log; the kernel gives the lock back when the process ends, however it does.
 */
#define _GNU_SOURCE
#include "ledger/log/files.h"

#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_NAME "lock"
#define PUSH_BITS 20 /* so much at a time is put on its way to the disk */

struct directory {
    int fd;
    int lock_fd; /* -1: only reading */
    bool read_only;
};

static int directory_open(void *context, const char *name, bool create, struct error *e)
{
    const struct directory *d = context;
    int flags = O_CLOEXEC | O_NOFOLLOW | (d->read_only ? O_RDONLY : O_RDWR);
    int fd = openat(d->fd, name, flags | (create ? O_CREAT | O_EXCL : 0), 0600);
    return fd < 0 ? error_set_errno(e, 0, "cannot open %s of the log", name) : fd;
}

static void directory_close(void *context, int file)
{
    (void)context;
    close(file);
}

static int directory_size(void *context, int file, uint64_t *bytes, struct error *e)
{
    struct stat status;
    (void)context;
    if (fstat(file, &status) < 0)
        return error_set_errno(e, 0, "cannot examine a file of the log");
    *bytes = (uint64_t)status.st_size;
    return 0;
}

static int directory_allocate(void *context, int file, uint64_t bytes, struct error *e)
{
    (void)context;
    int number;
    do
        number = posix_fallocate(file, 0, (off_t)bytes);
    while (number == EINTR);
    errno = number;
    return number == 0 ? 0 : error_set_errno(e, 0, "cannot make room for the log");
}

static void directory_release(void *context, int file, uint64_t from, uint64_t to)
{
    (void)context;
    if (to > from) /* a file system without holes keeps the room */
        (void)fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)from,
                        (off_t)(to - from));
}

static int directory_read(void *context, int file, uint64_t at, void *data, size_t len,
                          struct error *e)
{
    (void)context;
    int rc = file_read_at(file, data, len, at, e);
    if (rc == -ATOLL_ESIZE)
        return error_set(e, ATOLL_ERANGE, "a file of the log ends too early");
    return rc < 0 ? error_prefix(e, "cannot read the log") : 0;
}

/* What was written ends at `end`: whole pieces begin their way to the disk at once, so that a
 * synchronisation finds little to do however long nobody asked for one (async mode: a segment). */
static void directory_push(int file, uint64_t at, uint64_t end)
{
    uint64_t from = at >> PUSH_BITS << PUSH_BITS, to = end >> PUSH_BITS << PUSH_BITS;
    if (to > from) /* only a hint: errors show when it is synchronised */
        sync_file_range(file, (off_t)from, (off_t)(to - from), SYNC_FILE_RANGE_WRITE);
}

static int directory_write(void *context, int file, uint64_t at, const void *data, size_t len,
                           struct error *e)
{
    (void)context;
    int rc = file_write_at(file, data, len, at, e);
    if (rc < 0)
        return error_prefix(e, "cannot write the log");
    directory_push(file, at, at + len);
    return 0;
}

static int directory_sync_file(void *context, int file, struct error *e)
{
    (void)context;
    return fdatasync(file) < 0 ? error_set_errno(e, ATOLL_EIO, "cannot sync the log") : 0;
}

static int directory_rename(void *context, const char *from, const char *to, struct error *e)
{
    const struct directory *d = context;
    return renameat(d->fd, from, d->fd, to) < 0
               ? error_set_errno(e, 0, "cannot rename %s of the log to %s", from, to)
               : 0;
}

static int directory_remove(void *context, const char *name, struct error *e)
{
    const struct directory *d = context;
    return unlinkat(d->fd, name, 0) < 0 ? error_set_errno(e, 0, "cannot remove %s of the log", name)
                                        : 0;
}

static int directory_sync_names(void *context, struct error *e)
{
    const struct directory *d = context;
    return fsync(d->fd) < 0 && errno != EINVAL
               ? error_set_errno(e, ATOLL_EIO, "cannot sync the directory of the log")
               : 0;
}

static int directory_list(void *context, void (*visit)(void *visitor, const char *name),
                          void *visitor, struct error *e)
{
    const struct directory *d = context;
    int fd = openat(d->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *names = fd < 0 ? NULL : fdopendir(fd);
    if (!names) {
        int rc = error_set_errno(e, 0, "cannot list the directory of the log");
        if (fd >= 0)
            close(fd);
        return rc;
    }
    for (const struct dirent *entry; (entry = readdir(names));)
        visit(visitor, entry->d_name);
    closedir(names);
    return 0;
}

/* The directory's own name is on the disk: with it a power cut would take a log that was signed
 * for.
 */
static int directory_sync_own(struct directory *d, const char *path, struct error *e)
{
    int parent = openat(d->fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = 0;
    if (parent < 0 || (fsync(parent) < 0 && errno != EINVAL))
        rc = error_set_errno(e, ATOLL_EIO, "cannot sync the directory that log %s is in", path);
    if (parent >= 0)
        close(parent);
    return rc;
}

static int directory_lock(struct directory *d, const char *path, struct error *e)
{
    d->lock_fd = openat(d->fd, LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (d->lock_fd < 0)
        return error_set_errno(e, 0, "cannot open the lock of log %s", path);
    if (flock(d->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    if (errno == EWOULDBLOCK)
        return error_set(e, ATOLL_EBUSY, "another process has the log %s: stop it first", path);
    return error_set_errno(e, 0, "cannot lock log %s", path);
}

int log_directory_open(const char *path, bool read_only, struct log_files *out, struct error *e)
{
    int rc = read_only ? 0 : directory_make(path, 0700, e);
    if (rc < 0)
        return rc;
    struct directory *d = malloc(sizeof *d);
    if (!d)
        return error_set(e, ATOLL_ENOMEM, "no memory to open log %s", path);
    *d = (struct directory){-1, -1, read_only};
    d->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (d->fd < 0)
        rc = error_set_errno(e, 0, "cannot open directory %s", path);
    else if (!read_only)
        rc = directory_lock(d, path, e);
    if (rc == 0 && !read_only)
        rc = directory_sync_own(d, path, e);
    *out = (struct log_files){.context = d,
                              .open = directory_open,
                              .close = directory_close,
                              .size = directory_size,
                              .allocate = directory_allocate,
                              .release = directory_release,
                              .read = directory_read,
                              .write = directory_write,
                              .sync = directory_sync_file,
                              .rename = directory_rename,
                              .remove = directory_remove,
                              .sync_names = directory_sync_names,
                              .list = directory_list};
    if (rc < 0)
        log_directory_close(out);
    return rc;
}

void log_directory_close(struct log_files *files)
{
    struct directory *d = files->context;
    if (!d)
        return;
    if (d->lock_fd >= 0)
        close(d->lock_fd);
    if (d->fd >= 0)
        close(d->fd);
    free(d);
    files->context = NULL;
}
