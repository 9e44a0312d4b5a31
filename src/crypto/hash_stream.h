/* SHA-256 over bytes that come piece by piece. One thread at a time. */
#ifndef CRYPTO_HASH_STREAM_H
#define CRYPTO_HASH_STREAM_H

#include "crypto/hash.h"

/* Room for the library's state; nothing of the caller's concern. */
struct hash_stream {
    _Alignas(16) uint8_t state[128];
};

void hash_stream_begin(struct hash_stream *);
void hash_stream_add(struct hash_stream *, const void *data, size_t len);
/* Of all that was added; the stream has to begin anew then. */
void hash_stream_end(struct hash_stream *, uint8_t out[static HASH_LEN]);

#endif
