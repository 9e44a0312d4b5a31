/*
 * What is said to workers. A turn of the loop wakes a worker with its first message, and again at
 * its end if there are messages that nobody has taken. Messages that do not fit the ring are kept,
 * in order, and sent when the worker has been heard from.
 */
#define _GNU_SOURCE
#include "node/worker_set.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define BACKLOG_BYTES_MAX (64u << 20) /* of one worker that does not read its ring */
#define ASKED_MAX         65536u      /* requests of one worker without an answer */
/* Descriptors kept for one worker: more than an answer and an input for each of its instances. */
#define BACKLOG_FILES_MAX 9000u

/* ---- in order, whether the ring has room or not ---- */

void backlog_clear(struct worker *one)
{
    while (one->backlog) {
        struct backlog *b = one->backlog;
        one->backlog = b->next;
        for (uint32_t i = 0; i < b->fd_count; i++)
            close(b->fds[i]);
        free(b);
    }
    one->backlog_end = &one->backlog;
    one->backlog_count = one->backlog_files = 0;
    one->backlog_bytes = 0;
}

static int backlog_add(struct worker *one, struct message *m, const int *fds, uint32_t fd_count,
                       struct error *e)
{
    uint32_t len = message_measure(m);
    bool room = one->backlog_count < WORKER_BACKLOG_MAX &&
                one->backlog_bytes + len <= BACKLOG_BYTES_MAX &&
                one->backlog_files + fd_count <= BACKLOG_FILES_MAX;
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
    one->backlog_files += fd_count;
    one->backlog_bytes += len;
    return 0;
}

void backlog_send(struct worker *one)
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
        one->backlog_files -= b->fd_count;
        one->backlog_bytes -= b->len;
        free(b);
    }
}

int worker_tell(struct worker *one, struct message *m, const int *fds, uint32_t fd_count,
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

/* ---- versions ---- */

void loads_fail(struct worker *one)
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
    memcpy(m.load.artefact_id, v->artefact->id, sizeof m.load.artefact_id);
    int fds[2] = {v->artefact_fd, v->image_fd};
    int rc = worker_tell(one, &m, fds, v->image_fd >= 0 ? 2 : 1, e);
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
        rc = worker_tell(one, m, &input_fd, input_fd >= 0, e);
    if (rc == 0)
        one->in_flight++;
    return rc;
}

int workers_cancel(struct workers *w, uint32_t worker, uint64_t call)
{
    struct worker *one = worker_find(w, worker);
    struct message m = {.header = {.kind = MESSAGE_CANCEL, .id = call}};
    struct error e;
    return one ? worker_tell(one, &m, NULL, 0, &e) : -ATOLL_EUNAVAIL;
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
        if ((own && load_send(one, v, &e) != 0) || worker_tell(one, &m, NULL, 0, &e) != 0)
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
            worker_tell(one, &m, NULL, 0, &e);
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
    if (one && worker_tell(one, &m, &fd, fd >= 0, &e) != 0)
        worker_misbehaves(one, &e); /* somebody would wait for ever */
}
