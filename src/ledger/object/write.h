/*
 * Writing objects: into fixed arrays through a moving pointer, or at the end of a buffer. The other
 * half of read.h, for the encoders of this folder.
 */
#ifndef LEDGER_OBJECT_WRITE_H
#define LEDGER_OBJECT_WRITE_H

#include "ledger/object/slice.h"

/* ---- into an array that is large enough: each returns the place after what it wrote ---- */

static inline uint8_t *put_u8(uint8_t *at, uint8_t v)
{
    *at = v;
    return at + 1;
}

static inline uint8_t *put_u16(uint8_t *at, uint16_t v)
{
    memcpy(at, &v, 2);
    return at + 2;
}

static inline uint8_t *put_u32(uint8_t *at, uint32_t v)
{
    store_u32(at, v);
    return at + 4;
}

static inline uint8_t *put_u64(uint8_t *at, uint64_t v)
{
    store_u64(at, v);
    return at + 8;
}

static inline uint8_t *put_raw(uint8_t *at, const void *data, size_t len)
{
    if (len)
        memcpy(at, data, len);
    return at + len;
}

static inline uint8_t *put_bytes(uint8_t *at, struct slice data)
{
    at = put_u32(at, (uint32_t)data.len);
    return put_raw(at, data.data, data.len);
}

/* A list of items of one length, which lie one after the other. */
static inline uint8_t *put_list(uint8_t *at, uint32_t count, const void *items, size_t len)
{
    at = put_u32(at, count);
    return put_raw(at, items, len);
}

/* ---- at the end of a buffer ---- */

/* Room for exactly len bytes, which the caller fills in; NULL when memory is exhausted. */
static inline uint8_t *buffer_extend(struct buffer *b, size_t len)
{
    if (!buffer_reserve(b, len))
        return NULL;
    uint8_t *at = b->data + b->len;
    b->len += len;
    return at;
}

#endif
