/* `atoll tenant`: limits of tenants, and what they let each other use. */
#include "cli/action.h"
#include "cli/table.h"

#include <stdio.h>

#define NOT_GIVEN UINT64_MAX

struct request {
    struct client_settings client;
    uint64_t cpu_weight, memory, queue, workers;
    const char *function, *prefix, *rights;
};

static void tenants_print(const cJSON *o)
{
    static const char *const heads[] = {"TENANT", ">CPU WEIGHT", ">MEMORY",
                                        ">QUEUE", ">WORKERS",    NULL};
    const cJSON *one;
    struct table *t = table_create(heads);
    cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(o, "tenants"))
    {
        char memory[24];
        double bytes = member_number(one, "memory_bytes");
        table_cell(t, "%s", member_text(one, "tenant"));
        table_cell(t, "%.0f", member_number(one, "cpu_weight"));
        table_cell(t, "%s", bytes > 0 ? text_bytes(bytes, memory) : "default");
        table_cell(t, "%.0f", member_number(one, "queue"));
        table_cell(t, "%.0f", member_number(one, "workers"));
    }
    table_print(t, stdout);
}

static int list_run(void *request, struct client *c, const char *const *operands, size_t count)
{
    struct request *r = request;
    (void)operands;
    (void)count;
    return action_show(c, &r->client, "/v1/tenants", tenants_print);
}

static bool tenant_path(const char *tenant, const char *rest, char *path, size_t size)
{
    snprintf(path, size, "/v1/tenants/");
    if (!client_path_append(path, size, tenant, strlen(tenant), false))
        return false;
    strncat(path, rest, size - strlen(path) - 1);
    return true;
}

static int set_run(void *request, struct client *c, const char *const *operands, size_t count)
{
    struct request *r = request;
    char path[256];
    cJSON *body = cJSON_CreateObject();
    (void)count;
    if (r->cpu_weight != NOT_GIVEN)
        cJSON_AddNumberToObject(body, "cpu_weight", (double)r->cpu_weight);
    if (r->memory != NOT_GIVEN)
        cJSON_AddNumberToObject(body, "memory_bytes", (double)r->memory);
    if (r->queue != NOT_GIVEN)
        cJSON_AddNumberToObject(body, "queue", (double)r->queue);
    if (r->workers != NOT_GIVEN)
        cJSON_AddNumberToObject(body, "workers", (double)r->workers);
    if (tenant_path(operands[0], "", path, sizeof path))
        return action_send(c, HTTP_PUT, path, body);
    cJSON_Delete(body);
    return EXIT_USAGE;
}

static void grants_print(const cJSON *o)
{
    static const char *const heads[] = {"TO", "FUNCTION", "KEYS", "RIGHTS", NULL};
    const cJSON *one;
    struct table *t = table_create(heads);
    cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(o, "grants"))
    {
        table_cell(t, "%s", member_text(one, "tenant"));
        table_cell(t, "%s", member_text(one, "function"));
        table_cell(t, "%s", member_text(one, "prefix"));
        table_cell(t, "%s", member_text(one, "rights"));
    }
    table_print(t, stdout);
}

static int grants_run(void *request, struct client *c, const char *const *operands, size_t count)
{
    struct request *r = request;
    char path[256];
    (void)count;
    return tenant_path(operands[0], "/grants", path, sizeof path)
               ? action_show(c, &r->client, path, grants_print)
               : (int)EXIT_USAGE;
}

static int grant_send(struct request *r, struct client *c, enum http_method method,
                      const char *const *operands)
{
    char path[256];
    cJSON *body = cJSON_CreateObject();
    cJSON_AddStringToObject(body, "tenant", operands[1]);
    if (r->function)
        cJSON_AddStringToObject(body, "function", r->function);
    if (r->prefix)
        cJSON_AddStringToObject(body, "prefix", r->prefix);
    if (r->rights)
        cJSON_AddStringToObject(body, "rights", r->rights);
    if (tenant_path(operands[0], "/grants", path, sizeof path))
        return action_send(c, method, path, body);
    cJSON_Delete(body);
    return EXIT_USAGE;
}

static int grant_run(void *request, struct client *c, const char *const *operands, size_t count)
{
    (void)count;
    return grant_send(request, c, HTTP_POST, operands);
}

static int revoke_run(void *request, struct client *c, const char *const *operands, size_t count)
{
    (void)count;
    return grant_send(request, c, HTTP_DELETE, operands);
}

static int tenant_run(int argc, char **argv)
{
    static const struct action actions[] = {
        {"ls", 0, 0, list_run},     {"set", 1, 1, set_run},       {"grants", 1, 1, grants_run},
        {"grant", 2, 2, grant_run}, {"revoke", 2, 2, revoke_run}, {0},
    };
    struct request r = {
        .cpu_weight = NOT_GIVEN, .memory = NOT_GIVEN, .queue = NOT_GIVEN, .workers = NOT_GIVEN};
    const struct option_spec options[] = {
        {"cpu-weight", 0, OPTION_COUNT, "N", "set: share of the processor (default 100)",
         &r.cpu_weight, NULL},
        {"memory", 0, OPTION_SIZE, "SIZE", "set: memory of all its calls together", &r.memory,
         NULL},
        {"queue", 0, OPTION_COUNT, "N", "set: calls that may wait", &r.queue, NULL},
        {"workers", 0, OPTION_COUNT, "N", "set: worker processes at most", &r.workers, NULL},
        {"function", 0, OPTION_TEXT, "NAME|*", "grant: let the other call it", &r.function, NULL},
        {"prefix", 0, OPTION_TEXT, "PREFIX", "grant: keys that begin so", &r.prefix, NULL},
        {"rights", 0, OPTION_TEXT, "rwld", "grant: read, write, lock, delete", &r.rights, NULL},
        CLIENT_OPTIONS(&r.client),
    };
    return action_command(&command_tenant, options, 7 + CLIENT_OPTION_COUNT, argc, argv, actions,
                          &r, &r.client);
}

const struct command command_tenant = {
    .name = "tenant",
    .usage = "ls | set T [LIMITS] | grants T | grant T OTHER ... | revoke T OTHER ...",
    .summary = "limits of tenants, and grants between them",
    .description =
        "  ls                list tenants that have settings of their own\n"
        "  set T             change limits; what is not given stays, a limit of 0 is\n"
        "                    the node's\n"
        "  grants T          what T lets others use\n"
        "  grant T OTHER     let OTHER call a function of T (--function), or use keys of T\n"
        "                    (--prefix, --rights) as @T/KEY\n"
        "  revoke T OTHER    take that back" CLIENT_EXITS(
            "the node refused; its reason is printed"),
    .run = tenant_run,
};
