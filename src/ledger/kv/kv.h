/*
 * The key-value store that the ledger's procedures work on (spec/ledger §7): in memory, the same on
 * every replica, with a digest of its whole contents.
 *
 * A key is a table's number and 0 … KV_KEY_MAX bytes; tables below KV_TABLE_USER are the ledger's
 * own and out of reach of procedures. All contents and every digest depend on nothing but the set
 * of pairs and the two parameters of kv_create: not on the order of writes, not on what was there
 * before. How pairs are placed and hashed: trie.h.
 *
 * Batches. Changes happen inside the newest batch; kv_rollback takes back whole batches, newest
 * first, until kv_commit has released them. One transaction at a time runs inside a batch: its
 * writes are held apart until it commits, and its reads see them.
 *
 * Snapshots. kv_snapshot_take costs a few instructions: what a snapshot reaches is copied when it
 * is changed. Digest, checkpoint and reads of a snapshot may happen on other threads meanwhile; all
 * else belongs to the one thread that owns the store.
 *
 * Errors: ATOLL_ENOMEM from a change means that the store no longer follows the ledger: the owner
 * must stop the replica.
 */
#ifndef LEDGER_KV_KV_H
#define LEDGER_KV_KV_H

#include "base/error.h"
#include "crypto/hash.h"
#include "crypto/siphash.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KV_KEY_MAX               256
#define KV_VALUE_MAX             65536
#define KV_WRITES_MAX            1024       /* keys a transaction writes */
#define KV_TRANSACTION_BYTES_MAX (1u << 20) /* of keys and values that it writes */
#define KV_BUCKET_BITS_MAX       16
#define KV_BATCHES_MAX           1024 /* that can be taken back at a time */

/* Tables of the ledger itself. */
#define KV_TABLE_CLIENTS 0 /* client_table.h */
#define KV_TABLE_USER    16

struct kv;
struct kv_snapshot;

/* Bytes of the store; good until its next change. */
struct kv_value {
    const uint8_t *data;
    size_t len;
};

/* 2^bucket_bits buckets (16 in production), chosen by SipHash-2-4 under bucket_key. An empty store
 * is small. ATOLL_EINVAL, ATOLL_ENOMEM. */
int kv_create(uint32_t bucket_bits, const uint8_t bucket_key[static SIPHASH_KEY_LEN], struct kv **,
              struct error *);
/* NULL is allowed. No snapshot may be held any more. */
void kv_destroy(struct kv *);

/* Puts a pair into a store that has had no batch yet: the state of genesis. ATOLL_ENOMEM. */
int kv_preload(struct kv *, uint8_t table, const void *key, size_t key_len, const void *value,
               size_t value_len, struct error *);

/* The store becomes what another of the same parameters is, the state after batch s, with nothing
 * to take back; `by`, which has no snapshots, is destroyed. Snapshots of the store keep what they
 * had. */
void kv_replace(struct kv *, struct kv *by, uint64_t s);

/* A pair for kv_preload_all, its bytes in the caller's memory. */
struct kv_pair {
    uint8_t table;
    const void *key;
    size_t key_len;
    const void *value;
    size_t value_len;
};

/* Puts `count` pairs into such a store, many times as fast: in the order of buckets. `pair` gives
 * the pair of a number below count, twice each; it is good until the next call. ATOLL_ENOMEM. */
typedef void kv_pair_give(void *context, uint64_t number, struct kv_pair *pair);
int kv_preload_all(struct kv *, uint64_t count, kv_pair_give *pair, void *context, struct error *);

/* The value as of the last committed transaction, whatever transaction is open. False: no such
 * pair. Any table. */
bool kv_get(const struct kv *, uint8_t table, const void *key, size_t key_len, struct kv_value *);
/* Such a pair is read some ten prefetches later: the processor fetches the memory in which it lies
 * meanwhile. It takes two steps, because where a page lies is told by memory that may be far, too:
 * a call begins one, and finishes that of an earlier call. Changes nothing that can be seen. */
void kv_prefetch(struct kv *, uint8_t table, const void *key, size_t key_len);
uint64_t kv_pairs(const struct kv *);
/* Bytes of all keys and values. */
uint64_t kv_bytes(const struct kv *);

/* Every pair, in an order of the store's own that depends on the contents alone. */
typedef void kv_visit(void *context, uint8_t table, const uint8_t *key, size_t key_len,
                      struct kv_value);
void kv_each(const struct kv *, kv_visit *, void *context);

/* ---- batches ---- */

/* Opens batch s; s is greater than that of the batch before. ATOLL_ENOMEM; ATOLL_ELIMIT when
 * KV_BATCHES_MAX batches are not released. */
int kv_batch_begin(struct kv *, uint64_t s, struct error *);
/* Takes back all batches after s, whole or begun, and an open transaction. ATOLL_ERANGE when
 * one of them was released. ATOLL_ENOMEM. */
int kv_rollback(struct kv *, uint64_t s, struct error *);
/* Batches up to s will never be taken back. */
void kv_commit(struct kv *, uint64_t s);
/* Puts or (value NULL) removes a pair of the ledger's own tables, in the open batch, outside of
 * transactions. ATOLL_ENOMEM. */
int kv_system_put(struct kv *, uint8_t table, const void *key, size_t key_len, const void *value,
                  size_t value_len, struct error *);

/* ---- transactions ---- */

/* Begins the transaction; the one before it has ended. A batch is open. */
void kv_transaction_begin(struct kv *);
/* Reads what the transaction wrote, else the store. False: no such pair. The value is good until
 * the next call for this store. Tables from KV_TABLE_USER on, in all three. */
bool kv_transaction_get(struct kv *, uint8_t table, const void *key, size_t key_len,
                        struct kv_value *);
/* The bytes of a value lie outside of the store. ATOLL_EINVAL (key or value too long), ATOLL_ELIMIT
 * (KV_WRITES_MAX, KV_TRANSACTION_BYTES_MAX): the same on every replica, the transaction goes on
 * without this write. ATOLL_ENOMEM. */
int kv_transaction_put(struct kv *, uint8_t table, const void *key, size_t key_len,
                       const void *value, size_t value_len, struct error *);
int kv_transaction_remove(struct kv *, uint8_t table, const void *key, size_t key_len,
                          struct error *);
/*
 * Ends it and applies its writes. writeset_hash becomes H("atoll.ws.v1", u32 count ‖ the writes in
 * bytewise order of (table, key), each u8 table ‖ u8 put ‖ u32 key_len ‖ u32 value_len ‖ key ‖
 * value), with put = 0 and no value for a removal; writes that change nothing count too.
 * ATOLL_ENOMEM.
 */
int kv_transaction_commit(struct kv *, uint8_t writeset_hash[static HASH_LEN], struct error *);
/* Ends it without any; the hash is that of no writes. */
void kv_transaction_abort(struct kv *, uint8_t writeset_hash[static HASH_LEN]);

/* ---- snapshots ---- */

/* The store as it is now, between transactions. ATOLL_ENOMEM. */
int kv_snapshot_take(struct kv *, struct kv_snapshot **, struct error *);
/* Gives it back; any thread; NULL is allowed. Its memory returns when the owner next begins a batch
 * or takes a snapshot. */
void kv_snapshot_release(struct kv_snapshot *);
/* The digest of the contents (dC): any thread, several may ask. Costs as many hashes as buckets
 * changed since they were last hashed, a few times over. */
void kv_snapshot_digest(struct kv_snapshot *, uint8_t digest[static HASH_LEN]);
/* Called now and then by what takes long, so that it takes its time: a state is a lot of work at
 * once for a processor and a disk that others use. */
struct kv_pace {
    void (*wait)(void *context);
    void *context;
};
/* Does most of what kv_snapshot_digest has to do, bit by bit. Any thread. */
void kv_snapshot_hash(struct kv_snapshot *, const struct kv_pace *);

#endif
