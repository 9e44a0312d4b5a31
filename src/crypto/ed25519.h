/*
 * Verifying Ed25519 signatures (RFC 8032) by the rules of ZIP-215, which leave no case open:
 * whoever follows them gives the same verdict, one signature at a time or many at once
 * (ed25519_batch.h).
 *
 *   1. S is below the group order L.
 *   2. A and R are decoded leniently: the low 255 bits are y modulo p, so y from p to 2^255 - 1 is
 *      taken; points of small order are taken; the sign of x = 0 is ignored.
 *   3. 8·(S·B - R - k·A) = 0 with k = SHA-512(R ‖ A ‖ message) mod L over the bytes as they came.
 *
 * Libraries' own verifiers (sign_verify of crypto/key.h among them) agree with this on what honest
 * signers make, but not on crafted signatures, and not with each other: where replicas must agree
 * on a verdict, use these. Nothing here is secret and nothing constant time. Every function may be
 * called by any thread.
 */
#ifndef CRYPTO_ED25519_H
#define CRYPTO_ED25519_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ED25519_KEY_LEN       32
#define ED25519_SIGNATURE_LEN 64

/* True when the signature (R ‖ S) of the message is valid under the key. */
bool ed25519_verify(const uint8_t public_key[static ED25519_KEY_LEN], const void *message,
                    size_t len, const uint8_t signature[static ED25519_SIGNATURE_LEN]);

/*
 * True for the 14 encodings of points whose order divides 8, canonical or not. Under such a key one
 * signature fits every message; ed25519_verify takes it all the same, because signatures and keys
 * are judged apart. A look-up.
 */
bool ed25519_key_is_small(const uint8_t public_key[static ED25519_KEY_LEN]);

/* Whether a key is fit to be registered: canonical encoding of a point of order L. 0, or
 * ATOLL_EINVAL with the reason. */
int ed25519_key_check(const uint8_t public_key[static ED25519_KEY_LEN], struct error *);

#endif
