/*
 * The table of calls inside: what calls.c (from admission to the outcome) and call_results.c (from
 * the outcome until nobody can ask for it) share. Nobody else includes this.
 *
 * A call lies in a hash table by id from its admission until it is forgotten, and in at most one
 * list besides: a queue of its tenant, the retries, or the kept results. Loop thread only.
 */
#ifndef NODE_CALL_TABLE_H
#define NODE_CALL_TABLE_H

#include "node/calls.h"

#include <uv.h>

#define CALL_BUCKETS        65536u
#define CALL_TENANT_BUCKETS 256u
#define CALL_PRIORITIES     10u
#define CALL_RECENT         256u

struct waiter {
    struct waiter *next;
    uint64_t id; /* of the call */
    call_seen seen;
    void *context;
    int64_t until_ns;
};

struct root {
    struct root *hash_next;
    struct root *next, *previous; /* in a list: queue, retries, kept results */
    struct tenant *tenant;
    struct call_request request; /* its pointers are ours */
    call_done done;
    void *context;
    struct waiter *waiters;
    uint32_t worker;
    bool queued, retrying, cancelled;
    bool admitting;      /* within calls_submit: its end must not be told before that returns */
    bool ending;         /* it has failed while admitting; told with the next tick */
    int64_t deadline_ns; /* 0: none */
    int64_t admitted_ns;
    int64_t again_ns;  /* retrying: when */
    int64_t expire_ns; /* kept: until when */
    struct call_outcome outcome;
    char *text, *head; /* of the outcome */
};

struct root_list {
    struct root *first, *last;
};

struct tenant {
    struct tenant *next;
    char name[NAME_MAX_LEN + 1];
    struct root_list queues[CALL_PRIORITIES];
    uint32_t queued;
    uint64_t live; /* admitted and not ended */
};

struct calls {
    struct node *node;
    struct root *buckets[CALL_BUCKETS];
    struct tenant *tenants[CALL_TENANT_BUCKETS];
    struct root_list retries, kept;
    uint64_t kept_bytes, live, waiting;
    uint64_t counter;
    uint32_t threads; /* guest threads of a worker */
    uv_timer_t timer;
    bool timing;
    struct call_graphs *graphs;
    struct call_summary recent[CALL_RECENT];
    uint64_t recent_count;
};

static inline void root_list_append(struct root_list *l, struct root *c)
{
    c->next = NULL;
    c->previous = l->last;
    *(l->last ? &l->last->next : &l->first) = c;
    l->last = c;
}

static inline void root_list_remove(struct root_list *l, struct root *c)
{
    *(c->previous ? &c->previous->next : &l->first) = c->next;
    *(c->next ? &c->next->previous : &l->last) = c->previous;
    c->next = c->previous = NULL;
}

static inline struct root **root_bucket(struct calls *k, uint64_t id)
{
    return &k->buckets[id % CALL_BUCKETS];
}

static inline struct root *root_find(struct calls *k, uint64_t id)
{
    struct root *c = *root_bucket(k, id);
    while (c && c->outcome.id != id)
        c = c->hash_next;
    return c;
}

/* Forgets it. It lies in no list any more and nobody waits for it. */
void root_free(struct calls *, struct root *);
/* Its timer runs until nothing waits for a moment. */
void calls_timer_want(struct calls *);

/* ---- call_results.c ---- */

/* It has its outcome for good: tells those who wait, notes it among the recent ones, then keeps it
 * for its time to live or frees it. */
void results_take(struct calls *, struct root *);
/* Answers those whose patience is over, and forgets what has outlived its time. */
void results_expire(struct calls *, int64_t now_ns);
/* Frees those who wait without telling them. */
void waiters_free(struct root *);

#endif
