/*
 * What every benchmark needs: clocks, order statistics, and the lines that say on which machine and
 * under which load the numbers were taken. `atoll bench` and the programs in bench/ use it.
 */
#ifndef CLI_BENCH_MEASURE_H
#define CLI_BENCH_MEASURE_H

#include "base/clock.h"

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* CPU time of the calling thread: on a machine that is shared, wall time measures the neighbours.
 */
static inline int64_t measure_thread_ns(void)
{
    return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

/* A growing list of measurements. Zero-initialise; samples_free at the end. Running out of memory
 * ends the program: it is a benchmark. */
struct samples {
    double *values;
    size_t count, capacity;
};

void samples_add(struct samples *, double value);
void samples_free(struct samples *);
/* Value at or below which `fraction` (0..1) of the samples lie. Sorts. NaN without samples. */
double samples_quantile(struct samples *, double fraction);
double samples_median(struct samples *);
/* NaN without samples; all must be positive. */
double samples_geometric_mean(const struct samples *);

/* A span of work, in wall time and in CPU time of the thread: they differ when the machine is busy,
 * and then the second tells what the work costs. */
struct stopwatch {
    int64_t wall_ns, thread_ns;
};
struct timings {
    struct samples wall_us, thread_us;
};
struct stopwatch stopwatch_start(void);
/* Adds the time since the start or the last lap, and begins the next lap. */
void stopwatch_lap(struct stopwatch *, struct timings *);
void timings_free(struct timings *);

/* "cores, CPU model, kernel, load": prints one line to stdout, or adds an object "environment". */
void environment_print(void);
void environment_add(cJSON *to);
/* Says on stdout when the machine was too busy (load above 0.5) for the numbers to be final. */
void environment_verdict(void);

/* Directory of the running executable, without a trailing slash. */
void executable_directory(char *out, size_t size);

/* The sum of the values in KiB of the lines "Name:  123 kB" of a file of /proc; 0 when there are
 * none. name has its colon. */
double proc_kib(const char *path, const char *name);
/* fork, of a child that is killed when this program ends: 0 in it. Exits when it fails. */
pid_t bench_child(void);

/* Prints to stderr "program: message" and exits with 2 (usage) or 1 (the world). */
_Noreturn void bench_fail(int status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
