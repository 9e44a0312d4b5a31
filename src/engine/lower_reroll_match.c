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
 *   - they are the same operation on operands that correspond, or loads from places that do if two
 *     sums of outside values are equal, which the short loop then depends on (y[k - i], of which
 *     clang makes a counter in copy 0 and computes the others).
 *
 * What a phi becomes is learnt where copy 1 uses it, or, of a sum that only the next round uses,
 * tried out.
 *
 * The same operations on the same operands, so values agree, if what is loaded does: that is for
 * lower_twin.c to make sure of, which also proves that nothing traps; hence a load that matches may
 * have been volatile or not.
 *
 * Only loops are taken of which LLVM can make vectors. A sum of floating-point numbers stays as the
 * guest's compiler left it, and an integer that is computed from its last value must be a plain
 * reduction.
 */
#include "engine/lower_reroll_match.h"

#include "engine/lower_instruction.h"

#include <string.h>

#define EFFORT_MAX 5000u /* comparisons of values per loop and number of copies */

/* ---- operations ---- */

/* Intrinsics whose result depends on their operands alone, whatever is known about these. */
static bool call_is_plain(LLVMValueRef i)
{
    static const char *const names[] = {"llvm.sqrt",
                                        "llvm.fabs",
                                        "llvm.ceil",
                                        "llvm.floor",
                                        "llvm.trunc",
                                        "llvm.rint",
                                        "llvm.copysign",
                                        "llvm.smin",
                                        "llvm.smax",
                                        "llvm.umin",
                                        "llvm.umax",
                                        "llvm.ctpop",
                                        "llvm.fshl",
                                        "llvm.fshr",
                                        "llvm.bswap",
                                        "llvm.nearbyint",
                                        "llvm.arithmetic.fence"};
    return value_calls_intrinsic(i, names, sizeof names / sizeof names[0]);
}

static bool instruction_is_plain(LLVMValueRef i)
{
    switch (LLVMGetInstructionOpcode(i)) {
    case LLVMLoad: return LLVMGetOrdering(i) == LLVMAtomicOrderingNotAtomic;
    case LLVMStore: return !LLVMGetVolatile(i) && LLVMGetOrdering(i) == LLVMAtomicOrderingNotAtomic;
    case LLVMCall: return call_is_plain(i);
    case LLVMGetElementPtr: return LLVMGetNumOperands(i) == 2;
    case LLVMPHI:
    case LLVMShuffleVector: return true;
    default: return opcode_is_arithmetic(LLVMGetInstructionOpcode(i));
    }
}

/* ---- values that correspond ---- */

/* By how much a sum is larger in a later copy. */
static uint32_t sum_shift(const struct reroll_match *m, const struct sum *sum, uint32_t copy)
{
    return copy * loop_sum_step(m->loop, sum, m->copies);
}

static void cell_set(struct reroll_match *m, uint16_t *cell, uint32_t value)
{
    m->trail[m->trail_count++] = (struct reroll_trail){cell, *cell};
    *cell = (uint16_t)value;
}

/* How far a match has come. */
struct mark {
    uint32_t trail_count, assumption_count;
};

static struct mark match_mark(const struct reroll_match *m)
{
    return (struct mark){m->trail_count, m->assumption_count};
}

static void match_restore(struct reroll_match *m, struct mark mark)
{
    while (m->trail_count > mark.trail_count) {
        struct reroll_trail *t = &m->trail[--m->trail_count];
        *t->cell = t->was;
    }
    m->assumption_count = mark.assumption_count;
}

static bool sums_match(const struct reroll_match *m, uint32_t copy, const struct sum *a,
                       const struct sum *b)
{
    return sum_is_parallel(a, b) && b->constant - a->constant == sum_shift(m, a, copy);
}

/* Of where two loads load: the second may be larger by what it must although that cannot be seen,
 * when it grows as fast. Then it is enough that it is before the first round. */
static bool places_match(struct reroll_match *m, uint32_t copy, LLVMValueRef a, LLVMValueRef b)
{
    struct sum first, second;
    if (!loop_sum_of(m->loop, a, &first) || !loop_sum_of(m->loop, b, &second))
        return false;
    if (sums_match(m, copy, &first, &second))
        return true;
    second.constant -= sum_shift(m, &first, copy);
    if (m->assumption_count == REROLL_ASSUMPTIONS || sum_is_parallel(&first, &second) ||
        !sum_subtract(&second, &first) || loop_sum_step(m->loop, &second, 1) != 0)
        return false;
    m->assumptions[m->assumption_count++] = second;
    return true;
}

static bool masks_are_same(LLVMValueRef a, LLVMValueRef b)
{
    unsigned size = LLVMGetVectorSize(LLVMTypeOf(a));
    for (unsigned i = 0; i < size; i++)
        if (LLVMGetMaskValue(a, i) != LLVMGetMaskValue(b, i))
            return false;
    return true;
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
    case LLVMShuffleVector: return masks_are_same(a, b);
    case LLVMGetElementPtr: return LLVMGetGEPSourceElementType(a) == LLVMGetGEPSourceElementType(b);
    default: return true;
    }
}

static bool opcode_commutes(LLVMOpcode opcode)
{
    return opcode == LLVMAdd || opcode == LLVMMul || opcode == LLVMFAdd || opcode == LLVMFMul ||
           opcode == LLVMAnd || opcode == LLVMOr || opcode == LLVMXor;
}

static bool values_match(struct reroll_match *, uint32_t copy, LLVMValueRef a, LLVMValueRef b);

/* The i32 part of an address that is a base and a zero-extended sum; else NULL. */
static LLVMValueRef place_of(LLVMValueRef address)
{
    if (!LLVMIsAGetElementPtrInst(address) || LLVMGetNumOperands(address) != 2)
        return NULL;
    LLVMValueRef index = LLVMGetOperand(address, 1);
    return LLVMIsAZExtInst(index) ? LLVMGetOperand(index, 0) : NULL;
}

/* Of what two loads load from. */
static bool addresses_match(struct reroll_match *m, uint32_t copy, LLVMValueRef a, LLVMValueRef b)
{
    LLVMValueRef first = place_of(a), second = place_of(b);
    if (first && second && operation_is_same(a, b) && LLVMGetOperand(a, 0) == LLVMGetOperand(b, 0))
        return places_match(m, copy, first, second);
    return values_match(m, copy, a, b);
}

static bool operands_match(struct reroll_match *m, uint32_t copy, LLVMValueRef a, LLVMValueRef b)
{
    struct mark mark = match_mark(m);
    bool match = true;
    for (int i = 0; i < LLVMGetNumOperands(a) && match; i++)
        match =
            values_match(m, copy, LLVMGetOperand(a, (unsigned)i), LLVMGetOperand(b, (unsigned)i));
    if (match || !opcode_commutes(LLVMGetInstructionOpcode(a)))
        return match;
    match_restore(m, mark);
    return values_match(m, copy, LLVMGetOperand(a, 0), LLVMGetOperand(b, 1)) &&
           values_match(m, copy, LLVMGetOperand(a, 1), LLVMGetOperand(b, 0));
}

static bool instructions_match(struct reroll_match *m, uint32_t copy, uint32_t a, uint32_t b)
{
    uint16_t *version = &m->versions[copy][a];
    if (*version != REROLL_NONE)
        return *version == b;
    LLVMValueRef first = m->loop->instructions[a], second = m->loop->instructions[b];
    if (!operation_is_same(first, second))
        return false;
    cell_set(m, version, b);
    if (LLVMIsALoadInst(first))
        return addresses_match(m, copy, LLVMGetOperand(first, 0), LLVMGetOperand(second, 0));
    return operands_match(m, copy, first, second);
}

static bool phi_matches(struct reroll_match *m, uint32_t copy, uint32_t phi, uint32_t b)
{
    if (m->next[phi] != REROLL_NONE)
        return values_match(m, copy - 1, m->loop->instructions[m->next[phi]],
                            m->loop->instructions[b]);
    if (copy != 1 || LLVMTypeOf(m->loop->instructions[phi]) != LLVMTypeOf(m->loop->instructions[b]))
        return false;
    cell_set(m, &m->next[phi], b);
    return true;
}

/* What is fenced, of a fence around a constant: of equal constants of a round, lowering may have
 * fenced the first alone. */
static LLVMValueRef fence_strip(LLVMValueRef value)
{
    static const char *const fence = "llvm.arithmetic.fence";
    bool fenced =
        value_calls_intrinsic(value, &fence, 1) && LLVMIsConstant(LLVMGetOperand(value, 0));
    return fenced ? LLVMGetOperand(value, 0) : value;
}

/* Whether b is in a copy what a is in copy 0. */
static bool values_match(struct reroll_match *m, uint32_t copy, LLVMValueRef a, LLVMValueRef b)
{
    if (++m->effort > EFFORT_MAX)
        return false;
    uint32_t first = loop_number(m->loop, a), second = loop_number(m->loop, b);
    if (copy == 0 || first == GRAPH_NONE)
        return a == b;
    if (LLVMIsConstant(fence_strip(a)))
        return fence_strip(a) == fence_strip(b);
    struct sum sum, later;
    if (loop_sum_of(m->loop, a, &sum))
        return loop_sum_of(m->loop, b, &later) && sums_match(m, copy, &sum, &later);
    if (second == GRAPH_NONE)
        return false;
    if (LLVMGetInstructionOpcode(a) == LLVMPHI)
        return phi_matches(m, copy, first, second);
    return instructions_match(m, copy, first, second);
}

/* ---- the whole loop ---- */

static bool stores_match(struct reroll_match *m)
{
    uint16_t stores[LOOP_INSTRUCTIONS];
    uint32_t count = 0;
    for (uint32_t n = 0; n < m->loop->count; n++)
        if (LLVMGetInstructionOpcode(m->loop->instructions[n]) == LLVMStore)
            stores[count++] = (uint16_t)n;
    if (count % m->copies != 0)
        return false;
    uint32_t each = count / m->copies;
    for (uint32_t n = each; n < count; n++)
        if (!instructions_match(m, n / each, stores[n % each], stores[n]))
            return false;
    for (uint32_t n = 0; n < each; n++)
        m->needed[stores[n]] = true;
    return true;
}

/* Of a phi that copy 1 does not use as it comes from copy 0: the next round's value is what the
 * last copy makes of some instruction. */
static bool phi_guess(struct reroll_match *m, uint32_t phi, uint32_t latch)
{
    for (uint32_t n = m->loop->phi_count; n <= latch; n++) {
        struct mark mark = match_mark(m);
        if (!operation_is_same(m->loop->instructions[n], m->loop->instructions[latch]))
            continue;
        cell_set(m, &m->next[phi], n);
        if (values_match(m, m->copies - 1, m->loop->instructions[n], m->loop->instructions[latch]))
            return true;
        match_restore(m, mark);
    }
    return false;
}

static bool phis_match(struct reroll_match *m)
{
    for (uint32_t n = 0; n < m->loop->phi_count; n++) {
        if (m->loop->steps[n] != 0)
            continue;
        uint32_t latch = loop_number(m->loop, m->loop->latches[n]);
        if (latch == GRAPH_NONE)
            return false;
        bool match = m->next[n] == REROLL_NONE
                         ? phi_guess(m, n, latch)
                         : values_match(m, m->copies - 1, m->loop->instructions[m->next[n]],
                                        m->loop->latches[n]);
        if (!match)
            return false;
        m->needed[m->next[n]] = true;
    }
    return true;
}

uint32_t reroll_origin(const struct reroll_match *m, LLVMValueRef value)
{
    uint32_t number = loop_number(m->loop, value);
    for (uint32_t n = 0; n < m->loop->count; n++)
        if (m->versions[m->copies - 1][n] == number)
            return n;
    return REROLL_NONE;
}

static bool results_match(struct reroll_match *m)
{
    struct sum sum;
    for (uint32_t n = 0; n < m->loop->count; n++) {
        LLVMValueRef value = m->loop->instructions[n];
        if (!loop_value_lives_on(m->loop, value))
            continue;
        if (loop_sum_of(m->loop, value, &sum))
            continue;
        uint32_t origin = reroll_origin(m, value);
        if (origin == REROLL_NONE)
            return false;
        m->needed[origin] = true;
    }
    return true;
}

bool reroll_is_access(LLVMValueRef i)
{
    LLVMOpcode opcode = LLVMGetInstructionOpcode(i);
    return opcode == LLVMLoad || opcode == LLVMStore;
}

/* Operands of what is needed are. Addresses are not: the short loop has its own. */
static void operands_need(struct reroll_match *m)
{
    for (uint32_t n = m->loop->count; n-- > m->loop->phi_count;) {
        LLVMValueRef i = m->loop->instructions[n];
        int count = LLVMGetNumOperands(i) - reroll_is_access(i);
        for (int k = 0; m->needed[n] && k < count; k++) {
            uint32_t operand = loop_number(m->loop, LLVMGetOperand(i, (unsigned)k));
            if (operand != GRAPH_NONE)
                m->needed[operand] = true;
        }
    }
}

/* ---- loads and stores ---- */

static uint32_t version_of(const struct reroll_match *m, uint32_t copy, uint32_t n)
{
    return copy == 0 ? n : m->versions[copy][n];
}

/* Every load that must not vanish is a version of one in the short loop, and each load there was
 * one in every copy. */
static bool loads_are_the_same(const struct reroll_match *m)
{
    bool kept[LOOP_INSTRUCTIONS] = {false};
    for (uint32_t n = 0; n < m->loop->count; n++) {
        if (!m->needed[n] || !reroll_is_access(m->loop->instructions[n]))
            continue;
        for (uint32_t c = 0; c < m->copies; c++) {
            if (version_of(m, c, n) == REROLL_NONE)
                return false;
            kept[version_of(m, c, n)] = true;
        }
    }
    for (uint32_t n = 0; n < m->loop->count; n++)
        if (reroll_is_access(m->loop->instructions[n]) &&
            LLVMGetVolatile(m->loop->instructions[n]) && !kept[n])
            return false;
    return true;
}

/* Whether two accesses are in the same order in every copy. */
static bool pair_is_in_order(const struct reroll_match *m, uint32_t a, uint32_t b)
{
    for (uint32_t c = 0; c < m->copies; c++)
        if ((version_of(m, c, a) < version_of(m, c, b)) != (a < b))
            return false;
    return true;
}

static bool accesses_are_in_order(const struct reroll_match *m)
{
    for (uint32_t a = 0; a < m->loop->count; a++) {
        if (!m->needed[a] || LLVMGetInstructionOpcode(m->loop->instructions[a]) != LLVMStore)
            continue;
        for (uint32_t b = 0; b < m->loop->count; b++)
            if (a != b && m->needed[b] && reroll_is_access(m->loop->instructions[b]) &&
                !pair_is_in_order(m, a, b))
                return false;
    }
    return true;
}

/* ---- whether it may become vectors ---- */

/* Whether what a phi becomes is computed from what it is. */
static bool phi_is_chain(const struct reroll_match *m, uint32_t phi)
{
    bool depends[LOOP_INSTRUCTIONS] = {false};
    depends[phi] = true;
    for (uint32_t n = m->loop->phi_count; n <= m->next[phi]; n++) {
        LLVMValueRef i = m->loop->instructions[n];
        for (int k = 0; m->needed[n] && k < LLVMGetNumOperands(i) && !depends[n]; k++) {
            uint32_t operand = loop_number(m->loop, LLVMGetOperand(i, (unsigned)k));
            depends[n] = operand != GRAPH_NONE && depends[operand];
        }
    }
    return depends[m->next[phi]];
}

/* phi = phi op value, and nothing else looks at the phi. */
static bool phi_is_reduction(const struct reroll_match *m, uint32_t phi)
{
    LLVMValueRef value = m->loop->instructions[phi], next = m->loop->instructions[m->next[phi]];
    LLVMUseRef use = LLVMGetFirstUse(value);
    if (LLVMGetTypeKind(LLVMTypeOf(value)) != LLVMIntegerTypeKind || LLVMGetNextUse(use) ||
        LLVMGetUser(use) != next)
        return false;
    switch (LLVMGetInstructionOpcode(next)) {
    case LLVMAdd:
    case LLVMMul:
    case LLVMAnd:
    case LLVMOr:
    case LLVMXor: return true;
    case LLVMCall: return LLVMGetNumArgOperands(next) == 2; /* of plain ones: minimum or maximum */
    default: return false;
    }
}

static bool may_become_vectors(const struct reroll_match *m)
{
    bool worthwhile = false;
    for (uint32_t n = 0; n < m->loop->phi_count; n++) {
        if (m->loop->steps[n] != 0 || !phi_is_chain(m, n))
            continue;
        if (!phi_is_reduction(m, n))
            return false;
        worthwhile = true;
    }
    for (uint32_t n = 0; n < m->loop->count; n++)
        worthwhile |= LLVMGetInstructionOpcode(m->loop->instructions[n]) == LLVMStore;
    return worthwhile;
}

/* ---- everything together ---- */

bool reroll_is_plain(const struct loop *loop)
{
    for (uint32_t n = 0; n < loop->count; n++)
        if (!instruction_is_plain(loop->instructions[n]))
            return false;
    return true;
}

bool reroll_match(struct loop *loop, uint32_t copies, struct reroll_match *m)
{
    m->loop = loop;
    m->copies = copies;
    m->trail_count = m->assumption_count = m->effort = 0;
    memset(m->versions, 0xff, sizeof m->versions);
    memset(m->next, 0xff, sizeof m->next);
    memset(m->needed, 0, sizeof m->needed);
    for (uint32_t n = 0; n < m->loop->phi_count; n++)
        if ((int32_t)m->loop->steps[n] % (int32_t)copies != 0)
            return false;
    if (!stores_match(m) || !phis_match(m) || !results_match(m))
        return false;
    operands_need(m);
    return loads_are_the_same(m) && accesses_are_in_order(m) && may_become_vectors(m);
}
