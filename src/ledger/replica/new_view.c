/*
 * Entering a view: the NewView, made by its primary or checked by everyone else, and what must be
 * here before (§6).
 *
 *   a NewView that came → its signatures are checked, one of every sender at a time
 *   NONE → FETCHING (the ledger up to the rollback point; the primary also the contents of the plan
 *   and the evidence it needs) → entered
 *
 * Nothing changes before everything is here: then the ledger is rolled back to the point, VCSET and
 * NEW_VIEW are appended, and the plan binds what the view proposes first.
 */
#include "ledger/replica/core.h"

void new_view_drop(struct ledger_replica *r)
{
    r->pending.state = PENDING_NONE;
    transfer_stop(r);
}

/* ---- the primary makes one ---- */

/* How many choices, one after the other, a view's time is enough for. */
#define CHOICES_IN_A_VIEW 4

/* Valid ViewChanges for this very view. */
static unsigned view_changes_for(const struct ledger_replica *r, uint64_t view)
{
    unsigned count = 0;
    for (unsigned i = 0; i < r->n; i++)
        count += r->view_changes[i].valid && r->view_changes[i].new_view == view;
    return count;
}

/* Puts the first Q valid ViewChanges for the view that are not passed over into pending.vcset and
 * draws the choice. */
static bool new_view_gather(struct ledger_replica *r, uint64_t view)
{
    struct error e;
    struct ledger_vcset set = {.view = view};
    struct ledger_view_change *vcs = calloc(r->quorum, sizeof *vcs);
    const struct ledger_view_change *pointers[LEDGER_REPLICAS_MAX];
    bool done = vcs;
    for (unsigned i = 0; done && i < r->n && set.count < r->quorum; i++) {
        const struct held_view_change *held = &r->view_changes[i];
        if (!held->valid || held->new_view != view || r->passed_over >> i & 1)
            continue;
        if (ledger_view_change_decode_signed(slice_of_buffer(&held->bytes), &vcs[set.count], &e))
            assert(false && "a valid ViewChange decodes");
        pointers[set.count] = &vcs[set.count];
        set.view_changes[set.count++] = slice_of_buffer(&held->bytes);
    }
    done = done && set.count == r->quorum;
    if (done) {
        r->pending.vcset.len = 0;
        done = ledger_vcset_encode(&set, &r->pending.vcset);
        choice_make(&r->terms, pointers, set.count, &r->pending.choice);
    }
    free(vcs);
    return done;
}

/* Whether our choice has waited so long for what it rests on that another one is to be tried. */
static bool new_view_is_stuck(const struct ledger_replica *r)
{
    uint64_t now = r->env.now_us(r->env.context);
    return r->pending.ours &&
           now >= r->pending.chosen_at + view_timer_length(r) / CHOICES_IN_A_VIEW;
}

/*
 * We are the primary of the view that we asked for: any Q valid ViewChanges will do. What the tip
 * of a correct replica rests on can be had from it; a liar's certificate may rest on a history that
 * nobody hands out. So, when a choice cannot be completed, it is made anew without the ViewChange
 * that decided it, also in later views; and with everyone's again, when too few are left.
 */
void new_view_try(struct ledger_replica *r)
{
    uint64_t view = r->view_change_sent;
    bool again = r->pending.state != PENDING_NONE && r->pending.view == view;
    if (!r->own_view_change_ready || view < r->signed_new_view || (again && !new_view_is_stuck(r)))
        return; /* also when we made one before, and lost it: never another one */
    if (again)
        r->passed_over |= UINT64_C(1) << r->pending.choice.replica;
    bool chosen = new_view_gather(r, view);
    if (!chosen && r->passed_over && view_changes_for(r, view) >= r->quorum) {
        r->passed_over = 0;
        chosen = new_view_gather(r, view);
    }
    if (!chosen)
        return;
    transfer_stop(r); /* another target, and its best source */
    r->pending.state = PENDING_FETCHING;
    r->pending.ours = true;
    r->pending.view = view;
    r->pending.chosen_at = r->env.now_us(r->env.context);
}

/* Fills in and signs our NewView; the ledger ends with its VCSET. */
static void new_view_sign(struct ledger_replica *r, struct ledger_new_view *nv)
{
    uint8_t hash[HASH_LEN];
    const struct choice *choice = &r->pending.choice;
    const struct slot *base = slot_in_ledger(r, choice->base);
    struct merkle_hash root = merkle_frontier_root(&r->frontier);
    *nv = (struct ledger_new_view){.config = r->configuration->number,
                                   .view = r->pending.view,
                                   .base_seqno = choice->base,
                                   .tip_view = choice->tip_view,
                                   .tip_seqno = choice->tip_s,
                                   .plan_count = choice->plan_count};
    memcpy(nv->base_pp_hash, choice->base ? base->pp_hash : r->genesis.hash, HASH_LEN);
    memcpy(nv->plan, choice->plan, choice->plan_count * sizeof nv->plan[0]);
    memcpy(nv->ledger_root, root.bytes, HASH_LEN);
    ledger_vcset_hash(slice_of_buffer(&r->pending.vcset), nv->vcset_hash);
    ledger_new_view_hash(nv, hash);
    r->env.sign(r->env.context, hash, nv->signature);
}

/* The NewView of the view we are in, to one replica or to all (-1). */
void new_view_send(struct ledger_replica *r, int to)
{
    if (!r->new_view.len || (is_primary(r) && !r->new_view_ready))
        return;
    r->scratch.len = 0;
    if (ledger_new_view_write(&r->scratch, slice_of_buffer(&r->new_view),
                              slice_of_buffer(&r->new_view_vcset)))
        send_to(r, to, slice_of_buffer(&r->scratch));
}

/* ---- a backup checks one ---- */

/* A NewView against its VCSet, but for signatures: those that are left go into the job. */
static bool new_view_check(struct ledger_replica *r, const struct ledger_new_view_message *m,
                           struct ledger_view_change *vcs, struct job *job, struct choice *choice)
{
    struct error e;
    const struct ledger_new_view *nv = &m->nv;
    const struct ledger_view_change *pointers[LEDGER_REPLICAS_MAX];
    uint8_t hash[HASH_LEN];
    ledger_vcset_hash(m->vcset_bytes, hash);
    if (nv->config != r->configuration->number || m->vcset.view != nv->view ||
        m->vcset.count != r->quorum || memcmp(hash, nv->vcset_hash, HASH_LEN))
        return false;
    for (uint32_t i = 0; i < m->vcset.count; i++) {
        if (ledger_view_change_decode_signed(m->vcset.view_changes[i], &vcs[i], &e) ||
            vcs[i].new_view != nv->view || vcs[i].replica >= r->n ||
            (i && vcs[i].replica <= vcs[i - 1].replica) ||
            choice_binding_check(&r->terms, &vcs[i], &e))
            return false;
        pointers[i] = &vcs[i];
        const struct held_view_change *held = &r->view_changes[vcs[i].replica];
        if (held->valid && slice_equal(slice_of_buffer(&held->bytes), m->vcset.view_changes[i]))
            continue;
        if (!view_change_check(r, &vcs[i], m->vcset.view_changes[i], job))
            return false;
    }
    choice_make(&r->terms, pointers, m->vcset.count, choice);
    bool same = nv->base_seqno == choice->base && nv->tip_view == choice->tip_view &&
                nv->tip_seqno == choice->tip_s && nv->plan_count == choice->plan_count;
    for (unsigned i = 0; same && i < nv->plan_count; i++) {
        const struct ledger_plan *a = &nv->plan[i], *b = &choice->plan[i];
        same = a->seqno == b->seqno && a->kind == b->kind && a->first_index == b->first_index &&
               a->count == b->count && !memcmp(a->batch_root, b->batch_root, HASH_LEN);
    }
    if (!same || !job_room(job, job->count + 1))
        return false;
    struct ledger_signature *item = &job->items[job->count++];
    ledger_new_view_hash(nv, item->hash);
    item->public_key = r->configuration->replicas[primary_of(r, nv->view)].public_key;
    item->signature = nv->signature;
    return true;
}

/* Whether our log says that we followed another NewView of this view before we were stopped (I1).
 */
static bool followed_another(const struct ledger_replica *r, const struct ledger_new_view *nv)
{
    struct error e;
    struct ledger_new_view logged;
    uint8_t hash[HASH_LEN], logged_hash[HASH_LEN];
    if (!r->logged_new_view.len || r->logged_view != nv->view ||
        ledger_new_view_decode_signed(slice_of_buffer(&r->logged_new_view), &logged, &e))
        return false;
    ledger_new_view_hash(nv, hash);
    ledger_new_view_hash(&logged, logged_hash);
    return memcmp(hash, logged_hash, HASH_LEN) != 0;
}

void new_view_message(struct ledger_replica *r, uint16_t from, struct slice message)
{
    struct error e;
    struct ledger_new_view_message *m = calloc(1, sizeof *m);
    struct new_view_check *check = calloc(1, sizeof *check);
    struct job *job = NULL;
    if (!m || !check || ledger_new_view_message_decode(message, m, &e)) {
        r->counters.messages_dropped++;
        goto drop;
    }
    uint64_t view = m->nv.view;
    if (view <= r->view || view < r->view_change_sent || primary_of(r, view) == r->self ||
        (r->pending.state != PENDING_NONE && r->pending.view >= view) ||
        r->peers[from].new_view_job || followed_another(r, &m->nv))
        goto drop;
    if (!buffer_append(&check->message, message.data, message.len) ||
        ledger_new_view_message_decode(slice_of_buffer(&check->message), &check->decoded, &e) ||
        !(check->vcs = calloc(r->quorum, sizeof *check->vcs)) ||
        !(job = job_take(r, JOB_NEW_VIEW, 64)) ||
        !new_view_check(r, &check->decoded, check->vcs, job, &check->choice)) {
        r->counters.messages_dropped++;
        goto drop;
    }
    free(m);
    /* Until its signatures are found valid it changes nothing: anybody can make one up. */
    check->from = from;
    r->peers[from].new_view_job = true;
    job->base.suspect = r->peers[from].suspect;
    job->subject = check;
    job_send(r, job);
    return;
drop:
    if (job)
        job_give(r, job);
    new_view_check_free(check);
    free(m);
}

void new_view_check_free(struct new_view_check *check)
{
    if (!check)
        return;
    buffer_free(&check->message);
    free(check->vcs);
    free(check);
}

void new_view_verified(struct ledger_replica *r, struct job *job)
{
    struct new_view_check *check = job->subject;
    struct pending_view *p = &r->pending;
    bool valid = true;
    for (size_t i = 0; i < job->count; i++)
        valid = valid && job->valid[i];
    uint64_t view = check->decoded.nv.view;
    r->peers[check->from].new_view_job = false;
    if (!valid) {
        r->counters.signatures_bad++;
        r->peers[check->from].suspect = true; /* a correct one passes on only what it checked */
    } else if (view > r->view && view >= r->view_change_sent &&
               (p->state == PENDING_NONE || p->view < view)) {
        const struct slice *vcset = &check->decoded.vcset_bytes;
        new_view_drop(r);
        p->vcset.len = 0;
        if (buffer_append(&p->vcset, vcset->data, vcset->len)) {
            p->state = PENDING_FETCHING;
            p->ours = false;
            p->view = view;
            p->nv = check->decoded.nv;
            p->choice = check->choice;
        }
    }
    new_view_check_free(check);
}

/* ---- what must be here ---- */

/* Evidence for the P batches up to base; asks for what is missing. */
static bool evidence_here(struct ledger_replica *r, uint64_t base, bool ask)
{
    bool all = true;
    for (uint64_t s = base > r->pipeline ? base - r->pipeline + 1 : 1; s <= base; s++) {
        struct slot *slot = slot_in_ledger(r, s);
        if (slot && (vote_evidence(r, slot) || abandoned_recall_evidence(r, slot)))
            continue;
        all = false;
        struct ledger_fetch fetch = {.type = LEDGER_MESSAGE_FETCH_EVIDENCE, .seqno = s};
        if (slot)
            memcpy(fetch.link, slot->pp_hash, HASH_LEN);
        if (ask)
            fetch_send(r, -1, &fetch);
    }
    return all;
}

static bool plan_here(struct ledger_replica *r, const struct ledger_plan *plan, unsigned count,
                      bool ask)
{
    bool all = true;
    for (unsigned i = 0; i < count; i++) {
        if (content_here(r, &plan[i]))
            continue;
        all = false;
        struct ledger_fetch fetch = {.type = LEDGER_MESSAGE_FETCH_CONTENT};
        memcpy(fetch.batch_root, plan[i].batch_root, HASH_LEN);
        if (ask)
            fetch_send(r, -1, &fetch);
    }
    return all;
}

/* Whether contents with this G are part of a plan that we make or follow: others are not kept. */
bool plan_wants(const struct ledger_replica *r, const uint8_t g[static HASH_LEN])
{
    const struct choice *choice = &r->pending.choice;
    for (unsigned i = 0; r->pending.state == PENDING_FETCHING && i < choice->plan_count; i++)
        if (!memcmp(choice->plan[i].batch_root, g, HASH_LEN))
            return true;
    for (unsigned i = 0; !r->plan_complete && i < r->plan_count; i++)
        if (!memcmp(r->plan[i].batch_root, g, HASH_LEN))
            return true;
    return false;
}

/* §6: the first Prepare of a view leaves only when we hold the whole plan and the evidence before
 * it, so that a further view change finds them. */
bool new_view_first_prepare_may_leave(struct ledger_replica *r)
{
    if (r->plan_complete || !r->view)
        return true;
    bool ask = fetch_may_ask(r);
    bool plan = plan_here(r, r->plan, r->plan_count, ask);
    bool evidence = evidence_here(r, r->plan_base, ask);
    r->plan_complete = plan && evidence;
    return r->plan_complete;
}

/* ---- entering ---- */

/* The root of the ledger at the rollback point with the VCSET behind it. */
static struct merkle_hash root_with_vcset(const struct ledger_replica *r, uint64_t base,
                                          const struct view_entry *after)
{
    struct error e;
    struct merkle_frontier f = after  ? after->after
                               : base ? slot_in_ledger(r, base)->after
                                      : r->genesis_frontier;
    struct merkle_hash leaf =
        ledger_entry_leaf(LEDGER_ENTRY_VCSET, slice_of_buffer(&r->pending.vcset));
    merkle_frontier_append(&f, &leaf, &e);
    return merkle_frontier_root(&f);
}

/* The floor (§6): nothing that is committed here changes. A breach is stored by stopping. */
static bool floor_allows(struct ledger_replica *r, const struct choice *choice)
{
    bool allowed =
        choice->base >= final_batch(r) && (choice->tip_s >= r->floor || MUTATED(NO_FLOOR));
    for (unsigned i = 0; allowed && i < choice->plan_count; i++)
        allowed = rule_floor_allows(r, choice->plan[i].seqno, choice->plan[i].batch_root);
    for (uint64_t s = choice->base; allowed && s > final_batch(r); s--) {
        const struct slot *slot = slot_in_ledger(r, s);
        allowed = slot && rule_floor_allows(r, s, slot->pp.batch_root);
    }
    if (!allowed)
        replica_stop(r, "a NewView changes what is committed here");
    return allowed;
}

static bool view_entry_push(struct ledger_replica *r, uint64_t view, uint64_t base, uint64_t start,
                            const uint8_t hash[static HASH_LEN])
{
    if (r->view_entry_count == r->view_entry_capacity) {
        size_t capacity = r->view_entry_capacity ? 2 * r->view_entry_capacity : 16;
        struct view_entry *grown = realloc(r->view_entries, capacity * sizeof *grown);
        if (!grown)
            return false;
        r->view_entries = grown;
        r->view_entry_capacity = capacity;
    }
    /* Those that nothing can be rolled back to any more make room. */
    while (r->view_entry_count > 1 && r->view_entries[1].base < final_batch(r)) {
        r->view_entry_count--;
        memmove(r->view_entries, r->view_entries + 1,
                r->view_entry_count * sizeof *r->view_entries);
    }
    struct view_entry *entry = &r->view_entries[r->view_entry_count++];
    *entry = (struct view_entry){
        .view = view, .base = base, .start = start, .end = r->position, .after = r->frontier};
    memcpy(entry->hash, hash, HASH_LEN);
    return true;
}

/* Whether this is another NewView of our view than the one that we follow: its primary made two. */
bool new_view_is_another(const struct ledger_replica *r, const struct ledger_new_view *nv)
{
    struct error e;
    struct ledger_new_view followed;
    uint8_t hash[HASH_LEN], ours[HASH_LEN];
    if (nv->view != r->view || !r->new_view.len ||
        ledger_new_view_decode_signed(slice_of_buffer(&r->new_view), &followed, &e))
        return false;
    ledger_new_view_hash(nv, hash);
    ledger_new_view_hash(&followed, ours);
    return memcmp(hash, ours, HASH_LEN) != 0;
}

/*
 * The ledger ends with NewView(nv.view): follow it. Also used when history is read or taken over.
 * History may lead through another NewView of our view than the one that we follow: then we are
 * astray, and take no part until it leads to a later view.
 */
void new_view_follow(struct ledger_replica *r, const struct ledger_new_view *nv,
                     struct slice signed_bytes, struct slice vcset, uint64_t start)
{
    uint8_t hash[HASH_LEN];
    ledger_new_view_hash(nv, hash);
    assert(nv->view > ledger_view(r));
    memcpy(r->previous, hash, HASH_LEN);
    if (!view_entry_push(r, nv->view, nv->base_seqno, start, hash))
        replica_stop(r, "no memory");
    r->astray = new_view_is_another(r, nv);
    if (nv->view < r->view || r->abstain_view == nv->view)
        return; /* on the way through history to a later one */
    r->view = nv->view;
    r->new_view.len = r->new_view_vcset.len = 0;
    if (!buffer_append(&r->new_view, signed_bytes.data, signed_bytes.len) ||
        !buffer_append(&r->new_view_vcset, vcset.data, vcset.len))
        replica_stop(r, "no memory");
    /* Behind the NewView the batches are final, or planned once more. */
    r->prepared = r->prepared > nv->base_seqno ? r->prepared : nv->base_seqno;
    r->committed = r->committed > nv->base_seqno ? r->committed : nv->base_seqno;
    r->plan_base = nv->base_seqno;
    r->plan_end = nv->tip_seqno;
    r->plan_count = nv->plan_count;
    memcpy(r->plan, nv->plan, nv->plan_count * sizeof nv->plan[0]);
    r->plan_complete = false;
    r->new_view_ready = false;
    r->pp_rejected = false;
    accept_clear(r);
}

static void new_view_enter(struct ledger_replica *r, const struct view_entry *after)
{
    struct pending_view *p = &r->pending;
    uint64_t base = p->choice.base;
    uint8_t hash[HASH_LEN];
    struct buffer signed_bytes = {0};
    struct view_entry point = after ? *after : (struct view_entry){0};
    rollback_to_batch(r, base, after ? &point : NULL);
    r->committed = r->prepared = base; /* behind the tip: final, or planned once more */
    uint64_t start = r->position;
    append_entry(r, LEDGER_ENTRY_VCSET, slice_of_buffer(&p->vcset), NULL);
    if (p->ours)
        new_view_sign(r, &p->nv);
    ledger_new_view_hash(&p->nv, hash);
    if (!ledger_new_view_encode_signed(&p->nv, &signed_bytes))
        replica_stop(r, "no memory");
    struct slice bytes = slice_of_buffer(&signed_bytes);
    append_entry(r, LEDGER_ENTRY_NEW_VIEW, bytes, NULL);
    append_record(r, LEDGER_RECORD_NEW_VIEW, 0, bytes);
    if (p->ours) /* behind the entries: whoever finds the mark in the log finds the NewView */
        rule_mark_signed(r, LEDGER_SIGNED_NEW_VIEW, p->view, 0, hash);
    if (r->stopped) {
        buffer_free(&signed_bytes);
        return;
    }
    uint64_t view = p->view;
    new_view_follow(r, &p->nv, bytes, slice_of_buffer(&p->vcset), start);
    rule_abstain(r, view); /* a damaged log may have lost what we signed in it */
    buffer_free(&signed_bytes);
    new_view_drop(r);
    wait_durable(r, WAITING_NEW_VIEW, view, 0, hash);
    if (r->view > r->view_change_sent)
        r->view_change_sent = r->view;
    pool_new_view(r);
    r->view_timer_set = false;
    early_replay(r);
}

/* Goes on with the pending view as far as what is here allows. */
void new_view_continue(struct ledger_replica *r)
{
    struct pending_view *p = &r->pending;
    const struct view_entry *after;
    if (p->choice.base < final_batch(r)) {
        floor_allows(r, &p->choice);
        return;
    }
    if (!tip_find_point(r, p->choice.base, p->choice.link, &after) &&
        !(abandoned_restore(r, p->choice.link) &&
          tip_find_point(r, p->choice.base, p->choice.link, &after))) {
        transfer_want(r, p->choice.base, p->choice.link, false,
                      p->ours ? p->choice.replica : primary_of(r, p->view));
        return;
    }
    bool ask = fetch_may_ask(r);
    if (p->ours) {
        bool plan = plan_here(r, p->choice.plan, p->choice.plan_count, ask);
        bool evidence = evidence_here(r, p->choice.base, ask);
        if (!plan || !evidence)
            return;
    } else {
        struct merkle_hash root = root_with_vcset(r, p->choice.base, after);
        const struct slot *base = slot_in_ledger(r, p->choice.base);
        if (memcmp(root.bytes, p->nv.ledger_root, HASH_LEN) ||
            memcmp(p->nv.base_pp_hash, p->choice.base ? base->pp_hash : r->genesis.hash,
                   HASH_LEN)) {
            new_view_drop(r); /* the timer takes us to the next view */
            return;
        }
    }
    if (floor_allows(r, &p->choice))
        new_view_enter(r, after);
}
