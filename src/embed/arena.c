/* Arenas as embedders see them: making, limits, WASI world, fuel, regions. */
#include "embed/embed.h"

#include "sandbox/region.h"

#include <stdlib.h>

_Static_assert(sizeof(struct atoll_limits) == sizeof(struct arena_limits), "one layout");
_Static_assert(offsetof(struct atoll_limits, stack_bytes) ==
                   offsetof(struct arena_limits, stack_bytes),
               "one layout");
_Static_assert(offsetof(struct atoll_limits, table_entries) ==
                   offsetof(struct arena_limits, table_entries),
               "one layout");
_Static_assert(offsetof(struct atoll_limits, no_window) == offsetof(struct arena_limits, no_window),
               "one layout");
_Static_assert(sizeof(struct atoll_directory) == sizeof(struct wasi_preopen), "one layout");
_Static_assert(offsetof(struct atoll_directory, guest_name) ==
                   offsetof(struct wasi_preopen, guest_name),
               "one layout");
_Static_assert(offsetof(struct atoll_directory, read_only) ==
                   offsetof(struct wasi_preopen, read_only),
               "one layout");
_Static_assert(ATOLL_SLOT_ANY == SLOT_ANY, "one value");
_Static_assert((int)ATOLL_READ == (int)GUEST_READ && (int)ATOLL_WRITE == (int)GUEST_WRITE,
               "one numbering");

/* ---- making ---- */

int arena_wrap(struct arena *arena, struct atoll_arena **out, struct error *e)
{
    struct atoll_arena *a = calloc(1, sizeof *a);
    if (!a) {
        arena_destroy(arena);
        return error_set(e, ATOLL_ENOMEM, "no memory for an arena");
    }
    a->arena = arena;
    arena->owner = a;
    *out = a;
    return 0;
}

int arena_check(const struct atoll_arena *a, struct error *e)
{
    return a->broken ? error_set(e, ATOLL_EINVAL,
                                 "a module could not be linked to the end: destroy the arena")
                     : 0;
}

int atoll_arena_create(uint32_t slot, const struct atoll_limits *limits, struct atoll_arena **out,
                       struct atoll_error *error)
{
    struct error e = {0};
    struct arena *arena;
    *out = NULL;
    if (arena_create(slot, (const struct arena_limits *)(const void *)limits, &arena, &e) < 0 ||
        arena_wrap(arena, out, &e) < 0)
        return error_give(error, &e);
    return 0;
}

void atoll_arena_destroy(struct atoll_arena *a)
{
    if (!a)
        return;
    dirty_stop(a->tracker);
    arena_destroy(a->arena);
    wasi_destroy(a->wasi);
    bindings_release(a->bindings);
    atoll_snapshot_release(a->origin);
    free(a);
}

uint32_t atoll_arena_slot(const struct atoll_arena *a)
{
    return arena_slot(a->arena);
}

struct atoll_instance *atoll_arena_instance(const struct atoll_arena *a, uint32_t number)
{
    return number < a->arena->instance_count ? instance_outside(a->arena->instances[number]) : NULL;
}

int atoll_handlers_install(struct atoll_error *error)
{
    struct error e = {0};
    if (engine_initialize(&e) == 0)
        (void)signals_install(&e);
    return error_give(error, &e);
}

/* ---- WASI ---- */

void wasi_config_inside(const struct atoll_wasi_config *given, struct wasi_config *out)
{
    static const struct atoll_wasi_config standard = ATOLL_WASI_CONFIG;
    const struct atoll_wasi_config *c = given ? given : &standard;
    *out = (struct wasi_config){
        .args = c->args,
        .env = c->env,
        .preopens = (const struct wasi_preopen *)(const void *)c->directories,
        .arg_count = c->arg_count,
        .env_count = c->env_count,
        .preopen_count = c->directory_count,
        .stdin_fd = c->stdin_fd,
        .stdout_fd = c->stdout_fd,
        .stderr_fd = c->stderr_fd,
        .clock_resolution_ns = c->clock_resolution_ns,
        .descriptor_limit = c->descriptor_limit,
    };
}

int atoll_wasi_attach(struct atoll_arena *a, const struct atoll_wasi_config *config,
                      struct atoll_error *error)
{
    struct error e = {0};
    struct wasi_config inside;
    struct wasi *world;
    if (a->arena->context.depth) {
        error_set(&e, ATOLL_EBUSY, "a running guest cannot get another WASI world");
        return error_give(error, &e);
    }
    wasi_config_inside(config, &inside);
    if (wasi_create(&inside, &world, &e) < 0)
        return error_give(error, &e);
    wasi_destroy(a->wasi);
    a->wasi = world;
    return 0;
}

/* ---- fuel ---- */

int atoll_fuel_set(struct atoll_arena *a, int64_t fuel, struct atoll_error *error)
{
    if (!a->arena->fields_mapped) {
        struct error e;
        error_set(&e, ATOLL_EINVAL, "fuel is given to an arena after something is linked into it");
        return error_give(error, &e);
    }
    arena_fuel_set(a->arena, fuel);
    return 0;
}

int64_t atoll_fuel(const struct atoll_arena *a)
{
    return arena_fuel(a->arena);
}

/* ---- regions ---- */

int atoll_region_map(struct atoll_arena *a, const char *name, int fd, uint64_t offset, uint64_t len,
                     uint32_t rights, uint32_t *address, struct atoll_error *error)
{
    struct error e = {0};
    if (region_map(a->arena, name, fd, offset, len, rights, address, &e) < 0)
        return error_give(error, &e);
    return 0;
}

int atoll_region_unmap(struct atoll_arena *a, uint32_t address, struct atoll_error *error)
{
    struct error e = {0};
    return region_unmap(a->arena, address, &e) < 0 ? error_give(error, &e) : 0;
}
