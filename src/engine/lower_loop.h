/*
 * Loops of one block in a function's IR, and what their i32 values are as sums. lower_twin.c,
 * lower_reroll.c and lower_widen.c work on them.
 *
 *   before ──▶ block ⟲ ──▶ exit
 */
#ifndef ENGINE_LOWER_LOOP_H
#define ENGINE_LOWER_LOOP_H

#include "engine/lower_graph.h"

#include <llvm-c/Core.h>

#define LOOP_INSTRUCTIONS 384u
#define LOOP_TERMS        8u

/* An i32 value modulo 2^32: constant + sum of value * factor. The values are counters of the loop
 * or come from outside. */
struct loop_sum {
    struct {
        LLVMValueRef value;
        uint32_t factor;
    } terms[LOOP_TERMS];
    uint32_t count, constant;
    uint32_t visits; /* values looked at */
};

struct loop {
    LLVMBasicBlockRef block, before, exit;
    LLVMValueRef instructions[LOOP_INSTRUCTIONS]; /* without the branch; phis come first */
    uint32_t count, phi_count;
    struct pointer_map numbers;
    LLVMValueRef starts[LOOP_INSTRUCTIONS], latches[LOOP_INSTRUCTIONS]; /* of phis */
    uint32_t steps[LOOP_INSTRUCTIONS]; /* of a phi that counts; else 0 */
    LLVMValueRef condition;
    bool leaves_on_true;
};

/* Whether a block is a loop by itself, entered from one place and ended by a comparison. The caller
 * calls loop_free in any case. */
bool loop_read(LLVMBasicBlockRef block, struct loop *out);
void loop_free(struct loop *);

/* The number of an instruction, or GRAPH_NONE. */
static inline uint32_t loop_number(const struct loop *loop, LLVMValueRef value)
{
    return pointer_map_get(&loop->numbers, value);
}

/* Whether code outside the loop uses the value. */
bool loop_value_lives_on(const struct loop *, LLVMValueRef value);

/* False when the value is no such sum. */
bool loop_sum_of(const struct loop *, LLVMValueRef value, struct loop_sum *out);
/* *a becomes their difference; false when it has too many terms. */
bool loop_sum_subtract(struct loop_sum *a, const struct loop_sum *b);
/* Whether they are equal but for their constants. */
bool loop_sum_is_parallel(const struct loop_sum *a, const struct loop_sum *b);
/* By how much a sum grows in a round of a loop that has `copies` rounds for one of this, all of
 * whose counters step by multiples of `copies`. */
uint32_t loop_sum_step(const struct loop *, const struct loop_sum *, uint32_t copies);

#endif
