/* See action.h. */
#include "cli/action.h"

#include "node/manifest.h"

#include <stdio.h>
#include <stdlib.h>

static int action_unknown(const struct command *command, const struct action *actions,
                          const char *name)
{
    char known[256] = "";
    size_t used = 0;
    for (; actions->name && used < sizeof known; actions++)
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "",
                                 actions->name);
    return usage_error(command, "there is no action %s; there are %s", name, known);
}

static int action_run(const struct command *command, const struct action *actions, void *request,
                      const struct client_settings *settings, const struct text_list *operands)
{
    const struct action *a = actions;
    int exit_code;
    while (a->name && strcmp(a->name, operands->items[0]) != 0)
        a++;
    if (a->name == NULL)
        return action_unknown(command, actions, operands->items[0]);
    if (operands->count - 1 < a->least || operands->count - 1 > a->most)
        return usage_error(command, "%s takes %zu%s operand%s", a->name, a->least,
                           a->most > a->least ? " or more" : "",
                           a->most == 1 && a->least == 1 ? "" : "s");
    struct client *client = client_open(settings, &exit_code);
    if (client == NULL)
        return exit_code;
    exit_code = a->run(request, client, operands->items + 1, operands->count - 1);
    client_close(client);
    return exit_code;
}

int action_command(const struct command *command, const struct option_spec *options,
                   size_t option_count, int argc, char **argv, const struct action *actions,
                   void *request, const struct client_settings *settings)
{
    struct text_list operands = {0};
    enum options_outcome outcome =
        options_parse(command, options, option_count, argc, argv, 1, 64, &operands);
    int exit_code = outcome == OPTIONS_GO
                        ? action_run(command, actions, request, settings, &operands)
                    : outcome == OPTIONS_HELP ? (int)EXIT_OK
                                              : (int)EXIT_USAGE;
    free(operands.items);
    return exit_code;
}

int action_show(struct client *client, const struct client_settings *settings, const char *path,
                void (*print)(const cJSON *))
{
    int exit_code;
    cJSON *o = client_get_json(client, path, &exit_code);
    if (o == NULL)
        return exit_code;
    if (settings->json || print == NULL) {
        char *text = cJSON_Print(o);
        puts(text ? text : "");
        cJSON_free(text);
    } else {
        print(o);
    }
    cJSON_Delete(o);
    return exit_code;
}

int action_list(struct client *c, const struct client_settings *settings, const char *what,
                const char *operand, void (*print)(const cJSON *))
{
    char path[2048];
    const char *slash = strchr(operand, '/');
    size_t len = slash ? (size_t)(slash - operand) : strlen(operand);
    if (!name_is_valid(operand, len)) {
        fprintf(stderr, "atoll: \"%s\" names no tenant\n", operand);
        return EXIT_USAGE;
    }
    snprintf(path, sizeof path, "/v1/%s/%.*s?prefix=", what, (int)len, operand);
    if (slash && !client_path_append(path, sizeof path, slash + 1, strlen(slash + 1), false))
        return EXIT_USAGE;
    return action_show(c, settings, path, print);
}

int action_send(struct client *client, enum http_method method, const char *path, cJSON *body)
{
    const struct http_header header = http_header_text("content-type", "application/json");
    const struct http_client_response *reply;
    char *text = body ? cJSON_PrintUnformatted(body) : NULL;
    struct client_request request = {.method = method,
                                     .path = path,
                                     .headers = &header,
                                     .header_count = body != NULL,
                                     .body = text,
                                     .body_len = text ? strlen(text) : 0};
    int exit_code = client_do(client, &request, &reply);
    cJSON_free(text);
    cJSON_Delete(body);
    return exit_code;
}

const char *member_text(const cJSON *o, const char *name)
{
    const cJSON *m = cJSON_GetObjectItemCaseSensitive(o, name);
    return cJSON_IsString(m) ? m->valuestring : "";
}

double member_number(const cJSON *o, const char *name)
{
    const cJSON *m = cJSON_GetObjectItemCaseSensitive(o, name);
    return cJSON_IsNumber(m) ? m->valuedouble : 0;
}
