/*
 * Chunks that are missing, pulled when somebody needs them.
 *
 * A chunk is pulled once, however many wait for it: the first request issues it, all wait until
 * their ranges are here. The global tier writes straight into the value's memory: nobody can see a
 * missing chunk. All chunks of one request come from one moment of the global value.
 */
#include "state/tier.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct pull {
    struct replica *value;
    uint32_t tries, span_count;
    struct gt_span spans[];
};

static void pull_done(void *context, const struct gt_result *r);
static void chunks_look(struct pending *p);

/* ---- requests that wait for chunks ---- */

static bool pull_covers(const struct pull *pull, const struct pending *p)
{
    for (uint32_t i = 0; i < pull->span_count; i++) {
        const struct gt_span *s = &pull->spans[i];
        if (p->need_off < s->off + s->len && s->off < p->need_off + p->need_len)
            return true;
    }
    return false;
}

static void pull_fail_waiting(const struct pull *pull, const struct error *e)
{
    struct replica *v = pull->value;
    struct pending_list failed = TAILQ_HEAD_INITIALIZER(failed);
    struct pending *p, *next;
    for (p = TAILQ_FIRST(&v->waiting_chunks); p; p = next) {
        next = TAILQ_NEXT(p, wait);
        if (pull_covers(pull, p)) {
            pending_wait_end(p);
            pending_wait(p, &failed);
        }
    }
    while ((p = TAILQ_FIRST(&failed))) {
        pending_wait_end(p);
        pending_error(p, e);
    }
}

void pull_kick(struct replica *v)
{
    struct pending_list again = TAILQ_HEAD_INITIALIZER(again);
    struct pending *p;
    replica_pin(v);
    while ((p = TAILQ_FIRST(&v->waiting_chunks))) {
        pending_wait_end(p);
        pending_wait(p, &again);
    }
    while ((p = TAILQ_FIRST(&again))) {
        pending_wait_end(p);
        chunks_look(p);
    }
    replica_unpin(v);
}

/* ---- one pull ---- */

static void pull_chunks(const struct pull *pull, enum chunk_state state)
{
    struct replica *v = pull->value;
    for (uint32_t s = 0; s < pull->span_count; s++) {
        uint64_t first = pull->spans[s].off / STATE_CHUNK;
        for (uint64_t i = first; i < first + pull->spans[s].len / STATE_CHUNK; i++)
            replica_chunk(v, i, state);
    }
}

static int pull_send(struct pull *pull, struct error *e)
{
    struct gt *gt = pull->value->tier->gt;
    struct gt_key key = replica_key(pull->value);
    return gt->ops->getrange(gt, &key, 0, pull->spans, pull->span_count,
                             (struct gt_callback){pull_done, pull}, e);
}

static void pull_end(struct pull *pull)
{
    struct replica *v = pull->value;
    free(pull);
    v->pulls--;
    pull_kick(v);
    line_pull_ended(v);
    replica_unpin(v);
}

/* The twins that the new chunks need; their own bytes are the global ones. */
static int pull_track(const struct pull *pull, struct error *e)
{
    struct replica *v = pull->value;
    for (uint32_t s = 0; s < pull->span_count; s++) {
        uint64_t first = pull->spans[s].off / STATE_CHUNK;
        for (uint64_t i = first; i < first + pull->spans[s].len / STATE_CHUNK; i++) {
            bool wanted =
                v->tracked || range_map_touches(&v->merges, i * STATE_CHUNK, (i + 1) * STATE_CHUNK);
            if (wanted && replica_track(v, i, i, e) < 0)
                return e->code;
        }
    }
    return 0;
}

/* What came lies behind the local end where the value is shorter here than in the global tier. */
static void pull_cut(const struct pull *pull)
{
    struct replica *v = pull->value;
    uint64_t last = v->chunks - 1;
    if (v->size % STATE_CHUNK && chunk_is(v->pulling, last)) {
        for (uint32_t s = 0; s < pull->span_count; s++) {
            if (pull->spans[s].off + pull->spans[s].len == v->chunks * STATE_CHUNK)
                memset(replica_base(v) + v->size, 0, v->chunks * STATE_CHUNK - v->size);
        }
    }
}

static int pull_take(struct pull *pull, const struct gt_result *r, struct error *e)
{
    struct replica *v = pull->value;
    if (r->code == -ATOLL_ENOENT || (!r->code && r->gen != v->global_gen)) {
        pull_chunks(pull, CHUNK_MISSING);
        replica_stale(v);
        return error_set(e, ATOLL_ESTALE, "the value was deleted");
    }
    if (r->code) {
        *e = *r->error;
        e->code = r->code;
        pull_chunks(pull, CHUNK_MISSING);
        return e->code;
    }
    if (r->version < v->own_since)
        v->version = v->own_since = r->version;
    pull_cut(pull);
    pull_chunks(pull, CHUNK_PRESENT);
    if (pull_track(pull, e) < 0) {
        pull_chunks(pull, CHUNK_MISSING);
        return e->code;
    }
    replica_publish(v);
    return 0;
}

static void pull_done(void *context, const struct gt_result *r)
{
    struct pull *pull = context;
    struct replica *v = pull->value;
    struct error e;
    /* Older than the rest of the copy: somebody's push is between. The next answer is newer. */
    if (!r->code && r->gen == v->global_gen && r->version < v->own_since &&
        ++pull->tries < STATE_TRIES_MAX && pull_send(pull, &e) == 0)
        return;
    for (uint32_t i = 0; !r->code && i < pull->span_count; i++)
        v->tier->counters.pull_bytes += pull->spans[i].len;
    if (pull_take(pull, r, &e) < 0)
        pull_fail_waiting(pull, &e);
    pull_end(pull);
}

/* Chunks in [first, last] that are missing and that nobody pulls. */
static uint64_t chunks_missing(const struct replica *v, uint64_t first, uint64_t last,
                               uint32_t *runs)
{
    uint64_t missing = 0;
    bool before = false;
    *runs = 0;
    for (uint64_t i = first; i <= last; i++) {
        bool is = !chunk_is(v->present, i) && !chunk_is(v->pulling, i);
        missing += is;
        *runs += is && !before;
        before = is;
    }
    return missing;
}

static int pull_issue(struct replica *v, uint64_t first, uint64_t last, uint32_t runs,
                      struct error *e)
{
    if (runs > GT_RANGES_MAX)
        return error_set(e, ATOLL_ELIMIT, "too many separate parts of the value are missing");
    struct pull *pull = calloc(1, sizeof *pull + runs * sizeof(struct gt_span));
    if (!pull || replica_allocate(v, v->size, e) < 0) {
        free(pull);
        return pull ? e->code : error_set(e, ATOLL_ENOMEM, "no memory to pull a value");
    }
    pull->value = v;
    struct gt_span *span = NULL;
    for (uint64_t i = first; i <= last; i++) {
        if (chunk_is(v->present, i) || chunk_is(v->pulling, i)) {
            span = NULL;
            continue;
        }
        if (!span) {
            span = &pull->spans[pull->span_count++];
            *span = (struct gt_span){i * STATE_CHUNK, replica_base(v) + i * STATE_CHUNK, 0};
        }
        span->len += STATE_CHUNK;
    }
    if (pull_send(pull, e) < 0) {
        free(pull);
        return e->code;
    }
    pull_chunks(pull, CHUNK_PULLED);
    v->pulls++;
    v->tier->counters.pulls++;
    replica_pin(v);
    return 0;
}

static void chunks_look(struct pending *p)
{
    struct replica *v = p->value;
    if (v->stale)
        return pending_fail(p, ATOLL_ESTALE, "the value was deleted");
    if (p->need_off > UINT64_MAX - p->need_len || p->need_off + p->need_len > v->size)
        return pending_fail(p, ATOLL_ERANGE, "the range does not lie in the value");
    if (replica_has(v, p->need_off, p->need_len))
        return p->then(p);
    if (line_forbids_pulls(v))
        return pending_wait(p, &v->waiting_chunks);
    uint64_t first = p->need_off / STATE_CHUNK;
    uint64_t last = (p->need_off + p->need_len - 1) / STATE_CHUNK;
    uint32_t runs;
    uint64_t missing = chunks_missing(v, first, last, &runs);
    if (missing) {
        p->resume = chunks_look;
        if (room_take(p, missing * STATE_CHUNK * (v->tracked ? 2 : 1)) < 0)
            return;
        struct error e;
        if (pull_issue(v, first, last, runs, &e) < 0)
            return pending_error(p, &e);
        p->moved += missing * STATE_CHUNK;
    }
    pending_wait(p, &v->waiting_chunks);
}

void chunks_need(struct pending *p, uint64_t off, uint64_t len, void (*then)(struct pending *))
{
    p->need_off = off;
    p->need_len = len;
    p->then = then;
    chunks_look(p);
}

static void ensure_end(struct pending *p)
{
    pending_answer(p, &(struct state_answer){
                          .fd = -1, .reply = {.moved = p->moved, .number = p->request.len}});
}

void ensure_start(struct pending *p)
{
    chunks_need(p, p->request.off, p->request.len, ensure_end);
}
