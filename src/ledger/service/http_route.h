/*
 * What the HTTP view's answers are made of, and what they need of the replica: between http_view.c,
 * which knows paths, forms and the time that answers may take, and those who answer: http_call.c
 * (requests that are handed in), http_route.c (what the ledger holds), http_status.c (how the
 * replica is), http_proof.c (whom it can accuse).
 */
#ifndef LEDGER_SERVICE_HTTP_ROUTE_H
#define LEDGER_SERVICE_HTTP_ROUTE_H

#include "ledger/object/message.h"
#include "ledger/service/server.h"
#include "net/http_server.h"

#include <cjson/cJSON.h>

struct http_view {
    struct ledger_server *server;
    struct http_server *http;
    uint64_t connections; /* numbers given */
    bool loopback;
    uint16_t port;
    uint64_t requests, problems;
    uint64_t drained_ns; /* when the time that answers took will have been paid back */
    /* What the replica has said since view_ask began; it answers at once or not at all. */
    uint64_t asking; /* 0: nobody */
    struct buffer receipt;
    struct ledger_refusal refusal; /* the last one; reason 0: none */
    uint32_t refusals;
    bool replied;
};

/* ---- answers (http_view.c) ---- */

void view_problem(struct http_view *, struct http_request *, unsigned status, const char *detail);
/* Deletes the object; NULL (no memory) becomes a 503. retry_after_s 0: no such field. */
void view_json(struct http_view *, struct http_request *, unsigned status, cJSON *,
               unsigned retry_after_s);
void view_bytes(struct http_view *, struct http_request *, const char *type, const void *, size_t);
/* Whether the client takes this media type: one that it named, or JSON when it leaves the choice.
 */
bool view_accepts(const struct http_request *, const char *type);

void view_number(cJSON *, const char *name, uint64_t number); /* as a decimal string */

/* ---- asking the replica (http_call.c) ---- */

/* What it says is in the view then. */
void view_ask(struct http_view *, const struct buffer *message);
struct ledger_status view_status(struct http_view *);
/* What the replica says to the view's connections. */
void view_reply(void *context, uint64_t connection, const struct slice *parts, unsigned count);

/* ---- routes; each answers ---- */

/* (http_call.c) */
void route_call(struct http_view *, struct http_request *);

/* (http_route.c) */
void route_tx(struct http_view *, struct http_request *, uint64_t index);
void route_tx_receipt(struct http_view *, struct http_request *, uint64_t index);
void route_request_receipt(struct http_view *, struct http_request *,
                           const uint8_t hash[static HASH_LEN]);
void route_ledger(struct http_view *, struct http_request *);

/* (http_status.c) */
void route_config(struct http_view *, struct http_request *);
void route_metrics(struct http_view *, struct http_request *);
void route_health(struct http_view *, struct http_request *);

/* (http_proof.c) */
void route_proofs(struct http_view *, struct http_request *);
void route_proof(struct http_view *, struct http_request *, const char *name, size_t len);

/* ---- forms ---- */

/* Decimal digits, without a leading zero but for 0 itself. */
bool form_number(const char *text, size_t len, uint64_t *out);
bool form_hash(const char *text, size_t len, uint8_t out[static HASH_LEN]);
/* RFC 4648 §4, padded, and a line's end behind it. False: it is not, or there is no memory. */
bool form_base64(const uint8_t *text, size_t len, struct buffer *out);

#endif
