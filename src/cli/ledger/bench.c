/*
 * `atoll ledger bench`: throughput and latency of a ledger whose replicas and clients share this
 * machine, and where the CPU time of a transaction goes.
 */
#include "cli/ledger/cluster.h"
#include "cli/ledger/ledger.h"
#include "cli/ledger/load.h"
#include "cli/report.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOADS_MAX 32u

struct request {
    struct ledger_local_settings settings;
    const char *directory;
    uint64_t replicas, clients, bundle, in_flight, threads, rounds, batch, pipeline, checkpoint,
        accounts;
    int64_t round_ns, warm_ns, timeout_ns;
    int mode;
    bool half, json;
};

/* What one round measured. CPU times in microseconds per transaction. */
struct round {
    double rate, p50, p95, p99;
    double loop, verify, log, checkpoint, other, clients;
    uint64_t done, refused;
};

struct result {
    struct round rounds[64];
    unsigned count;
    double half_rate, half_p50, half_p99;
    uint64_t unanswered;
};

static void nap_ns(int64_t ns)
{
    nanosleep(&(struct timespec){ns / 1000000000, ns % 1000000000}, NULL);
}

static void cpu_sum(const struct cluster *c, struct cluster_cpu *sum)
{
    *sum = (struct cluster_cpu){0};
    for (uint32_t i = 0; i < c->settings.replicas; i++) {
        struct cluster_cpu one;
        if (!cluster_cpu(c, i, &one))
            continue;
        sum->loop_ns += one.loop_ns;
        sum->verify_ns += one.verify_ns;
        sum->log_ns += one.log_ns;
        sum->checkpoint_ns += one.checkpoint_ns;
        sum->other_ns += one.other_ns;
    }
}

/* The clients of a run, on one thread or several. */
struct loads {
    struct load *each[LOADS_MAX];
    unsigned count;
};

static void loads_counts(const struct loads *all, struct load_counts *sum)
{
    *sum = (struct load_counts){0};
    for (unsigned i = 0; i < all->count; i++) {
        struct load_counts one;
        load_counts(all->each[i], &one);
        sum->done += one.done;
        sum->refused += one.refused;
        sum->cpu_ns += one.cpu_ns;
    }
}

/* How many calls were left without an answer. */
static uint64_t loads_stop(struct loads *all)
{
    uint64_t left = 0;
    for (unsigned i = 0; i < all->count; i++)
        left += load_stop(all->each[i], 10000);
    all->count = 0;
    return left;
}

/* The settings are those of all together. */
static int loads_start(const struct load_settings *whole, unsigned threads, struct loads *all,
                       struct error *e)
{
    *all = (struct loads){0};
    for (unsigned i = 0; i < threads; i++) {
        struct load_settings part = *whole;
        part.clients = whole->clients / threads + (i < whole->clients % threads);
        part.rate = whole->rate / threads;
        part.seed = whole->seed + 1000 * i;
        int rc = load_start(&part, &all->each[i], e);
        if (rc != 0) {
            loads_stop(all);
            return rc;
        }
        all->count++;
    }
    return 0;
}

static void round_measure(const struct cluster *c, const struct loads *all, int64_t ns,
                          struct round *r)
{
    struct cluster_cpu before, after;
    struct load_counts first, last;
    struct samples latencies = {0};
    for (unsigned i = 0; i < all->count; i++)
        load_mark(all->each[i]);
    cpu_sum(c, &before);
    loads_counts(all, &first);
    int64_t begin = clock_monotonic_ns();
    nap_ns(ns);
    loads_counts(all, &last);
    double seconds = (double)(clock_monotonic_ns() - begin) * 1e-9;
    cpu_sum(c, &after);
    for (unsigned i = 0; i < all->count; i++)
        load_latencies(all->each[i], &latencies);
    double done = (double)(last.done - first.done), us = done > 0 ? 1e-3 / done : NAN;
    *r = (struct round){.rate = done / seconds,
                        .p50 = samples_quantile(&latencies, 0.5) / 1e3,
                        .p95 = samples_quantile(&latencies, 0.95) / 1e3,
                        .p99 = samples_quantile(&latencies, 0.99) / 1e3,
                        .loop = (double)(after.loop_ns - before.loop_ns) * us,
                        .verify = (double)(after.verify_ns - before.verify_ns) * us,
                        .log = (double)(after.log_ns - before.log_ns) * us,
                        .checkpoint = (double)(after.checkpoint_ns - before.checkpoint_ns) * us,
                        .other = (double)(after.other_ns - before.other_ns) * us,
                        .clients = (double)(last.cpu_ns - first.cpu_ns) * us,
                        .done = last.done - first.done,
                        .refused = last.refused - first.refused};
    samples_free(&latencies);
}

static struct load_settings load_of(const struct request *r, const struct cluster *c)
{
    return (struct load_settings){.genesis = slice_of_buffer(&c->genesis),
                                  .clients = (unsigned)r->clients,
                                  .bundle = (unsigned)r->bundle,
                                  .in_flight = (unsigned)r->in_flight,
                                  .accounts = r->accounts,
                                  .seed = 1};
}

static double middle(const struct result *s, double (*of)(const struct round *), double *low,
                     double *high)
{
    struct samples all = {0};
    for (unsigned i = 0; i < s->count; i++)
        samples_add(&all, of(&s->rounds[i]));
    double median = samples_median(&all);
    *low = samples_quantile(&all, 0);
    *high = samples_quantile(&all, 1);
    samples_free(&all);
    return median;
}

static double of_rate(const struct round *r)
{
    return r->rate;
}

static double of_p50(const struct round *r)
{
    return r->p50;
}

static double of_p99(const struct round *r)
{
    return r->p99;
}

static double of_loop(const struct round *r)
{
    return r->loop;
}

static double of_verify(const struct round *r)
{
    return r->verify;
}

static double of_log(const struct round *r)
{
    return r->log;
}

static double of_checkpoint(const struct round *r)
{
    return r->checkpoint;
}

static double of_clients(const struct round *r)
{
    return r->clients;
}

static double of_p95(const struct round *r)
{
    return r->p95;
}

static const struct {
    const char *name, *key, *unit;
    double (*of)(const struct round *);
} lines[] = {
    {"throughput", "tx_per_s", "tx/s", of_rate},
    {"latency p50", "p50_ms", "ms", of_p50},
    {"latency p95", "p95_ms", "ms", of_p95},
    {"latency p99", "p99_ms", "ms", of_p99},
    {"CPU per tx: protocol, execution, network of all replicas", "cpu_loop_us", "us", of_loop},
    {"CPU per tx: signatures at all replicas", "cpu_verify_us", "us", of_verify},
    {"CPU per tx: log of all replicas", "cpu_log_us", "us", of_log},
    {"CPU per tx: checkpoints of all replicas", "cpu_checkpoint_us", "us", of_checkpoint},
    {"CPU per tx: clients (signing, receipts)", "cpu_clients_us", "us", of_clients},
};

#define LINE_COUNT (sizeof lines / sizeof lines[0])

static void result_print(const struct request *r, const struct result *s)
{
    environment_print();
    printf("%" PRIu64 " replicas, %s mode, batches of %" PRIu64 ", pipeline %" PRIu64
           ", bundles of %" PRIu64 ", %" PRIu64 " clients with %" PRIu64
           " calls each under way,\nall on this machine; every %s signed inside the measured time "
           "and verified by every replica;\nSmallBank, uniform mix, %" PRIu64
           " accounts; %u rounds of %.1f s\n\n",
           r->replicas, r->mode == LEDGER_LOG_ASYNC ? "async" : "strict", r->batch, r->pipeline,
           r->bundle, r->clients, r->in_flight, r->bundle > 1 ? "bundle" : "request", r->accounts,
           s->count, (double)r->round_ns * 1e-9);
    printf("%-58s %12s %12s %12s\n", "", "median", "least", "most");
    for (size_t i = 0; i < LINE_COUNT; i++) {
        double low, high, value = middle(s, lines[i].of, &low, &high);
        printf("%-58s %12.2f %12.2f %12.2f %s\n", lines[i].name, value, low, high, lines[i].unit);
    }
    if (r->half)
        printf("at half load (%.0f tx/s): latency p50 %.2f ms, p99 %.2f ms\n", s->half_rate,
               s->half_p50, s->half_p99);
    if (s->unanswered)
        printf("%" PRIu64 " calls were left without an answer\n", s->unanswered);
    environment_verdict();
}

static int result_print_json(const struct request *r, const struct result *s)
{
    cJSON *o = cJSON_CreateObject();
    environment_add(o);
    cJSON_AddNumberToObject(o, "replicas", (double)r->replicas);
    cJSON_AddStringToObject(o, "mode", r->mode == LEDGER_LOG_ASYNC ? "async" : "strict");
    cJSON_AddNumberToObject(o, "batch", (double)r->batch);
    cJSON_AddNumberToObject(o, "pipeline", (double)r->pipeline);
    cJSON_AddNumberToObject(o, "bundle", (double)r->bundle);
    cJSON_AddNumberToObject(o, "clients", (double)r->clients);
    cJSON_AddNumberToObject(o, "in_flight", (double)r->in_flight);
    cJSON_AddNumberToObject(o, "accounts", (double)r->accounts);
    cJSON_AddNumberToObject(o, "rounds", s->count);
    cJSON_AddBoolToObject(o, "signed_in_window", true);
    for (size_t i = 0; i < LINE_COUNT; i++) {
        double low, high, value = middle(s, lines[i].of, &low, &high);
        cJSON *one = cJSON_AddObjectToObject(o, lines[i].key);
        cJSON_AddNumberToObject(one, "median", value);
        cJSON_AddNumberToObject(one, "least", low);
        cJSON_AddNumberToObject(one, "most", high);
    }
    if (r->half) {
        cJSON *half = cJSON_AddObjectToObject(o, "half_load");
        cJSON_AddNumberToObject(half, "tx_per_s", s->half_rate);
        cJSON_AddNumberToObject(half, "p50_ms", s->half_p50);
        cJSON_AddNumberToObject(half, "p99_ms", s->half_p99);
    }
    cJSON_AddNumberToObject(o, "unanswered", (double)s->unanswered);
    return json_print(o, false);
}

/* Full load in rounds, then half of what that reached. */
static int measure(const struct request *r, const struct cluster *c, struct result *s,
                   struct error *e)
{
    struct load_settings settings = load_of(r, c);
    struct loads all;
    int rc = loads_start(&settings, (unsigned)r->threads, &all, e);
    if (rc != 0)
        return rc;
    nap_ns(r->warm_ns);
    for (uint64_t i = 0; i < r->rounds; i++) {
        round_measure(c, &all, r->round_ns, &s->rounds[s->count++]);
        if (!r->json)
            fprintf(stderr, "round %u: %.0f tx/s\n", s->count, s->rounds[s->count - 1].rate);
    }
    s->unanswered = loads_stop(&all);
    if (!r->half)
        return 0;
    double low, high;
    struct round half;
    settings.rate = middle(s, of_rate, &low, &high) / 2;
    settings.seed = 1000000;
    rc = loads_start(&settings, (unsigned)r->threads, &all, e);
    if (rc != 0)
        return rc;
    nap_ns(r->warm_ns);
    round_measure(c, &all, r->round_ns, &half);
    s->half_rate = half.rate;
    s->half_p50 = half.p50;
    s->half_p99 = half.p99;
    s->unanswered += loads_stop(&all);
    return 0;
}

static int settings_take(struct request *r, struct error *e)
{
    struct ledger_local_settings *s = &r->settings;
    if (r->rounds < 1 || r->rounds > 64 || r->clients < 1 || r->threads < 1 ||
        r->threads > LOADS_MAX || r->threads > r->clients ||
        r->clients > LEDGER_CLIENT_IDENTITIES_MAX || r->in_flight < 1 ||
        r->in_flight > LEDGER_CLIENT_WINDOW || r->bundle < 1 || r->bundle > LEDGER_CLIENT_WINDOW ||
        r->replicas > LEDGER_REPLICAS_MAX || r->batch > LEDGER_BATCH_MAX ||
        r->pipeline > LEDGER_PIPELINE_MAX || r->checkpoint > LEDGER_CHECKPOINT_MAX ||
        r->accounts > UINT32_MAX)
        return error_set(e, ATOLL_EINVAL,
                         "a number is out of range: 1-64 rounds, 1-%d clients, 1-%d calls or "
                         "bundles, 4-%d replicas, batches to %d, pipeline to %d",
                         LEDGER_CLIENT_IDENTITIES_MAX, LEDGER_CLIENT_WINDOW, LEDGER_REPLICAS_MAX,
                         LEDGER_BATCH_MAX, LEDGER_PIPELINE_MAX);
    s->name = "bench";
    s->replicas = (uint32_t)r->replicas;
    s->max_batch = (uint32_t)r->batch;
    s->pipeline = (uint32_t)r->pipeline;
    s->checkpoint_interval = (uint32_t)r->checkpoint;
    s->accounts = (uint32_t)r->accounts;
    s->view_timeout_us = (uint64_t)(r->timeout_ns / 1000);
    return 0;
}

static int bench_do(struct request *r, struct error *e)
{
    struct cluster c;
    struct result *s = calloc(1, sizeof *s);
    int rc = s ? settings_take(r, e) : error_set(e, ATOLL_ENOMEM, "no memory");
    if (rc == 0)
        rc = cluster_start(&c, NULL, r->directory, &r->settings, (enum ledger_log_mode)r->mode, e);
    if (rc != 0) {
        free(s);
        return rc;
    }
    rc = measure(r, &c, s, e);
    cluster_stop(&c, r->directory == NULL);
    if (rc == 0 && r->json)
        result_print_json(r, s);
    else if (rc == 0)
        result_print(r, s);
    free(s);
    return rc;
}

static int bench_run(int argc, char **argv)
{
    static const char *const modes[] = {"strict", "async", NULL};
    struct request r = {.clients = 16,
                        .threads = 1,
                        .bundle = 1,
                        .in_flight = 200,
                        .rounds = 5,
                        .round_ns = 5000000000,
                        .warm_ns = 2000000000,
                        .mode = LEDGER_LOG_STRICT};
    ledger_local_defaults(&r.settings);
    r.replicas = r.settings.replicas;
    r.batch = r.settings.max_batch;
    r.pipeline = r.settings.pipeline;
    r.checkpoint = r.settings.checkpoint_interval;
    r.accounts = r.settings.accounts;
    r.timeout_ns = (int64_t)r.settings.view_timeout_us * 1000;
    const struct option_spec options[] = {
        {"replicas", 'n', OPTION_COUNT, "N", "replicas (default 4)", &r.replicas, NULL},
        {"mode", 0, OPTION_CHOICE, NULL, "durability (default strict)", &r.mode, modes},
        {"clients", 'c', OPTION_COUNT, "N", "clients with a key of their own (default 16)",
         &r.clients, NULL},
        {"in-flight", 0, OPTION_COUNT, "N", "calls of a client under way (default 200)",
         &r.in_flight, NULL},
        {"load-threads", 0, OPTION_COUNT, "N",
         "threads that the clients share (default 1: it signs some 40,000\n"
         "requests a second)",
         &r.threads, NULL},
        {"bundle", 0, OPTION_COUNT, "N", "requests under one signature (default 1)", &r.bundle,
         NULL},
        {"batch", 0, OPTION_COUNT, "N", "transactions in a batch at most (default 800)", &r.batch,
         NULL},
        {"pipeline", 0, OPTION_COUNT, "P", "batches under way (default 4)", &r.pipeline, NULL},
        {"checkpoint", 0, OPTION_COUNT, "C", "batches between checkpoints (default 1000)",
         &r.checkpoint, NULL},
        {"accounts", 0, OPTION_COUNT, "N", "SmallBank accounts (default 500000)", &r.accounts,
         NULL},
        {"rounds", 0, OPTION_COUNT, "N", "rounds (default 5)", &r.rounds, NULL},
        {"time", 0, OPTION_DURATION, "TIME", "length of a round (default 5s)", &r.round_ns, NULL},
        {"warm-up", 0, OPTION_DURATION, "TIME", "before the first round (default 2s)", &r.warm_ns,
         NULL},
        {"timeout", 0, OPTION_DURATION, "TIME", "of views (default 2s)", &r.timeout_ns, NULL},
        {"half-load", 0, OPTION_FLAG, NULL, "then measure latency at half the throughput", &r.half,
         NULL},
        {"dir", 0, OPTION_TEXT, "DIR", "keep the ledger there (default: a temporary directory)",
         &r.directory, NULL},
        {"json", 0, OPTION_FLAG, NULL, "print one JSON object", &r.json, NULL},
    };
    struct text_list operands = {0};
    struct error e;
    int code;
    if (!ledger_options(&command_ledger_bench, options, sizeof options / sizeof options[0], argc,
                        argv, 0, 0, &operands, &code))
        return code;
    free(operands.items);
    if (bench_do(&r, &e) == 0)
        return EXIT_OK;
    report_error(&e);
    return exit_code_of(&e);
}

const struct command command_ledger_bench = {
    .name = "ledger bench",
    .usage = "[OPTIONS]",
    .summary = "measure throughput and latency on this machine",
    .description =
        "Starts replicas and clients on this machine, runs SmallBank at full load, and prints\n"
        "transactions per second, latency from submission to checked receipt, and the CPU time "
        "that\n"
        "a transaction takes in each stage. Without --dir everything is removed afterwards.",
    .run = bench_run,
};
