/* What the host functions of values and of objects share: asking the local tier. */
#ifndef NODE_WORKER_IMPORT_STATE_H
#define NODE_WORKER_IMPORT_STATE_H

#include "node/worker/process.h"
#include "state/attach.h"

/* Sends a request and parks; the host function returns what this returns. From then on the end of
 * the call is told to the supervisor. */
enum host_status state_ask(struct host_call *, const struct state_request *);
/* The answer's result when the call was resumed; reply points into it until the next question. */
int64_t state_answered(struct host_call *, struct state_reply *);
/* Copies a key out of the guest (STATE_NAME_MAX bytes of room) and looks at the manifest's rights
 * for it (enum state_right): 0, -ATOLL_EINVAL, -ATOLL_EFAULT, -ATOLL_EPERM. */
int state_key(struct host_call *, uint32_t address, uint32_t len, uint32_t rights, uint8_t *key);

#endif
