/*
 * Bytes that belong to someone else. Decoded objects point into the bytes they were decoded from
 * and are good for as long as those are.
 */
#ifndef LEDGER_OBJECT_SLICE_H
#define LEDGER_OBJECT_SLICE_H

#include "base/bytes.h"

struct slice {
    const uint8_t *data;
    size_t len;
};

static inline struct slice slice_of(const void *data, size_t len)
{
    return (struct slice){(const uint8_t *)data, len};
}

static inline struct slice slice_of_buffer(const struct buffer *b)
{
    return (struct slice){b->data, b->len};
}

static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

#endif
