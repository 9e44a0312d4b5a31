/*
 * The inside of a replica: its state, and what its files offer each other. Nobody outside of this
 * folder includes it.
 *
 * The ledger is a row of batches s = 1, 2, …, between which stand the entries of view changes:
 *
 *   positions   genesis | PP 1 | TX … | … | VCSET | NEW_VIEW | EVIDENCE s-P | PP s | TX … |
 *                                           └ struct view_entry        └ start  └ struct slot  ┘
 * end
 *
 *      final <= committed <= prepared <= last        (sequence numbers)
 *
 * Batches up to `final` are never taken back: their evidence lies in the history behind every tip
 * that a view change can choose (§6). Later ones can be, at the price of kv_rollback, a copy of a
 * frontier and one ROLLBACK record. A slot holds what is known about one s, also before the batch
 * is in the ledger (votes may come first). Slots form a ring; those of old batches stay until their
 * place is needed, to answer clients and peers.
 *
 * One rule lives in one function, so that it can be read, tested and (in the mutated build of the
 * simulator) broken: rules.c and tip.c.
 */
#ifndef LEDGER_REPLICA_CORE_H
#define LEDGER_REPLICA_CORE_H

#include "crypto/kdf.h"
#include "crypto/siphash.h"
#include "ledger/kv/checkpoint.h"
#include "ledger/kv/client_table.h"
#include "ledger/kv/procedure.h"
#include "ledger/object/bare.h"
#include "ledger/object/message.h"
#include "ledger/object/quorum.h"
#include "ledger/object/receipt.h"
#include "ledger/replica/choice.h"
#include "ledger/replica/replica.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* Batches whose slots are kept: a power of two above 64 recent ones and the window ahead. */
#define SLOTS        128
#define SLOTS_RECENT 64
/* Messages held for views that we have not entered, of one peer. */
#define EARLY_MESSAGES_MAX (6 * LEDGER_PIPELINE_MAX)
#define EARLY_BYTES_MAX    (16u << 20)
/* Fetched history that is not vouched for yet. */
#define TRANSFER_BYTES_MAX   (96u << 20)
#define TRANSFER_ENTRIES_MAX (LEDGER_BATCH_MAX * (2 * LEDGER_PIPELINE_MAX + 4))
#define CLIENTS_HEARD_MAX    65536 /* client keys whose connection or queue we know */
#define CONNECTIONS_MAX      16384
#define LISTENS_MAX          4096       /* keys that one connection may listen for */
#define EXECUTED_MAX         (1u << 20) /* entries of the index of executed requests; two each */
#define EXECUTED_NOTING      16
#define PARKED_MAX           4096 /* requests that wait for an index, of all clients */
#define BODIES_CHECKING_MAX  16   /* bodies of one request at a time, and as many from suspects */
#define SOURCE_CHECKING_MAX  (16u << 20) /* bytes of one connection or peer at a time */
#define RELAYS_BAD_MAX       8           /* bad signatures that a peer may relay until … */
#define RELAYS_PENALTY_US    10000000    /* … it is not heard for so long */

#define RETRANSMIT_FIRST_US    100000
#define RETRANSMIT_LAST_US     1000000
#define IDLE_US                50000
#define FETCH_AGAIN_US         100000
#define VIEW_TIMEOUT_DOUBLINGS 6
/* Answers that one peer may cause: a burst, and what it may go on with. Each counts as at least
 * ANSWER_COST_MIN bytes. */
#define ANSWERS_BURST      (64u << 20)
#define ANSWERS_PER_US     256
#define ANSWER_COST_MIN    (16u << 10)
#define TRANSFER_STALL_US  10000000 /* a source without a vouched batch for so long is left */
#define SEARCHES_MAX       16       /* of old requests, at a time */
#define SEARCH_US          5000     /* between two slices */
#define BACKLOG_SILENCE_US 1000000  /* … or without an answer */

/* ---- requests ---- */

/* Of the index of executed requests (executed.c). */
struct executed_entry {
    uint64_t key;
    uint64_t s; /* 0: free */
};

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

/* What we know about a client: on which connection it listens and how many requests wait. */
struct client {
    uint8_t key[ED25519_KEY_LEN];
    uint64_t connection; /* 0 = none */
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
    size_t connection_buckets, connection_count;
};

/* ---- batches ---- */

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

/* ---- jobs ---- */

enum job_kind {
    JOB_REQUESTS,
    JOB_VOTES,
    JOB_INCOMING,
    JOB_VIEW_CHANGE,
    JOB_NEW_VIEW,
    JOB_EVIDENCE,
    JOB_TRANSFER,
    JOB_CONFLICT
};

struct vote_reference {
    uint64_t view, s;
    uint16_t replica;
};

struct job {
    struct ledger_verify_job base;
    enum job_kind kind;
    struct ledger_signature *items;
    bool *valid;
    size_t capacity, count;
    size_t subject_count; /* REQUESTS: subject k stands or falls with item references[k].s */
    void **subjects;      /* … struct pooled; */
    struct vote_reference *references;        /* VOTES: which vote; */
    uint8_t (*copies)[ED25519_SIGNATURE_LEN]; /* … and its signature */
    void *subject;                            /* the others: what it is all about */
    struct job *next, *previous;              /* out, or spare */
};

/* ---- durability ---- */

enum waiting { WAITING_SIGNED, WAITING_CERTIFICATE, WAITING_VIEW_CHANGE, WAITING_NEW_VIEW };

struct waiter {
    uint64_t lsn;
    enum waiting what;
    uint64_t view, s;
    uint8_t pp_hash[HASH_LEN];
};

/* ---- view change ---- */

/* A ViewChange of a replica: the one for the highest view that it sent. */
struct held_view_change {
    bool held, valid;
    uint64_t new_view;
    struct buffer bytes;    /* signed */
    struct buffer checking; /* another one, whose signatures are being checked */
    bool job_out;
};

/* What our next ViewChange reports: the last prepared batches of one view. */
struct tip {
    uint64_t view, s;
    unsigned count;
    uint8_t pp_hash[HASH_LEN];
    struct buffer certificates[LEDGER_PIPELINE_MAX]; /* encoded; oldest first */
    struct buffer new_view;                          /* NewView(view), signed; empty for view 0 */
};

/* A NewView that is being made or checked, until it is in force. */
enum pending_view_state { PENDING_NONE, PENDING_FETCHING };

struct pending_view {
    enum pending_view_state state;
    bool ours; /* we are its primary */
    uint64_t view;
    uint64_t chosen_at; /* ours: when its ViewChanges were */
    struct buffer vcset;
    struct ledger_new_view nv; /* ours: made when it is entered */
    struct choice choice;
};

/* A NEW_VIEW message whose signatures are being checked. */
struct new_view_check {
    struct buffer message;
    struct ledger_new_view_message decoded;
    struct ledger_view_change *vcs;
    struct choice choice;
    uint16_t from;
};

struct early {
    struct buffer *messages;
    size_t count, bytes;
};

/* Entries from a peer, which nobody has vouched for yet (fragment.c). */
struct fragment {
    struct merkle_frontier before; /* of the ledger tree at its first entry */
    uint64_t held;                 /* entries */
    struct buffer entries;         /* u8 type | u32 len | payload of each */
    uint64_t end;                  /* where the source's ledger ends, as it says */
    uint16_t source;
    uint64_t banned; /* replicas that sent what does not fit */
    uint64_t asked_at;
    uint64_t begun_at; /* when we began to gather from this source */
    bool waiting;      /* for what was asked for last */
    bool job_out;
    uint64_t generation; /* grows whenever what is held is thrown away */
};

/* A place in a fragment at which the ledger may end. */
struct stop {
    bool found;
    bool is_new_view;
    uint64_t s, view;
    uint8_t hash[HASH_LEN]; /* of the pp, or of the NewView */
    size_t offset;          /* behind its last entry */
    uint64_t entries;       /* up to there */
};

/* Goes through the entries of a fragment. */
struct walk {
    const uint8_t *at, *end;
    uint64_t position;
    uint8_t type;
    struct slice payload;
};

/* History that is being fetched, behind what is final here, until a batch is vouched for. */
struct transfer {
    bool active;
    uint64_t from_s; /* the batch behind which it begins */
    struct fragment fragment;
    bool has_target;
    uint64_t target_s;
    bool target_committed;         /* evidence vouches for it, not only a view change */
    uint8_t target_link[HASH_LEN]; /* the pp_hash of batch target_s, or of a NewView after it */
};

/* What a peer was asked of a checkpoint. */
struct chunk_asked {
    bool out;
    uint32_t number;         /* of kv_transfer_chunk */
    uint64_t at, idle_until; /* when; not asked again before */
    bool has_origin;
    struct merkle_frontier origin; /* as it says */
};

/* A checkpoint of others that is being taken over (install.c). */
struct install {
    bool active;
    uint64_t s, vouched_s; /* its batch; the batch whose pp names its digest */
    uint8_t digest[HASH_LEN];
    struct kv_transfer *store;
    struct chunk_asked *asked; /* of every replica */
    uint64_t banned;           /* replicas that sent what does not fit */
    bool has_origin, whole;    /* the store is */
    struct fragment fragment;  /* from the origin on */
    unsigned turn;             /* who is asked first */
    uint64_t progress_at, origins_at;
};

/* A request that was executed, for which the ledger is searched (search.c). */
struct search {
    uint64_t connection; /* 0: unused */
    uint8_t client[ED25519_KEY_LEN], req_hash[HASH_LEN];
    uint64_t reqno;
    uint64_t next, s; /* position; the batch there */
};

/* The entries that a checkpoint left out, which come in the background (backlog.c). */
struct backlog {
    bool active;
    uint64_t paused_until; /* nothing is asked for before */
    struct merkle_frontier goal;
    struct fragment fragment;
};

/* Entries of a ledger, one behind the other. */
struct history {
    uint64_t from, count;  /* position of the first, and how many */
    struct buffer entries; /* u8 type | u32 len | payload of each */
};

/* Evidence of a batch that was taken back. */
struct kept_evidence {
    uint64_t stamp; /* when it was kept; 0: unused */
    struct ledger_pp pp;
    uint8_t pp_hash[HASH_LEN];
    struct buffer evidence;
};

/* What the ledger left and a view change may ask for (abandoned.c). */
struct abandoned {
    struct history kept;    /* from what was final to what our tip stands on */
    uint8_t link[HASH_LEN]; /* … which this names */
    struct kept_evidence *evidences;
    uint64_t evidence_clock;
    /* While the log is read: the ledger's end since what is final, and what rollbacks ended. */
    struct history tail, *found;
    size_t tail_trim, found_bytes;
    unsigned found_count;
};

/* Entries that are to become part of the ledger, up to a whole batch. */
struct replay {
    struct buffer evidence, vcset;
    struct buffer txs; /* u32 len and TxEntry of each */
    bool in_batch, has_vcset;
    uint32_t tx_count;
    uint64_t held; /* entries that are not in the ledger yet */
    struct ledger_pp pp;
};

/* An EVIDENCE message whose signatures are being checked. */
struct evidence_check {
    struct buffer message;
    struct ledger_evidence_message decoded;
    uint16_t from;
    struct fragment *fragment; /* JOB_TRANSFER: that it stands in */
    bool of_entries;           /* … and these are the signatures of entries, no evidence */
};

/* What a replica said of itself, and when we told it about us. */
struct peer {
    bool heard;
    uint64_t first_last; /* the last batch of its first STATUS since we started */
    uint64_t told_at;
    unsigned evidence_jobs; /* EVIDENCE of it that is being checked */
    bool new_view_job;      /* a NEW_VIEW of it is being checked */
    bool suspect;           /* sent something with a bad signature: checked apart and last */
    size_t checking;        /* bytes of requests it relayed whose signatures are being checked */
    unsigned relays_bad;    /* of them had a bad one, since it was last heard out */
    uint64_t relays_from;   /* what it relays is dropped until then */
    uint64_t answers_at;    /* when `answers` was right */
    uint64_t answers;       /* bytes of answers that it may still cause */
};

struct checkpoint_digest {
    bool known;
    uint64_t s;
    uint8_t pp_hash[HASH_LEN]; /* of the batch, while it is not known; zeros: it was taken back */
    uint8_t digest[HASH_LEN];
};

struct ledger_replica {
    struct ledger_env env;
    struct buffer genesis_bytes;
    struct ledger_genesis genesis;
    const struct ledger_configuration *configuration;
    struct choice_terms terms;
    struct ledger_keys keys;
    uint8_t configuration_hash[HASH_LEN];
    uint16_t self;
    unsigned n, f, quorum;
    uint64_t pipeline, interval;
    struct ledger_body_memo memo; /* of the bodies that were checked last */
    uint8_t nonce_key[32];
    uint8_t table_key[SIPHASH_KEY_LEN];
    uint64_t pool_bytes_max;
    uint32_t pool_per_client;

    bool started;
    const char *stopped; /* why, or NULL */
    bool quarantine;
    uint64_t quarantine_view; /* the last one that we can have signed in */

    /* the view */
    uint64_t view;
    uint64_t view_change_sent; /* no Prepare below it */
    uint64_t abstain_view;     /* UINT64_MAX: none */
    bool pp_rejected;
    unsigned view_changes_in_a_row;
    struct buffer new_view; /* of `view`, signed; empty in the first */
    struct buffer new_view_vcset;
    uint64_t plan_end; /* batches up to it are planned by NewView(view) */
    uint64_t plan_base;
    struct ledger_plan plan[LEDGER_PIPELINE_MAX];
    unsigned plan_count;
    bool plan_complete;  /* all that the first Prepare of the view waits for is here */
    bool new_view_ready; /* ours is durable and may be sent */

    /* the ledger */
    struct merkle_frontier frontier, genesis_frontier;
    struct merkle_frontier frontier_before; /* the batch that is being appended */
    uint64_t position_before;
    uint64_t position, next_index, gov_index;
    uint8_t previous[HASH_LEN]; /* what the next pp's prev_pp must be */
    uint64_t last, prepared, committed;
    uint64_t floor;  /* highest s ever committed here */
    uint64_t hollow; /* batches up to it came as a checkpoint, the last one of this view */
    uint64_t hollow_view;
    uint64_t rooted; /* the last batch before the ledger's last jump, which vouches for it */
    uint8_t (*floor_g)[HASH_LEN]; /* ring of SLOTS: G of committed batches */
    struct slot *slots;
    uint64_t *positions; /* of the PP of batch s, at s - positions_base */
    uint64_t positions_base;
    size_t position_count, position_capacity;
    struct view_entry *view_entries;
    size_t view_entry_count, view_entry_capacity;
    struct stash *stashes;
    uint64_t stash_clock;
    struct kv *kv;
    struct procedure_table *procedures;
    struct checkpoint_digest digests[4]; /* by (s / interval) mod 4 */

    struct pool pool;
    struct executed_entry *executed;
    size_t executed_size;
    struct executed_entry noting[EXECUTED_NOTING]; /* on their way into it, a ring */
    unsigned noting_next;
    struct slot old; /* a batch from the log, for clients that ask late */
    struct incoming *incoming[SLOTS];
    struct incoming *incoming_spare;
    const struct candidate **run; /* room for one batch */
    struct early *early;
    struct held_view_change *view_changes;
    struct buffer own_view_change;
    uint64_t own_view_change_view; /* that it is for, as the log says */
    bool own_view_change_ready;
    struct tip tip;
    struct pending_view pending;
    struct transfer transfer;
    struct install install;
    struct backlog backlog;
    /* By enum ledger_proof_type: replicas whose contradictions are being checked, are proven. */
    uint64_t conflicts_out[3], conflicts_proven[3];
    struct search searches[SEARCHES_MAX];
    unsigned search_turn;
    uint64_t searched_at;
    struct buffer search_read;
    uint64_t install_given_up; /* the last checkpoint that nobody would give us */
    uint64_t silent; /* nothing is signed up to this batch: it vouched for a checkpoint of others */
    uint64_t install_known; /* a batch that is committed, as evidence said */
    bool abstain_doubt;     /* what we signed may stand in what is still missing of the ledger */
    bool recover_hole;      /* the log goes on behind a gap, where we cannot follow */
    struct abandoned abandoned;
    struct replay replay;
    struct peer *peers;
    uint64_t asked_at;    /* when we last asked for what a view change needs */
    uint64_t passed_over; /* replicas whose ViewChange rested on what could not be had */

    struct job *jobs_out, *jobs_spare, *vote_job, *request_job, *suspect_job;
    struct waiter *waiters;
    size_t waiter_first, waiter_count, waiter_capacity;
    uint64_t lsn_last, lsn_asked, lsn_durable;

    uint64_t signed_view, signed_s; /* the last (view, s) that was marked */
    uint8_t signed_hash[HASH_LEN];
    uint64_t signed_view_change; /* of the last ViewChange that the log says we signed */
    uint64_t signed_new_view;    /* view + 1 of the last NewView we signed */

    bool view_timer_set;
    uint64_t view_timer_at;
    uint64_t retransmit_wait;
    bool retransmit_set, idle_set, idle_due, transfer_timer_set;
    uint64_t batches_committed;
    uint64_t reply_stamp;

    struct buffer scratch, scratch_reply, scratch_read;
    bool catching_up;      /* just started: peers may know more */
    uint64_t replay_start; /* entries before it are not replayed */
    uint64_t skipped_s;    /* the batch that is being skipped */
    bool checkpoint_seen;  /* the log has come to where the checkpoint stands */
    uint64_t logged_view;  /* of the last NEW_VIEW record read */
    struct buffer logged_new_view;
    uint64_t *run_connections; /* room for replies */
    size_t connections_room, *bundle_ends;

    struct ledger_status counters;
    char refusal[256]; /* why the last pp was refused, for people */
};

/* ---- small things ---- */

static inline uint16_t primary_of(const struct ledger_replica *r, uint64_t view)
{
    return ledger_primary(r->configuration, view);
}

static inline bool is_primary(const struct ledger_replica *r)
{
    return primary_of(r, r->view) == r->self;
}

uint64_t ledger_view(const struct ledger_replica *);

/* Follows its view and takes part in it (voting is the rules' matter). The ledger may stand in a
 * lower view while history is taken over. */
static inline bool in_view(const struct ledger_replica *r)
{
    return r->started && !r->stopped && r->view_change_sent <= r->view &&
           r->pending.state != PENDING_FETCHING && ledger_view(r) == r->view;
}

/* What cannot be taken back any more: P batches before one that is committed, and all that a
 * checkpoint of others, or our own, stands for. */
static inline uint64_t final_batch(const struct ledger_replica *r)
{
    uint64_t final = r->floor > r->pipeline ? r->floor - r->pipeline : 0;
    final = final > r->rooted ? final : r->rooted;
    return final > r->hollow ? final : r->hollow;
}

/* open.c */
bool start_at_checkpoint(struct ledger_replica *, const struct ledger_checkpoint *);
void replica_stop(struct ledger_replica *, const char *why);

/* slot.c: the ring of batches, positions, rollback */
struct slot *slot_find(const struct ledger_replica *, uint64_t s); /* NULL: not there */
struct slot *slot_make(struct ledger_replica *, uint64_t s, uint64_t view);
struct slot *slot_in_ledger(const struct ledger_replica *, uint64_t s);
bool slot_prepare_room(struct slot *, uint32_t txs);
bool slot_before(const struct ledger_replica *, const struct slot *, struct merkle_frontier *);
struct slot *slot_make_hollow(struct ledger_replica *, const struct ledger_pp *);
/* Whether only the pp of this batch is kept: its transactions must not be asked for. */
bool slot_is_hollow(const struct ledger_replica *, const struct slot *);
void slot_votes_clear(struct ledger_replica *, struct slot *);
int ledger_end_at(const struct ledger_replica *, uint64_t s, uint64_t *position);
void rollback_to_batch(struct ledger_replica *, uint64_t s, const struct view_entry *after);
bool positions_set(struct ledger_replica *, uint64_t s, uint64_t position);
struct view_entry *view_entry_find(const struct ledger_replica *, uint64_t view);

/* append.c: records */
bool append_entry(struct ledger_replica *, enum ledger_entry_type, struct slice payload,
                  const struct merkle_hash *leaf);
bool append_record(struct ledger_replica *, enum ledger_record_kind, uint64_t position,
                   struct slice payload);
void wait_durable(struct ledger_replica *, enum waiting, uint64_t view, uint64_t s,
                  const uint8_t *pp_hash);
void append_begin(struct ledger_replica *);
void append_batch(struct ledger_replica *, struct slot *);
void append_failed(struct ledger_replica *);

/* rules.c: the rules that make or break the protocol */
bool rule_may_vote(const struct ledger_replica *, uint64_t view);
bool rule_is_silent(const struct ledger_replica *, uint64_t s);
bool rule_may_sign_batch(const struct ledger_replica *, uint64_t s);
void rule_mark_signed(struct ledger_replica *, enum ledger_signed_what, uint64_t view, uint64_t s,
                      const uint8_t hash[static HASH_LEN]);
bool rule_nonce_may_leave(const struct ledger_replica *, const struct slot *);
void rule_nonce(const struct ledger_replica *, bool primary, uint64_t view, uint64_t s,
                const uint8_t x[static HASH_LEN], uint8_t nonce[static LEDGER_NONCE_LEN]);
void rule_leave_quarantine(struct ledger_replica *);
void rule_abstain(struct ledger_replica *, uint64_t view);
bool rule_floor_allows(const struct ledger_replica *, uint64_t s, const uint8_t g[static HASH_LEN]);

/* job.c */
struct job *job_take(struct ledger_replica *, enum job_kind, size_t room);
bool job_room(struct job *, size_t room);
void job_send(struct ledger_replica *, struct job *);
void job_give(struct ledger_replica *, struct job *);
void job_free_all(struct ledger_replica *);

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
struct client *client_find(const struct ledger_replica *, const uint8_t *key);
struct client *client_make(struct ledger_replica *, const uint8_t *key);
void client_unuse(struct ledger_replica *, struct client *);
void client_listen(struct ledger_replica *, struct client *, uint64_t connection);
struct connection *connection_find(const struct ledger_replica *, uint64_t number);
struct connection *connection_make(struct ledger_replica *, uint64_t number);
void connection_forget(struct ledger_replica *, uint64_t number);
void listeners_close(struct ledger_replica *);

/* executed.c */
void executed_note(struct ledger_replica *, uint64_t s, const uint8_t req_hash[static HASH_LEN],
                   const struct ledger_request *);
struct slot *executed_find(struct ledger_replica *, const uint8_t req_hash[static HASH_LEN],
                           uint32_t *index);
bool executed_otherwise(struct ledger_replica *, const struct ledger_request *,
                        const uint8_t req_hash[static HASH_LEN]);
void executed_free(struct ledger_replica *);

/* client.c: what clients ask and are told */
void client_refuse(struct ledger_replica *, uint64_t connection, const uint8_t *req_hash,
                   enum ledger_refusal_reason);
void reply_batch(struct ledger_replica *, struct slot *);
bool reply_receipt(struct ledger_replica *, uint64_t connection,
                   const uint8_t req_hash[static HASH_LEN]);

/* execute.c */
int execute_batch(struct ledger_replica *, struct slot *, uint64_t s, enum ledger_kind,
                  uint64_t first_index, const struct candidate *const *, uint32_t count,
                  uint32_t *done, bool skip_bad, struct error *);
struct merkle_hash execute_root(const struct ledger_replica *, const struct slot *,
                                enum ledger_kind, uint32_t count);
bool digest_for(const struct ledger_replica *, uint64_t s, uint8_t digest[static HASH_LEN]);
void digest_start(struct ledger_replica *, const struct slot *);

/* propose.c: the primary */
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
unsigned vote_nonces(const struct ledger_replica *, const struct slot *, uint64_t *bits);

/* tip.c */
bool tip_can_follow(struct ledger_replica *, const struct slot *);
void tip_add(struct ledger_replica *, const struct slot *, struct slice encoded);
bool tip_recover(struct ledger_replica *, struct slice encoded);
bool tip_find_point(const struct ledger_replica *, uint64_t s, const uint8_t link[static HASH_LEN],
                    const struct view_entry **after);

/* view.c: leaving a view */
void view_leave(struct ledger_replica *, uint64_t new_view);
void view_change_sent_durable(struct ledger_replica *, uint64_t new_view);
void view_change_message(struct ledger_replica *, uint16_t from, struct slice message);
void view_change_verified(struct ledger_replica *, struct job *);
bool view_change_check(const struct ledger_replica *, const struct ledger_view_change *,
                       struct slice signed_bytes, struct job *);
void view_change_send(struct ledger_replica *, int to);
void view_run(struct ledger_replica *);
unsigned view_changes_at_least(const struct ledger_replica *, uint64_t view);

/* new_view.c: entering one */
void new_view_try(struct ledger_replica *);
void new_view_message(struct ledger_replica *, uint16_t from, struct slice message);
void new_view_verified(struct ledger_replica *, struct job *);
void new_view_continue(struct ledger_replica *);
bool plan_wants(const struct ledger_replica *, const uint8_t g[static HASH_LEN]);
void new_view_drop(struct ledger_replica *);
void new_view_send(struct ledger_replica *, int to);
bool new_view_first_prepare_may_leave(struct ledger_replica *);
void new_view_check_free(struct new_view_check *);
void new_view_follow(struct ledger_replica *, const struct ledger_new_view *,
                     struct slice signed_bytes, struct slice vcset, uint64_t start);
bool view_entry_push(struct ledger_replica *, uint64_t view, uint64_t base, uint64_t start,
                     const uint8_t hash[static HASH_LEN]);

/* stash.c */
struct candidate *stash_candidates(struct ledger_replica *, const struct stash *);
struct stash *stash_find(struct ledger_replica *, const uint8_t g[static HASH_LEN]);
struct stash *stash_put(struct ledger_replica *, uint64_t s, enum ledger_kind, uint64_t first_index,
                        uint32_t count, const uint8_t g[static HASH_LEN]);
bool stash_add(struct stash *, struct slice tx);
void stash_slot(struct ledger_replica *, const struct slot *);
bool stash_content(struct ledger_replica *, const struct ledger_content *);
void stashes_free(struct ledger_replica *);
bool content_here(struct ledger_replica *, const struct ledger_plan *);

/* abandoned.c: histories that the ledger left */
void abandoned_keep(struct ledger_replica *, uint64_t position);
void abandoned_keep_evidence(struct ledger_replica *, struct slot *);
void abandoned_recover_entry(struct ledger_replica *, uint8_t type, uint64_t position,
                             struct slice payload);
void abandoned_recover_rollback(struct ledger_replica *, uint64_t position);
void abandoned_start(struct ledger_replica *);
bool abandoned_write(struct ledger_replica *, const struct ledger_fetch *, size_t bytes_max);
bool abandoned_restore(struct ledger_replica *, const uint8_t link[static HASH_LEN]);
bool abandoned_recall_evidence(struct ledger_replica *, struct slot *);
bool abandoned_write_evidence(struct ledger_replica *, const uint8_t pp_hash[static HASH_LEN]);
void abandoned_free(struct ledger_replica *);

/* early.c: messages of views that we have not entered */
void early_hold(struct ledger_replica *, uint16_t from, struct slice message);
void early_replay(struct ledger_replica *);
void early_free(struct ledger_replica *);

/* fetch.c: asking peers and answering them */
bool fetch_may_ask(struct ledger_replica *);
bool fetch_allows(struct ledger_replica *, uint16_t from);
void fetch_charge(struct ledger_replica *, uint16_t from, size_t bytes);
void fetch_send(struct ledger_replica *, int to, const struct ledger_fetch *);
void fetch_answer(struct ledger_replica *, uint16_t from, struct slice message);
bool fetch_read_evidence(struct ledger_replica *, uint64_t s, struct ledger_pp *,
                         struct buffer *evidence);
void fetch_status(struct ledger_replica *, int to);
void fetch_status_heard(struct ledger_replica *, uint16_t from, struct slice message);
void fetch_evidence_heard(struct ledger_replica *, uint16_t from, struct slice message);
void evidence_check_free(struct evidence_check *);
void fetch_evidence_verified(struct ledger_replica *, struct job *);
void send_to(struct ledger_replica *, int to, struct slice message); /* -1: all */

/* replay.c */
int replay_entry(struct ledger_replica *, uint8_t type, struct slice payload, struct error *);
void replay_reset(struct ledger_replica *);
bool replay_is_whole(const struct ledger_replica *);

/* conflict.c: what accuses others */
struct conflict;
void conflict_pps(struct ledger_replica *, const struct ledger_pp *, const struct ledger_pp *);
void conflict_prepares(struct ledger_replica *, const struct ledger_prepare *,
                       const struct ledger_prepare *);
void conflict_evidence(struct ledger_replica *, const struct slot *, const struct ledger_pp *,
                       const struct ledger_evidence *);
void conflict_verified(struct ledger_replica *, struct job *);
void conflict_free(struct conflict *);

/* locate.c */
int batch_locate(const struct ledger_replica *, uint64_t s, uint64_t *position, struct ledger_pp *,
                 struct error *);

uint64_t index_locate(const struct ledger_replica *, uint64_t index);

/* search.c */
bool search_is_on(const struct ledger_replica *);
bool search_begin(struct ledger_replica *, uint64_t connection, const struct ledger_request *,
                  const uint8_t req_hash[static HASH_LEN]);
void search_run(struct ledger_replica *);

/* fragment.c */
struct walk walk_start(const struct fragment *);
bool walk_next(struct walk *);
void fragment_begin(struct ledger_replica *, struct fragment *, const struct merkle_frontier *);
void fragment_ask(struct ledger_replica *, struct fragment *, uint64_t until, uint32_t max_bytes,
                  const uint8_t *link);
void fragment_other_source(struct ledger_replica *, struct fragment *);
void fragment_ban(struct ledger_replica *, struct fragment *);
bool fragment_is_silent(struct ledger_replica *, const struct fragment *);
bool fragment_expects(const struct fragment *, uint16_t from, uint64_t position);
bool fragment_take(struct ledger_replica *, struct fragment *, struct ledger_list entries);
bool fragment_check_signatures(struct ledger_replica *, struct fragment *, size_t from);
struct stop fragment_find_link(const struct fragment *, const uint8_t link[static HASH_LEN]);
struct stop fragment_find_evidence(const struct ledger_replica *, const struct fragment *,
                                   struct ledger_pp *, struct slice *evidence);
bool fragment_holds(const struct fragment *, const struct stop *);
bool fragment_check(struct ledger_replica *, struct fragment *, const struct ledger_pp *,
                    struct slice evidence);
bool fragment_checked(const struct ledger_replica *, struct fragment *, const struct job *,
                      struct stop *);

/* transfer.c */
void transfer_want(struct ledger_replica *, uint64_t s, const uint8_t link[static HASH_LEN],
                   bool committed, int source);
void transfer_message(struct ledger_replica *, uint16_t from, struct slice message);
void transfer_verified(struct ledger_replica *, struct job *);
void transfer_again(struct ledger_replica *);
bool transfer_may_stop_in(const struct ledger_replica *, uint64_t view);
void transfer_stop(struct ledger_replica *);
void transfer_committed(struct ledger_replica *, uint64_t s);

/* install.c: taking over checkpoints */
bool install_vouched(struct ledger_replica *, const struct ledger_pp *, uint16_t from);
void install_chunk(struct ledger_replica *, uint16_t from, struct slice message);
void install_entries(struct ledger_replica *, const struct ledger_entries *);
void install_entries_checked(struct ledger_replica *, bool valid);
void install_verified(struct ledger_replica *, struct job *);
void install_again(struct ledger_replica *);
void install_stop(struct ledger_replica *);
void install_answer(struct ledger_replica *, uint16_t to, const struct ledger_fetch *);

/* backlog.c: the history behind a checkpoint */
void backlog_start(struct ledger_replica *);
void backlog_entries(struct ledger_replica *, const struct ledger_entries *);
void backlog_entries_checked(struct ledger_replica *, bool valid);
void backlog_verified(struct ledger_replica *, struct job *);
void backlog_again(struct ledger_replica *);

/* timer.c */
void timers_settle(struct ledger_replica *);
uint64_t view_timer_length(const struct ledger_replica *); /* microseconds */
bool slot_is_settled(struct ledger_replica *, struct slot *);
void timer_progress(struct ledger_replica *, bool fresh);
void retransmit(struct ledger_replica *);

#endif
