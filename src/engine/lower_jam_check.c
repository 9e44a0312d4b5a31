/*
 * The proof, partly at compile time and partly before each group of rounds, that rounds of an
 * outer loop may run side by side: block by block, and in an inner loop turn by turn, all rounds'
 * copies before the next. Each copy keeps its own order. So only pairs of accesses in different
 * rounds count, at least one of them a store, and a pair is harmless when
 *
 *   same      both always touch one place at the same time, and their order is kept;
 *   apart     over all rounds, what one touches ends before what the other touches begins;
 *   rows      what both touch in one round is no longer than the outer stride, so that rounds do
 *             not meet:                         |··0··|··1··|··2··|
 *   together  both step by one inner stride, the rounds lie side by side within it, and both begin
 *             in the same place modulo it:      012·····012·····012
 *   beside    both step by one inner stride, and the rounds of one lie beside those of the other:
 *                                               012·abc·012·abc·012
 *
 * Accesses that are apart or beside never meet, not even in one round.
 * Addresses are sums modulo 2^32. Checked along is that none wraps within the group, so that from
 * there on they are sums without modulus, in 64 bits.
 */
#include "engine/lower_jam_check.h"

#include <stdlib.h>

#define PAIRS_MAX   96u
#define TURNS_LEAST 4u /* fewer turns of an inner loop are not worth the checks */

enum relation {
    RELATION_SAFE,
    RELATION_NEVER,
    RELATION_APART, /* must be apart or beside */
    RELATION_ANY,   /* any of the four at run time */
};

/* ---- at compile time ---- */

bool access_same_place(const struct nest_access *a, const struct nest_access *b)
{
    return a->size == b->size && a->offset == b->offset &&
           a->address.sum.constant == b->address.sum.constant &&
           linear_is_parallel(&a->address, &b->address);
}

/* Whether rounds lie side by side within an inner stride. */
static bool strides_interleave(const struct jam_plan *plan, int32_t inner, int32_t outer,
                               uint32_t size)
{
    return magnitude(outer) >= size &&
           magnitude(inner) >= (uint64_t)(plan->rounds - 1) * magnitude(outer) + size;
}

static enum relation relation_of_same(const struct jam_plan *plan, const struct nest_access *a,
                                      const struct nest_access *b)
{
    bool loop = plan->nest->blocks[a->block].loop;
    if (a->outer == 0) {
        if (a->block != b->block)
            return RELATION_NEVER;
        return !loop || magnitude(a->inner) >= a->size ? RELATION_SAFE : RELATION_NEVER;
    }
    if (magnitude(a->outer) < a->size)
        return RELATION_NEVER;
    if (a->inner == 0 || strides_interleave(plan, a->inner, a->outer, a->size))
        return RELATION_SAFE;
    return RELATION_ANY;
}

static enum relation relation_of(const struct jam_plan *plan, uint32_t first, uint32_t second)
{
    const struct nest_access *a = &plan->nest->accesses[first];
    const struct nest_access *b = &plan->nest->accesses[second];
    if (!a->store && !b->store)
        return RELATION_SAFE;
    if (access_same_place(a, b))
        return relation_of_same(plan, a, b);
    bool private = plan->kinds[first] != JAM_PLAIN || plan->kinds[second] != JAM_PLAIN;
    if (private && a->block == b->block)
        return RELATION_APART;
    return a->outer == b->outer && a->outer != 0 ? RELATION_ANY : RELATION_APART;
}

/* A store to a place of its own in the block, but for loads of the same place when `loads`. */
static bool access_is_alone(const struct nest *nest, uint32_t access, bool loads)
{
    const struct nest_access *a = &nest->accesses[access];
    for (uint32_t i = 0; i < nest->access_count; i++) {
        const struct nest_access *b = &nest->accesses[i];
        if (i != access && a->block == b->block && access_same_place(a, b) && (b->store || !loads))
            return false;
    }
    return true;
}

static enum jam_kind access_kind(const struct nest *nest, uint32_t access)
{
    const struct nest_access *a = &nest->accesses[access];
    bool loop = nest->blocks[a->block].loop;
    if (a->store && loop && a->inner == 0 && access_is_alone(nest, access, false))
        return JAM_DELAYED;
    if (a->store && loop && a->outer == 0 && access_is_alone(nest, access, true))
        return JAM_LAST;
    return JAM_PLAIN;
}

bool jam_plan(const struct nest *nest, uint32_t rounds, struct jam_plan *out)
{
    *out = (struct jam_plan){.nest = nest, .rounds = rounds};
    uint32_t pairs = 0;
    for (uint32_t i = 0; i < nest->access_count; i++)
        out->kinds[i] = access_kind(nest, i);
    for (uint32_t i = 0; i < nest->access_count; i++)
        for (uint32_t k = i; k < nest->access_count; k++) {
            enum relation relation = relation_of(out, i, k);
            pairs += relation != RELATION_SAFE;
            if (relation == RELATION_NEVER || pairs > PAIRS_MAX)
                return false;
        }
    return true;
}

/* ---- code: sums ---- */

struct emitter {
    const struct jam_plan *plan;
    LLVMBuilderRef builder;
    LLVMTypeRef i32, i64;
    LLVMValueRef fine;               /* all checks so far, or NULL */
    LLVMValueRef turns[NEST_BLOCKS]; /* of a loop: how often it goes back, i64 */
    struct range {
        LLVMValueRef start;           /* of the first access of all, i64 */
        LLVMValueRef low, high;       /* of one round: [low, high) */
        LLVMValueRef lowest, highest; /* of all rounds */
    } ranges[NEST_ACCESSES];
};

static struct emitter emitter_begin(const struct jam_plan *plan, LLVMBuilderRef builder)
{
    LLVMContextRef context = LLVMGetTypeContext(LLVMTypeOf(plan->nest->base));
    return (struct emitter){.plan = plan,
                            .builder = builder,
                            .i32 = LLVMInt32TypeInContext(context),
                            .i64 = LLVMInt64TypeInContext(context)};
}

static LLVMValueRef emit_number(struct emitter *e, int64_t value)
{
    return LLVMConstInt(e->i64, (uint64_t)value, true);
}

/* The sum in the inner loop's first turn, i32. */
static LLVMValueRef emit_linear(struct emitter *e, const struct linear *linear)
{
    const struct sum *sum = &linear->sum;
    LLVMValueRef value = LLVMConstInt(e->i32, sum->constant, false);
    for (uint32_t i = 0; i < sum->count; i++) {
        LLVMValueRef factor = LLVMConstInt(e->i32, sum->terms[i].factor, false);
        LLVMValueRef term = LLVMBuildMul(e->builder, sum->terms[i].value, factor, "");
        value = LLVMBuildAdd(e->builder, term, value, "");
    }
    return value;
}

static LLVMValueRef emit_plus(struct emitter *e, LLVMValueRef value, int64_t constant)
{
    return constant ? LLVMBuildAdd(e->builder, value, emit_number(e, constant), "") : value;
}

static void emit_demand(struct emitter *e, LLVMValueRef condition)
{
    e->fine = e->fine ? LLVMBuildAnd(e->builder, e->fine, condition, "") : condition;
}

static void emit_demand_compare(struct emitter *e, LLVMIntPredicate predicate, LLVMValueRef left,
                                LLVMValueRef right)
{
    emit_demand(e, LLVMBuildICmp(e->builder, predicate, left, right, ""));
}

/* ---- code: how often ---- */

/* What a difference lacks to 0, in the direction in which it steps, i32. */
static LLVMValueRef emit_distance(struct emitter *e, const struct linear *difference, int32_t step)
{
    LLVMValueRef value = emit_linear(e, difference);
    return step > 0 ? LLVMBuildNeg(e->builder, value, "") : value;
}

LLVMValueRef jam_emit_rounds(const struct jam_plan *plan, LLVMBuilderRef builder)
{
    struct emitter e = emitter_begin(plan, builder);
    const struct linear *difference = &plan->nest->outer_exit.difference;
    int32_t step = (int32_t)nest_outer_step(plan->nest, difference);
    /* The loop ends after the first round whose difference is 0. That is none but the last of the
     * group when the distance is at least as many steps as lie between. */
    uint64_t between = (uint64_t)(plan->rounds - 1) * magnitude(step);
    if (between > UINT32_MAX)
        return LLVMConstInt(LLVMInt1TypeInContext(LLVMGetTypeContext(e.i32)), 0, false);
    return LLVMBuildICmp(builder, LLVMIntUGE, emit_distance(&e, difference, step),
                         LLVMConstInt(e.i32, between, false), "");
}

static void emit_turns(struct emitter *e, uint32_t block)
{
    const struct nest_exit *exit = &e->plan->nest->blocks[block].exit;
    int32_t step = (int32_t)exit->difference.step;
    LLVMValueRef distance = emit_distance(e, &exit->difference, step);
    LLVMValueRef by = LLVMConstInt(e->i32, magnitude(step), false);
    emit_demand_compare(e, LLVMIntEQ, LLVMBuildURem(e->builder, distance, by, ""),
                        LLVMConstInt(e->i32, 0, false));
    LLVMValueRef turns = LLVMBuildUDiv(e->builder, distance, by, "");
    emit_demand_compare(e, LLVMIntUGE, turns, LLVMConstInt(e->i32, TURNS_LEAST - 1, false));
    e->turns[block] = LLVMBuildZExt(e->builder, turns, e->i64, "");
}

/* ---- code: ranges ---- */

/* That the addresses of a group do not wrap. */
static void emit_no_wrap(struct emitter *e, const struct nest_access *a, const struct range *r)
{
    if (a->inner < 0 || a->outer < 0)
        emit_demand_compare(e, LLVMIntSGE, r->lowest, emit_number(e, 0));
    if (a->inner > 0 || a->outer > 0)
        emit_demand_compare(e, LLVMIntSLE, r->highest,
                            emit_number(e, (int64_t)UINT32_MAX + a->size));
}

static void emit_range(struct emitter *e, uint32_t access)
{
    const struct nest_access *a = &e->plan->nest->accesses[access];
    struct range *r = &e->ranges[access];
    for (uint32_t i = 0; i < access; i++)
        if (e->plan->nest->accesses[i].block == a->block &&
            access_same_place(&e->plan->nest->accesses[i], a)) {
            *r = e->ranges[i];
            return;
        }
    r->start = LLVMBuildZExt(e->builder, emit_linear(e, &a->address), e->i64, "");
    r->low = r->high = r->start;
    if (a->inner) {
        LLVMValueRef reach =
            LLVMBuildMul(e->builder, e->turns[a->block], emit_number(e, a->inner), "");
        LLVMValueRef *end = a->inner > 0 ? &r->high : &r->low;
        *end = LLVMBuildAdd(e->builder, *end, reach, "");
    }
    r->high = emit_plus(e, r->high, a->size);
    int64_t outer = (int64_t)a->outer * (e->plan->rounds - 1);
    r->lowest = emit_plus(e, r->low, outer < 0 ? outer : 0);
    r->highest = emit_plus(e, r->high, outer > 0 ? outer : 0);
    emit_no_wrap(e, a, r);
    r->start = emit_plus(e, r->start, a->offset);
    r->low = emit_plus(e, r->low, a->offset);
    r->high = emit_plus(e, r->high, a->offset);
    r->lowest = emit_plus(e, r->lowest, a->offset);
    r->highest = emit_plus(e, r->highest, a->offset);
}

static LLVMValueRef emit_apart(struct emitter *e, const struct range *a, const struct range *b)
{
    LLVMValueRef before = LLVMBuildICmp(e->builder, LLVMIntSLE, a->highest, b->lowest, "");
    LLVMValueRef after = LLVMBuildICmp(e->builder, LLVMIntSLE, b->highest, a->lowest, "");
    return LLVMBuildOr(e->builder, before, after, "");
}

static LLVMValueRef emit_extreme(struct emitter *e, LLVMIntPredicate predicate, LLVMValueRef a,
                                 LLVMValueRef b)
{
    LLVMValueRef first = LLVMBuildICmp(e->builder, predicate, a, b, "");
    return LLVMBuildSelect(e->builder, first, a, b, "");
}

static LLVMValueRef emit_rows(struct emitter *e, const struct range *a, const struct range *b,
                              int32_t outer)
{
    LLVMValueRef low = emit_extreme(e, LLVMIntSLT, a->low, b->low);
    LLVMValueRef high = emit_extreme(e, LLVMIntSGT, a->high, b->high);
    return LLVMBuildICmp(e->builder, LLVMIntSLE, LLVMBuildSub(e->builder, high, low, ""),
                         emit_number(e, magnitude(outer)), "");
}

/* How far the second access starts behind the first, modulo the inner stride that both have or one
 * has while the other stands still. NULL without such a stride. */
static LLVMValueRef emit_phase(struct emitter *e, uint32_t first, uint32_t second, uint32_t *stride)
{
    const struct nest_access *a = &e->plan->nest->accesses[first];
    const struct nest_access *b = &e->plan->nest->accesses[second];
    *stride = magnitude(a->inner ? a->inner : b->inner);
    if (*stride == 0 || *stride > INT32_MAX || (a->inner && magnitude(a->inner) != *stride) ||
        (b->inner && magnitude(b->inner) != *stride))
        return NULL;
    /* Made positive by a multiple of the stride beyond all distances. */
    uint64_t beyond = ((uint64_t)1 << 36) / *stride * *stride;
    LLVMValueRef distance =
        LLVMBuildSub(e->builder, e->ranges[second].start, e->ranges[first].start, "");
    return LLVMBuildURem(e->builder, emit_plus(e, distance, (int64_t)beyond),
                         emit_number(e, *stride), "");
}

static LLVMValueRef emit_or(struct emitter *e, LLVMValueRef a, LLVMValueRef b)
{
    return b ? LLVMBuildOr(e->builder, a, b, "") : a;
}

/* Rounds of both within the stride, one's beside the other's. NULL when there is no room. */
static LLVMValueRef emit_beside(struct emitter *e, LLVMValueRef phase, uint32_t stride,
                                int32_t outer, uint32_t size)
{
    int64_t width = (int64_t)(e->plan->rounds - 1) * magnitude(outer) + size;
    if (stride < 2 * width)
        return NULL;
    return LLVMBuildICmp(e->builder, LLVMIntULE, emit_plus(e, phase, -width),
                         emit_number(e, stride - 2 * width), "");
}

/* Rounds of both within the stride, in the same places. */
static LLVMValueRef emit_together(struct emitter *e, LLVMValueRef phase, uint32_t stride,
                                  int32_t outer, uint32_t size)
{
    if (!strides_interleave(e->plan, (int32_t)stride, outer, size))
        return NULL;
    return LLVMBuildICmp(e->builder, LLVMIntEQ, phase, emit_number(e, 0), "");
}

static void emit_pair(struct emitter *e, uint32_t first, uint32_t second)
{
    enum relation relation = relation_of(e->plan, first, second);
    if (relation == RELATION_SAFE)
        return;
    const struct range *a = &e->ranges[first], *b = &e->ranges[second];
    const struct nest_access *accesses = e->plan->nest->accesses;
    LLVMValueRef harmless = emit_apart(e, a, b), phase = NULL;
    int32_t outer = accesses[first].outer;
    uint32_t size = accesses[first].size, stride = 0;
    if (size < accesses[second].size)
        size = accesses[second].size;
    if (outer == accesses[second].outer)
        phase = emit_phase(e, first, second, &stride);
    if (phase)
        harmless = emit_or(e, harmless, emit_beside(e, phase, stride, outer, size));
    if (phase && relation == RELATION_ANY)
        harmless = emit_or(e, harmless, emit_together(e, phase, stride, outer, size));
    if (relation == RELATION_ANY)
        harmless = emit_or(e, harmless, emit_rows(e, a, b, outer));
    emit_demand(e, harmless);
}

LLVMValueRef jam_emit_check(const struct jam_plan *plan, LLVMBuilderRef builder)
{
    struct emitter e = emitter_begin(plan, builder);
    const struct nest *nest = plan->nest;
    for (uint32_t b = 0; b < nest->block_count; b++)
        if (nest->blocks[b].loop)
            emit_turns(&e, b);
    for (uint32_t i = 0; i < nest->access_count; i++)
        emit_range(&e, i);
    for (uint32_t i = 0; i < nest->access_count; i++)
        for (uint32_t k = i; k < nest->access_count; k++)
            emit_pair(&e, i, k);
    return e.fine;
}
