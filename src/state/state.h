/*
 * The local tier: this node's copies of values, shared in memory by every call that opens them
 * (spec/faaslets §8).
 *
 *     guests ── map ──▶ memory file of a value ◀── pull, push ──▶ global tier (store/gt.h)
 *     worker ── ring: state/wire.h ──▶ struct state_tier (supervisor's loop thread)
 *
 * A value's bytes lie in one memory file that the supervisor creates and that the tenant's workers
 * map. Everything that is known about them (which chunks are here, what was written, versions,
 * locks, who holds what) lies in the supervisor, in ordinary structures that one thread touches.
 * What a worker must know at every step is published in the tenant's slots (state/segment.h).
 *
 * docs/state.md is the contract with the authors of functions.
 *
 * Threading: everything here belongs to one thread, the one that owns the global tier's back end;
 * all callbacks run there, some of them before the call that was given them returns.
 *
 * Trust: a worker runs guests, so its requests are checked like any outside input: which slots a
 * call opened, with which rights, of which tenant. What a worker writes into a value that its
 * tenant may write is the tenant's own affair.
 */
#ifndef STATE_STATE_H
#define STATE_STATE_H

#include "state/wire.h"
#include "store/gt.h"

#define STATE_VALUE_MAX      (1ull << 38) /* bytes of one value that this tier opens */
#define STATE_CALL_OPENS_MAX 1024u        /* values that one call has open */
#define STATE_REQUESTS_MAX   65536u       /* unanswered requests of one worker */
#define STATE_WORKERS_MAX    4096u
#define STATE_LEASE_NS       10000000000ll /* of a global lock */
#define STATE_RENEW_NS       3000000000ll  /* how often it is renewed while held */
#define STATE_NEVER          INT64_MAX

/* What another tenant may do with a key; the bits of a manifest's r, w, l, d. */
enum state_grant {
    STATE_GRANT_READ = 1,
    STATE_GRANT_WRITE = 2,
    STATE_GRANT_LOCK = 4,
    STATE_GRANT_DELETE = 8,
    STATE_GRANT_ALL = 15
};

struct state_tier;

struct state_options {
    struct gt *gt;
    /* Owners of locks and objects in the global tier are numbered from here on: unique among all
     * nodes and all runs of them. */
    uint64_t owner_base;
    uint64_t local_max; /* bytes of values (and of what tracking costs) kept on this node */
    void *context;      /* of the three functions */
    int64_t (*now)(void *context);               /* monotonic ns */
    void (*timer)(void *context, int64_t at_ns); /* call state_tick once, then (STATE_NEVER: not);
                                                    replaces what was asked before */
    /* Rights that `owner` granted to `tenant` for a key (enum state_grant). NULL: none, ever. */
    uint32_t (*granted)(void *context, const char *tenant, const char *owner, const void *key,
                        size_t key_len);
};

int state_create(const struct state_options *, struct state_tier **out, struct error *);
/* After the back end has run its last callback. Requests that still wait get -ATOLL_ECANCELED;
 * bytes that were never pushed are gone. NULL is allowed. */
void state_destroy(struct state_tier *);

/* Runs what is due. */
void state_tick(struct state_tier *);

/* ---- workers ---- */

/* A worker process of this tenant begins; `worker` is any number but those in use.
 * -ATOLL_EEXIST, -ATOLL_ELIMIT, -ATOLL_EINVAL for a name that is none. */
int state_worker_join(struct state_tier *, uint32_t worker, const char *tenant, struct error *);
/* It died. Its calls hold nothing any more; values that it had open for writing and that are not
 * local to the node lose what was not pushed and are pulled again. */
void state_worker_lost(struct state_tier *, uint32_t worker);
/* A call ended in whatever way: its locks are released, its waiting requests get -ATOLL_ECANCELED,
 * its values are closed. */
void state_call_ended(struct state_tier *, uint32_t worker, uint64_t call);

struct state_client {
    uint32_t worker; /* one that joined */
    uint64_t call;   /* not 0 */
};

/* Valid during the callback only. */
struct state_answer {
    int64_t result;            /* 0 or the operation's number, or a negative ATOLL_E… code */
    const struct error *error; /* the sentence; NULL when result is not negative */
    int fd;                    /* a descriptor to pass on; stays the tier's. -1: none */
    struct state_reply reply;
};
typedef void (*state_done)(void *context, const struct state_answer *);

/* Does what a request says; done (may be NULL) runs exactly once, unless the operation has no
 * answer (state_op_answers). The request's key and data are copied. The worker checks its guests'
 * rights by their manifests; the tier checks tenants and grants. */
void state_submit(struct state_tier *, struct state_client, const struct state_request *,
                  state_done done, void *context);

/* ---- the supervisor's own changes (HTTP) ----
 *
 * Values as the outside sees them are the global tier's: read them there (gt->ops->getrange, stat,
 * entries, list), where one read is one moment of one version. These change it and then bring this
 * node's copy up to date before they call back, so that a function called next sees the change.
 */

/* gt->ops->commit. */
int state_commit(struct state_tier *, const struct gt_key *, const struct gt_commit *,
                 struct gt_callback, struct error *);
/* gt->ops->delete. */
int state_delete(struct state_tier *, const struct gt_key *, uint32_t flags, struct gt_callback,
                 struct error *);

/* ---- numbers ---- */

struct state_counters {
    uint64_t values, local_bytes; /* now; bytes include those kept for comparison */
    uint64_t pull_bytes, push_bytes, pulls, pushes, evictions; /* since the start */
    uint64_t waiting;                                          /* requests without an answer, now */
};
void state_counters(const struct state_tier *, struct state_counters *);

#endif
