/*
 * Is a history of operations by concurrent clients linearizable? The search of Wing and Gong (1993)
 * with Lowe's memory of configurations already seen (2017): operations are tried in every order
 * that respects real time, against a sequential model, and a pair of (operations done, state of the
 * model) is never explored twice.
 *
 * The history is partitioned beforehand: operations of different groups touch disjoint parts of the
 * state, and a history is linearizable if each group's is (locality, Herlihy and Wing 1990). An
 * operation without an answer may have happened at any time after it began, or never.
 *
 * Whoever claims an order may give it as a hint. It is no more than that: it is tried first, by one
 * walk, and an order that respects real time and gives every answer is the linearization that the
 * search would look for. Only when it does not hold is there a search.
 */
#ifndef SIM_LINEARIZE_H
#define SIM_LINEARIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the state of one group in the model. */
#define SIM_STATE_MAX 256
/* Operations of one group; more is refused. */
#define SIM_GROUP_MAX 512

#define SIM_NEVER UINT64_MAX

struct sim_operation {
    uint64_t invoked_us, returned_us; /* returned_us SIM_NEVER: no answer was heard */
    uint64_t hint; /* its place in the order that the object claims; 0: it has none */
    unsigned group;
    const void *call; /* what was asked and what was answered: the model's business */
};

/* A sequential object. step applies the call to the state in place and says whether the answer that
 * is on record (answered: there is one) is the one it gives. */
struct sim_model {
    size_t state_len;
    void (*initial)(void *ctx, unsigned group, void *state);
    bool (*step)(void *ctx, void *state, const void *call, bool answered);
    void *ctx;
};

enum sim_linearizable {
    SIM_LINEARIZABLE,
    SIM_NOT_LINEARIZABLE,
    SIM_UNDECIDED, /* more than `budget` steps, or a group is too large */
};

/* *group_out: the group that is not linearizable, or is undecided. */
enum sim_linearizable sim_linearize(const struct sim_operation *, size_t count,
                                    const struct sim_model *, uint64_t budget, unsigned *group_out);

#endif
