/*
 * One function from begin to finish: the validator's sink. It sets up the frame of the generated
 * function (vm, base, locals), sends every operator to its family, and puts trap blocks last.
 */
#include "engine/lower_function.h"

#include <stdio.h>
#include <stdlib.h>

LLVMValueRef lower_function_create(struct lowering *l, const char *name, LLVMTypeRef type)
{
    LLVMValueRef function = LLVMAddFunction(l->llvm, name, type);
    LLVMSetVisibility(function, LLVMHiddenVisibility);
    for (unsigned i = 0; i < LOWER_ATTRIBUTES; i++)
        LLVMAddAttributeAtIndex(function, (LLVMAttributeIndex)LLVMAttributeFunctionIndex,
                                l->attributes[i]);
    return function;
}

LLVMValueRef lower_declare(struct lowering *l, uint32_t index)
{
    assert(index >= l->module->imported_functions);
    LLVMValueRef *known = &l->functions[index - l->module->imported_functions];
    if (!*known) {
        char name[16];
        snprintf(name, sizeof name, "f%u", index);
        *known =
            lower_function_create(l, name, lower_signature(l, l->module->functions[index].type));
        LLVMSetFunctionCallConv(*known, lower_convention(l));
    }
    return *known;
}

/* B, for a module whose fields do not end there: every slot is aligned to its size. */
static LLVMValueRef base_from_vm(struct lowering *l)
{
    if (l->options->link == LINK_PRIMARY)
        return l->vm;
    LLVMTypeRef types[2] = {l->pointer, l->i64};
    LLVMValueRef mask = lower_i64(l, ~(SLOT_SIZE - 1));
    LLVMValueRef slot =
        lower_intrinsic(l, "llvm.ptrmask", types, 2, (LLVMValueRef[]){l->vm, mask}, 2);
    return lower_offset(l, slot, lower_i64(l, ARENA_BASE));
}

void lower_prologue(struct lowering *l, LLVMValueRef function, uint32_t offset)
{
    l->function = function;
    l->entry = lower_block(l);
    lower_position(l, l->entry);
    l->scope =
        LLVMDIBuilderCreateFunction(l->debug, l->debug_file, "", 0, "", 0, l->debug_file, offset,
                                    l->debug_type, false, true, offset, LLVMDIFlagZero, true);
    LLVMSetSubprogram(function, l->scope);
    lower_locate(l, offset);
    l->vm = LLVMGetParam(function, 0);
    l->base = base_from_vm(l);
    l->memory = NULL;
    if (l->bounded && l->module->memory_count > 0)
        l->memory = lower_at_base(l, lower_load_field(l, l->i64, lower_from_vm(l, FIELD_MEMORY)));
}

/* ---- begin ---- */

static int locals_reserve(struct lowering *l, uint32_t count, struct error *e)
{
    if (count <= l->local_capacity)
        return 0;
    LLVMValueRef *locals = realloc(l->locals, count * sizeof *locals);
    if (!locals)
        return error_set(e, ATOLL_ENOMEM, "no memory for the locals of function %u", l->index);
    l->locals = locals;
    l->local_capacity = count;
    return 0;
}

static void locals_create(struct lowering *l, struct wasm_signature s)
{
    unsigned first = s.result_count > 1 ? 2 : 1;
    for (uint32_t i = 0; i < l->local_count; i++)
        l->locals[i] = LLVMBuildAlloca(l->builder, lower_type(l, l->local_types[i]), "");
    for (uint32_t i = 0; i < l->local_count; i++) {
        LLVMValueRef value = i < s.param_count ? LLVMGetParam(l->function, first + i)
                                               : LLVMConstNull(lower_type(l, l->local_types[i]));
        LLVMBuildStore(l->builder, value, l->locals[i]);
    }
}

static int function_begin(void *context, const struct wasm_module *m, uint32_t index,
                          const uint8_t *local_types, uint32_t local_count, struct error *e)
{
    struct lowering *l = context;
    struct wasm_signature s = wasm_function_signature(m, index);
    l->index = index;
    l->local_types = local_types;
    l->local_count = local_count;
    l->stack_len = l->saved_len = l->frame_count = 0;
    l->dead = false;
    l->call_results = NULL;
    l->call_result_slots = 0;
    l->traps.count = 0;
    l->fuel_charge = NULL;
    int rc = locals_reserve(l, local_count, e);
    if (rc < 0)
        return rc;
    lower_prologue(l, lower_declare(l, index), m->functions[index].body.offset);
    l->results = s.result_count > 1 ? LLVMGetParam(l->function, 1) : NULL;
    locals_create(l, s);
    lower_fuel_begin(l, true);
    struct wasm_signature frame = {.results = s.results, .result_count = s.result_count};
    return lower_frame_open(l, FRAME_FUNCTION, frame, e);
}

/* ---- operators ---- */

static int stack_reserve(struct lowering *l, struct error *e)
{
    if (l->stack_capacity - l->stack_len >= LOWER_STACK_ROOM)
        return 0;
    uint32_t capacity = l->stack_capacity * 2 + LOWER_STACK_ROOM;
    LLVMValueRef *stack = realloc(l->stack, capacity * sizeof *stack);
    if (!stack)
        return error_set(e, ATOLL_ENOMEM, "no memory for the operands of function %u", l->index);
    l->stack = stack;
    l->stack_capacity = capacity;
    return 0;
}

static int dispatch_prefixed(struct lowering *l, const struct wasm_op *op, struct error *e)
{
    switch (op->op >> 12) {
    case 0xfd: return lower_simd_op(l, op, e);
    case 0xfe: return lower_atomic_op(l, op, e);
    default: break;
    }
    if (op->op < WASM_OP_MEMORY_INIT)
        return lower_convert_op(l, op, e);
    return op->op <= WASM_OP_MEMORY_FILL ? lower_memory_op(l, op, e) : lower_table_op(l, op, e);
}

static int dispatch(struct lowering *l, const struct wasm_op *op, struct error *e)
{
    uint32_t code = op->op;
    if (code > 0xff)
        return dispatch_prefixed(l, op, e);
    if (code < WASM_OP_CALL || (code >= WASM_OP_DROP && code <= WASM_OP_SELECT_T))
        return lower_control_op(l, op, e);
    if (code < WASM_OP_DROP)
        return lower_call_op(l, op, e);
    if (code <= WASM_OP_GLOBAL_SET)
        return lower_variable_op(l, op, e);
    if (code <= WASM_OP_TABLE_SET || code >= WASM_OP_REF_NULL)
        return lower_table_op(l, op, e);
    if (code <= WASM_OP_MEMORY_GROW)
        return lower_memory_op(l, op, e);
    if (code >= WASM_OP_I32_WRAP_I64 && code < WASM_OP_I32_EXTEND8_S)
        return lower_convert_op(l, op, e);
    return lower_numeric_op(l, op, e);
}

static int function_op(void *context, const struct wasm_op *op, struct error *e)
{
    struct lowering *l = context;
    int rc = stack_reserve(l, e);
    if (rc < 0)
        return rc;
    if (l->dead) {
        lower_locate(l, op->offset);
        return lower_control_op(l, op, e);
    }
    l->fuel_count++;
    lower_locate(l, op->offset);
    rc = dispatch(l, op, e);
    if (l->dead)
        lower_fuel_end(l);
    return rc;
}

/* ---- finish ---- */

static int function_finish(void *context, struct error *e)
{
    struct lowering *l = context;
    (void)e;
    assert(l->frame_count == 0);
    for (uint32_t i = 0; i < l->traps.count; i++)
        LLVMMoveBasicBlockAfter(l->traps.items[i], LLVMGetLastBasicBlock(l->function));
    uint64_t cost = (uint64_t)LLVMCountBasicBlocks(l->function) * (l->local_count + 1ull);
    if (cost > l->largest_cost)
        l->largest_cost = cost;
    return 0;
}

struct wasm_sink lower_sink(struct lowering *l)
{
    return (struct wasm_sink){l, function_begin, function_op, function_finish};
}

void lower_sink_free(struct lowering *l)
{
    free(l->locals);
    free(l->stack);
    free(l->saved);
    free(l->frames);
    free(l->traps.items);
}
