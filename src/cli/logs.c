/* `atoll logs`: the node's latest log lines, and those that follow. */
#include "cli/client.h"

#include "node/manifest.h"

#include <stdio.h>
#include <stdlib.h>

struct request {
    struct client_settings client;
    bool follow;
    uint64_t back;
};

/* Prints a line for people: time, level, who, what. */
static void line_print(const char *text, size_t len)
{
    cJSON *o = cJSON_ParseWithLength(text, len);
    const cJSON *ts = cJSON_GetObjectItemCaseSensitive(o, "ts");
    const cJSON *level = cJSON_GetObjectItemCaseSensitive(o, "level");
    const cJSON *tenant = cJSON_GetObjectItemCaseSensitive(o, "tenant");
    const cJSON *function = cJSON_GetObjectItemCaseSensitive(o, "function");
    const cJSON *message = cJSON_GetObjectItemCaseSensitive(o, "msg");
    if (cJSON_IsString(message)) {
        printf("%.19s %-7s ", cJSON_IsString(ts) ? ts->valuestring : "",
               cJSON_IsString(level) ? level->valuestring : "");
        if (cJSON_IsString(tenant))
            printf("%s%s%s ", tenant->valuestring, cJSON_IsString(function) ? "/" : "",
                   cJSON_IsString(function) ? function->valuestring : "");
        for (const char *p = message->valuestring; *p; p++)
            putchar((unsigned char)*p < 0x20 || *p == 0x7f ? ' ' : *p);
        putchar('\n');
    }
    cJSON_Delete(o);
}

struct lines {
    bool json;
    struct buffer rest; /* an unfinished line */
};

static int lines_take(void *context, const void *data, size_t len)
{
    struct lines *l = context;
    if (!buffer_append(&l->rest, data, len))
        return -1;
    size_t from = 0;
    for (uint8_t *end; (end = memchr(l->rest.data + from, '\n', l->rest.len - from)) != NULL;) {
        size_t line = (size_t)(end - l->rest.data) - from;
        if (l->json)
            printf("%.*s\n", (int)line, (const char *)l->rest.data + from);
        else
            line_print((const char *)l->rest.data + from, line);
        from += line + 1;
    }
    memmove(l->rest.data, l->rest.data + from, l->rest.len - from);
    l->rest.len -= from;
    return fflush(stdout) == 0 ? 0 : -1;
}

static int logs_show(const struct request *r, const char *const *operands, size_t count)
{
    char path[512], tenant[NAME_MAX_LEN + 1], function[NAME_MAX_LEN + 1];
    struct lines lines = {.json = r->client.json};
    struct error e;
    int exit_code;
    int used = snprintf(path, sizeof path, "/v1/logs?back=%llu&follow=%s",
                        (unsigned long long)r->back, r->follow ? "true" : "false");
    if (count > 0 && strchr(operands[0], '/') == NULL) {
        snprintf(path + used, sizeof path - (size_t)used, "&tenant=%.63s", operands[0]);
    } else if (count > 0) {
        if (name_split(operands[0], strlen(operands[0]), tenant, function, &e) != 0) {
            report_error(&e);
            return EXIT_USAGE;
        }
        snprintf(path + used, sizeof path - (size_t)used, "&tenant=%s&function=%s", tenant,
                 function);
    }
    struct client *c = client_open(&r->client, &exit_code);
    if (c == NULL)
        return exit_code;
    const struct http_client_response *reply;
    struct client_request get = {.method = HTTP_GET,
                                 .path = path,
                                 .write = lines_take,
                                 .context = &lines,
                                 .idle_ms = UINT32_MAX};
    exit_code = client_do(c, &get, &reply);
    buffer_free(&lines.rest);
    client_close(c);
    return exit_code;
}

static int logs_run(int argc, char **argv)
{
    struct request r = {.back = 100};
    const struct option_spec options[] = {
        {"follow", 'f', OPTION_FLAG, NULL, "go on with lines as they come", &r.follow, NULL},
        {"lines", 'n', OPTION_COUNT, "N", "how many of the latest (default 100, at most 1000)",
         &r.back, NULL},
        CLIENT_OPTIONS(&r.client),
    };
    struct text_list operands = {0};
    enum options_outcome outcome =
        options_parse(&command_logs, options, 2 + CLIENT_OPTION_COUNT, argc, argv, 0, 1, &operands);
    int status = outcome == OPTIONS_GO     ? logs_show(&r, operands.items, operands.count)
                 : outcome == OPTIONS_HELP ? (int)EXIT_OK
                                           : (int)EXIT_USAGE;
    free(operands.items);
    return status;
}

const struct command command_logs = {
    .name = "logs",
    .usage = "[-f] [-n N] [TENANT|TENANT/FUNCTION]",
    .summary = "print a node's log and what its functions log",
    .description = "Prints the latest lines of the node and of guests, all of them or those of a\n"
                   "tenant or function. --json prints them as the node writes them." CLIENT_EXITS(
                       "the node refused; its reason is printed"),
    .run = logs_run,
};
