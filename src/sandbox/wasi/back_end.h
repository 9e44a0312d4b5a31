/*
 * What a descriptor stands on: the one seam between the functions of preview 1 and files.
 *
 *     back_end_host    descriptors of this process: files, directories, pipes, sockets
 *     back_end_vfs     the file tree of a function
 *     back_end_stream  the bytes that a call takes in and gives out
 *
 * The functions of preview 1 have checked rights, file types, ranges and pointers before they come
 * here. Operations return >= 0 or -errno. Those that take the host call may return VFS_WAIT, having
 * changed nothing: the call is parked (call->park says until when) and made again. NULL where the
 * rights or file types of a back end's descriptors never lead.
 */
#ifndef SANDBOX_WASI_BACK_END_H
#define SANDBOX_WASI_BACK_END_H

#include "sandbox/wasi/world.h"

struct filestat {
    uint64_t device, inode, links, size, accessed_ns, modified_ns, changed_ns;
    uint8_t filetype;
};

struct saved; /* save.h */

struct back_end {
    /* ---- open files ---- */
    /* At the descriptor's position, which moves on. -EAGAIN: wait for fd. */
    ssize_t (*read)(struct host_call *, struct descriptor *, struct vectors *);
    ssize_t (*write)(struct host_call *, struct descriptor *, struct vectors *);
    ssize_t (*read_at)(struct host_call *, struct descriptor *, struct vectors *, uint64_t offset);
    ssize_t (*write_at)(struct host_call *, struct descriptor *, struct vectors *, uint64_t offset);
    /* How much can be read or written at once. */
    uint64_t (*ready)(const struct wasi *, const struct descriptor *, bool reads);
    int64_t (*seek)(struct wasi *, struct descriptor *, int64_t offset, int whence);
    int (*advise)(struct wasi *, struct descriptor *, uint64_t offset, uint64_t len, int advice);
    int (*allocate)(struct wasi *, struct descriptor *, uint64_t offset, uint64_t len);
    int (*resize)(struct wasi *, struct descriptor *, uint64_t size);
    int (*sync)(struct descriptor *, bool data_only);
    int (*look)(struct wasi *, const struct descriptor *, struct filestat *);
    int (*set_times)(struct wasi *, struct descriptor *, const struct timespec times[2]);
    /* The guest closes it: what is due before that. May be NULL. */
    int (*finish)(struct host_call *, struct descriptor *);
    void (*close)(struct wasi *, struct descriptor *);

    /* ---- directories; paths are the callee's to cut ---- */
    int (*list)(struct host_call *, struct descriptor *, struct listing *);
    /* Fills in what the file's kind decides; rights, flags and source are the caller's. */
    int (*open)(struct host_call *, const struct descriptor *directory, char *path, int flags,
                struct descriptor *made);
    int (*path_look)(struct host_call *, const struct descriptor *directory, char *path,
                     bool follow, struct filestat *);
    int (*path_set_times)(struct host_call *, const struct descriptor *directory, char *path,
                          bool follow, const struct timespec times[2]);
    int (*make_directory)(struct host_call *, const struct descriptor *directory, char *path);
    int (*remove)(struct host_call *, const struct descriptor *directory, char *path,
                  bool is_directory);
    int (*rename)(struct host_call *, const struct descriptor *from, char *old_path,
                  const struct descriptor *to, char *new_path);
    int (*link)(struct host_call *, const struct descriptor *from, char *old_path, bool follow,
                const struct descriptor *to, char *new_path);
    int (*symlink)(struct host_call *, const char *target, const struct descriptor *directory,
                   char *path);
    /* The length of the target, of which at most `size` bytes are stored. */
    ssize_t (*read_link)(struct host_call *, const struct descriptor *directory, char *path,
                         char *target, size_t size);

    /* ---- checkpoints; these two return negative ATOLL_E… codes ---- */
    /* Fills in path, access, identity and position. */
    int (*save)(const struct wasi *, uint32_t number, const struct descriptor *, struct saved *,
                struct error *);
    int (*reopen)(struct wasi *, const struct saved *, struct descriptor *made, struct error *);
};

extern const struct back_end back_end_host, back_end_vfs, back_end_stream;

/* ---- host_names.c, for back_end_host ---- */
int host_open(struct host_call *, const struct descriptor *, char *path, int flags,
              struct descriptor *);
int host_path_look(struct host_call *, const struct descriptor *, char *path, bool follow,
                   struct filestat *);
int host_path_set_times(struct host_call *, const struct descriptor *, char *path, bool follow,
                        const struct timespec times[2]);
int host_make_directory(struct host_call *, const struct descriptor *, char *path);
int host_remove(struct host_call *, const struct descriptor *, char *path, bool is_directory);
int host_rename(struct host_call *, const struct descriptor *, char *old_path,
                const struct descriptor *, char *new_path);
int host_link(struct host_call *, const struct descriptor *, char *old_path, bool follow,
              const struct descriptor *, char *new_path);
int host_symlink(struct host_call *, const char *target, const struct descriptor *, char *path);
ssize_t host_read_link(struct host_call *, const struct descriptor *, char *path, char *target,
                       size_t size);
int host_list(struct host_call *, struct descriptor *, struct listing *);
/* ---- host_files.c ---- */
uint8_t filetype_of(int fd, const struct stat *);
void filestat_of(int fd, const struct stat *, struct filestat *);
/* ---- host_save.c ---- */
int host_save(const struct wasi *, uint32_t number, const struct descriptor *, struct saved *,
              struct error *);
int host_reopen(struct wasi *, const struct saved *, struct descriptor *, struct error *);
/* The host's name of an open file. */
int host_path_of(int fd, char path[WASI_MAX_PATH], struct error *);

#endif
