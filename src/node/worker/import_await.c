/*
 * The host function that waits for children.
 *
 * While a call waits, await_need counts the entries of its list that must still end, and each child
 * knows how many entries it is (await_weight): whoever ends one takes them off, and the last one
 * wakes the parent (call.c). The list is the guest's and is read again when it is over; it is read
 * in pieces of PIECE, so that a call that waits for 100,000 children holds the lock for moments
 * only.
 */
#include "node/worker/process.h"

#include "engine/link.h"

#define RESULT_BYTES 48u
#define PIECE        256u

/* struct atoll_result of atoll.h. */
struct result {
    uint64_t id;
    int32_t status, code;
    uint64_t out_len, queue_ns, run_ns;
    uint32_t node, flags;
};
_Static_assert(sizeof(struct result) == RESULT_BYTES, "atoll.h");

struct await {
    struct host_call *hc;
    struct faaslet *f;
    uint32_t ids_at, n, need, out_at;
    uint32_t done; /* entries that have ended */
};

/* Calls visit for every id, in pieces, under worker.lock. Stops at a negative code. */
static int ids_visit(struct await *a, uint32_t n,
                     int (*visit)(struct await *, struct call *, uint32_t k))
{
    uint64_t ids[PIECE];
    struct worker *w = a->f->worker;
    int rc = 0;
    for (uint32_t from = 0; rc == 0 && from < n; from += PIECE) {
        uint32_t part = n - from < PIECE ? n - from : PIECE;
        if (guest_read(a->hc->arena, ids, a->ids_at + from * 8, part * 8ull) < 0)
            return -ATOLL_EFAULT;
        pthread_mutex_lock(&w->lock);
        for (uint32_t k = 0; rc == 0 && k < part; k++)
            rc = visit(a, call_child(w, a->f->call, ids[k]), from + k);
        pthread_mutex_unlock(&w->lock);
    }
    return rc;
}

static int await_count(struct await *a, struct call *c, uint32_t k)
{
    (void)k;
    if (!c)
        return -ATOLL_ENOENT;
    a->done += call_ended(c);
    return 0;
}

/* What has not ended tells the parent when it does. */
static int await_mark(struct await *a, struct call *c, uint32_t k)
{
    (void)k;
    if (c && call_ended(c))
        a->f->call->await_need--;
    else if (c)
        c->await_weight++;
    return 0;
}

static void result_fill(const struct call *c, uint64_t id, struct result *r)
{
    bool pending = c->stage == STAGE_QUEUED || c->stage == STAGE_WAITING;
    *r = (struct result){.id = id, .status = pending ? CALL_PENDING : CALL_RUNNING};
    if (!call_ended(c))
        return;
    r->status = c->status;
    r->code = c->code;
    r->out_len = c->output_len;
    r->queue_ns = c->queue_ns;
    r->run_ns = c->run_ns;
    r->node = (uint32_t)(c->id >> 48);
}

/* Fills out[] and takes the marks back. */
static int await_report(struct await *a)
{
    uint64_t ids[PIECE];
    struct result results[PIECE];
    struct worker *w = a->f->worker;
    a->done = 0;
    for (uint32_t from = 0; from < a->n; from += PIECE) {
        uint32_t part = a->n - from < PIECE ? a->n - from : PIECE;
        if (guest_read(a->hc->arena, ids, a->ids_at + from * 8, part * 8ull) < 0)
            return -ATOLL_EFAULT;
        pthread_mutex_lock(&w->lock);
        for (uint32_t k = 0; k < part; k++) {
            struct call *c = call_child(w, a->f->call, ids[k]);
            results[k] = (struct result){.id = ids[k], .status = CALL_EXPIRED};
            if (!c)
                continue; /* another instance of shared memory has changed the list meanwhile */
            c->await_weight = 0;
            a->done += call_ended(c);
            result_fill(c, ids[k], &results[k]);
        }
        pthread_mutex_unlock(&w->lock);
        if (guest_write(a->hc->arena, a->out_at + from * RESULT_BYTES, results,
                        part * sizeof *results) < 0)
            return -ATOLL_EFAULT;
    }
    return 0;
}

static enum host_status await_finish(struct await *a)
{
    int rc = await_report(a);
    if (rc == 0)
        rc = a->done >= a->need ? (int)a->done : -ATOLL_ETIMEDOUT;
    return host_result_i32(a->hc, rc);
}

/* Without a look at the clock for those who wait for as long as it takes. */
static int64_t deadline_after(uint64_t timeout_ns)
{
    if (timeout_ns >= (uint64_t)HOST_NO_DEADLINE)
        return HOST_NO_DEADLINE;
    int64_t now = clock_monotonic_ns();
    return timeout_ns < (uint64_t)(HOST_NO_DEADLINE - now) ? now + (int64_t)timeout_ns
                                                           : HOST_NO_DEADLINE;
}

/* Parks until enough have ended. */
static enum host_status await_park(struct await *a, uint64_t timeout_ns)
{
    struct worker *w = a->f->worker;
    struct call *c = a->f->call;
    pthread_mutex_lock(&w->lock);
    c->awaiting = true;
    c->await_need = a->need;
    pthread_mutex_unlock(&w->lock);
    int rc = ids_visit(a, a->n, await_mark);
    pthread_mutex_lock(&w->lock);
    if (rc < 0)
        c->await_need = 0; /* the list cannot be read any more: await_report says so */
    if (c->await_need <= 0)
        c->woken = true;
    pthread_mutex_unlock(&w->lock);
    a->hc->park->fd_count = 0;
    a->hc->park->deadline_ns = deadline_after(timeout_ns);
    return HOST_PARK;
}

/* Whether enough have ended, or the time is over. */
static bool await_over(struct await *a)
{
    struct worker *w = a->f->worker;
    struct call *c = a->f->call;
    int64_t deadline_ns = a->hc->park->deadline_ns;
    bool late = deadline_ns != HOST_NO_DEADLINE && clock_monotonic_ns() >= deadline_ns;
    pthread_mutex_lock(&w->lock);
    bool over = late || c->await_need <= 0;
    if (over)
        c->awaiting = false;
    pthread_mutex_unlock(&w->lock);
    return over;
}

static enum host_status import_await(struct host_call *hc)
{
    struct await a = {.hc = hc,
                      .f = faaslet_of(hc),
                      .ids_at = hc->slots[0].u32,
                      .n = hc->slots[1].u32,
                      .need = hc->slots[2].u32,
                      .out_at = hc->slots[4].u32};
    uint64_t timeout_ns = hc->slots[3].u64;
    struct call *c = a.f->call;
    if (hc->resumed)
        return await_over(&a) ? await_finish(&a) : HOST_PARK;
    if (c->zygote)
        return host_result_i32(hc, -ATOLL_EPERM);
    if (a.n > CALL_CHILDREN_MAX)
        return host_result_i32(hc, -ATOLL_ELIMIT);
    if (!guest_range(hc->arena, a.ids_at, a.n * 8ull, GUEST_READ) ||
        !guest_range(hc->arena, a.out_at, a.n * (uint64_t)RESULT_BYTES, GUEST_WRITE))
        return host_result_i32(hc, -ATOLL_EFAULT);
    if (a.need > a.n)
        return host_result_i32(hc, -ATOLL_EINVAL);
    int rc = ids_visit(&a, a.n, await_count);
    if (rc < 0)
        return host_result_i32(hc, rc);
    return a.done >= a.need || timeout_ns == 0 ? await_finish(&a) : await_park(&a, timeout_ns);
}

const struct import_entry imports_await[] = {
    {"await", "iiili:i", import_await},
    {0},
};
