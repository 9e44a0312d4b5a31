/*
 * The walk over a body: decodes one operator after the other, checks it against the operator table
 * and hands it to the sink. Control operators are in wasm_validate_control.c.
 *
 * An operator's operands are popped and its results pushed before the sink sees it; only those that
 * make the rest of their frame unreachable (unreachable, br, …) are delivered before they do.
 */
#include "base/bytes.h"
#include "engine/wasm_const.h"
#include "engine/wasm_validator.h"

/* ---- immediates ---- */

static void constant_set(struct wasm_validator *v, const void *bits, size_t len)
{
    memset(v->op.constant, 0, sizeof v->op.constant);
    if (bits)
        memcpy(v->op.constant, bits, len);
}

static bool constant_read(struct wasm_validator *v, uint8_t form)
{
    struct wasm_cursor *c = &v->cursor;
    int32_t narrow;
    int64_t wide;
    switch (form) {
    case FORM_I32:
        narrow = c->at < c->end && *c->at < 0x40 ? *c->at++ : wasm_cursor_s32(c);
        constant_set(v, &narrow, sizeof narrow);
        break;
    case FORM_I64:
        wide = wasm_cursor_s64(c);
        constant_set(v, &wide, sizeof wide);
        break;
    case FORM_F32: constant_set(v, wasm_cursor_bytes(c, 4), 4); break;
    case FORM_F64: constant_set(v, wasm_cursor_bytes(c, 8), 8); break;
    default: constant_set(v, wasm_cursor_bytes(c, 16), 16); break;
    }
    return !c->failed;
}

/* The only memory is number 0. */
static bool memory_exists(struct wasm_validator *v, uint32_t memory)
{
    if (memory < v->module->memory_count)
        return true;
    return validator_fail(v, ATOLL_EINVALID, "unknown memory %u", memory);
}

/* A memory index where the format has a single zero byte so far. */
static bool memory_byte(struct wasm_validator *v)
{
    uint8_t byte = wasm_cursor_u8(&v->cursor);
    if (v->cursor.failed)
        return false;
    if (byte != 0)
        return validator_fail(
            v, byte < 0x80 ? ATOLL_EUNSUPPORTED : ATOLL_EMALFORMED,
            "zero byte expected after %s: other memories need multi-memory, which "
            "this engine does not have",
            validator_op_name(v));
    return memory_exists(v, 0);
}

static bool alignment_check(struct wasm_validator *v, uint32_t log2, const struct wasm_shape *shape)
{
    if (log2 >= 0x40 && log2 < 0x80)
        return validator_fail(
            v, ATOLL_EUNSUPPORTED,
            "a memory index in %s belongs to multi-memory, which this engine does "
            "not have",
            validator_op_name(v));
    if (log2 >= 32)
        return validator_fail(v, ATOLL_EMALFORMED, "malformed alignment of %s: 2^%u",
                              validator_op_name(v), log2);
    if (log2 > shape->detail)
        return validator_fail(v, ATOLL_EINVALID,
                              "alignment must not be larger than natural: %s has 2^%u, not 2^%u",
                              validator_op_name(v), shape->detail, log2);
    if (shape->form == FORM_ATOMIC && log2 != shape->detail)
        return validator_fail(v, ATOLL_EINVALID,
                              "alignment of an atomic operator must be natural: %s has 2^%u, not "
                              "2^%u",
                              validator_op_name(v), shape->detail, log2);
    return true;
}

static bool lane_read(struct wasm_validator *v, uint32_t lanes, uint8_t *lane)
{
    *lane = wasm_cursor_u8(&v->cursor);
    if (v->cursor.failed)
        return false;
    if (*lane >= lanes)
        return validator_fail(v, ATOLL_EINVALID, "invalid lane index %u: %s has %u lanes", *lane,
                              validator_op_name(v), lanes);
    return true;
}

static bool memory_access(struct wasm_validator *v, const struct wasm_shape *shape)
{
    uint32_t log2 = immediate_u32(v);
    if (v->cursor.failed || (log2 != shape->detail && !alignment_check(v, log2, shape)))
        return false;
    uint32_t offset = immediate_u32(v);
    if (v->cursor.failed || !memory_exists(v, 0))
        return false;
    v->op.memory.offset = offset;
    v->op.memory.memory = 0;
    v->op.memory.align_log2 = log2;
    v->op.memory.lane = 0;
    return shape->form != FORM_MEMORY_LANE ||
           lane_read(v, 16u >> shape->detail, &v->op.memory.lane);
}

static bool shuffle_read(struct wasm_validator *v)
{
    const uint8_t *lanes = wasm_cursor_bytes(&v->cursor, 16);
    if (!lanes)
        return false;
    memcpy(v->op.lanes, lanes, 16);
    for (int i = 0; i < 16; i++) {
        if (lanes[i] >= 32)
            return validator_fail(v, ATOLL_EINVALID, "invalid lane index %u: i8x16.shuffle has 32",
                                  lanes[i]);
    }
    return true;
}

static bool fence_read(struct wasm_validator *v)
{
    uint8_t byte = wasm_cursor_u8(&v->cursor);
    if (!v->cursor.failed && byte != 0)
        return validator_fail(v, ATOLL_EMALFORMED, "zero byte expected after atomic.fence");
    return !v->cursor.failed;
}

/* ---- operators with types of their own ---- */

static bool op_drop(struct wasm_validator *v)
{
    uint8_t type;
    return operand_pop_any(v, &type);
}

static bool op_select(struct wasm_validator *v)
{
    uint8_t a, b;
    if (!operand_pop(v, WASM_I32) || !operand_pop_any(v, &b) || !operand_pop_any(v, &a))
        return false;
    if (wasm_is_reference(a) || wasm_is_reference(b))
        return validator_fail(
            v, ATOLL_EINVALID,
            "type mismatch: select without a type takes numbers and vectors only");
    if (a != b && a != WASM_ANY && b != WASM_ANY)
        return validator_fail(v, ATOLL_EINVALID, "type mismatch: select has operands %s and %s",
                              wasm_type_name(a), wasm_type_name(b));
    v->op.type = a == WASM_ANY ? b : a;
    return operand_push(v, v->op.type);
}

static bool op_select_typed(struct wasm_validator *v)
{
    uint32_t count = immediate_u32(v);
    if (!v->cursor.failed && count != 1)
        return validator_fail(v, ATOLL_EINVALID, "invalid result arity: select with %u types",
                              count);
    uint8_t type = wasm_cursor_value_type(&v->cursor);
    v->op.type = type;
    return !v->cursor.failed && operand_pop(v, WASM_I32) && operand_pop(v, type) &&
           operand_pop(v, type) && operand_push(v, type);
}

static bool op_local(struct wasm_validator *v, uint8_t form)
{
    uint32_t index = immediate_u32(v);
    if (v->cursor.failed)
        return false;
    if (index >= v->local_count)
        return validator_fail(v, ATOLL_EINVALID, "unknown local %u: the function has %u", index,
                              v->local_count);
    v->op.index = index;
    uint8_t type = v->locals[index];
    if (form == FORM_LOCAL_GET)
        return operand_push(v, type);
    return operand_pop(v, type) && (form == FORM_LOCAL_SET || operand_push(v, type));
}

static bool op_global(struct wasm_validator *v, uint8_t form)
{
    const struct wasm_module *m = v->module;
    if (!immediate_index(v, "global", m->global_count, &v->op.index))
        return false;
    const struct wasm_global *global = &m->globals[v->op.index];
    if (form == FORM_GLOBAL_GET)
        return operand_push(v, global->type);
    if (!global->mutable)
        return validator_fail(v, ATOLL_EINVALID, "global %u is immutable", v->op.index);
    return operand_pop(v, global->type);
}

static bool op_table(struct wasm_validator *v)
{
    if (!immediate_index(v, "table", v->module->table_count, &v->op.index))
        return false;
    uint8_t type = v->module->tables[v->op.index].type;
    switch (v->op.op) {
    case WASM_OP_TABLE_GET: return operand_pop(v, WASM_I32) && operand_push(v, type);
    case WASM_OP_TABLE_SET: return operand_pop(v, type) && operand_pop(v, WASM_I32);
    case WASM_OP_TABLE_SIZE: return operand_push(v, WASM_I32);
    case WASM_OP_TABLE_GROW:
        return operand_pop(v, WASM_I32) && operand_pop(v, type) && operand_push(v, WASM_I32);
    default: return operand_pop(v, WASM_I32) && operand_pop(v, type) && operand_pop(v, WASM_I32);
    }
}

static bool pop_three_i32(struct wasm_validator *v)
{
    return operand_pop(v, WASM_I32) && operand_pop(v, WASM_I32) && operand_pop(v, WASM_I32);
}

static bool element_types_agree(struct wasm_validator *v, uint8_t to, uint8_t from)
{
    if (to == from)
        return true;
    return validator_fail(v, ATOLL_EINVALID, "type mismatch: %s from %s to a table of %s",
                          validator_op_name(v), wasm_type_name(from), wasm_type_name(to));
}

static bool op_table_init(struct wasm_validator *v)
{
    const struct wasm_module *m = v->module;
    uint32_t segment, table;
    if (!immediate_index(v, "element segment", m->element_count, &segment) ||
        !immediate_index(v, "table", m->table_count, &table) ||
        !element_types_agree(v, m->tables[table].type, m->elements[segment].type))
        return false;
    v->op.pair.first = segment;
    v->op.pair.second = table;
    return pop_three_i32(v);
}

static bool op_table_copy(struct wasm_validator *v)
{
    const struct wasm_module *m = v->module;
    uint32_t to, from;
    if (!immediate_index(v, "table", m->table_count, &to) ||
        !immediate_index(v, "table", m->table_count, &from) ||
        !element_types_agree(v, m->tables[to].type, m->tables[from].type))
        return false;
    v->op.pair.first = to;
    v->op.pair.second = from;
    return pop_three_i32(v);
}

static bool data_index(struct wasm_validator *v, uint32_t *index)
{
    if (!v->module->has_data_count)
        return validator_fail(v, ATOLL_EMALFORMED, "%s requires a data count section",
                              validator_op_name(v));
    return immediate_index(v, "data segment", v->module->data_count, index);
}

static bool op_memory_init(struct wasm_validator *v)
{
    uint32_t segment;
    if (!data_index(v, &segment) || !memory_byte(v))
        return false;
    v->op.pair.first = segment;
    v->op.pair.second = 0;
    return pop_three_i32(v);
}

static bool op_memory_copy(struct wasm_validator *v)
{
    if (!memory_byte(v) || !memory_byte(v))
        return false;
    v->op.pair.first = v->op.pair.second = 0;
    return pop_three_i32(v);
}

static bool op_ref_null(struct wasm_validator *v)
{
    v->op.type = wasm_cursor_reference_type(&v->cursor);
    return !v->cursor.failed && operand_push(v, v->op.type);
}

static bool op_ref_is_null(struct wasm_validator *v)
{
    uint8_t type;
    if (!operand_pop_any(v, &type))
        return false;
    if (type != WASM_ANY && !wasm_is_reference(type))
        return validator_fail(v, ATOLL_EINVALID,
                              "type mismatch: ref.is_null expects a reference but the stack holds "
                              "%s",
                              wasm_type_name(type));
    return operand_push(v, WASM_I32);
}

static bool op_ref_func(struct wasm_validator *v)
{
    if (!immediate_index(v, "function", v->module->function_count, &v->op.index))
        return false;
    if (!wasm_function_referenced(v->module, v->op.index))
        return validator_fail(v, ATOLL_EINVALID,
                              "undeclared function reference: function %u occurs in no element "
                              "segment, global or export",
                              v->op.index);
    return operand_push(v, WASM_FUNCREF);
}

/* ---- the walk ---- */

static bool shape_apply(struct wasm_validator *v, const struct wasm_shape *shape)
{
    for (uint32_t i = shape->operand_count; i > 0; i--) {
        if (!operand_pop(v, shape->operands[i - 1]))
            return false;
    }
    return shape->result == 0 || operand_push(v, shape->result);
}

/* Operators that are no control operators: immediate, operands, results. */
static bool op_check(struct wasm_validator *v, const struct wasm_shape *shape)
{
    switch (shape->form) {
    case FORM_PLAIN: return shape_apply(v, shape);
    case FORM_LOCAL_GET:
    case FORM_LOCAL_SET:
    case FORM_LOCAL_TEE: return op_local(v, shape->form);
    case FORM_I32:
    case FORM_I64:
    case FORM_F32:
    case FORM_F64:
    case FORM_V128: return constant_read(v, shape->form) && operand_push(v, shape->result);
    case FORM_MEMORY:
    case FORM_MEMORY_LANE:
    case FORM_ATOMIC: return memory_access(v, shape) && shape_apply(v, shape);
    case FORM_GLOBAL_GET:
    case FORM_GLOBAL_SET: return op_global(v, shape->form);
    case FORM_DROP: return op_drop(v);
    case FORM_SELECT: return op_select(v);
    case FORM_SELECT_TYPED: return op_select_typed(v);
    case FORM_FENCE: return fence_read(v);
    case FORM_LANE:
        v->op.index = 0; /* so that index is the lane as well */
        return lane_read(v, shape->detail, &v->op.lanes[0]) && shape_apply(v, shape);
    case FORM_SHUFFLE: return shuffle_read(v) && shape_apply(v, shape);
    case FORM_TABLE: return op_table(v);
    case FORM_TABLE_INIT: return op_table_init(v);
    case FORM_TABLE_COPY: return op_table_copy(v);
    case FORM_ELEMENT_DROP:
        return immediate_index(v, "element segment", v->module->element_count, &v->op.index);
    case FORM_MEMORY_INDEX: v->op.index = 0; return memory_byte(v) && shape_apply(v, shape);
    case FORM_MEMORY_INIT: return op_memory_init(v);
    case FORM_MEMORY_COPY: return op_memory_copy(v);
    case FORM_DATA_DROP: return data_index(v, &v->op.index);
    case FORM_REF_NULL: return op_ref_null(v);
    case FORM_REF_IS_NULL: return op_ref_is_null(v);
    default: return op_ref_func(v);
    }
}

static bool op_unreachable(struct wasm_validator *v)
{
    if (v->live && !validator_deliver(v))
        return false;
    frame_cut(v);
    return true;
}

/* Operators of control deliver themselves. */
static bool control_check(struct wasm_validator *v, uint8_t form)
{
    switch (form) {
    case FORM_UNREACHABLE: return op_unreachable(v);
    case FORM_BLOCK: return control_block(v);
    case FORM_ELSE: return control_else(v);
    case FORM_END: return control_end(v);
    case FORM_BRANCH: return control_branch(v);
    case FORM_BRANCH_IF: return control_branch_if(v);
    case FORM_BRANCH_TABLE: return control_branch_table(v);
    case FORM_RETURN: return control_return(v);
    case FORM_CALL: return control_call(v);
    default: return control_call_indirect(v);
    }
}

static bool op_unknown(struct wasm_validator *v)
{
    const char *proposal = wasm_op_proposal(v->op.op);
    if (proposal)
        return validator_fail(v, ATOLL_EUNSUPPORTED,
                              "operator 0x%x belongs to %s, which this engine does not have",
                              v->op.op, proposal);
    return validator_fail(v, ATOLL_EMALFORMED, "illegal operator 0x%x", v->op.op);
}

/* The second part of a prefixed operator. */
static const struct wasm_shape *prefix_read(struct wasm_validator *v)
{
    uint32_t prefix = v->op.op, sub = immediate_u32(v);
    v->op.op = prefix << 12 | (sub < 0xfff ? sub : 0xfff);
    if (prefix == 0xfd)
        v->features |= WASM_FEATURE_SIMD;
    if (prefix == 0xfe)
        v->features |= WASM_FEATURE_THREADS;
    return wasm_shape_prefixed(v->op.op);
}

static bool op_step(struct wasm_validator *v)
{
    struct wasm_cursor *c = &v->cursor;
    if (c->at == c->end) {
        wasm_cursor_fail(c, ATOLL_EMALFORMED, "unexpected end: the body ends before its last end");
        return false;
    }
    v->op_at = c->at;
    v->op.op = *c->at++;
    v->op.reachable = true;
    const struct wasm_shape *shape = &wasm_shapes[v->op.op];
    if (v->op.op >= 0xfb)
        shape = prefix_read(v);
    if (c->failed || shape->form == FORM_UNKNOWN)
        return !c->failed && op_unknown(v);
    v->features |= shape->feature;
    if (shape->form >= FORM_CONTROL_FIRST && shape->form <= FORM_CONTROL_LAST)
        return control_check(v, shape->form);
    return op_check(v, shape) && (!v->live || validator_deliver(v));
}

bool validator_walk(struct wasm_validator *v)
{
    while (v->frame_count > 0) {
        if (!op_step(v))
            return false;
    }
    if (v->cursor.at == v->cursor.end)
        return true;
    wasm_cursor_fail(&v->cursor, ATOLL_EMALFORMED,
                     "the function's last end comes before the end of its body");
    return false;
}
