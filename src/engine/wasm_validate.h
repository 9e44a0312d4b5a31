/*
 * One-pass validator (Core 2.0 §3 and appendix §7.4). It walks a function body once and hands every
 * reachable operator to a sink: lowering is a sink, so is nothing.
 *
 * What a sink sees, for each function: begin, then ops, then finish.
 *   - An op is delivered iff it is reachable. Code after an unconditional branch is type-checked
 * but not delivered. A block opened in unreachable code is suppressed whole.
 *   - For every delivered block, loop or if, its `else` (if any) and its `end` are delivered too,
 *     with `reachable` saying whether control can fall through to them from above.
 *   - Operators after a delivered `end` count as reachable (the label may or may not be targeted).
 *   - The function's own final `end` is delivered like that of a block, with depth 0.
 * Operand values are the sink's business: it can keep a stack of its own, because types and heights
 * are already checked. Frames' operand heights: at `end`, `else` and branches a sink truncates to
 * the height it recorded when the frame began.
 */
#ifndef ENGINE_WASM_VALIDATE_H
#define ENGINE_WASM_VALIDATE_H

#include "base/error.h"
#include "engine/wasm.h"
#include "engine/wasm_ops.h"

struct wasm_op {
    uint32_t op;     /* enum wasm_opcode: one byte, or prefix << 12 | sub-opcode */
    uint32_t offset; /* of the operator's first byte in the module */
    bool reachable;  /* for else and end: control falls through to it; true for all others */
    union {
        uint8_t constant[16]; /* bits of *.const and v128.const, little-endian */
        uint8_t lanes[16];    /* i8x16.shuffle */
        uint32_t index;       /* local, global, function (call, return_call, ref.func), table,
                                 memory, element, data; branch depth (br, br_if);
                                  lane (extract_lane, replace_lane) */
        struct {
            uint64_t offset;
            uint32_t memory, align_log2;
            uint8_t lane; /* load/store lane operators */
        } memory;         /* loads, stores, atomics */
        struct {
            uint32_t first, second;
        } pair; /* call_indirect: type, table. table.copy, memory.copy: destination, source.
                   table.init, memory.init: segment, table or memory */
        struct wasm_signature block; /* block, loop, if (an if without else has params = results) */
        struct {
            const uint32_t *depths; /* count + 1 of them; the last is the default */
            uint32_t count;
        } branches;   /* br_table; valid during the call */
        uint8_t type; /* ref.null; select: operand type (also for the untyped one) */
    };
};

struct wasm_sink {
    void *context;
    /* local_types: parameters, then declared locals. Valid until finish. A nonzero return of any
     * callback ends validation with that code; the callback has set the error itself. */
    int (*begin)(void *context, const struct wasm_module *, uint32_t function,
                 const uint8_t *local_types, uint32_t local_count, struct error *);
    int (*op)(void *context, const struct wasm_op *, struct error *);
    int (*finish)(void *context, struct error *);
};

/* Working memory reused from function to function. */
struct wasm_validator;
struct wasm_validator *wasm_validator_create(void); /* NULL: out of memory */
void wasm_validator_destroy(struct wasm_validator *);

/* Everything outside function bodies: indices, types, constant expressions, limits' ranges. */
int wasm_validate_module(struct wasm_module *, struct error *);
/* One defined function; sink may be NULL. Adds to *features the features its code uses. */
int wasm_validate_function(const struct wasm_module *, struct wasm_validator *, uint32_t function,
                           const struct wasm_sink *, uint32_t *features, struct error *);
/* The whole module; adds the code's features to m->features. */
int wasm_validate(struct wasm_module *, struct error *);

#endif
