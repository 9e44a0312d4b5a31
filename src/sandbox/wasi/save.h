/* What save.c and restore.c agree on; the format is drawn in save.c. */
#ifndef SANDBOX_WASI_SAVE_H
#define SANDBOX_WASI_SAVE_H

#include "sandbox/wasi/world.h"

#define SAVE_MAGIC   0x53575441u /* "ATWS" */
#define SAVE_VERSION 1u

static inline uint64_t modified_ns(const struct stat *status)
{
    return (uint64_t)status->st_mtim.tv_sec * 1000000000u + (uint64_t)status->st_mtim.tv_nsec;
}

#endif
