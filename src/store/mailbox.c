/* Mailboxes; see mailbox.h. A put wakes a taker only when one sleeps: a busy writer costs the owner
 * no system call. */
#define _GNU_SOURCE
#include "store/mailbox.h"

#include <errno.h>
#include <time.h>

void condition_init(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
}

/* The caller holds the mutex. False when the moment passed. */
static bool condition_wait(pthread_cond_t *condition, pthread_mutex_t *mutex, uint64_t until_ns)
{
    if (until_ns == DEADLINE_NEVER)
        return pthread_cond_wait(condition, mutex) == 0;
    struct timespec until = {.tv_sec = (time_t)(until_ns / 1000000000),
                             .tv_nsec = (long)(until_ns % 1000000000)};
    return pthread_cond_timedwait(condition, mutex, &until) != ETIMEDOUT;
}

void mailbox_init(struct mailbox *m)
{
    *m = (struct mailbox){0};
    pthread_mutex_init(&m->mutex, NULL);
    condition_init(&m->arrived);
}

void mailbox_free(struct mailbox *m)
{
    pthread_cond_destroy(&m->arrived);
    pthread_mutex_destroy(&m->mutex);
}

void mailbox_put(struct mailbox *m, struct operation *op)
{
    pthread_mutex_lock(&m->mutex);
    operation_list_add(&m->list, op);
    if (m->takers_waiting > 0)
        pthread_cond_signal(&m->arrived);
    pthread_mutex_unlock(&m->mutex);
}

void mailbox_close(struct mailbox *m)
{
    pthread_mutex_lock(&m->mutex);
    m->closed = true;
    pthread_cond_broadcast(&m->arrived);
    pthread_mutex_unlock(&m->mutex);
}

struct operation *mailbox_take_all(struct mailbox *m, uint64_t until_ns, bool *closed)
{
    pthread_mutex_lock(&m->mutex);
    while (!m->list.first && !m->closed && until_ns > 0) {
        m->takers_waiting++;
        bool more = condition_wait(&m->arrived, &m->mutex, until_ns);
        m->takers_waiting--;
        if (!more)
            break;
    }
    struct operation *first = m->list.first;
    m->list = (struct operation_list){0};
    *closed = m->closed;
    pthread_mutex_unlock(&m->mutex);
    return first;
}

struct operation *mailbox_take(struct mailbox *m)
{
    pthread_mutex_lock(&m->mutex);
    while (!m->list.first && !m->closed) {
        m->takers_waiting++;
        condition_wait(&m->arrived, &m->mutex, DEADLINE_NEVER);
        m->takers_waiting--;
    }
    struct operation *op = m->list.first;
    if (op) {
        m->list.first = op->next;
        if (!op->next)
            m->list.last = NULL;
        else if (m->takers_waiting > 0)
            pthread_cond_signal(&m->arrived);
    }
    pthread_mutex_unlock(&m->mutex);
    return op;
}
