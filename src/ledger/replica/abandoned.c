/*
 * Histories that the ledger left, as far as others may still need them (§4.1: what was rolled back
 * stays readable; §6: a new primary fetches what its choice rests on).
 *
 * A ViewChange reports our tip, the greatest batch that we prepared. When the ledger then follows
 * another tip, ours stays what it is, and a later view change may choose it: its history must be
 * had from somebody, and we may be the only one. So the entries between what is final and the tip's
 * link are kept when a rollback takes them away, and the evidence that was held for batches that
 * are taken back. (The contents of batches are kept in stash.c.)
 *
 *   ledger      | … final |────────── as it is now ──────────▶
 *   kept                  |── VCSET NEW_VIEW PP TX … link
 *                        from
 *
 * Memory: one history of at most TRANSFER_BYTES_MAX, and EVIDENCES_KEPT of evidence. After a
 * restart both are found again: while the log is read its rollbacks are noted, and of the histories
 * that they ended the one that our tip stands on is picked at the end.
 */
#include "ledger/replica/core.h"

/* While the log is read: histories that it took back, the latest ones. */
#define HISTORIES_FOUND_MAX 64
#define TAIL_TRIM_FIRST     (1u << 20)

#define EVIDENCES_KEPT (4 * LEDGER_PIPELINE_MAX)

/* ---- histories ---- */

static void history_clear(struct history *h, uint64_t from)
{
    h->from = from;
    h->count = 0;
    h->entries.len = 0;
}

/* False: no memory, or it would be longer than may be kept. */
static bool history_add(struct history *h, uint8_t type, struct slice payload)
{
    uint8_t head[5] = {type};
    if (h->entries.len + sizeof head + payload.len > TRANSFER_BYTES_MAX)
        return false;
    store_u32(head + 1, (uint32_t)payload.len);
    if (!buffer_append(&h->entries, head, sizeof head) ||
        !buffer_append(&h->entries, payload.data, payload.len))
        return false;
    h->count++;
    return true;
}

/* Walks a history's entries; start with an `at` of 0. */
struct history_walk {
    size_t at;
    uint64_t position; /* of the entry */
    uint8_t type;
    struct slice payload;
};

static bool history_next(const struct history *h, struct history_walk *w)
{
    if (w->at == h->entries.len)
        return false;
    w->position = w->at ? w->position + 1 : h->from;
    w->type = h->entries.data[w->at];
    w->payload = slice_of(h->entries.data + w->at + 5, load_u32(h->entries.data + w->at + 1));
    w->at += 5 + w->payload.len;
    return true;
}

/* The history ends at `position`. */
static void history_cut(struct history *h, uint64_t position)
{
    struct history_walk w = {0};
    size_t len = 0;
    while (h->from + h->count > position && history_next(h, &w) && w.position < position)
        len = w.at;
    if (h->from + h->count <= position)
        return;
    h->entries.len = len;
    h->count = position > h->from ? position - h->from : 0;
}

/* The history begins at `position`. */
static void history_trim(struct history *h, uint64_t position)
{
    struct history_walk w = {0};
    size_t gone = 0;
    while (history_next(h, &w) && w.position < position) {
        gone = w.at;
        h->count--;
    }
    if (!gone)
        return;
    memmove(h->entries.data, h->entries.data + gone, h->entries.len - gone);
    h->entries.len -= gone;
    h->from = position;
}

/* The position behind the pp's batch, or the NewView, that the link names; 0: not in it. */
static uint64_t history_find(const struct history *h, const uint8_t link[static HASH_LEN])
{
    struct error e;
    struct ledger_pp pp;
    struct ledger_new_view nv;
    uint8_t hash[HASH_LEN];
    for (struct history_walk w = {0}; history_next(h, &w);) {
        uint64_t end = w.position + 1;
        if (w.type == LEDGER_ENTRY_PP && !ledger_pp_decode_signed(w.payload, &pp, &e)) {
            ledger_pp_hash(&pp, hash);
            end += pp.count;
        } else if (w.type == LEDGER_ENTRY_NEW_VIEW &&
                   !ledger_new_view_decode_signed(w.payload, &nv, &e)) {
            ledger_new_view_hash(&nv, hash);
        } else {
            continue;
        }
        if (!memcmp(hash, link, HASH_LEN))
            return end <= h->from + h->count ? end : 0;
    }
    return 0;
}

/* ---- keeping ---- */

/* What our tip's certificates stand on: the link, and the batch before it. False: no tip. */
static bool tip_stands_on(const struct ledger_replica *r, uint64_t *base, uint8_t *link)
{
    struct error e;
    struct ledger_certificate c;
    if (!r->tip.count ||
        ledger_certificate_decode(slice_of_buffer(&r->tip.certificates[0]), &c, &e))
        return false;
    *base = c.pp.seqno - 1;
    memcpy(link, c.pp.previous, HASH_LEN);
    return true;
}

/* The ledger is about to end at `position`: keeps what our tip stands on, if that goes. */
void abandoned_keep(struct ledger_replica *r, uint64_t position)
{
    struct error e;
    struct history *kept = &r->abandoned.kept;
    const struct view_entry *after;
    uint64_t base, end, from;
    uint8_t link[HASH_LEN], type;
    if (!r->started || !tip_stands_on(r, &base, link) || base < final_batch(r) ||
        !tip_find_point(r, base, link, &after))
        return;
    if (after)
        end = after->end;
    else if (ledger_end_at(r, base, &end))
        return;
    if (end <= position || ledger_end_at(r, final_batch(r), &from))
        return;
    history_clear(kept, from);
    for (uint64_t p = from; p < end; p++) {
        if (r->env.read(r->env.context, p, &r->scratch_read, &type, &e) ||
            !history_add(kept, type, slice_of_buffer(&r->scratch_read))) {
            history_clear(kept, 0);
            return;
        }
    }
    memcpy(r->abandoned.link, link, HASH_LEN);
}

/* Whether what is kept leads to this link. */
static bool abandoned_leads_to(const struct ledger_replica *r, const uint8_t link[static HASH_LEN])
{
    return r->abandoned.kept.count && !memcmp(r->abandoned.link, link, HASH_LEN);
}

/* ---- while the log is read ---- */

/* An entry became part of the ledger, or of the batch that is being read. */
void abandoned_recover_entry(struct ledger_replica *r, uint8_t type, uint64_t position,
                             struct slice payload)
{
    struct abandoned *a = &r->abandoned;
    uint64_t final_end;
    if (!a->tail.count || a->tail.from + a->tail.count != position)
        history_clear(&a->tail, position);
    if (a->tail.entries.len >= a->tail_trim && !ledger_end_at(r, final_batch(r), &final_end)) {
        history_trim(&a->tail, final_end);
        a->tail_trim = 2 * a->tail.entries.len + TAIL_TRIM_FIRST;
    }
    if (!history_add(&a->tail, type, payload))
        history_clear(&a->tail, position + 1); /* too long: it will not be whole */
}

/* A rollback in the log: what it ends may be what our tip stands on. */
void abandoned_recover_rollback(struct ledger_replica *r, uint64_t position)
{
    struct abandoned *a = &r->abandoned;
    uint64_t final_end;
    if (position < r->position && a->tail.count && !ledger_end_at(r, final_batch(r), &final_end) &&
        a->tail.from <= final_end) {
        if (!a->found && !(a->found = calloc(HISTORIES_FOUND_MAX, sizeof *a->found)))
            return;
        struct history *h = &a->found[a->found_count % HISTORIES_FOUND_MAX];
        a->found_bytes -= h->entries.len;
        history_clear(h, a->tail.from);
        if (a->found_bytes + a->tail.entries.len <= TRANSFER_BYTES_MAX &&
            buffer_append(&h->entries, a->tail.entries.data, a->tail.entries.len)) {
            h->count = a->tail.count;
            a->found_bytes += h->entries.len;
            a->found_count++;
        }
    }
    history_cut(&a->tail, position);
}

static void abandoned_forget_found(struct abandoned *a)
{
    for (unsigned i = 0; a->found && i < HISTORIES_FOUND_MAX; i++)
        buffer_free(&a->found[i].entries);
    free(a->found);
    buffer_free(&a->tail.entries);
    a->found = NULL;
    a->found_count = 0;
    a->found_bytes = 0;
    history_clear(&a->tail, 0);
}

/* The log has been read: of what it took back, what our tip stands on is kept. */
void abandoned_start(struct ledger_replica *r)
{
    struct abandoned *a = &r->abandoned;
    const struct view_entry *after;
    uint64_t base;
    uint8_t link[HASH_LEN];
    bool wanted = tip_stands_on(r, &base, link) && !tip_find_point(r, base, link, &after);
    for (unsigned i = 0; wanted && a->found && i < HISTORIES_FOUND_MAX; i++) {
        uint64_t end = history_find(&a->found[i], link);
        if (!end)
            continue;
        history_cut(&a->found[i], end);
        struct buffer before = a->kept.entries;
        a->kept = a->found[i];
        a->found[i] = (struct history){.entries = before};
        memcpy(a->link, link, HASH_LEN);
        break;
    }
    abandoned_forget_found(a);
}

void abandoned_free(struct ledger_replica *r)
{
    struct abandoned *a = &r->abandoned;
    abandoned_forget_found(a);
    buffer_free(&a->kept.entries);
    for (unsigned i = 0; a->evidences && i < EVIDENCES_KEPT; i++)
        buffer_free(&a->evidences[i].evidence);
    free(a->evidences);
}

/* ---- use ---- */

/*
 * Answers a FETCH_LEDGER whose link we left: the ledger up to where the kept history begins, then
 * that. The message goes to r->scratch; false: we do not have it.
 */
bool abandoned_write(struct ledger_replica *r, const struct ledger_fetch *f, size_t bytes_max)
{
    struct error e;
    struct ledger_message_writer w;
    const struct history *kept = &r->abandoned.kept;
    uint64_t p = f->from, end = kept->from + kept->count;
    uint8_t type;
    r->scratch.len = 0;
    if (!abandoned_leads_to(r, f->link) || p >= end ||
        !ledger_entries_begin(&w, &r->scratch, p, end))
        return false;
    bool more = true;
    for (; more && p < kept->from && p < f->until && w.count < LEDGER_ENTRIES_MAX; p++)
        more = !r->env.read(r->env.context, p, &r->scratch_read, &type, &e) &&
               (!w.count || r->scratch.len + r->scratch_read.len <= bytes_max) &&
               ledger_entries_entry(&w, type, slice_of_buffer(&r->scratch_read));
    for (struct history_walk at = {0}; more && history_next(kept, &at);) {
        if (at.position < p)
            continue;
        more = at.position < f->until && w.count < LEDGER_ENTRIES_MAX &&
               (!w.count || r->scratch.len + at.payload.len <= bytes_max) &&
               ledger_entries_entry(&w, at.type, at.payload);
    }
    ledger_message_end(&w);
    return w.count;
}

/* Whether what is kept agrees with what is committed here by now, and goes on from what is final:
 * a pp commits everything before it. */
static bool abandoned_fits(const struct ledger_replica *r, uint64_t final_end)
{
    struct error e;
    struct ledger_pp pp;
    uint8_t hash[HASH_LEN];
    const struct slot *last = slot_in_ledger(r, final_batch(r));
    bool fits = final_end == r->abandoned.kept.from;
    for (struct history_walk w = {0}; history_next(&r->abandoned.kept, &w);) {
        if (w.type != LEDGER_ENTRY_PP)
            continue;
        if (ledger_pp_decode_signed(w.payload, &pp, &e) ||
            !rule_floor_allows(r, pp.seqno, pp.batch_root))
            return false;
        ledger_pp_hash(&pp, hash);
        fits = fits ||
               (last && last->pp_position == w.position && !memcmp(last->pp_hash, hash, HASH_LEN));
    }
    return fits;
}

/*
 * Makes the history that leads to the link our ledger again, as a transfer would: a view change has
 * chosen our tip. False: we do not have it, or it contradicts what is committed.
 */
bool abandoned_restore(struct ledger_replica *r, const uint8_t link[static HASH_LEN])
{
    struct error e;
    uint64_t final_end;
    if (!abandoned_leads_to(r, link) || ledger_end_at(r, final_batch(r), &final_end) ||
        !abandoned_fits(r, final_end))
        return false;
    rollback_to_batch(r, final_batch(r), NULL);
    accept_clear(r);
    replay_reset(r);
    for (struct history_walk w = {0}; !r->stopped && history_next(&r->abandoned.kept, &w);) {
        if (w.position < final_end)
            continue;
        if (replay_entry(r, w.type, w.payload, &e)) {
            snprintf(r->refusal, sizeof r->refusal,
                     "history that was ours cannot be followed again: %.180s", e.text);
            replica_stop(r, r->refusal);
        }
    }
    rule_abstain(r, r->view);
    pool_unpark(r);
    return !r->stopped;
}

/* ---- evidence ---- */

static struct kept_evidence *evidence_find(const struct ledger_replica *r, const uint8_t *pp_hash)
{
    struct kept_evidence *all = r->abandoned.evidences;
    for (unsigned i = 0; all && i < EVIDENCES_KEPT; i++)
        if (all[i].stamp && !memcmp(all[i].pp_hash, pp_hash, HASH_LEN))
            return &all[i];
    return NULL;
}

/* The batch in this slot leaves the ledger: its evidence, if there is one, stays; the oldest gives
 * way. */
void abandoned_keep_evidence(struct ledger_replica *r, struct slot *slot)
{
    struct abandoned *a = &r->abandoned;
    if (!vote_evidence(r, slot) ||
        (!a->evidences && !(a->evidences = calloc(EVIDENCES_KEPT, sizeof *a->evidences))))
        return;
    struct kept_evidence *place = evidence_find(r, slot->pp_hash);
    for (unsigned i = 0; !place && i < EVIDENCES_KEPT; i++)
        if (!a->evidences[i].stamp)
            place = &a->evidences[i];
    if (!place) {
        place = &a->evidences[0];
        for (unsigned i = 1; i < EVIDENCES_KEPT; i++)
            if (a->evidences[i].stamp < place->stamp)
                place = &a->evidences[i];
    }
    place->evidence.len = 0;
    place->stamp = buffer_append(&place->evidence, slot->evidence.data, slot->evidence.len)
                       ? ++a->evidence_clock
                       : 0;
    place->pp = slot->pp;
    memcpy(place->pp_hash, slot->pp_hash, HASH_LEN);
}

/* The batch is in the ledger again: so is its evidence. */
bool abandoned_recall_evidence(struct ledger_replica *r, struct slot *slot)
{
    const struct kept_evidence *kept = evidence_find(r, slot->pp_hash);
    if (kept)
        vote_take_evidence(r, slot, slice_of_buffer(&kept->evidence));
    return kept;
}

/* Appends the EVIDENCE message for a batch that was taken back. False: it is not kept. */
bool abandoned_write_evidence(struct ledger_replica *r, const uint8_t pp_hash[static HASH_LEN])
{
    const struct kept_evidence *kept = evidence_find(r, pp_hash);
    return kept && ledger_evidence_write(&r->scratch, &kept->pp, slice_of_buffer(&kept->evidence));
}
