/* What the files about checkpoints agree on; the format is drawn in save.c. */
#ifndef SANDBOX_WASI_SAVE_H
#define SANDBOX_WASI_SAVE_H

#include "sandbox/wasi/back_end.h"

#define SAVE_MAGIC   0x53575441u /* "ATWS" */
#define SAVE_VERSION 2u

/* What tells one file from another. An inode's number is used again when its file is gone, so the
 * time of birth goes with it (0 on file systems that do not keep it). Of a file in the tree, which
 * has the same content wherever its function runs, only the last two. */
struct identity {
    uint64_t device, inode, born_ns, size, modified_ns;
};

/* A descriptor as it is saved: the part that all have, and (from path on) the rest of a file's. */
struct saved {
    uint32_t number, kind, source, filetype, flags, access;
    uint64_t base, inheriting, position;
    struct identity file;
    char path[WASI_MAX_PATH]; /* beneath its preopen */
};

/* -ATOLL_EBUSY: "descriptor 7 is a socket". */
int saved_refuse(uint32_t number, const char *what, const char *path, struct error *);

#endif
