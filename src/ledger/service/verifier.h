/*
 * The threads that check signatures for a replica. Jobs that wait are put together into one sum of
 * the batch verifier (crypto/ed25519_batch.h), so more load makes a signature cheaper. Jobs marked
 * suspect are checked by themselves and last: a bad signature costs only those who send such.
 */
#ifndef LEDGER_SERVICE_VERIFIER_H
#define LEDGER_SERVICE_VERIFIER_H

#include "ledger/replica/env.h"

#include <uv.h>

struct verifier;

typedef void (*verifier_done)(void *context, struct ledger_verify_job *);

/* `done` is called on the loop's thread for every job, in any order. ATOLL_ENOMEM, ATOLL_EUNAVAIL.
 */
int verifier_open(uv_loop_t *, unsigned threads, verifier_done done, void *context,
                  struct verifier **, struct error *);
/* Any number of jobs may be out; each is the caller's again when it is done. */
void verifier_submit(struct verifier *, struct ledger_verify_job *);
/* Waits for the threads; jobs that are not done are dropped. Freed when the loop has closed its
 * handle, and then `closed` (may be NULL) is called. */
void verifier_close(struct verifier *, void (*closed)(void *context), void *context);

#endif
