/*
 * The global tier: where values, entries, objects and locks of all tenants live for good, behind
 * one table of operations (spec/faaslets §8.3, §8.4). A node's copies of values (src/state) are
 * pulled from here and pushed to here. Back ends: LMDB on one node (store/store.h).
 *
 * Every operation is asynchronous. It is called on the owner's thread (the one thread that owns the
 * back end); it returns 0, and then the callback runs exactly once, later, on that same thread; or
 * it returns a negative code with a sentence in the struct error, and the callback never runs. What
 * the arguments point to is copied before the call returns, except destinations of getrange and the
 * bytes of a commit that has a release function.
 *
 * Order. Operations that write take effect in the order in which they were called, and every
 * operation sees the effects of all that were called before it, acknowledged or not. A read may
 * also see effects of operations called after it; what one read returns is one moment of its key.
 *
 * Durability. Without GT_DURABLE an operation is acknowledged when it has taken effect and reaches
 * the disk within 5 ms; with it, when it is on disk. Several operations share one synchronisation.
 *
 * Keys: a tenant's name (1..63 bytes of [a-z0-9-]) and 1..400 bytes without NUL.
 */
#ifndef STORE_GT_H
#define STORE_GT_H

#include "atoll/errors.h"
#include "base/bytes.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GT_TENANT_MAX       63
#define GT_KEY_MAX          400
#define GT_CHUNK_BYTES      65536u /* what a value is stored and compared by */
#define GT_VALUE_MAX        (1ull << 44)
#define GT_RANGES_MAX       262144u      /* of one commit or getrange */
#define GT_COMMIT_BYTES_MAX (2ull << 30) /* of the chunks that one commit touches, together */
#define GT_ENTRY_MAX        (1u << 20)   /* one appended entry */
#define GT_LIST_BYTES_MAX   (4u << 20)   /* answered by one list or entries */
#define GT_OBJECT_BYTES_MAX 65536u       /* one value of an object */
#define GT_MAP_KEY_MAX      400          /* a key within a map object, 1..400 bytes */
#define GT_ITEMS_MAX        (1u << 20)   /* items of one queue or map */
#define GT_PARTIES_MAX      65536        /* of a barrier */
#define GT_FOREVER          UINT64_MAX   /* a timeout that never passes */
#define GT_VERSION_ANY      UINT64_MAX
#define GT_SIZE_KEEP        UINT64_MAX
#define GT_LEASE_NS         10000000000ull /* default lease of a lock; grace of a lost party */

struct gt_key {
    const char *tenant; /* NUL-terminated */
    const void *key;
    size_t key_len;
};

/* What an operation brings back. Pointers are valid during the callback only. Fields that an
 * operation does not mention are zero. */
struct gt_result {
    int code;                             /* 0 or a negative ATOLL_E… code */
    const struct error *error;            /* the sentence; NULL when code is 0 */
    uint64_t size, version, gen, entries; /* of the key's value */
    int64_t value;                        /* what the operation's comment says */
    const uint8_t *data;                  /* as well */
    size_t len;
    const struct gt_extent *extents; /* getrange */
    const uint64_t *lens;            /* entries */
    size_t count;                    /* of extents, of lens, or of items in data */
};

struct gt_callback {
    void (*done)(void *context, const struct gt_result *); /* NULL: nobody wants to know */
    void *context;
};

enum gt_flags {
    GT_DURABLE = 1,
    GT_GROW = 2,          /* commit: ranges beyond the end make the value larger */
    GT_RETURN_MERGED = 4, /* commit: bring back the merged ranges' new bytes */
};

/* ---- values ---- */

/* Bytes [off, off + len) of a value, to be copied to dst. Bytes beyond the value's end become 0. */
struct gt_span {
    uint64_t off;
    void *dst;
    size_t len;
};

struct gt_extent {
    uint64_t off, len;
};

/* How the bytes of a commit meet those that are there. Numbers are little-endian and lie at
 * multiples of their size; bytes never written count as 0. */
enum gt_merge {
    GT_SET = 0,
    GT_ADD_I32 = 1, /* modulo 2^32 */
    GT_ADD_I64 = 2, /* modulo 2^64 */
    GT_ADD_F32 = 3, /* IEEE 754, to nearest even */
    GT_ADD_F64 = 4,
    GT_MIN_F64 = 5, /* a NaN gives way to a number; -0 is less than +0 */
    GT_MAX_F64 = 6,
    GT_XOR = 7,
    GT_MERGES
};

struct gt_range {
    uint64_t off;
    const void *bytes;
    size_t len;
    enum gt_merge merge;
};

struct gt_commit {
    uint64_t expect_version; /* 0: nothing was committed yet; GT_VERSION_ANY */
    uint64_t expect_gen;     /* 0: any */
    uint64_t fence;          /* token of the caller's lock on the key; 0: none */
    uint64_t size;           /* the value's new size, or GT_SIZE_KEEP */
    uint32_t flags;          /* enum gt_flags */
    uint32_t range_count;
    const struct gt_range *ranges; /* applied in this order */
    /* When not NULL, the ranges' bytes are not copied: they stay as they are until this is called,
     * once, on the owner's thread, just before the callback. Not called when the call itself
     * returned a negative code. */
    void (*release)(void *context);
    void *release_context;
};

/* ---- locks ---- */

enum gt_lock_mode { GT_LOCK_READ = 0, GT_LOCK_WRITE = 1 };

/* ---- objects ---- */

enum gt_object_type {
    GT_COUNTER = 1,
    GT_LATCH = 2,
    GT_BARRIER = 3,
    GT_SEMAPHORE = 4,
    GT_QUEUE = 5,
    GT_MAP = 6,
    GT_CELL = 7
};

/* Numbers as in the guest's header (spec/faaslets §5). The comment says what value and data bring
 * back. Bytes of map operations in: u32 key length, key, value. */
enum gt_object_op {
    GT_COUNTER_GET = 0,       /* value: the count; data: the same, 8 bytes */
    GT_COUNTER_ADD = 1,       /* adds a, modulo 2^64; as get, after it */
    GT_COUNTER_CAS = 2,       /* a becomes b; value 1 or 0; data: the count after it, 8 bytes */
    GT_LATCH_DOWN = 0,        /* by a >= 1, not below 0; value: what is left */
    GT_LATCH_WAIT = 1,        /* until it is 0 */
    GT_LATCH_GET = 2,         /* value: what is left */
    GT_BARRIER_ARRIVE = 0,    /* waits for all; value: 0 for the first to arrive, and so on */
    GT_BARRIER_PARTIES = 1,   /* value: how many it waits for */
    GT_SEMAPHORE_ACQUIRE = 0, /* waits for a >= 1 permits; value: permits left */
    GT_SEMAPHORE_RELEASE = 1, /* gives a >= 1 permits; value: permits left */
    GT_QUEUE_PUSH = 0,        /* value: items in it; -ATOLL_ELIMIT when full */
    GT_QUEUE_POP = 1,  /* waits for an item; data: its bytes. Larger than cap: -ATOLL_ESIZE with its
                          length in value, and it stays */
    GT_QUEUE_LEN = 2,  /* value: items in it */
    GT_MAP_GET = 0,    /* data: the value; -ATOLL_ENOENT; -ATOLL_ESIZE as above */
    GT_MAP_PUT = 1,    /* value: 1 when the key is new */
    GT_MAP_DELETE = 2, /* value: 1 when the key was there */
    GT_MAP_SIZE = 3,   /* value: keys in it */
    GT_MAP_SCAN = 4,   /* the keys after this one (length 0: from the first), in byte order; value:
                          how many; data: u32 key length, key, u32 value length, value, each, as
                          many as fit cap; -ATOLL_ESIZE when not even one does */
    GT_MAP_INCR = 5,   /* adds a to the key's 8-byte number (absent: 0); value, data: the sum;
                          -ATOLL_ETYPE when its value is not 8 bytes long */
    GT_CELL_GET = 0,   /* version: that of the cell, 0 = never set; data: its bytes; -ATOLL_ESIZE */
    GT_CELL_SET = 1,   /* version: the new one */
    GT_CELL_CAS = 2, /* as set if the version is a, else -ATOLL_ESTALE; version: the current one */
};

struct gt_object_call {
    uint32_t op;    /* enum gt_object_op of the object's type */
    uint32_t flags; /* GT_DURABLE or 0 */
    int64_t a, b;
    const void *in;
    size_t in_len;
    size_t cap;          /* bytes that may be brought back */
    uint64_t timeout_ns; /* how long to wait; 0: -ATOLL_EAGAIN instead of waiting */
    uint64_t owner;      /* for whom: ends with owner_end */
};

/* ---- changes ---- */

enum gt_change_kind { GT_CHANGED = 1, GT_APPENDED = 2, GT_CLEARED = 3, GT_DELETED = 4 };

struct gt_change {
    enum gt_change_kind kind;
    struct gt_key key;
    uint64_t size, version, gen, entries; /* after the change */
};

typedef void (*gt_watcher)(void *context, const struct gt_change *);

/* ---- the operations ---- */

struct gt;

struct gt_ops {
    const char *name; /* of the back end, for metrics: "lmdb" */

    /* size, version, gen and entries of a key; -ATOLL_ENOENT. */
    int (*stat)(struct gt *, const struct gt_key *, struct gt_callback, struct error *);

    /* Copies the spans of one moment of the value to their destinations, which must stay valid
     * until the callback; they may have been written even when the operation fails. Chunks
     * unchanged since version `since` are skipped, their destinations left alone (0: copy
     * everything; a version of another gen must not be passed). extents: what was copied, ascending
     * within each span. Also size, version, gen, entries. -ATOLL_ENOENT, -ATOLL_ECORRUPT. */
    int (*getrange)(struct gt *, const struct gt_key *, uint64_t since, const struct gt_span *,
                    uint32_t count, struct gt_callback, struct error *);

    /* Applies all ranges and the new size, or nothing. A key that does not exist is made, with a
     * new gen, as large as size says or its ranges need. -ATOLL_ESTALE: another version or gen than
     * expected, or a fence that is no longer held (size, version, gen: what is there);
     * -ATOLL_ERANGE: a range beyond the end, neither GT_GROW nor size given. Brings back size,
     * version, gen, entries; data: with GT_RETURN_MERGED the bytes of all ranges but GT_SET ones,
     * one after the other. */
    int (*commit)(struct gt *, const struct gt_key *, const struct gt_commit *, struct gt_callback,
                  struct error *);

    /* Appends an entry of 0..GT_ENTRY_MAX bytes, making the key when it does not exist (version 0,
     * size 0). value: its index. The value and its version do not change. */
    int (*append)(struct gt *, const struct gt_key *, const void *bytes, size_t len, uint32_t flags,
                  struct gt_callback, struct error *);

    /* Up to max whole entries from index `from` on, cap bytes together. data: their bytes, lens and
     * count: how long each is. When the first does not fit: -ATOLL_ESIZE, its length in value. None
     * at or after `from`: count 0. */
    int (*entries)(struct gt *, const struct gt_key *, uint64_t from, uint32_t max, size_t cap,
                   struct gt_callback, struct error *);

    /* Drops all entries; the next has index 0. -ATOLL_ENOENT. */
    int (*clear)(struct gt *, const struct gt_key *, uint32_t flags, struct gt_callback,
                 struct error *);

    /* Drops value and entries. A key made again later has another gen. -ATOLL_ENOENT. */
    int (*delete)(struct gt *, const struct gt_key *, uint32_t flags, struct gt_callback,
                  struct error *);

    /* Keys of a tenant that begin with prefix->key and come after `after` (may be empty) in byte
     * order; at most cap bytes of records, to be read with gt_list_next; count says how many. Less
     * than everything was brought back when value is 1: go on after the last. */
    int (*list)(struct gt *, const struct gt_key *prefix, const void *after, size_t after_len,
                size_t cap, struct gt_callback, struct error *);

    /* Waits for the key's lock up to timeout_ns (0: -ATOLL_EAGAIN instead of waiting;
     * -ATOLL_ETIMEDOUT). First come, first served; readers that follow each other share it. value:
     * the token, larger than every token before. It is lost lease_ns after it was got or renewed.
     * The owner holds it already or waits for it: -ATOLL_EDEADLK. The key need not exist. */
    int (*lock)(struct gt *, const struct gt_key *, enum gt_lock_mode, uint64_t owner,
                uint64_t lease_ns, uint64_t timeout_ns, struct gt_callback, struct error *);
    /* -ATOLL_ESTALE: lost. */
    int (*renew)(struct gt *, const struct gt_key *, uint64_t token, uint64_t lease_ns,
                 struct gt_callback, struct error *);
    int (*unlock)(struct gt *, const struct gt_key *, uint64_t token, struct gt_callback,
                  struct error *);

    /* Makes the object unless it exists, then arg counts no longer: counter: where it starts;
     * latch: count; barrier: parties; semaphore: permits; queue: capacity (0: GT_ITEMS_MAX);
     * others: 0. -ATOLL_ETYPE when it exists with another type. Opening a barrier makes the owner
     * one of its parties until owner_end. Objects and values have separate keys. */
    int (*object_open)(struct gt *, const struct gt_key *, enum gt_object_type, int64_t arg,
                       uint64_t owner, struct gt_callback, struct error *);
    /* -ATOLL_ENOENT, -ATOLL_ETYPE when it has another type, -ATOLL_ENOSYS for an unknown op,
     * -ATOLL_ESIZE beyond GT_OBJECT_BYTES_MAX, -ATOLL_ECANCELED by owner_end, -ATOLL_ELOST at a
     * barrier one of whose parties ended without another taking its place for 10 s. */
    int (*object)(struct gt *, const struct gt_key *, enum gt_object_type,
                  const struct gt_object_call *, struct gt_callback, struct error *);
    /* Who waits there gets -ATOLL_ESTALE. -ATOLL_ENOENT. */
    int (*object_delete)(struct gt *, const struct gt_key *, struct gt_callback, struct error *);

    /* The owner (a call) ended, in whatever way: its locks are released, what it waits for ends
     * with -ATOLL_ECANCELED, barriers it takes part in lose a party. */
    int (*owner_end)(struct gt *, uint64_t owner, struct gt_callback, struct error *);

    /* Calls the watcher on the owner's thread after each change of a key of this tenant that begins
     * with prefix->key (may be empty), just before the change's own callback. Brings the number to
     * unwatch with; a watcher may unwatch. At most GT_WATCHES_MAX. */
    int (*watch)(struct gt *, const struct gt_key *prefix, gt_watcher, void *context,
                 uint64_t *number, struct error *);
    void (*unwatch)(struct gt *, uint64_t number);
};

#define GT_WATCHES_MAX 4096

/* Every back end begins with this. */
struct gt {
    const struct gt_ops *ops;
};

/* The next record of a list: advances *at (begin with 0) within data of len bytes. False at the
 * end. Record: u64 size, u64 version, u32 entries (saturated), u32 key length, key. */
struct gt_listed {
    uint64_t size, version;
    uint32_t entries, key_len;
    const uint8_t *key;
};

#define GT_LISTED_HEAD 24u

static inline bool gt_list_next(const uint8_t *data, size_t len, size_t *at, struct gt_listed *out)
{
    if (*at > len || len - *at < GT_LISTED_HEAD)
        return false;
    const uint8_t *p = data + *at;
    *out = (struct gt_listed){.size = load_u64(p),
                              .version = load_u64(p + 8),
                              .entries = load_u32(p + 16),
                              .key_len = load_u32(p + 20),
                              .key = p + GT_LISTED_HEAD};
    if (out->key_len > len - *at - GT_LISTED_HEAD)
        return false;
    *at += GT_LISTED_HEAD + out->key_len;
    return true;
}

#endif
