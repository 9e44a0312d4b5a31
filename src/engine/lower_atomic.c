/*
 * Atomic operators (threads proposal): sequentially consistent, with an explicit trap for an
 * address that is not a multiple of the access size. They are always volatile: LLVM may delete an
 * atomic load whose value is unused, and with it a trap. Waiting and waking go through gates,
 * because a waiting call parks.
 */
#include "engine/lower_function.h"

/* The memory type of an atomic operator, from its place in the run i32, i64, i32.8, i32.16, i64.8,
 * i64.16, i64.32, which loads, stores and each read-modify-write family share. */
struct atomic_shape {
    LLVMTypeRef type, value;
    unsigned bytes;
};

static struct atomic_shape atomic_shape(const struct lowering *l, uint32_t place)
{
    switch (place) {
    case 0: return (struct atomic_shape){l->i32, l->i32, 4};
    case 1: return (struct atomic_shape){l->i64, l->i64, 8};
    case 2: return (struct atomic_shape){l->i8, l->i32, 1};
    case 3: return (struct atomic_shape){l->i16, l->i32, 2};
    case 4: return (struct atomic_shape){l->i8, l->i64, 1};
    case 5: return (struct atomic_shape){l->i16, l->i64, 2};
    default: assert(place == 6); return (struct atomic_shape){l->i32, l->i64, 4};
    }
}

static void trap_if_unaligned(struct lowering *l, LLVMValueRef at, unsigned bytes)
{
    if (bytes == 1)
        return;
    LLVMValueRef low = LLVMBuildAnd(l->builder, at, lower_i64(l, bytes - 1u), "");
    LLVMValueRef unaligned = LLVMBuildICmp(l->builder, LLVMIntNE, low, lower_i64(l, 0), "");
    lower_trap_if(l, unaligned, TRAP_UNALIGNED_ATOMIC);
}

/* Pops the address: checked for alignment, as a pointer. */
static LLVMValueRef atomic_address(struct lowering *l, const struct wasm_op *op, unsigned bytes)
{
    LLVMValueRef address = lower_freeze(l, lower_pop(l));
    trap_if_unaligned(l, lower_effective(l, op, address), bytes);
    return lower_address(l, op, address, bytes);
}

static LLVMValueRef narrowed(struct lowering *l, struct atomic_shape shape, LLVMValueRef value)
{
    return shape.type == shape.value ? value : LLVMBuildTrunc(l->builder, value, shape.type, "");
}

static void push_widened(struct lowering *l, struct atomic_shape shape, LLVMValueRef value)
{
    if (shape.type != shape.value)
        value = LLVMBuildZExt(l->builder, value, shape.value, "");
    lower_push(l, value);
}

static void access_mark(struct lowering *l, LLVMValueRef access, unsigned bytes)
{
    LLVMSetVolatile(access, true);
    LLVMSetAlignment(access, bytes);
    LLVMSetMetadata(access, l->kind_tbaa, l->tag_memory);
}

static void atomic_load(struct lowering *l, const struct wasm_op *op, struct atomic_shape shape)
{
    LLVMValueRef pointer = atomic_address(l, op, shape.bytes);
    LLVMValueRef load = LLVMBuildLoad2(l->builder, shape.type, pointer, "");
    LLVMSetOrdering(load, LLVMAtomicOrderingSequentiallyConsistent);
    access_mark(l, load, shape.bytes);
    push_widened(l, shape, load);
}

static void atomic_store(struct lowering *l, const struct wasm_op *op, struct atomic_shape shape)
{
    LLVMValueRef value = narrowed(l, shape, lower_pop(l));
    LLVMValueRef pointer = atomic_address(l, op, shape.bytes);
    LLVMValueRef store = LLVMBuildStore(l->builder, value, pointer);
    LLVMSetOrdering(store, LLVMAtomicOrderingSequentiallyConsistent);
    access_mark(l, store, shape.bytes);
}

static void atomic_update(struct lowering *l, const struct wasm_op *op, struct atomic_shape shape,
                          LLVMAtomicRMWBinOp operation)
{
    LLVMValueRef value = narrowed(l, shape, lower_pop(l));
    LLVMValueRef pointer = atomic_address(l, op, shape.bytes);
    LLVMValueRef old = LLVMBuildAtomicRMW(l->builder, operation, pointer, value,
                                          LLVMAtomicOrderingSequentiallyConsistent, false);
    access_mark(l, old, shape.bytes);
    push_widened(l, shape, old);
}

/* A narrow access compares the wrapped operand, as the memory is that wide. */
static void atomic_exchange_compare(struct lowering *l, const struct wasm_op *op,
                                    struct atomic_shape shape)
{
    LLVMValueRef replacement = narrowed(l, shape, lower_pop(l));
    LLVMValueRef expected = narrowed(l, shape, lower_pop(l));
    LLVMValueRef pointer = atomic_address(l, op, shape.bytes);
    LLVMValueRef pair = LLVMBuildAtomicCmpXchg(l->builder, pointer, expected, replacement,
                                               LLVMAtomicOrderingSequentiallyConsistent,
                                               LLVMAtomicOrderingSequentiallyConsistent, false);
    access_mark(l, pair, shape.bytes);
    push_widened(l, shape, LLVMBuildExtractValue(l->builder, pair, 0, ""));
}

static void atomic_wait(struct lowering *l, const struct wasm_op *op)
{
    bool wide = op->op == WASM_OP_MEMORY_ATOMIC_WAIT64;
    LLVMValueRef timeout = lower_pop(l), expected = lower_pop(l);
    LLVMValueRef at = lower_effective(l, op, lower_freeze(l, lower_pop(l)));
    trap_if_unaligned(l, at, wide ? 8 : 4);
    LLVMValueRef arguments[3] = {at, expected, timeout};
    uint32_t gate = wide ? GATE_WAIT64 : GATE_WAIT32;
    lower_push(l, lower_gate_result(l, gate, arguments, 3, l->i32));
}

static void atomic_notify(struct lowering *l, const struct wasm_op *op)
{
    LLVMValueRef count = lower_pop(l);
    LLVMValueRef at = lower_effective(l, op, lower_freeze(l, lower_pop(l)));
    trap_if_unaligned(l, at, 4);
    lower_push(l, lower_gate_result(l, GATE_NOTIFY, (LLVMValueRef[]){at, count}, 2, l->i32));
}

int lower_atomic_op(struct lowering *l, const struct wasm_op *op, struct error *e)
{
    (void)e;
    static const LLVMAtomicRMWBinOp operations[] = {
        LLVMAtomicRMWBinOpAdd, LLVMAtomicRMWBinOpSub, LLVMAtomicRMWBinOpAnd,
        LLVMAtomicRMWBinOpOr,  LLVMAtomicRMWBinOpXor, LLVMAtomicRMWBinOpXchg,
    };
    uint32_t code = op->op;
    if (code == WASM_OP_ATOMIC_FENCE)
        LLVMBuildFence(l->builder, LLVMAtomicOrderingSequentiallyConsistent, false, "");
    else if (code == WASM_OP_MEMORY_ATOMIC_NOTIFY)
        atomic_notify(l, op);
    else if (code < WASM_OP_ATOMIC_FENCE)
        atomic_wait(l, op);
    else if (code <= WASM_OP_I64_ATOMIC_LOAD32_U)
        atomic_load(l, op, atomic_shape(l, code - WASM_OP_I32_ATOMIC_LOAD));
    else if (code <= WASM_OP_I64_ATOMIC_STORE32)
        atomic_store(l, op, atomic_shape(l, code - WASM_OP_I32_ATOMIC_STORE));
    else if (code < WASM_OP_I32_ATOMIC_RMW_CMPXCHG) {
        uint32_t place = code - WASM_OP_I32_ATOMIC_RMW_ADD;
        atomic_update(l, op, atomic_shape(l, place % 7), operations[place / 7]);
    } else
        atomic_exchange_compare(l, op, atomic_shape(l, code - WASM_OP_I32_ATOMIC_RMW_CMPXCHG));
    return 0;
}
