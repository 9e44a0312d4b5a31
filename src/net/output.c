/* The queue of output.h: a list of segments, each either a block with room for copied bytes or a
 * reference to lent ones. A block never moves, so a piece handed to a write stays valid while bytes
 * are appended behind it. */
#include "net/output.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct output_segment {
    struct output_segment *next;
    const uint8_t *data; /* lent bytes, or own */
    size_t start, len;   /* sent of it; bytes in it */
    output_release *release;
    void *context;
    uint8_t own[]; /* OUTPUT_BLOCK_BYTES, in blocks */
};

void output_pool_free(struct output_pool *pool)
{
    while (pool->spare) {
        struct output_segment *s = pool->spare;
        pool->spare = s->next;
        free(s);
    }
    pool->spare_count = 0;
}

static bool is_block(const struct output_segment *s)
{
    return s->data == s->own;
}

static void segment_queue(struct output *o, struct output_segment *s)
{
    if (o->last)
        o->last->next = s;
    else
        o->first = s;
    o->last = s;
}

static struct output_segment *block_take(struct output *o)
{
    struct output_segment *s = o->pool->spare;
    if (s) {
        o->pool->spare = s->next;
        o->pool->spare_count--;
    } else if (!(s = malloc(sizeof *s + OUTPUT_BLOCK_BYTES))) {
        return NULL;
    }
    *s = (struct output_segment){.data = s->own};
    segment_queue(o, s);
    return s;
}

static void segment_drop(struct output *o, struct output_segment *s)
{
    if (s->release)
        s->release(s->context, s->data, s->len);
    if (is_block(s) && o->pool->spare_count < OUTPUT_SPARE_MAX) {
        s->next = o->pool->spare;
        o->pool->spare = s;
        o->pool->spare_count++;
    } else {
        free(s);
    }
}

bool output_append(struct output *o, const void *data, size_t len)
{
    const uint8_t *bytes = data;
    while (len > 0) {
        struct output_segment *s = o->last;
        if (!s || !is_block(s) || s->len == OUTPUT_BLOCK_BYTES)
            s = block_take(o);
        if (!s)
            return false;
        size_t room = OUTPUT_BLOCK_BYTES - s->len, piece = len < room ? len : room;
        memcpy(s->own + s->len, bytes, piece);
        s->len += piece;
        o->len += piece;
        bytes += piece;
        len -= piece;
    }
    return true;
}

bool output_lend(struct output *o, const void *data, size_t len, output_release *release,
                 void *context)
{
    struct output_segment *s = len ? malloc(sizeof *s) : NULL;
    if (!s) {
        release(context, data, len);
        return len == 0;
    }
    *s = (struct output_segment){.data = data, .len = len, .release = release, .context = context};
    segment_queue(o, s);
    o->len += len;
    return true;
}

unsigned output_peek(const struct output *o, uv_buf_t *pieces, unsigned max)
{
    unsigned count = 0;
    for (const struct output_segment *s = o->first; s && count < max; s = s->next) {
        if (s->start < s->len)
            pieces[count++] = (uv_buf_t){(char *)s->data + s->start, s->len - s->start};
    }
    return count;
}

void output_advance(struct output *o, size_t len)
{
    assert(len <= o->len);
    o->len -= len;
    while (o->first) {
        struct output_segment *s = o->first;
        size_t piece = len < s->len - s->start ? len : s->len - s->start;
        s->start += piece;
        len -= piece;
        if (s->start < s->len)
            break;
        o->first = s->next;
        if (!o->first)
            o->last = NULL;
        segment_drop(o, s);
    }
    assert(len == 0);
}

void output_clear(struct output *o)
{
    output_advance(o, o->len);
}
