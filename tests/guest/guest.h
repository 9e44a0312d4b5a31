/*
 * Guests for tests: modules from tests/guest/modules, compiled by the real atoll-cc and linked with
 * the host functions that they import from "test".
 *
 * Every function fails the cmocka test that calls it when something is wrong.
 */
#ifndef TESTS_GUEST_H
#define TESTS_GUEST_H

#include "engine/compile.h"
#include "engine/instance.h"

/* The artefact of modules/NAME.wat for a primary module. From a compiler process that the whole
 * test program shares; the caller releases it. */
struct artefact *guest_artefact(const char *name, enum compile_tier, enum compile_mode);
/* The same with every option. */
struct artefact *guest_artefact_with(const char *name, const struct compile_options *);
/* The same for a module's bytes; errors are the test's. */
int guest_compile(const uint8_t *wasm, size_t len, const struct compile_options *,
                  struct artefact **out, struct error *e);

/* An arena with the artefact as its primary instance (limits may be NULL). */
struct arena *guest_arena(struct artefact *, const struct arena_limits *);

/* The same in an arena that is empty; returns it. */
struct arena *guest_fill(struct arena *, struct artefact *);

/* Index of an exported function. */
uint32_t guest_function(struct arena *, const char *name);
/* Calls an export with up to three i64 arguments (an i32 parameter takes the low half). */
struct run_result guest_call(struct arena *, const char *name, union host_slot slots[4], int64_t a,
                             int64_t b, int64_t c);

/* Host functions for the imports of a module: (module "test")
 *   add (i32 i32) -> i32          finishes at once
 *   wait (i64 ns) -> i32          parks until the time has passed; 1 when it did park
 *   again (i32 index, i32) -> i32 calls export "callee" of the same instance with the value
 *   fail, exit (i32)              trap, end of the program
 * 0 and the function, or -ATOLL_ENOENT. */
int guest_resolve(void *context, const struct wasm_module *, const struct wasm_import *,
                  host_function *, void **data, struct error *);

#endif
