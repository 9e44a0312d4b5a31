/*
 * A blocking HTTP/1.1 client, for commands: one connection, kept open between requests to the same
 * server, with or without TLS. Not for threads that serve others, and one thread at a time.
 *
 * Errors, each with a sentence that says what to do:
 *   ATOLL_EINVAL      the request cannot be written
 *   ATOLL_ENOENT      the host's name does not resolve
 *   ATOLL_EUNAVAIL    refused (nobody listens) or unreachable
 *   ATOLL_ESIGNATURE  the server's certificate is not trusted, or not for this name
 *   ATOLL_ETIMEDOUT   no connection, or no bytes, in time
 *   ATOLL_ELOST       closed before the response was complete; whether it acted is unknown
 *   ATOLL_EIO         not HTTP, not TLS, or a socket failed
 *   ATOLL_ESIZE       the response is larger than allowed
 *   ATOLL_ECANCELED   the body callback said so
 */
#ifndef NET_HTTP_CLIENT_H
#define NET_HTTP_CLIENT_H

#include "base/bytes.h"
#include "base/error.h"
#include "net/http.h"
#include "net/url.h"

struct tls_context;
struct http_client;

#define HTTP_CLIENT_CONNECT_MS 5000
#define HTTP_CLIENT_IDLE_MS    60000
#define HTTP_CLIENT_BODY_MAX   (UINT64_C(256) << 20)

/* Zero means the default above. */
struct http_client_options {
    struct tls_context *tls; /* for https; outlives the client */
    uint32_t connect_ms;     /* per address tried, TLS handshake included */
    uint32_t idle_ms;        /* without a byte in either direction; UINT32_MAX: for ever */
    uint64_t body_max;
};

struct http_client_request {
    enum http_method method;
    const struct url *url;
    const struct http_header *headers;
    size_t header_count;
    const void *body;
    uint64_t body_len;
    /* Instead of body: fills up to cap bytes, returns how many (0 only when body_len were given) or
     * a negative code that ends the request. */
    int64_t (*read)(void *context, void *out, size_t cap, struct error *);
    /* Gets the response's body as it comes; without it the body is collected. Non-zero stops. It is
     * not called for a status of 300 and above: such bodies are collected. */
    int (*write)(void *context, const void *data, size_t len);
    void *context;
    uint32_t idle_ms; /* instead of the client's; 0: the client's */
};

/* Zero-initialise; http_client_response_free. The head's strings live until then or until the next
 * request of the client. */
struct http_client_response {
    const struct http_head *head;
    unsigned status;
    struct buffer body;
};

int http_client_create(const struct http_client_options *, struct http_client **, struct error *);
void http_client_destroy(struct http_client *);
/* A request whose connection had been closed in the meantime is sent again on a fresh one when no
 * byte of it can have been acted upon, or its method is idempotent. */
int http_client_request(struct http_client *, const struct http_client_request *,
                        struct http_client_response *, struct error *);
void http_client_response_free(struct http_client_response *);

#endif
