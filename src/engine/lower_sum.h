/*
 * The i32 values of a loop as sums, modulo 2^32: what lower_loop.c and lower_nest.c both know of
 * addresses and of when loops end. Which values may be terms is each one's own affair.
 */
#ifndef ENGINE_LOWER_SUM_H
#define ENGINE_LOWER_SUM_H

#include <llvm-c/Core.h>
#include <stdbool.h>
#include <stdint.h>

#define SUM_TERMS 8u

/* constant + sum of value * factor; no value twice, no factor 0. */
struct sum {
    struct {
        LLVMValueRef value;
        uint32_t factor;
    } terms[SUM_TERMS];
    uint32_t count, constant;
};

/* Adds value * factor. False when it has too many terms. */
bool sum_add_term(struct sum *, LLVMValueRef value, uint32_t factor);
/* *a becomes their difference; false when it has too many terms. */
bool sum_subtract(struct sum *a, const struct sum *b);
/* Whether they are equal but for their constants. */
bool sum_is_parallel(const struct sum *, const struct sum *);

/* The right operand, when it is constant; of a shift, by what that multiplies. */
bool sum_scale(LLVMValueRef value, uint32_t *by);
/* How far a step goes, whatever its direction. */
static inline uint32_t magnitude(int32_t step)
{
    return step < 0 ? 0u - (uint32_t)step : (uint32_t)step;
}

/* By what constant a phi grows when `next` is what it becomes. */
bool sum_counter_step(LLVMValueRef phi, LLVMValueRef next, uint32_t *step);

#endif
