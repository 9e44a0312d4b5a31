/*
 * WASI preview 1: what a guest sees of the operating system.
 *
 * A struct wasi is one guest's process-like world: arguments, environment, clocks and a table of
 * descriptors. It is made from a configuration, bound to the imports of the guest's modules, and
 * used by the one thread that runs the guest's arena. A guest reaches the files beneath its
 * preopened directories and nothing else; whatever it names is resolved so that no "..", absolute
 * path, symbolic link or concurrent change of the tree leads outside.
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

/* Start from WASI_CONFIG. Everything is copied; zero means the default. */
struct wasi_config {
    const char *const *args; /* args[0] is the program's name */
    const char *const *env;  /* "NAME=value" */
    const struct wasi_preopen *preopens;
    const struct wasi_socket *sockets;
    uint32_t arg_count, env_count, preopen_count, socket_count;
    int stdin_fd, stdout_fd, stderr_fd; /* -1: the guest finds it closed */
    uint64_t clock_resolution_ns;       /* clocks are rounded down to it; default 1 */
    int64_t monotonic_offset_ns;        /* added to the host's monotonic clock */
    uint32_t descriptor_limit;          /* default WASI_DESCRIPTOR_LIMIT */
    enum wasi_resolution resolution;
};
#define WASI_CONFIG           {.stdin_fd = 0, .stdout_fd = 1, .stderr_fd = 2}
#define WASI_DESCRIPTOR_LIMIT 1024u

/* -ATOLL_ENOENT and the like name the preopen that cannot be opened; -ATOLL_EUNAVAIL when openat2
 * is demanded and missing. */
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

/*
 * Checkpoints. wasi_save appends everything that wasi_restore needs to stand up an equal world, in
 * this process or another: arguments, environment, clocks and the descriptor table. Open files are
 * recorded by preopen, path, offset, flags and rights; started directory listings with their
 * entries, so that a guest's cookies stay good. What cannot be reopened (a socket, a pipe other
 * than stdin, stdout and stderr, a file unlinked or moved out) fails with -ATOLL_EBUSY and a text
 * that names the descriptor. Nothing changes in the guest's world. Needs /proc.
 *
 * wasi_restore takes stdin, stdout, stderr and the resolution from config (NULL: WASI_CONFIG). A
 * preopen of config with the guest name of a saved one replaces its host path and read_only;
 * further ones, sockets, arguments, environment and clocks of config are ignored. A file that is
 * gone, or is another than the one saved (neither the same inode nor of the same size and
 * modification time), fails with -ATOLL_ESTALE naming it; damaged bytes with -ATOLL_ECORRUPT.
 * Monotonic and CPU clocks go on from where they were.
 */
int wasi_save(const struct wasi *, struct buffer *out, struct error *);
int wasi_restore(const uint8_t *data, size_t len, const struct wasi_config *, struct wasi **out,
                 struct error *);

#endif
