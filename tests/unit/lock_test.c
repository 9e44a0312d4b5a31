/* The lock table by itself (src/store/lock.c), and the locks of the store. */
#define _GNU_SOURCE
#include "store/lock.h"
#include "store_calls.h"

#define SECOND 1000000000ull

static struct lock_table *table;
static uint64_t next_token;

static int table_setup(void **state)
{
    (void)state;
    next_token = 1;
    table = lock_table_create(1000);
    return table ? 0 : -1;
}

static int table_teardown(void **state)
{
    (void)state;
    lock_table_destroy(table);
    return 0;
}

/* Ticket: the token as a pointer. Returns what lock_acquire does. */
static int ask(const char *key, enum gt_lock_mode mode, uint64_t owner, uint64_t now,
               uint64_t wait_until)
{
    struct error e;
    uint64_t token = next_token++;
    const struct lock_request request = {.key = key,
                                         .key_len = strlen(key),
                                         .mode = mode,
                                         .owner = owner,
                                         .token = token,
                                         .lease_ns = 10 * SECOND,
                                         .wait_until_ns = wait_until,
                                         .ticket = (void *)(uintptr_t)token};
    return lock_acquire(table, &request, now, &e);
}

static int give_up(const char *key, uint64_t token, uint64_t now)
{
    struct error e;
    return lock_release(table, key, strlen(key), token, now, &e);
}

/* The next answer is for this token, with this code. */
static void assert_answer(uint64_t token, int code)
{
    struct lock_answer a = {0};
    assert_true(lock_answered(table, &a));
    assert_int_equal(a.token, token);
    assert_int_equal((uintptr_t)a.ticket, token);
    assert_int_equal(a.code, code);
}

static void assert_no_answer(void)
{
    struct lock_answer a;
    assert_false(lock_answered(table, &a));
}

static void readers_share_and_a_writer_is_alone(void **state)
{
    (void)state;
    assert_int_equal(ask("k", GT_LOCK_READ, 1, 0, 0), 0);
    assert_int_equal(ask("k", GT_LOCK_READ, 2, 0, 0), 0);
    assert_int_equal(ask("k", GT_LOCK_WRITE, 3, 0, 0), -ATOLL_EAGAIN);
    assert_int_equal(ask("other", GT_LOCK_WRITE, 3, 0, 0), 0);
    assert_int_equal(give_up("k", 1, 0), 0);
    assert_int_equal(give_up("k", 2, 0), 0);
    assert_int_equal(ask("k", GT_LOCK_WRITE, 3, 0, 0), 0);
    assert_int_equal(ask("k", GT_LOCK_READ, 1, 0, 0), -ATOLL_EAGAIN);
    assert_int_equal(ask("k", GT_LOCK_WRITE, 1, 0, 0), -ATOLL_EAGAIN);
}

static void first_come_first_served_and_readers_go_together(void **state)
{
    (void)state;
    assert_int_equal(ask("k", GT_LOCK_READ, 1, 0, 0), 0);
    assert_int_equal(ask("k", GT_LOCK_WRITE, 2, 0, DEADLINE_NEVER), LOCK_WAITS);
    assert_int_equal(ask("k", GT_LOCK_READ, 3, 0, DEADLINE_NEVER), LOCK_WAITS);
    assert_int_equal(ask("k", GT_LOCK_READ, 4, 0, DEADLINE_NEVER), LOCK_WAITS);
    assert_int_equal(ask("k", GT_LOCK_WRITE, 5, 0, DEADLINE_NEVER), LOCK_WAITS);
    assert_int_equal(ask("k", GT_LOCK_READ, 6, 0, DEADLINE_NEVER), LOCK_WAITS);
    assert_int_equal(lock_waiting(table), 5);
    assert_no_answer();
    assert_int_equal(give_up("k", 1, 0), 0);
    assert_answer(2, 0);
    assert_no_answer();
    assert_int_equal(give_up("k", 2, 0), 0);
    assert_answer(3, 0);
    assert_answer(4, 0);
    assert_no_answer();
    assert_int_equal(give_up("k", 4, 0), 0);
    assert_no_answer();
    assert_int_equal(give_up("k", 3, 0), 0);
    assert_answer(5, 0);
    assert_int_equal(give_up("k", 5, 0), 0);
    assert_answer(6, 0);
    assert_int_equal(lock_waiting(table), 0);
}

static void an_owner_that_claims_a_lock_twice_would_never_finish(void **state)
{
    (void)state;
    assert_int_equal(ask("k", GT_LOCK_READ, 1, 0, 0), 0);
    assert_int_equal(ask("k", GT_LOCK_READ, 1, 0, DEADLINE_NEVER), -ATOLL_EDEADLK);
    assert_int_equal(ask("k", GT_LOCK_WRITE, 1, 0, 0), -ATOLL_EDEADLK);
    assert_int_equal(ask("k", GT_LOCK_WRITE, 2, 0, DEADLINE_NEVER), LOCK_WAITS);
    assert_int_equal(ask("k", GT_LOCK_WRITE, 2, 0, DEADLINE_NEVER), -ATOLL_EDEADLK);
    char key[8];
    for (int i = 0; i < 20; i++) { /* an owner of many locks is found by the lock's side */
        snprintf(key, sizeof key, "m%d", i);
        assert_int_equal(ask(key, GT_LOCK_WRITE, 1, 0, 0), 0);
    }
    assert_int_equal(ask("k", GT_LOCK_READ, 1, 0, DEADLINE_NEVER), -ATOLL_EDEADLK);
    assert_int_equal(ask("m7", GT_LOCK_READ, 1, 0, DEADLINE_NEVER), -ATOLL_EDEADLK);
    assert_int_equal(ask("fresh", GT_LOCK_READ, 1, 0, 0), 0);
}

static void a_lease_that_runs_out_lets_the_next_in_and_leaves_a_dead_token(void **state)
{
    (void)state;
    struct error e;
    assert_int_equal(ask("k", GT_LOCK_WRITE, 1, 0, 0), 0);
    assert_int_equal(ask("k", GT_LOCK_WRITE, 2, 1, DEADLINE_NEVER), LOCK_WAITS);
    assert_int_equal(lock_next(table), 10 * SECOND);
    assert_true(lock_held(table, "k", 1, 1, 10 * SECOND - 1));
    assert_no_answer();
    assert_false(lock_held(table, "k", 1, 1, 10 * SECOND));
    assert_answer(2, 0);
    assert_true(lock_held(table, "k", 1, 2, 10 * SECOND));
    assert_int_equal(give_up("k", 1, 10 * SECOND), -ATOLL_ESTALE);
    assert_int_equal(lock_renew(table, "k", 1, 1, SECOND, 10 * SECOND, &e), -ATOLL_ESTALE);
    assert_int_equal(lock_next(table), 20 * SECOND);
    assert_int_equal(lock_renew(table, "k", 1, 2, 15 * SECOND, 19 * SECOND, &e), 0);
    assert_true(lock_held(table, "k", 1, 2, 33 * SECOND));
    assert_false(lock_held(table, "k", 1, 2, 34 * SECOND));
    assert_int_equal(lock_next(table), DEADLINE_NEVER);
}

static void a_wait_ends_at_its_timeout_and_those_behind_move_up(void **state)
{
    (void)state;
    assert_int_equal(ask("k", GT_LOCK_READ, 1, 0, 0), 0);
    assert_int_equal(ask("k", GT_LOCK_WRITE, 2, 0, 3 * SECOND), LOCK_WAITS);
    assert_int_equal(ask("k", GT_LOCK_READ, 3, 0, 5 * SECOND), LOCK_WAITS);
    lock_expire(table, 3 * SECOND - 1);
    assert_no_answer();
    lock_expire(table, 3 * SECOND);
    assert_answer(2, -ATOLL_ETIMEDOUT);
    assert_answer(3, 0);
    assert_no_answer();
    lock_expire(table, 6 * SECOND);
    assert_no_answer();
}

static void the_end_of_an_owner_releases_all_its_locks_and_waits(void **state)
{
    (void)state;
    assert_int_equal(ask("a", GT_LOCK_WRITE, 1, 0, 0), 0);
    assert_int_equal(ask("b", GT_LOCK_READ, 1, 0, 0), 0);
    assert_int_equal(ask("c", GT_LOCK_WRITE, 2, 0, 0), 0);
    assert_int_equal(ask("c", GT_LOCK_WRITE, 1, 0, DEADLINE_NEVER), LOCK_WAITS);
    assert_int_equal(ask("a", GT_LOCK_READ, 3, 0, DEADLINE_NEVER), LOCK_WAITS);
    assert_int_equal(ask("b", GT_LOCK_WRITE, 4, 0, DEADLINE_NEVER), LOCK_WAITS);
    lock_owner_end(table, 1, 0);
    assert_answer(5, 0);
    assert_answer(6, 0);
    assert_answer(4, -ATOLL_ECANCELED);
    assert_no_answer();
    assert_int_equal(give_up("a", 1, 0), -ATOLL_ESTALE);
    lock_owner_end(table, 77, 0);
    assert_int_equal(give_up("c", 3, 0), 0);
}

static void a_lock_that_was_lost_before_its_answer_was_taken_is_still_answered(void **state)
{
    (void)state;
    assert_int_equal(ask("k", GT_LOCK_WRITE, 1, 0, 0), 0);
    assert_int_equal(ask("k", GT_LOCK_WRITE, 2, 0, DEADLINE_NEVER), LOCK_WAITS);
    assert_int_equal(give_up("k", 1, 0), 0);
    lock_owner_end(table, 2, 0);
    assert_answer(2, 0);
    assert_no_answer();
    assert_false(lock_held(table, "k", 1, 2, 0));
}

static void there_are_at_most_as_many_claims_as_the_table_allows(void **state)
{
    (void)state;
    char key[16];
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(ask(key, GT_LOCK_WRITE, (uint64_t)i, 0, 0), 0);
    }
    assert_int_equal(ask("more", GT_LOCK_WRITE, 1, 0, 0), -ATOLL_ELIMIT);
    assert_int_equal(ask("k1", GT_LOCK_WRITE, 5000, 0, DEADLINE_NEVER), -ATOLL_ELIMIT);
    assert_int_equal(give_up("k3", 4, 0), 0);
    assert_int_equal(ask("more", GT_LOCK_WRITE, 1, 0, 0), 0);
}

/* Random requests against the rules: never a writer beside another holder, never somebody who waits
 * at a lock that is free for him, tokens answered once. */
static void random_requests_keep_the_rules(void **state)
{
    (void)state;
    enum { OWNERS = 12, KEYS = 4 };
    struct {
        uint64_t token;
        enum gt_lock_mode mode;
        bool waits;
    } claims[OWNERS][KEYS] = {0};
    uint64_t now = 0;
    srand(1);
    for (int step = 0; step < 200000; step++) {
        int owner = rand() % OWNERS, key = rand() % KEYS;
        char name[2] = {(char)('a' + key), 0};
        struct lock_answer a;
        if (rand() % 50 == 0) {
            lock_owner_end(table, (uint64_t)owner, now);
            for (int k = 0; k < KEYS; k++)
                claims[owner][k].token = claims[owner][k].waits ? claims[owner][k].token : 0;
        } else if (claims[owner][key].token == 0) {
            int rc;
            enum gt_lock_mode mode = rand() % 2 ? GT_LOCK_WRITE : GT_LOCK_READ;
            uint64_t token = next_token;
            rc = ask(name, mode, (uint64_t)owner, now, DEADLINE_NEVER);
            assert_true(rc == 0 || rc == LOCK_WAITS);
            claims[owner][key].token = token;
            claims[owner][key].mode = mode;
            claims[owner][key].waits = rc == LOCK_WAITS;
        } else if (!claims[owner][key].waits) {
            assert_int_equal(give_up(name, claims[owner][key].token, now), 0);
            claims[owner][key].token = 0;
        }
        while (lock_answered(table, &a)) {
            bool known = false;
            for (int o = 0; o < OWNERS; o++) {
                for (int k = 0; k < KEYS; k++) {
                    if (claims[o][k].token != a.token)
                        continue;
                    assert_true(claims[o][k].waits);
                    claims[o][k].waits = false;
                    if (a.code < 0)
                        claims[o][k].token = 0;
                    known = true;
                }
            }
            assert_true(known);
        }
        for (int k = 0; k < KEYS; k++) {
            int readers = 0, writers = 0, waiting = 0;
            for (int o = 0; o < OWNERS; o++) {
                waiting += claims[o][k].waits;
                readers += claims[o][k].token && !claims[o][k].waits && claims[o][k].mode == 0;
                writers += claims[o][k].token && !claims[o][k].waits && claims[o][k].mode == 1;
            }
            assert_true(writers <= 1 && (writers == 0 || readers == 0));
            assert_true(waiting == 0 || readers + writers > 0);
        }
    }
}

/* ---- in the store ---- */

static void tokens_ascend_also_across_a_restart(void **state)
{
    (void)state;
    struct gt_key a = key_of("a"), b = key_of("b");
    assert_int_equal(GT(lock, &a, GT_LOCK_WRITE, 1, SECOND, 0), 0);
    int64_t first = last.result.value;
    assert_int_equal(GT(lock, &b, GT_LOCK_WRITE, 1, SECOND, 0), 0);
    int64_t second = last.result.value;
    assert_true(first > 0 && second > first);
    store_stop();
    store_start(&(struct store_options){.clock = fake_clock});
    assert_int_equal(GT(lock, &a, GT_LOCK_WRITE, 1, SECOND, 0), 0);
    assert_true(last.result.value > second);
}

static int commit_fenced(const char *key, uint64_t fence)
{
    struct gt_key k = key_of(key);
    struct gt_range range = {.bytes = "x", .len = 1};
    struct gt_commit c = {.expect_version = GT_VERSION_ANY,
                          .size = 1,
                          .fence = fence,
                          .range_count = 1,
                          .ranges = &range};
    return GT(commit, &k, &c);
}

static void a_push_of_a_holder_whose_lease_ran_out_is_refused(void **state)
{
    (void)state;
    struct gt_key k = key_of("k");
    struct answer waiting = {0};
    assert_int_equal(GT(lock, &k, GT_LOCK_WRITE, 1, 10 * SECOND, 0), 0);
    uint64_t token = (uint64_t)last.result.value;
    assert_int_equal(commit_fenced("k", token), 0);
    assert_int_equal(commit_fenced("other", token), -ATOLL_ESTALE);
    assert_int_equal(commit_fenced("k", token + 1), -ATOLL_ESTALE);
    GT_LATER(&waiting, lock, &k, GT_LOCK_WRITE, 2, 10 * SECOND, GT_FOREVER);
    clock_move(6 * SECOND);
    assert_int_equal(GT(renew, &k, token, 10 * SECOND), 0);
    clock_move(9 * SECOND);
    assert_int_equal(commit_fenced("k", token), 0);
    assert_false(waiting.done);
    clock_move(SECOND);
    assert_int_equal(answer_wait(&waiting), 0);
    assert_int_equal(commit_fenced("k", token), -ATOLL_ESTALE);
    assert_int_equal(GT(renew, &k, token, SECOND), -ATOLL_ESTALE);
    assert_int_equal(GT(unlock, &k, token), -ATOLL_ESTALE);
    assert_true((uint64_t)waiting.result.value > token);
    assert_int_equal(commit_fenced("k", (uint64_t)waiting.result.value), 0);
    assert_int_equal(GT(unlock, &k, (uint64_t)waiting.result.value), 0);
    assert_int_equal(commit_fenced("k", (uint64_t)waiting.result.value), -ATOLL_ESTALE);
    answer_free(&waiting);
}

static void waits_for_a_lock_end_by_time_and_with_their_owner(void **state)
{
    (void)state;
    struct gt_key k = key_of("k");
    struct answer timed = {0}, cancelled = {0}, next = {0};
    assert_int_equal(GT(lock, &k, GT_LOCK_WRITE, 1, 100 * SECOND, 0), 0);
    assert_int_equal(GT(lock, &k, GT_LOCK_WRITE, 2, SECOND, 0), -ATOLL_EAGAIN);
    assert_int_equal(GT(lock, &k, GT_LOCK_READ, 1, SECOND, GT_FOREVER), -ATOLL_EDEADLK);
    GT_LATER(&timed, lock, &k, GT_LOCK_WRITE, 2, SECOND, 5 * SECOND);
    GT_LATER(&cancelled, lock, &k, GT_LOCK_WRITE, 3, SECOND, GT_FOREVER);
    GT_LATER(&next, lock, &k, GT_LOCK_WRITE, 4, SECOND, GT_FOREVER);
    clock_move(5 * SECOND);
    assert_int_equal(answer_wait(&timed), -ATOLL_ETIMEDOUT);
    assert_int_equal(GT(owner_end, 3), 0);
    assert_int_equal(answer_wait(&cancelled), -ATOLL_ECANCELED);
    assert_false(next.done);
    assert_int_equal(GT(owner_end, 1), 0);
    assert_int_equal(answer_wait(&next), 0);
    answer_free(&timed);
    answer_free(&cancelled);
    answer_free(&next);
}

static void closing_the_store_answers_those_that_wait(void **state)
{
    (void)state;
    struct gt_key k = key_of("k");
    struct answer waiting = {0};
    assert_int_equal(GT(lock, &k, GT_LOCK_WRITE, 1, SECOND, 0), 0);
    GT_LATER(&waiting, lock, &k, GT_LOCK_WRITE, 2, SECOND, GT_FOREVER);
    store_stop();
    assert_true(waiting.done);
    assert_int_equal(waiting.result.code, -ATOLL_ECANCELED);
    answer_free(&waiting);
    store_start(NULL);
}

int main(void)
{
#define TABLE(name) cmocka_unit_test_setup_teardown(name, table_setup, table_teardown)
#define STORE(name) cmocka_unit_test_setup_teardown(name, store_setup_fake_clock, store_teardown)
    const struct CMUnitTest tests[] = {
        TABLE(readers_share_and_a_writer_is_alone),
        TABLE(first_come_first_served_and_readers_go_together),
        TABLE(an_owner_that_claims_a_lock_twice_would_never_finish),
        TABLE(a_lease_that_runs_out_lets_the_next_in_and_leaves_a_dead_token),
        TABLE(a_wait_ends_at_its_timeout_and_those_behind_move_up),
        TABLE(the_end_of_an_owner_releases_all_its_locks_and_waits),
        TABLE(a_lock_that_was_lost_before_its_answer_was_taken_is_still_answered),
        TABLE(there_are_at_most_as_many_claims_as_the_table_allows),
        TABLE(random_requests_keep_the_rules),
        STORE(tokens_ascend_also_across_a_restart),
        STORE(a_push_of_a_holder_whose_lease_ran_out_is_refused),
        STORE(waits_for_a_lock_end_by_time_and_with_their_owner),
        STORE(closing_the_store_answers_those_that_wait),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_destroy);
}
