/*
 * The cache of compiled artefacts: a directory of sealed files named by their key.
 *
 * The key is a hash over everything that decides an artefact's bytes. An entry that is damaged,
 * forged or of an older format is a miss and is removed. Any number of processes may use one
 * directory; a process may die at any moment (see cache.c). Used by compile.c only.
 */
#ifndef ENGINE_CACHE_H
#define ENGINE_CACHE_H

#include "crypto/key.h"
#include "engine/artefact.h"

#define CACHE_LIMIT_DEFAULT (2ull << 30)

struct cache {
    char *directory;
    uint64_t limit; /* bytes of all files; least recently used entries go first */
    uint8_t mac_key[KEY_MAC_LEN];
};

/* directory NULL: the user's. limit 0: the default. The directory is made when absent. */
int cache_open(const char *directory, uint64_t limit, struct cache **out, struct error *e);
void cache_close(struct cache *); /* NULL is fine */

/* The key of a module compiled by the compiler that calls itself build_id. */
void cache_key(const char *build_id, const struct compile_options *,
               const uint8_t wasm_sha256[static HASH_LEN], uint8_t out[static HASH_LEN]);

/* -ATOLL_ENOENT when there is no valid entry. A hit counts as a use. */
int cache_get(struct cache *, const uint8_t key[static HASH_LEN], struct artefact **out,
              struct error *e);

/* Stores an artefact's bytes, then removes the least recently used entries beyond the limit (never
 * the one just stored). */
int cache_put(struct cache *, const uint8_t key[static HASH_LEN], const uint8_t id[static HASH_LEN],
              const uint8_t *bytes, size_t len, struct error *e);

/* One builder per key: waits while another process holds the key. Returns a descriptor for
 * cache_unlock, or a negative code. */
int cache_lock(struct cache *, const uint8_t key[static HASH_LEN], struct error *e);
void cache_unlock(struct cache *, const uint8_t key[static HASH_LEN], int lock);

#endif
