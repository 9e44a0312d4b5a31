/* The signatures of a ledger that is being checked: gathered, then verified many at once. */
#ifndef LEDGER_CHECK_SIGNATURES_H
#define LEDGER_CHECK_SIGNATURES_H

#include "base/error.h"
#include "ledger/object/signature.h"

struct check_signatures;

/* Whose signature it is, for the sentence that says it is wrong. */
struct check_subject {
    uint64_t entry, batch;
    const char *what; /* lives on */
};

int check_signatures_create(struct check_signatures **, struct error *);
void check_signatures_destroy(struct check_signatures *);
/* Copies what it points to. Now and then verifies all that has gathered: ATOLL_ECORRUPT names the
 * first that is not valid. A signature equal to the one before it (members of a bundle) is taken
 * once. */
int check_signatures_add(struct check_signatures *, const struct ledger_signature *,
                         struct check_subject, struct error *);
int check_signatures_flush(struct check_signatures *, struct error *);

#endif
