/* Shared files: PUT, GET, DELETE /v1/files/{tenant}/{path}; GET /v1/files/{tenant}?prefix= lists.
 */
#define _GNU_SOURCE
#include "node/gateway/exchange.h"

#include "node/files.h"

#define PATH       "/v1/files/{tenant}/{rest}"
#define UPLOAD_MAX (256ull << 20)

static void answer_ignored(struct exchange *x)
{
    x->gone = NULL;
}

static void content_released(void *context, const void *body, size_t len)
{
    (void)body;
    (void)len;
    blob_release(context);
}

static void content_came(void *context, int code, const struct error *e, struct blob *content,
                         const struct file_entry *entry)
{
    struct exchange *x = context;
    char etag[32], modified[HTTP_DATE_LEN + 1];
    x->gone = NULL;
    if (code != 0) {
        exchange_error(x, e);
        return;
    }
    struct exchange_headers headers = {0};
    snprintf(etag, sizeof etag, "\"%llu\"", (unsigned long long)entry->version);
    http_date((time_t)(entry->modified_ns / 1000000000), modified);
    exchange_headers_add(&headers, "content-type", "application/octet-stream");
    exchange_headers_add(&headers, "etag", etag);
    exchange_headers_add(&headers, "last-modified", modified);
    struct http_response response = {.status = 200,
                                     .headers = headers.list,
                                     .header_count = headers.count,
                                     .body = blob_bytes(content),
                                     .body_len = content->len,
                                     .release = content_released,
                                     .release_context = blob_retain(content)};
    exchange_respond(x, &response);
}

static void changed(void *context, int code, const struct error *e, struct blob *content,
                    const struct file_entry *entry)
{
    struct exchange *x = context;
    (void)content;
    (void)entry;
    x->gone = NULL;
    if (code != 0)
        exchange_error(x, e);
    else
        exchange_respond(x, &(struct http_response){.status = 204});
}

static void get_handle(struct exchange *x)
{
    x->gone = answer_ignored;
    files_get(x->node->files, x->tenant, x->text, content_came, x);
}

static void put_handle(struct exchange *x)
{
    struct buffer body = http_request_body_take(x->request);
    struct blob *content = body.data ? blob_adopt(body.data, body.len) : blob_create(NULL, 0);
    if (content == NULL) {
        exchange_problem(x, 503, "no memory for a file");
        return;
    }
    x->gone = answer_ignored;
    files_put(x->node->files, x->tenant, x->text, content, changed, x);
    blob_release(content);
}

static void delete_handle(struct exchange *x)
{
    x->gone = answer_ignored;
    files_remove(x->node->files, x->tenant, x->text, changed, x);
}

static bool file_listed(void *context, const struct file_entry *f)
{
    cJSON *list = context, *o = cJSON_CreateObject();
    char modified[32];
    time_text(f->modified_ns, modified);
    cJSON_AddStringToObject(o, "path", f->path);
    cJSON_AddNumberToObject(o, "size", (double)f->len);
    cJSON_AddNumberToObject(o, "version", (double)f->version);
    cJSON_AddStringToObject(o, "modified", modified);
    cJSON_AddItemToArray(list, o);
    return true;
}

static void list_handle(struct exchange *x)
{
    static const char *const known[] = {"prefix", NULL};
    char prefix[FILE_PATH_MAX + 1] = "";
    if (!exchange_query_only(x, known) ||
        exchange_query(x, "prefix", prefix, sizeof prefix) == -ATOLL_EINVAL)
        return;
    cJSON *o = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(o, "files");
    files_list(x->node->files, x->tenant, prefix, file_listed, list);
    exchange_json(x, 200, o);
}

const struct route routes_file[] = {
    {.method = HTTP_GET, .pattern = PATH, .handle = get_handle, .scopes = SCOPE_FILES},
    {.method = HTTP_PUT,
     .pattern = PATH,
     .handle = put_handle,
     .scopes = SCOPE_FILES,
     .body_max = UPLOAD_MAX},
    {.method = HTTP_DELETE, .pattern = PATH, .handle = delete_handle, .scopes = SCOPE_FILES},
    {.method = HTTP_GET,
     .pattern = "/v1/files/{tenant}",
     .handle = list_handle,
     .scopes = SCOPE_FILES},
    {0},
};
