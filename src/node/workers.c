/*
 * See workers.h. Here: the lives of workers, and which one gets a call. A worker is this same
 * executable, run as `atoll worker` with its end of a link as descriptors 3 … 6.
 */
#define _GNU_SOURCE
#include "node/worker_set.h"

#include "base/clock.h"
#include "node/access.h"
#include "node/calls.h"
#include "node/files.h"
#include "node/log.h"
#include "node/metrics.h"
#include "node/node.h"
#include "node/requests.h"
#include "node/shares.h"
#include "state/state.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define WORKERS_MAX        256u
#define TENANT_WORKERS_MAX 16u
#define ROOM_BEFORE_HELLO  256u
#define ROOM_MAX           65536u
#define YOUNG_NS           1000000000ll
#define BACKOFF_FIRST_NS   100000000ll
#define BACKOFF_LAST_NS    10000000000ll
#define DEATHS_MAX         8u /* young ones in a row: calls are refused while it backs off */

static struct tenant_workers *tenant_get(struct workers *w, const char *name)
{
    struct tenant_workers *t = w->tenants;
    while (t && strcmp(t->name, name) != 0)
        t = t->next;
    if (t == NULL && (t = calloc(1, sizeof *t)) != NULL) {
        strcpy(t->name, name);
        t->next = w->tenants;
        w->tenants = t;
    }
    return t;
}

/* ---- the end of a worker ---- */

/* A set that is destroyed, once nothing of it is left on the loop. */
static void set_free(struct workers *w)
{
    if (!w->destroyed || w->closing > 0 || w->count > 0)
        return;
    while (w->tenants) {
        struct tenant_workers *t = w->tenants;
        w->tenants = t->next;
        free(t);
    }
    free(w);
}

static void worker_closed(uv_handle_t *handle)
{
    struct worker *one = handle->data;
    struct workers *w = one->workers;
    if (--one->closing > 0)
        return;
    link_close(&one->link);
    free(one->loads);
    free(one);
    w->count--;
    if (w->stopping && w->count == 0 && w->stopped) {
        void (*stopped)(void *) = w->stopped;
        w->stopped = NULL;
        uv_timer_stop(&w->grace);
        stopped(w->stopped_context);
    }
    set_free(w);
}

static void death_note(struct worker *one, int64_t status, int signal)
{
    struct tenant_workers *t = one->tenant;
    int64_t now = clock_monotonic_ns();
    bool young = now - one->started_ns < YOUNG_NS;
    t->deaths = young ? t->deaths + 1 : 1;
    t->restarts++;
    int64_t wait = BACKOFF_FIRST_NS << (t->deaths < 8 ? t->deaths - 1 : 7);
    if (young)
        t->not_before_ns = now + (wait < BACKOFF_LAST_NS ? wait : BACKOFF_LAST_NS);
    log_write(LOG_ERROR, "workers", &(struct log_about){.tenant = t->name},
              "worker %u (pid %d) died: %s %lld", one->number, one->process.pid,
              signal ? "signal" : "exit status", signal ? signal : (long long)status);
}

/* Its process is gone, or was never there. */
static void worker_end(struct worker *one)
{
    struct workers *w = one->workers;
    struct worker **at = &w->first;
    while (*at != one)
        at = &(*at)->next;
    *at = one->next;
    one->tenant->running--;
    one->running = false;
    state_worker_lost(w->node->state, one->number);
    metrics_worker_gone(w->node->metrics, one->number);
    backlog_clear(one);
    loads_fail(one);
    if (w->node->calls) {
        requests_worker_lost(w->node, one->number);
        calls_worker_lost(w->node->calls, one->number);
    }
    one->closing = 2;
    uv_poll_stop(&one->poll);
    uv_close((uv_handle_t *)&one->poll, worker_closed);
    uv_close((uv_handle_t *)&one->process, worker_closed);
}

static void worker_exited(uv_process_t *process, int64_t status, int signal)
{
    struct worker *one = process->data;
    one->running = false; /* no calls for it any more */
    do
        worker_drain(one); /* results that it had sent count */
    while (!one->link.in.broken && ring_pending(&one->link.in));
    if (!one->stopping || signal || status)
        death_note(one, status, signal);
    worker_end(one);
}

void workers_kill(struct workers *w, uint32_t number)
{
    struct worker *one = worker_find(w, number);
    if (one)
        uv_process_kill(&one->process, SIGKILL);
}

void worker_misbehaves(struct worker *one, const struct error *e)
{
    log_write(LOG_ERROR, "workers", &(struct log_about){.tenant = one->tenant->name},
              "worker %u is killed, it broke the protocol: %s", one->number, e->text);
    one->link.in.broken = true;
    uv_process_kill(&one->process, SIGKILL);
}

/* ---- starting ---- */

/* The largest weight among the tenants that have workers. */
static uint32_t weight_most(const struct workers *w)
{
    uint32_t most = 1;
    for (const struct worker *one = w->first; one; one = one->next) {
        uint32_t weight = access_tenant(w->node->access, one->tenant->name)->cpu_weight;
        most = weight > most ? weight : most;
    }
    return most;
}

void workers_weigh(struct workers *w)
{
    uint32_t most = weight_most(w);
    for (const struct worker *one = w->first; one; one = one->next) {
        const char *tenant = one->tenant->name;
        shares_set(w->node->shares, one->process.pid, tenant,
                   access_tenant(w->node->access, tenant)->cpu_weight, most);
    }
}

static int worker_spawn(struct worker *one, int fds[LINK_DESCRIPTORS], struct error *e)
{
    const struct node *n = one->workers->node;
    uint64_t own = access_tenant(n->access, one->tenant->name)->memory_bytes;
    char threads[16], memory[32], instances[16];
    snprintf(threads, sizeof threads, "%u", n->config.threads);
    snprintf(memory, sizeof memory, "%llu",
             (unsigned long long)(own ? own : n->config.tenant_memory_bytes));
    snprintf(instances, sizeof instances, "%u", n->config.instances);
    char *arguments[] = {"atoll", "worker",      "--threads", threads, "--memory",
                         memory,  "--instances", instances,   NULL};
    uv_stdio_container_t stdio[3 + LINK_DESCRIPTORS] = {
        {.flags = UV_IGNORE}, {.flags = UV_IGNORE}, {.flags = UV_INHERIT_FD, .data.fd = 2}};
    for (int i = 0; i < LINK_DESCRIPTORS; i++)
        stdio[3 + i] = (uv_stdio_container_t){.flags = UV_INHERIT_FD, .data.fd = fds[i]};
    uv_process_options_t options = {.exit_cb = worker_exited,
                                    .file = "/proc/self/exe",
                                    .args = arguments,
                                    .stdio_count = 3 + LINK_DESCRIPTORS,
                                    .stdio = stdio};
    one->process.data = one;
    int rc = uv_spawn(one->workers->node->loop, &one->process, &options);
    if (rc != 0)
        return error_set(e, ATOLL_EUNAVAIL, "a worker process could not be started: %s",
                         uv_strerror(rc));
    return 0;
}

static void worker_free_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static int worker_start(struct workers *w, struct tenant_workers *t, struct worker **out,
                        struct error *e)
{
    int fds[LINK_DESCRIPTORS];
    struct worker *one = calloc(1, sizeof *one);
    if (one == NULL)
        return error_set(e, ATOLL_ENOMEM, "no memory for a worker");
    one->workers = w;
    one->tenant = t;
    one->number = w->next_number++;
    one->started_ns = clock_monotonic_ns();
    one->started_real_ns = clock_ns(CLOCK_REALTIME);
    one->backlog_end = &one->backlog;
    int rc = link_pair(&one->link, fds, e);
    if (rc != 0) {
        free(one);
        return rc;
    }
    rc = worker_spawn(one, fds, e);
    for (int i = 0; i < LINK_DESCRIPTORS; i++)
        close(fds[i]);
    if (rc == 0)
        rc = state_worker_join(w->node->state, one->number, t->name, e);
    if (rc != 0) {
        if (one->process.pid > 0)
            uv_process_kill(&one->process, SIGKILL);
        link_close(&one->link);
        one->process.data = one;
        uv_close((uv_handle_t *)&one->process, worker_free_closed);
        return rc;
    }
    ring_mark_set(&one->link.out, files_version(w->node->files, t->name));
    uv_poll_init(w->node->loop, &one->poll, one->link.event);
    one->poll.data = one;
    uv_poll_start(&one->poll, UV_READABLE, worker_readable);
    one->running = true;
    one->next = w->first;
    w->first = one;
    w->count++;
    t->running++;
    workers_weigh(w);
    log_write(LOG_INFO, "workers", &(struct log_about){.tenant = t->name},
              "worker %u started (pid %d)", one->number, one->process.pid);
    *out = one;
    return 0;
}

/* ---- placing ---- */

static bool worker_has_room(const struct worker *one)
{
    uint32_t room = one->instances_max ? one->instances_max : ROOM_BEFORE_HELLO;
    return one->running && !one->stopping && !one->link.in.broken && one->in_flight < room &&
           one->in_flight < ROOM_MAX && one->backlog_count < WORKER_BACKLOG_MAX;
}

int worker_choose(struct workers *w, const char *tenant, struct worker **out, struct error *e)
{
    struct tenant_workers *t = tenant_get(w, tenant);
    struct worker *best = NULL;
    if (t == NULL)
        return error_set(e, ATOLL_ENOMEM, "no memory for a worker");
    for (struct worker *one = w->first; one; one = one->next) {
        if (one->tenant == t && worker_has_room(one) &&
            (best == NULL || one->in_flight < best->in_flight))
            best = one;
    }
    *out = best;
    if (best)
        return 0;
    if (w->stopping)
        return error_set(e, ATOLL_EUNAVAIL, "the node is stopping");
    uint32_t most = access_tenant(w->node->access, tenant)->workers_max;
    if (t->running >= (most ? most : TENANT_WORKERS_MAX) || w->count >= WORKERS_MAX)
        return error_set(e, ATOLL_EAGAIN, "all workers of tenant %s are full", tenant);
    if (clock_monotonic_ns() < t->not_before_ns)
        return t->deaths > DEATHS_MAX
                   ? error_set(e, ATOLL_EUNAVAIL, "the workers of tenant %s keep dying", tenant)
                   : error_set(e, ATOLL_EAGAIN, "the worker of tenant %s is being restarted",
                               tenant);
    return worker_start(w, t, out, e);
}

int workers_place(struct workers *w, const struct function_version *v, uint32_t *worker,
                  struct error *e)
{
    struct worker *one;
    int rc = worker_choose(w, v->manifest.tenant, &one, e);
    if (rc == 0)
        *worker = one->number;
    return rc;
}

/* ---- the set ---- */

int workers_create(struct node *node, struct workers **out, struct error *e)
{
    struct workers *w = calloc(1, sizeof *w);
    *out = w;
    if (w == NULL)
        return error_set(e, ATOLL_ENOMEM, "no memory for the workers");
    w->node = node;
    uv_prepare_init(node->loop, &w->prepare);
    uv_check_init(node->loop, &w->check);
    uv_idle_init(node->loop, &w->awake);
    uv_timer_init(node->loop, &w->grace);
    w->prepare.data = w->check.data = w->awake.data = w->grace.data = w;
    uv_prepare_start(&w->prepare, workers_loop_sleeps);
    uv_check_start(&w->check, workers_loop_wakes);
    return 0;
}

static void grace_over(uv_timer_t *timer)
{
    struct workers *w = timer->data;
    for (struct worker *one = w->first; one; one = one->next)
        uv_process_kill(&one->process, SIGKILL);
}

void workers_stop(struct workers *w, int64_t grace_ns, void (*done)(void *), void *context)
{
    struct message m = {.header = {.kind = MESSAGE_STOP}, .stop = {.grace_ns = grace_ns}};
    struct error e;
    w->stopping = true;
    if (w->count == 0) {
        done(context);
        return;
    }
    w->stopped = done;
    w->stopped_context = context;
    for (struct worker *one = w->first; one; one = one->next) {
        one->stopping = true;
        worker_tell(one, &m, NULL, 0, &e);
    }
    uv_timer_start(&w->grace, grace_over, (uint64_t)(grace_ns / 1000000 + 1000), 0);
}

static void set_closed(uv_handle_t *handle)
{
    struct workers *w = handle->data;
    w->closing--;
    set_free(w);
}

void workers_destroy(struct workers *w)
{
    if (w == NULL)
        return;
    while (w->first) {
        uv_process_kill(&w->first->process, SIGKILL);
        worker_end(w->first);
    }
    w->closing = 4;
    w->destroyed = true;
    uv_close((uv_handle_t *)&w->prepare, set_closed);
    uv_close((uv_handle_t *)&w->check, set_closed);
    uv_close((uv_handle_t *)&w->awake, set_closed);
    uv_close((uv_handle_t *)&w->grace, set_closed);
}

uint32_t workers_list(const struct workers *w, struct worker_summary *out, uint32_t max)
{
    uint32_t count = 0;
    for (const struct worker *one = w->first; one && count < max; one = one->next) {
        struct worker_summary *s = &out[count++];
        *s = (struct worker_summary){.number = one->number,
                                     .calls = one->in_flight,
                                     .instances_max = one->instances_max,
                                     .restarts = one->tenant->restarts,
                                     .pid = one->process.pid,
                                     .started_ns = one->started_real_ns};
        for (uint32_t i = 0; i < one->load_count; i++)
            s->versions += one->loads[i] == LOAD_READY;
        strcpy(s->tenant, one->tenant->name);
    }
    return count;
}
