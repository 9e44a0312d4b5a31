/* See known_verifier.h. */
#include "ledger/object/known_verifier.h"

#include "crypto/ed25519_known.h"

#include <stdlib.h>
#include <string.h>

struct ledger_known_verifier {
    uint32_t count;
    struct ed25519_known *keys[];
};

int ledger_known_verifier_create(const struct ledger_configuration *configuration,
                                 struct ledger_known_verifier **out, struct error *e)
{
    uint32_t count = configuration->replica_count;
    struct ledger_known_verifier *v = malloc(sizeof *v + count * sizeof *v->keys);
    *out = NULL;
    if (!v)
        return error_set(e, ATOLL_ENOMEM, "no memory for a verifier of signatures");
    for (v->count = 0; v->count < count; v->count++) {
        int rc = ed25519_known_create(configuration->replicas[v->count].public_key,
                                      &v->keys[v->count], e);
        if (rc < 0) {
            ledger_known_verifier_destroy(v);
            return rc;
        }
    }
    *out = v;
    return 0;
}

void ledger_known_verifier_destroy(struct ledger_known_verifier *v)
{
    for (uint32_t i = 0; v && i < v->count; i++)
        ed25519_known_destroy(v->keys[i]);
    free(v);
}

static const struct ed25519_known *known_find(const struct ledger_known_verifier *v,
                                              const uint8_t *public_key)
{
    for (uint32_t i = 0; i < v->count; i++)
        if (memcmp(ed25519_known_key(v->keys[i]), public_key, ED25519_KEY_LEN) == 0)
            return v->keys[i];
    return NULL;
}

bool ledger_known_verifier_knows(const struct ledger_known_verifier *v,
                                 const struct ledger_signature *items, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!known_find(v, items[i].public_key))
            return false;
    return true;
}

static int known_verify(void *context, const struct ledger_signature *items, size_t count,
                        bool *valid, struct error *e)
{
    const struct ledger_known_verifier *v = context;
    (void)e;
    for (size_t i = 0; i < count; i++) {
        const struct ed25519_known *known = known_find(v, items[i].public_key);
        valid[i] = known ? ed25519_known_verify(known, items[i].hash, HASH_LEN, items[i].signature)
                         : ed25519_verify(items[i].public_key, items[i].hash, HASH_LEN,
                                          items[i].signature);
    }
    return 0;
}

struct ledger_verifier ledger_known_verifier_of(struct ledger_known_verifier *v)
{
    return (struct ledger_verifier){known_verify, v};
}
