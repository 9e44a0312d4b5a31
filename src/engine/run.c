/*
 * Running guests: invoke, the dispatch of host calls, suspension and resumption.
 *
 * One host-to-guest entry is one call of gate_enter, gate_return or signals_resume. It ends with a
 * LEAVE_ status. A host function may call guest functions again; entries nest on both stacks, and a
 * suspended run (interrupted or parked) belongs to the innermost entry.
 */
#define _GNU_SOURCE
#include "engine/arena.h"

#include "base/clock.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_STACK_TOP \
    (48ull << 20) /* room for a primary's tables when linked modules run first */
#define RED_ZONE 128u

typedef int (*gate_function)(struct context *);

/* ---- host calls ---- */

static union host_slot *call_slots(const struct instance *i)
{
    return (union host_slot *)(void *)(i->vm - i->artefact->layout.area);
}

static struct instance *instance_of_vm(const struct arena *a, uint8_t *vm)
{
    uint64_t index = (uint64_t)*arena_field(vm, FIELD_INSTANCE);
    assert(index < a->instance_count && a->instances[index]->vm == vm);
    return a->instances[index];
}

static int dispatch_builtin(struct context *c, struct instance *i, uint32_t number,
                            struct host_park *park, bool resumed)
{
    int outcome = builtin_gate(i, number, call_slots(i), park, resumed);
    if (outcome == BUILTIN_PARK)
        return LEAVE_PARKED;
    if (outcome) {
        c->trap_kind = (enum trap_kind)outcome;
        return LEAVE_TRAP;
    }
    return LEAVE_DONE;
}

static int dispatch_import(struct context *c, struct instance *i, uint32_t function,
                           struct host_park *park, bool resumed)
{
    const struct import_binding *binding = &i->bindings[function];
    assert(function < i->artefact->module.imported_functions && binding->function);
    struct host_call call = {
        .arena = c->arena,
        .data = binding->data,
        .slots = call_slots(i),
        .park = park,
        .resumed = resumed,
    };
    switch (binding->function(&call)) {
    case HOST_DONE: return LEAVE_DONE;
    case HOST_PARK: return LEAVE_PARKED;
    case HOST_EXIT: c->exit_code = call.exit_code; return LEAVE_EXIT;
    default:
        memcpy(c->message, call.message, sizeof c->message);
        c->trap_kind = TRAP_HOST;
        return LEAVE_TRAP;
    }
}

/* Notes what the arena waits for; a LEAVE_ status. */
static int park_keep(struct context *c, uint8_t *vm, uint32_t number, const struct host_park *park)
{
    if (!c->park && !(c->park = malloc(sizeof *c->park))) {
        snprintf(c->message, sizeof c->message, "no memory to wait");
        c->trap_kind = TRAP_HOST;
        return LEAVE_TRAP;
    }
    c->park->deadline_ns = park->deadline_ns;
    c->park->fd_count = park->fd_count;
    memmove(c->park->fds, park->fds, park->fd_count * sizeof *park->fds);
    c->pending_vm = (uint64_t)(uintptr_t)vm;
    c->pending_number = number;
    return LEAVE_PARKED;
}

/* park: the record of a call that is retried, NULL for a new call. */
static int dispatch(struct context *c, uint8_t *vm, uint32_t number, struct host_park *park)
{
    struct arena *a = c->arena;
    struct instance *i = instance_of_vm(a, vm), *outer = a->caller;
    struct host_park fresh;
    bool resumed = park != NULL;
    if (!resumed) {
        c->gate_calls++;
        fresh.fd_count = 0;
        fresh.deadline_ns = HOST_NO_DEADLINE;
        park = &fresh;
    }
    a->caller = i;
    int status = number < GATE_IMPORT ? dispatch_builtin(c, i, number, park, resumed)
                                      : dispatch_import(c, i, number - GATE_IMPORT, park, resumed);
    a->caller = outer;
    signals_release_kick();
    return status == LEAVE_PARKED ? park_keep(c, vm, number, park) : status;
}

int context_dispatch(struct context *c, uint8_t *vm, uint32_t number)
{
    return dispatch(c, vm, number, NULL);
}

/* ---- leaving the guest ---- */

static void trap_describe(struct context *c, struct trap_info *info)
{
    const struct arena *a = c->arena;
    info->kind = c->trap_kind;
    info->message[0] = 0;
    uint64_t pc = c->trap_pc, rbp = c->trap_rbp;
    if (c->trap_kind == TRAP_HOST)
        memcpy(info->message, c->message, sizeof info->message);
    if (c->trap_kind == TRAP_ENGINE)
        snprintf(info->message, sizeof info->message, "fault at code address +0x%llx, data 0x%llx",
                 (unsigned long long)(pc - (uint64_t)(uintptr_t)a->base),
                 (unsigned long long)c->trap_address);
    if (!pc) /* raised by a host call: behind gate_call's pushes lie rbp and the return address */
        rbp = c->guest_rsp + 40;
    backtrace_fill(a, pc, rbp, info);
}

/* Turns the status of an entry that has ended into the caller's result. */
static void run_finish(struct context *c, int status, struct run_result *result)
{
    switch (status) {
    case LEAVE_DONE: result->status = RUN_DONE; break;
    case LEAVE_EXIT:
        result->status = RUN_EXIT;
        result->exit_code = c->exit_code;
        break;
    case LEAVE_TRAP:
        result->status = RUN_TRAP;
        trap_describe(c, &result->trap);
        break;
    case LEAVE_PARKED:
        result->status = RUN_PARKED;
        c->suspended_rsp = c->guest_rsp;
        break;
    default:
        if (status == LEAVE_INTERRUPTED && signals_keep_vectors(c) < 0) {
            c->trap_kind = TRAP_HOST;
            snprintf(c->message, sizeof c->message, "no memory to keep the registers");
            run_finish(c, LEAVE_TRAP, result);
            return;
        }
        result->status = RUN_INTERRUPTED;
        c->suspended_rsp = c->guest_rsp;
        atomic_store(&c->stop, 0);
        break;
    }
    c->suspended =
        result->status == RUN_PARKED || result->status == RUN_INTERRUPTED ? (uint32_t)status : 0;
    c->suspended_depth = c->depth;
}

int arena_prepare(struct arena *a, struct error *e)
{
    int rc = signals_prepare_thread(e);
    if (rc == 0)
        rc = arena_map_fields(a, e);
    if (rc == 0 && !a->stack_low)
        rc = arena_map_stack(a, DEFAULT_STACK_TOP, e);
    return rc;
}

/* What an entry needs to put back when it ends. */
struct entry {
    uint64_t host_rsp, guest_rsp;
    struct arena *previous;
};

static struct entry entry_begin(struct context *c)
{
    struct entry entry = {c->host_rsp, c->guest_rsp, signals_enter_arena(c->arena)};
    *arena_field(c->arena->base, FIELD_CONTEXT) = (int64_t)(uintptr_t)c;
    c->trap_pc = 0;
    c->depth++;
    signals_release_kick();
    return entry;
}

static void entry_end(struct context *c, const struct entry *entry, int status,
                      struct run_result *result)
{
    run_finish(c, status, result);
    c->depth--;
    c->host_rsp = entry->host_rsp;
    c->guest_rsp = entry->guest_rsp;
    signals_leave_arena(entry->previous);
}

static int gate_run(struct context *c, const char *label)
{
    return ((gate_function)(uintptr_t)arena_gate(c->arena, label))(c);
}

/* ---- calls ---- */

static struct wasm_signature running_signature(const struct context *c)
{
    const struct instance *i = c->arena->instances[c->running_instance];
    return wasm_function_signature(&i->artefact->module, c->running_function);
}

static void results_deliver(const struct context *c, union host_slot *slots)
{
    const struct instance *i = c->arena->instances[c->running_instance];
    memcpy(slots, call_slots(i), running_signature(c).result_count * sizeof *slots);
}

static int call_prepare(struct instance *i, uint32_t function, const union host_slot *slots,
                        struct error *e)
{
    const struct artefact *artefact = i->artefact;
    const struct wasm_module *m = &artefact->module;
    struct context *c = &i->arena->context;
    if (function >= m->function_count)
        return error_set(e, ATOLL_EINVAL, "there is no function %u", function);
    uint32_t thunk = artefact->entry_offsets[m->types[m->functions[function].type].canonical];
    if (thunk == UINT32_MAX)
        return error_set(e, ATOLL_EINVAL,
                         "function %u is neither exported nor referenced: it cannot be called from "
                         "outside",
                         function);
    c->thunk = (uint64_t)(uintptr_t)i->arena->base - ARENA_BASE + i->image_offset + thunk;
    instance_callee(i, function, &c->code, &c->vm);
    c->area = (uint64_t)(uintptr_t)call_slots(i);
    c->running_instance = i->index;
    c->running_function = function;
    memcpy(call_slots(i), slots, running_signature(c).param_count * sizeof *slots);
    return 0;
}

int instance_invoke(struct instance *i, uint32_t function, union host_slot *slots,
                    struct run_result *result, struct error *e)
{
    struct arena *a = i->arena;
    struct context *c = &a->context;
    if (c->suspended)
        return error_set(e, ATOLL_EBUSY, "the arena is suspended: resume or abandon it first");
    if (c->depth == ENTRY_DEPTH_MAX)
        return error_set(e, ATOLL_ELIMIT, "more than %d calls into the guest are nested",
                         ENTRY_DEPTH_MAX);
    int rc = arena_prepare(a, e);
    if (rc < 0 || (rc = call_prepare(i, function, slots, e)) < 0)
        return rc;
    struct entry entry = entry_begin(c);
    c->guest_rsp =
        c->depth == 1 ? (uint64_t)(uintptr_t)a->stack_high : (c->guest_rsp - RED_ZONE) & ~15ull;
    uint32_t instance = c->running_instance, running = c->running_function;
    int status = gate_run(c, gate_enter);
    c->running_instance = instance; /* nested calls have their own */
    c->running_function = running;
    entry_end(c, &entry, status, result);
    if (result->status == RUN_DONE)
        results_deliver(c, slots);
    return 0;
}

int instance_start(struct instance *i, struct run_result *result, struct error *e)
{
    union host_slot none;
    uint32_t start = i->artefact->module.start;
    result->status = RUN_DONE;
    return start == UINT32_MAX ? 0 : instance_invoke(i, start, &none, result, e);
}

/* Retries the pending host call; the status it ends with, LEAVE_DONE = return to the guest. A stop
 * request leaves it parked: arena_wait reports the request. */
static int pending_retry(struct context *c)
{
    if (atomic_load(&c->stop))
        return LEAVE_PARKED;
    return dispatch(c, (uint8_t *)(uintptr_t)c->pending_vm, c->pending_number, c->park);
}

int arena_resume(struct arena *a, union host_slot *slots, struct run_result *result,
                 struct error *e)
{
    struct context *c = &a->context;
    uint32_t how = c->suspended;
    if (!how || c->depth != c->suspended_depth - 1)
        return error_set(e, ATOLL_EBUSY,
                         how ? "only the call that was suspended may be resumed"
                             : "the arena is not suspended");
    int rc = arena_prepare(a, e);
    if (rc < 0)
        return rc;
    c->suspended = 0;
    struct entry entry = entry_begin(c);
    uint32_t instance = c->running_instance, running = c->running_function;
    c->guest_rsp = c->suspended_rsp;
    int status = how == LEAVE_PARKED ? pending_retry(c) : LEAVE_DONE;
    if (status == LEAVE_DONE)
        status = how == LEAVE_INTERRUPTED
                     ? signals_resume(c)
                     : gate_run(c, how == LEAVE_AT_ENTER ? gate_enter : gate_return);
    c->running_instance = instance;
    c->running_function = running;
    entry_end(c, &entry, status, result);
    if (result->status == RUN_DONE)
        results_deliver(c, slots);
    return 0;
}

void arena_abandon(struct arena *a)
{
    a->context.suspended = 0;
}

bool arena_suspended(const struct arena *a)
{
    return a->context.suspended != 0;
}

const struct host_park *arena_park(const struct arena *a)
{
    return a->context.suspended == LEAVE_PARKED ? a->context.park : NULL;
}

void arena_interrupt(struct arena *a)
{
    atomic_store(&a->context.stop, 1);
    int thread = atomic_load(&a->context.runner);
    if (thread)
        signals_kick(thread);
}

int arena_wait(struct arena *a)
{
    struct context *c = &a->context;
    const struct host_park *park = c->park;
    if (c->suspended != LEAVE_PARKED)
        return 0;
    struct arena *previous = signals_enter_arena(a);
    sigset_t before;
    signals_hold_kick(&before); /* so that a request between the test and the wait is not lost */
    int rc = 0;
    for (;;) {
        if (atomic_exchange(&c->stop, 0)) {
            rc = -ATOLL_ECANCELED;
            break;
        }
        bool forever = park->deadline_ns == HOST_NO_DEADLINE;
        int64_t left = forever ? 0 : park->deadline_ns - clock_monotonic_ns();
        if (!forever && left <= 0)
            break;
        struct timespec timeout = {left / 1000000000, left % 1000000000};
        int ready = ppoll(c->park->fds, park->fd_count, forever ? NULL : &timeout, &before);
        if (ready > 0 || (ready < 0 && errno != EINTR))
            break;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    signals_leave_arena(previous);
    return rc;
}

void arena_fuel_set(struct arena *a, int64_t fuel)
{
    if (a->fields_mapped)
        *arena_field(a->base, FIELD_FUEL) = fuel;
}

int64_t arena_fuel(const struct arena *a)
{
    return a->fields_mapped ? *arena_field(a->base, FIELD_FUEL) : 0;
}
