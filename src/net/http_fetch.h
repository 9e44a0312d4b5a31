/*
 * Posts that a server makes by itself (the result of a call to its `Atoll-Callback`): one request
 * on a libuv loop, tried again until someone takes it. Nothing of this blocks the loop; all of it
 * belongs to the loop's thread. How many run at once is for the caller to bound: each holds its
 * message, a connection and 64 KiB.
 *
 * A try fails when the name does not resolve, nobody answers in time, TLS fails, or the status is
 * 408, 429 or 500 and above; the next one comes after first_delay_ms · 2^(tries - 1), half of it
 * drawn at random. Any other status ends it: the receiver has decided. Redirects are not followed,
 * since they would lead around whatever allowed this URL.
 */
#ifndef NET_HTTP_FETCH_H
#define NET_HTTP_FETCH_H

#include "base/error.h"
#include "net/http.h"
#include "net/url.h"

#include <sys/socket.h>
#include <uv.h>

struct tls_context;
struct http_fetch;

#define HTTP_FETCH_TRIES          5
#define HTTP_FETCH_TRIES_MAX      16
#define HTTP_FETCH_ADDRESSES      16 /* looked at, of those a name resolves to */
#define HTTP_FETCH_FIRST_DELAY_MS 1000
#define HTTP_FETCH_TRY_MS         10000 /* one try, from resolving to the response's end */
#define HTTP_FETCH_RESPONSE_MAX   65536 /* the receiver's body is read to this length and dropped */

/* Zero means the default above. */
struct http_fetch_options {
    enum http_method method;
    struct url url;
    const struct http_header *headers; /* copied */
    size_t header_count;
    const void *body; /* copied */
    size_t body_len;
    struct tls_context *tls; /* for https; outlives the fetch */
    unsigned tries;
    uint32_t first_delay_ms, try_ms;
    /* Whether an address the name resolved to may be connected to; NULL: all may. Asked for the
     * address that is then used, so a name that changes its mind gains nothing. */
    bool (*address_allowed)(void *context, const struct sockaddr *);
    /* Comes once: the final status, or 0 and why the last try failed. Not after a cancel. */
    void (*done)(void *context, unsigned status, unsigned tries, const struct error *);
    void *context;
};

int http_fetch_start(uv_loop_t *, const struct http_fetch_options *, struct http_fetch **,
                     struct error *);
/* Stops it without `done`. Not after `done`. */
void http_fetch_cancel(struct http_fetch *);

#endif
