/* `atoll node`: nodes themselves. */
#include "cli/action.h"
#include "cli/table.h"

#include "node/config.h"

#include <stdio.h>

struct request {
    struct client_settings client;
};

static void nodes_print(const cJSON *o)
{
    static const char *const heads[] = {">NODE", "URL", "STARTED", ">CALLS", "STATE", NULL};
    const cJSON *one;
    struct table *t = table_create(heads);
    cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(o, "nodes"))
    {
        table_cell(t, "%.0f", member_number(one, "id"));
        table_cell(t, "%s", member_text(one, "url"));
        table_cell(t, "%s", member_text(one, "started"));
        table_cell(t, "%.0f", member_number(one, "calls"));
        table_cell(t, "%s",
                   cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(one, "draining")) ? "draining"
                                                                                   : "serving");
    }
    table_print(t, stdout);
}

static int list_run(void *request, struct client *c, const char *const *operands, size_t count)
{
    struct request *r = request;
    (void)operands;
    (void)count;
    return action_show(c, &r->client, "/v1/nodes", nodes_print);
}

static int drain_run(void *request, struct client *c, const char *const *operands, size_t count)
{
    char path[64];
    (void)request;
    snprintf(path, sizeof path, "/v1/nodes/%.16s/drain", count ? operands[0] : "1");
    return action_send(c, HTTP_POST, path, NULL);
}

/* Needs no node. */
static int config_check(void *request, struct client *c, const char *const *operands, size_t count)
{
    static struct node_config config;
    struct error e;
    (void)request;
    (void)c;
    (void)count;
    config_default(&config);
    if (config_read(operands[0], true, &config, &e) != 0) {
        report_error(&e);
        return EXIT_NEGATIVE;
    }
    printf("%s is good\n", operands[0]);
    return EXIT_OK;
}

static int node_command(int argc, char **argv)
{
    static const struct action actions[] = {
        {"ls", 0, 0, list_run},
        {"drain", 0, 1, drain_run},
        {"check-config", 1, 1, config_check},
        {0},
    };
    struct request r = {0};
    const struct option_spec options[] = {CLIENT_OPTIONS(&r.client)};
    return action_command(&command_node, options, CLIENT_OPTION_COUNT, argc, argv, actions, &r,
                          &r.client);
}

const struct command command_node = {
    .name = "node",
    .usage = "ls | drain [ID] | check-config FILE",
    .summary = "list and drain nodes, check a configuration",
    .description =
        "  ls                 nodes\n"
        "  drain [ID]         take no new calls, finish what runs, end\n"
        "  check-config FILE  whether `atoll up --config FILE` would accept it" CLIENT_EXITS(
            "the node refused; the file is not accepted"),
    .run = node_command,
};
