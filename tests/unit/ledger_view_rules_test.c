/*
 * The rules of a view change over what stands in a ledger (§6), told by the scenario that loses a
 * committed batch wherever one of them is missing:
 *
 *   view 0   batches 1-5 committed; P = 2
 *   view 1   NewView(1) plans 4 and 5 again; replica 0 prepares 4 there, the others nothing
 *   view 2   replica 0 reports (1, 4) with NewView(1), replicas 1 and 2 (0, 4) and (0, 5)
 *
 * The effective tip is (1, 5): batch 5 must survive. The rules gather signatures; what becomes of
 * them is looked at in the last tests, where all of the scene is signed.
 */
#include "ledger_objects.h"

#include "ledger/check/view_rules.h"
#include "ledger/replica/choice.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define N 4
#define Q 3
#define P 2

/* What can be changed before the NewView of view 2 is judged. */
struct scene {
    struct ledger_pp old[6], again; /* old[s] of view 0; 4 once more, in view 1 */
    struct ledger_new_view nv1, nv2;
    struct ledger_view_change vc[Q];
    unsigned count;
    uint64_t set_view; /* of the VCSET */
    bool is_signed;
    unsigned signatures, spoilt; /* made so far; the one that is made badly */
    uint8_t votes[Q][P][Q - 1][LEDGER_CERTIFICATE_VOTE_LEN];
};

#define NONE UINT_MAX /* is spoilt */

static struct secret *secrets[N];

static const uint8_t genesis[HASH_LEN] = {7};
static uint8_t votes[N][LEDGER_CERTIFICATE_VOTE_LEN];
static struct ledger_configuration configuration;

static struct ledger_pp batch(uint64_t view, uint64_t s, const uint8_t *previous)
{
    struct ledger_pp pp = {.view = view,
                           .seqno = s,
                           .kind = LEDGER_KIND_NORMAL,
                           .batch_root = {(uint8_t)s},
                           .first_index = 10 * s,
                           .count = 1,
                           .nonce_commit = {(uint8_t)view}};
    memcpy(pp.previous, previous, HASH_LEN);
    return pp;
}

static struct ledger_plan plan_of(const struct ledger_pp *pp)
{
    struct ledger_plan plan = {
        .seqno = pp->seqno, .kind = pp->kind, .first_index = pp->first_index, .count = pp->count};
    memcpy(plan.batch_root, pp->batch_root, HASH_LEN);
    return plan;
}

/* The Q - 1 backups of its view that come first prepared it. */
static struct ledger_certificate certificate(const struct ledger_pp *pp)
{
    struct ledger_certificate c = {.pp = *pp, .vote_count = Q - 1, .votes = votes[0]};
    for (unsigned i = 0, taken = 0; taken < Q - 1; i++) {
        if (i == pp->view % N)
            continue;
        c.bits |= UINT64_C(1) << i;
        taken++;
    }
    return c;
}

static void scene_set(struct scene *s)
{
    uint8_t hash[HASH_LEN];
    memcpy(hash, genesis, HASH_LEN);
    memset(s, 0, sizeof *s);
    for (uint64_t i = 1; i <= 5; i++) {
        s->old[i] = batch(0, i, hash);
        ledger_pp_hash(&s->old[i], hash);
    }
    s->nv1 = (struct ledger_new_view){
        .view = 1, .base_seqno = 3, .tip_view = 0, .tip_seqno = 5, .plan_count = 2};
    ledger_pp_hash(&s->old[3], s->nv1.base_pp_hash);
    s->nv1.plan[0] = plan_of(&s->old[4]);
    s->nv1.plan[1] = plan_of(&s->old[5]);
    ledger_new_view_hash(&s->nv1, hash);
    s->again = batch(1, 4, hash);
    s->vc[0] = (struct ledger_view_change){
        .new_view = 2, .replica = 0, .certificate_count = 1, .has_new_view = true, .nv = s->nv1};
    s->vc[0].certificates[0] = certificate(&s->again);
    for (uint16_t i = 1; i < Q; i++) {
        s->vc[i] = (struct ledger_view_change){.new_view = 2, .replica = i, .certificate_count = 2};
        s->vc[i].certificates[0] = certificate(&s->old[4]);
        s->vc[i].certificates[1] = certificate(&s->old[5]);
    }
    s->count = Q;
    s->set_view = 2;
    s->nv2 = (struct ledger_new_view){
        .view = 2, .base_seqno = 3, .tip_view = 1, .tip_seqno = 5, .plan_count = 2};
    ledger_pp_hash(&s->old[3], s->nv2.base_pp_hash);
    s->nv2.plan[0] = plan_of(&s->again);
    s->nv2.plan[1] = plan_of(&s->old[5]);
}

/* ---- signing all of it ---- */

static void sign(struct scene *s, uint64_t replica, const uint8_t *hash, uint8_t *signature)
{
    secret_sign(secrets[replica % N], hash, HASH_LEN, signature);
    signature[0] ^= s->signatures++ == s->spoilt;
}

static void new_view_sign(struct scene *s, struct ledger_new_view *nv)
{
    uint8_t hash[HASH_LEN];
    ledger_new_view_hash(nv, hash);
    sign(s, nv->view, hash, nv->signature);
}

static void certificate_sign(struct scene *s, struct ledger_certificate *c,
                             uint8_t out[Q - 1][LEDGER_CERTIFICATE_VOTE_LEN])
{
    uint8_t pp_hash[HASH_LEN], hash[HASH_LEN];
    ledger_pp_hash(&c->pp, pp_hash);
    sign(s, c->pp.view, pp_hash, c->pp.signature);
    c->votes = out[0];
    unsigned k = 0;
    for (uint16_t i = 0; i < N; i++) {
        if (!(c->bits >> i & 1))
            continue;
        struct ledger_prepare p = {
            .view = c->pp.view, .seqno = c->pp.seqno, .replica = i, .nonce_commit = {(uint8_t)i}};
        memcpy(p.pp_hash, pp_hash, HASH_LEN);
        ledger_prepare_hash(&p, hash);
        memcpy(out[k], p.nonce_commit, HASH_LEN);
        sign(s, i, hash, out[k++] + HASH_LEN);
    }
}

/* What is in a ViewChange first, then the ViewChange; the NewView of view 2 when it is judged. */
static void scene_sign(struct scene *s, unsigned spoilt)
{
    uint8_t hash[HASH_LEN];
    s->is_signed = true;
    s->signatures = 0;
    s->spoilt = spoilt;
    for (unsigned i = 0; i < Q; i++) {
        struct ledger_view_change *vc = &s->vc[i];
        for (unsigned k = 0; k < vc->certificate_count; k++)
            certificate_sign(s, &vc->certificates[k], s->votes[i][k]);
        if (vc->has_new_view)
            new_view_sign(s, &vc->nv);
        assert_true(ledger_view_change_hash(vc, hash));
        sign(s, vc->replica, hash, vc->signature);
    }
}

/* ---- judging ---- */

/* 0 or the code, and the sentence in e; the place behind which the NewView belongs in link. */
static int judge(struct scene *s, uint8_t *link, struct error *e)
{
    struct buffer bytes[Q] = {{0}}, vcset = {0};
    struct ledger_vcset set = {.view = s->set_view, .count = s->count};
    struct view_rules rules = {.configuration = &configuration, .genesis = genesis, .pipeline = P};
    assert_int_equal(check_signatures_create(&rules.signatures, e), 0);
    for (unsigned i = 0; i < s->count; i++) {
        assert_true(ledger_view_change_encode_signed(&s->vc[i], &bytes[i]));
        set.view_changes[i] = slice_of_buffer(&bytes[i]);
    }
    assert_true(ledger_vcset_encode(&set, &vcset));
    ledger_vcset_hash(slice_of_buffer(&vcset), s->nv2.vcset_hash);
    if (s->is_signed)
        new_view_sign(s, &s->nv2);
    int rc = view_rules_check(&rules, slice_of_buffer(&vcset), &s->nv2, e);
    if (link)
        memcpy(link, rules.link, HASH_LEN);
    if (rc == 0 && s->is_signed) {
        assert_int_equal(rules.wanted, s->signatures);
        rc = check_signatures_flush(rules.signatures, e);
    }
    check_signatures_destroy(rules.signatures);
    for (unsigned i = 0; i < s->count; i++)
        buffer_free(&bytes[i]);
    buffer_free(&vcset);
    return rc;
}

static void refused(struct scene *s, const char *words)
{
    struct error e = {0};
    int rc = judge(s, NULL, &e);
    if (rc >= 0 || rc == -ATOLL_ENOMEM || !strstr(e.text, words))
        fail_msg("%d: \"%s\" instead of \"%s\"", rc, e.text, words);
}

static void the_effective_tip_decides_and_the_view_starts_behind_its_new_view(void **state)
{
    (void)state;
    struct scene s;
    struct error e;
    uint8_t link[HASH_LEN], expected[HASH_LEN];
    scene_set(&s);
    if (judge(&s, link, &e))
        fail_msg("%s", e.text);
    ledger_new_view_hash(&s.nv1, expected);
    assert_memory_equal(link, expected, HASH_LEN);
}

static void the_plain_greatest_tip_would_lose_a_batch(void **state)
{
    (void)state;
    struct scene s;
    scene_set(&s); /* (1, 4) as it stands in the certificate */
    s.nv2.tip_seqno = 4;
    s.nv2.plan_count = 1;
    refused(&s, "demand (1, 5) behind batch 3");
    scene_set(&s); /* and the older certificate of 5 is not it either */
    s.nv2.tip_view = 0;
    refused(&s, "demand (1, 5) behind batch 3");
}

static void a_new_view_cannot_be_left_out_or_exchanged(void **state)
{
    (void)state;
    struct scene s;
    scene_set(&s);
    s.vc[0].has_new_view = false;
    refused(&s, "no NewView before them");
    scene_set(&s); /* one that does not plan 5 */
    s.vc[0].nv.tip_seqno = 4;
    s.vc[0].nv.plan_count = 1;
    refused(&s, "does not name");
    scene_set(&s); /* one that plans another 5 */
    s.vc[0].nv.plan[1].batch_root[0] ^= 1;
    refused(&s, "does not name");
    scene_set(&s); /* one of another view */
    s.vc[0].nv.view = 5;
    refused(&s, "does not name");
    scene_set(&s); /* nor stand alone */
    s.vc[0].certificate_count = 0;
    refused(&s, "no certificate");
}

static void certificates_are_the_last_of_one_view_and_follow_each_other(void **state)
{
    (void)state;
    struct scene s;
    scene_set(&s); /* too few of view 0, which did not begin there */
    s.vc[1].certificate_count = 1;
    refused(&s, "too few certificates");
    scene_set(&s); /* 3 and 5 */
    s.vc[1].certificates[0] = certificate(&s.old[3]);
    refused(&s, "not one row of one view");
    scene_set(&s); /* one of each view */
    s.vc[1].certificates[0] = certificate(&s.again);
    refused(&s, "not one row of one view");
    scene_set(&s); /* 4 of a history without 5 */
    s.vc[1].certificates[1].pp.previous[0] ^= 1;
    refused(&s, "do not follow each other");
    scene_set(&s); /* of the view that is to come */
    s.vc[0].certificates[0].pp.view = 2;
    refused(&s, "yet to come");
    scene_set(&s); /* more than P */
    s.vc[1].certificate_count = 3;
    s.vc[1].certificates[0] = certificate(&s.old[3]);
    s.vc[1].certificates[1] = certificate(&s.old[4]);
    s.vc[1].certificates[2] = certificate(&s.old[5]);
    refused(&s, "more certificates than the pipeline");
}

static void a_certificate_needs_a_quorum_with_its_primary(void **state)
{
    (void)state;
    struct scene s;
    scene_set(&s);
    s.vc[1].certificates[1].bits = 1 << 1;
    s.vc[1].certificates[1].vote_count = 1;
    refused(&s, "a certificate of replica 1");
    scene_set(&s);
    s.vc[1].certificates[1].bits = 1 << 0 | 1 << 1; /* 0 is the primary of view 0 */
    refused(&s, "the primary, among the backups");
    scene_set(&s);
    s.vc[0].certificates[0].bits = 1 << 1 | 1 << 2; /* and 1 that of view 1 */
    refused(&s, "the primary, among the backups");
}

static void the_base_is_the_batch_before_the_first_certificate(void **state)
{
    (void)state;
    struct scene s;
    scene_set(&s);
    s.nv2.base_seqno = 2;
    s.nv2.plan_count = 3;
    s.nv2.plan[0] = plan_of(&s.old[3]);
    s.nv2.plan[1] = plan_of(&s.again);
    s.nv2.plan[2] = plan_of(&s.old[5]);
    refused(&s, "behind batch 3");
    scene_set(&s);
    s.nv2.base_seqno = 4;
    s.nv2.plan_count = 1;
    s.nv2.plan[0] = plan_of(&s.old[5]);
    refused(&s, "behind batch 3");
}

static void what_is_planned_keeps_its_contents(void **state)
{
    (void)state;
    struct scene s;
    for (unsigned i = 0; i < 2; i++) { /* the prepared one, and the rest of the plan */
        scene_set(&s);
        s.nv2.plan[i].batch_root[0] ^= 1;
        refused(&s, "does not follow");
        scene_set(&s);
        s.nv2.plan[i].batch_root[HASH_LEN - 1] ^= 1;
        refused(&s, "does not follow");
        scene_set(&s);
        s.nv2.plan[i].first_index++;
        refused(&s, "does not follow");
        scene_set(&s);
        s.nv2.plan[i].count++;
        refused(&s, "does not follow");
        scene_set(&s);
        s.nv2.plan[i].kind = LEDGER_KIND_EMPTY;
        s.nv2.plan[i].count = 0;
        refused(&s, "does not follow");
    }
}

static void a_quorum_of_different_replicas_asks_for_this_view(void **state)
{
    (void)state;
    struct scene s;
    scene_set(&s);
    s.count = Q - 1;
    refused(&s, "2 ViewChanges instead of 3");
    scene_set(&s);
    s.vc[2].replica = 1;
    refused(&s, "not in ascending order");
    scene_set(&s);
    s.vc[2].new_view = 3;
    refused(&s, "another view");
    scene_set(&s);
    s.vc[2].replica = N;
    refused(&s, "of no replica");
    scene_set(&s);
    s.vc[2].config = 1;
    refused(&s, "another configuration");
}

static void the_set_and_the_new_view_are_of_one_view_and_configuration(void **state)
{
    (void)state;
    struct scene s;
    scene_set(&s);
    s.set_view = 3;
    refused(&s, "rests on other ViewChanges");
    scene_set(&s);
    s.nv2.config = 1;
    refused(&s, "rests on other ViewChanges");
}

static void without_a_certificate_the_view_starts_at_the_genesis(void **state)
{
    (void)state;
    struct scene s;
    struct error e;
    uint8_t link[HASH_LEN];
    scene_set(&s);
    for (unsigned i = 0; i < Q; i++) {
        s.vc[i].certificate_count = 0;
        s.vc[i].has_new_view = false;
    }
    refused(&s, "demand (0, 0) behind batch 0");
    s.nv2 = (struct ledger_new_view){.view = 2};
    assert_int_equal(judge(&s, link, &e), 0);
    assert_memory_equal(link, genesis, HASH_LEN);
}

static void of_equal_tips_the_one_with_more_prepared_is_chosen_wherever_it_stands(void **state)
{
    (void)state;
    struct scene s;
    const struct choice_terms terms = {.replicas = N, .pipeline = P, .genesis = genesis};
    struct choice choice;
    scene_set(&s);
    /* Replica 1 prepared 4 and 5 in view 1, replica 0 only 4: both tips are worth (1, 5). */
    struct ledger_pp five;
    uint8_t hash[HASH_LEN];
    ledger_pp_hash(&s.again, hash);
    five = batch(1, 5, hash);
    s.vc[1] = s.vc[0];
    s.vc[1].replica = 1;
    s.vc[1].certificate_count = 2;
    s.vc[1].certificates[1] = certificate(&five);
    for (unsigned turn = 0; turn < 3; turn++) {
        const struct ledger_view_change *vcs[Q] = {&s.vc[turn % 3], &s.vc[(turn + 1) % 3],
                                                   &s.vc[(turn + 2) % 3]};
        choice_make(&terms, vcs, Q, &choice);
        assert_int_equal(choice.replica, 1);
        assert_int_equal(choice.tip_view, 1);
        assert_int_equal(choice.tip_s, 5);
        assert_int_equal(choice.base, 3);
        assert_int_equal(choice.plan_count, 2);
    }
}

/* ViewChanges, the pre-prepares and Prepares in them, both NewViews. */
static void one_bad_signature_anywhere_is_found(void **state)
{
    (void)state;
    struct scene s;
    struct error e;
    scene_set(&s);
    scene_sign(&s, NONE);
    if (judge(&s, NULL, &e) != 0)
        fail_msg("%s", e.text);
    unsigned all = s.signatures;
    assert_int_equal(all, 3 + 3 * 5 + 2);
    for (unsigned spoilt = 0; spoilt < all; spoilt++) {
        scene_set(&s);
        scene_sign(&s, spoilt);
        if (judge(&s, NULL, &e) != -ATOLL_ECORRUPT || !strstr(e.text, "is not valid"))
            fail_msg("signature %u of %u may be a bad one", spoilt, all);
    }
}

static void the_set_that_a_new_view_names_is_the_one_before_it(void **state)
{
    (void)state;
    struct scene s;
    struct error e;
    struct ledger_vcset set = {.view = 2};
    struct buffer vcset = {0};
    struct view_rules rules = {.configuration = &configuration, .genesis = genesis, .pipeline = P};
    for (unsigned byte = 0; byte < HASH_LEN; byte += HASH_LEN - 1) {
        vcset.len = 0;
        scene_set(&s);
        assert_true(ledger_vcset_encode(&set, &vcset));
        ledger_vcset_hash(slice_of_buffer(&vcset), s.nv2.vcset_hash);
        s.nv2.vcset_hash[byte] ^= 1;
        assert_int_equal(view_rules_check(&rules, slice_of_buffer(&vcset), &s.nv2, &e),
                         -ATOLL_ECORRUPT);
        assert_non_null(strstr(e.text, "rests on other ViewChanges"));
    }
    buffer_free(&vcset);
}

static int keys_make(void **state)
{
    (void)state;
    configuration.replica_count = N;
    for (unsigned i = 0; i < N; i++) {
        secrets[i] = number_secret(1, i);
        configuration.replicas[i].public_key = secret_public(secrets[i]);
    }
    return 0;
}

static int keys_drop(void **state)
{
    (void)state;
    for (unsigned i = 0; i < N; i++)
        secret_destroy(secrets[i]);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_effective_tip_decides_and_the_view_starts_behind_its_new_view),
        cmocka_unit_test(the_plain_greatest_tip_would_lose_a_batch),
        cmocka_unit_test(a_new_view_cannot_be_left_out_or_exchanged),
        cmocka_unit_test(certificates_are_the_last_of_one_view_and_follow_each_other),
        cmocka_unit_test(a_certificate_needs_a_quorum_with_its_primary),
        cmocka_unit_test(the_base_is_the_batch_before_the_first_certificate),
        cmocka_unit_test(what_is_planned_keeps_its_contents),
        cmocka_unit_test(a_quorum_of_different_replicas_asks_for_this_view),
        cmocka_unit_test(the_set_and_the_new_view_are_of_one_view_and_configuration),
        cmocka_unit_test(without_a_certificate_the_view_starts_at_the_genesis),
        cmocka_unit_test(of_equal_tips_the_one_with_more_prepared_is_chosen_wherever_it_stands),
        cmocka_unit_test(one_bad_signature_anywhere_is_found),
        cmocka_unit_test(the_set_that_a_new_view_names_is_the_one_before_it),
    };
    return cmocka_run_group_tests(tests, keys_make, keys_drop);
}
