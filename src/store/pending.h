/*
 * What is on its way to the disk, as the owner's thread counts it: so that a read goes straight to
 * a reader when nothing it could see is missing there, and behind the writes otherwise. Keys and
 * tenants are counted by hash: two in one slot cost a detour, never a wrong answer. Records are
 * counted by table.
 */
#ifndef STORE_PENDING_H
#define STORE_PENDING_H

#include "store/operation.h"

#define PENDING_KEYS    4096u
#define PENDING_TENANTS 256u

struct pending {
    uint32_t keys[PENDING_KEYS], tenants[PENDING_TENANTS], tables[STORE_TABLES];
    struct index hash; /* for its seed */
};

bool pending_init(struct pending *);
void pending_free(struct pending *);
/* Counts an operation that changes something, until pending_remove. */
void pending_add(struct pending *, struct operation *);
void pending_remove(struct pending *, struct operation *);
/* Must this read wait behind writes? */
bool pending_before(const struct pending *, const struct operation *);

#endif
