/*
 * The ring of slots, where batches lie in the ledger, and taking batches back.
 *
 * Slot s is at s mod SLOTS. A slot may be reused when its batch is more than SLOTS_RECENT behind
 * the last one; nothing asks for a slot farther ahead than SLOTS - SLOTS_RECENT.
 */
#include "ledger/replica/core.h"

static_assert(SLOTS - SLOTS_RECENT > 3 * LEDGER_PIPELINE_MAX, "the window fits beside the recent");
static_assert(SLOTS_RECENT > 3 * LEDGER_PIPELINE_MAX, "what can be taken back is recent");

struct slot *slot_find(const struct ledger_replica *r, uint64_t s)
{
    struct slot *slot = &r->slots[s % SLOTS];
    return s && slot->s == s ? slot : NULL;
}

struct slot *slot_in_ledger(const struct ledger_replica *r, uint64_t s)
{
    struct slot *slot = slot_find(r, s);
    return slot && slot->in_ledger ? slot : NULL;
}

static void slot_votes_clear(struct ledger_replica *r, struct slot *slot)
{
    memset(slot->votes, 0, r->n * sizeof *slot->votes);
}

/* A fresh slot for s, whatever was there. NULL: s is out of reach, or no memory. */
struct slot *slot_make(struct ledger_replica *r, uint64_t s, uint64_t view)
{
    struct slot *slot = &r->slots[s % SLOTS];
    if (s > r->last + SLOTS - SLOTS_RECENT || s + SLOTS_RECENT <= r->last)
        return NULL;
    if (!slot->votes && !(slot->votes = calloc(r->n, sizeof *slot->votes)))
        return NULL;
    slot_votes_clear(r, slot);
    slot->s = s;
    slot->view = view;
    slot->in_ledger = false;
    slot->marked = slot->own_ready = slot->prepared = false;
    slot->certain = slot->released = slot->committed = false;
    slot->evidence.len = 0;
    slot->entries.len = 0;
    slot->pp.count = 0;
    return slot;
}

bool slot_prepare_room(struct slot *slot, uint32_t txs)
{
    struct error e;
    if (!slot->g && merkle_tree_create(&slot->g, &e))
        return false;
    if (merkle_tree_rollback(slot->g, 0, &e))
        return false;
    slot->entries.len = 0;
    if (txs <= slot->tx_capacity)
        return true;
    struct slot_tx *grown = realloc(slot->txs, txs * sizeof *grown);
    if (!grown)
        return false;
    slot->txs = grown;
    slot->tx_capacity = txs;
    return true;
}

/*
 * A batch at or before the checkpoint that we started from: its pp is all that is kept of it. The
 * last P of them are needed, because batches after the checkpoint carry their evidence.
 */
struct slot *slot_make_hollow(struct ledger_replica *r, const struct ledger_pp *pp)
{
    uint8_t hash[HASH_LEN];
    struct slot *slot = slot_find(r, pp->seqno);
    ledger_pp_hash(pp, hash);
    if (pp->seqno > r->hollow || pp->seqno + r->pipeline <= r->hollow)
        return NULL;
    if (pp->seqno == r->hollow) {
        if (!slot || memcmp(slot->pp_hash, hash, HASH_LEN))
            return NULL;
        slot->pp = *pp;
        return slot;
    }
    slot = slot_make(r, pp->seqno, pp->view);
    if (!slot)
        return NULL;
    slot->pp = *pp;
    memcpy(slot->pp_hash, hash, HASH_LEN);
    slot->in_ledger = slot->prepared = slot->committed = true;
    return slot;
}

bool slot_is_hollow(const struct ledger_replica *r, const struct slot *slot)
{
    return slot->s <= r->hollow;
}

/* ---- positions ---- */

bool positions_set(struct ledger_replica *r, uint64_t s, uint64_t position)
{
    if (r->position_count == 0 || s < r->positions_base ||
        s > r->positions_base + r->position_count) {
        r->positions_base = s; /* batches before it are not known */
        r->position_count = 0;
    }
    size_t at = (size_t)(s - r->positions_base);
    if (at >= r->position_capacity) {
        size_t capacity = r->position_capacity ? 2 * r->position_capacity : 256;
        uint64_t *grown = realloc(r->positions, capacity * sizeof *grown);
        if (!grown)
            return false;
        r->positions = grown;
        r->position_capacity = capacity;
    }
    r->positions[at] = position;
    r->position_count = at + 1;
    return true;
}

/* The position behind the last entry of batch s, without what follows of view changes. */
int ledger_end_at(const struct ledger_replica *r, uint64_t s, uint64_t *position)
{
    const struct slot *slot = slot_in_ledger(r, s);
    if (s == 0)
        *position = 1;
    else if (slot)
        *position = slot->end;
    else
        return -ATOLL_ENOENT;
    return 0;
}

/* The frontier where a batch begins, before its Evidence. False: it is not kept. */
bool slot_before(const struct ledger_replica *r, const struct slot *slot,
                 struct merkle_frontier *out)
{
    const struct slot *before = slot_in_ledger(r, slot->s - 1);
    for (size_t i = r->view_entry_count; i-- > 0;) {
        if (r->view_entries[i].end != slot->start)
            continue;
        *out = r->view_entries[i].after;
        return true;
    }
    if (!before || before->end != slot->start)
        return false;
    *out = before->after;
    return true;
}

struct view_entry *view_entry_find(const struct ledger_replica *r, uint64_t view)
{
    for (size_t i = r->view_entry_count; i-- > 0;)
        if (r->view_entries[i].view == view)
            return &r->view_entries[i];
    return NULL;
}

/* The last view that has entries in the ledger. */
uint64_t ledger_view(const struct ledger_replica *r)
{
    if (r->view_entry_count)
        return r->view_entries[r->view_entry_count - 1].view;
    return r->hollow_view;
}

/* ---- taking back ---- */

static void slot_take_back(struct ledger_replica *r, struct slot *slot)
{
    stash_slot(r, slot);
    abandoned_keep_evidence(r, slot);
    slot->in_ledger = false;
    slot->s = 0;
    if (slot->pp.kind == LEDGER_KIND_CHECKPOINT)
        r->digests[(slot->pp.seqno / r->interval) % 4] =
            (struct checkpoint_digest){.s = slot->pp.seqno};
}

/*
 * The ledger ends after batch s, or after the entries of a view that follow it. Invariant I7: never
 * below what is final. The contents of the batches taken back go to the stash.
 */
void rollback_to_batch(struct ledger_replica *r, uint64_t s, const struct view_entry *after)
{
    struct error e;
    assert(s >= final_batch(r));
    uint64_t end = 1;
    if (s && !after) {
        const struct slot *slot = slot_in_ledger(r, s);
        assert(slot);
        end = slot->end;
    }
    uint64_t position = after ? after->end : end;
    if (position == r->position)
        return;
    const struct slot *slot = slot_in_ledger(r, s);
    assert(position < r->position && (slot || s == 0));
    abandoned_keep(r, position);
    for (uint64_t i = r->last; i > s; i--)
        if (slot_in_ledger(r, i))
            slot_take_back(r, slot_find(r, i));
    r->frontier = after ? after->after : s ? slot->after : r->genesis_frontier;
    memcpy(r->previous, after ? after->hash : s ? slot->pp_hash : r->genesis.hash, HASH_LEN);
    r->next_index = s ? slot->next_index : 1;
    r->position = position;
    if (s < r->last && kv_rollback(r->kv, s, &e)) {
        replica_stop(r, e.text);
        return;
    }
    r->last = s;
    r->prepared = r->prepared < s ? r->prepared : s;
    r->committed = r->committed < s ? r->committed : s;
    r->position_count =
        r->position_count && s >= r->positions_base ? (size_t)(s - r->positions_base + 1) : 0;
    while (r->view_entry_count && r->view_entries[r->view_entry_count - 1].end > position)
        r->view_entry_count--;
    if (r->started) {
        uint8_t payload[LEDGER_ROLLBACK_LEN];
        ledger_rollback_encode(position, payload);
        append_record(r, LEDGER_RECORD_ROLLBACK, position, slice_of(payload, sizeof payload));
    }
}
