/* See choice.h. */
#include "ledger/replica/choice.h"

#include <string.h>

/* ---- a ViewChange ---- */

/* The batch up to which everything survives that this ViewChange's sender prepared: its tip, or the
 * end of the plan behind which the tip stands. (0, 0): nothing. */
static void choice_effective_tip(const struct ledger_view_change *vc, uint64_t *view, uint64_t *s)
{
    *view = *s = 0;
    if (!vc->certificate_count)
        return;
    const struct ledger_pp *last = &vc->certificates[vc->certificate_count - 1].pp;
    *view = last->view;
    *s = last->seqno;
    if (vc->has_new_view && vc->nv.tip_seqno > *s && !MUTATED(NAIVE_TIP))
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
int choice_binding_check(const struct choice_terms *t, const struct ledger_view_change *vc,
                         struct error *e)
{
    if (vc->config != t->config || vc->replica >= t->replicas || vc->new_view == 0)
        return error_set(e, ATOLL_EINVAL, "a ViewChange of another configuration");
    if (vc->certificate_count > t->pipeline)
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
    if (vc->has_new_view && !links_to_new_view(vc) && !MUTATED(NEW_VIEW_UNBOUND))
        return error_set(e, ATOLL_EINVAL, "a NewView that its first certificate does not name");
    if (!MUTATED(NEW_VIEW_OMITTED) && !vc->has_new_view && vc->certificate_count < t->pipeline &&
        (first->view != 0 || first->seqno != 1 || memcmp(first->previous, t->genesis, HASH_LEN)))
        return error_set(e, ATOLL_EINVAL, "too few certificates, and no NewView before them");
    return 0;
}

/* ---- the choice ---- */

/* Whether a's tip is to be chosen rather than b's. */
static bool tip_is_greater(const struct ledger_view_change *a, const struct ledger_view_change *b)
{
    uint64_t a_view, a_s, b_view, b_s;
    uint8_t a_hash[HASH_LEN], b_hash[HASH_LEN];
    choice_effective_tip(a, &a_view, &a_s);
    choice_effective_tip(b, &b_view, &b_s);
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
void choice_make(const struct choice_terms *t, const struct ledger_view_change *const *vcs,
                 unsigned count, struct choice *out)
{
    const struct ledger_view_change *best = vcs[0];
    for (unsigned i = 1; i < count; i++)
        if (tip_is_greater(vcs[i], best))
            best = vcs[i];
    *out = (struct choice){.replica = best->replica};
    memcpy(out->link, t->genesis, HASH_LEN);
    choice_effective_tip(best, &out->tip_view, &out->tip_s);
    if (!best->certificate_count)
        return;
    const struct ledger_pp *first = &best->certificates[0].pp;
    /* The later of s_c = tip - P and the end of NewView(w): just before the first certificate, for
     * these are P, or all of the view. */
    out->base = first->seqno - 1;
    memcpy(out->link, first->previous, HASH_LEN);
    for (uint64_t s = first->seqno; s <= out->tip_s; s++) {
        struct ledger_plan *plan = &out->plan[out->plan_count++];
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
