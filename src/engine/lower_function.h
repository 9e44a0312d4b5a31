/*
 * What the files of lowering share: one shard's LLVM module, the function being lowered, its value
 * stack and control frames, and the small vocabulary in which operators are written.
 *
 * lower.c owns a struct lowering for the time of one lower_shard; lower_control.c fills it anew for
 * each function as the validator's sink. Every handler takes operands from the value stack and
 * pushes results. Pushing never fails: room for LOWER_STACK_ROOM values is made before every
 * operator.
 *
 * Value representation: i32 i64 f32 f64 as themselves, v128 as <4 x i32>, references as i64. No
 * value is ever undef or poison. Handlers never see unreachable operators.
 */
#ifndef ENGINE_LOWER_FUNCTION_H
#define ENGINE_LOWER_FUNCTION_H

#include "engine/lower.h"
#include "engine/lower_relax.h"
#include "engine/wasm_validate.h"

#include <assert.h>
#include <llvm-c/Core.h>
#include <llvm-c/DebugInfo.h>

/* Values one operator may push at most: the results of a call or block, and a few. */
#define LOWER_STACK_ROOM (WASM_MAX_RESULTS + 16)

/* A block, loop, if or the function itself. */
struct lower_frame {
    enum lower_frame_kind { FRAME_FUNCTION, FRAME_BLOCK, FRAME_LOOP, FRAME_IF, FRAME_ELSE } kind;
    struct wasm_signature type;
    uint32_t height;             /* values below the frame's parameters */
    uint32_t saved;              /* if: where its parameters stand in lowering.saved */
    LLVMBasicBlockRef label;     /* branch target; NULL until something branches there */
    LLVMBasicBlockRef otherwise; /* if: the block of else */
    LLVMBasicBlockRef between;   /* within one br_table: the block that leads to label */
};

/* A block that traps, moved behind the function's other blocks when it ends. */
struct lower_block_list {
    LLVMBasicBlockRef *items;
    uint32_t count, capacity;
};

/* Intrinsic declarations already looked up; name is compared by address. */
#define LOWER_INTRINSIC_SLOTS 512u
struct lower_intrinsic_slot {
    const char *name;
    LLVMTypeRef overloads[2];
    LLVMValueRef function;
    LLVMTypeRef type;
};

#define LOWER_ATTRIBUTES 8

struct lowering {
    const struct wasm_module *module;
    const struct abi_layout *layout;
    const struct compile_options *options;
    bool bounded; /* memory accesses check bounds explicitly (LINK_OTHER) */

    LLVMContextRef context;
    LLVMModuleRef llvm;
    LLVMBuilderRef builder;
    LLVMDIBuilderRef debug;
    LLVMMetadataRef debug_file, debug_type;

    LLVMTypeRef i1, i8, i16, i32, i64, f32, f64, v128, pointer, nothing;
    LLVMTypeRef gate_type;           /* void (ptr vm, i32 number) */
    LLVMTypeRef *signatures;         /* function type per canonical type, NULL until used */
    LLVMValueRef *functions;         /* per defined function, NULL until declared */
    LLVMValueRef tag_memory, tag_vm; /* TBAA access tags: linear memory; fields, tables, records */
    LLVMValueRef nothing_node;       /* an empty metadata node */
    unsigned kind_tbaa, kind_invariant;
    LLVMAttributeRef nomerge;
    LLVMAttributeRef attributes[LOWER_ATTRIBUTES]; /* of every function */
    struct lower_intrinsic_slot intrinsics[LOWER_INTRINSIC_SLOTS];

    /* ---- the function being lowered ---- */
    uint32_t index;
    LLVMValueRef function;
    LLVMBasicBlockRef entry;
    LLVMValueRef vm, base;     /* base: pointer to B; the same value as vm in the primary module */
    LLVMValueRef memory;       /* bounded: pointer to the memory descriptor */
    LLVMValueRef results;      /* pointer to the result area when several results, else NULL */
    LLVMValueRef call_results; /* result area for calls this function makes; NULL until needed */
    uint32_t call_result_slots;
    LLVMMetadataRef scope; /* debug scope */
    uint32_t offset;       /* wasm offset of the operator being lowered */

    LLVMValueRef *locals;       /* allocas */
    const uint8_t *local_types; /* the validator's */
    uint32_t local_count, local_capacity;

    LLVMValueRef *stack;
    uint32_t stack_len, stack_capacity;
    LLVMValueRef *saved; /* parameters of open ifs */
    uint32_t saved_len, saved_capacity;
    struct lower_frame *frames;
    uint32_t frame_count, frame_capacity;

    bool dead;           /* the current place is unreachable: operators are skipped */
    uint32_t dead_depth; /* frames opened since */
    struct lower_block_list traps;

    LLVMValueRef fuel_charge; /* subtraction at the head of the open block, patched at its end */
    uint32_t fuel_count;

    uint64_t largest_cost; /* blocks x locals of the costliest function so far */
};

/* ---- value stack ---- */

static inline void lower_push(struct lowering *l, LLVMValueRef value)
{
    assert(l->stack_len < l->stack_capacity);
    l->stack[l->stack_len++] = value;
}

static inline LLVMValueRef lower_pop(struct lowering *l)
{
    assert(l->stack_len > 0);
    return l->stack[--l->stack_len];
}

/* ---- types and constants (lower_value.c) ---- */

LLVMTypeRef lower_type(const struct lowering *, uint8_t wasm_type);
/* The LLVM function type of a wasm function type, as abi.h says. */
LLVMTypeRef lower_signature(struct lowering *, uint32_t type);
static inline LLVMValueRef lower_i32(const struct lowering *l, uint32_t value)
{
    return LLVMConstInt(l->i32, value, false);
}
static inline LLVMValueRef lower_i64(const struct lowering *l, uint64_t value)
{
    return LLVMConstInt(l->i64, value, false);
}
/* zext to i64 (i64 values pass). */
LLVMValueRef lower_wide(struct lowering *, LLVMValueRef value);
/* An i32 truth value as i1; undoes a zext instead of comparing. */
LLVMValueRef lower_condition(struct lowering *, LLVMValueRef value);
/* i1 to an i32 truth value. */
LLVMValueRef lower_truth(struct lowering *, LLVMValueRef condition);
/* Fixes a value that feeds a check, so that check and use see the same one (constants pass). */
LLVMValueRef lower_freeze(struct lowering *, LLVMValueRef value);
/* Calls an intrinsic. name: a string literal; overloads: its overloaded types, at most two. */
LLVMValueRef lower_intrinsic(struct lowering *, const char *name, const LLVMTypeRef *overloads,
                             unsigned overload_count, LLVMValueRef *arguments, unsigned count);
/* One overloaded type, that of the first argument. */
LLVMValueRef lower_unary_intrinsic(struct lowering *, const char *name, LLVMValueRef);
LLVMValueRef lower_binary_intrinsic(struct lowering *, const char *name, LLVMValueRef,
                                    LLVMValueRef);

/* ---- floating point (lower_numeric.c) ---- */

/* With options.deterministic: a NaN result (scalar or vector lanes) becomes the canonical NaN.
 * Applied to the result of every operator that can make a NaN; else the value itself. */
LLVMValueRef lower_canonical_nan(struct lowering *, LLVMValueRef value);
/* Keeps LLVM from folding an operation away that must quiet a signalling NaN: operands that are the
 * constants 0 or 1 of either sign, or an infinity, go through llvm.arithmetic.fence (any constant
 * when it is a vector). Applied to both operands of add, sub, mul, div, min, max. */
LLVMValueRef lower_quieting_operand(struct lowering *, LLVMValueRef value);
/* llvm.arithmetic.fence. */
LLVMValueRef lower_fence(struct lowering *, LLVMValueRef value);

/* ---- memory (lower_memory.c) ---- */

/* The pointer of an access of `bytes` bytes at the popped address operand plus op->memory.offset.
 * In LINK_OTHER it first traps when the access does not lie inside memory. */
LLVMValueRef lower_address(struct lowering *, const struct wasm_op *op, LLVMValueRef address,
                           unsigned bytes);
/* zext(address) + op->memory.offset as an i64. */
LLVMValueRef lower_effective(struct lowering *, const struct wasm_op *op, LLVMValueRef address);
/* Loads and stores of linear memory through such a pointer: alignment 1, leaf `mem`, volatile as
 * the mode says (loads always to begin with, where guard pages are the check; lower_relax clears
 * it). */
LLVMValueRef lower_load(struct lowering *, LLVMTypeRef type, LLVMValueRef pointer);
void lower_store(struct lowering *, LLVMValueRef value, LLVMValueRef pointer);

/* ---- fields (lower_memory.c) ---- */

/* vm + offset. */
LLVMValueRef lower_from_vm(struct lowering *, int64_t offset);
/* B + offset; the second for a computed i64. */
LLVMValueRef lower_from_base(struct lowering *, int64_t offset);
LLVMValueRef lower_at_base(struct lowering *, LLVMValueRef offset);
LLVMValueRef lower_offset(struct lowering *, LLVMValueRef pointer, LLVMValueRef bytes);
/* Loads and stores of fields, tables and records: leaf `vm`, alignment `alignment`. */
LLVMValueRef lower_load_field(struct lowering *, LLVMTypeRef type, LLVMValueRef pointer);
LLVMValueRef lower_store_field(struct lowering *, LLVMValueRef value, LLVMValueRef pointer);

/* ---- gates and traps (lower_gate.c) ---- */

/* Argument or result slot i of the call area. */
LLVMValueRef lower_area_slot(struct lowering *, uint32_t i);
/* Puts arguments into the call area and calls a gate. */
void lower_gate(struct lowering *, uint32_t number, LLVMValueRef const *arguments, uint32_t count);
/* The same, and loads result slot 0. */
LLVMValueRef lower_gate_result(struct lowering *, uint32_t number, LLVMValueRef const *arguments,
                               uint32_t count, LLVMTypeRef type);
/* Ends the current block with a trap. The caller positions the builder elsewhere. */
void lower_trap(struct lowering *, enum trap_kind);
/* Traps if condition (i1) holds; goes on in a new block. */
void lower_trap_if(struct lowering *, LLVMValueRef condition, enum trap_kind);
/* A new block of the current function, placed after the ones there are. */
LLVMBasicBlockRef lower_block(struct lowering *);
/* A block that only traps; placed last when the function is finished. The builder then stands in
 * it. */
LLVMBasicBlockRef lower_trap_block(struct lowering *);
static inline void lower_position(struct lowering *l, LLVMBasicBlockRef block)
{
    LLVMPositionBuilderAtEnd(l->builder, block);
}
/* Debug location: the operator at a wasm offset. */
void lower_locate(struct lowering *, uint32_t offset);

/* ---- operators, by family. Each handles exactly the codes of its family. ---- */

int lower_numeric_op(struct lowering *, const struct wasm_op *, struct error *);
int lower_convert_op(struct lowering *, const struct wasm_op *, struct error *);
int lower_memory_op(struct lowering *, const struct wasm_op *, struct error *);
int lower_variable_op(struct lowering *, const struct wasm_op *, struct error *);
int lower_table_op(struct lowering *, const struct wasm_op *, struct error *);
int lower_atomic_op(struct lowering *, const struct wasm_op *, struct error *);
int lower_call_op(struct lowering *, const struct wasm_op *, struct error *);
int lower_control_op(struct lowering *, const struct wasm_op *, struct error *);
/* Every operator of prefix 0xfd. */
int lower_simd_op(struct lowering *, const struct wasm_op *, struct error *);

/* ---- metering (lower_fuel.c): nothing is emitted unless options.fuel ---- */

/* Opens a basic block of the wasm code: charges it at its head. A loop head or function entry also
 * tests for exhaustion. */
void lower_fuel_begin(struct lowering *, bool test);
/* Ends it: the charge becomes the number of its operators. */
void lower_fuel_end(struct lowering *);

/* ---- functions (lower_function.c) ---- */

/* The sink that lowers function after function into l->llvm. */
struct wasm_sink lower_sink(struct lowering *);
/* Declares (once) a defined function of the index space, of this shard or another. */
LLVMValueRef lower_declare(struct lowering *, uint32_t function);
/* A new function with the attributes and visibility all generated code has. */
LLVMValueRef lower_function_create(struct lowering *, const char *name, LLVMTypeRef type);
/* Opens the body of a function whose first parameter is vm: entry block, debug scope (rows of
 * offset 0 belong to no operator), vm, base, memory. */
void lower_prologue(struct lowering *, LLVMValueRef function, uint32_t offset);
/* What frees the working memory of the above. */
void lower_sink_free(struct lowering *);
/* Opens a control frame (lower_control.c). */
int lower_frame_open(struct lowering *, enum lower_frame_kind, struct wasm_signature,
                     struct error *);

/* Calling convention of generated functions. */
static inline unsigned lower_convention(const struct lowering *l)
{
    return l->options->tail_calls ? 18u /* tailcc */ : LLVMCCallConv;
}

/* Values to and from a result area, 16 bytes each (lower_call.c). */
void lower_store_results(struct lowering *, LLVMValueRef area, LLVMValueRef const *values,
                         uint32_t count);
void lower_load_results(struct lowering *, LLVMValueRef area, struct wasm_signature,
                        LLVMValueRef *values);

/* Loads a word of a record or table entry: 0 code, 1 vm, 2 signature, 3 record. */
LLVMValueRef lower_record_word(struct lowering *, LLVMValueRef record, unsigned word);
/* Pointer to table k's entry `index`, bounds checked: beyond, it traps with the given kind. */
LLVMValueRef lower_table_entry(struct lowering *, uint32_t table, LLVMValueRef index,
                               enum trap_kind);

/* The entry thunks and import thunks of abi.h. */
int lower_thunks(struct lowering *, struct error *);
/* Defines atoll_memmove and atoll_memset. Runs first in the shard with thunks; no debug location.
 */
void lower_bulk_routines(struct lowering *);

#endif
