/*
 * SmallBank, a family of native procedures (spec/ledger §8): customers with a savings and a
 * checking account, in whole cents. Integers are little-endian; amounts and balances i64, customers
 * u64.
 *
 *   procedure            proc  arguments                           output
 *   CREATE_ACCOUNT         1   customer, savings, checking >= 0    -
 *   BALANCE                2   customer                            savings + checking
 *   DEPOSIT_CHECKING       3   customer, amount >= 0               checking after it
 *   TRANSACT_SAVINGS       4   customer, amount of either sign     savings after it
 *   SEND_PAYMENT           5   from, to, amount >= 0               checking of `from` after it
 *   AMALGAMATE             6   from, to                            checking of `to` after it
 *   WRITE_CHECK            7   customer, amount >= 0               checking after it
 *
 * Statuses other than PROCEDURE_OK leave the accounts alone and have no output. A balance never
 * becomes negative but by WRITE_CHECK: the check is good when both accounts together cover it, and
 * is then drawn from checking.
 *
 * SEND_PAYMENT and AMALGAMATE move money; BALANCE looks: the total stays. DEPOSIT_CHECKING,
 * TRANSACT_SAVINGS, WRITE_CHECK and CREATE_ACCOUNT change it by what smallbank_total_change says.
 *
 * Initial state: accounts u64 | savings i64 | checking i64: customers 0 … accounts - 1, all alike.
 *
 * Tables: KV_TABLE_USER savings, KV_TABLE_USER + 1 checking; key: customer, big-endian; value:
 * balance.
 */
#ifndef LEDGER_KV_SMALLBANK_H
#define LEDGER_KV_SMALLBANK_H

#include "ledger/kv/procedure.h"

#define SMALLBANK_SAVINGS      (KV_TABLE_USER)
#define SMALLBANK_CHECKING     (KV_TABLE_USER + 1)
#define SMALLBANK_ARGS_MAX     24
#define SMALLBANK_STATE_LEN    24
#define SMALLBANK_ACCOUNTS_MAX 10000000u
#define SMALLBANK_AMOUNT_MAX   INT64_C(1000000000000000) /* of an argument */

enum smallbank_procedure {
    SMALLBANK_CREATE_ACCOUNT = 1,
    SMALLBANK_BALANCE = 2,
    SMALLBANK_DEPOSIT_CHECKING = 3,
    SMALLBANK_TRANSACT_SAVINGS = 4,
    SMALLBANK_SEND_PAYMENT = 5,
    SMALLBANK_AMALGAMATE = 6,
    SMALLBANK_WRITE_CHECK = 7,
};

enum smallbank_status {
    SMALLBANK_INSUFFICIENT = 1, /* not enough money */
    SMALLBANK_NO_ACCOUNT = 2,
    SMALLBANK_ACCOUNT_EXISTS = 3,
    SMALLBANK_OVERFLOW = 4, /* a balance would leave the range of i64 */
    SMALLBANK_SAME_ACCOUNT = 5,
};

/* A call, before it becomes bytes. Members that the procedure does not take are not looked at. */
struct smallbank_call {
    enum smallbank_procedure proc;
    uint64_t customer; /* or from */
    uint64_t to;
    int64_t amount; /* or savings */
    int64_t checking;
};

/* The number of bytes written. */
size_t smallbank_args_encode(const struct smallbank_call *,
                             uint8_t args[static SMALLBANK_ARGS_MAX]);
/* ATOLL_EINVAL: not the arguments of a SmallBank procedure. */
int smallbank_args_decode(uint32_t proc, const void *args, size_t len, struct smallbank_call *,
                          struct error *);
/* By how much a call that ended with this status changed the sum of all accounts. */
int64_t smallbank_total_change(const struct smallbank_call *, int32_t status);
/* The sum of all accounts. */
int64_t smallbank_total(const struct kv *);
void smallbank_state_encode(uint64_t accounts, int64_t savings, int64_t checking,
                            uint8_t state[static SMALLBANK_STATE_LEN]);
/* "create account", "balance", …; "unknown" for another number. */
const char *smallbank_procedure_name(uint32_t proc);

/* ---- the uniform mix ---- */

/* Calls drawn from a generator of its own, the same for the same seed everywhere: procedures other
 * than CREATE_ACCOUNT with equal probability, customers uniformly (two different ones where it
 * takes two; so accounts is at least 2), amounts of 1 … 100 cents. */
struct smallbank_mix {
    uint64_t state;
    uint64_t accounts;
};

void smallbank_mix_start(struct smallbank_mix *, uint64_t seed, uint64_t accounts);
struct smallbank_call smallbank_mix_next(struct smallbank_mix *);

/* What procedure.h has of this family. 0 whatever the status; ATOLL_ENOMEM. */
int smallbank_execute(struct kv *, const struct procedure_call *, int32_t *status,
                      uint8_t output[static 8], size_t *output_len, struct error *);
void smallbank_prefetch(struct kv *, const struct procedure_call *);
int smallbank_preload(const void *state, size_t len, struct kv *, struct error *);

#endif
