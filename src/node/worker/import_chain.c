/*
 * Host functions of chaining: starting calls, waiting for them, reading their results. The contract
 * is sdk/c/include/atoll.h.
 *
 * A host function decodes and checks everything first and changes nothing; what follows the checks
 * does not fail halfway, or takes back what it has done. Lists of ids come from the guest in pieces
 * of PIECE, so that a call that waits for 100,000 children holds the lock for moments only.
 */
#include "node/worker/process.h"

#include "engine/link.h"
#include "sandbox/region.h"

#include <stdio.h>
#include <stdlib.h>

#define OPTIONS_BYTES 48u
#define RESULT_BYTES  48u
#define PIECE         256u
#define IDS_RETRY_NS  1000000ll
#define RIGHT_REMOTE  1u /* of REQUEST_RESOLVE's answer: by REQUEST_CALL */
#define PRIORITY_MOST 10u

enum chain_flag { CHAIN_DETACH = 1, CHAIN_LOCAL = 2, CHAIN_FRESH = 4, CHAIN_GANG = 8 };
#define CHAIN_FLAGS (CHAIN_DETACH | CHAIN_LOCAL | CHAIN_FRESH | CHAIN_GANG)

struct options {
    uint32_t size, flags;
    uint64_t timeout_ns;
    uint32_t retries, priority;
    uint32_t affinity_ptr, affinity_len;
    uint64_t memory_max;
    uint32_t policy_ptr, policy_len;
};
_Static_assert(sizeof(struct options) == OPTIONS_BYTES, "atoll.h");

struct result {
    uint64_t id;
    int32_t status, code;
    uint64_t out_len, queue_ns, run_ns;
    uint32_t node, flags;
};
_Static_assert(sizeof(struct result) == RESULT_BYTES, "atoll.h");

/* What is to be started. */
struct chain {
    struct options options;
    struct version *version; /* retained by chain_begin: version->calls */
    uint32_t remote;         /* number of a version that another worker runs; UINT32_MAX = none */
    uint32_t function;       /* of chain_fn; UINT32_MAX */
    uint32_t count;
    bool batch;
    uint32_t ids_at; /* where the guest wants the ids, 0 with `no_ids` */
    bool no_ids;
};

/* ---- decoding ---- */

static int options_read(struct host_call *hc, uint32_t at, struct options *o)
{
    *o = (struct options){.size = OPTIONS_BYTES};
    if (at == 0)
        return 0;
    uint32_t size;
    if (guest_read(hc->arena, &size, at, sizeof size) < 0)
        return -ATOLL_EFAULT;
    if (size < OPTIONS_BYTES)
        return -ATOLL_EINVAL;
    if (guest_read(hc->arena, o, at, sizeof *o) < 0)
        return -ATOLL_EFAULT;
    if (!guest_range(hc->arena, o->affinity_ptr, o->affinity_len, GUEST_READ) ||
        !guest_range(hc->arena, o->policy_ptr, o->policy_len, GUEST_READ))
        return -ATOLL_EFAULT;
    if (o->flags & ~(uint32_t)CHAIN_FLAGS || o->retries > CALL_RETRIES_MAX ||
        o->priority > PRIORITY_MOST)
        return -ATOLL_EINVAL;
    return 0;
}

/* "tenant/name" from the guest's "name" or "tenant/name", both with or without "@alias". */
static int name_read(struct host_call *hc, uint32_t at, uint32_t len, char out[NAME_TEXT_MAX],
                     uint32_t *out_len)
{
    const struct faaslet *f = faaslet_of(hc);
    char text[NAME_TEXT_MAX], tenant[NAME_MAX_LEN + 1], function[NAME_MAX_LEN + 1];
    struct error e;
    if (!guest_range(hc->arena, at, len, GUEST_READ))
        return -ATOLL_EFAULT;
    if (len == 0 || len > 3 * NAME_MAX_LEN + 2)
        return -ATOLL_EINVAL;
    if (guest_read(hc->arena, text, at, len) < 0)
        return -ATOLL_EFAULT;
    const char *alias = memchr(text, '@', len), *slash = memchr(text, '/', len);
    uint32_t name_len = alias ? (uint32_t)(alias - text) : len;
    if (alias && !name_is_valid(alias + 1, len - name_len - 1))
        return -ATOLL_EINVAL;
    if (name_split(text, name_len, tenant, function, &e) < 0)
        return -ATOLL_EINVAL;
    const char *owner = slash ? tenant : f->version->tenant;
    if (!manifest_may_call(&f->version->manifest, owner, function))
        return -ATOLL_EPERM;
    *out_len = (uint32_t)snprintf(out, NAME_TEXT_MAX, "%s/%s%.*s", owner, function,
                                  alias ? (int)(len - name_len) : 0, alias ? alias : "");
    return 0;
}

/* ---- finding the version ---- */

/* Keeps the version while calls of it are made. Under worker.lock. */
static int version_hold(struct worker *w, uint32_t number, struct chain *chain)
{
    struct version *v = version_find(w, number);
    if (!v || v->dropped)
        return -ATOLL_ENOENT;
    v->calls++;
    chain->version = v;
    return 0;
}

static void version_let_go(struct worker *w, struct chain *chain)
{
    struct version *v = chain->version;
    if (v && --v->calls == 0)
        version_unused(w, v);
    chain->version = NULL;
}

/* From the supervisor's answer. */
static int name_answered(struct faaslet *f, const char *name, uint32_t len, struct chain *chain)
{
    struct worker *w = f->worker;
    const struct answer *a = faaslet_answer(f);
    if (a->result < 0)
        return a->result == -ATOLL_EPERM ? -ATOLL_EPERM
               : a->result < -100        ? -ATOLL_EIO
                                         : (int)a->result;
    if (a->payload_len != 12)
        return -ATOLL_EIO;
    uint32_t number = load_u32(a->payload);
    bool remote = load_u64(a->payload + 4) & RIGHT_REMOTE;
    pthread_mutex_lock(&w->lock);
    int rc = remote ? 0 : version_hold(w, number, chain);
    if (rc == 0 && !remote)
        name_learn(w, name, len, number, f->name_epoch);
    pthread_mutex_unlock(&w->lock);
    chain->remote = remote ? number : UINT32_MAX;
    return rc;
}

/* 0: found. 1: asked, park. */
static int name_find(struct host_call *hc, const char *name, uint32_t len, struct chain *chain)
{
    struct faaslet *f = faaslet_of(hc);
    struct worker *w = f->worker;
    uint32_t number;
    if (f->asked_name) {
        f->asked_name = false;
        return name_answered(f, name, len, chain);
    }
    pthread_mutex_lock(&w->lock);
    bool known = name_known(w, name, len, &number) && version_hold(w, number, chain) == 0;
    f->name_epoch = w->name_epoch;
    pthread_mutex_unlock(&w->lock);
    if (known)
        return 0;
    f->asked_name = true;
    (void)faaslet_ask(hc, REQUEST_RESOLVE, name, len, -1, 0);
    return 1;
}

/* ---- limits ---- */

/* Under worker.lock. Whether this call may have n more children; -ATOLL_EAGAIN: no ids yet. */
static int children_allowed(struct worker *w, const struct call *parent, uint32_t n)
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
    const struct options *o = &chain->options;
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
    const struct options *o = &chain->options;
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

/* A child that is in no queue yet. Under worker.lock, after children_allowed. */
static struct call *child_make(struct worker *w, const struct chain *chain, struct call *parent,
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

/* Into the queue; nothing can fail. Under worker.lock. */
static void child_start(struct worker *w, struct call *c, const struct call *parent)
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

/* Wakes somebody for what was queued, except for one call that its parent is likely to wait for. */
static void children_announce(struct guest_thread *t, uint32_t n, int64_t now)
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

/* ---- calls for another worker ---- */

static void remote_message(const struct call *c, const struct call *parent, uint32_t number,
                           uint32_t priority, struct message *m)
{
    const struct app *app = parent->app;
    *m = (struct message){
        .header.kind = MESSAGE_CALL,
        .call = {.app = app->id,
                 .parent = parent->id,
                 .input_len = c->input_len,
                 .deadline_ns = c->deadline_ns == INT64_MAX ? 0 : c->deadline_ns,
                 .queued_ns = c->queued_ns,
                 .version = number,
                 .flags = (c->fresh ? CALL_FLAG_FRESH : 0u) | (app->graph ? CALL_FLAG_GRAPH : 0u),
                 .priority = priority ? priority - 1 : PRIORITY_MOST,
                 .depth = c->depth},
    };
    memcpy(m->call.trace_id, app->trace_id, sizeof app->trace_id);
    memcpy(m->call.span_id, app->span_id, sizeof app->span_id);
    if (c->input && c->input->len <= MESSAGE_INLINE) {
        m->parts[2] = blob_bytes(c->input);
        m->part_len[2] = (uint32_t)c->input->len;
    } else if (c->input) {
        m->call.input_fd = 1;
    }
}

/* Its version is the caller's own: it only stands for accounts of this worker. */
static int remote_start(struct worker *w, struct call *parent, const struct chain *chain,
                        struct blob *input, uint64_t *id)
{
    struct error e;
    struct message m;
    int fd = input && input->len > MESSAGE_INLINE ? blob_file(input, &e) : -1;
    pthread_mutex_lock(&w->lock);
    int rc = children_allowed(w, parent, 1);
    struct call *c =
        rc == 0 ? child_make(w, chain, parent, parent->version, input, clock_monotonic_ns()) : NULL;
    if (rc == 0 && !c)
        rc = -ATOLL_ENOMEM;
    if (rc == 0) {
        c->retries = 0;
        c->stage = STAGE_REMOTE;
        remote_message(c, parent, chain->remote, chain->options.priority, &m);
        *id = c->id;
        blob_retain(input); /* the message points into it */
    }
    pthread_mutex_unlock(&w->lock);
    if (rc < 0)
        return rc;
    rc = remote_call(w, c, &m, fd);
    blob_release(input);
    if (rc == 0)
        return 0;
    struct call_end end = {.status = CALL_REJECTED, .code = rc};
    pthread_mutex_lock(&w->lock);
    bool ours = c->stage == STAGE_REMOTE;
    if (ours)
        c->stage = STAGE_RUNNING;
    pthread_mutex_unlock(&w->lock);
    if (ours)
        call_finish(w, NULL, c, &end);
    return 0;
}

/* ---- starting one ---- */

/* A copy of guest bytes. 0 and NULL for none. */
static int input_copy(struct host_call *hc, uint32_t at, uint64_t len, struct blob **out)
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

/* There are no call ids: the supervisor is asked for more, and the guest waits. */
static enum host_status ids_wait(struct host_call *hc, struct worker *w, uint32_t n)
{
    ids_ask(w, (uint64_t)n + IDS_LOW);
    hc->park->fd_count = 0;
    hc->park->deadline_ns = clock_monotonic_ns() + IDS_RETRY_NS;
    return HOST_PARK;
}

static int local_start(struct worker *w, struct guest_thread *t, struct call *parent,
                       const struct chain *chain, struct blob *input, uint64_t *id)
{
    int64_t now = clock_monotonic_ns();
    struct version *v = chain->version;
    struct call *c = NULL;
    pthread_mutex_lock(&w->lock);
    int rc = children_allowed(w, parent, 1);
    if (rc == 0)
        c = child_make(w, chain, parent, v, input, now);
    if (rc == 0 && !c)
        rc = -ATOLL_ENOMEM;
    if (c && !queue_prepare(w, v, c->depth, c->priority)) {
        c->input = NULL;
        call_undo(w, c);
        rc = -ATOLL_ENOMEM;
    } else if (c) {
        *id = c->id;
        child_start(w, c, parent);
    }
    uint64_t left = ids_left(w);
    pthread_mutex_unlock(&w->lock);
    if (left < IDS_LOW)
        ids_ask(w, IDS_LOW);
    if (rc == 0)
        children_announce(t, 1, now);
    return rc;
}

/* chain and chain_fn, when the version is known. */
static enum host_status chain_one(struct host_call *hc, struct chain *chain, uint32_t at,
                                  uint64_t len)
{
    struct faaslet *f = faaslet_of(hc);
    struct worker *w = f->worker;
    struct blob *input = NULL;
    uint64_t id = 0;
    int rc = input_copy(hc, at, len, &input);
    if (rc == 0)
        rc = chain->remote != UINT32_MAX ? remote_start(w, f->call, chain, input, &id)
                                         : local_start(w, f->thread, f->call, chain, input, &id);
    if (rc < 0)
        blob_release(input);
    pthread_mutex_lock(&w->lock);
    version_let_go(w, chain);
    pthread_mutex_unlock(&w->lock);
    if (rc == -ATOLL_EAGAIN)
        return ids_wait(hc, w, 1);
    if (rc == 0 && !chain->no_ids)
        rc = guest_write(hc->arena, chain->ids_at, &id, sizeof id);
    return host_result_i32(hc, rc);
}

/* Common checks of chain and chain_fn; *rc is 0 when they pass. */
static int chain_decode(struct host_call *hc, struct chain *chain, uint32_t in, uint64_t len,
                        uint32_t options, uint32_t id)
{
    const struct call *c = faaslet_of(hc)->call;
    *chain = (struct chain){
        .remote = UINT32_MAX, .function = UINT32_MAX, .count = 1, .ids_at = id, .no_ids = id == 0};
    int rc = options_read(hc, options, &chain->options);
    if (rc < 0)
        return rc;
    if (len > UINT32_MAX || !guest_range(hc->arena, in, len, GUEST_READ))
        return -ATOLL_EFAULT;
    if (chain->no_ids && !(chain->options.flags & CHAIN_DETACH))
        return -ATOLL_EFAULT;
    if (!chain->no_ids && !guest_range(hc->arena, id, 8, GUEST_WRITE))
        return -ATOLL_EFAULT;
    return c->zygote ? -ATOLL_EPERM : 0;
}

static enum host_status import_chain(struct host_call *hc)
{
    struct chain chain;
    char name[NAME_TEXT_MAX];
    uint32_t name_len, in = hc->slots[2].u32;
    uint64_t len = hc->slots[3].u64;
    int rc = chain_decode(hc, &chain, in, len, hc->slots[4].u32, hc->slots[5].u32);
    if (rc == 0)
        rc = name_read(hc, hc->slots[0].u32, hc->slots[1].u32, name, &name_len);
    if (rc == 0)
        rc = name_find(hc, name, name_len, &chain);
    if (rc > 0)
        return HOST_PARK;
    if (rc < 0)
        return host_result_i32(hc, rc);
    return chain_one(hc, &chain, in, len);
}

/* ---- functions of tables ---- */

/* The defined function () -> i32 that the table entry holds, or UINT32_MAX. */
static uint32_t table_function(const struct faaslet *f, uint32_t index)
{
    const struct instance *i = arena_primary(f->arena);
    const struct artefact *artefact = instance_artefact(i);
    const struct wasm_module *m = &artefact->module;
    if (m->table_count == 0)
        return UINT32_MAX;
    const struct table_descriptor *d = instance_table(i, 0);
    if (index >= d->size)
        return UINT32_MAX;
    int64_t record = table_entries(i, d)[index].record;
    uint64_t offset = (uint64_t)(f->arena->base + record - (const uint8_t *)instance_records(i));
    uint64_t number = offset / sizeof(struct function_record);
    if (record == 0 || offset % sizeof(struct function_record) ||
        number >= artefact->layout.record_count)
        return UINT32_MAX;
    uint32_t function = f->proto->record_functions[number];
    struct wasm_signature s = wasm_function_signature(m, function);
    bool fits = s.param_count == 0 && s.result_count == 1 && s.results[0] == WASM_I32;
    return fits ? function : UINT32_MAX;
}

static enum host_status import_chain_fn(struct host_call *hc)
{
    struct faaslet *f = faaslet_of(hc);
    struct worker *w = f->worker;
    struct chain chain;
    uint32_t in = hc->slots[1].u32;
    uint64_t len = hc->slots[2].u64;
    int rc = chain_decode(hc, &chain, in, len, hc->slots[3].u32, hc->slots[4].u32);
    if (rc == 0 && (chain.function = table_function(f, hc->slots[0].u32)) == UINT32_MAX)
        rc = -ATOLL_EINVAL;
    if (rc < 0)
        return host_result_i32(hc, rc);
    pthread_mutex_lock(&w->lock);
    chain.version = f->version;
    chain.version->calls++;
    pthread_mutex_unlock(&w->lock);
    return chain_one(hc, &chain, in, len);
}

/* ---- batches ---- */

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
        rc = input_copy(hc, (uint32_t)(blob_at + b->offsets[k]), b->offsets[k + 1] - b->offsets[k],
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
    version_let_go(w, chain);
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
        rc = remote_start(w, f->call, chain, b.inputs[started], &b.offsets[started]);
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
                           .batch = true,
                           .ids_at = ids,
                           .no_ids = ids == 0};
    int rc = options_read(hc, hc->slots[5].u32, &chain.options);
    if (rc == 0 && n > CALL_CHILDREN_MAX)
        rc = -ATOLL_ELIMIT;
    if (rc == 0 && (!guest_range(hc->arena, offsets, (n + 1ull) * 8, GUEST_READ) ||
                    (chain.no_ids ? !(chain.options.flags & CHAIN_DETACH)
                                  : !guest_range(hc->arena, ids, n * 8ull, GUEST_WRITE))))
        rc = -ATOLL_EFAULT;
    if (rc == 0 && faaslet_of(hc)->call->zygote)
        rc = -ATOLL_EPERM;
    if (rc == 0)
        rc = name_read(hc, hc->slots[0].u32, hc->slots[1].u32, name, &name_len);
    if (rc < 0 || n == 0)
        return host_result_i32(hc, rc);
    rc = name_find(hc, name, name_len, &chain);
    if (rc > 0)
        return HOST_PARK;
    if (rc < 0)
        return host_result_i32(hc, rc);
    return chain.remote != UINT32_MAX ? batch_remote(hc, &chain, offsets, blob)
                                      : batch_run(hc, &chain, offsets, blob);
}

/* ---- waiting ---- */

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

/* Parks until enough have ended. */
static enum host_status await_park(struct await *a, uint64_t timeout_ns)
{
    struct worker *w = a->f->worker;
    struct call *c = a->f->call;
    int64_t now = clock_monotonic_ns();
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
    a->hc->park->deadline_ns = timeout_ns < (uint64_t)(HOST_NO_DEADLINE - now)
                                   ? now + (int64_t)timeout_ns
                                   : HOST_NO_DEADLINE;
    return HOST_PARK;
}

/* Whether enough have ended, or the time is over. */
static bool await_over(struct await *a)
{
    struct worker *w = a->f->worker;
    struct call *c = a->f->call;
    bool late = clock_monotonic_ns() >= a->hc->park->deadline_ns;
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

/* ---- results ---- */

/* The output of an ended child, retained; NULL when it is empty. */
static int child_output(struct faaslet *f, uint64_t id, struct blob **out)
{
    struct worker *w = f->worker;
    guest_other_call(f);
    pthread_mutex_lock(&w->lock);
    const struct call *c = call_child(w, f->call, id);
    int rc = !c ? -ATOLL_ENOENT : call_ended(c) ? 0 : -ATOLL_EAGAIN;
    *out = rc == 0 ? blob_retain(c->output) : NULL;
    pthread_mutex_unlock(&w->lock);
    return rc;
}

static enum host_status import_result_read(struct host_call *hc)
{
    struct blob *b;
    int64_t rc = child_output(faaslet_of(hc), hc->slots[0].u64, &b);
    if (rc == 0)
        rc = blob_read(hc, b, hc->slots[1].u64, hc->slots[2].u32, hc->slots[3].u64);
    blob_release(b);
    return host_result_i64(hc, rc);
}

static enum host_status import_result_map(struct host_call *hc)
{
    struct blob *b = NULL;
    uint32_t to = hc->slots[1].u32, address = 0;
    int rc = guest_range(hc->arena, to, sizeof address, GUEST_WRITE) ? 0 : -ATOLL_EFAULT;
    if (rc == 0)
        rc = child_output(faaslet_of(hc), hc->slots[0].u64, &b);
    if (rc == 0)
        rc = b && b->len ? blob_map(hc, "result", b, &address) : -ATOLL_ENOENT;
    if (rc == 0)
        rc = guest_write(hc->arena, to, &address, sizeof address);
    blob_release(b);
    return host_result_i32(hc, rc);
}

static enum host_status import_cancel(struct host_call *hc)
{
    struct faaslet *f = faaslet_of(hc);
    struct worker *w = f->worker;
    guest_other_call(f);
    pthread_mutex_lock(&w->lock);
    struct call *c = call_child(w, f->call, hc->slots[0].u64);
    if (c)
        call_stop(w, c, STOP_CANCEL);
    pthread_mutex_unlock(&w->lock);
    if (c)
        guest_announce(w);
    return host_result_i32(hc, c ? 0 : -ATOLL_ENOENT);
}

static enum host_status import_forget(struct host_call *hc)
{
    struct faaslet *f = faaslet_of(hc);
    struct worker *w = f->worker;
    guest_other_call(f);
    pthread_mutex_lock(&w->lock);
    struct call *c = call_child(w, f->call, hc->slots[0].u64);
    int rc = !c ? -ATOLL_ENOENT : call_ended(c) ? 0 : -ATOLL_EBUSY;
    if (rc == 0)
        call_forget(w, c);
    pthread_mutex_unlock(&w->lock);
    return host_result_i32(hc, rc);
}

const struct import_entry imports_chain[] = {
    {"chain", "iiilii:i", import_chain},
    {"chain_fn", "iilii:i", import_chain_fn},
    {"chain_batch", "iiiiiii:i", import_chain_batch},
    {"await", "iiili:i", import_await},
    {"result_read", "llil:l", import_result_read},
    {"result_map", "li:i", import_result_map},
    {"cancel", "l:i", import_cancel},
    {"forget", "l:i", import_forget},
    {0},
};
