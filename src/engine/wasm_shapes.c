/*
 * The operator table (§5.4, §3.3). Rows are ranges wherever neighbours agree; wasm_ops.h gives the
 * order of codes. The validator is the only reader.
 */
#include "engine/wasm_shapes.h"

#include "engine/wasm.h"

#define I32 WASM_I32
#define I64 WASM_I64
#define F32 WASM_F32
#define F64 WASM_F64
#define V   WASM_V128

/* Rows: an operator without an immediate, from its operands to its result. */
#define ONE(a, result)         {.form = FORM_PLAIN, 1, {(a)}, (result), 0, 0}
#define TWO(a, b, result)      {.form = FORM_PLAIN, 2, {(a), (b)}, (result), 0, 0}
#define THREE(a, b, c, result) {.form = FORM_PLAIN, 3, {(a), (b), (c)}, (result), 0, 0}
#define FORM(name)             {.form = FORM_##name}

#define LOAD(type, log2)  {FORM_MEMORY, 1, {I32}, (type), (log2), 0}
#define STORE(type, log2) {FORM_MEMORY, 2, {I32, (type)}, 0, (log2), 0}

#define OF(name)        [WASM_OP_##name]
#define RANGE(from, to) [WASM_OP_##from... WASM_OP_##to]

const struct wasm_shape wasm_shapes[256] = {
    OF(UNREACHABLE) = FORM(UNREACHABLE),
    OF(NOP) = FORM(PLAIN),
    RANGE(BLOCK, IF) = FORM(BLOCK),
    OF(ELSE) = FORM(ELSE),
    OF(END) = FORM(END),
    OF(BR) = FORM(BRANCH),
    OF(BR_IF) = FORM(BRANCH_IF),
    OF(BR_TABLE) = FORM(BRANCH_TABLE),
    OF(RETURN) = FORM(RETURN),
    OF(CALL) = FORM(CALL),
    OF(CALL_INDIRECT) = FORM(CALL_INDIRECT),
    OF(RETURN_CALL) = {.form = FORM_CALL, .feature = WASM_FEATURE_TAIL_CALL},
    OF(RETURN_CALL_INDIRECT) = {.form = FORM_CALL_INDIRECT, .feature = WASM_FEATURE_TAIL_CALL},
    OF(DROP) = FORM(DROP),
    OF(SELECT) = FORM(SELECT),
    OF(SELECT_T) = {.form = FORM_SELECT_TYPED, .feature = WASM_FEATURE_REFERENCE_TYPES},
    OF(LOCAL_GET) = FORM(LOCAL_GET),
    OF(LOCAL_SET) = FORM(LOCAL_SET),
    OF(LOCAL_TEE) = FORM(LOCAL_TEE),
    OF(GLOBAL_GET) = FORM(GLOBAL_GET),
    OF(GLOBAL_SET) = FORM(GLOBAL_SET),
    RANGE(TABLE_GET, TABLE_SET) = {.form = FORM_TABLE, .feature = WASM_FEATURE_REFERENCE_TYPES},

    OF(I32_LOAD) = LOAD(I32, 2),
    OF(I64_LOAD) = LOAD(I64, 3),
    OF(F32_LOAD) = LOAD(F32, 2),
    OF(F64_LOAD) = LOAD(F64, 3),
    RANGE(I32_LOAD8_S, I32_LOAD8_U) = LOAD(I32, 0),
    RANGE(I32_LOAD16_S, I32_LOAD16_U) = LOAD(I32, 1),
    RANGE(I64_LOAD8_S, I64_LOAD8_U) = LOAD(I64, 0),
    RANGE(I64_LOAD16_S, I64_LOAD16_U) = LOAD(I64, 1),
    RANGE(I64_LOAD32_S, I64_LOAD32_U) = LOAD(I64, 2),
    OF(I32_STORE) = STORE(I32, 2),
    OF(I64_STORE) = STORE(I64, 3),
    OF(F32_STORE) = STORE(F32, 2),
    OF(F64_STORE) = STORE(F64, 3),
    OF(I32_STORE8) = STORE(I32, 0),
    OF(I32_STORE16) = STORE(I32, 1),
    OF(I64_STORE8) = STORE(I64, 0),
    OF(I64_STORE16) = STORE(I64, 1),
    OF(I64_STORE32) = STORE(I64, 2),
    OF(MEMORY_SIZE) = {FORM_MEMORY_INDEX, 0, {0}, I32, 0, 0},
    OF(MEMORY_GROW) = {FORM_MEMORY_INDEX, 1, {I32}, I32, 0, 0},

    OF(I32_CONST) = {FORM_I32, 0, {0}, I32, 0, 0},
    OF(I64_CONST) = {FORM_I64, 0, {0}, I64, 0, 0},
    OF(F32_CONST) = {FORM_F32, 0, {0}, F32, 0, 0},
    OF(F64_CONST) = {FORM_F64, 0, {0}, F64, 0, 0},

    OF(I32_EQZ) = ONE(I32, I32),
    RANGE(I32_EQ, I32_GE_U) = TWO(I32, I32, I32),
    OF(I64_EQZ) = ONE(I64, I32),
    RANGE(I64_EQ, I64_GE_U) = TWO(I64, I64, I32),
    RANGE(F32_EQ, F32_GE) = TWO(F32, F32, I32),
    RANGE(F64_EQ, F64_GE) = TWO(F64, F64, I32),
    RANGE(I32_CLZ, I32_POPCNT) = ONE(I32, I32),
    RANGE(I32_ADD, I32_ROTR) = TWO(I32, I32, I32),
    RANGE(I64_CLZ, I64_POPCNT) = ONE(I64, I64),
    RANGE(I64_ADD, I64_ROTR) = TWO(I64, I64, I64),
    RANGE(F32_ABS, F32_SQRT) = ONE(F32, F32),
    RANGE(F32_ADD, F32_COPYSIGN) = TWO(F32, F32, F32),
    RANGE(F64_ABS, F64_SQRT) = ONE(F64, F64),
    RANGE(F64_ADD, F64_COPYSIGN) = TWO(F64, F64, F64),

    OF(I32_WRAP_I64) = ONE(I64, I32),
    RANGE(I32_TRUNC_F32_S, I32_TRUNC_F32_U) = ONE(F32, I32),
    RANGE(I32_TRUNC_F64_S, I32_TRUNC_F64_U) = ONE(F64, I32),
    RANGE(I64_EXTEND_I32_S, I64_EXTEND_I32_U) = ONE(I32, I64),
    RANGE(I64_TRUNC_F32_S, I64_TRUNC_F32_U) = ONE(F32, I64),
    RANGE(I64_TRUNC_F64_S, I64_TRUNC_F64_U) = ONE(F64, I64),
    RANGE(F32_CONVERT_I32_S, F32_CONVERT_I32_U) = ONE(I32, F32),
    RANGE(F32_CONVERT_I64_S, F32_CONVERT_I64_U) = ONE(I64, F32),
    OF(F32_DEMOTE_F64) = ONE(F64, F32),
    RANGE(F64_CONVERT_I32_S, F64_CONVERT_I32_U) = ONE(I32, F64),
    RANGE(F64_CONVERT_I64_S, F64_CONVERT_I64_U) = ONE(I64, F64),
    OF(F64_PROMOTE_F32) = ONE(F32, F64),
    OF(I32_REINTERPRET_F32) = ONE(F32, I32),
    OF(I64_REINTERPRET_F64) = ONE(F64, I64),
    OF(F32_REINTERPRET_I32) = ONE(I32, F32),
    OF(F64_REINTERPRET_I64) = ONE(I64, F64),
    RANGE(I32_EXTEND8_S, I32_EXTEND16_S) = {FORM_PLAIN, 1, {I32}, I32, 0, WASM_FEATURE_SIGN_EXT},
    RANGE(I64_EXTEND8_S, I64_EXTEND32_S) = {FORM_PLAIN, 1, {I64}, I64, 0, WASM_FEATURE_SIGN_EXT},

    OF(REF_NULL) = {.form = FORM_REF_NULL, .feature = WASM_FEATURE_REFERENCE_TYPES},
    OF(REF_IS_NULL) = {.form = FORM_REF_IS_NULL, .feature = WASM_FEATURE_REFERENCE_TYPES},
    OF(REF_FUNC) = {.form = FORM_REF_FUNC, .feature = WASM_FEATURE_REFERENCE_TYPES},
};

#undef OF
#undef RANGE
#define OF(name)        [WASM_OP_##name & 0xfff]
#define RANGE(from, to) [WASM_OP_##from & 0xfff ... WASM_OP_##to & 0xfff]

#define SATURATE(from, to) {FORM_PLAIN, 1, {(from)}, (to), 0, WASM_FEATURE_SAT_FLOAT}
#define BULK(name)         {.form = FORM_##name, .feature = WASM_FEATURE_BULK_MEMORY}

/* Prefix 0xfc. */
static const struct wasm_shape shapes_numeric[] = {
    RANGE(I32_TRUNC_SAT_F32_S, I32_TRUNC_SAT_F32_U) = SATURATE(F32, I32),
    RANGE(I32_TRUNC_SAT_F64_S, I32_TRUNC_SAT_F64_U) = SATURATE(F64, I32),
    RANGE(I64_TRUNC_SAT_F32_S, I64_TRUNC_SAT_F32_U) = SATURATE(F32, I64),
    RANGE(I64_TRUNC_SAT_F64_S, I64_TRUNC_SAT_F64_U) = SATURATE(F64, I64),
    OF(MEMORY_INIT) = BULK(MEMORY_INIT),
    OF(DATA_DROP) = BULK(DATA_DROP),
    OF(MEMORY_COPY) = BULK(MEMORY_COPY),
    OF(MEMORY_FILL) = {FORM_MEMORY_INDEX, 3, {I32, I32, I32}, 0, 0, WASM_FEATURE_BULK_MEMORY},
    OF(TABLE_INIT) = BULK(TABLE_INIT),
    OF(ELEM_DROP) = BULK(ELEMENT_DROP),
    OF(TABLE_COPY) = BULK(TABLE_COPY),
    RANGE(TABLE_GROW, TABLE_FILL) = {.form = FORM_TABLE, .feature = WASM_FEATURE_REFERENCE_TYPES},
};

#define UNARY     ONE(V, V)
#define BINARY    TWO(V, V, V)
#define SHIFT     TWO(V, I32, V)
#define TEST      ONE(V, I32)
#define GET(n, t) {FORM_LANE, 1, {V}, (t), (n), 0}
#define PUT(n, t) {FORM_LANE, 2, {V, (t)}, V, (n), 0}
#define LOADL(k)  {FORM_MEMORY_LANE, 2, {I32, V}, V, (k), 0}
#define STOREL(k) {FORM_MEMORY_LANE, 2, {I32, V}, 0, (k), 0}

/* Prefix 0xfd. The feature is the prefix's. */
static const struct wasm_shape shapes_vector[] = {
    OF(V128_LOAD) = LOAD(V, 4),
    RANGE(V128_LOAD8X8_S, V128_LOAD32X2_U) = LOAD(V, 3),
    OF(V128_LOAD8_SPLAT) = LOAD(V, 0),
    OF(V128_LOAD16_SPLAT) = LOAD(V, 1),
    OF(V128_LOAD32_SPLAT) = LOAD(V, 2),
    OF(V128_LOAD64_SPLAT) = LOAD(V, 3),
    OF(V128_STORE) = STORE(V, 4),
    OF(V128_CONST) = {FORM_V128, 0, {0}, V, 0, 0},
    OF(I8X16_SHUFFLE) = {FORM_SHUFFLE, 2, {V, V}, V, 0, 0},
    OF(I8X16_SWIZZLE) = BINARY,
    RANGE(I8X16_SPLAT, I32X4_SPLAT) = ONE(I32, V),
    OF(I64X2_SPLAT) = ONE(I64, V),
    OF(F32X4_SPLAT) = ONE(F32, V),
    OF(F64X2_SPLAT) = ONE(F64, V),
    RANGE(I8X16_EXTRACT_LANE_S, I8X16_EXTRACT_LANE_U) = GET(16, I32),
    OF(I8X16_REPLACE_LANE) = PUT(16, I32),
    RANGE(I16X8_EXTRACT_LANE_S, I16X8_EXTRACT_LANE_U) = GET(8, I32),
    OF(I16X8_REPLACE_LANE) = PUT(8, I32),
    OF(I32X4_EXTRACT_LANE) = GET(4, I32),
    OF(I32X4_REPLACE_LANE) = PUT(4, I32),
    OF(I64X2_EXTRACT_LANE) = GET(2, I64),
    OF(I64X2_REPLACE_LANE) = PUT(2, I64),
    OF(F32X4_EXTRACT_LANE) = GET(4, F32),
    OF(F32X4_REPLACE_LANE) = PUT(4, F32),
    OF(F64X2_EXTRACT_LANE) = GET(2, F64),
    OF(F64X2_REPLACE_LANE) = PUT(2, F64),
    RANGE(I8X16_EQ, F64X2_GE) = BINARY,
    OF(V128_NOT) = UNARY,
    RANGE(V128_AND, V128_XOR) = BINARY,
    OF(V128_BITSELECT) = THREE(V, V, V, V),
    OF(V128_ANY_TRUE) = TEST,
    OF(V128_LOAD8_LANE) = LOADL(0),
    OF(V128_LOAD16_LANE) = LOADL(1),
    OF(V128_LOAD32_LANE) = LOADL(2),
    OF(V128_LOAD64_LANE) = LOADL(3),
    OF(V128_STORE8_LANE) = STOREL(0),
    OF(V128_STORE16_LANE) = STOREL(1),
    OF(V128_STORE32_LANE) = STOREL(2),
    OF(V128_STORE64_LANE) = STOREL(3),
    OF(V128_LOAD32_ZERO) = LOAD(V, 2),
    OF(V128_LOAD64_ZERO) = LOAD(V, 3),
    RANGE(F32X4_DEMOTE_F64X2_ZERO, F64X2_PROMOTE_LOW_F32X4) = UNARY,

    RANGE(I8X16_ABS, I8X16_POPCNT) = UNARY,
    RANGE(I8X16_ALL_TRUE, I8X16_BITMASK) = TEST,
    RANGE(I8X16_NARROW_I16X8_S, I8X16_NARROW_I16X8_U) = BINARY,
    RANGE(F32X4_CEIL, F32X4_NEAREST) = UNARY,
    RANGE(I8X16_SHL, I8X16_SHR_U) = SHIFT,
    RANGE(I8X16_ADD, I8X16_SUB_SAT_U) = BINARY,
    RANGE(F64X2_CEIL, F64X2_FLOOR) = UNARY,
    RANGE(I8X16_MIN_S, I8X16_MAX_U) = BINARY,
    OF(F64X2_TRUNC) = UNARY,
    OF(I8X16_AVGR_U) = BINARY,
    RANGE(I16X8_EXTADD_PAIRWISE_I8X16_S, I32X4_EXTADD_PAIRWISE_I16X8_U) = UNARY,

    RANGE(I16X8_ABS, I16X8_NEG) = UNARY,
    OF(I16X8_Q15MULR_SAT_S) = BINARY,
    RANGE(I16X8_ALL_TRUE, I16X8_BITMASK) = TEST,
    RANGE(I16X8_NARROW_I32X4_S, I16X8_NARROW_I32X4_U) = BINARY,
    RANGE(I16X8_EXTEND_LOW_I8X16_S, I16X8_EXTEND_HIGH_I8X16_U) = UNARY,
    RANGE(I16X8_SHL, I16X8_SHR_U) = SHIFT,
    RANGE(I16X8_ADD, I16X8_SUB_SAT_U) = BINARY,
    OF(F64X2_NEAREST) = UNARY,
    RANGE(I16X8_MUL, I16X8_MAX_U) = BINARY,
    OF(I16X8_AVGR_U) = BINARY,
    RANGE(I16X8_EXTMUL_LOW_I8X16_S, I16X8_EXTMUL_HIGH_I8X16_U) = BINARY,

    RANGE(I32X4_ABS, I32X4_NEG) = UNARY,
    RANGE(I32X4_ALL_TRUE, I32X4_BITMASK) = TEST,
    RANGE(I32X4_EXTEND_LOW_I16X8_S, I32X4_EXTEND_HIGH_I16X8_U) = UNARY,
    RANGE(I32X4_SHL, I32X4_SHR_U) = SHIFT,
    OF(I32X4_ADD) = BINARY,
    OF(I32X4_SUB) = BINARY,
    RANGE(I32X4_MUL, I32X4_DOT_I16X8_S) = BINARY,
    RANGE(I32X4_EXTMUL_LOW_I16X8_S, I32X4_EXTMUL_HIGH_I16X8_U) = BINARY,

    RANGE(I64X2_ABS, I64X2_NEG) = UNARY,
    RANGE(I64X2_ALL_TRUE, I64X2_BITMASK) = TEST,
    RANGE(I64X2_EXTEND_LOW_I32X4_S, I64X2_EXTEND_HIGH_I32X4_U) = UNARY,
    RANGE(I64X2_SHL, I64X2_SHR_U) = SHIFT,
    OF(I64X2_ADD) = BINARY,
    OF(I64X2_SUB) = BINARY,
    RANGE(I64X2_MUL, I64X2_EXTMUL_HIGH_I32X4_U) = BINARY,

    RANGE(F32X4_ABS, F32X4_NEG) = UNARY,
    OF(F32X4_SQRT) = UNARY,
    RANGE(F32X4_ADD, F32X4_PMAX) = BINARY,
    RANGE(F64X2_ABS, F64X2_NEG) = UNARY,
    OF(F64X2_SQRT) = UNARY,
    RANGE(F64X2_ADD, F64X2_PMAX) = BINARY,
    RANGE(I32X4_TRUNC_SAT_F32X4_S, F64X2_CONVERT_LOW_I32X4_U) = UNARY,
};

#define ATOMIC(count, a, b, c, result, log2) \
    {FORM_ATOMIC, (count), {(a), (b), (c)}, (result), (log2), 0}
#define ALOAD(t, k)    ATOMIC(1, I32, 0, 0, t, k)
#define ASTORE(t, k)   ATOMIC(2, I32, t, 0, 0, k)
#define MODIFY(t, k)   ATOMIC(2, I32, t, 0, t, k)
#define EXCHANGE(t, k) ATOMIC(3, I32, t, t, t, k)
/* The seven widths of an operator, in the order of codes. */
#define WIDTHS(ROW, operation, tail)                                                            \
    OF(I32_ATOMIC_RMW_##operation) = ROW(I32, 2), OF(I64_ATOMIC_RMW_##operation) = ROW(I64, 3), \
    OF(I32_ATOMIC_RMW8_##operation##tail) = ROW(I32, 0),                                        \
    OF(I32_ATOMIC_RMW16_##operation##tail) = ROW(I32, 1),                                       \
    OF(I64_ATOMIC_RMW8_##operation##tail) = ROW(I64, 0),                                        \
    OF(I64_ATOMIC_RMW16_##operation##tail) = ROW(I64, 1),                                       \
    OF(I64_ATOMIC_RMW32_##operation##tail) = ROW(I64, 2)

/* Prefix 0xfe. The feature is the prefix's. */
static const struct wasm_shape shapes_atomic[] = {
    OF(MEMORY_ATOMIC_NOTIFY) = ATOMIC(2, I32, I32, 0, I32, 2),
    OF(MEMORY_ATOMIC_WAIT32) = ATOMIC(3, I32, I32, I64, I32, 2),
    OF(MEMORY_ATOMIC_WAIT64) = ATOMIC(3, I32, I64, I64, I32, 3),
    OF(ATOMIC_FENCE) = FORM(FENCE),
    OF(I32_ATOMIC_LOAD) = ALOAD(I32, 2),
    OF(I64_ATOMIC_LOAD) = ALOAD(I64, 3),
    OF(I32_ATOMIC_LOAD8_U) = ALOAD(I32, 0),
    OF(I32_ATOMIC_LOAD16_U) = ALOAD(I32, 1),
    OF(I64_ATOMIC_LOAD8_U) = ALOAD(I64, 0),
    OF(I64_ATOMIC_LOAD16_U) = ALOAD(I64, 1),
    OF(I64_ATOMIC_LOAD32_U) = ALOAD(I64, 2),
    OF(I32_ATOMIC_STORE) = ASTORE(I32, 2),
    OF(I64_ATOMIC_STORE) = ASTORE(I64, 3),
    OF(I32_ATOMIC_STORE8) = ASTORE(I32, 0),
    OF(I32_ATOMIC_STORE16) = ASTORE(I32, 1),
    OF(I64_ATOMIC_STORE8) = ASTORE(I64, 0),
    OF(I64_ATOMIC_STORE16) = ASTORE(I64, 1),
    OF(I64_ATOMIC_STORE32) = ASTORE(I64, 2),
    WIDTHS(MODIFY, ADD, _U),
    WIDTHS(MODIFY, SUB, _U),
    WIDTHS(MODIFY, AND, _U),
    WIDTHS(MODIFY, OR, _U),
    WIDTHS(MODIFY, XOR, _U),
    WIDTHS(MODIFY, XCHG, _U),
    WIDTHS(EXCHANGE, CMPXCHG, _U),
};

static const struct wasm_shape shape_unknown = FORM(UNKNOWN);

#define ROWS(table) (sizeof(table) / sizeof(table)[0])

const struct wasm_shape *wasm_shape_prefixed(uint32_t op)
{
    uint32_t sub = op & 0xfff;
    switch (op >> 12) {
    case 0xfc: return sub < ROWS(shapes_numeric) ? &shapes_numeric[sub] : &shape_unknown;
    case 0xfd: return sub < ROWS(shapes_vector) ? &shapes_vector[sub] : &shape_unknown;
    case 0xfe: return sub < ROWS(shapes_atomic) ? &shapes_atomic[sub] : &shape_unknown;
    default: return &shape_unknown;
    }
}

const char *wasm_op_proposal(uint32_t op)
{
    if ((op >= 0x06 && op <= 0x0a) || op == 0x18 || op == 0x19 || op == 0x1f)
        return "exceptions";
    if (op == 0x14 || op == 0x15 || (op >= 0xd4 && op <= 0xd6))
        return "function-references";
    if (op == 0xd3 || (op >= 0xfb000 && op <= 0xfb01e))
        return "gc";
    if (op >= 0xfc013 && op <= 0xfc016)
        return "wide-arithmetic";
    if (op >= 0xfd100 && op <= 0xfd113)
        return "relaxed-simd";
    return NULL;
}
