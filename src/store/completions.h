/* What is ready for the owner: filled by the writer and the readers, emptied by store_complete. */
#ifndef STORE_COMPLETIONS_H
#define STORE_COMPLETIONS_H

#include "store/mailbox.h"

struct completions {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct operation_list ready;
    struct operation *released; /* by next_released, newest first */
    uint64_t waiting;           /* operations that wait for a lock or at an object */
    bool owner_waits;
    void (*wake)(void *context);
    void *wake_context;
};

void completions_init(struct completions *, void (*wake)(void *), void *wake_context);
void completions_free(struct completions *);
/* Adds whole lists (either may be empty) and says how many operations wait now (UINT64_MAX: as
 * before); wakes the owner when there was nothing before. The lists are empty afterwards. */
void completions_add(struct completions *, struct operation_list *ready,
                     struct operation **released, uint64_t waiting);
/* Takes everything. */
struct operation *completions_take(struct completions *, struct operation **released);
/* Blocks until a callback can run; false when none can, because all `uncalled` operations wait
 * for a lock or at an object. */
bool completions_wait(struct completions *, uint64_t uncalled);
uint64_t completions_waiting(struct completions *);

#endif
