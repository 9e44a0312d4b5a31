/*
 * Atoll-Callback: the result of an asynchronous call, posted to where its caller wants it.
 *
 * Only hosts that the node's configuration allows (callbacks: host names, comma-separated) may be
 * named. Five tries; what came of them is in the log.
 */
#ifndef NODE_GATEWAY_CALLBACK_H
#define NODE_GATEWAY_CALLBACK_H

#include "node/calls.h"

struct node;
struct callback;

#define CALLBACKS_MAX 1024u /* under way */

/* -ATOLL_EPERM for a host that is not allowed, -ATOLL_EINVAL for no URL, -ATOLL_ELIMIT. */
int callback_prepare(struct node *, const char *url, struct callback **out, struct error *);
/* The call will not be made after all. NULL is fine. */
void callback_cancel(struct callback *);
/* A call_done: posts the outcome; the callback ends itself. */
void callback_post(void *callback, const struct call_outcome *);

#endif
