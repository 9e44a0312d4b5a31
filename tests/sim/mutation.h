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
    REPLICA_MUTATION_NAIVE_TIP,          /* greatest (view, s), plans do not count (§6, trap) */
    REPLICA_MUTATION_NEW_VIEW_OMITTED,   /* a ViewChange may leave its NewView out */
    REPLICA_MUTATION_NEW_VIEW_UNBOUND,   /* … or bring another NewView of the same view */
    REPLICA_MUTATION_NONCE_EARLY,        /* nonces leave before the certificate is durable */
    REPLICA_MUTATION_NONCE_AFTER_CHANGE, /* … and after a ViewChange that does not report them */
    REPLICA_MUTATION_NO_ABSTAIN,         /* signs on after catching up in the same view */
    REPLICA_MUTATION_NO_FLOOR,           /* committed contents may change */
};

extern enum replica_mutation replica_mutation;

#define MUTATED(rule) (replica_mutation == REPLICA_MUTATION_##rule)

/* By its name on the command line; "list" prints them. False: no such one. */
bool replica_mutation_choose(const char *name);

#endif
