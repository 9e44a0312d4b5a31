/*
 * The living side of objects: who waits at them, and who takes part in barriers. Pure memory, no
 * disk, no clock of its own; lost when the node ends, together with those who waited.
 *
 * An object has a struct live as long as somebody waits at it or, for a barrier, takes part in it.
 */
#ifndef STORE_LIVE_H
#define STORE_LIVE_H

#include "store/mailbox.h"

struct live {
    struct index_node node;
    struct links waiting; /* operations, first come first */
    uint32_t waiting_count;
    struct links parties;   /* of a barrier: owners that opened it and live */
    uint32_t lost;          /* parties that ended and were not replaced */
    uint64_t lost_ns;       /* when the last of them did */
    uint64_t first_ns;      /* when the first of those that wait arrived */
    struct deadline broken; /* when a barrier gives up its lost parties */
    struct links to_serve;  /* in the table's list: somebody left the line */
    uint64_t id;
    uint32_t key_len;
    uint8_t key[]; /* the object's full key */
};

struct live_table {
    struct index lives, owners;
    struct deadlines deadlines;
    struct links to_serve; /* lives whose first waiter may have become able to go on */
    struct operation_list answered;
    uint32_t waiting, members; /* members: of all barriers */
};

bool live_table_init(struct live_table *);
/* Everything that waits was ended before. */
void live_table_free(struct live_table *);

/* NULL when nobody waits there. */
struct live *live_find(struct live_table *, uint64_t id);

/* Has the operation wait at the object until it is answered. -ATOLL_EAGAIN when it does not want to
 * wait, -ATOLL_ELIMIT, -ATOLL_ENOMEM; OBJECT_WAITS. */
#define OBJECT_WAITS 1
int live_wait(struct live_table *, uint64_t id, struct operation *, uint64_t now_ns,
              struct error *);
/* Ends a wait. The caller has set the result; code as in gt_result, with a sentence when negative.
 */
void live_answer(struct live_table *, struct operation *, int code, const char *sentence);
/* Makes the owner a party of a barrier, once; it takes the place of a lost one. */
int live_join(struct live_table *, uint64_t id, const struct operation *, uint64_t owner,
              struct error *);
/* All parties of a barrier have arrived: answers those that wait with their ranks. */
void live_release(struct live_table *, struct live *);
/* The object is gone. */
void live_delete(struct live_table *, uint64_t id);

void live_owner_end(struct live_table *, uint64_t owner, uint64_t now_ns);
void live_expire(struct live_table *, uint64_t now_ns);
/* Ends every wait with -ATOLL_ECANCELED. */
void live_cancel_all(struct live_table *);
static inline uint64_t live_next(const struct live_table *t)
{
    return deadlines_next(&t->deadlines);
}

#endif
