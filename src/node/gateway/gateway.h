/*
 * The gateway: the node's HTTP interface (spec faaslets §13; docs/http.md is its reference).
 *
 * It listens when it is created, so that a bad address is an error of the start. Loop thread only.
 */
#ifndef NODE_GATEWAY_GATEWAY_H
#define NODE_GATEWAY_GATEWAY_H

#include "base/error.h"

#include <stdbool.h>

struct node;
struct gateway;

int gateway_create(struct node *, struct gateway **out, struct error *);
/* "http://127.0.0.1:7777": the address with the port that is listened on. */
const char *gateway_url(const struct gateway *);
bool gateway_authenticates(const struct gateway *);
/* Takes no new connections; requests in hand are answered. done when none is left. */
void gateway_drain(struct gateway *, void (*done)(void *context), void *context);
/* Closes everything that is left. */
void gateway_destroy(struct gateway *);

#endif
