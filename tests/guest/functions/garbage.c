/*
 * Calls the functions of its host with whatever its input says, to see that no argument hurts.
 *
 * The input is a stream of calls: a byte that names the function, then for each of its parameters a
 * byte that says what the value is (enum kind) and its number, 8 bytes for a raw one, else 2. Calls
 * end with the stream. The output is how many were made.
 */
#include "garbage.h"

#include <atoll.h>

enum kind {
    RAW,          /* any 64 bits */
    SMALL,        /* the number */
    SCRATCH,      /* a pointer into the scratch memory */
    MEMORY_END,   /* so many bytes before the end of memory */
    LAST_ID,      /* of a child */
    LAST_ADDRESS, /* of a mapping, plus the number */
    NAME,         /* a pointer to "noop" */
    OPTIONS,      /* a pointer to good options */
    IDS,          /* a pointer to the last ids */
    LAST_HANDLE,
    KINDS
};

#define PARAMETERS_MAX 9
#define STREAM_MAX     8192

static uint8_t stream[STREAM_MAX], scratch[65536];
static const char name[] = "noop";
static struct atoll_chain_opts options = {.size = sizeof(struct atoll_chain_opts)};
static atoll_call_t ids[64];
static atoll_addr last_address;
static int32_t last_handle;
static uint32_t at, len;

static uint64_t take(uint32_t bytes)
{
    uint64_t value = 0;
    for (uint32_t k = 0; k < bytes && at < len; k++)
        value |= (uint64_t)stream[at++] << (8 * k);
    return value;
}

static uint64_t parameter(void)
{
    uint32_t kind = (uint32_t)take(1) % KINDS;
    uint64_t number = take(kind == RAW ? 8 : 2);
    switch (kind) {
    case RAW:
    case SMALL: return number;
    case SCRATCH: return (uint64_t)(uintptr_t)(scratch + number % sizeof scratch);
    case MEMORY_END: return (uint64_t)__builtin_wasm_memory_size(0) * 65536 - number;
    case LAST_ID: return ids[number % 64];
    case LAST_ADDRESS: return (uint64_t)last_address + number;
    case NAME: return (uint64_t)(uintptr_t)name;
    case OPTIONS: return (uint64_t)(uintptr_t)&options;
    case IDS: return (uint64_t)(uintptr_t)ids;
    default: return (uint64_t)(uint32_t)last_handle;
    }
}

#define P(k) ((void *)(uintptr_t)(uint32_t)s[k])
#define U(k) ((uint32_t)s[k])
#define I(k) ((int32_t)s[k])

static int64_t call(uint32_t function, const uint64_t *s)
{
    int64_t r;
    switch (function) {
    case 0: return atoll_call_info(P(0));
    case 1: return atoll_input_size();
    case 2: return atoll_input_read(s[0], P(1), s[2]);
    case 3: r = atoll_input_map(P(0)); break;
    case 4: return atoll_output_write(P(0), s[1]);
    case 5: return atoll_output_set(P(0), s[1]);
    case 6: r = atoll_output_map(s[0], P(1)); break;
    case GARBAGE_FAIL: atoll_fail(I(0), P(1), U(2));
    case 8: return atoll_log(U(0), P(1), U(2));
    case 9: return atoll_config(P(0), U(1), P(2), s[3]);
    case 10: return atoll_http_head(P(0), s[1]);
    case 11: return atoll_http_reply(U(0), P(1), U(2));
    case 12: return atoll_chain(P(0), U(1), P(2), s[3], P(4), P(5));
    case 13: return atoll_chain_fn(U(0), P(1), s[2], P(3), P(4));
    case 14: return atoll_chain_batch(P(0), U(1), U(2), P(3), P(4), P(5), P(6));
    case 15: return atoll_await(P(0), U(1), U(2), s[3], P(4));
    case 16: return atoll_result_read(s[0], s[1], P(2), s[3]);
    case 17: r = atoll_result_map(s[0], P(1)); break;
    case 18: return atoll_cancel(s[0]);
    case 19: return atoll_forget(s[0]);
    case 20: return last_handle = atoll_state_open(P(0), U(1), s[2], U(3));
    case 21: return atoll_state_close(I(0));
    case 22: return atoll_state_size(I(0));
    case 23: return atoll_state_resize(I(0), s[1]);
    case 24: return atoll_state_version(I(0), U(1));
    case 25: r = atoll_state_map(I(0), s[1], s[2], U(3), P(4)); break;
    case 26: return atoll_state_unmap(U(0));
    case 27: return atoll_state_read(I(0), s[1], P(2), s[3]);
    case 28: return atoll_state_write(I(0), s[1], P(2), s[3]);
    case 29: return atoll_state_dirty(I(0), s[1], s[2]);
    case 30: return atoll_state_merge(I(0), s[1], s[2], U(3));
    case 31: return atoll_state_pull(I(0), s[1], s[2], U(3));
    case 32: return atoll_state_push(I(0), s[1], s[2], U(3), s[4]);
    case 33: return atoll_state_append(I(0), P(1), s[2]);
    case 34: return atoll_state_entries(I(0), s[1], U(2), P(3), s[4], P(5));
    case 35: return atoll_state_clear(I(0));
    case 36: return atoll_state_lock(I(0), U(1), U(2), s[3]);
    case 37: return atoll_state_unlock(I(0), U(1));
    case 38: return atoll_state_delete(P(0), U(1));
    case 39: return atoll_state_list(P(0), U(1), P(2), U(3), P(4), s[5]);
    case 40: return last_handle = atoll_obj_open(U(0), P(1), U(2), (int64_t)s[3]);
    case 41:
        return atoll_obj_op(I(0), U(1), (int64_t)s[2], (int64_t)s[3], P(4), s[5], P(6), s[7], s[8]);
    case 42: r = atoll_mem_map(s[0], U(1), I(2), s[3], P(4)); break;
    case 43: return atoll_mem_unmap(U(0), s[1]);
    case 44: return atoll_sock_open(U(0), U(1), P(2));
    case 45: return atoll_sock_connect(I(0), P(1), U(2), U(3), s[4]);
    case 46: return atoll_sock_bind(I(0), P(1), U(2), U(3));
    case 47: return atoll_sock_listen(I(0), U(1));
    case 48: return atoll_sock_opt(I(0), U(1), (int64_t)s[2]);
    case 49: return atoll_resolve(P(0), U(1), P(2), s[3]);
    case 50: return atoll_metric(P(0), U(1), (double)(int64_t)s[2], U(3));
    case 51: return atoll_random(P(0), s[1]);
    case 52: return atoll_now(U(0));
    default: /* within memory: a wild store would only end the call */
        *(uint64_t *)(scratch + s[0] % (sizeof scratch - 8)) = s[1];
        return 0;
    }
    /* Mappings: their address went into the scratch memory, if anywhere. */
    last_address = *(uint32_t *)(void *)scratch;
    return r;
}

ATOLL_FUNCTION(garbage)
{
    uint64_t slots[PARAMETERS_MAX], made = 0;
    int64_t got = atoll_input_read(0, stream, sizeof stream);
    len = got > 0 ? (uint32_t)got : 0;
    while (at < len) {
        uint32_t function = (uint32_t)take(1) % sizeof garbage_parameters;
        for (uint32_t k = 0; k < garbage_parameters[function]; k++)
            slots[k] = parameter();
        call(function, slots);
        made++;
    }
    atoll_output_set(&made, sizeof made);
    return 0;
}
