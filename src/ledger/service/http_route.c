/*
 * What the ledger holds, over HTTP: transactions, receipts, entries (see http_route.h).
 */
#define _GNU_SOURCE
#include "ledger/service/http_route.h"

#include "ledger/check/lookup.h"
#include "ledger/object/json.h"
#include "ledger/service/http_view.h"
#include "net/url.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- the ledger's entries ---- */

static int log_read(void *context, uint64_t position, struct buffer *out, uint8_t *type,
                    struct error *e)
{
    return ledger_log_read(context, position, out, type, e);
}

static struct ledger_entry_source view_source(struct http_view *v)
{
    struct ledger_log *log = ledger_server_log(v->server);
    return (struct ledger_entry_source){log, log_read, ledger_log_end(log)};
}

/* ---- forms of JSON ---- */

void view_number(cJSON *o, const char *name, uint64_t number)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, number);
    cJSON_AddStringToObject(o, name, text);
}

/* What is in an entry, for people; its bytes are what counts. */
static void entry_tell(cJSON *o, uint8_t type, struct slice payload)
{
    struct ledger_pp pp;
    struct ledger_tx tx;
    struct ledger_body body;
    struct error e;
    if (type == LEDGER_ENTRY_PP && ledger_pp_decode_signed(payload, &pp, &e) == 0) {
        view_number(o, "view", pp.view);
        view_number(o, "batch", pp.seqno);
        cJSON_AddStringToObject(o, "kind", ledger_kind_name(pp.kind));
        view_number(o, "first_index", pp.first_index);
        cJSON_AddNumberToObject(o, "count", pp.count);
    }
    if (type == LEDGER_ENTRY_TX && ledger_tx_decode(payload, &tx, &e) == 0) {
        view_number(o, "index", tx.index);
        cJSON_AddNumberToObject(o, "status", tx.status);
        if (ledger_body_decode(tx.body, &body, &e) == 0)
            cJSON_AddItemToObject(o, "request", ledger_request_json(&body));
    }
}

static cJSON *entry_json(uint64_t position, uint8_t type, struct slice payload)
{
    static const char digits[] = "0123456789abcdef";
    cJSON *o = cJSON_CreateObject();
    char *hex = malloc(2 * payload.len + 1);
    for (size_t i = 0; hex && i < payload.len; i++) {
        hex[2 * i] = digits[payload.data[i] >> 4];
        hex[2 * i + 1] = digits[payload.data[i] & 15];
    }
    if (hex)
        hex[2 * payload.len] = 0;
    view_number(o, "position", position);
    cJSON_AddStringToObject(o, "type", ledger_entry_name((enum ledger_entry_type)type));
    entry_tell(o, type, payload);
    /* An entry without its bytes would be none: no memory for them means no answer. */
    if (hex == NULL || cJSON_AddStringToObject(o, "payload", hex) == NULL) {
        cJSON_Delete(o);
        o = NULL;
    }
    free(hex);
    return o;
}

/* ---- transactions ---- */

static void tx_answer(struct http_view *v, struct http_request *r, uint64_t index,
                      const char *status, const struct ledger_lookup *found)
{
    cJSON *o = cJSON_CreateObject();
    view_number(o, "index", index);
    cJSON_AddStringToObject(o, "status", status);
    if (found) {
        view_number(o, "view", found->pp.view);
        view_number(o, "batch", found->pp.seqno);
    }
    view_json(v, r, 200, o, 0);
}

static int lookup_hash(const struct ledger_lookup *l, uint8_t hash[static HASH_LEN],
                       struct error *e)
{
    struct ledger_tx tx;
    struct ledger_body body;
    int rc = ledger_tx_decode(slice_of_buffer(&l->tx), &tx, e);
    if (rc == 0)
        rc = ledger_body_decode(tx.body, &body, e);
    if (rc == 0)
        ledger_request_hash(body.fields, hash);
    return rc;
}

/* Whether ?request= was given, and the hash in it. Negative: it is no hash. */
static int request_wanted(const struct http_request *r, uint8_t hash[static HASH_LEN],
                          struct error *e)
{
    static const char *const known[] = {"request", NULL};
    char text[2 * HASH_LEN + 2];
    if (url_query_unknown(r->head->query, known, text, sizeof text, e) != -ATOLL_ENOENT)
        return error_set(e, ATOLL_EINVAL, "the only parameter here is request");
    int len = url_query_value(r->head->query, "request", text, sizeof text, e);
    if (len == -ATOLL_ENOENT)
        return 0;
    if (len < 0 || !form_hash(text, (size_t)len, hash))
        return error_set(e, ATOLL_EINVAL, "request is the 64 lower-case hex digits of its hash");
    return 1;
}

void route_tx(struct http_view *v, struct http_request *r, uint64_t index)
{
    struct ledger_entry_source source = view_source(v);
    struct ledger_lookup found = {0};
    struct error e;
    uint8_t wanted[HASH_LEN], is[HASH_LEN] = {0};
    int named = request_wanted(r, wanted, &e);
    if (named < 0) {
        view_problem(v, r, 400, e.text);
        return;
    }
    int rc = index == 0 ? -ATOLL_ENOENT : ledger_lookup_tx(&source, index, &found, &e);
    if (rc == 0)
        rc = lookup_hash(&found, is, &e);
    if (rc == -ATOLL_ENOENT) {
        /* Indices count from 1: there will never be a transaction 0. */
        tx_answer(v, r, index, index == 0 ? "INVALID" : "UNKNOWN", NULL);
    } else if (rc != 0) {
        view_problem(v, r, 503, e.text);
    } else {
        bool committed = found.pp.seqno <= view_status(v).s_committed;
        bool other = named && memcmp(wanted, is, HASH_LEN) != 0;
        tx_answer(v, r, index,
                  !committed ? (other ? "UNKNOWN" : "PENDING")
                  : other    ? "INVALID"
                             : "COMMITTED",
                  other ? NULL : &found);
    }
    ledger_lookup_free(&found);
}

/* ---- receipts ---- */

static void receipt_answer(struct http_view *v, struct http_request *r, struct slice bytes)
{
    const uint8_t *genesis = ledger_server_genesis(v->server)->hash;
    struct ledger_receipt receipt;
    struct buffer file = {0};
    struct error e;
    if (view_accepts(r, "application/octet-stream")) {
        if (ledger_receipt_file_encode(bytes, genesis, &file))
            view_bytes(v, r, "application/octet-stream", file.data, file.len);
        else
            view_problem(v, r, 503, "this replica has no memory for the answer");
        buffer_free(&file);
    } else if (!view_accepts(r, "application/json")) {
        view_problem(v, r, 406, "receipts come as application/json or application/octet-stream");
    } else if (ledger_receipt_decode(bytes, &receipt, &e) != 0) {
        view_problem(v, r, 503, e.text);
    } else {
        view_json(v, r, 200, ledger_receipt_json(&receipt), 0);
    }
}

static void receipt_later(struct http_view *v, struct http_request *r)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "status", "PENDING");
    view_json(v, r, 202, o, 1);
}

void route_request_receipt(struct http_view *v, struct http_request *r,
                           const uint8_t hash[static HASH_LEN])
{
    struct buffer message = {0};
    if (!ledger_fetch_receipt_write(&message, hash)) {
        view_problem(v, r, 503, "this replica has no memory for the question");
        return;
    }
    view_ask(v, &message);
    buffer_free(&message);
    if (v->receipt.len)
        receipt_answer(v, r, slice_of_buffer(&v->receipt));
    else if (!v->replied)
        view_problem(v, r, 503, "this replica is too busy to look; ask again, or another");
    else if (v->refusals && v->refusal.reason != LEDGER_REFUSAL_PENDING)
        view_problem(
            v, r, 404,
            "this replica knows no such request by its hash, as it does its last half a million "
            "at most; give the transaction's index: /v1/tx/{index}/receipt");
    else
        receipt_later(v, r);
}

void route_tx_receipt(struct http_view *v, struct http_request *r, uint64_t index)
{
    struct ledger_entry_source source = view_source(v);
    struct ledger_lookup found = {0};
    struct buffer receipt = {0};
    struct error e;
    uint8_t hash[HASH_LEN];
    int rc = index == 0 ? -ATOLL_ENOENT : ledger_lookup_tx(&source, index, &found, &e);
    if (rc == -ATOLL_ENOENT) {
        view_problem(v, r, 404, "the ledger has no transaction of this index yet");
    } else if (rc == 0 && (rc = ledger_lookup_receipt(&source, ledger_server_genesis(v->server),
                                                      &found, &receipt, &e)) == 0) {
        receipt_answer(v, r, slice_of_buffer(&receipt));
    } else if (rc == -ATOLL_EAGAIN && lookup_hash(&found, hash, &e) == 0) {
        /* Not in the ledger yet, but the replica may have all of it. */
        route_request_receipt(v, r, hash);
    } else {
        view_problem(v, r, 503, e.text);
    }
    buffer_free(&receipt);
    ledger_lookup_free(&found);
}

/* ---- the ledger ---- */

static int range_parse(const struct http_request *r, uint64_t *from, uint64_t *to, struct error *e)
{
    static const char *const known[] = {"from", "to", NULL};
    char text[32];
    uint64_t *out[] = {from, to};
    if (url_query_unknown(r->head->query, known, text, sizeof text, e) != -ATOLL_ENOENT)
        return error_set(e, ATOLL_EINVAL, "the parameters here are from and to");
    for (int i = 0; i < 2; i++) {
        int len = url_query_value(r->head->query, known[i], text, sizeof text, e);
        if (len != -ATOLL_ENOENT && (len < 0 || !form_number(text, (size_t)len, out[i])))
            return error_set(e, ATOLL_EINVAL, "%s is a decimal number", known[i]);
    }
    return *from <= *to ? 0 : error_set(e, ATOLL_EINVAL, "from is above to");
}

void route_ledger(struct http_view *v, struct http_request *r)
{
    struct ledger_entry_source source = view_source(v);
    uint64_t from = 0, to = UINT64_MAX;
    struct buffer bytes = {0};
    struct error e;
    size_t sum = 0;
    int rc = range_parse(r, &from, &to, &e);
    if (rc != 0) {
        view_problem(v, r, 400, e.text);
        return;
    }
    cJSON *o = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(o, "entries");
    uint64_t at = from;
    for (; at < to && at < source.end && at - from < VIEW_ENTRIES_MAX; at++) {
        uint8_t type;
        bytes.len = 0;
        rc = source.read(source.context, at, &bytes, &type, &e);
        sum += bytes.len;
        /* One entry at least, however large. */
        if (rc != 0 || (at > from && sum > VIEW_ENTRIES_BYTES))
            break;
        cJSON *entry = entry_json(at, type, slice_of_buffer(&bytes));
        if (entry == NULL) {
            rc = error_set(&e, ATOLL_ENOMEM, "this replica has no memory for the answer");
            break;
        }
        cJSON_AddItemToArray(list, entry);
    }
    buffer_free(&bytes);
    if (rc != 0) {
        cJSON_Delete(o);
        view_problem(v, r, 503, e.text);
        return;
    }
    view_number(o, "next", at);
    view_number(o, "end", source.end);
    view_json(v, r, 200, o, 0);
}
