/*
 * Whether the one block of a loop is several copies of one round, as compilers leave it when they
 * unroll. lower_reroll.c makes the short loop again.
 *
 *   x = phi; i = phi                     copy 0 of each instruction of the round, and in `versions`
 *   a = load p + i;     store q + i, a   what it is in copy 1, 2, ...
 *   b = load p + i + 8; store q + i + 8, b
 *   i' = i + 16; again unless i' == end
 */
#ifndef ENGINE_LOWER_REROLL_MATCH_H
#define ENGINE_LOWER_REROLL_MATCH_H

#include "engine/lower_graph.h"

#include <llvm-c/Core.h>

#define REROLL_INSTRUCTIONS 384u
#define REROLL_COPIES       16u
#define REROLL_TERMS        8u
#define REROLL_NONE         UINT16_MAX

/* An i32 value modulo 2^32: constant + sum of value * factor. The values are counters of the loop
 * or come from outside. */
struct reroll_sum {
    struct {
        LLVMValueRef value;
        uint32_t factor;
    } terms[REROLL_TERMS];
    uint32_t count, constant;
};

struct reroll_trail {
    uint16_t *cell, was;
};

struct reroll_loop {
    LLVMBasicBlockRef block, before, exit;
    LLVMValueRef instructions[REROLL_INSTRUCTIONS]; /* without the last */
    uint32_t count, phi_count;
    struct pointer_map numbers;
    LLVMValueRef starts[REROLL_INSTRUCTIONS], latches[REROLL_INSTRUCTIONS]; /* of phis */
    uint32_t steps[REROLL_INSTRUCTIONS]; /* of a phi that counts; else 0 */
    LLVMValueRef condition;
    bool leaves_on_true;

    uint32_t copies;
    /* By number: what an instruction of copy 0 is in later copies; of a phi that does not count,
     * the instruction of copy 0 that it becomes in the short loop. */
    uint16_t versions[REROLL_COPIES][REROLL_INSTRUCTIONS];
    uint16_t next[REROLL_INSTRUCTIONS];
    bool needed[REROLL_INSTRUCTIONS]; /* in the short loop */
    struct reroll_trail trail[REROLL_COPIES * REROLL_INSTRUCTIONS];
    uint32_t trail_count, effort;
};

/* Whether a block is a loop by itself, entered from one place and ended by a comparison; *out then
 * has all but what concerns copies. The caller calls reroll_free in any case. */
bool reroll_read(LLVMBasicBlockRef block, struct reroll_loop *out);
/* Whether a block is a loop of which rounds can be found, and if so their number and versions. The
 * caller calls reroll_free in any case. */
bool reroll_find(LLVMBasicBlockRef block, struct reroll_loop *out);
void reroll_free(struct reroll_loop *);

static inline uint32_t reroll_number(const struct reroll_loop *loop, LLVMValueRef value)
{
    return pointer_map_get(&loop->numbers, value);
}

bool reroll_is_i32(LLVMValueRef);

/* False when the value is no such sum. */
bool reroll_sum_of(const struct reroll_loop *, LLVMValueRef, struct reroll_sum *out);
/* *a becomes their difference; false when it has too many terms. */
bool reroll_sum_subtract(struct reroll_sum *a, const struct reroll_sum *b);
/* By how much a sum is larger in a later copy. */
uint32_t reroll_shift(const struct reroll_loop *, const struct reroll_sum *, uint32_t copy);

/* The number of the instruction of copy 0 that a value is in the last copy, or REROLL_NONE. */
uint32_t reroll_origin(const struct reroll_loop *, LLVMValueRef value);
/* Whether code outside the loop uses the value. */
bool reroll_lives_on(const struct reroll_loop *, LLVMValueRef value);

#endif
