/*
 * A replica of the accountable ledger (spec/ledger §4.1, §5, §6): a pure event machine.
 *
 * Events go in through ledger_on_…; effects come out through struct ledger_env (env.h). A replica
 * belongs to one thread. It has no global state, so a process may run many.
 *
 *   life:  ledger_open → ledger_recover* → ledger_start → events* → ledger_close
 *
 * Every event may be followed by any other; after a burst of events the owner calls ledger_settle,
 * which closes what was gathered: verify jobs, a batch, replies. Nothing that comes from outside
 * (a message, a client, a log record) can make it abort; what a fault of our own would break is
 * asserted, also in release builds (I1-I9 of the specification).
 *
 * Errors: negative ATOLL_E… with a sentence. Events return nothing: a bad message is dropped and
 * counted (ledger_status), as the protocol wants it.
 */
#ifndef LEDGER_REPLICA_H
#define LEDGER_REPLICA_H

#include "ledger/replica/env.h"

struct ledger_replica;

struct ledger_config {
    struct slice genesis;  /* encoded; copied */
    uint16_t replica;      /* our number, below N */
    uint8_t nonce_key[32]; /* k_nonce of §3 (HKDF of the signing seed) */
    uint8_t table_key[16]; /* random: spreads what strangers name over the buckets of tables */
    /* The store: at the state of `checkpoint`, or at the genesis state when that is NULL. The
     * replica owns it from a successful ledger_open on. */
    struct kv *kv;
    const struct ledger_checkpoint *checkpoint;
    /* Async durability and the machine (not only the process) stopped uncleanly: sign nothing until
     * a certificate beyond everything we could have signed is held (§4.1, rejoin=quarantine). */
    bool quarantine;
    uint64_t pool_bytes;      /* of requests waiting; 0 = LEDGER_POOL_BYTES */
    uint32_t pool_per_client; /* requests waiting of one client; 0 = LEDGER_POOL_PER_CLIENT */
};

#define LEDGER_POOL_BYTES      (64u << 20)
#define LEDGER_POOL_PER_CLIENT 8192

/* ---- life ---- */

/* 0 and *out, or ATOLL_EINVAL, ATOLL_ENOMEM. Both pointers of the arguments are copied from. */
int ledger_open(const struct ledger_config *, const struct ledger_env *,
                struct ledger_replica **out, struct error *);
/* One record of the log, in the order of the lsns, as env->append got it (parts joined). With a
 * checkpoint, entries may begin at any position up to its `needed`. ATOLL_ECORRUPT
 * when the log contradicts itself or the store: do not start. */
int ledger_recover(struct ledger_replica *, enum ledger_record_kind, uint8_t entry_type,
                   uint64_t position, const void *payload, size_t len, struct error *);
/* All records were fed. An empty log gets its genesis entry here; when the disk is too full for
 * that the replica starts as stopped. ATOLL_ECORRUPT as above; also when the ledger does not hold
 * the batch of the checkpoint (it was taken back): open with an older one. */
int ledger_start(struct ledger_replica *, struct error *);
/* Frees everything at any moment after ledger_open, with jobs out or not; those are not completed
 * any more. NULL is allowed. */
void ledger_close(struct ledger_replica *);

/* ---- events ---- */

/* A message of another replica, whose link has authenticated it. Copied where needed. */
void ledger_on_message(struct ledger_replica *, uint16_t from, const void *message, size_t len);
/* A message of a client; the owner gives every connection a number that it never uses again. */
void ledger_on_client(struct ledger_replica *, uint64_t connection, const void *message,
                      size_t len);
void ledger_on_client_gone(struct ledger_replica *, uint64_t connection);
void ledger_on_timer(struct ledger_replica *, uint32_t id);
/* Everything up to lsn is durable. lsns never descend. */
void ledger_on_durable(struct ledger_replica *, uint64_t lsn);
void ledger_on_verified(struct ledger_replica *, struct ledger_verify_job *);
/* The digest of a checkpoint that env->digest was given (s and pp_hash say which; the others of its
 * members are not looked at). */
void ledger_on_digest(struct ledger_replica *, const struct ledger_checkpoint *,
                      const uint8_t digest[static 32]);
/* After every burst of events. */
void ledger_settle(struct ledger_replica *);

/* ---- looking in ---- */

enum ledger_phase {
    LEDGER_RECOVERING,  /* before ledger_start */
    LEDGER_NORMAL,      /* follows its view */
    LEDGER_VIEW_CHANGE, /* sent a ViewChange, has not entered the new view */
    LEDGER_ABSTAINING,  /* follows, but signs nothing in this view (§5, abstain) */
    LEDGER_TRANSFER,    /* fetches history */
    LEDGER_QUARANTINE,  /* signs nothing after an unclean stop */
    LEDGER_STOPPED,     /* the committed floor was contradicted, or the disk is full */
    LEDGER_ASTRAY,      /* its ledger stands on another NewView of its view than the one that it
                         * followed: takes no part until a later view */
};

struct ledger_status {
    enum ledger_phase phase;
    uint32_t config;
    uint64_t view, view_change_sent;
    uint64_t s_last, s_prepared, s_committed;
    uint64_t next_position, next_index;
    uint64_t pool_requests, pool_bytes;
    /* Counters since ledger_open. */
    uint64_t transactions, batches, view_changes, messages_dropped, signatures_bad, requests_busy;
    uint64_t batches_refused, equivocations;
    const char *why; /* it stopped, or refused a pp last; for people; "" = neither */
};

void ledger_status(const struct ledger_replica *, struct ledger_status *);

struct ledger_batch_info {
    uint64_t view, s, first_index;
    uint64_t position; /* of the PP entry */
    uint32_t count;
    uint8_t kind;
    uint8_t pp_hash[32], g[32];
};

/* A batch of the ledger as it stands now. ATOLL_ENOENT when s is not in it; reads the log for old
 * ones. */
int ledger_batch_at(const struct ledger_replica *, uint64_t s, struct ledger_batch_info *,
                    struct error *);
/* The root of the ledger tree at its present end. */
void ledger_root(const struct ledger_replica *, uint8_t root[static 32]);

#endif
