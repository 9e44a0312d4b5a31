/*
 * SmallBank as the simulator understands it, written apart from the ledger's own (smallbank.h): the
 * oracle that says what a transaction must have answered, and the sequential model of the
 * linearizability checker.
 *
 * Accounts are dealt out to groups that never pay each other: account n belongs to group n mod
 * groups. Of the SIM_BANK_SLOTS accounts of a group all but the last exist from the genesis on.
 */
#ifndef SIM_BANK_H
#define SIM_BANK_H

#include "linearize.h"
#include "random.h"

#define SIM_BANK_SLOTS    3
#define SIM_BANK_GROUPS   8 /* at most */
#define SIM_BANK_SAVINGS  1000000
#define SIM_BANK_CHECKING 500000

struct sim_bank_group {
    int64_t savings[SIM_BANK_SLOTS], checking[SIM_BANK_SLOTS];
    uint64_t exists; /* bitmap */
};

struct sim_bank {
    unsigned groups;
    struct sim_bank_group group[SIM_BANK_GROUPS];
};

/* A call as it went to the ledger, and what came back. */
struct sim_bank_call {
    unsigned groups; /* of the bank it is for */
    uint32_t proc;
    uint8_t args[24];
    uint32_t args_len;
    int32_t status;
    uint8_t output[8];
    uint32_t output_len;
    uint64_t index; /* of the transaction, from its receipt */
};

void sim_bank_open(struct sim_bank *, unsigned groups);
/* Draws a call within one group; amounts are drawn from so many that they are as good as unique. */
void sim_bank_draw(struct sim_bank_call *, struct sim_random *, unsigned groups, unsigned *group);
/* Applies a call and fills in status and output. */
void sim_bank_apply(struct sim_bank *, struct sim_bank_call *);
int64_t sim_bank_total(const struct sim_bank *);
/* What calls that came out this way added to the sum of all accounts. */
int64_t sim_bank_brought(const struct sim_bank_call *);
/* Judges histories whose operations' `call` is a struct sim_bank_call. */
struct sim_model sim_bank_model(void);

#endif
