/*
 * The worker set inside: what workers.c (their lives and who gets a call), workers_send.c (what is
 * said to them) and workers_receive.c (what they say) share. Nobody else includes this.
 */
#ifndef NODE_WORKER_SET_H
#define NODE_WORKER_SET_H

#include "node/workers.h"

#include <uv.h>

#define WORKER_BACKLOG_MAX 65536u

enum load_state { LOAD_UNSENT, LOAD_SENT, LOAD_READY, LOAD_FAILED };

struct load_waiter {
    struct load_waiter *next;
    load_done done;
    void *context;
    uint32_t version;
};

/* A message that found no room. */
struct backlog {
    struct backlog *next;
    int fds[3];
    uint32_t fd_count, len;
    _Alignas(8) uint8_t record[];
};

struct worker {
    struct workers *workers;
    struct worker *next;
    uint32_t number;
    struct tenant_workers *tenant;
    uv_process_t process;
    uv_poll_t poll;
    struct link link;
    bool running, stopping; /* the process lives; told to stop */
    uint32_t closing;       /* handles still to be closed */
    uint32_t in_flight, instances_max;
    int64_t started_ns, started_real_ns;
    uint8_t *loads; /* enum load_state by version number */
    uint32_t load_count;
    struct load_waiter *waiters;
    struct backlog *backlog, **backlog_end;
    uint32_t backlog_count, backlog_files;
    uint64_t backlog_bytes;
    uint32_t asked; /* requests that wait for their answer */
    bool woken;     /* by an earlier message of this turn of the loop */
};

struct tenant_workers {
    struct tenant_workers *next;
    char name[NAME_MAX_LEN + 1];
    uint32_t running;
    uint32_t deaths; /* young ones in a row */
    uint32_t restarts;
    int64_t not_before_ns;
};

struct workers {
    struct node *node;
    struct worker *first;
    struct tenant_workers *tenants;
    uint32_t next_number, count;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t awake; /* keeps the loop from sleeping while there is something to read */
    uv_timer_t grace;
    void (*stopped)(void *);
    void *stopped_context;
    bool stopping;
    int closing;    /* handles of the set itself still to be closed */
    bool destroyed; /* freed with its last handle, its workers' included */
};

static inline struct worker *worker_find(const struct workers *w, uint32_t number)
{
    struct worker *one = w->first;
    while (one && one->number != number)
        one = one->next;
    return one;
}

/* Kills one that broke the protocol; its calls will end as LOST. */
void worker_misbehaves(struct worker *, const struct error *);
/* The tenant's worker with the fewest calls; a new one when all are full. -ATOLL_EAGAIN,
 * -ATOLL_EUNAVAIL as workers_place. */
int worker_choose(struct workers *, const char *tenant, struct worker **out, struct error *);

/* ---- workers_receive.c ---- */

/* Handles what it has said, up to a fair number of messages. */
void worker_drain(struct worker *);
/* Its eventfd is readable. */
void worker_readable(uv_poll_t *, int status, int events);
/* Around the loop's sleep. */
void workers_loop_sleeps(uv_prepare_t *);
void workers_loop_wakes(uv_check_t *);

/* ---- workers_send.c ---- */

/* In order behind what waits already; kept when the ring is full. -ATOLL_EAGAIN when there is too
 * much of that. The descriptors stay the caller's. */
int worker_tell(struct worker *, struct message *, const int *fds, uint32_t fd_count,
                struct error *);
/* Sends what has waited for room in the ring, as far as it goes. */
void backlog_send(struct worker *);
void backlog_clear(struct worker *);
/* Tells those who wait for a version to be prepared that the worker died. */
void loads_fail(struct worker *);

#endif
