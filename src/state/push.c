/*
 * Push: what was done here becomes global, all of it or nothing.
 *
 *   ranges with a merge rule   the operands that differ from their twins: the difference (ADD, XOR)
 *                              or the local number (MIN, MAX)
 *   other bytes                with DIRTY: those marked as written, and of a tracked value the
 *                              8-byte words that differ from their twins; else all that are here
 *
 * Guests go on writing meanwhile, so the bytes are copied first; marks made after that count for
 * the next push. Only a large push of bytes without twins is sent from where it lies: it has no
 * copy that a twin would have to equal, and a guest that writes now marks it, so it is pushed
 * again.
 *
 * A failed push leaves marks and twins as they were. A pushed range with a merge rule comes back
 * merged, and what guests did to it since the copy stays on top of that (twin.c).
 */
#include "state/tier.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define COPY_MAX  (8u << 20) /* larger pushes without twins are sent from where they lie */
#define MERGE_GAP 64u        /* equal operands between two that differ are sent along */

struct push {
    struct task task;
    struct pending *pending; /* NULL: done tells the caller */
    void (*done)(void *context, int code);
    void *context;
    uint64_t off, end, expect, fence;
    bool to_the_end;
    uint32_t flags;
    bool marks_lost; /* were, and this push makes up for them */
    struct gt_range *ranges;
    uint32_t count, capacity;
    uint64_t bytes, merged_bytes;
    uint8_t *copy, *local; /* what is sent; the local numbers behind differences */
    uint64_t size;         /* sent along */
    int references;        /* the operation, and the bytes it uses */
    struct error error;
};

static void push_unreference(struct push *s)
{
    if (--s->references)
        return;
    free(s->ranges);
    free(s->copy);
    free(s->local);
    free(s);
}

static void push_bytes_released(void *context)
{
    struct push *s = context;
    replica_unpin(s->task.value);
    push_unreference(s);
}

static void push_end(struct push *s, int64_t result)
{
    replica_publish(s->task.value);
    struct pending *p = s->pending;
    if (p && result < 0)
        pending_error(p, &s->error);
    else if (p)
        pending_result(p, result);
    else
        s->done(s->context, result < 0 ? (int)result : 0);
    line_leave(&s->task);
    push_unreference(s);
}

static void push_fail(struct push *s, int code, const char *why)
{
    push_end(s, error_set(&s->error, code, "%s", why));
}

/* ---- what to send ---- */

/* Between two ranges of this rule lie only operands of it whose difference is nothing. */
static bool push_gap_harmless(const struct push *s, uint64_t start, uint64_t end, uint32_t op)
{
    uint64_t until;
    return op != GT_SET && op != GT_MIN_F64 && op != GT_MAX_F64 &&
           range_map_at(&s->task.value->merges, start, &until) == op && until >= end;
}

static int push_add(struct push *s, uint64_t start, uint64_t end, uint32_t op)
{
    struct gt_range *last = s->count ? &s->ranges[s->count - 1] : NULL;
    uint64_t gap = last && last->merge == op ? start - (last->off + last->len) : UINT64_MAX;
    if (!gap || (gap <= MERGE_GAP && push_gap_harmless(s, last->off + last->len, start, op))) {
        last->len += gap + (end - start);
        return 0;
    }
    if (s->count == STATE_RANGES_MAX)
        return error_set(&s->error, ATOLL_ELIMIT,
                         "more than %u separate ranges to push at once: push parts of the value",
                         STATE_RANGES_MAX);
    if (s->count == s->capacity) {
        uint32_t capacity = s->capacity ? 2 * s->capacity : 16;
        struct gt_range *grown = realloc(s->ranges, capacity * sizeof *grown);
        if (!grown)
            return error_set(&s->error, ATOLL_ENOMEM, "no memory for the ranges of a push");
        s->ranges = grown;
        s->capacity = capacity;
    }
    s->ranges[s->count++] = (struct gt_range){.off = start, .len = end - start, .merge = op};
    return 0;
}

/* Units that differ from their twins, of bytes in one chunk. */
static int push_add_differing(struct push *s, uint64_t start, uint64_t end, uint32_t op)
{
    const struct replica *v = s->task.value;
    const uint8_t *twin = v->twins[start / STATE_CHUNK];
    uint64_t unit = op == GT_SET ? 8 : twin_width(op), next;
    for (uint64_t at = start; at < end; at = next) {
        next = align_up(at + 1, unit);
        next = next < end ? next : end;
        if (shared_differs(replica_base(v) + at, twin + at % STATE_CHUNK, next - at) &&
            push_add(s, at, next, op) < 0)
            return s->error.code;
    }
    return 0;
}

/* Bytes of one chunk without a merge rule. */
static int push_add_plain(struct push *s, uint64_t start, uint64_t end)
{
    const struct replica *v = s->task.value;
    if (!(s->flags & STATE_PUSH_DIRTY))
        return push_add(s, start, end, GT_SET);
    for (uint64_t at = start, next; at < end; at = next) {
        bool written = range_map_at(&v->written, at, &next);
        next = next < end ? next : end;
        int code = 0;
        if (written)
            code = push_add(s, at, next, GT_SET);
        else if (v->tracked && v->twins[at / STATE_CHUNK])
            code = push_add_differing(s, at, next, GT_SET);
        if (code < 0)
            return code;
    }
    return 0;
}

static int push_collect(struct push *s)
{
    const struct replica *v = s->task.value;
    for (uint64_t at = s->off, next; at < s->end; at = next) {
        uint64_t chunk = at / STATE_CHUNK;
        uint32_t op = range_map_at(&v->merges, at, &next);
        next = next < s->end ? next : s->end;
        next = next < (chunk + 1) * STATE_CHUNK ? next : (chunk + 1) * STATE_CHUNK;
        if (!chunk_is(v->present, chunk))
            continue; /* as the global tier has it */
        if ((op ? push_add_differing(s, at, next, op) : push_add_plain(s, at, next)) < 0)
            return s->error.code;
    }
    return 0;
}

/* ---- copying ---- */

static int push_copy(struct push *s)
{
    const struct replica *v = s->task.value;
    for (uint32_t i = 0; i < s->count; i++) {
        s->bytes += s->ranges[i].len;
        s->merged_bytes += s->ranges[i].merge ? s->ranges[i].len : 0;
    }
    bool in_place = !v->twin_count && s->bytes > COPY_MAX;
    if (!in_place && s->bytes && !(s->copy = malloc(s->bytes)))
        return error_set(&s->error, ATOLL_ENOMEM, "no memory to copy what is pushed");
    if (s->merged_bytes && !(s->local = malloc(s->merged_bytes)))
        return error_set(&s->error, ATOLL_ENOMEM, "no memory to copy what is pushed");
    uint8_t *to = s->copy, *local = s->local;
    for (uint32_t i = 0; i < s->count; i++) {
        struct gt_range *r = &s->ranges[i];
        const uint8_t *from = replica_base(v) + r->off;
        if (in_place) {
            r->bytes = from;
            continue;
        }
        r->bytes = to;
        if (r->merge == GT_SET) {
            memcpy(to, from, r->len);
        } else {
            shared_read(local, from, r->len);
            for (uint64_t at = 0, n; at < r->len; at += n) {
                uint64_t off = r->off + at;
                n = STATE_CHUNK - off % STATE_CHUNK;
                n = n < r->len - at ? n : r->len - at;
                twin_difference(r->merge, to + at, local + at,
                                v->twins[off / STATE_CHUNK] + off % STATE_CHUNK, n);
            }
            local += r->len;
        }
        to += r->len;
    }
    return 0;
}

/* Marks in the pushed range are on their way. */
static int push_take_marks(struct push *s)
{
    struct replica *v = s->task.value;
    assert(!v->sending.count);
    for (uint32_t i = range_map_find(&v->written, s->off); i < v->written.count; i++) {
        struct tagged_range r = v->written.ranges[i];
        if (r.start >= s->end)
            break;
        if (range_map_set(&v->sending, r.start > s->off ? r.start : s->off,
                          r.end < s->end ? r.end : s->end, 1) < 0)
            return error_set(&s->error, ATOLL_ENOMEM, "no memory for what was written");
    }
    if (range_map_set(&v->written, s->off, s->end, 0) < 0)
        return error_set(&s->error, ATOLL_ELIMIT, "too many separate ranges were written");
    s->marks_lost = v->marks_lost && !(s->flags & STATE_PUSH_DIRTY) && !s->off && s->end == v->size;
    if (s->marks_lost)
        v->marks_lost = false;
    return 0;
}

static void push_give_marks_back(struct push *s)
{
    struct replica *v = s->task.value;
    for (uint32_t i = 0; i < v->sending.count; i++)
        replica_mark(v, v->sending.ranges[i].start, v->sending.ranges[i].end);
    range_map_free(&v->sending);
    v->marks_lost |= s->marks_lost;
}

/* ---- afterwards ---- */

/* merged: the new global bytes of ranges with a merge rule, one behind the other. */
static void push_settle_twins(struct push *s, const uint8_t *merged)
{
    struct replica *v = s->task.value;
    const uint8_t *local = s->local;
    for (uint32_t i = 0; s->copy && i < s->count; i++) {
        const struct gt_range *r = &s->ranges[i];
        for (uint64_t at = 0, n; at < r->len; at += n) {
            uint64_t off = r->off + at;
            n = STATE_CHUNK - off % STATE_CHUNK;
            n = n < r->len - at ? n : r->len - at;
            uint8_t *twin = v->twins[off / STATE_CHUNK];
            if (!twin)
                continue;
            memcpy(twin + off % STATE_CHUNK, r->merge ? local + at : (const uint8_t *)r->bytes + at,
                   n);
            if (r->merge)
                twin_rebase(r->merge, replica_base(v) + off, twin + off % STATE_CHUNK, merged + at,
                            n, false);
        }
        if (r->merge) {
            local += r->len;
            merged += r->len;
        }
    }
}

static void push_refused(struct push *s, const struct gt_result *r)
{
    struct replica *v = s->task.value;
    push_give_marks_back(s);
    if (r->code == -ATOLL_ENOENT ||
        (r->code == -ATOLL_ESTALE && v->global_gen && r->gen != v->global_gen)) {
        replica_stale(v);
        return push_fail(s, ATOLL_ESTALE, "the value was deleted");
    }
    if (r->code == -ATOLL_ESTALE && v->exclusive && !(s->flags & STATE_PUSH_IFVER))
        return push_fail(s, ATOLL_EEXIST, "somebody else has created the value first");
    if (r->code == -ATOLL_ERANGE)
        return push_fail(s, ATOLL_ESTALE, "the value has another size by now: pull first");
    s->error = *r->error;
    push_end(s, s->error.code = r->code);
}

static void push_answered(void *context, const struct gt_result *r)
{
    struct push *s = context;
    struct replica *v = s->task.value;
    if (r->code)
        return push_refused(s, r);
    assert(r->len == s->merged_bytes);
    /* Nobody else pushed in between: the copy is what is global now. */
    if (r->version == v->version + 1)
        v->version++;
    v->global_gen = r->gen;
    v->exclusive = v->unborn = false;
    if (s->size != GT_SIZE_KEEP) {
        v->resized = false;
        v->global_size = s->size;
    }
    range_map_free(&v->sending);
    push_settle_twins(s, r->data);
    v->tier->counters.push_bytes += s->bytes;
    if (s->pending)
        s->pending->moved = s->bytes;
    push_end(s, (int64_t)r->version);
}

/* ---- sending ---- */

static void push_send(struct push *s)
{
    struct replica *v = s->task.value;
    struct gt *gt = v->tier->gt;
    struct gt_key key = replica_key(v);
    s->size = v->resized ? v->size : GT_SIZE_KEEP;
    struct gt_commit commit = {
        .expect_version = GT_VERSION_ANY,
        .expect_gen = v->global_gen,
        .fence = s->fence,
        .size = s->size,
        .flags = (s->flags & STATE_PUSH_DURABLE ? (uint32_t)GT_DURABLE : 0) |
                 (s->merged_bytes ? (uint32_t)GT_RETURN_MERGED : 0),
        .range_count = s->count,
        .ranges = s->ranges,
        .release = push_bytes_released,
        .release_context = s,
    };
    if (s->flags & STATE_PUSH_IFVER)
        commit.expect_version = s->expect;
    else if (v->exclusive || (v->resized && v->version && !s->fence))
        commit.expect_version = v->version;
    s->references++;
    replica_pin(v);
    if (gt->ops->commit(gt, &key, &commit, (struct gt_callback){push_answered, s}, &s->error) < 0) {
        push_give_marks_back(s);
        push_bytes_released(s);
        push_end(s, s->error.code);
    }
}

static void push_turn(struct task *task)
{
    struct push *s = (struct push *)task;
    struct replica *v = task->value;
    if (s->pending && !s->pending->attachment)
        return push_fail(s, ATOLL_ECANCELED, "the call has ended");
    if (v->stale)
        return push_fail(s, ATOLL_ESTALE, "the value was deleted");
    if (s->pending && lease_fence(s->pending->attachment, &s->fence) < 0)
        return push_fail(s, ATOLL_ESTALE, "the global lock on the value was lost");
    if (s->to_the_end)
        s->end = v->size;
    if (s->off > s->end || s->end > v->size)
        return push_fail(s, ATOLL_ERANGE, "the range does not lie in the value");
    if (v->marks_lost && s->flags & STATE_PUSH_DIRTY)
        return push_fail(s, ATOLL_ELIMIT,
                         "more separate ranges were written than are known: push the whole value");
    if (push_collect(s) < 0 || push_copy(s) < 0)
        return push_end(s, s->error.code);
    if (!s->count && !v->resized && !(s->flags & (STATE_PUSH_IFVER | STATE_PUSH_DURABLE)))
        return push_end(s, (int64_t)v->version);
    if (push_take_marks(s) < 0) {
        push_give_marks_back(s);
        return push_end(s, s->error.code);
    }
    push_send(s);
}

void push_start(struct pending *p)
{
    const struct state_request *r = &p->request;
    struct replica *v = p->value;
    if (v->local) {
        pending_fail(p, ATOLL_EINVAL, "the value is local to the node and is never pushed");
        return;
    }
    if (r->off > v->size || r->len > v->size - r->off) {
        pending_fail(p, ATOLL_ERANGE, "the range does not lie in the value");
        return;
    }
    if (r->flags & STATE_PUSH_IFVER && r->version == GT_VERSION_ANY) {
        pending_fail(p, ATOLL_ESTALE, "no value has this version");
        return;
    }
    struct push *s = calloc(1, sizeof *s);
    if (!s) {
        pending_fail(p, ATOLL_ENOMEM, "no memory for a push");
        return;
    }
    s->references = 1;
    s->pending = p;
    s->flags = r->flags;
    s->expect = r->version;
    s->off = r->off;
    s->end = r->off + r->len;
    s->to_the_end = !r->len;
    p->tier->counters.pushes++;
    line_enter(v, &s->task, push_turn, false);
}

int replica_push_all(struct replica *v, void (*done)(void *, int), void *context)
{
    struct push *s = calloc(1, sizeof *s);
    if (!s)
        return -ATOLL_ENOMEM;
    s->references = 1;
    s->done = done;
    s->context = context;
    /* Of a value that was never pushed nobody else has the bytes, marked or not. */
    s->flags = v->version && !v->marks_lost ? STATE_PUSH_DIRTY : 0;
    s->to_the_end = true;
    v->tier->counters.pushes++;
    line_enter(v, &s->task, push_turn, false);
    return 0;
}
