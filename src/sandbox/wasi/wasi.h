/*
 * WASI preview 1: what a guest sees of the operating system.
 *
 * A struct wasi is one guest's process-like world: arguments, environment, clocks and a table of
 * descriptors. It is made from a configuration, bound to the imports of the guest's modules, and
 * used by the one thread that runs the guest's arena. There are two kinds of files. A program that
 * a person runs has directories of the host: it reaches what lies beneath them and nothing else;
 * whatever it names is resolved so that no "..", absolute path, symbolic link or concurrent change
 * of the tree leads outside. A function has a tree in memory (vfs.h): no path of its reaches the
 * host at all. Likewise standard streams are descriptors of the host, or the bytes of a call.
 *
 * Owns its descriptors (the ones passed in are duplicated) and copies of everything configured.
 * Callers: the commands and workers that link guests, and checkpoints (wasi_save, wasi_restore).
 */
#ifndef SANDBOX_WASI_WASI_H
#define SANDBOX_WASI_WASI_H

#include "base/bytes.h"
#include "base/error.h"
#include "engine/host.h"
#include "engine/wasm.h"
#include "sandbox/vfs/vfs.h"

struct wasi;

/* A directory of the host that the guest finds open, under guest_name, from descriptor 3 on. */
struct wasi_preopen {
    const char *host_path;
    const char *guest_name; /* "/data"; C libraries match absolute paths against these */
    bool read_only;         /* changes fail with "read-only file system" */
};

/* A connected or listening socket that the guest finds open. A listening one is made non-blocking.
 */
struct wasi_socket {
    int fd;
    uint32_t guest_fd; /* the guest's number for it, or WASI_ANY_FD: the first after the preopens */
};
#define WASI_ANY_FD UINT32_MAX

/* How paths are resolved. The kernel's openat2 is best; the walk, component by component, serves
 * kernels and sandboxes that lack it. */
enum wasi_resolution { WASI_RESOLVE_BEST, WASI_RESOLVE_OPENAT2, WASI_RESOLVE_WALK };

/*
 * The standard streams of a call. Standard input gives these bytes, which stay valid during the
 * call. The callbacks run on the thread that runs the guest and do not block.
 */
struct wasi_streams {
    const void *input;
    uint64_t input_len;
    void *context;
    /* Takes bytes of standard output: how many (at least one), or -errno: -EFBIG at the output's
     * limit. NULL: standard output is closed. */
    ssize_t (*output)(void *context, const void *bytes, size_t len);
    /* Takes a line of standard error, without its newline, at most WASI_MAX_LINE bytes long; longer
     * lines come in pieces. NULL: standard error is closed. */
    void (*log)(void *context, const char *line, size_t len);
    /* CPU time of the call so far, in ns: the guest's CPU clocks. NULL: those of the thread. */
    int64_t (*cpu_ns)(void *context);
};
#define WASI_MAX_LINE 1024u

/* Start from WASI_CONFIG. Everything is copied; zero means the default. */
struct wasi_config {
    const char *const *args; /* args[0] is the program's name */
    const char *const *env;  /* "NAME=value" */
    const struct wasi_preopen *preopens;
    const struct wasi_socket *sockets;
    uint32_t arg_count, env_count, preopen_count, socket_count;
    int stdin_fd, stdout_fd, stderr_fd; /* -1: the guest finds it closed */
    /* Instead of directories of the host: this tree, as "/" at descriptor 3. */
    const struct vfs_config *tree;
    /* Instead of the three descriptors above. */
    const struct wasi_streams *streams;
    uint64_t clock_resolution_ns; /* clocks are rounded down to it; default 1, with a tree
                                   * WASI_FUNCTION_RESOLUTION_NS */
    int64_t monotonic_offset_ns;  /* added to the host's monotonic clock */
    uint32_t descriptor_limit;    /* default WASI_DESCRIPTOR_LIMIT */
    enum wasi_resolution resolution;
};
#define WASI_CONFIG                 {.stdin_fd = 0, .stdout_fd = 1, .stderr_fd = 2}
#define WASI_DESCRIPTOR_LIMIT       1024u
#define WASI_FUNCTION_RESOLUTION_NS 1000u /* blunts timing channels */

/* -ATOLL_EINVAL when there are both preopens and a tree. -ATOLL_ENOENT and the like name the
 * preopen that cannot be opened; -ATOLL_EUNAVAIL when openat2 is demanded and missing. */
int wasi_create(const struct wasi_config *, struct wasi **out, struct error *);
/* Closes every descriptor of the guest. NULL is fine. */
void wasi_destroy(struct wasi *);

/*
 * The host function for an import, to be bound with *data. 0; -ATOLL_ENOENT when the module is none
 * of WASI's (another provider may have it); -ATOLL_ELINK, with a text that says "unknown import" or
 * "incompatible import type", when it is but the name, the signature or the version is not.
 */
int wasi_resolve(struct wasi *, const char *module, size_t module_len, const char *name,
                 size_t name_len, const struct wasm_signature *, host_function *function,
                 void **data, struct error *);

/* Gives the guest another socket while it runs: it gets the lowest free number. -ATOLL_ELIMIT when
 * its table is full. */
int wasi_add_socket(struct wasi *, int fd, uint32_t *guest_fd, struct error *);

/* Bytes of a file of the tree that the guest has open for reading, at offset: as many as lie in one
 * piece, at most len; 0 at the end. Good until the guest runs again. -ATOLL_EBADF. */
int64_t wasi_peek(const struct wasi *, uint32_t guest_fd, uint64_t offset, size_t len,
                  const uint8_t **bytes);
/* The host's descriptor of a socket of the guest; it stays the world's. -ATOLL_EBADF. */
int wasi_socket_fd(const struct wasi *, uint32_t guest_fd);
/* Puts another socket of the host, which the world takes over, in the place of a guest's.
 * -ATOLL_EBADF: there is none; the caller still has fd then. */
int wasi_replace_socket(struct wasi *, uint32_t guest_fd, int fd);
/* Closes them all, before the reset does. */
void wasi_close_sockets(struct wasi *);

/* A clock (0 real time, 1 monotonic, 2 CPU) as the guest sees it; -ATOLL_EINVAL for others. */
int wasi_now(struct wasi *, uint32_t clock, int64_t *ns);
/* What the guest's monotonic clock shows when the host's shows host_ns. */
int64_t wasi_monotonic_at(const struct wasi *, int64_t host_ns);
/* Hands what the guest has written to standard error without a newline to `log`. When a call ends.
 */
void wasi_flush(struct wasi *);

/* Memory that the guest's changes to its tree take; 0 without a tree. */
uint64_t wasi_tree_bytes(const struct wasi *);

/*
 * Worlds of functions: one is initialised (the zygote's), an image is taken of it, and from that
 * come the worlds of all its faaslets, one for each pooled instance, reset for every call.
 *
 * An image keeps arguments, environment, clocks, limits and descriptors: the tree's preopen,
 * streams, directories, and files open for reading, with their positions. What the zygote wrote
 * into its tree is not part of it. It belongs to its process; wasi_save of the zygote's world is
 * its form as bytes, and wasi_restore with a tree leads back to a world that an image can be taken
 * of.
 */
struct wasi_image;

/* 0 when an image can be taken. Else -ATOLL_EBUSY and a text that names a descriptor that stands in
 * the way: a socket, a file open for writing, a file or directory that was made or changed by the
 * guest, or anything of the host. */
int wasi_quiescent(const struct wasi *, struct error *);
/* Errors as above. Also drops this thread's buffered random bytes. */
int wasi_image_take(struct wasi *, struct wasi_image **out, struct error *);
void wasi_image_release(struct wasi_image *); /* NULL is fine; thread-safe */

/* A world in the image's state, with a tree of its own over the same base (the config's base may be
 * NULL). Its monotonic clock goes on from the image's, plus a random time. */
int wasi_instantiate(struct wasi_image *, const struct vfs_config *tree, struct wasi **out,
                     struct error *);

/* What one call brings. Everything pointed to stays valid until the next reset. */
struct wasi_call {
    struct wasi_streams streams;
    /* Strings one after the other, each with its NUL; NULL: those of the image. */
    const char *args, *env;
    uint32_t args_len, env_len;
};

/* Puts a world made by wasi_instantiate back into the image's state for the next call: descriptors
 * closed or opened as they were, with their positions; the tree as its base; nothing that the last
 * call left can be seen. Clocks go on, CPU clocks from the image's. Neither allocates nor makes a
 * system call when the last call opened nothing of the host. -ATOLL_EINVAL when args or env are not
 * strings as described; the world is reset but has none then. */
int wasi_reset(struct wasi *, const struct wasi_call *, struct error *);

/*
 * Checkpoints. wasi_save appends everything that wasi_restore needs to stand up an equal world, in
 * this process or another: arguments, environment, clocks and the descriptor table. Open files are
 * recorded by preopen, path, offset, flags and rights; started directory listings with their
 * entries, so that a guest's cookies stay good. What cannot be reopened (a socket, a pipe other
 * than stdin, stdout and stderr, a file unlinked or moved out) fails with -ATOLL_EBUSY and a text
 * that names the descriptor. Nothing changes in the guest's world. Needs /proc, except for worlds
 * with a tree: of these only what an image keeps can be saved (wasi_quiescent).
 *
 * wasi_restore takes tree, streams, stdin, stdout, stderr and the resolution from config (NULL:
 * WASI_CONFIG); a world with a tree needs a tree. A
 * preopen of config with the guest name of a saved one replaces its host path and read_only; one
 * with another name is -ATOLL_EINVAL. Sockets, arguments, environment and clocks of config are
 * ignored. A file that is
 * gone, or is another than the one saved (neither the same inode nor of the same size and
 * modification time), fails with -ATOLL_ESTALE naming it; damaged bytes with -ATOLL_ECORRUPT.
 * Monotonic and CPU clocks go on from where they were.
 */
int wasi_save(const struct wasi *, struct buffer *out, struct error *);
int wasi_restore(const uint8_t *data, size_t len, const struct wasi_config *, struct wasi **out,
                 struct error *);

#endif
