/* See call.h. */
#include "node/worker/process.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SPARE_CALLS_MAX 1024u
#define SPARE_NEXT(c)   (*(struct call **)(void *)(c))

/* ---- finding ---- */

static struct call_bucket *bucket_of(const struct worker *w, uint64_t id)
{
    return &w->calls[(id * 0x9e3779b97f4a7c15ull >> 32) & (w->call_buckets - 1)];
}

/* Grows the table when it is full; a failure leaves it as it is, only slower. */
static void table_grow(struct worker *w)
{
    uint32_t count = w->call_buckets ? 2 * w->call_buckets : CALL_BUCKETS_MIN,
             old = w->call_buckets;
    struct call_bucket *grown = calloc(count, sizeof *grown), *before = w->calls;
    if (!grown)
        return;
    w->calls = grown;
    w->call_buckets = count;
    for (uint32_t k = 0; k < old; k++)
        for (struct call *c; (c = LIST_FIRST(&before[k]));) {
            LIST_REMOVE(c, same_hash);
            LIST_INSERT_HEAD(bucket_of(w, c->id), c, same_hash);
        }
    free(before);
}

struct call *call_find(struct worker *w, uint64_t id)
{
    struct call *c = w->call_buckets ? LIST_FIRST(bucket_of(w, id)) : NULL;
    while (c && c->id != id)
        c = LIST_NEXT(c, same_hash);
    return c;
}

struct call *call_child(struct worker *w, const struct call *parent, uint64_t id)
{
    struct call *c = call_find(w, id);
    return c && c->parent == parent ? c : NULL;
}

/* ---- making ---- */

struct app *app_create(uint64_t id)
{
    struct app *a = calloc(1, sizeof *a);
    if (a)
        a->id = id;
    return a;
}

void app_release(struct app *a)
{
    if (--a->references)
        return;
    blob_release(a->head);
    blob_release(a->arguments);
    free(a);
}

static struct call *call_storage(struct worker *w)
{
    struct call *c = w->spare_calls;
    if (!c)
        return calloc(1, sizeof *c);
    w->spare_calls = SPARE_NEXT(c);
    w->spare_count--;
    memset(c, 0, sizeof *c);
    return c;
}

void call_storage_free(struct worker *w)
{
    for (struct call *c; (c = w->spare_calls); free(c))
        w->spare_calls = SPARE_NEXT(c);
}

struct call *call_create(struct worker *w, struct call *parent, uint64_t id)
{
    if (w->call_count >= w->call_buckets)
        table_grow(w);
    struct call *c = w->call_buckets ? call_storage(w) : NULL;
    if (!c)
        return NULL;
    c->id = id;
    c->function = UINT32_MAX;
    c->deadline_ns = INT64_MAX;
    c->count = 1;
    c->deadline.ends = true;
    LIST_INIT(&c->children);
    LIST_INSERT_HEAD(bucket_of(w, id), c, same_hash);
    w->call_count++;
    w->live++;
    if (parent) {
        c->parent = parent;
        c->depth = (uint8_t)(parent->depth + 1);
        LIST_INSERT_HEAD(&parent->children, c, sibling);
    }
    return c;
}

void call_free(struct worker *w, struct call *c)
{
    assert(!c->faaslet && !c->parent && LIST_EMPTY(&c->children));
    timer_clear(&w->wheel, &c->deadline);
    timer_clear(&w->wheel, &c->wake);
    LIST_REMOVE(c, same_hash);
    w->call_count--;
    blob_release(c->input);
    blob_release(c->output);
    free(c->text);
    if (c->app)
        app_release(c->app);
    struct version *v = c->version;
    if (w->spare_count < SPARE_CALLS_MAX) {
        SPARE_NEXT(c) = w->spare_calls;
        w->spare_calls = c;
        w->spare_count++;
    } else {
        free(c);
    }
    if (v && --v->calls == 0)
        version_unused(w, v);
}

/* ---- going on and stopping ---- */

void call_wake(struct worker *w, struct call *c)
{
    if (c->stage == STAGE_RUNNING) {
        c->woken = true;
        return;
    }
    if (c->stage != STAGE_PARKED)
        return;
    timer_clear(&w->wheel, &c->wake);
    timekeeper_unwatch(w, c);
    queue_ready(w, c);
}

static void call_interrupt(struct worker *w, const struct call *c)
{
    for (uint32_t k = 0; k < w->thread_count; k++) {
        struct arena *arena = atomic_load(&w->threads[k].arena);
        if (w->threads[k].running == c && arena)
            arena_interrupt(arena);
    }
}

void call_stop(struct worker *w, struct call *c, enum call_stop why)
{
    if (atomic_load(&c->stop) || call_ended(c))
        return;
    atomic_store(&c->stop, (uint8_t)why);
    switch ((enum call_stage)c->stage) {
    case STAGE_WAITING:
        timer_clear(&w->wheel, &c->wake);
        queue_ready(w, c);
        break;
    case STAGE_QUEUED:
        queue_remove(w, c);
        queue_ready(w, c);
        break;
    case STAGE_REMOTE: queue_ready(w, c); break;
    case STAGE_PARKED: call_wake(w, c); break;
    case STAGE_READY: queue_hurry(w, c); break;
    case STAGE_RUNNING: call_interrupt(w, c); break;
    case STAGE_ENDED: break;
    }
}

/* ---- ending ---- */

void children_release(struct worker *w, struct call *parent)
{
    for (struct call *c; (c = LIST_FIRST(&parent->children));) {
        LIST_REMOVE(c, sibling);
        c->parent = NULL;
        c->await_weight = 0;
        if (call_ended(c))
            call_free(w, c);
        else
            call_stop(w, c, STOP_CANCEL);
    }
}

static void parent_tell(struct worker *w, struct call *c)
{
    struct call *parent = c->parent;
    parent->descendants += 1 + c->descendants;
    if (!c->await_weight)
        return;
    parent->await_need -= c->await_weight;
    c->await_weight = 0;
    if (parent->awaiting && parent->await_need <= 0)
        call_wake(w, parent);
}

void call_note_end(struct worker *w, struct call *c, const struct call_end *end)
{
    assert(!call_ended(c));
    timer_clear(&w->wheel, &c->deadline);
    timer_clear(&w->wheel, &c->wake);
    children_release(w, c);
    queue_ended(w, c);
    c->stage = STAGE_ENDED;
    c->status = (int32_t)end->status;
    c->code = end->code;
    c->output = end->output;
    c->output_len = end->output ? end->output->len : 0;
    c->text = end->text && *end->text ? strdup(end->text) : NULL;
    blob_release(c->input);
    c->input = NULL;
    w->live--;
    if (c->app && --c->app->live == 0 && c->app->kept)
        pool_app_over(w, c->app);
    if (c->parent)
        parent_tell(w, c);
}

void call_undo(struct worker *w, struct call *c)
{
    if (c->parent) {
        LIST_REMOVE(c, sibling);
        c->parent->child_count--;
        c->parent = NULL;
    }
    queue_ended(w, c);
    w->live--;
    if (c->app) {
        c->app->live--;
        c->app->started--;
    }
    call_free(w, c);
}

void call_reject(struct worker *w, struct call *c, int code)
{
    const struct call_end end = {.status = CALL_REJECTED, .code = code};
    call_note_end(w, c, &end);
    if (!c->parent)
        call_free(w, c);
}

void call_forget(struct worker *w, struct call *c)
{
    assert(call_ended(c));
    LIST_REMOVE(c, sibling);
    c->parent = NULL;
    call_free(w, c);
}

/* ---- ids ---- */

uint64_t ids_left(const struct worker *w)
{
    uint64_t left = 0;
    for (uint32_t k = 0; k < ID_BLOCKS; k++)
        left += w->ids[k].end - w->ids[k].next;
    return left;
}

uint64_t id_take(struct worker *w)
{
    uint32_t k = 0;
    while (w->ids[k].next == w->ids[k].end)
        k++;
    assert(k < ID_BLOCKS);
    return w->ids[k].next++;
}

/* ---- for import files ---- */

bool call_is_zygote(const struct call *c)
{
    return c->zygote;
}

void call_count_state(struct call *c, uint64_t pulled, uint64_t pushed)
{
    c->pulled += pulled;
    c->pushed += pushed;
}
