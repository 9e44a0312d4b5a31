/* Encoding and strict decoding of requests and answers (wire.h). */
#include "state/wire.h"

#include <assert.h>

/* The fields that an operation may use; all others are zero. */
enum field {
    FIELD_KEY = 1,
    FIELD_FLAGS = 2,
    FIELD_VALUE = 4, /* slot and gen, and gen is not 0 */
    FIELD_OFF = 8,
    FIELD_LEN = 16,
    FIELD_VERSION = 32,
    FIELD_TIMEOUT = 64,
    FIELD_NUMBERS = 128, /* a and b */
    FIELD_MODE = 256,
    FIELD_NUMBER = 512,
    FIELD_DATA = 1024,
    FIELD_HELD = 2048,   /* slot and gen, both may be 0 */
    FIELD_PREFIX = 4096, /* a key that may be empty */
    FIELD_SILENT = 8192, /* there is no answer */
};

#define RANGE (FIELD_VALUE | FIELD_OFF | FIELD_LEN)

static const struct rule {
    uint32_t fields, flags, mode_max, number_max;
} rules[STATE_OPS] = {
    [STATE_OP_SEGMENT] = {.fields = 0},
    [STATE_OP_OPEN] = {.fields = FIELD_KEY | FIELD_FLAGS | FIELD_LEN | FIELD_HELD, .flags = 255},
    [STATE_OP_CLOSE] = {.fields = FIELD_VALUE | FIELD_FLAGS | FIELD_SILENT,
                        .flags = STATE_CLOSE_MAPPED},
    [STATE_OP_ENSURE] = {.fields = RANGE},
    [STATE_OP_PULL] = {.fields = RANGE | FIELD_FLAGS, .flags = STATE_PULL_DISCARD},
    [STATE_OP_PUSH] = {.fields = RANGE | FIELD_FLAGS | FIELD_VERSION,
                       .flags = STATE_PUSH_DIRTY | STATE_PUSH_DURABLE | STATE_PUSH_IFVER},
    [STATE_OP_DIRTY] = {.fields = RANGE | FIELD_SILENT},
    [STATE_OP_MERGE] = {.fields = RANGE | FIELD_MODE, .mode_max = 7},
    [STATE_OP_RESIZE] = {.fields = FIELD_VALUE | FIELD_LEN},
    [STATE_OP_DELETE] = {.fields = FIELD_KEY},
    [STATE_OP_APPEND] = {.fields = FIELD_VALUE | FIELD_DATA},
    [STATE_OP_ENTRIES] = {.fields = RANGE | FIELD_NUMBER, .number_max = STATE_ENTRIES_MAX},
    [STATE_OP_CLEAR] = {.fields = FIELD_VALUE},
    [STATE_OP_LOCK] = {.fields = FIELD_VALUE | FIELD_MODE | FIELD_NUMBER | FIELD_TIMEOUT,
                       .mode_max = 1,
                       .number_max = STATE_SCOPE_GLOBAL},
    [STATE_OP_UNLOCK] = {.fields = FIELD_VALUE | FIELD_NUMBER, .number_max = STATE_SCOPE_GLOBAL},
    [STATE_OP_LIST] = {.fields = FIELD_PREFIX | FIELD_DATA | FIELD_LEN},
    [STATE_OP_VERSION] = {.fields = FIELD_VALUE},
    [STATE_OP_OBJECT_OPEN] = {.fields = FIELD_KEY | FIELD_MODE | FIELD_NUMBERS,
                              .mode_max = UINT32_MAX},
    [STATE_OP_OBJECT] = {.fields = FIELD_KEY | FIELD_MODE | FIELD_NUMBER | FIELD_NUMBERS |
                                   FIELD_LEN | FIELD_TIMEOUT | FIELD_DATA,
                         .mode_max = UINT32_MAX,
                         .number_max = UINT32_MAX},
};

bool state_op_answers(enum state_op op)
{
    assert(op > 0 && op < STATE_OPS);
    return !(rules[op].fields & FIELD_SILENT);
}

static bool fields_used(const struct state_request *r, uint32_t fields)
{
    return (fields & (FIELD_VALUE | FIELD_HELD) || (!r->slot && !r->gen)) &&
           (fields & FIELD_OFF || !r->off) && (fields & FIELD_LEN || !r->len) &&
           (fields & FIELD_VERSION || !r->version) && (fields & FIELD_TIMEOUT || !r->timeout_ns) &&
           (fields & FIELD_NUMBERS || (!r->a && !r->b)) && (fields & FIELD_DATA || !r->data_len) &&
           (fields & (FIELD_KEY | FIELD_PREFIX) || !r->key_len);
}

static int request_check(const struct state_request *r, struct error *e)
{
    const struct rule *rule = &rules[r->op];
    if (!fields_used(r, rule->fields))
        return error_set(e, ATOLL_EINVAL, "state request %d uses a field it does not have", r->op);
    if (r->flags & ~rule->flags || r->mode > rule->mode_max || r->number > rule->number_max)
        return error_set(e, ATOLL_EINVAL, "state request %d has an unknown flag or number", r->op);
    if (rule->fields & FIELD_VALUE && !r->gen)
        return error_set(e, ATOLL_EINVAL, "state request %d names no open value", r->op);
    if (rule->fields & FIELD_KEY && !r->key_len)
        return error_set(e, ATOLL_EINVAL, "state request %d has no key", r->op);
    if (r->key_len && memchr(r->key, 0, r->key_len))
        return error_set(e, ATOLL_EINVAL, "a key has no NUL in it");
    return 0;
}

int state_request_decode(const uint8_t *p, size_t len, struct state_request *out, struct error *e)
{
    if (len < STATE_REQUEST_HEAD || len > STATE_REQUEST_MAX)
        return error_set(e, ATOLL_EINVAL, "a state request of %zu bytes is no request", len);
    uint16_t op = load_u16(p);
    if (!op || op >= STATE_OPS)
        return error_set(e, ATOLL_EINVAL, "%u is no state operation", op);
    *out = (struct state_request){
        .op = op,
        .key_len = load_u16(p + 2),
        .flags = load_u32(p + 4),
        .slot = load_u32(p + 8),
        .gen = load_u32(p + 12),
        .off = load_u64(p + 16),
        .len = load_u64(p + 24),
        .version = load_u64(p + 32),
        .timeout_ns = load_u64(p + 40),
        .a = (int64_t)load_u64(p + 48),
        .b = (int64_t)load_u64(p + 56),
        .mode = load_u32(p + 64),
        .number = load_u32(p + 68),
        .data_len = load_u32(p + 72),
    };
    if (load_u32(p + 76) || out->key_len > STATE_NAME_MAX || out->data_len > STATE_BYTES_MAX ||
        len != STATE_REQUEST_HEAD + (size_t)out->key_len + out->data_len)
        return error_set(e, ATOLL_EINVAL, "a state request's lengths do not add up");
    out->key = p + STATE_REQUEST_HEAD;
    out->data = out->key + out->key_len;
    return request_check(out, e);
}

uint32_t state_request_encode(const struct state_request *r, uint8_t *p)
{
    assert(r->key_len <= STATE_NAME_MAX && r->data_len <= STATE_BYTES_MAX);
    store_u32(p, (uint32_t)r->op | r->key_len << 16);
    store_u32(p + 4, r->flags);
    store_u32(p + 8, r->slot);
    store_u32(p + 12, r->gen);
    store_u64(p + 16, r->off);
    store_u64(p + 24, r->len);
    store_u64(p + 32, r->version);
    store_u64(p + 40, r->timeout_ns);
    store_u64(p + 48, (uint64_t)r->a);
    store_u64(p + 56, (uint64_t)r->b);
    store_u32(p + 64, r->mode);
    store_u32(p + 68, r->number);
    store_u32(p + 72, r->data_len);
    store_u32(p + 76, 0);
    if (r->key_len)
        memcpy(p + STATE_REQUEST_HEAD, r->key, r->key_len);
    if (r->data_len)
        memcpy(p + STATE_REQUEST_HEAD + r->key_len, r->data, r->data_len);
    return STATE_REQUEST_HEAD + r->key_len + r->data_len;
}

int state_reply_decode(const uint8_t *p, size_t len, struct state_reply *out, struct error *e)
{
    *out = (struct state_reply){0};
    if (!len) /* an answer that is its result alone */
        return 0;
    if (len < STATE_ANSWER_HEAD || len > STATE_ANSWER_MAX)
        return error_set(e, ATOLL_ECORRUPT, "a state answer of %zu bytes is no answer", len);
    *out = (struct state_reply){.slot = load_u32(p),
                                .gen = load_u32(p + 4),
                                .size = load_u64(p + 8),
                                .version = load_u64(p + 16),
                                .moved = load_u64(p + 24),
                                .number = load_u64(p + 32),
                                .count = load_u32(p + 40),
                                .data_len = load_u32(p + 44)};
    if (out->count > STATE_ENTRIES_MAX || out->data_len > STATE_BYTES_MAX ||
        len != STATE_ANSWER_HEAD + 8ull * out->count + out->data_len)
        return error_set(e, ATOLL_ECORRUPT, "a state answer's lengths do not add up");
    out->lens = p + STATE_ANSWER_HEAD;
    out->data = out->lens + 8ull * out->count;
    return 0;
}

uint32_t state_reply_encode(const struct state_reply *r, uint8_t *p)
{
    assert(r->count <= STATE_ENTRIES_MAX && r->data_len <= STATE_BYTES_MAX);
    store_u32(p, r->slot);
    store_u32(p + 4, r->gen);
    store_u64(p + 8, r->size);
    store_u64(p + 16, r->version);
    store_u64(p + 24, r->moved);
    store_u64(p + 32, r->number);
    store_u32(p + 40, r->count);
    store_u32(p + 44, r->data_len);
    if (r->count)
        memcpy(p + STATE_ANSWER_HEAD, r->lens, 8ull * r->count);
    if (r->data_len)
        memcpy(p + STATE_ANSWER_HEAD + 8ull * r->count, r->data, r->data_len);
    return STATE_ANSWER_HEAD + 8 * r->count + r->data_len;
}
