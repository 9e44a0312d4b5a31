/* Replicas that change the view: what survives, what is refused, and how the left behind catch up.
 */
#include "ledger_cluster.h"

/* Works on until the condition holds for replica i's status; messages one at a time. */
#define STEP_UNTIL(c, condition)                      \
    for (unsigned step_ = 0; !(condition); step_++) { \
        assert_true(step_ < 100000);                  \
        for (unsigned i_ = 0; i_ < (c)->n; i_++)      \
            cluster_node_works(&(c)->nodes[i_]);      \
        if ((c)->queue_count)                         \
            cluster_deliver(c);                       \
    }

static void a_silent_primary_is_replaced_and_work_goes_on(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    cluster_requests(c, 0, 0, 5);
    cluster_cut(c, 0, true);
    uint8_t req_hash[HASH_LEN];
    cluster_request(c, 0, -1, req_hash);
    cluster_pass(c, 3000000);
    for (unsigned i = 1; i < 4; i++) {
        assert_int_equal(cluster_status(c, i).view, 1);
        assert_true(cluster_status(c, i).s_committed >= 6);
    }
    cluster_requests(c, 0, 1, 5);
    struct ledger_receipt_info info;
    assert_true(cluster_receipt(c, 2, req_hash, &info));
    assert_int_equal(info.receipt.pp.view, 1);
    cluster_destroy(c);
}

static void the_primary_that_was_cut_off_comes_back(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    cluster_requests(c, 0, 0, 5);
    cluster_cut(c, 0, true);
    uint8_t req_hash[HASH_LEN];
    cluster_request(c, 0, -1, req_hash);
    cluster_pass(c, 3000000);
    cluster_requests(c, 0, 1, 30);
    cluster_cut(c, 0, false);
    cluster_pass(c, 5000000);
    cluster_requests(c, 0, 1, 3);
    cluster_pass(c, 5000000);
    cluster_assert_agree(c, cluster_status(c, 1).s_committed);
    assert_true(cluster_status(c, 0).view >= 1);
    cluster_destroy(c);
}

static void prepared_batches_are_proposed_again_with_the_same_contents(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    struct ledger_batch_info before[3], after;
    struct error e;
    uint8_t req_hash[HASH_LEN];
    cluster_requests(c, 0, 0, 3);
    cluster_request(c, 1, -1, req_hash);
    STEP_UNTIL(c, cluster_status(c, 2).s_prepared == 4);
    for (uint64_t s = 2; s <= 4; s++)
        assert_int_equal(ledger_batch_at(c->nodes[2].replica, s, &before[s - 2], &e), 0);
    cluster_cut(c, 0, true);
    cluster_pass(c, 5000000);
    assert_true(cluster_status(c, 1).view >= 1);
    for (uint64_t s = 2; s <= 4; s++) {
        for (unsigned i = 1; i < 4; i++) {
            assert_int_equal(ledger_batch_at(c->nodes[i].replica, s, &after, &e), 0);
            assert_memory_equal(after.g, before[s - 2].g, HASH_LEN);
            assert_int_equal(after.first_index, before[s - 2].first_index);
            assert_int_equal(after.kind, before[s - 2].kind);
            /* Of 4 batches the last two (P) were proposed again, the first two are final. */
            assert_int_equal(after.view >= 1, s > 2);
        }
    }
    struct ledger_receipt_info info;
    assert_true(cluster_receipt(c, 3, req_hash, &info));
    assert_int_equal(info.receipt.tx.index, 4);
    cluster_destroy(c);
}

static void view_changes_in_a_row_reach_a_living_primary(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(7);
    cluster_requests(c, 0, 0, 3);
    cluster_cut(c, 0, true);
    cluster_cut(c, 1, true);
    uint8_t req_hash[HASH_LEN];
    cluster_request(c, 0, -1, req_hash);
    cluster_pass(c, 20000000);
    for (unsigned i = 2; i < 7; i++) {
        assert_int_equal(cluster_status(c, i).view, 2);
        assert_true(cluster_status(c, i).s_committed >= 4);
    }
    cluster_cut(c, 0, false);
    cluster_cut(c, 1, false);
    cluster_requests(c, 0, 2, 3);
    cluster_pass(c, 10000000);
    cluster_assert_agree(c, cluster_status(c, 2).s_committed);
    cluster_destroy(c);
}

static void all_restart_in_the_middle_of_a_view_change(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    cluster_requests(c, 0, 0, 4);
    cluster_cut(c, 0, true);
    uint8_t req_hash[HASH_LEN];
    cluster_request(c, 0, -1, req_hash);
    cluster_run(c);
    for (unsigned i = 1; i < 4; i++)
        ledger_on_timer(c->nodes[i].replica, LEDGER_TIMER_VIEW);
    STEP_UNTIL(c, cluster_status(c, 1).view_change_sent == 1);
    for (unsigned i = 0; i < 4; i++) {
        cluster_stop_node(c, i);
        cluster_start_node(c, i);
    }
    cluster_cut(c, 0, false);
    cluster_pass(c, 20000000);
    cluster_request(c, 0, -1, req_hash);
    cluster_pass(c, 20000000);
    cluster_assert_agree(c, 5);
    struct ledger_receipt_info info;
    assert_true(cluster_receipt(c, 3, req_hash, &info));
    cluster_destroy(c);
}

static void a_replica_that_missed_batches_catches_up(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    cluster_requests(c, 0, 0, 3);
    cluster_cut(c, 3, true);
    cluster_requests(c, 0, 0, 40);
    cluster_cut(c, 3, false);
    assert_true(cluster_status(c, 3).s_last < 10);
    cluster_requests(c, 0, 0, 1);
    cluster_pass(c, 5000000);
    cluster_assert_agree(c, cluster_status(c, 0).s_committed);
    /* and votes again */
    cluster_cut(c, 2, true);
    cluster_requests(c, 0, 0, 3);
    cluster_pass(c, 200000);
    assert_int_equal(cluster_status(c, 3).s_committed, cluster_status(c, 0).s_committed);
    assert_int_equal(cluster_status(c, 0).view, 0);
    cluster_destroy(c);
}

static void an_empty_replica_takes_over_the_whole_history(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    cluster_requests(c, 0, 0, 30);
    cluster_cut(c, 0, true);
    uint8_t req_hash[HASH_LEN];
    cluster_request(c, 0, -1, req_hash);
    cluster_pass(c, 5000000); /* there is a view change in the history, too */
    cluster_cut(c, 0, false);
    cluster_requests(c, 0, 1, 30);
    cluster_stop_node(c, 3);
    cluster_forget_disk(c, 3);
    cluster_start_node(c, 3);
    cluster_pass(c, 10000000);
    cluster_requests(c, 0, 1, 1);
    cluster_pass(c, 10000000);
    cluster_assert_agree(c, cluster_status(c, 1).s_committed);
    cluster_destroy(c);
}

/* ---- the trap of §6 ---- */

static bool drop_prepares_of_batch_five(struct cluster *c, int from, int to, struct buffer *m)
{
    struct slice bytes = slice_of_buffer(m);
    struct ledger_prepare p;
    struct ledger_pre_prepare_message pp;
    struct error e;
    (void)c;
    (void)from;
    (void)to;
    if (!ledger_prepare_message_decode(bytes, &p, &e))
        return !(p.view == 1 && p.seqno >= 5);
    if (!ledger_pre_prepare_decode(bytes, &pp, &e))
        return !(pp.pp.view == 1 && pp.pp.seqno >= 5);
    return true;
}

static void a_partly_prepared_plan_loses_nothing_in_the_next_view(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    uint8_t req_hash[HASH_LEN];
    struct ledger_receipt_info info;
    struct ledger_batch_info before, after;
    struct error e;
    /* Batches 1-5 are committed in view 0. */
    cluster_requests(c, 0, 0, 4);
    cluster_request(c, 1, 0, req_hash);
    cluster_run(c);
    cluster_assert_agree(c, 5);
    assert_true(cluster_receipt(c, 2, req_hash, &info));
    assert_int_equal(ledger_batch_at(c->nodes[2].replica, 5, &before, &e), 0);
    /* View 1 proposes 4 and 5 again; only 4 becomes prepared in it. */
    c->tamper = drop_prepares_of_batch_five;
    for (unsigned i = 0; i < 4; i++)
        view_leave(c->nodes[i].replica, 1);
    for (unsigned i = 0; i < 4; i++)
        ledger_settle(c->nodes[i].replica);
    STEP_UNTIL(c, cluster_status(c, 2).view == 1 && cluster_status(c, 2).s_prepared >= 4);
    cluster_run(c);
    assert_int_equal(cluster_status(c, 2).s_prepared, 4);
    /* View 2: the tips are (1, 4); batch 5, for which a client holds a receipt, is kept. */
    cluster_cut(c, 1, true);
    cluster_pass(c, 5000000);
    for (unsigned i = 0; i < 4; i++) {
        if (i == 1)
            continue;
        assert_int_equal(cluster_status(c, i).view, 2);
        assert_int_equal(ledger_batch_at(c->nodes[i].replica, 5, &after, &e), 0);
        assert_memory_equal(after.g, before.g, HASH_LEN);
        assert_true(cluster_status(c, i).s_committed >= 5);
    }
    cluster_destroy(c);
}

/* ---- what is refused ---- */

static bool cut_new_view_out(struct cluster *c, int from, int to, struct buffer *m)
{
    struct error e;
    struct slice bytes = slice_of_buffer(m);
    struct ledger_view_change *vc = calloc(1, sizeof *vc);
    struct buffer signed_bytes = {0};
    uint8_t hash[HASH_LEN];
    (void)to;
    if (from == 3 && ledger_message_type(bytes) == LEDGER_MESSAGE_VIEW_CHANGE &&
        !ledger_view_change_message_decode(bytes, vc, NULL, &e) && vc->has_new_view) {
        vc->has_new_view = false;
        assert_true(ledger_view_change_hash(vc, hash));
        cluster_sign(c->public_key[3], hash, vc->signature);
        assert_true(ledger_view_change_encode_signed(vc, &signed_bytes));
        struct buffer forged = {0};
        assert_true(ledger_view_change_write(&forged, slice_of_buffer(&signed_bytes)));
        buffer_free(m);
        *m = forged;
        ++*(unsigned *)c->tamper_context;
    }
    buffer_free(&signed_bytes);
    free(vc);
    return true;
}

static void a_view_change_without_its_new_view_is_not_held(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    unsigned forged = 0;
    cluster_requests(c, 0, 0, 5);
    for (unsigned i = 0; i < 4; i++)
        view_leave(c->nodes[i].replica, 1);
    for (unsigned i = 0; i < 4; i++)
        ledger_settle(c->nodes[i].replica);
    c->tamper = drop_prepares_of_batch_five;
    cluster_run(c);
    assert_int_equal(cluster_status(c, 2).s_prepared, 4);
    c->tamper = cut_new_view_out;
    c->tamper_context = &forged;
    cluster_cut(c, 1, true);
    for (unsigned i = 2; i < 4; i++)
        view_leave(c->nodes[i].replica, 2);
    view_leave(c->nodes[0].replica, 2);
    for (unsigned i = 0; i < 4; i++)
        ledger_settle(c->nodes[i].replica);
    cluster_run(c);
    assert_true(forged > 0);
    /* Only two valid ViewChanges are there: nobody enters view 2. */
    assert_int_equal(view_changes_at_least(c->nodes[2].replica, 2), 2);
    assert_int_equal(cluster_status(c, 2).view, 1);
    c->tamper = NULL;
    cluster_pass(c, 3000000);
    assert_true(cluster_status(c, 2).view >= 2);
    assert_true(cluster_status(c, 2).s_committed >= 5);
    cluster_destroy(c);
}

/* The primary sends another batch to replica 3 than to the others: both signed. */
static bool equivocate(struct cluster *c, int from, int to, struct buffer *m)
{
    struct error e;
    struct ledger_pre_prepare_message pp;
    if (from != 0 || to != 3 || ledger_pre_prepare_decode(slice_of_buffer(m), &pp, &e) ||
        pp.pp.seqno != 2)
        return true;
    uint8_t hash[HASH_LEN];
    struct ledger_message_writer w;
    struct buffer forged = {0};
    pp.pp.kind = LEDGER_KIND_EMPTY;
    pp.pp.count = 0;
    struct merkle_hash g = ledger_batch_root_empty();
    memcpy(pp.pp.batch_root, g.bytes, HASH_LEN);
    ledger_pp_hash(&pp.pp, hash);
    cluster_sign(c->public_key[0], hash, pp.pp.signature);
    assert_true(ledger_pre_prepare_begin(&w, &forged, &pp.pp, pp.evidence));
    ledger_message_end(&w);
    buffer_free(m);
    *m = forged;
    return true;
}

static void an_equivocating_primary_cannot_split_the_replicas(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    c->tamper = equivocate;
    cluster_requests(c, 0, 0, 2);
    assert_int_equal(cluster_status(c, 3).s_last, 2);
    cluster_requests(c, 0, 0, 10);
    cluster_pass(c, 500000);
    /* It takes over the others' history, and signs nothing more in this view: that would contradict
     * what it signed before. */
    cluster_assert_agree(c, 12);
    assert_int_equal(cluster_status(c, 3).view, 0);
    assert_int_equal(cluster_status(c, 3).phase, LEDGER_ABSTAINING);
    c->tamper = NULL;
    for (unsigned i = 1; i < 4; i++)
        view_leave(c->nodes[i].replica, 1);
    for (unsigned i = 1; i < 4; i++)
        ledger_settle(c->nodes[i].replica);
    cluster_pass(c, 1000000);
    assert_int_equal(cluster_status(c, 3).phase, LEDGER_NORMAL);
    cluster_cut(c, 2, true);
    cluster_requests(c, 0, 1, 4);
    cluster_pass(c, 300000);
    assert_true(cluster_status(c, 3).s_committed >= 16);
    cluster_destroy(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_silent_primary_is_replaced_and_work_goes_on),
        cmocka_unit_test(the_primary_that_was_cut_off_comes_back),
        cmocka_unit_test(prepared_batches_are_proposed_again_with_the_same_contents),
        cmocka_unit_test(view_changes_in_a_row_reach_a_living_primary),
        cmocka_unit_test(all_restart_in_the_middle_of_a_view_change),
        cmocka_unit_test(a_replica_that_missed_batches_catches_up),
        cmocka_unit_test(an_empty_replica_takes_over_the_whole_history),
        cmocka_unit_test(a_partly_prepared_plan_loses_nothing_in_the_next_view),
        cmocka_unit_test(a_view_change_without_its_new_view_is_not_held),
        cmocka_unit_test(an_equivocating_primary_cannot_split_the_replicas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
