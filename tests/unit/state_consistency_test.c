/* The contract with the authors of functions (docs/state.md), sentence by sentence, on two nodes.
 */
#define _GNU_SOURCE
#include "state_world.h"

#include <pthread.h>

static void begin(uint64_t seed)
{
    world_begin(seed, BIG);
    world_second_node(BIG);
}

/* 1 */
static void plain_stores_are_visible_to_all_calls_of_the_node_at_once(void **state)
{
    (void)state;
    begin(1);
    struct view a = view_open(1, 10, "k", 64, NEW), b = view_open(2, 20, "k", 64, RW);
    a.bytes[5] = 77;
    assert_int_equal(b.bytes[5], 77);
    view_drop(&a);
    view_drop(&b);
    world_end();
}

struct adder {
    _Atomic uint64_t *sum;
};

static void *adder_run(void *context)
{
    struct adder *a = context;
    for (int i = 0; i < 20000; i++)
        atomic_fetch_add(a->sum, 1);
    return NULL;
}

static void atomics_on_a_node_lose_nothing_while_pushes_and_pulls_go_on(void **state)
{
    (void)state;
    begin(2);
    struct view a = view_open(1, 10, "k", 8, NEW), b;
    assert_int_equal(view_push(&a, 0), 1);
    b = view_open(11, 21, "k", 8, RW);
    assert_int_equal(view_merge(&a, 0, 8, GT_ADD_I64), 0);
    assert_int_equal(view_merge(&b, 0, 8, GT_ADD_I64), 0);
    assert_int_equal(view_ensure(&b, 0, 8), 0);
    struct adder adders[2] = {{(_Atomic uint64_t *)(void *)a.bytes},
                              {(_Atomic uint64_t *)(void *)b.bytes}};
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, adder_run, &adders[i % 2]), 0);
    for (int i = 0; i < 100; i++) {
        assert_true(view_push(&a, STATE_PUSH_DIRTY) > 0);
        assert_true(view_push(&b, STATE_PUSH_DIRTY) > 0);
        assert_int_equal(view_pull(&a, 0), 0);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_true(view_push(&a, STATE_PUSH_DIRTY) > 0);
    assert_true(view_push(&b, STATE_PUSH_DIRTY) > 0);
    assert_int_equal(load_u64(global("k")->bytes), 80000);
    view_drop(&a);
    view_drop(&b);
    world_end();
}

/* 2 */
static void across_nodes_nothing_moves_except_by_pull_and_push(void **state)
{
    (void)state;
    begin(3);
    elsewhere_push("k", 0, "old bytes", 9, GT_SET);
    struct view a = view_open(1, 10, "k", 0, RW), b = view_open(11, 20, "k", 0, RW);
    view_ensure(&b, 0, 9);
    view_write(&a, 0, "new", 3);
    world_advance(SECOND);
    assert_memory_equal(global("k")->bytes, "old bytes", 9);
    assert_int_equal(view_push(&a, STATE_PUSH_DIRTY), 2);
    world_advance(SECOND);
    assert_memory_equal(b.bytes, "old bytes", 9);
    assert_int_equal(view_pull(&b, 0), 0);
    assert_memory_equal(b.bytes, "new bytes", 9);
    view_drop(&a);
    view_drop(&b);
    world_end();
}

static void without_locks_the_last_push_of_a_range_wins(void **state)
{
    (void)state;
    begin(4);
    elsewhere_push("k", 0, "..........", 10, GT_SET);
    struct view a = view_open(1, 10, "k", 0, RW), b = view_open(11, 20, "k", 0, RW);
    view_write(&a, 0, "aaaaaa", 6);
    view_write(&b, 4, "bbbbbb", 6);
    assert_int_equal(view_push(&b, STATE_PUSH_DIRTY), 2);
    assert_int_equal(view_push(&a, STATE_PUSH_DIRTY), 3);
    assert_memory_equal(global("k")->bytes, "aaaaaabbbb", 10);
    view_drop(&a);
    view_drop(&b);
    world_end();
}

/* Eight writers on two nodes; every interleaving that the seed draws must give the exact sum. */
static void merged_sums(uint64_t seed, uint32_t op)
{
    begin(seed);
    const int writers = 8;
    struct view views[8];
    uint64_t expected[40] = {0};
    uint8_t zero[8 * 40] = {0};
    elsewhere_push("k", 0, zero, sizeof zero, GT_SET);
    for (int i = 0; i < writers; i++) {
        views[i] = view_open(i % 2 ? 11 : 1, 100 + (uint64_t)i, "k", 0, RW);
        assert_int_equal(view_ensure(&views[i], 0, sizeof zero), 0);
        assert_int_equal(view_merge(&views[i], 0, 0, op), 0);
    }
    static struct asked asked[400];
    int asks = 0;
    for (int i = 0; i < 4000; i++) {
        int w = (int)(double_random(gt) % 8), word = (int)(double_random(gt) % 40);
        uint64_t amount = double_random(gt) % 1000;
        uint8_t *at = views[w].bytes + 8 * word;
        double d;
        switch (op) {
        case GT_ADD_I64:
            store_u64(at, load_u64(at) + amount);
            expected[word] += amount;
            break;
        case GT_XOR:
            store_u64(at, load_u64(at) ^ amount);
            expected[word] ^= amount;
            break;
        default:
            memcpy(&d, at, 8);
            d += (double)amount;
            memcpy(at, &d, 8);
            memcpy(&d, &expected[word], 8);
            d += (double)amount;
            memcpy(&expected[word], &d, 8);
            break;
        }
        uint64_t what = double_random(gt) % 24;
        if (what < 2 && asks < 400) {
            enum state_op ask_op = what ? STATE_OP_PUSH : STATE_OP_PULL;
            ask_begin(views[w].worker, views[w].call,
                      view_request(&views[w], ask_op, 0, 0, what ? STATE_PUSH_DIRTY : 0),
                      &asked[asks++]);
        } else if (what < 8) {
            double_step(gt);
            world_tick();
        }
    }
    world_settle();
    for (int i = 0; i < asks; i++)
        assert_true(asked[i].done && asked[i].result >= 0);
    for (int i = 0; i < writers; i++)
        assert_true(view_push(&views[i], STATE_PUSH_DIRTY) >= 0);
    assert_memory_equal(global("k")->bytes, expected, sizeof expected);
    for (int i = 0; i < writers; i++) {
        assert_int_equal(view_pull(&views[i], 0), 0);
        assert_memory_equal(views[i].bytes, expected, sizeof expected);
        view_drop(&views[i]);
    }
    world_end();
}

static void with_merge_rules_concurrent_pushes_commute_and_none_is_lost(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        print_message("# seed %llu\n", (unsigned long long)seed);
        merged_sums(seed, GT_ADD_I64);
        merged_sums(seed, GT_ADD_F64);
        merged_sums(seed, GT_XOR);
    }
}

static void the_least_and_the_greatest_of_all_pushes_survive(void **state)
{
    (void)state;
    begin(6);
    double first[2] = {50, 50}, least;
    elsewhere_push("k", 0, first, sizeof first, GT_SET);
    struct view a = view_open(1, 10, "k", 0, RW), b = view_open(11, 20, "k", 0, RW);
    struct view *views[] = {&a, &b};
    double values[2][2] = {{20, 70}, {30, 60}};
    for (int i = 0; i < 2; i++) {
        view_ensure(views[i], 0, 16);
        assert_int_equal(view_merge(views[i], 0, 8, GT_MIN_F64), 0);
        assert_int_equal(view_merge(views[i], 8, 8, GT_MAX_F64), 0);
        memcpy(views[i]->bytes, values[i], 16);
    }
    assert_true(view_push(&a, STATE_PUSH_DIRTY) > 0);
    assert_true(view_push(&b, STATE_PUSH_DIRTY) > 0);
    memcpy(&least, b.bytes, 8);
    assert_true(least == 20); /* a push brings the merged value back */
    memcpy(&least, global("k")->bytes, 8);
    assert_true(least == 20);
    memcpy(&least, global("k")->bytes + 8, 8);
    assert_true(least == 70);
    view_drop(&a);
    view_drop(&b);
    world_end();
}

static void saying_a_merge_rule_again_is_nothing_new_whatever_waits_to_be_pushed(void **state)
{
    (void)state;
    begin(8);
    elsewhere_push("k", 0, "0123456789abcdef", 16, GT_SET);
    struct view a = view_open(1, 10, "k", 0, RW), b = view_open(1, 11, "k", 0, RW);
    assert_int_equal(view_ensure(&a, 0, 16), 0);
    assert_int_equal(view_merge(&a, 0, 8, GT_ADD_I64), 0);
    a.bytes[0]++;
    assert_int_equal(view_merge(&b, 0, 8, GT_ADD_I64), 0);
    CHECK(view_merge(&b, 0, 8, GT_XOR), ATOLL_EBUSY);
    CHECK(view_merge(&b, 0, 16, GT_ADD_I64), ATOLL_EBUSY); /* the rest is new */
    assert_true(view_push(&a, STATE_PUSH_DIRTY) > 0);
    assert_int_equal(view_merge(&b, 0, 16, GT_ADD_I64), 0);
    view_drop(&a);
    view_drop(&b);
    world_end();
}

/* 3 */
static void a_push_that_expects_a_version_succeeds_only_on_that_version(void **state)
{
    (void)state;
    begin(7);
    elsewhere_push("k", 0, "0", 1, GT_SET);
    struct view a = view_open(1, 10, "k", 0, RW), b = view_open(11, 20, "k", 0, RW);
    view_write(&a, 0, "a", 1);
    view_write(&b, 0, "b", 1);
    assert_int_equal(view_push_if(&a, 1), 2);
    CHECK(view_push_if(&b, 1), ATOLL_ESTALE);
    assert_memory_equal(global("k")->bytes, "a", 1);
    assert_int_equal(view_pull(&b, STATE_PULL_DISCARD), 0);
    view_write(&b, 0, "b", 1);
    assert_int_equal(view_push_if(&b, 2), 3);
    view_drop(&a);
    view_drop(&b);
    world_end();
}

static uint64_t version_of(const struct view *v)
{
    struct state_slot_view s;
    assert_int_equal(ask(v->worker, v->call, (struct state_request){.op = STATE_OP_SEGMENT}, &last),
                     0);
    struct state_slot *slots =
        mmap(NULL, STATE_SLOTS_MAX * sizeof *slots, PROT_READ, MAP_SHARED, last.fd, 0);
    close(last.fd);
    assert_true(state_slot_read(&slots[v->slot], &s));
    munmap(slots, STATE_SLOTS_MAX * sizeof *slots);
    return s.version;
}

static void optimistic_transactions_on_one_key_count_exactly(void **state)
{
    (void)state;
    begin(8);
    uint64_t zero = 0;
    elsewhere_push("k", 0, &zero, 8, GT_SET);
    struct view views[2] = {view_open(1, 10, "k", 0, RW), view_open(11, 20, "k", 0, RW)};
    int done = 0, refused = 0;
    while (done < 200) {
        struct view *v = &views[double_random(gt) % 2];
        assert_int_equal(view_pull(v, STATE_PULL_DISCARD), 0);
        assert_int_equal(view_ensure(v, 0, 8), 0);
        uint64_t base = version_of(v), count = load_u64(v->bytes) + 1;
        struct view *other = &views[double_random(gt) % 2];
        if (other != v && double_random(gt) % 2) { /* somebody comes between */
            assert_int_equal(view_pull(other, STATE_PULL_DISCARD), 0);
            assert_int_equal(view_ensure(other, 0, 8), 0);
            uint64_t theirs = load_u64(other->bytes) + 1;
            view_write(other, 0, &theirs, 8);
            assert_true(view_push_if(other, version_of(other)) > 0);
            done++;
        }
        view_write(v, 0, &count, 8);
        int64_t result = view_push_if(v, base);
        assert_true(result > 0 || result == -ATOLL_ESTALE);
        done += result > 0;
        refused += result < 0;
    }
    assert_int_equal(load_u64(global("k")->bytes), done);
    assert_true(refused > 0);
    view_drop(&views[0]);
    view_drop(&views[1]);
    world_end();
}

static void a_copy_of_mixed_age_never_passes_for_the_newest(void **state)
{
    (void)state;
    begin(9);
    uint8_t bytes[2 * CHUNK] = {1};
    elsewhere_push("k", 0, bytes, sizeof bytes, GT_SET);
    struct view a = view_open(1, 10, "k", 0, RW);
    view_ensure(&a, 0, 1);
    elsewhere_push("k", 0, "x", 1, GT_SET);
    elsewhere_push("k", CHUNK, "y", 1, GT_SET);
    view_ensure(&a, CHUNK, 1); /* newer than the first chunk */
    assert_int_equal(a.bytes[CHUNK], 'y');
    assert_int_equal(a.bytes[0], 1);
    assert_int_equal(version_of(&a), 1);
    CHECK(view_push_if(&a, version_of(&a)), ATOLL_ESTALE);
    assert_int_equal(view_pull(&a, 0), 0);
    assert_int_equal(a.bytes[0], 'x');
    assert_int_equal(view_push_if(&a, version_of(&a)), 4);
    view_drop(&a);
    world_end();
}

/* 4 */
static void lock_pull_work_push_unlock_is_sequential_for_each_key(void **state)
{
    (void)state;
    for (uint64_t seed = 20; seed < 26; seed++) {
        begin(seed);
        uint64_t zero = 0;
        elsewhere_push("k", 0, &zero, 8, GT_SET);
        /* Six calls on two nodes; each is a little machine that goes through the steps. */
        struct view views[6];
        static struct asked asked[6];
        int step[6] = {0}, rounds[6] = {0}, finished = 0;
        for (int i = 0; i < 6; i++)
            views[i] = view_open(i % 2 ? 11 : 1, 50 + (uint64_t)i, "k", 0, RW);
        while (finished < 6) {
            int i = (int)(double_random(gt) % 6);
            struct view *v = &views[i];
            double_step(gt);
            world_tick();
            if (step[i] > 5 || (step[i] && !asked[i].done))
                continue;
            if (step[i])
                assert_true(asked[i].result >= 0);
            struct state_request r = {0};
            switch (step[i]) {
            case 0:
                r = view_lock_request(v, GT_LOCK_WRITE, STATE_SCOPE_GLOBAL, STATE_WAIT_FOREVER);
                break;
            case 1: r = view_request(v, STATE_OP_PULL, 0, 0, 0); break;
            case 2: r = view_request(v, STATE_OP_ENSURE, 0, 8, 0); break;
            case 3:
                store_u64(v->bytes, load_u64(v->bytes) + 1);
                view_ask(v, STATE_OP_DIRTY, 0, 8, 0);
                r = view_request(v, STATE_OP_PUSH, 0, 0, STATE_PUSH_DIRTY);
                break;
            case 4:
                r = view_request(v, STATE_OP_UNLOCK, 0, 0, 0);
                r.number = STATE_SCOPE_GLOBAL;
                break;
            default:
                step[i] = ++rounds[i] < 10 ? 0 : 6;
                finished += step[i] == 6;
                continue;
            }
            ask_begin(v->worker, v->call, r, &asked[i]);
            step[i]++;
        }
        world_settle();
        assert_int_equal(load_u64(global("k")->bytes), 60);
        for (int i = 0; i < 6; i++)
            view_drop(&views[i]);
        world_end();
    }
}

static void a_push_under_a_lost_lease_fails_and_never_silently_continues(void **state)
{
    (void)state;
    begin(10);
    elsewhere_push("k", 0, "0", 1, GT_SET);
    struct view a = view_open(1, 10, "k", 0, RW), b = view_open(11, 20, "k", 0, RW);
    assert_true(view_lock(&a, GT_LOCK_WRITE, STATE_SCOPE_GLOBAL, 0) > 0);
    view_write(&a, 0, "a", 1);
    /* The store is out of reach for longer than the lease. */
    gt->fail_renewals = 1000;
    world_advance(11 * SECOND);
    gt->fail_renewals = 0;
    assert_true(view_lock(&b, GT_LOCK_WRITE, STATE_SCOPE_GLOBAL, 0) > 0);
    view_write(&b, 0, "b", 1);
    assert_int_equal(view_push(&b, STATE_PUSH_DIRTY), 2);
    CHECK(view_push(&a, STATE_PUSH_DIRTY), ATOLL_ESTALE);
    assert_memory_equal(global("k")->bytes, "b", 1);
    CHECK(view_unlock(&a, STATE_SCOPE_GLOBAL), ATOLL_ESTALE);
    CHECK(view_unlock(&a, STATE_SCOPE_GLOBAL), ATOLL_ENOENT);
    view_drop(&a);
    view_drop(&b);
    world_end();
}

static void a_stale_holder_that_does_not_know_is_refused_by_its_token(void **state)
{
    (void)state;
    begin(11);
    elsewhere_push("k", 0, "0", 1, GT_SET);
    struct view a = view_open(1, 10, "k", 0, RW);
    assert_true(view_lock(&a, GT_LOCK_WRITE, STATE_SCOPE_GLOBAL, 0) > 0);
    view_write(&a, 0, "a", 1);
    for (int i = 0; i < DOUBLE_LOCKS; i++) /* the store has forgotten it, this node does not know */
        gt->locks[i].held = false;
    CHECK(view_push(&a, STATE_PUSH_DIRTY), ATOLL_ESTALE);
    assert_memory_equal(global("k")->bytes, "0", 1);
    view_drop(&a);
    world_end();
}

static void a_lease_is_kept_for_as_long_as_the_call_holds_it(void **state)
{
    (void)state;
    begin(12);
    elsewhere_push("k", 0, "0", 1, GT_SET);
    struct view a = view_open(1, 10, "k", 0, RW), b = view_open(11, 20, "k", 0, RW);
    int64_t token = view_lock(&a, GT_LOCK_WRITE, STATE_SCOPE_GLOBAL, 0);
    assert_true(token > 0);
    for (int i = 0; i < 10; i++) {
        gt->fail_renewals = 1; /* one failure now and then is survived */
        world_advance(6 * SECOND);
        CHECK(view_lock(&b, GT_LOCK_WRITE, STATE_SCOPE_GLOBAL, 0), ATOLL_EAGAIN);
    }
    view_write(&a, 0, "a", 1);
    assert_int_equal(view_push(&a, STATE_PUSH_DIRTY), 2);
    state_call_ended(tier, 1, 10);
    int64_t next = view_lock(&b, GT_LOCK_WRITE, STATE_SCOPE_GLOBAL, 0);
    assert_true(next > token);
    view_drop(&a);
    view_drop(&b);
    world_end();
}

static void locks_of_a_dead_worker_are_free_for_others(void **state)
{
    (void)state;
    begin(13);
    elsewhere_push("k", 0, "0", 1, GT_SET);
    struct view a = view_open(1, 10, "k", 0, RW), b = view_open(11, 20, "k", 0, RW);
    assert_true(view_lock(&a, GT_LOCK_WRITE, STATE_SCOPE_GLOBAL, 0) > 0);
    static struct asked waits;
    ask_begin(11, 20, view_lock_request(&b, GT_LOCK_WRITE, STATE_SCOPE_GLOBAL, STATE_WAIT_FOREVER),
              &waits);
    world_settle();
    assert_false(waits.done);
    state_worker_lost(tier, 1);
    world_settle();
    assert_true(waits.done && waits.result > 0);
    view_drop(&a);
    view_drop(&b);
    world_end();
}

/* 7 */
static void a_call_that_fails_leaves_its_stores_and_pushes_nothing(void **state)
{
    (void)state;
    begin(14);
    elsewhere_push("k", 0, "0123", 4, GT_SET);
    struct view a = view_open(1, 10, "k", 0, RW), b = view_open(1, 11, "k", 0, RW);
    view_write(&a, 0, "ab", 2);
    state_call_ended(tier, 1, 10);
    world_advance(SECOND);
    assert_memory_equal(b.bytes, "ab23", 4);
    assert_memory_equal(global("k")->bytes, "0123", 4);
    view_drop(&a);
    view_drop(&b);
    world_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_stores_are_visible_to_all_calls_of_the_node_at_once),
        cmocka_unit_test(atomics_on_a_node_lose_nothing_while_pushes_and_pulls_go_on),
        cmocka_unit_test(across_nodes_nothing_moves_except_by_pull_and_push),
        cmocka_unit_test(without_locks_the_last_push_of_a_range_wins),
        cmocka_unit_test(with_merge_rules_concurrent_pushes_commute_and_none_is_lost),
        cmocka_unit_test(the_least_and_the_greatest_of_all_pushes_survive),
        cmocka_unit_test(saying_a_merge_rule_again_is_nothing_new_whatever_waits_to_be_pushed),
        cmocka_unit_test(a_push_that_expects_a_version_succeeds_only_on_that_version),
        cmocka_unit_test(optimistic_transactions_on_one_key_count_exactly),
        cmocka_unit_test(a_copy_of_mixed_age_never_passes_for_the_newest),
        cmocka_unit_test(lock_pull_work_push_unlock_is_sequential_for_each_key),
        cmocka_unit_test(a_push_under_a_lost_lease_fails_and_never_silently_continues),
        cmocka_unit_test(a_stale_holder_that_does_not_know_is_refused_by_its_token),
        cmocka_unit_test(a_lease_is_kept_for_as_long_as_the_call_holds_it),
        cmocka_unit_test(locks_of_a_dead_worker_are_free_for_others),
        cmocka_unit_test(a_call_that_fails_leaves_its_stores_and_pushes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
