/* See client.h. */
#define _GNU_SOURCE
#include "cli/client.h"

#include "base/file.h"
#include "crypto/tls.h"
#include "node/manifest.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define HEADERS_MAX 16
#define DATA_MAX    (1ull << 30)

struct client {
    struct http_client *http;
    struct tls_context *tls;
    struct url base;
    char authorization[256];
    struct http_client_response response;
};

static int client_fail(const struct error *e)
{
    if (e->code == -ATOLL_ECANCELED) /* what came could not be written, which main tells */
        return EXIT_ATOLL;
    report_error(e);
    switch (e->code) {
    case -ATOLL_EINVAL: return EXIT_USAGE;
    case -ATOLL_ETIMEDOUT: return CLIENT_TIMEOUT;
    default: return CLIENT_UNREACHABLE;
    }
}

static int client_prepare(struct client *c, const struct client_settings *s, struct error *e)
{
    const char *node = s->node ? s->node : getenv("ATOLL_NODE");
    const char *token = s->token ? s->token : getenv("ATOLL_TOKEN");
    int rc = url_parse(node && *node ? node : CLIENT_NODE, &c->base, e);
    if (rc != 0)
        return error_prefix(e, "the node's address");
    if (token && *token &&
        (size_t)snprintf(c->authorization, sizeof c->authorization, "Bearer %s", token) >=
            sizeof c->authorization)
        return error_set(e, ATOLL_EINVAL, "the token is too long to be one");
    if (c->base.tls && (rc = tls_context_client(s->ca, NULL, NULL, &c->tls, e)) != 0)
        return rc;
    struct http_client_options options = {.tls = c->tls, .body_max = DATA_MAX};
    return http_client_create(&options, &c->http, e);
}

struct client *client_open(const struct client_settings *s, int *exit_code)
{
    struct error e;
    struct client *c = calloc(1, sizeof *c);
    int rc = c ? client_prepare(c, s, &e) : error_set(&e, ATOLL_ENOMEM, "no memory for a request");
    if (rc == 0)
        return c;
    *exit_code = client_fail(&e);
    client_close(c);
    return NULL;
}

void client_close(struct client *c)
{
    if (c == NULL)
        return;
    http_client_response_free(&c->response);
    http_client_destroy(c->http);
    tls_context_destroy(c->tls);
    free(c);
}

int client_send(struct client *c, const struct client_request *r,
                const struct http_client_response **out)
{
    struct http_header headers[HEADERS_MAX];
    struct url url = c->base;
    struct error e;
    size_t count = 0;
    if (strlen(r->path) > URL_TARGET_MAX) {
        error_set(&e, ATOLL_EINVAL, "the request's path is too long");
        return client_fail(&e);
    }
    strcpy(url.target, r->path);
    for (; count < r->header_count && count < HEADERS_MAX - 1; count++)
        headers[count] = r->headers[count];
    if (c->authorization[0])
        headers[count++] = http_header_text("authorization", c->authorization);
    struct http_client_request request = {.method = r->method,
                                          .url = &url,
                                          .headers = headers,
                                          .header_count = count,
                                          .body = r->body,
                                          .body_len = r->body_len,
                                          .write = r->write,
                                          .context = r->context,
                                          .idle_ms = r->idle_ms};
    http_client_response_free(&c->response);
    c->response = (struct http_client_response){0};
    if (http_client_request(c->http, &request, &c->response, &e) != 0) {
        if (e.code == -ATOLL_EUNAVAIL && !c->base.tls)
            error_set(&e, ATOLL_EUNAVAIL,
                      "no node answers at http://%s:%u; start one with `atoll "
                      "up`, or name it with --node",
                      c->base.host, c->base.port);
        return client_fail(&e);
    }
    *out = &c->response;
    return 0;
}

int client_exit_of(unsigned status)
{
    if (status < 400)
        return CLIENT_OK;
    switch (status) {
    case 401:
    case 403: return CLIENT_NOT_PERMITTED;
    case 404:
    case 410: return CLIENT_NOT_FOUND;
    case 408:
    case 504: return CLIENT_TIMEOUT;
    default: return CLIENT_FAILED;
    }
}

void client_problem_print(const struct http_client_response *r)
{
    cJSON *o = cJSON_ParseWithLength((const char *)r->body.data, r->body.len);
    const cJSON *detail = cJSON_GetObjectItemCaseSensitive(o, "detail");
    const cJSON *stage = cJSON_GetObjectItemCaseSensitive(o, "stage");
    const char *text = cJSON_IsString(detail) ? detail->valuestring : http_status_text(r->status);
    if (cJSON_IsString(stage))
        fprintf(stderr, "atoll: %s: %s\n", stage->valuestring, text);
    else
        fprintf(stderr, "atoll: %s\n", text);
    cJSON_Delete(o);
}

int client_do(struct client *c, const struct client_request *r,
              const struct http_client_response **out)
{
    int exit_code = client_send(c, r, out);
    if (exit_code != 0)
        return exit_code;
    if ((*out)->status >= 400)
        client_problem_print(*out);
    return client_exit_of((*out)->status);
}

cJSON *client_get_json(struct client *c, const char *path, int *exit_code)
{
    const struct http_client_response *reply;
    struct client_request r = {.method = HTTP_GET, .path = path};
    *exit_code = client_do(c, &r, &reply);
    if (*exit_code != 0)
        return NULL;
    cJSON *o = cJSON_ParseWithLength((const char *)reply->body.data, reply->body.len);
    if (o == NULL) {
        fprintf(stderr, "atoll: the node's answer is not JSON; is it an Atoll node?\n");
        *exit_code = CLIENT_UNREACHABLE;
    }
    return o;
}

bool client_function_path(const char *prefix, const char *name, char *out, size_t size)
{
    char tenant[NAME_MAX_LEN + 1], function[NAME_MAX_LEN + 1];
    struct error e;
    if (name_split(name, strlen(name), tenant, function, &e) != 0) {
        report_error(&e);
        return false;
    }
    return (size_t)snprintf(out, size, "%s/%s/%s", prefix, tenant, function) < size;
}

bool client_path_append(char *path, size_t size, const void *bytes, size_t len, bool keep_slash)
{
    struct error e;
    size_t at = strlen(path);
    if (url_encode(bytes, len, keep_slash, path + at, size - at, &e) >= 0)
        return true;
    report_error(&e);
    return false;
}

int client_data_read(const char *argument, struct buffer *out, struct error *e)
{
    if (strcmp(argument, "-") == 0)
        return file_read_fd(STDIN_FILENO, "standard input", DATA_MAX, out, e);
    if (argument[0] == '@')
        return file_read(argument + 1, DATA_MAX, out, e);
    return buffer_append(out, argument, strlen(argument))
               ? 0
               : error_set(e, ATOLL_ENOMEM, "no memory for the input");
}
