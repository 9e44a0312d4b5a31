/*
 * bench-engine: how fast is guest code? Every kernel of bench/kernels runs natively (clang -O3,
 * same CPU level), in Atoll, and in V8, in interleaved rounds of the same number of repetitions. A
 * row prints the ratios of CPU times: median over rounds, with the smallest and largest in
 * brackets; the last rows their geometric means. A row whose checksums differ by a bit is a
 * failure, and so is the program.
 *
 * "scalar" modules are built without SIMD, "simd" ones with -msimd128: the same source, vectorised
 * by the compiler to 128 bits before Atoll sees it.
 */
#define _GNU_SOURCE
#include "cli/bench/measure.h"
#include "engine/cpu.h"
#include "peer.h"

#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_SIZE   4096
#define KERNELS_MAX 256
#define ROUNDS_MAX  1000

struct settings {
    char kernels[PATH_SIZE], script[PATH_SIZE], compiler[PATH_SIZE];
    const char *only; /* one kernel, or NULL */
    int build;        /* index in builds, or -1 for all */
    int rounds, milliseconds;
    bool json, with_v8;
    struct compile_options options;
};

struct row {
    char kernel[64];
    int build; /* index in builds */
    double native_ms;
    struct samples atoll, v8, against; /* atoll/native, v8/native, v8/atoll */
    char failure[256];
};

struct bench {
    const struct settings *settings;
    struct compiler *compiler;
    struct v8 v8;
    struct row *rows;
    int row_count, failures;
};

static const struct {
    const char *name, *suffix; /* of the module's file */
} builds[] = {{"scalar", ".wasm"}, {"simd", "-simd.wasm"}, {"rolled", "-rolled.wasm"}};
#define BUILDS (int)(sizeof builds / sizeof builds[0])

static const char usage[] =
    "usage: bench-engine [options]\n"
    "  --kernel NAME        only this kernel (a file of bench/kernels without .c)\n"
    "  --build NAME         only this build of the modules: scalar, simd or rolled\n"
    "  --rounds N           interleaved rounds (default 5)\n"
    "  --milliseconds N     length of one native run (default 150)\n"
    "  --tier quick|opt     compilation tier (default opt)\n"
    "  --mode fast|exact    trap mode (default fast)\n"
    "  --cpu v2|v3|v4|native  what Atoll compiles for (default v3; native code stays at v3, V8 "
    "uses\n"
    "                       what the machine has)\n"
    "  --no-v8              leave V8 out\n"
    "  --kernels DIR        the built kernels (default: beside this program)\n"
    "  --script FILE        v8.mjs (default: beside the kernels)\n"
    "  --compiler FILE      atoll-cc (default: one directory up)\n"
    "  --json               print JSON\n";

/* ---- one kernel ---- */

static bool same_bits(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

/* How often to repeat the kernel so that a native run takes about as long as asked. */
static int repeat_calibrate(struct native *native, int milliseconds)
{
    struct measurement m;
    for (int repeat = 1;; repeat *= 2) {
        native_run(native, repeat, &m);
        if (m.ns > 20e6 || repeat > (1 << 24)) {
            double wanted = (double)repeat * milliseconds * 1e6 / m.ns;
            return wanted < 1 ? 1 : (int)wanted;
        }
    }
}

struct contest {
    struct native native;
    struct kernel kernel;
    char wasm[PATH_SIZE];
    int repeat;
};

static int contest_round(struct bench *bench, struct contest *c, struct row *row, bool counts,
                         struct error *e)
{
    struct measurement native, atoll, v8 = {.ns = NAN};
    native_run(&c->native, c->repeat, &native);
    int rc = kernel_run(&c->kernel, c->repeat, &atoll, e);
    if (rc == 0 && bench->v8.pid > 0)
        rc = v8_run(&bench->v8, c->wasm, c->repeat, &v8, e);
    if (rc < 0)
        return rc;
    if (!same_bits(native.checksum, atoll.checksum))
        return error_set(e, ATOLL_ECORRUPT, "checksum %.17g, native %.17g", atoll.checksum,
                         native.checksum);
    if (bench->v8.pid > 0 && !same_bits(native.checksum, v8.checksum))
        return error_set(e, ATOLL_ECORRUPT, "checksum in V8 %.17g, native %.17g", v8.checksum,
                         native.checksum);
    if (!counts)
        return 0;
    row->native_ms = native.ns / 1e6;
    samples_add(&row->atoll, atoll.ns / native.ns);
    if (bench->v8.pid > 0) {
        samples_add(&row->v8, v8.ns / native.ns);
        samples_add(&row->against, v8.ns / atoll.ns);
    }
    return 0;
}

static int contest_run(struct bench *bench, struct row *row, struct error *e)
{
    const struct settings *s = bench->settings;
    struct contest c = {0};
    char library[PATH_SIZE + 128];
    snprintf(library, sizeof library, "%s/%s.so", s->kernels, row->kernel);
    if (snprintf(c.wasm, sizeof c.wasm, "%s/%s%s", s->kernels, row->kernel,
                 builds[row->build].suffix) >= (int)sizeof c.wasm)
        return error_set(e, ATOLL_EINVAL, "the path of the kernels is too long");
    int rc = native_open(library, &c.native, e);
    if (rc == 0)
        rc = kernel_open(bench->compiler, c.wasm, &s->options, &c.kernel, e);
    if (rc == 0)
        c.repeat = repeat_calibrate(&c.native, s->milliseconds);
    /* The first round warms caches and V8 up and does not count. */
    for (int round = 0; rc == 0 && round <= s->rounds; round++)
        rc = contest_round(bench, &c, row, round > 0, e);
    kernel_close(&c.kernel);
    native_close(&c.native);
    return rc;
}

/* ---- the table ---- */

static void ratio_print(struct samples *s)
{
    if (s->count == 0)
        printf("  %22s", "-");
    else
        printf("  %6.3f [%6.3f %6.3f]", samples_median(s), s->values[0], s->values[s->count - 1]);
}

static void row_print(struct row *row)
{
    printf("%-15s %-6s ", row->kernel, builds[row->build].name);
    if (row->failure[0]) {
        printf("FAILED: %s\n", row->failure);
        return;
    }
    printf("%9.1f", row->native_ms);
    ratio_print(&row->atoll);
    ratio_print(&row->v8);
    ratio_print(&row->against);
    putchar('\n');
    fflush(stdout);
}

static void header_print(const struct settings *s)
{
    environment_print();
    printf("# atoll: tier %s, mode %s, level %s; native: clang -O3 -march=x86-64-v3; "
           "V8: TurboFan only; CPU time, %d rounds\n",
           s->options.tier == TIER_OPT ? "opt" : "quick",
           s->options.mode == MODE_FAST ? "fast" : "exact", cpu_level_name(s->options.cpu),
           s->rounds);
    printf("# ratios: median [smallest largest]\n");
    printf("%-15s %-6s %9s  %22s  %22s  %22s\n", "kernel", "build", "native ms", "atoll/native",
           "v8/native", "v8/atoll");
}

/* build -1: all of them. */
static double means_of(struct bench *bench, int build, size_t offset)
{
    struct samples medians = {0};
    for (int i = 0; i < bench->row_count; i++) {
        struct row *row = &bench->rows[i];
        if (row->failure[0] || (build >= 0 && row->build != build))
            continue;
        struct samples *samples = (struct samples *)((char *)row + offset);
        if (samples->count > 0)
            samples_add(&medians, samples_median(samples));
    }
    double mean = samples_geometric_mean(&medians);
    samples_free(&medians);
    return mean;
}

static void means_print(struct bench *bench)
{
    for (int i = 0; i <= BUILDS; i++) {
        int build = i < BUILDS ? i : -1;
        printf("%-15s %-6s %9s  %6.3f %15s  %6.3f %15s  %6.3f\n", "geometric mean",
               build < 0 ? "all" : builds[build].name, "",
               means_of(bench, build, offsetof(struct row, atoll)), "",
               means_of(bench, build, offsetof(struct row, v8)), "",
               means_of(bench, build, offsetof(struct row, against)));
    }
    if (bench->failures)
        printf("%d of %d rows FAILED\n", bench->failures, bench->row_count);
}

static void ratio_add(cJSON *to, const char *name, struct samples *s)
{
    if (s->count == 0)
        return;
    cJSON *ratio = cJSON_AddObjectToObject(to, name);
    cJSON_AddNumberToObject(ratio, "median", samples_median(s));
    cJSON_AddNumberToObject(ratio, "smallest", s->values[0]);
    cJSON_AddNumberToObject(ratio, "largest", s->values[s->count - 1]);
}

static void json_print(struct bench *bench)
{
    cJSON *root = cJSON_CreateObject();
    environment_add(root);
    cJSON *rows = cJSON_AddArrayToObject(root, "rows");
    for (int i = 0; i < bench->row_count; i++) {
        struct row *row = &bench->rows[i];
        cJSON *object = cJSON_CreateObject();
        cJSON_AddItemToArray(rows, object);
        cJSON_AddStringToObject(object, "kernel", row->kernel);
        cJSON_AddStringToObject(object, "build", builds[row->build].name);
        if (row->failure[0])
            cJSON_AddStringToObject(object, "failure", row->failure);
        cJSON_AddNumberToObject(object, "native_ms", row->native_ms);
        ratio_add(object, "atoll_to_native", &row->atoll);
        ratio_add(object, "v8_to_native", &row->v8);
        ratio_add(object, "v8_to_atoll", &row->against);
    }
    cJSON *means = cJSON_AddObjectToObject(root, "geometric_means");
    cJSON_AddNumberToObject(means, "atoll_to_native",
                            means_of(bench, -1, offsetof(struct row, atoll)));
    cJSON_AddNumberToObject(means, "v8_to_native", means_of(bench, -1, offsetof(struct row, v8)));
    cJSON_AddNumberToObject(means, "v8_to_atoll",
                            means_of(bench, -1, offsetof(struct row, against)));
    char *text = cJSON_Print(root);
    puts(text);
    cJSON_free(text);
    cJSON_Delete(root);
}

/* ---- all kernels ---- */

static int name_compare(const void *left, const void *right)
{
    return strcmp(*(char *const *)left, *(char *const *)right);
}

/* Names of the kernels built in the directory, sorted; the caller frees names and list. */
static int kernels_list(const char *directory, char **names)
{
    DIR *dir = opendir(directory);
    if (!dir)
        bench_fail(1, "cannot read %s (%s); build the kernels first: make bench", directory,
                   strerror(errno));
    int count = 0;
    for (struct dirent *entry; (entry = readdir(dir)) && count < KERNELS_MAX;) {
        char *dot = strrchr(entry->d_name, '.');
        if (!dot || strcmp(dot, ".so") != 0)
            continue;
        names[count++] = strndup(entry->d_name, (size_t)(dot - entry->d_name));
    }
    closedir(dir);
    qsort(names, (size_t)count, sizeof *names, name_compare);
    return count;
}

static void kernel_bench(struct bench *bench, const char *kernel, int build)
{
    struct row *row = &bench->rows[bench->row_count++];
    struct error e = {0};
    *row = (struct row){.build = build};
    snprintf(row->kernel, sizeof row->kernel, "%s", kernel);
    if (contest_run(bench, row, &e) < 0) {
        snprintf(row->failure, sizeof row->failure, "%s", e.text);
        bench->failures++;
    }
    if (!bench->settings->json)
        row_print(row);
}

static void kernels_bench(struct bench *bench)
{
    const struct settings *s = bench->settings;
    char *names[KERNELS_MAX];
    int count = kernels_list(s->kernels, names);
    bench->rows = calloc((size_t)(BUILDS * count) + 1, sizeof *bench->rows);
    if (!bench->rows)
        bench_fail(1, "out of memory");
    for (int i = 0; i < count; i++) {
        if (s->only && strcmp(s->only, names[i]) != 0)
            continue;
        for (int build = 0; build < BUILDS; build++)
            if (s->build < 0 || s->build == build)
                kernel_bench(bench, names[i], build);
    }
    for (int i = 0; i < count; i++)
        free(names[i]);
    if (bench->row_count == 0)
        bench_fail(1, "no kernel to run in %s", s->kernels);
}

/* ---- the program ---- */

static int number_option(const char *text, int low, int high)
{
    char *end;
    long value = strtol(text, &end, 10);
    if (*end || end == text || value < low || value > high)
        bench_fail(2, "\"%s\" is not a number between %d and %d", text, low, high);
    return (int)value;
}

/* Which of two words text is: 0 or 1. */
static uint8_t word_option(const char *text, const char *first, const char *second)
{
    if (strcmp(text, first) == 0)
        return 0;
    if (strcmp(text, second) != 0)
        bench_fail(2, "\"%s\" is neither %s nor %s", text, first, second);
    return 1;
}

static int build_option(const char *text)
{
    for (int i = 0; i < BUILDS; i++)
        if (strcmp(text, builds[i].name) == 0)
            return i;
    bench_fail(2, "\"%s\" is no build; there are scalar, simd and rolled", text);
}

static void path_option(char *to, const char *text)
{
    if (snprintf(to, PATH_SIZE, "%s", text) >= PATH_SIZE)
        bench_fail(2, "a path is too long");
}

static uint8_t cpu_option(const char *word)
{
    for (int level = CPU_NATIVE; level <= CPU_V4; level++)
        if (strcmp(word, cpu_level_name((enum cpu_level)level)) == 0)
            return (uint8_t)level;
    bench_fail(2, "\"%s\" is not a processor level: v2, v3, v4 or native", word);
}

static void settings_defaults(struct settings *s)
{
    char here[PATH_SIZE - 64];
    executable_directory(here, sizeof here);
    *s = (struct settings){.build = -1, .rounds = 5, .milliseconds = 150, .with_v8 = true};
    s->options = (struct compile_options){
        .tier = TIER_OPT, .mode = MODE_FAST, .cpu = CPU_V3, .link = LINK_PRIMARY};
    snprintf(s->kernels, sizeof s->kernels, "%s/kernels", here);
    snprintf(s->script, sizeof s->script, "%s/kernels/v8.mjs", here);
    snprintf(s->compiler, sizeof s->compiler, "%s/../atoll-cc", here);
}

static void settings_parse(struct settings *s, int argc, char **argv)
{
    enum {
        KERNEL = 256,
        BUILD,
        ROUNDS,
        MILLISECONDS,
        TIER,
        MODE,
        CPU,
        NO_V8,
        KERNELS,
        SCRIPT,
        COMPILER,
        JSON,
        HELP
    };
    static const struct option options[] = {
        {"kernel", required_argument, NULL, KERNEL},
        {"build", required_argument, NULL, BUILD},
        {"rounds", required_argument, NULL, ROUNDS},
        {"milliseconds", required_argument, NULL, MILLISECONDS},
        {"tier", required_argument, NULL, TIER},
        {"mode", required_argument, NULL, MODE},
        {"cpu", required_argument, NULL, CPU},
        {"no-v8", no_argument, NULL, NO_V8},
        {"kernels", required_argument, NULL, KERNELS},
        {"script", required_argument, NULL, SCRIPT},
        {"compiler", required_argument, NULL, COMPILER},
        {"json", no_argument, NULL, JSON},
        {"help", no_argument, NULL, HELP},
        {0},
    };
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case KERNEL: s->only = optarg; break;
        case BUILD: s->build = build_option(optarg); break;
        case ROUNDS: s->rounds = number_option(optarg, 1, ROUNDS_MAX); break;
        case MILLISECONDS: s->milliseconds = number_option(optarg, 1, 60000); break;
        case TIER: s->options.tier = word_option(optarg, "quick", "opt"); break;
        case MODE: s->options.mode = word_option(optarg, "fast", "exact"); break;
        case CPU: s->options.cpu = cpu_option(optarg); break;
        case NO_V8: s->with_v8 = false; break;
        case KERNELS: path_option(s->kernels, optarg); break;
        case SCRIPT: path_option(s->script, optarg); break;
        case COMPILER: path_option(s->compiler, optarg); break;
        case JSON: s->json = true; break;
        case HELP: fputs(usage, stdout); exit(0);
        default: fputs(usage, stderr); exit(2);
        }
    }
    if (optind < argc)
        bench_fail(2, "unexpected argument \"%s\"; --help lists the options", argv[optind]);
}

int main(int argc, char **argv)
{
    struct settings settings;
    struct bench bench = {.settings = &settings};
    struct error e = {0};
    settings_defaults(&settings);
    settings_parse(&settings, argc, argv);
    const struct compiler_settings compiler = {.program = settings.compiler};
    if (engine_initialize(&e) < 0 || compiler_create(&compiler, &bench.compiler, &e) < 0)
        bench_fail(1, "%s", e.text);
    if (settings.with_v8 && v8_start(settings.script, &bench.v8, &e) < 0)
        fprintf(stderr, "bench-engine: V8 left out: %s\n", e.text);
    if (!settings.json)
        header_print(&settings);
    kernels_bench(&bench);
    if (settings.json)
        json_print(&bench);
    else
        means_print(&bench);
    for (int i = 0; i < bench.row_count; i++) {
        samples_free(&bench.rows[i].atoll);
        samples_free(&bench.rows[i].v8);
        samples_free(&bench.rows[i].against);
    }
    free(bench.rows);
    v8_stop(&bench.v8);
    compiler_destroy(bench.compiler);
    return bench.failures ? 1 : 0;
}
