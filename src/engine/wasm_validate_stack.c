/*
 * The validator's stacks: growth, the polymorphic stack of unreachable code, and the words for what
 * does not match. Both stacks lie on the heap and are bounded, so no body can exhaust the host's.
 */
#include "engine/wasm_validator.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool validator_fail(struct wasm_validator *v, int code, const char *format, ...)
{
    char text[sizeof v->cursor.error->text];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    wasm_cursor_report(&v->cursor, code, v->op_at, "%s", text);
    return false;
}

const char *validator_op_name(const struct wasm_validator *v)
{
    const char *name = wasm_op_name(v->op.op);
    return name ? name : "an unknown operator";
}

/* Makes room for count more operands. */
static bool operands_reserve(struct wasm_validator *v, uint32_t count)
{
    uint64_t need = (uint64_t)v->operand_count + count;
    if (need <= v->operand_capacity)
        return true;
    if (need > WASM_MAX_OPERANDS)
        return validator_fail(v, ATOLL_ELIMIT, "more than %u operands are on the stack",
                              WASM_MAX_OPERANDS);
    uint64_t capacity = v->operand_capacity ? v->operand_capacity : 256;
    while (capacity < need)
        capacity *= 2;
    uint8_t *operands = realloc(v->operands, capacity);
    if (!operands)
        return validator_fail(v, ATOLL_ENOMEM, "out of memory for the operand stack");
    v->operands = operands;
    v->operand_capacity = (uint32_t)capacity;
    return true;
}

static bool mismatch(struct wasm_validator *v, uint8_t expected, uint8_t actual)
{
    return validator_fail(v, ATOLL_EINVALID, "type mismatch: %s expects %s but the stack holds %s",
                          validator_op_name(v), wasm_type_name(expected), wasm_type_name(actual));
}

static bool underflow(struct wasm_validator *v, uint8_t expected)
{
    const char *where = v->frame_count > 1 ? "the stack of this block" : "the stack";
    return validator_fail(v, ATOLL_EINVALID, "type mismatch: %s expects %s but %s is empty",
                          validator_op_name(v), wasm_type_name(expected), where);
}

bool operand_pop_slow(struct wasm_validator *v, uint8_t type)
{
    if (v->operand_count == v->frame->height)
        return v->frame->unreachable || underflow(v, type);
    uint8_t actual = v->operands[v->operand_count - 1];
    if (actual != type && actual != WASM_ANY)
        return mismatch(v, type, actual);
    v->operand_count--;
    return true;
}

bool operand_push_slow(struct wasm_validator *v, uint8_t type)
{
    if (!operands_reserve(v, 1))
        return false;
    v->operands[v->operand_count++] = type;
    return true;
}

bool operand_pop_any(struct wasm_validator *v, uint8_t *type)
{
    *type = WASM_ANY;
    if (v->operand_count == v->frame->height)
        return v->frame->unreachable || underflow(v, WASM_ANY);
    *type = v->operands[--v->operand_count];
    return true;
}

/* Compares all without leaving early, which compilers turn into vector code: a body may ask for a
 * thousand operands with every second byte. */
static bool types_agree(const uint8_t *actual, const uint8_t *expected, uint32_t count)
{
    uint8_t differ = 0;
    for (uint32_t i = 0; i < count; i++)
        differ |= (uint8_t)((actual[i] != expected[i]) & (actual[i] != WASM_ANY));
    return !differ;
}

bool operands_match(struct wasm_validator *v, const uint8_t *types, uint32_t count)
{
    uint32_t there = v->operand_count - v->frame->height;
    uint32_t compared = there < count ? there : count;
    if (compared == 0)
        return count == 0 || v->frame->unreachable || underflow(v, types[count - 1]);
    const uint8_t *actual = v->operands + v->operand_count - compared;
    const uint8_t *expected = types + count - compared;
    if (!types_agree(actual, expected, compared)) {
        uint32_t i = compared - 1;
        while (actual[i] == expected[i] || actual[i] == WASM_ANY)
            i--;
        return mismatch(v, expected[i], actual[i]);
    }
    return compared == count || v->frame->unreachable || underflow(v, types[count - compared - 1]);
}

bool operands_pop(struct wasm_validator *v, const uint8_t *types, uint32_t count)
{
    if (!operands_match(v, types, count))
        return false;
    uint32_t there = v->operand_count - v->frame->height;
    v->operand_count -= there < count ? there : count;
    return true;
}

bool operands_push(struct wasm_validator *v, const uint8_t *types, uint32_t count)
{
    if (!operands_reserve(v, count))
        return false;
    if (count > 0)
        memcpy(v->operands + v->operand_count, types, count);
    v->operand_count += count;
    return true;
}

bool frame_push(struct wasm_validator *v, uint8_t op, struct wasm_signature signature,
                uint32_t offset)
{
    /* The function itself is a frame too. */
    if (v->frame_count > WASM_MAX_NESTING)
        return validator_fail(v, ATOLL_ELIMIT, "blocks are nested deeper than the limit of %u",
                              WASM_MAX_NESTING);
    if (v->frame_count == v->frame_capacity) {
        uint32_t capacity = v->frame_capacity ? 2 * v->frame_capacity : 64;
        struct frame *frames = realloc(v->frames, capacity * sizeof *frames);
        if (!frames)
            return validator_fail(v, ATOLL_ENOMEM, "out of memory for the control stack");
        v->frames = frames;
        v->frame_capacity = capacity;
    }
    v->frame = &v->frames[v->frame_count++];
    *v->frame = (struct frame){
        .signature = signature,
        .height = v->operand_count,
        .offset = offset,
        .op = op,
        .delivered = v->live,
    };
    return true;
}

void frame_cut(struct wasm_validator *v)
{
    v->operand_count = v->frame->height;
    v->frame->unreachable = true;
    v->live = false;
}

bool validator_deliver(struct wasm_validator *v)
{
    v->op.offset = (uint32_t)(v->op_at - v->cursor.base);
    v->sink_status = v->sink->op(v->sink->context, &v->op, v->cursor.error);
    return v->sink_status == 0;
}

bool immediate_index(struct wasm_validator *v, const char *what, uint32_t count, uint32_t *index)
{
    *index = immediate_u32(v);
    if (v->cursor.failed)
        return false;
    if (*index >= count)
        return validator_fail(v, ATOLL_EINVALID, "unknown %s %u", what, *index);
    return true;
}
