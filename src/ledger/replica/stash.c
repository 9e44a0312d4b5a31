/*
 * Contents of batches that may have to be proposed again, by their G: what a rollback took out of
 * the ledger, and what a peer sent. G names the contents (§3), so they need no other proof.
 */
#include "ledger/replica/core.h"

#define STASHES (4 * LEDGER_PIPELINE_MAX)

/* Being found keeps contents: those of a plan are looked for again and again. */
struct stash *stash_find(struct ledger_replica *r, const uint8_t g[static HASH_LEN])
{
    for (unsigned i = 0; r->stashes && i < STASHES; i++) {
        if (r->stashes[i].used && !memcmp(r->stashes[i].g, g, HASH_LEN)) {
            r->stashes[i].stamp = ++r->stash_clock;
            return &r->stashes[i];
        }
    }
    return NULL;
}

/* Room for the contents with this G, empty; those not asked for the longest give way. NULL: no
 * memory. */
static struct stash *stash_put(struct ledger_replica *r, uint64_t s, enum ledger_kind kind,
                               uint64_t first_index, uint32_t count,
                               const uint8_t g[static HASH_LEN])
{
    if (!r->stashes && !(r->stashes = calloc(STASHES, sizeof *r->stashes)))
        return NULL;
    struct stash *stash = stash_find(r, g);
    for (unsigned i = 0; !stash && i < STASHES; i++)
        if (!r->stashes[i].used)
            stash = &r->stashes[i];
    if (!stash) {
        stash = &r->stashes[0];
        for (unsigned i = 1; i < STASHES; i++)
            if (r->stashes[i].stamp < stash->stamp)
                stash = &r->stashes[i];
    }
    struct buffer entries = stash->entries;
    uint64_t stamp = ++r->stash_clock;
    entries.len = 0;
    *stash = (struct stash){.used = true,
                            .stamp = stamp,
                            .s = s,
                            .kind = kind,
                            .first_index = first_index,
                            .count = count,
                            .entries = entries};
    memcpy(stash->g, g, HASH_LEN);
    return stash;
}

static bool stash_add(struct stash *stash, struct slice tx)
{
    return buffer_append_u32(&stash->entries, (uint32_t)tx.len) &&
           buffer_append(&stash->entries, tx.data, tx.len);
}

/* The batch in this slot leaves the ledger: keep its contents. */
void stash_slot(struct ledger_replica *r, const struct slot *slot)
{
    if (!slot->pp.count || stash_find(r, slot->pp.batch_root))
        return;
    struct stash *stash = stash_put(r, slot->s, slot->pp.kind, slot->pp.first_index, slot->pp.count,
                                    slot->pp.batch_root);
    for (uint32_t i = 0; stash && i < slot->pp.count; i++) {
        const struct slot_tx *tx = &slot->txs[i];
        if (!stash_add(stash, slice_of(slot->entries.data + tx->start, tx->len))) {
            stash->used = false;
            return;
        }
    }
}

/* Contents that a peer sent: taken if they are what their G says. */
bool stash_content(struct ledger_replica *r, const struct ledger_content *content)
{
    struct error e;
    struct slice tx;
    struct merkle_frontier g = {0};
    struct ledger_list txs = content->txs;
    if (content->kind != LEDGER_KIND_NORMAL || stash_find(r, content->batch_root))
        return false;
    while (ledger_list_next_bytes(&txs, &tx)) {
        struct merkle_hash leaf = ledger_entry_leaf(LEDGER_ENTRY_TX, tx);
        if (merkle_frontier_append(&g, &leaf, &e))
            return false;
    }
    struct merkle_hash root = merkle_frontier_root(&g);
    if (memcmp(root.bytes, content->batch_root, HASH_LEN))
        return false;
    struct stash *stash = stash_put(r, content->seqno, content->kind, content->first_index,
                                    content->count, content->batch_root);
    txs = content->txs;
    while (stash && ledger_list_next_bytes(&txs, &tx)) {
        if (!stash_add(stash, tx)) {
            stash->used = false;
            return false;
        }
    }
    return stash;
}

void stashes_free(struct ledger_replica *r)
{
    for (unsigned i = 0; r->stashes && i < STASHES; i++)
        buffer_free(&r->stashes[i].entries);
    free(r->stashes);
}

/* Whether we hold the contents of a planned batch, wherever. */
bool content_here(struct ledger_replica *r, const struct ledger_plan *plan)
{
    if (plan->kind != LEDGER_KIND_NORMAL || stash_find(r, plan->batch_root))
        return true;
    const struct slot *slot = slot_in_ledger(r, plan->seqno);
    if (slot && !memcmp(slot->pp.batch_root, plan->batch_root, HASH_LEN))
        return true;
    const struct incoming *in = r->incoming[plan->seqno % SLOTS];
    return in && in->state == INCOMING_READY &&
           !memcmp(in->decoded.pp.batch_root, plan->batch_root, HASH_LEN);
}
