/*
 * The store's LMDB environment: its tables, its records, and the one transaction that writes.
 *
 * Tables (named LMDB databases; integers in keys big-endian so that they sort, in bodies
 * little-endian):
 *
 *   table   key                     body
 *   atoll   "format"                u64 magic | u32 format version
 *           "sequence"              u64: no id at or above it was given out yet
 *   meta    tenant 00 key           struct value_meta (value.h)
 *   val     id | u32 chunk          u64 version | u32 crc of key and version | bytes, <= 64 KiB
 *   ent     id | u64 index          bytes of an entry
 *   obj     tenant 00 key           struct object_record (object.c)
 *   item    id | u64 index          bytes of a queue's item
 *           id | key                bytes of a map's value
 *           id                      bytes of a cell
 *   gone    id                      u8 table: its records with this id are garbage
 *   fn, alias, call, idem, token, tenant, file      the node's records
 *
 * Every record begins with a CRC-32C over its table's number, its key and its body, because LMDB
 * keeps no checksums: what the disk damaged, or what turns up under another's key, is not returned.
 *
 * Threads. Readers hold the gate while they have a transaction open; the map grows only with the
 * gate closed. struct batch belongs to the thread that writes.
 */
#ifndef STORE_ENVIRONMENT_H
#define STORE_ENVIRONMENT_H

#include "base/bytes.h"
#include "base/error.h"

#include <lmdb.h>
#include <pthread.h>

enum environment_table {
    TABLE_ATOLL,
    TABLE_META,
    TABLE_VAL,
    TABLE_ENT,
    TABLE_OBJ,
    TABLE_ITEM,
    TABLE_GONE,
    TABLE_FUNCTION,
    TABLE_ALIAS,
    TABLE_CALL,
    TABLE_IDEMPOTENCY,
    TABLE_TOKEN,
    TABLE_TENANT,
    TABLE_FILE,
    ENVIRONMENT_TABLES
};

#define ENVIRONMENT_FORMAT  1u
#define ENVIRONMENT_KEY_MAX 511 /* LMDB's */
#define RECORD_HEAD         4u  /* the CRC */

struct environment {
    MDB_env *env;
    MDB_dbi tables[ENVIRONMENT_TABLES];
    pthread_rwlock_t gate;
    uint64_t map_bytes;
    uint64_t sequence_limit; /* as on disk when opened */
    int lock_fd;
    bool lost; /* the map could not be mapped again: nothing may touch it */
};

/* Opens or makes the store in a directory; holds it against other processes. */
int environment_open(const char *directory, uint64_t map_bytes, unsigned readers, bool check,
                     struct environment *, struct error *);
void environment_close(struct environment *);

/* Turns LMDB's (or errno's) number into a code and a sentence "doing: reason, what to do". */
int environment_error(struct error *, int number, const char *doing);

/* A record's bytes, valid as long as its transaction (and until the next write through it). */
struct record {
    const uint8_t *body;
    size_t len;
};

/* -ATOLL_ENOENT leaves no sentence: the caller knows what it was looking for. */
int record_get(const struct environment *, MDB_txn *, enum environment_table, const void *key,
               size_t key_len, struct record *, struct error *);
/* Checks what a cursor found. */
int record_check(enum environment_table, const MDB_val *key, const MDB_val *value, struct record *,
                 struct error *);

/* The records of a table whose keys begin with prefix and come after `after` (may be empty), in
 * byte order. range_next: 1 and the next record, 0 at the end, or a negative code. */
struct record_range {
    enum environment_table table;
    MDB_cursor *cursor;
    const uint8_t *prefix;
    size_t prefix_len;
    MDB_val key, value;
    int number; /* LMDB's, of what key and value hold */
};

int range_begin(const struct environment *, MDB_txn *, enum environment_table, const void *prefix,
                size_t prefix_len, const void *after, size_t after_len, struct record_range *,
                struct error *);
int range_next(struct record_range *, MDB_val *key, struct record *, struct error *);
void range_end(struct record_range *);

/*
 * A write transaction shared by many operations. It keeps a log of what was written, because a
 * transaction that fails (the map is full, the disk is full) is void as a whole, while operations
 * in it may be acknowledged already: batch_replay writes the log again.
 */
struct batch {
    struct environment *environment;
    MDB_txn *txn;      /* NULL: none begun */
    struct buffer log; /* of records: u8 table | u8 kind | u16 key | u32 body | key | body */
    bool unlogged;     /* a batch of one operation that can simply be called again */
    uint64_t writes;   /* since begun */
    int broken;        /* LMDB's number after which only batch_abort is left; 0 = none */
};

/* Begins the transaction unless it is begun. */
int batch_begin(struct batch *, struct error *);
int batch_put(struct batch *, enum environment_table, const void *key, size_t key_len,
              const void *body, size_t len, struct error *);
/* Fine when there is no such record. */
int batch_delete(struct batch *, enum environment_table, const void *key, size_t key_len,
                 struct error *);
int batch_get(struct batch *, enum environment_table, const void *key, size_t key_len,
              struct record *, struct error *);
/* Deletes up to `most` records whose keys begin with prefix, from `from` (a key that begins with
 * it) on. Returns how many, or a negative code. */
int batch_delete_range(struct batch *, enum environment_table, const void *from, size_t from_len,
                       size_t prefix_len, uint32_t most, struct error *);
/* Ends the transaction; the log stays. */
void batch_abort(struct batch *);
/* Writes the transaction to disk; empties the log when that worked, else sets broken. */
int batch_commit(struct batch *, struct error *);
/* Begins a transaction and writes the first len bytes of the log again; drops the rest. */
int batch_replay(struct batch *, size_t len, struct error *);
/* Bytes of the map beyond the last page that was ever used. */
uint64_t environment_room(const struct environment *);
/* Doubles the map; no transaction is begun. */
int environment_grow(struct environment *, struct error *);

#endif
