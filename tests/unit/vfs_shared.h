/*
 * An owner of shared files for tests: a list of paths and contents, which tests change directly as
 * another function would. Included once per program.
 */
#ifndef TESTS_UNIT_VFS_SHARED_H
#define TESTS_UNIT_VFS_SHARED_H

#include "sandbox/vfs/vfs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OWNER_FILES 4096

static inline void owner_demand(bool good)
{
    if (!good) {
        abort();
    }
}

struct owner {
    struct owned {
        char path[64];
        char *bytes;
        uint64_t len, version;
    } files[OWNER_FILES];
    uint32_t count;
    uint64_t versions;
    int waits; /* so many of the next fetches and publications have to wait first */
    int looks, fetches, publications, holds;
    int refuses; /* the next publication fails with this */
    int stale;   /* so many of the next fetches find another version */
};

static inline struct owned *owner_find(struct owner *o, const char *path)
{
    for (uint32_t i = 0; i < o->count; i++) {
        if (strcmp(o->files[i].path, path) == 0) {
            return &o->files[i];
        }
    }
    return NULL;
}

static inline void owner_put(struct owner *o, const char *path, const void *bytes, uint64_t len)
{
    struct owned *f = owner_find(o, path);
    if (f == NULL) {
        owner_demand(o->count < OWNER_FILES);
        f = &o->files[o->count++];
        f->bytes = NULL;
        snprintf(f->path, sizeof f->path, "%s", path);
    }
    free(f->bytes);
    f->bytes = malloc(len + 1);
    owner_demand(f->bytes != NULL);
    memcpy(f->bytes, bytes, len);
    f->bytes[len] = '\0';
    f->len = len;
    f->version = ++o->versions;
}

static inline void owner_text(struct owner *o, const char *path, const char *text)
{
    owner_put(o, path, text, strlen(text));
}

static inline void owner_remove(struct owner *o, const char *path)
{
    struct owned *f = owner_find(o, path);
    owner_demand(f != NULL);
    free(f->bytes);
    *f = o->files[--o->count];
}

static inline void owner_end(struct owner *o)
{
    owner_demand(o->holds == 0);
    for (uint32_t i = 0; i < o->count; i++) {
        free(o->files[i].bytes);
    }
}

static inline bool owner_has_beneath(struct owner *o, const char *path)
{
    size_t len = strlen(path);
    for (uint32_t i = 0; i < o->count; i++) {
        if (strncmp(o->files[i].path, path, len) == 0 && o->files[i].path[len] == '/') {
            return true;
        }
    }
    return len == 0;
}

static inline int owner_look(void *context, struct host_call *call, const char *path,
                             struct vfs_shared *out)
{
    struct owner *o = context;
    const struct owned *f = owner_find(o, path);
    (void)call;
    o->looks++;
    *out = (struct vfs_shared){.type = VFS_DIRECTORY};
    if (f != NULL) {
        *out = (struct vfs_shared){
            .type = VFS_FILE, .version = f->version, .size = f->len, .modified_ns = 5};
    }
    return f != NULL || owner_has_beneath(o, path) ? 0 : -ENOENT;
}

static inline int owner_list(void *context, struct host_call *call, const char *path,
                             vfs_each *each, void *to)
{
    struct owner *o = context;
    size_t skip = strlen(path) + (path[0] != '\0');
    (void)call;
    for (uint32_t i = 0; i < o->count; i++) {
        const char *name = o->files[i].path + skip;
        bool inside = strlen(o->files[i].path) > skip &&
                      strncmp(o->files[i].path, path, strlen(path)) == 0 &&
                      (skip == 0 || name[-1] == '/');
        size_t len = inside ? strcspn(name, "/") : 0;
        char whole[64];
        bool before = false;
        snprintf(whole, sizeof whole, "%.*s", (int)(skip + len), o->files[i].path);
        for (uint32_t k = 0; inside && k < i; k++) {
            before =
                before ||
                (strncmp(o->files[k].path, whole, skip + len) == 0 &&
                 (o->files[k].path[skip + len] == '/' || o->files[k].path[skip + len] == '\0'));
        }
        struct vfs_shared found;
        if (inside && !before) {
            owner_look(o, NULL, whole, &found);
            int result = each(to, name, len, &found);
            if (result != 0) {
                return result;
            }
        }
    }
    return 0;
}

static inline int owner_fetch(void *context, struct host_call *call, const char *path,
                              uint64_t version, const uint8_t **bytes, void **hold)
{
    struct owner *o = context;
    struct owned *f = owner_find(o, path);
    (void)call;
    if (o->waits > 0) {
        o->waits--;
        return VFS_WAIT;
    }
    o->fetches++;
    if (f != NULL && o->stale > 0) {
        o->stale--;
        f->version = ++o->versions;
    }
    if (f == NULL || f->version != version) {
        return -ESTALE;
    }
    char *copy = malloc(f->len + 1);
    if (copy == NULL) {
        return -ENOMEM;
    }
    memcpy(copy, f->bytes, f->len);
    *bytes = (const uint8_t *)copy;
    *hold = copy;
    o->holds++;
    return 0;
}

static inline void owner_drop(void *context, void *hold)
{
    ((struct owner *)context)->holds--;
    free(hold);
}

static inline int owner_publish(void *context, struct host_call *call, const char *path,
                                const struct vfs *v, uint32_t node, uint64_t size)
{
    struct owner *o = context;
    (void)call;
    if (o->waits > 0) {
        o->waits--;
        return VFS_WAIT;
    }
    if (o->refuses != 0) {
        int result = o->refuses;
        o->refuses = 0;
        return result;
    }
    char *whole = malloc(size + 1);
    owner_demand(whole != NULL);
    const uint8_t *bytes;
    uint64_t done = 0;
    for (size_t run; (run = vfs_peek(v, node, done, size, &bytes)) > 0; done += run) {
        memcpy(whole + done, bytes, run);
    }
    owner_demand(done == size);
    owner_put(o, path, whole, size);
    free(whole);
    o->publications++;
    return 0;
}

static const struct vfs_shared_ops owner_ops = {
    .look = owner_look,
    .list = owner_list,
    .fetch = owner_fetch,
    .drop = owner_drop,
    .publish = owner_publish,
};

#endif
