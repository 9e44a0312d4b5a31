/*
 * Marks short loops around loops to be unrolled altogether: all pairs of five bodies, the rows of a
 * 4x4 matrix.
 *
 * By its own measure LLVM unrolls a loop that contains loops only when little code comes of it. But
 * what it gains is more than the branches: the inner loops' lengths become constants, so that they
 * are unrolled in turn, what they compute of the outer counter is folded, and values stay in
 * registers from one round to the next (nbody: 0.61 of the time, with SIMD 0.68). A larger limit
 * for all loops is not the way: inner loops that were to become vectors are then unrolled before
 * (gemm: 5 times the time). So only loops around innermost loops are marked, and small ones.
 *
 * Called by lower.c.
 */
#include "engine/lower_unroll.h"

#include "engine/lower_flow.h"

#include <llvm-c/DebugInfo.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS_MAX       8u
#define INSTRUCTIONS_MAX 640u /* of all rounds, the inner loops taken once in each */

/* ---- how often ---- */

static bool constant_read(LLVMValueRef value, uint32_t *out)
{
    if (!LLVMIsAConstantInt(value) || LLVMGetIntTypeWidth(LLVMTypeOf(value)) != 32)
        return false;
    *out = (uint32_t)LLVMConstIntGetZExtValue(value);
    return true;
}

/* The rounds of a loop whose latch adds a constant to a counter and compares the sum with another;
 * 0 when it is not such. */
static uint32_t latch_rounds(LLVMBasicBlockRef latch, LLVMBasicBlockRef head)
{
    LLVMValueRef branch = LLVMGetBasicBlockTerminator(latch);
    if (LLVMGetInstructionOpcode(branch) != LLVMBr)
        return 0;
    uint32_t start, step, end;
    if (LLVMGetNumSuccessors(branch) != 2 ||
        (LLVMGetSuccessor(branch, 0) != head && LLVMGetSuccessor(branch, 1) != head))
        return 0;
    LLVMValueRef test = LLVMGetCondition(branch);
    if (!LLVMIsAICmpInst(test) || !constant_read(LLVMGetOperand(test, 1), &end) ||
        LLVMGetICmpPredicate(test) != (LLVMGetSuccessor(branch, 0) == head ? LLVMIntNE : LLVMIntEQ))
        return 0;
    LLVMValueRef next = LLVMGetOperand(test, 0);
    if (!LLVMIsAInstruction(next) || LLVMGetInstructionOpcode(next) != LLVMAdd ||
        !constant_read(LLVMGetOperand(next, 1), &step) || step == 0)
        return 0;
    LLVMValueRef phi = LLVMGetOperand(next, 0);
    if (!LLVMIsAPHINode(phi) || LLVMGetInstructionParent(phi) != head ||
        LLVMCountIncoming(phi) != 2)
        return 0;
    unsigned first = LLVMGetIncomingBlock(phi, 0) == latch;
    if (LLVMGetIncomingValue(phi, 1 - first) != next ||
        !constant_read(LLVMGetIncomingValue(phi, first), &start))
        return 0;
    return (end - start) % step == 0 ? (end - start) / step : 0;
}

/* ---- how much ---- */

struct loop_size {
    uint32_t instructions;    /* of the loop and all within */
    bool parent, grandparent; /* it has loops within, and these have */
    bool marked;
};

static uint32_t block_size(LLVMBasicBlockRef block)
{
    uint32_t size = 0;
    LLVMValueRef i = LLVMGetFirstInstruction(block);
    for (; i && size <= INSTRUCTIONS_MAX; i = LLVMGetNextInstruction(i))
        size++;
    return size;
}

static void sizes_find(const struct flow *flow, struct loop_size *sizes)
{
    for (uint32_t b = 0; b < flow->block_count; b++) {
        struct loop_size *size = &sizes[flow->blocks[b].loop];
        if (size->instructions <= INSTRUCTIONS_MAX)
            size->instructions += block_size(flow->blocks[b].block);
    }
    for (uint32_t l = flow->loop_count; l-- > 1;) {
        struct loop_size *above = &sizes[flow->loops[l].parent];
        if (above->instructions <= INSTRUCTIONS_MAX)
            above->instructions += sizes[l].instructions;
        above->grandparent = above->grandparent || sizes[l].parent;
        above->parent = true;
    }
}

/* ---- the mark ---- */

static LLVMMetadataRef text_node(LLVMContextRef context, const char *text)
{
    LLVMMetadataRef string = LLVMMDStringInContext2(context, text, strlen(text));
    return LLVMMDNodeInContext2(context, &string, 1);
}

/* A loop's node names itself first, so that no two loops share one. */
static void branch_mark(LLVMValueRef branch)
{
    LLVMContextRef context = LLVMGetTypeContext(LLVMTypeOf(LLVMGetCondition(branch)));
    LLVMMetadataRef self = LLVMTemporaryMDNode(context, NULL, 0);
    LLVMMetadataRef parts[2] = {self, text_node(context, "llvm.loop.unroll.full")};
    LLVMMetadataRef node = LLVMMDNodeInContext2(context, parts, 2);
    LLVMMetadataReplaceAllUsesWith(self, node);
    LLVMSetMetadata(branch, LLVMGetMDKindIDInContext(context, "llvm.loop", 9),
                    LLVMMetadataAsValue(context, node));
}

static uint32_t loop_rounds(const struct flow *flow, uint32_t l)
{
    const struct flow_loop *loop = &flow->loops[l];
    if (loop->exits != 1)
        return 0;
    return latch_rounds(flow->blocks[loop->exit_from].block, flow->blocks[loop->header].block);
}

static void loop_mark(const struct flow *flow, uint32_t l)
{
    const struct flow_loop *loop = &flow->loops[l];
    LLVMValueRef branch = LLVMGetBasicBlockTerminator(flow->blocks[loop->exit_from].block);
    if (LLVMGetInstructionOpcode(branch) == LLVMBr && LLVMGetNumSuccessors(branch) == 2)
        branch_mark(branch);
}

static bool loop_is_worth(const struct flow *flow, const struct loop_size *sizes, uint32_t l)
{
    if (!sizes[l].parent || sizes[l].grandparent)
        return false;
    uint32_t rounds = loop_rounds(flow, l);
    return rounds > 1 && rounds <= ROUNDS_MAX && rounds * sizes[l].instructions <= INSTRUCTIONS_MAX;
}

/*
 * Inner loops, too: of many the length is known only when the outer one is unrolled. One that is
 * known to be long stays a loop: a mark makes LLVM write out thousands of its rounds, in every
 * round of the outer one.
 */
static bool inner_is_worth(const struct flow *flow, const struct loop_size *sizes, uint32_t l)
{
    uint32_t outer = flow->loops[l].parent;
    if (!sizes[outer].marked || flow->loops[l].exits != 1)
        return false;
    return (uint64_t)loop_rounds(flow, outer) * loop_rounds(flow, l) * sizes[l].instructions <=
           INSTRUCTIONS_MAX;
}

bool lower_unroll(LLVMValueRef function)
{
    struct flow flow;
    if (!flow_create(function, &flow))
        return false;
    struct loop_size *sizes = calloc(flow.loop_count + 1ull, sizeof *sizes);
    bool done = sizes != NULL;
    if (done)
        sizes_find(&flow, sizes);
    for (uint32_t l = 1; done && l < flow.loop_count; l++) {
        sizes[l].marked = loop_is_worth(&flow, sizes, l);
        if (sizes[l].marked || inner_is_worth(&flow, sizes, l))
            loop_mark(&flow, l);
    }
    free(sizes);
    flow_destroy(&flow);
    return done;
}
