/*
 * Scalar numeric operators: integers and floats, up to sign extension and saturating truncation.
 * Conversions stand in lower_convert.c.
 *
 * LLVM's integer division is undefined where WebAssembly's traps, and its shifts where
 * WebAssembly's wrap; its float arithmetic may fold an operation that would have quieted a
 * signalling NaN. Each case is met where it arises.
 */
#include "engine/lower_function.h"
#include "engine/lower_simd.h"

static void compare_integers(struct lowering *l, LLVMIntPredicate predicate)
{
    LLVMValueRef b = lower_pop(l), a = lower_pop(l);
    lower_push(l, lower_truth(l, LLVMBuildICmp(l->builder, predicate, a, b, "")));
}

static void compare_floats(struct lowering *l, LLVMRealPredicate predicate)
{
    LLVMValueRef b = lower_pop(l), a = lower_pop(l);
    lower_push(l, lower_truth(l, LLVMBuildFCmp(l->builder, predicate, a, b, "")));
}

static void equal_zero(struct lowering *l)
{
    LLVMValueRef a = lower_pop(l);
    LLVMValueRef zero = LLVMConstNull(LLVMTypeOf(a));
    lower_push(l, lower_truth(l, LLVMBuildICmp(l->builder, LLVMIntEQ, a, zero, "")));
}

static void count_zeros(struct lowering *l, const char *name)
{
    LLVMValueRef a = lower_pop(l);
    LLVMTypeRef type = LLVMTypeOf(a);
    LLVMValueRef zero_is_defined = LLVMConstNull(l->i1);
    lower_push(l, lower_intrinsic(l, name, &type, 1, (LLVMValueRef[]){a, zero_is_defined}, 2));
}

static void integer_arithmetic(struct lowering *l, LLVMOpcode opcode)
{
    LLVMValueRef b = lower_pop(l), a = lower_pop(l);
    lower_push(l, LLVMBuildBinOp(l->builder, opcode, a, b, ""));
}

static void integer_shift(struct lowering *l, LLVMOpcode opcode)
{
    LLVMValueRef count = lower_pop(l), a = lower_pop(l);
    LLVMTypeRef type = LLVMTypeOf(a);
    LLVMValueRef mask = LLVMConstInt(type, type == l->i32 ? 31 : 63, false);
    count = LLVMBuildAnd(l->builder, count, mask, "");
    lower_push(l, LLVMBuildBinOp(l->builder, opcode, a, count, ""));
}

static void integer_rotate(struct lowering *l, const char *funnel_shift)
{
    LLVMValueRef count = lower_pop(l), a = lower_pop(l);
    LLVMTypeRef type = LLVMTypeOf(a);
    lower_push(l, lower_intrinsic(l, funnel_shift, &type, 1, (LLVMValueRef[]){a, a, count}, 3));
}

static void divide_signed(struct lowering *l)
{
    LLVMValueRef b = lower_freeze(l, lower_pop(l)), a = lower_freeze(l, lower_pop(l));
    LLVMTypeRef type = LLVMTypeOf(a);
    LLVMValueRef lowest = LLVMConstInt(type, type == l->i32 ? 1ull << 31 : 1ull << 63, false);
    LLVMBuilderRef at = l->builder;
    LLVMValueRef by_zero = LLVMBuildICmp(at, LLVMIntEQ, b, LLVMConstNull(type), "");
    lower_trap_if(l, by_zero, TRAP_DIVIDE_BY_ZERO);
    LLVMValueRef overflow =
        LLVMBuildAnd(at, LLVMBuildICmp(at, LLVMIntEQ, a, lowest, ""),
                     LLVMBuildICmp(at, LLVMIntEQ, b, LLVMConstAllOnes(type), ""), "");
    lower_trap_if(l, overflow, TRAP_INTEGER_OVERFLOW);
    lower_push(l, LLVMBuildSDiv(at, a, b, ""));
}

static void remainder_signed(struct lowering *l)
{
    LLVMValueRef b = lower_freeze(l, lower_pop(l)), a = lower_freeze(l, lower_pop(l));
    LLVMTypeRef type = LLVMTypeOf(a);
    LLVMValueRef by_zero = LLVMBuildICmp(l->builder, LLVMIntEQ, b, LLVMConstNull(type), "");
    lower_trap_if(l, by_zero, TRAP_DIVIDE_BY_ZERO);
    /* The remainder by -1 is 0, as by 1; the machine's division would fault on the lowest value. */
    LLVMValueRef minus_one = LLVMBuildICmp(l->builder, LLVMIntEQ, b, LLVMConstAllOnes(type), "");
    b = LLVMBuildSelect(l->builder, minus_one, LLVMConstInt(type, 1, false), b, "");
    lower_push(l, LLVMBuildSRem(l->builder, a, b, ""));
}

static void divide_unsigned(struct lowering *l, LLVMOpcode opcode)
{
    LLVMValueRef b = lower_freeze(l, lower_pop(l)), a = lower_pop(l);
    LLVMValueRef zero = LLVMConstNull(LLVMTypeOf(b));
    LLVMValueRef by_zero = LLVMBuildICmp(l->builder, LLVMIntEQ, b, zero, "");
    lower_trap_if(l, by_zero, TRAP_DIVIDE_BY_ZERO);
    lower_push(l, LLVMBuildBinOp(l->builder, opcode, a, b, ""));
}

static void sign_extend(struct lowering *l, LLVMTypeRef from)
{
    LLVMValueRef a = lower_pop(l);
    LLVMValueRef narrow = LLVMBuildTrunc(l->builder, a, from, "");
    lower_push(l, LLVMBuildSExt(l->builder, narrow, LLVMTypeOf(a), ""));
}

/* ---- floats ---- */

LLVMValueRef lower_fence(struct lowering *l, LLVMValueRef value)
{
    return lower_unary_intrinsic(l, "llvm.arithmetic.fence", value);
}

/* Does LLVM know an identity for this constant, such as x * 1 = x? */
static bool has_identity(LLVMValueRef constant)
{
    LLVMBool inexact;
    double value = LLVMConstRealGetDouble(constant, &inexact);
    return value == 0 || value == 1 || value == -1 || __builtin_isinf(value);
}

LLVMValueRef lower_quieting_operand(struct lowering *l, LLVMValueRef value)
{
    if (!LLVMIsConstant(value))
        return value;
    if (LLVMIsAConstantFP(value) && LLVMGetTypeKind(LLVMTypeOf(value)) != LLVMVectorTypeKind &&
        !has_identity(value))
        return value;
    return lower_fence(l, value);
}

/* The type with f32 or f64 elements as integers of the same shape; *bits is the canonical NaN. */
static LLVMValueRef canonical_nan(struct lowering *l, LLVMTypeRef type)
{
    bool vector = LLVMGetTypeKind(type) == LLVMVectorTypeKind;
    LLVMTypeRef element = vector ? LLVMGetElementType(type) : type;
    LLVMValueRef bits =
        element == l->f32 ? lower_i32(l, 0x7fc00000) : lower_i64(l, 0x7ff8000000000000);
    LLVMValueRef nan = LLVMConstBitCast(bits, element);
    if (!vector)
        return nan;
    LLVMValueRef lanes[4] = {nan, nan, nan, nan};
    unsigned count = LLVMGetVectorSize(type);
    assert(count <= 4);
    return LLVMConstVector(lanes, count);
}

LLVMValueRef lower_canonical_nan(struct lowering *l, LLVMValueRef value)
{
    if (!l->options->deterministic)
        return value;
    LLVMValueRef unordered = LLVMBuildFCmp(l->builder, LLVMRealUNO, value, value, "");
    return LLVMBuildSelect(l->builder, unordered, canonical_nan(l, LLVMTypeOf(value)), value, "");
}

static void float_arithmetic(struct lowering *l, LLVMOpcode opcode)
{
    LLVMValueRef b = lower_quieting_operand(l, lower_pop(l));
    LLVMValueRef a = lower_quieting_operand(l, lower_pop(l));
    lower_push(l, lower_canonical_nan(l, LLVMBuildBinOp(l->builder, opcode, a, b, "")));
}

static void float_extreme(struct lowering *l, bool greater)
{
    LLVMValueRef b = lower_pop(l), a = lower_pop(l);
    lower_push(l, lower_canonical_nan(l, lower_float_extreme(l, a, b, greater)));
}

/* ceil, floor, trunc, nearest, sqrt: they quiet NaNs. */
static void float_rounding(struct lowering *l, const char *name)
{
    lower_push(l, lower_canonical_nan(l, lower_unary_intrinsic(l, name, lower_pop(l))));
}

static void float_sign(struct lowering *l, uint32_t op)
{
    LLVMValueRef a = lower_pop(l);
    if (op == WASM_OP_F32_NEG || op == WASM_OP_F64_NEG)
        lower_push(l, LLVMBuildFNeg(l->builder, a, ""));
    else if (op == WASM_OP_F32_ABS || op == WASM_OP_F64_ABS)
        lower_push(l, lower_unary_intrinsic(l, "llvm.fabs", a));
    else
        lower_push(l, lower_binary_intrinsic(l, "llvm.copysign", lower_pop(l), a));
}

/* ---- dispatch ---- */

/* The predicates of eq, ne, lt_s, lt_u, …, in the order of the opcodes. */
static const LLVMIntPredicate integer_predicates[10] = {
    LLVMIntEQ,  LLVMIntNE,  LLVMIntSLT, LLVMIntULT, LLVMIntSGT,
    LLVMIntUGT, LLVMIntSLE, LLVMIntULE, LLVMIntSGE, LLVMIntUGE,
};
static const LLVMRealPredicate float_predicates[6] = {
    LLVMRealOEQ, LLVMRealUNE, LLVMRealOLT, LLVMRealOGT, LLVMRealOLE, LLVMRealOGE,
};

static void comparison_op(struct lowering *l, uint32_t op)
{
    if (op == WASM_OP_I32_EQZ || op == WASM_OP_I64_EQZ)
        equal_zero(l);
    else if (op <= WASM_OP_I32_GE_U)
        compare_integers(l, integer_predicates[op - WASM_OP_I32_EQ]);
    else if (op <= WASM_OP_I64_GE_U)
        compare_integers(l, integer_predicates[op - WASM_OP_I64_EQ]);
    else if (op <= WASM_OP_F32_GE)
        compare_floats(l, float_predicates[op - WASM_OP_F32_EQ]);
    else
        compare_floats(l, float_predicates[op - WASM_OP_F64_EQ]);
}

/* op counts from clz, in the order that i32 and i64 share. */
static void integer_op(struct lowering *l, uint32_t op)
{
    switch (op + WASM_OP_I32_CLZ) {
    case WASM_OP_I32_CLZ: count_zeros(l, "llvm.ctlz"); break;
    case WASM_OP_I32_CTZ: count_zeros(l, "llvm.cttz"); break;
    case WASM_OP_I32_POPCNT:
        lower_push(l, lower_unary_intrinsic(l, "llvm.ctpop", lower_pop(l)));
        break;
    case WASM_OP_I32_ADD: integer_arithmetic(l, LLVMAdd); break;
    case WASM_OP_I32_SUB: integer_arithmetic(l, LLVMSub); break;
    case WASM_OP_I32_MUL: integer_arithmetic(l, LLVMMul); break;
    case WASM_OP_I32_DIV_S: divide_signed(l); break;
    case WASM_OP_I32_DIV_U: divide_unsigned(l, LLVMUDiv); break;
    case WASM_OP_I32_REM_S: remainder_signed(l); break;
    case WASM_OP_I32_REM_U: divide_unsigned(l, LLVMURem); break;
    case WASM_OP_I32_AND: integer_arithmetic(l, LLVMAnd); break;
    case WASM_OP_I32_OR: integer_arithmetic(l, LLVMOr); break;
    case WASM_OP_I32_XOR: integer_arithmetic(l, LLVMXor); break;
    case WASM_OP_I32_SHL: integer_shift(l, LLVMShl); break;
    case WASM_OP_I32_SHR_S: integer_shift(l, LLVMAShr); break;
    case WASM_OP_I32_SHR_U: integer_shift(l, LLVMLShr); break;
    case WASM_OP_I32_ROTL: integer_rotate(l, "llvm.fshl"); break;
    default: assert(op + WASM_OP_I32_CLZ == WASM_OP_I32_ROTR); integer_rotate(l, "llvm.fshr");
    }
}

/* op counts from abs, in the order that f32 and f64 share. */
static void float_op(struct lowering *l, uint32_t op)
{
    switch (op + WASM_OP_F32_ABS) {
    case WASM_OP_F32_ABS:
    case WASM_OP_F32_NEG:
    case WASM_OP_F32_COPYSIGN: float_sign(l, op + WASM_OP_F32_ABS); break;
    case WASM_OP_F32_CEIL: float_rounding(l, "llvm.ceil"); break;
    case WASM_OP_F32_FLOOR: float_rounding(l, "llvm.floor"); break;
    case WASM_OP_F32_TRUNC: float_rounding(l, "llvm.trunc"); break;
    case WASM_OP_F32_NEAREST: float_rounding(l, "llvm.roundeven"); break;
    case WASM_OP_F32_SQRT: float_rounding(l, "llvm.sqrt"); break;
    case WASM_OP_F32_ADD: float_arithmetic(l, LLVMFAdd); break;
    case WASM_OP_F32_SUB: float_arithmetic(l, LLVMFSub); break;
    case WASM_OP_F32_MUL: float_arithmetic(l, LLVMFMul); break;
    case WASM_OP_F32_DIV: float_arithmetic(l, LLVMFDiv); break;
    case WASM_OP_F32_MIN: float_extreme(l, false); break;
    default: assert(op + WASM_OP_F32_ABS == WASM_OP_F32_MAX); float_extreme(l, true);
    }
}

static void constant_op(struct lowering *l, const struct wasm_op *op)
{
    uint64_t bits = load_u64(op->constant);
    switch (op->op) {
    case WASM_OP_I32_CONST: lower_push(l, lower_i32(l, (uint32_t)bits)); break;
    case WASM_OP_I64_CONST: lower_push(l, lower_i64(l, bits)); break;
    /* By way of an integer: the bits of a NaN must survive. */
    case WASM_OP_F32_CONST:
        lower_push(l, LLVMConstBitCast(lower_i32(l, (uint32_t)bits), l->f32));
        break;
    default: lower_push(l, LLVMConstBitCast(lower_i64(l, bits), l->f64));
    }
}

int lower_numeric_op(struct lowering *l, const struct wasm_op *op, struct error *e)
{
    (void)e;
    uint32_t code = op->op;
    if (code <= WASM_OP_F64_CONST)
        constant_op(l, op);
    else if (code <= WASM_OP_F64_GE)
        comparison_op(l, code);
    else if (code <= WASM_OP_I32_ROTR)
        integer_op(l, code - WASM_OP_I32_CLZ);
    else if (code <= WASM_OP_I64_ROTR)
        integer_op(l, code - WASM_OP_I64_CLZ);
    else if (code <= WASM_OP_F32_COPYSIGN)
        float_op(l, code - WASM_OP_F32_ABS);
    else if (code <= WASM_OP_F64_COPYSIGN)
        float_op(l, code - WASM_OP_F64_ABS);
    else if (code == WASM_OP_I32_EXTEND8_S || code == WASM_OP_I64_EXTEND8_S)
        sign_extend(l, l->i8);
    else if (code == WASM_OP_I32_EXTEND16_S || code == WASM_OP_I64_EXTEND16_S)
        sign_extend(l, l->i16);
    else {
        assert(code == WASM_OP_I64_EXTEND32_S);
        sign_extend(l, l->i32);
    }
    return 0;
}
