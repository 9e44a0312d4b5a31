/* What calls say about a value here: ranges they wrote, how a range is merged, another size. */
#include "state/tier.h"

#include <assert.h>
#include <stdlib.h>

/* The end of a request's range, len 0 reaching to the value's end. False, and answered, when it
 * does not lie in the value. */
static bool range_end(struct pending *p, uint64_t *end)
{
    const struct state_request *r = &p->request;
    if (r->off > p->value->size || r->len > p->value->size - r->off) {
        pending_fail(p, ATOLL_ERANGE, "the range does not lie in the value");
        return false;
    }
    *end = r->len ? r->off + r->len : p->value->size;
    return true;
}

void written_start(struct pending *p)
{
    uint64_t end;
    if (!range_end(p, &end))
        return;
    replica_mark(p->value, p->request.off, end);
    pending_result(p, 0);
}

/* ---- in the value's line ---- */

struct change {
    struct task task;
    struct pending *pending;
};

static void change_end(struct change *c)
{
    line_leave(&c->task);
    free(c);
}

static void change_enter(struct pending *p, void (*start)(struct task *), bool exclusive)
{
    struct change *c = calloc(1, sizeof *c);
    if (!c) {
        pending_fail(p, ATOLL_ENOMEM, "no memory for a request");
        return;
    }
    c->pending = p;
    line_enter(p->value, &c->task, start, exclusive);
}

/* The rule is what was asked for already: another call said so, and may have bytes to push. */
static bool merge_holds(const struct replica *v, uint64_t start, uint64_t end, uint32_t op)
{
    while (start < end) {
        uint64_t until;
        if (range_map_at(&v->merges, start, &until) != op)
            return false;
        start = until;
    }
    return true;
}

static void merge_turn(struct task *task)
{
    struct change *c = (struct change *)task;
    struct replica *v = task->value;
    struct pending *p = c->pending;
    uint32_t op = p->request.mode, width = twin_width(op);
    uint64_t start = p->request.off, end;
    struct error e;
    if (!range_end(p, &end))
        return change_end(c);
    if (start % width || end % width)
        pending_fail(p, ATOLL_EINVAL, "a merged range begins and ends at whole operands");
    else if (merge_holds(v, start, end, op))
        pending_result(p, 0);
    else if (range_map_touches(&v->written, start, end) || replica_differs(v, start, end))
        pending_fail(p, ATOLL_EBUSY, "the range has bytes that were not pushed: push them first");
    else if (op && start < end &&
             replica_track(v, start / STATE_CHUNK, (end - 1) / STATE_CHUNK, &e) < 0)
        pending_error(p, &e);
    else if (range_map_set(&v->merges, start, end, op) < 0)
        pending_fail(p, ATOLL_ELIMIT, "a value has at most %u ranges with a merge rule",
                     STATE_MERGES_MAX);
    else
        pending_result(p, 0);
    change_end(c);
}

void merge_start(struct pending *p)
{
    change_enter(p, merge_turn, false);
}

/* A value that grows over bytes that the global tier has is zero there, which is news: the chunk in
 * which they begin must be here to hold them. */
static bool resize_lacks(const struct pending *p)
{
    const struct replica *v = p->value;
    return p->request.len > v->size && v->size < v->global_size && v->size % STATE_CHUNK &&
           !chunk_is(v->present, v->chunks - 1);
}

static void resize_turn(struct task *task)
{
    struct change *c = (struct change *)task;
    struct replica *v = task->value;
    struct pending *p = c->pending;
    struct error e;
    bool again = false;
    if (v->stale) {
        pending_fail(p, ATOLL_ESTALE, "the value was deleted");
    } else if (p->request.len == v->size) {
        pending_result(p, 0);
    } else if (resize_lacks(p)) {
        again = true; /* another change of size came before */
    } else if (replica_resize(v, p->request.len, true, &e) < 0) {
        pending_error(p, &e);
    } else {
        v->resized = !v->local;
        v->unborn = false;
        replica_publish(v); /* before the worker is told, or it would look too early */
        pending_result(p, 0);
    }
    change_end(c);
    if (again)
        resize_start(p);
}

static void resize_enter(struct pending *p)
{
    change_enter(p, resize_turn, true);
}

void resize_start(struct pending *p)
{
    uint64_t size = p->request.len, now = p->value->size;
    p->resume = resize_start;
    if (size > now && room_take(p, (size - now) * (p->value->tracked ? 2 : 1)) < 0)
        return;
    if (resize_lacks(p))
        chunks_need(p, now - 1, 1, resize_enter);
    else
        resize_enter(p);
}
