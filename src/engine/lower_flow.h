/*
 * Facts about a function's control flow that the LLVM C API does not offer: dominance,
 * post-dominance and natural loops over basic blocks. Used by lower_relax.c only.
 *
 * Blocks are numbered in depth-first preorder from the entry; blocks that cannot be reached have no
 * number. Everything is computed once, in near-linear time (functions of 50 000 blocks exist), and
 * is stale as soon as the function changes.
 *
 * Two kinds of block get special treatment:
 *   - a block that only traps, or only chooses between such blocks, is left out of post-dominance
 *     and of counting successors and loop exits: which of several due traps is reported may differ;
 *   - a block from which no return can be reached (an endless loop, a call that never comes back)
 *     counts as an exit of its own, so nothing behind or beside it post-dominates what leads there.
 */
#ifndef ENGINE_LOWER_FLOW_H
#define ENGINE_LOWER_FLOW_H

#include <llvm-c/Core.h>
#include <stdbool.h>
#include <stdint.h>

#define FLOW_NONE UINT32_MAX

/* From pointers to numbers; open addressing, nothing is ever removed. Zero-initialise. */
struct pointer_map {
    const void **keys;
    uint32_t *values;
    uint32_t capacity, count; /* capacity is 0 or a power of two */
};

/* False when memory is exhausted. The key is not in the map yet. */
bool pointer_map_put(struct pointer_map *, const void *key, uint32_t value);
uint32_t pointer_map_get(const struct pointer_map *, const void *key); /* FLOW_NONE: absent */
void pointer_map_free(struct pointer_map *);

/* A node's place in a tree: its descendants, itself included, are [first, first + count). A node
 * outside of the tree has count 0. */
struct flow_span {
    uint32_t first, count;
};

static inline bool flow_span_contains(struct flow_span outer, struct flow_span inner)
{
    return inner.count != 0 && inner.first - outer.first < outer.count;
}

/* Loop 0 is the function itself; parents come before their children. */
struct flow_loop {
    uint32_t header, parent;
    struct flow_span span;
    uint32_t exits, exit_from, exit_to; /* exits: 0, 1, or 2 for several; the edge when it is one */
};

struct flow_block {
    LLVMBasicBlockRef block;
    uint32_t loop;             /* innermost */
    uint32_t sole_successor;   /* the only one besides blocks that only trap, or FLOW_NONE */
    uint32_t sole_predecessor; /* or FLOW_NONE */
    struct flow_span dominated, postdominated; /* nodes of the two dominator trees */
    bool only_traps, returns;                  /* returns: a return can be reached */
};

struct flow {
    struct flow_block *blocks;
    struct flow_loop *loops;
    uint32_t block_count, loop_count;
    struct pointer_map numbers;
};

/* False when memory is exhausted; *out is then empty. A function with irreducible control flow (no
 * WebAssembly has it, passes might make it) gets neither post-dominance nor loops: only a block
 * itself is then certain to run after it ran. */
bool flow_create(LLVMValueRef function, struct flow *out);
void flow_destroy(struct flow *);

static inline uint32_t flow_block_number(const struct flow *flow, LLVMBasicBlockRef block)
{
    return pointer_map_get(&flow->numbers, block);
}

/* Whether control that is in `block` certainly comes to, or is in, `later` before the function
 * returns (short of traps and loops that never end). */
static inline bool flow_follows(const struct flow *flow, uint32_t later, uint32_t block)
{
    return later == block ||
           flow_span_contains(flow->blocks[later].postdominated, flow->blocks[block].postdominated);
}

static inline bool flow_dominates(const struct flow *flow, uint32_t above, uint32_t block)
{
    return flow_span_contains(flow->blocks[above].dominated, flow->blocks[block].dominated);
}

/* Whether a block belongs to a loop, directly or through a loop inside it. */
static inline bool flow_in_loop(const struct flow *flow, uint32_t block, uint32_t loop)
{
    return flow_span_contains(flow->loops[loop].span, flow->loops[flow->blocks[block].loop].span);
}

#endif
