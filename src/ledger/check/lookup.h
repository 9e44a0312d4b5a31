/*
 * Finding a transaction in a ledger by its index, and making its receipt from entries alone: for
 * whoever has the entries at hand, a replica's own view of them or a directory.
 *
 * Indices ascend with positions, so a search by halves over the positions needs no index and a few
 * dozen reads. A receipt takes the whole batch, since its path has to be made anew.
 */
#ifndef LEDGER_CHECK_LOOKUP_H
#define LEDGER_CHECK_LOOKUP_H

#include "ledger/object/entry.h"
#include "ledger/object/genesis.h"

/* Entries 0 … end - 1. read: as env->read of a replica (replica/env.h). */
struct ledger_entry_source {
    void *context;
    int (*read)(void *context, uint64_t position, struct buffer *out, uint8_t *type,
                struct error *);
    uint64_t end;
};

/* Zero-initialise; ledger_lookup_free. */
struct ledger_lookup {
    uint64_t position;    /* of the TX entry */
    uint64_t pp_position; /* of its batch's PP entry */
    struct ledger_pp pp;
    struct buffer tx; /* the TxEntry */
};
void ledger_lookup_free(struct ledger_lookup *);

/* ATOLL_ENOENT: the ledger has no transaction of this index. ATOLL_ECORRUPT: the entries contradict
 * each other; and what reading says. */
int ledger_lookup_tx(const struct ledger_entry_source *, uint64_t index, struct ledger_lookup *,
                     struct error *);
/* Appends the receipt of what was found. ATOLL_EAGAIN: the evidence for its batch is not in the
 * ledger yet. */
int ledger_lookup_receipt(const struct ledger_entry_source *, const struct ledger_genesis *,
                          const struct ledger_lookup *, struct buffer *receipt, struct error *);

#endif
