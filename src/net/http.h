/* What requests and responses are, whoever reads or writes them (RFC 9110). */
#ifndef NET_HTTP_H
#define NET_HTTP_H

#include "net/http_header.h"

#include <time.h>

/* Every other method is answered with 501. */
enum http_method {
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_PUT,
    HTTP_PATCH,
    HTTP_DELETE,
    HTTP_OPTIONS,
    HTTP_METHOD_COUNT,
};

/* The head of a message. Strings are NUL-terminated, hold no NUL, and are valid as long as whoever
 * gave the head says. */
struct http_head {
    enum http_method method; /* of requests */
    unsigned status;         /* of responses: 200..599 */
    uint8_t minor;           /* version 1.minor: 0 or 1 */
    bool keep_alive;         /* the peer allows another message on the connection */
    bool chunked;            /* the body is in chunks, its length not yet known */
    bool has_length;         /* Content-Length was given */
    bool expect_continue;    /* the client waits for 100 before it sends the body */
    uint64_t content_length;
    /* Of requests: the target as it was sent, still percent-encoded, split at the first '?'. The
     * path begins with '/' or is "*" (OPTIONS only); query is NULL when there is no '?'. */
    const char *path, *query;
    uint32_t path_len, query_len;
    const char *host; /* the Host field; "" when a 1.0 client sent none */
    const struct http_header *headers;
    size_t header_count;
};

/* "GET", …. */
const char *http_method_name(enum http_method);
/* False when it is none of the above. Methods are case-sensitive. */
bool http_method_find(const char *name, size_t len, enum http_method *out);
/* "Not Found" for 404; "Status" for a number without a registered text. */
const char *http_status_text(unsigned status);
/* The value of the field of that name (lower case), or NULL. */
const char *http_head_value(const struct http_head *, const char *lower);

/* "Sun, 06 Nov 1994 08:49:37 GMT" and a NUL (RFC 9110 §5.6.7). */
#define HTTP_DATE_LEN 29
void http_date(time_t, char out[static HTTP_DATE_LEN + 1]);

#endif
