/*
 * Signatures and encodings for the tests and the fuzzer of Ed25519: honest ones by libsodium, and
 * the crafted ones on which verifiers disagree.
 */
#ifndef TESTS_ED25519_FIXTURE_H
#define TESTS_ED25519_FIXTURE_H

#include "crypto/ed25519.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

#define TORSION_COUNT 14

struct signed_message {
    uint8_t public_key[ED25519_KEY_LEN], signature[ED25519_SIGNATURE_LEN];
    uint8_t message[64];
    size_t len;
};

/* L, the order of the group. */
static const uint8_t order_bytes[32] = {
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0x10};

/* The 14 encodings of the points whose order divides 8: eight canonical ones (index below 8, in the
 * order of the group), and six with y not below p or the sign of x = 0 set. */
static inline void torsion_encoding(size_t index, uint8_t out[static 32])
{
    static const char *const hex[TORSION_COUNT] = {
        "0100000000000000000000000000000000000000000000000000000000000000",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    };
    int bad = sodium_hex2bin(out, 32, hex[index], 64, NULL, NULL, NULL);
    assert(bad == 0);
}

static inline void signed_by_sodium(struct signed_message *m, const uint8_t seed[static 32])
{
    uint8_t secret[crypto_sign_SECRETKEYBYTES];
    crypto_sign_seed_keypair(m->public_key, secret, seed);
    crypto_sign_detached(m->signature, NULL, m->message, m->len, secret);
}

/* p + q for encodings of which q may be of small order. */
static inline void points_add(const uint8_t p[static 32], const uint8_t q[static 32],
                              uint8_t out[static 32])
{
    int bad = crypto_core_ed25519_add(out, p, q);
    assert(bad == 0);
}

/*
 * Signs as RFC 8032 does, but with points of small order added to the key and to the commitment.
 * With the cofactor in the equation the signature is valid all the same. a and r are reduced
 * scalars.
 */
static inline void signed_with_torsion(struct signed_message *m, const uint8_t a[static 32],
                                       const uint8_t r[static 32], size_t key_torsion,
                                       size_t commitment_torsion)
{
    uint8_t point[32], torsion[32], hash[64], k[32], product[32];
    int bad = crypto_scalarmult_ed25519_base_noclamp(point, a);
    torsion_encoding(key_torsion, torsion);
    points_add(point, torsion, m->public_key);
    bad |= crypto_scalarmult_ed25519_base_noclamp(point, r);
    assert(bad == 0);
    torsion_encoding(commitment_torsion, torsion);
    points_add(point, torsion, m->signature);
    crypto_hash_sha512_state state;
    crypto_hash_sha512_init(&state);
    crypto_hash_sha512_update(&state, m->signature, 32);
    crypto_hash_sha512_update(&state, m->public_key, 32);
    crypto_hash_sha512_update(&state, m->message, m->len);
    crypto_hash_sha512_final(&state, hash);
    crypto_core_ed25519_scalar_reduce(k, hash);
    crypto_core_ed25519_scalar_mul(product, k, a);
    crypto_core_ed25519_scalar_add(m->signature + 32, product, r);
}

#endif
