/* Arguments, environment, exit, signals, randomness and yielding. */
#define _GNU_SOURCE
#include "sandbox/wasi/world.h"

#include "base/random.h"

#include <stdio.h>

#define CHUNK 1024u /* of random bytes at a time */

/* Writes the strings to `bytes` and their addresses to the array `pointers`. */
static uint16_t strings_give(struct host_call *call, const struct strings *s, uint32_t pointers,
                             uint32_t bytes)
{
    if (call_room(call, pointers, (uint64_t)s->count * 4) != WASI_SUCCESS ||
        guest_write(call->arena, bytes, s->bytes, s->len) != 0) {
        return WASI_EFAULT;
    }
    uint32_t offset = 0;
    for (uint32_t i = 0; i < s->count; i++) {
        if (call_store_u32(call, pointers + 4 * i, bytes + offset) != WASI_SUCCESS) {
            return WASI_EFAULT;
        }
        offset += (uint32_t)strlen(s->bytes + offset) + 1;
    }
    return WASI_SUCCESS;
}

static uint16_t strings_sizes(struct host_call *call, const struct strings *s)
{
    uint16_t error = call_store_u32(call, call->slots[0].u32, s->count);
    return error != WASI_SUCCESS ? error : call_store_u32(call, call->slots[1].u32, s->len);
}

enum host_status preview1_args_get(struct host_call *call)
{
    return call_done(
        call, strings_give(call, &call_world(call)->args, call->slots[0].u32, call->slots[1].u32));
}

enum host_status preview1_args_sizes_get(struct host_call *call)
{
    return call_done(call, strings_sizes(call, &call_world(call)->args));
}

enum host_status preview1_environ_get(struct host_call *call)
{
    return call_done(
        call, strings_give(call, &call_world(call)->env, call->slots[0].u32, call->slots[1].u32));
}

enum host_status preview1_environ_sizes_get(struct host_call *call)
{
    return call_done(call, strings_sizes(call, &call_world(call)->env));
}

enum host_status preview1_proc_exit(struct host_call *call)
{
    call->exit_code = call->slots[0].i32;
    return HOST_EXIT;
}

enum host_status preview1_proc_raise(struct host_call *call)
{
    static const char *const names[] = {
        "NONE", "HUP",  "INT",  "QUIT",   "ILL",  "TRAP",  "ABRT", "BUS",  "FPE",  "KILL", "USR1",
        "SEGV", "USR2", "PIPE", "ALRM",   "TERM", "CHLD",  "CONT", "STOP", "TSTP", "TTIN", "TTOU",
        "URG",  "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "POLL", "PWR",  "SYS",
    };
    uint32_t signal = call->slots[0].u32;
    if (signal == 0 || signal >= sizeof names / sizeof names[0]) {
        return call_done(call, signal == 0 ? WASI_SUCCESS : WASI_EINVAL);
    }
    snprintf(call->message, sizeof call->message, "the program raised SIG%s", names[signal]);
    return HOST_TRAP;
}

enum host_status preview1_random_get(struct host_call *call)
{
    uint32_t len = call->slots[1].u32;
    if (len > WASI_MAX_RANDOM) {
        return call_done(call, WASI_EINVAL);
    }
    uint8_t chunk[CHUNK];
    uint16_t error = call_room(call, call->slots[0].u32, len);
    for (uint32_t done = 0; done < len && error == WASI_SUCCESS;) {
        uint32_t part = len - done < CHUNK ? len - done : CHUNK;
        if (random_bytes(chunk, part) != 0) {
            error = WASI_EIO;
        } else if (guest_write(call->arena, call->slots[0].u32 + done, chunk, part) != 0) {
            error = WASI_EFAULT;
        }
        done += part;
    }
    explicit_bzero(chunk, len < CHUNK ? len : CHUNK);
    return call_done(call, error);
}

/* There is nobody to yield to: a guest has one thread, and workers are preempted. */
enum host_status preview1_sched_yield(struct host_call *call)
{
    return call_done(call, WASI_SUCCESS);
}
