/*
 * What a replica asks of the world, and the verify jobs it gives away.
 *
 * The core (replica.h) is a pure event machine: it opens no file or socket, starts no thread and
 * reads no clock. Everything it does to the world goes through struct ledger_env; everything that
 * happens to it comes through the ledger_on_… functions. The processes of src/ledger/service and
 * the simulator of tests/sim fill in the same table.
 *
 * No function of the table may call back into the replica: completions are delivered later, by the
 * thread that owns the replica. Slices are valid during the call only; whoever needs the bytes
 * longer copies them.
 */
#ifndef LEDGER_REPLICA_ENV_H
#define LEDGER_REPLICA_ENV_H

#include "base/bytes.h"
#include "base/error.h"
#include "crypto/merkle.h"
#include "ledger/kv/kv.h"
#include "ledger/object/entry.h"
#include "ledger/object/proof.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The timers of a replica; each has at most one pending time. */
enum ledger_timer {
    LEDGER_TIMER_VIEW,       /* the primary has made no progress for too long */
    LEDGER_TIMER_RETRANSMIT, /* something of ours may have been lost */
    LEDGER_TIMER_IDLE,       /* no request for a while: bring the evidence into the ledger */
    LEDGER_TIMER_TRANSFER,   /* a peer has not answered a fetch */
    LEDGER_TIMER_PACE,       /* the next batch may be made: the one before is long enough ago */
    LEDGER_TIMERS
};

/*
 * Signatures to be checked together. The core owns the job and all that its items point to, and
 * leaves both alone until ledger_on_verified gives the job back. Jobs may be completed in any order
 * and at any later time; a driver drops those that are still out when it calls ledger_close.
 */
struct ledger_verify_job {
    const struct ledger_signature *items;
    bool
        *valid; /* the driver writes count verdicts (ZIP-215 rules, as ed25519_verify gives them) */
    size_t count;
    bool suspect;  /* an item comes from a connection that sent bad ones before: verify it apart */
    void *purpose; /* the core's */
    struct ledger_verify_job *next; /* the driver's, while it has the job */
};

/*
 * What a replica must know, beside the store, to go on from the end of batch s: the driver keeps it
 * with the checkpoint's file (all fields are public) and hands it to ledger_open.
 */
struct ledger_checkpoint {
    uint64_t s;
    uint64_t position;   /* entries of the ledger up to the end of batch s */
    uint64_t needed;     /* position of the first entry that ledger_recover must be fed */
    uint64_t silent;     /* taken over from others: nothing is signed up to this batch; else 0 */
    uint64_t next_index; /* of the next transaction */
    uint64_t gov_index;
    uint64_t view; /* that the batch stands in */
    uint32_t config;
    uint8_t pp_hash[32];
    /* The newest checkpoint before this one and its digest: dC until this one is named. */
    uint64_t before_s;
    uint8_t before_digest[32];
    struct merkle_frontier frontier; /* of the ledger tree at `position` */
    struct merkle_frontier origin;   /* … at `needed` */
};

struct ledger_env {
    void *context;

    /* Monotonic microseconds. */
    uint64_t (*now_us)(void *context);
    /* ledger_on_timer(id) is due at at_us; replaces the earlier time; 0 = none. */
    void (*timer_set)(void *context, uint32_t id, uint64_t at_us);

    /* Best effort, ordered per peer. Never to the replica itself. The parts are one message. */
    void (*send)(void *context, uint16_t to, const struct slice *parts, unsigned count);
    /* To the client behind a connection (ledger_on_client gave its number); best effort. */
    void (*reply)(void *context, uint64_t connection, const struct slice *parts, unsigned count);

    /*
     * Puts a record at the end of the log (buffered) and gives its lsn; lsns ascend over all kinds.
     * `position` is that of the ledger entry (ENTRY), the new end of the ledger (ROLLBACK), or 0;
     * `leaf` that of an entry in the ledger tree, else NULL.
     * 0, or ATOLL_ELIMIT when the disk is full (then nothing was written): the replica stops voting
     * and goes on serving reads. Any other failure is the driver's: it ends the process.
     */
    int (*append)(void *context, enum ledger_record_kind kind, uint8_t entry_type,
                  uint64_t position, const struct merkle_hash *leaf, const struct slice *parts,
                  unsigned count, uint64_t *lsn, struct error *);
    /* Everything up to lsn is wanted durable; ledger_on_durable says when. */
    void (*sync)(void *context, uint64_t lsn);
    /* The entry at a position below the end of the ledger, as it was appended; replaces what is in
     * `out`. 0, or the failure of the disk. */
    int (*read)(void *context, uint64_t position, struct buffer *out, uint8_t *entry_type,
                struct error *);

    /* Takes a job on; ledger_on_verified gives it back. */
    void (*verify)(void *context, struct ledger_verify_job *job);
    /* Signs a 32-byte hash with the replica's key. Synchronous; must not fail. */
    void (*sign)(void *context, const uint8_t hash[static 32], uint8_t signature[static 64]);

    /* Computes the digest of the snapshot taken at batch s, and keeps it as checkpoint s (it is
     * of no use if the batch is rolled back meanwhile: then the replica ignores it). The snapshot
     * belongs to the driver from here on, which releases it. */
    void (*digest)(void *context, const struct ledger_checkpoint *checkpoint,
                   struct kv_snapshot *snapshot);

    /* A chunk of the checkpoint of batch s that the driver keeps, and how many there are
     * (kv/checkpoint.h; number 0 is the manifest). 0, or a failure: then the peer who asked gets no
     * answer. May be NULL. */
    int (*checkpoint_chunk)(void *context, uint64_t s, uint32_t number, struct buffer *out,
                            uint32_t *chunks);

    /* The frontier `origin` of the checkpoint of batch s that the driver keeps; as above. */
    int (*checkpoint_origin)(void *context, uint64_t s, struct merkle_frontier *out);

    /*
     * What state transfer asks for (§6); all four or NULL, and then a replica that fell behind
     * executes the whole ledger.
     *
     * jump: the log goes on at `at`, beyond the end of the ledger; the entries between are missing,
     * and read() refuses them, until history() has brought them. As durable as a record appended
     * now. A ROLLBACK to the end before undoes it. 0, or what append may return: then nothing has
     * changed, and the replica executes history from there on.
     *
     * gap: what is missing of the oldest gap: the frontier before its first missing entry, and the
     * one behind its last. False: nothing is missing.
     *
     * jumped: where the ledger goes on behind its last jump, its gap filled or not; 0: it never
     * jumped, or took it back.
     *
     * history: the first missing entry of the oldest gap. 0; ATOLL_ECORRUPT when it was the last
     * one and does not lead to what is behind it (then the gap is as it was); or a failure of the
     * disk: a while later the replica asks gap() again, and goes on from there.
     */
    int (*jump)(void *context, const struct merkle_frontier *at, struct error *);
    bool (*gap)(void *context, struct merkle_frontier *from, struct merkle_frontier *goal);
    uint64_t (*jumped)(void *context);
    int (*history)(void *context, uint8_t entry_type, struct slice payload, struct error *);

    /* Quarantine is over: the next start of this replica needs none. May be NULL. */
    void (*rejoined)(void *context);

    /* Another replica signed two statements that contradict each other: the proof, as a file
     * (object/proof.h), for keeping. At most one of each type and replica in a life. May be NULL.
     */
    void (*proof)(void *context, const struct ledger_proof *, struct slice file);

    /* For people and counters: the replica stopped for good, and why. May be NULL. */
    void (*stopped)(void *context, const char *why);
};

#endif
