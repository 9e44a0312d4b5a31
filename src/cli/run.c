/* `atoll run`: compiles a module through the cache, gives it a WASI world, and runs it. */
#include "cli/module.h"
#include "cli/program.h"
#include "cli/report.h"
#include "cli/value.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct run_command {
    struct program program;
    struct module_request module;
    struct text_list env;
    const char *invoke;
    uint64_t memory_bytes, stack_bytes, fuel;
    struct text_list operands; /* the file, then the guest's arguments */
    struct artefact *artefact;
};

static void exports_print(const struct wasm_module *module)
{
    for (uint32_t i = 0; i < module->export_count; i++) {
        const struct wasm_export *export = &module->exports[i];
        if (export->kind != WASM_KIND_FUNC)
            continue;
        cJSON *name = json_text(module->bytes + export->name.offset, export->name.len);
        fprintf(stderr, "  %s\n", name ? name->valuestring : "?");
        cJSON_Delete(name);
    }
}

/* Finds what is to be called: what --invoke names, else _start. */
static int target_find(struct run_command *c)
{
    struct program *p = &c->program;
    const char *name = c->invoke ? c->invoke : "_start";
    if (instance_export(p->guest.instance, name, strlen(name), &p->call.function) !=
        WASM_KIND_FUNC) {
        fprintf(stderr, "atoll: %s exports no function %s%s; it exports these:\n", c->module.path,
                name, c->invoke ? "" : " (choose another with --invoke)");
        exports_print(&c->artefact->module);
        return EXIT_REFUSED;
    }
    p->call.print_results = c->invoke != NULL;
    int code = program_prepare_call(p);
    if (code == EXIT_OK && !c->invoke && (p->signature.param_count || p->signature.result_count)) {
        fprintf(stderr, "atoll: %s: its _start takes or returns values, so it is no WASI program\n",
                c->module.path);
        return EXIT_REFUSED;
    }
    return code;
}

static int arguments_parse(struct run_command *c)
{
    struct program *p = &c->program;
    struct error e;
    if (!c->invoke)
        return EXIT_OK;
    if (c->operands.count - 1 != p->signature.param_count)
        return usage_error(p->command, "%s takes %u arguments, not %zu.", c->invoke,
                           p->signature.param_count, c->operands.count - 1);
    for (uint32_t i = 0; i < p->signature.param_count; i++) {
        if (value_parse(p->guest.arena, p->signature.params[i], c->operands.items[1 + i],
                        &p->slots[i], &e) < 0)
            return usage_error(p->command, "argument %u: %s.", i + 1, e.text);
    }
    return EXIT_OK;
}

/* A reactor's constructor must have run before its functions are called. */
static int reactor_initialize(struct run_command *c, struct error *e)
{
    static const char name[] = "_initialize";
    struct program *p = &c->program;
    uint32_t index;
    union host_slot none = {.u64 = 0};
    if (!c->invoke || strcmp(c->invoke, name) == 0 ||
        instance_export(p->guest.instance, name, sizeof name - 1, &index) != WASM_KIND_FUNC)
        return 0;
    struct wasm_signature signature = wasm_function_signature(&c->artefact->module, index);
    if (signature.param_count || signature.result_count)
        return 0;
    return guest_initialize(&p->guest, index, &none, p->watch, &p->result, &p->end, e);
}

/* Start function, constructor, then what was asked for. */
static int program_run(struct run_command *c, struct error *e)
{
    struct program *p = &c->program;
    int failed = program_begin(p, e);
    if (failed == 0)
        failed = guest_start(&p->guest, p->watch, &p->result, &p->end, e);
    if (failed == 0 && program_went_well(p))
        failed = reactor_initialize(c, e);
    if (failed == 0 && program_went_well(p)) {
        failed =
            guest_call(&p->guest, p->call.function, p->slots, p->watch, &p->result, &p->end, e);
        if (failed == 0)
            failed = program_settle(p, e);
    }
    return failed;
}

static int module_run(struct run_command *c)
{
    struct error e;
    struct program *p = &c->program;
    struct wasi_config config = WASI_CONFIG;
    config.args = c->operands.items;
    config.arg_count = (uint32_t)c->operands.count;
    config.env = c->env.items;
    config.env_count = (uint32_t)c->env.count;
    config.preopens = p->preopens;
    config.preopen_count = (uint32_t)p->dirs.count;
    const struct arena_limits limits = {.memory_bytes = c->memory_bytes,
                                        .stack_bytes = c->stack_bytes,
                                        .no_window = c->memory_bytes > WINDOW_START};
    int failed = module_load(&c->module, &c->artefact, &p->cached, &e);
    if (failed == 0)
        failed = guest_create(c->artefact, &config, &limits, &p->guest, &e);
    if (failed < 0)
        return program_report_failure(p, &e);
    int code = target_find(c);
    if (code == EXIT_OK)
        code = arguments_parse(c);
    if (code != EXIT_OK)
        return code;
    if (c->module.fuel)
        arena_fuel_set(p->guest.arena, (int64_t)c->fuel);
    return program_run(c, &e) < 0 ? program_report_failure(p, &e) : program_report(p);
}

/* Limits that were given, against what can be; 0 for those that were not: the default. */
static int limits_check(struct run_command *c)
{
    const struct command *command = c->program.command;
    c->module.fuel = c->fuel != COUNT_NOT_GIVEN;
    if (c->module.fuel && (c->fuel == 0 || c->fuel > INT64_MAX))
        return usage_error(command, "--fuel can be 1 to %lld.", (long long)INT64_MAX);
    if (c->memory_bytes == COUNT_NOT_GIVEN)
        c->memory_bytes = 0;
    else if (c->memory_bytes < WASM_PAGE || c->memory_bytes > UINT64_C(1) << 32)
        return usage_error(command, "--mem-max can be 64KiB to 4GiB.");
    if (c->stack_bytes == COUNT_NOT_GIVEN)
        c->stack_bytes = 0;
    else if (c->stack_bytes < ARENA_STACK_MIN || c->stack_bytes > ARENA_STACK_MAX)
        return usage_error(command, "--stack can be %lluKiB to %lluMiB.", ARENA_STACK_MIN >> 10,
                           ARENA_STACK_MAX >> 20);
    return EXIT_OK;
}

static int options_check(struct run_command *c)
{
    const struct command *command = c->program.command;
    int code = limits_check(c);
    if (code != EXIT_OK)
        return code;
    if (c->invoke && !*c->invoke)
        return usage_error(command, "--invoke takes the name of an export, not \"\".");
    for (size_t i = 0; i < c->env.count; i++) {
        if (!strchr(c->env.items[i], '=') || c->env.items[i][0] == '=')
            return usage_error(command, "--env takes NAME=VALUE, not \"%s\".", c->env.items[i]);
    }
    c->module.path = c->operands.items[0];
    return program_options_check(&c->program);
}

static int run_run(int argc, char **argv)
{
    struct run_command c = {.program = PROGRAM_OF(&command_run),
                            .module = {.cpu = CPU_CHOICE_DEFAULT},
                            .memory_bytes = COUNT_NOT_GIVEN,
                            .stack_bytes = COUNT_NOT_GIVEN,
                            .fuel = COUNT_NOT_GIVEN};
    const struct option_spec options[] = {
        PROGRAM_OPTIONS(c.program),
        {"env", 0, OPTION_LIST, "NAME=VALUE", "set a variable of its environment; may be repeated",
         &c.env, NULL},
        {"invoke", 0, OPTION_TEXT, "FUNCTION",
         "call this export with ARGUMENTS and print its results,\n"
         "one per line, instead of _start",
         &c.invoke, NULL},
        {"mem-max", 0, OPTION_SIZE, "SIZE", "its memory cannot grow beyond this (512MiB)",
         &c.memory_bytes, NULL},
        {"stack", 0, OPTION_SIZE, "SIZE", "its native stack (1MiB; 64KiB to 64MiB)", &c.stack_bytes,
         NULL},
        {"fuel", 0, OPTION_COUNT, "N", "let it execute N WebAssembly operations at most", &c.fuel,
         NULL},
        {"mode", 0, OPTION_CHOICE, NULL, MODE_HELP, &c.module.mode, mode_choices},
        {"tier", 0, OPTION_CHOICE, NULL,
         "auto (default): opt, but large modules start at quick\n"
         "while opt is compiled for the next start",
         &c.module.tier, tier_choices},
        {"cpu", 0, OPTION_CHOICE, NULL, CPU_HELP, &c.module.cpu, cpu_choices},
        {"deterministic", 0, OPTION_FLAG, NULL, DETERMINISTIC_HELP, &c.module.deterministic, NULL},
        {"no-cache", 0, OPTION_FLAG, NULL, "compile anew and keep nothing", &c.module.no_cache,
         NULL},
    };
    int code = EXIT_USAGE;
    switch (options_parse(&command_run, options, sizeof options / sizeof options[0], argc, argv, 1,
                          SIZE_MAX, &c.operands)) {
    case OPTIONS_HELP: code = EXIT_OK; break;
    case OPTIONS_BAD: break;
    case OPTIONS_GO:
        code = options_check(&c);
        if (code == EXIT_OK)
            code = file_readable(c.module.path) ? module_run(&c) : EXIT_NO_FILE;
    }
    program_free(&c.program);
    artefact_release(c.artefact);
    free(c.env.items);
    free(c.operands.items);
    return code;
}

const struct command command_run = {
    .name = "run",
    .usage = "[OPTIONS] FILE.wasm [--] [ARGUMENTS]",
    .summary = "run a WebAssembly program",
    .description =
        "Compiles FILE.wasm to native code (or takes it from the cache), and runs it. The\n"
        "program sees its ARGUMENTS, the variables and directories given here, and standard\n"
        "input, output and error; nothing else.\n"
        "\n"
        "Exit code: the program's own, or\n"
        "  2    the command line is wrong\n"
        "  123  it was stopped and written to the file of --checkpoint\n"
        "  124  --timeout passed\n"
        "  125  Atoll or the system failed\n"
        "  126  the module was refused, or imports or lacks something\n"
        "  127  FILE.wasm cannot be read\n"
        "  134  the program trapped; the trap and the calls that led to it are printed",
    .run = run_run,
};
