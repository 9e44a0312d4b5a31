/* See lower_edit.h. */
#include "engine/lower_edit.h"

#include <stddef.h>

void edit_phis_redirect(LLVMBuilderRef builder, LLVMBasicBlockRef block, LLVMBasicBlockRef from,
                        LLVMBasicBlockRef to)
{
    LLVMValueRef phi = LLVMGetFirstInstruction(block), next;
    for (; LLVMGetInstructionOpcode(phi) == LLVMPHI; phi = next) {
        next = LLVMGetNextInstruction(phi);
        LLVMPositionBuilderBefore(builder, phi);
        LLVMValueRef made = LLVMBuildPhi(builder, LLVMTypeOf(phi), "");
        for (unsigned i = 0; i < LLVMCountIncoming(phi); i++) {
            LLVMValueRef value = LLVMGetIncomingValue(phi, i);
            LLVMBasicBlockRef source = LLVMGetIncomingBlock(phi, i);
            if (source == from)
                source = to;
            if (value == phi)
                value = made;
            LLVMAddIncoming(made, &value, &source, 1);
        }
        LLVMReplaceAllUsesWith(phi, made);
        LLVMInstructionEraseFromParent(phi);
    }
}

void edit_loops_join(const struct edit_loops *loops)
{
    LLVMValueRef branch = LLVMGetBasicBlockTerminator(loops->old);
    LLVMSetSuccessor(branch, LLVMGetSuccessor(branch, 0) == loops->old, loops->leave);
    LLVMPositionBuilderAtEnd(loops->builder, loops->leave);
    LLVMBuildBr(loops->builder, loops->exit);
    edit_phis_redirect(loops->builder, loops->exit, loops->old, loops->leave);
}

void edit_loops_enter(const struct edit_loops *loops, LLVMValueRef condition)
{
    LLVMPositionBuilderAtEnd(loops->builder, loops->check);
    LLVMBuildCondBr(loops->builder, condition, loops->body, loops->old);
    LLVMValueRef branch = LLVMGetBasicBlockTerminator(loops->before);
    for (unsigned i = 0; i < LLVMGetNumSuccessors(branch); i++)
        if (LLVMGetSuccessor(branch, i) == loops->old)
            LLVMSetSuccessor(branch, i, loops->check);
    edit_phis_redirect(loops->builder, loops->old, loops->before, loops->check);
}

/* The first user that lies neither in one of the loops nor where they meet. */
static LLVMValueRef first_user_behind(const struct edit_loops *loops, LLVMValueRef value)
{
    for (LLVMUseRef use = LLVMGetFirstUse(value); use; use = LLVMGetNextUse(use)) {
        LLVMBasicBlockRef home = LLVMGetInstructionParent(LLVMGetUser(use));
        if (home != loops->old && home != loops->body && home != loops->leave)
            return LLVMGetUser(use);
    }
    return NULL;
}

void edit_value_lead_out(const struct edit_loops *loops, LLVMValueRef value, LLVMValueRef in_body)
{
    LLVMPositionBuilderBefore(loops->builder, LLVMGetFirstInstruction(loops->leave));
    LLVMValueRef phi = LLVMBuildPhi(loops->builder, LLVMTypeOf(value), ""), user;
    LLVMValueRef values[2] = {value, in_body};
    LLVMBasicBlockRef blocks[2] = {loops->old, loops->body};
    LLVMAddIncoming(phi, values, blocks, 2);
    while ((user = first_user_behind(loops, value)))
        for (int i = 0; i < LLVMGetNumOperands(user); i++)
            if (LLVMGetOperand(user, (unsigned)i) == value)
                LLVMSetOperand(user, (unsigned)i, phi);
}
