/*
 * See files.h.
 *
 *   data/files/HASH   content, by its BLAKE2b; written whole, synchronised, then renamed
 *   table "file"      tenant NUL path → u32 format | hash | u64 length | u64 version | i64 modified
 *
 * The record is written after its content, so it always finds it. Content that no record names is
 * removed at the next start. Disk work happens in libuv's pool; the loop thread owns the index.
 */
#define _GNU_SOURCE
#include "node/files.h"

#include "base/clock.h"
#include "base/file.h"
#include "crypto/hash.h"
#include "node/manifest.h"
#include "node/node.h"
#include "node/record.h"
#include "node/workers.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

#define FORMAT     1u
#define RECORD_LEN (4 + HASH_LEN + 8 + 8 + 8)
#define KEY_MAX    (NAME_MAX_LEN + 1 + FILE_PATH_MAX)
_Static_assert(KEY_MAX <= STORE_RECORD_KEY_MAX, "the store's keys hold tenant and path");

struct file {
    char *path;
    uint8_t hash[HASH_LEN];
    uint64_t len, version;
    int64_t modified_ns;
};

struct tenant_files {
    struct tenant_files *next;
    char name[NAME_MAX_LEN + 1];
    struct file *list; /* by path */
    uint32_t count, capacity;
    uint64_t version;
};

struct files {
    struct node *node;
    struct tenant_files *tenants;
};

bool file_path_is_valid(const char *path, size_t len)
{
    if (len == 0 || len > FILE_PATH_MAX || memchr(path, 0, len))
        return false;
    for (size_t at = 0; at <= len;) {
        const char *slash = memchr(path + at, '/', len - at);
        size_t part = slash ? (size_t)(slash - path) - at : len - at;
        if (part == 0 || (part == 1 && path[at] == '.') ||
            (part == 2 && path[at] == '.' && path[at + 1] == '.'))
            return false;
        at += part + 1;
    }
    return true;
}

/* ---- the index ---- */

static struct tenant_files *tenant_get(struct files *f, const char *name, bool make)
{
    struct tenant_files *t = f->tenants;
    while (t && strcmp(t->name, name) != 0)
        t = t->next;
    if (t == NULL && make && (t = calloc(1, sizeof *t)) != NULL) {
        strcpy(t->name, name);
        t->next = f->tenants;
        f->tenants = t;
    }
    return t;
}

/* Where the path is, or belongs. */
static uint32_t file_place(const struct tenant_files *t, const char *path, bool *found)
{
    uint32_t low = 0, high = t->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = strcmp(t->list[middle].path, path);
        if (order == 0) {
            *found = true;
            return middle;
        }
        *(order < 0 ? &low : &high) = order < 0 ? middle + 1 : middle;
    }
    *found = false;
    return low;
}

static bool file_set(struct tenant_files *t, const char *path, const struct file *to)
{
    bool found;
    uint32_t at = file_place(t, path, &found);
    if (!found) {
        if (t->count == t->capacity) {
            uint32_t capacity = t->capacity ? 2 * t->capacity : 16;
            void *grown = realloc(t->list, capacity * sizeof *t->list);
            if (grown == NULL)
                return false;
            t->list = grown;
            t->capacity = capacity;
        }
        char *copy = strdup(path);
        if (copy == NULL)
            return false;
        memmove(&t->list[at + 1], &t->list[at], (t->count - at) * sizeof *t->list);
        t->list[at].path = copy;
        t->count++;
    }
    char *kept = t->list[at].path;
    t->list[at] = *to;
    t->list[at].path = kept;
    t->version = to->version > t->version ? to->version : t->version;
    return true;
}

static void file_drop(struct tenant_files *t, const char *path)
{
    bool found;
    uint32_t at = file_place(t, path, &found);
    if (!found)
        return;
    free(t->list[at].path);
    memmove(&t->list[at], &t->list[at + 1], (t->count - at - 1) * sizeof *t->list);
    t->count--;
}

static void content_path(const struct files *f, const uint8_t hash[static HASH_LEN],
                         char out[static PATH_MAX])
{
    char hex[2 * HASH_LEN + 1];
    hash_hex(hash, hex);
    snprintf(out, PATH_MAX, "%s/files/%s", f->node->config.data, hex);
}

/* ---- one operation ---- */

enum file_step { FILE_GET, FILE_PUT, FILE_REMOVE };

struct job {
    uv_work_t work;
    struct files *files;
    enum file_step step;
    char tenant[NAME_MAX_LEN + 1];
    char *path;
    struct file file;
    struct blob *content;
    file_done done;
    void *context;
    int code;
    struct error error;
};

static void job_end(struct job *j)
{
    struct file_entry entry = {j->path, j->file.len, j->file.version, j->file.modified_ns};
    j->done(j->context, j->code, j->code ? &j->error : NULL, j->code ? NULL : j->content,
            j->code ? NULL : &entry);
    blob_release(j->content);
    free(j->path);
    free(j);
}

static struct job *job_make(struct files *f, enum file_step step, const char *tenant,
                            const char *path, file_done done, void *context)
{
    struct job *j = calloc(1, sizeof *j);
    struct error e;
    if (j == NULL || (j->path = strdup(path)) == NULL) {
        free(j);
        error_set(&e, ATOLL_ENOMEM, "no memory for a file");
        done(context, e.code, &e, NULL, NULL);
        return NULL;
    }
    j->work.data = j;
    j->files = f;
    j->step = step;
    j->done = done;
    j->context = context;
    snprintf(j->tenant, sizeof j->tenant, "%s", tenant);
    return j;
}

static void job_fail(struct job *j, int code, const char *text)
{
    j->code = error_set(&j->error, code, text, j->path);
    job_end(j);
}

/* ---- getting ---- */

static void content_read(uv_work_t *work)
{
    struct job *j = work->data;
    char path[PATH_MAX];
    struct buffer bytes = {0};
    content_path(j->files, j->file.hash, path);
    j->code = file_read(path, FILE_BYTES_MAX, &bytes, &j->error);
    if (j->code == 0 && bytes.len != j->file.len)
        j->code =
            error_set(&j->error, ATOLL_ECORRUPT, "%s has another length than was stored", path);
    if (j->code == 0 && (j->content = blob_adopt(bytes.data, bytes.len)) == NULL)
        j->code = error_set(&j->error, ATOLL_ENOMEM, "no memory for a file");
    if (j->code != 0 && bytes.data)
        buffer_free(&bytes);
}

static void content_was_read(uv_work_t *work, int status)
{
    struct job *j = work->data;
    (void)status;
    j->files->node->disk_jobs--;
    job_end(j);
}

void files_get(struct files *f, const char *tenant, const char *path, file_done done, void *context)
{
    struct job *j = job_make(f, FILE_GET, tenant, path, done, context);
    if (j == NULL)
        return;
    struct tenant_files *t = tenant_get(f, tenant, false);
    bool found = false;
    uint32_t at = t ? file_place(t, path, &found) : 0;
    if (!found) {
        job_fail(j, ATOLL_ENOENT, "there is no file %s");
        return;
    }
    j->file = t->list[at];
    f->node->disk_jobs++;
    uv_queue_work(f->node->loop, &j->work, content_read, content_was_read);
}

/* ---- changing ---- */

static size_t key_make(const struct job *j, char out[static KEY_MAX])
{
    size_t tenant = strlen(j->tenant) + 1, path = strlen(j->path);
    memcpy(out, j->tenant, tenant);
    memcpy(out + tenant, j->path, path);
    return tenant + path;
}

static void record_written(void *context, const struct gt_result *result)
{
    struct job *j = context;
    struct tenant_files *t = tenant_get(j->files, j->tenant, true);
    j->code = result->code;
    if (result->code != 0)
        j->error = *result->error;
    else if (j->step == FILE_REMOVE)
        file_drop(t, j->path);
    else if (t == NULL || !file_set(t, j->path, &j->file))
        j->code = error_set(&j->error, ATOLL_ENOMEM, "no memory for a file");
    if (t)
        workers_files(j->files->node->workers, t->name, t->version);
    job_end(j);
}

static void record_write(struct job *j)
{
    char key[KEY_MAX];
    struct buffer record = {0};
    if (j->step == FILE_PUT) {
        buffer_append_u32(&record, FORMAT);
        buffer_append(&record, j->file.hash, HASH_LEN);
        buffer_append_u64(&record, j->file.len);
        buffer_append_u64(&record, j->file.version);
        buffer_append_u64(&record, (uint64_t)j->file.modified_ns);
    }
    struct store_write write = {j->step == FILE_PUT ? STORE_PUT : STORE_DELETE,
                                STORE_FILE,
                                key,
                                key_make(j, key),
                                record.data,
                                record.len};
    struct gt_callback written = {record_written, j};
    j->code = store_write(j->files->node->store, &write, 1, GT_DURABLE, written, &j->error);
    buffer_free(&record);
    if (j->code != 0)
        job_end(j);
}

static void content_write(uv_work_t *work)
{
    struct job *j = work->data;
    char path[PATH_MAX];
    const uint8_t *bytes = blob_bytes(j->content);
    if (bytes == NULL) {
        j->code = error_set(&j->error, ATOLL_ENOMEM, "a file's content cannot be mapped");
        return;
    }
    hash_blake2b(bytes, j->content->len, NULL, 0, j->file.hash);
    content_path(j->files, j->file.hash, path);
    if (access(path, F_OK) != 0)
        j->code = file_replace(path, bytes, j->content->len, 0600, &j->error);
}

static void content_was_written(uv_work_t *work, int status)
{
    struct job *j = work->data;
    (void)status;
    j->files->node->disk_jobs--;
    if (j->code != 0) {
        job_end(j);
        return;
    }
    struct tenant_files *t = tenant_get(j->files, j->tenant, true);
    if (t == NULL) {
        job_fail(j, ATOLL_ENOMEM, "no memory for the file %s");
        return;
    }
    j->file.version = ++t->version;
    record_write(j);
}

void files_put(struct files *f, const char *tenant, const char *path, struct blob *content,
               file_done done, void *context)
{
    struct job *j = job_make(f, FILE_PUT, tenant, path, done, context);
    if (j == NULL)
        return;
    struct tenant_files *t = tenant_get(f, tenant, false);
    if (!file_path_is_valid(path, strlen(path)))
        job_fail(j, ATOLL_EINVAL,
                 "\"%s\" is no path of a shared file: relative, no empty part, no . or ..");
    else if (content->len > FILE_BYTES_MAX)
        job_fail(j, ATOLL_ESIZE, "the file %s is too long");
    else if (t && t->count >= FILES_TENANT_MAX)
        job_fail(j, ATOLL_ELIMIT, "the tenant has too many files for one more, %s");
    else {
        j->content = blob_retain(content);
        j->file.len = content->len;
        j->file.modified_ns = clock_ns(CLOCK_REALTIME);
        f->node->disk_jobs++;
        uv_queue_work(f->node->loop, &j->work, content_write, content_was_written);
    }
}

void files_remove(struct files *f, const char *tenant, const char *path, file_done done,
                  void *context)
{
    struct job *j = job_make(f, FILE_REMOVE, tenant, path, done, context);
    if (j == NULL)
        return;
    struct tenant_files *t = tenant_get(f, tenant, false);
    bool found = false;
    if (t)
        file_place(t, path, &found);
    if (!found) {
        job_fail(j, ATOLL_ENOENT, "there is no file %s");
        return;
    }
    j->file.version = ++t->version;
    record_write(j);
}

/* ---- listing ---- */

void files_list(struct files *f, const char *tenant, const char *prefix,
                bool (*visit)(void *, const struct file_entry *), void *context)
{
    struct tenant_files *t = tenant_get(f, tenant, false);
    bool found;
    size_t len = strlen(prefix);
    for (uint32_t i = t ? file_place(t, prefix, &found) : 0; t && i < t->count; i++) {
        const struct file *one = &t->list[i];
        struct file_entry entry = {one->path, one->len, one->version, one->modified_ns};
        if (strncmp(one->path, prefix, len) != 0 || !visit(context, &entry))
            return;
    }
}

uint64_t files_version(struct files *f, const char *tenant)
{
    struct tenant_files *t = tenant_get(f, tenant, false);
    return t ? t->version : 0;
}

/* ---- starting ---- */

static int record_restore(void *context, const struct store_listed *r, struct error *e)
{
    struct files *f = context;
    char tenant[NAME_MAX_LEN + 1], path[STORE_RECORD_KEY_MAX + 1];
    const uint8_t *nul = memchr(r->key, 0, r->key_len), *p = r->value;
    size_t tenant_len = nul ? (size_t)(nul - r->key) : 0;
    if (nul == NULL || tenant_len > NAME_MAX_LEN || r->value_len != RECORD_LEN ||
        load_u32(p) != FORMAT)
        return error_set(e, ATOLL_ECORRUPT, "the store holds a file's record that makes no sense");
    memcpy(tenant, r->key, tenant_len + 1);
    size_t path_len = r->key_len - tenant_len - 1;
    memcpy(path, nul + 1, path_len);
    path[path_len] = 0;
    struct file file = {.len = load_u64(p + 4 + HASH_LEN),
                        .version = load_u64(p + 12 + HASH_LEN),
                        .modified_ns = (int64_t)load_u64(p + 20 + HASH_LEN)};
    memcpy(file.hash, p + 4, HASH_LEN);
    struct tenant_files *t = tenant_get(f, tenant, true);
    return t && file_set(t, path, &file) ? 0
                                         : error_set(e, ATOLL_ENOMEM, "no memory for the files");
}

static int hash_order(const void *a, const void *b)
{
    return memcmp(a, b, HASH_LEN);
}

/* Removes content that no record names. */
static void contents_collect(struct files *f)
{
    size_t count = 0, at = 0;
    for (struct tenant_files *t = f->tenants; t; t = t->next)
        count += t->count;
    uint8_t(*named)[HASH_LEN] = malloc((count ? count : 1) * HASH_LEN);
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/files", f->node->config.data);
    DIR *d = named ? opendir(path) : NULL;
    for (struct tenant_files *t = d ? f->tenants : NULL; t; t = t->next) {
        for (uint32_t i = 0; i < t->count; i++)
            memcpy(named[at++], t->list[i].hash, HASH_LEN);
    }
    if (d)
        qsort(named, count, HASH_LEN, hash_order);
    for (struct dirent *entry; d && (entry = readdir(d)) != NULL;) {
        uint8_t hash[HASH_LEN];
        unsigned byte;
        size_t i = 0;
        while (i < HASH_LEN && sscanf(entry->d_name + 2 * i, "%2x", &byte) == 1)
            hash[i++] = (uint8_t)byte;
        bool whole = i == HASH_LEN && strlen(entry->d_name) == 2 * HASH_LEN;
        if (entry->d_name[0] != '.' &&
            (!whole || bsearch(hash, named, count, HASH_LEN, hash_order) == NULL))
            unlinkat(dirfd(d), entry->d_name, 0);
    }
    if (d)
        closedir(d);
    free(named);
}

int files_create(struct node *node, struct files **out, struct error *e)
{
    char path[PATH_MAX];
    *out = NULL;
    struct files *f = calloc(1, sizeof *f);
    if (f == NULL)
        return error_set(e, ATOLL_ENOMEM, "no memory for the files");
    f->node = node;
    snprintf(path, sizeof path, "%s/files", node->config.data);
    int rc = directory_make(path, 0700, e);
    if (rc == 0)
        rc = record_read_all(node->store, STORE_FILE, record_restore, f, e);
    if (rc != 0) {
        files_destroy(f);
        return rc;
    }
    contents_collect(f);
    *out = f;
    return 0;
}

void files_destroy(struct files *f)
{
    if (f == NULL)
        return;
    while (f->tenants) {
        struct tenant_files *t = f->tenants;
        f->tenants = t->next;
        for (uint32_t i = 0; i < t->count; i++)
            free(t->list[i].path);
        free(t->list);
        free(t);
    }
    free(f);
}
