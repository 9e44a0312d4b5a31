/*
 * Checkpoints of the store: cut into chunks that are checked one by one, and kept in a file
 * (spec/ledger §6 state transfer, §7).
 *
 *   manifest   u32 version = 1 | u32 bucket_bits | bucket_key 16 | u64 pairs | u32 chunks |
 *              cut
 *   cut        the top of the trie (trie.h), from the root on, depth first; of each node
 *                0           nothing lies below
 *                1 hash 32   a chunk: all that lies below; the hash is the node's
 *                2           its children follow
 *   chunk      u32 pairs | each u16 name length | u32 value length | name | value
 *              a name is u8 table | key; at most KV_CHUNK_MAX bytes in all
 *   file       magic "ATLCKPT1" | genesis 32 | u64 s | digest 32 | u32 meta_len |
 *              u32 manifest_len | meta | manifest | SHA-256 of all before |
 *              chunks, each u32 len and its bytes
 *
 * The manifest is checked against the digest as a whole, every chunk against its hash in the
 * manifest: nothing is used before. Chunk number 0 is the manifest, 1 … chunks the chunks.
 */
#ifndef LEDGER_KV_CHECKPOINT_H
#define LEDGER_KV_CHECKPOINT_H

#include "base/bytes.h"
#include "ledger/kv/kv.h"

#define KV_CHUNK_MAX    (1u << 20)
#define KV_MANIFEST_MAX (1u << 20)
#define KV_META_MAX     65536

/* ---- giving ---- */

/* A snapshot prepared for being fetched and kept; holds the snapshot until it is closed. */
struct kv_checkpoint;

/* Takes the snapshot over, also on failure. The pace, if any, is called now and then. Any thread.
 * ATOLL_ENOMEM; ATOLL_ELIMIT when the state is so large that its manifest would pass
 * KV_MANIFEST_MAX (some gigabytes). */
int kv_checkpoint_open(struct kv_snapshot *, const struct kv_pace *, struct kv_checkpoint **,
                       struct error *);
void kv_checkpoint_close(struct kv_checkpoint *);
void kv_checkpoint_digest(const struct kv_checkpoint *, uint8_t digest[static HASH_LEN]);
/* Chunks, the manifest included: numbers 0 … count - 1 can be asked for. */
uint32_t kv_checkpoint_chunks(const struct kv_checkpoint *);
/* Replaces what is in `out` by a chunk. Any thread. ATOLL_ERANGE, ATOLL_ENOMEM. */
int kv_checkpoint_chunk(const struct kv_checkpoint *, uint32_t number, struct buffer *out,
                        struct error *);
/* Writes the file: temporary name, fsync, rename, fsync of the directory. Called after
 * every chunk: the pace, if any. Any
 * thread. ATOLL_ELIMIT when the disk is full, and what else the disk says. */
int kv_checkpoint_write(const struct kv_checkpoint *, const char *path,
                        const uint8_t genesis[static HASH_LEN], uint64_t s, const void *meta,
                        size_t meta_len, const struct kv_pace *, struct error *);

/* ---- taking ---- */

/* A store that is put together from chunks which come from anywhere, in any order. */
struct kv_transfer;

/* For the checkpoint with this digest, of a store with these parameters. */
int kv_transfer_open(const uint8_t digest[static HASH_LEN], uint32_t bucket_bits,
                     const uint8_t bucket_key[static SIPHASH_KEY_LEN], struct kv_transfer **,
                     struct error *);
void kv_transfer_close(struct kv_transfer *);
/* Takes a chunk; number 0 is wanted first. ATOLL_ECORRUPT: it is not what the digest vouches for
 * (the sender lied), and nothing happened. ATOLL_EEXIST: there already. ATOLL_EAGAIN: the manifest
 * is not there yet. ATOLL_ERANGE: no such chunk. ATOLL_ENOMEM. */
int kv_transfer_chunk(struct kv_transfer *, uint32_t number, const void *bytes, size_t len,
                      struct error *);
/* Whether this is chunk `number`, 1 or more, as the manifest vouches for it; nothing is kept.
 * ATOLL_ECORRUPT. ATOLL_ERANGE: no such chunk, or no manifest yet. ATOLL_ENOMEM. */
int kv_transfer_check(const struct kv_transfer *, uint32_t number, const void *bytes, size_t len,
                      struct error *);
/* Chunks in all, the manifest included; 0 as long as that is not there. */
uint32_t kv_transfer_chunks(const struct kv_transfer *);
/* The first chunk from `from` on that is missing; kv_transfer_chunks when none is. */
uint32_t kv_transfer_missing(const struct kv_transfer *, uint32_t from);
/* The whole store, which is the caller's now. ATOLL_EAGAIN when chunks are missing. */
int kv_transfer_finish(struct kv_transfer *, struct kv **, struct error *);

/* ---- the file ---- */

struct kv_checkpoint_file {
    uint64_t s;
    uint8_t digest[HASH_LEN];
    struct buffer meta; /* the caller frees it */
};

/* Reads and verifies a file of this service. digest NULL: the one in the file is believed, which
 * must come from somewhere that vouches for it. ATOLL_ECORRUPT, ATOLL_ENOENT, ATOLL_ENOMEM. */
int kv_checkpoint_read(const char *path, const uint8_t genesis[static HASH_LEN],
                       uint32_t bucket_bits, const uint8_t bucket_key[static SIPHASH_KEY_LEN],
                       const uint8_t *digest, struct kv_checkpoint_file *, struct kv **,
                       struct error *);

/* ---- giving from a file ---- */

/* A file whose chunks are given without its store being in memory; some 150 bytes a chunk are. */
struct kv_checkpoint_reader;

/* Opens a file of this service and believes its manifest; *file as above. digest as for
 * kv_checkpoint_read, which also tells the errors. */
int kv_checkpoint_reader_open(const char *path, const uint8_t genesis[static HASH_LEN],
                              uint32_t bucket_bits,
                              const uint8_t bucket_key[static SIPHASH_KEY_LEN],
                              const uint8_t *digest, struct kv_checkpoint_file *,
                              struct kv_checkpoint_reader **, struct error *);
void kv_checkpoint_reader_close(struct kv_checkpoint_reader *);
uint32_t kv_checkpoint_reader_chunks(const struct kv_checkpoint_reader *);
/* As kv_checkpoint_chunk. What is read is checked again, some 10 ms of work: ATOLL_ECORRUPT when
 * it is not what it was, ATOLL_EIO. */
int kv_checkpoint_reader_chunk(struct kv_checkpoint_reader *, uint32_t number, struct buffer *out,
                               struct error *);

#endif
