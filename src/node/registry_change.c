/*
 * See registry.h: moving aliases, removing functions, collecting versions that nobody needs.
 *
 * A change is durable before it shows. While a function is being removed it takes no other change,
 * so that no alias is written behind the records' back; a version somebody holds is not collected.
 */
#define _GNU_SOURCE
#include "node/registry_table.h"

#include "node/node.h"
#include "node/workers.h"
#include "store/store.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define COLLECT_NS 3600000000000ll

void change_end(struct change *c, int code, const struct error *e)
{
    if (c->uploaded) {
        if (code != 0 && c->result.error.code == 0)
            c->result.error = *e;
        c->result.version = c->version;
        c->uploaded(c->context, &c->result);
    } else {
        c->done(c->context, code, e);
    }
    version_release(c->registry, c->version);
    version_release(c->registry, c->previous);
    free(c);
}

static void alias_written(void *context, const struct gt_result *result)
{
    struct change *c = context;
    struct function_version *v = c->version;
    struct error e;
    int code = result->code;
    c->function->writing--;
    v->writing--;
    if (code != 0) {
        e = *result->error;
        c->result.stage = "store";
        if (!v->stored && v->writing == 0)
            function_version_unlink(c->registry, v); /* nobody was told of it */
    } else {
        v->stored = true;
        if (c->alias[0])
            code = alias_put(c->registry, c->function, c->alias, v, c->previous, &e);
        if (code == 0 && strcmp(c->alias, "live") == 0)
            workers_alias(c->registry->node->workers, c->function->tenant, c->function->name, v);
    }
    change_end(c, code, &e);
}

/* Answers for a function that is being removed. */
static bool removal_in_way(const struct function *f, struct error *e)
{
    if (f->removing)
        error_set(e, ATOLL_EBUSY, "%s/%s is being removed; try again", f->tenant, f->name);
    return f->removing;
}

void change_write(struct change *c)
{
    struct function_version *v = c->version;
    struct store_write writes[2];
    struct buffer record = {0};
    char keys[2][REGISTRY_KEY_MAX], alias[ALIAS_RECORD];
    uint32_t count = 0;
    struct error e;
    int rc = 0;
    if (removal_in_way(c->function, &e)) {
        change_end(c, e.code, &e);
        return;
    }
    if (!v->stored) {
        if (!version_record(v, &record))
            rc = error_set(&e, ATOLL_ENOMEM, "no memory to store a function");
        writes[count] = (struct store_write){
            STORE_PUT,   STORE_FUNCTION,
            keys[0],     registry_key(keys[0], c->function->tenant, c->function->name, v->name),
            record.data, record.len};
        count++;
    }
    if (c->alias[0]) {
        alias_record(v, c->previous, alias);
        writes[count] = (struct store_write){
            STORE_PUT, STORE_ALIAS,
            keys[1],   registry_key(keys[1], c->function->tenant, c->function->name, c->alias),
            alias,     sizeof alias};
        count++;
    }
    struct gt_callback written = {alias_written, c};
    if (rc == 0)
        rc = store_write(c->registry->node->store, writes, count, GT_DURABLE, written, &e);
    buffer_free(&record);
    if (rc != 0) {
        if (!v->stored && v->writing == 0)
            function_version_unlink(c->registry, v);
        change_end(c, rc, &e);
        return;
    }
    c->function->writing++;
    v->writing++;
}

static void change_refuse(registry_done done, void *context, const struct error *e)
{
    done(context, e->code, e);
}

static void alias_change(struct registry *r, struct function_version *v,
                         struct function_version *previous, const char *alias, registry_done done,
                         void *context)
{
    struct error e;
    struct change *c = calloc(1, sizeof *c);
    if (c == NULL) {
        error_set(&e, ATOLL_ENOMEM, "no memory to move an alias");
        change_refuse(done, context, &e);
        return;
    }
    *c = (struct change){.registry = r,
                         .function = v->function,
                         .version = version_retain(v),
                         .previous = previous ? version_retain(previous) : NULL,
                         .done = done,
                         .context = context};
    snprintf(c->alias, sizeof c->alias, "%s", alias);
    change_write(c);
}

void registry_alias_move(struct registry *r, const char *tenant, const char *function,
                         const char *alias, const char *selector, registry_done done, void *context)
{
    struct error e;
    struct function_version *v;
    if (!name_is_valid(alias, strlen(alias))) {
        error_set(&e, ATOLL_EINVAL, "\"%s\" is no alias: a-z, 0-9 and -, at most %u characters",
                  alias, NAME_MAX_LEN);
        change_refuse(done, context, &e);
        return;
    }
    if (registry_find(r, tenant, function, selector, &v, &e) != 0) {
        change_refuse(done, context, &e);
        return;
    }
    struct alias_entry *a = alias_find(v->function, alias);
    alias_change(r, v, a ? a->alias.version : NULL, alias, done, context);
}

void registry_alias_rollback(struct registry *r, const char *tenant, const char *function,
                             const char *alias, registry_done done, void *context)
{
    struct error e;
    struct function *f = function_find(r, tenant, function);
    struct alias_entry *a = f ? alias_find(f, alias) : NULL;
    if (a == NULL || a->alias.previous == NULL) {
        error_set(&e, ATOLL_ENOENT,
                  a ? "%s/%s: alias \"%s\" has no version before this one"
                    : "%s/%s has no alias \"%s\"",
                  tenant, function, alias);
        change_refuse(done, context, &e);
        return;
    }
    alias_change(r, a->alias.previous, a->alias.version, alias, done, context);
}

static void remove_written(void *context, const struct gt_result *result)
{
    struct change *c = context;
    struct registry *r = c->registry;
    struct function *f = c->function;
    f->writing--;
    f->removing = false;
    if (result->code == 0) {
        aliases_free(r, f);
        while (f->versions)
            function_version_unlink(r, f->versions);
        workers_alias(r->node->workers, f->tenant, f->name, NULL);
    }
    change_end(c, result->code, result->error);
}

void registry_remove(struct registry *r, const char *tenant, const char *function,
                     registry_done done, void *context)
{
    struct error e;
    struct function *f = function_find(r, tenant, function);
    struct change *c = calloc(1, sizeof *c);
    struct store_write *writes = calloc(STORE_WRITES_MAX, sizeof *writes);
    char(*keys)[REGISTRY_KEY_MAX] = calloc(STORE_WRITES_MAX, REGISTRY_KEY_MAX);
    uint32_t count = 0;
    int rc = 0;
    if (f == NULL || (f->versions == NULL && f->aliases == NULL))
        rc = error_set(&e, ATOLL_ENOENT, "there is no function %s/%s", tenant, function);
    else if (f->writing > 0)
        rc = error_set(&e, ATOLL_EBUSY, "%s/%s is being changed; try again", tenant, function);
    else if (c == NULL || writes == NULL || keys == NULL)
        rc = error_set(&e, ATOLL_ENOMEM, "no memory to remove a function");
    for (struct alias_entry *a = rc == 0 ? f->aliases : NULL; a && count < STORE_WRITES_MAX;
         a = a->next, count++)
        writes[count] = (struct store_write){
            STORE_DELETE, STORE_ALIAS,
            keys[count],  registry_key(keys[count], tenant, function, a->alias.name),
            NULL,         0};
    for (struct function_version *v = rc == 0 ? f->versions : NULL; v && count < STORE_WRITES_MAX;
         v = v->next, count++)
        writes[count] =
            (struct store_write){STORE_DELETE, STORE_FUNCTION,
                                 keys[count],  registry_key(keys[count], tenant, function, v->name),
                                 NULL,         0};
    if (rc == 0) {
        *c = (struct change){.registry = r, .function = f, .done = done, .context = context};
        rc = store_write(r->node->store, writes, count, GT_DURABLE,
                         (struct gt_callback){remove_written, c}, &e);
    }
    free(writes);
    free(keys);
    if (rc != 0) {
        free(c);
        change_refuse(done, context, &e);
        return;
    }
    f->writing++;
    f->removing = true;
}

/* ---- collecting ---- */

/* An alias, a call, a change: whoever needs it holds it, beside its function's list. */
static bool version_needed(const struct function_version *v)
{
    return v->references > 1 || v->state == VERSION_BUILDING || !v->stored;
}

/* Whether another version is of the same module. */
static bool module_shared(const struct registry *r, const struct function_version *v)
{
    for (uint32_t i = 0; i < r->number_count; i++) {
        const struct function_version *other = r->numbers[i];
        if (other && other != v && hash_equal(other->module_sha256, v->module_sha256))
            return true;
    }
    return false;
}

static void version_collect(struct registry *r, struct function_version *v)
{
    char key[REGISTRY_KEY_MAX], path[PATH_MAX];
    struct error e;
    struct store_write write = {
        STORE_DELETE, STORE_FUNCTION,
        key,          registry_key(key, v->function->tenant, v->function->name, v->name),
        NULL,         0};
    if (store_write(r->node->store, &write, 1, 0, (struct gt_callback){0}, &e) != 0)
        return;
    registry_image_bad(r, v);
    if (!module_shared(r, v)) {
        registry_module_path(r, v, path);
        unlink(path);
    }
    function_version_unlink(r, v);
}

void registry_collect(struct registry *r, int64_t now_ns)
{
    if (r->receiving > 0)
        return; /* it may be about to find its module's file */
    for (uint32_t i = 0; i < r->number_count; i++) {
        struct function_version *v = r->numbers[i];
        if (v == NULL || v->unlinked)
            continue;
        if (version_needed(v))
            v->unused_ns = 0;
        else if (v->unused_ns == 0)
            v->unused_ns = now_ns;
        else if (now_ns - v->unused_ns >= COLLECT_NS)
            version_collect(r, v);
    }
}