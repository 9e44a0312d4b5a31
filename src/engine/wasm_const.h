/*
 * Reading constant expressions (§3.3.10, with the extended-const operators): initial values of
 * globals, items and offsets of segments. Only the section reader calls this; what has been read is
 * walked and evaluated through wasm.h.
 */
#ifndef ENGINE_WASM_CONST_H
#define ENGINE_WASM_CONST_H

#include "engine/wasm_read.h"

/* Reads an expression and its `end`, checks that it yields one value of the type, and notes in the
 * module the functions it refers to and the features it uses. Returns the operators without `end`;
 * {0, 0} when the cursor has failed. Types, functions and imported globals are known already. */
struct wasm_span wasm_const_read(struct wasm_cursor *, struct wasm_module *, uint8_t type);

/* Adds a function to the set of those that may become a funcref. */
static inline void wasm_function_refer(struct wasm_module *m, uint32_t function)
{
    m->referenced[function >> 3] |= (uint8_t)(1u << (function & 7));
}

/* The proposal that gives this byte a meaning as a value type, or NULL. */
const char *wasm_type_proposal(uint8_t byte);
/* A value type; a reference type. 0 when the cursor has failed. */
uint8_t wasm_cursor_value_type(struct wasm_cursor *);
uint8_t wasm_cursor_reference_type(struct wasm_cursor *);

#endif
