/*
 * SIMD operators that move, mask or resize lanes: constants, shuffles, splats, single lanes,
 * bitwise operators, truth tests, narrowing and widening.
 *
 * Generic IR where the backend finds the best instruction from it; the machine's own where it would
 * not: narrowing with saturation (pack), and swizzle (pshufb).
 */
#include "engine/lower_simd.h"

void simd_const(struct lowering *l, const struct wasm_op *op, const struct simd_row *row)
{
    (void)row;
    LLVMValueRef lanes[4];
    for (unsigned i = 0; i < 4; i++)
        lanes[i] = lower_i32(l, load_u32(op->constant + 4 * (size_t)i));
    lower_push(l, LLVMConstVector(lanes, 4));
}

void simd_shuffle(struct lowering *l, const struct wasm_op *op, const struct simd_row *row)
{
    (void)row;
    LLVMValueRef b = simd_pop(l, I8X16), a = simd_pop(l, I8X16), lanes[16];
    for (unsigned i = 0; i < 16; i++)
        lanes[i] = lower_i32(l, op->lanes[i]);
    simd_push(l, LLVMBuildShuffleVector(l->builder, a, b, LLVMConstVector(lanes, 16), ""));
}

/* pshufb gives zero where bit 7 of the index is set and looks at its low 4 bits otherwise. A
 * saturating addition of 0x70 sets that bit exactly for 16 and above and keeps the low 4 below. */
void simd_swizzle(struct lowering *l, const struct wasm_op *op, const struct simd_row *row)
{
    (void)op;
    LLVMValueRef index = simd_pop(l, row->shape), vector = simd_pop(l, row->shape);
    LLVMValueRef bias = simd_constant(l, row->shape, 0x70);
    index = lower_binary_intrinsic(l, "llvm.uadd.sat", index, bias);
    LLVMValueRef arguments[2] = {vector, index};
    simd_push(l, lower_intrinsic(l, "llvm.x86.ssse3.pshuf.b.128", NULL, 0, arguments, 2));
}

void simd_splat_op(struct lowering *l, const struct wasm_op *op, const struct simd_row *row)
{
    (void)op;
    LLVMValueRef scalar = lower_pop(l);
    LLVMTypeRef element = simd_element(l, row->shape);
    if (LLVMTypeOf(scalar) != element)
        scalar = LLVMBuildTrunc(l->builder, scalar, element, "");
    simd_push(l, simd_splat(l, scalar, row->shape));
}

void simd_extract(struct lowering *l, const struct wasm_op *op, const struct simd_row *row)
{
    LLVMValueRef vector = simd_pop(l, row->shape), index = lower_i32(l, op->lanes[0]);
    LLVMValueRef lane = LLVMBuildExtractElement(l->builder, vector, index, "");
    if (row->shape <= I16X8)
        lane = row->is_signed ? LLVMBuildSExt(l->builder, lane, l->i32, "")
                              : LLVMBuildZExt(l->builder, lane, l->i32, "");
    lower_push(l, lane);
}

void simd_replace(struct lowering *l, const struct wasm_op *op, const struct simd_row *row)
{
    LLVMValueRef lane = lower_pop(l), vector = simd_pop(l, row->shape);
    LLVMTypeRef element = simd_element(l, row->shape);
    if (LLVMTypeOf(lane) != element)
        lane = LLVMBuildTrunc(l->builder, lane, element, "");
    LLVMValueRef index = lower_i32(l, op->lanes[0]);
    simd_push(l, LLVMBuildInsertElement(l->builder, vector, lane, index, ""));
}

void simd_bitwise(struct lowering *l, const struct wasm_op *op, const struct simd_row *row)
{
    (void)op;
    LLVMBuilderRef at = l->builder;
    LLVMValueRef b = lower_pop(l);
    if (row->detail == BITWISE_NOT) {
        lower_push(l, LLVMBuildNot(at, b, ""));
        return;
    }
    LLVMValueRef a = lower_pop(l);
    switch ((enum simd_bitwise_kind)row->detail) {
    case BITWISE_AND: lower_push(l, LLVMBuildAnd(at, a, b, "")); break;
    case BITWISE_ANDNOT: lower_push(l, LLVMBuildAnd(at, a, LLVMBuildNot(at, b, ""), "")); break;
    case BITWISE_OR: lower_push(l, LLVMBuildOr(at, a, b, "")); break;
    default: lower_push(l, LLVMBuildXor(at, a, b, ""));
    }
}

void simd_bitselect(struct lowering *l, const struct wasm_op *op, const struct simd_row *row)
{
    (void)op;
    (void)row;
    LLVMBuilderRef at = l->builder;
    LLVMValueRef mask = lower_pop(l), b = lower_pop(l), a = lower_pop(l);
    LLVMValueRef ones = LLVMBuildAnd(at, a, mask, "");
    LLVMValueRef zeros = LLVMBuildAnd(at, b, LLVMBuildNot(at, mask, ""), "");
    lower_push(l, LLVMBuildOr(at, ones, zeros, ""));
}

/* A comparison of all 128 bits with zero is one ptest. */
static void push_whole_test(struct lowering *l, LLVMIntPredicate predicate, LLVMValueRef vector)
{
    LLVMTypeRef whole = LLVMIntTypeInContext(l->context, 128);
    LLVMValueRef bits = LLVMBuildBitCast(l->builder, vector, whole, "");
    LLVMValueRef zero = LLVMConstNull(whole);
    lower_push(l, lower_truth(l, LLVMBuildICmp(l->builder, predicate, bits, zero, "")));
}

void simd_any_true(struct lowering *l, const struct wasm_op *op, const struct simd_row *row)
{
    (void)op;
    (void)row;
    push_whole_test(l, LLVMIntNE, lower_pop(l));
}

void simd_all_true(struct lowering *l, const struct wasm_op *op, const struct simd_row *row)
{
    (void)op;
    LLVMValueRef vector = simd_pop(l, row->shape), zero = LLVMConstNull(LLVMTypeOf(vector));
    LLVMValueRef is_zero = LLVMBuildICmp(l->builder, LLVMIntEQ, vector, zero, "");
    push_whole_test(l, LLVMIntEQ, simd_mask(l, is_zero, row->shape));
}

void simd_bitmask(struct lowering *l, const struct wasm_op *op, const struct simd_row *row)
{
    (void)op;
    LLVMValueRef vector = simd_pop(l, row->shape), zero = LLVMConstNull(LLVMTypeOf(vector));
    LLVMValueRef negative = LLVMBuildICmp(l->builder, LLVMIntSLT, vector, zero, "");
    LLVMTypeRef bits = LLVMIntTypeInContext(l->context, simd_lanes(row->shape));
    negative = LLVMBuildBitCast(l->builder, negative, bits, "");
    lower_push(l, LLVMBuildZExt(l->builder, negative, l->i32, ""));
}

/* row->shape: of the operands, whose lanes are always read as signed; row->name: the pack. */
void simd_narrow(struct lowering *l, const struct wasm_op *op, const struct simd_row *row)
{
    (void)op;
    LLVMValueRef b = simd_pop(l, row->shape), a = simd_pop(l, row->shape);
    simd_push(l, lower_intrinsic(l, row->name, NULL, 0, (LLVMValueRef[]){a, b}, 2));
}

/* row->shape: of the result; row->detail: 1 for the high half. */
void simd_extend(struct lowering *l, const struct wasm_op *op, const struct simd_row *row)
{
    (void)op;
    unsigned count = simd_lanes(row->shape);
    LLVMValueRef narrow = simd_pop(l, row->shape - 1u);
    LLVMValueRef half = simd_pick(l, narrow, NULL, row->detail * count, 1, count);
    LLVMTypeRef wide = simd_type(l, row->shape);
    simd_push(l, row->is_signed ? LLVMBuildSExt(l->builder, half, wide, "")
                                : LLVMBuildZExt(l->builder, half, wide, ""));
}
