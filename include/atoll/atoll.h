/*
 * libatoll: run WebAssembly in your process, at native speed and behind page protection.
 *
 * What happens in order: a *compiler* turns module bytes into an *artefact* (in a process of its
 * own, through a cache); an *arena* is 16 GiB of address space that holds everything its guests can
 * reach; atoll_link puts an *instance* of an artefact into an arena; atoll_invoke calls it. A
 * *snapshot* of a quiescent arena starts further arenas in microseconds; a *capture* of a suspended
 * one is a file that another process continues at the very instruction.
 *
 *     struct atoll_error e;
 *     struct atoll_compiler *compiler;
 *     struct atoll_artefact *artefact;
 *     struct atoll_arena *arena;
 *     struct atoll_instance *instance;
 *     struct atoll_outcome outcome;
 *     struct atoll_val argument = atoll_i32(20), result;
 *     uint32_t fib;
 *     if (atoll_compiler_create(NULL, &compiler, &e) < 0 ||
 *         atoll_compile(compiler, wasm, wasm_len, NULL, &artefact, NULL, &e) < 0 ||
 *         atoll_arena_create(ATOLL_SLOT_ANY, NULL, &arena, &e) < 0 ||
 *         atoll_link(arena, artefact, NULL, 0, &instance, &e) < 0 ||
 *         atoll_function(instance, "fib", &fib, &e) < 0 ||
 *         atoll_invoke(instance, fib, &argument, 1, &result, 1, &outcome, &e) < 0)
 *         fprintf(stderr, "%s\n", e.text);
 *
 * Rules that hold for every call here, unless its comment says otherwise:
 *
 * Errors. What returns int returns 0, or a negative code of errors.h with a sentence for people in
 *   the struct atoll_error that was passed (NULL is fine). No call ends the process. A guest that
 *   traps, exits, waits or is interrupted is no error: struct atoll_outcome tells. After an error
 *   the pointers named `out` are NULL. Any call that allocates may return -ATOLL_ENOMEM.
 * Ownership. What a call makes, the matching _destroy, _release or _free takes back; NULL is fine
 *   there. Arguments are copied or only read during the call.
 * Threads. Different arenas may be used by different threads at once. One arena, with its
 *   instances, is used by one thread at a time; it may change threads between calls, also while
 *   suspended. atoll_interrupt alone may be called from anywhere. Artefacts and snapshots are
 *   immutable and may be shared freely.
 * Signals. The library installs handlers for SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGRTMIN+5 when
 *   the first arena is made, and an alternate signal stack in each thread that runs a guest. Faults
 *   that are not a guest's go to the handler that was there before.
 * fork. A child must not use what its parent made here; exec is fine.
 * Memory. Sizes and addresses are in bytes. Guest addresses are offsets in a guest's linear memory.
 */
#ifndef ATOLL_ATOLL_H
#define ATOLL_ATOLL_H

#include "atoll/errors.h"
#include "atoll/version.h"

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct atoll_compiler;
struct atoll_artefact;
struct atoll_arena;
struct atoll_instance;
struct atoll_snapshot;
struct atoll_capture;
struct atoll_key;

#define ATOLL_NOWHERE UINT64_MAX

struct atoll_error {
    int code;          /* as returned */
    uint64_t offset;   /* byte offset in the input it is about, or ATOLL_NOWHERE */
    uint32_t function; /* index of the function it is about, or UINT32_MAX */
    char text[512];    /* what was being done, why it failed, what to do */
};

/* Bytes that a call has made. */
struct atoll_bytes {
    uint8_t *data;
    size_t len;
};
void atoll_bytes_free(struct atoll_bytes *);

/* ---- values ---- */

/* The types of WebAssembly, as its binary format numbers them. */
enum atoll_type {
    ATOLL_EXTERNREF = 0x6f,
    ATOLL_FUNCREF = 0x70,
    ATOLL_V128 = 0x7b,
    ATOLL_F64 = 0x7c,
    ATOLL_F32 = 0x7d,
    ATOLL_I64 = 0x7e,
    ATOLL_I32 = 0x7f,
};

/* The bits of a value. A funcref is opaque and only good in the arena it came from; 0 is null. */
union atoll_slot {
    int32_t i32;
    uint32_t u32;
    int64_t i64;
    uint64_t u64;
    float f32;
    double f64;
    uint64_t ref;
    uint8_t v128[16]; /* little-endian */
};

/* A value with its type. Of an externref, of.ref is the host's own value (a pointer, an index);
 * null is 0. */
struct atoll_val {
    uint8_t type; /* enum atoll_type */
    union atoll_slot of;
};

static inline struct atoll_val atoll_i32(int32_t value)
{
    struct atoll_val v = {ATOLL_I32, {0}};
    v.of.i64 = 0;
    v.of.i32 = value;
    return v;
}

static inline struct atoll_val atoll_i64(int64_t value)
{
    struct atoll_val v = {ATOLL_I64, {0}};
    v.of.i64 = value;
    return v;
}

static inline struct atoll_val atoll_f32(float value)
{
    struct atoll_val v = {ATOLL_F32, {0}};
    v.of.i64 = 0;
    v.of.f32 = value;
    return v;
}

static inline struct atoll_val atoll_f64(double value)
{
    struct atoll_val v = {ATOLL_F64, {0}};
    v.of.f64 = value;
    return v;
}

static inline struct atoll_val atoll_externref(uint64_t value)
{
    struct atoll_val v = {ATOLL_EXTERNREF, {0}};
    v.of.ref = value;
    return v;
}

/* The arrays belong to the artefact. */
struct atoll_function_type {
    const uint8_t *params, *results; /* enum atoll_type */
    uint32_t param_count, result_count;
};

/* ---- compiling ---- */

struct atoll_compiler_settings {
    const char *program;  /* path of atoll-cc; NULL: $ATOLL_CC, else beside this executable, else in
                             ../libexec/atoll of it, else where this library was installed */
    const char *cache;    /* directory of the cache; NULL: the user's; "": no cache */
    uint64_t cache_limit; /* bytes; 0: 2 GiB. Least recently used entries go first */
    unsigned parallel;    /* processes that compile at once; 0: one per online processor */
    /* Called now and then while compiling, on the calling thread; may be NULL. */
    void (*progress)(void *context, uint32_t parts_done, uint32_t parts);
    void *progress_context;
};

/* A client of one compiler process, which is started when it is first needed. settings NULL: all
 * defaults. Use it in the thread that made it, and end that thread only after it: the process dies
 * with the thread. -ATOLL_ENOENT: no compiler is found. Others: the cache directory cannot be made
 * or its key cannot be read. */
int atoll_compiler_create(const struct atoll_compiler_settings *, struct atoll_compiler **out,
                          struct atoll_error *);
void atoll_compiler_destroy(struct atoll_compiler *);
/* Why the last atoll_compile could not keep its result in the cache; NULL when it could, or had
 * nothing to keep. Valid until the next call. */
const char *atoll_compiler_warning(const struct atoll_compiler *);

enum atoll_tier {
    ATOLL_TIER_OPT,  /* runs fastest */
    ATOLL_TIER_QUICK /* compiles an order of magnitude faster */
};

enum atoll_mode {
    ATOLL_MODE_FAST, /* no access leaves the sandbox and every run without a trap has the standard's
                        results; a load whose value influences nothing may fail to trap, and after a
                        trap memory and globals may lack recent writes or have later ones */
    ATOLL_MODE_EXACT /* every trap and every byte as the standard says */
};

enum atoll_cpu { ATOLL_CPU_V3, ATOLL_CPU_V2, ATOLL_CPU_V4, ATOLL_CPU_NATIVE };

/* How an instance will stand in its arena: atoll_link_mode tells. A module that imports functions
 * of the host only is PRIMARY. */
enum atoll_link {
    ATOLL_LINK_PRIMARY, /* the one whose memory is memory 0 of the arena */
    ATOLL_LINK_SHARED,  /* joins others and shares memory 0 */
    ATOLL_LINK_OTHER    /* joins others and has another memory, or none */
};

/* All zero is the default. Everything here is part of the cache's key. */
struct atoll_compile_options {
    enum atoll_tier tier;
    enum atoll_mode mode;
    enum atoll_cpu cpu; /* x86-64 level the code may use */
    enum atoll_link link;
    bool fuel;          /* count instructions: atoll_fuel_set */
    bool deterministic; /* the bits of NaN results are the same everywhere */
    bool tail_calls;    /* use the calling convention of modules with tail calls although this one
                           has none: all modules of an arena must agree */
};

/*
 * The artefact of a module: from the cache, else compiled. options NULL: all defaults. cached (may
 * be NULL) tells whether the cache had it.
 *   -ATOLL_EMALFORMED, -ATOLL_EINVALID, -ATOLL_ELIMIT, -ATOLL_EUNSUPPORTED  the module, with offset
 *   -ATOLL_ECOMPILE  the compiler process failed or was killed
 *   -ATOLL_ECPU      this processor lacks the level
 */
int atoll_compile(struct atoll_compiler *, const void *wasm, size_t len,
                  const struct atoll_compile_options *, struct atoll_artefact **out, bool *cached,
                  struct atoll_error *);

/* Only decodes and type-checks. Errors as above. Any thread. */
int atoll_validate(const void *wasm, size_t len, struct atoll_error *);

/* An artefact as a file. It is code: what atoll_artefact_open accepts carries a MAC of this user's
 * own key (-ATOLL_ECORRUPT otherwise). -ATOLL_ESTALE: written by another release. -ATOLL_ECPU. */
int atoll_artefact_open(const char *path, struct atoll_artefact **out, struct atoll_error *);
int atoll_artefact_save(const struct atoll_artefact *, const char *path, struct atoll_error *);
struct atoll_artefact *atoll_artefact_retain(struct atoll_artefact *);
void atoll_artefact_release(struct atoll_artefact *);

enum atoll_kind { ATOLL_FUNCTION, ATOLL_TABLE, ATOLL_MEMORY, ATOLL_GLOBAL };

/* An import or export. Names are bytes of the module: not terminated, and any UTF-8 its author
 * chose. They belong to the artefact. */
struct atoll_external {
    enum atoll_kind kind;
    uint32_t index;     /* in the index space of its kind */
    const char *module; /* imports only */
    size_t module_len;
    const char *name;
    size_t name_len;
};
uint32_t atoll_artefact_import_count(const struct atoll_artefact *);
uint32_t atoll_artefact_export_count(const struct atoll_artefact *);
/* -ATOLL_ERANGE beyond the count. */
int atoll_artefact_import(const struct atoll_artefact *, uint32_t number, struct atoll_external *,
                          struct atoll_error *);
int atoll_artefact_export(const struct atoll_artefact *, uint32_t number, struct atoll_external *,
                          struct atoll_error *);
/* The type of a function of the index space. -ATOLL_ERANGE. */
int atoll_artefact_function_type(const struct atoll_artefact *, uint32_t function,
                                 struct atoll_function_type *, struct atoll_error *);

/* ---- arenas ---- */

/* Zero means the default. */
struct atoll_limits {
    uint64_t memory_bytes;  /* memory.grow stops here; default 512 MiB, at most 2.5 GiB, or 4 GiB
                               with no_window */
    uint64_t stack_bytes;   /* of guest code; default 1 MiB, 64 KiB to 64 MiB */
    uint32_t table_entries; /* of all tables together, 32 bytes each: a module that begins with more
                               is refused (-ATOLL_ELIMIT), table.grow stops here; default: as many
                               as fit into memory_bytes, at least 65,536, at most 10 million */
    bool no_window;         /* memory may grow into the window: regions cannot be mapped */
};

#define ATOLL_SLOT_ANY UINT32_MAX

/* An empty arena. slot: ATOLL_SLOT_ANY, or the number of a slot in [1028, 5440). -ATOLL_EBUSY: the
 * slot is taken in this process. -ATOLL_ENOMEM: slots, address space or mappings are exhausted
 * (`atoll doctor` explains the system's limits). -ATOLL_EINVAL: a limit is out of range. */
int atoll_arena_create(uint32_t slot, const struct atoll_limits *, struct atoll_arena **out,
                       struct atoll_error *);
/* Not from a host function of the same arena. Its instances go with it; a suspended run is dropped.
 */
void atoll_arena_destroy(struct atoll_arena *);
uint32_t atoll_arena_slot(const struct atoll_arena *);
/* Its instances in the order of linking; NULL beyond the last. */
struct atoll_instance *atoll_arena_instance(const struct atoll_arena *, uint32_t number);

/* Puts the signal handlers in front again after something else has installed its own (a crash
 * reporter, a test harness). Otherwise never needed. Any thread. */
int atoll_handlers_install(struct atoll_error *);

/* ---- host functions ---- */

enum atoll_answer {
    ATOLL_CALL_DONE, /* the results stand in the slots */
    ATOLL_CALL_PARK, /* it has done nothing yet; park says for what it waits */
    ATOLL_CALL_EXIT, /* end the guest program with exit_code */
    ATOLL_CALL_TRAP, /* end the call with a trap that shows message */
};

#define ATOLL_NO_DEADLINE INT64_MAX
#define ATOLL_PARK_FDS    256

/* What a parked call waits for: any of the descriptors, or the deadline. */
struct atoll_park {
    int64_t deadline_ns; /* on CLOCK_MONOTONIC; or ATOLL_NO_DEADLINE. Kept while it stays parked */
    uint32_t fd_count;
    struct pollfd fds[ATOLL_PARK_FDS];
};

/*
 * One call of the guest to a host function. Argument i stands in slots[i] (of an i32 the upper
 * bits are undefined), and result i is to be put there, over it. An externref in a slot is a
 * handle: atoll_externref_value and atoll_externref_handle translate.
 *
 * A host function runs on the thread's own stack. It may call back into its arena with atoll_invoke
 * (32 deep; a callee that parks or is interrupted must be resumed or abandoned before it returns).
 * Instead of waiting it parks: it returns ATOLL_CALL_PARK having changed nothing, and is called
 * again with the same arguments and `resumed` set when the wait is over; with no state but
 * arguments and deadline a parked guest can be captured. Guest memory may be shared with others
 * that write to it at any moment: copy in once (atoll_read), then check the copy.
 */
struct atoll_call {
    struct atoll_arena *arena;
    struct atoll_instance *caller;
    void *data; /* given with the import */
    union atoll_slot *slots;
    struct atoll_park *park;
    bool resumed;
    int32_t exit_code;
    char message[160];
};
typedef enum atoll_answer (*atoll_host_function)(struct atoll_call *);

/* The handle under which a guest of this arena holds a value of the host; 0, which is null, for the
 * value 0 and when the arena's 65536 handles are used up. And back; 0 for what is no handle. */
uint64_t atoll_externref_handle(struct atoll_arena *, uint64_t value);
uint64_t atoll_externref_value(const struct atoll_arena *, uint64_t handle);

/* ---- linking ---- */

/*
 * What is offered for the imports of a module. For each import the first offer that fits its names
 * counts; those that fit none are refused. Either a host function, whose type is checked against
 * the import's, or exports of an instance of the same arena.
 */
struct atoll_import {
    const char *module;
    const char *name; /* NULL, with `from`: every name that `from` exports */
    atoll_host_function function;
    const char *type; /* of the function: "i32 i64 -> f32", "externref ->", "->" */
    void *data;       /* for the function; lives as long as the arena and its snapshots */
    struct atoll_instance *from;
    const char *export_name; /* NULL: the import's name */
};

/* How this module would stand in the arena with these imports: compile it so. prefer_linked keeps
 * the place of the primary free for another. wasm is decoded only; errors as of atoll_compile. */
int atoll_link_mode(const struct atoll_arena *, const void *wasm, size_t len,
                    const struct atoll_import *, size_t count, bool prefer_linked,
                    enum atoll_link *out, struct atoll_error *);

/*
 * Makes an instance and initialises its globals, tables and memory; does not run its start
 * function. Imports of wasi_snapshot_preview1 that no offer fits are bound to the arena's WASI
 * world (atoll_wasi_attach comes first).
 *   -ATOLL_ELINK   an import is missing or of another type, and is named; or the artefact was
 *                  compiled for another link mode
 *   -ATOLL_EBUSY   the arena is suspended or tracked, or has a primary already
 *   -ATOLL_EINVAL  an offer is malformed
 *   -ATOLL_ELIMIT  the module wants more than the arena's limits give
 *   -ATOLL_ETRAP   a segment does not fit into its table or memory. What was initialised before
 *                  stays, and other instances may reach the new one through tables; *out is NULL
 * After -ATOLL_ELINK, -ATOLL_EBUSY and -ATOLL_EINVAL the arena is as before; after -ATOLL_ELIMIT
 * and -ATOLL_ENOMEM it is only good to be destroyed, and other calls say so with -ATOLL_EINVAL.
 */
int atoll_link(struct atoll_arena *, struct atoll_artefact *, const struct atoll_import *,
               size_t count, struct atoll_instance **out, struct atoll_error *);

struct atoll_arena *atoll_instance_arena(const struct atoll_instance *);
/* Not retained: lives as long as the instance. */
const struct atoll_artefact *atoll_instance_artefact(const struct atoll_instance *);

/* Index of an exported function, global. -ATOLL_ENOENT, -ATOLL_ETYPE: another kind. */
int atoll_function(const struct atoll_instance *, const char *name, uint32_t *index,
                   struct atoll_error *);
int atoll_global(const struct atoll_instance *, const char *name, uint32_t *index,
                 struct atoll_error *);

/* ---- running ---- */

enum atoll_trap_kind {
    ATOLL_TRAP_NONE,
    ATOLL_TRAP_UNREACHABLE,
    ATOLL_TRAP_MEMORY_BOUNDS,
    ATOLL_TRAP_TABLE_BOUNDS,
    ATOLL_TRAP_UNDEFINED_ELEMENT,     /* call_indirect beyond the table */
    ATOLL_TRAP_UNINITIALIZED_ELEMENT, /* call_indirect of null */
    ATOLL_TRAP_SIGNATURE,             /* call_indirect of another type */
    ATOLL_TRAP_DIVIDE_BY_ZERO,
    ATOLL_TRAP_INTEGER_OVERFLOW,
    ATOLL_TRAP_BAD_CONVERSION,
    ATOLL_TRAP_UNALIGNED_ATOMIC,
    ATOLL_TRAP_STACK_EXHAUSTED,
    ATOLL_TRAP_READ_ONLY_REGION,
    ATOLL_TRAP_LOST_REGION,     /* the file behind a region was cut */
    ATOLL_TRAP_EXPECTED_SHARED, /* atomic wait on unshared memory */
    ATOLL_TRAP_FUEL,
    ATOLL_TRAP_HOST, /* ATOLL_CALL_TRAP: see message */
    ATOLL_TRAP_INTERRUPTED,
    ATOLL_TRAP_ENGINE, /* a fault that no rule explains: a bug of the engine; destroy the arena */
};
/* "out of bounds memory access", … */
const char *atoll_trap_name(enum atoll_trap_kind);

#define ATOLL_TRAP_FRAMES 64

struct atoll_frame {
    uint32_t instance; /* number in its arena */
    uint32_t function; /* whose machine code it is */
    uint32_t offset;   /* of the instruction in the module's bytes; 0 unknown */
};

struct atoll_trap {
    enum atoll_trap_kind kind;
    uint32_t frame_count;
    bool truncated;                               /* there were more */
    struct atoll_frame frames[ATOLL_TRAP_FRAMES]; /* innermost first */
    char message[160];                            /* "" unless of a host function or the engine */
};

enum atoll_status {
    ATOLL_DONE,        /* returned; the results are there */
    ATOLL_TRAPPED,     /* trap tells; the instance stays usable, as the standard says */
    ATOLL_EXITED,      /* a host function or proc_exit ended the program: exit_code */
    ATOLL_INTERRUPTED, /* suspended at an instruction by atoll_interrupt */
    ATOLL_PARKED,      /* suspended: a host call waits; atoll_park tells for what */
};

struct atoll_outcome {
    enum atoll_status status;
    int32_t exit_code;
    struct atoll_trap trap;
};

/* The function whose source a frame stands in. It differs from frame.function where that inlined
 * it. The name is the module's debug name: bytes of any content, not terminated, len 0 if none. */
struct atoll_place {
    uint32_t function;
    const char *name;
    size_t name_len;
};
/* -ATOLL_ERANGE: not a frame of this arena. */
int atoll_frame_place(const struct atoll_arena *, const struct atoll_frame *, struct atoll_place *,
                      struct atoll_error *);

/*
 * Calls an exported or referenced function of the index space. Counts and types of arguments must
 * be the function's (-ATOLL_ETYPE), and result_count its number of results; results (types too) are
 * written when the outcome is ATOLL_DONE. ATOLL_INTERRUPTED and ATOLL_PARKED suspend the arena:
 * then only atoll_resume, atoll_abandon, atoll_capture_take, atoll_arena_reset and
 * atoll_arena_destroy make sense, and -ATOLL_EBUSY is the answer to another call.
 *   -ATOLL_EINVAL  no such function, or one that the module keeps to itself
 *   -ATOLL_ELIMIT  32 calls from host functions are nested
 */
int atoll_invoke(struct atoll_instance *, uint32_t function, const struct atoll_val *args,
                 size_t arg_count, struct atoll_val *results, size_t result_count,
                 struct atoll_outcome *, struct atoll_error *);
/* Runs the module's start function; ATOLL_DONE at once without one. */
int atoll_start(struct atoll_instance *, struct atoll_outcome *, struct atoll_error *);

/* Goes on with a suspended run: results as atoll_invoke would have given (result_count 0 to ignore
 * them). -ATOLL_EBUSY: nothing is suspended, or an outer call of a host function is. */
int atoll_resume(struct atoll_arena *, struct atoll_val *results, size_t result_count,
                 struct atoll_outcome *, struct atoll_error *);
/* Drops the frames of a suspended run. Memory, tables and globals stay as they are. */
void atoll_abandon(struct atoll_arena *);
bool atoll_suspended(const struct atoll_arena *);

/* Asks the arena to stop: at the next instruction of the guest, or when a host function returns.
 * Any thread, also a signal handler; the arena must not be destroyed meanwhile. A request made
 * while nothing runs stops the next run before its first instruction. */
void atoll_interrupt(struct atoll_arena *);

/* What a parked arena waits for, for an event loop of your own; NULL when it is not parked. */
const struct atoll_park *atoll_park(const struct atoll_arena *);
/* Waits until a parked arena may go on. -ATOLL_ECANCELED: atoll_interrupt was called. */
int atoll_wait(struct atoll_arena *);

/* Fuel left, for artefacts compiled with it: an instruction costs one, below zero a guest traps
 * with ATOLL_TRAP_FUEL. 0 in a new arena. -ATOLL_EINVAL: nothing is linked yet. */
int atoll_fuel_set(struct atoll_arena *, int64_t fuel, struct atoll_error *);
int64_t atoll_fuel(const struct atoll_arena *);

/* ---- memory and globals ---- */

/*
 * Copies from and to guest memory: of the calling instance inside a host function, else of the
 * primary. A range is good when it lies wholly inside the memory or wholly inside one mapped region
 * with the needed right; -ATOLL_EFAULT otherwise, and when the file behind a region was cut. Part
 * of the bytes may have been copied then.
 */
int atoll_read(struct atoll_arena *, void *to, uint32_t address, size_t len);
int atoll_write(struct atoll_arena *, uint32_t address, const void *from, size_t len);

enum atoll_right { ATOLL_READ = 1, ATOLL_WRITE = 2 };
/* The host address of a good range, else NULL. For system calls, which answer EFAULT on trouble:
 * in a region it may fault when touched. Good until memory, regions or the arena change. */
void *atoll_range_address(struct atoll_arena *, uint32_t address, uint64_t len, enum atoll_right);

/* Byte 0 of an instance's memory and its size now; NULL and 0 without one. */
uint8_t *atoll_memory(const struct atoll_instance *);
uint64_t atoll_memory_bytes(const struct atoll_instance *);

/* Globals by index. -ATOLL_ERANGE; set: -ATOLL_EPERM immutable, -ATOLL_ETYPE. */
int atoll_global_get(const struct atoll_instance *, uint32_t index, struct atoll_val *,
                     struct atoll_error *);
int atoll_global_set(struct atoll_instance *, uint32_t index, const struct atoll_val *,
                     struct atoll_error *);

/* ---- shared regions ---- */

/*
 * Maps len bytes (whole pages of 4096) at offset (likewise) of a memory file into the window of
 * memory 0, at guest address *address, for the arena's guests to load from and, with ATOLL_WRITE,
 * store to. Several arenas may map one file: those bytes they share. name (at most 63 bytes): by
 * which a captured arena finds it again. The same part with the same name and rights mapped again
 * gives the same address, and is unmapped as often. The descriptor may be closed afterwards. Seal
 * the file against shrinking (F_SEAL_SHRINK), or cutting it makes guests trap.
 *   -ATOLL_EINVAL a length, offset, right or name; or the arena has no memory 0 or no window
 *   -ATOLL_ERANGE beyond the end of the file    -ATOLL_ELIMIT 64 regions
 *   -ATOLL_ENOMEM the window is full
 */
int atoll_region_map(struct atoll_arena *, const char *name, int fd, uint64_t offset, uint64_t len,
                     uint32_t rights, uint32_t *address, struct atoll_error *);
/* -ATOLL_ENOENT: no region begins there. */
int atoll_region_unmap(struct atoll_arena *, uint32_t address, struct atoll_error *);

/* ---- WASI ---- */

/* A directory of the host that the guest finds open. */
struct atoll_directory {
    const char *host_path;
    const char *guest_name; /* "/data" */
    bool read_only;
};

/* Start from ATOLL_WASI_CONFIG. */
struct atoll_wasi_config {
    const char *const *args; /* args[0] is the program's name */
    const char *const *env;  /* "NAME=value" */
    const struct atoll_directory *directories;
    uint32_t arg_count, env_count, directory_count;
    int stdin_fd, stdout_fd, stderr_fd; /* copied; -1: the guest finds it closed */
    uint64_t clock_resolution_ns;       /* clocks are rounded down to it; 0: 1 */
    uint32_t descriptor_limit;          /* 0: 1024 */
};
#ifdef __cplusplus
#define ATOLL_WASI_CONFIG {nullptr, nullptr, nullptr, 0, 0, 0, 0, 1, 2, 0, 0}
#else
#define ATOLL_WASI_CONFIG {.stdin_fd = 0, .stdout_fd = 1, .stderr_fd = 2}
#endif

/* Gives the arena a world of its own for wasi_snapshot_preview1: nothing of the host but what is
 * configured. NULL: ATOLL_WASI_CONFIG. Replaces the world it had and closes that one's files.
 * -ATOLL_EBUSY: a host function of the arena is running. Others name the directory that cannot be
 * opened. */
int atoll_wasi_attach(struct atoll_arena *, const struct atoll_wasi_config *, struct atoll_error *);

/* ---- snapshots ---- */

/* The state of all instances of a quiescent arena, sealed. It stays in this process. The arena goes
 * on unchanged. -ATOLL_EBUSY: it runs, is suspended, has regions mapped or holds externrefs. */
int atoll_snapshot_take(struct atoll_arena *, struct atoll_snapshot **out, struct atoll_error *);
struct atoll_snapshot *atoll_snapshot_retain(struct atoll_snapshot *);
void atoll_snapshot_release(struct atoll_snapshot *);
uint64_t atoll_snapshot_bytes(const struct atoll_snapshot *);
/* How many written pages of each of an arena's parts (tables and fields with memory 0; other
 * memories) a reset copies back, so that the next run writes them without a fault; it drops the
 * rest. Default 64. Not while another thread resets an arena of the snapshot. */
void atoll_snapshot_keep_pages(struct atoll_snapshot *, uint32_t pages);

/* A new arena in the snapshot's state, copy-on-write. Host functions are bound as they were, with
 * the same data; a WASI world is not part of it: attach one. Errors as of atoll_arena_create. Any
 * number of threads may start arenas from one snapshot. */
int atoll_arena_from_snapshot(struct atoll_snapshot *, uint32_t slot, struct atoll_arena **out,
                              struct atoll_error *);

/* Puts an arena made by atoll_arena_from_snapshot back into the snapshot's state: no byte written
 * since can be observed. Regions are unmapped, externrefs and the WASI world dropped, a suspended
 * run abandoned. -ATOLL_EINVAL: of no snapshot. -ATOLL_EBUSY: it runs, or modules were linked
 * since. After another error destroy the arena. */
int atoll_arena_reset(struct atoll_arena *, struct atoll_error *);

/* ---- captured images ---- */

#define ATOLL_KEY_BYTES 32

/* The user's signing key, made on first use (below $ATOLL_HOME, else $XDG_DATA_HOME/atoll, else
 * ~/.local/share/atoll). atoll_key_destroy overwrites it in memory. */
int atoll_key_user(struct atoll_key **out, struct atoll_error *);
void atoll_key_destroy(struct atoll_key *);
void atoll_key_public(const struct atoll_key *, uint8_t out[ATOLL_KEY_BYTES]);

/* Copies the state of a suspended arena, which stays suspended: this is the pause. -ATOLL_EBUSY: it
 * is not suspended, or a host function that called the guest is still running; or the guest has
 * something open that cannot be opened again (a socket), which is named. */
int atoll_capture_take(struct atoll_arena *, struct atoll_capture **out, struct atoll_error *);
void atoll_capture_destroy(struct atoll_capture *);
/* The image: state, artefacts, WASI world, and two byte strings for the host (either may be NULL),
 * signed. Any thread, and the arena may run on. */
int atoll_capture_encode(const struct atoll_capture *, const struct atoll_key *, const void *state,
                         size_t state_len, const void *policy, size_t policy_len,
                         struct atoll_bytes *out, struct atoll_error *);

struct atoll_restore_settings {
    const uint8_t (*trusted)[ATOLL_KEY_BYTES]; /* public keys whose images are accepted. Whoever
                                                  holds such a key owns this process */
    uint32_t trusted_count;
    const struct atoll_import *imports; /* host functions, as for atoll_link; `from` is not used */
    size_t import_count;
    const struct atoll_wasi_config *wasi; /* streams of the restored world, and new places of its
                                             directories by guest_name; the rest comes from the
                                             image. NULL: ATOLL_WASI_CONFIG */
    void *context;                        /* of the following, each of which may be NULL */
    /* Sees the host's byte strings first. A negative code refuses the image. */
    int (*begin)(void *context, const void *state, size_t state_len, const void *policy,
                 size_t policy_len);
    /* A descriptor for a region, which the library closes; or a negative code. */
    int (*region)(void *context, const char *name);
    /* The value that an external reference has here, from the one it had there. */
    int (*externref)(void *context, uint64_t saved, uint64_t *value);
};

/*
 * Verifies the signature before it believes a byte, then everything else; makes the suspended arena
 * in the slot it came from. atoll_resume goes on.
 *   -ATOLL_ESIGNATURE  altered, cut off, or signed by a key that is not trusted
 *   -ATOLL_ECORRUPT    signed, but what it says cannot be
 *   -ATOLL_ESTALE      of another release, or not made by this interface
 *   -ATOLL_ECPU        this processor lacks a feature, which is named
 *   -ATOLL_EBUSY       the slot is taken in this process: restore it in another one
 *   -ATOLL_ELINK       an import is not offered, or a file of the guest is another now
 *   -ATOLL_ENOENT      a region, a reference or a file is missing
 */
int atoll_restore(const void *image, size_t len, const struct atoll_restore_settings *,
                  struct atoll_arena **out, struct atoll_error *);

/* ---- dirty pages ---- */

/* Whole pages of 4096 bytes at addresses of this process. One of memory 0 lies at the guest address
 * start - atoll_memory(primary); the others are tables and fields. */
struct atoll_range {
    const uint8_t *start;
    uint64_t len;
};

/* Begins to note which pages of tables, fields and memory are written (not regions, not the stack).
 * -ATOLL_EBUSY: begun already, or nothing is linked. No module can be linked while it lasts. */
int atoll_dirty_start(struct atoll_arena *, struct atoll_error *);
/* The runs of pages written since the start or the last call, which count as clean afterwards.
 * *ranges is for the caller to free(). -ATOLL_EINVAL: not begun. */
int atoll_dirty_collect(struct atoll_arena *, struct atoll_range **ranges, size_t *count,
                        struct atoll_error *);
void atoll_dirty_stop(struct atoll_arena *);

#ifdef __cplusplus
}
#endif

#endif
