/*
 * See calls.h.
 *
 * A call lies in a hash table by id from its admission until nobody can ask for it any longer. What
 * waits for a worker lies in its tenant's queues, one per priority; what waits to run again, and
 * what somebody waits for with a time limit, is looked at by a timer that runs only while there is
 * such a call. What becomes of a call that has ended: call_results.c.
 */
#define _GNU_SOURCE
#include "node/call_table.h"

#include "base/clock.h"
#include "node/access.h"
#include "node/call_graph.h"
#include "node/log.h"
#include "node/metrics.h"
#include "node/node.h"
#include "node/workers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>
#include <uv.h>

#define NO_WORKER      UINT32_MAX
#define TIMER_MS       10u
#define RETRY_FIRST_NS 10000000ll
#define RETRY_LAST_NS  10000000000ll
#define COUNTER_BITS   36u
#define LATE_NS        5000000000ll /* a worker that lets a deadline pass by this much is stuck */

static struct tenant *tenant_get(struct calls *k, const char *name)
{
    uint32_t h = 2166136261u;
    for (const char *at = name; *at; at++)
        h = (h ^ (uint8_t)*at) * 16777619u;
    struct tenant **bucket = &k->tenants[h % CALL_TENANT_BUCKETS], *t = *bucket;
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

void calls_timer_want(struct calls *k)
{
    if (!k->timing)
        uv_timer_start(&k->timer, timer_tick, TIMER_MS, TIMER_MS);
    k->timing = true;
}

/* ---- the life of one ---- */

void root_free(struct calls *k, struct root *c)
{
    struct root **at = root_bucket(k, c->outcome.id);
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
    c->hash_next = *root_bucket(k, c->outcome.id);
    *root_bucket(k, c->outcome.id) = c;
    return c;
}

/* It has an outcome for good. */
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
    call_graph_root(k->graphs, o, clock_monotonic_ns());
    c->tenant->live--;
    k->live--;
    c->request.version->calls--;
    blob_release(c->request.input);
    c->request.input = NULL;
    results_take(k, c);
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
    root_list_append(&k->retries, c);
    calls_timer_want(k);
}

/* ---- queueing and sending ---- */

static void queue_leave(struct root *c)
{
    if (!c->queued)
        return;
    root_list_remove(&c->tenant->queues[c->request.priority], c);
    c->tenant->queued--;
    c->queued = false;
}

static void queue_enter(struct calls *k, struct root *c)
{
    root_list_append(&c->tenant->queues[c->request.priority], c);
    c->tenant->queued++;
    c->queued = true;
    calls_timer_want(k);
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
    if (c->request.priority >= CALL_PRIORITIES)
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
    root_list_append(&k->retries, c);
    calls_timer_want(k);
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
    for (uint32_t i = 0; i < CALL_BUCKETS; i++) {
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
    for (uint32_t p = 0; t && t->queued > 0 && p < CALL_PRIORITIES; p++) {
        struct root_list *queue = &t->queues[CALL_PRIORITIES - 1 - p];
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
        root_list_remove(&k->retries, c);
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

int calls_graph(struct calls *k, uint64_t app, struct buffer *out, struct error *e)
{
    struct root *c = root_find(k, app);
    return call_graph_render(k->graphs, app, c ? &c->outcome : NULL, out, e);
}

/* ---- time ---- */

/*
 * Ending a call tells whoever waits for it, who may end others in turn: after that the lists are
 * looked at from their start again.
 */
static bool queue_expire_one(struct calls *k, struct root_list *queue, int64_t now)
{
    struct root *c = queue->first;
    while (c && (c->deadline_ns == 0 || now < c->deadline_ns))
        c = c->next;
    if (c == NULL)
        return false;
    queue_leave(c);
    root_fail(k, c, CALL_TIMEDOUT, -ATOLL_ETIMEDOUT,
              "the deadline passed before a worker had room");
    return true;
}

static bool retry_run_one(struct calls *k, int64_t now)
{
    struct root *c = k->retries.first;
    while (c && now < c->again_ns)
        c = c->next;
    if (c == NULL)
        return false;
    root_list_remove(&k->retries, c);
    c->retrying = false;
    if (c->ending)
        root_end(k, c);
    else
        root_begin(k, c);
    return true;
}

void calls_tick(struct calls *k, int64_t now)
{
    bool queued = false;
    while (retry_run_one(k, now)) {
    }
    for (uint32_t i = 0; i < CALL_TENANT_BUCKETS; i++) {
        for (struct tenant *t = k->tenants[i]; t; t = t->next) {
            if (t->queued == 0)
                continue;
            for (uint32_t p = 0; p < CALL_PRIORITIES; p++) {
                while (queue_expire_one(k, &t->queues[p], now)) {
                }
            }
            calls_tenant_room(k, t->name);
            queued |= t->queued > 0;
        }
    }
    results_expire(k, now);
    call_graph_expire(k->graphs, now);
    if (!queued && k->retries.first == NULL && k->waiting == 0) {
        uv_timer_stop(&k->timer);
        k->timing = false;
    }
}

/* Workers end calls at their deadline; one that does not is stuck. */
void calls_watch(struct calls *k, int64_t now)
{
    for (uint32_t i = 0; i < CALL_BUCKETS; i++) {
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
    for (uint32_t i = 0; i < CALL_BUCKETS; i++) {
        while (k->buckets[i]) {
            struct root *c = k->buckets[i];
            waiters_free(c);
            root_free(k, c);
        }
    }
    for (uint32_t i = 0; i < CALL_TENANT_BUCKETS; i++) {
        while (k->tenants[i]) {
            struct tenant *t = k->tenants[i];
            k->tenants[i] = t->next;
            free(t);
        }
    }
    call_graphs_destroy(k->graphs);
    uv_close((uv_handle_t *)&k->timer, calls_free);
}
