/* See links.h. Every connection lies in one list until the loop has closed its handle. */
#include "ledger/service/links.h"

#include "ledger/service/address.h"
#include "ledger/service/admission.h"
#include "ledger/service/connection.h"

#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define TICK_MS       50u
#define BACKOFF_FIRST 1u /* ticks */
#define BACKOFF_LAST  40u
#define LOOK_UP_TICKS 600u /* 30 s */
#define SLOT_BITS     12
#define ROOM_LEAST    32u /* for strangers and clients, however few descriptors there are */
_Static_assert(1 << SLOT_BITS == LINKS_CLIENTS_MAX, "slots of clients");

/* A connection, and what it is to us. */
struct link {
    struct connection connection;
    struct links *links;
    struct link *next, *previous;
    uint64_t number;       /* of a client; 0 else */
    uint64_t ready_before; /* loop time by which it must have said who it is; 0: let go of it */
    uint64_t heard_at;     /* loop time */
    bool accepted;
    bool dialling; /* a peer's that we connect to, until it ends */
    uint16_t to;   /* that peer */
};

struct peer {
    struct link *link;      /* NULL: none, or not known yet */
    bool dialled;           /* a connection of ours is under way or up */
    uint32_t wait, backoff; /* ticks */
    /* Where it is, for admission; family 0 while its name is not known. */
    struct sockaddr_storage address;
    struct address_lookup lookup;
    struct links *links;
    bool looking_up, named;
};

struct links {
    uv_loop_t *loop;
    const struct channel_identity *own;
    struct links_handler handler;
    void *context;
    uv_tcp_t listener;
    uv_timer_t tick;
    struct link *first;
    struct peer peers[LEDGER_REPLICAS_MAX];
    struct link *clients[LINKS_CLIENTS_MAX];
    uint64_t generation, ticks;
    uint32_t next_slot, strangers;
    uint32_t strangers_max, clients_max;
    struct links_counts counts;
    struct admission admission;
    struct connection_host host;
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

static void link_closed(struct connection *c)
{
    struct link *link = c->owner;
    struct links *l = link->links;
    *(link->previous ? &link->previous->next : &l->first) = link->next;
    if (link->next)
        link->next->previous = link->previous;
    free(link);
    if (--l->open == 0)
        links_free(l);
}

static struct peer *peer_of(struct links *l, uint16_t number)
{
    return number < l->own->configuration->replica_count ? &l->peers[number] : NULL;
}

static void link_closing(struct connection *c, bool bad)
{
    struct link *link = c->owner;
    struct links *l = link->links;
    struct peer *peer = c->channel ? peer_of(l, channel_peer(c->channel)) : NULL;
    l->counts.refused += bad;
    l->strangers -= link->accepted && !c->known;
    if (peer && peer->link == link) {
        peer->link = NULL;
        l->counts.peers--;
    }
    if (link->dialling)
        l->peers[link->to].dialled = false;
    if (link->number == 0)
        return;
    l->clients[link->number & (LINKS_CLIENTS_MAX - 1)] = NULL;
    l->counts.clients--;
    if (!l->closing)
        l->handler.client_gone(l->context, link->number);
}

/* ---- sending ---- */

void links_flush(struct links *l)
{
    /* What closes stays in the list until the loop runs. */
    for (struct link *link = l->first; link; link = link->next)
        connection_flush(&link->connection);
}

/* False when it does not keep up or cannot be sent to. */
static bool link_send(struct link *link, const struct slice *parts, unsigned count)
{
    size_t room = link->number ? LINKS_CLIENT_OUTGOING_MAX : LINKS_OUTGOING_MAX;
    return connection_send(&link->connection, parts, count, room);
}

void links_send(struct links *l, uint16_t to, const struct slice *parts, unsigned count)
{
    struct peer *peer = peer_of(l, to);
    if (peer == NULL || peer->link == NULL || !link_send(peer->link, parts, count))
        l->counts.dropped++;
}

static struct link *client_find(const struct links *l, uint64_t number)
{
    struct link *link = l->clients[number & (LINKS_CLIENTS_MAX - 1)];
    return link && link->number == number ? link : NULL;
}

void links_reply(struct links *l, uint64_t connection, const struct slice *parts, unsigned count)
{
    struct link *link = client_find(l, connection);
    if (link && link_send(link, parts, count))
        return;
    l->counts.dropped++;
    if (link)
        link->ready_before = 0; /* the next tick closes it: it is not read from inside an event */
}

/* ---- who it is ---- */

/* Clients need no key, so anybody can take all places: whoever was silent longest gives way. */
static void client_evict(struct links *l)
{
    struct link *silent = l->clients[0];
    for (uint32_t i = 1; i < LINKS_CLIENTS_MAX; i++)
        if (l->clients[i] && (silent == NULL || l->clients[i]->heard_at < silent->heard_at))
            silent = l->clients[i];
    l->counts.refused++;
    connection_close(&silent->connection);
}

/* As with strangers: the one that came first has had the most time. */
static void stranger_evict(struct links *l)
{
    struct link *first = NULL;
    for (struct link *link = l->first; link; link = link->next)
        if (link->accepted && !link->connection.known && !link->connection.closing)
            first = link;
    if (first == NULL)
        return;
    l->counts.refused++;
    connection_close(&first->connection);
}

static bool client_place(struct links *l, struct link *link)
{
    if (l->counts.clients >= l->clients_max)
        client_evict(l);
    for (uint32_t i = 0; i < LINKS_CLIENTS_MAX; i++) {
        uint32_t slot = l->next_slot++ & (LINKS_CLIENTS_MAX - 1);
        if (l->clients[slot])
            continue;
        l->clients[slot] = link;
        link->number = ++l->generation << SLOT_BITS | slot;
        l->counts.clients++;
        return true;
    }
    return false;
}

/* The handshake has told who it is. False when there is no place for it. */
static bool link_known(struct connection *c)
{
    struct link *link = c->owner;
    struct links *l = link->links;
    uint16_t number = channel_peer(c->channel);
    struct peer *peer = peer_of(l, number);
    l->strangers -= link->accepted;
    if (!peer)
        return client_place(l, link);
    if (link->accepted && number <= l->own->role)
        return false; /* it is we who connect to those, and never to ourselves */
    struct link *old = peer->link;
    peer->link = link;
    peer->backoff = BACKOFF_FIRST;
    if (old)
        connection_close(&old->connection);
    else
        l->counts.peers++;
    if (l->handler.peer_ready)
        l->handler.peer_ready(l->context, number);
    return true;
}

static void link_message(struct connection *c, struct slice message)
{
    struct link *link = c->owner;
    struct links *l = link->links;
    link->heard_at = uv_now(l->loop);
    if (link->number != 0)
        l->handler.client(l->context, link->number, message);
    else
        l->handler.peer(l->context, channel_peer(c->channel), message);
}

/* ---- beginning ---- */

static struct link *link_create(struct links *l)
{
    struct link *link = calloc(1, sizeof *link);
    if (link == NULL)
        return NULL;
    link->links = l;
    l->open++;
    link->heard_at = uv_now(l->loop);
    link->ready_before = link->heard_at + LINKS_HANDSHAKE_MS;
    link->next = l->first;
    if (l->first)
        l->first->previous = link;
    l->first = link;
    return link;
}

/* Of one that has not begun. */
static void link_abandon(struct link *link)
{
    struct links *l = link->links;
    l->first = link->next; /* it came last */
    if (l->first)
        l->first->previous = NULL;
    l->open--;
    free(link);
}

static bool link_admit(struct connection *c, const struct sockaddr *from)
{
    struct link *link = c->owner;
    struct links *l = link->links;
    const struct ledger_configuration *all = l->own->configuration;
    bool replica = false;
    for (uint32_t i = 0; i < all->replica_count && !replica; i++)
        replica = i != l->own->role &&
                  admission_same_source((struct sockaddr *)&l->peers[i].address, from);
    if (!admission_ask(&l->admission, from, replica, uv_hrtime() / 1000)) {
        l->counts.turned_away++;
        return false;
    }
    if (l->strangers > l->strangers_max) /* with this one */
        stranger_evict(l);
    return true;
}

static void accepted(uv_stream_t *listener, int status)
{
    struct links *l = listener->data;
    struct link *link = status == 0 ? link_create(l) : NULL;
    if (link == NULL)
        return;
    link->accepted = true;
    l->strangers++;
    connection_accept(&link->connection, &l->host, link, listener);
}

static void peer_dial(struct links *l, uint16_t number)
{
    struct peer *peer = &l->peers[number];
    struct error e;
    peer->wait = peer->backoff;
    peer->backoff = 2 * peer->backoff < BACKOFF_LAST ? 2 * peer->backoff : BACKOFF_LAST;
    struct link *link = link_create(l);
    if (link == NULL)
        return;
    link->to = number;
    link->dialling = peer->dialled = true;
    if (connection_dial(&link->connection, &l->host, link, number, &e) != 0) {
        peer->dialled = false;
        link_abandon(link);
    }
}

/* While all clients together hold too much, whoever holds most goes. */
static void clients_bound(struct links *l)
{
    for (;;) {
        struct link *most = NULL;
        size_t sum = 0;
        for (struct link *link = l->first; link; link = link->next) {
            if (link->number == 0 || link->connection.closing)
                continue;
            size_t held = connection_held(&link->connection);
            sum += held;
            if (most == NULL || held > connection_held(&most->connection))
                most = link;
        }
        if (sum <= LINKS_CLIENTS_BYTES)
            return;
        l->counts.refused++;
        connection_close(&most->connection);
    }
}

/* ---- where the peers are ---- */

static void peer_found(struct address_lookup *lookup, const struct sockaddr *at)
{
    struct peer *peer = (struct peer *)((char *)lookup - offsetof(struct peer, lookup));
    struct links *l = peer->links;
    peer->looking_up = false;
    if (at)
        memcpy(&peer->address, at,
               at->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                         : sizeof(struct sockaddr_in));
    if (--l->open == 0)
        links_free(l);
}

/* Looks the names of peers up, from time to time: they may not be known yet, and they may move. */
static void peers_look_up(struct links *l)
{
    const struct ledger_configuration *all = l->own->configuration;
    struct error e;
    if (l->ticks++ % LOOK_UP_TICKS != 0)
        return;
    for (uint32_t i = 0; i < all->replica_count; i++) {
        struct peer *peer = &l->peers[i];
        const struct slice *text = &all->replicas[i].address;
        if (!peer->named || peer->looking_up || i == l->own->role)
            continue;
        peer->looking_up = address_look_up(l->loop, &peer->lookup, (const char *)text->data,
                                           text->len, peer_found, &e) == 0;
        l->open += peer->looking_up;
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
    for (struct link *link = l->first; link; link = link->next) {
        bool late = !link->connection.known && uv_now(l->loop) > link->ready_before;
        if (link->ready_before == 0 || late)
            connection_close(&link->connection);
    }
    clients_bound(l);
    peers_look_up(l);
}

/* How many there is room for. */
static void bounds_set(struct links *l)
{
    struct rlimit limit;
    uint64_t most = getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 0;
    uint64_t room =
        most > LINKS_DESCRIPTORS_KEPT + ROOM_LEAST ? most - LINKS_DESCRIPTORS_KEPT : ROOM_LEAST;
    l->strangers_max = room / 4 < LINKS_STRANGERS_MAX ? (uint32_t)(room / 4) : LINKS_STRANGERS_MAX;
    room -= l->strangers_max;
    l->clients_max = room < LINKS_CLIENTS_MAX ? (uint32_t)room : LINKS_CLIENTS_MAX;
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
    static const struct connection_events events = {link_admit, link_known, link_message,
                                                    link_closing, link_closed};
    struct links *l = calloc(1, sizeof *l);
    *out = NULL;
    if (l == NULL)
        return error_set(e, ATOLL_ENOMEM, "no memory for connections");
    l->loop = loop;
    l->host.loop = loop;
    l->host.own = own;
    l->host.events = &events;
    l->own = own;
    l->handler = *handler;
    bounds_set(l);
    l->context = context;
    uv_tcp_init(loop, &l->listener);
    uv_timer_init(loop, &l->tick);
    l->listener.data = l->tick.data = l;
    l->open = 2;
    const struct ledger_configuration *all = own->configuration;
    int rc = admission_init(&l->admission, e);
    for (uint32_t i = 0; i < all->replica_count && rc == 0; i++) {
        const struct slice *text = &all->replicas[i].address;
        l->peers[i].backoff = BACKOFF_FIRST;
        l->peers[i].links = l;
        rc = address_numeric((const char *)text->data, text->len, &l->peers[i].address, e);
        l->peers[i].named = rc == -ATOLL_ENOENT;
        if (l->peers[i].named)
            rc = 0;
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
    for (struct link *link = l->first; link; link = link->next)
        connection_close(&link->connection);
    for (uint32_t i = 0; i < LEDGER_REPLICAS_MAX; i++)
        if (l->peers[i].looking_up)
            address_lookup_cancel(&l->peers[i].lookup);
    uv_close((uv_handle_t *)&l->listener, handle_closed);
    uv_close((uv_handle_t *)&l->tick, handle_closed);
}

struct links_counts links_counts(const struct links *l)
{
    struct links_counts counts = l->counts;
    counts.bytes_in = l->host.bytes_in;
    counts.bytes_out = l->host.bytes_out;
    return counts;
}
