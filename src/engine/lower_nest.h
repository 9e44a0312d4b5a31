/*
 * Two-deep loop nests in a function's IR, and what their addresses are as sums. lower_jam.c and
 * lower_jam_check.c work on them.
 *
 *   before ──▶ block 0 ──▶ block 1 ──▶ ... ──▶ last block ──▶ exit
 *                 ▲          ⟲ (some)              │
 *                 └────────────────────────────────┘
 *
 * The outer loop is a chain of blocks; each is plain or a loop by itself (an inner loop), block 0
 * and the last are plain. There is one way in, one way through and one way out.
 */
#ifndef ENGINE_LOWER_NEST_H
#define ENGINE_LOWER_NEST_H

#include "engine/lower_graph.h"
#include "engine/lower_sum.h"

#include <llvm-c/Core.h>

#define NEST_BLOCKS       8u
#define NEST_INSTRUCTIONS 224u
#define NEST_ACCESSES     32u
#define NEST_NONE         UINT32_MAX

/* An i32 value modulo 2^32: sum + step * (round of the inner loop). The sum's values are phis of
 * block 0 or come from outside the nest. */
struct linear {
    struct sum sum;
    uint32_t step;
};

/* A load or store at base + offset + address, the address zero-extended. */
struct nest_access {
    LLVMValueRef instruction;
    LLVMTypeRef type;
    struct linear address;
    int64_t offset;
    uint32_t block, size;
    int32_t inner, outer; /* strides: per round of the block's own loop, of the outer loop */
    bool store;
};

/* When a loop's latch leaves: the first time that `difference`, which changes by a constant per
 * round, is 0; an inner loop perhaps earlier. */
struct nest_exit {
    LLVMValueRef condition;
    struct linear difference;
    bool leaves_on_true;
};

struct nest_block {
    LLVMBasicBlockRef block;
    uint32_t first, count; /* instructions */
    bool loop;
    struct nest_exit exit; /* of a loop */
};

struct nest_instruction {
    LLVMValueRef value;
    uint32_t block;
    uint32_t access; /* or NEST_NONE */
};

struct nest {
    struct nest_block blocks[NEST_BLOCKS];
    uint32_t block_count;
    LLVMBasicBlockRef exit;
    struct nest_exit outer_exit;
    struct nest_instruction instructions[NEST_INSTRUCTIONS];
    uint32_t instruction_count;
    struct nest_access accesses[NEST_ACCESSES];
    uint32_t access_count;
    LLVMValueRef base; /* of all accesses */
    struct pointer_map numbers;
};

/* Whether a block heads a nest all of whose instructions are pure or plain loads and stores at
 * addresses that are sums, whose inner loops run equally often in every round of the outer, and
 * whose outer phis are counters. The caller calls nest_free in any case. */
bool nest_find(LLVMBasicBlockRef head, struct nest *out);
void nest_free(struct nest *);

/* The number of an instruction, or GRAPH_NONE. */
static inline uint32_t nest_number(const struct nest *nest, LLVMValueRef value)
{
    return pointer_map_get(&nest->numbers, value);
}

/* By how much a phi of block 0 grows per round. */
uint32_t nest_phi_step(const struct nest *, LLVMValueRef phi);
/* By how much a sum grows per round of the outer loop. */
uint32_t nest_outer_step(const struct nest *, const struct linear *);

/* Equal but for the constant. */
bool linear_is_parallel(const struct linear *, const struct linear *);

#endif
