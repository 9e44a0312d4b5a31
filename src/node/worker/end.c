/*
 * The end of a worker process: its threads leave, and what it had is given back.
 *
 *   worker_end     any thread: nobody takes anything up any more, whatever runs is interrupted
 *   threads leave  a running call is put down where it is
 *   worker_close   one thread is left: calls, versions with their instances, tables, the link
 *
 * Calls that have not ended stay so: the supervisor, which hears of the end by the socket and the
 * process, says what becomes of them. Giving back costs what the kernel's taking would; that it is
 * done in order shows a leak to whoever looks for one.
 */
#include "node/worker/process.h"
#include "node/worker/shared_files.h"

#include "state/attach.h"

#include <stdlib.h>
#include <unistd.h>

/* ---- the threads ---- */

/* A thread that sets its arena after this looks at worker.over behind it. */
static void threads_interrupt(const struct worker *w)
{
    for (uint32_t k = 0; w->threads && k < w->thread_count; k++) {
        struct arena *arena = atomic_load(&w->threads[k].arena);
        if (arena)
            arena_interrupt(arena);
    }
}

void worker_end(struct worker *w, int status)
{
    bool was = false;
    if (!atomic_compare_exchange_strong(&w->over, &was, true))
        return;
    w->exit_status = status;
    ring_wake_all(&w->link->in);
    pthread_mutex_lock(&w->lock);
    threads_interrupt(w);
    timekeeper_need(w, INT64_MIN + 1);
    pthread_mutex_unlock(&w->lock);
}

/* ---- what it had ---- */

static void call_close(struct worker *w, struct call *c)
{
    struct faaslet *f = c->faaslet;
    if (f) {
        faaslet_leave(f);
        c->faaslet = NULL;
        faaslet_destroy(f);
    }
    LIST_INIT(&c->children); /* they are closed like all calls */
    c->parent = NULL;
    call_free(w, c);
}

static void calls_close(struct worker *w)
{
    for (uint32_t k = 0; k < w->call_buckets; k++)
        for (struct call *c; (c = LIST_FIRST(&w->calls[k]));)
            call_close(w, c);
    call_storage_free(w);
    free(w->calls);
}

void worker_close(struct worker *w)
{
    calls_close(w);
    versions_bury(w);
    versions_free(w);
    queue_free(&w->queue);
    names_free(w);
    free(w->requests);
    shared_index_release(w->shared);
    attach_table_destroy(w->state);
    timekeeper_close(w);
    close(w->unconnected[0]);
    close(w->unconnected[1]);
    link_close(w->link);
    free(w->link);
    pthread_mutex_destroy(&w->lock);
    pthread_mutex_destroy(&w->receive_lock);
}
