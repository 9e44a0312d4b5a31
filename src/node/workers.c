/*
 * See workers.h.
 *
 * A worker is this same executable, run as `atoll worker` with its end of a link as descriptors
 * 3 … 6. The loop learns of messages by the link's eventfd; before it sleeps, every ring is told so
 * (uv_prepare), and afterwards that it no longer does (uv_check), so that a worker makes a system
 * call only for a loop that sleeps. The other way, a turn of the loop wakes a worker with its first
 * message, and again at its end if there are messages that nobody has taken.
 *
 * Messages that do not fit a ring are kept, in order, and sent when the worker has been heard from.
 */
#define _GNU_SOURCE
#include "node/workers.h"

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

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

#define WORKERS_MAX        256u
#define TENANT_WORKERS_MAX 16u
#define ROOM_BEFORE_HELLO  256u
#define ROOM_MAX           65536u
#define DRAIN_AT_ONCE      512u /* messages of one worker before the others have their turn */
#define YOUNG_NS           1000000000ll
#define BACKOFF_FIRST_NS   100000000ll
#define BACKOFF_LAST_NS    10000000000ll
#define DEATHS_MAX         8u /* young ones in a row: calls are refused while it backs off */
#define BACKLOG_MAX        65536u
#define BACKLOG_BYTES_MAX  (64u << 20) /* of one worker that does not read its ring */
#define ASKED_MAX          65536u      /* requests of one worker without an answer */

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
    uint32_t backlog_count;
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
    int closing;
};

static struct worker *worker_find(const struct workers *w, uint32_t number)
{
    struct worker *one = w->first;
    while (one && one->number != number)
        one = one->next;
    return one;
}

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

static void backlog_clear(struct worker *one)
{
    while (one->backlog) {
        struct backlog *b = one->backlog;
        one->backlog = b->next;
        for (uint32_t i = 0; i < b->fd_count; i++)
            close(b->fds[i]);
        free(b);
    }
    one->backlog_end = &one->backlog;
    one->backlog_count = 0;
    one->backlog_bytes = 0;
}

static void loads_fail(struct worker *one)
{
    static const struct message_loaded lost = {.code = -ATOLL_ELOST, .stage = LOAD_ZYGOTE};
    while (one->waiters) {
        struct load_waiter *waiter = one->waiters;
        one->waiters = waiter->next;
        waiter->done(waiter->context, &lost,
                     "the worker process died while it prepared the function", -1);
        free(waiter);
    }
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

static void worker_drain(struct worker *one);

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

static void worker_misbehaves(struct worker *one, const struct error *e)
{
    log_write(LOG_ERROR, "workers", &(struct log_about){.tenant = one->tenant->name},
              "worker %u is killed, it broke the protocol: %s", one->number, e->text);
    one->link.in.broken = true;
    uv_process_kill(&one->process, SIGKILL);
}

/* ---- what a worker says ---- */

/* The version that a worker speaks of, if it is one of its tenant's that it was given; else NULL.
 */
static struct function_version *version_of(const struct worker *one, uint64_t number)
{
    if (number >= one->load_count || one->loads[number] == LOAD_UNSENT)
        return NULL;
    struct function_version *v = registry_by_number(one->workers->node->registry, (uint32_t)number);
    return v && strcmp(v->manifest.tenant, one->tenant->name) == 0 ? v : NULL;
}

static void loaded_handle(struct worker *one, struct message *m, int image_fd)
{
    struct registry *r = one->workers->node->registry;
    const struct message_loaded *l = &m->loaded;
    uint32_t number = (uint32_t)m->header.id;
    struct function_version *v = version_of(one, m->header.id);
    char text[MESSAGE_TEXT_MAX + 1];
    snprintf(text, sizeof text, "%.*s", (int)m->part_len[0], (const char *)m->parts[0]);
    if (number < one->load_count)
        one->loads[number] = l->code == 0 ? LOAD_READY : LOAD_FAILED;
    if (v && l->code == 0 && l->stage == LOAD_IMAGE) {
        log_write(LOG_WARNING, "workers", &(struct log_about){.tenant = one->tenant->name},
                  "the proto image of %s was refused and made anew: %s", v->name, text);
        registry_image_bad(r, v);
    }
    if (v && l->code == 0 && image_fd >= 0)
        registry_image_made(r, v, image_fd, l->image_bytes);
    for (struct load_waiter **at = &one->waiters; *at;) {
        struct load_waiter *waiter = *at;
        if (waiter->version != number) {
            at = &waiter->next;
            continue;
        }
        *at = waiter->next;
        waiter->done(waiter->context, l, text, image_fd);
        free(waiter);
    }
}

static void log_handle(struct worker *one, const struct message *m)
{
    const struct message_log *l = &m->log;
    struct function_version *v = version_of(one, l->version);
    struct log_about about = {.call = m->header.id,
                              .app = l->app,
                              .tenant = one->tenant->name,
                              .function = v ? v->manifest.function : NULL};
    log_guest(l->level <= LOG_ERROR ? (enum log_level)l->level : LOG_INFO, &about, m->parts[0],
              m->part_len[0]);
}

static void metric_handle(struct worker *one, const struct message *m)
{
    struct node *n = one->workers->node;
    struct function_version *v = version_of(one, m->metric.version);
    if (v)
        metrics_guest(n->metrics, v, (const char *)m->parts[0], m->part_len[0], m->metric.value,
                      m->metric.kind);
}

static void tally_handle(struct worker *one, const struct message *m)
{
    struct node *n = one->workers->node;
    struct function_version *v = version_of(one, m->header.id);
    if (v)
        metrics_tally(n->metrics, one->number, v, &m->tally);
}

static int message_handle(struct worker *one, struct message *m, int *fds, struct error *e)
{
    struct node *n = one->workers->node;
    int fd = m->header.fds > 0 ? fds[0] : -1;
    int rc = 0;
    switch (m->header.kind) {
    case MESSAGE_HELLO:
        one->instances_max = m->hello.instances_max;
        calls_tenant_room(n->calls, one->tenant->name);
        break;
    case MESSAGE_LOADED: loaded_handle(one, m, fd); break;
    case MESSAGE_RESULT:
        if (one->in_flight > 0)
            one->in_flight--;
        calls_result(n->calls, one->number, m, fd);
        fd = -1;
        break;
    case MESSAGE_CHILD:
        if (version_of(one, m->child.version))
            calls_child(n->calls, one->number, m);
        break;
    case MESSAGE_LOG: log_handle(one, m); break;
    case MESSAGE_METRIC: metric_handle(one, m); break;
    case MESSAGE_TALLY: tally_handle(one, m); break;
    case MESSAGE_REQUEST:
        rc = request_handle(n, one->number, one->tenant->name, m, fd, e);
        fd = -1;
        break;
    default: break;
    }
    for (uint32_t i = 1; i < m->header.fds; i++)
        close(fds[i]);
    if (fd >= 0)
        close(fd);
    return rc;
}

static void backlog_send(struct worker *one);

static void worker_drain(struct worker *one)
{
    int fds[MESSAGE_FDS_MAX];
    struct message m;
    struct error e;
    bool ended = false;
    int rc = 0;
    for (uint32_t i = 0; i < DRAIN_AT_ONCE; i++) {
        rc = link_receive(&one->link, &m, fds, &e);
        if (rc != 1)
            break;
        ended |= m.header.kind == MESSAGE_RESULT;
        rc = message_handle(one, &m, fds, &e);
        if (rc < 0)
            break;
    }
    if (rc < 0 && !one->link.in.broken)
        worker_misbehaves(one, &e);
    if (one->backlog)
        backlog_send(one);
    if (ended)
        calls_tenant_room(one->workers->node->calls, one->tenant->name);
}

static void workers_drain_all(struct workers *w)
{
    for (struct worker *one = w->first, *next; one; one = next) {
        next = one->next;
        worker_drain(one);
    }
}

static void worker_readable(uv_poll_t *poll, int status, int events)
{
    struct worker *one = poll->data;
    uint64_t count;
    (void)status;
    (void)events;
    while (read(one->link.event, &count, sizeof count) < 0 && errno == EINTR)
        ;
    worker_drain(one);
}

static void awake_nothing(uv_idle_t *idle)
{
    (void)idle;
}

static void loop_sleeps(uv_prepare_t *prepare)
{
    struct workers *w = prepare->data;
    bool empty = true;
    for (struct worker *one = w->first; one; one = one->next) {
        if (one->woken)
            link_wake(&one->link);
        one->woken = false;
        empty &= one->link.in.broken || ring_sleep_begin(&one->link.in);
    }
    if (!empty)
        uv_idle_start(&w->awake, awake_nothing);
}

static void loop_wakes(uv_check_t *check)
{
    struct workers *w = check->data;
    uv_idle_stop(&w->awake);
    for (struct worker *one = w->first; one; one = one->next)
        ring_sleep_end(&one->link.in);
    workers_drain_all(w);
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
    char threads[16], memory[32], port[8];
    snprintf(threads, sizeof threads, "%u", n->config.threads);
    snprintf(memory, sizeof memory, "%llu",
             (unsigned long long)(own ? own : n->config.tenant_memory_bytes));
    snprintf(port, sizeof port, "%u", n->port);
    char *arguments[] = {"atoll", "worker",        "--threads", threads, "--memory",
                         memory,  "--refuse-port", port,        NULL};
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
           one->in_flight < ROOM_MAX && one->backlog_count < BACKLOG_MAX;
}

/* The tenant's worker with the fewest calls; a new one when all are full. */
static int worker_choose(struct workers *w, const char *tenant, struct worker **out,
                         struct error *e)
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

/* ---- sending ---- */

static int backlog_add(struct worker *one, struct message *m, const int *fds, uint32_t fd_count,
                       struct error *e)
{
    uint32_t len = message_measure(m);
    bool room = one->backlog_count < BACKLOG_MAX && one->backlog_bytes + len <= BACKLOG_BYTES_MAX;
    struct backlog *b = len > 0 && room ? malloc(sizeof *b + len) : NULL;
    if (b == NULL)
        return error_set(e, ATOLL_EAGAIN, "worker %u does not keep up", one->number);
    b->next = NULL;
    b->len = len;
    b->fd_count = fd_count;
    message_encode(m, b->record);
    for (uint32_t i = 0; i < fd_count; i++) {
        b->fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);
        if (b->fds[i] >= 0)
            continue;
        while (i-- > 0)
            close(b->fds[i]);
        free(b);
        return error_set(e, ATOLL_EAGAIN, "too many files are open to send to worker %u",
                         one->number);
    }
    *one->backlog_end = b;
    one->backlog_end = &b->next;
    one->backlog_count++;
    one->backlog_bytes += len;
    return 0;
}

static void backlog_send(struct worker *one)
{
    static uint8_t copy[MESSAGE_MAX];
    struct message m;
    struct error e;
    while (one->backlog) {
        struct backlog *b = one->backlog;
        if (message_decode(b->record, b->len, false, copy, &m, &e) != 0 ||
            link_send(&one->link, &m, b->fds, b->fd_count, &e) == -ATOLL_EAGAIN)
            return;
        for (uint32_t i = 0; i < b->fd_count; i++)
            close(b->fds[i]);
        one->backlog = b->next;
        if (one->backlog == NULL)
            one->backlog_end = &one->backlog;
        one->backlog_count--;
        one->backlog_bytes -= b->len;
        free(b);
    }
}

/* In order behind what waits already. */
static int worker_send(struct worker *one, struct message *m, const int *fds, uint32_t fd_count,
                       struct error *e)
{
    int rc = -ATOLL_EAGAIN;
    if (one->backlog == NULL && one->woken)
        rc = link_send_quietly(&one->link, m, fds, fd_count, e);
    else if (one->backlog == NULL)
        rc = link_send(&one->link, m, fds, fd_count, e);
    one->woken = true;
    return rc == -ATOLL_EAGAIN ? backlog_add(one, m, fds, fd_count, e) : rc;
}

static bool loads_reserve(struct worker *one, uint32_t number)
{
    if (number < one->load_count)
        return true;
    uint32_t count = (number | 63) + 1;
    uint8_t *grown = realloc(one->loads, count);
    if (grown == NULL)
        return false;
    memset(grown + one->load_count, LOAD_UNSENT, count - one->load_count);
    one->loads = grown;
    one->load_count = count;
    return true;
}

static int load_send(struct worker *one, const struct function_version *v, struct error *e)
{
    if (!loads_reserve(one, v->number))
        return error_set(e, ATOLL_ENOMEM, "no memory for a worker's list of functions");
    if (one->loads[v->number] == LOAD_SENT || one->loads[v->number] == LOAD_READY)
        return 0;
    struct message m = {
        .header = {.kind = MESSAGE_LOAD, .id = v->number},
        .load = {.manifest_len = (uint32_t)v->canonical.len, .has_image = v->image_fd >= 0},
        .parts = {v->canonical.data},
        .part_len = {(uint32_t)v->canonical.len},
    };
    snprintf(m.load.tenant, sizeof m.load.tenant, "%s", v->manifest.tenant);
    snprintf(m.load.function, sizeof m.load.function, "%s", v->manifest.function);
    snprintf(m.load.version, sizeof m.load.version, "%s", v->name);
    int fds[2] = {v->artefact_fd, v->image_fd};
    int rc = worker_send(one, &m, fds, v->image_fd >= 0 ? 2 : 1, e);
    if (rc == 0)
        one->loads[v->number] = LOAD_SENT;
    return rc;
}

int workers_send_load(struct workers *w, uint32_t worker, const struct function_version *v,
                      struct error *e)
{
    struct worker *one = worker_find(w, worker);
    return one ? load_send(one, v, e) : error_set(e, ATOLL_EUNAVAIL, "that worker is gone");
}

int workers_send_call(struct workers *w, uint32_t worker, const struct function_version *v,
                      struct message *m, int input_fd, struct error *e)
{
    struct worker *one = worker_find(w, worker);
    if (one == NULL)
        return error_set(e, ATOLL_EUNAVAIL, "that worker is gone");
    int rc = load_send(one, v, e);
    if (rc == 0)
        rc = worker_send(one, m, &input_fd, input_fd >= 0, e);
    if (rc == 0)
        one->in_flight++;
    return rc;
}

int workers_cancel(struct workers *w, uint32_t worker, uint64_t call)
{
    struct worker *one = worker_find(w, worker);
    struct message m = {.header = {.kind = MESSAGE_CANCEL, .id = call}};
    struct error e;
    return one ? worker_send(one, &m, NULL, 0, &e) : -ATOLL_EUNAVAIL;
}

void workers_load(struct workers *w, struct function_version *v, load_done done, void *context)
{
    static const struct message_loaded refused = {.code = -ATOLL_EUNAVAIL, .stage = LOAD_ZYGOTE};
    struct error e;
    struct worker *one;
    struct load_waiter *waiter = malloc(sizeof *waiter);
    int rc = waiter ? worker_choose(w, v->manifest.tenant, &one, &e)
                    : error_set(&e, ATOLL_ENOMEM, "no memory to prepare a function");
    if (rc == 0)
        rc = load_send(one, v, &e);
    if (rc != 0) {
        free(waiter);
        done(context, &refused, e.text, -1);
        return;
    }
    *waiter = (struct load_waiter){one->waiters, done, context, v->number};
    one->waiters = waiter;
}

void workers_alias(struct workers *w, const char *tenant, const char *function,
                   const struct function_version *v)
{
    char name[2 * NAME_MAX_LEN + 2];
    int len = snprintf(name, sizeof name, "%s/%s", tenant, function);
    struct message m = {.header = {.kind = MESSAGE_ALIAS},
                        .alias = {.version = v ? v->number : UINT32_MAX, .name_len = (uint32_t)len},
                        .parts = {(const uint8_t *)name},
                        .part_len = {(uint32_t)len}};
    struct error e;
    for (struct worker *one = w->first; one; one = one->next) {
        bool own = v && strcmp(one->tenant->name, tenant) == 0;
        if ((own && load_send(one, v, &e) != 0) || worker_send(one, &m, NULL, 0, &e) != 0)
            worker_misbehaves(one, &e); /* it must not go on with the old meaning */
    }
}

void workers_files(struct workers *w, const char *tenant, uint64_t version)
{
    for (struct worker *one = w->first; one; one = one->next) {
        if (strcmp(one->tenant->name, tenant) == 0)
            ring_mark_set(&one->link.out, version);
    }
}

void workers_drop(struct workers *w, const struct function_version *v)
{
    struct message m = {.header = {.kind = MESSAGE_DROP, .id = v->number}};
    struct error e;
    for (struct worker *one = w->first; one; one = one->next) {
        if (v->number < one->load_count && one->loads[v->number] != LOAD_UNSENT)
            worker_send(one, &m, NULL, 0, &e);
    }
}

bool workers_asked(struct workers *w, uint32_t worker)
{
    struct worker *one = worker_find(w, worker);
    if (one == NULL || one->asked >= ASKED_MAX)
        return false;
    one->asked++;
    return true;
}

void workers_unasked(struct workers *w, uint32_t worker)
{
    struct worker *one = worker_find(w, worker);
    if (one)
        one->asked--;
}

void workers_answer(struct workers *w, uint32_t worker, uint64_t request, int64_t result,
                    const void *payload, uint32_t len, int fd)
{
    struct worker *one = worker_find(w, worker);
    struct message m = {.header = {.kind = MESSAGE_ANSWER, .id = request},
                        .answer = {.result = result, .payload_len = len, .fd = fd >= 0},
                        .parts = {payload},
                        .part_len = {len}};
    struct error e;
    if (one && worker_send(one, &m, &fd, fd >= 0, &e) != 0)
        worker_misbehaves(one, &e); /* somebody would wait for ever */
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
    uv_prepare_start(&w->prepare, loop_sleeps);
    uv_check_start(&w->check, loop_wakes);
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
        worker_send(one, &m, NULL, 0, &e);
    }
    uv_timer_start(&w->grace, grace_over, (uint64_t)(grace_ns / 1000000 + 1000), 0);
}

static void set_closed(uv_handle_t *handle)
{
    struct workers *w = handle->data;
    if (--w->closing > 0)
        return;
    while (w->tenants) {
        struct tenant_workers *t = w->tenants;
        w->tenants = t->next;
        free(t);
    }
    free(w);
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
