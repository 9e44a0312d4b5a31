/*
 * What each operator takes and gives, as a table: the form of its immediate, the types it pops and
 * pushes, and the feature it belongs to. Operators whose types depend on their immediate or on the
 * stack have a form of their own and no types here.
 */
#ifndef ENGINE_WASM_SHAPES_H
#define ENGINE_WASM_SHAPES_H

#include "engine/wasm_ops.h"

#include <stddef.h>

enum wasm_form {
    FORM_UNKNOWN, /* no such operator */
    FORM_PLAIN,   /* no immediate; types as in the table */
    FORM_I32,     /* constants */
    FORM_I64,
    FORM_F32,
    FORM_F64,
    FORM_V128,
    FORM_MEMORY,      /* alignment and offset; detail = natural alignment */
    FORM_MEMORY_LANE, /* the same, then a lane */
    FORM_ATOMIC,      /* the same as FORM_MEMORY, but the alignment must be the natural one */
    FORM_FENCE,
    FORM_LANE, /* detail = number of lanes */
    FORM_SHUFFLE,
    FORM_UNREACHABLE,
    FORM_BLOCK,
    FORM_ELSE,
    FORM_END,
    FORM_BRANCH,
    FORM_BRANCH_IF,
    FORM_BRANCH_TABLE,
    FORM_RETURN,
    FORM_CALL,
    FORM_CALL_INDIRECT,
    FORM_CONTROL_FIRST = FORM_UNREACHABLE, /* these have to do with frames */
    FORM_CONTROL_LAST = FORM_CALL_INDIRECT,
    FORM_DROP,
    FORM_SELECT,
    FORM_SELECT_TYPED,
    FORM_LOCAL_GET,
    FORM_LOCAL_SET,
    FORM_LOCAL_TEE,
    FORM_GLOBAL_GET,
    FORM_GLOBAL_SET,
    FORM_TABLE, /* one table index: get, set, size, grow, fill */
    FORM_TABLE_INIT,
    FORM_TABLE_COPY,
    FORM_ELEMENT_DROP,
    FORM_MEMORY_INDEX, /* memory.size, memory.grow, memory.fill: types as in the table */
    FORM_MEMORY_INIT,
    FORM_MEMORY_COPY,
    FORM_DATA_DROP,
    FORM_REF_NULL,
    FORM_REF_IS_NULL,
    FORM_REF_FUNC,
};

struct wasm_shape {
    uint8_t form;
    uint8_t operand_count;
    uint8_t operands[3]; /* in the order they are pushed */
    uint8_t result;      /* 0 = none */
    uint8_t detail;
    uint32_t feature; /* enum wasm_feature or 0 */
};

/* One-byte operators; prefixes are unknown here. */
extern const struct wasm_shape wasm_shapes[256];
/* The shape of a prefixed operator (prefix << 12 | sub-opcode). */
const struct wasm_shape *wasm_shape_prefixed(uint32_t op);
/* The proposal an operator without a shape belongs to, or NULL when no one knows it. */
const char *wasm_op_proposal(uint32_t op);

#endif
