/*
 * Dominators, post-dominators and natural loops; see lower_flow.h for what they promise.
 *
 * Dominators: Lengauer and Tarjan, "A fast algorithm for finding dominators in a flowgraph" (1979),
 * the simple version with path compression. Loops: backward floods from the latches, inner loops
 * first, with union-find so that each block is walked once (Tarjan, "Testing flow graph
 * reducibility", 1974). No recursion: depth is the input's to choose.
 */
#include "engine/lower_flow.h"

#include <stdlib.h>
#include <string.h>

/* ---- pointers to numbers ---- */

static uint32_t pointer_map_slot(const struct pointer_map *map, const void *key)
{
    uint64_t hash = ((uint64_t)(uintptr_t)key >> 4) * 0x9e3779b97f4a7c15u;
    uint32_t slot = (uint32_t)(hash >> 32) & (map->capacity - 1);
    while (map->keys[slot] && map->keys[slot] != key)
        slot = (slot + 1) & (map->capacity - 1);
    return slot;
}

static bool pointer_map_grow(struct pointer_map *map)
{
    struct pointer_map bigger = {.capacity = map->capacity ? map->capacity * 2 : 64};
    bigger.keys = calloc(bigger.capacity, sizeof *bigger.keys);
    bigger.values = calloc(bigger.capacity, sizeof *bigger.values);
    if (!bigger.keys || !bigger.values) {
        pointer_map_free(&bigger);
        return false;
    }
    for (uint32_t i = 0; i < map->capacity; i++) {
        if (!map->keys[i])
            continue;
        uint32_t slot = pointer_map_slot(&bigger, map->keys[i]);
        bigger.keys[slot] = map->keys[i];
        bigger.values[slot] = map->values[i];
    }
    bigger.count = map->count;
    pointer_map_free(map);
    *map = bigger;
    return true;
}

bool pointer_map_put(struct pointer_map *map, const void *key, uint32_t value)
{
    if (map->count >= map->capacity / 2 && !pointer_map_grow(map))
        return false;
    uint32_t slot = pointer_map_slot(map, key);
    map->keys[slot] = key;
    map->values[slot] = value;
    map->count++;
    return true;
}

uint32_t pointer_map_get(const struct pointer_map *map, const void *key)
{
    if (!map->capacity)
        return FLOW_NONE;
    uint32_t slot = pointer_map_slot(map, key);
    return map->keys[slot] ? map->values[slot] : FLOW_NONE;
}

void pointer_map_free(struct pointer_map *map)
{
    free(map->keys);
    free(map->values);
    *map = (struct pointer_map){0};
}

/* ---- graphs ---- */

struct edge {
    uint32_t from, to;
};

struct edge_list {
    struct edge *edges;
    uint32_t count, capacity;
};

static bool edge_list_add(struct edge_list *list, uint32_t from, uint32_t to)
{
    if (list->count == list->capacity) {
        uint32_t capacity = list->capacity ? list->capacity * 2 : 64;
        struct edge *edges = realloc(list->edges, capacity * sizeof *edges);
        if (!edges)
            return false;
        list->edges = edges;
        list->capacity = capacity;
    }
    list->edges[list->count++] = (struct edge){from, to};
    return true;
}

/* The targets of node n are targets[offsets[n]] up to targets[offsets[n + 1]]. */
struct graph {
    uint32_t node_count, *offsets, *targets;
};

static bool graph_create(const struct edge_list *list, uint32_t node_count, bool reverse,
                         struct graph *out)
{
    out->node_count = node_count;
    out->offsets = calloc((size_t)node_count + 2, sizeof *out->offsets);
    out->targets = malloc(((size_t)list->count + 1) * sizeof *out->targets);
    if (!out->offsets || !out->targets)
        return false;
    /* Counted two places up, so that offsets[n + 1] is where n's targets start, and, after they
     * have been put in, where they end. */
    for (uint32_t i = 0; i < list->count; i++)
        out->offsets[(reverse ? list->edges[i].to : list->edges[i].from) + 2]++;
    for (uint32_t n = 0; n <= node_count; n++)
        out->offsets[n + 1] += out->offsets[n];
    for (uint32_t i = 0; i < list->count; i++) {
        struct edge e = list->edges[i];
        uint32_t from = reverse ? e.to : e.from;
        out->targets[out->offsets[from + 1]++] = reverse ? e.from : e.to;
    }
    return true;
}

static void graph_destroy(struct graph *graph)
{
    free(graph->offsets);
    free(graph->targets);
    *graph = (struct graph){0};
}

/* ---- dominator trees ---- */

/* Working state; all arrays but number are indexed by depth-first number. */
struct dominators {
    const struct graph *successors, *predecessors;
    uint32_t count;   /* nodes reached */
    uint32_t *number; /* per node, FLOW_NONE when not reached */
    uint32_t *node, *parent, *semi, *idom, *ancestor, *best, *bucket, *bucket_next, *stack;
    uint32_t *storage;
};

static bool dominators_allocate(struct dominators *d)
{
    size_t n = d->successors->node_count;
    d->storage = malloc(10 * n * sizeof *d->storage);
    if (!d->storage)
        return false;
    memset(d->storage, 0xff, 10 * n * sizeof *d->storage);
    uint32_t **arrays[10] = {&d->number,   &d->node, &d->parent, &d->semi,        &d->idom,
                             &d->ancestor, &d->best, &d->bucket, &d->bucket_next, &d->stack};
    for (size_t i = 0; i < 10; i++)
        *arrays[i] = d->storage + i * n;
    return true;
}

static void dominators_visit(struct dominators *d, uint32_t node, uint32_t parent)
{
    uint32_t number = d->count++;
    d->number[node] = number;
    d->node[number] = node;
    d->parent[number] = parent;
    d->semi[number] = number;
    d->best[number] = number;
}

static void dominators_number(struct dominators *d, uint32_t root)
{
    /* idom is not needed yet: it holds each node's cursor into its successors. */
    uint32_t *cursor = d->idom, depth = 0;
    dominators_visit(d, root, FLOW_NONE);
    cursor[0] = d->successors->offsets[root];
    d->stack[depth++] = 0;
    while (depth) {
        uint32_t top = d->stack[depth - 1];
        if (cursor[top] == d->successors->offsets[d->node[top] + 1]) {
            depth--;
            continue;
        }
        uint32_t next = d->successors->targets[cursor[top]++];
        if (d->number[next] != FLOW_NONE)
            continue;
        dominators_visit(d, next, top);
        uint32_t number = d->count - 1;
        cursor[number] = d->successors->offsets[next];
        d->stack[depth++] = number;
    }
}

/* The node with the least semidominator on v's path to the root of its tree of the link forest. */
static uint32_t dominators_evaluate(struct dominators *d, uint32_t v)
{
    if (d->ancestor[v] == FLOW_NONE)
        return v;
    uint32_t depth = 0;
    for (uint32_t u = v; d->ancestor[d->ancestor[u]] != FLOW_NONE; u = d->ancestor[u])
        d->stack[depth++] = u;
    while (depth) {
        uint32_t u = d->stack[--depth], above = d->ancestor[u];
        if (d->semi[d->best[above]] < d->semi[d->best[u]])
            d->best[u] = d->best[above];
        d->ancestor[u] = d->ancestor[above];
    }
    return d->best[v];
}

static void dominators_solve(struct dominators *d)
{
    for (uint32_t w = d->count - 1; w > 0; w--) {
        const struct graph *in = d->predecessors;
        uint32_t node = d->node[w];
        for (uint32_t i = in->offsets[node]; i < in->offsets[node + 1]; i++) {
            uint32_t v = d->number[in->targets[i]];
            if (v == FLOW_NONE)
                continue;
            uint32_t u = dominators_evaluate(d, v);
            if (d->semi[u] < d->semi[w])
                d->semi[w] = d->semi[u];
        }
        uint32_t parent = d->parent[w];
        d->bucket_next[w] = d->bucket[d->semi[w]];
        d->bucket[d->semi[w]] = w;
        d->ancestor[w] = parent;
        for (uint32_t v = d->bucket[parent]; v != FLOW_NONE; v = d->bucket_next[v]) {
            uint32_t u = dominators_evaluate(d, v);
            d->idom[v] = d->semi[u] < d->semi[v] ? u : parent;
        }
        d->bucket[parent] = FLOW_NONE;
    }
    for (uint32_t w = 1; w < d->count; w++) {
        if (d->idom[w] != d->semi[w])
            d->idom[w] = d->idom[d->idom[w]];
    }
}

/* Numbers a tree so that subtrees are spans. Parents come before their children; node 0 is the
 * root, and parent[0] is not looked at. */
static bool tree_spans(const uint32_t *parent, uint32_t count, struct flow_span *spans)
{
    uint32_t *next = malloc(((size_t)count + 1) * sizeof *next);
    if (!next)
        return false;
    for (uint32_t i = 0; i < count; i++)
        spans[i] = (struct flow_span){0, 1};
    for (uint32_t i = count; i-- > 1;)
        spans[parent[i]].count += spans[i].count;
    next[0] = 1;
    for (uint32_t i = 1; i < count; i++) {
        spans[i].first = next[parent[i]];
        next[parent[i]] += spans[i].count;
        next[i] = spans[i].first + 1;
    }
    free(next);
    return true;
}

/* Fills one span per node; nodes that the root does not reach get an empty one. */
static bool dominators_compute(const struct graph *successors, const struct graph *predecessors,
                               uint32_t root, struct flow_span *spans)
{
    struct dominators d = {.successors = successors, .predecessors = predecessors};
    bool done = false;
    struct flow_span *numbered = NULL;
    if (!dominators_allocate(&d))
        goto end;
    dominators_number(&d, root);
    dominators_solve(&d);
    numbered = malloc(d.count * sizeof *numbered);
    if (!numbered || !tree_spans(d.idom, d.count, numbered))
        goto end;
    for (uint32_t n = 0; n < successors->node_count; n++)
        spans[n] = d.number[n] == FLOW_NONE ? (struct flow_span){0} : numbered[d.number[n]];
    done = true;
end:
    free(numbered);
    free(d.storage);
    return done;
}

/* ---- the blocks of a function ---- */

struct builder {
    struct flow *flow;
    struct edge_list edges, exits; /* exits: reversed edges for post-dominance */
    struct graph successors, predecessors;
    uint32_t *subtree;  /* per block: blocks of its depth-first subtree */
    uint32_t *queue;    /* room for every edge */
    uint32_t *union_of; /* per block, then per loop: towards its representative */
    uint32_t *loop_led; /* per block: the loop it heads */
    struct flow_span *spans;
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

/* Counts up to two exits per loop. A loop that has two is skipped from then on, so that an edge out
 * of a deep nest does not climb it each time. */
static void builder_count_exits(struct builder *b)
{
    struct flow *flow = b->flow;
    uint32_t *unsettled = b->union_of;
    for (uint32_t i = 0; i < flow->loop_count; i++)
        unsettled[i] = i;
    for (uint32_t i = 0; i < b->edges.count; i++) {
        struct edge e = b->edges.edges[i];
        if (flow->blocks[e.to].only_traps)
            continue;
        uint32_t loop = union_find(unsettled, flow->blocks[e.from].loop);
        while (!flow_in_loop(flow, e.to, loop)) {
            struct flow_loop *l = &flow->loops[loop];
            l->exit_from = e.from;
            l->exit_to = e.to;
            if (++l->exits == 2)
                unsettled[loop] = l->parent;
            loop = union_find(unsettled, l->parent);
        }
    }
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
    for (uint32_t i = 0; i < flow->loop_count; i++)
        parents[i] = flow->loops[i].parent;
    if (!tree_spans(parents, flow->loop_count, b->spans))
        return false;
    for (uint32_t i = 0; i < flow->loop_count; i++)
        flow->loops[i].span = b->spans[i];
    builder_count_exits(b);
    return true;
}

/* ---- post-dominance ---- */

/* The reversed graph over the blocks that return, with one more node as the exit. */
static bool builder_reverse(struct builder *b, uint32_t exit)
{
    const struct flow_block *blocks = b->flow->blocks;
    for (uint32_t i = 0; i < b->edges.count; i++) {
        struct edge e = b->edges.edges[i];
        if (!blocks[e.from].returns || blocks[e.to].only_traps)
            continue;
        uint32_t to = blocks[e.to].returns ? e.to : exit;
        if (!edge_list_add(&b->exits, to, e.from))
            return false;
    }
    for (uint32_t n = 0; n < b->flow->block_count; n++) {
        LLVMValueRef last = LLVMGetBasicBlockTerminator(blocks[n].block);
        if (LLVMGetInstructionOpcode(last) == LLVMRet && !edge_list_add(&b->exits, exit, n))
            return false;
    }
    return true;
}

static bool builder_find_postdominators(struct builder *b)
{
    uint32_t exit = b->flow->block_count;
    struct graph forward = {0}, backward = {0};
    bool done = builder_reverse(b, exit) && graph_create(&b->exits, exit + 1, false, &forward) &&
                graph_create(&b->exits, exit + 1, true, &backward) &&
                dominators_compute(&forward, &backward, exit, b->spans);
    for (uint32_t n = 0; done && n < exit; n++)
        b->flow->blocks[n].postdominated = b->spans[n];
    graph_destroy(&forward);
    graph_destroy(&backward);
    return done;
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
    if (!dominators_compute(&b->successors, &b->predecessors, 0, b->spans))
        return false;
    for (uint32_t n = 0; n < flow->block_count; n++)
        flow->blocks[n].dominated = b->spans[n];

    if (!builder_is_reducible(b)) {
        flow->loops = calloc(1, sizeof *flow->loops);
        flow->loop_count = 1;
        if (flow->loops)
            flow->loops[0] = (struct flow_loop){.header = FLOW_NONE, .span = {0, 1}};
        return flow->loops != NULL;
    }
    return builder_find_loops(b) && builder_find_postdominators(b);
}

bool flow_create(LLVMValueRef function, struct flow *out)
{
    *out = (struct flow){0};
    struct builder b = {.flow = out};
    bool done = builder_run(&b, function);
    free(b.edges.edges);
    free(b.exits.edges);
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
    pointer_map_free(&flow->numbers);
    *flow = (struct flow){0};
}
