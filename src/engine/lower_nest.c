/* Finding nests; see lower_nest.h. */
#include "engine/lower_nest.h"

#include "engine/lower_instruction.h"

#include <stdlib.h>

#define LINEAR_DEPTH    12u
#define ENTRIES_COUNTED 3u /* more are as good as three */

/* ---- the chain of blocks ---- */

static uint32_t block_entries(LLVMBasicBlockRef block, LLVMBasicBlockRef *last)
{
    uint32_t count = 0;
    LLVMUseRef use = LLVMGetFirstUse(LLVMBasicBlockAsValue(block));
    for (; use && count < ENTRIES_COUNTED; use = LLVMGetNextUse(use), count++)
        *last = LLVMGetInstructionParent(LLVMGetUser(use));
    return count;
}

/* The successor that is not `one`, of a conditional branch to `one` and another; else NULL. */
static LLVMBasicBlockRef other_successor(LLVMBasicBlockRef block, LLVMBasicBlockRef one)
{
    LLVMValueRef last = LLVMGetBasicBlockTerminator(block);
    if (LLVMGetInstructionOpcode(last) != LLVMBr || LLVMGetNumSuccessors(last) != 2)
        return NULL;
    LLVMBasicBlockRef first = LLVMGetSuccessor(last, 0), second = LLVMGetSuccessor(last, 1);
    if (first == second || (first != one && second != one))
        return NULL;
    return first == one ? second : first;
}

static LLVMBasicBlockRef only_successor(LLVMBasicBlockRef block)
{
    LLVMValueRef last = LLVMGetBasicBlockTerminator(block);
    bool sole = LLVMGetInstructionOpcode(last) == LLVMBr && LLVMGetNumSuccessors(last) == 1;
    return sole ? LLVMGetSuccessor(last, 0) : NULL;
}

static bool chain_find(struct nest *nest, LLVMBasicBlockRef head)
{
    LLVMBasicBlockRef block = head, from, next;
    while (nest->block_count < NEST_BLOCKS) {
        struct nest_block *b = &nest->blocks[nest->block_count++];
        *b = (struct nest_block){.block = block};
        if (block != head && (next = other_successor(block, head))) {
            nest->exit = next;
            return next != block && block_entries(block, &from) == 1;
        }
        next = other_successor(block, block);
        b->loop = next != NULL;
        uint32_t entries = block_entries(block, &from);
        if (block == head ? b->loop || entries < 2 : entries != (b->loop ? 2 : 1))
            return false;
        block = b->loop ? next : only_successor(block);
        if (!block || block == head)
            return false;
    }
    return false;
}

/* ---- instructions ---- */

static bool call_is_pure(LLVMValueRef i)
{
    static const char *const names[] = {"llvm.sqrt",     "llvm.fabs",      "llvm.ceil",
                                        "llvm.floor",    "llvm.trunc",     "llvm.rint",
                                        "llvm.copysign", "llvm.smin",      "llvm.smax",
                                        "llvm.umin",     "llvm.umax",      "llvm.abs",
                                        "llvm.ctpop",    "llvm.fshl",      "llvm.fshr",
                                        "llvm.bswap",    "llvm.nearbyint", "llvm.arithmetic.fence"};
    return value_calls_intrinsic(i, names, sizeof names / sizeof names[0]);
}

/* Whether doing it earlier or later than other such instructions makes no difference. A volatile
 * load only says that it must not vanish, for its trap. */
static bool instruction_is_movable(LLVMValueRef i)
{
    switch (LLVMGetInstructionOpcode(i)) {
    case LLVMLoad: return LLVMGetOrdering(i) == LLVMAtomicOrderingNotAtomic;
    case LLVMStore: return !LLVMGetVolatile(i) && LLVMGetOrdering(i) == LLVMAtomicOrderingNotAtomic;
    case LLVMCall: return call_is_pure(i);
    case LLVMPHI:
    case LLVMGetElementPtr:
    case LLVMExtractElement:
    case LLVMInsertElement:
    case LLVMShuffleVector:
    case LLVMFreeze: return true;
    default: return opcode_is_arithmetic(LLVMGetInstructionOpcode(i));
    }
}

static bool instructions_number(struct nest *nest)
{
    for (uint32_t b = 0; b < nest->block_count; b++) {
        struct nest_block *block = &nest->blocks[b];
        LLVMValueRef last = LLVMGetBasicBlockTerminator(block->block);
        LLVMValueRef i = LLVMGetFirstInstruction(block->block);
        block->first = nest->instruction_count;
        for (; i != last; i = LLVMGetNextInstruction(i)) {
            if (nest->instruction_count == NEST_INSTRUCTIONS || !instruction_is_movable(i) ||
                (LLVMGetInstructionOpcode(i) == LLVMPHI && b != 0 && !block->loop) ||
                !pointer_map_put(&nest->numbers, i, nest->instruction_count))
                return false;
            nest->instructions[nest->instruction_count++] =
                (struct nest_instruction){.value = i, .block = b, .access = NEST_NONE};
        }
        block->count = nest->instruction_count - block->first;
    }
    return true;
}

/* ---- sums ---- */

/* What an integer phi of a loop grows by when control comes back from `latch`; false unless that
 * is a constant. */
static bool phi_step(LLVMValueRef phi, LLVMBasicBlockRef latch, uint32_t *step)
{
    for (unsigned i = 0; i < LLVMCountIncoming(phi); i++)
        if (LLVMGetIncomingBlock(phi, i) == latch)
            return sum_counter_step(phi, LLVMGetIncomingValue(phi, i), step);
    return false;
}

uint32_t nest_phi_step(const struct nest *nest, LLVMValueRef phi)
{
    uint32_t step = 0;
    (void)phi_step(phi, nest->blocks[nest->block_count - 1].block, &step);
    return step;
}

uint32_t nest_outer_step(const struct nest *nest, const struct linear *linear)
{
    const struct sum *sum = &linear->sum;
    uint32_t step = 0;
    for (uint32_t i = 0; i < sum->count; i++)
        if (nest_number(nest, sum->terms[i].value) != GRAPH_NONE)
            step += sum->terms[i].factor * nest_phi_step(nest, sum->terms[i].value);
    return step;
}

static bool linear_add(const struct nest *, LLVMValueRef, uint32_t factor, uint32_t block,
                       unsigned depth, struct linear *);

static bool linear_add_phi(const struct nest *nest, LLVMValueRef phi, uint32_t factor,
                           uint32_t home, unsigned depth, struct linear *sum)
{
    const struct nest_block *block = &nest->blocks[home];
    uint32_t step;
    if (home == 0)
        return phi_step(phi, nest->blocks[nest->block_count - 1].block, &step) &&
               sum_add_term(&sum->sum, phi, factor);
    if (!block->loop || LLVMCountIncoming(phi) != 2 || !phi_step(phi, block->block, &step))
        return false;
    sum->step += factor * step;
    unsigned first = LLVMGetIncomingBlock(phi, 0) == block->block;
    return linear_add(nest, LLVMGetIncomingValue(phi, first), factor, 0, depth, sum);
}

static bool linear_add_scaled(const struct nest *nest, LLVMValueRef value, uint32_t factor,
                              uint32_t block, unsigned depth, struct linear *sum)
{
    uint32_t by;
    return sum_scale(value, &by) &&
           linear_add(nest, LLVMGetOperand(value, 0), factor * by, block, depth, sum);
}

/* Adds value * factor to the sum. `block` is where the value is used: inside a loop its counters
 * count, elsewhere a loop's values are not to be had. */
static bool linear_add(const struct nest *nest, LLVMValueRef value, uint32_t factor, uint32_t block,
                       unsigned depth, struct linear *sum)
{
    if (LLVMIsAConstantInt(value)) {
        sum->sum.constant += factor * (uint32_t)LLVMConstIntGetZExtValue(value);
        return true;
    }
    uint32_t number = nest_number(nest, value);
    if (number == GRAPH_NONE)
        return sum_add_term(&sum->sum, value, factor);
    uint32_t home = nest->instructions[number].block;
    if (depth == 0 || (nest->blocks[home].loop && home != block))
        return false;
    LLVMValueRef left = LLVMGetOperand(value, 0);
    switch (LLVMGetInstructionOpcode(value)) {
    case LLVMPHI: return linear_add_phi(nest, value, factor, home, depth - 1, sum);
    case LLVMShl:
    case LLVMMul: return linear_add_scaled(nest, value, factor, block, depth - 1, sum);
    case LLVMOr:
        if (!LLVMGetIsDisjoint(value))
            return false;
        /* fallthrough */
    case LLVMAdd:
    case LLVMSub: {
        bool minus = LLVMGetInstructionOpcode(value) == LLVMSub;
        return linear_add(nest, left, factor, block, depth - 1, sum) &&
               linear_add(nest, LLVMGetOperand(value, 1), minus ? 0 - factor : factor, block,
                          depth - 1, sum);
    }
    default: return false;
    }
}

bool linear_is_parallel(const struct linear *a, const struct linear *b)
{
    return a->step == b->step && sum_is_parallel(&a->sum, &b->sum);
}

/* ---- accesses ---- */

static uint32_t type_bytes(LLVMTypeRef type)
{
    switch (LLVMGetTypeKind(type)) {
    case LLVMIntegerTypeKind: return (LLVMGetIntTypeWidth(type) + 7) / 8;
    case LLVMFloatTypeKind: return 4;
    case LLVMDoubleTypeKind: return 8;
    case LLVMVectorTypeKind: return LLVMGetVectorSize(type) * type_bytes(LLVMGetElementType(type));
    default: return 0;
    }
}

/* Adds an index of an address: at most one zero-extended i32 and any constants. */
static bool address_add(const struct nest *nest, LLVMValueRef index, struct nest_access *a,
                        bool *has_sum)
{
    if (LLVMIsAConstantInt(index)) {
        a->offset += LLVMConstIntGetSExtValue(index);
        return true;
    }
    if (!LLVMIsAInstruction(index))
        return false;
    LLVMOpcode opcode = LLVMGetInstructionOpcode(index);
    if (opcode == LLVMAdd && LLVMGetNUW(index) && LLVMIsAConstantInt(LLVMGetOperand(index, 1))) {
        a->offset += LLVMConstIntGetSExtValue(LLVMGetOperand(index, 1));
        index = LLVMGetOperand(index, 0);
        if (!LLVMIsAInstruction(index))
            return false;
        opcode = LLVMGetInstructionOpcode(index);
    }
    if (opcode != LLVMZExt || *has_sum)
        return false;
    LLVMValueRef narrow = LLVMGetOperand(index, 0);
    if (LLVMGetIntTypeWidth(LLVMTypeOf(narrow)) != 32)
        return false;
    *has_sum = true;
    uint32_t home = nest_number(nest, index);
    if (home != GRAPH_NONE && nest->blocks[nest->instructions[home].block].loop &&
        nest->instructions[home].block != a->block)
        return false;
    return linear_add(nest, narrow, 1, a->block, LINEAR_DEPTH, &a->address);
}

static bool access_parse(struct nest *nest, struct nest_access *a)
{
    LLVMValueRef pointer = LLVMGetOperand(a->instruction, a->store);
    bool has_sum = false;
    for (unsigned depth = 0; depth < 4; depth++) {
        if (!LLVMIsAInstruction(pointer) || LLVMGetInstructionOpcode(pointer) != LLVMGetElementPtr)
            break;
        LLVMTypeRef element = LLVMGetGEPSourceElementType(pointer);
        if (LLVMGetNumOperands(pointer) != 2 || type_bytes(element) != 1 ||
            !address_add(nest, LLVMGetOperand(pointer, 1), a, &has_sum))
            return false;
        pointer = LLVMGetOperand(pointer, 0);
    }
    if (nest_number(nest, pointer) != GRAPH_NONE || (nest->base && nest->base != pointer))
        return false;
    nest->base = pointer;
    a->inner = (int32_t)a->address.step;
    a->outer = (int32_t)nest_outer_step(nest, &a->address);
    return a->size != 0 && a->offset > -(1ll << 33) && a->offset < (1ll << 33);
}

static bool accesses_find(struct nest *nest)
{
    for (uint32_t n = 0; n < nest->instruction_count; n++) {
        struct nest_instruction *i = &nest->instructions[n];
        LLVMOpcode opcode = LLVMGetInstructionOpcode(i->value);
        if (opcode != LLVMLoad && opcode != LLVMStore)
            continue;
        if (nest->access_count == NEST_ACCESSES)
            return false;
        i->access = nest->access_count++;
        struct nest_access *a = &nest->accesses[i->access];
        bool store = opcode == LLVMStore;
        LLVMTypeRef type = LLVMTypeOf(store ? LLVMGetOperand(i->value, 0) : i->value);
        *a = (struct nest_access){.instruction = i->value,
                                  .type = type,
                                  .block = i->block,
                                  .size = type_bytes(type),
                                  .store = store};
        if (!access_parse(nest, a))
            return false;
    }
    return nest->access_count != 0;
}

/* ---- when loops end ---- */

static LLVMIntPredicate predicate_inverse(LLVMIntPredicate predicate)
{
    switch (predicate) {
    case LLVMIntEQ: return LLVMIntNE;
    case LLVMIntNE: return LLVMIntEQ;
    case LLVMIntUGE: return LLVMIntULT;
    case LLVMIntULE: return LLVMIntUGT;
    case LLVMIntSGE: return LLVMIntSLT;
    case LLVMIntSLE: return LLVMIntSGT;
    default: return LLVMIntEQ; /* no loop of interest */
    }
}

/* Of the predicate with which a loop goes on. A comparison by order ends a walk of single steps
 * where one for equality would, or, if it starts on the wrong side, after one round. */
static bool exit_predicate(LLVMIntPredicate predicate, int32_t step)
{
    switch (predicate) {
    case LLVMIntNE: return true;
    case LLVMIntUGT:
    case LLVMIntSGT: return step == -1;
    case LLVMIntULT:
    case LLVMIntSLT: return step == 1;
    default: return false;
    }
}

static bool exit_find(const struct nest *nest, uint32_t block, struct nest_exit *out)
{
    LLVMBasicBlockRef latch = nest->blocks[block].block;
    LLVMValueRef branch = LLVMGetBasicBlockTerminator(latch);
    LLVMValueRef condition = LLVMGetCondition(branch);
    LLVMBasicBlockRef head = nest->blocks[block].loop ? latch : nest->blocks[0].block;
    if (!LLVMIsAInstruction(condition) || nest_number(nest, condition) == GRAPH_NONE ||
        LLVMGetInstructionOpcode(condition) != LLVMICmp)
        return false;
    LLVMValueRef left = LLVMGetOperand(condition, 0), right = LLVMGetOperand(condition, 1);
    LLVMTypeRef type = LLVMTypeOf(left);
    if (LLVMGetTypeKind(type) != LLVMIntegerTypeKind || LLVMGetIntTypeWidth(type) != 32)
        return false;
    out->condition = condition;
    out->leaves_on_true = LLVMGetSuccessor(branch, 0) != head;
    if (!linear_add(nest, left, 1, block, LINEAR_DEPTH, &out->difference) ||
        !linear_add(nest, right, UINT32_MAX, block, LINEAR_DEPTH, &out->difference))
        return false;
    bool loop = nest->blocks[block].loop;
    uint32_t outer = nest_outer_step(nest, &out->difference);
    uint32_t step = loop ? out->difference.step : outer;
    LLVMIntPredicate predicate = LLVMGetICmpPredicate(condition);
    if (out->leaves_on_true)
        predicate = predicate_inverse(predicate);
    return step != 0 && (loop ? outer == 0 : predicate == LLVMIntNE) &&
           exit_predicate(predicate, (int32_t)step);
}

static bool exits_find(struct nest *nest)
{
    for (uint32_t b = 0; b < nest->block_count; b++)
        if (nest->blocks[b].loop && !exit_find(nest, b, &nest->blocks[b].exit))
            return false;
    return exit_find(nest, nest->block_count - 1, &nest->outer_exit);
}

static bool phis_count(const struct nest *nest)
{
    for (uint32_t n = 0; n < nest->blocks[0].count; n++) {
        LLVMValueRef phi = nest->instructions[n].value;
        uint32_t step;
        if (LLVMGetInstructionOpcode(phi) != LLVMPHI)
            return true;
        LLVMTypeRef type = LLVMTypeOf(phi);
        if (LLVMGetTypeKind(type) != LLVMIntegerTypeKind || LLVMGetIntTypeWidth(type) != 32 ||
            !phi_step(phi, nest->blocks[nest->block_count - 1].block, &step))
            return false;
    }
    return true;
}

bool nest_find(LLVMBasicBlockRef head, struct nest *out)
{
    /* The arrays need no clearing, and there are many blocks. */
    out->block_count = out->instruction_count = out->access_count = 0;
    out->outer_exit = (struct nest_exit){0};
    out->exit = NULL;
    out->base = NULL;
    out->numbers = (struct pointer_map){0};
    return chain_find(out, head) && instructions_number(out) && phis_count(out) &&
           accesses_find(out) && exits_find(out);
}

void nest_free(struct nest *nest)
{
    pointer_map_free(&nest->numbers);
}
