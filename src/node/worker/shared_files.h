/*
 * The tenant's shared files as guests see them: the operations that a function's file tree asks
 * (sandbox/vfs/vfs.h), answered from an index of names and from the supervisor.
 */
#ifndef NODE_WORKER_SHARED_FILES_H
#define NODE_WORKER_SHARED_FILES_H

#include "sandbox/vfs/vfs.h"

struct shared_index;

/* Their context is the faaslet. */
extern const struct vfs_shared_ops shared_files;
/* NULL is fine. */
void shared_index_release(struct shared_index *);

#endif
