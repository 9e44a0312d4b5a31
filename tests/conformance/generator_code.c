/* Statements, control flow and whole function bodies. See generator_state.h. */
#include "generator_operators.h"
#include "generator_state.h"

#include <assert.h>

#define CALL_COST 20
#define ROOM_MIN  60
#define ROOM_MAX  240

enum { BLOCK = 0x02, LOOP = 0x03, IF = 0x04 };

static void op(struct generator *g, uint32_t code)
{
    module_op(g->code, code);
    g->room--;
}

static void op_index(struct generator *g, uint32_t code, uint32_t index)
{
    op(g, code);
    module_u32(g->code, index);
}

static void i32_const(struct generator *g, int32_t value)
{
    op(g, 0x41);
    module_s32(g->code, value);
}

static void end(struct generator *g)
{
    op(g, 0x0b);
}

static void drop(struct generator *g, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        op(g, 0x1a);
}

/* ---- labels ---- */

static bool label_room(const struct generator *g)
{
    return g->label_count + 2 < GENERATOR_LABELS;
}

static void label_push(struct generator *g, const uint8_t *types, uint32_t count)
{
    assert(g->label_count < GENERATOR_LABELS && count <= GENERATOR_SIGNATURE);
    struct label *label = &g->labels[g->label_count++];
    label->count = (uint8_t)count;
    label->counted = false;
    memcpy(label->types, types, count);
}

static void label_pop(struct generator *g)
{
    g->label_count--;
}

/* The label that a branch of this depth leads to. */
static const struct label *label_at(const struct generator *g, uint32_t depth)
{
    return &g->labels[g->label_count - 1 - depth];
}

/* The depth of a label that may be branched to; the function's own always may. */
static uint32_t branch_target(struct generator *g)
{
    uint32_t depth = below(g, g->label_count);
    while (label_at(g, depth)->counted)
        depth++;
    return depth;
}

/* Opens a block, loop or if of the type; what a branch carries is pushed as a label. */
static void frame_open(struct generator *g, uint8_t frame, const struct signature *s)
{
    op(g, frame);
    if (s->param_count == 0 && s->result_count == 0)
        module_byte(g->code, 0x40);
    else if (s->param_count == 0 && s->result_count == 1 && chance(g, 80))
        module_byte(g->code, s->results[0]);
    else
        module_s32(g->code, (int32_t)generator_type(g, s));
    if (frame == LOOP)
        label_push(g, s->params, s->param_count);
    else
        label_push(g, s->results, s->result_count);
}

static void frame_close(struct generator *g)
{
    end(g);
    label_pop(g);
}

/* ---- branches ---- */

static void branch_if(struct generator *g)
{
    uint32_t depth = branch_target(g);
    const struct label label = *label_at(g, depth);
    generate_values(g, label.types, label.count);
    generate_value(g, WASM_I32);
    op_index(g, 0x0d, depth);
    drop(g, label.count);
}

static void branch_table(struct generator *g)
{
    uint32_t depth = branch_target(g), count = below(g, 5);
    const struct label *label = label_at(g, depth);
    generate_values(g, label->types, label->count);
    if (chance(g, 80)) {
        generate_value(g, WASM_I32);
        i32_const(g, 7);
        op(g, 0x71);
    } else {
        generate_value(g, WASM_I32);
    }
    op_index(g, 0x0e, count);
    for (uint32_t i = 0; i <= count; i++) {
        uint32_t target = branch_target(g);
        const struct label *other = label_at(g, target);
        bool same =
            other->count == label->count && memcmp(other->types, label->types, label->count) == 0;
        module_u32(g->code, same ? target : depth);
    }
}

/* An unconditional leave inside an if, and some dead code after it. */
static void branch_away(struct generator *g)
{
    const struct signature none = {0}, *s = generator_signature(g, g->function);
    generate_value(g, WASM_I32);
    frame_open(g, IF, &none);
    switch (below(g, g->about.wild ? 4 : 3)) {
    case 0:
        generate_values(g, s->results, s->result_count);
        op(g, 0x0f);
        break;
    case 1: branch_table(g); break;
    case 2: {
        uint32_t depth = branch_target(g);
        const struct label label = *label_at(g, depth);
        generate_values(g, label.types, label.count);
        op_index(g, 0x0c, depth);
        break;
    }
    default: op(g, 0x00);
    }
    if (chance(g, 40)) {
        generate_value(g, WASM_I32);
        op(g, 0x6a); /* its other operand comes from the unreachable code's bottomless stack */
        drop(g, 1);
    }
    frame_close(g);
}

/* A tail call to a function with this one's results. */
static void branch_tail_call(struct generator *g)
{
    const struct signature none = {0}, *own = generator_signature(g, g->function);
    uint32_t callee = below(g, g->function_count);
    const struct signature *s = generator_signature(g, callee);
    if (s->result_count != own->result_count ||
        memcmp(s->results, own->results, own->result_count) != 0)
        return;
    generate_value(g, WASM_I32);
    frame_open(g, IF, &none);
    generate_values(g, s->params, s->param_count);
    if (chance(g, 50)) {
        op_index(g, 0x12, callee);
    } else {
        i32_const(g, (int32_t)callee);
        op_index(g, 0x13, g->function_types[callee]);
        module_u32(g->code, TABLE_FIXED);
    }
    frame_close(g);
}

/* ---- blocks and loops ---- */

/* Spends budget; without any left the function returns zeros at once. */
static void budget_spend(struct generator *g, int32_t cost)
{
    const struct signature none = {0}, *s = generator_signature(g, g->function);
    op_index(g, 0x23, GLOBAL_BUDGET);
    i32_const(g, cost);
    op(g, 0x6b);
    op_index(g, 0x24, GLOBAL_BUDGET);
    op_index(g, 0x23, GLOBAL_BUDGET);
    i32_const(g, 0);
    op(g, 0x48);
    frame_open(g, IF, &none);
    for (uint32_t i = 0; i < s->result_count; i++)
        generate_zero(g, s->results[i]);
    op(g, 0x0f);
    frame_close(g);
}

void generate_block(struct generator *g, const uint8_t *types, uint32_t count)
{
    struct signature s = {.result_count = (uint8_t)count};
    memcpy(s.results, types, count);
    if (!label_room(g) || g->room <= 0) {
        generate_values(g, types, count);
        return;
    }
    bool condition = chance(g, 40);
    if (chance(g, 25)) {
        s.param_count = 1;
        s.params[0] = generator_number_type(g);
        generate_value(g, s.params[0]);
    }
    if (condition)
        generate_value(g, WASM_I32);
    frame_open(g, condition ? IF : BLOCK, &s);
    for (int arm = 0; arm < (condition ? 2 : 1); arm++) {
        if (arm == 1)
            op(g, 0x05);
        drop(g, s.param_count);
        if (chance(g, 50))
            generate_statements(g);
        generate_values(g, types, count);
    }
    frame_close(g);
}

/* A loop of a constant number of rounds, counted in a local of its own that nothing else sets. */
static void loop_counted(struct generator *g)
{
    const struct signature none = {0};
    if (g->counters_used == GENERATOR_COUNTERS || !label_room(g))
        return;
    uint32_t counter = g->counters[g->counters_used++];
    i32_const(g, (int32_t)below(g, g->counters_used == 1 ? 9 : 5));
    op_index(g, 0x21, counter);
    frame_open(g, LOOP, &none);
    g->labels[g->label_count - 1].counted = true;
    generate_statements(g);
    op_index(g, 0x20, counter);
    i32_const(g, 1);
    op(g, 0x6b);
    op_index(g, 0x22, counter);
    i32_const(g, 0);
    op(g, 0x4a); /* i32.gt_s */
    op_index(g, 0x0d, 0);
    frame_close(g);
    g->counters_used--;
}

/* A loop that carries values and goes on while a condition holds and the budget lasts. */
static void loop_budgeted(struct generator *g)
{
    struct signature s = {0};
    if (!label_room(g))
        return;
    s.param_count = s.result_count = (uint8_t)below(g, 3);
    for (uint32_t i = 0; i < s.param_count; i++)
        s.params[i] = s.results[i] = generator_number_type(g);
    generate_values(g, s.params, s.param_count);
    frame_open(g, LOOP, &s);
    for (uint32_t i = s.param_count; i-- > 0;) {
        int local = generate_local(g, s.params[i]);
        if (local >= 0)
            op_index(g, 0x21, (uint32_t)local);
        else
            drop(g, 1);
    }
    budget_spend(g, 1);
    generate_statements(g);
    generate_values(g, s.results, s.result_count);
    generate_value(g, WASM_I32);
    op_index(g, 0x0d, 0);
    frame_close(g);
    for (uint32_t i = s.result_count; i-- > 0;) {
        int local = generate_local(g, s.results[i]);
        if (local >= 0)
            op_index(g, 0x21, (uint32_t)local);
        else
            drop(g, 1);
    }
}

/* ---- simple statements ---- */

static void statement_assign(struct generator *g)
{
    uint8_t type = chance(g, 90) ? generator_number_type(g) : WASM_FUNCREF;
    int local = generate_local(g, type);
    generate_value(g, type);
    if (local >= 0)
        op_index(g, 0x21, (uint32_t)local);
    else
        drop(g, 1);
}

static void statement_global(struct generator *g)
{
    uint32_t type = below(g, g->number_types);
    generate_value(g, g->global_types[type]);
    op_index(g, 0x24, 1 + type * GENERATOR_GLOBALS + below(g, GENERATOR_GLOBALS - 1));
}

static void statement_store(struct generator *g)
{
    generate_access(g, 1u << ACCESS_STORE | 1u << ACCESS_STORE_LANE, generator_number_type(g));
}

static void statement_call(struct generator *g)
{
    uint32_t function = below(g, g->function_count);
    const struct signature *s = generator_signature(g, function);
    generate_call(g, function);
    for (uint32_t i = s->result_count; i-- > 0;) {
        int local = generate_local(g, s->results[i]);
        if (local >= 0 && chance(g, 70))
            op_index(g, 0x21, (uint32_t)local);
        else
            drop(g, 1);
    }
}

/* Three values below 2^bits each: destination, source or value, length. */
static void three_indices(struct generator *g, uint32_t first, uint32_t second, uint32_t third)
{
    generate_index(g, first);
    generate_index(g, second);
    generate_index(g, third);
}

static void statement_bulk_memory(struct generator *g)
{
    switch (below(g, 4)) {
    case 0:
        three_indices(g, 15, 15, 12);
        op_index(g, 0xfc00a, 0); /* memory.copy */
        module_byte(g->code, 0);
        break;
    case 1:
        three_indices(g, 15, 8, 12);
        op_index(g, 0xfc00b, 0); /* memory.fill */
        break;
    case 2:
        /* The passive segment, unless it was dropped: then only a length of 0 is in bounds. */
        three_indices(g, 15, 4, g->about.wild ? 4 : 0);
        op_index(g, 0xfc008, DATA_SEGMENTS - 1); /* memory.init */
        module_byte(g->code, 0);
        break;
    default:
        if (!g->about.wild)
            return;
        op_index(g, 0xfc009, DATA_SEGMENTS - 1); /* data.drop */
    }
}

static void statement_table(struct generator *g)
{
    switch (below(g, 6)) {
    case 0:
        generate_index(g, 3);
        generate_value(g, WASM_FUNCREF);
        op_index(g, 0x26, TABLE_MOVING); /* table.set */
        break;
    case 1:
        three_indices(g, 2, 2, 2);
        op_index(g, 0xfc00e, TABLE_MOVING); /* table.copy */
        module_byte(g->code, chance(g, 70) ? TABLE_MOVING : TABLE_FIXED);
        break;
    case 2:
        generate_index(g, 2);
        generate_value(g, WASM_FUNCREF);
        generate_index(g, 2);
        op_index(g, 0xfc011, TABLE_MOVING); /* table.fill */
        break;
    case 3:
        three_indices(g, 2, 1, g->about.wild ? 1 : 0);
        op_index(g, 0xfc00c, ELEMENT_PASSIVE); /* table.init */
        module_byte(g->code, TABLE_MOVING);
        break;
    case 4:
        if (g->about.wild)
            op_index(g, 0xfc00d, ELEMENT_PASSIVE); /* elem.drop */
        break;
    default:
        if (!g->about.wild)
            return;
        /* A function of the moving table, called by some signature. */
        const struct signature *s = generator_signature(g, below(g, g->function_count));
        generate_values(g, s->params, s->param_count);
        generate_index(g, 3);
        op_index(g, 0x11, generator_type(g, s));
        module_u32(g->code, TABLE_MOVING);
        drop(g, s->result_count);
    }
}

static void statement_threads(struct generator *g)
{
    if (chance(g, 50)) {
        op_index(g, 0xfe003, 0); /* atomic.fence */
        return;
    }
    generate_index(g, 14);
    i32_const(g, -4);
    op(g, 0x71);
    generate_index(g, 3);
    op_index(g, 0xfe000, 2); /* memory.atomic.notify: nobody waits */
    module_u32(g->code, below(g, 64) * 4);
    drop(g, 1);
}

static void statement_block(struct generator *g)
{
    uint8_t types[3];
    uint32_t count = below(g, 4);
    for (uint32_t i = 0; i < count; i++)
        types[i] = generator_number_type(g);
    generate_block(g, types, count);
    drop(g, count);
}

static void statement(struct generator *g)
{
    switch (below(g, 20)) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4: statement_assign(g); break;
    case 5:
    case 6: statement_global(g); break;
    case 7:
    case 8:
    case 9:
    case 10: statement_store(g); break;
    case 11: statement_call(g); break;
    case 12: statement_bulk_memory(g); break;
    case 13: statement_table(g); break;
    case 14: statement_block(g); break;
    case 15: loop_counted(g); break;
    case 16: loop_budgeted(g); break;
    case 17: branch_if(g); break;
    case 18: branch_away(g); break;
    default:
        if (g->about.threads)
            statement_threads(g);
        else if (g->about.tail_calls)
            branch_tail_call(g);
        else
            op(g, 0x01);
    }
}

void generate_statements(struct generator *g)
{
    uint32_t count = 1 + below(g, 5);
    g->depth++;
    for (uint32_t i = 0; i < count && g->room > 0; i++)
        statement(g);
    g->depth--;
}

/* ---- functions ---- */

static uint32_t local_add(struct generator *g, uint8_t type)
{
    assert(g->local_count < GENERATOR_LOCALS);
    g->locals[g->local_count] = type;
    return g->local_count++;
}

static void locals_choose(struct generator *g)
{
    const struct signature *s = generator_signature(g, g->function);
    g->local_count = 0;
    for (uint32_t i = 0; i < s->param_count; i++)
        local_add(g, s->params[i]);
    for (uint32_t type = 0; type < g->number_types; type++)
        for (uint32_t i = 1 + below(g, 3); i > 0; i--)
            local_add(g, g->global_types[type]);
    local_add(g, WASM_FUNCREF);
    g->assignable = g->local_count;
    for (uint32_t type = 0; type < g->number_types; type++)
        g->scratch[type] = local_add(g, g->global_types[type]);
    for (uint32_t i = 0; i < GENERATOR_COUNTERS; i++)
        g->counters[i] = local_add(g, WASM_I32);
    g->counters_used = 0;
}

static void locals_write(struct generator *g)
{
    uint32_t params = generator_signature(g, g->function)->param_count;
    module_u32(g->code, g->local_count - params);
    for (uint32_t i = params; i < g->local_count; i++) {
        module_u32(g->code, 1);
        module_byte(g->code, g->locals[i]);
    }
}

void generate_function(struct generator *g)
{
    const struct signature *s = generator_signature(g, g->function);
    int32_t room = ROOM_MIN + (int32_t)below(g, ROOM_MAX - ROOM_MIN);
    g->room = room;
    g->depth = 0;
    g->label_count = 0;
    locals_choose(g);
    module_open(g->code);
    locals_write(g);
    label_push(g, s->results, s->result_count);
    budget_spend(g, CALL_COST);
    while (g->room > room / 4)
        generate_statements(g);
    generate_values(g, s->results, s->result_count);
    end(g);
    module_close(g->code);
}
