/*
 * `atoll build`: C sources to a WASI module, with clang and wasi-libc.
 *
 * Debian's wasi-libc lies in /usr/include/wasm32-wasi and /usr/lib/wasm32-wasi. clang finds the
 * libraries by itself, but would search /usr/include, the host's headers, behind wasi-libc's:
 * -nostdlibinc takes both away (and leaves the compiler's own) and -isystem brings one back.
 * $WASI_SYSROOT names another installation, with include/wasm32-wasi and lib/wasm32-wasi in it.
 *
 * Beside the C library a program gets the guest's SDK (sdk/c): its headers, and sources that the
 * linker takes up only where they are needed (cli/sdk.h).
 */
#define _GNU_SOURCE
#include "base/file.h"
#include "cli/options.h"
#include "cli/report.h"
#include "cli/scratch.h"
#include "cli/sdk.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define STACK_BYTES_DEFAULT (UINT64_C(1) << 20)
#define STACK_BYTES_MIN     (UINT64_C(4) << 10)
#define STACK_BYTES_MAX     (UINT64_C(1) << 30)
#define SOURCE_BYTES_MAX    (16u << 20) /* that is looked through for atoll_main */

struct build_command {
    const char *output, *standard;
    int optimise; /* of optimise_levels */
    struct text_list include_directories, definitions, libraries, library_directories, warnings,
        linker_options, features;
    uint64_t stack_bytes;
    bool debug, no_simd, reactor, verbose;
    struct text_list sources;
};

static const char *const optimise_levels[] = {"0", "1", "2", "3", "s", "z", NULL};

/* The arguments of clang; strings that were put together are owned. */
struct arguments {
    char **items;
    size_t count;
    bool failed;
};

static void arguments_add(struct arguments *a, const char *prefix, const char *text)
{
    char **items = realloc(a->items, (a->count + 2) * sizeof *items);
    if (items)
        a->items = items;
    char *joined = NULL;
    if (!items || asprintf(&joined, "%s%s", prefix, text) < 0) {
        a->failed = true;
        return;
    }
    a->items[a->count++] = joined;
    a->items[a->count] = NULL;
}

static void arguments_add_all(struct arguments *a, const char *prefix, const struct text_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        arguments_add(a, prefix, list->items[i]);
}

static void arguments_free(struct arguments *a)
{
    for (size_t i = 0; i < a->count; i++)
        free(a->items[i]);
    free(a->items);
}

static const char *compiler_program(void)
{
    const char *own = getenv("WASI_CC");
    return own && *own ? own : "clang-19";
}

static void sysroot_add(struct arguments *a)
{
    const char *own = getenv("WASI_SYSROOT");
    char path[PATH_MAX];
    arguments_add(a, "", "--target=wasm32-wasi");
    arguments_add(a, "", "-nostdlibinc");
    arguments_add(a, "", "-isystem");
    if (own && *own) {
        snprintf(path, sizeof path, "%s/include/wasm32-wasi", own);
        arguments_add(a, "", path);
        arguments_add(a, "--sysroot=", own);
    } else {
        arguments_add(a, "", "/usr/include/wasm32-wasi");
    }
}

/* Whether a source defines the entry of a function. It is C's text that is looked at: where macros
 * hide it, --reactor must be said. */
static bool function_defined(const char *path)
{
    static const char *const entries[] = {"ATOLL_FUNCTION(", "atoll_main(", "atoll_on_request("};
    struct buffer text = {0};
    struct error ignored;
    size_t len = strlen(path);
    bool found = false;
    if (len < 2 || strcmp(path + len - 2, ".c") != 0 ||
        file_read(path, SOURCE_BYTES_MAX, &text, &ignored) < 0)
        return false;
    for (size_t i = 0; i < sizeof entries / sizeof entries[0] && !found; i++)
        found = memmem(text.data, text.len, entries[i], strlen(entries[i]));
    buffer_free(&text);
    return found;
}

static bool makes_function(const struct build_command *c)
{
    for (size_t i = 0; i < c->sources.count; i++) {
        if (function_defined(c->sources.items[i]))
            return true;
    }
    return false;
}

/* What a function needs beside a program: exports instead of main, its table for atoll_chain_fn. */
static void function_add(struct arguments *a)
{
    arguments_add(a, "", "-mexec-model=reactor");
    arguments_add(a, "", "-Wl,--export-table");
}

/* Calls share mapped state with others that run at the same time. Without this feature clang makes
 * plain loads and stores of C's atomics, in silence, and additions of two calls are lost. With it
 * thread-local variables become WebAssembly's, which the C library does not know (errno). An
 * instance has one thread, so they are what plain variables are. */
static void atomics_add(struct arguments *a)
{
    arguments_add(a, "", "-matomics");
    arguments_add(a, "-D", "_Thread_local=");
    arguments_add(a, "-D", "__thread=");
    arguments_add(a, "-D", "thread_local=");
}

static void arguments_make(const struct build_command *c, struct arguments *a)
{
    char stack[64], sdk[PATH_MAX];
    bool has_sdk = sdk_find(sdk);
    arguments_add(a, "", compiler_program());
    sysroot_add(a);
    arguments_add(a, "-O", optimise_levels[c->optimise]);
    if (c->debug)
        arguments_add(a, "", "-g");
    if (c->standard)
        arguments_add(a, "-std=", c->standard);
    if (!c->no_simd)
        arguments_add(a, "", "-msimd128");
    /* Loops are left as they are: vectorised here they would be 128 bits wide for good, and
     * unrolled here they could not be vectorised for the machine they run on. */
    arguments_add(a, "", "-fno-vectorize");
    arguments_add(a, "", "-fno-slp-vectorize");
    arguments_add(a, "", "-fno-unroll-loops");
    arguments_add(a, "", "-mbulk-memory");
    arguments_add(a, "", "-msign-ext");
    arguments_add(a, "", "-mnontrapping-fptoint");
    atomics_add(a);
    arguments_add_all(a, "-m", &c->features);
    arguments_add_all(a, "-I", &c->include_directories);
    if (has_sdk) {
        arguments_add(a, "", "-isystem");
        arguments_add(a, sdk, "/c/include");
    }
    arguments_add_all(a, "-D", &c->definitions);
    arguments_add_all(a, "-W", &c->warnings);
    arguments_add_all(a, "-L", &c->library_directories);
    if (makes_function(c))
        function_add(a);
    else if (c->reactor)
        arguments_add(a, "", "-mexec-model=reactor");
    /* The stack lies below the data, so that overflowing it traps instead of overwriting. */
    snprintf(stack, sizeof stack, "-Wl,-z,stack-size=%llu,--stack-first",
             (unsigned long long)c->stack_bytes);
    arguments_add(a, "", stack);
    /* The C library brings debug information of its own; names stay, for backtraces. */
    if (!c->debug)
        arguments_add(a, "", "-Wl,--strip-debug");
    arguments_add_all(a, "-Wl,", &c->linker_options);
    arguments_add(a, "", "-o");
    arguments_add(a, "", c->output);
    arguments_add_all(a, "", &c->sources);
    if (has_sdk) {
        /* As if it were in a library. */
        arguments_add(a, "", "-Wl,--start-lib");
        arguments_add(a, sdk, "/c/src/random.c");
        arguments_add(a, "", "-Wl,--end-lib");
    }
    arguments_add_all(a, "-l", &c->libraries);
}

static void arguments_show(const struct arguments *a)
{
    for (size_t i = 0; i < a->count; i++)
        fprintf(stderr, "%s%s", i ? " " : "", a->items[i]);
    fputc('\n', stderr);
}

/* What the compiler cannot say about itself when it is not installed. */
static bool tools_check(void)
{
    if (getenv("WASI_SYSROOT") || access("/usr/include/wasm32-wasi/stdio.h", R_OK) == 0)
        return true;
    fprintf(stderr, "atoll build: there is no WASI C library: install wasi-libc and "
                    "libclang-rt-19-dev-wasm32, or set WASI_SYSROOT\n");
    return false;
}

static int compiler_run(const struct arguments *a)
{
    struct error e;
    const char *scratch =
        scratch_directory(&e); /* the compiler leaves its object files when killed */
    if (scratch == NULL) {
        fprintf(stderr, "atoll build: %s\n", e.text);
        return EXIT_ATOLL;
    }
    pid_t child = child_fork(SIGTERM);
    if (child < 0) {
        fprintf(stderr, "atoll build: cannot start %s: %s\n", a->items[0], strerror(errno));
        return EXIT_ATOLL;
    }
    if (child == 0) {
        setenv("TMPDIR", scratch, 1);
        execvp(a->items[0], a->items);
        fprintf(stderr, "atoll build: cannot run %s: %s (install clang-19 and lld-19)\n",
                a->items[0], strerror(errno));
        _exit(EXIT_ATOLL);
    }
    int status;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    scratch_remove();
    if (WIFSIGNALED(status)) {
        fprintf(stderr, "atoll build: %s was killed by signal %d\n", a->items[0], WTERMSIG(status));
        return EXIT_ATOLL;
    }
    if (WEXITSTATUS(status) == EXIT_ATOLL)
        return EXIT_ATOLL;
    return WEXITSTATUS(status) ? EXIT_NEGATIVE : EXIT_OK;
}

static int program_build(const struct build_command *c)
{
    if (!tools_check())
        return EXIT_ATOLL;
    struct arguments a = {0};
    arguments_make(c, &a);
    int code = EXIT_ATOLL;
    if (a.failed) {
        fprintf(stderr, "atoll build: out of memory\n");
    } else {
        if (c->verbose)
            arguments_show(&a);
        code = compiler_run(&a);
    }
    arguments_free(&a);
    return code;
}

static int sources_check(const struct build_command *c)
{
    if (!c->output || !*c->output)
        return usage_error(&command_build, "say where the module goes: -o FILE.wasm.");
    if (c->stack_bytes < STACK_BYTES_MIN || c->stack_bytes > STACK_BYTES_MAX)
        return usage_error(&command_build, "--stack can be 4KiB to 1GiB.");
    for (size_t i = 0; i < c->sources.count; i++) {
        const char *source = c->sources.items[i];
        struct stat status;
        /* It would reach the compiler as an option. */
        if (source[0] == '-')
            return usage_error(&command_build, "%s is no source file.", source);
        if (access(source, R_OK) < 0) {
            fprintf(stderr, "atoll build: cannot read %s: %s\n", source, strerror(errno));
            return EXIT_NO_FILE;
        }
        if (stat(source, &status) == 0 && S_ISDIR(status.st_mode)) {
            fprintf(stderr, "atoll build: cannot read %s: %s\n", source, strerror(EISDIR));
            return EXIT_NO_FILE;
        }
    }
    return EXIT_OK;
}

static void build_command_free(struct build_command *c)
{
    struct text_list *lists[] = {&c->include_directories,
                                 &c->definitions,
                                 &c->libraries,
                                 &c->library_directories,
                                 &c->warnings,
                                 &c->linker_options,
                                 &c->features,
                                 &c->sources};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        free(lists[i]->items);
}

static int build_run(int argc, char **argv)
{
    struct build_command c = {.stack_bytes = STACK_BYTES_DEFAULT, .optimise = 2};
    const struct option_spec options[] = {
        {"output", 'o', OPTION_TEXT, "FILE", "the module to write", &c.output, NULL},
        {NULL, 'O', OPTION_CHOICE, NULL, "optimisation (2)", &c.optimise, optimise_levels},
        {NULL, 'I', OPTION_LIST, "DIR", "search DIR for headers", &c.include_directories, NULL},
        {NULL, 'D', OPTION_LIST, "NAME[=VALUE]", "define a macro", &c.definitions, NULL},
        {NULL, 'W', OPTION_LIST, "WARNING", "warnings, as clang names them", &c.warnings, NULL},
        {NULL, 'L', OPTION_LIST, "DIR", "search DIR for libraries", &c.library_directories, NULL},
        {NULL, 'l', OPTION_LIST, "NAME", "link library NAME (m is there already)", &c.libraries,
         NULL},
        {NULL, 'm', OPTION_LIST, "FEATURE", "a WebAssembly feature, e.g. tail-call", &c.features,
         NULL},
        {NULL, 'g', OPTION_FLAG, NULL, "keep debug information", &c.debug, NULL},
        {"std", 0, OPTION_TEXT, "STANDARD", "language standard, e.g. c17", &c.standard, NULL},
        {"stack", 0, OPTION_SIZE, "SIZE",
         "the program's stack in its memory (1MiB); overflowing\nit is a trap", &c.stack_bytes,
         NULL},
        {"link", 0, OPTION_LIST, "OPTION", "pass OPTION to the linker, e.g. --export=name",
         &c.linker_options, NULL},
        {"no-simd", 0, OPTION_FLAG, NULL, "use no 128-bit vectors", &c.no_simd, NULL},
        {"reactor", 0, OPTION_FLAG, NULL, "a library whose exports are called, without main",
         &c.reactor, NULL},
        {"verbose", 'v', OPTION_FLAG, NULL, "show the compiler's command line", &c.verbose, NULL},
    };
    int code = EXIT_USAGE;
    switch (options_parse(&command_build, options, sizeof options / sizeof options[0], argc, argv,
                          1, SIZE_MAX, &c.sources)) {
    case OPTIONS_HELP: code = EXIT_OK; break;
    case OPTIONS_BAD: break;
    case OPTIONS_GO:
        code = sources_check(&c);
        if (code == EXIT_OK)
            code = program_build(&c);
    }
    build_command_free(&c);
    return code;
}

const struct command command_build = {
    .name = "build",
    .usage = "[OPTIONS] FILE.c... -o FILE.wasm",
    .summary = "compile C sources to a WebAssembly program",
    .description =
        "Compiles and links C sources (or .o and .a files) to a WASI program with clang-19 and\n"
        "wasi-libc. Vectors (simd128), atomics, bulk memory, sign extension and saturating\n"
        "conversions are on: every Atoll runs them.\n"
        "\n"
        "The headers of functions (atoll.h and those beside it) are found without -I. Sources "
        "that\n"
        "define ATOLL_FUNCTION or atoll_main make a function: --reactor is implied.\n"
        "\n"
        "Environment: WASI_CC, another compiler; WASI_SYSROOT, another C library; ATOLL_SDK,\n"
        "another directory with the headers of functions.\n"
        "\n"
        "Exit code: 0, or\n"
        "  1    the sources do not compile\n"
        "  2    the command line is wrong\n"
        "  125  the compiler or the C library is missing\n"
        "  127  a source cannot be read",
    .run = build_run,
};
