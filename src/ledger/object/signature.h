/*
 * Signatures as work to be done: what is to be checked is collected here, and checked one by one,
 * in a batch, or elsewhere (spec/ledger §11: a replica's core asks its environment).
 *
 * All signatures of the ledger are Ed25519 by the rules of crypto/ed25519.h, over a hash.
 */
#ifndef LEDGER_OBJECT_SIGNATURE_H
#define LEDGER_OBJECT_SIGNATURE_H

#include "crypto/ed25519.h"
#include "crypto/hash.h"

struct ledger_signature {
    uint8_t hash[HASH_LEN];
    const uint8_t *public_key; /* ED25519_KEY_LEN bytes, the configuration's or the request's */
    const uint8_t *signature;  /* ED25519_SIGNATURE_LEN bytes */
};

/*
 * Who checks. verify sets valid[i] to the verdict on items[i]; 0, or a negative code when it could
 * not judge. The simulator puts its own here; LEDGER_VERIFIER_SINGLE, the verifier of
 * known keys (known_verifier.h) and the batch verifier (receipt_batch.h) are the real ones.
 */
struct ledger_verifier {
    int (*verify)(void *context, const struct ledger_signature *items, size_t count, bool *valid,
                  struct error *);
    void *context;
};

/* One at a time, with ed25519_verify. */
extern const struct ledger_verifier LEDGER_VERIFIER_SINGLE;

#endif
