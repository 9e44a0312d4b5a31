/*
 * What workers say. The loop learns of messages by a link's eventfd; before it sleeps, every ring
 * is told so (uv_prepare), and afterwards that it no longer does (uv_check), so that a worker makes
 * a system call only for a loop that sleeps.
 *
 * Nothing a worker says is believed: it speaks only of versions of its own tenant that it was
 * given.
 */
#define _GNU_SOURCE
#include "node/worker_set.h"

#include "node/calls.h"
#include "node/log.h"
#include "node/metrics.h"
#include "node/node.h"
#include "node/requests.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define DRAIN_AT_ONCE 512u /* messages of one worker before the others have their turn */

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

void worker_drain(struct worker *one)
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

void worker_readable(uv_poll_t *poll, int status, int events)
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

void workers_loop_sleeps(uv_prepare_t *prepare)
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

void workers_loop_wakes(uv_check_t *check)
{
    struct workers *w = check->data;
    uv_idle_stop(&w->awake);
    for (struct worker *one = w->first; one; one = one->next)
        ring_sleep_end(&one->link.in);
    workers_drain_all(w);
}
