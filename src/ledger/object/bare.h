/*
 * The ledger without what makes it accountable, for one purpose: to measure what that costs
 * (bench/ledger_cost.c; spec/ledger §15, L5). Only the program bench-ledger-bare is compiled with
 * LEDGER_BARE; its ledgers prove nothing to anybody. What it leaves out:
 *
 *   - evidence: no EVIDENCE entries, none in pre-prepares, nothing to check or to log of it
 *   - nonces: they are all zero, not derived from a key
 *   - receipts: ReplyX has the transaction without its path; a client takes Q replies for a result
 *     without checking their signatures or the path, and puts no receipt together
 *
 * What stays, because agreement needs it: signed requests, pre-prepares and Prepares, all checked
 * by every replica; certificates in the vote log; Commit messages; the ledger, its roots and
 * checkpoints; encrypted links.
 */
#ifndef LEDGER_OBJECT_BARE_H
#define LEDGER_OBJECT_BARE_H

#ifndef LEDGER_BARE
#define LEDGER_BARE 0
#endif

#endif
