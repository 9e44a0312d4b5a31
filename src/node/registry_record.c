/*
 * See registry.h: the functions in the store and on disk, and what a start finds.
 *
 *   modules/SHA256.wasm    by the module's hash; written before the version's record
 *   images/VERSION.atpf    proto images
 *   table "fn"             tenant NUL function NUL version → u32 format | sha256 | u64 module bytes
 *                          | i64 created | canonical manifest
 *   table "alias"          tenant NUL function NUL alias → version | version before (or zeros)
 *
 * Version and alias of one upload are written in one durable transaction, so after a crash there is
 * all of it or nothing but files that the next start removes.
 */
#define _GNU_SOURCE
#include "node/registry_table.h"

#include "base/file.h"
#include "node/node.h"
#include "node/record.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define RECORD_FORMAT 1u
#define RECORD_HEAD   (4 + HASH_LEN + 8 + 8)

size_t registry_key(char out[static REGISTRY_KEY_MAX], const char *tenant, const char *function,
                    const char *last)
{
    size_t a = strlen(tenant) + 1, b = strlen(function) + 1, c = strlen(last);
    memcpy(out, tenant, a);
    memcpy(out + a, function, b);
    memcpy(out + a + b, last, c);
    return a + b + c;
}

bool version_record(const struct function_version *v, struct buffer *out)
{
    return buffer_append_u32(out, RECORD_FORMAT) &&
           buffer_append(out, v->module_sha256, HASH_LEN) &&
           buffer_append_u64(out, v->module_bytes) &&
           buffer_append_u64(out, (uint64_t)v->created_ns) &&
           buffer_append(out, v->canonical.data, v->canonical.len);
}

void alias_record(const struct function_version *now, const struct function_version *before,
                  char out[static ALIAS_RECORD])
{
    memcpy(out, now->name, VERSION_NAME_LEN);
    if (before)
        memcpy(out + VERSION_NAME_LEN, before->name, VERSION_NAME_LEN);
    else
        memset(out + VERSION_NAME_LEN, 0, VERSION_NAME_LEN);
}

/* Splits tenant NUL function NUL last. */
static bool key_split(const struct store_listed *record, char parts[static 3][NAME_MAX_LEN + 1])
{
    const uint8_t *at = record->key, *end = at + record->key_len;
    for (int i = 0; i < 3; i++) {
        const uint8_t *stop = i < 2 ? memchr(at, 0, (size_t)(end - at)) : end;
        if (stop == NULL || stop - at > NAME_MAX_LEN)
            return false;
        memcpy(parts[i], at, (size_t)(stop - at));
        parts[i][stop - at] = 0;
        at = stop + (i < 2);
    }
    return true;
}

static int version_restore(void *context, const struct store_listed *record, struct error *e)
{
    struct registry *r = context;
    char parts[3][NAME_MAX_LEN + 1];
    struct buffer canonical = {0};
    if (!key_split(record, parts) || record->value_len < RECORD_HEAD ||
        load_u32(record->value) != RECORD_FORMAT || strlen(parts[2]) != VERSION_NAME_LEN)
        return error_set(e, ATOLL_ECORRUPT,
                         "the store holds a function record that makes no sense");
    const uint8_t *p = record->value;
    if (!buffer_append(&canonical, p + RECORD_HEAD, record->value_len - RECORD_HEAD))
        return error_set(e, ATOLL_ENOMEM, "no memory for the functions");
    struct function_version *v = version_make(r, &canonical, e);
    buffer_free(&canonical);
    if (v == NULL)
        return error_prefix(e, "function %s/%s in the store", parts[0], parts[1]);
    strcpy(v->name, parts[2]);
    memcpy(v->module_sha256, p + 4, HASH_LEN);
    v->module_bytes = load_u64(p + 4 + HASH_LEN);
    v->created_ns = (int64_t)load_u64(p + 12 + HASH_LEN);
    v->stored = true;
    image_find(r, v);
    return 0;
}

static int alias_restore(void *context, const struct store_listed *record, struct error *e)
{
    struct registry *r = context;
    char parts[3][NAME_MAX_LEN + 1], name[VERSION_NAME_LEN + 1] = {0},
                                                             before[VERSION_NAME_LEN + 1] = {0};
    struct function *f = NULL;
    if (key_split(record, parts) && record->value_len == ALIAS_RECORD)
        f = function_find(r, parts[0], parts[1]);
    if (f == NULL)
        return error_set(e, ATOLL_ECORRUPT,
                         "the store holds an alias of a function that is not "
                         "there");
    memcpy(name, record->value, VERSION_NAME_LEN);
    memcpy(before, record->value + VERSION_NAME_LEN, VERSION_NAME_LEN);
    struct function_version *v = function_version_find(f, name);
    if (v == NULL)
        return error_set(e, ATOLL_ECORRUPT,
                         "the store holds an alias of %s/%s for a version that "
                         "is not there",
                         f->tenant, f->name);
    return alias_put(r, f, parts[2], v, function_version_find(f, before), e);
}

/* ---- what an interrupted upload has left ---- */

static int name_order(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Removes the files of a folder beneath the data directory that are not in the list. */
static void folder_clear(const struct registry *r, const char *name, char **keep, size_t count)
{
    char path[PATH_MAX];
    registry_path(r, name, "", "", path);
    DIR *d = opendir(path);
    if (d == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(d)) != NULL;) {
        char *one = entry->d_name;
        if (one[0] != '.' &&
            (count == 0 || bsearch(&one, keep, count, sizeof *keep, name_order) == NULL))
            unlinkat(dirfd(d), one, 0);
    }
    closedir(d);
}

/* Files that no record names. When memory is short they stay for the next start. */
static void files_clear(struct registry *r)
{
    size_t count = 0;
    char **modules = calloc(r->number_count + 1, sizeof *modules);
    char **images = calloc(r->number_count + 1, sizeof *images);
    bool good = modules && images;
    for (uint32_t i = 0; good && i < r->number_count; i++, count++) {
        char hex[2 * HASH_LEN + 1];
        hash_hex(r->numbers[i]->module_sha256, hex);
        good = asprintf(&modules[i], "%s.wasm", hex) > 0 &&
               asprintf(&images[i], "%s.atpf", r->numbers[i]->name) > 0;
    }
    if (good) {
        qsort(modules, count, sizeof *modules, name_order);
        qsort(images, count, sizeof *images, name_order);
        folder_clear(r, "modules", modules, count);
        folder_clear(r, "images", images, count);
        folder_clear(r, "uploads", NULL, 0);
    }
    for (size_t i = 0; modules && images && i < count; i++) {
        free(modules[i]);
        free(images[i]);
    }
    free(modules);
    free(images);
}

int registry_create(struct node *node, struct registry **out, struct error *e)
{
    static const char *const folders[] = {"modules", "images", "uploads"};
    *out = NULL;
    struct registry *r = calloc(1, sizeof *r);
    if (r == NULL)
        return error_set(e, ATOLL_ENOMEM, "no memory for the functions");
    r->node = node;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < 3; i++) {
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s/%s", node->config.data, folders[i]);
        rc = directory_make(path, 0700, e);
    }
    if (rc == 0)
        rc = record_read_all(node->store, STORE_FUNCTION, version_restore, r, e);
    if (rc == 0)
        rc = record_read_all(node->store, STORE_ALIAS, alias_restore, r, e);
    if (rc != 0) {
        registry_destroy(r);
        return rc;
    }
    files_clear(r);
    *out = r;
    return 0;
}

void registry_destroy(struct registry *r)
{
    if (r == NULL)
        return;
    for (uint32_t i = 0; i < FUNCTION_BUCKETS; i++) {
        while (r->buckets[i]) {
            struct function *f = r->buckets[i];
            r->buckets[i] = f->next;
            aliases_free(r, f);
            while (f->versions) {
                struct function_version *v = f->versions;
                f->versions = v->next;
                version_release(r, v);
            }
            free(f);
        }
    }
    free(r->numbers);
    free(r);
}