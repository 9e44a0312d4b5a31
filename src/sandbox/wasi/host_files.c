/*
 * Files of the host, by descriptor.
 *
 * Regular files may block the thread for as long as the disk takes. Everything else is asked first
 * and parks the call when it is not ready. An open file of our own is non-blocking, so asking is
 * the operation itself. A standard stream that could not be reopened is shared with other processes
 * and must stay as it is: then poll says whether to go on, and a write is cut to what a ready pipe
 * takes without waiting (PIPE_BUF).
 */
#define _GNU_SOURCE
#include "sandbox/wasi/transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sockios.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static bool is_socket(const struct descriptor *d)
{
    return d->filetype == WASI_FILETYPE_SOCKET_DGRAM || d->filetype == WASI_FILETYPE_SOCKET_STREAM;
}

static bool is_ready(int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};
    return poll(&p, 1, 0) > 0;
}

/* ---- reading ---- */

static ssize_t host_read(struct host_call *call, struct descriptor *d, struct vectors *v)
{
    int ignored;
    (void)call;
    if (is_socket(d)) {
        return transfer_receive(d->fd, v, 0, &ignored);
    }
    if (d->waits && !d->nonblocking && !is_ready(d->fd, POLLIN)) {
        return -EAGAIN;
    }
    ssize_t got;
    do {
        got = readv(d->fd, v->list, v->count);
    } while (got < 0 && errno == EINTR);
    return got >= 0 ? got : -errno;
}

static ssize_t host_read_at(struct host_call *call, struct descriptor *d, struct vectors *v,
                            uint64_t offset)
{
    ssize_t got;
    (void)call;
    do {
        got = preadv(d->fd, v->list, v->count, (off_t)offset);
    } while (got < 0 && errno == EINTR);
    return got >= 0 ? got : -errno;
}

/* ---- writing ---- */

static void vectors_clip(struct vectors *v, size_t most)
{
    int count = 0;
    v->total = 0;
    while (count < v->count && v->total < most) {
        if (v->list[count].iov_len > most - v->total) {
            v->list[count].iov_len = most - v->total;
        }
        v->total += v->list[count++].iov_len;
    }
    v->count = count;
}

/* Writing to a pipe that nobody reads raises SIGPIPE, which must not end this process: it is held
 * back and taken away again. */
static ssize_t pipe_write(int fd, const struct vectors *v)
{
    sigset_t pipe_signal, before;
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
    ssize_t written;
    do {
        written = writev(fd, v->list, v->count);
    } while (written < 0 && errno == EINTR);
    int error = errno;
    if (written < 0 && error == EPIPE && !sigismember(&before, SIGPIPE)) {
        sigtimedwait(&pipe_signal, NULL, &(struct timespec){0});
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return written >= 0 ? written : -error;
}

static ssize_t stream_write(struct host_call *call, const struct descriptor *d, struct vectors *v)
{
    if (is_socket(d)) {
        return transfer_send(call, d, v);
    }
    if (!d->nonblocking) {
        if (!is_ready(d->fd, POLLOUT)) {
            return -EAGAIN;
        }
        vectors_clip(v, PIPE_BUF);
    }
    return pipe_write(d->fd, v);
}

/* offset -1 is the file's own position, which then moves on. */
static ssize_t file_write(const struct descriptor *d, const struct vectors *v, off_t offset)
{
    int flags = 0;
    if (d->filetype == WASI_FILETYPE_REGULAR_FILE) {
        flags |= (d->flags & WASI_FDFLAG_APPEND) && offset == -1 ? RWF_APPEND : 0;
        flags |= d->flags & WASI_FDFLAG_DSYNC ? RWF_DSYNC : 0;
        flags |= d->flags & (WASI_FDFLAG_SYNC | WASI_FDFLAG_RSYNC) ? RWF_SYNC : 0;
    }
    ssize_t written;
    do {
        written = pwritev2(d->fd, v->list, v->count, offset, flags);
    } while (written < 0 && errno == EINTR);
    return written >= 0 ? written : -errno;
}

static ssize_t host_write(struct host_call *call, struct descriptor *d, struct vectors *v)
{
    return d->waits ? stream_write(call, d, v) : file_write(d, v, -1);
}

static ssize_t host_write_at(struct host_call *call, struct descriptor *d, struct vectors *v,
                             uint64_t offset)
{
    (void)call;
    return file_write(d, v, (off_t)offset);
}

/* Exact where the kernel says it, else 1, "at least something". */
static uint64_t host_ready(const struct wasi *w, const struct descriptor *d, bool reads)
{
    int fd = d->fd, queued = 0, capacity = 0;
    (void)w;
    if (reads) {
        return ioctl(fd, FIONREAD, &queued) == 0 && queued >= 0 ? (uint64_t)queued : 1;
    }
    if (d->filetype == WASI_FILETYPE_SOCKET_STREAM) {
        bool known =
            ioctl(fd, SIOCOUTQ, &queued) == 0 &&
            getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &capacity, &(socklen_t){sizeof capacity}) == 0;
        return known && capacity > queued ? (uint64_t)(capacity - queued) : 1;
    }
    capacity = fcntl(fd, F_GETPIPE_SZ);
    bool known = capacity > 0 && ioctl(fd, FIONREAD, &queued) == 0 && capacity > queued;
    return known ? (uint64_t)(capacity - queued) : 1;
}

/* ---- position, space, durability ---- */

static int64_t host_seek(struct wasi *w, struct descriptor *d, int64_t offset, int whence)
{
    (void)w;
    off_t position = lseek(d->fd, offset, whence);
    return position >= 0 ? position : -errno;
}

static int host_advise(struct wasi *w, struct descriptor *d, uint64_t offset, uint64_t len,
                       int advice)
{
    static const int advices[] = {[WASI_ADVICE_NORMAL] = POSIX_FADV_NORMAL,
                                  [WASI_ADVICE_SEQUENTIAL] = POSIX_FADV_SEQUENTIAL,
                                  [WASI_ADVICE_RANDOM] = POSIX_FADV_RANDOM,
                                  [WASI_ADVICE_WILLNEED] = POSIX_FADV_WILLNEED,
                                  [WASI_ADVICE_DONTNEED] = POSIX_FADV_DONTNEED,
                                  [WASI_ADVICE_NOREUSE] = POSIX_FADV_NOREUSE};
    (void)w;
    return -posix_fadvise(d->fd, (off_t)offset, (off_t)len, advices[advice]);
}

static int host_allocate(struct wasi *w, struct descriptor *d, uint64_t offset, uint64_t len)
{
    int result;
    (void)w;
    do {
        result = fallocate(d->fd, 0, (off_t)offset, (off_t)len);
    } while (result != 0 && errno == EINTR);
    return result == 0 ? 0 : -errno;
}

static int host_resize(struct wasi *w, struct descriptor *d, uint64_t size)
{
    (void)w;
    return ftruncate(d->fd, (off_t)size) == 0 ? 0 : -errno;
}

static int host_sync(struct descriptor *d, bool data_only)
{
    return (data_only ? fdatasync(d->fd) : fsync(d->fd)) == 0 ? 0 : -errno;
}

/* ---- what it is ---- */

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

void filestat_of(int fd, const struct stat *status, struct filestat *out)
{
    *out = (struct filestat){
        .device = status->st_dev,
        .inode = status->st_ino,
        .links = status->st_nlink,
        .size = (uint64_t)status->st_size,
        .accessed_ns = timestamp_from(status->st_atim),
        .modified_ns = timestamp_from(status->st_mtim),
        .changed_ns = timestamp_from(status->st_ctim),
        .filetype = filetype_of(fd, status),
    };
}

static int host_look(struct wasi *w, const struct descriptor *d, struct filestat *out)
{
    struct stat status;
    (void)w;
    if (fstat(d->fd, &status) != 0) {
        return -errno;
    }
    filestat_of(d->fd, &status, out);
    return 0;
}

static int host_set_times(struct wasi *w, struct descriptor *d, const struct timespec times[2])
{
    (void)w;
    return futimens(d->fd, times) == 0 ? 0 : -errno;
}

static void host_close(struct wasi *w, struct descriptor *d)
{
    (void)w;
    close(d->fd);
}

const struct back_end back_end_host = {
    .read = host_read,
    .write = host_write,
    .read_at = host_read_at,
    .write_at = host_write_at,
    .ready = host_ready,
    .seek = host_seek,
    .advise = host_advise,
    .allocate = host_allocate,
    .resize = host_resize,
    .sync = host_sync,
    .look = host_look,
    .set_times = host_set_times,
    .close = host_close,
    .list = host_list,
    .open = host_open,
    .path_look = host_path_look,
    .path_set_times = host_path_set_times,
    .make_directory = host_make_directory,
    .remove = host_remove,
    .rename = host_rename,
    .link = host_link,
    .symlink = host_symlink,
    .read_link = host_read_link,
    .save = host_save,
    .reopen = host_reopen,
};
