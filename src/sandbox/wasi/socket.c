/* Sockets: accepting, receiving, sending, shutting down. They were passed in; none can be made. */
#define _GNU_SOURCE
#include "base/clock.h"
#include "sandbox/wasi/transfer.h"

#include <errno.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* How often a receive that wants all its bytes looks again; the kernel has no event for it. */
#define WAITALL_STEP_NS 2000000

static uint16_t socket_get(struct host_call *call, uint64_t rights, struct descriptor **d)
{
    uint16_t error = descriptor_get(call_world(call), call->slots[0].u32, 0, d);
    if (error == WASI_SUCCESS && (*d)->filetype != WASI_FILETYPE_SOCKET_STREAM &&
        (*d)->filetype != WASI_FILETYPE_SOCKET_DGRAM) {
        return WASI_ENOTSOCK;
    }
    return error != WASI_SUCCESS ? error
                                 : descriptor_get(call_world(call), call->slots[0].u32, rights, d);
}

/* Everything that could fail is checked before a connection is taken off the queue. */
enum host_status preview1_sock_accept(struct host_call *call)
{
    struct wasi *w = call_world(call);
    struct descriptor *listener;
    uint32_t flags = call->slots[1].u32, result_address = call->slots[2].u32;
    uint16_t error = socket_get(call, WASI_RIGHT_SOCK_ACCEPT, &listener);
    if (error == WASI_SUCCESS && (flags & ~(uint32_t)WASI_FDFLAG_NONBLOCK) != 0) {
        error = WASI_EINVAL;
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
    listener = &w->descriptors[call->slots[0].u32];
    int fd;
    do {
        fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) {
        return transfer_end(call, listener, POLLIN, -errno, result_address);
    }
    struct descriptor made = {.kind = DESCRIPTOR_SOCKET, .flags = (uint16_t)flags};
    descriptor_describe(&made, fd);
    made.base = descriptor_rights(&made) & listener->inheriting & ~WASI_RIGHT_SOCK_ACCEPT;
    uint32_t number;
    error = descriptor_add(w, &made, 0, &number);
    return call_done(call,
                     error != WASI_SUCCESS ? error : call_store_u32(call, result_address, number));
}

/* Whether a receive of this many bytes has to wait for more: it has not, when the sender is done or
 * when the socket could never hold so much at once. */
static bool receive_incomplete(int fd, uint64_t wanted)
{
    int available = 0, capacity = 0;
    struct pollfd p = {.fd = fd, .events = POLLRDHUP};
    if (ioctl(fd, FIONREAD, &available) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &capacity, &(socklen_t){sizeof capacity}) != 0) {
        return false;
    }
    return (uint64_t)available < wanted && available < capacity / 2 && poll(&p, 1, 0) == 0;
}

/* In: fd, vectors, count, riflags; out: count, roflags u16. */
enum host_status preview1_sock_recv(struct host_call *call)
{
    struct descriptor *d;
    struct vectors v;
    uint32_t flags = call->slots[3].u32;
    uint32_t count_address = call->slots[4].u32, flags_address = call->slots[5].u32;
    uint16_t error = socket_get(call, WASI_RIGHT_FD_READ, &d);
    if (error == WASI_SUCCESS &&
        (flags & ~(uint32_t)(WASI_RIFLAG_PEEK | WASI_RIFLAG_WAITALL)) != 0) {
        error = WASI_EINVAL;
    }
    if (error == WASI_SUCCESS) {
        error = call_vectors(call, call->slots[1].u32, call->slots[2].u32, GUEST_WRITE, &v);
    }
    if (error == WASI_SUCCESS) {
        error = call_room(call, count_address, 4);
    }
    if (error == WASI_SUCCESS) {
        error = call_room(call, flags_address, 2);
    }
    if (error != WASI_SUCCESS) {
        return call_done(call, error);
    }
    if ((flags & WASI_RIFLAG_WAITALL) && !(d->flags & WASI_FDFLAG_NONBLOCK) &&
        d->filetype == WASI_FILETYPE_SOCKET_STREAM && receive_incomplete(d->fd, v.total)) {
        call->park->fd_count = 0;
        call->park->deadline_ns = clock_monotonic_ns() + WAITALL_STEP_NS;
        return HOST_PARK;
    }
    int received = 0;
    ssize_t got = transfer_receive(d->fd, &v, flags & WASI_RIFLAG_PEEK ? MSG_PEEK : 0, &received);
    uint16_t roflags = received & MSG_TRUNC ? WASI_ROFLAG_DATA_TRUNCATED : 0;
    if (got >= 0 && guest_write(call->arena, flags_address, &roflags, sizeof roflags) != 0) {
        return call_done(call, WASI_EFAULT);
    }
    return transfer_end(call, d, POLLIN, got, count_address);
}

enum host_status preview1_sock_send(struct host_call *call)
{
    struct descriptor *d;
    struct vectors v;
    uint32_t count_address = call->slots[4].u32;
    uint16_t error = socket_get(call, WASI_RIGHT_FD_WRITE, &d);
    if (error == WASI_SUCCESS && call->slots[3].u32 != 0) {
        error = WASI_EINVAL; /* preview 1 has no flags for sending */
    }
    if (error == WASI_SUCCESS) {
        error = call_vectors(call, call->slots[1].u32, call->slots[2].u32, GUEST_READ, &v);
    }
    if (error == WASI_SUCCESS) {
        error = call_room(call, count_address, 4);
    }
    if (error != WASI_SUCCESS) {
        return call_done(call, error);
    }
    return transfer_end(call, d, POLLOUT, transfer_send(call, d, &v), count_address);
}

enum host_status preview1_sock_shutdown(struct host_call *call)
{
    struct descriptor *d;
    static const int how[] = {-1, SHUT_RD, SHUT_WR, SHUT_RDWR};
    uint32_t channels = call->slots[1].u32;
    uint16_t error = socket_get(call, WASI_RIGHT_SOCK_SHUTDOWN, &d);
    if (error == WASI_SUCCESS &&
        (channels == 0 || (channels & ~(uint32_t)(WASI_SDFLAG_RD | WASI_SDFLAG_WR)) != 0)) {
        error = WASI_EINVAL;
    }
    if (error == WASI_SUCCESS && shutdown(d->fd, how[channels]) != 0) {
        error = wasi_errno(errno);
    }
    return call_done(call, error);
}
