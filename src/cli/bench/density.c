/*
 * `atoll bench density`: memory of functions that are there and do nothing, over as many workers as
 * they need: first parked in the middle of a call, then idle in the pool.
 */
#include "cli/bench/bench.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

#define WAIT_MS 20000

static void memory_add(struct bench *b, const char *name, const struct bench_memory *before,
                       const struct bench_memory *now, uint32_t count, double bar)
{
    double kib = now->pss_kib + now->tables_kib - before->pss_kib - before->tables_kib;
    figures_add(b->figures, &(struct figure){.topic = "density",
                                             .name = name,
                                             .unit = "KiB",
                                             .value = kib / count,
                                             .low = NAN,
                                             .high = NAN,
                                             .bar = bar,
                                             .ratio = NAN});
}

void bench_density(struct bench *b)
{
    struct bench_node node;
    struct bench_memory before, parked, idle;
    struct bench_reply reply;
    char text[96], input[16];
    uint32_t count = b->full ? 10000 : 2000;
    static const char *const settings[] = {"limits.queue=100000", "limits.tenant_memory=64GiB",
                                           NULL};
    bench_node_start(&node, settings);
    bench_deploy(&node, "idle", "idle", "limits: { memory: 2MiB }\ntimeout: 120s\n");
    bench_call_good(&node, "idle", "1", NULL, &reply);
    buffer_free(&reply.output);
    bench_memory(&node, &before);
    snprintf(input, sizeof input, "%d", WAIT_MS);
    int64_t begun = clock_monotonic_ns();
    bench_batch(&node, "idle", input, count);
    double admitted_us = (double)(clock_monotonic_ns() - begun) / 1e3;
    usleep(WAIT_MS * 1000 / 2);
    bench_memory(&node, &parked);
    double live = bench_top(&node, "live_calls");
    while (bench_top(&node, "live_calls") > 0)
        usleep(50000);
    bench_memory(&node, &idle);
    if (live < count)
        bench_fail(1, "only %.0f of %u calls wait at once", live, count);
    snprintf(text, sizeof text, "%u parked calls: PSS and page tables, each", count);
    memory_add(b, text, &before, &parked, count, NAN);
    snprintf(text, sizeof text, "%u idle instances: PSS and page tables, each", count);
    memory_add(b, text, &before, &idle, count, 40);
    figures_note(b->figures, "density", "workers", "", parked.workers);
    figures_note(b->figures, "density", "admitting a call of a batch, each", "us",
                 admitted_us / count);
    bench_node_stop(&node);
}
