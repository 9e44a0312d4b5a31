/*
 * `atoll worker`: the process in which a node runs a tenant's guests. Nodes start it, with its end
 * of a link as descriptors 3 … 6; it is of no use to people and stands in no list of commands.
 */
#include "node/worker/worker.h"
#include "cli/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FIRST_DESCRIPTOR 3

static bool inherited(void)
{
    for (int i = 0; i < LINK_DESCRIPTORS; i++) {
        if (lseek(FIRST_DESCRIPTOR + i, 0, SEEK_CUR) < 0 && errno == EBADF)
            return false;
    }
    return true;
}

static int worker_run(int argc, char **argv)
{
    uint64_t threads = 0, instances = 0, memory = 0;
    struct text_list operands = {0};
    const struct option_spec options[] = {
        {"threads", 0, OPTION_COUNT, "N", "that run guests (0: online processors)", &threads, NULL},
        {"instances", 0, OPTION_COUNT, "N", "at most (0: what the system allows)", &instances,
         NULL},
        {"memory", 0, OPTION_SIZE, "SIZE", "of running calls together (0: a quarter)", &memory,
         NULL},
    };
    enum options_outcome outcome =
        options_parse(&command_worker, options, 3, argc, argv, 0, 0, &operands);
    free(operands.items);
    if (outcome != OPTIONS_GO)
        return outcome == OPTIONS_HELP ? EXIT_OK : EXIT_USAGE;
    if (!inherited())
        return usage_error(&command_worker, "only a node starts this; you want `atoll up`");
    int descriptors[LINK_DESCRIPTORS];
    for (int i = 0; i < LINK_DESCRIPTORS; i++)
        descriptors[i] = FIRST_DESCRIPTOR + i;
    struct worker_settings settings = {
        .threads = (uint32_t)threads, .instances_max = (uint32_t)instances, .memory_bytes = memory};
    return worker_main(descriptors, &settings);
}

const struct command command_worker = {
    .name = "worker",
    .usage = "[OPTIONS]",
    .summary = NULL, /* not for people */
    .description = "Runs the guests of one tenant for a node, which starts it by itself.",
    .run = worker_run,
};
