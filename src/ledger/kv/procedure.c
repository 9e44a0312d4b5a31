/* Which procedure a call means, and what becomes of its writes (procedure.h). */
#include "ledger/kv/procedure.h"

#include "ledger/kv/smallbank.h"

#include <stdlib.h>
#include <string.h>

struct procedure_table {
    uint32_t family;
    uint8_t output[PROCEDURE_OUTPUT_MAX];
};

static int family_check(uint32_t family, struct error *e)
{
    if (family == PROCEDURE_FAMILY_NONE || family == PROCEDURE_FAMILY_SMALLBANK)
        return 0;
    return error_set(e, ATOLL_EINVAL, "there is no family %u of procedures (0: none, 1: SmallBank)",
                     family);
}

int procedure_table_create(uint32_t family, struct procedure_table **out, struct error *e)
{
    *out = NULL;
    int rc = family_check(family, e);
    if (rc < 0)
        return rc;
    struct procedure_table *table = malloc(sizeof *table);
    if (!table)
        return error_set(e, ATOLL_ENOMEM, "no memory for the table of procedures");
    table->family = family;
    *out = table;
    return 0;
}

void procedure_table_destroy(struct procedure_table *table)
{
    free(table);
}

int procedure_preload(uint32_t family, const void *state, size_t len, struct kv *kv,
                      struct error *e)
{
    int rc = family_check(family, e);
    if (rc < 0)
        return rc;
    if (family == PROCEDURE_FAMILY_SMALLBANK)
        return smallbank_preload(state, len, kv, e);
    return len == 0 ? 0
                    : error_set(e, ATOLL_EINVAL,
                                "the initial state of no procedures has no description");
}

static int procedure_run(struct procedure_table *table, const struct procedure_call *call,
                         struct kv *kv, struct procedure_result *result, struct error *e)
{
    result->status = PROCEDURE_OK;
    if (call->proc == PROCEDURE_NO_OP) {
        if (call->args_len > PROCEDURE_OUTPUT_MAX) {
            result->status = PROCEDURE_LIMIT;
            return 0;
        }
        if (call->args_len > 0)
            memcpy(table->output, call->args, call->args_len);
        result->output_len = call->args_len;
        return 0;
    }
    if (table->family == PROCEDURE_FAMILY_SMALLBANK)
        return smallbank_execute(kv, call, &result->status, table->output, &result->output_len, e);
    result->status = PROCEDURE_UNKNOWN;
    return 0;
}

void procedure_prefetch(const struct procedure_table *table, const struct procedure_call *call,
                        struct kv *kv)
{
    if (table->family == PROCEDURE_FAMILY_SMALLBANK)
        smallbank_prefetch(kv, call);
}

int procedure_execute(struct procedure_table *table, const struct procedure_call *call,
                      struct kv *kv, struct procedure_result *result, struct error *e)
{
    result->output = table->output;
    result->output_len = 0;
    kv_transaction_begin(kv);
    int rc = procedure_run(table, call, kv, result, e);
    if (rc < 0 || result->status < 0) {
        result->output_len = 0;
        kv_transaction_abort(kv, result->writeset_hash);
        return rc;
    }
    return kv_transaction_commit(kv, result->writeset_hash, e);
}
