/* `atoll ledger receipt`: checks and shows receipts; needs no network and no replica. */
#include "base/file.h"
#include "cli/ledger/ledger.h"
#include "cli/report.h"
#include "ledger/kv/smallbank.h"
#include "ledger/object/receipt_batch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct request {
    const char *genesis;
    bool json;
};

/* What was found about one file. */
struct verdict {
    struct ledger_receipt_info info;
    bool read, foreign;
    int code;
    struct error error;
};

static void receipt_check(const char *path, const struct ledger_genesis *g, struct buffer *file,
                          struct verdict *v)
{
    struct ledger_keys keys = ledger_keys_of(g);
    struct slice receipt;
    uint8_t genesis[HASH_LEN];
    *v = (struct verdict){.code = file_read(path, LEDGER_RECEIPT_FILE_MAX, file, &v->error)};
    if (v->code != 0)
        return;
    v->code = ledger_receipt_file_decode(slice_of_buffer(file), &receipt, genesis, &v->error);
    if (v->code != 0)
        return;
    v->read = true;
    if (memcmp(genesis, g->hash, HASH_LEN) != 0) {
        v->foreign = true;
        v->code = error_set(&v->error, ATOLL_EINVAL, "it is of another ledger");
        return;
    }
    v->code = ledger_receipt_verify(receipt, &keys, NULL, &v->info, &v->error);
}

static void signers_format(uint64_t bits, char *out, size_t size)
{
    size_t len = 0;
    out[0] = 0;
    for (unsigned i = 0; i < 64 && len + 4 < size; i++) {
        if (bits >> i & 1)
            len += (size_t)snprintf(out + len, size - len, "%s%u", len ? ", " : "", i);
    }
}

static void receipt_print(const struct ledger_receipt *r)
{
    char text[256];
    signers_format(r->bits, text, sizeof text);
    printf("  view %" PRIu64 ", batch %" PRIu64 " (%s, %u transactions), signed by replicas %s\n",
           r->pp.view, r->pp.seqno, ledger_kind_name(r->pp.kind), r->pp.count, text);
    if (!r->of_transaction)
        return;
    const struct ledger_request *q = &r->body.request;
    hash_hex(q->client, text);
    printf("  transaction %" PRIu64 ": request %" PRIu64 " of %s\n", r->tx.index, q->reqno, text);
    printf(
        "  procedure %u (%s), status %" PRId32 ", %zu bytes of output, after index %" PRIu64 "\n",
        q->proc, smallbank_procedure_name(q->proc), r->tx.status, r->tx.output.len, q->min_index);
}

static cJSON *receipt_object(const struct ledger_receipt *r)
{
    char text[2 * HASH_LEN + 1];
    cJSON *o = cJSON_CreateObject(), *signers = cJSON_AddArrayToObject(o, "signers");
    snprintf(text, sizeof text, "%" PRIu64, r->pp.view);
    cJSON_AddStringToObject(o, "view", text);
    snprintf(text, sizeof text, "%" PRIu64, r->pp.seqno);
    cJSON_AddStringToObject(o, "batch", text);
    for (unsigned i = 0; i < 64; i++) {
        if (r->bits >> i & 1)
            cJSON_AddItemToArray(signers, cJSON_CreateNumber(i));
    }
    if (!r->of_transaction)
        return o;
    snprintf(text, sizeof text, "%" PRIu64, r->tx.index);
    cJSON_AddStringToObject(o, "index", text);
    hash_hex(r->body.request.client, text);
    cJSON_AddStringToObject(o, "client", text);
    snprintf(text, sizeof text, "%" PRIu64, r->body.request.reqno);
    cJSON_AddStringToObject(o, "reqno", text);
    cJSON_AddNumberToObject(o, "procedure", r->body.request.proc);
    cJSON_AddNumberToObject(o, "status", r->tx.status);
    return o;
}

static void verdict_print(const char *path, const struct verdict *v, bool json)
{
    bool shown = v->read && !v->foreign && v->info.failed != LEDGER_RULE_FORMAT;
    if (json) {
        cJSON *o = shown ? receipt_object(&v->info.receipt) : cJSON_CreateObject();
        cJSON_AddStringToObject(o, "file", path);
        cJSON_AddBoolToObject(o, "valid", v->code == 0);
        if (v->code != 0) {
            cJSON_AddStringToObject(
                o, "rule", v->foreign || !v->read ? "file" : ledger_rule_name(v->info.failed));
            cJSON_AddStringToObject(o, "reason", v->error.text);
        }
        json_print(o, false);
        return;
    }
    if (v->code == 0)
        printf("%s: valid\n", path);
    else if (v->read && !v->foreign)
        printf("%s: NOT valid: %s: %s\n", path, ledger_rule_name(v->info.failed), v->error.text);
    else
        printf("%s: NOT valid: %s\n", path, v->error.text);
    if (shown)
        receipt_print(&v->info.receipt);
}

static int receipts_verify(const struct request *r, const struct text_list *files, size_t from,
                           struct error *e)
{
    struct ledger_genesis *g = malloc(sizeof *g);
    struct buffer bytes = {0};
    int rc =
        g ? ledger_genesis_read(r->genesis, &bytes, g, e) : error_set(e, ATOLL_ENOMEM, "no memory");
    size_t bad = 0;
    for (size_t i = from; rc == 0 && i < files->count; i++) {
        struct buffer file = {0};
        struct verdict v;
        receipt_check(files->items[i], g, &file, &v);
        verdict_print(files->items[i], &v, r->json);
        bad += v.code != 0;
        buffer_free(&file);
    }
    buffer_free(&bytes);
    free(g);
    return rc != 0 ? rc : bad > 0;
}

static int receipt_run(int argc, char **argv)
{
    struct request r = {0};
    const struct option_spec options[] = {
        {"genesis", 0, OPTION_TEXT, "FILE", "the ledger's genesis: all that is trusted", &r.genesis,
         NULL},
        {"json", 0, OPTION_FLAG, NULL, "print one JSON object for each receipt", &r.json, NULL},
    };
    struct text_list operands = {0};
    struct error e;
    int code;
    if (!ledger_options(&command_ledger_receipt, options, 2, argc, argv, 2, SIZE_MAX, &operands,
                        &code))
        return code;
    if (strcmp(operands.items[0], "verify") != 0) {
        code = usage_error(&command_ledger_receipt, "there is no action %s", operands.items[0]);
    } else if (r.genesis == NULL) {
        code = usage_error(&command_ledger_receipt, "which ledger? give --genesis FILE");
    } else {
        int rc = receipts_verify(&r, &operands, 1, &e);
        if (rc < 0)
            report_error(&e);
        code = rc == 0 ? EXIT_OK : rc > 0 ? EXIT_NEGATIVE : exit_code_of(&e);
    }
    free(operands.items);
    return code;
}

const struct command command_ledger_receipt = {
    .name = "ledger receipt",
    .usage = "verify --genesis FILE RECEIPT...",
    .summary = "check receipts offline",
    .description =
        "Checks that receipts hold: the transaction is in the batch, the client signed it, Q "
        "replicas\n"
        "signed the batch and declared themselves prepared, and the index is above the one the\n"
        "client had seen. Nothing but the genesis is trusted, nobody is asked. Exit code 1 when "
        "one\n"
        "does not hold.",
    .run = receipt_run,
};
