/*
 * bench-density: how many idle instances fit, and what does each of them cost? INSTANCES of a
 * function that does nothing lie idle in as many worker processes as they need; counted is all that
 * a worker has grown by (PSS of its mappings, and its page tables), and what the whole machine has
 * less. One more worker goes on until something is exhausted, and says what.
 *
 *   bench-density [INSTANCES [ATOLL-CC]]
 */
#define _GNU_SOURCE
#include "cli/bench/measure.h"
#include "guest.h"
#include "sandbox/snapshot.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define INSTANCES     10000
#define PER_WORKER    2500
#define WORKERS_MAX   64
#define UNTIL_LIMIT   6000 /* more than any process can have */
#define NODE_KIB      4.0  /* allowed for what a node keeps of an instance besides */
#define BAR_KIB       40.0
#define BAR_CREATE_US 50.0

static const struct arena_limits limits = {.memory_bytes = 128ull << 20, .stack_bytes = 256u << 10};

/* What a worker tells the program that started it. */
struct report {
    uint32_t instances;
    double pss_kib, tables_kib, maps; /* grown by */
    double create_p50, create_p99;
    char ended[256]; /* why it made no more; empty: it was not asked for more */
};

struct worker {
    pid_t pid;
    int to, from;
};

/* ---- reading /proc ---- */

static double maps_count(void)
{
    int byte;
    double count = 0;
    FILE *file = fopen("/proc/self/maps", "re");
    while (file && (byte = fgetc(file)) != EOF)
        count += byte == '\n';
    if (file)
        fclose(file);
    return count;
}

/* ---- one worker ---- */

static struct snapshot *snapshot_make(struct artefact *artefact)
{
    struct error e = {0};
    struct snapshot *snapshot;
    struct arena *arena;
    struct instance *instance;
    bench_check(arena_create(SLOT_ANY, &limits, &arena, &e), &e);
    bench_check(instance_create(arena, artefact, NULL, 0, &instance, &e), &e);
    bench_check(snapshot_take(arena, &snapshot, &e), &e);
    arena_destroy(arena);
    return snapshot;
}

/* One idle instance: made, called, reset. */
static int idle_make(struct snapshot *snapshot, struct error *e)
{
    struct arena *arena;
    int rc = snapshot_restore(snapshot, SLOT_ANY, &arena, e);
    if (rc < 0)
        return rc;
    struct instance *instance = arena_primary(arena);
    guest_call(instance, guest_function(instance, "nothing"), 0);
    return snapshot_reset(snapshot, arena, e);
}

static void worker_fill(struct artefact *artefact, uint32_t wanted, struct report *r)
{
    struct samples create = {0};
    struct snapshot *snapshot = snapshot_make(artefact);
    struct error e = {0};
    bench_check(idle_make(snapshot, &e), &e); /* what is made once, is made */
    for (uint32_t k = 0; k < wanted; k++)
        samples_add(&create, 0); /* its memory is no instance's */
    create.count = 0;
    double pss = proc_kib("/proc/self/smaps_rollup", "Pss:");
    double tables = proc_kib("/proc/self/status", "VmPTE:"), maps = maps_count();
    for (r->instances = 0; r->instances < wanted; r->instances++) {
        int64_t start = clock_monotonic_ns();
        if (idle_make(snapshot, &e) < 0) {
            snprintf(r->ended, sizeof r->ended, "%.250s", e.text);
            break;
        }
        samples_add(&create, (double)(clock_monotonic_ns() - start) / 1e3);
    }
    r->pss_kib = proc_kib("/proc/self/smaps_rollup", "Pss:") - pss;
    r->tables_kib = proc_kib("/proc/self/status", "VmPTE:") - tables;
    r->maps = maps_count() - maps;
    r->create_p50 = samples_median(&create);
    r->create_p99 = samples_quantile(&create, 0.99);
}

/* Fills itself when told how far, reports, and stays until it is told to end. */
_Noreturn static void worker_main(const char *program, int from, int to)
{
    struct report report = {0};
    struct error e = {0};
    uint32_t wanted;
    bench_check(engine_initialize(&e), &e);
    struct artefact *artefact = guest_artefact(program, "pages");
    if (write(to, "r", 1) != 1 || read(from, &wanted, sizeof wanted) != sizeof wanted)
        _exit(1);
    worker_fill(artefact, wanted, &report);
    if (write(to, &report, sizeof report) != sizeof report)
        _exit(1);
    char end;
    _exit(read(from, &end, 1) == 1 ? 0 : 1);
}

static void worker_start(struct worker *w, const char *program)
{
    int in[2], out[2];
    char ready;
    if (pipe(in) != 0 || pipe(out) != 0)
        bench_fail(1, "cannot make pipes: %s", strerror(errno));
    w->pid = fork();
    if (w->pid == 0) {
        close(in[1]);
        close(out[0]);
        worker_main(program, in[0], out[1]);
    }
    close(in[0]);
    close(out[1]);
    w->to = in[1];
    w->from = out[0];
    if (w->pid < 0 || read(w->from, &ready, 1) != 1)
        bench_fail(1, "a worker did not start");
}

static void worker_report(struct worker *w, uint32_t instances, struct report *r)
{
    if (write(w->to, &instances, sizeof instances) != sizeof instances ||
        read(w->from, r, sizeof *r) != sizeof *r)
        bench_fail(1, "a worker died");
}

static void worker_end(struct worker *w)
{
    int status;
    if (write(w->to, "e", 1) != 1 || waitpid(w->pid, &status, 0) != w->pid || status != 0)
        bench_fail(1, "a worker died");
    close(w->to);
    close(w->from);
}

/* ---- the table ---- */

static void row(const char *what, double value)
{
    printf("%-58s %9.1f\n", what, value);
}

static void verdict(const char *what, double value, double bar)
{
    printf("%-58s %9.1f   bar %.0f: %s\n", what, value, bar, value <= bar ? "held" : "MISSED");
}

static void density_table(const char *program, uint32_t wanted)
{
    static struct worker workers[WORKERS_MAX];
    static struct report reports[WORKERS_MAX];
    struct report sum = {0};
    uint32_t count = (wanted + PER_WORKER - 1) / PER_WORKER;
    for (uint32_t k = 0; k < count; k++)
        worker_start(&workers[k], program); /* each a child of a process that has no instances */
    double available = proc_kib("/proc/meminfo", "MemAvailable:");
    double create_p50 = 0, create_p99 = 0;
    for (uint32_t k = 0; k < count; k++) {
        uint32_t left = wanted - sum.instances;
        worker_report(&workers[k], left < PER_WORKER ? left : PER_WORKER, &reports[k]);
        sum.instances += reports[k].instances;
        sum.pss_kib += reports[k].pss_kib;
        sum.tables_kib += reports[k].tables_kib;
        sum.maps += reports[k].maps;
        create_p50 = reports[k].create_p50 > create_p50 ? reports[k].create_p50 : create_p50;
        create_p99 = reports[k].create_p99 > create_p99 ? reports[k].create_p99 : create_p99;
    }
    available -= proc_kib("/proc/meminfo", "MemAvailable:");
    double each = sum.instances, kib = (sum.pss_kib + sum.tables_kib) / each;
    printf("%u idle instances in %u workers, each called once and reset\n", sum.instances, count);
    row("PSS, KiB each", sum.pss_kib / each);
    row("page tables, KiB each", sum.tables_kib / each);
    verdict("together with 4 KiB of the node's own, KiB each", kib + NODE_KIB, BAR_KIB);
    row("less memory available on the machine, KiB each", available / each);
    row("mappings each", sum.maps / each);
    verdict("creating one (restore, call, reset), p50 of the slowest, us", create_p50,
            BAR_CREATE_US);
    row("the same, p99", create_p99);
    for (uint32_t k = 0; k < count; k++)
        worker_end(&workers[k]);
}

static void limit_table(const char *program)
{
    struct worker worker;
    struct report report;
    worker_start(&worker, program);
    worker_report(&worker, UNTIL_LIMIT, &report);
    worker_end(&worker);
    printf("\none worker holds %u instances with %.0f mappings; then: %s\n", report.instances + 1,
           report.maps, report.ended[0] ? report.ended : "no limit was met");
}

int main(int argc, char **argv)
{
    if (argc > 3 || (argc > 1 && argv[1][0] == '-'))
        bench_fail(2, "usage: bench-density [INSTANCES [ATOLL-CC]]");
    uint32_t wanted = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : INSTANCES;
    if (!wanted || wanted > WORKERS_MAX * PER_WORKER)
        bench_fail(2, "from 1 to %d instances", WORKERS_MAX * PER_WORKER);
    environment_print();
    environment_verdict();
    density_table(argc > 2 ? argv[2] : NULL, wanted);
    limit_table(argc > 2 ? argv[2] : NULL);
    environment_verdict();
    return 0;
}
