/*
 * Signing with Ed25519 (RFC 8032, section 5.1.6) in constant time: the multiple of the base point
 * by vectors where the processor has them (ed25519_fixed.h), about three times as fast as
 * libsodium, else by libsodium; everything else by libsodium. The signatures are those of RFC 8032,
 * bit for bit.
 */
#ifndef CRYPTO_ED25519_SIGN_H
#define CRYPTO_ED25519_SIGN_H

#include "crypto/ed25519.h"

#define ED25519_SEED_LEN 32

/* A key ready to sign. All of it but the public key is secret: it lies where its owner keeps
 * secrets, and its owner erases it. */
struct ed25519_signer {
    uint8_t scalar[32], prefix[32]; /* the halves of the seed's SHA-512, the first one clamped */
    uint8_t public_key[ED25519_KEY_LEN];
};

enum ed25519_base { ED25519_BASE_LIBSODIUM, ED25519_BASE_IFMA };

/* The faster one that this processor has. */
enum ed25519_base ed25519_base_best(void);

void ed25519_signer_init(struct ed25519_signer *, const uint8_t seed[static ED25519_SEED_LEN]);
/* Any thread. */
void ed25519_sign(const struct ed25519_signer *, const void *message, size_t len,
                  uint8_t out[static ED25519_SIGNATURE_LEN]);
/* By one way of multiplying, which this processor must have; for tests and comparisons. */
void ed25519_sign_with(enum ed25519_base, const struct ed25519_signer *, const void *message,
                       size_t len, uint8_t out[static ED25519_SIGNATURE_LEN]);

#endif
