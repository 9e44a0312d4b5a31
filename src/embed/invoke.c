/* Calls with typed values, their outcomes, and the places that traps name. */
#include "embed/embed.h"

#include <stdlib.h>

_Static_assert(sizeof(struct atoll_outcome) == sizeof(struct run_result), "one layout");
_Static_assert(offsetof(struct atoll_outcome, exit_code) == offsetof(struct run_result, exit_code),
               "one layout");
_Static_assert(offsetof(struct atoll_outcome, trap) == offsetof(struct run_result, trap),
               "one layout");
_Static_assert(offsetof(struct atoll_trap, frame_count) == offsetof(struct trap_info, frame_count),
               "one layout");
_Static_assert(offsetof(struct atoll_trap, truncated) == offsetof(struct trap_info, truncated),
               "one layout");
_Static_assert(offsetof(struct atoll_trap, frames) == offsetof(struct trap_info, frames),
               "one layout");
_Static_assert(offsetof(struct atoll_trap, message) == offsetof(struct trap_info, message),
               "one layout");
_Static_assert(sizeof(struct atoll_frame) == sizeof(struct trap_frame), "one layout");
_Static_assert(offsetof(struct atoll_frame, offset) == offsetof(struct trap_frame, wasm_offset),
               "one layout");
_Static_assert((int)ATOLL_DONE == (int)RUN_DONE && (int)ATOLL_TRAPPED == (int)RUN_TRAP &&
                   (int)ATOLL_EXITED == (int)RUN_EXIT &&
                   (int)ATOLL_INTERRUPTED == (int)RUN_INTERRUPTED &&
                   (int)ATOLL_PARKED == (int)RUN_PARKED,
               "one numbering");
_Static_assert((int)ATOLL_TRAP_SIGNATURE == (int)TRAP_SIGNATURE &&
                   (int)ATOLL_TRAP_STACK_EXHAUSTED == (int)TRAP_STACK_EXHAUSTED &&
                   (int)ATOLL_TRAP_FUEL == (int)TRAP_FUEL &&
                   (int)ATOLL_TRAP_ENGINE == (int)TRAP_ENGINE,
               "one numbering");
_Static_assert((int)ATOLL_EXTERNREF == (int)WASM_EXTERNREF &&
                   (int)ATOLL_FUNCREF == (int)WASM_FUNCREF && (int)ATOLL_V128 == (int)WASM_V128 &&
                   (int)ATOLL_F64 == (int)WASM_F64 && (int)ATOLL_F32 == (int)WASM_F32 &&
                   (int)ATOLL_I64 == (int)WASM_I64 && (int)ATOLL_I32 == (int)WASM_I32,
               "one numbering");

/* ---- external references ---- */

uint64_t atoll_externref_handle(struct atoll_arena *a, uint64_t value)
{
    return value ? arena_externref(a->arena, value) : 0;
}

uint64_t atoll_externref_value(const struct atoll_arena *a, uint64_t handle)
{
    return arena_externref_value(a->arena, handle);
}

/* ---- arguments and results ---- */

#define SLOTS_NEAR 16

/* Room for the arguments or results of a function; most fit into near. */
struct call_slots {
    union host_slot near[SLOTS_NEAR], *all;
};

static int slots_reserve(struct call_slots *s, struct wasm_signature signature, struct error *e)
{
    uint32_t count = signature.param_count > signature.result_count ? signature.param_count
                                                                    : signature.result_count;
    s->all = count <= SLOTS_NEAR ? s->near : malloc(count * sizeof *s->all);
    return s->all ? 0 : error_set(e, ATOLL_ENOMEM, "no memory for the arguments of a call");
}

static void slots_free(struct call_slots *s)
{
    if (s->all != s->near)
        free(s->all);
}

static int arguments_store(struct arena *arena, struct wasm_signature s,
                           const struct atoll_val *args, size_t count, union host_slot *slots,
                           struct error *e)
{
    if (count != s.param_count)
        return error_set(e, ATOLL_ETYPE, "the function takes %u arguments, %zu were given",
                         s.param_count, count);
    for (size_t k = 0; k < count; k++) {
        if (args[k].type != s.params[k])
            return error_set(e, ATOLL_ETYPE, "argument %zu is of type %s, not %s", k + 1,
                             wasm_type_name(s.params[k]), wasm_type_name(args[k].type));
        memcpy(&slots[k], &args[k].of, sizeof slots[k]);
        if (s.params[k] != WASM_EXTERNREF || !args[k].of.ref)
            continue;
        slots[k].u64 = arena_externref(arena, args[k].of.ref);
        if (!slots[k].u64)
            return error_set(e, ATOLL_ELIMIT, "the arena can hold no more external references");
    }
    return 0;
}

static void results_load(const struct arena *arena, struct wasm_signature s,
                         const union host_slot *slots, struct atoll_val *results, size_t count)
{
    for (size_t k = 0; k < count; k++) {
        results[k].type = s.results[k];
        memcpy(&results[k].of, &slots[k], sizeof slots[k]);
        if (s.results[k] == WASM_EXTERNREF)
            results[k].of.ref = arena_externref_value(arena, slots[k].u64);
    }
}

static int results_check(struct wasm_signature s, size_t count, struct error *e)
{
    return count == s.result_count
               ? 0
               : error_set(e, ATOLL_ETYPE, "the function has %u results, room is for %zu",
                           s.result_count, count);
}

/* ---- calls ---- */

static struct run_result *outcome_inside(struct atoll_outcome *outcome)
{
    return (struct run_result *)(void *)outcome;
}

static int invoke(struct instance *i, uint32_t function, const struct atoll_val *args,
                  size_t arg_count, struct atoll_val *results, size_t result_count,
                  struct atoll_outcome *outcome, struct error *e)
{
    const struct wasm_module *m = &i->artefact->module;
    if (function >= m->function_count)
        return error_set(e, ATOLL_EINVAL, "there is no function %u", function);
    struct wasm_signature s = wasm_function_signature(m, function);
    struct call_slots slots;
    int rc = results_check(s, result_count, e);
    if (rc < 0 || (rc = slots_reserve(&slots, s, e)) < 0)
        return rc;
    rc = arguments_store(i->arena, s, args, arg_count, slots.all, e);
    if (rc == 0)
        rc = instance_invoke(i, function, slots.all, outcome_inside(outcome), e);
    if (rc == 0 && outcome->status == ATOLL_DONE)
        results_load(i->arena, s, slots.all, results, result_count);
    slots_free(&slots);
    return rc;
}

int atoll_invoke(struct atoll_instance *instance, uint32_t function, const struct atoll_val *args,
                 size_t arg_count, struct atoll_val *results, size_t result_count,
                 struct atoll_outcome *outcome, struct atoll_error *error)
{
    struct error e = {0};
    struct instance *i = instance_inside(instance);
    int rc = arena_check(arena_outside(i->arena), &e);
    if (rc == 0)
        rc = invoke(i, function, args, arg_count, results, result_count, outcome, &e);
    return rc < 0 ? error_give(error, &e) : 0;
}

int atoll_start(struct atoll_instance *instance, struct atoll_outcome *outcome,
                struct atoll_error *error)
{
    struct error e = {0};
    struct instance *i = instance_inside(instance);
    int rc = arena_check(arena_outside(i->arena), &e);
    if (rc == 0)
        rc = instance_start(i, outcome_inside(outcome), &e);
    return rc < 0 ? error_give(error, &e) : 0;
}

static int resume(struct arena *arena, struct atoll_val *results, size_t result_count,
                  struct atoll_outcome *outcome, struct error *e)
{
    if (!arena_suspended(arena))
        return error_set(e, ATOLL_EBUSY, "the arena is not suspended");
    const struct context *c = &arena->context;
    const struct instance *i = arena->instances[c->running_instance];
    struct wasm_signature s = wasm_function_signature(&i->artefact->module, c->running_function);
    struct call_slots slots;
    int rc = result_count ? results_check(s, result_count, e) : 0;
    if (rc < 0 || (rc = slots_reserve(&slots, s, e)) < 0)
        return rc;
    rc = arena_resume(arena, slots.all, outcome_inside(outcome), e);
    if (rc == 0 && outcome->status == ATOLL_DONE)
        results_load(arena, s, slots.all, results, result_count);
    slots_free(&slots);
    return rc;
}

int atoll_resume(struct atoll_arena *a, struct atoll_val *results, size_t result_count,
                 struct atoll_outcome *outcome, struct atoll_error *error)
{
    struct error e = {0};
    int rc = resume(a->arena, results, result_count, outcome, &e);
    return rc < 0 ? error_give(error, &e) : 0;
}

void atoll_abandon(struct atoll_arena *a)
{
    arena_abandon(a->arena);
}

bool atoll_suspended(const struct atoll_arena *a)
{
    return arena_suspended(a->arena);
}

void atoll_interrupt(struct atoll_arena *a)
{
    arena_interrupt(a->arena);
}

const struct atoll_park *atoll_park(const struct atoll_arena *a)
{
    return (const struct atoll_park *)(const void *)arena_park(a->arena);
}

int atoll_wait(struct atoll_arena *a)
{
    return arena_wait(a->arena);
}

/* ---- traps ---- */

const char *atoll_trap_name(enum atoll_trap_kind kind)
{
    return trap_kind_name((enum trap_kind)kind);
}

int atoll_frame_place(const struct atoll_arena *a, const struct atoll_frame *frame,
                      struct atoll_place *out, struct atoll_error *error)
{
    const struct arena *arena = a->arena;
    if (frame->instance >= arena->instance_count ||
        frame->function >= arena->instances[frame->instance]->artefact->module.function_count) {
        struct error e;
        error_set(&e, ATOLL_ERANGE, "this is no frame of the arena");
        return error_give(error, &e);
    }
    const struct artefact *artefact = arena->instances[frame->instance]->artefact;
    out->function = artefact_source_function(artefact, frame->function, frame->offset);
    struct wasm_span name = wasm_function_name(&artefact->module, out->function);
    out->name = (const char *)artefact->module.bytes + name.offset;
    out->name_len = name.len;
    return 0;
}
