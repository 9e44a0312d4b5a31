/* Compiling and calling guests; see guest.h. */
#define _GNU_SOURCE
#include "guest.h"

#include "base/file.h"
#include "cli/bench/measure.h"

#include <stdio.h>

#define PATH_SIZE  4096
#define MODULE_MAX (256u << 20)

void bench_check(int rc, const struct error *e)
{
    if (rc < 0)
        bench_fail(1, "%s", e->text);
}

int guest_compile(struct compiler *compiler, const char *path,
                  const struct compile_options *options, struct artefact **out, struct error *e)
{
    struct buffer wasm = {0};
    int rc = file_read(path, MODULE_MAX, &wasm, e);
    if (rc == 0)
        rc = compiler_load(compiler, wasm.data, wasm.len, options, out, NULL, e);
    buffer_free(&wasm);
    return rc < 0 ? error_prefix(e, "%s", path) : rc;
}

struct artefact *guest_artefact(const char *program, const char *name)
{
    const struct compile_options options = {
        .tier = TIER_OPT, .mode = MODE_FAST, .cpu = CPU_V3, .link = LINK_PRIMARY};
    char here[PATH_SIZE - 256], beside[PATH_SIZE], path[PATH_SIZE];
    struct compiler *compiler;
    struct artefact *artefact;
    struct error e = {0};
    executable_directory(here, sizeof here);
    snprintf(beside, sizeof beside, "%s/../atoll-cc", here);
    snprintf(path, sizeof path, "%s/guests/%s.wasm", here, name);
    const struct compiler_settings settings = {.program = program ? program : beside};
    bench_check(compiler_create(&settings, &compiler, &e), &e);
    bench_check(guest_compile(compiler, path, &options, &artefact, &e), &e);
    compiler_destroy(compiler);
    return artefact;
}

struct instance *guest_instance(struct artefact *artefact)
{
    const struct arena_limits limits = {0};
    struct arena *arena;
    struct instance *instance;
    struct error e = {0};
    bench_check(arena_create(SLOT_ANY, &limits, &arena, &e), &e);
    bench_check(instance_create(arena, artefact, NULL, 0, &instance, &e), &e);
    return instance;
}

uint32_t guest_function(const struct instance *instance, const char *name)
{
    uint32_t function;
    if (instance_export(instance, name, strlen(name), &function) != WASM_KIND_FUNC)
        bench_fail(1, "the guest has no function %s", name);
    return function;
}

int32_t guest_call(struct instance *instance, uint32_t function, int32_t argument)
{
    union host_slot slot = {.i64 = argument};
    struct run_result result = {0};
    struct error e = {0};
    bench_check(instance_invoke(instance, function, &slot, &result, &e), &e);
    if (result.status != RUN_DONE)
        bench_fail(1, "the guest did not return: %s",
                   result.status == RUN_TRAP ? trap_kind_name(result.trap.kind) : "stopped");
    return slot.i32;
}
