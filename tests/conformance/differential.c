/*
 * differential: Atoll against other engines on random modules.
 *
 * For each seed it makes a valid module (generator.h), runs it in five configurations of Atoll, in
 * V8 (through Node) and in wasm-interp, and compares every result, trap and hash of memory; and it
 * damages the module a few times (mutation.h) and compares whether Atoll, V8 and, where those two
 * differ, wasm-validate accept it. What Atoll accepts it also compiles and runs; nothing may crash.
 *
 * What may differ: code compiled `fast` may report another trap where several are due, leaves
 * memory and globals undefined after a trap, and at `opt` may miss the trap of a load whose value
 * nobody needs (counted and printed). An exhausted stack ends the comparison of a module. An atomic
 * access that is both unaligned and out of bounds may trap as either. wasm-interp has no atomic
 * wait and notify: from there on only V8 is compared; nor is it asked about modules with tail
 * calls, as version 1.0.32 goes wrong after one that leaves operands behind. A module that V8
 * accepts or rejects otherwise than Atoll counts as agreed when wasm-validate is of Atoll's opinion
 * (V8 has exceptions; limits differ).
 *
 * A finding leaves its module as differential-SEED[-mutant].wasm and names the command that repeats
 * it. The last line is "N passed, N failed, N skipped" in modules.
 */
#define _GNU_SOURCE /* nftw */
#include "base/file.h"
#include "engine/instance.h"
#include "generator.h"
#include "mutation.h"
#include "oracle.h"
#include "subject.h"

#include <errno.h>
#include <ftw.h>
#include <getopt.h>
#include <glob.h>
#include <libgen.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define BATCH             32u
#define MUTANTS           6u /* per seed */
#define BATCH_ATTEMPTS    64u
#define CORPUS_MODULE_MAX (1u << 20)

_Static_assert(BATCH <= TRANSCRIPT_BATCH, "a batch fits into a transcript");

struct counts {
    _Atomic uint64_t passed, failed, missed_traps, due_traps, adjudicated, accepted, oracle_splits;
};

struct differential {
    struct oracle oracle;
    const char *compiler, *keep;
    uint64_t seed, count;
    bool generated, mutated;
    unsigned jobs;
    glob_t corpus;         /* more modules to damage */
    struct counts *counts; /* shared by all jobs */
};

/* The modules one job works on at a time. */
struct batch {
    const struct differential *d;
    char directory[PATH_MAX];
    uint64_t seed; /* of module 0 */
    uint32_t count;
    bool failed[BATCH * MUTANTS], tail_calls[BATCH];
    struct transcript v8, interpreter, subject;
};

/* ---- findings ---- */

static void path_of(const struct batch *b, uint32_t n, char out[static PATH_MAX])
{
    if (snprintf(out, PATH_MAX, "%s/%u.wasm", b->directory, n) >= PATH_MAX)
        out[0] = '\0';
}

/* Keeps the module and prints a finding. mutant < 0: the generated module itself. */
static void finding_print(struct batch *b, uint32_t n, int mutant, const char *what)
{
    char from[PATH_MAX], to[PATH_MAX], suffix[16] = "";
    struct buffer wasm = {0};
    struct error e;
    uint64_t seed = b->seed + (mutant < 0 ? n : n / MUTANTS);
    if (mutant >= 0)
        snprintf(suffix, sizeof suffix, "-%d", mutant);
    path_of(b, n, from);
    if (snprintf(to, sizeof to, "%s/differential-%lu%s.wasm", b->d->keep, seed, suffix) >=
            (int)sizeof to ||
        file_read(from, UINT32_MAX, &wasm, &e) != 0 ||
        file_replace(to, wasm.data, wasm.len, 0644, &e) != 0)
        fprintf(stderr, "cannot keep the module %s: %s\n", from, e.text);
    buffer_free(&wasm);
    printf("seed %lu%s: %s\n    again: differential --seed %lu --count 1 --%s    module: %s\n",
           seed, suffix, what, seed, mutant < 0 ? "generated" : "mutated", to);
    fflush(stdout);
}

static void finding(struct batch *b, uint32_t n, int mutant, const char *what)
{
    finding_print(b, n, mutant, what);
    b->failed[n] = true;
}

/* ---- a process of Atoll's for a batch ---- */

typedef void (*subject_work)(struct compiler *, const char *path, uint32_t n, FILE *out);

static int subject_process(const struct batch *b, subject_work work, uint32_t first, uint32_t count,
                           const char *output, _Atomic uint32_t *at)
{
    struct error e;
    struct compiler *compiler;
    struct compiler_settings settings = {.program = b->d->compiler, .cache = "", .parallel = 1};
    FILE *out = fopen(output, "a");
    if (out == NULL || engine_initialize(&e) != 0 ||
        compiler_create(&settings, &compiler, &e) != 0) {
        fprintf(stderr, "differential: %s\n", out == NULL ? strerror(errno) : e.text);
        return 3;
    }
    for (uint32_t n = first; n < count; n++) {
        char path[PATH_MAX];
        *at = n;
        path_of(b, n, path);
        work(compiler, path, n, out);
    }
    compiler_destroy(compiler);
    return fclose(out) == 0 ? 0 : 3;
}

/* Works through the batch; a module that kills the process is a finding, and the rest goes on in a
 * new process. The output is appended to text. */
static int subject_batch(struct batch *b, subject_work work, uint32_t count, struct buffer *text,
                         struct error *e)
{
    char output[PATH_MAX];
    _Atomic uint32_t *at =
        mmap(NULL, sizeof *at, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        return error_set_errno(e, 0, "cannot map a shared counter");
    if (snprintf(output, sizeof output, "%s/subject.txt", b->directory) >= (int)sizeof output)
        return error_set(e, ATOLL_ESIZE, "the temporary directory's name is too long");
    unlink(output);
    for (uint32_t first = 0, attempt = 0; first < count && attempt < BATCH_ATTEMPTS; attempt++) {
        int status;
        *at = first;
        fflush(NULL);
        pid_t process = fork();
        if (process == 0)
            _exit(subject_process(b, work, first, count, output, at));
        if (process < 0)
            return error_set_errno(e, 0, "cannot start a process");
        while (waitpid(process, &status, 0) < 0 && errno == EINTR)
            ;
        if (status == 0)
            break;
        if (WIFEXITED(status))
            return error_set(e, ATOLL_EIO, "the process that runs modules gave up");
        char what[80];
        bool mutants = work == subject_judge;
        snprintf(what, sizeof what, "the process died of signal %d", WTERMSIG(status));
        finding(b, *at, mutants ? (int)(*at % MUTANTS) : -1, what);
        first = *at + 1;
    }
    munmap((void *)at, sizeof *at);
    return file_read(output, 1u << 30, text, e);
}

/* ---- generated modules ---- */

/* Merges classes that cannot be told apart: V8 has one message for all conversions to integers, and
 * an access may be unaligned and out of bounds at once. */
static const char *class_merged(const char *class)
{
    if (strcmp(class, "unaligned") == 0)
        return "memory";
    return strcmp(class, "overflow") == 0 ? "conversion" : class;
}

static bool class_same(const char *a, const char *b)
{
    return strcmp(class_merged(a), class_merged(b)) == 0;
}

static bool line_same(const char *a, const char *b)
{
    const char *x = transcript_trap(a), *y = transcript_trap(b);
    return x != NULL && y != NULL ? class_same(x, y) : strcmp(a, b) == 0;
}

static bool line_is(const char *line, const char *class)
{
    const char *trap = transcript_trap(line);
    return trap != NULL && strcmp(trap, class) == 0;
}

/* True when the record agrees with V8's. */
static bool record_compare(struct batch *b, uint32_t n,
                           const struct subject_configuration *configuration,
                           const struct record *ours, const struct record *theirs)
{
    char what[512];
    for (uint32_t i = 0; i < theirs->count; i++) {
        const char *got = i < ours->count ? ours->lines[i] : "nothing";
        const char *want = theirs->lines[i];
        if (line_is(got, "exhausted") || line_is(want, "exhausted"))
            return true;
        if (configuration->fast && transcript_trap(want) != NULL) {
            b->d->counts->due_traps += configuration->tier == TIER_OPT;
            if (transcript_trap(got) != NULL && strncmp(got, want, strcspn(want, " ")) == 0)
                return !line_is(got, trap_kind_name(TRAP_ENGINE));
            if (transcript_trap(got) == NULL && configuration->tier == TIER_OPT) {
                b->d->counts->missed_traps++;
                return true;
            }
        }
        if (line_same(got, want))
            continue;
        snprintf(what, sizeof what, "%s: got \"%s\", V8 has \"%s\"", configuration->name, got,
                 want);
        finding(b, n, -1, what);
        return false;
    }
    return true;
}

/* Differences between the oracles are theirs, but worth a look. */
static void oracles_compare(struct batch *b, uint32_t n)
{
    const struct record *v8 = &b->v8.records[n][0], *interpreter = &b->interpreter.records[n][0];
    char what[512];
    for (uint32_t i = 0; i < v8->count; i++) {
        const char *second = i < interpreter->count ? interpreter->lines[i] : "nothing";
        if (line_is(v8->lines[i], "exhausted") || line_is(second, "exhausted") ||
            line_is(second, "unimplemented"))
            return;
        if (line_same(v8->lines[i], second))
            continue;
        b->d->counts->oracle_splits++;
        snprintf(what, sizeof what, "(no failure) V8 has \"%s\", wasm-interp has \"%s\"",
                 v8->lines[i], second);
        finding_print(b, n, -1, what);
        return;
    }
}

static void generated_compare(struct batch *b, uint32_t n)
{
    if (!b->tail_calls[n])
        oracles_compare(b, n);
    for (uint32_t i = 0; i < SUBJECT_CONFIGURATIONS && !b->failed[n]; i++)
        record_compare(b, n, &subject_configurations[i], &b->subject.records[n][i],
                       &b->v8.records[n][0]);
    if (b->failed[n])
        b->d->counts->failed++;
    else
        b->d->counts->passed++;
}

static int module_write(const struct batch *b, uint32_t n, const struct buffer *wasm,
                        struct error *e)
{
    char path[PATH_MAX];
    path_of(b, n, path);
    FILE *file = fopen(path, "w");
    if (file == NULL)
        return error_set_errno(e, 0, "cannot write '%s'", path);
    size_t written = fwrite(wasm->data, 1, wasm->len, file);
    if (fclose(file) != 0 || written != wasm->len)
        return error_set_errno(e, 0, "cannot write '%s'", path);
    return 0;
}

static int generated_batch(struct batch *b, struct error *e)
{
    const char *names[SUBJECT_CONFIGURATIONS];
    int code = 0;
    memset(b->failed, 0, sizeof b->failed);
    for (uint32_t i = 0; i < b->count && code == 0; i++) {
        struct module_writer module = {0};
        struct generated about;
        module_generate(b->seed + i, &module, &about);
        b->tail_calls[i] = about.tail_calls;
        code = module_write(b, i, &module.bytes, e);
        module_writer_free(&module);
    }
    if (code == 0)
        code = oracle_run_v8(&b->d->oracle, b->directory, b->count, &b->v8, e);
    if (code == 0)
        code = oracle_run_interpreter(&b->d->oracle, b->directory, b->count, &b->interpreter, e);
    if (code == 0)
        code = subject_batch(b, subject_run, b->count, &b->subject.text, e);
    for (uint32_t i = 0; i < SUBJECT_CONFIGURATIONS; i++)
        names[i] = subject_configurations[i].name;
    transcript_parse(&b->v8, NULL, 0);
    transcript_parse(&b->interpreter, NULL, 0);
    transcript_parse(&b->subject, names, SUBJECT_CONFIGURATIONS);
    for (uint32_t i = 0; i < b->count && code == 0; i++)
        generated_compare(b, i);
    transcript_free(&b->v8);
    transcript_free(&b->interpreter);
    transcript_free(&b->subject);
    return code;
}

/* ---- damaged modules ---- */

/* The verdict of one line "N word text" on module n. */
static int verdict_compare(struct batch *b, uint32_t n, const char *word, bool v8_valid,
                           struct error *e)
{
    char path[PATH_MAX], what[512];
    bool valid = strncmp(word, "valid", 5) == 0, wabt_valid;
    if (strncmp(word, "done", 4) == 0)
        return 0;
    if (strncmp(word, "broken", 6) == 0) {
        finding(b, n, (int)(n % MUTANTS), word);
        return 0;
    }
    b->d->counts->accepted += valid;
    if (valid == v8_valid)
        return 0;
    path_of(b, n, path);
    int code = oracle_validate_wabt(&b->d->oracle, path, &wabt_valid, e);
    if (code != 0)
        return code;
    if (wabt_valid == valid) {
        b->d->counts->adjudicated++;
        return 0;
    }
    snprintf(what, sizeof what, "Atoll says \"%s\", V8 and wasm-validate say %s", word,
             v8_valid ? "valid" : "invalid");
    finding(b, n, (int)(n % MUTANTS), what);
    return 0;
}

static int verdicts_compare(struct batch *b, uint32_t count, const bool *v8_valid,
                            struct buffer *text, struct error *e)
{
    char *rest = NULL;
    int code = 0;
    if (!buffer_append(text, "", 1))
        return error_set(e, ATOLL_ENOMEM, "no memory for the verdicts");
    for (char *line = strtok_r((char *)text->data, "\n", &rest); line != NULL && code == 0;
         line = strtok_r(NULL, "\n", &rest)) {
        unsigned long n = strtoul(line, &line, 10);
        if (n < count && line[0] == ' ')
            code = verdict_compare(b, (uint32_t)n, line + 1, v8_valid[n], e);
    }
    for (uint32_t n = 0; n < count && code == 0; n++) {
        if (b->failed[n])
            b->d->counts->failed++;
        else
            b->d->counts->passed++;
    }
    return code;
}

/* What mutant i of the batch is made from: the seed's module or, half the time, one of the corpus.
 */
static int original_make(const struct batch *b, uint32_t i, struct random *random,
                         struct buffer *out, struct error *e)
{
    const glob_t *corpus = &b->d->corpus;
    struct module_writer module = {0};
    struct generated about;
    if (corpus->gl_pathc > 0 && random_chance(random, 50))
        return file_read(corpus->gl_pathv[random_below(random, (uint32_t)corpus->gl_pathc)],
                         CORPUS_MODULE_MAX, out, e);
    module_generate(b->seed + i / MUTANTS, &module, &about);
    *out = module.bytes;
    return 0;
}

static int mutants_write(struct batch *b, struct error *e)
{
    int code = 0;
    for (uint32_t i = 0; i < b->count * MUTANTS && code == 0; i++) {
        struct random random = {(b->seed + i / MUTANTS) * 1000003 + i % MUTANTS};
        struct buffer original = {0}, mutant = {0};
        code = original_make(b, i, &random, &original, e);
        if (code == 0) {
            module_mutate(&random, original.data, original.len, &mutant);
            code = module_write(b, i, &mutant, e);
        }
        buffer_free(&mutant);
        buffer_free(&original);
    }
    return code;
}

static int mutated_batch(struct batch *b, struct error *e)
{
    bool v8_valid[BATCH * MUTANTS] = {false};
    uint32_t count = b->count * MUTANTS;
    struct buffer text = {0};
    memset(b->failed, 0, sizeof b->failed);
    int code = mutants_write(b, e);
    if (code == 0)
        code = oracle_validate_v8(&b->d->oracle, b->directory, count, v8_valid, e);
    if (code == 0)
        code = subject_batch(b, subject_judge, count, &text, e);
    if (code == 0)
        code = verdicts_compare(b, count, v8_valid, &text, e);
    buffer_free(&text);
    return code;
}

/* ---- jobs ---- */

static int scratch_remove_entry(const char *path, const struct stat *status, int type,
                                struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove(path);
}

/* Every jobs-th batch, from number `first` on. */
static int job_run(const struct differential *d, unsigned first)
{
    static struct batch b;
    struct error e;
    const char *temporary = getenv("TMPDIR");
    int code = 0;
    b.d = d;
    snprintf(b.directory, sizeof b.directory, "%s/differential-XXXXXX",
             temporary != NULL && temporary[0] != '\0' ? temporary : "/tmp");
    if (mkdtemp(b.directory) == NULL) {
        perror("differential: mkdtemp");
        return 1;
    }
    for (uint64_t at = (uint64_t)first * BATCH; at < d->count && code == 0;
         at += (uint64_t)d->jobs * BATCH) {
        b.seed = d->seed + at;
        b.count = d->count - at < BATCH ? (uint32_t)(d->count - at) : BATCH;
        if (d->generated)
            code = generated_batch(&b, &e);
        if (d->mutated && code == 0)
            code = mutated_batch(&b, &e);
    }
    nftw(b.directory, scratch_remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    if (code != 0)
        fprintf(stderr, "differential: %s\n", e.text);
    return code == 0 ? 0 : 1;
}

static int differential_run(struct differential *d)
{
    bool broken = false;
    int status;
    d->counts =
        mmap(NULL, sizeof *d->counts, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (d->counts == MAP_FAILED) {
        perror("differential: mmap");
        return 1;
    }
    for (unsigned i = 0; i < d->jobs; i++) {
        fflush(NULL);
        pid_t job = fork();
        if (job == 0)
            _exit(job_run(d, i));
        broken = broken || job < 0;
    }
    pid_t ended;
    while ((ended = wait(&status)) > 0 || errno == EINTR)
        broken = broken || (ended > 0 && status != 0);
    struct counts *c = d->counts;
    printf("fast-opt: %lu traps due, %lu missed\n", c->due_traps, c->missed_traps);
    printf("damaged modules: %lu accepted, %lu judged by wasm-validate; oracles disagree on %lu\n",
           c->accepted, c->adjudicated, c->oracle_splits);
    printf("%lu passed, %lu failed, 0 skipped\n", c->passed, c->failed);
    return c->failed == 0 && !broken ? 0 : 1;
}

/* ---- command line ---- */

static const char usage[] =
    "usage: differential [options]\n"
    "Compares Atoll with V8 and wasm-interp on random WebAssembly modules.\n"
    "  --seed N           first seed (default 1)\n"
    "  --count N          how many seeds (default 100)\n"
    "  --generated        only valid modules, compared by what they compute\n"
    "  --mutated          only damaged modules, compared by whether they are valid\n"
    "  --corpus DIR       damage also the .wasm files in DIR and in its directories\n"
    "  --jobs N           at once (default: processors)\n"
    "  --keep DIR         where modules of findings are left (default: .)\n"
    "  --compiler PATH    the program atoll-cc (default: ../../atoll-cc beside this program)\n"
    "  --script PATH      differential.mjs (default: as built)\n"
    "  --node PATH, --wasm-interp PATH, --wasm-validate PATH\n";

/* The atoll-cc of the build tree this program lies in; NULL leaves the search to the engine. */
static const char *compiler_beside(void)
{
    static char path[PATH_MAX], program[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", program, sizeof program - 1);
    if (len <= 0)
        return NULL;
    snprintf(path, sizeof path, "%s/../../atoll-cc", dirname(program));
    return access(path, X_OK) == 0 ? path : NULL;
}

static bool corpus_find(const char *directory, glob_t *out)
{
    char pattern[PATH_MAX];
    snprintf(pattern, sizeof pattern, "%s/*.wasm", directory);
    glob(pattern, 0, NULL, out);
    snprintf(pattern, sizeof pattern, "%s/*/*.wasm", directory);
    glob(pattern, GLOB_APPEND, NULL, out);
    if (out->gl_pathc == 0)
        fprintf(stderr, "differential: no .wasm file in '%s'\n", directory);
    return out->gl_pathc > 0;
}

static bool options_parse(int argc, char **argv, struct differential *d)
{
    static const struct option known[] = {
        {"seed", required_argument, NULL, 's'},
        {"count", required_argument, NULL, 'n'},
        {"generated", no_argument, NULL, 'g'},
        {"mutated", no_argument, NULL, 'm'},
        {"corpus", required_argument, NULL, 'c'},
        {"jobs", required_argument, NULL, 'j'},
        {"keep", required_argument, NULL, 'k'},
        {"compiler", required_argument, NULL, 'C'},
        {"script", required_argument, NULL, 'S'},
        {"node", required_argument, NULL, 'N'},
        {"wasm-interp", required_argument, NULL, 'I'},
        {"wasm-validate", required_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case 's': d->seed = strtoull(optarg, NULL, 0); break;
        case 'n': d->count = strtoull(optarg, NULL, 0); break;
        case 'g': d->generated = true; break;
        case 'm': d->mutated = true; break;
        case 'j': d->jobs = (unsigned)strtoul(optarg, NULL, 10); break;
        case 'c':
            if (!corpus_find(optarg, &d->corpus))
                return false;
            break;
        case 'k': d->keep = optarg; break;
        case 'C': d->compiler = optarg; break;
        case 'S': d->oracle.script = optarg; break;
        case 'N': d->oracle.node = optarg; break;
        case 'I': d->oracle.interpreter = optarg; break;
        case 'V': d->oracle.validator = optarg; break;
        case 'h': fputs(usage, stdout); exit(0);
        default: return false;
        }
    }
    if (!d->generated && !d->mutated)
        d->generated = d->mutated = true;
    return optind == argc && d->jobs >= 1 && d->jobs <= 256;
}

int main(int argc, char **argv)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    struct differential d = {
        .oracle = {"node", DIFFERENTIAL_SCRIPT, "wasm-interp", "wasm-validate"},
        .compiler = compiler_beside(),
        .keep = ".",
        .seed = 1,
        .count = 100,
        .jobs = processors > 0 ? (unsigned)processors : 1,
    };
    if (!options_parse(argc, argv, &d)) {
        fputs(usage, stderr);
        return 2;
    }
    return differential_run(&d);
}
