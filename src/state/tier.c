/* The tables of the local tier, its requests and their answers (state.h, tier.h). */
#define _GNU_SOURCE
#include "state/tier.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CALLS_MAX     (1u << 20) /* of one worker */
#define SEGMENT_BYTES ((size_t)STATE_SLOTS_MAX * sizeof(struct state_slot))

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

/* ---- values by name ---- */

static int identity_compare(const void *left, const void *right)
{
    const struct identity *a = left, *b = right;
    if (a->key_len != b->key_len)
        return a->key_len < b->key_len ? -1 : 1;
    int order = memcmp(a->key, b->key, a->key_len);
    return order ? order : strcmp(a->tenant, b->tenant);
}

struct replica *tier_find(const struct state_tier *t, const char *tenant, const void *key,
                          uint32_t len)
{
    struct identity id = {tenant, key, len};
    void *node = tfind(&id, &t->values, identity_compare);
    return node ? *(struct replica **)node : NULL;
}

struct replica *tier_add(struct state_tier *t, const char *tenant, const void *key, uint32_t len)
{
    assert(len && len <= STATE_KEY_MAX && strlen(tenant) <= STATE_TENANT_MAX);
    struct replica *v = calloc(1, sizeof *v);
    if (!v)
        return NULL;
    v->tier = t;
    strcpy(v->tenant, tenant);
    memcpy(v->key, key, len);
    v->id = (struct identity){v->tenant, v->key, len};
    v->memfd = v->memfd_read = -1;
    v->written.limit = v->sending.limit = STATE_WRITES_MAX;
    v->merges.limit = STATE_MERGES_MAX;
    TAILQ_INIT(&v->line);
    TAILQ_INIT(&v->opens);
    TAILQ_INIT(&v->waiting_chunks);
    TAILQ_INIT(&v->waiting_lock);
    if (!tsearch(&v->id, &t->values, identity_compare)) {
        free(v);
        return NULL;
    }
    v->in_table = true;
    t->counters.values++;
    return v;
}

void tier_remove(struct replica *v)
{
    assert(v->in_table);
    tdelete(&v->id, &v->tier->values, identity_compare);
    v->in_table = false;
    v->tier->counters.values--;
}

struct gt_key replica_key(const struct replica *v)
{
    return (struct gt_key){v->id.tenant, v->id.key, v->id.key_len};
}

/* ---- time ---- */

int64_t tier_now(const struct state_tier *t)
{
    return t->options.now(t->options.context);
}

static void tier_arm(struct state_tier *t)
{
    int64_t next = TAILQ_EMPTY(&t->deferred) ? alarm_next(&t->alarms) : tier_now(t);
    if (next == t->timer_asked)
        return;
    t->timer_asked = next;
    t->options.timer(t->options.context, next);
}

int tier_alarm(struct state_tier *t, struct alarm *alarm, int64_t at_ns)
{
    int code = alarm_set(&t->alarms, alarm, at_ns);
    tier_arm(t);
    return code;
}

void tier_defer(struct state_tier *t, struct task *task, void (*go_on)(struct task *))
{
    task->go_on = go_on;
    TAILQ_INSERT_TAIL(&t->deferred, task, later);
    tier_arm(t);
}

/* Runs what was deferred before now, not what it defers again. */
static void deferred_run(struct state_tier *t)
{
    struct task_list ready = TAILQ_HEAD_INITIALIZER(ready);
    TAILQ_CONCAT(&ready, &t->deferred, later);
    struct task *task;
    while ((task = TAILQ_FIRST(&ready))) {
        TAILQ_REMOVE(&ready, task, later);
        task->go_on(task);
    }
}

void state_tick(struct state_tier *t)
{
    t->timer_asked = STATE_NEVER; /* it has gone off */
    alarm_run(&t->alarms, tier_now(t));
    deferred_run(t);
    tier_arm(t);
}

/* ---- tenants and their slots ---- */

static int segment_create(struct tenant *n, struct error *e)
{
    int fd = memfd_create("atoll-state-slots", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return error_set_errno(e, 0, "cannot create the memory file of a tenant's slots");
    void *slots = MAP_FAILED;
    if (ftruncate(fd, (off_t)SEGMENT_BYTES) == 0)
        slots = mmap(NULL, SEGMENT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (slots == MAP_FAILED ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) !=
            0) {
        error_set_errno(e, 0, "cannot make the memory file of a tenant's slots");
        if (slots != MAP_FAILED)
            munmap(slots, SEGMENT_BYTES);
        close(fd);
        return e->code;
    }
    n->segment_fd = fd;
    n->slots = slots;
    return 0;
}

static void tenant_free(struct tenant *n)
{
    if (n->slots) {
        munmap(n->slots, SEGMENT_BYTES);
        close(n->segment_fd);
    }
    free(n->views);
    free(n->gens);
    free(n);
}

static struct tenant *tenant_create(struct state_tier *t, const char *name, struct error *e)
{
    struct tenant *n = calloc(1, sizeof *n);
    if (n) {
        strcpy(n->name, name);
        n->views = calloc(STATE_SLOTS_MAX, sizeof *n->views);
        n->gens = calloc(STATE_SLOTS_MAX, sizeof *n->gens);
    }
    if (!n || !n->views || !n->gens)
        error_set(e, ATOLL_ENOMEM, "no memory for the slots of tenant %s", name);
    else if (segment_create(n, e) == 0) {
        LIST_INSERT_HEAD(&t->tenants, n, link);
        return n;
    }
    if (n)
        tenant_free(n);
    return NULL;
}

static struct tenant *tenant_find(struct state_tier *t, const char *name)
{
    struct tenant *n;
    LIST_FOREACH(n, &t->tenants, link)
    {
        if (!strcmp(n->name, name))
            return n;
    }
    return NULL;
}

struct view *tenant_view(struct tenant *n, struct replica *v)
{
    struct view *w;
    LIST_FOREACH(w, &v->views, link)
    {
        if (w->tenant == n)
            return w;
    }
    if (n->used == STATE_SLOTS_MAX || !(w = calloc(1, sizeof *w)))
        return NULL;
    while (n->views[n->next])
        n->next = (n->next + 1) % STATE_SLOTS_MAX;
    uint32_t gen = n->gens[n->next] + 1;
    *w = (struct view){.value = v, .tenant = n, .slot = n->next, .gen = gen ? gen : 1};
    n->gens[w->slot] = w->gen;
    n->views[w->slot] = w;
    n->used++;
    n->next = (n->next + 1) % STATE_SLOTS_MAX;
    LIST_INSERT_HEAD(&v->views, w, link);
    return w;
}

void view_free(struct view *w)
{
    state_slot_write(&w->tenant->slots[w->slot], &(struct state_slot_view){0});
    w->tenant->views[w->slot] = NULL;
    w->tenant->used--;
    LIST_REMOVE(w, link);
    free(w);
}

/* ---- workers and calls ---- */

static struct worker *worker_find(const struct state_tier *t, uint32_t number)
{
    struct worker *w;
    LIST_FOREACH(w, &t->workers, link)
    {
        if (w->number == number && !w->lost)
            return w;
    }
    return NULL;
}

static bool tenant_name_good(const char *name)
{
    size_t len = strlen(name);
    if (!len || len > STATE_TENANT_MAX || name[0] == '-')
        return false;
    return strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

int state_worker_join(struct state_tier *t, uint32_t number, const char *tenant, struct error *e)
{
    if (!tenant_name_good(tenant))
        return error_set(e, ATOLL_EINVAL, "\"%.80s\" is no name of a tenant", tenant);
    if (worker_find(t, number))
        return error_set(e, ATOLL_EEXIST, "worker %u has joined the state tier already", number);
    if (t->worker_count == STATE_WORKERS_MAX)
        return error_set(e, ATOLL_ELIMIT, "the state tier serves at most %u workers",
                         STATE_WORKERS_MAX);
    struct tenant *n = tenant_find(t, tenant);
    if (!n && !(n = tenant_create(t, tenant, e)))
        return e->code;
    struct worker *w = calloc(1, sizeof *w);
    if (!w)
        return error_set(e, ATOLL_ENOMEM, "no memory for worker %u", number);
    w->number = number;
    w->tenant = n;
    LIST_INSERT_HEAD(&t->workers, w, link);
    t->worker_count++;
    return 0;
}

static int call_compare(const void *left, const void *right)
{
    const struct call *a = left, *b = right;
    if (a->id != b->id)
        return a->id < b->id ? -1 : 1;
    return a->worker < b->worker ? -1 : a->worker > b->worker;
}

static struct call *call_find(struct state_tier *t, struct worker *w, uint64_t id)
{
    struct call probe = {.worker = w, .id = id};
    void *node = tfind(&probe, &t->calls, call_compare);
    return node ? *(struct call **)node : NULL;
}

/* NULL without memory or beyond the limit. */
static struct call *call_create(struct state_tier *t, struct worker *w, uint64_t id)
{
    struct call *c = w->call_count < CALLS_MAX ? calloc(1, sizeof *c) : NULL;
    if (!c)
        return NULL;
    c->worker = w;
    c->id = id;
    c->owner = t->options.owner_base + ++t->owners;
    if (!tsearch(c, &t->calls, call_compare)) {
        free(c);
        return NULL;
    }
    LIST_INSERT_HEAD(&w->calls, c, link);
    w->call_count++;
    return c;
}

static void worker_free_when_done(struct worker *w)
{
    if (!w->lost || !LIST_EMPTY(&w->calls))
        return;
    LIST_REMOVE(w, link);
    free(w);
}

static void call_free_when_done(struct call *c)
{
    if (!c->ended || !LIST_EMPTY(&c->pending))
        return;
    assert(LIST_EMPTY(&c->attachments));
    LIST_REMOVE(c, link);
    worker_free_when_done(c->worker);
    free(c);
}

static struct pending *call_waiting(const struct call *c)
{
    struct pending *p;
    LIST_FOREACH(p, &c->pending, in_call)
    {
        if (p->waits_in)
            return p;
    }
    return NULL;
}

/* What only waits is answered now; what is under way goes on without the call. */
static void call_cancel_pending(struct call *c)
{
    struct pending *p;
    LIST_FOREACH(p, &c->pending, in_call)
    {
        p->attachment = NULL;
    }
    while ((p = call_waiting(c))) {
        pending_wait_end(p);
        pending_fail(p, ATOLL_ECANCELED, "the call has ended");
    }
}

static void call_end(struct state_tier *t, struct call *c)
{
    c->ended = true;
    tdelete(c, &t->calls, call_compare);
    c->worker->call_count--;
    if (c->known_to_store && !t->closing) {
        struct error e;
        /* Refused only when the store is closing or out of memory; then leases end by themselves.
         */
        t->gt->ops->owner_end(t->gt, c->owner, (struct gt_callback){0}, &e);
    }
    /* Keeps the record alive while the last of its requests are answered. */
    struct pending last = {0};
    LIST_INSERT_HEAD(&c->pending, &last, in_call);
    call_cancel_pending(c);
    while (!LIST_EMPTY(&c->attachments))
        attachment_end(LIST_FIRST(&c->attachments));
    LIST_REMOVE(&last, in_call);
    call_free_when_done(c);
}

void state_call_ended(struct state_tier *t, uint32_t worker, uint64_t id)
{
    struct worker *w = worker_find(t, worker);
    struct call *c = w ? call_find(t, w, id) : NULL;
    if (c)
        call_end(t, c);
    room_kick(t);
}

TAILQ_HEAD(suspects, replica);

/* Pins the values that a dying worker may have written. */
static void worker_suspects(struct worker *w, struct suspects *suspects)
{
    struct call *c;
    LIST_FOREACH(c, &w->calls, link)
    {
        struct attachment *a;
        LIST_FOREACH(a, &c->attachments, in_call)
        {
            struct replica *v = a->value;
            if (!a->writable || v->local || v->suspect)
                continue;
            v->suspect = true;
            replica_pin(v);
            TAILQ_INSERT_TAIL(suspects, v, suspects);
        }
    }
}

static struct call *worker_live_call(const struct worker *w)
{
    struct call *c;
    LIST_FOREACH(c, &w->calls, link)
    {
        if (!c->ended)
            return c;
    }
    return NULL;
}

void state_worker_lost(struct state_tier *t, uint32_t number)
{
    struct worker *w = worker_find(t, number);
    if (!w)
        return;
    struct suspects suspects = TAILQ_HEAD_INITIALIZER(suspects);
    worker_suspects(w, &suspects);
    struct call *c;
    while ((c = worker_live_call(w)))
        call_end(t, c);
    w->lost = true;
    t->worker_count--;
    worker_free_when_done(w);
    struct replica *v;
    while ((v = TAILQ_FIRST(&suspects))) {
        TAILQ_REMOVE(&suspects, v, suspects);
        v->suspect = false;
        if (!t->closing)
            replica_repair(v);
        replica_unpin(v);
    }
    room_kick(t);
}

/* The attachment by which a call has this slot open, or NULL. */
static struct attachment *call_attachment(struct call *c, uint32_t slot, uint32_t gen)
{
    struct attachment *a;
    LIST_FOREACH(a, &c->attachments, in_call)
    {
        if (a->view->slot == slot && a->view->gen == gen)
            return a;
    }
    return NULL;
}

/* ---- requests ---- */

static void pending_hold(struct pending *p, struct replica *v)
{
    assert(!p->value);
    replica_pin(v);
    p->value = v;
}

void pending_wait(struct pending *p, struct pending_list *list)
{
    assert(!p->waits_in);
    TAILQ_INSERT_TAIL(list, p, wait);
    p->waits_in = list;
}

void pending_wait_end(struct pending *p)
{
    assert(p->waits_in);
    TAILQ_REMOVE(p->waits_in, p, wait);
    p->waits_in = NULL;
    alarm_clear(&p->tier->alarms, &p->alarm);
}

void pending_answer(struct pending *p, struct state_answer *answer)
{
    assert(!p->waits_in);
    struct state_tier *t = p->tier;
    LIST_REMOVE(p, in_call);
    t->counters.waiting--;
    p->call->worker->unanswered--;
    if (p->done)
        p->done(p->context, answer);
    struct replica *v = p->value;
    call_free_when_done(p->call);
    free(p);
    if (v)
        replica_unpin(v);
}

void pending_result(struct pending *p, int64_t result)
{
    assert(result >= 0);
    pending_answer(
        p, &(struct state_answer){.result = result, .fd = -1, .reply = {.moved = p->moved}});
}

void pending_error(struct pending *p, const struct error *e)
{
    assert(e->code < 0);
    pending_answer(p, &(struct state_answer){.result = e->code, .error = e, .fd = -1});
}

void pending_fail(struct pending *p, int code, const char *format, ...)
{
    char text[sizeof(((struct error *)0)->text)];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    struct error e;
    error_set(&e, code, "%s", text);
    pending_error(p, &e);
}

void pending_store_error(struct pending *p, const struct gt_result *r)
{
    struct error e;
    if (r->error)
        e = *r->error;
    else
        error_set(&e, -r->code, "the store refused the operation");
    e.code = r->code;
    pending_error(p, &e);
}

static void segment_start(struct pending *p)
{
    pending_answer(p, &(struct state_answer){.fd = p->call->worker->tenant->segment_fd});
}

/* How each operation begins. on_value: the request names a value that the call has open;
 * needs_write: for writing. */
static const struct {
    void (*start)(struct pending *);
    bool on_value, needs_write;
} operations[STATE_OPS] = {
    [STATE_OP_SEGMENT] = {segment_start, false, false},
    [STATE_OP_OPEN] = {open_start, false, false},
    [STATE_OP_CLOSE] = {close_start, true, false},
    [STATE_OP_ENSURE] = {ensure_start, true, false},
    [STATE_OP_PULL] = {pull_start, true, false},
    [STATE_OP_PUSH] = {push_start, true, true},
    [STATE_OP_DIRTY] = {written_start, true, true},
    [STATE_OP_MERGE] = {merge_start, true, true},
    [STATE_OP_RESIZE] = {resize_start, true, true},
    [STATE_OP_DELETE] = {delete_start, false, false},
    [STATE_OP_APPEND] = {append_start, true, true},
    [STATE_OP_ENTRIES] = {entries_start, true, false},
    [STATE_OP_CLEAR] = {clear_start, true, true},
    [STATE_OP_LOCK] = {lock_start, true, false},
    [STATE_OP_UNLOCK] = {unlock_start, true, false},
    [STATE_OP_LIST] = {list_start, false, false},
    [STATE_OP_VERSION] = {version_start, true, false},
    [STATE_OP_OBJECT_OPEN] = {object_open_start, false, false},
    [STATE_OP_OBJECT] = {object_start, false, false},
};

static void refuse(state_done done, void *context, int code, const char *why)
{
    struct error e;
    error_set(&e, code, "%s", why);
    if (done)
        done(context, &(struct state_answer){.result = e.code, .error = &e, .fd = -1});
}

static struct pending *pending_create(struct state_tier *t, struct call *c,
                                      const struct state_request *r)
{
    struct pending *p = calloc(1, sizeof *p + r->key_len + r->data_len);
    if (!p)
        return NULL;
    p->tier = t;
    p->call = c;
    p->request = *r;
    p->request.key = p->bytes;
    p->request.data = p->bytes + r->key_len;
    if (r->key_len)
        memcpy(p->bytes, r->key, r->key_len);
    if (r->data_len)
        memcpy(p->bytes + r->key_len, r->data, r->data_len);
    LIST_INSERT_HEAD(&c->pending, p, in_call);
    c->worker->unanswered++;
    t->counters.waiting++;
    return p;
}

static void operation_begin(struct pending *p)
{
    const struct state_request *r = &p->request;
    if (operations[r->op].on_value) {
        p->attachment = call_attachment(p->call, r->slot, r->gen);
        if (!p->attachment) {
            pending_fail(p, ATOLL_EBADF, "this call has no such value open");
            return;
        }
        if (operations[r->op].needs_write && !p->attachment->writable) {
            pending_fail(p, ATOLL_EPERM, "the value is not open for writing");
            return;
        }
        pending_hold(p, p->attachment->value);
    }
    operations[r->op].start(p);
}

void state_submit(struct state_tier *t, struct state_client client, const struct state_request *r,
                  state_done done, void *context)
{
    assert(r->op > 0 && r->op < STATE_OPS);
    if (!state_op_answers(r->op))
        done = NULL;
    struct worker *w = worker_find(t, client.worker);
    struct call *c = w ? call_find(t, w, client.call) : NULL;
    if (!w || t->closing)
        return refuse(done, context, ATOLL_ECANCELED, "the worker has not joined the state tier");
    if (w->unanswered >= STATE_REQUESTS_MAX)
        return refuse(done, context, ATOLL_ELIMIT, "too many state requests are waiting");
    if (!c && !(c = call_create(t, w, client.call)))
        return refuse(done, context, ATOLL_ENOMEM, "no memory for another call that uses state");
    struct pending *p = pending_create(t, c, r);
    if (!p)
        return refuse(done, context, ATOLL_ENOMEM, "no memory for a state request");
    p->done = done;
    p->context = context;
    operation_begin(p);
    tier_arm(t);
}

/* ---- the whole ---- */

int state_create(const struct state_options *options, struct state_tier **out, struct error *e)
{
    assert(options->gt && options->now && options->timer);
    struct state_tier *t = calloc(1, sizeof *t);
    if (!t)
        return error_set(e, ATOLL_ENOMEM, "no memory for the local tier of state");
    t->options = *options;
    t->gt = options->gt;
    LIST_INIT(&t->tenants);
    LIST_INIT(&t->workers);
    TAILQ_INIT(&t->waiting_room);
    TAILQ_INIT(&t->deferred);
    TAILQ_INIT(&t->idle);
    t->timer_asked = STATE_NEVER;
    *out = t;
    return 0;
}

void state_destroy(struct state_tier *t)
{
    if (!t)
        return;
    t->closing = true;
    while (!TAILQ_EMPTY(&t->deferred))
        deferred_run(t);
    while (!LIST_EMPTY(&t->workers))
        state_worker_lost(t, LIST_FIRST(&t->workers)->number);
    while (t->values)
        replica_drop((struct replica *)*(struct identity **)t->values);
    while (!LIST_EMPTY(&t->tenants)) {
        struct tenant *n = LIST_FIRST(&t->tenants);
        LIST_REMOVE(n, link);
        tenant_free(n);
    }
    alarm_heap_free(&t->alarms);
    free(t->scratch);
    free(t);
}

static void check_visit(const void *node, VISIT visit, int depth)
{
    (void)depth;
    if (visit == postorder || visit == leaf)
        replica_check(*(const struct replica *const *)node);
}

void tier_check(const struct state_tier *t)
{
    twalk(t->values, check_visit);
}

void state_counters(const struct state_tier *t, struct state_counters *out)
{
    *out = t->counters;
    out->local_bytes = t->local_bytes;
}
