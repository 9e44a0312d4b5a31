/*
 * trap_compare: random programs with wild addresses, in every configuration against a reference
 * interpreter.
 *
 * To LLVM a load cannot trap, and what keeps the traps is a chain of decisions across lowering,
 * passes and linkage that the core suite does not look at. This does. For each configuration it
 * prints how many of the reference's traps were missed, how many traps were false, and how many
 * runs without a trap ended with another result, memory or globals. It fails unless false traps and
 * wrong results are 0 everywhere, missed traps 0 in exact mode and at the quick tier, and at
 * most 1.5 % in fast mode at the opt tier, where a load that provably influences nothing may go. In
 * exact mode the kind of trap, memory and globals after it must be the reference's too.
 *
 * Programs run in batches of one module; every run gets a fresh instance. A finding names the seed
 * with which `trap_compare --seed SEED --programs 1` repeats it.
 */
#include "engine/compile.h"
#include "engine/instance.h"
#include "module_writer.h"
#include "random.h"
#include "trap_program.h"

#include <assert.h>
#include <getopt.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define BATCH        16u
#define RUNS         4u /* of each program, with other arguments */
#define MISSED_LIMIT 0.015
#define REPORTED_MAX 20u

static const struct configuration {
    const char *name;
    uint8_t mode, tier;
    double missed_limit;
} configurations[] = {
    {"exact-quick", MODE_EXACT, TIER_QUICK, 0},
    {"exact-opt", MODE_EXACT, TIER_OPT, 0},
    {"fast-quick", MODE_FAST, TIER_QUICK, 0},
    {"fast-opt", MODE_FAST, TIER_OPT, MISSED_LIMIT},
};
#define CONFIGURATIONS (sizeof configurations / sizeof *configurations)

struct tally {
    uint32_t runs, traps, missed, false_traps, wrong;
};

struct comparison {
    struct compiler *compiler;
    uint64_t seed; /* of the first program */
    uint32_t programs;
    const char *keep; /* a directory for the modules of findings, or NULL */
    struct tally tallies[CONFIGURATIONS];
    uint32_t skipped, reported;
};

/* One run of one program: what goes in, and what must come out. */
struct run {
    uint64_t seed, arguments[3];
    uint32_t program; /* in its batch */
    bool usable;      /* the reference came to an end */
    struct reference expected;
};

/* Large. */
static struct program programs[BATCH];
static struct run runs[BATCH][RUNS];

static int fail(const struct error *e)
{
    fprintf(stderr, "trap_compare: %s\n", e->text);
    return 2;
}

/* ---- one run in the engine ---- */

static void finding(struct comparison *c, const struct configuration *configuration,
                    const struct run *run, const char *what)
{
    if (c->reported++ >= REPORTED_MAX)
        return;
    printf("%s: %s, arguments %lu %lu %lu: %s\n", configuration->name, what, run->arguments[0],
           run->arguments[1], run->arguments[2],
           run->expected.trap ? trap_kind_name(run->expected.trap) : "no trap expected");
    printf("    repeat: trap_compare --seed %lu --programs 1\n", run->seed);
}

static bool state_equals(const struct instance *instance, const struct reference *expected)
{
    for (uint32_t i = 0; i < PROGRAM_GLOBALS; i++) {
        uint8_t value[16];
        instance_global(instance, i, value);
        if (load_u64(value) != expected->globals[i])
            return false;
    }
    return memcmp(instance_memory(instance), expected->memory, PROGRAM_MEMORY) == 0;
}

static void judge(struct comparison *c, const struct configuration *configuration,
                  const struct run *run, const struct instance *instance,
                  const struct run_result *result, uint64_t value)
{
    struct tally *tally = &c->tallies[configuration - configurations];
    const struct reference *expected = &run->expected;
    bool trapped = result->status == RUN_TRAP;
    tally->runs++;
    tally->traps += expected->trap != TRAP_NONE;
    if (trapped && expected->trap == TRAP_NONE) {
        tally->false_traps++;
        finding(c, configuration, run, trap_kind_name(result->trap.kind));
    } else if (!trapped && expected->trap != TRAP_NONE) {
        tally->missed++;
        if (configuration->missed_limit == 0)
            finding(c, configuration, run, "missed a trap");
    } else if (trapped && configuration->mode == MODE_EXACT) {
        if (result->trap.kind != expected->trap || !state_equals(instance, expected)) {
            tally->wrong++;
            finding(c, configuration, run, "another trap, or other memory or globals after it");
        }
    } else if (!trapped && (value != expected->result || !state_equals(instance, expected))) {
        tally->wrong++;
        finding(c, configuration, run, "wrong result, memory or globals");
    }
}

static int run_one(struct comparison *c, const struct configuration *configuration,
                   struct artefact *artefact, const struct run *run, struct error *e)
{
    struct arena *arena = NULL;
    struct instance *instance = NULL;
    struct run_result result;
    union host_slot slots[3];
    for (unsigned i = 0; i < 3; i++)
        slots[i].u64 = run->arguments[i];
    int code = arena_create(SLOT_ANY, NULL, &arena, e);
    if (code != 0)
        return code;
    code = instance_create(arena, artefact, NULL, 0, &instance, e);
    if (code == 0)
        code = instance_invoke(instance, run->program * PROGRAM_FUNCTIONS, slots, &result, e);
    if (code == 0 && result.status != RUN_DONE && result.status != RUN_TRAP)
        code = error_set(e, ATOLL_ECORRUPT, "a run ended with status %d", (int)result.status);
    if (code == 0 && result.status == RUN_TRAP && result.trap.kind == TRAP_ENGINE)
        code = error_set(e, ATOLL_ECORRUPT, "seed %lu, %s: %s", run->seed, configuration->name,
                         result.trap.message);
    if (code == 0)
        judge(c, configuration, run, instance, &result, slots[0].u64);
    arena_destroy(arena);
    return code;
}

/* ---- batches ---- */

static void batch_generate(struct comparison *c, uint64_t seed, uint32_t count)
{
    for (uint32_t p = 0; p < count; p++) {
        program_generate(&programs[p], seed + p);
        struct random random = {~(seed + p)};
        for (uint32_t r = 0; r < RUNS; r++) {
            struct run *run = &runs[p][r];
            run->program = p;
            run->seed = seed + p;
            for (unsigned i = 0; i < 3; i++)
                run->arguments[i] =
                    random_chance(&random, 50) ? random_below(&random, 100) : random_u64(&random);
            run->arguments[0] = (uint32_t)run->arguments[0];
            run->arguments[1] = (uint32_t)run->arguments[1];
            run->usable = reference_run(&programs[p], run->arguments, &run->expected);
            c->skipped += !run->usable;
        }
    }
}

static void batch_keep(const struct comparison *c, uint64_t seed, const struct module_writer *wasm)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%lu.wasm", c->keep, seed);
    FILE *file = fopen(path, "wb");
    if (!file)
        return;
    fwrite(wasm->bytes.data, 1, wasm->bytes.len, file);
    fclose(file);
}

static int batch_compare(struct comparison *c, const struct configuration *configuration,
                         const struct module_writer *wasm, uint32_t count, struct error *e)
{
    struct compile_options options = {
        .tier = configuration->tier, .mode = configuration->mode, .cpu = CPU_V3};
    struct artefact *artefact = NULL;
    int code =
        compiler_load(c->compiler, wasm->bytes.data, wasm->bytes.len, &options, &artefact, NULL, e);
    for (uint32_t p = 0; p < count && code == 0; p++) {
        for (uint32_t r = 0; r < RUNS && code == 0; r++) {
            if (runs[p][r].usable)
                code = run_one(c, configuration, artefact, &runs[p][r], e);
        }
    }
    artefact_release(artefact);
    return code;
}

static int compare(struct comparison *c, struct error *e)
{
    int code = 0;
    for (uint32_t done = 0; done < c->programs && code == 0; done += BATCH) {
        uint32_t count = c->programs - done < BATCH ? c->programs - done : BATCH;
        uint32_t reported = c->reported;
        struct module_writer wasm = {0};
        batch_generate(c, c->seed + done, count);
        program_write(programs, count, &wasm);
        for (uint32_t i = 0; i < CONFIGURATIONS && code == 0; i++)
            code = batch_compare(c, &configurations[i], &wasm, count, e);
        if (c->keep && (c->reported > reported || code != 0))
            batch_keep(c, c->seed + done, &wasm);
        module_writer_free(&wasm);
    }
    return code;
}

/* ---- the verdict ---- */

static bool verdict(const struct comparison *c)
{
    bool good = true;
    printf("%-12s %8s %8s %8s %8s %8s %8s\n", "", "runs", "traps", "missed", "missed %", "false",
           "wrong");
    for (uint32_t i = 0; i < CONFIGURATIONS; i++) {
        const struct tally *t = &c->tallies[i];
        double rate = t->traps ? (double)t->missed / t->traps : 0;
        printf("%-12s %8u %8u %8u %8.2f %8u %8u\n", configurations[i].name, t->runs, t->traps,
               t->missed, 100 * rate, t->false_traps, t->wrong);
        good = good && rate <= configurations[i].missed_limit && t->false_traps == 0 &&
               t->wrong == 0 && t->traps > 0 && t->traps < t->runs;
    }
    printf("%u programs from seed %lu, %u runs skipped as too long: %s\n", c->programs, c->seed,
           c->skipped, good ? "passed" : "failed");
    return good;
}

static const char usage[] =
    "usage: trap_compare [options]\n"
    "Compares traps, results, memory and globals of random programs with a reference.\n"
    "  --seed N          seed of the first program (default 1)\n"
    "  --programs N      how many (default 640)\n"
    "  --compiler PATH   the program atoll-cc (default: ../../atoll-cc beside this program)\n"
    "  --keep DIRECTORY  write the modules of findings there\n";

static const char *compiler_beside(void)
{
    static char self[PATH_MAX], path[PATH_MAX + 32];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    snprintf(path, sizeof path, "%s/../../atoll-cc", len > 0 ? dirname(self) : ".");
    return path;
}

int main(int count, char **arguments)
{
    static const struct option known[] = {
        {"seed", required_argument, NULL, 's'},     {"programs", required_argument, NULL, 'p'},
        {"compiler", required_argument, NULL, 'c'}, {"keep", required_argument, NULL, 'k'},
        {"help", no_argument, NULL, 'h'},           {0},
    };
    struct comparison c = {.seed = 1, .programs = 640};
    struct compiler_settings settings = {.program = compiler_beside(), .cache = "", .parallel = 1};
    struct error e = {0};
    for (int o; (o = getopt_long(count, arguments, "", known, NULL)) != -1;) {
        switch (o) {
        case 's': c.seed = strtoull(optarg, NULL, 0); break;
        case 'p': c.programs = (uint32_t)strtoul(optarg, NULL, 0); break;
        case 'c': settings.program = optarg; break;
        case 'k': c.keep = optarg; break;
        default: fputs(usage, o == 'h' ? stdout : stderr); return o == 'h' ? 0 : 2;
        }
    }
    if (engine_initialize(&e) != 0 || compiler_create(&settings, &c.compiler, &e) != 0)
        return fail(&e);
    int code = compare(&c, &e);
    compiler_destroy(c.compiler);
    bool good = verdict(&c);
    return code != 0 ? fail(&e) : good ? 0 : 1;
}
