/*
 * A replica over HTTP (spec/ledger §11): mostly for reading. It runs on the replica's loop, signs
 * nothing for anyone, and what it says about transactions need not be believed: receipts prove it.
 *
 *   POST /v1/call                     a Body or Bundle of request.h, in base64 (or, as
 *                                     application/octet-stream, as it is): 202 {"requests": […]}
 *   GET  /v1/tx/{index}               {"status": UNKNOWN | PENDING | COMMITTED | INVALID}
 *        ?request=HASH                INVALID: another request was committed at this index
 *   GET  /v1/tx/{index}/receipt       the receipt: JSON, or the file of receipt.h for
 *   GET  /v1/request/{hash}/receipt   Accept: application/octet-stream; 202 and Retry-After while
 *                                     the evidence is incomplete
 *   GET  /v1/ledger?from=A&to=B       entries A … B-1, at most VIEW_ENTRIES_MAX of them or
 *                                     VIEW_ENTRIES_BYTES; "next" is where to go on
 *   GET  /v1/proofs                   {"proofs": […]}: replicas that signed two different things
 *   GET  /v1/proofs/{name}            one of them, NAME as it says there: JSON, or the file of
 *                                     proof.h for Accept: application/octet-stream
 *   GET  /v1/config                   the genesis and the configuration in force
 *   GET  /v1/metrics                  for Prometheus
 *   GET  /healthz                     200 when the replica takes part, else 503
 *
 * Errors are application/problem+json: 400, 404, 405, 406, 409 (a request number used otherwise),
 * 413, 415, 429 (too many requests of this client), 500 (a file is
 * damaged), 503.
 *
 * Answers take at most a quarter of the loop's time, but for the last two: who asks for more gets
 * 503 and Retry-After, so no crowd of readers keeps a replica from the ledger.
 *
 * There is no authentication: requests are signed, receipts public. A view that listens only at a
 * loopback address answers only requests that name it so, against pages that make browsers ask.
 */
#ifndef LEDGER_SERVICE_HTTP_VIEW_H
#define LEDGER_SERVICE_HTTP_VIEW_H

#include "ledger/service/server.h"

#define VIEW_ENTRIES_MAX   1000
#define VIEW_ENTRIES_BYTES (4u << 20)
#define VIEW_CONNECTIONS   256

struct http_view;

/* Listens at `address` ("127.0.0.1:8100", numeric). The server outlives the view's close.
 * ATOLL_EINVAL: no address; ATOLL_EUNAVAIL or ATOLL_EBUSY: it cannot be listened at; ATOLL_ENOMEM.
 */
int http_view_open(uv_loop_t *, struct ledger_server *, const char *address, struct http_view **,
                   struct error *);
/* Where it listens, for port 0. */
uint16_t http_view_port(const struct http_view *);
/* Answers nothing more; freed when the loop has closed its handles. NULL is allowed. */
void http_view_close(struct http_view *);

#endif
