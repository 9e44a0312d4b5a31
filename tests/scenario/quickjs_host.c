/*
 * quickjs-host ATOLL-CC TIER MODULE SCRIPT: embeds QuickJS, as the npm package quickjs-wasi builds
 * it, and evaluates a script in it. The module is a library, not a command: it exports what a
 * JavaScript engine offers, and asks its host for six functions beside those of WASI. The script
 * finds one function, print(value), which calls back into the host, which calls back into the
 * guest.
 *
 * Exit codes: 0; 1 an exception reached the top (it is on stderr); 3 the embedding failed.
 * real_programs.sh runs it. It is also the example of a host with imports of its own.
 */
#include "base/file.h"
#include "engine/compile.h"
#include "engine/instance.h"
#include "sandbox/wasi/wasi.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MODULE_MAX (64u << 20)
#define SCRIPT_MAX (16u << 20)
#define ARGUMENTS  4

struct host {
    struct compiler *compiler;
    struct artefact *artefact;
    struct wasi *wasi;
    struct arena *arena;
    struct instance *instance;
    struct error e;
};

_Noreturn static void host_fail(const char *what, const char *why)
{
    fprintf(stderr, "quickjs-host: %s: %s\n", what, why);
    exit(3);
}

/* ---- calling the guest ---- */

/* Calls an export of i32 arguments; returns its i32 result (0 when it has none). */
static uint32_t guest_call(struct host *h, const char *name, uint32_t count,
                           const uint32_t *arguments)
{
    union host_slot slots[ARGUMENTS] = {0};
    struct run_result result = {0};
    uint32_t function;
    if (instance_export(h->instance, name, strlen(name), &function) != WASM_KIND_FUNC)
        host_fail(name, "the module has no such function");
    for (uint32_t i = 0; i < count; i++)
        slots[i].u64 = arguments[i];
    if (instance_invoke(h->instance, function, slots, &result, &h->e) < 0)
        host_fail(name, h->e.text);
    if (result.status == RUN_TRAP)
        host_fail(name, trap_kind_name(result.trap.kind));
    if (result.status != RUN_DONE)
        host_fail(name, "it did not return");
    return slots[0].u32;
}

#define GUEST_CALL(host, name, ...) \
    guest_call(host, name, sizeof((uint32_t[]){__VA_ARGS__}) / 4, (uint32_t[]){__VA_ARGS__})

/* Copies a string into memory the guest allocates; the guest frees it with wasm_free. */
static uint32_t guest_string(struct host *h, const char *text, size_t len)
{
    uint32_t address = GUEST_CALL(h, "wasm_malloc", (uint32_t)len + 1);
    if (!address || guest_write(h->arena, address, text, len) < 0 ||
        guest_write(h->arena, address + (uint32_t)len, "", 1) < 0)
        host_fail("wasm_malloc", "no memory for a string");
    return address;
}

/* Prints the value behind a handle as JavaScript's String() would show it. */
static void value_print(struct host *h, uint32_t value, FILE *to)
{
    uint32_t text = GUEST_CALL(h, "qjs_get_string", value);
    for (uint32_t at = text; text; at++) {
        char byte;
        if (guest_read(h->arena, &byte, at, 1) < 0)
            host_fail("qjs_get_string", "the string does not end in memory");
        if (!byte)
            break;
        fputc(byte, to);
    }
    fputc('\n', to);
    if (text)
        GUEST_CALL(h, "qjs_free_cstring", text);
}

/* ---- what the guest calls ---- */

static enum host_status host_zero(struct host_call *call)
{
    call->slots[0].u64 = 0;
    return HOST_DONE;
}

static enum host_status host_nothing(struct host_call *call)
{
    (void)call;
    return HOST_DONE;
}

static enum host_status host_no_modules(struct host_call *call)
{
    snprintf(call->message, sizeof call->message, "scripts cannot import modules here");
    return HOST_TRAP;
}

/* (name, name length, this, argument count, arguments) -> value; the only function is print. Slots
 * are shared with nested calls: arguments are read before, the result is written after them. */
static enum host_status host_print(struct host_call *call)
{
    struct host *h = call->data;
    uint32_t count = call->slots[3].u32, arguments = call->slots[4].u32, value;
    if (count > 0 && guest_read(call->arena, &value, arguments, sizeof value) == 0)
        value_print(h, value, stdout);
    uint32_t undefined = guest_call(h, "qjs_get_undefined", 0, NULL);
    call->slots[0].u64 = undefined;
    return HOST_DONE;
}

static const struct {
    const char *name;
    host_function function;
} own_imports[] = {
    {"host_get_timezone_offset", host_zero},  {"host_interrupt", host_zero},
    {"host_promise_rejection", host_nothing}, {"host_module_normalize", host_no_modules},
    {"host_module_load", host_no_modules},    {"host_call", host_print},
};

static bool span_equal(const struct wasm_module *m, struct wasm_span span, const char *text)
{
    return span.len == strlen(text) && memcmp(m->bytes + span.offset, text, span.len) == 0;
}

static void import_bind(struct host *h, const struct wasm_import *import, struct link_import *out)
{
    const struct wasm_module *m = &h->artefact->module;
    out->how = LINK_HOST;
    out->data = h;
    if (span_equal(m, import->module, "env")) {
        for (size_t i = 0; i < sizeof own_imports / sizeof own_imports[0]; i++)
            if (span_equal(m, import->name, own_imports[i].name))
                out->function = own_imports[i].function;
        if (!out->function)
            out->how = LINK_UNRESOLVED;
        return;
    }
    struct wasm_signature signature = wasm_function_signature(m, import->index);
    if (wasi_resolve(h->wasi, (const char *)m->bytes + import->module.offset, import->module.len,
                     (const char *)m->bytes + import->name.offset, import->name.len, &signature,
                     &out->function, &out->data, &h->e) < 0)
        host_fail("linking", h->e.text);
}

/* ---- setting up ---- */

static void guest_load(struct host *h, const char *program, const char *tier, const char *path)
{
    struct buffer wasm = {0};
    const struct compiler_settings settings = {.program = program};
    const struct compile_options options = {
        .tier = strcmp(tier, "opt") == 0 ? TIER_OPT : TIER_QUICK,
        .mode = MODE_FAST,
        .cpu = CPU_V3,
        .link = LINK_PRIMARY,
    };
    if (engine_initialize(&h->e) < 0 || file_read(path, MODULE_MAX, &wasm, &h->e) < 0 ||
        compiler_create(&settings, &h->compiler, &h->e) < 0 ||
        compiler_load(h->compiler, wasm.data, wasm.len, &options, &h->artefact, NULL, &h->e) < 0)
        host_fail("loading", h->e.text);
    buffer_free(&wasm);
}

static void guest_link(struct host *h)
{
    const struct wasi_config config = WASI_CONFIG;
    const struct arena_limits limits = {0};
    uint32_t count = h->artefact->module.import_count;
    struct link_import *imports = calloc(count + 1u, sizeof *imports);
    if (!imports)
        host_fail("linking", "out of memory");
    if (wasi_create(&config, &h->wasi, &h->e) < 0)
        host_fail("linking", h->e.text);
    for (uint32_t i = 0; i < count; i++)
        import_bind(h, &h->artefact->module.imports[i], &imports[i]);
    if (arena_create(SLOT_ANY, &limits, &h->arena, &h->e) < 0 ||
        instance_create(h->arena, h->artefact, imports, count, &h->instance, &h->e) < 0)
        host_fail("linking", h->e.text);
    free(imports);
}

static void engine_begin(struct host *h)
{
    guest_call(h, "_initialize", 0, NULL);
    guest_call(h, "qjs_init", 0, NULL);
    uint32_t name = guest_string(h, "print", 5);
    uint32_t function = GUEST_CALL(h, "qjs_new_host_function", name, 5, 0);
    uint32_t global = guest_call(h, "qjs_get_global", 0, NULL);
    GUEST_CALL(h, "qjs_set_prop_string", global, name, function);
    GUEST_CALL(h, "wasm_free", name);
}

static bool exception_report(struct host *h)
{
    value_print(h, guest_call(h, "qjs_get_exception", 0, NULL), stderr);
    return false;
}

/* False when an exception reached the top. */
static bool script_run(struct host *h, const struct buffer *script)
{
    uint32_t code = guest_string(h, (const char *)script->data, script->len);
    uint32_t name = guest_string(h, "script.js", 9);
    uint32_t value = GUEST_CALL(h, "qjs_eval", code, (uint32_t)script->len, name, 0);
    if (GUEST_CALL(h, "qjs_is_exception", value))
        return exception_report(h);
    while (guest_call(h, "qjs_is_job_pending", 0, NULL))
        if ((int32_t)guest_call(h, "qjs_execute_pending_job", 0, NULL) < 0)
            return exception_report(h);
    return true;
}

int main(int argc, char **argv)
{
    struct host host = {0};
    struct buffer script = {0};
    if (argc != 5)
        host_fail("usage", "quickjs-host ATOLL-CC quick|opt MODULE SCRIPT");
    if (file_read(argv[4], SCRIPT_MAX, &script, &host.e) < 0)
        host_fail("script", host.e.text);
    guest_load(&host, argv[1], argv[2], argv[3]);
    guest_link(&host);
    engine_begin(&host);
    bool good = script_run(&host, &script);
    arena_destroy(host.arena);
    wasi_destroy(host.wasi);
    artefact_release(host.artefact);
    compiler_destroy(host.compiler);
    buffer_free(&script);
    return good ? 0 : 1;
}
