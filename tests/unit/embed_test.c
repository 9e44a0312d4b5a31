/* The public interface: compiling, linking, values, calls and their outcomes. */
#define _GNU_SOURCE
#include "embedding.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* ---- compiling ---- */

static void header_and_library_have_one_version(void **state)
{
    (void)state;
    char text[32];
    snprintf(text, sizeof text, "%d.%d.%d", ATOLL_VERSION_MAJOR, ATOLL_VERSION_MINOR,
             ATOLL_VERSION_PATCH);
    assert_string_equal(text, ATOLL_VERSION);
    assert_string_equal(atoll_version(), ATOLL_VERSION);
    assert_string_equal(atoll_error_name(-ATOLL_ELINK), "ATOLL_ELINK");
}

static void a_bad_module_is_refused_with_its_class_and_place(void **state)
{
    (void)state;
    static const uint8_t truncated[] = {0, 'a', 's', 'm', 1, 0, 0, 0, 1, 9};
    static const uint8_t ill_typed[] = {0, 'a', 's', 'm', 1, 0,  0, 0, 1, 4, 1,    0x60, 0,
                                        0, 3,   2,   1,   0, 10, 5, 1, 3, 0, 0x6a, 0x0b};
    struct atoll_artefact *artefact;
    REFUSED(ATOLL_EMALFORMED, atoll_validate(truncated, sizeof truncated, &error));
    REFUSED(ATOLL_EMALFORMED,
            atoll_compile(compiler, truncated, sizeof truncated, NULL, &artefact, NULL, &error));
    assert_null(artefact);
    assert_true(error.offset <= sizeof truncated);
    REFUSED(ATOLL_EINVALID, atoll_validate(ill_typed, sizeof ill_typed, &error));
    REFUSED(ATOLL_EINVALID,
            atoll_compile(compiler, ill_typed, sizeof ill_typed, NULL, &artefact, NULL, &error));
    assert_int_equal(error.function, 0);
    assert_int_equal(atoll_validate(ill_typed, sizeof ill_typed, NULL), -ATOLL_EINVALID);
    struct atoll_bytes wasm = module_read("basics");
    GOOD(atoll_validate(wasm.data, wasm.len, &error));
    struct atoll_compile_options options = {.cpu = (enum atoll_cpu)17};
    REFUSED(ATOLL_EINVAL,
            atoll_compile(compiler, wasm.data, wasm.len, &options, &artefact, NULL, &error));
    atoll_bytes_free(&wasm);
}

static void imports_and_exports_of_an_artefact_are_listed(void **state)
{
    (void)state;
    struct atoll_artefact *artefact = guest_compile("values", NULL);
    struct atoll_external external;
    struct atoll_function_type type;
    assert_int_equal(atoll_artefact_import_count(artefact), 2);
    GOOD(atoll_artefact_import(artefact, 1, &external, &error));
    assert_int_equal(external.kind, ATOLL_FUNCTION);
    assert_int_equal(external.module_len, 4);
    assert_memory_equal(external.module, "host", 4);
    assert_int_equal(external.name_len, 4);
    assert_memory_equal(external.name, "keep", 4);
    assert_int_equal(atoll_artefact_export_count(artefact), 7);
    GOOD(atoll_artefact_export(artefact, 0, &external, &error));
    assert_int_equal(external.kind, ATOLL_GLOBAL);
    assert_int_equal(external.index, 0);
    assert_memory_equal(external.name, "number", external.name_len);
    REFUSED(ATOLL_ERANGE, atoll_artefact_import(artefact, 2, &external, &error));
    REFUSED(ATOLL_ERANGE, atoll_artefact_export(artefact, 7, &external, &error));
    GOOD(atoll_artefact_function_type(artefact, 0, &type, &error));
    assert_int_equal(type.param_count, 4);
    assert_int_equal(type.params[1], ATOLL_I64);
    assert_int_equal(type.results[0], ATOLL_F64);
    REFUSED(ATOLL_ERANGE, atoll_artefact_function_type(artefact, 99, &type, &error));
    atoll_artefact_release(artefact);
}

static void the_cache_keeps_artefacts_and_files_keep_them_too(void **state)
{
    (void)state;
    char directory[] = "/tmp/atoll-embed-XXXXXX", path[64], command[80];
    assert_non_null(mkdtemp(directory));
    setenv("ATOLL_HOME", directory, 1);
    struct atoll_compiler_settings settings = {.program = compiler_path(), .cache = directory};
    struct atoll_compiler *caching;
    struct atoll_artefact *artefact;
    struct atoll_bytes wasm = module_read("tail");
    bool cached;
    GOOD(atoll_compiler_create(&settings, &caching, &error));
    for (int round = 0; round < 2; round++) {
        GOOD(atoll_compile(caching, wasm.data, wasm.len, NULL, &artefact, &cached, &error));
        assert_null(atoll_compiler_warning(caching));
        assert_int_equal(cached, round);
        if (round == 0)
            atoll_artefact_release(artefact);
    }
    snprintf(path, sizeof path, "%s/tail.artefact", directory);
    GOOD(atoll_artefact_save(artefact, path, &error));
    atoll_artefact_release(artefact);
    GOOD(atoll_artefact_open(path, &artefact, &error));
    struct atoll_instance *instance;
    GOOD(atoll_link(arena_new(), artefact, NULL, 0, &instance, &error));
    assert_int_equal(guest_call(instance, "down", 10, 0), 7);
    guest_destroy(instance);
    atoll_artefact_release(artefact);
    assert_int_equal(truncate(path, 1000), 0);
    REFUSED(ATOLL_ECORRUPT, atoll_artefact_open(path, &artefact, &error));
    assert_null(artefact);
    atoll_compiler_destroy(caching);
    atoll_bytes_free(&wasm);
    snprintf(command, sizeof command, "rm -rf %s", directory);
    assert_int_equal(system(command), 0);
}

static void a_compiler_that_is_not_there_is_an_error(void **state)
{
    (void)state;
    struct atoll_compiler_settings settings = {.program = "/nowhere/atoll-cc", .cache = ""};
    struct atoll_compiler *none;
    struct atoll_artefact *artefact;
    struct atoll_bytes wasm = module_read("deep");
    GOOD(atoll_compiler_create(&settings, &none, &error));
    REFUSED(ATOLL_ENOENT, atoll_compile(none, wasm.data, wasm.len, NULL, &artefact, NULL, &error));
    atoll_compiler_destroy(none);
    atoll_bytes_free(&wasm);
}

static void tail_calls_need_no_option(void **state)
{
    (void)state;
    struct atoll_instance *instance = guest_link("tail", NULL, 0);
    assert_int_equal(guest_call(instance, "down", 3000000, 0), 7);
    guest_destroy(instance);
}

/* ---- values ---- */

static enum atoll_answer host_swap(struct atoll_call *call)
{
    union atoll_slot a = call->slots[0], b = call->slots[1], c = call->slots[2], d = call->slots[3];
    call->slots[0].f64 = d.f64 * 2;
    call->slots[1].f32 = c.f32 * 2;
    call->slots[2].u64 = b.u64 * 2;
    call->slots[3].u64 = a.u32 * 2;
    return ATOLL_CALL_DONE;
}

static int host_object = 5;

static enum atoll_answer host_keep(struct atoll_call *call)
{
    *(uint64_t *)call->data = atoll_externref_value(call->arena, call->slots[0].ref);
    call->slots[0].ref = atoll_externref_handle(call->arena, (uintptr_t)&host_object);
    call->slots[1].v128[15] ^= 0xff;
    return ATOLL_CALL_DONE;
}

static uint64_t kept;
static const struct atoll_import value_imports[] = {
    {.module = "host",
     .name = "swap",
     .type = "i32 i64 f32 f64 -> f64 f32 i64 i32",
     .function = host_swap},
    {.module = "host",
     .name = "keep",
     .type = "externref v128 -> externref v128",
     .function = host_keep,
     .data = &kept},
};

static void values_of_every_type_cross_in_both_directions(void **state)
{
    (void)state;
    struct atoll_instance *instance = guest_link("values", value_imports, 2);
    struct atoll_outcome outcome;
    struct atoll_val self, results[7];
    GOOD(
        atoll_invoke(instance, function_of(instance, "self"), NULL, 0, &self, 1, &outcome, &error));
    assert_int_equal(self.type, ATOLL_FUNCREF);
    assert_true(self.of.ref != 0);
    struct atoll_val vector = {.type = ATOLL_V128, .of.v128 = {1, 2, 3, [15] = 16}};
    const struct atoll_val args[] = {atoll_i32(INT32_MIN),
                                     atoll_i64(INT64_MIN),
                                     atoll_f32(-0.5f),
                                     atoll_f64(1e300),
                                     vector,
                                     atoll_externref((uintptr_t)args),
                                     self};
    GOOD(atoll_invoke(instance, function_of(instance, "echo"), args, 7, results, 7, &outcome,
                      &error));
    assert_int_equal(outcome.status, ATOLL_DONE);
    assert_int_equal(results[0].of.i32, INT32_MIN);
    assert_true(results[1].of.i64 == INT64_MIN);
    assert_true(results[2].of.f32 == -0.5f);
    assert_true(results[3].of.f64 == 1e300);
    assert_memory_equal(results[4].of.v128, vector.of.v128, 16);
    assert_true(results[5].of.ref == (uintptr_t)args);
    assert_true(results[6].of.ref == self.of.ref);
    for (int k = 0; k < 7; k++)
        assert_int_equal(results[k].type, args[k].type);
    GOOD(atoll_invoke(instance, function_of(instance, "swapped"), args, 4, results, 4, &outcome,
                      &error));
    assert_true(results[0].of.f64 == 2e300);
    assert_true(results[1].of.f32 == -1.0f);
    assert_true(results[2].of.i64 == 0);
    assert_int_equal(results[3].of.i32, 0);
    GOOD(atoll_invoke(instance, function_of(instance, "kept"),
                      (struct atoll_val[]){args[5], vector}, 2, results, 2, &outcome, &error));
    assert_true(kept == (uintptr_t)args);
    assert_true(results[0].of.ref == (uintptr_t)&host_object);
    assert_int_equal(results[1].of.v128[15], 16 ^ 0xff);
    GOOD(atoll_invoke(instance, function_of(instance, "kept"),
                      (struct atoll_val[]){atoll_externref(0), vector}, 2, results, 2, &outcome,
                      &error));
    assert_true(kept == 0);
    guest_destroy(instance);
}

static void values_of_wrong_number_or_type_are_refused(void **state)
{
    (void)state;
    struct atoll_instance *instance = guest_link("basics", TEST_IMPORTS);
    struct atoll_val args[2] = {atoll_i32(1), atoll_i64(1)}, result;
    struct atoll_outcome outcome;
    uint32_t fib = function_of(instance, "fib"), function;
    REFUSED(ATOLL_ETYPE, atoll_invoke(instance, fib, args, 2, &result, 1, &outcome, &error));
    REFUSED(ATOLL_ETYPE, atoll_invoke(instance, fib, args, 1, &result, 0, &outcome, &error));
    REFUSED(ATOLL_ETYPE, atoll_invoke(instance, fib, args + 1, 1, &result, 1, &outcome, &error));
    assert_non_null(strstr(error.text, "i64"));
    REFUSED(ATOLL_EINVAL, atoll_invoke(instance, 999, args, 1, &result, 1, &outcome, &error));
    REFUSED(ATOLL_ENOENT, atoll_function(instance, "fibonacci", &function, &error));
    REFUSED(ATOLL_ETYPE, atoll_function(instance, "memory", &function, &error));
    guest_destroy(instance);
}

static void globals_are_read_and_written_by_type(void **state)
{
    (void)state;
    struct atoll_instance *instance = guest_link("values", value_imports, 2);
    struct atoll_val value, wrong = atoll_i32(3);
    uint32_t number, fixed, object;
    GOOD(atoll_global(instance, "number", &number, &error));
    GOOD(atoll_global(instance, "fixed", &fixed, &error));
    GOOD(atoll_global(instance, "object", &object, &error));
    GOOD(atoll_global_get(instance, number, &value, &error));
    assert_int_equal(value.type, ATOLL_I64);
    assert_true(value.of.i64 == -5);
    value.of.i64 = 1;
    GOOD(atoll_global_set(instance, number, &value, &error));
    GOOD(atoll_global_get(instance, number, &value, &error));
    assert_true(value.of.i64 == 1);
    REFUSED(ATOLL_ETYPE, atoll_global_set(instance, number, &wrong, &error));
    REFUSED(ATOLL_EPERM, atoll_global_set(instance, fixed, &wrong, &error));
    REFUSED(ATOLL_ERANGE, atoll_global_get(instance, 3, &value, &error));
    value = atoll_externref((uintptr_t)&value);
    GOOD(atoll_global_set(instance, object, &value, &error));
    GOOD(atoll_global_get(instance, object, &value, &error));
    assert_true(value.of.ref == (uintptr_t)&value);
    guest_destroy(instance);
}

/* ---- linking ---- */

static void imports_are_checked_by_name_and_type(void **state)
{
    (void)state;
    struct atoll_artefact *artefact = guest_compile("basics", NULL);
    struct atoll_arena *arena = arena_new();
    struct atoll_instance *instance;
    struct atoll_import imports[5];
    REFUSED(ATOLL_ELINK, atoll_link(arena, artefact, NULL, 0, &instance, &error));
    assert_non_null(strstr(error.text, "unknown import: test.add"));
    static const struct {
        const char *type;
        int code;
    } cases[] = {
        {"i32 -> i32", ATOLL_ELINK},       {"i32 i32 i32 -> i32", ATOLL_ELINK},
        {"i32 i32 ->", ATOLL_ELINK},       {"i32 i32 -> i64", ATOLL_ELINK},
        {"i32 i32 i32", ATOLL_EINVAL},     {"i32 i32 -> i32 -> i32", ATOLL_EINVAL},
        {"i32, i32 -> i32", ATOLL_EINVAL}, {"", ATOLL_EINVAL},
        {"int int -> int", ATOLL_EINVAL},
    };
    memcpy(imports, test_imports, sizeof imports);
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        imports[0].type = cases[k].type;
        REFUSED(cases[k].code, atoll_link(arena, artefact, imports, 5, &instance, &error));
        assert_null(instance);
    }
    imports[0] = test_imports[0];
    imports[3].function = NULL;
    REFUSED(ATOLL_EINVAL, atoll_link(arena, artefact, imports, 5, &instance, &error));
    /* What was refused left the arena as it was. */
    GOOD(atoll_link(arena, artefact, TEST_IMPORTS, &instance, &error));
    assert_int_equal(guest_call(instance, "host_sum", 10, 0), 55);
    REFUSED(ATOLL_EBUSY, atoll_link(arena, artefact, TEST_IMPORTS, &instance, &error));
    atoll_arena_destroy(arena);
    atoll_artefact_release(artefact);
}

static enum atoll_answer host_twice(struct atoll_call *call)
{
    call->slots[0].u64 = call->slots[0].u32 * 2;
    return ATOLL_CALL_DONE;
}

static void modules_of_one_arena_share_memory_functions_and_globals(void **state)
{
    (void)state;
    struct atoll_instance *provider = guest_link("provider", NULL, 0), *consumer;
    struct atoll_arena *arena = atoll_instance_arena(provider);
    const struct atoll_import imports[] = {
        {.module = "provider", .from = provider},
        {.module = "host", .name = "twice", .type = "i32 -> i32", .function = host_twice},
    };
    struct atoll_compile_options options = {0};
    struct atoll_bytes wasm = module_read("consumer");
    GOOD(atoll_link_mode(arena, wasm.data, wasm.len, imports, 2, false, &options.link, &error));
    assert_int_equal(options.link, ATOLL_LINK_SHARED);
    struct atoll_artefact *wrong = guest_compile("consumer", NULL);
    REFUSED(ATOLL_EBUSY, atoll_link(arena, wrong, imports, 2, &consumer, &error));
    struct atoll_arena *empty = arena_new();
    REFUSED(ATOLL_EINVAL, atoll_link(empty, wrong, imports, 2, &consumer, &error));
    atoll_arena_destroy(empty);
    atoll_artefact_release(wrong);
    struct atoll_artefact *artefact = guest_compile("consumer", &options);
    GOOD(atoll_link(arena, artefact, imports, 2, &consumer, &error));
    assert_int_equal(guest_call(consumer, "work", 21, 0), 142);
    assert_int_equal(guest_call(provider, "load", 64, 0), 21);
    struct atoll_val total;
    uint32_t index;
    GOOD(atoll_global(provider, "total", &index, &error));
    GOOD(atoll_global_get(provider, index, &total, &error));
    assert_int_equal(total.of.i32, 142);
    assert_ptr_equal(atoll_arena_instance(arena, 0), provider);
    assert_ptr_equal(atoll_arena_instance(arena, 1), consumer);
    assert_null(atoll_arena_instance(arena, 2));
    assert_ptr_equal(atoll_memory(provider), atoll_memory(consumer));
    atoll_artefact_release(artefact);
    atoll_bytes_free(&wasm);
    atoll_arena_destroy(arena);
}

static void a_linked_module_may_have_a_memory_of_its_own(void **state)
{
    (void)state;
    struct atoll_instance *provider = guest_link("provider", NULL, 0), *deep;
    struct atoll_arena *arena = atoll_instance_arena(provider);
    struct atoll_compile_options options = {0};
    struct atoll_bytes wasm = module_read("deep");
    GOOD(atoll_link_mode(arena, wasm.data, wasm.len, NULL, 0, false, &options.link, &error));
    assert_int_equal(options.link, ATOLL_LINK_OTHER);
    struct atoll_artefact *artefact = guest_compile("deep", &options);
    GOOD(atoll_link(arena, artefact, NULL, 0, &deep, &error));
    struct atoll_val result;
    struct atoll_outcome outcome = guest_try(deep, "fail", 0, 0, &result);
    assert_int_equal(outcome.status, ATOLL_TRAPPED);
    assert_int_equal(outcome.trap.frames[0].instance, 1);
    assert_ptr_not_equal(atoll_memory(provider), atoll_memory(deep));
    assert_int_equal(atoll_memory_bytes(deep), 65536);
    atoll_artefact_release(artefact);
    atoll_bytes_free(&wasm);
    atoll_arena_destroy(arena);
}

static void what_does_not_fit_the_limits_leaves_an_arena_to_destroy(void **state)
{
    (void)state;
    struct atoll_limits limits = {.memory_bytes = 4096};
    struct atoll_artefact *artefact = guest_compile("deep", NULL);
    struct atoll_arena *arena;
    struct atoll_instance *instance;
    struct atoll_snapshot *snapshot;
    GOOD(atoll_arena_create(ATOLL_SLOT_ANY, &limits, &arena, &error));
    REFUSED(ATOLL_ELIMIT, atoll_link(arena, artefact, NULL, 0, &instance, &error));
    REFUSED(ATOLL_EINVAL, atoll_link(arena, artefact, NULL, 0, &instance, &error));
    REFUSED(ATOLL_EINVAL, atoll_snapshot_take(arena, &snapshot, &error));
    atoll_arena_destroy(arena);
    limits = (struct atoll_limits){.stack_bytes = 100};
    REFUSED(ATOLL_EINVAL, atoll_arena_create(ATOLL_SLOT_ANY, &limits, &arena, &error));
    REFUSED(ATOLL_EINVAL, atoll_arena_create(1, NULL, &arena, &error));
    atoll_artefact_release(artefact);
}

/* ---- outcomes ---- */

static void name_expect(const struct atoll_arena *arena, const struct atoll_frame *frame,
                        const char *name)
{
    struct atoll_place place;
    GOOD(atoll_frame_place(arena, frame, &place, &error));
    assert_int_equal(place.name_len, strlen(name));
    assert_memory_equal(place.name, name, place.name_len);
}

static void a_trap_names_the_functions_it_came_through(void **state)
{
    (void)state;
    struct atoll_compile_options options = {.tier = ATOLL_TIER_QUICK};
    struct atoll_artefact *artefact = guest_compile("deep", &options);
    struct atoll_arena *arena = arena_new();
    struct atoll_instance *instance;
    struct atoll_val result;
    GOOD(atoll_link(arena, artefact, NULL, 0, &instance, &error));
    struct atoll_outcome outcome = guest_try(instance, "fail", 1003, 0, &result);
    assert_int_equal(outcome.status, ATOLL_TRAPPED);
    assert_int_equal(outcome.trap.kind, ATOLL_TRAP_MEMORY_BOUNDS);
    assert_string_equal(atoll_trap_name(outcome.trap.kind), "out of bounds memory access");
    assert_false(outcome.trap.truncated);
    assert_true(outcome.trap.frame_count >= 3);
    name_expect(arena, &outcome.trap.frames[0], "innermost");
    name_expect(arena, &outcome.trap.frames[outcome.trap.frame_count - 1], "outermost");
    assert_true(outcome.trap.frames[0].offset > 8);
    struct atoll_frame no_frame = {.instance = 1};
    struct atoll_place place;
    REFUSED(ATOLL_ERANGE, atoll_frame_place(arena, &no_frame, &place, &error));
    atoll_arena_destroy(arena);
    atoll_artefact_release(artefact);
}

static void host_functions_finish_trap_exit_and_call_back(void **state)
{
    (void)state;
    struct atoll_instance *instance = guest_link("basics", TEST_IMPORTS);
    struct atoll_val result;
    assert_int_equal(guest_call(instance, "host_sum", 100, 0), 5050);
    struct atoll_outcome outcome = guest_try(instance, "host_fail", 0, 0, &result);
    assert_int_equal(outcome.status, ATOLL_TRAPPED);
    assert_int_equal(outcome.trap.kind, ATOLL_TRAP_HOST);
    assert_string_equal(outcome.trap.message, fail_reason);
    outcome = guest_try(instance, "host_exit", 41, 0, &result);
    assert_int_equal(outcome.status, ATOLL_EXITED);
    assert_int_equal(outcome.exit_code, 41);
    assert_int_equal(guest_call(instance, "callee", 12, 0), 1012);
    assert_int_equal(guest_try(instance, "callee", 500, 0, &result).status, ATOLL_TRAPPED);
    assert_int_equal(guest_call(instance, "callee", 3, 0), 1003);
    guest_destroy(instance);
}

static void a_parked_call_goes_on_when_its_wait_is_over(void **state)
{
    (void)state;
    struct atoll_instance *instance = guest_link("basics", TEST_IMPORTS);
    struct atoll_arena *arena = atoll_instance_arena(instance);
    struct atoll_val time = atoll_i64(20 * 1000 * 1000), result;
    struct atoll_outcome outcome;
    uint32_t wait = function_of(instance, "host_wait");
    assert_null(atoll_park(arena));
    GOOD(atoll_invoke(instance, wait, &time, 1, &result, 1, &outcome, &error));
    assert_int_equal(outcome.status, ATOLL_PARKED);
    assert_true(atoll_suspended(arena));
    assert_true(atoll_park(arena)->deadline_ns != ATOLL_NO_DEADLINE);
    REFUSED(ATOLL_EBUSY, atoll_invoke(instance, wait, &time, 1, &result, 1, &outcome, &error));
    GOOD(atoll_wait(arena));
    REFUSED(ATOLL_ETYPE, atoll_resume(arena, &result, 2, &outcome, &error));
    GOOD(atoll_resume(arena, &result, 1, &outcome, &error));
    assert_int_equal(outcome.status, ATOLL_DONE);
    assert_int_equal(result.of.i32, 101);
    REFUSED(ATOLL_EBUSY, atoll_resume(arena, &result, 1, &outcome, &error));
    guest_destroy(instance);
}

static void *interrupt_soon(void *arena)
{
    usleep(5000);
    atoll_interrupt(arena);
    return NULL;
}

static void an_endless_loop_is_interrupted_continued_and_abandoned(void **state)
{
    (void)state;
    struct atoll_instance *instance = guest_link("basics", TEST_IMPORTS);
    struct atoll_arena *arena = atoll_instance_arena(instance);
    struct atoll_outcome outcome;
    pthread_t thread;
    pthread_create(&thread, NULL, interrupt_soon, arena);
    outcome = guest_try(instance, "spin", 0, 0, NULL);
    pthread_join(thread, NULL);
    assert_int_equal(outcome.status, ATOLL_INTERRUPTED);
    pthread_create(&thread, NULL, interrupt_soon, arena);
    GOOD(atoll_resume(arena, NULL, 0, &outcome, &error));
    pthread_join(thread, NULL);
    assert_int_equal(outcome.status, ATOLL_INTERRUPTED);
    atoll_abandon(arena);
    assert_false(atoll_suspended(arena));
    assert_int_equal(guest_call(instance, "fib", 10, 0), 55);
    guest_destroy(instance);
}

static void *resume_there(void *arena)
{
    static struct atoll_outcome outcome;
    static struct atoll_val result;
    struct atoll_error failure;
    if (atoll_resume(arena, &result, 1, &outcome, &failure) < 0 || outcome.status != ATOLL_DONE)
        return NULL;
    return &result;
}

static void a_suspended_run_goes_on_in_another_thread(void **state)
{
    (void)state;
    struct atoll_instance *instance = guest_link("basics", TEST_IMPORTS);
    struct atoll_arena *arena = atoll_instance_arena(instance);
    struct atoll_val argument = atoll_i32(25), *result;
    struct atoll_outcome outcome;
    pthread_t thread;
    atoll_interrupt(arena);
    GOOD(atoll_invoke(instance, function_of(instance, "fib"), &argument, 1, &argument, 1, &outcome,
                      &error));
    assert_int_equal(outcome.status, ATOLL_INTERRUPTED);
    pthread_create(&thread, NULL, resume_there, arena);
    pthread_join(thread, (void **)&result);
    assert_non_null(result);
    assert_int_equal(result->of.i32, 75025);
    guest_destroy(instance);
}

static void fuel_ends_an_endless_loop(void **state)
{
    (void)state;
    struct atoll_compile_options options = {.fuel = true};
    struct atoll_artefact *artefact = guest_compile("basics", &options);
    struct atoll_arena *arena = arena_new();
    struct atoll_instance *instance;
    REFUSED(ATOLL_EINVAL, atoll_fuel_set(arena, 1000, &error));
    GOOD(atoll_link(arena, artefact, TEST_IMPORTS, &instance, &error));
    GOOD(atoll_fuel_set(arena, 1000000, &error));
    assert_int_equal(guest_call(instance, "fib", 10, 0), 55);
    int64_t left = atoll_fuel(arena);
    assert_true(left > 0 && left < 1000000);
    struct atoll_outcome outcome = guest_try(instance, "spin", 0, 0, NULL);
    assert_int_equal(outcome.trap.kind, ATOLL_TRAP_FUEL);
    atoll_arena_destroy(arena);
    atoll_artefact_release(artefact);
}

/* ---- memory ---- */

static void copies_from_and_to_a_guest_stay_inside_its_memory(void **state)
{
    (void)state;
    struct atoll_instance *instance = guest_link("provider", NULL, 0);
    struct atoll_arena *arena = atoll_instance_arena(instance);
    int32_t value = 77;
    assert_int_equal(atoll_memory_bytes(instance), 65536);
    GOOD(atoll_write(arena, 65532, &value, 4));
    assert_int_equal(guest_call(instance, "load", 65532, 0), 77);
    value = 0;
    GOOD(atoll_read(arena, &value, 65532, 4));
    assert_int_equal(value, 77);
    assert_int_equal(atoll_write(arena, 65533, &value, 4), -ATOLL_EFAULT);
    assert_int_equal(atoll_read(arena, &value, UINT32_MAX, 4), -ATOLL_EFAULT);
    assert_int_equal(atoll_read(arena, &value, 0, SIZE_MAX), -ATOLL_EFAULT);
    assert_null(atoll_range_address(arena, 0, 65537, ATOLL_READ));
    assert_ptr_equal(atoll_range_address(arena, 16, 8, ATOLL_WRITE), atoll_memory(instance) + 16);
    struct atoll_arena *empty = arena_new();
    assert_int_equal(atoll_read(empty, &value, 0, 4), -ATOLL_EFAULT);
    atoll_arena_destroy(empty);
    guest_destroy(instance);
}

static void arenas_share_a_region(void **state)
{
    (void)state;
    struct atoll_instance *writer = guest_link("basics", TEST_IMPORTS);
    struct atoll_instance *reader = guest_link("basics", TEST_IMPORTS);
    struct atoll_arena *arenas[] = {atoll_instance_arena(writer), atoll_instance_arena(reader)};
    uint32_t address[2];
    int fd = memfd_create("lagoon", MFD_CLOEXEC);
    assert_int_equal(ftruncate(fd, 8192), 0);
    GOOD(atoll_region_map(arenas[0], "lagoon", fd, 0, 8192, ATOLL_READ | ATOLL_WRITE, &address[0],
                          &error));
    GOOD(atoll_region_map(arenas[1], "lagoon", fd, 4096, 4096, ATOLL_READ, &address[1], &error));
    REFUSED(ATOLL_ERANGE,
            atoll_region_map(arenas[1], "lagoon", fd, 4096, 8192, ATOLL_READ, &address[1], &error));
    REFUSED(ATOLL_EINVAL,
            atoll_region_map(arenas[1], "lagoon", fd, 0, 100, ATOLL_READ, &address[1], &error));
    close(fd);
    guest_call(writer, "store", (int32_t)(address[0] + 4096), 1234);
    assert_int_equal(guest_call(reader, "load", (int32_t)address[1], 0), 1234);
    struct atoll_val none;
    struct atoll_outcome outcome = guest_try(reader, "store", (int32_t)address[1], 1, &none);
    assert_int_equal(outcome.trap.kind, ATOLL_TRAP_READ_ONLY_REGION);
    GOOD(atoll_region_unmap(arenas[1], address[1], &error));
    REFUSED(ATOLL_ENOENT, atoll_region_unmap(arenas[1], address[1], &error));
    outcome = guest_try(reader, "load", (int32_t)address[1], 0, &none);
    assert_int_equal(outcome.trap.kind, ATOLL_TRAP_MEMORY_BOUNDS);
    guest_destroy(writer);
    guest_destroy(reader);
}

/* ---- signals ---- */

static sigjmp_buf fault_return;
static volatile int faults_seen;

static void on_foreign_fault(int signal)
{
    (void)signal;
    faults_seen++;
    siglongjmp(fault_return, 1);
}

static void foreign_faults_reach_the_handler_before_however_often_ours_are_installed(void **state)
{
    (void)state;
    struct sigaction before, mine = {.sa_handler = on_foreign_fault};
    sigaction(SIGSEGV, &mine, &before);
    for (int k = 0; k < 3; k++)
        GOOD(atoll_handlers_install(&error));
    void *hole = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    faults_seen = 0;
    if (sigsetjmp(fault_return, 1) == 0)
        *(volatile char *)hole = 1;
    assert_int_equal(faults_seen, 1);
    munmap(hole, 4096);
    struct atoll_instance *instance = guest_link("deep", NULL, 0);
    struct atoll_val none;
    assert_int_equal(guest_try(instance, "fail", 0, 0, &none).status, ATOLL_TRAPPED);
    assert_int_equal(faults_seen, 1);
    guest_destroy(instance);
    sigaction(SIGSEGV, &before, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(header_and_library_have_one_version),
        cmocka_unit_test(a_bad_module_is_refused_with_its_class_and_place),
        cmocka_unit_test(imports_and_exports_of_an_artefact_are_listed),
        cmocka_unit_test(the_cache_keeps_artefacts_and_files_keep_them_too),
        cmocka_unit_test(a_compiler_that_is_not_there_is_an_error),
        cmocka_unit_test(tail_calls_need_no_option),
        cmocka_unit_test(values_of_every_type_cross_in_both_directions),
        cmocka_unit_test(values_of_wrong_number_or_type_are_refused),
        cmocka_unit_test(globals_are_read_and_written_by_type),
        cmocka_unit_test(imports_are_checked_by_name_and_type),
        cmocka_unit_test(modules_of_one_arena_share_memory_functions_and_globals),
        cmocka_unit_test(a_linked_module_may_have_a_memory_of_its_own),
        cmocka_unit_test(what_does_not_fit_the_limits_leaves_an_arena_to_destroy),
        cmocka_unit_test(a_trap_names_the_functions_it_came_through),
        cmocka_unit_test(host_functions_finish_trap_exit_and_call_back),
        cmocka_unit_test(a_parked_call_goes_on_when_its_wait_is_over),
        cmocka_unit_test(an_endless_loop_is_interrupted_continued_and_abandoned),
        cmocka_unit_test(a_suspended_run_goes_on_in_another_thread),
        cmocka_unit_test(fuel_ends_an_endless_loop),
        cmocka_unit_test(copies_from_and_to_a_guest_stay_inside_its_memory),
        cmocka_unit_test(arenas_share_a_region),
        cmocka_unit_test(foreign_faults_reach_the_handler_before_however_often_ours_are_installed),
    };
    return cmocka_run_group_tests(tests, compiler_begin, compiler_end);
}
