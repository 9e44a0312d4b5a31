/*
 * Bytes of an input or output, counted: a piece of heap memory, or a sealed memory file that can be
 * handed to another process and mapped into a guest without copying. Any thread may retain and
 * release.
 */
#ifndef NODE_BLOB_H
#define NODE_BLOB_H

#include "base/error.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct blob {
    _Atomic uint32_t references;
    bool heap; /* data is malloc'ed, else a mapping of fd */
    int fd;    /* sealed against writing and shrinking; -1: none */
    uint64_t len;
    _Atomic(uint8_t *) data; /* of a file: mapped on first use (blob_bytes) */
};

/* Copies; in memory whatever the length. NULL when memory is exhausted. */
struct blob *blob_create(const void *data, size_t len);
/* Takes a malloc'ed block over. NULL (and frees it) when memory is exhausted. */
struct blob *blob_adopt(uint8_t *data, size_t len);
/* Takes the descriptor over, also on failure. -ATOLL_ECORRUPT when the file is shorter than len or
 * is not sealed. */
int blob_from_fd(int fd, uint64_t len, struct blob **out, struct error *);
/* The bytes, not NULL for len 0; NULL when a file cannot be mapped. */
const uint8_t *blob_bytes(struct blob *);
/* A sealed memory file with the bytes: the blob's own (it gets one when it has none; one thread at
 * a time); borrowed. Negative when there can be none. */
int blob_file(struct blob *, struct error *);
struct blob *blob_retain(struct blob *); /* NULL is fine */
void blob_release(struct blob *);        /* NULL is fine */

#endif
