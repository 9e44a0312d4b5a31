/*
 * Confinement of the processes that compile. The children run LLVM over hostile input, so they get
 * no files, no network, no other processes, and bounded memory and time. Their parent, which
 * decodes the same input, can start and reap children, and no more beside its socket and memory.
 */
#ifndef ATOLL_CC_CONFINE_H
#define ATOLL_CC_CONFINE_H

#include "base/error.h"

#include <sys/types.h>

/* What one shard may use. LLVM needs up to about 250 MiB for the largest usual shard. */
#define CONFINE_MEMORY_BYTES (2ull << 30)
#define CONFINE_CPU_SECONDS  600u
#define CONFINE_STACK_BYTES  (64ull << 20)

/* Confines the parent, which reads hostile modules and objects: from now on it can open no file,
 * no connection and no program. Prepares the narrower filter of its children. Once. */
int confine_parent(struct error *e);

/* In the child of `parent`, with which it ends: keeps descriptors below `descriptors` open and no
 * others, sets the limits and the filter. There is no way back. 0, or the number of the step that
 * failed. */
int confine_enter(pid_t parent, unsigned descriptors);

#endif
