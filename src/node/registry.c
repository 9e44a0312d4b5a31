/*
 * See registry.h.
 *
 * In memory: a hash table of functions, each with its versions (newest first) and aliases. On disk,
 * beneath the data directory:
 *
 *   modules/SHA256.wasm    by the module's hash; written before the version's record
 *   images/VERSION.atpf    proto images; may be missing or damaged, and are then made again
 *   table "fn"             tenant NUL function NUL version → u32 format | sha256 | u64 module bytes
 *                          | i64 created | canonical manifest
 *   table "alias"          tenant NUL function NUL alias → version | version before (or zeros)
 *
 * Version and alias of one upload are written in one durable transaction, so after a crash there is
 * all of it or nothing but a file that the next start removes.
 */
#define _GNU_SOURCE
#include "node/registry.h"

#include "base/clock.h"
#include "base/file.h"
#include "node/builder.h"
#include "node/node.h"
#include "node/record.h"
#include "node/workers.h"
#include "store/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUCKETS          4096u
#define RECORD_FORMAT    1u
#define RECORD_HEAD      (4 + HASH_LEN + 8 + 8)
#define ALIAS_RECORD     (2 * VERSION_NAME_LEN)
#define COLLECT_NS       3600000000000ll
#define KEY_MAX          (3 * (NAME_MAX_LEN + 1))
#define MODULE_BYTES_MAX (1ull << 30)

struct alias_entry {
    struct alias_entry *next;
    struct alias alias;
};

struct function {
    struct function *next;
    char tenant[NAME_MAX_LEN + 1], name[NAME_MAX_LEN + 1];
    struct function_version *versions; /* newest first */
    struct alias_entry *aliases;       /* by name */
};

struct version_waiter {
    struct version_waiter *next;
    version_ready ready;
    void *context;
};

struct registry {
    struct node *node;
    struct function *buckets[BUCKETS];
    struct function_version **numbers; /* by number; NULL once gone */
    uint32_t number_count, number_capacity;
};

/* ---- finding ---- */

static uint32_t name_hash(const char *tenant, const char *name)
{
    uint32_t h = 2166136261u;
    for (; *tenant; tenant++)
        h = (h ^ (uint8_t)*tenant) * 16777619u;
    h = (h ^ '/') * 16777619u;
    for (; *name; name++)
        h = (h ^ (uint8_t)*name) * 16777619u;
    return h % BUCKETS;
}

static struct function *function_find(struct registry *r, const char *tenant, const char *name)
{
    struct function *f = r->buckets[name_hash(tenant, name)];
    while (f && (strcmp(f->tenant, tenant) != 0 || strcmp(f->name, name) != 0))
        f = f->next;
    return f;
}

static struct function *function_make(struct registry *r, const char *tenant, const char *name)
{
    struct function *f = function_find(r, tenant, name);
    if (f != NULL || (f = calloc(1, sizeof *f)) == NULL)
        return f;
    struct function **bucket = &r->buckets[name_hash(tenant, name)];
    strcpy(f->tenant, tenant);
    strcpy(f->name, name);
    f->next = *bucket;
    *bucket = f;
    return f;
}

static struct alias_entry *alias_find(const struct function *f, const char *name)
{
    struct alias_entry *a = f->aliases;
    while (a && strcmp(a->alias.name, name) != 0)
        a = a->next;
    return a;
}

/* By name, or by at least 8 digits of it that only one version begins with. */
static struct function_version *version_find(const struct function *f, const char *name)
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
        *out = a ? a->alias.version : version_find(f, name);
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

static void path_of(const struct registry *r, const char *folder, const char *name,
                    const char *suffix, char out[static PATH_MAX])
{
    snprintf(out, PATH_MAX, "%s/%s/%s%s", r->node->config.data, folder, name, suffix);
}

static void module_path(const struct registry *r, const struct function_version *v,
                        char out[static PATH_MAX])
{
    char hex[2 * HASH_LEN + 1];
    hash_hex(v->module_sha256, hex);
    path_of(r, "modules", hex, ".wasm", out);
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

/* A version in its function's list, with one reference: the list's. Takes the canonical text over.
 */
static struct function_version *version_make(struct registry *r, struct buffer *canonical,
                                             struct error *e)
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

static void version_unlink(struct registry *r, struct function_version *v)
{
    struct function_version **at = &v->function->versions;
    while (*at && *at != v)
        at = &(*at)->next;
    if (*at == NULL)
        return;
    *at = v->next;
    workers_drop(r->node->workers, v);
    version_release(r, v);
}

/* ---- making a version runnable ---- */

static void waiters_run(struct registry *r, struct function_version *v, const struct error *failed)
{
    struct version_waiter *list = v->waiters;
    v->waiters = NULL;
    version_retain(v);
    while (list) {
        struct version_waiter *w = list;
        list = w->next;
        w->ready(w->context, v, failed);
        free(w);
    }
    version_release(r, v);
}

static void version_fail(struct registry *r, struct function_version *v, const char *stage,
                         const struct error *e)
{
    v->state = VERSION_BROKEN;
    v->stage = stage;
    v->problem = *e;
    waiters_run(r, v, &v->problem);
}

static void version_ready_now(struct registry *r, struct function_version *v)
{
    v->state = VERSION_READY;
    v->problem = (struct error){0};
    v->stage = NULL;
    waiters_run(r, v, NULL);
}

struct preparation {
    struct registry *registry;
    struct function_version *version;
};

static struct preparation *preparation_make(struct registry *r, struct function_version *v)
{
    struct preparation *p = malloc(sizeof *p);
    if (p)
        *p = (struct preparation){r, version_retain(v)};
    return p;
}

static const char *load_stage_name(uint32_t stage)
{
    return stage == LOAD_ZYGOTE ? "zygote" : stage == LOAD_CODEGEN ? "codegen" : "validate";
}

static void load_finished(void *context, const struct message_loaded *loaded, const char *text,
                          int image_fd)
{
    struct preparation *p = context;
    struct registry *r = p->registry;
    struct function_version *v = p->version;
    struct error e;
    if (loaded->code != 0) {
        error_set(&e, -loaded->code, "%s", text);
        version_fail(r, v, load_stage_name(loaded->stage), &e);
    } else {
        if (image_fd >= 0)
            registry_image_made(r, v, image_fd, loaded->image_bytes);
        version_ready_now(r, v);
    }
    version_release(r, v);
    free(p);
}

static void best_built(void *context, struct built *b)
{
    struct preparation *p = context;
    struct function_version *v = p->version;
    if (b->code == 0) {
        artefact_release(v->artefact);
        close(v->artefact_fd);
        v->artefact = b->artefact;
        v->artefact_fd = b->fd;
    }
    version_release(p->registry, v);
    free(p);
}

/* A big module runs at quick first; workers that start later get the better code. */
static void best_begin(struct registry *r, struct function_version *v, const char *path)
{
    struct error e;
    struct preparation *p = preparation_make(r, v);
    if (p && builder_submit(r->node->builder, path, BUILD_BEST, best_built, p, &e) != 0) {
        version_release(r, v);
        free(p);
    }
}

static const char *build_stage(int code)
{
    switch (-code) {
    case ATOLL_EMALFORMED:
    case ATOLL_EINVALID:
    case ATOLL_EUNSUPPORTED:
    case ATOLL_ELIMIT: return "validate";
    default: return "codegen";
    }
}

static void first_built(void *context, struct built *b)
{
    struct preparation *p = context;
    struct registry *r = p->registry;
    struct function_version *v = p->version;
    if (b->code != 0) {
        version_fail(r, v, build_stage(b->code), &b->error);
        version_release(r, v);
        free(p);
        return;
    }
    v->artefact = b->artefact;
    v->artefact_fd = b->fd;
    if (v->artefact->options.tier == TIER_QUICK) {
        char path[PATH_MAX];
        module_path(r, v, path);
        best_begin(r, v, path);
    }
    if (v->image_fd >= 0) {
        version_ready_now(r, v);
        version_release(r, v);
        free(p);
        return;
    }
    workers_load(r->node->workers, v, load_finished, p);
}

void registry_prepare(struct registry *r, struct function_version *v, version_ready ready,
                      void *context)
{
    if (v->state == VERSION_READY) {
        ready(context, v, NULL);
        return;
    }
    struct error e;
    struct version_waiter *w = malloc(sizeof *w);
    if (w == NULL) {
        error_set(&e, ATOLL_ENOMEM, "no memory to prepare a function");
        ready(context, v, &e);
        return;
    }
    *w = (struct version_waiter){v->waiters, ready, context};
    v->waiters = w;
    if (v->state == VERSION_BUILDING)
        return;
    v->state = VERSION_BUILDING;
    char path[PATH_MAX];
    module_path(r, v, path);
    enum build_tier tier = builder_prefers_quick(v->module_bytes) ? BUILD_FIRST : BUILD_BEST;
    struct preparation *p = preparation_make(r, v);
    int rc = p ? builder_submit(r->node->builder, path, tier, first_built, p, &e)
               : error_set(&e, ATOLL_ENOMEM, "no memory to prepare a function");
    if (rc == 0)
        return;
    if (p)
        version_release(r, v);
    free(p);
    version_fail(r, v, "codegen", &e);
}

/* ---- proto images ---- */

void registry_image_bad(struct registry *r, struct function_version *v)
{
    char path[PATH_MAX];
    path_of(r, "images", v->name, ".atpf", path);
    unlink(path);
    if (v->image_fd >= 0)
        close(v->image_fd);
    v->image_fd = -1;
    v->image_bytes = 0;
}

/* The file is a copy that later starts use; that it cannot be written costs only time then. */
static void image_store(struct registry *r, const struct function_version *v)
{
    char path[PATH_MAX];
    struct buffer bytes = {0};
    struct error e;
    path_of(r, "images", v->name, ".atpf", path);
    if (lseek(v->image_fd, 0, SEEK_SET) == 0 &&
        file_read_fd(v->image_fd, path, MODULE_BYTES_MAX * 4, &bytes, &e) == 0)
        file_replace(path, bytes.data, bytes.len, 0600, &e);
    buffer_free(&bytes);
}

void registry_image_made(struct registry *r, struct function_version *v, int fd, uint64_t bytes)
{
    if (v->image_fd >= 0)
        return;
    v->image_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    v->image_bytes = bytes;
    if (v->image_fd >= 0)
        image_store(r, v);
}

static void image_find(struct registry *r, struct function_version *v)
{
    char path[PATH_MAX];
    struct stat st;
    path_of(r, "images", v->name, ".atpf", path);
    v->image_fd = open(path, O_RDONLY | O_CLOEXEC);
    if (v->image_fd >= 0 && fstat(v->image_fd, &st) == 0)
        v->image_bytes = (uint64_t)st.st_size;
}

/* ---- records ---- */

static size_t key_make(char out[static KEY_MAX], const char *tenant, const char *function,
                       const char *last)
{
    size_t a = strlen(tenant) + 1, b = strlen(function) + 1, c = strlen(last);
    memcpy(out, tenant, a);
    memcpy(out + a, function, b);
    memcpy(out + a + b, last, c);
    return a + b + c;
}

static bool version_record(const struct function_version *v, struct buffer *out)
{
    return buffer_append_u32(out, RECORD_FORMAT) &&
           buffer_append(out, v->module_sha256, HASH_LEN) &&
           buffer_append_u64(out, v->module_bytes) &&
           buffer_append_u64(out, (uint64_t)v->created_ns) &&
           buffer_append(out, v->canonical.data, v->canonical.len);
}

static void alias_record(const struct function_version *now, const struct function_version *before,
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

/* Puts the alias to a version, in memory. */
static int alias_put(struct registry *r, struct function *f, const char *name,
                     struct function_version *v, struct function_version *previous, struct error *e)
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
    struct function_version *v = version_find(f, name);
    if (v == NULL)
        return error_set(e, ATOLL_ECORRUPT,
                         "the store holds an alias of %s/%s for a version that "
                         "is not there",
                         f->tenant, f->name);
    return alias_put(r, f, parts[2], v, version_find(f, before), e);
}

/* Removes what an interrupted upload has left: files that no record names. */
static void uploads_clear(const struct registry *r)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/uploads", r->node->config.data);
    DIR *d = opendir(path);
    if (d == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(d)) != NULL;) {
        if (entry->d_name[0] != '.')
            unlinkat(dirfd(d), entry->d_name, 0);
    }
    closedir(d);
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
    uploads_clear(r);
    *out = r;
    return 0;
}

static void aliases_free(struct registry *r, struct function *f)
{
    while (f->aliases) {
        struct alias_entry *a = f->aliases;
        f->aliases = a->next;
        version_release(r, a->alias.version);
        version_release(r, a->alias.previous);
        free(a);
    }
}

void registry_destroy(struct registry *r)
{
    if (r == NULL)
        return;
    for (uint32_t i = 0; i < BUCKETS; i++) {
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

/* ---- changing ---- */

/* A change on its way to the store. */
struct change {
    struct registry *registry;
    struct function *function;
    struct function_version *version; /* what the alias will mean; retained */
    struct function_version *previous;
    char alias[NAME_MAX_LEN + 1];
    /* Of an upload. */
    upload_done uploaded;
    struct upload_result result;
    /* Of another change. */
    registry_done done;
    void *context;
};

static void change_end(struct change *c, int code, const struct error *e)
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
    struct error e;
    int code = result->code;
    if (code != 0) {
        e = *result->error;
        c->result.stage = "store";
    } else {
        c->version->stored = true;
        if (c->alias[0])
            code = alias_put(c->registry, c->function, c->alias, c->version, c->previous, &e);
        if (code == 0 && strcmp(c->alias, "live") == 0)
            workers_alias(c->registry->node->workers, c->function->tenant, c->function->name,
                          c->version);
    }
    change_end(c, code, &e);
}

/* Writes the version's record (unless it is there) and the alias's in one transaction. */
static void change_write(struct change *c)
{
    struct function_version *v = c->version;
    struct store_write writes[2];
    struct buffer record = {0};
    char keys[2][KEY_MAX], alias[ALIAS_RECORD];
    uint32_t count = 0;
    struct error e;
    int rc = 0;
    if (!v->stored) {
        if (!version_record(v, &record))
            rc = error_set(&e, ATOLL_ENOMEM, "no memory to store a function");
        writes[count] = (struct store_write){
            STORE_PUT,   STORE_FUNCTION,
            keys[0],     key_make(keys[0], c->function->tenant, c->function->name, v->name),
            record.data, record.len};
        count++;
    }
    if (c->alias[0]) {
        alias_record(v, c->previous, alias);
        writes[count] = (struct store_write){
            STORE_PUT, STORE_ALIAS,
            keys[1],   key_make(keys[1], c->function->tenant, c->function->name, c->alias),
            alias,     sizeof alias};
        count++;
    }
    struct gt_callback written = {alias_written, c};
    if (rc == 0)
        rc = store_write(c->registry->node->store, writes, count, GT_DURABLE, written, &e);
    buffer_free(&record);
    if (rc != 0)
        change_end(c, rc, &e);
}

static void upload_prepared(void *context, struct function_version *v, const struct error *failed)
{
    struct change *c = context;
    struct registry *r = c->registry;
    if (failed) {
        c->result.stage = v->stage ? v->stage : "codegen";
        c->result.error = *failed;
        if (!v->stored)
            version_unlink(r, v); /* whoever runs the waiters still holds it */
        change_end(c, failed->code, failed);
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

/* Hashes the module and finds or makes its version. */
static int upload_version(struct registry *r, const char *path, const struct manifest *m,
                          struct function_version **out, bool *created, struct error *e)
{
    struct buffer bytes = {0}, canonical = {0};
    uint8_t module[HASH_LEN], both[HASH_LEN];
    char name[2 * HASH_LEN + 1];
    int rc = file_read(path, MODULE_BYTES_MAX, &bytes, e);
    size_t module_bytes = bytes.len;
    if (rc == 0)
        rc = manifest_canonical(m, &canonical, e);
    if (rc == 0) {
        hash_sha256(bytes.data, bytes.len, module);
        if (!buffer_append(&bytes, canonical.data, canonical.len))
            rc = error_set(e, ATOLL_ENOMEM, "no memory for a module");
    }
    if (rc == 0) {
        hash_sha256(bytes.data, bytes.len, both);
        hash_hex(both, name);
        name[VERSION_NAME_LEN] = 0;
        struct function *f = function_find(r, m->tenant, m->function);
        *out = f ? version_find(f, name) : NULL;
        *created = *out == NULL;
    }
    if (rc == 0 && *created) {
        *out = version_make(r, &canonical, e);
        rc = *out ? 0 : e->code;
    }
    if (rc == 0 && *created) {
        struct function_version *v = *out;
        strcpy(v->name, name);
        memcpy(v->module_sha256, module, HASH_LEN);
        v->module_bytes = module_bytes;
        v->created_ns = clock_ns(CLOCK_REALTIME);
    }
    buffer_free(&bytes);
    buffer_free(&canonical);
    return rc;
}

/* Moves the module to its place, durably. */
static int module_keep(struct registry *r, const struct function_version *v, const char *from,
                       struct error *e)
{
    char to[PATH_MAX], folder[PATH_MAX];
    module_path(r, v, to);
    snprintf(folder, sizeof folder, "%s/modules", r->node->config.data);
    if (access(to, F_OK) == 0) {
        unlink(from);
        return 0;
    }
    int fd = open(from, O_RDONLY | O_CLOEXEC);
    int rc = fd < 0 || fsync(fd) != 0 || rename(from, to) != 0
                 ? error_set_errno(e, 0, "cannot keep the uploaded module as %s", to)
                 : 0;
    if (fd >= 0)
        close(fd);
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    return rc;
}

void registry_upload(struct registry *r, const char *path, const struct manifest *m,
                     const char *alias, upload_done done, void *context)
{
    struct change *c = calloc(1, sizeof *c);
    struct upload_result failed = {.stage = "receive"};
    struct function_version *v = NULL;
    int rc = c ? upload_version(r, path, m, &v, &failed.created, &failed.error)
               : error_set(&failed.error, ATOLL_ENOMEM, "no memory for an upload");
    if (rc == 0) {
        rc = module_keep(r, v, path, &failed.error);
        if (rc != 0 && failed.created)
            version_unlink(r, v);
    }
    if (rc != 0) {
        unlink(path);
        free(c);
        done(context, &failed);
        return;
    }
    *c = (struct change){.registry = r,
                         .function = v->function,
                         .version = version_retain(v),
                         .uploaded = done,
                         .context = context,
                         .result = {.created = failed.created}};
    snprintf(c->alias, sizeof c->alias, "%s", alias ? alias : "live");
    registry_prepare(r, v, upload_prepared, c);
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
    if (result->code == 0) {
        aliases_free(r, f);
        while (f->versions)
            version_unlink(r, f->versions);
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
    char(*keys)[KEY_MAX] = calloc(STORE_WRITES_MAX, KEY_MAX);
    uint32_t count = 0;
    int rc = 0;
    if (f == NULL || (f->versions == NULL && f->aliases == NULL))
        rc = error_set(&e, ATOLL_ENOENT, "there is no function %s/%s", tenant, function);
    else if (c == NULL || writes == NULL || keys == NULL)
        rc = error_set(&e, ATOLL_ENOMEM, "no memory to remove a function");
    for (struct alias_entry *a = rc == 0 ? f->aliases : NULL; a && count < STORE_WRITES_MAX;
         a = a->next, count++)
        writes[count] = (struct store_write){
            STORE_DELETE, STORE_ALIAS,
            keys[count],  key_make(keys[count], tenant, function, a->alias.name),
            NULL,         0};
    for (struct function_version *v = rc == 0 ? f->versions : NULL; v && count < STORE_WRITES_MAX;
         v = v->next, count++)
        writes[count] =
            (struct store_write){STORE_DELETE, STORE_FUNCTION,
                                 keys[count],  key_make(keys[count], tenant, function, v->name),
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
    }
}

/* ---- collecting ---- */

static bool version_needed(const struct function_version *v)
{
    if (v->calls > 0 || v->state == VERSION_BUILDING || !v->stored)
        return true;
    for (const struct alias_entry *a = v->function->aliases; a; a = a->next) {
        if (a->alias.version == v || a->alias.previous == v)
            return true;
    }
    return false;
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
    char key[KEY_MAX], path[PATH_MAX];
    struct error e;
    struct store_write write = {
        STORE_DELETE, STORE_FUNCTION,
        key,          key_make(key, v->function->tenant, v->function->name, v->name),
        NULL,         0};
    if (store_write(r->node->store, &write, 1, 0, (struct gt_callback){0}, &e) != 0)
        return;
    registry_image_bad(r, v);
    if (!module_shared(r, v)) {
        module_path(r, v, path);
        unlink(path);
    }
    version_unlink(r, v);
}

void registry_collect(struct registry *r, int64_t now_ns)
{
    for (uint32_t i = 0; i < r->number_count; i++) {
        struct function_version *v = r->numbers[i];
        if (v == NULL)
            continue;
        if (version_needed(v))
            v->unused_ns = 0;
        else if (v->unused_ns == 0)
            v->unused_ns = now_ns;
        else if (now_ns - v->unused_ns >= COLLECT_NS)
            version_collect(r, v);
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
    for (uint32_t i = 0; i < BUCKETS; i++) {
        for (struct function *f = r->buckets[i]; f; f = f->next)
            count += tenant == NULL || strcmp(f->tenant, tenant) == 0;
    }
    struct function **list = calloc(count ? count : 1, sizeof *list);
    if (list == NULL)
        return;
    for (uint32_t i = 0; i < BUCKETS; i++) {
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
