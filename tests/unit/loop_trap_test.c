/*
 * Loops that the compiler writes again (src/engine/lower_twin.c), run where every one of their
 * accesses in turn is the first beyond the memory's end: the trap names the operator, and memory is
 * as the operators before it left it. Exact code of tier quick says what is right.
 */
#include "../guest/guest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define PAGE  65536
#define BYTES 384 /* that a loop works on */

static const char *const functions[] = {"third4", "smooth2",       "eighth2",
                                        "sum4",   "third_vectors", "shift_vectors"};
#define FUNCTIONS (sizeof functions / sizeof *functions)

static const struct compile_options reference = {
    .tier = TIER_QUICK, .mode = MODE_EXACT, .cpu = CPU_V3, .link = LINK_PRIMARY};
static const struct compile_options candidates[] = {
    {.tier = TIER_OPT, .mode = MODE_FAST, .cpu = CPU_V3, .link = LINK_PRIMARY},
    {.tier = TIER_OPT, .mode = MODE_FAST, .cpu = CPU_V2, .link = LINK_PRIMARY},
    {.tier = TIER_OPT, .mode = MODE_FAST, .cpu = CPU_V3, .link = LINK_PRIMARY, .fuel = true},
    {.tier = TIER_OPT, .mode = MODE_EXACT, .cpu = CPU_V3, .link = LINK_PRIMARY},
};
#define CANDIDATES (sizeof candidates / sizeof *candidates)

static struct arena *loops_compiled(const struct compile_options *options)
{
    struct artefact *artefact = guest_artefact_with("loops", options);
    struct arena *arena = guest_arena(artefact, NULL);
    if (options->fuel)
        arena_fuel_set(arena, INT64_MAX);
    artefact_release(artefact);
    return arena;
}

static uint8_t *memory_of(struct arena *arena)
{
    return instance_memory(arena_primary(arena));
}

static void memory_fill(uint8_t *memory)
{
    for (uint32_t i = 0; i < PAGE; i += 4) {
        uint32_t value = 0x3f000000 + (i * 2654435761u >> 9);
        memcpy(memory + i, &value, sizeof value);
    }
}

/* Runs a loop in both and compares all that can be seen; tells whether it trapped. */
static bool loop_compare(struct arena *right, struct arena *tested, const char *function,
                         int64_t to, int64_t from)
{
    union host_slot slots[4];
    memory_fill(memory_of(right));
    memory_fill(memory_of(tested));
    struct run_result a = guest_call(right, function, slots, to, from, BYTES);
    struct run_result b = guest_call(tested, function, slots, to, from, BYTES);
    bool trapped = a.status == RUN_TRAP;
    if (a.status != b.status ||
        (trapped &&
         (a.trap.kind != b.trap.kind || a.trap.frames[0].function != b.trap.frames[0].function ||
          a.trap.frames[0].wasm_offset != b.trap.frames[0].wasm_offset)))
        fail_msg("%s to %ld from %ld: ended %d at byte %u, not %d at byte %u", function, (long)to,
                 (long)from, (int)b.status, trapped ? b.trap.frames[0].wasm_offset : 0,
                 (int)a.status, trapped ? a.trap.frames[0].wasm_offset : 0);
    if (memcmp(memory_of(right), memory_of(tested), PAGE) != 0)
        fail_msg("%s to %ld from %ld: memory differs", function, (long)to, (long)from);
    return trapped;
}

static void a_trap_in_a_loop_names_its_operator_and_memory_is_as_of_then(void **state)
{
    (void)state;
    struct arena *right = loops_compiled(&reference);
    for (size_t c = 0; c < CANDIDATES; c++) {
        struct arena *tested = loops_compiled(&candidates[c]);
        for (size_t f = 0; f < FUNCTIONS; f++)
            for (int64_t inside = -4; inside < BYTES; inside += 4) {
                int64_t edge = PAGE - inside;
                assert_true(loop_compare(right, tested, functions[f], 1024, edge));
                assert_true(loop_compare(right, tested, functions[f], edge, 1024) ||
                            strcmp(functions[f], "sum4") == 0);
            }
        arena_destroy(tested);
    }
    arena_destroy(right);
}

static void a_loop_that_ends_at_the_memory_s_end_is_right_wherever_its_ranges_meet(void **state)
{
    (void)state;
    struct arena *right = loops_compiled(&reference);
    for (size_t c = 0; c < CANDIDATES; c++) {
        struct arena *tested = loops_compiled(&candidates[c]);
        for (size_t f = 0; f < FUNCTIONS; f++)
            for (int64_t apart = -BYTES - 8; apart <= BYTES + 8; apart += 4) {
                int64_t to = apart > 0 ? PAGE - BYTES : PAGE - BYTES + apart;
                assert_false(loop_compare(right, tested, functions[f], to, to - apart));
            }
        arena_destroy(tested);
    }
    arena_destroy(right);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_trap_in_a_loop_names_its_operator_and_memory_is_as_of_then),
        cmocka_unit_test(a_loop_that_ends_at_the_memory_s_end_is_right_wherever_its_ranges_meet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
