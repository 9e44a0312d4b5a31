/*
 * Entries, lists and versions: asked of the global tier each time, nothing of them is kept here.
 */
#include "state/tier.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* False, and answered, when the value has no place in the global tier. */
static bool value_is_global(struct pending *p)
{
    if (p->value->stale)
        pending_fail(p, ATOLL_ESTALE, "the value was deleted");
    else if (p->value->local)
        pending_fail(p, ATOLL_EINVAL,
                     "a value that is local to the node has no entries or version");
    else
        return true;
    return false;
}

/* The answer is about another value of this name, or none: the one that the call has open is gone.
 */
static bool value_gone(struct replica *v, const struct gt_result *r)
{
    if (!v->global_gen || (!r->code && r->gen == v->global_gen) ||
        (r->code && r->code != -ATOLL_ENOENT))
        return false;
    replica_stale(v);
    return true;
}

static void append_done(void *context, const struct gt_result *r)
{
    struct pending *p = context;
    struct replica *v = p->value;
    if (r->code)
        return pending_store_error(p, r);
    value_gone(v, r);
    /* The first thing of this key in the global tier. */
    v->global_gen = r->gen;
    v->exclusive = false;
    pending_result(p, r->value);
}

void append_start(struct pending *p)
{
    struct gt *gt = p->tier->gt;
    struct error e;
    if (!value_is_global(p))
        return;
    if (p->request.data_len > STATE_DATA_MAX)
        return pending_fail(p, ATOLL_ESIZE, "an entry has at most %u bytes", STATE_DATA_MAX);
    struct gt_key key = replica_key(p->value);
    if (gt->ops->append(gt, &key, p->request.data, p->request.data_len, 0,
                        (struct gt_callback){append_done, p}, &e) < 0)
        pending_error(p, &e);
}

static void entries_done(void *context, const struct gt_result *r)
{
    struct pending *p = context;
    struct state_answer answer = {.fd = -1, .reply = {.number = (uint64_t)r->value}};
    struct error e;
    if (r->code == -ATOLL_ESIZE) {
        e = *r->error;
        answer.result = e.code = r->code;
        answer.error = &e;
        return pending_answer(p, &answer);
    }
    if (value_gone(p->value, r))
        return pending_fail(p, ATOLL_ESTALE, "the value was deleted");
    if (r->code == -ATOLL_ENOENT) /* created here and not yet global */
        return pending_result(p, 0);
    if (r->code)
        return pending_store_error(p, r);
    answer.result = (int64_t)r->count;
    answer.reply.count = (uint32_t)r->count;
    answer.reply.lens = (const uint8_t *)r->lens;
    answer.reply.data = r->data;
    answer.reply.data_len = (uint32_t)r->len;
    pending_answer(p, &answer);
}

void entries_start(struct pending *p)
{
    struct gt *gt = p->tier->gt;
    struct error e;
    if (!value_is_global(p))
        return;
    struct gt_key key = replica_key(p->value);
    if (gt->ops->entries(
            gt, &key, p->request.off, (uint32_t)smaller(p->request.number, STATE_ENTRIES_MAX),
            smaller(p->request.len, STATE_DATA_MAX), (struct gt_callback){entries_done, p}, &e) < 0)
        pending_error(p, &e);
}

static void clear_done(void *context, const struct gt_result *r)
{
    struct pending *p = context;
    if (value_gone(p->value, r))
        pending_fail(p, ATOLL_ESTALE, "the value was deleted");
    else if (r->code && r->code != -ATOLL_ENOENT)
        pending_store_error(p, r);
    else
        pending_result(p, 0);
}

void clear_start(struct pending *p)
{
    struct gt *gt = p->tier->gt;
    struct error e;
    if (!value_is_global(p))
        return;
    struct gt_key key = replica_key(p->value);
    if (gt->ops->clear(gt, &key, 0, (struct gt_callback){clear_done, p}, &e) < 0)
        pending_error(p, &e);
}

static void version_done(void *context, const struct gt_result *r)
{
    struct pending *p = context;
    if (value_gone(p->value, r))
        pending_fail(p, ATOLL_ESTALE, "the value was deleted");
    else if (r->code && r->code != -ATOLL_ENOENT)
        pending_store_error(p, r);
    else
        pending_result(p, (int64_t)r->version);
}

void version_start(struct pending *p)
{
    struct gt *gt = p->tier->gt;
    struct error e;
    if (!value_is_global(p))
        return;
    struct gt_key key = replica_key(p->value);
    if (gt->ops->stat(gt, &key, (struct gt_callback){version_done, p}, &e) < 0)
        pending_error(p, &e);
}

/* ---- keys ---- */

static void list_done(void *context, const struct gt_result *r)
{
    struct pending *p = context;
    uint8_t keys[STATE_DATA_MAX];
    uint64_t cap = smaller(p->request.len, sizeof keys);
    uint32_t len = 0;
    if (r->code)
        return pending_store_error(p, r);
    struct gt_listed listed;
    for (size_t at = 0; gt_list_next(r->data, r->len, &at, &listed);) {
        if (listed.key_len + 1 > cap - len) {
            if (!len)
                return pending_fail(p, ATOLL_ESIZE,
                                    "the first key does not fit; %u bytes are "
                                    "always enough",
                                    STATE_KEY_MAX + 1);
            break;
        }
        memcpy(keys + len, listed.key, listed.key_len);
        len += listed.key_len;
        keys[len++] = 0;
    }
    pending_answer(p, &(struct state_answer){
                          .result = len, .fd = -1, .reply = {.data = keys, .data_len = len}});
}

void list_start(struct pending *p)
{
    struct gt *gt = p->tier->gt;
    struct error e;
    if (open_resolve(p, STATE_GRANT_READ, true) < 0)
        return;
    if (p->request.data_len > STATE_KEY_MAX)
        return pending_fail(p, ATOLL_EINVAL, "a key has at most %u bytes", STATE_KEY_MAX);
    struct gt_key prefix = {p->owner, p->key, p->key_len};
    if (gt->ops->list(gt, &prefix, p->request.data, p->request.data_len, STATE_DATA_MAX,
                      (struct gt_callback){list_done, p}, &e) < 0)
        pending_error(p, &e);
}
