/*
 * bench-chain: what does one function pay for calling another?
 *
 * A guest chains a function that does nothing and waits for it. First with forgetting, each call in
 * an instance that is reset before it is used again, so that the reset counts too. Then only the
 * hand-over: two host calls, two changes of the arena, and the call's bookkeeping; in an instance
 * that is not reset (reset: tenant-trusted), and in instances that are reset in pauses in between,
 * each of which the processor has not seen for a while. Then it starts 1 to 100,000 at once. A
 * worker process does it as in a node. The peers, in the same run: two threads that hand a futex
 * back and forth, and two processes that do it over pipes, which is the least that a call between
 * processes can cost.
 */
#define _GNU_SOURCE
#include "cli/bench/measure.h"
#include "supervisor.h"

#include <linux/futex.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CALLS     1u
#define NOOP      2u
#define READY     3u
#define KEPT      4u
#define ROUNDS    20
#define PER_ROUND 5000
#define PEER      20000
#define ROOTS     5000

static void row_print(const char *what, struct samples *us)
{
    printf("%-58s %9.2f %9.2f %9.2f\n", what, samples_median(us), samples_quantile(us, 0.1),
           samples_quantile(us, 0.99));
}

/* ---- peers ---- */

static _Atomic uint32_t turn;

static void futex_pass(uint32_t mine, uint32_t next)
{
    uint32_t now;
    while ((now = atomic_load(&turn)) != mine)
        syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, now, NULL, NULL, 0);
    atomic_store(&turn, next);
    syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void *futex_partner(void *unused)
{
    for (int k = 0; k < PEER; k++)
        futex_pass(1, 0);
    return unused;
}

static void futex_measure(struct samples *us)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, futex_partner, NULL) != 0)
        bench_fail(1, "no thread");
    for (int k = 0; k < PEER; k++) {
        int64_t begun = clock_monotonic_ns();
        futex_pass(0, 1);
        while (atomic_load(&turn) != 0)
            syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0);
        samples_add(us, (double)(clock_monotonic_ns() - begun) / 1e3);
    }
    pthread_join(thread, NULL);
}

static void pipe_measure(struct samples *us)
{
    int there[2], back[2];
    char byte = 0;
    if (pipe(there) != 0 || pipe(back) != 0)
        bench_fail(1, "no pipe");
    pid_t child = fork();
    if (child == 0) {
        for (int k = 0; k < PEER; k++)
            if (read(there[0], &byte, 1) != 1 || write(back[1], &byte, 1) != 1)
                _exit(1);
        _exit(0);
    }
    for (int k = 0; k < PEER; k++) {
        int64_t begun = clock_monotonic_ns();
        if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1)
            bench_fail(1, "the pipe broke");
        samples_add(us, (double)(clock_monotonic_ns() - begun) / 1e3);
    }
    waitpid(child, NULL, 0);
    for (int k = 0; k < 2; k++) {
        close(there[k]);
        close(back[k]);
    }
}

/* ---- the worker ---- */

static const struct ended *run(struct supervisor *s, uint32_t version, const char *input)
{
    supervisor_forget(s);
    const struct ended *r = supervisor_run(s, version, input);
    if (!r || r->result.status != CALL_OK)
        bench_fail(1, "the function failed: %s", r ? r->text : "no result");
    return r;
}

static struct supervisor *worker_start(uint32_t threads)
{
    const struct worker_settings settings = {.threads = threads};
    struct supervisor *s = supervisor_start(&settings);
    supervisor_name(s, "acme/noop", NOOP, 0);
    supervisor_name(s, "acme/ready", READY, 0);
    supervisor_name(s, "acme/kept", KEPT, 0);
    if (supervisor_load(s, CALLS, GUEST_MODULES "/calls.wasm",
                        "{\"name\":\"acme/calls\",\"clock_resolution\":\"1ns\"}", -1) != 0 ||
        supervisor_load(s, NOOP, GUEST_MODULES "/noop.wasm", "{\"name\":\"acme/noop\"}", -1) != 0 ||
        supervisor_load(s, READY, GUEST_MODULES "/noop.wasm",
                        "{\"name\":\"acme/ready\",\"pool\":{\"keep_warm\":16}}", -1) != 0 ||
        supervisor_load(s, KEPT, GUEST_MODULES "/noop.wasm",
                        "{\"name\":\"acme/kept\",\"reset\":\"tenant-trusted\"}", -1) != 0)
        bench_fail(1, "%s", s->loaded_text);
    return s;
}

/* act: a letter of tests/guest/functions/calls.c. */
static void chain_measure(struct supervisor *s, char act, int rounds, int per_round,
                          struct samples *us)
{
    char input[16];
    snprintf(input, sizeof input, "%c%d", act, per_round);
    run(s, CALLS, input);
    for (int round = 0; round < rounds; round++) {
        const struct ended *r = run(s, CALLS, input);
        for (int k = 0; k < per_round; k++)
            samples_add(us, (double)load_u64(r->output + 8 * k) / 1e3);
    }
}

/* Instances of "ready" are made by the second. */
static void ready_wait(struct supervisor *s)
{
    for (int k = 0; k < 4; k++)
        supervisor_listen(s, 1000000000);
}

static void root_measure(struct supervisor *s, struct samples *us)
{
    for (int k = 0; k < ROOTS; k++) {
        int64_t begun = clock_monotonic_ns();
        run(s, NOOP, "");
        samples_add(us, (double)(clock_monotonic_ns() - begun) / 1e3);
    }
}

/* All calls at once: how many a second. */
static double roots_a_second(struct supervisor *s)
{
    int64_t begun = clock_monotonic_ns();
    uint64_t last = 0;
    supervisor_forget(s);
    for (int k = 0; k < ROOTS; k++)
        last = supervisor_call(s, NOOP, "", 0, NULL);
    while (s->ended_count < ROOTS)
        supervisor_listen(s, 1000000000);
    (void)last;
    return ROOTS * 1e9 / (double)(clock_monotonic_ns() - begun);
}

static void fan_measure(struct supervisor *s)
{
    printf("\n%-58s %9s %9s\n", "fan-out and await of all, two threads", "ms", "us each");
    for (int n = 1; n <= 100000; n *= 10) {
        struct samples ms = {0};
        char input[16], what[64];
        snprintf(input, sizeof input, "O%d", n);
        for (int round = 0; round < (n > 1000 ? 5 : 50); round++) {
            int64_t begun = clock_monotonic_ns();
            run(s, CALLS, input);
            samples_add(&ms, (double)(clock_monotonic_ns() - begun) / 1e6);
        }
        snprintf(what, sizeof what, "%d children", n);
        printf("%-58s %9.3f %9.2f\n", what, samples_median(&ms),
               samples_median(&ms) * 1e3 / (double)n);
        samples_free(&ms);
    }
}

int main(void)
{
    struct samples futex = {0}, pipes = {0}, one = {0}, two = {0}, ready = {0}, kept = {0},
                   root = {0};
    environment_print();
    futex_measure(&futex);
    pipe_measure(&pipes);
    struct supervisor *s = worker_start(1);
    chain_measure(s, 'W', ROUNDS, PER_ROUND, &one);
    supervisor_stop(s, 0);
    s = worker_start(2);
    chain_measure(s, 'W', ROUNDS, PER_ROUND, &two);
    ready_wait(s);
    chain_measure(s, 'Z', ROUNDS, PER_ROUND, &kept);
    chain_measure(s, 'Y', ROUNDS, PER_ROUND / 10, &ready);
    root_measure(s, &root);

    printf("\n%-58s %9s %9s %9s\n", "microseconds", "median", "p10", "p99");
    row_print("futex: to another thread and back", &futex);
    row_print("pipes: to another process and back", &pipes);
    row_print("chain + await + forget, instance reset each, one thread", &one);
    row_print("the same, two threads", &two);
    row_print("chain + await, direct, no reset", &kept);
    row_print("chain + await, direct, the reset was before", &ready);
    row_print("a root call from the supervisor's process and back", &root);
    printf("%-58s %9.0f\n", "root calls a second, sent at once", roots_a_second(s));
    printf("%-58s %9.2f\n", "chain / pipes", samples_median(&two) / samples_median(&pipes));
    printf("%-58s %9.2f\n", "chain / futex", samples_median(&two) / samples_median(&futex));
    fan_measure(s);
    supervisor_stop(s, 0);
    samples_free(&futex);
    samples_free(&pipes);
    samples_free(&one);
    samples_free(&two);
    samples_free(&ready);
    samples_free(&kept);
    samples_free(&root);
    environment_verdict();
    return 0;
}
