/*
 * Finding the copies of a round; see lower_reroll_match.h.
 *
 * Matching starts from what a loop is for, its stores: with n copies of a round, the first n-th of
 * them belongs to copy 0, and from each of these a walk along the operands finds what copy 0
 * computes and, side by side with it, what copy r computes. Two values correspond when
 *
 *   - they are sums of the same counters and outside values, and the second is larger by what the
 *     counters grow in r rounds of the short loop;
 *   - both are the same value from outside;
 *   - the first is a phi, and the second is what copy r - 1 has made of it;
 *   - they are the same operation on operands that correspond.
 *
 * What a phi becomes is learnt where copy 1 uses it, or, of a sum that only the next round uses,
 * tried out.
 *
 * The same operations on the same operands, so values agree. Loads and stores happen in the order
 * of the copies; where that was not so before, they must be known to touch different bytes.
 */
#include "engine/lower_reroll_match.h"

#include <stdlib.h>
#include <string.h>

#define SUM_DEPTH  12u
#define EFFORT_MAX 20000u /* comparisons of values per loop and number of copies */

/* ---- the loop ---- */

bool reroll_is_i32(LLVMValueRef value)
{
    LLVMTypeRef type = LLVMTypeOf(value);
    return LLVMGetTypeKind(type) == LLVMIntegerTypeKind && LLVMGetIntTypeWidth(type) == 32;
}

/* Intrinsics whose result depends on their operands alone, whatever is known about these. */
static bool intrinsic_is_plain(unsigned id)
{
    static const char *const names[] = {
        "llvm.sqrt",     "llvm.fabs", "llvm.ceil",  "llvm.floor",    "llvm.trunc", "llvm.rint",
        "llvm.copysign", "llvm.smin", "llvm.smax",  "llvm.umin",     "llvm.umax",  "llvm.ctpop",
        "llvm.fshl",     "llvm.fshr", "llvm.bswap", "llvm.nearbyint"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (id == LLVMLookupIntrinsicID(names[i], strlen(names[i])))
            return true;
    return false;
}

static bool type_is_vector(LLVMTypeRef type)
{
    return LLVMGetTypeKind(type) == LLVMVectorTypeKind;
}

static bool instruction_is_plain(LLVMValueRef i)
{
    if (type_is_vector(LLVMTypeOf(i)))
        return false;
    switch (LLVMGetInstructionOpcode(i)) {
    case LLVMLoad: return LLVMGetOrdering(i) == LLVMAtomicOrderingNotAtomic;
    case LLVMStore:
        return !LLVMGetVolatile(i) && LLVMGetOrdering(i) == LLVMAtomicOrderingNotAtomic &&
               !type_is_vector(LLVMTypeOf(LLVMGetOperand(i, 0)));
    case LLVMCall: {
        LLVMValueRef callee = LLVMIsAFunction(LLVMGetCalledValue(i));
        return callee && intrinsic_is_plain(LLVMGetIntrinsicID(callee));
    }
    case LLVMGetElementPtr: return LLVMGetNumOperands(i) == 2;
    case LLVMPHI:
    case LLVMFNeg:
    case LLVMAdd:
    case LLVMFAdd:
    case LLVMSub:
    case LLVMFSub:
    case LLVMMul:
    case LLVMFMul:
    case LLVMFDiv:
    case LLVMShl:
    case LLVMLShr:
    case LLVMAShr:
    case LLVMAnd:
    case LLVMOr:
    case LLVMXor:
    case LLVMTrunc:
    case LLVMZExt:
    case LLVMSExt:
    case LLVMUIToFP:
    case LLVMSIToFP:
    case LLVMFPTrunc:
    case LLVMFPExt:
    case LLVMBitCast:
    case LLVMICmp:
    case LLVMFCmp:
    case LLVMSelect: return true;
    default: return false;
    }
}

static uint32_t phi_step(LLVMValueRef phi, LLVMValueRef latch)
{
    if (!reroll_is_i32(phi) || !LLVMIsAInstruction(latch) ||
        LLVMGetInstructionOpcode(latch) != LLVMAdd || LLVMGetOperand(latch, 0) != phi ||
        !LLVMIsAConstantInt(LLVMGetOperand(latch, 1)))
        return 0;
    return (uint32_t)LLVMConstIntGetZExtValue(LLVMGetOperand(latch, 1));
}

static bool phi_read(struct reroll_loop *loop, LLVMValueRef phi, uint32_t number)
{
    if (LLVMCountIncoming(phi) != 2)
        return false;
    unsigned back = LLVMGetIncomingBlock(phi, 1) == loop->block;
    loop->before = LLVMGetIncomingBlock(phi, 1 - back);
    loop->starts[number] = LLVMGetIncomingValue(phi, 1 - back);
    loop->latches[number] = LLVMGetIncomingValue(phi, back);
    loop->steps[number] = phi_step(phi, loop->latches[number]);
    loop->phi_count = number + 1;
    return LLVMGetIncomingBlock(phi, back) == loop->block && loop->before != loop->block;
}

static bool instructions_number(struct reroll_loop *loop, LLVMValueRef last)
{
    for (LLVMValueRef i = LLVMGetFirstInstruction(loop->block); i != last;
         i = LLVMGetNextInstruction(i)) {
        if (loop->count == REROLL_INSTRUCTIONS ||
            (LLVMGetInstructionOpcode(i) == LLVMPHI && !phi_read(loop, i, loop->count)) ||
            !pointer_map_put(&loop->numbers, i, loop->count))
            return false;
        loop->instructions[loop->count++] = i;
    }
    return loop->phi_count != 0;
}

bool reroll_read(LLVMBasicBlockRef block, struct reroll_loop *loop)
{
    loop->count = loop->phi_count = 0;
    loop->numbers = (struct pointer_map){0};
    LLVMValueRef last = LLVMGetBasicBlockTerminator(block);
    loop->block = block;
    if (LLVMGetInstructionOpcode(last) != LLVMBr || LLVMGetNumSuccessors(last) != 2)
        return false;
    loop->leaves_on_true = LLVMGetSuccessor(last, 0) != block;
    loop->exit = LLVMGetSuccessor(last, !loop->leaves_on_true);
    loop->condition = LLVMGetCondition(last);
    return LLVMGetSuccessor(last, loop->leaves_on_true) == block && loop->exit != block &&
           instructions_number(loop, last) && LLVMIsAICmpInst(loop->condition) &&
           reroll_number(loop, loop->condition) != GRAPH_NONE;
}

/* ---- sums ---- */

static bool sum_add_term(struct reroll_sum *sum, LLVMValueRef value, uint32_t factor)
{
    uint32_t i = 0;
    while (i < sum->count && sum->terms[i].value != value)
        i++;
    if (i == REROLL_TERMS)
        return false;
    if (i == sum->count)
        sum->terms[sum->count++].value = value, sum->terms[i].factor = 0;
    sum->terms[i].factor += factor;
    if (sum->terms[i].factor == 0)
        sum->terms[i] = sum->terms[--sum->count];
    return true;
}

static bool sum_add(const struct reroll_loop *loop, LLVMValueRef value, uint32_t factor,
                    unsigned depth, struct reroll_sum *sum)
{
    if (LLVMIsAConstantInt(value)) {
        sum->constant += factor * (uint32_t)LLVMConstIntGetZExtValue(value);
        return true;
    }
    uint32_t number = reroll_number(loop, value);
    if (number == GRAPH_NONE)
        return sum_add_term(sum, value, factor);
    if (depth == 0)
        return false;
    LLVMOpcode opcode = LLVMGetInstructionOpcode(value);
    if (opcode == LLVMPHI)
        return loop->steps[number] != 0 && sum_add_term(sum, value, factor);
    if (opcode == LLVMOr
            ? !LLVMGetIsDisjoint(value)
            : opcode != LLVMAdd && opcode != LLVMSub && opcode != LLVMMul && opcode != LLVMShl)
        return false;
    LLVMValueRef left = LLVMGetOperand(value, 0), right = LLVMGetOperand(value, 1);
    if (opcode == LLVMAdd || opcode == LLVMSub || opcode == LLVMOr)
        return sum_add(loop, left, factor, depth - 1, sum) &&
               sum_add(loop, right, opcode == LLVMSub ? 0 - factor : factor, depth - 1, sum);
    if (!LLVMIsAConstantInt(right))
        return false;
    uint32_t by = (uint32_t)LLVMConstIntGetZExtValue(right);
    if (opcode == LLVMShl)
        by = by < 32 ? 1u << by : 0;
    return sum_add(loop, left, factor * by, depth - 1, sum);
}

bool reroll_sum_of(const struct reroll_loop *loop, LLVMValueRef value, struct reroll_sum *out)
{
    *out = (struct reroll_sum){0};
    return reroll_is_i32(value) && sum_add(loop, value, 1, SUM_DEPTH, out);
}

bool reroll_sum_subtract(struct reroll_sum *a, const struct reroll_sum *b)
{
    a->constant -= b->constant;
    for (uint32_t i = 0; i < b->count; i++)
        if (!sum_add_term(a, b->terms[i].value, 0 - b->terms[i].factor))
            return false;
    return true;
}

static bool sums_are_parallel(const struct reroll_sum *a, const struct reroll_sum *b)
{
    if (a->count != b->count)
        return false;
    for (uint32_t i = 0; i < a->count; i++) {
        uint32_t k = 0;
        while (k < b->count && b->terms[k].value != a->terms[i].value)
            k++;
        if (k == b->count || b->terms[k].factor != a->terms[i].factor)
            return false;
    }
    return true;
}

uint32_t reroll_shift(const struct reroll_loop *loop, const struct reroll_sum *sum, uint32_t copy)
{
    uint32_t shift = 0;
    for (uint32_t i = 0; i < sum->count; i++) {
        uint32_t number = reroll_number(loop, sum->terms[i].value);
        if (number != GRAPH_NONE)
            shift += sum->terms[i].factor * copy *
                     (uint32_t)((int32_t)loop->steps[number] / (int32_t)loop->copies);
    }
    return shift;
}

/* ---- values that correspond ---- */

static void cell_set(struct reroll_loop *loop, uint16_t *cell, uint32_t value)
{
    loop->trail[loop->trail_count++] = (struct reroll_trail){cell, *cell};
    *cell = (uint16_t)value;
}

static void cells_restore(struct reroll_loop *loop, uint32_t mark)
{
    while (loop->trail_count > mark) {
        struct reroll_trail *t = &loop->trail[--loop->trail_count];
        *t->cell = t->was;
    }
}

static bool operation_is_same(LLVMValueRef a, LLVMValueRef b)
{
    LLVMOpcode opcode = LLVMGetInstructionOpcode(a);
    if (opcode != LLVMGetInstructionOpcode(b) || LLVMTypeOf(a) != LLVMTypeOf(b) ||
        LLVMGetNumOperands(a) != LLVMGetNumOperands(b))
        return false;
    for (int i = 0; i < LLVMGetNumOperands(a); i++)
        if (LLVMTypeOf(LLVMGetOperand(a, (unsigned)i)) !=
            LLVMTypeOf(LLVMGetOperand(b, (unsigned)i)))
            return false;
    switch (opcode) {
    case LLVMOr: return LLVMGetIsDisjoint(a) == LLVMGetIsDisjoint(b);
    case LLVMICmp: return LLVMGetICmpPredicate(a) == LLVMGetICmpPredicate(b);
    case LLVMFCmp: return LLVMGetFCmpPredicate(a) == LLVMGetFCmpPredicate(b);
    case LLVMGetElementPtr: return LLVMGetGEPSourceElementType(a) == LLVMGetGEPSourceElementType(b);
    case LLVMLoad:
    case LLVMStore:
        return LLVMGetVolatile(a) == LLVMGetVolatile(b) &&
               LLVMGetAlignment(a) == LLVMGetAlignment(b);
    default: return true;
    }
}

static bool opcode_commutes(LLVMOpcode opcode)
{
    return opcode == LLVMAdd || opcode == LLVMMul || opcode == LLVMFAdd || opcode == LLVMFMul ||
           opcode == LLVMAnd || opcode == LLVMOr || opcode == LLVMXor;
}

static bool values_match(struct reroll_loop *, uint32_t copy, LLVMValueRef a, LLVMValueRef b);

static bool operands_match(struct reroll_loop *loop, uint32_t copy, LLVMValueRef a, LLVMValueRef b)
{
    uint32_t mark = loop->trail_count;
    bool match = true;
    for (int i = 0; i < LLVMGetNumOperands(a) && match; i++)
        match = values_match(loop, copy, LLVMGetOperand(a, (unsigned)i),
                             LLVMGetOperand(b, (unsigned)i));
    if (match || !opcode_commutes(LLVMGetInstructionOpcode(a)))
        return match;
    cells_restore(loop, mark);
    return values_match(loop, copy, LLVMGetOperand(a, 0), LLVMGetOperand(b, 1)) &&
           values_match(loop, copy, LLVMGetOperand(a, 1), LLVMGetOperand(b, 0));
}

static bool instructions_match(struct reroll_loop *loop, uint32_t copy, uint32_t a, uint32_t b)
{
    uint16_t *version = &loop->versions[copy][a];
    if (*version != REROLL_NONE)
        return *version == b;
    LLVMValueRef first = loop->instructions[a], second = loop->instructions[b];
    if (!operation_is_same(first, second))
        return false;
    cell_set(loop, version, b);
    return operands_match(loop, copy, first, second);
}

static bool phi_matches(struct reroll_loop *loop, uint32_t copy, uint32_t phi, uint32_t b)
{
    if (loop->next[phi] != REROLL_NONE)
        return values_match(loop, copy - 1, loop->instructions[loop->next[phi]],
                            loop->instructions[b]);
    if (copy != 1 || LLVMTypeOf(loop->instructions[phi]) != LLVMTypeOf(loop->instructions[b]))
        return false;
    cell_set(loop, &loop->next[phi], b);
    return true;
}

/* Whether b is in a copy what a is in copy 0. */
static bool values_match(struct reroll_loop *loop, uint32_t copy, LLVMValueRef a, LLVMValueRef b)
{
    if (++loop->effort > EFFORT_MAX)
        return false;
    uint32_t first = reroll_number(loop, a), second = reroll_number(loop, b);
    if (copy == 0 || first == GRAPH_NONE)
        return a == b;
    struct reroll_sum sum, later;
    if (reroll_sum_of(loop, a, &sum))
        return reroll_sum_of(loop, b, &later) && sums_are_parallel(&sum, &later) &&
               later.constant - sum.constant == reroll_shift(loop, &sum, copy);
    if (second == GRAPH_NONE)
        return false;
    if (LLVMGetInstructionOpcode(a) == LLVMPHI)
        return phi_matches(loop, copy, first, second);
    return instructions_match(loop, copy, first, second);
}

/* ---- the whole loop ---- */

static bool stores_match(struct reroll_loop *loop)
{
    uint16_t stores[REROLL_INSTRUCTIONS];
    uint32_t count = 0;
    for (uint32_t n = 0; n < loop->count; n++)
        if (LLVMGetInstructionOpcode(loop->instructions[n]) == LLVMStore)
            stores[count++] = (uint16_t)n;
    if (count % loop->copies != 0)
        return false;
    uint32_t each = count / loop->copies;
    for (uint32_t n = each; n < count; n++)
        if (!instructions_match(loop, n / each, stores[n % each], stores[n]))
            return false;
    for (uint32_t n = 0; n < each; n++)
        loop->needed[stores[n]] = true;
    return true;
}

/* Of a phi that copy 1 does not use as it comes from copy 0: the next round's value is what the
 * last copy makes of some instruction. */
static bool phi_guess(struct reroll_loop *loop, uint32_t phi, uint32_t latch)
{
    for (uint32_t n = loop->phi_count; n < latch; n++) {
        uint32_t mark = loop->trail_count;
        if (!operation_is_same(loop->instructions[n], loop->instructions[latch]))
            continue;
        cell_set(loop, &loop->next[phi], n);
        if (values_match(loop, loop->copies - 1, loop->instructions[n], loop->instructions[latch]))
            return true;
        cells_restore(loop, mark);
    }
    return false;
}

static bool phis_match(struct reroll_loop *loop)
{
    for (uint32_t n = 0; n < loop->phi_count; n++) {
        if (loop->steps[n] != 0)
            continue;
        uint32_t latch = reroll_number(loop, loop->latches[n]);
        if (latch == GRAPH_NONE)
            return false;
        bool match = loop->next[n] == REROLL_NONE
                         ? phi_guess(loop, n, latch)
                         : values_match(loop, loop->copies - 1, loop->instructions[loop->next[n]],
                                        loop->latches[n]);
        if (!match)
            return false;
        loop->needed[loop->next[n]] = true;
    }
    return true;
}

bool reroll_lives_on(const struct reroll_loop *loop, LLVMValueRef value)
{
    for (LLVMUseRef use = LLVMGetFirstUse(value); use; use = LLVMGetNextUse(use))
        if (LLVMGetInstructionParent(LLVMGetUser(use)) != loop->block)
            return true;
    return false;
}

uint32_t reroll_origin(const struct reroll_loop *loop, LLVMValueRef value)
{
    uint32_t number = reroll_number(loop, value);
    for (uint32_t n = 0; n < loop->count; n++)
        if (loop->versions[loop->copies - 1][n] == number)
            return n;
    return REROLL_NONE;
}

static bool results_match(struct reroll_loop *loop)
{
    struct reroll_sum sum;
    for (uint32_t n = 0; n < loop->count; n++) {
        LLVMValueRef value = loop->instructions[n];
        if (!reroll_lives_on(loop, value))
            continue;
        uint32_t origin = reroll_sum_of(loop, value, &sum) ? n : reroll_origin(loop, value);
        if (origin == REROLL_NONE)
            return false;
        loop->needed[origin] = true;
    }
    for (unsigned i = 0; i < 2; i++) {
        uint32_t side = reroll_number(loop, LLVMGetOperand(loop->condition, i));
        if (side != GRAPH_NONE)
            loop->needed[side] = true;
    }
    return true;
}

static void operands_need(struct reroll_loop *loop)
{
    for (uint32_t n = loop->count; n-- > loop->phi_count;) {
        LLVMValueRef i = loop->instructions[n];
        for (int k = 0; loop->needed[n] && k < LLVMGetNumOperands(i); k++) {
            uint32_t operand = reroll_number(loop, LLVMGetOperand(i, (unsigned)k));
            if (operand != GRAPH_NONE)
                loop->needed[operand] = true;
        }
    }
}

/* ---- loads and stores ---- */

static bool is_access(LLVMValueRef i)
{
    LLVMOpcode opcode = LLVMGetInstructionOpcode(i);
    return opcode == LLVMLoad || opcode == LLVMStore;
}

struct access {
    LLVMValueRef base;
    struct reroll_sum sum;
    uint32_t size;
};

/* Of an address that is a base and a zero-extended sum. */
static bool access_read(const struct reroll_loop *loop, LLVMValueRef i, struct access *out)
{
    bool store = LLVMGetInstructionOpcode(i) == LLVMStore;
    LLVMValueRef address = LLVMGetOperand(i, store);
    LLVMTypeRef type = LLVMTypeOf(store ? LLVMGetOperand(i, 0) : i);
    switch (LLVMGetTypeKind(type)) {
    case LLVMIntegerTypeKind: out->size = (LLVMGetIntTypeWidth(type) + 7) / 8; break;
    case LLVMFloatTypeKind: out->size = 4; break;
    case LLVMDoubleTypeKind: out->size = 8; break;
    default: return false;
    }
    if (!LLVMIsAInstruction(address) || LLVMGetInstructionOpcode(address) != LLVMGetElementPtr ||
        LLVMGetGEPSourceElementType(address) !=
            LLVMInt8TypeInContext(LLVMGetTypeContext(LLVMTypeOf(address))))
        return false;
    LLVMValueRef index = LLVMGetOperand(address, 1);
    out->base = LLVMGetOperand(address, 0);
    return LLVMIsAInstruction(index) && LLVMGetInstructionOpcode(index) == LLVMZExt &&
           reroll_sum_of(loop, LLVMGetOperand(index, 0), &out->sum);
}

/* Whether two accesses in the same turn of the long loop certainly touch different bytes. */
static bool accesses_are_apart(const struct reroll_loop *loop, uint32_t a, uint32_t b)
{
    struct access first, second;
    if (!access_read(loop, loop->instructions[a], &first) ||
        !access_read(loop, loop->instructions[b], &second) || first.base != second.base ||
        !sums_are_parallel(&first.sum, &second.sum))
        return false;
    uint32_t distance = second.sum.constant - first.sum.constant;
    return distance >= first.size && 0 - distance >= second.size;
}

static uint32_t version_of(const struct reroll_loop *loop, uint32_t copy, uint32_t n)
{
    return copy == 0 ? n : loop->versions[copy][n];
}

/* Whether a store in one copy and another access in one as late or later keep their order, or need
 * not. */
static bool pair_is_in_order(const struct reroll_loop *loop, uint32_t a, uint32_t b)
{
    for (uint32_t i = 0; i < loop->copies; i++) {
        for (uint32_t k = 0; k < loop->copies; k++) {
            uint32_t first = version_of(loop, i, a), second = version_of(loop, k, b);
            bool before = i < k || (i == k && a < b);
            if (first == REROLL_NONE || second == REROLL_NONE)
                return false;
            if (before != (first < second) && !accesses_are_apart(loop, first, second))
                return false;
        }
    }
    return true;
}

static bool accesses_are_in_order(const struct reroll_loop *loop)
{
    for (uint32_t a = 0; a < loop->count; a++) {
        if (!loop->needed[a] || LLVMGetInstructionOpcode(loop->instructions[a]) != LLVMStore)
            continue;
        for (uint32_t b = 0; b < loop->count; b++)
            if (loop->needed[b] && is_access(loop->instructions[b]) &&
                (a != b ? !pair_is_in_order(loop, a, b) : false))
                return false;
    }
    return true;
}

/* Every load that must not vanish is a version of one in the short loop, and each load there was
 * one in every copy. */
static bool loads_are_the_same(const struct reroll_loop *loop)
{
    bool kept[REROLL_INSTRUCTIONS] = {false};
    for (uint32_t n = 0; n < loop->count; n++) {
        for (uint32_t c = 0; loop->needed[n] && c < loop->copies; c++) {
            if (!is_access(loop->instructions[n]))
                continue;
            if (version_of(loop, c, n) == REROLL_NONE)
                return false;
            kept[version_of(loop, c, n)] = true;
        }
    }
    for (uint32_t n = 0; n < loop->count; n++)
        if (is_access(loop->instructions[n]) && LLVMGetVolatile(loop->instructions[n]) && !kept[n])
            return false;
    return true;
}

static bool copies_match(struct reroll_loop *loop, uint32_t copies)
{
    loop->copies = copies;
    loop->trail_count = loop->effort = 0;
    memset(loop->versions, 0xff, sizeof loop->versions);
    memset(loop->next, 0xff, sizeof loop->next);
    memset(loop->needed, 0, sizeof loop->needed);
    for (uint32_t n = 0; n < loop->phi_count; n++)
        if ((int32_t)loop->steps[n] % (int32_t)copies != 0)
            return false;
    if (!stores_match(loop) || !phis_match(loop) || !results_match(loop))
        return false;
    operands_need(loop);
    return loads_are_the_same(loop) && accesses_are_in_order(loop);
}

static bool loop_is_plain(const struct reroll_loop *loop)
{
    bool accesses = false;
    for (uint32_t n = 0; n < loop->count; n++) {
        if (!instruction_is_plain(loop->instructions[n]))
            return false;
        accesses = accesses || is_access(loop->instructions[n]);
    }
    return accesses;
}

bool reroll_find(LLVMBasicBlockRef block, struct reroll_loop *out)
{
    if (!reroll_read(block, out) || !loop_is_plain(out))
        return false;
    for (uint32_t copies = REROLL_COPIES; copies > 1; copies--)
        if (copies_match(out, copies))
            return true;
    return false;
}

void reroll_free(struct reroll_loop *loop)
{
    pointer_map_free(&loop->numbers);
}
