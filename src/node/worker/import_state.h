/* What the host functions of state share: asking the local tier, keys, handles of values. */
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

/* ---- values ---- */

/* The value that the handle in the first argument names, open with these rights; else NULL and a
 * code. view: what is published of it. */
struct attached *value_of(struct host_call *, uint32_t rights, struct handle **,
                          struct state_slot_view *view, int *code);
struct state_request value_request(const struct attached *, enum state_op);
/* Asks on the first entry; on the second gives the answer as the result. */
enum host_status value_ask(struct host_call *, const struct state_request *, bool result_is_64);
/* Sends a request that has no answer. */
void state_tell(struct host_call *, const struct state_request *);
/* Tells what is left of a value here, after a handle or mapping of it has gone. */
void rest_tell(struct host_call *, enum attach_rest, uint32_t slot, uint32_t gen);

#endif
