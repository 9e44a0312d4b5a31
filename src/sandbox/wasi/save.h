/* What save.c and restore.c agree on; the format is drawn in save.c. */
#ifndef SANDBOX_WASI_SAVE_H
#define SANDBOX_WASI_SAVE_H

#include "sandbox/wasi/world.h"

#define SAVE_MAGIC   0x53575441u /* "ATWS" */
#define SAVE_VERSION 1u

/* What tells one file from another. An inode's number is used again when its file is gone, so the
 * time of birth goes with it (0 on file systems that do not keep it). */
struct identity {
    uint64_t device, inode, born_ns, size, modified_ns;
};

/* False when the open file cannot be looked at. */
bool identity_of(int fd, struct identity *);

#endif
