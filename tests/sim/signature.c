#include "signature.h"

#include "crypto/ed25519_batch.h"

#include <assert.h>
#include <sodium.h>

const struct sim_key *sim_key(unsigned number)
{
    static struct sim_key keys[SIM_KEYS_MAX];
    static bool made[SIM_KEYS_MAX];

    assert(number < SIM_KEYS_MAX);
    if (!made[number]) {
        uint8_t seed[crypto_sign_SEEDBYTES] = {'s', 'i', 'm', (uint8_t)number};
        int bad = sodium_init();

        assert(bad >= 0);
        crypto_sign_seed_keypair(keys[number].public_key, keys[number].secret_key, seed);
        made[number] = true;
    }
    return &keys[number];
}

void sim_signatures_open(struct sim_signatures *s, enum sim_crypto crypto, uint64_t seed)
{
    uint64_t x = seed ^ UINT64_C(0x5167);

    s->crypto = crypto;
    s->secret = sim_mix_next(&x);
    sim_random_seed(&s->salt, seed, 0x5a17);
}

/* Takes the place of the check that a genesis makes of every key (meson.build: --wrap), and makes
 * it once for each key: a run opens many replicas with one genesis, and the same keys serve all
 * runs. */
int __real_ed25519_key_check(const uint8_t public_key[static ED25519_KEY_LEN], struct error *);
int __wrap_ed25519_key_check(const uint8_t public_key[static ED25519_KEY_LEN], struct error *);

int __wrap_ed25519_key_check(const uint8_t public_key[static ED25519_KEY_LEN], struct error *e)
{
    static bool good[SIM_KEYS_MAX];
    unsigned number = 0;

    while (number < SIM_KEYS_MAX &&
           (!good[number] || memcmp(sim_key(number)->public_key, public_key, ED25519_KEY_LEN) != 0))
        number++;
    if (number < SIM_KEYS_MAX)
        return 0;
    if (__real_ed25519_key_check(public_key, e) != 0)
        return e->code;
    for (number = 0; number < SIM_KEYS_MAX; number++)
        good[number] |= memcmp(sim_key(number)->public_key, public_key, ED25519_KEY_LEN) == 0;
    return 0;
}

static void absorb(uint64_t *x, const uint8_t bytes[static 32])
{
    for (int i = 0; i < 4; i++) {
        uint64_t word;

        memcpy(&word, bytes + 8 * i, sizeof word);
        *x ^= word;
        *x = sim_mix_next(x);
    }
}

/* The second half of a fast signature, from its first half, the salt. */
static void fast_seal(const struct sim_signatures *s, const uint8_t *public_key,
                      const uint8_t *hash, const uint8_t *salt, uint8_t out[static 32])
{
    uint64_t x = s->secret;

    absorb(&x, public_key);
    absorb(&x, hash);
    absorb(&x, salt);
    for (int i = 0; i < 4; i++) {
        uint64_t word = sim_mix_next(&x);

        memcpy(out + 8 * i, &word, sizeof word);
    }
}

void sim_sign(struct sim_signatures *s, const struct sim_key *key, const uint8_t hash[static 32],
              uint8_t signature[static 64])
{
    if (s->crypto == SIM_CRYPTO_REAL) {
        crypto_sign_detached(signature, NULL, hash, 32, key->secret_key);
        return;
    }
    memset(signature, 0, 32);
    fast_seal(s, key->public_key, hash, signature, signature + 32);
}

/* As RFC 8032, but with a random r in the place of the one that the message determines. */
static void real_sign_again(struct sim_signatures *s, const struct sim_key *key,
                            const uint8_t *hash, uint8_t *signature)
{
    uint8_t expanded[64], wide[64], r[32], k[32], product[32];
    crypto_hash_sha512_state state;

    crypto_hash_sha512(expanded, key->secret_key, 32);
    expanded[0] &= 248;
    expanded[31] = (uint8_t)((expanded[31] & 127) | 64);
    sim_random_fill(&s->salt, wide, sizeof wide);
    crypto_core_ed25519_scalar_reduce(r, wide);
    if (crypto_scalarmult_ed25519_base_noclamp(signature, r) != 0)
        assert(false);
    crypto_hash_sha512_init(&state);
    crypto_hash_sha512_update(&state, signature, 32);
    crypto_hash_sha512_update(&state, key->public_key, 32);
    crypto_hash_sha512_update(&state, hash, 32);
    crypto_hash_sha512_final(&state, wide);
    crypto_core_ed25519_scalar_reduce(k, wide);
    memset(wide, 0, sizeof wide);
    memcpy(wide, expanded, 32);
    crypto_core_ed25519_scalar_reduce(product, wide);
    crypto_core_ed25519_scalar_mul(product, product, k);
    crypto_core_ed25519_scalar_add(signature + 32, product, r);
}

void sim_sign_again(struct sim_signatures *s, const struct sim_key *key,
                    const uint8_t hash[static 32], uint8_t signature[static 64])
{
    if (s->crypto == SIM_CRYPTO_REAL) {
        real_sign_again(s, key, hash, signature);
        return;
    }
    sim_random_fill(&s->salt, signature, 32);
    fast_seal(s, key->public_key, hash, signature, signature + 32);
}

bool sim_verify(const struct sim_signatures *s, const uint8_t public_key[static 32],
                const uint8_t hash[static 32], const uint8_t signature[static 64])
{
    uint8_t seal[32];

    if (s->crypto == SIM_CRYPTO_REAL)
        return ed25519_verify(public_key, hash, 32, signature);
    fast_seal(s, public_key, hash, signature, seal);
    return memcmp(seal, signature + 32, sizeof seal) == 0;
}

static const struct sim_signatures *judging;

void sim_signatures_judge(struct sim_signatures *s)
{
    judging = s;
}

/* In the place of the batch verifier, which knows real signatures only (meson.build: --wrap). */
int __real_ed25519_batch_verify(struct ed25519_batch *, const struct ed25519_item *items,
                                size_t count, bool *valid, struct error *);
int __wrap_ed25519_batch_verify(struct ed25519_batch *, const struct ed25519_item *items,
                                size_t count, bool *valid, struct error *);

int __wrap_ed25519_batch_verify(struct ed25519_batch *batch, const struct ed25519_item *items,
                                size_t count, bool *valid, struct error *e)
{
    if (!judging || judging->crypto == SIM_CRYPTO_REAL)
        return __real_ed25519_batch_verify(batch, items, count, valid, e);
    for (size_t i = 0; i < count; i++)
        valid[i] = sim_verify(judging, items[i].public_key, items[i].message, items[i].signature);
    return 0;
}

static int verify_all(void *context, const struct ledger_signature *items, size_t count,
                      bool *valid, struct error *e)
{
    (void)e;
    for (size_t i = 0; i < count; i++)
        valid[i] = sim_verify(context, items[i].public_key, items[i].hash, items[i].signature);
    return 0;
}

struct ledger_verifier sim_verifier(struct sim_signatures *s)
{
    return (struct ledger_verifier){.verify = verify_all, .context = s};
}
