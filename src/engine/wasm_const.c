/*
 * Constant expressions: read and checked (for the section reader), walked and evaluated (for code
 * generation and instantiation).
 *
 * The checker keeps a stack of types, the evaluator one of values; WASM_MAX_CONST_DEPTH bounds
 * both, so neither allocates. Only i32 and i64 are computed with, every other operator stands
 * alone.
 */
#include "engine/wasm_const.h"

#include "base/bytes.h"
#include "engine/wasm_ops.h"

#include <assert.h>

struct type_stack {
    uint32_t count;
    uint8_t types[WASM_MAX_CONST_DEPTH];
};

const char *wasm_type_proposal(uint8_t byte)
{
    switch (byte) {
    case 0x63:
    case 0x64: return "function-references";
    case 0x68:
    case 0x69:
    case 0x74:
    case 0x75: return "exceptions";
    case 0x6a:
    case 0x6b:
    case 0x6c:
    case 0x6d:
    case 0x6e:
    case 0x71:
    case 0x72:
    case 0x73: return "gc";
    default: return NULL;
    }
}

static uint8_t type_refuse(struct wasm_cursor *c, const uint8_t *at, const char *what)
{
    const char *proposal = wasm_type_proposal(*at);
    if (proposal)
        wasm_cursor_report(c, ATOLL_EUNSUPPORTED, at,
                           "type 0x%02x belongs to %s, which this engine does not have", *at,
                           proposal);
    else
        wasm_cursor_report(c, ATOLL_EMALFORMED, at, "malformed %s type 0x%02x", what, *at);
    return 0;
}

uint8_t wasm_cursor_value_type(struct wasm_cursor *c)
{
    uint8_t type = wasm_cursor_u8(c);
    if (c->failed)
        return 0;
    if ((type >= WASM_V128 && type <= WASM_I32) || wasm_is_reference(type))
        return type;
    return type_refuse(c, c->at - 1, "value");
}

uint8_t wasm_cursor_reference_type(struct wasm_cursor *c)
{
    uint8_t type = wasm_cursor_u8(c);
    if (c->failed || wasm_is_reference(type))
        return type;
    return type_refuse(c, c->at - 1, "reference");
}

static void const_push(struct wasm_cursor *c, struct type_stack *s, uint8_t type)
{
    if (s->count == WASM_MAX_CONST_DEPTH)
        wasm_cursor_fail(c, ATOLL_ELIMIT, "the constant expression holds more than 256 operands");
    else if (!c->failed)
        s->types[s->count++] = type;
}

static void const_arithmetic(struct wasm_cursor *c, struct wasm_module *m, struct type_stack *s,
                             uint8_t type)
{
    if (s->count < 2 || s->types[s->count - 1] != type || s->types[s->count - 2] != type) {
        wasm_cursor_report(
            c, ATOLL_EINVALID, c->at - 1,
            "type mismatch: %s in a constant expression expects two operands of type "
            "%s",
            wasm_op_name(c->at[-1]), wasm_type_name(type));
        return;
    }
    m->features |= WASM_FEATURE_EXTENDED_CONST;
    s->count--;
}

static void const_global(struct wasm_cursor *c, const struct wasm_module *m, struct type_stack *s)
{
    const uint8_t *at = c->at - 1;
    uint32_t index = wasm_cursor_u32(c);
    if (c->failed)
        return;
    if (index >= m->imported_globals)
        wasm_cursor_report(c, ATOLL_EINVALID, at,
                           "unknown global %u: a constant expression sees imported globals only",
                           index);
    else if (m->globals[index].mutable)
        wasm_cursor_report(c, ATOLL_EINVALID, at,
                           "constant expression required: global %u is mutable", index);
    else
        const_push(c, s, m->globals[index].type);
}

static void const_function(struct wasm_cursor *c, struct wasm_module *m, struct type_stack *s)
{
    const uint8_t *at = c->at - 1;
    uint32_t index = wasm_cursor_u32(c);
    if (c->failed)
        return;
    if (index >= m->function_count) {
        wasm_cursor_report(c, ATOLL_EINVALID, at, "unknown function %u", index);
        return;
    }
    wasm_function_refer(m, index);
    const_push(c, s, WASM_FUNCREF);
}

static void const_vector(struct wasm_cursor *c, struct wasm_module *m, struct type_stack *s)
{
    const uint8_t *at = c->at - 1;
    uint32_t sub = wasm_cursor_u32(c);
    if (c->failed)
        return;
    if (sub != (WASM_OP_V128_CONST & 0xfff)) {
        wasm_cursor_report(c, ATOLL_EINVALID, at,
                           "constant expression required: a vector operator other than v128.const");
        return;
    }
    wasm_cursor_bytes(c, 16);
    m->features |= WASM_FEATURE_SIMD;
    const_push(c, s, WASM_V128);
}

static void const_refuse(struct wasm_cursor *c, uint8_t op)
{
    const char *name = op < 0xfb ? wasm_op_name(op) : "a prefixed operator";
    if (name)
        wasm_cursor_report(c, ATOLL_EINVALID, c->at - 1,
                           "constant expression required: %s is not allowed in it", name);
    else
        wasm_cursor_report(c, ATOLL_EMALFORMED, c->at - 1, "unknown operator 0x%02x", op);
}

static void const_op_read(struct wasm_cursor *c, struct wasm_module *m, struct type_stack *s,
                          uint8_t op)
{
    switch (op) {
    case WASM_OP_I32_CONST:
        wasm_cursor_s32(c);
        const_push(c, s, WASM_I32);
        break;
    case WASM_OP_I64_CONST:
        wasm_cursor_s64(c);
        const_push(c, s, WASM_I64);
        break;
    case WASM_OP_F32_CONST:
        wasm_cursor_bytes(c, 4);
        const_push(c, s, WASM_F32);
        break;
    case WASM_OP_F64_CONST:
        wasm_cursor_bytes(c, 8);
        const_push(c, s, WASM_F64);
        break;
    case WASM_OP_REF_NULL: const_push(c, s, wasm_cursor_reference_type(c)); break;
    case WASM_OP_I32_ADD:
    case WASM_OP_I32_SUB:
    case WASM_OP_I32_MUL: const_arithmetic(c, m, s, WASM_I32); break;
    case WASM_OP_I64_ADD:
    case WASM_OP_I64_SUB:
    case WASM_OP_I64_MUL: const_arithmetic(c, m, s, WASM_I64); break;
    case WASM_OP_GLOBAL_GET: const_global(c, m, s); break;
    case WASM_OP_REF_FUNC: const_function(c, m, s); break;
    case 0xfd: const_vector(c, m, s); break;
    default: const_refuse(c, op); break;
    }
}

struct wasm_span wasm_const_read(struct wasm_cursor *c, struct wasm_module *m, uint8_t type)
{
    struct type_stack stack = {.count = 0};
    const uint8_t *start = c->at;
    for (;;) {
        uint8_t op = wasm_cursor_u8(c);
        if (c->failed || op == WASM_OP_END)
            break;
        const_op_read(c, m, &stack, op);
    }
    if (!c->failed && (stack.count != 1 || stack.types[0] != type))
        wasm_cursor_report(
            c, ATOLL_EINVALID, start,
            "type mismatch: the constant expression must yield one %s, but it leaves "
            "%u values%s%s",
            wasm_type_name(type), stack.count, stack.count ? ", the first of type " : "",
            stack.count ? wasm_type_name(stack.types[0]) : "");
    if (c->failed)
        return (struct wasm_span){0, 0};
    return (struct wasm_span){(uint32_t)(start - c->base), (uint32_t)(c->at - 1 - start)};
}

/* A cursor over bytes that have been read without failure before: it cannot fail. */
static struct wasm_cursor cursor_again(const struct wasm_module *m, struct wasm_span span,
                                       uint32_t at, struct error *e)
{
    return (struct wasm_cursor){
        .base = m->bytes,
        .at = m->bytes + at,
        .end = m->bytes + span.offset + span.len,
        .error = e,
    };
}

static void const_value(struct wasm_const_op *out, uint8_t type, const void *bits, size_t len)
{
    out->kind = WASM_CONST_VALUE;
    out->type = type;
    memcpy(out->value, bits, len);
}

static void const_op_decode(struct wasm_cursor *c, struct wasm_const_op *out)
{
    uint8_t op = wasm_cursor_u8(c);
    int32_t narrow;
    int64_t wide;
    *out = (struct wasm_const_op){.type = WASM_I32};
    switch (op) {
    case WASM_OP_I32_CONST:
        narrow = wasm_cursor_s32(c);
        const_value(out, WASM_I32, &narrow, sizeof narrow);
        break;
    case WASM_OP_I64_CONST:
        wide = wasm_cursor_s64(c);
        const_value(out, WASM_I64, &wide, sizeof wide);
        break;
    case WASM_OP_F32_CONST: const_value(out, WASM_F32, wasm_cursor_bytes(c, 4), 4); break;
    case WASM_OP_F64_CONST: const_value(out, WASM_F64, wasm_cursor_bytes(c, 8), 8); break;
    case WASM_OP_REF_NULL:
        out->kind = WASM_CONST_REF_NULL;
        out->type = wasm_cursor_u8(c);
        break;
    case WASM_OP_REF_FUNC:
        out->kind = WASM_CONST_REF_FUNC;
        out->type = WASM_FUNCREF;
        out->index = wasm_cursor_u32(c);
        break;
    case WASM_OP_GLOBAL_GET:
        out->kind = WASM_CONST_GLOBAL_GET;
        out->index = wasm_cursor_u32(c);
        break;
    case 0xfd:
        wasm_cursor_u32(c);
        const_value(out, WASM_V128, wasm_cursor_bytes(c, 16), 16);
        break;
    default: /* the arithmetic of i32, then that of i64, in one order */
        out->type = op >= WASM_OP_I64_ADD ? WASM_I64 : WASM_I32;
        out->kind = (uint8_t)(WASM_CONST_ADD +
                              (op - (out->type == WASM_I64 ? WASM_OP_I64_ADD : WASM_OP_I32_ADD)));
        break;
    }
}

static bool const_op_step(const struct wasm_module *m, struct wasm_span span, uint32_t *cursor,
                          struct wasm_const_op *out)
{
    if (*cursor >= span.offset + span.len)
        return false;
    struct error unused;
    struct wasm_cursor c = cursor_again(m, span, *cursor, &unused);
    const_op_decode(&c, out);
    assert(!c.failed);
    if (out->kind == WASM_CONST_GLOBAL_GET)
        out->type = m->globals[out->index].type;
    *cursor = wasm_cursor_offset(&c);
    return true;
}

static uint64_t const_compute(const struct wasm_const_op *op, uint64_t a, uint64_t b)
{
    uint64_t result = op->kind == WASM_CONST_ADD   ? a + b
                      : op->kind == WASM_CONST_SUB ? a - b
                                                   : a * b;
    return op->type == WASM_I32 ? (uint32_t)result : result;
}

/* Computes an expression that is arithmetic over constants; false when it is anything else. */
static bool const_fold(const struct wasm_module *m, struct wasm_span span,
                       struct wasm_const_op *out)
{
    uint64_t stack[WASM_MAX_CONST_DEPTH];
    uint32_t count = 0, cursor = span.offset;
    struct wasm_const_op op = {0};
    while (const_op_step(m, span, &cursor, &op)) {
        if (op.type != WASM_I32 && op.type != WASM_I64)
            return false;
        if (op.kind == WASM_CONST_VALUE) {
            assert(count < WASM_MAX_CONST_DEPTH);
            stack[count++] = load_u64(op.value);
        } else if (op.kind == WASM_CONST_GLOBAL_GET) {
            return false;
        } else {
            assert(count >= 2);
            count--;
            stack[count - 1] = const_compute(&op, stack[count - 1], stack[count]);
        }
    }
    assert(count == 1);
    *out = (struct wasm_const_op){.kind = WASM_CONST_VALUE, .type = op.type};
    store_u64(out->value, stack[0]);
    return true;
}

bool wasm_const_next(const struct wasm_module *m, struct wasm_span span, uint32_t *cursor,
                     struct wasm_const_op *out)
{
    if (*cursor == span.offset && span.len > 0 && const_fold(m, span, out)) {
        *cursor = span.offset + span.len;
        return true;
    }
    return const_op_step(m, span, cursor, out);
}

/* The value of one operator that is not arithmetic. */
static int const_operand(const struct wasm_const_op *op, const struct wasm_const_environment *env,
                         uint8_t out[static 16])
{
    uint64_t reference = 0;
    int status = 0;
    memset(out, 0, 16);
    switch (op->kind) {
    case WASM_CONST_VALUE: memcpy(out, op->value, 16); break;
    case WASM_CONST_GLOBAL_GET: status = env->global_value(env->context, op->index, out); break;
    default:
        status = env->ref_value(
            env->context, op->kind == WASM_CONST_REF_NULL ? UINT32_MAX : op->index, &reference);
        store_u64(out, reference);
        break;
    }
    return status;
}

int wasm_const_evaluate(const struct wasm_module *m, struct wasm_span span,
                        const struct wasm_const_environment *env, uint8_t out[static 16])
{
    uint8_t stack[WASM_MAX_CONST_DEPTH][16];
    uint32_t count = 0, cursor = span.offset;
    struct wasm_const_op op;
    while (wasm_const_next(m, span, &cursor, &op)) {
        if (op.kind < WASM_CONST_ADD) {
            assert(count < WASM_MAX_CONST_DEPTH);
            int status = const_operand(&op, env, stack[count++]);
            if (status != 0)
                return status;
        } else {
            assert(count >= 2);
            count--;
            uint8_t *left = stack[count - 1];
            uint64_t result = const_compute(&op, load_u64(left), load_u64(stack[count]));
            memset(left, 0, 16);
            store_u64(left, result);
        }
    }
    assert(count == 1);
    memcpy(out, stack[0], 16);
    return 0;
}
