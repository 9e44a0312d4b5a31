/*
 * One end of the connection between the supervisor and a worker: two rings and a socket.
 *
 * The supervisor makes both ends (link_pair) before it starts the worker, which inherits its own by
 * descriptor. Sending is thread-safe in a worker (a lock), and belongs to the loop thread in the
 * supervisor. Receiving: one thread at a time.
 */
#ifndef NODE_LINK_H
#define NODE_LINK_H

#include "base/ring.h"
#include "node/message.h"

#include <pthread.h>

/* The descriptors by which a link is inherited, in this order. */
enum link_descriptor { LINK_DOWN, LINK_UP, LINK_SOCKET, LINK_EVENT, LINK_DESCRIPTORS };

struct link {
    struct ring in, out;
    int socket;              /* SOCK_SEQPACKET; owned */
    int event;               /* eventfd that wakes the supervisor's loop; owned */
    uint32_t sent, received; /* packets */
    bool supervisor;
    pthread_mutex_t send_lock;
    uint8_t copy[MESSAGE_MAX]; /* of the message being looked at */
};

/* Makes a link: the supervisor's end, and the descriptors (owned by the caller, to be passed on and
 * closed) of the worker's. */
int link_pair(struct link *supervisor, int worker[static LINK_DESCRIPTORS], struct error *);
/* The worker's end, from inherited descriptors; owns them. */
int link_adopt(const int descriptors[static LINK_DESCRIPTORS], struct link *, struct error *);
void link_close(struct link *);

/* Sends a message with descriptors (borrowed). -ATOLL_EAGAIN when the ring is full: the supervisor
 * keeps the message and tries again when it has heard from the worker; -ATOLL_EUNAVAIL when the
 * other end is gone. header.fds and sequence are set here. */
int link_send(struct link *, struct message *, const int *fds, uint32_t fd_count, struct error *);
/* The same without waking the other end, for messages that follow one another: link_wake after the
 * last. */
int link_send_quietly(struct link *, struct message *, const int *fds, uint32_t fd_count,
                      struct error *);
/* Wakes the other end if it has not taken all that was sent. */
void link_wake(struct link *);
/* How many bytes the other end has not taken; a hint. */
uint64_t link_untaken(const struct link *);
/* link_send from a worker's thread, which waits for room. */
int link_send_wait(struct link *, struct message *, const int *fds, uint32_t fd_count,
                   struct error *);

/* The next message: 1, or 0 when there is none, or a negative code when the other end broke the
 * rules (message_decode, packets out of order). out points into the link until the next receive.
 * fds: those that came with it, owned by the caller now; room for MESSAGE_FDS_MAX. */
int link_receive(struct link *, struct message *out, int *fds, struct error *);

#endif
