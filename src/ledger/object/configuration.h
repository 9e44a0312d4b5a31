/*
 * Who runs the service and by what rules (spec/ledger §3, §10). Little-endian; `bytes` is u32
 * length and data, `list` u32 count and items.
 *
 *   Configuration
 *     number u32                        0 in the genesis
 *     engine_version u32                cost table of WebAssembly procedures; 0 without any
 *     max_batch u32                     transactions in a batch
 *     checkpoint_interval u32           C, in batches; at least 2P
 *     view_timeout_us u64               how long a backup waits before it changes the view
 *     members: list of { name bytes | key 32 }
 *     replicas: list of { key 32 | member u32 | address bytes }
 *     clients: list of key 32           strictly ascending; empty: everyone may send requests
 *   A replica's number is its place in the list. Hash: H("atoll.cfg.v1", Configuration).
 *
 * Keys of replicas and members are canonical and of prime order, and all replicas' keys differ.
 */
#ifndef LEDGER_OBJECT_CONFIGURATION_H
#define LEDGER_OBJECT_CONFIGURATION_H

#include "ledger/object/request.h"

struct ledger_member {
    struct slice name; /* printable ASCII, not empty */
    const uint8_t *public_key;
};

struct ledger_node {
    const uint8_t *public_key;
    uint32_t member;      /* place of the member who operates it */
    struct slice address; /* printable ASCII, not empty: host:port */
};

/* Points into what it was decoded from. */
struct ledger_configuration {
    uint32_t number;
    uint32_t engine_version;
    uint32_t max_batch;
    uint32_t checkpoint_interval;
    uint64_t view_timeout_us;
    uint32_t member_count;
    uint32_t replica_count; /* N */
    uint32_t client_count;
    const uint8_t *clients; /* client_count keys */
    struct ledger_member members[LEDGER_MEMBERS_MAX];
    struct ledger_node replicas[LEDGER_REPLICAS_MAX];
};

/* False: no memory. */
bool ledger_configuration_encode(const struct ledger_configuration *, struct buffer *out);
/* bytes: exactly a Configuration that keeps to everything above (but for C >= 2P, which the genesis
 * knows). ATOLL_ECORRUPT; ATOLL_ELIMIT; ATOLL_EINVAL for a value out of range or an unfit key. */
int ledger_configuration_decode(struct slice bytes, struct ledger_configuration *, struct error *);
void ledger_configuration_hash(struct slice bytes, uint8_t out[static HASH_LEN]);

/* f = (N - 1) / 3 rounded down; Q = N - f. */
static inline unsigned ledger_faulty_max(const struct ledger_configuration *c)
{
    return (c->replica_count - 1) / 3;
}

static inline unsigned ledger_quorum(const struct ledger_configuration *c)
{
    return c->replica_count - ledger_faulty_max(c);
}

static inline uint16_t ledger_primary(const struct ledger_configuration *c, uint64_t view)
{
    return (uint16_t)(view % c->replica_count);
}

/* Whether the access list admits the client. */
bool ledger_configuration_admits(const struct ledger_configuration *,
                                 const uint8_t client[static ED25519_KEY_LEN]);

#endif
