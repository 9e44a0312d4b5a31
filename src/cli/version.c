/* `atoll version`: what this program is. */
#include "atoll/version.h"
#include "cli/options.h"
#include "cli/report.h"
#include "engine/cpu.h"

#include <stdio.h>
#include <stdlib.h>

static int version_print(bool json)
{
    if (!json) {
        printf("atoll %s (artefact format %d)\n", ATOLL_VERSION, ARTEFACT_FORMAT);
        return EXIT_OK;
    }
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "version", ATOLL_VERSION);
    cJSON_AddNumberToObject(object, "artefact_format", ARTEFACT_FORMAT);
    cJSON_AddStringToObject(object, "default_cpu", cpu_level_name(CPU_V3));
    return json_print(object, false);
}

static int version_run(int argc, char **argv)
{
    bool json = false;
    const struct option_spec options[] = {
        {"json", 0, OPTION_FLAG, NULL, "print one JSON object", &json, NULL},
    };
    struct text_list operands = {0};
    enum options_outcome outcome =
        options_parse(&command_version, options, 1, argc, argv, 0, 0, &operands);
    free(operands.items);
    if (outcome != OPTIONS_GO)
        return outcome == OPTIONS_HELP ? EXIT_OK : EXIT_USAGE;
    return version_print(json);
}

const struct command command_version = {
    .name = "version",
    .usage = "[--json]",
    .summary = "print the version",
    .description = "Prints the version of Atoll and of the artefacts it makes.",
    .run = version_run,
};
