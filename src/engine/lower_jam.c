/*
 * Runs several rounds of an outer loop side by side where an inner loop is a chain of
 * floating-point operations, each waiting for the one before: a dot product, a recursive filter, a
 * column of a matrix product.
 *
 * Such a chain takes the latency of an addition per turn and leaves most of the processor idle. No
 * compiler may reorder the additions, but the chains of neighbouring rounds are independent:
 * "unroll and jam". The copies of one instruction then also stand side by side, and where rounds
 * touch neighbouring elements, LLVM's SLP vectoriser makes vectors of them (two_mm: 0.12 of the
 * time, deriche 0.22, all kernels 0.57). The same for inner loops that add to the same elements in
 * every round, which then load and store them once for all (gemm: 0.79, of 128-bit vectors 0.73).
 *
 * LLVM's own pass of the name must know that accesses are independent. In WebAssembly all start
 * from one base, so here it is checked when the code runs, before each group of rounds:
 *
 *   before ──▶ head: phis; enough rounds left? ──no──▶ body ──▶ ... ──▶ last ──▶ leave ──▶ exit
 *               ▲ ▲         │ yes                       ▲                │         ▲
 *               │ │       check: independent? ──no──────┘                │         │
 *               │ │         │ yes                                        │         │
 *               │ │       copies of all blocks ──▶ ... ──▶ last copy ────┼─────────┘
 *               │ └───────────────────────────────────────────┘          │
 *               └────────────────────────────────────────────────────────┘
 *
 * Every value is computed by the same operations on the same operands as before, so results are the
 * same to the last bit. The order of loads and stores of different rounds changes: mode "fast"
 * allows that after a trap, and for memory that others see, too, only atomics and host calls order.
 *
 * Whether the rounds are independent is the business of lower_jam_check.c. Called by lower.c.
 */
#include "engine/lower_jam.h"

#include "engine/lower_edit.h"
#include "engine/lower_jam_check.h"

#include <stdlib.h>

/* Side by side when neighbouring rounds touch neighbouring elements, and otherwise. */
#define ROUNDS_VECTOR 8u
#define ROUNDS_SCALAR 4u
#define ROUNDS_MAX    8u
#define CHAINS_MAX    16u /* what registers hold */

struct jam {
    struct jam_plan plan;
    struct nest *nest;
    LLVMBuilderRef builder;
    LLVMContextRef context;
    LLVMBasicBlockRef body, check, leave, blocks[NEST_BLOCKS]; /* blocks: the copies */
    LLVMValueRef copies[NEST_INSTRUCTIONS][ROUNDS_MAX];
    LLVMValueRef kept[NEST_ACCESSES]; /* of a JAM_LAST store: the value in its place */
};

/* ---- whether it is worth it ---- */

static bool type_is_float(LLVMTypeRef type)
{
    if (LLVMGetTypeKind(type) == LLVMVectorTypeKind)
        type = LLVMGetElementType(type);
    LLVMTypeKind kind = LLVMGetTypeKind(type);
    return kind == LLVMFloatTypeKind || kind == LLVMDoubleTypeKind;
}

static LLVMValueRef phi_value_from(LLVMValueRef phi, LLVMBasicBlockRef block)
{
    for (unsigned i = 0; i < LLVMCountIncoming(phi); i++)
        if (LLVMGetIncomingBlock(phi, i) == block)
            return LLVMGetIncomingValue(phi, i);
    return NULL;
}

/* Whether a loop's phi gets a value that is computed from its last one. */
static bool phi_is_chain(const struct nest *nest, uint32_t phi)
{
    bool depends[NEST_INSTRUCTIONS] = {false};
    const struct nest_block *block = &nest->blocks[nest->instructions[phi].block];
    LLVMValueRef next = phi_value_from(nest->instructions[phi].value, block->block);
    depends[phi] = true;
    for (uint32_t n = block->first; n < block->first + block->count; n++) {
        LLVMValueRef i = nest->instructions[n].value;
        if (LLVMGetInstructionOpcode(i) == LLVMPHI)
            continue;
        for (int k = 0; k < LLVMGetNumOperands(i) && !depends[n]; k++) {
            uint32_t from = nest_number(nest, LLVMGetOperand(i, (unsigned)k));
            depends[n] = from != GRAPH_NONE && depends[from];
        }
        if (depends[n] && i == next)
            return true;
    }
    return false;
}

static uint32_t nest_chains(const struct nest *nest)
{
    uint32_t count = 0;
    for (uint32_t n = 0; n < nest->instruction_count; n++) {
        LLVMValueRef i = nest->instructions[n].value;
        if (nest->blocks[nest->instructions[n].block].loop &&
            LLVMGetInstructionOpcode(i) == LLVMPHI && type_is_float(LLVMTypeOf(i)))
            count += phi_is_chain(nest, n);
    }
    return count;
}

/* Whether an inner loop adds to the same elements in every round, so that together they need load
 * and store them only once. Only where it goes through them one by one, which the vectoriser can
 * take: what the guest's compiler unrolled does not become vectors any more (gemm: 2.6 times the
 * time). */
static bool nest_gathers(const struct nest *nest)
{
    bool gathers = false;
    for (uint32_t i = 0; i < nest->access_count; i++) {
        const struct nest_access *a = &nest->accesses[i];
        if (!a->store || !nest->blocks[a->block].loop)
            continue;
        bool vector = LLVMGetTypeKind(a->type) == LLVMVectorTypeKind;
        if (a->outer != 0 ||
            (!vector && ((uint32_t)a->inner != a->size || !type_is_float(a->type))))
            return false;
        gathers = true;
    }
    return gathers;
}

static uint32_t rounds_choose(const struct nest *nest)
{
    uint32_t chains = nest_chains(nest), rounds = ROUNDS_SCALAR;
    if (chains == 0)
        return nest_gathers(nest) ? ROUNDS_SCALAR : 0;
    for (uint32_t i = 0; i < nest->access_count; i++) {
        const struct nest_access *a = &nest->accesses[i];
        if (nest->blocks[a->block].loop && (uint32_t)a->outer == a->size)
            rounds = ROUNDS_VECTOR;
    }
    while (rounds > 1 && rounds * chains > CHAINS_MAX)
        rounds /= 2;
    return rounds > 1 ? rounds : 0;
}

/* ---- copies ---- */

/* What a value is in a round of the group. */
static LLVMValueRef jam_value(struct jam *j, LLVMValueRef value, uint32_t round)
{
    uint32_t number = nest_number(j->nest, value);
    return number == GRAPH_NONE ? value : j->copies[number][round];
}

static LLVMValueRef jam_clone(struct jam *j, uint32_t number, uint32_t round)
{
    LLVMValueRef clone = LLVMInstructionClone(j->nest->instructions[number].value);
    for (int i = 0; i < LLVMGetNumOperands(clone); i++)
        LLVMSetOperand(clone, (unsigned)i, jam_value(j, LLVMGetOperand(clone, (unsigned)i), round));
    return clone;
}

/* A copy of a load or store. Its address is that of the first round's copy and a constant: for LLVM
 * to see that copies touch neighbours. */
static LLVMValueRef jam_clone_access(struct jam *j, uint32_t number, uint32_t round)
{
    const struct nest_access *a = &j->nest->accesses[j->nest->instructions[number].access];
    LLVMValueRef clone = jam_clone(j, number, round);
    LLVMValueRef pointer = jam_value(j, LLVMGetOperand(a->instruction, a->store), 0);
    int64_t distance = (int64_t)a->outer * round;
    if (distance) {
        LLVMValueRef index =
            LLVMConstInt(LLVMInt64TypeInContext(j->context), (uint64_t)distance, true);
        pointer =
            LLVMBuildGEP2(j->builder, LLVMInt8TypeInContext(j->context), pointer, &index, 1, "");
    }
    LLVMSetOperand(clone, a->store, pointer);
    return clone;
}

/* The store to the place of an access in its block, itself perhaps, or NEST_NONE. */
static uint32_t store_beside(const struct nest *nest, uint32_t access)
{
    const struct nest_access *a = &nest->accesses[access];
    for (uint32_t i = 0; i < nest->access_count; i++) {
        const struct nest_access *b = &nest->accesses[i];
        if (b->store && b->block == a->block && access_same_place(a, b))
            return i;
    }
    return NEST_NONE;
}

static void jam_copy_load(struct jam *j, uint32_t number, uint32_t round)
{
    uint32_t access = j->nest->instructions[number].access;
    uint32_t store = store_beside(j->nest, access);
    bool kept = store != NEST_NONE && j->plan.kinds[store] == JAM_LAST;
    if (kept && j->kept[store]) {
        j->copies[number][round] =
            LLVMBuildBitCast(j->builder, j->kept[store], j->nest->accesses[access].type, "");
        return;
    }
    /* No store comes between: else the rounds would not be independent. */
    if (store == NEST_NONE && round > 0 && j->nest->accesses[access].outer == 0) {
        j->copies[number][round] = j->copies[number][0];
        return;
    }
    j->copies[number][round] = jam_clone_access(j, number, round);
    LLVMInsertIntoBuilder(j->builder, j->copies[number][round]);
    if (kept)
        j->kept[store] = j->copies[number][round];
}

static void jam_copy_store(struct jam *j, uint32_t number, uint32_t round)
{
    uint32_t access = j->nest->instructions[number].access;
    enum jam_kind kind = j->plan.kinds[access];
    if (kind == JAM_DELAYED)
        return;
    if (kind == JAM_LAST) {
        LLVMValueRef value = LLVMGetOperand(j->nest->accesses[access].instruction, 0);
        j->kept[access] = jam_value(j, value, round);
        if (round + 1 < j->plan.rounds)
            return;
    }
    LLVMInsertIntoBuilder(j->builder, jam_clone_access(j, number, round));
}

static void jam_copy_instruction(struct jam *j, uint32_t number, uint32_t round)
{
    switch (LLVMGetInstructionOpcode(j->nest->instructions[number].value)) {
    case LLVMPHI: return;
    case LLVMLoad: jam_copy_load(j, number, round); return;
    case LLVMStore: jam_copy_store(j, number, round); return;
    default:
        j->copies[number][round] = jam_clone(j, number, round);
        LLVMInsertIntoBuilder(j->builder, j->copies[number][round]);
    }
}

/* Outer counters in later rounds: the first round's and a constant. */
static void jam_copy_counter(struct jam *j, uint32_t number)
{
    LLVMValueRef phi = j->nest->instructions[number].value;
    uint32_t step = nest_phi_step(j->nest, phi);
    j->copies[number][0] = phi;
    for (uint32_t r = 1; r < j->plan.rounds; r++)
        j->copies[number][r] = LLVMBuildAdd(
            j->builder, phi, LLVMConstInt(LLVMTypeOf(phi), (uint32_t)(r * step), false), "");
}

static void jam_open_loop_phi(struct jam *j, uint32_t number)
{
    const struct nest_instruction *i = &j->nest->instructions[number];
    LLVMBasicBlockRef from = j->blocks[i->block - 1];
    LLVMBasicBlockRef loop = j->nest->blocks[i->block].block;
    unsigned first = LLVMGetIncomingBlock(i->value, 0) == loop;
    for (uint32_t r = 0; r < j->plan.rounds; r++) {
        LLVMValueRef phi = LLVMBuildPhi(j->builder, LLVMTypeOf(i->value), "");
        LLVMValueRef start = jam_value(j, LLVMGetIncomingValue(i->value, first), r);
        LLVMAddIncoming(phi, &start, &from, 1);
        j->copies[number][r] = phi;
    }
}

static void jam_close_loop_phi(struct jam *j, uint32_t number)
{
    const struct nest_instruction *i = &j->nest->instructions[number];
    LLVMBasicBlockRef loop = j->blocks[i->block];
    LLVMValueRef next = phi_value_from(i->value, j->nest->blocks[i->block].block);
    for (uint32_t r = 0; r < j->plan.rounds; r++) {
        LLVMValueRef value = jam_value(j, next, r);
        LLVMAddIncoming(j->copies[number][r], &value, &loop, 1);
    }
}

/* Stores of the loop before, once. */
static void jam_store_delayed(struct jam *j, uint32_t loop)
{
    const struct nest_block *b = &j->nest->blocks[loop];
    for (uint32_t n = b->first; n < b->first + b->count; n++) {
        uint32_t access = j->nest->instructions[n].access;
        if (access == NEST_NONE || j->plan.kinds[access] != JAM_DELAYED)
            continue;
        for (uint32_t r = 0; r < j->plan.rounds; r++)
            LLVMInsertIntoBuilder(j->builder, jam_clone_access(j, n, r));
    }
}

static void jam_branch(struct jam *j, const struct nest_exit *exit, uint32_t round,
                       LLVMBasicBlockRef back, LLVMBasicBlockRef out)
{
    LLVMValueRef condition = jam_value(j, exit->condition, round);
    LLVMBuildCondBr(j->builder, condition, exit->leaves_on_true ? out : back,
                    exit->leaves_on_true ? back : out);
}

static void jam_copy_block(struct jam *j, uint32_t b)
{
    const struct nest_block *block = &j->nest->blocks[b];
    uint32_t end = block->first + block->count, n;
    LLVMPositionBuilderAtEnd(j->builder, j->blocks[b]);
    for (n = block->first; n < end; n++) {
        if (LLVMGetInstructionOpcode(j->nest->instructions[n].value) != LLVMPHI)
            break;
        if (block->loop)
            jam_open_loop_phi(j, n);
        else
            jam_copy_counter(j, n);
    }
    if (b > 0 && j->nest->blocks[b - 1].loop)
        jam_store_delayed(j, b - 1);
    for (uint32_t i = 0; i < NEST_ACCESSES; i++)
        j->kept[i] = NULL;
    for (uint32_t r = 0; r < j->plan.rounds; r++)
        for (uint32_t i = n; i < end; i++)
            jam_copy_instruction(j, i, r);
    for (uint32_t i = block->first; block->loop && i < n; i++)
        jam_close_loop_phi(j, i);
    if (b + 1 == j->nest->block_count)
        jam_branch(j, &j->nest->outer_exit, j->plan.rounds - 1, j->nest->blocks[0].block, j->leave);
    else if (block->loop)
        jam_branch(j, &block->exit, 0, j->blocks[b], j->blocks[b + 1]);
    else
        LLVMBuildBr(j->builder, j->blocks[b + 1]);
}

/* ---- around the copies ---- */

static LLVMBasicBlockRef jam_block(struct jam *j, LLVMBasicBlockRef before)
{
    return LLVMInsertBasicBlockInContext(j->context, before, "");
}

/* Everything of the head but its phis moves to the body. */
static void jam_split_head(struct jam *j)
{
    LLVMBasicBlockRef head = j->nest->blocks[0].block;
    LLVMValueRef i = LLVMGetFirstInstruction(head), next;
    while (LLVMGetInstructionOpcode(i) == LLVMPHI)
        i = LLVMGetNextInstruction(i);
    LLVMPositionBuilderAtEnd(j->builder, j->body);
    for (; i; i = next) {
        next = LLVMGetNextInstruction(i);
        LLVMInstructionRemoveFromParent(i);
        LLVMInsertIntoBuilder(j->builder, i);
    }
}

static bool jam_is_inside(const struct jam *j, LLVMBasicBlockRef block)
{
    if (block == j->body || block == j->check || block == j->leave)
        return true;
    for (uint32_t b = 0; b < j->nest->block_count; b++)
        if (block == j->nest->blocks[b].block || block == j->blocks[b])
            return true;
    return false;
}

static LLVMValueRef first_user_outside(const struct jam *j, LLVMValueRef value)
{
    for (LLVMUseRef use = LLVMGetFirstUse(value); use; use = LLVMGetNextUse(use))
        if (!jam_is_inside(j, LLVMGetInstructionParent(LLVMGetUser(use))))
            return LLVMGetUser(use);
    return NULL;
}

/* What code behind the nest uses comes from the last round, however that ran. */
static void jam_lead_out(struct jam *j, uint32_t number)
{
    LLVMValueRef value = j->nest->instructions[number].value, user, phi = NULL;
    uint32_t last = j->nest->block_count - 1;
    while ((user = first_user_outside(j, value))) {
        if (!phi) {
            LLVMPositionBuilderBefore(j->builder, LLVMGetFirstInstruction(j->leave));
            phi = LLVMBuildPhi(j->builder, LLVMTypeOf(value), "");
            LLVMValueRef values[2] = {value, j->copies[number][j->plan.rounds - 1]};
            LLVMBasicBlockRef blocks[2] = {j->nest->blocks[last].block, j->blocks[last]};
            LLVMAddIncoming(phi, values, blocks, 2);
        }
        for (int i = 0; i < LLVMGetNumOperands(user); i++)
            if (LLVMGetOperand(user, (unsigned)i) == value)
                LLVMSetOperand(user, (unsigned)i, phi);
    }
}

/* Control that leaves either way meets in `leave`. */
static void jam_join(struct jam *j)
{
    uint32_t last = j->nest->block_count - 1;
    LLVMBasicBlockRef latch = j->nest->blocks[last].block;
    LLVMValueRef branch = LLVMGetBasicBlockTerminator(latch);
    LLVMSetSuccessor(branch, LLVMGetSuccessor(branch, 0) != j->nest->exit, j->leave);
    LLVMPositionBuilderAtEnd(j->builder, j->leave);
    LLVMBuildBr(j->builder, j->nest->exit);
    edit_phis_redirect(j->builder, j->nest->exit, latch, j->leave);
    for (uint32_t n = 0; n < j->nest->instruction_count; n++)
        jam_lead_out(j, n);
    for (uint32_t n = 0; n < j->nest->blocks[0].count; n++) {
        LLVMValueRef phi = j->nest->instructions[n].value;
        if (LLVMGetInstructionOpcode(phi) != LLVMPHI)
            break;
        LLVMValueRef next = jam_value(j, phi_value_from(phi, latch), j->plan.rounds - 1);
        LLVMAddIncoming(phi, &next, &j->blocks[last], 1);
    }
}

static void jam_run(struct jam *j)
{
    LLVMBasicBlockRef head = j->nest->blocks[0].block;
    j->leave = jam_block(j, j->nest->exit);
    j->body = jam_block(j, j->nest->blocks[1].block);
    j->check = jam_block(j, j->body);
    for (uint32_t b = 0; b < j->nest->block_count; b++)
        j->blocks[b] = jam_block(j, j->body);
    jam_split_head(j);
    LLVMPositionBuilderAtEnd(j->builder, head);
    LLVMValueRef enough = jam_emit_rounds(&j->plan, j->builder);
    LLVMBuildCondBr(j->builder, enough, j->check, j->body);
    LLVMPositionBuilderAtEnd(j->builder, j->check);
    LLVMValueRef independent = jam_emit_check(&j->plan, j->builder);
    LLVMBuildCondBr(j->builder, independent, j->blocks[0], j->body);
    for (uint32_t b = 0; b < j->nest->block_count; b++)
        jam_copy_block(j, b);
    jam_join(j);
    edit_phis_redirect(j->builder, j->nest->blocks[1].block, head, j->body);
}

static void jam_try(LLVMBasicBlockRef head, struct nest *nest, struct jam *j)
{
    uint32_t rounds = nest_find(head, nest) ? rounds_choose(nest) : 0;
    if (rounds && jam_plan(nest, rounds, &j->plan)) {
        j->nest = nest;
        j->context = LLVMGetTypeContext(LLVMTypeOf(nest->base));
        j->builder = LLVMCreateBuilderInContext(j->context);
        jam_run(j);
        LLVMDisposeBuilder(j->builder);
    }
    nest_free(nest);
}

bool lower_jam(LLVMValueRef function)
{
    struct nest *nest = malloc(sizeof *nest);
    struct jam *jam = malloc(sizeof *jam);
    LLVMBasicBlockRef block = LLVMGetFirstBasicBlock(function), next;
    for (; nest && jam && block; block = next) {
        next = LLVMGetNextBasicBlock(block);
        LLVMValueRef first = LLVMGetFirstInstruction(block);
        if (LLVMGetInstructionOpcode(first) == LLVMPHI)
            jam_try(block, nest, jam);
    }
    bool done = nest && jam;
    free(nest);
    free(jam);
    return done;
}
