/*
 * Timers: the view's, retransmission, idling, fetching again.
 *
 * The view timer of a backup runs while something should happen that only the primary can do: a
 * request waits that can be executed, a batch lacks evidence, a pp was refused, a NewView cannot be
 * followed; that of a primary when it abstains and a request waits. It starts anew when a batch
 * commits; its length doubles with every view change in a row. After a ViewChange it runs only once
 * Q replicas have asked for that view or later ones, so that nobody runs ahead alone (§6).
 */
#include "ledger/replica/core.h"

/* Whether Q nonces, with the primary's, are here for this batch. */
static bool slot_is_settled(struct ledger_replica *r, struct slot *slot)
{
    return vote_evidence(r, slot);
}

/* … for every batch. */
static bool settled(struct ledger_replica *r)
{
    uint64_t first = r->last > r->pipeline ? r->last - r->pipeline + 1 : 1;
    for (uint64_t s = first; s <= r->last; s++) {
        struct slot *slot = slot_in_ledger(r, s);
        if (s > r->hollow && (!slot || !vote_evidence(r, slot)))
            return false;
    }
    return true;
}

static void timer_at(struct ledger_replica *r, enum ledger_timer id, bool *set, uint64_t wait)
{
    if (*set)
        return;
    *set = true;
    r->env.timer_set(r->env.context, id, r->env.now_us(r->env.context) + wait);
}

static void timer_off(struct ledger_replica *r, enum ledger_timer id, bool *set)
{
    if (*set)
        r->env.timer_set(r->env.context, id, 0);
    *set = false;
}

static bool view_timer_due(struct ledger_replica *r, bool all_settled)
{
    if (r->pending.state != PENDING_NONE)
        return true;
    if (r->view_change_sent > r->view)
        return view_changes_at_least(r, r->view_change_sent) >= r->quorum;
    if (is_primary(r)) /* one that proposes nothing any more makes room for another */
        return r->abstain_view == r->view && pool_has_executable(r);
    return r->pp_rejected || !all_settled || pool_has_executable(r) || r->last < r->plan_end;
}

uint64_t view_timer_length(const struct ledger_replica *r)
{
    unsigned doublings = r->view_changes_in_a_row < VIEW_TIMEOUT_DOUBLINGS
                             ? r->view_changes_in_a_row
                             : VIEW_TIMEOUT_DOUBLINGS;
    return r->configuration->view_timeout_us << doublings;
}

/* A batch committed: the timer starts anew; with its first length only if no earlier view had
 * committed the batch, or views too short to get beyond their plans would follow for ever. */
void timer_progress(struct ledger_replica *r, bool fresh)
{
    if (fresh)
        r->view_changes_in_a_row = 0;
    timer_off(r, LEDGER_TIMER_VIEW, &r->view_timer_set);
    r->retransmit_wait = RETRANSMIT_FIRST_US;
}

void timers_settle(struct ledger_replica *r)
{
    bool all_settled = settled(r);
    bool leaving = r->view_change_sent > r->view || r->pending.state != PENDING_NONE;
    if (view_timer_due(r, all_settled) && !r->stopped)
        timer_at(r, LEDGER_TIMER_VIEW, &r->view_timer_set, view_timer_length(r));
    else
        timer_off(r, LEDGER_TIMER_VIEW, &r->view_timer_set);
    bool open = !all_settled || r->committed < r->last || leaving || r->last < r->plan_end ||
                r->catching_up || r->quarantine;
    if (open && !r->stopped)
        timer_at(r, LEDGER_TIMER_RETRANSMIT, &r->retransmit_set, r->retransmit_wait);
    else
        timer_off(r, LEDGER_TIMER_RETRANSMIT, &r->retransmit_set);
    bool waiting = pool_has_executable(r);
    if (in_view(r) && is_primary(r) && !waiting && !r->idle_due &&
        accept_empty_batch_due(r, r->last + 1))
        timer_at(r, LEDGER_TIMER_IDLE, &r->idle_set, IDLE_US);
    else
        timer_off(r, LEDGER_TIMER_IDLE, &r->idle_set);
    uint64_t now = r->env.now_us(r->env.context);
    uint64_t paced = gather_paced(r) > now ? gather_paced(r) : waiting ? propose_paced(r) : 0;
    if (in_view(r) && is_primary(r) && paced > now)
        timer_at(r, LEDGER_TIMER_PACE, &r->pace_set, paced - now);
    else
        timer_off(r, LEDGER_TIMER_PACE, &r->pace_set);
    bool fetching = r->transfer.active || r->install.active || r->backlog.active ||
                    r->pending.state == PENDING_FETCHING ||
                    (r->view && !r->plan_complete && !r->stopped) || accept_wants_bodies(r);
    bool searching = search_is_on(r);
    if (searching)
        timer_off(r, LEDGER_TIMER_TRANSFER, &r->transfer_timer_set); /* sooner than that */
    if ((fetching && !r->stopped) || searching)
        timer_at(r, LEDGER_TIMER_TRANSFER, &r->transfer_timer_set,
                 searching ? SEARCH_US : FETCH_AGAIN_US);
    else
        timer_off(r, LEDGER_TIMER_TRANSFER, &r->transfer_timer_set);
}

/* ---- retransmission ---- */

static void retransmit_slot(struct ledger_replica *r, struct slot *slot)
{
    if (slot->view != r->view || !slot->own_ready)
        return;
    if (is_primary(r)) {
        for (unsigned i = 0; i < r->n; i++)
            if (i != r->self && !slot->votes[i].valid)
                propose_send(r, slot, (int)i);
    } else {
        r->scratch.len = 0;
        if (ledger_prepare_write(&r->scratch, &slot->votes[r->self].prepare))
            send_to(r, -1, slice_of_buffer(&r->scratch));
    }
    if (slot->released)
        vote_send_commit(r, slot, -1);
}

/* Says again what may have been lost: nothing depends on a single sending (§5). */
static void retransmit(struct ledger_replica *r)
{
    if (r->view_change_sent > r->view && r->own_view_change_ready)
        view_change_send(r, -1);
    if (in_view(r)) {
        uint64_t first = r->last > r->pipeline ? r->last - r->pipeline + 1 : 1;
        if (is_primary(r) && r->last < r->plan_base + r->pipeline)
            new_view_send(r, -1);
        for (uint64_t s = first; s <= r->last; s++) {
            struct slot *slot = slot_in_ledger(r, s);
            if (slot && !slot_is_settled(r, slot))
                retransmit_slot(r, slot);
        }
    }
    fetch_evidence_again(r);
    fetch_status(r, -1);
}

void ledger_on_timer(struct ledger_replica *r, uint32_t id)
{
    switch (id) {
    case LEDGER_TIMER_VIEW: {
        if (!r->view_timer_set)
            break;
        r->view_timer_set = false;
        uint64_t above = r->view > r->view_change_sent ? r->view : r->view_change_sent;
        if (r->pending.state != PENDING_NONE && r->pending.view > above)
            above = r->pending.view;
        view_leave(r, above + 1);
        break;
    }
    case LEDGER_TIMER_RETRANSMIT:
        if (!r->retransmit_set)
            break;
        r->retransmit_set = false;
        if (!MUTATED(SENT_ONCE))
            retransmit(r);
        r->catching_up = r->catching_up && r->retransmit_wait < RETRANSMIT_LAST_US;
        r->retransmit_wait = 2 * r->retransmit_wait < RETRANSMIT_LAST_US ? 2 * r->retransmit_wait
                                                                         : RETRANSMIT_LAST_US;
        break;
    case LEDGER_TIMER_IDLE:
        r->idle_due = r->idle_set;
        r->idle_set = false;
        break;
    case LEDGER_TIMER_PACE: r->pace_set = false; break; /* settling makes the batch */
    case LEDGER_TIMER_TRANSFER:
        r->transfer_timer_set = false;
        transfer_again(r);
        install_again(r);
        backlog_again(r);
        accept_fetch_again(r);
        break;
    default: break;
    }
}
