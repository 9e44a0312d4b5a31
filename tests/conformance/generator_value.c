/* Expressions: code that leaves a value of a wanted type. See generator_state.h. */
#include "generator_operators.h"
#include "generator_state.h"

#include <assert.h>

#define VALUE_DEPTH 9u

static uint8_t letter_type(char letter)
{
    switch (letter) {
    case 'i': return WASM_I32;
    case 'l': return WASM_I64;
    case 'f': return WASM_F32;
    case 'd': return WASM_F64;
    default: assert(letter == 'v'); return WASM_V128;
    }
}

static char type_letter(uint8_t type)
{
    switch (type) {
    case WASM_I32: return 'i';
    case WASM_I64: return 'l';
    case WASM_F32: return 'f';
    case WASM_F64: return 'd';
    default: assert(type == WASM_V128); return 'v';
    }
}

/* The index of a number type among globals and scratch locals. */
static uint32_t type_order(uint8_t type)
{
    return (uint32_t)(WASM_I32 - type);
}

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

/* ---- constants ---- */

static uint64_t interesting_integer(struct generator *g)
{
    static const uint64_t edges[] = {
        0,         1,          2,          7,          31,         32,
        63,        64,         0x7f,       0x80,       0xff,       0x7fff,
        0x8000,    0xffff,     0x7fffffff, 0x80000000, 0xffffffff, 1ull << 62,
        INT64_MAX, 1ull << 63, UINT64_MAX, 0x10000,    0xfffc,     0xfffffffffffffff8,
    };
    switch (below(g, 4)) {
    case 0: return edges[below(g, sizeof edges / sizeof *edges)];
    case 1: return below(g, 256);
    case 2: return (uint64_t)-(int64_t)below(g, 256);
    default: return random_u64(&g->random);
    }
}

static uint64_t interesting_float(struct generator *g, bool wide)
{
    static const double values[] = {
        0.0,  -0.0,  1.0,   -1.0, 0.5,  -0.5,  1.5,        2.5,          3.0,
        -3.5, 100.0, 1e10,  1e20, 1e38, 1e39,  1e300,      5e-324,       1e-40,
        1e-3, 0.1,   -1e10, 7.0,  255,  65536, 2147483647, 4294967295.0, 9223372036854775808.0,
    };
    static const uint64_t narrow_bits[] = {0x7f800000, 0xff800000, 0x7fc00000,
                                           0x7fa00001, 0xffffffff, 0x00000001};
    static const uint64_t wide_bits[] = {
        0x7ff0000000000000, 0xfff0000000000000, 0x7ff8000000000000,
        0x7ff4000000000001, UINT64_MAX,         1,
    };
    double value = values[below(g, sizeof values / sizeof *values)];
    uint64_t bits = 0;
    if (chance(g, 15))
        return wide ? wide_bits[below(g, 6)] : narrow_bits[below(g, 6)];
    if (chance(g, 25))
        return random_u64(&g->random);
    if (wide) {
        memcpy(&bits, &value, 8);
    } else {
        float narrow = (float)value;
        memcpy(&bits, &narrow, 4);
    }
    return bits;
}

void generate_constant(struct generator *g, uint8_t type)
{
    uint8_t bytes[16];
    switch (type) {
    case WASM_I32: i32_const(g, (int32_t)interesting_integer(g)); return;
    case WASM_I64:
        op(g, 0x42);
        module_s64(g->code, (int64_t)interesting_integer(g));
        return;
    case WASM_F32:
        op(g, 0x43);
        store_u32(bytes, (uint32_t)interesting_float(g, false));
        module_bytes(g->code, bytes, 4);
        return;
    case WASM_F64:
        op(g, 0x44);
        store_u64(bytes, interesting_float(g, true));
        module_bytes(g->code, bytes, 8);
        return;
    case WASM_V128:
        op(g, 0xfd00c);
        store_u64(bytes, chance(g, 50) ? interesting_float(g, true) : interesting_integer(g));
        store_u64(bytes + 8, chance(g, 50) ? interesting_float(g, true) : interesting_integer(g));
        if (chance(g, 25))
            for (int i = 0; i < 16; i += 4)
                store_u32(bytes + i, (uint32_t)interesting_float(g, false));
        module_bytes(g->code, bytes, 16);
        return;
    case WASM_FUNCREF:
        if (chance(g, 70)) {
            op_index(g, 0xd2, below(g, g->function_count));
            return;
        }
        __attribute__((fallthrough));
    default: op_index(g, 0xd0, type);
    }
}

void generate_zero(struct generator *g, uint8_t type)
{
    static const uint8_t zeros[16] = {0};
    switch (type) {
    case WASM_I32: i32_const(g, 0); return;
    case WASM_I64: op_index(g, 0x42, 0); return;
    case WASM_F32:
        op(g, 0x43);
        module_bytes(g->code, zeros, 4);
        return;
    case WASM_F64:
        op(g, 0x44);
        module_bytes(g->code, zeros, 8);
        return;
    case WASM_V128:
        op(g, 0xfd00c);
        module_bytes(g->code, zeros, 16);
        return;
    default: op_index(g, 0xd0, type);
    }
}

/* ---- leaves ---- */

int generate_local(struct generator *g, uint8_t type)
{
    uint32_t start = g->assignable > 0 ? below(g, g->assignable) : 0;
    for (uint32_t i = 0; i < g->assignable; i++) {
        uint32_t local = (start + i) % g->assignable;
        if (g->locals[local] == type)
            return (int)local;
    }
    return -1;
}

static void value_leaf(struct generator *g, uint8_t type)
{
    int local = generate_local(g, type);
    if (local >= 0 && chance(g, 60))
        op_index(g, 0x20, (uint32_t)local);
    else if (!wasm_is_reference(type) && chance(g, 30))
        op_index(g, 0x23, 1 + type_order(type) * GENERATOR_GLOBALS + below(g, GENERATOR_GLOBALS));
    else
        generate_constant(g, type);
}

/* ---- operators ---- */

/* (x) -> x, or one fixed NaN if x is any NaN. */
static void nan_replace(struct generator *g, uint8_t nan)
{
    static const struct {
        uint8_t type;
        uint32_t equal;
        uint8_t fixed[16];
    } kinds[] = {
        [NAN_F32] = {WASM_F32, 0x5b, {0, 0, 0xc0, 0x7f}},
        [NAN_F64] = {WASM_F64, 0x61, {0, 0, 0, 0, 0, 0, 0xf8, 0x7f}},
        [NAN_F32X4] = {WASM_V128,
                       0xfd041,
                       {0, 0, 0xc0, 0x7f, 0, 0, 0xc0, 0x7f, 0, 0, 0xc0, 0x7f, 0, 0, 0xc0, 0x7f}},
        [NAN_F64X2] = {WASM_V128,
                       0xfd047,
                       {0, 0, 0, 0, 0, 0, 0xf8, 0x7f, 0, 0, 0, 0, 0, 0, 0xf8, 0x7f}},
    };
    uint8_t type = kinds[nan].type;
    uint32_t scratch = g->scratch[type_order(type)];
    op_index(g, 0x22, scratch);
    op(g, type == WASM_F32 ? 0x43 : type == WASM_F64 ? 0x44 : 0xfd00c);
    module_bytes(g->code, kinds[nan].fixed, type == WASM_F32 ? 4 : type == WASM_F64 ? 8 : 16);
    op_index(g, 0x20, scratch);
    op_index(g, 0x20, scratch);
    op(g, kinds[nan].equal);
    op(g, type == WASM_V128 ? 0xfd052 : 0x1b); /* v128.bitselect, select */
}

/* A divisor that is neither 0 nor -1. */
static void value_divisor(struct generator *g, uint8_t type)
{
    generate_value(g, type);
    if (type == WASM_I32) {
        i32_const(g, 0x7ffe);
        op(g, 0x71);
        i32_const(g, 1);
        op(g, 0x72);
        return;
    }
    op(g, 0x42);
    module_s64(g->code, 0x7ffffffe);
    op(g, 0x83);
    op(g, 0x42);
    module_s64(g->code, 1);
    op(g, 0x84);
}

/* A float that every integer type can hold once truncated. */
static void value_truncatable(struct generator *g, uint8_t type)
{
    generate_value(g, WASM_I32);
    i32_const(g, 0xfffff);
    op(g, 0x71);
    op(g, type == WASM_F32 ? 0xb2 : 0xb7);
    op(g, type == WASM_F32 ? 0x43 : 0x44);
    const float tenth = 0.1f;
    const double wide_tenth = 0.1;
    if (type == WASM_F32)
        module_bytes(g->code, &tenth, 4);
    else
        module_bytes(g->code, &wide_tenth, 8);
    op(g, type == WASM_F32 ? 0x94 : 0xa2);
}

static bool unguarded(struct generator *g)
{
    return g->about.wild && chance(g, 10);
}

static void value_operator(struct generator *g, uint8_t type)
{
    uint32_t count;
    const struct pure_operator *all = pure_operators(type_letter(type), g->about.simd, &count);
    const struct pure_operator *o = &all[below(g, count)];
    bool guarded = o->guard != GUARD_NONE && !unguarded(g);
    for (const char *operand = o->operands; *operand != '\0'; operand++) {
        uint8_t wanted = letter_type(*operand);
        if (guarded && o->guard == GUARD_TRUNC)
            value_truncatable(g, wanted);
        else if (guarded && operand[1] == '\0')
            value_divisor(g, wanted);
        else
            generate_value(g, wanted);
    }
    op(g, o->op);
    if (o->lanes != 0)
        module_byte(g->code, (uint8_t)below(g, o->lanes));
    if (o->nan != NAN_NONE)
        nan_replace(g, o->nan);
}

static void value_shuffle(struct generator *g)
{
    generate_value(g, WASM_V128);
    generate_value(g, WASM_V128);
    op(g, 0xfd00d);
    uint8_t first = (uint8_t)below(g, 17), regular = chance(g, 50);
    for (uint8_t i = 0; i < 16; i++)
        module_byte(g->code, regular ? (uint8_t)(first + i) % 32 : (uint8_t)below(g, 32));
}

/* ---- memory ---- */

void generate_index(struct generator *g, uint32_t bits)
{
    generate_value(g, WASM_I32);
    if (unguarded(g))
        return;
    i32_const(g, (int32_t)((1u << bits) - 1));
    op(g, 0x71);
}

/* Aligned addresses for atomic operators. */
static void value_address(struct generator *g, const struct memory_operator *o)
{
    generate_index(g, 15);
    if (!o->atomic || unguarded(g))
        return;
    i32_const(g, -8);
    op(g, 0x71);
}

static uint32_t access_offset(struct generator *g, const struct memory_operator *o)
{
    uint32_t offset = chance(g, 50) ? 0 : below(g, 0x4000);
    if (g->about.wild && chance(g, 3))
        offset = (uint32_t)interesting_integer(g);
    return o->atomic ? offset & ~7u : offset;
}

static bool access_allowed(const struct generator *g, const struct memory_operator *o,
                           uint32_t kinds, char letter)
{
    if (((kinds >> o->kind) & 1) == 0 || o->type != letter)
        return false;
    return o->atomic ? g->about.threads : o->type != 'v' || g->about.simd;
}

bool generate_access(struct generator *g, uint32_t kinds, uint8_t type)
{
    static const char *const operands[] = {
        [ACCESS_LOAD] = "",        [ACCESS_STORE] = "t",  [ACCESS_LOAD_LANE] = "t",
        [ACCESS_STORE_LANE] = "t", [ACCESS_MODIFY] = "t", [ACCESS_EXCHANGE] = "tt",
    };
    uint32_t start = below(g, memory_operator_count);
    for (uint32_t i = 0; i < memory_operator_count; i++) {
        const struct memory_operator *o = &memory_operators[(start + i) % memory_operator_count];
        if (!access_allowed(g, o, kinds, type_letter(type)))
            continue;
        value_address(g, o);
        for (size_t k = 0; k < strlen(operands[o->kind]); k++)
            generate_value(g, type);
        op(g, o->op);
        module_u32(g->code, o->atomic ? o->align_log2 : below(g, o->align_log2 + 1u));
        module_u32(g->code, access_offset(g, o));
        if (o->kind == ACCESS_LOAD_LANE || o->kind == ACCESS_STORE_LANE)
            module_byte(g->code, (uint8_t)below(g, 16u >> o->align_log2));
        return true;
    }
    return false;
}

/* ---- calls ---- */

void generate_values(struct generator *g, const uint8_t *types, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        generate_value(g, types[i]);
}

void generate_call(struct generator *g, uint32_t function)
{
    const struct signature *s = generator_signature(g, function);
    uint32_t type = g->function_types[function];
    generate_values(g, s->params, s->param_count);
    if (chance(g, 60)) {
        op_index(g, 0x10, function);
        return;
    }
    /* Through the table of all functions; perhaps by one of two indices that fit. */
    uint32_t other = below(g, g->function_count);
    if (g->about.wild && chance(g, 20)) {
        generate_index(g, 4);
    } else if (g->function_types[other] == type) {
        i32_const(g, (int32_t)function);
        i32_const(g, (int32_t)other);
        generate_value(g, WASM_I32);
        op(g, 0x1b);
    } else {
        i32_const(g, (int32_t)function);
    }
    op_index(g, 0x11, type);
    module_u32(g->code, TABLE_FIXED);
}

/* Calls a function that gives a value of the type first, and drops the rest. */
static bool value_call(struct generator *g, uint8_t type)
{
    uint32_t start = below(g, g->function_count);
    for (uint32_t i = 0; i < g->function_count; i++) {
        uint32_t function = (start + i) % g->function_count;
        const struct signature *s = generator_signature(g, function);
        if (s->result_count == 0 || s->results[0] != type)
            continue;
        generate_call(g, function);
        for (uint32_t k = 1; k < s->result_count; k++)
            op(g, 0x1a);
        return true;
    }
    return false;
}

/* ---- the choice ---- */

static void value_select(struct generator *g, uint8_t type)
{
    generate_value(g, type);
    generate_value(g, type);
    generate_value(g, WASM_I32);
    if (!wasm_is_reference(type) && chance(g, 70)) {
        op(g, 0x1b);
        return;
    }
    op_index(g, 0x1c, 1);
    module_byte(g->code, type);
}

static void value_tee(struct generator *g, uint8_t type)
{
    int local = generate_local(g, type);
    generate_value(g, type);
    if (local >= 0)
        op_index(g, 0x22, (uint32_t)local);
}

static void value_reference(struct generator *g, uint8_t type)
{
    uint32_t table = type == WASM_EXTERNREF ? TABLE_EXTERNAL
                     : chance(g, 50)        ? TABLE_MOVING
                                            : TABLE_FIXED;
    if (chance(g, 40)) {
        generate_index(g, 1);
        op_index(g, 0x25, table);
    } else if (chance(g, 50)) {
        value_select(g, type);
    } else {
        value_leaf(g, type);
    }
}

/* i32 values that only the state of the instance gives. */
static void value_state(struct generator *g)
{
    switch (below(g, 5)) {
    case 0: op_index(g, 0x3f, 0); return;                        /* memory.size */
    case 1: op_index(g, 0xfc010, below(g, TABLE_COUNT)); return; /* table.size */
    case 2:
        generate_value(g, chance(g, 80) ? WASM_FUNCREF : WASM_EXTERNREF);
        op(g, 0xd1); /* ref.is_null */
        return;
    case 3:
        generate_index(g, 1);
        op_index(g, 0x40, 0); /* memory.grow */
        return;
    default:
        generate_value(g, WASM_FUNCREF);
        generate_index(g, 1);
        op_index(g, 0xfc00f, TABLE_MOVING); /* table.grow */
    }
}

static void value_number(struct generator *g, uint8_t type)
{
    uint32_t choice = below(g, 100);
    if (choice < 45)
        value_operator(g, type);
    else if (choice < 60 && generate_access(g,
                                            1u << ACCESS_LOAD | 1u << ACCESS_LOAD_LANE |
                                                1u << ACCESS_MODIFY | 1u << ACCESS_EXCHANGE,
                                            type))
        return;
    else if (choice < 66)
        value_select(g, type);
    else if (choice < 72)
        value_tee(g, type);
    else if (choice < 77 && value_call(g, type))
        return;
    else if (choice < 83)
        generate_block(g, &type, 1);
    else if (choice < 88 && type == WASM_V128)
        value_shuffle(g);
    else if (choice < 88 && type == WASM_I32)
        value_state(g);
    else
        value_leaf(g, type);
}

void generate_value(struct generator *g, uint8_t type)
{
    if (g->depth >= VALUE_DEPTH || g->room <= 0) {
        value_leaf(g, type);
        return;
    }
    g->depth++;
    if (wasm_is_reference(type))
        value_reference(g, type);
    else
        value_number(g, type);
    g->depth--;
}
