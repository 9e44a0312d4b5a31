/*
 * The worker process: one tenant's guests.
 *
 *   guest threads    take the deepest runnable call, run it in an arena until it ends, parks or its
 *                    slice is over; reset what ended; drain the ring before they sleep
 *   timekeeper       deadlines, slices, descriptors that parked calls wait for; drains the ring
 * when every guest thread is busy
 *
 * A faaslet is an arena with what belongs to it: its version, WASI world, regions, handles. A call
 * has a faaslet from its start to its end. A host function finds both through the arena; it
 * finishes at once or parks, and never blocks its thread. Each file import_….c offers one table of
 * host functions; import.c looks names up in them.
 *
 * Threading: what belongs to a faaslet or a running call is touched by the thread that runs it;
 * queues, the tree of calls and pools under worker.lock. No lock is held when guest code runs, and
 * none when a call parks.
 *
 * This header is what import files need. process.h is the inside of the process, docs/worker.md the
 * whole story.
 */
#ifndef NODE_WORKER_WORKER_H
#define NODE_WORKER_WORKER_H

#include "engine/arena.h"
#include "node/link.h"
#include "node/worker/output.h"
#include "sandbox/snapshot.h"
#include "sandbox/wasi/wasi.h"

struct worker;
struct version; /* a loaded function version: manifest, image, pool; version.h */
struct proto;   /* what its faaslets are restored from */
struct call;    /* one execution; call.h */
struct app;     /* a tree of them */
struct guest_thread;
struct attachments;
struct sockets; /* import_net.c */

struct faaslet {
    struct arena *arena;
    struct version *version;
    struct call *call; /* NULL while it lies in the pool */
    struct worker *worker;
    struct wasi *wasi;
    struct attachments *state; /* import_state.c: handles and mappings of this call; NULL = none */
    /* Called when a call has ended, before the reset, by the thread that ran it or another. Set by
     * import_state.c together with state; cleared by the call of it. */
    void (*state_end)(struct faaslet *);
    struct faaslet *next;  /* in the pool */
    struct answer *answer; /* see faaslet_answer */

    /* ---- of the current call ---- */
    struct guest_thread *thread; /* that runs it now */
    struct output output;
    uint32_t input_address; /* of the mapped input, 0 = none */
    uint32_t log_lines;
    uint64_t log_bytes;
    struct buffer reply_head; /* atoll_http_reply */
    struct sockets *sockets;  /* import_net.c; NULL = none */
    char *shared_asked;       /* shared_files.c: what an answer is awaited for, malloc'ed */
    char *failure;            /* atoll_fail's message, malloc'ed; NULL = none */
    uint32_t failure_len;
    bool asked_name;       /* callee.c has asked what a name means, … */
    uint64_t name_epoch;   /* … when this was worker.name_epoch */
    uint32_t functions[3]; /* to run, one after the other; the last one's result counts */
    uint8_t function_count, function_at;

    /* ---- private to pool.c and ask.c ---- */
    struct proto *proto;           /* that it was restored from; NULL: a zygote's */
    struct faaslet *older, *newer; /* idle faaslets of the process by time of last use */
    int64_t idle_since_ns;
    uint64_t charge;       /* bytes it counts for in worker.memory_used */
    uint32_t list;         /* enum idle_list: that it stands in while it is idle */
    bool used;             /* ran a call since the last reset */
    bool returned;         /* the call came to the end of its last function */
    bool kept;             /* not to be reset, its memory is for … */
    struct app *kept_for;  /* … calls of this tree, which is referenced; NULL = all of the tenant */
    bool trapped;          /* to be destroyed, not reset */
    bool apart;            /* made for a call that wanted a new one */
    bool answered;         /* the open request's answer has come */
    uint64_t request;      /* open request, 0 = none */
    struct buffer payload; /* the answer's */
};

/* The faaslet whose guest makes this host call. */
static inline struct faaslet *faaslet_of(const struct host_call *c)
{
    return c->arena->owner;
}

/* ---- asking the supervisor from a host function ---- */

struct answer {
    int64_t result;
    const uint8_t *payload;
    uint32_t payload_len;
    int fd; /* owned by the answer unless taken (set to -1) */
};

/* On the first entry: sends the request and returns HOST_PARK; the host function returns that. When
 * the answer has come, the host function is called again with resumed set and finds it by
 * faaslet_answer, which is valid until the next faaslet_ask or the end of the host call.
 * fd: a descriptor to send along, or -1. timeout_ns: 0 = none; an answer that has not come then is
 * replaced by -ATOLL_ETIMEDOUT, and a late one is dropped. */
enum host_status faaslet_ask(struct host_call *, enum request_kind, const void *payload,
                             uint32_t len, int fd, uint64_t timeout_ns);
const struct answer *faaslet_answer(struct faaslet *);
/* Sends a request that has no answer. */
void faaslet_tell(struct faaslet *, enum request_kind, const void *payload, uint32_t len);

/* ---- host functions ---- */

struct import_entry {
    const char *name;      /* NULL ends a table */
    const char *signature; /* "iiji:i": parameters, then the result; i l f d = i32 i64 f32 f64 */
    host_function function;
};
extern const struct import_entry imports_call[];   /* import_call.c: call_info … config */
extern const struct import_entry imports_chain[];  /* import_chain.c: chain, chain_fn */
extern const struct import_entry imports_batch[];  /* import_batch.c: chain_batch */
extern const struct import_entry imports_await[];  /* import_await.c: await */
extern const struct import_entry imports_result[]; /* import_result.c: result_… cancel, forget */
extern const struct import_entry imports_state[];  /* import_state.c: open … unlock */
extern const struct import_entry imports_state_bytes[]; /* import_state_bytes.c: read … unmap */
extern const struct import_entry
    imports_state_entries[];                       /* import_state_entries.c: append … list */
extern const struct import_entry imports_object[]; /* import_object.c */
extern const struct import_entry
    imports_system[];                           /* import_system.c: random, now, metric, mem_map */
extern const struct import_entry imports_net[]; /* import_net.c: sock_…, resolve */

/* Sets the call's one result. */
static inline enum host_status host_result_i32(struct host_call *c, int32_t value)
{
    c->slots[0].u64 = (uint32_t)value;
    return HOST_DONE;
}
static inline enum host_status host_result_i64(struct host_call *c, int64_t value)
{
    c->slots[0].i64 = value;
    return HOST_DONE;
}

/* ---- what import files need of the call ---- */
/* Whether the version's manifest gives `rights` (enum state_right) for the key; keys of others
 * ("@owner/key") need the supervisor's grant as well. */
bool version_state_right(const struct version *, const void *key, uint32_t len, uint32_t rights);
/* True while _initialize and atoll_zygote run: chaining, sockets and pushes are refused (EPERM). */
bool call_is_zygote(const struct call *);
/* Counts bytes for the call's record. */
void call_count_state(struct call *, uint64_t pulled, uint64_t pushed);

/* ---- the process ---- */

struct worker_settings {
    uint32_t threads;                     /* that run guests; 0 = online processors */
    uint32_t instances_max;               /* 0 = as many as slots and mappings allow; at least
                                             WORKER_INSTANCES_MIN */
    uint64_t network_rate, network_burst; /* of all guests, each way, bytes a second and bytes; 0 =
                                             100 MiB/s, 10 MiB */
    uint64_t memory_bytes; /* that the tenant's running calls may take; 0 = a quarter of the
                              machine's */
};
#define WORKER_THREADS_MAX   256u
#define WORKER_INSTANCES_MIN 72u /* a root starts while 64 are free */

/* Runs until the supervisor says stop or is gone; the process's exit status. */
int worker_main(const int descriptors[static LINK_DESCRIPTORS], const struct worker_settings *);

#endif
