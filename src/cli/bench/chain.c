/*
 * `atoll bench chain`: what it costs that a call calls another, in its shapes; and how late a
 * deadline is. Times of chaining are taken by the function itself (sdk/bench/probe.c), from
 * atoll_chain to the end of atoll_await; caller and callee take turns on one thread. The first two
 * figures have no reset in them: one function is not reset between calls of a tree, of the other 16
 * instances wait, and after every 8 calls the caller pauses so that they are reset. In the third an
 * instance is reset for the next call before that can begin, so every figure holds one reset.
 */
#include "cli/bench/bench.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ROUNDS        5
#define PER_ROUND     5000u
#define ROOTS         4000u
#define READY_SECONDS 3 /* instances that are to wait are made by the second */

/* The middle and the p99 over rounds of one kind of chaining. */
static void latency_add(struct bench *b, struct bench_node *n, const char *act, const char *name,
                        double bar)
{
    struct samples middle = {0}, late = {0}, warm_up = {0};
    char text[96];
    bench_times(n, act, PER_ROUND / 10, &warm_up);
    samples_free(&warm_up);
    for (int round = 0; round < ROUNDS; round++) {
        struct samples us = {0};
        bench_times(n, act, PER_ROUND, &us);
        samples_add(&middle, samples_median(&us));
        samples_add(&late, samples_quantile(&us, 0.99));
        samples_free(&us);
    }
    struct figure figure = {.topic = "chain", .name = text, .unit = "us", .bar = bar, .ratio = NAN};
    snprintf(text, sizeof text, "%s: p50", name);
    figures_samples(b->figures, figure, &middle, 1);
    snprintf(text, sizeof text, "%s: p99", name);
    figure.bar = NAN;
    figures_samples(b->figures, figure, &late, 1);
}

static void act_add(struct bench *b, struct bench_node *n, const char *act, uint32_t count,
                    const char *wanted, const char *name, double bar_ms)
{
    struct samples ms = {0};
    for (int round = 0; round < 3; round++)
        samples_add(&ms, bench_act_ms(n, act, count, wanted));
    struct figure figure = {
        .topic = "chain", .name = name, .unit = "ms", .bar = bar_ms, .ratio = NAN};
    figures_samples(b->figures, figure, &ms, 1);
}

static void fans_add(struct bench *b, struct bench_node *n)
{
    for (uint32_t width = 1; width <= 100000; width *= 10) {
        char name[64], wanted[16];
        snprintf(name, sizeof name, "%u children at once", width);
        snprintf(wanted, sizeof wanted, "%u", width);
        act_add(b, n, "fan", width, wanted, name, width == 100000 ? 30000 : NAN);
    }
}

/* Many roots that wait for children, on few threads: they must all end. */
static void roots_add(struct bench *b, struct bench_node *n)
{
    char name[96];
    int64_t begun = clock_monotonic_ns();
    bench_batch(n, "probe", "fan 3", ROOTS);
    for (int i = 0; i < 6000 && bench_top(n, "live_calls") > 0; i++)
        usleep(10000);
    if (bench_top(n, "live_calls") > 0)
        bench_fail(1, "%u calls that wait for children do not end", ROOTS);
    snprintf(name, sizeof name, "%u calls at once, each with 3 children", ROOTS);
    figures_note(b->figures, "chain", name, "ms", (double)(clock_monotonic_ns() - begun) / 1e6);
}

/* From the deadline until the answer is here. */
static void deadlines_add(struct bench *b, struct bench_node *n)
{
    struct samples ms = {0};
    for (int i = 0; i < 100; i++) {
        struct bench_reply reply;
        bench_call(n, "spin?timeout=20ms", "", NULL, &reply);
        if (reply.status != 504)
            bench_fail(1, "an endless loop ended with status %u", reply.status);
        samples_add(&ms, reply.wall_us / 1e3 - 20);
        buffer_free(&reply.output);
    }
    figures_add(b->figures, &(struct figure){.topic = "chain",
                                             .name = "an endless loop ends after its deadline: p99",
                                             .unit = "ms",
                                             .value = samples_quantile(&ms, 0.99),
                                             .low = samples_quantile(&ms, 0),
                                             .high = samples_quantile(&ms, 1),
                                             .bar = 20,
                                             .ratio = NAN});
    samples_free(&ms);
}

void bench_chain(struct bench *b)
{
    struct bench_node node;
    static const char *const settings[] = {"limits.queue=1000000", NULL};
    bench_node_start(&node, settings);
    bench_deploy(&node, "noop", "noop", "");
    bench_deploy(&node, "noop", "ready", "pool: {keep_warm: 16}\n");
    bench_deploy(&node, "noop", "kept", "reset: tenant-trusted\n");
    bench_deploy(&node, "spin", "spin", "");
    bench_deploy(&node, "probe", "probe", "clock_resolution: 1ns\ntimeout: 120s\n");
    latency_add(b, &node, "kept", "chain and await, no reset", 3);
    sleep(READY_SECONDS);
    latency_add(b, &node, "direct", "chain and await, reset before", 3);
    latency_add(b, &node, "chain", "chain and await, reset between", 8);
    latency_add(b, &node, "fresh", "the same, restored from its image each time", NAN);
    fans_add(b, &node);
    act_add(b, &node, "fib", 18, "2584", "fib(18), a call for each call", 30000);
    act_add(b, &node, "map", 10000, "10000", "map over 10,000 no-op items", 250);
    roots_add(b, &node);
    deadlines_add(b, &node);
    bench_node_stop(&node);
}
