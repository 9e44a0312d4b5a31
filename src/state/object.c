/* Shared objects: passed on to the global tier, where they live, with the caller as owner. */
#include "state/tier.h"

#include <stdlib.h>

static void object_done(void *context, const struct gt_result *r)
{
    struct pending *p = context;
    struct state_answer answer = {.fd = -1, .reply = {.number = (uint64_t)r->value}};
    struct error e;
    if (r->code) {
        e = *r->error;
        answer.result = e.code = r->code;
        answer.error = &e;
    } else {
        /* A count may be negative, which is no error: it travels in number, and the result says
         * only that it went well. */
        answer.reply.version = r->version;
        answer.reply.data = r->data;
        answer.reply.data_len = (uint32_t)r->len;
    }
    pending_answer(p, &answer);
}

void object_open_start(struct pending *p)
{
    struct gt *gt = p->tier->gt;
    struct error e;
    if (open_resolve(p, STATE_GRANT_READ | STATE_GRANT_WRITE, false) < 0)
        return;
    struct gt_key key = {p->owner, p->key, p->key_len};
    p->call->known_to_store = true;
    if (gt->ops->object_open(gt, &key, (enum gt_object_type)p->request.mode, p->request.a,
                             p->call->owner, (struct gt_callback){object_done, p}, &e) < 0)
        pending_error(p, &e);
}

void object_start(struct pending *p)
{
    struct gt *gt = p->tier->gt;
    const struct state_request *r = &p->request;
    struct error e;
    if (open_resolve(p, STATE_GRANT_READ | STATE_GRANT_WRITE, false) < 0)
        return;
    struct gt_key key = {p->owner, p->key, p->key_len};
    struct gt_object_call call = {
        .op = r->number,
        .a = r->a,
        .b = r->b,
        .in = r->data,
        .in_len = r->data_len,
        .cap = r->len < STATE_DATA_MAX ? r->len : STATE_DATA_MAX,
        .timeout_ns = r->timeout_ns,
        .owner = p->call->owner,
    };
    p->call->known_to_store = true;
    if (gt->ops->object(gt, &key, (enum gt_object_type)r->mode, &call,
                        (struct gt_callback){object_done, p}, &e) < 0)
        pending_error(p, &e);
}
