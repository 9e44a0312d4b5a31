/*
 * Makes loops short again that the guest's compiler unrolled.
 *
 * LLVM makes vectors of a loop by taking several rounds at once; of a loop whose rounds hold two or
 * four copies of what was written it makes none, or poor ones, and lower_jam.c cannot tell which
 * elements neighbouring rounds share. LLVM 19 has no pass that undoes it (modules without SIMD:
 * 0.91 of the time over all kernels, deriche 0.54, jacobi_1d 0.57, nussinov 0.63). Here the copies
 * are found (lower_reroll_match.c) and a loop with one of them is put beside the long one:
 *
 *   before ──▶ check: does the short loop end where the long one does? ──no──▶ long loop ⟲ ──┐
 *                │ yes                                                                       ▼
 *              short loop ⟲ ─────────────────────────────────────────────────────────────▶ leave
 *
 * The long loop ends when a sum that grows by n times d per round is 0, the short one when a sum
 * that starts at the same value and grows by d is. For n a power of two that is the same round if
 * the long loop ever ends, and it does if its first sum is divisible by what powers of two divide
 * its step. Mostly that is known here, and nothing of the check and the long loop remains.
 *
 * Every value is computed by the same operations as before, and loads and stores that may meet keep
 * their order: results and traps are the same, though a trap's place is given as that of the first
 * copy. Called by lower.c.
 */
#include "engine/lower_reroll.h"

#include "engine/lower_edit.h"
#include "engine/lower_reroll_match.h"

#include <stdlib.h>

#define ZEROS_DEPTH 6u

struct reroll {
    struct reroll_loop *loop;
    LLVMContextRef context;
    LLVMBuilderRef builder;
    LLVMBasicBlockRef check, body, leave;
    LLVMValueRef copies[REROLL_INSTRUCTIONS];
};

/* ---- when both loops end in the same round ---- */

/* Bits at the low end of an i32 value that are certainly 0, 32 at most. */
static uint32_t value_zeros(LLVMValueRef value, unsigned depth)
{
    if (LLVMIsAConstantInt(value)) {
        uint32_t constant = (uint32_t)LLVMConstIntGetZExtValue(value);
        return constant ? (uint32_t)__builtin_ctz(constant) : 32;
    }
    if (!LLVMIsAInstruction(value) || depth == 0)
        return 0;
    LLVMOpcode opcode = LLVMGetInstructionOpcode(value);
    if (opcode != LLVMAnd && opcode != LLVMShl && opcode != LLVMMul && opcode != LLVMAdd &&
        opcode != LLVMSub)
        return 0;
    uint32_t left = value_zeros(LLVMGetOperand(value, 0), depth - 1);
    LLVMValueRef second = LLVMGetOperand(value, 1);
    uint32_t right = value_zeros(second, depth - 1);
    switch (opcode) {
    case LLVMAnd: return left > right ? left : right;
    case LLVMMul: return left + right < 32 ? left + right : 32;
    case LLVMShl: {
        uint64_t by = LLVMIsAConstantInt(second) ? LLVMConstIntGetZExtValue(second) : 0;
        return left + by < 32 ? left + (uint32_t)by : 32;
    }
    default: return left < right ? left : right;
    }
}

/* What the difference of the exit's two sides is when the loop is entered. */
static void difference_at_start(const struct reroll_loop *loop, const struct reroll_sum *difference,
                                LLVMValueRef *values)
{
    for (uint32_t i = 0; i < difference->count; i++) {
        uint32_t number = reroll_number(loop, difference->terms[i].value);
        values[i] = number == GRAPH_NONE ? difference->terms[i].value : loop->starts[number];
    }
}

enum verdict { VERDICT_NO, VERDICT_YES, VERDICT_CHECK };

struct exit_rule {
    struct reroll_sum difference;
    LLVMValueRef starts[REROLL_TERMS]; /* of its terms */
    uint32_t step;                     /* per round of the long loop */
};

/* Both sides' difference is 0 for the first time after `start / -step` rounds, if that is whole. */
static enum verdict rounds_are_whole(const struct exit_rule *rule, uint32_t copies)
{
    int64_t start = (int32_t)(rule->difference.constant - rule->step);
    for (uint32_t i = 0; i < rule->difference.count; i++) {
        if (!LLVMIsAConstantInt(rule->starts[i]))
            return VERDICT_NO;
        start += (int32_t)rule->difference.terms[i].factor *
                 (int64_t)(int32_t)LLVMConstIntGetZExtValue(rule->starts[i]);
        if (start != (int32_t)start)
            return VERDICT_NO;
    }
    int64_t step = (int32_t)rule->step;
    bool whole = start != 0 && start % step == 0 && start / step < 0;
    return whole && step % (int64_t)copies == 0 ? VERDICT_YES : VERDICT_NO;
}

static enum verdict exit_judge(const struct exit_rule *rule, uint32_t copies)
{
    if (rounds_are_whole(rule, copies) == VERDICT_YES)
        return VERDICT_YES;
    if ((copies & (copies - 1)) != 0)
        return VERDICT_NO;
    uint32_t wanted = (uint32_t)__builtin_ctz(rule->step);
    uint32_t zeros =
        value_zeros(LLVMConstInt(LLVMTypeOf(rule->starts[0]), rule->difference.constant, false), 1);
    for (uint32_t i = 0; i < rule->difference.count; i++) {
        uint32_t factor = rule->difference.terms[i].factor;
        uint32_t term = (uint32_t)__builtin_ctz(factor) + value_zeros(rule->starts[i], ZEROS_DEPTH);
        if (term < zeros)
            zeros = term;
    }
    return zeros >= wanted ? VERDICT_YES : VERDICT_CHECK;
}

static enum verdict exit_read(const struct reroll_loop *loop, struct exit_rule *rule)
{
    LLVMIntPredicate predicate = LLVMGetICmpPredicate(loop->condition);
    struct reroll_sum left, right;
    if (predicate != (loop->leaves_on_true ? LLVMIntEQ : LLVMIntNE) ||
        !reroll_sum_of(loop, LLVMGetOperand(loop->condition, 0), &left) ||
        !reroll_sum_of(loop, LLVMGetOperand(loop->condition, 1), &right) ||
        !reroll_sum_subtract(&left, &right))
        return VERDICT_NO;
    rule->difference = left;
    rule->step = 0;
    for (uint32_t i = 0; i < left.count; i++) {
        uint32_t number = reroll_number(loop, left.terms[i].value);
        if (number != GRAPH_NONE)
            rule->step += left.terms[i].factor * loop->steps[number];
    }
    uint32_t short_step = reroll_shift(loop, &left, 1);
    /* No bit of the step is lost modulo 2^32. */
    if (rule->step == 0 || short_step == 0 ||
        (int64_t)(int32_t)short_step * (int64_t)loop->copies != (int32_t)rule->step)
        return VERDICT_NO;
    difference_at_start(loop, &left, rule->starts);
    return exit_judge(rule, loop->copies);
}

/* ---- the short loop ---- */

static LLVMValueRef i32_constant(const struct reroll *r, uint32_t value)
{
    return LLVMConstInt(LLVMInt32TypeInContext(r->context), value, false);
}

static LLVMValueRef value_copy(const struct reroll *r, LLVMValueRef value)
{
    uint32_t number = reroll_number(r->loop, value);
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

static LLVMValueRef instruction_copy(struct reroll *r, LLVMValueRef i)
{
    LLVMOpcode opcode = LLVMGetInstructionOpcode(i);
    if (opcode == LLVMOr && LLVMGetIsDisjoint(i))
        return LLVMBuildAdd(r->builder, value_copy(r, LLVMGetOperand(i, 0)),
                            value_copy(r, LLVMGetOperand(i, 1)), "");
    if (opcode == LLVMGetElementPtr) {
        LLVMValueRef index = value_copy(r, LLVMGetOperand(i, 1));
        return LLVMBuildGEP2(r->builder, LLVMGetGEPSourceElementType(i),
                             value_copy(r, LLVMGetOperand(i, 0)), &index, 1, "");
    }
    LLVMValueRef copy = LLVMInstructionClone(i);
    for (int k = 0; k < LLVMGetNumOperands(i); k++)
        LLVMSetOperand(copy, (unsigned)k, value_copy(r, LLVMGetOperand(i, (unsigned)k)));
    promises_drop(copy);
    LLVMInsertIntoBuilder(r->builder, copy);
    return copy;
}

static void phis_open(struct reroll *r)
{
    for (uint32_t n = 0; n < r->loop->phi_count; n++) {
        r->copies[n] = LLVMBuildPhi(r->builder, LLVMTypeOf(r->loop->instructions[n]), "");
        LLVMAddIncoming(r->copies[n], &r->loop->starts[n], &r->check, 1);
    }
}

static void phis_close(struct reroll *r)
{
    const struct reroll_loop *loop = r->loop;
    for (uint32_t n = 0; n < loop->phi_count; n++) {
        LLVMValueRef next;
        if (loop->steps[n] != 0) {
            int32_t step = (int32_t)loop->steps[n] / (int32_t)loop->copies;
            next = LLVMBuildAdd(r->builder, r->copies[n], i32_constant(r, (uint32_t)step), "");
        } else {
            next = r->copies[loop->next[n]];
        }
        LLVMAddIncoming(r->copies[n], &next, &r->body, 1);
    }
}

/* A sum as it was in copy 0 of the same turn of the long loop, in its last copy's round. */
static LLVMValueRef sum_in_last_copy(struct reroll *r, LLVMValueRef value)
{
    struct reroll_sum sum;
    (void)reroll_sum_of(r->loop, value, &sum);
    uint32_t shift = reroll_shift(r->loop, &sum, r->loop->copies - 1);
    LLVMValueRef copy = value_copy(r, value);
    return shift ? LLVMBuildSub(r->builder, copy, i32_constant(r, shift), "") : copy;
}

/* What the loop leaves behind of a value. */
static LLVMValueRef value_left(struct reroll *r, LLVMValueRef value)
{
    struct reroll_sum sum;
    if (reroll_sum_of(r->loop, value, &sum))
        return sum_in_last_copy(r, value);
    return r->copies[reroll_origin(r->loop, value)];
}

static void body_write(struct reroll *r, LLVMValueRef *left)
{
    const struct reroll_loop *loop = r->loop;
    LLVMPositionBuilderAtEnd(r->builder, r->body);
    phis_open(r);
    for (uint32_t n = loop->phi_count; n < loop->count; n++)
        if (loop->needed[n])
            r->copies[n] = instruction_copy(r, loop->instructions[n]);
    for (uint32_t n = 0; n < loop->count; n++)
        if (reroll_lives_on(loop, loop->instructions[n]))
            left[n] = value_left(r, loop->instructions[n]);
    LLVMValueRef first = sum_in_last_copy(r, LLVMGetOperand(loop->condition, 0));
    LLVMValueRef second = sum_in_last_copy(r, LLVMGetOperand(loop->condition, 1));
    LLVMValueRef over = LLVMBuildICmp(r->builder, LLVMIntEQ, first, second, "");
    phis_close(r);
    LLVMBuildCondBr(r->builder, over, r->leave, r->body);
}

/* ---- around it ---- */

static LLVMValueRef check_write(struct reroll *r, const struct exit_rule *rule,
                                enum verdict verdict)
{
    if (verdict == VERDICT_YES)
        return LLVMConstInt(LLVMInt1TypeInContext(r->context), 1, false);
    LLVMValueRef sum = i32_constant(r, rule->difference.constant);
    for (uint32_t i = 0; i < rule->difference.count; i++) {
        LLVMValueRef factor = i32_constant(r, rule->difference.terms[i].factor);
        sum = LLVMBuildAdd(r->builder, sum, LLVMBuildMul(r->builder, rule->starts[i], factor, ""),
                           "");
    }
    uint32_t mask = (rule->step & (0 - rule->step)) - 1;
    LLVMValueRef rest = LLVMBuildAnd(r->builder, sum, i32_constant(r, mask), "");
    return LLVMBuildICmp(r->builder, LLVMIntEQ, rest, i32_constant(r, 0), "");
}

static bool reroll_run(struct reroll *r, const struct exit_rule *rule, enum verdict verdict)
{
    LLVMValueRef *left = calloc(REROLL_INSTRUCTIONS, sizeof *left);
    if (!left)
        return false;
    r->context = LLVMGetTypeContext(LLVMTypeOf(r->loop->condition));
    r->builder = LLVMCreateBuilderInContext(r->context);
    r->leave = LLVMInsertBasicBlockInContext(r->context, r->loop->exit, "");
    r->check = LLVMInsertBasicBlockInContext(r->context, r->loop->block, "");
    r->body = LLVMInsertBasicBlockInContext(r->context, r->loop->block, "");
    body_write(r, left);
    struct edit_loops loops = {r->builder, r->loop->before, r->check,     r->loop->block,
                               r->body,    r->leave,        r->loop->exit};
    LLVMPositionBuilderAtEnd(r->builder, r->check);
    LLVMValueRef condition = check_write(r, rule, verdict);
    edit_loops_join(&loops);
    for (uint32_t n = 0; n < r->loop->count; n++)
        if (left[n])
            edit_value_lead_out(&loops, r->loop->instructions[n], left[n]);
    edit_loops_enter(&loops, condition);
    LLVMDisposeBuilder(r->builder);
    free(left);
    return true;
}

static bool block_reroll(LLVMBasicBlockRef block, struct reroll *r, bool *changed)
{
    struct exit_rule rule;
    bool done = true;
    if (reroll_find(block, r->loop)) {
        enum verdict verdict = exit_read(r->loop, &rule);
        if (verdict != VERDICT_NO) {
            done = reroll_run(r, &rule, verdict);
            *changed = true;
        }
    }
    reroll_free(r->loop);
    return done;
}

bool lower_reroll(LLVMValueRef function, bool *changed)
{
    struct reroll *r = malloc(sizeof *r);
    struct reroll_loop *loop = malloc(sizeof *loop);
    bool done = r && loop;
    LLVMBasicBlockRef block = LLVMGetFirstBasicBlock(function), next;
    for (; done && block; block = next) {
        next = LLVMGetNextBasicBlock(block);
        r->loop = loop;
        if (LLVMGetInstructionOpcode(LLVMGetFirstInstruction(block)) == LLVMPHI)
            done = block_reroll(block, r, changed);
    }
    free(r);
    free(loop);
    return done;
}
