/*
 * Makes loops short again that the guest's compiler unrolled.
 *
 * LLVM makes vectors of a loop by taking several rounds at once; of a loop whose rounds hold two or
 * four copies of what was written it makes none, or poor ones, and has no pass that undoes it. Here
 * the copies are found (lower_reroll_match.c), and a loop with one of them becomes the long one's
 * twin (lower_twin.c), which runs when it cannot trap and its rounds may run in any order:
 *
 *   a[i] = f(b[i]);  a[i+1] = f(b[i+1]);  i += 2   ──▶   a[i] = f(b[i]);  i += 1
 *
 * Every value is computed by the same operations as before, so results agree to the last bit.
 * Called by lower.c.
 */
#include "engine/lower_reroll.h"

#include "engine/lower_reroll_match.h"
#include "engine/lower_twin.h"

#include <stdlib.h>

struct reroll {
    struct loop loop;
    struct reroll_match match;
    struct twin twin;
    LLVMValueRef copies[LOOP_INSTRUCTIONS]; /* in the short loop */
};

/* ---- whether it can be done ---- */

/* 0: no type of interest. */
static uint32_t type_bytes(LLVMTypeRef type)
{
    switch (LLVMGetTypeKind(type)) {
    case LLVMIntegerTypeKind: {
        uint32_t bits = LLVMGetIntTypeWidth(type);
        return bits == 8 || bits == 16 || bits == 32 || bits == 64 ? bits / 8 : 0;
    }
    case LLVMFloatTypeKind: return 4;
    case LLVMDoubleTypeKind: return 8;
    default: return 0;
    }
}

/* Only of stores to neighbouring places can LLVM make vectors. */
static bool access_fits(struct reroll *r, uint32_t number)
{
    LLVMValueRef i = r->loop.instructions[number];
    bool store = LLVMGetInstructionOpcode(i) == LLVMStore;
    uint32_t size = type_bytes(LLVMTypeOf(store ? LLVMGetOperand(i, 0) : i));
    const struct twin_access *a = size ? twin_add_access(&r->twin, number, size) : NULL;
    if (!a || (uint32_t)a->stride != loop_sum_step(&r->loop, &a->sum, r->match.copies))
        return false;
    return !store || a->stride == (int32_t)size || a->stride == -(int32_t)size;
}

static bool copies_fit(struct reroll *r, uint32_t copies)
{
    if (!reroll_match(&r->loop, copies, &r->match))
        return false;
    twin_begin(&r->twin, &r->loop, copies);
    for (uint32_t n = 0; n < r->loop.count; n++)
        if (r->match.needed[n] && reroll_is_access(r->loop.instructions[n]) && !access_fits(r, n))
            return false;
    for (uint32_t i = 0; i < r->match.assumption_count; i++)
        if (!twin_add_zero(&r->twin, &r->match.assumptions[i]))
            return false;
    return twin_is_possible(&r->twin);
}

static bool has_vectors(const struct loop *loop)
{
    for (uint32_t n = 0; n < loop->count; n++)
        if (LLVMGetTypeKind(LLVMTypeOf(loop->instructions[n])) == LLVMVectorTypeKind)
            return true;
    return false;
}

static bool loop_fits(struct reroll *r)
{
    if (has_vectors(&r->loop) || !reroll_is_plain(&r->loop))
        return false;
    for (uint32_t copies = REROLL_COPIES; copies > 1; copies--)
        if (copies_fit(r, copies))
            return true;
    return false;
}

/* ---- the short loop ---- */

static LLVMValueRef value_copy(const struct reroll *r, LLVMValueRef value)
{
    uint32_t number = loop_number(&r->loop, value);
    return number == GRAPH_NONE ? value : r->copies[number];
}

/* What an operation promises of copy 0's values is not promised of the others'. */
static void promises_drop(LLVMValueRef i)
{
    switch (LLVMGetInstructionOpcode(i)) {
    case LLVMAdd:
    case LLVMSub:
    case LLVMMul:
    case LLVMShl:
    case LLVMTrunc:
        LLVMSetNUW(i, false);
        LLVMSetNSW(i, false);
        return;
    case LLVMLShr:
    case LLVMAShr: LLVMSetExact(i, false); return;
    case LLVMZExt:
    case LLVMUIToFP: LLVMSetNNeg(i, false); return;
    default: return;
    }
}

static LLVMValueRef operation_copy(struct reroll *r, LLVMValueRef i)
{
    LLVMOpcode opcode = LLVMGetInstructionOpcode(i);
    if (opcode == LLVMOr && LLVMGetIsDisjoint(i))
        return LLVMBuildAdd(r->twin.builder, value_copy(r, LLVMGetOperand(i, 0)),
                            value_copy(r, LLVMGetOperand(i, 1)), "");
    LLVMValueRef copy = LLVMInstructionClone(i);
    for (int k = 0; k < LLVMGetNumOperands(i); k++)
        LLVMSetOperand(copy, (unsigned)k, value_copy(r, LLVMGetOperand(i, (unsigned)k)));
    promises_drop(copy);
    LLVMInsertIntoBuilder(r->twin.builder, copy);
    return copy;
}

static void instruction_copy(struct reroll *r, uint32_t n)
{
    LLVMValueRef i = r->loop.instructions[n];
    switch (LLVMGetInstructionOpcode(i)) {
    case LLVMLoad: r->copies[n] = twin_load(&r->twin, n, LLVMTypeOf(i)); return;
    case LLVMStore: twin_store(&r->twin, n, value_copy(r, LLVMGetOperand(i, 0))); return;
    default: r->copies[n] = operation_copy(r, i);
    }
}

static void phis_open(struct reroll *r)
{
    struct loop *loop = &r->loop;
    for (uint32_t n = 0; n < loop->phi_count; n++) {
        if (loop->steps[n] != 0)
            continue;
        r->copies[n] = LLVMBuildPhi(r->twin.builder, LLVMTypeOf(loop->instructions[n]), "");
        LLVMAddIncoming(r->copies[n], &loop->starts[n], &r->twin.check, 1);
    }
    for (uint32_t n = 0; n < loop->phi_count; n++)
        if (loop->steps[n] != 0)
            r->copies[n] = twin_counter(&r->twin, n);
}

static void loop_write(struct reroll *r)
{
    struct loop *loop = &r->loop;
    struct sum sum;
    twin_open(&r->twin);
    phis_open(r);
    for (uint32_t n = loop->phi_count; n < loop->count; n++)
        if (r->match.needed[n])
            instruction_copy(r, n);
    for (uint32_t n = 0; n < loop->phi_count; n++)
        if (loop->steps[n] == 0)
            LLVMAddIncoming(r->copies[n], &r->copies[r->match.next[n]], &r->twin.body, 1);
    for (uint32_t n = 0; n < loop->count; n++) {
        LLVMValueRef i = loop->instructions[n];
        if (loop_value_lives_on(loop, i) && !loop_sum_of(loop, i, &sum))
            r->twin.left[n] = r->copies[reroll_origin(&r->match, i)];
    }
    twin_close(&r->twin);
}

bool lower_reroll(LLVMValueRef function)
{
    struct reroll *r = malloc(sizeof *r);
    LLVMBasicBlockRef block = LLVMGetFirstBasicBlock(function), next;
    for (; r && block; block = next) {
        next = LLVMGetNextBasicBlock(block);
        if (LLVMGetInstructionOpcode(LLVMGetFirstInstruction(block)) != LLVMPHI)
            continue;
        if (loop_read(block, &r->loop) && loop_fits(r))
            loop_write(r);
        loop_free(&r->loop);
    }
    bool done = r != NULL;
    free(r);
    return done;
}
