/*
 * See ed25519_known.h. 8·(S·B - k·A - R) = 0: both multiples by one sum over the tables of B and
 * of -A, so that R is the only point to be decoded.
 */
#include "crypto/ed25519_known.h"

#include "base/bytes.h"
#include "crypto/ed25519_fixed.h"
#include "crypto/hash.h"

#include <stdlib.h>
#include <string.h>

struct ed25519_known {
    uint8_t public_key[ED25519_KEY_LEN];
    bool quick; /* the table is made */
    struct fixed_table minus;
};

int ed25519_known_create(const uint8_t public_key[static ED25519_KEY_LEN],
                         struct ed25519_known **out, struct error *e)
{
    struct ed25519_known *known = aligned_alloc(_Alignof(struct ed25519_known), sizeof *known);
    *out = known;
    if (known == NULL)
        return error_set(e, ATOLL_ENOMEM, "no memory for a key");
    struct point key;
    memcpy(known->public_key, public_key, ED25519_KEY_LEN);
    known->quick = ifma_available() && point_decode(public_key, &key);
    if (known->quick) {
        key.x = field_negate(&key.x);
        key.t = field_negate(&key.t);
        fixed_table_fill(&known->minus, &key);
    }
    return 0;
}

void ed25519_known_destroy(struct ed25519_known *known)
{
    free(known);
}

const uint8_t *ed25519_known_key(const struct ed25519_known *known)
{
    return known->public_key;
}

bool ed25519_known_verify(const struct ed25519_known *known, const void *message, size_t len,
                          const uint8_t signature[static ED25519_SIGNATURE_LEN])
{
    struct scalar s;
    struct point commitment;
    if (!known->quick)
        return ed25519_verify(known->public_key, message, len, signature);
    if (!scalar_from_canonical(signature + 32, &s) || !point_decode(signature, &commitment))
        return false;
    uint8_t hash[HASH_SHA512_LEN], factor[32];
    const struct hash_part parts[] = {
        {signature, 32}, {known->public_key, ED25519_KEY_LEN}, {message, len}};
    hash_sha512_parts(parts, 3, hash);
    struct scalar k = scalar_from_hash(hash);
    for (int i = 0; i < 4; i++)
        store_u64(factor + 8 * i, k.word[i]);
    const struct fixed_table *const tables[] = {fixed_table_base(), &known->minus};
    const uint8_t *const scalars[] = {signature + 32, factor};
    struct point sum = ifma_fixed_sum(tables, scalars, 2);
    struct point_lanes cached = point_cache(&commitment);
    struct point_lanes minus = point_cache_negate(&cached);
    sum = point_add(&sum, &minus);
    return point_is_small(&sum);
}
