/*
 * A client of a ledger as a process has it: the pure client (ledger/client/client.h) with
 * connections to all replicas, keys and a clock.
 *
 * Everything runs on the loop of the caller. Before the loop sleeps the client settles, so calls
 * that are made together are signed, bundled and sent together.
 */
#ifndef LEDGER_SERVICE_CALLER_H
#define LEDGER_SERVICE_CALLER_H

#include "crypto/secret.h"
#include "ledger/client/client.h"
#include "ledger/client/receipt_store.h"

#include <uv.h>

struct caller;

struct caller_settings {
    struct slice genesis; /* encoded; copied */
    unsigned identities;  /* 1 … LEDGER_CLIENT_IDENTITIES_MAX */
    struct secret **keys; /* one for each; they outlive the caller */
    /*
     * Where numbers are reserved and receipts kept; outlives the caller. NULL: nowhere. Every
     * receipt is in it before `finished` is called; making them durable is the owner's, by
     * ledger_receipt_store_sync.
     */
    struct ledger_receipt_store *store;
    uint64_t min_index;   /* at least; receipts in the store count besides */
    uint32_t bundle_max;  /* 0: 1 */
    uint64_t retry_us;    /* 0: half the view timeout, so that backups
                           * learn early what a dead primary owes */
    uint64_t deadline_us; /* of every call; 0: none */
    /* A call ended. May make calls, must not close. A result of 0 with a text: the receipt could
     * not be kept in the store, and why. */
    void (*finished)(void *context, const struct ledger_outcome *);
    void *context;
};

/* A number that the key has not used: the microseconds since 1970, or what the store (may be NULL)
 * says when that is greater. So a store that was lost, or an old copy of it, does no harm unless
 * the clock is set back. */
uint64_t caller_next_number(const struct ledger_receipt_store *, const uint8_t *public_key);

/* Begins to connect; calls can be made at once. ATOLL_EINVAL, ATOLL_ENOMEM, and what decoding the
 * genesis says. */
int caller_open(uv_loop_t *, const struct caller_settings *, struct caller **, struct error *);
/* Forgets calls that have not ended; freed when the loop has closed the handles, and then `closed`
 * (may be NULL) is called. */
void caller_close(struct caller *, void (*closed)(void *context), void *context);

/* To make calls with, and to look at; settling and closing are the caller's. */
struct ledger_client *caller_client(struct caller *);
/* Replicas connected now. */
unsigned caller_connected(const struct caller *);

#endif
