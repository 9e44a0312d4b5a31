/*
 * A child that another worker runs: here it is a call like others, without a faaslet, that ends
 * with the supervisor's answer (ask.c).
 */
#include "node/worker/chain.h"

#include <unistd.h>

#define PRIORITY_OF_VERSION 10u /* on the wire: what the callee's manifest says */

static void remote_message(const struct call *c, const struct call *parent, uint32_t number,
                           uint32_t priority, struct message *m)
{
    const struct app *app = parent->app;
    *m = (struct message){
        .header.kind = MESSAGE_CALL,
        .call = {.app = app->id,
                 .parent = parent->id,
                 .input_len = c->input_len,
                 .deadline_ns = c->deadline_ns == INT64_MAX ? 0 : c->deadline_ns,
                 .queued_ns = c->queued_ns,
                 .version = number,
                 .flags = (c->fresh ? CALL_FLAG_FRESH : 0u) | (app->graph ? CALL_FLAG_GRAPH : 0u),
                 .priority = priority ? priority - 1 : PRIORITY_OF_VERSION,
                 .depth = c->depth},
    };
    memcpy(m->call.trace_id, app->trace_id, sizeof app->trace_id);
    memcpy(m->call.span_id, app->span_id, sizeof app->span_id);
    if (c->input && c->input->len <= MESSAGE_INLINE) {
        m->parts[2] = blob_bytes(c->input);
        m->part_len[2] = (uint32_t)c->input->len;
    } else if (c->input) {
        m->call.input_fd = 1;
    }
}

/* Its version is the caller's own: it only stands for accounts of this worker. */
int child_remote_start(struct worker *w, struct call *parent, const struct chain *chain,
                       struct blob *input, uint64_t *id)
{
    struct error e;
    struct message m;
    int fd = input && input->len > MESSAGE_INLINE ? blob_file(input, &e) : -1;
    pthread_mutex_lock(&w->lock);
    int rc = children_allowed(w, parent, 1);
    struct call *c =
        rc == 0 ? child_make(w, chain, parent, parent->version, input, clock_monotonic_ns()) : NULL;
    if (rc == 0 && !c)
        rc = -ATOLL_ENOMEM;
    if (rc == 0) {
        c->retries = 0;
        c->stage = STAGE_REMOTE;
        remote_message(c, parent, chain->remote, chain->options.priority, &m);
        *id = c->id;
        blob_retain(input); /* the message points into it */
    }
    pthread_mutex_unlock(&w->lock);
    if (rc < 0)
        return rc;
    rc = remote_call(w, c, &m, fd);
    blob_release(input);
    if (rc == 0)
        return 0;
    struct call_end end = {.status = CALL_REJECTED, .code = rc};
    pthread_mutex_lock(&w->lock);
    bool ours = c->stage == STAGE_REMOTE;
    if (ours)
        c->stage = STAGE_RUNNING;
    pthread_mutex_unlock(&w->lock);
    if (ours)
        call_finish(w, NULL, c, &end);
    return 0;
}
