/* See verifier.h. Queues under one lock, for the jobs to do and those done. */
#define _GNU_SOURCE
#include "ledger/service/verifier.h"

#include "ledger/object/receipt_batch.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define THREADS_MAX 16u
#define TOGETHER    2048u /* signatures put into one sum; a larger job is taken alone */

struct queue {
    struct ledger_verify_job *first, **end;
};

struct worker {
    struct verifier *of;
    pthread_t thread;
    struct ledger_batch_verifier *batch;
    struct ledger_signature items[TOGETHER];
    bool valid[TOGETHER];
};

struct verifier {
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct queue plain, suspect, done;
    bool stopping;
    verifier_done tell;
    void *context;
    uv_async_t wake;
    void (*closed)(void *);
    void *closed_context;
    unsigned threads;
    struct worker *workers[THREADS_MAX];
};

static void queue_append(struct queue *q, struct ledger_verify_job *t)
{
    t->next = NULL;
    *q->end = t;
    q->end = &t->next;
}

static struct ledger_verify_job *queue_take(struct queue *q)
{
    struct ledger_verify_job *t = q->first;
    if (t && (q->first = t->next) == NULL)
        q->end = &q->first;
    return t;
}

static void queue_init(struct queue *q)
{
    *q = (struct queue){.end = &q->first};
}

/* As many jobs as fit into one sum. Under the lock. */
static void queue_move(struct queue *from, struct queue *group, size_t *count)
{
    while (from->first && (*count == 0 || *count + from->first->count <= TOGETHER)) {
        *count += from->first->count;
        queue_append(group, queue_take(from));
    }
}

/* The jobs of one sum, or one suspect; none: there is none. Under the lock. */
static void group_take(struct verifier *v, struct queue *group)
{
    size_t count = 0;
    queue_init(group);
    queue_move(&v->plain, group, &count);
    if (count == 0 && v->suspect.first)
        queue_append(group, queue_take(&v->suspect));
}

/* A verdict that cannot be given (no randomness) is no: the request may come again. */
static void check(struct worker *w, const struct ledger_signature *items, size_t count, bool *valid)
{
    struct error e;
    struct ledger_verifier verifier = ledger_batch_verifier_of(w->batch);
    if (verifier.verify(verifier.context, items, count, valid, &e) != 0)
        memset(valid, 0, count * sizeof *valid);
}

static void group_check(struct worker *w, const struct queue *group)
{
    size_t count = 0;
    if (group->first->next == NULL) {
        struct ledger_verify_job *job = group->first;
        check(w, job->items, job->count, job->valid);
        return;
    }
    for (const struct ledger_verify_job *t = group->first; t; t = t->next) {
        memcpy(w->items + count, t->items, t->count * sizeof *t->items);
        count += t->count;
    }
    check(w, w->items, count, w->valid);
    count = 0;
    for (const struct ledger_verify_job *t = group->first; t; t = t->next) {
        memcpy(t->valid, w->valid + count, t->count * sizeof *w->valid);
        count += t->count;
    }
}

static void *worker_run(void *argument)
{
    struct worker *w = argument;
    struct verifier *v = w->of;
    pthread_setname_np(pthread_self(), "verify");
    pthread_mutex_lock(&v->lock);
    for (;;) {
        struct queue group;
        struct ledger_verify_job *t;
        while (group_take(v, &group), group.first == NULL && !v->stopping)
            pthread_cond_wait(&v->more, &v->lock);
        if (v->stopping)
            break;
        pthread_mutex_unlock(&v->lock);
        group_check(w, &group);
        pthread_mutex_lock(&v->lock);
        while ((t = queue_take(&group)) != NULL)
            queue_append(&v->done, t);
        uv_async_send(&v->wake);
    }
    pthread_mutex_unlock(&v->lock);
    return NULL;
}

static void done_tell(uv_async_t *wake)
{
    struct verifier *v = wake->data;
    struct queue done;
    struct ledger_verify_job *t;
    queue_init(&done);
    pthread_mutex_lock(&v->lock);
    while ((t = queue_take(&v->done)) != NULL)
        queue_append(&done, t);
    pthread_mutex_unlock(&v->lock);
    while ((t = queue_take(&done)) != NULL)
        v->tell(v->context, t);
}

static int worker_start(struct verifier *v, struct error *e)
{
    struct worker *w = calloc(1, sizeof *w);
    if (w == NULL)
        return error_set(e, ATOLL_ENOMEM, "no memory to verify signatures");
    w->of = v;
    int rc = ledger_batch_verifier_create(TOGETHER, &w->batch, e);
    if (rc == 0 && pthread_create(&w->thread, NULL, worker_run, w) != 0)
        rc = error_set(e, ATOLL_EUNAVAIL, "no thread to verify signatures");
    if (rc != 0) {
        ledger_batch_verifier_destroy(w->batch);
        free(w);
        return rc;
    }
    v->workers[v->threads++] = w;
    return 0;
}

int verifier_open(uv_loop_t *loop, unsigned threads, verifier_done done, void *context,
                  struct verifier **out, struct error *e)
{
    assert(threads >= 1);
    struct verifier *v = calloc(1, sizeof *v);
    *out = NULL;
    if (v == NULL)
        return error_set(e, ATOLL_ENOMEM, "no memory to verify signatures");
    pthread_mutex_init(&v->lock, NULL);
    pthread_cond_init(&v->more, NULL);
    queue_init(&v->plain);
    queue_init(&v->suspect);
    queue_init(&v->done);
    v->tell = done;
    v->context = context;
    uv_async_init(loop, &v->wake, done_tell);
    v->wake.data = v;
    int rc = 0;
    for (unsigned i = 0; i < threads && i < THREADS_MAX && rc == 0; i++)
        rc = worker_start(v, e);
    if (rc != 0)
        verifier_close(v, NULL, NULL);
    else
        *out = v;
    return rc;
}

void verifier_submit(struct verifier *v, struct ledger_verify_job *job)
{
    pthread_mutex_lock(&v->lock);
    queue_append(job->suspect ? &v->suspect : &v->plain, job);
    pthread_cond_signal(&v->more);
    pthread_mutex_unlock(&v->lock);
}

static void verifier_free(uv_handle_t *handle)
{
    struct verifier *v = handle->data;
    void (*closed)(void *) = v->closed;
    void *context = v->closed_context;
    pthread_cond_destroy(&v->more);
    pthread_mutex_destroy(&v->lock);
    free(v);
    if (closed)
        closed(context);
}

void verifier_close(struct verifier *v, void (*closed)(void *), void *context)
{
    pthread_mutex_lock(&v->lock);
    v->stopping = true;
    pthread_cond_broadcast(&v->more);
    pthread_mutex_unlock(&v->lock);
    for (unsigned i = 0; i < v->threads; i++) {
        pthread_join(v->workers[i]->thread, NULL);
        ledger_batch_verifier_destroy(v->workers[i]->batch);
        free(v->workers[i]);
    }
    v->closed = closed;
    v->closed_context = context;
    uv_close((uv_handle_t *)&v->wake, verifier_free);
}
