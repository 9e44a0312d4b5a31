/*
 * What a NewView must be, given the ViewChanges that it rests on (spec/ledger §6): the rules that
 * replicas hold it to, over what stands in a ledger.
 */
#ifndef LEDGER_CHECK_VIEW_RULES_H
#define LEDGER_CHECK_VIEW_RULES_H

#include "ledger/check/signatures.h"
#include "ledger/object/genesis.h"
#include "ledger/object/view_change.h"

struct view_rules {
    const struct ledger_configuration *configuration;
    const uint8_t *genesis; /* its hash */
    uint32_t pipeline;
    struct check_signatures *signatures; /* where the signatures go */
    struct check_subject subject;        /* under whose name */
    uint64_t wanted;                     /* how many went; set by the check */
    /* Set by the check: what the next pp would have named as its predecessor, had the view not
     * changed; it tells the place behind which the NewView belongs. */
    uint8_t link[HASH_LEN];
};

/*
 * vcset: the payload of the VCSET entry before it. The set has Q ViewChanges for this view by
 * different replicas, each bound to its own view (§6, binding); the NewView names the tip that they
 * demand and plans every batch between its base and that tip as the tip's history or plan has it.
 * ATOLL_ENOMEM, or another negative code with the rule that is broken. Signatures are gathered, not
 * checked.
 */
int view_rules_check(struct view_rules *, struct slice vcset, const struct ledger_new_view *,
                     struct error *);

#endif
