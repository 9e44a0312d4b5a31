/*
 * bench-interrupt: how soon does a guest stop? A thread runs an empty endless loop; another asks
 * for an interruption; the time until the first has control again is taken, wall time in
 * microseconds. The limit beside it is the kernel's: the same signal path to a native thread in an
 * empty loop, until its handler runs.
 */
#include "cli/bench/measure.h"
#include "guest.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#define ROUNDS    1000
#define SETTLE_US 200 /* until the other thread is certainly in its loop */

/* Rounds are counted by both sides; `entered` and `left` say where the looping thread is. */
static _Atomic int entered, left;
static _Atomic int64_t left_at;
static _Atomic bool loop_on;

static void *guest_loop(void *argument)
{
    struct instance *instance = argument;
    uint32_t function = guest_function(instance, "endless");
    for (int i = 0; i < ROUNDS; i++) {
        struct run_result result = {0};
        struct error e = {0};
        union host_slot slot = {0};
        atomic_store(&entered, i + 1);
        bench_check(instance_invoke(instance, function, &slot, &result, &e), &e);
        atomic_store(&left_at, clock_monotonic_ns());
        if (result.status != RUN_INTERRUPTED)
            bench_fail(1, "the endless loop ended without being stopped");
        arena_abandon(instance_arena(instance));
        atomic_store(&left, i + 1);
    }
    return NULL;
}

static void native_handler(int signal)
{
    (void)signal;
    atomic_store(&left_at, clock_monotonic_ns());
    atomic_store(&loop_on, false);
}

static void *native_loop(void *argument)
{
    (void)argument;
    for (int i = 0; i < ROUNDS; i++) {
        atomic_store(&loop_on, true);
        atomic_store(&entered, i + 1);
        while (atomic_load_explicit(&loop_on, memory_order_relaxed))
            ;
        atomic_store(&left, i + 1);
    }
    return NULL;
}

static void latencies_measure(pthread_t thread, struct arena *arena, struct samples *out)
{
    for (int i = 0; i < ROUNDS; i++) {
        while (atomic_load(&entered) <= i)
            usleep(1);
        usleep(SETTLE_US);
        int64_t asked = clock_monotonic_ns();
        if (arena)
            arena_interrupt(arena);
        else
            pthread_kill(thread, SIGUSR1);
        while (atomic_load(&left) <= i)
            usleep(1);
        samples_add(out, (double)(atomic_load(&left_at) - asked) / 1e3);
    }
}

static void thread_measure(void *(*body)(void *), struct instance *instance, struct samples *out)
{
    pthread_t thread;
    atomic_store(&entered, 0);
    atomic_store(&left, 0);
    if (pthread_create(&thread, NULL, body, instance) != 0)
        bench_fail(1, "cannot start a thread");
    latencies_measure(thread, instance ? instance_arena(instance) : NULL, out);
    pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
    struct error e = {0};
    struct samples guest = {0}, native = {0};
    if (argc > 2 || (argc == 2 && argv[1][0] == '-'))
        bench_fail(2, "usage: bench-interrupt [ATOLL-CC]");
    environment_print();
    bench_check(engine_initialize(&e), &e);
    const struct sigaction action = {.sa_handler = native_handler, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &action, NULL);
    struct artefact *artefact = guest_artefact(argc == 2 ? argv[1] : NULL, "endless");
    struct instance *instance = guest_instance(artefact);
    thread_measure(guest_loop, instance, &guest);
    thread_measure(native_loop, NULL, &native);
    printf("%-44s %9s %9s %9s   (%d rounds)\n", "stopping an empty endless loop", "p50 us",
           "p99 us", "max us", ROUNDS);
    printf("%-44s %9.1f %9.1f %9.1f\n", "guest: asked to control returned", samples_median(&guest),
           samples_quantile(&guest, 0.99), samples_quantile(&guest, 1));
    printf("%-44s %9.1f %9.1f %9.1f\n", "limit: signal to a native thread's handler",
           samples_median(&native), samples_quantile(&native, 0.99), samples_quantile(&native, 1));
    printf("%-44s %9.2f %9.2f\n", "ratio", samples_median(&guest) / samples_median(&native),
           samples_quantile(&guest, 0.99) / samples_quantile(&native, 0.99));
    samples_free(&guest);
    samples_free(&native);
    arena_destroy(instance_arena(instance));
    artefact_release(artefact);
    return 0;
}
