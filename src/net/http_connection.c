/*
 * One connection of the server: its requests, one after the other, and their answers.
 *
 *   IDLE ──head──▶ BODY ──end──▶ WAIT ──answer──▶ IDLE
 *                    │             │
 *                    └─────────────┴──last answer, refusal──▶ LAST ──sent──▶ lingering ──▶ closed
 *
 * Bytes are read on as far as requests are wanted (`blocked` says when not) and kept in `pending`
 * beyond that; when pending is full the socket is left alone, which pushes back on the peer.
 *
 * After the last answer our side is closed and what the peer still sends is thrown away for a
 * while: closing at once with unread input would reset the connection and could take the answer
 * with it.
 *
 * The stream tells its end once, from the loop. A request that the handler still holds then keeps
 * the connection's memory until the handler finishes it.
 */
#include "net/http_connection.h"

#include <assert.h>
#include <stdlib.h>

/* Bodies up to this size are copied behind their head; larger ones are lent. */
#define COPY_MAX 4096
/* A request answered before its body has come is read to its end, for the sake of the next one,
 * when no more than this is missing. */
#define DISCARD_MAX 65536
/* A collected body's buffer above this is not kept for the next request. */
#define BODY_KEPT 16384

static struct http_connection *of_request(const struct http_request *request)
{
    return (struct http_connection *)request;
}

/* ---- what is waited for ---- */

static enum http_wait wait_kind(const struct http_connection *c)
{
    if (c->lingering)
        return HTTP_WAIT_LINGER;
    if (tcp_stream_unsent(&c->stream) > 0)
        return HTTP_WAIT_WRITE;
    switch (c->phase) {
    case HTTP_PHASE_IDLE:
        return c->used && http1_idle(&c->machine) ? HTTP_WAIT_IDLE : HTTP_WAIT_HEAD;
    case HTTP_PHASE_BODY: return c->paused ? HTTP_WAIT_NONE : HTTP_WAIT_BODY;
    default: return HTTP_WAIT_NONE;
    }
}

/* moved: bytes have arrived or a request is through. Only what is waited for renews a wait: input
 * does not excuse a peer that takes no output, nor does one byte more a head that does not end. */
static void wait_update(struct http_connection *c, bool moved)
{
    enum http_wait kind = wait_kind(c);
    bool renew = c->rearm || kind != c->wait;
    if (kind == HTTP_WAIT_WRITE)
        renew |= tcp_stream_progress(&c->stream) != c->progress;
    else if (kind == HTTP_WAIT_BODY || kind == HTTP_WAIT_IDLE)
        renew |= moved;
    if (c->stream_closed || !renew)
        return;
    c->rearm = false;
    http_server_wait(c->server, c, kind);
}

static void read_update(struct http_connection *c)
{
    size_t waiting = c->pending.len - c->pending_start;
    bool want = c->lingering ||
                (!c->paused && waiting < HTTP_SERVER_PENDING_BYTES && c->phase != HTTP_PHASE_LAST);
    if (want && !c->input_ended)
        tcp_stream_read_start(&c->stream);
    else
        tcp_stream_read_stop(&c->stream);
}

/* ---- the end ---- */

static void gone_tell(struct http_connection *c)
{
    const struct http_handler *handler = c->server->options.handler;
    if (!c->held || c->gone)
        return;
    c->gone = true;
    if (handler->gone)
        handler->gone(c->server->options.context, &c->request);
}

/* Our side ends behind what is queued. */
static void last_begin(struct http_connection *c)
{
    c->phase = HTTP_PHASE_LAST;
    tcp_stream_end(&c->stream);
}

/* Once everything has left: wait for the peer to close. */
static void linger_check(struct http_connection *c)
{
    if (c->phase != HTTP_PHASE_LAST || c->lingering || c->held || tcp_stream_unsent(&c->stream) > 0)
        return;
    if (c->input_ended)
        tcp_stream_close(&c->stream);
    else
        c->lingering = true;
}

static void body_forget(struct http_connection *c)
{
    c->server->collected -= c->body.len;
    c->body.len = 0;
    if (c->body.capacity > BODY_KEPT)
        buffer_free(&c->body);
}

static void pending_compact(struct http_connection *c)
{
    if (c->pending_start == c->pending.len) {
        c->pending_start = c->pending.len = 0;
        if (c->pending.capacity > BODY_KEPT)
            buffer_free(&c->pending);
    }
}

/* ---- answers ---- */

/* An answer would reach nobody. */
static bool deaf(const struct http_connection *c)
{
    return c->stream_closed || c->stream.closing || c->phase == HTTP_PHASE_LAST;
}

/* Whether another request may follow the answer to this one. */
static bool may_follow(const struct http_connection *c)
{
    const struct http_head *head = &c->machine.head;
    bool more = !c->input_ended || c->pending.len > c->pending_start;
    if (!head->keep_alive || c->server->draining || !more || c->phase == HTTP_PHASE_LAST)
        return false;
    return c->phase == HTTP_PHASE_WAIT ||
           (!head->chunked && !head->expect_continue && head->content_length <= DISCARD_MAX);
}

static int head_queue(struct http_connection *c, const struct http_response *r, uint64_t length,
                      struct error *e)
{
    struct http_server *server = c->server;
    struct http_response_head head = {
        .status = r->status,
        .headers = r->headers,
        .header_count = r->header_count,
        .length = length,
        .minor = c->machine.head.minor,
        .keep_alive = !c->last,
        .date = http_server_date(server),
    };
    server->scratch.len = 0;
    int result = http_response_write(&server->scratch, &head, e);
    if (result < 0)
        return result;
    if (!output_append(&c->stream.output, server->scratch.data, server->scratch.len)) {
        tcp_stream_close(&c->stream);
        return error_set(e, ATOLL_ENOMEM, "out of memory for a response");
    }
    return 0;
}

static void body_queue(struct http_connection *c, const struct http_response *r)
{
    bool sent = http_status_has_body(r->status) && c->machine.head.method != HTTP_HEAD;
    struct output *output = &c->stream.output;
    bool good = true;
    if (sent && r->release && r->body_len > COPY_MAX) {
        good = output_lend(output, r->body, r->body_len, r->release, r->release_context);
    } else {
        good = !sent || output_append(output, r->body, r->body_len);
        if (r->release)
            r->release(r->release_context, r->body, r->body_len);
    }
    if (!good)
        tcp_stream_close(&c->stream);
}

/* The request is through: forgets it and lets the next one begin. */
static void request_end(struct http_connection *c)
{
    http1_next(&c->machine);
    body_forget(c);
    c->request = (struct http_request){0};
    c->answered = c->gone = c->bodyless = c->chunked = false;
    c->phase = HTTP_PHASE_IDLE;
    c->used = c->rearm = true;
}

/* The handler has given the request back. */
static void held_end(struct http_connection *c)
{
    struct http_server *server = c->server;
    c->held = c->streaming = c->throttled = false;
    c->answered = true;
    server->counts.requests--;
    server->counts.served++;
    if (c->stream_closed) {
        if (!c->in_closed)
            http_server_forget(server, c);
        return;
    }
    bool resume = c->paused;
    c->paused = false;
    if (c->last)
        last_begin(c);
    else if (c->phase == HTTP_PHASE_WAIT)
        request_end(c);
    if (c->advancing)
        return; /* advance goes on, flushes and sets the deadline */
    tcp_stream_flush(&c->stream);
    linger_check(c);
    read_update(c);
    wait_update(c, true);
    if (c->pending.len > 0 || c->input_ended || resume)
        http_server_ready(server, c);
}

static void problem_queue(struct http_connection *c, const struct http_problem *problem)
{
    struct buffer body = {0};
    struct error e;
    struct http_header type = http_header_text("Content-Type", HTTP_PROBLEM_TYPE);
    bool good = http_problem_write(&body, problem);
    struct http_response r = {.status = problem->status,
                              .headers = &type,
                              .header_count = 1,
                              .body = body.data,
                              .body_len = body.len};
    if (!good || head_queue(c, &r, r.body_len, &e) < 0)
        tcp_stream_close(&c->stream);
    else
        body_queue(c, &r);
    buffer_free(&body);
}

int http_respond(struct http_request *request, const struct http_response *r, struct error *e)
{
    struct http_connection *c = of_request(request);
    assert(c->held && !c->streaming);
    int result = 0;
    c->last = r->close || !may_follow(c);
    if (!deaf(c) && (result = head_queue(c, r, r->body_len, e)) == 0) {
        body_queue(c, r);
    } else {
        if (r->release)
            r->release(r->release_context, r->body, r->body_len);
        if (result < 0 && !deaf(c))
            problem_queue(c, &(struct http_problem){.status = 502, .detail = e->text});
    }
    held_end(c);
    return result;
}

void http_respond_problem(struct http_request *request, const struct http_problem *problem)
{
    struct http_connection *c = of_request(request);
    assert(c->held && !c->streaming);
    c->last = !may_follow(c);
    if (!deaf(c))
        problem_queue(c, problem);
    held_end(c);
}

void http_request_drop(struct http_request *request)
{
    struct http_connection *c = of_request(request);
    assert(c->held);
    c->last = true;
    /* Behind a refusal the connection is ending anyway, and the refusal should arrive. */
    if (c->phase != HTTP_PHASE_LAST)
        tcp_stream_close(&c->stream);
    held_end(c);
}

int http_stream_begin(struct http_request *request, const struct http_response *from,
                      struct error *e)
{
    struct http_connection *c = of_request(request);
    assert(c->held && !c->streaming);
    if (deaf(c))
        return error_set(e, ATOLL_ELOST, "the client has gone");
    c->chunked = c->machine.head.minor > 0;
    c->bodyless = c->machine.head.method == HTTP_HEAD || !http_status_has_body(from->status);
    c->last = from->close || !may_follow(c) || !c->chunked;
    int result = head_queue(c, from, HTTP_LENGTH_UNKNOWN, e);
    if (result < 0)
        return result;
    c->streaming = true;
    http_server_ready(c->server, c);
    return 0;
}

int http_stream_write(struct http_request *request, const void *data, size_t len)
{
    struct http_connection *c = of_request(request);
    struct output *output = &c->stream.output;
    assert(c->streaming && len <= HTTP_STREAM_PIECE_MAX);
    if (deaf(c))
        return -ATOLL_ELOST;
    if (len == 0 || c->bodyless)
        return 0;
    if (tcp_stream_unsent(&c->stream) > HTTP_SERVER_OUTPUT_BYTES) {
        c->throttled = true;
        return -ATOLL_EAGAIN;
    }
    char head[HTTP_CHUNK_HEAD_MAX];
    bool good = (!c->chunked || output_append(output, head, http_chunk_head(len, head))) &&
                output_append(output, data, len) &&
                (!c->chunked || output_append(output, "\r\n", 2));
    if (!good) {
        tcp_stream_close(&c->stream);
        return -ATOLL_ELOST;
    }
    http_server_ready(c->server, c);
    return 0;
}

void http_stream_end(struct http_request *request)
{
    struct http_connection *c = of_request(request);
    assert(c->streaming);
    if (c->chunked && !c->bodyless && !deaf(c) &&
        !output_append(&c->stream.output, HTTP_CHUNKS_END, sizeof HTTP_CHUNKS_END - 1))
        tcp_stream_close(&c->stream);
    c->last |= c->server->draining; /* which may have been told after the stream's head was sent */
    held_end(c);
}

/* ---- requests ---- */

/* The server itself refuses the message; a handler that has it learns so. */
static void refuse(struct http_connection *c, unsigned status, const char *reason)
{
    bool begun = c->streaming || c->answered;
    c->server->counts.refused++;
    c->last = true;
    if (!begun)
        problem_queue(c, &(struct http_problem){.status = status, .detail = reason});
    last_begin(c);
    gone_tell(c);
}

static void on_head(struct http_connection *c)
{
    const struct http_handler *handler = c->server->options.handler;
    c->phase = HTTP_PHASE_BODY;
    c->request.head = http1_head(&c->machine);
    c->mode = HTTP_BODY_COLLECT;
    http1_body_max_set(&c->machine, c->server->options.body_max);
    if (!handler->head)
        return;
    c->held = true;
    c->server->counts.requests++;
    c->mode = handler->head(c->server->options.context, &c->request);
    if (c->held && c->mode == HTTP_BODY_COLLECT && !c->streaming) {
        c->held = false;
        c->server->counts.requests--;
    }
}

static void on_body(struct http_connection *c, const struct http1_event *event)
{
    struct http_server *server = c->server;
    if (c->answered || c->gone)
        return; /* thrown away */
    if (c->mode == HTTP_BODY_STREAM) {
        const struct http_handler *handler = server->options.handler;
        c->paused = !handler->body(server->options.context, &c->request, event->data, event->len) &&
                    c->held;
        return;
    }
    if (server->collected + event->len > server->options.bodies_bytes ||
        !buffer_append(&c->body, event->data, event->len)) {
        refuse(c, 503, "the server holds too many request bodies at the moment; try again");
        return;
    }
    server->collected += event->len;
}

static void on_end(struct http_connection *c)
{
    struct http_server *server = c->server;
    c->phase = HTTP_PHASE_WAIT;
    if (c->answered) {
        request_end(c);
        return;
    }
    c->request.body = c->body.len ? c->body.data : NULL;
    c->request.body_len = c->body.len;
    if (!c->held) {
        c->held = true;
        server->counts.requests++;
    }
    server->options.handler->request(server->options.context, &c->request);
    if (c->input_ended)
        gone_tell(c);
}

static void on_event(struct http_connection *c, const struct http1_event *event)
{
    switch (event->kind) {
    case HTTP1_NONE: break;
    case HTTP1_HEAD: on_head(c); break;
    case HTTP1_CONTINUE:
        if (!c->answered && !c->streaming &&
            !output_append(&c->stream.output, "HTTP/1.1 100 Continue\r\n\r\n", 25))
            tcp_stream_close(&c->stream);
        break;
    case HTTP1_BODY: on_body(c, event); break;
    case HTTP1_END: on_end(c); break;
    case HTTP1_ERROR: refuse(c, event->status, event->reason); break;
    }
}

static bool blocked(const struct http_connection *c)
{
    return c->phase == HTTP_PHASE_WAIT || c->phase == HTTP_PHASE_LAST || c->paused ||
           c->stream.closing || c->stream.output.len > HTTP_SERVER_OUTPUT_BYTES;
}

/* Reads on as far as requests are wanted; returns how many bytes it took. */
static size_t advance(struct http_connection *c, const uint8_t *data, size_t len)
{
    struct http1_event event = {.kind = HTTP1_HEAD};
    size_t used = 0;
    c->advancing = true;
    while (event.kind != HTTP1_NONE && !blocked(c)) {
        used += http1_read(&c->machine, len ? data + used : NULL, len - used, &event);
        on_event(c, &event);
    }
    c->advancing = false;
    /* The machine may have more to tell without any more bytes. */
    c->unread = event.kind != HTTP1_NONE;
    return used;
}

/* The peer has ended: what that means once everything it sent has been looked at. */
static void input_end_check(struct http_connection *c)
{
    if (!c->input_ended || c->stream.closing)
        return;
    if (c->phase == HTTP_PHASE_WAIT)
        gone_tell(c);
    if (c->pending.len > c->pending_start || c->paused)
        return;
    if (c->phase == HTTP_PHASE_IDLE || (c->phase == HTTP_PHASE_BODY && c->answered))
        last_begin(c);
    else if (c->phase == HTTP_PHASE_BODY)
        tcp_stream_close(&c->stream); /* a request cut off; `closed` tells the handler */
}

/* A stream that was told to wait may go on. What it writes now is sent in the loop's next turn, so
 * that others have theirs. */
static void drained_tell(struct http_connection *c)
{
    const struct http_handler *handler = c->server->options.handler;
    if (!c->throttled || tcp_stream_unsent(&c->stream) > HTTP_SERVER_OUTPUT_BYTES / 2)
        return;
    c->throttled = false;
    if (handler->drained)
        handler->drained(c->server->options.context, &c->request);
}

/* What follows every step taken from the loop. */
static void settle(struct http_connection *c, bool moved)
{
    pending_compact(c);
    input_end_check(c);
    tcp_stream_flush(&c->stream);
    drained_tell(c);
    linger_check(c);
    read_update(c);
    wait_update(c, moved);
    /* Reading had stopped for output that is gone by now. */
    if (c->unread && !blocked(c))
        http_server_ready(c->server, c);
}

static void pending_advance(struct http_connection *c)
{
    size_t waiting = c->pending.len - c->pending_start;
    /* The handler's calls do not touch pending: input comes from the loop alone. */
    const uint8_t *data = waiting ? c->pending.data + c->pending_start : NULL;
    c->pending_start += advance(c, data, waiting);
}

void http_connection_run(struct http_connection *c)
{
    if (c->stream_closed)
        return;
    pending_advance(c);
    settle(c, true);
}

void http_request_resume(struct http_request *request)
{
    struct http_connection *c = of_request(request);
    if (!c->paused)
        return;
    c->paused = false;
    http_server_ready(c->server, c);
}

/* ---- events of the stream ---- */

static void on_input(void *owner, const uint8_t *data, size_t len)
{
    struct http_connection *c = owner;
    if (c->phase == HTTP_PHASE_LAST)
        return; /* lingering */
    size_t used = 0;
    if (c->pending.len == c->pending_start && !blocked(c))
        used = advance(c, data, len);
    if (c->phase != HTTP_PHASE_LAST && used < len) {
        if (c->pending_start > 0) {
            memmove(c->pending.data, c->pending.data + c->pending_start,
                    c->pending.len - c->pending_start);
            c->pending.len -= c->pending_start;
            c->pending_start = 0;
        }
        if (!buffer_append(&c->pending, data + used, len - used))
            tcp_stream_close(&c->stream);
    }
    settle(c, true);
}

static void on_ended(void *owner)
{
    struct http_connection *c = owner;
    c->input_ended = true;
    if (c->lingering)
        tcp_stream_close(&c->stream);
    else
        settle(c, false);
}

static void on_drained(void *owner)
{
    http_connection_run(owner);
}

static void on_closed(void *owner, const struct error *why)
{
    (void)why;
    struct http_connection *c = owner;
    struct http_server *server = c->server;
    server->counts.bytes_in += c->stream.bytes_in;
    server->counts.bytes_out += c->stream.bytes_out;
    http_server_wait(server, c, HTTP_WAIT_NONE);
    c->stream.bytes_in = c->stream.bytes_out = 0;
    c->stream_closed = c->in_closed = true;
    gone_tell(c);
    c->in_closed = false;
    if (!c->held)
        http_server_forget(server, c);
}

void http_connection_expire(struct http_connection *c)
{
    /* A large piece may be leaving slowly but steadily. */
    if (tcp_stream_unsent(&c->stream) > 0 && tcp_stream_progress(&c->stream) != c->progress) {
        wait_update(c, true);
        return;
    }
    bool begun =
        c->phase == HTTP_PHASE_BODY || (c->phase == HTTP_PHASE_IDLE && !http1_idle(&c->machine));
    if (c->lingering || tcp_stream_unsent(&c->stream) > 0 || !begun || c->answered) {
        tcp_stream_close(&c->stream);
        return;
    }
    refuse(c, 408, "the rest of the request did not come in time");
    settle(c, true);
}

void http_connection_drain(struct http_connection *c)
{
    bool nothing_begun = c->phase == HTTP_PHASE_IDLE && http1_idle(&c->machine) &&
                         c->pending.len == c->pending_start;
    if (nothing_begun && !c->stream.closing) {
        last_begin(c);
        linger_check(c);
        read_update(c);
        wait_update(c, true);
    }
}

void http_connection_accept(struct http_listener *l)
{
    static const struct tcp_stream_events events = {on_input, on_ended, on_drained, on_closed};
    struct http_server *server = l->server;
    struct tls_session *tls = NULL;
    struct error e;
    struct http_connection *c = calloc(1, sizeof *c);
    if (!c || (l->tls && tls_session_create(l->tls, NULL, &tls, &e) < 0)) {
        free(c);
        l->paused = true;
        http_server_accept_later(server);
        return;
    }
    c->server = server;
    c->next = server->first;
    if (c->next)
        c->next->before = c;
    server->first = c;
    server->counts.connections++;
    server->counts.accepted++;
    http1_init(&c->machine, HTTP1_SERVER);
    int result = tcp_stream_init(&c->stream, &server->pool, tls, &events, c, &e);
    if (uv_accept((uv_stream_t *)&l->handle, (uv_stream_t *)&c->stream.handle) < 0 || result < 0) {
        tcp_stream_close(&c->stream);
        return;
    }
    uv_tcp_nodelay(&c->stream.handle, 1);
    /* A peer that vanished while it has nothing to send or to take is noticed this way alone. */
    uv_tcp_keepalive(&c->stream.handle, 1, HTTP_SERVER_PROBE_S);
    http_server_wait(server, c, HTTP_WAIT_HEAD);
    tcp_stream_read_start(&c->stream);
}

/* ---- what a handler may ask ---- */

void http_request_body_setting(struct http_request *request, const char *setting)
{
    http1_body_setting_set(&of_request(request)->machine, setting);
}

void http_request_body_max(struct http_request *request, uint64_t body_max)
{
    http1_body_max_set(&of_request(request)->machine, body_max);
}

struct buffer http_request_body_take(struct http_request *request)
{
    struct http_connection *c = of_request(request);
    struct buffer body = c->body;
    c->server->collected -= body.len;
    c->body = (struct buffer){0};
    request->body = NULL;
    request->body_len = 0;
    return body;
}
