/*
 * Inside the runtime: the arena, its instances, and the context that gate.S uses. For the files of
 * this room, for sandbox/ (snapshots, regions, capture) and for embed/, which passes them on;
 * everyone else uses instance.h.
 */
#ifndef ENGINE_ARENA_H
#define ENGINE_ARENA_H

#include "engine/gate.h"
#include "engine/instance.h"
#include "engine/slot.h"

#include <signal.h>
#include <stdatomic.h>

/* The registers of a guest stopped at an instruction. Vector state is the kernel's XSAVE image of
 * the signal frame, valid in this process only; capture stores it by component. */
struct guest_registers {
    uint64_t general[16]; /* rax rcx rdx rbx rsp rbp rsi rdi r8..r15 */
    uint64_t rip, rflags;
    uint32_t xsave_len; /* 512 (legacy) or the size of the XSAVE image */
    uint8_t
        *xsave; /* signals_xsave_max() bytes, owned by the context; NULL before the first stop */
};

#define ENTRY_DEPTH_MAX 32

/* The host's side of an arena: stacks, stop flag, saved state. Not guest memory. */
struct context {
    uint64_t host_rsp, guest_rsp;
    _Atomic uint32_t stop;
    uint32_t vector;
    uint64_t thunk, vm, code, area; /* of the call that gate_enter makes */

    struct arena *arena;
    _Atomic int runner; /* thread that runs the arena now, 0 = none */
    uint32_t depth;     /* host-to-guest entries in progress */

    /* Set by the signal handlers for the run that they end. */
    enum trap_kind trap_kind;
    uint64_t trap_pc, trap_rsp, trap_rbp, trap_address;
    bool resuming; /* context_raise is under way: the handler loads registers */

    /* A suspended run. */
    uint32_t suspended; /* LEAVE_ status, 0 = none */
    uint32_t suspended_depth;
    struct guest_registers registers;
    bool registers_fresh; /* the handler has saved registers; the vector part is still the thread's
                           */
    uint64_t suspended_rsp;                      /* guest_rsp at a gate */
    uint64_t pending_vm;                         /* host call that waits: caller's vm … */
    uint32_t pending_number;                     /* … and gate number */
    struct host_park *park;                      /* owned; NULL before the first park */
    uint32_t running_instance, running_function; /* whose results are due */

    uint64_t gate_calls; /* host calls made: an effect is known by its number */
    int32_t exit_code;
    char message[160];
};

struct region {
    uint32_t address;       /* guest address */
    uint32_t rights;        /* enum guest_right */
    uint64_t len;           /* whole pages */
    uint64_t offset;        /* in its memory file */
    uint64_t device, inode; /* of the memory file: the same part mapped again is the same region */
    uint32_t references;
    char name[64]; /* by which a captured instance attaches it again */
};

#define ARENA_REGIONS_MAX   64
#define ARENA_INSTANCES_MAX 4096

struct import_binding {
    host_function function;
    void *data;
};

struct instance {
    struct arena *arena;
    struct artefact *artefact;
    uint32_t index;
    uint64_t image_offset; /* of its code image, from the slot */
    uint8_t *vm;
    struct import_binding *bindings; /* per imported function; function NULL = bound to an export */
    uint64_t *signatures;            /* linked: number of each canonical type of the module */
};

struct arena {
    struct context context;
    uint32_t slot;
    uint8_t *base;                   /* B */
    uint8_t *stack_low, *stack_high; /* NULL before the first instance or run */
    struct slot left; /* what the slot's last arena left mapped and this one has not taken over */
    struct arena_limits limits;
    struct instance *primary;
    struct instance *caller; /* whose host call is running: its memory is what host functions see */
    struct instance **instances;
    uint32_t instance_count, instance_capacity;
    uint64_t images_end;              /* slot offset behind the last image */
    uint64_t rest_used;               /* slot offset behind the last allocation in the rest */
    uint64_t data_end;                /* slot offset; nothing behind it is mapped */
    uint64_t mapped_low, mapped_high; /* slot offsets of the mapping around B; 0, 0: none */
    uint64_t mapped_source;
    bool fields_mapped; /* the page below B is accessible */
    bool from_snapshot; /* its private pages lie over a snapshot, not over artefacts' images */

    /* Structural types of linked modules and their numbers. */
    struct interned_type *types;
    uint32_t type_count, type_capacity;

    uint64_t *externrefs; /* value of handle i + 1 */
    uint32_t externref_count, externref_capacity;

    struct region *regions; /* sorted by address */
    uint32_t region_count, region_capacity;
    uint64_t first_len; /* of the region that lay at the window's start last; 0: none did */
    bool first_apart;   /* its place, closed, is a mapping by itself (region.c) */

    void *owner; /* of the room above that made it; not looked at here */
};

static inline int64_t *arena_field(uint8_t *vm, int offset)
{
    return (int64_t *)(void *)(vm + offset);
}

/* Notes, before it is done, that something is mapped below `end`. */
static inline void arena_reach(struct arena *a, const uint8_t *end)
{
    uint64_t offset = (uint64_t)(end - a->base) + ARENA_BASE;
    if (offset > a->data_end)
        a->data_end = offset;
}

static inline uint64_t arena_memory_size(const struct arena *a)
{
    return a->fields_mapped ? (uint64_t)*arena_field(a->base, FIELD_MEMORY_SIZE) : 0;
}

/* ---- arena.c: slots and mappings ---- */
/* As arena_create; prefers a slot that has the code of this artefact (NULL: none) mapped already.
 */
int arena_create_for(uint32_t slot, const struct arena_limits *, const struct artefact *,
                     struct arena **out, struct error *);
extern const char gate_code_start[], gate_code_end[], gate_reenter[], gate_reenter_end[],
    gate_enter[], gate_enter_range[], gate_enter_range_end[], gate_leave[], gate_return[];
/* Address of a gate label in this arena. */
static inline uint8_t *arena_gate(const struct arena *a, const char *label)
{
    return a->base + GATE_FROM_B + (label - gate_code_start);
}
/* The gate page's bytes, hashed: captured stacks hold addresses into it. */
void gate_identity(uint8_t out[static HASH_LEN]);
/* Maps the guest stack below the primary module's low_size bytes (0: no primary yet). */
int arena_map_stack(struct arena *, uint64_t low_size, struct error *);
/* Maps an artefact's code at an offset of the slot, which holds it. */
int arena_map_code(struct arena *, const struct artefact *, uint64_t offset, struct error *);
/* A part of a file. source: a number that no other file of this process has had, 0: unknown. */
struct file_part {
    int fd;
    uint64_t offset, source;
};
/* Maps a primary module's tables, fields and memory, private: len bytes from `start`. */
int arena_map_data(struct arena *, uint8_t *start, uint64_t len, const struct file_part *,
                   struct error *);
/* Makes the page below B accessible when no primary module has done so. */
int arena_map_fields(struct arena *, struct error *);
/* size bytes of the rest of the slot (multiple of 64 KiB), reserved, not accessible. */
int arena_take_rest(struct arena *, uint64_t size, uint8_t **out, struct error *);
/* Adds a handle for a value, though one exists; its number, 0 at the limit. */
uint64_t arena_externref_append(struct arena *, uint64_t value);
/* The instance whose code image holds the address, or NULL. */
struct instance *arena_instance_at(const struct arena *, uint64_t pc);
/* The mapped region that holds [address, address + len), or NULL. */
const struct region *arena_region_at(const struct arena *, uint32_t address, uint64_t len);

/* ---- memory.c: instructions on memory and tables that need the host ---- */
struct memory_view {
    uint8_t *base;
    uint64_t *size, *limit; /* in bytes; NULL for an instance without memory */
};
struct memory_view instance_memory_view(const struct instance *);
struct table_descriptor *instance_table(const struct instance *, uint32_t table);
struct function_record *table_entries(const struct instance *, const struct table_descriptor *);
/* Whether the arena's limit leaves room for so many more entries in all its tables together. */
bool arena_table_room(const struct arena *, uint64_t more);
/* Runs built-in gate `number`; slots as abi.h lists. 0 = done, else the trap's kind, or
 * BUILTIN_PARK. */
#define BUILTIN_PARK (-1)
int builtin_gate(struct instance *, uint32_t number, union host_slot *slots, struct host_park *,
                 bool resumed);
/* table.init and memory.init, also for active segments. 0 or a trap kind. */
int instance_table_init(struct instance *, uint32_t table, uint32_t segment, uint32_t to,
                        uint32_t from, uint32_t len);
int instance_memory_init(struct instance *, uint32_t segment, uint32_t to, uint32_t from,
                         uint32_t len);
/* The 8-byte reference of function f (UINT32_MAX = null). */
uint64_t instance_reference(const struct instance *, uint32_t function);
/* Value of a constant expression of the instance's module. */
void instance_constant(const struct instance *, struct wasm_span, uint8_t out[static 16]);

/* ---- link.c ---- */
uint8_t *instance_global_cell(const struct instance *, uint32_t index);
/* What a call needs of function f: its code address, its vm. */
void instance_callee(const struct instance *, uint32_t f, uint64_t *code, uint64_t *vm);
void arena_types_free(struct arena *);
/* Puts a module back where it stood in another arena (snapshot, captured image): registers the
 * instance and maps its code; the primary's stack too. The caller maps the data, sets the bindings,
 * and then calls instance_adopt_types. Restore arena.rest_used before. */
int instance_adopt(struct arena *, struct artefact *, uint64_t image_offset, int64_t vm_from_b,
                   struct instance **out, struct error *e);
int instance_adopt_types(struct instance *, struct error *e);

/* ---- trap.c: signals ---- */
int signals_initialize(struct error *);
/* Installs the handlers again, in front of those that someone else has installed meanwhile. */
int signals_install(struct error *);
/* Gives this thread an alternate signal stack, once. */
int signals_prepare_thread(struct error *);
/* The arena this thread runs; returns the previous one. */
struct arena *signals_enter_arena(struct arena *);
void signals_leave_arena(struct arena *previous);
void signals_kick(int thread); /* async-signal-safe */
/* Lets a stop signal through that this thread has sent to itself. Before every way into the guest.
 */
void signals_release_kick(void);
/* Blocks the stop signal on this thread; *before receives the mask to put back. */
void signals_hold_kick(sigset_t *before);
/* The largest XSAVE image that this processor's signal frames hold. */
uint32_t signals_xsave_max(void);
/* Gives the context room for vector registers. */
int signals_reserve_vectors(struct context *);
/* Moves the vector registers that the handler saved from the thread to the context. */
int signals_keep_vectors(struct context *);
/* Loads context.registers into this thread; a LEAVE_ status when the guest leaves. */
int signals_resume(struct context *);
int guest_copy(void *to, const void *from, size_t len);

/* ---- backtrace.c ---- */
void backtrace_fill(const struct arena *, uint64_t pc, uint64_t rbp, struct trap_info *);

/* ---- run.c ---- */
/* What a run needs of thread and arena: signal stack, register buffer, guest stack. */
int arena_prepare(struct arena *, struct error *);
/* Called by gate_call on the host stack: 0 = return to the guest, else a LEAVE_ status. */
int context_dispatch(struct context *, uint8_t *vm, uint32_t number);

#endif
