/*
 * bench-compile: what does it cost to get from module bytes to code? For every module given:
 * decoding and validation alone, both tiers (CPU of all compiler processes, wall time, operators
 * per second of CPU, size of the artefact file, largest process), a load that the cache answers,
 * and opening a saved artefact; beside V8's two compilers, when node is there, as the peer of the
 * same run.
 */
#define _GNU_SOURCE
#include "engine/compile.h"
#include "base/file.h"
#include "cli/bench/measure.h"
#include "engine/wasm_read.h"
#include "engine/wasm_validate.h"

#include <errno.h>
#include <ftw.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_SIZE   4096
#define MODULE_MAX  (256u << 20)
#define LOAD_ROUNDS 21

struct settings {
    char compiler[PATH_SIZE], script[PATH_SIZE];
    bool with_opt, json;
};

struct tier_cost {
    bool present;
    double cpu, wall, load_ms, open_ms; /* seconds, milliseconds */
    double file_bytes, code_bytes, resident_bytes;
};

struct module_cost {
    double bytes, code_bytes, functions, operators;
    double decode_s;              /* decoding and validation, CPU */
    struct tier_cost tiers[2];    /* by enum compile_tier */
    double v8_wall[2], v8_cpu[2]; /* Liftoff, TurboFan; NaN without node */
};

static const char usage[] = "usage: bench-compile [options] FILE.wasm…\n"
                            "  --no-opt         leave tier opt out (minutes for a large module)\n"
                            "  --compiler FILE  atoll-cc (default: one directory up)\n"
                            "  --script FILE    v8_compile.mjs (default: beside the kernels)\n"
                            "  --json           print JSON\n";

/* ---- measuring ---- */

static int operator_count(void *context, const struct wasm_op *op, struct error *e)
{
    (void)op, (void)e;
    ++*(double *)context;
    return 0;
}

static int function_begin(void *context, const struct wasm_module *module, uint32_t function,
                          const uint8_t *types, uint32_t count, struct error *e)
{
    (void)context, (void)module, (void)function, (void)types, (void)count, (void)e;
    return 0;
}

static int function_finish(void *context, struct error *e)
{
    (void)context, (void)e;
    return 0;
}

/* Counts the reachable operators: what a compiler has to lower. */
static int operators_count(const struct wasm_module *module, double *count, struct error *e)
{
    const struct wasm_sink sink = {count, function_begin, operator_count, function_finish};
    struct wasm_validator *validator = wasm_validator_create();
    if (!validator)
        return error_set(e, ATOLL_ENOMEM, "out of memory");
    int rc = 0;
    uint32_t features = 0;
    for (uint32_t i = 0; rc == 0 && i < module->function_count - module->imported_functions; i++)
        rc = wasm_validate_function(module, validator, module->imported_functions + i, &sink,
                                    &features, e);
    wasm_validator_destroy(validator);
    return rc;
}

static int decode_measure(const struct buffer *wasm, struct module_cost *cost, struct error *e)
{
    struct wasm_module module;
    int64_t begin = measure_thread_ns();
    int rc = wasm_read(wasm->data, wasm->len, &module, e);
    if (rc < 0)
        return rc;
    rc = wasm_validate(&module, e);
    cost->decode_s = (double)(measure_thread_ns() - begin) / 1e9;
    if (rc == 0)
        rc = operators_count(&module, &cost->operators, e);
    cost->bytes = (double)wasm->len;
    cost->functions = module.function_count - module.imported_functions;
    for (uint32_t i = 0; i < module.function_count - module.imported_functions; i++)
        cost->code_bytes += module.functions[module.imported_functions + i].body.len;
    wasm_module_free(&module);
    return rc;
}

static double seconds_of(const struct rusage *u)
{
    return (double)(u->ru_utime.tv_sec + u->ru_stime.tv_sec) +
           (double)(u->ru_utime.tv_usec + u->ru_stime.tv_usec) / 1e6;
}

/* Compiles into an empty cache; the CPU time of atoll-cc and its children is known once it has been
 * waited for. */
static int compile_measure(const struct settings *s, const char *cache, const struct buffer *wasm,
                           const struct compile_options *options, struct tier_cost *cost,
                           struct artefact **out, struct error *e)
{
    struct rusage before, after;
    struct compiler *compiler;
    const struct compiler_settings settings = {.program = s->compiler, .cache = cache};
    getrusage(RUSAGE_CHILDREN, &before);
    int64_t begin = clock_monotonic_ns();
    int rc = compiler_create(&settings, &compiler, e);
    if (rc < 0)
        return rc;
    rc = compiler_load(compiler, wasm->data, wasm->len, options, out, NULL, e);
    cost->wall = (double)(clock_monotonic_ns() - begin) / 1e9;
    compiler_destroy(compiler);
    getrusage(RUSAGE_CHILDREN, &after);
    cost->cpu = seconds_of(&after) - seconds_of(&before);
    cost->resident_bytes = (double)after.ru_maxrss * 1024;
    return rc;
}

/* Loads that the cache answers: decode, key, MAC, map. */
static int cached_measure(const struct settings *s, const char *cache, const struct buffer *wasm,
                          const struct compile_options *options, struct tier_cost *cost,
                          struct error *e)
{
    struct samples times = {0};
    struct compiler *compiler;
    const struct compiler_settings settings = {.program = s->compiler, .cache = cache};
    int rc = compiler_create(&settings, &compiler, e);
    for (int i = 0; rc == 0 && i < LOAD_ROUNDS; i++) {
        struct artefact *artefact = NULL;
        bool cached = false;
        int64_t begin = clock_monotonic_ns();
        rc = compiler_load(compiler, wasm->data, wasm->len, options, &artefact, &cached, e);
        samples_add(&times, (double)(clock_monotonic_ns() - begin) / 1e6);
        artefact_release(artefact);
        if (rc == 0 && !cached)
            rc = error_set(e, ATOLL_ENOENT, "the cache did not keep what was just compiled");
    }
    cost->load_ms = samples_median(&times);
    samples_free(&times);
    if (rc == 0)
        compiler_destroy(compiler);
    return rc;
}

/* Opening a saved artefact: read, MAC, map. */
static int open_measure(const char *directory, const struct artefact *artefact,
                        struct tier_cost *cost, struct error *e)
{
    char path[PATH_SIZE];
    struct stat file;
    struct samples times = {0};
    snprintf(path, sizeof path, "%s/artefact", directory);
    int rc = artefact_save(artefact, path, e);
    if (rc == 0 && stat(path, &file) == 0)
        cost->file_bytes = (double)file.st_size;
    for (int i = 0; rc == 0 && i < LOAD_ROUNDS; i++) {
        struct artefact *opened = NULL;
        int64_t begin = clock_monotonic_ns();
        rc = artefact_load(path, &opened, e);
        samples_add(&times, (double)(clock_monotonic_ns() - begin) / 1e6);
        artefact_release(opened);
    }
    cost->open_ms = samples_median(&times);
    cost->code_bytes = artefact->text_size;
    samples_free(&times);
    unlink(path);
    return rc;
}

static int path_remove(const char *path, const struct stat *status, int flag, struct FTW *walk)
{
    (void)status, (void)flag, (void)walk;
    return remove(path);
}

static int tier_measure(const struct settings *s, const struct buffer *wasm, uint8_t tier,
                        struct tier_cost *cost, struct error *e)
{
    const struct compile_options options = {
        .tier = tier, .mode = MODE_FAST, .cpu = CPU_V3, .link = LINK_PRIMARY};
    char directory[] = "/tmp/bench-compile-XXXXXX";
    struct artefact *artefact = NULL;
    if (!mkdtemp(directory))
        return error_set_errno(e, 0, "cannot make a directory for the cache");
    int rc = compile_measure(s, directory, wasm, &options, cost, &artefact, e);
    if (rc == 0)
        rc = cached_measure(s, directory, wasm, &options, cost, e);
    if (rc == 0)
        rc = open_measure(directory, artefact, cost, e);
    cost->present = rc == 0;
    artefact_release(artefact);
    nftw(directory, path_remove, 16, FTW_DEPTH | FTW_PHYS);
    return rc;
}

/* Runs node once per compiler; leaves NaN where it cannot. Both compile eagerly, as Atoll does. */
static void v8_measure(const struct settings *s, const char *path, struct module_cost *cost)
{
    static const char *const flags[] = {"--liftoff-only", "--no-liftoff"};
    for (int i = 0; i < 2; i++) {
        char command[3 * PATH_SIZE];
        cost->v8_wall[i] = cost->v8_cpu[i] = NAN;
        snprintf(command, sizeof command,
                 "node --no-wasm-lazy-compilation --no-wasm-dynamic-tiering %s '%s' '%s' "
                 "2>/dev/null",
                 flags[i], s->script, path);
        FILE *node = popen(command, "re");
        double wall, cpu;
        if (node && fscanf(node, "%lf %lf", &wall, &cpu) == 2) {
            cost->v8_wall[i] = wall / 1e9;
            cost->v8_cpu[i] = cpu / 1e9;
        }
        if (node)
            pclose(node);
    }
}

/* ---- the table ---- */

static void tier_print(const struct module_cost *m, const char *name, const struct tier_cost *t)
{
    if (!t->present)
        return;
    printf("  %-14s %9.2f %9.2f %10.0f %9.2f %9.2f %9.2f %9.2f %8.0f\n", name, t->cpu, t->wall,
           m->operators / t->cpu / 1e3, t->code_bytes / m->code_bytes, t->file_bytes / 1048576,
           t->load_ms, t->open_ms, t->resident_bytes / 1048576);
}

static void v8_print(const struct module_cost *m, const char *name, int which)
{
    if (isnan(m->v8_cpu[which]))
        printf("  %-14s skipped: no node\n", name);
    else
        printf("  %-14s %9.2f %9.2f %10.0f\n", name, m->v8_cpu[which], m->v8_wall[which],
               m->operators / m->v8_cpu[which] / 1e3);
}

static void module_print(const char *path, const struct module_cost *m)
{
    const char *slash = strrchr(path, '/');
    printf("%s: %.2f MiB (code %.2f MiB), %.0f functions, %.0f thousand operators\n",
           slash ? slash + 1 : path, m->bytes / 1048576, m->code_bytes / 1048576, m->functions,
           m->operators / 1e3);
    printf("  decode and validate: %.3f s, %.0f MB of code a second\n", m->decode_s,
           m->code_bytes / m->decode_s / 1e6);
    printf("  %-14s %9s %9s %10s %9s %9s %9s %9s %8s\n", "compiler", "CPU s", "wall s", "kop/CPU s",
           "code/wasm", "file MiB", "cached ms", "open ms", "peak MiB");
    tier_print(m, "atoll quick", &m->tiers[TIER_QUICK]);
    tier_print(m, "atoll opt", &m->tiers[TIER_OPT]);
    v8_print(m, "v8 liftoff", 0);
    v8_print(m, "v8 turbofan", 1);
    fflush(stdout);
}

static void number_add(cJSON *to, const char *name, double value)
{
    if (!isnan(value))
        cJSON_AddNumberToObject(to, name, value);
}

static void module_add(cJSON *modules, const char *path, const struct module_cost *m)
{
    static const char *const names[] = {"quick", "opt"};
    static const char *const v8_names[] = {"v8_liftoff", "v8_turbofan"};
    cJSON *object = cJSON_CreateObject();
    cJSON_AddItemToArray(modules, object);
    cJSON_AddStringToObject(object, "module", path);
    number_add(object, "bytes", m->bytes);
    number_add(object, "operators", m->operators);
    number_add(object, "decode_s", m->decode_s);
    for (int i = 0; i < 2; i++) {
        const struct tier_cost *t = &m->tiers[i];
        if (!t->present)
            continue;
        cJSON *tier = cJSON_AddObjectToObject(object, names[i]);
        number_add(tier, "cpu_s", t->cpu);
        number_add(tier, "wall_s", t->wall);
        number_add(tier, "code_bytes", t->code_bytes);
        number_add(tier, "file_bytes", t->file_bytes);
        number_add(tier, "cached_load_ms", t->load_ms);
        number_add(tier, "open_ms", t->open_ms);
        number_add(tier, "peak_bytes", t->resident_bytes);
    }
    for (int i = 0; i < 2; i++) {
        cJSON *v8 = cJSON_AddObjectToObject(object, v8_names[i]);
        number_add(v8, "cpu_s", m->v8_cpu[i]);
        number_add(v8, "wall_s", m->v8_wall[i]);
    }
}

/* ---- the program ---- */

static int module_measure(const struct settings *s, const char *path, struct module_cost *cost,
                          struct error *e)
{
    struct buffer wasm = {0};
    *cost = (struct module_cost){0};
    int rc = file_read(path, MODULE_MAX, &wasm, e);
    if (rc == 0)
        rc = decode_measure(&wasm, cost, e);
    if (rc == 0)
        rc = tier_measure(s, &wasm, TIER_QUICK, &cost->tiers[TIER_QUICK], e);
    if (rc == 0 && s->with_opt)
        rc = tier_measure(s, &wasm, TIER_OPT, &cost->tiers[TIER_OPT], e);
    if (rc == 0)
        v8_measure(s, path, cost);
    buffer_free(&wasm);
    return rc;
}

static void settings_parse(struct settings *s, int argc, char **argv)
{
    enum { NO_OPT = 256, COMPILER, SCRIPT, JSON, HELP };
    static const struct option options[] = {
        {"no-opt", no_argument, NULL, NO_OPT},
        {"compiler", required_argument, NULL, COMPILER},
        {"script", required_argument, NULL, SCRIPT},
        {"json", no_argument, NULL, JSON},
        {"help", no_argument, NULL, HELP},
        {0},
    };
    char here[PATH_SIZE - 64];
    executable_directory(here, sizeof here);
    *s = (struct settings){.with_opt = true};
    snprintf(s->compiler, PATH_SIZE, "%s/../atoll-cc", here);
    snprintf(s->script, PATH_SIZE, "%s/kernels/v8_compile.mjs", here);
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case NO_OPT: s->with_opt = false; break;
        case COMPILER: snprintf(s->compiler, PATH_SIZE, "%s", optarg); break;
        case SCRIPT: snprintf(s->script, PATH_SIZE, "%s", optarg); break;
        case JSON: s->json = true; break;
        case HELP: fputs(usage, stdout); exit(0);
        default: fputs(usage, stderr); exit(2);
        }
    }
}

int main(int argc, char **argv)
{
    struct settings settings;
    int failures = 0;
    settings_parse(&settings, argc, argv);
    if (optind == argc)
        bench_fail(2, "name at least one module");
    cJSON *root = cJSON_CreateObject(), *modules = cJSON_AddArrayToObject(root, "modules");
    environment_add(root);
    if (!settings.json)
        environment_print();
    for (int i = optind; i < argc; i++) {
        struct module_cost cost;
        struct error e = {0};
        if (module_measure(&settings, argv[i], &cost, &e) < 0) {
            fprintf(stderr, "bench-compile: %s: %s\n", argv[i], e.text);
            failures++;
        } else if (settings.json) {
            module_add(modules, argv[i], &cost);
        } else {
            module_print(argv[i], &cost);
        }
    }
    if (settings.json) {
        char *text = cJSON_Print(root);
        puts(text);
        cJSON_free(text);
    }
    cJSON_Delete(root);
    return failures ? 1 : 0;
}
