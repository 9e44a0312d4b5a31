/*
 * The client of a ledger (spec/ledger §5, §11): signs requests, sends them until they are executed,
 * and puts the replicas' answers together into receipts. A pure event machine, like the replica:
 * events go in through ledger_client_on_…, effects come out through struct ledger_client_env; the
 * processes and the simulator run the same object files.
 *
 *   life:  ledger_client_open → { ledger_client_call | events | ledger_client_settle }* → …_close
 *
 * A call gets its number (reqno) at once and waits until the window has room: at most
 * LEDGER_CLIENT_WINDOW requests of a key are on their way, and never with numbers further apart,
 * because the replicas remember for no longer which numbers were executed. ledger_client_settle
 * signs what has room, alone or in bundles, and sends it to the primary. What is not answered after
 * retry_us (longer, while answers take long) goes to all replicas, with the same bytes, again and
 * again, twice as far apart each time: it is executed at most once.
 *
 * An answer is believed when Q replicas' signatures and opened nonces of one (view, batch) fit one
 * pre-prepare that some ReplyX brought, or when a whole receipt verifies. What is said by fewer is
 * a hint. A call that is not answered for longer than calls mostly take is asked for, one replica
 * after the other: the one that owed its ReplyX may be faulty.
 *
 * Every receipt's index becomes the min_index of what is signed later: so a receipt orders what
 * follows it.
 *
 * One client may have several identities (keys), each with its own numbers and window: they share
 * the links, and what is checked of a batch is checked once for all. A client belongs to one
 * thread. Memory is bounded by the windows, by queue_max and by what replicas may make it hold
 * (ANSWERS_PER_REPLICA batches each).
 */
#ifndef LEDGER_CLIENT_CLIENT_H
#define LEDGER_CLIENT_CLIENT_H

#include "ledger/object/message.h"
#include "ledger/object/receipt.h"

#define LEDGER_CLIENT_IDENTITIES_MAX LEDGER_HELLO_MAX
#define LEDGER_CLIENT_WINDOW         1024  /* requests on their way; the replicas' window */
#define LEDGER_CLIENT_QUEUE_MAX      65536 /* calls of an identity that wait for room in it */

struct ledger_client;

/* How a call ended. What it points to is good during the callback only. */
struct ledger_outcome {
    unsigned identity;
    uint64_t reqno;
    void *tag;
    /*
     * 0: executed, all members below are set.
     *
     *   ATOLL_ERANGE     executed, at or below its min_index: the receipt proves a broken rule
     *   ATOLL_EEXIST     another request under this key and number was executed (its receipt is
     *                    here): the key is used elsewhere, too
     *   ATOLL_EREJECTED  f + 1 replicas say that it can never be executed
     *   ATOLL_ETIMEDOUT  the deadline passed; it may still be executed
     */
    int result;
    const char *text; /* a sentence on a result that is not 0 */
    uint64_t index;   /* of the transaction */
    int32_t status;   /* of the procedure */
    struct slice output;
    struct slice receipt; /* encoded; empty unless 0, ATOLL_ERANGE or ATOLL_EEXIST */
};

struct ledger_client_env {
    void *context;
    /* Monotonic microseconds. */
    uint64_t (*now_us)(void *context);
    /* ledger_client_on_timer is due at at_us; replaces the earlier time. */
    void (*timer_set)(void *context, uint64_t at_us);
    /* To a replica; best effort. */
    void (*send)(void *context, uint16_t to, struct slice message);
    /* Signs a hash with an identity's key. */
    void (*sign)(void *context, unsigned identity, const uint8_t hash[static HASH_LEN],
                 uint8_t signature[static ED25519_SIGNATURE_LEN]);
    /* An identity's numbers below `end` will be used: durable before this returns, when numbers
     * have to survive a restart. 0, or a negative code: the call is refused. May be NULL. */
    int (*reserve)(void *context, unsigned identity, uint64_t end, struct error *);
    /* A call ended. May make calls, must not settle or close. */
    void (*finished)(void *context, const struct ledger_outcome *);
};

struct ledger_client_identity {
    uint8_t public_key[ED25519_KEY_LEN];
    uint64_t first_reqno; /* above every number used before under this key */
};

struct ledger_client_settings {
    const struct ledger_genesis *genesis;            /* outlives the client */
    const struct ledger_client_identity *identities; /* copied; all keys differ */
    unsigned identity_count;                         /* 1 … LEDGER_CLIENT_IDENTITIES_MAX */
    uint64_t min_index;                              /* of what is signed first */
    uint32_t bundle_max;             /* requests under one signature, 1 … LEDGER_CLIENT_WINDOW */
    uint32_t window;                 /* at most LEDGER_CLIENT_WINDOW; 0 = that */
    uint32_t queue_max;              /* 0 = LEDGER_CLIENT_QUEUE_MAX */
    uint64_t retry_us;               /* 0 = the genesis' view timeout */
    uint64_t deadline_us;            /* of every call, from ledger_client_call on; 0 = none */
    struct ledger_verifier verifier; /* zero: one signature at a time */
};

struct ledger_client_status {
    uint32_t waiting, sent; /* calls in the queues, and on their way */
    uint64_t min_index;
    uint16_t primary; /* as the client sees it */
    /* Counters since open. */
    uint64_t finished, failed, retries, fetches, refusals;
    uint64_t answers_bad; /* messages that were malformed, or contradicted by a signature */
};

/* ATOLL_EINVAL for settings out of range, ATOLL_ENOMEM. */
int ledger_client_open(const struct ledger_client_settings *, const struct ledger_client_env *,
                       struct ledger_client **, struct error *);
/* Calls that have not ended are forgotten without a word. NULL is allowed. */
void ledger_client_close(struct ledger_client *);

/*
 * Asks for a procedure to be run. args are copied. 0 and *reqno, or ATOLL_EBUSY when the queue is
 * full, ATOLL_ESIZE when the arguments do not fit a request, ATOLL_ENOMEM, or what reserve said.
 */
int ledger_client_call(struct ledger_client *, unsigned identity, uint32_t proc, struct slice args,
                       void *tag, uint64_t *reqno, struct error *);
/* Signs and sends what has room; after a burst of calls and events. */
void ledger_client_settle(struct ledger_client *);

/* A link to the replica stands: says which keys listen on it, and sends again what was on its way
 * to the primary. */
void ledger_client_on_connected(struct ledger_client *, uint16_t replica);
/* It is gone. When it was the primary's, what was on its way goes to all others at once, and what
 * is signed until it is back, too: they can ask for another primary only once they know what it
 * owes.
 */
void ledger_client_on_disconnected(struct ledger_client *, uint16_t replica);
void ledger_client_on_message(struct ledger_client *, uint16_t from, struct slice message);
void ledger_client_on_timer(struct ledger_client *);
/* A receipt of somebody else was seen (and verified): later requests come after its index. */
void ledger_client_saw(struct ledger_client *, uint64_t index);

void ledger_client_status(const struct ledger_client *, struct ledger_client_status *);

#endif
