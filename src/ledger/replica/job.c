/* Verify jobs: those that are out, so that everything can be freed at any moment, and spare ones.
 */
#include "ledger/replica/core.h"

bool job_room(struct job *job, size_t room)
{
    if (room <= job->capacity)
        return true;
    size_t capacity = job->capacity ? job->capacity : 64;
    while (capacity < room)
        capacity *= 2;
    /* One after the other: what has grown is kept, and used once all have. */
    void *grown;
    if (!(grown = realloc(job->items, capacity * sizeof *job->items)))
        return false;
    job->items = grown;
    if (!(grown = realloc(job->valid, capacity * sizeof *job->valid)))
        return false;
    job->valid = grown;
    if (!(grown = realloc(job->subjects, capacity * sizeof *job->subjects)))
        return false;
    job->subjects = grown;
    if (!(grown = realloc(job->references, capacity * sizeof *job->references)))
        return false;
    job->references = grown;
    if (!(grown = realloc(job->copies, capacity * sizeof *job->copies)))
        return false;
    job->copies = grown;
    job->capacity = capacity;
    return true;
}

static void job_free(struct job *job)
{
    free(job->items);
    free(job->valid);
    free(job->subjects);
    free(job->references);
    free(job->copies);
    free(job);
}

/* An empty job with room for so many items; NULL: no memory. */
struct job *job_take(struct ledger_replica *r, enum job_kind kind, size_t room)
{
    struct job *job = r->jobs_spare;
    if (job)
        r->jobs_spare = job->next;
    else if (!(job = calloc(1, sizeof *job)))
        return NULL;
    job->kind = kind;
    job->count = job->subject_count = 0;
    job->subject = NULL;
    job->base.suspect = false;
    job->next = r->jobs_out;
    job->previous = NULL;
    if (job->next)
        job->next->previous = job;
    r->jobs_out = job;
    if (!job_room(job, room)) {
        job_give(r, job);
        return NULL;
    }
    return job;
}

void job_give(struct ledger_replica *r, struct job *job)
{
    if (job->previous)
        job->previous->next = job->next;
    else
        r->jobs_out = job->next;
    if (job->next)
        job->next->previous = job->previous;
    job->previous = NULL;
    job->next = r->jobs_spare;
    r->jobs_spare = job;
}

void job_send(struct ledger_replica *r, struct job *job)
{
    memset(job->valid, 0, job->count * sizeof *job->valid);
    job->base.items = job->items;
    job->base.valid = job->valid;
    job->base.count = job->count;
    job->base.purpose = job;
    r->env.verify(r->env.context, &job->base);
}

void ledger_on_verified(struct ledger_replica *r, struct ledger_verify_job *base)
{
    struct job *job = base->purpose;
    switch (job->kind) {
    case JOB_REQUESTS: pool_verified(r, job); break;
    case JOB_VOTES: vote_verified(r, job); break;
    case JOB_INCOMING: accept_verified(r, job); break;
    case JOB_VIEW_CHANGE: view_change_verified(r, job); break;
    case JOB_NEW_VIEW: new_view_verified(r, job); break;
    case JOB_EVIDENCE: fetch_evidence_verified(r, job); break;
    case JOB_TRANSFER: transfer_verified(r, job); break;
    case JOB_CONFLICT: conflict_verified(r, job); break;
    }
    job_give(r, job);
}

void job_free_all(struct ledger_replica *r)
{
    for (struct job *job = r->jobs_out, *next; job; job = next) {
        next = job->next;
        job_free(job);
    }
    for (struct job *job = r->jobs_spare, *next; job; job = next) {
        next = job->next;
        job_free(job);
    }
}
