/*
 * The worker processes of this node: started on demand, one per tenant and more when a tenant
 * outgrows one, restarted when they die, stopped when draining.
 *
 * A worker is untrusted: it runs guests. Whatever it says is decoded strictly (message.h), and a
 * worker that breaks the rules is killed like one that crashed; its calls end as LOST.
 * Restarts back off (100 ms … 10 s) when a worker dies within a second of its start.
 *
 * Loop thread only.
 */
#ifndef NODE_WORKERS_H
#define NODE_WORKERS_H

#include "node/link.h"
#include "node/registry.h"

struct node;
struct workers;

int workers_create(struct node *, struct workers **out, struct error *);
/* Kills what is left. */
void workers_destroy(struct workers *);

/* Places a call of this version: the number of a worker of the tenant that has room, starting one
 * if need be. -ATOLL_EAGAIN: none has room now, calls_tenant_room will tell; -ATOLL_EUNAVAIL: the
 * tenant's workers keep dying. */
int workers_place(struct workers *, const struct function_version *, uint32_t *worker,
                  struct error *);
/* Sends, after the version's MESSAGE_LOAD if the worker does not have it yet. -ATOLL_EAGAIN as
 * link_send. */
int workers_send_call(struct workers *, uint32_t worker, const struct function_version *,
                      struct message *, int input_fd, struct error *);
void workers_kill(struct workers *, uint32_t worker);
int workers_cancel(struct workers *, uint32_t worker, uint64_t call);
/* The version's MESSAGE_LOAD, unless the worker has it. */
int workers_send_load(struct workers *, uint32_t worker, const struct function_version *,
                      struct error *);

/* Runs _initialize and atoll_zygote in a worker of the tenant; done as for MESSAGE_LOADED. */
typedef void (*load_done)(void *context, const struct message_loaded *, const char *text,
                          int image_fd);
void workers_load(struct workers *, struct function_version *, load_done, void *context);
/* Tells every worker that a name means another version (NULL: is gone). */
void workers_alias(struct workers *, const char *tenant, const char *function,
                   const struct function_version *);
/* Tells the tenant's workers that its shared files have changed: which version is current now. */
void workers_files(struct workers *, const char *tenant, uint64_t version);
/* Forgets a version in every worker. */
void workers_drop(struct workers *, const struct function_version *);
/* Answers a request of a worker (message_request); ignored when that worker is gone. fd is
 * borrowed, -1 = none. */
void workers_answer(struct workers *, uint32_t worker, uint64_t request, int64_t result,
                    const void *payload, uint32_t len, int fd);

/* A request of a worker is being worked on; false when it has too many of them. Told again when it
 * is not any more. */
bool workers_asked(struct workers *, uint32_t worker);
void workers_unasked(struct workers *, uint32_t worker);

/* Weights of tenants have changed: gives every worker its share anew (shares.h). */
void workers_weigh(struct workers *);

/* Ends all: MESSAGE_STOP, then after grace_ns SIGKILL. done when all are gone. */
void workers_stop(struct workers *, int64_t grace_ns, void (*done)(void *), void *context);

struct worker_summary {
    uint32_t number, calls, instances_max, versions, restarts;
    int pid;
    char tenant[NAME_MAX_LEN + 1];
    int64_t started_ns;
};
uint32_t workers_list(const struct workers *, struct worker_summary *out, uint32_t max);

#endif
