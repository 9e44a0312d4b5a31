/*
 * SIMD floating point: arithmetic, comparisons, extremes and conversions.
 *
 * Extremes and saturating truncations are spelled out. What LLVM makes of its own intrinsics for
 * them is slow (one lane after the other), and llvm.minimum passes a signalling NaN on unquieted.
 */
#include "engine/lower_simd.h"

/* row->detail: an LLVMRealPredicate. */
void simd_float_compare(struct lowering *l, const struct wasm_op *op, const struct simd_row *row)
{
    (void)op;
    LLVMValueRef b = simd_pop(l, row->shape), a = simd_pop(l, row->shape);
    LLVMValueRef holds = LLVMBuildFCmp(l->builder, (LLVMRealPredicate)row->detail, a, b, "");
    simd_push(l, simd_mask(l, holds, row->shape));
}

static void push_number(struct lowering *l, LLVMValueRef value)
{
    simd_push(l, lower_canonical_nan(l, value));
}

/* row->detail: an LLVMOpcode. */
void simd_float_arithmetic(struct lowering *l, const struct wasm_op *op, const struct simd_row *row)
{
    (void)op;
    LLVMValueRef b = lower_quieting_operand(l, simd_pop(l, row->shape));
    LLVMValueRef a = lower_quieting_operand(l, simd_pop(l, row->shape));
    push_number(l, LLVMBuildBinOp(l->builder, (LLVMOpcode)row->detail, a, b, ""));
}

void simd_float_negate(struct lowering *l, const struct wasm_op *op, const struct simd_row *row)
{
    (void)op;
    simd_push(l, LLVMBuildFNeg(l->builder, simd_pop(l, row->shape), ""));
}

void simd_float_absolute(struct lowering *l, const struct wasm_op *op, const struct simd_row *row)
{
    (void)op;
    simd_push(l, lower_unary_intrinsic(l, "llvm.fabs", simd_pop(l, row->shape)));
}

/* Square root and roundings; they quiet NaNs. */
void simd_float_unary(struct lowering *l, const struct wasm_op *op, const struct simd_row *row)
{
    (void)op;
    push_number(l, lower_unary_intrinsic(l, row->name, simd_pop(l, row->shape)));
}

/* ---- extremes ---- */

/* a if it is less (or greater) than b, else b: one minps or maxps. Vectors name the instruction: a
 * comparison and a selection of lanes that were integers before would not become it. */
static LLVMValueRef choose(struct lowering *l, bool greater, LLVMValueRef a, LLVMValueRef b)
{
    LLVMTypeRef type = LLVMTypeOf(a);
    if (LLVMGetTypeKind(type) != LLVMVectorTypeKind) {
        LLVMRealPredicate predicate = greater ? LLVMRealOGT : LLVMRealOLT;
        LLVMValueRef first = LLVMBuildFCmp(l->builder, predicate, a, b, "");
        return LLVMBuildSelect(l->builder, first, a, b, "");
    }
    static const char *const names[2][2] = {{"llvm.x86.sse.min.ps", "llvm.x86.sse.max.ps"},
                                            {"llvm.x86.sse2.min.pd", "llvm.x86.sse2.max.pd"}};
    const char *name = names[LLVMGetElementType(type) == l->f64][greater];
    return lower_intrinsic(l, name, NULL, 0, (LLVMValueRef[]){a, b}, 2);
}

/* The machine's extreme gives its second operand for a NaN and for zeros of either sign, so it is
 * taken in both orders. Where no NaN is involved the two agree but for such zeros: the lesser has
 * the sign bit of either, the greater that of both. Where one is, the sum is a quiet NaN. */
LLVMValueRef lower_float_extreme(struct lowering *l, LLVMValueRef a, LLVMValueRef b, bool greater)
{
    LLVMBuilderRef at = l->builder;
    LLVMTypeRef type = LLVMTypeOf(a), element = type, bits;
    if (LLVMGetTypeKind(type) == LLVMVectorTypeKind)
        element = LLVMGetElementType(type);
    bits = element == l->f32 ? l->i32 : l->i64;
    if (element != type)
        bits = LLVMVectorType(bits, LLVMGetVectorSize(type));

    a = lower_quieting_operand(l, a);
    b = lower_quieting_operand(l, b);
    LLVMValueRef one = LLVMBuildBitCast(at, choose(l, greater, a, b), bits, "");
    LLVMValueRef other = LLVMBuildBitCast(at, choose(l, greater, b, a), bits, "");
    LLVMValueRef both = LLVMBuildBinOp(at, greater ? LLVMAnd : LLVMOr, one, other, "");
    LLVMValueRef unordered = LLVMBuildFCmp(at, LLVMRealUNO, a, b, "");
    LLVMValueRef quiet = LLVMBuildFAdd(at, a, b, "");
    return LLVMBuildSelect(at, unordered, quiet, LLVMBuildBitCast(at, both, type, ""), "");
}

/* row->detail: 1 for the greater. */
void simd_float_extreme(struct lowering *l, const struct wasm_op *op, const struct simd_row *row)
{
    (void)op;
    LLVMValueRef b = simd_pop(l, row->shape), a = simd_pop(l, row->shape);
    push_number(l, lower_float_extreme(l, a, b, row->detail));
}

/* pmin: b < a ? b : a. pmax: a < b ? b : a. */
void simd_float_pseudo_extreme(struct lowering *l, const struct wasm_op *op,
                               const struct simd_row *row)
{
    (void)op;
    LLVMValueRef b = simd_pop(l, row->shape), a = simd_pop(l, row->shape);
    simd_push(l, choose(l, row->detail, b, a));
}

/* ---- conversions ---- */

static LLVMValueRef float_constant(struct lowering *l, enum simd_shape shape, double value)
{
    LLVMValueRef lane = LLVMConstReal(simd_element(l, shape), value);
    LLVMValueRef lanes[4] = {lane, lane, lane, lane};
    return LLVMConstVector(lanes, simd_lanes(shape));
}

static LLVMValueRef convert(struct lowering *l, LLVMValueRef value, LLVMTypeRef to, bool is_signed)
{
    return is_signed ? LLVMBuildSIToFP(l->builder, value, to, "")
                     : LLVMBuildUIToFP(l->builder, value, to, "");
}

void simd_convert(struct lowering *l, const struct wasm_op *op, const struct simd_row *row)
{
    (void)op;
    LLVMTypeRef to = simd_type(l, F32X4);
    simd_push(l, convert(l, simd_pop(l, I32X4), to, row->is_signed));
}

void simd_convert_low(struct lowering *l, const struct wasm_op *op, const struct simd_row *row)
{
    (void)op;
    LLVMValueRef low = simd_pick(l, simd_pop(l, I32X4), NULL, 0, 1, 2);
    simd_push(l, convert(l, low, simd_type(l, F64X2), row->is_signed));
}

/* cvttps2dq: 0x80000000 for everything outside the range of i32. */
static LLVMValueRef truncate_single(struct lowering *l, LLVMValueRef value)
{
    return lower_intrinsic(l, "llvm.x86.sse2.cvttps2dq", NULL, 0, &value, 1);
}

/* 2^31 and above become 0x7fffffff: flip what the conversion gives for them. */
static LLVMValueRef truncate_single_saturated(struct lowering *l, LLVMValueRef value)
{
    LLVMValueRef limit = float_constant(l, F32X4, 0x1p31);
    LLVMValueRef above = LLVMBuildFCmp(l->builder, LLVMRealOGE, value, limit, "");
    return LLVMBuildXor(l->builder, truncate_single(l, value), simd_mask(l, above, I32X4), "");
}

static LLVMValueRef truncate_single_signed(struct lowering *l, LLVMValueRef value)
{
    LLVMValueRef number = LLVMBuildFCmp(l->builder, LLVMRealORD, value, value, "");
    LLVMValueRef mask = simd_mask(l, number, I32X4);
    value = LLVMBuildAnd(l->builder, simd_cast(l, value, I32X4), mask, "");
    return truncate_single_saturated(l, simd_cast(l, value, F32X4));
}

/* NaN and negative values become 0. From 2^31 up, the conversion gives 2^31; what exceeds that is
 * converted on its own and added, and is below zero, so nothing, for smaller values. */
static LLVMValueRef truncate_single_unsigned(struct lowering *l, LLVMValueRef value)
{
    LLVMBuilderRef at = l->builder;
    value = choose(l, true, value, LLVMConstNull(LLVMTypeOf(value)));
    LLVMValueRef limit = float_constant(l, F32X4, 0x1p31);
    LLVMValueRef rest = truncate_single_saturated(l, LLVMBuildFSub(at, value, limit, ""));
    LLVMValueRef zero = LLVMConstNull(LLVMTypeOf(rest));
    rest = lower_binary_intrinsic(l, "llvm.smax", rest, zero);
    return LLVMBuildAdd(at, truncate_single(l, value), rest, "");
}

void simd_truncate_single(struct lowering *l, const struct wasm_op *op, const struct simd_row *row)
{
    (void)op;
    LLVMValueRef value = simd_pop(l, F32X4);
    simd_push(l, row->is_signed ? truncate_single_signed(l, value)
                                : truncate_single_unsigned(l, value));
}

/* The upper limit, masked to 0 where the value is a NaN, is what minpd gives there. cvttpd2dq is
 * right at the lower end, and zeroes the upper lanes. */
static LLVMValueRef truncate_double_signed(struct lowering *l, LLVMValueRef value)
{
    LLVMBuilderRef at = l->builder;
    LLVMValueRef number = LLVMBuildFCmp(at, LLVMRealORD, value, value, "");
    LLVMValueRef limit = simd_cast(l, float_constant(l, F64X2, 0x1.fffffffcp30), I64X2);
    limit = simd_cast(l, LLVMBuildAnd(at, limit, simd_mask(l, number, I64X2), ""), F64X2);
    value = choose(l, false, value, limit);
    return lower_intrinsic(l, "llvm.x86.sse2.cvttpd2dq", NULL, 0, &value, 1);
}

/* Truncated and clamped to [0, 2^32), the value added to 2^52 stands in the low bits of the sum. */
static LLVMValueRef truncate_double_unsigned(struct lowering *l, LLVMValueRef value)
{
    value = choose(l, true, value, LLVMConstNull(LLVMTypeOf(value)));
    value = choose(l, false, value, float_constant(l, F64X2, 0x1.fffffffep31));
    value = lower_unary_intrinsic(l, "llvm.trunc", value);
    value = LLVMBuildFAdd(l->builder, value, float_constant(l, F64X2, 0x1p52), "");
    value = simd_cast(l, value, I32X4);
    return simd_pick(l, value, LLVMConstNull(LLVMTypeOf(value)), 0, 2, 4);
}

void simd_truncate_double(struct lowering *l, const struct wasm_op *op, const struct simd_row *row)
{
    (void)op;
    LLVMValueRef value = simd_pop(l, F64X2);
    simd_push(l, row->is_signed ? truncate_double_signed(l, value)
                                : truncate_double_unsigned(l, value));
}

/* The fence keeps demote(promote(x)) from becoming x, which would not quiet. */
void simd_demote(struct lowering *l, const struct wasm_op *op, const struct simd_row *row)
{
    (void)op;
    (void)row;
    LLVMTypeRef to = LLVMVectorType(l->f32, 2);
    LLVMValueRef value = lower_fence(l, simd_pop(l, F64X2));
    LLVMValueRef low = lower_canonical_nan(l, LLVMBuildFPTrunc(l->builder, value, to, ""));
    simd_push(l, simd_pick(l, low, LLVMConstNull(to), 0, 1, 4));
}

void simd_promote(struct lowering *l, const struct wasm_op *op, const struct simd_row *row)
{
    (void)op;
    (void)row;
    LLVMValueRef low = simd_pick(l, simd_pop(l, F32X4), NULL, 0, 1, 2);
    push_number(l, LLVMBuildFPExt(l->builder, low, simd_type(l, F64X2), ""));
}
