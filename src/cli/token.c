/* `atoll token`: who may use a node. */
#include "cli/action.h"
#include "cli/table.h"

#include <stdio.h>
#include <stdlib.h>

#define SECOND_NS 1000000000ll
#define FOR_EVER  INT64_MAX

struct request {
    struct client_settings client;
    const char *tenant, *note;
    int64_t ttl_ns;
};

static int make_run(void *request, struct client *c, const char *const *operands, size_t count)
{
    struct request *r = request;
    if (r->ttl_ns != FOR_EVER && r->ttl_ns < SECOND_NS)
        return usage_error(&command_token, "--ttl takes a time of at least 1s.");
    const struct http_header header = http_header_text("content-type", "application/json");
    const struct http_client_response *reply;
    cJSON *body = cJSON_CreateObject(), *scopes = cJSON_AddArrayToObject(body, "scopes");
    for (size_t i = 0; i < count; i++)
        cJSON_AddItemToArray(scopes, cJSON_CreateString(operands[i]));
    if (r->tenant)
        cJSON_AddStringToObject(body, "tenant", r->tenant);
    if (r->note)
        cJSON_AddStringToObject(body, "note", r->note);
    if (r->ttl_ns != FOR_EVER)
        cJSON_AddNumberToObject(body, "ttl_s", (double)(r->ttl_ns / SECOND_NS));
    char *text = cJSON_PrintUnformatted(body);
    struct client_request post = {.method = HTTP_POST,
                                  .path = "/v1/tokens",
                                  .headers = &header,
                                  .header_count = 1,
                                  .body = text,
                                  .body_len = strlen(text)};
    int exit_code = client_do(c, &post, &reply);
    if (exit_code == 0) {
        cJSON *o = cJSON_ParseWithLength((const char *)reply->body.data, reply->body.len);
        if (r->client.json)
            printf("%.*s\n", (int)reply->body.len, (const char *)reply->body.data);
        else
            printf("%s\n", member_text(o, "token"));
        cJSON_Delete(o);
    }
    cJSON_free(text);
    cJSON_Delete(body);
    return exit_code;
}

static void tokens_print(const cJSON *o)
{
    static const char *const heads[] = {"ID",      "TENANT", "SCOPES", "CREATED",
                                        "EXPIRES", "NOTE",   NULL};
    const cJSON *one, *scope;
    struct table *t = table_create(heads);
    cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(o, "tokens"))
    {
        char scopes[128] = "";
        cJSON_ArrayForEach(scope, cJSON_GetObjectItemCaseSensitive(one, "scopes"))
        {
            if (cJSON_IsString(scope) && strlen(scopes) + strlen(scope->valuestring) + 2 < 128)
                strcat(strcat(scopes, scopes[0] ? "," : ""), scope->valuestring);
        }
        table_cell(t, "%s", member_text(one, "id"));
        table_cell(t, "%s", member_text(one, "tenant"));
        table_cell(t, "%s", scopes);
        table_cell(t, "%s", member_text(one, "created"));
        table_cell(t, "%s", member_text(one, "expires"));
        table_cell(t, "%s", member_text(one, "note"));
    }
    table_print(t, stdout);
}

static int list_run(void *request, struct client *c, const char *const *operands, size_t count)
{
    struct request *r = request;
    (void)operands;
    (void)count;
    return action_show(c, &r->client, "/v1/tokens", tokens_print);
}

static int remove_run(void *request, struct client *c, const char *const *operands, size_t count)
{
    char path[128] = "/v1/tokens/";
    (void)request;
    (void)count;
    if (!client_path_append(path, sizeof path, operands[0], strlen(operands[0]), false))
        return EXIT_USAGE;
    return action_send(c, HTTP_DELETE, path, NULL);
}

static int token_run(int argc, char **argv)
{
    static const struct action actions[] = {
        {"make", 1, 7, make_run},
        {"ls", 0, 0, list_run},
        {"rm", 1, 1, remove_run},
        {0},
    };
    struct request r = {.ttl_ns = FOR_EVER};
    const struct option_spec options[] = {
        {"tenant", 0, OPTION_TEXT, "TENANT", "make: whose functions and state it is for", &r.tenant,
         NULL},
        {"note", 0, OPTION_TEXT, "TEXT", "make: what it is for", &r.note, NULL},
        {"ttl", 0, OPTION_DURATION, "TIME", "make: how long it is good (default: for ever)",
         &r.ttl_ns, NULL},
        CLIENT_OPTIONS(&r.client),
    };
    return action_command(&command_token, options, 3 + CLIENT_OPTION_COUNT, argc, argv, actions, &r,
                          &r.client);
}

const struct command command_token = {
    .name = "token",
    .usage = "make SCOPE... --tenant T | ls | rm ID",
    .summary = "make, list, revoke tokens",
    .description =
        "  make SCOPE...  a new token, printed this once; scopes are invoke, deploy,\n"
        "                 state:r, state:w, files, logs, admin (admin: of every tenant)\n"
        "  ls             tokens, without their text\n"
        "  rm ID          revoke one" CLIENT_EXITS("the node refused; its reason is printed"),
    .run = token_run,
};
