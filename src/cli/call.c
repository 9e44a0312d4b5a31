/* `atoll call`: calls that were started without waiting. */
#include "cli/action.h"
#include "cli/table.h"

#include <stdio.h>
#include <stdlib.h>

struct request {
    struct client_settings client;
    const char *timeout;
};

static bool call_path(const char *id, const char *rest, char *path, size_t size)
{
    if (strlen(id) != 16 || strspn(id, "0123456789abcdef") != 16) {
        fprintf(stderr, "atoll: \"%s\" is no call's id: 16 hexadecimal digits\n", id);
        return false;
    }
    snprintf(path, size, "/v1/calls/%s%s", id, rest);
    return true;
}

static void status_print(const cJSON *o)
{
    char queue[24], restore[24], run[24];
    printf("%s %s: %s", member_text(o, "function"), member_text(o, "call"),
           member_text(o, "status"));
    if (member_text(o, "message")[0])
        printf(", %s", member_text(o, "message"));
    printf("\n%s start, queue %s, restore %s, run %s, attempt %.0f, %.0f chained calls, "
           "%.0f bytes of output\n",
           member_text(o, "temperature"), text_duration(member_number(o, "queue_ns"), queue),
           text_duration(member_number(o, "restore_ns"), restore),
           text_duration(member_number(o, "run_ns"), run), member_number(o, "attempt"),
           member_number(o, "children"), member_number(o, "output_bytes"));
}

static int get_run(void *request, struct client *c, const char *const *operands, size_t count)
{
    struct request *r = request;
    char path[128];
    (void)count;
    if (!call_path(operands[0], "", path, sizeof path))
        return EXIT_USAGE;
    return action_show(c, &r->client, path, status_print);
}

/* Waits in pieces of what one request may wait, until the call has ended. */
static int call_wait(struct client *c, const char *id, const char *timeout)
{
    char path[128], rest[64];
    int64_t left = INT64_MAX;
    int exit_code = CLIENT_OK;
    if (timeout && !text_parse_duration(timeout, &left)) {
        fprintf(stderr, "atoll: --timeout wants a time such as 30s\n");
        return EXIT_USAGE;
    }
    for (;;) {
        int64_t piece = left < 60000000000 ? left : 60000000000;
        snprintf(rest, sizeof rest, "?wait=%lldms", (long long)(piece / 1000000));
        if (!call_path(id, rest, path, sizeof path))
            return EXIT_USAGE;
        cJSON *o = client_get_json(c, path, &exit_code);
        if (o == NULL)
            return exit_code;
        const char *status = member_text(o, "status");
        bool ended = strcmp(status, "pending") != 0 && strcmp(status, "running") != 0;
        cJSON_Delete(o);
        left = left == INT64_MAX ? left : left - piece;
        if (ended)
            return CLIENT_OK;
        if (left <= 0) {
            fprintf(stderr, "atoll: the call has not ended yet\n");
            return CLIENT_TIMEOUT;
        }
    }
}

static int wait_run(void *request, struct client *c, const char *const *operands, size_t count)
{
    struct request *r = request;
    const struct http_client_response *reply;
    char path[128];
    (void)count;
    int exit_code = call_wait(c, operands[0], r->timeout);
    if (exit_code != CLIENT_OK || !call_path(operands[0], "/output", path, sizeof path))
        return exit_code;
    struct client_request get = {.method = HTTP_GET, .path = path};
    exit_code = client_do(c, &get, &reply);
    if (exit_code == CLIENT_OK)
        fwrite(reply->body.data, 1, reply->body.len, stdout);
    return exit_code;
}

static int cancel_run(void *request, struct client *c, const char *const *operands, size_t count)
{
    char path[128];
    (void)request;
    (void)count;
    if (!call_path(operands[0], "", path, sizeof path))
        return EXIT_USAGE;
    return action_send(c, HTTP_DELETE, path, NULL);
}

/* ---- the graph, as a tree ---- */

#define TREE_LINES_MAX 1000

static int tree_print(const cJSON *calls, const char *parent, int depth, int lines)
{
    const cJSON *o;
    cJSON_ArrayForEach(o, calls)
    {
        char run[24];
        if (strcmp(member_text(o, "parent"), parent) != 0 || lines >= TREE_LINES_MAX || depth > 64)
            continue;
        printf("%*s%s  %s, %s start, run %s\n", 2 * depth, "", member_text(o, "function"),
               member_text(o, "status"), member_text(o, "temperature"),
               text_duration(member_number(o, "run_ns"), run));
        lines = tree_print(calls, member_text(o, "id"), depth + 1, lines + 1);
    }
    return lines;
}

static void graph_print(const cJSON *o)
{
    const cJSON *calls = cJSON_GetObjectItemCaseSensitive(o, "calls");
    int lines = tree_print(calls, "", 0, 0);
    int more = cJSON_GetArraySize(calls) - lines + (int)member_number(o, "dropped");
    if (more > 0)
        printf("and %d more calls (--json prints all that are kept)\n", more);
}

static int graph_run(void *request, struct client *c, const char *const *operands, size_t count)
{
    struct request *r = request;
    char path[128];
    (void)count;
    if (!call_path(operands[0], "/graph", path, sizeof path))
        return EXIT_USAGE;
    return action_show(c, &r->client, path, graph_print);
}

static int call_run(int argc, char **argv)
{
    static const struct action actions[] = {
        {"get", 1, 1, get_run},
        {"wait", 1, 1, wait_run},
        {"cancel", 1, 1, cancel_run},
        {"graph", 1, 1, graph_run},
        {0},
    };
    struct request r = {0};
    const struct option_spec options[] = {
        {"timeout", 0, OPTION_TEXT, "TIME", "wait at most this long", &r.timeout, NULL},
        CLIENT_OPTIONS(&r.client),
    };
    return action_command(&command_call, options, 1 + CLIENT_OPTION_COUNT, argc, argv, actions, &r,
                          &r.client);
}

const struct command command_call = {
    .name = "call",
    .usage = "get ID | wait ID [--timeout TIME] | cancel ID | graph ID",
    .summary = "look at, wait for, cancel calls",
    .description = "  get ID     what became of the call, and its times\n"
                   "  wait ID    wait for its end, then print its output\n"
                   "  cancel ID  end it, and the calls it has chained\n"
                   "  graph ID   which calls it has chained, as a tree\n"
                   "\n"
                   "ID is what `atoll invoke --async` prints and --time shows." CLIENT_EXITS(
                       "the call failed"),
    .run = call_run,
};
