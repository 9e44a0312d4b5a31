/*
 * What vouches for an artefact in a file: 64 bytes behind its own.
 *
 *   0   cache key (zero when it was never meant for a cache)
 *   32  BLAKE2b-256, keyed with the node's artefact key, of: the artefact's id, then the cache key
 *
 * The id is a collision-resistant hash of all of the artefact's bytes, so they are hashed once;
 * with the cache key inside, an artefact cannot be passed off as another one by renaming its file.
 */
#ifndef ENGINE_ARTEFACT_SEAL_H
#define ENGINE_ARTEFACT_SEAL_H

#include "base/bytes.h"
#include "crypto/hash.h"
#include "crypto/key.h"
#include "engine/artefact_format.h"

#define SEAL_LEN          (2 * HASH_LEN)
#define ARTEFACT_FILE_MAX (ARTEFACT_BYTES_MAX + SEAL_LEN)

void seal_make(const uint8_t id[static HASH_LEN], const uint8_t key[static HASH_LEN],
               const uint8_t mac_key[static KEY_MAC_LEN], uint8_t out[static SEAL_LEN]);

/* Opens an artefact's file: checks the MAC over its bytes before anything else of them is looked
 * at. They are read once, into a memory file from which the code is mapped into arenas.
 * -ATOLL_ECORRUPT when the bytes are not what was sealed under this MAC key. */
int seal_open_file(const char *path, const uint8_t mac_key[static KEY_MAC_LEN],
                   struct artefact **out, struct error *e);

#endif
