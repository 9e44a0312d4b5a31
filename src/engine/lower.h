/*
 * Lowering: WebAssembly functions to native objects through LLVM. Linked only into atoll-cc.
 *
 * A shard is a run of defined functions compiled as one LLVM module. Equal input gives equal bytes.
 */
#ifndef ENGINE_LOWER_H
#define ENGINE_LOWER_H

#include "base/bytes.h"
#include "engine/abi.h"

struct shard {
    uint32_t first, count; /* functions [first, first + count) of the index space, all defined */
    bool thunks;           /* emit the entry thunks, the import thunks and the bulk routines */
};

#define SHARD_CODE_BYTES (64u << 10)
#define SHARD_FUNCTIONS  256u

/* Cuts a module into shards; the first has thunks set (even a module without functions has one).
 * *shards is malloc'ed for the caller. */
int shard_plan(const struct wasm_module *, struct shard **shards, uint32_t *count, struct error *);

/* Once per process, before forking: LLVM targets, command line options. */
int lower_initialize(struct error *);

/* Compiles one shard to an ELF relocatable object with symbols and a line table as abi.h says. The
 * module has been validated. */
int lower_shard(const struct wasm_module *, const struct abi_layout *,
                const struct compile_options *, const struct shard *, struct buffer *object,
                struct error *);

/* Compiler identity for artefact keys, e.g. "llvm 19.1.7 lowering 1". */
const char *lower_build_id(void);

#endif
