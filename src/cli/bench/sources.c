/* What topics compare, built from sources that come with atoll: functions of the benchmarks, and
 * the examples as modules and as plain programs. */
#define _GNU_SOURCE
#include "cli/bench/bench.h"

#include "cli/sdk.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FLAGS_MAX 8

static void example_path(const char *source, char out[static PATH_MAX])
{
    char sdk[PATH_MAX];
    bool found = sdk_find(sdk);
    if (found)
        snprintf(out, PATH_MAX, "%.*s/../examples/%s", PATH_MAX - 128, sdk, source);
    FILE *f = found ? fopen(out, "re") : NULL;
    if (f == NULL)
        bench_fail(1, "the example %s (share/atoll/examples) is not installed", source);
    fclose(f);
}

/* "hogwild/native/native.c" → "DIRECTORY/native.native.wasm" and the like. */
static void result_path(const struct bench_node *n, const char *source, const char *suffix,
                        char out[static 256])
{
    const char *name = strrchr(source, '/');
    snprintf(out, 256, "%s/%s.%s", n->directory, name ? name + 1 : source, suffix);
}

void bench_source_module(const struct bench_node *n, const char *source, char path[static 256])
{
    char sdk[PATH_MAX], from[PATH_MAX + 64];
    if (!sdk_find(sdk))
        bench_fail(1, "the sources of the benchmarks (share/atoll/sdk/bench) are not installed");
    snprintf(from, sizeof from, "%s/bench/%s.c", sdk, source);
    result_path(n, source, "wasm", path);
    bench_command((const char *const[]){"atoll", "build", from, "-o", path, NULL}, NULL);
}

void bench_example_module(const struct bench_node *n, const char *source, char path[static 256])
{
    char from[PATH_MAX];
    example_path(source, from);
    result_path(n, source, "wasm", path);
    bench_command((const char *const[]){"atoll", "build", "-O3", from, "-o", path, NULL}, NULL);
}

void bench_example_native(const struct bench_node *n, const char *source, const char *const *flags,
                          char path[static 256])
{
    char from[PATH_MAX];
    const char *own = getenv("WASI_CC");
    const char *arguments[10 + FLAGS_MAX] = {own && *own ? own : "clang-19",
                                             "-O3",
                                             "-march=x86-64-v3",
                                             from,
                                             "-o",
                                             path,
                                             "-lpthread",
                                             "-lm"};
    size_t count = 8;
    for (size_t i = 0; flags && flags[i] && i < FLAGS_MAX; i++)
        arguments[count++] = flags[i];
    example_path(source, from);
    result_path(n, source, "native", path);
    bench_command(arguments, NULL);
}
