/*
 * See http_route.h. A question to the replica is a message on a client's connection of its own
 * number, which is forgotten right behind it: the replica answers what it knows within the call.
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

/* ---- asking the replica ---- */

void view_reply(void *context, uint64_t connection, const struct slice *parts, unsigned count)
{
    struct http_view *v = context;
    struct slice receipt;
    struct error e;
    /* Every message that matters here comes in one part; an answer that comes later finds nobody.
     */
    if (connection != v->asking || count != 1)
        return;
    v->replied = true;
    switch (ledger_message_type(parts[0])) {
    case LEDGER_MESSAGE_RECEIPT:
        v->receipt.len = 0;
        if (ledger_receipt_message_decode(parts[0], &receipt, &e) == 0)
            buffer_append(&v->receipt, receipt.data, receipt.len);
        break;
    case LEDGER_MESSAGE_REFUSAL:
        v->refusals += ledger_refusal_decode(parts[0], &v->refusal, &e) == 0;
        break;
    default: break; /* a part of a receipt: it is on its way */
    }
}

static void view_ask(struct http_view *v, const struct buffer *message)
{
    struct ledger_replica *replica = ledger_server_replica(v->server);
    v->asking = LEDGER_SERVER_CONNECTION | ++v->connections;
    v->receipt.len = 0;
    v->refusal = (struct ledger_refusal){0};
    v->refusals = 0;
    v->replied = false;
    ledger_on_client(replica, v->asking, message->data, message->len);
    ledger_on_client_gone(replica, v->asking);
    v->asking = 0;
}

static struct ledger_status view_status(struct http_view *v)
{
    struct ledger_status status;
    ledger_status(ledger_server_replica(v->server), &status);
    return status;
}

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

static void number_add(cJSON *o, const char *name, uint64_t number)
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
        number_add(o, "view", pp.view);
        number_add(o, "batch", pp.seqno);
        cJSON_AddStringToObject(o, "kind", ledger_kind_name(pp.kind));
        number_add(o, "first_index", pp.first_index);
        cJSON_AddNumberToObject(o, "count", pp.count);
    }
    if (type == LEDGER_ENTRY_TX && ledger_tx_decode(payload, &tx, &e) == 0) {
        number_add(o, "index", tx.index);
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
    number_add(o, "position", position);
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

/* ---- POST /v1/call ---- */

/* What was sent, ready to be handed in. */
struct submission {
    struct buffer message;
    uint8_t (*hashes)[HASH_LEN];
    uint32_t count;
};

static int signature_check(const struct ledger_signature *one, struct error *e)
{
    bool valid = false;
    int rc = LEDGER_VERIFIER_SINGLE.verify(LEDGER_VERIFIER_SINGLE.context, one, 1, &valid, e);
    if (rc == 0 && !valid)
        rc = error_set(e, ATOLL_ESIGNATURE, "the client's signature is not valid");
    return rc;
}

static int body_take(const struct ledger_genesis *g, struct slice bytes, struct submission *s,
                     struct error *e)
{
    struct ledger_body body;
    struct ledger_signature signature;
    struct ledger_message_writer w;
    int rc = ledger_body_decode(bytes, &body, e);
    if (rc == 0)
        rc = ledger_body_check(&body, g->hash, s->hashes[0], &signature, e);
    if (rc == 0)
        rc = signature_check(&signature, e);
    if (rc != 0)
        return rc;
    s->count = 1;
    if (!ledger_bodies_begin(&w, &s->message, LEDGER_MESSAGE_REQUEST) ||
        !ledger_bodies_body(&w, bytes))
        return error_set(e, ATOLL_ENOMEM, "no memory for a request");
    ledger_message_end(&w);
    return 0;
}

static int bundle_take(struct slice bytes, struct submission *s, struct error *e)
{
    struct ledger_bundle bundle;
    struct ledger_signature signature;
    struct buffer bodies = {0};
    size_t *ends = calloc(LEDGER_BUNDLE_MAX, sizeof *ends);
    int rc = ends ? ledger_bundle_decode(bytes, &bundle, e)
                  : error_set(e, ATOLL_ENOMEM, "no memory for a bundle");
    if (rc == 0)
        rc = ledger_bundle_open(&bundle, &bodies, ends, s->hashes, signature.hash, e);
    if (rc == 0) {
        s->count = bundle.count;
        signature.public_key = bundle.client;
        signature.signature = bundle.signature;
        rc = signature_check(&signature, e);
    }
    if (rc == 0 && !ledger_bundle_write(&s->message, bytes))
        rc = error_set(e, ATOLL_ENOMEM, "no memory for a bundle");
    free(ends);
    buffer_free(&bodies);
    return rc;
}

/* A bundle begins with the genesis, a body with its form. */
static int submission_take(const struct ledger_genesis *g, struct slice bytes, struct submission *s,
                           struct error *e)
{
    s->hashes = calloc(LEDGER_BUNDLE_MAX, sizeof *s->hashes);
    if (s->hashes == NULL)
        return error_set(e, ATOLL_ENOMEM, "no memory for a request");
    bool bundle = bytes.len >= HASH_LEN && memcmp(bytes.data, g->hash, HASH_LEN) == 0;
    return bundle ? bundle_take(bytes, s, e) : body_take(g, bytes, s, e);
}

static unsigned refusal_status(enum ledger_refusal_reason reason)
{
    switch (reason) {
    case LEDGER_REFUSAL_BUSY: return 503;
    case LEDGER_REFUSAL_QUOTA: return 429;
    case LEDGER_REFUSAL_TOO_OLD:
    case LEDGER_REFUSAL_DUPLICATE: return 409;
    case LEDGER_REFUSAL_STRANGER: return 403;
    case LEDGER_REFUSAL_MALFORMED:
    case LEDGER_REFUSAL_SIGNATURE: return 400;
    default: return 202; /* on its way already, or to the primary */
    }
}

static void submission_answer(struct http_view *v, struct http_request *r,
                              const struct submission *s)
{
    char detail[128];
    unsigned status = v->refusals ? refusal_status(v->refusal.reason) : 202;
    /* Members of a bundle share what they can be refused for, but for their numbers; what was
     * taken of it is known by its receipts. */
    if (status != 202 && v->refusals == s->count) {
        snprintf(detail, sizeof detail, "the replica refused it: %s",
                 ledger_refusal_name(v->refusal.reason));
        view_problem(v, r, status, detail);
        return;
    }
    cJSON *o = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(o, "requests");
    for (uint32_t i = 0; i < s->count; i++) {
        char hex[2 * HASH_LEN + 1];
        hash_hex(s->hashes[i], hex);
        cJSON_AddItemToArray(list, cJSON_CreateString(hex));
    }
    if (status != 202)
        cJSON_AddNumberToObject(o, "refused", v->refusals);
    view_json(v, r, 202, o, 0);
}

static bool media_type_is(const char *value, const char *type)
{
    size_t len = strlen(type);
    return value && strncasecmp(value, type, len) == 0 &&
           (value[len] == 0 || value[len] == ';' || value[len] == ' ');
}

void route_call(struct http_view *v, struct http_request *r)
{
    const char *type = http_head_value(r->head, "content-type");
    bool plain = media_type_is(type, "application/octet-stream");
    struct submission s = {0};
    struct buffer decoded = {0};
    struct error e;
    struct slice bytes = slice_of(r->body, r->body_len);
    if (type && !plain && !media_type_is(type, "text/plain")) {
        view_problem(v, r, 415, "send base64 as text/plain, or bytes as application/octet-stream");
        return;
    }
    if (!plain && !form_base64(r->body, r->body_len, &decoded)) {
        view_problem(v, r, 400, "the body is not base64");
    } else if (submission_take(ledger_server_genesis(v->server),
                               plain ? bytes : slice_of_buffer(&decoded), &s, &e) != 0) {
        view_problem(v, r,
                     e.code == -ATOLL_ENOMEM   ? 503
                     : e.code == -ATOLL_ELIMIT ? 413
                                               : 400,
                     e.text);
    } else if (view_status(v).phase == LEDGER_STOPPED) {
        view_problem(v, r, 503, "this replica has stopped; ask another");
    } else {
        view_ask(v, &s.message);
        submission_answer(v, r, &s);
    }
    free(s.hashes);
    buffer_free(&s.message);
    buffer_free(&decoded);
}

/* ---- transactions ---- */

static void tx_answer(struct http_view *v, struct http_request *r, uint64_t index,
                      const char *status, const struct ledger_lookup *found)
{
    cJSON *o = cJSON_CreateObject();
    number_add(o, "index", index);
    cJSON_AddStringToObject(o, "status", status);
    if (found) {
        number_add(o, "view", found->pp.view);
        number_add(o, "batch", found->pp.seqno);
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
    number_add(o, "next", at);
    number_add(o, "end", source.end);
    view_json(v, r, 200, o, 0);
}

/* ---- the service ---- */

void route_config(struct http_view *v, struct http_request *r)
{
    cJSON *o = ledger_genesis_json(ledger_server_genesis(v->server));
    cJSON_AddNumberToObject(o, "replica", ledger_server_number(v->server));
    view_json(v, r, 200, o, 0);
}

static const char *phase_name(enum ledger_phase phase)
{
    static const char *const names[] = {
        [LEDGER_RECOVERING] = "recovering",   [LEDGER_NORMAL] = "normal",
        [LEDGER_VIEW_CHANGE] = "view change", [LEDGER_ABSTAINING] = "abstaining",
        [LEDGER_TRANSFER] = "transfer",       [LEDGER_QUARANTINE] = "quarantine",
        [LEDGER_STOPPED] = "stopped",
    };
    return names[phase];
}

void route_health(struct http_view *v, struct http_request *r)
{
    struct ledger_status status = view_status(v);
    bool well = status.phase != LEDGER_RECOVERING && status.phase != LEDGER_QUARANTINE &&
                status.phase != LEDGER_STOPPED;
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "phase", phase_name(status.phase));
    if (status.why[0])
        cJSON_AddStringToObject(o, "why", status.why);
    view_json(v, r, well ? 200 : 503, o, 0);
}

struct metric {
    const char *name, *help;
    bool counter;
    uint64_t value;
};

static bool metric_write(struct buffer *out, const struct metric *m)
{
    char text[512];
    int len =
        snprintf(text, sizeof text,
                 "# HELP atoll_ledger_%s %s\n# TYPE atoll_ledger_%s %s\natoll_ledger_%s "
                 "%" PRIu64 "\n",
                 m->name, m->help, m->name, m->counter ? "counter" : "gauge", m->name, m->value);
    return buffer_append(out, text, (size_t)len);
}

void route_metrics(struct http_view *v, struct http_request *r)
{
    struct ledger_status s = view_status(v);
    struct links_counts l = ledger_server_links(v->server);
    const struct metric metrics[] = {
        {"phase",
         "0 recovering, 1 normal, 2 view change, 3 abstaining, 4 transfer, 5 quarantine, 6 stopped",
         false, s.phase},
        {"view", "View that this replica is in.", false, s.view},
        {"batch_last", "Last batch in its ledger.", false, s.s_last},
        {"batch_prepared", "Last batch that it prepared.", false, s.s_prepared},
        {"batch_committed", "Last batch that is committed here.", false, s.s_committed},
        {"entries", "Entries of its ledger.", false, s.next_position},
        {"index_next", "Index of the next transaction.", false, s.next_index},
        {"pool_requests", "Requests that wait.", false, s.pool_requests},
        {"pool_bytes", "Bytes of them.", false, s.pool_bytes},
        {"transactions_total", "Transactions executed since the start.", true, s.transactions},
        {"batches_total", "Batches since the start.", true, s.batches},
        {"view_changes_total", "Views entered since the start.", true, s.view_changes},
        {"messages_dropped_total", "Messages that were no use.", true, s.messages_dropped},
        {"signatures_bad_total", "Signatures that were not valid.", true, s.signatures_bad},
        {"requests_busy_total", "Requests refused for want of room.", true, s.requests_busy},
        {"batches_refused_total", "Batches of a primary that were wrong.", true, s.batches_refused},
        {"equivocations_total", "Statements that contradict another of their signer.", true,
         s.equivocations},
        {"peers", "Replicas connected.", false, l.peers},
        {"clients", "Clients connected.", false, l.clients},
        {"links_refused_total", "Connections closed for what they said.", true, l.refused},
        {"links_turned_away_total", "Connections closed because too many came at once.", true,
         l.turned_away},
        {"links_dropped_total", "Messages that found no room or connection.", true, l.dropped},
        {"links_in_bytes_total", "Bytes from the network.", true, l.bytes_in},
        {"links_out_bytes_total", "Bytes to the network.", true, l.bytes_out},
        {"http_requests_total", "Requests to this view.", true, v->requests},
        {"http_problems_total", "Of them answered with a problem.", true, v->problems},
    };
    struct buffer out = {0};
    bool written = true;
    for (size_t i = 0; i < sizeof metrics / sizeof metrics[0] && written; i++)
        written = metric_write(&out, &metrics[i]);
    if (written)
        view_bytes(v, r, "text/plain; version=0.0.4", out.data, out.len);
    else
        view_problem(v, r, 503, "this replica has no memory for the answer");
    buffer_free(&out);
}
