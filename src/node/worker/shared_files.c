/*
 * See shared_files.h.
 *
 * The worker keeps one index of all shared files of its tenant: path, length, version, sorted. The
 * supervisor sets the mark of the worker's ring to the current version at every change, so looking
 * at a name costs no message unless something has changed; then the index is asked for, once by
 * each call that notices, and replaced. An index is immutable and counted: a call that walks one
 * keeps it.
 *
 * An operation that must ask parks its host call, which is made again from its beginning when the
 * answer has come. faaslet.shared_asked says what the answer is for.
 */
#define _GNU_SOURCE
#include "node/worker/shared_files.h"

#include "base/file.h"
#include "node/worker/process.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define INDEX_HEAD      12u
#define INDEX_ENTRY     28u
#define INDEX_BYTES_MAX (128u << 20)

struct shared_entry {
    const char *path;
    uint64_t size, version;
    int64_t modified_ns;
};

struct shared_index {
    _Atomic uint32_t references;
    uint64_t version;
    uint32_t count;
    struct shared_entry *entries; /* by path */
    char *paths;
};

void shared_index_release(struct shared_index *x)
{
    if (!x || atomic_fetch_sub(&x->references, 1) != 1)
        return;
    free(x->entries);
    free(x->paths);
    free(x);
}

static int errno_of(int64_t code)
{
    switch (-code) {
    case ATOLL_ENOENT: return -ENOENT;
    case ATOLL_EPERM: return -EACCES;
    case ATOLL_EINVAL: return -EINVAL;
    case ATOLL_ESIZE: return -EFBIG;
    case ATOLL_ELIMIT: return -EDQUOT;
    case ATOLL_ENOMEM: return -ENOMEM;
    case ATOLL_ESTALE: return -ESTALE;
    default: return -EIO;
    }
}

/* ---- asking ---- */

/* Sends a request about a path and remembers which. */
static int shared_ask(struct faaslet *f, struct host_call *call, enum request_kind kind,
                      const char *path, int fd)
{
    free(f->shared_asked);
    if (asprintf(&f->shared_asked, "%d %s", (int)kind, path) < 0) {
        f->shared_asked = NULL;
        return -ENOMEM;
    }
    faaslet_ask(call, kind, path, (uint32_t)strlen(path), fd, 0);
    return VFS_WAIT;
}

/* The answer to just this question, if it is what the call was waiting for; once. */
static const struct answer *shared_answered(struct faaslet *f, const struct host_call *call,
                                            enum request_kind kind, const char *path)
{
    char asked[VFS_MAX_PATH + 16];
    if (!f->shared_asked || !call->resumed)
        return NULL;
    snprintf(asked, sizeof asked, "%d %s", (int)kind, path);
    if (strcmp(asked, f->shared_asked) != 0)
        return NULL;
    free(f->shared_asked);
    f->shared_asked = NULL;
    return faaslet_answer(f);
}

/* ---- the index ---- */

/* Cuts an index out of the supervisor's bytes: what they say must fit them. */
static int index_parse(const uint8_t *bytes, size_t len, struct shared_index *x)
{
    if (len < INDEX_HEAD)
        return -EIO;
    x->version = load_u64(bytes);
    uint32_t count = load_u32(bytes + 8);
    if (count > (len - INDEX_HEAD) / INDEX_ENTRY)
        return -EIO;
    x->entries = calloc(count ? count : 1, sizeof *x->entries);
    x->paths = malloc(len);
    if (!x->entries || !x->paths)
        return -ENOMEM;
    char *path = x->paths;
    const uint8_t *at = bytes + INDEX_HEAD, *end = bytes + len;
    for (; x->count < count; x->count++) {
        uint32_t path_len = end - at >= (ptrdiff_t)INDEX_ENTRY ? load_u32(at + 24) : UINT32_MAX;
        if (path_len >= VFS_MAX_PATH || (size_t)(end - at) - INDEX_ENTRY < path_len)
            return -EIO;
        x->entries[x->count] =
            (struct shared_entry){path, load_u64(at), load_u64(at + 8), (int64_t)load_u64(at + 16)};
        memcpy(path, at + INDEX_ENTRY, path_len);
        path[path_len] = 0;
        path += path_len + 1;
        at += INDEX_ENTRY + path_len;
    }
    return 0;
}

/* Makes the answer's file the worker's index. */
static int index_take(struct worker *w, const struct answer *a)
{
    struct stat st;
    if (a->result < 0)
        return errno_of(a->result);
    if (a->fd < 0 || fstat(a->fd, &st) != 0 || st.st_size <= 0 || st.st_size > INDEX_BYTES_MAX)
        return -EIO;
    size_t len = (size_t)st.st_size;
    void *bytes = mmap(NULL, len, PROT_READ, MAP_SHARED, a->fd, 0);
    struct shared_index *x = calloc(1, sizeof *x);
    int rc = bytes == MAP_FAILED || !x ? -ENOMEM : index_parse(bytes, len, x);
    if (bytes != MAP_FAILED)
        munmap(bytes, len);
    if (rc < 0) {
        if (x)
            atomic_init(&x->references, 1);
        shared_index_release(x);
        return rc;
    }
    atomic_init(&x->references, 1);
    pthread_mutex_lock(&w->lock);
    struct shared_index *old = w->shared;
    bool newer = !old || x->version >= old->version;
    if (newer)
        w->shared = x;
    pthread_mutex_unlock(&w->lock);
    shared_index_release(newer ? old : x);
    return 0;
}

/* The current index, to be released; NULL in *out: there are no shared files. */
static int index_get(struct faaslet *f, struct host_call *call, struct shared_index **out)
{
    struct worker *w = f->worker;
    const struct answer *a = shared_answered(f, call, REQUEST_FILE_LIST, "");
    int rc = a ? index_take(w, a) : 0;
    uint64_t current = ring_mark(&w->link->in);
    *out = NULL;
    if (rc < 0 || current == 0)
        return rc;
    pthread_mutex_lock(&w->lock);
    if (w->shared && (a || w->shared->version >= current)) {
        *out = w->shared;
        atomic_fetch_add(&w->shared->references, 1);
    }
    pthread_mutex_unlock(&w->lock);
    return *out ? 0 : shared_ask(f, call, REQUEST_FILE_LIST, "", -1);
}

/* The first entry that is not before the path. */
static uint32_t index_place(const struct shared_index *x, const char *path)
{
    uint32_t low = 0, high = x->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (strcmp(x->entries[middle].path, path) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The path with a slash behind it, as what lies in that directory begins; "" for the top. */
static size_t directory_prefix(const char *path, char out[static VFS_MAX_PATH + 1])
{
    if (path[0] == 0) {
        out[0] = 0;
        return 0;
    }
    return (size_t)snprintf(out, VFS_MAX_PATH + 1, "%s/", path);
}

static int shared_look(void *context, struct host_call *call, const char *path,
                       struct vfs_shared *out)
{
    struct shared_index *x;
    char prefix[VFS_MAX_PATH + 1];
    int rc = index_get(context, call, &x);
    if (rc != 0)
        return rc;
    if (!x)
        return path[0] ? -ENOENT : (*out = (struct vfs_shared){.type = VFS_DIRECTORY}, 0);
    uint32_t at = index_place(x, path);
    rc = 0;
    if (path[0] && at < x->count && strcmp(x->entries[at].path, path) == 0) {
        const struct shared_entry *e = &x->entries[at];
        *out = (struct vfs_shared){VFS_FILE, e->version, e->size, e->modified_ns};
    } else {
        size_t len = directory_prefix(path, prefix);
        at = index_place(x, prefix);
        if (len == 0 || (at < x->count && strncmp(x->entries[at].path, prefix, len) == 0))
            *out = (struct vfs_shared){.type = VFS_DIRECTORY};
        else
            rc = -ENOENT;
    }
    shared_index_release(x);
    return rc;
}

static int shared_list(void *context, struct host_call *call, const char *path, vfs_each *each,
                       void *to)
{
    struct shared_index *x;
    char prefix[VFS_MAX_PATH + 1];
    int rc = index_get(context, call, &x);
    if (rc != 0 || !x)
        return rc;
    size_t len = directory_prefix(path, prefix), last_len = 0;
    const char *last = "";
    for (uint32_t k = index_place(x, prefix); rc == 0 && k < x->count; k++) {
        const struct shared_entry *e = &x->entries[k];
        if (strncmp(e->path, prefix, len) != 0)
            break;
        const char *name = e->path + len, *slash = strchr(name, '/');
        size_t name_len = slash ? (size_t)(slash - name) : strlen(name);
        if (slash && name_len == last_len && memcmp(name, last, name_len) == 0)
            continue; /* another file of a directory that has been told */
        struct vfs_shared what = {VFS_FILE, e->version, e->size, e->modified_ns};
        if (slash)
            what = (struct vfs_shared){.type = VFS_DIRECTORY};
        last = name;
        last_len = name_len;
        rc = each(to, name, name_len, &what);
    }
    shared_index_release(x);
    return rc;
}

/* ---- content ---- */

struct shared_hold {
    void *bytes;
    size_t len;
};

static int shared_fetch(void *context, struct host_call *call, const char *path, uint64_t version,
                        const uint8_t **bytes, void **hold)
{
    struct faaslet *f = context;
    struct stat st;
    const struct answer *a = shared_answered(f, call, REQUEST_FILE_FETCH, path);
    if (!a)
        return shared_ask(f, call, REQUEST_FILE_FETCH, path, -1);
    if (a->result < 0)
        return errno_of(a->result);
    if (a->payload_len != 8 || a->fd < 0 || fstat(a->fd, &st) != 0)
        return -EIO;
    if (load_u64(a->payload) != version)
        return -ESTALE;
    *hold = NULL;
    *bytes = (const uint8_t *)"";
    if (st.st_size == 0)
        return 0;
    struct shared_hold *h = malloc(sizeof *h);
    void *mapped = h ? mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, a->fd, 0) : MAP_FAILED;
    if (mapped == MAP_FAILED) {
        free(h);
        return -ENOMEM;
    }
    *h = (struct shared_hold){mapped, (size_t)st.st_size};
    *hold = h;
    *bytes = mapped;
    return 0;
}

static void shared_drop(void *context, void *hold)
{
    struct shared_hold *h = hold;
    (void)context;
    if (h)
        munmap(h->bytes, h->len);
    free(h);
}

/* The file's bytes as a sealed memory file. */
static int content_file(const struct vfs *tree, uint32_t node, uint64_t size)
{
    struct buffer all = {0};
    struct error e;
    int fd = -ATOLL_ENOMEM;
    bool good = buffer_reserve(&all, size ? size : 1);
    while (good && all.len < size) {
        const uint8_t *piece;
        size_t len = vfs_peek(tree, node, all.len, size - all.len, &piece);
        good = len > 0 && buffer_append(&all, piece, len);
    }
    if (good)
        fd = memory_file("atoll-file", all.data, size, size, true, false, &e);
    buffer_free(&all);
    return fd;
}

static int shared_publish(void *context, struct host_call *call, const char *path,
                          const struct vfs *tree, uint32_t node, uint64_t size)
{
    struct faaslet *f = context;
    const struct answer *a = shared_answered(f, call, REQUEST_FILE_PUBLISH, path);
    if (a)
        return a->result < 0 ? errno_of(a->result) : 0;
    int fd = content_file(tree, node, size);
    if (fd < 0)
        return errno_of(fd);
    int rc = shared_ask(f, call, REQUEST_FILE_PUBLISH, path, fd);
    close(fd);
    return rc;
}

const struct vfs_shared_ops shared_files = {
    .look = shared_look,
    .list = shared_list,
    .fetch = shared_fetch,
    .drop = shared_drop,
    .publish = shared_publish,
};
