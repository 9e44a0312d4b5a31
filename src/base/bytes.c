/* The growable byte buffer: doubling growth, so that appending is linear in all. */
#include "base/bytes.h"

#include <stdlib.h>

bool buffer_reserve(struct buffer *b, size_t extra)
{
    if (extra <= b->capacity - b->len)
        return true;
    if (extra > SIZE_MAX / 2 - b->len)
        return false;
    size_t needed = b->len + extra;
    size_t capacity = b->capacity < 64 ? 64 : b->capacity;
    while (capacity < needed)
        capacity *= 2;
    uint8_t *data = realloc(b->data, capacity);
    if (!data)
        return false;
    b->data = data;
    b->capacity = capacity;
    return true;
}

bool buffer_append(struct buffer *b, const void *data, size_t len)
{
    if (!buffer_reserve(b, len))
        return false;
    if (len == 0)
        return true;
    if (data)
        memcpy(b->data + b->len, data, len);
    else
        memset(b->data + b->len, 0, len);
    b->len += len;
    return true;
}

bool buffer_append_u32(struct buffer *b, uint32_t v)
{
    return buffer_append(b, &v, sizeof v);
}

bool buffer_append_u64(struct buffer *b, uint64_t v)
{
    return buffer_append(b, &v, sizeof v);
}

bool buffer_align(struct buffer *b, size_t alignment)
{
    return buffer_append(b, NULL, (size_t)align_up(b->len, alignment) - b->len);
}

void buffer_free(struct buffer *b)
{
    free(b->data);
    *b = (struct buffer){0};
}
