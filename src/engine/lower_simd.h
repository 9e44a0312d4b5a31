/*
 * What the files of SIMD lowering share: shapes, operands in a shape, and the operator table's
 * rows.
 *
 * On the value stack a v128 is a <4 x i32>; an operator casts its operands to its shape and its
 * result back. The table in lower_simd.c says, per operator, which handler lowers it, in which
 * shape, and with what parameters; the handlers stand in the files named below.
 */
#ifndef ENGINE_LOWER_SIMD_H
#define ENGINE_LOWER_SIMD_H

#include "engine/lower_function.h"

enum simd_shape { I8X16, I16X8, I32X4, I64X2, F32X4, F64X2 };

struct simd_row {
    void (*lower)(struct lowering *, const struct wasm_op *, const struct simd_row *);
    uint8_t shape;
    uint8_t detail; /* a predicate, an LLVM opcode, an enum of the handler: see there */
    bool is_signed;
    const char *name; /* of an intrinsic */
};

/* Element type, lanes and vector type of a shape; a vector of any number of an element. */
LLVMTypeRef simd_element(const struct lowering *, enum simd_shape);
unsigned simd_lanes(enum simd_shape);
LLVMTypeRef simd_type(const struct lowering *, enum simd_shape);

/* Takes a v128 operand in a shape; pushes a vector of 128 bits of any shape. */
LLVMValueRef simd_pop(struct lowering *, enum simd_shape);
void simd_push(struct lowering *, LLVMValueRef vector);
LLVMValueRef simd_cast(struct lowering *, LLVMValueRef vector, enum simd_shape);

/* A scalar, of the element's type, in every lane; the same for a constant integer. */
LLVMValueRef simd_splat(struct lowering *, LLVMValueRef scalar, enum simd_shape);
LLVMValueRef simd_constant(const struct lowering *, enum simd_shape, uint64_t lane);
/* Lanes first, first + step, …, count of them, of a followed by b (b may be NULL). */
LLVMValueRef simd_pick(struct lowering *, LLVMValueRef a, LLVMValueRef b, unsigned first,
                       unsigned step, unsigned count);
/* All lanes one or zero, by an i1 vector; ready to be pushed. */
LLVMValueRef simd_mask(struct lowering *, LLVMValueRef condition, enum simd_shape);

typedef void simd_handler(struct lowering *, const struct wasm_op *, const struct simd_row *);

/* ---- lower_simd_memory.c ---- */
simd_handler simd_load, simd_load_extend, simd_load_splat, simd_load_zero, simd_load_lane,
    simd_store, simd_store_lane;
/* ---- lower_simd_lanes.c ---- */
simd_handler simd_const, simd_shuffle, simd_swizzle, simd_splat_op, simd_extract, simd_replace,
    simd_bitwise, simd_bitselect, simd_any_true, simd_all_true, simd_bitmask, simd_narrow,
    simd_extend;
enum simd_bitwise_kind { BITWISE_NOT, BITWISE_AND, BITWISE_ANDNOT, BITWISE_OR, BITWISE_XOR };
/* ---- lower_simd_integer.c ---- */
simd_handler simd_compare, simd_arithmetic, simd_negate, simd_absolute, simd_unary, simd_binary,
    simd_shift, simd_average, simd_q15_multiply, simd_dot, simd_multiply_extended,
    simd_add_pairwise_bytes, simd_add_pairwise_halves;
/* ---- lower_simd_float.c ---- */
simd_handler simd_float_compare, simd_float_arithmetic, simd_float_negate, simd_float_absolute,
    simd_float_unary, simd_float_extreme, simd_float_pseudo_extreme, simd_convert, simd_convert_low,
    simd_truncate_single, simd_truncate_double, simd_demote, simd_promote;
/* The lesser or greater of two floats (scalars or vectors alike) as WebAssembly defines it: NaNs
 * are passed on quieted, and -0 is less than 0. Not canonical. */
LLVMValueRef lower_float_extreme(struct lowering *, LLVMValueRef a, LLVMValueRef b, bool greater);

#endif
