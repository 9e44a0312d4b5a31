/*
 * The embedded store: one LMDB environment that holds the global tier of a node (gt.h) and the
 * node's own small records (functions, aliases, call results, tokens …).
 *
 * Threads. The store belongs to one thread, its owner: every function here is called there, and all
 * callbacks run there, inside store_complete. Behind it work one writer thread (the only one that
 * writes; it applies operations in order, and many share one synchronisation) and a few readers.
 * When results are ready and none were before, the store calls `wake` from one of its own threads;
 * the owner then calls store_complete soon (for example wake = uv_async_send, and store_complete in
 * the async's callback).
 *
 * docs/store.md says how it works, what is on disk and what survives what.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "store/gt.h"

#define STORE_OUTSTANDING_MAX       (1u << 20)   /* operations called and not yet finished */
#define STORE_OUTSTANDING_BYTES_MAX (4ull << 30) /* copied for them */
#define STORE_MAP_BYTES_DEFAULT     (4ull << 30)
#define STORE_WAITING_MAX           262144u /* operations that wait for a lock or at an object */

struct store;

struct store_options {
    const char *directory; /* made when absent (mode 0700) */
    /* Called from the store's threads; must neither block nor call into the store. NULL: the owner
     * only ever uses store_wait. */
    void (*wake)(void *context);
    void *wake_context;
    uint64_t map_bytes; /* address space at first, doubled when full; 0 = STORE_MAP_BYTES_DEFAULT */
    uint32_t readers;   /* threads; 0 = 2 */
    bool skip_check;    /* do not examine the file's structure when opening (docs/store.md) */
    /* Leases and timeouts pass by this clock (monotonic nanoseconds, called on the writer thread).
     * NULL: the system's. Whoever gives a clock of its own calls store_tick when it moved. */
    uint64_t (*clock)(void *context);
    void *clock_context;
};

/* -ATOLL_EBUSY: another process has it open; -ATOLL_ETYPE: not a store of Atoll;
 * -ATOLL_EUNSUPPORTED: written by a newer release; -ATOLL_ECORRUPT: damaged. */
int store_open(const struct store_options *, struct store **out, struct error *);

/* Finishes what was called, synchronises, ends the threads and frees everything. Operations that
 * wait for a lock or at an object end with -ATOLL_ECANCELED. All remaining callbacks run inside,
 * and may not call operations. A negative code when acknowledged operations could not be written (a
 * full disk); the store is closed all the same. NULL is allowed. */
int store_close(struct store *, struct error *);

/* The operations on values, objects and locks. */
struct gt *store_gt(struct store *);

/* Runs the callbacks of everything that is ready. Callbacks may call operations. Returns how many
 * ran. */
size_t store_complete(struct store *);

/* Waits until something is ready, then as store_complete; 0 at once when nothing is outstanding but
 * operations that wait for a lock or at an object. For starting and for tests. */
size_t store_wait(struct store *);

/* Everything called before is on disk when the callback runs. */
int store_sync(struct store *, struct gt_callback, struct error *);

/* Has the writer look at its clock again. */
void store_tick(struct store *);

struct store_counters {
    uint64_t operations, reads, commits, commit_ns, commits_failed, map_grown;
    uint64_t outstanding, waiting;  /* now */
    uint64_t map_bytes, used_bytes; /* of the file, now */
};
void store_counters(struct store *, struct store_counters *);

/* ---- records ---- */

/* Tables of small records, keys of 1..STORE_RECORD_KEY_MAX bytes in byte order. */
enum store_table {
    STORE_FUNCTION,
    STORE_ALIAS,
    STORE_CALL,
    STORE_IDEMPOTENCY,
    STORE_TOKEN,
    STORE_TENANT,
    STORE_FILE,
    STORE_TABLES
};

#define STORE_RECORD_KEY_MAX 480
#define STORE_RECORD_MAX     (16u << 20) /* bytes of one record */
#define STORE_WRITES_MAX     4096u       /* of one batch */

enum store_write_kind {
    STORE_PUT,     /* make or replace */
    STORE_CREATE,  /* make; -ATOLL_EEXIST when it is there */
    STORE_REPLACE, /* replace; -ATOLL_ENOENT when it is not there */
    STORE_DELETE   /* drop it, if it is there */
};

struct store_write {
    enum store_write_kind kind;
    enum store_table table;
    const void *key;
    size_t key_len;
    const void *value;
    size_t value_len;
};

/* All of them in this order, or none. flags: GT_DURABLE or 0. value: on -ATOLL_EEXIST and
 * -ATOLL_ENOENT the number of the write that did not apply. */
int store_write(struct store *, const struct store_write *, uint32_t count, uint32_t flags,
                struct gt_callback, struct error *);

/* data: the record; -ATOLL_ENOENT. */
int store_get(struct store *, enum store_table, const void *key, size_t key_len, struct gt_callback,
              struct error *);

/* Records whose keys begin with prefix and come after `after` (may be empty), in byte order; at
 * least one if there is one, then at most cap bytes; read them with store_list_next. count says how
 * many. Go on after the last when value is 1. */
int store_list(struct store *, enum store_table, const void *prefix, size_t prefix_len,
               const void *after, size_t after_len, size_t cap, struct gt_callback, struct error *);

/* The next record of a list: u32 key length, u32 value length, key, value. */
struct store_listed {
    const uint8_t *key, *value;
    uint32_t key_len, value_len;
};

static inline bool store_list_next(const uint8_t *data, size_t len, size_t *at,
                                   struct store_listed *out)
{
    if (*at > len || len - *at < 8)
        return false;
    const uint8_t *p = data + *at;
    out->key_len = load_u32(p);
    out->value_len = load_u32(p + 4);
    uint64_t whole = 8ull + out->key_len + out->value_len;
    if (whole > len - *at)
        return false;
    out->key = p + 8;
    out->value = out->key + out->key_len;
    *at += whole;
    return true;
}

#endif
