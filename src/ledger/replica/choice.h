/*
 * What ViewChanges are worth and what a set of them decides (spec/ledger §6): the same for the new
 * primary, for the backups that judge its NewView, and for whoever checks a ledger later. Nothing
 * here knows a replica's state.
 *
 * A ViewChange reports its sender's tip, the last batch that it prepared. Behind a partly prepared
 * plan the tip is not the last batch that must survive: the EFFECTIVE tip is the end of the plan.
 *
 * The trap: without the effective tip, batches 1-5 of view 0, of which view 1 re-proposes 4 and 5
 * and prepares only 4, lose 5 in view 2, because (1, 4) beats (0, 5). Without the binding a single
 * liar does the same by leaving NewView(1) out.
 */
#ifndef LEDGER_REPLICA_CHOICE_H
#define LEDGER_REPLICA_CHOICE_H

#include "ledger/object/view_change.h"

/* Rules that the simulator breaks one at a time, to show that it would notice: in the objects that
 * it compiles for that alone (tests/sim/mutation.h). Everywhere else it is false and leaves no
 * trace. */
#ifndef MUTATED
#define MUTATED(rule) false
#endif

/* The terms of the service under which they stand. */
struct choice_terms {
    uint32_t config;
    unsigned replicas;      /* N */
    uint64_t pipeline;      /* P */
    const uint8_t *genesis; /* its hash */
};

/* What is to survive a view change, and from where on it is proposed again. */
struct choice {
    uint64_t tip_view, tip_s;
    uint64_t base;
    /* What the first pp after the rollback point named as its predecessor: the pp_hash of batch
     * `base`, the hash of the NewView after it, or of the genesis. It tells the rollback point. */
    uint8_t link[HASH_LEN];
    unsigned plan_count;
    struct ledger_plan plan[LEDGER_PIPELINE_MAX];
    uint16_t replica; /* whose ViewChange reports the tip: it has what that rests on */
};

/* Whether a ViewChange is complete in itself (§6, binding). Signatures and quorums are checked
 * apart. 0 or ATOLL_EINVAL. */
int choice_binding_check(const struct choice_terms *, const struct ledger_view_change *,
                         struct error *);
/* What these valid ViewChanges (at least one) make the new primary do. */
void choice_make(const struct choice_terms *, const struct ledger_view_change *const *,
                 unsigned count, struct choice *);

#endif
