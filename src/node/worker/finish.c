/*
 * What is done when a call has ended.
 *
 * The result goes out first, the faaslet's reset is nobody's latency. A child's result is in its
 * parent's hands as soon as the lock is released after call_note_end: the parent may then forget it
 * on another thread, so the call is not touched any more.
 */
#include "node/worker/process.h"

#include <stdlib.h>
#include <sys/random.h>

#define RETRY_FIRST_NS  10000000ll /* doubles with each attempt … */
#define RETRY_DOUBLINGS 10         /* … so often */
#define LOG_LINES_MAX   1000u

/* ---- sending ---- */

void worker_send(struct worker *w, struct message *m, const int *fds, uint32_t count)
{
    struct error e;
    if (link_send_wait(w->link, m, fds, count, &e) < 0)
        worker_end(w, 1);
}

int faaslet_log(struct faaslet *f, uint32_t level, const void *text, uint32_t len)
{
    const struct call *c = f->call;
    const struct manifest *limits = &f->version->manifest;
    if (f->log_lines >= LOG_LINES_MAX || len > limits->log_bytes - f->log_bytes)
        return -ATOLL_ELIMIT;
    const uint8_t *at = text;
    f->log_bytes += len;
    do { /* a long line in pieces */
        uint32_t part = len < MESSAGE_TEXT_MAX ? len : MESSAGE_TEXT_MAX;
        struct message m = {
            .header = {.kind = MESSAGE_LOG, .id = c->zygote ? 0 : c->id},
            .log = {.app = c->app ? c->app->id : 0, .version = f->version->number, .level = level},
            .parts = {at},
            .part_len = {part},
        };
        worker_send(f->worker, &m, NULL, 0);
        f->log_lines++;
        at += part;
        len -= part;
    } while (len);
    return 0;
}

/* ---- counting, under worker.lock ---- */

static void version_count(struct version *v, const struct call *c, const struct call_end *end)
{
    struct message_tally *tally = &v->tally;
    tally->ended[end->status]++;
    if (c->started)
        tally->started[c->temperature]++;
    tally->direct += c->direct;
    tally->queue_ns += c->queue_ns;
    tally->restore_ns += c->restore_ns;
    tally->run_ns += c->run_ns;
    v->tallied = true;
}

void tallies_send(struct worker *w)
{
    for (;;) {
        struct message m = {.header.kind = MESSAGE_TALLY};
        struct version *v;
        pthread_mutex_lock(&w->lock);
        LIST_FOREACH(v, &w->all_versions, all)
        {
            if (v->tallied)
                break;
        }
        if (v) {
            m.header.id = v->number;
            m.tally = v->tally;
            m.tally.active = v->active;
            m.tally.idle = version_idle(v);
            v->tally = (struct message_tally){0};
            v->tallied = false;
        }
        pthread_mutex_unlock(&w->lock);
        if (!v)
            return;
        worker_send(w, &m, NULL, 0);
    }
}

/* ---- trying again ---- */

static bool retry_due(const struct call *c, const struct call_end *end)
{
    if (c->root || c->zygote || atomic_load(&c->stop) || c->attempt >= c->retries)
        return false;
    switch (end->status) {
    case CALL_LOST:
    case CALL_TRAPPED:
    case CALL_REJECTED: return true;
    case CALL_FAILED: return c->version->manifest.retry_on_fail;
    default: return false;
    }
}

static int64_t retry_delay_ns(const struct call *c)
{
    uint32_t jitter = 0;
    (void)!getrandom(&jitter, sizeof jitter, GRND_NONBLOCK);
    uint32_t doublings = c->attempt < RETRY_DOUBLINGS ? c->attempt : RETRY_DOUBLINGS;
    int64_t delay = RETRY_FIRST_NS << doublings;
    return delay + (int64_t)(jitter % (uint64_t)delay) / 2;
}

/* Under worker.lock. */
static void retry_later(struct worker *w, struct call *c)
{
    int64_t now = clock_monotonic_ns();
    int64_t at = now + retry_delay_ns(c);
    children_release(w, c);
    queue_ended(w, c);
    c->attempt++;
    c->stage = STAGE_WAITING;
    c->queued_ns = at;
    timer_set(&w->wheel, &c->wake, at);
    timekeeper_need(w, at);
}

/* ---- the faaslet's part ---- */

void faaslet_leave(struct faaslet *f)
{
    wasi_flush(f->wasi);
    if (f->state_end) {
        void (*state_end)(struct faaslet *) = f->state_end;
        f->state_end = NULL;
        state_end(f);
    }
    if (f->sockets)
        sockets_end(f);
    ask_end(f);
}

/* The call's output, or what stands in its place; NULL when it is empty or gone. */
static struct blob *output_of(struct faaslet *f, struct call_end *end)
{
    struct error e;
    if (end->status == CALL_FAILED && f->failure)
        return blob_create(f->failure, f->failure_len);
    if ((end->status != CALL_OK && end->status != CALL_FAILED) || call_output_len(&f->output) == 0)
        return NULL;
    struct blob *b = call_output_take(&f->output, f->arena, &e);
    if (!b) {
        end->status = CALL_FAILED;
        end->code = -ATOLL_ENOMEM;
        end->text = "no memory for its output";
    }
    return b;
}

/* ---- messages ---- */

static void part_set(struct message *m, uint32_t k, const void *bytes, size_t len)
{
    m->parts[k] = bytes;
    m->part_len[k] = (uint32_t)len;
}

static void result_fill(struct message *m, const struct call *c, const struct call_end *end)
{
    *m = (struct message){
        .header = {.kind = MESSAGE_RESULT, .id = c->id},
        .result = {.status = (int32_t)end->status,
                   .code = end->code,
                   .temperature = c->temperature,
                   .children = c->descendants,
                   .queue_ns = c->queue_ns,
                   .restore_ns = c->restore_ns,
                   .run_ns = c->run_ns,
                   .cpu_ns = c->run_ns,
                   .memory_bytes = c->memory_bytes},
    };
    if (end->text)
        part_set(m, 0, end->text, strnlen(end->text, MESSAGE_TEXT_MAX));
}

static void child_fill(struct message *m, const struct call *c, const struct call_end *end)
{
    *m = (struct message){
        .header = {.kind = MESSAGE_CHILD, .id = c->id},
        .child = {.app = c->app->id,
                  .parent = c->parent ? c->parent->id : 0,
                  .status = (int32_t)end->status,
                  .code = end->code,
                  .version = c->version->number,
                  .temperature = c->temperature,
                  .depth = c->depth,
                  .queue_ns = c->queue_ns,
                  .restore_ns = c->restore_ns,
                  .run_ns = c->run_ns,
                  .cpu_ns = c->run_ns,
                  .memory_bytes = c->memory_bytes,
                  .input_len = c->input_len,
                  .output_len = end->output ? end->output->len : 0,
                  .state_pulled = c->pulled,
                  .state_pushed = c->pushed},
    };
}

static void result_send(struct worker *w, struct message *m, const struct faaslet *f,
                        struct blob *output)
{
    struct error e;
    int fd = -1;
    if (f && m->result.status == CALL_OK)
        part_set(m, 1, f->reply_head.data, f->reply_head.len);
    if (output && output->len > MESSAGE_INLINE) {
        fd = blob_file(output, &e);
        m->result.output_fd = 1;
        m->result.output_len = output->len;
    } else if (output) {
        part_set(m, 2, blob_bytes(output), output->len);
    } else if (f && m->result.status <= CALL_FAILED && f->output.file < 0) {
        part_set(m, 2, f->output.bytes.data, f->output.bytes.len);
    }
    worker_send(w, m, &fd, fd >= 0);
}

/* ---- the end ---- */

/* A root's small output goes from the faaslet's buffer into the ring, without a copy in between. */
static bool output_stays(const struct call *c, const struct faaslet *f)
{
    return c->root && f->output.file < 0 && f->output.bytes.len <= MESSAGE_INLINE && !f->failure;
}

static void call_measure(struct call *c, const struct faaslet *f)
{
    uint64_t bytes = instance_memory_bytes(arena_primary(f->arena));
    if (bytes > c->memory_bytes)
        c->memory_bytes = bytes;
}

/* A loading call: its version comes into use. */
static void load_over(struct worker *w, struct call *c, const struct call_end *end)
{
    struct version *v = c->version;
    load_ended(w, v, end);
    pthread_mutex_lock(&w->lock);
    call_free(w, c);
    pthread_mutex_unlock(&w->lock);
}

/* Tells of a chained call before its parent can know, so that the parent's end is told later. */
static void child_tell(struct worker *w, struct guest_thread *t, struct call *c,
                       const struct call_end *end)
{
    struct message m;
    struct error e;
    pthread_mutex_lock(&w->lock);
    if (t)
        guest_leave(t);
    child_fill(&m, c, end);
    pthread_mutex_unlock(&w->lock);
    /* Nobody waits for it: it is read with what follows, at the latest the second's counters. */
    if (link_send_quietly(w->link, &m, NULL, 0, &e) < 0)
        worker_send(w, &m, NULL, 0);
    else if (link_untaken(w->link) > MESSAGE_RING / 4)
        link_wake(w->link);
}

void call_finish(struct worker *w, struct guest_thread *t, struct call *c, struct call_end *end)
{
    struct faaslet *f = c->faaslet;
    struct message m;
    bool root = c->root, zygote = c->zygote, again = retry_due(c, end);
    if (f) {
        faaslet_leave(f);
        call_measure(c, f);
        if (!again && !zygote && !output_stays(c, f))
            end->output = output_of(f, end);
    }
    struct blob *output = root ? end->output : NULL; /* goes out, not into the tree */
    if (!root && !again && c->app && c->app->graph) {
        child_tell(w, t, c, end);
        t = NULL;
    }

    pthread_mutex_lock(&w->lock);
    if (t)
        guest_leave(t);
    c->faaslet = NULL;
    if (f) /* the version outlives the call until the faaslet is back: pool_give lets go of it */
        f->version->calls++;
    if (again) {
        retry_later(w, c);
    } else {
        if (root) {
            result_fill(&m, c, end);
            end->output = NULL;
        } else if (!zygote) {
            version_count(c->version, c, end);
        }
        if (f && end->status == CALL_OK && !zygote)
            pool_keep(f, c);
        call_note_end(w, c, end);
        if (!c->parent && !zygote)
            call_free(w, c);
    }
    pthread_mutex_unlock(&w->lock);

    if (root)
        result_send(w, &m, f, output);
    blob_release(output);
    if (f)
        pool_give(w, f);
    if (zygote)
        load_over(w, c, end);
}
