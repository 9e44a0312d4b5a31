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
