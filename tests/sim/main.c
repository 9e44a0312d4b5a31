/*
 * ledger-sim: runs services of the ledger in virtual time, one 64-bit seed each, stops at the first
 * violated invariant and says how to see it again. docs/ledger.md, "The simulator", tells what is
 * simulated, what is checked, and how often what happens in 10,000 seeds.
 *
 *   ledger-sim --seeds 1-300 --liveness            what `make test` runs
 *   ledger-sim --seed 7 --liveness --trace         one of them, event by event
 *   ledger-sim --coverage 1-10000 --liveness       the tables of the page
 *   ledger-sim-mutated --mutation no-floor …       a rule is broken: is it noticed?
 *
 * Where to look:
 *
 *   ground      world (time, events, log), random, network, disk, signature, table
 *   a service   cluster puts it together; machine, storage, gap, checkpoint are a replica's process
 *               with its log; client and line a client's process with its connections
 *   what fails  fault (and coverage, which counts)
 *   who lies    adversary (chooses and routes), forge (makes the messages), liar (a client)
 *   who checks  witness (while it runs), judge (at the end), bank and linearize (their oracles)
 *   for people  main, tell (traces), mutation (the rules that can be broken)
 *
 * A seed's run is a function of the seed and of the code, the same in every build: everything
 * happens in events of one queue, and chance comes from the seed alone.
 */
#include "cluster.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifdef REPLICA_MUTATION
#include "mutation.h"
#endif

#define JOBS_MAX 64

struct task {
    struct sim_options options; /* seed apart */
    uint64_t first, last;
    unsigned jobs;
    bool hash, coverage, draw_replicas, draw_faulty;
    const char *mutation;
};

/* What a job has done, in memory that its parent sees. */
struct progress {
    uint64_t seed, seeds, events, virtual_us;
    struct sim_coverage coverage;
    bool violated, done;
    char violation[1024];
};

static const char usage[] =
    "usage: ledger-sim [options]\n"
    "  --seeds A-B      runs the seeds A to B (default 1-100)\n"
    "  --seed S         runs one seed\n"
    "  --trace          prints all that happens\n"
    "  --hash           prints the hash of each seed's event log\n"
    "  --coverage A-B   runs these seeds and prints how often which fault, trick and lie acted\n"
    "                   (status 1 when one of them never did)\n"
    "  --n N            replicas (default: 4 mostly, sometimes 5 to 10, or 13)\n"
    "  --faulty K       of them lie (default: drawn from 0 to f)\n"
    "  --trick NAME     the only thing they do (default: drawn); `--trick list` lists them\n"
    "  --crypto MODE    real or fast signatures (default fast)\n"
    "  --liveness       every request must finish once all faults are healed\n"
    "  --jobs J         processes (default 1)\n"
    "  --mutation NAME  breaks one rule of the protocol and expects to be caught\n"
    "                   (ledger-sim-mutated only; `--mutation list` lists them)\n";

static void seed_options(const struct task *task, uint64_t seed, struct sim_options *options)
{
    struct sim_random r;
    unsigned faulty_max;

    *options = task->options;
    options->seed = seed;
    sim_random_seed(&r, seed, 1000);
    if (task->draw_replicas)
        options->replicas = sim_random_chance(&r, 850)   ? 4
                            : sim_random_chance(&r, 950) ? (unsigned)sim_random_range(&r, 5, 10)
                                                         : 13;
    faulty_max = (options->replicas - 1) / 3;
    if (task->draw_faulty)
        options->faulty = (unsigned)sim_random_below(&r, faulty_max + 1);
    if (options->faulty > options->replicas)
        options->faulty = options->replicas;
}

static void seed_run(const struct task *task, uint64_t seed, struct progress *p)
{
    static struct sim_cluster cluster; /* large; one a process */
    struct sim_options options;

    p->seed = seed;
    seed_options(task, seed, &options);
    sim_cluster_run(&cluster, &options);
    p->seeds++;
    p->events += cluster.world.ran;
    p->virtual_us += cluster.world.now_us;
    sim_coverage_add(&p->coverage, &cluster.coverage);
    if (cluster.world.violation[0]) {
        memcpy(p->violation, cluster.world.violation, sizeof p->violation);
        p->violated = true;
    }
    if (task->hash)
        printf("%llu %016llx%016llx\n", (unsigned long long)seed,
               (unsigned long long)cluster.world.log_hash[0],
               (unsigned long long)cluster.world.log_hash[1]);
    sim_cluster_close(&cluster);
}

static void job_run(const struct task *task, unsigned number, struct progress *all)
{
    for (uint64_t seed = task->first + number; seed <= task->last; seed += task->jobs) {
        for (unsigned i = 0; i < task->jobs; i++)
            if (all[i].violated && all[i].seed < seed)
                return;
        seed_run(task, seed, &all[number]);
        if (all[number].violated)
            return;
    }
    all[number].done = true;
}

static void replay_print(const struct task *task, uint64_t seed)
{
    printf("replay: ledger-sim%s --seed %llu --trace", task->mutation ? "-mutated" : "",
           (unsigned long long)seed);
    if (task->mutation)
        printf(" --mutation %s", task->mutation);
    if (!task->draw_replicas)
        printf(" --n %u", task->options.replicas);
    if (!task->draw_faulty)
        printf(" --faulty %u", task->options.faulty);
    if (task->options.trick)
        printf(" --trick %s", task->options.trick);
    if (task->options.crypto == SIM_CRYPTO_REAL)
        printf(" --crypto real");
    if (task->options.liveness)
        printf(" --liveness");
    putchar('\n');
}

static double seconds_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Processor time of the jobs, which have all ended. */
static double seconds_used(void)
{
    struct rusage used;

    getrusage(RUSAGE_CHILDREN, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

/* The smallest seed that failed, and the totals. */
static const struct progress *progress_sum(const struct task *task, const struct progress *all,
                                           struct progress *sum)
{
    const struct progress *worst = NULL;

    for (unsigned i = 0; i < task->jobs; i++) {
        sum->seeds += all[i].seeds;
        sum->events += all[i].events;
        sum->virtual_us += all[i].virtual_us;
        sim_coverage_merge(&sum->coverage, &all[i].coverage);
        if (all[i].violated && (!worst || all[i].seed < worst->seed))
            worst = &all[i];
    }
    return worst;
}

static uint64_t happened(const struct progress *sum, enum sim_event_kind event)
{
    return sum->coverage.times[(unsigned)SIM_SECTION_EVENT + event];
}

static void totals_print(const struct progress *sum, double took)
{
    double simulated = (double)sum->virtual_us / 1e6, used = seconds_used();

    printf("%llu seeds, %.0f s simulated in %.1f s (x%.0f; x%.0f of a processor's time), %llu "
           "events, %llu receipts, %llu crashes, %llu power cuts, %llu histories undecided\n",
           (unsigned long long)sum->seeds, simulated, took, simulated / took, simulated / used,
           (unsigned long long)sum->events, (unsigned long long)happened(sum, SIM_EVENT_RECEIPT),
           (unsigned long long)happened(sum, SIM_EVENT_CRASH),
           (unsigned long long)happened(sum, SIM_EVENT_POWER_CUT),
           (unsigned long long)happened(sum, SIM_EVENT_UNDECIDED));
}

static int report(const struct task *task, const struct progress *all, double took)
{
    struct progress sum = {0};
    const struct progress *worst = progress_sum(task, all, &sum);
    bool whole = !task->coverage || sim_coverage_print(&sum.coverage, sum.seeds);

    totals_print(&sum, took);
    if (worst) {
        printf("seed %llu: %s\n", (unsigned long long)worst->seed, worst->violation);
        replay_print(task, worst->seed);
    }
    if (task->mutation) {
        printf("mutation %s: %s\n", task->mutation, worst ? "caught" : "NOT CAUGHT");
        return worst ? 0 : 1;
    }
    if (!whole)
        puts("something in the table never happened: no test of it");
    return worst || !whole ? 1 : 0;
}

/* A job that ended by a signal, an assertion mostly, failed in the seed at which it was. */
static void job_wait(struct progress *all, const pid_t *pid, unsigned jobs)
{
    int status;
    pid_t ended;

    for (unsigned left = jobs; left;) {
        ended = waitpid(-1, &status, 0);
        if (ended < 0 && errno == EINTR)
            continue;
        for (unsigned i = 0; i < jobs; i++)
            if (pid[i] == ended && (!WIFEXITED(status) || WEXITSTATUS(status) != 0)) {
                all[i].violated = true;
                sim_client_sweep((long)ended);
                snprintf(all[i].violation, sizeof all[i].violation,
                         "the process ended by signal %d, status %d (an assertion?)",
                         WIFSIGNALED(status) ? WTERMSIG(status) : 0,
                         WIFEXITED(status) ? WEXITSTATUS(status) : 0);
            }
        left--;
    }
}

static int task_run(const struct task *task)
{
    struct progress *all = mmap(NULL, JOBS_MAX * sizeof *all, PROT_READ | PROT_WRITE,
                                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t pid[JOBS_MAX];
    double from = seconds_now();

    if (all == MAP_FAILED) {
        perror("ledger-sim: shared memory");
        return 2;
    }
    for (unsigned i = 0; i < task->jobs; i++) {
        fflush(stdout);
        pid[i] = fork();
        if (pid[i] < 0) {
            perror("ledger-sim: fork");
            return 2;
        }
        if (pid[i] == 0) {
            job_run(task, i, all);
            fflush(stdout);
            _exit(0);
        }
    }
    job_wait(all, pid, task->jobs);
    return report(task, all, seconds_now() - from);
}

static int bad_usage(void)
{
    fputs(usage, stderr);
    return 2;
}

static bool trick_known(const char *name)
{
    for (const char *const *trick = sim_adversary_tricks(); *trick; trick++)
        if (strcmp(*trick, name) == 0)
            return true;
    return false;
}

static int tricks_list(void)
{
    for (const char *const *trick = sim_adversary_tricks(); *trick; trick++)
        puts(*trick);
    return 0;
}

static bool range_read(const char *text, struct task *task)
{
    char *end;

    task->first = strtoull(text, &end, 10);
    if (*end != '-')
        return false;
    task->last = strtoull(end + 1, &end, 10);
    return *end == '\0' && task->first <= task->last;
}

static bool mutation_set(const char *name)
{
#ifdef REPLICA_MUTATION
    return replica_mutation_choose(name);
#else
    (void)name;
    fputs("ledger-sim: this program has all rules intact; use ledger-sim-mutated\n", stderr);
    return false;
#endif
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"seeds", required_argument, NULL, 'A'},    {"seed", required_argument, NULL, 's'},
        {"trace", no_argument, NULL, 't'},          {"hash", no_argument, NULL, 'h'},
        {"coverage", required_argument, NULL, 'C'}, {"n", required_argument, NULL, 'n'},
        {"faulty", required_argument, NULL, 'f'},   {"trick", required_argument, NULL, 'T'},
        {"crypto", required_argument, NULL, 'c'},   {"liveness", no_argument, NULL, 'l'},
        {"jobs", required_argument, NULL, 'j'},     {"mutation", required_argument, NULL, 'm'},
        {"help", no_argument, NULL, 'H'},           {NULL, 0, NULL, 0},
    };
    struct task task = {
        .first = 1, .last = 100, .jobs = 1, .draw_replicas = true, .draw_faulty = true};
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'C': task.coverage = true; __attribute__((fallthrough));
        case 'A':
            if (!range_read(optarg, &task))
                return bad_usage();
            break;
        case 's': task.first = task.last = strtoull(optarg, NULL, 10); break;
        case 't': task.options.trace = true; break;
        case 'h': task.hash = true; break;
        case 'n':
            task.options.replicas = (unsigned)strtoul(optarg, NULL, 10);
            task.draw_replicas = false;
            break;
        case 'f':
            task.options.faulty = (unsigned)strtoul(optarg, NULL, 10);
            task.draw_faulty = false;
            break;
        case 'T':
            if (strcmp(optarg, "list") == 0)
                return tricks_list();
            if (!trick_known(optarg))
                return bad_usage();
            task.options.trick = optarg;
            break;
        case 'c':
            task.options.crypto = strcmp(optarg, "real") == 0 ? SIM_CRYPTO_REAL : SIM_CRYPTO_FAST;
            break;
        case 'l': task.options.liveness = true; break;
        case 'j': task.jobs = (unsigned)strtoul(optarg, NULL, 10); break;
        case 'm':
            task.mutation = optarg;
            if (!mutation_set(optarg))
                return 2;
            break;
        case 'H': fputs(usage, stdout); return 0;
        default: return bad_usage();
        }
    }
    /* Of a run that ends by an assertion the last events are wanted most. */
    if (task.options.trace)
        setvbuf(stdout, NULL, _IOLBF, 0);
    if (task.jobs < 1 || task.jobs > JOBS_MAX || optind < argc || task.first > task.last ||
        (!task.draw_replicas && (task.options.replicas < 4 || task.options.replicas > 13)))
        return bad_usage();
    return task_run(&task);
}
