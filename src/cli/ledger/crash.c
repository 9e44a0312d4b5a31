/* See crash.h. */
#include "cli/ledger/crash.h"

#include "cli/ledger/interruption.h"
#include "cli/report.h"
#include "ledger/replica/replica.h"

#include <inttypes.h>
#include <stdio.h>

#define POLL_NS     5000000
#define GIVE_UP_NS  INT64_C(60000000000)
#define SETTLE_NS   100000000 /* until the load has published what ended the pause */
#define WARM_NS     INT64_C(2000000000)
#define BETWEEN_NS  INT64_C(1000000000)
#define CATCH_UP_NS INT64_C(60000000000)

int crash_primary(struct cluster *c, struct load *load, struct crash *out, struct error *e)
{
    struct load_counts counts;
    load_mark(load);
    load_counts(load, &counts);
    *out = (struct crash){.victim = counts.primary, .under_way = counts.under_way};
    int64_t killed = clock_monotonic_ns();
    cluster_replica_kill(c, out->victim);
    do {
        interruption_nap(POLL_NS);
        load_counts(load, &counts);
        int rc = interruption_check(e);
        if (rc == 0 && clock_monotonic_ns() - killed > GIVE_UP_NS)
            rc = error_set(e, ATOLL_ETIMEDOUT, "no new primary within a minute");
        if (rc != 0)
            return rc;
    } while (counts.primary == out->victim || counts.pause_end_ns < killed);
    interruption_nap(SETTLE_NS);
    load_counts(load, &counts);
    out->next = counts.primary;
    out->outage_ms = (double)(counts.pause_end_ns - killed) * 1e-6;
    out->pause_ms = (double)counts.pause_ns * 1e-6;
    return 0;
}

/* The last batch that any running replica has committed. */
static uint64_t committed_most(const struct cluster *c)
{
    uint64_t most = 0;
    for (uint32_t i = 0; i < c->settings.replicas; i++) {
        struct cluster_status status;
        struct error e;
        if (c->replicas[i] > 0 && cluster_status(c, i, &status, &e) == 0 &&
            status.batch_committed > most)
            most = status.batch_committed;
    }
    return most;
}

int crash_caught_up(const struct cluster *c, uint32_t number, int64_t patience_ns, struct error *e)
{
    int64_t until = clock_monotonic_ns() + patience_ns;
    uint64_t wanted = committed_most(c);
    for (;;) {
        struct cluster_status status;
        int rc = cluster_status(c, number, &status, e);
        if (rc == 0 && status.phase == LEDGER_NORMAL && status.batch_committed >= wanted)
            return 0;
        if (interrupted())
            return interruption_check(e);
        if (clock_monotonic_ns() > until)
            return rc ? rc
                      : error_set(e, ATOLL_ETIMEDOUT,
                                  "replica %u has not caught up: phase %" PRIu64 ", batch %" PRIu64
                                  " of %" PRIu64,
                                  number, status.phase, status.batch_committed, wanted);
        interruption_nap(20 * POLL_NS);
    }
}

/* ---- many ---- */

static void table_print(const struct cluster *c, const struct load_settings *settings,
                        struct samples *outages, struct samples *under_way)
{
    double timeout = (double)c->settings.terms.view_timeout_us * 1e-3;
    double median = samples_median(outages), most = samples_quantile(outages, 1);
    environment_print();
    printf("%u replicas, %s mode, batches of %u, pipeline %u, %u clients with %u calls each under "
           "way,\nall on this machine; %zu crashes (SIGKILL) of the primary under load\n\n",
           c->settings.replicas, c->mode == LEDGER_LOG_ASYNC ? "async" : "strict",
           c->settings.terms.max_batch, c->settings.terms.pipeline, settings->clients,
           settings->in_flight, outages->count);
    printf("%-50s %10s %10s %10s\n", "", "median", "least", "most");
    printf("%-50s %10.0f %10.0f %10.0f ms\n", "from the crash to the first answer of the next view",
           median, samples_quantile(outages, 0), most);
    printf("%-50s %10.0f %10.0f %10.0f ms\n", "  of which beyond the timeout", median - timeout,
           samples_quantile(outages, 0) - timeout, most - timeout);
    printf("%-50s %10.2f %10.2f %10.2f x\n", "  in timeouts", median / timeout,
           samples_quantile(outages, 0) / timeout, most / timeout);
    printf("%-50s %10.0f %10.0f %10.0f\n", "calls without an answer at the crash",
           samples_median(under_way), samples_quantile(under_way, 0),
           samples_quantile(under_way, 1));
    printf("timeout of a view: %.0f ms\n", timeout);
    environment_verdict();
}

static void table_json(const struct cluster *c, const struct load_settings *settings,
                       struct samples *outages, uint64_t unanswered)
{
    cJSON *o = cJSON_CreateObject();
    environment_add(o);
    cJSON_AddNumberToObject(o, "replicas", c->settings.replicas);
    cJSON_AddStringToObject(o, "mode", c->mode == LEDGER_LOG_ASYNC ? "async" : "strict");
    cJSON_AddNumberToObject(o, "under_way", settings->clients * settings->in_flight);
    cJSON_AddNumberToObject(o, "timeout_ms", (double)c->settings.terms.view_timeout_us * 1e-3);
    cJSON *one = cJSON_AddObjectToObject(o, "outage_ms");
    cJSON_AddNumberToObject(one, "median", samples_median(outages));
    cJSON_AddNumberToObject(one, "least", samples_quantile(outages, 0));
    cJSON_AddNumberToObject(one, "most", samples_quantile(outages, 1));
    cJSON_AddNumberToObject(o, "crashes", (double)outages->count);
    cJSON_AddNumberToObject(o, "unanswered", (double)unanswered);
    json_print(o, false);
}

int crash_bench(struct cluster *c, const struct load_settings *settings, unsigned rounds, bool json,
                struct error *e)
{
    struct samples outages = {0}, under_way = {0};
    struct load *load;
    int rc = load_start(settings, &load, e);
    if (rc != 0)
        return rc;
    interruption_nap(WARM_NS);
    for (unsigned i = 0; i < rounds && rc == 0; i++) {
        struct crash crash;
        interruption_nap(BETWEEN_NS);
        rc = interruption_check(e);
        if (rc == 0)
            rc = crash_primary(c, load, &crash, e);
        if (rc != 0)
            break;
        samples_add(&outages, crash.outage_ms);
        samples_add(&under_way, (double)crash.under_way);
        if (!json)
            fprintf(stderr,
                    "crash %u: replica %u with %" PRIu64
                    " calls under way; replica %u answers after %.0f ms (pause %.0f ms)\n",
                    i + 1, crash.victim, crash.under_way, crash.next, crash.outage_ms,
                    crash.pause_ms);
        rc = cluster_replica_start(c, crash.victim, e);
        if (rc == 0)
            rc = crash_caught_up(c, crash.victim, CATCH_UP_NS, e);
    }
    uint64_t left = load_stop(load, interrupted() ? 0 : 10000, NULL);
    if (rc == 0 && json)
        table_json(c, settings, &outages, left);
    else if (rc == 0)
        table_print(c, settings, &outages, &under_way);
    samples_free(&outages);
    samples_free(&under_way);
    return rc;
}
