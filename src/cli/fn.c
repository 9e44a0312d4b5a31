/* `atoll fn`: the functions of a node. */
#include "cli/action.h"
#include "cli/table.h"

#include <stdio.h>
#include <string.h>

struct request {
    struct client_settings client;
    const char *alias;
};

#define FUNCTIONS "/v1/functions"

static void functions_print(const cJSON *o)
{
    static const char *const heads[] = {"FUNCTION", "ALIAS", "VERSION", "PREVIOUS", NULL};
    const cJSON *f;
    struct table *t = table_create(heads);
    cJSON_ArrayForEach(f, cJSON_GetObjectItemCaseSensitive(o, "functions"))
    {
        table_cell(t, "%s", member_text(f, "function"));
        table_cell(t, "%s", member_text(f, "alias"));
        table_cell(t, "%.12s", member_text(f, "version"));
        table_cell(t, "%.12s", member_text(f, "previous"));
    }
    table_print(t, stdout);
}

static int list_run(void *request, struct client *c, const char *const *operands, size_t count)
{
    struct request *r = request;
    char path[256] = FUNCTIONS "/";
    if (count == 0)
        path[strlen(FUNCTIONS)] = 0;
    else if (!client_path_append(path, sizeof path, operands[0], strlen(operands[0]), false))
        return EXIT_USAGE;
    return action_show(c, &r->client, path, functions_print);
}

static void function_print(const cJSON *o)
{
    static const char *const heads[] = {"VERSION", "STATE", ">MODULE", ">IMAGE", "CREATED", NULL};
    const cJSON *one;
    char *manifest = cJSON_Print(cJSON_GetObjectItemCaseSensitive(o, "manifest"));
    printf("%s\n\n", member_text(o, "function"));
    cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(o, "aliases"))
        printf("alias %s -> %.12s\n", member_text(one, "alias"), member_text(one, "version"));
    putchar('\n');
    struct table *t = table_create(heads);
    cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(o, "versions"))
    {
        char size[24], image[24];
        table_cell(t, "%s", member_text(one, "version"));
        table_cell(t, "%s", member_text(one, "state"));
        table_cell(t, "%s", text_bytes(member_number(one, "module_bytes"), size));
        table_cell(t, "%s", text_bytes(member_number(one, "image_bytes"), image));
        table_cell(t, "%s", member_text(one, "created"));
    }
    table_print(t, stdout);
    printf("\nmanifest of the live version:\n%s\n", manifest ? manifest : "");
    cJSON_free(manifest);
}

static int show_run(void *request, struct client *c, const char *const *operands, size_t count)
{
    struct request *r = request;
    char path[256];
    (void)count;
    if (!client_function_path(FUNCTIONS, operands[0], path, sizeof path))
        return EXIT_USAGE;
    return action_show(c, &r->client, path, function_print);
}

static int remove_run(void *request, struct client *c, const char *const *operands, size_t count)
{
    char path[256];
    (void)request;
    (void)count;
    if (!client_function_path(FUNCTIONS, operands[0], path, sizeof path))
        return EXIT_USAGE;
    return action_send(c, HTTP_DELETE, path, NULL);
}

static bool alias_path(const struct request *r, const char *name, char *path, size_t size)
{
    const char *alias = r->alias ? r->alias : "live";
    if (!client_function_path(FUNCTIONS, name, path, size))
        return false;
    strncat(path, "/alias/", size - strlen(path) - 1);
    return client_path_append(path, size, alias, strlen(alias), false);
}

static int alias_run(void *request, struct client *c, const char *const *operands, size_t count)
{
    char path[512];
    (void)count;
    if (!alias_path(request, operands[0], path, sizeof path))
        return EXIT_USAGE;
    cJSON *body = cJSON_CreateObject();
    cJSON_AddStringToObject(body, "version", operands[1]);
    return action_send(c, HTTP_POST, path, body);
}

static int rollback_run(void *request, struct client *c, const char *const *operands, size_t count)
{
    char path[512];
    (void)count;
    if (!alias_path(request, operands[0], path, sizeof path))
        return EXIT_USAGE;
    cJSON *body = cJSON_CreateObject();
    cJSON_AddTrueToObject(body, "rollback");
    return action_send(c, HTTP_POST, path, body);
}

static int fn_run(int argc, char **argv)
{
    static const struct action actions[] = {
        {"ls", 0, 1, list_run},     {"show", 1, 1, show_run},         {"rm", 1, 1, remove_run},
        {"alias", 2, 2, alias_run}, {"rollback", 1, 1, rollback_run}, {0},
    };
    struct request r = {0};
    const struct option_spec options[] = {
        {"alias", 0, OPTION_TEXT, "ALIAS", "the alias to move (default live)", &r.alias, NULL},
        CLIENT_OPTIONS(&r.client),
    };
    return action_command(&command_fn, options, 1 + CLIENT_OPTION_COUNT, argc, argv, actions, &r,
                          &r.client);
}

const struct command command_fn = {
    .name = "fn",
    .usage = "ls [TENANT] | show T/F | rm T/F | alias T/F VERSION | rollback T/F",
    .summary = "list, describe, remove functions, move aliases",
    .description =
        "  ls [TENANT]        functions and what their aliases mean\n"
        "  show T/F           versions, aliases and the manifest\n"
        "  rm T/F             remove it with all versions; running calls finish\n"
        "  alias T/F VERSION  let the alias mean this version (at least 8 digits of it)\n"
        "  rollback T/F       let the alias mean the version before" CLIENT_EXITS(
            "the node refused; its reason is printed"),
    .run = fn_run,
};
