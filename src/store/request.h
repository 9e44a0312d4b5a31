/* What the owner's side of the store consists of, and the operations' entrances (request.c). */
#ifndef STORE_REQUEST_H
#define STORE_REQUEST_H

#include "store/pending.h"
#include "store/reader.h"
#include "store/writer.h"

struct watch {
    uint64_t number;
    gt_watcher watcher; /* NULL: no longer */
    void *context;
    uint32_t prefix_len;
    uint8_t prefix[FULL_KEY_MAX];
};

struct store {
    struct gt gt; /* first: the operations get it */
    struct environment environment;
    struct completions completions;
    struct mailbox to_readers;
    struct reader *readers;
    uint32_t reader_count;
    struct reader_counters reader_counters;
    struct writer writer;

    struct pending pending;
    uint64_t outstanding, outstanding_bytes, uncalled;
    bool completing, closing;
    struct watch *watches;
    uint32_t watch_count, watch_capacity;
    uint64_t watch_number;
};

extern const struct gt_ops request_ops;

/* Takes the operation over; frees it when it cannot. */
int store_hand_over(struct store *, struct operation *, struct gt_callback, struct error *);

#endif
