/* The file tree of a function as a back end: descriptors are nodes with a position of their own. */
#define _GNU_SOURCE
#include "sandbox/wasi/save.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define RIGHTS_TO_CHANGE \
    (WASI_RIGHT_FD_WRITE | WASI_RIGHT_FD_ALLOCATE | WASI_RIGHT_FD_FILESTAT_SET_SIZE)

/* The tree, for an operation that may wait. */
static struct vfs *tree_for(struct host_call *call)
{
    struct vfs *v = &call_world(call)->tree;
    v->call = call;
    return v;
}

static uint8_t filetype_from(enum vfs_type type)
{
    switch (type) {
    case VFS_FILE: return WASI_FILETYPE_REGULAR_FILE;
    case VFS_DIRECTORY: return WASI_FILETYPE_DIRECTORY;
    case VFS_LINK: return WASI_FILETYPE_SYMBOLIC_LINK;
    default: return WASI_FILETYPE_UNKNOWN;
    }
}

/* ---- bytes ---- */

/* Copies what the file holds into one stretch of guest memory. */
static ssize_t stretch_read(struct host_call *call, uint32_t node, uint64_t offset,
                            uint32_t address, size_t len)
{
    const struct vfs *v = &call_world(call)->tree;
    size_t done = 0, run;
    const uint8_t *bytes;
    while (done < len && (run = vfs_peek(v, node, offset + done, len - done, &bytes)) > 0) {
        if (guest_write(call->arena, address + (uint32_t)done, bytes, run) != 0) {
            return done > 0 ? (ssize_t)done : -EFAULT;
        }
        done += run;
    }
    return (ssize_t)done;
}

/* And the other way. What a failed copy leaves behind the end of the file is cleared. */
static ssize_t stretch_write(struct host_call *call, uint32_t node, uint64_t offset,
                             uint32_t address, size_t len)
{
    struct vfs *v = &call_world(call)->tree;
    size_t done = 0;
    while (done < len) {
        uint8_t *room;
        uint64_t at = offset + done, size = vfs_size(v, node);
        ssize_t run = vfs_room(v, node, at, len - done, &room);
        if (run < 0) {
            return done > 0 ? (ssize_t)done : run;
        }
        if (guest_read(call->arena, room, address + (uint32_t)done, (size_t)run) != 0) {
            uint64_t keep = size > at ? size - at : 0;
            if (keep < (uint64_t)run) {
                memset(room + keep, 0, (size_t)run - keep);
            }
            return done > 0 ? (ssize_t)done : -EFAULT;
        }
        done += (size_t)run;
        vfs_wrote(v, node, offset + done);
    }
    return (ssize_t)done;
}

typedef ssize_t stretch_move(struct host_call *, uint32_t node, uint64_t offset, uint32_t address,
                             size_t len);

/* Moves vector after vector until one comes out short. */
static ssize_t vectors_move(struct host_call *call, uint32_t node, const struct vectors *v,
                            uint64_t offset, stretch_move *move)
{
    ssize_t done = 0;
    for (int i = 0; i < v->count; i++) {
        size_t len = v->list[i].iov_len;
        ssize_t moved = move(call, node, offset + (uint64_t)done, v->addresses[i], len);
        if (moved < 0) {
            return done > 0 ? done : moved;
        }
        done += moved;
        if ((size_t)moved < len) {
            break;
        }
    }
    return done;
}

static ssize_t tree_read_at(struct host_call *call, struct descriptor *d, struct vectors *v,
                            uint64_t offset)
{
    return vectors_move(call, d->node, v, offset, stretch_read);
}

static ssize_t tree_write_at(struct host_call *call, struct descriptor *d, struct vectors *v,
                             uint64_t offset)
{
    return vectors_move(call, d->node, v, offset, stretch_write);
}

static ssize_t tree_read(struct host_call *call, struct descriptor *d, struct vectors *v)
{
    ssize_t got = tree_read_at(call, d, v, d->position);
    d->position += got > 0 ? (uint64_t)got : 0;
    return got;
}

static ssize_t tree_write(struct host_call *call, struct descriptor *d, struct vectors *v)
{
    if (d->flags & WASI_FDFLAG_APPEND) {
        d->position = vfs_size(&call_world(call)->tree, d->node);
    }
    ssize_t written = tree_write_at(call, d, v, d->position);
    d->position += written > 0 ? (uint64_t)written : 0;
    return written;
}

static uint64_t tree_ready(const struct wasi *w, const struct descriptor *d, bool reads)
{
    uint64_t size = d->filetype == WASI_FILETYPE_REGULAR_FILE ? vfs_size(&w->tree, d->node) : 0;
    return !reads ? 1 : size > d->position ? size - d->position : 0;
}

/* ---- position, space, looks ---- */

static int64_t tree_seek(struct wasi *w, struct descriptor *d, int64_t offset, int whence)
{
    int64_t from = whence == SEEK_SET   ? 0
                   : whence == SEEK_CUR ? (int64_t)d->position
                                        : (int64_t)vfs_size(&w->tree, d->node);
    int64_t position;
    if (__builtin_add_overflow(from, offset, &position) || position < 0) {
        return -EINVAL;
    }
    d->position = (uint64_t)position;
    return position;
}

static int tree_advise(struct wasi *w, struct descriptor *d, uint64_t offset, uint64_t len,
                       int advice)
{
    (void)w, (void)d, (void)offset, (void)len, (void)advice;
    return 0;
}

static int tree_allocate(struct wasi *w, struct descriptor *d, uint64_t offset, uint64_t len)
{
    return vfs_allocate(&w->tree, d->node, offset, len);
}

static int tree_resize(struct wasi *w, struct descriptor *d, uint64_t size)
{
    return vfs_resize(&w->tree, d->node, size);
}

/* There is nothing more durable than memory here. */
static int tree_sync(struct descriptor *d, bool data_only)
{
    (void)d, (void)data_only;
    return 0;
}

static uint64_t timestamp_from(int64_t ns)
{
    return ns > 0 ? (uint64_t)ns : 0;
}

static void filestat_from(const struct vfs_status *status, struct filestat *out)
{
    *out = (struct filestat){
        .device = status->device,
        .inode = status->inode,
        .links = status->links,
        .size = status->size,
        .accessed_ns = timestamp_from(status->accessed_ns),
        .modified_ns = timestamp_from(status->modified_ns),
        .changed_ns = timestamp_from(status->changed_ns),
        .filetype = filetype_from(status->type),
    };
}

static int tree_look(struct wasi *w, const struct descriptor *d, struct filestat *out)
{
    struct vfs_status status;
    vfs_look_at(&w->tree, d->node, &status);
    filestat_from(&status, out);
    return 0;
}

static int tree_set_times(struct wasi *w, struct descriptor *d, const struct timespec times[2])
{
    return vfs_set_times_at(&w->tree, d->node, times);
}

/* ---- opening and closing ---- */

static void node_describe(struct descriptor *d, uint32_t node, enum vfs_type type)
{
    d->back_end = &back_end_vfs;
    d->node = node;
    d->filetype = filetype_from(type);
    d->seekable = type == VFS_FILE;
}

static int tree_open(struct host_call *call, const struct descriptor *directory, char *path,
                     int flags, struct descriptor *made)
{
    struct vfs_opened opened;
    int result = vfs_open(tree_for(call), directory->node, path, flags, &opened);
    if (result == 0) {
        node_describe(made, opened.node, opened.type);
        made->publish = opened.publish;
    }
    return result;
}

static int tree_finish(struct host_call *call, struct descriptor *d)
{
    return d->publish != NULL ? vfs_publish(tree_for(call), d->node, d->publish) : 0;
}

static void tree_close(struct wasi *w, struct descriptor *d)
{
    vfs_close(&w->tree, d->node);
}

static uint32_t open_count(void *world, uint32_t node)
{
    const struct wasi *w = world;
    uint32_t count = 0;
    for (uint32_t i = 0; i < w->capacity; i++) {
        const struct descriptor *d = &w->descriptors[i];
        count += d->kind != DESCRIPTOR_FREE && d->back_end == &back_end_vfs && d->node == node;
    }
    return count;
}

void world_plant(struct wasi *w, const struct vfs_config *config)
{
    vfs_begin(&w->tree, config, open_count, w);
}

int preopen_add_tree(struct wasi *w, const char *guest_name, struct error *e)
{
    struct preopen *made = malloc(sizeof *made);
    char *name = strdup(guest_name);
    if (made == NULL || name == NULL || w->preopen_count != 0) {
        free(made);
        free(name);
        return error_set(e, ATOLL_ENOMEM, "no memory for the guest's file tree");
    }
    *made = (struct preopen){.guest_name = name, .back_end = &back_end_vfs, .fd = -1};
    w->preopens = made;
    w->preopen_count = 1;
    return 0;
}

uint64_t wasi_tree_bytes(const struct wasi *w)
{
    return vfs_bytes(&w->tree);
}

/* ---- names ---- */

struct listing_of {
    const struct wasi *w;
    struct listing *listing;
};

static int entry_add(void *to, const char *name, size_t len, uint64_t inode, enum vfs_type type)
{
    const struct listing_of *l = to;
    return listing_put(l->w, l->listing, name, len, inode, filetype_from(type));
}

static int tree_list(struct host_call *call, struct descriptor *d, struct listing *l)
{
    return vfs_list(tree_for(call), d->node, entry_add, &(struct listing_of){call_world(call), l});
}

static int tree_path_look(struct host_call *call, const struct descriptor *d, char *path,
                          bool follow, struct filestat *out)
{
    struct vfs_status status;
    int result = vfs_look(tree_for(call), d->node, path, follow, &status);
    if (result == 0) {
        filestat_from(&status, out);
    }
    return result;
}

static int tree_path_set_times(struct host_call *call, const struct descriptor *d, char *path,
                               bool follow, const struct timespec times[2])
{
    return vfs_set_times(tree_for(call), d->node, path, follow, times);
}

static int tree_make_directory(struct host_call *call, const struct descriptor *d, char *path)
{
    return vfs_make_directory(tree_for(call), d->node, path);
}

static int tree_remove(struct host_call *call, const struct descriptor *d, char *path,
                       bool is_directory)
{
    return vfs_remove(tree_for(call), d->node, path, is_directory);
}

static int tree_rename(struct host_call *call, const struct descriptor *from, char *old_path,
                       const struct descriptor *to, char *new_path)
{
    return vfs_rename(tree_for(call), from->node, old_path, to->node, new_path);
}

static int tree_link(struct host_call *call, const struct descriptor *from, char *old_path,
                     bool follow, const struct descriptor *to, char *new_path)
{
    return vfs_link(tree_for(call), from->node, old_path, follow, to->node, new_path);
}

static int tree_symlink(struct host_call *call, const char *target, const struct descriptor *d,
                        char *path)
{
    return vfs_symlink(tree_for(call), target, d->node, path);
}

static ssize_t tree_read_link(struct host_call *call, const struct descriptor *d, char *path,
                              char *target, size_t size)
{
    return vfs_read_link(tree_for(call), d->node, path, target, size);
}

/* ---- checkpoints ---- */

static int tree_save(const struct wasi *w, uint32_t number, const struct descriptor *d,
                     struct saved *s, struct error *e)
{
    struct vfs_status status;
    const char *path = vfs_base_path(&w->tree, d->node);
    if (path == NULL) {
        return saved_refuse(number, "a file or directory that was made or changed", "", e);
    }
    if (d->filetype == WASI_FILETYPE_REGULAR_FILE && (d->base & RIGHTS_TO_CHANGE) != 0) {
        return saved_refuse(number, "a file open for writing", path, e);
    }
    vfs_look_at(&w->tree, d->node, &status);
    strcpy(s->path, path); /* shorter than VFS_MAX_PATH, which is WASI_MAX_PATH */
    s->access = O_RDONLY;
    s->file = (struct identity){.size = status.size, .modified_ns = (uint64_t)status.modified_ns};
    s->position = d->position;
    return 0;
}
_Static_assert(VFS_MAX_PATH <= WASI_MAX_PATH, "paths of the tree can be saved");

static int tree_reopen(struct wasi *w, const struct saved *s, struct descriptor *made,
                       struct error *e)
{
    struct vfs_status status;
    uint32_t node = s->kind == DESCRIPTOR_PREOPEN ? VFS_ROOT : vfs_base_find(&w->tree, s->path);
    if (node == 0) {
        return error_set(e, ATOLL_ESTALE,
                         "descriptor %u was the file %s, which the function's file tree does not "
                         "have any more",
                         s->number, s->path);
    }
    vfs_look_at(&w->tree, node, &status);
    node_describe(made, node, status.type);
    made->position = s->position;
    bool same = made->filetype == s->filetype &&
                (status.type != VFS_FILE || (status.size == s->file.size &&
                                             (uint64_t)status.modified_ns == s->file.modified_ns));
    if (!same || status.type == VFS_LINK) {
        return error_set(e, ATOLL_ESTALE, "descriptor %u was the file %s, which is another one now",
                         s->number, s->path);
    }
    return 0;
}

const struct back_end back_end_vfs = {
    .read = tree_read,
    .write = tree_write,
    .read_at = tree_read_at,
    .write_at = tree_write_at,
    .ready = tree_ready,
    .seek = tree_seek,
    .advise = tree_advise,
    .allocate = tree_allocate,
    .resize = tree_resize,
    .sync = tree_sync,
    .look = tree_look,
    .set_times = tree_set_times,
    .finish = tree_finish,
    .close = tree_close,
    .list = tree_list,
    .open = tree_open,
    .path_look = tree_path_look,
    .path_set_times = tree_path_set_times,
    .make_directory = tree_make_directory,
    .remove = tree_remove,
    .rename = tree_rename,
    .link = tree_link,
    .symlink = tree_symlink,
    .read_link = tree_read_link,
    .save = tree_save,
    .reopen = tree_reopen,
};
