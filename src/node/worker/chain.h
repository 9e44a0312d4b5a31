/*
 * Chaining between the files that make it: from what a guest asks for to a call.
 *
 *   callee.c        options, and what a name means
 *   child.c         a call below another: limits, deadline, its place in the queue
 *   child_remote.c  one that another worker runs
 *   import_chain.c, import_batch.c, import_await.c, import_result.c   the host functions
 *
 * A host function decodes and checks everything first and changes nothing; what follows the checks
 * does not fail halfway, or takes back what it has done.
 */
#ifndef NODE_WORKER_CHAIN_H
#define NODE_WORKER_CHAIN_H

#include "node/worker/process.h"

#include "engine/link.h"

enum chain_flag { CHAIN_DETACH = 1, CHAIN_LOCAL = 2, CHAIN_FRESH = 4, CHAIN_GANG = 8 };

/* struct atoll_chain_opts of atoll.h. */
struct chain_options {
    uint32_t size, flags;
    uint64_t timeout_ns;
    uint32_t retries, priority;
    uint32_t affinity_ptr, affinity_len;
    uint64_t memory_max;
    uint32_t policy_ptr, policy_len;
};
_Static_assert(sizeof(struct chain_options) == 48, "atoll.h");

/* What is to be started. */
struct chain {
    struct chain_options options;
    struct version *version; /* held by callee_find: version.calls */
    uint32_t remote;         /* number of a version that another worker runs; UINT32_MAX = none */
    uint32_t function;       /* of chain_fn; UINT32_MAX */
    uint32_t count;
    uint32_t ids_at; /* where the guest wants the ids, 0 with `no_ids` */
    bool no_ids;
};

/* ---- callee.c ---- */

/* Reads the options at a guest's address, 0 = none, and checks them. */
int chain_options_read(struct host_call *, uint32_t at, struct chain_options *);
/* "tenant/name" from the guest's "name" or "tenant/name", both with or without "@alias"; checked
 * against the manifest. */
int callee_name(struct host_call *, uint32_t at, uint32_t len, char out[NAME_TEXT_MAX],
                uint32_t *out_len);
/* The version that a name means, held, or the number of one that another worker runs. 1: the
 * supervisor was asked, park; call again when resumed. */
int callee_find(struct host_call *, const char *name, uint32_t len, struct chain *);
/* Under worker.lock. */
void callee_let_go(struct worker *, struct chain *);

/* ---- child.c ---- */

/* Whether the call may have n more children; -ATOLL_EAGAIN: no ids yet. Under worker.lock. */
int children_allowed(struct worker *, const struct call *parent, uint32_t n);
/* A child that is in no queue yet; NULL without memory. Under worker.lock, after
 * children_allowed. */
struct call *child_make(struct worker *, const struct chain *, struct call *parent,
                        struct version *, struct blob *input, int64_t now);
/* Into the queue, which is prepared; nothing can fail. Under worker.lock. */
void child_start(struct worker *, struct call *, const struct call *parent);
/* Wakes somebody for n calls that were queued, except for one that its parent is likely to wait
 * for. Without locks. */
void children_announce(struct guest_thread *, uint32_t n, int64_t now);
/* A copy of guest bytes. 0 and NULL for none. */
int child_input(struct host_call *, uint32_t at, uint64_t len, struct blob **out);
/* There are no call ids: the supervisor is asked for more, and the guest waits. */
enum host_status ids_wait(struct host_call *, struct worker *, uint32_t n);

/* ---- child_remote.c ---- */

/* A child that another worker runs; takes the input over when it succeeds. Without locks. */
int child_remote_start(struct worker *, struct call *parent, const struct chain *,
                       struct blob *input, uint64_t *id);

#endif
