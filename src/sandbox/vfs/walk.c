/*
 * From paths to nodes.
 *
 * The walk goes component by component through directories that nobody else changes; a link's
 * target takes the link's place in what is still to be walked. It starts in the directory of a
 * descriptor and never leaves what is beneath it. What Linux does with slashes at the end, with
 * dots and with links in the last place is done here too, since programs were written for that.
 */
#include "sandbox/vfs/layers.h"

#include <errno.h>
#include <string.h>

/* Whether a record of a shared file or directory still is what the owner has at that name; if not,
 * the name is let go of. 1, 0, -errno, VFS_WAIT. */
static int fresh_check(struct vfs *v, uint32_t directory, struct record *r, const char *name,
                       size_t len)
{
    char path[VFS_MAX_PATH];
    struct vfs_shared now;
    int result = shared_join(node_shared_path(v, directory), name, len, path);
    if (result == 0) {
        result = v->shared->look(v->context, v->call, path, &now);
    }
    if (result != 0 && result != -ENOENT) {
        return result;
    }
    bool same = result == 0 && now.type == r->type &&
                (r->type == VFS_DIRECTORY || now.version == r->file.version);
    if (same) {
        return 1;
    }
    if (fresh_owned(v, r)) {
        result = record_own(v, r);
        return result == 0 ? 1 : result;
    }
    struct record *holder = record_of(v, directory);
    name_delete(v, holder, name_find(holder, name, len));
    fresh_forget(v, r);
    return 0;
}

int name_lookup(struct vfs *v, uint32_t directory, const char *name, size_t len, uint32_t *node)
{
    const struct base_node *n = base_node(v, directory);
    const struct record *r = record_of(v, directory);
    const struct name *found = r != NULL ? name_find(r, name, len) : NULL;
    *node = 0;
    if (found != NULL && found->node == 0) {
        return 0;
    }
    if (found != NULL) {
        struct record *there = record_of(v, found->node);
        uint32_t number = found->node;
        int same = there != NULL && there->fresh ? fresh_check(v, directory, there, name, len) : 1;
        if (same != 0) {
            *node = same > 0 ? number : 0;
            return same > 0 ? 0 : same;
        }
    } else if (n != NULL && (*node = base_child(v, n, name, len)) != 0) {
        return 0;
    }
    return shared_find(v, directory, name, len, node);
}

struct walking {
    struct vfs *v;
    uint32_t start, at, links;
    int flags;
    char rest[2 * VFS_MAX_PATH];
    const char *next; /* in rest */
};

/* Puts a link's target before what comes after the link. */
static int walk_splice(struct walking *w, const char *target, const char *after)
{
    char joined[2 * VFS_MAX_PATH];
    size_t len = strlen(target), after_len = strlen(after);
    if (target[0] == '/') {
        return -EPERM;
    }
    if (++w->links > VFS_MAX_LINKS) {
        return -ELOOP;
    }
    if (len + after_len >= sizeof joined) {
        return -ENAMETOOLONG;
    }
    memcpy(joined, target, len);
    memcpy(joined + len, after, after_len + 1);
    memcpy(w->rest, joined, len + after_len + 1);
    w->next = w->rest;
    return 0;
}

#define WALK_ON 1 /* there is more to walk; no -errno and not VFS_WAIT */

/* "." or "..". */
static int walk_dots(struct walking *w, bool up, bool last, struct place *out)
{
    out->kind = up ? PLACE_DOTDOT : PLACE_DOT;
    if (last && (w->flags & WALK_ENTRY)) {
        out->directory = out->node = w->at;
        return 0;
    }
    if (up && w->at == w->start) {
        return -EPERM;
    }
    w->at = up ? node_parent(w->v, w->at) : w->at;
    out->directory = out->node = w->at;
    return last ? 0 : WALK_ON;
}

static int walk_last(struct walking *w, const char *after, struct place *out)
{
    struct vfs *v = w->v;
    if ((w->flags & WALK_CREATE) && out->slash) {
        return -EISDIR;
    }
    int result = name_lookup(v, w->at, out->name, out->len, &out->node);
    if (result != 0 || (w->flags & WALK_ENTRY)) {
        return result;
    }
    if (out->node == 0) {
        return out->slash ? -ENOENT : 0;
    }
    enum vfs_type type = node_type(v, out->node);
    if (type == VFS_LINK && ((w->flags & WALK_FOLLOW) || out->slash)) {
        result = walk_splice(w, node_target(v, out->node), after);
        return result == 0 ? WALK_ON : result;
    }
    return out->slash && type != VFS_DIRECTORY ? -ENOTDIR : 0;
}

static int walk_through(struct walking *w, const char *name, uint32_t len, const char *after)
{
    uint32_t node;
    int result = name_lookup(w->v, w->at, name, len, &node);
    if (result == 0 && node == 0) {
        result = -ENOENT;
    }
    if (result != 0) {
        return result;
    }
    switch (node_type(w->v, node)) {
    case VFS_LINK: result = walk_splice(w, node_target(w->v, node), after); break;
    case VFS_DIRECTORY: w->at = node; break;
    default: result = -ENOTDIR; break;
    }
    return result == 0 ? WALK_ON : result;
}

static int walk_step(struct walking *w, struct place *out)
{
    const char *name = w->next + strspn(w->next, "/");
    size_t len = strcspn(name, "/");
    const char *after = name + len;
    bool last = after[strspn(after, "/")] == '\0';
    if (len > VFS_MAX_NAME) {
        return -ENAMETOOLONG;
    }
    w->next = after;
    out->directory = w->at;
    out->kind = PLACE_NAME;
    out->slash = last && *after == '/';
    out->len = (uint32_t)len;
    memcpy(out->name, name, len);
    out->name[len] = '\0';
    if (strcmp(out->name, ".") == 0 || strcmp(out->name, "..") == 0) {
        return walk_dots(w, len == 2, last, out);
    }
    return last ? walk_last(w, after, out) : walk_through(w, out->name, out->len, after);
}

int walk(struct vfs *v, uint32_t directory, const char *path, int flags, struct place *out)
{
    struct walking w; /* not cleared: it is large */
    size_t len = strlen(path);
    if (path[0] == '/') {
        return -EPERM;
    }
    if (len == 0) {
        return -ENOENT;
    }
    if (len >= VFS_MAX_PATH) {
        return -ENAMETOOLONG;
    }
    memcpy(w.rest, path, len + 1);
    w.v = v;
    w.start = w.at = directory;
    w.links = 0;
    w.flags = flags;
    w.next = w.rest;
    overlay_trim(v);
    int result;
    do {
        result = walk_step(&w, out);
    } while (result == WALK_ON);
    return result;
}
