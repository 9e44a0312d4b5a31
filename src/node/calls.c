/*
 * See calls.h.
 *
 * A call lies in a hash table by id from its admission until nobody can ask for it any longer. What
 * waits for a worker lies in its tenant's queues, one per priority; what waits to run again, and
 * what somebody waits for with a time limit, is looked at by a timer that runs only while there is
 * such a call. Kept results are in the order in which they ended: beyond the memory for them the
 * oldest go to the store.
 */
#define _GNU_SOURCE
#include "node/calls.h"

#include "base/clock.h"
#include "node/access.h"
#include "node/call_graph.h"
#include "node/log.h"
#include "node/metrics.h"
#include "node/node.h"
#include "node/workers.h"
#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>
#include <uv.h>

#define BUCKETS        65536u
#define TENANT_BUCKETS 256u
#define PRIORITIES     10u
#define NO_WORKER      UINT32_MAX
#define TIMER_MS       10u
#define RETRY_FIRST_NS 10000000ll
#define RETRY_LAST_NS  10000000000ll
#define RECENT         256u
#define COUNTER_BITS   36u
#define LATE_NS        5000000000ll /* a worker that lets a deadline pass by this much is stuck */

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

struct list {
    struct root *first, *last;
};

struct tenant {
    struct tenant *next;
    char name[NAME_MAX_LEN + 1];
    struct list queues[PRIORITIES];
    uint32_t queued;
    uint64_t live; /* admitted and not ended */
};

struct calls {
    struct node *node;
    struct root *buckets[BUCKETS];
    struct tenant *tenants[TENANT_BUCKETS];
    struct list retries, kept;
    uint64_t kept_bytes, live, waiting;
    uint64_t counter;
    uint32_t threads; /* guest threads of a worker */
    uv_timer_t timer;
    bool timing;
    struct call_graphs *graphs;
    struct call_summary recent[RECENT];
    uint64_t recent_count;
};

/* ---- lists and tables ---- */

static void list_append(struct list *l, struct root *c)
{
    c->next = NULL;
    c->previous = l->last;
    *(l->last ? &l->last->next : &l->first) = c;
    l->last = c;
}

static void list_remove(struct list *l, struct root *c)
{
    *(c->previous ? &c->previous->next : &l->first) = c->next;
    *(c->next ? &c->next->previous : &l->last) = c->previous;
    c->next = c->previous = NULL;
}

static struct root **bucket_of(struct calls *k, uint64_t id)
{
    return &k->buckets[id % BUCKETS];
}

static struct root *root_find(struct calls *k, uint64_t id)
{
    struct root *c = *bucket_of(k, id);
    while (c && c->outcome.id != id)
        c = c->hash_next;
    return c;
}

static struct tenant *tenant_get(struct calls *k, const char *name)
{
    uint32_t h = 2166136261u;
    for (const char *at = name; *at; at++)
        h = (h ^ (uint8_t)*at) * 16777619u;
    struct tenant **bucket = &k->tenants[h % TENANT_BUCKETS], *t = *bucket;
    while (t && strcmp(t->name, name) != 0)
        t = t->next;
    if (t == NULL && (t = calloc(1, sizeof *t)) != NULL) {
        strcpy(t->name, name);
        t->next = *bucket;
        *bucket = t;
    }
    return t;
}

static void timer_tick(uv_timer_t *timer)
{
    struct calls *k = timer->data;
    calls_tick(k, clock_monotonic_ns());
}

static void timer_want(struct calls *k)
{
    if (!k->timing)
        uv_timer_start(&k->timer, timer_tick, TIMER_MS, TIMER_MS);
    k->timing = true;
}

/* ---- the life of one ---- */

static void root_free(struct calls *k, struct root *c)
{
    struct root **at = bucket_of(k, c->outcome.id);
    while (*at != c)
        at = &(*at)->hash_next;
    *at = c->hash_next;
    version_release(k->node->registry, c->request.version);
    blob_release(c->request.input);
    blob_release(c->outcome.output);
    free((char *)(uintptr_t)c->request.head);
    free((char *)(uintptr_t)c->request.arguments);
    free(c->text);
    free(c->head);
    free(c);
}

static char *copy_of(const char *bytes, uint32_t len)
{
    char *copy = malloc(len ? len : 1);
    if (copy)
        memcpy(copy, len ? bytes : "", len);
    return copy;
}

static uint64_t id_next(struct calls *k)
{
    const struct node *n = k->node;
    return (uint64_t)n->config.node_id << 48 | (uint64_t)(n->boot_epoch & 0xfff) << COUNTER_BITS |
           (++k->counter & ((1ull << COUNTER_BITS) - 1));
}

static struct root *root_make(struct calls *k, const struct call_request *q, struct tenant *t)
{
    struct root *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->request = *q;
    c->request.head = q->head_len ? copy_of(q->head, q->head_len) : NULL;
    c->request.arguments = q->arguments_len ? copy_of(q->arguments, q->arguments_len) : NULL;
    if ((q->head_len && !c->request.head) || (q->arguments_len && !c->request.arguments)) {
        free((char *)(uintptr_t)c->request.head);
        free((char *)(uintptr_t)c->request.arguments);
        free(c);
        return NULL;
    }
    blob_retain(q->input);
    version_retain(q->version);
    c->tenant = t;
    c->worker = NO_WORKER;
    c->outcome.id = q->id ? q->id : id_next(k);
    c->outcome.version = q->version;
    c->outcome.text = "";
    c->hash_next = *bucket_of(k, c->outcome.id);
    *bucket_of(k, c->outcome.id) = c;
    return c;
}

static void recent_note(struct calls *k, const struct root *c)
{
    const struct call_outcome *o = &c->outcome;
    struct call_summary *s = &k->recent[k->recent_count++ % RECENT];
    *s = (struct call_summary){.id = o->id,
                               .status = o->status,
                               .temperature = o->temperature,
                               .queue_ns = o->queue_ns,
                               .restore_ns = o->restore_ns,
                               .run_ns = o->run_ns,
                               .ended_ns = clock_ns(CLOCK_REALTIME)};
    snprintf(s->function, sizeof s->function, "%s/%s", o->version->manifest.tenant,
             o->version->manifest.function);
}

static void waiters_tell(struct calls *k, struct root *c)
{
    while (c->waiters) {
        struct waiter *w = c->waiters;
        c->waiters = w->next;
        k->waiting--;
        w->seen(w->context, 0, &c->outcome);
        free(w);
    }
}

static void result_spill(struct calls *k);

/* What a kept result takes; there may be very many without output. */
static uint64_t result_bytes(const struct root *c)
{
    const struct call_outcome *o = &c->outcome;
    return sizeof *c + (o->output ? o->output->len : 0) + strlen(o->text) + o->head_len +
           c->request.head_len + c->request.arguments_len;
}

/* It has an outcome for good: tells whoever waits, then keeps or forgets it. */
static void root_end(struct calls *k, struct root *c)
{
    const struct call_outcome *o = &c->outcome;
    struct metrics_call m = {.status = o->status,
                             .temperature = o->temperature,
                             .queue_ns = o->queue_ns,
                             .restore_ns = o->restore_ns,
                             .run_ns = o->run_ns,
                             .cpu_ns = o->cpu_ns,
                             .memory_bytes = o->memory_bytes};
    metrics_call(k->node->metrics, o->version, &m);
    recent_note(k, c);
    call_graph_root(k->graphs, o, clock_monotonic_ns());
    c->tenant->live--;
    k->live--;
    c->request.version->calls--;
    blob_release(c->request.input);
    c->request.input = NULL;
    if (c->done)
        c->done(c->context, &c->outcome);
    c->done = NULL;
    waiters_tell(k, c);
    if (!c->request.keep) {
        root_free(k, c);
        return;
    }
    c->expire_ns = clock_monotonic_ns() + (int64_t)o->version->manifest.result_ttl_ns;
    list_append(&k->kept, c);
    k->kept_bytes += result_bytes(c);
    result_spill(k);
}

static void root_fail(struct calls *k, struct root *c, enum call_status status, int32_t code,
                      const char *text)
{
    c->outcome.status = status;
    c->outcome.code = code;
    free(c->text);
    c->text = strdup(text);
    c->outcome.text = c->text ? c->text : "";
    if (!c->admitting) {
        root_end(k, c);
        return;
    }
    c->ending = c->retrying = true;
    list_append(&k->retries, c);
    timer_want(k);
}

/* ---- queueing and sending ---- */

static void queue_leave(struct root *c)
{
    if (!c->queued)
        return;
    list_remove(&c->tenant->queues[c->request.priority], c);
    c->tenant->queued--;
    c->queued = false;
}

static void queue_enter(struct calls *k, struct root *c)
{
    list_append(&c->tenant->queues[c->request.priority], c);
    c->tenant->queued++;
    c->queued = true;
    timer_want(k);
}

static int root_send(struct calls *k, struct root *c, struct error *e)
{
    const struct call_request *q = &c->request;
    uint32_t worker;
    int rc = workers_place(k->node->workers, q->version, &worker, e);
    if (rc != 0)
        return rc;
    uint64_t input_len = q->input ? q->input->len : 0;
    bool by_file = input_len > MESSAGE_INLINE;
    int fd = by_file ? blob_file(q->input, e) : -1;
    if (by_file && fd < 0)
        return fd;
    struct message m = {
        .header = {.kind = MESSAGE_CALL, .id = c->outcome.id},
        .call = {.app = c->outcome.id,
                 .input_len = input_len,
                 .deadline_ns = c->deadline_ns,
                 .queued_ns = c->admitted_ns,
                 .version = q->version->number,
                 .flags = q->flags | CALL_FLAG_GRAPH,
                 .attempt = c->outcome.attempt,
                 .priority = q->priority,
                 .head_len = q->head_len,
                 .arguments_len = q->arguments_len,
                 .input_fd = by_file},
        .parts = {(const uint8_t *)q->head, (const uint8_t *)q->arguments,
                  by_file || !q->input ? NULL : blob_bytes(q->input)},
        .part_len = {q->head_len, q->arguments_len, by_file ? 0 : (uint32_t)input_len},
    };
    memcpy(m.call.trace_id, q->trace_id, sizeof m.call.trace_id);
    memcpy(m.call.span_id, q->span_id, sizeof m.call.span_id);
    rc = workers_send_call(k->node->workers, worker, q->version, &m, fd, e);
    if (rc == 0) {
        c->worker = worker;
        c->outcome.status = CALL_RUNNING;
    }
    return rc;
}

/* Sends it, or leaves it in the queue when no worker has room, or ends it. */
static void root_dispatch(struct calls *k, struct root *c)
{
    struct error e;
    int rc = root_send(k, c, &e);
    if (rc == -ATOLL_EAGAIN) {
        if (!c->queued)
            queue_enter(k, c);
        return;
    }
    queue_leave(c);
    if (rc != 0)
        root_fail(k, c, rc == -ATOLL_EUNAVAIL ? CALL_LOST : CALL_REJECTED, rc, e.text);
}

static void version_prepared(void *context, struct function_version *v, const struct error *failed)
{
    /* The call may have ended meanwhile: the table knows. */
    uint64_t *key = context;
    struct calls *k = (struct calls *)(uintptr_t)key[0];
    struct root *c = root_find(k, key[1]);
    free(key);
    (void)v;
    if (c == NULL || c->outcome.status != CALL_PENDING)
        return;
    if (failed)
        root_fail(k, c, CALL_REJECTED, failed->code, failed->text);
    else
        root_dispatch(k, c);
}

static void root_begin(struct calls *k, struct root *c)
{
    if (c->request.version->state == VERSION_READY) {
        root_dispatch(k, c);
        return;
    }
    uint64_t *key = malloc(2 * sizeof *key);
    if (key == NULL) {
        root_fail(k, c, CALL_REJECTED, -ATOLL_ENOMEM, "no memory for a call");
        return;
    }
    key[0] = (uintptr_t)k;
    key[1] = c->outcome.id;
    registry_prepare(k->node->registry, c->request.version, version_prepared, key);
}

static uint32_t queue_limit(const struct calls *k, const char *tenant)
{
    const struct node_config *c = &k->node->config;
    uint32_t own = access_tenant(k->node->access, tenant)->queue_max;
    return own ? own : c->queue_max ? c->queue_max : 4 * k->threads * 64;
}

int calls_submit(struct calls *k, const struct call_request *q, call_done done, void *context,
                 uint64_t *id, struct error *e)
{
    const struct manifest *m = &q->version->manifest;
    struct metrics *metrics = k->node->metrics;
    if (k->node->draining) {
        metrics_rejected(metrics, "draining");
        return error_set(e, ATOLL_EUNAVAIL, "the node is draining and takes no new calls");
    }
    struct tenant *t = tenant_get(k, m->tenant);
    if (t && t->queued >= queue_limit(k, m->tenant)) {
        metrics_rejected(metrics, "queue");
        return error_set(e, ATOLL_EREJECTED, "%u calls of tenant %s wait already; try again later",
                         t->queued, m->tenant);
    }
    struct root *c = t ? root_make(k, q, t) : NULL;
    if (c == NULL) {
        metrics_rejected(metrics, "memory");
        return error_set(e, ATOLL_ENOMEM, "no memory for another call");
    }
    uint64_t timeout =
        q->timeout_ns && q->timeout_ns < m->timeout_ns ? q->timeout_ns : m->timeout_ns;
    c->admitted_ns = clock_monotonic_ns();
    c->deadline_ns = c->admitted_ns + (int64_t)timeout;
    if (c->request.priority >= PRIORITIES)
        c->request.priority = m->priority;
    c->done = done;
    c->context = context;
    t->live++;
    k->live++;
    q->version->calls++;
    *id = c->outcome.id;
    c->admitting = true;
    root_begin(k, c);
    c->admitting = false;
    return 0;
}

/* ---- outcomes ---- */

static bool retry_wanted(const struct root *c)
{
    const struct manifest *m = &c->request.version->manifest;
    if (c->cancelled || c->outcome.attempt >= m->retries)
        return false;
    switch (c->outcome.status) {
    case CALL_LOST:
    case CALL_TRAPPED:
    case CALL_REJECTED: return true;
    case CALL_FAILED: return m->retry_on_fail;
    default: return false;
    }
}

/* 10 ms x 2^attempt, with up to half of it more. */
static int64_t retry_delay(uint32_t attempt)
{
    int64_t delay = RETRY_LAST_NS;
    uint32_t random = 0;
    if (attempt < 10)
        delay = RETRY_FIRST_NS << attempt;
    if (getrandom(&random, sizeof random, GRND_NONBLOCK) != sizeof random)
        random = 0;
    return delay + delay / 2 * (random >> 16) / 65536;
}

/* What an attempt left, before the next one. */
static void outcome_clear(struct root *c)
{
    blob_release(c->outcome.output);
    c->outcome.output = NULL;
    free(c->text);
    free(c->head);
    c->text = c->head = NULL;
    c->outcome.text = "";
    c->outcome.head = NULL;
    c->outcome.head_len = 0;
}

static void root_settle(struct calls *k, struct root *c)
{
    int64_t now = clock_monotonic_ns();
    c->worker = NO_WORKER;
    int64_t again = retry_wanted(c) ? now + retry_delay(c->outcome.attempt) : INT64_MAX;
    if (again == INT64_MAX || (c->deadline_ns && again >= c->deadline_ns)) {
        root_end(k, c);
        return;
    }
    outcome_clear(c);
    c->outcome.attempt++;
    c->outcome.status = CALL_PENDING;
    c->again_ns = again;
    c->retrying = true;
    list_append(&k->retries, c);
    timer_want(k);
}

void calls_result(struct calls *k, uint32_t worker, struct message *m, int output_fd)
{
    struct root *c = root_find(k, m->header.id);
    const struct message_result *r = &m->result;
    if (c == NULL || c->worker != worker) {
        if (output_fd >= 0)
            close(output_fd);
        return;
    }
    struct call_outcome *o = &c->outcome;
    struct error e;
    o->status = (enum call_status)r->status;
    o->code = r->code;
    o->temperature = (enum call_temperature)r->temperature;
    o->children = r->children;
    o->queue_ns = r->queue_ns;
    o->restore_ns = r->restore_ns;
    o->run_ns = r->run_ns;
    o->cpu_ns = r->cpu_ns;
    o->memory_bytes = r->memory_bytes;
    if (r->text_len && (c->text = malloc(r->text_len + 1u)) != NULL) {
        memcpy(c->text, m->parts[0], r->text_len);
        c->text[r->text_len] = 0;
        o->text = c->text;
    }
    if (r->head_len && (c->head = copy_of((const char *)m->parts[1], r->head_len)) != NULL) {
        o->head = c->head;
        o->head_len = r->head_len;
    }
    uint64_t most = c->request.version->manifest.output_bytes;
    if (output_fd >= 0 && r->output_len > (most > MESSAGE_INLINE ? most : MESSAGE_INLINE)) {
        close(output_fd);
        log_write(LOG_ERROR, "calls", NULL, "an output was lost: it is longer than it may be");
    } else if (output_fd >= 0) {
        if (blob_from_fd(output_fd, r->output_len, &o->output, &e) != 0)
            log_write(LOG_ERROR, "calls", NULL, "an output was lost: %s", e.text);
    } else if (r->output_len) {
        o->output = blob_create(m->parts[2], m->part_len[2]);
    }
    if (r->output_len && o->output == NULL) {
        o->status = CALL_LOST;
        o->code = -ATOLL_ENOMEM;
        o->text = "the call ended, but its output could not be kept: no memory";
    }
    root_settle(k, c);
}

uint64_t calls_take_ids(struct calls *k, uint64_t count)
{
    uint64_t first = id_next(k);
    k->counter += count - 1;
    return first;
}

void calls_child(struct calls *k, uint32_t worker, const struct message *m)
{
    const struct message_child *r = &m->child;
    struct function_version *v = registry_by_number(k->node->registry, r->version);
    const struct root *c = root_find(k, r->app);
    const char *tenant = c ? c->tenant->name : call_graph_tenant(k->graphs, r->app);
    /* Only of calls of its own: the root runs there, or has. */
    if (v == NULL || tenant == NULL || strcmp(tenant, v->manifest.tenant) != 0 ||
        (c && c->worker != worker && c->worker != NO_WORKER))
        return;
    call_graph_child(k->graphs, m->header.id, r, v);
}

void calls_worker_lost(struct calls *k, uint32_t worker)
{
    for (uint32_t i = 0; i < BUCKETS; i++) {
        struct root *c = k->buckets[i];
        while (c) {
            if (c->worker != worker) {
                c = c->hash_next;
                continue;
            }
            c->outcome.status = CALL_LOST;
            c->outcome.code = -ATOLL_ELOST;
            c->outcome.text = "the worker process died while the call ran";
            root_settle(k, c);
            c = k->buckets[i]; /* whoever was told may have changed the list */
        }
    }
}

void calls_tenant_room(struct calls *k, const char *tenant)
{
    struct tenant *t = tenant_get(k, tenant);
    for (uint32_t p = 0; t && t->queued > 0 && p < PRIORITIES; p++) {
        struct list *queue = &t->queues[PRIORITIES - 1 - p];
        while (queue->first) {
            struct root *c = queue->first;
            root_dispatch(k, c);
            if (queue->first == c)
                return; /* still no room */
        }
    }
}

/* ---- asking and cancelling ---- */

int calls_cancel(struct calls *k, uint64_t id)
{
    struct root *c = root_find(k, id);
    if (c == NULL)
        return -ATOLL_ENOENT;
    if (c->expire_ns != 0)
        return 0;
    c->cancelled = true;
    if (c->worker != NO_WORKER) {
        workers_cancel(k->node->workers, c->worker, id);
        return 0;
    }
    queue_leave(c);
    if (c->retrying) {
        list_remove(&k->retries, c);
        c->retrying = false;
    }
    root_fail(k, c, CALL_CANCELLED, -ATOLL_ECANCELED, "cancelled before it ran");
    return 0;
}

void calls_abandon(struct calls *k, uint64_t id)
{
    struct root *c = root_find(k, id);
    if (c == NULL)
        return;
    c->done = NULL;
    c->context = NULL;
    if (!c->request.keep)
        calls_cancel(k, id);
}

const char *calls_tenant(struct calls *k, uint64_t id)
{
    struct root *c = root_find(k, id);
    return c ? c->tenant->name : call_graph_tenant(k->graphs, id);
}

static void stored_seen(void *context, const struct gt_result *);

void calls_wait(struct calls *k, uint64_t id, int64_t wait_ns, call_seen seen, void *context)
{
    struct root *c = root_find(k, id);
    if (c && c->expire_ns != 0 && c->expire_ns <= clock_monotonic_ns()) {
        seen(context, -ATOLL_EEXPIRED, NULL);
        return;
    }
    struct waiter *w = malloc(sizeof *w);
    if (w == NULL) {
        seen(context, -ATOLL_ENOMEM, NULL);
        return;
    }
    *w = (struct waiter){.id = id, .seen = seen, .context = context};
    if (c == NULL) {
        struct error e;
        if (store_get(k->node->store, STORE_CALL, &id, sizeof id,
                      (struct gt_callback){stored_seen, w}, &e) != 0) {
            seen(context, e.code, NULL);
            free(w);
        }
        return;
    }
    if (c->expire_ns != 0 || wait_ns <= 0) {
        free(w);
        seen(context, 0, &c->outcome);
        return;
    }
    w->until_ns = clock_monotonic_ns() + wait_ns;
    w->next = c->waiters;
    c->waiters = w;
    k->waiting++;
    timer_want(k);
}

int calls_graph(struct calls *k, uint64_t app, struct buffer *out, struct error *e)
{
    struct root *c = root_find(k, app);
    return call_graph_render(k->graphs, app, c ? &c->outcome : NULL, out, e);
}

/* ---- kept results ---- */

/* A result in the store: i64 expires (CLOCK_REALTIME) | i32 status, code | u32 temperature, attempt
 * | u64 queue, restore, run, cpu | u32 text, head lengths | text | head | output */
#define STORED_HEAD (8 + 16 + 32 + 8)

static bool result_encode(const struct root *c, struct buffer *b)
{
    const struct call_outcome *o = &c->outcome;
    int64_t left = c->expire_ns - clock_monotonic_ns();
    uint32_t text_len = (uint32_t)strlen(o->text);
    const uint8_t *bytes = o->output ? blob_bytes(o->output) : (const uint8_t *)"";
    return bytes != NULL && buffer_append_u64(b, (uint64_t)(clock_ns(CLOCK_REALTIME) + left)) &&
           buffer_append_u32(b, (uint32_t)o->status) && buffer_append_u32(b, (uint32_t)o->code) &&
           buffer_append_u32(b, (uint32_t)o->temperature) && buffer_append_u32(b, o->attempt) &&
           buffer_append_u64(b, o->queue_ns) && buffer_append_u64(b, o->restore_ns) &&
           buffer_append_u64(b, o->run_ns) && buffer_append_u64(b, o->cpu_ns) &&
           buffer_append_u32(b, text_len) && buffer_append_u32(b, o->head_len) &&
           buffer_append(b, o->text, text_len) &&
           buffer_append(b, o->head ? o->head : "", o->head_len) &&
           buffer_append(b, bytes, o->output ? o->output->len : 0);
}

static void stored_seen(void *context, const struct gt_result *result)
{
    struct waiter *w = context;
    const uint8_t *p = result->data;
    struct call_outcome o;
    int code = result->code;
    if (code == 0 && result->len < STORED_HEAD)
        code = -ATOLL_ECORRUPT;
    if (code == 0 && (int64_t)load_u64(p) < clock_ns(CLOCK_REALTIME))
        code = -ATOLL_EEXPIRED;
    if (code == 0) {
        uint64_t text_len = load_u32(p + 56), head_len = load_u32(p + 60);
        if (text_len + head_len > result->len - STORED_HEAD)
            code = -ATOLL_ECORRUPT;
        else {
            const uint8_t *text = p + STORED_HEAD;
            char *copy = strndup((const char *)text, text_len);
            o = (struct call_outcome){.id = w->id,
                                      .status = (enum call_status)load_u32(p + 8),
                                      .code = (int32_t)load_u32(p + 12),
                                      .temperature = (enum call_temperature)load_u32(p + 16),
                                      .attempt = load_u32(p + 20),
                                      .queue_ns = load_u64(p + 24),
                                      .restore_ns = load_u64(p + 32),
                                      .run_ns = load_u64(p + 40),
                                      .cpu_ns = load_u64(p + 48),
                                      .text = copy ? copy : "",
                                      .head = (const char *)text + text_len,
                                      .head_len = (uint32_t)head_len};
            o.output = blob_create(text + text_len + head_len,
                                   result->len - STORED_HEAD - text_len - head_len);
            w->seen(w->context, 0, &o);
            blob_release(o.output);
            free(copy);
        }
    }
    if (code != 0)
        w->seen(w->context, code, NULL);
    free(w);
}

static void kept_drop(struct calls *k, struct root *c)
{
    list_remove(&k->kept, c);
    k->kept_bytes -= result_bytes(c);
    root_free(k, c);
}

/* Moves the oldest results to the store while there are too many bytes in memory. */
static void result_spill(struct calls *k)
{
    while (k->kept_bytes > k->node->config.results_bytes && k->kept.first) {
        struct root *c = k->kept.first;
        struct buffer record = {0};
        struct error e;
        struct store_write write = {STORE_PUT, STORE_CALL, &c->outcome.id, sizeof c->outcome.id,
                                    NULL,      0};
        if (result_encode(c, &record)) {
            write.value = record.data;
            write.value_len = record.len;
            if (store_write(k->node->store, &write, 1, 0, (struct gt_callback){0}, &e) != 0)
                log_write(LOG_WARNING, "calls", &(struct log_about){.call = c->outcome.id},
                          "a result is dropped before its time: %s", e.text);
        }
        buffer_free(&record);
        kept_drop(k, c);
    }
}

/* ---- time ---- */

static void waiters_expire(struct calls *k, struct root *c, int64_t now)
{
    for (struct waiter **at = &c->waiters; *at;) {
        struct waiter *w = *at;
        if (now < w->until_ns) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        k->waiting--;
        w->seen(w->context, 0, &c->outcome);
        free(w);
    }
}

static void queues_expire(struct calls *k, struct tenant *t, int64_t now)
{
    for (uint32_t p = 0; p < PRIORITIES; p++) {
        for (struct root *c = t->queues[p].first, *next; c; c = next) {
            next = c->next;
            if (c->deadline_ns == 0 || now < c->deadline_ns)
                continue;
            queue_leave(c);
            root_fail(k, c, CALL_TIMEDOUT, -ATOLL_ETIMEDOUT,
                      "the deadline passed before a worker had room");
        }
    }
}

static void retries_run(struct calls *k, int64_t now)
{
    for (struct root *c = k->retries.first, *next; c; c = next) {
        next = c->next;
        if (now < c->again_ns)
            continue;
        list_remove(&k->retries, c);
        c->retrying = false;
        if (c->ending)
            root_end(k, c);
        else
            root_begin(k, c);
    }
}

void calls_tick(struct calls *k, int64_t now)
{
    bool queued = false;
    retries_run(k, now);
    for (uint32_t i = 0; i < TENANT_BUCKETS; i++) {
        for (struct tenant *t = k->tenants[i]; t; t = t->next) {
            if (t->queued == 0)
                continue;
            queues_expire(k, t, now);
            calls_tenant_room(k, t->name);
            queued |= t->queued > 0;
        }
    }
    if (k->waiting > 0) {
        for (uint32_t i = 0; i < BUCKETS; i++) {
            for (struct root *c = k->buckets[i], *next; c; c = next) {
                next = c->hash_next;
                waiters_expire(k, c, now);
            }
        }
    }
    while (k->kept.first && k->kept.first->expire_ns <= now)
        kept_drop(k, k->kept.first);
    call_graph_expire(k->graphs, now);
    if (!queued && k->retries.first == NULL && k->waiting == 0) {
        uv_timer_stop(&k->timer);
        k->timing = false;
    }
}

/* Workers end calls at their deadline; one that does not is stuck. */
void calls_watch(struct calls *k, int64_t now)
{
    for (uint32_t i = 0; i < BUCKETS; i++) {
        for (struct root *c = k->buckets[i]; c; c = c->hash_next) {
            if (c->worker != NO_WORKER && c->deadline_ns && now > c->deadline_ns + LATE_NS) {
                log_write(LOG_ERROR, "calls", &(struct log_about){.call = c->outcome.id},
                          "worker %u let a deadline pass; it is killed", c->worker);
                workers_kill(k->node->workers, c->worker);
                return;
            }
        }
    }
}

uint64_t calls_live(const struct calls *k)
{
    return k->live;
}

uint32_t calls_recent(const struct calls *k, struct call_summary *out, uint32_t max)
{
    uint64_t have = k->recent_count < RECENT ? k->recent_count : RECENT;
    uint32_t count = have < max ? (uint32_t)have : max;
    for (uint32_t i = 0; i < count; i++)
        out[i] = k->recent[(k->recent_count - 1 - i) % RECENT];
    return count;
}

int calls_create(struct node *node, struct calls **out, struct error *e)
{
    *out = NULL;
    struct calls *k = calloc(1, sizeof *k);
    if (k == NULL || (k->graphs = call_graphs_create()) == NULL) {
        free(k);
        return error_set(e, ATOLL_ENOMEM, "no memory for the table of calls");
    }
    k->node = node;
    k->threads = node->config.threads ? node->config.threads : uv_available_parallelism();
    uv_timer_init(node->loop, &k->timer);
    k->timer.data = k;
    *out = k;
    return 0;
}

static void calls_free(uv_handle_t *handle)
{
    free(handle->data);
}

void calls_destroy(struct calls *k)
{
    if (k == NULL)
        return;
    for (uint32_t i = 0; i < BUCKETS; i++) {
        while (k->buckets[i]) {
            struct root *c = k->buckets[i];
            while (c->waiters) {
                struct waiter *w = c->waiters;
                c->waiters = w->next;
                free(w);
            }
            root_free(k, c);
        }
    }
    for (uint32_t i = 0; i < TENANT_BUCKETS; i++) {
        while (k->tenants[i]) {
            struct tenant *t = k->tenants[i];
            k->tenants[i] = t->next;
            free(t);
        }
    }
    call_graphs_destroy(k->graphs);
    uv_close((uv_handle_t *)&k->timer, calls_free);
}
