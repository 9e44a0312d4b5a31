/*
 * Questions about a decoded module: names of types and features, items of element segments, debug
 * names, the function at an offset. Everything here walks bytes that wasm_read has checked, except
 * the name section, whose content is checked while it is walked.
 */
#include "engine/wasm_ops.h"
#include "engine/wasm_read.h"

#include <assert.h>

/* A count that has been read before, so that it is known to be well formed. */
static uint32_t count_decode(const uint8_t **at)
{
    uint32_t value = 0, shift = 0;
    uint8_t byte;
    do {
        byte = *(*at)++;
        value |= (uint32_t)(byte & 0x7f) << shift;
        shift += 7;
    } while (byte & 0x80);
    return value;
}

struct wasm_signature wasm_type_signature(const struct wasm_module *m, uint32_t type)
{
    struct wasm_signature s;
    const uint8_t *at = m->bytes + m->types[type].offset;
    s.param_count = count_decode(&at);
    s.params = at;
    at += s.param_count;
    s.result_count = count_decode(&at);
    s.results = at;
    return s;
}

const char *wasm_type_name(uint8_t type)
{
    switch (type) {
    case WASM_ANY: return "any type";
    case WASM_EXTERNREF: return "externref";
    case WASM_FUNCREF: return "funcref";
    case WASM_V128: return "v128";
    case WASM_F64: return "f64";
    case WASM_F32: return "f32";
    case WASM_I64: return "i64";
    case WASM_I32: return "i32";
    default: return "unknown type";
    }
}

const char *wasm_feature_name(uint32_t bit)
{
    switch (bit) {
    case WASM_FEATURE_SIGN_EXT: return "sign-ext";
    case WASM_FEATURE_SAT_FLOAT: return "sat-float";
    case WASM_FEATURE_MULTI_VALUE: return "multi-value";
    case WASM_FEATURE_BULK_MEMORY: return "bulk-memory";
    case WASM_FEATURE_REFERENCE_TYPES: return "reference-types";
    case WASM_FEATURE_EXTENDED_CONST: return "extended-const";
    case WASM_FEATURE_SIMD: return "simd";
    case WASM_FEATURE_TAIL_CALL: return "tail-call";
    case WASM_FEATURE_THREADS: return "threads";
    case WASM_FEATURE_MUTABLE_GLOBALS: return "mutable-globals";
    default: return "unknown feature";
    }
}

bool wasm_element_next(const struct wasm_module *m, const struct wasm_element *element,
                       uint32_t *cursor, struct wasm_element_item *out)
{
    struct error unused;
    struct wasm_cursor c = {
        .base = m->bytes,
        .at = m->bytes + *cursor,
        .end = m->bytes + element->items.offset + element->items.len,
        .error = &unused,
    };
    *out = (struct wasm_element_item){UINT32_MAX, UINT32_MAX};
    if (c.at >= c.end)
        return false;
    if (element->expressions) {
        uint8_t op = wasm_cursor_u8(&c);
        if (op == WASM_OP_REF_NULL)
            wasm_cursor_u8(&c);
        else if (op == WASM_OP_GLOBAL_GET)
            out->global = wasm_cursor_u32(&c);
        else
            out->function = wasm_cursor_u32(&c);
        wasm_cursor_u8(&c); /* end */
    } else {
        out->function = wasm_cursor_u32(&c);
    }
    assert(!c.failed);
    *cursor = wasm_cursor_offset(&c);
    return true;
}

/* Finds the subsection with function names (§7.4.1) and leaves the cursor in it; false if none. */
static bool function_names_find(struct wasm_cursor *c)
{
    while (!c->failed && c->at < c->end) {
        uint8_t id = wasm_cursor_u8(c);
        uint32_t len = wasm_cursor_u32(c);
        const uint8_t *payload = wasm_cursor_bytes(c, len);
        if (payload && id == 1) {
            c->at = payload;
            c->end = payload + len;
            return true;
        }
    }
    return false;
}

struct wasm_span wasm_function_name(const struct wasm_module *m, uint32_t function)
{
    struct error unused;
    struct wasm_cursor c = {
        .base = m->bytes,
        .at = m->bytes + m->name_section.offset,
        .end = m->bytes + m->name_section.offset + m->name_section.len,
        .error = &unused,
    };
    struct wasm_span none = {0, 0};
    if (!function_names_find(&c))
        return none;
    uint32_t count = wasm_cursor_u32(&c);
    for (uint32_t i = 0; i < count && !c.failed; i++) {
        uint32_t index = wasm_cursor_u32(&c);
        struct wasm_span name = wasm_cursor_name(&c);
        if (!c.failed && index == function)
            return name;
    }
    return none;
}

uint32_t wasm_function_at(const struct wasm_module *m, uint32_t offset)
{
    uint32_t low = m->imported_functions, high = m->function_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        struct wasm_span body = m->functions[middle].body;
        if (offset < body.offset)
            high = middle;
        else if (offset - body.offset >= body.len)
            low = middle + 1;
        else
            return middle;
    }
    return UINT32_MAX;
}
