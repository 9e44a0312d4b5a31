/*
 * Running stored procedures (spec/ledger §8): the seam between the replica and what a transaction
 * does. Procedures are deterministic: status, output and writes depend on the call and the store.
 *
 * A service has one family of native procedures, named by its genesis, beside the no-op.
 */
#ifndef LEDGER_KV_PROCEDURE_H
#define LEDGER_KV_PROCEDURE_H

#include "ledger/kv/kv.h"

#define PROCEDURE_OUTPUT_MAX 65536
#define PROCEDURE_NO_OP      0 /* succeeds, with its arguments as output */

enum procedure_family {
    PROCEDURE_FAMILY_NONE = 0,
    PROCEDURE_FAMILY_SMALLBANK = 1, /* smallbank.h */
};

/* Statuses: at least 0 is the procedure's own word, and its writes stand; below 0 they were
 * discarded. */
enum procedure_status {
    PROCEDURE_OK = 0,
    PROCEDURE_UNKNOWN = -1,   /* no such procedure */
    PROCEDURE_ARGUMENTS = -2, /* the arguments are not what it takes */
    PROCEDURE_LIMIT = -3,     /* wrote or returned more than allowed */
};

struct procedure_call {
    uint32_t proc;
    const uint8_t *args;
    size_t args_len;
    const uint8_t *client; /* public key, CLIENT_KEY_LEN bytes */
    uint64_t index;        /* of the transaction */
};

struct procedure_result {
    int32_t status;
    const uint8_t *output; /* the table's; good until its next call */
    size_t output_len;
    uint8_t writeset_hash[HASH_LEN];
};

struct procedure_table;

/* ATOLL_EINVAL for an unknown family, ATOLL_ENOMEM. */
int procedure_table_create(uint32_t family, struct procedure_table **, struct error *);
void procedure_table_destroy(struct procedure_table *);

/* Puts the family's initial state, described by `state` as its header says, into an empty store.
 * ATOLL_EINVAL, ATOLL_ENOMEM. */
int procedure_preload(uint32_t family, const void *state, size_t len, struct kv *, struct error *);

/* The call comes soon: what it will read is fetched from memory meanwhile (kv_prefetch). Arguments
 * that make no sense are passed over. */
void procedure_prefetch(const struct procedure_table *, const struct procedure_call *, struct kv *);

/* Runs one transaction in the store's open batch. 0 whatever its status; ATOLL_ENOMEM when this
 * replica cannot go on. */
int procedure_execute(struct procedure_table *, const struct procedure_call *, struct kv *,
                      struct procedure_result *, struct error *);

#endif
