/*
 * A genesis while it is put together: the terms first, then one replica after the other.
 *
 * SmallBank is the only family of procedures, so the terms name its accounts.
 */
#ifndef LEDGER_SERVICE_GENESIS_DRAFT_H
#define LEDGER_SERVICE_GENESIS_DRAFT_H

#include "ledger/object/genesis.h"

struct genesis_terms {
    const char *name;
    uint32_t pipeline, max_batch, checkpoint_interval;
    uint64_t view_timeout_us;
    uint32_t accounts; /* each begins with `balance` cents in both of its halves */
    int64_t balance;
};

struct genesis_draft;

/* ATOLL_ENOMEM; ATOLL_EUNAVAIL: no random bytes. The name is copied. */
int genesis_draft_create(const struct genesis_terms *, struct genesis_draft **, struct error *);
void genesis_draft_destroy(struct genesis_draft *);

/* The next replica, and the member that answers for it: a member with this key that is in the draft
 * already runs this one, too. All is copied. ATOLL_ELIMIT beyond LEDGER_REPLICAS_MAX; ATOLL_EINVAL
 * for an address or a name that is too long. */
int genesis_draft_add(struct genesis_draft *, struct slice address, const uint8_t *public_key,
                      struct slice member, const uint8_t *member_key, struct error *);

/* Appends the genesis, judged as anybody's would be: the decoder's errors. */
int genesis_draft_encode(const struct genesis_draft *, struct buffer *out, struct error *);

#endif
