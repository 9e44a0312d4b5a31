/*
 * Arenas and the instances in them: link, invoke, interrupt, resume.
 *
 * An arena holds one primary instance and any number of linked ones (modules that import from each
 * other share an arena). Everything guest code can reach lies in the arena's slot. An arena is used
 * by one thread at a time; only arena_interrupt may be called from any thread.
 */
#ifndef ENGINE_INSTANCE_H
#define ENGINE_INSTANCE_H

#include "engine/artefact.h"
#include "engine/host.h"

struct instance;

/* Defaults of spec: memory 512 MiB, stack 1 MiB. Zero fields mean the default. */
struct arena_limits {
    uint64_t memory_bytes;  /* memory.grow stops here; <= 4 GiB */
    uint64_t stack_bytes;   /* native stack; ARENA_STACK_MIN to ARENA_STACK_MAX */
    uint32_t table_entries; /* of all tables together, 32 bytes each: a module that begins with more
                               is refused, table.grow stops here (and at the reserved capacity).
                               Default: as many as fit into memory_bytes, 65,536 to 10 million */
    bool no_window;         /* memory may grow beyond WINDOW_START; regions cannot be mapped */
};

/* Signal handlers, gate pages; once per process, thread-safe. */
int engine_initialize(struct error *);

#define SLOT_ANY UINT32_MAX
/* Reserves a slot (SLOT_ANY: a random free one) and maps gate and stack. -ATOLL_EBUSY when the
 * given slot is taken, -ATOLL_ENOMEM when slots or mappings are exhausted. */
int arena_create(uint32_t slot, const struct arena_limits *, struct arena **out, struct error *);
void arena_destroy(struct arena *);
uint32_t arena_slot(const struct arena *);
struct instance *arena_primary(struct arena *); /* NULL before it is linked */

/* One import of a module, in the order of its import section. */
struct link_import {
    enum { LINK_UNRESOLVED, LINK_HOST, LINK_EXPORT } how;
    host_function function; /* LINK_HOST: functions only */
    void *data;
    struct instance *from; /* LINK_EXPORT: of the same arena; index in its index space, of the kind
                              that the import has */
    uint32_t index;
};

/* The link mode the artefact must have been compiled with to join this arena now, with these
 * imports. The first instance whose memory is its own (or that has none) can be the primary; pass
 * prefer_linked to keep the primary place free for another. */
enum link_mode arena_link_mode(const struct arena *, const struct wasm_module *,
                               const struct link_import *, bool prefer_linked);

/* Links and initialises (segments, globals); does not run the start function. Retains the artefact.
 * Missing or mismatched import: -ATOLL_ELINK naming it (and its text says "unknown import" or
 * "incompatible import type"). Out-of-bounds active segment: -ATOLL_ETRAP; what segments before it
 * wrote stays, as the standard says, and *out is still set when trapped (the instance may be
 * reachable through tables). */
int instance_create(struct arena *, struct artefact *, const struct link_import *, uint32_t count,
                    struct instance **out, struct error *e);

/* Gives the host functions that are bound with data `from` the data `to` instead: an instance from
 * a snapshot is bound as the original was. While it does not run. */
void instance_rebind(struct instance *, const void *from, void *to);

struct arena *instance_arena(const struct instance *);
const struct artefact *instance_artefact(const struct instance *);

/* Looks an export up by name (any bytes). Returns its kind (enum wasm_kind) and index, or -1. */
int instance_export(const struct instance *, const char *name, size_t len, uint32_t *index);

/* ---- running ---- */

#define TRAP_FRAMES 64
struct trap_frame {
    uint32_t instance, function, wasm_offset;
};
struct trap_info {
    enum trap_kind kind;
    uint32_t frame_count;
    bool truncated;                        /* there were more frames */
    struct trap_frame frames[TRAP_FRAMES]; /* innermost first */
    char message[160];                     /* of a host trap, or of an engine fault */
};

enum run_status {
    RUN_DONE,
    RUN_TRAP,        /* info filled; the instance stays usable (core suite) */
    RUN_EXIT,        /* a host call ended the program: exit_code */
    RUN_INTERRUPTED, /* arena_interrupt: state complete, arena_resume continues */
    RUN_PARKED,      /* a host call waits: arena_park says for what; arena_resume retries it */
};

struct run_result {
    enum run_status status;
    int32_t exit_code;
    struct trap_info trap;
};

/* Calls a function of the index space. slots: arguments in, results out (as many as the larger of
 * both; caller's storage). Types are the caller's business. RUN_INTERRUPTED and RUN_PARKED suspend
 * the arena: only arena_resume, arena_abandon, capture or destroy are allowed then, and results are
 * delivered by the arena_resume that returns RUN_DONE. Errors (negative): -ATOLL_EBUSY suspended
 * already, -ATOLL_ELIMIT nested too deeply. */
int instance_invoke(struct instance *, uint32_t function, union host_slot *slots,
                    struct run_result *, struct error *);
/* Runs the module's start function, if any. */
int instance_start(struct instance *, struct run_result *, struct error *);
int arena_resume(struct arena *, union host_slot *slots, struct run_result *, struct error *);
/* Drops the frames of a suspended arena. */
void arena_abandon(struct arena *);
bool arena_suspended(const struct arena *);
/* What a parked arena waits for; NULL when not parked. */
const struct host_park *arena_park(const struct arena *);

/* Asks the arena to stop at the next instruction (guest) or gate (host). Any thread, and
 * async-signal-safe, also in a handler on the thread that runs the arena. Sticky until a run
 * returns RUN_INTERRUPTED. */
void arena_interrupt(struct arena *);

/* Waits (poll) until a parked arena may go on: 0. When arena_interrupt asked it to stop meanwhile,
 * or had asked before: -ATOLL_ECANCELED, and the request counts as served. */
int arena_wait(struct arena *);

/* ---- looking at an instance ---- */
/* Copies the value of global index (16 bytes). */
void instance_global(const struct instance *, uint32_t index, uint8_t out[static 16]);
void instance_global_set(struct instance *, uint32_t index, const uint8_t value[static 16]);
uint64_t instance_memory_bytes(const struct instance *);
/* Address of byte 0 of the instance's memory (NULL without one). */
uint8_t *instance_memory(const struct instance *);

/* References as seen from outside: an externref handle <-> host pointer-sized value. A funcref is
 * opaque; 0 is null for both. arena_externref returns 0 when the limit of 65,536
 * handles is reached. */
uint64_t arena_externref(struct arena *, uint64_t value);
uint64_t arena_externref_value(const struct arena *, uint64_t handle);

/* Fuel left (artefacts compiled with fuel). */
void arena_fuel_set(struct arena *, int64_t fuel);
int64_t arena_fuel(const struct arena *);

#endif
