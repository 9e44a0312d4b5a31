/*
 * Lowering of the 236 SIMD operators (prefix 0xfd): the table of them, and what the handlers share.
 *
 * An operator is a row: a handler, the shape it works in, and the handler's parameters.
 * lower_simd.h tells where the handlers are; lower_control.c calls lower_simd_op.
 */
#include "engine/lower_simd.h"

/* ---- shapes ---- */

/* The integer shape of the same lanes. */
static enum simd_shape simd_integer_shape(enum simd_shape shape)
{
    return shape == F32X4 ? I32X4 : shape == F64X2 ? I64X2 : shape;
}

unsigned simd_lanes(enum simd_shape shape)
{
    return 16u >> simd_integer_shape(shape);
}

LLVMTypeRef simd_element(const struct lowering *l, enum simd_shape shape)
{
    const LLVMTypeRef elements[] = {
        [I8X16] = l->i8,  [I16X8] = l->i16, [I32X4] = l->i32,
        [I64X2] = l->i64, [F32X4] = l->f32, [F64X2] = l->f64,
    };
    return elements[shape];
}

LLVMTypeRef simd_type(const struct lowering *l, enum simd_shape shape)
{
    return LLVMVectorType(simd_element(l, shape), simd_lanes(shape));
}

/* ---- operands and results ---- */

/* Undoes a cast instead of adding another: most values stay in one shape from operator to operator.
 */
static LLVMValueRef cast(struct lowering *l, LLVMValueRef vector, LLVMTypeRef type)
{
    if (LLVMIsABitCastInst(vector) && LLVMTypeOf(LLVMGetOperand(vector, 0)) == type)
        return LLVMGetOperand(vector, 0);
    LLVMValueRef as = LLVMBuildBitCast(l->builder, vector, type, "");
    /* LLVM makes one load of a load and its bitcast, and places it where the bitcast is: that is
     * what a trap would name. */
    if (LLVMIsALoadInst(vector))
        LLVMInstructionSetDebugLoc(as, LLVMInstructionGetDebugLoc(vector));
    return as;
}

LLVMValueRef simd_cast(struct lowering *l, LLVMValueRef vector, enum simd_shape shape)
{
    return cast(l, vector, simd_type(l, shape));
}

LLVMValueRef simd_pop(struct lowering *l, enum simd_shape shape)
{
    return simd_cast(l, lower_pop(l), shape);
}

void simd_push(struct lowering *l, LLVMValueRef vector)
{
    lower_push(l, cast(l, vector, l->v128));
}

LLVMValueRef simd_splat(struct lowering *l, LLVMValueRef scalar, enum simd_shape shape)
{
    LLVMTypeRef type = simd_type(l, shape);
    LLVMValueRef one =
        LLVMBuildInsertElement(l->builder, LLVMConstNull(type), scalar, lower_i32(l, 0), "");
    LLVMValueRef lane_0_everywhere = LLVMConstNull(LLVMVectorType(l->i32, simd_lanes(shape)));
    return LLVMBuildShuffleVector(l->builder, one, one, lane_0_everywhere, "");
}

LLVMValueRef simd_constant(const struct lowering *l, enum simd_shape shape, uint64_t lane)
{
    LLVMValueRef lanes[16], value = LLVMConstInt(simd_element(l, shape), lane, false);
    for (unsigned i = 0; i < simd_lanes(shape); i++)
        lanes[i] = value;
    return LLVMConstVector(lanes, simd_lanes(shape));
}

LLVMValueRef simd_pick(struct lowering *l, LLVMValueRef a, LLVMValueRef b, unsigned first,
                       unsigned step, unsigned count)
{
    LLVMValueRef lanes[16];
    for (unsigned i = 0; i < count; i++)
        lanes[i] = lower_i32(l, first + i * step);
    return LLVMBuildShuffleVector(l->builder, a, b ? b : a, LLVMConstVector(lanes, count), "");
}

LLVMValueRef simd_mask(struct lowering *l, LLVMValueRef condition, enum simd_shape shape)
{
    return LLVMBuildSExt(l->builder, condition, simd_type(l, simd_integer_shape(shape)), "");
}

/* ---- the table ---- */

#define ROW(op) (WASM_OP_##op - WASM_OP_V128_LOAD)

static const struct simd_row rows[256] = {
    /* memory */
    [ROW(V128_LOAD)] = {.lower = simd_load, .shape = I32X4},
    [ROW(V128_LOAD8X8_S)] = {.lower = simd_load_extend, .shape = I16X8, .is_signed = true},
    [ROW(V128_LOAD8X8_U)] = {.lower = simd_load_extend, .shape = I16X8},
    [ROW(V128_LOAD16X4_S)] = {.lower = simd_load_extend, .shape = I32X4, .is_signed = true},
    [ROW(V128_LOAD16X4_U)] = {.lower = simd_load_extend, .shape = I32X4},
    [ROW(V128_LOAD32X2_S)] = {.lower = simd_load_extend, .shape = I64X2, .is_signed = true},
    [ROW(V128_LOAD32X2_U)] = {.lower = simd_load_extend, .shape = I64X2},
    [ROW(V128_LOAD8_SPLAT)] = {.lower = simd_load_splat, .shape = I8X16},
    [ROW(V128_LOAD16_SPLAT)] = {.lower = simd_load_splat, .shape = I16X8},
    [ROW(V128_LOAD32_SPLAT)] = {.lower = simd_load_splat, .shape = I32X4},
    [ROW(V128_LOAD64_SPLAT)] = {.lower = simd_load_splat, .shape = I64X2},
    [ROW(V128_LOAD32_ZERO)] = {.lower = simd_load_zero, .shape = I32X4},
    [ROW(V128_LOAD64_ZERO)] = {.lower = simd_load_zero, .shape = I64X2},
    [ROW(V128_LOAD8_LANE)] = {.lower = simd_load_lane, .shape = I8X16},
    [ROW(V128_LOAD16_LANE)] = {.lower = simd_load_lane, .shape = I16X8},
    [ROW(V128_LOAD32_LANE)] = {.lower = simd_load_lane, .shape = I32X4},
    [ROW(V128_LOAD64_LANE)] = {.lower = simd_load_lane, .shape = I64X2},
    [ROW(V128_STORE)] = {.lower = simd_store, .shape = I32X4},
    [ROW(V128_STORE8_LANE)] = {.lower = simd_store_lane, .shape = I8X16},
    [ROW(V128_STORE16_LANE)] = {.lower = simd_store_lane, .shape = I16X8},
    [ROW(V128_STORE32_LANE)] = {.lower = simd_store_lane, .shape = I32X4},
    [ROW(V128_STORE64_LANE)] = {.lower = simd_store_lane, .shape = I64X2},

    /* lanes */
    [ROW(V128_CONST)] = {.lower = simd_const, .shape = I32X4},
    [ROW(I8X16_SHUFFLE)] = {.lower = simd_shuffle, .shape = I8X16},
    [ROW(I8X16_SWIZZLE)] = {.lower = simd_swizzle, .shape = I8X16},
    [ROW(I8X16_SPLAT)] = {.lower = simd_splat_op, .shape = I8X16},
    [ROW(I16X8_SPLAT)] = {.lower = simd_splat_op, .shape = I16X8},
    [ROW(I32X4_SPLAT)] = {.lower = simd_splat_op, .shape = I32X4},
    [ROW(I64X2_SPLAT)] = {.lower = simd_splat_op, .shape = I64X2},
    [ROW(F32X4_SPLAT)] = {.lower = simd_splat_op, .shape = F32X4},
    [ROW(F64X2_SPLAT)] = {.lower = simd_splat_op, .shape = F64X2},
    [ROW(I8X16_EXTRACT_LANE_S)] = {.lower = simd_extract, .shape = I8X16, .is_signed = true},
    [ROW(I8X16_EXTRACT_LANE_U)] = {.lower = simd_extract, .shape = I8X16},
    [ROW(I16X8_EXTRACT_LANE_S)] = {.lower = simd_extract, .shape = I16X8, .is_signed = true},
    [ROW(I16X8_EXTRACT_LANE_U)] = {.lower = simd_extract, .shape = I16X8},
    [ROW(I32X4_EXTRACT_LANE)] = {.lower = simd_extract, .shape = I32X4},
    [ROW(I64X2_EXTRACT_LANE)] = {.lower = simd_extract, .shape = I64X2},
    [ROW(F32X4_EXTRACT_LANE)] = {.lower = simd_extract, .shape = F32X4},
    [ROW(F64X2_EXTRACT_LANE)] = {.lower = simd_extract, .shape = F64X2},
    [ROW(I8X16_REPLACE_LANE)] = {.lower = simd_replace, .shape = I8X16},
    [ROW(I16X8_REPLACE_LANE)] = {.lower = simd_replace, .shape = I16X8},
    [ROW(I32X4_REPLACE_LANE)] = {.lower = simd_replace, .shape = I32X4},
    [ROW(I64X2_REPLACE_LANE)] = {.lower = simd_replace, .shape = I64X2},
    [ROW(F32X4_REPLACE_LANE)] = {.lower = simd_replace, .shape = F32X4},
    [ROW(F64X2_REPLACE_LANE)] = {.lower = simd_replace, .shape = F64X2},

    /* bits and truth */
    [ROW(V128_NOT)] = {.lower = simd_bitwise, .shape = I32X4, .detail = BITWISE_NOT},
    [ROW(V128_AND)] = {.lower = simd_bitwise, .shape = I32X4, .detail = BITWISE_AND},
    [ROW(V128_ANDNOT)] = {.lower = simd_bitwise, .shape = I32X4, .detail = BITWISE_ANDNOT},
    [ROW(V128_OR)] = {.lower = simd_bitwise, .shape = I32X4, .detail = BITWISE_OR},
    [ROW(V128_XOR)] = {.lower = simd_bitwise, .shape = I32X4, .detail = BITWISE_XOR},
    [ROW(V128_BITSELECT)] = {.lower = simd_bitselect, .shape = I32X4},
    [ROW(V128_ANY_TRUE)] = {.lower = simd_any_true, .shape = I32X4},
    [ROW(I8X16_ALL_TRUE)] = {.lower = simd_all_true, .shape = I8X16},
    [ROW(I16X8_ALL_TRUE)] = {.lower = simd_all_true, .shape = I16X8},
    [ROW(I32X4_ALL_TRUE)] = {.lower = simd_all_true, .shape = I32X4},
    [ROW(I64X2_ALL_TRUE)] = {.lower = simd_all_true, .shape = I64X2},
    [ROW(I8X16_BITMASK)] = {.lower = simd_bitmask, .shape = I8X16},
    [ROW(I16X8_BITMASK)] = {.lower = simd_bitmask, .shape = I16X8},
    [ROW(I32X4_BITMASK)] = {.lower = simd_bitmask, .shape = I32X4},
    [ROW(I64X2_BITMASK)] = {.lower = simd_bitmask, .shape = I64X2},

    /* comparisons */
    [ROW(I8X16_EQ)] = {.lower = simd_compare, .shape = I8X16, .detail = LLVMIntEQ},
    [ROW(I8X16_NE)] = {.lower = simd_compare, .shape = I8X16, .detail = LLVMIntNE},
    [ROW(I8X16_LT_S)] = {.lower = simd_compare, .shape = I8X16, .detail = LLVMIntSLT},
    [ROW(I8X16_LT_U)] = {.lower = simd_compare, .shape = I8X16, .detail = LLVMIntULT},
    [ROW(I8X16_GT_S)] = {.lower = simd_compare, .shape = I8X16, .detail = LLVMIntSGT},
    [ROW(I8X16_GT_U)] = {.lower = simd_compare, .shape = I8X16, .detail = LLVMIntUGT},
    [ROW(I8X16_LE_S)] = {.lower = simd_compare, .shape = I8X16, .detail = LLVMIntSLE},
    [ROW(I8X16_LE_U)] = {.lower = simd_compare, .shape = I8X16, .detail = LLVMIntULE},
    [ROW(I8X16_GE_S)] = {.lower = simd_compare, .shape = I8X16, .detail = LLVMIntSGE},
    [ROW(I8X16_GE_U)] = {.lower = simd_compare, .shape = I8X16, .detail = LLVMIntUGE},
    [ROW(I16X8_EQ)] = {.lower = simd_compare, .shape = I16X8, .detail = LLVMIntEQ},
    [ROW(I16X8_NE)] = {.lower = simd_compare, .shape = I16X8, .detail = LLVMIntNE},
    [ROW(I16X8_LT_S)] = {.lower = simd_compare, .shape = I16X8, .detail = LLVMIntSLT},
    [ROW(I16X8_LT_U)] = {.lower = simd_compare, .shape = I16X8, .detail = LLVMIntULT},
    [ROW(I16X8_GT_S)] = {.lower = simd_compare, .shape = I16X8, .detail = LLVMIntSGT},
    [ROW(I16X8_GT_U)] = {.lower = simd_compare, .shape = I16X8, .detail = LLVMIntUGT},
    [ROW(I16X8_LE_S)] = {.lower = simd_compare, .shape = I16X8, .detail = LLVMIntSLE},
    [ROW(I16X8_LE_U)] = {.lower = simd_compare, .shape = I16X8, .detail = LLVMIntULE},
    [ROW(I16X8_GE_S)] = {.lower = simd_compare, .shape = I16X8, .detail = LLVMIntSGE},
    [ROW(I16X8_GE_U)] = {.lower = simd_compare, .shape = I16X8, .detail = LLVMIntUGE},
    [ROW(I32X4_EQ)] = {.lower = simd_compare, .shape = I32X4, .detail = LLVMIntEQ},
    [ROW(I32X4_NE)] = {.lower = simd_compare, .shape = I32X4, .detail = LLVMIntNE},
    [ROW(I32X4_LT_S)] = {.lower = simd_compare, .shape = I32X4, .detail = LLVMIntSLT},
    [ROW(I32X4_LT_U)] = {.lower = simd_compare, .shape = I32X4, .detail = LLVMIntULT},
    [ROW(I32X4_GT_S)] = {.lower = simd_compare, .shape = I32X4, .detail = LLVMIntSGT},
    [ROW(I32X4_GT_U)] = {.lower = simd_compare, .shape = I32X4, .detail = LLVMIntUGT},
    [ROW(I32X4_LE_S)] = {.lower = simd_compare, .shape = I32X4, .detail = LLVMIntSLE},
    [ROW(I32X4_LE_U)] = {.lower = simd_compare, .shape = I32X4, .detail = LLVMIntULE},
    [ROW(I32X4_GE_S)] = {.lower = simd_compare, .shape = I32X4, .detail = LLVMIntSGE},
    [ROW(I32X4_GE_U)] = {.lower = simd_compare, .shape = I32X4, .detail = LLVMIntUGE},
    [ROW(I64X2_EQ)] = {.lower = simd_compare, .shape = I64X2, .detail = LLVMIntEQ},
    [ROW(I64X2_NE)] = {.lower = simd_compare, .shape = I64X2, .detail = LLVMIntNE},
    [ROW(I64X2_LT_S)] = {.lower = simd_compare, .shape = I64X2, .detail = LLVMIntSLT},
    [ROW(I64X2_GT_S)] = {.lower = simd_compare, .shape = I64X2, .detail = LLVMIntSGT},
    [ROW(I64X2_LE_S)] = {.lower = simd_compare, .shape = I64X2, .detail = LLVMIntSLE},
    [ROW(I64X2_GE_S)] = {.lower = simd_compare, .shape = I64X2, .detail = LLVMIntSGE},
    [ROW(F32X4_EQ)] = {.lower = simd_float_compare, .shape = F32X4, .detail = LLVMRealOEQ},
    [ROW(F32X4_NE)] = {.lower = simd_float_compare, .shape = F32X4, .detail = LLVMRealUNE},
    [ROW(F32X4_LT)] = {.lower = simd_float_compare, .shape = F32X4, .detail = LLVMRealOLT},
    [ROW(F32X4_GT)] = {.lower = simd_float_compare, .shape = F32X4, .detail = LLVMRealOGT},
    [ROW(F32X4_LE)] = {.lower = simd_float_compare, .shape = F32X4, .detail = LLVMRealOLE},
    [ROW(F32X4_GE)] = {.lower = simd_float_compare, .shape = F32X4, .detail = LLVMRealOGE},
    [ROW(F64X2_EQ)] = {.lower = simd_float_compare, .shape = F64X2, .detail = LLVMRealOEQ},
    [ROW(F64X2_NE)] = {.lower = simd_float_compare, .shape = F64X2, .detail = LLVMRealUNE},
    [ROW(F64X2_LT)] = {.lower = simd_float_compare, .shape = F64X2, .detail = LLVMRealOLT},
    [ROW(F64X2_GT)] = {.lower = simd_float_compare, .shape = F64X2, .detail = LLVMRealOGT},
    [ROW(F64X2_LE)] = {.lower = simd_float_compare, .shape = F64X2, .detail = LLVMRealOLE},
    [ROW(F64X2_GE)] = {.lower = simd_float_compare, .shape = F64X2, .detail = LLVMRealOGE},

    /* integer arithmetic */
    [ROW(I8X16_ABS)] = {.lower = simd_absolute, .shape = I8X16},
    [ROW(I8X16_NEG)] = {.lower = simd_negate, .shape = I8X16},
    [ROW(I8X16_SHL)] = {.lower = simd_shift, .shape = I8X16, .detail = LLVMShl},
    [ROW(I8X16_SHR_S)] = {.lower = simd_shift, .shape = I8X16, .detail = LLVMAShr},
    [ROW(I8X16_SHR_U)] = {.lower = simd_shift, .shape = I8X16, .detail = LLVMLShr},
    [ROW(I8X16_ADD)] = {.lower = simd_arithmetic, .shape = I8X16, .detail = LLVMAdd},
    [ROW(I8X16_SUB)] = {.lower = simd_arithmetic, .shape = I8X16, .detail = LLVMSub},
    [ROW(I8X16_MIN_S)] = {.lower = simd_binary, .shape = I8X16, .name = "llvm.smin"},
    [ROW(I8X16_MIN_U)] = {.lower = simd_binary, .shape = I8X16, .name = "llvm.umin"},
    [ROW(I8X16_MAX_S)] = {.lower = simd_binary, .shape = I8X16, .name = "llvm.smax"},
    [ROW(I8X16_MAX_U)] = {.lower = simd_binary, .shape = I8X16, .name = "llvm.umax"},
    [ROW(I8X16_ADD_SAT_S)] = {.lower = simd_binary, .shape = I8X16, .name = "llvm.sadd.sat"},
    [ROW(I8X16_ADD_SAT_U)] = {.lower = simd_binary, .shape = I8X16, .name = "llvm.uadd.sat"},
    [ROW(I8X16_SUB_SAT_S)] = {.lower = simd_binary, .shape = I8X16, .name = "llvm.ssub.sat"},
    [ROW(I8X16_SUB_SAT_U)] = {.lower = simd_binary, .shape = I8X16, .name = "llvm.usub.sat"},
    [ROW(I8X16_AVGR_U)] = {.lower = simd_average, .shape = I8X16},
    [ROW(I16X8_ABS)] = {.lower = simd_absolute, .shape = I16X8},
    [ROW(I16X8_NEG)] = {.lower = simd_negate, .shape = I16X8},
    [ROW(I16X8_SHL)] = {.lower = simd_shift, .shape = I16X8, .detail = LLVMShl},
    [ROW(I16X8_SHR_S)] = {.lower = simd_shift, .shape = I16X8, .detail = LLVMAShr},
    [ROW(I16X8_SHR_U)] = {.lower = simd_shift, .shape = I16X8, .detail = LLVMLShr},
    [ROW(I16X8_ADD)] = {.lower = simd_arithmetic, .shape = I16X8, .detail = LLVMAdd},
    [ROW(I16X8_SUB)] = {.lower = simd_arithmetic, .shape = I16X8, .detail = LLVMSub},
    [ROW(I16X8_MUL)] = {.lower = simd_arithmetic, .shape = I16X8, .detail = LLVMMul},
    [ROW(I16X8_MIN_S)] = {.lower = simd_binary, .shape = I16X8, .name = "llvm.smin"},
    [ROW(I16X8_MIN_U)] = {.lower = simd_binary, .shape = I16X8, .name = "llvm.umin"},
    [ROW(I16X8_MAX_S)] = {.lower = simd_binary, .shape = I16X8, .name = "llvm.smax"},
    [ROW(I16X8_MAX_U)] = {.lower = simd_binary, .shape = I16X8, .name = "llvm.umax"},
    [ROW(I16X8_ADD_SAT_S)] = {.lower = simd_binary, .shape = I16X8, .name = "llvm.sadd.sat"},
    [ROW(I16X8_ADD_SAT_U)] = {.lower = simd_binary, .shape = I16X8, .name = "llvm.uadd.sat"},
    [ROW(I16X8_SUB_SAT_S)] = {.lower = simd_binary, .shape = I16X8, .name = "llvm.ssub.sat"},
    [ROW(I16X8_SUB_SAT_U)] = {.lower = simd_binary, .shape = I16X8, .name = "llvm.usub.sat"},
    [ROW(I16X8_AVGR_U)] = {.lower = simd_average, .shape = I16X8},
    [ROW(I32X4_ABS)] = {.lower = simd_absolute, .shape = I32X4},
    [ROW(I32X4_NEG)] = {.lower = simd_negate, .shape = I32X4},
    [ROW(I32X4_SHL)] = {.lower = simd_shift, .shape = I32X4, .detail = LLVMShl},
    [ROW(I32X4_SHR_S)] = {.lower = simd_shift, .shape = I32X4, .detail = LLVMAShr},
    [ROW(I32X4_SHR_U)] = {.lower = simd_shift, .shape = I32X4, .detail = LLVMLShr},
    [ROW(I32X4_ADD)] = {.lower = simd_arithmetic, .shape = I32X4, .detail = LLVMAdd},
    [ROW(I32X4_SUB)] = {.lower = simd_arithmetic, .shape = I32X4, .detail = LLVMSub},
    [ROW(I32X4_MUL)] = {.lower = simd_arithmetic, .shape = I32X4, .detail = LLVMMul},
    [ROW(I32X4_MIN_S)] = {.lower = simd_binary, .shape = I32X4, .name = "llvm.smin"},
    [ROW(I32X4_MIN_U)] = {.lower = simd_binary, .shape = I32X4, .name = "llvm.umin"},
    [ROW(I32X4_MAX_S)] = {.lower = simd_binary, .shape = I32X4, .name = "llvm.smax"},
    [ROW(I32X4_MAX_U)] = {.lower = simd_binary, .shape = I32X4, .name = "llvm.umax"},
    [ROW(I64X2_ABS)] = {.lower = simd_absolute, .shape = I64X2},
    [ROW(I64X2_NEG)] = {.lower = simd_negate, .shape = I64X2},
    [ROW(I64X2_SHL)] = {.lower = simd_shift, .shape = I64X2, .detail = LLVMShl},
    [ROW(I64X2_SHR_S)] = {.lower = simd_shift, .shape = I64X2, .detail = LLVMAShr},
    [ROW(I64X2_SHR_U)] = {.lower = simd_shift, .shape = I64X2, .detail = LLVMLShr},
    [ROW(I64X2_ADD)] = {.lower = simd_arithmetic, .shape = I64X2, .detail = LLVMAdd},
    [ROW(I64X2_SUB)] = {.lower = simd_arithmetic, .shape = I64X2, .detail = LLVMSub},
    [ROW(I64X2_MUL)] = {.lower = simd_arithmetic, .shape = I64X2, .detail = LLVMMul},
    [ROW(I8X16_POPCNT)] = {.lower = simd_unary, .shape = I8X16, .name = "llvm.ctpop"},
    [ROW(I16X8_Q15MULR_SAT_S)] = {.lower = simd_q15_multiply, .shape = I16X8},
    [ROW(I32X4_DOT_I16X8_S)] = {.lower = simd_dot, .shape = I16X8},

    /* wider and narrower integers */
    [ROW(I8X16_NARROW_I16X8_S)] = {.lower = simd_narrow,
                                   .shape = I16X8,
                                   .name = "llvm.x86.sse2.packsswb.128"},
    [ROW(I8X16_NARROW_I16X8_U)] = {.lower = simd_narrow,
                                   .shape = I16X8,
                                   .name = "llvm.x86.sse2.packuswb.128"},
    [ROW(I16X8_NARROW_I32X4_S)] = {.lower = simd_narrow,
                                   .shape = I32X4,
                                   .name = "llvm.x86.sse2.packssdw.128"},
    [ROW(I16X8_NARROW_I32X4_U)] = {.lower = simd_narrow,
                                   .shape = I32X4,
                                   .name = "llvm.x86.sse41.packusdw"},
    [ROW(I16X8_EXTEND_LOW_I8X16_S)] = {.lower = simd_extend,
                                       .shape = I16X8,
                                       .detail = 0,
                                       .is_signed = true},
    [ROW(I16X8_EXTEND_LOW_I8X16_U)] = {.lower = simd_extend, .shape = I16X8, .detail = 0},
    [ROW(I16X8_EXTEND_HIGH_I8X16_S)] = {.lower = simd_extend,
                                        .shape = I16X8,
                                        .detail = 1,
                                        .is_signed = true},
    [ROW(I16X8_EXTEND_HIGH_I8X16_U)] = {.lower = simd_extend, .shape = I16X8, .detail = 1},
    [ROW(I32X4_EXTEND_LOW_I16X8_S)] = {.lower = simd_extend,
                                       .shape = I32X4,
                                       .detail = 0,
                                       .is_signed = true},
    [ROW(I32X4_EXTEND_LOW_I16X8_U)] = {.lower = simd_extend, .shape = I32X4, .detail = 0},
    [ROW(I32X4_EXTEND_HIGH_I16X8_S)] = {.lower = simd_extend,
                                        .shape = I32X4,
                                        .detail = 1,
                                        .is_signed = true},
    [ROW(I32X4_EXTEND_HIGH_I16X8_U)] = {.lower = simd_extend, .shape = I32X4, .detail = 1},
    [ROW(I64X2_EXTEND_LOW_I32X4_S)] = {.lower = simd_extend,
                                       .shape = I64X2,
                                       .detail = 0,
                                       .is_signed = true},
    [ROW(I64X2_EXTEND_LOW_I32X4_U)] = {.lower = simd_extend, .shape = I64X2, .detail = 0},
    [ROW(I64X2_EXTEND_HIGH_I32X4_S)] = {.lower = simd_extend,
                                        .shape = I64X2,
                                        .detail = 1,
                                        .is_signed = true},
    [ROW(I64X2_EXTEND_HIGH_I32X4_U)] = {.lower = simd_extend, .shape = I64X2, .detail = 1},
    [ROW(I16X8_EXTMUL_LOW_I8X16_S)] = {.lower = simd_multiply_extended,
                                       .shape = I16X8,
                                       .detail = 0,
                                       .is_signed = true},
    [ROW(
        I16X8_EXTMUL_LOW_I8X16_U)] = {.lower = simd_multiply_extended, .shape = I16X8, .detail = 0},
    [ROW(I16X8_EXTMUL_HIGH_I8X16_S)] = {.lower = simd_multiply_extended,
                                        .shape = I16X8,
                                        .detail = 1,
                                        .is_signed = true},
    [ROW(I16X8_EXTMUL_HIGH_I8X16_U)] = {.lower = simd_multiply_extended,
                                        .shape = I16X8,
                                        .detail = 1},
    [ROW(I32X4_EXTMUL_LOW_I16X8_S)] = {.lower = simd_multiply_extended,
                                       .shape = I32X4,
                                       .detail = 0,
                                       .is_signed = true},
    [ROW(
        I32X4_EXTMUL_LOW_I16X8_U)] = {.lower = simd_multiply_extended, .shape = I32X4, .detail = 0},
    [ROW(I32X4_EXTMUL_HIGH_I16X8_S)] = {.lower = simd_multiply_extended,
                                        .shape = I32X4,
                                        .detail = 1,
                                        .is_signed = true},
    [ROW(I32X4_EXTMUL_HIGH_I16X8_U)] = {.lower = simd_multiply_extended,
                                        .shape = I32X4,
                                        .detail = 1},
    [ROW(I64X2_EXTMUL_LOW_I32X4_S)] = {.lower = simd_multiply_extended,
                                       .shape = I64X2,
                                       .detail = 0,
                                       .is_signed = true},
    [ROW(
        I64X2_EXTMUL_LOW_I32X4_U)] = {.lower = simd_multiply_extended, .shape = I64X2, .detail = 0},
    [ROW(I64X2_EXTMUL_HIGH_I32X4_S)] = {.lower = simd_multiply_extended,
                                        .shape = I64X2,
                                        .detail = 1,
                                        .is_signed = true},
    [ROW(I64X2_EXTMUL_HIGH_I32X4_U)] = {.lower = simd_multiply_extended,
                                        .shape = I64X2,
                                        .detail = 1},
    [ROW(I16X8_EXTADD_PAIRWISE_I8X16_S)] = {.lower = simd_add_pairwise_bytes,
                                            .shape = I16X8,
                                            .is_signed = true},
    [ROW(I16X8_EXTADD_PAIRWISE_I8X16_U)] = {.lower = simd_add_pairwise_bytes, .shape = I16X8},
    [ROW(I32X4_EXTADD_PAIRWISE_I16X8_S)] = {.lower = simd_add_pairwise_halves,
                                            .shape = I32X4,
                                            .is_signed = true},
    [ROW(I32X4_EXTADD_PAIRWISE_I16X8_U)] = {.lower = simd_add_pairwise_halves, .shape = I32X4},

    /* floating point */
    [ROW(F32X4_ABS)] = {.lower = simd_float_absolute, .shape = F32X4},
    [ROW(F32X4_NEG)] = {.lower = simd_float_negate, .shape = F32X4},
    [ROW(F32X4_SQRT)] = {.lower = simd_float_unary, .shape = F32X4, .name = "llvm.sqrt"},
    [ROW(F32X4_CEIL)] = {.lower = simd_float_unary, .shape = F32X4, .name = "llvm.ceil"},
    [ROW(F32X4_FLOOR)] = {.lower = simd_float_unary, .shape = F32X4, .name = "llvm.floor"},
    [ROW(F32X4_TRUNC)] = {.lower = simd_float_unary, .shape = F32X4, .name = "llvm.trunc"},
    [ROW(F32X4_NEAREST)] = {.lower = simd_float_unary, .shape = F32X4, .name = "llvm.roundeven"},
    [ROW(F32X4_ADD)] = {.lower = simd_float_arithmetic, .shape = F32X4, .detail = LLVMFAdd},
    [ROW(F32X4_SUB)] = {.lower = simd_float_arithmetic, .shape = F32X4, .detail = LLVMFSub},
    [ROW(F32X4_MUL)] = {.lower = simd_float_arithmetic, .shape = F32X4, .detail = LLVMFMul},
    [ROW(F32X4_DIV)] = {.lower = simd_float_arithmetic, .shape = F32X4, .detail = LLVMFDiv},
    [ROW(F32X4_MIN)] = {.lower = simd_float_extreme, .shape = F32X4, .detail = 0},
    [ROW(F32X4_MAX)] = {.lower = simd_float_extreme, .shape = F32X4, .detail = 1},
    [ROW(F32X4_PMIN)] = {.lower = simd_float_pseudo_extreme, .shape = F32X4, .detail = 0},
    [ROW(F32X4_PMAX)] = {.lower = simd_float_pseudo_extreme, .shape = F32X4, .detail = 1},
    [ROW(F64X2_ABS)] = {.lower = simd_float_absolute, .shape = F64X2},
    [ROW(F64X2_NEG)] = {.lower = simd_float_negate, .shape = F64X2},
    [ROW(F64X2_SQRT)] = {.lower = simd_float_unary, .shape = F64X2, .name = "llvm.sqrt"},
    [ROW(F64X2_CEIL)] = {.lower = simd_float_unary, .shape = F64X2, .name = "llvm.ceil"},
    [ROW(F64X2_FLOOR)] = {.lower = simd_float_unary, .shape = F64X2, .name = "llvm.floor"},
    [ROW(F64X2_TRUNC)] = {.lower = simd_float_unary, .shape = F64X2, .name = "llvm.trunc"},
    [ROW(F64X2_NEAREST)] = {.lower = simd_float_unary, .shape = F64X2, .name = "llvm.roundeven"},
    [ROW(F64X2_ADD)] = {.lower = simd_float_arithmetic, .shape = F64X2, .detail = LLVMFAdd},
    [ROW(F64X2_SUB)] = {.lower = simd_float_arithmetic, .shape = F64X2, .detail = LLVMFSub},
    [ROW(F64X2_MUL)] = {.lower = simd_float_arithmetic, .shape = F64X2, .detail = LLVMFMul},
    [ROW(F64X2_DIV)] = {.lower = simd_float_arithmetic, .shape = F64X2, .detail = LLVMFDiv},
    [ROW(F64X2_MIN)] = {.lower = simd_float_extreme, .shape = F64X2, .detail = 0},
    [ROW(F64X2_MAX)] = {.lower = simd_float_extreme, .shape = F64X2, .detail = 1},
    [ROW(F64X2_PMIN)] = {.lower = simd_float_pseudo_extreme, .shape = F64X2, .detail = 0},
    [ROW(F64X2_PMAX)] = {.lower = simd_float_pseudo_extreme, .shape = F64X2, .detail = 1},

    /* conversions */
    [ROW(I32X4_TRUNC_SAT_F32X4_S)] = {.lower = simd_truncate_single,
                                      .shape = I32X4,
                                      .is_signed = true},
    [ROW(I32X4_TRUNC_SAT_F32X4_U)] = {.lower = simd_truncate_single, .shape = I32X4},
    [ROW(I32X4_TRUNC_SAT_F64X2_S_ZERO)] = {.lower = simd_truncate_double,
                                           .shape = I32X4,
                                           .is_signed = true},
    [ROW(I32X4_TRUNC_SAT_F64X2_U_ZERO)] = {.lower = simd_truncate_double, .shape = I32X4},
    [ROW(F32X4_CONVERT_I32X4_S)] = {.lower = simd_convert, .shape = F32X4, .is_signed = true},
    [ROW(F32X4_CONVERT_I32X4_U)] = {.lower = simd_convert, .shape = F32X4},
    [ROW(F64X2_CONVERT_LOW_I32X4_S)] = {.lower = simd_convert_low,
                                        .shape = F64X2,
                                        .is_signed = true},
    [ROW(F64X2_CONVERT_LOW_I32X4_U)] = {.lower = simd_convert_low, .shape = F64X2},
    [ROW(F32X4_DEMOTE_F64X2_ZERO)] = {.lower = simd_demote, .shape = F32X4},
    [ROW(F64X2_PROMOTE_LOW_F32X4)] = {.lower = simd_promote, .shape = F64X2},
};

int lower_simd_op(struct lowering *l, const struct wasm_op *op, struct error *e)
{
    (void)e;
    uint32_t index = op->op - WASM_OP_V128_LOAD;
    assert(index < sizeof rows / sizeof rows[0] && rows[index].lower);
    rows[index].lower(l, op, &rows[index]);
    return 0;
}
