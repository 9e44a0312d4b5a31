/*
 * The signatures of a ledger's replicas, one at a time at a third of the usual cost, because their
 * keys are known beforehand (crypto/ed25519_known.h). For the signatures of a batch that are
 * checked where they come, one or two at once; from three on, as of a whole receipt, the batch
 * verifier of receipt_batch.h costs less. Any number of threads may use one.
 */
#ifndef LEDGER_OBJECT_KNOWN_VERIFIER_H
#define LEDGER_OBJECT_KNOWN_VERIFIER_H

#include "ledger/object/configuration.h"
#include "ledger/object/signature.h"

struct ledger_known_verifier;

/* Of the configuration's replicas; 60 KiB and 0.3 ms for each. ATOLL_ENOMEM. */
int ledger_known_verifier_create(const struct ledger_configuration *,
                                 struct ledger_known_verifier **, struct error *);
/* NULL is allowed. */
void ledger_known_verifier_destroy(struct ledger_known_verifier *);
/* Whether all of them are under its keys. */
bool ledger_known_verifier_knows(const struct ledger_known_verifier *,
                                 const struct ledger_signature *items, size_t count);
/* It as one of signature.h; good as long as it lives. Takes signatures under other keys, too. */
struct ledger_verifier ledger_known_verifier_of(struct ledger_known_verifier *);

#endif
