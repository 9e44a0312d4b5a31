/*
 * The connections of a replica's process: to and from the other replicas, and from clients.
 *
 * All share one listening port. Between two replicas the one with the higher number connects, and
 * again with growing pauses as long as that fails; a second connection of the same peer replaces
 * the first. Messages are best effort: what a slow peer does not take in time is dropped beyond
 * LINKS_OUTGOING_MAX.
 *
 * Whoever connects has LINKS_HANDSHAKE_MS to say who it is. There is only so much time for
 * handshakes (admission.h): beyond it whoever connects is turned away at once, and may come again.
 * Clients need no key to connect: one that lets LINKS_CLIENT_OUTGOING_MAX wait is disconnected, and
 * when all together hold more than LINKS_CLIENTS_BYTES, those who hold most are.
 *
 * Sending only fills buffers; links_flush, once after a burst of events, hands them to the kernel.
 *
 * Loop thread only.
 */
#ifndef LEDGER_SERVICE_LINKS_H
#define LEDGER_SERVICE_LINKS_H

#include "ledger/service/channel.h"

#include <uv.h>

#define LINKS_CLIENTS_MAX         4096         /* connections that are not replicas' */
#define LINKS_STRANGERS_MAX       512          /* connections that have not said yet who they are */
#define LINKS_OUTGOING_MAX        (64u << 20)  /* bytes that wait for one peer */
#define LINKS_CLIENT_OUTGOING_MAX (16u << 20)  /* and for one client */
#define LINKS_CLIENTS_BYTES       (256u << 20) /* that wait in either direction for all clients */
#define LINKS_HANDSHAKE_MS        5000
/* Of the descriptors that the process may have, so many are not for those two: they are for other
 * replicas, the HTTP view, and the files of the log. Where that leaves too few, the bounds above
 * are lower: no crowd of strangers keeps a replica from its disk. */
#define LINKS_DESCRIPTORS_KEPT 640

struct links;

/* Nothing of these may close the links. */
struct links_handler {
    void (*peer)(void *context, uint16_t from, struct slice message);
    /* connection: a number that is never used again. */
    void (*client)(void *context, uint64_t connection, struct slice message);
    void (*client_gone)(void *context, uint64_t connection);
    /* There is a new connection to a replica: what is sent to it now is the first on it. May be
     * NULL. */
    void (*peer_ready)(void *context, uint16_t number);
};

/*
 * Listens at our address of the configuration, or at `address` (host:port, numeric) when that is
 * not NULL, and starts to connect to the peers. The identity and what it points to outlive the
 * links. ATOLL_EUNAVAIL: the address cannot be listened at; ATOLL_EINVAL: it is no address.
 */
int links_open(uv_loop_t *, const struct channel_identity *, const char *address,
               const struct links_handler *, void *context, struct links **, struct error *);
/* Closes everything; the memory is freed when the loop has closed the handles, and then `closed`
 * (may be NULL) is called. */
void links_close(struct links *, void (*closed)(void *context), void *context);

void links_send(struct links *, uint16_t to, const struct slice *parts, unsigned count);
void links_reply(struct links *, uint64_t connection, const struct slice *parts, unsigned count);
void links_flush(struct links *);

struct links_counts {
    uint32_t peers;       /* connected now */
    uint32_t clients;     /* connected now */
    uint64_t refused;     /* connections closed for what they said, or for others' sake */
    uint64_t turned_away; /* connections closed at once: too many handshakes (admission.h) */
    uint64_t dropped;     /* messages that found no room or no connection */
    uint64_t bytes_in, bytes_out;
};
struct links_counts links_counts(const struct links *);

#endif
