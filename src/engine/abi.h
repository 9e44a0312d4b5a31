/*
 * The contract between generated code and the runtime: where everything lies in an arena, what the
 * instance fields hold, how functions, thunks and gates are called. docs/engine.md explains it;
 * this file is the only place that states the numbers.
 *
 * An arena is one slot of 16 GiB, aligned to its size. B is the address of byte 0 of memory 0.
 *
 *   slot + 0           PROT_NONE
 *   slot + 4 GiB       gate page RX, gate data page R (ARENA_GATE)
 *   + 64 KiB           code image of the primary module RX, then of linked ones (ARENA_IMAGES)
 *   .. B               guard | native guest stack RW | guard | tables, fields RW, ending at B
 *   B                  memory 0, PROT_NONE beyond its size
 *   B + 4 GiB          guard of 4 GiB + 64 KiB
 *   B + 8 GiB + 64 KiB rest: field blocks, tables and memories of linked modules (ARENA_REST)
 *
 * vm, the first argument of every generated function, is the end of the module's field block. For
 * the primary module vm == B, so one register addresses fields (negative) and memory (positive).
 * A linked module's block lies in the rest; it computes B = (vm & -SLOT_SIZE) + ARENA_BASE.
 *
 * "Offset from B" below is a signed 64-bit difference: nothing in fields, tables or globals depends
 * on the slot, except the context pointer, which is zero in every snapshot.
 */
#ifndef ENGINE_ABI_H
#define ENGINE_ABI_H

#include "base/bytes.h"
#include "base/error.h"
#include "engine/wasm.h"

#define SLOT_BITS  34
#define SLOT_SIZE  (1ull << SLOT_BITS)
#define SLOT_FIRST 1028u /* slot indices [1028, 5440): address = index << 34 */
#define SLOT_END   5440u

#define ARENA_GATE         (4ull << 30)
#define ARENA_IMAGES       (ARENA_GATE + (64ull << 10))
#define ARENA_IMAGES_SIZE  (384ull << 20)
#define ARENA_BASE         (ARENA_GATE + (513ull << 20)) /* slot offset of B */
#define ARENA_GUARD        (64ull << 10)
#define ARENA_MEMORY_GUARD ((4ull << 30) + (64ull << 10))
#define ARENA_REST         (ARENA_BASE + (4ull << 30) + ARENA_MEMORY_GUARD)
#define ARENA_NEAR_TABLES  (32ull << 20) /* tables below the fields; beyond, in the rest */
#define ARENA_STACK_MIN    (64ull << 10)
#define ARENA_STACK_MAX    (64ull << 20)
#define ARENA_FAR_TABLES   (1ull << 30) /* of the rest, kept for far tables of the primary module */
#define ABI_TABLE_GROWTH   65536u       /* entries a table that may grow has room for, at least */

/* Offsets from B. */
#define GATE_FROM_B  ((int64_t)(ARENA_GATE - ARENA_BASE))
#define IMAGE_FROM_B ((int64_t)(ARENA_IMAGES - ARENA_BASE)) /* primary module */

/* The window of shared regions, as guest addresses; memory.grow stops below it. */
#define WINDOW_START 0xA0000000u
#define WINDOW_END   0xFFFF0000u

/* ---- fields, as offsets from vm ---- */
#define FIELD_MEMORY_SIZE                                                    \
    (-8) /* u64: size of memory 0 in bytes; at B - 8 for every module of the \
            arena that shares memory 0 */
#define FIELD_CONTEXT      (-16) /* host struct context *, primary block only, zero when captured */
#define FIELD_MEMORY       (-24) /* i64: offset from B of a memory descriptor (LINK_OTHER only) */
#define FIELD_MEMORY_LIMIT (-32) /* u64: bytes memory 0 may grow to */
#define FIELD_FUEL         (-40) /* i64: at B - 40 for every module of the arena */
#define FIELD_EXCEPTION    (-48) /* i64: pending exception, 0 = none */
#define FIELD_INSTANCE     (-56) /* u64: index of the instance in its arena */
#define FIELD_OWN_MEMORY   (-96) /* struct memory_descriptor: memory of a linked module */
#define FIELD_HEADER_SIZE  128   /* the call area and the rest lie below vm - 128 */

struct memory_descriptor {
    int64_t base; /* offset from B */
    uint64_t size, limit, reserved;
};

/* A function record, a table entry and an imported function's slot have one form. A funcref value
 * is the offset from B of a record (0 = null). An externref is a non-zero handle (0 = null); in a
 * table it stands in `record`, the other words zero. signature 0 = null entry. */
struct function_record {
    int64_t code, vm; /* offsets from B */
    uint64_t signature;
    int64_t record;
};

/* Table k of the module's index space. Defined tables: base/size/limit. Imported ones: link =
 * offset from B of the descriptor of the module that defines it, the others unused. */
struct table_descriptor {
    int64_t base;         /* offset from B of entry 0 */
    uint64_t size, limit; /* entries */
    int64_t link;
};

#define AREA_SLOT      16u /* bytes of an argument, result or global */
#define AREA_SLOTS_MIN 16u

/* ---- what code is generated for ---- */
enum compile_tier { TIER_QUICK, TIER_OPT };
enum compile_mode { MODE_FAST, MODE_EXACT };
enum cpu_level { CPU_NATIVE = 1, CPU_V2 = 2, CPU_V3 = 3, CPU_V4 = 4 };
enum link_mode {
    LINK_PRIMARY, /* vm == B; memory, if any, is memory 0 at B, bounds by guard pages */
    LINK_SHARED,  /* linked; its memory is memory 0 of the arena, bounds by guard pages */
    LINK_OTHER,   /* linked; its memory (if any) is described by FIELD_MEMORY, explicit bounds */
};

struct compile_options {
    uint8_t tier, mode, cpu, link;
    bool fuel;          /* deterministic metering in FIELD_FUEL */
    bool tail_calls;    /* functions use tailcc; all modules of an arena agree */
    bool deterministic; /* canonical NaNs */
};

/*
 * Where the parts of a module's field block lie. Each offset is positive and is subtracted from vm:
 * slot k of the globals is at vm - globals + 16 k.
 */
struct abi_table_place {
    int64_t from_vm;   /* of entry 0; defined tables only */
    uint32_t capacity; /* entries reserved */
    bool fixed_size;   /* its size never changes (min == max): it is the constant limits.min */
};
struct abi_layout {
    uint32_t area, area_slots; /* call area: 16 bytes per argument or result */
    uint32_t globals;     /* 16 bytes each. Defined, and imported immutable (copied at link): the
                             value. Imported mutable: i64 offset from B of the cell */
    uint32_t imports;     /* struct function_record of each imported function */
    uint32_t tables;      /* struct table_descriptor of each table of the index space */
    uint32_t records;     /* struct function_record of each referenced defined function, in order */
    uint32_t signatures;  /* u64 canonical number of each type (linked modules; else 0) */
    uint32_t dropped;     /* one byte per data segment, then one per element segment: 1 = dropped */
    uint32_t fields_size; /* all of the above, multiple of 4096 */
    uint64_t low_size;    /* fields and near tables: [vm - low_size, vm), multiple of 4096 */
    uint64_t far_size;    /* bytes of the rest used by far tables of a primary module */
    uint32_t record_count;
    uint32_t *record_of; /* per function: index of its record, UINT32_MAX if none or imported */
    struct abi_table_place *table_places; /* per table */
};

/* Deterministic in its arguments. The owner calls abi_layout_free. */
int abi_layout_compute(const struct wasm_module *, enum link_mode, struct abi_layout *out,
                       struct error *e);
void abi_layout_free(struct abi_layout *);

/* Canonical type number of type t in a primary module: t's canonical index + 1 (0 means null). In a
 * linked module the number is loaded from the signatures field. */
static inline uint64_t abi_primary_signature(const struct wasm_module *m, uint32_t t)
{
    return (uint64_t)m->types[t].canonical + 1;
}

/* Offset from vm of the record of function f (imported or referenced). */
int64_t abi_record_from_vm(const struct wasm_module *, const struct abi_layout *, uint32_t f);

/*
 * ---- calling conventions ----
 * Generated function:  R f(ptr vm, P…)                   no result or one result
 *                      void f(ptr vm, ptr results, P…)   several: result i at results + 16 i
 *   i32 i64 f32 f64 are themselves, v128 is <4 x i32>, references are i64. Convention: C, or tailcc
 *   when options.tail_calls.
 * Entry thunk "e<t>" (t canonical type index; for the types of all referenced functions and of the
 *   start function), always C convention:
 *                      void e(ptr vm, ptr code, ptr area)   loads parameter i from area + 16 i,
 * calls code with vm, stores result i to area + 16 i. Import thunk "i<k>", convention of functions:
 * stores argument i to the call area + 16 i, calls the gate with number GATE_IMPORT + k, loads
 * result i from the call area + 16 i. Defined function: symbol "f<index>" (index in the whole
 * function space). Calls of imported function k load {code, vm} from its record and call B + code
 * with B + vm. Bulk routines in the image, C convention: "atoll_memmove"(ptr dst, ptr src, i64
 * len), "atoll_memset"(ptr dst, i32 byte, i64 len).
 *
 * Gate: a C function void gate(ptr vm, i32 number) at B + GATE_FROM_B. It may change memory, fields
 * and tables of the arena, may never return (trap, exit), and clears caller-saved registers.
 * Built-in gates take arguments from and leave results in the call area slots, as listed.
 */
enum gate_number {
    GATE_MEMORY_GROW = 0, /* (i32 pages) -> i32 old size in pages or -1 */
    GATE_MEMORY_COPY, /* (i32 dst, i32 src, i32 len): not wholly inside memory: window or trap */
    GATE_MEMORY_FILL, /* (i32 dst, i32 byte, i32 len): likewise */
    GATE_MEMORY_INIT, /* (i32 dst, i32 src, i32 len, i32 segment) */
    GATE_DATA_DROP,   /* (i32 segment) */
    GATE_TABLE_GROW,  /* (ref value, i32 delta, i32 table) -> i32 old size or -1 */
    GATE_TABLE_FILL,  /* (i32 index, ref value, i32 len, i32 table) */
    GATE_TABLE_COPY,  /* (i32 dst, i32 src, i32 len, i32 dst table, i32 src table) */
    GATE_TABLE_INIT,  /* (i32 dst, i32 src, i32 len, i32 segment, i32 table) */
    GATE_ELEM_DROP,   /* (i32 segment) */
    GATE_WAIT32,      /* (i64 address incl. offset, i32 expected, i64 timeout_ns) -> i32 */
    GATE_WAIT64,      /* (i64 address, i64 expected, i64 timeout_ns) -> i32 */
    GATE_NOTIFY,      /* (i64 address, i32 count) -> i32 woken */
    GATE_FUEL,        /* (): fuel is below zero */
    GATE_IMPORT = 64,
};

/* Traps. Kinds below 64 stand in the ud1 instruction that llvm.ubsantrap emits. */
enum trap_kind {
    TRAP_NONE = 0,
    TRAP_UNREACHABLE,
    TRAP_MEMORY_BOUNDS,         /* out of bounds memory access */
    TRAP_TABLE_BOUNDS,          /* out of bounds table access */
    TRAP_UNDEFINED_ELEMENT,     /* call_indirect: index beyond the table */
    TRAP_UNINITIALIZED_ELEMENT, /* call_indirect: null entry */
    TRAP_SIGNATURE,             /* call_indirect: another type */
    TRAP_DIVIDE_BY_ZERO,
    TRAP_INTEGER_OVERFLOW,
    TRAP_BAD_CONVERSION, /* invalid conversion to integer */
    TRAP_UNALIGNED_ATOMIC,
    TRAP_STACK_EXHAUSTED,
    TRAP_READ_ONLY_REGION, /* store to a region mapped for reading */
    TRAP_LOST_REGION,      /* SIGBUS: the object behind a region is gone */
    TRAP_EXPECTED_SHARED,  /* atomic wait on unshared memory */
    TRAP_FUEL,             /* fuel exhausted */
    TRAP_HOST,             /* raised by a host call */
    TRAP_INTERRUPTED,      /* killed: deadline, cancellation */
    TRAP_ENGINE,           /* a fault no rule explains: a bug of the engine */
};

/* "out of bounds memory access", … as the core suite words them. */
const char *trap_kind_name(enum trap_kind);

#endif
