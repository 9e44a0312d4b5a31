/*
 * What leaves a replica and comes back, through struct ledger_env: signatures that others check
 * (job.c), records on their way to the disk and what waits for them (append.c), timers (timer.c).
 *
 * Part of core.h.
 */
#ifndef LEDGER_REPLICA_EFFECTS_H
#define LEDGER_REPLICA_EFFECTS_H

#include "ledger/object/quorum.h"
#include "ledger/replica/replica.h"

struct ledger_replica;
struct slot;

#define RETRANSMIT_FIRST_US 100000
#define RETRANSMIT_LAST_US  1000000
#define IDLE_US             50000
/* Between two batches of which the first had at least so many transactions. */
#define PACE_US                2500
#define PACE_TRANSACTIONS      32
#define FETCH_AGAIN_US         100000
#define VIEW_TIMEOUT_DOUBLINGS 6

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

/* job.c */
struct job *job_take(struct ledger_replica *, enum job_kind, size_t room);
bool job_room(struct job *, size_t room);
void job_send(struct ledger_replica *, struct job *);
void job_give(struct ledger_replica *, struct job *);
void job_free_all(struct ledger_replica *);

/* ---- records, and durability ---- */

enum waiting { WAITING_SIGNED, WAITING_CERTIFICATE, WAITING_VIEW_CHANGE, WAITING_NEW_VIEW };

struct waiter {
    uint64_t lsn;
    enum waiting what;
    uint64_t view, s;
    uint8_t pp_hash[HASH_LEN];
};

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

/* ---- timers ---- */

/* timer.c */
void timers_settle(struct ledger_replica *);
uint64_t view_timer_length(const struct ledger_replica *); /* microseconds */
void timer_progress(struct ledger_replica *, bool fresh);

#endif
