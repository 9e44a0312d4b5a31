/*
 * bench-ledger-cost: what receipts and evidence cost (spec/ledger §15, L5). Runs `ledger bench` of
 * this program and of bench-ledger-bare, the same sources without them (ledger/object/bare.h says
 * what is left out), in turn, first the one and then the other first, in many short runs: the
 * machine's moods last longer than two of them. Prints by how much throughput and processor time of
 * two neighbours differ: the median, and the interval that holds the true median with 95 %, however
 * the differences are distributed.
 *
 *   bench-ledger-cost [ROUNDS [SECONDS [BENCH OPTIONS …]]]      12 rounds of 3 s; async, batches of
 *                                                               300, when nothing is said
 *
 * Both programs also are `atoll ledger`, as far as replicas and clients need it.
 */
#define _GNU_SOURCE
#include "cli/bench/measure.h"
#include "cli/command.h"
#include "ledger/object/bare.h"

#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define OPTIONS_MAX 32
#define OUTPUT_MAX  65536

extern char **environ;

/* What one program measured, a sample for each run. */
struct series {
    const char *name;
    struct samples rate, replicas, clients; /* tx/s; CPU microseconds per transaction */
};

/* Standard output of a command; ends this program when it fails. */
static void output_of(char *const arguments[], char out[static OUTPUT_MAX])
{
    int pipes[2], status;
    pid_t pid;
    size_t len = 0;
    posix_spawn_file_actions_t actions;
    if (pipe2(pipes, O_CLOEXEC) != 0)
        bench_fail(1, "no pipe");
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, pipes[1], 1);
    if (posix_spawn(&pid, arguments[0], &actions, NULL, arguments, environ) != 0)
        bench_fail(1, "cannot run %s", arguments[0]);
    posix_spawn_file_actions_destroy(&actions);
    close(pipes[1]);
    for (ssize_t got; len + 1 < OUTPUT_MAX; len += (size_t)got)
        if ((got = read(pipes[0], out + len, OUTPUT_MAX - 1 - len)) <= 0)
            break;
    out[len] = 0;
    close(pipes[0]);
    if (waitpid(pid, &status, 0) != pid || status != 0)
        bench_fail(1, "%s failed", arguments[0]);
}

static double median_in(const cJSON *o, const char *key)
{
    const cJSON *one = cJSON_GetObjectItem(cJSON_GetObjectItem(o, key), "median");
    return cJSON_IsNumber(one) ? one->valuedouble : NAN;
}

static void run_once(struct series *s, const char *seconds, char *const *options)
{
    static char out[OUTPUT_MAX];
    char directory[PATH_MAX], path[PATH_MAX + 64], time[32];
    executable_directory(directory, sizeof directory);
    snprintf(path, sizeof path, "%s/%s", directory, s->name);
    snprintf(time, sizeof time, "%ss", seconds);
    char *arguments[OPTIONS_MAX + 9] = {path,       "ledger", "bench",  "--json",
                                        "--rounds", "1",      "--time", time};
    for (unsigned n = 8; n < OPTIONS_MAX + 8 && *options; n++)
        arguments[n] = *options++;
    output_of(arguments, out);
    cJSON *o = cJSON_Parse(out);
    if (o == NULL)
        bench_fail(1, "%s said no JSON", s->name);
    samples_add(&s->rate, median_in(o, "tx_per_s"));
    samples_add(&s->replicas, median_in(o, "cpu_loop_us") + median_in(o, "cpu_verify_us") +
                                  median_in(o, "cpu_log_us"));
    samples_add(&s->clients, median_in(o, "cpu_clients_us"));
    fprintf(stderr, "%-18s %8.0f tx/s\n", s->name, s->rate.values[s->rate.count - 1]);
    cJSON_Delete(o);
}

/* How many of the least and of the most samples lie outside the interval (sign test): the largest
 * k for which fewer than k of `count` fair coins show heads with a chance of at most 2.5 %. */
static unsigned interval_outside(unsigned count)
{
    double chance = pow(0.5, count), sum = chance;
    unsigned k = 0;
    for (; sum <= 0.025 && k < count / 2; k++) {
        chance *= (double)(count - k) / (k + 1);
        sum += chance;
    }
    return k;
}

/* With fewer than six samples the interval holds all of them, and says less. */
static void difference_print(const char *what, struct samples *s)
{
    unsigned count = (unsigned)s->count, k = interval_outside(count);
    double low = samples_quantile(s, 0), high = samples_quantile(s, 1);
    if (k > 0) { /* they are in order now */
        low = s->values[k - 1];
        high = s->values[count - k];
    }
    printf("%-50s %10.2f %10.2f %10.2f %%\n", what, samples_median(s), low, high);
}

static void samples_print(const char *what, struct samples *s, const char *unit)
{
    printf("%-50s %10.2f %10.2f %10.2f %s\n", what, samples_median(s), samples_quantile(s, 0),
           samples_quantile(s, 1), unit);
}

/* By how much each pair of runs, one after the other, differs: neighbours share the machine's
 * moods. */
static void compare(unsigned rounds, const char *seconds, char *const *options)
{
    struct series whole = {.name = "bench-ledger-cost"}, bare = {.name = "bench-ledger-bare"};
    struct samples cost = {0}, cpu = {0};
    for (unsigned i = 0; i < rounds; i++) {
        run_once(i % 2 ? &bare : &whole, seconds, options);
        run_once(i % 2 ? &whole : &bare, seconds, options);
        double ours = whole.rate.values[i], theirs = bare.rate.values[i];
        samples_add(&cost, 100 * (theirs - ours) / theirs);
        ours = whole.replicas.values[i] + whole.clients.values[i];
        theirs = bare.replicas.values[i] + bare.clients.values[i];
        samples_add(&cpu, 100 * (ours - theirs) / theirs);
    }
    environment_print();
    printf("four replicas and their clients on this machine, %u runs of %s s each; options:",
           rounds, seconds);
    while (*options)
        printf(" %s", *options++);
    printf("\n\n%-50s %10s %10s %10s\n", "cost of receipts and evidence", "median", "95 % from",
           "to");
    difference_print("throughput", &cost);
    difference_print("CPU of replicas and clients", &cpu);
    printf("\n%-50s %10s %10s %10s\n", "", "median", "least", "most");
    samples_print("throughput with them", &whole.rate, "tx/s");
    samples_print("throughput without", &bare.rate, "tx/s");
    samples_print("CPU of replicas with them, per tx", &whole.replicas, "us");
    samples_print("CPU of replicas without, per tx", &bare.replicas, "us");
    samples_print("CPU of clients with them, per tx", &whole.clients, "us");
    samples_print("CPU of clients without, per tx", &bare.clients, "us");
    environment_verdict();
}

int main(int argc, char **argv)
{
    char *const usual[] = {"--mode", "async",     "--batch", "300", "--accounts",
                           "100000", "--warm-up", "1s",      NULL};
    if (argc > 1 && strcmp(argv[1], "ledger") == 0)
        return command_ledger.run(argc - 1, argv + 1);
    if (LEDGER_BARE)
        bench_fail(2, "bench-ledger-cost runs this program");
    long rounds = argc > 1 ? strtol(argv[1], NULL, 10) : 12;
    if (rounds < 1 || rounds > 64 || argc > OPTIONS_MAX)
        bench_fail(2, "usage: bench-ledger-cost [ROUNDS [SECONDS [BENCH OPTIONS ...]]]");
    compare((unsigned)rounds, argc > 2 ? argv[2] : "3", argc > 3 ? argv + 3 : usual);
    return 0;
}
