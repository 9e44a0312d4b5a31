/*
 * Loops of one block in a function's IR, and what their i32 values are as sums. lower_twin.c,
 * lower_reroll.c and lower_widen.c work on them.
 *
 *   before ──▶ block ⟲ ──▶ exit
 */
#ifndef ENGINE_LOWER_LOOP_H
#define ENGINE_LOWER_LOOP_H

#include "engine/lower_graph.h"
#include "engine/lower_sum.h"

#include <llvm-c/Core.h>

#define LOOP_INSTRUCTIONS 384u

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

/* The value as a sum of counters of the loop and values from outside; false when it is none. */
bool loop_sum_of(const struct loop *, LLVMValueRef value, struct sum *out);
/* By how much a sum grows in a round of a loop that has `copies` rounds for one of this, all of
 * whose counters step by multiples of `copies`. */
uint32_t loop_sum_step(const struct loop *, const struct sum *, uint32_t copies);

#endif
