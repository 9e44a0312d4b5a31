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

struct sample {
    LLVMContextRef context;
    LLVMModuleRef module;
    LLVMValueRef function;
    struct flow flow;
    block_set successors[BLOCKS];
    block_set returns, traps; /* blocks that end so; traps: or all of whose ways do */
};

static void sample_end_block(struct sample *g, LLVMBuilderRef builder,
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

static void sample_create(struct sample *g, uint32_t seed)
{
    *g = (struct sample){.context = LLVMContextCreate()};
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
        sample_end_block(g, builder, blocks);
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

static void sample_destroy(struct sample *g)
{
    flow_destroy(&g->flow);
    LLVMDisposeModule(g->module);
    LLVMContextDispose(g->context);
}

/* What `from` reaches without entering a block of `without`; includes `from`. */
static block_set sample_reach(const struct sample *g, uint32_t from, block_set without)
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

static bool sample_dominates(const struct sample *g, uint32_t above, uint32_t n)
{
    return above == n || above == 0 || !(sample_reach(g, 0, 1u << above) >> n & 1);
}

static bool sample_can_return(const struct sample *g, uint32_t n)
{
    return (sample_reach(g, n, 0) & g->returns) != 0;
}

/* Every cycle that is left when edges to dominators are taken away is entered sideways. */
static bool sample_is_reducible(const struct sample *g)
{
    struct sample rest = *g;
    for (uint32_t n = 0; n < g->flow.block_count; n++) {
        for (uint32_t to = 0; to < g->flow.block_count; to++) {
            if ((g->successors[n] >> to & 1) && sample_dominates(g, to, n))
                rest.successors[n] &= ~(1u << to);
        }
    }
    for (uint32_t n = 0; n < g->flow.block_count; n++) {
        for (uint32_t to = 0; to < g->flow.block_count; to++) {
            if ((rest.successors[n] >> to & 1) && (sample_reach(&rest, to, 0) >> n & 1))
                return false;
        }
    }
    return true;
}

/* The blocks of the natural loops with this header; empty if it heads none. */
static block_set sample_loop(const struct sample *g, uint32_t header)
{
    block_set body = 0;
    for (uint32_t latch = 0; latch < g->flow.block_count; latch++) {
        if (!(g->successors[latch] >> header & 1) || !sample_dominates(g, header, latch))
            continue;
        body |= 1u << header;
        for (uint32_t n = 0; n < g->flow.block_count; n++) {
            if (n == latch || (sample_reach(g, n, 1u << header) >> latch & 1))
                body |= sample_dominates(g, header, n) ? 1u << n : 0;
        }
    }
    return body;
}

/* The natural loops around or at a block, innermost first, then everything. */
static uint32_t sample_nest(const struct sample *g, uint32_t n, block_set nest[static BLOCKS + 1])
{
    uint32_t count = 0;
    for (uint32_t header = 0; header < g->flow.block_count; header++) {
        block_set body = sample_loop(g, header);
        if (body >> n & 1)
            nest[count++] = body;
    }
    nest[count++] = ~(block_set)0;
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t k = i + 1; k < count; k++) {
            if (__builtin_popcount(nest[k]) < __builtin_popcount(nest[i])) {
                block_set other = nest[i];
                nest[i] = nest[k];
                nest[k] = other;
            }
        }
    }
    return count;
}

static bool sample_leaves(const struct sample *g, block_set body, uint32_t header, uint32_t from)
{
    if (g->returns >> from & 1)
        return true;
    for (uint32_t to = 0; to < g->flow.block_count; to++) {
        if (!(g->successors[from] >> to & 1) || (g->traps >> to & 1))
            continue;
        if (!(body >> to & 1) || to == header || !sample_can_return(g, to))
            return true;
    }
    return false;
}

/* Whether control in one of `starts` must enter `target` before it leaves body or comes back to its
 * header. */
static bool sample_must_enter(const struct sample *g, block_set body, uint32_t header,
                              block_set starts, block_set target)
{
    block_set reached = starts & ~target, before;
    do {
        before = reached;
        for (uint32_t n = 0; n < g->flow.block_count; n++) {
            if (reached >> n & 1)
                reached |= g->successors[n] & body & ~target & ~g->traps &
                           ~(header < BLOCKS ? 1u << header : 0);
        }
    } while (reached != before);
    for (uint32_t n = 0; n < g->flow.block_count; n++) {
        if ((reached >> n & 1) && sample_leaves(g, body, header, n))
            return false;
    }
    return true;
}

static uint32_t sample_header(const struct sample *g, block_set body)
{
    for (uint32_t n = 0; n < g->flow.block_count; n++) {
        if (body == sample_loop(g, n))
            return n;
    }
    return FLOW_NONE;
}

/* The definition of flow_follows: in the innermost loop around both, and then, from its header on,
 * in each loop between that one and `later`. */
static bool sample_follows(const struct sample *g, uint32_t later, uint32_t n)
{
    if (later == n)
        return true;
    if (!sample_can_return(g, later) || !sample_can_return(g, n))
        return false;
    block_set inner[BLOCKS + 1], around[BLOCKS + 1], target = 1u << later, starts = 1u << n;
    sample_nest(g, later, inner);
    sample_nest(g, n, around);
    uint32_t i = 0, k = 0;
    for (; !(inner[i] >> n & 1); i++) {
        uint32_t header = sample_header(g, inner[i]);
        if (target != 1u << header && !sample_must_enter(g, inner[i], header, 1u << header, target))
            return false;
        target = inner[i];
    }
    for (; around[k] != inner[i]; k++)
        starts = around[k];
    return sample_must_enter(g, inner[i], sample_header(g, inner[i]), starts, target);
}

static void sample_check_loops(const struct sample *g, uint32_t seed)
{
    block_set headers = 0;
    for (uint32_t loop = 1; loop < g->flow.loop_count; loop++) {
        uint32_t header = g->flow.loops[loop].header, exits = 0;
        block_set body = sample_loop(g, header);
        headers |= 1u << header;
        for (uint32_t n = 0; n < g->flow.block_count; n++) {
            if (flow_in_loop(&g->flow, n, loop) != (body >> n & 1))
                fail_msg("seed %u: block %u and loop %u", seed, n, loop);
            if (body >> n & 1)
                exits += (uint32_t)__builtin_popcount(g->successors[n] & ~body & ~g->traps);
        }
        if (sample_can_return(g, header) && g->flow.loops[loop].exits != (exits > 2 ? 2 : exits))
            fail_msg("seed %u: exits of loop %u", seed, loop);
    }
    for (uint32_t n = 0; n < g->flow.block_count; n++) {
        if (!(headers >> n & 1) && sample_loop(g, n) != 0)
            fail_msg("seed %u: block %u heads a loop", seed, n);
    }
}

static void control_flow_facts_agree_with_their_definitions(void **state)
{
    (void)state;
    unsigned reducible = 0, looping = 0;
    for (uint32_t seed = 1; seed <= GRAPHS; seed++) {
        struct sample g;
        sample_create(&g, seed);
        bool is_reducible = sample_is_reducible(&g);
        reducible += is_reducible;
        for (uint32_t a = 0; a < g.flow.block_count; a++) {
            for (uint32_t b = 0; b < g.flow.block_count; b++) {
                if (flow_dominates(&g.flow, a, b) != sample_dominates(&g, a, b))
                    fail_msg("seed %u: %u dominates %u", seed, a, b);
                bool follows = is_reducible ? sample_follows(&g, a, b) : a == b;
                if (flow_follows(&g.flow, a, b) != follows)
                    fail_msg("seed %u: %u follows %u", seed, a, b);
            }
        }
        if (is_reducible) {
            looping += g.flow.loop_count > 2;
            sample_check_loops(&g, seed);
        }
        sample_destroy(&g);
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
