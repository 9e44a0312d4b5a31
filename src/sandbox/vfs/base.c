/*
 * The base of a tree: files that never change, made once and shared.
 *
 * All records lie in one array, breadth first: sorted by depth, then by path. Then the children of
 * a directory are neighbours, and a name is found by bisection. Files of some size in sealed memory
 * files are mapped, so that all processes with the same base have one copy.
 */
#define _GNU_SOURCE
#include "sandbox/vfs/layers.h"

#include "base/file.h"

#include <assert.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* Up to this size a copy costs less than a mapping. */
#define COPY_MAX (16u << 10)
/* All that a base may copy. */
#define COPIES_MAX (1ull << 30)

int name_compare(const char *a, size_t a_len, const char *b, size_t b_len)
{
    int order = memcmp(a, b, a_len < b_len ? a_len : b_len);
    return order != 0 ? order : (a_len > b_len) - (a_len < b_len);
}

uint32_t base_child(const struct vfs *v, const struct base_node *directory, const char *name,
                    size_t len)
{
    uint32_t low = directory->first_child, high = low + directory->child_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct base_node *n = &v->base->nodes[middle - 1];
        int order = name_compare(base_name(n), n->name_len, name, len);
        if (order == 0) {
            return middle;
        }
        low = order < 0 ? middle + 1 : low;
        high = order < 0 ? high : middle;
    }
    return 0;
}

/* ---- making ---- */

/* A path that is to exist, for one of the entries or (entry NULL) on the way to one. */
struct wish {
    const char *path;
    uint32_t len, depth;
    uint32_t rank; /* of the entry: the lowest counts */
    const struct vfs_entry *entry;
};

struct making {
    struct wish *wishes;
    uint32_t count, capacity;
    struct vfs_base *base;
    uint64_t copied, copies; /* bytes so far, and in all */
};

static bool wish_add(struct making *m, struct wish wish)
{
    if (m->count == m->capacity) {
        uint32_t capacity = m->capacity == 0 ? 64 : m->capacity * 2;
        struct wish *grown = realloc(m->wishes, capacity * sizeof *grown);
        if (grown == NULL) {
            return false;
        }
        m->wishes = grown;
        m->capacity = capacity;
    }
    m->wishes[m->count++] = wish;
    return true;
}

/* By depth; then component by component, so that a slash comes before all other bytes; then
 * entries before what is only on the way. */
static int wish_compare(const void *a_, const void *b_)
{
    const struct wish *a = a_, *b = b_;
    if (a->depth != b->depth) {
        return a->depth < b->depth ? -1 : 1;
    }
    for (uint32_t i = 0; i < a->len && i < b->len; i++) {
        if (a->path[i] != b->path[i]) {
            int left = a->path[i] == '/' ? -1 : (uint8_t)a->path[i];
            int right = b->path[i] == '/' ? -1 : (uint8_t)b->path[i];
            return left < right ? -1 : 1;
        }
    }
    if (a->len != b->len) {
        return a->len < b->len ? -1 : 1;
    }
    return (a->rank > b->rank) - (a->rank < b->rank);
}

static bool same_path(const struct wish *a, const struct wish *b)
{
    return a->len == b->len && memcmp(a->path, b->path, a->len) == 0;
}

/* Whether a path is of the form that entries must have. */
static bool path_good(const char *path, size_t len)
{
    if (len == 0 || len >= VFS_MAX_PATH || path[0] == '/') {
        return false;
    }
    for (size_t at = 0; at <= len;) {
        size_t name = strcspn(path + at, "/");
        bool dots =
            (name == 1 && path[at] == '.') || (name == 2 && path[at] == '.' && path[at + 1] == '.');
        if (name == 0 || name > VFS_MAX_NAME || dots) {
            return false;
        }
        at += name + 1;
    }
    return true;
}

/* The entry, and the directories on the way to it. */
static int entry_wish(struct making *m, const struct vfs_entry *entry, uint32_t rank,
                      struct error *e)
{
    size_t len = strlen(entry->path);
    if (!path_good(entry->path, len)) {
        return error_set(e, ATOLL_EINVAL,
                         "\"%.200s\" cannot be the path of a file: give a relative path without "
                         "\".\" and \"..\", of at most %u bytes",
                         entry->path, VFS_MAX_PATH - 1);
    }
    if (entry->type < VFS_FILE || entry->type > VFS_LINK ||
        (entry->type == VFS_LINK && (entry->len == 0 || entry->len >= VFS_MAX_PATH)) ||
        entry->len > VFS_MAX_SIZE) {
        return error_set(e, ATOLL_EINVAL,
                         "%.200s is no file, directory or link that a tree can hold", entry->path);
    }
    uint32_t depth = 0;
    bool good = true;
    for (uint32_t at = 0; good && at < len; at++) {
        if (entry->path[at] == '/') {
            good = wish_add(m, (struct wish){entry->path, at, ++depth, UINT32_MAX, NULL});
        }
    }
    good = good && wish_add(m, (struct wish){entry->path, (uint32_t)len, depth + 1, rank, entry});
    return good ? 0 : error_set(e, ATOLL_ENOMEM, "no memory for a file tree");
}

#define ALWAYS 2u /* directories that every base has; their ranks come first */

/* Leaves one wish for each path, in their final order. */
static int wishes_order(struct making *m, struct error *e)
{
    uint32_t kept = 1;
    qsort(m->wishes, m->count, sizeof *m->wishes, wish_compare);
    for (uint32_t i = 1; i < m->count; i++) {
        struct wish *last = &m->wishes[kept - 1], *now = &m->wishes[i];
        if (!same_path(last, now)) {
            m->wishes[kept++] = *now;
        } else if (now->entry == NULL && last->entry != NULL &&
                   last->entry->type != VFS_DIRECTORY) {
            return error_set(e, ATOLL_EINVAL, "%.200s is a file, and a directory with files in it",
                             last->entry->path);
        } else if (last->rank < ALWAYS && now->entry != NULL && now->entry->type != VFS_DIRECTORY) {
            return error_set(e, ATOLL_EINVAL, "%.200s is a directory in every tree, not a file",
                             now->entry->path);
        }
    }
    m->count = kept;
    return kept <= VFS_MAX_BASE
               ? 0
               : error_set(e, ATOLL_ELIMIT, "a tree of more than %u files", VFS_MAX_BASE);
}

/* The node of the path's parent: it is one of those a level up, and parents come in the order of
 * their children, so the search goes on where the last one ended. */
static uint32_t parent_find(const struct vfs_base *b, const struct base_node *n, uint32_t from)
{
    uint32_t len = n->path_len == n->name_len ? 0 : n->path_len - n->name_len - 1u;
    while (b->nodes[from - 1].depth + 1 != n->depth || b->nodes[from - 1].path_len != len ||
           memcmp(b->nodes[from - 1].path, n->path, len) != 0) {
        from++;
        assert(from <= b->count);
    }
    return from;
}

static void node_place(struct vfs_base *b, uint32_t number, uint32_t *last_parent)
{
    struct base_node *n = &b->nodes[number - 1];
    *last_parent = parent_find(b, n, *last_parent);
    struct base_node *parent = &b->nodes[*last_parent - 1];
    n->parent = *last_parent;
    parent->first_child = parent->child_count == 0 ? number : parent->first_child;
    parent->child_count++;
    parent->links += n->type == VFS_DIRECTORY;
}

static int nodes_make(struct making *m, struct error *e)
{
    struct vfs_base *b = m->base;
    uint64_t bytes = 0, at = 0;
    for (uint32_t i = 0; i < m->count; i++) {
        bytes += m->wishes[i].len + 1;
    }
    b->nodes = calloc(m->count, sizeof *b->nodes);
    b->paths = malloc(bytes);
    if (b->nodes == NULL || b->paths == NULL) {
        return error_set(e, ATOLL_ENOMEM, "no memory for a file tree");
    }
    b->count = m->count;
    for (uint32_t i = 0, parent = 1; i < m->count; i++) {
        const struct wish *w = &m->wishes[i];
        struct base_node *n = &b->nodes[i];
        memcpy(b->paths + at, w->path, w->len);
        b->paths[at + w->len] = '\0';
        const char *slash = memrchr(w->path, '/', w->len);
        n->path = b->paths + at;
        n->path_len = (uint16_t)w->len;
        n->name_len = (uint16_t)(slash == NULL ? w->len : w->len - (uint32_t)(slash + 1 - w->path));
        n->depth = (uint16_t)w->depth;
        n->type = w->entry == NULL ? VFS_DIRECTORY : (uint8_t)w->entry->type;
        n->links = n->type == VFS_DIRECTORY ? 2 : 1;
        n->modified_ns = w->entry == NULL ? 0 : w->entry->modified_ns;
        n->parent = VFS_ROOT;
        at += w->len + 1;
        if (i > 0) {
            node_place(b, i + 1, &parent);
        }
    }
    return 0;
}

/* ---- contents ---- */

static bool is_sealed(int fd)
{
    int seals = fcntl(fd, F_GET_SEALS);
    return seals >= 0 && (seals & F_SEAL_SHRINK) != 0 &&
           (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) != 0;
}

static bool is_copied(const struct vfs_entry *entry)
{
    return entry->bytes != NULL || entry->len <= COPY_MAX || entry->type == VFS_LINK ||
           !is_sealed(entry->fd);
}

static int content_read(const struct vfs_entry *entry, uint8_t *to, struct error *e)
{
    if (file_read_at(entry->fd, to, entry->len, entry->offset, e) < 0)
        return error_prefix(e, "cannot read %.200s", entry->path);
    return 0;
}

static int content_map(struct vfs_base *b, const struct vfs_entry *entry, const uint8_t **bytes,
                       struct error *e)
{
    struct stat status;
    uint64_t skip = entry->offset % PAGE;
    if (b->mapping_count == VFS_MAX_MAPPINGS) {
        return error_set(e, ATOLL_ELIMIT, "a tree with more than %u files that are not small",
                         VFS_MAX_MAPPINGS);
    }
    if (fstat(entry->fd, &status) != 0 || entry->offset > (uint64_t)status.st_size ||
        entry->len > (uint64_t)status.st_size - entry->offset) {
        return error_set(e, ATOLL_ESIZE, "%.200s is shorter than the %llu bytes it should have",
                         entry->path, (unsigned long long)entry->len);
    }
    struct mapping *m = &b->mappings[b->mapping_count];
    m->len = (size_t)(entry->len + skip);
    m->start = mmap(NULL, m->len, PROT_READ, MAP_SHARED, entry->fd, (off_t)(entry->offset - skip));
    if (m->start == MAP_FAILED) {
        return error_set_errno(e, ATOLL_ENOMEM, "cannot map %.200s", entry->path);
    }
    b->mapping_count++;
    *bytes = (const uint8_t *)m->start + skip;
    return 0;
}

static int content_place(struct making *m, struct base_node *n, const struct vfs_entry *entry,
                         struct error *e)
{
    n->size = entry->len;
    if (!is_copied(entry)) {
        return content_map(m->base, entry, &n->bytes, e);
    }
    uint8_t *to = m->base->bytes + m->copied;
    n->bytes = to;
    m->copied += entry->len + 1; /* a link's target is a text: its NUL is there already */
    if (entry->bytes != NULL) {
        memcpy(to, entry->bytes, entry->len);
        return 0;
    }
    return content_read(entry, to, e);
}

static int contents_place(struct making *m, struct error *e)
{
    struct vfs_base *b = m->base;
    uint32_t mapped = 0;
    for (uint32_t i = 0; i < m->count; i++) {
        const struct vfs_entry *entry = m->wishes[i].entry;
        if (entry != NULL && entry->type != VFS_DIRECTORY && is_copied(entry)) {
            m->copies += entry->len + 1;
        } else if (entry != NULL && entry->type != VFS_DIRECTORY) {
            mapped++;
        }
    }
    if (m->copies > COPIES_MAX) {
        return error_set(e, ATOLL_ESIZE,
                         "a tree of more than %llu MiB in files that are not sealed memory files",
                         COPIES_MAX >> 20);
    }
    b->bytes = calloc(m->copies + 1, 1);
    b->mappings = calloc(mapped + 1ull, sizeof *b->mappings);
    int result = b->bytes != NULL && b->mappings != NULL
                     ? 0
                     : error_set(e, ATOLL_ENOMEM, "no memory for a file tree");
    for (uint32_t i = 0; i < m->count && result == 0; i++) {
        const struct vfs_entry *entry = m->wishes[i].entry;
        if (entry != NULL && entry->type != VFS_DIRECTORY) {
            result = content_place(m, &b->nodes[i], entry, e);
        }
        if (result == 0 && entry != NULL && entry->type == VFS_LINK &&
            memchr(b->nodes[i].bytes, '\0', entry->len) != NULL) {
            result = error_set(e, ATOLL_EINVAL, "the link %.200s has a target with a NUL in it",
                               entry->path);
        }
    }
    return result;
}

static int base_fill(struct making *m, const struct vfs_entry *entries, uint32_t count,
                     struct error *e)
{
    static const struct vfs_entry always[ALWAYS] = {{.path = "tmp", .type = VFS_DIRECTORY},
                                                    {.path = "shared", .type = VFS_DIRECTORY}};
    int result = wish_add(m, (struct wish){"", 0, 0, UINT32_MAX, NULL})
                     ? 0
                     : error_set(e, ATOLL_ENOMEM, "no memory for a file tree");
    for (uint32_t i = 0; i < ALWAYS && result == 0; i++) {
        result = entry_wish(m, &always[i], i, e);
    }
    for (uint32_t i = 0; i < count && result == 0; i++) {
        result = entry_wish(m, &entries[i], i + ALWAYS, e);
    }
    if (result == 0) {
        result = wishes_order(m, e);
    }
    if (result == 0) {
        result = nodes_make(m, e);
    }
    return result == 0 ? contents_place(m, e) : result;
}

int vfs_base_create(const struct vfs_entry *entries, uint32_t count, struct vfs_base **out,
                    struct error *e)
{
    struct making m = {.base = calloc(1, sizeof *m.base)};
    if (m.base == NULL) {
        return error_set(e, ATOLL_ENOMEM, "no memory for a file tree");
    }
    m.base->references = 1;
    int result = count <= VFS_MAX_BASE
                     ? base_fill(&m, entries, count, e)
                     : error_set(e, ATOLL_ELIMIT, "a tree of more than %u files", VFS_MAX_BASE);
    free(m.wishes);
    if (result != 0) {
        vfs_base_release(m.base);
        return result;
    }
    *out = m.base;
    return 0;
}

struct vfs_base *vfs_base_retain(struct vfs_base *b)
{
    atomic_fetch_add(&b->references, 1);
    return b;
}

void vfs_base_release(struct vfs_base *b)
{
    if (b == NULL || atomic_fetch_sub(&b->references, 1) != 1) {
        return;
    }
    for (uint32_t i = 0; i < b->mapping_count; i++) {
        munmap(b->mappings[i].start, b->mappings[i].len);
    }
    free(b->mappings);
    free(b->bytes);
    free(b->paths);
    free(b->nodes);
    free(b);
}

const char *vfs_base_path(const struct vfs *v, uint32_t node)
{
    const struct base_node *n = base_node(v, node);
    const struct record *r = record_of(v, node);
    bool changed = r != NULL &&
                   (r->type != VFS_DIRECTORY || r->directory.parent != n->parent || r->links == 0);
    /* Each directory on the way must be where it was, and hold this. */
    for (uint32_t up = node; n != NULL && !changed && up != VFS_ROOT;) {
        const struct base_node *child = base_node(v, up);
        const struct record *parent = record_of(v, child->parent);
        changed =
            parent != NULL && (parent->links == 0 ||
                               (child->parent != VFS_ROOT &&
                                parent->directory.parent != base_node(v, child->parent)->parent) ||
                               name_find(parent, base_name(child), child->name_len) != NULL);
        up = child->parent;
    }
    return n == NULL || changed ? NULL : node == VFS_ROOT ? "." : n->path;
}

uint32_t vfs_base_find(const struct vfs *v, const char *path)
{
    uint32_t node = VFS_ROOT;
    if (strcmp(path, ".") == 0) {
        return node;
    }
    for (size_t len = 1; node != 0 && len > 0; path += len + (path[len] == '/')) {
        len = strcspn(path, "/");
        node = len > 0 ? base_child(v, base_node(v, node), path, len) : node;
    }
    return node;
}
