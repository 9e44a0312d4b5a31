/* The way back to the owner; see completions.h. */
#define _GNU_SOURCE
#include "store/completions.h"

void completions_init(struct completions *c, void (*wake)(void *), void *wake_context)
{
    *c = (struct completions){.wake = wake, .wake_context = wake_context};
    pthread_mutex_init(&c->mutex, NULL);
    condition_init(&c->changed);
}

void completions_free(struct completions *c)
{
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->mutex);
}

void completions_add(struct completions *c, struct operation_list *ready,
                     struct operation **released, uint64_t waiting)
{
    pthread_mutex_lock(&c->mutex);
    bool idle = !c->ready.first && !c->released;
    bool something = ready->first || *released;
    if (ready->first) {
        if (c->ready.last)
            c->ready.last->next = ready->first;
        else
            c->ready.first = ready->first;
        c->ready.last = ready->last;
        *ready = (struct operation_list){0};
    }
    while (*released) {
        struct operation *op = *released;
        *released = op->next_released;
        op->next_released = c->released;
        c->released = op;
    }
    if (waiting != UINT64_MAX)
        c->waiting = waiting;
    if (c->owner_waits)
        pthread_cond_signal(&c->changed);
    pthread_mutex_unlock(&c->mutex);
    if (idle && something && c->wake)
        c->wake(c->wake_context);
}

struct operation *completions_take(struct completions *c, struct operation **released)
{
    pthread_mutex_lock(&c->mutex);
    struct operation *first = c->ready.first;
    c->ready = (struct operation_list){0};
    *released = c->released;
    c->released = NULL;
    pthread_mutex_unlock(&c->mutex);
    return first;
}

bool completions_wait(struct completions *c, uint64_t uncalled)
{
    pthread_mutex_lock(&c->mutex);
    c->owner_waits = true;
    while (!c->ready.first && uncalled > c->waiting)
        pthread_cond_wait(&c->changed, &c->mutex);
    c->owner_waits = false;
    bool ready = c->ready.first != NULL;
    pthread_mutex_unlock(&c->mutex);
    return ready;
}

uint64_t completions_waiting(struct completions *c)
{
    pthread_mutex_lock(&c->mutex);
    uint64_t waiting = c->waiting;
    pthread_mutex_unlock(&c->mutex);
    return waiting;
}
