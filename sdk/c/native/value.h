/*
 * Values of state: the bytes of both tiers, versions, dirty intervals, merging, entries, locks.
 *
 * The local tier is a memfd, so that calls can map any part of it with any rights and all see the
 * same bytes. It never becomes shorter, and what is behind `size` is zero. `base` is what the
 * global tier had at the last pull or push of each byte: a push with ADD sends local - base, and
 * TRACK finds what differs. The global tier is a second buffer with its own version and size.
 */
#ifndef ATOLL_NATIVE_VALUE_H
#define ATOLL_NATIVE_VALUE_H

#include "interval.h"
#include "node.h"

#define VALUE_BYTES_MAX   (UINT64_C(1) << 32) /* the shim's limit; Atoll's is larger */
#define VALUE_ENTRIES_MAX (1u << 20)
#define VALUE_MERGES_MAX  1024u

struct merge_range {
    uint64_t start, end;
    uint32_t op;
};

struct lock_holder {
    struct lock_holder *next;
    struct native_call *call;
    atoll_h handle;
    uint32_t mode;
    bool granted;
};

/* First come, first served: holders and waiters in order of arrival. */
struct value_lock {
    struct lock_holder *queue;
    uint64_t token;
};

struct entry {
    uint8_t *bytes;
    uint64_t len;
};

struct value {
    struct value *next;
    struct atoll_native *node;
    uint8_t key[ATOLL_KEY_MAX];
    uint32_t key_len;
    uint32_t references; /* the table's and those of handles */
    bool deleted, local_only, track;

    int memfd;
    uint8_t *local; /* the whole of it, mapped */
    uint64_t capacity, size, version;
    bool present;       /* the local tier has bytes */
    bool size_changed;  /* to be pushed */
    struct buffer base; /* `size` bytes */
    struct interval_set dirty;
    struct merge_range merges[VALUE_MERGES_MAX];
    uint32_t merge_count;

    bool global_exists;
    struct buffer global;
    uint64_t global_version;
    struct entry *entries;
    uint64_t entry_count, entry_capacity;

    struct value_lock locks[2]; /* by scope */
};

/* By key, or NULL. */
struct value *value_find(struct atoll_native *, const void *key, uint32_t len);
/* A new one, in the table, without bytes; NULL when memory is lacking. */
struct value *value_new(struct atoll_native *, const void *key, uint32_t len);
void value_retain(struct value *);
void value_release(struct value *);
void value_delete(struct value *); /* takes it out of the table */
void values_free(struct atoll_native *);

/* All return 0 or -ATOLL_E…; ranges have been checked by the caller. */
int value_present(struct value *); /* pulls the whole value if nothing is here */
int value_resize(struct value *, uint64_t size);
int value_pull(struct value *, uint64_t off, uint64_t end, bool discard);
int64_t value_push(struct value *, uint64_t off, uint64_t end, uint32_t flags);
int value_merge(struct value *, uint64_t off, uint64_t end, uint32_t op);
int64_t value_append(struct value *, const void *, uint64_t len);
void value_entries_clear(struct value *);
/* Makes bytes the whole global value, as another node would. */
int value_global_put(struct value *, const void *, uint64_t len);

/* ---- lock.c ---- */
int64_t lock_take(struct native_call *, struct value *, atoll_h, uint32_t mode, uint32_t scope,
                  uint64_t timeout_ns);
/* The call's lock, whatever its handle (-1) or of one handle. Whether there was one. */
bool lock_give(struct native_call *, struct value *, atoll_h, uint32_t scope);

#endif
