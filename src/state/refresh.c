/*
 * Pull: what is here is brought up to the global version.
 *
 * The changed chunks come into a scratch mapping, all from one moment; then they are brought into
 * the shared bytes in slices, so that the loop thread does other things in between. What was
 * written here and not pushed stays, unless it is to be discarded. A refresh is exclusive in the
 * value's line: no push and no pull of missing chunks runs beside it.
 *
 * The base version moves only when every chunk that is here took part.
 */
#include "state/tier.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct refresh {
    struct task task;
    struct pending *pending; /* NULL: done tells the caller */
    void (*done)(void *context, int code, uint64_t moved);
    void *context;
    bool discard, whole;
    uint64_t off, len;
    struct error error;
    struct gt_span *spans;
    uint32_t span_count;
    uint8_t *scratch;
    uint64_t scratch_len;
    struct gt_extent *extents;         /* what came */
    uint64_t extent_count, extent, at; /* where bringing it in has got to */
    uint64_t version, moved;
};

static void refresh_step(struct task *);

/* ---- scratch memory ---- */

/* Small refreshes take turns with one piece that stays, whose pages are there already. */
static uint8_t *scratch_take(struct state_tier *t, uint64_t len)
{
    if (len <= STATE_SCRATCH_BYTES && !t->scratch_taken) {
        if (!t->scratch)
            t->scratch = malloc(STATE_SCRATCH_BYTES);
        t->scratch_taken = t->scratch != NULL;
        return t->scratch;
    }
    /* Pages of chunks that have not changed are never touched. */
    void *p =
        mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static void scratch_give(struct refresh *f)
{
    struct state_tier *t = f->task.value->tier;
    if (f->scratch && f->scratch == t->scratch)
        t->scratch_taken = false;
    else if (f->scratch)
        munmap(f->scratch, f->scratch_len);
    f->scratch = NULL;
    free(f->spans);
    f->spans = NULL;
    f->span_count = 0;
}

static void refresh_end(struct refresh *f, int code)
{
    struct replica *v = f->task.value;
    v->tier->counters.pull_bytes += f->moved;
    scratch_give(f);
    free(f->extents);
    replica_publish(v);
    struct pending *p = f->pending;
    if (p) {
        p->moved = f->moved;
        if (code < 0)
            pending_error(p, &f->error);
        else
            pending_result(p, 0);
    } else if (f->done) {
        f->done(f->context, code, f->moved);
    }
    line_leave(&f->task);
    free(f);
}

static void refresh_fail(struct refresh *f, int code, const char *why)
{
    refresh_end(f, error_set(&f->error, code, "%s", why));
}

/* ---- asking ---- */

/* The runs of present chunks in the range, each with its place in the scratch mapping. */
static int refresh_spans(struct refresh *f)
{
    const struct replica *v = f->task.value;
    uint64_t first = f->off / STATE_CHUNK, end = chunks_of(f->off + f->len);
    uint64_t runs = 0, present = 0;
    for (uint64_t i = first; i < end; i++) {
        bool is = chunk_is(v->present, i);
        present += is;
        runs += is && (i == first || !chunk_is(v->present, i - 1));
    }
    f->whole = present == v->present_count;
    if (!runs)
        return 0;
    if (runs > GT_RANGES_MAX)
        return error_set(&f->error, ATOLL_ELIMIT, "too many separate parts of the value are here");
    f->scratch_len = present * STATE_CHUNK;
    f->scratch = scratch_take(f->task.value->tier, f->scratch_len);
    f->spans = calloc(runs, sizeof *f->spans);
    if (!f->scratch || !f->spans)
        return error_set(&f->error, ATOLL_ENOMEM, "no memory to pull a value");
    uint64_t place = 0;
    struct gt_span *span = NULL;
    for (uint64_t i = first; i < end; i++) {
        if (!chunk_is(v->present, i)) {
            span = NULL;
            continue;
        }
        if (!span) {
            span = &f->spans[f->span_count++];
            *span = (struct gt_span){i * STATE_CHUNK, f->scratch + place, 0};
        }
        span->len += STATE_CHUNK;
        place += STATE_CHUNK;
    }
    return 0;
}

/* ---- bringing in ---- */

/* Brings in bytes that have one merge rule and one twin. Returns how many were dealt with. */
static uint64_t bring_run(struct refresh *f, uint64_t at, const uint8_t *from, uint64_t len)
{
    struct replica *v = f->task.value;
    uint64_t until;
    uint32_t op = range_map_at(&v->merges, at, &until);
    len = until - at < len ? until - at : len;
    bool written = false;
    if (op == GT_SET && !f->discard) {
        written = range_map_at(&v->written, at, &until);
        len = until - at < len ? until - at : len;
    }
    uint8_t *twin = v->twins[at / STATE_CHUNK];
    uint8_t *shared = replica_base(v) + at;
    if (twin && !f->discard && (op || v->tracked)) {
        twin_rebase(op, shared, twin + at % STATE_CHUNK, from, len, written);
        return len;
    }
    if (!written)
        memcpy(shared, from, len);
    if (twin)
        memcpy(twin + at % STATE_CHUNK, from, len);
    return len;
}

/* Bytes of one chunk. */
static void bring(struct refresh *f, uint64_t at, const uint8_t *from, uint64_t len)
{
    while (len) {
        uint64_t run = bring_run(f, at, from, len);
        at += run;
        from += run;
        len -= run;
    }
}

static const uint8_t *scratch_at(const struct refresh *f, uint64_t off)
{
    uint32_t low = 0, high = f->span_count;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (f->spans[middle].off <= off)
            low = middle;
        else
            high = middle;
    }
    assert(f->spans[low].off <= off && off < f->spans[low].off + f->spans[low].len);
    return (const uint8_t *)f->spans[low].dst + (off - f->spans[low].off);
}

static void refresh_finish(struct refresh *f)
{
    struct replica *v = f->task.value;
    if (f->discard) {
        uint64_t end = f->whole ? UINT64_MAX : f->off + f->len;
        uint64_t start = f->whole ? 0 : f->off;
        if (range_map_set(&v->written, start, end, 0) < 0)
            v->marks_lost = true;
        if (f->whole)
            v->marks_lost = v->resized = false;
    }
    if (f->whole)
        v->version = v->own_since = f->version;
    refresh_end(f, 0);
}

static void refresh_step(struct task *task)
{
    struct refresh *f = (struct refresh *)task;
    struct replica *v = task->value;
    for (uint32_t chunks = 0; f->extent < f->extent_count && chunks < STATE_SLICE_CHUNKS;) {
        const struct gt_extent *x = &f->extents[f->extent];
        uint64_t at = x->off + f->at, end = x->off + x->len;
        end = end < v->size ? end : v->size;
        if (at >= end) {
            f->extent++;
            f->at = 0;
            continue;
        }
        uint64_t len = STATE_CHUNK - at % STATE_CHUNK;
        len = len < end - at ? len : end - at;
        bring(f, at, scratch_at(f, at), len);
        f->at += len;
        f->moved += len;
        chunks++;
    }
    if (f->extent < f->extent_count)
        tier_defer(v->tier, task, refresh_step);
    else
        refresh_finish(f);
}

/* ---- what the global tier says ---- */

static void refresh_begin(struct task *);

static void refresh_again(struct refresh *f)
{
    scratch_give(f);
    f->off = f->len = 0;
    refresh_begin(&f->task);
}

/* The value is not in the global tier. One that never was is as new as can be. */
static void refresh_absent(struct refresh *f)
{
    struct replica *v = f->task.value;
    if (v->version || v->global_gen) {
        replica_stale(v);
        refresh_fail(f, ATOLL_ESTALE, "the value was deleted");
        return;
    }
    if (f->discard) {
        uint64_t size = v->size;
        int code = replica_resize(v, 0, true, &f->error);
        if (!code)
            code = replica_resize(v, size, true, &f->error);
        v->marks_lost = false;
        refresh_end(f, code);
        return;
    }
    refresh_end(f, 0);
}

static void refresh_answered(void *context, const struct gt_result *r)
{
    struct refresh *f = context;
    struct replica *v = f->task.value;
    if (r->code == -ATOLL_ENOENT)
        return refresh_absent(f);
    if (r->code) {
        f->error = *r->error;
        f->error.code = r->code;
        return refresh_end(f, r->code);
    }
    if (v->global_gen && r->gen != v->global_gen) {
        replica_stale(v);
        return refresh_fail(f, ATOLL_ESTALE, "the value was deleted and made again");
    }
    v->global_gen = r->gen;
    v->global_size = r->size;
    v->unborn &= !r->version;
    v->exclusive = false;
    if (r->size != v->size && (!v->resized || f->discard)) {
        if (replica_resize(v, r->size, false, &f->error) < 0)
            return refresh_end(f, f->error.code);
        return refresh_again(f);
    }
    f->version = r->version;
    f->extents = calloc(r->count + 1, sizeof *f->extents);
    if (!f->extents)
        return refresh_fail(f, ATOLL_ENOMEM, "no memory to pull a value");
    if (r->count)
        memcpy(f->extents, r->extents, r->count * sizeof *f->extents);
    f->extent_count = r->count;
    refresh_step(&f->task);
}

static void refresh_begin(struct task *task)
{
    struct refresh *f = (struct refresh *)task;
    struct replica *v = task->value;
    if (f->pending && f->pending->call->ended)
        return refresh_fail(f, ATOLL_ECANCELED, "the call has ended");
    if (v->stale)
        return refresh_fail(f, ATOLL_ESTALE, "the value was deleted");
    if (v->local)
        return refresh_end(f, 0);
    if (f->off > UINT64_MAX - f->len || f->off + f->len > v->size)
        return refresh_fail(f, ATOLL_ERANGE, "the range does not lie in the value");
    if (v->marks_lost && !f->discard)
        return refresh_fail(f, ATOLL_ELIMIT,
                            "more separate ranges were written than are known; push the whole "
                            "value, or discard them");
    if (!f->len)
        f->len = v->size - f->off;
    if (refresh_spans(f) < 0)
        return refresh_end(f, f->error.code);
    struct gt *gt = v->tier->gt;
    struct gt_key key = replica_key(v);
    struct gt_callback answered = {refresh_answered, f};
    int code = f->span_count ? gt->ops->getrange(gt, &key, f->discard ? 0 : v->version, f->spans,
                                                 f->span_count, answered, &f->error)
                             : gt->ops->stat(gt, &key, answered, &f->error);
    if (code < 0)
        refresh_end(f, code);
}

void pull_start(struct pending *p)
{
    struct refresh *f = calloc(1, sizeof *f);
    if (!f) {
        pending_fail(p, ATOLL_ENOMEM, "no memory to pull a value");
        return;
    }
    f->pending = p;
    f->off = p->request.off;
    f->len = p->request.len;
    f->discard = p->request.flags & STATE_PULL_DISCARD;
    p->tier->counters.pulls++;
    line_enter(p->value, &f->task, refresh_begin, true);
}

int replica_refresh(struct replica *v, bool discard,
                    void (*done)(void *context, int code, uint64_t moved), void *context)
{
    struct refresh *f = calloc(1, sizeof *f);
    if (!f)
        return -ATOLL_ENOMEM;
    f->done = done;
    f->context = context;
    f->discard = discard;
    v->tier->counters.pulls++;
    line_enter(v, &f->task, refresh_begin, true);
    return 0;
}
