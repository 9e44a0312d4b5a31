/* Calls into guests, and every way in which they can end. */
#include "../guest/guest.h"

#include "base/clock.h"
#include "engine/arena.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

static const enum compile_tier tiers[] = {TIER_QUICK, TIER_OPT};

static struct arena *basics(void)
{
    struct artefact *artefact = guest_artefact("basics", TIER_OPT, MODE_FAST);
    struct arena *arena = guest_arena(artefact, NULL);
    artefact_release(artefact);
    return arena;
}

static void a_call_returns_its_results_at_both_tiers(void **state)
{
    (void)state;
    for (int t = 0; t < 2; t++) {
        struct artefact *artefact = guest_artefact("basics", tiers[t], MODE_EXACT);
        struct arena *arena = guest_arena(artefact, NULL);
        union host_slot slots[4];
        assert_int_equal(guest_call(arena, "fib", slots, 20, 0, 0).status, RUN_DONE);
        assert_int_equal(slots[0].i32, 6765);
        assert_int_equal(guest_call(arena, "many", slots, 7, 5, 0).status, RUN_DONE);
        assert_int_equal(slots[0].i32, 12);
        assert_int_equal(slots[1].i64, 35);
        assert_true(slots[2].f64 == 2.0);
        arena_destroy(arena);
        artefact_release(artefact);
    }
}

static void each_trap_has_its_kind_and_leaves_the_instance_usable(void **state)
{
    (void)state;
    static const struct {
        const char *function;
        int64_t a, b, c;
        enum trap_kind kind;
    } cases[] = {
        {"unreachable", 0, 0, 0, TRAP_UNREACHABLE},
        {"load", 65536, 0, 0, TRAP_MEMORY_BOUNDS},
        {"load", 65533, 0, 0, TRAP_MEMORY_BOUNDS},
        {"load", -1, 0, 0, TRAP_MEMORY_BOUNDS},
        {"store", 0x9ffffffc, 1, 0, TRAP_MEMORY_BOUNDS},
        {"store", 0xfffffffc, 1, 0, TRAP_MEMORY_BOUNDS},
        {"divide", 1, 0, 0, TRAP_DIVIDE_BY_ZERO},
        {"divide", INT32_MIN, -1, 0, TRAP_INTEGER_OVERFLOW},
        {"convert", 0x7ff8000000000000, 0, 0, TRAP_BAD_CONVERSION},
        {"indirect", 4, 0, 0, TRAP_UNDEFINED_ELEMENT},
        {"indirect", 3, 0, 0, TRAP_UNINITIALIZED_ELEMENT},
        {"indirect", 1, 0, 0, TRAP_SIGNATURE},
        {"fill", 65530, 1, 7, TRAP_MEMORY_BOUNDS},
        {"copy", 0, 65530, 7, TRAP_MEMORY_BOUNDS},
        {"init", 0, 2, 3, TRAP_MEMORY_BOUNDS},
        {"descend", 0, 0, 0, TRAP_STACK_EXHAUSTED},
        {"host_fail", 0, 0, 0, TRAP_HOST},
    };
    struct arena *arena = basics();
    union host_slot slots[4];
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        struct run_result r =
            guest_call(arena, cases[k].function, slots, cases[k].a, cases[k].b, cases[k].c);
        assert_int_equal(r.status, RUN_TRAP);
        assert_int_equal(r.trap.kind, cases[k].kind);
        assert_true(r.trap.frame_count >= 1);
        assert_int_equal(r.trap.frames[r.trap.frame_count - 1].function,
                         r.trap.truncated ? guest_function(arena, "descend")
                                          : guest_function(arena, cases[k].function));
        assert_int_equal(guest_call(arena, "indirect", slots, 0, 0, 0).status, RUN_DONE);
        assert_int_equal(slots[0].i32, 42);
    }
    arena_destroy(arena);
}

static void a_trap_names_the_byte_offset_of_its_instruction(void **state)
{
    (void)state;
    struct arena *arena = basics();
    const struct artefact *artefact = instance_artefact(arena_primary(arena));
    union host_slot slots[4];
    struct run_result r = guest_call(arena, "divide", slots, 1, 0, 0);
    uint32_t function = guest_function(arena, "divide");
    uint32_t body = artefact->body_offsets[function - artefact->module.imported_functions];
    /* 0 locals, local.get 0, local.get 1, i32.div_s: the fifth byte of the body. */
    assert_int_equal(r.trap.frames[0].wasm_offset, body + 5);
    arena_destroy(arena);
}

static void a_wide_store_across_the_edge_writes_nothing(void **state)
{
    (void)state;
    struct arena *arena = basics();
    union host_slot slots[4];
    assert_int_equal(guest_call(arena, "store_wide", slots, 65532, 0, 0).status, RUN_TRAP);
    assert_int_equal(guest_call(arena, "load", slots, 65532, 0, 0).status, RUN_DONE);
    assert_int_equal(slots[0].i32, 0);
    arena_destroy(arena);
}

static void memory_grows_to_its_limit_and_no_further(void **state)
{
    (void)state;
    struct artefact *artefact = guest_artefact("basics", TIER_OPT, MODE_FAST);
    struct arena_limits limits = {.memory_bytes = 4 * 65536};
    struct arena *arena = guest_arena(artefact, &limits);
    union host_slot slots[4];
    guest_call(arena, "grow", slots, 3, 0, 0);
    assert_int_equal(slots[0].i32, 1);
    guest_call(arena, "grow", slots, 1, 0, 0);
    assert_int_equal(slots[0].i32, -1);
    guest_call(arena, "grow", slots, -1, 0, 0);
    assert_int_equal(slots[0].i32, -1);
    assert_int_equal(guest_call(arena, "load", slots, 4 * 65536 - 4, 0, 0).status, RUN_DONE);
    assert_int_equal(guest_call(arena, "load", slots, 4 * 65536 - 3, 0, 0).status, RUN_TRAP);
    arena_destroy(arena);
    artefact_release(artefact);
}

static void tables_together_grow_to_what_memory_may_be_and_no_further(void **state)
{
    (void)state;
    struct artefact *artefact = guest_artefact("tables", TIER_OPT, MODE_FAST);
    struct arena_limits limits = {.memory_bytes = 65536}; /* 65,536 entries are always allowed */
    struct arena *arena = guest_arena(artefact, &limits);
    union host_slot slots[4];
    guest_call(arena, "grow", slots, 65536 - 40000 + 1, 0, 0);
    assert_int_equal(slots[0].i32, -1);
    guest_call(arena, "grow", slots, 65536 - 40000, 0, 0);
    assert_int_equal(slots[0].i32, 10000);
    guest_call(arena, "grow", slots, 1, 0, 0);
    assert_int_equal(slots[0].i32, -1);
    guest_call(arena, "grow", slots, 0, 0, 0);
    assert_int_equal(slots[0].i32, 65536 - 30000);
    arena_destroy(arena);
    artefact_release(artefact);
}

static void a_module_that_begins_with_larger_tables_than_allowed_is_refused(void **state)
{
    (void)state;
    struct artefact *artefact = guest_artefact("tables", TIER_OPT, MODE_FAST);
    struct arena_limits limits = {.table_entries = 39999};
    struct arena *arena;
    struct instance *instance;
    struct error e = {0};
    assert_int_equal(arena_create(SLOT_ANY, &limits, &arena, &e), 0);
    assert_int_equal(instance_create(arena, artefact, NULL, 0, &instance, &e), -ATOLL_ELIMIT);
    assert_non_null(strstr(e.text, "40000 table entries"));
    arena_destroy(arena);
    artefact_release(artefact);
}

static void host_calls_finish_exit_and_nest(void **state)
{
    (void)state;
    struct arena *arena = basics();
    union host_slot slots[4];
    assert_int_equal(guest_call(arena, "host_sum", slots, 100, 0, 0).status, RUN_DONE);
    assert_int_equal(slots[0].i32, 5050);
    struct run_result r = guest_call(arena, "host_exit", slots, 7, 0, 0);
    assert_int_equal(r.status, RUN_EXIT);
    assert_int_equal(r.exit_code, 7);
    assert_int_equal(guest_call(arena, "callee", slots, 10, 0, 0).status, RUN_DONE);
    assert_int_equal(slots[0].i32, 1010);
    /* Entries are bounded, and passing the bound is an error of the innermost host call. */
    r = guest_call(arena, "callee", slots, 1000, 0, 0);
    assert_int_equal(r.status, RUN_TRAP);
    assert_int_equal(r.trap.kind, TRAP_HOST);
    assert_int_equal(guest_call(arena, "callee", slots, 3, 0, 0).status, RUN_DONE);
    arena_destroy(arena);
}

static void a_parked_call_is_retried_until_its_deadline(void **state)
{
    (void)state;
    struct error e = {0};
    struct arena *arena = basics();
    union host_slot slots[4];
    struct run_result r = guest_call(arena, "host_wait", slots, 30 * 1000 * 1000, 0, 0);
    assert_int_equal(r.status, RUN_PARKED);
    assert_non_null(arena_park(arena));
    int64_t start = clock_monotonic_ns();
    /* Resuming early changes nothing: the call parks again with the deadline it had. */
    assert_int_equal(arena_resume(arena, slots, &r, &e), 0);
    assert_int_equal(r.status, RUN_PARKED);
    assert_int_equal(instance_invoke(arena_primary(arena), 0, slots, &r, &e), -ATOLL_EBUSY);
    assert_int_equal(arena_wait(arena), 0);
    assert_int_equal(arena_resume(arena, slots, &r, &e), 0);
    assert_int_equal(r.status, RUN_DONE);
    assert_int_equal(slots[0].i32, 101);
    assert_true(clock_monotonic_ns() > start);
    assert_int_equal(guest_call(arena, "host_wait", slots, 0, 0, 0).status, RUN_DONE);
    assert_int_equal(slots[0].i32, 100);
    arena_destroy(arena);
}

static void *interrupt_soon(void *arena)
{
    usleep(5000);
    arena_interrupt(arena);
    return NULL;
}

static void an_endless_loop_is_interrupted_and_goes_on(void **state)
{
    (void)state;
    struct error e = {0};
    struct arena *arena = basics();
    union host_slot slots[4];
    pthread_t thread;
    struct run_result r;
    pthread_create(&thread, NULL, interrupt_soon, arena);
    r = guest_call(arena, "spin", slots, 0, 0, 0);
    pthread_join(thread, NULL);
    for (int k = 0; k < 5; k++) {
        assert_int_equal(r.status, RUN_INTERRUPTED);
        assert_true(arena_suspended(arena));
        pthread_create(&thread, NULL, interrupt_soon, arena);
        assert_int_equal(arena_resume(arena, slots, &r, &e), 0);
        pthread_join(thread, NULL);
    }
    arena_abandon(arena);
    assert_int_equal(guest_call(arena, "fib", slots, 10, 0, 0).status, RUN_DONE);
    assert_int_equal(slots[0].i32, 55);
    arena_destroy(arena);
}

static struct arena *alarmed;

static void on_alarm(int signal)
{
    (void)signal;
    arena_interrupt(alarmed);
}

static void a_handler_on_the_guests_own_thread_can_stop_it(void **state)
{
    (void)state;
    struct error e = {0};
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_ONSTACK}, before;
    struct itimerval soon = {.it_value = {.tv_usec = 3000}};
    union host_slot slots[4];
    struct run_result r;
    alarmed = basics();
    sigaction(SIGALRM, &action, &before);
    for (int k = 0; k < 5; k++) {
        setitimer(ITIMER_REAL, &soon, NULL);
        if (k == 0)
            r = guest_call(alarmed, "spin", slots, 0, 0, 0);
        else
            assert_int_equal(arena_resume(alarmed, slots, &r, &e), 0);
        assert_int_equal(r.status, RUN_INTERRUPTED);
    }
    /* So can a host function, or whoever called it. */
    arena_abandon(alarmed);
    arena_interrupt(alarmed);
    assert_int_equal(guest_call(alarmed, "spin", slots, 0, 0, 0).status, RUN_INTERRUPTED);
    sigaction(SIGALRM, &before, NULL);
    arena_destroy(alarmed);
}

static void an_interrupt_wakes_an_arena_that_waits(void **state)
{
    (void)state;
    struct error e = {0};
    struct arena *arena = basics();
    union host_slot slots[4];
    struct run_result r = guest_call(arena, "host_wait", slots, INT64_C(3600000000000), 0, 0);
    pthread_t thread;
    assert_int_equal(r.status, RUN_PARKED);
    pthread_create(&thread, NULL, interrupt_soon, arena);
    assert_int_equal(arena_wait(arena), -ATOLL_ECANCELED);
    pthread_join(thread, NULL);
    assert_int_equal(arena_resume(arena, slots, &r, &e), 0);
    assert_int_equal(r.status, RUN_PARKED);
    arena_abandon(arena);
    arena_destroy(arena);
}

static void a_request_that_comes_before_the_call_is_not_lost(void **state)
{
    (void)state;
    struct error e = {0};
    struct arena *arena = basics();
    union host_slot slots[4];
    arena_interrupt(arena);
    struct run_result r = guest_call(arena, "fib", slots, 15, 0, 0);
    assert_int_equal(r.status, RUN_INTERRUPTED);
    assert_int_equal(arena_resume(arena, slots, &r, &e), 0);
    assert_int_equal(r.status, RUN_DONE);
    assert_int_equal(slots[0].i32, 610);
    arena_destroy(arena);
}

static void fuel_runs_out_at_the_same_place_every_time(void **state)
{
    (void)state;
    struct compile_options options = {
        .tier = TIER_OPT, .mode = MODE_FAST, .cpu = CPU_V3, .link = LINK_PRIMARY, .fuel = true};
    struct artefact *artefact = guest_artefact_with("basics", &options);
    struct arena *arena = guest_arena(artefact, NULL);
    union host_slot slots[4];
    int64_t left[2];
    for (int k = 0; k < 2; k++) {
        arena_fuel_set(arena, 1000000);
        assert_int_equal(guest_call(arena, "fib", slots, 12, 0, 0).status, RUN_DONE);
        left[k] = arena_fuel(arena);
    }
    assert_int_equal(left[0], left[1]);
    assert_true(left[0] < 1000000);
    arena_fuel_set(arena, 100000);
    struct run_result r = guest_call(arena, "spin", slots, 0, 0, 0);
    assert_int_equal(r.status, RUN_TRAP);
    assert_int_equal(r.trap.kind, TRAP_FUEL);
    arena_destroy(arena);
    artefact_release(artefact);
}

static void slots_are_refused_when_taken_and_free_again_after(void **state)
{
    (void)state;
    struct error e = {0};
    struct arena *a, *b;
    assert_int_equal(arena_create(SLOT_ANY, NULL, &a, &e), 0);
    uint32_t slot = arena_slot(a);
    assert_int_equal(arena_create(slot, NULL, &b, &e), -ATOLL_EBUSY);
    arena_destroy(a);
    assert_int_equal(arena_create(slot, NULL, &b, &e), 0);
    arena_destroy(b);
    assert_int_equal(arena_create(SLOT_END, NULL, &b, &e), -ATOLL_EINVAL);
}

static void a_slot_used_again_shows_nothing_of_its_last_arena(void **state)
{
    (void)state;
    struct error e = {0};
    struct artefact *artefact = guest_artefact("basics", TIER_OPT, MODE_FAST);
    struct arena *first = guest_arena(artefact, NULL), *second;
    uint32_t slot = arena_slot(first);
    union host_slot slots[4];
    assert_int_equal(guest_call(first, "descend", slots, 0, 0, 0).status, RUN_TRAP);
    guest_call(first, "grow", slots, 3, 0, 0);
    guest_call(first, "fill", slots, 0, 0x77, 4 * 65536);
    arena_destroy(first);
    assert_int_equal(arena_create(slot, NULL, &second, &e), 0);
    second = guest_fill(second, artefact);
    for (const uint8_t *at = second->stack_low; at < second->stack_high; at++)
        if (*at)
            fail_msg("stack byte %zd below the top is 0x%02x", second->stack_high - at, *at);
    assert_int_equal(guest_call(second, "load", slots, 4096, 0, 0).status, RUN_DONE);
    assert_int_equal(slots[0].i32, 0);
    assert_int_equal(guest_call(second, "load", slots, 65536, 0, 0).status, RUN_TRAP);
    guest_call(second, "grow", slots, 1, 0, 0);
    assert_int_equal(guest_call(second, "load", slots, 65536, 0, 0).status, RUN_DONE);
    assert_int_equal(slots[0].i32, 0);
    arena_destroy(second);
    artefact_release(artefact);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_returns_its_results_at_both_tiers),
        cmocka_unit_test(each_trap_has_its_kind_and_leaves_the_instance_usable),
        cmocka_unit_test(a_trap_names_the_byte_offset_of_its_instruction),
        cmocka_unit_test(a_wide_store_across_the_edge_writes_nothing),
        cmocka_unit_test(memory_grows_to_its_limit_and_no_further),
        cmocka_unit_test(tables_together_grow_to_what_memory_may_be_and_no_further),
        cmocka_unit_test(a_module_that_begins_with_larger_tables_than_allowed_is_refused),
        cmocka_unit_test(host_calls_finish_exit_and_nest),
        cmocka_unit_test(a_parked_call_is_retried_until_its_deadline),
        cmocka_unit_test(an_endless_loop_is_interrupted_and_goes_on),
        cmocka_unit_test(a_handler_on_the_guests_own_thread_can_stop_it),
        cmocka_unit_test(an_interrupt_wakes_an_arena_that_waits),
        cmocka_unit_test(a_request_that_comes_before_the_call_is_not_lost),
        cmocka_unit_test(fuel_runs_out_at_the_same_place_every_time),
        cmocka_unit_test(slots_are_refused_when_taken_and_free_again_after),
        cmocka_unit_test(a_slot_used_again_shows_nothing_of_its_last_arena),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
