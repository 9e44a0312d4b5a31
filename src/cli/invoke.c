/* `atoll invoke`: calls a function and prints its output. */
#define _GNU_SOURCE
#include "cli/client.h"
#include "cli/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define HEADERS_MAX 8

struct request {
    struct client_settings client;
    const char *data, *alias, *version, *timeout;
    struct text_list headers;
    bool async, time;
};

static void times_print(const struct http_client_response *reply)
{
    const char *temperature = http_head_value(reply->head, "atoll-temperature");
    const char *timing = http_head_value(reply->head, "server-timing");
    const char *call = http_head_value(reply->head, "atoll-call");
    if (call)
        fprintf(stderr, "call %s, %s start, %s (ms)\n", call, temperature ? temperature : "unknown",
                timing ? timing : "");
}

/* "Name: value" options as header fields, cut up in place of copies. */
static bool headers_parse(const struct text_list *list, struct http_header *out, size_t *count,
                          char **copies)
{
    for (size_t i = 0; i < list->count; i++) {
        char *colon = *count < HEADERS_MAX ? strchr(list->items[i], ':') : NULL;
        if (colon == NULL)
            return false;
        char *copy = strdup(list->items[i]);
        if (copy == NULL)
            return false;
        copies[*count] = copy;
        char *value = copy + (colon - list->items[i]);
        *value++ = 0;
        out[(*count)++] = http_header_text(copy, value + strspn(value, " "));
    }
    return true;
}

static int reply_print(const struct request *r, const struct http_client_response *reply)
{
    if (r->time)
        times_print(reply);
    if (reply->status >= 400) {
        client_problem_print(reply);
        return client_exit_of(reply->status);
    }
    if (r->async) {
        const char *call = http_head_value(reply->head, "atoll-call");
        if (r->client.json)
            printf("{\"call\":\"%s\"}\n", call ? call : "");
        else
            printf("%s\n", call ? call : "");
        return CLIENT_OK;
    }
    fwrite(reply->body.data, 1, reply->body.len, stdout);
    if (isatty(STDOUT_FILENO) && reply->body.len && reply->body.data[reply->body.len - 1] != '\n')
        putchar('\n');
    return fflush(stdout) == 0 ? EXIT_OK : EXIT_ATOLL;
}

static bool path_build(const struct request *r, const char *name, char *path, size_t size)
{
    const char *const parameters[][2] = {
        {"?alias=", r->alias}, {"?version=", r->version}, {"?timeout=", r->timeout}};
    bool first = true;
    if (!client_function_path("/v1/fn", name, path, size))
        return false;
    for (size_t i = 0; i < 3; i++) {
        const char *value = parameters[i][1];
        if (value == NULL)
            continue;
        strncat(path, parameters[i][0], size - strlen(path) - 1);
        if (!first)
            path[strlen(path) - strlen(parameters[i][0])] = '&';
        first = false;
        if (!client_path_append(path, size, value, strlen(value), false))
            return false;
    }
    return true;
}

static int function_invoke(const struct request *r, const char *name)
{
    char path[2048];
    struct http_header headers[HEADERS_MAX + 1];
    char *copies[HEADERS_MAX] = {0};
    size_t count = 0;
    struct buffer input = {0};
    struct error e;
    int exit_code = EXIT_USAGE;
    if (!path_build(r, name, path, sizeof path))
        return EXIT_USAGE;
    if (!headers_parse(&r->headers, headers, &count, copies))
        return usage_error(&command_invoke, "--header wants \"Name: value\", at most %d times",
                           HEADERS_MAX);
    size_t copied = count;
    if (r->async)
        headers[count++] = http_header_text("prefer", "respond-async");
    struct client *c = NULL;
    if (r->data && client_data_read(r->data, &input, &e) != 0) {
        report_error(&e);
        exit_code = EXIT_NO_FILE;
    } else if ((c = client_open(&r->client, &exit_code)) != NULL) {
        const struct http_client_response *reply;
        struct client_request request = {.method = HTTP_POST,
                                         .path = path,
                                         .headers = headers,
                                         .header_count = count,
                                         .body = input.data,
                                         .body_len = input.len,
                                         .idle_ms = UINT32_MAX};
        exit_code = client_send(c, &request, &reply);
        if (exit_code == 0)
            exit_code = reply_print(r, reply);
    }
    client_close(c);
    buffer_free(&input);
    for (size_t i = 0; i < copied; i++)
        free(copies[i]);
    return exit_code;
}

static int invoke_run(int argc, char **argv)
{
    struct request r = {0};
    const struct option_spec options[] = {
        {"data", 'd', OPTION_TEXT, "TEXT|@FILE|-", "the input: text, a file, standard input",
         &r.data, NULL},
        {"header", 0, OPTION_LIST, "NAME: VALUE", "a field of the HTTP request", &r.headers, NULL},
        {"alias", 0, OPTION_TEXT, "ALIAS", "call this alias (default live)", &r.alias, NULL},
        {"version", 0, OPTION_TEXT, "VERSION", "call this version", &r.version, NULL},
        {"timeout", 0, OPTION_TEXT, "TIME", "end the call after this (at most the manifest's)",
         &r.timeout, NULL},
        {"async", 0, OPTION_FLAG, NULL, "do not wait; print the call's id", &r.async, NULL},
        {"time", 0, OPTION_FLAG, NULL, "print the call's times on the error output", &r.time, NULL},
        CLIENT_OPTIONS(&r.client),
    };
    struct text_list operands = {0};
    enum options_outcome outcome = options_parse(
        &command_invoke, options, sizeof options / sizeof options[0], argc, argv, 1, 1, &operands);
    int status = outcome == OPTIONS_GO     ? function_invoke(&r, operands.items[0])
                 : outcome == OPTIONS_HELP ? EXIT_OK
                                           : EXIT_USAGE;
    free(operands.items);
    free(r.headers.items);
    return status;
}

const struct command command_invoke = {
    .name = "invoke",
    .usage = "[OPTIONS] TENANT/FUNCTION",
    .summary = "call a function of a node",
    .description =
        "Calls a function and prints its output. A name without a tenant is of the\n"
        "tenant \"default\". --json is for --async; an output is printed as it is.\n"
        "\n"
        "For example:\n"
        "  atoll invoke greeting -d Ada --time\n"
        "  atoll invoke shop/order --async -d @order.json" CLIENT_EXITS("the call failed"),
    .run = invoke_run,
};
