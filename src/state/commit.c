/*
 * Changes that the supervisor makes itself, for its HTTP clients (state.h). They go to the global
 * tier; then the copy here, if there is one, is dropped when nobody has it open, or brought up to
 * date, before the caller hears of it.
 */
#include "state/tier.h"

#include <stdlib.h>
#include <string.h>

struct outside_commit {
    struct replica *value; /* pinned */
    struct gt_callback callback;
    struct gt_result result;
    uint8_t *data;
};

static void outside_end(void *context, int code, uint64_t moved)
{
    struct outside_commit *c = context;
    (void)code; /* the commit itself succeeded */
    (void)moved;
    if (c->callback.done)
        c->callback.done(c->callback.context, &c->result);
    replica_unpin(c->value);
    free(c->data);
    free(c);
}

static void outside_committed(void *context, const struct gt_result *r)
{
    struct outside_commit *c = context;
    struct replica *v = c->value;
    c->result = *r;
    if (r->code)
        return outside_end(c, 0, 0);
    if (r->len && (c->data = malloc(r->len)))
        memcpy(c->data, r->data, r->len);
    c->result.data = c->data;
    c->result.len = c->data ? r->len : 0;
    if (LIST_EMPTY(&v->attachments) && TAILQ_EMPTY(&v->opens) && v->pins == 1 && v->in_table &&
        !replica_unpushed(v))
        replica_drop(v);
    else if (!v->stale && replica_refresh(v, false, outside_end, c) == 0)
        return;
    outside_end(c, 0, 0);
}

int state_commit(struct state_tier *t, const struct gt_key *key, const struct gt_commit *commit,
                 struct gt_callback callback, struct error *e)
{
    struct replica *v = tier_find(t, key->tenant, key->key, (uint32_t)key->key_len);
    if (!v || v->local)
        return t->gt->ops->commit(t->gt, key, commit, callback, e);
    struct outside_commit *c = calloc(1, sizeof *c);
    if (!c)
        return error_set(e, ATOLL_ENOMEM, "no memory to change a value");
    c->value = v;
    c->callback = callback;
    replica_pin(v);
    int code =
        t->gt->ops->commit(t->gt, key, commit, (struct gt_callback){outside_committed, c}, e);
    if (code < 0) {
        replica_unpin(v);
        free(c);
    }
    return code;
}
