/*
 * Tips: what a ViewChange reports, when it is valid, and what a set of them decides (§6).
 *
 * A replica's tip is the last batch that it prepared, at the greatest (view, s), reported with the
 * certificates of the last P batches of that view, or of all since the view's first one; then the
 * NewView of that view is attached, and the first batch's prev_pp binds it. Behind a partly
 * prepared plan the tip is not the last batch that must survive: the EFFECTIVE tip is the end of
 * the plan.
 *
 * The trap: without the effective tip, batches 1-5 of view 0, of which view 1 re-proposes 4 and 5
 * and prepares only 4, lose 5 in view 2, because (1, 4) beats (0, 5). Without the binding a single
 * liar does the same by leaving NewView(1) out.
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
        const struct buffer *nv = view == r->view          ? &r->new_view
                                  : view == r->logged_view ? &r->logged_new_view
                                                           : NULL;
        tip->new_view.len = 0;
        if (nv && !buffer_append(&tip->new_view, nv->data, nv->len))
            replica_stop(r, "no memory");
    }
    assert(view > tip->view || s > tip->s); /* effective tips never decrease */
    tip->view = view;
    tip->s = s;
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
    if ((slot->view == r->tip.view && slot->s == r->tip.s + 1) || first_of_view(r, slot))
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
    if (all)
        r->tip.count = 0;
    for (uint64_t i = first; i <= s; i++) {
        struct buffer *b = &certificates[i - first];
        if (all && (slot->view > r->tip.view || i > r->tip.s)) {
            append_record(r, LEDGER_RECORD_CERTIFICATE, 0, slice_of_buffer(b));
            tip_push(r, slot->view, i, slice_of_buffer(b));
        }
        buffer_free(b);
    }
    return all;
}

void tip_add(struct ledger_replica *r, const struct slot *slot, struct slice encoded)
{
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

/* ---- a ViewChange ---- */

/* The batch up to which everything survives that this ViewChange's sender prepared: its tip, or the
 * end of the plan behind which the tip stands. (0, 0): nothing. */
void tip_effective(const struct ledger_view_change *vc, uint64_t *view, uint64_t *s)
{
    *view = *s = 0;
    if (!vc->certificate_count)
        return;
    const struct ledger_pp *last = &vc->certificates[vc->certificate_count - 1].pp;
    *view = last->view;
    *s = last->seqno;
    if (vc->has_new_view && vc->nv.tip_seqno > *s)
        *s = vc->nv.tip_seqno;
}

static bool links_to_new_view(const struct ledger_view_change *vc)
{
    uint8_t hash[HASH_LEN];
    const struct ledger_pp *first = &vc->certificates[0].pp;
    ledger_new_view_hash(&vc->nv, hash);
    return vc->nv.view == first->view && vc->nv.base_seqno + 1 == first->seqno &&
           !memcmp(first->previous, hash, HASH_LEN);
}

/*
 * Whether a ViewChange is complete in itself (§6, binding): its certificates follow each other in
 * one view below the new one, and they are P, or begin with the first batch of their view, whose
 * NewView is attached. Signatures and quorums are checked apart. 0 or ATOLL_EINVAL.
 */
int tip_binding_check(const struct ledger_replica *r, const struct ledger_view_change *vc,
                      struct error *e)
{
    if (vc->config != r->configuration->number || vc->replica >= r->n || vc->new_view == 0)
        return error_set(e, ATOLL_EINVAL, "a ViewChange of another configuration");
    if (vc->certificate_count > r->pipeline)
        return error_set(e, ATOLL_EINVAL, "a ViewChange with more certificates than the pipeline");
    if (!vc->certificate_count)
        return vc->has_new_view
                   ? error_set(e, ATOLL_EINVAL, "a ViewChange with a NewView but no certificate")
                   : 0;
    const struct ledger_pp *first = &vc->certificates[0].pp;
    if (first->view >= vc->new_view)
        return error_set(e, ATOLL_EINVAL, "a certificate of a view that is yet to come");
    for (uint32_t i = 1; i < vc->certificate_count; i++) {
        uint8_t hash[HASH_LEN];
        const struct ledger_pp *pp = &vc->certificates[i].pp;
        ledger_pp_hash(&vc->certificates[i - 1].pp, hash);
        if (pp->view != first->view || pp->seqno != first->seqno + i ||
            memcmp(pp->previous, hash, HASH_LEN))
            return error_set(e, ATOLL_EINVAL, "certificates that do not follow each other");
    }
    if (vc->has_new_view && !links_to_new_view(vc))
        return error_set(e, ATOLL_EINVAL, "a NewView that its first certificate does not name");
    if (!vc->has_new_view && vc->certificate_count < r->pipeline &&
        (first->view != 0 || first->seqno != 1 ||
         memcmp(first->previous, r->genesis.hash, HASH_LEN)))
        return error_set(e, ATOLL_EINVAL, "too few certificates, and no NewView before them");
    return 0;
}

/* ---- the choice ---- */

/* Whether a's tip is to be chosen rather than b's. */
static bool tip_is_greater(const struct ledger_view_change *a, const struct ledger_view_change *b)
{
    uint64_t a_view, a_s, b_view, b_s;
    uint8_t a_hash[HASH_LEN], b_hash[HASH_LEN];
    tip_effective(a, &a_view, &a_s);
    tip_effective(b, &b_view, &b_s);
    if (!a->certificate_count || !b->certificate_count)
        return a->certificate_count > b->certificate_count;
    if (a_view != b_view)
        return a_view > b_view;
    if (a_s != b_s)
        return a_s > b_s;
    const struct ledger_pp *a_last = &a->certificates[a->certificate_count - 1].pp;
    const struct ledger_pp *b_last = &b->certificates[b->certificate_count - 1].pp;
    if (a_last->seqno != b_last->seqno)
        return a_last->seqno > b_last->seqno;
    ledger_pp_hash(a_last, a_hash);
    ledger_pp_hash(b_last, b_hash);
    return memcmp(a_hash, b_hash, HASH_LEN) < 0;
}

/* What these valid ViewChanges make the new primary do: the same for whoever looks at them. */
void tip_choose(const struct ledger_replica *r, const struct ledger_view_change *const *vcs,
                unsigned count, struct choice *choice)
{
    const struct ledger_view_change *best = vcs[0];
    for (unsigned i = 1; i < count; i++)
        if (tip_is_greater(vcs[i], best))
            best = vcs[i];
    *choice = (struct choice){0};
    memcpy(choice->link, r->genesis.hash, HASH_LEN);
    tip_effective(best, &choice->tip_view, &choice->tip_s);
    if (!best->certificate_count)
        return;
    const struct ledger_pp *first = &best->certificates[0].pp;
    /* The later of s_c = tip - P and the end of NewView(w): just before the first certificate, for
     * these are P, or all of the view. */
    choice->base = first->seqno - 1;
    memcpy(choice->link, first->previous, HASH_LEN);
    for (uint64_t s = first->seqno; s <= choice->tip_s; s++) {
        struct ledger_plan *plan = &choice->plan[choice->plan_count++];
        uint64_t i = s - first->seqno;
        if (i >= best->certificate_count) {
            *plan = best->nv.plan[i];
            continue;
        }
        const struct ledger_pp *pp = &best->certificates[i].pp;
        *plan = (struct ledger_plan){
            .seqno = s, .kind = pp->kind, .first_index = pp->first_index, .count = pp->count};
        memcpy(plan->batch_root, pp->batch_root, HASH_LEN);
    }
}

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
