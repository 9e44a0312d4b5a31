/*
 * A decoded WebAssembly module: what the sections say, referring to the bytes they came from.
 *
 * The module's bytes must outlive it and must not change. Nothing here is trusted beyond "well
 * formed": wasm_read checks the binary format (WebAssembly Core 2.0 §5, and the limits below),
 * wasm_validate checks types. Element items and names stay in the bytes and are decoded when
 * walked, so that memory for a module stays below four times its bytes; beyond that only the lists
 * of imports, exports and segments can reach, which the limits below keep to a few megabytes.
 */
#ifndef ENGINE_WASM_H
#define ENGINE_WASM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Value types by their binary code. WASM_ANY is the validator's unknown (unreachable code). */
enum wasm_type {
    WASM_ANY = 0x00,
    WASM_EXTERNREF = 0x6f,
    WASM_FUNCREF = 0x70,
    WASM_V128 = 0x7b,
    WASM_F64 = 0x7c,
    WASM_F32 = 0x7d,
    WASM_I64 = 0x7e,
    WASM_I32 = 0x7f,
};

enum wasm_kind { WASM_KIND_FUNC, WASM_KIND_TABLE, WASM_KIND_MEMORY, WASM_KIND_GLOBAL };

/* Implementation limits: beyond one, the error is ATOLL_ELIMIT, not "malformed" or "invalid". */
#define WASM_MAX_MODULE_BYTES  (256u << 20)
#define WASM_MAX_TYPES         1000000u
#define WASM_MAX_FUNCTIONS     1000000u
#define WASM_MAX_IMPORTS       100000u
#define WASM_MAX_EXPORTS       100000u
#define WASM_MAX_GLOBALS       100000u
#define WASM_MAX_PARAMS        1000u
#define WASM_MAX_RESULTS       1000u
#define WASM_MAX_LOCALS        50000u
#define WASM_MAX_BODY_BYTES    7654321u
#define WASM_MAX_BR_TABLE      65520u
#define WASM_MAX_NESTING       16384u
#define WASM_MAX_TABLES        100u
#define WASM_MAX_TABLE_ENTRIES 10000000u
#define WASM_MAX_SEGMENTS      100000u
#define WASM_MAX_MEMORY_PAGES  65536u
#define WASM_MAX_CONST_DEPTH   256u       /* operands of one constant expression at a time */
#define WASM_MAX_OPERANDS      (1u << 20) /* operands of one function at a time */
#define WASM_PAGE              65536u

/* Features a module uses (bits of wasm_module.features), for `atoll inspect` and for the artefact.
 */
enum wasm_feature {
    WASM_FEATURE_SIGN_EXT = 1 << 0,
    WASM_FEATURE_SAT_FLOAT = 1 << 1,
    WASM_FEATURE_MULTI_VALUE = 1 << 2,
    WASM_FEATURE_BULK_MEMORY = 1 << 3,
    WASM_FEATURE_REFERENCE_TYPES = 1 << 4,
    WASM_FEATURE_EXTENDED_CONST = 1 << 5,
    WASM_FEATURE_SIMD = 1 << 6,
    WASM_FEATURE_TAIL_CALL = 1 << 7,
    WASM_FEATURE_THREADS = 1 << 8,
    WASM_FEATURE_MUTABLE_GLOBALS = 1 << 9, /* imported or exported mutable global */
};

/* Bytes inside the module. */
struct wasm_span {
    uint32_t offset, len;
};

struct wasm_limits {
    uint32_t min, max; /* pages or entries; max = UINT32_MAX when has_max is false */
    bool has_max, shared;
};

struct wasm_import {
    struct wasm_span module, name;
    uint32_t index; /* in the index space of its kind */
    uint8_t kind;   /* enum wasm_kind; the description is found under index in that space */
};

struct wasm_export {
    struct wasm_span name;
    uint32_t index;
    uint8_t kind;
};

struct wasm_table {
    struct wasm_limits limits;
    uint8_t type; /* WASM_FUNCREF or WASM_EXTERNREF */
};

struct wasm_memory {
    struct wasm_limits limits;
};

struct wasm_global {
    struct wasm_span init; /* constant expression without its `end`; len 0 for an import */
    uint8_t type;
    bool mutable;
};

enum wasm_segment_mode { WASM_ACTIVE, WASM_PASSIVE, WASM_DECLARATIVE };

struct wasm_element {
    struct wasm_span offset; /* constant expression, when active */
    struct wasm_span items;  /* encoded items; walk with wasm_element_* */
    uint32_t count, table;
    uint8_t mode, type;
    bool expressions; /* items are constant expressions, else function indices */
};

struct wasm_data {
    struct wasm_span offset; /* constant expression, when active */
    struct wasm_span bytes;
    uint32_t memory;
    uint8_t mode;
};

/* One function of the index space (imports first). */
struct wasm_function {
    uint32_t type;         /* index into the type space */
    struct wasm_span body; /* local declarations and code; {0, 0} for an import */
};

/* A function type; params and results point at value type bytes in the module. */
struct wasm_signature {
    const uint8_t *params, *results;
    uint32_t param_count, result_count;
};

/* Where a type's parameters are encoded, decoded when asked for; a module may have a million of
 * them in three bytes each. canonical = lowest index of an equal type. */
struct wasm_type_entry {
    uint32_t offset, canonical;
};

struct wasm_module {
    const uint8_t *bytes;
    size_t len;

    struct wasm_type_entry *types;
    struct wasm_import *imports;
    struct wasm_function *functions;
    struct wasm_table *tables;
    struct wasm_memory *memories;
    struct wasm_global *globals;
    struct wasm_export *exports;
    struct wasm_element *elements;
    struct wasm_data *datas;
    uint32_t type_count, import_count, function_count, table_count, memory_count, global_count,
        export_count, element_count, data_count;
    /* How many of each space are imported (they come first). */
    uint32_t imported_functions, imported_tables, imported_memories, imported_globals;

    uint32_t start; /* function index or UINT32_MAX */
    bool has_data_count;
    uint32_t features; /* of the sections; wasm_validate adds those of the code */

    /* Bit f set: function f occurs in an element segment, a global initialiser or an export, so it
     * may become a funcref (the set C.refs of the specification). */
    uint8_t *referenced;
    struct wasm_span code;         /* payload of the code section */
    struct wasm_span name_section; /* payload of the custom section "name"; len 0 if none */
    struct wasm_span dylink, producers, target_features; /* payloads likewise */
};

struct wasm_signature wasm_type_signature(const struct wasm_module *, uint32_t type);

static inline struct wasm_signature wasm_function_signature(const struct wasm_module *m,
                                                            uint32_t function)
{
    return wasm_type_signature(m, m->functions[function].type);
}

static inline bool wasm_is_reference(uint8_t type)
{
    return type == WASM_FUNCREF || type == WASM_EXTERNREF;
}

static inline bool wasm_function_referenced(const struct wasm_module *m, uint32_t f)
{
    return (m->referenced[f >> 3] >> (f & 7)) & 1;
}

/* "i32", "f64", "funcref", … for messages. */
const char *wasm_type_name(uint8_t type);
/* "sign-ext", "simd", … for one feature bit. */
const char *wasm_feature_name(uint32_t bit);

/* A constant expression reduced to what it can be (extended-const arithmetic over constants is
 * folded; only expressions that mix global.get with arithmetic stay programs).
 * Walk: wasm_const_next yields the operators in order. */
enum wasm_const_kind {
    WASM_CONST_VALUE, /* value holds the bits (i32 zero-extended) */
    WASM_CONST_REF_NULL,
    WASM_CONST_REF_FUNC,   /* index */
    WASM_CONST_GLOBAL_GET, /* index */
    WASM_CONST_ADD,
    WASM_CONST_SUB,
    WASM_CONST_MUL, /* type says i32 or i64 */
};
struct wasm_const_op {
    uint8_t kind, type;
    uint32_t index;
    uint8_t value[16];
};
/* Decodes the operator at *cursor (a module offset; start at span.offset) and advances it. Returns
 * false at the span's end. The expression has been read and validated. */
bool wasm_const_next(const struct wasm_module *, struct wasm_span, uint32_t *cursor,
                     struct wasm_const_op *out);

/* Evaluates a validated constant expression. global_value fills 16 bytes with the value of a global
 * (its argument: the global's index); references are whatever the caller encodes: ref_value maps a
 * function index (UINT32_MAX = null) to its 8-byte reference. Returns 0, or the negative code of
 * the first callback that fails. */
struct wasm_const_environment {
    int (*global_value)(void *context, uint32_t global, uint8_t out[static 16]);
    int (*ref_value)(void *context, uint32_t function, uint64_t *out);
    void *context;
};
int wasm_const_evaluate(const struct wasm_module *, struct wasm_span,
                        const struct wasm_const_environment *, uint8_t out[static 16]);

/* Walks the items of an element segment: *cursor starts at items.offset. Each item is a function
 * index (UINT32_MAX = null), or, when global is not UINT32_MAX, the value of that global. */
struct wasm_element_item {
    uint32_t function, global;
};
bool wasm_element_next(const struct wasm_module *, const struct wasm_element *, uint32_t *cursor,
                       struct wasm_element_item *out);

/* The debug name of a function from the name section (not NUL-terminated); len 0 if none. Linear in
 * the number of names: for traps and messages, not for loops. */
struct wasm_span wasm_function_name(const struct wasm_module *, uint32_t function);

/* The function whose body contains a module byte offset, or UINT32_MAX. Binary search. */
uint32_t wasm_function_at(const struct wasm_module *, uint32_t offset);

#endif
