/*
 * Questions that the HTTP view puts to the replica itself, and POST /v1/call.
 *
 * A question is a message on a client's connection of its own number, which is forgotten right
 * behind it: the replica answers what it knows within the call.
 */
#define _GNU_SOURCE
#include "ledger/service/http_route.h"

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

void view_ask(struct http_view *v, const struct buffer *message)
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

struct ledger_status view_status(struct http_view *v)
{
    struct ledger_status status;
    ledger_status(ledger_server_replica(v->server), &status);
    return status;
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
