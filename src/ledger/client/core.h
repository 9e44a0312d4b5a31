/*
 * The client from within: what its files share. See client.h.
 *
 *   client.c   life, identities and their calls
 *   send.c     signing, bundling, sending, sending again
 *   receive.c  whole receipts and refusals
 *   answer.c   replies of batches, put together into receipts
 */
#ifndef LEDGER_CLIENT_CORE_H
#define LEDGER_CLIENT_CORE_H

#include "ledger/client/client.h"
#include "ledger/object/bare.h"

/* Batches about which one replica may have been the first to speak. The oldest is forgotten for a
 * newer one; its calls are answered by a receipt asked for later. */
#define ANSWERS_PER_REPLICA 32

enum call_state { CALL_FREE, CALL_WAITING, CALL_SENT };

/* One request. Free ones keep their buffers. */
struct call {
    struct call *chain; /* of those sent, by req_hash; or of the free ones */
    enum call_state state;
    unsigned identity;
    uint64_t reqno;
    void *tag;
    uint32_t proc;
    uint64_t deadline_us; /* 0 = none */
    struct buffer args;   /* while waiting */
    /* once sent */
    struct buffer body;
    uint8_t req_hash[HASH_LEN];
    uint8_t signed_hash[HASH_LEN], signature[ED25519_SIGNATURE_LEN];
    uint64_t sent_us;  /* for the first time */
    uint64_t try_us;   /* to be sent again, to all */
    uint64_t fetch_us; /* to be asked for */
    unsigned tries;    /* how often it was sent to all */
    unsigned asked;    /* replicas asked for its receipt since it was sent last */
    unsigned busy;     /* how often the primary said so */
    uint64_t attached; /* the serial of the candidate that it was attached to last; 0 = none */
    uint64_t refused[LEDGER_REFUSAL_LAST + 1]; /* by whom, for each reason that is final */
};

/* A key and its calls: numbers oldest … next_reqno - 1 lie in the ring, NULL where one has ended;
 * those below `unsent` were sent. */
struct identity {
    uint8_t public_key[ED25519_KEY_LEN];
    struct call **ring;
    uint64_t capacity; /* a power of two */
    uint64_t oldest, unsent, next_reqno, reserved;
    uint32_t waiting;
};

/* A transaction of ours that a ReplyX brought: its call waits for the batch's quorum. */
struct attached {
    unsigned identity;
    uint64_t reqno;
    size_t tx_len;
    uint32_t position, path_len;
    struct buffer bytes; /* TxEntry, then path */
};

/* One pre-prepare that a ReplyX named for a (view, seqno). */
struct candidate {
    struct candidate *next;
    uint64_t serial; /* its own, from 1 */
    uint16_t origin; /* whose ReplyX; each replica may name one */
    struct ledger_pp pp;
    uint8_t pp_hash[HASH_LEN];
    uint64_t verified, refuted; /* replicas whose replies fit it, or do not */
    bool certified;
    uint64_t bits; /* the Q of them that stand in receipts */
    struct attached *attached;
    uint32_t attached_count, attached_capacity;
};

/* What was heard about one (view, seqno). */
struct answers {
    struct answers *next; /* newest first */
    uint16_t origin;
    uint64_t view, seqno;
    uint64_t heard_us; /* of the last reply */
    uint64_t reply_bits;
    struct candidate *candidates;
    struct ledger_reply replies[]; /* N */
};

struct ledger_client {
    struct ledger_client_settings settings;
    struct ledger_client_env env;
    const struct ledger_configuration *configuration;
    struct ledger_keys keys;
    struct merkle_walk walk; /* of the ReplyX that came last */
    unsigned quorum, replicas;
    struct identity *identities;
    uint16_t *places; /* open addressing: identity + 1 at the first eight bytes of its key */
    size_t place_mask;
    struct call **hashed; /* sent calls by req_hash */
    size_t hash_mask;
    struct call *free_calls;
    uint64_t min_index;
    uint16_t primary;
    uint64_t view;      /* of the newest certified batch */
    uint64_t gone;      /* replicas whose link was there and is not */
    uint64_t spread_us; /* when all on its way was sent to all last, because the primary was gone */
    uint64_t timer_us;
    uint64_t latency_us, deviation_us; /* of answers, smoothed; 0 before the first */
    uint64_t answered_us;              /* when the latest of the calls answered so far was sent */
    struct answers *answers;
    uint64_t candidates_made;
    struct buffer message, receipt, bodies; /* reused */
    /* of a bundle being signed, bundle_max of each */
    struct ledger_request *requests;
    size_t *ends;
    uint8_t (*req_hashes)[HASH_LEN];
    struct ledger_client_status counts;
};

/* ---- client.c ---- */

/* The identity with this key, or NULL. */
struct identity *identity_find(struct ledger_client *, const uint8_t *key);
/* The call of a number that lies in the ring; NULL when it has ended. */
static inline struct call *call_at(const struct identity *who, uint64_t reqno)
{
    return who->ring[reqno & (who->capacity - 1)];
}
/* The call of this number while it is on its way, else NULL. */
struct call *call_sent(const struct identity *, uint64_t reqno);
struct call *call_of_hash(struct ledger_client *, const uint8_t *req_hash);
/* Notes a call as sent, findable by its hash. */
void call_mark_sent(struct ledger_client *, struct call *);
/* Ends a call; it is free afterwards. */
void call_conclude(struct ledger_client *, struct call *, const struct ledger_outcome *);
/* Ends a call by a receipt that was verified, encoded in `bytes`. */
void call_answer(struct ledger_client *, struct call *, const struct ledger_receipt *,
                 struct slice bytes);
/* Whether a request that was executed, with its proof, is byte for byte what was sent for the call.
 */
bool call_matches(const struct ledger_client *, const struct call *, const struct ledger_body *);
/* Moves the ends of the ring past calls that have ended. */
void identity_trim(struct identity *);

/* ---- send.c ---- */

/* The next time to send a call that is on its way: after_us from now, spread by an eighth; until
 * then its receipt is asked for, or not. */
void call_schedule(struct ledger_client *, struct call *, uint64_t now, uint64_t after_us,
                   bool fetch);
/* A call was answered by a quorum's replies: how long that took. */
void latency_note(struct ledger_client *, const struct call *);

/* ---- answer.c ---- */

void answers_close(struct ledger_client *);
void reply_take(struct ledger_client *, uint16_t from, const struct ledger_reply *);
/* Whether a quorum has replied about a batch since then, and nobody has said what is in it. */
bool answers_want_replyx(const struct ledger_client *, uint64_t since_us);
/* A receipt of a batch whose quorum has replied: answers the call from those replies, which were
 * checked. False when the batch is not known so well, or the call is none of ours. */
bool receipt_is_known(struct ledger_client *, const struct ledger_receipt *);
void replyx_take(struct ledger_client *, uint16_t from, struct ledger_replyx *);

/* ---- receive.c ---- */

#endif
