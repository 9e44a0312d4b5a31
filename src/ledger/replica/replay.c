/*
 * Entries become the ledger again: read from our own log after a restart, or taken over from a
 * peer.
 *
 * A batch is held back until its last TX is here; then it is executed, compared with what its pp
 * and TxEntries say, and put into its slot. While the log is recovered nothing is written.
 */
#include "ledger/replica/core.h"

void replay_reset(struct ledger_replica *r)
{
    r->replay.evidence.len = r->replay.vcset.len = r->replay.txs.len = 0;
    r->replay.in_batch = r->replay.has_vcset = false;
    r->replay.tx_count = 0;
    r->replay.held = 0;
}

bool replay_is_whole(const struct ledger_replica *r)
{
    return !r->replay.in_batch && !r->replay.evidence.len && !r->replay.has_vcset;
}

static int replay_broken(const struct ledger_replica *r, const char *what, struct error *e)
{
    return error_set(e, ATOLL_ECORRUPT, "entry %llu of the ledger: %s",
                     (unsigned long long)r->position, what);
}

/* Decodes the TxEntries that are held into candidates. */
static struct candidate *replay_candidates(struct ledger_replica *r)
{
    struct stash held = {.count = r->replay.tx_count, .entries = r->replay.txs};
    return stash_candidates(r, &held);
}

/* Whether executing gave the TxEntries that are held. */
static bool replay_same(const struct ledger_replica *r, const struct slot *slot)
{
    const uint8_t *at = r->replay.txs.data;
    for (uint32_t i = 0; i < r->replay.tx_count; i++) {
        const struct slot_tx *tx = &slot->txs[i];
        if (load_u32(at) != tx->len || memcmp(at + 4, slot->entries.data + tx->start, tx->len))
            return false;
        at += 4 + tx->len;
    }
    return true;
}

static int replay_batch(struct ledger_replica *r, struct error *e)
{
    const struct ledger_pp *pp = &r->replay.pp;
    uint32_t done;
    if (pp->seqno != r->last + 1 || pp->first_index != r->next_index ||
        pp->gov_index != r->gov_index || memcmp(pp->previous, r->previous, HASH_LEN))
        return replay_broken(r, "a batch that does not follow the one before", e);
    if ((pp->kind == LEDGER_KIND_CHECKPOINT) != (pp->seqno % r->interval == 0))
        return replay_broken(r, "a checkpoint where none is due, or none where one is", e);
    if (r->started && !digest_fits(r, pp)) /* of our own log it is looked at when it has started */
        return replay_broken(r, "another digest of the checkpoint", e);
    struct slot *slot = slot_make(r, pp->seqno, pp->view);
    struct candidate *candidates = slot ? replay_candidates(r) : NULL;
    if (!candidates)
        return error_set(e, ATOLL_ENOMEM, "no memory for a batch of %u", r->replay.tx_count);
    int rc = execute_batch(r, slot, pp->seqno, pp->kind, pp->first_index, r->run,
                           r->replay.tx_count, &done, false, e);
    free(candidates);
    if (rc)
        return rc == -ATOLL_ENOMEM ? rc : replay_broken(r, e->text, e);
    if (!replay_same(r, slot))
        return replay_broken(r, "executing the batch gives other results than it holds", e);
    slot->start = r->position;
    append_begin(r);
    struct slice evidence = slice_of_buffer(&r->replay.evidence);
    if (evidence.len && !append_entry(r, LEDGER_ENTRY_EVIDENCE, evidence, NULL)) {
        append_failed(r);
        return error_set(e, ATOLL_EIO, "the log cannot be written");
    }
    struct merkle_hash m = merkle_frontier_root(&r->frontier);
    struct merkle_hash g = execute_root(r, slot, pp->kind, done);
    if (memcmp(m.bytes, pp->ledger_root, HASH_LEN) || memcmp(g.bytes, pp->batch_root, HASH_LEN))
        return replay_broken(r, "the roots are not those that its pp names", e);
    slot->pp = *pp;
    ledger_pp_hash(pp, slot->pp_hash);
    struct slot *before = evidence.len ? slot_in_ledger(r, pp->seqno - r->pipeline) : NULL;
    if (before)
        vote_take_evidence(r, before, evidence);
    append_batch(r, slot);
    if (r->stopped)
        return error_set(e, ATOLL_EIO, "the log cannot be written");
    if (pp->kind == LEDGER_KIND_CHECKPOINT)
        digest_start(r, slot);
    for (uint32_t i = 0; i < done; i++)
        pool_forget(r, slot->txs[i].req_hash);
    replay_reset(r);
    return 0;
}

static int replay_pp(struct ledger_replica *r, struct slice payload, struct error *e)
{
    struct ledger_pp *pp = &r->replay.pp;
    if (ledger_pp_decode_signed(payload, pp, e))
        return replay_broken(r, "not a pp", e);
    bool due = pp->seqno > r->pipeline && !LEDGER_BARE;
    if (due != (r->replay.evidence.len != 0))
        return replay_broken(r, "a pp without the evidence that it needs, or with some too much",
                             e);
    r->replay.in_batch = true;
    return pp->count ? 0 : replay_batch(r, e);
}

static int replay_tx(struct ledger_replica *r, struct slice payload, struct error *e)
{
    struct ledger_tx tx;
    if (!r->replay.in_batch || ledger_tx_decode(payload, &tx, e))
        return replay_broken(r, "a transaction out of place", e);
    if (!buffer_append_u32(&r->replay.txs, (uint32_t)payload.len) ||
        !buffer_append(&r->replay.txs, payload.data, payload.len))
        return error_set(e, ATOLL_ENOMEM, "no memory for a batch");
    r->replay.tx_count++;
    return r->replay.tx_count == r->replay.pp.count ? replay_batch(r, e) : 0;
}

static int replay_new_view(struct ledger_replica *r, struct slice payload, struct error *e)
{
    struct ledger_new_view nv;
    struct slice vcset = slice_of_buffer(&r->replay.vcset);
    if (!r->replay.has_vcset || ledger_new_view_decode_signed(payload, &nv, e) ||
        nv.view <= ledger_view(r) || nv.base_seqno != r->last)
        return replay_broken(r, "a NewView out of place", e);
    if (new_view_is_another(r, &nv))
        r->abstain_view = nv.view; /* nothing is signed under the second */
    uint64_t start = r->position;
    if (!append_entry(r, LEDGER_ENTRY_VCSET, vcset, NULL))
        return error_set(e, ATOLL_EIO, "the log cannot be written");
    struct merkle_hash m = merkle_frontier_root(&r->frontier);
    if (memcmp(m.bytes, nv.ledger_root, HASH_LEN))
        return replay_broken(r, "the root is not the one that its NewView names", e);
    if (!append_entry(r, LEDGER_ENTRY_NEW_VIEW, payload, NULL))
        return error_set(e, ATOLL_EIO, "the log cannot be written");
    if (r->started && nv.view >= r->view && r->abstain_view != nv.view)
        append_record(r, LEDGER_RECORD_NEW_VIEW, 0, payload);
    new_view_follow(r, &nv, payload, vcset, start);
    if (r->view > r->view_change_sent)
        r->view_change_sent = r->view;
    replay_reset(r);
    return 0;
}

/* The next entry. ATOLL_ECORRUPT: it does not fit; what it was to become is not in the ledger. */
int replay_entry(struct ledger_replica *r, uint8_t type, struct slice payload, struct error *e)
{
    bool in_batch = r->replay.in_batch;
    r->replay.held++; /* until it is in the ledger, which resets it */
    switch (type) {
    case LEDGER_ENTRY_EVIDENCE:
        if (!replay_is_whole(r))
            break;
        return buffer_append(&r->replay.evidence, payload.data, payload.len)
                   ? 0
                   : error_set(e, ATOLL_ENOMEM, "no memory for evidence");
    case LEDGER_ENTRY_PP:
        if (in_batch || r->replay.has_vcset)
            break;
        return replay_pp(r, payload, e);
    case LEDGER_ENTRY_TX: return replay_tx(r, payload, e);
    case LEDGER_ENTRY_VCSET:
        if (!replay_is_whole(r))
            break;
        r->replay.has_vcset = true;
        return buffer_append(&r->replay.vcset, payload.data, payload.len)
                   ? 0
                   : error_set(e, ATOLL_ENOMEM, "no memory for a VCSet");
    case LEDGER_ENTRY_NEW_VIEW: return replay_new_view(r, payload, e);
    default: break;
    }
    return replay_broken(r, "an entry out of place", e);
}
