/*
 * A stop request at every single instruction of the gate.
 *
 * The processor's trap flag single-steps a run; at the n-th instruction that lies in the gate page
 * the test asks the arena to stop, so that the signal arrives exactly there. Either the run is
 * interrupted (and its continuation gives the right result), or it had ended, and then the request
 * must still stand and stop the next run. A request that is lost shows as a run that finishes
 * although more guest code was to come.
 */
#define _GNU_SOURCE
#include "../guest/guest.h"

#include "engine/arena.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include <cmocka.h>

#define TRAP_FLAG 0x100

static struct {
    struct arena *arena;
    uint64_t gate;
    uint32_t target, seen; /* instructions of the gate page */
    bool fired;
    uint64_t fired_at; /* offset in the gate page */
} step;

static void on_step(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)info;
    ucontext_t *frame = context;
    uint64_t pc = (uint64_t)frame->uc_mcontext.gregs[REG_RIP];
    if (!step.arena) { /* the switch: raise(SIGTRAP) begins and ends stepping */
        frame->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)TRAP_FLAG;
        return;
    }
    frame->uc_mcontext.gregs[REG_EFL] |= TRAP_FLAG;
    if (pc - step.gate >= GATE_DATA || step.seen++ != step.target)
        return;
    step.fired = true;
    step.fired_at = pc - step.gate;
    arena_interrupt(step.arena); /* blocked here: arrives as this handler returns */
    frame->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)TRAP_FLAG;
}

static void step_begin(struct arena *arena, uint32_t target)
{
    step.gate = (uint64_t)(uintptr_t)(arena->base + GATE_FROM_B);
    step.target = target;
    step.seen = 0;
    step.fired = false;
    step.arena = arena;
    raise(SIGTRAP);
}

static void step_end(void)
{
    step.arena = NULL;
    raise(SIGTRAP);
}

/* Runs the export with a stop request at gate instruction `target`; false when the run has fewer.
 */
static bool run_with_stop_at(struct arena *arena, uint32_t target, int32_t expected)
{
    struct error e = {0};
    union host_slot slots[4] = {{.i64 = 3}};
    struct run_result r;
    uint32_t function = guest_function(arena, "host_sum");
    struct instance *instance = arena_primary(arena);
    step_begin(arena, target);
    int rc = instance_invoke(instance, function, slots, &r, &e);
    step_end();
    assert_int_equal(rc, 0);
    if (!step.fired) {
        assert_int_equal(r.status, RUN_DONE);
        return false;
    }
    if (r.status ==
        RUN_DONE) { /* on the way out: no guest code was to come, so all calls are done */
        assert_int_equal(slots[0].i32, expected);
        union host_slot again[4] = {{.i64 = 3}};
        assert_int_equal(instance_invoke(instance, function, again, &r, &e), 0);
        slots[0] = again[0];
    }
    assert_int_equal(r.status, RUN_INTERRUPTED);
    assert_int_equal(arena_resume(arena, slots, &r, &e), 0);
    assert_int_equal(r.status, RUN_DONE);
    assert_int_equal(slots[0].i32, expected);
    return true;
}

static void no_stop_request_is_lost_at_any_instruction_of_the_gate(void **state)
{
    (void)state;
    struct artefact *artefact = guest_artefact("basics", TIER_OPT, MODE_FAST);
    struct arena *arena = guest_arena(artefact, NULL);
    union host_slot slots[4];
    assert_int_equal(guest_call(arena, "host_sum", slots, 3, 0, 0).status, RUN_DONE);
    uint32_t instructions = 0;
    while (run_with_stop_at(arena, instructions, 6))
        instructions++;
    /* One enter, three host calls there and back, one leave. */
    assert_true(instructions > 100);
    print_message("# %u gate instructions stepped\n", instructions);
    arena_destroy(arena);
    artefact_release(artefact);
}

int main(void)
{
    struct error e = {0};
    if (engine_initialize(&e) < 0)
        return 1;
    struct sigaction action = {.sa_sigaction = on_step, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigfillset(&action.sa_mask);
    sigaction(SIGTRAP, &action, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_stop_request_is_lost_at_any_instruction_of_the_gate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
