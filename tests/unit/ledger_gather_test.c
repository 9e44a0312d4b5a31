/* When the signatures of requests are checked: the primary gathers them, and never for ever. */
#define CLUSTER_BATCH 300
#include "ledger_cluster.h"

#define TOGETHER 96 /* signatures that do not wait for more */

static void send_many(struct cluster *c, int to, unsigned count)
{
    uint8_t req_hash[HASH_LEN];
    for (unsigned i = 0; i < count; i++)
        cluster_request(c, 0, to, req_hash);
}

static uint64_t executed(struct cluster *c, unsigned i)
{
    return c->nodes[i].replica->next_index;
}

/* A batch of one request is proposed; nobody has heard of it. */
static struct cluster *cluster_with_a_batch_under_way(void)
{
    struct cluster *c = cluster_create(4);
    send_many(c, 0, 1);
    while (cluster_node_works(&c->nodes[0]))
        continue;
    struct ledger_status status = cluster_status(c, 0);
    assert_int_equal(status.s_last, 1);
    assert_int_equal(c->nodes[0].replica->prepared, 0);
    return c;
}

/* As cluster_run. The most signatures that the primary had checked at once. */
static size_t run_noting_jobs(struct cluster *c)
{
    size_t most = 0;
    for (bool worked = true; worked || c->queue_count;) {
        worked = false;
        for (unsigned i = 0; i < c->n; i++) {
            struct cluster_node *node = &c->nodes[i];
            if (i == 0 && node->job_count && node->jobs[0]->count > most)
                most = node->jobs[0]->count;
            worked = cluster_node_works(node) || worked;
        }
        if (c->queue_count)
            cluster_deliver(c);
    }
    return most;
}

static void what_comes_while_a_batch_is_under_way_is_checked_at_once(void **state)
{
    (void)state;
    struct cluster *c = cluster_with_a_batch_under_way();
    uint64_t before = executed(c, 0);
    send_many(c, 0, 20);
    assert_int_equal(c->nodes[0].job_count, 0);
    assert_int_equal(run_noting_jobs(c), 20);
    assert_int_equal(executed(c, 0), before + 20);
    cluster_assert_agree(c, cluster_status(c, 0).s_last);
    cluster_destroy(c);
}

static void many_do_not_wait_for_more(void **state)
{
    (void)state;
    struct cluster *c = cluster_with_a_batch_under_way();
    send_many(c, 0, TOGETHER - 1);
    assert_int_equal(c->nodes[0].job_count, 0);
    send_many(c, 0, 1);
    assert_int_equal(c->nodes[0].job_count, 1);
    assert_int_equal(c->nodes[0].jobs[0]->count, TOGETHER);
    cluster_run(c);
    cluster_destroy(c);
}

static void a_backup_has_them_checked_as_they_come(void **state)
{
    (void)state;
    struct cluster *c = cluster_with_a_batch_under_way();
    uint64_t before = executed(c, 0);
    for (unsigned i = 1; i <= 3; i++) {
        send_many(c, 1, 1);
        assert_int_equal(c->nodes[1].job_count, i);
    }
    cluster_run(c);
    assert_int_equal(executed(c, 0), before + 3);
    cluster_destroy(c);
}

/* The batch under way is never prepared, and who gathered is no primary any more. (What was in that
 * batch nobody else has heard of: its client sends it again.) */
static void requests_gathered_by_a_primary_that_is_left_are_executed(void **state)
{
    (void)state;
    struct cluster *c = cluster_with_a_batch_under_way();
    uint64_t before = executed(c, 1);
    cluster_cut(c, 0, true);
    send_many(c, 0, 5);
    cluster_run(c);
    assert_int_equal(c->nodes[0].replica->pool.checking.count, 5);
    cluster_leave(c, 1, 1);
    cluster_run(c);
    cluster_cut(c, 0, false);
    cluster_pass(c, 10000000);
    assert_int_equal(cluster_status(c, 0).view, cluster_status(c, 1).view);
    assert_int_equal(executed(c, 1), before + 5);
    cluster_destroy(c);
}

static void after_a_large_batch_the_check_is_over_when_the_next_may_be_made(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    for (int i = 0; i < 2; i++) {
        send_many(c, 0, TOGETHER);
        cluster_run(c);
        if (i == 0)
            cluster_pass(c, PACE_US);
    }
    uint64_t due = c->nodes[0].replica->paced_until, before = executed(c, 0);
    assert_true(due > c->now);
    send_many(c, 0, 7);
    assert_int_equal(c->nodes[0].job_count, 0);
    uint64_t at = c->nodes[0].timers[LEDGER_TIMER_PACE];
    assert_true(at > c->now && at < due);
    cluster_pass(c, at - c->now - 1);
    assert_int_equal(c->nodes[0].replica->pool.checking.count, 7);
    cluster_pass(c, 1);
    assert_int_equal(c->nodes[0].replica->pool.ready.count, 7);
    assert_int_equal(executed(c, 0), before);
    cluster_pass(c, due - c->now);
    assert_int_equal(executed(c, 0), before + 7);
    cluster_destroy(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_comes_while_a_batch_is_under_way_is_checked_at_once),
        cmocka_unit_test(many_do_not_wait_for_more),
        cmocka_unit_test(a_backup_has_them_checked_as_they_come),
        cmocka_unit_test(requests_gathered_by_a_primary_that_is_left_are_executed),
        cmocka_unit_test(after_a_large_batch_the_check_is_over_when_the_next_may_be_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
