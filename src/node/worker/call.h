/*
 * Calls: the tree that chaining makes, and what becomes of each.
 *
 *   created ─▶ QUEUED ─▶ RUNNING ⇄ PARKED ─▶ READY ─▶ RUNNING … ─▶ ENDED ─▶ freed
 *                 ▲          │ slice over ─▶ READY
 *                 └──────────┘ failed and retried after a while (WAITING)
 *
 * A call is kept, with its output, until its parent ends or forgets it; roots and detached calls
 * are freed when their result has been sent. When a parent ends, its children that have not ended
 * are cancelled and lose their parent.
 *
 * A stop (cancellation, deadline) is noted in the call; whoever has it acts on it: a queued or
 * parked call is made ready and ends instead of running, a running one is interrupted.
 *
 * Everything here under worker.lock, unless said otherwise. Source: the project's faaslets
 * specification, section 9.
 */
#ifndef NODE_WORKER_CALL_H
#define NODE_WORKER_CALL_H

#include "node/blob.h"
#include "node/message.h"
#include "node/worker/timer.h"

#include <stdatomic.h>
#include <sys/queue.h>

/* Per app; beyond them -ATOLL_ELIMIT. */
#define CALL_DEPTH_MAX    64u
#define CALL_CHILDREN_MAX 100000u
#define CALL_LIVE_MAX     1000000u
#define CALL_RETRIES_MAX  100u

struct worker;
struct version;
struct faaslet;

enum call_stage {
    STAGE_WAITING, /* for a retry */
    STAGE_REMOTE,  /* another worker runs it */
    STAGE_QUEUED,
    STAGE_READY, /* has a faaslet, or only has to be ended */
    STAGE_RUNNING,
    STAGE_PARKED,
    STAGE_ENDED,
};

enum call_stop { STOP_NONE, STOP_CANCEL, STOP_DEADLINE };

/* A tree of calls: what all have in common. Counted: one reference per call. */
struct app {
    uint64_t id;
    uint32_t references;
    uint32_t live;     /* calls not ended */
    uint32_t started;  /* calls below the root */
    bool graph;        /* tell of every chained call */
    bool http;         /* the root came with a head */
    bool foreign;      /* the root was chained by another tenant's function */
    uint32_t kept;     /* idle faaslets that are kept for its calls */
    struct blob *head; /* NULL = none */
    struct blob *arguments;
    uint8_t trace_id[16], span_id[8];
};

struct call {
    uint64_t id;
    uint64_t root_parent; /* of a root: the call of another worker that chained it, 0 */
    struct app *app;
    struct call *parent; /* NULL: a root, or detached, or the parent has ended */
    LIST_HEAD(, call) children;
    LIST_ENTRY(call) sibling;
    LIST_ENTRY(call) same_hash;
    struct version *version;
    struct faaslet *faaslet; /* from start to end */

    uint8_t stage;        /* enum call_stage */
    _Atomic uint8_t stop; /* enum call_stop; looked at without the lock */
    uint8_t depth;
    uint8_t priority; /* 0 … 9 */
    uint8_t temperature;
    uint8_t attempt, retries;
    bool root;         /* its result goes to the supervisor */
    bool zygote;       /* makes a version ready */
    bool fresh;        /* never in a used instance */
    bool cold;         /* waited for its version to be loaded */
    bool exempt;       /* from its version's concurrency: it is below a call of the same version */
    bool started;      /* it has a slot: was taken from the queue and has not ended */
    bool sliced;       /* stands among those whose slice is over */
    bool ending;       /* was stopped before it became ready the last time */
    bool direct;       /* runs on its parent's thread, which waited */
    bool woken;        /* while it ran: do not park */
    bool awaiting;     /* parked in atoll_await */
    uint32_t function; /* entry of the table to call, UINT32_MAX = the version's entry */

    TAILQ_ENTRY(call) queue;
    struct timer deadline, wake;
    int64_t deadline_ns; /* CLOCK_MONOTONIC; INT64_MAX = none */
    uint64_t memory_max; /* 0 = the version's */
    uint64_t request;    /* REMOTE: the request to the supervisor */

    struct blob *input, *output; /* NULL = empty */
    int32_t status, code;        /* when ENDED; else PENDING or RUNNING by stage */
    char *text;                  /* why it failed; NULL */

    uint32_t child_count;  /* ever chained */
    uint32_t descendants;  /* calls below it that have ended */
    uint32_t await_weight; /* as a child: entries of the parent's await that it is */
    int64_t await_need;    /* as a parent: entries that must still end */
    uint32_t index, count; /* in its batch */

    int64_t queued_ns, segment_ns; /* when it was admitted, last taken up by a thread */
    uint64_t queue_ns, restore_ns, run_ns;
    uint64_t memory_bytes, input_len, output_len;
    uint64_t pulled, pushed; /* state */
};

/* ---- making ---- */

/* A call with an app of its own (parent NULL) or in its parent's, QUEUED nowhere yet. NULL without
 * memory. Takes no references. */
struct call *call_create(struct worker *, struct call *parent, uint64_t id);
/* An app for a root. */
struct app *app_create(uint64_t id);
void app_release(struct app *);
/* Frees a call that is in no tree and no queue. */
void call_free(struct worker *, struct call *);
/* Frees the storage of freed calls, which is kept for the next ones. */
void call_storage_free(struct worker *);

/* The call of that id, or NULL. */
struct call *call_find(struct worker *, uint64_t id);
/* The child of parent with that id, or NULL. */
struct call *call_child(struct worker *, const struct call *parent, uint64_t id);

/* ---- ending ---- */

struct call_end {
    enum call_status status;
    int32_t code;
    const char *text;    /* NULL */
    struct blob *output; /* taken over */
};

/* Notes the end: children without their parent, waiting parent woken, timers gone. The call stays
 * in its parent's list, or is the caller's to report and free. */
void call_note_end(struct worker *, struct call *, const struct call_end *);
/* Children of a call that ends: those that have ended are forgotten, the others cancelled. */
void children_release(struct worker *, struct call *);
/* Asks a call to end. */
void call_stop(struct worker *, struct call *, enum call_stop);
/* A parked or running call may go on. */
void call_wake(struct worker *, struct call *);

/* Takes a call back that was made and is in no queue. */
void call_undo(struct worker *, struct call *);
/* Ends a call that is in no queue and has not started. */
void call_reject(struct worker *, struct call *, int code);
/* Forgets an ended child. */
void call_forget(struct worker *, struct call *);

static inline bool call_ended(const struct call *c)
{
    return c->stage == STAGE_ENDED;
}

/* ---- ids ---- */

/* How many call ids there are to take: the supervisor gives them in blocks, on request (ids_ask).
 */
uint64_t ids_left(const struct worker *);
/* One of them; there is one. */
uint64_t id_take(struct worker *);

#endif
