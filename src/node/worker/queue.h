/*
 * Which call runs next.
 *
 * First of all what only has to be ended: below a call whose time is over there may be more calls
 * than will ever end. Then deepest first: a parent waits for its children, so what is deep frees
 * what is shallow. Ready
 * calls (they have a faaslet already) come before new ones of the same depth. Among new ones the
 * higher priority comes first, then the version with the least virtual runtime (run time / weight),
 * and within a version they take turns. A call whose slice is over has had its share: it competes
 * with the calls of depth 0, by virtual runtime, whatever its own depth.
 *
 * New calls wait in flows, one per version, depth and priority. A flow that has calls and whose
 * version may start one stands in the heap of its depth and priority; one whose version is being
 * loaded, or has reached its concurrency, does not.
 *
 * Slots. A parked call holds its slot and memory, so a call at depth d starts only while more than
 * 64 - d slots, and as many times its memory, are free: a child can always start when nothing
 * deeper is alive. Under worker.lock.
 */
#ifndef NODE_WORKER_QUEUE_H
#define NODE_WORKER_QUEUE_H

#include "node/worker/call.h"

#define QUEUE_LEVELS     (CALL_DEPTH_MAX + 1)
#define QUEUE_PRIORITIES 10u

TAILQ_HEAD(call_list, call);

/* New calls of a version at one depth and priority; or its calls whose slice is over. */
struct flow {
    struct version *version;
    struct flow_heap *heap; /* that it belongs to */
    struct call_list calls;
    int64_t key; /* the version's virtual runtime when it was put in */
    uint32_t at; /* index in the heap + 1; 0 = not in it */
};

struct flow_heap {
    struct flow **flows; /* smallest key first */
    uint32_t count, capacity;
};

struct run_queue {
    struct call_list ending; /* stopped calls: roots, whose ends are waited for, then the others */
    struct call_list ready[QUEUE_LEVELS];
    struct flow_heap fresh[QUEUE_LEVELS][QUEUE_PRIORITIES];
    struct flow_heap expired;                  /* of calls whose slice is over */
    uint64_t ready_levels[2], fresh_levels[2]; /* bit per depth: may have some */
    uint32_t available; /* ready calls, and flows in heaps: what queue_take chooses from */
    bool stuck;         /* none of them may run before something ends: see queue_unstick */
    int64_t floor;      /* virtual runtime of the version that was chosen last */
};

void queue_begin(struct run_queue *);
void queue_free(struct run_queue *);

/* Room for a version's flow of this depth and priority, so that queue_new cannot fail. */
bool queue_prepare(struct worker *, struct version *, uint32_t depth, uint32_t priority);
/* A new call, prepared. */
void queue_new(struct worker *, struct call *);
/* A call that may go on, or only has to be ended. */
void queue_ready(struct worker *, struct call *);
/* A call whose slice is over. */
void queue_expired(struct worker *, struct call *);
/* A ready call that was stopped is taken before all others, to end. */
void queue_hurry(struct worker *, struct call *);
/* Takes a new call out again, which has not started. */
void queue_remove(struct worker *, struct call *);

/* The call to run now, or NULL. A new one has its slot counted in worker.slots_used, and counts
 * among its version's active calls: queue_ended takes both back. */
struct call *queue_take(struct worker *);
/* Whether queue_take would give one. A hint: slots may forbid it, and it is read without the lock.
 */
static inline bool queue_any(const struct run_queue *q)
{
    return __atomic_load_n(&q->available, __ATOMIC_RELAXED) != 0 &&
           !__atomic_load_n(&q->stuck, __ATOMIC_RELAXED);
}
/* There is something new to take, or slots or memory were given back. Until then a queue of which
 * queue_take gave nothing counts as empty, or threads would go round in circles. */
static inline void queue_unstick(struct run_queue *q)
{
    __atomic_store_n(&q->stuck, false, __ATOMIC_RELAXED);
}
/* Gives a call its slot before it is taken. */
void queue_reserve(struct worker *, struct call *);
/* A call that was taken new has ended, or will start later again. */
void queue_ended(struct worker *, struct call *);
/* Whether n calls at this depth may start now. */
bool queue_slots_free(const struct worker *, const struct version *, uint32_t depth, uint32_t n);

/* The version may start calls from now on. */
void queue_version_unblocked(struct worker *, struct version *);
/* Its calls wait: it is being loaded. */
void queue_version_blocked(struct worker *, struct version *);
/* Takes one of its waiting new calls out; NULL when there is none. */
struct call *queue_version_evict(struct worker *, struct version *);
/* Frees a version's flows, which are empty. */
void queue_version_free(struct version *);

#endif
