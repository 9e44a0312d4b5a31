/*
 * Idempotency-Key: a request that comes again with the same key, for the same function, within a
 * day gets the call that the first one made.
 *
 * Table "idem" of the store: tenant NUL function NUL key → u64 call | i64 expires. The call begins
 * only when its record is in the store, so two requests at once make one call.
 */
#ifndef NODE_GATEWAY_IDEMPOTENCY_H
#define NODE_GATEWAY_IDEMPOTENCY_H

#include "node/gateway/callback.h"
#include "node/gateway/exchange.h"

#define IDEMPOTENCY_KEY_MAX 255u
#define IDEMPOTENCY_NS      86400000000000ll

typedef void (*idempotency_done)(struct exchange *, int code, uint64_t call, const struct error *);
/* Copies the request. The callback (may be NULL) is used for a new call and cancelled otherwise. */
void idempotency_submit(struct exchange *, const char *key, const struct call_request *,
                        struct callback *, idempotency_done);

#endif
