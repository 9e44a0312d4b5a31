/* The generator of random programs; see trap_program.h. Used by trap_compare.c. */
#include "trap_program.h"

#include "random.h"

#include <assert.h>
#include <string.h>

#define WILD_PERCENT 10u
#define DEPTH_MAX    4u /* of expressions */
#define NEST_MAX     3u /* of statements */

struct generator {
    struct random random;
    struct program *program;
    uint32_t function;
    uint32_t loops[NEST_MAX + 1]; /* counters of the open loops */
    uint32_t loop_limits[NEST_MAX + 1];
    uint32_t loop_depth;
};

static uint32_t below(struct generator *g, uint32_t bound)
{
    return random_below(&g->random, bound);
}

static bool chance(struct generator *g, uint32_t percent)
{
    return random_chance(&g->random, percent);
}

static struct program_function *function_of(struct generator *g)
{
    return &g->program->functions[g->function];
}

static struct node *node(struct generator *g, enum node_kind kind, uint8_t type)
{
    struct program *p = g->program;
    assert(p->node_count < PROGRAM_NODES);
    struct node *n = &p->nodes[p->node_count++];
    *n = (struct node){.kind = (uint8_t)kind, .type = type};
    return n;
}

/* Whether what is left of the node budget calls for leaves. */
static bool is_short(const struct generator *g)
{
    return g->program->node_count >
           PROGRAM_NODES / PROGRAM_FUNCTIONS * (g->function + 1) - PROGRAM_NODES / 8;
}

/* ---- expressions ---- */

static struct node *expression(struct generator *g, uint8_t type, uint32_t depth);

static struct node *constant(struct generator *g, uint8_t type, uint64_t value)
{
    struct node *n = node(g, NODE_CONSTANT, type);
    n->constant = type == WASM_I32 ? (uint32_t)value : value;
    return n;
}

static struct node *binary(struct generator *g, uint8_t type, uint32_t op, struct node *a,
                           struct node *b)
{
    struct node *n = node(g, NODE_BINARY, type);
    n->op = (uint16_t)op;
    n->child[0] = a;
    n->child[1] = b;
    return n;
}

static struct node *random_constant(struct generator *g, uint8_t type)
{
    static const uint64_t interesting[] = {
        0, 1, 2, 3, 7, 8, 31, 255, 256, 65535, 0x7fffffff, 0x80000000, 0xffffffffffffffff};
    if (chance(g, 60))
        return constant(g, type, interesting[below(g, sizeof interesting / sizeof *interesting)]);
    return constant(g, type, random_u64(&g->random));
}

static struct node *local(struct generator *g, uint32_t index)
{
    struct node *n = node(g, NODE_LOCAL, function_of(g)->types[index]);
    n->index = index;
    return n;
}

static struct node *random_local(struct generator *g, uint8_t type)
{
    const struct program_function *f = function_of(g);
    uint32_t start = below(g, f->local_count);
    for (uint32_t i = 0; i < f->local_count; i++) {
        uint32_t index = (start + i) % f->local_count;
        if (f->types[index] == type)
            return local(g, index);
    }
    return random_constant(g, type);
}

static struct node *leaf(struct generator *g, uint8_t type)
{
    if (chance(g, 25))
        return random_constant(g, type);
    if (type == WASM_I64 && chance(g, 20)) {
        struct node *n = node(g, NODE_GLOBAL, WASM_I64);
        n->index = below(g, PROGRAM_GLOBALS);
        return n;
    }
    if (type == WASM_I32 && g->loop_depth > 0 && chance(g, 40))
        return local(g, g->loops[below(g, g->loop_depth)]);
    return random_local(g, type);
}

static struct node *random_binary(struct generator *g, uint8_t type, uint32_t depth)
{
    /* Offsets from the first binary operator of the type: add … rotr. */
    static const uint8_t offsets[] = {0, 0, 0, 1, 2, 7, 8, 9, 9, 10, 11, 12, 13};
    uint32_t first = type == WASM_I32 ? WASM_OP_I32_ADD : WASM_OP_I64_ADD;
    uint32_t op = first + offsets[below(g, sizeof offsets)];
    struct node *a = expression(g, type, depth + 1);
    return binary(g, type, op, a, expression(g, type, depth + 1));
}

/* A division; its divisor is made odd, but for a few. */
static struct node *division(struct generator *g, uint8_t type, uint32_t depth)
{
    uint32_t first = type == WASM_I32 ? WASM_OP_I32_DIV_S : WASM_OP_I64_DIV_S;
    uint32_t odd = type == WASM_I32 ? WASM_OP_I32_OR : WASM_OP_I64_OR;
    struct node *a = expression(g, type, depth + 1), *b = expression(g, type, depth + 1);
    if (!chance(g, 3))
        b = binary(g, type, odd, b, constant(g, type, 1));
    return binary(g, type, first + below(g, 4), a, b);
}

static struct node *comparison(struct generator *g, uint32_t depth)
{
    uint8_t type = chance(g, 60) ? WASM_I32 : WASM_I64;
    uint32_t first = type == WASM_I32 ? WASM_OP_I32_EQ : WASM_OP_I64_EQ;
    struct node *a = expression(g, type, depth + 1);
    return binary(g, WASM_I32, first + below(g, 10), a, expression(g, type, depth + 1));
}

static struct node *unary(struct generator *g, uint8_t type, uint32_t depth)
{
    static const struct {
        uint16_t op;
        uint8_t from, to;
    } operators[] = {
        {WASM_OP_I32_EQZ, WASM_I32, WASM_I32},
        {WASM_OP_I32_WRAP_I64, WASM_I64, WASM_I32},
        {WASM_OP_I32_POPCNT, WASM_I32, WASM_I32},
        {WASM_OP_I64_EXTEND_I32_S, WASM_I32, WASM_I64},
        {WASM_OP_I64_EXTEND_I32_U, WASM_I32, WASM_I64},
        {WASM_OP_I64_POPCNT, WASM_I64, WASM_I64},
    };
    uint32_t i = below(g, 3) + (type == WASM_I64 ? 3 : 0);
    struct node *n = node(g, NODE_UNARY, type);
    n->op = operators[i].op;
    n->child[0] = expression(g, operators[i].from, depth + 1);
    return n;
}

static struct node *select(struct generator *g, uint8_t type, uint32_t depth)
{
    struct node *n = node(g, NODE_SELECT, type);
    n->child[0] = expression(g, type, depth + 1);
    n->child[1] = expression(g, type, depth + 1);
    n->child[2] = chance(g, 70) ? comparison(g, depth + 1) : expression(g, WASM_I32, depth + 1);
    return n;
}

/* ---- addresses ---- */

/* counter * stride + start, for the innermost loop: what vectorisers look for. */
static struct node *affine(struct generator *g, uint32_t stride, uint32_t start)
{
    struct node *counter = local(g, g->loops[g->loop_depth - 1]);
    struct node *scaled =
        binary(g, WASM_I32, WASM_OP_I32_MUL, counter, constant(g, WASM_I32, stride));
    return binary(g, WASM_I32, WASM_OP_I32_ADD, scaled, constant(g, WASM_I32, start));
}

static struct node *tame_address(struct generator *g, uint32_t depth)
{
    if (g->loop_depth > 0 && chance(g, 50))
        return affine(g, 1u << below(g, 5), below(g, 32768));
    /* Loads meet what stores wrote more often when addresses are few. */
    uint32_t mask = chance(g, 50) ? 0x3f8 : 0xfff8;
    return binary(g, WASM_I32, WASM_OP_I32_AND, expression(g, WASM_I32, depth + 1),
                  constant(g, WASM_I32, mask));
}

static struct node *wild_address(struct generator *g, uint32_t depth)
{
    switch (below(g, 6)) {
    case 0: /* around the end */ return constant(g, WASM_I32, PROGRAM_MEMORY - below(g, 12));
    case 1:
        return binary(g, WASM_I32, WASM_OP_I32_OR, expression(g, WASM_I32, depth + 1),
                      constant(g, WASM_I32, 0x40000000));
    case 2:
        if (g->loop_depth > 0) { /* some iterations, or only the last, are beyond */
            uint32_t stride = 1u << below(g, 5), limit = g->loop_limits[g->loop_depth - 1];
            uint32_t late = 1 + below(g, limit);
            return affine(g, stride, PROGRAM_MEMORY - (limit - late) * stride - below(g, 4));
        }
        return expression(g, WASM_I32, depth + 1);
    case 3:
    case 4: { /* on some condition */
        struct node *n = node(g, NODE_SELECT, WASM_I32);
        n->child[0] = tame_address(g, depth + 1);
        n->child[1] = constant(g, WASM_I32, 0xfffffff0);
        n->child[2] = chance(g, 50) ? comparison(g, depth + 1) : leaf(g, WASM_I32);
        return n;
    }
    default: return expression(g, WASM_I32, depth + 1);
    }
}

static struct node *address(struct generator *g, uint32_t depth)
{
    return chance(g, WILD_PERCENT) ? wild_address(g, depth) : tame_address(g, depth);
}

static uint32_t random_offset(struct generator *g)
{
    return chance(g, 60) ? 0 : below(g, 64);
}

static struct node *load(struct generator *g, uint8_t type, uint32_t depth)
{
    static const uint16_t operators[2][7] = {
        {WASM_OP_I32_LOAD, WASM_OP_I32_LOAD, WASM_OP_I32_LOAD8_S, WASM_OP_I32_LOAD8_U,
         WASM_OP_I32_LOAD16_S, WASM_OP_I32_LOAD16_U, WASM_OP_I32_LOAD},
        {WASM_OP_I64_LOAD, WASM_OP_I64_LOAD8_S, WASM_OP_I64_LOAD8_U, WASM_OP_I64_LOAD16_S,
         WASM_OP_I64_LOAD32_S, WASM_OP_I64_LOAD32_U, WASM_OP_I64_LOAD},
    };
    struct node *n = node(g, NODE_LOAD, type);
    n->op = operators[type == WASM_I64][below(g, 7)];
    n->constant = random_offset(g);
    n->child[0] = address(g, depth + 1);
    return n;
}

static struct node *call(struct generator *g, uint32_t depth)
{
    uint32_t callee = g->function + 1 + below(g, PROGRAM_FUNCTIONS - g->function - 1);
    const struct program_function *f = &g->program->functions[callee];
    struct node *n = node(g, NODE_CALL, WASM_I64), **last = &n->child[0];
    n->index = callee;
    for (uint32_t i = 0; i < f->parameter_count; i++) {
        *last = expression(g, f->types[i], depth + 2);
        last = &(*last)->next;
    }
    return n;
}

static struct node *expression(struct generator *g, uint8_t type, uint32_t depth)
{
    if (depth >= DEPTH_MAX || is_short(g) || chance(g, 10 + 12 * depth))
        return leaf(g, type);
    uint32_t choice = below(g, 100);
    if (choice < 38)
        return random_binary(g, type, depth);
    if (choice < 60)
        return load(g, type, depth);
    if (choice < 68)
        return select(g, type, depth);
    if (choice < 82)
        return unary(g, type, depth);
    if (choice < 88)
        return division(g, type, depth);
    if (choice < 92 && type == WASM_I64 && g->function + 1 < PROGRAM_FUNCTIONS)
        return call(g, depth);
    return type == WASM_I32 ? comparison(g, depth) : leaf(g, type);
}

/* ---- statements ---- */

static struct node *statements(struct generator *g, uint32_t count, uint32_t nest);

/* Loop counters are locals of their own that nothing else sets: the last NEST_MAX of a function. */
static struct node *loop(struct generator *g, uint32_t nest)
{
    bool before = chance(g, 50);
    struct node *n = node(g, before ? NODE_WHILE : NODE_REPEAT, 0);
    n->index = function_of(g)->local_count - 1 - g->loop_depth;
    n->constant = 1 + below(g, nest == 0 && chance(g, 40) ? 70 : 9);
    if (before && chance(g, 25))
        n->child[0] = expression(g, WASM_I32, 2);
    g->loops[g->loop_depth] = n->index;
    g->loop_limits[g->loop_depth++] = (uint32_t)n->constant;
    n->child[1] = statements(g, 1 + below(g, 3), nest + 1);
    g->loop_depth--;
    return n;
}

static struct node *branch(struct generator *g, uint32_t nest)
{
    struct node *n = node(g, NODE_IF, 0);
    n->child[0] = chance(g, 60) ? comparison(g, 1) : expression(g, WASM_I32, 1);
    if (chance(g, 2)) {
        n->child[1] = node(g, NODE_UNREACHABLE, 0);
    } else if (chance(g, 6)) {
        n->child[1] = node(g, NODE_RETURN, 0);
        n->child[1]->child[0] = expression(g, WASM_I64, 1);
    } else {
        n->child[1] = statements(g, 1 + below(g, 2), nest + 1);
    }
    if (chance(g, 50))
        n->child[2] = statements(g, 1 + below(g, 2), nest + 1);
    return n;
}

static struct node *assignment(struct generator *g)
{
    const struct program_function *f = function_of(g);
    struct node *n = node(g, NODE_SET_LOCAL, 0);
    n->index = below(g, f->local_count - NEST_MAX);
    uint8_t type = f->types[n->index];
    n->child[0] = expression(g, type, 0);
    if (chance(g, 35)) { /* accumulate */
        uint32_t add = type == WASM_I32 ? WASM_OP_I32_ADD : WASM_OP_I64_ADD;
        n->child[0] = binary(g, type, add, local(g, n->index), n->child[0]);
    }
    return n;
}

static struct node *store(struct generator *g)
{
    static const uint16_t operators[] = {WASM_OP_I32_STORE,   WASM_OP_I64_STORE,
                                         WASM_OP_I32_STORE8,  WASM_OP_I32_STORE16,
                                         WASM_OP_I64_STORE32, WASM_OP_I32_STORE};
    struct node *n = node(g, NODE_STORE, 0);
    n->op = operators[below(g, sizeof operators / sizeof *operators)];
    bool wide = n->op == WASM_OP_I64_STORE || n->op == WASM_OP_I64_STORE32;
    n->constant = random_offset(g);
    n->child[0] = address(g, 1);
    n->child[1] = expression(g, wide ? WASM_I64 : WASM_I32, 1);
    return n;
}

static struct node *statement(struct generator *g, uint32_t nest)
{
    uint32_t choice = below(g, 100);
    if (nest < NEST_MAX && !is_short(g)) {
        if (choice < 16)
            return loop(g, nest);
        if (choice < 34)
            return branch(g, nest);
    }
    if (choice < 68)
        return assignment(g);
    if (choice < 86)
        return store(g);
    if (choice < 92) {
        struct node *n = node(g, NODE_SET_GLOBAL, 0);
        n->index = below(g, PROGRAM_GLOBALS);
        n->child[0] = expression(g, WASM_I64, 0);
        return n;
    }
    struct node *n = node(g, NODE_DROP, 0);
    n->type = chance(g, 50) ? WASM_I32 : WASM_I64;
    n->child[0] = n->type == WASM_I64 && g->function + 1 < PROGRAM_FUNCTIONS && chance(g, 50)
                      ? call(g, 0)
                      : expression(g, n->type, 0);
    return n;
}

static struct node *statements(struct generator *g, uint32_t count, uint32_t nest)
{
    struct node *first = NULL, **last = &first;
    for (uint32_t i = 0; i < count; i++) {
        *last = statement(g, nest);
        last = &(*last)->next;
    }
    return first;
}

static void signature(struct generator *g, uint32_t index)
{
    struct program_function *f = &g->program->functions[index];
    f->parameter_count = index == 0 ? 3 : 1 + below(g, 4);
    for (uint32_t i = 0; i < f->parameter_count; i++)
        f->types[i] = chance(g, 60) ? WASM_I32 : WASM_I64;
    if (index == 0)
        memcpy(f->types, (uint8_t[]){WASM_I32, WASM_I32, WASM_I64}, 3);
    f->local_count = f->parameter_count + 2 + below(g, 4) + NEST_MAX;
    for (uint32_t i = f->parameter_count; i < f->local_count; i++)
        f->types[i] = chance(g, 60) ? WASM_I32 : WASM_I64;
    for (uint32_t i = 1; i <= NEST_MAX; i++)
        f->types[f->local_count - i] = WASM_I32;
}

void program_generate(struct program *p, uint64_t seed)
{
    struct generator g = {.random = {seed}, .program = p};
    p->node_count = 0;
    for (uint32_t i = 0; i < PROGRAM_FUNCTIONS; i++)
        signature(&g, i);
    for (g.function = 0; g.function < PROGRAM_FUNCTIONS; g.function++) {
        struct program_function *f = function_of(&g);
        f->body = statements(&g, 2 + below(&g, g.function == 0 ? 6 : 3), 0);
        f->result = expression(&g, WASM_I64, 0);
    }
}

void program_data(uint8_t out[static PROGRAM_DATA])
{
    struct random random = {0};
    for (uint32_t i = 0; i < PROGRAM_DATA; i++)
        out[i] = (uint8_t)random_u64(&random);
}
