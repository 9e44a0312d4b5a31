/* Compiles and links the guests of the tests (guest.h). GUEST_MODULES and ATOLL_CC come from the
 * build; $ATOLL_CC names another compiler. */
#include "guest.h"

#include "base/clock.h"
#include "base/file.h"
#include "engine/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct compiler *compiler;

static void compiler_stop(void)
{
    compiler_destroy(compiler);
}

static void compiler_start(void)
{
    struct error e = {0};
    const char *chosen = getenv("ATOLL_CC");
    struct compiler_settings settings = {.program = chosen ? chosen : ATOLL_CC, .cache = ""};
    if (compiler)
        return;
    if (compiler_create(&settings, &compiler, &e) < 0)
        fail_msg("%s", e.text);
    atexit(compiler_stop);
}

int guest_compile(const uint8_t *wasm, size_t len, const struct compile_options *options,
                  struct artefact **out, struct error *e)
{
    compiler_start();
    return compiler_load(compiler, wasm, len, options, out, NULL, e);
}

struct artefact *guest_artefact_with(const char *name, const struct compile_options *options)
{
    struct error e = {0};
    struct buffer wasm = {0};
    struct artefact *artefact = NULL;
    char path[512];
    snprintf(path, sizeof path, "%s/%s.wasm", GUEST_MODULES, name);
    if (file_read(path, WASM_MAX_MODULE_BYTES, &wasm, &e) < 0 ||
        guest_compile(wasm.data, wasm.len, options, &artefact, &e) < 0)
        fail_msg("%s: %s", name, e.text);
    buffer_free(&wasm);
    return artefact;
}

struct artefact *guest_artefact(const char *name, enum compile_tier tier, enum compile_mode mode)
{
    struct compile_options options = {
        .tier = (uint8_t)tier, .mode = (uint8_t)mode, .cpu = CPU_V3, .link = LINK_PRIMARY};
    return guest_artefact_with(name, &options);
}

struct arena *guest_fill(struct arena *arena, struct artefact *artefact)
{
    struct error e = {0};
    struct instance *instance;
    const struct wasm_module *m = &artefact->module;
    struct link_import imports[16] = {0};
    assert_true(m->import_count <= 16);
    for (uint32_t k = 0; k < m->import_count; k++) {
        imports[k].how = LINK_HOST;
        if (guest_resolve(NULL, m, &m->imports[k], &imports[k].function, &imports[k].data, &e) < 0)
            fail_msg("%s", e.text);
    }
    /* cmocka puts handlers of its own in front at the start of every test. */
    if (signals_install(&e) < 0 ||
        instance_create(arena, artefact, imports, m->import_count, &instance, &e) < 0)
        fail_msg("%s", e.text);
    return arena;
}

struct arena *guest_arena(struct artefact *artefact, const struct arena_limits *limits)
{
    struct error e = {0};
    struct arena *arena;
    if (arena_create(SLOT_ANY, limits, &arena, &e) < 0)
        fail_msg("%s", e.text);
    return guest_fill(arena, artefact);
}

uint32_t guest_function(struct arena *arena, const char *name)
{
    uint32_t index = 0;
    int kind = instance_export(arena_primary(arena), name, strlen(name), &index);
    assert_int_equal(kind, WASM_KIND_FUNC);
    return index;
}

struct run_result guest_call(struct arena *arena, const char *name, union host_slot slots[4],
                             int64_t a, int64_t b, int64_t c)
{
    struct error e = {0};
    struct run_result result = {0};
    slots[0].i64 = a;
    slots[1].i64 = b;
    slots[2].i64 = c;
    if (instance_invoke(arena_primary(arena), guest_function(arena, name), slots, &result, &e) < 0)
        fail_msg("%s: %s", name, e.text);
    return result;
}

/* ---- host functions ---- */

static enum host_status host_add(struct host_call *call)
{
    call->slots[0].u64 = call->slots[0].u32 + call->slots[1].u32;
    return HOST_DONE;
}

static enum host_status host_wait(struct host_call *call)
{
    if (!call->resumed)
        call->park->deadline_ns = clock_monotonic_ns() + call->slots[0].i64;
    if (clock_monotonic_ns() < call->park->deadline_ns)
        return HOST_PARK;
    call->slots[0].u64 = call->resumed;
    return HOST_DONE;
}

static enum host_status host_again(struct host_call *call)
{
    struct error e = {0};
    struct run_result result = {0};
    union host_slot slots[4] = {{.i64 = call->slots[0].i32}};
    struct instance *instance = arena_primary(call->arena);
    if (instance_invoke(instance, guest_function(call->arena, "callee"), slots, &result, &e) < 0) {
        snprintf(call->message, sizeof call->message, "%.150s", e.text);
        return HOST_TRAP;
    }
    if (result.status != RUN_DONE) {
        snprintf(call->message, sizeof call->message, "the callee did not return");
        return HOST_TRAP;
    }
    call->slots[0].u64 = slots[0].u32;
    return HOST_DONE;
}

static enum host_status host_fail(struct host_call *call)
{
    snprintf(call->message, sizeof call->message, "the test asked for it");
    return HOST_TRAP;
}

static enum host_status host_exit(struct host_call *call)
{
    call->exit_code = call->slots[0].i32;
    return HOST_EXIT;
}

int guest_resolve(void *context, const struct wasm_module *m, const struct wasm_import *import,
                  host_function *function, void **data, struct error *e)
{
    static const struct {
        const char *name;
        host_function function;
    } functions[] = {
        {"add", host_add},   {"wait", host_wait}, {"again", host_again},
        {"fail", host_fail}, {"exit", host_exit},
    };
    (void)context;
    *data = NULL;
    for (size_t k = 0; k < sizeof functions / sizeof *functions; k++)
        if (import->name.len == strlen(functions[k].name) &&
            memcmp(m->bytes + import->name.offset, functions[k].name, import->name.len) == 0) {
            *function = functions[k].function;
            return 0;
        }
    return error_set(e, ATOLL_ENOENT, "no such host function");
}
