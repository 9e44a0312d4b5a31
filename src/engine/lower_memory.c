/*
 * Linear memory and fields: addresses, loads and stores, size, growth, bulk operations.
 *
 * An address is vm + (zext(i32) + offset). The zero extension is the sandbox: a sign extension
 * would reach below the base. Where the memory is memory 0, guard pages are the bounds check; in
 * LINK_OTHER every access is checked against the descriptor.
 */
#include "engine/lower_function.h"

/* ---- pointers ---- */

LLVMValueRef lower_offset(struct lowering *l, LLVMValueRef pointer, LLVMValueRef bytes)
{
    return LLVMBuildGEP2(l->builder, l->i8, pointer, &bytes, 1, "");
}

LLVMValueRef lower_from_vm(struct lowering *l, int64_t offset)
{
    return lower_offset(l, l->vm, lower_i64(l, (uint64_t)offset));
}

LLVMValueRef lower_at_base(struct lowering *l, LLVMValueRef offset)
{
    return lower_offset(l, l->base, offset);
}

LLVMValueRef lower_from_base(struct lowering *l, int64_t offset)
{
    return lower_at_base(l, lower_i64(l, (uint64_t)offset));
}

/* ---- fields ---- */

static unsigned field_alignment(const struct lowering *l, LLVMTypeRef type)
{
    if (type == l->i8)
        return 1;
    return type == l->i32 || type == l->f32 ? 4 : 8;
}

LLVMValueRef lower_load_field(struct lowering *l, LLVMTypeRef type, LLVMValueRef pointer)
{
    LLVMValueRef load = LLVMBuildLoad2(l->builder, type, pointer, "");
    LLVMSetAlignment(load, field_alignment(l, type));
    LLVMSetMetadata(load, l->kind_tbaa, l->tag_vm);
    return load;
}

LLVMValueRef lower_store_field(struct lowering *l, LLVMValueRef value, LLVMValueRef pointer)
{
    LLVMValueRef store = LLVMBuildStore(l->builder, value, pointer);
    LLVMSetAlignment(store, field_alignment(l, LLVMTypeOf(value)));
    LLVMSetMetadata(store, l->kind_tbaa, l->tag_vm);
    return store;
}

/* ---- the memory ---- */

static LLVMValueRef descriptor_word(struct lowering *l, uint64_t offset)
{
    return lower_load_field(l, l->i64, lower_offset(l, l->memory, lower_i64(l, offset)));
}

/* Size of the memory in bytes (i64). */
static LLVMValueRef lower_memory_size(struct lowering *l)
{
    if (l->bounded)
        return descriptor_word(l, offsetof(struct memory_descriptor, size));
    return lower_load_field(l, l->i64, lower_from_base(l, FIELD_MEMORY_SIZE));
}

/* Byte 0 of the memory the module uses. */
static LLVMValueRef lower_memory_start(struct lowering *l)
{
    if (!l->bounded)
        return l->base;
    return lower_at_base(l, descriptor_word(l, offsetof(struct memory_descriptor, base)));
}

LLVMValueRef lower_effective(struct lowering *l, const struct wasm_op *op, LLVMValueRef address)
{
    LLVMValueRef wide = lower_wide(l, address);
    if (op->memory.offset == 0)
        return wide;
    return LLVMBuildNUWAdd(l->builder, wide, lower_i64(l, op->memory.offset), "");
}

LLVMValueRef lower_address(struct lowering *l, const struct wasm_op *op, LLVMValueRef address,
                           unsigned bytes)
{
    if (!l->bounded)
        return lower_offset(l, l->base, lower_effective(l, op, address));
    /* Check and use must see one value. */
    LLVMValueRef at = lower_effective(l, op, lower_freeze(l, address));
    LLVMValueRef end = LLVMBuildNUWAdd(l->builder, at, lower_i64(l, bytes), "");
    LLVMValueRef beyond = LLVMBuildICmp(l->builder, LLVMIntUGT, end, lower_memory_size(l), "");
    lower_trap_if(l, beyond, TRAP_MEMORY_BOUNDS);
    return lower_offset(l, lower_memory_start(l), at);
}

LLVMValueRef lower_load(struct lowering *l, LLVMTypeRef type, LLVMValueRef pointer)
{
    LLVMValueRef load = LLVMBuildLoad2(l->builder, type, pointer, "");
    LLVMSetAlignment(load, 1);
    LLVMSetMetadata(load, l->kind_tbaa, l->tag_memory);
    LLVMSetVolatile(load, !l->bounded);
    return load;
}

void lower_store(struct lowering *l, LLVMValueRef value, LLVMValueRef pointer)
{
    LLVMValueRef store = LLVMBuildStore(l->builder, value, pointer);
    LLVMSetAlignment(store, 1);
    LLVMSetMetadata(store, l->kind_tbaa, l->tag_memory);
    LLVMSetVolatile(store, !l->bounded && l->options->mode == MODE_EXACT);
}

/* ---- load and store operators ---- */

/* How an operator accesses memory: with what type, and how that becomes the value's type. */
struct access {
    LLVMTypeRef type, value;
    bool is_signed;
};

static unsigned type_bytes(const struct lowering *l, LLVMTypeRef type)
{
    if (type == l->i8)
        return 1;
    if (type == l->i16)
        return 2;
    return type == l->i32 || type == l->f32 ? 4 : 8;
}

static struct access load_access(const struct lowering *l, uint32_t op)
{
    switch (op) {
    case WASM_OP_I32_LOAD: return (struct access){l->i32, l->i32, false};
    case WASM_OP_I64_LOAD: return (struct access){l->i64, l->i64, false};
    case WASM_OP_F32_LOAD: return (struct access){l->f32, l->f32, false};
    case WASM_OP_F64_LOAD: return (struct access){l->f64, l->f64, false};
    case WASM_OP_I32_LOAD8_S: return (struct access){l->i8, l->i32, true};
    case WASM_OP_I32_LOAD8_U: return (struct access){l->i8, l->i32, false};
    case WASM_OP_I32_LOAD16_S: return (struct access){l->i16, l->i32, true};
    case WASM_OP_I32_LOAD16_U: return (struct access){l->i16, l->i32, false};
    case WASM_OP_I64_LOAD8_S: return (struct access){l->i8, l->i64, true};
    case WASM_OP_I64_LOAD8_U: return (struct access){l->i8, l->i64, false};
    case WASM_OP_I64_LOAD16_S: return (struct access){l->i16, l->i64, true};
    case WASM_OP_I64_LOAD16_U: return (struct access){l->i16, l->i64, false};
    case WASM_OP_I64_LOAD32_S: return (struct access){l->i32, l->i64, true};
    default: assert(op == WASM_OP_I64_LOAD32_U); return (struct access){l->i32, l->i64, false};
    }
}

static void load_op(struct lowering *l, const struct wasm_op *op)
{
    struct access a = load_access(l, op->op);
    LLVMValueRef pointer = lower_address(l, op, lower_pop(l), type_bytes(l, a.type));
    LLVMValueRef value = lower_load(l, a.type, pointer);
    if (a.type != a.value)
        value = a.is_signed ? LLVMBuildSExt(l->builder, value, a.value, "")
                            : LLVMBuildZExt(l->builder, value, a.value, "");
    lower_push(l, value);
}

static LLVMTypeRef store_type(const struct lowering *l, uint32_t op)
{
    switch (op) {
    case WASM_OP_I32_STORE: return l->i32;
    case WASM_OP_I64_STORE: return l->i64;
    case WASM_OP_F32_STORE: return l->f32;
    case WASM_OP_F64_STORE: return l->f64;
    case WASM_OP_I32_STORE8:
    case WASM_OP_I64_STORE8: return l->i8;
    case WASM_OP_I32_STORE16:
    case WASM_OP_I64_STORE16: return l->i16;
    default: assert(op == WASM_OP_I64_STORE32); return l->i32;
    }
}

static void store_op(struct lowering *l, const struct wasm_op *op)
{
    LLVMTypeRef type = store_type(l, op->op);
    LLVMValueRef value = lower_pop(l), address = lower_pop(l);
    LLVMValueRef pointer = lower_address(l, op, address, type_bytes(l, type));
    if (type != LLVMTypeOf(value))
        value = LLVMBuildTrunc(l->builder, value, type, "");
    lower_store(l, value, pointer);
}

/* ---- bulk operations ---- */

static LLVMValueRef range_inside(struct lowering *l, LLVMValueRef start, LLVMValueRef len,
                                 LLVMValueRef size)
{
    LLVMValueRef end = LLVMBuildNUWAdd(l->builder, start, len, "");
    return LLVMBuildICmp(l->builder, LLVMIntULE, end, size, "");
}

/* Branches on inside: first the copy in the image, then, in another block, the gate, which resolves
 * ranges of the window or traps. The builder is left where both meet. */
static void bulk_either(struct lowering *l, LLVMValueRef inside, LLVMValueRef routine,
                        LLVMValueRef image_arguments[3], uint32_t gate,
                        LLVMValueRef gate_arguments[3])
{
    LLVMBasicBlockRef near = lower_block(l), far = lower_block(l), join = lower_block(l);
    LLVMBuildCondBr(l->builder, inside, near, far);
    lower_position(l, near);
    LLVMBuildCall2(l->builder, LLVMGlobalGetValueType(routine), routine, image_arguments, 3, "");
    LLVMBuildBr(l->builder, join);
    lower_position(l, far);
    lower_gate(l, gate, gate_arguments, 3);
    LLVMBuildBr(l->builder, join);
    lower_position(l, join);
}

static LLVMValueRef bulk_routine(struct lowering *l, const char *name, LLVMTypeRef second)
{
    LLVMValueRef routine = LLVMGetNamedFunction(l->llvm, name);
    if (routine)
        return routine;
    LLVMTypeRef type =
        LLVMFunctionType(l->nothing, (LLVMTypeRef[]){l->pointer, second, l->i64}, 3, false);
    return lower_function_create(l, name, type);
}

static void memory_copy(struct lowering *l)
{
    LLVMValueRef arguments[3];
    for (int i = 2; i >= 0; i--)
        arguments[i] = lower_freeze(l, lower_pop(l));
    LLVMValueRef to = lower_wide(l, arguments[0]), from = lower_wide(l, arguments[1]),
                 len = lower_wide(l, arguments[2]), size = lower_memory_size(l);
    LLVMValueRef inside = LLVMBuildAnd(l->builder, range_inside(l, to, len, size),
                                       range_inside(l, from, len, size), "");
    LLVMValueRef start = lower_memory_start(l);
    bulk_either(l, inside, bulk_routine(l, "atoll_memmove", l->pointer),
                (LLVMValueRef[]){lower_offset(l, start, to), lower_offset(l, start, from), len},
                GATE_MEMORY_COPY, arguments);
}

static void memory_fill(struct lowering *l)
{
    LLVMValueRef arguments[3];
    for (int i = 2; i >= 0; i--)
        arguments[i] = lower_freeze(l, lower_pop(l));
    LLVMValueRef to = lower_wide(l, arguments[0]), len = lower_wide(l, arguments[2]);
    LLVMValueRef inside = range_inside(l, to, len, lower_memory_size(l));
    LLVMValueRef at = lower_offset(l, lower_memory_start(l), to);
    bulk_either(l, inside, bulk_routine(l, "atoll_memset", l->i32),
                (LLVMValueRef[]){at, arguments[1], len}, GATE_MEMORY_FILL, arguments);
}

static void memory_init(struct lowering *l, uint32_t segment)
{
    LLVMValueRef arguments[4];
    for (int i = 2; i >= 0; i--)
        arguments[i] = lower_pop(l);
    arguments[3] = lower_i32(l, segment);
    lower_gate(l, GATE_MEMORY_INIT, arguments, 4);
}

static void memory_grow(struct lowering *l)
{
    LLVMValueRef pages = lower_pop(l);
    lower_push(l, lower_gate_result(l, GATE_MEMORY_GROW, &pages, 1, l->i32));
}

static void memory_size(struct lowering *l)
{
    LLVMValueRef pages = LLVMBuildLShr(l->builder, lower_memory_size(l), lower_i64(l, 16), "");
    lower_push(l, LLVMBuildTrunc(l->builder, pages, l->i32, ""));
}

int lower_memory_op(struct lowering *l, const struct wasm_op *op, struct error *e)
{
    (void)e;
    switch (op->op) {
    case WASM_OP_MEMORY_SIZE: memory_size(l); break;
    case WASM_OP_MEMORY_GROW: memory_grow(l); break;
    case WASM_OP_MEMORY_COPY: memory_copy(l); break;
    case WASM_OP_MEMORY_FILL: memory_fill(l); break;
    case WASM_OP_MEMORY_INIT: memory_init(l, op->pair.first); break;
    case WASM_OP_DATA_DROP: {
        LLVMValueRef segment = lower_i32(l, op->index);
        lower_gate(l, GATE_DATA_DROP, &segment, 1);
        break;
    }
    default:
        if (op->op >= WASM_OP_I32_STORE)
            store_op(l, op);
        else
            load_op(l, op);
    }
    return 0;
}
