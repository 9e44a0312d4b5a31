/* See queue.h. The heaps are ordinary binary heaps of flows. */
#include "node/worker/process.h"

#include <assert.h>
#include <stdlib.h>

/* Under worker.lock, but read without it by queue_any. */
static void available_change(struct run_queue *q, int by)
{
    __atomic_store_n(&q->available, q->available + (uint32_t)by, __ATOMIC_RELAXED);
}

/* ---- heaps of flows ---- */

static void heap_put(struct flow_heap *h, uint32_t at, struct flow *f)
{
    h->flows[at] = f;
    f->at = at + 1;
}

static void heap_rise(struct flow_heap *h, uint32_t at)
{
    struct flow *f = h->flows[at];
    for (; at && f->key < h->flows[(at - 1) / 2]->key; at = (at - 1) / 2)
        heap_put(h, at, h->flows[(at - 1) / 2]);
    heap_put(h, at, f);
}

static void heap_sink(struct flow_heap *h, uint32_t at)
{
    struct flow *f = h->flows[at];
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= h->count)
            break;
        if (child + 1 < h->count && h->flows[child + 1]->key < h->flows[child]->key)
            child++;
        if (f->key <= h->flows[child]->key)
            break;
        heap_put(h, at, h->flows[child]);
        at = child;
    }
    heap_put(h, at, f);
}

/* The heap has room: queue_prepare made it. */
static void heap_insert(struct run_queue *q, struct flow *f)
{
    struct flow_heap *h = f->heap;
    struct version *v = f->version;
    queue_unstick(q);
    if (f->at)
        return;
    if (v->runtime < q->floor) /* it slept: no credit for that */
        v->runtime = q->floor;
    f->key = v->runtime;
    assert(h->count < h->capacity);
    heap_put(h, h->count++, f);
    heap_rise(h, h->count - 1);
    available_change(q, 1);
}

static void heap_remove(struct run_queue *q, struct flow *f)
{
    struct flow_heap *h = f->heap;
    if (!f->at)
        return;
    uint32_t at = f->at - 1;
    f->at = 0;
    available_change(q, -1);
    struct flow *last = h->flows[--h->count];
    if (last == f)
        return;
    heap_put(h, at, last);
    heap_sink(h, at);
    heap_rise(h, last->at - 1);
}

static bool heap_reserve(struct flow_heap *h, uint32_t count)
{
    if (count <= h->capacity)
        return true;
    uint32_t capacity = count < 8 ? 8 : 2 * count;
    struct flow **grown = realloc(h->flows, capacity * sizeof *grown);
    if (!grown)
        return false;
    h->flows = grown;
    h->capacity = capacity;
    return true;
}

/* ---- levels ---- */

static void level_mark(uint64_t levels[2], uint32_t depth)
{
    levels[depth / 64] |= 1ull << (depth % 64);
}

static void level_unmark(uint64_t levels[2], uint32_t depth)
{
    levels[depth / 64] &= ~(1ull << (depth % 64));
}

/* The deepest marked level, -1 = none. */
static int level_deepest(const uint64_t levels[2])
{
    if (levels[1])
        return 127 - __builtin_clzll(levels[1]);
    return levels[0] ? 63 - __builtin_clzll(levels[0]) : -1;
}

/* ---- flows ---- */

void queue_begin(struct run_queue *q)
{
    *q = (struct run_queue){0};
    TAILQ_INIT(&q->ending);
    for (uint32_t d = 0; d < QUEUE_LEVELS; d++)
        TAILQ_INIT(&q->ready[d]);
}

void queue_free(struct run_queue *q)
{
    for (uint32_t d = 0; d < QUEUE_LEVELS; d++)
        for (uint32_t p = 0; p < QUEUE_PRIORITIES; p++)
            free(q->fresh[d][p].flows);
    free(q->expired.flows);
}

static void flow_begin(struct flow *f, struct version *v, struct flow_heap *h)
{
    *f = (struct flow){.version = v, .heap = h};
    TAILQ_INIT(&f->calls);
}

/* The heaps hold each version at most once. */
bool queue_prepare(struct worker *w, struct version *v, uint32_t depth, uint32_t priority)
{
    struct run_queue *q = &w->queue;
    if (!v->expired.version)
        flow_begin(&v->expired, v, &q->expired);
    if (!v->flows[depth]) {
        v->flows[depth] = malloc(QUEUE_PRIORITIES * sizeof *v->flows[depth]);
        if (!v->flows[depth])
            return false;
        for (uint32_t p = 0; p < QUEUE_PRIORITIES; p++)
            flow_begin(&v->flows[depth][p], v, &q->fresh[depth][p]);
    }
    return heap_reserve(&q->expired, w->version_count) &&
           heap_reserve(&q->fresh[depth][priority], w->version_count);
}

static struct flow *flow_of(const struct call *c)
{
    return &c->version->flows[c->depth][c->priority];
}

static bool version_full(const struct version *v)
{
    return v->manifest.concurrency && v->limited >= v->manifest.concurrency;
}

void queue_new(struct worker *w, struct call *c)
{
    struct flow *f = flow_of(c);
    c->stage = STAGE_QUEUED;
    if (c->exempt) /* never behind calls that wait for this one's parent to end */
        TAILQ_INSERT_HEAD(&f->calls, c, queue);
    else
        TAILQ_INSERT_TAIL(&f->calls, c, queue);
    if (c->version->stage != VERSION_LOADING && (c->exempt || !version_full(c->version))) {
        level_mark(w->queue.fresh_levels, c->depth);
        heap_insert(&w->queue, f);
    } else {
        c->version->blocked = true;
    }
}

void queue_remove(struct worker *w, struct call *c)
{
    struct flow *f = flow_of(c);
    assert(c->stage == STAGE_QUEUED);
    TAILQ_REMOVE(&f->calls, c, queue);
    if (TAILQ_EMPTY(&f->calls))
        heap_remove(&w->queue, f);
}

void queue_ready(struct worker *w, struct call *c)
{
    struct run_queue *q = &w->queue;
    c->stage = STAGE_READY;
    c->ending = atomic_load(&c->stop);
    if (c->ending && !c->root) {
        TAILQ_INSERT_TAIL(&q->ending, c, queue);
    } else if (c->ending) {
        TAILQ_INSERT_HEAD(&q->ending, c, queue);
    } else {
        TAILQ_INSERT_HEAD(&q->ready[c->depth], c, queue);
        level_mark(q->ready_levels, c->depth);
    }
    available_change(q, 1);
    queue_unstick(q);
}

void queue_expired(struct worker *w, struct call *c)
{
    struct flow *f = &c->version->expired;
    c->stage = STAGE_READY;
    c->sliced = true;
    TAILQ_INSERT_TAIL(&f->calls, c, queue);
    heap_insert(&w->queue, f);
}

/* It takes no more turns. */
static void sliced_remove(struct worker *w, struct call *c)
{
    struct flow *f = &c->version->expired;
    c->sliced = false;
    TAILQ_REMOVE(&f->calls, c, queue);
    if (TAILQ_EMPTY(&f->calls))
        heap_remove(&w->queue, f);
}

void queue_hurry(struct worker *w, struct call *c)
{
    assert(c->stage == STAGE_READY);
    if (c->ending || atomic_load(&w->over)) /* then it may stand in no list */
        return;
    if (c->sliced) {
        sliced_remove(w, c);
    } else {
        TAILQ_REMOVE(&w->queue.ready[c->depth], c, queue);
        available_change(&w->queue, -1);
    }
    queue_ready(w, c);
}

/* ---- versions ---- */

/* Calls visit for every flow of new calls. */
static void flows_visit(struct worker *w, struct version *v,
                        void (*visit)(struct worker *, struct flow *, uint32_t depth))
{
    for (uint32_t d = 0; d < QUEUE_LEVELS; d++)
        for (uint32_t p = 0; v->flows[d] && p < QUEUE_PRIORITIES; p++)
            visit(w, &v->flows[d][p], d);
}

static void flow_unblock(struct worker *w, struct flow *f, uint32_t depth)
{
    if (TAILQ_EMPTY(&f->calls))
        return;
    level_mark(w->queue.fresh_levels, depth);
    heap_insert(&w->queue, f);
}

static void flow_block(struct worker *w, struct flow *f, uint32_t depth)
{
    (void)depth;
    heap_remove(&w->queue, f);
}

void queue_version_unblocked(struct worker *w, struct version *v)
{
    v->blocked = false;
    flows_visit(w, v, flow_unblock);
}

void queue_version_blocked(struct worker *w, struct version *v)
{
    v->blocked = true;
    flows_visit(w, v, flow_block);
}

struct call *queue_version_evict(struct worker *w, struct version *v)
{
    for (uint32_t d = 0; d < QUEUE_LEVELS; d++)
        for (uint32_t p = 0; v->flows[d] && p < QUEUE_PRIORITIES; p++) {
            struct call *c = TAILQ_FIRST(&v->flows[d][p].calls);
            if (c) {
                queue_remove(w, c);
                return c;
            }
        }
    return NULL;
}

void queue_version_free(struct version *v)
{
    for (uint32_t d = 0; d < QUEUE_LEVELS; d++)
        free(v->flows[d]);
}

/* ---- slots ---- */

bool queue_slots_free(const struct worker *w, const struct version *v, uint32_t depth, uint32_t n)
{
    uint32_t kept = CALL_DEPTH_MAX - depth;
    if (w->slots_used + kept + n > w->instances_max)
        return false;
    /* Where 64 instances of this size would leave no room for one, half of the memory is kept. */
    uint64_t reserve = kept * v->charge, half = w->memory_max / 2;
    uint64_t wanted = n * v->charge + (reserve < half ? reserve : half);
    return w->memory_used == 0 || w->memory_used + wanted <= w->memory_max;
}

void queue_reserve(struct worker *w, struct call *c)
{
    if (c->started)
        return;
    c->started = true;
    w->slots_used++;
    c->version->active++;
    c->version->limited += !c->exempt;
}

void queue_ended(struct worker *w, struct call *c)
{
    struct version *v = c->version;
    if (!c->started)
        return;
    c->started = false;
    w->slots_used--;
    queue_unstick(&w->queue);
    v->active--;
    v->limited -= !c->exempt;
    if (v->blocked && v->stage != VERSION_LOADING && !version_full(v))
        queue_version_unblocked(w, v);
}

/* ---- taking ---- */

/* After a call was taken from the flow: the version's place follows from its runtime now. */
static void flow_turn(struct run_queue *q, struct flow *f)
{
    q->floor = f->key;
    heap_remove(q, f);
    if (!TAILQ_EMPTY(&f->calls))
        heap_insert(q, f);
}

static struct call *expired_take(struct run_queue *q)
{
    if (!q->expired.count)
        return NULL;
    struct flow *f = q->expired.flows[0];
    struct call *c = TAILQ_FIRST(&f->calls);
    TAILQ_REMOVE(&f->calls, c, queue);
    c->sliced = false;
    flow_turn(q, f);
    return c;
}

/* The flow of a heap whose turn it is; flows of versions at their concurrency leave it. */
static struct flow *heap_next(struct run_queue *q, struct flow_heap *h)
{
    while (h->count) {
        struct flow *f = h->flows[0];
        if (TAILQ_FIRST(&f->calls)->exempt || !version_full(f->version))
            return f;
        f->version->blocked = true;
        heap_remove(q, f);
    }
    return NULL;
}

/* The flow of a depth whose call may start now. */
static struct flow *fresh_next(struct worker *w, uint32_t depth)
{
    bool any = false;
    for (uint32_t p = QUEUE_PRIORITIES; p-- > 0;) {
        struct flow *f = heap_next(&w->queue, &w->queue.fresh[depth][p]);
        if (!f)
            continue;
        any = true;
        if (TAILQ_FIRST(&f->calls)->started || queue_slots_free(w, f->version, depth, 1))
            return f;
    }
    if (!any)
        level_unmark(w->queue.fresh_levels, depth);
    return NULL;
}

static struct call *fresh_take(struct worker *w, struct flow *f)
{
    struct call *c = TAILQ_FIRST(&f->calls);
    TAILQ_REMOVE(&f->calls, c, queue);
    queue_reserve(w, c);
    flow_turn(&w->queue, f);
    return c;
}

static struct call *ready_take(struct run_queue *q, uint32_t depth)
{
    struct call *c = TAILQ_FIRST(&q->ready[depth]);
    if (!c) {
        level_unmark(q->ready_levels, depth);
        return NULL;
    }
    TAILQ_REMOVE(&q->ready[depth], c, queue);
    available_change(q, -1);
    return c;
}

static struct call *ending_take(struct run_queue *q)
{
    struct call *c = TAILQ_FIRST(&q->ending);
    if (c) {
        TAILQ_REMOVE(&q->ending, c, queue);
        available_change(q, -1);
    }
    return c;
}

/* At depth 0: new calls and those whose slice is over, by virtual runtime. */
static struct call *shallow_take(struct worker *w)
{
    struct run_queue *q = &w->queue;
    struct flow *f = fresh_next(w, 0);
    if (f && (!q->expired.count || f->key <= q->expired.flows[0]->key))
        return fresh_take(w, f);
    return expired_take(q);
}

struct call *queue_take(struct worker *w)
{
    struct run_queue *q = &w->queue;
    if (!q->available)
        return NULL;
    struct call *c = ending_take(q);
    if (c)
        return c;
    const uint64_t fresh[2] = {q->fresh_levels[0], q->fresh_levels[1]};
    uint64_t levels[2] = {q->ready_levels[0] | fresh[0], q->ready_levels[1] | fresh[1]};
    for (int d; (d = level_deepest(levels)) > 0; level_unmark(levels, (uint32_t)d)) {
        if ((c = ready_take(q, (uint32_t)d)))
            return c;
        struct flow *f = fresh_next(w, (uint32_t)d);
        if (f)
            return fresh_take(w, f);
    }
    if (!(c = ready_take(q, 0)))
        c = shallow_take(w);
    __atomic_store_n(&q->stuck, !c, __ATOMIC_RELAXED);
    return c;
}
