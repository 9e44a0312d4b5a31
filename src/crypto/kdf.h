/* Message authentication with SHA-256 (HMAC, RFC 2104) and keys derived from it (HKDF, RFC 5869).
 * Every function may be called by any thread. */
#ifndef CRYPTO_KDF_H
#define CRYPTO_KDF_H

#include "crypto/hash.h"

/* Of the parts' bytes one after the other. Keys of any length. */
void hmac_sha256(const uint8_t *key, size_t key_len, const struct hash_part *parts, size_t count,
                 uint8_t out[static HASH_LEN]);

/* The most that HKDF gives for one salt, input and label. */
#define HKDF_LEN_MAX (255 * HASH_LEN)

/*
 * out_len bytes (at most HKDF_LEN_MAX) that depend on all of: the secret, the salt (may be empty)
 * and the label, the "info" of RFC 5869. Different labels give keys that say nothing about each
 * other.
 */
void hkdf_sha256(const void *secret, size_t secret_len, const void *salt, size_t salt_len,
                 const char *label, uint8_t *out, size_t out_len);

#endif
