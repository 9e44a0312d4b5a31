/*
 * Records of the store that are good for a time: results of calls, idempotency keys. What has run
 * out is not shown by those who read them; here it is removed, a part of the tables at a time.
 *
 * Loop thread only.
 */
#ifndef NODE_EXPIRY_H
#define NODE_EXPIRY_H

#include "store/store.h"

struct expiry;

int expiry_create(struct store *, struct expiry **out, struct error *);
/* After the store was closed: nothing is under way then. */
void expiry_destroy(struct expiry *);
/* Looks at the next EXPIRY_BYTES of a table and removes what has expired by now (CLOCK_REALTIME);
 * nothing happens while the step before is under way. */
void expiry_step(struct expiry *, int64_t now_ns);

#define EXPIRY_BYTES (1u << 20)

#endif
