/* `atoll compile`: fills the cache ahead of time, or writes an artefact to a file. */
#include "cli/module.h"
#include "cli/options.h"
#include "cli/report.h"
#include "engine/cpu.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>

struct compile_command {
    struct module_request module;
    const char *output;
    bool json;
};

static cJSON *summary_to_json(const struct artefact *artefact, bool cached, double seconds)
{
    char id[2 * HASH_LEN + 1];
    hash_hex(artefact->id, id);
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "artefact", id);
    hash_hex(artefact->wasm_sha256, id);
    cJSON_AddStringToObject(object, "module_sha256", id);
    cJSON_AddStringToObject(object, "tier", tier_name(artefact->options.tier));
    cJSON_AddStringToObject(object, "mode", mode_name(artefact->options.mode));
    cJSON_AddStringToObject(object, "cpu", cpu_level_name(artefact->options.cpu));
    cJSON_AddBoolToObject(object, "fuel", artefact->options.fuel);
    cJSON_AddBoolToObject(object, "deterministic", artefact->options.deterministic);
    cJSON_AddNumberToObject(object, "code_bytes", artefact->code_size);
    cJSON_AddNumberToObject(object, "data_bytes", (double)artefact->data_populated);
    cJSON_AddBoolToObject(object, "cached", cached);
    cJSON_AddNumberToObject(object, "seconds", seconds);
    return object;
}

static int summary_print(const struct compile_command *c, const struct artefact *artefact,
                         bool cached, double seconds)
{
    if (c->json)
        return json_print(summary_to_json(artefact, cached, seconds), false);
    char id[2 * HASH_LEN + 1];
    hash_hex(artefact->id, id);
    printf("%s: %s, %s, %s, %u bytes of code, artefact %.16s, %s %.2f s\n", c->module.path,
           tier_name(artefact->options.tier), mode_name(artefact->options.mode),
           cpu_level_name(artefact->options.cpu), artefact->code_size, id,
           cached ? "from the cache in" : "compiled in", seconds);
    return EXIT_OK;
}

static int module_to_artefact(const struct compile_command *c)
{
    struct error e;
    struct artefact *artefact = NULL;
    bool cached;
    int64_t began = clock_monotonic_ns();
    int result = module_load(&c->module, &artefact, &cached, &e);
    double seconds = (double)(clock_monotonic_ns() - began) / 1e9;
    if (result == 0 && c->output)
        result = artefact_save(artefact, c->output, &e);
    if (result == 0) {
        result = summary_print(c, artefact, cached, seconds);
    } else {
        if (c->json)
            json_print(error_to_json(&e), true);
        else
            report_error(&e);
        result = exit_code_of(&e);
    }
    artefact_release(artefact);
    return result;
}

static int compile_run(int argc, char **argv)
{
    struct compile_command c = {.module = {.tier = CHOOSE_OPT, .cpu = CPU_CHOICE_DEFAULT}};
    int tier = 0;
    static const char *const tiers[] = {"opt", "quick", NULL};
    const struct option_spec options[] = {
        {"output", 'o', OPTION_TEXT, "FILE",
         "write the artefact to FILE as well; it is good on this\nmachine, for this user only",
         &c.output, NULL},
        {"tier", 0, OPTION_CHOICE, NULL, "opt (default) makes fast code, quick makes it soon",
         &tier, tiers},
        {"mode", 0, OPTION_CHOICE, NULL, MODE_HELP, &c.module.mode, mode_choices},
        {"cpu", 0, OPTION_CHOICE, NULL, CPU_HELP, &c.module.cpu, cpu_choices},
        {"fuel", 0, OPTION_FLAG, NULL, "count operations, for `atoll run --fuel`", &c.module.fuel,
         NULL},
        {"deterministic", 0, OPTION_FLAG, NULL, DETERMINISTIC_HELP, &c.module.deterministic, NULL},
        {"no-cache", 0, OPTION_FLAG, NULL, "do not look into the cache and keep nothing in it",
         &c.module.no_cache, NULL},
        {"json", 0, OPTION_FLAG, NULL, "print the result as one JSON object", &c.json, NULL},
    };
    struct text_list operands = {0};
    int code = EXIT_USAGE;
    switch (options_parse(&command_compile, options, sizeof options / sizeof options[0], argc, argv,
                          1, 1, &operands)) {
    case OPTIONS_HELP: code = EXIT_OK; break;
    case OPTIONS_BAD: break;
    case OPTIONS_GO:
        c.module.path = operands.items[0];
        c.module.tier = tier == 0 ? CHOOSE_OPT : CHOOSE_QUICK;
        code = file_readable(c.module.path) ? module_to_artefact(&c) : EXIT_NO_FILE;
    }
    free(operands.items);
    return code;
}

const struct command command_compile = {
    .name = "compile",
    .usage = "[OPTIONS] FILE.wasm",
    .summary = "compile a module into the cache",
    .description =
        "Compiles FILE.wasm to native code and keeps it in the cache, where `atoll run` with the\n"
        "same options finds it.\n"
        "\n"
        "Exit code: 0, or\n"
        "  2    the command line is wrong\n"
        "  125  Atoll or the system failed\n"
        "  126  the module was refused\n"
        "  127  FILE.wasm cannot be read",
    .run = compile_run,
};
