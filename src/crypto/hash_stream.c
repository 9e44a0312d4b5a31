/* See hash_stream.h; on OpenSSL's plain state, for the reason given in hash.c. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "crypto/hash_stream.h"

#include <assert.h>
#include <openssl/sha.h>

_Static_assert(sizeof(SHA256_CTX) <= sizeof(((struct hash_stream *)0)->state),
               "room for the state");

void hash_stream_begin(struct hash_stream *s)
{
    int done = SHA256_Init((SHA256_CTX *)s->state);
    assert(done == 1);
    (void)done;
}

void hash_stream_add(struct hash_stream *s, const void *data, size_t len)
{
    int done = SHA256_Update((SHA256_CTX *)s->state, data, len);
    assert(done == 1);
    (void)done;
}

void hash_stream_end(struct hash_stream *s, uint8_t out[static HASH_LEN])
{
    int done = SHA256_Final(out, (SHA256_CTX *)s->state);
    assert(done == 1);
    (void)done;
}
