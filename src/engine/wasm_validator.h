/*
 * Inside the validator: its state while it walks one body, and the operand stack every operator
 * works on. wasm_validate.c sets it up, wasm_validate_ops.c walks, wasm_validate_control.c does
 * what has to do with blocks and calls, wasm_validate_stack.c is the slow half of the stacks.
 *
 * Everything here returns false after it has described the failure in v->cursor.error.
 *
 * Invariants: operands below a frame's height belong to the frames around it and are never popped
 * in it. In a frame that is `unreachable` the stack below what has been pushed since is
 * polymorphic: popping there yields WASM_ANY. Where control is reachable no operand is WASM_ANY.
 */
#ifndef ENGINE_WASM_VALIDATOR_H
#define ENGINE_WASM_VALIDATOR_H

#include "engine/wasm_read.h"
#include "engine/wasm_shapes.h"
#include "engine/wasm_validate.h"

#include <stdlib.h>

struct frame {
    struct wasm_signature signature;
    uint32_t height; /* operands when it was opened, its parameters popped */
    uint32_t offset; /* of its operator in the module */
    uint8_t op;      /* WASM_OP_BLOCK (also the function itself), LOOP, IF, ELSE */
    bool unreachable;
    bool delivered; /* the sink knows this frame */
};

struct wasm_validator {
    uint8_t *operands;
    struct frame *frames;
    uint32_t *depths; /* labels of the br_table at hand */
    uint32_t operand_count, operand_capacity, frame_count, frame_capacity, depth_capacity;
    struct frame *frame; /* the innermost: frames[frame_count - 1] */

    const struct wasm_module *module;
    const struct wasm_sink *sink;
    struct wasm_cursor cursor;
    const uint8_t *op_at; /* first byte of the operator at hand */
    struct wasm_op op;
    int sink_status; /* what a callback of the sink returned */
    bool live;       /* there is a sink and the operator at hand is reachable */
    uint32_t features;
    uint32_t local_count;
    uint8_t locals[WASM_MAX_LOCALS];
};

/* Walks the body from the cursor to its last `end`. */
bool validator_walk(struct wasm_validator *v);

/* Reports a failure at the operator at hand. Always false. */
bool validator_fail(struct wasm_validator *v, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4), cold));
/* The name of the operator at hand. */
const char *validator_op_name(const struct wasm_validator *v);

/* ---- operands ---- */

bool operand_pop_slow(struct wasm_validator *v, uint8_t type);
bool operand_push_slow(struct wasm_validator *v, uint8_t type);

/* Pops one operand of a type. */
static inline bool operand_pop(struct wasm_validator *v, uint8_t type)
{
    if (v->operand_count > v->frame->height && v->operands[v->operand_count - 1] == type) {
        v->operand_count--;
        return true;
    }
    return operand_pop_slow(v, type);
}

static inline bool operand_push(struct wasm_validator *v, uint8_t type)
{
    if (v->operand_count < v->operand_capacity) {
        v->operands[v->operand_count++] = type;
        return true;
    }
    return operand_push_slow(v, type);
}

/* Pops one operand of any type and says which; WASM_ANY from a polymorphic stack. */
bool operand_pop_any(struct wasm_validator *v, uint8_t *type);
/* Whether the topmost count operands have these types; nothing is popped. */
bool operands_match(struct wasm_validator *v, const uint8_t *types, uint32_t count);
bool operands_pop(struct wasm_validator *v, const uint8_t *types, uint32_t count);
bool operands_push(struct wasm_validator *v, const uint8_t *types, uint32_t count);

/* ---- control ---- */

bool frame_push(struct wasm_validator *v, uint8_t op, struct wasm_signature signature,
                uint32_t offset);
/* The rest of the frame cannot be reached. */
void frame_cut(struct wasm_validator *v);
/* Hands the operator at hand to the sink, which is there and may refuse. */
bool validator_deliver(struct wasm_validator *v);

bool control_block(struct wasm_validator *v);
bool control_else(struct wasm_validator *v);
/* After the last one frame_count is 0. */
bool control_end(struct wasm_validator *v);
bool control_branch(struct wasm_validator *v);
bool control_branch_if(struct wasm_validator *v);
bool control_branch_table(struct wasm_validator *v);
bool control_return(struct wasm_validator *v);
/* call and return_call; call_indirect and return_call_indirect */
bool control_call(struct wasm_validator *v);
bool control_call_indirect(struct wasm_validator *v);

/* ---- immediates ---- */

/* Most numbers take one byte. */
static inline uint32_t immediate_u32(struct wasm_validator *v)
{
    struct wasm_cursor *c = &v->cursor;
    if (c->at < c->end && *c->at < 0x80)
        return *c->at++;
    return wasm_cursor_u32(c);
}

/* An index that must lie below count; fails naming what it is the index of. */
bool immediate_index(struct wasm_validator *v, const char *what, uint32_t count, uint32_t *index);

#endif
