/* Leaving straight-line code: gates to the host, traps, and the blocks they need. */
#include "engine/lower_function.h"

#include <stdlib.h>

/* Argument or result slot i of the call area. */
LLVMValueRef lower_area_slot(struct lowering *l, uint32_t i)
{
    return lower_from_vm(l, (int64_t)i * (int64_t)AREA_SLOT - (int64_t)l->layout->area);
}

void lower_gate(struct lowering *l, uint32_t number, LLVMValueRef const *arguments, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        lower_store_field(l, arguments[i], lower_area_slot(l, i));
    LLVMValueRef gate = lower_from_base(l, GATE_FROM_B);
    LLVMBuildCall2(l->builder, l->gate_type, gate, (LLVMValueRef[]){l->vm, lower_i32(l, number)}, 2,
                   "");
}

LLVMValueRef lower_gate_result(struct lowering *l, uint32_t number, LLVMValueRef const *arguments,
                               uint32_t count, LLVMTypeRef type)
{
    lower_gate(l, number, arguments, count);
    return lower_load_field(l, type, lower_area_slot(l, 0));
}

void lower_trap(struct lowering *l, enum trap_kind kind)
{
    LLVMValueRef code = LLVMConstInt(l->i8, kind, false);
    LLVMValueRef call = lower_intrinsic(l, "llvm.ubsantrap", NULL, 0, &code, 1);
    /* Merged traps would lose the wasm offsets of all but one. */
    LLVMAddCallSiteAttribute(call, (LLVMAttributeIndex)LLVMAttributeFunctionIndex, l->nomerge);
    LLVMBuildUnreachable(l->builder);
}

LLVMBasicBlockRef lower_block(struct lowering *l)
{
    return LLVMAppendBasicBlockInContext(l->context, l->function, "");
}

LLVMBasicBlockRef lower_trap_block(struct lowering *l)
{
    LLVMBasicBlockRef block = lower_block(l);
    struct lower_block_list *list = &l->traps;
    if (list->count == list->capacity) {
        uint32_t capacity = list->capacity ? list->capacity * 2 : 256;
        LLVMBasicBlockRef *items = realloc(list->items, capacity * sizeof *items);
        /* Without memory the block stays where it is: that costs a jump, nothing else. */
        if (items) {
            list->items = items;
            list->capacity = capacity;
        }
    }
    if (list->count < list->capacity)
        list->items[list->count++] = block;
    lower_position(l, block);
    return block;
}

void lower_trap_if(struct lowering *l, LLVMValueRef condition, enum trap_kind kind)
{
    LLVMBasicBlockRef here = LLVMGetInsertBlock(l->builder);
    LLVMBasicBlockRef trap = lower_trap_block(l);
    lower_trap(l, kind);
    LLVMBasicBlockRef next = lower_block(l);
    lower_position(l, here);
    LLVMBuildCondBr(l->builder, condition, trap, next);
    lower_position(l, next);
}

void lower_locate(struct lowering *l, uint32_t offset)
{
    l->offset = offset;
    LLVMSetCurrentDebugLocation2(
        l->builder, LLVMDIBuilderCreateDebugLocation(l->context, offset, 0, l->scope, NULL));
}
