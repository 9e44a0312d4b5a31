/*
 * The timekeeper: a thread that ends what is late, takes the processor from who has had his slice,
 * and waits for descriptors on behalf of parked calls.
 *
 * It sleeps until the next timer is due. It ticks every millisecond while every guest thread has a
 * call, or one has queued a call without waking anybody, and for a while after: then it looks
 * whether slices are over and whether the ring needs draining. Nobody has to wake it for a timer
 * that is later than the one it sleeps for.
 */
#define _GNU_SOURCE
#include "node/worker/process.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define TICK_NS   1000000ll
#define LINGER_NS 100000000ll  /* it ticks so long after the last reason to */
#define SWEEP_NS  1000000000ll /* pools, counters */
#define EVENTS    64
#define OWN_EVENT 0ull         /* epoll data: its own event descriptor … */
#define LINK_GONE (UINT64_MAX) /* … the link's socket; else a call's id */
#define AWAKE     INT64_MIN

int timekeeper_begin(struct worker *w, struct error *e)
{
    struct timekeeper *t = &w->timekeeper;
    struct epoll_event own = {.events = EPOLLIN, .data.u64 = OWN_EVENT};
    struct epoll_event gone = {.events = EPOLLRDHUP, .data.u64 = LINK_GONE};
    t->until_ns = AWAKE;
    t->epoll = epoll_create1(EPOLL_CLOEXEC);
    t->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (t->epoll < 0 || t->event < 0 || epoll_ctl(t->epoll, EPOLL_CTL_ADD, t->event, &own) < 0 ||
        epoll_ctl(t->epoll, EPOLL_CTL_ADD, w->link->socket, &gone) < 0)
        return error_set_errno(e, 0, "a worker cannot wait for descriptors");
    wheel_begin(&w->wheel, clock_monotonic_ns());
    return 0;
}

void timekeeper_close(struct worker *w)
{
    close(w->timekeeper.epoll);
    close(w->timekeeper.event);
}

/* ---- for other threads, under worker.lock ---- */

void timekeeper_need(struct worker *w, int64_t at_ns)
{
    struct timekeeper *t = &w->timekeeper;
    const uint64_t one = 1;
    if (at_ns >= t->until_ns)
        return;
    t->until_ns = AWAKE; /* once is enough */
    ssize_t ignored = write(t->event, &one, sizeof one);
    (void)ignored;
}

void timekeeper_busy(struct worker *w, int64_t now_ns)
{
    struct timekeeper *t = &w->timekeeper;
    t->busy_ns = now_ns;
    if (!t->ticking) {
        t->ticking = true;
        timekeeper_need(w, now_ns);
    }
}

void timekeeper_watch(struct worker *w, struct call *c, const struct host_park *park)
{
    for (uint32_t k = 0; k < park->fd_count; k++) {
        const struct pollfd *p = &park->fds[k];
        /* poll's and epoll's bits are the same numbers on Linux. */
        struct epoll_event event = {.events = (uint32_t)(uint16_t)p->events | EPOLLONESHOT,
                                    .data.u64 = c->id};
        int rc = epoll_ctl(w->timekeeper.epoll, EPOLL_CTL_ADD, p->fd, &event);
        if (rc < 0 && errno == EEXIST) /* twice in one list: what either waits for */
            rc = (event.events |= EPOLLIN | EPOLLOUT,
                  epoll_ctl(w->timekeeper.epoll, EPOLL_CTL_MOD, p->fd, &event));
        if (rc < 0) { /* not one to wait for: ready, as poll says */
            call_wake(w, c);
            return;
        }
    }
}

void timekeeper_unwatch(struct worker *w, struct call *c)
{
    const struct host_park *park = c->faaslet ? arena_park(c->faaslet->arena) : NULL;
    for (uint32_t k = 0; park && k < park->fd_count; k++)
        epoll_ctl(w->timekeeper.epoll, EPOLL_CTL_DEL, park->fds[k].fd, NULL);
}

/* ---- the thread ---- */

static void timer_due(struct worker *w, struct timer *timer)
{
    if (timer->ends) {
        call_stop(w, (struct call *)(void *)((char *)timer - offsetof(struct call, deadline)),
                  STOP_DEADLINE);
        return;
    }
    struct call *c = (struct call *)(void *)((char *)timer - offsetof(struct call, wake));
    if (c->stage != STAGE_WAITING)
        call_wake(w, c);
    else if (c->version->stage == VERSION_UNUSABLE)
        queue_ready(w, c);
    else
        queue_new(w, c);
}

static void slices_end(struct worker *w, int64_t now)
{
    if (!queue_any(&w->queue))
        return;
    for (uint32_t k = 0; k < w->thread_count; k++) {
        struct guest_thread *t = &w->threads[k];
        struct arena *arena = atomic_load(&t->arena);
        if (t->running && arena && now - t->since_ns >= SLICE_NS) {
            t->since_ns = now;
            arena_interrupt(arena);
        }
    }
}

/* Whether there is a call that a thread kept to itself and has not come back for. */
static bool unannounced_take(struct worker *w)
{
    bool any = false;
    for (uint32_t k = 0; k < w->thread_count; k++)
        any |= atomic_exchange(&w->threads[k].unannounced, false);
    return any;
}

/* What has to be done now; how long to sleep then, in ns. Under worker.lock. */
static int64_t moment(struct worker *w, int64_t now, bool *announce)
{
    struct timekeeper *t = &w->timekeeper;
    struct timer *timer;
    *announce = false;
    while ((timer = wheel_expire(&w->wheel, now))) {
        timer_due(w, timer);
        *announce = true;
    }
    slices_end(w, now);
    if (w->running == w->thread_count)
        t->busy_ns = now;
    /* Whoever does not announce a call looks at this behind it; so either he sees that there are no
     * more ticks, or what he did is seen here. */
    atomic_store(&t->ticking, now - t->busy_ns < LINGER_NS);
    if (unannounced_take(w)) {
        *announce = true;
        t->busy_ns = now;
        atomic_store(&t->ticking, true);
    }
    int64_t next = wheel_next(&w->wheel, now), sweep = t->swept_ns + SWEEP_NS;
    if (sweep < next)
        next = sweep;
    if ((t->ticking || w->stopping) && now + TICK_NS < next)
        next = now + TICK_NS;
    t->until_ns = next;
    return next > now ? next - now : 0;
}

void timekeeper_look(struct worker *w)
{
    bool announce;
    pthread_mutex_lock(&w->lock);
    (void)moment(w, clock_monotonic_ns(), &announce);
    w->timekeeper.until_ns = AWAKE;
    pthread_mutex_unlock(&w->lock);
}

static void events_take(struct worker *w, const struct epoll_event *events, int count)
{
    uint64_t counter;
    for (int k = 0; k < count; k++) {
        if (events[k].data.u64 == OWN_EVENT) {
            ssize_t ignored = read(w->timekeeper.event, &counter, sizeof counter);
            (void)ignored;
        } else if (events[k].data.u64 == LINK_GONE) {
            worker_end(w, 0);
        } else {
            pthread_mutex_lock(&w->lock);
            struct call *c = call_find(w, events[k].data.u64);
            if (c)
                call_wake(w, c);
            pthread_mutex_unlock(&w->lock);
        }
    }
    if (queue_any(&w->queue))
        guest_announce(w);
}

/* Drains the ring. A guest thread that was woken for the same message may have found the ring empty
 * and gone back to sleep before what the message brings was queued: this thread wakes it again. */
static void ring_drain(struct worker *w)
{
    worker_receive(w);
    if (queue_any(&w->queue))
        guest_announce(w);
}

/* Once a second. */
static void sweep(struct worker *w, int64_t now)
{
    if (now - w->timekeeper.swept_ns < SWEEP_NS)
        return;
    w->timekeeper.swept_ns = now;
    pool_sweep(w, now);
    tallies_send(w);
}

static void stop_look(struct worker *w, int64_t now)
{
    pthread_mutex_lock(&w->lock);
    bool over = w->stopping && (w->live == 0 || now >= w->stop_ns);
    pthread_mutex_unlock(&w->lock);
    if (!over)
        return;
    tallies_send(w);
    worker_end(w, 0);
}

void *timekeeper_main(void *worker)
{
    struct worker *w = worker;
    struct epoll_event events[EVENTS];
    while (!atomic_load(&w->over)) {
        int64_t now = clock_monotonic_ns();
        bool announce;
        pthread_mutex_lock(&w->lock);
        int64_t sleep = moment(w, now, &announce);
        pthread_mutex_unlock(&w->lock);
        if (announce)
            guest_announce(w);
        if (w->timekeeper.ticking && ring_pending(&w->link->in)) {
            ring_drain(w);
        }
        versions_bury(w);
        sweep(w, now);
        stop_look(w, now);
        struct timespec timeout = {sleep / 1000000000, sleep % 1000000000};
        int got = epoll_pwait2(w->timekeeper.epoll, events, EVENTS, &timeout, NULL);
        pthread_mutex_lock(&w->lock);
        w->timekeeper.until_ns = AWAKE;
        pthread_mutex_unlock(&w->lock);
        events_take(w, events, got);
    }
    return NULL;
}
