/*
 * Moving bytes: fd_read, fd_write, fd_pread, fd_pwrite, and what sockets share with them.
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
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

static bool is_socket(const struct descriptor *d)
{
    return d->filetype == WASI_FILETYPE_SOCKET_DGRAM || d->filetype == WASI_FILETYPE_SOCKET_STREAM;
}

enum host_status transfer_wait(struct host_call *call, const struct descriptor *d, short events)
{
    return d->flags & WASI_FDFLAG_NONBLOCK ? call_done(call, WASI_EAGAIN)
                                           : call_park(call, d->fd, events);
}

enum host_status transfer_end(struct host_call *call, const struct descriptor *d, short events,
                              ssize_t result, uint32_t count_address)
{
    if (result == -EAGAIN) {
        return transfer_wait(call, d, events);
    }
    if (result < 0) {
        return call_done(call, wasi_result(result));
    }
    return call_done(call, call_store_u32(call, count_address, (uint32_t)result));
}

static bool ready(int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};
    return poll(&p, 1, 0) > 0;
}

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

ssize_t transfer_receive(int fd, struct vectors *v, int flags, int *flags_out)
{
    struct msghdr message = {.msg_iov = v->list, .msg_iovlen = (size_t)v->count};
    ssize_t got;
    do {
        got = recvmsg(fd, &message, flags | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (got < 0 && errno == EINTR);
    *flags_out = message.msg_flags;
    return got >= 0 ? got : -errno;
}

ssize_t transfer_send(int fd, struct vectors *v)
{
    struct msghdr message = {.msg_iov = v->list, .msg_iovlen = (size_t)v->count};
    ssize_t sent;
    do {
        sent = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent >= 0 ? sent : -errno;
}

static ssize_t stream_read(const struct descriptor *d, struct vectors *v)
{
    int ignored;
    if (is_socket(d)) {
        return transfer_receive(d->fd, v, 0, &ignored);
    }
    if (d->waits && !d->nonblocking && !ready(d->fd, POLLIN)) {
        return -EAGAIN;
    }
    ssize_t got;
    do {
        got = readv(d->fd, v->list, v->count);
    } while (got < 0 && errno == EINTR);
    return got >= 0 ? got : -errno;
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

static ssize_t stream_write(const struct descriptor *d, struct vectors *v)
{
    if (is_socket(d)) {
        return transfer_send(d->fd, v);
    }
    if (!d->nonblocking) {
        if (!ready(d->fd, POLLOUT)) {
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

/* The descriptor, the vectors and the place for the count, all checked. */
static uint16_t transfer_begin(struct host_call *call, uint64_t rights, enum guest_right right,
                               uint32_t count_address, struct descriptor **d, struct vectors *v)
{
    uint16_t error = descriptor_get(call_world(call), call->slots[0].u32, 0, d);
    if (error == WASI_SUCCESS && (*d)->filetype == WASI_FILETYPE_DIRECTORY) {
        return WASI_EISDIR;
    }
    if (error == WASI_SUCCESS) {
        error = descriptor_get(call_world(call), call->slots[0].u32, rights, d);
    }
    if (error == WASI_SUCCESS) {
        error = call_vectors(call, call->slots[1].u32, call->slots[2].u32, right, v);
    }
    return error != WASI_SUCCESS ? error : call_room(call, count_address, 4);
}

enum host_status preview1_fd_read(struct host_call *call)
{
    struct descriptor *d;
    struct vectors v;
    uint32_t count_address = call->slots[3].u32;
    uint16_t error = transfer_begin(call, WASI_RIGHT_FD_READ, GUEST_WRITE, count_address, &d, &v);
    if (error != WASI_SUCCESS) {
        return call_done(call, error);
    }
    ssize_t got = v.total == 0 ? 0 : stream_read(d, &v);
    return transfer_end(call, d, POLLIN, got, count_address);
}

enum host_status preview1_fd_write(struct host_call *call)
{
    struct descriptor *d;
    struct vectors v;
    uint32_t count_address = call->slots[3].u32;
    uint16_t error = transfer_begin(call, WASI_RIGHT_FD_WRITE, GUEST_READ, count_address, &d, &v);
    if (error != WASI_SUCCESS) {
        return call_done(call, error);
    }
    ssize_t written = 0;
    if (v.total != 0) {
        written = d->waits ? stream_write(d, &v) : file_write(d, &v, -1);
    }
    return transfer_end(call, d, POLLOUT, written, count_address);
}

/* The checks of the two that name an offset. */
static uint16_t positioned_begin(struct host_call *call, uint64_t rights, enum guest_right right,
                                 uint32_t count_address, struct descriptor **d, struct vectors *v)
{
    uint16_t error = descriptor_get(call_world(call), call->slots[0].u32, 0, d);
    if (error == WASI_SUCCESS && !(*d)->seekable && (*d)->filetype != WASI_FILETYPE_DIRECTORY) {
        return WASI_ESPIPE;
    }
    if (error == WASI_SUCCESS) {
        error = transfer_begin(call, rights, right, count_address, d, v);
    }
    return error == WASI_SUCCESS && call->slots[3].u64 > INT64_MAX ? WASI_EINVAL : error;
}

enum host_status preview1_fd_pread(struct host_call *call)
{
    struct descriptor *d;
    struct vectors v;
    uint32_t count_address = call->slots[4].u32;
    uint16_t error = positioned_begin(call, WASI_RIGHT_FD_READ | WASI_RIGHT_FD_SEEK, GUEST_WRITE,
                                      count_address, &d, &v);
    if (error != WASI_SUCCESS) {
        return call_done(call, error);
    }
    ssize_t got;
    do {
        got = preadv(d->fd, v.list, v.count, (off_t)call->slots[3].u64);
    } while (got < 0 && errno == EINTR);
    return transfer_end(call, d, POLLIN, got >= 0 ? got : -errno, count_address);
}

enum host_status preview1_fd_pwrite(struct host_call *call)
{
    struct descriptor *d;
    struct vectors v;
    uint32_t count_address = call->slots[4].u32;
    uint16_t error = positioned_begin(call, WASI_RIGHT_FD_WRITE | WASI_RIGHT_FD_SEEK, GUEST_READ,
                                      count_address, &d, &v);
    if (error != WASI_SUCCESS) {
        return call_done(call, error);
    }
    ssize_t written = file_write(d, &v, (off_t)call->slots[3].u64);
    return transfer_end(call, d, POLLOUT, written, count_address);
}
