/*
 * HTTP/1.1 messages written to bytes (RFC 9112), and problem documents (RFC 9457).
 *
 * The writer makes framing and connection fields itself. Fields it is given are checked, since
 * they may come from a guest: a name that is no token or a value with CR, LF, NUL or another
 * control byte is refused, never repaired; fields of the connection are dropped
 * (http_header_hop_by_hop).
 */
#ifndef NET_HTTP_WRITE_H
#define NET_HTTP_WRITE_H

#include "base/bytes.h"
#include "base/error.h"
#include "net/http.h"

#define HTTP_WRITE_HEADERS_MAX 128   /* fields of one message: ATOLL_ELIMIT beyond */
#define HTTP_WRITE_HEAD_BYTES  65536 /* of one head: ATOLL_ELIMIT beyond */
#define HTTP_LENGTH_UNKNOWN    UINT64_MAX
#define HTTP_CHUNK_HEAD_MAX    18 /* 16 digits, CR, LF */

struct http_response_head {
    unsigned status; /* 200..599 */
    const struct http_header *headers;
    size_t header_count;
    uint64_t length;  /* of the body, or HTTP_LENGTH_UNKNOWN: chunks, or until close for 1.0 */
    uint8_t minor;    /* of the request: 0 or 1 */
    bool keep_alive;  /* whether the connection stays open afterwards */
    const char *date; /* http_date of now, kept by the caller; NULL: no Date field */
};

/* Appends the head. Responses with status 204 and 304 get no framing fields. 0, or ATOLL_EINVAL
 * (field or status), ATOLL_ELIMIT, ATOLL_ENOMEM; out is unchanged then. */
int http_response_write(struct buffer *out, const struct http_response_head *, struct error *);
/* True when a response of this status may have a body; one to HEAD has none in any case. */
bool http_status_has_body(unsigned status);

struct http_request_head {
    enum http_method method;
    const char *target; /* path and query, percent-encoded */
    const char *host;   /* with the port when it is not the scheme's own */
    const struct http_header *headers;
    size_t header_count;
    uint64_t length; /* 0: no body */
    bool keep_alive;
};
int http_request_write(struct buffer *out, const struct http_request_head *, struct error *);

/* The size line of a chunk of len (> 0) bytes; the chunk ends with CR LF. Returns the length. */
size_t http_chunk_head(uint64_t len, char out[static HTTP_CHUNK_HEAD_MAX]);
#define HTTP_CHUNKS_END "0\r\n\r\n"

/* application/problem+json. Texts may be any bytes: what is not UTF-8 is replaced. NULL texts are
 * left out; title defaults to the status's text, type to "about:blank". */
struct http_problem {
    unsigned status;
    const char *type, *title, *detail;
    const char *call; /* the call it is about */
};
#define HTTP_PROBLEM_TYPE "application/problem+json"
/* False when memory is exhausted. */
bool http_problem_write(struct buffer *out, const struct http_problem *);
/* Appends text as a JSON string with its quotes. */
bool http_json_string(struct buffer *out, const char *text, size_t len);

#endif
