/* Operations handed from thread to thread, first in, first out. Any thread may put and take. */
#ifndef STORE_MAILBOX_H
#define STORE_MAILBOX_H

#include "store/operation.h"

#include <pthread.h>

struct operation_list {
    struct operation *first, *last;
};

static inline void operation_list_add(struct operation_list *list, struct operation *op)
{
    op->next = NULL;
    if (list->last)
        list->last->next = op;
    else
        list->first = op;
    list->last = op;
}

struct mailbox {
    pthread_mutex_t mutex;
    pthread_cond_t arrived; /* by CLOCK_MONOTONIC */
    struct operation_list list;
    unsigned takers_waiting;
    bool closed;
};

void mailbox_init(struct mailbox *);
void mailbox_free(struct mailbox *);
void mailbox_put(struct mailbox *, struct operation *);
/* No more will be put; who waits returns. */
void mailbox_close(struct mailbox *);
/* Takes all there are, waiting for the first until a moment of CLOCK_MONOTONIC (0: not at all,
 * DEADLINE_NEVER: without end). *closed says whether no more will come. */
struct operation *mailbox_take_all(struct mailbox *, uint64_t until_ns, bool *closed);
/* Waits for one; NULL when closed and empty. */
struct operation *mailbox_take(struct mailbox *);

/* Makes a condition that waits by CLOCK_MONOTONIC. */
void condition_init(pthread_cond_t *);

#endif
