/*
 * Moving bytes: fd_read, fd_write, fd_pread, fd_pwrite, and what sockets share with them. Where a
 * back end would have to wait, the call parks until its descriptor is ready.
 */
#define _GNU_SOURCE
#include "sandbox/wasi/transfer.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#define DATAGRAM_MAX (1u << 20)  /* longer than any that the kernel sends by default */
#define STREAM_PIECE (64u << 10) /* of several vectors, at a time */

/* Parks until the descriptor is ready for events; EAGAIN when the guest asked not to wait. */
static enum host_status transfer_wait(struct host_call *call, const struct descriptor *d,
                                      short events)
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

static ssize_t bytes_send(int fd, const void *bytes, size_t len)
{
    ssize_t sent;
    do {
        sent = sendto(fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL, NULL, 0);
    } while (sent < 0 && errno == EINTR);
    return sent >= 0 ? sent : -errno;
}

/* Of several vectors a stream takes what it can, a datagram is one whole. */
ssize_t transfer_send(struct host_call *call, const struct descriptor *d, const struct vectors *v)
{
    bool datagram = d->filetype == WASI_FILETYPE_SOCKET_DGRAM;
    if (v->count <= 1) {
        return bytes_send(d->fd, v->count ? v->list[0].iov_base : "",
                          v->count ? v->list[0].iov_len : 0);
    }
    if (datagram && v->total > DATAGRAM_MAX) {
        return -EMSGSIZE;
    }
    size_t most = datagram || v->total < STREAM_PIECE ? v->total : STREAM_PIECE, len = 0;
    uint8_t *whole = malloc(most ? most : 1);
    if (whole == NULL) {
        return -ENOMEM;
    }
    for (int k = 0; k < v->count && len < most; k++) {
        size_t piece = v->list[k].iov_len < most - len ? v->list[k].iov_len : most - len;
        if (guest_read(call->arena, whole + len, v->addresses[k], piece) != 0) {
            free(whole);
            return -EFAULT; /* a region whose file was cut off */
        }
        len += piece;
    }
    ssize_t sent = bytes_send(d->fd, whole, len);
    free(whole);
    return sent;
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
    ssize_t got = v.total == 0 ? 0 : d->back_end->read(call, d, &v);
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
    ssize_t written = v.total == 0 ? 0 : d->back_end->write(call, d, &v);
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
    ssize_t got = d->back_end->read_at(call, d, &v, call->slots[3].u64);
    return transfer_end(call, d, POLLIN, got, count_address);
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
    ssize_t written = d->back_end->write_at(call, d, &v, call->slots[3].u64);
    return transfer_end(call, d, POLLOUT, written, count_address);
}
