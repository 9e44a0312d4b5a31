/* `atoll ledger receipt`: gets, shows and checks receipts; only getting needs a replica. */
#include "ledger/object/receipt.h"
#include "base/file.h"
#include "cli/ledger/ledger.h"
#include "cli/ledger/source.h"
#include "cli/report.h"
#include "ledger/client/receipt_store.h"
#include "ledger/kv/smallbank.h"
#include "ledger/object/json.h"
#include "ledger/object/receipt_batch.h"
#include "net/http_client.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* While the evidence for a receipt is incomplete the replica is asked again. */
#define GET_TRIES    20
#define GET_PAUSE_NS 500000000

struct request {
    const char *genesis, *ledger, *node, *store, *output;
    bool json;
};

/* What was found about one file. */
struct verdict {
    const char *path;
    struct buffer file;
    struct ledger_receipt_info info;
    bool read, foreign, found; /* found: its entry stands in the ledger */
    int code;
    struct error error;
};

/* ---- reading and judging ---- */

static void verdict_read(struct verdict *v, const char *path, struct slice *receipt,
                         uint8_t genesis[static HASH_LEN])
{
    *v = (struct verdict){.path = path};
    v->code = file_read(path, LEDGER_RECEIPT_FILE_MAX, &v->file, &v->error);
    if (v->code == 0)
        v->code =
            ledger_receipt_file_decode(slice_of_buffer(&v->file), receipt, genesis, &v->error);
    v->read = v->code == 0;
}

/* What receipts are judged by: the four signatures of one cost half as much together. */
struct judge {
    struct ledger_genesis genesis;
    struct buffer genesis_bytes;
    struct ledger_batch_verifier *batch;
};

static int judge_open(const char *genesis, struct judge **out, struct error *e)
{
    struct judge *j = *out = calloc(1, sizeof *j);
    if (j == NULL)
        return error_set(e, ATOLL_ENOMEM, "no memory");
    int rc = ledger_genesis_read(genesis, &j->genesis_bytes, &j->genesis, e);
    return rc == 0 ? ledger_batch_verifier_create(LEDGER_RECEIPT_SIGNATURES_MAX, &j->batch, e) : rc;
}

static void judge_close(struct judge *j)
{
    if (j == NULL)
        return;
    ledger_batch_verifier_destroy(j->batch);
    buffer_free(&j->genesis_bytes);
    free(j);
}

static int judge(const struct judge *j, struct slice receipt, struct ledger_receipt_info *info,
                 struct error *e)
{
    struct ledger_keys keys = ledger_keys_of(&j->genesis);
    struct ledger_verifier verifier = ledger_batch_verifier_of(j->batch);
    return ledger_receipt_verify(receipt, &keys, &verifier, info, e);
}

static void verdict_judge(struct verdict *v, const char *path, const struct judge *j)
{
    struct slice receipt;
    uint8_t genesis[HASH_LEN];
    verdict_read(v, path, &receipt, genesis);
    if (v->code != 0)
        return;
    if (memcmp(genesis, j->genesis.hash, HASH_LEN) != 0) {
        v->foreign = true;
        v->code = error_set(&v->error, ATOLL_EINVAL, "it is of another ledger");
        return;
    }
    v->code = judge(j, receipt, &v->info, &v->error);
}

/* ---- showing ---- */

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
    printf("  transaction %" PRIu64 ": request %" PRIu64 " of client\n  %s\n", r->tx.index,
           q->reqno, text);
    printf(
        "  procedure %u (%s), status %" PRId32 ", %zu bytes of output, after index %" PRIu64 "\n",
        q->proc, smallbank_procedure_name(q->proc), r->tx.status, r->tx.output.len, q->min_index);
}

static const char *verdict_rule(const struct verdict *v)
{
    return v->foreign || !v->read                ? "file"
           : v->info.failed == LEDGER_RULE_HOLDS ? "ledger"
                                                 : ledger_rule_name(v->info.failed);
}

static void verdict_print(const struct verdict *v, bool json)
{
    bool shown = v->read && !v->foreign && v->info.failed != LEDGER_RULE_FORMAT;
    if (json) {
        cJSON *o = shown ? ledger_receipt_json(&v->info.receipt) : cJSON_CreateObject();
        cJSON_AddStringToObject(o, "file", v->path);
        cJSON_AddBoolToObject(o, "valid", v->code == 0);
        if (v->code != 0) {
            cJSON_AddStringToObject(o, "rule", verdict_rule(v));
            cJSON_AddStringToObject(o, "reason", v->error.text);
        }
        json_print(o, false);
        return;
    }
    if (v->code == 0)
        printf("%s: valid%s\n", v->path, v->found ? ", and in the ledger" : "");
    else if (v->read && !v->foreign)
        printf("%s: NOT valid: %s: %s\n", v->path, verdict_rule(v), v->error.text);
    else
        printf("%s: NOT valid: %s\n", v->path, v->error.text);
    if (shown)
        receipt_print(&v->info.receipt);
}

/* ---- verify ---- */

struct search {
    struct verdict *verdicts;
    size_t count;
};

/* A batch was re-proposed with other roots after a view change, but its transactions, and so their
 * entries, stay as they were: the entry is what must stand in the ledger. */
static int entry_compare(void *context, uint64_t position, uint8_t type, struct slice payload,
                         struct error *e)
{
    const struct search *s = context;
    (void)position;
    (void)e;
    if (type != LEDGER_ENTRY_TX)
        return 0;
    for (size_t i = 0; i < s->count; i++) {
        struct verdict *v = &s->verdicts[i];
        if (v->code == 0 && slice_equal(v->info.receipt.tx_bytes, payload))
            v->found = true;
    }
    return 0;
}

/* Looks for them all in one pass. */
static int ledger_search(const char *path, const struct ledger_genesis *g, struct search *s,
                         struct error *e)
{
    struct source source;
    struct fragment_head head;
    int rc = source_open(path, &source, e);
    if (rc != 0)
        return rc;
    rc = source_visit(&source, 0, UINT64_MAX, &head, entry_compare, s, e);
    source_close(&source);
    if (rc == 0 && memcmp(head.genesis, g->hash, HASH_LEN) != 0)
        rc = error_set(e, ATOLL_EINVAL, "%s is another ledger", path);
    for (size_t i = 0; i < s->count && rc == 0; i++) {
        struct verdict *v = &s->verdicts[i];
        if (v->code == 0 && !v->found)
            v->code = error_set(&v->error, ATOLL_ENOENT,
                                v->info.receipt.of_transaction
                                    ? "it holds, but %s does not have its transaction"
                                    : "it is of a whole batch, which is not looked for in %s",
                                path);
    }
    return rc;
}

static int receipts_verify(const struct request *r, const struct text_list *files, size_t from,
                           struct error *e)
{
    struct judge *j;
    struct search s = {calloc(files->count - from, sizeof(struct verdict)), files->count - from};
    int rc = judge_open(r->genesis, &j, e);
    int bad = 0;
    if (s.verdicts == NULL && rc == 0)
        rc = error_set(e, ATOLL_ENOMEM, "no memory");
    for (size_t i = 0; rc == 0 && i < s.count; i++)
        verdict_judge(&s.verdicts[i], files->items[from + i], j);
    if (rc == 0 && r->ledger)
        rc = ledger_search(r->ledger, &j->genesis, &s, e);
    for (size_t i = 0; i < s.count && s.verdicts; i++) {
        if (rc == 0)
            verdict_print(&s.verdicts[i], r->json);
        bad |= s.verdicts[i].code != 0;
        buffer_free(&s.verdicts[i].file);
    }
    free(s.verdicts);
    judge_close(j);
    return rc != 0 ? rc : bad;
}

/* ---- a client's store ---- */

struct tally {
    const struct judge *judge;
    bool json;
    uint64_t good, bad;
};

static int kept_judge(void *context, uint64_t index, struct slice receipt,
                      const struct error *damaged)
{
    struct tally *t = context;
    struct ledger_receipt_info info;
    struct error e;
    if (damaged == NULL && judge(t->judge, receipt, &info, &e) == 0) {
        t->good++;
        return 0;
    }
    t->bad++;
    if (!t->json)
        printf("transaction %" PRIu64 ": NOT valid: %s\n", index, damaged ? damaged->text : e.text);
    return 0;
}

/* All that a client has kept. */
static int store_verify(const struct request *r, struct error *e)
{
    struct judge *j;
    struct ledger_receipt_store *store = NULL;
    int rc = judge_open(r->genesis, &j, e);
    struct tally t = {.judge = j, .json = r->json};
    if (rc == 0)
        rc = access(r->store, R_OK) == 0
                 ? ledger_receipt_store_open(r->store, j->genesis.hash, &store, e)
                 : error_set_errno(e, ATOLL_ENOENT, "the receipts in %s", r->store);
    if (rc == 0)
        rc = ledger_receipt_store_visit(store, kept_judge, &t, e);
    if (rc == 0 && r->json) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddStringToObject(o, "store", r->store);
        cJSON_AddNumberToObject(o, "valid", (double)t.good);
        cJSON_AddNumberToObject(o, "not_valid", (double)t.bad);
        json_print(o, false);
    } else if (rc == 0) {
        printf("%s: %" PRIu64 " receipts valid, %" PRIu64 " not\n", r->store, t.good, t.bad);
    }
    ledger_receipt_store_close(store);
    judge_close(j);
    return rc != 0 ? rc : t.bad > 0;
}

static bool is_hash(const char *text)
{
    return strlen(text) == 2 * HASH_LEN && strspn(text, "0123456789abcdef") == 2 * HASH_LEN;
}

static unsigned digit_of(char hex)
{
    return (unsigned)(hex <= '9' ? hex - '0' : hex - 'a' + 10);
}

static void hash_of(const char *text, uint8_t hash[static HASH_LEN])
{
    for (size_t i = 0; i < HASH_LEN; i++)
        hash[i] = (uint8_t)(digit_of(text[2 * i]) << 4 | digit_of(text[2 * i + 1]));
}

/* One of them as a file of its own. */
static int store_get(const struct request *r, const char *which, uint64_t index, struct error *e)
{
    struct ledger_receipt_store *store = NULL;
    struct ledger_genesis *g = calloc(1, sizeof *g);
    struct buffer bytes = {0}, receipt = {0}, file = {0};
    uint8_t hash[HASH_LEN];
    int rc =
        g ? ledger_genesis_read(r->genesis, &bytes, g, e) : error_set(e, ATOLL_ENOMEM, "no memory");
    if (rc == 0)
        rc = access(r->store, R_OK) == 0 ? ledger_receipt_store_open(r->store, g->hash, &store, e)
                                         : error_set_errno(e, ATOLL_ENOENT, "%s", r->store);
    if (rc == 0 && is_hash(which)) {
        hash_of(which, hash);
        rc = ledger_receipt_store_find_request(store, hash, &receipt, e);
    } else if (rc == 0) {
        rc = ledger_receipt_store_find(store, index, &receipt, e);
    }
    if (rc == 0 && !ledger_receipt_file_encode(slice_of_buffer(&receipt), g->hash, &file))
        rc = error_set(e, ATOLL_ENOMEM, "no memory for a receipt");
    if (rc == 0)
        rc = file_replace(r->output, file.data, file.len, 0644, e);
    ledger_receipt_store_close(store);
    buffer_free(&file);
    buffer_free(&receipt);
    buffer_free(&bytes);
    free(g);
    return rc;
}

/* ---- show ---- */

/* Without a genesis nothing can be said about its truth. */
static int receipts_show(const struct request *r, const struct text_list *files, size_t from,
                         struct error *e)
{
    for (size_t i = from; i < files->count; i++) {
        struct verdict v;
        struct slice receipt;
        uint8_t genesis[HASH_LEN];
        char hex[2 * HASH_LEN + 1];
        verdict_read(&v, files->items[i], &receipt, genesis);
        int rc = v.code;
        *e = v.error;
        if (rc == 0)
            rc = ledger_receipt_decode(receipt, &v.info.receipt, e);
        hash_hex(genesis, hex);
        if (rc == 0 && r->json) {
            cJSON *o = ledger_receipt_json(&v.info.receipt);
            cJSON_AddStringToObject(o, "genesis", hex);
            json_print(o, false);
        } else if (rc == 0) {
            printf("%s, of ledger %s, not checked\n", v.path, hex);
            receipt_print(&v.info.receipt);
        } else {
            error_prefix(e, "%s", v.path);
        }
        buffer_free(&v.file);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* ---- get ---- */

static int get_once(struct http_client *client, const struct url *url, bool by_hash,
                    const char *output, struct error *e)
{
    const struct http_header accept = http_header_text("accept", "application/octet-stream");
    const struct http_client_request request = {
        .method = HTTP_GET, .url = url, .headers = &accept, .header_count = 1};
    struct http_client_response response = {0};
    int rc = http_client_request(client, &request, &response, e);
    if (rc == 0 && response.status == 202)
        rc = error_set(e, ATOLL_EAGAIN, "the evidence for it is not complete yet");
    else if (rc == 0 && response.status == 404)
        rc = error_set(e, ATOLL_ENOENT, "%s",
                       by_hash ? "the replica does not know this hash: it knows those of its last "
                                 "transactions only; give the INDEX"
                               : "the replica has no such transaction");
    else if (rc == 0 && response.status != 200)
        rc = error_set(e, ATOLL_EREJECTED, "the replica answers %u: %.*s", response.status,
                       (int)(response.body.len < 300 ? response.body.len : 300),
                       (const char *)response.body.data);
    if (rc == 0)
        rc = file_replace(output, response.body.data, response.body.len, 0644, e);
    http_client_response_free(&response);
    return rc;
}

static int receipt_get(const struct request *r, const char *which, struct error *e)
{
    const struct http_client_options options = {.body_max = LEDGER_RECEIPT_FILE_MAX};
    struct http_client *client;
    struct url url;
    char text[512];
    size_t len = strlen(r->node);
    snprintf(text, sizeof text, "%.*s/v1/%s/%s/receipt",
             (int)(len && r->node[len - 1] == '/' ? len - 1 : len), r->node,
             is_hash(which) ? "request" : "tx", which);
    int rc = url_parse(text, &url, e);
    if (rc == 0)
        rc = http_client_create(&options, &client, e);
    if (rc != 0)
        return rc;
    for (int i = 0; i < GET_TRIES; i++) {
        rc = get_once(client, &url, is_hash(which), r->output, e);
        if (rc != -ATOLL_EAGAIN)
            break;
        nanosleep(&(struct timespec){0, GET_PAUSE_NS}, NULL);
    }
    http_client_destroy(client);
    return rc;
}

/* ---- the command ---- */

static int verify_run(const struct request *r, const struct text_list *operands, struct error *e)
{
    if (r->genesis == NULL)
        return error_set(e, ATOLL_EINVAL, "which ledger? give --genesis FILE");
    if ((operands->count > 1) == (r->store != NULL))
        return error_set(e, ATOLL_EINVAL, "what? give files of receipts, or --store FILE");
    return r->store ? store_verify(r, e) : receipts_verify(r, operands, 1, e);
}

static int get_run(const struct request *r, const struct text_list *operands, struct error *e)
{
    uint64_t index = 0;
    if (r->output == NULL || operands->count != 2 || (r->node == NULL) == (r->store == NULL))
        return error_set(e, ATOLL_EINVAL,
                         "give --node URL or --store FILE, --output FILE and one INDEX or HASH");
    if (r->store && r->genesis == NULL)
        return error_set(e, ATOLL_EINVAL, "which ledger? give --genesis FILE");
    const char *which = operands->items[1];
    if (!is_hash(which) && !text_parse_count(which, &index))
        return error_set(e, ATOLL_EINVAL, "%s is neither an index nor the hash of a request",
                         which);
    return r->store ? store_get(r, which, index, e) : receipt_get(r, which, e);
}

static int action_run(const struct request *r, const struct text_list *operands, struct error *e)
{
    const char *action = operands->items[0];
    if (strcmp(action, "show") == 0)
        return operands->count > 1 ? receipts_show(r, operands, 1, e)
                                   : error_set(e, ATOLL_EINVAL, "show which? give files");
    if (strcmp(action, "verify") == 0)
        return verify_run(r, operands, e);
    if (strcmp(action, "get") != 0)
        return error_set(e, ATOLL_EINVAL, "there is no action %s; try get, show, verify", action);
    return get_run(r, operands, e);
}

static int receipt_run(int argc, char **argv)
{
    struct request r = {0};
    const struct option_spec options[] = {
        {"genesis", 0, OPTION_TEXT, "FILE", "verify: the ledger's genesis, all that is trusted",
         &r.genesis, NULL},
        {"ledger", 0, OPTION_TEXT, "DIR|FILE",
         "verify: the transactions must also stand in this ledger (a\n"
         "replica's directory or an export)",
         &r.ledger, NULL},
        {"node", 0, OPTION_TEXT, "URL", "get: the HTTP view of a replica", &r.node, NULL},
        {"store", 0, OPTION_TEXT, "FILE",
         "instead of files or a replica: the receipts that `atoll ledger\n"
         "call` has kept (KEY.receipts)",
         &r.store, NULL},
        {"output", 'o', OPTION_TEXT, "FILE", "get: where to", &r.output, NULL},
        {"json", 0, OPTION_FLAG, NULL, "print one JSON object for each receipt", &r.json, NULL},
    };
    struct text_list operands = {0};
    struct error e;
    int code;
    if (!ledger_options(&command_ledger_receipt, options, 6, argc, argv, 1, SIZE_MAX, &operands,
                        &code))
        return code;
    int rc = action_run(&r, &operands, &e);
    if (rc < 0)
        ledger_report(&e);
    free(operands.items);
    if (rc == -ATOLL_EINVAL)
        return EXIT_USAGE;
    return rc == 0 ? EXIT_OK : rc > 0 || rc == -ATOLL_EAGAIN ? EXIT_NEGATIVE : exit_code_of(&e);
}

const struct command command_ledger_receipt = {
    .name = "ledger receipt",
    .usage = "verify --genesis FILE RECEIPT... | show RECEIPT... | get --node URL -o FILE INDEX",
    .summary = "check receipts offline, show and get them",
    .description =
        "verify  checks that receipts hold: the transaction is in the batch, the client signed\n"
        "        it, Q replicas signed the batch and declared themselves prepared, and the index\n"
        "        is above the one the client had seen. Nothing but the genesis is trusted, nobody\n"
        "        is asked\n"
        "show    tells what is in receipts without checking them\n"
        "get     asks a replica (atoll ledger node --http) for the receipt of a transaction, by\n"
        "        its index, or by its request's hash when it is one of the last half a million at\n"
        "        most that the replica knows so; waits some seconds for its evidence. Or takes it\n"
        "        from a --store\n"
        "\n"
        "Exit code: 0, or\n"
        "  1    a receipt does not hold; get: its evidence is not there yet\n"
        "  2    the command line is wrong\n"
        "  125  a file or the replica cannot be read, or has no such receipt\n"
        "  126  the genesis is none",
    .run = receipt_run,
};
