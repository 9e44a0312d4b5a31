/*
 * A channel (channel.h) on a TCP socket, as an event loop has it: what replicas' links and clients'
 * callers are made of.
 *
 *   (looked up, dialled) or accepted ──▶ handshake ──▶ known ──▶ messages … ──▶ closing ──▶ closed
 *
 * A connection lies within whatever its owner keeps for it, and belongs to the loop from
 * connection_dial or connection_accept until `closed`. Sending only fills the channel's buffer;
 * connection_flush, once after a burst of events, gives the kernel what it takes at once, and the
 * rest moves into a buffer of its own, so that more can be added meanwhile. A peer that
 * acknowledges nothing for CONNECTION_SILENCE_MS is taken for gone.
 *
 * Loop thread only. No event is called from within connection_send; closing may come from within
 * any other function, and the owner may close from within any event.
 */
#ifndef LEDGER_SERVICE_CONNECTION_H
#define LEDGER_SERVICE_CONNECTION_H

#include "ledger/service/address.h"
#include "ledger/service/channel.h"

#include <uv.h>

#define CONNECTION_READ_BYTES (256u << 10)
#define CONNECTION_SILENCE_MS 10000

struct connection;

struct connection_events {
    /* Of one that was accepted, before anything costly is done for it. False: not now. NULL: all
     * are welcome. */
    bool (*admit)(struct connection *, const struct sockaddr *from);
    /* The handshake is done: channel_peer tells who it is. False: there is no place for it. */
    bool (*known)(struct connection *);
    void (*message)(struct connection *, struct slice message);
    /* Once, when it begins to close. `bad`: for what the other end said. Only `closed` follows. */
    void (*closing)(struct connection *, bool bad);
    /* The loop has let go of it: its memory is the owner's again. */
    void (*closed)(struct connection *);
};

/* What the connections of one owner share; it outlives them. */
struct connection_host {
    uv_loop_t *loop;
    const struct channel_identity *own;
    const struct connection_events *events;
    uint64_t bytes_in, bytes_out;
    uint8_t room[CONNECTION_READ_BYTES]; /* for the read in progress */
};

struct connection {
    struct connection_host *host;
    void *owner;
    struct channel *channel; /* NULL only when it closes at once */
    bool known, closing;
    /* ---- its own ---- */
    uv_tcp_t socket;
    uv_connect_t connecting;
    uv_write_t write;
    struct buffer writing; /* with the kernel */
    struct address_lookup lookup;
    bool connected, dirty, busy;
    bool looking_up, let_go; /* the loop keeps it until both have ended */
};

/* To the replica `peer`, at its address of the configuration; a name is looked up anew.
 * ATOLL_ENOMEM, ATOLL_EUNAVAIL: nothing has begun, the memory is the owner's. Else events come, if
 * only those of its end. */
int connection_dial(struct connection *, struct connection_host *, void *owner, uint16_t peer,
                    struct error *);
/* The next one that waits at a listener. Events come in any case, if only those of its end. */
void connection_accept(struct connection *, struct connection_host *, void *owner,
                       uv_stream_t *listener);
/* Drops what was not sent. May be called again. */
void connection_close(struct connection *);

/* False when the message cannot be sent: not known yet, closing, no memory, or `room` bytes are
 * waiting already. */
bool connection_send(struct connection *, const struct slice *parts, unsigned count, size_t room);
/* May close it. */
void connection_flush(struct connection *);
/* Memory that it keeps for both directions (channel_held). */
size_t connection_held(const struct connection *);

#endif
