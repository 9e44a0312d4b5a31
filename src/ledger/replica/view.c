/*
 * Leaving a view: our ViewChange, others', and when to join (§6).
 *
 * A ViewChange is signed once for a view, kept, and re-sent byte for byte. Of others we hold the
 * one for the highest view that each sent, once all of its signatures are found valid.
 */
#include "ledger/replica/core.h"

/* Valid ViewChanges for this view or later ones, our own among them. */
unsigned view_changes_at_least(const struct ledger_replica *r, uint64_t view)
{
    unsigned count = 0;
    for (unsigned i = 0; i < r->n; i++)
        count += r->view_changes[i].valid && r->view_changes[i].new_view >= view;
    return count;
}

/* ---- our own ---- */

static bool view_change_build(struct ledger_replica *r, uint64_t new_view, struct buffer *out)
{
    struct error e;
    struct ledger_view_change *vc = calloc(1, sizeof *vc);
    if (!vc)
        return false;
    vc->config = r->configuration->number;
    vc->new_view = new_view;
    vc->replica = r->self;
    for (unsigned i = 0; i < r->tip.count; i++)
        if (ledger_certificate_decode(slice_of_buffer(&r->tip.certificates[i]),
                                      &vc->certificates[vc->certificate_count++], &e))
            assert(false && "our certificates decode");
    if (vc->certificate_count && r->tip.new_view.len) {
        uint8_t hash[HASH_LEN];
        if (ledger_new_view_decode_signed(slice_of_buffer(&r->tip.new_view), &vc->nv, &e))
            assert(false && "the NewView of our tip decodes");
        ledger_new_view_hash(&vc->nv, hash);
        vc->has_new_view = !memcmp(vc->certificates[0].pp.previous, hash, HASH_LEN);
    }
    const struct slot *stable = slot_in_ledger(r, final_batch(r));
    if (stable) {
        struct merkle_hash root = merkle_frontier_root(&stable->after);
        vc->stable.seqno = stable->s;
        memcpy(vc->stable.ledger_root, root.bytes, HASH_LEN);
        memcpy(vc->stable.pp_hash, stable->pp_hash, HASH_LEN);
    }
    assert(!choice_binding_check(&r->terms, vc, &e));
    uint8_t hash[HASH_LEN];
    bool done = ledger_view_change_hash(vc, hash);
    if (done) {
        r->env.sign(r->env.context, hash, vc->signature);
        out->len = 0;
        done = ledger_view_change_encode_signed(vc, out);
        rule_mark_signed(r, LEDGER_SIGNED_VIEW_CHANGE, new_view, 0, hash);
    }
    free(vc);
    return done;
}

/* Stops taking part in lower views and asks for this one. */
void view_leave(struct ledger_replica *r, uint64_t new_view)
{
    assert(new_view > r->view_change_sent && new_view > r->view);
    if (r->stopped || r->quarantine)
        return;
    r->view_change_sent = new_view;
    r->own_view_change_ready = false;
    if (!view_change_build(r, new_view, &r->own_view_change)) {
        replica_stop(r, "no memory");
        return;
    }
    append_record(r, LEDGER_RECORD_VIEW_CHANGE, 0, slice_of_buffer(&r->own_view_change));
    wait_durable(r, WAITING_VIEW_CHANGE, new_view, 0, NULL);
    accept_clear(r);
    new_view_drop(r);
    pool_new_view(r);
    r->view_timer_set = false;
    r->view_changes_in_a_row++;
    r->retransmit_wait = RETRANSMIT_FIRST_US;
    r->counters.view_changes++;
}

void view_change_send(struct ledger_replica *r, int to)
{
    r->scratch.len = 0;
    if (ledger_view_change_write(&r->scratch, slice_of_buffer(&r->own_view_change)))
        send_to(r, to, slice_of_buffer(&r->scratch));
}

void view_change_sent_durable(struct ledger_replica *r, uint64_t new_view)
{
    if (new_view != r->view_change_sent || r->view >= new_view)
        return;
    struct held_view_change *own = &r->view_changes[r->self];
    own->bytes.len = 0;
    if (!buffer_append(&own->bytes, r->own_view_change.data, r->own_view_change.len)) {
        replica_stop(r, "no memory");
        return;
    }
    own->valid = true;
    own->new_view = new_view;
    r->own_view_change_ready = true;
    view_change_send(r, -1);
}

/* ---- others' ---- */

/*
 * Adds the signatures on which a ViewChange rests to the job: its own, its certificates', its
 * NewView's. False: it is not valid whatever they are, or no memory.
 */
bool view_change_check(const struct ledger_replica *r, const struct ledger_view_change *vc,
                       struct slice signed_bytes, struct job *job)
{
    struct error e;
    if (choice_binding_check(&r->terms, vc, &e) ||
        !job_room(job, job->count + 2 + (size_t)vc->certificate_count * r->quorum))
        return false;
    struct ledger_signature *item = &job->items[job->count++];
    ledger_view_change_hash_bytes(signed_bytes, item->hash);
    item->public_key = r->configuration->replicas[vc->replica].public_key;
    item->signature = signed_bytes.data + signed_bytes.len - ED25519_SIGNATURE_LEN;
    for (uint32_t i = 0; i < vc->certificate_count; i++) {
        struct ledger_signature work[LEDGER_REPLICAS_MAX];
        int count = ledger_certificate_check(r->configuration, &vc->certificates[i], work, &e);
        if (count < 0)
            return false;
        memcpy(job->items + job->count, work, (size_t)count * sizeof *work);
        job->count += (size_t)count;
    }
    if (vc->has_new_view) {
        item = &job->items[job->count++];
        ledger_new_view_hash(&vc->nv, item->hash);
        item->public_key = r->configuration->replicas[primary_of(r, vc->nv.view)].public_key;
        item->signature = vc->nv.signature;
    }
    return true;
}

void view_change_message(struct ledger_replica *r, uint16_t from, struct slice message)
{
    struct error e;
    struct slice bytes;
    struct ledger_view_change *vc = calloc(1, sizeof *vc);
    struct job *job = NULL;
    /* Everyone sends his own: a forged one must not keep the true one out while it is checked. */
    if (!vc || ledger_view_change_message_decode(message, vc, &bytes, &e) || vc->replica != from) {
        r->counters.messages_dropped++;
        goto done;
    }
    if (vc->new_view <= r->view) {
        /* Its sender has not heard of the view yet. */
        r->scratch.len = 0;
        if (fetch_allows(r, from))
            new_view_send(r, from);
        fetch_charge(r, from, r->scratch.len);
        goto done;
    }
    struct held_view_change *held = &r->view_changes[vc->replica];
    if (held->job_out || (held->valid && held->new_view >= vc->new_view))
        goto done;
    held->checking.len = 0;
    if (!buffer_append(&held->checking, bytes.data, bytes.len) ||
        ledger_view_change_decode_signed(slice_of_buffer(&held->checking), vc, &e))
        goto done;
    /* The decoded object is kept with the job: signatures of its parts lie in it. */
    job = job_take(r, JOB_VIEW_CHANGE, 64);
    if (!job || !view_change_check(r, vc, slice_of_buffer(&held->checking), job)) {
        r->counters.messages_dropped++;
        if (job)
            job_give(r, job);
        goto done;
    }
    job->subject = vc;
    job->base.suspect = r->peers[from].suspect;
    held->job_out = true;
    job_send(r, job);
    return;
done:
    free(vc);
}

void view_change_verified(struct ledger_replica *r, struct job *job)
{
    struct ledger_view_change *vc = job->subject;
    struct held_view_change *held = &r->view_changes[vc->replica];
    bool valid = true;
    for (size_t i = 0; i < job->count; i++)
        valid = valid && (job->valid[i] || MUTATED(CHANGE_UNSIGNED));
    held->job_out = false;
    if (valid && (!held->valid || vc->new_view > held->new_view)) {
        struct buffer before = held->bytes;
        held->bytes = held->checking;
        held->checking = before;
        held->valid = true;
        held->new_view = vc->new_view;
    } else if (!valid) {
        r->counters.signatures_bad++;
        r->peers[vc->replica].suspect = true;
    }
    free(vc);
}

/* ---- joining ---- */

/* The smallest view above our own that f + 1 replicas together ask to leave for; 0: none. */
static uint64_t view_to_join(const struct ledger_replica *r)
{
    uint64_t own = r->view > r->view_change_sent ? r->view : r->view_change_sent;
    uint64_t smallest = 0;
    unsigned count = 0;
    for (unsigned i = 0; i < r->n; i++) {
        const struct held_view_change *held = &r->view_changes[i];
        if (!held->valid || held->new_view <= own)
            continue;
        count++;
        if (!smallest || held->new_view < smallest)
            smallest = held->new_view;
    }
    return count > r->f ? smallest : 0;
}

void view_run(struct ledger_replica *r)
{
    uint64_t join = view_to_join(r);
    if (r->pending.state != PENDING_NONE && r->pending.view <= r->view)
        new_view_drop(r); /* history took us there meanwhile */
    if (join)
        view_leave(r, join);
    else if (in_view(r) && !is_primary(r) && pool_has_expired(r))
        view_leave(r, r->view + 1);
    if (r->view_change_sent > r->view && primary_of(r, r->view_change_sent) == r->self)
        new_view_try(r);
    if (r->pending.state == PENDING_FETCHING)
        new_view_continue(r);
}
