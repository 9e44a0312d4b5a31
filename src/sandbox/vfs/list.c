/*
 * What a directory holds.
 *
 * Three lists are merged: the overlay's names, the base's children that no name of the overlay
 * hides, and the shared files that neither of them hides. The first two are sorted, and given in
 * the order of names.
 */
#include "sandbox/vfs/layers.h"

#include <errno.h>
#include <string.h>

struct listing {
    struct vfs *v;
    const struct base_node *base;
    const struct record *record;
    vfs_each_entry *each;
    void *to;
};

static int entry_give(const struct listing *l, const char *name, size_t len, uint32_t node)
{
    struct vfs_status status;
    vfs_look_at(l->v, node, &status);
    return l->each(l->to, name, len, status.inode, status.type);
}

/* A name of the overlay; whiteouts are none, and fresh ones come with the shared files. */
static int name_give(const struct listing *l, const struct name *name)
{
    const struct record *r = record_of(l->v, name->node);
    bool gone = name->node == 0 || (r != NULL && r->fresh);
    return gone ? 0 : entry_give(l, name->text, name->len, name->node);
}

static int sorted_give(const struct listing *l)
{
    const struct directory_record *d = l->record != NULL ? &l->record->directory : NULL;
    uint32_t i = 0, count = d != NULL ? d->count : 0;
    uint32_t child = l->base != NULL ? l->base->first_child : 0;
    uint32_t end = l->base != NULL ? child + l->base->child_count : 0;
    int result = 0;
    while (result == 0 && (i < count || child < end)) {
        const struct base_node *n = child < end ? base_node(l->v, child) : NULL;
        int order = i == count  ? 1
                    : n == NULL ? -1
                                : name_compare(d->names[i].text, d->names[i].len, base_name(n),
                                               n->name_len);
        if (order <= 0) {
            result = name_give(l, &d->names[i++]);
        } else {
            result = entry_give(l, base_name(n), n->name_len, child);
        }
        child += order >= 0; /* a name of the overlay hides the base's */
    }
    return result;
}

/* A shared file's name, unless it is hidden. Its number is that of its record, if it has one. */
static int shared_give(void *context, const char *name, size_t len, const struct vfs_shared *found)
{
    const struct listing *l = context;
    const struct name *own = l->record != NULL ? name_find(l->record, name, len) : NULL;
    const struct record *r = own != NULL ? record_of(l->v, own->node) : NULL;
    bool hidden = (own != NULL && (r == NULL || !r->fresh)) ||
                  (l->base != NULL && base_child(l->v, l->base, name, len) != 0);
    if (hidden || len == 0 || len > VFS_MAX_NAME) {
        return 0;
    }
    return l->each(l->to, name, len, r != NULL ? r->inode : found->version, found->type);
}

/* The names without the dots; the shared ones first, since asking for them may have to wait. */
static int names_give(struct vfs *v, uint32_t directory, vfs_each_entry *each, void *to)
{
    struct listing l = {v, base_node(v, directory), record_of(v, directory), each, to};
    const char *shared = node_shared_path(v, directory);
    bool shows = shared != NULL && node_links(v, directory) > 0 &&
                 (l.record == NULL || !l.record->directory.opaque);
    int result = shows ? v->shared->list(v->context, v->call, shared, shared_give, &l) : 0;
    if (result == -ENOENT) {
        result = 0;
    }
    return result == 0 && node_links(v, directory) > 0 ? sorted_give(&l) : result;
}

static int entry_ignore(void *to, const char *name, size_t len, uint64_t inode, enum vfs_type type)
{
    (void)to, (void)name, (void)len, (void)inode, (void)type;
    return -ENOTEMPTY;
}

int directory_empty(struct vfs *v, uint32_t directory)
{
    return names_give(v, directory, entry_ignore, NULL);
}

/* Buffers nothing: a caller whose listing must wait throws away the dots. */
int vfs_list(struct vfs *v, uint32_t directory, vfs_each_entry *each, void *to)
{
    struct listing l = {.v = v, .each = each, .to = to};
    overlay_trim(v);
    if (node_links(v, directory) == 0) {
        return 0;
    }
    int result = entry_give(&l, ".", 1, directory);
    if (result == 0) {
        result = entry_give(&l, "..", 2, node_parent(v, directory));
    }
    return result == 0 ? names_give(v, directory, each, to) : result;
}
