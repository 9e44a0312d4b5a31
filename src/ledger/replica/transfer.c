/*
 * Taking over history (§6, state transfer): entries from a peer, from the end of what is final
 * here, until a batch is vouched for by somebody we believe (fragment.c).
 *
 * Two things vouch. A TARGET: a link (tip.c) that Q replicas' signatures name, those of a view
 * change or of an evidence message. And EVIDENCE among the entries. What is vouched for is executed
 * like the log at a restart. A peer that sends what does not fit is not asked again in this
 * session. Who is far behind takes over a checkpoint instead (install.c).
 */
#include "ledger/replica/core.h"

#define ASK_BYTES (4u << 20)

void transfer_stop(struct ledger_replica *r)
{
    struct transfer *t = &r->transfer;
    t->active = t->has_target = false;
    t->fragment.entries.len = 0;
    t->fragment.held = 0;
    t->fragment.banned = 0;
    t->fragment.generation++;
    replay_reset(r);
}

static void transfer_ask(struct ledger_replica *r)
{
    struct transfer *t = &r->transfer;
    fragment_ask(r, &t->fragment, UINT64_MAX, ASK_BYTES, t->has_target ? t->target_link : NULL);
}

/* Starts over, at what is final. */
static void transfer_restart(struct ledger_replica *r)
{
    struct transfer *t = &r->transfer;
    t->from_s = final_batch(r);
    const struct slot *slot = slot_in_ledger(r, t->from_s);
    assert((slot || !t->from_s) && "what is final is here");
    fragment_begin(r, &t->fragment, slot ? &slot->after : &r->genesis_frontier);
}

static void transfer_ban(struct ledger_replica *r)
{
    fragment_ban(r, &r->transfer.fragment);
    transfer_restart(r);
    transfer_ask(r);
}

/* Wants the ledger up to the point after batch s that `link` names. */
void transfer_want(struct ledger_replica *r, uint64_t s, const uint8_t link[static HASH_LEN],
                   bool committed, int source)
{
    struct transfer *t = &r->transfer;
    bool same = t->has_target && t->target_s == s && !memcmp(t->target_link, link, HASH_LEN);
    if (r->install.active ||
        (t->active && (same || (r->pending.state != PENDING_FETCHING && t->target_s >= s))))
        return;
    t->has_target = true;
    t->target_s = s;
    t->target_committed = committed;
    memcpy(t->target_link, link, HASH_LEN);
    if (t->active)
        return;
    t->active = true;
    t->fragment.banned = 0;
    t->fragment.source = source >= 0 && source != r->self ? (uint16_t)source : r->self;
    if (t->fragment.source == r->self)
        fragment_other_source(r, &t->fragment);
    transfer_restart(r);
    transfer_ask(r);
}

void transfer_again(struct ledger_replica *r)
{
    struct transfer *t = &r->transfer;
    if (!t->active || !fragment_is_silent(r, &t->fragment))
        return;
    fragment_other_source(r, &t->fragment);
    transfer_restart(r);
    transfer_ask(r);
}

/* ---- applying ---- */

/* What of the fragment our ledger has already, up to the stop. */
struct overlap {
    uint64_t s;
    bool after_view;
    uint64_t view;
    size_t offset; /* of the first entry that differs */
};

/* False: the fragment changes what is committed here. */
static bool find_overlap(const struct ledger_replica *r, const struct stop *stop,
                         struct overlap *overlap)
{
    struct error e;
    struct ledger_pp pp;
    uint8_t hash[HASH_LEN];
    bool same = true;
    *overlap = (struct overlap){.s = r->transfer.from_s};
    struct walk w = walk_start(&r->transfer.fragment);
    const uint8_t *start = w.at, *end = w.at + stop->offset;
    uint64_t left = 0;
    while (w.at < end && walk_next(&w)) {
        if (w.type == LEDGER_ENTRY_PP && !ledger_pp_decode_signed(w.payload, &pp, &e)) {
            const struct slot *slot = slot_in_ledger(r, pp.seqno);
            ledger_pp_hash(&pp, hash);
            if (!rule_floor_allows(r, pp.seqno, pp.batch_root))
                return false;
            same = same && slot && slot->pp_position == w.position &&
                   !memcmp(slot->pp_hash, hash, HASH_LEN);
            left = pp.count;
            if (same && !left)
                *overlap = (struct overlap){.s = pp.seqno, .offset = (size_t)(w.at - start)};
        } else if (w.type == LEDGER_ENTRY_TX && left) {
            if (!--left && same)
                *overlap = (struct overlap){.s = pp.seqno, .offset = (size_t)(w.at - start)};
        } else if (w.type == LEDGER_ENTRY_NEW_VIEW) {
            struct ledger_new_view nv;
            if (ledger_new_view_decode_signed(w.payload, &nv, &e))
                return true;
            const struct view_entry *entry = view_entry_find(r, nv.view);
            ledger_new_view_hash(&nv, hash);
            same = same && entry && entry->end == w.position + 1 &&
                   !memcmp(entry->hash, hash, HASH_LEN);
            if (same) {
                overlap->after_view = true;
                overlap->view = nv.view;
                overlap->offset = (size_t)(w.at - start);
            }
        }
    }
    return overlap->offset == stop->offset || overlap->s >= final_batch(r);
}

/* Whether the stop would make us follow a second NewView of our view (I1): then history has to
 * reach a later view first. */
static bool follows_another(const struct ledger_replica *r, const struct stop *stop)
{
    struct error e;
    struct ledger_new_view nv;
    uint8_t hash[HASH_LEN];
    const struct view_entry *ours = view_entry_find(r, r->view);
    struct walk w = walk_start(&r->transfer.fragment);
    const uint8_t *end = w.at + stop->offset;
    if (stop->view != r->view || !ours)
        return false;
    while (w.at < end && walk_next(&w)) {
        if (w.type != LEDGER_ENTRY_NEW_VIEW || ledger_new_view_decode_signed(w.payload, &nv, &e) ||
            nv.view != r->view)
            continue;
        ledger_new_view_hash(&nv, hash);
        return memcmp(hash, ours->hash, HASH_LEN) != 0;
    }
    return false;
}

/* Puts the entries between the overlap and the stop into the ledger, instead of ours. */
static bool apply_entries(struct ledger_replica *r, const struct stop *stop,
                          const struct overlap *overlap)
{
    struct error e;
    if (overlap->offset == stop->offset)
        return true;
    struct view_entry after = {0};
    if (overlap->after_view)
        after = *view_entry_find(r, overlap->view);
    rollback_to_batch(r, overlap->s, overlap->after_view ? &after : NULL);
    accept_clear(r);
    replay_reset(r);
    struct walk w = walk_start(&r->transfer.fragment);
    const uint8_t *end = w.at + stop->offset;
    w.at += overlap->offset;
    while (w.at < end && walk_next(&w) && !r->stopped) {
        if (replay_entry(r, w.type, w.payload, &e)) {
            snprintf(r->refusal, sizeof r->refusal,
                     "history that a quorum signed cannot be followed: %.180s", e.text);
            replica_stop(r, r->refusal);
            return false;
        }
    }
    rule_abstain(r, r->view);
    pool_unpark(r);
    return !r->stopped;
}

/* The history that was just taken over is committed up to batch s. */
void transfer_committed(struct ledger_replica *r, uint64_t s)
{
    if (s <= r->committed)
        return;
    r->prepared = r->prepared > s ? r->prepared : s;
    r->committed = s;
    bool fresh = s > r->floor;
    floor_raise(r, s);
    timer_progress(r, fresh);
}

/* The stop is vouched for. `committed`: by evidence. */
static void transfer_apply(struct ledger_replica *r, const struct stop *stop, bool committed)
{
    struct transfer *t = &r->transfer;
    struct overlap overlap;
    if (!fragment_holds(&t->fragment, stop)) {
        transfer_ban(r);
        return;
    }
    if (!find_overlap(r, stop, &overlap)) {
        replica_stop(r, "history that a quorum signed changes what is committed here");
        return;
    }
    if (follows_another(r, stop)) {
        transfer_stop(r);
        return;
    }
    if (!apply_entries(r, stop, &overlap))
        return;
    if (committed)
        transfer_committed(r, stop->s);
    if (t->has_target && !memcmp(stop->hash, t->target_link, HASH_LEN)) {
        transfer_stop(r);
    } else {
        transfer_restart(r); /* from what is final now */
        transfer_ask(r);
    }
}

/* Whether evidence of a batch of this view lets us exchange our history for its: never for that of
 * a lower view than ours, unless we are leaving for a new one. What is committed below is the same.
 */
bool transfer_may_stop_in(const struct ledger_replica *r, uint64_t view)
{
    return view >= ledger_view(r) || r->pending.state == PENDING_FETCHING;
}

static void transfer_examine(struct ledger_replica *r)
{
    struct transfer *t = &r->transfer;
    struct ledger_pp pp;
    struct slice evidence = {0};
    struct stop stop = {0};
    if (t->fragment.job_out)
        return;
    if (t->has_target)
        stop = fragment_find_link(&t->fragment, t->target_link);
    if (stop.found) {
        stop.s = t->target_s;
        transfer_apply(r, &stop, t->target_committed);
        return;
    }
    stop = fragment_find_evidence(r, &t->fragment, &pp, &evidence);
    if (stop.found && stop.s > r->committed && transfer_may_stop_in(r, stop.view) &&
        !fragment_check(r, &t->fragment, &pp, evidence))
        transfer_ban(r);
}

/* The entries that came last are signed as they should be: what can be done with them, and more. */
static void transfer_go_on(struct ledger_replica *r)
{
    struct transfer *t = &r->transfer;
    struct fragment *f = &t->fragment;
    uint64_t generation = f->generation;
    transfer_examine(r);
    if (t->active && !f->job_out && f->generation == generation) {
        f->asked_at = r->env.now_us(r->env.context);
        if (f->before.size + f->held < f->end)
            transfer_ask(r);
    }
}

/* The signatures of entries have been checked, of whichever fragment. */
static void entries_checked(struct ledger_replica *r, struct fragment *f, const struct job *job)
{
    bool valid = true;
    for (size_t i = 0; i < job->count; i++)
        valid = valid && job->valid[i];
    if (!valid)
        r->counters.signatures_bad++;
    if (f == &r->install.fragment)
        install_entries_checked(r, valid);
    else if (f == &r->backlog.fragment)
        backlog_entries_checked(r, valid);
    else if (r->transfer.active && valid)
        transfer_go_on(r);
    else if (r->transfer.active)
        transfer_ban(r);
}

/* Signatures of entries or of evidence are checked, of whichever fragment. */
void transfer_verified(struct ledger_replica *r, struct job *job)
{
    struct evidence_check *check = job->subject;
    struct transfer *t = &r->transfer;
    struct fragment *f = check->fragment;
    struct stop stop;
    f->job_out = false;
    if (job->references[0].s != f->generation) {
        /* what it was about is gone */
    } else if (check->of_entries) {
        entries_checked(r, f, job);
    } else if (f == &r->install.fragment) {
        install_verified(r, job);
    } else if (f == &r->backlog.fragment) {
        backlog_verified(r, job);
    } else if (t->active) {
        if (!fragment_checked(r, f, job, &stop))
            transfer_ban(r);
        else if (stop.found && transfer_may_stop_in(r, stop.view))
            transfer_apply(r, &stop, true);
        else
            transfer_examine(r);
    }
    evidence_check_free(check);
}

/* ---- arrival ---- */

static void transfer_entries(struct ledger_replica *r, const struct ledger_entries *m)
{
    struct fragment *f = &r->transfer.fragment;
    size_t before = f->entries.len;
    if (!fragment_take(r, f, m->entries)) {
        transfer_ban(r);
        return;
    }
    f->end = m->end;
    if (!fragment_check_signatures(r, f, before))
        transfer_go_on(r);
}

/* Entries of a peer's ledger, for whoever waits for them. */
void transfer_message(struct ledger_replica *r, uint16_t from, struct slice message)
{
    struct error e;
    struct ledger_entries m;
    if (ledger_entries_decode(message, &m, &e))
        r->counters.messages_dropped++;
    else if (r->transfer.active && fragment_expects(&r->transfer.fragment, from, m.from))
        transfer_entries(r, &m);
    else if (r->install.active && fragment_expects(&r->install.fragment, from, m.from))
        install_entries(r, &m);
    else if (r->backlog.active && fragment_expects(&r->backlog.fragment, from, m.from))
        backlog_entries(r, &m);
}
