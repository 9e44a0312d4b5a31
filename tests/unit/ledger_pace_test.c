/* The pace of batches: who is alone waits for nobody, many wait a little for each other. */
#define CLUSTER_BATCH 300
#include "ledger_cluster.h"

#define MANY 60

/* Sends requests of a client to the primary; what it does with them comes later. */
static void send_many(struct cluster *c, unsigned count)
{
    uint8_t req_hash[HASH_LEN];
    for (unsigned i = 0; i < count; i++)
        cluster_request(c, 0, 0, req_hash);
}

static uint64_t last(struct cluster *c)
{
    return cluster_status(c, 0).s_last;
}

static void requests_that_come_one_by_one_wait_for_nobody(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    for (unsigned i = 1; i < CLUSTER_C; i++) {
        cluster_requests(c, 0, 0, 1);
        assert_int_equal(last(c), i);
    }
    cluster_assert_agree(c, CLUSTER_C - 1);
    cluster_destroy(c);
}

static void after_a_large_batch_the_next_one_waits_until_it_is_time(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    send_many(c, MANY);
    cluster_run(c);
    cluster_pass(c, PACE_US);
    send_many(c, MANY);
    cluster_run(c);
    uint64_t before = last(c);
    assert_true(before > 0 && c->nodes[0].replica->paced_until > c->now);
    cluster_requests(c, 0, 0, 1);
    assert_int_equal(last(c), before); /* nothing is under way, and it waits */
    assert_true(c->nodes[0].timers[LEDGER_TIMER_PACE] != 0);
    cluster_pass(c, PACE_US);
    assert_int_equal(last(c), before + 1);
    assert_int_equal(c->nodes[0].timers[LEDGER_TIMER_PACE], 0);
    cluster_requests(c, 0, 0, 1); /* the one before was small */
    assert_int_equal(last(c), before + 2);
    cluster_assert_agree(c, before + 2);
    cluster_destroy(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_that_come_one_by_one_wait_for_nobody),
        cmocka_unit_test(after_a_large_batch_the_next_one_waits_until_it_is_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
