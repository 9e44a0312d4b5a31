/* Hashing through the libraries that do it well: OpenSSL for SHA-2 (it uses the processor's SHA
 * instructions), libsodium for BLAKE2b. Nothing here can fail for a reason outside the program. */
#include "crypto/hash.h"

#include <assert.h>
#include <openssl/sha.h>
#include <sodium.h>

void hash_sha256(const void *data, size_t len, uint8_t out[static HASH_LEN])
{
    unsigned char *done = SHA256(data, len, out);
    assert(done == out);
    (void)done;
}

void hash_blake2b(const void *data, size_t len, const uint8_t *key, size_t key_len,
                  uint8_t out[static HASH_LEN])
{
    assert(!key || (key_len >= crypto_generichash_KEYBYTES_MIN &&
                    key_len <= crypto_generichash_KEYBYTES_MAX));
    /* Chooses the fastest implementation for this processor; cheap when done before. */
    int ready = sodium_init();
    assert(ready >= 0);
    int failed = crypto_generichash(out, HASH_LEN, data, len, key, key ? key_len : 0);
    assert(ready >= 0 && failed == 0);
    (void)ready;
    (void)failed;
}

int hash_equal(const uint8_t a[static HASH_LEN], const uint8_t b[static HASH_LEN])
{
    return sodium_memcmp(a, b, HASH_LEN) == 0;
}

void hash_hex(const uint8_t hash[static HASH_LEN], char out[static 2 * HASH_LEN + 1])
{
    sodium_bin2hex(out, 2 * HASH_LEN + 1, hash, HASH_LEN);
}
