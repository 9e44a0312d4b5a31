/*
 * A call below another: whether it may be, what it inherits, and its place in the queue.
 *
 * A child's deadline is never later than its parent's, unless it is detached. One that is below
 * another call of the same version is exempt from the version's concurrency, or recursion could
 * never end.
 */
#include "node/worker/chain.h"

#include <stdlib.h>

#define IDS_RETRY_NS 1000000ll

/* ---- limits ---- */

int children_allowed(struct worker *w, const struct call *parent, uint32_t n)
{
    const struct app *app = parent->app;
    if (parent->depth >= CALL_DEPTH_MAX || n > CALL_CHILDREN_MAX - parent->child_count ||
        n > CALL_LIVE_MAX - app->live)
        return -ATOLL_ELIMIT;
    return ids_left(w) < n ? -ATOLL_EAGAIN : 0;
}

/* ---- making calls ---- */

static bool below_same_version(const struct call *parent, const struct version *v)
{
    for (; parent; parent = parent->parent)
        if (parent->version == v)
            return true;
    return false;
}

static int64_t deadline_of(const struct chain *chain, const struct call *parent, int64_t now)
{
    const struct chain_options *o = &chain->options;
    uint64_t timeout = o->timeout_ns;
    uint64_t own = chain->version ? chain->version->manifest.timeout_ns : 0;
    if (timeout == 0 || (own && own < timeout))
        timeout = own;
    int64_t at =
        timeout && timeout < (uint64_t)(INT64_MAX - now) ? now + (int64_t)timeout : INT64_MAX;
    bool bound = !(o->flags & CHAIN_DETACH);
    return bound && parent->deadline_ns < at ? parent->deadline_ns : at;
}

static void call_configure(struct call *c, const struct chain *chain, struct call *parent,
                           struct version *v, int64_t now)
{
    const struct chain_options *o = &chain->options;
    c->version = v;
    v->calls++;
    c->function = chain->function;
    c->fresh = o->flags & CHAIN_FRESH;
    c->retries = (uint8_t)(o->retries                               ? o->retries
                           : v->manifest.retries < CALL_RETRIES_MAX ? v->manifest.retries
                                                                    : CALL_RETRIES_MAX);
    c->priority = (uint8_t)(o->priority ? o->priority - 1 : v->manifest.priority);
    c->memory_max = o->memory_max;
    c->exempt = v->manifest.concurrency && below_same_version(parent, v);
    c->queued_ns = now;
    c->deadline_ns = deadline_of(chain, parent, now);
    c->app = parent->app;
    c->app->references++;
    c->app->live++;
    c->app->started++;
    parent->child_count++;
}

struct call *child_make(struct worker *w, const struct chain *chain, struct call *parent,
                        struct version *v, struct blob *input, int64_t now)
{
    bool detached = chain->options.flags & CHAIN_DETACH;
    struct call *c = call_create(w, detached ? NULL : parent, id_take(w));
    if (!c)
        return NULL;
    c->depth = (uint8_t)(parent->depth + 1);
    call_configure(c, chain, parent, v, now);
    c->input = input;
    c->input_len = input ? input->len : 0;
    return c;
}

void child_start(struct worker *w, struct call *c, const struct call *parent)
{
    c->cold = c->version->stage == VERSION_LOADING;
    if (c->version->stage == VERSION_UNUSABLE)
        queue_ready(w, c);
    else
        queue_new(w, c);
    /* The parent's end cancels it; only an earlier deadline needs a timer. */
    if (c->deadline_ns < parent->deadline_ns || (!c->parent && c->deadline_ns != INT64_MAX)) {
        timer_set(&w->wheel, &c->deadline, c->deadline_ns);
        timekeeper_need(w, c->deadline_ns);
    }
}

void children_announce(struct guest_thread *t, uint32_t n, int64_t now)
{
    struct worker *w = t->worker;
    if (n == 1 && !atomic_load_explicit(&t->unannounced, memory_order_relaxed)) {
        atomic_store(&t->unannounced, true);
        if (atomic_load(&w->timekeeper.ticking))
            return;
        pthread_mutex_lock(&w->lock);
        timekeeper_busy(w, now);
        pthread_mutex_unlock(&w->lock);
        return;
    }
    atomic_store(&t->unannounced, false);
    guest_announce(w);
}

/* ---- for host functions ---- */

int child_input(struct host_call *hc, uint32_t at, uint64_t len, struct blob **out)
{
    struct error e;
    struct output o = {.file = -1, .limit = UINT32_MAX};
    *out = NULL;
    if (len == 0)
        return 0;
    if (len <= MESSAGE_INLINE) {
        uint8_t *bytes = malloc(len);
        if (!bytes)
            return -ATOLL_ENOMEM;
        if (guest_read(hc->arena, bytes, at, len) < 0) {
            free(bytes);
            return -ATOLL_EFAULT;
        }
        *out = blob_adopt(bytes, len);
        return *out ? 0 : -ATOLL_ENOMEM;
    }
    int rc = call_output_append_guest(&o, hc->arena, at, len, false);
    if (rc == 0 && !(*out = call_output_take(&o, hc->arena, &e)))
        rc = -ATOLL_ENOMEM;
    call_output_free(&o);
    return rc;
}

enum host_status ids_wait(struct host_call *hc, struct worker *w, uint32_t n)
{
    ids_ask(w, (uint64_t)n + IDS_LOW);
    hc->park->fd_count = 0;
    hc->park->deadline_ns = clock_monotonic_ns() + IDS_RETRY_NS;
    return HOST_PARK;
}
