/*
 * Dominance, post-dominance and loops of lower_flow.c against their definitions, evaluated by brute
 * force on small random control flow graphs. A failure prints the seed of the graph.
 */
#include "engine/lower_flow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define GRAPHS 4000u
#define BLOCKS 12u

static uint32_t random_state;

static uint32_t random_below(uint32_t bound)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 16) % bound;
}

/* A set of blocks, by flow number, as bits. */
typedef uint32_t block_set;

struct graph {
    LLVMContextRef context;
    LLVMModuleRef module;
    LLVMValueRef function;
    struct flow flow;
    block_set successors[BLOCKS];
    block_set returns, traps; /* blocks that end so; traps: or all of whose ways do */
};

static void graph_end_block(struct graph *g, LLVMBuilderRef builder,
                            const LLVMBasicBlockRef *blocks)
{
    switch (random_below(8)) {
    case 0: LLVMBuildRetVoid(builder); return;
    case 1: {
        LLVMTypeRef i8 = LLVMInt8TypeInContext(g->context);
        unsigned id = LLVMLookupIntrinsicID("llvm.ubsantrap", 14);
        LLVMValueRef trap = LLVMGetIntrinsicDeclaration(g->module, id, NULL, 0);
        LLVMValueRef kind = LLVMConstInt(i8, 1, false);
        LLVMBuildCall2(builder, LLVMIntrinsicGetType(g->context, id, NULL, 0), trap, &kind, 1, "");
        LLVMBuildUnreachable(builder);
        return;
    }
    case 2:
    case 3: LLVMBuildBr(builder, blocks[1 + random_below(BLOCKS - 1)]); return;
    default:
        LLVMBuildCondBr(builder, LLVMGetParam(g->function, 0), blocks[1 + random_below(BLOCKS - 1)],
                        blocks[1 + random_below(BLOCKS - 1)]);
    }
}

static void graph_create(struct graph *g, uint32_t seed)
{
    *g = (struct graph){.context = LLVMContextCreate()};
    random_state = seed;
    g->module = LLVMModuleCreateWithNameInContext("graph", g->context);
    LLVMTypeRef condition = LLVMInt1TypeInContext(g->context);
    LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(g->context), &condition, 1, false);
    g->function = LLVMAddFunction(g->module, "f", type);
    LLVMBasicBlockRef blocks[BLOCKS];
    for (uint32_t i = 0; i < BLOCKS; i++)
        blocks[i] = LLVMAppendBasicBlockInContext(g->context, g->function, "");
    LLVMBuilderRef builder = LLVMCreateBuilderInContext(g->context);
    for (uint32_t i = 0; i < BLOCKS; i++) {
        LLVMPositionBuilderAtEnd(builder, blocks[i]);
        graph_end_block(g, builder, blocks);
    }
    LLVMDisposeBuilder(builder);
    assert_true(flow_create(g->function, &g->flow));
    for (uint32_t n = 0; n < g->flow.block_count; n++) {
        LLVMValueRef last = LLVMGetBasicBlockTerminator(g->flow.blocks[n].block);
        for (unsigned i = 0; i < LLVMGetNumSuccessors(last); i++)
            g->successors[n] |= 1u << flow_block_number(&g->flow, LLVMGetSuccessor(last, i));
        if (LLVMGetInstructionOpcode(last) == LLVMRet)
            g->returns |= 1u << n;
        if (LLVMGetInstructionOpcode(last) == LLVMUnreachable)
            g->traps |= 1u << n;
    }
    block_set before;
    do {
        before = g->traps;
        for (uint32_t n = 0; n < g->flow.block_count; n++) {
            if (g->successors[n] != 0 && (g->successors[n] & ~g->traps) == 0)
                g->traps |= 1u << n;
        }
    } while (g->traps != before);
}

static void graph_destroy(struct graph *g)
{
    flow_destroy(&g->flow);
    LLVMDisposeModule(g->module);
    LLVMContextDispose(g->context);
}

/* What `from` reaches without entering a block of `without`; includes `from`. */
static block_set graph_reach(const struct graph *g, uint32_t from, block_set without)
{
    block_set reached = 1u << from, before;
    do {
        before = reached;
        for (uint32_t n = 0; n < g->flow.block_count; n++) {
            if (reached >> n & 1)
                reached |= g->successors[n] & ~without;
        }
    } while (reached != before);
    return reached;
}

static bool graph_dominates(const struct graph *g, uint32_t above, uint32_t n)
{
    return above == n || above == 0 || !(graph_reach(g, 0, 1u << above) >> n & 1);
}

static bool graph_can_return(const struct graph *g, uint32_t n)
{
    return (graph_reach(g, n, 0) & g->returns) != 0;
}

/* Every cycle that is left when edges to dominators are taken away is entered sideways. */
static bool graph_is_reducible(const struct graph *g)
{
    struct graph rest = *g;
    for (uint32_t n = 0; n < g->flow.block_count; n++) {
        for (uint32_t to = 0; to < g->flow.block_count; to++) {
            if ((g->successors[n] >> to & 1) && graph_dominates(g, to, n))
                rest.successors[n] &= ~(1u << to);
        }
    }
    for (uint32_t n = 0; n < g->flow.block_count; n++) {
        for (uint32_t to = 0; to < g->flow.block_count; to++) {
            if ((rest.successors[n] >> to & 1) && (graph_reach(&rest, to, 0) >> n & 1))
                return false;
        }
    }
    return true;
}

/* Whether every way from n to an exit passes `later`; exits are returns and blocks that never come
 * to one, except those that only trap. */
static bool graph_follows(const struct graph *g, uint32_t later, uint32_t n)
{
    if (later == n)
        return true;
    if (!graph_can_return(g, later) || !graph_can_return(g, n))
        return false;
    block_set reached = graph_reach(g, n, 1u << later);
    for (uint32_t m = 0; m < g->flow.block_count; m++) {
        if ((reached >> m & 1) && !(g->traps >> m & 1) &&
            (!graph_can_return(g, m) || (g->returns >> m & 1)))
            return false;
    }
    return true;
}

/* The blocks of the natural loops with this header; empty if it heads none. */
static block_set graph_loop(const struct graph *g, uint32_t header)
{
    block_set body = 0;
    for (uint32_t latch = 0; latch < g->flow.block_count; latch++) {
        if (!(g->successors[latch] >> header & 1) || !graph_dominates(g, header, latch))
            continue;
        body |= 1u << header;
        for (uint32_t n = 0; n < g->flow.block_count; n++) {
            if (n == latch || (graph_reach(g, n, 1u << header) >> latch & 1))
                body |= graph_dominates(g, header, n) ? 1u << n : 0;
        }
    }
    return body;
}

static void graph_check_loops(const struct graph *g, uint32_t seed)
{
    block_set headers = 0;
    for (uint32_t loop = 1; loop < g->flow.loop_count; loop++) {
        uint32_t header = g->flow.loops[loop].header, exits = 0;
        block_set body = graph_loop(g, header);
        headers |= 1u << header;
        for (uint32_t n = 0; n < g->flow.block_count; n++) {
            if (flow_in_loop(&g->flow, n, loop) != (body >> n & 1))
                fail_msg("seed %u: block %u and loop %u", seed, n, loop);
            if (body >> n & 1)
                exits += (uint32_t)__builtin_popcount(g->successors[n] & ~body & ~g->traps);
        }
        if (g->flow.loops[loop].exits != (exits > 2 ? 2 : exits))
            fail_msg("seed %u: exits of loop %u", seed, loop);
    }
    for (uint32_t n = 0; n < g->flow.block_count; n++) {
        if (!(headers >> n & 1) && graph_loop(g, n) != 0)
            fail_msg("seed %u: block %u heads a loop", seed, n);
    }
}

static void control_flow_facts_agree_with_their_definitions(void **state)
{
    (void)state;
    unsigned reducible = 0, looping = 0;
    for (uint32_t seed = 1; seed <= GRAPHS; seed++) {
        struct graph g;
        graph_create(&g, seed);
        bool is_reducible = graph_is_reducible(&g);
        reducible += is_reducible;
        for (uint32_t a = 0; a < g.flow.block_count; a++) {
            for (uint32_t b = 0; b < g.flow.block_count; b++) {
                if (flow_dominates(&g.flow, a, b) != graph_dominates(&g, a, b))
                    fail_msg("seed %u: %u dominates %u", seed, a, b);
                bool follows = is_reducible ? graph_follows(&g, a, b) : a == b;
                if (flow_follows(&g.flow, a, b) != follows)
                    fail_msg("seed %u: %u follows %u", seed, a, b);
            }
        }
        if (is_reducible) {
            looping += g.flow.loop_count > 2;
            graph_check_loops(&g, seed);
        }
        graph_destroy(&g);
    }
    /* The graphs were worth looking at. */
    assert_true(reducible > GRAPHS / 4 && reducible < GRAPHS);
    assert_true(looping > GRAPHS / 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(control_flow_facts_agree_with_their_definitions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
