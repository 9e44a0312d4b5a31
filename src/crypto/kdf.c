/* See kdf.h. HMAC on the plain SHA-256 state, for the reason given in hash.c. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "crypto/kdf.h"

#include <assert.h>
#include <openssl/sha.h>
#include <sodium.h>
#include <string.h>

#define BLOCK_LEN 64

void hmac_sha256(const uint8_t *key, size_t key_len, const struct hash_part *parts, size_t count,
                 uint8_t out[static HASH_LEN])
{
    uint8_t pad[BLOCK_LEN] = {0}, inner[HASH_LEN];
    if (key_len > BLOCK_LEN)
        hash_sha256(key, key_len, pad);
    else if (key_len > 0)
        memcpy(pad, key, key_len);
    for (size_t i = 0; i < BLOCK_LEN; i++)
        pad[i] ^= 0x36;
    SHA256_CTX state;
    int done = SHA256_Init(&state) & SHA256_Update(&state, pad, sizeof pad);
    for (size_t i = 0; i < count; i++)
        done &= SHA256_Update(&state, parts[i].data, parts[i].len);
    done &= SHA256_Final(inner, &state);
    assert(done == 1);
    (void)done;
    for (size_t i = 0; i < BLOCK_LEN; i++)
        pad[i] ^= 0x36 ^ 0x5c;
    struct hash_part outer[2] = {{pad, sizeof pad}, {inner, sizeof inner}};
    hash_sha256_parts(outer, 2, out);
    sodium_memzero(pad, sizeof pad);
    sodium_memzero(&state, sizeof state);
}

void hkdf_sha256(const void *secret, size_t secret_len, const void *salt, size_t salt_len,
                 const char *label, uint8_t *out, size_t out_len)
{
    assert(out_len <= HKDF_LEN_MAX);
    uint8_t extracted[HASH_LEN], block[HASH_LEN];
    hmac_sha256(salt, salt_len, &(struct hash_part){secret, secret_len}, 1, extracted);
    size_t block_len = 0;
    for (uint8_t counter = 1; out_len > 0; counter++) {
        struct hash_part parts[3] = {
            {block, block_len}, {label, strlen(label)}, {&counter, sizeof counter}};
        hmac_sha256(extracted, sizeof extracted, parts, 3, block);
        block_len = sizeof block;
        size_t len = out_len < sizeof block ? out_len : sizeof block;
        memcpy(out, block, len);
        out += len;
        out_len -= len;
    }
    sodium_memzero(extracted, sizeof extracted);
    sodium_memzero(block, sizeof block);
}
