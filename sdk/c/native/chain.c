/*
 * Chaining: starting calls, waiting for them, reading what they made.
 */
#define _GNU_SOURCE
#include "node.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define CHAIN_FLAGS  (ATOLL_CHAIN_DETACH | ATOLL_CHAIN_LOCAL | ATOLL_CHAIN_FRESH | ATOLL_CHAIN_GANG)
#define PRIORITY_MAX 9u
#define RETRIES_MAX  100u

static bool pattern_matches(const char *pattern, const char *name)
{
    size_t len = strlen(pattern);
    if (len > 0 && pattern[len - 1] == '*')
        return strncmp(pattern, name, len - 1) == 0;
    return strcmp(pattern, name) == 0;
}

/* Whether `call` in the caller's manifest names the callee; without one, its own tenant. */
static bool callee_permitted(const struct native_call *call, const char *name)
{
    const struct manifest_lines *callees = &call->function->callees;
    size_t tenant = (size_t)(strchr(call->function->name, '/') - call->function->name) + 1;
    if (callees->count == 0)
        return strncmp(call->function->name, name, tenant) == 0;
    for (uint32_t i = 0; i < callees->count; i++) {
        if (pattern_matches(callees->items[i].first, name))
            return true;
    }
    return false;
}

static int options_check(const struct atoll_chain_opts *given, struct atoll_chain_opts *options)
{
    *options = (struct atoll_chain_opts){.size = sizeof *options};
    if (!given)
        return 0;
    if (given->size < sizeof *given)
        return -ATOLL_EINVAL;
    *options = *given;
    if (options->flags & ~(uint32_t)CHAIN_FLAGS || options->priority > PRIORITY_MAX ||
        options->retries > RETRIES_MAX)
        return -ATOLL_EINVAL;
    if (options->affinity_ptr &&
        !key_valid(atoll_pointer(options->affinity_ptr), options->affinity_len))
        return -ATOLL_EINVAL;
    return 0;
}

/* Nothing is started before everything has been made. */
static struct native_call *child_new(struct native_call *parent, struct native_function *function,
                                     const void *input, uint64_t len,
                                     const struct atoll_chain_opts *options)
{
    struct native_call *child = call_new(parent->node, function, input, len);
    if (!child)
        return NULL;
    uint64_t end = options->timeout_ns ? wait_end_ns(options->timeout_ns) : child->deadline_ns;
    child->app = parent->app;
    child->parent = parent->id;
    child->depth = parent->depth + 1;
    child->flags = options->flags;
    child->retries = options->retries;
    child->deadline_ns = end < parent->deadline_ns || (options->flags & ATOLL_CHAIN_DETACH)
                             ? end
                             : parent->deadline_ns;
    return child;
}

static void child_adopt(struct native_call *parent, struct native_call *child)
{
    child->next_sibling = parent->first_child;
    parent->first_child = child;
    parent->children++;
    call_queue(child);
}

static int admission_check(const struct native_call *call, uint32_t n)
{
    if (call->depth >= ATOLL_DEPTH_MAX)
        return -ATOLL_ELIMIT;
    if (n > call->node->options.children_max ||
        call->children > call->node->options.children_max - n)
        return -ATOLL_ELIMIT;
    return 0;
}

static int function_find(struct native_call *call, atoll_in fn, uint32_t fnlen,
                         struct native_function **function)
{
    *function = native_function_find(call->node, fn, fnlen);
    if (*function)
        return callee_permitted(call, (*function)->name) ? 0 : -ATOLL_EPERM;
    return -ATOLL_ENOENT;
}

static int chain_one(struct native_call *call, struct native_function *function,
                     int32_t (*entry)(void), atoll_in in, uint64_t inlen,
                     const struct atoll_chain_opts *opts, atoll_call_t *id)
{
    struct atoll_chain_opts options;
    int error = options_check(opts, &options);
    if (!error && !id && !(options.flags & ATOLL_CHAIN_DETACH))
        error = -ATOLL_EINVAL;
    if (!error)
        error = admission_check(call, 1);
    if (error)
        return error;
    struct native_call *child = child_new(call, function, in, inlen, &options);
    if (!child)
        return -ATOLL_ENOMEM;
    child->entry = entry;
    if (id)
        *id = child->id;
    child_adopt(call, child);
    return 0;
}

int32_t atoll_chain(atoll_in fn, uint32_t fnlen, atoll_in in, uint64_t inlen,
                    const struct atoll_chain_opts *opts, atoll_call_t *id)
{
    struct native_call *call = call_enter();
    struct native_function *function;
    if (!call)
        return -ATOLL_EPERM;
    int error = function_find(call, fn, fnlen, &function);
    if (!error)
        error = chain_one(call, function, function->entry, in, inlen, opts, id);
    return (int32_t)call_leave(call, error);
}

int32_t atoll_chain_fn(atoll_addr table_index, atoll_in in, uint64_t inlen,
                       const struct atoll_chain_opts *opts, atoll_call_t *id)
{
    struct native_call *call = call_enter();
    int32_t (*entry)(void) = NULL;
    if (!call)
        return -ATOLL_EPERM;
    memcpy(&entry, &table_index, sizeof entry);
    int error = entry ? chain_one(call, call->function, entry, in, inlen, opts, id) : -ATOLL_EINVAL;
    return (int32_t)call_leave(call, error);
}

static int offsets_check(const uint64_t *offs, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (offs[i] > offs[i + 1])
            return -ATOLL_EINVAL;
    }
    return 0;
}

static void children_discard(struct atoll_native *node, uint32_t keep)
{
    while (node->call_count > keep)
        call_free(node->calls[--node->call_count]);
}

static int chain_many(struct native_call *call, struct native_function *function, uint32_t n,
                      const uint64_t *offs, const uint8_t *blob,
                      const struct atoll_chain_opts *options, atoll_call_t *ids)
{
    struct atoll_native *node = call->node;
    uint32_t first = node->call_count;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t len = offs[i + 1] - offs[i];
        struct native_call *child =
            child_new(call, function, len ? blob + offs[i] : NULL, len, options);
        if (!child) {
            children_discard(node, first);
            return -ATOLL_ENOMEM;
        }
        child->index = i;
        child->count = n;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (ids)
            ids[i] = node->calls[first + i]->id;
        child_adopt(call, node->calls[first + i]);
    }
    return 0;
}

int32_t atoll_chain_batch(atoll_in fn, uint32_t fnlen, uint32_t n, const uint64_t *offs,
                          atoll_in blob, const struct atoll_chain_opts *opts, atoll_call_t *ids)
{
    struct native_call *call = call_enter();
    struct native_function *function;
    struct atoll_chain_opts options;
    if (!call)
        return -ATOLL_EPERM;
    int error = options_check(opts, &options);
    if (!error && n > 0 && !ids && !(options.flags & ATOLL_CHAIN_DETACH))
        error = -ATOLL_EINVAL;
    if (!error)
        error = function_find(call, fn, fnlen, &function);
    if (!error)
        error = admission_check(call, n);
    if (!error)
        error = offsets_check(offs, n);
    if (!error)
        error = chain_many(call, function, n, offs, blob, &options, ids);
    return (int32_t)call_leave(call, error);
}

/* ---- await ---- */

static struct native_call *child_find(struct native_call *call, atoll_call_t id)
{
    struct native_call *child = call_find(call->node, id);
    bool known = child && child->parent == call->id && !child->forgotten &&
                 !(child->flags & ATOLL_CHAIN_DETACH);
    return known ? child : NULL;
}

static struct atoll_result result_of(const struct native_call *child)
{
    struct atoll_result result = {.id = child->id, .status = child->status, .node = 1};
    if (!call_ended(child))
        return result;
    result.code = child->code;
    result.out_len = child->output.len;
    result.queue_ns = child->started_ns - child->queued_ns;
    result.run_ns = child->ended_ns - child->started_ns;
    return result;
}

static void weights_set(struct native_call *call, const atoll_call_t *ids, uint32_t n, bool on)
{
    for (uint32_t i = 0; i < n; i++) {
        struct native_call *child = child_find(call, ids[i]);
        child->await_weight = on ? child->await_weight + 1 : 0;
    }
}

static uint32_t ended_count(struct native_call *call, const atoll_call_t *ids, uint32_t n)
{
    uint32_t ended = 0;
    for (uint32_t i = 0; i < n; i++)
        ended += call_ended(child_find(call, ids[i]));
    return ended;
}

/* Leaves how many have ended. 0, or what call_wait says. */
static int children_wait(struct native_call *call, const atoll_call_t *ids, uint32_t n,
                         uint32_t min_done, uint64_t timeout_ns)
{
    uint64_t end = timeout_ns == ATOLL_FOREVER ? ATOLL_FOREVER : wait_end_ns(timeout_ns);
    uint32_t ended = ended_count(call, ids, n);
    int status = 0;
    if (ended >= min_done)
        return 0;
    weights_set(call, ids, n, true);
    call->await_left = min_done - ended;
    while (call->await_left > 0 && status == 0)
        status = call_wait(call, end);
    call->await_left = 0;
    weights_set(call, ids, n, false);
    return status;
}

static int await_check(struct native_call *call, const atoll_call_t *ids, uint32_t n,
                       uint32_t min_done)
{
    if (min_done > n)
        return -ATOLL_EINVAL;
    if (n > ATOLL_CHILDREN_MAX)
        return -ATOLL_ELIMIT;
    for (uint32_t i = 0; i < n; i++) {
        if (!child_find(call, ids[i]))
            return -ATOLL_ENOENT;
    }
    return 0;
}

int32_t atoll_await(const atoll_call_t *ids, uint32_t n, uint32_t min_done, uint64_t timeout_ns,
                    struct atoll_result *out)
{
    struct native_call *call = call_enter();
    if (!call)
        return -ATOLL_EPERM;
    int error = await_check(call, ids, n, min_done);
    if (error)
        return (int32_t)call_leave(call, error);
    /* One that only looks, again and again, must see something happen. */
    if (timeout_ns == 0)
        call_yield(call);
    if (children_wait(call, ids, n, min_done, timeout_ns) == -ATOLL_ECANCELED)
        call_over_end(call);
    for (uint32_t i = 0; i < n; i++)
        out[i] = result_of(child_find(call, ids[i]));
    uint32_t ended = ended_count(call, ids, n);
    return (int32_t)call_leave(call, ended < min_done ? -ATOLL_ETIMEDOUT : (int64_t)ended);
}

/* ---- results ---- */

int64_t atoll_result_read(atoll_call_t id, uint64_t off, atoll_out buf, uint64_t len)
{
    struct native_call *call = call_enter();
    if (!call)
        return -ATOLL_EPERM;
    struct native_call *child = child_find(call, id);
    if (len > UINT64_MAX - off)
        return call_leave(call, -ATOLL_ERANGE);
    if (!child)
        return call_leave(call, -ATOLL_ENOENT);
    if (!call_ended(child))
        return call_leave(call, -ATOLL_EAGAIN);
    uint64_t rest = off < child->output.len ? child->output.len - off : 0;
    uint64_t copied = len < rest ? len : rest;
    if (copied > 0)
        memcpy(buf, child->output.data + off, copied);
    return call_leave(call, (int64_t)copied);
}

int32_t atoll_result_map(atoll_call_t id, atoll_addr *addr)
{
    struct native_call *call = call_enter();
    if (!call)
        return -ATOLL_EPERM;
    struct native_call *child = child_find(call, id);
    if (!child || (call_ended(child) && child->output.len == 0))
        return (int32_t)call_leave(call, -ATOLL_ENOENT);
    if (!call_ended(child))
        return (int32_t)call_leave(call, -ATOLL_EAGAIN);
    struct region *region = region_at(call, REGION_RESULT, id);
    if (!region) {
        region = region_new(call, REGION_RESULT, child->output.len);
        if (!region)
            return (int32_t)call_leave(call, -ATOLL_ENOMEM);
        region->owner = id;
        memcpy(region->base, child->output.data, child->output.len);
        mprotect(region->base, region->map_bytes, PROT_READ);
    }
    *addr = (atoll_addr)region->address;
    return (int32_t)call_leave(call, 0);
}

int32_t atoll_cancel(atoll_call_t id)
{
    struct native_call *call = call_enter();
    if (!call)
        return -ATOLL_EPERM;
    struct native_call *child = child_find(call, id);
    if (child)
        call_cancel(child);
    return (int32_t)call_leave(call, child ? 0 : -ATOLL_ENOENT);
}

int32_t atoll_forget(atoll_call_t id)
{
    struct native_call *call = call_enter();
    if (!call)
        return -ATOLL_EPERM;
    struct native_call *child = child_find(call, id);
    if (!child)
        return (int32_t)call_leave(call, -ATOLL_ENOENT);
    if (!call_ended(child))
        return (int32_t)call_leave(call, -ATOLL_EBUSY);
    child->forgotten = true;
    child->output.len = 0;
    free(child->output.data);
    child->output = (struct buffer){0};
    return (int32_t)call_leave(call, 0);
}
