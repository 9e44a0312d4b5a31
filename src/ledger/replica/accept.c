/*
 * The backups: a pp message becomes a batch of the ledger, or is refused (§5).
 *
 *   message → CHECKING (signatures, in one job) → READY → in its turn: all else → in the ledger
 *                 └ WANTS_BODIES: some are only named; content is fetched, by G, and checked
 *
 * Signatures of several batches are checked at a time; everything else happens in the order of s.
 * Check, then act: a batch is compared with everything that its pp says before the ledger changes;
 * a mismatch takes the store back, the pp is kept (as BAD) and the view timer runs.
 */
#include "ledger/replica/core.h"

/* ---- incoming objects ---- */

static struct incoming *incoming_take(struct ledger_replica *r)
{
    struct incoming *in = r->incoming_spare;
    if (in)
        r->incoming_spare = in->next;
    else
        in = calloc(1, sizeof *in);
    if (in) {
        in->dropped = in->job_out = in->checked = in->evidence_checked = false;
        in->count = 0;
        in->message.len = in->bodies.len = 0;
    }
    return in;
}

static void incoming_give(struct ledger_replica *r, struct incoming *in)
{
    if (in->job_out) {
        in->dropped = true;
        return;
    }
    in->next = r->incoming_spare;
    r->incoming_spare = in;
}

static void incoming_drop(struct ledger_replica *r, uint64_t s)
{
    struct incoming *in = r->incoming[s % SLOTS];
    r->incoming[s % SLOTS] = NULL;
    if (in)
        incoming_give(r, in);
}

void accept_clear(struct ledger_replica *r)
{
    for (uint64_t i = 0; i < SLOTS; i++)
        incoming_drop(r, i);
}

static void incoming_free(struct incoming *in)
{
    buffer_free(&in->message);
    buffer_free(&in->bodies);
    free(in->candidates);
    free(in->wanted);
    free(in->known);
    free(in);
}

void incoming_free_all(struct ledger_replica *r)
{
    accept_clear(r);
    for (struct incoming *in = r->incoming_spare, *next; in; in = next) {
        next = in->next;
        incoming_free(in);
    }
    for (struct job *job = r->jobs_out; job; job = job->next)
        if (job->kind == JOB_INCOMING)
            incoming_free(job->subject);
}

static bool incoming_room(struct incoming *in, uint32_t count)
{
    if (count <= in->candidate_capacity)
        return true;
    void *grown;
    if (!(grown = realloc(in->candidates, count * sizeof *in->candidates)))
        return false;
    in->candidates = grown;
    if (!(grown = realloc(in->wanted, count * sizeof *in->wanted)))
        return false;
    in->wanted = grown;
    if (!(grown = realloc(in->known, count * sizeof *in->known)))
        return false;
    in->known = grown;
    in->candidate_capacity = count;
    return true;
}

/* ---- arrival ---- */

/* Puts the signature of a body into the job unless our pool has checked this very body. */
static int incoming_check_body(struct ledger_replica *r, struct job *job, struct candidate *c)
{
    struct error e;
    struct ledger_signature left;
    if (ledger_body_check_after(&r->memo, &c->body, r->genesis.hash, c->req_hash, &left, &e))
        return -ATOLL_EINVAL;
    const struct pooled *p = pool_find(r, c->req_hash);
    if (p && p->state != POOLED_CHECKING && slice_equal(p->candidate.body.bytes, c->body.bytes))
        return 0;
    const struct ledger_signature *last = job->count ? &job->items[job->count - 1] : NULL;
    if (last && !memcmp(last->hash, left.hash, HASH_LEN) &&
        !memcmp(last->signature, left.signature, ED25519_SIGNATURE_LEN) &&
        !memcmp(last->public_key, left.public_key, ED25519_KEY_LEN))
        return 0;
    if (!job_room(job, job->count + 1))
        return -ATOLL_ENOMEM;
    job->items[job->count++] = left;
    return 0;
}

static void incoming_send_job(struct ledger_replica *r, struct incoming *in, struct job *job)
{
    job->subject = in;
    job->base.suspect = in->passed_on && r->peers[in->from].suspect;
    in->job_out = true;
    in->state = INCOMING_CHECKING;
    job_send(r, job);
}

/* Decodes the bodies and sends what must be checked. False: the message is dropped. */
static bool incoming_start(struct ledger_replica *r, struct incoming *in)
{
    struct error e;
    const struct ledger_pp *pp = &in->decoded.pp;
    struct ledger_list items = in->decoded.items;
    struct ledger_batch_item item;
    struct job *job = job_take(r, JOB_INCOMING, 1 + items.left);
    if (!job || !incoming_room(in, items.left))
        goto drop;
    in->count = items.left;
    memcpy(job->items[0].hash, in->pp_hash, HASH_LEN);
    job->items[0].public_key = r->configuration->replicas[primary_of(r, pp->view)].public_key;
    job->items[0].signature = pp->signature;
    job->count = 1;
    in->wants = 0;
    for (uint32_t i = 0; ledger_list_next_item(&items, &item); i++) {
        struct candidate *c = &in->candidates[i];
        in->known[i] = !item.hash;
        if (item.hash) {
            memcpy(in->wanted[i], item.hash, HASH_LEN);
            in->wants++;
        } else if (ledger_body_decode(item.body, &c->body, &e) || incoming_check_body(r, job, c)) {
            goto drop;
        }
    }
    incoming_send_job(r, in, job);
    return true;
drop:
    if (job)
        job_give(r, job);
    return false;
}

/*
 * What its primary signed covers neither the bodies nor the evidence of a message: only one that
 * the primary sent itself can be held against it. One that another replica passed on is dropped
 * when it does not fit, and gives way to the primary's own.
 */
static void incoming_refuse(struct ledger_replica *r, struct incoming *in)
{
    if (in->passed_on) {
        r->counters.messages_dropped++;
        incoming_drop(r, in->decoded.pp.seqno);
        return;
    }
    in->state = INCOMING_BAD;
    r->pp_rejected = true;
}

void accept_pre_prepare(struct ledger_replica *r, uint16_t from, struct slice message)
{
    struct error e;
    struct ledger_pre_prepare_message m;
    if (ledger_pre_prepare_decode(message, &m, &e)) {
        r->counters.messages_dropped++;
        return;
    }
    uint64_t s = m.pp.seqno;
    const struct slot *held = slot_in_ledger(r, s);
    if (held && held->view == m.pp.view && s > r->hollow)
        conflict_pps(r, &held->pp, &m.pp);
    if (m.pp.view != r->view || !in_view(r) || is_primary(r) || s <= r->last)
        return;
    if (s > r->last + 2 * r->pipeline) {
        r->catching_up = true; /* the others are far ahead, it seems: they are asked */
        return;
    }
    struct incoming *in = r->incoming[s % SLOTS];
    bool passed_on = from != primary_of(r, m.pp.view);
    if (in && in->checked)
        conflict_pps(r, &in->decoded.pp, &m.pp);
    if (in && in->decoded.pp.seqno == s && in->decoded.pp.view == m.pp.view &&
        (passed_on || !in->passed_on))
        return; /* the first is being judged; another one would be an equivocation */
    if (!(in = incoming_take(r)))
        return;
    in->passed_on = passed_on;
    in->from = from;
    if (!buffer_append(&in->message, message.data, message.len) ||
        ledger_pre_prepare_decode(slice_of_buffer(&in->message), &in->decoded, &e)) {
        incoming_give(r, in);
        return;
    }
    ledger_pp_hash(&in->decoded.pp, in->pp_hash);
    if (!incoming_start(r, in)) {
        r->counters.messages_dropped++;
        incoming_give(r, in);
        return;
    }
    incoming_drop(r, s);
    r->incoming[s % SLOTS] = in;
}

static void incoming_fetch(struct ledger_replica *r, const struct incoming *in)
{
    struct ledger_fetch fetch = {.type = LEDGER_MESSAGE_FETCH_CONTENT};
    memcpy(fetch.batch_root, in->decoded.pp.batch_root, HASH_LEN);
    fetch_send(r, -1, &fetch);
}

void accept_verified(struct ledger_replica *r, struct job *job)
{
    struct incoming *in = job->subject;
    in->job_out = false;
    if (in->dropped) {
        incoming_give(r, in);
        return;
    }
    bool valid = true;
    for (size_t i = 0; i < job->count; i++)
        valid = valid && job->valid[i];
    if (!valid && !in->checked && !job->valid[0]) {
        incoming_drop(r, in->decoded.pp.seqno); /* not the primary's: the true one may come yet */
        r->counters.signatures_bad++;
        return;
    }
    in->checked = true;
    if (!valid) {
        /* Whoever passes a batch on has checked the signatures of its bodies. */
        r->peers[in->from].suspect = r->peers[in->from].suspect || in->passed_on;
        incoming_refuse(r, in);
    } else if (in->wants) {
        in->state = INCOMING_WANTS_BODIES;
        incoming_fetch(r, in);
    } else {
        in->state = INCOMING_READY;
    }
}

/* ---- bodies that were only named ---- */

bool accept_wants_bodies(const struct ledger_replica *r)
{
    for (uint64_t s = r->last + 1; s <= r->last + 2 * r->pipeline; s++) {
        const struct incoming *in = r->incoming[s % SLOTS];
        if (in && in->state == INCOMING_WANTS_BODIES)
            return true;
    }
    return false;
}

void accept_fetch_again(struct ledger_replica *r)
{
    for (uint64_t s = r->last + 1; s <= r->last + 2 * r->pipeline; s++) {
        const struct incoming *in = r->incoming[s % SLOTS];
        if (in && in->state == INCOMING_WANTS_BODIES)
            incoming_fetch(r, in);
    }
}

static struct incoming *incoming_wanting(struct ledger_replica *r, const uint8_t *g)
{
    for (uint64_t i = 0; i < SLOTS; i++) {
        struct incoming *in = r->incoming[i];
        if (in && in->state == INCOMING_WANTS_BODIES &&
            !memcmp(in->decoded.pp.batch_root, g, HASH_LEN))
            return in;
    }
    return NULL;
}

/* The contents of a batch that somebody sent: takes the bodies that a pp message only named. */
void accept_content(struct ledger_replica *r, const struct ledger_content *content)
{
    struct error e;
    struct incoming *in = incoming_wanting(r, content->batch_root);
    if (!in || content->count != in->count)
        return;
    struct ledger_list txs = content->txs;
    struct slice bytes;
    struct ledger_tx tx;
    uint8_t hash[HASH_LEN];
    in->bodies.len = 0;
    for (uint32_t i = 0; ledger_list_next_bytes(&txs, &bytes); i++) {
        if (in->known[i])
            continue;
        if (ledger_tx_decode(bytes, &tx, &e))
            return;
        ledger_body_hash(tx.body, hash);
        if (memcmp(hash, in->wanted[i], HASH_LEN) ||
            !buffer_append_u32(&in->bodies, (uint32_t)tx.body.len) ||
            !buffer_append(&in->bodies, tx.body.data, tx.body.len))
            return;
    }
    struct job *job = job_take(r, JOB_INCOMING, in->wants);
    if (!job)
        return;
    const uint8_t *at = in->bodies.data;
    bool fits = true;
    for (uint32_t i = 0; i < in->count && fits; i++) {
        if (in->known[i])
            continue;
        fits = !ledger_body_decode(slice_of(at + 4, load_u32(at)), &in->candidates[i].body, &e) &&
               !incoming_check_body(r, job, &in->candidates[i]);
        at += 4 + load_u32(at);
    }
    if (!fits) {
        job_give(r, job);
        incoming_refuse(r, in);
        return;
    }
    in->wants = 0;
    incoming_send_job(r, in, job);
}

/* ---- in its turn ---- */

enum verdict { VERDICT_IN, VERDICT_WAIT, VERDICT_BAD };

static enum verdict refuse(struct error *e, const char *what, uint64_t s)
{
    error_set(e, ATOLL_EREJECTED, "pp of batch %llu: %s", (unsigned long long)s, what);
    return VERDICT_BAD;
}

/* The kind, against the plan of the NewView or the rules for fresh batches. */
static enum verdict judge_kind(const struct ledger_replica *r, const struct ledger_pp *pp,
                               struct error *e)
{
    uint64_t s = pp->seqno;
    if (s <= r->plan_end) {
        const struct ledger_plan *plan = &r->plan[s - r->plan_base - 1];
        if (plan->kind != pp->kind || plan->first_index != pp->first_index ||
            plan->count != pp->count || memcmp(plan->batch_root, pp->batch_root, HASH_LEN))
            return refuse(e, "it is not what the NewView plans", s);
        return VERDICT_IN;
    }
    if ((pp->kind == LEDGER_KIND_CHECKPOINT) != (s % r->interval == 0))
        return refuse(e, "checkpoints are due at multiples of the interval, and only there", s);
    if (pp->kind == LEDGER_KIND_EMPTY && !accept_empty_batch_due(r, s))
        return refuse(e, "an empty batch after as many as the pipeline is deep", s);
    if (pp->kind == LEDGER_KIND_NORMAL && pp->count > r->configuration->max_batch)
        return refuse(e, "more transactions than a batch may have", s);
    if (pp->kind == LEDGER_KIND_END_CFG || pp->kind == LEDGER_KIND_START_CFG)
        return refuse(e, "reconfiguration is not supported", s);
    return VERDICT_IN;
}

/* Whether a batch in the ledger that we never judged, because it came with history, is one that we
 * may sign. What replaying does not look at: its kind and dC, which must be known. */
bool accept_holds(const struct ledger_replica *r, const struct slot *slot)
{
    struct error e;
    uint8_t dc[HASH_LEN];
    return judge_kind(r, &slot->pp, &e) == VERDICT_IN && digest_for(r, slot->s, dc) &&
           !memcmp(dc, slot->pp.kv_digest, HASH_LEN);
}

/* The evidence for s - P. WAIT: signatures of it are being checked. */
static enum verdict judge_evidence(struct ledger_replica *r, struct incoming *in, struct error *e)
{
    const struct ledger_pp *pp = &in->decoded.pp;
    struct slice bytes = in->decoded.evidence;
    struct ledger_evidence evidence;
    if (pp->seqno <= r->pipeline || LEDGER_BARE)
        return bytes.len || pp->evidence_bits ? refuse(e, "evidence of no batch", pp->seqno)
                                              : VERDICT_IN;
    struct slot *before = slot_in_ledger(r, pp->seqno - r->pipeline);
    if (!before || !bytes.len || ledger_evidence_decode(bytes, &evidence, e) ||
        evidence.bits != pp->evidence_bits)
        return refuse(e, "its evidence is missing", pp->seqno);
    struct ledger_signature work[LEDGER_REPLICAS_MAX];
    int count = ledger_evidence_check(r->configuration, &before->pp, &evidence, work, e);
    if (count < 0)
        return VERDICT_BAD;
    unsigned unknown = vote_unknown(r, before, &evidence, work, (unsigned)count);
    if (!unknown || in->evidence_checked || MUTATED(EVIDENCE_UNSIGNED)) {
        vote_take_evidence(r, before, bytes);
        return VERDICT_IN;
    }
    struct job *job = job_take(r, JOB_INCOMING, unknown);
    if (!job)
        return VERDICT_WAIT;
    memcpy(job->items, work, unknown * sizeof *work);
    job->count = unknown;
    in->evidence_checked = true;
    incoming_send_job(r, in, job);
    return VERDICT_WAIT;
}

/* Everything that can be told without executing the batch. */
static enum verdict judge(struct ledger_replica *r, struct incoming *in, struct error *e)
{
    const struct ledger_pp *pp = &in->decoded.pp;
    uint8_t dc[HASH_LEN];
    uint64_t s = pp->seqno;
    if (pp->config != r->configuration->number)
        return refuse(e, "another configuration", s);
    if (memcmp(pp->previous, r->previous, HASH_LEN) && !MUTATED(PREVIOUS_UNCOMPARED))
        return refuse(e, "it does not follow what we hold", s);
    if (pp->first_index != r->next_index || pp->gov_index != r->gov_index)
        return refuse(e, "its indices do not follow ours", s);
    enum verdict v = judge_kind(r, pp, e);
    if (v == VERDICT_IN)
        v = judge_evidence(r, in, e);
    if (v != VERDICT_IN)
        return v;
    if (s > r->committed + r->pipeline || !new_view_first_prepare_may_leave(r))
        return VERDICT_WAIT;
    if (!digest_for(r, s, dc))
        return VERDICT_WAIT;
    if (memcmp(dc, pp->kv_digest, HASH_LEN) && !MUTATED(DC_UNCOMPARED))
        return refuse(e, "another digest of the checkpoint", s);
    struct merkle_frontier frontier = r->frontier;
    if (in->decoded.evidence.len) {
        struct merkle_hash leaf = ledger_entry_leaf(LEDGER_ENTRY_EVIDENCE, in->decoded.evidence);
        if (merkle_frontier_append(&frontier, &leaf, e))
            return VERDICT_BAD;
    }
    struct merkle_hash m = merkle_frontier_root(&frontier);
    if (memcmp(m.bytes, pp->ledger_root, HASH_LEN) && !MUTATED(M_UNCOMPARED))
        return refuse(e, "another root of the ledger", s);
    return VERDICT_IN;
}

/* Executes, compares, and puts the batch into the ledger. */
static enum verdict incoming_apply(struct ledger_replica *r, struct incoming *in, struct error *e)
{
    const struct ledger_pp *pp = &in->decoded.pp;
    struct slot *slot = slot_find(r, pp->seqno);
    uint32_t done = 0;
    if (!slot || slot->view != pp->view)
        slot = slot_make(r, pp->seqno, pp->view);
    if (!slot)
        return VERDICT_WAIT;
    for (uint32_t i = 0; i < in->count; i++)
        r->run[i] = &in->candidates[i];
    if (execute_batch(r, slot, pp->seqno, pp->kind, pp->first_index, r->run, in->count, &done,
                      false, e))
        return VERDICT_BAD;
    struct merkle_hash g = execute_root(r, slot, pp->kind, done);
    if (done != pp->count ||
        (memcmp(g.bytes, pp->batch_root, HASH_LEN) && !MUTATED(G_UNCOMPARED)) ||
        slot->entries.len > LEDGER_BATCH_BYTES_MAX) {
        struct error undo;
        if (kv_rollback(r->kv, pp->seqno - 1, &undo))
            replica_stop(r, "the store cannot be taken back");
        return refuse(e, "executing it gives another result", pp->seqno);
    }
    slot->pp = *pp;
    memcpy(slot->pp_hash, in->pp_hash, HASH_LEN);
    slot->start = r->position;
    append_begin(r);
    if (in->decoded.evidence.len &&
        !append_entry(r, LEDGER_ENTRY_EVIDENCE, in->decoded.evidence, NULL)) {
        append_failed(r);
        return VERDICT_WAIT;
    }
    append_batch(r, slot);
    if (r->stopped)
        return VERDICT_WAIT;
    if (rule_may_vote(r, pp->view) && rule_may_sign_batch(r, slot->s)) {
        slot->marked = true;
        rule_mark_signed(r, LEDGER_SIGNED_PREPARE, slot->view, slot->s, slot->pp_hash);
        wait_durable(r, WAITING_SIGNED, slot->view, slot->s, slot->pp_hash);
    }
    if (pp->kind == LEDGER_KIND_CHECKPOINT)
        digest_start(r, slot);
    for (uint32_t i = 0; i < pp->count; i++)
        pool_forget(r, slot->txs[i].req_hash);
    pool_unpark(r);
    return VERDICT_IN;
}

/* Takes in what is ready, in order. */
void accept_run(struct ledger_replica *r)
{
    struct error e;
    while (in_view(r)) {
        uint64_t s = r->last + 1;
        struct incoming *in = r->incoming[s % SLOTS];
        if (!in || in->state != INCOMING_READY || in->decoded.pp.seqno != s ||
            in->decoded.pp.view != r->view)
            return;
        enum verdict v = judge(r, in, &e);
        if (v == VERDICT_IN)
            v = incoming_apply(r, in, &e);
        if (v == VERDICT_WAIT)
            return;
        if (v == VERDICT_BAD) {
            r->counters.batches_refused++;
            snprintf(r->refusal, sizeof r->refusal, "%s", e.text);
            incoming_refuse(r, in);
            return;
        }
        incoming_drop(r, s);
        vote_advance(r);
    }
}
