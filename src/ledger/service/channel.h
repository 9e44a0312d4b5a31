/*
 * A channel between two processes of a ledger: mutually authenticated, encrypted, in order
 * (spec/ledger §11). Bytes in, bytes out: whoever owns the socket moves them, so the same code
 * serves an event loop, a blocking client and tests.
 *
 *   from the socket ──▶ channel_receive ──▶ messages
 *   to the socket   ◀── the outgoing buffer ◀── channel_send
 *
 * The handshake is a signed Diffie-Hellman exchange (SIGMA). All integers little-endian:
 *
 *   1  initiator → responder   "ATOLLNK1" | genesis 32 | role u16 | exchange key 32
 *   2  responder → initiator   replica u16 | exchange key 32 | signature 64 of replica's key over
 *                              H("atoll.link.r.v1", bytes of 1 ‖ replica ‖ exchange key)
 *   3  initiator → responder   a replica: signature 64 over H("atoll.link.i.v1", bytes of 1 and 2)
 *                              a client: nothing; what it asks for is signed by itself
 *
 * role: the initiator's number as a replica, or CHANNEL_CLIENT. An exchange key is X25519's, fresh
 * for every channel. Both ends derive one ChaCha20-Poly1305 or AES-256-GCM key for each direction
 * by HKDF from the shared secret and a hash of the whole handshake, so what was signed is what is
 * used: nobody in between can pass a handshake on and read along, and old channels stay closed when
 * a signing key leaks later.
 *
 *   message   len u32 (of what is sealed, less the tag) | sealed bytes | tag 16
 *
 * The length is authenticated with the bytes; nonces count messages in each direction. A message
 * that does not open ends the channel. There is no checksum besides: the tag is one.
 *
 * A channel belongs to one thread.
 */
#ifndef LEDGER_SERVICE_CHANNEL_H
#define LEDGER_SERVICE_CHANNEL_H

#include "base/bytes.h"
#include "base/error.h"
#include "crypto/secret.h"
#include "ledger/object/configuration.h"
#include "ledger/object/limits.h"
#include "ledger/object/slice.h"

#define CHANNEL_CLIENT UINT16_MAX

#define CHANNEL_SPARE         (16u << 10) /* of thousands */
#define CHANNEL_SPARE_REPLICA (1u << 20)

struct channel;

/* Who we are and whom we can meet. Borrowed for the life of the channel. */
struct channel_identity {
    const uint8_t *genesis; /* HASH_LEN bytes, its hash */
    const struct ledger_configuration *configuration;
    uint16_t role;               /* our number, or CHANNEL_CLIENT */
    const struct secret *secret; /* our signing key; NULL for a client */
};

/* To the replica `peer`. ATOLL_ENOMEM, ATOLL_EUNAVAIL. The first bytes lie in the outgoing buffer.
 */
int channel_connect(const struct channel_identity *, uint16_t peer, struct channel **,
                    struct error *);
/* From someone not known yet; the identity is a replica's. */
int channel_accept(const struct channel_identity *, struct channel **, struct error *);
void channel_destroy(struct channel *);

/* The other end: its number or CHANNEL_CLIENT, once channel_ready. */
uint16_t channel_peer(const struct channel *);
/* The handshake is done: messages can be sent, and what arrives is from the peer. */
bool channel_ready(const struct channel *);

/* One whole message (at most LEDGER_MESSAGE_MAX bytes), valid during the call. */
typedef void (*channel_message)(void *context, struct slice message);
/*
 * Takes all len bytes from the peer; calls `message` for each one that became whole. 0, or the
 * reason to close the socket: ATOLL_ESIGNATURE (not who it says, or bytes that do not open),
 * ATOLL_ECORRUPT (not this protocol), ATOLL_EINVAL (another service), ATOLL_ELIMIT, ATOLL_ENOMEM.
 */
int channel_receive(struct channel *, const void *data, size_t len, channel_message message,
                    void *context, struct error *);
/* Seals the parts as one message into the outgoing buffer. ATOLL_EAGAIN before channel_ready;
 * ATOLL_ESIZE beyond LEDGER_MESSAGE_MAX; ATOLL_ENOMEM. */
int channel_send(struct channel *, const struct slice *parts, unsigned count, struct error *);
/* What waits for the socket; the owner takes bytes from its start by channel_sent. */
const struct buffer *channel_outgoing(const struct channel *);
void channel_sent(struct channel *, size_t len);
/* Memory that it keeps for both directions: room for what waits. When nothing waits any more it
 * keeps CHANNEL_SPARE of a client and CHANNEL_SPARE_REPLICA of a replica for each direction at
 * most. */
size_t channel_held(const struct channel *);

#endif
