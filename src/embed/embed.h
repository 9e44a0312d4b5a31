/*
 * Inside libatoll's public interface (include/atoll/atoll.h): what its files share, and nobody
 * else.
 *
 * The interface is thin. Artefacts, instances and compilers are the engine's own structures under
 * another name; an arena and a snapshot carry what the engine has no room for: the guest's WASI
 * world, and the records through which imports reach the embedder's functions.
 */
#ifndef EMBED_EMBED_H
#define EMBED_EMBED_H

#include "atoll/atoll.h"
#include "engine/arena.h"
#include "engine/compile.h"
#include "sandbox/dirty.h"
#include "sandbox/snapshot.h"
#include "sandbox/wasi/wasi.h"

/* What one import of a module is bound to. */
struct bound {
    atoll_host_function function;
    void *data;
    host_function wasi; /* instead: WASI's own function */
};

/* Bound imports outlive arenas that were started from a snapshot of theirs, so they are counted.
 * Immutable once linked, hence shared between threads. */
struct bindings {
    _Atomic uint32_t references;
    struct bindings *older; /* of modules linked before; holds a reference */
    struct bound bound[];
};

struct atoll_arena {
    struct arena *arena; /* its owner field points back here */
    struct wasi *wasi;
    struct bindings *bindings;
    struct atoll_snapshot *origin; /* that it was made from, retained; or NULL */
    struct dirty_tracker *tracker;
    bool broken; /* a module was linked by halves: only good to be destroyed */
};

struct atoll_snapshot {
    _Atomic uint32_t references;
    struct snapshot *snapshot;
    struct bindings *bindings;
};

/* ---- the same structures under their two names ---- */

static inline struct artefact *artefact_inside(const struct atoll_artefact *a)
{
    return (struct artefact *)(uintptr_t)a;
}

static inline struct instance *instance_inside(const struct atoll_instance *i)
{
    return (struct instance *)(uintptr_t)i;
}

static inline struct atoll_instance *instance_outside(const struct instance *i)
{
    return (struct atoll_instance *)(uintptr_t)i;
}

static inline struct atoll_arena *arena_outside(const struct arena *a)
{
    return a->owner;
}

/* ---- library.c ---- */
/* Hands an error to the caller, who may not want it; returns its code. */
int error_give(struct atoll_error *out, const struct error *e);

/* ---- arena.c ---- */
/* Wraps an arena. On failure the arena is destroyed. */
int arena_wrap(struct arena *, struct atoll_arena **out, struct error *e);
/* -ATOLL_EINVAL when the arena is broken. */
int arena_check(const struct atoll_arena *, struct error *e);
void wasi_config_inside(const struct atoll_wasi_config *, struct wasi_config *out);

/* ---- bind.c ---- */
/* Room for count bound imports, all zero, in front of *list. NULL without memory. */
struct bound *bindings_add(struct bindings **list, uint32_t count);
struct bindings *bindings_retain(struct bindings *); /* NULL is fine */
void bindings_release(struct bindings *);            /* NULL is fine */
/* Binds an import of a function to the offer, or if that is NULL to WASI. Fills bound and what the
 * engine is to call. has_world: the arena has a WASI world, or need not have one yet. -ATOLL_ELINK,
 * -ATOLL_EINVAL. */
int import_bind(const struct wasm_module *, const struct wasm_import *, const struct atoll_import *,
                bool has_world, struct bound *, host_function *, void **data, struct error *e);
/* The first offer for an import's names, or NULL. */
const struct atoll_import *offer_find(const struct wasm_module *, const struct wasm_import *,
                                      const struct atoll_import *, size_t count);

#endif
