/* See subject.h. Used by differential.c. */
#include "subject.h"

#include "base/file.h"
#include "engine/instance.h"
#include "engine/wasm_read.h"
#include "engine/wasm_validate.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>

#define SUBJECT_MODULE_MAX (16u << 20)
#define SUBJECT_SLOTS      1000u
#define SUBJECT_PATIENCE   20000 /* microseconds for a damaged module's function */

const struct subject_configuration subject_configurations[SUBJECT_CONFIGURATIONS] = {
    {"exact-quick", MODE_EXACT, TIER_QUICK, false, LINK_PRIMARY},
    {"exact-opt", MODE_EXACT, TIER_OPT, false, LINK_PRIMARY},
    {"fast-quick", MODE_FAST, TIER_QUICK, true, LINK_PRIMARY},
    {"fast-opt", MODE_FAST, TIER_OPT, true, LINK_PRIMARY},
    {"linked-opt", MODE_EXACT, TIER_OPT, false, LINK_OTHER},
};

static const char *trap_class(enum trap_kind kind)
{
    switch (kind) {
    case TRAP_UNREACHABLE: return "unreachable";
    case TRAP_MEMORY_BOUNDS: return "memory";
    case TRAP_UNALIGNED_ATOMIC: return "unaligned";
    case TRAP_TABLE_BOUNDS:
    case TRAP_UNDEFINED_ELEMENT: return "table";
    case TRAP_UNINITIALIZED_ELEMENT:
    case TRAP_SIGNATURE: return "callee";
    case TRAP_DIVIDE_BY_ZERO: return "zero";
    case TRAP_INTEGER_OVERFLOW: return "overflow";
    case TRAP_BAD_CONVERSION: return "conversion";
    case TRAP_STACK_EXHAUSTED: return "exhausted";
    default: return trap_kind_name(kind);
    }
}

/* One module in one configuration, linked in an arena of its own. */
struct subject {
    struct arena *arena;
    struct instance *instance;
    const struct wasm_module *module;
    union host_slot slots[SUBJECT_SLOTS];
    struct run_result run;
};

/* Large; the process has one thread. */
static struct subject current;

static int subject_options(const uint8_t *wasm, size_t len,
                           const struct subject_configuration *configuration,
                           struct compile_options *out, struct error *e)
{
    struct wasm_module m;
    int code = wasm_read(wasm, len, &m, e);
    if (code != 0)
        return code;
    code = wasm_validate(&m, e);
    *out = (struct compile_options){
        .tier = configuration->tier,
        .mode = configuration->mode,
        .cpu = CPU_V3,
        .link = configuration->link,
        .tail_calls = (m.features & WASM_FEATURE_TAIL_CALL) != 0,
    };
    wasm_module_free(&m);
    return code;
}

/* Damaged modules may name imports that nobody has: then -ATOLL_ELINK. */
static int subject_open(struct subject *s, struct compiler *compiler, const uint8_t *wasm,
                        size_t len, const struct subject_configuration *configuration,
                        struct error *e)
{
    struct compile_options options;
    struct artefact *artefact = NULL;
    struct link_import *imports = NULL;
    s->arena = NULL;
    s->instance = NULL;
    int code = subject_options(wasm, len, configuration, &options, e);
    if (code == 0)
        code = compiler_load(compiler, wasm, len, &options, &artefact, NULL, e);
    if (code != 0)
        return code;
    imports = calloc(artefact->module.import_count + 1u, sizeof *imports);
    if (imports == NULL)
        code = error_set(e, ATOLL_ENOMEM, "no memory for the imports");
    if (code == 0)
        code = arena_create(SLOT_ANY, NULL, &s->arena, e);
    if (code == 0)
        code = instance_create(s->arena, artefact, imports, artefact->module.import_count,
                               &s->instance, e);
    free(imports);
    artefact_release(artefact);
    if (code == 0)
        s->module = &instance_artefact(s->instance)->module;
    return code;
}

static void subject_close(struct subject *s)
{
    if (s->arena != NULL)
        arena_destroy(s->arena);
    s->arena = NULL;
}

static void results_write(const struct subject *s, const struct wasm_signature *signature,
                          FILE *out)
{
    for (uint32_t i = 0; i < signature->result_count; i++) {
        if (signature->results[i] == WASM_I32)
            fprintf(out, " %u", s->slots[i].u32);
        else
            fprintf(out, " %lu", s->slots[i].u64);
    }
    fputc('\n', out);
}

static void export_run(struct subject *s, const struct wasm_export *export, FILE *out)
{
    struct error e = {0};
    struct wasm_signature signature = wasm_function_signature(s->module, export->index);
    memset(s->slots, 0, sizeof s->slots);
    int code = instance_invoke(s->instance, export->index, s->slots, &s->run, &e);
    fprintf(out, "%.*s", (int)export->name.len,
            (const char *)s->module->bytes + export->name.offset);
    if (code != 0)
        fprintf(out, " ! error: %s\n", e.text);
    else if (s->run.status == RUN_DONE)
        results_write(s, &signature, out);
    else if (s->run.status == RUN_TRAP)
        fprintf(out, " ! %s\n", trap_class(s->run.trap.kind));
    else
        fprintf(out, " ! run status %d\n", s->run.status);
    fflush(out);
}

void subject_run(struct compiler *compiler, const char *path, uint32_t n, FILE *transcript)
{
    struct error e = {0};
    struct buffer wasm = {0};
    struct subject *s = &current;
    int code = file_read(path, SUBJECT_MODULE_MAX, &wasm, &e);
    for (uint32_t i = 0; i < SUBJECT_CONFIGURATIONS; i++) {
        fprintf(transcript, "module %u %s\n", n, subject_configurations[i].name);
        fflush(transcript);
        if (code == 0)
            code = subject_open(s, compiler, wasm.data, wasm.len, &subject_configurations[i], &e);
        if (code != 0)
            fprintf(transcript, "start ! %s\n", e.text);
        for (uint32_t k = 0; code == 0 && k < s->module->export_count; k++)
            export_run(s, &s->module->exports[k], transcript);
        fputs("end\n", transcript);
        fflush(transcript);
        subject_close(s);
        code = 0;
    }
    buffer_free(&wasm);
}

/* ---- damaged modules ---- */

static void patience_ends(int signal)
{
    (void)signal;
    if (current.arena != NULL)
        arena_interrupt(current.arena);
}

/* The handler runs on the thread it interrupts, so all signals wait for its end: the one that
 * arena_interrupt raises must find the guest, not this handler. */
static void patience_install(void)
{
    struct sigaction action = {.sa_handler = patience_ends, .sa_flags = SA_ONSTACK | SA_RESTART};
    sigfillset(&action.sa_mask);
    sigaction(SIGALRM, &action, NULL);
}

static void patience_set(long microseconds)
{
    struct itimerval timer = {.it_value = {.tv_usec = microseconds}};
    setitimer(ITIMER_REAL, &timer, NULL);
}

/* Runs what was asked until it ends or patience does. False: the engine failed. */
static bool damaged_ended(struct subject *s, int code, const struct error *e, FILE *out, uint32_t n)
{
    patience_set(0);
    if (code != 0) {
        fprintf(out, "%u broken a call failed: %s\n", n, e->text);
        return false;
    }
    if (arena_suspended(s->arena))
        arena_abandon(s->arena);
    if (s->run.status == RUN_TRAP && s->run.trap.kind == TRAP_ENGINE) {
        fprintf(out, "%u broken %s\n", n, s->run.trap.message);
        return false;
    }
    return true;
}

static bool damaged_run(struct subject *s, FILE *out, uint32_t n)
{
    struct error e = {0};
    patience_set(SUBJECT_PATIENCE);
    if (!damaged_ended(s, instance_start(s->instance, &s->run, &e), &e, out, n))
        return false;
    for (uint32_t i = 0; i < s->module->export_count; i++) {
        const struct wasm_export *export = &s->module->exports[i];
        if (export->kind != WASM_KIND_FUNC)
            continue;
        memset(s->slots, 0, sizeof s->slots);
        patience_set(SUBJECT_PATIENCE);
        int code = instance_invoke(s->instance, export->index, s->slots, &s->run, &e);
        if (!damaged_ended(s, code, &e, out, n))
            return false;
    }
    return true;
}

static const char *verdict_word(int code)
{
    switch (code) {
    case 0: return "valid";
    case -ATOLL_EMALFORMED: return "malformed";
    case -ATOLL_EINVALID: return "invalid";
    case -ATOLL_ELIMIT: return "limit";
    case -ATOLL_EUNSUPPORTED: return "unsupported";
    default: return "broken";
    }
}

static int module_judge(const uint8_t *wasm, size_t len, struct error *e)
{
    struct wasm_module m;
    int code = wasm_read(wasm, len, &m, e);
    if (code != 0)
        return code;
    code = wasm_validate(&m, e);
    wasm_module_free(&m);
    return code;
}

/* Refusals that a valid module may meet later: no such import, too much memory, a segment outside.
 */
static bool refusal_is_fine(int code)
{
    return code == -ATOLL_ELINK || code == -ATOLL_ELIMIT || code == -ATOLL_ETRAP ||
           code == -ATOLL_ENOMEM;
}

void subject_judge(struct compiler *compiler, const char *path, uint32_t n, FILE *verdicts)
{
    struct error e = {0};
    struct buffer wasm = {0};
    struct subject *s = &current;
    patience_install();
    int code = file_read(path, SUBJECT_MODULE_MAX, &wasm, &e);
    if (code == 0)
        code = module_judge(wasm.data, wasm.len, &e);
    fprintf(verdicts, "%u %s %s\n", n, verdict_word(code), code == 0 ? "" : e.text);
    fflush(verdicts);
    if (code == 0) {
        code = subject_open(s, compiler, wasm.data, wasm.len,
                            &subject_configurations[n % SUBJECT_CONFIGURATIONS], &e);
        if (code != 0 && !refusal_is_fine(code))
            fprintf(verdicts, "%u broken %s\n", n, e.text);
        else if (code != 0 || damaged_run(s, verdicts, n))
            fprintf(verdicts, "%u done\n", n);
        subject_close(s);
        fflush(verdicts);
    }
    buffer_free(&wasm);
}
