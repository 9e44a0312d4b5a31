/*
 * `atoll bench cold`: what a call costs by how warm its function is, through the whole node; and
 * processes that do nothing, started in the same run.
 *
 * Hot: in an instance that was used and reset. Fresh: restored from the image. Cold: the image and
 * all instances were dropped, so that code is loaded, initialised and imaged anew.
 */
#define _GNU_SOURCE
#include "cli/bench/bench.h"

#include <linux/sched.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CALLS      1000
#define COLD_CALLS 100
#define PROCESSES  100

extern char **environ;

static const char peer_path[] = "/bin/true";

static void calls_run(struct bench_node *n, const char *function, const char *start, int count,
                      struct samples *wall_us, struct samples *restore_us)
{
    for (int i = 0; i < count; i++) {
        struct bench_reply reply;
        bench_call_good(n, function, "", start, &reply);
        samples_add(wall_us, reply.wall_us);
        if (!isnan(reply.restore_us))
            samples_add(restore_us, reply.restore_us);
        buffer_free(&reply.output);
    }
}

static void quantile_add(struct bench *b, const char *name, struct samples *us, double fraction,
                         double bar, const char *peer, double peer_us)
{
    double value = samples_quantile(us, fraction);
    figures_add(b->figures, &(struct figure){.topic = "cold",
                                             .name = name,
                                             .unit = "us",
                                             .value = value,
                                             .low = samples_quantile(us, 0),
                                             .high = samples_quantile(us, 1),
                                             .bar = bar,
                                             .peer = peer,
                                             .ratio = peer ? peer_us / value : NAN});
}

/* ---- processes ---- */

static pid_t plain_start(void)
{
    pid_t pid;
    char *arguments[] = {(char *)peer_path, NULL};
    return posix_spawn(&pid, peer_path, NULL, NULL, arguments, environ) == 0 ? pid : -1;
}

/* A process with every namespace of its own, as a container has. */
static pid_t confined_start(void)
{
    struct clone_args arguments = {.flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID |
                                            CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS |
                                            CLONE_NEWCGROUP,
                                   .exit_signal = SIGCHLD};
    pid_t pid = (pid_t)syscall(SYS_clone3, &arguments, sizeof arguments);
    if (pid == 0) {
        execl(peer_path, peer_path, (char *)NULL);
        _exit(127);
    }
    return pid;
}

/* False when such processes cannot be started here. */
static bool processes_run(pid_t (*start)(void), struct samples *us)
{
    for (int i = 0; i < PROCESSES; i++) {
        int status = 1;
        int64_t begun = clock_monotonic_ns();
        pid_t pid = start();
        if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
            return false;
        samples_add(us, (double)(clock_monotonic_ns() - begun) / 1e3);
    }
    return true;
}

static void peer_add(struct bench *b, const char *name, pid_t (*start)(void), double restore_us,
                     double bar)
{
    struct samples us = {0};
    char text[96];
    if (processes_run(start, &us)) {
        double p50 = samples_median(&us);
        quantile_add(b, name, &us, 0.5, NAN, NULL, 0);
        snprintf(text, sizeof text, "restore is faster than that, times");
        figures_add(b->figures, &(struct figure){.topic = "cold",
                                                 .name = text,
                                                 .unit = "x",
                                                 .value = p50 / restore_us,
                                                 .low = NAN,
                                                 .high = NAN,
                                                 .bar = bar,
                                                 .at_least = true,
                                                 .ratio = NAN});
    } else {
        figures_skip(b->figures, name, "such a process cannot be started here");
    }
    samples_free(&us);
}

/* ---- the topic ---- */

static void function_add(struct bench *b, struct bench_node *n, const char *function,
                         double cold_bar_us)
{
    struct samples hot = {0}, fresh = {0}, cold = {0}, restore = {0}, other = {0};
    char text[96];
    calls_run(n, function, NULL, 50, &other, &other);
    calls_run(n, function, NULL, CALLS, &hot, &other);
    calls_run(n, function, "fresh", CALLS, &fresh, &restore);
    calls_run(n, function, "cold", COLD_CALLS, &cold, &other);
    snprintf(text, sizeof text, "%s, hot: p50 of the whole call", function);
    quantile_add(b, text, &hot, 0.5, NAN, NULL, 0);
    snprintf(text, sizeof text, "%s, restored: p50 of the whole call", function);
    quantile_add(b, text, &fresh, 0.5, NAN, NULL, 0);
    snprintf(text, sizeof text, "%s, cold: p50 of the whole call", function);
    quantile_add(b, text, &cold, 0.5, cold_bar_us, NULL, 0);
    snprintf(text, sizeof text, "%s: restore alone, p50", function);
    quantile_add(b, text, &restore, 0.5, strcmp(function, "noop") == 0 ? 10 : NAN, NULL, 0);
    snprintf(text, sizeof text, "%s: restore alone, p99", function);
    quantile_add(b, text, &restore, 0.99, strcmp(function, "noop") == 0 ? 50 : NAN, NULL, 0);
    double restore_us = samples_median(&restore);
    if (strcmp(function, "noop") == 0) {
        peer_add(b, "posix_spawn of /bin/true: p50", plain_start, restore_us, 50);
        peer_add(b, "/bin/true in namespaces of its own: p50", confined_start, restore_us, 300);
    }
    samples_free(&hot), samples_free(&fresh), samples_free(&cold);
    samples_free(&restore), samples_free(&other);
}

void bench_cold(struct bench *b)
{
    struct bench_node node;
    bench_node_start(&node, NULL);
    bench_deploy(&node, "noop", "noop", "");
    bench_deploy(&node, "large", "large", "");
    function_add(b, &node, "noop", NAN);
    function_add(b, &node, "large", 5000);
    bench_node_stop(&node);
}
