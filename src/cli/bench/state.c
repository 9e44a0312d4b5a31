/*
 * `atoll bench state`: attaching to a large value, sharing one, and additions that must not be
 * lost. Times of attaching are taken by the function itself (sdk/bench/probe.c).
 */
#include "cli/bench/bench.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ATTACHES 2000u
#define HOLDERS  100u
#define SHARED   (256.0 * 1024) /* KiB, as in probe.c */
#define WRITERS  8

static void attach_add(struct bench *b, struct bench_node *n, const char *act, const char *name,
                       double bar)
{
    struct samples us = {0};
    bench_times(n, act, ATTACHES, &us);
    figures_add(b->figures, &(struct figure){.topic = "state",
                                             .name = name,
                                             .unit = "us",
                                             .value = samples_median(&us),
                                             .low = samples_quantile(&us, 0),
                                             .high = samples_quantile(&us, 0.99),
                                             .bar = bar,
                                             .ratio = NAN});
    samples_free(&us);
}

/* Waits until the workers' memory does not change any more. */
static void memory_settled(struct bench_node *n, struct bench_memory *out)
{
    double before;
    bench_memory(n, out);
    for (int i = 0; i < 30; i++) {
        before = out->pss_kib;
        usleep(300000);
        bench_memory(n, out);
        if (fabs(out->pss_kib - before) < 512)
            return;
    }
}

/* 100 calls that hold the same 256 MiB: how much memory they take beyond it. */
static void sharing_add(struct bench *b, struct bench_node *n)
{
    struct bench_memory alone, together;
    for (int k = 0; k < 2; k++) { /* the first brings the value into memory, in large pages */
        bench_batch(n, "probe", "hold 3000", 1);
        memory_settled(n, &alone);
        while (bench_top(n, "live_calls") > 0)
            usleep(10000);
    }
    bench_batch(n, "probe", "hold 15000", HOLDERS);
    memory_settled(n, &together);
    double live = bench_top(n, "live_calls");
    while (bench_top(n, "live_calls") > 0)
        usleep(10000);
    if (live < HOLDERS) {
        figures_skip(b->figures, "100 functions that share a value", "they did not run at once");
        return;
    }
    figures_add(b->figures,
                &(struct figure){.topic = "state",
                                 .name = "100 functions that share 256 MiB: memory, of one's",
                                 .unit = "x",
                                 .value = 1 + (together.pss_kib - alone.pss_kib) / SHARED,
                                 .low = NAN,
                                 .high = NAN,
                                 .bar = 1.02,
                                 .ratio = NAN});
    figures_note(b->figures, "state", "of which each function's own memory", "KiB",
                 (together.pss_kib - alone.pss_kib) / (HOLDERS - 1));
}

/* ---- writers ---- */

struct writer {
    pthread_t thread;
    struct bench_node *node;
    const char *act;
    uint32_t n;
};

/* Each with a connection of its own. */
static void *writer_run(void *argument)
{
    struct writer *w = argument;
    struct bench_node own;
    bench_node_join(&own, w->node);
    bench_act_ms(&own, w->act, w->n, NULL);
    bench_node_leave(&own);
    return NULL;
}

/* Eight calls at once; what the value is then must be what they added. */
static void writers_add(struct bench *b, struct bench_node *n, const char *act, const char *key,
                        uint32_t each, const char *name)
{
    struct writer writers[WRITERS];
    char text[96];
    int64_t begun = clock_monotonic_ns();
    for (int i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){.node = n, .act = act, .n = each};
        if (pthread_create(&writers[i].thread, NULL, writer_run, &writers[i]) != 0)
            bench_fail(1, "cannot start a thread");
    }
    for (int i = 0; i < WRITERS; i++)
        pthread_join(writers[i].thread, NULL);
    double ms = (double)(clock_monotonic_ns() - begun) / 1e6;
    snprintf(text, sizeof text, "%d writers x %u %s: lost updates", WRITERS, each, name);
    figures_add(b->figures,
                &(struct figure){.topic = "state",
                                 .name = text,
                                 .unit = "",
                                 .value = (double)WRITERS * each - bench_state_u64(n, key),
                                 .low = NAN,
                                 .high = NAN,
                                 .bar = 0,
                                 .ratio = NAN});
    snprintf(text, sizeof text, "the time of that, per update");
    figures_note(b->figures, "state", text, "us", ms * 1e3 / (WRITERS * (double)each));
}

void bench_state(struct bench *b)
{
    struct bench_node node;
    static const char *const settings[] = {"limits.queue=10000", NULL};
    bench_node_start(&node, settings);
    bench_deploy(&node, "probe", "probe", "clock_resolution: 1ns\ntimeout: 120s\n");
    attach_add(b, &node, "open", "open and close 1 GiB that is present: p50, least – p99", NAN);
    attach_add(b, &node, "attach", "map it and read from it: p50, least – p99", 10);
    sharing_add(b, &node);
    writers_add(b, &node, "add", "sum", b->full ? 1000000 : 100000, "additions merged");
    writers_add(b, &node, "count", "count", b->full ? 10000 : 500, "by version");
    bench_node_stop(&node);
}
