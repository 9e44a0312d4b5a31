/* Types, constants and intrinsic calls: the vocabulary every operator family is written in. */
#include "engine/lower_function.h"

#include <string.h>

LLVMTypeRef lower_type(const struct lowering *l, uint8_t wasm_type)
{
    switch (wasm_type) {
    case WASM_I32: return l->i32;
    case WASM_F32: return l->f32;
    case WASM_F64: return l->f64;
    case WASM_V128: return l->v128;
    default: return l->i64; /* i64 and references */
    }
}

static LLVMTypeRef lower_signature_type(const struct lowering *l, struct wasm_signature s)
{
    LLVMTypeRef types[2 + WASM_MAX_PARAMS];
    unsigned count = 0;
    types[count++] = l->pointer;
    if (s.result_count > 1)
        types[count++] = l->pointer;
    for (uint32_t i = 0; i < s.param_count; i++)
        types[count++] = lower_type(l, s.params[i]);
    LLVMTypeRef result = s.result_count == 1 ? lower_type(l, s.results[0]) : l->nothing;
    return LLVMFunctionType(result, types, count, false);
}

LLVMTypeRef lower_signature(struct lowering *l, uint32_t type)
{
    uint32_t canonical = l->module->types[type].canonical;
    if (!l->signatures[canonical])
        l->signatures[canonical] =
            lower_signature_type(l, wasm_type_signature(l->module, canonical));
    return l->signatures[canonical];
}

LLVMValueRef lower_wide(struct lowering *l, LLVMValueRef value)
{
    return LLVMBuildZExt(l->builder, value, l->i64, "");
}

LLVMValueRef lower_condition(struct lowering *l, LLVMValueRef value)
{
    if (LLVMIsAZExtInst(value)) {
        LLVMValueRef narrow = LLVMGetOperand(value, 0);
        if (LLVMTypeOf(narrow) == l->i1)
            return narrow;
    }
    return LLVMBuildICmp(l->builder, LLVMIntNE, value, LLVMConstNull(LLVMTypeOf(value)), "");
}

LLVMValueRef lower_truth(struct lowering *l, LLVMValueRef condition)
{
    return LLVMBuildZExt(l->builder, condition, l->i32, "");
}

LLVMValueRef lower_freeze(struct lowering *l, LLVMValueRef value)
{
    return LLVMIsConstant(value) ? value : LLVMBuildFreeze(l->builder, value, "");
}

/* The slot of an intrinsic, empty when it has not been declared yet. The table holds far more slots
 * than there are intrinsics in use, so a free one is always found. */
static struct lower_intrinsic_slot *intrinsic_slot(struct lowering *l, const char *name,
                                                   const LLVMTypeRef overloads[2])
{
    uintptr_t hash =
        ((uintptr_t)name >> 1) ^ ((uintptr_t)overloads[0] >> 4) ^ ((uintptr_t)overloads[1] >> 3);
    hash *= (uintptr_t)0x9e3779b97f4a7c15u;
    for (uintptr_t i = hash >> 32, tries = 0;; i++, tries++) {
        assert(tries < LOWER_INTRINSIC_SLOTS);
        struct lower_intrinsic_slot *slot = &l->intrinsics[i % LOWER_INTRINSIC_SLOTS];
        if (!slot->name || (slot->name == name && slot->overloads[0] == overloads[0] &&
                            slot->overloads[1] == overloads[1]))
            return slot;
    }
}

LLVMValueRef lower_intrinsic(struct lowering *l, const char *name, const LLVMTypeRef *overloads,
                             unsigned overload_count, LLVMValueRef *arguments, unsigned count)
{
    LLVMTypeRef types[2] = {NULL, NULL};
    assert(overload_count <= 2);
    for (unsigned i = 0; i < overload_count; i++)
        types[i] = overloads[i];
    struct lower_intrinsic_slot *slot = intrinsic_slot(l, name, types);
    if (!slot->name) {
        unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
        assert(id != 0);
        slot->function = LLVMGetIntrinsicDeclaration(l->llvm, id, types, overload_count);
        slot->type = LLVMIntrinsicGetType(l->context, id, types, overload_count);
        slot->overloads[0] = types[0];
        slot->overloads[1] = types[1];
        slot->name = name;
    }
    return LLVMBuildCall2(l->builder, slot->type, slot->function, arguments, count, "");
}

LLVMValueRef lower_unary_intrinsic(struct lowering *l, const char *name, LLVMValueRef a)
{
    LLVMTypeRef type = LLVMTypeOf(a);
    return lower_intrinsic(l, name, &type, 1, &a, 1);
}

LLVMValueRef lower_binary_intrinsic(struct lowering *l, const char *name, LLVMValueRef a,
                                    LLVMValueRef b)
{
    LLVMTypeRef type = LLVMTypeOf(a);
    return lower_intrinsic(l, name, &type, 1, (LLVMValueRef[]){a, b}, 2);
}
