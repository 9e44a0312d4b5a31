/*
 * How the store keeps its pairs: a trie whose shape, and whose hash, depend on its pairs alone.
 *
 *   branches        2^bits buckets below 16-way branches; the bucket is SipHash(name), its highest
 *                   bits choose at the root (which has fewer children when bits is not a multiple
 *                   of 4). A missing child means that all buckets below are empty.
 *   page            the pairs of a bucket, in bytewise order of their names, in one block of memory
 *   forks           a bucket that is too much for a page (more than KV_PAGE_PAIRS pairs, or more
 *                   than KV_PAGE_BYTES and not a single pair) is cut in two by the bits of
 *                   SHA-256(name), again and again. Whoever grinds names into one bucket makes it
 *                   a tree of logarithmic depth: to make that deeper by one costs twice the work.
 *   blob            a value of more than KV_INLINE_MAX bytes, beside its page
 *
 *   name            u8 table | key
 *   record          u16 name length | u32 value length | name | value, or the address of its blob
 *
 * Hashes (the digest of kv.h is the root's, with the parameters):
 *
 *   value'   value, or SHA-256(value) of one with more than KV_INLINE_MAX bytes
 *   page     H("atoll.kvpage.v1", u32 pairs ‖ of each pair:
 *              u16 name length ‖ u32 value length ‖ name ‖ value')
 *   fork     H("atoll.kvfork.v1", zero side ‖ one side)
 *              an empty side counts as a page of 0 pairs
 *   branch   the root of the binary tree over its children, inner nodes as in RFC 6962
 *   store    H("atoll.kv.v1", u32 bits ‖ u64 pairs ‖ root)
 *
 * Sharing. Every object knows the epoch in which it was made; taking a snapshot ends an epoch. An
 * object as old as the newest snapshot may be reached from it and never changes again, but for its
 * hash, which whoever needs it fills in under the trie's mutex; a change makes a copy of it and of
 * all above it. The original then belongs to that snapshot, and is freed or handed to the next
 * older one when the snapshot goes.
 */
#ifndef LEDGER_KV_TRIE_H
#define LEDGER_KV_TRIE_H

#include "ledger/kv/kv.h"

#include <pthread.h>
#include <stdatomic.h>

#define KV_PAGE_PAIRS  64
#define KV_PAGE_BYTES  (256u << 10) /* names and values */
#define KV_INLINE_MAX  256
#define KV_NAME_MAX    (1 + KV_KEY_MAX)
#define KV_FORK_DEPTH  256 /* bits of SHA-256 */
#define KV_RECORD_HEAD 6
#define KV_LEVELS_MAX  4 /* of branches */

enum kv_object_kind { KV_BRANCH, KV_FORK, KV_PAGE, KV_BLOB };

struct kv_object {
    uint64_t birth; /* epoch */
    struct kv_object *retired_next;
    uint8_t kind;
    bool hashed; /* digest is that of the contents */
    uint8_t digest[HASH_LEN];
};

struct kv_branch {
    struct kv_object object;
    uint64_t pairs, bytes; /* below; of one that is hashed */
    struct kv_object *child[16];
};

struct kv_fork {
    struct kv_object object;
    uint64_t pairs, bytes; /* below */
    struct kv_object *side[2];
};

/* Where a record lies, and 16 bits of its name's SipHash that find it without looking there. */
struct kv_slot {
    uint16_t print, offset;
};

struct kv_page {
    struct kv_object object;
    uint64_t bytes; /* names and values */
    uint32_t used, capacity;
    uint16_t count;
    uint16_t blobs;                     /* records whose value is a blob */
    struct kv_slot slot[KV_PAGE_PAIRS]; /* in the order of names */
    uint8_t data[];
};

struct kv_blob {
    struct kv_object object;
    uint32_t len;
    uint8_t data[];
};

struct kv_name {
    uint64_t hash; /* SipHash */
    size_t len;
    uint8_t bytes[KV_NAME_MAX];
};

struct kv_trie {
    uint32_t bits;
    uint32_t levels;
    uint8_t bucket_key[SIPHASH_KEY_LEN];
    struct kv_object *root;
    uint64_t pairs, bytes;
    uint64_t epoch;        /* of objects made now */
    uint64_t shared_epoch; /* of the newest snapshot, 0 = none: older objects are not ours alone */
    uint64_t retired;      /* objects that came to wait for snapshots since kv_trie_reap */
    struct kv_snapshot *newest; /* then by older */
    pthread_mutex_t hash_mutex;
    uint8_t empty[KV_BUCKET_BITS_MAX + 1][HASH_LEN]; /* hash of 2^i empty buckets */
};

struct kv_snapshot {
    struct kv_trie *trie;
    struct kv_snapshot *older;
    struct kv_object *root;
    uint64_t pairs, bytes;
    uint64_t epoch;
    struct kv_object *retired; /* reached from here, and not from the trie any more */
    atomic_bool released;
};

/* A record of a page, taken apart. */
struct kv_record {
    const uint8_t *name;
    size_t name_len;
    struct kv_value value;
};

int kv_trie_create(struct kv_trie *, uint32_t bits, const uint8_t key[static SIPHASH_KEY_LEN],
                   struct error *);
void kv_trie_destroy(struct kv_trie *);
/* The pairs of `by`, which has no snapshots and the same parameters, become those of the trie; `by`
 * is empty then. Snapshots of the trie keep what they had. */
void kv_trie_replace(struct kv_trie *, struct kv_trie *by);

/* key_len is at most KV_KEY_MAX. */
void kv_name_make(const struct kv_trie *, uint8_t table, const void *key, size_t key_len,
                  struct kv_name *);
void kv_name_of(const struct kv_trie *, const void *name, size_t len, struct kv_name *);
bool kv_trie_find(const struct kv_trie *, const struct kv_name *, struct kv_value *);
/* Asks for the memory of the pairs with this SipHash: the place in the lowest branch that leads to
 * their page, or the page. */
void kv_trie_prefetch(const struct kv_trie *, uint64_t hash, bool page);
/* Puts a pair, or removes it (value NULL); removing what is not there does nothing. False when
 * memory is exhausted: the trie can then only be destroyed. The value lies outside of the trie. */
bool kv_trie_put(struct kv_trie *, const struct kv_name *, const uint8_t *value, size_t value_len);

/* ---- walking (any thread on a snapshot's objects) ---- */

/* Which bits of a bucket's number a child of a branch stands for, at this level from the root. */
uint32_t kv_level_bits(uint32_t bits, uint32_t level);
/* Calls visit for every record below an object (NULL: none). */
typedef void kv_record_visit(void *context, const struct kv_record *);
void kv_object_each(const struct kv_object *, kv_record_visit *, void *context);
/* Pairs and bytes of names and values below. A branch knows them since it was hashed. */
void kv_object_size(const struct kv_object *, uint64_t *pairs, uint64_t *bytes);

/* ---- hashing (trie_hash.c; any thread on a snapshot's objects) ---- */

/* Of 2^height empty buckets, for all heights. */
void kv_hash_empty(uint8_t empty[static KV_BUCKET_BITS_MAX + 1][HASH_LEN]);
/* Of what lies below `object`, which stands for 2^height buckets; the trie's mutex is held where
 * others may hash the same objects. */
void kv_object_hash(const struct kv_trie *, struct kv_object *object, uint32_t level,
                    uint8_t digest[static HASH_LEN]);
/* Of a whole store with this root. */
void kv_store_hash(uint32_t bits, uint64_t pairs, const uint8_t root[static HASH_LEN],
                   uint8_t digest[static HASH_LEN]);
/* The root of a branch whose children have these hashes; NULL entries are empty. bits: 1 … 4,
 * height: of the children. */
void kv_branch_hash(const uint8_t empty[static KV_BUCKET_BITS_MAX + 1][HASH_LEN], uint32_t bits,
                    uint32_t height, const uint8_t *const children[static 16],
                    uint8_t digest[static HASH_LEN]);
void kv_fork_hash(const uint8_t sides[static 2][HASH_LEN], uint8_t digest[static HASH_LEN]);
/* A bit of SHA-256(name). */
unsigned kv_fork_bit(const uint8_t name_hash[static HASH_LEN], uint32_t depth);

/* ---- snapshots (snapshot.c) ---- */

/* An object leaves the trie: frees it, or hands it to the newest snapshot that may reach it. */
void kv_trie_drop(struct kv_trie *, struct kv_object *);
/* Frees some of what only released snapshots reached; to be called again and again. */
void kv_trie_reap(struct kv_trie *);
/* … all of it. */
void kv_trie_reap_all(struct kv_trie *);

#endif
