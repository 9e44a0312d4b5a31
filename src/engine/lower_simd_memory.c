/*
 * SIMD loads and stores. Narrow accesses are made as one integer of that many bytes, so that even a
 * volatile one is a single instruction.
 */
#include "engine/lower_simd.h"

static LLVMValueRef load_integer(struct lowering *l, const struct wasm_op *op, LLVMValueRef address,
                                 LLVMTypeRef type)
{
    unsigned bytes = LLVMGetIntTypeWidth(type) / 8;
    return lower_load(l, type, lower_address(l, op, address, bytes));
}

void simd_load(struct lowering *l, const struct wasm_op *op, const struct simd_row *row)
{
    (void)row;
    lower_push(l, lower_load(l, l->v128, lower_address(l, op, lower_pop(l), 16)));
}

/* row->shape: of the result; 8 bytes hold its lanes at half their width. */
void simd_load_extend(struct lowering *l, const struct wasm_op *op, const struct simd_row *row)
{
    LLVMValueRef bits = load_integer(l, op, lower_pop(l), l->i64);
    LLVMTypeRef half = simd_element(l, row->shape - 1u);
    LLVMTypeRef narrow = LLVMVectorType(half, simd_lanes(row->shape));
    LLVMValueRef lanes = LLVMBuildBitCast(l->builder, bits, narrow, "");
    LLVMTypeRef wide = simd_type(l, row->shape);
    simd_push(l, row->is_signed ? LLVMBuildSExt(l->builder, lanes, wide, "")
                                : LLVMBuildZExt(l->builder, lanes, wide, ""));
}

void simd_load_splat(struct lowering *l, const struct wasm_op *op, const struct simd_row *row)
{
    LLVMValueRef lane = load_integer(l, op, lower_pop(l), simd_element(l, row->shape));
    simd_push(l, simd_splat(l, lane, row->shape));
}

/* The lane loaded is the lowest, all others are zero. */
void simd_load_zero(struct lowering *l, const struct wasm_op *op, const struct simd_row *row)
{
    LLVMValueRef lane = load_integer(l, op, lower_pop(l), simd_element(l, row->shape));
    LLVMValueRef zero = LLVMConstNull(simd_type(l, row->shape));
    simd_push(l, LLVMBuildInsertElement(l->builder, zero, lane, lower_i32(l, 0), ""));
}

void simd_load_lane(struct lowering *l, const struct wasm_op *op, const struct simd_row *row)
{
    LLVMValueRef vector = simd_pop(l, row->shape);
    LLVMValueRef lane = load_integer(l, op, lower_pop(l), simd_element(l, row->shape));
    LLVMValueRef index = lower_i32(l, op->memory.lane);
    simd_push(l, LLVMBuildInsertElement(l->builder, vector, lane, index, ""));
}

void simd_store(struct lowering *l, const struct wasm_op *op, const struct simd_row *row)
{
    (void)row;
    LLVMValueRef vector = lower_pop(l);
    lower_store(l, vector, lower_address(l, op, lower_pop(l), 16));
}

void simd_store_lane(struct lowering *l, const struct wasm_op *op, const struct simd_row *row)
{
    LLVMValueRef vector = simd_pop(l, row->shape);
    unsigned bytes = LLVMGetIntTypeWidth(simd_element(l, row->shape)) / 8;
    LLVMValueRef pointer = lower_address(l, op, lower_pop(l), bytes);
    LLVMValueRef index = lower_i32(l, op->memory.lane);
    lower_store(l, LLVMBuildExtractElement(l->builder, vector, index, ""), pointer);
}
