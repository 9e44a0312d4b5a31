/*
 * The signatures of requests, on their way to be checked: one job of them at a time is filled.
 *
 * A signature costs the less the more are checked at once, and before the next batch is made nobody
 * needs the verdict. So the primary gathers requests while batches are under way: until these are
 * prepared, for they are committed when the verdicts are back; or until enough wait for a batch
 * beside them (propose_worth). Others get few requests and do not gather them.
 */
#include "ledger/replica/core.h"

#define TOGETHER 96u /* signatures: more at once are hardly cheaper */
#define LEAD_US  500 /* before the next batch may be made (propose_paced) */

/* Puts the signature that is left to check into the job at hand; members of one bundle share it. */
bool gather_add(struct ledger_replica *r, struct pooled *p, const struct ledger_signature *left)
{
    struct job **at = p->suspect ? &r->suspect_job : &r->request_job;
    if (!*at && !(*at = job_take(r, JOB_REQUESTS, 256)))
        return false;
    struct job *job = *at;
    if (!job_room(job, job->subject_count + 1))
        return false;
    const struct ledger_signature *last = job->count ? &job->items[job->count - 1] : NULL;
    if (!last || memcmp(last->hash, left->hash, HASH_LEN) ||
        memcmp(last->signature, left->signature, ED25519_SIGNATURE_LEN) ||
        memcmp(last->public_key, left->public_key, ED25519_KEY_LEN))
        job->items[job->count++] = *left;
    job->references[job->subject_count].s = job->count - 1;
    job->subjects[job->subject_count++] = p;
    job->base.suspect = p->suspect;
    return true;
}

/* Until when nothing is checked on account of the pace of batches; 0: it may be. */
uint64_t gather_paced(const struct ledger_replica *r)
{
    uint64_t paced = r->request_job ? propose_paced(r) : 0;
    return paced > LEAD_US ? paced - LEAD_US : 0;
}

static bool gather_over(const struct ledger_replica *r)
{
    const struct job *job = r->request_job;
    if (!in_view(r) || !is_primary(r) || job->count >= TOGETHER)
        return true;
    if (r->request_jobs_out || r->env.now_us(r->env.context) < gather_paced(r))
        return false;
    return r->last == r->prepared || propose_worth(r, r->pool.ready.count + job->subject_count);
}

/* Sends what was gathered to be checked, if it is time. What comes from those who sent bad ones
 * does not wait: it is checked last, and apart. */
void gather_settle(struct ledger_replica *r)
{
    if (r->request_job && gather_over(r)) {
        r->request_jobs_out++;
        job_send(r, r->request_job);
        r->request_job = NULL;
    }
    if (r->suspect_job)
        job_send(r, r->suspect_job);
    r->suspect_job = NULL;
}
