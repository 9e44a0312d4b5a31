/*
 * `atoll bench deadline`: how late an endless loop is ended, from its deadline until its caller has
 * the answer: on a node that does nothing else, and beside two tenants that have an endless loop of
 * their own for each processor.
 */
#define _GNU_SOURCE
#include "cli/bench/bench.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

#define LOOPS      200
#define TIMEOUT_MS 20

static void loops_add(struct bench *b, struct bench_node *n, const char *name)
{
    struct samples ms = {0};
    char text[96];
    for (int i = 0; i < LOOPS; i++) {
        struct bench_reply reply;
        bench_call(n, "spin?timeout=20ms", "", NULL, &reply);
        if (reply.status != 504)
            bench_fail(1, "an endless loop ended with status %u", reply.status);
        samples_add(&ms, reply.wall_us / 1e3 - TIMEOUT_MS);
        buffer_free(&reply.output);
    }
    snprintf(text, sizeof text, "%s: p50", name);
    figures_note(b->figures, "deadline", text, "ms", samples_median(&ms));
    snprintf(text, sizeof text, "%s: p99", name);
    figures_add(b->figures, &(struct figure){.topic = "deadline",
                                             .name = text,
                                             .unit = "ms",
                                             .value = samples_quantile(&ms, 0.99),
                                             .low = samples_quantile(&ms, 0),
                                             .high = samples_quantile(&ms, 1),
                                             .bar = 20,
                                             .ratio = NAN});
    samples_free(&ms);
}

void bench_deadline(struct bench *b)
{
    static const char *const busy[] = {"busy-1/spin", "busy-2/spin"};
    struct bench_node node;
    bench_node_start(&node, NULL);
    bench_deploy(&node, "spin", "spin", "");
    loops_add(b, &node, "an endless loop ends late by");
    for (size_t i = 0; i < 2; i++) {
        bench_deploy(&node, "spin", busy[i], "timeout: 120s\n");
        bench_batch(&node, busy[i], "", (uint32_t)sysconf(_SC_NPROCESSORS_ONLN));
    }
    usleep(200000);
    loops_add(b, &node, "the same beside two busy tenants");
    bench_node_stop(&node);
}
