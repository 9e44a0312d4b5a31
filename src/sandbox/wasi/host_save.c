/*
 * Checkpoints: files of the host.
 *
 * A file's path is what the kernel calls the open file now, so renames since do not matter. It is
 * tried out at once, by the guest's own means: if it does not lead back to the same file, then the
 * checkpoint could not be restored and is refused. When it is opened again, it is taken for the
 * one saved when it is the same inode, born at the same time; or, on another machine or from a
 * copy, when type, size and modification time agree (as copying tools preserve them). Of
 * directories only the type is compared: what a guest has begun to read of one is in the
 * checkpoint.
 */
#define _GNU_SOURCE
#include "sandbox/wasi/save.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static uint64_t statx_ns(const struct statx_timestamp *t)
{
    return (uint64_t)t->tv_sec * 1000000000u + t->tv_nsec;
}

static bool identity_of(int fd, struct identity *identity)
{
    struct statx found;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, &found) != 0) {
        return false;
    }
    identity->device = (uint64_t)found.stx_dev_major << 32 | found.stx_dev_minor;
    identity->inode = found.stx_ino;
    identity->born_ns = found.stx_mask & STATX_BTIME ? statx_ns(&found.stx_btime) : 0;
    identity->size = found.stx_size;
    identity->modified_ns = statx_ns(&found.stx_mtime);
    return true;
}

/* The host's name of an open file. */
int host_path_of(int fd, char path[WASI_MAX_PATH], struct error *e)
{
    char proc[40];
    snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(proc, path, WASI_MAX_PATH);
    if (len < 0) {
        return error_set_errno(e, ATOLL_EUNAVAIL,
                               "cannot find the paths of open files; checkpoints need /proc");
    }
    if (len == WASI_MAX_PATH) {
        return error_set(e, ATOLL_ESIZE, "the path of an open file is longer than %u bytes",
                         WASI_MAX_PATH - 1);
    }
    path[len] = '\0';
    return 0;
}

/* What a host path is beneath a directory: "." for itself, NULL when it lies elsewhere. */
static const char *path_beneath(const char *path, const char *directory)
{
    size_t len = strlen(directory);
    if (len == 1) {
        return path[1] != '\0' ? path + 1 : "."; /* the directory is "/" */
    }
    if (strncmp(path, directory, len) != 0 || (path[len] != '\0' && path[len] != '/')) {
        return NULL;
    }
    return path[len] == '/' ? path + len + 1 : ".";
}

static bool leads_to(const struct wasi *w, int directory, const char *path,
                     const struct identity *file)
{
    struct identity found;
    int fd = path_open_beneath(w, directory, path, O_PATH | O_NOFOLLOW, 0);
    bool same = fd >= 0 && identity_of(fd, &found) && found.device == file->device &&
                found.inode == file->inode;
    if (fd >= 0) {
        close(fd);
    }
    return same;
}

int host_save(const struct wasi *w, uint32_t number, const struct descriptor *d, struct saved *s,
              struct error *e)
{
    char path[WASI_MAX_PATH], directory[WASI_MAX_PATH];
    int result = host_path_of(d->fd, path, e);
    if (result == 0) {
        result = host_path_of(w->preopens[d->source].fd, directory, e);
    }
    if (result != 0) {
        return result;
    }
    if (!identity_of(d->fd, &s->file)) {
        return error_set_errno(e, ATOLL_EIO, "cannot look at descriptor %u (%s)", number, path);
    }
    if (d->filetype == WASI_FILETYPE_UNKNOWN) {
        return saved_refuse(number, "a named pipe", path, e);
    }
    const char *beneath = path_beneath(path, directory);
    if (beneath == NULL || !leads_to(w, w->preopens[d->source].fd, beneath, &s->file)) {
        return saved_refuse(number, "a file that was removed or moved out of its directory", path,
                            e);
    }
    strcpy(s->path, beneath); /* part of a path that fits */
    s->access = (uint32_t)(fcntl(d->fd, F_GETFL) & O_ACCMODE);
    s->position = d->seekable ? (uint64_t)lseek(d->fd, 0, SEEK_CUR) : 0;
    return 0;
}

/* ---- opening again ---- */

static int gone(const struct saved *s, const struct preopen *p, const char *why, struct error *e)
{
    return error_set(e, ATOLL_ESTALE, "descriptor %u was the file %s in %s, which %s", s->number,
                     s->path, p->guest_name, why);
}

static bool is_saved_file(const struct identity *saved, int fd)
{
    struct identity now;
    if (!identity_of(fd, &now)) {
        return false;
    }
    bool same =
        now.device == saved->device && now.inode == saved->inode && now.born_ns == saved->born_ns;
    return same || (now.size == saved->size && now.modified_ns == saved->modified_ns);
}

static int file_reopen(struct wasi *w, const struct saved *s, struct descriptor *made,
                       struct error *e)
{
    const struct preopen *p = &w->preopens[s->source];
    if (p->read_only && s->access != O_RDONLY) {
        return gone(s, p, "was open for writing, but the directory is read-only now", e);
    }
    int fd = path_open_beneath(w, p->fd, s->path,
                               (int)s->access | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);
    if (fd < 0) {
        errno = -fd;
        return error_set_errno(e, ATOLL_ESTALE,
                               "descriptor %u was the file %s in %s, which cannot "
                               "be opened again",
                               s->number, s->path, p->guest_name);
    }
    if (descriptor_describe(made, fd) != 0 || made->filetype != s->filetype ||
        (made->filetype == WASI_FILETYPE_REGULAR_FILE && !is_saved_file(&s->file, fd))) {
        close(fd);
        return gone(s, p, "has been replaced or changed since", e);
    }
    if (made->seekable && lseek(fd, (off_t)s->position, SEEK_SET) < 0) {
        close(fd);
        return gone(s, p, "does not have the saved position any more", e);
    }
    made->read_only = p->read_only;
    return 0;
}

static int preopen_reopen(struct wasi *w, const struct saved *s, struct descriptor *made,
                          struct error *e)
{
    const struct preopen *p = &w->preopens[s->source];
    int fd = fcntl(p->fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0 || descriptor_describe(made, fd) != 0) {
        return error_set_errno(e, ATOLL_EIO, "cannot duplicate the descriptor of directory %s",
                               p->guest_name);
    }
    made->read_only = p->read_only;
    return 0;
}

int host_reopen(struct wasi *w, const struct saved *s, struct descriptor *made, struct error *e)
{
    return s->kind == DESCRIPTOR_PREOPEN ? preopen_reopen(w, s, made, e)
                                         : file_reopen(w, s, made, e);
}
