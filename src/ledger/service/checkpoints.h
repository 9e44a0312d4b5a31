/*
 * A replica's checkpoints: digests computed and files written on a thread of their own, the last
 * two kept, chunks of them given to replicas that fell behind (spec/ledger §7).
 *
 * Files: DIR/ckpt_S, as ledger/kv/checkpoint.h draws them; their meta is what a replica must know
 * beside the store to go on from there, little-endian:
 *
 *   u64 s | position | needed | silent | next_index | gov_index | view | u32 config |
 * pp_hash 32 | u64 before_s | before_digest 32 | the frontiers at `position` and at `needed`, each
 *   u64 size | its hashes, 32 each, ascending
 */
#ifndef LEDGER_SERVICE_CHECKPOINTS_H
#define LEDGER_SERVICE_CHECKPOINTS_H

#include "ledger/kv/checkpoint.h"
#include "ledger/object/genesis.h"
#include "ledger/replica/env.h"

#include <uv.h>

#define CHECKPOINTS_KEPT 2 /* given to others, from memory or from files */

struct checkpoints;

/* On the loop's thread: the digest of the checkpoint. Its file comes later, if at all: files are
 * written at leisure, and some are left out when checkpoints follow each other too fast for that.
 */
typedef void (*checkpoint_done)(void *context, const struct ledger_checkpoint *,
                                const uint8_t digest[static HASH_LEN]);

/* The directory is made where it is missing. ATOLL_ENOMEM, ATOLL_EUNAVAIL, ATOLL_EIO. */
int checkpoints_open(uv_loop_t *, const char *directory, const struct ledger_genesis *,
                     checkpoint_done done, void *context, struct checkpoints **, struct error *);
/* On the loop's thread: why a file could not be written. Told once, until one can be again. */
typedef void (*checkpoint_unwritten)(void *context, const struct error *);
/* With the context of the open. */
void checkpoints_watch(struct checkpoints *, checkpoint_unwritten);
/* Finishes the one at work, drops the others; freed when the loop has closed its handle, and then
 * `closed` (may be NULL) is called. */
void checkpoints_close(struct checkpoints *, void (*closed)(void *context), void *context);

/* Takes the snapshot over. When its file cannot be written the digest is told all the same: the
 * replica restarts from an older one then. Without memory it is dropped, and nothing is told. */
void checkpoints_submit(struct checkpoints *, const struct ledger_checkpoint *,
                        struct kv_snapshot *);
/*
 * After a start: gives from their files the checkpoint `at`, which the replica was opened with, and
 * the one before it that this one names (whoever is behind asks for the last but one), until newer
 * ones take their places. Nothing else in the directory is known to be of the ledger that is here.
 * A file that is damaged is not given, with a word to `tell`; one that was left out is missing.
 */
void checkpoints_offer(struct checkpoints *, const struct ledger_genesis *,
                       const struct ledger_checkpoint *at,
                       void (*tell)(void *context, const struct error *), void *context);

/* Replaces what is in `out` by chunk `number` of checkpoint s; *chunks: how many it has.
 * ATOLL_ENOENT: not kept (any longer). ATOLL_ERANGE. ATOLL_ENOMEM. ATOLL_ECORRUPT, ATOLL_EIO: its
 * file was damaged after it had been opened; it is not given any longer. */
int checkpoints_chunk(struct checkpoints *, uint64_t s, uint32_t number, struct buffer *out,
                      uint32_t *chunks, struct error *);

/* The frontier at `needed` of checkpoint s. ATOLL_ENOENT: not kept (any longer). */
int checkpoints_origin(const struct checkpoints *, uint64_t s, struct merkle_frontier *out);

/*
 * The newest file below batch `below` (UINT64_MAX: any) that is whole: its store and what the
 * replica must know. ATOLL_ENOENT when there is none; damaged ones are passed over, each with a
 * word to `tell` (may be NULL).
 */
int checkpoints_load(const char *directory, const struct ledger_genesis *, uint64_t below,
                     void (*tell)(void *context, const struct error *), void *context,
                     struct ledger_checkpoint *, struct kv **, struct error *);

/* The meta, for state transfer too. False: no memory. */
bool checkpoint_meta_encode(const struct ledger_checkpoint *, struct buffer *out);
/* bytes: exactly one. ATOLL_ECORRUPT. */
int checkpoint_meta_decode(struct slice bytes, struct ledger_checkpoint *, struct error *);

#endif
