/*
 * The tenant's shared files, as names in a tree.
 *
 * A name that neither overlay nor base has is looked up by the owner; what it has gets a fresh
 * record, under which it can be opened. Bytes are fetched when a file is opened, and stay those of
 * that version for as long as it is open, whatever is published meanwhile.
 */
#include "sandbox/vfs/layers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A file that is published again while it is being fetched. */
#define FETCH_ATTEMPTS 8

int shared_join(const char *directory, const char *name, size_t len, char path[VFS_MAX_PATH])
{
    size_t above = strlen(directory), slash = above > 0;
    if (above + slash + len >= VFS_MAX_PATH) {
        return -ENAMETOOLONG;
    }
    memcpy(path, directory, above);
    path[above] = '/';
    memcpy(path + above + slash, name, len);
    path[above + slash + len] = '\0';
    return 0;
}

/* Asks the owner about a name in a directory. */
static int look(struct vfs *v, uint32_t directory, const char *name, size_t len,
                char path[VFS_MAX_PATH], struct vfs_shared *out)
{
    const char *top = node_shared_path(v, directory);
    const struct record *r = record_of(v, directory);
    if (top == NULL || (r != NULL && (r->directory.opaque || r->links == 0))) {
        return -ENOENT;
    }
    int result = shared_join(top, name, len, path);
    if (result == 0) {
        result = v->shared->look(v->context, v->call, path, out);
    }
    bool good = result != 0 || out->type == VFS_DIRECTORY ||
                (out->type == VFS_FILE && out->version != 0 && out->size <= VFS_MAX_SIZE);
    return good ? result : -EIO;
}

int shared_shows(struct vfs *v, uint32_t directory, const char *name, size_t len)
{
    char path[VFS_MAX_PATH];
    struct vfs_shared found;
    int result = look(v, directory, name, len, path, &found);
    return result == 0 ? 1 : result == -ENOENT ? 0 : result;
}

/* A number for a directory that is the same each time. */
static uint64_t path_hash(const char *path)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *path != '\0'; path++) {
        hash = (hash ^ (uint8_t)*path) * 0x100000001b3u;
    }
    return hash;
}

/* Fills in a fresh record. */
static int fresh_fill(struct vfs *v, struct record *r, uint32_t directory, const char *path,
                      const struct vfs_shared *found)
{
    r->holder = directory;
    r->device = 2;
    r->accessed_ns = r->modified_ns = r->changed_ns = found->modified_ns;
    if (found->type == VFS_FILE) {
        r->links = 1;
        r->inode = r->file.version = found->version;
        r->file.size = found->size;
        return 0;
    }
    r->links = 2;
    r->inode = path_hash(path);
    r->directory.parent = directory;
    r->directory.publishes = node_publishes(v, directory);
    if (overlay_charge_reserve(v, strlen(path) + 1) != 0) {
        return -ENOSPC;
    }
    r->directory.shared = strdup(path);
    if (r->directory.shared == NULL) {
        overlay_release(v, strlen(path) + 1);
        return -ENOMEM;
    }
    return 0;
}

int shared_find(struct vfs *v, uint32_t directory, const char *name, size_t len, uint32_t *node)
{
    char path[VFS_MAX_PATH];
    struct vfs_shared found;
    struct record *holder, *r;
    *node = 0;
    int result = look(v, directory, name, len, path, &found);
    if (result != 0) {
        return result == -ENOENT ? 0 : result;
    }
    result = record_need(v, directory, true, &holder);
    if (result == 0) {
        result = name_room(v, holder, true);
    }
    if (result == 0) {
        result = record_make(v, found.type, true, &r);
    }
    if (result != 0) {
        return result;
    }
    char *text = name_text(name, len);
    result = text == NULL ? -ENOMEM : fresh_fill(v, r, directory, path, &found);
    if (result != 0) {
        free(text);
        record_free(v, r);
        return result;
    }
    name_set(v, holder, text, len, r->node);
    *node = r->node;
    return 0;
}

int shared_fetch(struct vfs *v, uint32_t directory, const char *name, size_t len, uint32_t *node)
{
    char path[VFS_MAX_PATH];
    for (int attempt = 0; attempt < FETCH_ATTEMPTS; attempt++) {
        struct record *r = record_of(v, *node);
        if (r == NULL || !r->fresh || r->type != VFS_FILE || r->file.fetched) {
            return 0;
        }
        const uint8_t *bytes = NULL;
        int result = shared_join(node_shared_path(v, directory), name, len, path);
        if (result == 0) {
            result =
                v->shared->fetch(v->context, v->call, path, r->file.version, &bytes, &r->file.hold);
        }
        if (result == 0) {
            r->file.under = bytes;
            r->file.under_len = r->file.size;
            r->file.fetched = true;
            return 0;
        }
        if (result != -ESTALE) {
            return result;
        }
        result = name_lookup(v, directory, name, len, node);
        if (result != 0 || *node == 0) {
            return result != 0 ? result : -ENOENT;
        }
    }
    return -EIO;
}

/* ---- publishing ---- */

/* The directory beneath /shared that holds the last component of a path, as overlay and base have
 * it, and that component. 0 when there is none. */
static uint32_t holder_of(const struct vfs *v, const char *path, const char **name)
{
    uint32_t at = base_child(v, base_node(v, VFS_ROOT), "shared", 6);
    for (size_t len; path[len = strcspn(path, "/")] == '/'; path += len + 1) {
        const struct record *r = record_of(v, at);
        const struct base_node *n = base_node(v, at);
        const struct name *found = r != NULL ? name_find(r, path, len) : NULL;
        at = found != NULL ? found->node : n != NULL ? base_child(v, n, path, len) : 0;
        if (at == 0 || node_type(v, at) != VFS_DIRECTORY) {
            return 0;
        }
    }
    *name = path;
    return at;
}

/* What has been published is found as others find it from now on: the guest's own file keeps no
 * name, unless it is still being written elsewhere. */
static void published_unname(struct vfs *v, struct record *r, const char *path)
{
    const char *name;
    uint32_t directory = r->links == 1 && r->opens == 1 ? holder_of(v, path, &name) : 0;
    struct record *holder = directory != 0 ? record_of(v, directory) : NULL;
    struct name *found = holder != NULL ? name_find(holder, name, strlen(name)) : NULL;
    if (found != NULL && found->node == r->node && !holder->directory.opaque) {
        name_delete(v, holder, found);
        r->links = 0;
    }
}

int vfs_publish(struct vfs *v, uint32_t node, const char *path)
{
    struct record *r = record_of(v, node);
    if (r == NULL || r->links == 0) {
        return 0;
    }
    int result = v->shared->publish(v->context, v->call, path, v, node, r->file.size);
    if (result == 0) {
        published_unname(v, r, path);
    }
    return result;
}
