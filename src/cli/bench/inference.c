/*
 * `atoll bench inference`: latency of an inference when some calls start cold (examples/inference;
 * the specification's E2).
 *
 * The network has the shape of MobileNet v1; its weights lie in state, mapped for reading by every
 * call. A cold call drops the function's image and instances first: code is loaded, initialised and
 * imaged again. Closed loop: one connection, one call after the other, with 0, 2 and 20 % cold
 * calls, in turn. Open loop: calls arrive by a Poisson process, whether or not others are done, and
 * their latency counts from the moment they were to arrive. The plain program runs the same
 * network.
 */
#define _GNU_SOURCE
#include "cli/bench/bench.h"

#include "base/random.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define IMAGE_BYTES  (224u * 224 * 3)
#define PER_ROUND    50
#define RATIOS       3
#define CLIENTS      8
#define OPEN_SHARE   0.5 /* of what the processors can do */
#define OPEN_SECONDS 20.0

static const int ratios[RATIOS] = {0, 2, 20}; /* percent */
static uint8_t image[IMAGE_BYTES];

static double one_call(struct bench_node *n, bool cold)
{
    struct bench_reply reply;
    bench_call_bytes(n, "mobilenet", image, sizeof image, cold ? "cold" : NULL, &reply);
    if (reply.status != 200 || reply.output.len == 0)
        bench_fail(1, "an inference ended with status %u", reply.status);
    buffer_free(&reply.output);
    return reply.wall_us / 1e3;
}

static void image_make(void)
{
    for (uint32_t i = 0; i < IMAGE_BYTES; i++)
        image[i] = (uint8_t)(i * 2654435761u >> 24);
}

/* p50, p99 and p99.9 of one ratio; returns p99. */
static double latency_add(struct bench *b, const char *loop, int percent, struct samples *ms,
                          double all_warm)
{
    static const struct {
        double fraction;
        const char *name;
    } quantiles[] = {{0.5, "p50"}, {0.99, "p99"}, {0.999, "p99.9"}};
    char text[96];
    for (size_t q = 0; q < 3; q++) {
        snprintf(text, sizeof text, "%s, %d %% cold: %s", loop, percent, quantiles[q].name);
        figures_add(b->figures,
                    &(struct figure){.topic = "inference",
                                     .name = text,
                                     .unit = "ms",
                                     .value = samples_quantile(ms, quantiles[q].fraction),
                                     .low = samples_quantile(ms, 0),
                                     .high = samples_quantile(ms, 1),
                                     .bar = NAN,
                                     .ratio = NAN});
    }
    double p99 = samples_quantile(ms, 0.99);
    if (percent == 20) {
        snprintf(text, sizeof text, "%s: p99 with 20 %% cold, of that with none", loop);
        figures_add(b->figures, &(struct figure){.topic = "inference",
                                                 .name = text,
                                                 .unit = "x",
                                                 .value = p99 / all_warm,
                                                 .low = NAN,
                                                 .high = NAN,
                                                 .bar = 1.2,
                                                 .ratio = NAN});
    }
    return p99;
}

/* ---- closed loop ---- */

/* Returns the median of warm calls, ms. */
static double closed_add(struct bench *b, struct bench_node *n, int rounds)
{
    struct samples ms[RATIOS] = {{0}}, cold_ms = {0};
    double warm = 0;
    for (int i = 0; i < 10; i++)
        (void)one_call(n, false);
    for (int round = 0; round < rounds; round++)
        for (int r = 0; r < RATIOS; r++)
            for (int i = 0; i < PER_ROUND; i++) { /* spread evenly over the round */
                bool cold = ratios[r] && i % (100 / ratios[r]) == 100 / ratios[r] - 1;
                double one = one_call(n, cold);
                samples_add(&ms[r], one);
                if (cold)
                    samples_add(&cold_ms, one);
            }
    double middle = samples_median(&ms[0]);
    figures_note(b->figures, "inference", "one by one: a cold call's p50, beyond a warm one's",
                 "ms", samples_median(&cold_ms) - middle);
    samples_free(&cold_ms);
    for (int r = 0; r < RATIOS; r++) {
        double p99 = latency_add(b, "one by one", ratios[r], &ms[r], warm);
        if (r == 0)
            warm = p99;
        samples_free(&ms[r]);
    }
    return middle;
}

/* ---- open loop ---- */

struct arrivals {
    pthread_mutex_t lock;
    double next_s, until_s, per_s;
    int percent;
    uint32_t count;
    int64_t begun_ns;
    struct samples ms;
};

struct client {
    pthread_t thread;
    struct bench_node own;
    struct arrivals *arrivals;
};

static double uniform(void)
{
    uint64_t bits;
    random_bytes(&bits, sizeof bits);
    return ((double)(bits >> 11) + 0.5) * 0x1p-53;
}

/* When the next call is to arrive and whether it is a cold one; false when the round is over. */
static bool arrival_take(struct arrivals *a, double *at_s, bool *cold)
{
    pthread_mutex_lock(&a->lock);
    *at_s = a->next_s;
    a->next_s += -log(uniform()) / a->per_s;
    a->count++;
    *cold = a->percent && a->count % (uint32_t)(100 / a->percent) == 0;
    pthread_mutex_unlock(&a->lock);
    return *at_s < a->until_s;
}

static double elapsed_s(const struct arrivals *a)
{
    return (double)(clock_monotonic_ns() - a->begun_ns) / 1e9;
}

static void *client_run(void *argument)
{
    struct client *c = argument;
    struct arrivals *a = c->arrivals;
    double at_s;
    bool cold;
    while (arrival_take(a, &at_s, &cold)) {
        double wait_s = at_s - elapsed_s(a);
        struct timespec pause = {(time_t)wait_s, (long)(fmod(wait_s, 1) * 1e9)};
        if (wait_s > 0)
            nanosleep(&pause, NULL);
        (void)one_call(&c->own, cold);
        double ms = (elapsed_s(a) - at_s) * 1e3;
        pthread_mutex_lock(&a->lock);
        samples_add(&a->ms, ms);
        pthread_mutex_unlock(&a->lock);
    }
    return NULL;
}

static void arrivals_run(struct bench_node *n, struct arrivals *a)
{
    struct client clients[CLIENTS];
    pthread_mutex_init(&a->lock, NULL);
    a->begun_ns = clock_monotonic_ns();
    for (int i = 0; i < CLIENTS; i++) {
        clients[i].arrivals = a;
        bench_node_join(&clients[i].own, n);
        if (pthread_create(&clients[i].thread, NULL, client_run, &clients[i]) != 0)
            bench_fail(1, "cannot start a thread");
    }
    for (int i = 0; i < CLIENTS; i++) {
        pthread_join(clients[i].thread, NULL);
        bench_node_leave(&clients[i].own);
    }
    pthread_mutex_destroy(&a->lock);
}

static void open_add(struct bench *b, struct bench_node *n, double per_s, double seconds)
{
    double warm = 0;
    for (int r = 0; r < RATIOS; r++) {
        struct arrivals a = {.until_s = seconds, .per_s = per_s, .percent = ratios[r]};
        arrivals_run(n, &a);
        if (r == 0)
            figures_note(b->figures, "inference", "Poisson: arrivals", "/s",
                         (double)a.ms.count / seconds);
        double p99 = latency_add(b, "Poisson", ratios[r], &a.ms, warm);
        if (r == 0)
            warm = p99;
        samples_free(&a.ms);
    }
}

/* ---- the topic ---- */

/* The plain program's median, and whether the function says the same of its image. */
static void native_add(struct bench *b, struct bench_node *n, double function_ms)
{
    static const char *const flags[] = {"-ffp-contract=off", NULL};
    char program[256], path[256], line[128];
    struct samples ms = {0};
    double one;
    bench_example_native(n, "inference/native.c", flags, program);
    snprintf(path, sizeof path, "%s/native.out", n->directory);
    bench_command(
        (const char *const[]){"sh", "-c", "exec \"$0\" 20 2>&1 >/dev/null", program, NULL}, path);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "%lf ms", &one) == 1)
            samples_add(&ms, one);
    if (f)
        fclose(f);
    struct figure figure = {.topic = "inference",
                            .name = "the plain program, one thread",
                            .unit = "ms",
                            .bar = NAN,
                            .peer = "a warm call's",
                            .ratio = samples_median(&ms) / function_ms};
    figures_samples(b->figures, figure, &ms, 1);
}

void bench_inference(struct bench *b)
{
    struct bench_node node;
    struct bench_reply reply;
    char module[256];
    bench_node_start(&node, NULL);
    bench_example_module(&node, "inference/weights/weights.c", module);
    bench_deploy_module(&node, module, "mobilenet-weights",
                        "timeout: 60s\nlimits: { memory: 16MiB }\n"
                        "state: [ { prefix: mobilenet/, rights: rw } ]\n");
    bench_example_module(&node, "inference/infer/infer.c", module);
    bench_deploy_module(&node, module, "mobilenet",
                        "timeout: 30s\nlimits: { memory: 64MiB }\n"
                        "state: [ { prefix: mobilenet/, rights: r } ]\n");
    bench_call_good(&node, "mobilenet-weights", "", NULL, &reply);
    buffer_free(&reply.output);
    image_make();
    double ms = closed_add(b, &node, b->full ? 20 : 4);
    native_add(b, &node, ms);
    if (b->full) {
        long cores = sysconf(_SC_NPROCESSORS_ONLN);
        open_add(b, &node, OPEN_SHARE * (double)cores * 1e3 / ms, OPEN_SECONDS);
    }
    bench_node_stop(&node);
}
