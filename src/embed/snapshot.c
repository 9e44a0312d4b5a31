/* Snapshots, reset and dirty pages as embedders see them. */
#include "embed/embed.h"

#include <stdatomic.h>
#include <stdlib.h>

_Static_assert(sizeof(struct atoll_range) == sizeof(struct page_run), "one layout");
_Static_assert(offsetof(struct atoll_range, len) == offsetof(struct page_run, len), "one layout");

int atoll_snapshot_take(struct atoll_arena *a, struct atoll_snapshot **out,
                        struct atoll_error *error)
{
    struct error e = {0};
    *out = NULL;
    if (arena_check(a, &e) < 0)
        return error_give(error, &e);
    struct atoll_snapshot *s = calloc(1, sizeof *s);
    if (!s)
        error_set(&e, ATOLL_ENOMEM, "no memory for a snapshot");
    if (!s || snapshot_take(a->arena, &s->snapshot, &e) < 0) {
        free(s);
        return error_give(error, &e);
    }
    s->references = 1;
    s->bindings = bindings_retain(a->bindings);
    *out = s;
    return 0;
}

struct atoll_snapshot *atoll_snapshot_retain(struct atoll_snapshot *s)
{
    atomic_fetch_add(&s->references, 1);
    return s;
}

void atoll_snapshot_release(struct atoll_snapshot *s)
{
    if (!s || atomic_fetch_sub(&s->references, 1) != 1)
        return;
    snapshot_release(s->snapshot);
    bindings_release(s->bindings);
    free(s);
}

uint64_t atoll_snapshot_bytes(const struct atoll_snapshot *s)
{
    return snapshot_bytes(s->snapshot);
}

void atoll_snapshot_keep_pages(struct atoll_snapshot *s, uint32_t pages)
{
    snapshot_keep_pages(s->snapshot, pages);
}

int atoll_arena_from_snapshot(struct atoll_snapshot *s, uint32_t slot, struct atoll_arena **out,
                              struct atoll_error *error)
{
    struct error e = {0};
    struct arena *arena;
    *out = NULL;
    if (snapshot_restore(s->snapshot, slot, &arena, &e) < 0 || arena_wrap(arena, out, &e) < 0)
        return error_give(error, &e);
    (*out)->bindings = bindings_retain(s->bindings);
    (*out)->origin = atoll_snapshot_retain(s);
    return 0;
}

int atoll_arena_reset(struct atoll_arena *a, struct atoll_error *error)
{
    struct error e = {0};
    if (!a->origin)
        error_set(&e, ATOLL_EINVAL, "only an arena that was made from a snapshot can be reset");
    else if (snapshot_reset(a->origin->snapshot, a->arena, &e) == 0) {
        atoll_dirty_stop(a);
        wasi_destroy(a->wasi);
        a->wasi = NULL;
        return 0;
    }
    return error_give(error, &e);
}

/* ---- dirty pages ---- */

int atoll_dirty_start(struct atoll_arena *a, struct atoll_error *error)
{
    struct error e = {0};
    int rc = arena_check(a, &e);
    if (rc == 0 && (a->tracker || !a->arena->instance_count))
        rc = error_set(&e, ATOLL_EBUSY,
                       a->tracker ? "the arena is tracked already"
                                  : "nothing is linked into the arena yet");
    if (rc == 0)
        rc = dirty_start(a->arena, DIRTY_BEST, &a->tracker, &e);
    return rc < 0 ? error_give(error, &e) : 0;
}

int atoll_dirty_collect(struct atoll_arena *a, struct atoll_range **ranges, size_t *count,
                        struct atoll_error *error)
{
    struct error e = {0};
    struct page_run *runs = NULL;
    *ranges = NULL;
    *count = 0;
    int rc = a->tracker ? dirty_collect(a->tracker, &runs, count, &e)
                        : error_set(&e, ATOLL_EINVAL, "the arena is not tracked");
    *ranges = (struct atoll_range *)(void *)runs;
    return rc < 0 ? error_give(error, &e) : 0;
}

void atoll_dirty_stop(struct atoll_arena *a)
{
    dirty_stop(a->tracker);
    a->tracker = NULL;
}
