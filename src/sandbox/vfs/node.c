/* What base and overlay together say of a node. */
#include "sandbox/vfs/layers.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME_COARSE, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void record_modified(struct record *r)
{
    r->modified_ns = r->changed_ns = now_ns();
}

enum vfs_type node_type(const struct vfs *v, uint32_t node)
{
    const struct base_node *n = base_node(v, node);
    return n != NULL ? (enum vfs_type)n->type : record_of(v, node)->type;
}

uint32_t node_parent(const struct vfs *v, uint32_t node)
{
    const struct record *r = record_of(v, node);
    return r != NULL ? r->directory.parent : base_node(v, node)->parent;
}

uint32_t node_links(const struct vfs *v, uint32_t node)
{
    const struct record *r = record_of(v, node);
    return r != NULL ? r->links : base_node(v, node)->links;
}

const char *node_target(const struct vfs *v, uint32_t node)
{
    const struct base_node *n = base_node(v, node);
    return n != NULL ? (const char *)n->bytes : record_of(v, node)->target;
}

/* Whether a directory of the base is `top` or lies in it. */
static bool beneath(const struct base_node *n, const char *top)
{
    size_t len = strlen(top);
    return strncmp(n->path, top, len) == 0 && (n->path[len] == '\0' || n->path[len] == '/');
}

const char *node_shared_path(const struct vfs *v, uint32_t node)
{
    const struct base_node *n = base_node(v, node);
    const struct record *r = record_of(v, node);
    if (v->shared == NULL) {
        return NULL;
    }
    if (n == NULL) {
        return r->directory.shared;
    }
    if (beneath(n, "tmp")) {
        return NULL;
    }
    if (beneath(n, "shared")) {
        return n->path + (n->path[6] == '/' ? 7 : 6);
    }
    return n->path;
}

bool node_publishes(const struct vfs *v, uint32_t node)
{
    const struct base_node *n = base_node(v, node);
    return v->shared != NULL &&
           (n != NULL ? beneath(n, "shared") : record_of(v, node)->directory.publishes);
}

/* ---- looking ---- */

void vfs_look_at(const struct vfs *v, uint32_t node, struct vfs_status *out)
{
    const struct base_node *n = base_node(v, node);
    const struct record *r = record_of(v, node);
    *out = (struct vfs_status){.device = 1, .inode = node, .type = node_type(v, node)};
    if (r != NULL) {
        out->device = r->device;
        out->inode = r->inode;
        out->links = r->links;
        out->accessed_ns = r->accessed_ns;
        out->modified_ns = r->modified_ns;
        out->changed_ns = r->changed_ns;
        out->size = r->type == VFS_FILE   ? r->file.size
                    : r->type == VFS_LINK ? strlen(r->target)
                                          : 0;
    } else {
        out->links = n->links;
        out->accessed_ns = out->modified_ns = out->changed_ns = n->modified_ns;
        out->size = n->size;
    }
}

int vfs_look(struct vfs *v, uint32_t directory, const char *path, bool follow,
             struct vfs_status *out)
{
    struct place at;
    int result = walk(v, directory, path, follow ? WALK_FOLLOW : 0, &at);
    if (result == 0 && at.node == 0) {
        result = -ENOENT;
    }
    if (result == 0) {
        vfs_look_at(v, at.node, out);
    }
    return result;
}

/* ---- times ---- */

static void time_set(int64_t *to, const struct timespec *t, int64_t now)
{
    if (t->tv_nsec == UTIME_NOW) {
        *to = now;
    } else if (t->tv_nsec != UTIME_OMIT) {
        bool over = __builtin_mul_overflow((int64_t)t->tv_sec, (int64_t)1000000000, to) ||
                    __builtin_add_overflow(*to, (int64_t)t->tv_nsec, to);
        *to = over ? INT64_MAX : *to;
    }
}

int vfs_set_times_at(struct vfs *v, uint32_t node, const struct timespec times[2])
{
    struct record *r;
    int result = record_need(v, node, false, &r);
    if (result == 0) {
        int64_t now = now_ns();
        time_set(&r->accessed_ns, &times[0], now);
        time_set(&r->modified_ns, &times[1], now);
        r->changed_ns = now;
    }
    return result;
}

int vfs_set_times(struct vfs *v, uint32_t directory, const char *path, bool follow,
                  const struct timespec times[2])
{
    struct place at;
    int result = walk(v, directory, path, follow ? WALK_FOLLOW : 0, &at);
    if (result == 0 && at.node == 0) {
        result = -ENOENT;
    }
    if (result == 0 && at.kind == PLACE_NAME) {
        result = shared_fetch(v, at.directory, at.name, at.len, &at.node);
    }
    return result == 0 ? vfs_set_times_at(v, at.node, times) : result;
}
