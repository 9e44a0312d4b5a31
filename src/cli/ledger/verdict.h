/*
 * Whether a run left behind what its figures claim: for `bench`, once the replicas have stopped.
 *
 *   - replica 0's ledger keeps to every rule (ledger/check: hashes, signatures, evidence, order)
 *   - executing its transactions again, from the genesis, gives the same statuses, outputs and
 *     writes, and the accounts hold what the transactions add up to
 *   - every replica's ledger is the same, as far as the shortest goes
 *   - it has as many transactions as clients hold receipts
 */
#ifndef CLI_LEDGER_VERDICT_H
#define CLI_LEDGER_VERDICT_H

#include "cli/ledger/cluster.h"

struct verdict {
    uint64_t entries, transactions;   /* of replica 0's ledger */
    uint64_t full_batches;            /* with any transactions */
    uint64_t shared;                  /* entries that all replicas have alike */
    int64_t money;                    /* cents in all accounts, as they should be */
    double check_per_s, replay_per_s; /* transactions per second of this thread's CPU time */
};

/* `receipts`: calls that ended with one; `open`: calls without an answer, whose transactions may
 * have been executed. ATOLL_ECORRUPT and a sentence when something does not hold. */
int verdict_reach(const struct cluster *, uint64_t receipts, uint64_t open, struct verdict *,
                  struct error *);

#endif
