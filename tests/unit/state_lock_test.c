/* Locks of a node: many readers or one writer, in order of arrival; and the deadlines of waiting.
 */
#define _GNU_SOURCE
#include "state_world.h"

#define CALLS 12

static struct view views[CALLS];
static struct asked asked[CALLS];

static void begin(uint64_t seed)
{
    world_begin(seed, 1ull << 30);
    for (uint64_t i = 0; i < CALLS; i++)
        views[i] = view_open(1 + i % 2, 100 + i, "k", 8, NEW | STATE_OPEN_LOCAL);
}

static void end(void)
{
    for (int i = 0; i < CALLS; i++)
        view_drop(&views[i]);
    world_end();
}

static void want(int i, uint32_t mode, uint64_t timeout_ns)
{
    ask_begin(views[i].worker, views[i].call,
              view_lock_request(&views[i], mode, STATE_SCOPE_NODE, timeout_ns), &asked[i]);
}

static bool has(int i)
{
    return asked[i].done && asked[i].result == 0;
}

static void give(int i)
{
    assert_int_equal(view_unlock(&views[i], STATE_SCOPE_NODE), 0);
}

static void readers_share_and_a_writer_is_alone(void **state)
{
    (void)state;
    begin(1);
    want(0, GT_LOCK_READ, 0);
    want(1, GT_LOCK_READ, 0);
    want(2, GT_LOCK_WRITE, 0);
    assert_true(has(0) && has(1));
    CHECK(asked[2].result, ATOLL_EAGAIN);
    give(0);
    give(1);
    want(2, GT_LOCK_WRITE, 0);
    want(0, GT_LOCK_READ, 0);
    assert_true(has(2));
    CHECK(asked[0].result, ATOLL_EAGAIN);
    end();
}

static void who_comes_first_is_served_first(void **state)
{
    (void)state;
    begin(2);
    want(0, GT_LOCK_WRITE, 0);
    for (int i = 1; i < CALLS; i++)
        want(i, GT_LOCK_WRITE, STATE_WAIT_FOREVER);
    for (int i = 1; i < CALLS; i++) {
        assert_false(asked[i].done);
        give(i - 1);
        assert_true(has(i));
    }
    end();
}

static void a_writer_is_not_starved_by_readers_that_keep_coming(void **state)
{
    (void)state;
    begin(3);
    want(0, GT_LOCK_READ, 0);
    want(1, GT_LOCK_WRITE, STATE_WAIT_FOREVER);
    for (int i = 2; i < 6; i++)
        want(i, GT_LOCK_READ, STATE_WAIT_FOREVER);
    assert_false(asked[2].done);
    give(0);
    assert_true(has(1));
    assert_false(asked[2].done);
    want(6, GT_LOCK_WRITE, STATE_WAIT_FOREVER);
    want(7, GT_LOCK_READ, STATE_WAIT_FOREVER);
    give(1);
    for (int i = 2; i < 6; i++)
        assert_true(has(i)); /* readers that follow each other share it */
    assert_false(asked[6].done || asked[7].done);
    for (int i = 2; i < 6; i++)
        give(i);
    assert_true(has(6) && !asked[7].done);
    end();
}

static void a_lock_is_not_recursive(void **state)
{
    (void)state;
    begin(4);
    for (uint32_t mode = 0; mode < 2; mode++) {
        assert_int_equal(view_lock(&views[0], mode, STATE_SCOPE_NODE, STATE_WAIT_FOREVER), 0);
        CHECK(view_lock(&views[0], GT_LOCK_READ, STATE_SCOPE_NODE, STATE_WAIT_FOREVER),
              ATOLL_EDEADLK);
        CHECK(view_lock(&views[0], GT_LOCK_WRITE, STATE_SCOPE_NODE, 0), ATOLL_EDEADLK);
        give(0);
    }
    CHECK(view_unlock(&views[0], STATE_SCOPE_NODE), ATOLL_ENOENT);
    CHECK(view_unlock(&views[0], STATE_SCOPE_GLOBAL), ATOLL_ENOENT);
    end();
}

static void waiting_ends_at_its_deadline_and_lets_those_behind_go_on(void **state)
{
    (void)state;
    begin(5);
    want(0, GT_LOCK_READ, 0);
    want(1, GT_LOCK_WRITE, 2 * SECOND);
    want(2, GT_LOCK_READ, STATE_WAIT_FOREVER);
    want(3, GT_LOCK_READ, 5 * SECOND);
    world_advance(SECOND);
    assert_false(asked[1].done || asked[2].done);
    world_advance(2 * SECOND);
    CHECK(asked[1].result, ATOLL_ETIMEDOUT);
    assert_true(has(2) && has(3));
    world_advance(10 * SECOND);
    give(3); /* the deadline was of the waiting, not of the lock */
    end();
}

static void ended_calls_and_dead_workers_leave_the_queue(void **state)
{
    (void)state;
    begin(6);
    want(0, GT_LOCK_WRITE, 0); /* calls of even numbers are worker 1's */
    want(1, GT_LOCK_WRITE, STATE_WAIT_FOREVER);
    want(2, GT_LOCK_WRITE, STATE_WAIT_FOREVER);
    want(3, GT_LOCK_WRITE, STATE_WAIT_FOREVER);
    want(5, GT_LOCK_READ, STATE_WAIT_FOREVER);
    state_call_ended(tier, 2, 101);
    CHECK(asked[1].result, ATOLL_ECANCELED);
    state_worker_lost(tier, 1);
    CHECK(asked[2].result, ATOLL_ECANCELED);
    assert_true(has(3));
    assert_false(asked[5].done);
    state_call_ended(tier, 2, 103);
    assert_true(has(5));
    end();
}

/* ---- at random ---- */

static void locks_are_exclusive_and_fair_for_any_order_of_events(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        begin(seed);
        print_message("# seed %llu\n", (unsigned long long)seed);
        uint32_t mode[CALLS] = {0};
        uint64_t arrived[CALLS] = {0}, now = 0;
        enum { IDLE, WAITS, HOLDS } where[CALLS] = {IDLE};
        for (int n = 0; n < 2000; n++) {
            int i = (int)(double_random(gt) % CALLS);
            if (where[i] == IDLE) {
                mode[i] = double_random(gt) % 3 == 0;
                arrived[i] = ++now;
                want(i, mode[i], STATE_WAIT_FOREVER);
                where[i] = WAITS;
            } else if (where[i] == HOLDS) {
                give(i);
                where[i] = IDLE;
            }
            int readers = 0, writers = 0;
            uint64_t first_waiting = UINT64_MAX;
            for (int j = 0; j < CALLS; j++) {
                if (where[j] == WAITS && asked[j].done)
                    where[j] = HOLDS;
                readers += where[j] == HOLDS && !mode[j];
                writers += where[j] == HOLDS && mode[j];
                if (where[j] == WAITS && arrived[j] < first_waiting)
                    first_waiting = arrived[j];
            }
            assert_true(writers <= 1 && (!writers || !readers));
            /* Nobody overtakes, and somebody always has it when somebody waits. */
            for (int j = 0; j < CALLS; j++)
                assert_false(where[j] == HOLDS && arrived[j] > first_waiting);
            assert_true(first_waiting == UINT64_MAX || readers + writers > 0);
        }
        end();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readers_share_and_a_writer_is_alone),
        cmocka_unit_test(who_comes_first_is_served_first),
        cmocka_unit_test(a_writer_is_not_starved_by_readers_that_keep_coming),
        cmocka_unit_test(a_lock_is_not_recursive),
        cmocka_unit_test(waiting_ends_at_its_deadline_and_lets_those_behind_go_on),
        cmocka_unit_test(ended_calls_and_dead_workers_leave_the_queue),
        cmocka_unit_test(locks_are_exclusive_and_fair_for_any_order_of_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
