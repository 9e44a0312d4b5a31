/*
 * The backlog: the entries of the ledger that a checkpoint of others let us leave out (install.c),
 * fetched in the background, oldest first, and kept without being executed.
 *
 * Evidence among the entries vouches for them, as in transfer.c; what stands at the end of the gap
 * is vouched for by the frontier that our ledger goes on from. A piece every 100 ms, so that what
 * is new has the right of way. After a stop it goes on behind what the log has (env->gap).
 *
 *   ledger   | what we had |  fetched → … gap …  | the checkpoint's batches and what follows |
 *                          env->gap's `from`     `goal`
 */
#include "ledger/replica/core.h"

#define PIECE_BYTES (1u << 20)
#define PAUSE_US    10000000 /* after the log could not take an entry: its disk may be full */

static void backlog_end(struct ledger_replica *r)
{
    struct fragment *f = &r->backlog.fragment;
    r->backlog.active = false;
    buffer_free(&f->entries);
    f->held = 0;
    f->generation++;
}

/* Asks the log for the oldest gap, if there is one, and goes on filling it. */
void backlog_start(struct ledger_replica *r)
{
    struct backlog *b = &r->backlog;
    struct merkle_frontier from;
    if (!r->env.gap || !r->env.gap(r->env.context, &from, &b->goal)) {
        if (b->active)
            backlog_end(r);
        if (r->abstain_doubt) { /* all of the ledger is here: what we signed is in it, or not */
            r->abstain_doubt = false;
            if (r->abstain_view == r->view)
                r->abstain_view = UINT64_MAX;
            rule_abstain(r, r->view);
        }
        return;
    }
    if (!b->active)
        b->fragment.source = (uint16_t)((r->self + 1) % r->n);
    b->active = true;
    fragment_begin(r, &b->fragment, &from);
}

/* Entries up to the offset are vouched for: the log takes them. */
static void backlog_keep(struct ledger_replica *r, size_t offset)
{
    struct error e;
    struct fragment *f = &r->backlog.fragment;
    struct walk w = walk_start(f);
    const uint8_t *end = w.at + offset;
    while (w.at < end && walk_next(&w)) {
        int rc = r->env.history(r->env.context, w.type, w.payload, &e);
        if (rc == -ATOLL_ECORRUPT) {
            /* It leads from our own history to a checkpoint that a quorum vouched for, and does not
             * fit it: more than f replicas lie. */
            replica_stop(r, "the history before a checkpoint does not lead to it");
            return;
        }
        if (rc) {
            snprintf(r->refusal, sizeof r->refusal, "older history is not fetched: %.180s", e.text);
            r->backlog.paused_until = r->env.now_us(r->env.context) + PAUSE_US;
            break;
        }
    }
    backlog_start(r); /* from where the log is now, or it is done */
}

/* Whether the entries held reach the goal: the end of the last one before it in *offset. False
 * also when they do not fit it, and *misfit says so. */
static bool backlog_reaches(const struct ledger_replica *r, size_t *offset, bool *misfit)
{
    const struct backlog *b = &r->backlog;
    struct merkle_frontier f = b->fragment.before;
    struct error e;
    *misfit = false;
    if (f.size + b->fragment.held < b->goal.size)
        return false;
    for (struct walk w = walk_start(&b->fragment); f.size < b->goal.size && walk_next(&w);) {
        struct merkle_hash leaf = ledger_entry_leaf(w.type, w.payload);
        if (merkle_frontier_append(&f, &leaf, &e))
            break;
        *offset = (size_t)(w.at - b->fragment.entries.data);
    }
    *misfit = !merkle_frontier_equal(&f, &b->goal);
    return !*misfit;
}

static void backlog_examine(struct ledger_replica *r)
{
    struct fragment *f = &r->backlog.fragment;
    struct ledger_pp pp;
    struct slice evidence;
    size_t offset = 0;
    bool misfit;
    if (f->job_out)
        return;
    if (backlog_reaches(r, &offset, &misfit)) {
        backlog_keep(r, offset);
        return;
    }
    struct stop stop = fragment_find_evidence(r, f, &pp, &evidence);
    if (misfit || (stop.found && !fragment_check(r, f, &pp, evidence)))
        fragment_ban(r, f);
}

void backlog_verified(struct ledger_replica *r, struct job *job)
{
    struct fragment *f = &r->backlog.fragment;
    struct stop stop;
    if (!r->backlog.active)
        return;
    if (!fragment_checked(r, f, job, &stop))
        fragment_ban(r, f);
    else if (!stop.found)
        backlog_examine(r);
    else if (fragment_holds(f, &stop))
        backlog_keep(r, stop.offset);
    else
        fragment_ban(r, f);
}

/* The signatures of the entries that came last have been checked. */
void backlog_entries_checked(struct ledger_replica *r, bool valid)
{
    if (!r->backlog.active)
        return;
    if (valid)
        backlog_examine(r);
    else
        fragment_ban(r, &r->backlog.fragment);
}

void backlog_entries(struct ledger_replica *r, const struct ledger_entries *m)
{
    struct fragment *f = &r->backlog.fragment;
    size_t before = f->entries.len;
    f->asked_at = r->env.now_us(r->env.context);
    if (!fragment_take(r, f, m->entries))
        fragment_ban(r, f);
    else if (!fragment_check_signatures(r, f, before))
        backlog_examine(r);
}

/* Every 100 ms: the next piece, from the next peer if this one is silent. */
void backlog_again(struct ledger_replica *r)
{
    struct backlog *b = &r->backlog;
    struct fragment *f = &b->fragment;
    uint64_t now = r->env.now_us(r->env.context);
    if (!b->active || now < b->paused_until || f->job_out ||
        (!f->waiting && now < f->asked_at + FETCH_AGAIN_US) ||
        f->before.size + f->held >= b->goal.size)
        return;
    if (f->waiting && now >= f->asked_at + BACKLOG_SILENCE_US) {
        fragment_other_source(r, f);
        fragment_begin(r, f, &f->before);
    } else if (f->waiting) {
        return;
    } else if (now >= f->begun_at + TRANSFER_STALL_US) {
        fragment_ban(r, f);
    }
    fragment_ask(r, f, b->goal.size, PIECE_BYTES, NULL);
}
