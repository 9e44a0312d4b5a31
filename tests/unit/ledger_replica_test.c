/* Replicas that agree: normal operation, flow control, recovery. */
#include "ledger_cluster.h"

static void everyone_commits_a_request(unsigned n)
{
    struct cluster *c = cluster_create(n);
    uint8_t req_hash[HASH_LEN];
    struct ledger_receipt_info info;
    cluster_request(c, 0, 0, req_hash);
    cluster_run(c);
    cluster_assert_agree(c, 1);
    assert_int_equal(c->reply_count, n);
    assert_int_equal(c->replyx_count, 1);
    for (unsigned i = 0; i < n; i++) {
        assert_true(cluster_receipt(c, i, req_hash, &info));
        assert_int_equal(info.receipt.tx.index, 1);
        assert_int_equal(info.receipt.tx.status, PROCEDURE_OK);
    }
    cluster_destroy(c);
}

static void a_request_commits_at_four_replicas(void **state)
{
    (void)state;
    everyone_commits_a_request(4);
}

static void a_request_commits_at_seven_replicas(void **state)
{
    (void)state;
    everyone_commits_a_request(7);
}

static void a_request_commits_at_thirteen_replicas(void **state)
{
    (void)state;
    everyone_commits_a_request(13);
}

static void batches_follow_each_other_over_checkpoints(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    cluster_requests(c, 0, 0, 35);
    cluster_assert_agree(c, 35 + 3); /* with three CHECKPOINT batches */
    struct ledger_batch_info info;
    struct error e;
    assert_int_equal(ledger_batch_at(c->nodes[1].replica, 20, &info, &e), 0);
    assert_int_equal(info.kind, LEDGER_KIND_CHECKPOINT);
    cluster_destroy(c);
}

static void many_requests_share_a_batch(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    uint8_t req_hash[HASH_LEN];
    for (unsigned k = 0; k < 20; k++)
        cluster_request(c, k % 5, 0, req_hash);
    cluster_run(c);
    struct ledger_status s = cluster_status(c, 0);
    assert_int_equal(s.transactions, 20);
    assert_true(s.s_last < 20);
    cluster_assert_agree(c, s.s_last);
    cluster_destroy(c);
}

static void empty_batches_bring_the_evidence_and_stop(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    cluster_requests(c, 0, 0, 3);
    cluster_pass(c, 5000000);
    cluster_assert_agree(c, 3 + CLUSTER_P);
    assert_int_equal(cluster_status(c, 0).s_last, 3 + CLUSTER_P);
    assert_int_equal(cluster_status(c, 2).view, 0);
    cluster_destroy(c);
}

static void a_request_that_only_backups_have_is_passed_on(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    cluster_requests(c, 0, 3, 1);
    cluster_assert_agree(c, 1);
    cluster_destroy(c);
}

static void a_request_sent_twice_is_executed_once(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    uint8_t req_hash[HASH_LEN];
    struct buffer body = {0};
    cluster_hello(c, 0);
    cluster_body(c, 0, 7, 0, &body, req_hash);
    cluster_submit_body(c, 0, -1, slice_of_buffer(&body));
    cluster_run(c);
    cluster_submit_body(c, 0, -1, slice_of_buffer(&body));
    cluster_run(c);
    assert_int_equal(cluster_status(c, 0).transactions, 1);
    assert_true(c->receipt.len > 0); /* the second time it is answered with the receipt */
    cluster_pass(c, 3000000);
    assert_int_equal(cluster_status(c, 0).view, 0);
    buffer_free(&body);
    cluster_destroy(c);
}

static void a_request_waits_until_its_min_index_is_reached(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    uint8_t req_hash[HASH_LEN];
    struct ledger_receipt_info info;
    struct buffer body = {0};
    cluster_hello(c, 1);
    cluster_body(c, 1, 1, 3, &body, req_hash);
    cluster_submit_body(c, 1, -1, slice_of_buffer(&body));
    cluster_pass(c, 9000000);
    assert_int_equal(cluster_status(c, 1).transactions, 0);
    assert_int_equal(cluster_status(c, 1).view, 0); /* it arms no timer */
    cluster_requests(c, 0, 0, 3);
    cluster_pass(c, 100000);
    assert_true(cluster_receipt(c, 0, req_hash, &info));
    assert_int_equal(info.receipt.tx.index, 4);
    buffer_free(&body);
    cluster_destroy(c);
}

static void a_bad_signature_is_refused(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    uint8_t req_hash[HASH_LEN];
    struct buffer body = {0};
    cluster_body(c, 0, 1, 0, &body, req_hash);
    body.data[body.len - 1] ^= 1;
    cluster_submit_body(c, 0, 0, slice_of_buffer(&body));
    cluster_run(c);
    assert_int_equal(c->refusals[LEDGER_REFUSAL_SIGNATURE], 1);
    assert_int_equal(cluster_status(c, 0).s_last, 0);
    assert_int_equal(cluster_status(c, 0).pool_requests, 0);
    buffer_free(&body);
    cluster_destroy(c);
}

static void all_restart_and_go_on(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    uint8_t req_hash[HASH_LEN];
    struct ledger_receipt_info info;
    cluster_requests(c, 0, 0, 25);
    cluster_request(c, 0, 0, req_hash);
    cluster_run(c);
    uint8_t root[4][32];
    for (unsigned i = 0; i < 4; i++) {
        ledger_root(c->nodes[i].replica, root[i]);
        cluster_stop_node(c, i);
    }
    for (unsigned i = 0; i < 4; i++) {
        uint8_t again[32];
        cluster_start_node(c, i);
        ledger_root(c->nodes[i].replica, again);
        assert_memory_equal(again, root[i], 32);
    }
    cluster_pass(c, 1000000);
    assert_true(cluster_receipt(c, 2, req_hash, &info));
    cluster_requests(c, 0, 0, 5);
    cluster_pass(c, 100000);
    cluster_assert_agree(c, 31 + 3);
    assert_int_equal(cluster_status(c, 3).view, 0);
    cluster_destroy(c);
}

static void a_nonce_that_never_comes_ends_the_view(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    /* The primary proposes and is then cut off: its nonce is in no evidence. */
    uint8_t req_hash[HASH_LEN];
    struct ledger_receipt_info info;
    cluster_request(c, 0, -1, req_hash);
    for (unsigned step = 0; step < 40 && !cluster_status(c, 1).s_last; step++) {
        for (unsigned i = 0; i < 4; i++)
            cluster_node_works(&c->nodes[i]);
        if (c->queue_count)
            cluster_deliver(c);
    }
    assert_int_equal(cluster_status(c, 1).s_last, 1);
    cluster_cut(c, 0, true);
    cluster_pass(c, 5000000);
    assert_true(cluster_status(c, 1).view >= 1);
    assert_true(cluster_receipt(c, 1, req_hash, &info));
    assert_int_equal(info.receipt.tx.index, 1);
    cluster_destroy(c);
}

static void a_checkpoint_names_the_one_before_also_while_that_is_being_computed(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    bool seen = false;
    cluster_requests(c, 0, 0, 2 * CLUSTER_C + 5);
    uint8_t before[HASH_LEN];
    memcpy(before, c->nodes[0].replica->digests[1].digest, HASH_LEN);
    assert_int_equal(c->nodes[0].replica->digests[1].s, CLUSTER_C);
    cluster_stop_node(c, 2);
    cluster_start_node(c, 2); /* it executes its log; no digest has been told yet */
    for (size_t i = 0; i < c->nodes[2].digest_count; i++) {
        const struct ledger_checkpoint *at = &c->nodes[2].digest_of[i];
        if (at->s != 2 * CLUSTER_C)
            continue;
        seen = true;
        assert_int_equal(at->before_s, CLUSTER_C);
        assert_memory_equal(at->before_digest, before, HASH_LEN);
    }
    assert_true(seen);
    cluster_destroy(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_commits_at_four_replicas),
        cmocka_unit_test(a_request_commits_at_seven_replicas),
        cmocka_unit_test(a_request_commits_at_thirteen_replicas),
        cmocka_unit_test(batches_follow_each_other_over_checkpoints),
        cmocka_unit_test(many_requests_share_a_batch),
        cmocka_unit_test(empty_batches_bring_the_evidence_and_stop),
        cmocka_unit_test(a_request_that_only_backups_have_is_passed_on),
        cmocka_unit_test(a_request_sent_twice_is_executed_once),
        cmocka_unit_test(a_request_waits_until_its_min_index_is_reached),
        cmocka_unit_test(a_bad_signature_is_refused),
        cmocka_unit_test(all_restart_and_go_on),
        cmocka_unit_test(a_nonce_that_never_comes_ends_the_view),
        cmocka_unit_test(a_checkpoint_names_the_one_before_also_while_that_is_being_computed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
