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
