/* See connection.h. */
#define _GNU_SOURCE
#include "ledger/service/connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>

/* ---- the end ---- */

/* The socket is closed, or the look-up over: behind the second one it is its owner's again. */
static void part_ended(struct connection *c)
{
    if (!c->let_go || c->looking_up)
        return;
    channel_destroy(c->channel);
    c->channel = NULL;
    buffer_free(&c->writing);
    c->host->events->closed(c);
}

static void handle_closed(uv_handle_t *handle)
{
    struct connection *c = handle->data;
    c->let_go = true;
    part_ended(c);
}

static void connection_end(struct connection *c, bool bad)
{
    if (c->closing)
        return;
    c->closing = true;
    if (c->looking_up)
        address_lookup_cancel(&c->lookup);
    c->host->events->closing(c, bad);
    uv_close((uv_handle_t *)&c->socket, handle_closed);
}

void connection_close(struct connection *c)
{
    connection_end(c, false);
}

/* ---- writing ---- */

static void write_done(uv_write_t *write, int status)
{
    struct connection *c = write->data;
    c->busy = false;
    c->writing.len = 0;
    if (c->writing.capacity > CHANNEL_SPARE)
        buffer_free(&c->writing);
    c->dirty = true; /* what gathered meanwhile */
    if (status < 0)
        connection_close(c);
    else
        connection_flush(c);
}

/* Hands all that the kernel did not take at once over to it. False: it cannot be. */
static bool rest_write(struct connection *c, const struct buffer *out)
{
    if (!buffer_append(&c->writing, out->data, out->len))
        return false;
    channel_sent(c->channel, out->len);
    uv_buf_t piece = uv_buf_init((char *)c->writing.data, (unsigned)c->writing.len);
    c->write.data = c;
    c->host->bytes_out += c->writing.len;
    c->busy = uv_write(&c->write, (uv_stream_t *)&c->socket, &piece, 1, write_done) == 0;
    return c->busy;
}

void connection_flush(struct connection *c)
{
    if (!c->dirty || c->closing || c->busy || !c->connected)
        return;
    const struct buffer *out = channel_outgoing(c->channel);
    c->dirty = false;
    if (out->len == 0)
        return;
    uv_buf_t piece = uv_buf_init((char *)out->data, (unsigned)out->len);
    int sent = uv_try_write((uv_stream_t *)&c->socket, &piece, 1);
    if (sent > 0) {
        c->host->bytes_out += (uint64_t)sent;
        channel_sent(c->channel, (size_t)sent);
    }
    if ((sent < 0 && sent != UV_EAGAIN) || (out->len > 0 && !rest_write(c, out)))
        connection_close(c);
}

bool connection_send(struct connection *c, const struct slice *parts, unsigned count, size_t room)
{
    struct error e;
    if (c->closing || !c->known || channel_outgoing(c->channel)->len + c->writing.len >= room ||
        channel_send(c->channel, parts, count, &e) != 0)
        return false;
    c->dirty = true;
    return true;
}

size_t connection_held(const struct connection *c)
{
    return (c->channel ? channel_held(c->channel) : 0) + c->writing.capacity;
}

/* ---- reading ---- */

static void read_room(uv_handle_t *handle, size_t wanted, uv_buf_t *out)
{
    (void)wanted;
    struct connection *c = handle->data;
    *out = uv_buf_init((char *)c->host->room, CONNECTION_READ_BYTES);
}

/* Tells the owner, once, who it is. */
static void introduce(struct connection *c)
{
    if (c->known || c->closing)
        return;
    c->known = true;
    if (!c->host->events->known(c))
        connection_end(c, true);
}

static void message_take(void *context, struct slice message)
{
    struct connection *c = context;
    introduce(c);
    if (!c->closing) /* the messages behind its end are nobody's */
        c->host->events->message(c, message);
}

static void read_done(uv_stream_t *stream, ssize_t got, const uv_buf_t *bytes)
{
    struct connection *c = stream->data;
    struct error e;
    if (got == 0 || c->closing)
        return;
    if (got < 0) {
        connection_close(c);
        return;
    }
    c->host->bytes_in += (uint64_t)got;
    bool answer = !c->known; /* the handshake's may have to go out */
    int rc = channel_receive(c->channel, bytes->base, (size_t)got, message_take, c, &e);
    if (rc != 0) {
        connection_end(c, true);
        return;
    }
    if (!answer)
        return;
    c->dirty = true;
    if (channel_ready(c->channel))
        introduce(c);
    connection_flush(c);
}

/* ---- beginning ---- */

static void connection_init(struct connection *c, struct connection_host *host, void *owner)
{
    *c = (struct connection){.host = host, .owner = owner, .dirty = true};
    uv_tcp_init(host->loop, &c->socket);
    c->socket.data = c;
}

static void connection_start(struct connection *c)
{
    unsigned silence = CONNECTION_SILENCE_MS;
    int fd;
    c->connected = true;
    uv_tcp_nodelay(&c->socket, 1);
    uv_tcp_keepalive(&c->socket, 1, CONNECTION_SILENCE_MS / 1000);
    /* Without it the kernel tries for a quarter of an hour, with ever longer pauses. */
    if (uv_fileno((uv_handle_t *)&c->socket, &fd) == 0)
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &silence, sizeof silence);
    if (uv_read_start((uv_stream_t *)&c->socket, read_room, read_done) != 0)
        connection_close(c);
    else
        connection_flush(c);
}

static void dialled(uv_connect_t *connecting, int status)
{
    struct connection *c = connecting->data;
    if (c->closing)
        return;
    if (status != 0)
        connection_close(c);
    else
        connection_start(c);
}

static void looked_up(struct address_lookup *lookup, const struct sockaddr *to)
{
    struct connection *c =
        (struct connection *)((char *)lookup - offsetof(struct connection, lookup));
    c->looking_up = false;
    if (c->closing)
        part_ended(c);
    else if (to == NULL || uv_tcp_connect(&c->connecting, &c->socket, to, dialled) != 0)
        connection_close(c);
}

int connection_dial(struct connection *c, struct connection_host *host, void *owner, uint16_t peer,
                    struct error *e)
{
    const struct slice *text = &host->own->configuration->replicas[peer].address;
    struct sockaddr_storage to;
    struct channel *channel;
    int rc = channel_connect(host->own, peer, &channel, e);
    if (rc != 0)
        return rc;
    connection_init(c, host, owner);
    c->channel = channel;
    c->connecting.data = c;
    rc = address_numeric((const char *)text->data, text->len, &to, e);
    if (rc == 0)
        rc = uv_tcp_connect(&c->connecting, &c->socket, (struct sockaddr *)&to, dialled);
    else if (rc == -ATOLL_ENOENT)
        rc = address_look_up(host->loop, &c->lookup, (const char *)text->data, text->len, looked_up,
                             e);
    c->looking_up = rc == 0 && c->lookup.found;
    if (rc != 0)
        connection_close(c);
    return 0;
}

static bool admitted(struct connection *c)
{
    struct sockaddr_storage from;
    int len = sizeof from;
    bool (*admit)(struct connection *, const struct sockaddr *) = c->host->events->admit;
    return admit == NULL || (uv_tcp_getpeername(&c->socket, (struct sockaddr *)&from, &len) == 0 &&
                             admit(c, (const struct sockaddr *)&from));
}

void connection_accept(struct connection *c, struct connection_host *host, void *owner,
                       uv_stream_t *listener)
{
    struct error e;
    connection_init(c, host, owner);
    if (uv_accept(listener, (uv_stream_t *)&c->socket) != 0 || !admitted(c) ||
        channel_accept(host->own, &c->channel, &e) != 0)
        connection_close(c);
    else
        connection_start(c);
}
