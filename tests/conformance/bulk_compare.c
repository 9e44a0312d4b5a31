/*
 * bulk_compare: memory.copy and memory.fill against the C library's memmove and memset.
 *
 * The routines behind them are code of our own, with a case per size and direction. Every size up
 * to a few hundred bytes, and random larger ones, are copied between overlapping and separate
 * places at all alignments; the whole memory is compared after each operation.
 */
#include "engine/compile.h"
#include "engine/instance.h"
#include "engine/wasm_ops.h"
#include "module_writer.h"
#include "random.h"

#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PAGES       16u
#define MEMORY      (PAGES * WASM_PAGE)
#define SMALL_MAX   700u
#define SMALL_PLACE 4096u /* small operations stay below, and only that much is compared */
#define LARGE_RUNS  300u

enum { FUNCTION_COPY, FUNCTION_FILL };

static uint8_t expected[MEMORY];

static void function_write(struct module_writer *out, uint32_t op, unsigned memories)
{
    module_open(out);
    module_u32(out, 0);
    for (uint32_t i = 0; i < 3; i++) {
        module_op(out, WASM_OP_LOCAL_GET);
        module_u32(out, i);
    }
    module_op(out, op);
    for (unsigned i = 0; i < memories; i++)
        module_byte(out, 0);
    module_op(out, WASM_OP_END);
    module_close(out);
}

static void module_write(struct module_writer *out)
{
    module_begin(out);
    module_open_section(out, SECTION_TYPE);
    module_bytes(out, "\1\x60\3\x7f\x7f\x7f\0", 7);
    module_close(out);
    module_open_section(out, SECTION_FUNCTION);
    module_bytes(out, "\2\0\0", 3);
    module_close(out);
    module_open_section(out, SECTION_MEMORY);
    module_bytes(out, "\1\0", 2);
    module_u32(out, PAGES);
    module_close(out);
    module_open_section(out, SECTION_EXPORT);
    module_u32(out, 2);
    module_name(out, "copy");
    module_bytes(out, "\0\0", 2);
    module_name(out, "fill");
    module_bytes(out, "\0\1", 2);
    module_close(out);
    module_open_section(out, SECTION_CODE);
    module_u32(out, 2);
    function_write(out, WASM_OP_MEMORY_COPY, 2);
    function_write(out, WASM_OP_MEMORY_FILL, 1);
    module_close(out);
}

/* One operation here and there; then the first `compared` bytes must agree. */
static int operation_check(struct instance *instance, uint32_t function, uint32_t to,
                           uint32_t second, uint32_t len, size_t compared, struct error *e)
{
    union host_slot slots[3] = {{.u64 = to}, {.u64 = second}, {.u64 = len}};
    struct run_result result;
    int code = instance_invoke(instance, function, slots, &result, e);
    if (code != 0)
        return code;
    if (function == FUNCTION_COPY)
        memmove(expected + to, expected + second, len);
    else
        memset(expected + to, (int)(second & 0xff), len);
    if (result.status != RUN_DONE || memcmp(expected, instance_memory(instance), compared) != 0)
        return error_set(e, ATOLL_ECORRUPT, "%s of %u bytes to %u from %u went wrong",
                         function == FUNCTION_COPY ? "memory.copy" : "memory.fill", len, to,
                         second);
    return 0;
}

static int small_check(struct instance *instance, struct random *random, struct error *e)
{
    int code = 0;
    for (uint32_t len = 0; len <= SMALL_MAX && code == 0; len++) {
        for (uint32_t i = 0; i < 24 && code == 0; i++) {
            uint32_t from = 1200 + random_below(random, 64);
            /* Half of them overlap by all but a few bytes. */
            uint32_t to = i < 12 ? from + random_below(random, 129) - 64
                                 : from + random_below(random, 2 * len + 3) - len - 1;
            code = operation_check(instance, FUNCTION_COPY, to, from, len, SMALL_PLACE, e);
            if (code == 0)
                code = operation_check(instance, FUNCTION_FILL, from, 0x7f0 + i * 13, len / 2,
                                       SMALL_PLACE, e);
        }
    }
    return code;
}

static int large_check(struct instance *instance, struct random *random, struct error *e)
{
    int code = 0;
    for (uint32_t i = 0; i < LARGE_RUNS && code == 0; i++) {
        uint32_t len = random_below(random, MEMORY / 2);
        uint32_t from = random_below(random, MEMORY - len), to = random_below(random, MEMORY - len);
        if (i % 3 == 0) /* nearly in place */
            to = from < 64 ? from : from - random_below(random, 64);
        code = operation_check(instance, FUNCTION_COPY, to, from, len, MEMORY, e);
        if (code == 0)
            code = operation_check(instance, FUNCTION_FILL, to, i, len / 7, MEMORY, e);
    }
    return code;
}

static int configuration_check(struct compiler *compiler, const struct module_writer *wasm,
                               uint8_t mode, uint8_t tier, uint8_t cpu, struct error *e)
{
    struct compile_options options = {.tier = tier, .mode = mode, .cpu = cpu};
    struct artefact *artefact = NULL;
    struct arena *arena = NULL;
    struct instance *instance = NULL;
    struct random random = {1};
    int code =
        compiler_load(compiler, wasm->bytes.data, wasm->bytes.len, &options, &artefact, NULL, e);
    if (code == 0)
        code = arena_create(SLOT_ANY, NULL, &arena, e);
    if (code == 0)
        code = instance_create(arena, artefact, NULL, 0, &instance, e);
    if (code == 0) {
        for (uint32_t i = 0; i < MEMORY; i++)
            expected[i] = (uint8_t)random_u64(&random);
        memcpy(instance_memory(instance), expected, MEMORY);
        code = small_check(instance, &random, e);
    }
    if (code == 0)
        code = large_check(instance, &random, e);
    if (arena)
        arena_destroy(arena);
    artefact_release(artefact);
    return code;
}

static int all_check(struct compiler *compiler, struct error *e)
{
    static const struct {
        const char *name;
        uint8_t mode, tier, cpu;
    } configurations[] = {
        {"exact-quick", MODE_EXACT, TIER_QUICK, CPU_V3},
        {"fast-quick", MODE_FAST, TIER_QUICK, CPU_V3},
        {"fast-opt", MODE_FAST, TIER_OPT, CPU_V3},
        {"fast-opt for x86-64-v2", MODE_FAST, TIER_OPT, CPU_V2},
    };
    struct module_writer wasm = {0};
    int code = 0;
    module_write(&wasm);
    for (size_t i = 0; i < sizeof configurations / sizeof *configurations && code == 0; i++) {
        code = configuration_check(compiler, &wasm, configurations[i].mode, configurations[i].tier,
                                   configurations[i].cpu, e);
        if (code == 0)
            printf("%s: agrees\n", configurations[i].name);
        else
            error_prefix(e, "%s", configurations[i].name);
    }
    module_writer_free(&wasm);
    return code;
}

/* bulk_compare [ATOLL-CC] */
int main(int count, char **arguments)
{
    char self[PATH_MAX] = ".", path[PATH_MAX + 32];
    struct error e = {0};
    struct compiler *compiler = NULL;
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    snprintf(path, sizeof path, "%s/../../atoll-cc", len > 0 ? dirname(self) : ".");
    struct compiler_settings settings = {
        .program = count > 1 ? arguments[1] : path, .cache = "", .parallel = 1};
    int code = engine_initialize(&e);
    if (code == 0)
        code = compiler_create(&settings, &compiler, &e);
    if (code == 0)
        code = all_check(compiler, &e);
    compiler_destroy(compiler);
    if (code != 0)
        fprintf(stderr, "bulk_compare: %s\n", e.text);
    return code == 0 ? 0 : 1;
}
