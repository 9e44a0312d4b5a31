/*
 * Loops that walk memory in both directions at once, such as z[i] = y[i] + a * y[k - i].
 *
 * LLVM 19 gives such a loop up when one of the accesses is a store and all start from one base
 * pointer, which in WebAssembly they do: for accesses of one object it knows only dependences
 * between walks of the same direction, while for different objects it tests before the loop whether
 * the ranges meet. So the loads get the base from a piece of empty assembly before the loop. It is
 * the same address in the same arena, only no longer known to be; all that is lost is knowledge, so
 * this is never wrong. A load from where the loop also stores keeps its base: those ranges meet.
 *
 * Only loops of one block are looked at: others are rarely vectorised. Called by lower.c.
 */
#include "engine/lower_reverse.h"

#include <stdbool.h>
#include <stddef.h>

#define WALK_DEPTH 8u /* operations between a loop's counter and an address */

/* How a value changes from one round of a loop to the next. */
enum walk { WALK_STILL, WALK_UP, WALK_DOWN, WALK_UNKNOWN };

struct one_block_loop {
    LLVMBasicBlockRef block;
    LLVMBasicBlockRef before;  /* where control comes from */
    LLVMValueRef base, hidden; /* the last base that was hidden, and what it became */
};

/* ---- directions ---- */

static enum walk walk_join(enum walk a, enum walk b)
{
    if (a == WALK_STILL)
        return b;
    return b == WALK_STILL || a == b ? a : WALK_UNKNOWN;
}

static enum walk phi_walk(LLVMValueRef phi, LLVMBasicBlockRef block)
{
    for (unsigned i = 0; i < LLVMCountIncoming(phi); i++) {
        LLVMValueRef next = LLVMGetIncomingValue(phi, i);
        if (LLVMGetIncomingBlock(phi, i) != block)
            continue;
        if (!LLVMIsAInstruction(next) || LLVMGetInstructionOpcode(next) != LLVMAdd ||
            LLVMGetOperand(next, 0) != phi || !LLVMIsAConstantInt(LLVMGetOperand(next, 1)))
            return WALK_UNKNOWN;
        return LLVMConstIntGetSExtValue(LLVMGetOperand(next, 1)) < 0 ? WALK_DOWN : WALK_UP;
    }
    return WALK_UNKNOWN;
}

static enum walk value_walk(LLVMValueRef value, LLVMBasicBlockRef block, unsigned depth)
{
    if (!LLVMIsAInstruction(value) || LLVMGetInstructionParent(value) != block)
        return WALK_STILL;
    if (depth == 0)
        return WALK_UNKNOWN;
    switch (LLVMGetInstructionOpcode(value)) {
    case LLVMPHI: return phi_walk(value, block);
    case LLVMZExt: return value_walk(LLVMGetOperand(value, 0), block, depth - 1);
    case LLVMShl:
        if (!LLVMIsAConstantInt(LLVMGetOperand(value, 1)))
            return WALK_UNKNOWN;
        return value_walk(LLVMGetOperand(value, 0), block, depth - 1);
    case LLVMAdd:
    case LLVMGetElementPtr:
        if (LLVMGetNumOperands(value) != 2)
            return WALK_UNKNOWN;
        return walk_join(value_walk(LLVMGetOperand(value, 0), block, depth - 1),
                         value_walk(LLVMGetOperand(value, 1), block, depth - 1));
    default: return WALK_UNKNOWN;
    }
}

/* The address a load or store uses, else NULL. */
static LLVMValueRef access_address(LLVMValueRef instruction)
{
    switch (LLVMGetInstructionOpcode(instruction)) {
    case LLVMLoad: return LLVMGetOperand(instruction, 0);
    case LLVMStore: return LLVMGetOperand(instruction, 1);
    default: return NULL;
    }
}

/* ---- loops ---- */

/* Whether the block is a loop by itself, entered from one place. */
static bool loop_find(LLVMBasicBlockRef block, struct one_block_loop *out)
{
    LLVMValueRef phi = LLVMGetFirstInstruction(block);
    if (!phi || LLVMGetInstructionOpcode(phi) != LLVMPHI || LLVMCountIncoming(phi) != 2)
        return false;
    unsigned back = LLVMGetIncomingBlock(phi, 1) == block;
    *out = (struct one_block_loop){.block = block, .before = LLVMGetIncomingBlock(phi, 1 - back)};
    return LLVMGetIncomingBlock(phi, back) == block && out->before != block;
}

static bool loop_walks_both_ways(const struct one_block_loop *loop)
{
    bool up = false, down = false, stores = false;
    LLVMValueRef i = LLVMGetFirstInstruction(loop->block);
    for (; i; i = LLVMGetNextInstruction(i)) {
        LLVMValueRef address = access_address(i);
        if (!address)
            continue;
        if (LLVMGetVolatile(i))
            return false; /* and so no vectors */
        enum walk walk = value_walk(address, loop->block, WALK_DEPTH);
        up = up || walk == WALK_UP;
        down = down || walk == WALK_DOWN;
        stores = stores || LLVMGetInstructionOpcode(i) == LLVMStore;
    }
    return up && down && stores;
}

/* The base, as the result of assembly that does nothing with it, before the loop. */
static LLVMValueRef base_hide(struct one_block_loop *loop, LLVMValueRef base)
{
    if (loop->base == base)
        return loop->hidden;
    LLVMTypeRef pointer = LLVMTypeOf(base);
    LLVMTypeRef type = LLVMFunctionType(pointer, &pointer, 1, false);
    LLVMValueRef nothing =
        LLVMGetInlineAsm(type, "", 0, "=r,0", 4, false, false, LLVMInlineAsmDialectATT, false);
    LLVMBuilderRef builder = LLVMCreateBuilderInContext(LLVMGetTypeContext(pointer));
    LLVMPositionBuilderBefore(builder, LLVMGetBasicBlockTerminator(loop->before));
    loop->base = base;
    loop->hidden = LLVMBuildCall2(builder, type, nothing, &base, 1, "");
    LLVMDisposeBuilder(builder);
    return loop->hidden;
}

/* The first of the address computations in the loop: its pointer operand is the base. NULL when
 * the address is computed otherwise. */
static LLVMValueRef address_root(const struct one_block_loop *loop, LLVMValueRef address)
{
    while (LLVMIsAInstruction(address) && LLVMGetInstructionParent(address) == loop->block &&
           LLVMGetInstructionOpcode(address) == LLVMGetElementPtr) {
        LLVMValueRef from = LLVMGetOperand(address, 0);
        if (!LLVMIsAInstruction(from) || LLVMGetInstructionParent(from) != loop->block)
            return address;
        address = from;
    }
    return NULL;
}

static bool loop_stores_at(const struct one_block_loop *loop, LLVMValueRef root)
{
    LLVMValueRef i = LLVMGetFirstInstruction(loop->block);
    for (; i; i = LLVMGetNextInstruction(i)) {
        if (LLVMGetInstructionOpcode(i) == LLVMStore &&
            address_root(loop, LLVMGetOperand(i, 1)) == root)
            return true;
    }
    return false;
}

static void loop_hide_bases(struct one_block_loop *loop)
{
    LLVMValueRef i = LLVMGetFirstInstruction(loop->block);
    for (; i; i = LLVMGetNextInstruction(i)) {
        if (LLVMGetInstructionOpcode(i) != LLVMLoad)
            continue;
        LLVMValueRef root = address_root(loop, LLVMGetOperand(i, 0));
        if (!root || LLVMGetOperand(root, 0) == loop->hidden || loop_stores_at(loop, root))
            continue;
        enum walk walk = value_walk(root, loop->block, WALK_DEPTH);
        if (walk == WALK_UP || walk == WALK_DOWN)
            LLVMSetOperand(root, 0, base_hide(loop, LLVMGetOperand(root, 0)));
    }
}

void lower_reverse(LLVMValueRef function)
{
    LLVMBasicBlockRef block = LLVMGetFirstBasicBlock(function);
    for (; block; block = LLVMGetNextBasicBlock(block)) {
        struct one_block_loop loop;
        if (loop_find(block, &loop) && loop_walks_both_ways(&loop))
            loop_hide_bases(&loop);
    }
}
