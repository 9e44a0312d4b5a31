/* `atoll state`: shared state of tenants. A key is written TENANT/KEY; the key may hold slashes. */
#include "cli/action.h"
#include "cli/table.h"

#include "base/file.h"
#include "node/manifest.h"

#include <stdio.h>
#include <stdlib.h>

#define OFFSET_NONE UINT64_MAX

struct request {
    struct client_settings client;
    const char *if_version;
    uint64_t from;
    uint64_t offset; /* OFFSET_NONE: the whole value */
};

/* "/v1/state/TENANT/KEY" */
static bool key_path(const char *name, char *path, size_t size)
{
    const char *slash = strchr(name, '/');
    if (slash == NULL || !name_is_valid(name, (size_t)(slash - name)) || slash[1] == 0) {
        fprintf(stderr, "atoll: \"%s\" names no key: write TENANT/KEY\n", name);
        return false;
    }
    snprintf(path, size, "/v1/state/%.*s/", (int)(slash - name), name);
    /* Slashes encoded, too: a key may have dots between them, which a path may not. */
    return client_path_append(path, size, slash + 1, strlen(slash + 1), false);
}

static int body_write(void *context, const void *data, size_t len)
{
    return fwrite(data, 1, len, context) == len ? 0 : -1;
}

static int get_run(void *request, struct client *c, const char *const *operands, size_t count)
{
    const struct http_client_response *reply;
    char path[2048];
    (void)request;
    (void)count;
    if (!key_path(operands[0], path, sizeof path))
        return EXIT_USAGE;
    struct client_request get = {
        .method = HTTP_GET, .path = path, .write = body_write, .context = stdout};
    int exit_code = client_do(c, &get, &reply);
    return exit_code == 0 && fflush(stdout) != 0 ? (int)EXIT_ATOLL : exit_code;
}

static int bytes_send(struct request *r, struct client *c, enum http_method method, char *path,
                      const char *data)
{
    const struct http_client_response *reply;
    struct http_header header;
    char version[40];
    struct buffer bytes = {0};
    struct error e;
    if (client_data_read(data, &bytes, &e) != 0) {
        report_error(&e);
        return EXIT_NO_FILE;
    }
    struct client_request request = {
        .method = method, .path = path, .body = bytes.data, .body_len = bytes.len};
    if (r->if_version) {
        snprintf(version, sizeof version, "\"%.30s\"", r->if_version);
        header = http_header_text("if-match", version);
        request.headers = &header;
        request.header_count = 1;
    }
    int exit_code = client_do(c, &request, &reply);
    const char *etag = exit_code == 0 ? http_head_value(reply->head, "etag") : NULL;
    if (etag && r->client.json)
        printf("{\"version\":%s}\n", etag);
    buffer_free(&bytes);
    return exit_code;
}

static int put_run(void *request, struct client *c, const char *const *operands, size_t count)
{
    struct request *r = request;
    char path[2048];
    if (!key_path(operands[0], path, sizeof path))
        return EXIT_USAGE;
    bool part = r->offset != OFFSET_NONE;
    if (part)
        snprintf(path + strlen(path), sizeof path - strlen(path), "?offset=%llu",
                 (unsigned long long)r->offset);
    return bytes_send(r, c, part ? HTTP_PATCH : HTTP_PUT, path, count > 1 ? operands[1] : "-");
}

static int append_run(void *request, struct client *c, const char *const *operands, size_t count)
{
    char path[2048];
    if (!key_path(operands[0], path, sizeof path))
        return EXIT_USAGE;
    strncat(path, "/entries", sizeof path - strlen(path) - 1);
    return bytes_send(request, c, HTTP_POST, path, count > 1 ? operands[1] : "-");
}

/* Base64 (RFC 4648) to bytes, in place; the length. */
static size_t base64_read(char *text)
{
    uint32_t bits = 0;
    unsigned have = 0;
    size_t len = 0;
    for (const char *p = text; *p && *p != '='; p++) {
        unsigned v = *p >= 'A' && *p <= 'Z'   ? (unsigned)(*p - 'A')
                     : *p >= 'a' && *p <= 'z' ? (unsigned)(*p - 'a') + 26
                     : *p >= '0' && *p <= '9' ? (unsigned)(*p - '0') + 52
                     : *p == '+'              ? 62
                                              : 63;
        bits = bits << 6 | v;
        if ((have += 6) >= 8) {
            have -= 8;
            text[len++] = (char)(bits >> have);
        }
    }
    return len;
}

static int entries_run(void *request, struct client *c, const char *const *operands, size_t count)
{
    struct request *r = request;
    const struct http_client_response *reply;
    char path[2048];
    (void)count;
    if (!key_path(operands[0], path, sizeof path))
        return EXIT_USAGE;
    snprintf(path + strlen(path), sizeof path - strlen(path), "?entries=%llu",
             (unsigned long long)r->from);
    struct client_request get = {.method = HTTP_GET, .path = path};
    int exit_code = client_do(c, &get, &reply);
    if (exit_code != 0)
        return exit_code;
    if (r->client.json) {
        fwrite(reply->body.data, 1, reply->body.len, stdout);
        return exit_code;
    }
    const char *at = (const char *)reply->body.data, *end = at + reply->body.len;
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        stop = stop ? stop : end;
        cJSON *o = cJSON_ParseWithLength(at, (size_t)(stop - at));
        cJSON *text = cJSON_GetObjectItemCaseSensitive(o, "base64");
        if (cJSON_IsString(text))
            fwrite(text->valuestring, 1, base64_read(text->valuestring), stdout);
        putchar('\n');
        cJSON_Delete(o);
        at = stop + 1;
    }
    return exit_code;
}

static int remove_run(void *request, struct client *c, const char *const *operands, size_t count)
{
    char path[2048];
    (void)request;
    (void)count;
    if (!key_path(operands[0], path, sizeof path))
        return EXIT_USAGE;
    return action_send(c, HTTP_DELETE, path, NULL);
}

static void keys_print(const cJSON *o)
{
    static const char *const heads[] = {"KEY", ">BYTES", ">VERSION", ">ENTRIES", NULL};
    const cJSON *one;
    struct table *t = table_create(heads);
    cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(o, "keys"))
    {
        table_cell(t, "%s", member_text(one, "key"));
        table_cell(t, "%.0f", member_number(one, "size"));
        table_cell(t, "%.0f", member_number(one, "version"));
        table_cell(t, "%.0f", member_number(one, "entries"));
    }
    table_print(t, stdout);
    if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(o, "more")))
        printf("and more; give a prefix: atoll state ls TENANT/PREFIX\n");
}

static int list_run(void *request, struct client *c, const char *const *operands, size_t count)
{
    struct request *r = request;
    (void)count;
    return action_list(c, &r->client, "state", operands[0], keys_print);
}

static int state_run(int argc, char **argv)
{
    static const struct action actions[] = {
        {"get", 1, 1, get_run},
        {"put", 1, 2, put_run},
        {"ls", 1, 1, list_run},
        {"rm", 1, 1, remove_run},
        {"append", 1, 2, append_run},
        {"entries", 1, 1, entries_run},
        {0},
    };
    struct request r = {.offset = OFFSET_NONE};
    const struct option_spec options[] = {
        {"if-version", 0, OPTION_TEXT, "N", "put: only over this version", &r.if_version, NULL},
        {"offset", 0, OPTION_COUNT, "N", "put: these bytes from here on, the rest stays", &r.offset,
         NULL},
        {"from", 0, OPTION_COUNT, "N", "entries: from this one on", &r.from, NULL},
        CLIENT_OPTIONS(&r.client),
    };
    return action_command(&command_state, options, 3 + CLIENT_OPTION_COUNT, argc, argv, actions, &r,
                          &r.client);
}

const struct command command_state = {
    .name = "state",
    .usage = "get T/KEY | put T/KEY [DATA] | ls T[/PREFIX] | rm T/KEY | append T/KEY [DATA] | "
             "entries T/KEY",
    .summary = "read and change shared state",
    .description =
        "  get T/KEY            print the value\n"
        "  put T/KEY [DATA]     set it (or, with --offset, a part); DATA is text, @FILE or -\n"
        "                       (standard input, the default)\n"
        "  ls T[/PREFIX]        keys, their sizes and versions\n"
        "  rm T/KEY             remove value and entries\n"
        "  append T/KEY [DATA]  add an entry\n"
        "  entries T/KEY        print the entries, a line each\n"
        "\n"
        "Changes are on disk when the command ends." CLIENT_EXITS(
            "the node refused; its reason is printed"),
    .run = state_run,
};
