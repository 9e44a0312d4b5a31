/*
 * Other replicas: asking them and answering them within a budget (fetch.c), what they say of
 * themselves, and what accuses them (conflict.c).
 *
 * Part of core.h.
 */
#ifndef LEDGER_REPLICA_PEERS_H
#define LEDGER_REPLICA_PEERS_H

#include "ledger/replica/batches.h"

struct ledger_replica;
struct fragment;
struct job;

/* Answers that one peer may cause: a burst, and what it may go on with. Each counts as at least
 * ANSWER_COST_MIN bytes. */
#define ANSWERS_BURST   (64u << 20)
#define ANSWERS_PER_US  256
#define ANSWER_COST_MIN (16u << 10)

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

/* fetch.c: asking peers and answering them */
bool fetch_may_ask(struct ledger_replica *);
bool fetch_allows(struct ledger_replica *, uint16_t from);
void fetch_charge(struct ledger_replica *, uint16_t from, size_t bytes);
void fetch_send(struct ledger_replica *, int to, const struct ledger_fetch *);
void fetch_answer(struct ledger_replica *, uint16_t from, struct slice message);
bool fetch_read_evidence(struct ledger_replica *, uint64_t s, struct ledger_pp *,
                         struct buffer *evidence);
void fetch_status(struct ledger_replica *, int to);
void fetch_evidence_again(struct ledger_replica *);
void fetch_status_heard(struct ledger_replica *, uint16_t from, struct slice message);
void fetch_evidence_heard(struct ledger_replica *, uint16_t from, struct slice message);
void evidence_check_free(struct evidence_check *);
void fetch_evidence_verified(struct ledger_replica *, struct job *);
void send_to(struct ledger_replica *, int to, struct slice message); /* -1: all */

/* conflict.c: what accuses others */
struct conflict;
void conflict_pps(struct ledger_replica *, const struct ledger_pp *, const struct ledger_pp *);
void conflict_prepares(struct ledger_replica *, const struct ledger_prepare *,
                       const struct ledger_prepare *);
void conflict_evidence(struct ledger_replica *, const struct slot *, const struct ledger_pp *,
                       const struct ledger_evidence *);
void conflict_verified(struct ledger_replica *, struct job *);
void conflict_free(struct conflict *);

#endif
