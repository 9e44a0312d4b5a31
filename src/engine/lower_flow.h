/*
 * Facts about a function's control flow that the LLVM C API does not offer: what certainly runs
 * after what, and natural loops, over basic blocks. Used by lower_relax.c and lower_unroll.c.
 *
 * Blocks are numbered in depth-first preorder from the entry; blocks that cannot be reached have no
 * number. Everything is computed once, in near-linear time (functions of 50 000 blocks exist), and
 * is stale as soon as the function changes.
 *
 * "Certainly runs after" is asked per iteration: a use further down a loop's body is not certain
 * when a `continue` may skip it, even if the loop cannot end without it. So every loop is a graph
 * of its own, its level: the blocks directly in it, each loop directly inside as one node, and an
 * exit, where edges go that leave the loop or lead back to its header. Level 0 is the function,
 * without its loops' insides. Post-dominance is taken in these graphs.
 *
 * Two kinds of block get special treatment:
 *   - a block that only traps, or only chooses between such blocks, is left out: which of several
 * due traps is reported may differ;
 *   - a block from which no return can be reached (an endless loop, a call that never comes back)
 *     counts as an exit of every level, so nothing follows what leads there.
 */
#ifndef ENGINE_LOWER_FLOW_H
#define ENGINE_LOWER_FLOW_H

#include "engine/lower_graph.h"

#include <llvm-c/Core.h>

#define FLOW_NONE GRAPH_NONE

/* Deeper nests get no facts, so that walking up a nest takes bounded time. */
#define FLOW_NEST_MAX 64u

/* Loop 0 is the function itself; parents come before their children. */
struct flow_loop {
    uint32_t header, parent, depth;
    struct tree_span span;              /* in the tree of loops */
    uint32_t exits, exit_from, exit_to; /* exits: 0, 1, or 2 for several; the edge when it is one */
};

struct flow_block {
    LLVMBasicBlockRef block;
    uint32_t loop;              /* innermost */
    uint32_t sole_successor;    /* the only one besides blocks that only trap, or FLOW_NONE */
    uint32_t sole_predecessor;  /* or FLOW_NONE */
    struct tree_span dominated; /* in the dominator tree */
    bool only_traps, returns;   /* returns: a return can be reached */
};

struct flow {
    struct flow_block *blocks;
    struct flow_loop *loops;
    uint32_t block_count, loop_count;
    struct pointer_map numbers;
    /* The levels as one graph. Node b is block b, node block_count + l is loop l in its parent's
     * level; from flow_exit(0) on they are exits. */
    struct graph levels;
    struct tree_span *postdominated; /* per node */
};

/* False when memory is exhausted; *out is then empty. A function with irreducible control flow (no
 * WebAssembly has it, passes might make it) or too deep a nest has no levels and no loops: only a
 * block itself is then certain to run after it ran. */
bool flow_create(LLVMValueRef function, struct flow *out);
void flow_destroy(struct flow *);

static inline uint32_t flow_block_number(const struct flow *flow, LLVMBasicBlockRef block)
{
    return pointer_map_get(&flow->numbers, block);
}

static inline bool flow_dominates(const struct flow *flow, uint32_t above, uint32_t block)
{
    return tree_span_contains(flow->blocks[above].dominated, flow->blocks[block].dominated);
}

/* Whether a block belongs to a loop, directly or through a loop inside it. */
static inline bool flow_in_loop(const struct flow *flow, uint32_t block, uint32_t loop)
{
    return tree_span_contains(flow->loops[loop].span, flow->loops[flow->blocks[block].loop].span);
}

static inline uint32_t flow_exit(const struct flow *flow, uint32_t loop)
{
    return flow->block_count + flow->loop_count + loop;
}

/* The node that is or contains a block in the level of a loop around it. */
uint32_t flow_node(const struct flow *, uint32_t block, uint32_t loop);
/* Whether that node, when control enters it, certainly runs the block. */
bool flow_runs_on_entry(const struct flow *, uint32_t block, uint32_t loop);
/* Whether control that is in `block` certainly comes to, or is in, `later`, before it comes to
 * `block` again and before it leaves the innermost loop around both (short of traps and of inner
 * loops that never end). */
bool flow_follows(const struct flow *, uint32_t later, uint32_t block);

#endif
