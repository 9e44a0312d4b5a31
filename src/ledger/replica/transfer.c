/*
 * Taking over history (§6, state transfer): entries from a peer, from the end of what is final
 * here, until a batch is vouched for by somebody we believe.
 *
 * Two things vouch. A TARGET: a link (tip.c) that Q replicas' signatures name, those of a view
 * change or of an evidence message. And EVIDENCE among the entries: Q signatures and nonces for a
 * batch of the fragment. The pp of that batch commits everything before it by M and its own
 * transactions by G; nothing is used before both are checked. A peer that sends what does not fit
 * is not asked again in this session.
 *
 *   fragment   | entries …, PP s, TX …, …, EVIDENCE s, … |
 *              from          └ vouched for: applied up to here, the rest stays held
 */
#include "ledger/replica/core.h"

#define ASK_BYTES (4u << 20)

/* A place in the fragment at which the ledger may end. */
struct stop {
    bool found;
    bool is_new_view;
    uint64_t s, view;
    uint8_t hash[HASH_LEN]; /* of the pp, or of the NewView */
    size_t offset;          /* behind its last entry */
    uint64_t entries;       /* up to there */
};

/* Walks the entries that are held. */
struct walk {
    const uint8_t *at, *end;
    uint64_t position;
    uint8_t type;
    struct slice payload;
};

static struct walk walk_start(const struct ledger_replica *r)
{
    const struct buffer *b = &r->transfer.entries;
    return (struct walk){.at = b->data, .end = b->data + b->len, .position = r->transfer.from - 1};
}

static bool walk_next(struct walk *w)
{
    if (w->at == w->end)
        return false;
    w->type = w->at[0];
    w->payload = slice_of(w->at + 5, load_u32(w->at + 1));
    w->at += 5 + w->payload.len;
    w->position++;
    return true;
}

void transfer_stop(struct ledger_replica *r)
{
    struct transfer *t = &r->transfer;
    t->active = t->has_target = false;
    t->entries.len = 0;
    t->held = 0;
    t->banned = 0;
    t->generation++;
    replay_reset(r);
}

static void transfer_ask(struct ledger_replica *r)
{
    struct transfer *t = &r->transfer;
    t->asked_at = r->env.now_us(r->env.context);
    fetch_send(r, t->source,
               &(struct ledger_fetch){.type = LEDGER_MESSAGE_FETCH_LEDGER,
                                      .from = t->from + t->held,
                                      .until = UINT64_MAX,
                                      .max_bytes = ASK_BYTES});
}

/* Starts over, at what is final. */
static void transfer_restart(struct ledger_replica *r)
{
    struct transfer *t = &r->transfer;
    t->entries.len = 0;
    t->held = 0;
    t->generation++;
    t->begun_at = r->env.now_us(r->env.context);
    t->from_s = final_batch(r);
    if (ledger_end_at(r, t->from_s, &t->from))
        assert(false && "what is final is here");
}

/* The next peer that is not banned; when all are, everyone gets another chance. */
static void transfer_other_source(struct ledger_replica *r)
{
    struct transfer *t = &r->transfer;
    for (unsigned i = 1; i <= r->n; i++) {
        uint16_t next = (uint16_t)((t->source + i) % r->n);
        if (next != r->self && !(t->banned >> next & 1)) {
            t->source = next;
            return;
        }
    }
    t->banned = 0;
}

static void transfer_ban(struct ledger_replica *r)
{
    r->transfer.banned |= UINT64_C(1) << r->transfer.source;
    r->counters.messages_dropped++;
    transfer_other_source(r);
    transfer_restart(r);
    transfer_ask(r);
}

/* Wants the ledger up to the point after batch s that `link` names. */
void transfer_want(struct ledger_replica *r, uint64_t s, const uint8_t link[static HASH_LEN],
                   bool committed, int source)
{
    struct transfer *t = &r->transfer;
    bool same = t->has_target && t->target_s == s && !memcmp(t->target_link, link, HASH_LEN);
    if (t->active && (same || (r->pending.state != PENDING_FETCHING && t->target_s >= s)))
        return;
    t->has_target = true;
    t->target_s = s;
    t->target_committed = committed;
    memcpy(t->target_link, link, HASH_LEN);
    if (t->active)
        return;
    t->active = true;
    t->banned = 0;
    t->source = source >= 0 && source != r->self ? (uint16_t)source : r->self;
    if (t->source == r->self)
        transfer_other_source(r);
    transfer_restart(r);
    transfer_ask(r);
}

void transfer_again(struct ledger_replica *r)
{
    struct transfer *t = &r->transfer;
    uint64_t now = r->env.now_us(r->env.context);
    /* Silence, or entries for which nothing ever vouches. */
    if (!t->active || t->job_out ||
        (now < t->asked_at + 2 * FETCH_AGAIN_US && now < t->begun_at + TRANSFER_STALL_US))
        return;
    transfer_other_source(r);
    transfer_restart(r);
    transfer_ask(r);
}

/* ---- examining ---- */

/* The last batch, or NewView, of the fragment that the target names; batches must be whole. */
static struct stop find_target(const struct ledger_replica *r)
{
    const struct transfer *t = &r->transfer;
    struct stop stop = {0};
    struct ledger_pp pp = {0};
    struct ledger_new_view nv;
    struct error e;
    uint64_t left = 0;
    bool here = false;
    for (struct walk w = walk_start(r); t->has_target && walk_next(&w);) {
        if (w.type == LEDGER_ENTRY_PP && !ledger_pp_decode_signed(w.payload, &pp, &e)) {
            ledger_pp_hash(&pp, stop.hash);
            here = !memcmp(stop.hash, t->target_link, HASH_LEN);
            stop.view = pp.view;
            stop.is_new_view = false;
            left = pp.count;
        } else if (w.type == LEDGER_ENTRY_NEW_VIEW &&
                   !ledger_new_view_decode_signed(w.payload, &nv, &e)) {
            ledger_new_view_hash(&nv, stop.hash);
            here = !memcmp(stop.hash, t->target_link, HASH_LEN);
            stop.view = nv.view;
            stop.is_new_view = true;
            left = 0;
        } else if (w.type == LEDGER_ENTRY_TX && left) {
            left--;
        }
        if (here && !left) {
            stop.found = true;
            stop.s = t->target_s;
            stop.offset = (size_t)(w.at - r->transfer.entries.data);
            stop.entries = w.position - t->from + 1;
            return stop;
        }
    }
    return stop;
}

/* The last batch of the fragment for which the fragment itself holds evidence; fills in what is to
 * be checked. */
static struct stop find_evidence(const struct ledger_replica *r, struct ledger_pp *pp,
                                 struct slice *evidence_bytes)
{
    const struct transfer *t = &r->transfer;
    struct stop stops[LEDGER_PIPELINE_MAX + 1] = {{0}}; /* of the last P + 1 batches, by s */
    struct ledger_pp pps[LEDGER_PIPELINE_MAX + 1];
    struct stop best = {0};
    struct ledger_evidence evidence;
    struct error e;
    uint64_t left = 0, s = 0, ring = r->pipeline + 1;
    for (struct walk w = walk_start(r); walk_next(&w);) {
        struct stop *now = &stops[s % ring];
        if (w.type == LEDGER_ENTRY_PP &&
            !ledger_pp_decode_signed(w.payload,
                                     &pps[0 + (s = load_u64(w.payload.data + 12)) % ring], &e)) {
            now = &stops[s % ring];
            *now = (struct stop){.s = s, .view = pps[s % ring].view};
            ledger_pp_hash(&pps[s % ring], now->hash);
            left = pps[s % ring].count;
        } else if (w.type == LEDGER_ENTRY_TX && left) {
            left--;
        } else if (w.type == LEDGER_ENTRY_EVIDENCE &&
                   !ledger_evidence_decode(w.payload, &evidence, &e)) {
            const struct stop *about = &stops[evidence.seqno % ring];
            if (about->found && about->s == evidence.seqno) {
                best = *about;
                *pp = pps[evidence.seqno % ring];
                *evidence_bytes = w.payload;
            }
            continue;
        }
        if ((w.type == LEDGER_ENTRY_PP || w.type == LEDGER_ENTRY_TX) && !left && now->s == s && s) {
            now->found = true;
            now->offset = (size_t)(w.at - t->entries.data);
            now->entries = w.position - t->from + 1;
        }
    }
    return best;
}

/* Whether the entries up to the stop are what the stop's pp or NewView commits to: all before it by
 * its root M, its own transactions by G, and nothing else behind it. */
static bool stop_holds(const struct ledger_replica *r, const struct stop *stop)
{
    struct error e;
    const struct slot *slot = slot_in_ledger(r, r->transfer.from_s);
    struct merkle_frontier f = slot ? slot->after : r->genesis_frontier, g = {0};
    struct ledger_pp pp = {0};
    struct ledger_new_view nv;
    uint8_t hash[HASH_LEN];
    uint32_t txs = 0;
    bool holds = false;
    struct walk w = walk_start(r);
    const uint8_t *end = w.at + stop->offset;
    while (w.at < end && walk_next(&w)) {
        if (w.type == 0 || w.type > LEDGER_ENTRY_NEW_VIEW)
            return false;
        struct merkle_hash root = merkle_frontier_root(&f);
        struct merkle_hash leaf = ledger_entry_leaf(w.type, w.payload);
        if (w.type == LEDGER_ENTRY_PP) {
            if (ledger_pp_decode_signed(w.payload, &pp, &e))
                return false;
            g = (struct merkle_frontier){0};
            txs = 0;
            ledger_pp_hash(&pp, hash);
            holds = !stop->is_new_view && !memcmp(hash, stop->hash, HASH_LEN) &&
                    !memcmp(root.bytes, pp.ledger_root, HASH_LEN);
        } else if (w.type == LEDGER_ENTRY_TX) {
            merkle_frontier_append(&g, &leaf, &e);
            txs++;
        } else if (w.type == LEDGER_ENTRY_NEW_VIEW && stop->is_new_view) {
            if (ledger_new_view_decode_signed(w.payload, &nv, &e))
                return false;
            ledger_new_view_hash(&nv, hash);
            holds = !memcmp(hash, stop->hash, HASH_LEN) &&
                    !memcmp(root.bytes, nv.ledger_root, HASH_LEN);
            txs = 0;
        } else {
            holds = false; /* a pp of later must vouch for it */
        }
        merkle_frontier_append(&f, &leaf, &e);
    }
    if (txs != (stop->is_new_view ? 0 : pp.count))
        return false;
    if (holds && !stop->is_new_view && pp.count) {
        struct merkle_hash root = merkle_frontier_root(&g);
        holds = !memcmp(root.bytes, pp.batch_root, HASH_LEN);
    }
    return holds;
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
    struct walk w = walk_start(r);
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
    struct walk w = walk_start(r);
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
    uint64_t view = r->view;
    if (overlap->offset == stop->offset)
        return true;
    struct view_entry after = {0};
    if (overlap->after_view)
        after = *view_entry_find(r, overlap->view);
    rollback_to_batch(r, overlap->s, overlap->after_view ? &after : NULL);
    accept_clear(r);
    replay_reset(r);
    struct walk w = walk_start(r);
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
    if (r->view == view)
        rule_abstain(r, view);
    pool_unpark(r);
    return !r->stopped;
}

/* The stop is vouched for. `committed`: by evidence. */
static void transfer_apply(struct ledger_replica *r, const struct stop *stop, bool committed)
{
    struct overlap overlap;
    if (!stop_holds(r, stop)) {
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
    if (committed && stop->s > r->committed) {
        r->prepared = r->prepared > stop->s ? r->prepared : stop->s;
        r->committed = stop->s;
        bool fresh = stop->s > r->floor;
        floor_raise(r, stop->s);
        timer_progress(r, fresh);
    }
    struct transfer *t = &r->transfer;
    bool reached = t->has_target && !memcmp(stop->hash, t->target_link, HASH_LEN);
    if (reached) {
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
    struct error e;
    struct ledger_pp pp;
    struct slice bytes = {0};
    struct ledger_evidence evidence;
    struct ledger_signature work[LEDGER_REPLICAS_MAX];
    struct stop stop = find_target(r);
    if (t->job_out)
        return;
    if (stop.found) {
        transfer_apply(r, &stop, t->target_committed);
        return;
    }
    stop = find_evidence(r, &pp, &bytes);
    if (!stop.found || stop.s <= r->committed || !transfer_may_stop_in(r, stop.view))
        return;
    if (ledger_evidence_decode(bytes, &evidence, &e))
        return;
    int count = ledger_evidence_check(r->configuration, &pp, &evidence, work, &e);
    if (count < 0) {
        transfer_ban(r);
        return;
    }
    struct evidence_check *check = calloc(1, sizeof *check);
    struct job *job = check ? job_take(r, JOB_TRANSFER, (size_t)count) : NULL;
    if (!job || !ledger_evidence_write(&check->message, &pp, bytes) ||
        ledger_evidence_message_decode(slice_of_buffer(&check->message), &check->decoded, &e)) {
        if (job)
            job_give(r, job);
        evidence_check_free(check);
        return;
    }
    /* The work must point into the copy: the fragment moves. */
    count = ledger_evidence_check(r->configuration, &check->decoded.pp, &check->decoded.evidence,
                                  work, &e);
    memcpy(job->items, work, (size_t)count * sizeof *work);
    job->count = (size_t)count;
    job->subject = check;
    job->references[0].s = t->generation;
    t->job_out = true;
    job_send(r, job);
}

void transfer_verified(struct ledger_replica *r, struct job *job)
{
    struct evidence_check *check = job->subject;
    struct transfer *t = &r->transfer;
    bool valid = true;
    for (size_t i = 0; i < job->count; i++)
        valid = valid && job->valid[i];
    t->job_out = false;
    if (t->active && job->references[0].s == t->generation) {
        struct ledger_pp pp;
        struct slice bytes;
        uint8_t hash[HASH_LEN];
        struct stop stop = find_evidence(r, &pp, &bytes);
        ledger_pp_hash(&check->decoded.pp, hash);
        if (!valid)
            transfer_ban(r);
        else if (stop.found && !memcmp(stop.hash, hash, HASH_LEN) &&
                 transfer_may_stop_in(r, stop.view))
            transfer_apply(r, &stop, true);
        else
            transfer_examine(r);
    }
    evidence_check_free(check);
}

/* ---- arrival ---- */

void transfer_entries(struct ledger_replica *r, uint16_t from, struct slice message)
{
    struct transfer *t = &r->transfer;
    struct error e;
    struct ledger_entries m;
    struct ledger_list_entry entry;
    if (!t->active || from != t->source || ledger_entries_decode(message, &m, &e) ||
        m.from != t->from + t->held)
        return;
    if (!m.entries.left) {
        transfer_ban(r); /* it would be asked again at once, for ever */
        return;
    }
    while (ledger_list_next_entry(&m.entries, &entry)) {
        if (t->entries.len + entry.payload.len > TRANSFER_BYTES_MAX ||
            t->held == TRANSFER_ENTRIES_MAX || ledger_entry_check(entry.type, entry.payload, &e)) {
            transfer_ban(r);
            return;
        }
        uint8_t head[5] = {entry.type};
        store_u32(head + 1, (uint32_t)entry.payload.len);
        if (!buffer_append(&t->entries, head, sizeof head) ||
            !buffer_append(&t->entries, entry.payload.data, entry.payload.len)) {
            replica_stop(r, "no memory");
            return;
        }
        t->held++;
    }
    uint64_t generation = t->generation;
    transfer_examine(r);
    if (t->active && !t->job_out && t->generation == generation) {
        t->asked_at = r->env.now_us(r->env.context);
        if (t->from + t->held < m.end)
            transfer_ask(r);
    }
}
