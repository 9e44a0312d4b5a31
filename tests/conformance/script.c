/* See script.h. */
#define _GNU_SOURCE /* memmem */
#include "script.h"

#include "base/file.h"
#include "engine/wasm_read.h"
#include "engine/wasm_validate.h"
#include "value.h"
#include "world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SCRIPT_MAX_BYTES    (64u << 20)
#define SCRIPT_COMMAND_SECS 120u
#define SCRIPT_SLOTS        1000u

struct script {
    const char *directory, *name;
    struct buffer text;
    cJSON *root;
    const cJSON *commands;
    /* Byte 0 of a name would end the string that cJSON makes of it, so it travels as this character
     * (UTF-8), which occurs nowhere else in the text. */
    char zero[4];
    bool tail_calls; /* some module uses them, so all are compiled for them */
};

/* Everything a command needs to run. */
struct script_run {
    struct script *script;
    struct world *world;
    const struct script_configuration *configuration;
    struct script_progress *progress;
    const cJSON *command;
    bool first; /* of the configurations */
};

static const char *command_text(const cJSON *command, const char *field)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(command, field));
    return text != NULL ? text : "";
}

/* The bytes of a name, which the owner frees. */
static struct world_name name_decode(const struct script *s, const char *text)
{
    uint8_t *out = malloc(strlen(text) + 1);
    size_t len = 0;
    if (out == NULL)
        return (struct world_name){NULL, 0};
    while (*text != '\0') {
        bool zero = strncmp(text, s->zero, strlen(s->zero)) == 0;
        out[len++] = zero ? 0 : (uint8_t)*text;
        text += zero ? strlen(s->zero) : 1;
    }
    return (struct world_name){out, len};
}

static struct world_name command_name(const struct script_run *r, const cJSON *object,
                                      const char *field)
{
    return name_decode(r->script, command_text(object, field));
}

/* ---- outcomes ---- */

__attribute__((format(printf, 2, 3))) static void run_fail(struct script_run *r, const char *format,
                                                           ...)
{
    char line[1600];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    char field[64];
    snprintf(field, sizeof field, "%s",
             command_text(cJSON_GetObjectItemCaseSensitive(r->command, "action"), "field"));
    for (char *at = field; *at != '\0'; at++)
        if ((unsigned char)*at < ' ')
            *at = '?';
    printf("%s:%u: [%s] %s %s: %s\n", r->script->name, r->progress->line, r->configuration->name,
           command_text(r->command, "type"), field, line);
    fflush(stdout);
    r->progress->failed++;
}

static void run_pass(struct script_run *r)
{
    r->progress->passed++;
}

/* ---- modules ---- */

static int module_read(struct script *s, const char *file, struct buffer *out, struct error *e)
{
    char path[4096];
    if (snprintf(path, sizeof path, "%s/%s", s->directory, file) >= (int)sizeof path)
        return error_set(e, ATOLL_ESIZE, "the path of '%s' is too long", file);
    return file_read(path, SCRIPT_MAX_BYTES, out, e);
}

/* The module of the command through decoding, linking and start. */
static int command_instantiate(struct script_run *r, struct world_name name, struct error *e)
{
    struct buffer wasm = {0};
    int code = module_read(r->script, command_text(r->command, "filename"), &wasm, e);
    if (code == 0)
        code = world_instantiate(r->world, wasm.data, wasm.len, name, e);
    buffer_free(&wasm);
    return code;
}

static void command_module(struct script_run *r)
{
    struct error e;
    struct world_name name = command_name(r, r->command, "name");
    if (command_instantiate(r, name, &e) != 0)
        run_fail(r, "expected an instance, got %s: %s", atoll_error_name(e.code), e.text);
    else
        run_pass(r);
    free((void *)name.bytes);
}

static void command_register(struct script_run *r)
{
    struct error e;
    struct world_name name = command_name(r, r->command, "name"),
                      as = command_name(r, r->command, "as");
    if (world_register(r->world, name, as, &e) != 0)
        run_fail(r, "%s", e.text);
    else
        run_pass(r);
    free((void *)name.bytes);
    free((void *)as.bytes);
}

/* Whether a refusal is of the expected class. An encoding of a later proposal is refused as
 * unsupported, whatever the suite calls it. What the suite calls invalid may be malformed once it
 * is bytes: the converter leaves out sections (a data count, say) that the text would imply. */
static bool refusal_matches(int expected, int code)
{
    if (code == -expected || code == -ATOLL_EUNSUPPORTED)
        return true;
    return expected == ATOLL_EINVALID && code == -ATOLL_EMALFORMED;
}

/* The threads proposal's files are older than core 2.0, which allows what they call invalid here.
 */
static bool command_superseded(const struct script_run *r)
{
    return strcmp(command_text(r->command, "text"), "multiple tables") == 0;
}

/* assert_invalid, assert_malformed: decoding or validation refuses, with that class of error. */
static void command_refused(struct script_run *r, int expected)
{
    struct error e = {0};
    struct buffer wasm = {0};
    struct wasm_module m;
    if (command_superseded(r)) {
        printf("%s:%u: skipped: core 2.0 allows several tables\n", r->script->name,
               r->progress->line);
        r->progress->skipped++;
        return;
    }
    if (module_read(r->script, command_text(r->command, "filename"), &wasm, &e) != 0) {
        run_fail(r, "%s", e.text);
        return;
    }
    int code = wasm_read(wasm.data, wasm.len, &m, &e);
    if (code == 0) {
        code = wasm_validate(&m, &e);
        wasm_module_free(&m);
    }
    buffer_free(&wasm);
    if (refusal_matches(expected, code))
        run_pass(r);
    else
        run_fail(r, "expected %s (%s), got %s%s%s", atoll_error_name(expected),
                 command_text(r->command, "text"), code == 0 ? "no error" : atoll_error_name(code),
                 code == 0 ? "" : ": ", code == 0 ? "" : e.text);
}

/* assert_unlinkable, assert_uninstantiable: refused while linking, or trapped while starting, for
 * the reason the script gives. */
static void command_not_instantiated(struct script_run *r, int expected)
{
    struct error e = {0};
    const char *text = command_text(r->command, "text");
    int code = command_instantiate(r, (struct world_name){NULL, 0}, &e);
    if (code == -expected && strstr(e.text, text) != NULL)
        run_pass(r);
    else
        run_fail(r, "expected %s: %s; got %s: %s", atoll_error_name(expected), text,
                 code == 0 ? "an instance" : atoll_error_name(code), code == 0 ? "" : e.text);
}

/* ---- actions ---- */

struct action {
    const cJSON *json;
    struct instance *instance;
    struct arena *arena;
    const struct wasm_module *module;
    struct world_name field;
    bool get; /* of a global, else a call */
    uint32_t index;
    uint8_t global_type;
    struct wasm_signature signature; /* of a call */
    union host_slot slots[SCRIPT_SLOTS];
    struct run_result run;
};

/* Large; a script's process has one thread. */
static struct action current_action;

static int action_find(struct script_run *r, struct action *a, struct error *e)
{
    a->json = cJSON_GetObjectItemCaseSensitive(r->command, "action");
    a->get = strcmp(command_text(a->json, "type"), "get") == 0;
    struct world_name module = command_name(r, a->json, "module");
    a->instance = world_find(r->world, module);
    free((void *)module.bytes);
    if (a->instance == NULL)
        return error_set(e, ATOLL_ENOENT, "there is no such instance");
    a->arena = instance_arena(a->instance);
    a->module = &instance_artefact(a->instance)->module;
    int kind = instance_export(a->instance, (const char *)a->field.bytes, a->field.len, &a->index);
    if (kind != (a->get ? WASM_KIND_GLOBAL : WASM_KIND_FUNC))
        return error_set(e, ATOLL_ENOENT, "there is no such export (kind %d)", kind);
    if (a->get)
        a->global_type = a->module->globals[a->index].type;
    else
        a->signature = wasm_function_signature(a->module, a->index);
    return 0;
}

static int action_arguments(struct action *a, struct error *e)
{
    const cJSON *argument, *arguments = cJSON_GetObjectItemCaseSensitive(a->json, "args");
    uint32_t i = 0;
    if ((uint32_t)cJSON_GetArraySize(arguments) != a->signature.param_count)
        return error_set(e, ATOLL_EINVAL, "the script passes %d arguments to %u parameters",
                         cJSON_GetArraySize(arguments), a->signature.param_count);
    cJSON_ArrayForEach(argument, arguments)
    {
        if (value_type(argument) != a->signature.params[i])
            return error_set(e, ATOLL_EINVAL, "argument %u is of another type", i);
        int code = value_parse(argument, a->arena, &a->slots[i++], e);
        if (code != 0)
            return code;
    }
    return 0;
}

/* Runs the command's action to its end. 0: a->run says how it ended (RUN_DONE for a get). */
static int action_run(struct script_run *r, struct action *a, struct error *e)
{
    int code = action_find(r, a, e);
    if (code != 0)
        return code;
    if (a->get) {
        instance_global(a->instance, a->index, a->slots[0].bytes);
        a->run.status = RUN_DONE;
        return 0;
    }
    code = action_arguments(a, e);
    if (code != 0)
        return code;
    code = instance_invoke(a->instance, a->index, a->slots, &a->run, e);
    while (code == 0 && a->run.status == RUN_PARKED) {
        if (arena_wait(a->arena) != 0)
            return error_set(e, ATOLL_ECANCELED, "waiting for a parked call was interrupted");
        code = arena_resume(a->arena, a->slots, &a->run, e);
    }
    return code;
}

static const char *run_describe(const struct run_result *run)
{
    switch (run->status) {
    case RUN_DONE: return "a normal end";
    case RUN_TRAP: return trap_kind_name(run->trap.kind);
    case RUN_EXIT: return "an exit";
    case RUN_INTERRUPTED: return "an interrupt";
    case RUN_PARKED: return "a parked call";
    }
    return "an unknown run status";
}

static uint32_t action_result_count(const struct action *a)
{
    return a->get ? 1 : a->signature.result_count;
}

static uint8_t action_result_type(const struct action *a, uint32_t i)
{
    return a->get ? a->global_type : a->signature.results[i];
}

static void action_check_results(struct script_run *r, struct action *a)
{
    const cJSON *expected, *list = cJSON_GetObjectItemCaseSensitive(r->command, "expected");
    uint32_t i = 0, count = action_result_count(a);
    if ((uint32_t)cJSON_GetArraySize(list) != count) {
        run_fail(r, "expected %d results, got %u", cJSON_GetArraySize(list), count);
        return;
    }
    cJSON_ArrayForEach(expected, list)
    {
        if (value_type(expected) != action_result_type(a, i) ||
            !value_matches(expected, a->arena, &a->slots[i])) {
            char want[256], got[128];
            value_describe(expected, want, sizeof want);
            value_print(action_result_type(a, i), a->arena, &a->slots[i], got, sizeof got);
            run_fail(r, "result %u: expected %s, got %s", i, want, got);
            return;
        }
        i++;
    }
    run_pass(r);
}

/* The reference interpreter demands that the message begin with the script's text; it ends some
 * messages with an index that scripts then name ("uninitialized element 2"). */
static bool trap_text_matches(const char *expected, const char *actual)
{
    size_t shorter = strlen(expected) < strlen(actual) ? strlen(expected) : strlen(actual);
    return shorter > 0 && strncmp(expected, actual, shorter) == 0;
}

static void action_check_trap(struct script_run *r, const struct action *a)
{
    const char *text = command_text(r->command, "text");
    if (a->run.status == RUN_TRAP && trap_text_matches(text, trap_kind_name(a->run.trap.kind)))
        run_pass(r);
    else
        run_fail(r, "expected the trap %s, got %s%s%s", text, run_describe(&a->run),
                 a->run.status == RUN_TRAP ? ": " : "",
                 a->run.status == RUN_TRAP ? a->run.trap.message : "");
}

static void action_check_exhaustion(struct script_run *r, const struct action *a)
{
    if (a->run.status == RUN_TRAP && a->run.trap.kind == TRAP_STACK_EXHAUSTED)
        run_pass(r);
    else
        run_fail(r, "expected the stack to be exhausted, got %s", run_describe(&a->run));
}

static void command_action(struct script_run *r, const char *type)
{
    struct action *a = &current_action;
    struct error e = {0};
    memset(a, 0, sizeof *a);
    a->field = command_name(r, cJSON_GetObjectItemCaseSensitive(r->command, "action"), "field");
    int code = action_run(r, a, &e);
    free((void *)a->field.bytes);
    if (code != 0)
        run_fail(r, "%s: %s", atoll_error_name(code), e.text);
    else if (strcmp(type, "assert_trap") == 0)
        action_check_trap(r, a);
    else if (strcmp(type, "assert_exhaustion") == 0)
        action_check_exhaustion(r, a);
    else if (a->run.status != RUN_DONE)
        run_fail(r, "expected results, got %s%s%s", run_describe(&a->run),
                 a->run.status == RUN_TRAP ? ": " : "",
                 a->run.status == RUN_TRAP ? a->run.trap.message : "");
    else if (strcmp(type, "assert_return") == 0)
        action_check_results(r, a);
    else
        run_pass(r);
}

/* ---- the script ---- */

/* Whether the command concerns only decoding and validation. */
static bool command_is_static(const cJSON *command)
{
    const char *type = command_text(command, "type");
    return strcmp(type, "assert_malformed") == 0 || strcmp(type, "assert_invalid") == 0;
}

static void command_run(struct script_run *r)
{
    const char *type = command_text(r->command, "type");
    if (command_is_static(r->command) && !r->first)
        return;
    if (strcmp(command_text(r->command, "module_type"), "text") == 0)
        r->progress->skipped++; /* a module in the text format: nothing for a binary engine */
    else if (strcmp(type, "module") == 0)
        command_module(r);
    else if (strcmp(type, "register") == 0)
        command_register(r);
    else if (strcmp(type, "assert_malformed") == 0)
        command_refused(r, ATOLL_EMALFORMED);
    else if (strcmp(type, "assert_invalid") == 0)
        command_refused(r, ATOLL_EINVALID);
    else if (strcmp(type, "assert_unlinkable") == 0)
        command_not_instantiated(r, ATOLL_ELINK);
    else if (strcmp(type, "assert_uninstantiable") == 0)
        command_not_instantiated(r, ATOLL_ETRAP);
    else if (strcmp(type, "action") == 0 || strcmp(type, "assert_return") == 0 ||
             strcmp(type, "assert_trap") == 0 || strcmp(type, "assert_exhaustion") == 0)
        command_action(r, type);
    else
        run_fail(r, "no such command is known");
}

static void configuration_run(struct script *s, struct compiler *compiler,
                              const struct script_configuration *configuration, bool first,
                              struct script_progress *progress)
{
    struct compile_options options = {.tier = configuration->tier,
                                      .mode = configuration->mode,
                                      .cpu = CPU_V3,
                                      .tail_calls = s->tail_calls};
    struct script_run r = {.script = s,
                           .configuration = configuration,
                           .progress = progress,
                           .first = first,
                           .world = world_create(compiler, &options)};
    if (r.world == NULL) {
        fprintf(stderr, "%s: no memory to run it\n", s->name);
        return;
    }
    cJSON_ArrayForEach(r.command, s->commands)
    {
        const cJSON *line = cJSON_GetObjectItemCaseSensitive(r.command, "line");
        progress->line = line != NULL ? (uint32_t)line->valueint : 0;
        alarm(SCRIPT_COMMAND_SECS);
        command_run(&r);
    }
    alarm(0);
    world_destroy(r.world);
}

void script_run(struct script *s, struct compiler *compiler,
                const struct script_configuration *configurations, uint32_t count,
                struct script_progress *progress)
{
    const cJSON *command;
    cJSON_ArrayForEach(command, s->commands) progress->commands +=
        command_is_static(command) ? 1 : count;
    for (uint32_t i = 0; i < count; i++) {
        progress->configuration = i;
        configuration_run(s, compiler, &configurations[i], i == 0, progress);
    }
}

/* Tail calls change the calling convention, which all modules of an arena must share. */
static bool script_uses_tail_calls(struct script *s)
{
    const cJSON *command;
    bool uses = false;
    cJSON_ArrayForEach(command, s->commands)
    {
        struct buffer wasm = {0};
        struct wasm_module m;
        struct error e;
        if (command_is_static(command) ||
            cJSON_GetObjectItemCaseSensitive(command, "filename") == NULL)
            continue;
        if (module_read(s, command_text(command, "filename"), &wasm, &e) == 0 &&
            wasm_read(wasm.data, wasm.len, &m, &e) == 0) {
            uses = uses || (wasm_validate(&m, &e) == 0 && (m.features & WASM_FEATURE_TAIL_CALL));
            wasm_module_free(&m);
        }
        buffer_free(&wasm);
    }
    return uses;
}

/* Replaces every \\u0000 by a character of the private use area that the text does not have. */
static void zero_bytes_rename(struct script *s)
{
    for (unsigned low = 0; low < 64; low++) {
        snprintf(s->zero, sizeof s->zero, "\xee\x80%c", (char)(0x80 + low));
        if (memmem(s->text.data, s->text.len, s->zero, strlen(s->zero)) != NULL)
            continue;
        for (size_t i = 0; i + 6 <= s->text.len; i++) {
            char escape[8];
            snprintf(escape, sizeof escape, "\\ue0%02x", low);
            if (memcmp(s->text.data + i, "\\u0000", 6) == 0)
                memcpy(s->text.data + i, escape, 6);
        }
        return;
    }
}

int script_open(const char *directory, const char *name, struct script **out, struct error *e)
{
    struct script *s = calloc(1, sizeof *s);
    if (s == NULL)
        return error_set(e, ATOLL_ENOMEM, "no memory to read the script %s", name);
    s->directory = directory;
    s->name = name;
    int code = module_read(s, "out.json", &s->text, e);
    if (code == 0) {
        zero_bytes_rename(s);
        s->root = cJSON_ParseWithLength((const char *)s->text.data, s->text.len);
        s->commands = cJSON_GetObjectItemCaseSensitive(s->root, "commands");
        if (!cJSON_IsArray(s->commands))
            code = error_set(e, ATOLL_EINVAL, "%s: wast2json wrote no list of commands", name);
    }
    if (code != 0) {
        script_close(s);
        return code;
    }
    s->tail_calls = script_uses_tail_calls(s);
    *out = s;
    return 0;
}

void script_close(struct script *s)
{
    if (s == NULL)
        return;
    cJSON_Delete(s->root);
    buffer_free(&s->text);
    free(s);
}
