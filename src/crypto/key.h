/* A user's keys, made on first use and kept in files of mode 0600, and Ed25519 signatures. */
#ifndef CRYPTO_KEY_H
#define CRYPTO_KEY_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

#define KEY_PUBLIC_LEN 32
#define KEY_SECRET_LEN 64
#define KEY_MAC_LEN    32
#define SIGNATURE_LEN  64

/* $ATOLL_HOME, else $XDG_DATA_HOME/atoll, else $HOME/.local/share/atoll; made when absent. The
 * cache directory is $ATOLL_CACHE, else $XDG_CACHE_HOME/atoll, else $HOME/.cache/atoll. */
int home_directory(char *out, size_t cap, struct error *e);
int cache_directory(char *out, size_t cap, struct error *e);

/* The node-local key that authenticates artefacts: HOME/artefact.key. */
int key_artefact_mac(uint8_t out[static KEY_MAC_LEN], struct error *e);

/* The user's Ed25519 signing pair: HOME/sign.key (secret, hex) and HOME/sign.pub (hex). */
struct key_pair {
    uint8_t public_key[KEY_PUBLIC_LEN];
    uint8_t secret_key[KEY_SECRET_LEN];
};
int key_signing(struct key_pair *out, struct error *e);
/* Overwrites a pair that is no longer needed. */
void key_erase(struct key_pair *);
/* Parses a public key: 64 hex digits, or the path of a file that holds them. */
int key_public_parse(const char *text, uint8_t out[static KEY_PUBLIC_LEN], struct error *e);

void sign_detached(const struct key_pair *key, const void *data, size_t len,
                   uint8_t out[static SIGNATURE_LEN]);
/* 0 or -ATOLL_ESIGNATURE. */
int sign_verify(const uint8_t public_key[static KEY_PUBLIC_LEN], const void *data, size_t len,
                const uint8_t signature[static SIGNATURE_LEN]);

#endif
