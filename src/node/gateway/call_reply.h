/* The outcome of a call as an HTTP answer (spec faaslets §13 "Guest outcome → HTTP"). */
#ifndef NODE_GATEWAY_CALL_REPLY_H
#define NODE_GATEWAY_CALL_REPLY_H

#include "node/calls.h"
#include "node/gateway/exchange.h"

/* The output, with the status and fields that the guest set, or the problem that stands for the
 * outcome. */
void call_reply(struct exchange *, const struct call_outcome *);
/* What happened, as JSON, without the output. */
void call_status_reply(struct exchange *, const struct call_outcome *);

#endif
