/*
 * The reference for the random programs of trap_program.h: a tree-walking interpreter, written from
 * the standard and sharing nothing with the engine. Used by trap_compare.c.
 */
#include "engine/abi.h"
#include "trap_program.h"

#include <string.h>

#define STEPS_MAX 400000u

struct interpreter {
    const struct program *program;
    struct reference *state;
    bool exhausted;
};

/* One call. `returned` is set by a return statement, whose value is then `value`. */
struct frame {
    const struct program_function *function;
    uint64_t locals[PROGRAM_LOCALS]; /* an i32 is zero-extended */
    bool returned;
    uint64_t value;
};

/* Whether to go on at all. */
static bool running(const struct interpreter *in)
{
    return in->state->trap == TRAP_NONE && !in->exhausted;
}

static uint64_t trap(struct interpreter *in, enum trap_kind kind)
{
    if (running(in))
        in->state->trap = (uint8_t)kind;
    return 0;
}

/* ---- memory ---- */

static unsigned access_bytes(uint32_t op)
{
    switch (op) {
    case WASM_OP_I64_LOAD:
    case WASM_OP_I64_STORE: return 8;
    case WASM_OP_I32_LOAD:
    case WASM_OP_I32_STORE:
    case WASM_OP_I64_LOAD32_S:
    case WASM_OP_I64_LOAD32_U:
    case WASM_OP_I64_STORE32: return 4;
    case WASM_OP_I32_LOAD16_S:
    case WASM_OP_I32_LOAD16_U:
    case WASM_OP_I64_LOAD16_S:
    case WASM_OP_I32_STORE16: return 2;
    default: return 1;
    }
}

/* NULL, and a trap, when it does not lie inside memory. */
static uint8_t *access_place(struct interpreter *in, const struct node *n, uint64_t address)
{
    uint64_t start = (uint32_t)address + n->constant, bytes = access_bytes(n->op);
    if (start + bytes > PROGRAM_MEMORY) {
        trap(in, TRAP_MEMORY_BOUNDS);
        return NULL;
    }
    return in->state->memory + start;
}

static uint64_t load(struct interpreter *in, const struct node *n, uint64_t address)
{
    uint64_t value = 0;
    if (!running(in))
        return 0;
    const uint8_t *place = access_place(in, n, address);
    if (!place)
        return 0;
    unsigned bytes = access_bytes(n->op);
    memcpy(&value, place, bytes);
    bool is_signed = n->op == WASM_OP_I32_LOAD8_S || n->op == WASM_OP_I32_LOAD16_S ||
                     n->op == WASM_OP_I64_LOAD8_S || n->op == WASM_OP_I64_LOAD16_S ||
                     n->op == WASM_OP_I64_LOAD32_S;
    if (is_signed) {
        unsigned unused = 64 - 8 * bytes;
        value = (uint64_t)((int64_t)(value << unused) >> unused);
    }
    return n->type == WASM_I32 ? (uint32_t)value : value;
}

/* ---- operators ---- */

static uint64_t divide(struct interpreter *in, unsigned which, uint64_t a, uint64_t b, bool wide)
{
    int64_t signed_a = wide ? (int64_t)a : (int32_t)a, signed_b = wide ? (int64_t)b : (int32_t)b;
    int64_t lowest = wide ? INT64_MIN : INT32_MIN;
    if (b == 0)
        return trap(in, TRAP_DIVIDE_BY_ZERO);
    switch (which) {
    case 0:
        if (signed_a == lowest && signed_b == -1)
            return trap(in, TRAP_INTEGER_OVERFLOW);
        return (uint64_t)(signed_a / signed_b);
    case 1: return a / b;
    case 2: return signed_b == -1 ? 0 : (uint64_t)(signed_a % signed_b);
    default: return a % b;
    }
}

/* which: the operator's distance from add. */
static uint64_t arithmetic(struct interpreter *in, unsigned which, uint64_t a, uint64_t b,
                           bool wide)
{
    unsigned width = wide ? 64 : 32, count = (unsigned)b & (width - 1);
    uint64_t value;
    switch (which) {
    case 0: return a + b;
    case 1: return a - b;
    case 2: return a * b;
    case 3:
    case 4:
    case 5:
    case 6: return divide(in, which - 3, a, b, wide);
    case 7: return a & b;
    case 8: return a | b;
    case 9: return a ^ b;
    case 10: return a << count;
    case 11: return wide ? (uint64_t)((int64_t)a >> count) : (uint64_t)((int32_t)a >> count);
    case 12: return a >> count;
    default: /* rotl */ value = a << count; return count == 0 ? a : value | a >> (width - count);
    }
}

static bool compare(unsigned which, uint64_t a, uint64_t b, bool wide)
{
    int64_t x = wide ? (int64_t)a : (int32_t)a, y = wide ? (int64_t)b : (int32_t)b;
    switch (which) {
    case 0: return a == b;
    case 1: return a != b;
    case 2: return x < y;
    case 3: return a < b;
    case 4: return x > y;
    case 5: return a > b;
    case 6: return x <= y;
    case 7: return a <= b;
    case 8: return x >= y;
    default: return a >= b;
    }
}

static uint64_t binary(struct interpreter *in, const struct node *n, uint64_t a, uint64_t b)
{
    uint32_t op = n->op;
    if (op >= WASM_OP_I32_EQ && op <= WASM_OP_I32_GE_U)
        return compare(op - WASM_OP_I32_EQ, a, b, false);
    if (op >= WASM_OP_I64_EQ && op <= WASM_OP_I64_GE_U)
        return compare(op - WASM_OP_I64_EQ, a, b, true);
    if (n->type == WASM_I64)
        return arithmetic(in, op - WASM_OP_I64_ADD, a, b, true);
    return (uint32_t)arithmetic(in, op - WASM_OP_I32_ADD, a, b, false);
}

static uint64_t unary(uint32_t op, uint64_t a)
{
    switch (op) {
    case WASM_OP_I32_EQZ: return a == 0;
    case WASM_OP_I32_WRAP_I64: return (uint32_t)a;
    case WASM_OP_I64_EXTEND_I32_S: return (uint64_t)(int32_t)a;
    case WASM_OP_I64_EXTEND_I32_U: return a;
    default: return (uint64_t)__builtin_popcountll(a); /* an i32 is zero-extended */
    }
}

/* ---- the tree ---- */

static uint64_t call(struct interpreter *in, uint32_t index, const uint64_t *arguments);

static uint64_t evaluate(struct interpreter *in, struct frame *f, const struct node *n)
{
    uint64_t values[PROGRAM_LOCALS] = {0};
    uint32_t count = 0;
    if (++in->state->steps > STEPS_MAX)
        in->exhausted = true;
    if (!running(in))
        return 0;
    for (unsigned i = 0; i < 3; i++) {
        for (const struct node *child = n->child[i]; child; child = child->next)
            values[count++] = evaluate(in, f, child);
    }
    if (!running(in))
        return 0;
    switch ((enum node_kind)n->kind) {
    case NODE_CONSTANT: return n->constant;
    case NODE_LOCAL: return f->locals[n->index];
    case NODE_GLOBAL: return in->state->globals[n->index];
    case NODE_UNARY: return unary(n->op, values[0]);
    case NODE_BINARY: return binary(in, n, values[0], values[1]);
    case NODE_SELECT: return values[2] != 0 ? values[0] : values[1];
    case NODE_LOAD: return load(in, n, values[0]);
    default: return call(in, n->index, values);
    }
}

static void list_run(struct interpreter *in, struct frame *f, const struct node *n);

static void store(struct interpreter *in, struct frame *f, const struct node *n)
{
    uint64_t address = evaluate(in, f, n->child[0]), value = evaluate(in, f, n->child[1]);
    uint8_t *place = running(in) ? access_place(in, n, address) : NULL;
    if (place)
        memcpy(place, &value, access_bytes(n->op));
}

static void loop_run(struct interpreter *in, struct frame *f, const struct node *n)
{
    uint64_t *counter = &f->locals[n->index];
    *counter = 0;
    for (;;) {
        if (n->kind == NODE_WHILE && *counter >= n->constant)
            return;
        if (n->child[0] && evaluate(in, f, n->child[0]) == 0)
            return;
        list_run(in, f, n->child[1]);
        if (f->returned || !running(in))
            return;
        *counter += 1;
        if (n->kind == NODE_REPEAT && *counter >= n->constant)
            return;
    }
}

static void statement_run(struct interpreter *in, struct frame *f, const struct node *n)
{
    uint64_t value;
    switch ((enum node_kind)n->kind) {
    case NODE_REPEAT:
    case NODE_WHILE: loop_run(in, f, n); return;
    case NODE_STORE: store(in, f, n); return;
    case NODE_UNREACHABLE: trap(in, TRAP_UNREACHABLE); return;
    default: break;
    }
    value = evaluate(in, f, n->child[0]);
    if (!running(in))
        return;
    switch ((enum node_kind)n->kind) {
    case NODE_SET_LOCAL: f->locals[n->index] = value; break;
    case NODE_SET_GLOBAL: in->state->globals[n->index] = value; break;
    case NODE_IF: list_run(in, f, n->child[value != 0 ? 1 : 2]); break;
    case NODE_RETURN:
        f->returned = true;
        f->value = value;
        break;
    default: break; /* drop */
    }
}

static void list_run(struct interpreter *in, struct frame *f, const struct node *n)
{
    for (; n && running(in) && !f->returned; n = n->next)
        statement_run(in, f, n);
}

static uint64_t call(struct interpreter *in, uint32_t index, const uint64_t *arguments)
{
    struct frame f = {.function = &in->program->functions[index]};
    memcpy(f.locals, arguments, f.function->parameter_count * sizeof *arguments);
    list_run(in, &f, f.function->body);
    return f.returned ? f.value : evaluate(in, &f, f.function->result);
}

bool reference_run(const struct program *p, const uint64_t arguments[static 3],
                   struct reference *state)
{
    struct interpreter in = {.program = p, .state = state};
    memset(state, 0, sizeof *state);
    program_data(state->memory);
    state->result = call(&in, 0, arguments);
    return !in.exhausted;
}
