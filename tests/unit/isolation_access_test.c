/*
 * No access leaves its memory: every load, store and atomic operator, scalar and vector, with
 * static offsets and addresses at every edge (below zero, across 4 GiB, at the end of the memory,
 * at the largest offset), in every tier, mode and place among the modules of an arena. What lies
 * inside succeeds and writes exactly its bytes; what does not traps and writes nothing.
 *
 * The module is made here: for each operator and offset a function of the address, for some a
 * function whose address is a constant that the optimiser sees.
 */
#include "../guest/guest.h"

#include "engine/arena.h"
#include "module_bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- the operators ---- */

enum access_form { LOAD, STORE, LOAD_LANE, STORE_LANE, MODIFY, EXCHANGE };

struct access {
    uint8_t prefix; /* 0: none */
    uint8_t code, form, type;
    uint8_t width;
    bool atomic;
};

#define ACCESSES_MAX 160
static struct access accesses[ACCESSES_MAX];
static uint32_t access_count;

static void access_add(uint8_t prefix, uint32_t code, enum access_form form, uint8_t type,
                       uint32_t width, bool atomic)
{
    assert_true(access_count < ACCESSES_MAX);
    accesses[access_count++] =
        (struct access){prefix, (uint8_t)code, (uint8_t)form, type, (uint8_t)width, atomic};
}

static void accesses_list(void)
{
    static const struct {
        uint8_t type, width;
    } scalar_loads[] = {{WASM_I32, 4}, {WASM_I64, 8}, {WASM_F32, 4}, {WASM_F64, 8}, {WASM_I32, 1},
                        {WASM_I32, 1}, {WASM_I32, 2}, {WASM_I32, 2}, {WASM_I64, 1}, {WASM_I64, 1},
                        {WASM_I64, 2}, {WASM_I64, 2}, {WASM_I64, 4}, {WASM_I64, 4}},
      scalar_stores[] = {{WASM_I32, 4}, {WASM_I64, 8}, {WASM_F32, 4}, {WASM_F64, 8}, {WASM_I32, 1},
                         {WASM_I32, 2}, {WASM_I64, 1}, {WASM_I64, 2}, {WASM_I64, 4}},
      atomics[] = {{WASM_I32, 4}, {WASM_I64, 8}, {WASM_I32, 1}, {WASM_I32, 2},
                   {WASM_I64, 1}, {WASM_I64, 2}, {WASM_I64, 4}};
    static const uint8_t vector_loads[] = {16, 8, 8, 8, 8, 8, 8, 1, 2, 4, 8};
    for (uint32_t k = 0; k < 14; k++)
        access_add(0, 0x28 + k, LOAD, scalar_loads[k].type, scalar_loads[k].width, false);
    for (uint32_t k = 0; k < 9; k++)
        access_add(0, 0x36 + k, STORE, scalar_stores[k].type, scalar_stores[k].width, false);
    for (uint32_t k = 0; k < 11; k++)
        access_add(0xfd, k, LOAD, WASM_V128, vector_loads[k], false);
    access_add(0xfd, 11, STORE, WASM_V128, 16, false);
    for (uint32_t k = 0; k < 4; k++) {
        access_add(0xfd, 0x54 + k, LOAD_LANE, WASM_V128, 1u << k, false);
        access_add(0xfd, 0x58 + k, STORE_LANE, WASM_V128, 1u << k, false);
    }
    access_add(0xfd, 0x5c, LOAD, WASM_V128, 4, false);
    access_add(0xfd, 0x5d, LOAD, WASM_V128, 8, false);
    for (uint32_t k = 0; k < 7; k++) {
        access_add(0xfe, 0x10 + k, LOAD, atomics[k].type, atomics[k].width, true);
        access_add(0xfe, 0x17 + k, STORE, atomics[k].type, atomics[k].width, true);
        for (uint32_t operation = 0; operation < 6; operation++)
            access_add(0xfe, 0x1e + 7 * operation + k, MODIFY, atomics[k].type, atomics[k].width,
                       true);
        access_add(0xfe, 0x48 + k, EXCHANGE, atomics[k].type, atomics[k].width, true);
    }
}

static bool writes(const struct access *a)
{
    return a->form != LOAD && a->form != LOAD_LANE;
}

static bool has_result(const struct access *a)
{
    return a->form != STORE && a->form != STORE_LANE;
}

/* ---- the module ---- */

#define MEMORY_BYTES 65536u

static const uint32_t offsets[] = {0, 3, 65535, 0x7fffffff, 0xfffffff0, 0xffffffff};
#define OFFSETS (sizeof offsets / sizeof *offsets)

/* Where the address is a constant: what of the sum fits, and does not. */
static const struct {
    uint32_t address, offset;
} constants[] = {{0xffffffff, 0}, {0xfffffffc, 8}, {0xffffffff, 0xffffffff}};
#define CONSTANTS (sizeof constants / sizeof *constants)
#define VARIANTS  (OFFSETS + CONSTANTS)

static void append_constant(struct buffer *b, uint8_t type)
{
    static const uint8_t ones[16] = {255, 255, 255, 255, 255, 255, 255, 255,
                                     255, 255, 255, 255, 255, 255, 255, 255};
    switch (type) {
    case WASM_I32: append_bytes(b, BYTES(0x41, 0x7f)); break;
    case WASM_I64: append_bytes(b, BYTES(0x42, 0x7f)); break;
    case WASM_F32:
        append_byte(b, 0x43);
        append_bytes(b, ones, 4);
        break;
    case WASM_F64:
        append_byte(b, 0x44);
        append_bytes(b, ones, 8);
        break;
    default: append_bytes(b, BYTES(0xfd, 0x0c)); append_bytes(b, ones, 16);
    }
}

static void append_body(struct buffer *code, const struct access *a, uint32_t variant)
{
    struct buffer body = {0};
    uint32_t offset = variant < OFFSETS ? offsets[variant] : constants[variant - OFFSETS].offset;
    append_byte(&body, 0); /* no locals */
    if (variant < OFFSETS) {
        append_bytes(&body, BYTES(0x20, 0));
    } else {
        /* As signed LEB128: -1 and -4 are one byte. */
        append_byte(&body, 0x41);
        append_byte(&body, (uint8_t)(constants[variant - OFFSETS].address & 0x7f));
    }
    if (writes(a) || a->form == LOAD_LANE)
        append_constant(&body, a->type);
    if (a->form == EXCHANGE)
        append_constant(&body, a->type);
    if (a->prefix)
        append_byte(&body, a->prefix);
    append_u32(&body, a->code);
    append_u32(&body, a->atomic ? (uint32_t)__builtin_ctz(a->width) : 0);
    append_u32(&body, offset);
    if (a->form == LOAD_LANE || a->form == STORE_LANE)
        append_byte(&body, 0);
    append_byte(&body, 0x0b);
    append_u32(code, (uint32_t)body.len);
    append_bytes(code, body.data, body.len);
    buffer_free(&body);
}

/* Type k: (i32) -> the k-th of these; type 5: (i32) -> nothing. */
static const uint8_t results[] = {WASM_I32, WASM_I64, WASM_F32, WASM_F64, WASM_V128};

static uint32_t type_of(const struct access *a)
{
    uint32_t k = 0;
    while (has_result(a) && results[k] != a->type)
        k++;
    return has_result(a) ? k : 5;
}

static void append_memory(struct buffer *module, bool imported)
{
    if (imported)
        SECTION(module, 2, 1, 1, 'm', 1, 'm', 2, 1, 1, 1);
}

static struct buffer access_module(bool imported_memory)
{
    struct buffer m = module_start(), functions = {0}, exports = {0}, code = {0};
    uint32_t count = access_count * VARIANTS;
    SECTION(&m, 1, 6, 0x60, 1, 0x7f, 1, 0x7f, 0x60, 1, 0x7f, 1, 0x7e, 0x60, 1, 0x7f, 1, 0x7d, 0x60,
            1, 0x7f, 1, 0x7c, 0x60, 1, 0x7f, 1, 0x7b, 0x60, 1, 0x7f, 0);
    append_memory(&m, imported_memory);
    append_u32(&functions, count);
    append_u32(&exports, count);
    append_u32(&code, count);
    for (uint32_t f = 0; f < count; f++) {
        char name[16];
        append_u32(&functions, type_of(&accesses[f / VARIANTS]));
        append_byte(&exports, (uint8_t)snprintf(name, sizeof name, "%u", f));
        append_bytes(&exports, name, strlen(name));
        append_byte(&exports, 0);
        append_u32(&exports, f);
        append_body(&code, &accesses[f / VARIANTS], f % VARIANTS);
    }
    append_section_of(&m, 3, &functions);
    if (!imported_memory)
        SECTION(&m, 5, 1, 1, 1, 1); /* one page at least and at most */
    append_section_of(&m, 7, &exports);
    append_section_of(&m, 10, &code);
    return m;
}

/* (memory (export "m") 1 1) */
static struct buffer memory_module(void)
{
    struct buffer m = module_start();
    SECTION(&m, 5, 1, 1, 1, 1);
    SECTION(&m, 7, 1, 1, 'm', 2, 0);
    return m;
}

static struct instance *link_bytes(struct arena *arena, struct buffer *wasm,
                                   struct compile_options options, struct instance *from)
{
    struct error e = {0};
    struct artefact *artefact;
    struct instance *instance;
    struct link_import import = {.how = LINK_EXPORT, .from = from};
    uint32_t imports;
    if (guest_compile(wasm->data, wasm->len, &options, &artefact, &e) < 0)
        fail_msg("%s", e.text);
    imports = artefact->module.import_count;
    if (instance_create(arena, artefact, &import, imports, &instance, &e) < 0)
        fail_msg("%s", e.text);
    artefact_release(artefact);
    buffer_free(wasm);
    return instance;
}

/* ---- the neighbourhood ---- */

#define CANARY 0xa5

/* Arenas in the slots on both sides, full of canaries; NULL where the slot is taken. */
struct neighbours {
    struct arena *arenas[2];
};

static struct neighbours neighbours_settle(uint32_t slot)
{
    struct neighbours n = {{NULL, NULL}};
    struct error e;
    for (int k = 0; k < 2; k++) {
        if (arena_create(k ? slot + 1 : slot - 1, NULL, &n.arenas[k], &e) < 0)
            continue;
        struct buffer wasm = memory_module();
        struct instance *i =
            link_bytes(n.arenas[k], &wasm,
                       (struct compile_options){.cpu = CPU_V3, .link = LINK_PRIMARY}, NULL);
        memset(instance_memory(i), CANARY, MEMORY_BYTES);
    }
    return n;
}

static bool all_bytes_are(const uint8_t *bytes, size_t len, uint8_t value)
{
    return len == 0 || (bytes[0] == value && memcmp(bytes, bytes + 1, len - 1) == 0);
}

static void neighbours_check(struct neighbours *n)
{
    for (int k = 0; k < 2; k++) {
        if (!n->arenas[k])
            continue;
        assert_true(
            all_bytes_are(instance_memory(arena_primary(n->arenas[k])), MEMORY_BYTES, CANARY));
        arena_destroy(n->arenas[k]);
    }
}

/* ---- the accesses ---- */

static uint32_t addresses_list(const struct access *a, uint32_t offset, uint32_t out[static 16])
{
    const uint32_t list[] = {
        0,
        8,
        MEMORY_BYTES - a->width,
        MEMORY_BYTES - a->width - offset,
        MEMORY_BYTES - a->width - offset + 1,
        MEMORY_BYTES - offset - 1,
        MEMORY_BYTES - offset,
        MEMORY_BYTES,
        0x7fffffff,
        0x80000000,
        0 - offset,
        8 - offset,
        0 - (uint32_t)a->width,
        0 - (uint32_t)a->width + 1,
        0xfffffff8,
        0xffffffff,
    };
    memcpy(out, list, sizeof list);
    return sizeof list / sizeof *list;
}

/* One access at a known address; the memory is all zero before and after. */
static void access_try(struct instance *i, const struct access *a, uint32_t function,
                       uint32_t address, uint32_t offset)
{
    struct error e = {0};
    struct run_result result;
    union host_slot slots[2] = {{.u32 = address}};
    uint8_t *memory = instance_memory(i);
    uint64_t at = (uint64_t)address + offset;
    bool inside = at + a->width <= MEMORY_BYTES, aligned = !a->atomic || at % a->width == 0;
    assert_int_equal(instance_invoke(i, function, slots, &result, &e), 0);
    if (inside && aligned) {
        assert_int_equal(result.status, RUN_DONE);
        if (writes(a) && a->form != MODIFY && a->form != EXCHANGE)
            assert_true(all_bytes_are(memory + at, a->width, 0xff));
        memset(memory + at, 0, a->width);
    } else {
        assert_int_equal(result.status, RUN_TRAP);
        if (result.trap.kind != TRAP_MEMORY_BOUNDS || inside)
            assert_true(result.trap.kind == TRAP_UNALIGNED_ATOMIC && !aligned);
    }
    if (writes(a))
        assert_true(all_bytes_are(memory, MEMORY_BYTES, 0));
}

static void accesses_try(struct instance *i)
{
    uint32_t addresses[16];
    for (uint32_t f = 0; f < access_count * VARIANTS; f++) {
        const struct access *a = &accesses[f / VARIANTS];
        uint32_t variant = f % VARIANTS;
        if (variant >= OFFSETS) {
            access_try(i, a, f, constants[variant - OFFSETS].address,
                       constants[variant - OFFSETS].offset);
            continue;
        }
        uint32_t count = addresses_list(a, offsets[variant], addresses);
        for (uint32_t k = 0; k < count; k++)
            access_try(i, a, f, addresses[k], offsets[variant]);
    }
}

static void accesses_stay_inside(uint8_t tier, uint8_t mode, uint8_t link)
{
    struct error e = {0};
    struct arena *arena;
    if (arena_create(SLOT_ANY, NULL, &arena, &e) < 0 || signals_install(&e) < 0)
        fail_msg("%s", e.text);
    struct neighbours neighbours = neighbours_settle(arena_slot(arena));
    struct compile_options options = {.tier = tier, .mode = mode, .cpu = CPU_V3};
    struct instance *first = NULL;
    if (link != LINK_PRIMARY) {
        struct buffer wasm = memory_module();
        first = link_bytes(arena, &wasm, options, NULL);
    }
    options.link = link;
    struct buffer wasm = access_module(link == LINK_SHARED);
    accesses_try(link_bytes(arena, &wasm, options, first));
    if (first)
        assert_true(all_bytes_are(instance_memory(first), MEMORY_BYTES, 0));
    neighbours_check(&neighbours);
    arena_destroy(arena);
}

#define ACCESS_TEST(name, tier, mode, link)     \
    static void name(void **state)              \
    {                                           \
        (void)state;                            \
        accesses_stay_inside(tier, mode, link); \
    }

ACCESS_TEST(quick_fast_accesses_of_a_primary_module_stay_inside, TIER_QUICK, MODE_FAST,
            LINK_PRIMARY)
ACCESS_TEST(quick_exact_accesses_of_a_primary_module_stay_inside, TIER_QUICK, MODE_EXACT,
            LINK_PRIMARY)
ACCESS_TEST(opt_fast_accesses_of_a_primary_module_stay_inside, TIER_OPT, MODE_FAST, LINK_PRIMARY)
ACCESS_TEST(opt_exact_accesses_of_a_primary_module_stay_inside, TIER_OPT, MODE_EXACT, LINK_PRIMARY)
ACCESS_TEST(quick_fast_accesses_to_shared_memory_stay_inside, TIER_QUICK, MODE_FAST, LINK_SHARED)
ACCESS_TEST(quick_exact_accesses_to_shared_memory_stay_inside, TIER_QUICK, MODE_EXACT, LINK_SHARED)
ACCESS_TEST(opt_fast_accesses_to_shared_memory_stay_inside, TIER_OPT, MODE_FAST, LINK_SHARED)
ACCESS_TEST(opt_exact_accesses_to_shared_memory_stay_inside, TIER_OPT, MODE_EXACT, LINK_SHARED)
ACCESS_TEST(quick_fast_accesses_to_another_memory_stay_inside, TIER_QUICK, MODE_FAST, LINK_OTHER)
ACCESS_TEST(quick_exact_accesses_to_another_memory_stay_inside, TIER_QUICK, MODE_EXACT, LINK_OTHER)
ACCESS_TEST(opt_fast_accesses_to_another_memory_stay_inside, TIER_OPT, MODE_FAST, LINK_OTHER)
ACCESS_TEST(opt_exact_accesses_to_another_memory_stay_inside, TIER_OPT, MODE_EXACT, LINK_OTHER)

static void every_memory_operator_is_among_them(void **state)
{
    (void)state;
    assert_int_equal(access_count, 14 + 9 + 11 + 1 + 8 + 2 + 7 * 9);
}

static int operators_begin(void **state)
{
    (void)state;
    accesses_list();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_memory_operator_is_among_them),
        cmocka_unit_test(quick_fast_accesses_of_a_primary_module_stay_inside),
        cmocka_unit_test(quick_exact_accesses_of_a_primary_module_stay_inside),
        cmocka_unit_test(opt_fast_accesses_of_a_primary_module_stay_inside),
        cmocka_unit_test(opt_exact_accesses_of_a_primary_module_stay_inside),
        cmocka_unit_test(quick_fast_accesses_to_shared_memory_stay_inside),
        cmocka_unit_test(quick_exact_accesses_to_shared_memory_stay_inside),
        cmocka_unit_test(opt_fast_accesses_to_shared_memory_stay_inside),
        cmocka_unit_test(opt_exact_accesses_to_shared_memory_stay_inside),
        cmocka_unit_test(quick_fast_accesses_to_another_memory_stay_inside),
        cmocka_unit_test(quick_exact_accesses_to_another_memory_stay_inside),
        cmocka_unit_test(opt_fast_accesses_to_another_memory_stay_inside),
        cmocka_unit_test(opt_exact_accesses_to_another_memory_stay_inside),
    };
    return cmocka_run_group_tests(tests, operators_begin, NULL);
}
