/*
 * Faaslets: making them from a version's image, resetting them, keeping and evicting them.
 *
 *   restored ─▶ has a call ─▶ dirty ─▶ reset ─▶ clean ─▶ has a call …
 *                  │ trapped, or its image was replaced ─▶ destroyed
 *                  └ kept ─▶ has a call of the same tree …, or dirty when the tree has ended
 *
 * A call's faaslet is reset after its result has gone out: at the latest when the next call wants
 * it, sooner by a thread that has nothing to do, at once when DIRTY_MAX of the version wait
 * already. What does not concern memory (descriptors, locks, regions of state) was let go of when
 * the call ended. Idle faaslets stay until the manifest's idle_ttl, or until a new arena needs
 * their slot: then the one that was idle longest goes.
 *
 * With reset: tenant-trusted there is no reset between calls of one tree (with that of a service,
 * never, none at all): an instance whose call returned OK is kept as it is for the next one. Calls
 * that another tenant's function has chained neither find such memory nor leave any. Nobody may
 * rely on it: an instance can go at any time.
 *
 * A faaslet that was made only because its call wanted a new one is not kept beside idle ones: a
 * caller that always wants new ones would fill the process with them. It is destroyed after its
 * call, and leaves its slot, with the mappings of its code and image, to the next of them.
 */
#include "node/worker/process.h"
#include "node/worker/shared_files.h"

#include "sandbox/region.h"

#include <stdlib.h>
#include <unistd.h>

#define SWEEP_WARM_MAX 8u /* instances made by one sweep to be kept warm */

/* ---- lists of idle faaslets, under worker.lock ---- */

static void idle_add(struct worker *w, struct faaslet *f, enum idle_list list)
{
    struct version *v = f->version;
    f->list = list;
    f->next = v->idle[list];
    v->idle[list] = f;
    v->idle_count[list]++;
    f->older = w->newest;
    f->newer = NULL;
    *(w->newest ? &w->newest->newer : &w->oldest) = f;
    w->newest = f;
    w->dirty_count += list == IDLE_DIRTY;
    if (f->kept_for)
        f->kept_for->kept++;
}

/* Its memory is for nobody any more. */
static void kept_drop(struct faaslet *f)
{
    if (f->kept_for)
        app_release(f->kept_for);
    f->kept_for = NULL;
    f->kept = false;
}

static void idle_remove(struct worker *w, struct faaslet *f)
{
    struct version *v = f->version;
    struct faaslet **at = &v->idle[f->list];
    while (*at != f)
        at = &(*at)->next;
    *at = f->next;
    *(f->older ? &f->older->newer : &w->oldest) = f->newer;
    *(f->newer ? &f->newer->older : &w->newest) = f->older;
    v->idle_count[f->list]--;
    w->dirty_count -= f->list == IDLE_DIRTY;
    if (f->kept_for)
        f->kept_for->kept--;
    kept_drop(f);
}

/* ---- making and destroying ---- */

struct faaslet *faaslet_create(struct worker *w, struct version *v)
{
    struct faaslet *f = calloc(1, sizeof *f);
    if (f) {
        f->worker = w;
        f->version = v;
        f->output.file = -1;
    }
    return f;
}

void faaslet_destroy(struct faaslet *f)
{
    struct worker *w = f->worker;
    if (f->arena) {
        arena_destroy(f->arena);
        pthread_mutex_lock(&w->lock);
        w->arenas--;
        pthread_mutex_unlock(&w->lock);
    }
    wasi_destroy(f->wasi);
    proto_release(f->proto);
    call_output_free(&f->output);
    buffer_free(&f->reply_head);
    buffer_free(&f->payload);
    free(f->answer);
    free(f->shared_asked);
    free(f->failure);
    free(f);
}

int arena_admit(struct worker *w, struct error *e)
{
    for (;;) {
        pthread_mutex_lock(&w->lock);
        bool room = w->arenas < w->arenas_max;
        struct faaslet *victim = room ? NULL : w->oldest;
        w->arenas += room;
        if (victim)
            idle_remove(w, victim);
        pthread_mutex_unlock(&w->lock);
        if (room)
            return 0;
        if (!victim)
            return error_set(e, ATOLL_ENOMEM, "all %u instances of this worker have calls",
                             w->arenas_max);
        faaslet_destroy(victim);
    }
}

void arena_dismiss(struct worker *w)
{
    pthread_mutex_lock(&w->lock);
    w->arenas--;
    pthread_mutex_unlock(&w->lock);
}

/* A faaslet from the image. */
static int faaslet_restore(struct worker *w, struct version *v, struct proto *proto,
                           struct faaslet **out, struct error *e)
{
    struct faaslet *f = faaslet_create(w, v);
    if (!f)
        return error_set(e, ATOLL_ENOMEM, "no memory for an instance");
    int rc = arena_admit(w, e);
    if (rc == 0 && (rc = snapshot_restore(proto->snapshot, SLOT_ANY, &f->arena, e)) < 0)
        arena_dismiss(w);
    if (rc == 0) {
        f->arena->owner = f;
        const struct vfs_config tree = {.base = v->files, .shared = &shared_files, .context = f};
        rc = wasi_instantiate(proto->wasi, &tree, &f->wasi, e);
    }
    if (rc < 0) {
        faaslet_destroy(f);
        return rc;
    }
    atomic_fetch_add(&proto->references, 1);
    f->proto = proto;
    instance_rebind(arena_primary(f->arena), proto->wasi_bound, f->wasi);
    *out = f;
    return 0;
}

static int faaslet_reset(struct worker *w, struct faaslet *f)
{
    struct error e;
    int64_t begun = clock_monotonic_ns();
    int rc = snapshot_reset(f->proto->snapshot, f->arena, &e);
    uint64_t took = (uint64_t)(clock_monotonic_ns() - begun);
    f->used = false;
    pthread_mutex_lock(&w->lock);
    f->version->tally.resets++;
    f->version->tally.reset_ns += took;
    pthread_mutex_unlock(&w->lock);
    return rc;
}

void faaslet_limit_memory(struct faaslet *f, uint64_t bytes)
{
    int64_t *limit = arena_field(f->arena->base, FIELD_MEMORY_LIMIT);
    if (bytes < (uint64_t)*limit)
        *limit = (int64_t)bytes;
}

/* ---- taking ---- */

/* Whether calls like this one leave memory to others and find that of others. Not one with a limit
 * of its own on memory: what is there may have grown beyond it, and the limit would stay. */
static bool pool_keeps(const struct call *c)
{
    enum manifest_reset reset = c->version->manifest.reset;
    return reset != RESET_ALWAYS && !c->app->foreign && !c->memory_max;
}

/* The one whose memory the call may see, or NULL. */
static struct faaslet *kept_find(const struct version *v, const struct call *c)
{
    struct faaslet *f = pool_keeps(c) ? v->idle[IDLE_KEPT] : NULL;
    while (f && f->kept_for && f->kept_for != c->app)
        f = f->next;
    return f;
}

/* An idle faaslet of the version, or its image (retained), or why there is neither. */
static int pool_look(struct worker *w, const struct call *c, struct faaslet **out,
                     struct proto **proto, struct error *e)
{
    struct version *v = c->version;
    int rc = 0;
    struct faaslet *f = NULL;
    pthread_mutex_lock(&w->lock);
    *proto = v->proto;
    if (!v->proto && v->stage == VERSION_LOADING)
        rc = error_set(e, ATOLL_EAGAIN, "the version is being loaded");
    else if (!v->proto)
        rc = (*e = v->problem).code;
    else if (!c->fresh && !(f = kept_find(v, c)))
        f = v->idle[IDLE_CLEAN] ? v->idle[IDLE_CLEAN] : v->idle[IDLE_DIRTY];
    if (f)
        idle_remove(w, f);
    else if (rc == 0)
        atomic_fetch_add(&v->proto->references, 1);
    if (rc == 0)
        w->memory_used += v->proto->charge;
    pthread_mutex_unlock(&w->lock);
    *out = f;
    return rc;
}

static void charge_drop(struct worker *w, uint64_t charge)
{
    pthread_mutex_lock(&w->lock);
    w->memory_used -= charge;
    queue_unstick(&w->queue);
    pthread_mutex_unlock(&w->lock);
}

int pool_take(struct worker *w, const struct call *c, enum call_temperature *temperature,
              struct faaslet **out, struct error *e)
{
    struct proto *proto;
    struct faaslet *f;
    int rc = pool_look(w, c, &f, &proto, e);
    if (rc < 0)
        return rc;
    uint64_t charge = proto->charge;
    bool kept = f && f->list == IDLE_KEPT;
    *temperature = kept ? CALL_KEPT : f ? CALL_HOT : CALL_WARM;
    if (f && f->used && !kept && faaslet_reset(w, f) < 0) {
        faaslet_destroy(f);
        charge_drop(w, charge);
        return pool_take(w, c, temperature, out, e); /* ends: one less is idle */
    }
    if (!f) {
        rc = faaslet_restore(w, c->version, proto, &f, e);
        proto_release(proto);
    }
    if (rc < 0) {
        charge_drop(w, charge);
        return rc;
    }
    f->charge = charge;
    f->used = true;
    f->returned = false;
    f->apart = c->fresh;
    *out = f;
    return 0;
}

/* ---- keeping what a call left ---- */

void pool_keep(struct faaslet *f, const struct call *c)
{
    if (!f->returned || !pool_keeps(c))
        return;
    f->kept = true;
    if (f->version->manifest.reset == RESET_TENANT_TRUSTED) {
        f->kept_for = c->app;
        f->kept_for->references++;
    }
}

void pool_app_over(struct worker *w, const struct app *app)
{
    for (struct faaslet *f = w->oldest, *newer; f && app->kept; f = newer) {
        newer = f->newer;
        if (f->kept_for != app)
            continue;
        idle_remove(w, f);
        idle_add(w, f, IDLE_DIRTY);
    }
}

/* ---- giving back ---- */

static void call_traces_drop(struct faaslet *f)
{
    call_output_clear(&f->output);
    if (f->output.bytes.capacity > OUTPUT_KEEP)
        buffer_free(&f->output.bytes);
    f->reply_head.len = 0;
    f->log_bytes = f->log_lines = 0;
    f->input_address = 0;
    free(f->failure);
    f->failure = NULL;
    free(f->shared_asked);
    f->shared_asked = NULL;
    f->asked_name = false;
    f->call = NULL;
}

/* Under worker.lock. What holds a faaslet that is not idle holds its version. */
static void version_let_go(struct worker *w, struct version *v)
{
    if (--v->calls == 0)
        version_unused(w, v);
}

void pool_give(struct worker *w, struct faaslet *f)
{
    struct version *v = f->version;
    call_traces_drop(f);
    if (f->kept)
        region_unmap_all(f->arena); /* the call's input, values of state: no memory of its own */
    pthread_mutex_lock(&w->lock);
    w->memory_used -= f->charge;
    queue_unstick(&w->queue);
    f->charge = 0;
    if (f->kept_for && f->kept_for->live == 0)
        kept_drop(f); /* the last call of its tree */
    bool spare = f->apart && (v->idle[IDLE_CLEAN] || v->idle[IDLE_DIRTY]);
    bool keep = f->proto && f->proto == v->proto && !f->trapped && !v->dropped && !spare;
    bool later = keep && (f->kept || v->idle_count[IDLE_DIRTY] < DIRTY_MAX);
    f->idle_since_ns = 0;
    if (later)
        idle_add(w, f, f->kept ? IDLE_KEPT : IDLE_DIRTY);
    else
        kept_drop(f);
    if (later || !keep)
        version_let_go(w, v);
    pthread_mutex_unlock(&w->lock);
    if (later)
        return;
    if (!keep) {
        faaslet_destroy(f);
        return;
    }
    keep = faaslet_reset(w, f) == 0;
    pthread_mutex_lock(&w->lock);
    keep = keep && f->proto == v->proto && !v->dropped;
    if (keep)
        idle_add(w, f, IDLE_CLEAN);
    version_let_go(w, v);
    pthread_mutex_unlock(&w->lock);
    if (!keep)
        faaslet_destroy(f);
}

bool pool_reset_one(struct worker *w)
{
    if (!atomic_load(&w->dirty_count))
        return false;
    pthread_mutex_lock(&w->lock);
    struct faaslet *f = w->newest;
    while (f && f->list != IDLE_DIRTY)
        f = f->older;
    if (f) {
        idle_remove(w, f);
        f->version->calls++;
    }
    pthread_mutex_unlock(&w->lock);
    if (!f)
        return false;
    int rc = faaslet_reset(w, f);
    pthread_mutex_lock(&w->lock);
    bool keep = rc == 0 && f->proto == f->version->proto && !f->version->dropped;
    if (keep)
        idle_add(w, f, IDLE_CLEAN);
    version_let_go(w, f->version);
    pthread_mutex_unlock(&w->lock);
    if (!keep)
        faaslet_destroy(f);
    return true;
}

/* ---- keeping ---- */

void pool_drain(struct worker *w, struct version *v)
{
    for (;;) {
        pthread_mutex_lock(&w->lock);
        struct faaslet *f = v->idle[IDLE_CLEAN];
        for (uint32_t list = IDLE_DIRTY; !f && list < IDLE_LISTS; list++)
            f = v->idle[list];
        if (f)
            idle_remove(w, f);
        pthread_mutex_unlock(&w->lock);
        if (!f)
            return;
        faaslet_destroy(f);
    }
}

/* An idle faaslet that has been so for too long, taken out. Faaslets are stamped by the first sweep
 * that sees them idle. */
static struct faaslet *stale_take(struct worker *w, int64_t now_ns)
{
    struct faaslet *f, *found = NULL;
    pthread_mutex_lock(&w->lock);
    for (f = w->oldest; f && !found; f = f->newer) {
        const struct version *v = f->version;
        if (!f->idle_since_ns)
            f->idle_since_ns = now_ns;
        else if (now_ns - f->idle_since_ns > (int64_t)v->manifest.idle_ttl_ns &&
                 version_idle(v) + v->active > v->manifest.keep_warm)
            found = f;
    }
    if (found)
        idle_remove(w, found);
    pthread_mutex_unlock(&w->lock);
    return found;
}

/* A version that has fewer instances than are to be kept warm; its image is retained. */
static struct version *cool_version(struct worker *w, struct proto **proto)
{
    struct version *v;
    pthread_mutex_lock(&w->lock);
    LIST_FOREACH(v, &w->all_versions, all)
    {
        if (v->proto && !v->dropped && version_idle(v) + v->active < v->manifest.keep_warm &&
            w->arenas < w->arenas_max)
            break;
    }
    if (v) {
        *proto = v->proto;
        atomic_fetch_add(&v->proto->references, 1);
        v->calls++; /* keeps the version */
    }
    pthread_mutex_unlock(&w->lock);
    return v;
}

static bool warm_one(struct worker *w)
{
    struct error e;
    struct proto *proto;
    struct faaslet *f = NULL;
    struct version *v = cool_version(w, &proto);
    if (!v)
        return false;
    int rc = faaslet_restore(w, v, proto, &f, &e);
    pthread_mutex_lock(&w->lock);
    bool keep = rc == 0 && v->proto == proto && !v->dropped;
    if (keep)
        idle_add(w, f, IDLE_CLEAN);
    version_let_go(w, v);
    pthread_mutex_unlock(&w->lock);
    if (f && !keep)
        faaslet_destroy(f);
    proto_release(proto);
    return keep;
}

void pool_sweep(struct worker *w, int64_t now_ns)
{
    for (struct faaslet *f; (f = stale_take(w, now_ns));)
        faaslet_destroy(f);
    for (uint32_t made = 0; made < SWEEP_WARM_MAX && warm_one(w); made++)
        ;
}
