/*
 * Prepares, commits, evidence: how a batch in the ledger becomes prepared and committed (§5).
 *
 *   own Prepare sent, Q-1 Prepares → prepared: certificate → durable: certain → our nonce leaves
 *   (Commit, replies) → Q nonces: committed.        Valid evidence does all of it at once.
 *
 * prepared and committed grow in order (I3). Votes may come before their batch; a nonce before its
 * Prepare is held, one per replica.
 */
#include "ledger/replica/core.h"

static bool vote_matches(const struct slot *slot, const struct vote *v)
{
    return v->valid && !memcmp(v->prepare.pp_hash, slot->pp_hash, HASH_LEN);
}

/* Takes a held nonce if it opens what its replica committed to. */
static void nonce_try(struct ledger_replica *r, struct slot *slot, unsigned replica)
{
    struct vote *v = &slot->votes[replica];
    const uint8_t *commitment = NULL;
    uint8_t hash[HASH_LEN];
    if (replica == primary_of(r, slot->view))
        commitment = slot->in_ledger ? slot->pp.nonce_commit : NULL;
    else if (v->valid)
        commitment = v->prepare.nonce_commit;
    if (!v->nonce_waiting || !commitment)
        return;
    ledger_nonce_hash(v->nonce, hash);
    v->nonce_waiting = false;
    v->nonce_held = !memcmp(hash, commitment, HASH_LEN) || MUTATED(NONCE_UNOPENED);
}

/* ---- our own ---- */

static void prepare_build(struct ledger_replica *r, const struct slot *slot,
                          struct ledger_prepare *p)
{
    uint8_t nonce[LEDGER_NONCE_LEN], hash[HASH_LEN];
    *p = (struct ledger_prepare){
        .config = slot->pp.config, .view = slot->view, .seqno = slot->s, .replica = r->self};
    rule_nonce(r, false, slot->view, slot->s, slot->pp_hash, nonce);
    ledger_nonce_hash(nonce, p->nonce_commit);
    memcpy(p->pp_hash, slot->pp_hash, HASH_LEN);
    ledger_prepare_hash(p, hash);
    r->env.sign(r->env.context, hash, p->signature);
}

/* Our mark on this batch is durable: what we signed may leave. */
void vote_own(struct ledger_replica *r, struct slot *slot)
{
    if (!rule_may_vote(r, slot->view))
        return;
    slot->own_ready = true;
    if (primary_of(r, slot->view) == r->self) {
        propose_send(r, slot, -1);
    } else {
        struct vote *v = &slot->votes[r->self];
        prepare_build(r, slot, &v->prepare);
        v->held = v->valid = true;
        r->scratch.len = 0;
        if (ledger_prepare_write(&r->scratch, &v->prepare))
            send_to(r, -1, slice_of_buffer(&r->scratch));
    }
    vote_advance(r);
}

static void own_nonce(const struct ledger_replica *r, const struct slot *slot,
                      uint8_t nonce[static LEDGER_NONCE_LEN])
{
    bool primary = primary_of(r, slot->view) == r->self;
    rule_nonce(r, primary, slot->view, slot->s, primary ? slot->pp.batch_root : slot->pp_hash,
               nonce);
}

/* The certificate of this batch is durable: our nonce may leave, if the rule allows it. */
void vote_certain(struct ledger_replica *r, struct slot *slot)
{
    slot->certain = true;
    if (!rule_nonce_may_leave(r, slot))
        return;
    assert(slot->prepared);
    struct vote *v = &slot->votes[r->self];
    own_nonce(r, slot, v->nonce);
    v->nonce_held = true;
    slot->released = true;
    vote_send_commit(r, slot, -1);
    reply_batch(r, slot);
    vote_advance(r);
}

void vote_send_commit(struct ledger_replica *r, const struct slot *slot, int to)
{
    assert(slot->released);
    struct ledger_commit c = {.view = slot->view, .seqno = slot->s, .replica = r->self};
    memcpy(c.nonce, slot->votes[r->self].nonce, sizeof c.nonce);
    r->scratch.len = 0;
    if (ledger_commit_write(&r->scratch, &c))
        send_to(r, to, slice_of_buffer(&r->scratch));
}

/* ---- others' ---- */

/* The slot that a vote for (view, s) belongs to; NULL: nowhere. */
static struct slot *vote_slot(struct ledger_replica *r, uint64_t view, uint64_t s)
{
    struct slot *slot = slot_find(r, s);
    if (slot && slot->view == view)
        return slot;
    if (slot && slot->in_ledger)
        return NULL;
    if (view != r->view || s <= r->last || s > r->last + 2 * r->pipeline)
        return NULL;
    return slot_make(r, s, view);
}

/* One that somebody passes on may be forged: while it is checked, its sender's own replaces it. */
void vote_prepare(struct ledger_replica *r, uint16_t from, const struct ledger_prepare *p)
{
    struct slot *slot = vote_slot(r, p->view, p->seqno);
    if (!slot || p->replica >= r->n || p->replica == r->self ||
        p->replica == primary_of(r, p->view) || p->config != r->configuration->number)
        return;
    struct vote *v = &slot->votes[p->replica];
    if (v->held && (v->valid || !v->passed_on || from != p->replica)) {
        if (v->valid)
            conflict_prepares(r, &v->prepare, p);
        return;
    }
    if (!r->vote_job && !(r->vote_job = job_take(r, JOB_VOTES, 64)))
        return;
    struct job *job = r->vote_job;
    if (!job_room(job, job->count + 1))
        return;
    v->held = true;
    v->valid = false;
    v->passed_on = from != p->replica;
    v->prepare = *p;
    job->references[job->count] =
        (struct vote_reference){.view = p->view, .s = p->seqno, .replica = p->replica};
    memcpy(job->copies[job->count], p->signature, ED25519_SIGNATURE_LEN);
    ledger_prepare_hash(p, job->items[job->count].hash);
    job->items[job->count].public_key = r->configuration->replicas[p->replica].public_key;
    job->count++;
}

void vote_settle(struct ledger_replica *r)
{
    struct job *job = r->vote_job;
    if (!job)
        return;
    r->vote_job = NULL;
    for (size_t i = 0; i < job->count; i++)
        job->items[i].signature = job->copies[i]; /* the array has stopped moving */
    job_send(r, job);
}

/* Whether this is still the Prepare that was sent away to be checked. Another one may have taken
 * its place, also under the same signature: whoever has heard a Prepare can pass on false copies of
 * it.
 */
static bool vote_is_checked(const struct vote *v, const struct job *job, size_t i)
{
    uint8_t hash[HASH_LEN];
    if (memcmp(v->prepare.signature, job->copies[i], ED25519_SIGNATURE_LEN))
        return false;
    ledger_prepare_hash(&v->prepare, hash);
    return !memcmp(hash, job->items[i].hash, HASH_LEN);
}

void vote_verified(struct ledger_replica *r, struct job *job)
{
    for (size_t i = 0; i < job->count; i++) {
        const struct vote_reference *ref = &job->references[i];
        struct slot *slot = slot_find(r, ref->s);
        if (!slot || slot->view != ref->view)
            continue;
        struct vote *v = &slot->votes[ref->replica];
        if (!v->held || v->valid || !vote_is_checked(v, job, i))
            continue;
        v->valid = job->valid[i] || MUTATED(PREPARE_UNSIGNED);
        if (!v->valid) {
            v->held = false;
            r->counters.signatures_bad++;
        }
        nonce_try(r, slot, ref->replica);
    }
    vote_advance(r);
}

void vote_commit(struct ledger_replica *r, const struct ledger_commit *c)
{
    struct slot *slot = vote_slot(r, c->view, c->seqno);
    if (!slot || c->replica >= r->n || c->replica == r->self)
        return;
    struct vote *v = &slot->votes[c->replica];
    if (v->nonce_held)
        return;
    memcpy(v->nonce, c->nonce, sizeof v->nonce);
    v->nonce_waiting = true;
    nonce_try(r, slot, c->replica);
    vote_advance(r);
}

/* The Prepares of a certificate that we wrote down before. */
void vote_take_certificate(struct ledger_replica *r, struct slot *slot,
                           const struct ledger_certificate *c)
{
    const uint8_t *at = c->votes;
    for (unsigned i = 0; i < r->n; i++) {
        if (!(c->bits >> i & 1))
            continue;
        struct vote *v = &slot->votes[i];
        v->held = v->valid = true;
        v->prepare = (struct ledger_prepare){.config = slot->pp.config,
                                             .view = slot->view,
                                             .seqno = slot->s,
                                             .replica = (uint16_t)i};
        memcpy(v->prepare.pp_hash, slot->pp_hash, HASH_LEN);
        memcpy(v->prepare.nonce_commit, at, HASH_LEN);
        memcpy(v->prepare.signature, at + HASH_LEN, ED25519_SIGNATURE_LEN);
        at += LEDGER_CERTIFICATE_VOTE_LEN;
    }
}

/* ---- prepared ---- */

/* Appends the certificate that this slot's votes make. False: they do not make one. */
bool vote_certificate(const struct ledger_replica *r, const struct slot *slot, struct buffer *out)
{
    uint8_t votes[LEDGER_REPLICAS_MAX][LEDGER_CERTIFICATE_VOTE_LEN];
    struct ledger_certificate c = {.pp = slot->pp, .votes = votes[0]};
    for (unsigned i = 0; i < r->n && c.vote_count < r->quorum - 1; i++) {
        const struct vote *v = &slot->votes[i];
        if (i == primary_of(r, slot->view) || !vote_matches(slot, v))
            continue;
        memcpy(votes[c.vote_count], v->prepare.nonce_commit, HASH_LEN);
        memcpy(votes[c.vote_count] + HASH_LEN, v->prepare.signature, ED25519_SIGNATURE_LEN);
        c.bits |= UINT64_C(1) << i;
        c.vote_count++;
    }
    return c.vote_count == r->quorum - 1 && ledger_certificate_encode(&c, out);
}

static bool is_prepared(const struct ledger_replica *r, const struct slot *slot)
{
    unsigned count = 0;
    if (slot->evidence.len)
        return true;
    if (!slot->own_ready)
        return false;
    for (unsigned i = 0; i < r->n; i++)
        count += i != primary_of(r, slot->view) && vote_matches(slot, &slot->votes[i]);
    return count >= r->quorum - 1;
}

/* Writes the certificate down and makes it our tip. */
static bool prepare_slot(struct ledger_replica *r, struct slot *slot)
{
    struct buffer certificate = {0};
    bool done = tip_can_follow(r, slot) && vote_certificate(r, slot, &certificate);
    if (done) {
        append_record(r, LEDGER_RECORD_CERTIFICATE, 0, slice_of_buffer(&certificate));
        tip_add(r, slot, slice_of_buffer(&certificate));
        slot->prepared = true;
        r->prepared = slot->s;
        wait_durable(r, WAITING_CERTIFICATE, slot->view, slot->s, slot->pp_hash);
        if (MUTATED(NONCE_EARLY))
            vote_certain(r, slot);
    }
    buffer_free(&certificate);
    return done;
}

/* ---- committed ---- */

/* Valid nonces for this batch, and whose. */
static unsigned vote_nonces(const struct ledger_replica *r, const struct slot *slot, uint64_t *bits)
{
    unsigned count = 0;
    *bits = 0;
    for (unsigned i = 0; i < r->n; i++) {
        const struct vote *v = &slot->votes[i];
        if (v->nonce_held && (i == primary_of(r, slot->view) || vote_matches(slot, v))) {
            *bits |= UINT64_C(1) << i;
            count++;
        }
    }
    return count;
}

static bool is_committed(const struct ledger_replica *r, const struct slot *slot)
{
    uint64_t bits;
    if (slot->evidence.len)
        return true;
    return slot->released && vote_nonces(r, slot, &bits) + MUTATED(FEW_NONCES) >= r->quorum;
}

/* Batch s of the ledger is committed, and all before it: the contents stand for ever. */
void floor_raise(struct ledger_replica *r, uint64_t s)
{
    for (uint64_t i = r->floor + 1; i <= s; i++) {
        const struct slot *slot = slot_in_ledger(r, i);
        if (slot)
            memcpy(r->floor_g[i % SLOTS], slot->pp.batch_root, HASH_LEN);
    }
    if (s > r->floor)
        r->floor = s;
    kv_commit(r->kv, final_batch(r));
}

static void commit_slot(struct ledger_replica *r, struct slot *slot)
{
    slot->committed = true;
    r->committed = slot->s;
    assert(rule_floor_allows(r, slot->s, slot->pp.batch_root));
    bool fresh = slot->s > r->floor; /* and not one that an earlier view committed already */
    floor_raise(r, slot->s);
    r->batches_committed++;
    timer_progress(r, fresh);
}

/* Draws the consequences of new votes, nonces, evidence. */
void vote_advance(struct ledger_replica *r)
{
    if (!in_view(r) && !MUTATED(NONCE_AFTER_CHANGE))
        return;
    for (uint64_t s = r->committed + 1; s <= r->last; s++)
        nonce_try(r, slot_find(r, s), primary_of(r, r->view));
    while (r->prepared < r->last) {
        struct slot *slot = slot_in_ledger(r, r->prepared + 1);
        if (!slot || !is_prepared(r, slot) || !prepare_slot(r, slot))
            break;
    }
    rule_leave_quarantine(r);
    while (r->committed < r->prepared) {
        struct slot *slot = slot_in_ledger(r, r->committed + 1);
        if (!slot || !is_committed(r, slot))
            break;
        commit_slot(r, slot);
    }
}

/* ---- evidence ---- */

/* Makes the evidence for this batch out of what we hold: Q replicas' Prepares and nonces, with the
 * primary's. False: it is not complete. */
bool vote_evidence(struct ledger_replica *r, struct slot *slot)
{
    uint64_t have, bits = 0;
    unsigned primary = primary_of(r, slot->view), count = 0;
    uint8_t signatures[LEDGER_REPLICAS_MAX][ED25519_SIGNATURE_LEN];
    uint8_t nonces[LEDGER_REPLICAS_MAX][LEDGER_NONCE_LEN];
    if (slot->evidence.len)
        return true;
    if (vote_nonces(r, slot, &have) < r->quorum || !(have >> primary & 1))
        return false;
    uint64_t others = have & ~(UINT64_C(1) << primary);
    for (unsigned i = 0, chosen = 1; i < r->n; i++) {
        bool take = i == primary || ((others >> i & 1) && chosen < r->quorum);
        if (!take)
            continue;
        if (i != primary) {
            memcpy(signatures[chosen - 1], slot->votes[i].prepare.signature, sizeof signatures[0]);
            chosen++;
        }
        memcpy(nonces[count++], slot->votes[i].nonce, sizeof nonces[0]);
        bits |= UINT64_C(1) << i;
    }
    struct ledger_evidence evidence = {.view = slot->view,
                                       .seqno = slot->s,
                                       .bits = bits,
                                       .prepare_count = count - 1,
                                       .nonce_count = count,
                                       .signatures = signatures[0],
                                       .nonces = nonces[0]};
    assert(count == r->quorum);
    if (ledger_evidence_encode(&evidence, &slot->evidence))
        return true;
    slot->evidence.len = 0;
    return false;
}

/*
 * Leaves in `work` (as ledger_evidence_check filled it in) only the signatures that we have not
 * checked already: the pp's we have, and the Prepares that we hold. How many are left.
 */
unsigned vote_unknown(const struct ledger_replica *r, const struct slot *slot,
                      const struct ledger_evidence *evidence, struct ledger_signature *work,
                      unsigned count)
{
    unsigned left = 0, at = 1;
    for (unsigned i = 0; i < r->n && at < count; i++) {
        if (!(evidence->bits >> i & 1) || i == primary_of(r, slot->view))
            continue;
        const struct vote *v = &slot->votes[i];
        uint8_t hash[HASH_LEN];
        /* The Prepare that the evidence's nonce makes must be the one we hold, not only its
         * signature: with a false nonce it is another one. */
        ledger_prepare_hash(&v->prepare, hash);
        if (!vote_matches(slot, v) || memcmp(hash, work[at].hash, HASH_LEN) ||
            memcmp(v->prepare.signature, work[at].signature, ED25519_SIGNATURE_LEN))
            work[left++] = work[at];
        at++;
    }
    return left;
}

/* Valid evidence for this batch: its votes are ours from now on, and it is the evidence that the
 * ledger holds, or is to hold. */
void vote_take_evidence(struct ledger_replica *r, struct slot *slot, struct slice bytes)
{
    struct error e;
    struct ledger_evidence evidence;
    unsigned prepare = 0, nonce = 0;
    if (ledger_evidence_decode(bytes, &evidence, &e) ||
        (slot->evidence.len && slot_in_ledger(r, slot->s + r->pipeline)))
        return; /* the ledger holds another one for it already */
    slot->evidence.len = 0;
    if (!buffer_append(&slot->evidence, bytes.data, bytes.len))
        slot->evidence.len = 0;
    for (unsigned i = 0; i < r->n; i++) {
        struct vote *v = &slot->votes[i];
        if (!(evidence.bits >> i & 1))
            continue;
        memcpy(v->nonce, evidence.nonces + (size_t)nonce++ * LEDGER_NONCE_LEN, sizeof v->nonce);
        v->nonce_held = true;
        if (i == primary_of(r, slot->view))
            continue;
        v->held = v->valid = true;
        v->prepare = (struct ledger_prepare){.config = slot->pp.config,
                                             .view = slot->view,
                                             .seqno = slot->s,
                                             .replica = (uint16_t)i};
        ledger_nonce_hash(v->nonce, v->prepare.nonce_commit);
        memcpy(v->prepare.pp_hash, slot->pp_hash, HASH_LEN);
        memcpy(v->prepare.signature,
               evidence.signatures + (size_t)prepare++ * ED25519_SIGNATURE_LEN,
               ED25519_SIGNATURE_LEN);
    }
    vote_advance(r);
}
