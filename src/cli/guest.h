/*
 * A guest program of the command line: one instance in its arena with its WASI world, and the loop
 * that runs it until it ends, traps, or is stopped. Shared by run and resume.
 */
#ifndef CLI_GUEST_H
#define CLI_GUEST_H

#include "cli/watch.h"
#include "engine/instance.h"
#include "sandbox/wasi/wasi.h"

struct guest {
    struct arena *arena;
    struct instance *instance;
    struct wasi *wasi;
};

/* Creates the arena, binds the module's imports to a WASI world and instantiates. Takes the
 * artefact's pages along; the caller keeps its reference. On failure *out is empty. */
int guest_create(struct artefact *, const struct wasi_config *, const struct arena_limits *,
                 struct guest *out, struct error *);
void guest_destroy(struct guest *);

/* The host function of a WASI world for one import; -ATOLL_ELINK for what is not a function of
 * WASI. */
int guest_resolve_import(const struct wasm_module *, const struct wasm_import *, struct wasi *,
                         struct link_import *out, struct error *);

enum guest_end {
    GUEST_DONE,    /* returned, or exited: result->exit_code */
    GUEST_TRAPPED, /* result->trap */
    GUEST_TIMEOUT,
    GUEST_STOPPED, /* for a checkpoint; the arena is suspended */
};

/* Calls `function` and runs on until one of these. slots as instance_invoke. */
int guest_call(struct guest *, uint32_t function, union host_slot *slots, const struct watch *,
               struct run_result *, enum guest_end *, struct error *);
/* Runs the module's start function likewise, but a checkpoint waits for the next guest_call: an
 * image must not forget what comes after initialisation. */
int guest_start(struct guest *, const struct watch *, struct run_result *, enum guest_end *,
                struct error *);
int guest_initialize(struct guest *, uint32_t function, union host_slot *slots,
                     const struct watch *, struct run_result *, enum guest_end *, struct error *);
/* Continues a suspended arena likewise. */
int guest_continue(struct guest *, union host_slot *slots, const struct watch *,
                   struct run_result *, enum guest_end *, struct error *);

#endif
