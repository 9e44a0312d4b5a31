/*
 * Files. Reading refuses what is not a regular file of an agreed size; replacing is atomic: readers
 * and crashes see the old bytes or the new ones, because rename is atomic and the new file's bytes
 * are on disk before its name is.
 */
#define _GNU_SOURCE
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008u
#endif
#ifndef MFD_EXEC
#define MFD_EXEC 0x0010u
#endif

#define READ_STEP (64u << 10)

int file_read_fd(int fd, const char *name, size_t max_len, struct buffer *out, struct error *e)
{
    size_t total = 0;
    struct stat status;
    if (fstat(fd, &status) == 0 && status.st_size > 0 && (uint64_t)status.st_size <= max_len)
        (void)buffer_reserve(out, (size_t)status.st_size + 1);
    for (;;) {
        if (!buffer_reserve(out, READ_STEP))
            return error_set(e, ATOLL_ENOMEM, "cannot read %s: out of memory", name);
        ssize_t got = read(fd, out->data + out->len, out->capacity - out->len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(e, 0, "cannot read %s", name);
        if (got == 0)
            return 0;
        out->len += (size_t)got;
        total += (size_t)got;
        if (total > max_len)
            return error_set(e, ATOLL_ESIZE, "%s is larger than the %zu bytes allowed here", name,
                             max_len);
    }
}

int file_open_regular(const char *path, size_t max_len, struct error *e)
{
    /* O_NONBLOCK: opening a named pipe must not wait for a writer; it is refused just below. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return error_set_errno(e, 0, "cannot open %s", path);
    struct stat status;
    int result;
    if (fstat(fd, &status) < 0)
        result = error_set_errno(e, 0, "cannot examine %s", path);
    else if (!S_ISREG(status.st_mode))
        result = error_set(e, ATOLL_ETYPE, "%s is not a regular file", path);
    else if ((uint64_t)status.st_size > max_len)
        result = error_set(e, ATOLL_ESIZE, "%s has %lld bytes, more than the %zu allowed here",
                           path, (long long)status.st_size, max_len);
    else
        return fd;
    close(fd);
    return result;
}

int file_read(const char *path, size_t max_len, struct buffer *out, struct error *e)
{
    int fd = file_open_regular(path, max_len, e);
    if (fd < 0)
        return fd;
    int result = file_read_fd(fd, path, max_len, out, e);
    close(fd);
    return result;
}

int file_write_all(int fd, const void *data, size_t len, struct error *e)
{
    const uint8_t *at = data;
    while (len > 0) {
        ssize_t written = write(fd, at, len);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return error_set_errno(e, 0, "cannot write %zu bytes", len);
        at += written;
        len -= (size_t)written;
    }
    return 0;
}

int file_write_at(int fd, const void *data, size_t len, uint64_t offset, struct error *e)
{
    for (size_t done = 0; done < len;) {
        ssize_t written =
            pwrite(fd, (const uint8_t *)data + done, len - done, (off_t)(offset + done));
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return error_set_errno(e, 0, "cannot write %zu bytes", len);
        done += (size_t)written;
    }
    return 0;
}

int file_read_at(int fd, void *to, size_t len, uint64_t offset, struct error *e)
{
    for (size_t done = 0; done < len;) {
        ssize_t got = pread(fd, (uint8_t *)to + done, len - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(e, 0, "cannot read %zu bytes", len);
        if (got == 0)
            return error_set(e, ATOLL_ESIZE, "the file ends %zu bytes too early", len - done);
        done += (size_t)got;
    }
    return 0;
}

/* The directory part of path, "." when it has none. */
static void directory_of(const char *path, char out[static PATH_MAX])
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        snprintf(out, PATH_MAX, ".");
    else if (slash == path)
        snprintf(out, PATH_MAX, "/");
    else
        snprintf(out, PATH_MAX, "%.*s", (int)(slash - path), path);
}

int file_name_sync(const char *path, struct error *e)
{
    char directory[PATH_MAX];
    directory_of(path, directory);
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(e, 0, "cannot open directory %s", directory);
    /* File systems without durable directories answer EINVAL: nothing more can be done there. */
    int result = fsync(fd) < 0 && errno != EINVAL
                     ? error_set_errno(e, 0, "cannot sync directory %s", directory)
                     : 0;
    close(fd);
    return result;
}

/* Renaming over a device, a pipe or a socket would take it away from everybody else. */
static int replaceable(const char *path, struct error *e)
{
    struct stat status;
    if (stat(path, &status) == 0 && !S_ISREG(status.st_mode))
        return error_set(e, ATOLL_ETYPE,
                         "cannot write %s: it is no regular file, and would be replaced by one",
                         path);
    return 0;
}

int file_replace(const char *path, const void *data, size_t len, mode_t mode, struct error *e)
{
    char temporary[PATH_MAX];
    int refused = replaceable(path, e);
    if (refused < 0)
        return refused;
    int used = snprintf(temporary, sizeof temporary, "%s.XXXXXX", path);
    if (used < 0 || (size_t)used >= sizeof temporary)
        return error_set(e, ATOLL_ESIZE, "cannot write %s: the path is too long", path);
    int fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(e, 0, "cannot create a file beside %s", path);
    int result = file_write_all(fd, data, len, e);
    if (result < 0)
        error_prefix(e, "cannot write %s", path);
    else if (fchmod(fd, mode) < 0)
        result = error_set_errno(e, 0, "cannot set the mode of %s", path);
    else if (fsync(fd) < 0)
        result = error_set_errno(e, 0, "cannot sync %s", path);
    if (close(fd) < 0 && result == 0)
        result = error_set_errno(e, 0, "cannot write %s", path);
    if (result == 0 && rename(temporary, path) < 0)
        result = error_set_errno(e, 0, "cannot replace %s", path);
    if (result < 0) {
        unlink(temporary);
        return result;
    }
    return file_name_sync(path, e);
}

int directory_make(const char *path, mode_t mode, struct error *e)
{
    char prefix[PATH_MAX];
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof prefix)
        return error_set(e, ATOLL_EINVAL, "\"%s\" cannot be the path of a directory", path);
    memcpy(prefix, path, len + 1);
    for (char *at = prefix + 1;; at++) {
        if (*at != '/' && *at != '\0')
            continue;
        bool last = *at == '\0';
        *at = '\0';
        if (mkdir(prefix, mode) < 0 && errno != EEXIST) {
            /* A parent may exist and yet refuse (read-only, EACCES): only a real gap is an error.
             */
            int number = errno;
            struct stat status;
            if (stat(prefix, &status) < 0) {
                errno = number;
                return error_set_errno(e, 0, "cannot create directory %s", prefix);
            }
        }
        if (last)
            break;
        *at = '/';
    }
    struct stat status;
    if (stat(path, &status) < 0)
        return error_set_errno(e, 0, "cannot create directory %s", path);
    if (!S_ISDIR(status.st_mode))
        return error_set(e, ATOLL_EEXIST, "%s exists and is not a directory", path);
    return 0;
}

static int memory_file_fill(int fd, const char *name, const uint8_t *data, size_t len, size_t size,
                            bool sealed, struct error *e)
{
    if (ftruncate(fd, (off_t)size) < 0)
        return error_set_errno(e, 0, "cannot size memory file %s to %zu bytes", name, size);
    int result = file_write_at(fd, data, len, 0, e);
    if (result < 0)
        return error_prefix(e, "cannot fill memory file %s", name);
    return sealed ? memory_file_seal(fd, e) : 0;
}

int memory_file_seal(int fd, struct error *e)
{
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
        return error_set_errno(e, 0, "cannot seal a memory file");
    return 0;
}

int memory_file(const char *name, const void *data, size_t len, size_t size, bool sealed,
                bool executable, struct error *e)
{
    if (len > size)
        return error_set(e, ATOLL_ESIZE, "memory file %s: %zu bytes do not fit in %zu", name, len,
                         size);
    unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    int fd = memfd_create(name, flags | (executable ? MFD_EXEC : MFD_NOEXEC_SEAL));
    /* Kernels before 6.3 refuse the newer flags: there every memory file may be executed. */
    if (fd < 0 && errno == EINVAL)
        fd = memfd_create(name, flags);
    if (fd < 0 && executable && errno == EACCES)
        return error_set_errno(e, ATOLL_EUNAVAIL,
                               "cannot create executable memory (set vm.memfd_noexec to 0 or 1)");
    if (fd < 0)
        return error_set_errno(e, 0, "cannot create memory file %s", name);
    int result = memory_file_fill(fd, name, data, len, size, sealed, e);
    if (result < 0) {
        close(fd);
        return result;
    }
    return fd;
}
