/*
 * Host functions of shared objects. The contract is sdk/c/include/atoll.h. Objects live in the
 * global tier; every operation is a question to the supervisor, on which the call parks.
 */
#include "node/worker/import_state.h"

#include "node/manifest.h"

#include <stdlib.h>
#include <string.h>

enum object_type {
    OBJECT_COUNTER = 1,
    OBJECT_LATCH,
    OBJECT_BARRIER,
    OBJECT_SEMAPHORE,
    OBJECT_QUEUE,
    OBJECT_MAP,
    OBJECT_CELL
};
enum { QUEUE_POP = 1, MAP_GET = 0, MAP_SCAN = 4, MAP_INCR = 5, CELL_GET = 0 };

static enum host_status import_obj_open(struct host_call *hc)
{
    struct faaslet *f = faaslet_of(hc);
    uint8_t key[STATE_NAME_MAX];
    uint32_t type = hc->slots[0].u32, len = hc->slots[2].u32;
    guest_other_call(f);
    if (call_is_zygote(f->call))
        return host_result_i32(hc, -ATOLL_EPERM);
    if (type < OBJECT_COUNTER || type > OBJECT_CELL)
        return host_result_i32(hc, -ATOLL_EINVAL);
    int code = state_key(hc, hc->slots[1].u32, len, STATE_READ | STATE_WRITE, key);
    if (code < 0)
        return host_result_i32(hc, code);
    if (!hc->resumed)
        return state_ask(hc, &(struct state_request){.op = STATE_OP_OBJECT_OPEN,
                                                     .key = key,
                                                     .key_len = len,
                                                     .mode = type,
                                                     .a = hc->slots[3].i64});
    struct state_reply reply;
    struct error e;
    int64_t result = state_answered(hc, &reply);
    if (result >= 0)
        result = attach_object(&f->state, type, key, len, &e);
    return host_result_i32(hc, (int32_t)result);
}

/* Whether an operation's result is a count that is written to out as well, if there is room. */
static bool counts(uint32_t type, uint32_t op)
{
    return type == OBJECT_COUNTER || (type == OBJECT_MAP && op == MAP_INCR);
}

/* How many bytes the operation may bring back. */
static uint64_t operation_cap(uint32_t type, uint32_t op, uint64_t cap)
{
    if (counts(type, op))
        return 8;
    if (type == OBJECT_CELL && op == CELL_GET) /* behind their length */
        cap = cap > 4 ? cap - 4 : 0;
    return cap < STATE_DATA_MAX ? cap : STATE_DATA_MAX;
}

static enum host_status operation_answered(struct host_call *hc, uint32_t type)
{
    struct state_reply reply;
    uint32_t op = hc->slots[1].u32, out = hc->slots[6].u32;
    uint64_t cap = hc->slots[7].u64;
    int64_t result = state_answered(hc, &reply);
    if (result < 0)
        return host_result_i64(hc, result);
    result = (int64_t)reply.number;
    if (type == OBJECT_CELL)
        result = (int64_t)reply.version;
    else if ((type == OBJECT_QUEUE && op == QUEUE_POP) || (type == OBJECT_MAP && op == MAP_GET))
        result = reply.data_len;
    if (counts(type, op) && cap < reply.data_len)
        return host_result_i64(hc, result);
    int code = 0;
    if (type == OBJECT_CELL && op == CELL_GET) {
        if (cap < 4)
            return host_result_i64(hc, -ATOLL_ESIZE);
        code = guest_write(hc->arena, out, &reply.data_len, 4);
        out += 4;
        cap -= 4;
    }
    if (reply.data_len > cap)
        return host_result_i64(hc, -ATOLL_ESIZE);
    if (!code && reply.data_len)
        code = guest_write(hc->arena, out, reply.data, reply.data_len);
    return host_result_i64(hc, code < 0 ? code : result);
}

static enum host_status operation_ask(struct host_call *hc, const struct handle *h)
{
    uint64_t len = hc->slots[5].u64;
    uint8_t *in = malloc(len + 1);
    if (!in)
        return host_result_i64(hc, -ATOLL_ENOMEM);
    int code = guest_read(hc->arena, in, hc->slots[4].u32, len);
    struct state_request r = {.op = STATE_OP_OBJECT,
                              .key = h->key,
                              .key_len = h->key_len,
                              .mode = h->type,
                              .number = hc->slots[1].u32,
                              .a = hc->slots[2].i64,
                              .b = hc->slots[3].i64,
                              .len = operation_cap(h->type, hc->slots[1].u32, hc->slots[7].u64),
                              .timeout_ns = hc->slots[8].u64,
                              .data = in,
                              .data_len = (uint32_t)len};
    enum host_status status = code < 0 ? host_result_i64(hc, code) : state_ask(hc, &r);
    free(in);
    return status;
}

static enum host_status import_obj_op(struct host_call *hc)
{
    struct faaslet *f = faaslet_of(hc);
    uint64_t in_len = hc->slots[5].u64;
    guest_other_call(f);
    struct handle *h = attach_handle(f->state, hc->slots[0].i32);
    if (!h || h->kind != HANDLE_OBJECT)
        return host_result_i64(hc, -ATOLL_EBADF);
    if (!guest_range(hc->arena, hc->slots[4].u32, in_len, GUEST_READ) ||
        !guest_range(hc->arena, hc->slots[6].u32, hc->slots[7].u64, GUEST_WRITE))
        return host_result_i64(hc, -ATOLL_EFAULT);
    if (in_len > (h->type == OBJECT_MAP ? STATE_BYTES_MAX : STATE_DATA_MAX))
        return host_result_i64(hc, -ATOLL_ESIZE);
    return hc->resumed ? operation_answered(hc, h->type) : operation_ask(hc, h);
}

const struct import_entry imports_object[] = {
    {"obj_open", "iiil:i", import_obj_open},
    {"obj_op", "iillilill:l", import_obj_op},
    {0},
};
