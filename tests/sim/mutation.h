/*
 * Rules of the replica's core that can be broken, one at a time. This header is forced upon the
 * core's sources in the mutated build alone (meson.build); in production objects MUTATED is
 * constantly false and no trace of it is left. ledger-sim-mutated shows that each rule is needed
 * and that the simulator would notice its loss.
 */
#ifndef SIM_MUTATION_H
#define SIM_MUTATION_H

#include <stdbool.h>

#define REPLICA_MUTATION 1

enum replica_mutation {
    REPLICA_MUTATION_NONE,
    REPLICA_MUTATION_NAIVE_TIP,           /* greatest (view, s), plans do not count (§6, trap) */
    REPLICA_MUTATION_NEW_VIEW_OMITTED,    /* a ViewChange may leave its NewView out */
    REPLICA_MUTATION_NEW_VIEW_UNBOUND,    /* … or bring another NewView of the same view */
    REPLICA_MUTATION_NONCE_EARLY,         /* nonces leave before the certificate is durable */
    REPLICA_MUTATION_NONCE_AFTER_CHANGE,  /* … and after a ViewChange that does not report them */
    REPLICA_MUTATION_NO_ABSTAIN,          /* signs on after catching up in the same view */
    REPLICA_MUTATION_NO_FLOOR,            /* committed contents may change */
    REPLICA_MUTATION_SIGN_EARLY,          /* what is signed leaves before it is durable */
    REPLICA_MUTATION_VOTE_AFTER_CHANGE,   /* votes go on after a ViewChange */
    REPLICA_MUTATION_FEW_NONCES,          /* Q - 1 nonces commit a batch */
    REPLICA_MUTATION_NONCE_UNOPENED,      /* a nonce need not open its commitment */
    REPLICA_MUTATION_PREPARE_UNSIGNED,    /* Prepares need no valid signature */
    REPLICA_MUTATION_EVIDENCE_UNSIGNED,   /* … nor does the evidence in a pp */
    REPLICA_MUTATION_CHANGE_UNSIGNED,     /* … nor what a ViewChange holds */
    REPLICA_MUTATION_G_UNCOMPARED,        /* a backup does not compare what executing gave */
    REPLICA_MUTATION_M_UNCOMPARED,        /* … nor the root of the ledger */
    REPLICA_MUTATION_DC_UNCOMPARED,       /* … nor the digest of the checkpoint */
    REPLICA_MUTATION_PREVIOUS_UNCOMPARED, /* … nor what the batch follows */
    REPLICA_MUTATION_MIN_INDEX,           /* requests are executed below their min_index */
    REPLICA_MUTATION_TWICE,               /* … and as often as they come */
    REPLICA_MUTATION_SENT_ONCE,           /* nothing is sent again */
};

extern enum replica_mutation replica_mutation;

#define MUTATED(rule) (replica_mutation == REPLICA_MUTATION_##rule)

/* By its name on the command line; "list" prints them. False: no such one. */
bool replica_mutation_choose(const char *name);

#endif
