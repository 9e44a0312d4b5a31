/*
 * Making, removing, renaming and linking.
 *
 * What is refused, and in which order, is as Linux has it. Every function first looks at all it
 * needs (which may wait), then makes room (which may fail), then changes; so whatever fails leaves
 * the tree as it was. A name that base or shared files have is removed by a whiteout: a name in the
 * overlay that stands for nothing.
 */
#include "sandbox/vfs/layers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- making ---- */

/* Whether a name can be made there. */
static int place_free(const struct vfs *v, const struct place *at, bool slash_allowed)
{
    if (at->kind != PLACE_NAME || at->node != 0) {
        return -EEXIST;
    }
    return (at->slash && !slash_allowed) || node_links(v, at->directory) == 0 ? -ENOENT : 0;
}

int name_prepare(struct vfs *v, uint32_t directory, const char *name, size_t len,
                 struct record **holder, char **text)
{
    int result = record_need(v, directory, false, holder);
    if (result == 0) {
        result = name_room(v, *holder, false);
    }
    if (result == 0) {
        *text = name_text(name, len);
        result = *text != NULL ? 0 : -ENOMEM;
    }
    return result;
}

/* A directory beneath /shared takes files to publish, as the one it lies in. It shows no shared
 * files where the guest has removed what was there. */
static int directory_share(struct vfs *v, const struct place *at, struct record *r)
{
    char path[VFS_MAX_PATH];
    if (!node_publishes(v, at->directory)) {
        return 0;
    }
    const struct record *holder = record_of(v, at->directory);
    int result = shared_join(node_shared_path(v, at->directory), at->name, at->len, path);
    if (result == 0) {
        result = overlay_charge(v, strlen(path) + 1);
    }
    if (result != 0) {
        return result;
    }
    r->directory.shared = strdup(path);
    if (r->directory.shared == NULL) {
        overlay_release(v, strlen(path) + 1);
        return -ENOMEM;
    }
    r->directory.publishes = true;
    r->directory.opaque = holder->directory.opaque || name_find(holder, at->name, at->len) != NULL;
    return 0;
}

int vfs_make_directory(struct vfs *v, uint32_t directory, const char *path)
{
    struct place at;
    struct record *holder, *r;
    char *text = NULL;
    int result = walk(v, directory, path, WALK_ENTRY, &at);
    if (result == 0) {
        result = place_free(v, &at, true);
    }
    if (result == 0) {
        result = name_prepare(v, at.directory, at.name, at.len, &holder, &text);
    }
    if (result == 0) {
        result = record_make(v, VFS_DIRECTORY, false, &r);
    }
    if (result != 0) {
        free(text);
        return result;
    }
    r->links = 2;
    r->directory.parent = at.directory;
    result = directory_share(v, &at, r);
    if (result != 0) {
        free(text);
        record_free(v, r);
        return result;
    }
    name_set(v, holder, text, at.len, r->node);
    holder->links++;
    record_modified(holder);
    return 0;
}

static int link_make(struct vfs *v, const char *target, struct record **out)
{
    size_t len = strlen(target);
    char *copy = strdup(target);
    int result = copy != NULL ? record_make(v, VFS_LINK, false, out) : -ENOMEM;
    if (result != 0) {
        free(copy);
        return result;
    }
    (*out)->target = copy;
    (*out)->links = 1;
    result = overlay_charge(v, len + 1);
    if (result != 0) {
        v->overlay->bytes += len + 1; /* record_free gives it back */
        record_free(v, *out);
    }
    return result;
}

int vfs_symlink(struct vfs *v, const char *target, uint32_t directory, const char *path)
{
    struct place at;
    struct record *holder, *r;
    char *text = NULL;
    int result = walk(v, directory, path, WALK_ENTRY, &at);
    if (result == 0) {
        result = target[0] == '\0'                ? -ENOENT
                 : strlen(target) >= VFS_MAX_PATH ? -ENAMETOOLONG
                                                  : place_free(v, &at, false);
    }
    if (result == 0) {
        result = name_prepare(v, at.directory, at.name, at.len, &holder, &text);
    }
    if (result == 0) {
        result = link_make(v, target, &r);
    }
    if (result != 0) {
        free(text);
        return result;
    }
    name_set(v, holder, text, at.len, r->node);
    record_modified(holder);
    return 0;
}

ssize_t vfs_read_link(struct vfs *v, uint32_t directory, const char *path, char *target,
                      size_t size)
{
    struct place at;
    int result = walk(v, directory, path, 0, &at);
    if (result != 0 || at.node == 0) {
        return result != 0 ? result : -ENOENT;
    }
    if (node_type(v, at.node) != VFS_LINK) {
        return -EINVAL;
    }
    const char *text = node_target(v, at.node);
    size_t len = strlen(text);
    memcpy(target, text, len < size ? len : size);
    return (ssize_t)len;
}

/* ---- removing ---- */

/* What it takes to take a name out of its directory. */
struct removal {
    struct record *holder;
    char *text; /* for the whiteout; NULL: the name just goes */
    struct record
        *removed; /* NULL: the base has it, and nobody needs to know that it lost a name */
};

/* Whether base or shared files would show again at a name. 1, 0, -errno, VFS_WAIT. */
static int shows_through(struct vfs *v, uint32_t directory, uint32_t node, const char *name,
                         size_t len)
{
    const struct base_node *n = base_node(v, directory);
    const struct record *r = record_of(v, node);
    if ((r != NULL && r->fresh) || (n != NULL && base_child(v, n, name, len) != 0)) {
        return 1;
    }
    return shared_shows(v, directory, name, len);
}

/* The record of a node that loses a name: made where somebody has the node open. */
static int removed_need(struct vfs *v, uint32_t node, struct record **out)
{
    *out = record_of(v, node);
    bool needed = *out == NULL && v->open_count(v->caller, node) > 0;
    return needed ? record_need(v, node, true, out) : 0;
}

static int removal_prepare(struct vfs *v, uint32_t directory, uint32_t node, const char *name,
                           size_t len, struct removal *out)
{
    out->text = NULL;
    int shows = shows_through(v, directory, node, name, len);
    int result = shows < 0 ? shows : record_need(v, directory, true, &out->holder);
    if (result == 0) {
        result = removed_need(v, node, &out->removed);
    }
    if (result == 0 && shows == 1) {
        result = name_room(v, out->holder, true);
        out->text = result == 0 ? name_text(name, len) : NULL;
        result = result == 0 && out->text == NULL ? -ENOMEM : result;
    }
    return result;
}

static void removal_unname(struct vfs *v, const struct removal *m, const char *name, size_t len)
{
    if (m->text != NULL) {
        name_set(v, m->holder, m->text, len, 0);
    } else {
        name_delete(v, m->holder, name_find(m->holder, name, len));
    }
    record_modified(m->holder);
}

/* A node has one name less. */
static void removed_settle(struct vfs *v, struct record *r)
{
    if (r == NULL) {
        return;
    }
    if (r->fresh) {
        fresh_forget(v, r);
        return;
    }
    r->links = r->type == VFS_DIRECTORY ? 0 : r->links - 1;
    r->changed_ns = now_ns();
    record_settle(v, r);
}

/* Whether it can be removed as what the caller says it is. */
static int removal_check(struct vfs *v, const struct place *at, bool is_directory)
{
    if (at->kind != PLACE_NAME) {
        return !is_directory ? -EISDIR : at->kind == PLACE_DOT ? -EINVAL : -ENOTEMPTY;
    }
    if (at->node == 0) {
        return -ENOENT;
    }
    enum vfs_type type = node_type(v, at->node);
    if (!is_directory) {
        return type == VFS_DIRECTORY ? -EISDIR : at->slash ? -ENOTDIR : 0;
    }
    if (type != VFS_DIRECTORY) {
        return -ENOTDIR;
    }
    const struct base_node *n = base_node(v, at->node);
    bool mount = n != NULL && strcmp(n->path, "shared") == 0;
    return mount ? -EBUSY : directory_empty(v, at->node);
}

int vfs_remove(struct vfs *v, uint32_t directory, const char *path, bool is_directory)
{
    struct place at;
    struct removal m;
    int result = walk(v, directory, path, WALK_ENTRY, &at);
    if (result == 0) {
        result = removal_check(v, &at, is_directory);
    }
    if (result == 0) {
        result = removal_prepare(v, at.directory, at.node, at.name, at.len, &m);
    }
    if (result == 0) {
        removal_unname(v, &m, at.name, at.len);
        m.holder->links -= is_directory;
        removed_settle(v, m.removed);
    }
    return result;
}

/* ---- renaming ---- */

/* Whether `node` is `top` or lies beneath it. */
static bool lies_in(const struct vfs *v, uint32_t node, uint32_t top)
{
    while (node != top && node != VFS_ROOT) {
        node = node_parent(v, node);
    }
    return node == top;
}

static int rename_check(struct vfs *v, const struct place *from, const struct place *to)
{
    if (from->kind != PLACE_NAME || to->kind != PLACE_NAME) {
        return -EBUSY;
    }
    if (from->node == 0 || node_links(v, to->directory) == 0) {
        return -ENOENT;
    }
    bool moves_directory = node_type(v, from->node) == VFS_DIRECTORY;
    if (!moves_directory && (from->slash || to->slash)) {
        return -ENOTDIR;
    }
    if (moves_directory && lies_in(v, to->directory, from->node)) {
        return -EINVAL;
    }
    if (to->node != 0 && node_type(v, to->node) == VFS_DIRECTORY &&
        lies_in(v, from->directory, to->node)) {
        return -ENOTEMPTY;
    }
    if (to->node == from->node) {
        return 0;
    }
    if (moves_directory && (node_publishes(v, from->node) || node_publishes(v, to->directory))) {
        return -EXDEV;
    }
    if (to->node == 0) {
        return 0;
    }
    bool over_directory = node_type(v, to->node) == VFS_DIRECTORY;
    if (moves_directory != over_directory) {
        return moves_directory ? -ENOTDIR : -EISDIR;
    }
    if (over_directory && node_publishes(v, to->node)) {
        return -EBUSY;
    }
    return over_directory ? directory_empty(v, to->node) : 0;
}

/* All that a rename needs; both names may lie in one directory. */
struct renaming {
    struct removal old;
    struct record *target, *moved, *replaced;
    char *text;
};

static int rename_prepare(struct vfs *v, const struct place *from, const struct place *to,
                          struct renaming *m)
{
    bool moves_directory = node_type(v, from->node) == VFS_DIRECTORY;
    *m = (struct renaming){0};
    int result = removal_prepare(v, from->directory, from->node, from->name, from->len, &m->old);
    if (result == 0 && to->node != 0) {
        result = removed_need(v, to->node, &m->replaced);
    }
    if (result == 0) {
        result = name_prepare(v, to->directory, to->name, to->len, &m->target, &m->text);
    }
    m->moved = record_of(v, from->node);
    if (result == 0 && moves_directory) {
        result = record_need(v, from->node, false, &m->moved);
    }
    if (result == 0 && m->moved != NULL) {
        result = record_own(v, m->moved);
    }
    if (result != 0) {
        free(m->old.text);
        free(m->text);
    }
    return result;
}

static void rename_do(struct vfs *v, const struct place *from, const struct place *to,
                      const struct renaming *m)
{
    bool moves_directory = node_type(v, from->node) == VFS_DIRECTORY;
    removal_unname(v, &m->old, from->name, from->len);
    name_set(v, m->target, m->text, to->len, from->node);
    record_modified(m->target);
    if (moves_directory) {
        m->moved->directory.parent = to->directory;
        m->old.holder->links--;
        m->target->links += to->node == 0;
    }
    if (m->moved != NULL) {
        m->moved->changed_ns = now_ns();
    }
    removed_settle(v, m->replaced);
}

int vfs_rename(struct vfs *v, uint32_t from_directory, const char *old_path, uint32_t to_directory,
               const char *new_path)
{
    struct place from, to;
    struct renaming m;
    int result = walk(v, from_directory, old_path, WALK_ENTRY, &from);
    if (result == 0) {
        result = walk(v, to_directory, new_path, WALK_ENTRY, &to);
    }
    if (result == 0) {
        result = rename_check(v, &from, &to);
    }
    if (result != 0 || from.node == to.node) {
        return result;
    }
    result = shared_fetch(v, from.directory, from.name, from.len, &from.node);
    if (result == 0) {
        result = rename_prepare(v, &from, &to, &m);
    }
    if (result == 0) {
        rename_do(v, &from, &to, &m);
    }
    return result;
}

/* ---- hard links ---- */

static int link_source(struct vfs *v, uint32_t directory, const char *path, bool follow,
                       struct place *out)
{
    size_t len = strlen(path);
    bool slash = len > 0 && path[len - 1] == '/';
    int result = walk(v, directory, path, follow || slash ? WALK_FOLLOW : WALK_ENTRY, out);
    return result == 0 && out->node == 0 ? -ENOENT : result;
}

int vfs_link(struct vfs *v, uint32_t from_directory, const char *old_path, bool follow,
             uint32_t to_directory, const char *new_path)
{
    struct place from, to;
    struct record *holder, *r;
    char *text = NULL;
    int result = walk(v, to_directory, new_path, WALK_ENTRY, &to);
    if (result == 0) {
        result = link_source(v, from_directory, old_path, follow, &from);
    }
    if (result == 0) {
        result = place_free(v, &to, false);
    }
    if (result == 0 && node_type(v, from.node) == VFS_DIRECTORY) {
        result = -EPERM;
    }
    if (result == 0) {
        result = shared_fetch(v, from.directory, from.name, from.len, &from.node);
    }
    if (result == 0) {
        result = record_need(v, from.node, false, &r);
    }
    if (result == 0) {
        result = name_prepare(v, to.directory, to.name, to.len, &holder, &text);
    }
    if (result == 0) {
        result = record_own(v, r);
    }
    if (result != 0) {
        free(text);
        return result;
    }
    r->links++;
    r->changed_ns = now_ns();
    name_set(v, holder, text, to.len, r->node);
    record_modified(holder);
    return 0;
}
