/*
 * Sockets: those of the operating system, behind the allow-list of the function.
 *
 * A host is named in the list by an address or a name; an address that resolve gave for a name of
 * the list may be connected to at that name's port. Rates are not imitated.
 */
#define _GNU_SOURCE
#include "node.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SOCKET_BUFFER_MAX (4 << 20)
#define HOST_NAME_MAX_    253u

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static socklen_t address_make(union address *address, const void *bytes, uint32_t len,
                              uint32_t port)
{
    *address = (union address){0};
    if (len == 4) {
        address->v4.sin_family = AF_INET;
        address->v4.sin_port = htons((uint16_t)port);
        memcpy(&address->v4.sin_addr, bytes, 4);
        return sizeof address->v4;
    }
    address->v6.sin6_family = AF_INET6;
    address->v6.sin6_port = htons((uint16_t)port);
    memcpy(&address->v6.sin6_addr, bytes, 16);
    return sizeof address->v6;
}

/* The address's bytes, in 17 as atoll_resolve writes them. */
static void address_write(const struct sockaddr *address, uint8_t out[ATOLL_RESOLVED_BYTES])
{
    const union address *any = (const void *)address;
    memset(out, 0, ATOLL_RESOLVED_BYTES);
    out[0] = address->sa_family == AF_INET ? ATOLL_SOCK_V4 : ATOLL_SOCK_V6;
    if (out[0] == ATOLL_SOCK_V4)
        memcpy(out + 1, &any->v4.sin_addr, 4);
    else
        memcpy(out + 1, &any->v6.sin6_addr, 16);
}

static bool host_has(const char *host, const void *bytes, uint32_t len)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    uint8_t shown[ATOLL_RESOLVED_BYTES];
    bool has = false;
    if (getaddrinfo(host, NULL, &hints, &found) != 0)
        return false;
    for (struct addrinfo *at = found; at && !has; at = at->ai_next) {
        address_write(at->ai_addr, shown);
        has = shown[0] == (len == 4 ? ATOLL_SOCK_V4 : ATOLL_SOCK_V6) &&
              memcmp(shown + 1, bytes, len) == 0;
    }
    freeaddrinfo(found);
    return has;
}

static bool connect_permitted(const struct native_call *call, const void *bytes, uint32_t len,
                              uint32_t port)
{
    const struct manifest_lines *net = &call->function->net;
    for (uint32_t i = 0; i < net->count; i++) {
        if (net->items[i].port == port && host_has(net->items[i].first, bytes, len))
            return true;
    }
    return false;
}

int32_t atoll_sock_open(uint32_t family, uint32_t type, int32_t *fd)
{
    struct native_call *call = call_enter();
    if (!call)
        return -ATOLL_EPERM;
    if ((family != ATOLL_SOCK_V4 && family != ATOLL_SOCK_V6) ||
        (type != ATOLL_SOCK_STREAM && type != ATOLL_SOCK_DATAGRAM))
        return (int32_t)call_leave(call, -ATOLL_EINVAL);
    int made = socket(family == ATOLL_SOCK_V4 ? AF_INET : AF_INET6,
                      (type == ATOLL_SOCK_STREAM ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0);
    if (made >= 0)
        *fd = made;
    return (int32_t)call_leave(call, made < 0 ? -ATOLL_ELIMIT : 0);
}

static int socket_check(int32_t fd)
{
    int type;
    socklen_t len = sizeof type;
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 ? 0 : -ATOLL_EBADF;
}

/* The thread itself waits: no turn is given to others meanwhile. */
static int socket_connect(int fd, const union address *address, socklen_t len, uint64_t timeout_ns)
{
    int flags = fcntl(fd, F_GETFL), failure = 0;
    socklen_t failure_len = sizeof failure;
    uint64_t timeout_ms = timeout_ns / 1000000;
    fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    int status = connect(fd, &address->any, len);
    if (status < 0 && errno == EINPROGRESS) {
        struct pollfd waiting = {.fd = fd, .events = POLLOUT};
        status = poll(&waiting, 1, timeout_ms > INT32_MAX ? INT32_MAX : (int)timeout_ms);
        if (status == 1)
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &failure_len);
        status = status == 0 ? -ATOLL_ETIMEDOUT : status < 0 || failure ? -ATOLL_EIO : 0;
    } else if (status < 0) {
        status = errno == EISCONN ? -ATOLL_EBUSY : -ATOLL_EIO;
    }
    fcntl(fd, F_SETFL, flags);
    return status;
}

int32_t atoll_sock_connect(int32_t fd, atoll_in addr, uint32_t alen, uint32_t port,
                           uint64_t timeout_ns)
{
    struct native_call *call = call_enter();
    union address address;
    uint64_t now = native_clock_ns();
    if (!call)
        return -ATOLL_EPERM;
    int error =
        (alen != 4 && alen != 16) || port == 0 || port > 65535 ? -ATOLL_EINVAL : socket_check(fd);
    if (!error && !connect_permitted(call, addr, alen, port))
        error = -ATOLL_EPERM;
    if (!error) {
        uint64_t rest = call->deadline_ns > now ? call->deadline_ns - now : 0;
        socklen_t len = address_make(&address, addr, alen, port);
        error = socket_connect(fd, &address, len, timeout_ns < rest ? timeout_ns : rest);
    }
    return (int32_t)call_leave(call, error);
}

int32_t atoll_sock_bind(int32_t fd, atoll_in addr, uint32_t alen, uint32_t port)
{
    struct native_call *call = call_enter();
    if (!call)
        return -ATOLL_EPERM;
    bool bad = (alen != 4 && alen != 16) || port > 65535 || !addr;
    int error = bad ? -ATOLL_EINVAL : socket_check(fd);
    return (int32_t)call_leave(call, error ? error : -ATOLL_EPERM);
}

int32_t atoll_sock_listen(int32_t fd, uint32_t backlog)
{
    struct native_call *call = call_enter();
    (void)backlog;
    if (!call)
        return -ATOLL_EPERM;
    int error = socket_check(fd);
    return (int32_t)call_leave(call, error ? error : -ATOLL_EPERM);
}

int32_t atoll_sock_opt(int32_t fd, uint32_t opt, int64_t value)
{
    static const struct {
        int level, name;
        int64_t max;
    } options[] = {
        [ATOLL_SOCK_NODELAY] = {IPPROTO_TCP, TCP_NODELAY, 1},
        [ATOLL_SOCK_KEEPALIVE] = {SOL_SOCKET, SO_KEEPALIVE, 1},
        [ATOLL_SOCK_SEND_BUFFER] = {SOL_SOCKET, SO_SNDBUF, SOCKET_BUFFER_MAX},
        [ATOLL_SOCK_RECEIVE_BUFFER] = {SOL_SOCKET, SO_RCVBUF, SOCKET_BUFFER_MAX},
    };
    struct native_call *call = call_enter();
    if (!call)
        return -ATOLL_EPERM;
    int error = socket_check(fd);
    if (!error && (opt < ATOLL_SOCK_NODELAY || opt > ATOLL_SOCK_RECEIVE_BUFFER))
        error = -ATOLL_ENOSYS;
    if (!error && (value < 0 || value > options[opt].max))
        error = -ATOLL_EINVAL;
    if (!error) {
        int number = (int)value;
        if (setsockopt(fd, options[opt].level, options[opt].name, &number, sizeof number) < 0)
            error = -ATOLL_EIO;
    }
    return (int32_t)call_leave(call, error);
}

static bool name_permitted(const struct native_call *call, const char *name)
{
    for (uint32_t i = 0; i < call->function->net.count; i++) {
        if (strcmp(call->function->net.items[i].first, name) == 0)
            return true;
    }
    return false;
}

int64_t atoll_resolve(atoll_in host, uint32_t len, atoll_out addrs, uint64_t cap)
{
    struct native_call *call = call_enter();
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    char name[HOST_NAME_MAX_ + 1];
    int64_t count = 0;
    if (!call)
        return -ATOLL_EPERM;
    if (len < 1 || len > HOST_NAME_MAX_ || memchr(host, 0, len))
        return call_leave(call, -ATOLL_EINVAL);
    snprintf(name, sizeof name, "%.*s", (int)len, (const char *)host);
    if (!name_permitted(call, name))
        return call_leave(call, -ATOLL_EPERM);
    if (getaddrinfo(name, NULL, &hints, &found) != 0)
        return call_leave(call, -ATOLL_ENOENT);
    for (struct addrinfo *at = found; at; at = at->ai_next, count++) {
        if (((uint64_t)count + 1) * ATOLL_RESOLVED_BYTES <= cap)
            address_write(at->ai_addr, (uint8_t *)addrs + count * ATOLL_RESOLVED_BYTES);
    }
    freeaddrinfo(found);
    return call_leave(call, count);
}
