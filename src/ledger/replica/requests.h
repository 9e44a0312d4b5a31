/*
 * Requests inside a replica: those that wait (pool.c, gather.c), the connections on which clients
 * listen (listener.c), those that were executed (executed.c, search.c), and what clients are told
 * (client.c).
 *
 * Everything here is filled by strangers, so every table has a bound. Part of core.h.
 */
#ifndef LEDGER_REPLICA_REQUESTS_H
#define LEDGER_REPLICA_REQUESTS_H

#include "ledger/object/message.h"
#include "ledger/replica/replica.h"

struct ledger_replica;
struct job;
struct slot;

#define CLIENTS_HEARD_MAX   65536 /* client keys whose connection or queue we know */
#define CONNECTIONS_MAX     16384
#define LISTENS_MAX         4096       /* keys that one connection may listen for */
#define EXECUTED_MAX        (1u << 20) /* entries of the index of executed requests; two each */
#define EXECUTED_NOTING     16
#define PARKED_MAX          4096 /* requests that wait for an index, of all clients */
#define BODIES_CHECKING_MAX 16   /* bodies of one request at a time, and as many from suspects */
#define SOURCE_CHECKING_MAX (16u << 20) /* bytes of one connection or peer at a time */
#define RELAYS_BAD_MAX      8           /* bad signatures that a peer may relay until … */
#define RELAYS_PENALTY_US   10000000    /* … it is not heard for so long */
#define SEARCHES_MAX        16          /* of old requests, at a time */
#define SEARCH_US           5000        /* between two slices */

/* ---- those that wait ---- */

/* A request that can be executed. */
struct candidate {
    struct ledger_body body;
    uint8_t req_hash[HASH_LEN];
};

enum pooled_state { POOLED_CHECKING, POOLED_READY, POOLED_PARKED };

#define POOLED_INLINE 448

struct pooled {
    struct candidate candidate;
    uint8_t body_hash[HASH_LEN];
    enum pooled_state state;
    bool relayed;                /* to the primary of this view; false again when asked for again */
    bool starving;               /* relayed_at_batches counts */
    uint64_t relayed_at_batches; /* batches committed when this view's primary first got it */
    uint64_t connection;         /* whence this very body came; 0: from a replica, */
    uint16_t peer;               /* … this one */
    uint64_t again;              /* whence it came last, while it was being checked; 0: no other */
    bool suspect;                /* … which sent bad signatures before: checked apart and last */
    struct client *client;
    struct pooled *chain;           /* in its bucket */
    struct pooled *next, *previous; /* in the queue of its state */
    uint8_t *bytes;                 /* of the body: room[], or allocated */
    uint8_t room[POOLED_INLINE];
};

struct queue {
    struct pooled *first, *last;
    size_t count;
};

/* What we know about a client: on which connections it listens and how many requests wait. Whoever
 * gets hold of one of its requests can send it, too: so the first connection that brought one with
 * a valid signature keeps its replies as long as it lives, beside the newest. */
struct client {
    uint8_t key[ED25519_KEY_LEN];
    uint64_t connection; /* the newest; 0 = none, and then no first one either */
    uint64_t first;      /* 0 = none: no valid signature came from where it listens */
    uint32_t waiting;    /* in the pool, also with signatures that are being checked */
    uint32_t checked;    /* … with valid ones: anybody can send the others in its name */
    struct client *chain;
};

/* A connection, and the run of replies that it gets for the batch at hand. */
struct connection {
    uint64_t number;
    uint64_t batch_stamp; /* the replying that saw it last */
    bool suspect;         /* sent a bad signature */
    uint32_t listens;     /* keys that it has ever listened for */
    size_t checking;      /* bytes of its requests whose signatures are being checked */
    struct connection *chain;
};

struct pool {
    struct pooled **buckets;
    size_t bucket_count; /* a power of two */
    size_t count, bytes;
    struct queue checking, ready, parked;
    bool relay_again;        /* a client asked again for what the primary was sent */
    uint64_t relay_again_at; /* not before */
    struct pooled *spare;
    struct pooled **slabs;
    size_t slab_count;
    struct client **clients;
    size_t client_buckets, client_count;
    size_t client_hand; /* the bucket from which the next client is forgotten for another */
    struct connection **connections;
    size_t connection_count;
};

/* pool.c */
bool pool_open(struct ledger_replica *);
void pool_close(struct ledger_replica *);
struct pooled *pool_find(const struct ledger_replica *, const uint8_t req_hash[static HASH_LEN]);
void pool_remove(struct ledger_replica *, struct pooled *);
void pool_forget(struct ledger_replica *, const uint8_t req_hash[static HASH_LEN]);
void pool_admit(struct ledger_replica *, struct slice body, uint64_t connection, uint16_t peer);
bool pool_hears_relays(struct ledger_replica *, uint16_t peer);
void pool_verified(struct ledger_replica *, struct job *);
void pool_settle(struct ledger_replica *);
void pool_unpark(struct ledger_replica *);
void pool_new_view(struct ledger_replica *);
void pool_park(struct ledger_replica *, struct pooled *);
bool pool_has_executable(struct ledger_replica *);
bool pool_has_expired(const struct ledger_replica *);

/* gather.c: their signatures */
bool gather_add(struct ledger_replica *, struct pooled *, const struct ledger_signature *left);
uint64_t gather_paced(const struct ledger_replica *);
void gather_settle(struct ledger_replica *);

/* listener.c */
struct client *client_find(const struct ledger_replica *, const uint8_t *key);
struct client *client_make(struct ledger_replica *, const uint8_t *key);
void client_unuse(struct ledger_replica *, struct client *);
void client_listen(struct ledger_replica *, struct client *, uint64_t connection, bool proven);
struct connection *connection_find(const struct ledger_replica *, uint64_t number);
struct connection *connection_make(struct ledger_replica *, uint64_t number);
void connection_forget(struct ledger_replica *, uint64_t number);
void listeners_close(struct ledger_replica *);

/* client.c: what clients ask and are told */
void client_refuse(struct ledger_replica *, uint64_t connection, const uint8_t *req_hash,
                   enum ledger_refusal_reason);
void reply_batch(struct ledger_replica *, struct slot *);
bool reply_receipt(struct ledger_replica *, uint64_t connection,
                   const uint8_t req_hash[static HASH_LEN]);

/* ---- those that were executed ---- */

/* Of the index of executed requests (executed.c). */
struct executed_entry {
    uint64_t key;
    uint64_t s; /* 0: free */
};

/* executed.c */
void executed_note(struct ledger_replica *, uint64_t s, const uint8_t req_hash[static HASH_LEN],
                   const struct ledger_request *);
struct slot *executed_find(struct ledger_replica *, const uint8_t req_hash[static HASH_LEN],
                           uint32_t *index);
bool executed_otherwise(struct ledger_replica *, const struct ledger_request *,
                        const uint8_t req_hash[static HASH_LEN]);
void executed_free(struct ledger_replica *);

/* A request that was executed, for which the ledger is searched (search.c). */
struct search {
    uint64_t connection; /* 0: unused */
    uint8_t client[ED25519_KEY_LEN], req_hash[HASH_LEN];
    uint64_t reqno;
    uint64_t next, s; /* position; the batch there */
};

/* search.c */
bool search_is_on(const struct ledger_replica *);
bool search_begin(struct ledger_replica *, uint64_t connection, const struct ledger_request *,
                  const uint8_t req_hash[static HASH_LEN]);
void search_run(struct ledger_replica *);

#endif
