/*
 * The network of functions, in the supervisor: it looks names up and makes every connection, so a
 * worker process needs no right to connect to anything and has none (worker/confine.c).
 *
 *   worker ── REQUEST_LOOKUP: name ──▶ is it in the version's manifest? ──▶ resolver ──▶ pinned
 *   worker ── REQUEST_CONNECT: address, port ──▶ does the manifest allow it, by range or by a
 *             pinned name; is it none that nobody may reach? ──▶ a socket that is connecting
 *
 * What a worker says is believed so far: the version must be one of its tenant's. So a worker that
 * a guest has taken over reaches what some function of its tenant may reach, and nothing else. The
 * rate of a connection is kept in the worker (worker/import_net.c).
 *
 * Loop thread only; nothing here waits.
 */
#ifndef NODE_NETWORK_H
#define NODE_NETWORK_H

#include "node/message.h"

struct node;
struct network;

int network_create(struct network **out, struct error *);
/* When the loop has run out of lookups. */
void network_destroy(struct network *);

/* Both answer the worker, now or later. */
void network_lookup(struct node *, uint32_t worker, const char *tenant, const struct message *);
void network_connect(struct node *, uint32_t worker, const char *tenant, const struct message *);

#endif
