/* What the deterministic profile promises: equal cost and equal NaNs, however code was compiled. */
#include "../guest/guest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* Every way to compile the same module for this processor; v2 and v3 run wherever tests do. */
static struct compile_options nth_options(uint32_t n)
{
    return (struct compile_options){.tier = n & 1 ? TIER_OPT : TIER_QUICK,
                                    .mode = n & 2 ? MODE_EXACT : MODE_FAST,
                                    .cpu = n & 4 ? CPU_V2 : CPU_V3,
                                    .tail_calls = n & 8,
                                    .link = LINK_PRIMARY,
                                    .fuel = true,
                                    .deterministic = true};
}
#define OPTION_COUNT 16u

static int64_t cost(struct arena *arena, const char *function, int64_t argument)
{
    const int64_t given = 1000000;
    union host_slot slots[4];
    arena_fuel_set(arena, given);
    assert_int_equal(guest_call(arena, function, slots, argument, 0, 0).status, RUN_DONE);
    return given - arena_fuel(arena);
}

static void a_run_costs_the_operators_it_passes(void **state)
{
    (void)state;
    for (uint32_t n = 0; n < OPTION_COUNT; n++) {
        struct compile_options options = nth_options(n);
        struct artefact *artefact = guest_artefact_with("numbers", &options);
        struct arena *arena = guest_arena(artefact, NULL);
        /* local.get if | i32.const local.get i32.add else | end */
        assert_int_equal(cost(arena, "branch", 5), 2 + 4 + 1);
        /* local.get if | i32.const end | end */
        assert_int_equal(cost(arena, "branch", 0), 2 + 2 + 1);
        arena_destroy(arena);
        artefact_release(artefact);
    }
}

static void the_cost_of_a_run_is_the_same_however_it_was_compiled(void **state)
{
    (void)state;
    int64_t first = 0;
    for (uint32_t n = 0; n < OPTION_COUNT; n++) {
        struct compile_options options = nth_options(n);
        struct artefact *artefact = guest_artefact_with("numbers", &options);
        struct arena *arena = guest_arena(artefact, NULL);
        int64_t this = cost(arena, "collatz", 27);
        if (n == 0)
            first = this;
        assert_int_equal(this, first);
        arena_destroy(arena);
        artefact_release(artefact);
    }
    /* 111 steps of at least ten operators. */
    assert_true(first > 1110);
}

static void every_operator_makes_the_canonical_nan(void **state)
{
    (void)state;
    static const struct {
        const char *function;
        uint32_t a, b;
    } cases[] = {
        {"f32_add", 0x7fa00001, 0x3f800000},   {"f32_add", 0x7f800000, 0xff800000},
        {"f32_sub", 0xffc12345, 0x3f800000},   {"f32_mul", 0x00000000, 0x7f800000},
        {"f32_div", 0x00000000, 0x80000000},   {"f32_min", 0x3f800000, 0xffa00001},
        {"f32_max", 0x7fc00001, 0x3f800000},   {"f32_sqrt", 0xbf800000, 0},
        {"f32_ceil", 0x7fa00001, 0},           {"f32_nearest", 0xffc00001, 0},
        {"f32_demote", 0x7fa00001, 0},         {"f32_one", 0xffa00001, 0},
        {"f32_lanes", 0x00000000, 0x7f800000}, {"f32_lanes_min", 0xffc00007, 0x3f800000},
    };
    for (uint32_t n = 0; n < OPTION_COUNT; n++) {
        struct compile_options options = nth_options(n);
        struct artefact *artefact = guest_artefact_with("numbers", &options);
        struct arena *arena = guest_arena(artefact, NULL);
        for (uint32_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            union host_slot slots[4];
            arena_fuel_set(arena, 1000);
            struct run_result r =
                guest_call(arena, cases[i].function, slots, cases[i].a, cases[i].b, 0);
            assert_int_equal(r.status, RUN_DONE);
            if (slots[0].u32 != 0x7fc00000)
                fail_msg("%s of 0x%x and 0x%x at options %u: 0x%x", cases[i].function, cases[i].a,
                         cases[i].b, n, slots[0].u32);
        }
        arena_destroy(arena);
        artefact_release(artefact);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_costs_the_operators_it_passes),
        cmocka_unit_test(the_cost_of_a_run_is_the_same_however_it_was_compiled),
        cmocka_unit_test(every_operator_makes_the_canonical_nan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
