/*
 * The host function that starts many calls of one function: all of them or, when something is
 * wrong, none. A gang's calls get their slots together, or end as rejected.
 */
#include "node/worker/chain.h"

#include <stdlib.h>

struct batch {
    uint64_t *offsets; /* n + 1 */
    struct blob **inputs;
    struct call **calls;
};

static void batch_free(struct batch *b, uint32_t n)
{
    for (uint32_t k = 0; b->inputs && k < n; k++)
        blob_release(b->inputs[k]);
    free(b->offsets);
    free(b->inputs);
    free(b->calls);
}

/* Copies offsets and inputs in. */
static int batch_read(struct host_call *hc, uint32_t n, uint32_t offsets_at, uint32_t blob_at,
                      struct batch *b)
{
    b->offsets = malloc((n + 1ull) * sizeof *b->offsets);
    b->inputs = calloc(n, sizeof *b->inputs);
    b->calls = calloc(n, sizeof *b->calls);
    if (!b->offsets || !b->inputs || !b->calls)
        return -ATOLL_ENOMEM;
    if (guest_read(hc->arena, b->offsets, offsets_at, (n + 1ull) * sizeof *b->offsets) < 0)
        return -ATOLL_EFAULT;
    for (uint32_t k = 0; k < n; k++)
        if (b->offsets[k] > b->offsets[k + 1])
            return -ATOLL_EINVAL;
    if (b->offsets[n] > UINT32_MAX || !guest_range(hc->arena, blob_at, b->offsets[n], GUEST_READ))
        return -ATOLL_EFAULT;
    int rc = 0;
    for (uint32_t k = 0; rc == 0 && k < n; k++)
        rc = child_input(hc, (uint32_t)(blob_at + b->offsets[k]), b->offsets[k + 1] - b->offsets[k],
                         &b->inputs[k]);
    return rc;
}

/* Gives every call of a gang its slot, or none. Under worker.lock. */
static int gang_reserve(struct worker *w, struct chain *chain, uint32_t depth, struct batch *b)
{
    struct version *v = chain->version;
    if (!(chain->options.flags & CHAIN_GANG))
        return 0;
    if (v->stage != VERSION_USABLE || !queue_slots_free(w, v, depth, chain->count))
        return -ATOLL_EREJECTED;
    for (uint32_t k = 0; k < chain->count; k++)
        queue_reserve(w, b->calls[k]);
    return 0;
}

/* Makes all calls and starts them, or takes back what it has made. Under worker.lock. */
static int batch_start(struct worker *w, struct call *parent, struct chain *chain, struct batch *b,
                       int64_t now)
{
    uint32_t made = 0, depth = parent->depth + 1u;
    struct version *v = chain->version;
    int rc = children_allowed(w, parent, chain->count);
    while (rc == 0 && made < chain->count) {
        struct call *c = child_make(w, chain, parent, v, b->inputs[made], now);
        if (c) {
            c->index = made;
            c->count = chain->count;
            b->calls[made++] = c;
        }
        if (!c || (made == 1 && !queue_prepare(w, v, depth, c->priority)))
            rc = -ATOLL_ENOMEM;
    }
    int gang = rc == 0 ? gang_reserve(w, chain, depth, b) : 0;
    for (uint32_t k = 0; k < made; k++) {
        if (rc < 0) {
            b->calls[k]->input = NULL;
            call_undo(w, b->calls[k]);
            continue;
        }
        b->inputs[k] = NULL; /* the call's */
        b->offsets[k] = b->calls[k]->id;
        if (gang == 0)
            child_start(w, b->calls[k], parent);
        else
            call_reject(w, b->calls[k], gang);
    }
    return rc;
}

static enum host_status batch_run(struct host_call *hc, struct chain *chain, uint32_t offsets,
                                  uint32_t blob)
{
    struct faaslet *f = faaslet_of(hc);
    struct worker *w = f->worker;
    struct batch b = {0};
    int64_t now = clock_monotonic_ns();
    int rc = batch_read(hc, chain->count, offsets, blob, &b);
    pthread_mutex_lock(&w->lock);
    if (rc == 0)
        rc = batch_start(w, f->call, chain, &b, now);
    callee_let_go(w, chain);
    pthread_mutex_unlock(&w->lock);
    if (rc == 0)
        children_announce(f->thread, chain->count, now);
    if (rc == 0 && !chain->no_ids)
        rc = guest_write(hc->arena, chain->ids_at, b.offsets, chain->count * 8ull);
    batch_free(&b, chain->count);
    return rc == -ATOLL_EAGAIN ? ids_wait(hc, w, chain->count) : host_result_i32(hc, rc);
}

/* A batch for another worker: one by one. */
static enum host_status batch_remote(struct host_call *hc, struct chain *chain, uint32_t offsets,
                                     uint32_t blob)
{
    struct faaslet *f = faaslet_of(hc);
    struct worker *w = f->worker;
    struct batch b = {0};
    int rc = batch_read(hc, chain->count, offsets, blob, &b);
    pthread_mutex_lock(&w->lock);
    if (rc == 0)
        rc = children_allowed(w, f->call, chain->count);
    pthread_mutex_unlock(&w->lock);
    uint32_t started = 0;
    for (; rc == 0 && started < chain->count; started++) {
        rc = child_remote_start(w, f->call, chain, b.inputs[started], &b.offsets[started]);
        if (rc == 0)
            b.inputs[started] = NULL;
    }
    if (rc < 0 && started > 0) { /* the last one did not start */
        pthread_mutex_lock(&w->lock);
        for (uint32_t k = 0; k + 1 < started; k++) {
            struct call *c = call_child(w, f->call, b.offsets[k]);
            if (c)
                call_stop(w, c, STOP_CANCEL);
        }
        pthread_mutex_unlock(&w->lock);
    }
    if (rc == 0 && !chain->no_ids)
        rc = guest_write(hc->arena, chain->ids_at, b.offsets, chain->count * 8ull);
    batch_free(&b, chain->count);
    return rc == -ATOLL_EAGAIN ? ids_wait(hc, w, chain->count) : host_result_i32(hc, rc);
}

static enum host_status import_chain_batch(struct host_call *hc)
{
    struct chain chain;
    char name[NAME_TEXT_MAX];
    uint32_t name_len, n = hc->slots[2].u32, offsets = hc->slots[3].u32, blob = hc->slots[4].u32;
    uint32_t ids = hc->slots[6].u32;
    chain = (struct chain){.remote = UINT32_MAX,
                           .function = UINT32_MAX,
                           .count = n,
                           .ids_at = ids,
                           .no_ids = ids == 0};
    int rc = chain_options_read(hc, hc->slots[5].u32, &chain.options);
    if (rc == 0 && n > CALL_CHILDREN_MAX)
        rc = -ATOLL_ELIMIT;
    if (rc == 0 && (!guest_range(hc->arena, offsets, (n + 1ull) * 8, GUEST_READ) ||
                    (chain.no_ids ? !(chain.options.flags & CHAIN_DETACH)
                                  : !guest_range(hc->arena, ids, n * 8ull, GUEST_WRITE))))
        rc = -ATOLL_EFAULT;
    if (rc == 0 && faaslet_of(hc)->call->zygote)
        rc = -ATOLL_EPERM;
    if (rc == 0)
        rc = callee_name(hc, hc->slots[0].u32, hc->slots[1].u32, name, &name_len);
    if (rc < 0 || n == 0)
        return host_result_i32(hc, rc);
    rc = callee_find(hc, name, name_len, &chain);
    if (rc > 0)
        return HOST_PARK;
    if (rc < 0)
        return host_result_i32(hc, rc);
    return chain.remote != UINT32_MAX ? batch_remote(hc, &chain, offsets, blob)
                                      : batch_run(hc, &chain, offsets, blob);
}

const struct import_entry imports_batch[] = {
    {"chain_batch", "iiiiiii:i", import_chain_batch},
    {0},
};
