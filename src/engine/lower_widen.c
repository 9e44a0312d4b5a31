/*
 * Loops that the guest's compiler made of 128-bit vectors, for processors with wider ones.
 *
 * LLVM's vectoriser leaves alone what is vectors already. So a loop that goes through memory vector
 * by vector, and computes each lane from the same lane of what it loads, gets a twin
 * (lower_twin.c) over single elements, and LLVM makes of that what suits the processor:
 *
 *   a[i .. i+3] = f(b[i .. i+3]);  i += 4   ──▶   a[i] = f(b[i]);  i += 1
 *
 * The guest's compiler, or lower_jam.c, may have put several vectors into a round:
 * lower_reroll_match.c finds the copies, and the twin is made of the first. Every element is
 * computed by the same operations, so results agree to the last bit.
 *
 * Besides operations lane by lane, a loop may hold values that are the same in all lanes, and the
 * vector that begins with the last lane of the round before (x[i - 1] where x[i] is loaded).
 * Called by lower.c.
 */
#include "engine/lower_widen.h"

#include "engine/lower_instruction.h"
#include "engine/lower_reroll_match.h"
#include "engine/lower_twin.h"

#include <stdlib.h>
#include <string.h>

#define VECTOR_BYTES 16u

struct widen {
    struct loop loop;
    struct reroll_match match; /* copies of a round; perhaps one */
    struct twin twin;
    LLVMContextRef context;
    uint32_t lanes;
    LLVMValueRef elements[LOOP_INSTRUCTIONS]; /* in the twin */
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
        loop_number(&w->loop, LLVMGetOperand(vector, 0)) != GRAPH_NONE)
        return NULL;
    for (unsigned i = 0; i < w->lanes; i++)
        if (LLVMGetMaskValue(vector, i) != 0)
            return NULL;
    return LLVMGetOperand(vector, 0);
}

/* What a phi is in the next round. */
static LLVMValueRef phi_next(const struct widen *w, uint32_t phi)
{
    return w->loop.instructions[w->match.next[phi]];
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
    uint32_t number = loop_number(&w->loop, phi);
    if (number >= w->loop.phi_count || !type_is_whole(LLVMTypeOf(phi)) ||
        bitcasts_strip(LLVMGetOperand(i, 1)) != bitcasts_strip(phi_next(w, number)))
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
    static const char *const fence = "llvm.arithmetic.fence";
    bool fenced = value_calls_intrinsic(i, &fence, 1) && LLVMIsAConstant(LLVMGetOperand(i, 0));
    return fenced ? LLVMGetOperand(i, 0) : NULL;
}

/* Lowering fences constants that LLVM might fold away, and a NaN's quieting with them (x * 1 = x).
 * Vectors it fences all; a fence would keep LLVM from making vectors of the twin. */
static bool fence_matters(LLVMValueRef constant)
{
    LLVMBool inexact;
    if (!LLVMIsAConstantFP(constant))
        return true;
    double value = LLVMConstRealGetDouble(constant, &inexact);
    return value == 0 || value == 1 || value == -1 || __builtin_isinf(value) ||
           __builtin_isnan(value);
}

static bool call_is_lanewise(LLVMValueRef i)
{
    static const char *const names[] = {"llvm.sqrt", "llvm.fabs", "llvm.smin",
                                        "llvm.smax", "llvm.umin", "llvm.umax"};
    return value_calls_intrinsic(i, names, sizeof names / sizeof names[0]);
}

/* Whether an operand has elements in the loop over elements. */
static bool operand_has_elements(const struct widen *w, LLVMValueRef value)
{
    return loop_number(&w->loop, value) != GRAPH_NONE || splat_of(w, value);
}

static bool vector_is_lanewise(const struct widen *w, LLVMValueRef i)
{
    LLVMOpcode opcode = LLVMGetInstructionOpcode(i);
    LLVMValueRef fenced = fenced_constant(i), splat = fenced ? splat_of(w, fenced) : NULL;
    if (fenced)
        return splat && !fence_matters(splat);
    if (splat_of(w, i) || spliced_phi(w, i))
        return true;
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

/* A vector phi is only used, if through bitcasts, to be spliced with what it becomes; in the first
 * copy, for later ones do not matter. */
static bool phi_is_spliced(const struct widen *w, LLVMValueRef value)
{
    for (LLVMUseRef use = LLVMGetFirstUse(value); use; use = LLVMGetNextUse(use)) {
        LLVMValueRef user = LLVMGetUser(use);
        uint32_t number = loop_number(&w->loop, user);
        if (number == GRAPH_NONE || !w->match.needed[number])
            return false;
        if (LLVMGetInstructionOpcode(user) == LLVMBitCast ? !phi_is_spliced(w, user)
                                                          : !spliced_phi(w, user))
            return false;
    }
    return true;
}

/* A vector that follows directly on that of the round before. */
static bool access_fits(struct widen *w, uint32_t number)
{
    LLVMValueRef i = w->loop.instructions[number];
    bool store = LLVMGetInstructionOpcode(i) == LLVMStore;
    LLVMTypeRef type = LLVMTypeOf(store ? LLVMGetOperand(i, 0) : i);
    if (!type_is_whole(type) || (store && !operand_has_elements(w, LLVMGetOperand(i, 0))))
        return false;
    uint32_t size = VECTOR_BYTES / w->lanes;
    const struct twin_access *a = twin_add_access(&w->twin, number, size);
    return a && a->stride == (int32_t)size &&
           loop_sum_step(&w->loop, &a->sum, w->match.copies) == VECTOR_BYTES;
}

static bool instruction_fits(struct widen *w, uint32_t number)
{
    LLVMValueRef i = w->loop.instructions[number];
    if (reroll_is_access(i))
        return access_fits(w, number);
    if (!is_vector(i))
        return false;
    if (LLVMGetInstructionOpcode(i) == LLVMPHI)
        return phi_is_spliced(w, i);
    return vector_is_lanewise(w, i) ||
           (LLVMGetInstructionOpcode(i) == LLVMBitCast && phi_is_spliced(w, i));
}

/* The lanes of what the loop stores, if always as many. */
static uint32_t lanes_find(const struct loop *loop)
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

/* Nothing but sums is looked at behind the loop. */
static bool only_sums_live_on(const struct loop *loop)
{
    struct sum sum;
    for (uint32_t n = 0; n < loop->count; n++)
        if (loop_value_lives_on(loop, loop->instructions[n]) &&
            !loop_sum_of(loop, loop->instructions[n], &sum))
            return false;
    return true;
}

static bool copies_fit(struct widen *w, uint32_t copies)
{
    if (!reroll_match(&w->loop, copies, &w->match))
        return false;
    twin_begin(&w->twin, &w->loop, w->lanes * copies);
    for (uint32_t n = 0; n < w->loop.count; n++)
        if (w->match.needed[n] && !instruction_fits(w, n))
            return false;
    for (uint32_t i = 0; i < w->match.assumption_count; i++)
        if (!twin_add_zero(&w->twin, &w->match.assumptions[i]))
            return false;
    return twin_is_possible(&w->twin);
}

static bool loop_fits(struct widen *w)
{
    w->lanes = lanes_find(&w->loop);
    if (w->lanes == 0 || !only_sums_live_on(&w->loop) || !reroll_is_plain(&w->loop))
        return false;
    for (uint32_t copies = REROLL_COPIES; copies > 0; copies--)
        if (copies_fit(w, copies))
            return true;
    return false;
}

/* ---- the loop over elements ---- */

/* The last lane of the vector a phi starts with, or the first of a vector, before the loop. */
static LLVMValueRef lane_before(struct widen *w, LLVMValueRef vector, LLVMTypeRef type, bool last)
{
    if (type_is_whole(LLVMTypeOf(vector)))
        vector = LLVMBuildBitCast(w->twin.builder, vector, LLVMVectorType(type, w->lanes), "");
    return LLVMBuildExtractElement(
        w->twin.builder, vector,
        LLVMConstInt(LLVMInt32TypeInContext(w->context), last ? w->lanes - 1 : 0, false), "");
}

/* While the body is being written. */
static LLVMValueRef element_of(struct widen *w, LLVMValueRef value)
{
    uint32_t number = loop_number(&w->loop, value);
    if (number != GRAPH_NONE && w->elements[number])
        return w->elements[number];
    LLVMValueRef splat = splat_of(w, value);
    if (!is_vector(splat))
        return splat;
    LLVMPositionBuilderAtEnd(w->twin.builder, w->twin.check);
    LLVMValueRef lane = lane_before(w, splat, LLVMGetElementType(LLVMTypeOf(value)), false);
    LLVMPositionBuilderAtEnd(w->twin.builder, w->twin.body);
    return lane;
}

static LLVMValueRef element_as(struct widen *w, LLVMValueRef value, LLVMTypeRef type)
{
    return LLVMBuildBitCast(w->twin.builder, element_of(w, value), element_type(w, type), "");
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
        return LLVMBuildCall2(w->twin.builder, LLVMGlobalGetValueType(callee), callee, arguments,
                              count, "");
    }
    if (opcode == LLVMFNeg)
        return LLVMBuildFNeg(w->twin.builder, a, "");
    LLVMValueRef b = element_of(w, LLVMGetOperand(i, 1));
    if (opcode == LLVMICmp)
        return LLVMBuildICmp(w->twin.builder, LLVMGetICmpPredicate(i), a, b, "");
    if (opcode == LLVMFCmp)
        return LLVMBuildFCmp(w->twin.builder, LLVMGetFCmpPredicate(i), a, b, "");
    if (opcode == LLVMSelect)
        return LLVMBuildSelect(w->twin.builder, a, b, element_of(w, LLVMGetOperand(i, 2)), "");
    return LLVMBuildBinOp(w->twin.builder, opcode, a, b, "");
}

static void vector_copy(struct widen *w, uint32_t n)
{
    LLVMValueRef i = w->loop.instructions[n], phi = spliced_phi(w, i), fenced = fenced_constant(i);
    LLVMTypeRef type = element_type(w, LLVMTypeOf(i));
    if (phi)
        w->elements[n] =
            LLVMBuildBitCast(w->twin.builder, w->elements[loop_number(&w->loop, phi)], type, "");
    else if (fenced)
        w->elements[n] = splat_of(w, fenced);
    else if (LLVMGetInstructionOpcode(i) == LLVMLoad)
        w->elements[n] = twin_load(&w->twin, n, type);
    else if (LLVMGetInstructionOpcode(i) == LLVMBitCast)
        w->elements[n] = element_as(w, LLVMGetOperand(i, 0), LLVMTypeOf(i));
    else if (!splat_of(w, i))
        w->elements[n] = lanewise_copy(w, i);
}

static void phis_open(struct widen *w)
{
    for (uint32_t n = 0; n < w->loop.phi_count; n++) {
        LLVMValueRef phi = w->loop.instructions[n];
        if (is_vector(phi))
            w->elements[n] = LLVMBuildPhi(w->twin.builder, element_type(w, LLVMTypeOf(phi)), "");
    }
}

static void phis_close(struct widen *w)
{
    for (uint32_t n = 0; n < w->loop.phi_count; n++) {
        LLVMTypeRef type = LLVMTypeOf(w->loop.instructions[n]);
        if (!is_vector(w->loop.instructions[n]))
            continue;
        LLVMValueRef later = element_as(w, phi_next(w, n), type);
        LLVMPositionBuilderAtEnd(w->twin.builder, w->twin.check);
        LLVMValueRef first = lane_before(w, w->loop.starts[n], element_type(w, type), true);
        LLVMPositionBuilderAtEnd(w->twin.builder, w->twin.body);
        LLVMAddIncoming(w->elements[n], &first, &w->twin.check, 1);
        LLVMAddIncoming(w->elements[n], &later, &w->twin.body, 1);
    }
}

static void loop_write(struct widen *w)
{
    memset(w->elements, 0, sizeof w->elements);
    twin_open(&w->twin);
    phis_open(w);
    for (uint32_t n = w->loop.phi_count; n < w->loop.count; n++) {
        LLVMValueRef i = w->loop.instructions[n];
        if (!w->match.needed[n])
            continue;
        if (LLVMGetInstructionOpcode(i) == LLVMStore)
            twin_store(&w->twin, n, element_of(w, LLVMGetOperand(i, 0)));
        else if (is_vector(i))
            vector_copy(w, n);
    }
    phis_close(w);
    twin_close(&w->twin);
}

/* Casts and splats of what comes from outside move there. */
static void invariants_move(struct loop *loop)
{
    LLVMBuilderRef builder =
        LLVMCreateBuilderInContext(LLVMGetTypeContext(LLVMTypeOf(loop->condition)));
    LLVMPositionBuilderBefore(builder, LLVMGetBasicBlockTerminator(loop->before));
    LLVMValueRef i = LLVMGetFirstInstruction(loop->block), next;
    for (; i; i = next) {
        next = LLVMGetNextInstruction(i);
        bool moves = LLVMIsABitCastInst(i) || LLVMIsAShuffleVectorInst(i);
        for (int k = 0; moves && k < LLVMGetNumOperands(i); k++) {
            LLVMValueRef operand = LLVMGetOperand(i, (unsigned)k);
            moves =
                !LLVMIsAInstruction(operand) || LLVMGetInstructionParent(operand) != loop->block;
        }
        if (!moves)
            continue;
        LLVMInstructionRemoveFromParent(i);
        LLVMInsertIntoBuilder(builder, i);
    }
    LLVMDisposeBuilder(builder);
}

/* A loop over vectors, without what need not be in it. */
static bool vectors_read(LLVMBasicBlockRef block, struct loop *loop)
{
    if (!loop_read(block, loop) || lanes_find(loop) == 0)
        return false;
    invariants_move(loop);
    loop_free(loop);
    return loop_read(block, loop);
}

bool lower_widen(LLVMValueRef function)
{
    struct widen *w = malloc(sizeof *w);
    LLVMBasicBlockRef block = LLVMGetFirstBasicBlock(function), next;
    for (; w && block; block = next) {
        next = LLVMGetNextBasicBlock(block);
        LLVMValueRef first = LLVMGetFirstInstruction(block);
        if (LLVMGetInstructionOpcode(first) != LLVMPHI)
            continue;
        w->context = LLVMGetTypeContext(LLVMTypeOf(first));
        if (vectors_read(block, &w->loop) && loop_fits(w))
            loop_write(w);
        loop_free(&w->loop);
    }
    bool done = w != NULL;
    free(w);
    return done;
}
