/*
 * Links; link.h says what they are.
 *
 * Descriptors travel ahead: the packet is in the socket before the record is in the ring, so
 * whoever reads the record finds the packet. Packets are numbered, and a message names its packet's
 * number; any disagreement breaks the link. A sender makes sure of room in the ring before it sends
 * a packet, so no packet is ever without its message, unless the sender dies between the two.
 */
#define _GNU_SOURCE
#include "node/link.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define WAIT_FIRST_NS (20l * 1000)   /* for room; doubles … */
#define WAIT_MOST_NS  (1000l * 1000) /* … up to this */

/* ---- making ---- */

static void descriptors_close(int *fds, uint32_t count)
{
    for (uint32_t k = 0; k < count; k++) {
        if (fds[k] >= 0)
            close(fds[k]);
        fds[k] = -1;
    }
}

static int link_setup(struct link *l, bool supervisor, int down, int up, struct error *e)
{
    l->supervisor = supervisor;
    l->sent = l->received = 0;
    l->in = l->out = (struct ring){.wake_fd = -1};
    pthread_mutex_init(&l->send_lock, NULL);
    int rc = ring_open(down, MESSAGE_RING, supervisor, supervisor ? &l->out : &l->in, e);
    if (rc == 0)
        rc = ring_open(up, MESSAGE_RING, !supervisor, supervisor ? &l->in : &l->out, e);
    if (!supervisor)
        l->out.wake_fd = l->event;
    return rc;
}

int link_pair(struct link *l, int worker[static LINK_DESCRIPTORS], struct error *e)
{
    int sockets[2] = {-1, -1};
    for (int k = 0; k < LINK_DESCRIPTORS; k++)
        worker[k] = -1;
    l->socket = l->event = -1;
    int rc = worker[LINK_DOWN] = ring_create(MESSAGE_RING, e);
    if (rc >= 0)
        rc = worker[LINK_UP] = ring_create(MESSAGE_RING, e);
    if (rc >= 0 && (l->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0)
        rc = error_set_errno(e, 0, "cannot make an event descriptor for a worker");
    if (rc >= 0 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sockets))
        rc = error_set_errno(e, 0, "cannot make a socket pair for a worker");
    l->socket = sockets[0];
    worker[LINK_SOCKET] = sockets[1];
    if (rc >= 0 && (worker[LINK_EVENT] = fcntl(l->event, F_DUPFD_CLOEXEC, 0)) < 0)
        rc = error_set_errno(e, 0, "cannot copy a descriptor for a worker");
    if (rc >= 0)
        rc = link_setup(l, true, worker[LINK_DOWN], worker[LINK_UP], e);
    if (rc >= 0)
        return 0;
    link_close(l);
    descriptors_close(worker, LINK_DESCRIPTORS);
    return rc;
}

int link_adopt(const int descriptors[static LINK_DESCRIPTORS], struct link *l, struct error *e)
{
    l->socket = descriptors[LINK_SOCKET];
    l->event = descriptors[LINK_EVENT];
    int rc = link_setup(l, false, descriptors[LINK_DOWN], descriptors[LINK_UP], e);
    close(descriptors[LINK_DOWN]);
    close(descriptors[LINK_UP]);
    if (rc < 0)
        link_close(l);
    return rc;
}

void link_close(struct link *l)
{
    ring_close(&l->in);
    ring_close(&l->out);
    descriptors_close(&l->socket, 1);
    descriptors_close(&l->event, 1);
}

/* ---- sending ---- */

union control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(MESSAGE_FDS_MAX * sizeof(int))];
};

static int gone(struct error *e)
{
    return error_set(e, ATOLL_EUNAVAIL, "the process at the other end of the link is gone");
}

static bool peer_gone(const struct link *l)
{
    struct pollfd p = {.fd = l->socket};
    return poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR));
}

static int packet_send(struct link *l, const int *fds, uint32_t count, struct error *e)
{
    uint64_t sequence = l->sent + 1;
    struct iovec bytes = {&sequence, sizeof sequence};
    union control control = {0};
    struct msghdr m = {.msg_iov = &bytes,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = CMSG_SPACE(count * sizeof *fds)};
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(count * sizeof *fds);
    memcpy(CMSG_DATA(&control.header), fds, count * sizeof *fds);
    ssize_t sent;
    do
        sent = sendmsg(l->socket, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    if (sent == (ssize_t)sizeof sequence) {
        l->sent++;
        return 0;
    }
    /* ETOOMANYREFS: too many descriptors are under way; that passes as the other end reads. */
    if (errno == EAGAIN || errno == ENOBUFS || errno == ETOOMANYREFS)
        return error_set(e, ATOLL_EAGAIN, "the socket of a link is full");
    return errno == EPIPE || errno == ECONNRESET
               ? gone(e)
               : error_set_errno(e, 0, "cannot pass descriptors over a link");
}

/* Under send_lock. */
static int message_put(struct link *l, struct message *m, const int *fds, uint32_t count, bool wake,
                       struct error *e)
{
    uint32_t len = message_measure(m);
    if (!len || count > MESSAGE_FDS_MAX)
        return error_set(e, ATOLL_ESIZE, "a message of kind %u is longer than a link takes",
                         m->header.kind);
    void *room = ring_reserve(&l->out, len);
    if (l->out.broken)
        return error_set(e, ATOLL_ECORRUPT, "the counters of a link's ring make no sense");
    if (!room)
        return peer_gone(l) ? gone(e) : error_set(e, ATOLL_EAGAIN, "the ring of a link is full");
    int rc = count ? packet_send(l, fds, count, e) : 0;
    if (rc < 0)
        return rc;
    m->header.fds = (uint16_t)count;
    m->header.sequence = count ? l->sent : 0;
    message_encode(m, room);
    ring_publish_quietly(&l->out);
    if (wake)
        ring_wake(&l->out);
    return 0;
}

int link_send(struct link *l, struct message *m, const int *fds, uint32_t count, struct error *e)
{
    pthread_mutex_lock(&l->send_lock);
    int rc = message_put(l, m, fds, count, true, e);
    pthread_mutex_unlock(&l->send_lock);
    return rc;
}

int link_send_quietly(struct link *l, struct message *m, const int *fds, uint32_t count,
                      struct error *e)
{
    pthread_mutex_lock(&l->send_lock);
    int rc = message_put(l, m, fds, count, false, e);
    pthread_mutex_unlock(&l->send_lock);
    return rc;
}

void link_wake(struct link *l)
{
    /* Behind the head that was published, which a consumer looks for before it sleeps. */
    atomic_thread_fence(memory_order_seq_cst);
    if (link_untaken(l))
        ring_wake(&l->out);
}

uint64_t link_untaken(const struct link *l)
{
    return ring_untaken(&l->out);
}

int link_send_wait(struct link *l, struct message *m, const int *fds, uint32_t count,
                   struct error *e)
{
    struct timespec pause = {0, WAIT_FIRST_NS};
    for (;;) {
        int rc = link_send(l, m, fds, count, e);
        if (rc != -ATOLL_EAGAIN)
            return rc;
        nanosleep(&pause, NULL);
        if (pause.tv_nsec < WAIT_MOST_NS)
            pause.tv_nsec *= 2;
    }
}

/* ---- receiving ---- */

/* The descriptors of one packet into fds; their number, or a negative code. */
static int packet_receive(struct link *l, int *fds, struct error *e)
{
    uint64_t sequence = 0;
    struct iovec bytes = {&sequence, sizeof sequence};
    union control control;
    struct msghdr m = {.msg_iov = &bytes,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof control};
    ssize_t got;
    do
        got = recvmsg(l->socket, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return error_set_errno(e, ATOLL_ECORRUPT, "the descriptors of a message did not come");
    uint32_t count = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t len = c->cmsg_len - CMSG_LEN(0);
        assert(count + len / sizeof(int) <= MESSAGE_FDS_MAX); /* control has no more room */
        memcpy(fds + count, CMSG_DATA(c), len);
        count += (uint32_t)(len / sizeof(int));
    }
    l->received++;
    if (got == (ssize_t)sizeof sequence && sequence == l->received &&
        !(m.msg_flags & (MSG_CTRUNC | MSG_TRUNC)))
        return (int)count;
    descriptors_close(fds, count);
    return error_set(e, ATOLL_ECORRUPT,
                     m.msg_flags & MSG_CTRUNC
                         ? "descriptors of a message were lost: too many files are open"
                         : "the packets of a link are out of order");
}

/* Fetches the message's descriptors and compares them with what it says. */
static int descriptors_take(struct link *l, const struct message_header *h, int *fds,
                            struct error *e)
{
    if (h->fds == 0)
        return 0;
    int count = h->fds <= MESSAGE_FDS_MAX
                    ? packet_receive(l, fds, e)
                    : error_set(e, ATOLL_ECORRUPT, "a message with %u descriptors", h->fds);
    if (count < 0 || ((uint32_t)count == h->fds && h->sequence == l->received))
        return count < 0 ? count : 0;
    descriptors_close(fds, (uint32_t)count);
    return error_set(e, ATOLL_ECORRUPT, "a message of kind %u came with %d descriptors, not %u",
                     h->kind, count, h->fds);
}

int link_receive(struct link *l, struct message *out, int *fds, struct error *e)
{
    uint32_t len;
    const void *record = ring_peek(&l->in, &len);
    if (!record)
        return l->in.broken
                   ? error_set(e, ATOLL_ECORRUPT, "the counters of a link's ring make no sense")
                   : 0;
    int rc = message_decode(record, len, l->supervisor, l->copy, out, e);
    ring_release(&l->in);
    if (rc == 0)
        rc = descriptors_take(l, &out->header, fds, e);
    return rc < 0 ? rc : 1;
}
