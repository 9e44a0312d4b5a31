/* See lower_sum.h. */
#include "engine/lower_sum.h"

bool sum_add_term(struct sum *sum, LLVMValueRef value, uint32_t factor)
{
    uint32_t i = 0;
    while (i < sum->count && sum->terms[i].value != value)
        i++;
    if (i == SUM_TERMS)
        return false;
    if (i == sum->count)
        sum->terms[sum->count++].value = value, sum->terms[i].factor = 0;
    sum->terms[i].factor += factor;
    if (sum->terms[i].factor == 0)
        sum->terms[i] = sum->terms[--sum->count];
    return true;
}

bool sum_subtract(struct sum *a, const struct sum *b)
{
    a->constant -= b->constant;
    for (uint32_t i = 0; i < b->count; i++)
        if (!sum_add_term(a, b->terms[i].value, 0 - b->terms[i].factor))
            return false;
    return true;
}

bool sum_is_parallel(const struct sum *a, const struct sum *b)
{
    if (a->count != b->count)
        return false;
    for (uint32_t i = 0; i < a->count; i++) {
        uint32_t k = 0;
        while (k < b->count && b->terms[k].value != a->terms[i].value)
            k++;
        if (k == b->count || b->terms[k].factor != a->terms[i].factor)
            return false;
    }
    return true;
}

bool sum_scale(LLVMValueRef value, uint32_t *by)
{
    LLVMValueRef right = LLVMGetOperand(value, 1);
    if (!LLVMIsAConstantInt(right))
        return false;
    *by = (uint32_t)LLVMConstIntGetZExtValue(right);
    if (LLVMGetInstructionOpcode(value) == LLVMShl)
        *by = *by < 32 ? 1u << *by : 0;
    return true;
}

bool sum_counter_step(LLVMValueRef phi, LLVMValueRef next, uint32_t *step)
{
    if (!LLVMIsAInstruction(next) || LLVMGetInstructionOpcode(next) != LLVMAdd ||
        LLVMGetOperand(next, 0) != phi || !LLVMIsAConstantInt(LLVMGetOperand(next, 1)))
        return false;
    *step = (uint32_t)LLVMConstIntGetZExtValue(LLVMGetOperand(next, 1));
    return true;
}
