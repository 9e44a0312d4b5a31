/* A large state takes long to hash: its digest comes when the checkpoint's batch is forgotten. */
#define CLUSTER_C 200
#include "ledger_cluster.h"

static void a_digest_that_comes_after_its_batch_was_forgotten_still_counts(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    c->digests_held = true;
    cluster_hello(c, 0);
    cluster_requests(c, 0, 0, 2 * CLUSTER_C - 10);
    assert_null(slot_in_ledger(c->nodes[0].replica, CLUSTER_C));
    assert_false(c->nodes[0].replica->digests[1].known);
    c->digests_held = false;
    cluster_run(c);
    cluster_requests(c, 0, 0, 40);
    assert_true(cluster_status(c, 0).s_committed > 2 * CLUSTER_C + 10);
    cluster_assert_agree(c, 2 * CLUSTER_C + 10);
    cluster_destroy(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_digest_that_comes_after_its_batch_was_forgotten_still_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
