/* Little-endian loads and stores at any alignment, and a growable byte buffer. */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t load_u16(const void *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint32_t load_u32(const void *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint64_t load_u64(const void *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void store_u32(void *p, uint32_t v)
{
    memcpy(p, &v, sizeof v);
}

static inline void store_u64(void *p, uint64_t v)
{
    memcpy(p, &v, sizeof v);
}

/* alignment is a power of two. */
static inline uint64_t align_up(uint64_t value, uint64_t alignment)
{
    return (value + alignment - 1) & ~(alignment - 1);
}

/* A growable run of bytes. Zero-initialise; the owner calls buffer_free. */
struct buffer {
    uint8_t *data;
    size_t len, capacity;
};

/* Makes room for extra more bytes. False when memory is exhausted; the buffer is then unchanged. */
bool buffer_reserve(struct buffer *b, size_t extra);
/* Appends len bytes (zero bytes when data is NULL). False as above. */
bool buffer_append(struct buffer *b, const void *data, size_t len);
bool buffer_append_u32(struct buffer *b, uint32_t v);
bool buffer_append_u64(struct buffer *b, uint64_t v);
/* Pads with zero bytes to a multiple of alignment. */
bool buffer_align(struct buffer *b, size_t alignment);
void buffer_free(struct buffer *b);

#endif
