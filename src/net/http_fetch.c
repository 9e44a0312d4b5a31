/*
 * A fetch: tries, one after the other, each a fresh connection.
 *
 *   resolving ─▶ connecting ─▶ talking ─┬─▶ done
 *       ▲                               │
 *       └────── waiting ◀── try failed ─┘
 *
 * The timer bounds a try while one runs and is the pause between two otherwise. A fetch is freed
 * when its two handles (timer, connection) are closed and no name is being resolved any more;
 * `done` comes just before, so nobody waits for the clean-up.
 */
#include "net/http_fetch.h"

#include "base/bytes.h"
#include "crypto/tls.h"
#include "net/http1.h"
#include "net/http_write.h"
#include "net/tcp_stream.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

struct http_fetch {
    struct http_fetch_options options;
    uv_loop_t *loop;
    struct tcp_pool pool;
    struct buffer message; /* head and body, as sent */
    uv_timer_t timer;
    uv_getaddrinfo_t resolve;
    uv_connect_t connect;
    struct tcp_stream stream;
    struct http1 machine;
    unsigned tries;   /* begun */
    unsigned status;  /* of the response that is complete */
    struct error why; /* why the last try failed */
    bool resolving, stream_open, ended, timer_closed;
};

static void try_begin(struct http_fetch *f);

/* ---- the end ---- */

static void fetch_free(struct http_fetch *f)
{
    if (!f->ended || f->resolving || f->stream_open || !f->timer_closed)
        return;
    tcp_pool_free(&f->pool);
    http1_free(&f->machine);
    buffer_free(&f->message);
    free(f);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct http_fetch *f = handle->data;
    f->timer_closed = true;
    fetch_free(f);
}

void http_fetch_cancel(struct http_fetch *f)
{
    assert(!f->ended);
    f->ended = true;
    if (f->resolving)
        uv_cancel((uv_req_t *)&f->resolve);
    if (f->stream_open)
        tcp_stream_close(&f->stream);
    uv_close((uv_handle_t *)&f->timer, on_timer_closed);
}

static void fetch_done(struct http_fetch *f, unsigned status)
{
    void (*done)(void *, unsigned, unsigned, const struct error *) = f->options.done;
    void *context = f->options.context;
    struct error why = f->why;
    unsigned tries = f->tries;
    http_fetch_cancel(f);
    done(context, status, tries, &why);
}

/* ---- tries ---- */

static void on_pause_over(uv_timer_t *timer)
{
    try_begin(timer->data);
}

/* A random half, so that many fetches that failed together do not come again together. */
static uint64_t pause_ms(const struct http_fetch *f)
{
    uint64_t full = (uint64_t)f->options.first_delay_ms << (f->tries - 1);
    uint64_t drawn = 0;
    if (getrandom(&drawn, sizeof drawn, GRND_NONBLOCK) != sizeof drawn)
        drawn = uv_hrtime();
    return full / 2 + drawn % (full / 2 + 1);
}

/* The try is over, its stream closed; why says why it failed unless there is a status. */
static void try_end(struct http_fetch *f)
{
    bool again = f->status == 0 || f->status == 408 || f->status == 429 || f->status >= 500;
    uv_timer_stop(&f->timer);
    if (!again || f->tries >= f->options.tries)
        fetch_done(f, f->status);
    else
        uv_timer_start(&f->timer, on_pause_over, pause_ms(f), 0);
}

/* The try has failed before it had a stream. */
static void try_fail(struct http_fetch *f)
{
    if (!f->ended)
        try_end(f);
    else
        fetch_free(f);
}

static void response_end(struct http_fetch *f)
{
    f->status = http1_head(&f->machine)->status;
    tcp_stream_close(&f->stream);
}

static void on_event(struct http_fetch *f, const struct http1_event *event)
{
    if (event->kind == HTTP1_HEAD)
        http1_body_max_set(&f->machine, HTTP_FETCH_RESPONSE_MAX);
    if (event->kind == HTTP1_END) {
        response_end(f);
    } else if (event->kind == HTTP1_ERROR && event->status == 413) {
        response_end(f); /* the status is all that counts */
    } else if (event->kind == HTTP1_ERROR) {
        error_set(&f->why, ATOLL_EIO, "the server does not speak proper HTTP: %s", event->reason);
        tcp_stream_close(&f->stream);
    }
}

static void on_input(void *owner, const uint8_t *data, size_t len)
{
    struct http_fetch *f = owner;
    struct http1_event event = {.kind = HTTP1_HEAD};
    size_t used = 0;
    while (event.kind != HTTP1_NONE && !f->stream.closing) {
        used += http1_read(&f->machine, data + used, len - used, &event);
        on_event(f, &event);
    }
}

static void on_ended(void *owner)
{
    struct http_fetch *f = owner;
    struct http1_event event;
    http1_read_end(&f->machine, &event);
    if (event.kind == HTTP1_END)
        response_end(f);
    else
        error_set(&f->why, ATOLL_ELOST, "the server closed before its response was complete");
    tcp_stream_close(&f->stream);
}

static void on_drained(void *owner)
{
    (void)owner;
}

static void on_closed(void *owner, const struct error *why)
{
    struct http_fetch *f = owner;
    f->stream_open = false;
    if (f->status == 0 && why->code != 0)
        f->why = *why;
    if (f->ended)
        fetch_free(f);
    else
        try_end(f);
}

static void on_try_late(uv_timer_t *timer)
{
    struct http_fetch *f = timer->data;
    error_set(&f->why, ATOLL_ETIMEDOUT, "%s port %u did not answer within %u ms",
              f->options.url.host, f->options.url.port, f->options.try_ms);
    if (f->stream_open)
        tcp_stream_close(&f->stream);
    else if (f->resolving)
        uv_cancel((uv_req_t *)&f->resolve); /* or it ends in its own time: a thread is busy */
}

static void on_connected(uv_connect_t *request, int status)
{
    struct http_fetch *f = request->data;
    if (f->stream.closing)
        return;
    if (status < 0) {
        error_set(&f->why, ATOLL_EUNAVAIL, "cannot reach %s port %u: %s", f->options.url.host,
                  f->options.url.port, uv_strerror(status));
        tcp_stream_close(&f->stream);
        return;
    }
    uv_tcp_nodelay(&f->stream.handle, 1);
    tcp_stream_read_start(&f->stream);
    if (!output_append(&f->stream.output, f->message.data, f->message.len)) {
        error_set(&f->why, ATOLL_ENOMEM, "out of memory for a request");
        tcp_stream_close(&f->stream);
        return;
    }
    tcp_stream_flush(&f->stream);
}

static void address_connect(struct http_fetch *f, const struct sockaddr *address)
{
    static const struct tcp_stream_events events = {on_input, on_ended, on_drained, on_closed};
    const struct url *u = &f->options.url;
    struct tls_session *tls = NULL;
    if (u->tls && tls_session_create(f->options.tls, u->host, &tls, &f->why) < 0) {
        try_fail(f);
        return;
    }
    http1_free(&f->machine);
    http1_init(&f->machine, HTTP1_CLIENT);
    if (f->options.method == HTTP_HEAD)
        http1_response_to_head(&f->machine);
    int result = tcp_stream_init(&f->stream, &f->pool, tls, &events, f, &f->why);
    f->stream_open = true;
    f->connect.data = f;
    if (result == 0)
        result = uv_tcp_connect(&f->connect, &f->stream.handle, address, on_connected);
    if (result < 0) {
        error_set(&f->why, ATOLL_EUNAVAIL, "cannot reach %s port %u", u->host, u->port);
        tcp_stream_close(&f->stream);
    }
}

/* Of the addresses that may be connected to, each try takes the next. */
static const struct sockaddr *address_choose(const struct http_fetch *f,
                                             const struct addrinfo *list)
{
    const struct sockaddr *allowed[HTTP_FETCH_ADDRESSES];
    unsigned count = 0;
    for (const struct addrinfo *a = list; a && count < HTTP_FETCH_ADDRESSES; a = a->ai_next) {
        if (!f->options.address_allowed ||
            f->options.address_allowed(f->options.context, a->ai_addr))
            allowed[count++] = a->ai_addr;
    }
    return count ? allowed[(f->tries - 1) % count] : NULL;
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *list)
{
    struct http_fetch *f = request->data;
    const struct sockaddr *address = NULL;
    f->resolving = false;
    if (f->ended) {
        uv_freeaddrinfo(list);
        fetch_free(f);
        return;
    }
    if (status == UV_ECANCELED && f->why.code == -ATOLL_ETIMEDOUT)
        ; /* the timer has said why */
    else if (status < 0)
        error_set(&f->why, ATOLL_ENOENT, "cannot find the host %s: %s", f->options.url.host,
                  uv_strerror(status));
    else if (!(address = address_choose(f, list)))
        error_set(&f->why, ATOLL_EPERM, "the host %s has no address that may be called",
                  f->options.url.host);
    if (address)
        address_connect(f, address);
    else
        try_fail(f);
    uv_freeaddrinfo(list);
}

static void try_begin(struct http_fetch *f)
{
    char port[8];
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    snprintf(port, sizeof port, "%u", f->options.url.port);
    f->tries++;
    f->status = 0;
    f->why = (struct error){0};
    f->resolve.data = f;
    f->resolving = true;
    uv_timer_start(&f->timer, on_try_late, f->options.try_ms, 0);
    int status =
        uv_getaddrinfo(f->loop, &f->resolve, on_resolved, f->options.url.host, port, &hints);
    if (status < 0) {
        f->resolving = false;
        error_set(&f->why, ATOLL_EIO, "cannot resolve %s: %s", f->options.url.host,
                  uv_strerror(status));
        try_fail(f);
    }
}

static int message_build(struct http_fetch *f, struct error *e)
{
    const struct http_fetch_options *o = &f->options;
    char authority[URL_AUTHORITY_MAX + 1];
    url_authority(&o->url, authority);
    struct http_request_head head = {
        .method = o->method,
        .target = o->url.target,
        .host = authority,
        .headers = o->headers,
        .header_count = o->header_count,
        .length = o->body_len,
    };
    int result = http_request_write(&f->message, &head, e);
    if (result == 0 && !buffer_append(&f->message, o->body, o->body_len))
        result = error_set(e, ATOLL_ENOMEM, "out of memory for a request");
    return result;
}

int http_fetch_start(uv_loop_t *loop, const struct http_fetch_options *options,
                     struct http_fetch **out, struct error *e)
{
    if (options->url.tls && !options->tls)
        return error_set(e, ATOLL_EINVAL, "%s asks for https, which is not set up here",
                         options->url.host);
    if (options->tries > HTTP_FETCH_TRIES_MAX)
        return error_set(e, ATOLL_EINVAL, "a request is tried %d times at most",
                         HTTP_FETCH_TRIES_MAX);
    struct http_fetch *f = calloc(1, sizeof *f);
    if (!f)
        return error_set(e, ATOLL_ENOMEM, "out of memory for a request");
    f->options = *options;
    f->options.tries = options->tries ? options->tries : HTTP_FETCH_TRIES;
    f->options.first_delay_ms =
        options->first_delay_ms ? options->first_delay_ms : HTTP_FETCH_FIRST_DELAY_MS;
    f->options.try_ms = options->try_ms ? options->try_ms : HTTP_FETCH_TRY_MS;
    f->loop = loop;
    http1_init(&f->machine, HTTP1_CLIENT);
    int result = message_build(f, e);
    if (result == 0)
        result = tcp_pool_init(&f->pool, loop, e);
    if (result < 0) {
        buffer_free(&f->message);
        free(f);
        return result;
    }
    f->options.headers = NULL; /* they are in the message now */
    f->options.body = NULL;
    uv_timer_init(loop, &f->timer);
    f->timer.data = f;
    /* Not at once: `done` never comes from within this call. */
    uv_timer_start(&f->timer, on_pause_over, 0, 0);
    *out = f;
    return 0;
}
