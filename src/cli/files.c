/* `atoll files`: files that a tenant keeps on a node. */
#include "cli/action.h"
#include "cli/table.h"

#include "node/manifest.h"

#include <stdio.h>

struct request {
    struct client_settings client;
};

/* "/v1/files/TENANT/PATH" */
static bool file_path(const char *name, char *path, size_t size)
{
    const char *slash = strchr(name, '/');
    if (slash == NULL || !name_is_valid(name, (size_t)(slash - name)) || slash[1] == 0) {
        fprintf(stderr, "atoll: \"%s\" names no file: write TENANT/PATH\n", name);
        return false;
    }
    snprintf(path, size, "/v1/files/%.*s/", (int)(slash - name), name);
    return client_path_append(path, size, slash + 1, strlen(slash + 1), true);
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
    if (!file_path(operands[0], path, sizeof path))
        return EXIT_USAGE;
    struct client_request get = {
        .method = HTTP_GET, .path = path, .write = body_write, .context = stdout};
    int exit_code = client_do(c, &get, &reply);
    return exit_code == 0 && fflush(stdout) != 0 ? (int)EXIT_ATOLL : exit_code;
}

static int put_run(void *request, struct client *c, const char *const *operands, size_t count)
{
    const struct http_client_response *reply;
    char path[2048], source[4100];
    struct buffer bytes = {0};
    struct error e;
    (void)request;
    if (!file_path(operands[0], path, sizeof path))
        return EXIT_USAGE;
    snprintf(source, sizeof source, "%s%s", count > 1 && strcmp(operands[1], "-") ? "@" : "",
             count > 1 ? operands[1] : "-");
    if (client_data_read(source, &bytes, &e) != 0) {
        report_error(&e);
        return EXIT_NO_FILE;
    }
    struct client_request put = {
        .method = HTTP_PUT, .path = path, .body = bytes.data, .body_len = bytes.len};
    int exit_code = client_do(c, &put, &reply);
    buffer_free(&bytes);
    return exit_code;
}

static int remove_run(void *request, struct client *c, const char *const *operands, size_t count)
{
    char path[2048];
    (void)request;
    (void)count;
    return file_path(operands[0], path, sizeof path) ? action_send(c, HTTP_DELETE, path, NULL)
                                                     : (int)EXIT_USAGE;
}

static void files_print(const cJSON *o)
{
    static const char *const heads[] = {"PATH", ">BYTES", "MODIFIED", NULL};
    const cJSON *one;
    struct table *t = table_create(heads);
    cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(o, "files"))
    {
        table_cell(t, "%s", member_text(one, "path"));
        table_cell(t, "%.0f", member_number(one, "size"));
        table_cell(t, "%s", member_text(one, "modified"));
    }
    table_print(t, stdout);
}

static int list_run(void *request, struct client *c, const char *const *operands, size_t count)
{
    struct request *r = request;
    (void)count;
    return action_list(c, &r->client, "files", operands[0], files_print);
}

static int files_run(int argc, char **argv)
{
    static const struct action actions[] = {
        {"get", 1, 1, get_run},
        {"put", 1, 2, put_run},
        {"ls", 1, 1, list_run},
        {"rm", 1, 1, remove_run},
        {0},
    };
    struct request r = {0};
    const struct option_spec options[] = {CLIENT_OPTIONS(&r.client)};
    return action_command(&command_files, options, CLIENT_OPTION_COUNT, argc, argv, actions, &r,
                          &r.client);
}

const struct command command_files = {
    .name = "files",
    .usage = "get T/PATH | put T/PATH [FILE] | ls T[/PREFIX] | rm T/PATH",
    .summary = "read and change a tenant's files",
    .description = "  get T/PATH         print the file\n"
                   "  put T/PATH [FILE]  replace it as a whole (default: by standard input)\n"
                   "  ls T[/PREFIX]      list files\n"
                   "  rm T/PATH          remove it\n"
                   "\n"
                   "Functions of the tenant find them beneath /shared." CLIENT_EXITS(
                       "the node refused; its reason is printed"),
    .run = files_run,
};
