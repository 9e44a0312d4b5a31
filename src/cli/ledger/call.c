/*
 * `atoll ledger call`: one transaction, from request to checked receipt.
 *
 * Beside the key lies its file of receipts (ledger/client/receipt_store.h): it says which numbers
 * the key has used and the highest index that it has seen, and is on the disk before anything is
 * signed or told. One call at a time has it; others wait.
 */
#include "base/clock.h"
#include "base/file.h"
#include "cli/ledger/ledger.h"
#include "cli/report.h"
#include "ledger/kv/smallbank.h"
#include "ledger/service/caller.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define STORE_PAUSE_NS 20000000 /* between tries to have the file of receipts */

struct request {
    const char *genesis, *key, *passphrase_file, *receipt, *request, *store;
    int64_t deadline_ns;
    bool json;
};

struct call {
    const struct request *request;
    struct smallbank_call what;
    struct secret *key;
    struct buffer genesis_bytes;
    struct ledger_genesis genesis;
    struct ledger_receipt_store *store;
    int exit_code;
};

static const char *const procedure_names[] = {
    [SMALLBANK_CREATE_ACCOUNT] = "create",    [SMALLBANK_BALANCE] = "balance",
    [SMALLBANK_DEPOSIT_CHECKING] = "deposit", [SMALLBANK_TRANSACT_SAVINGS] = "savings",
    [SMALLBANK_SEND_PAYMENT] = "pay",         [SMALLBANK_AMALGAMATE] = "amalgamate",
    [SMALLBANK_WRITE_CHECK] = "check",
};

/* How many numbers a procedure takes. */
static size_t operand_count(uint32_t proc)
{
    switch (proc) {
    case SMALLBANK_BALANCE: return 1;
    case SMALLBANK_CREATE_ACCOUNT:
    case SMALLBANK_SEND_PAYMENT: return 3;
    default: return 2;
    }
}

static bool number_parse(const char *text, int64_t *out)
{
    char *end;
    bool begins = *text == '-' || (*text >= '0' && *text <= '9'); /* not with a space */
    errno = 0;
    *out = strtoll(text, &end, 10);
    return begins && *end == 0 && errno == 0;
}

/* "pay 1 2 500" */
static int call_parse(const struct text_list *words, struct smallbank_call *out, struct error *e)
{
    int64_t numbers[3] = {0};
    uint32_t proc = SMALLBANK_WRITE_CHECK;
    while (proc > 0 && strcmp(procedure_names[proc], words->items[0]) != 0)
        proc--;
    if (proc == 0)
        return error_set(e, ATOLL_EINVAL,
                         "there is no procedure %s; try create, balance, deposit, savings, pay, "
                         "amalgamate, check",
                         words->items[0]);
    if (words->count - 1 != operand_count(proc))
        return error_set(e, ATOLL_EINVAL, "%s wants %zu numbers", words->items[0],
                         operand_count(proc));
    for (size_t i = 1; i < words->count; i++) {
        if (!number_parse(words->items[i], &numbers[i - 1]))
            return error_set(e, ATOLL_EINVAL, "%s is no number, or too large", words->items[i]);
    }
    *out = (struct smallbank_call){.proc = (enum smallbank_procedure)proc,
                                   .customer = (uint64_t)numbers[0]};
    if (proc == SMALLBANK_SEND_PAYMENT || proc == SMALLBANK_AMALGAMATE) {
        out->to = (uint64_t)numbers[1];
        out->amount = numbers[2];
    } else {
        out->amount = numbers[1];
        out->checking = numbers[2];
    }
    return 0;
}

/* ---- the answer ---- */

static int receipt_write(const struct call *c, const struct ledger_outcome *o, struct error *e)
{
    struct buffer file = {0};
    if (c->request->receipt == NULL)
        return 0;
    int rc = ledger_receipt_file_encode(o->receipt, c->genesis.hash, &file)
                 ? file_replace(c->request->receipt, file.data, file.len, 0644, e)
                 : error_set(e, ATOLL_ENOMEM, "no memory for a receipt");
    buffer_free(&file);
    return rc;
}

static void outcome_print(const struct call *c, const struct ledger_outcome *o)
{
    int64_t value = o->output.len == 8 ? (int64_t)load_u64(o->output.data) : 0;
    if (c->request->json) {
        cJSON *j = cJSON_CreateObject();
        char text[32];
        snprintf(text, sizeof text, "%" PRIu64, o->index);
        cJSON_AddStringToObject(j, "index", text);
        cJSON_AddNumberToObject(j, "status", o->status);
        if (o->output.len == 8) {
            snprintf(text, sizeof text, "%" PRId64, value);
            cJSON_AddStringToObject(j, "value", text);
        }
        json_print(j, false);
        return;
    }
    printf("transaction %" PRIu64 ": status %" PRId32, o->index, o->status);
    if (o->output.len == 8)
        printf(", %" PRId64 " cents", value);
    printf("\n");
}

/* The receipt is on the disk before anybody hears of it. Also one that proves a broken rule. */
static int receipt_keep(const struct call *c, const struct ledger_outcome *o, struct error *e)
{
    if (o->receipt.len == 0)
        return 0;
    if (o->result == 0 && o->text)
        return error_set(e, ATOLL_EIO, "the receipt is not kept: %s", o->text);
    int rc = ledger_receipt_store_sync(c->store, e);
    return rc == 0 ? receipt_write(c, o, e) : rc;
}

static void finished(void *context, const struct ledger_outcome *o)
{
    struct call *c = context;
    struct error e;
    int kept = receipt_keep(c, o, &e);
    if (kept != 0)
        ledger_report(&e);
    if (o->result != 0)
        ledger_report((error_set(&e, -o->result, "%s", o->text), &e));
    else
        outcome_print(c, o);
    c->exit_code = kept != 0 || o->result != 0 ? exit_code_of(&e)
                   : o->status == 0            ? EXIT_OK
                                               : EXIT_NEGATIVE;
    uv_stop(uv_default_loop());
}

/* ---- a request as a file ---- */

static bool base64_append(struct buffer *out, const uint8_t *bytes, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < len; i += 3) {
        size_t left = len - i < 3 ? len - i : 3;
        uint32_t bits = (uint32_t)bytes[i] << 16;
        bits |= left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0;
        bits |= left > 2 ? bytes[i + 2] : 0;
        char four[4] = {digits[bits >> 18], digits[bits >> 12 & 63],
                        left > 1 ? digits[bits >> 6 & 63] : '=',
                        left > 2 ? digits[bits & 63] : '='};
        if (!buffer_append(out, four, sizeof four))
            return false;
    }
    return buffer_append(out, "\n", 1);
}

static bool body_make(const struct call *c, const struct ledger_request *q,
                      uint8_t hash[static HASH_LEN], struct buffer *body)
{
    uint8_t signature[ED25519_SIGNATURE_LEN];
    struct buffer fields = {0};
    bool made = ledger_request_encode(q, &fields);
    if (made) {
        ledger_request_hash(slice_of_buffer(&fields), hash);
        secret_sign(c->key, hash, HASH_LEN, signature);
        made = ledger_body_encode_alone(slice_of_buffer(&fields), signature, body);
    }
    buffer_free(&fields);
    return made;
}

/* Signs the request and writes it, in the form that POST /v1/call takes. */
static int request_write(const struct call *c, struct error *e)
{
    uint8_t args[SMALLBANK_ARGS_MAX], hash[HASH_LEN];
    char hex[2 * HASH_LEN + 1];
    struct buffer body = {0}, text = {0};
    struct ledger_receipt_store_status kept;
    const uint8_t *public_key = secret_public(c->key);
    ledger_receipt_store_status(c->store, &kept);
    struct ledger_request q = {.reqno = caller_next_number(c->store, public_key),
                               .min_index = kept.highest_index,
                               .proc = c->what.proc,
                               .args = slice_of(args, smallbank_args_encode(&c->what, args))};
    memcpy(q.genesis, c->genesis.hash, HASH_LEN);
    memcpy(q.client, public_key, ED25519_KEY_LEN);
    int rc = ledger_receipt_store_reserve(c->store, public_key, q.reqno + 1, e);
    if (rc == 0 && !(body_make(c, &q, hash, &body) && base64_append(&text, body.data, body.len)))
        rc = error_set(e, ATOLL_ENOMEM, "no memory for a request");
    if (rc == 0)
        rc = file_replace(c->request->request, text.data, text.len, 0644, e);
    if (rc == 0) {
        hash_hex(hash, hex);
        printf("%s\n", hex);
    }
    buffer_free(&body);
    buffer_free(&text);
    return rc;
}

/* ---- the call ---- */

static int call_do(struct call *c, struct error *e)
{
    uint8_t args[SMALLBANK_ARGS_MAX];
    uint64_t reqno;
    struct caller *caller;
    const struct caller_settings settings = {.genesis = slice_of_buffer(&c->genesis_bytes),
                                             .identities = 1,
                                             .keys = &c->key,
                                             .store = c->store,
                                             .deadline_us =
                                                 (uint64_t)(c->request->deadline_ns / 1000),
                                             .finished = finished,
                                             .context = c};
    c->exit_code = EXIT_ATOLL;
    int rc = caller_open(uv_default_loop(), &settings, &caller, e);
    if (rc != 0)
        return rc;
    size_t len = smallbank_args_encode(&c->what, args);
    rc = ledger_client_call(caller_client(caller), 0, c->what.proc, slice_of(args, len), NULL,
                            &reqno, e);
    if (rc == 0)
        uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    caller_close(caller, NULL, NULL);
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    return rc;
}

static int key_read(const struct request *r, struct secret **key, struct error *e)
{
    char *passphrase;
    int rc = ledger_passphrase_read(r->passphrase_file, &passphrase, e);
    if (rc == 0)
        rc = secret_read(r->key, passphrase, key, e);
    if (passphrase)
        explicit_bzero(passphrase, strlen(passphrase));
    free(passphrase);
    return rc;
}

/* Waits while another call has it, but no longer than for an answer. */
static int store_open(struct call *c, struct error *e)
{
    const struct request *r = c->request;
    char beside[PATH_MAX];
    int64_t until = clock_monotonic_ns() + r->deadline_ns;
    snprintf(beside, sizeof beside, "%s.receipts", r->key);
    for (;;) {
        int rc =
            ledger_receipt_store_open(r->store ? r->store : beside, c->genesis.hash, &c->store, e);
        if (rc != -ATOLL_EBUSY || clock_monotonic_ns() > until)
            return rc;
        nanosleep(&(struct timespec){0, STORE_PAUSE_NS}, NULL);
    }
}

static int call_prepare(struct call *c, struct error *e)
{
    const struct request *r = c->request;
    int rc = key_read(r, &c->key, e);
    if (rc == -ATOLL_ECORRUPT)
        rc = e->code = -ATOLL_EMALFORMED; /* it is no key */
    return rc == 0 ? ledger_genesis_read(r->genesis, &c->genesis_bytes, &c->genesis, e) : rc;
}

/* Its exit code. */
static int call_perform(struct call *c)
{
    struct error e;
    int rc = call_prepare(c, &e);
    if (rc == 0)
        rc = store_open(c, &e);
    if (rc == 0)
        rc = c->request->request ? request_write(c, &e) : call_do(c, &e);
    if (rc == 0)
        return c->exit_code;
    ledger_report(&e);
    return exit_code_of(&e);
}

static void call_free(struct call *c)
{
    if (c == NULL)
        return;
    ledger_receipt_store_close(c->store);
    secret_destroy(c->key);
    buffer_free(&c->genesis_bytes);
    free(c);
}

static int call_run(int argc, char **argv)
{
    struct request r = {.deadline_ns = 30000000000};
    const struct option_spec options[] = {
        {"genesis", 0, OPTION_TEXT, "FILE", "the ledger's genesis, which tells its replicas",
         &r.genesis, NULL},
        {"key", 0, OPTION_TEXT, "FILE", "the client's key (atoll ledger keygen)", &r.key, NULL},
        {"passphrase-file", 0, OPTION_TEXT, "FILE", "of the key", &r.passphrase_file, NULL},
        {"store", 0, OPTION_TEXT, "FILE",
         "where the key's receipts and the numbers that it used are kept\n"
         "(default: the key's path and \".receipts\")",
         &r.store, NULL},
        {"receipt", 0, OPTION_TEXT, "FILE", "write the receipt there, too", &r.receipt, NULL},
        {"request", 0, OPTION_TEXT, "FILE",
         "send nothing: write the signed request there, in base64, for\n"
         "POST /v1/call of any replica's HTTP view, and print its hash",
         &r.request, NULL},
        {"timeout", 0, OPTION_DURATION, "TIME", "how long to wait (default 30s)", &r.deadline_ns,
         NULL},
        {"json", 0, OPTION_FLAG, NULL, "print one JSON object", &r.json, NULL},
    };
    struct text_list operands = {0};
    struct error e;
    int code;
    if (!ledger_options(&command_ledger_call, options, sizeof options / sizeof options[0], argc,
                        argv, 1, 4, &operands, &code))
        return code;
    struct call *c = calloc(1, sizeof *c);
    int rc = c ? call_parse(&operands, &c->what, &e) : error_set(&e, ATOLL_ENOMEM, "no memory");
    free(operands.items);
    if (rc == 0 && (r.genesis == NULL || r.key == NULL))
        rc = error_set(&e, ATOLL_EINVAL, "give --genesis FILE and --key FILE");
    if (rc == 0) {
        c->request = &r;
        code = call_perform(c);
    } else {
        ledger_report(&e);
        code = c ? EXIT_USAGE : exit_code_of(&e);
    }
    call_free(c);
    return code;
}

const struct command command_ledger_call = {
    .name = "ledger call",
    .usage = "--genesis FILE --key FILE PROCEDURE NUMBER...",
    .summary = "run one transaction and get its receipt",
    .description =
        "Runs a SmallBank procedure (amounts in cents) and prints what it gave, once Q replicas "
        "have\n"
        "answered for it:\n"
        "  balance CUSTOMER           deposit CUSTOMER AMOUNT    savings CUSTOMER AMOUNT\n"
        "  pay FROM TO AMOUNT         amalgamate FROM TO         check CUSTOMER AMOUNT\n"
        "  create CUSTOMER SAVINGS CHECKING\n"
        "The receipt is kept beside the key, and what is called later is executed later: see\n"
        "--store, and `atoll ledger receipt`.\n"
        "\n"
        "Exit code: 0, or\n"
        "  1    the procedure says no (its status is not 0)\n"
        "  2    the command line is wrong\n"
        "  124  not enough replicas answered in time; it may still be executed\n"
        "  125  a file cannot be read or written, or is another ledger's; or the replicas refuse\n"
        "  126  the passphrase does not open the key, or a file is no key or genesis",
    .run = call_run,
};
