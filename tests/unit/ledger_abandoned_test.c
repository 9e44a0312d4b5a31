/*
 * A tip whose history the ledger has left is chosen by a later view change (§4.1, §6): whoever
 * reported it must still have what it rests on.
 *
 *   view 0   batches 1-6 committed
 *   view 1   proposes 5 and 6 again; replica 3 alone hears the Prepares: its tip is (1, 6)
 *   view 2   made without replica 3: rests on view 0, and everyone rolls NewView(1) back
 *   view 3 … replica 2 is silent: every quorum has replica 3's tip, which rests on NewView(1)
 */
#include "ledger_cluster.h"

#define NOBODY (-1)
#define HOLDER 3 /* of the tip */

struct plot {
    int hears_prepares;       /* the only one; NOBODY: none */
    bool holder_is_not_heard; /* its ViewChanges are lost */
    unsigned fetches;         /* of the ledger, that reached the holder */
};

static bool direct(struct cluster *c, int from, int to, struct buffer *m)
{
    struct plot *plot = c->tamper_context;
    unsigned type = ledger_message_type(slice_of_buffer(m));
    plot->fetches += type == LEDGER_MESSAGE_FETCH_LEDGER && to == HOLDER;
    if (type == LEDGER_MESSAGE_PREPARE)
        return to == plot->hears_prepares;
    if (type == LEDGER_MESSAGE_VIEW_CHANGE && from == HOLDER)
        return !plot->holder_is_not_heard;
    return true;
}

/* Everyone asks for this view. */
static void leave_for(struct cluster *c, uint64_t view)
{
    for (unsigned i = 0; i < c->n; i++)
        if (cluster_status(c, i).view_change_sent < view)
            view_leave(c->nodes[i].replica, view);
    for (unsigned i = 0; i < c->n; i++)
        ledger_settle(c->nodes[i].replica);
    cluster_run(c);
}

/* Up to where every quorum must choose the tip whose history nobody has in his ledger. */
static struct cluster *until_view_two(struct plot *plot)
{
    struct cluster *c = cluster_create(4);
    cluster_requests(c, 0, 0, 6);
    cluster_assert_agree(c, 6);
    *plot = (struct plot){.hears_prepares = HOLDER};
    c->tamper = direct;
    c->tamper_context = plot;
    leave_for(c, 1);
    assert_int_equal(c->nodes[HOLDER].replica->tip.view, 1);
    assert_int_equal(c->nodes[HOLDER].replica->tip.s, 6);
    plot->hears_prepares = NOBODY;
    plot->holder_is_not_heard = true;
    leave_for(c, 2);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(cluster_status(c, i).view, 2);
        assert_int_equal(c->nodes[i].replica->tip.view, i == HOLDER);
        assert_null(view_entry_find(c->nodes[i].replica, 1));
    }
    plot->holder_is_not_heard = false;
    return c;
}

/* All but replica 2 go on, in a view above 2 that has NewView(1) in its history. */
static void assert_goes_on(struct cluster *c)
{
    uint8_t req_hash[HASH_LEN];
    struct ledger_receipt_info info;
    c->tamper = NULL;
    cluster_cut(c, 2, true);
    cluster_request(c, 1, -1, req_hash);
    cluster_pass(c, 20000000);
    assert_true(cluster_receipt(c, 0, req_hash, &info));
    assert_true(info.receipt.pp.view > 2);
    for (unsigned i = 0; i < 4; i++) {
        if (i == 2)
            continue;
        assert_true(cluster_status(c, i).s_committed >= 7);
        assert_null(c->nodes[i].stopped);
    }
    cluster_cut(c, 2, false);
    cluster_pass(c, 20000000);
    cluster_assert_agree(c, 7);
}

static void the_holder_of_a_tip_makes_its_history_the_ledger_again(void **state)
{
    (void)state;
    struct plot plot;
    struct cluster *c = until_view_two(&plot);
    cluster_cut(c, 2, true);
    leave_for(c, 3); /* the holder is its primary */
    assert_int_equal(cluster_status(c, HOLDER).view, 3);
    assert_non_null(view_entry_find(c->nodes[HOLDER].replica, 1));
    assert_goes_on(c);
    cluster_destroy(c);
}

static void others_get_the_history_from_the_holder_of_the_tip(void **state)
{
    (void)state;
    struct plot plot;
    struct cluster *c = until_view_two(&plot);
    cluster_cut(c, 2, true);
    leave_for(c, 4); /* replica 0 is its primary */
    assert_true(plot.fetches > 0);
    assert_int_equal(cluster_status(c, 0).view, 4);
    assert_non_null(view_entry_find(c->nodes[0].replica, 1));
    assert_goes_on(c);
    cluster_destroy(c);
}

static void the_holder_still_has_it_after_a_restart(void **state)
{
    (void)state;
    struct plot plot;
    struct cluster *c = until_view_two(&plot);
    for (unsigned i = 0; i < 4; i++) {
        cluster_stop_node(c, i);
        cluster_start_node(c, i);
    }
    cluster_cut(c, 2, true);
    leave_for(c, 4);
    assert_int_equal(cluster_status(c, 0).view, 4);
    assert_goes_on(c);
    cluster_destroy(c);
}

/* A ViewChange with a certificate that is true, but rests on a history that its sender alone had
 * and does not hand out. */
static bool hide(struct cluster *c, int from, int to, struct buffer *m)
{
    (void)c;
    (void)to;
    return !(from == HOLDER && ledger_message_type(slice_of_buffer(m)) == LEDGER_MESSAGE_LEDGER);
}

static void a_tip_whose_history_is_not_handed_out_is_passed_over(void **state)
{
    (void)state;
    struct plot plot;
    uint8_t req_hash[HASH_LEN];
    struct cluster *c = until_view_two(&plot);
    c->tamper = hide;
    /* Replicas 1, 2 and 3 are heard first: a quorum, with the liar's tip. */
    cluster_cut(c, 0, true);
    leave_for(c, 5);
    const struct ledger_replica *primary = c->nodes[1].replica;
    assert_int_equal(primary->pending.choice.tip_view, 1);
    cluster_cut(c, 0, false);
    cluster_request(c, 1, -1, req_hash);
    cluster_pass(c, 3000000);
    assert_int_equal(primary->passed_over, 1 << HOLDER);
    assert_int_equal(primary->view, 5);
    cluster_pass(c, 10000000);
    for (unsigned i = 0; i < 3; i++) {
        assert_null(c->nodes[i].stopped);
        assert_true(cluster_status(c, i).s_committed >= 7);
    }
    cluster_destroy(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_holder_of_a_tip_makes_its_history_the_ledger_again),
        cmocka_unit_test(others_get_the_history_from_the_holder_of_the_tip),
        cmocka_unit_test(the_holder_still_has_it_after_a_restart),
        cmocka_unit_test(a_tip_whose_history_is_not_handed_out_is_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
