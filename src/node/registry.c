/*
 * See registry.h; this file has the table in memory: a hash table of functions, each with its
 * versions (newest first) and aliases (by name). registry_record.c keeps it in the store,
 * preparation.c makes versions runnable, upload.c and registry_change.c change it.
 */
#define _GNU_SOURCE
#include "node/registry_table.h"

#include "node/node.h"
#include "node/workers.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- finding ---- */

static uint32_t name_hash(const char *tenant, const char *name)
{
    uint32_t h = 2166136261u;
    for (; *tenant; tenant++)
        h = (h ^ (uint8_t)*tenant) * 16777619u;
    h = (h ^ '/') * 16777619u;
    for (; *name; name++)
        h = (h ^ (uint8_t)*name) * 16777619u;
    return h % FUNCTION_BUCKETS;
}

struct function *function_find(struct registry *r, const char *tenant, const char *name)
{
    struct function *f = r->buckets[name_hash(tenant, name)];
    while (f && (strcmp(f->tenant, tenant) != 0 || strcmp(f->name, name) != 0))
        f = f->next;
    return f;
}

static struct function *function_make(struct registry *r, const char *tenant, const char *name)
{
    struct function *f = function_find(r, tenant, name);
    if (f != NULL || r->function_count >= FUNCTIONS_MAX || (f = calloc(1, sizeof *f)) == NULL)
        return f;
    r->function_count++;
    struct function **bucket = &r->buckets[name_hash(tenant, name)];
    strcpy(f->tenant, tenant);
    strcpy(f->name, name);
    f->next = *bucket;
    *bucket = f;
    return f;
}

struct alias_entry *alias_find(const struct function *f, const char *name)
{
    struct alias_entry *a = f->aliases;
    while (a && strcmp(a->alias.name, name) != 0)
        a = a->next;
    return a;
}

struct function_version *function_version_find(const struct function *f, const char *name)
{
    size_t len = strlen(name);
    struct function_version *found = NULL;
    if (len < 8 || len > VERSION_NAME_LEN)
        return NULL;
    for (struct function_version *v = f->versions; v; v = v->next) {
        if (strncmp(v->name, name, len) != 0)
            continue;
        if (found)
            return NULL;
        found = v;
    }
    return found;
}

int registry_find(struct registry *r, const char *tenant, const char *function,
                  const char *selector, struct function_version **out, struct error *e)
{
    struct function *f = function_find(r, tenant, function);
    const char *name = selector ? selector : "live";
    *out = NULL;
    if (f != NULL) {
        struct alias_entry *a = alias_find(f, name);
        *out = a ? a->alias.version : function_version_find(f, name);
    }
    if (*out)
        return 0;
    if (f == NULL)
        return error_set(e, ATOLL_ENOENT, "there is no function %s/%s; deploy it first", tenant,
                         function);
    return error_set(e, ATOLL_ENOENT, "%s/%s has no alias or version \"%s\"", tenant, function,
                     name);
}

struct function_version *registry_by_number(struct registry *r, uint32_t number)
{
    return number < r->number_count ? r->numbers[number] : NULL;
}

/* ---- versions ---- */

void registry_path(const struct registry *r, const char *folder, const char *name,
                   const char *suffix, char out[static PATH_MAX])
{
    snprintf(out, PATH_MAX, "%s/%s/%s%s", r->node->config.data, folder, name, suffix);
}

void registry_module_path(const struct registry *r, const struct function_version *v,
                          char out[static PATH_MAX])
{
    char hex[2 * HASH_LEN + 1];
    hash_hex(v->module_sha256, hex);
    registry_path(r, "modules", hex, ".wasm", out);
}

static bool number_take(struct registry *r, struct function_version *v)
{
    if (r->number_count == r->number_capacity) {
        uint32_t capacity = r->number_capacity ? 2 * r->number_capacity : 64;
        void *grown = realloc(r->numbers, capacity * sizeof *r->numbers);
        if (grown == NULL)
            return false;
        r->numbers = grown;
        r->number_capacity = capacity;
    }
    v->number = r->number_count;
    r->numbers[r->number_count++] = v;
    return true;
}

struct function_version *version_make(struct registry *r, struct buffer *canonical, struct error *e)
{
    struct function_version *v = calloc(1, sizeof *v);
    if (v == NULL) {
        error_set(e, ATOLL_ENOMEM, "no memory for a function");
        return NULL;
    }
    v->artefact_fd = v->image_fd = -1;
    v->references = 1;
    if (manifest_parse(canonical->data, canonical->len, NULL, &v->manifest, e) != 0) {
        free(v);
        return NULL;
    }
    v->function = function_make(r, v->manifest.tenant, v->manifest.function);
    if (v->function == NULL || !number_take(r, v)) {
        manifest_free(&v->manifest);
        free(v);
        error_set(e, ATOLL_ENOMEM, "no memory for a function");
        return NULL;
    }
    v->canonical = *canonical;
    *canonical = (struct buffer){0};
    v->next = v->function->versions;
    v->function->versions = v;
    return v;
}

struct function_version *version_retain(struct function_version *v)
{
    v->references++;
    return v;
}

void version_release(struct registry *r, struct function_version *v)
{
    if (v == NULL || --v->references > 0)
        return;
    r->numbers[v->number] = NULL;
    artefact_release(v->artefact);
    if (v->artefact_fd >= 0)
        close(v->artefact_fd);
    if (v->image_fd >= 0)
        close(v->image_fd);
    manifest_free(&v->manifest);
    buffer_free(&v->canonical);
    free(v);
}

void function_version_unlink(struct registry *r, struct function_version *v)
{
    struct function_version **at = &v->function->versions;
    while (*at && *at != v)
        at = &(*at)->next;
    if (*at == NULL)
        return;
    *at = v->next;
    v->unlinked = true;
    workers_drop(r->node->workers, v);
    version_release(r, v);
}

/* ---- aliases ---- */

int alias_put(struct registry *r, struct function *f, const char *name, struct function_version *v,
              struct function_version *previous, struct error *e)
{
    struct alias_entry *a = alias_find(f, name);
    if (a == NULL) {
        struct alias_entry **at = &f->aliases;
        if ((a = calloc(1, sizeof *a)) == NULL)
            return error_set(e, ATOLL_ENOMEM, "no memory for an alias");
        strcpy(a->alias.tenant, f->tenant);
        strcpy(a->alias.function, f->name);
        strcpy(a->alias.name, name);
        while (*at && strcmp((*at)->alias.name, name) < 0)
            at = &(*at)->next;
        a->next = *at;
        *at = a;
    }
    version_retain(v);
    if (previous)
        version_retain(previous);
    version_release(r, a->alias.version);
    version_release(r, a->alias.previous);
    a->alias.version = v;
    a->alias.previous = previous;
    return 0;
}

void aliases_free(struct registry *r, struct function *f)
{
    while (f->aliases) {
        struct alias_entry *a = f->aliases;
        f->aliases = a->next;
        version_release(r, a->alias.version);
        version_release(r, a->alias.previous);
        free(a);
    }
}

/* ---- listing ---- */

static int function_order(const void *a, const void *b)
{
    const struct function *x = *(struct function *const *)a, *y = *(struct function *const *)b;
    int tenants = strcmp(x->tenant, y->tenant);
    return tenants ? tenants : strcmp(x->name, y->name);
}

void registry_aliases(struct registry *r, const char *tenant,
                      bool (*visit)(void *, const struct alias *), void *context)
{
    size_t count = 0, at = 0;
    for (uint32_t i = 0; i < FUNCTION_BUCKETS; i++) {
        for (struct function *f = r->buckets[i]; f; f = f->next)
            count += tenant == NULL || strcmp(f->tenant, tenant) == 0;
    }
    struct function **list = calloc(count ? count : 1, sizeof *list);
    if (list == NULL)
        return;
    for (uint32_t i = 0; i < FUNCTION_BUCKETS; i++) {
        for (struct function *f = r->buckets[i]; f; f = f->next) {
            if (tenant == NULL || strcmp(f->tenant, tenant) == 0)
                list[at++] = f;
        }
    }
    qsort(list, count, sizeof *list, function_order);
    bool more = true;
    for (at = 0; more && at < count; at++) {
        for (struct alias_entry *a = list[at]->aliases; more && a; a = a->next)
            more = visit(context, &a->alias);
    }
    free(list);
}

void registry_versions(struct registry *r, const char *tenant, const char *function,
                       bool (*visit)(void *, const struct function_version *), void *context)
{
    struct function *f = function_find(r, tenant, function);
    for (struct function_version *v = f ? f->versions : NULL; v; v = v->next) {
        if (!visit(context, v))
            return;
    }
}
