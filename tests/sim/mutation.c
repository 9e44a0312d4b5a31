#include "mutation.h"

#include <stdio.h>
#include <string.h>

enum replica_mutation replica_mutation;

bool replica_mutation_choose(const char *name)
{
    static const char *const names[] = {
        [REPLICA_MUTATION_NONE] = "none",
        [REPLICA_MUTATION_NAIVE_TIP] = "naive-tip",
        [REPLICA_MUTATION_NEW_VIEW_OMITTED] = "new-view-omitted",
        [REPLICA_MUTATION_NEW_VIEW_UNBOUND] = "new-view-unbound",
        [REPLICA_MUTATION_NONCE_EARLY] = "nonce-early",
        [REPLICA_MUTATION_NONCE_AFTER_CHANGE] = "nonce-after-change",
        [REPLICA_MUTATION_NO_ABSTAIN] = "no-abstain",
        [REPLICA_MUTATION_NO_FLOOR] = "no-floor",
        [REPLICA_MUTATION_SIGN_EARLY] = "sign-early",
        [REPLICA_MUTATION_VOTE_AFTER_CHANGE] = "vote-after-change",
        [REPLICA_MUTATION_FEW_NONCES] = "few-nonces",
        [REPLICA_MUTATION_NONCE_UNOPENED] = "nonce-unopened",
        [REPLICA_MUTATION_PREPARE_UNSIGNED] = "prepare-unsigned",
        [REPLICA_MUTATION_EVIDENCE_UNSIGNED] = "evidence-unsigned",
        [REPLICA_MUTATION_CHANGE_UNSIGNED] = "change-unsigned",
        [REPLICA_MUTATION_G_UNCOMPARED] = "g-uncompared",
        [REPLICA_MUTATION_M_UNCOMPARED] = "m-uncompared",
        [REPLICA_MUTATION_DC_UNCOMPARED] = "dc-uncompared",
        [REPLICA_MUTATION_PREVIOUS_UNCOMPARED] = "previous-uncompared",
        [REPLICA_MUTATION_MIN_INDEX] = "min-index",
        [REPLICA_MUTATION_TWICE] = "twice",
        [REPLICA_MUTATION_SENT_ONCE] = "sent-once",
    };

    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, "list") == 0)
            puts(names[i]);
        if (strcmp(name, names[i]) == 0) {
            replica_mutation = (enum replica_mutation)i;
            return true;
        }
    }
    return false;
}
