/*
 * The order in which things happen to a value: pushes, refreshes, changes of size and deletions
 * take turns, in the order in which they were asked for (tier.h). Pulls of missing chunks run
 * beside them, except beside exclusive ones.
 */
#include "state/tier.h"

#include <assert.h>

bool line_forbids_pulls(const struct replica *v)
{
    return !TAILQ_EMPTY(&v->line) && TAILQ_FIRST(&v->line)->exclusive;
}

/* A loop, not recursion: a task may end before its start returns. */
static void line_run(struct replica *v)
{
    if (v->line_looping)
        return;
    v->line_looping = true;
    replica_pin(v); /* a task that ends may be the last to hold it */
    struct task *task;
    while (!v->line_running && (task = TAILQ_FIRST(&v->line)) && !(task->exclusive && v->pulls)) {
        v->line_running = true;
        task->start(task);
    }
    v->line_looping = false;
    replica_unpin(v);
}

void line_enter(struct replica *v, struct task *task, void (*start)(struct task *), bool exclusive)
{
    *task = (struct task){.value = v, .start = start, .exclusive = exclusive};
    replica_pin(v);
    TAILQ_INSERT_TAIL(&v->line, task, link);
    line_run(v);
}

void line_leave(struct task *task)
{
    struct replica *v = task->value;
    assert(v->line_running && TAILQ_FIRST(&v->line) == task);
    bool was_exclusive = task->exclusive;
    TAILQ_REMOVE(&v->line, task, link);
    v->line_running = false;
    line_run(v);
    if (was_exclusive)
        pull_kick(v);
    replica_unpin(v);
}

void line_pull_ended(struct replica *v)
{
    line_run(v);
}
