/* See links.h. Every connection lies in one list until the loop has closed its handle. */
#define _GNU_SOURCE
#include "ledger/service/links.h"

#include "ledger/service/address.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define READ_BYTES    (256u << 10)
#define TICK_MS       50u
#define BACKOFF_FIRST 1u /* ticks */
#define BACKOFF_LAST  40u
#define SLOT_BITS     12
_Static_assert(1 << SLOT_BITS == LINKS_CLIENTS_MAX, "slots of clients");

struct connection {
    struct links *links;
    struct connection *next, *previous;
    uv_tcp_t socket;
    uv_connect_t connecting;
    uv_write_t write;
    struct buffer writing; /* with the kernel */
    struct channel *channel;
    uint64_t number;       /* of a client; 0 else */
    uint64_t ready_before; /* loop time by which it must have said who it is */
    uint64_t heard_at;     /* loop time */
    bool known;            /* the handshake is done */
    bool dirty;            /* has something to send since the last flush */
    bool busy;             /* a write is under way */
    bool accepted, connected, closing;
};

struct peer {
    struct connection *link; /* NULL: none, or not known yet */
    bool dialled;            /* a connection of ours is under way or up */
    uint32_t wait, backoff;  /* ticks */
    struct sockaddr_storage address;
};

struct links {
    uv_loop_t *loop;
    const struct channel_identity *own;
    struct links_handler handler;
    void *context;
    uv_tcp_t listener;
    uv_timer_t tick;
    struct connection *first;
    struct peer peers[LEDGER_REPLICAS_MAX];
    struct connection *clients[LINKS_CLIENTS_MAX];
    uint64_t generation;
    uint32_t next_slot, strangers;
    struct links_counts counts;
    uint8_t *room; /* READ_BYTES, for the read in progress */
    unsigned open; /* handles of ours that are not closed */
    bool closing;
    void (*closed)(void *);
    void *closed_context;
};

/* ---- the end of a connection ---- */

static void links_free(struct links *l)
{
    void (*closed)(void *) = l->closed;
    void *context = l->closed_context;
    free(l->room);
    free(l);
    if (closed)
        closed(context);
}

static void handle_closed(uv_handle_t *handle)
{
    struct links *l = handle->data;
    if (--l->open == 0)
        links_free(l);
}

static void connection_closed(uv_handle_t *handle)
{
    struct connection *c = handle->data;
    struct links *l = c->links;
    *(c->previous ? &c->previous->next : &l->first) = c->next;
    if (c->next)
        c->next->previous = c->previous;
    channel_destroy(c->channel);
    buffer_free(&c->writing);
    free(c);
    if (--l->open == 0)
        links_free(l);
}

static struct peer *peer_of(struct links *l, uint16_t number)
{
    return number < l->own->configuration->replica_count ? &l->peers[number] : NULL;
}

static void connection_close(struct connection *c)
{
    struct links *l = c->links;
    if (c->closing)
        return;
    c->closing = true;
    l->strangers -= c->accepted && !c->known;
    struct peer *peer = peer_of(l, channel_peer(c->channel));
    if (peer && peer->link == c) {
        peer->link = NULL;
        l->counts.peers--;
    }
    if (peer && !c->accepted)
        peer->dialled = false;
    if (c->number != 0) {
        l->clients[c->number & (LINKS_CLIENTS_MAX - 1)] = NULL;
        l->counts.clients--;
        if (!l->closing)
            l->handler.client_gone(l->context, c->number);
    }
    uv_close((uv_handle_t *)&c->socket, connection_closed);
}

/* ---- writing ---- */

static void connection_flush(struct connection *c);

static void write_done(uv_write_t *write, int status)
{
    struct connection *c = write->data;
    c->busy = false;
    c->writing.len = 0;
    if (status < 0)
        connection_close(c);
    else
        connection_flush(c);
}

/* Gives the kernel what it takes at once; the rest moves into a buffer of its own, so that more can
 * be added meanwhile. */
static void connection_flush(struct connection *c)
{
    const struct buffer *out = channel_outgoing(c->channel);
    c->dirty = false;
    if (c->closing || c->busy || !c->connected || out->len == 0)
        return;
    uv_buf_t piece = uv_buf_init((char *)out->data, (unsigned)out->len);
    int sent = uv_try_write((uv_stream_t *)&c->socket, &piece, 1);
    if (sent < 0 && sent != UV_EAGAIN) {
        connection_close(c);
        return;
    }
    if (sent > 0) {
        c->links->counts.bytes_out += (uint64_t)sent;
        channel_sent(c->channel, (size_t)sent);
    }
    if (out->len == 0)
        return;
    if (!buffer_append(&c->writing, out->data, out->len)) {
        connection_close(c);
        return;
    }
    channel_sent(c->channel, out->len);
    piece = uv_buf_init((char *)c->writing.data, (unsigned)c->writing.len);
    c->write.data = c;
    c->busy = true;
    c->links->counts.bytes_out += c->writing.len;
    if (uv_write(&c->write, (uv_stream_t *)&c->socket, &piece, 1, write_done) != 0) {
        c->busy = false;
        connection_close(c);
    }
}

void links_flush(struct links *l)
{
    for (struct connection *c = l->first, *next; c; c = next) {
        next = c->next;
        if (c->dirty)
            connection_flush(c);
    }
}

/* False when it does not keep up or cannot be sent to. */
static bool connection_send(struct connection *c, const struct slice *parts, unsigned count)
{
    struct error e;
    c->dirty = true;
    size_t room = c->number ? LINKS_CLIENT_OUTGOING_MAX : LINKS_OUTGOING_MAX;
    return !c->closing && channel_outgoing(c->channel)->len + c->writing.len < room &&
           channel_send(c->channel, parts, count, &e) == 0;
}

void links_send(struct links *l, uint16_t to, const struct slice *parts, unsigned count)
{
    struct peer *peer = peer_of(l, to);
    if (peer == NULL || peer->link == NULL || !connection_send(peer->link, parts, count))
        l->counts.dropped++;
}

static struct connection *client_find(const struct links *l, uint64_t number)
{
    struct connection *c = l->clients[number & (LINKS_CLIENTS_MAX - 1)];
    return c && c->number == number ? c : NULL;
}

void links_reply(struct links *l, uint64_t connection, const struct slice *parts, unsigned count)
{
    struct connection *c = client_find(l, connection);
    if (c && connection_send(c, parts, count))
        return;
    l->counts.dropped++;
    if (c)
        c->ready_before = 0; /* the next tick closes it: it is not read from inside an event */
}

/* ---- reading ---- */

static void read_room(uv_handle_t *handle, size_t wanted, uv_buf_t *out)
{
    (void)wanted;
    struct connection *c = handle->data;
    *out = uv_buf_init((char *)c->links->room, READ_BYTES);
}

/* Clients need no key, so anybody can take all places: whoever was silent longest gives way. */
static void client_evict(struct links *l)
{
    struct connection *silent = l->clients[0];
    for (uint32_t i = 1; i < LINKS_CLIENTS_MAX; i++)
        if (l->clients[i] && (silent == NULL || l->clients[i]->heard_at < silent->heard_at))
            silent = l->clients[i];
    l->counts.refused++;
    connection_close(silent);
}

/* As with strangers: the one that came first has had the most time. */
static void stranger_evict(struct links *l)
{
    struct connection *first = NULL;
    for (struct connection *c = l->first; c; c = c->next)
        if (c->accepted && !c->known && !c->closing)
            first = c;
    if (first == NULL)
        return;
    l->counts.refused++;
    connection_close(first);
}

/* The handshake has told who it is. False when there is no place for it. */
static bool connection_known(struct connection *c)
{
    struct links *l = c->links;
    uint16_t number = channel_peer(c->channel);
    struct peer *peer = peer_of(l, number);
    c->known = true;
    l->strangers -= c->accepted;
    if (peer) {
        struct connection *old = peer->link;
        if (c->accepted && number <= l->own->role)
            return false; /* it is we who connect to those, and never to ourselves */
        peer->link = c;
        peer->backoff = BACKOFF_FIRST;
        if (old)
            connection_close(old);
        else
            l->counts.peers++;
        return true;
    }
    if (l->counts.clients == LINKS_CLIENTS_MAX)
        client_evict(l);
    for (uint32_t i = 0; i < LINKS_CLIENTS_MAX; i++) {
        uint32_t slot = l->next_slot++ & (LINKS_CLIENTS_MAX - 1);
        if (l->clients[slot])
            continue;
        l->clients[slot] = c;
        c->number = ++l->generation << SLOT_BITS | slot;
        l->counts.clients++;
        return true;
    }
    return false;
}

static void message_take(void *context, struct slice message)
{
    struct connection *c = context;
    struct links *l = c->links;
    if (c->closing)
        return;
    if (!c->known && !connection_known(c)) {
        l->counts.refused++;
        connection_close(c); /* the messages behind this one are nobody's */
        return;
    }
    c->heard_at = uv_now(l->loop);
    if (c->number != 0)
        l->handler.client(l->context, c->number, message);
    else
        l->handler.peer(l->context, channel_peer(c->channel), message);
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
    c->links->counts.bytes_in += (uint64_t)got;
    int rc = channel_receive(c->channel, bytes->base, (size_t)got, message_take, c, &e);
    if (rc == 0 && !c->known && channel_ready(c->channel) && !connection_known(c))
        rc = -ATOLL_ELIMIT;
    c->dirty = true; /* the handshake's answer */
    if (rc != 0) {
        c->links->counts.refused++;
        connection_close(c);
    } else if (!c->known) {
        connection_flush(c);
    }
}

/* ---- beginning ---- */

static struct connection *connection_create(struct links *l)
{
    struct connection *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->links = l;
    uv_tcp_init(l->loop, &c->socket);
    c->socket.data = c;
    l->open++;
    c->heard_at = uv_now(l->loop);
    c->ready_before = c->heard_at + LINKS_HANDSHAKE_MS;
    c->next = l->first;
    if (l->first)
        l->first->previous = c;
    l->first = c;
    return c;
}

/* Of one that has no channel yet. */
static void connection_abandon(struct connection *c)
{
    c->closing = true;
    uv_close((uv_handle_t *)&c->socket, connection_closed);
}

static void connection_start(struct connection *c)
{
    unsigned silence = LINKS_SILENCE_MS;
    int fd;
    c->connected = true;
    uv_tcp_nodelay(&c->socket, 1);
    uv_tcp_keepalive(&c->socket, 1, LINKS_SILENCE_MS / 1000);
    /* Without it the kernel tries for a quarter of an hour, with ever longer pauses. */
    if (uv_fileno((uv_handle_t *)&c->socket, &fd) == 0)
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &silence, sizeof silence);
    if (uv_read_start((uv_stream_t *)&c->socket, read_room, read_done) != 0)
        connection_close(c);
    else
        connection_flush(c);
}

static void accepted(uv_stream_t *listener, int status)
{
    struct links *l = listener->data;
    struct error e;
    struct connection *c = status == 0 ? connection_create(l) : NULL;
    if (c == NULL)
        return;
    if (l->strangers == LINKS_STRANGERS_MAX)
        stranger_evict(l);
    if (uv_accept(listener, (uv_stream_t *)&c->socket) != 0 ||
        l->strangers == LINKS_STRANGERS_MAX || channel_accept(l->own, &c->channel, &e) != 0) {
        connection_abandon(c);
        return;
    }
    c->accepted = true;
    l->strangers++;
    connection_start(c);
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

static void peer_dial(struct links *l, uint16_t number)
{
    struct peer *peer = &l->peers[number];
    struct error e;
    peer->wait = peer->backoff;
    peer->backoff = 2 * peer->backoff < BACKOFF_LAST ? 2 * peer->backoff : BACKOFF_LAST;
    struct connection *c = connection_create(l);
    if (c == NULL)
        return;
    if (channel_connect(l->own, number, &c->channel, &e) != 0) {
        connection_abandon(c);
        return;
    }
    peer->dialled = true;
    c->connecting.data = c;
    if (uv_tcp_connect(&c->connecting, &c->socket, (struct sockaddr *)&peer->address, dialled) != 0)
        connection_close(c);
}

static size_t connection_held(const struct connection *c)
{
    return channel_held(c->channel) + c->writing.len;
}

/* While all clients together hold too much, whoever holds most goes. */
static void clients_bound(struct links *l)
{
    for (;;) {
        struct connection *most = NULL;
        size_t sum = 0;
        for (struct connection *c = l->first; c; c = c->next) {
            if (c->number == 0 || c->closing)
                continue;
            sum += connection_held(c);
            if (most == NULL || connection_held(c) > connection_held(most))
                most = c;
        }
        if (sum <= LINKS_CLIENTS_BYTES)
            return;
        l->counts.refused++;
        connection_close(most);
    }
}

/* Dials whom we should and are not connected to; closes who has been silent for too long. */
static void tick(uv_timer_t *timer)
{
    struct links *l = timer->data;
    for (uint16_t i = 0; i < l->own->role; i++) {
        struct peer *peer = &l->peers[i];
        if (peer->dialled)
            continue;
        if (peer->wait > 0)
            peer->wait--;
        else
            peer_dial(l, i);
    }
    for (struct connection *c = l->first, *next; c; c = next) {
        next = c->next;
        if (c->ready_before == 0 || (!c->known && uv_now(l->loop) > c->ready_before))
            connection_close(c);
    }
    clients_bound(l);
}

static int links_listen(struct links *l, const char *address, struct error *e)
{
    struct sockaddr_storage at;
    int rc = address_parse(address, strlen(address), &at, e);
    if (rc != 0)
        return rc;
    rc = uv_tcp_bind(&l->listener, (struct sockaddr *)&at, 0);
    if (rc == 0)
        rc = uv_listen((uv_stream_t *)&l->listener, 512, accepted);
    return rc == 0
               ? 0
               : error_set(e, ATOLL_EUNAVAIL, "cannot listen at %s: %s", address, uv_strerror(rc));
}

int links_open(uv_loop_t *loop, const struct channel_identity *own, const char *address,
               const struct links_handler *handler, void *context, struct links **out,
               struct error *e)
{
    struct links *l = calloc(1, sizeof *l);
    *out = NULL;
    if (l == NULL || (l->room = malloc(READ_BYTES)) == NULL) {
        free(l);
        return error_set(e, ATOLL_ENOMEM, "no memory for connections");
    }
    l->loop = loop;
    l->own = own;
    l->handler = *handler;
    l->context = context;
    uv_tcp_init(loop, &l->listener);
    uv_timer_init(loop, &l->tick);
    l->listener.data = l->tick.data = l;
    l->open = 2;
    const struct ledger_configuration *all = own->configuration;
    int rc = 0;
    for (uint32_t i = 0; i < all->replica_count && rc == 0; i++) {
        const struct slice *text = &all->replicas[i].address;
        l->peers[i].backoff = BACKOFF_FIRST;
        rc = address_parse((const char *)text->data, text->len, &l->peers[i].address, e);
    }
    char ours[LEDGER_ADDRESS_MAX + 1];
    const struct slice *text = &all->replicas[own->role].address;
    snprintf(ours, sizeof ours, "%.*s", (int)text->len, (const char *)text->data);
    if (rc == 0)
        rc = links_listen(l, address ? address : ours, e);
    if (rc == 0)
        rc = uv_timer_start(&l->tick, tick, 0, TICK_MS);
    if (rc != 0) {
        links_close(l, NULL, NULL);
        return rc;
    }
    *out = l;
    return 0;
}

void links_close(struct links *l, void (*closed)(void *), void *context)
{
    l->closing = true;
    l->closed = closed;
    l->closed_context = context;
    for (struct connection *c = l->first, *next; c; c = next) {
        next = c->next;
        connection_close(c);
    }
    uv_close((uv_handle_t *)&l->listener, handle_closed);
    uv_close((uv_handle_t *)&l->tick, handle_closed);
}

struct links_counts links_counts(const struct links *l)
{
    return l->counts;
}
