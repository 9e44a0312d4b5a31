/*
 * Artefacts: a compiled module as a file, and as loaded and shared by instances.
 *
 * An artefact is code. Its bytes end in a MAC under the node-local key, checked at every load
 * before anything is parsed; "admission" (relocations, bounds, instruction scan) happened when it
 * was made. Its identity is the SHA-256 of its bytes; the key only finds it in the cache.
 */
#ifndef ENGINE_ARTEFACT_H
#define ENGINE_ARTEFACT_H

#include "crypto/hash.h"
#include "engine/abi.h"
#include "engine/line_rows.h"
#include "engine/object.h"

#define ARTEFACT_FORMAT 3

struct artefact {
    uint8_t id[HASH_LEN];          /* hash of the artefact's bytes (without the MAC) */
    uint8_t wasm_sha256[HASH_LEN]; /* of the module it was compiled from */
    struct compile_options options;
    uint64_t cpu_features; /* bits of enum cpu_feature that its code may use */
    bool degraded;         /* some functions could only be compiled at tier quick */
    uint8_t key[HASH_LEN]; /* cache key it was found or stored under; zero if none */

    /* The module without function bodies (and without data segments that are baked), decoded. */
    struct wasm_module module;
    struct abi_layout layout;

    int code_fd;                   /* sealed memory file, mapped RX into arenas … */
    uint64_t code_at;              /* … from here on, a multiple of 4096 */
    uint32_t code_size, text_size; /* code_size: multiple of 4096 */
    const uint8_t *code;           /* the same, mapped readable in the host */
    /* Initial image: [vm - layout.low_size, vm + initial memory bytes). Sealed. It has descriptors,
     * function records (imports bound to their host thunks), constant globals, tables and memory
     * after the baked segments. A linked module's records are relative to vm and image start: the
     * linker adds the place. */
    int data_fd;
    uint64_t data_size;      /* low_size + initial memory bytes (0 when memory is imported, or is a
                                linked module's own) */
    uint64_t data_populated; /* bytes from the start beyond which everything is zero */
    uint32_t baked_elements, baked_datas; /* segments [0, n) are dealt with: the active ones among
                                             them stand in the image, and are marked dropped */
    bool globals_baked;                   /* no global initialiser depends on an import */

    const uint32_t *function_offsets, *function_sizes; /* per defined function */
    const uint32_t *body_offsets;  /* per defined function: module offset of its body (sorted) */
    const uint32_t *entry_offsets; /* per type; UINT32_MAX none */
    const uint32_t *import_offsets;

    /* private to artefact.c */
    uint32_t references;
    uint8_t *tables; /* the file up to its code */
    size_t tables_size;
    struct line_rows rows;    /* in tables */
    uint32_t *function_order; /* indices by code offset; NULL when they ascend already */
};

/* Builds the bytes of an artefact (no MAC) from a validated module and its image, after the
 * admission checks. out is empty before, and after a failure. */
int artefact_build(const struct wasm_module *, const struct abi_layout *,
                   const struct compile_options *, const struct code_image *, struct buffer *out,
                   struct error *e);
/* An artefact's identity: the SHA-256 of its bytes. (Of the hashes at hand the one that processors
 * have instructions for: it is computed over all of the bytes at every load.) */
void artefact_identify(const uint8_t *bytes, size_t len, uint8_t id[static HASH_LEN]);
/* Opens an artefact's bytes (trusted: just built, or MAC checked). Copies what it needs. */
int artefact_open(const uint8_t *bytes, size_t len, struct artefact **out, struct error *e);
/* The same when the caller has hashed the bytes already. */
int artefact_open_known(const uint8_t *bytes, size_t len, const uint8_t id[static HASH_LEN],
                        struct artefact **out, struct error *e);
/* The same from a memory file that holds these bytes and nothing else; the descriptor stays the
 * caller's. Of a file that can be executed and can never be changed the code is mapped from there,
 * of another it is copied. id: NULL when nobody has hashed the bytes. */
int artefact_open_file(int fd, const uint8_t *id, struct artefact **out, struct error *e);
/* Appends the bytes the artefact was opened from. */
int artefact_bytes(const struct artefact *, struct buffer *out, struct error *e);
/* The runs of the initial image that were written, ascending; everything else in it is zero. */
uint32_t artefact_run_count(const struct artefact *);
void artefact_run(const struct artefact *, uint32_t run, uint64_t *offset, uint64_t *size);
struct artefact *artefact_retain(struct artefact *);
void artefact_release(struct artefact *); /* NULL is fine; thread-safe */

/* The wasm offset of the operator whose code contains code_offset (0 = none), and the function that
 * contains it (UINT32_MAX = a thunk). For a return address pass code_offset - 1. */
uint32_t artefact_wasm_offset(const struct artefact *, uint32_t code_offset);
uint32_t artefact_function_at(const struct artefact *, uint32_t code_offset);
/* The function whose body holds a wasm offset that was found in the code of `function`: itself, or
 * one that was inlined into it. */
uint32_t artefact_source_function(const struct artefact *, uint32_t function, uint32_t wasm_offset);

#endif
