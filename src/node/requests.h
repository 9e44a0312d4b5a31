/*
 * What workers ask of the supervisor (enum request_kind), carried out on behalf of the worker's
 * tenant. A worker is untrusted: it can ask only for what its tenant may have.
 *
 * Loop thread only; called by workers.c.
 */
#ifndef NODE_REQUESTS_H
#define NODE_REQUESTS_H

#include "node/message.h"

struct node;

/* Carries a request out; it is answered now or later by workers_answer. fd: a descriptor that came
 * with it, taken over, or -1. A negative return: nonsense, the worker is to be killed. */
int request_handle(struct node *, uint32_t worker, const char *tenant, const struct message *,
                   int fd, struct error *);
/* A worker is gone: calls that it asked for are cancelled. */
void requests_worker_lost(struct node *, uint32_t worker);

#endif
