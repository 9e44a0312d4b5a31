/*
 * What the tests of the public interface share: guests of tests/guest compiled, linked and called
 * through include/atoll alone. GUEST_MODULES and ATOLL_CC come from the build;
 * $ATOLL_CC names another compiler.
 */
#ifndef TESTS_EMBEDDING_H
#define TESTS_EMBEDDING_H

#include <atoll/atoll.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define GOOD(call)                      \
    do {                                \
        if ((call) < 0)                 \
            fail_msg("%s", error.text); \
    } while (0)
/* The call is refused with this code, and says why. */
#define REFUSED(expected, call)                    \
    do {                                           \
        error = (struct atoll_error){0};           \
        assert_int_equal((call), -(expected));     \
        assert_int_equal(error.code, -(expected)); \
        assert_true(strlen(error.text) > 10);      \
    } while (0)

static struct atoll_error error;
static struct atoll_compiler *compiler;

static inline const char *compiler_path(void)
{
    const char *chosen = getenv("ATOLL_CC");
    return chosen ? chosen : ATOLL_CC;
}

static int compiler_begin(void **state)
{
    (void)state;
    struct atoll_compiler_settings settings = {.program = compiler_path(), .cache = ""};
    return atoll_compiler_create(&settings, &compiler, &error);
}

static int compiler_end(void **state)
{
    (void)state;
    atoll_compiler_destroy(compiler);
    return 0;
}

static inline struct atoll_bytes module_read(const char *name)
{
    char path[512];
    struct atoll_bytes wasm = {.data = malloc(65536)};
    snprintf(path, sizeof path, "%s/%s.wasm", GUEST_MODULES, name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    wasm.len = fread(wasm.data, 1, 65536, file);
    fclose(file);
    return wasm;
}

static inline struct atoll_artefact *guest_compile(const char *name,
                                                   const struct atoll_compile_options *options)
{
    struct atoll_artefact *artefact;
    struct atoll_bytes wasm = module_read(name);
    GOOD(atoll_compile(compiler, wasm.data, wasm.len, options, &artefact, NULL, &error));
    atoll_bytes_free(&wasm);
    return artefact;
}

static inline struct atoll_arena *arena_new(void)
{
    struct atoll_arena *arena;
    /* cmocka puts handlers of its own in front at the start of every test. */
    GOOD(atoll_handlers_install(&error));
    GOOD(atoll_arena_create(ATOLL_SLOT_ANY, NULL, &arena, &error));
    return arena;
}

/* An arena with this module as its only one. */
static inline struct atoll_instance *guest_link(const char *name,
                                                const struct atoll_import *imports, size_t count)
{
    struct atoll_artefact *artefact = guest_compile(name, NULL);
    struct atoll_instance *instance;
    GOOD(atoll_link(arena_new(), artefact, imports, count, &instance, &error));
    atoll_artefact_release(artefact);
    return instance;
}

static inline void guest_destroy(struct atoll_instance *instance)
{
    atoll_arena_destroy(atoll_instance_arena(instance));
}

static inline uint32_t function_of(const struct atoll_instance *instance, const char *name)
{
    uint32_t index;
    GOOD(atoll_function(instance, name, &index, &error));
    return index;
}

/* Calls a function of up to two i32, and at most one result. */
static inline struct atoll_outcome guest_try(struct atoll_instance *instance, const char *name,
                                             int32_t a, int32_t b, struct atoll_val *result)
{
    struct atoll_val args[2] = {atoll_i32(a), atoll_i32(b)};
    struct atoll_function_type type;
    struct atoll_outcome outcome;
    uint32_t function = function_of(instance, name);
    GOOD(atoll_artefact_function_type(atoll_instance_artefact(instance), function, &type, &error));
    GOOD(atoll_invoke(instance, function, args, type.param_count, result, type.result_count,
                      &outcome, &error));
    return outcome;
}

static inline int32_t guest_call(struct atoll_instance *instance, const char *name, int32_t a,
                                 int32_t b)
{
    struct atoll_val result = {0};
    assert_int_equal(guest_try(instance, name, a, b, &result).status, ATOLL_DONE);
    return result.of.i32;
}

/* ---- the host functions that basics.wat and work.wat import from "test" ---- */

static enum atoll_answer host_add(struct atoll_call *call)
{
    call->slots[0].u64 = call->slots[0].u32 + call->slots[1].u32;
    return ATOLL_CALL_DONE;
}

static enum atoll_answer host_wait(struct atoll_call *call)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t ns = now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
    if (!call->resumed)
        call->park->deadline_ns = ns + call->slots[0].i64;
    if (ns < call->park->deadline_ns)
        return ATOLL_CALL_PARK;
    call->slots[0].u64 = call->resumed;
    return ATOLL_CALL_DONE;
}

static enum atoll_answer host_again(struct atoll_call *call)
{
    struct atoll_val argument = atoll_i32(call->slots[0].i32), result;
    struct atoll_outcome outcome;
    uint32_t callee;
    if (atoll_function(call->caller, "callee", &callee, NULL) < 0 ||
        atoll_invoke(call->caller, callee, &argument, 1, &result, 1, &outcome, NULL) < 0 ||
        outcome.status != ATOLL_DONE) {
        snprintf(call->message, sizeof call->message, "the callee did not return");
        return ATOLL_CALL_TRAP;
    }
    call->slots[0].u64 = result.of.u32;
    return ATOLL_CALL_DONE;
}

static enum atoll_answer host_fail(struct atoll_call *call)
{
    snprintf(call->message, sizeof call->message, "%s", (const char *)call->data);
    return ATOLL_CALL_TRAP;
}

static enum atoll_answer host_exit(struct atoll_call *call)
{
    call->exit_code = call->slots[0].i32;
    return ATOLL_CALL_EXIT;
}

static char fail_reason[] = "the test asked for it";
static const struct atoll_import test_imports[] = {
    {.module = "test", .name = "add", .type = "i32 i32 -> i32", .function = host_add},
    {.module = "test", .name = "wait", .type = "i64 -> i32", .function = host_wait},
    {.module = "test", .name = "again", .type = "i32 -> i32", .function = host_again},
    {.module = "test", .name = "fail", .type = "->", .function = host_fail, .data = fail_reason},
    {.module = "test", .name = "exit", .type = "i32 ->", .function = host_exit},
};
#define TEST_IMPORTS test_imports, sizeof test_imports / sizeof *test_imports

#endif
