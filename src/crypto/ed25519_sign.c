/* See ed25519_sign.h. */
#include "crypto/ed25519_sign.h"

#include "crypto/ed25519_fixed.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

enum ed25519_base ed25519_base_best(void)
{
    return ifma_available() ? ED25519_BASE_IFMA : ED25519_BASE_LIBSODIUM;
}

static void base_multiply(enum ed25519_base with, const uint8_t scalar[static 32],
                          uint8_t out[static 32])
{
    if (with == ED25519_BASE_IFMA) {
        const struct fixed_table *table = fixed_table_base();
        struct point multiple = ifma_fixed_sum(&table, &scalar, 1);
        point_encode(&multiple, out);
        sodium_memzero(&multiple, sizeof multiple);
        return;
    }
    int failed = crypto_scalarmult_ed25519_base_noclamp(out, scalar);
    assert(failed == 0); /* it refuses multiples of the order alone */
    (void)failed;
}

void ed25519_signer_init(struct ed25519_signer *s, const uint8_t seed[static ED25519_SEED_LEN])
{
    uint8_t hash[crypto_hash_sha512_BYTES];
    crypto_hash_sha512(hash, seed, ED25519_SEED_LEN);
    hash[0] &= 248;
    hash[31] &= 127;
    hash[31] |= 64;
    memcpy(s->scalar, hash, sizeof s->scalar);
    memcpy(s->prefix, hash + 32, sizeof s->prefix);
    base_multiply(ed25519_base_best(), s->scalar, s->public_key);
    sodium_memzero(hash, sizeof hash);
}

/* The hash of two parts and a message, modulo the order. */
static void scalar_hash(const uint8_t *first, const uint8_t *second, const void *message,
                        size_t len, uint8_t out[static crypto_core_ed25519_SCALARBYTES])
{
    uint8_t hash[crypto_hash_sha512_BYTES];
    crypto_hash_sha512_state state;
    crypto_hash_sha512_init(&state);
    crypto_hash_sha512_update(&state, first, 32);
    if (second)
        crypto_hash_sha512_update(&state, second, 32);
    crypto_hash_sha512_update(&state, message, len);
    crypto_hash_sha512_final(&state, hash);
    crypto_core_ed25519_scalar_reduce(out, hash);
    sodium_memzero(&state, sizeof state);
    sodium_memzero(hash, sizeof hash);
}

void ed25519_sign_with(enum ed25519_base with, const struct ed25519_signer *s, const void *message,
                       size_t len, uint8_t out[static ED25519_SIGNATURE_LEN])
{
    uint8_t r[32], k[32], product[32];
    scalar_hash(s->prefix, NULL, message, len, r);
    base_multiply(with, r, out);
    scalar_hash(out, s->public_key, message, len, k);
    crypto_core_ed25519_scalar_mul(product, k, s->scalar);
    crypto_core_ed25519_scalar_add(out + 32, product, r);
    sodium_memzero(r, sizeof r);
    sodium_memzero(product, sizeof product);
}

void ed25519_sign(const struct ed25519_signer *s, const void *message, size_t len,
                  uint8_t out[static ED25519_SIGNATURE_LEN])
{
    ed25519_sign_with(ed25519_base_best(), s, message, len, out);
}
