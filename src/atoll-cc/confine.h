/*
 * Confinement of the processes that compile: they run LLVM over hostile input, so they get no
 * files, no network, no other processes, and bounded memory and time.
 */
#ifndef ATOLL_CC_CONFINE_H
#define ATOLL_CC_CONFINE_H

#include "base/error.h"

/* What one shard may use. LLVM needs up to about 250 MiB for the largest usual shard. */
#define CONFINE_MEMORY_BYTES (2ull << 30)
#define CONFINE_CPU_SECONDS  600u
#define CONFINE_STACK_BYTES  (64ull << 20)

/* Prepares the system call filter; once, in the parent. */
int confine_prepare(struct error *e);

/* In the child: keeps descriptors below `descriptors` open and no others, sets the limits and the
 * filter. There is no way back. 0, or the number of the step that failed. */
int confine_enter(unsigned descriptors);

#endif
