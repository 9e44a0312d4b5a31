/*
 * Batches inside a replica: the slots in which they come together (slot.c), how they are executed
 * (execute.c), proposed (propose.c), accepted (accept.c) and voted on (vote.c), and contents that
 * may be proposed again (stash.c).
 *
 * Part of core.h.
 */
#ifndef LEDGER_REPLICA_BATCHES_H
#define LEDGER_REPLICA_BATCHES_H

#include "ledger/object/bare.h"
#include "ledger/replica/requests.h"

struct ledger_replica;
struct job;

/* Batches whose slots are kept: a power of two above 64 recent ones and the window ahead. */
#define SLOTS        128
#define SLOTS_RECENT 64

/* ---- what they are ---- */

struct vote {
    bool held;          /* a Prepare is here, its signature valid or being checked */
    bool valid;         /* checked */
    bool passed_on;     /* not checked, and not from its own sender */
    bool nonce_held;    /* a nonce that opens the replica's commitment */
    bool nonce_waiting; /* one that cannot be checked yet */
    struct ledger_prepare prepare;
    uint8_t nonce[LEDGER_NONCE_LEN];
};

/* Where a transaction lies in its slot's entries. */
struct slot_tx {
    uint32_t start, len; /* the TxEntry */
    uint8_t req_hash[HASH_LEN];
    struct merkle_hash leaf;
};

struct slot {
    uint64_t s;    /* 0: unused */
    uint64_t view; /* of the votes, and of the batch when there is one */
    bool in_ledger;
    /* The batch, when it is in the ledger. */
    struct ledger_pp pp;
    uint8_t pp_hash[HASH_LEN];
    uint64_t start, pp_position, end; /* start: before its Evidence */
    uint64_t next_index;              /* after it */
    struct merkle_frontier after;
    struct buffer entries; /* its TxEntries */
    struct slot_tx *txs;
    size_t tx_capacity;
    struct merkle_tree *g;
    /* How far it has come here. */
    bool marked;    /* the SIGNED record is appended: we may sign it */
    bool own_ready; /* … and durable: our pp or Prepare is sent */
    bool prepared;  /* the certificate is appended */
    bool certain;   /* … and durable */
    bool released;  /* our nonce has left */
    bool committed;
    struct vote *votes;     /* one for every replica */
    struct buffer evidence; /* encoded, once it is complete and valid */
};

/* The VCSET and NEW_VIEW entries of a view in the ledger. */
struct view_entry {
    uint64_t view, base;
    uint64_t start, end; /* positions */
    uint8_t hash[HASH_LEN];
    struct merkle_frontier after;
};

/* A batch's contents, kept to propose it again or to check that it is: by G. */
struct stash {
    bool used;
    uint64_t stamp; /* when it was looked for last */
    uint64_t s;
    enum ledger_kind kind;
    uint64_t first_index;
    uint32_t count;
    uint8_t g[HASH_LEN];
    struct buffer entries; /* u32 len and TxEntry of each */
};

/* A pp message on its way into the ledger of a backup. */
enum incoming_state { INCOMING_CHECKING, INCOMING_READY, INCOMING_WANTS_BODIES, INCOMING_BAD };

struct incoming {
    enum incoming_state state;
    bool passed_on; /* came from another replica than its primary, */
    uint16_t from;  /* … or whomever */
    bool dropped;   /* nobody wants it; free it when its job is back */
    bool job_out;
    bool checked;
    struct buffer message;
    struct ledger_pre_prepare_message decoded;
    uint8_t pp_hash[HASH_LEN];
    struct candidate *candidates;
    bool *known; /* that the body is here */
    uint32_t candidate_capacity, count, wants;
    uint8_t (*wanted)[HASH_LEN]; /* body hashes, where a body is only named */
    bool evidence_checked;
    struct buffer bodies;  /* that were found elsewhere */
    struct incoming *next; /* spare */
};

struct checkpoint_digest {
    bool known;
    uint64_t s;
    uint8_t pp_hash[HASH_LEN]; /* of the batch, while it is not known; zeros: it was taken back */
    uint8_t digest[HASH_LEN];
};

/* ---- what is done with them ---- */

/* slot.c: the ring of batches, positions, rollback */
struct slot *slot_find(const struct ledger_replica *, uint64_t s); /* NULL: not there */
struct slot *slot_make(struct ledger_replica *, uint64_t s, uint64_t view);
struct slot *slot_in_ledger(const struct ledger_replica *, uint64_t s);
bool slot_prepare_room(struct slot *, uint32_t txs);
bool slot_before(const struct ledger_replica *, const struct slot *, struct merkle_frontier *);
struct slot *slot_make_hollow(struct ledger_replica *, const struct ledger_pp *);
/* Whether only the pp of this batch is kept: its transactions must not be asked for. */
bool slot_is_hollow(const struct ledger_replica *, const struct slot *);
int ledger_end_at(const struct ledger_replica *, uint64_t s, uint64_t *position);
void rollback_to_batch(struct ledger_replica *, uint64_t s, const struct view_entry *after);
bool positions_set(struct ledger_replica *, uint64_t s, uint64_t position);
struct view_entry *view_entry_find(const struct ledger_replica *, uint64_t view);

/* execute.c */
int execute_batch(struct ledger_replica *, struct slot *, uint64_t s, enum ledger_kind,
                  uint64_t first_index, const struct candidate *const *, uint32_t count,
                  uint32_t *done, bool skip_bad, struct error *);
struct merkle_hash execute_root(const struct ledger_replica *, const struct slot *,
                                enum ledger_kind, uint32_t count);
bool digest_for(const struct ledger_replica *, uint64_t s, uint8_t digest[static HASH_LEN]);
bool digest_fits(const struct ledger_replica *, const struct ledger_pp *);
void digests_compare(struct ledger_replica *);
void digest_start(struct ledger_replica *, const struct slot *);

/* propose.c: the primary */
bool propose_worth(const struct ledger_replica *, size_t waiting);
uint64_t propose_paced(const struct ledger_replica *);
void propose(struct ledger_replica *);
void propose_send(struct ledger_replica *, struct slot *, int to);

/* accept.c: the backups */
void accept_pre_prepare(struct ledger_replica *, uint16_t from, struct slice message);
void accept_verified(struct ledger_replica *, struct job *);
void accept_run(struct ledger_replica *);
void accept_content(struct ledger_replica *, const struct ledger_content *);
bool accept_wants_bodies(const struct ledger_replica *);
void accept_fetch_again(struct ledger_replica *);
void accept_clear(struct ledger_replica *);
bool accept_empty_batch_due(const struct ledger_replica *, uint64_t s);
bool accept_holds(const struct ledger_replica *, const struct slot *);
void incoming_free_all(struct ledger_replica *);

/* vote.c */
void vote_own(struct ledger_replica *, struct slot *);
void vote_prepare(struct ledger_replica *, uint16_t from, const struct ledger_prepare *);
void vote_commit(struct ledger_replica *, const struct ledger_commit *);
void vote_verified(struct ledger_replica *, struct job *);
void vote_take_certificate(struct ledger_replica *, struct slot *,
                           const struct ledger_certificate *);
void vote_settle(struct ledger_replica *);
void vote_advance(struct ledger_replica *);
void vote_send_commit(struct ledger_replica *, const struct slot *, int to);
bool vote_certificate(const struct ledger_replica *, const struct slot *, struct buffer *out);
void vote_certain(struct ledger_replica *, struct slot *);
bool vote_evidence(struct ledger_replica *, struct slot *);
void vote_take_evidence(struct ledger_replica *, struct slot *, struct slice evidence);
unsigned vote_unknown(const struct ledger_replica *, const struct slot *,
                      const struct ledger_evidence *, struct ledger_signature *work,
                      unsigned count);
void floor_raise(struct ledger_replica *, uint64_t s);

/* stash.c */
struct candidate *stash_candidates(struct ledger_replica *, const struct stash *);
struct stash *stash_find(struct ledger_replica *, const uint8_t g[static HASH_LEN]);
void stash_slot(struct ledger_replica *, const struct slot *);
bool stash_content(struct ledger_replica *, const struct ledger_content *);
void stashes_free(struct ledger_replica *);
bool content_here(struct ledger_replica *, const struct ledger_plan *);

#endif
