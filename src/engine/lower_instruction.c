/* See lower_instruction.h. */
#include "engine/lower_instruction.h"

#include <string.h>

bool opcode_is_arithmetic(LLVMOpcode opcode)
{
    switch (opcode) {
    case LLVMFNeg:
    case LLVMAdd:
    case LLVMFAdd:
    case LLVMSub:
    case LLVMFSub:
    case LLVMMul:
    case LLVMFMul:
    case LLVMFDiv:
    case LLVMShl:
    case LLVMLShr:
    case LLVMAShr:
    case LLVMAnd:
    case LLVMOr:
    case LLVMXor:
    case LLVMTrunc:
    case LLVMZExt:
    case LLVMSExt:
    case LLVMUIToFP:
    case LLVMSIToFP:
    case LLVMFPTrunc:
    case LLVMFPExt:
    case LLVMBitCast:
    case LLVMICmp:
    case LLVMFCmp:
    case LLVMSelect: return true;
    default: return false;
    }
}

bool value_calls_intrinsic(LLVMValueRef value, const char *const *names, size_t count)
{
    LLVMValueRef callee =
        LLVMIsACallInst(value) ? LLVMIsAFunction(LLVMGetCalledValue(value)) : NULL;
    unsigned id = callee ? LLVMGetIntrinsicID(callee) : 0;
    for (size_t i = 0; id != 0 && i < count; i++)
        if (id == LLVMLookupIntrinsicID(names[i], strlen(names[i])))
            return true;
    return false;
}
