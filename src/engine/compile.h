/*
 * From module bytes to a loaded artefact: the cache, and the compiler process atoll-cc behind it.
 *
 * The host process never links LLVM and never compiles: `struct compiler` owns one atoll-cc,
 * started on the first miss and kept for the next. Not thread-safe; one per thread (atoll-cc dies
 * with the thread that started it).
 */
#ifndef ENGINE_COMPILE_H
#define ENGINE_COMPILE_H

#include "engine/artefact.h"

struct compiler;

struct compiler_settings {
    const char *program;  /* path of atoll-cc; NULL = $ATOLL_CC, else beside this executable, else
                             its libexec */
    const char *cache;    /* cache directory; NULL = the user's; "" = no cache at all */
    uint64_t cache_limit; /* bytes; 0 = 2 GiB. Least recently used entries go first */
    unsigned parallel;    /* shard processes at once; 0 = online processors */
    /* Called now and then while compiling, on the calling thread; may be NULL. */
    void (*progress)(void *context, uint32_t shards_done, uint32_t shards);
    void *progress_context;
    /* NULL, or asked several times a second while a module is compiled; true ends that with
     * -ATOLL_ECANCELED. */
    bool (*cancelled)(void *context);
    void *cancelled_context;
};

int compiler_create(const struct compiler_settings *, struct compiler **out, struct error *e);
void compiler_destroy(struct compiler *);

/* Decodes, validates (errors: the four classes of wasm_read.h), looks up the cache, else compiles.
 * Never returns a partial artefact. cached (may be NULL) tells whether the cache had it. */
int compiler_load(struct compiler *, const uint8_t *wasm, size_t len,
                  const struct compile_options *, struct artefact **out, bool *cached,
                  struct error *e);
/* Why the last compiler_load could not keep its result in the cache (the disk is full, …), for
 * people to read; NULL when it could, or had nothing to keep. Valid until the next call. */
const char *compiler_warning(const struct compiler *);
/* Only the cache, which needs no more of the module than the SHA-256 of its bytes: -ATOLL_ENOENT
 * when it has no valid entry. */
int compiler_lookup(struct compiler *, const uint8_t wasm_sha256[static HASH_LEN],
                    const struct compile_options *, struct artefact **out, struct error *e);

/* The artefact file (with MAC) as a file of its own, for `atoll compile -o`; and its opposite. */
int artefact_save(const struct artefact *, const char *path, struct error *e);
int artefact_load(const char *path, struct artefact **out, struct error *e);

#endif
