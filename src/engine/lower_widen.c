/*
 * Loops that the guest's compiler made of 128-bit vectors, for processors with wider ones.
 *
 * LLVM's vectoriser leaves alone what is vectors already. So a loop that goes through memory vector
 * by vector, and computes each lane from the same lane of what it loads, is written again for
 * single elements, and LLVM makes of that what suits the processor (heat_3d 0.64 of the time,
 * stencil 0.75, jacobi_1d 0.79):
 *
 *   before ──▶ check ──no──▶ the loop as it was ⟲ ────────┐
 *                │ yes                                    ▼
 *              loop over elements ⟲ ──────────────────▶ leave
 *
 * Checked is that no address wraps at 2^32, so that addresses are sums in 64 bits, and that what a
 * store touches over all rounds lies apart from what every other access touches, unless both are
 * always at the same place. Then the order of rounds makes no difference, and LLVM is told so: its
 * own tests, and its limit on their number, do not apply. Every element is computed by the same
 * operations, so results agree to the last bit.
 *
 * Besides operations lane by lane, a loop may hold values that are the same in all lanes, and the
 * vector that begins with the last lane of the round before (x[i - 1] where x[i] is loaded).
 * Called by lower.c.
 */
#include "engine/lower_widen.h"

#include "engine/lower_edit.h"
#include "engine/lower_reroll_match.h"

#include <llvm-c/DebugInfo.h>
#include <stdlib.h>
#include <string.h>

#define VECTOR_BYTES 16u
#define ACCESSES_MAX 24u
#define PAIRS_MAX    48u
#define OFFSET_MAX   (1ll << 33)

struct walk {
    uint32_t number; /* of the load or store */
    struct reroll_sum sum;
    LLVMValueRef base, start; /* start: the first address, an i64 */
    int64_t offset;           /* part of it besides the sum */
    bool store;
};

struct widen {
    struct reroll_loop *loop;
    LLVMContextRef context;
    LLVMBuilderRef builder;
    uint32_t lanes;
    struct walk walks[ACCESSES_MAX];
    uint32_t walk_count;
    struct reroll_sum difference; /* of the exit's sides */
    uint32_t step;                /* by which it grows per round */
    LLVMBasicBlockRef check, body, leave;
    LLVMValueRef elements[REROLL_INSTRUCTIONS]; /* in the loop over elements */
    LLVMValueRef index, rounds, end, loop_id;   /* end: of the index */
};

/* ---- which loops ---- */

static bool is_vector(LLVMValueRef value)
{
    return LLVMGetTypeKind(LLVMTypeOf(value)) == LLVMVectorTypeKind;
}

static uint32_t element_bits(LLVMTypeRef type)
{
    switch (LLVMGetTypeKind(type)) {
    case LLVMIntegerTypeKind: return LLVMGetIntTypeWidth(type);
    case LLVMFloatTypeKind: return 32;
    case LLVMDoubleTypeKind: return 64;
    default: return 0;
    }
}

static bool type_is_whole(LLVMTypeRef type)
{
    return LLVMGetTypeKind(type) == LLVMVectorTypeKind &&
           LLVMGetVectorSize(type) * element_bits(LLVMGetElementType(type)) == 8 * VECTOR_BYTES;
}

/* What an element of a vector is in the loop over elements: of another number of lanes, its bits.
 */
static LLVMTypeRef element_type(const struct widen *w, LLVMTypeRef type)
{
    if (LLVMGetVectorSize(type) == w->lanes)
        return LLVMGetElementType(type);
    return LLVMIntTypeInContext(w->context, 8 * VECTOR_BYTES / w->lanes);
}

static LLVMValueRef bitcasts_strip(LLVMValueRef value)
{
    while (LLVMIsAInstruction(value) && LLVMGetInstructionOpcode(value) == LLVMBitCast)
        value = LLVMGetOperand(value, 0);
    return value;
}

/* The value that all lanes hold, when it comes from outside the loop; else NULL. */
static LLVMValueRef splat_of(const struct widen *w, LLVMValueRef vector)
{
    if (LLVMIsAConstant(vector)) {
        if (LLVMGetVectorSize(LLVMTypeOf(vector)) != w->lanes)
            return NULL;
        if (LLVMIsAConstantAggregateZero(vector))
            return LLVMConstNull(LLVMGetElementType(LLVMTypeOf(vector)));
        if (!LLVMIsAConstantDataVector(vector))
            return NULL;
        LLVMValueRef first = LLVMGetAggregateElement(vector, 0);
        for (unsigned i = 1; i < w->lanes; i++)
            if (LLVMGetAggregateElement(vector, i) != first)
                return NULL;
        return first;
    }
    if (!LLVMIsAInstruction(vector) || LLVMGetInstructionOpcode(vector) != LLVMShuffleVector ||
        LLVMGetVectorSize(LLVMTypeOf(vector)) != w->lanes ||
        reroll_number(w->loop, LLVMGetOperand(vector, 0)) != GRAPH_NONE)
        return NULL;
    for (unsigned i = 0; i < w->lanes; i++)
        if (LLVMGetMaskValue(vector, i) != 0)
            return NULL;
    return LLVMGetOperand(vector, 0);
}

/* The phi, when the vector is its last lane and all but the last of what it becomes. */
static LLVMValueRef spliced_phi(const struct widen *w, LLVMValueRef i)
{
    if (LLVMGetInstructionOpcode(i) != LLVMShuffleVector || !type_is_whole(LLVMTypeOf(i)) ||
        LLVMTypeOf(LLVMGetOperand(i, 0)) != LLVMTypeOf(i))
        return NULL;
    unsigned size = LLVMGetVectorSize(LLVMTypeOf(i));
    if (size % w->lanes != 0)
        return NULL;
    for (unsigned k = 0; k < size; k++)
        if (LLVMGetMaskValue(i, k) != (int)(size - size / w->lanes + k))
            return NULL;
    LLVMValueRef phi = bitcasts_strip(LLVMGetOperand(i, 0));
    uint32_t number = reroll_number(w->loop, phi);
    if (number >= w->loop->phi_count || !type_is_whole(LLVMTypeOf(phi)) ||
        bitcasts_strip(LLVMGetOperand(i, 1)) != bitcasts_strip(w->loop->latches[number]))
        return NULL;
    return phi;
}

static bool opcode_is_lanewise(LLVMOpcode opcode)
{
    switch (opcode) {
    case LLVMFNeg:
    case LLVMAdd:
    case LLVMFAdd:
    case LLVMSub:
    case LLVMFSub:
    case LLVMMul:
    case LLVMFMul:
    case LLVMFDiv:
    case LLVMAnd:
    case LLVMOr:
    case LLVMXor:
    case LLVMICmp:
    case LLVMFCmp:
    case LLVMSelect:
    case LLVMCall: return true;
    default: return false;
    }
}

static LLVMValueRef fenced_constant(LLVMValueRef i)
{
    if (!LLVMIsACallInst(i) || !LLVMIsAConstant(LLVMGetOperand(i, 0)))
        return NULL;
    LLVMValueRef callee = LLVMIsAFunction(LLVMGetCalledValue(i));
    return callee && LLVMGetIntrinsicID(callee) ==
                         LLVMLookupIntrinsicID("llvm.arithmetic.fence",
                                               strlen("llvm.arithmetic.fence"))
               ? LLVMGetOperand(i, 0)
               : NULL;
}

static bool call_is_lanewise(LLVMValueRef i)
{
    static const char *const names[] = {"llvm.sqrt", "llvm.fabs", "llvm.smin",
                                        "llvm.smax", "llvm.umin", "llvm.umax"};
    LLVMValueRef callee = LLVMIsAFunction(LLVMGetCalledValue(i));
    for (size_t k = 0; callee && k < sizeof names / sizeof names[0]; k++)
        if (LLVMGetIntrinsicID(callee) == LLVMLookupIntrinsicID(names[k], strlen(names[k])))
            return true;
    return false;
}

/* Whether an operand has elements in the loop over elements. */
static bool operand_has_elements(const struct widen *w, LLVMValueRef value)
{
    return reroll_number(w->loop, value) != GRAPH_NONE || splat_of(w, value);
}

static bool vector_is_lanewise(const struct widen *w, LLVMValueRef i)
{
    LLVMOpcode opcode = LLVMGetInstructionOpcode(i);
    if (splat_of(w, i) || spliced_phi(w, i) || fenced_constant(i))
        return !fenced_constant(i) || splat_of(w, LLVMGetOperand(i, 0));
    if (opcode == LLVMBitCast)
        return type_is_whole(LLVMTypeOf(i)) && is_vector(LLVMGetOperand(i, 0)) &&
               operand_has_elements(w, LLVMGetOperand(i, 0));
    if (!opcode_is_lanewise(opcode) || LLVMGetVectorSize(LLVMTypeOf(i)) != w->lanes ||
        (opcode == LLVMCall && !call_is_lanewise(i)))
        return false;
    int count = LLVMGetNumOperands(i) - (opcode == LLVMCall);
    for (int k = 0; k < count; k++) {
        LLVMValueRef operand = LLVMGetOperand(i, (unsigned)k);
        if (!is_vector(operand) || LLVMGetVectorSize(LLVMTypeOf(operand)) != w->lanes ||
            !operand_has_elements(w, operand))
            return false;
    }
    return true;
}

/* A vector phi is only used, if through bitcasts, to be spliced with what it becomes. */
static bool phi_is_spliced(const struct widen *w, LLVMValueRef value)
{
    for (LLVMUseRef use = LLVMGetFirstUse(value); use; use = LLVMGetNextUse(use)) {
        LLVMValueRef user = LLVMGetUser(use);
        if (reroll_number(w->loop, user) == GRAPH_NONE)
            return false;
        if (LLVMGetInstructionOpcode(user) == LLVMBitCast ? !phi_is_spliced(w, user)
                                                          : !spliced_phi(w, user))
            return false;
    }
    return true;
}

static bool is_byte_address(LLVMValueRef address)
{
    return LLVMIsAInstruction(address) && LLVMGetInstructionOpcode(address) == LLVMGetElementPtr &&
           LLVMGetNumOperands(address) == 2 &&
           element_bits(LLVMGetGEPSourceElementType(address)) == 8;
}

static bool access_read(struct widen *w, uint32_t number)
{
    LLVMValueRef i = w->loop->instructions[number];
    bool store = LLVMGetInstructionOpcode(i) == LLVMStore;
    LLVMTypeRef type = LLVMTypeOf(store ? LLVMGetOperand(i, 0) : i);
    LLVMValueRef address = LLVMGetOperand(i, store);
    if (w->walk_count == ACCESSES_MAX || LLVMGetVolatile(i) ||
        LLVMGetOrdering(i) != LLVMAtomicOrderingNotAtomic || !type_is_whole(type) ||
        (store && !operand_has_elements(w, LLVMGetOperand(i, 0))))
        return false;
    int64_t offset = 0;
    while (is_byte_address(address) && LLVMIsAConstantInt(LLVMGetOperand(address, 1))) {
        offset += LLVMConstIntGetSExtValue(LLVMGetOperand(address, 1));
        address = LLVMGetOperand(address, 0);
    }
    if (!is_byte_address(address) || offset < -OFFSET_MAX || offset > OFFSET_MAX)
        return false;
    LLVMValueRef index = LLVMGetOperand(address, 1);
    struct walk *walk = &w->walks[w->walk_count++];
    *walk = (struct walk){
        .number = number, .base = LLVMGetOperand(address, 0), .store = store, .offset = offset};
    return reroll_number(w->loop, walk->base) == GRAPH_NONE && walk->base == w->walks[0].base &&
           LLVMIsAInstruction(index) && LLVMGetInstructionOpcode(index) == LLVMZExt &&
           reroll_sum_of(w->loop, LLVMGetOperand(index, 0), &walk->sum) &&
           reroll_shift(w->loop, &walk->sum, 1) == VECTOR_BYTES;
}

static bool instruction_fits(struct widen *w, uint32_t number)
{
    LLVMValueRef i = w->loop->instructions[number];
    struct reroll_sum sum;
    switch (LLVMGetInstructionOpcode(i)) {
    case LLVMPHI: return is_vector(i) ? phi_is_spliced(w, i) : w->loop->steps[number] != 0;
    case LLVMLoad:
    case LLVMStore: return access_read(w, number);
    default: break;
    }
    if (is_vector(i))
        return !reroll_lives_on(w->loop, i) &&
               (vector_is_lanewise(w, i) ||
                (LLVMGetInstructionOpcode(i) == LLVMBitCast && phi_is_spliced(w, i)));
    if (i == w->loop->condition || LLVMGetInstructionOpcode(i) == LLVMGetElementPtr ||
        LLVMGetInstructionOpcode(i) == LLVMZExt)
        return !reroll_lives_on(w->loop, i);
    return reroll_sum_of(w->loop, i, &sum);
}

/* The lanes of what the loop stores, if always as many. */
static uint32_t lanes_find(const struct reroll_loop *loop)
{
    uint32_t lanes = 0;
    for (uint32_t n = 0; n < loop->count; n++) {
        LLVMValueRef i = loop->instructions[n];
        if (LLVMGetInstructionOpcode(i) != LLVMStore)
            continue;
        LLVMTypeRef type = LLVMTypeOf(LLVMGetOperand(i, 0));
        if (!type_is_whole(type) || (lanes && lanes != LLVMGetVectorSize(type)))
            return 0;
        lanes = LLVMGetVectorSize(type);
    }
    return lanes == 2 || lanes == 4 ? lanes : 0;
}

static bool exit_read(struct widen *w)
{
    struct reroll_loop *loop = w->loop;
    struct reroll_sum right;
    if (LLVMGetICmpPredicate(loop->condition) != (loop->leaves_on_true ? LLVMIntEQ : LLVMIntNE) ||
        !reroll_sum_of(loop, LLVMGetOperand(loop->condition, 0), &w->difference) ||
        !reroll_sum_of(loop, LLVMGetOperand(loop->condition, 1), &right) ||
        !reroll_sum_subtract(&w->difference, &right))
        return false;
    w->step = reroll_shift(loop, &w->difference, 1);
    return w->step != 0;
}

static uint32_t pairs_count(const struct widen *w)
{
    uint32_t stores = 0;
    for (uint32_t i = 0; i < w->walk_count; i++)
        stores += w->walks[i].store;
    return stores * w->walk_count;
}

static bool loop_fits(struct widen *w)
{
    w->walk_count = 0;
    w->loop->copies = 1;
    w->lanes = lanes_find(w->loop);
    if (w->lanes == 0)
        return false;
    for (uint32_t n = 0; n < w->loop->count; n++)
        if (!instruction_fits(w, n))
            return false;
    return pairs_count(w) <= PAIRS_MAX && exit_read(w);
}

/* ---- the check ---- */

static LLVMValueRef i32_constant(const struct widen *w, uint32_t value)
{
    return LLVMConstInt(LLVMInt32TypeInContext(w->context), value, false);
}

static LLVMValueRef i64_constant(const struct widen *w, uint64_t value)
{
    return LLVMConstInt(LLVMInt64TypeInContext(w->context), value, false);
}

/* A sum before the first round. */
static LLVMValueRef sum_at_start(struct widen *w, const struct reroll_sum *sum)
{
    LLVMValueRef total = i32_constant(w, sum->constant);
    for (uint32_t i = 0; i < sum->count; i++) {
        LLVMValueRef value = sum->terms[i].value;
        uint32_t number = reroll_number(w->loop, value);
        if (number != GRAPH_NONE)
            value = w->loop->starts[number];
        total = LLVMBuildAdd(
            w->builder, total,
            LLVMBuildMul(w->builder, value, i32_constant(w, sum->terms[i].factor), ""), "");
    }
    return total;
}

static void demand(struct widen *w, LLVMValueRef *all, LLVMValueRef condition)
{
    *all = *all ? LLVMBuildAnd(w->builder, *all, condition, "") : condition;
}

/* The number of rounds, an i64: how often the step goes into what the difference lacks to 0, which
 * must be whole. */
static void rounds_write(struct widen *w, LLVMValueRef *all)
{
    LLVMValueRef first = sum_at_start(w, &w->difference);
    LLVMValueRef before = LLVMBuildSub(w->builder, first, i32_constant(w, w->step), "");
    bool down = (int32_t)w->step < 0;
    LLVMValueRef way = down ? before : LLVMBuildSub(w->builder, i32_constant(w, 0), before, "");
    LLVMValueRef step = i32_constant(w, down ? 0 - w->step : w->step);
    LLVMValueRef rounds = LLVMBuildUDiv(w->builder, way, step, "");
    LLVMValueRef rest =
        LLVMBuildSub(w->builder, way, LLVMBuildMul(w->builder, rounds, step, ""), "");
    demand(w, all, LLVMBuildICmp(w->builder, LLVMIntEQ, rest, i32_constant(w, 0), ""));
    demand(w, all, LLVMBuildICmp(w->builder, LLVMIntNE, rounds, i32_constant(w, 0), ""));
    w->rounds = LLVMBuildZExt(w->builder, rounds, LLVMInt64TypeInContext(w->context), "");
}

static bool sums_are_parallel(struct reroll_sum a, const struct reroll_sum *b, uint32_t *distance)
{
    bool parallel = reroll_sum_subtract(&a, b) && a.count == 0;
    *distance = a.constant;
    return parallel;
}

/* Both walks cover `span` bytes, less than 2^32 and without a wrap. */
static void apart_write(struct widen *w, const struct walk *a, const struct walk *b,
                        LLVMValueRef span, LLVMValueRef *all)
{
    uint32_t distance;
    if (a->offset == b->offset && sums_are_parallel(a->sum, &b->sum, &distance)) {
        uint32_t least = distance < 0 - distance ? distance : 0 - distance;
        if (distance != 0)
            demand(w, all, LLVMBuildICmp(w->builder, LLVMIntULE, span, i64_constant(w, least), ""));
        return;
    }
    LLVMValueRef before = LLVMBuildAdd(w->builder, a->start, span, "");
    LLVMValueRef behind = LLVMBuildAdd(w->builder, b->start, span, "");
    LLVMValueRef apart =
        LLVMBuildOr(w->builder, LLVMBuildICmp(w->builder, LLVMIntSLE, before, b->start, ""),
                    LLVMBuildICmp(w->builder, LLVMIntSLE, behind, a->start, ""), "");
    demand(w, all,
           LLVMBuildOr(w->builder, apart,
                       LLVMBuildICmp(w->builder, LLVMIntEQ, a->start, b->start, ""), ""));
}

static LLVMValueRef check_write(struct widen *w)
{
    LLVMValueRef all = NULL;
    rounds_write(w, &all);
    LLVMValueRef span = LLVMBuildMul(w->builder, w->rounds, i64_constant(w, VECTOR_BYTES), "");
    for (uint32_t i = 0; i < w->walk_count; i++) {
        struct walk *walk = &w->walks[i];
        walk->start = LLVMBuildZExt(w->builder, sum_at_start(w, &walk->sum),
                                    LLVMInt64TypeInContext(w->context), "");
        LLVMValueRef end = LLVMBuildAdd(w->builder, walk->start, span, "");
        demand(w, &all,
               LLVMBuildICmp(w->builder, LLVMIntULE, end, i64_constant(w, 1ull << 32), ""));
        walk->start =
            LLVMBuildAdd(w->builder, walk->start, i64_constant(w, (uint64_t)walk->offset), "");
    }
    for (uint32_t i = 0; i < w->walk_count; i++)
        for (uint32_t k = 0; w->walks[i].store && k < w->walk_count; k++)
            if (k > i || !w->walks[k].store)
                apart_write(w, &w->walks[i], &w->walks[k], span, &all);
    w->end = LLVMBuildMul(w->builder, w->rounds, i64_constant(w, w->lanes), "");
    return all;
}

/* ---- the loop over elements ---- */

/* The last lane of the vector a phi starts with, or the first of a vector, before the loop. */
static LLVMValueRef lane_before(struct widen *w, LLVMValueRef vector, LLVMTypeRef type, bool last)
{
    if (type_is_whole(LLVMTypeOf(vector)))
        vector = LLVMBuildBitCast(w->builder, vector, LLVMVectorType(type, w->lanes), "");
    return LLVMBuildExtractElement(w->builder, vector, i32_constant(w, last ? w->lanes - 1 : 0),
                                   "");
}

/* While the body is being written. */
static LLVMValueRef element_of(struct widen *w, LLVMValueRef value)
{
    uint32_t number = reroll_number(w->loop, value);
    if (number != GRAPH_NONE && w->elements[number])
        return w->elements[number];
    LLVMValueRef splat = splat_of(w, value);
    if (!is_vector(splat))
        return splat;
    LLVMPositionBuilderAtEnd(w->builder, w->check);
    LLVMValueRef lane = lane_before(w, splat, LLVMGetElementType(LLVMTypeOf(value)), false);
    LLVMPositionBuilderAtEnd(w->builder, w->body);
    return lane;
}

static LLVMValueRef element_as(struct widen *w, LLVMValueRef value, LLVMTypeRef type)
{
    return LLVMBuildBitCast(w->builder, element_of(w, value), element_type(w, type), "");
}

static LLVMValueRef address_of(struct widen *w, uint32_t number)
{
    uint32_t k = 0;
    while (w->walks[k].number != number)
        k++;
    LLVMValueRef way =
        LLVMBuildMul(w->builder, w->index, i64_constant(w, VECTOR_BYTES / w->lanes), "");
    LLVMValueRef index = LLVMBuildAdd(w->builder, w->walks[k].start, way, "");
    return LLVMBuildGEP2(w->builder, LLVMInt8TypeInContext(w->context), w->walks[k].base, &index, 1,
                         "");
}

/* Rounds of this loop may touch memory in any order. */
static void access_release(struct widen *w, LLVMValueRef access)
{
    static const char kind[] = "llvm.mem.parallel_loop_access";
    LLVMSetAlignment(access, 1);
    LLVMSetMetadata(access, LLVMGetMDKindIDInContext(w->context, kind, strlen(kind)), w->loop_id);
}

static LLVMValueRef lanewise_copy(struct widen *w, LLVMValueRef i)
{
    LLVMValueRef a = LLVMGetNumOperands(i) > 0 ? element_of(w, LLVMGetOperand(i, 0)) : NULL;
    LLVMOpcode opcode = LLVMGetInstructionOpcode(i);
    if (opcode == LLVMCall) {
        LLVMValueRef arguments[2] = {a};
        unsigned count = LLVMGetNumArgOperands(i);
        if (count > 1)
            arguments[1] = element_of(w, LLVMGetOperand(i, 1));
        LLVMTypeRef type = LLVMTypeOf(a);
        unsigned id = LLVMGetIntrinsicID(LLVMGetCalledValue(i));
        LLVMModuleRef module = LLVMGetGlobalParent(LLVMGetCalledValue(i));
        LLVMValueRef callee = LLVMGetIntrinsicDeclaration(module, id, &type, 1);
        return LLVMBuildCall2(w->builder, LLVMGlobalGetValueType(callee), callee, arguments, count,
                              "");
    }
    if (opcode == LLVMFNeg)
        return LLVMBuildFNeg(w->builder, a, "");
    LLVMValueRef b = element_of(w, LLVMGetOperand(i, 1));
    if (opcode == LLVMICmp)
        return LLVMBuildICmp(w->builder, LLVMGetICmpPredicate(i), a, b, "");
    if (opcode == LLVMFCmp)
        return LLVMBuildFCmp(w->builder, LLVMGetFCmpPredicate(i), a, b, "");
    if (opcode == LLVMSelect)
        return LLVMBuildSelect(w->builder, a, b, element_of(w, LLVMGetOperand(i, 2)), "");
    return LLVMBuildBinOp(w->builder, opcode, a, b, "");
}

static void vector_copy(struct widen *w, uint32_t n)
{
    LLVMValueRef i = w->loop->instructions[n], phi = spliced_phi(w, i), fenced = fenced_constant(i);
    LLVMTypeRef type = element_type(w, LLVMTypeOf(i));
    if (phi)
        w->elements[n] =
            LLVMBuildBitCast(w->builder, w->elements[reroll_number(w->loop, phi)], type, "");
    else if (fenced)
        w->elements[n] = splat_of(w, fenced);
    else if (LLVMGetInstructionOpcode(i) == LLVMLoad)
        access_release(w, w->elements[n] = LLVMBuildLoad2(w->builder, type, address_of(w, n), ""));
    else if (LLVMGetInstructionOpcode(i) == LLVMBitCast)
        w->elements[n] = element_as(w, LLVMGetOperand(i, 0), LLVMTypeOf(i));
    else if (!splat_of(w, i))
        w->elements[n] = lanewise_copy(w, i);
}

static void phis_open(struct widen *w)
{
    w->index = LLVMBuildPhi(w->builder, LLVMInt64TypeInContext(w->context), "");
    for (uint32_t n = 0; n < w->loop->phi_count; n++) {
        LLVMValueRef phi = w->loop->instructions[n];
        if (is_vector(phi))
            w->elements[n] = LLVMBuildPhi(w->builder, element_type(w, LLVMTypeOf(phi)), "");
    }
}

static void phis_close(struct widen *w, LLVMValueRef next)
{
    LLVMValueRef zero = i64_constant(w, 0);
    LLVMAddIncoming(w->index, &zero, &w->check, 1);
    LLVMAddIncoming(w->index, &next, &w->body, 1);
    for (uint32_t n = 0; n < w->loop->phi_count; n++) {
        LLVMTypeRef type = LLVMTypeOf(w->loop->instructions[n]);
        if (!is_vector(w->loop->instructions[n]))
            continue;
        LLVMPositionBuilderBefore(w->builder, LLVMGetBasicBlockTerminator(w->body));
        LLVMValueRef later = element_as(w, w->loop->latches[n], type);
        LLVMPositionBuilderAtEnd(w->builder, w->check);
        LLVMValueRef first = lane_before(w, w->loop->starts[n], element_type(w, type), true);
        LLVMAddIncoming(w->elements[n], &first, &w->check, 1);
        LLVMAddIncoming(w->elements[n], &later, &w->body, 1);
    }
}

static void loop_id_create(struct widen *w)
{
    LLVMMetadataRef self = LLVMTemporaryMDNode(w->context, NULL, 0);
    LLVMMetadataRef node = LLVMMDNodeInContext2(w->context, &self, 1);
    LLVMMetadataReplaceAllUsesWith(self, node);
    w->loop_id = LLVMMetadataAsValue(w->context, node);
}

static void body_write(struct widen *w)
{
    LLVMPositionBuilderAtEnd(w->builder, w->body);
    loop_id_create(w);
    phis_open(w);
    for (uint32_t n = w->loop->phi_count; n < w->loop->count; n++) {
        LLVMValueRef i = w->loop->instructions[n];
        if (LLVMGetInstructionOpcode(i) == LLVMStore)
            access_release(w, LLVMBuildStore(w->builder, element_of(w, LLVMGetOperand(i, 0)),
                                             address_of(w, n)));
        else if (is_vector(i))
            vector_copy(w, n);
    }
    LLVMValueRef next = LLVMBuildAdd(w->builder, w->index, i64_constant(w, 1), "");
    LLVMValueRef over = LLVMBuildICmp(w->builder, LLVMIntEQ, next, w->end, "");
    LLVMValueRef branch = LLVMBuildCondBr(w->builder, over, w->leave, w->body);
    LLVMSetMetadata(branch, LLVMGetMDKindIDInContext(w->context, "llvm.loop", 9), w->loop_id);
    phis_close(w, next);
}

/* ---- around it ---- */

/* What a sum is in the last round of the loop as it was. */
static LLVMValueRef sum_at_end(struct widen *w, LLVMValueRef value)
{
    struct reroll_sum sum;
    (void)reroll_sum_of(w->loop, value, &sum);
    LLVMValueRef rounds = LLVMBuildTrunc(w->builder, w->rounds, LLVMTypeOf(value), "");
    LLVMValueRef before = LLVMBuildSub(w->builder, rounds, i32_constant(w, 1), "");
    uint32_t step = reroll_shift(w->loop, &sum, 1);
    return LLVMBuildAdd(w->builder, sum_at_start(w, &sum),
                        LLVMBuildMul(w->builder, before, i32_constant(w, step), ""), "");
}

static void loop_widen(struct widen *w)
{
    struct reroll_loop *loop = w->loop;
    memset(w->elements, 0, sizeof w->elements);
    w->leave = LLVMInsertBasicBlockInContext(w->context, loop->exit, "");
    w->check = LLVMInsertBasicBlockInContext(w->context, loop->block, "");
    w->body = LLVMInsertBasicBlockInContext(w->context, loop->block, "");
    LLVMPositionBuilderAtEnd(w->builder, w->check);
    LLVMValueRef condition = check_write(w);
    body_write(w);
    struct edit_loops loops = {w->builder, loop->before, w->check,  loop->block,
                               w->body,    w->leave,     loop->exit};
    LLVMValueRef left[REROLL_INSTRUCTIONS] = {NULL};
    LLVMPositionBuilderAtEnd(w->builder, w->check);
    for (uint32_t n = 0; n < loop->count; n++)
        if (reroll_lives_on(loop, loop->instructions[n]))
            left[n] = sum_at_end(w, loop->instructions[n]);
    edit_loops_join(&loops);
    for (uint32_t n = 0; n < loop->count; n++)
        if (left[n])
            edit_value_lead_out(&loops, loop->instructions[n], left[n]);
    edit_loops_enter(&loops, condition);
}

static void block_widen(LLVMBasicBlockRef block, struct widen *w)
{
    w->context = LLVMGetTypeContext(LLVMTypeOf(LLVMGetFirstInstruction(block)));
    if (reroll_read(block, w->loop) && loop_fits(w)) {
        w->builder = LLVMCreateBuilderInContext(w->context);
        loop_widen(w);
        LLVMDisposeBuilder(w->builder);
    }
    reroll_free(w->loop);
}

bool lower_widen(LLVMValueRef function)
{
    struct widen *w = malloc(sizeof *w);
    struct reroll_loop *loop = malloc(sizeof *loop);
    LLVMBasicBlockRef block = LLVMGetFirstBasicBlock(function), next;
    for (; w && loop && block; block = next) {
        next = LLVMGetNextBasicBlock(block);
        w->loop = loop;
        if (LLVMGetInstructionOpcode(LLVMGetFirstInstruction(block)) == LLVMPHI)
            block_widen(block, w);
    }
    bool done = w && loop;
    free(w);
    free(loop);
    return done;
}
