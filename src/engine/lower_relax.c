/*
 * Makes a linear-memory load plain when its value is certainly needed (mode "fast").
 *
 * A load may trap, but to LLVM a plain load cannot: it deletes one whose value nobody uses, or
 * moves it to the one path that does. Lowering therefore emits every load volatile, and this
 * analysis, run after the passes that clean up and inline, lifts that from the loads that no pass
 * can lose: those whose value reaches a root (a store, a branch, a call, the result, the address of
 * a load that stays volatile) on every way on from the load. Anything not proven stays volatile:
 * that costs speed, never a trap.
 *
 * A use in block U makes a value of block V needed if U is V or certainly follows V, and lies in
 * V's scope; so do several uses that meet every way on from V together. The scope is V's innermost
 * loop, because behind a loop only the last iteration's value is used. A value that belongs to a
 * recurrence (a sum, a minimum) carries every iteration's contribution out; its scope is the loop
 * around.
 *
 * Through pure operations and other loads need passes from result to operand; through a select only
 * to the condition, because it needs either value only now and then; into a phi only over an edge
 * certainly taken after V: its source's sole way on, a back edge, the sole way into a block that
 * certainly follows V, or the sole way out of V's loop.
 *
 * lower.c calls it once per function; it owns nothing afterwards.
 */
#include "engine/lower_relax.h"

#include "engine/lower_flow.h"
#include "engine/lower_instruction.h"

#include <assert.h>
#include <stdlib.h>

/* Scopes widen one loop per round. Recurrences through deeper nests than this stay volatile. */
#define SCOPE_ROUNDS_MAX 8

/* An instruction that a volatile load reaches through pure operations. */
struct value {
    LLVMValueRef instruction;
    uint32_t block;
    uint32_t scope; /* the loop in which uses count */
    uint32_t uses;  /* first of a list, FLOW_NONE at the end */
    uint32_t feeds; /* first of the list of uses by this value */
    bool load;      /* a volatile load */
    bool explored;  /* its uses have been listed */
    bool needed;
    bool anchored; /* a load that stays volatile */
};

/* A use of value `of`: by another value, or by a root. */
struct use {
    uint32_t of, by;  /* by: FLOW_NONE for a root */
    uint32_t block;   /* where it happens; for a phi the block the edge comes from */
    uint32_t edge_to; /* the phi's block, else FLOW_NONE */
    uint32_t next_of, next_by;
};

struct relaxation {
    struct flow flow;
    struct pointer_map numbers; /* instruction -> value */
    struct value *values;
    struct use *uses;
    uint32_t value_count, value_capacity, use_count, use_capacity;
    uint32_t *pending, pending_count, pending_capacity; /* values to be explored */
};

static bool grow(void **array, uint32_t *capacity, uint32_t count, size_t size)
{
    if (count < *capacity)
        return true;
    uint32_t bigger = *capacity ? *capacity * 2 : 256;
    void *moved = realloc(*array, bigger * size);
    if (!moved)
        return false;
    *array = moved;
    *capacity = bigger;
    return true;
}

/* ---- from the function to values and uses ---- */

static bool relaxation_value(struct relaxation *r, LLVMValueRef instruction, uint32_t block,
                             uint32_t *out)
{
    *out = pointer_map_get(&r->numbers, instruction);
    if (*out != FLOW_NONE)
        return true;
    if (!grow((void **)&r->values, &r->value_capacity, r->value_count, sizeof *r->values) ||
        !pointer_map_put(&r->numbers, instruction, r->value_count))
        return false;
    *out = r->value_count++;
    r->values[*out] = (struct value){
        .instruction = instruction,
        .block = block,
        .scope = r->flow.blocks[block].loop,
        .uses = FLOW_NONE,
        .feeds = FLOW_NONE,
    };
    return true;
}

static bool relaxation_explore_later(struct relaxation *r, uint32_t value)
{
    if (r->values[value].explored)
        return true;
    r->values[value].explored = true;
    if (!grow((void **)&r->pending, &r->pending_capacity, r->pending_count, sizeof *r->pending))
        return false;
    r->pending[r->pending_count++] = value;
    return true;
}

static bool relaxation_add_use(struct relaxation *r, struct use use)
{
    if (!grow((void **)&r->uses, &r->use_capacity, r->use_count, sizeof *r->uses))
        return false;
    use.next_of = r->values[use.of].uses;
    r->values[use.of].uses = r->use_count;
    if (use.by != FLOW_NONE) {
        use.next_by = r->values[use.by].feeds;
        r->values[use.by].feeds = r->use_count;
    }
    r->uses[r->use_count++] = use;
    return true;
}

enum use_kind {
    USE_IGNORED,
    USE_ROOT,
    USE_PURE, /* need passes from the result to the operand */
    USE_PHI,
};

static enum use_kind call_kind(LLVMValueRef call)
{
    LLVMValueRef callee = LLVMIsAFunction(LLVMGetCalledValue(call));
    return callee && LLVMGetIntrinsicID(callee) != 0 ? USE_PURE : USE_ROOT;
}

static enum use_kind use_classify(LLVMValueRef user, LLVMValueRef used)
{
    switch (LLVMGetInstructionOpcode(user)) {
    case LLVMStore:
    case LLVMAtomicRMW:
    case LLVMAtomicCmpXchg:
    case LLVMRet:
    case LLVMBr:
    case LLVMSwitch:
    case LLVMIndirectBr: return USE_ROOT;
    case LLVMCall: return call_kind(user);
    /* A load that nobody needs is deleted, unless it stays volatile: see relaxation_anchor. */
    case LLVMLoad: return USE_PURE;
    case LLVMSelect: return LLVMGetOperand(user, 0) == used ? USE_PURE : USE_IGNORED;
    case LLVMPHI: return USE_PHI;
    case LLVMUDiv:
    case LLVMSDiv:
    case LLVMURem:
    case LLVMSRem:
    case LLVMFRem:
    case LLVMFPToUI:
    case LLVMFPToSI:
    case LLVMPtrToInt:
    case LLVMIntToPtr:
    case LLVMAddrSpaceCast:
    case LLVMGetElementPtr:
    case LLVMExtractElement:
    case LLVMInsertElement:
    case LLVMShuffleVector:
    case LLVMExtractValue:
    case LLVMInsertValue:
    case LLVMFreeze: return USE_PURE;
    default: return opcode_is_arithmetic(LLVMGetInstructionOpcode(user)) ? USE_PURE : USE_IGNORED;
    }
}

/* Lists what flows into a phi, once, when it is first met. */
static bool relaxation_enter_phi(struct relaxation *r, LLVMValueRef phi, uint32_t block)
{
    if (pointer_map_get(&r->numbers, phi) != FLOW_NONE &&
        r->values[pointer_map_get(&r->numbers, phi)].explored)
        return true;
    uint32_t by;
    if (!relaxation_value(r, phi, block, &by) || !relaxation_explore_later(r, by))
        return false;
    uint32_t count = LLVMCountIncoming(phi);
    for (uint32_t i = 0; i < count; i++) {
        LLVMValueRef incoming = LLVMGetIncomingValue(phi, i);
        uint32_t source = flow_block_number(&r->flow, LLVMGetIncomingBlock(phi, i));
        if (!LLVMIsAInstruction(incoming) || source == FLOW_NONE)
            continue;
        uint32_t home = flow_block_number(&r->flow, LLVMGetInstructionParent(incoming)), of;
        if (home == FLOW_NONE)
            continue;
        if (!relaxation_value(r, incoming, home, &of) ||
            !relaxation_add_use(r, (struct use){of, by, source, block, FLOW_NONE, FLOW_NONE}))
            return false;
    }
    return true;
}

static bool relaxation_explore(struct relaxation *r, uint32_t of)
{
    LLVMValueRef used = r->values[of].instruction;
    for (LLVMUseRef u = LLVMGetFirstUse(used); u; u = LLVMGetNextUse(u)) {
        LLVMValueRef user = LLVMGetUser(u);
        uint32_t block = flow_block_number(&r->flow, LLVMGetInstructionParent(user));
        enum use_kind kind = use_classify(user, used);
        if (block == FLOW_NONE || kind == USE_IGNORED)
            continue;
        if (kind == USE_PHI) {
            if (!relaxation_enter_phi(r, user, block))
                return false;
            continue;
        }
        uint32_t by = FLOW_NONE;
        if (kind == USE_PURE &&
            (!relaxation_value(r, user, block, &by) || !relaxation_explore_later(r, by)))
            return false;
        if (!relaxation_add_use(r, (struct use){of, by, block, FLOW_NONE, FLOW_NONE, FLOW_NONE}))
            return false;
    }
    return true;
}

static bool is_volatile_load(LLVMValueRef instruction)
{
    return LLVMGetInstructionOpcode(instruction) == LLVMLoad && LLVMGetVolatile(instruction) &&
           LLVMGetOrdering(instruction) == LLVMAtomicOrderingNotAtomic;
}

static bool relaxation_gather(struct relaxation *r)
{
    for (uint32_t b = 0; b < r->flow.block_count; b++) {
        LLVMValueRef i = LLVMGetFirstInstruction(r->flow.blocks[b].block);
        for (; i; i = LLVMGetNextInstruction(i)) {
            uint32_t load;
            if (!is_volatile_load(i))
                continue;
            if (!relaxation_value(r, i, b, &load) || !relaxation_explore_later(r, load))
                return false;
            r->values[load].load = true;
        }
    }
    while (r->pending_count) {
        if (!relaxation_explore(r, r->pending[--r->pending_count]))
            return false;
    }
    return true;
}

/* ---- which uses count ---- */

static bool use_edge_is_certain(const struct flow *flow, const struct value *v,
                                const struct use *use)
{
    uint32_t from = use->block, to = use->edge_to;
    if (flow->blocks[to].sole_predecessor == from && flow_follows(flow, to, v->block))
        return true;
    const struct flow_loop *loop = &flow->loops[flow->blocks[v->block].loop];
    if (loop->exits == 1 && loop->exit_from == from && loop->exit_to == to)
        return true;
    if (!flow_follows(flow, from, v->block))
        return false;
    loop = &flow->loops[flow->blocks[from].loop];
    return flow->blocks[from].sole_successor == to || flow_dominates(flow, to, from) ||
           (loop->exits == 1 && loop->exit_from == from && loop->exit_to == to);
}

static bool use_counts(const struct relaxation *r, const struct use *use)
{
    const struct flow *flow = &r->flow;
    const struct value *v = &r->values[use->of];
    if (use->edge_to == FLOW_NONE)
        return flow_follows(flow, use->block, v->block) && flow_in_loop(flow, use->block, v->scope);
    return flow_in_loop(flow, use->edge_to, v->scope) && use_edge_is_certain(flow, v, use);
}

/* ---- uses that count together ---- */

/* Uses of one value on different ways: nodes of its scope's level, or edges there. */
#define SITES_MAX      16u
#define USES_LOOKED_AT 64u
#define NODES_WALKED   48u

struct sites {
    struct edge at[SITES_MAX]; /* to is FLOW_NONE for a node */
    uint32_t count, level;
};

static bool sites_have(const struct sites *sites, uint32_t from, uint32_t to)
{
    for (uint32_t i = 0; i < sites->count; i++) {
        if (sites->at[i].from == from && sites->at[i].to == to)
            return true;
    }
    return false;
}

/* The edge of a phi's operand in the level, if it is an edge there by itself. */
static bool use_edge_site(const struct flow *flow, const struct use *use, uint32_t level,
                          struct edge *out)
{
    if (!flow_in_loop(flow, use->block, level))
        return false;
    const struct flow_loop *inner = &flow->loops[flow->blocks[use->block].loop];
    out->from = flow_node(flow, use->block, level);
    if (out->from != use->block &&
        !(inner->exits == 1 && inner->exit_from == use->block && inner->exit_to == use->edge_to))
        return false;
    out->to = use->edge_to == flow->loops[level].header ? flow_exit(flow, level)
                                                        : flow_node(flow, use->edge_to, level);
    return true;
}

static void sites_gather(const struct relaxation *r, const struct value *v, struct sites *sites)
{
    const struct flow *flow = &r->flow;
    uint32_t looked_at = 0;
    for (uint32_t u = v->uses; u != FLOW_NONE; u = r->uses[u].next_of) {
        const struct use *use = &r->uses[u];
        uint32_t place = use->edge_to == FLOW_NONE ? use->block : use->edge_to;
        if (looked_at++ == USES_LOOKED_AT || sites->count == SITES_MAX)
            return;
        if (use->by != FLOW_NONE && !r->values[use->by].needed && !r->values[use->by].anchored)
            continue;
        if (!flow_in_loop(flow, place, sites->level))
            continue;
        struct edge site = {flow_node(flow, place, sites->level), FLOW_NONE};
        if (use->edge_to == FLOW_NONE ? flow_runs_on_entry(flow, place, sites->level)
                                      : use_edge_site(flow, use, sites->level, &site))
            sites->at[sites->count++] = site;
    }
}

/* Whether every way on from a value's block, in its scope, meets one of its needed uses. */
static bool value_is_covered(const struct relaxation *r, const struct value *v)
{
    struct sites sites = {.level = v->scope};
    uint32_t seen[NODES_WALKED], seen_count = 1;
    const struct flow *flow = &r->flow;
    sites_gather(r, v, &sites);
    if (sites.count < 2 || !flow->blocks[v->block].returns)
        return false;
    seen[0] = flow_node(flow, v->block, v->scope);
    for (uint32_t i = 0; i < seen_count; i++) {
        uint32_t node = seen[i];
        const struct graph *levels = &flow->levels;
        if (levels->offsets[node] == levels->offsets[node + 1])
            return false;
        for (uint32_t k = levels->offsets[node]; k < levels->offsets[node + 1]; k++) {
            uint32_t next = levels->targets[k], at = 0;
            if (sites_have(&sites, node, next) || sites_have(&sites, next, FLOW_NONE))
                continue;
            while (at < seen_count && seen[at] != next)
                at++;
            if (at < seen_count)
                continue;
            if (next >= flow_exit(flow, 0) || seen_count == NODES_WALKED)
                return false;
            seen[seen_count++] = next;
        }
    }
    return true;
}

/* ---- recurrences: cycles of uses through the phi of a loop ---- */

/* Tarjan's strongly connected components over the uses that count, without recursion. */
struct components {
    uint32_t *order, *low, *cursor, *stack, *path, *stamp; /* stamp: per loop */
    uint32_t stack_count, path_count, next, component;
    uint32_t *storage;
};

static bool components_allocate(const struct relaxation *r, struct components *c)
{
    size_t n = r->value_count;
    c->storage = malloc((5 * n + r->flow.loop_count) * sizeof *c->storage);
    if (!c->storage)
        return false;
    uint32_t **arrays[6] = {&c->order, &c->low, &c->cursor, &c->stack, &c->path, &c->stamp};
    for (size_t i = 0; i < 6; i++)
        *arrays[i] = c->storage + i * n;
    return true;
}

/* Widens the scope of the members of one component that includes a phi of their scope's loop. */
static bool components_widen(struct relaxation *r, struct components *c, const uint32_t *members,
                             uint32_t count)
{
    bool widened = false;
    uint32_t component = c->component++;
    for (uint32_t i = 0; i < count; i++) {
        const struct value *v = &r->values[members[i]];
        uint32_t loop = r->flow.blocks[v->block].loop;
        if (v->block == r->flow.loops[loop].header &&
            LLVMGetInstructionOpcode(v->instruction) == LLVMPHI)
            c->stamp[loop] = component;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct value *v = &r->values[members[i]];
        if (v->scope != 0 && c->stamp[v->scope] == component) {
            v->scope = r->flow.loops[v->scope].parent;
            widened = true;
        }
    }
    return widened;
}

static void components_enter(const struct relaxation *r, struct components *c, uint32_t v)
{
    c->order[v] = c->low[v] = c->next++;
    c->cursor[v] = r->values[v].uses;
    c->stack[c->stack_count++] = v;
    c->path[c->path_count++] = v;
}

/* Leaves v, the end of the path; pops its component when it is the root of one. */
static bool components_leave(struct relaxation *r, struct components *c, uint32_t v)
{
    c->path_count--;
    if (c->path_count) {
        uint32_t above = c->path[c->path_count - 1];
        if (c->low[v] < c->low[above])
            c->low[above] = c->low[v];
    }
    if (c->low[v] != c->order[v])
        return false;
    uint32_t end = c->stack_count;
    do {
        /* A finished value no longer lowers others. */
        c->order[c->stack[--c->stack_count]] = FLOW_NONE - 1;
    } while (c->stack[c->stack_count] != v);
    uint32_t count = end - c->stack_count;
    return count > 1 && components_widen(r, c, &c->stack[c->stack_count], count);
}

/* One step along a use of v. */
static void components_follow(const struct relaxation *r, struct components *c, uint32_t v)
{
    const struct use *use = &r->uses[c->cursor[v]];
    c->cursor[v] = use->next_of;
    if (use->by == FLOW_NONE || !use_counts(r, use))
        return;
    if (c->order[use->by] == FLOW_NONE)
        components_enter(r, c, use->by);
    else if (c->order[use->by] != FLOW_NONE - 1 && c->order[use->by] < c->low[v])
        c->low[v] = c->order[use->by];
}

/* One round over all values; tells whether a scope widened. Scopes that widen under way only let
 * later components see more. */
static bool components_round(struct relaxation *r, struct components *c)
{
    bool widened = false;
    c->next = c->component = c->stack_count = c->path_count = 0;
    for (uint32_t v = 0; v < r->value_count; v++)
        c->order[v] = FLOW_NONE;
    for (uint32_t i = 0; i < r->flow.loop_count; i++)
        c->stamp[i] = FLOW_NONE;
    for (uint32_t root = 0; root < r->value_count; root++) {
        if (c->order[root] != FLOW_NONE)
            continue;
        components_enter(r, c, root);
        while (c->path_count) {
            uint32_t v = c->path[c->path_count - 1];
            if (c->cursor[v] == FLOW_NONE)
                widened |= components_leave(r, c, v);
            else
                components_follow(r, c, v);
        }
    }
    return widened;
}

static bool relaxation_widen_scopes(struct relaxation *r)
{
    if (r->flow.loop_count == 1)
        return true;
    struct components c = {0};
    if (!components_allocate(r, &c))
        return false;
    for (int round = 0; round < SCOPE_ROUNDS_MAX && components_round(r, &c); round++)
        continue;
    free(c.storage);
    return true;
}

/* ---- need ---- */

static void relaxation_need(struct relaxation *r, uint32_t value)
{
    if (r->values[value].needed || r->values[value].anchored)
        return;
    r->values[value].needed = true;
    r->pending[r->pending_count++] = value;
}

/* A use that turned out to be needed, alone or with others. */
static void relaxation_try(struct relaxation *r, const struct use *use)
{
    const struct value *v = &r->values[use->of];
    if (!v->needed && !v->anchored && (use_counts(r, use) || value_is_covered(r, v)))
        relaxation_need(r, use->of);
}

static void relaxation_spread(struct relaxation *r)
{
    while (r->pending_count) {
        uint32_t v = r->pending[--r->pending_count];
        for (uint32_t u = r->values[v].feeds; u != FLOW_NONE; u = r->uses[u].next_by)
            relaxation_try(r, &r->uses[u]);
    }
}

/* What is not needed by now stays volatile, and that needs its address. Last loads first: of a
 * chain of loads that ends in one nobody uses, only that one stays. One load at a time, because
 * loads that need only each other's values, or a load its own, round a loop, would vanish together.
 */
static void relaxation_anchor(struct relaxation *r)
{
    for (uint32_t v = r->value_count; v-- > 0;) {
        if (!r->values[v].load || r->values[v].needed)
            continue;
        r->values[v].anchored = true;
        r->pending[r->pending_count++] = v;
        relaxation_spread(r);
    }
}

static bool relaxation_find_need(struct relaxation *r)
{
    /* Each value is pending at most once. */
    uint32_t *room = realloc(r->pending, ((size_t)r->value_count + 1) * sizeof *room);
    if (!room)
        return false;
    r->pending = room;
    r->pending_count = 0;
    for (uint32_t u = 0; u < r->use_count; u++) {
        if (r->uses[u].by == FLOW_NONE)
            relaxation_try(r, &r->uses[u]);
    }
    relaxation_spread(r);
    relaxation_anchor(r);
    return true;
}

static bool function_has_volatile_load(LLVMValueRef function)
{
    LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(function);
    for (; b; b = LLVMGetNextBasicBlock(b)) {
        for (LLVMValueRef i = LLVMGetFirstInstruction(b); i; i = LLVMGetNextInstruction(i)) {
            if (is_volatile_load(i))
                return true;
        }
    }
    return false;
}

bool lower_relax(LLVMValueRef function)
{
    if (!function_has_volatile_load(function))
        return true;
    struct relaxation r = {0};
    bool done = flow_create(function, &r.flow) && relaxation_gather(&r) &&
                relaxation_widen_scopes(&r) && relaxation_find_need(&r);
    for (uint32_t v = 0; done && v < r.value_count; v++) {
        if (r.values[v].load && r.values[v].needed)
            LLVMSetVolatile(r.values[v].instruction, false);
    }
    flow_destroy(&r.flow);
    pointer_map_free(&r.numbers);
    free(r.values);
    free(r.uses);
    free(r.pending);
    return done;
}
