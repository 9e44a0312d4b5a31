/*
 * One operation on its way: from the owner's thread to the writer or a reader and back. One
 * allocation holds the operation, its key and what it carries; results may add a buffer.
 *
 * It comes back up to two times: *ready*, when its callback can run, and *released*, when what it
 * wrote is on disk (or it wrote nothing, or failed). The owner frees it after both.
 */
#ifndef STORE_OPERATION_H
#define STORE_OPERATION_H

#include "store/deadlines.h"
#include "store/environment.h"
#include "store/index.h"
#include "store/links.h"
#include "store/store.h"

enum operation_kind {
    OPERATION_STAT,
    OPERATION_GETRANGE,
    OPERATION_ENTRIES,
    OPERATION_LIST,
    OPERATION_GET,
    OPERATION_LIST_RECORDS,
    OPERATION_LAST_READ = OPERATION_LIST_RECORDS,
    OPERATION_COMMIT,
    OPERATION_APPEND,
    OPERATION_CLEAR,
    OPERATION_DELETE,
    OPERATION_WRITE,
    OPERATION_OBJECT_OPEN,
    OPERATION_OBJECT,
    OPERATION_OBJECT_DELETE,
    OPERATION_LAST_CHANGE = OPERATION_OBJECT_DELETE,
    OPERATION_LOCK,
    OPERATION_RENEW,
    OPERATION_UNLOCK,
    OPERATION_OWNER_END,
    OPERATION_SYNC,
    OPERATION_TICK,
};

/* Full keys of values and objects: tenant, NUL, key. */
#define FULL_KEY_MAX (GT_TENANT_MAX + 1 + GT_KEY_MAX)

struct operation {
    struct operation *next;          /* in a mailbox, or among the ready */
    struct operation *next_member;   /* in the writer's batch */
    struct operation *next_released; /* among the released */
    enum operation_kind kind;
    uint32_t flags;
    struct gt_callback callback;
    uint8_t *key; /* full key, or a record's key */
    uint32_t key_len, tenant_len;
    size_t charged;  /* bytes counted as outstanding */
    size_t weight;   /* about how many bytes it writes */
    uint32_t tables; /* of records, as bits by enum store_table */
    bool pending;    /* the owner's: counted as not on disk yet */
    bool called;     /* the owner's: its callback ran */

    union {
        struct {
            uint64_t since;
            const struct gt_span *spans;
            uint32_t count;
        } getrange;
        struct {
            uint64_t from;
            uint32_t max;
            size_t cap;
        } entries;
        struct {
            enum environment_table table;
            const uint8_t *after;
            size_t after_len, cap;
        } list;                  /* also get: table */
        struct gt_commit commit; /* ranges and bytes are the operation's, or lent */
        struct {
            const void *bytes;
            size_t len;
        } append;
        struct {
            const struct store_write *writes;
            uint32_t count;
        } write;
        struct {
            enum gt_object_type type;
            int64_t arg;
            uint64_t owner;
        } open;
        struct {
            enum gt_object_type type;
            struct gt_object_call call;
            struct links waiting, owned; /* while it waits: at its object, for its owner */
            struct deadline deadline;
            struct live *live;
        } object;
        struct {
            enum gt_lock_mode mode;
            uint64_t owner, token, lease_ns, timeout_ns;
        } lock; /* also renew, unlock, owner_end */
    };

    struct gt_result result;
    struct buffer out; /* result.data, extents or lens */
    struct error *error;
};

/* With room for `carried` bytes behind it (8-byte aligned); NULL when memory is missing. */
struct operation *operation_create(enum operation_kind, size_t carried);
void operation_free(struct operation *);
/* The carried bytes. */
void *operation_carried(struct operation *);

/* Ends with this code and a copy of the error. Returns the code. */
int operation_fail(struct operation *, int code, const struct error *);
/* Makes out the result's data. */
void operation_data(struct operation *);

static inline bool operation_reads(const struct operation *op)
{
    return op->kind <= OPERATION_LAST_READ;
}

static inline bool operation_changes(const struct operation *op)
{
    return op->kind > OPERATION_LAST_READ && op->kind <= OPERATION_LAST_CHANGE;
}

#endif
