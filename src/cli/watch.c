/*
 * The watcher thread sleeps in sigtimedwait, which ends on SIGUSR2, on the next deadline, or by
 * cancellation. It keeps interrupting at every deadline that passes; the guest's thread decides.
 */
#define _GNU_SOURCE
#include "cli/watch.h"

#include "base/clock.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

struct watch {
    struct arena *arena;
    pthread_t thread;
    _Atomic bool timed_out, checkpoint_wanted;
    int64_t timeout_at, checkpoint_at; /* INT64_MAX = never */
    sigset_t signals;
};

void watch_block_signal(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static void watch_fire(struct watch *w, _Atomic bool *wish)
{
    atomic_store(wish, true);
    arena_interrupt(w->arena);
}

static void *watch_run(void *argument)
{
    struct watch *w = argument;
    for (;;) {
        int64_t next = w->timeout_at < w->checkpoint_at ? w->timeout_at : w->checkpoint_at;
        int64_t left = next - clock_monotonic_ns();
        if (left < 0)
            left = 0;
        struct timespec wait = {.tv_sec = (time_t)(left / 1000000000),
                                .tv_nsec = left % 1000000000};
        int got = sigtimedwait(&w->signals, NULL, next == INT64_MAX ? NULL : &wait);
        int64_t now = clock_monotonic_ns();
        if (got == SIGUSR2)
            watch_fire(w, &w->checkpoint_wanted);
        if (now >= w->timeout_at) {
            w->timeout_at = INT64_MAX;
            watch_fire(w, &w->timed_out);
        }
        if (now >= w->checkpoint_at) {
            w->checkpoint_at = INT64_MAX;
            watch_fire(w, &w->checkpoint_wanted);
        }
    }
    return NULL;
}

static int64_t moment_after(int64_t delay_ns)
{
    int64_t now = clock_monotonic_ns(), at;
    return delay_ns == 0 || __builtin_add_overflow(now, delay_ns, &at) ? INT64_MAX : at;
}

int watch_start(struct arena *arena, const struct watch_settings *settings, struct watch **out,
                struct error *e)
{
    *out = NULL;
    if (settings->timeout_ns == 0 && settings->checkpoint_ns == 0 && !settings->on_signal)
        return 0;
    struct watch *w = calloc(1, sizeof *w);
    if (!w)
        return error_set(e, ATOLL_ENOMEM, "cannot watch the guest: out of memory");
    w->arena = arena;
    w->timeout_at = moment_after(settings->timeout_ns);
    w->checkpoint_at = moment_after(settings->checkpoint_ns);
    sigemptyset(&w->signals);
    if (settings->on_signal)
        sigaddset(&w->signals, SIGUSR2);
    /* The thread takes no signal but by waiting: the guest's thread is the one to be stopped. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&w->thread, NULL, watch_run, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed) {
        free(w);
        errno = failed;
        return error_set_errno(e, 0, "cannot start the thread that watches the guest");
    }
    *out = w;
    return 0;
}

bool watch_timed_out(const struct watch *w)
{
    return w && atomic_load(&w->timed_out);
}

bool watch_checkpoint_wanted(const struct watch *w)
{
    return w && atomic_load(&w->checkpoint_wanted);
}

void watch_checkpoint_done(struct watch *w)
{
    if (w)
        atomic_store(&w->checkpoint_wanted, false);
}

void watch_stop(struct watch *w)
{
    if (!w)
        return;
    pthread_cancel(w->thread);
    pthread_join(w->thread, NULL);
    free(w);
}
