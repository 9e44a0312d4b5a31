/*
 * Conversions between number types.
 *
 * LLVM's float-to-integer conversions are poison outside the range, so the trapping ones compare
 * first. The bounds are exact: each is the value next to the range that the source type can
 * represent, compared exclusively.
 */
#include "engine/lower_function.h"

struct bounds {
    double above, below;
};

static struct bounds truncation_bounds(const struct lowering *l, LLVMTypeRef from, LLVMTypeRef to,
                                       bool is_signed)
{
    bool wide = to == l->i64, single = from == l->f32;
    if (!is_signed)
        return (struct bounds){-1.0, wide ? 0x1p64 : 0x1p32};
    if (wide) /* the next below -2^63: 2^-24 of it away for f32, 2^-53 for f64, doubled */
        return (struct bounds){single ? -0x1.000002p63 : -0x1.0000000000001p63, 0x1p63};
    return (struct bounds){single ? -0x1.000002p31 : -0x1.00000002p31, 0x1p31};
}

/* The invalid value's own block finds out which of two traps it is. */
static void trap_unconvertible(struct lowering *l, LLVMValueRef value, LLVMValueRef inside)
{
    LLVMBasicBlockRef here = LLVMGetInsertBlock(l->builder);
    LLVMBasicBlockRef not_a_number = lower_trap_block(l);
    lower_trap(l, TRAP_BAD_CONVERSION);
    LLVMBasicBlockRef too_large = lower_trap_block(l);
    lower_trap(l, TRAP_INTEGER_OVERFLOW);
    LLVMBasicBlockRef which = lower_trap_block(l);
    LLVMValueRef unordered = LLVMBuildFCmp(l->builder, LLVMRealUNO, value, value, "");
    LLVMBuildCondBr(l->builder, unordered, not_a_number, too_large);
    LLVMBasicBlockRef next = lower_block(l);
    lower_position(l, here);
    LLVMBuildCondBr(l->builder, inside, next, which);
    lower_position(l, next);
}

static void truncate(struct lowering *l, LLVMTypeRef to, bool is_signed)
{
    LLVMValueRef value = lower_freeze(l, lower_pop(l));
    LLVMTypeRef from = LLVMTypeOf(value);
    struct bounds bounds = truncation_bounds(l, from, to, is_signed);
    LLVMBuilderRef at = l->builder;
    LLVMValueRef above =
        LLVMBuildFCmp(at, LLVMRealOGT, value, LLVMConstReal(from, bounds.above), "");
    LLVMValueRef below =
        LLVMBuildFCmp(at, LLVMRealOLT, value, LLVMConstReal(from, bounds.below), "");
    trap_unconvertible(l, value, LLVMBuildAnd(at, above, below, ""));
    lower_push(l,
               is_signed ? LLVMBuildFPToSI(at, value, to, "") : LLVMBuildFPToUI(at, value, to, ""));
}

static void truncate_saturating(struct lowering *l, LLVMTypeRef to, bool is_signed)
{
    LLVMValueRef value = lower_pop(l);
    LLVMTypeRef types[2] = {to, LLVMTypeOf(value)};
    const char *name = is_signed ? "llvm.fptosi.sat" : "llvm.fptoui.sat";
    lower_push(l, lower_intrinsic(l, name, types, 2, &value, 1));
}

static void convert(struct lowering *l, LLVMTypeRef to, bool is_signed)
{
    LLVMValueRef value = lower_pop(l);
    lower_push(l, is_signed ? LLVMBuildSIToFP(l->builder, value, to, "")
                            : LLVMBuildUIToFP(l->builder, value, to, ""));
}

/* Between the float types. The one after the other would be folded away, and with it the quieting
 * of a signalling NaN. */
static void convert_float(struct lowering *l, LLVMTypeRef to)
{
    LLVMValueRef value = lower_pop(l);
    if (LLVMIsAFPExtInst(value) || LLVMIsAFPTruncInst(value))
        value = lower_fence(l, value);
    value = to == l->f64 ? LLVMBuildFPExt(l->builder, value, to, "")
                         : LLVMBuildFPTrunc(l->builder, value, to, "");
    lower_push(l, lower_canonical_nan(l, value));
}

static void reinterpret(struct lowering *l, LLVMTypeRef to)
{
    lower_push(l, LLVMBuildBitCast(l->builder, lower_pop(l), to, ""));
}

int lower_convert_op(struct lowering *l, const struct wasm_op *op, struct error *e)
{
    (void)e;
    switch (op->op) {
    case WASM_OP_I32_WRAP_I64:
        lower_push(l, LLVMBuildTrunc(l->builder, lower_pop(l), l->i32, ""));
        break;
    case WASM_OP_I64_EXTEND_I32_S:
        lower_push(l, LLVMBuildSExt(l->builder, lower_pop(l), l->i64, ""));
        break;
    case WASM_OP_I64_EXTEND_I32_U: lower_push(l, lower_wide(l, lower_pop(l))); break;
    case WASM_OP_I32_TRUNC_F32_S:
    case WASM_OP_I32_TRUNC_F64_S: truncate(l, l->i32, true); break;
    case WASM_OP_I32_TRUNC_F32_U:
    case WASM_OP_I32_TRUNC_F64_U: truncate(l, l->i32, false); break;
    case WASM_OP_I64_TRUNC_F32_S:
    case WASM_OP_I64_TRUNC_F64_S: truncate(l, l->i64, true); break;
    case WASM_OP_I64_TRUNC_F32_U:
    case WASM_OP_I64_TRUNC_F64_U: truncate(l, l->i64, false); break;
    case WASM_OP_I32_TRUNC_SAT_F32_S:
    case WASM_OP_I32_TRUNC_SAT_F64_S: truncate_saturating(l, l->i32, true); break;
    case WASM_OP_I32_TRUNC_SAT_F32_U:
    case WASM_OP_I32_TRUNC_SAT_F64_U: truncate_saturating(l, l->i32, false); break;
    case WASM_OP_I64_TRUNC_SAT_F32_S:
    case WASM_OP_I64_TRUNC_SAT_F64_S: truncate_saturating(l, l->i64, true); break;
    case WASM_OP_I64_TRUNC_SAT_F32_U:
    case WASM_OP_I64_TRUNC_SAT_F64_U: truncate_saturating(l, l->i64, false); break;
    case WASM_OP_F32_CONVERT_I32_S:
    case WASM_OP_F32_CONVERT_I64_S: convert(l, l->f32, true); break;
    case WASM_OP_F32_CONVERT_I32_U:
    case WASM_OP_F32_CONVERT_I64_U: convert(l, l->f32, false); break;
    case WASM_OP_F64_CONVERT_I32_S:
    case WASM_OP_F64_CONVERT_I64_S: convert(l, l->f64, true); break;
    case WASM_OP_F64_CONVERT_I32_U:
    case WASM_OP_F64_CONVERT_I64_U: convert(l, l->f64, false); break;
    case WASM_OP_F32_DEMOTE_F64: convert_float(l, l->f32); break;
    case WASM_OP_F64_PROMOTE_F32: convert_float(l, l->f64); break;
    case WASM_OP_I32_REINTERPRET_F32: reinterpret(l, l->i32); break;
    case WASM_OP_I64_REINTERPRET_F64: reinterpret(l, l->i64); break;
    case WASM_OP_F32_REINTERPRET_I32: reinterpret(l, l->f32); break;
    default: assert(op->op == WASM_OP_F64_REINTERPRET_I64); reinterpret(l, l->f64);
    }
    return 0;
}
