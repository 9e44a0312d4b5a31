/* Linking a command line guest and driving it across parks and interruptions. */
#include "cli/guest.h"

#include <stdio.h>
#include <stdlib.h>

static int import_unknown(const struct wasm_module *module, const struct wasm_import *import,
                          struct error *e)
{
    return error_set(e, ATOLL_ELINK,
                     "unknown import %.*s.%.*s: `atoll run` offers the functions of "
                     "wasi_snapshot_preview1 only",
                     (int)import->module.len, (const char *)module->bytes + import->module.offset,
                     (int)import->name.len, (const char *)module->bytes + import->name.offset);
}

int guest_resolve_import(const struct wasm_module *module, const struct wasm_import *import,
                         struct wasi *wasi, struct link_import *out, struct error *e)
{
    if (import->kind != WASM_KIND_FUNC)
        return import_unknown(module, import, e);
    struct wasm_signature signature = wasm_function_signature(module, import->index);
    int result = wasi_resolve(wasi, (const char *)module->bytes + import->module.offset,
                              import->module.len, (const char *)module->bytes + import->name.offset,
                              import->name.len, &signature, &out->function, &out->data, e);
    if (result == -ATOLL_ENOENT)
        return import_unknown(module, import, e);
    out->how = LINK_HOST;
    return result;
}

/* All imports of a module; *out is malloc'ed for the caller. */
static int imports_resolve(const struct wasm_module *module, struct wasi *wasi,
                           struct link_import **out, struct error *e)
{
    struct link_import *imports = calloc(module->import_count + 1u, sizeof *imports);
    if (!imports)
        return error_set(e, ATOLL_ENOMEM, "cannot link: out of memory");
    for (uint32_t i = 0; i < module->import_count; i++) {
        int result = guest_resolve_import(module, &module->imports[i], wasi, &imports[i], e);
        if (result < 0) {
            free(imports);
            return result;
        }
    }
    *out = imports;
    return 0;
}

int guest_create(struct artefact *artefact, const struct wasi_config *config,
                 const struct arena_limits *limits, struct guest *out, struct error *e)
{
    struct link_import *imports = NULL;
    *out = (struct guest){0};
    int result = engine_initialize(e);
    if (result == 0)
        result = wasi_create(config, &out->wasi, e);
    if (result == 0)
        result = imports_resolve(&artefact->module, out->wasi, &imports, e);
    if (result == 0)
        result = arena_create(SLOT_ANY, limits, &out->arena, e);
    if (result == 0)
        result = instance_create(out->arena, artefact, imports, artefact->module.import_count,
                                 &out->instance, e);
    free(imports);
    if (result < 0)
        guest_destroy(out);
    return result;
}

void guest_destroy(struct guest *guest)
{
    if (guest->arena)
        arena_destroy(guest->arena);
    wasi_destroy(guest->wasi);
    *guest = (struct guest){0};
}

/* Goes on from a result that does not end the run, until one that does. */
static int guest_drive(struct guest *guest, union host_slot *slots, const struct watch *watch,
                       bool capturable, struct run_result *result, enum guest_end *end,
                       struct error *e)
{
    for (;;) {
        switch (result->status) {
        case RUN_DONE:
            result->exit_code = 0;
            *end = GUEST_DONE;
            return 0;
        case RUN_EXIT: *end = GUEST_DONE; return 0;
        case RUN_TRAP: *end = GUEST_TRAPPED; return 0;
        case RUN_PARKED:
            /* -ATOLL_ECANCELED: interrupted while waiting. Who asked is looked at below. */
            (void)arena_wait(guest->arena);
            break;
        case RUN_INTERRUPTED: break;
        }
        if (watch_timed_out(watch)) {
            arena_abandon(guest->arena);
            *end = GUEST_TIMEOUT;
            return 0;
        }
        if (capturable && watch_checkpoint_wanted(watch)) {
            *end = GUEST_STOPPED;
            return 0;
        }
        int failed = arena_resume(guest->arena, slots, result, e);
        if (failed < 0)
            return failed;
    }
}

int guest_call(struct guest *guest, uint32_t function, union host_slot *slots,
               const struct watch *watch, struct run_result *result, enum guest_end *end,
               struct error *e)
{
    /* Asked for before or during initialisation: now is the time. */
    if (watch_checkpoint_wanted(watch))
        arena_interrupt(guest->arena);
    int failed = instance_invoke(guest->instance, function, slots, result, e);
    return failed < 0 ? failed : guest_drive(guest, slots, watch, true, result, end, e);
}

int guest_start(struct guest *guest, const struct watch *watch, struct run_result *result,
                enum guest_end *end, struct error *e)
{
    union host_slot none;
    int failed = instance_start(guest->instance, result, e);
    return failed < 0 ? failed : guest_drive(guest, &none, watch, false, result, end, e);
}

int guest_initialize(struct guest *guest, uint32_t function, union host_slot *slots,
                     const struct watch *watch, struct run_result *result, enum guest_end *end,
                     struct error *e)
{
    int failed = instance_invoke(guest->instance, function, slots, result, e);
    return failed < 0 ? failed : guest_drive(guest, slots, watch, false, result, end, e);
}

int guest_continue(struct guest *guest, union host_slot *slots, const struct watch *watch,
                   struct run_result *result, enum guest_end *end, struct error *e)
{
    int failed = arena_resume(guest->arena, slots, result, e);
    return failed < 0 ? failed : guest_drive(guest, slots, watch, true, result, end, e);
}
