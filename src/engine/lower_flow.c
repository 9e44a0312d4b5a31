/*
 * Blocks, natural loops and levels; see lower_flow.h for what they are.
 *
 * Loops are found by backward floods from the latches, inner loops first, with union-find so that
 * each block is walked once (Tarjan, "Testing flow graph reducibility", 1974). No recursion: depth
 * is the input's to choose.
 */
#include "engine/lower_flow.h"

#include <stdlib.h>

/* ---- the blocks of a function ---- */

struct builder {
    struct flow *flow;
    struct edge_list edges, levels;
    struct graph successors, predecessors;
    uint32_t *subtree;  /* per block: blocks of its depth-first subtree */
    uint32_t *queue;    /* room for every edge */
    uint32_t *union_of; /* per block, then per loop: towards its representative */
    uint32_t *loop_led; /* per block: the loop it heads */
    struct tree_span *spans;
};

static bool instruction_is_quiet(LLVMValueRef instruction)
{
    switch (LLVMGetInstructionOpcode(instruction)) {
    case LLVMStore:
    case LLVMAtomicRMW:
    case LLVMAtomicCmpXchg:
    case LLVMFence: return false;
    case LLVMCall: {
        LLVMValueRef callee = LLVMIsAFunction(LLVMGetCalledValue(instruction));
        return callee && LLVMGetIntrinsicID(callee) != 0;
    }
    default: return true;
    }
}

static bool block_ends_in_trap(LLVMBasicBlockRef block)
{
    LLVMValueRef last = LLVMGetBasicBlockTerminator(block);
    return LLVMGetInstructionOpcode(last) == LLVMUnreachable && LLVMGetPreviousInstruction(last) &&
           LLVMGetInstructionOpcode(LLVMGetPreviousInstruction(last)) == LLVMCall;
}

static bool block_only_computes(LLVMBasicBlockRef block)
{
    for (LLVMValueRef i = LLVMGetFirstInstruction(block); i; i = LLVMGetNextInstruction(i)) {
        if (!instruction_is_quiet(i))
            return false;
    }
    return true;
}

static bool flow_number_block(struct flow *flow, LLVMBasicBlockRef block)
{
    uint32_t number = flow->block_count++;
    flow->blocks[number] = (struct flow_block){
        .block = block,
        .sole_successor = FLOW_NONE,
        .sole_predecessor = FLOW_NONE,
    };
    return pointer_map_put(&flow->numbers, block, number);
}

/* Depth-first preorder, noting every edge between reached blocks. */
static bool builder_number_blocks(struct builder *b, LLVMValueRef function, uint32_t capacity)
{
    struct flow *flow = b->flow;
    struct frame {
        LLVMValueRef terminator;
        uint32_t block, cursor, count;
    } *stack = malloc(capacity * sizeof *stack);
    if (!stack)
        return false;
    bool done = false;
    uint32_t depth = 0, from = FLOW_NONE;
    LLVMBasicBlockRef next = LLVMGetEntryBasicBlock(function);
    for (;;) {
        uint32_t number = flow_block_number(flow, next);
        bool is_new = number == FLOW_NONE;
        if (is_new) {
            number = flow->block_count;
            if (!flow_number_block(flow, next))
                goto end;
            LLVMValueRef last = LLVMGetBasicBlockTerminator(next);
            stack[depth++] = (struct frame){last, number, 0, LLVMGetNumSuccessors(last)};
        }
        if (from != FLOW_NONE && !edge_list_add(&b->edges, from, number))
            goto end;
        while (depth && stack[depth - 1].cursor == stack[depth - 1].count) {
            struct frame *top = &stack[--depth];
            b->subtree[top->block] = flow->block_count - top->block;
        }
        if (!depth)
            break;
        struct frame *top = &stack[depth - 1];
        from = top->block;
        next = LLVMGetSuccessor(top->terminator, top->cursor++);
    }
    done = true;
end:
    free(stack);
    return done;
}

/* Blocks that trap, then, backwards, those whose every way leads to such. */
static void builder_find_traps(struct builder *b)
{
    uint32_t *ways = b->union_of, length = 0;
    const struct graph *out = &b->successors, *in = &b->predecessors;
    for (uint32_t n = 0; n < b->flow->block_count; n++) {
        ways[n] = out->offsets[n + 1] - out->offsets[n];
        if (ways[n] == 0 && block_ends_in_trap(b->flow->blocks[n].block))
            b->queue[length++] = n;
    }
    while (length) {
        uint32_t n = b->queue[--length];
        struct flow_block *block = &b->flow->blocks[n];
        block->only_traps = block_only_computes(block->block);
        if (!block->only_traps)
            continue;
        for (uint32_t i = in->offsets[n]; i < in->offsets[n + 1]; i++) {
            if (--ways[in->targets[i]] == 0)
                b->queue[length++] = in->targets[i];
        }
    }
}

static void builder_find_sole_neighbours(struct builder *b)
{
    for (uint32_t n = 0; n < b->flow->block_count; n++) {
        struct flow_block *block = &b->flow->blocks[n];
        const struct graph *out = &b->successors, *in = &b->predecessors;
        uint32_t sole = FLOW_NONE;
        bool several = false;
        for (uint32_t i = out->offsets[n]; i < out->offsets[n + 1]; i++) {
            uint32_t to = out->targets[i];
            if (b->flow->blocks[to].only_traps || to == sole)
                continue;
            several = several || sole != FLOW_NONE;
            sole = to;
        }
        block->sole_successor = several ? FLOW_NONE : sole;
        if (in->offsets[n + 1] - in->offsets[n] == 1)
            block->sole_predecessor = in->targets[in->offsets[n]];
    }
}

static void builder_find_returning(struct builder *b)
{
    uint32_t length = 0;
    for (uint32_t n = 0; n < b->flow->block_count; n++) {
        LLVMValueRef last = LLVMGetBasicBlockTerminator(b->flow->blocks[n].block);
        if (LLVMGetInstructionOpcode(last) == LLVMRet) {
            b->flow->blocks[n].returns = true;
            b->queue[length++] = n;
        }
    }
    while (length) {
        uint32_t n = b->queue[--length];
        for (uint32_t i = b->predecessors.offsets[n]; i < b->predecessors.offsets[n + 1]; i++) {
            struct flow_block *before = &b->flow->blocks[b->predecessors.targets[i]];
            if (!before->returns) {
                before->returns = true;
                b->queue[length++] = b->predecessors.targets[i];
            }
        }
    }
}

/* ---- loops ---- */

static uint32_t union_find(uint32_t *of, uint32_t n)
{
    while (of[n] != n) {
        of[n] = of[of[n]];
        n = of[n];
    }
    return n;
}

/* An edge to a depth-first ancestor that does not dominate its source enters a cycle sideways. */
static bool builder_is_reducible(const struct builder *b)
{
    for (uint32_t i = 0; i < b->edges.count; i++) {
        struct edge e = b->edges.edges[i];
        bool retreats = e.to <= e.from && e.from - e.to < b->subtree[e.to];
        if (retreats && !flow_dominates(b->flow, e.to, e.from))
            return false;
    }
    return true;
}

static void builder_absorb(struct builder *b, uint32_t header, uint32_t member, uint32_t *length)
{
    uint32_t n = union_find(b->union_of, member);
    if (n == header)
        return;
    uint32_t loop = b->loop_led[header];
    if (b->loop_led[n] != FLOW_NONE)
        b->flow->loops[b->loop_led[n]].parent = loop;
    else
        b->flow->blocks[n].loop = loop;
    b->union_of[n] = header;
    b->queue[(*length)++] = n;
}

/* Collects one loop's body: everything that reaches a latch without passing the header. */
static void builder_flood_loop(struct builder *b, uint32_t header)
{
    const struct graph *in = &b->predecessors;
    uint32_t length = 0;
    for (uint32_t i = in->offsets[header]; i < in->offsets[header + 1]; i++) {
        if (flow_dominates(b->flow, header, in->targets[i]))
            builder_absorb(b, header, in->targets[i], &length);
    }
    while (length) {
        uint32_t n = b->queue[--length];
        for (uint32_t i = in->offsets[n]; i < in->offsets[n + 1]; i++)
            builder_absorb(b, header, in->targets[i], &length);
    }
}

static bool builder_name_loops(struct builder *b)
{
    struct flow *flow = b->flow;
    for (uint32_t i = 0; i < b->edges.count; i++) {
        struct edge e = b->edges.edges[i];
        if (flow_dominates(flow, e.to, e.from))
            b->loop_led[e.to] = 0;
    }
    uint32_t count = 1;
    for (uint32_t n = 0; n < flow->block_count; n++)
        count += b->loop_led[n] != FLOW_NONE;
    flow->loops = calloc(count, sizeof *flow->loops);
    if (!flow->loops)
        return false;
    flow->loops[0] = (struct flow_loop){.header = FLOW_NONE};
    flow->loop_count = 1;
    for (uint32_t n = 0; n < flow->block_count; n++) {
        if (b->loop_led[n] == FLOW_NONE)
            continue;
        b->loop_led[n] = flow->loop_count;
        flow->blocks[n].loop = flow->loop_count;
        flow->loops[flow->loop_count++] = (struct flow_loop){.header = n};
    }
    return true;
}

static bool builder_find_loops(struct builder *b)
{
    struct flow *flow = b->flow;
    for (uint32_t n = 0; n < flow->block_count; n++) {
        b->union_of[n] = n;
        b->loop_led[n] = FLOW_NONE;
    }
    if (!builder_name_loops(b))
        return false;
    for (uint32_t loop = flow->loop_count; loop-- > 1;)
        builder_flood_loop(b, flow->loops[loop].header);

    uint32_t *parents = b->queue;
    for (uint32_t i = 1; i < flow->loop_count; i++) {
        parents[i] = flow->loops[i].parent;
        flow->loops[i].depth = flow->loops[parents[i]].depth + 1;
    }
    if (!graph_tree_spans(parents, flow->loop_count, b->spans))
        return false;
    for (uint32_t i = 0; i < flow->loop_count; i++)
        flow->loops[i].span = b->spans[i];
    return true;
}

static bool builder_is_too_deep(const struct builder *b)
{
    for (uint32_t i = 0; i < b->flow->loop_count; i++) {
        if (b->flow->loops[i].depth > FLOW_NEST_MAX)
            return true;
    }
    return false;
}

/* ---- levels ---- */

/* One edge between blocks, in the level of every loop it leaves and in that where it ends. */
static bool builder_level_edge(struct builder *b, struct edge e)
{
    struct flow *flow = b->flow;
    bool comes_back = flow->blocks[e.to].returns;
    uint32_t node = e.from, loop = flow->blocks[e.from].loop;
    while (loop != 0 && !(comes_back && flow_in_loop(flow, e.to, loop))) {
        struct flow_loop *left = &flow->loops[loop];
        left->exits = left->exits ? 2 : 1;
        left->exit_from = e.from;
        left->exit_to = e.to;
        if (!edge_list_add(&b->levels, node, flow_exit(flow, loop)))
            return false;
        node = flow->block_count + loop;
        loop = left->parent;
    }
    uint32_t to =
        flow->blocks[e.to].loop == loop ? e.to : flow->block_count + flow->blocks[e.to].loop;
    if (!comes_back || e.to == flow->loops[loop].header)
        to = flow_exit(flow, loop);
    return edge_list_add(&b->levels, node, to);
}

static bool builder_list_levels(struct builder *b, uint32_t end)
{
    const struct flow *flow = b->flow;
    for (uint32_t i = 0; i < b->edges.count; i++) {
        struct edge e = b->edges.edges[i];
        if (!flow->blocks[e.from].returns || flow->blocks[e.to].only_traps)
            continue;
        if (!builder_level_edge(b, e))
            return false;
    }
    for (uint32_t n = 0; n < flow->block_count; n++) {
        LLVMValueRef last = LLVMGetBasicBlockTerminator(flow->blocks[n].block);
        if (LLVMGetInstructionOpcode(last) == LLVMRet &&
            !edge_list_add(&b->levels, n, flow_exit(flow, 0)))
            return false;
    }
    for (uint32_t i = 0; i < flow->loop_count; i++) {
        if (!edge_list_add(&b->levels, flow_exit(flow, i), end))
            return false;
    }
    return true;
}

static bool builder_find_levels(struct builder *b)
{
    struct flow *flow = b->flow;
    uint32_t end = flow_exit(flow, flow->loop_count);
    struct graph reversed = {0};
    flow->postdominated = calloc((size_t)end + 1, sizeof *flow->postdominated);
    bool done = flow->postdominated && builder_list_levels(b, end) &&
                graph_create(&b->levels, end + 1, false, &flow->levels) &&
                graph_create(&b->levels, end + 1, true, &reversed) &&
                graph_dominators(&reversed, &flow->levels, end, flow->postdominated);
    graph_destroy(&reversed);
    return done;
}

/* One loop, the function, and nothing known of what follows what. */
static bool builder_know_nothing(struct builder *b)
{
    struct flow *flow = b->flow;
    free(flow->loops);
    flow->loops = calloc(1, sizeof *flow->loops);
    flow->loop_count = 1;
    if (!flow->loops)
        return false;
    flow->loops[0] = (struct flow_loop){.header = FLOW_NONE, .span = {0, 1}};
    for (uint32_t n = 0; n < flow->block_count; n++)
        flow->blocks[n].loop = 0;
    size_t nodes = (size_t)flow_exit(flow, flow->loop_count) + 1;
    flow->postdominated = calloc(nodes, sizeof *flow->postdominated);
    return flow->postdominated && graph_create(&b->levels, (uint32_t)nodes, false, &flow->levels);
}

/* ---- all of it ---- */

static bool builder_run(struct builder *b, LLVMValueRef function)
{
    struct flow *flow = b->flow;
    uint32_t capacity = LLVMCountBasicBlocks(function);
    size_t room = (size_t)capacity + 2;
    flow->blocks = calloc(room, sizeof *flow->blocks);
    b->subtree = calloc(room, sizeof *b->subtree);
    b->union_of = calloc(room, sizeof *b->union_of);
    b->loop_led = calloc(room, sizeof *b->loop_led);
    b->spans = calloc(room, sizeof *b->spans);
    if (!flow->blocks || !b->subtree || !b->union_of || !b->loop_led || !b->spans ||
        !builder_number_blocks(b, function, capacity))
        return false;
    b->queue = calloc(room + b->edges.count, sizeof *b->queue);
    if (!b->queue || !graph_create(&b->edges, flow->block_count, false, &b->successors) ||
        !graph_create(&b->edges, flow->block_count, true, &b->predecessors))
        return false;

    builder_find_traps(b);
    builder_find_sole_neighbours(b);
    builder_find_returning(b);
    if (!graph_dominators(&b->successors, &b->predecessors, 0, b->spans))
        return false;
    for (uint32_t n = 0; n < flow->block_count; n++)
        flow->blocks[n].dominated = b->spans[n];

    if (!builder_is_reducible(b))
        return builder_know_nothing(b);
    if (!builder_find_loops(b))
        return false;
    return builder_is_too_deep(b) ? builder_know_nothing(b) : builder_find_levels(b);
}

bool flow_create(LLVMValueRef function, struct flow *out)
{
    *out = (struct flow){0};
    struct builder b = {.flow = out};
    bool done = builder_run(&b, function);
    free(b.edges.edges);
    free(b.levels.edges);
    graph_destroy(&b.successors);
    graph_destroy(&b.predecessors);
    free(b.subtree);
    free(b.queue);
    free(b.union_of);
    free(b.loop_led);
    free(b.spans);
    if (!done)
        flow_destroy(out);
    return done;
}

void flow_destroy(struct flow *flow)
{
    free(flow->blocks);
    free(flow->loops);
    free(flow->postdominated);
    graph_destroy(&flow->levels);
    pointer_map_free(&flow->numbers);
    *flow = (struct flow){0};
}

/* ---- questions ---- */

uint32_t flow_node(const struct flow *flow, uint32_t block, uint32_t loop)
{
    uint32_t node = block;
    for (uint32_t l = flow->blocks[block].loop; l != loop; l = flow->loops[l].parent)
        node = flow->block_count + l;
    return node;
}

bool flow_runs_on_entry(const struct flow *flow, uint32_t block, uint32_t loop)
{
    uint32_t node = block;
    for (uint32_t l = flow->blocks[block].loop; l != loop; l = flow->loops[l].parent) {
        if (!tree_span_contains(flow->postdominated[node],
                                flow->postdominated[flow->loops[l].header]))
            return false;
        node = flow->block_count + l;
    }
    return true;
}

bool flow_follows(const struct flow *flow, uint32_t later, uint32_t block)
{
    if (later == block)
        return true;
    uint32_t loop = flow->blocks[block].loop;
    while (!flow_in_loop(flow, later, loop))
        loop = flow->loops[loop].parent;
    return flow_runs_on_entry(flow, later, loop) &&
           tree_span_contains(flow->postdominated[flow_node(flow, later, loop)],
                              flow->postdominated[flow_node(flow, block, loop)]);
}
