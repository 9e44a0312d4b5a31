/* Hashes and message authentication (libsodium for BLAKE2b, OpenSSL for SHA-2). */
#ifndef CRYPTO_HASH_H
#define CRYPTO_HASH_H

#include <stddef.h>
#include <stdint.h>

#define HASH_LEN        32
#define HASH_SHA512_LEN 64

/* A run of bytes of a message that is hashed without being put together first. */
struct hash_part {
    const void *data;
    size_t len;
};

void hash_sha256(const void *data, size_t len, uint8_t out[static HASH_LEN]);
/* Of the parts' bytes one after the other. */
void hash_sha256_parts(const struct hash_part *parts, size_t count, uint8_t out[static HASH_LEN]);
void hash_sha512_parts(const struct hash_part *parts, size_t count,
                       uint8_t out[static HASH_SHA512_LEN]);
/* BLAKE2b-256 (RFC 7693); keyed when key is not NULL (key_len 16..64). */
void hash_blake2b(const void *data, size_t len, const uint8_t *key, size_t key_len,
                  uint8_t out[static HASH_LEN]);
/* Constant-time equality. */
int hash_equal(const uint8_t a[static HASH_LEN], const uint8_t b[static HASH_LEN]);
/* 64 lower-case hex digits and a NUL. */
void hash_hex(const uint8_t hash[static HASH_LEN], char out[static 2 * HASH_LEN + 1]);

#endif
