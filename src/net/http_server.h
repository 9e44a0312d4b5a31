/*
 * An HTTP/1.1 server on a libuv loop, with or without TLS.
 *
 * Everything here belongs to the loop's thread, and every callback comes on it. A connection has
 * one request at a time in the handler's hands; requests that were pipelined behind it wait as
 * bytes, so answers leave in order, those that are ready together in one write. Reading stops while
 * too many bytes wait in either direction.
 *
 * A request becomes the handler's with `request` (or, when `head` chose HTTP_BODY_STREAM, with
 * `head`) and stays valid until the handler finishes it: http_respond, http_respond_problem,
 * http_stream_end or http_request_drop, exactly once, now or at any later time. `gone` says that
 * the peer closed or failed; the handler still finishes the request, and what it answers then goes
 * nowhere (or to a client that only closed its own side). A peer that has filled `pending` with
 * further requests is not read from, so its end shows only when its turn comes again.
 */
#ifndef NET_HTTP_SERVER_H
#define NET_HTTP_SERVER_H

#include "net/http_write.h"

#include <netinet/in.h>
#include <uv.h>

struct tls_context;
struct http_server;

#define HTTP_SERVER_CONNECTIONS   4096 /* default; beyond, accepting pauses */
#define HTTP_SERVER_LISTENERS     8
#define HTTP_SERVER_HEAD_MS       10000 /* from the first byte (or the connection) to a whole head */
#define HTTP_SERVER_BODY_MS       30000 /* between two pieces of a body; also without write progress */
#define HTTP_SERVER_KEEP_ALIVE_MS 75000 /* between two requests */
#define HTTP_SERVER_LINGER_MS     2000  /* for the peer to read the last answer after we closed */
#define HTTP_SERVER_PROBE_S       60 /* silence after which the kernel asks whether the peer lives */
#define HTTP_SERVER_PENDING_BYTES (64u << 10)  /* pipelined bytes kept; beyond, reading stops */
#define HTTP_SERVER_OUTPUT_BYTES  (256u << 10) /* unsent bytes beyond which nothing new is begun */
#define HTTP_SERVER_BODIES_BYTES  (UINT64_C(256) << 20) /* all collected bodies; beyond, 503 */
#define HTTP_STREAM_PIECE_MAX     (1u << 20)            /* one http_stream_write */

enum http_body_mode {
    HTTP_BODY_COLLECT, /* `request` comes once the body is complete, in body and body_len */
    HTTP_BODY_STREAM,  /* `body` gets the pieces, then `request` comes */
};

struct http_request {
    const struct http_head *head;
    const uint8_t *body; /* collected; NULL when empty */
    size_t body_len;
    void *user; /* the handler's own, NULL at first */
};

struct http_handler {
    /* The head is there, the body is not. May set a limit (http_request_body_max) and says how the
     * body is taken. It may answer at once; then the rest of the request is not read and the
     * connection closes behind the answer. NULL: collect, default limit. */
    enum http_body_mode (*head)(void *context, struct http_request *);
    /* A piece of a streamed body. False: no more before http_request_resume. */
    bool (*body)(void *context, struct http_request *, const uint8_t *data, size_t len);
    /* The request is complete. */
    void (*request)(void *context, struct http_request *);
    /* The peer has gone, or sent a broken body. Comes at most once, and never from within a call of
     * the handler into this file. May be NULL. */
    void (*gone)(void *context, struct http_request *);
    /* A stream that said -ATOLL_EAGAIN has room again. May be NULL. */
    void (*drained)(void *context, struct http_request *);
};

/* Zero means the default above. */
struct http_server_options {
    const struct http_handler *handler; /* outlives the server */
    void *context;
    uint32_t connections;
    uint64_t body_max; /* default HTTP1_BODY_MAX */
    uint64_t bodies_bytes;
    uint32_t head_ms, body_ms, keep_alive_ms, linger_ms;
};

struct http_server_counts {
    uint32_t connections;      /* open now */
    uint32_t requests;         /* in the handler's hands now */
    uint64_t accepted, served; /* connections, finished requests */
    uint64_t refused;          /* requests answered by the server itself with 4xx or 5xx */
    uint64_t bytes_in, bytes_out;
};

int http_server_create(uv_loop_t *, const struct http_server_options *, struct http_server **,
                       struct error *);
/* Listens on a numeric address; NULL is 127.0.0.1. Port 0 takes a free one. tls may be NULL and
 * outlives the server. *port is the port listened on. */
int http_server_listen(struct http_server *, const char *address, uint16_t port,
                       struct tls_context *tls, uint16_t *bound, struct error *);
/* Stops accepting and closes connections that wait for a request; the others close behind the
 * answer they owe, at the latest after timeout_ms (UINT32_MAX: none). `drained` comes when none is
 * left, not from within this call; the server can still be asked for its counts. */
void http_server_drain(struct http_server *, uint32_t timeout_ms, void (*drained)(void *context),
                       void *context);
/* Closes everything at once. The server is freed, after `closed`, when the loop has closed its
 * handles and the handler has finished the requests it holds (`gone` comes for each). */
void http_server_close(struct http_server *, void (*closed)(void *context), void *context);
struct http_server_counts http_server_counts(const struct http_server *);

/* From within `head`: another limit than the server's. */
void http_request_body_max(struct http_request *, uint64_t body_max);
/* What that limit is called where people can change it; a static text. */
void http_request_body_setting(struct http_request *, const char *setting);
/* After `body` returned false: pieces come again, though not from within this call. */
void http_request_resume(struct http_request *);
/* Moves the collected body to the caller, who frees it. */
struct buffer http_request_body_take(struct http_request *);

struct http_response {
    unsigned status;
    const struct http_header *headers;
    size_t header_count;
    const void *body;
    size_t body_len;
    /* Called once body is no longer needed, possibly before http_respond returns; NULL: the bytes
     * are copied. */
    void (*release)(void *context, const void *body, size_t body_len);
    void *release_context;
    bool close; /* the connection ends behind it */
};

/* Answers and finishes the request. A head that cannot be written (a guest's bad field) is replaced
 * by a 502 problem; the error then says why. */
int http_respond(struct http_request *, const struct http_response *, struct error *);
void http_respond_problem(struct http_request *, const struct http_problem *);
/* Finishes it without an answer: the connection closes. */
void http_request_drop(struct http_request *);

/* A response whose body comes bit by bit: chunks, or until close for a 1.0 client. Fields of `from`
 * about the body are not looked at. An error leaves the request unanswered. */
int http_stream_begin(struct http_request *, const struct http_response *from, struct error *);
/* Copies a piece of at most HTTP_STREAM_PIECE_MAX bytes. -ATOLL_EAGAIN: too much waits already,
 * nothing was taken, `drained` will come. -ATOLL_ELOST: the peer has gone. */
int http_stream_write(struct http_request *, const void *data, size_t len);
void http_stream_end(struct http_request *);

#endif
