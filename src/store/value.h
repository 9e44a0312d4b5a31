/*
 * Values and their entries in the tables meta, val and ent: reading (value.c) and changing them
 * (commit.c). Each function carries out one operation and leaves what it brings back in its result;
 * a negative code comes with a sentence in the struct error. Those that read run on readers, or on
 * the writer within its transaction; the others run on the writer.
 */
#ifndef STORE_VALUE_H
#define STORE_VALUE_H

#include "store/operation.h"

/* The body of a meta record. Ids come from one sequence and are never used again, so what belongs
 * to a value that is gone is never mistaken for another's. */
struct value_meta {
    uint64_t size, version;
    uint64_t gen;         /* its id in val; never 0 */
    uint64_t entries_id;  /* its id in ent; 0 = none yet */
    uint64_t entries;     /* also the next index */
    uint64_t cut_version; /* when it last became smaller: what was cut off left no trace in val */
};

#define CHUNK_HEAD 12u /* u64 version | u32 crc of the key and the version */

int meta_get(const struct environment *, MDB_txn *, const struct operation *, struct value_meta *,
             struct error *);
void meta_result(const struct value_meta *, struct operation *);
/* big-endian id and number */
void chunk_key(uint64_t gen, uint64_t chunk, uint8_t out[static 12]);
void item_key(uint64_t id, uint64_t index, uint8_t out[static 16]);

int value_stat(const struct environment *, MDB_txn *, struct operation *, struct error *);
int value_getrange(const struct environment *, MDB_txn *, struct operation *, struct error *);
int value_entries(const struct environment *, MDB_txn *, struct operation *, struct error *);
int value_list(const struct environment *, MDB_txn *, struct operation *, struct error *);

/* Gives out ids of the sequence; the writer's. */
struct sequence {
    uint64_t next, limit; /* limit: on disk, or in the batch that gives out */
};

/* 0 with an error when the batch broke. */
uint64_t sequence_take(struct sequence *, struct batch *, struct error *);

struct lock_table;

/* What changing values needs beside the operation. */
struct value_writer {
    struct batch *batch;
    struct sequence *sequence;
    struct lock_table *locks; /* for fences */
    uint64_t now_ns;
    uint8_t *chunk; /* CHUNK_HEAD + GT_CHUNK_BYTES, scratch */
};

int value_commit(struct value_writer *, struct operation *, struct error *);
int value_append(struct value_writer *, struct operation *, struct error *);
int value_clear(struct value_writer *, struct operation *, struct error *);
int value_delete(struct value_writer *, struct operation *, struct error *);

/* Marks an id's records in a table as garbage. */
int garbage_add(struct batch *, enum environment_table, uint64_t id, struct error *);
/* Deletes a few garbage records. 1: there may be more; 0: none is left; or a negative code. */
int garbage_collect(struct batch *, struct error *);

#endif
