/*
 * Which clients we have heard of, on which connection each listens, and how many of its requests
 * wait. Both tables are bounded; a client with neither connection nor request is forgotten, and
 * when there are too many one without requests: anybody can listen for keys that nobody has.
 *
 * The buckets are chosen by SipHash under a key of our own: client keys can be made to measure.
 */
#include "crypto/siphash.h"
#include "ledger/replica/core.h"

#define LISTENER_BUCKETS 1024

static size_t client_bucket(const struct ledger_replica *r, const uint8_t *key)
{
    return siphash(r->table_key, key, ED25519_KEY_LEN) & (r->pool.client_buckets - 1);
}

struct client *client_find(const struct ledger_replica *r, const uint8_t *key)
{
    if (!r->pool.clients)
        return NULL;
    struct client *c = r->pool.clients[client_bucket(r, key)];
    while (c && memcmp(c->key, key, ED25519_KEY_LEN))
        c = c->chain;
    return c;
}

/* More buckets, when chains would become long. Without memory they do. */
static void clients_grow(struct ledger_replica *r)
{
    size_t old = r->pool.client_buckets;
    struct client **buckets = calloc(2 * old, sizeof(struct client *));
    struct client **before = r->pool.clients;
    if (!buckets)
        return;
    r->pool.clients = buckets;
    r->pool.client_buckets = 2 * old;
    for (size_t i = 0; i < old; i++) {
        for (struct client *c = before[i], *next; c; c = next) {
            next = c->chain;
            size_t b = client_bucket(r, c->key);
            c->chain = buckets[b];
            buckets[b] = c;
        }
    }
    free(before);
}

/* Makes room: forgets the next client without requests. It listens again by its next request. */
static bool client_evict(struct ledger_replica *r)
{
    for (size_t i = 0; i < r->pool.client_buckets; i++) {
        size_t b = r->pool.client_hand++ & (r->pool.client_buckets - 1);
        for (struct client *c = r->pool.clients[b]; c; c = c->chain) {
            if (c->waiting)
                continue;
            c->connection = c->first = 0;
            client_unuse(r, c);
            return true;
        }
    }
    return false;
}

/* The client's entry, new if need be. NULL: too many that wait, or no memory. */
struct client *client_make(struct ledger_replica *r, const uint8_t *key)
{
    struct client *c = client_find(r, key);
    if (c || (r->pool.client_count == CLIENTS_HEARD_MAX && !client_evict(r)))
        return c;
    if (!r->pool.clients) {
        if (!(r->pool.clients = calloc(64, sizeof(struct client *))))
            return NULL;
        r->pool.client_buckets = 64;
    }
    if (r->pool.client_count > r->pool.client_buckets)
        clients_grow(r);
    if (!(c = calloc(1, sizeof *c)))
        return NULL;
    memcpy(c->key, key, ED25519_KEY_LEN);
    size_t b = client_bucket(r, key);
    c->chain = r->pool.clients[b];
    r->pool.clients[b] = c;
    r->pool.client_count++;
    return c;
}

/* Forgets the client unless it still listens or has requests waiting. */
void client_unuse(struct ledger_replica *r, struct client *c)
{
    if (c->connection || c->waiting)
        return;
    struct client **at = &r->pool.clients[client_bucket(r, c->key)];
    while (*at != c)
        at = &(*at)->chain;
    *at = c->chain;
    free(c);
    r->pool.client_count--;
}

/* The client's replies go to this connection from now on, too. Proven: a request of his with a
 * valid signature came from there. */
void client_listen(struct ledger_replica *r, struct client *c, uint64_t connection, bool proven)
{
    struct connection *to = connection_find(r, connection);
    if (!to)
        return;
    if (c->connection != connection && c->first != connection) {
        if (to->listens == LISTENS_MAX)
            return;
        to->listens++;
        c->connection = connection;
    }
    if (proven && !c->first)
        c->first = connection;
}

/* ---- connections ---- */

struct connection *connection_find(const struct ledger_replica *r, uint64_t number)
{
    if (!r->pool.connections)
        return NULL;
    struct connection *c = r->pool.connections[number % LISTENER_BUCKETS];
    while (c && c->number != number)
        c = c->chain;
    return c;
}

struct connection *connection_make(struct ledger_replica *r, uint64_t number)
{
    struct connection *c = connection_find(r, number);
    if (c || r->pool.connection_count == CONNECTIONS_MAX)
        return c;
    if (!r->pool.connections &&
        !(r->pool.connections = calloc(LISTENER_BUCKETS, sizeof(struct connection *))))
        return NULL;
    if (!(c = calloc(1, sizeof *c)))
        return NULL;
    c->number = number;
    c->chain = r->pool.connections[number % LISTENER_BUCKETS];
    r->pool.connections[number % LISTENER_BUCKETS] = c;
    r->pool.connection_count++;
    return c;
}

void connection_forget(struct ledger_replica *r, uint64_t number)
{
    if (!connection_find(r, number))
        return;
    struct connection **at = &r->pool.connections[number % LISTENER_BUCKETS];
    while ((*at)->number != number)
        at = &(*at)->chain;
    struct connection *gone = *at;
    bool listened = gone->listens > 0;
    *at = gone->chain;
    free(gone);
    r->pool.connection_count--;
    if (!listened)
        return;
    for (size_t i = 0; i < r->pool.client_buckets; i++) {
        for (struct client *c = r->pool.clients[i], *next; c; c = next) {
            next = c->chain;
            if (c->first == number)
                c->first = 0;
            if (c->connection == number) {
                c->connection = c->first;
                client_unuse(r, c);
            }
        }
    }
}

void listeners_close(struct ledger_replica *r)
{
    for (size_t i = 0; i < r->pool.client_buckets; i++)
        for (struct client *c = r->pool.clients[i], *next; c; c = next) {
            next = c->chain;
            free(c);
        }
    for (size_t i = 0; r->pool.connections && i < LISTENER_BUCKETS; i++)
        for (struct connection *c = r->pool.connections[i], *next; c; c = next) {
            next = c->chain;
            free(c);
        }
    free(r->pool.clients);
    free(r->pool.connections);
}
