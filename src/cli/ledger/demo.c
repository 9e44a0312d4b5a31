/*
 * `atoll ledger demo`: a ledger of four on this machine, whose primary dies under load, and the
 * receipts that are left, checked without any of them. The first thing that a stranger runs: every
 * line explains itself, nothing outlives it, and a second run goes on with the same ledger.
 */
#include "base/file.h"
#include "cli/ledger/crash.h"
#include "cli/ledger/interruption.h"
#include "cli/ledger/ledger.h"
#include "cli/report.h"
#include "ledger/object/receipt_batch.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define RECEIPTS_KEPT 20u
#define RECEIPT_EVERY 997u
#define LIVE_NS       250000000           /* between updates of the line, on a terminal */
#define LINE_NS       INT64_C(1000000000) /* … and else between lines */
#define CATCH_UP_NS   INT64_C(30000000000)
#define TIMEOUT_US    500000

extern char **environ;

struct request {
    const char *directory;
    uint64_t replicas, accounts; /* 0: the default, or those of the ledger that is there */
    int64_t time_ns;
    bool json;
};

/* Some receipts, written as they come: on the load's thread. */
struct keeper {
    char directory[600];
    struct buffer genesis_bytes; /* the cluster's end with it */
    struct ledger_genesis genesis;
    unsigned kept;
    uint64_t indices[RECEIPTS_KEPT];
};

/* One stretch of the load, as it ended. */
struct stretch {
    double rate, p50_ms, p99_ms;
};

struct demo {
    const struct request *request;
    struct cluster cluster;
    struct keeper keeper;
    struct load *load;
    bool went_on; /* the ledger was there before */
    int64_t begin_ns;
    struct stretch before;
    struct crash crash;
    double catch_up_s;
    struct load_counts last;
    uint64_t unanswered;
    unsigned valid; /* of the receipts kept */
};

static void receipt_path(const struct keeper *k, uint64_t index, char out[static 700])
{
    snprintf(out, 700, "%s/%" PRIu64 ".rcpt", k->directory, index);
}

static void receipt_keep(void *context, const struct ledger_outcome *o)
{
    struct keeper *k = context;
    struct buffer file = {0};
    struct error e;
    char path[700];
    if (k->kept == RECEIPTS_KEPT)
        return;
    receipt_path(k, o->index, path);
    if (ledger_receipt_file_encode(o->receipt, k->genesis.hash, &file) &&
        file_replace(path, file.data, file.len, 0644, &e) == 0)
        k->indices[k->kept++] = o->index;
    buffer_free(&file);
}

/* ---- the load, live ---- */

static double seconds_since(int64_t ns)
{
    return (double)(clock_monotonic_ns() - ns) * 1e-9;
}

/* What happened since `from`, when the counts were `before`. */
static struct stretch stretch_of(struct load *load, const struct load_counts *before,
                                 const struct load_counts *now, int64_t from)
{
    struct samples latencies = {0};
    load_latencies(load, &latencies);
    struct stretch s = {.rate = (double)(now->done - before->done) / seconds_since(from)};
    if (latencies.count) {
        s.p50_ms = samples_quantile(&latencies, 0.5) / 1e3;
        s.p99_ms = samples_quantile(&latencies, 0.99) / 1e3;
    }
    samples_free(&latencies);
    return s;
}

/* Shows the load for so long: on a terminal one line that changes, else one a second. */
static void watch(struct demo *d, int64_t duration_ns, const char *remark, struct stretch *last)
{
    bool terminal = isatty(1) && !d->request->json;
    int64_t until = clock_monotonic_ns() + duration_ns;
    struct load_counts before, now;
    load_counts(d->load, &before);
    for (;;) {
        int64_t from = clock_monotonic_ns(), step = terminal ? LIVE_NS : LINE_NS;
        if (interrupted() || from >= until)
            break;
        interruption_nap(step < until - from ? step : until - from);
        load_counts(d->load, &now);
        struct stretch s = stretch_of(d->load, &before, &now, from);
        before = now;
        if (last)
            *last = s;
        if (d->request->json)
            continue;
        printf("%s%6.1f s %8.0f tx/s  p50 %5.0f ms  p99 %5.0f ms  primary %u  %s%s",
               terminal ? "\r\033[K" : "", seconds_since(d->begin_ns), s.rate, s.p50_ms, s.p99_ms,
               now.primary, remark, terminal ? "" : "\n");
        fflush(stdout);
    }
    if (terminal)
        printf("\n");
}

static void tell(const struct demo *d, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void tell(const struct demo *d, const char *format, ...)
{
    va_list arguments;
    if (d->request->json)
        return;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    fflush(stdout);
}

static int primary_crash(struct demo *d, struct error *e)
{
    double timeout = (double)d->cluster.settings.terms.view_timeout_us * 1e-3;
    struct load_counts counts;
    load_counts(d->load, &counts);
    tell(d,
         "\nReplica %u, the primary, is killed now (SIGKILL) with %" PRIu64 " calls under way.\n",
         counts.primary, counts.under_way);
    int rc = crash_primary(&d->cluster, d->load, &d->crash, e);
    if (rc == 0)
        tell(d,
             "The others wait %.0f ms for it, as the genesis says, then follow replica %u:\n"
             "its first answer came %.0f ms after the kill. That is a view change.\n\n",
             timeout, d->crash.next, d->crash.outage_ms);
    return rc;
}

static int replica_return(struct demo *d, struct error *e)
{
    int64_t from = clock_monotonic_ns();
    tell(d, "\nReplica %u is started again and fetches what it missed.\n", d->crash.victim);
    int rc = cluster_replica_start(&d->cluster, d->crash.victim, e);
    if (rc == 0)
        rc = crash_caught_up(&d->cluster, d->crash.victim, CATCH_UP_NS, e);
    if (rc != 0)
        return rc;
    d->catch_up_s = seconds_since(from);
    tell(d, "It has caught up after %.1f s.\n\n", d->catch_up_s);
    return 0;
}

/* An interruption ends it between two scenes, and within one. */
static int scenes_play(struct demo *d, struct error *e)
{
    int64_t time = d->request->time_ns;
    d->begin_ns = clock_monotonic_ns();
    watch(d, time / 2, "", &d->before);
    int rc = interruption_check(e);
    if (rc == 0)
        rc = primary_crash(d, e);
    if (rc == 0)
        watch(d, time / 4, "(one down)", NULL);
    if (rc == 0)
        rc = interruption_check(e);
    if (rc == 0)
        rc = replica_return(d, e);
    if (rc == 0)
        watch(d, time / 4, "", NULL);
    return rc == 0 ? interruption_check(e) : rc;
}

static int load_play(struct demo *d, struct error *e)
{
    struct keeper *k = &d->keeper;
    const struct load_settings settings = {.genesis = slice_of_buffer(&d->cluster.genesis),
                                           .clients = 8,
                                           .bundle = 1,
                                           .in_flight = 100,
                                           .accounts = d->cluster.settings.terms.accounts,
                                           .seed = (uint64_t)clock_monotonic_ns(),
                                           .receipt_every = RECEIPT_EVERY,
                                           .receipt = receipt_keep,
                                           .context = k};
    const struct buffer *bytes = &d->cluster.genesis;
    int rc = buffer_append(&k->genesis_bytes, bytes->data, bytes->len)
                 ? ledger_genesis_decode(slice_of_buffer(&k->genesis_bytes), &k->genesis, e)
                 : error_set(e, ATOLL_ENOMEM, "no memory");
    snprintf(k->directory, sizeof k->directory, "%s/receipts", d->cluster.directory);
    if (rc == 0)
        rc = directory_make(k->directory, 0755, e);
    if (rc == 0)
        rc = load_start(&settings, &d->load, e);
    if (rc != 0)
        return rc;
    rc = scenes_play(d, e);
    d->unanswered = load_stop(d->load, interrupted() ? 0 : 10000, &d->last);
    return rc;
}

/* ---- what is left ---- */

/* How this program was called: what people can type again. */
static void program_name(char out[static 512])
{
    int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, out, 511) : 0;
    if (fd >= 0)
        close(fd);
    out[got > 0 ? got : 0] = 0; /* the first of several strings */
    if (out[0] == 0)
        strcpy(out, "atoll");
}

static void receipts_judge(struct demo *d)
{
    struct ledger_batch_verifier *batch;
    struct ledger_keys keys = ledger_keys_of(&d->keeper.genesis);
    struct error e;
    if (ledger_batch_verifier_create(LEDGER_RECEIPT_SIGNATURES_MAX, &batch, &e) != 0)
        return;
    struct ledger_verifier verifier = ledger_batch_verifier_of(batch);
    for (unsigned i = 0; i < d->keeper.kept; i++) {
        struct buffer file = {0};
        struct slice receipt;
        struct ledger_receipt_info info;
        uint8_t genesis[HASH_LEN];
        char path[700];
        receipt_path(&d->keeper, d->keeper.indices[i], path);
        d->valid +=
            file_read(path, LEDGER_RECEIPT_FILE_MAX, &file, &e) == 0 &&
            ledger_receipt_file_decode(slice_of_buffer(&file), &receipt, genesis, &e) == 0 &&
            ledger_receipt_verify(receipt, &keys, &verifier, &info, &e) == 0;
        buffer_free(&file);
    }
    ledger_batch_verifier_destroy(batch);
}

/* The very command that is printed, on one of them. */
static void command_show(const struct demo *d, const char *program)
{
    char genesis[640], path[700];
    pid_t child;
    snprintf(genesis, sizeof genesis, "%s/genesis", d->cluster.directory);
    receipt_path(&d->keeper, d->keeper.indices[d->keeper.kept - 1], path);
    printf("  $ %s ledger receipt verify \\\n      --genesis %s %s\n", program, genesis, path);
    fflush(stdout);
    char *arguments[] = {"atoll", "ledger", "receipt", "verify", "--genesis", genesis, path, NULL};
    if (posix_spawn(&child, "/proc/self/exe", NULL, NULL, arguments, environ) == 0)
        waitpid(child, NULL, 0);
}

static void summary_print(struct demo *d)
{
    char program[512];
    program_name(program);
    printf(
        "\nAll replicas are stopped. %" PRIu64 " transactions were executed, each with a receipt\n"
        "that its client checked; %" PRIu64 " were refused, %" PRIu64 " left without an answer.\n",
        d->last.done, d->last.refused, d->unanswered);
    if (d->keeper.kept == 0)
        return;
    const struct ledger_configuration *c = &d->keeper.genesis.configuration;
    printf("\n%u receipts are left in %s.\n"
           "A receipt proves that %u of the %u replicas signed what was executed. To check\n"
           "one takes no replica and no network, only the genesis, which names their keys:\n\n",
           d->keeper.kept, d->keeper.directory, ledger_quorum(c), c->replica_count);
    command_show(d, program);
    printf("\n%u of %u receipts are valid.\n\nGo on:\n"
           "  %s ledger check %s/replica-%u\n"
           "      checks every signature and hash of a whole ledger\n"
           "  %s ledger demo%s%s\n"
           "      runs again, and the same ledger grows\n",
           d->valid, d->keeper.kept, program, d->cluster.directory, d->crash.next, program,
           d->request->directory ? " --dir " : "",
           d->request->directory ? d->request->directory : "");
}

static int summary_json(const struct demo *d)
{
    cJSON *o = cJSON_CreateObject();
    environment_add(o);
    cJSON_AddStringToObject(o, "directory", d->cluster.directory);
    cJSON_AddBoolToObject(o, "continued", d->went_on);
    cJSON_AddNumberToObject(o, "replicas", d->cluster.settings.replicas);
    cJSON_AddNumberToObject(o, "accounts", d->cluster.settings.terms.accounts);
    cJSON_AddNumberToObject(o, "timeout_ms",
                            (double)d->cluster.settings.terms.view_timeout_us * 1e-3);
    cJSON_AddNumberToObject(o, "tx_per_s", d->before.rate);
    cJSON_AddNumberToObject(o, "p50_ms", d->before.p50_ms);
    cJSON_AddNumberToObject(o, "p99_ms", d->before.p99_ms);
    cJSON *crash = cJSON_AddObjectToObject(o, "crash");
    cJSON_AddNumberToObject(crash, "primary", d->crash.victim);
    cJSON_AddNumberToObject(crash, "next", d->crash.next);
    cJSON_AddNumberToObject(crash, "under_way", (double)d->crash.under_way);
    cJSON_AddNumberToObject(crash, "outage_ms", d->crash.outage_ms);
    cJSON_AddNumberToObject(crash, "catch_up_s", d->catch_up_s);
    cJSON_AddNumberToObject(o, "transactions", (double)d->last.done);
    cJSON_AddNumberToObject(o, "refused", (double)d->last.refused);
    cJSON_AddNumberToObject(o, "unanswered", (double)d->unanswered);
    cJSON_AddNumberToObject(o, "receipts", d->keeper.kept);
    cJSON_AddNumberToObject(o, "receipts_valid", d->valid);
    return json_print(o, false);
}

/* ---- the command ---- */

/* A ledger that is there goes on, unless another one was asked for. */
static int ledger_find(struct demo *d, const char *directory, bool *exists, struct error *e)
{
    const struct request *r = d->request;
    struct ledger_local_settings there;
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/genesis", directory);
    *exists = access(path, F_OK) == 0;
    if (!*exists)
        return 0;
    int rc = ledger_local_read(directory, &there, e);
    if (rc != 0)
        return rc;
    if ((r->replicas && r->replicas != there.replicas) ||
        (r->accounts && r->accounts != there.terms.accounts))
        return error_set(e, ATOLL_EINVAL,
                         "the ledger in %s has %u replicas and %u accounts: give another --dir",
                         directory, there.replicas, there.terms.accounts);
    return there.terms.accounts >= 2
               ? 0
               : error_set(e, ATOLL_EINVAL, "the ledger in %s has no accounts to work on",
                           directory);
}

static int ledger_begin(struct demo *d, struct error *e)
{
    const struct request *r = d->request;
    const char *directory = r->directory ? r->directory : "ledger-demo";
    struct ledger_local_settings s;
    int rc = ledger_find(d, directory, &d->went_on, e);
    if (rc != 0)
        return rc;
    ledger_local_defaults(&s);
    s.terms.name = "demo";
    s.terms.view_timeout_us = TIMEOUT_US;
    if (r->replicas)
        s.replicas = r->replicas > LEDGER_REPLICAS_MAX ? 0 : (uint32_t)r->replicas;
    if (r->accounts)
        s.terms.accounts = r->accounts > UINT32_MAX ? UINT32_MAX : (uint32_t)r->accounts;
    if (s.terms.accounts < 2)
        return error_set(e, ATOLL_EINVAL, "payments take two accounts");
    tell(d, "%s a ledger in %s\n", d->went_on ? "Going on with" : "Making", directory);
    return d->went_on ? cluster_continue(&d->cluster, NULL, directory, LEDGER_LOG_STRICT, e)
                      : cluster_start(&d->cluster, NULL, directory, &s, LEDGER_LOG_STRICT, e);
}

static int demo_play(struct demo *d, struct error *e)
{
    int rc = ledger_begin(d, e);
    if (rc != 0)
        return rc;
    const struct ledger_local_settings *s = &d->cluster.settings;
    tell(d,
         "%u replicas, each a process with a key of its own, vote on every batch of\n"
         "transactions; %u of them may be broken or lie. Clients sign payments between\n"
         "%u accounts (SmallBank) and check a receipt for each.\n\n",
         s->replicas, (s->replicas - 1) / 3, s->terms.accounts);
    rc = interruption_check(e);
    if (rc == 0)
        rc = load_play(d, e);
    cluster_stop(&d->cluster, false);
    if (rc != 0)
        return rc;
    receipts_judge(d);
    if (d->request->json)
        summary_json(d);
    else
        summary_print(d);
    return d->valid == d->keeper.kept ? 0
                                      : error_set(e, ATOLL_ESIGNATURE, "%u receipts are not valid",
                                                  d->keeper.kept - d->valid);
}

static int demo_run(int argc, char **argv)
{
    struct request r = {.time_ns = 20000000000};
    const struct option_spec options[] = {
        {"dir", 0, OPTION_TEXT, "DIR", "where the ledger is, or is made (default: ledger-demo)",
         &r.directory, NULL},
        {"replicas", 'n', OPTION_COUNT, "N", "how many replicas (default 4)", &r.replicas, NULL},
        {"accounts", 0, OPTION_COUNT, "N", "how many accounts (default 500000)", &r.accounts, NULL},
        {"time", 0, OPTION_DURATION, "TIME", "how long in all (default 20s)", &r.time_ns, NULL},
        {"json", 0, OPTION_FLAG, NULL, "print nothing but one JSON object at the end", &r.json,
         NULL},
    };
    struct text_list operands = {0};
    struct error e;
    int code;
    if (!ledger_options(&command_ledger_demo, options, sizeof options / sizeof options[0], argc,
                        argv, 0, 0, &operands, &code))
        return code;
    free(operands.items);
    struct demo *d = calloc(1, sizeof *d);
    if (d)
        d->request = &r;
    interruption_catch();
    int rc = d ? demo_play(d, &e) : error_set(&e, ATOLL_ENOMEM, "no memory");
    if (d)
        buffer_free(&d->keeper.genesis_bytes);
    free(d);
    interruption_obey("all replicas are stopped, the ledger stays");
    if (rc == 0)
        return EXIT_OK;
    ledger_report(&e);
    return rc == -ATOLL_EINVAL ? EXIT_USAGE : exit_code_of(&e);
}

const struct command command_ledger_demo = {
    .name = "ledger demo",
    .usage = "[OPTIONS]",
    .summary = "four replicas here, under load, and the primary dies",
    .description =
        "Makes a ledger of four replicas on this machine, runs payments on it and shows\n"
        "throughput and latency, kills the primary in the middle, brings it back, and\n"
        "leaves receipts, which it checks as anybody could: without a replica. A ledger\n"
        "that is in the directory already goes on. Nothing runs any more when it ends,\n"
        "however it ends.\n\n"
        "Exit code: 0; 125 when a replica does not start, no new primary is found, or a\n"
        "receipt does not hold.",
    .run = demo_run,
};
