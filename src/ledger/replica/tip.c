/*
 * Our own tip: the last batch that we prepared, at the greatest (view, s), reported with the
 * certificates of the last P batches of that view, or of all since the view's first one; then the
 * NewView of that view is attached, and the first batch's prev_pp binds it. What tips mean and
 * decide: choice.h.
 */
#include "ledger/replica/core.h"

/* ---- our own tip ---- */

static void tip_push(struct ledger_replica *r, uint64_t view, uint64_t s, struct slice encoded)
{
    struct tip *tip = &r->tip;
    if (tip->count && (tip->view != view || tip->s + 1 != s))
        tip->count = 0;
    if (tip->count == r->pipeline) {
        struct buffer oldest = tip->certificates[0];
        memmove(tip->certificates, tip->certificates + 1,
                (tip->count - 1) * sizeof tip->certificates[0]);
        tip->certificates[--tip->count] = oldest;
    }
    struct buffer *b = &tip->certificates[tip->count];
    b->len = 0;
    if (!buffer_append(b, encoded.data, encoded.len))
        replica_stop(r, "no memory");
    tip->count++;
    if (tip->view != view || !tip->new_view.len) {
        const struct buffer *nv = view == r->logged_view && r->logged_new_view.len
                                      ? &r->logged_new_view
                                  : view == r->view ? &r->new_view
                                                    : NULL;
        tip->new_view.len = 0;
        if (nv && !buffer_append(&tip->new_view, nv->data, nv->len))
            replica_stop(r, "no memory");
    }
    assert(view > tip->view || s > tip->s); /* effective tips never decrease */
    tip->view = view;
    tip->s = s;
}

static bool tip_covers(const struct ledger_replica *r, uint64_t view, uint64_t s)
{
    return r->tip.count && (view < r->tip.view || (view == r->tip.view && s <= r->tip.s));
}

static bool first_of_view(const struct ledger_replica *r, const struct slot *slot)
{
    const struct slot *before = slot_in_ledger(r, slot->s - 1);
    return slot->s == 1 || (before && before->view != slot->view);
}

/*
 * Whether our list of certificates can go on with this batch. A replica that caught up has not
 * prepared the batches before it: then their certificates are made of evidence, if it is here.
 */
bool tip_can_follow(struct ledger_replica *r, const struct slot *slot)
{
    if ((slot->view == r->tip.view && slot->s == r->tip.s + 1) || first_of_view(r, slot) ||
        tip_covers(r, slot->view, slot->s))
        return true;
    uint64_t s = slot->s - 1, first = s;
    while (!first_of_view(r, slot_find(r, first)) && first + r->pipeline > s + 2) {
        first--;
        const struct slot *before = slot_in_ledger(r, first);
        if (!before || before->view != slot->view)
            return false;
    }
    struct buffer certificates[LEDGER_PIPELINE_MAX] = {{0}};
    bool all = slot->view > r->tip.view || s > r->tip.s;
    for (uint64_t i = first; all && i <= s; i++)
        all = vote_certificate(r, slot_find(r, i), &certificates[i - first]);
    if (all) { /* the whole list anew: it grows, and stays bound */
        r->tip.count = 0;
        r->tip.s = slot->view == r->tip.view ? first - 1 : r->tip.s;
    }
    for (uint64_t i = first; i <= s; i++) {
        struct buffer *b = &certificates[i - first];
        if (all) {
            append_record(r, LEDGER_RECORD_CERTIFICATE, 0, slice_of_buffer(b));
            tip_push(r, slot->view, i, slice_of_buffer(b));
        }
        buffer_free(b);
    }
    return all;
}

void tip_add(struct ledger_replica *r, const struct slot *slot, struct slice encoded)
{
    if (tip_covers(r, slot->view, slot->s))
        return; /* the vote log survived a stop, the batch did not; now it is here again */
    tip_push(r, slot->view, slot->s, encoded);
    memcpy(r->tip.pp_hash, slot->pp_hash, HASH_LEN);
}

/* A certificate from our log. False: it does not decode. */
bool tip_recover(struct ledger_replica *r, struct slice encoded)
{
    struct ledger_certificate c;
    struct error e;
    if (ledger_certificate_decode(encoded, &c, &e))
        return false;
    if (r->tip.count &&
        (c.pp.view < r->tip.view || (c.pp.view == r->tip.view && c.pp.seqno <= r->tip.s)))
        return true;
    tip_push(r, c.pp.view, c.pp.seqno, encoded);
    ledger_pp_hash(&c.pp, r->tip.pp_hash);
    return true;
}

/* ---- where it stands in our ledger ---- */

/*
 * Whether our ledger has the point after batch s that `link` names. *after becomes the entries of
 * the view that end there, or NULL: the point is the end of the batch.
 */
bool tip_find_point(const struct ledger_replica *r, uint64_t s, const uint8_t link[static HASH_LEN],
                    const struct view_entry **after)
{
    const struct slot *slot = slot_in_ledger(r, s);
    *after = NULL;
    for (size_t i = r->view_entry_count; i-- > 0;) {
        if (!memcmp(r->view_entries[i].hash, link, HASH_LEN)) {
            *after = &r->view_entries[i];
            return r->view_entries[i].base == s && (slot || s == 0);
        }
    }
    return s == 0 ? !memcmp(link, r->genesis.hash, HASH_LEN)
                  : slot && !memcmp(slot->pp_hash, link, HASH_LEN);
}
