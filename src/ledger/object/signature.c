/* Checking the ledger's signatures one by one; see signature.h. */
#include "ledger/object/signature.h"

static int single_verify(void *context, const struct ledger_signature *items, size_t count,
                         bool *valid, struct error *e)
{
    (void)context, (void)e;
    for (size_t i = 0; i < count; i++)
        valid[i] = ed25519_verify(items[i].public_key, items[i].hash, HASH_LEN, items[i].signature);
    return 0;
}

const struct ledger_verifier LEDGER_VERIFIER_SINGLE = {single_verify, NULL};
