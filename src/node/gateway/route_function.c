/*
 * Functions: upload, list, describe, remove, move aliases.
 *
 * An upload is multipart/form-data with a part "module" (the bytes) and perhaps a part "manifest"
 * (YAML or JSON), or the bare module as application/wasm with a manifest of defaults. The module
 * streams to a file beneath data/uploads, which the registry takes over; whatever ends the request
 * early removes it.
 */
#define _GNU_SOURCE
#include "node/gateway/exchange.h"

#include "base/file.h"
#include "net/multipart.h"
#include "node/registry.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

struct upload {
    bool form, has_module, has_manifest, in_module;
    struct multipart multipart;
    int fd;
    char path[PATH_MAX];
    uint64_t module_bytes;
    struct buffer manifest;
    unsigned status; /* of the first trouble; the rest of the body is read and dropped */
    struct error error;
};

static void upload_free(struct exchange *x)
{
    struct upload *u = x->own;
    x->own = NULL;
    if (u == NULL)
        return;
    if (u->fd >= 0) {
        close(u->fd);
        unlink(u->path);
    }
    buffer_free(&u->manifest);
    free(u);
}

static void upload_gone(struct exchange *x)
{
    x->gone = NULL;
    upload_free(x);
    exchange_drop(x);
}

static bool upload_begin(struct exchange *x)
{
    const char *type = exchange_header(x, "content-type");
    struct upload *u = calloc(1, sizeof *u);
    struct error e;
    if (u == NULL) {
        exchange_problem(x, 503, "no memory for an upload");
        return false;
    }
    x->own = u;
    x->gone = upload_gone;
    u->fd = -1;
    u->form = type != NULL && strncasecmp(type, "multipart/", 10) == 0;
    if (u->form && multipart_init(&u->multipart, type, &e) != 0) {
        upload_free(x);
        x->gone = NULL;
        exchange_error(x, &e);
        return false;
    }
    snprintf(u->path, sizeof u->path, "%s/uploads/XXXXXX", x->node->config.data);
    u->fd = mkostemp(u->path, O_CLOEXEC);
    if (u->fd < 0) {
        error_set_errno(&e, ATOLL_EIO, "cannot store the upload as %s", u->path);
        upload_free(x);
        x->gone = NULL;
        exchange_error(x, &e);
        return false;
    }
    u->in_module = u->has_module = !u->form;
    return true;
}

static void trouble(struct upload *u, unsigned status, int code, const char *text)
{
    if (u->status != 0)
        return;
    u->status = status;
    error_set(&u->error, code, "%s", text);
}

static void bytes_take(struct exchange *x, struct upload *u, const uint8_t *data, size_t len)
{
    if (!u->in_module) {
        if (u->manifest.len + len > MANIFEST_BYTES_MAX)
            trouble(u, 413, ATOLL_ESIZE, "the manifest is too long");
        else if (!buffer_append(&u->manifest, data, len))
            trouble(u, 503, ATOLL_ENOMEM, "no memory for the manifest");
        return;
    }
    u->module_bytes += len;
    if (u->module_bytes > x->node->config.module_bytes)
        trouble(u, 413, ATOLL_ESIZE, "the module is larger than this node takes (limits.module)");
    else if (file_write_all(u->fd, data, len, &u->error) != 0 && u->status == 0)
        u->status = 507;
}

static void part_begin(struct upload *u)
{
    const char *name = u->multipart.part.name;
    bool module = strcmp(name, "module") == 0;
    bool *seen = module ? &u->has_module : &u->has_manifest;
    if (!module && strcmp(name, "manifest") != 0)
        trouble(u, 400, ATOLL_EINVAL, "the form has a part that is neither module nor manifest");
    if (*seen)
        trouble(u, 400, ATOLL_EINVAL, "the form has a part twice");
    *seen = true;
    u->in_module = module;
}

static bool upload_piece(struct exchange *x, const uint8_t *data, size_t len)
{
    struct upload *u = x->own;
    struct multipart_event event = {.kind = MULTIPART_PART};
    if (u == NULL || u->status != 0)
        return true;
    if (!u->form) {
        bytes_take(x, u, data, len);
        return true;
    }
    while (u->status == 0 && event.kind != MULTIPART_NONE) {
        size_t took = multipart_read(&u->multipart, data, len, &event);
        data += took;
        len -= took;
        if (event.kind == MULTIPART_PART)
            part_begin(u);
        else if (event.kind == MULTIPART_DATA)
            bytes_take(x, u, event.data, event.len);
        else if (event.kind == MULTIPART_ERROR)
            trouble(u, 400, ATOLL_EINVAL, event.reason);
    }
    return true;
}

/* ---- the answer to an upload ---- */

static cJSON *version_json(const struct function_version *v)
{
    static const char *const states[] = {"stored", "building", "ready", "broken"};
    char created[32], hex[2 * HASH_LEN + 1];
    cJSON *o = cJSON_CreateObject();
    hash_hex(v->module_sha256, hex);
    time_text(v->created_ns, created);
    cJSON_AddStringToObject(o, "version", v->name);
    cJSON_AddStringToObject(o, "state", states[v->state]);
    cJSON_AddStringToObject(o, "module_sha256", hex);
    cJSON_AddNumberToObject(o, "module_bytes", (double)v->module_bytes);
    cJSON_AddNumberToObject(o, "image_bytes", (double)v->image_bytes);
    cJSON_AddStringToObject(o, "created", created);
    if (v->state == VERSION_BROKEN)
        cJSON_AddStringToObject(o, "problem", v->problem.text);
    return o;
}

static void upload_refused(struct exchange *x, unsigned status, const char *stage,
                           const struct error *e)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "type", "about:blank");
    cJSON_AddStringToObject(o, "title", http_status_text(status));
    cJSON_AddNumberToObject(o, "status", status);
    cJSON_AddStringToObject(o, "stage", stage);
    cJSON_AddStringToObject(o, "detail", e->text);
    if (e->offset != ERROR_NOWHERE)
        cJSON_AddNumberToObject(o, "offset", (double)e->offset);
    exchange_json_as(x, status, HTTP_PROBLEM_TYPE, o);
}

static void upload_answered(void *context, const struct upload_result *r)
{
    struct exchange *x = context;
    x->gone = NULL;
    if (r->error.code != 0) {
        unsigned status = exchange_status_of(r->error.code);
        upload_refused(x, status == 400 || status == 504 ? 422 : status,
                       r->stage ? r->stage : "receive", &r->error);
        return;
    }
    cJSON *o = version_json(r->version);
    char name[2 * NAME_MAX_LEN + 2];
    snprintf(name, sizeof name, "%s/%s", x->tenant, x->name);
    cJSON_AddStringToObject(o, "function", name);
    cJSON_AddBoolToObject(o, "created_now", r->created);
    exchange_json(x, r->created ? 201 : 200, o);
}

static int upload_manifest(struct exchange *x, struct upload *u, struct manifest *m,
                           struct error *e)
{
    char name[2 * NAME_MAX_LEN + 2];
    snprintf(name, sizeof name, "%s/%s", x->tenant, x->name);
    return u->has_manifest ? manifest_parse(u->manifest.data, u->manifest.len, name, m, e)
                           : manifest_default(name, m, e);
}

/* Somebody waits for nothing any more, but the registry's callback will still come. */
static void upload_ignored(struct exchange *x)
{
    x->gone = NULL;
}

static void upload_handle(struct exchange *x)
{
    struct upload *u = x->own;
    struct manifest m;
    char alias[NAME_MAX_LEN + 1] = "live", path[PATH_MAX];
    x->gone = NULL;
    if (u->status == 0 && u->form && !multipart_complete(&u->multipart))
        trouble(u, 400, ATOLL_EINVAL, "the form ends before its last boundary");
    if (u->status == 0 && (!u->has_module || u->module_bytes == 0))
        trouble(u, 400, ATOLL_EINVAL, "there is no module in the upload");
    int rc = u->status ? 0 : exchange_query(x, "alias", alias, sizeof alias);
    if (rc == -ATOLL_EINVAL) {
        upload_free(x);
        return;
    }
    if (u->status == 0 && rc >= 0 && alias[0] && !name_is_valid(alias, strlen(alias)))
        trouble(u, 400, ATOLL_EINVAL, "the alias must be of a-z, 0-9 and -");
    if (u->status == 0 && upload_manifest(x, u, &m, &u->error) != 0)
        u->status = 422;
    if (u->status != 0) {
        struct error e = u->error;
        unsigned status = u->status;
        upload_free(x);
        upload_refused(x, status, "receive", &e);
        return;
    }
    memcpy(path, u->path, sizeof path);
    close(u->fd);
    u->fd = -1; /* the registry owns the file now */
    upload_free(x);
    x->gone = upload_ignored;
    registry_upload(x->node->registry, path, &m, alias, upload_answered, x);
    manifest_free(&m);
}

static uint64_t upload_limit(struct exchange *x)
{
    return x->node->config.module_bytes + MANIFEST_BYTES_MAX + 65536;
}

/* ---- listing and describing ---- */

static bool alias_list(void *context, const struct alias *a)
{
    cJSON *list = context, *o = cJSON_CreateObject();
    char name[2 * NAME_MAX_LEN + 2];
    snprintf(name, sizeof name, "%s/%s", a->tenant, a->function);
    cJSON_AddStringToObject(o, "function", name);
    cJSON_AddStringToObject(o, "alias", a->name);
    cJSON_AddStringToObject(o, "version", a->version->name);
    if (a->previous)
        cJSON_AddStringToObject(o, "previous", a->previous->name);
    cJSON_AddItemToArray(list, o);
    return true;
}

static void list_handle(struct exchange *x)
{
    const char *tenant = x->tenant[0] ? x->tenant : x->token ? x->token->tenant : "";
    cJSON *o = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(o, "functions");
    registry_aliases(x->node->registry, tenant[0] ? tenant : NULL, alias_list, list);
    exchange_json(x, 200, o);
}

struct describing {
    cJSON *versions, *aliases;
    const struct function_version *newest;
    const char *function;
};

static bool version_describe(void *context, const struct function_version *v)
{
    struct describing *d = context;
    if (d->newest == NULL)
        d->newest = v;
    cJSON_AddItemToArray(d->versions, version_json(v));
    return true;
}

static bool alias_describe(void *context, const struct alias *a)
{
    struct describing *d = context;
    if (strcmp(a->function, d->function) == 0) {
        alias_list(d->aliases, a);
        if (strcmp(a->name, "live") == 0)
            d->newest = a->version;
    }
    return true;
}

static void describe_handle(struct exchange *x)
{
    cJSON *o = cJSON_CreateObject();
    struct describing d = {.function = x->name};
    char name[2 * NAME_MAX_LEN + 2];
    snprintf(name, sizeof name, "%s/%s", x->tenant, x->name);
    cJSON_AddStringToObject(o, "function", name);
    d.aliases = cJSON_AddArrayToObject(o, "aliases");
    d.versions = cJSON_AddArrayToObject(o, "versions");
    registry_versions(x->node->registry, x->tenant, x->name, version_describe, &d);
    registry_aliases(x->node->registry, x->tenant, alias_describe, &d);
    if (d.newest == NULL) {
        cJSON_Delete(o);
        exchange_problem(x, 404, "there is no function %s", name);
        return;
    }
    cJSON_AddItemToObject(
        o, "manifest",
        cJSON_ParseWithLength((const char *)d.newest->canonical.data, d.newest->canonical.len));
    exchange_json(x, 200, o);
}

/* ---- changing ---- */

static void change_answered(void *context, int code, const struct error *e)
{
    struct exchange *x = context;
    if (code != 0)
        exchange_error(x, e);
    else
        exchange_respond(x, &(struct http_response){.status = 204});
}

static void remove_handle(struct exchange *x)
{
    registry_remove(x->node->registry, x->tenant, x->name, change_answered, x);
}

/* POST …/alias/{alias} with {"version": "…"} or {"rollback": true}. */
static void alias_handle(struct exchange *x)
{
    cJSON *o = exchange_body_json(x);
    if (o == NULL)
        return;
    const cJSON *version = cJSON_GetObjectItemCaseSensitive(o, "version");
    const cJSON *rollback = cJSON_GetObjectItemCaseSensitive(o, "rollback");
    if (cJSON_IsString(version) && rollback == NULL)
        registry_alias_move(x->node->registry, x->tenant, x->name, x->text, version->valuestring,
                            change_answered, x);
    else if (cJSON_IsTrue(rollback) && version == NULL)
        registry_alias_rollback(x->node->registry, x->tenant, x->name, x->text, change_answered, x);
    else
        exchange_problem(x, 400, "the body must be {\"version\": \"…\"} or {\"rollback\": true}");
    cJSON_Delete(o);
}

#define FUNCTION "/v1/functions/{tenant}/{name}"

const struct route routes_function[] = {
    {.method = HTTP_PUT,
     .pattern = FUNCTION,
     .handle = upload_handle,
     .scopes = SCOPE_DEPLOY,
     .body = ROUTE_STREAM,
     .body_limit = upload_limit,
     .body_setting = "limits.module",
     .begin = upload_begin,
     .piece = upload_piece},
    {.method = HTTP_GET, .pattern = FUNCTION, .handle = describe_handle, .scopes = SCOPE_INVOKE},
    {.method = HTTP_DELETE, .pattern = FUNCTION, .handle = remove_handle, .scopes = SCOPE_DEPLOY},
    {.method = HTTP_POST,
     .pattern = FUNCTION "/alias/{text}",
     .handle = alias_handle,
     .scopes = SCOPE_DEPLOY,
     .body_max = 4096},
    {.method = HTTP_GET,
     .pattern = "/v1/functions/{tenant}",
     .handle = list_handle,
     .scopes = SCOPE_INVOKE},
    {.method = HTTP_GET, .pattern = "/v1/functions", .handle = list_handle},
    {0},
};
