/* Agreeing on a secret with a stranger over an open line: X25519 (RFC 7748). Any thread. */
#ifndef CRYPTO_KEY_EXCHANGE_H
#define CRYPTO_KEY_EXCHANGE_H

#include "base/error.h"

#include <stdint.h>

#define KEY_EXCHANGE_LEN 32

/* A fresh pair for one conversation. ATOLL_EUNAVAIL when the kernel gives no random bytes. */
struct key_exchange {
    uint8_t public_key[KEY_EXCHANGE_LEN], secret_key[KEY_EXCHANGE_LEN];
};
int key_exchange_begin(struct key_exchange *, struct error *);
/* The secret that both ends get; to be put through hkdf_sha256 together with both public keys.
 * ATOLL_EINVAL for a public key that would make it known to everyone (small order). */
int key_exchange_secret(const struct key_exchange *,
                        const uint8_t peer_public[static KEY_EXCHANGE_LEN],
                        uint8_t out[static KEY_EXCHANGE_LEN], struct error *);
void key_exchange_erase(struct key_exchange *);

#endif
