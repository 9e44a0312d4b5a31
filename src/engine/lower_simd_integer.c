/* SIMD integer arithmetic and comparisons. Multiply-add and rounding multiply are the machine's own
 * instructions; the rest is generic IR that the backend turns into one. */
#include "engine/lower_simd.h"

/* row->detail: an LLVMIntPredicate. */
void simd_compare(struct lowering *l, const struct wasm_op *op, const struct simd_row *row)
{
    (void)op;
    LLVMValueRef b = simd_pop(l, row->shape), a = simd_pop(l, row->shape);
    LLVMValueRef holds = LLVMBuildICmp(l->builder, (LLVMIntPredicate)row->detail, a, b, "");
    simd_push(l, simd_mask(l, holds, row->shape));
}

/* row->detail: an LLVMOpcode. */
void simd_arithmetic(struct lowering *l, const struct wasm_op *op, const struct simd_row *row)
{
    (void)op;
    LLVMValueRef b = simd_pop(l, row->shape), a = simd_pop(l, row->shape);
    simd_push(l, LLVMBuildBinOp(l->builder, (LLVMOpcode)row->detail, a, b, ""));
}

void simd_negate(struct lowering *l, const struct wasm_op *op, const struct simd_row *row)
{
    (void)op;
    simd_push(l, LLVMBuildNeg(l->builder, simd_pop(l, row->shape), ""));
}

void simd_absolute(struct lowering *l, const struct wasm_op *op, const struct simd_row *row)
{
    (void)op;
    LLVMTypeRef type = simd_type(l, row->shape);
    LLVMValueRef lowest_is_poison = LLVMConstNull(l->i1);
    LLVMValueRef arguments[2] = {simd_pop(l, row->shape), lowest_is_poison};
    simd_push(l, lower_intrinsic(l, "llvm.abs", &type, 1, arguments, 2));
}

void simd_unary(struct lowering *l, const struct wasm_op *op, const struct simd_row *row)
{
    (void)op;
    simd_push(l, lower_unary_intrinsic(l, row->name, simd_pop(l, row->shape)));
}

void simd_binary(struct lowering *l, const struct wasm_op *op, const struct simd_row *row)
{
    (void)op;
    LLVMValueRef b = simd_pop(l, row->shape), a = simd_pop(l, row->shape);
    simd_push(l, lower_binary_intrinsic(l, row->name, a, b));
}

/* row->detail: an LLVMOpcode. One count for all lanes, modulo their width. */
void simd_shift(struct lowering *l, const struct wasm_op *op, const struct simd_row *row)
{
    (void)op;
    LLVMValueRef count = lower_pop(l), vector = simd_pop(l, row->shape);
    LLVMTypeRef element = simd_element(l, row->shape);
    LLVMValueRef mask = lower_i32(l, LLVMGetIntTypeWidth(element) - 1);
    count = LLVMBuildAnd(l->builder, count, mask, "");
    if (row->shape == I64X2)
        count = LLVMBuildZExt(l->builder, count, element, "");
    else if (row->shape != I32X4)
        count = LLVMBuildTrunc(l->builder, count, element, "");
    LLVMValueRef counts = simd_splat(l, count, row->shape);
    simd_push(l, LLVMBuildBinOp(l->builder, (LLVMOpcode)row->detail, vector, counts, ""));
}

/* (a + b + 1) / 2 at double width: pavgb or pavgw. */
void simd_average(struct lowering *l, const struct wasm_op *op, const struct simd_row *row)
{
    (void)op;
    LLVMBuilderRef at = l->builder;
    unsigned count = simd_lanes(row->shape);
    LLVMTypeRef narrow = simd_type(l, row->shape);
    LLVMTypeRef wide = LLVMVectorType(simd_element(l, row->shape + 1u), count);
    LLVMValueRef one = LLVMConstInt(simd_element(l, row->shape + 1u), 1, false), ones[16];
    for (unsigned i = 0; i < count; i++)
        ones[i] = one;
    LLVMValueRef all_ones = LLVMConstVector(ones, count);
    LLVMValueRef b = LLVMBuildZExt(at, simd_pop(l, row->shape), wide, "");
    LLVMValueRef a = LLVMBuildZExt(at, simd_pop(l, row->shape), wide, "");
    LLVMValueRef sum = LLVMBuildAdd(at, LLVMBuildAdd(at, a, b, ""), all_ones, "");
    simd_push(l, LLVMBuildTrunc(at, LLVMBuildLShr(at, sum, all_ones, ""), narrow, ""));
}

/* pmulhrsw is right but for -32768 squared, which it leaves at -32768; it gives that for no other
 * operands. */
void simd_q15_multiply(struct lowering *l, const struct wasm_op *op, const struct simd_row *row)
{
    (void)op;
    LLVMValueRef b = simd_pop(l, row->shape), a = simd_pop(l, row->shape);
    LLVMValueRef product =
        lower_intrinsic(l, "llvm.x86.ssse3.pmul.hr.sw.128", NULL, 0, (LLVMValueRef[]){a, b}, 2);
    LLVMValueRef lowest = simd_constant(l, row->shape, 0x8000);
    LLVMValueRef overflow = LLVMBuildICmp(l->builder, LLVMIntEQ, product, lowest, "");
    LLVMValueRef flip = simd_mask(l, overflow, row->shape);
    simd_push(l, LLVMBuildXor(l->builder, product, flip, ""));
}

/* row->shape: of the operands; products of neighbours added (pmaddwd). */
void simd_dot(struct lowering *l, const struct wasm_op *op, const struct simd_row *row)
{
    (void)op;
    LLVMValueRef b = simd_pop(l, row->shape), a = simd_pop(l, row->shape);
    LLVMValueRef arguments[2] = {a, b};
    simd_push(l, lower_intrinsic(l, "llvm.x86.sse2.pmadd.wd", NULL, 0, arguments, 2));
}

static LLVMValueRef widen_half(struct lowering *l, const struct simd_row *row)
{
    unsigned count = simd_lanes(row->shape);
    LLVMValueRef narrow = simd_pop(l, row->shape - 1u);
    LLVMValueRef half = simd_pick(l, narrow, NULL, row->detail * count, 1, count);
    LLVMTypeRef wide = simd_type(l, row->shape);
    return row->is_signed ? LLVMBuildSExt(l->builder, half, wide, "")
                          : LLVMBuildZExt(l->builder, half, wide, "");
}

/* row->shape: of the result; row->detail: 1 for the high half. */
void simd_multiply_extended(struct lowering *l, const struct wasm_op *op,
                            const struct simd_row *row)
{
    (void)op;
    LLVMValueRef b = widen_half(l, row), a = widen_half(l, row);
    simd_push(l, LLVMBuildMul(l->builder, a, b, ""));
}

/* pmaddubsw multiplies unsigned bytes by signed ones and adds neighbours; with ones on one side it
 * cannot saturate. */
void simd_add_pairwise_bytes(struct lowering *l, const struct wasm_op *op,
                             const struct simd_row *row)
{
    (void)op;
    LLVMValueRef bytes = simd_pop(l, I8X16), ones = simd_constant(l, I8X16, 1);
    LLVMValueRef as_unsigned = row->is_signed ? ones : bytes;
    LLVMValueRef as_signed = row->is_signed ? bytes : ones;
    simd_push(l, lower_intrinsic(l, "llvm.x86.ssse3.pmadd.ub.sw.128", NULL, 0,
                                 (LLVMValueRef[]){as_unsigned, as_signed}, 2));
}

void simd_add_pairwise_halves(struct lowering *l, const struct wasm_op *op,
                              const struct simd_row *row)
{
    (void)op;
    if (row->is_signed) {
        LLVMValueRef arguments[2] = {simd_pop(l, I16X8), simd_constant(l, I16X8, 1)};
        simd_push(l, lower_intrinsic(l, "llvm.x86.sse2.pmadd.wd", NULL, 0, arguments, 2));
        return;
    }
    LLVMValueRef pairs = simd_pop(l, I32X4);
    LLVMValueRef even = LLVMBuildAnd(l->builder, pairs, simd_constant(l, I32X4, 0xffff), "");
    LLVMValueRef odd = LLVMBuildLShr(l->builder, pairs, simd_constant(l, I32X4, 16), "");
    simd_push(l, LLVMBuildAdd(l->builder, even, odd, ""));
}
