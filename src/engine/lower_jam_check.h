/* Whether rounds of an outer loop may run side by side; see lower_jam_check.c. */
#ifndef ENGINE_LOWER_JAM_CHECK_H
#define ENGINE_LOWER_JAM_CHECK_H

#include "engine/lower_nest.h"

/* What becomes of an access when rounds run side by side. */
enum jam_kind {
    JAM_PLAIN,   /* each round's copy is done */
    JAM_LAST,    /* a store to one place for all rounds, with loads of it beside: the first round
                    loads, the last stores, between them the value stays in a register */
    JAM_DELAYED, /* a store that every round of an inner loop makes to one place: done behind it */
};

struct jam_plan {
    const struct nest *nest;
    uint32_t rounds;
    enum jam_kind kinds[NEST_ACCESSES];
};

/* Whether two accesses touch the same bytes whenever both are in the same round of every loop. */
bool access_same_place(const struct nest_access *, const struct nest_access *);

/* Decides the kinds; false when no check could ever make it right. */
bool jam_plan(const struct nest *, uint32_t rounds, struct jam_plan *out);

/* Whether at least `rounds` rounds of the outer loop are to come, as an i1. Emitted, as the next,
 * where block 0's phis have their values. */
LLVMValueRef jam_emit_rounds(const struct jam_plan *, LLVMBuilderRef);
/* Whether these rounds, side by side, leave everything as one after the other would, as an i1. */
LLVMValueRef jam_emit_check(const struct jam_plan *, LLVMBuilderRef);

#endif
