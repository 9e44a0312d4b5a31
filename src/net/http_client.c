/*
 * The blocking client. The socket does not block; poll() waits for it, always for both directions
 * while something is left to send, so that a server that answers before it has read everything is
 * heard, and two full buffers cannot wait for each other.
 */
#define _GNU_SOURCE
#include "net/http_client.h"

#include "base/clock.h"
#include "crypto/tls.h"
#include "net/http1.h"
#include "net/http_write.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define PIECE_BYTES 16384
_Static_assert(PIECE_BYTES <= TLS_RECORD_MAX, "a piece is encrypted at once");

struct http_client {
    struct http_client_options options;
    struct url origin; /* of the open connection */
    int fd;            /* -1: none */
    struct tls_session *tls;
    struct http1 machine;
    struct buffer wire; /* bytes for the socket */
    size_t wire_start;
    uint8_t *piece; /* PIECE_BYTES: received, or read from a body callback */
};

/* A request on its way. */
struct exchange {
    struct http_client *client;
    const struct http_client_request *request;
    struct http_client_response *response;
    struct buffer head;
    uint64_t body_sent;
    bool head_sent, heard, ended; /* bytes of the response have come; it is complete */
    bool sent;                    /* bytes of the request have left */
    int idle_ms;
};

static int milliseconds(uint32_t ms)
{
    return ms > INT32_MAX ? -1 : (int)ms;
}

int http_client_create(const struct http_client_options *options, struct http_client **out,
                       struct error *e)
{
    struct http_client *c = calloc(1, sizeof *c);
    uint8_t *piece = malloc(PIECE_BYTES);
    if (!c || !piece) {
        free(c);
        free(piece);
        return error_set(e, ATOLL_ENOMEM, "out of memory for an HTTP client");
    }
    c->options = *options;
    c->options.connect_ms = options->connect_ms ? options->connect_ms : HTTP_CLIENT_CONNECT_MS;
    c->options.idle_ms = options->idle_ms ? options->idle_ms : HTTP_CLIENT_IDLE_MS;
    c->options.body_max = options->body_max ? options->body_max : HTTP_CLIENT_BODY_MAX;
    c->fd = -1;
    c->piece = piece;
    http1_init(&c->machine, HTTP1_CLIENT);
    *out = c;
    return 0;
}

static void disconnect(struct http_client *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    tls_session_destroy(c->tls);
    c->tls = NULL;
    c->wire.len = c->wire_start = 0;
}

void http_client_destroy(struct http_client *c)
{
    if (!c)
        return;
    disconnect(c);
    http1_free(&c->machine);
    buffer_free(&c->wire);
    free(c->piece);
    free(c);
}

void http_client_response_free(struct http_client_response *r)
{
    buffer_free(&r->body);
    *r = (struct http_client_response){0};
}

/* ---- connecting ---- */

/* 1 ready, 0 not in time, or an error. */
static int wait_for(int fd, short events, short *got, int timeout_ms, struct error *e)
{
    struct pollfd p = {.fd = fd, .events = events};
    int64_t end = clock_monotonic_ns() + (int64_t)timeout_ms * 1000000;
    for (;;) {
        int left = timeout_ms;
        if (timeout_ms > 0) {
            int64_t ns = end - clock_monotonic_ns();
            left = ns > 0 ? (int)((ns + 999999) / 1000000) : 0;
        }
        int ready = poll(&p, 1, left);
        if (ready < 0 && errno != EINTR)
            return error_set_errno(e, ATOLL_EIO, "cannot wait for the server");
        if (ready >= 0) {
            if (got)
                *got = p.revents;
            return ready;
        }
    }
}

static int connect_failed(const struct url *u, int number, struct error *e)
{
    if (number == ECONNREFUSED)
        return error_set(e, ATOLL_EUNAVAIL,
                         "nobody listens on %s port %u: is the server running, and is this its "
                         "address?",
                         u->host, u->port);
    if (number == ETIMEDOUT)
        return error_set(e, ATOLL_ETIMEDOUT, "%s port %u did not answer in time", u->host, u->port);
    return error_set(e, ATOLL_EUNAVAIL, "cannot reach %s port %u: %s", u->host, u->port,
                     strerror(number));
}

/* Returns the connected descriptor. */
static int address_connect(const struct addrinfo *a, const struct url *u, int timeout_ms,
                           struct error *e)
{
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return connect_failed(u, errno, e);
    int number = connect(fd, a->ai_addr, a->ai_addrlen) < 0 ? errno : 0;
    if (number == EINPROGRESS || number == EINTR) {
        socklen_t len = sizeof number;
        int ready = wait_for(fd, POLLOUT, NULL, timeout_ms, e);
        if (ready < 0) {
            close(fd);
            return ready;
        }
        if (ready == 0)
            number = ETIMEDOUT;
        else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &number, &len) < 0)
            number = errno;
    }
    if (number) {
        close(fd);
        return connect_failed(u, number, e);
    }
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static int wire_send(struct http_client *c, struct error *e);

static int tls_connect(struct http_client *c, const struct url *u, struct error *e)
{
    if (!c->options.tls)
        return error_set(e, ATOLL_EINVAL, "%s asks for https, which this client is not set up for",
                         u->host);
    int result = tls_session_create(c->options.tls, u->host, &c->tls, e);
    int timeout_ms = milliseconds(c->options.connect_ms);
    while (result == 0) {
        int status = tls_handshake(c->tls, e);
        if ((result = wire_send(c, e)) < 0)
            break;
        if (status != -ATOLL_EAGAIN)
            return status < 0 ? error_prefix(e, "%s port %u", u->host, u->port) : 0;
        bool sending = c->wire.len > c->wire_start;
        int ready = wait_for(c->fd, POLLIN | (sending ? POLLOUT : 0), NULL, timeout_ms, e);
        if (ready < 0)
            return ready;
        if (ready == 0)
            return connect_failed(u, ETIMEDOUT, e);
        ssize_t got = recv(c->fd, c->piece, PIECE_BYTES, 0);
        if (got > 0)
            result = tls_receive(c->tls, c->piece, (size_t)got, e);
        else if (got == 0 || (errno != EAGAIN && errno != EINTR))
            return error_set(e, ATOLL_EIO,
                             "%s port %u closed during the TLS handshake: does it speak TLS, and "
                             "does it want a client certificate?",
                             u->host, u->port);
    }
    return result;
}

static int origin_connect(struct http_client *c, const struct url *u, struct error *e)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *list;
    char port[8];
    snprintf(port, sizeof port, "%u", u->port);
    int status = getaddrinfo(u->host, port, &hints, &list);
    if (status != 0)
        return error_set(e, ATOLL_ENOENT, "cannot find the host %s: %s", u->host,
                         gai_strerror(status));
    int result = -ATOLL_EUNAVAIL;
    for (const struct addrinfo *a = list; a; a = a->ai_next) {
        result = address_connect(a, u, milliseconds(c->options.connect_ms), e);
        if (result >= 0)
            break;
    }
    freeaddrinfo(list);
    if (result < 0)
        return result;
    c->fd = result;
    c->origin = *u;
    result = u->tls ? tls_connect(c, u, e) : 0;
    if (result < 0)
        disconnect(c);
    return result;
}

/* Whether the open connection leads there and nothing has come over it since: what comes unasked
 * can only be the end. */
static bool connection_usable(struct http_client *c, const struct url *u)
{
    struct error e;
    const struct url *o = &c->origin;
    return c->fd >= 0 && o->tls == u->tls && o->port == u->port && strcmp(o->host, u->host) == 0 &&
           wait_for(c->fd, POLLIN, NULL, 0, &e) == 0;
}

/* ---- bytes out ---- */

/* Sends what the socket takes. */
static int wire_send(struct http_client *c, struct error *e)
{
    if (c->tls && tls_outgoing(c->tls) > 0) {
        size_t waiting = tls_outgoing(c->tls);
        if (!buffer_reserve(&c->wire, waiting))
            return error_set(e, ATOLL_ENOMEM, "out of memory for a request");
        c->wire.len += tls_outgoing_take(c->tls, c->wire.data + c->wire.len, waiting);
    }
    while (c->wire.len > c->wire_start) {
        ssize_t sent =
            send(c->fd, c->wire.data + c->wire_start, c->wire.len - c->wire_start, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno == EAGAIN)
            return 0;
        if (sent < 0)
            return error_set_errno(e, ATOLL_ELOST, "the server closed the connection");
        c->wire_start += (size_t)sent;
    }
    c->wire.len = c->wire_start = 0;
    return 0;
}

static bool request_left(const struct exchange *x)
{
    return !x->head_sent || x->body_sent < x->request->body_len;
}

/* Up to a piece of the body into the client's piece or, for bodies in memory, a pointer to it. */
static int64_t body_piece(struct exchange *x, const void **data, struct error *e)
{
    const struct http_client_request *r = x->request;
    uint64_t left = r->body_len - x->body_sent;
    size_t want = left < PIECE_BYTES ? (size_t)left : PIECE_BYTES;
    if (!r->read) {
        *data = (const uint8_t *)r->body + x->body_sent;
        return (int64_t)want;
    }
    int64_t got = r->read(r->context, x->client->piece, want, e);
    if (got == 0 || got > (int64_t)want)
        return error_set(e, ATOLL_ESIZE, "the request's body ended after %llu of %llu bytes",
                         (unsigned long long)x->body_sent, (unsigned long long)r->body_len);
    *data = x->client->piece;
    return got;
}

/* Prepares more of the request for the socket. */
static int request_fill(struct exchange *x, struct error *e)
{
    struct http_client *c = x->client;
    const void *data = x->head.data;
    int64_t len = (int64_t)x->head.len;
    if (x->head_sent)
        len = body_piece(x, &data, e);
    if (len < 0)
        return (int)len;
    if (!c->tls && !buffer_append(&c->wire, data, (size_t)len))
        return error_set(e, ATOLL_ENOMEM, "out of memory for a request");
    for (int64_t at = 0; c->tls && at < len; at += TLS_RECORD_MAX) {
        size_t piece = len - at < TLS_RECORD_MAX ? (size_t)(len - at) : TLS_RECORD_MAX;
        int result = tls_write(c->tls, (const uint8_t *)data + at, piece, e);
        if (result < 0)
            return result;
    }
    if (x->head_sent)
        x->body_sent += (uint64_t)len;
    x->head_sent = x->sent = true;
    return wire_send(c, e);
}

/* ---- bytes in ---- */

static int body_take(struct exchange *x, const struct http1_event *event, struct error *e)
{
    const struct http_client_request *r = x->request;
    if (r->write && x->response->status < 300) {
        if (r->write(r->context, event->data, event->len) != 0)
            return error_set(e, ATOLL_ECANCELED, "the response was not wanted any longer");
        return 0;
    }
    if (!buffer_append(&x->response->body, event->data, event->len))
        return error_set(e, ATOLL_ENOMEM, "out of memory for a response");
    return 0;
}

static int event_take(struct exchange *x, const struct http1_event *event, struct error *e)
{
    struct http1 *machine = &x->client->machine;
    switch (event->kind) {
    case HTTP1_HEAD:
        x->response->head = http1_head(machine);
        x->response->status = x->response->head->status;
        http1_body_max_set(machine, x->request->write && x->response->status < 300
                                        ? UINT64_MAX
                                        : x->client->options.body_max);
        return 0;
    case HTTP1_BODY: return body_take(x, event, e);
    case HTTP1_END: x->ended = true; return 0;
    case HTTP1_ERROR:
        if (event->status == 413)
            return error_set(e, ATOLL_ESIZE, "the response is larger than %llu bytes",
                             (unsigned long long)x->client->options.body_max);
        return error_set(e, ATOLL_EIO, "the server does not speak proper HTTP: %s", event->reason);
    default: return 0;
    }
}

static int bytes_take(struct exchange *x, const uint8_t *data, size_t len, struct error *e)
{
    struct http1_event event = {.kind = HTTP1_HEAD};
    int result = 0;
    size_t used = 0;
    x->heard = true;
    while (result == 0 && !x->ended && event.kind != HTTP1_NONE) {
        used += http1_read(&x->client->machine, data + used, len - used, &event);
        result = event_take(x, &event, e);
    }
    if (result == 0 && used < len)
        return error_set(e, ATOLL_EIO, "the server sent more than its response");
    return result;
}

static int tls_bytes_take(struct exchange *x, size_t len, struct error *e)
{
    struct http_client *c = x->client;
    uint8_t plain[PIECE_BYTES];
    int result = tls_receive(c->tls, c->piece, len, e);
    int64_t got = 0;
    while (result == 0 && !x->ended && (got = tls_read(c->tls, plain, sizeof plain, e)) > 0)
        result = bytes_take(x, plain, (size_t)got, e);
    if (result < 0 || x->ended || got == -ATOLL_EAGAIN)
        return result;
    if (got < 0)
        return (int)got;
    struct http1_event event; /* a proper goodbye may end a body */
    http1_read_end(&c->machine, &event);
    if (event.kind != HTTP1_END)
        return error_set(e, ATOLL_ELOST, "the server closed before its response was complete");
    x->ended = true;
    return 0;
}

static int input_end(struct exchange *x, struct error *e)
{
    struct http1_event event = {.kind = HTTP1_NONE};
    /* Without TLS's goodbye the body may have been cut off by someone else. */
    if (!x->client->tls && x->heard)
        http1_read_end(&x->client->machine, &event);
    if (event.kind != HTTP1_END)
        return error_set(e, ATOLL_ELOST, "the server closed before its response was complete");
    x->ended = true;
    return 0;
}

static int input_take(struct exchange *x, struct error *e)
{
    struct http_client *c = x->client;
    ssize_t got = recv(c->fd, c->piece, PIECE_BYTES, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (got < 0)
        return error_set_errno(e, ATOLL_ELOST, "the server closed the connection");
    if (got == 0)
        return input_end(x, e);
    return c->tls ? tls_bytes_take(x, (size_t)got, e) : bytes_take(x, c->piece, (size_t)got, e);
}

/* ---- requests ---- */

static int exchange_run(struct exchange *x, struct error *e)
{
    struct http_client *c = x->client;
    int result = 0;
    while (result == 0 && !x->ended) {
        short got = 0;
        bool sending = c->wire.len > c->wire_start;
        if (!sending && request_left(x)) {
            result = request_fill(x, e);
            if (result < 0)
                break;
            sending = c->wire.len > c->wire_start;
        }
        sending |= request_left(x);
        int ready = wait_for(c->fd, POLLIN | (sending ? POLLOUT : 0), &got, x->idle_ms, e);
        if (ready < 0)
            result = ready;
        else if (ready == 0)
            result =
                error_set(e, ATOLL_ETIMEDOUT, "the server did not answer for %d ms", x->idle_ms);
        if (result == 0 && (got & (POLLIN | POLLHUP | POLLERR)))
            result = input_take(x, e);
        if (result == 0 && !x->ended && (got & POLLOUT))
            result = wire_send(c, e);
    }
    /* A server that refuses a body closes while it is still being sent: its answer may be there. */
    if (result == -ATOLL_ELOST && x->sent && !x->ended) {
        struct error ignored;
        while (!x->ended && input_take(x, &ignored) == 0 &&
               wait_for(c->fd, POLLIN, NULL, 0, &ignored) == 1)
            ;
        result = x->ended ? 0 : result;
    }
    return result;
}

static bool idempotent(enum http_method method)
{
    return method != HTTP_POST && method != HTTP_PATCH;
}

static int head_prepare(struct exchange *x, struct error *e)
{
    const struct http_client_request *r = x->request;
    char authority[URL_AUTHORITY_MAX + 1];
    url_authority(r->url, authority);
    struct http_request_head head = {
        .method = r->method,
        .target = r->url->target,
        .host = authority,
        .headers = r->headers,
        .header_count = r->header_count,
        .length = r->body_len,
        .keep_alive = true,
    };
    return http_request_write(&x->head, &head, e);
}

/* One try, on the open connection or a fresh one. */
static int request_try(struct exchange *x, struct error *e)
{
    struct http_client *c = x->client;
    struct http_client_response *response = x->response;
    int result = c->fd < 0 ? origin_connect(c, x->request->url, e) : 0;
    if (result < 0)
        return result;
    http1_free(&c->machine);
    http1_init(&c->machine, HTTP1_CLIENT);
    if (x->request->method == HTTP_HEAD)
        http1_response_to_head(&c->machine);
    response->head = NULL;
    response->status = 0;
    response->body.len = 0;
    x->body_sent = 0;
    x->head_sent = x->heard = x->sent = x->ended = false;
    result = exchange_run(x, e);
    if (result < 0 || request_left(x) || c->wire.len > 0 || !c->machine.head.keep_alive)
        disconnect(c);
    return result;
}

int http_client_request(struct http_client *c, const struct http_client_request *r,
                        struct http_client_response *response, struct error *e)
{
    uint32_t idle_ms = r->idle_ms ? r->idle_ms : c->options.idle_ms;
    struct exchange x = {
        .client = c, .request = r, .response = response, .idle_ms = milliseconds(idle_ms)};
    int result = head_prepare(&x, e);
    if (result == 0) {
        if (!connection_usable(c, r->url))
            disconnect(c);
        bool reused = c->fd >= 0;
        result = request_try(&x, e);
        if (result == -ATOLL_ELOST && reused && !x.heard && !r->read &&
            (idempotent(r->method) || !x.sent))
            result = request_try(&x, e);
    }
    if (result < 0)
        response->head = NULL;
    buffer_free(&x.head);
    return result;
}
