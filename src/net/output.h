/*
 * Bytes that wait to be sent: small ones are copied and gathered in blocks, large ones may be lent.
 * It knows no socket; whoever sends asks for the next pieces and says how many bytes of them left.
 */
#ifndef NET_OUTPUT_H
#define NET_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#define OUTPUT_BLOCK_BYTES 16384
#define OUTPUT_SPARE_MAX   64 /* empty blocks kept for the next one who needs one */

struct output_segment;

/* Where the outputs of one loop take their blocks. Zero-initialise; output_pool_free in the end. */
struct output_pool {
    struct output_segment *spare;
    unsigned spare_count;
};
void output_pool_free(struct output_pool *);

/* Zero-initialise with a pool; output_clear in the end. */
struct output {
    struct output_pool *pool;
    struct output_segment *first, *last;
    size_t len; /* bytes waiting */
};

typedef void output_release(void *context, const void *data, size_t len);

/* Copies. False when memory is exhausted; some of the bytes may then be queued. */
bool output_append(struct output *, const void *data, size_t len);
/* Queues bytes that stay valid until release is called; also called when this returns false. */
bool output_lend(struct output *, const void *data, size_t len, output_release *release,
                 void *context);
/* The next pieces, at most max of them; returns how many. They stay where they are until advance or
 * clear, also while more is appended. */
unsigned output_peek(const struct output *, uv_buf_t *pieces, unsigned max);
/* The first len bytes have left. */
void output_advance(struct output *, size_t len);
void output_clear(struct output *);

#endif
