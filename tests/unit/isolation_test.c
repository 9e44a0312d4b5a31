/*
 * What a guest may try besides plain loads and stores (isolation_access_test.c): bulk operations
 * and tables beyond their ends, functions called under another type, stacks without end, modules
 * made to exhaust the compiler, and values that another thread changes between their check and
 * their use. Nothing gets out, the host goes on, and so does the instance.
 */
#define _GNU_SOURCE
#include "../guest/guest.h"

#include "base/clock.h"
#include "base/file.h"
#include "engine/arena.h"
#include "module_bytes.h"
#include "sandbox/region.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static const struct {
    uint8_t tier, mode;
} variants[] = {{TIER_QUICK, MODE_FAST},
                {TIER_QUICK, MODE_EXACT},
                {TIER_OPT, MODE_FAST},
                {TIER_OPT, MODE_EXACT}};
#define VARIANTS (sizeof variants / sizeof *variants)

static struct arena *arena_new(const struct arena_limits *limits)
{
    struct error e = {0};
    struct arena *arena;
    if (arena_create(SLOT_ANY, limits, &arena, &e) < 0 || signals_install(&e) < 0)
        fail_msg("%s", e.text);
    return arena;
}

/* Links a module whose imports all come from another instance. */
static struct instance *link_in(struct arena *arena, struct artefact *artefact,
                                struct instance *from)
{
    struct error e = {0};
    const struct wasm_module *m = &artefact->module;
    struct link_import imports[4] = {{0}};
    struct instance *instance;
    assert_true(m->import_count <= 4);
    for (uint32_t k = 0; k < m->import_count; k++) {
        imports[k] = (struct link_import){.how = LINK_EXPORT, .from = from};
        assert_true(instance_export(from, (const char *)m->bytes + m->imports[k].name.offset,
                                    m->imports[k].name.len, &imports[k].index) >= 0);
    }
    if (instance_create(arena, artefact, imports, m->import_count, &instance, &e) < 0)
        fail_msg("%s", e.text);
    artefact_release(artefact);
    return instance;
}

static struct instance *link_named(struct arena *arena, const char *name, uint8_t tier,
                                   uint8_t mode, uint8_t link, struct instance *from)
{
    struct compile_options options = {.tier = tier, .mode = mode, .cpu = CPU_V3, .link = link};
    return link_in(arena, guest_artefact_with(name, &options), from);
}

/* Calls an export with three i32; what trapped, or TRAP_NONE. */
static enum trap_kind try_call(struct instance *i, const char *name, uint32_t a, uint32_t b,
                               uint32_t c, union host_slot *result)
{
    struct error e = {0};
    struct run_result r;
    union host_slot slots[4] = {{.u32 = a}, {.u32 = b}, {.u32 = c}};
    uint32_t index;
    assert_int_equal(instance_export(i, name, strlen(name), &index), WASM_KIND_FUNC);
    assert_int_equal(instance_invoke(i, index, slots, &r, &e), 0);
    if (result)
        *result = slots[0];
    if (r.status == RUN_TRAP)
        return r.trap.kind;
    assert_int_equal(r.status, RUN_DONE);
    return TRAP_NONE;
}

static bool all_zero(const uint8_t *bytes, size_t len)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0;
}

/* ---- bulk operations and tables ---- */

#define PAGE_END 65536u

static const struct {
    const char *function;
    uint32_t to, from, len;
    enum trap_kind kind;
} edges[] = {
    {"fill", PAGE_END, 0, 0, TRAP_NONE},
    {"fill", PAGE_END + 1, 0, 0, TRAP_MEMORY_BOUNDS},
    {"fill", PAGE_END - 7, 0, 8, TRAP_MEMORY_BOUNDS},
    {"fill", 0xffffffff, 0, 1, TRAP_MEMORY_BOUNDS},
    {"fill", 0xffffffff, 0, 0xffffffff, TRAP_MEMORY_BOUNDS},
    {"fill", 8, 0, 0xfffffff8, TRAP_MEMORY_BOUNDS}, /* the end wraps to 0 */
    {"fill", 8, 0, 0xfffffffc, TRAP_MEMORY_BOUNDS},
    {"fill", 0x80000000, 0, 0x80000000, TRAP_MEMORY_BOUNDS},
    {"fill", 0xa0000000, 0, 16, TRAP_MEMORY_BOUNDS}, /* the empty window */
    {"fill", 0xffff0000, 0, 16, TRAP_MEMORY_BOUNDS},
    {"copy", 0, 0, PAGE_END, TRAP_NONE},
    {"copy", PAGE_END, PAGE_END, 0, TRAP_NONE},
    {"copy", 0, PAGE_END + 1, 0, TRAP_MEMORY_BOUNDS},
    {"copy", 1, 0, PAGE_END, TRAP_MEMORY_BOUNDS},
    {"copy", 0, 1, PAGE_END, TRAP_MEMORY_BOUNDS},
    {"copy", 0, 0xfffffff0, 0x20, TRAP_MEMORY_BOUNDS},
    {"copy", 0xfffffff0, 0, 0x20, TRAP_MEMORY_BOUNDS},
    {"copy", 16, 32, 0xffffffe0, TRAP_MEMORY_BOUNDS},
    {"copy", 0, 0x80000000, 0x80000000, TRAP_MEMORY_BOUNDS},
    {"init", PAGE_END, 6, 0, TRAP_NONE},
    {"init", 0, 0, 7, TRAP_MEMORY_BOUNDS},
    {"init", 0, 7, 0, TRAP_MEMORY_BOUNDS},
    {"init", PAGE_END - 5, 0, 6, TRAP_MEMORY_BOUNDS},
    {"init", 0, 0xffffffff, 2, TRAP_MEMORY_BOUNDS},
    {"init", 0xffffffff, 0, 2, TRAP_MEMORY_BOUNDS},
    {"init", 0, 2, 0xfffffffe, TRAP_MEMORY_BOUNDS},
    {"notify", 0xffffffff & ~3u, 0, 0, TRAP_MEMORY_BOUNDS},
    {"notify", 0, 0, 0, TRAP_MEMORY_BOUNDS},
    {"notify", 4, 0, 0, TRAP_MEMORY_BOUNDS}, /* 4 GiB: must not wrap to 0 */
    {"wait", 8, 0, 0, TRAP_MEMORY_BOUNDS},
    {"wait", 0xfffffff8, 0, 0, TRAP_MEMORY_BOUNDS},
    {"table_fill", 8, 0, 0, TRAP_NONE},
    {"table_fill", 9, 0, 0, TRAP_TABLE_BOUNDS},
    {"table_fill", 7, 0, 2, TRAP_TABLE_BOUNDS},
    {"table_fill", 1, 0, 0xffffffff, TRAP_TABLE_BOUNDS},
    {"table_fill", 0xffffffff, 0, 1, TRAP_TABLE_BOUNDS},
    {"table_copy", 0, 4, 0, TRAP_NONE},
    {"table_copy", 0, 3, 2, TRAP_TABLE_BOUNDS},
    {"table_copy", 7, 0, 2, TRAP_TABLE_BOUNDS},
    {"table_copy", 0, 0xfffffffe, 4, TRAP_TABLE_BOUNDS},
    {"table_copy", 0xfffffffe, 0, 4, TRAP_TABLE_BOUNDS},
    {"table_copy", 0, 0, 0x08000000, TRAP_TABLE_BOUNDS}, /* times 32 is 4 GiB */
    {"table_init", 0, 3, 0, TRAP_NONE},
    {"table_init", 0, 2, 2, TRAP_TABLE_BOUNDS},
    {"table_init", 7, 0, 2, TRAP_TABLE_BOUNDS},
    {"table_init", 0, 0xffffffff, 2, TRAP_TABLE_BOUNDS},
    {"table_init", 0, 1, 0xffffffff, TRAP_TABLE_BOUNDS},
    {"table_get", 7, 0, 0, TRAP_NONE},
    {"table_get", 8, 0, 0, TRAP_TABLE_BOUNDS},
    {"table_get", 0x08000000, 0, 0, TRAP_TABLE_BOUNDS},
    {"table_get", 0xffffffff, 0, 0, TRAP_TABLE_BOUNDS},
    {"table_set", 8, 0, 0, TRAP_TABLE_BOUNDS},
    {"table_set", 0x80000000, 0, 0, TRAP_TABLE_BOUNDS},
    {"table_set", 0xffffffff, 0, 0, TRAP_TABLE_BOUNDS},
    {"call", 4, 0, 0, TRAP_UNDEFINED_ELEMENT},
    {"call", 0x08000000, 0, 0, TRAP_UNDEFINED_ELEMENT},
    {"call", 0x80000000, 0, 0, TRAP_UNDEFINED_ELEMENT},
    {"call", 0xffffffff, 0, 0, TRAP_UNDEFINED_ELEMENT},
    {"call", 3, 0, 0, TRAP_UNINITIALIZED_ELEMENT},
    {"call", 2, 0, 0, TRAP_SIGNATURE},
    {"call_wide", 0, 0, 0, TRAP_SIGNATURE},
    {"call_nothing", 0, 0, 0, TRAP_SIGNATURE},
    {"call_nothing", 2, 0, 0, TRAP_SIGNATURE},
};

static void edges_try(struct instance *i)
{
    for (size_t k = 0; k < sizeof edges / sizeof *edges; k++) {
        union host_slot reached;
        enum trap_kind kind =
            try_call(i, edges[k].function, edges[k].to, edges[k].from, edges[k].len, NULL);
        if (kind != edges[k].kind)
            fail_msg("%s(0x%x, 0x%x, 0x%x): %s", edges[k].function, edges[k].to, edges[k].from,
                     edges[k].len, trap_kind_name(kind));
        assert_true(all_zero(instance_memory(i), PAGE_END));
        uint32_t index;
        instance_export(i, "reached", 7, &index);
        instance_global(i, index, reached.bytes);
        assert_int_equal(reached.i32, 0); /* nothing was called */
    }
    union host_slot result;
    assert_int_equal(try_call(i, "call", 1, 0, 0, &result), TRAP_NONE);
    assert_int_equal(result.i32, 22);
    assert_int_equal(try_call(i, "table_grow", 0xffffffff, 0, 0, &result), TRAP_NONE);
    assert_int_equal(result.i32, -1);
    assert_int_equal(try_call(i, "table_grow", 9, 0, 0, &result), TRAP_NONE);
    assert_int_equal(result.i32, -1);
    assert_int_equal(try_call(i, "table_grow", 8, 0, 0, &result), TRAP_NONE);
    assert_int_equal(result.i32, 8);
    assert_int_equal(try_call(i, "table_get", 15, 0, 0, NULL), TRAP_NONE);
    assert_int_equal(try_call(i, "table_get", 16, 0, 0, NULL), TRAP_TABLE_BOUNDS);
}

static void bulk_operations_and_tables_end_where_they_end(void **state)
{
    (void)state;
    for (size_t v = 0; v < VARIANTS; v++) {
        struct arena *arena = arena_new(NULL);
        edges_try(
            link_named(arena, "bounds", variants[v].tier, variants[v].mode, LINK_PRIMARY, NULL));
        arena_destroy(arena);
        /* With a memory of its own beside the provider's. */
        arena = arena_new(NULL);
        struct instance *provider =
            link_named(arena, "provider", TIER_QUICK, MODE_FAST, LINK_PRIMARY, NULL);
        edges_try(
            link_named(arena, "bounds", variants[v].tier, variants[v].mode, LINK_OTHER, NULL));
        assert_true(all_zero(instance_memory(provider), PAGE_END));
        arena_destroy(arena);
    }
}

/* Types have other indices in each module; what counts is that they are equal. */
static void confusion_try(struct instance *bounds, struct instance *intruder)
{
    union host_slot result;
    assert_int_equal(try_call(intruder, "call", 0, 0, 0, &result), TRAP_NONE);
    assert_int_equal(result.i32, 11);
    assert_int_equal(try_call(intruder, "call", 2, 0, 0, NULL), TRAP_SIGNATURE);
    assert_int_equal(try_call(intruder, "call_narrow", 0, 0, 0, NULL), TRAP_SIGNATURE);
    assert_int_equal(try_call(intruder, "call", 4, 0, 0, NULL), TRAP_UNDEFINED_ELEMENT);
    assert_int_equal(try_call(intruder, "plant_mine", 4, 0, 0, NULL), TRAP_TABLE_BOUNDS);
    assert_int_equal(try_call(intruder, "plant_mine", 1, 0, 0, NULL), TRAP_NONE);
    assert_int_equal(try_call(bounds, "call", 1, 0, 0, NULL), TRAP_SIGNATURE);
    assert_int_equal(try_call(bounds, "call_wide", 1, 0, 0, NULL), TRAP_SIGNATURE);
    assert_int_equal(try_call(bounds, "call_nothing", 1, 0, 0, NULL), TRAP_SIGNATURE);
    assert_int_equal(try_call(intruder, "plant_alike", 1, 0, 0, NULL), TRAP_NONE);
    assert_int_equal(try_call(bounds, "call", 1, 0, 0, &result), TRAP_NONE);
    assert_int_equal(result.i32, 33);
}

static void a_function_is_never_called_under_another_type(void **state)
{
    (void)state;
    for (size_t v = 0; v < VARIANTS; v++) {
        uint8_t tier = variants[v].tier, mode = variants[v].mode;
        struct arena *arena = arena_new(NULL);
        struct instance *bounds = link_named(arena, "bounds", tier, mode, LINK_PRIMARY, NULL);
        confusion_try(bounds, link_named(arena, "intruder", tier, mode, LINK_OTHER, bounds));
        arena_destroy(arena);
        /* Both linked; then a primary joins and the numbers of types change. */
        arena = arena_new(NULL);
        bounds = link_named(arena, "bounds", tier, mode, LINK_OTHER, NULL);
        struct instance *intruder = link_named(arena, "intruder", tier, mode, LINK_OTHER, bounds);
        link_named(arena, "provider", tier, mode, LINK_PRIMARY, NULL);
        confusion_try(bounds, intruder);
        arena_destroy(arena);
    }
}

/* ---- stacks ---- */

/* Function 0, exported as "f", of type (i32) -> i32, with this body. */
static struct buffer body_module(const struct buffer *body)
{
    struct buffer m = module_start();
    SECTION(&m, 1, 1, 0x60, 1, 0x7f, 1, 0x7f);
    SECTION(&m, 3, 1, 0);
    SECTION(&m, 5, 1, 0, 4);
    SECTION(&m, 7, 1, 1, 'f', 0, 0);
    append_code(&m, body->data, body->len);
    return m;
}

/* `count` v128 locals, all alive across a recursive call. */
static struct buffer wide_frame_module(uint32_t count)
{
    struct buffer body = {0};
    append_byte(&body, 1);
    append_u32(&body, count);
    append_byte(&body, 0x7b);
    for (uint32_t k = 1; k <= count; k++) { /* local k = v128.load offset=16k (0) */
        append_bytes(&body, BYTES(0x41, 0, 0xfd, 0, 0));
        append_u32(&body, 16 * k);
        append_byte(&body, 0x21);
        append_u32(&body, k);
    }
    append_bytes(&body, BYTES(0x20, 0, 0x45, 0x04, 0x40, 0x05));             /* if not zero: */
    append_bytes(&body, BYTES(0x20, 0, 0x41, 1, 0x6b, 0x10, 0, 0x1a, 0x0b)); /* f(n - 1) */
    for (uint32_t k = 1; k <= count; k++) { /* v128.store offset=16k (0) local k */
        append_bytes(&body, BYTES(0x41, 0, 0x20));
        append_u32(&body, k);
        append_bytes(&body, BYTES(0xfd, 11, 0));
        append_u32(&body, 16 * k);
    }
    append_bytes(&body, BYTES(0x20, 0, 0x0b));
    struct buffer m = body_module(&body);
    buffer_free(&body);
    return m;
}

/* Recursion through a function of 1000 results. */
static struct buffer many_results_module(void)
{
    struct buffer m = module_start(), types = {0}, code = {0}, one = {0}, two = {0};
    append_bytes(&types, BYTES(2, 0x60, 1, 0x7f, 1, 0x7f, 0x60, 1, 0x7f));
    append_u32(&types, 1000);
    append_repeated(&types, 0x7e, 1000);
    append_section_of(&m, 1, &types);
    SECTION(&m, 3, 2, 0, 1);
    SECTION(&m, 7, 1, 1, 'f', 0, 0);
    append_byte(&one, 0); /* f: calls g, drops its results */
    append_bytes(&one, BYTES(0x20, 0, 0x10, 1));
    append_repeated(&one, 0x1a, 1000);
    append_bytes(&one, BYTES(0x20, 0, 0x0b));
    append_byte(&two, 0); /* g: f(n - 1), if n is not 0, and 1000 zeros */
    append_bytes(&two, BYTES(0x20, 0, 0x04, 0x40, 0x20, 0, 0x41, 1, 0x6b, 0x10, 0, 0x1a, 0x0b));
    for (int k = 0; k < 1000; k++)
        append_bytes(&two, BYTES(0x42, 0));
    append_byte(&two, 0x0b);
    append_byte(&code, 2);
    append_u32(&code, (uint32_t)one.len);
    append_bytes(&code, one.data, one.len);
    append_u32(&code, (uint32_t)two.len);
    append_bytes(&code, two.data, two.len);
    append_section_of(&m, 10, &code);
    buffer_free(&one);
    buffer_free(&two);
    return m;
}

static struct artefact *compile_bytes(struct buffer *wasm, uint8_t tier, uint8_t mode)
{
    struct error e = {0};
    struct compile_options options = {
        .tier = tier, .mode = mode, .cpu = CPU_V3, .link = LINK_PRIMARY};
    struct artefact *artefact;
    if (guest_compile(wasm->data, wasm->len, &options, &artefact, &e) < 0)
        fail_msg("%s", e.text);
    buffer_free(wasm);
    return artefact;
}

/* It returns from a shallow recursion, exhausts any stack with a deep one, and still returns. */
static void exhaustion_try(struct artefact *artefact, uint64_t stack_bytes, uint32_t shallow)
{
    struct arena_limits limits = {.stack_bytes = stack_bytes};
    struct arena *arena = arena_new(&limits);
    struct instance *i = link_in(arena, artefact, NULL);
    for (int round = 0; round < 3; round++) {
        union host_slot result;
        assert_int_equal(try_call(i, "f", shallow, 0, 0, &result), TRAP_NONE);
        assert_int_equal(result.u32, shallow);
        assert_int_equal(try_call(i, "f", 0x7fffffff, 0, 0, NULL), TRAP_STACK_EXHAUSTED);
    }
    arena_destroy(arena);
}

static void endless_recursion_exhausts_the_guest_stack_only(void **state)
{
    (void)state;
    for (size_t v = 0; v < VARIANTS; v++) {
        struct buffer wasm = wide_frame_module(1);
        exhaustion_try(compile_bytes(&wasm, variants[v].tier, variants[v].mode), 64u << 10, 10);
        wasm = wide_frame_module(40);
        exhaustion_try(compile_bytes(&wasm, variants[v].tier, variants[v].mode), 64u << 20, 10);
        wasm = many_results_module();
        exhaustion_try(compile_bytes(&wasm, variants[v].tier, variants[v].mode), 1u << 20, 3);
    }
}

/* The frame is larger than the guard below the stack: it must not step over it. */
static void a_frame_wider_than_the_guard_does_not_step_over_it(void **state)
{
    (void)state;
    for (size_t v = 0; v < VARIANTS; v++) {
        struct buffer wasm = wide_frame_module(6000);
        struct artefact *artefact = compile_bytes(&wasm, variants[v].tier, variants[v].mode);
        exhaustion_try(artefact_retain(artefact), 512u << 10, 1);
        struct arena_limits limits = {.stack_bytes = 64u << 10}; /* less than one frame */
        struct arena *arena = arena_new(&limits);
        struct instance *i = link_in(arena, artefact, NULL);
        assert_int_equal(try_call(i, "f", 0, 0, 0, NULL), TRAP_STACK_EXHAUSTED);
        arena_destroy(arena);
    }
}

/* ---- modules that mean ill ---- */

static void refused(struct buffer *wasm, int code)
{
    struct error e = {0};
    struct compile_options options = {
        .tier = TIER_QUICK, .mode = MODE_FAST, .cpu = CPU_V3, .link = LINK_PRIMARY};
    struct artefact *artefact;
    assert_int_equal(guest_compile(wasm->data, wasm->len, &options, &artefact, &e), -code);
    assert_true(strlen(e.text) > 10);
    buffer_free(wasm);
}

static void billions_of_locals_in_a_few_bytes_are_refused(void **state)
{
    (void)state;
    static const struct {
        uint32_t groups[2];
        int code;
    } counts[] = {
        {{0xffffffff, 0}, ATOLL_ELIMIT},
        {{50000, 1}, ATOLL_ELIMIT},
        {{0xffffffff, 0xffffffff}, ATOLL_EMALFORMED}, /* the format has no more than 2^32 - 1 */
        {{0x80000000, 0x80000000}, ATOLL_EMALFORMED},
    };
    for (size_t k = 0; k < sizeof counts / sizeof *counts; k++) {
        struct buffer body = {0};
        append_byte(&body, 2);
        for (int group = 0; group < 2; group++) {
            append_u32(&body, counts[k].groups[group]);
            append_byte(&body, 0x7e);
        }
        append_bytes(&body, BYTES(0x20, 0, 0x0b));
        struct buffer wasm = body_module(&body);
        buffer_free(&body);
        refused(&wasm, counts[k].code);
    }
}

/* block block (br_table 0 1 0 1 … (local 0)) end (return 1) end 2 */
static struct buffer branches_module(uint32_t count)
{
    struct buffer body = {0};
    append_bytes(&body, BYTES(0, 0x02, 0x40, 0x02, 0x40, 0x20, 0, 0x0e));
    append_u32(&body, count);
    for (uint32_t k = 0; k <= count; k++)
        append_byte(&body, k & 1);
    append_bytes(&body, BYTES(0x0b, 0x41, 1, 0x0f, 0x0b, 0x41, 2, 0x0b));
    struct buffer wasm = body_module(&body);
    buffer_free(&body);
    return wasm;
}

static void the_largest_branch_table_goes_where_it_says(void **state)
{
    (void)state;
    const uint32_t count = WASM_MAX_BR_TABLE;
    const uint32_t selectors[] = {0,         1,          2,          count - 1,  count,
                                  count + 1, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff};
    for (size_t v = 0; v < VARIANTS; v++) {
        struct buffer wasm = branches_module(count);
        struct arena *arena = arena_new(NULL);
        struct instance *i =
            link_in(arena, compile_bytes(&wasm, variants[v].tier, variants[v].mode), NULL);
        for (size_t k = 0; k < sizeof selectors / sizeof *selectors; k++) {
            union host_slot result;
            uint32_t label = selectors[k] < count ? selectors[k] : count;
            assert_int_equal(try_call(i, "f", selectors[k], 0, 0, &result), TRAP_NONE);
            assert_int_equal(result.i32, 1 + (int32_t)(label & 1));
        }
        arena_destroy(arena);
    }
    struct buffer wasm = branches_module(count + 1);
    refused(&wasm, ATOLL_ELIMIT);
}

/* ---- races ---- */

struct race {
    volatile uint32_t *words;
    _Atomic bool over;
    uint32_t seed;
};

/* Changes the words as fast as it can: mostly good values, now and then hostile ones. */
static void *values_flip(void *argument)
{
    static const uint32_t values[] = {0,          1,          2,          0,          1,
                                      2,          3,          4,          5,          8,
                                      0xffffffff, 0x80000000, 0x7fffffff, 0x08000000, 0x0000ffff,
                                      0x00010000, 0xa0000000, 0xa0000ff8, 0xa0001000, 0xffff0000,
                                      0x41efffff, 0x7ff80000};
    struct race *race = argument;
    uint32_t random = race->seed;
    while (!atomic_load_explicit(&race->over, memory_order_relaxed)) {
        for (int word = 0; word < 4; word++) {
            random ^= random << 13;
            random ^= random >> 17;
            random ^= random << 5;
            race->words[word] =
                values[(random >> 8) % (random & 0xc0 ? 6 : sizeof values / sizeof *values)];
        }
    }
    return NULL;
}

static const struct {
    const char *function;
    uint32_t kinds; /* 1 << trap kind: what it may end with, besides a result */
} racers[] = {
    {"call",
     1u << TRAP_UNDEFINED_ELEMENT | 1u << TRAP_UNINITIALIZED_ELEMENT | 1u << TRAP_SIGNATURE},
    {"branch", 0},
    {"load", 1u << TRAP_MEMORY_BOUNDS},
    {"store", 1u << TRAP_MEMORY_BOUNDS},
    {"copy", 1u << TRAP_MEMORY_BOUNDS},
    {"fill", 1u << TRAP_MEMORY_BOUNDS},
    {"init", 1u << TRAP_MEMORY_BOUNDS},
    {"table", 1u << TRAP_TABLE_BOUNDS},
    {"divide", 1u << TRAP_DIVIDE_BY_ZERO | 1u << TRAP_INTEGER_OVERFLOW},
    {"truncate", 1u << TRAP_INTEGER_OVERFLOW | 1u << TRAP_BAD_CONVERSION},
    {"atomic", 1u << TRAP_MEMORY_BOUNDS | 1u << TRAP_UNALIGNED_ATOMIC},
};
#define RACERS (sizeof racers / sizeof *racers)

#define PATIENCE_NS INT64_C(20000000000)

static void racer_run(struct instance *i, const char *function, uint32_t kinds, uint32_t address,
                      int64_t until_ns)
{
    uint64_t runs = 0, traps = 0;
    do {
        enum trap_kind kind = try_call(i, function, address, 0, 0, NULL);
        if (kind != TRAP_NONE && !(kinds >> kind & 1))
            fail_msg("%s: %s", function, trap_kind_name(kind));
        traps += kind != TRAP_NONE;
        runs++;
        /* On a busy machine the other thread may come late. */
    } while (clock_monotonic_ns() <
             until_ns + (kinds && (traps == 0 || traps == runs) ? PATIENCE_NS : 0));
    assert_true(traps < runs && (traps > 0 || !kinds)); /* it was a race */
}

/* ATOLL_RACE_SECONDS: how long in all; more by hand than in every run of the tests. */
static int64_t race_ns(void)
{
    const char *seconds = getenv("ATOLL_RACE_SECONDS");
    return (int64_t)(seconds ? atoi(seconds) : 4) * 1000000000 / (int64_t)(RACERS * VARIANTS);
}

static void race_run(uint8_t tier, uint8_t mode)
{
    struct error e = {0};
    struct arena *arena = arena_new(NULL);
    struct instance *i = link_named(arena, "racing", tier, mode, LINK_PRIMARY, NULL);
    uint32_t address;
    int fd = memory_file("lagoon", NULL, 0, 4096, false, false, &e);
    assert_true(fd >= 0);
    assert_int_equal(
        region_map(arena, "lagoon", fd, 0, 4096, GUEST_READ | GUEST_WRITE, &address, &e), 0);
    struct race race = {.seed = 2463534242u};
    race.words = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(race.words != MAP_FAILED);
    close(fd);
    pthread_t thread;
    pthread_create(&thread, NULL, values_flip, &race);
    for (size_t k = 0; k < RACERS; k++)
        racer_run(i, racers[k].function, racers[k].kinds, address,
                  clock_monotonic_ns() + race_ns());
    atomic_store(&race.over, true);
    pthread_join(thread, NULL);
    munmap((void *)(uintptr_t)race.words, 4096);
    arena_destroy(arena);
}

static void values_that_change_between_check_and_use_reach_nothing(void **state)
{
    (void)state;
    for (size_t v = 0; v < VARIANTS; v++)
        race_run(variants[v].tier, variants[v].mode);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bulk_operations_and_tables_end_where_they_end),
        cmocka_unit_test(a_function_is_never_called_under_another_type),
        cmocka_unit_test(endless_recursion_exhausts_the_guest_stack_only),
        cmocka_unit_test(a_frame_wider_than_the_guard_does_not_step_over_it),
        cmocka_unit_test(billions_of_locals_in_a_few_bytes_are_refused),
        cmocka_unit_test(the_largest_branch_table_goes_where_it_says),
        cmocka_unit_test(values_that_change_between_check_and_use_reach_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
