/*
 * Open, close and delete.
 *
 * The first open of a value asks the global tier whether it exists; others that come meanwhile wait
 * for the same answer. Whoever then creates it first has created it: the rest see it as existing.
 * A created value is all here and all zero, has version 0, and is news to the global tier until its
 * first push.
 */
#include "state/tier.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- names and rights ---- */

/* "@owner/key" names a key of another tenant. */
static bool name_split(struct pending *p)
{
    const uint8_t *name = p->request.key;
    uint32_t len = p->request.key_len;
    if (!len || name[0] != '@') {
        strcpy(p->owner, p->call->worker->tenant->name);
        p->key = name;
        p->key_len = len;
        return len <= STATE_KEY_MAX;
    }
    const uint8_t *slash = memchr(name, '/', len);
    if (!slash || slash == name + 1 || slash - name > STATE_TENANT_MAX + 1)
        return false;
    memcpy(p->owner, name + 1, (size_t)(slash - name) - 1);
    p->key = slash + 1;
    p->key_len = len - (uint32_t)(p->key - name);
    return p->key_len <= STATE_KEY_MAX;
}

int open_resolve(struct pending *p, uint32_t needed, bool may_be_empty)
{
    const struct state_options *o = &p->tier->options;
    const char *tenant = p->call->worker->tenant->name;
    if (!name_split(p) || (!p->key_len && !may_be_empty)) {
        pending_fail(p, ATOLL_EINVAL,
                     "a key has 1 to %u bytes; one that begins with @ is \"@owner/key\"",
                     STATE_KEY_MAX);
        return -ATOLL_EINVAL;
    }
    p->grant = STATE_GRANT_ALL;
    if (strcmp(p->owner, tenant))
        p->grant = o->granted ? o->granted(o->context, tenant, p->owner, p->key, p->key_len) : 0;
    if ((p->grant & needed) == needed)
        return 0;
    pending_fail(p, ATOLL_EPERM, "tenant %s has granted %s no such right for the key", p->owner,
                 tenant);
    return -ATOLL_EPERM;
}

/* ---- attachments ---- */

static void open_answer(struct pending *p, struct attachment *a)
{
    struct replica *v = a->value;
    const struct state_request *r = &p->request;
    struct state_answer answer = {
        .fd = -1,
        .reply = {
            .slot = a->view->slot, .gen = a->view->gen, .size = v->size, .version = v->version}};
    /* Another tenant that may not write gets a descriptor that cannot. */
    if (r->slot != a->view->slot || r->gen != a->view->gen)
        answer.fd = replica_descriptor(v, p->grant & STATE_GRANT_WRITE);
    pending_answer(p, &answer);
}

static struct attachment *attachment_find(const struct call *c, const struct replica *v)
{
    struct attachment *a;
    LIST_FOREACH(a, &c->attachments, in_call)
    {
        if (a->value == v)
            return a;
    }
    return NULL;
}

static struct attachment *attachment_make(struct pending *p, struct replica *v, struct error *e)
{
    struct call *c = p->call;
    if (c->attachment_count == STATE_CALL_OPENS_MAX) {
        error_set(e, ATOLL_ELIMIT, "a call has at most %u values open", STATE_CALL_OPENS_MAX);
        return NULL;
    }
    struct view *w = tenant_view(c->worker->tenant, v);
    if (!w && room_make_values(p->tier, STATE_EVICT_VALUES))
        w = tenant_view(c->worker->tenant, v);
    struct attachment *a = w ? calloc(1, sizeof *a) : NULL;
    if (!a) {
        error_set(e, ATOLL_ELIMIT, "the tenant has %u values in the local tier", STATE_SLOTS_MAX);
        return NULL;
    }
    a->call = c;
    a->value = v;
    a->view = w;
    a->tier = p->tier;
    LIST_INSERT_HEAD(&c->attachments, a, in_call);
    LIST_INSERT_HEAD(&v->attachments, a, in_value);
    c->attachment_count++;
    if (v->is_idle) {
        TAILQ_REMOVE(&v->tier->idle, v, idle);
        v->is_idle = false;
    }
    v->stuck = false;
    if (v->evicting)
        room_left(v);
    return a;
}

static void open_attach(struct pending *p, struct replica *v)
{
    struct error e;
    uint32_t flags = p->request.flags;
    if (replica_allocate(v, v->size, &e) < 0)
        return pending_error(p, &e);
    if (flags & STATE_OPEN_TRACK && !v->tracked && !v->local) {
        if (v->chunks && replica_track(v, 0, v->chunks - 1, &e) < 0)
            return pending_error(p, &e);
        v->tracked = true;
    }
    if (replica_descriptor(v, p->grant & STATE_GRANT_WRITE) < 0)
        return pending_fail(p, ATOLL_ENOMEM, "no descriptor left for a value");
    struct attachment *a = attachment_find(p->call, v);
    if (!a && !(a = attachment_make(p, v, &e)))
        return pending_error(p, &e);
    a->grant = p->grant;
    a->writable |= (flags & STATE_OPEN_WRITE) != 0;
    replica_publish(v);
    open_answer(p, a);
}

void replica_repair(struct replica *v)
{
    if (v->stale)
        return;
    if (LIST_EMPTY(&v->attachments)) {
        v->doomed = v->blocked = true;
        return;
    }
    /* Others go on with it: back to what is global, in place. */
    if (replica_refresh(v, true, NULL, NULL) < 0)
        replica_stale(v);
}

/* Requests by this attachment: who waits for its lock waits no longer, what is under way goes on.
 */
static void attachment_forsake(struct attachment *a)
{
    struct pending *p, *waiting = NULL;
    LIST_FOREACH(p, &a->call->pending, in_call)
    {
        if (p->attachment != a)
            continue;
        p->attachment = NULL;
        if (p->waits_in == &a->value->waiting_lock)
            waiting = p; /* one at most: a second one was refused */
    }
    if (waiting) {
        pending_wait_end(waiting);
        pending_fail(waiting, ATOLL_ECANCELED, "the value was closed");
    }
}

void attachment_end(struct attachment *a)
{
    struct replica *v = a->value;
    replica_pin(v);
    attachment_forsake(a);
    node_lock_release(a);
    lease_end(a);
    LIST_REMOVE(a, in_call);
    LIST_REMOVE(a, in_value);
    a->call->attachment_count--;
    free(a);
    replica_unpin(v);
}

void close_start(struct pending *p)
{
    struct attachment *a = p->attachment;
    p->attachment = NULL;
    if (p->request.flags & STATE_CLOSE_MAPPED) {
        attachment_forsake(a);
        node_lock_release(a);
        lease_end(a);
    } else {
        attachment_end(a);
    }
    pending_result(p, 0);
}

/* ---- open ---- */

struct truncation {
    struct task task;
    struct pending *pending;
};

static void truncate_turn(struct task *task)
{
    struct truncation *t = (struct truncation *)task;
    struct replica *v = task->value;
    struct pending *p = t->pending;
    uint64_t size = p->request.len;
    struct error e;
    if (p->call->ended)
        pending_fail(p, ATOLL_ECANCELED, "the call has ended");
    else if (v->stale)
        pending_fail(p, ATOLL_ESTALE, "the value was deleted");
    else if (replica_resize(v, 0, true, &e) < 0 || replica_resize(v, size, true, &e) < 0)
        pending_error(p, &e);
    else {
        v->marks_lost = false;
        v->resized = !v->local;
        open_attach(p, v);
    }
    line_leave(task);
    free(t);
}

static void open_truncate(struct pending *p, struct replica *v)
{
    p->resume = open_start;
    if (p->request.len > v->size && room_take(p, p->request.len - v->size) < 0)
        return;
    struct truncation *t = calloc(1, sizeof *t);
    if (!t)
        return pending_fail(p, ATOLL_ENOMEM, "no memory for a request");
    t->pending = p;
    line_enter(v, &t->task, truncate_turn, true);
}

static void open_create(struct pending *p, struct replica *v)
{
    struct error e;
    uint32_t flags = p->request.flags;
    p->resume = open_start;
    replica_pin(v); /* making room evicts */
    int code = room_take(p, p->request.len);
    if (!code && replica_resize(v, p->request.len, true, &e) < 0) {
        pending_error(p, &e);
    } else if (!code) {
        v->exists = true;
        v->unborn = false;
        v->local = flags & STATE_OPEN_LOCAL;
        v->resized = !v->local;
        v->exclusive = flags & STATE_OPEN_EXCLUSIVE && !v->global_gen;
        open_attach(p, v);
    }
    replica_unpin(v);
}

/* The value is known: as existing, or as not. */
static void open_known(struct pending *p, struct replica *v)
{
    uint32_t flags = p->request.flags;
    uint64_t size = p->request.len;
    if (!v->exists && !(flags & STATE_OPEN_CREATE))
        return pending_fail(p, ATOLL_ENOENT, "the value does not exist");
    if (!v->exists)
        return open_create(p, v);
    if (flags & STATE_OPEN_EXCLUSIVE)
        return pending_fail(p, ATOLL_EEXIST, "the value exists");
    if (flags & STATE_OPEN_LOCAL && !v->local)
        return pending_fail(p, ATOLL_ETYPE, "the value is not local to the node");
    if (flags & STATE_OPEN_TRUNCATE)
        return open_truncate(p, v);
    if (v->unborn && size && flags & STATE_OPEN_CREATE && LIST_EMPTY(&v->attachments))
        return open_create(p, v);
    if (size && size != v->size)
        return pending_fail(p, ATOLL_ESIZE, "the value has %llu bytes, not %llu",
                            (unsigned long long)v->size, (unsigned long long)size);
    open_attach(p, v);
}

/* Lets waiting opens go on, in their order. */
static void opens_retry(struct pending_list *list)
{
    struct pending *p;
    while ((p = TAILQ_FIRST(list))) {
        pending_wait_end(p);
        p->resume(p);
    }
}

static void opens_move(struct pending_list *from, struct pending_list *to)
{
    struct pending *p;
    while ((p = TAILQ_FIRST(from))) {
        pending_wait_end(p);
        pending_wait(p, to);
    }
}

void open_kick(struct replica *v)
{
    struct pending_list again = TAILQ_HEAD_INITIALIZER(again);
    v->blocked = false;
    opens_move(&v->opens, &again);
    if (v->doomed)
        replica_drop(v);
    opens_retry(&again);
}

static void open_stat_done(void *context, const struct gt_result *r)
{
    struct replica *v = context;
    struct error e;
    int code = r->code;
    v->blocked = false;
    if (!code) {
        v->global_gen = r->gen;
        v->version = v->own_since = r->version;
        v->global_size = r->size;
        v->unborn = !r->version;
        if (r->size > STATE_VALUE_MAX)
            code = error_set(&e, ATOLL_ESIZE, "the value is larger than this node opens");
        else if (replica_resize(v, r->size, false, &e) < 0)
            code = e.code;
        v->exists = !code;
    } else if (code == -ATOLL_ENOENT) {
        code = 0;
    } else {
        e = *r->error;
    }
    struct pending_list again = TAILQ_HEAD_INITIALIZER(again);
    struct pending *p;
    opens_move(&v->opens, &again);
    while (code && (p = TAILQ_FIRST(&again))) {
        pending_wait_end(p);
        pending_error(p, &e);
    }
    while ((p = TAILQ_FIRST(&again))) {
        pending_wait_end(p);
        open_known(p, v);
    }
    replica_unpin(v);
}

/* Nobody here knows the value yet. */
static void open_unknown(struct pending *p)
{
    struct state_tier *t = p->tier;
    struct error e;
    struct replica *v = tier_add(t, p->owner, p->key, p->key_len);
    if (!v)
        return pending_fail(p, ATOLL_ENOMEM, "no memory for a value");
    replica_pin(v);
    if (p->request.flags & STATE_OPEN_LOCAL) {
        open_known(p, v);
        replica_unpin(v);
        return;
    }
    struct gt_key key = replica_key(v);
    if (t->gt->ops->stat(t->gt, &key, (struct gt_callback){open_stat_done, v}, &e) < 0) {
        pending_error(p, &e);
        replica_unpin(v);
        return;
    }
    v->blocked = true;
    pending_wait(p, &v->opens);
}

static int open_flags_check(struct pending *p)
{
    uint32_t flags = p->request.flags;
    if (flags & STATE_OPEN_LAZY) {
        pending_fail(p, ATOLL_ENOSYS, "values are not pulled page by page; open without LAZY");
        return -1;
    }
    if (!(flags & (STATE_OPEN_READ | STATE_OPEN_WRITE)) ||
        (flags & STATE_OPEN_EXCLUSIVE && !(flags & STATE_OPEN_CREATE))) {
        pending_fail(p, ATOLL_EINVAL, "open for READ, WRITE or both; EXCL needs CREATE");
        return -1;
    }
    if (flags & (STATE_OPEN_CREATE | STATE_OPEN_TRUNCATE) && !(flags & STATE_OPEN_WRITE)) {
        pending_fail(p, ATOLL_EPERM, "CREATE and TRUNC need WRITE");
        return -1;
    }
    return 0;
}

void open_start(struct pending *p)
{
    uint32_t flags = p->request.flags;
    uint32_t needed = (flags & STATE_OPEN_READ ? STATE_GRANT_READ : 0u) |
                      (flags & STATE_OPEN_WRITE ? STATE_GRANT_WRITE : 0u);
    p->resume = open_start;
    if (open_flags_check(p) < 0 || open_resolve(p, needed, false) < 0)
        return;
    struct replica *v = tier_find(p->tier, p->owner, p->key, p->key_len);
    if (!v)
        open_unknown(p);
    else if (v->blocked)
        pending_wait(p, &v->opens);
    else
        open_known(p, v);
}

/* ---- delete ---- */

struct deletion {
    struct task task;
    struct pending *pending;     /* NULL: the supervisor's own */
    struct gt_callback callback; /* then */
    uint32_t flags;
    struct replica *value; /* NULL: not here */
};

static void deletion_end(struct deletion *d, const struct gt_result *r)
{
    struct replica *v = d->value;
    bool was_here = v && v->exists;
    struct gt_result result = *r;
    if (r->code == -ATOLL_ENOENT && was_here) /* never pushed, or deleted elsewhere already */
        result = (struct gt_result){0};
    if (!result.code && v)
        replica_stale(v);
    if (d->pending && result.code)
        pending_store_error(d->pending, &result);
    else if (d->pending)
        pending_result(d->pending, 0);
    else if (d->callback.done)
        d->callback.done(d->callback.context, &result);
    if (v)
        line_leave(&d->task);
    free(d);
}

static void deletion_answered(void *context, const struct gt_result *r)
{
    deletion_end(context, r);
}

static int deletion_send(struct deletion *d, const struct gt_key *key, struct error *e)
{
    struct gt *gt = d->value ? d->value->tier->gt : d->pending->tier->gt;
    return gt->ops->delete(gt, key, d->flags, (struct gt_callback){deletion_answered, d}, e);
}

static void deletion_turn(struct task *task)
{
    struct deletion *d = (struct deletion *)task;
    struct replica *v = task->value;
    struct error e;
    struct gt_key key = replica_key(v);
    if (v->local)
        deletion_end(d, &(struct gt_result){0});
    else if (v->stale) /* somebody was faster */
        deletion_end(
            d, &(struct gt_result){.code = error_set(&e, ATOLL_ENOENT, "the value was deleted"),
                                   .error = &e});
    else if (deletion_send(d, &key, &e) < 0)
        deletion_end(d, &(struct gt_result){.code = e.code, .error = &e});
}

void delete_start(struct pending *p)
{
    p->resume = delete_start;
    if (open_resolve(p, STATE_GRANT_DELETE, false) < 0)
        return;
    struct replica *v = tier_find(p->tier, p->owner, p->key, p->key_len);
    if (v && v->blocked) {
        pending_wait(p, &v->opens);
        return;
    }
    struct deletion *d = calloc(1, sizeof *d);
    if (!d)
        return pending_fail(p, ATOLL_ENOMEM, "no memory for a request");
    d->pending = p;
    d->value = v;
    if (v)
        return line_enter(v, &d->task, deletion_turn, false);
    struct gt_key key = {p->owner, p->key, p->key_len};
    struct error e;
    if (deletion_send(d, &key, &e) < 0) {
        free(d);
        pending_error(p, &e);
    }
}

int state_delete(struct state_tier *t, const struct gt_key *key, uint32_t flags,
                 struct gt_callback callback, struct error *e)
{
    struct replica *v = tier_find(t, key->tenant, key->key, (uint32_t)key->key_len);
    if (!v || v->blocked || v->local)
        return t->gt->ops->delete(t->gt, key, flags, callback, e);
    struct deletion *d = calloc(1, sizeof *d);
    if (!d)
        return error_set(e, ATOLL_ENOMEM, "no memory to delete a value");
    d->callback = callback;
    d->flags = flags;
    d->value = v;
    line_enter(v, &d->task, deletion_turn, false);
    return 0;
}
