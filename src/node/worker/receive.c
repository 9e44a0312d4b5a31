/* What the supervisor says: calls, versions, answers. One thread at a time drains the ring. */
#include "node/worker/process.h"

#include <unistd.h>

#define BATCH 64 /* messages at a stretch, before the thread looks for work */

/* ---- calls ---- */

static void root_reject(struct worker *w, uint64_t id, int code, const char *text)
{
    struct message m = {
        .header = {.kind = MESSAGE_RESULT, .id = id},
        .result = {.status = CALL_REJECTED, .code = code},
        .parts = {(const uint8_t *)text},
        .part_len = {(uint32_t)strlen(text)},
    };
    worker_send(w, &m, NULL, 0);
}

static int blob_of(const struct message *m, uint32_t part, struct blob **out)
{
    *out = NULL;
    if (m->part_len[part])
        *out = blob_create(m->parts[part], m->part_len[part]);
    return m->part_len[part] && !*out ? -ATOLL_ENOMEM : 0;
}

static struct app *app_of(const struct message *m)
{
    const struct message_call *q = &m->call;
    struct app *a = app_create(q->app ? q->app : m->header.id);
    if (!a)
        return NULL;
    a->references = 1;
    a->live = 1;
    a->graph = q->flags & CALL_FLAG_GRAPH;
    a->http = m->part_len[0] != 0;
    a->foreign = q->parent != 0;
    memcpy(a->trace_id, q->trace_id, sizeof a->trace_id);
    memcpy(a->span_id, q->span_id, sizeof a->span_id);
    if (blob_of(m, 0, &a->head) == 0 && blob_of(m, 1, &a->arguments) == 0)
        return a;
    app_release(a);
    return NULL;
}

static void call_fill(struct call *c, struct version *v, const struct message *m,
                      uint64_t input_len)
{
    const struct message_call *q = &m->call;
    c->version = v;
    c->root = true;
    c->root_parent = q->parent;
    c->depth = (uint8_t)q->depth;
    c->priority = (uint8_t)(q->priority < QUEUE_PRIORITIES ? q->priority : v->manifest.priority);
    c->attempt = (uint8_t)(q->attempt < UINT8_MAX ? q->attempt : UINT8_MAX);
    c->fresh = q->flags & CALL_FLAG_FRESH;
    c->queued_ns = q->queued_ns;
    c->input_len = input_len;
    if (q->deadline_ns)
        c->deadline_ns = q->deadline_ns;
}

/* Into the queue. Under worker.lock; everything has been made. */
static void call_admit(struct worker *w, struct call *c, uint32_t flags)
{
    struct version *v = c->version;
    v->calls++;
    if (flags & CALL_FLAG_CLEAR)
        version_clear(w, v);
    c->cold = v->stage == VERSION_LOADING;
    if (v->stage == VERSION_UNUSABLE)
        queue_ready(w, c);
    else
        queue_new(w, c);
    if (c->deadline_ns != INT64_MAX) {
        timer_set(&w->wheel, &c->deadline, c->deadline_ns);
        timekeeper_need(w, c->deadline_ns);
    }
}

/* Under worker.lock. NULL, or why the call cannot be taken. */
static const char *call_enter(struct worker *w, const struct message *m, struct app *app,
                              struct blob *input, int *code)
{
    struct version *v = version_find(w, (uint32_t)m->call.version);
    *code = -ATOLL_EREJECTED;
    if (w->stopping)
        return "the worker is stopping";
    if (m->call.depth > CALL_DEPTH_MAX) {
        *code = -ATOLL_ELIMIT;
        return "it is nested too deeply";
    }
    if (!v || v->dropped) {
        *code = -ATOLL_ENOENT;
        return "the worker does not know the version";
    }
    struct call *c = call_find(w, m->header.id) ? NULL : call_create(w, NULL, m->header.id);
    *code = -ATOLL_ENOMEM;
    if (!c)
        return "no memory for a call";
    call_fill(c, v, m, input ? input->len : 0);
    if (!queue_prepare(w, v, c->depth, c->priority)) {
        c->version = NULL;
        w->live--;
        call_free(w, c);
        return "no memory for a call";
    }
    c->app = app;
    c->input = input;
    call_admit(w, c, m->call.flags);
    return NULL;
}

/* fd -1: the input is in the message. Takes it over. */
static void call_receive(struct worker *w, const struct message *m, int fd)
{
    struct error e;
    struct blob *input = NULL;
    const char *problem = "no memory for a call";
    int code = fd >= 0 ? blob_from_fd(fd, m->call.input_len, &input, &e) : blob_of(m, 2, &input);
    if (code < 0) {
        root_reject(w, m->header.id, code, fd >= 0 ? e.text : problem);
        return;
    }
    struct app *app = app_of(m);
    code = -ATOLL_ENOMEM;
    if (app) {
        pthread_mutex_lock(&w->lock);
        problem = call_enter(w, m, app, input, &code);
        bool cleared = w->cleared;
        pthread_mutex_unlock(&w->lock);
        if (cleared)
            versions_drain_cleared(w);
    }
    if (!problem)
        return;
    if (app)
        app_release(app);
    blob_release(input);
    root_reject(w, m->header.id, code, problem);
}

static void call_cancel(struct worker *w, uint64_t id)
{
    pthread_mutex_lock(&w->lock);
    struct call *c = call_find(w, id);
    if (c && c->root)
        call_stop(w, c, STOP_CANCEL);
    pthread_mutex_unlock(&w->lock);
}

/* ---- others ---- */

static void alias_receive(struct worker *w, const struct message *m)
{
    pthread_mutex_lock(&w->lock);
    name_changed(w, (const char *)m->parts[0], m->part_len[0]);
    pthread_mutex_unlock(&w->lock);
}

static void stop_receive(struct worker *w, int64_t grace_ns)
{
    int64_t now = clock_monotonic_ns();
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    w->stop_ns = grace_ns > 0 && grace_ns < INT64_MAX - now ? now + grace_ns : now;
    timekeeper_need(w, now);
    pthread_mutex_unlock(&w->lock);
}

static void dispatch(struct worker *w, const struct message *m, int *fds)
{
    switch ((enum message_kind)m->header.kind) {
    case MESSAGE_LOAD: version_receive(w, m, fds); break;
    case MESSAGE_DROP: version_drop(w, (uint32_t)m->header.id); break;
    case MESSAGE_CALL: call_receive(w, m, m->header.fds ? fds[0] : -1); break;
    case MESSAGE_CANCEL: call_cancel(w, m->header.id); break;
    case MESSAGE_ANSWER: request_answered(w, m, m->header.fds ? fds[0] : -1); break;
    case MESSAGE_ALIAS: alias_receive(w, m); break;
    case MESSAGE_STOP: stop_receive(w, m->stop.grace_ns); break;
    default: break; /* message_decode lets no other pass */
    }
}

void worker_receive(struct worker *w)
{
    struct message m;
    struct error e;
    int fds[MESSAGE_FDS_MAX], got = 0;
    if (pthread_mutex_trylock(&w->receive_lock) != 0)
        return;
    for (int k = 0; k < BATCH && (got = link_receive(w->link, &m, fds, &e)) > 0; k++)
        dispatch(w, &m, fds);
    pthread_mutex_unlock(&w->receive_lock);
    if (got < 0)
        worker_end(w, 2);
}
