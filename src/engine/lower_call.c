/*
 * Calls: direct, through an imported function's record, through a table; and their tail forms.
 *
 * A call of an import never names the import thunk: the record holds whatever the linker bound, the
 * thunk or a function of another instance.
 */
#include "engine/lower_function.h"

/* A callee, and the vm it runs with. */
struct callee {
    LLVMValueRef code, vm;
    uint32_t type;
};

/* The code and vm words of a record or table entry, as pointers. */
static struct callee record_callee(struct lowering *l, LLVMValueRef record, uint32_t type)
{
    LLVMValueRef code = lower_at_base(l, lower_record_word(l, record, 0));
    LLVMValueRef vm = lower_at_base(l, lower_record_word(l, record, 1));
    return (struct callee){code, vm, type};
}

static struct callee direct_callee(struct lowering *l, uint32_t function)
{
    uint32_t type = l->module->functions[function].type;
    if (function >= l->module->imported_functions)
        return (struct callee){lower_declare(l, function), l->vm, type};
    LLVMValueRef record = lower_from_vm(l, abi_record_from_vm(l->module, l->layout, function));
    return record_callee(l, record, type);
}

static LLVMValueRef signature_number(struct lowering *l, uint32_t type)
{
    if (l->options->link == LINK_PRIMARY)
        return lower_i64(l, abi_primary_signature(l->module, type));
    int64_t from_vm = (int64_t)type * 8 - (int64_t)l->layout->signatures;
    LLVMValueRef load = lower_load_field(l, l->i64, lower_from_vm(l, from_vm));
    LLVMSetMetadata(load, l->kind_invariant, l->nothing_node);
    return load;
}

/* An entry of another type traps as such, a null entry (signature 0) as uninitialised. */
static void trap_if_signature_differs(struct lowering *l, LLVMValueRef found, uint32_t type)
{
    LLVMBasicBlockRef here = LLVMGetInsertBlock(l->builder);
    LLVMBasicBlockRef null = lower_trap_block(l);
    lower_trap(l, TRAP_UNINITIALIZED_ELEMENT);
    LLVMBasicBlockRef other = lower_trap_block(l);
    lower_trap(l, TRAP_SIGNATURE);
    LLVMBasicBlockRef which = lower_trap_block(l);
    LLVMValueRef is_null = LLVMBuildICmp(l->builder, LLVMIntEQ, found, lower_i64(l, 0), "");
    LLVMBuildCondBr(l->builder, is_null, null, other);
    LLVMBasicBlockRef next = lower_block(l);
    lower_position(l, here);
    LLVMValueRef same = LLVMBuildICmp(l->builder, LLVMIntEQ, found, signature_number(l, type), "");
    LLVMBuildCondBr(l->builder, same, next, which);
    lower_position(l, next);
}

static struct callee indirect_callee(struct lowering *l, uint32_t type, uint32_t table)
{
    LLVMValueRef entry = lower_table_entry(l, table, lower_pop(l), TRAP_UNDEFINED_ELEMENT);
    trap_if_signature_differs(l, lower_record_word(l, entry, 2), type);
    return record_callee(l, entry, type);
}

/* Where callees with several results put them: one area in the frame, large enough for all. */
static LLVMValueRef call_result_area(struct lowering *l, uint32_t slots)
{
    if (slots > l->call_result_slots || !l->call_results) {
        LLVMBasicBlockRef here = LLVMGetInsertBlock(l->builder);
        LLVMMetadataRef location = LLVMGetCurrentDebugLocation2(l->builder);
        LLVMPositionBuilder(l->builder, l->entry, LLVMGetFirstInstruction(l->entry));
        LLVMTypeRef type = LLVMArrayType2(l->i8, (uint64_t)slots * AREA_SLOT);
        LLVMValueRef area = LLVMBuildAlloca(l->builder, type, "");
        LLVMSetAlignment(area, AREA_SLOT);
        lower_position(l, here);
        LLVMSetCurrentDebugLocation2(l->builder, location);
        if (l->call_results)
            LLVMReplaceAllUsesWith(l->call_results, area);
        l->call_results = area;
        l->call_result_slots = slots;
    }
    return l->call_results;
}

static LLVMValueRef result_slot(struct lowering *l, LLVMValueRef area, uint32_t i)
{
    return lower_offset(l, area, lower_i64(l, (uint64_t)i * AREA_SLOT));
}

void lower_store_results(struct lowering *l, LLVMValueRef area, LLVMValueRef const *values,
                         uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        LLVMSetAlignment(LLVMBuildStore(l->builder, values[i], result_slot(l, area, i)), 8);
}

void lower_load_results(struct lowering *l, LLVMValueRef area, struct wasm_signature s,
                        LLVMValueRef *values)
{
    for (uint32_t i = 0; i < s.result_count; i++) {
        LLVMTypeRef type = lower_type(l, s.results[i]);
        values[i] = LLVMBuildLoad2(l->builder, type, result_slot(l, area, i), "");
        LLVMSetAlignment(values[i], 8);
    }
}

/* The call instruction itself: vm, the result area when there are several results, then the popped
 * operands. */
static LLVMValueRef call_build(struct lowering *l, struct callee callee, LLVMValueRef results)
{
    struct wasm_signature s = wasm_type_signature(l->module, callee.type);
    LLVMValueRef arguments[2 + WASM_MAX_PARAMS];
    unsigned count = 0;
    arguments[count++] = callee.vm;
    if (results)
        arguments[count++] = results;
    l->stack_len -= s.param_count;
    for (uint32_t i = 0; i < s.param_count; i++)
        arguments[count++] = l->stack[l->stack_len + i];
    LLVMValueRef call = LLVMBuildCall2(l->builder, lower_signature(l, callee.type), callee.code,
                                       arguments, count, "");
    LLVMSetInstructionCallConv(call, lower_convention(l));
    return call;
}

static void call(struct lowering *l, struct callee callee)
{
    struct wasm_signature s = wasm_type_signature(l->module, callee.type);
    bool several = s.result_count > 1;
    LLVMValueRef area = several ? call_result_area(l, s.result_count) : NULL;
    LLVMValueRef result = call_build(l, callee, area);
    if (several) {
        lower_load_results(l, l->call_results, s, &l->stack[l->stack_len]);
        l->stack_len += s.result_count;
    } else if (s.result_count == 1) {
        lower_push(l, result);
    }
}

/* The callee has this function's result type, so it can fill this function's result area. */
static void return_call(struct lowering *l, struct callee callee)
{
    LLVMValueRef result = call_build(l, callee, l->results);
    struct wasm_signature s = wasm_type_signature(l->module, callee.type);
    if (l->options->tail_calls)
        LLVMSetTailCallKind(result, LLVMTailCallKindMustTail);
    if (s.result_count == 1)
        LLVMBuildRet(l->builder, result);
    else
        LLVMBuildRetVoid(l->builder);
    l->dead = true;
}

int lower_call_op(struct lowering *l, const struct wasm_op *op, struct error *e)
{
    if (op->op == WASM_OP_CALL) {
        call(l, direct_callee(l, op->index));
        return 0;
    }
    if (op->op == WASM_OP_CALL_INDIRECT) {
        call(l, indirect_callee(l, op->pair.first, op->pair.second));
        return 0;
    }
    if (!l->options->tail_calls)
        return error_set_at(e, ATOLL_EUNSUPPORTED, op->offset, l->index,
                            "the module uses tail calls; compile it with tail calls enabled");
    if (op->op == WASM_OP_RETURN_CALL)
        return_call(l, direct_callee(l, op->index));
    else
        return_call(l, indirect_callee(l, op->pair.first, op->pair.second));
    return 0;
}
