/* Single signatures and keys (ed25519.h). */
#include "crypto/ed25519.h"

#include "crypto/ed25519_equation.h"
#include "crypto/ed25519_ifma.h"
#include "crypto/hash.h"

#include <string.h>

/* Both points of a signature; in vectors they take as long as one. */
static bool points_decode(bool vectors, const uint8_t *key, const uint8_t *commitment,
                          struct point out[static 2])
{
    if (!vectors)
        return point_decode(key, &out[0]) && point_decode(commitment, &out[1]);
    const uint8_t *bytes[IFMA_LANES] = {key, commitment};
    struct point points[IFMA_LANES];
    for (int i = 2; i < IFMA_LANES; i++)
        bytes[i] = key;
    unsigned decoded = ifma_decode(bytes, points);
    out[0] = points[0];
    out[1] = points[1];
    return (decoded & 3) == 3;
}

bool ed25519_verify(const uint8_t public_key[static ED25519_KEY_LEN], const void *message,
                    size_t len, const uint8_t signature[static ED25519_SIGNATURE_LEN])
{
    bool vectors = ifma_available();
    struct scalar s;
    struct point points[2];
    if (!scalar_from_canonical(signature + 32, &s) ||
        !points_decode(vectors, public_key, signature, points))
        return false;
    uint8_t hash[HASH_SHA512_LEN];
    const struct hash_part parts[] = {
        {signature, 32}, {public_key, ED25519_KEY_LEN}, {message, len}};
    hash_sha512_parts(parts, 3, hash);
    struct scalar k = scalar_from_hash(hash);
    struct point_lanes commitment = point_cache(&points[1]);
    return equation_holds(vectors, &s, &k, &points[0], &commitment);
}

bool ed25519_key_is_small(const uint8_t public_key[static ED25519_KEY_LEN])
{
    /* The values of y, without the sign: 0, 1, -1, the two of order 8, and p and p + 1, which are
     * 0 and 1 again. Either sign goes with each. */
    static const uint8_t small[7][ED25519_KEY_LEN] = {
        {0},
        {1},
        {0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
         0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
         0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
        {0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4,
         0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6,
         0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05},
        {0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b,
         0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39,
         0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a},
        {0xed, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
         0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
         0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
        {0xee, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
         0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
         0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
    };
    uint8_t y[ED25519_KEY_LEN];
    memcpy(y, public_key, sizeof y);
    y[31] &= 0x7f;
    for (size_t i = 0; i < sizeof small / sizeof *small; i++)
        if (memcmp(y, small[i], sizeof y) == 0)
            return true;
    return false;
}

int ed25519_key_check(const uint8_t public_key[static ED25519_KEY_LEN], struct error *e)
{
    struct point key;
    uint8_t canonical[ED25519_KEY_LEN];
    if (!point_decode(public_key, &key))
        return error_set(e, ATOLL_EINVAL,
                         "the key is no point of the curve: give the 32 bytes of "
                         "an Ed25519 public key");
    point_encode(&key, canonical);
    if (memcmp(canonical, public_key, sizeof canonical) != 0)
        return error_set(e, ATOLL_EINVAL,
                         "the key is not written canonically: make a key pair anew");
    const struct scalar zero = {{0}};
    struct point multiple = point_multiply(&scalar_order, &key, &zero);
    if (point_is_small(&key) || !point_is_neutral(&multiple))
        return error_set(e, ATOLL_EINVAL,
                         "the key's point has a part of small order: make a key pair anew");
    return 0;
}
