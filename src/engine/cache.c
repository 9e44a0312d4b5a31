/*
 * Files of the directory:
 *
 *   KEY.artefact          an artefact and its seal (artefact_seal.h)
 *   KEY.artefact.XXXXXX   being written, or left by a process that died
 *   KEY.lock              held (flock) while KEY is compiled
 *   compiler-…            what a compiler calls itself (compiler_process.c)
 *   compiler-….XXXXXX     being written, or left likewise
 *
 * Crash argument. An entry appears by rename of a file that is complete and synced, so its name
 * leads to the old bytes, the new ones, or none; bytes that a disk lost nevertheless fail the MAC,
 * which is a miss. Locks belong to open files and end with their process. A lock file is unlinked
 * only by its holder, and whoever gets a lock checks that the name still leads to the file it
 * locked, so two processes never both hold a key. What a dead process leaves behind goes when the
 * directory is next swept, once it is an hour old.
 */
#define _GNU_SOURCE
#include "engine/cache.h"

#include "base/file.h"
#include "engine/artefact_seal.h"
#include "engine/cpu.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ENTRY_SUFFIX     ".artefact"
#define LOCK_SUFFIX      ".lock"
#define RECORD_PREFIX    "compiler-"
#define LEFTOVER_SECONDS 3600

int cache_open(const char *directory, uint64_t limit, struct cache **out, struct error *e)
{
    char path[PATH_MAX];
    *out = NULL;
    int rc = directory ? directory_make(directory, 0700, e) : cache_directory(path, PATH_MAX, e);
    if (rc < 0)
        return error_prefix(e, "the compile cache (turn it off, or set ATOLL_CACHE)");
    struct cache *c = calloc(1, sizeof *c);
    char *copy = strdup(directory ? directory : path);
    if (!c || !copy) {
        free(c);
        free(copy);
        return error_set(e, ATOLL_ENOMEM, "no memory for the compile cache");
    }
    c->directory = copy;
    c->limit = limit ? limit : CACHE_LIMIT_DEFAULT;
    rc = key_artefact_mac(c->mac_key, e);
    if (rc < 0) {
        cache_close(c);
        return rc;
    }
    *out = c;
    return 0;
}

void cache_close(struct cache *c)
{
    if (!c)
        return;
    explicit_bzero(c->mac_key, sizeof c->mac_key);
    free(c->directory);
    free(c);
}

void cache_key(const char *build_id, const struct compile_options *o,
               const uint8_t wasm_sha256[static HASH_LEN], uint8_t out[static HASH_LEN])
{
    uint8_t fixed[32 + HASH_LEN] = {0};
    uint8_t build[HASH_LEN], both[2 * HASH_LEN];
    store_u32(fixed, ARTEFACT_FORMAT);
    fixed[4] = o->tier;
    fixed[5] = o->mode;
    fixed[6] = o->cpu;
    fixed[7] = o->link;
    fixed[8] = o->fuel;
    fixed[9] = o->tail_calls;
    fixed[10] = o->deterministic;
    store_u64(fixed + 16, cpu_level_features((enum cpu_level)o->cpu));
    store_u64(fixed + 24, o->cpu == CPU_NATIVE ? cpu_identity() : 0);
    memcpy(fixed + 32, wasm_sha256, HASH_LEN);
    hash_blake2b(build_id, strlen(build_id), NULL, 0, build);
    hash_blake2b(fixed, sizeof fixed, NULL, 0, both);
    memcpy(both + HASH_LEN, build, HASH_LEN);
    hash_blake2b(both, sizeof both, NULL, 0, out);
}

static int entry_path(const struct cache *c, const uint8_t key[static HASH_LEN], const char *suffix,
                      char out[static PATH_MAX], struct error *e)
{
    char hex[2 * HASH_LEN + 1];
    hash_hex(key, hex);
    int used = snprintf(out, PATH_MAX, "%s/%s%s", c->directory, hex, suffix);
    if (used < 0 || used >= PATH_MAX)
        return error_set(e, ATOLL_ESIZE, "the path of the compile cache is too long");
    return 0;
}

/* ---- entries ---- */

int cache_get(struct cache *c, const uint8_t key[static HASH_LEN], struct artefact **out,
              struct error *e)
{
    char path[PATH_MAX];
    *out = NULL;
    int rc = entry_path(c, key, ENTRY_SUFFIX, path, e);
    if (rc < 0)
        return rc;
    rc = seal_open_file(path, c->mac_key, out, e);
    if (rc == 0 && memcmp((*out)->key, key, HASH_LEN) != 0) {
        artefact_release(*out);
        *out = NULL;
        rc = error_set(e, ATOLL_ECORRUPT, "a cache entry has the name of another");
    }
    if (rc == -ATOLL_ECORRUPT || rc == -ATOLL_ESTALE || rc == -ATOLL_ETYPE || rc == -ATOLL_ESIZE) {
        unlink(path);
        return error_set(e, ATOLL_ENOENT, "the cache entry was not usable and has been removed");
    }
    if (rc == -ATOLL_EPERM)
        error_prefix(e, "the compile cache is another user's (set ATOLL_CACHE to one of yours)");
    if (rc == 0) /* for the order of eviction only, so failure is harmless */
        (void)utimensat(AT_FDCWD, path, NULL, 0);
    return rc;
}

/* ---- eviction ---- */

struct cache_file {
    char name[NAME_MAX + 1];
    struct timespec used;
    uint64_t size;
};

static bool name_ends(const char *name, const char *suffix)
{
    size_t len = strlen(name), suffix_len = strlen(suffix);
    return len >= suffix_len && strcmp(name + len - suffix_len, suffix) == 0;
}

static int used_compare(const void *left, const void *right)
{
    const struct cache_file *a = left, *b = right;
    if (a->used.tv_sec != b->used.tv_sec)
        return a->used.tv_sec < b->used.tv_sec ? -1 : 1;
    if (a->used.tv_nsec != b->used.tv_nsec)
        return a->used.tv_nsec < b->used.tv_nsec ? -1 : 1;
    return strcmp(a->name, b->name);
}

/* Removes a lock file that nobody holds. */
static void lock_sweep(int directory, const char *name)
{
    int fd = openat(directory, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        unlinkat(directory, name, 0);
    close(fd);
}

/* Takes an old leftover away; true when the file is an entry that counts. */
static bool file_sweep(int directory, const char *name, const struct stat *status, time_t now)
{
    if (name_ends(name, ENTRY_SUFFIX))
        return true;
    if (now - status->st_mtim.tv_sec < LEFTOVER_SECONDS)
        return false;
    if (name_ends(name, LOCK_SUFFIX))
        lock_sweep(directory, name);
    else if (strstr(name, ENTRY_SUFFIX ".") ||
             (strncmp(name, RECORD_PREFIX, sizeof RECORD_PREFIX - 1) == 0 && strchr(name, '.')))
        unlinkat(directory, name, 0);
    return false;
}

/* Appends struct cache_file of every entry to files. */
static int entries_list(DIR *stream, struct buffer *files, struct error *e)
{
    time_t now = time(NULL);
    int directory = dirfd(stream);
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(stream);
        if (!entry)
            return errno ? error_set_errno(e, 0, "cannot list the compile cache") : 0;
        struct stat status;
        if (fstatat(directory, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) < 0 ||
            !S_ISREG(status.st_mode) || !file_sweep(directory, entry->d_name, &status, now))
            continue;
        struct cache_file file = {.used = status.st_mtim, .size = (uint64_t)status.st_size};
        snprintf(file.name, sizeof file.name, "%s", entry->d_name);
        if (!buffer_append(files, &file, sizeof file))
            return error_set(e, ATOLL_ENOMEM, "no memory to list the compile cache");
    }
}

static void entries_evict(const struct cache *c, int directory, struct buffer *list,
                          const char *keep)
{
    struct cache_file *files = (struct cache_file *)(void *)list->data;
    size_t count = list->len / sizeof *files;
    uint64_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += files[i].size;
    if (total <= c->limit)
        return;
    qsort(files, count, sizeof *files, used_compare);
    for (size_t i = 0; i < count && total > c->limit; i++) {
        if (strcmp(files[i].name, keep) == 0)
            continue;
        if (unlinkat(directory, files[i].name, 0) == 0)
            total -= files[i].size;
    }
}

static int cache_shrink(struct cache *c, const char *keep, struct error *e)
{
    DIR *stream = opendir(c->directory);
    if (!stream)
        return error_set_errno(e, 0, "cannot list the compile cache %s", c->directory);
    struct buffer files = {0};
    int rc = entries_list(stream, &files, e);
    if (rc == 0 && files.len)
        entries_evict(c, dirfd(stream), &files, keep);
    buffer_free(&files);
    closedir(stream);
    return rc;
}

int cache_put(struct cache *c, const uint8_t key[static HASH_LEN],
              const uint8_t id[static HASH_LEN], const uint8_t *bytes, size_t len, struct error *e)
{
    char path[PATH_MAX];
    uint8_t seal[SEAL_LEN];
    struct buffer file = {0};
    int rc = entry_path(c, key, ENTRY_SUFFIX, path, e);
    if (rc < 0)
        return rc;
    seal_make(id, key, c->mac_key, seal);
    if (!buffer_reserve(&file, len + SEAL_LEN) || !buffer_append(&file, bytes, len) ||
        !buffer_append(&file, seal, SEAL_LEN))
        rc = error_set(e, ATOLL_ENOMEM, "no memory to store an artefact of %zu bytes", len);
    if (rc == 0)
        rc = file_replace(path, file.data, file.len, 0600, e);
    buffer_free(&file);
    return rc == 0 ? cache_shrink(c, path + strlen(c->directory) + 1, e) : rc;
}

/* ---- locks ---- */

/* Whether the locked file still has its name; if not, its holder before us removed it. */
static bool lock_current(int fd, const char *path)
{
    struct stat held, named;
    return fstat(fd, &held) == 0 && stat(path, &named) == 0 && held.st_dev == named.st_dev &&
           held.st_ino == named.st_ino;
}

int cache_lock(struct cache *c, const uint8_t key[static HASH_LEN], struct error *e)
{
    char path[PATH_MAX];
    int rc = entry_path(c, key, LOCK_SUFFIX, path, e);
    if (rc < 0)
        return rc;
    for (;;) {
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
            return error_set_errno(e, 0, "cannot create %s", path);
        while (flock(fd, LOCK_EX) < 0) {
            if (errno == EINTR)
                continue;
            rc = error_set_errno(e, 0, "cannot lock %s", path);
            close(fd);
            return rc;
        }
        if (lock_current(fd, path))
            return fd;
        close(fd);
    }
}

void cache_unlock(struct cache *c, const uint8_t key[static HASH_LEN], int lock)
{
    char path[PATH_MAX];
    struct error ignored;
    if (entry_path(c, key, LOCK_SUFFIX, path, &ignored) == 0)
        unlink(path);
    close(lock);
}
