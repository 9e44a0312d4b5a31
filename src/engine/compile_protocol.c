/* Packets with a descriptor, for both ends of the compile protocol. */
#define _GNU_SOURCE
#include "engine/compile_protocol.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* Room for the one descriptor a packet may carry. */
union control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
};

int compile_send(int socket, const void *message, size_t len, int fd, struct error *e)
{
    union control control = {0};
    struct iovec part = {(void *)(uintptr_t)message, len};
    struct msghdr packet = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd >= 0) {
        packet.msg_control = control.bytes;
        packet.msg_controllen = sizeof control.bytes;
        struct cmsghdr *c = CMSG_FIRSTHDR(&packet);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    ssize_t sent;
    do
        sent = sendmsg(socket, &packet, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent < 0)
        return error_set_errno(e, ATOLL_ELOST, "the other end of the compile socket is gone");
    return 0;
}

static size_t message_size(uint32_t kind)
{
    switch (kind) {
    case COMPILE_HELLO: return sizeof(struct compile_hello);
    case COMPILE_REQUEST: return sizeof(struct compile_request);
    case COMPILE_PROGRESS: return sizeof(struct compile_progress);
    case COMPILE_RESULT: return sizeof(struct compile_result);
    default: return 0;
    }
}

/* The first descriptor of a packet; any others are closed. */
static int descriptor_take(struct msghdr *packet)
{
    int taken = -1;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(packet); c; c = CMSG_NXTHDR(packet, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t at = 0; at + sizeof(int) <= c->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + at, sizeof fd);
            if (taken < 0)
                taken = fd;
            else
                close(fd);
        }
    }
    return taken;
}

int compile_receive(int socket, union compile_message *message, int *fd, struct error *e)
{
    union control control = {0};
    struct iovec part = {message, sizeof *message};
    struct msghdr packet = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = control.bytes,
                            .msg_controllen = sizeof control.bytes};
    ssize_t got;
    *fd = -1;
    do
        got = recvmsg(socket, &packet, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got < 0 && errno != ECONNRESET)
        return error_set_errno(e, 0, "cannot read the compile socket");
    if (got <= 0)
        return error_set(e, ATOLL_ELOST, "the other end of the compile socket is gone");
    *fd = descriptor_take(&packet);
    if ((size_t)got >= sizeof message->kind && (size_t)got == message_size(message->kind) &&
        !(packet.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
        return 0;
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    return error_set(e, ATOLL_EINVAL, "a message of the compile socket is malformed");
}

bool compile_file_sealed(int fd, uint64_t len)
{
    struct stat status;
    int wanted = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW;
    int seals = fcntl(fd, F_GET_SEALS);
    return seals >= 0 && (seals & wanted) == wanted && fstat(fd, &status) == 0 &&
           (uint64_t)status.st_size == len;
}
