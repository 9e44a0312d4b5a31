/*
 * `atoll bench churn`: calls of many different functions, of which only some can have instances at
 * a time (the specification's E6).
 *
 * The functions are one module with a custom section that differs, so each is a version of its own,
 * compiled and imaged by itself. A worker may have 256 instances; calls go to the functions at
 * random, over 32 connections. With more functions than instances, most calls need one made from
 * its image, in the place of the one that was idle longest.
 */
#define _GNU_SOURCE
#include "cli/bench/bench.h"
#include "cli/bench/http_load.h"

#include "base/file.h"
#include "base/random.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INSTANCES   256
#define CONNECTIONS 32
#define ROUNDS      3
#define REQUEST_MAX 128

struct requests {
    char (*texts)[REQUEST_MAX];
    uint32_t count, some; /* how many of them are called */
    uint64_t state;
};

static const void *request_next(void *context, size_t *len)
{
    struct requests *r = context;
    r->state = r->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    const char *text = r->texts[(r->state >> 33) % r->some];
    *len = strlen(text);
    return text;
}

/* The module of function `number`: that of noop.c, and a custom section that holds the number. */
static void module_write(const struct bench_node *n, const struct buffer *noop, uint32_t number,
                         char path[static 256])
{
    uint8_t section[] = {0, 6, 1, 'n', 0, 0, 0, 0}; /* id, size, name "n", number */
    store_u32(section + 4, number);
    snprintf(path, 256, "%s/noop-%u.wasm", n->directory, number);
    FILE *f = fopen(path, "we");
    if (f == NULL || fwrite(noop->data, 1, noop->len, f) != noop->len ||
        fwrite(section, 1, sizeof section, f) != sizeof section || fclose(f) != 0)
        bench_fail(1, "cannot write %s", path);
}

static void functions_deploy(const struct bench_node *n, struct requests *r)
{
    char module[256], name[32];
    struct buffer noop = {0};
    struct error e;
    bench_source_module(n, "noop", module);
    if (file_read(module, 1 << 20, &noop, &e) < 0)
        bench_fail(1, "%s", e.text);
    r->texts = calloc(r->count, sizeof *r->texts);
    if (r->texts == NULL)
        bench_fail(1, "out of memory");
    for (uint32_t i = 0; i < r->count; i++) {
        module_write(n, &noop, i, module);
        snprintf(name, sizeof name, "noop-%u", i);
        bench_deploy_module(n, module, name, "limits: { memory: 2MiB }\n");
        snprintf(r->texts[i], REQUEST_MAX,
                 "POST /v1/fn/default/noop-%u HTTP/1.1\r\nHost: localhost\r\n"
                 "Content-Length: 0\r\n\r\n",
                 i);
    }
    buffer_free(&noop);
}

static void calls_add(struct bench *b, const struct bench_node *n, struct requests *r,
                      uint32_t some)
{
    struct samples rate = {0}, p50 = {0}, p99 = {0};
    char text[96];
    r->some = some;
    for (int round = -1; round < ROUNDS; round++) {
        struct http_load_options options = {.port = n->port,
                                            .next = request_next,
                                            .context = r,
                                            .connections = CONNECTIONS,
                                            .status = 200,
                                            .seconds = b->seconds};
        struct http_load_result result;
        http_load_run(&options, 0, &result);
        if (result.errors)
            bench_fail(1, "%llu calls did not end well", (unsigned long long)result.errors);
        if (round >= 0) { /* the first one brings the functions in */
            samples_add(&rate, (double)result.answers / result.seconds);
            samples_add(&p50, samples_quantile(&result.latency_us, 0.5));
            samples_add(&p99, samples_quantile(&result.latency_us, 0.99));
        }
        samples_free(&result.latency_us);
    }
    struct figure figure = {
        .topic = "churn", .name = text, .unit = "/s", .bar = NAN, .at_least = true, .ratio = NAN};
    snprintf(text, sizeof text, "%u functions, %d instances: calls", some, INSTANCES);
    figures_samples(b->figures, figure, &rate, 1);
    figure.unit = "ms";
    snprintf(text, sizeof text, "%u functions, %d instances: p50", some, INSTANCES);
    figures_samples(b->figures, figure, &p50, 1e-3);
    snprintf(text, sizeof text, "%u functions, %d instances: p99", some, INSTANCES);
    figures_samples(b->figures, figure, &p99, 1e-3);
}

void bench_churn(struct bench *b)
{
    static const char *const settings[] = {"limits.instances=256", NULL};
    struct requests requests = {.count = b->full ? 1000 : 400};
    struct bench_node node;
    random_bytes(&requests.state, sizeof requests.state);
    bench_node_start(&node, settings);
    int64_t begun = clock_monotonic_ns();
    functions_deploy(&node, &requests);
    figures_note(b->figures, "churn", "deploying a function, with its compilation", "ms",
                 (double)(clock_monotonic_ns() - begun) / 1e6 / requests.count);
    calls_add(b, &node, &requests, 100);
    calls_add(b, &node, &requests, requests.count);
    free(requests.texts);
    bench_node_stop(&node);
}
