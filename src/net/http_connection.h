/*
 * What the server (http_server.c: listeners, limits, time) and its connections (http_connection.c:
 * requests and answers) know of each other.
 */
#ifndef NET_HTTP_CONNECTION_H
#define NET_HTTP_CONNECTION_H

#include "crypto/tls.h"
#include "net/http1.h"
#include "net/http_server.h"
#include "net/http_write.h"
#include "net/tcp_stream.h"

/* What a connection waits for. Each has one duration, so the connections that wait for the same
 * thing form a list in the order of their deadlines. */
enum http_wait {
    HTTP_WAIT_NONE,   /* the handler: it has its own deadlines */
    HTTP_WAIT_HEAD,   /* a whole head */
    HTTP_WAIT_BODY,   /* the next piece of a body */
    HTTP_WAIT_IDLE,   /* the next request */
    HTTP_WAIT_WRITE,  /* the peer to take output */
    HTTP_WAIT_LINGER, /* the peer to close */
    HTTP_WAITS,
};

enum http_phase {
    HTTP_PHASE_IDLE, /* no head yet */
    HTTP_PHASE_BODY, /* between head and end of the request */
    HTTP_PHASE_WAIT, /* the request is complete; the handler has it */
    HTTP_PHASE_LAST, /* no more requests are read: the connection ends behind its output */
};

struct http_connection {
    struct http_request request; /* first: the handler's pointer is the connection's */
    struct tcp_stream stream;
    struct http_server *server;
    struct http_connection *next, *before;           /* of all */
    struct http_connection *wait_next, *wait_before; /* of those that wait for the same */
    struct http_connection *ready_next;
    enum http_wait wait;
    uint64_t deadline; /* loop time, ms */
    uint64_t progress; /* of the stream when the deadline was set */
    struct http1 machine;
    enum http_phase phase;
    enum http_body_mode mode;
    bool held;      /* the request is in the handler's hands */
    bool answered;  /* a whole response is queued */
    bool streaming; /* the response is being streamed */
    bool chunked;   /* in chunks */
    bool bodyless;  /* the response has no body whatever is written */
    bool last;      /* the response says that the connection closes */
    bool throttled; /* http_stream_write refused: `drained` is owed */
    bool paused;    /* the handler takes no more of the body for now */
    bool unread;    /* reading stopped although there may be more to read */
    bool gone;      /* told */
    bool used;      /* a request has been served on it */
    bool rearm;     /* the next wait is a new one even if it is of the same kind */
    bool input_ended, advancing, ready, stream_closed, in_closed, lingering;
    struct buffer body;    /* collected */
    struct buffer pending; /* read, not yet looked at */
    size_t pending_start;
};

struct http_listener {
    uv_tcp_t handle;
    struct http_server *server;
    struct tls_context *tls;
    bool open, paused;
};

struct http_server {
    uv_loop_t *loop;
    struct http_server_options options;
    struct tcp_pool pool;
    struct http_listener listeners[HTTP_SERVER_LISTENERS];
    unsigned listener_count, handles_open;
    uv_timer_t timer, drain_timer;
    uint64_t timer_due; /* 0: not running */
    uv_idle_t idle;
    struct http_connection *first;
    struct http_connection *ready, *running; /* to be run in the next turn; in this one */
    struct {
        struct http_connection *first, *last;
    } waits[HTTP_WAITS];
    struct http_server_counts counts;
    uint64_t collected; /* bytes of bodies held */
    struct buffer scratch;
    char date[HTTP_DATE_LEN + 1];
    time_t date_second;
    bool draining, closing;
    void (*drained)(void *context);
    void *drained_context;
    void (*closed)(void *context);
    void *closed_context;
};

/* ---- the server, for its connections ---- */

/* Starts the deadline of what the connection waits for, or stops it. */
void http_server_wait(struct http_server *, struct http_connection *, enum http_wait);
/* http_connection_run will be called from the loop, soon. */
void http_server_ready(struct http_server *, struct http_connection *);
/* There was no memory to accept with: tries again in a second. */
void http_server_accept_later(struct http_server *);
/* The current Date. */
const char *http_server_date(struct http_server *);
/* The connection's stream is closed and no handler holds its request: unlinks and frees it. */
void http_server_forget(struct http_server *, struct http_connection *);

/* ---- a connection, for its server ---- */

/* Accepts from the listener; the server has made sure that there is one to accept. */
void http_connection_accept(struct http_listener *);
/* Goes on with what was put off. */
void http_connection_run(struct http_connection *);
/* What it waited for did not come. */
void http_connection_expire(struct http_connection *);
/* No further request is read: closes now when none is being read or answered. */
void http_connection_drain(struct http_connection *);

#endif
