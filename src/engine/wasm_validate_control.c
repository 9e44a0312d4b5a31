/*
 * Blocks, branches and calls (§3.3.8): what opens and closes frames, and what leaves them.
 *
 * A sink is told about an operator once it has been checked and before the stacks change in a way
 * that would hide whether it was reachable.
 */
#include "engine/wasm_const.h"
#include "engine/wasm_validator.h"

#include <string.h>

/* Delivers the operator at hand if the sink is to see it. */
static bool deliver(struct wasm_validator *v, bool reachable)
{
    v->op.reachable = reachable;
    return !v->live || validator_deliver(v);
}

static bool types_equal(const uint8_t *a, uint32_t a_count, const uint8_t *b, uint32_t b_count)
{
    return a_count == b_count && (a_count == 0 || memcmp(a, b, a_count) == 0);
}

/* ---- blocks ---- */

/* A value type as block type is one byte, and the block's only result can point at it. */
static bool block_type_short(struct wasm_validator *v, struct wasm_signature *out)
{
    struct wasm_cursor *c = &v->cursor;
    const uint8_t *at = c->at++;
    *out = (struct wasm_signature){at, at, 0, 0};
    if (*at == 0x40)
        return true;
    out->result_count = 1;
    if (*at == WASM_V128)
        v->features |= WASM_FEATURE_SIMD;
    if (wasm_is_reference(*at))
        v->features |= WASM_FEATURE_REFERENCE_TYPES;
    else if (*at < WASM_V128) {
        const char *proposal = wasm_type_proposal(*at);
        return validator_fail(
            v, proposal ? ATOLL_EUNSUPPORTED : ATOLL_EMALFORMED, "block type 0x%02x %s%s", *at,
            proposal ? "is not supported: " : "is malformed", proposal ? proposal : "");
    }
    return true;
}

static bool block_type_read(struct wasm_validator *v, struct wasm_signature *out)
{
    struct wasm_cursor *c = &v->cursor;
    if (c->at < c->end && *c->at >= 0x40 && *c->at < 0x80)
        return block_type_short(v, out);
    int64_t index = wasm_cursor_s33(c);
    if (c->failed)
        return false;
    if (index < 0)
        return validator_fail(v, ATOLL_EMALFORMED, "malformed block type");
    if (index >= v->module->type_count)
        return validator_fail(v, ATOLL_EINVALID, "unknown type %lld", (long long)index);
    *out = wasm_type_signature(v->module, (uint32_t)index);
    if (out->param_count > 0 || out->result_count > 1)
        v->features |= WASM_FEATURE_MULTI_VALUE;
    return true;
}

bool control_block(struct wasm_validator *v)
{
    struct wasm_signature signature;
    if (!block_type_read(v, &signature))
        return false;
    if (v->op.op == WASM_OP_IF && !operand_pop(v, WASM_I32))
        return false;
    v->op.block = signature;
    return operands_pop(v, signature.params, signature.param_count) && deliver(v, true) &&
           frame_push(v, (uint8_t)v->op.op, signature, (uint32_t)(v->op_at - v->cursor.base)) &&
           operands_push(v, signature.params, signature.param_count);
}

/* The frame's results are on its stack and nothing else is. */
static bool frame_results_pop(struct wasm_validator *v)
{
    const struct wasm_signature *s = &v->frame->signature;
    if (!operands_pop(v, s->results, s->result_count))
        return false;
    uint32_t extra = v->operand_count - v->frame->height;
    if (extra > 0)
        return validator_fail(
            v, ATOLL_EINVALID,
            "type mismatch: %u values too many are on the stack at the end of the "
            "block that begins at offset %u",
            extra, v->frame->offset);
    return true;
}

bool control_else(struct wasm_validator *v)
{
    struct frame *frame = v->frame;
    if (frame->op != WASM_OP_IF)
        return validator_fail(v, ATOLL_EMALFORMED, "else without an if to belong to");
    bool falls_through = !frame->unreachable;
    if (!frame_results_pop(v))
        return false;
    v->live = frame->delivered;
    v->op.block = frame->signature;
    if (!deliver(v, falls_through))
        return false;
    frame->op = WASM_OP_ELSE;
    frame->unreachable = false;
    return operands_push(v, frame->signature.params, frame->signature.param_count);
}

bool control_end(struct wasm_validator *v)
{
    struct frame frame = *v->frame;
    const struct wasm_signature *s = &frame.signature;
    if (!frame_results_pop(v))
        return false;
    if (frame.op == WASM_OP_IF &&
        !types_equal(s->params, s->param_count, s->results, s->result_count))
        return validator_fail(v, ATOLL_EINVALID,
                              "type mismatch: the if at offset %u has no else, so its parameters "
                              "and results must be equal",
                              frame.offset);
    v->live = frame.delivered;
    v->op.block = *s;
    if (!deliver(v, !frame.unreachable))
        return false;
    v->frame_count--;
    if (v->frame_count == 0)
        return true;
    /* A delivered frame was opened where its parent was reachable, and the parent still is. */
    v->frame = &v->frames[v->frame_count - 1];
    return operands_push(v, s->results, s->result_count);
}

/* ---- branches ---- */

struct label {
    const uint8_t *types;
    uint32_t count;
};

/* What a branch to a depth carries: a loop's parameters, any other frame's results. */
static struct label label_at(const struct wasm_validator *v, uint32_t depth)
{
    const struct frame *frame = &v->frames[v->frame_count - 1 - depth];
    const struct wasm_signature *s = &frame->signature;
    if (frame->op == WASM_OP_LOOP)
        return (struct label){s->params, s->param_count};
    return (struct label){s->results, s->result_count};
}

bool control_branch(struct wasm_validator *v)
{
    if (!immediate_index(v, "label", v->frame_count, &v->op.index))
        return false;
    struct label label = label_at(v, v->op.index);
    if (!operands_pop(v, label.types, label.count) || !deliver(v, true))
        return false;
    frame_cut(v);
    return true;
}

bool control_branch_if(struct wasm_validator *v)
{
    if (!immediate_index(v, "label", v->frame_count, &v->op.index))
        return false;
    struct label label = label_at(v, v->op.index);
    return operand_pop(v, WASM_I32) && operands_pop(v, label.types, label.count) &&
           operands_push(v, label.types, label.count) && deliver(v, true);
}

static bool labels_reserve(struct wasm_validator *v, uint32_t count)
{
    if (count <= v->depth_capacity)
        return true;
    uint32_t *depths = realloc(v->depths, count * sizeof *depths);
    if (!depths)
        return validator_fail(v, ATOLL_ENOMEM, "out of memory for the labels of br_table");
    v->depths = depths;
    v->depth_capacity = count;
    return true;
}

/* Reads the labels, the default last, into v->depths; *count is without the default. */
static bool labels_read(struct wasm_validator *v, uint32_t *count)
{
    struct wasm_cursor *c = &v->cursor;
    *count = immediate_u32(v);
    if (c->failed)
        return false;
    if (*count > WASM_MAX_BR_TABLE)
        return validator_fail(v, ATOLL_ELIMIT, "br_table has %u labels, more than the limit of %u",
                              *count, WASM_MAX_BR_TABLE);
    if (*count >= (size_t)(c->end - c->at))
        return validator_fail(v, ATOLL_EMALFORMED,
                              "unexpected end: %u labels of br_table do not fit in the body",
                              *count);
    if (!labels_reserve(v, *count + 1))
        return false;
    for (uint32_t i = 0; i <= *count; i++) {
        if (!immediate_index(v, "label", v->frame_count, &v->depths[i]))
            return false;
    }
    return true;
}

bool control_branch_table(struct wasm_validator *v)
{
    uint32_t count;
    if (!labels_read(v, &count) || !operand_pop(v, WASM_I32))
        return false;
    struct label last = label_at(v, v->depths[count]), checked = {NULL, UINT32_MAX};
    for (uint32_t i = 0; i <= count; i++) {
        struct label label = label_at(v, v->depths[i]);
        if (label.types == checked.types && label.count == checked.count)
            continue;
        if (label.count != last.count)
            return validator_fail(v, ATOLL_EINVALID,
                                  "type mismatch: label %u of br_table carries %u values, the "
                                  "default label %u",
                                  i, label.count, last.count);
        if (!operands_match(v, label.types, label.count))
            return false;
        checked = label;
    }
    v->op.branches.depths = v->depths;
    v->op.branches.count = count;
    if (!deliver(v, true))
        return false;
    frame_cut(v);
    return true;
}

bool control_return(struct wasm_validator *v)
{
    const struct wasm_signature *s = &v->frames[0].signature;
    if (!operands_pop(v, s->results, s->result_count) || !deliver(v, true))
        return false;
    frame_cut(v);
    return true;
}

/* ---- calls ---- */

static bool call_tail(struct wasm_validator *v, const struct wasm_signature *callee)
{
    const struct wasm_signature *caller = &v->frames[0].signature;
    if (!types_equal(callee->results, callee->result_count, caller->results, caller->result_count))
        return validator_fail(v, ATOLL_EINVALID,
                              "type mismatch: %s needs a callee with the results of the function "
                              "itself",
                              validator_op_name(v));
    if (!deliver(v, true))
        return false;
    frame_cut(v);
    return true;
}

static bool call_finish(struct wasm_validator *v, const struct wasm_signature *callee, bool tail)
{
    if (!operands_pop(v, callee->params, callee->param_count))
        return false;
    if (tail)
        return call_tail(v, callee);
    return operands_push(v, callee->results, callee->result_count) && deliver(v, true);
}

bool control_call(struct wasm_validator *v)
{
    if (!immediate_index(v, "function", v->module->function_count, &v->op.index))
        return false;
    struct wasm_signature callee = wasm_function_signature(v->module, v->op.index);
    return call_finish(v, &callee, v->op.op == WASM_OP_RETURN_CALL);
}

bool control_call_indirect(struct wasm_validator *v)
{
    const struct wasm_module *m = v->module;
    uint32_t type, table;
    if (!immediate_index(v, "type", m->type_count, &type) ||
        !immediate_index(v, "table", m->table_count, &table))
        return false;
    if (m->tables[table].type != WASM_FUNCREF)
        return validator_fail(v, ATOLL_EINVALID,
                              "type mismatch: %s needs a table of funcref, table %u has %s",
                              validator_op_name(v), table, wasm_type_name(m->tables[table].type));
    if (table > 0)
        v->features |= WASM_FEATURE_REFERENCE_TYPES;
    v->op.pair.first = type;
    v->op.pair.second = table;
    struct wasm_signature callee = wasm_type_signature(m, type);
    return operand_pop(v, WASM_I32) &&
           call_finish(v, &callee, v->op.op == WASM_OP_RETURN_CALL_INDIRECT);
}
