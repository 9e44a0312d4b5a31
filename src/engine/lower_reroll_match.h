/*
 * Whether the one block of a loop is several copies of one round, as compilers leave it when they
 * unroll. lower_reroll.c and lower_widen.c write the short loop.
 *
 *   x = phi; i = phi                     copy 0 of each instruction of the round, and in `versions`
 *   a = load p + i;     store q + i, a   what it is in copy 1, 2, ...
 *   b = load p + i + 8; store q + i + 8, b
 *   i' = i + 16; again unless i' == end
 */
#ifndef ENGINE_LOWER_REROLL_MATCH_H
#define ENGINE_LOWER_REROLL_MATCH_H

#include "engine/lower_loop.h"

#define REROLL_COPIES      16u
#define REROLL_ASSUMPTIONS 8u
#define REROLL_NONE        UINT16_MAX

struct reroll_trail {
    uint16_t *cell, was;
};

struct reroll_match {
    struct loop *loop;
    uint32_t copies;
    /* By number: what an instruction of copy 0 is in later copies; of a phi that does not count,
     * the instruction of copy 0 that it becomes in the short loop. */
    uint16_t versions[REROLL_COPIES][LOOP_INSTRUCTIONS];
    uint16_t next[LOOP_INSTRUCTIONS];
    bool needed[LOOP_INSTRUCTIONS]; /* in the short loop */
    /* Sums that do not change in the loop and are 0 if the copies are what they seem. */
    struct sum assumptions[REROLL_ASSUMPTIONS];
    uint32_t assumption_count;
    struct reroll_trail trail[REROLL_COPIES * LOOP_INSTRUCTIONS];
    uint32_t trail_count, effort;
};

/* Whether a loop has only operations that can be matched. */
bool reroll_is_plain(const struct loop *);
/* Whether so many rounds (one: always) can be found in such a loop, and if so their versions. When
 * rounds may run in any order, and what is assumed holds, the short loop does the same. */
bool reroll_match(struct loop *, uint32_t copies, struct reroll_match *out);

/* The number of the instruction of copy 0 that a value is in the last copy, or REROLL_NONE. */
uint32_t reroll_origin(const struct reroll_match *, LLVMValueRef value);

/* A load or store. */
bool reroll_is_access(LLVMValueRef);

#endif
