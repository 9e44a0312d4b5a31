/*
 * Checking a ledger entry by entry (spec/ledger §4): hashes, signatures, evidence, order. Whoever
 * has the genesis and the entries can run it; nothing else is trusted, no replica is asked.
 *
 * What it checks of every entry in turn:
 *   - batches are numbered 1, 2, … without gap; the view changes only by a NewView, upwards
 *   - every pp names the root of everything before it, the pp (or NewView) before it, its
 *     transactions' root, index and number, and is signed by the primary of its view
 *   - before the pp of s > P stands evidence for s - P: Q replicas' Prepares for the pp at s - P in
 *     this ledger, opened by their nonces
 *   - a checkpoint at every multiple of C, and nowhere else; dC stays the same between them; no
 * more EMPTY batches than bring evidence in
 *   - every transaction is a request of this service, signed by its client, admitted, with
 * min_index below its index, and not executed before
 *   - a NewView rests on Q signed ViewChanges, chooses the tip that they demand, and what it
 * planned is what follows What it does not: whether outputs and digests are those of executing the
 * requests (replaying does), and whether batches without evidence yet, the last P, were committed.
 *
 * One thread. Memory: some megabytes and the table of clients.
 */
#ifndef LEDGER_CHECK_CHECKER_H
#define LEDGER_CHECK_CHECKER_H

#include "ledger/object/entry.h"
#include "ledger/object/genesis.h"

struct ledger_checker;

/* genesis: its bytes; copied. ATOLL_ENOMEM, and what decoding it says. */
int ledger_checker_create(struct slice genesis, struct ledger_checker **, struct error *);
void ledger_checker_destroy(struct ledger_checker *);

/*
 * The next entry. 0, or ATOLL_ECORRUPT: it breaks a rule, which the text names together with entry
 * and batch (error.offset: the entry's position); the checker takes no more then. Signatures are
 * checked many at once, so the entry that is named may lie some thousands before this one.
 */
int ledger_checker_entry(struct ledger_checker *, uint8_t type, struct slice payload,
                         struct error *);
/* No more entries: checks the signatures that are left. ATOLL_ECORRUPT also when the ledger ends
 * inside a batch. */
int ledger_checker_finish(struct ledger_checker *, struct error *);

struct ledger_checker_counts {
    uint64_t entries, batches, transactions, new_views, signatures;
    uint64_t view, seqno; /* of the last batch */
    uint64_t proven;      /* batches up to this one have their evidence in the ledger */
    uint8_t root[HASH_LEN];
};
void ledger_checker_counts(const struct ledger_checker *, struct ledger_checker_counts *);

#endif
