/*
 * Many signatures, and many receipts, checked together with the batch verifier of Ed25519: several
 * times the speed of one by one, the same verdicts. One thread at a time uses one.
 */
#ifndef LEDGER_OBJECT_RECEIPT_BATCH_H
#define LEDGER_OBJECT_RECEIPT_BATCH_H

#include "ledger/object/receipt.h"

struct ledger_batch_verifier;

/* Room for batches of `capacity` signatures (1 … ED25519_BATCH_MAX; more are taken in pieces).
 * ATOLL_EINVAL, ATOLL_ENOMEM. */
int ledger_batch_verifier_create(size_t capacity, struct ledger_batch_verifier **, struct error *);
void ledger_batch_verifier_destroy(struct ledger_batch_verifier *);
/* It as one of signature.h; good as long as it lives. */
struct ledger_verifier ledger_batch_verifier_of(struct ledger_batch_verifier *);

/*
 * Verifies receipts[0 … count-1], whose verdicts become those that ledger_receipt_verify gives:
 * failed[i]. No memory beyond what was made at the start; the receipts are taken in groups that
 * fill a batch. 0 whatever the verdicts are; ATOLL_EUNAVAIL when the kernel gives no random bytes.
 */
int ledger_receipts_verify(struct ledger_batch_verifier *, const struct slice *receipts,
                           size_t count, const struct ledger_keys *, enum ledger_rule *failed,
                           struct error *);

#endif
