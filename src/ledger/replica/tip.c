/*
 * Our own tip: the last batch that we prepared, at the greatest (view, s), reported with the
 * certificates of the last P batches of that view, or of all since the view's first one; then the
 * NewView of that view is attached, and the first batch's prev_pp binds it. What tips mean and
 * decide: choice.h.
 */
#include "ledger/replica/core.h"

/* ---- our own tip ---- */

/* The NewView of this view that we follow, or followed before we were stopped. NULL: none. */
static const struct buffer *tip_new_view(const struct ledger_replica *r, uint64_t view)
{
    if (r->started && view == r->view && r->new_view.len)
        return &r->new_view;
    if (view == r->logged_view && r->logged_new_view.len)
        return &r->logged_new_view;
    return view == r->view ? &r->new_view : NULL;
}

/* Puts a certificate behind those of the list, or begins a new one. */
static void tip_push(struct ledger_replica *r, struct tip *tip, const struct ledger_pp *pp,
                     struct slice encoded)
{
    if (tip->count && (tip->view != pp->view || tip->s + 1 != pp->seqno))
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
    if (tip->count == 1 || !tip->new_view.len) {
        const struct buffer *nv = tip_new_view(r, pp->view);
        tip->new_view.len = 0;
        if (nv && !buffer_append(&tip->new_view, nv->data, nv->len))
            replica_stop(r, "no memory");
    }
    tip->view = pp->view;
    tip->s = pp->seqno;
    ledger_pp_hash(pp, tip->pp_hash);
}

static bool tip_covers(const struct ledger_replica *r, uint64_t view, uint64_t s)
{
    return r->tip.count && (view < r->tip.view || (view == r->tip.view && s <= r->tip.s));
}

/* Whether the batch follows the list's last one. */
static bool tip_goes_on(const struct tip *tip, const struct ledger_pp *pp)
{
    return tip->count && pp->view == tip->view && pp->seqno == tip->s + 1 &&
           !memcmp(pp->previous, tip->pp_hash, HASH_LEN);
}

/* Whether this batch stands on this NewView. */
static bool is_bound(const struct buffer *new_view, const struct ledger_pp *first)
{
    struct error e;
    struct ledger_new_view nv;
    uint8_t hash[HASH_LEN];
    if (ledger_new_view_decode_signed(slice_of_buffer(new_view), &nv, &e))
        return false;
    ledger_new_view_hash(&nv, hash);
    return !memcmp(first->previous, hash, HASH_LEN);
}

static bool first_of_view(const struct ledger_replica *r, const struct slot *slot)
{
    const struct slot *before = slot_in_ledger(r, slot->s - 1);
    return slot->s == 1 || (before && before->view != slot->view);
}

/*
 * Whether we have the binding for the first batch of a view. The primary may have made two
 * NewViews, and the history that we take over can lead through the one that we do not follow.
 */
static bool tip_is_bound(const struct ledger_replica *r, const struct slot *first)
{
    const struct buffer *new_view = tip_new_view(r, first->view);
    return !first->view || (new_view && is_bound(new_view, &first->pp));
}

/*
 * Whether our list of certificates can go on with this batch. A replica that caught up has not
 * prepared the batches before it: then their certificates are made of evidence, if it is here.
 */
bool tip_can_follow(struct ledger_replica *r, const struct slot *slot)
{
    if (tip_goes_on(&r->tip, &slot->pp) || tip_covers(r, slot->view, slot->s))
        return true;
    if (first_of_view(r, slot))
        return tip_is_bound(r, slot);
    uint64_t s = slot->s - 1, first = s;
    while (!first_of_view(r, slot_find(r, first)) && first + r->pipeline > s + 2) {
        first--;
        const struct slot *before = slot_in_ledger(r, first);
        if (!before || before->view != slot->view)
            return false;
    }
    struct buffer certificates[LEDGER_PIPELINE_MAX] = {{0}};
    bool all = (slot->view > r->tip.view || s > r->tip.s) &&
               (slot->s + 1 >= first + r->pipeline || tip_is_bound(r, slot_find(r, first)));
    for (uint64_t i = first; all && i <= s; i++)
        all = vote_certificate(r, slot_find(r, i), &certificates[i - first]);
    if (all) /* the whole list anew: it grows, and stays bound */
        r->tip.count = 0;
    for (uint64_t i = first; i <= s; i++) {
        struct buffer *b = &certificates[i - first];
        if (all) {
            append_record(r, LEDGER_RECORD_CERTIFICATE, 0, slice_of_buffer(b));
            tip_push(r, &r->tip, &slot_find(r, i)->pp, slice_of_buffer(b));
        }
        buffer_free(b);
    }
    return all;
}

void tip_add(struct ledger_replica *r, const struct slot *slot, struct slice encoded)
{
    if (tip_covers(r, slot->view, slot->s))
        return; /* the vote log survived a stop, the batch did not; now it is here again */
    assert(slot->view > r->tip.view || slot->s > r->tip.s); /* effective tips never decrease */
    tip_push(r, &r->tip, &slot->pp, encoded);
}

/* Whether a ViewChange may report this list: it is whole, or begins with its view. */
static bool tip_is_whole(const struct ledger_replica *r, const struct tip *tip)
{
    struct error e;
    struct ledger_certificate first;
    if (tip->count == r->pipeline)
        return true;
    if (ledger_certificate_decode(slice_of_buffer(&tip->certificates[0]), &first, &e))
        return false;
    return first.pp.view ? is_bound(&tip->new_view, &first.pp) : first.pp.seqno == 1;
}

/*
 * A certificate from our log. False: it does not decode.
 *
 * A list that was made anew from evidence (tip_can_follow) is several records, of which a power cut
 * may have left the first ones only. Nothing rests on those yet, and they cannot be reported. So
 * what is read becomes our tip when it is whole; until then that is the list before.
 */
bool tip_recover(struct ledger_replica *r, struct slice encoded)
{
    struct error e;
    struct ledger_certificate c;
    struct tip *next = &r->tip_read;
    if (ledger_certificate_decode(encoded, &c, &e))
        return false;
    if (tip_covers(r, c.pp.view, c.pp.seqno))
        return true;
    if (tip_goes_on(&r->tip, &c.pp)) {
        tip_push(r, &r->tip, &c.pp, encoded);
        return true;
    }
    if (!tip_goes_on(next, &c.pp))
        next->count = 0;
    tip_push(r, next, &c.pp, encoded);
    if (tip_is_whole(r, next)) {
        struct tip before = r->tip;
        r->tip = *next;
        *next = before;
        next->count = 0;
    }
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
