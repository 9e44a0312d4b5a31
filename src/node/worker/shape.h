/*
 * Shaping of network traffic in the host call: token buckets.
 *
 * A bucket fills at its rate up to its burst. An operation goes ahead while there is any token and
 * is charged afterwards with what it moved, so a bucket may be in debt; the next one waits until it
 * is paid. Over time the rate holds whatever the sizes. Time is the caller's.
 */
#ifndef NODE_WORKER_SHAPE_H
#define NODE_WORKER_SHAPE_H

#include <stdint.h>

struct bucket {
    uint64_t rate;  /* bytes a second */
    uint64_t burst; /* bytes */
    int64_t tokens; /* bytes; negative: debt */
    int64_t at_ns;  /* when tokens was right */
};

void bucket_begin(struct bucket *, uint64_t rate, uint64_t burst, int64_t now_ns);
/* 0 when an operation may go ahead now, else when to ask again. */
int64_t bucket_wait(struct bucket *, int64_t now_ns);
void bucket_charge(struct bucket *, uint64_t bytes, int64_t now_ns);

#endif
