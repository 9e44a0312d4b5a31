/*
 * The primary: cuts batches, executes them early, and proposes them (§5).
 *
 * A batch is closed when the pipeline has room and enough requests wait for its place in it: one
 * when nothing is under way, max_batch / P more with every batch that is (propose_worth). After a
 * large batch the next one also waits a few milliseconds for more (propose_paced). A batch costs
 * signatures and messages whatever its size, so many small ones at a time would take the processors
 * from those that are under way. What waits goes at the latest when the batches before it are
 * committed and that time is over. A batch has max_batch transactions at most. Batches that a
 * NewView plans come first, with the contents it names. When nothing waits, EMPTY batches bring the
 * evidence of the others into the ledger, and then stop.
 */
#include "ledger/replica/core.h"

/* Whether a fresh EMPTY batch s has a purpose: one of the P before it is not EMPTY. */
bool accept_empty_batch_due(const struct ledger_replica *r, uint64_t s)
{
    uint64_t first = s > r->pipeline ? s - r->pipeline : 1;
    for (uint64_t i = first; i < s; i++) {
        const struct slot *slot = slot_in_ledger(r, i);
        if (!slot || slot->pp.kind != LEDGER_KIND_EMPTY)
            return true;
    }
    return false;
}

/* Whether as many requests wait as make a batch worth its cost while others are under way. */
bool propose_worth(const struct ledger_replica *r, size_t waiting)
{
    uint64_t under_way = r->last - r->committed;
    return waiting * r->pipeline >= under_way * r->configuration->max_batch;
}

/*
 * Until when a fresh batch waits for more requests; 0: it need not. Only where requests come so
 * densely that a batch of them fills meanwhile: a client alone never waits.
 */
uint64_t propose_paced(const struct ledger_replica *r)
{
    return r->pool.ready.count < r->configuration->max_batch ? r->paced_until : 0;
}

/* What the next batch is to be; false: nothing now. */
static bool propose_kind(struct ledger_replica *r, uint64_t s, enum ledger_kind *kind)
{
    bool waiting = pool_has_executable(r);
    bool idle = r->idle_due && accept_empty_batch_due(r, s);
    if (waiting ? !propose_worth(r, r->pool.ready.count) : !idle)
        return false;
    if (waiting && r->env.now_us(r->env.context) < propose_paced(r))
        return false;
    *kind = s % r->interval == 0 ? LEDGER_KIND_CHECKPOINT
            : waiting            ? LEDGER_KIND_NORMAL
                                 : LEDGER_KIND_EMPTY;
    return true;
}

/* Executes what the pool holds. The number of transactions; none: no batch. */
static uint32_t propose_from_pool(struct ledger_replica *r, struct slot *slot, uint64_t s)
{
    struct error e;
    uint32_t count = 0, done = 0;
    struct pooled *p = r->pool.ready.first;
    for (; p && count < r->configuration->max_batch; p = p->next)
        r->run[count++] = &p->candidate;
    if (execute_batch(r, slot, s, LEDGER_KIND_NORMAL, r->next_index, r->run, count, &done, true,
                      &e))
        done = 0;
    if (r->stopped)
        return 0;
    uint64_t next_index = r->next_index + done;
    p = r->pool.ready.first;
    for (struct pooled *next; p && count; p = next, count--) {
        next = p->next;
        const struct ledger_request *q = &p->candidate.body.request;
        if (client_table_check(r->kv, q->client, q->reqno) != CLIENT_NEW)
            pool_remove(r, p); /* executed now or before */
        else if (q->min_index >= next_index && !MUTATED(MIN_INDEX))
            pool_park(r, p);
    }
    return done;
}

/* Decodes a stashed batch into candidates for r->run. NULL: out of memory. */
struct candidate *stash_candidates(struct ledger_replica *r, const struct stash *stash)
{
    struct error e;
    struct candidate *candidates = calloc(stash->count ? stash->count : 1, sizeof *candidates);
    const uint8_t *at = stash->entries.data;
    for (uint32_t i = 0; candidates && i < stash->count; i++) {
        struct ledger_tx tx;
        struct slice bytes = {at + 4, load_u32(at)};
        if (ledger_tx_decode(bytes, &tx, &e) ||
            ledger_body_decode(tx.body, &candidates[i].body, &e)) {
            free(candidates);
            return NULL;
        }
        ledger_request_hash(candidates[i].body.fields, candidates[i].req_hash);
        r->run[i] = &candidates[i];
        at += 4 + bytes.len;
    }
    return candidates;
}

/* Executes a planned batch; false: its contents are not here or come out otherwise. */
static bool propose_planned(struct ledger_replica *r, struct slot *slot,
                            const struct ledger_plan *plan)
{
    struct error e;
    uint32_t done = 0;
    struct candidate *candidates = NULL;
    if (plan->first_index != r->next_index)
        return false;
    if (plan->count) {
        const struct stash *stash = stash_find(r, plan->batch_root);
        if (!stash || !(candidates = stash_candidates(r, stash)))
            return false;
    }
    int rc = execute_batch(r, slot, plan->seqno, plan->kind, plan->first_index, r->run, plan->count,
                           &done, false, &e);
    free(candidates);
    if (rc)
        return false;
    struct merkle_hash g = execute_root(r, slot, plan->kind, done);
    if (!memcmp(g.bytes, plan->batch_root, HASH_LEN))
        return true;
    if (kv_rollback(r->kv, plan->seqno - 1, &e))
        replica_stop(r, "the store cannot be taken back");
    return false;
}

static bool evidence_due(const struct ledger_replica *r, uint64_t s)
{
    return s > r->pipeline && !LEDGER_BARE;
}

/* The batch whose evidence batch s brings. NULL: none, or not here. */
static struct slot *evidence_slot(struct ledger_replica *r, uint64_t s)
{
    return evidence_due(r, s) ? slot_in_ledger(r, s - r->pipeline) : NULL;
}

/* Builds, appends and marks the batch that was executed into the slot. */
static void propose_append(struct ledger_replica *r, struct slot *slot, enum ledger_kind kind,
                           uint32_t count, const uint8_t dc[static HASH_LEN])
{
    struct ledger_pp *pp = &slot->pp;
    uint8_t nonce[LEDGER_NONCE_LEN];
    *pp = (struct ledger_pp){.config = r->configuration->number,
                             .view = r->view,
                             .seqno = slot->s,
                             .kind = kind,
                             .first_index = r->next_index,
                             .count = count,
                             .gov_index = r->gov_index};
    slot->start = r->position;
    append_begin(r);
    const struct slot *before = evidence_slot(r, slot->s);
    if (before) {
        struct ledger_evidence evidence;
        struct error e;
        if (ledger_evidence_decode(slice_of_buffer(&before->evidence), &evidence, &e))
            assert(false && "our evidence decodes");
        pp->evidence_bits = evidence.bits;
        if (!append_entry(r, LEDGER_ENTRY_EVIDENCE, slice_of_buffer(&before->evidence), NULL)) {
            append_failed(r);
            return;
        }
    }
    struct merkle_hash m = merkle_frontier_root(&r->frontier);
    struct merkle_hash g = execute_root(r, slot, kind, count);
    memcpy(pp->ledger_root, m.bytes, HASH_LEN);
    memcpy(pp->batch_root, g.bytes, HASH_LEN);
    memcpy(pp->kv_digest, dc, HASH_LEN);
    memcpy(pp->previous, r->previous, HASH_LEN);
    rule_nonce(r, true, r->view, slot->s, pp->batch_root, nonce);
    ledger_nonce_hash(nonce, pp->nonce_commit);
    ledger_pp_hash(pp, slot->pp_hash);
    r->env.sign(r->env.context, slot->pp_hash, pp->signature);
    append_batch(r, slot);
    if (r->stopped)
        return;
    slot->marked = true;
    rule_mark_signed(r, LEDGER_SIGNED_PP, slot->view, slot->s, slot->pp_hash);
    wait_durable(r, WAITING_SIGNED, slot->view, slot->s, slot->pp_hash);
    if (kind == LEDGER_KIND_CHECKPOINT)
        digest_start(r, slot);
}

static bool propose_one(struct ledger_replica *r)
{
    uint64_t s = r->last + 1;
    uint8_t dc[HASH_LEN];
    enum ledger_kind kind;
    if (s > r->committed + r->pipeline || !digest_for(r, s, dc))
        return false;
    if (evidence_due(r, s)) {
        struct slot *before = evidence_slot(r, s);
        if (!before || !vote_evidence(r, before))
            return false;
    }
    const struct ledger_plan *plan = s <= r->plan_end ? &r->plan[s - r->plan_base - 1] : NULL;
    if (!plan && !propose_kind(r, s, &kind))
        return false;
    struct slot *slot = slot_make(r, s, r->view);
    struct error e;
    uint32_t count = 0;
    if (!slot)
        return false;
    if (plan) {
        kind = plan->kind;
        count = plan->count;
        if (!propose_planned(r, slot, plan))
            return false;
    } else if (kind == LEDGER_KIND_NORMAL) {
        count = propose_from_pool(r, slot, s);
        if (!count)
            return false;
    } else if (execute_batch(r, slot, s, kind, r->next_index, NULL, 0, &count, false, &e)) {
        return false;
    }
    propose_append(r, slot, kind, count, dc);
    r->paced_until = 0;
    if (kind == LEDGER_KIND_NORMAL) {
        r->idle_due = false;
        if (!plan && count >= PACE_TRANSACTIONS)
            r->paced_until = r->env.now_us(r->env.context) + PACE_US;
    }
    pool_unpark(r);
    return true;
}

void propose(struct ledger_replica *r)
{
    if (!in_view(r) || !is_primary(r) || !rule_may_vote(r, r->view))
        return;
    while (!r->stopped && rule_may_sign_batch(r, r->last + 1) && propose_one(r))
        ;
    if (!accept_empty_batch_due(r, r->last + 1))
        r->idle_due = false;
}

/* The pp message of a batch in the ledger, as its primary sends it; to one replica or (-1) to all.
 */
void propose_send(struct ledger_replica *r, struct slot *slot, int to)
{
    struct error e;
    struct ledger_message_writer w;
    const struct slot *before = evidence_slot(r, slot->s);
    struct slice evidence = {NULL, 0};
    if (evidence_due(r, slot->s)) {
        if (!before || !before->evidence.len)
            return;
        evidence = slice_of_buffer(&before->evidence);
    }
    r->scratch.len = 0;
    if (!ledger_pre_prepare_begin(&w, &r->scratch, &slot->pp, evidence))
        return;
    for (uint32_t i = 0; i < slot->pp.count; i++) {
        struct ledger_tx tx;
        uint8_t hash[HASH_LEN];
        const struct slot_tx *st = &slot->txs[i];
        if (ledger_tx_decode(slice_of(slot->entries.data + st->start, st->len), &tx, &e))
            return;
        bool written;
        if (tx.body.len <= LEDGER_INLINE_MAX) {
            written = ledger_pre_prepare_body(&w, tx.body);
        } else {
            ledger_body_hash(tx.body, hash);
            written = ledger_pre_prepare_hash(&w, hash);
        }
        if (!written)
            return;
    }
    ledger_message_end(&w);
    send_to(r, to, slice_of_buffer(&r->scratch));
}
