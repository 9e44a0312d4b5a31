/*
 * The inside of struct wasi, shared by the files of this folder and by nobody else.
 *
 * Conventions here: functions that act for the guest return a preview 1 error (uint16_t, 0 is
 * success); functions that only wrap system calls return a value >= 0 or -errno.
 */
#ifndef SANDBOX_WASI_WORLD_H
#define SANDBOX_WASI_WORLD_H

#include "base/bytes.h"
#include "sandbox/wasi/preview1.h"
#include "sandbox/wasi/wasi.h"

#include <sys/stat.h>
#include <sys/uio.h>

#define WASI_MAX_PATH          4096u
#define WASI_MAX_VECTORS       1024u
#define WASI_MAX_SUBSCRIPTIONS 1024u
#define WASI_MAX_RANDOM        (64u << 20)
#define WASI_MAX_STRINGS       (64u << 20)
#define WASI_MAX_DESCRIPTORS   65536u
/* Bytes that the directory listings of one guest may take together. */
#define WASI_MAX_LISTINGS (64u << 20)

/* Strings one after the other, each with its NUL: the form in which the guest gets them. */
struct strings {
    char *bytes;
    uint32_t len, count;
    bool borrowed; /* the bytes belong to the image or to the call */
};

struct back_end;

struct preopen {
    char *guest_name;
    const struct back_end *back_end;
    int fd; /* of the host's directory */
    bool read_only;
};

enum descriptor_kind {
    DESCRIPTOR_FREE,
    DESCRIPTOR_STANDARD, /* source: 0 stdin, 1 stdout, 2 stderr */
    DESCRIPTOR_PREOPEN,  /* source: index into wasi.preopens */
    DESCRIPTOR_FILE,     /* opened by path; source: the preopen it was reached through */
    DESCRIPTOR_SOCKET,
};

struct descriptor {
    const struct back_end *back_end; /* says which of the members below have a meaning */
    uint8_t kind, filetype;
    uint16_t flags; /* fdflags as the guest sees them; applied to each operation, not to fd */
    bool seekable;
    bool waits;       /* reading or writing may have to wait: pipes, terminals, sockets */
    bool nonblocking; /* fd's own open file has O_NONBLOCK */
    bool host_append; /* ... has O_APPEND, which the guest cannot take away */
    bool read_only;   /* lies in a read-only preopen */
    uint32_t source;
    union {
        int fd;        /* of the host */
        uint32_t node; /* of the tree */
    };
    uint64_t base, inheriting;
    uint64_t position;       /* in a file of the tree */
    struct listing *listing; /* of a directory being read; see directory.c */
    char *publish;           /* of a file of the tree: the path to publish it under at close */
};

struct wasi {
    struct descriptor *descriptors; /* capacity of them; the guest's numbers are indices */
    uint32_t capacity, limit;
    struct preopen *preopens;
    uint32_t preopen_count;
    struct strings args, env;
    bool openat2;
    uint64_t resolution_ns;
    int64_t clock_offset[WASI_CLOCKS]; /* guest clock = host clock + offset */
    int64_t clock_last[WASI_CLOCKS];   /* what the guest saw last: the clocks never go back */
    bool cpu_due; /* the CPU clocks go on from clock_last when they are first looked at */
    uint64_t listing_bytes;

    struct vfs tree; /* base NULL: files are the host's */
    struct wasi_streams streams;
    bool has_streams;  /* instead of the host's standard descriptors */
    uint64_t input_at; /* how much of the input was read */
    char *line;        /* of standard error, so far: NULL or WASI_MAX_LINE bytes */
    uint32_t line_len;
    struct wasi_image *image; /* that a reset leads back to; NULL: none */
};

/* ---- wasi.c ---- */
bool strings_add(struct strings *, const char *text, size_t len);
void strings_free(struct strings *);
/* Opens the host directory and appends it to the preopens. */
int preopen_add(struct wasi *, const char *host_path, const char *guest_name, bool read_only,
                struct error *);
/* Puts a standard stream of the host at the guest's descriptor `number` (it is copied). */
int standard_add(struct wasi *, uint32_t number, uint32_t source, int host_fd, struct error *);
/* Stream `source` of the world at the guest's descriptor `number`, if the world has it. */
int stream_add(struct wasi *, uint32_t number, uint32_t source, struct error *);
/* The tree as a preopen. */
int preopen_add_tree(struct wasi *, const char *guest_name, struct error *);
/* An empty world: no descriptors, clocks as the host's. */
int world_create(const struct wasi_config *, struct wasi **out, struct error *);
/* Gives a world its tree. */
void world_plant(struct wasi *, const struct vfs_config *);

/* ---- errno.c ---- */
uint16_t wasi_errno(int host_errno);
/* The same for a negative result of the conventions above; 0 for one >= 0. */
uint16_t wasi_result(long result);

/* ---- descriptor.c ---- */
/* The guest's descriptor: EBADF when there is none, ENOTCAPABLE when it lacks one of the rights. */
uint16_t descriptor_get(const struct wasi *, uint32_t number, uint64_t rights,
                        struct descriptor **out);
/* Finds what kind of file fd is (type, seekable, waits, host flags); keeps the other members.
 * 0 or -errno. */
int descriptor_describe(struct descriptor *, int fd);
/* The rights that make sense for such a descriptor. */
uint64_t descriptor_rights(const struct descriptor *);
/* Whether one more descriptor would find a place. */
bool descriptor_room(struct wasi *);
/* Takes over *d under the lowest free number from `first`, or closes it: EMFILE, ENOMEM. */
uint16_t descriptor_add(struct wasi *, const struct descriptor *d, uint32_t first,
                        uint32_t *number);
/* The same under exactly this number, which must be free. */
uint16_t descriptor_put(struct wasi *, const struct descriptor *d, uint32_t number);
void descriptor_close(struct wasi *, struct descriptor *);

/* ---- path.c ---- */
/* Opens path, which stays beneath the directory, with flags of open(2); O_CLOEXEC is added. The
 * descriptor or -errno; -EPERM when the path would lead outside. */
int path_open_beneath(const struct wasi *, int directory, const char *path, int flags, mode_t mode);
/* The directory that holds the last component of a path, for making, removing and renaming it.
 * name points into path, and keeps one trailing slash if there were any. */
struct parent {
    int fd;
    bool owned;
    const char *name;
};
int path_parent_open(const struct wasi *, int directory, char *path, struct parent *);
void path_parent_close(struct parent *);
/* Whether this kernel (and whatever filters system calls here) has openat2. */
bool path_openat2_works(void);

/* ---- call.c ---- */
static inline struct wasi *call_world(const struct host_call *call)
{
    return call->data;
}
enum host_status call_done(struct host_call *, uint16_t error);
/* The end of a call by what a back end returned: done, or parked with VFS_WAIT. */
enum host_status call_end(struct host_call *, long result);
/* Parks the call until fd is ready for events. */
enum host_status call_park(struct host_call *, int fd, short events);
/* Copies in a path: ENOENT when empty, ENAMETOOLONG, EINVAL with a NUL inside, EFAULT. */
uint16_t call_path(struct host_call *, uint32_t address, uint32_t len, char path[WASI_MAX_PATH]);
/* The same, and the directory that it starts from: ENOTDIR when the descriptor is another thing. */
uint16_t call_directory(struct host_call *, uint32_t number, uint64_t rights, uint32_t address,
                        uint32_t len, struct descriptor **, char path[WASI_MAX_PATH]);
/* Whether len bytes can be stored there. Checked before anything happens, so that a bad pointer
 * costs the guest no data. */
uint16_t call_room(struct host_call *, uint32_t address, uint64_t len);
uint16_t call_store_u32(struct host_call *, uint32_t address, uint32_t value);
uint16_t call_store_u64(struct host_call *, uint32_t address, uint64_t value);

struct vectors {
    struct iovec list[WASI_MAX_VECTORS];  /* host addresses, for system calls */
    uint32_t addresses[WASI_MAX_VECTORS]; /* the guest's, for guest_read and guest_write */
    int count;
    uint64_t total;
};
/* Copies in an array of vectors and resolves them; the right is the host's to their bytes. */
uint16_t call_vectors(struct host_call *, uint32_t address, uint32_t count, enum guest_right,
                      struct vectors *);

/* ---- clock.c ---- */
/* What the guest's clock is made from. */
int64_t host_clock(const struct wasi *, uint32_t clock);
/* The guest's clock before rounding; false when there is no such clock. */
bool world_clock(struct wasi *, uint32_t clock, int64_t *ns);

/* ---- directory.c ---- */
struct listing_entry {
    uint64_t inode;
    uint32_t name; /* offset in names */
    uint16_t name_len;
    uint8_t filetype;
};
/* A directory's entries as they were when the guest began to read it. A cookie is the number of
 * entries before it, hence good for as long as the descriptor is open, and in checkpoints. */
struct listing {
    struct listing_entry *entries;
    uint32_t count, capacity;
    struct buffer names;
};
bool listing_add(struct listing *, const char *name, size_t name_len, uint64_t inode,
                 uint8_t filetype);
uint64_t listing_bytes(const struct listing *);
/* Adds an entry within the bounds of the guest's listings: 0 or -ENOMEM. */
int listing_put(const struct wasi *, struct listing *, const char *name, size_t name_len,
                uint64_t inode, uint8_t filetype);
void listing_free(struct listing *);

#endif
