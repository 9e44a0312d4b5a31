/*
 * conformance: runs the WebAssembly core suite through the engine.
 *
 * Every .wast of the suite's root and of the implemented proposals is converted with wast2json and
 * run in each configuration (exact or fast code, quick or opt tier). Each script has a process of
 * its own with its own compiler process, so that a crash costs one script; --jobs of them run at
 * once. There is no list of ignored failures. The last line is "N passed, N failed, N skipped":
 * skipped are commands about text modules, and files that wast2json cannot read (both named).
 *
 * Called by tests/check and by hand; `conformance --help` says how.
 */
#define _GNU_SOURCE /* nftw */
#include "script.h"
#include "suite.h"

#include "base/file.h"
#include "engine/instance.h"

#include <errno.h>
#include <ftw.h>
#include <getopt.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct script_configuration all_configurations[] = {
    {"exact-quick", MODE_EXACT, TIER_QUICK},
    {"exact-opt", MODE_EXACT, TIER_OPT},
    {"fast-quick", MODE_FAST, TIER_QUICK},
    {"fast-opt", MODE_FAST, TIER_OPT},
};
#define CONFIGURATIONS ((uint32_t)(sizeof all_configurations / sizeof *all_configurations))

/* How the process of one script ended, besides its counts. */
enum outcome { OUTCOME_RAN = 0, OUTCOME_UNCONVERTED = 10, OUTCOME_FAILED = 11 };

struct options {
    const char *suite, *compiler, *wast2json, *file;
    struct script_configuration configurations[CONFIGURATIONS];
    uint32_t configuration_count;
    unsigned jobs;
    bool one_process;
};

static const char usage[] =
    "usage: conformance [options] SUITE\n"
    "Runs the WebAssembly core suite in the directory SUITE.\n"
    "  --config NAME     one of exact-quick exact-opt fast-quick fast-opt; may be repeated\n"
    "                    (default: all)\n"
    "  --file TEXT       only files whose name contains TEXT\n"
    "  --jobs N          scripts run at once (default: processors)\n"
    "  --compiler PATH   the program atoll-cc (default: ../../atoll-cc beside this program)\n"
    "  --wast2json PATH  wabt's converter (default: wast2json)\n"
    "  --one-process     run scripts in this process, for a debugger\n";

/* ---- one script ---- */

static enum outcome script_process(const struct options *o, const struct suite_file *file,
                                   const char *directory, struct script_progress *progress)
{
    struct error e;
    struct script *script = NULL;
    struct compiler *compiler = NULL;
    struct compiler_settings settings = {.program = o->compiler, .cache = "", .parallel = 1};
    if (suite_convert(file, o->wast2json, directory, &e) != 0) {
        printf("%s: not run: %s\n", file->name, e.text);
        fflush(stdout);
        return OUTCOME_UNCONVERTED;
    }
    int code = script_open(directory, file->name, &script, &e);
    if (code == 0)
        code = engine_initialize(&e);
    if (code == 0)
        code = compiler_create(&settings, &compiler, &e);
    if (code == 0)
        script_run(script, compiler, o->configurations, o->configuration_count, progress);
    else
        printf("%s: %s\n", file->name, e.text);
    fflush(stdout);
    compiler_destroy(compiler);
    script_close(script);
    return code == 0 ? OUTCOME_RAN : OUTCOME_FAILED;
}

/* Counts what a script's process left undone as failed. */
static void script_ended(const struct options *o, const struct suite_file *file, int status,
                         struct script_progress *p)
{
    uint32_t done = p->passed + p->failed + p->skipped;
    if (WIFEXITED(status) && WEXITSTATUS(status) == OUTCOME_UNCONVERTED) {
        p->skipped++;
        return;
    }
    if (WIFSIGNALED(status))
        printf("%s:%u: [%s] the process died of signal %d (%s)\n", file->name, p->line,
               o->configurations[p->configuration].name, WTERMSIG(status),
               strsignal(WTERMSIG(status)));
    else if (WEXITSTATUS(status) != OUTCOME_RAN && WEXITSTATUS(status) != OUTCOME_FAILED)
        printf("%s:%u: [%s] the process ended with status %d\n", file->name, p->line,
               o->configurations[p->configuration].name, WEXITSTATUS(status));
    if (status != 0)
        p->failed += p->commands > done ? p->commands - done : 1;
}

/* ---- all scripts ---- */

struct job {
    pid_t process; /* 0 = free */
    uint32_t file;
};

static void job_start(const struct options *o, const struct suite *suite, uint32_t file,
                      const char *scratch, struct script_progress *progress, struct job *job)
{
    char directory[PATH_MAX];
    snprintf(directory, sizeof directory, "%s/%u", scratch, file);
    fflush(NULL);
    job->file = file;
    job->process = o->one_process ? 0 : fork();
    if (job->process > 0)
        return;
    if (job->process == 0) {
        int outcome = (int)script_process(o, &suite->files[file], directory, progress);
        if (!o->one_process)
            _exit(outcome);
        script_ended(o, &suite->files[file], W_EXITCODE(outcome, 0), progress);
        return;
    }
    perror("conformance: fork");
    job->process = 0;
    script_ended(o, &suite->files[file], W_EXITCODE(OUTCOME_FAILED, 0), progress);
}

/* Waits for any of the jobs; false when none runs. */
static bool job_wait(const struct options *o, const struct suite *suite, struct job *jobs,
                     struct script_progress *progress)
{
    int status;
    pid_t process;
    while ((process = wait(&status)) < 0 && errno == EINTR)
        ;
    for (unsigned i = 0; i < o->jobs && process > 0; i++) {
        if (jobs[i].process != process)
            continue;
        script_ended(o, &suite->files[jobs[i].file], status, &progress[jobs[i].file]);
        jobs[i].process = 0;
    }
    return process > 0;
}

static bool file_selected(const struct options *o, const struct suite_file *file)
{
    return o->file == NULL || strstr(file->name, o->file) != NULL;
}

static void suite_run(const struct options *o, const struct suite *suite, const char *scratch,
                      struct script_progress *progress)
{
    struct job *jobs = calloc(o->jobs, sizeof *jobs);
    if (jobs == NULL) {
        fputs("conformance: no memory for the list of jobs\n", stderr);
        exit(1);
    }
    for (uint32_t i = 0; i < suite->count; i++) {
        unsigned free_job = 0;
        if (!file_selected(o, &suite->files[i]))
            continue;
        while (free_job < o->jobs && jobs[free_job].process != 0)
            free_job++;
        if (free_job == o->jobs) {
            job_wait(o, suite, jobs, progress);
            i--;
            continue;
        }
        job_start(o, suite, i, scratch, &progress[i], &jobs[free_job]);
    }
    while (job_wait(o, suite, jobs, progress))
        ;
    free(jobs);
}

static int scratch_remove_entry(const char *path, const struct stat *status, int type,
                                struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove(path);
}

/* Returns the number of failed commands, or -1 when nothing could be run. */
static int64_t conformance_run(const struct options *o)
{
    struct error e;
    struct suite suite;
    const char *temporary = getenv("TMPDIR");
    char scratch[PATH_MAX];
    uint64_t passed = 0, failed = 0, skipped = 0;
    snprintf(scratch, sizeof scratch, "%s/conformance-XXXXXX",
             temporary != NULL && temporary[0] != '\0' ? temporary : "/tmp");
    if (suite_find(o->suite, &suite, &e) != 0) {
        fprintf(stderr, "conformance: %s\n", e.text);
        return -1;
    }
    size_t size = suite.count * sizeof(struct script_progress);
    struct script_progress *progress =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (progress == MAP_FAILED || mkdtemp(scratch) == NULL) {
        fprintf(stderr, "conformance: cannot make '%s': %s\n", scratch, strerror(errno));
        suite_free(&suite);
        return -1;
    }
    suite_run(o, &suite, scratch, progress);
    for (uint32_t i = 0; i < suite.count; i++) {
        passed += progress[i].passed;
        failed += progress[i].failed;
        skipped += progress[i].skipped;
    }
    nftw(scratch, scratch_remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    munmap(progress, size);
    suite_free(&suite);
    printf("%lu passed, %lu failed, %lu skipped\n", passed, failed, skipped);
    return (int64_t)failed;
}

/* ---- command line ---- */

static bool configuration_add(struct options *o, const char *name)
{
    for (uint32_t i = 0; i < CONFIGURATIONS; i++) {
        if (strcmp(all_configurations[i].name, name) != 0)
            continue;
        if (o->configuration_count < CONFIGURATIONS)
            o->configurations[o->configuration_count++] = all_configurations[i];
        return true;
    }
    return false;
}

/* The atoll-cc of the build tree this program lies in; NULL leaves the search to the engine. */
static const char *compiler_beside(void)
{
    static char path[PATH_MAX], program[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", program, sizeof program - 1);
    if (len <= 0)
        return NULL;
    snprintf(path, sizeof path, "%.*s/../../atoll-cc", (int)strlen(dirname(program)), program);
    return access(path, X_OK) == 0 ? path : NULL;
}

static bool options_parse(int argc, char **argv, struct options *o)
{
    static const struct option known[] = {
        {"config", required_argument, NULL, 'c'},
        {"file", required_argument, NULL, 'f'},
        {"jobs", required_argument, NULL, 'j'},
        {"compiler", required_argument, NULL, 'C'},
        {"wast2json", required_argument, NULL, 'w'},
        {"one-process", no_argument, NULL, 'o'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case 'c':
            if (!configuration_add(o, optarg))
                return false;
            break;
        case 'f': o->file = optarg; break;
        case 'j': o->jobs = (unsigned)strtoul(optarg, NULL, 10); break;
        case 'C': o->compiler = optarg; break;
        case 'w': o->wast2json = optarg; break;
        case 'o': o->one_process = true; break;
        case 'h': fputs(usage, stdout); exit(0);
        default: return false;
        }
    }
    if (optind + 1 != argc || o->jobs < 1 || o->jobs > 256)
        return false;
    o->suite = argv[optind];
    return true;
}

int main(int argc, char **argv)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    struct options o = {.wast2json = "wast2json",
                        .compiler = compiler_beside(),
                        .jobs = processors > 0 ? (unsigned)processors : 1};
    if (!options_parse(argc, argv, &o)) {
        fputs(usage, stderr);
        return 2;
    }
    if (o.configuration_count == 0) {
        memcpy(o.configurations, all_configurations, sizeof all_configurations);
        o.configuration_count = CONFIGURATIONS;
    }
    int64_t failed = conformance_run(&o);
    return failed == 0 ? 0 : 1;
}
