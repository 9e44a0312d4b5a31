/*
 * The life of a call: pending, a thread of its own, turns, waiting, its end.
 *
 * A turn is the right to run guest code; there are options.parallel of them. Whoever waits gives
 * its turn back first: to a call that has something to continue with, else to the deepest pending
 * call. Deepest first keeps the number of threads near the depth of the tree instead of its width.
 *
 * A call's end, whatever brought it, is call_finish: it closes what the call holds, cancels its
 * children, keeps its output, and wakes its parent when the parent's await has enough.
 */
#define _GNU_SOURCE
#include "node.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static _Thread_local struct native_call *current;

bool call_ended(const struct native_call *call)
{
    return call->status >= ATOLL_ST_OK;
}

static bool call_over(const struct native_call *call)
{
    return call->cancelled || native_clock_ns() >= call->deadline_ns;
}

/* ---- turns ---- */

static void *call_main(void *argument);

static struct native_call *pending_take(struct atoll_native *node)
{
    for (uint32_t depth = ATOLL_DEPTH_MAX + 1; depth-- > 0;) {
        struct native_call *call = node->pending[depth];
        if (!call)
            continue;
        node->pending[depth] = call->next_pending;
        if (!call->next_pending)
            node->pending_end[depth] = &node->pending[depth];
        return call;
    }
    return NULL;
}

static void call_finish(struct native_call *call, int32_t status, int32_t code);

/* A thread's stack holds its thread-local variables too, which ATOLL_PER_CALL makes as large as the
 * function likes: a stack that cannot hold them is refused with EINVAL. */
static bool thread_create(struct native_call *call)
{
    struct atoll_native *node = call->node;
    for (;;) {
        pthread_attr_t attributes;
        pthread_attr_init(&attributes);
        pthread_attr_setstacksize(&attributes, node->stack_bytes);
        int status = pthread_create(&call->thread, &attributes, call_main, call);
        pthread_attr_destroy(&attributes);
        if (status != EINVAL || node->stack_bytes >= NATIVE_STACK_BYTES_MAX)
            return status == 0;
        node->stack_bytes *= 2;
    }
}

/* Returns whether it has a thread now. */
static bool call_start(struct native_call *call)
{
    struct native_function *function = call->function;
    if (call_over(call)) {
        call_finish(call, call->cancelled ? ATOLL_ST_CANCELLED : ATOLL_ST_TIMEDOUT, 0);
        return false;
    }
    if (function->break_times > 0) {
        function->break_times--;
        call_finish(call, function->break_status,
                    function->break_status == ATOLL_ST_REJECTED ? -ATOLL_EREJECTED : 0);
        return false;
    }
    call->status = ATOLL_ST_RUNNING;
    call->started_ns = native_clock_ns();
    if (thread_create(call))
        return true;
    call_finish(call, ATOLL_ST_REJECTED, -ATOLL_ENOMEM);
    return false;
}

static void turns_give(struct atoll_native *node)
{
    while (node->running < node->options.parallel && node->turn_waiting == 0) {
        struct native_call *call = pending_take(node);
        if (!call)
            return;
        /* One that was cancelled meanwhile still stands in the queue. */
        if (!call_ended(call) && call_start(call))
            node->running++;
    }
    if (node->turn_waiting > 0)
        pthread_cond_signal(&node->turn);
}

static void turn_return(struct atoll_native *node)
{
    assert(node->running > 0);
    node->running--;
    turns_give(node);
}

static void turn_wait(struct atoll_native *node)
{
    node->turn_waiting++;
    while (node->running >= node->options.parallel)
        pthread_cond_wait(&node->turn, &node->lock);
    node->turn_waiting--;
    node->running++;
    if (node->turn_waiting > 0)
        pthread_cond_signal(&node->turn);
}

/* ---- waiting ---- */

uint64_t wait_end_ns(uint64_t timeout_ns)
{
    uint64_t now = native_clock_ns();
    return timeout_ns > UINT64_MAX - now ? UINT64_MAX : now + timeout_ns;
}

int call_wait(struct native_call *call, uint64_t until_ns)
{
    struct atoll_native *node = call->node;
    uint64_t end = until_ns < call->deadline_ns ? until_ns : call->deadline_ns;
    struct timespec when = {(time_t)(end / 1000000000u), (long)(end % 1000000000u)};
    if (call_over(call))
        return -ATOLL_ECANCELED;
    if (native_clock_ns() >= until_ns)
        return -ATOLL_ETIMEDOUT;
    call->next_waiting = node->waiting;
    call->previous_waiting = &node->waiting;
    if (node->waiting)
        node->waiting->previous_waiting = &call->next_waiting;
    node->waiting = call;
    /* Giving the turn back may already bring what is waited for. */
    call->woken = false;
    turn_return(node);
    int status = 0;
    while (!call->woken && status == 0)
        status = pthread_cond_timedwait(&call->wake, &node->lock, &when);
    *call->previous_waiting = call->next_waiting;
    if (call->next_waiting)
        call->next_waiting->previous_waiting = call->previous_waiting;
    turn_wait(node);
    if (call_over(call))
        return -ATOLL_ECANCELED;
    return status == ETIMEDOUT && native_clock_ns() >= until_ns ? -ATOLL_ETIMEDOUT : 0;
}

void call_yield(struct native_call *call)
{
    turn_return(call->node);
    turn_wait(call->node);
}

static void call_wake(struct native_call *call)
{
    call->woken = true;
    pthread_cond_signal(&call->wake);
}

void node_changed(struct atoll_native *node)
{
    for (struct native_call *call = node->waiting; call; call = call->next_waiting)
        call_wake(call);
}

/* ---- the end ---- */

static bool output_take(struct native_call *call)
{
    struct region *mapped = call->output_region;
    struct buffer whole = {0};
    call->output_region = NULL;
    if (!mapped)
        return true;
    bool good = buffer_add(&whole, mapped->address, mapped->len) &&
                buffer_add(&whole, call->output.data, call->output.len);
    free(call->output.data);
    call->output = whole;
    return good;
}

static bool call_try_again(struct native_call *call, int32_t status)
{
    bool may = status == ATOLL_ST_TRAPPED || status == ATOLL_ST_LOST || status == ATOLL_ST_REJECTED;
    if (!may || call->attempt >= call->retries || call_over(call))
        return false;
    call->attempt++;
    call->output.len = 0;
    call->status = ATOLL_ST_PENDING;
    /* The loop that found it pending takes it up again. */
    call->next_pending = call->node->pending[call->depth];
    if (!call->next_pending)
        call->node->pending_end[call->depth] = &call->next_pending;
    call->node->pending[call->depth] = call;
    return true;
}

static void parent_notify(struct native_call *call)
{
    struct native_call *parent = call_find(call->node, call->parent);
    if (!parent || call->await_weight == 0)
        return;
    parent->await_left -=
        call->await_weight < parent->await_left ? call->await_weight : parent->await_left;
    if (parent->await_left == 0)
        call_wake(parent);
}

static void call_finish(struct native_call *call, int32_t status, int32_t code)
{
    struct atoll_native *node = call->node;
    if (!output_take(call)) {
        status = ATOLL_ST_REJECTED;
        code = -ATOLL_ENOMEM;
    }
    regions_drop(call);
    handles_drop(call);
    for (struct native_call *child = call->first_child; child; child = child->next_sibling) {
        if (!(child->flags & ATOLL_CHAIN_DETACH))
            call_cancel(child);
    }
    if (call_try_again(call, status))
        return;
    if (status != ATOLL_ST_OK && status != ATOLL_ST_FAILED)
        call->output.len = 0;
    call->status = status;
    call->code = code;
    call->ended_ns = native_clock_ns();
    if (!call->started_ns)
        call->started_ns = call->ended_ns;
    node->live--;
    parent_notify(call);
    if (node->live == 0)
        pthread_cond_broadcast(&node->idle);
}

void call_cancel(struct native_call *call)
{
    if (call_ended(call) || call->cancelled)
        return;
    call->cancelled = true;
    if (call->status == ATOLL_ST_PENDING)
        call_finish(call, ATOLL_ST_CANCELLED, 0);
    else
        call_wake(call);
}

_Noreturn void call_end_now(struct native_call *call, int32_t status, int32_t code)
{
    call->status = status;
    call->code = code;
    longjmp(call->base, 1);
}

_Noreturn void call_over_end(struct native_call *call)
{
    call_end_now(call, call->cancelled ? ATOLL_ST_CANCELLED : ATOLL_ST_TIMEDOUT, 0);
}

/* Runs the guest's code without the lock; returns with it, however the guest ended. */
static void guest_run(struct native_call *call)
{
    struct atoll_native *node = call->node;
    if (setjmp(call->base) != 0)
        return;
    int32_t code = 0;
    call->zygote = call->function->zygote != NULL;
    pthread_mutex_unlock(&node->lock);
    if (call->zygote) {
        code = call->function->zygote();
        call->zygote = false;
    }
    if (code == 0)
        code = call->entry();
    pthread_mutex_lock(&node->lock);
    if (call_over(call))
        call_over_end(call);
    call_end_now(call, code == 0 ? ATOLL_ST_OK : ATOLL_ST_FAILED, code);
}

static void *call_main(void *argument)
{
    struct native_call *call = argument;
    struct atoll_native *node = call->node;
    pthread_mutex_lock(&node->lock);
    current = call;
    guest_run(call);
    current = NULL;
    call->zygote = false;
    int32_t status = call->status;
    call->status = ATOLL_ST_RUNNING;
    /* Each ending thread joins the one before, so that a run of many calls keeps no stacks. */
    if (node->has_last_thread)
        pthread_join(node->last_thread, NULL);
    node->last_thread = pthread_self();
    node->has_last_thread = true;
    call_finish(call, status, call->code);
    turn_return(node);
    pthread_mutex_unlock(&node->lock);
    return NULL;
}

/* ---- entering and leaving imports ---- */

struct native_call *call_enter_any(void)
{
    struct native_call *call = current;
    if (!call)
        return NULL;
    pthread_mutex_lock(&call->node->lock);
    if (call_over(call))
        call_over_end(call);
    return call;
}

struct native_call *call_enter(void)
{
    return current && current->zygote ? NULL : call_enter_any();
}

int64_t call_leave(struct native_call *call, int64_t result)
{
    pthread_mutex_unlock(&call->node->lock);
    return result;
}

/* ---- making and finding ---- */

struct native_call *call_find(struct atoll_native *node, uint64_t id)
{
    if (id < node->first_id || id - node->first_id >= node->call_count)
        return NULL;
    return node->calls[id - node->first_id];
}

static bool calls_reserve(struct atoll_native *node)
{
    if (node->call_count < node->call_capacity)
        return true;
    uint32_t capacity = node->call_capacity ? 2 * node->call_capacity : 64;
    struct native_call **larger = realloc(node->calls, capacity * sizeof *larger);
    if (!larger)
        return false;
    node->calls = larger;
    node->call_capacity = capacity;
    return true;
}

struct native_call *call_new(struct atoll_native *node, struct native_function *function,
                             const void *input, uint64_t len)
{
    pthread_condattr_t monotonic;
    struct native_call *call = calloc(1, sizeof *call);
    if (!call || !calls_reserve(node) || !buffer_add(&call->input, input, len)) {
        free(call);
        return NULL;
    }
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&call->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    call->node = node;
    call->function = function;
    call->entry = function->entry;
    call->id = call->app = node->first_id + node->call_count;
    call->count = 1;
    call->queued_ns = native_clock_ns();
    call->deadline_ns = wait_end_ns(node->options.timeout_ns);
    node->calls[node->call_count++] = call;
    return call;
}

void call_queue(struct native_call *call)
{
    struct atoll_native *node = call->node;
    node->live++;
    call->next_pending = NULL;
    *node->pending_end[call->depth] = call;
    node->pending_end[call->depth] = &call->next_pending;
    turns_give(node);
}

void call_free(struct native_call *call)
{
    regions_drop(call);
    pthread_cond_destroy(&call->wake);
    free(call->handles);
    free(call->input.data);
    free(call->output.data);
    free(call->http_head.data);
    free(call->http_headers.data);
    free(call);
}
