/* `atoll ledger demo`: a ledger of four on this machine, whose primary dies under load. */
#include "base/file.h"
#include "cli/ledger/cluster.h"
#include "cli/ledger/ledger.h"
#include "cli/ledger/load.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RECEIPTS_KEPT 20u
#define PROGRESS_NS   250000000

struct request {
    const char *directory;
    uint64_t replicas, accounts;
    int64_t time_ns;
};

/* Some receipts, written as they come: on the load's thread. */
struct keeper {
    char directory[600];
    uint8_t genesis[HASH_LEN];
    unsigned kept;
    uint64_t highest;
};

static void receipt_keep(void *context, const struct ledger_outcome *o)
{
    struct keeper *k = context;
    struct buffer file = {0};
    struct error e;
    char path[700];
    if (k->kept == RECEIPTS_KEPT)
        return;
    snprintf(path, sizeof path, "%s/%" PRIu64 ".rcpt", k->directory, o->index);
    if (ledger_receipt_file_encode(o->receipt, k->genesis, &file) &&
        file_replace(path, file.data, file.len, 0644, &e) == 0) {
        k->kept++;
        k->highest = o->index > k->highest ? o->index : k->highest;
    }
    buffer_free(&file);
}

/* Shows what happens until `until_ns`, a line a quarter of a second; on a terminal one line. */
static void watch(struct load *load, int64_t begin_ns, int64_t until_ns, const char *what)
{
    bool terminal = isatty(1);
    struct load_counts before, now;
    struct samples latencies = {0};
    load_counts(load, &before);
    while (clock_monotonic_ns() < until_ns) {
        int64_t from = clock_monotonic_ns();
        nanosleep(&(struct timespec){0, PROGRESS_NS}, NULL);
        load_counts(load, &now);
        load_latencies(load, &latencies);
        double seconds = (double)(clock_monotonic_ns() - from) * 1e-9;
        printf("%s%5.1f s  %8.0f tx/s  p50 %6.1f ms  p99 %6.1f ms  primary: replica %u  %s%s",
               terminal ? "\r" : "", (double)(clock_monotonic_ns() - begin_ns) * 1e-9,
               (double)(now.done - before.done) / seconds,
               latencies.count ? samples_quantile(&latencies, 0.5) / 1e3 : 0.0,
               latencies.count ? samples_quantile(&latencies, 0.99) / 1e3 : 0.0, now.primary, what,
               terminal ? "   " : "\n");
        fflush(stdout);
        before = now;
        samples_free(&latencies);
        latencies = (struct samples){0};
    }
    if (terminal)
        printf("\n");
}

/* How long nothing was answered after the primary died. */
static double outage_wait(struct load *load, int64_t since_ns)
{
    struct load_counts before, now;
    load_counts(load, &before);
    /* What was on its way is still answered: wait for a new primary. */
    uint16_t old = before.primary;
    do {
        nanosleep(&(struct timespec){0, 5000000}, NULL);
        load_counts(load, &now);
    } while ((now.primary == old || now.done == before.done) &&
             clock_monotonic_ns() - since_ns < 60000000000);
    return now.primary == old ? -1 : (double)(clock_monotonic_ns() - since_ns) * 1e-6;
}

static int demo_play(const struct request *r, struct cluster *c, struct error *e)
{
    struct keeper keeper = {0};
    struct load *load;
    struct ledger_genesis *g = malloc(sizeof *g);
    int rc = g ? ledger_genesis_decode(slice_of_buffer(&c->genesis), g, e)
               : error_set(e, ATOLL_ENOMEM, "no memory");
    if (rc == 0) {
        memcpy(keeper.genesis, g->hash, HASH_LEN);
        snprintf(keeper.directory, sizeof keeper.directory, "%s/receipts", c->directory);
        rc = directory_make(keeper.directory, 0755, e);
    }
    free(g);
    struct load_settings settings = {.genesis = slice_of_buffer(&c->genesis),
                                     .clients = 8,
                                     .bundle = 1,
                                     .in_flight = 100,
                                     .accounts = r->accounts,
                                     .seed = 1,
                                     .receipt_every = 997,
                                     .receipt = receipt_keep,
                                     .context = &keeper};
    if (rc == 0)
        rc = load_start(&settings, &load, e);
    if (rc != 0)
        return rc;
    int64_t begin = clock_monotonic_ns();
    watch(load, begin, begin + r->time_ns / 2, "");
    struct load_counts counts;
    load_counts(load, &counts);
    uint16_t victim = counts.primary;
    printf("\nreplica %u, the primary, is killed (SIGKILL)\n", victim);
    int64_t killed = clock_monotonic_ns();
    cluster_replica_kill(c, victim);
    double outage = outage_wait(load, killed);
    load_counts(load, &counts);
    if (outage < 0)
        printf("no new primary within a minute\n");
    else
        printf("view change: replica %u is the primary now, %.0f ms later\n\n", counts.primary,
               outage);
    watch(load, begin, clock_monotonic_ns() + r->time_ns / 4, "(one replica down)");
    rc = cluster_replica_start(c, victim, e);
    if (rc == 0) {
        printf("\nreplica %u is back and catches up\n\n", victim);
        watch(load, begin, clock_monotonic_ns() + r->time_ns / 4, "");
    }
    load_counts(load, &counts);
    uint64_t left = load_stop(load, 10000);
    printf("\n%" PRIu64 " transactions with checked receipts, %" PRIu64 " refused, %" PRIu64
           " without an answer\n",
           counts.done, counts.refused, left);
    printf("%u receipts lie in %s; check one without any replica:\n\n"
           "  atoll ledger receipt verify --genesis %s/genesis %s/%" PRIu64 ".rcpt\n\n",
           keeper.kept, keeper.directory, c->directory, keeper.directory, keeper.highest);
    return rc;
}

static int demo_run(int argc, char **argv)
{
    struct request r = {.replicas = 4, .accounts = 500000, .time_ns = 20000000000};
    struct ledger_local_settings settings;
    const struct option_spec options[] = {
        {"dir", 0, OPTION_TEXT, "DIR", "keep the ledger there (default: ./ledger-demo)",
         &r.directory, NULL},
        {"replicas", 'n', OPTION_COUNT, "N", "replicas (default 4)", &r.replicas, NULL},
        {"accounts", 0, OPTION_COUNT, "N", "SmallBank accounts (default 500000)", &r.accounts,
         NULL},
        {"time", 0, OPTION_DURATION, "TIME", "how long in all (default 20s)", &r.time_ns, NULL},
    };
    struct text_list operands = {0};
    struct cluster c;
    struct error e;
    int code;
    if (!ledger_options(&command_ledger_demo, options, 4, argc, argv, 0, 0, &operands, &code))
        return code;
    free(operands.items);
    ledger_local_defaults(&settings);
    settings.name = "demo";
    settings.replicas = r.replicas > LEDGER_REPLICAS_MAX ? 0 : (uint32_t)r.replicas;
    settings.accounts = r.accounts > UINT32_MAX ? UINT32_MAX : (uint32_t)r.accounts;
    settings.view_timeout_us = 500000;
    printf("a ledger of %" PRIu64 " replicas, each a process, with %" PRIu64 " accounts\n",
           r.replicas, r.accounts);
    int rc = cluster_start(&c, NULL, r.directory ? r.directory : "ledger-demo", &settings,
                           LEDGER_LOG_STRICT, &e);
    if (rc == 0) {
        rc = demo_play(&r, &c, &e);
        cluster_stop(&c, false);
    }
    if (rc == 0)
        return EXIT_OK;
    report_error(&e);
    return exit_code_of(&e);
}

const struct command command_ledger_demo = {
    .name = "ledger demo",
    .usage = "[OPTIONS]",
    .summary = "four replicas here, under load, and the primary dies",
    .description =
        "Makes a ledger of four replicas on this machine and runs SmallBank on it, shows "
        "throughput\n"
        "and latency, kills the primary in the middle, and leaves receipts that can be checked\n"
        "offline.",
    .run = demo_run,
};
