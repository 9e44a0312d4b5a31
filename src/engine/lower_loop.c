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

/* 0 when it does not count. */
static uint32_t phi_step(LLVMValueRef phi, LLVMValueRef latch)
{
    uint32_t step;
    return value_is_i32(phi) && sum_counter_step(phi, latch, &step) ? step : 0;
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

/* A sum being made. */
struct adder {
    const struct loop *loop;
    struct sum *sum;
    uint32_t visits; /* values looked at */
};

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

static bool value_add(struct adder *, LLVMValueRef, uint32_t factor, unsigned depth);

/* value ^ by, of which the factor leaves the low bits. Where `by` has all bits that the value may
 * have, that is by - value: clang's way to write -1 - i, or -2 - i of an even i. */
static bool inverse_add(struct adder *a, LLVMValueRef value, uint32_t by, uint32_t factor,
                        unsigned depth)
{
    uint32_t counts = UINT32_MAX >> __builtin_ctz(factor);
    uint32_t never = (1u << counter_zeros(a->loop, value)) - 1;
    if ((counts & ~by & ~never) != 0)
        return false;
    a->sum->constant += factor * by;
    return value_add(a, value, 0 - factor, depth);
}

static bool scaled_add(struct adder *a, LLVMValueRef value, uint32_t factor, unsigned depth)
{
    LLVMValueRef left = LLVMGetOperand(value, 0);
    uint32_t by;
    if (!sum_scale(value, &by))
        return false;
    if (LLVMGetInstructionOpcode(value) != LLVMXor)
        return value_add(a, left, factor * by, depth);
    return factor != 0 && inverse_add(a, left, by, factor, depth);
}

/* Adds value * factor. */
static bool value_add(struct adder *a, LLVMValueRef value, uint32_t factor, unsigned depth)
{
    if (LLVMIsAConstantInt(value)) {
        a->sum->constant += factor * (uint32_t)LLVMConstIntGetZExtValue(value);
        return true;
    }
    uint32_t number = loop_number(a->loop, value);
    if (number == GRAPH_NONE)
        return sum_add_term(a->sum, value, factor);
    if (depth == 0 || a->visits++ == SUM_VISITS)
        return false;
    LLVMOpcode opcode = LLVMGetInstructionOpcode(value);
    switch (opcode) {
    case LLVMPHI: return a->loop->steps[number] != 0 && sum_add_term(a->sum, value, factor);
    case LLVMShl:
    case LLVMMul:
    case LLVMXor: return scaled_add(a, value, factor, depth - 1);
    case LLVMOr:
        if (!LLVMGetIsDisjoint(value))
            return false;
        /* fallthrough */
    case LLVMAdd:
    case LLVMSub: break;
    default: return false;
    }
    return value_add(a, LLVMGetOperand(value, 0), factor, depth - 1) &&
           value_add(a, LLVMGetOperand(value, 1), opcode == LLVMSub ? 0 - factor : factor,
                     depth - 1);
}

bool loop_sum_of(const struct loop *loop, LLVMValueRef value, struct sum *out)
{
    *out = (struct sum){0};
    struct adder adder = {.loop = loop, .sum = out};
    return value_is_i32(value) && value_add(&adder, value, 1, SUM_DEPTH);
}

uint32_t loop_sum_step(const struct loop *loop, const struct sum *sum, uint32_t copies)
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
