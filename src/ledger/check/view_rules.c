/* See view_rules.h. */
#include "ledger/check/view_rules.h"

#include "ledger/object/quorum.h"
#include "ledger/replica/choice.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int want(struct view_rules *r, const struct ledger_signature *one, struct error *e)
{
    r->wanted++;
    return check_signatures_add(r->signatures, one, r->subject, e);
}

static int want_signed(struct view_rules *r, const uint8_t hash[static HASH_LEN], uint16_t replica,
                       const uint8_t *signature, struct error *e)
{
    struct ledger_signature one = {.public_key = r->configuration->replicas[replica].public_key,
                                   .signature = signature};
    memcpy(one.hash, hash, HASH_LEN);
    return want(r, &one, e);
}

static int new_view_want(struct view_rules *r, const struct ledger_new_view *nv, struct error *e)
{
    uint8_t hash[HASH_LEN];
    ledger_new_view_hash(nv, hash);
    return want_signed(r, hash, ledger_primary(r->configuration, nv->view), nv->signature, e);
}

static int view_change_check(struct view_rules *r, const struct choice_terms *terms,
                             const struct ledger_view_change *vc, struct slice bytes,
                             struct error *e)
{
    struct ledger_signature work[LEDGER_REPLICAS_MAX];
    uint8_t hash[HASH_LEN];
    int rc = choice_binding_check(terms, vc, e);
    if (rc != 0)
        return error_prefix(e, "the ViewChange of replica %u", vc->replica);
    ledger_view_change_hash_bytes(bytes, hash);
    rc = want_signed(r, hash, vc->replica, vc->signature, e);
    for (uint32_t i = 0; rc == 0 && i < vc->certificate_count; i++) {
        int count = ledger_certificate_check(r->configuration, &vc->certificates[i], work, e);
        if (count < 0)
            return error_prefix(e, "a certificate of replica %u", vc->replica);
        for (int k = 0; k < count && rc == 0; k++)
            rc = want(r, &work[k], e);
    }
    return rc == 0 && vc->has_new_view ? new_view_want(r, &vc->nv, e) : rc;
}

static bool plan_equal(const struct ledger_plan *a, const struct ledger_plan *b)
{
    return a->seqno == b->seqno && a->kind == b->kind && a->first_index == b->first_index &&
           a->count == b->count && memcmp(a->batch_root, b->batch_root, HASH_LEN) == 0;
}

static int choice_check(const struct ledger_new_view *nv, const struct choice *choice,
                        struct error *e)
{
    bool same = nv->base_seqno == choice->base && nv->tip_view == choice->tip_view &&
                nv->tip_seqno == choice->tip_s && nv->plan_count == choice->plan_count;
    for (uint32_t i = 0; same && i < nv->plan_count; i++)
        same = plan_equal(&nv->plan[i], &choice->plan[i]);
    if (same)
        return 0;
    return error_set(e, ATOLL_ECORRUPT,
                     "it does not follow from its ViewChanges, which demand (%" PRIu64 ", %" PRIu64
                     ") behind batch %" PRIu64,
                     choice->tip_view, choice->tip_s, choice->base);
}

/* Whoever decoded the set knows that no sender is in it twice. */
static int set_check(struct view_rules *r, const struct ledger_vcset *set,
                     const struct ledger_new_view *nv, struct ledger_view_change *vcs,
                     struct error *e)
{
    const struct ledger_view_change *pointers[LEDGER_REPLICAS_MAX];
    struct choice choice;
    const struct choice_terms terms = {.config = r->configuration->number,
                                       .replicas = r->configuration->replica_count,
                                       .pipeline = r->pipeline,
                                       .genesis = r->genesis};
    for (uint32_t i = 0; i < set->count; i++) {
        int rc = ledger_view_change_decode_signed(set->view_changes[i], &vcs[i], e);
        if (rc != 0)
            return rc;
        if (vcs[i].new_view != nv->view || vcs[i].replica >= r->configuration->replica_count)
            return error_set(e, ATOLL_ECORRUPT,
                             "a ViewChange of it is for another view, or of no replica");
        rc = view_change_check(r, &terms, &vcs[i], set->view_changes[i], e);
        if (rc != 0)
            return rc;
        pointers[i] = &vcs[i];
    }
    choice_make(&terms, pointers, set->count, &choice);
    memcpy(r->link, choice.link, HASH_LEN);
    return choice_check(nv, &choice, e);
}

int view_rules_check(struct view_rules *r, struct slice vcset, const struct ledger_new_view *nv,
                     struct error *e)
{
    struct ledger_vcset set;
    uint8_t hash[HASH_LEN];
    r->wanted = 0;
    int rc = ledger_vcset_decode(vcset, &set, e);
    if (rc != 0)
        return rc;
    ledger_vcset_hash(vcset, hash);
    if (nv->config != r->configuration->number || set.view != nv->view ||
        memcmp(hash, nv->vcset_hash, HASH_LEN) != 0)
        return error_set(e, ATOLL_ECORRUPT, "it rests on other ViewChanges than stand before it");
    if (set.count != ledger_quorum(r->configuration))
        return error_set(e, ATOLL_ECORRUPT, "it rests on %u ViewChanges instead of %u", set.count,
                         ledger_quorum(r->configuration));
    struct ledger_view_change *vcs = calloc(set.count, sizeof *vcs);
    if (vcs == NULL)
        return error_set(e, ATOLL_ENOMEM, "no memory to check a view change");
    rc = set_check(r, &set, nv, vcs, e);
    free(vcs);
    return rc == 0 ? new_view_want(r, nv, e) : rc;
}
