/*
 * What a call has put out so far: bytes in memory while they are few, then a memory file.
 *
 * Small outputs are collected in a buffer that the faaslet keeps for the next call. A large one, or
 * one that the guest has mapped to write in place, lies in a file that becomes the result without a
 * copy. Used by the thread that runs the call.
 */
#ifndef NODE_WORKER_OUTPUT_H
#define NODE_WORKER_OUTPUT_H

#include "base/bytes.h"
#include "engine/arena.h"
#include "node/blob.h"

#define OUTPUT_KEEP (64u << 10) /* bytes of memory kept for the next call */

struct output {
    struct buffer bytes; /* while file < 0 */
    int file;            /* -1 = none */
    uint64_t len;        /* of the file */
    uint64_t limit;
    uint32_t address; /* where the file is mapped, 0 = nowhere */
    bool used;        /* atoll_output_… was called: standard output counts no more */
};

/* For a new call. */
void call_output_begin(struct output *, uint64_t limit);
uint64_t call_output_len(const struct output *);
/* Appends bytes of the host's. -ATOLL_ELIMIT, -ATOLL_ENOMEM; then nothing was added. */
int call_output_append(struct output *, const void *bytes, uint64_t len);
/* The same from guest memory; -ATOLL_EFAULT. replace: they become the whole output. */
int call_output_append_guest(struct output *, struct arena *, uint32_t from, uint64_t len,
                             bool replace);
/* Makes the output len zero bytes and maps them for writing. */
int call_output_map(struct output *, struct arena *, uint64_t len, uint32_t *address);
/* Drops everything. */
void call_output_clear(struct output *);
/* Ends it: the output as a blob, sealed if it is a file; the guest cannot write to it any more.
 * NULL without memory (then the output is gone). */
struct blob *call_output_take(struct output *, struct arena *, struct error *);
void call_output_free(struct output *);

#endif
