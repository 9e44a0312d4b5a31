/* See lower_loop.h. */
#include "engine/lower_loop.h"

#define SUM_DEPTH  12u
#define SUM_VISITS 64u

/* ---- the loop ---- */

static bool value_is_i32(LLVMValueRef value)
{
    LLVMTypeRef type = LLVMTypeOf(value);
    return LLVMGetTypeKind(type) == LLVMIntegerTypeKind && LLVMGetIntTypeWidth(type) == 32;
}

static uint32_t phi_step(LLVMValueRef phi, LLVMValueRef latch)
{
    if (!value_is_i32(phi) || !LLVMIsAInstruction(latch) ||
        LLVMGetInstructionOpcode(latch) != LLVMAdd || LLVMGetOperand(latch, 0) != phi ||
        !LLVMIsAConstantInt(LLVMGetOperand(latch, 1)))
        return 0;
    return (uint32_t)LLVMConstIntGetZExtValue(LLVMGetOperand(latch, 1));
}

static bool phi_read(struct loop *loop, LLVMValueRef phi, uint32_t number)
{
    if (LLVMCountIncoming(phi) != 2)
        return false;
    unsigned back = LLVMGetIncomingBlock(phi, 1) == loop->block;
    loop->before = LLVMGetIncomingBlock(phi, 1 - back);
    loop->starts[number] = LLVMGetIncomingValue(phi, 1 - back);
    loop->latches[number] = LLVMGetIncomingValue(phi, back);
    loop->steps[number] = phi_step(phi, loop->latches[number]);
    loop->phi_count = number + 1;
    return LLVMGetIncomingBlock(phi, back) == loop->block && loop->before != loop->block;
}

static bool instructions_number(struct loop *loop, LLVMValueRef last)
{
    for (LLVMValueRef i = LLVMGetFirstInstruction(loop->block); i != last;
         i = LLVMGetNextInstruction(i)) {
        if (loop->count == LOOP_INSTRUCTIONS ||
            (LLVMGetInstructionOpcode(i) == LLVMPHI && !phi_read(loop, i, loop->count)) ||
            !pointer_map_put(&loop->numbers, i, loop->count))
            return false;
        loop->instructions[loop->count++] = i;
    }
    return loop->phi_count != 0;
}

bool loop_read(LLVMBasicBlockRef block, struct loop *loop)
{
    loop->count = loop->phi_count = 0;
    loop->numbers = (struct pointer_map){0};
    LLVMValueRef last = LLVMGetBasicBlockTerminator(block);
    loop->block = block;
    if (LLVMGetInstructionOpcode(last) != LLVMBr || LLVMGetNumSuccessors(last) != 2)
        return false;
    loop->leaves_on_true = LLVMGetSuccessor(last, 0) != block;
    loop->exit = LLVMGetSuccessor(last, !loop->leaves_on_true);
    loop->condition = LLVMGetCondition(last);
    return LLVMGetSuccessor(last, loop->leaves_on_true) == block && loop->exit != block &&
           instructions_number(loop, last) && LLVMIsAICmpInst(loop->condition) &&
           loop_number(loop, loop->condition) != GRAPH_NONE;
}

void loop_free(struct loop *loop)
{
    pointer_map_free(&loop->numbers);
}

bool loop_value_lives_on(const struct loop *loop, LLVMValueRef value)
{
    for (LLVMUseRef use = LLVMGetFirstUse(value); use; use = LLVMGetNextUse(use))
        if (LLVMGetInstructionParent(LLVMGetUser(use)) != loop->block)
            return true;
    return false;
}

/* ---- sums ---- */

static bool sum_add_term(struct loop_sum *sum, LLVMValueRef value, uint32_t factor)
{
    uint32_t i = 0;
    while (i < sum->count && sum->terms[i].value != value)
        i++;
    if (i == LOOP_TERMS)
        return false;
    if (i == sum->count)
        sum->terms[sum->count++].value = value, sum->terms[i].factor = 0;
    sum->terms[i].factor += factor;
    if (sum->terms[i].factor == 0)
        sum->terms[i] = sum->terms[--sum->count];
    return true;
}

/* Bits at the low end of a counter that are always 0. */
static uint32_t counter_zeros(const struct loop *loop, LLVMValueRef value)
{
    uint32_t number = loop_number(loop, value);
    if (number >= loop->phi_count || loop->steps[number] == 0 ||
        !LLVMIsAConstantInt(loop->starts[number]))
        return 0;
    return (uint32_t)__builtin_ctz((uint32_t)LLVMConstIntGetZExtValue(loop->starts[number]) |
                                   loop->steps[number]);
}

static bool sum_add(const struct loop *, LLVMValueRef, uint32_t factor, unsigned depth,
                    struct loop_sum *);

/* value ^ by, of which the factor leaves the low bits. Where `by` has all bits that the value may
 * have, that is by - value: clang's way to write -1 - i, or -2 - i of an even i. */
static bool sum_add_inverse(const struct loop *loop, LLVMValueRef value, uint32_t by,
                            uint32_t factor, unsigned depth, struct loop_sum *sum)
{
    uint32_t counts = UINT32_MAX >> __builtin_ctz(factor);
    uint32_t never = (1u << counter_zeros(loop, value)) - 1;
    if ((counts & ~by & ~never) != 0)
        return false;
    sum->constant += factor * by;
    return sum_add(loop, value, 0 - factor, depth, sum);
}

static bool sum_add_scaled(const struct loop *loop, LLVMValueRef value, uint32_t factor,
                           unsigned depth, struct loop_sum *sum)
{
    LLVMValueRef left = LLVMGetOperand(value, 0), right = LLVMGetOperand(value, 1);
    if (!LLVMIsAConstantInt(right))
        return false;
    uint32_t by = (uint32_t)LLVMConstIntGetZExtValue(right);
    switch (LLVMGetInstructionOpcode(value)) {
    case LLVMShl: return sum_add(loop, left, by < 32 ? factor << by : 0, depth, sum);
    case LLVMMul: return sum_add(loop, left, factor * by, depth, sum);
    default: return factor != 0 && sum_add_inverse(loop, left, by, factor, depth, sum);
    }
}

/* Adds value * factor. */
static bool sum_add(const struct loop *loop, LLVMValueRef value, uint32_t factor, unsigned depth,
                    struct loop_sum *sum)
{
    if (LLVMIsAConstantInt(value)) {
        sum->constant += factor * (uint32_t)LLVMConstIntGetZExtValue(value);
        return true;
    }
    uint32_t number = loop_number(loop, value);
    if (number == GRAPH_NONE)
        return sum_add_term(sum, value, factor);
    if (depth == 0 || sum->visits++ == SUM_VISITS)
        return false;
    LLVMOpcode opcode = LLVMGetInstructionOpcode(value);
    switch (opcode) {
    case LLVMPHI: return loop->steps[number] != 0 && sum_add_term(sum, value, factor);
    case LLVMShl:
    case LLVMMul:
    case LLVMXor: return sum_add_scaled(loop, value, factor, depth - 1, sum);
    case LLVMOr:
        if (!LLVMGetIsDisjoint(value))
            return false;
        /* fallthrough */
    case LLVMAdd:
    case LLVMSub: break;
    default: return false;
    }
    return sum_add(loop, LLVMGetOperand(value, 0), factor, depth - 1, sum) &&
           sum_add(loop, LLVMGetOperand(value, 1), opcode == LLVMSub ? 0 - factor : factor,
                   depth - 1, sum);
}

bool loop_sum_of(const struct loop *loop, LLVMValueRef value, struct loop_sum *out)
{
    *out = (struct loop_sum){0};
    return value_is_i32(value) && sum_add(loop, value, 1, SUM_DEPTH, out);
}

bool loop_sum_subtract(struct loop_sum *a, const struct loop_sum *b)
{
    a->constant -= b->constant;
    for (uint32_t i = 0; i < b->count; i++)
        if (!sum_add_term(a, b->terms[i].value, 0 - b->terms[i].factor))
            return false;
    return true;
}

bool loop_sum_is_parallel(const struct loop_sum *a, const struct loop_sum *b)
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

uint32_t loop_sum_step(const struct loop *loop, const struct loop_sum *sum, uint32_t copies)
{
    uint32_t step = 0;
    for (uint32_t i = 0; i < sum->count; i++) {
        uint32_t number = loop_number(loop, sum->terms[i].value);
        if (number != GRAPH_NONE)
            step +=
                sum->terms[i].factor * (uint32_t)((int32_t)loop->steps[number] / (int32_t)copies);
    }
    return step;
}
