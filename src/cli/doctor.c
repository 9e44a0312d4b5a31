/* `atoll doctor`: runs every check of doctor_checks.c and says what to do about what is wrong. */
#include "cli/doctor_checks.h"
#include "cli/options.h"
#include "cli/report.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const state_names[] = {
    [FINDING_GOOD] = "good", [FINDING_LACKING] = "lacking", [FINDING_BROKEN] = "broken"};

static void finding_print(const char *name, const struct finding *finding)
{
    static const char *const marks[] = {
        [FINDING_GOOD] = "ok  ", [FINDING_LACKING] = "--  ", [FINDING_BROKEN] = "!!  "};
    printf("%s%-18s%s\n", marks[finding->state], name, finding->found);
    if (finding->state != FINDING_GOOD && finding->advice[0])
        printf("%24s%s\n", "-> ", finding->advice);
}

static cJSON *finding_to_json(const char *name, const struct finding *finding)
{
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "check", name);
    cJSON_AddStringToObject(object, "state", state_names[finding->state]);
    cJSON_AddStringToObject(object, "found", finding->found);
    if (finding->state != FINDING_GOOD && finding->advice[0])
        cJSON_AddStringToObject(object, "advice", finding->advice);
    return object;
}

static int doctor_examine(bool json)
{
    bool broken = false;
    cJSON *list = json ? cJSON_CreateArray() : NULL;
    for (size_t i = 0; i < doctor_check_count; i++) {
        struct finding finding = {.state = FINDING_GOOD};
        doctor_checks[i].examine(&finding);
        broken |= finding.state == FINDING_BROKEN;
        if (json)
            cJSON_AddItemToArray(list, finding_to_json(doctor_checks[i].name, &finding));
        else
            finding_print(doctor_checks[i].name, &finding);
    }
    if (!json) {
        puts(broken ? "\nAtoll does not work here until what is marked !! is mended."
                    : "\nAtoll works here.");
        return broken ? EXIT_NEGATIVE : EXIT_OK;
    }
    cJSON *object = cJSON_CreateObject();
    cJSON_AddBoolToObject(object, "works", !broken);
    cJSON_AddItemToObject(object, "checks", list);
    int code = json_print(object, false);
    return code != EXIT_OK ? code : broken ? EXIT_NEGATIVE : EXIT_OK;
}

static int doctor_run(int argc, char **argv)
{
    bool json = false;
    const struct option_spec options[] = {
        {"json", 0, OPTION_FLAG, NULL, "print one JSON object", &json, NULL},
    };
    struct text_list operands = {0};
    enum options_outcome outcome =
        options_parse(&command_doctor, options, 1, argc, argv, 0, 0, &operands);
    free(operands.items);
    if (outcome != OPTIONS_GO)
        return outcome == OPTIONS_HELP ? EXIT_OK : EXIT_USAGE;
    return doctor_examine(json);
}

const struct command command_doctor = {
    .name = "doctor",
    .usage = "[--json]",
    .summary = "check whether this machine has what Atoll needs",
    .description =
        "Tries what Atoll depends on: processor, kernel, limits, directories, the compiler, and\n"
        "at last a small module from bytes to result. Marks: ok, -- (something works less well\n"
        "or not at all, Atoll does), !! (Atoll cannot work). Each finding says what to do.\n"
        "\n"
        "Exit code: 0, or\n"
        "  1    something is marked !!\n"
        "  2    the command line is wrong",
    .run = doctor_run,
};
