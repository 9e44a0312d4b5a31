/* What struct kv is made of, for the files of this folder. */
#ifndef LEDGER_KV_STORE_H
#define LEDGER_KV_STORE_H

#include "base/bytes.h"
#include "ledger/kv/trie.h"

/* A write of the open transaction; its bytes lie in the arena as they are hashed: u8 table | u8 put
 * | u32 key length | u32 value length | key | value. */
struct kv_write {
    size_t at; /* in the arena */
    uint32_t len;
};

struct kv_batch {
    uint64_t s;
    uint64_t undo; /* bytes of undo before it, counted from the start of time */
};

#define KV_PREFETCHES 8

struct kv {
    struct kv_trie trie;
    bool began; /* a batch was opened */

    /* What takes changes back, oldest first: u16 name length | u8 there | u32 value length | name |
     * value | u32 length of all this. undo_start bytes before were released. */
    struct buffer undo;
    uint64_t undo_start;
    struct kv_batch batches[KV_BATCHES_MAX]; /* a ring */
    uint32_t batch_first, batch_count;
    uint64_t committed; /* number of the newest batch that was released */

    bool in_transaction;
    struct buffer arena;
    uint32_t write_count;
    uint32_t write_bytes;
    struct kv_write writes[KV_WRITES_MAX]; /* in order of table and key */
    struct hash_part parts[KV_WRITES_MAX + 2];
    uint64_t prefetches[KV_PREFETCHES]; /* begun: SipHashes of names, a ring */
    unsigned prefetch_next;
};

/* Changes a pair and notes how to take that back. ATOLL_ENOMEM. */
int kv_change(struct kv *, const struct kv_name *, const uint8_t *value, size_t value_len,
              struct error *);

#endif
