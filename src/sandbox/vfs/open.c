/* Opening and closing files and directories. */
#include "sandbox/vfs/layers.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

/* A file that was not there. */
static int file_make(struct vfs *v, const struct place *at, uint32_t *node)
{
    struct record *holder, *r;
    char *text = NULL;
    if (node_links(v, at->directory) == 0) {
        return -ENOENT;
    }
    int result = name_prepare(v, at->directory, at->name, at->len, &holder, &text);
    if (result == 0) {
        result = record_make(v, VFS_FILE, false, &r);
    }
    if (result != 0) {
        free(text);
        return result;
    }
    r->links = 1;
    name_set(v, holder, text, at->len, r->node);
    record_modified(holder);
    *node = r->node;
    return 0;
}

/* What opening something that is there demands of it. */
static int open_check(enum vfs_type type, int flags)
{
    bool changes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0;
    if (flags & O_CREAT) {
        if (flags & O_EXCL) {
            return -EEXIST;
        }
        if (type == VFS_DIRECTORY) {
            return -EISDIR;
        }
    }
    if ((flags & O_DIRECTORY) && type != VFS_DIRECTORY) {
        return -ENOTDIR;
    }
    if (type == VFS_LINK) {
        return -ELOOP;
    }
    return type == VFS_DIRECTORY && changes ? -EISDIR : 0;
}

static int file_truncate(struct vfs *v, uint32_t node)
{
    struct record *r;
    int result = record_need(v, node, false, &r);
    if (result == 0) {
        result = record_own(v, r);
    }
    if (result == 0) {
        content_resize(v, r, 0);
    }
    return result;
}

/* The path to publish a file under that is opened so; NULL when it is not to be. */
static int publish_path(const struct vfs *v, const struct place *at, int flags, char **out)
{
    char path[VFS_MAX_PATH];
    *out = NULL;
    if ((flags & O_CREAT) == 0 || (flags & O_TRUNC) == 0 || !node_publishes(v, at->directory)) {
        return 0;
    }
    int result = shared_join(node_shared_path(v, at->directory), at->name, at->len, path);
    if (result == 0) {
        *out = strdup(path);
        result = *out != NULL ? 0 : -ENOMEM;
    }
    return result;
}

static int node_open(struct vfs *v, struct place *at, int flags)
{
    if (at->node == 0) {
        return flags & O_CREAT ? file_make(v, at, &at->node) : -ENOENT;
    }
    enum vfs_type type = node_type(v, at->node);
    int result = open_check(type, flags);
    if (result != 0 || type == VFS_DIRECTORY) {
        return result;
    }
    return flags & O_TRUNC ? file_truncate(v, at->node)
                           : shared_fetch(v, at->directory, at->name, at->len, &at->node);
}

int vfs_open(struct vfs *v, uint32_t directory, const char *path, int flags, struct vfs_opened *out)
{
    struct place at;
    bool exclusive = (flags & O_CREAT) && (flags & O_EXCL);
    int how = flags & O_NOFOLLOW || exclusive ? 0 : WALK_FOLLOW;
    how |= flags & O_CREAT ? WALK_CREATE : 0;
    int result = walk(v, directory, path, how, &at);
    if (result == 0) {
        result = publish_path(v, &at, flags, &out->publish);
    }
    if (result != 0) {
        return result;
    }
    result = node_open(v, &at, flags);
    if (result != 0) {
        free(out->publish);
        return result;
    }
    out->node = at.node;
    out->type = node_type(v, at.node);
    struct record *r = record_of(v, at.node);
    if (r != NULL) {
        r->opens++;
    }
    return 0;
}

void vfs_close(struct vfs *v, uint32_t node)
{
    struct record *r = record_of(v, node);
    if (r != NULL) {
        r->opens--;
        record_settle(v, r);
    }
}
