/*
 * A loop of one block and its twin, which does the same when what is checked before holds:
 *
 *   before ──▶ check ──no──▶ loop ⟲ ──┐
 *                └─────yes─▶ body ⟲ ──┴─▶ leave ──▶ exit
 *
 * lower_reroll.c and lower_widen.c write twins of which LLVM makes vectors where it makes none, or
 * small ones, of the loop. In the twin one i64 index counts rounds from 0, and addresses are sums
 * in 64 bits. Checked is
 *
 *   rounds     that the loop ends, after how many rounds, and that they are worth it;
 *   zeros      what else lower_reroll_match.c assumes of the loop;
 *   memory     that all accesses of all rounds lie below the memory's size;
 *   meetings   that what a store touches over all rounds lies apart from what any other access
 *              touches, unless both are always at the same place at the same time.
 *
 * So nothing in a twin traps, and no address wraps at 2^32: an access that traps does so in the
 * loop, where each operator has its own place and memory is as those before it left it. Rounds may
 * run in any order, and LLVM is told: its own tests, and its limit on their number, do not apply.
 * Where accesses meet, vectors are impossible, and the loop as the guest's compiler arranged it is
 * better (floyd_warshall).
 *
 * Shared regions in the window lie beyond the memory's size: loops that work on them run as they
 * were.
 */
#include "engine/lower_twin.h"

#include "engine/abi.h"
#include "engine/lower_edit.h"

#include <llvm-c/DebugInfo.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS_LEAST 16u /* fewer rounds of the twin are not worth the checks */
#define PAIRS_MAX    48u
#define OFFSET_MAX   (1ll << 33)
#define STRIDE_MAX   (1 << 20) /* times 2^38 rounds: an i64 */

/* ---- accesses ---- */

void twin_begin(struct twin *t, struct loop *loop, uint32_t copies)
{
    t->loop = loop;
    t->copies = copies;
    t->access_count = t->zero_count = 0;
}

bool twin_add_zero(struct twin *t, const struct sum *sum)
{
    if (t->zero_count == TWIN_ZEROS)
        return false;
    t->zeros[t->zero_count++] = *sum;
    return true;
}

static bool is_byte_address(LLVMValueRef address)
{
    if (!LLVMIsAInstruction(address) || LLVMGetInstructionOpcode(address) != LLVMGetElementPtr ||
        LLVMGetNumOperands(address) != 2)
        return false;
    LLVMTypeRef type = LLVMGetGEPSourceElementType(address);
    return LLVMGetTypeKind(type) == LLVMIntegerTypeKind && LLVMGetIntTypeWidth(type) == 8;
}

/* base + index + constants, the index a zero-extended sum that may have a constant added. */
static bool address_read(const struct loop *loop, LLVMValueRef address, struct twin_access *a)
{
    while (is_byte_address(address) && LLVMIsAConstantInt(LLVMGetOperand(address, 1))) {
        a->offset += LLVMConstIntGetSExtValue(LLVMGetOperand(address, 1));
        address = LLVMGetOperand(address, 0);
    }
    if (!is_byte_address(address))
        return false;
    LLVMValueRef index = LLVMGetOperand(address, 1);
    a->base = LLVMGetOperand(address, 0);
    if (LLVMIsAInstruction(index) && LLVMGetInstructionOpcode(index) == LLVMAdd &&
        LLVMGetNUW(index) && LLVMIsAConstantInt(LLVMGetOperand(index, 1))) {
        a->offset += LLVMConstIntGetSExtValue(LLVMGetOperand(index, 1));
        index = LLVMGetOperand(index, 0);
    }
    return LLVMIsAInstruction(index) && LLVMGetInstructionOpcode(index) == LLVMZExt &&
           loop_number(loop, a->base) == GRAPH_NONE &&
           loop_sum_of(loop, LLVMGetOperand(index, 0), &a->sum) && a->offset >= 0 &&
           a->offset <= OFFSET_MAX;
}

const struct twin_access *twin_add_access(struct twin *t, uint32_t number, uint32_t size)
{
    LLVMValueRef i = t->loop->instructions[number];
    bool store = LLVMGetInstructionOpcode(i) == LLVMStore;
    if (t->access_count == TWIN_ACCESSES || LLVMGetOrdering(i) != LLVMAtomicOrderingNotAtomic)
        return NULL;
    struct twin_access *a = &t->accesses[t->access_count++];
    *a = (struct twin_access){.number = number, .size = size, .store = store};
    if (!address_read(t->loop, LLVMGetOperand(i, store), a) || a->base != t->accesses[0].base)
        return NULL;
    int32_t whole = (int32_t)loop_sum_step(t->loop, &a->sum, 1), copies = (int32_t)t->copies;
    a->stride = whole / copies;
    bool fits = whole % copies == 0 && magnitude(a->stride) <= STRIDE_MAX &&
                (!store || magnitude(a->stride) >= size);
    return fits ? a : NULL;
}

/* ---- whether the checks may hold ---- */

enum meeting { MEETING_HARMLESS, MEETING_CERTAIN, MEETING_FAR, MEETING_UNKNOWN };

/* Of two accesses, one a store; in case of MEETING_FAR they start *distance bytes from each other,
 * or at least that many. */
static enum meeting meeting_of(const struct twin_access *a, const struct twin_access *b,
                               uint64_t *distance)
{
    struct sum sum = a->sum;
    if (a->stride != b->stride || a->size != b->size || !sum_subtract(&sum, &b->sum) ||
        sum.count != 0 || (sum.constant != 0 && a->offset != b->offset))
        return MEETING_UNKNOWN;
    uint32_t apart = sum.constant < 0 - sum.constant ? sum.constant : 0 - sum.constant;
    int64_t offsets = a->offset - b->offset;
    *distance = sum.constant ? apart : (uint64_t)(offsets < 0 ? -offsets : offsets);
    if (*distance == 0)
        return MEETING_HARMLESS;
    uint64_t least = (uint64_t)(ROUNDS_LEAST - 1) * magnitude(a->stride) + a->size;
    return *distance < least ? MEETING_CERTAIN : MEETING_FAR;
}

static bool meetings_are_harmless(const struct twin *t)
{
    uint32_t pairs = 0;
    uint64_t distance;
    for (uint32_t i = 0; i < t->access_count; i++)
        for (uint32_t k = 0; k < i; k++) {
            const struct twin_access *a = &t->accesses[i], *b = &t->accesses[k];
            if (!a->store && !b->store)
                continue;
            enum meeting meeting = meeting_of(a, b, &distance);
            pairs += meeting != MEETING_HARMLESS;
            if (meeting == MEETING_CERTAIN || pairs > PAIRS_MAX)
                return false;
        }
    return true;
}

bool twin_is_possible(struct twin *t)
{
    const struct loop *loop = t->loop;
    struct sum right;
    if (LLVMGetICmpPredicate(loop->condition) != (loop->leaves_on_true ? LLVMIntEQ : LLVMIntNE) ||
        !loop_sum_of(loop, LLVMGetOperand(loop->condition, 0), &t->difference) ||
        !loop_sum_of(loop, LLVMGetOperand(loop->condition, 1), &right) ||
        !sum_subtract(&t->difference, &right))
        return false;
    t->step = loop_sum_step(loop, &t->difference, 1);
    return t->step != 0 && t->access_count != 0 && meetings_are_harmless(t);
}

/* ---- the checks ---- */

static LLVMValueRef i32_constant(const struct twin *t, uint32_t value)
{
    return LLVMConstInt(LLVMInt32TypeInContext(t->context), value, false);
}

static LLVMValueRef i64_constant(const struct twin *t, uint64_t value)
{
    return LLVMConstInt(LLVMInt64TypeInContext(t->context), value, false);
}

/* A sum before the first round. */
static LLVMValueRef sum_at_start(struct twin *t, const struct sum *sum)
{
    LLVMValueRef total = i32_constant(t, sum->constant);
    for (uint32_t i = 0; i < sum->count; i++) {
        LLVMValueRef value = sum->terms[i].value;
        uint32_t number = loop_number(t->loop, value);
        if (number != GRAPH_NONE)
            value = t->loop->starts[number];
        LLVMValueRef factor = i32_constant(t, sum->terms[i].factor);
        total = LLVMBuildAdd(t->builder, total, LLVMBuildMul(t->builder, value, factor, ""), "");
    }
    return total;
}

/* A sum in the loop's last round. */
static LLVMValueRef sum_at_end(struct twin *t, const struct sum *sum)
{
    LLVMValueRef rounds =
        LLVMBuildTrunc(t->builder, t->rounds, LLVMInt32TypeInContext(t->context), "");
    LLVMValueRef before = LLVMBuildSub(t->builder, rounds, i32_constant(t, 1), "");
    LLVMValueRef step = i32_constant(t, loop_sum_step(t->loop, sum, 1));
    return LLVMBuildAdd(t->builder, sum_at_start(t, sum),
                        LLVMBuildMul(t->builder, before, step, ""), "");
}

static void demand(struct twin *t, LLVMIntPredicate predicate, LLVMValueRef left,
                   LLVMValueRef right)
{
    LLVMValueRef condition = LLVMBuildICmp(t->builder, predicate, left, right, "");
    t->fine = t->fine ? LLVMBuildAnd(t->builder, t->fine, condition, "") : condition;
}

/* The number of rounds is how often the step goes into what the difference lacks to 0, which must
 * be whole. */
static void rounds_check(struct twin *t)
{
    bool down = (int32_t)t->step < 0;
    LLVMValueRef step = i32_constant(t, magnitude((int32_t)t->step));
    LLVMValueRef before =
        LLVMBuildSub(t->builder, sum_at_start(t, &t->difference), i32_constant(t, t->step), "");
    LLVMValueRef way = down ? before : LLVMBuildSub(t->builder, i32_constant(t, 0), before, "");
    LLVMValueRef rounds = LLVMBuildUDiv(t->builder, way, step, "");
    demand(t, LLVMIntEQ, LLVMBuildMul(t->builder, rounds, step, ""), way);
    demand(t, LLVMIntUGE, rounds, i32_constant(t, (ROUNDS_LEAST + t->copies - 1) / t->copies));
    t->rounds = LLVMBuildZExt(t->builder, rounds, LLVMInt64TypeInContext(t->context), "");
    t->end = LLVMBuildMul(t->builder, t->rounds, i64_constant(t, t->copies), "");
}

/* How far an access moves from the first round to the last. */
static LLVMValueRef access_way(struct twin *t, const struct twin_access *a)
{
    LLVMValueRef steps = LLVMBuildSub(t->builder, t->end, i64_constant(t, 1), "");
    return LLVMBuildMul(t->builder, steps, i64_constant(t, (uint64_t)(int64_t)a->stride), "");
}

static LLVMValueRef plus(struct twin *t, LLVMValueRef value, uint64_t constant)
{
    return LLVMBuildAdd(t->builder, value, i64_constant(t, constant), "");
}

/* The first byte that it touches, or the first behind all. */
static LLVMValueRef access_low(struct twin *t, const struct twin_access *a)
{
    return a->stride < 0 ? LLVMBuildAdd(t->builder, a->start, access_way(t, a), "") : a->start;
}

static LLVMValueRef access_high(struct twin *t, const struct twin_access *a)
{
    LLVMValueRef last =
        a->stride > 0 ? LLVMBuildAdd(t->builder, a->start, access_way(t, a), "") : a->start;
    return plus(t, last, a->size);
}

static void memory_size_load(struct twin *t)
{
    LLVMValueRef at = i64_constant(t, (uint64_t)(int64_t)FIELD_MEMORY_SIZE);
    LLVMValueRef field = LLVMBuildGEP2(t->builder, LLVMInt8TypeInContext(t->context),
                                       t->accesses[0].base, &at, 1, "");
    t->memory_size = LLVMBuildLoad2(t->builder, LLVMInt64TypeInContext(t->context), field, "");
    LLVMSetAlignment(t->memory_size, sizeof(uint64_t));
}

static void access_check(struct twin *t, struct twin_access *a)
{
    LLVMValueRef sum = sum_at_start(t, &a->sum);
    a->start = plus(t, LLVMBuildZExt(t->builder, sum, LLVMInt64TypeInContext(t->context), ""),
                    (uint64_t)a->offset);
    if (a->stride < 0)
        demand(t, LLVMIntSGE, access_low(t, a), i64_constant(t, (uint64_t)a->offset));
    demand(t, LLVMIntSLE, access_high(t, a), t->memory_size);
}

static void pair_check(struct twin *t, const struct twin_access *a, const struct twin_access *b)
{
    uint64_t distance;
    enum meeting meeting = meeting_of(a, b, &distance);
    if (meeting == MEETING_HARMLESS)
        return;
    LLVMBuilderRef builder = t->builder;
    if (meeting == MEETING_FAR) {
        LLVMValueRef span = LLVMBuildSub(builder, access_high(t, a), access_low(t, a), "");
        demand(t, LLVMIntSLE, span, i64_constant(t, distance));
        return;
    }
    LLVMValueRef before =
        LLVMBuildICmp(builder, LLVMIntSLE, access_high(t, a), access_low(t, b), "");
    LLVMValueRef behind =
        LLVMBuildICmp(builder, LLVMIntSLE, access_high(t, b), access_low(t, a), "");
    LLVMValueRef apart = LLVMBuildOr(builder, before, behind, "");
    if (a->stride == b->stride && a->size == b->size)
        apart = LLVMBuildOr(builder, apart,
                            LLVMBuildICmp(builder, LLVMIntEQ, a->start, b->start, ""), "");
    t->fine = LLVMBuildAnd(builder, t->fine, apart, "");
}

static void checks_write(struct twin *t)
{
    t->fine = NULL;
    rounds_check(t);
    for (uint32_t i = 0; i < t->zero_count; i++)
        demand(t, LLVMIntEQ, sum_at_start(t, &t->zeros[i]), i32_constant(t, 0));
    memory_size_load(t);
    for (uint32_t i = 0; i < t->access_count; i++)
        access_check(t, &t->accesses[i]);
    for (uint32_t i = 0; i < t->access_count; i++)
        for (uint32_t k = 0; k < i; k++)
            if (t->accesses[i].store || t->accesses[k].store)
                pair_check(t, &t->accesses[i], &t->accesses[k]);
}

/* ---- the body ---- */

static void loop_id_create(struct twin *t)
{
    LLVMMetadataRef self = LLVMTemporaryMDNode(t->context, NULL, 0);
    LLVMMetadataRef node = LLVMMDNodeInContext2(t->context, &self, 1);
    LLVMMetadataReplaceAllUsesWith(self, node);
    t->loop_id = LLVMMetadataAsValue(t->context, node);
}

void twin_open(struct twin *t)
{
    t->context = LLVMGetTypeContext(LLVMTypeOf(t->loop->condition));
    t->builder = LLVMCreateBuilderInContext(t->context);
    t->leave = LLVMInsertBasicBlockInContext(t->context, t->loop->exit, "");
    t->check = LLVMInsertBasicBlockInContext(t->context, t->loop->block, "");
    t->body = LLVMInsertBasicBlockInContext(t->context, t->loop->block, "");
    memset(t->left, 0, sizeof t->left);
    loop_id_create(t);
    LLVMPositionBuilderAtEnd(t->builder, t->check);
    checks_write(t);
    LLVMPositionBuilderAtEnd(t->builder, t->body);
    t->index = LLVMBuildPhi(t->builder, LLVMInt64TypeInContext(t->context), "");
    LLVMValueRef zero = i64_constant(t, 0);
    LLVMAddIncoming(t->index, &zero, &t->check, 1);
}

static LLVMValueRef access_address(struct twin *t, uint32_t number)
{
    const struct twin_access *a = t->accesses;
    while (a->number != number)
        a++;
    LLVMValueRef stride = i64_constant(t, (uint64_t)(int64_t)a->stride);
    LLVMValueRef index =
        LLVMBuildAdd(t->builder, a->start, LLVMBuildMul(t->builder, t->index, stride, ""), "");
    return LLVMBuildGEP2(t->builder, LLVMInt8TypeInContext(t->context), a->base, &index, 1, "");
}

/* Rounds of the twin may touch memory in any order. */
static void access_finish(struct twin *t, uint32_t number, LLVMValueRef access)
{
    static const char parallel[] = "llvm.mem.parallel_loop_access";
    LLVMValueRef original = t->loop->instructions[number];
    unsigned tbaa = LLVMGetMDKindIDInContext(t->context, "tbaa", 4);
    LLVMSetAlignment(access, 1);
    LLVMInstructionSetDebugLoc(access, LLVMInstructionGetDebugLoc(original));
    if (LLVMGetMetadata(original, tbaa))
        LLVMSetMetadata(access, tbaa, LLVMGetMetadata(original, tbaa));
    LLVMSetMetadata(access, LLVMGetMDKindIDInContext(t->context, parallel, strlen(parallel)),
                    t->loop_id);
}

LLVMValueRef twin_load(struct twin *t, uint32_t number, LLVMTypeRef type)
{
    LLVMValueRef load = LLVMBuildLoad2(t->builder, type, access_address(t, number), "");
    access_finish(t, number, load);
    return load;
}

void twin_store(struct twin *t, uint32_t number, LLVMValueRef value)
{
    access_finish(t, number, LLVMBuildStore(t->builder, value, access_address(t, number)));
}

LLVMValueRef twin_counter(struct twin *t, uint32_t phi)
{
    LLVMValueRef round =
        LLVMBuildTrunc(t->builder, t->index, LLVMInt32TypeInContext(t->context), "");
    int32_t step = (int32_t)t->loop->steps[phi] / (int32_t)t->copies;
    return LLVMBuildAdd(t->builder, t->loop->starts[phi],
                        LLVMBuildMul(t->builder, round, i32_constant(t, (uint32_t)step), ""), "");
}

/* ---- around both ---- */

static void body_end(struct twin *t)
{
    LLVMPositionBuilderAtEnd(t->builder, t->body);
    LLVMValueRef next = LLVMBuildAdd(t->builder, t->index, i64_constant(t, 1), "");
    LLVMAddIncoming(t->index, &next, &t->body, 1);
    LLVMValueRef over = LLVMBuildICmp(t->builder, LLVMIntEQ, next, t->end, "");
    LLVMValueRef branch = LLVMBuildCondBr(t->builder, over, t->leave, t->body);
    LLVMSetMetadata(branch, LLVMGetMDKindIDInContext(t->context, "llvm.loop", 9), t->loop_id);
}

static void loops_join(struct twin *t)
{
    LLVMBasicBlockRef block = t->loop->block;
    LLVMValueRef branch = LLVMGetBasicBlockTerminator(block);
    LLVMSetSuccessor(branch, LLVMGetSuccessor(branch, 0) == block, t->leave);
    LLVMPositionBuilderAtEnd(t->builder, t->leave);
    LLVMBuildBr(t->builder, t->loop->exit);
    edit_phis_redirect(t->builder, t->loop->exit, block, t->leave);
}

/* The first user that lies neither in one of the loops nor where they meet. */
static LLVMValueRef first_user_behind(const struct twin *t, LLVMValueRef value)
{
    for (LLVMUseRef use = LLVMGetFirstUse(value); use; use = LLVMGetNextUse(use)) {
        LLVMBasicBlockRef home = LLVMGetInstructionParent(LLVMGetUser(use));
        if (home != t->loop->block && home != t->body && home != t->leave)
            return LLVMGetUser(use);
    }
    return NULL;
}

/* What code behind uses of a value comes from whichever loop ran. */
static void value_lead_out(struct twin *t, LLVMValueRef value, LLVMValueRef left)
{
    LLVMPositionBuilderBefore(t->builder, LLVMGetFirstInstruction(t->leave));
    LLVMValueRef phi = LLVMBuildPhi(t->builder, LLVMTypeOf(value), ""), user;
    LLVMValueRef values[2] = {value, left};
    LLVMBasicBlockRef blocks[2] = {t->loop->block, t->body};
    LLVMAddIncoming(phi, values, blocks, 2);
    while ((user = first_user_behind(t, value)))
        for (int i = 0; i < LLVMGetNumOperands(user); i++)
            if (LLVMGetOperand(user, (unsigned)i) == value)
                LLVMSetOperand(user, (unsigned)i, phi);
}

static void check_enter(struct twin *t)
{
    LLVMBasicBlockRef block = t->loop->block;
    LLVMPositionBuilderAtEnd(t->builder, t->check);
    LLVMBuildCondBr(t->builder, t->fine, t->body, block);
    LLVMValueRef branch = LLVMGetBasicBlockTerminator(t->loop->before);
    for (unsigned i = 0; i < LLVMGetNumSuccessors(branch); i++)
        if (LLVMGetSuccessor(branch, i) == block)
            LLVMSetSuccessor(branch, i, t->check);
    edit_phis_redirect(t->builder, block, t->loop->before, t->check);
}

void twin_close(struct twin *t)
{
    const struct loop *loop = t->loop;
    struct sum sum;
    body_end(t);
    LLVMPositionBuilderAtEnd(t->builder, t->check);
    for (uint32_t n = 0; n < loop->count; n++)
        if (!t->left[n] && loop_value_lives_on(loop, loop->instructions[n]) &&
            loop_sum_of(loop, loop->instructions[n], &sum))
            t->left[n] = sum_at_end(t, &sum);
    loops_join(t);
    for (uint32_t n = 0; n < loop->count; n++)
        if (t->left[n])
            value_lead_out(t, loop->instructions[n], t->left[n]);
    check_enter(t);
    LLVMDisposeBuilder(t->builder);
}
