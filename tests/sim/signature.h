/*
 * Keys and signatures of a simulated run. Real ones are Ed25519; fast ones are a keyed mix of the
 * message that only the simulator can make, at a thousandth of the cost: adversaries are code of
 * the simulator, which signs with the keys of the replicas it was given and no others. Keys are
 * real in both modes (a genesis takes no others) and the same in every run.
 */
#ifndef SIM_SIGNATURE_H
#define SIM_SIGNATURE_H

#include "ledger/object/signature.h"
#include "random.h"

#include <stdbool.h>

enum sim_crypto {
    SIM_CRYPTO_FAST,
    SIM_CRYPTO_REAL,
};

/* Replicas first, then clients. */
#define SIM_KEYS_MAX    128
#define SIM_KEY_CLIENTS 64 /* number of the first client's key */

struct sim_key {
    uint8_t public_key[32];
    uint8_t secret_key[64];
};

/* Key `number`; the same for the life of the process. */
const struct sim_key *sim_key(unsigned number);

struct sim_signatures {
    enum sim_crypto crypto;
    uint64_t secret;
    struct sim_random salt;
};

void sim_signatures_open(struct sim_signatures *, enum sim_crypto, uint64_t seed);
/* The same signature for the same hash, as a correct signer makes it. */
void sim_sign(struct sim_signatures *, const struct sim_key *, const uint8_t hash[static 32],
              uint8_t signature[static 64]);
/* Another valid signature of the same hash each time. */
void sim_sign_again(struct sim_signatures *, const struct sim_key *, const uint8_t hash[static 32],
                    uint8_t signature[static 64]);
bool sim_verify(const struct sim_signatures *, const uint8_t public_key[static 32],
                const uint8_t hash[static 32], const uint8_t signature[static 64]);
/* Those by which whatever checks many signatures at once (src/ledger/check) judges from here on. */
void sim_signatures_judge(struct sim_signatures *);
/* For what takes a verifier (receipts, clients). */
struct ledger_verifier sim_verifier(struct sim_signatures *);

#endif
