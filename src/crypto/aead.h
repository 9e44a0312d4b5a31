/*
 * Authenticated encryption with associated data, by OpenSSL: AES-256-GCM (NIST SP 800-38D) and
 * ChaCha20-Poly1305 (RFC 8439). Both: keys of 32 bytes, nonces of 12, tags of 16.
 *
 * Sealed bytes are ciphertext ‖ tag. A nonce is used once under a key; records that come in order
 * take a counter, aead_nonce. A context belongs to one thread at a time and keeps the key's
 * schedule, so that a record costs no set-up.
 */
#ifndef CRYPTO_AEAD_H
#define CRYPTO_AEAD_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

#define AEAD_KEY_LEN   32
#define AEAD_NONCE_LEN 12
#define AEAD_TAG_LEN   16

enum aead_cipher { AEAD_AES_256_GCM, AEAD_CHACHA20_POLY1305 };

struct aead;

/* ATOLL_ENOMEM. The key is copied into the context and erased with it. */
int aead_create(enum aead_cipher, const uint8_t key[static AEAD_KEY_LEN], struct aead **,
                struct error *);
void aead_destroy(struct aead *);

/* Four zero bytes and the counter, big-endian. */
void aead_nonce(uint64_t counter, uint8_t out[static AEAD_NONCE_LEN]);

/* out: len + AEAD_TAG_LEN bytes; it may be where data is. */
void aead_seal(struct aead *, const uint8_t nonce[static AEAD_NONCE_LEN], const void *associated,
               size_t associated_len, const void *data, size_t len, uint8_t *out);
/* out: len - AEAD_TAG_LEN bytes, which may be where sealed is. ATOLL_ECORRUPT when the bytes, the
 * associated data, the nonce or the key are not those of the sealing; out then holds zeros. */
int aead_open(struct aead *, const uint8_t nonce[static AEAD_NONCE_LEN], const void *associated,
              size_t associated_len, const void *sealed, size_t len, uint8_t *out, struct error *);

#endif
