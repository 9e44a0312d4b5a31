/* Clocks, order statistics and environment of the benchmarks; see measure.h. */
#define _GNU_SOURCE
#include "cli/bench/measure.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/utsname.h>
#include <unistd.h>

#define QUIET_LOAD 0.5

_Noreturn void bench_fail(int status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s: ", program_invocation_short_name);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(status);
}

void samples_add(struct samples *s, double value)
{
    if (s->count == s->capacity) {
        s->capacity = s->capacity ? s->capacity * 2 : 16;
        s->values = realloc(s->values, s->capacity * sizeof *s->values);
        if (!s->values)
            bench_fail(1, "out of memory");
    }
    s->values[s->count++] = value;
}

void samples_free(struct samples *s)
{
    free(s->values);
    *s = (struct samples){0};
}

static int double_compare(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

double samples_quantile(struct samples *s, double fraction)
{
    if (s->count == 0)
        return NAN;
    qsort(s->values, s->count, sizeof *s->values, double_compare);
    size_t rank = (size_t)ceil(fraction * (double)s->count);
    return s->values[rank > 0 ? rank - 1 : 0];
}

double samples_median(struct samples *s)
{
    if (s->count == 0)
        return NAN;
    qsort(s->values, s->count, sizeof *s->values, double_compare);
    return (s->values[(s->count - 1) / 2] + s->values[s->count / 2]) / 2;
}

double samples_geometric_mean(const struct samples *s)
{
    double sum = 0;
    for (size_t i = 0; i < s->count; i++)
        sum += log(s->values[i]);
    return s->count ? exp(sum / (double)s->count) : NAN;
}

static struct stopwatch stopwatch_now(void)
{
    return (struct stopwatch){clock_monotonic_ns(), measure_thread_ns()};
}

struct stopwatch stopwatch_start(void)
{
    return stopwatch_now();
}

void stopwatch_lap(struct stopwatch *watch, struct timings *timings)
{
    struct stopwatch now = stopwatch_now();
    samples_add(&timings->wall_us, (double)(now.wall_ns - watch->wall_ns) / 1e3);
    samples_add(&timings->thread_us, (double)(now.thread_ns - watch->thread_ns) / 1e3);
    *watch = stopwatch_now();
}

void timings_free(struct timings *timings)
{
    samples_free(&timings->wall_us);
    samples_free(&timings->thread_us);
}

static void cpu_model(char *out, size_t size)
{
    snprintf(out, size, "unknown CPU");
    FILE *file = fopen("/proc/cpuinfo", "re");
    char line[256];
    while (file && fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon)
            continue;
        line[strcspn(line, "\n")] = 0;
        snprintf(out, size, "%s", colon + 2);
        break;
    }
    if (file)
        fclose(file);
}

static void load_read(double load[3])
{
    if (getloadavg(load, 3) != 3)
        load[0] = load[1] = load[2] = NAN;
}

void environment_print(void)
{
    char model[256];
    double load[3];
    struct utsname system;
    cpu_model(model, sizeof model);
    load_read(load);
    uname(&system);
    printf("# %ld cores, %s, %s %s, load %.2f %.2f %.2f\n", sysconf(_SC_NPROCESSORS_ONLN), model,
           system.sysname, system.release, load[0], load[1], load[2]);
}

void environment_verdict(void)
{
    double load[3];
    load_read(load);
    if (!(load[0] <= QUIET_LOAD))
        printf("# not final: the machine was busy (load %.2f)\n", load[0]);
}

void environment_add(cJSON *to)
{
    char model[256];
    double load[3];
    struct utsname system;
    cpu_model(model, sizeof model);
    load_read(load);
    uname(&system);
    cJSON *environment = cJSON_AddObjectToObject(to, "environment");
    cJSON_AddNumberToObject(environment, "cores", (double)sysconf(_SC_NPROCESSORS_ONLN));
    cJSON_AddStringToObject(environment, "cpu", model);
    cJSON_AddStringToObject(environment, "kernel", system.release);
    cJSON_AddItemToObject(environment, "load", cJSON_CreateDoubleArray(load, 3));
}

void executable_directory(char *out, size_t size)
{
    ssize_t length = readlink("/proc/self/exe", out, size - 1);
    if (length < 0)
        bench_fail(1, "cannot find this program's own place: %s", strerror(errno));
    out[length] = 0;
    char *slash = strrchr(out, '/');
    if (slash)
        *slash = 0;
}

double proc_kib(const char *path, const char *name)
{
    char line[512];
    double value = 0, total = 0;
    size_t length = strlen(name);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, name, length) == 0 && sscanf(line + length, "%lf", &value) == 1)
            total += value;
    if (file)
        fclose(file);
    return total;
}

pid_t bench_child(void)
{
    pid_t parent = getpid(), pid = fork();
    if (pid < 0)
        bench_fail(1, "fork: %s", strerror(errno));
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
    }
    return pid;
}
