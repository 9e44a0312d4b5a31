/*
 * Locals and globals.
 *
 * A local is an alloca, which the first pass turns into values. A global is a 16-byte slot of the
 * field block; an imported mutable one holds the offset from B of the cell it stands for.
 */
#include "engine/lower_function.h"

static LLVMValueRef global_cell(struct lowering *l, uint32_t index)
{
    const struct wasm_module *m = l->module;
    LLVMValueRef slot =
        lower_from_vm(l, (int64_t)index * (int64_t)AREA_SLOT - (int64_t)l->layout->globals);
    if (index >= m->imported_globals || !m->globals[index].mutable)
        return slot;
    return lower_at_base(l, lower_load_field(l, l->i64, slot));
}

static void global_get(struct lowering *l, uint32_t index)
{
    const struct wasm_global *global = &l->module->globals[index];
    LLVMValueRef load = lower_load_field(l, lower_type(l, global->type), global_cell(l, index));
    if (!global->mutable)
        LLVMSetMetadata(load, l->kind_invariant, l->nothing_node);
    else if (l->options->mode == MODE_EXACT)
        LLVMSetVolatile(load, true);
    lower_push(l, load);
}

static void global_set(struct lowering *l, uint32_t index)
{
    LLVMValueRef store = lower_store_field(l, lower_pop(l), global_cell(l, index));
    if (l->options->mode == MODE_EXACT)
        LLVMSetVolatile(store, true);
}

static void local_get(struct lowering *l, uint32_t index)
{
    LLVMTypeRef type = lower_type(l, l->local_types[index]);
    lower_push(l, LLVMBuildLoad2(l->builder, type, l->locals[index], ""));
}

int lower_variable_op(struct lowering *l, const struct wasm_op *op, struct error *e)
{
    (void)e;
    switch (op->op) {
    case WASM_OP_LOCAL_GET: local_get(l, op->index); break;
    case WASM_OP_LOCAL_SET: LLVMBuildStore(l->builder, lower_pop(l), l->locals[op->index]); break;
    case WASM_OP_LOCAL_TEE:
        LLVMBuildStore(l->builder, l->stack[l->stack_len - 1], l->locals[op->index]);
        break;
    case WASM_OP_GLOBAL_GET: global_get(l, op->index); break;
    default: assert(op->op == WASM_OP_GLOBAL_SET); global_set(l, op->index);
    }
    return 0;
}
