/*
 * The writer: the one thread that changes the store. It carries out operations in the order in
 * which they arrive, many in one transaction, and keeps locks and objects.
 */
#ifndef STORE_WRITER_H
#define STORE_WRITER_H

#include "store/completions.h"
#include "store/live.h"
#include "store/lock.h"
#include "store/value.h"

#define WRITER_BATCH_OPERATIONS 1000u
#define WRITER_BATCH_BYTES      (16u << 20) /* of its log */
#define WRITER_BATCH_NS         5000000u    /* from a batch's first write to its synchronisation */
#define WRITER_ALONE_BYTES      (4u << 20)  /* a heavier operation gets a transaction of its own */
#define WRITER_RETRY_NS         100000000u  /* between attempts on a full disk */
#define WRITER_LOCKS_MAX        (1u << 20)

struct writer_counters {
    _Atomic uint64_t operations, commits, commit_ns, commits_failed, map_grown;
};

struct writer {
    /* set by the store */
    struct environment *environment;
    struct completions *completions;
    struct mailbox *readers;
    uint64_t (*clock)(void *context); /* NULL: the system's */
    void *clock_context;
    struct mailbox inbox;
    struct writer_counters counters;

    /* its own */
    pthread_t thread;
    struct batch batch;
    struct operation *members, *members_last; /* of the batch, by next_member */
    uint32_t batch_operations;
    uint64_t batch_until; /* monotonic ns; 0: nothing written yet */
    bool batch_urgent;    /* somebody waits for it to be on disk */
    bool acknowledged;    /* somebody was told of what is not on disk yet */
    bool stuck;           /* the disk refused the batch; retry_at */
    uint64_t retry_at;
    struct error stuck_error;
    bool garbage;
    struct sequence sequence;
    uint64_t sequence_kept; /* its limit on disk */
    struct lock_table *locks;
    struct live_table lives;
    uint8_t *chunk;
    struct operation_list ready;
    struct operation *released;
    uint32_t unpublished;
};

int writer_start(struct writer *, struct error *);
/* Its inbox was closed. A negative code when acknowledged operations could not be written. */
int writer_join(struct writer *, struct error *);

#endif
