/*
 * Tables and references.
 *
 * A defined table lies at a constant offset from vm; an imported one is found through the
 * descriptor of the module that defines it. A funcref is the offset from B of a function record, an
 * entry holds a copy of the record (so that a call needs one load less), and its last word is the
 * funcref itself. An externref is a handle and stands in that same word, so table.get is one load
 * for both.
 */
#include "engine/lower_function.h"

#define RECORD_WORDS 4u

/* Pointer to the descriptor that says where table k is and how large. */
static LLVMValueRef table_descriptor(struct lowering *l, uint32_t table)
{
    int64_t own =
        (int64_t)table * (int64_t)sizeof(struct table_descriptor) - (int64_t)l->layout->tables;
    if (table >= l->module->imported_tables)
        return lower_from_vm(l, own);
    LLVMValueRef link = lower_from_vm(l, own + (int64_t)offsetof(struct table_descriptor, link));
    return lower_at_base(l, lower_load_field(l, l->i64, link));
}

static LLVMValueRef descriptor_word(struct lowering *l, LLVMValueRef descriptor, size_t offset)
{
    return lower_load_field(l, l->i64, lower_offset(l, descriptor, lower_i64(l, offset)));
}

static LLVMValueRef lower_table_size(struct lowering *l, uint32_t table)
{
    if (table >= l->module->imported_tables && l->layout->table_places[table].fixed_size)
        return lower_i64(l, l->module->tables[table].limits.min);
    return descriptor_word(l, table_descriptor(l, table), offsetof(struct table_descriptor, size));
}

/* Pointer to entry 0. */
static LLVMValueRef table_start(struct lowering *l, uint32_t table)
{
    if (table >= l->module->imported_tables)
        return lower_from_vm(l, l->layout->table_places[table].from_vm);
    return lower_at_base(
        l, descriptor_word(l, table_descriptor(l, table), offsetof(struct table_descriptor, base)));
}

LLVMValueRef lower_table_entry(struct lowering *l, uint32_t table, LLVMValueRef index,
                               enum trap_kind kind)
{
    LLVMValueRef at = lower_wide(l, lower_freeze(l, index));
    LLVMValueRef beyond = LLVMBuildICmp(l->builder, LLVMIntUGE, at, lower_table_size(l, table), "");
    lower_trap_if(l, beyond, kind);
    LLVMValueRef bytes =
        LLVMBuildNUWMul(l->builder, at, lower_i64(l, sizeof(struct function_record)), "");
    return lower_offset(l, table_start(l, table), bytes);
}

LLVMValueRef lower_record_word(struct lowering *l, LLVMValueRef record, unsigned word)
{
    return lower_load_field(l, l->i64, lower_offset(l, record, lower_i64(l, word * 8u)));
}

static void table_get(struct lowering *l, uint32_t table)
{
    LLVMValueRef entry = lower_table_entry(l, table, lower_pop(l), TRAP_TABLE_BOUNDS);
    lower_push(l, lower_record_word(l, entry, 3));
}

/* The words of the record a funcref names; zeros for null. */
static void record_words(struct lowering *l, LLVMValueRef reference,
                         LLVMValueRef words[RECORD_WORDS])
{
    LLVMBasicBlockRef here = LLVMGetInsertBlock(l->builder);
    LLVMBasicBlockRef named = lower_block(l), join = lower_block(l);
    LLVMValueRef zero = lower_i64(l, 0);
    LLVMValueRef null = LLVMBuildICmp(l->builder, LLVMIntEQ, reference, zero, "");
    LLVMBuildCondBr(l->builder, null, join, named);
    lower_position(l, named);
    LLVMValueRef record = lower_at_base(l, reference), loaded[RECORD_WORDS];
    for (unsigned i = 0; i < RECORD_WORDS; i++)
        loaded[i] = lower_record_word(l, record, i);
    LLVMBuildBr(l->builder, join);
    lower_position(l, join);
    for (unsigned i = 0; i < RECORD_WORDS; i++) {
        words[i] = LLVMBuildPhi(l->builder, l->i64, "");
        LLVMAddIncoming(words[i], (LLVMValueRef[]){zero, loaded[i]},
                        (LLVMBasicBlockRef[]){here, named}, 2);
    }
}

static void table_set(struct lowering *l, uint32_t table)
{
    LLVMValueRef value = lower_pop(l);
    LLVMValueRef entry = lower_table_entry(l, table, lower_pop(l), TRAP_TABLE_BOUNDS);
    LLVMValueRef zero = lower_i64(l, 0);
    LLVMValueRef words[RECORD_WORDS] = {zero, zero, zero, value};
    if (l->module->tables[table].type == WASM_FUNCREF)
        record_words(l, value, words);
    for (unsigned i = 0; i < RECORD_WORDS; i++)
        lower_store_field(l, words[i], lower_offset(l, entry, lower_i64(l, i * 8u)));
}

static void table_size(struct lowering *l, uint32_t table)
{
    lower_push(l, LLVMBuildTrunc(l->builder, lower_table_size(l, table), l->i32, ""));
}

static void table_grow(struct lowering *l, uint32_t table)
{
    LLVMValueRef delta = lower_pop(l), value = lower_pop(l);
    LLVMValueRef arguments[3] = {value, delta, lower_i32(l, table)};
    lower_push(l, lower_gate_result(l, GATE_TABLE_GROW, arguments, 3, l->i32));
}

static void table_fill(struct lowering *l, uint32_t table)
{
    LLVMValueRef len = lower_pop(l), value = lower_pop(l), index = lower_pop(l);
    lower_gate(l, GATE_TABLE_FILL, (LLVMValueRef[]){index, value, len, lower_i32(l, table)}, 4);
}

/* table.copy and table.init: three operands, then two immediates. */
static void table_transfer(struct lowering *l, enum gate_number gate, uint32_t fourth,
                           uint32_t fifth)
{
    LLVMValueRef arguments[5];
    for (int i = 2; i >= 0; i--)
        arguments[i] = lower_pop(l);
    arguments[3] = lower_i32(l, fourth);
    arguments[4] = lower_i32(l, fifth);
    lower_gate(l, gate, arguments, 5);
}

static void element_drop(struct lowering *l, uint32_t segment)
{
    LLVMValueRef argument = lower_i32(l, segment);
    lower_gate(l, GATE_ELEM_DROP, &argument, 1);
}

/* The offset from B of a function's record. */
static void reference_function(struct lowering *l, uint32_t function)
{
    int64_t from_vm = abi_record_from_vm(l->module, l->layout, function);
    if (l->options->link == LINK_PRIMARY) {
        lower_push(l, lower_i64(l, (uint64_t)from_vm));
        return;
    }
    LLVMValueRef vm = LLVMBuildPtrToInt(l->builder, l->vm, l->i64, "");
    LLVMValueRef base = LLVMBuildPtrToInt(l->builder, l->base, l->i64, "");
    LLVMValueRef block = LLVMBuildSub(l->builder, vm, base, "");
    lower_push(l, LLVMBuildAdd(l->builder, block, lower_i64(l, (uint64_t)from_vm), ""));
}

static void reference_is_null(struct lowering *l)
{
    LLVMValueRef zero = lower_i64(l, 0);
    lower_push(l, lower_truth(l, LLVMBuildICmp(l->builder, LLVMIntEQ, lower_pop(l), zero, "")));
}

int lower_table_op(struct lowering *l, const struct wasm_op *op, struct error *e)
{
    (void)e;
    switch (op->op) {
    case WASM_OP_TABLE_GET: table_get(l, op->index); break;
    case WASM_OP_TABLE_SET: table_set(l, op->index); break;
    case WASM_OP_TABLE_SIZE: table_size(l, op->index); break;
    case WASM_OP_TABLE_GROW: table_grow(l, op->index); break;
    case WASM_OP_TABLE_FILL: table_fill(l, op->index); break;
    case WASM_OP_TABLE_COPY:
        table_transfer(l, GATE_TABLE_COPY, op->pair.first, op->pair.second);
        break;
    case WASM_OP_TABLE_INIT:
        table_transfer(l, GATE_TABLE_INIT, op->pair.first, op->pair.second);
        break;
    case WASM_OP_ELEM_DROP: element_drop(l, op->index); break;
    case WASM_OP_REF_NULL: lower_push(l, lower_i64(l, 0)); break;
    case WASM_OP_REF_IS_NULL: reference_is_null(l); break;
    default: assert(op->op == WASM_OP_REF_FUNC); reference_function(l, op->index);
    }
    return 0;
}
