/*
 * See registry.h: uploads.
 *
 *   received ─▶ kept in modules/ (pool) ─▶ version found or made ─▶ runnable ─▶ written, alias
 * moved
 *
 * What takes long (reading, hashing, synchronising the file) happens in libuv's pool; the table is
 * the loop thread's. A module that is kept and then not used is removed by the next start.
 */
#define _GNU_SOURCE
#include "node/registry_table.h"

#include "base/clock.h"
#include "base/file.h"
#include "node/node.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

struct receiving {
    uv_work_t work;
    struct registry *registry;
    char path[PATH_MAX];
    char alias[NAME_MAX_LEN + 1];
    char tenant[NAME_MAX_LEN + 1], function[NAME_MAX_LEN + 1];
    struct buffer canonical;
    char name[2 * HASH_LEN + 1]; /* of the version */
    uint8_t module[HASH_LEN];
    uint64_t module_bytes;
    int code;
    struct error error;
    upload_done done;
    void *context;
};

/* ---- in the pool ---- */

/* Moves the module to its place, durably. */
static int module_keep(const struct receiving *u, struct error *e)
{
    char to[PATH_MAX], folder[PATH_MAX], hex[2 * HASH_LEN + 1];
    hash_hex(u->module, hex);
    registry_path(u->registry, "modules", hex, ".wasm", to);
    registry_path(u->registry, "modules", "", "", folder);
    if (access(to, F_OK) == 0) {
        unlink(u->path);
        return 0;
    }
    int fd = open(u->path, O_RDONLY | O_CLOEXEC);
    int rc = fd < 0 || fsync(fd) != 0 || rename(u->path, to) != 0
                 ? error_set_errno(e, 0, "cannot keep the uploaded module as %s", to)
                 : 0;
    if (fd >= 0)
        close(fd);
    fd = rc == 0 ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    return rc;
}

static void module_receive(uv_work_t *work)
{
    struct receiving *u = work->data;
    struct buffer bytes = {0};
    uint8_t both[HASH_LEN];
    u->code = file_read(u->path, MODULE_BYTES_MAX, &bytes, &u->error);
    if (u->code == 0) {
        u->module_bytes = bytes.len;
        hash_sha256(bytes.data, bytes.len, u->module);
        if (!buffer_append(&bytes, u->canonical.data, u->canonical.len))
            u->code = error_set(&u->error, ATOLL_ENOMEM, "no memory for a module");
    }
    if (u->code == 0) {
        hash_sha256(bytes.data, bytes.len, both);
        hash_hex(both, u->name);
        u->name[VERSION_NAME_LEN] = 0;
        u->code = module_keep(u, &u->error);
    }
    if (u->code != 0)
        unlink(u->path);
    buffer_free(&bytes);
}

/* ---- on the loop ---- */

static void upload_prepared(void *context, struct function_version *v, const struct error *failed)
{
    struct change *c = context;
    struct registry *r = c->registry;
    struct error e;
    if (failed) {
        c->result.stage = v->stage ? v->stage : "codegen";
        if (!v->stored && v->writing == 0)
            function_version_unlink(r, v); /* whoever runs the waiters still holds it */
        change_end(c, failed->code, failed);
        return;
    }
    if (v->unlinked) {
        c->result.stage = "store";
        error_set(&e, ATOLL_EBUSY, "%s/%s was removed while it was uploaded", c->function->tenant,
                  c->function->name);
        change_end(c, e.code, &e);
        return;
    }
    struct alias_entry *a = c->alias[0] ? alias_find(c->function, c->alias) : NULL;
    if (a && a->alias.version == v)
        c->alias[0] = 0; /* it is there already */
    else if (a)
        c->previous = version_retain(a->alias.version);
    if (c->alias[0] || !v->stored)
        change_write(c);
    else
        change_end(c, 0, NULL);
}

/* Finds the version or makes it. */
static struct function_version *upload_version(struct receiving *u, bool *created)
{
    struct registry *r = u->registry;
    struct function *f = function_find(r, u->tenant, u->function);
    struct function_version *v = f ? function_version_find(f, u->name) : NULL;
    *created = v == NULL;
    if (v != NULL || (v = version_make(r, &u->canonical, &u->error)) == NULL)
        return v;
    strcpy(v->name, u->name);
    memcpy(v->module_sha256, u->module, HASH_LEN);
    v->module_bytes = u->module_bytes;
    v->created_ns = clock_ns(CLOCK_REALTIME);
    return v;
}

static void receiving_free(struct receiving *u)
{
    buffer_free(&u->canonical);
    free(u);
}

static void module_received(uv_work_t *work, int status)
{
    struct receiving *u = work->data;
    struct registry *r = u->registry;
    struct upload_result failed = {.stage = "receive"};
    struct function_version *v = NULL;
    struct change *c = NULL;
    bool created = false;
    (void)status;
    r->receiving--;
    r->node->disk_jobs--;
    if (u->code == 0 && (v = upload_version(u, &created)) == NULL)
        u->code = u->error.code;
    if (u->code == 0 && (c = calloc(1, sizeof *c)) == NULL)
        u->code = error_set(&u->error, ATOLL_ENOMEM, "no memory for an upload");
    if (u->code != 0) {
        if (created && v)
            function_version_unlink(r, v);
        failed.error = u->error;
        u->done(u->context, &failed);
        receiving_free(u);
        return;
    }
    *c = (struct change){.registry = r,
                         .function = v->function,
                         .version = version_retain(v),
                         .uploaded = u->done,
                         .context = u->context,
                         .result = {.created = created}};
    strcpy(c->alias, u->alias);
    receiving_free(u);
    registry_prepare(r, v, upload_prepared, c);
}

void registry_upload(struct registry *r, const char *path, const struct manifest *m,
                     const char *alias, upload_done done, void *context)
{
    struct upload_result failed = {.stage = "receive"};
    struct receiving *u = calloc(1, sizeof *u);
    int rc = u ? manifest_canonical(m, &u->canonical, &failed.error)
               : error_set(&failed.error, ATOLL_ENOMEM, "no memory for an upload");
    if (rc == 0) {
        u->work.data = u;
        u->registry = r;
        u->done = done;
        u->context = context;
        snprintf(u->path, sizeof u->path, "%s", path);
        snprintf(u->alias, sizeof u->alias, "%s", alias ? alias : "live");
        strcpy(u->tenant, m->tenant);
        strcpy(u->function, m->function);
        if (uv_queue_work(r->node->loop, &u->work, module_receive, module_received) != 0)
            rc = error_set(&failed.error, ATOLL_ENOMEM, "no memory for an upload");
    }
    if (rc != 0) {
        unlink(path);
        if (u)
            receiving_free(u);
        done(context, &failed);
        return;
    }
    r->receiving++;
    r->node->disk_jobs++;
}
