/*
 * HTTP/1.1 messages read from bytes (RFC 9112), strictly: one machine for each direction of a
 * connection. Bytes go in, events come out; there is no socket, clock or thread in here, and what
 * comes out does not depend on how the bytes were cut into pieces.
 *
 * What two readers could understand differently is refused, because that is how requests are
 * smuggled past one of them: Content-Length together with Transfer-Encoding or twice, any transfer
 * coding but one "chunked", folded lines, a line end without CR, a CR without LF, control bytes,
 * white space before a colon, a missing or second Host, chunk sizes that are not plain hexadecimal.
 * After an error the machine reads no further: the connection answers and closes.
 *
 * The head is copied, checked line by line, and then taken apart by the parser library behind
 * http1_lex.h; the framing of bodies is decided and decoded here. Both readings of the head must
 * agree.
 *
 * Reading allocates nothing once the buffers have the size of the connection's usual head.
 */
#ifndef NET_HTTP1_H
#define NET_HTTP1_H

#include "net/http.h"

#define HTTP1_LINE_MAX      8192  /* request or status line: 414 beyond */
#define HTTP1_HEADERS_BYTES 16384 /* all header lines together, line ends included: 431 beyond */
#define HTTP1_HEADERS_MAX   100   /* header lines: 431 beyond */
#define HTTP1_TRAILER_BYTES 8192  /* all trailer lines together: 431 beyond; they are dropped */
#define HTTP1_CHUNK_LINE    256   /* a chunk's size and extension: 400 beyond */
#define HTTP1_EXTENSIONS    16384 /* all chunk extensions of a body together: 400 beyond */
#define HTTP1_INTERIM_MAX   8     /* 1xx responses before the final one */
#define HTTP1_BODY_MAX      (UINT64_C(64) << 20) /* default of http1_body_max_set */

enum http1_role {
    HTTP1_SERVER, /* reads requests */
    HTTP1_CLIENT, /* reads responses */
};

enum http1_event_kind {
    HTTP1_NONE,     /* more bytes are needed (or the message is over and http1_next not called) */
    HTTP1_HEAD,     /* http1_head is ready */
    HTTP1_CONTINUE, /* the client waits for "100 Continue" before it sends the body */
    HTTP1_BODY,     /* a piece of the body, decoded: data and len (at least 1) */
    HTTP1_END,      /* the message is complete */
    HTTP1_ERROR,    /* status to answer with, and why */
};

struct http1_event {
    enum http1_event_kind kind;
    const uint8_t *data; /* lies in the bytes that were passed in */
    size_t len;
    unsigned status;    /* of ERROR: 400, 413, 414, 417, 431, 501, 503 or 505; a client uses only
                           the reason */
    const char *reason; /* of ERROR: a sentence, as long as the machine stays in this message */
};

/* Fields are private; embed it, call http1_init, and http1_free in the end. */
struct http1 {
    enum http1_role role;
    uint8_t state, line_state;
    bool response_to_head, interim;
    unsigned interim_count;
    uint64_t body_max, body_len; /* allowed; decoded so far */
    const char *body_setting;    /* that says how much is allowed; NULL: none */
    char body_reason[128];       /* why the body is refused */
    uint64_t left;               /* of the body or the chunk */
    uint32_t line_start;         /* in text, of the line being read */
    uint32_t headers_start;      /* in text, of the first header line */
    uint32_t header_lines;
    uint32_t extension_bytes, trailer_bytes, line_len;
    uint32_t text_len, text_capacity;
    char *text; /* the head, from the first line to the empty one */
    struct http_header *headers;
    uint32_t header_capacity;
    struct http_head head;
    unsigned error_status;
    const char *error_reason;
};

void http1_init(struct http1 *, enum http1_role);
void http1_free(struct http1 *);

/*
 * Takes bytes and tells at most one event; returns how many bytes it took. Call it again with the
 * rest, also with none left, until it says HTTP1_NONE. After HTTP1_END it takes nothing before
 * http1_next; after HTTP1_ERROR it repeats the error.
 */
size_t http1_read(struct http1 *, const void *data, size_t len, struct http1_event *);
/* The peer sends no more: HTTP1_END when that ends a response, HTTP1_NONE between messages,
 * HTTP1_ERROR within one. */
void http1_read_end(struct http1 *, struct http1_event *);

/* The head, from HTTP1_HEAD to http1_next. */
const struct http_head *http1_head(const struct http1 *);
/* The largest body allowed, decoded; takes effect when called until right after HTTP1_HEAD, and is
 * HTTP1_BODY_MAX again for the next message. */
void http1_body_max_set(struct http1 *, uint64_t body_max);
/* What the limit of this message is called where people can change it; a static text. */
void http1_body_setting_set(struct http1 *, const char *setting);
/* For clients, before the response: it answers a HEAD request and so has no body. */
void http1_response_to_head(struct http1 *);
/* Forgets the message; the next one may be read. */
void http1_next(struct http1 *);
/* True when no byte of a message has been read since init or next. */
bool http1_idle(const struct http1 *);

#endif
