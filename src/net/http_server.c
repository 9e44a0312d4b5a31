/*
 * The server: listeners and the connection cap, deadlines, draining and closing.
 *
 * Deadlines: every kind of wait has one duration, so a connection that begins to wait goes to the
 * end of its kind's list and the first of each list is the next to expire. One timer of the loop,
 * set to the earliest of these, serves all; setting a deadline costs two pointers, not a heap.
 *
 * Work that must not be done inside a call of the handler (reading on, telling it something) is put
 * off: the connection goes on the ready list, and an idle handle of the loop works it off in the
 * same turn, before the loop waits again.
 */
#include "net/http_server.h"

#include "net/http_connection.h"

#include <assert.h>
#include <stdlib.h>

#define BACKLOG 1024

/* ---- deadlines ---- */

static uint32_t wait_ms(const struct http_server *server, enum http_wait wait)
{
    switch (wait) {
    case HTTP_WAIT_HEAD: return server->options.head_ms;
    case HTTP_WAIT_BODY:
    case HTTP_WAIT_WRITE: return server->options.body_ms;
    case HTTP_WAIT_IDLE: return server->options.keep_alive_ms;
    default: return server->options.linger_ms;
    }
}

static void on_timer(uv_timer_t *timer);

static void timer_set(struct http_server *server, uint64_t due)
{
    if (server->closing || (server->timer_due != 0 && server->timer_due <= due))
        return;
    uint64_t now = uv_now(server->loop);
    server->timer_due = due;
    uv_timer_start(&server->timer, on_timer, due > now ? due - now : 0, 0);
}

static void wait_unlink(struct http_server *server, struct http_connection *c)
{
    if (c->wait == HTTP_WAIT_NONE)
        return;
    if (c->wait_before)
        c->wait_before->wait_next = c->wait_next;
    else
        server->waits[c->wait].first = c->wait_next;
    if (c->wait_next)
        c->wait_next->wait_before = c->wait_before;
    else
        server->waits[c->wait].last = c->wait_before;
    c->wait = HTTP_WAIT_NONE;
}

void http_server_wait(struct http_server *server, struct http_connection *c, enum http_wait wait)
{
    wait_unlink(server, c);
    if (wait == HTTP_WAIT_NONE)
        return;
    c->wait = wait;
    c->deadline = uv_now(server->loop) + wait_ms(server, wait);
    c->progress = tcp_stream_progress(&c->stream);
    c->wait_next = NULL;
    c->wait_before = server->waits[wait].last;
    if (c->wait_before)
        c->wait_before->wait_next = c;
    else
        server->waits[wait].first = c;
    server->waits[wait].last = c;
    timer_set(server, c->deadline);
}

static void accept_resume(struct http_server *server);

static void on_timer(uv_timer_t *timer)
{
    struct http_server *server = timer->data;
    uint64_t now = uv_now(server->loop);
    server->timer_due = 0;
    accept_resume(server);
    for (int wait = HTTP_WAIT_NONE + 1; wait < HTTP_WAITS; wait++) {
        struct http_connection *c;
        while ((c = server->waits[wait].first) && c->deadline <= now) {
            wait_unlink(server, c);
            http_connection_expire(c);
        }
        if (c)
            timer_set(server, c->deadline);
    }
}

/* ---- work that was put off ---- */

static void on_idle(uv_idle_t *idle)
{
    struct http_server *server = idle->data;
    uv_idle_stop(idle);
    /* Those that become ready meanwhile have their turn in the next one. */
    server->running = server->ready;
    server->ready = NULL;
    while (server->running) {
        struct http_connection *c = server->running;
        server->running = c->ready_next;
        c->ready = false;
        http_connection_run(c);
    }
}

static void ready_unlink(struct http_connection **list, struct http_connection *c)
{
    while (*list && *list != c)
        list = &(*list)->ready_next;
    if (*list)
        *list = c->ready_next;
}

void http_server_ready(struct http_server *server, struct http_connection *c)
{
    if (c->ready || c->stream_closed || server->closing)
        return;
    c->ready = true;
    c->ready_next = server->ready;
    server->ready = c;
    uv_idle_start(&server->idle, on_idle);
}

const char *http_server_date(struct http_server *server)
{
    time_t now = time(NULL);
    if (now != server->date_second) {
        server->date_second = now;
        http_date(now, server->date);
    }
    return server->date;
}

/* ---- connections ---- */

static void accept_resume(struct http_server *server)
{
    for (unsigned i = 0; i < server->listener_count; i++) {
        struct http_listener *l = &server->listeners[i];
        if (!l->open || !l->paused || server->counts.connections >= server->options.connections)
            continue;
        l->paused = false;
        http_connection_accept(l);
    }
}

static void on_connection(uv_stream_t *handle, int status)
{
    struct http_listener *l = handle->data;
    if (status < 0)
        return; /* the peer gave up, or descriptors ran out: libuv sheds those itself */
    if (l->server->counts.connections >= l->server->options.connections)
        l->paused = true; /* not accepting is what pauses the listener */
    else
        http_connection_accept(l);
}

static void drained_tell(struct http_server *server)
{
    void (*drained)(void *) = server->drained;
    if (!drained || server->first)
        return;
    server->drained = NULL;
    uv_timer_stop(&server->drain_timer);
    drained(server->drained_context);
}

static void server_free(struct http_server *server)
{
    if (server->handles_open > 0 || server->first)
        return;
    void (*closed)(void *) = server->closed;
    void *context = server->closed_context;
    tcp_pool_free(&server->pool);
    buffer_free(&server->scratch);
    free(server);
    if (closed)
        closed(context);
}

void http_server_forget(struct http_server *server, struct http_connection *c)
{
    assert(c->stream_closed && !c->held);
    wait_unlink(server, c);
    if (c->ready) {
        ready_unlink(&server->ready, c);
        ready_unlink(&server->running, c);
    }
    if (c->before)
        c->before->next = c->next;
    else
        server->first = c->next;
    if (c->next)
        c->next->before = c->before;
    server->collected -= c->body.len;
    http1_free(&c->machine);
    buffer_free(&c->body);
    buffer_free(&c->pending);
    free(c);
    server->counts.connections--;
    if (server->closing) {
        server_free(server);
        return;
    }
    accept_resume(server);
    drained_tell(server);
}

void http_server_accept_later(struct http_server *server)
{
    timer_set(server, uv_now(server->loop) + 1000);
}

/* ---- life ---- */

static uint32_t or_default(uint32_t value, uint32_t otherwise)
{
    return value ? value : otherwise;
}

int http_server_create(uv_loop_t *loop, const struct http_server_options *options,
                       struct http_server **out, struct error *e)
{
    assert(options->handler && options->handler->request);
    struct http_server *server = calloc(1, sizeof *server);
    if (!server)
        return error_set(e, ATOLL_ENOMEM, "out of memory for a server");
    int result = tcp_pool_init(&server->pool, loop, e);
    if (result < 0) {
        free(server);
        return result;
    }
    struct http_server_options *o = &server->options;
    *o = *options;
    o->connections = or_default(o->connections, HTTP_SERVER_CONNECTIONS);
    o->head_ms = or_default(o->head_ms, HTTP_SERVER_HEAD_MS);
    o->body_ms = or_default(o->body_ms, HTTP_SERVER_BODY_MS);
    o->keep_alive_ms = or_default(o->keep_alive_ms, HTTP_SERVER_KEEP_ALIVE_MS);
    o->linger_ms = or_default(o->linger_ms, HTTP_SERVER_LINGER_MS);
    o->body_max = o->body_max ? o->body_max : HTTP1_BODY_MAX;
    o->bodies_bytes = o->bodies_bytes ? o->bodies_bytes : HTTP_SERVER_BODIES_BYTES;
    server->loop = loop;
    uv_timer_init(loop, &server->timer);
    uv_timer_init(loop, &server->drain_timer);
    uv_idle_init(loop, &server->idle);
    server->timer.data = server->drain_timer.data = server->idle.data = server;
    server->handles_open = 3;
    *out = server;
    return 0;
}

static int address_parse(const char *text, uint16_t port, struct sockaddr_storage *out)
{
    int status = uv_ip4_addr(text, port, (struct sockaddr_in *)out);
    return status == 0 ? 0 : uv_ip6_addr(text, port, (struct sockaddr_in6 *)out);
}

static uint16_t bound_port(uv_tcp_t *handle)
{
    struct sockaddr_storage own;
    int len = sizeof own;
    if (uv_tcp_getsockname(handle, (struct sockaddr *)&own, &len) < 0)
        return 0;
    return ntohs(own.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&own)->sin6_port
                                           : ((struct sockaddr_in *)&own)->sin_port);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct http_server *server = handle->data;
    server->handles_open--;
    if (server->closing)
        server_free(server);
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct http_listener *l = handle->data;
    handle->data = l->server;
    on_handle_closed(handle);
}

static void listener_close(struct http_listener *l)
{
    if (!l->open)
        return;
    l->open = false;
    uv_close((uv_handle_t *)&l->handle, on_listener_closed);
}

int http_server_listen(struct http_server *server, const char *address, uint16_t port,
                       struct tls_context *tls, uint16_t *bound, struct error *e)
{
    struct sockaddr_storage where;
    const char *text = address ? address : "127.0.0.1";
    if (server->draining || server->closing)
        return error_set(e, ATOLL_EBUSY, "the server is ending");
    if (server->listener_count == HTTP_SERVER_LISTENERS)
        return error_set(e, ATOLL_ELIMIT, "a server listens on %d addresses at most",
                         HTTP_SERVER_LISTENERS);
    if (address_parse(text, port, &where) < 0)
        return error_set(e, ATOLL_EINVAL, "%s is no numeric IPv4 or IPv6 address to listen on",
                         text);
    struct http_listener *l = &server->listeners[server->listener_count];
    *l = (struct http_listener){.server = server, .tls = tls};
    uv_tcp_init(server->loop, &l->handle);
    server->listener_count++;
    server->handles_open++;
    l->open = true;
    l->handle.data = l;
    int status = uv_tcp_bind(&l->handle, (struct sockaddr *)&where, 0);
    if (status == 0)
        status = uv_listen((uv_stream_t *)&l->handle, BACKLOG, on_connection);
    if (status < 0) {
        listener_close(l);
        int code = status == UV_EADDRINUSE ? ATOLL_EBUSY
                   : status == UV_EACCES   ? ATOLL_EPERM
                                           : ATOLL_EIO;
        return error_set(
            e, code, "cannot listen on %s port %u: %s%s", text, port, uv_strerror(status),
            code == ATOLL_EBUSY ? "; choose another port or stop the other program" : "");
    }
    if (bound)
        *bound = bound_port(&l->handle);
    return 0;
}

static void connections_close(struct http_server *server)
{
    for (struct http_connection *c = server->first; c; c = c->next)
        tcp_stream_close(&c->stream);
}

static void on_drain_timer(uv_timer_t *timer)
{
    struct http_server *server = timer->data;
    connections_close(server);
    drained_tell(server);
}

void http_server_drain(struct http_server *server, uint32_t timeout_ms,
                       void (*drained)(void *context), void *context)
{
    assert(!server->draining && !server->closing);
    server->draining = true;
    server->drained = drained;
    server->drained_context = context;
    for (unsigned i = 0; i < server->listener_count; i++)
        listener_close(&server->listeners[i]);
    for (struct http_connection *c = server->first; c; c = c->next)
        http_connection_drain(c);
    /* Without connections the timer is only the way not to call back from in here. */
    if (!server->first)
        timeout_ms = 0;
    if (timeout_ms != UINT32_MAX)
        uv_timer_start(&server->drain_timer, on_drain_timer, timeout_ms, 0);
}

void http_server_close(struct http_server *server, void (*closed)(void *context), void *context)
{
    assert(!server->closing);
    server->closing = true;
    server->closed = closed;
    server->closed_context = context;
    for (unsigned i = 0; i < server->listener_count; i++)
        listener_close(&server->listeners[i]);
    connections_close(server);
    uv_close((uv_handle_t *)&server->timer, on_handle_closed);
    uv_close((uv_handle_t *)&server->drain_timer, on_handle_closed);
    uv_close((uv_handle_t *)&server->idle, on_handle_closed);
}

struct http_server_counts http_server_counts(const struct http_server *server)
{
    struct http_server_counts counts = server->counts;
    for (const struct http_connection *c = server->first; c; c = c->next) {
        counts.bytes_in += c->stream.bytes_in;
        counts.bytes_out += c->stream.bytes_out;
    }
    return counts;
}
