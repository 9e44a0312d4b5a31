/*
 * Asking peers for what is missing, and answering them.
 *
 * A replica learns from a STATUS that it is behind, and asks for what is next: the view's NewView,
 * evidence (which commits a batch, or shows that our history must be exchanged: transfer.c), or
 * batches with their votes. STATUS proves nothing; everything that is fetched is checked.
 */
#include "ledger/replica/core.h"

#define ANSWER_BYTES_MAX (4u << 20)

void send_to(struct ledger_replica *r, int to, struct slice message)
{
    for (unsigned i = 0; i < r->n; i++)
        if (i != r->self && (to < 0 || (unsigned)to == i))
            r->env.send(r->env.context, (uint16_t)i, &message, 1);
}

/* Whether it is time to ask (again); counts as having asked. */
bool fetch_may_ask(struct ledger_replica *r)
{
    uint64_t now = r->env.now_us(r->env.context);
    if (r->asked_at && now < r->asked_at + FETCH_AGAIN_US)
        return false;
    r->asked_at = now;
    return true;
}

void fetch_send(struct ledger_replica *r, int to, const struct ledger_fetch *fetch)
{
    r->scratch.len = 0;
    if (ledger_fetch_write(&r->scratch, fetch))
        send_to(r, to, slice_of_buffer(&r->scratch));
}

/* ---- status ---- */

void fetch_status(struct ledger_replica *r, int to)
{
    struct ledger_status_message m = {.view = r->view,
                                      .vc_sent = r->view_change_sent,
                                      .last = r->last,
                                      .committed = r->committed,
                                      .final_position = r->position};
    if (r->quarantine)
        m = (struct ledger_status_message){0}; /* so that everyone answers with his own */
    r->scratch.len = 0;
    if (ledger_status_write(&r->scratch, &m))
        send_to(r, to, slice_of_buffer(&r->scratch));
}

static void ask_evidence(struct ledger_replica *r, int to, uint64_t s)
{
    fetch_send(r, to, &(struct ledger_fetch){.type = LEDGER_MESSAGE_FETCH_EVIDENCE, .seqno = s});
}

/*
 * Asks for the evidence of the batches that are committed here and whose votes are not. History
 * brings that of a batch only P batches later: who caught up with a service at rest would wait for
 * it, and ask for another view, or, as the primary, propose nothing more.
 */
void fetch_evidence_again(struct ledger_replica *r)
{
    uint64_t first = r->committed > r->pipeline ? r->committed - r->pipeline + 1 : 1;
    for (uint64_t s = first; s <= r->committed; s++) {
        struct slot *slot = slot_in_ledger(r, s);
        if (s > r->hollow && slot && !vote_evidence(r, slot))
            ask_evidence(r, -1, s);
    }
}

void fetch_status_heard(struct ledger_replica *r, uint16_t from, struct slice message)
{
    struct error e;
    struct ledger_status_message m;
    if (ledger_status_decode(message, &m, &e))
        return;
    uint64_t now = r->env.now_us(r->env.context);
    struct peer *peer = &r->peers[from];
    if (!peer->heard)
        peer->first_last = m.last;
    peer->heard = true;
    if ((m.view < r->view || m.committed < r->committed || m.last < r->last) &&
        now >= peer->told_at + FETCH_AGAIN_US / 2) {
        peer->told_at = now;
        fetch_status(r, from);
    }
    if (r->stopped)
        return;
    if (m.view > r->view && r->pending.state == PENDING_NONE)
        fetch_send(r, from,
                   &(struct ledger_fetch){.type = LEDGER_MESSAGE_FETCH_NEW_VIEW, .view = m.view});
    if (m.committed > r->committed) {
        ask_evidence(r, from, m.committed);
        for (uint64_t s = r->committed + 1; s <= r->last && s < m.committed; s++)
            ask_evidence(r, from, s);
    }
    if (m.view != r->view || !in_view(r) || r->install.active ||
        (r->env.jump && m.committed >= r->last + 2 * r->interval))
        return; /* a checkpoint will do */
    for (uint64_t s = r->last + 1; s <= m.last && s <= r->last + r->pipeline; s++)
        fetch_send(r, from, &(struct ledger_fetch){.type = LEDGER_MESSAGE_FETCH_BATCH, .seqno = s});
}

/* ---- answers ---- */

static void answer_batch(struct ledger_replica *r, uint16_t to, uint64_t s)
{
    struct slot *slot = slot_in_ledger(r, s);
    if (!slot || slot_is_hollow(r, slot) ||
        (primary_of(r, slot->view) == r->self && !slot->own_ready))
        return;
    propose_send(r, slot, to);
    for (unsigned i = 0; i < r->n; i++) {
        const struct vote *v = &slot->votes[i];
        r->scratch.len = 0;
        if (v->valid && ledger_prepare_write(&r->scratch, &v->prepare))
            send_to(r, to, slice_of_buffer(&r->scratch));
    }
    for (unsigned i = 0; i < r->n; i++) {
        const struct vote *v = &slot->votes[i];
        struct ledger_commit c = {.view = slot->view, .seqno = s, .replica = (uint16_t)i};
        memcpy(c.nonce, v->nonce, sizeof c.nonce);
        r->scratch.len = 0;
        if (v->nonce_held && ledger_commit_write(&r->scratch, &c))
            send_to(r, to, slice_of_buffer(&r->scratch));
    }
}

static bool write_content(struct ledger_replica *r, const uint8_t *g)
{
    struct ledger_message_writer w;
    struct ledger_content content = {.kind = LEDGER_KIND_NORMAL};
    memcpy(content.batch_root, g, HASH_LEN);
    r->scratch.len = 0;
    for (unsigned i = 0; i < SLOTS; i++) {
        const struct slot *slot = &r->slots[i];
        if (!slot->s || !slot->in_ledger || slot_is_hollow(r, slot) || !slot->pp.count ||
            memcmp(slot->pp.batch_root, g, HASH_LEN))
            continue;
        content.seqno = slot->s;
        content.first_index = slot->pp.first_index;
        content.count = slot->pp.count;
        bool done = ledger_content_begin(&w, &r->scratch, &content);
        for (uint32_t k = 0; done && k < slot->pp.count; k++)
            done = ledger_content_tx(
                &w, slice_of(slot->entries.data + slot->txs[k].start, slot->txs[k].len));
        ledger_message_end(&w);
        return done;
    }
    const struct stash *stash = stash_find(r, g);
    if (!stash)
        return false;
    content.seqno = stash->s;
    content.first_index = stash->first_index;
    content.count = stash->count;
    bool done = ledger_content_begin(&w, &r->scratch, &content);
    const uint8_t *at = stash->entries.data;
    for (uint32_t k = 0; done && k < stash->count; k++) {
        done = ledger_content_tx(&w, slice_of(at + 4, load_u32(at)));
        at += 4 + load_u32(at);
    }
    ledger_message_end(&w);
    return done;
}

/* Evidence of a batch whose slot is gone: it stands before the pp P later. */
bool fetch_read_evidence(struct ledger_replica *r, uint64_t s, struct ledger_pp *pp,
                         struct buffer *evidence)
{
    struct error e;
    struct ledger_pp later;
    uint64_t position;
    uint8_t type;
    if (s > r->last || r->last - s < r->pipeline || batch_locate(r, s, &position, pp, &e) ||
        batch_locate(r, s + r->pipeline, &position, &later, &e))
        return false;
    return !r->env.read(r->env.context, position - 1, evidence, &type, &e) &&
           type == LEDGER_ENTRY_EVIDENCE;
}

static void answer_evidence(struct ledger_replica *r, uint16_t to, const struct ledger_fetch *f)
{
    uint64_t s = f->seqno;
    struct slot *slot = slot_in_ledger(r, s);
    struct ledger_pp pp;
    bool done = false;
    r->scratch.len = 0;
    if (!(slot && !memcmp(slot->pp_hash, f->link, HASH_LEN)) &&
        abandoned_write_evidence(r, f->link))
        done = true;
    else if (slot && vote_evidence(r, slot))
        done = ledger_evidence_write(&r->scratch, &slot->pp, slice_of_buffer(&slot->evidence));
    else if (s && s >= r->positions_base && fetch_read_evidence(r, s, &pp, &r->scratch_read))
        done = ledger_evidence_write(&r->scratch, &pp, slice_of_buffer(&r->scratch_read));
    if (done)
        send_to(r, to, slice_of_buffer(&r->scratch));
}

static void answer_ledger(struct ledger_replica *r, uint16_t to, const struct ledger_fetch *f)
{
    struct error e;
    struct ledger_message_writer w;
    uint8_t type;
    uint64_t until = f->until < r->position ? f->until : r->position;
    size_t bytes_max = f->max_bytes < ANSWER_BYTES_MAX ? f->max_bytes : ANSWER_BYTES_MAX;
    if (abandoned_write(r, f, bytes_max)) { /* what the link names is not in our ledger any more */
        send_to(r, to, slice_of_buffer(&r->scratch));
        return;
    }
    r->scratch.len = 0;
    if (f->from >= until || !ledger_entries_begin(&w, &r->scratch, f->from, r->position))
        return;
    for (uint64_t p = f->from; p < until && w.count < LEDGER_ENTRIES_MAX; p++) {
        if (r->env.read(r->env.context, p, &r->scratch_read, &type, &e) ||
            (w.count && r->scratch.len + r->scratch_read.len > bytes_max) ||
            !ledger_entries_entry(&w, type, slice_of_buffer(&r->scratch_read)))
            break;
    }
    ledger_message_end(&w);
    if (w.count)
        send_to(r, to, slice_of_buffer(&r->scratch));
}

/* Whether the peer may have another answer: nobody makes us read and send without end. */
bool fetch_allows(struct ledger_replica *r, uint16_t from)
{
    struct peer *peer = &r->peers[from];
    uint64_t now = r->env.now_us(r->env.context), passed = now - peer->answers_at;
    if (!peer->answers_at || passed > ANSWERS_BURST / ANSWERS_PER_US)
        peer->answers = ANSWERS_BURST;
    else
        peer->answers += passed * ANSWERS_PER_US;
    if (peer->answers > ANSWERS_BURST)
        peer->answers = ANSWERS_BURST;
    peer->answers_at = now;
    return peer->answers >= ANSWER_COST_MIN;
}

/* It gets an answer of so many bytes. */
void fetch_charge(struct ledger_replica *r, uint16_t from, size_t bytes)
{
    struct peer *peer = &r->peers[from];
    uint64_t cost = bytes > ANSWER_COST_MIN ? bytes : ANSWER_COST_MIN;
    peer->answers -= cost < peer->answers ? cost : peer->answers;
}

void fetch_answer(struct ledger_replica *r, uint16_t from, struct slice message)
{
    struct error e;
    struct ledger_fetch f;
    if (!fetch_allows(r, from)) {
        r->counters.messages_dropped++;
        return;
    }
    r->scratch.len = 0;
    if (ledger_fetch_decode(message, &f, &e)) {
        r->counters.messages_dropped++;
        return;
    }
    switch (f.type) {
    case LEDGER_MESSAGE_FETCH_BATCH: answer_batch(r, from, f.seqno); break;
    case LEDGER_MESSAGE_FETCH_CONTENT:
        if (write_content(r, f.batch_root))
            send_to(r, from, slice_of_buffer(&r->scratch));
        break;
    case LEDGER_MESSAGE_FETCH_EVIDENCE: answer_evidence(r, from, &f); break;
    case LEDGER_MESSAGE_FETCH_NEW_VIEW:
        if (r->view >= f.view)
            new_view_send(r, from);
        break;
    case LEDGER_MESSAGE_FETCH_LEDGER: answer_ledger(r, from, &f); break;
    case LEDGER_MESSAGE_FETCH_CHECKPOINT: install_answer(r, from, &f); break;
    default: break;
    }
    fetch_charge(r, from, r->scratch.len);
}

/* ---- evidence ---- */

void fetch_evidence_heard(struct ledger_replica *r, uint16_t from, struct slice message)
{
    struct error e;
    struct ledger_signature work[LEDGER_REPLICAS_MAX];
    struct ledger_evidence_message m;
    if (ledger_evidence_message_decode(message, &m, &e)) {
        r->counters.messages_dropped++;
        return;
    }
    const struct slot *slot = slot_in_ledger(r, m.pp.seqno);
    if (m.pp.seqno + SLOTS_RECENT <= r->last || (slot && slot->evidence.len) ||
        r->peers[from].evidence_jobs >= 4 * r->pipeline)
        return;
    struct evidence_check *check = calloc(1, sizeof *check);
    struct job *job = NULL;
    if (!check || !buffer_append(&check->message, message.data, message.len) ||
        ledger_evidence_message_decode(slice_of_buffer(&check->message), &check->decoded, &e))
        goto drop;
    int count = ledger_evidence_check(r->configuration, &check->decoded.pp,
                                      &check->decoded.evidence, work, &e);
    if (count < 0 || !(job = job_take(r, JOB_EVIDENCE, (size_t)count)))
        goto drop;
    memcpy(job->items, work, (size_t)count * sizeof *work);
    job->count = (size_t)count;
    check->from = from;
    job->subject = check;
    r->peers[from].evidence_jobs++;
    job->base.suspect = r->peers[from].suspect;
    job_send(r, job);
    return;
drop:
    evidence_check_free(check);
}

void evidence_check_free(struct evidence_check *check)
{
    if (check)
        buffer_free(&check->message);
    free(check);
}

/* Nobody correct sends such. */
static void evidence_is_false(struct ledger_replica *r, uint16_t from)
{
    r->counters.signatures_bad++;
    r->peers[from].suspect = true;
}

void fetch_evidence_verified(struct ledger_replica *r, struct job *job)
{
    struct evidence_check *check = job->subject;
    const struct ledger_pp *pp = &check->decoded.pp;
    bool valid = true;
    uint8_t hash[HASH_LEN];
    r->peers[check->from].evidence_jobs--;
    for (size_t i = 0; i < job->count; i++)
        valid = valid && job->valid[i];
    struct slot *slot = slot_in_ledger(r, pp->seqno);
    ledger_pp_hash(pp, hash);
    if (valid && pp->seqno <= r->hollow && (!slot || !slot->evidence.len))
        slot = slot_make_hollow(r, pp);
    if (valid && slot && pp->seqno > r->hollow && memcmp(slot->pp_hash, hash, HASH_LEN))
        conflict_evidence(r, slot, pp, &check->decoded.evidence);
    if (!valid)
        evidence_is_false(r, check->from);
    else if (install_vouched(r, pp, check->from))
        ;
    else if (slot && !memcmp(slot->pp_hash, hash, HASH_LEN))
        vote_take_evidence(r, slot, check->decoded.evidence_bytes);
    else if (pp->seqno > r->committed && r->pending.state != PENDING_FETCHING &&
             transfer_may_stop_in(r, pp->view))
        transfer_want(r, pp->seqno, hash, true, check->from);
    evidence_check_free(check);
}
