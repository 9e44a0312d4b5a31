/*
 * Root calls: from admission to the end of their result's time to live (spec faaslets §9).
 *
 *   admitted → queued (no worker has room) → sent to a worker → ended → result kept → forgotten
 *
 * Synchronous calls are answered through a callback and then forgotten; asynchronous ones keep
 * their result for its time to live, in memory up to config.results_bytes and beyond that in the
 * store. Every outcome is told apart (enum call_status). A worker that dies ends its calls as LOST;
 * with retries in the manifest they run again (LOST, TRAPPED, REJECTED; FAILED only on request),
 * after 10 ms x 2^attempt with jitter.
 *
 * Call ids: node id (16 bits) << 48 | boot epoch (12) << 36 | counter (36).
 *
 * Loop thread only.
 */
#ifndef NODE_CALLS_H
#define NODE_CALLS_H

#include "node/blob.h"
#include "node/message.h"
#include "node/registry.h"

struct node;
struct calls;

struct call_request {
    struct function_version *version;
    struct blob *input; /* retained by the call; NULL = empty */
    const char *head;   /* HTTP head for the function, or NULL */
    uint32_t head_len;
    const char *arguments; /* NUL-terminated strings one after the other */
    uint32_t arguments_len;
    uint64_t timeout_ns; /* 0 = the manifest's; never beyond it */
    uint32_t flags;      /* enum call_flag */
    uint32_t priority;   /* 10 = the manifest's */
    uint64_t id;         /* one of calls_take_ids, or 0: a new one */
    bool keep;           /* asynchronous: keep the result */
    bool sampled;        /* traced */
    uint8_t trace_id[16], span_id[8];
};

struct call_outcome {
    uint64_t id;
    enum call_status status;
    int32_t code;
    enum call_temperature temperature;
    uint32_t attempt, children;
    uint64_t queue_ns, restore_ns, run_ns, cpu_ns, memory_bytes;
    struct blob *output; /* borrowed; retain to keep */
    const char *text;    /* why it failed; "" */
    const char *head;    /* HTTP reply head that the guest set: "STATUS\nname: value\n…", or NULL */
    uint32_t head_len;
    const struct function_version *version;
};
typedef void (*call_done)(void *context, const struct call_outcome *);

int calls_create(struct node *, struct calls **out, struct error *);
void calls_destroy(struct calls *);

/* Admits a call. done runs once, later, on the loop thread (NULL: nobody waits). -ATOLL_EREJECTED
 * when the tenant is at a limit or its queue is full, -ATOLL_EUNAVAIL when draining; then done does
 * not run. */
int calls_submit(struct calls *, const struct call_request *, call_done, void *context,
                 uint64_t *id, struct error *);
/* Nobody waits any longer (the client went away): done does not run; the call is cancelled unless
 * its result is kept. */
void calls_abandon(struct calls *, uint64_t id);
/* -ATOLL_ENOENT; 0 also when it has ended already. */
int calls_cancel(struct calls *, uint64_t id);

/* The state of a kept call. wait_ns > 0: answers when it has ended or after that time (status
 * PENDING or RUNNING then). done runs once; with NULL outcome and -ATOLL_ENOENT or -ATOLL_EEXPIRED
 * as code when there is no such result. */
typedef void (*call_seen)(void *context, int code, const struct call_outcome *);
void calls_wait(struct calls *, uint64_t id, int64_t wait_ns, call_seen, void *context);
/* The tenant of a call, for rights; NULL when unknown. */
const char *calls_tenant(struct calls *, uint64_t id);

/* The call graph of an app as JSON, while it runs and for an hour after. -ATOLL_ENOENT. */
int calls_graph(struct calls *, uint64_t app, struct buffer *out, struct error *);

/* The first of `count` ids in a row that nothing else on this node gets. */
uint64_t calls_take_ids(struct calls *, uint64_t count);

/* Called by the worker set. */
void calls_result(struct calls *, uint32_t worker, struct message *, int output_fd);
void calls_child(struct calls *, uint32_t worker, const struct message *);
void calls_worker_lost(struct calls *, uint32_t worker);
void calls_tenant_room(struct calls *, const char *tenant); /* its workers can take more */
/* How many calls are queued or running; draining ends when none is. */
uint64_t calls_live(const struct calls *);
/* Deadlines of waiting calls, retries, results' time to live; runs by itself while something waits,
 * and is to be called every second besides. */
void calls_tick(struct calls *, int64_t now_ns);
/* Every second: kills a worker that lets a deadline pass by seconds. */
void calls_watch(struct calls *, int64_t now_ns);

/* The last calls that ended, newest first, for `atoll top` and the live page. */
struct call_summary {
    uint64_t id;
    char function[2 * NAME_MAX_LEN + 2];
    enum call_status status;
    enum call_temperature temperature;
    uint64_t queue_ns, restore_ns, run_ns;
    int64_t ended_ns; /* CLOCK_REALTIME */
};
uint32_t calls_recent(const struct calls *, struct call_summary *out, uint32_t max);

#endif
