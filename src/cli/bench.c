/* `atoll bench`: measures a node on this machine. */
#include "cli/bench/bench.h"
#include "cli/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    void (*run)(struct bench *);
} topics[] = {
    {"cold", bench_cold},           {"chain", bench_chain},     {"http", bench_http},
    {"state", bench_state},         {"density", bench_density}, {"training", bench_training},
    {"inference", bench_inference}, {"churn", bench_churn},     {"deadline", bench_deadline},
};
#define TOPIC_COUNT (sizeof topics / sizeof topics[0])

static bool topic_known(const char *name)
{
    for (size_t i = 0; i < TOPIC_COUNT; i++)
        if (strcmp(name, topics[i].name) == 0)
            return true;
    return strcmp(name, "all") == 0;
}

static int bench_measure(struct bench *b, const struct text_list *wanted, bool json)
{
    for (size_t i = 0; i < wanted->count; i++)
        if (!topic_known(wanted->items[i]))
            return usage_error(&command_bench, "there is no topic %s", wanted->items[i]);
    b->figures = figures_create();
    if (!json) {
        environment_print();
        environment_verdict();
        fflush(stdout);
    }
    for (size_t i = 0; i < TOPIC_COUNT; i++) {
        bool run = false;
        for (size_t k = 0; k < wanted->count; k++)
            run |= strcmp(wanted->items[k], topics[i].name) == 0 ||
                   strcmp(wanted->items[k], "all") == 0;
        if (run)
            topics[i].run(b);
    }
    if (json)
        figures_print_json(b->figures);
    else
        figures_print(b->figures);
    figures_free(b->figures);
    return EXIT_OK;
}

static int bench_run(int argc, char **argv)
{
    struct bench b = {0};
    uint64_t seconds = 2;
    bool json = false;
    const struct option_spec options[] = {
        {"seconds", 0, OPTION_COUNT, "N", "how long each round of load lasts (default 2)", &seconds,
         NULL},
        {"full", 0, OPTION_FLAG, NULL, "the largest sizes; needs minutes and gigabytes", &b.full,
         NULL},
        {"json", 0, OPTION_FLAG, NULL, "print JSON", &json, NULL},
    };
    struct text_list operands = {0};
    enum options_outcome outcome =
        options_parse(&command_bench, options, sizeof options / sizeof options[0], argc, argv, 1,
                      TOPIC_COUNT, &operands);
    b.seconds = (double)(seconds < 600 ? seconds : 600);
    int status = outcome == OPTIONS_GO     ? bench_measure(&b, &operands, json)
                 : outcome == OPTIONS_HELP ? EXIT_OK
                                           : EXIT_USAGE;
    free(operands.items);
    return status;
}

const struct command command_bench = {
    .name = "bench",
    .usage = "[OPTIONS] cold|chain|http|state|density|training|inference|churn|deadline|all ...",
    .summary = "measure a node on this machine",
    .description =
        "Starts a node on an empty directory and a free port, deploys small functions to\n"
        "it, and measures; prints one table with bars, peers and spreads.\n"
        "\n"
        "  cold       starting a function: hot, restored, cold; beside processes\n"
        "  chain      functions that call functions; deadlines\n"
        "  http       calls a second over HTTP; beside nginx and node\n"
        "  state      attaching to state, sharing it, updates that must not be lost\n"
        "  density    memory of functions that are there and do nothing\n"
        "  training   many writers of one model in state; beside a plain program\n"
        "  inference  latency when some calls start cold\n"
        "  churn      more functions than may have instances\n"
        "  deadline   how late an endless loop is ended, idle and beside busy tenants\n"
        "\n"
        "A bar that is missed is told and no error. On a machine that is busy with\n"
        "other things the table says so: such figures are not final.\n"
        "\n"
        "Exit code: 0, or\n"
        "  1    a node does not start, or something cannot be measured\n"
        "  2    the command line is wrong",
    .run = bench_run,
};
