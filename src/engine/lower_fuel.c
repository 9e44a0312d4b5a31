/*
 * Metering. Every basic block of the wasm code pays the number of its operators at its head, so the
 * count depends on the path alone and not on how the code was optimised. The number is known only
 * when the block ends: the subtraction is emitted with 0 and patched.
 */
#include "engine/lower_function.h"

static void fuel_test(struct lowering *l, LLVMValueRef left)
{
    LLVMBasicBlockRef exhausted = lower_block(l), next = lower_block(l);
    LLVMValueRef below = LLVMBuildICmp(l->builder, LLVMIntSLT, left, lower_i64(l, 0), "");
    LLVMBuildCondBr(l->builder, below, exhausted, next);
    lower_position(l, exhausted);
    lower_gate(l, GATE_FUEL, NULL, 0);
    LLVMBuildBr(l->builder, next);
    lower_position(l, next);
}

void lower_fuel_begin(struct lowering *l, bool test)
{
    if (!l->options->fuel)
        return;
    LLVMValueRef field = lower_from_base(l, FIELD_FUEL);
    LLVMValueRef left = lower_load_field(l, l->i64, field);
    left = LLVMBuildSub(l->builder, left, lower_i64(l, 0), "");
    l->fuel_charge = left;
    l->fuel_count = 0;
    lower_store_field(l, left, field);
    if (test)
        fuel_test(l, left);
}

void lower_fuel_end(struct lowering *l)
{
    if (!l->fuel_charge)
        return;
    LLVMSetOperand(l->fuel_charge, 1, lower_i64(l, l->fuel_count));
    l->fuel_charge = NULL;
}
