/*
 * Reader–writer locks as leases with fencing tokens: a pure table, no thread, no clock, no disk.
 * The store keeps one for the locks of the global tier; a node may keep another for locks of its
 * own scope (spec/faaslets §8.3).
 *
 * First come, first served: a request waits while an earlier one for the same key waits, so a
 * stream of readers does not starve a writer. Neighbouring readers share the lock. Not recursive.
 *
 * A request that must wait is answered later: lock_answered brings the answers in order.
 */
#ifndef STORE_LOCK_H
#define STORE_LOCK_H

#include "store/deadlines.h"
#include "store/gt.h"

#define LOCK_KEY_MAX 512
#define LOCK_WAITS   1

struct lock_table;

/* claims_max: held and waiting ones together. NULL when memory is missing. */
struct lock_table *lock_table_create(uint32_t claims_max);
/* Also ends what waits, unanswered. */
void lock_table_destroy(struct lock_table *);

struct lock_request {
    const void *key;
    size_t key_len; /* 1..LOCK_KEY_MAX */
    enum gt_lock_mode mode;
    uint64_t owner;
    uint64_t token;         /* what it will be known by, not 0, never used before */
    uint64_t lease_ns;      /* >= 1 */
    uint64_t wait_until_ns; /* DEADLINE_NEVER: for ever; <= now: -ATOLL_EAGAIN instead of waiting */
    void *ticket;           /* comes back with the answer */
};

/* 0: held from now on; LOCK_WAITS; -ATOLL_EAGAIN; -ATOLL_EDEADLK: the owner holds the lock or waits
 * for it already; -ATOLL_ELIMIT; -ATOLL_ENOMEM. Leases that ran out by `now` count no longer. */
int lock_acquire(struct lock_table *, const struct lock_request *, uint64_t now_ns, struct error *);
/* -ATOLL_ESTALE when the token is not held (any more). */
int lock_renew(struct lock_table *, const void *key, size_t key_len, uint64_t token,
               uint64_t lease_ns, uint64_t now_ns, struct error *);
int lock_release(struct lock_table *, const void *key, size_t key_len, uint64_t token,
                 uint64_t now_ns, struct error *);
bool lock_held(struct lock_table *, const void *key, size_t key_len, uint64_t token,
               uint64_t now_ns);
/* Releases what the owner holds; what it waits for is answered with -ATOLL_ECANCELED. */
void lock_owner_end(struct lock_table *, uint64_t owner, uint64_t now_ns);
/* Ends leases and waits whose time has come. */
void lock_expire(struct lock_table *, uint64_t now_ns);
/* As lock_owner_end for every owner. */
void lock_cancel_all(struct lock_table *);
/* When lock_expire has something to do, or DEADLINE_NEVER. */
uint64_t lock_next(const struct lock_table *);

struct lock_answer {
    void *ticket;
    uint64_t token;
    int code; /* 0: held; -ATOLL_ETIMEDOUT, -ATOLL_ECANCELED */
};

/* False when there is no more. */
bool lock_answered(struct lock_table *, struct lock_answer *);
/* Requests that wait and are not answered. */
uint32_t lock_waiting(const struct lock_table *);

#endif
