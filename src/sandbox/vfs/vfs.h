/*
 * The file tree of a function: in memory, private where it was written, with nothing of the host.
 *
 *     what a name finds; the first hit wins
 *     overlay  one per faaslet: all it wrote, made, renamed, linked or removed; gone at reset
 *     base     one per version of a function, immutable, shared by all its faaslets
 *     shared   the tenant's shared files as they are now, told by the owner (vfs_shared_ops)
 *
 * A file is known by its inode number, `node` below: 1 is the root, the base has the numbers up to
 * its size, what the overlay makes comes behind. What a call changes about a file of the base (its
 * bytes, names, parent) is kept in the overlay under the same number, so descriptors opened before
 * and after see one file, and nothing above it has to be copied. A changed file of the base is
 * copied page by page as it is written.
 *
 * Shared files are seen twice: beneath "/", under the base ("global read"), and beneath "/shared".
 * Whatever is changed stays private ("local write"), but a file opened beneath /shared with O_CREAT
 * and O_TRUNC can be published when it is closed: others see the whole of it or nothing. "/tmp" is
 * an ordinary directory that always exists and shows no shared files.
 *
 * A struct vfs is used by one thread at a time, a base by any. No function makes a system call but
 * vfs_base_create and vfs_base_release (and reading the coarse clock, which is none). Functions
 * that act on a tree return 0 or a count, -errno as Linux would, or VFS_WAIT when there are shared
 * files. Source: the project's specification of faaslets, section 5, "File tree".
 */
#ifndef SANDBOX_VFS_VFS_H
#define SANDBOX_VFS_VFS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

enum vfs_type { VFS_NOTHING, VFS_FILE, VFS_DIRECTORY, VFS_LINK };

#define VFS_ROOT          1u
#define VFS_MAX_PATH      4096u /* with its NUL */
#define VFS_MAX_NAME      255u
#define VFS_MAX_LINKS     40u          /* symbolic links in one path */
#define VFS_MAX_SIZE      (1ull << 40) /* of a file: EFBIG */
#define VFS_MAX_BASE      (1u << 20)   /* files and directories of a base */
#define VFS_MAX_MAPPINGS  4096u        /* memory files mapped for a base */
#define VFS_DEFAULT_BYTES (64ull << 20)
#define VFS_DEFAULT_NODES 4096u

/* ---- the base ---- */

struct vfs_base;

/* A file of a base. Directories on the way need no entry of their own. */
struct vfs_entry {
    const char *path; /* "models/a.bin": no leading slash, no "." or "..", below VFS_MAX_PATH */
    enum vfs_type type;
    int64_t modified_ns;
    /* Of a file its content, of a link its target: len bytes at `bytes`, which are copied; or, with
     * bytes NULL, at `offset` of a file open for reading. A memory file sealed against writing and
     * shrinking is mapped, anything else copied; small ones are always copied. Many files may lie
     * in one descriptor, which stays the caller's. */
    const void *bytes;
    int fd;
    uint64_t offset, len;
};

/* Of two entries with one path the first counts, so list a function's own files before others.
 * -ATOLL_EINVAL names the path that is wrong, -ATOLL_ELIMIT a bound. One reference is the caller's.
 */
int vfs_base_create(const struct vfs_entry *, uint32_t count, struct vfs_base **out,
                    struct error *);
struct vfs_base *vfs_base_retain(struct vfs_base *);
void vfs_base_release(struct vfs_base *); /* NULL is fine; thread-safe */

/* ---- shared files ---- */

/* The operation has been begun and goes on elsewhere. Nothing has changed in the tree; the same
 * call is made again, with the same arguments, when the owner knows more. */
#define VFS_WAIT (-4096) /* no -errno */

struct vfs_shared {
    enum vfs_type type; /* VFS_FILE or VFS_DIRECTORY */
    uint64_t version; /* of a file: no two versions of any of the tenant's files share one; not 0 */
    uint64_t size;
    int64_t modified_ns;
};

typedef int vfs_each(void *to, const char *name, size_t len, const struct vfs_shared *);
struct host_call;
struct vfs;

/*
 * The owner's side of the shared files. Paths have no leading slash, "" is the top; a directory
 * exists as long as files lie beneath it. `context` is that of the tree. `call` is the host call
 * that uses the tree (struct vfs, member call); an operation that returns VFS_WAIT says in
 * call->park what wakes it, and what it has learnt must be at hand when it is asked again. One
 * operation of a context waits at a time. Called on the thread that uses the tree.
 */
struct vfs_shared_ops {
    /* What is at path now: 0, -ENOENT, other -errno, VFS_WAIT. Every name that the base does not
     * have asks here, so this should look into an index and not ask elsewhere. */
    int (*look)(void *context, struct host_call *call, const char *path, struct vfs_shared *out);
    /* Calls `each` once for every name directly in the directory; stops and returns what `each`
     * returned when that is not 0. Else 0, -errno, VFS_WAIT (before the first name). */
    int (*list)(void *context, struct host_call *call, const char *path, vfs_each *each, void *to);
    /* The bytes of that version: 0, with *bytes good until `drop` of *hold; VFS_WAIT; -ESTALE when
     * another version is current and this one is not to be had; other -errno for the guest. */
    int (*fetch)(void *context, struct host_call *call, const char *path, uint64_t version,
                 const uint8_t **bytes, void **hold);
    void (*drop)(void *context, void *hold);
    /* Makes the content of a file (`size` bytes, read by vfs_peek) the shared file of that path, at
     * once and whole: 0 (from then on `look` finds it, or a later version), VFS_WAIT, or -errno
     * for the guest's fd_close. */
    int (*publish)(void *context, struct host_call *call, const char *path, const struct vfs *,
                   uint32_t node, uint64_t size);
};

/* ---- a tree ---- */

struct vfs_overlay;

struct vfs_config {
    struct vfs_base *base;               /* retained */
    const struct vfs_shared_ops *shared; /* NULL: there are no shared files */
    void *context;                       /* of the shared operations */
    uint64_t byte_limit;                 /* of the overlay, all it takes: ENOSPC; 0: the default */
    uint32_t node_limit; /* files and names in the overlay: EDQUOT; 0: the default */
};

/* The caller's storage; members are the tree's. */
struct vfs {
    struct vfs_base *base;
    struct vfs_overlay *overlay; /* NULL as long as nothing was written */
    const struct vfs_shared_ops *shared;
    void *context;
    /* How many descriptors of the caller are open on a node; asked when a file of the base gets its
     * first change. */
    uint32_t (*open_count)(void *caller, uint32_t node);
    void *caller;
    struct host_call *call; /* for the shared operations; set before each call that may wait */
    uint64_t byte_limit;
    uint32_t node_limit;
};

void vfs_begin(struct vfs *, const struct vfs_config *,
               uint32_t (*open_count)(void *caller, uint32_t node), void *caller);
/* Drops the overlay: the tree is the base again. Costs what was written, nothing when nothing was.
 * Descriptors may be left on nodes of the base only. */
void vfs_reset(struct vfs *);
void vfs_end(struct vfs *);
/* Bytes that the overlay takes. */
uint64_t vfs_bytes(const struct vfs *);

/*
 * Paths are resolved beneath `directory` (a node): links are followed, "." and ".." work, but what
 * leads above it, or is absolute, is -EPERM, also by way of a link.
 */

struct vfs_status {
    uint64_t device, inode, size;
    int64_t accessed_ns, modified_ns, changed_ns;
    uint32_t links;
    enum vfs_type type;
};

struct vfs_opened {
    uint32_t node;
    enum vfs_type type;
    /* Not NULL: publish under this path at close (vfs_publish). The caller frees it. */
    char *publish;
};

/* flags as of open(2): access mode, O_CREAT, O_EXCL, O_TRUNC, O_DIRECTORY, O_NOFOLLOW.
 * Counts as one open descriptor from then on; take it up before the next call, for open_count. */
int vfs_open(struct vfs *, uint32_t directory, const char *path, int flags, struct vfs_opened *out);
/* The descriptor is gone from the caller's table. */
void vfs_close(struct vfs *, uint32_t node);
/* Publishes a file's content, before vfs_close; 0 and nothing done when the file has no name any
 * more. */
int vfs_publish(struct vfs *, uint32_t node, const char *path);

int vfs_look(struct vfs *, uint32_t directory, const char *path, bool follow, struct vfs_status *);
void vfs_look_at(const struct vfs *, uint32_t node, struct vfs_status *);
/* As utimensat, with UTIME_NOW and UTIME_OMIT. */
int vfs_set_times(struct vfs *, uint32_t directory, const char *path, bool follow,
                  const struct timespec times[2]);
int vfs_set_times_at(struct vfs *, uint32_t node, const struct timespec times[2]);

int vfs_make_directory(struct vfs *, uint32_t directory, const char *path);
int vfs_remove(struct vfs *, uint32_t directory, const char *path, bool is_directory);
/* Directories do not move into, within or out of /shared: -EXDEV. */
int vfs_rename(struct vfs *, uint32_t from, const char *old_path, uint32_t to,
               const char *new_path);
int vfs_link(struct vfs *, uint32_t from, const char *old_path, bool follow, uint32_t to,
             const char *new_path);
int vfs_symlink(struct vfs *, const char *target, uint32_t directory, const char *path);
/* The length of the target, of which at most `size` bytes are stored (no NUL). */
ssize_t vfs_read_link(struct vfs *, uint32_t directory, const char *path, char *target,
                      size_t size);

typedef int vfs_each_entry(void *to, const char *name, size_t len, uint64_t inode, enum vfs_type);
/* Every name in a directory, first "." and ".."; stops when `each` returns other than 0, and
 * returns that. After VFS_WAIT forget what was given. */
int vfs_list(struct vfs *, uint32_t directory, vfs_each_entry *each, void *to);

/* ---- content of files ---- */

/* Bytes at offset that lie in one piece, at most len of them; 0 at the end. Good until the next
 * change of the tree. */
size_t vfs_peek(const struct vfs *, uint32_t node, uint64_t offset, size_t len,
                const uint8_t **bytes);
/* A place for bytes at offset, at most len of them in one piece; what the file holds there, or
 * zeros, stands in it. Fill it (or do not), then say so by vfs_wrote. -ENOSPC, -EFBIG, -ENOMEM. */
ssize_t vfs_room(struct vfs *, uint32_t node, uint64_t offset, size_t len, uint8_t **bytes);
/* The file now reaches at least to `end`. */
void vfs_wrote(struct vfs *, uint32_t node, uint64_t end);
uint64_t vfs_size(const struct vfs *, uint32_t node);
int vfs_resize(struct vfs *, uint32_t node, uint64_t size);
/* Makes sure that writing [offset, offset + len) needs no more room, and that the file has it. */
int vfs_allocate(struct vfs *, uint32_t node, uint64_t offset, uint64_t len);

/* ---- images ---- */

/* The path of an unchanged file or directory of the base, "." for the root; NULL for others. */
const char *vfs_base_path(const struct vfs *, uint32_t node);
/* The node of the base at such a path; 0 when there is none. Follows no links. */
uint32_t vfs_base_find(const struct vfs *, const char *path);

#endif
