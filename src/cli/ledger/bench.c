/*
 * `atoll ledger bench`: throughput and latency of a ledger whose replicas and clients share this
 * machine, and where the CPU time of a transaction goes.
 */
#include "cli/ledger/crash.h"
#include "cli/ledger/interruption.h"
#include "cli/ledger/ledger.h"
#include "cli/ledger/load.h"
#include "cli/ledger/verdict.h"
#include "cli/report.h"
#include "ledger/object/bare.h"

#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOADS_MAX     32u
#define ROUNDS_MAX    64u
#define RECEIPT_EVERY 1009u /* receipts of which one is checked like a third party would */
#define RATE_MAX      10000000u
#define QUIET_NS      1000000000 /* for the evidence of the last batches */

struct request {
    struct ledger_local_settings settings;
    const char *directory;
    uint64_t replicas, clients, bundle, in_flight, threads, rounds, batch, pipeline, checkpoint,
        accounts, rate;
    int64_t round_ns, warm_ns, timeout_ns;
    int mode;
    uint64_t crashes;
    bool half, json;
};

/* What one round measured. CPU times in microseconds per transaction. */
struct round {
    double rate, p50, p95, p99;
    double pause; /* the longest time without an answer, in milliseconds */
    double loop, verify, log, checkpoint, other, clients;
    double idle, foreign; /* of the machine's processors, in percent: at rest; with others' work */
    uint64_t done, refused;
};

struct rounds {
    struct round each[ROUNDS_MAX];
    unsigned count;
};

struct result {
    struct rounds full, half;
    uint64_t receipts, refused, unanswered; /* of all calls, also between rounds */
    uint64_t offline;                       /* receipts that were checked offline as well */
    struct verdict verdict;
};

/* Receipts that are checked with nothing but the genesis; on the loads' threads. */
struct auditor {
    struct ledger_genesis genesis;
    struct ledger_keys keys;
    atomic_uint_fast64_t checked, bad;
};

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
        if (one.pause_ns > sum->pause_ns)
            sum->pause_ns = one.pause_ns;
    }
}

static void loads_stop(struct loads *all, struct result *s)
{
    for (unsigned i = 0; i < all->count; i++) {
        struct load_counts last;
        s->unanswered += load_stop(all->each[i], interrupted() ? 0 : 10000, &last);
        s->receipts += last.done;
        s->refused += last.refused;
    }
    all->count = 0;
}

/* The settings are those of all together. */
static int loads_start(const struct load_settings *whole, unsigned threads, struct loads *all,
                       struct result *s, struct error *e)
{
    *all = (struct loads){0};
    for (unsigned i = 0; i < threads; i++) {
        struct load_settings part = *whole;
        part.clients = whole->clients / threads + (i < whole->clients % threads);
        part.rate = whole->rate / threads;
        part.seed = whole->seed + 1000 * i;
        int rc = load_start(&part, &all->each[i], e);
        if (rc != 0) {
            loads_stop(all, s);
            return rc;
        }
        all->count++;
    }
    return 0;
}

/* What the machine's processors did so far, in ticks of the kernel. */
struct machine {
    double idle, all;
};

static struct machine machine_now(void)
{
    struct machine m = {0};
    double ticks[8] = {0}; /* user, nice, system, idle, waiting for disks, interrupts 2, stolen */
    FILE *f = fopen("/proc/stat", "re");
    if (f == NULL)
        return m;
    if (fscanf(f, "cpu %lf %lf %lf %lf %lf %lf %lf %lf", &ticks[0], &ticks[1], &ticks[2], &ticks[3],
               &ticks[4], &ticks[5], &ticks[6], &ticks[7]) == 8)
        m.idle = ticks[3] + ticks[4];
    for (unsigned i = 0; i < 8; i++)
        m.all += ticks[i];
    fclose(f);
    return m;
}

static double cpu_ns(const struct cluster_cpu *c)
{
    return (double)(c->loop_ns + c->verify_ns + c->log_ns + c->checkpoint_ns + c->other_ns);
}

/* Whose time the processors' was: at rest, or of neither replicas nor clients. */
static void round_share(struct round *r, const struct machine *before, const struct machine *after,
                        double ours_s)
{
    double all = after->all - before->all;
    r->idle = 100 * (after->idle - before->idle) / all;
    r->foreign = 100 - r->idle - 100 * ours_s * (double)sysconf(_SC_CLK_TCK) / all;
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
    struct machine rested = machine_now();
    int64_t begin = clock_monotonic_ns();
    interruption_nap(ns);
    loads_counts(all, &last);
    double seconds = (double)(clock_monotonic_ns() - begin) * 1e-9;
    cpu_sum(c, &after);
    struct machine now = machine_now();
    for (unsigned i = 0; i < all->count; i++)
        load_latencies(all->each[i], &latencies);
    double done = (double)(last.done - first.done), us = done > 0 ? 1e-3 / done : NAN;
    *r = (struct round){.rate = done / seconds,
                        .p50 = samples_quantile(&latencies, 0.5) / 1e3,
                        .p95 = samples_quantile(&latencies, 0.95) / 1e3,
                        .p99 = samples_quantile(&latencies, 0.99) / 1e3,
                        .pause = (double)last.pause_ns / 1e6,
                        .loop = (double)(after.loop_ns - before.loop_ns) * us,
                        .verify = (double)(after.verify_ns - before.verify_ns) * us,
                        .log = (double)(after.log_ns - before.log_ns) * us,
                        .checkpoint = (double)(after.checkpoint_ns - before.checkpoint_ns) * us,
                        .other = (double)(after.other_ns - before.other_ns) * us,
                        .clients = (double)(last.cpu_ns - first.cpu_ns) * us,
                        .done = last.done - first.done,
                        .refused = last.refused - first.refused};
    double ours = cpu_ns(&after) - cpu_ns(&before) + (double)(last.cpu_ns - first.cpu_ns);
    round_share(r, &rested, &now, ours * 1e-9);
    samples_free(&latencies);
}

/* As anybody would check it who was handed the receipt and the genesis. */
static void receipt_audit(void *context, const struct ledger_outcome *o)
{
    struct auditor *a = context;
    struct ledger_receipt_info info;
    struct error e;
    atomic_fetch_add(&a->checked, 1);
    if (ledger_receipt_verify(o->receipt, &a->keys, NULL, &info, &e) != 0)
        atomic_fetch_add(&a->bad, 1);
}

static struct load_settings load_of(const struct request *r, const struct cluster *c,
                                    struct auditor *a)
{
    return (struct load_settings){.genesis = slice_of_buffer(&c->genesis),
                                  .receipt_every = LEDGER_BARE ? 0 : RECEIPT_EVERY,
                                  .receipt = receipt_audit,
                                  .context = a,
                                  .clients = (unsigned)r->clients,
                                  .bundle = (unsigned)r->bundle,
                                  .in_flight = (unsigned)r->in_flight,
                                  .rate = (double)r->rate,
                                  .accounts = r->accounts,
                                  .seed = 1};
}

static double middle(const struct rounds *s, double (*of)(const struct round *), double *low,
                     double *high)
{
    struct samples all = {0};
    for (unsigned i = 0; i < s->count; i++)
        samples_add(&all, of(&s->each[i]));
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

static double of_pause(const struct round *r)
{
    return r->pause;
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

static double of_idle(const struct round *r)
{
    return r->idle;
}

static double of_foreign(const struct round *r)
{
    return r->foreign;
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
    {"longest time without an answer", "pause_ms", "ms", of_pause},
    {"CPU per tx: protocol, execution, network of all replicas", "cpu_loop_us", "us", of_loop},
    {"CPU per tx: signatures at all replicas", "cpu_verify_us", "us", of_verify},
    {"CPU per tx: log of all replicas", "cpu_log_us", "us", of_log},
    {"CPU per tx: checkpoints of all replicas", "cpu_checkpoint_us", "us", of_checkpoint},
    {"CPU per tx: clients (signing, receipts)", "cpu_clients_us", "us", of_clients},
    {"processors at rest", "idle_percent", "%", of_idle},
    {"processors with anything else (kernel, other programs)", "foreign_percent", "%", of_foreign},
};

#define LINE_COUNT (sizeof lines / sizeof lines[0])

static void rounds_print(const char *title, const struct rounds *rounds)
{
    printf("%-58s %12s %12s %12s\n", title, "median", "least", "most");
    for (size_t i = 0; i < LINE_COUNT; i++) {
        double low, high, value = middle(rounds, lines[i].of, &low, &high);
        printf("%-58s %12.2f %12.2f %12.2f %s\n", lines[i].name, value, low, high, lines[i].unit);
    }
}

static void result_print(const struct request *r, const struct result *s)
{
    const struct verdict *v = &s->verdict;
    environment_print();
    printf("%" PRIu64 " replicas, %s mode, batches of at most %" PRIu64 ", pipeline %" PRIu64
           ", checkpoints every %" PRIu64 " batches,\nbundles of %" PRIu64 ", %" PRIu64
           " clients with %" PRIu64 " calls each under way on %" PRIu64
           " threads, all on this machine;\nevery %s signed "
           "inside the measured time and verified by every replica;\nSmallBank, uniform mix, "
           "%" PRIu64 " accounts; %u rounds of %.1f s\n\n",
           r->replicas, r->mode == LEDGER_LOG_ASYNC ? "async" : "strict", r->batch, r->pipeline,
           r->checkpoint, r->bundle, r->clients, r->in_flight, r->threads,
           r->bundle > 1 ? "bundle" : "request", r->accounts, s->full.count,
           (double)r->round_ns * 1e-9);
    rounds_print(r->rate ? "at the rate that was asked for" : "at full load", &s->full);
    if (r->half)
        rounds_print("\nat half load", &s->half);
    printf("\n%" PRIu64 " calls with a receipt that its client checked (%" PRIu64
           " of them offline once more), %" PRIu64 " refused,\n%" PRIu64
           " without an answer; the ledger has %" PRIu64
           " transactions, %.0f in a batch with any;\nit keeps to the rules, executing it again "
           "gives the same results, the accounts hold the\n%" PRId64 " cents that they should, "
           "and the %" PRIu64 " entries are the same at all replicas\n"
           "afterwards, on one thread: checked at %.0f tx/s, executed again at %.0f tx/s\n",
           s->receipts, s->offline, s->refused, s->unanswered, v->transactions,
           (double)v->transactions / (double)v->full_batches, v->money, v->shared, v->check_per_s,
           v->replay_per_s);
    environment_verdict();
}

static void rounds_add(cJSON *to, const struct rounds *rounds)
{
    for (size_t i = 0; i < LINE_COUNT; i++) {
        double low, high, value = middle(rounds, lines[i].of, &low, &high);
        cJSON *one = cJSON_AddObjectToObject(to, lines[i].key);
        cJSON_AddNumberToObject(one, "median", value);
        cJSON_AddNumberToObject(one, "least", low);
        cJSON_AddNumberToObject(one, "most", high);
    }
}

static int result_print_json(const struct request *r, const struct result *s)
{
    cJSON *o = cJSON_CreateObject();
    environment_add(o);
    cJSON_AddNumberToObject(o, "replicas", (double)r->replicas);
    cJSON_AddStringToObject(o, "mode", r->mode == LEDGER_LOG_ASYNC ? "async" : "strict");
    cJSON_AddNumberToObject(o, "batch", (double)r->batch);
    cJSON_AddNumberToObject(o, "pipeline", (double)r->pipeline);
    cJSON_AddNumberToObject(o, "checkpoint", (double)r->checkpoint);
    cJSON_AddNumberToObject(o, "bundle", (double)r->bundle);
    cJSON_AddNumberToObject(o, "clients", (double)r->clients);
    cJSON_AddNumberToObject(o, "in_flight", (double)r->in_flight);
    cJSON_AddNumberToObject(o, "load_threads", (double)r->threads);
    cJSON_AddNumberToObject(o, "accounts", (double)r->accounts);
    cJSON_AddNumberToObject(o, "rounds", s->full.count);
    cJSON_AddBoolToObject(o, "signed_in_window", true);
    rounds_add(o, &s->full);
    if (r->half)
        rounds_add(cJSON_AddObjectToObject(o, "half_load"), &s->half);
    cJSON_AddNumberToObject(o, "receipts", (double)s->receipts);
    cJSON_AddNumberToObject(o, "receipts_offline", (double)s->offline);
    cJSON_AddNumberToObject(o, "refused", (double)s->refused);
    cJSON_AddNumberToObject(o, "unanswered", (double)s->unanswered);
    cJSON_AddNumberToObject(o, "transactions", (double)s->verdict.transactions);
    cJSON_AddNumberToObject(o, "check_tx_per_s", s->verdict.check_per_s);
    cJSON_AddNumberToObject(o, "replay_tx_per_s", s->verdict.replay_per_s);
    return json_print(o, false);
}

static int rounds_measure(const struct request *r, const struct cluster *c,
                          const struct load_settings *settings, struct rounds *rounds,
                          struct result *s, struct error *e)
{
    struct loads all;
    int rc = loads_start(settings, (unsigned)r->threads, &all, s, e);
    if (rc != 0)
        return rc;
    interruption_nap(r->warm_ns);
    for (uint64_t i = 0; i < r->rounds; i++) {
        struct round *one = &rounds->each[rounds->count++];
        round_measure(c, &all, r->round_ns, one);
        rc = interruption_check(e);
        if (rc != 0)
            break;
        if (!r->json)
            fprintf(stderr, "round %u: %.0f tx/s, p50 %.2f ms, p99 %.2f ms; others had %.0f %%\n",
                    rounds->count, one->rate, one->p50, one->p99, one->foreign);
    }
    loads_stop(&all, s);
    return rc;
}

/* Full load in rounds, then half of what that reached. */
static int measure(const struct request *r, const struct cluster *c, struct result *s,
                   struct error *e)
{
    struct auditor *a = calloc(1, sizeof *a);
    int rc = a ? ledger_genesis_decode(slice_of_buffer(&c->genesis), &a->genesis, e)
               : error_set(e, ATOLL_ENOMEM, "no memory for a genesis");
    if (rc == 0) {
        a->keys = ledger_keys_of(&a->genesis);
        struct load_settings settings = load_of(r, c, a);
        rc = rounds_measure(r, c, &settings, &s->full, s, e);
        if (rc == 0 && r->half) {
            double low, high;
            settings.rate = middle(&s->full, of_rate, &low, &high) / 2;
            settings.seed = 1000000;
            rc = rounds_measure(r, c, &settings, &s->half, s, e);
        }
    }
    if (rc == 0) {
        s->offline = atomic_load(&a->checked);
        if (atomic_load(&a->bad) > 0)
            rc = error_set(e, ATOLL_ECORRUPT, "%" PRIu64 " receipts do not hold",
                           (uint64_t)atomic_load(&a->bad));
    }
    free(a);
    return rc;
}

static int settings_take(struct request *r, struct error *e)
{
    struct ledger_local_settings *s = &r->settings;
    if (r->rate > 0 && r->half)
        return error_set(e, ATOLL_EINVAL,
                         "--rate says what the load is: --half-load does not go with it");
    if (r->crashes > 1000 || r->rounds < 1 || r->rounds > ROUNDS_MAX || r->clients < 1 ||
        r->threads < 1 || r->threads > LOADS_MAX || r->threads > r->clients ||
        r->clients > LEDGER_CLIENT_IDENTITIES_MAX || r->in_flight < 1 ||
        r->in_flight > LEDGER_CLIENT_WINDOW || r->bundle < 1 || r->bundle > LEDGER_CLIENT_WINDOW ||
        r->replicas > LEDGER_REPLICAS_MAX || r->batch > LEDGER_BATCH_MAX ||
        r->pipeline > LEDGER_PIPELINE_MAX || r->checkpoint > LEDGER_CHECKPOINT_MAX ||
        r->accounts > UINT32_MAX || r->rate > RATE_MAX)
        return error_set(e, ATOLL_EINVAL,
                         "a number is out of range: 1-64 rounds, 1-%d clients, 1-%d calls or "
                         "bundles, 4-%d replicas, batches to %d, pipeline to %d, "
                         "%u calls a second",
                         LEDGER_CLIENT_IDENTITIES_MAX, LEDGER_CLIENT_WINDOW, LEDGER_REPLICAS_MAX,
                         LEDGER_BATCH_MAX, LEDGER_PIPELINE_MAX, RATE_MAX);
    s->terms.name = "bench";
    s->replicas = (uint32_t)r->replicas;
    s->terms.max_batch = (uint32_t)r->batch;
    s->terms.pipeline = (uint32_t)r->pipeline;
    s->terms.checkpoint_interval = (uint32_t)r->checkpoint;
    s->terms.accounts = (uint32_t)r->accounts;
    s->terms.view_timeout_us = (uint64_t)(r->timeout_ns / 1000);
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
    if (r->crashes) {
        struct load_settings settings = load_of(r, &c, NULL);
        settings.receipt_every = 0;
        rc = crash_bench(&c, &settings, (unsigned)r->crashes, r->json, e);
        cluster_stop(&c, r->directory == NULL);
        free(s);
        return rc;
    }
    rc = measure(r, &c, s, e);
    interruption_nap(QUIET_NS);
    cluster_stop(&c, false);
    if (rc == 0)
        rc = verdict_reach(&c, s->receipts, s->refused + s->unanswered, &s->verdict, e);
    if (r->directory == NULL)
        cluster_stop(&c, true);
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
    r.batch = r.settings.terms.max_batch;
    r.pipeline = r.settings.terms.pipeline;
    r.checkpoint = r.settings.terms.checkpoint_interval;
    r.accounts = r.settings.terms.accounts;
    r.timeout_ns = (int64_t)r.settings.terms.view_timeout_us * 1000;
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
        {"crash-primary", 0, OPTION_COUNT, "N",
         "instead: kill the primary N times under that load, and measure the\n"
         "time from there to the first answer of the next one",
         &r.crashes, NULL},
        {"rate", 0, OPTION_COUNT, "N",
         "calls a second of all clients, whether answers come or not\n"
         "(default: as many as are answered)",
         &r.rate, NULL},
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
    interruption_catch();
    int rc = bench_do(&r, &e);
    interruption_obey(r.directory ? "all replicas are stopped, the ledger stays"
                                  : "all replicas are stopped, the ledger is removed");
    if (rc == 0)
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
        "a transaction takes in each stage. Without --dir everything is removed afterwards.\n"
        "\n"
        "Exit code: 0, or\n"
        "  2    the command line is wrong\n"
        "  124  too little was answered in time\n"
        "  125  a replica does not start, or what the figures rest on does not hold",
    .run = bench_run,
};
