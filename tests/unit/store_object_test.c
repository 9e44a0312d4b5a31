/* Shared objects (src/store/object.c, live.c), by a clock that only the tests move. */
#define _GNU_SOURCE
#include "store_calls.h"

#define SECOND 1000000000ull

static int open_as(const char *key, enum gt_object_type type, int64_t arg, uint64_t owner)
{
    struct gt_key k = key_of(key);
    return GT(object_open, &k, type, arg, owner);
}

static struct gt_object_call call_of(uint32_t op, int64_t a)
{
    return (struct gt_object_call){.op = op, .a = a, .cap = 1 << 20, .owner = 1};
}

static int call(const char *key, enum gt_object_type type, uint32_t op, int64_t a)
{
    struct gt_key k = key_of(key);
    struct gt_object_call c = call_of(op, a);
    return GT(object, &k, type, &c);
}

static int call_bytes(const char *key, enum gt_object_type type, uint32_t op, int64_t a,
                      const void *in, size_t len)
{
    struct gt_key k = key_of(key);
    struct gt_object_call c = call_of(op, a);
    c.in = in;
    c.in_len = len;
    return GT(object, &k, type, &c);
}

static void wait_later(struct answer *answer, const char *key, enum gt_object_type type,
                       uint32_t op, int64_t a, uint64_t owner, uint64_t timeout)
{
    struct gt_key k = key_of(key);
    struct gt_object_call c = call_of(op, a);
    c.owner = owner;
    c.timeout_ns = timeout;
    GT_LATER(answer, object, &k, type, &c);
}

static void assert_waiting(uint64_t expected)
{
    struct store_counters counters;
    store_settle();
    store_counters(store, &counters);
    assert_int_equal(counters.waiting, expected);
}

static void a_counter_counts_and_swaps(void **state)
{
    (void)state;
    struct gt_key k = key_of("c");
    assert_int_equal(call("c", GT_COUNTER, GT_COUNTER_GET, 0), -ATOLL_ENOENT);
    assert_int_equal(open_as("c", GT_COUNTER, -3, 1), 0);
    assert_int_equal(open_as("c", GT_COUNTER, 100, 1), 0);
    assert_int_equal(call("c", GT_COUNTER, GT_COUNTER_GET, 0), 0);
    assert_int_equal(last.result.value, -3);
    assert_int_equal(call("c", GT_COUNTER, GT_COUNTER_ADD, 10), 0);
    assert_int_equal(last.result.value, 7);
    struct gt_object_call swap = {.op = GT_COUNTER_CAS, .a = 6, .b = 1};
    assert_int_equal(GT(object, &k, GT_COUNTER, &swap), 0);
    assert_int_equal(last.result.value, 0);
    assert_int_equal(load_u64(last.result.data), 7);
    swap.a = 7;
    assert_int_equal(GT(object, &k, GT_COUNTER, &swap), 0);
    assert_int_equal(last.result.value, 1);
    assert_int_equal(load_u64(last.result.data), 1);
    assert_int_equal(call("c", GT_COUNTER, GT_COUNTER_ADD, INT64_MAX), 0);
    assert_int_equal(last.result.value, INT64_MIN);
    assert_int_equal(call("c", GT_COUNTER, 9, 0), -ATOLL_ENOSYS);
    assert_int_equal(call("c", GT_QUEUE, 0, 0), -ATOLL_ETYPE);
    assert_int_equal(open_as("c", GT_MAP, 0, 1), -ATOLL_ETYPE);
}

static void arguments_of_objects_are_checked(void **state)
{
    (void)state;
    assert_int_equal(open_as("x", GT_LATCH, -1, 1), -ATOLL_EINVAL);
    assert_int_equal(open_as("x", GT_BARRIER, 0, 1), -ATOLL_EINVAL);
    assert_int_equal(open_as("x", GT_BARRIER, GT_PARTIES_MAX + 1, 1), -ATOLL_EINVAL);
    assert_int_equal(open_as("x", GT_QUEUE, GT_ITEMS_MAX + 1ll, 1), -ATOLL_EINVAL);
    assert_int_equal(open_as("x", GT_CELL, 1, 1), -ATOLL_EINVAL);
    assert_int_equal(open_as("s", GT_SEMAPHORE, 1, 1), 0);
    assert_int_equal(call("s", GT_SEMAPHORE, GT_SEMAPHORE_ACQUIRE, 0), -ATOLL_EINVAL);
    assert_int_equal(call("s", GT_SEMAPHORE, GT_SEMAPHORE_RELEASE, -1), -ATOLL_EINVAL);
    assert_int_equal(call("s", GT_SEMAPHORE, GT_SEMAPHORE_RELEASE, INT64_MAX), -ATOLL_ERANGE);
}

static void a_latch_lets_all_go_at_zero(void **state)
{
    (void)state;
    struct answer waits[3] = {0};
    assert_int_equal(open_as("l", GT_LATCH, 3, 1), 0);
    assert_int_equal(call("l", GT_LATCH, GT_LATCH_WAIT, 0), -ATOLL_EAGAIN);
    for (uint64_t i = 0; i < 3; i++)
        wait_later(&waits[i], "l", GT_LATCH, GT_LATCH_WAIT, 0, i, GT_FOREVER);
    assert_int_equal(call("l", GT_LATCH, GT_LATCH_DOWN, 2), 0);
    assert_int_equal(last.result.value, 1);
    assert_waiting(3);
    assert_int_equal(call("l", GT_LATCH, GT_LATCH_DOWN, 5), 0);
    assert_int_equal(last.result.value, 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(answer_wait(&waits[i]), 0);
        answer_free(&waits[i]);
    }
    assert_int_equal(call("l", GT_LATCH, GT_LATCH_WAIT, 0), 0);
    assert_int_equal(call("l", GT_LATCH, GT_LATCH_GET, 0), 0);
    assert_int_equal(last.result.value, 0);
}

static void a_semaphore_is_fair_however_many_permits_are_wanted(void **state)
{
    (void)state;
    struct answer many = {0}, one = {0};
    assert_int_equal(open_as("s", GT_SEMAPHORE, 2, 1), 0);
    assert_int_equal(call("s", GT_SEMAPHORE, GT_SEMAPHORE_ACQUIRE, 1), 0);
    assert_int_equal(last.result.value, 1);
    wait_later(&many, "s", GT_SEMAPHORE, GT_SEMAPHORE_ACQUIRE, 3, 1, GT_FOREVER);
    wait_later(&one, "s", GT_SEMAPHORE, GT_SEMAPHORE_ACQUIRE, 1, 2, GT_FOREVER);
    assert_waiting(2); /* there is a permit, but the first wants more */
    assert_int_equal(call("s", GT_SEMAPHORE, GT_SEMAPHORE_RELEASE, 2), 0);
    assert_int_equal(answer_wait(&many), 0);
    assert_waiting(1);
    assert_int_equal(call("s", GT_SEMAPHORE, GT_SEMAPHORE_RELEASE, 3), 0);
    assert_int_equal(answer_wait(&one), 0);
    assert_int_equal(one.result.value, 2);
    answer_free(&many);
    answer_free(&one);
}

static void those_behind_one_that_gives_up_get_their_permits(void **state)
{
    (void)state;
    struct answer many = {0}, one = {0}, two = {0};
    assert_int_equal(open_as("s", GT_SEMAPHORE, 2, 1), 0);
    wait_later(&many, "s", GT_SEMAPHORE, GT_SEMAPHORE_ACQUIRE, 3, 7, GT_FOREVER);
    wait_later(&one, "s", GT_SEMAPHORE, GT_SEMAPHORE_ACQUIRE, 1, 8, GT_FOREVER);
    wait_later(&two, "s", GT_SEMAPHORE, GT_SEMAPHORE_ACQUIRE, 2, 9, 5 * SECOND);
    assert_waiting(3);
    assert_int_equal(GT(owner_end, 7), 0);
    assert_int_equal(answer_wait(&many), -ATOLL_ECANCELED);
    assert_int_equal(answer_wait(&one), 0);
    assert_waiting(1);
    clock_move(5 * SECOND);
    assert_int_equal(answer_wait(&two), -ATOLL_ETIMEDOUT);
    assert_int_equal(call("s", GT_SEMAPHORE, GT_SEMAPHORE_ACQUIRE, 1), 0);
    assert_int_equal(last.result.value, 0);
    answer_free(&many);
    answer_free(&one);
    answer_free(&two);
}

static void a_queue_hands_items_over_in_order(void **state)
{
    (void)state;
    struct answer first = {0}, second = {0};
    assert_int_equal(open_as("q", GT_QUEUE, 3, 1), 0);
    assert_int_equal(call("q", GT_QUEUE, GT_QUEUE_POP, 0), -ATOLL_EAGAIN);
    assert_int_equal(call_bytes("q", GT_QUEUE, GT_QUEUE_PUSH, 0, "a", 1), 0);
    assert_int_equal(call_bytes("q", GT_QUEUE, GT_QUEUE_PUSH, 0, "", 0), 0);
    assert_int_equal(call_bytes("q", GT_QUEUE, GT_QUEUE_PUSH, 0, "ccc", 3), 0);
    assert_int_equal(last.result.value, 3);
    assert_int_equal(call_bytes("q", GT_QUEUE, GT_QUEUE_PUSH, 0, "d", 1), -ATOLL_ELIMIT);
    assert_int_equal(call("q", GT_QUEUE, GT_QUEUE_POP, 0), 0);
    assert_memory_equal(last.result.data, "a", 1);
    assert_int_equal(call("q", GT_QUEUE, GT_QUEUE_POP, 0), 0);
    assert_int_equal(last.result.len, 0);
    struct gt_key k = key_of("q");
    struct gt_object_call small = {.op = GT_QUEUE_POP, .cap = 2};
    assert_int_equal(GT(object, &k, GT_QUEUE, &small), -ATOLL_ESIZE);
    assert_int_equal(last.result.value, 3);
    assert_int_equal(call("q", GT_QUEUE, GT_QUEUE_LEN, 0), 0);
    assert_int_equal(last.result.value, 1);
    assert_int_equal(call("q", GT_QUEUE, GT_QUEUE_POP, 0), 0);
    assert_memory_equal(last.result.data, "ccc", 3);
    wait_later(&first, "q", GT_QUEUE, GT_QUEUE_POP, 0, 1, GT_FOREVER);
    wait_later(&second, "q", GT_QUEUE, GT_QUEUE_POP, 0, 2, GT_FOREVER);
    assert_int_equal(call_bytes("q", GT_QUEUE, GT_QUEUE_PUSH, 0, "one", 3), 0);
    assert_int_equal(call_bytes("q", GT_QUEUE, GT_QUEUE_PUSH, 0, "two", 3), 0);
    assert_int_equal(answer_wait(&first), 0);
    assert_int_equal(answer_wait(&second), 0);
    assert_memory_equal(first.result.data, "one", 3);
    assert_memory_equal(second.result.data, "two", 3);
    static uint8_t large[GT_OBJECT_BYTES_MAX + 1];
    assert_int_equal(call_bytes("q", GT_QUEUE, GT_QUEUE_PUSH, 0, large, sizeof large),
                     -ATOLL_ESIZE);
    answer_free(&first);
    answer_free(&second);
}

static void an_item_too_large_for_one_that_waits_goes_to_the_next(void **state)
{
    (void)state;
    struct gt_key k = key_of("q");
    struct answer small = {0}, large = {0};
    struct gt_object_call c = {.op = GT_QUEUE_POP, .cap = 2, .owner = 1, .timeout_ns = GT_FOREVER};
    assert_int_equal(open_as("q", GT_QUEUE, 0, 1), 0);
    GT_LATER(&small, object, &k, GT_QUEUE, &c);
    c.cap = 100;
    GT_LATER(&large, object, &k, GT_QUEUE, &c);
    assert_int_equal(call_bytes("q", GT_QUEUE, GT_QUEUE_PUSH, 0, "item", 4), 0);
    assert_int_equal(answer_wait(&small), -ATOLL_ESIZE);
    assert_int_equal(small.result.value, 4);
    assert_int_equal(answer_wait(&large), 0);
    assert_memory_equal(large.result.data, "item", 4);
    answer_free(&small);
    answer_free(&large);
}

/* u32 key length, key, value */
static int map_do(uint32_t op, int64_t a, const char *key, const char *value)
{
    static uint8_t in[1000];
    size_t key_len = strlen(key), value_len = value ? strlen(value) : 0;
    store_u32(in, (uint32_t)key_len);
    memcpy(in + 4, key, key_len);
    if (value)
        memcpy(in + 4 + key_len, value, value_len);
    return call_bytes("m", GT_MAP, op, a, in, 4 + key_len + value_len);
}

static void a_map_keeps_values_by_key(void **state)
{
    (void)state;
    assert_int_equal(open_as("m", GT_MAP, 0, 1), 0);
    assert_int_equal(map_do(GT_MAP_GET, 0, "k", NULL), -ATOLL_ENOENT);
    assert_int_equal(map_do(GT_MAP_PUT, 0, "k", "v1"), 0);
    assert_int_equal(last.result.value, 1);
    assert_int_equal(map_do(GT_MAP_PUT, 0, "k", "v22"), 0);
    assert_int_equal(last.result.value, 0);
    assert_int_equal(map_do(GT_MAP_GET, 0, "k", NULL), 0);
    assert_int_equal(last.result.len, 3);
    assert_int_equal(map_do(GT_MAP_INCR, 5, "k", NULL), -ATOLL_ETYPE);
    assert_int_equal(map_do(GT_MAP_INCR, 5, "n", NULL), 0);
    assert_int_equal(map_do(GT_MAP_INCR, -7, "n", NULL), 0);
    assert_int_equal(last.result.value, -2);
    assert_int_equal(map_do(GT_MAP_SIZE, 0, "", NULL), 0);
    assert_int_equal(last.result.value, 2);
    assert_int_equal(map_do(GT_MAP_DELETE, 0, "k", NULL), 0);
    assert_int_equal(last.result.value, 1);
    assert_int_equal(map_do(GT_MAP_DELETE, 0, "k", NULL), 0);
    assert_int_equal(last.result.value, 0);
    assert_int_equal(map_do(GT_MAP_GET, 0, "", NULL), -ATOLL_EINVAL);
    assert_int_equal(call_bytes("m", GT_MAP, GT_MAP_GET, 0, "\xff\xff\xff\xff", 4), -ATOLL_EINVAL);
    assert_int_equal(call_bytes("m", GT_MAP, GT_MAP_PUT, 0, "abc", 3), -ATOLL_EINVAL);
}

static void a_map_is_scanned_in_order_and_in_parts(void **state)
{
    (void)state;
    struct gt_key k = key_of("m");
    char name[8], after[8] = "";
    int seen = 0;
    assert_int_equal(open_as("m", GT_MAP, 0, 1), 0);
    for (int i = 19; i >= 0; i--) {
        snprintf(name, sizeof name, "k%02d", i);
        assert_int_equal(map_do(GT_MAP_PUT, 0, name, name), 0);
    }
    do {
        uint8_t in[16];
        store_u32(in, (uint32_t)strlen(after));
        memcpy(in + 4, after, strlen(after));
        struct gt_object_call c = {
            .op = GT_MAP_SCAN, .cap = 50, .in = in, .in_len = 4 + strlen(after)};
        assert_int_equal(GT(object, &k, GT_MAP, &c), 0);
        const uint8_t *p = last.result.data;
        for (int64_t i = 0; i < last.result.value; i++, p += 14) {
            snprintf(name, sizeof name, "k%02d", seen++);
            assert_int_equal(load_u32(p), 3);
            assert_memory_equal(p + 4, name, 3);
            assert_int_equal(load_u32(p + 7), 3);
            assert_memory_equal(p + 11, name, 3);
            memcpy(after, name, 4);
        }
    } while (last.result.value > 0);
    assert_int_equal(seen, 20);
    struct gt_object_call tight = {.op = GT_MAP_SCAN, .cap = 13, .in = "\0\0\0", .in_len = 4};
    assert_int_equal(GT(object, &k, GT_MAP, &tight), -ATOLL_ESIZE);
    assert_int_equal(last.result.value, 14);
}

static void a_cell_is_set_by_version(void **state)
{
    (void)state;
    assert_int_equal(open_as("c", GT_CELL, 0, 1), 0);
    assert_int_equal(call("c", GT_CELL, GT_CELL_GET, 0), 0);
    assert_int_equal(last.result.version, 0);
    assert_int_equal(last.result.len, 0);
    assert_int_equal(call_bytes("c", GT_CELL, GT_CELL_SET, 0, "one", 3), 0);
    assert_int_equal(last.result.version, 1);
    assert_int_equal(call_bytes("c", GT_CELL, GT_CELL_CAS, 0, "no", 2), -ATOLL_ESTALE);
    assert_int_equal(last.result.version, 1);
    assert_int_equal(call_bytes("c", GT_CELL, GT_CELL_CAS, 1, "two!", 4), 0);
    assert_int_equal(last.result.version, 2);
    assert_int_equal(call("c", GT_CELL, GT_CELL_GET, 0), 0);
    assert_int_equal(last.result.version, 2);
    assert_memory_equal(last.result.data, "two!", 4);
}

/* ---- barriers ---- */

static void a_barrier_gives_ranks_and_begins_again(void **state)
{
    (void)state;
    struct answer waits[3] = {0};
    for (uint64_t owner = 1; owner <= 3; owner++)
        assert_int_equal(open_as("b", GT_BARRIER, 3, owner), 0);
    assert_int_equal(call("b", GT_BARRIER, GT_BARRIER_PARTIES, 0), 0);
    assert_int_equal(last.result.value, 3);
    for (int round = 0; round < 3; round++) {
        for (uint64_t i = 0; i < 3; i++)
            wait_later(&waits[i], "b", GT_BARRIER, GT_BARRIER_ARRIVE, 0, i + 1, GT_FOREVER);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(answer_wait(&waits[i]), 0);
            assert_int_equal(waits[i].result.value, i);
        }
    }
    for (int i = 0; i < 3; i++)
        answer_free(&waits[i]);
}

static void a_lost_party_breaks_a_barrier_after_the_lease(void **state)
{
    (void)state;
    struct answer a = {0}, b = {0}, c = {0};
    for (uint64_t owner = 1; owner <= 3; owner++)
        assert_int_equal(open_as("b", GT_BARRIER, 3, owner), 0);
    wait_later(&a, "b", GT_BARRIER, GT_BARRIER_ARRIVE, 0, 1, GT_FOREVER);
    wait_later(&c, "b", GT_BARRIER, GT_BARRIER_ARRIVE, 0, 3, GT_FOREVER);
    assert_waiting(2);
    clock_move(4 * SECOND);
    assert_int_equal(GT(owner_end, 3), 0); /* it had arrived */
    assert_int_equal(answer_wait(&c), -ATOLL_ECANCELED);
    wait_later(&b, "b", GT_BARRIER, GT_BARRIER_ARRIVE, 0, 2, GT_FOREVER);
    clock_move(GT_LEASE_NS - 1);
    assert_waiting(2);
    clock_move(1);
    assert_int_equal(answer_wait(&a), -ATOLL_ELOST);
    assert_int_equal(answer_wait(&b), -ATOLL_ELOST);
    answer_free(&a);
    answer_free(&b);
    answer_free(&c);
}

static void a_party_that_ended_before_others_came_breaks_the_barrier_too(void **state)
{
    (void)state;
    struct answer a = {0};
    assert_int_equal(open_as("b", GT_BARRIER, 2, 1), 0);
    assert_int_equal(open_as("b", GT_BARRIER, 2, 2), 0);
    assert_int_equal(GT(owner_end, 2), 0);
    clock_move(60 * SECOND);
    wait_later(&a, "b", GT_BARRIER, GT_BARRIER_ARRIVE, 0, 1, GT_FOREVER);
    clock_move(GT_LEASE_NS - 1);
    assert_waiting(1);
    clock_move(1);
    assert_int_equal(answer_wait(&a), -ATOLL_ELOST);
    answer_free(&a);
}

static void another_party_takes_the_place_of_a_lost_one(void **state)
{
    (void)state;
    struct answer a = {0}, b = {0};
    assert_int_equal(open_as("b", GT_BARRIER, 2, 1), 0);
    assert_int_equal(open_as("b", GT_BARRIER, 2, 2), 0);
    wait_later(&a, "b", GT_BARRIER, GT_BARRIER_ARRIVE, 0, 1, GT_FOREVER);
    assert_waiting(1);
    assert_int_equal(GT(owner_end, 2), 0);
    clock_move(5 * SECOND);
    assert_int_equal(open_as("b", GT_BARRIER, 2, 22), 0);
    clock_move(100 * SECOND);
    assert_waiting(1);
    wait_later(&b, "b", GT_BARRIER, GT_BARRIER_ARRIVE, 0, 22, GT_FOREVER);
    assert_int_equal(answer_wait(&b), 0);
    assert_int_equal(answer_wait(&a), 0);
    answer_free(&a);
    answer_free(&b);
}

static void parties_of_an_earlier_run_do_not_break_a_later_one(void **state)
{
    (void)state;
    struct answer a = {0}, b = {0};
    for (uint64_t run = 0; run < 2; run++) {
        uint64_t first = 10 * run + 1, second = 10 * run + 2;
        assert_int_equal(open_as("b", GT_BARRIER, 2, first), 0);
        assert_int_equal(open_as("b", GT_BARRIER, 2, second), 0);
        wait_later(&a, "b", GT_BARRIER, GT_BARRIER_ARRIVE, 0, first, GT_FOREVER);
        assert_waiting(1);
        clock_move(30 * SECOND);
        assert_waiting(1);
        wait_later(&b, "b", GT_BARRIER, GT_BARRIER_ARRIVE, 0, second, GT_FOREVER);
        assert_int_equal(answer_wait(&a), 0);
        assert_int_equal(answer_wait(&b), 0);
        assert_int_equal(GT(owner_end, first), 0);
        clock_move(SECOND);
        assert_int_equal(GT(owner_end, second), 0);
    }
    answer_free(&a);
    answer_free(&b);
}

static void a_party_that_gives_up_has_not_arrived(void **state)
{
    (void)state;
    struct answer a = {0}, b = {0};
    assert_int_equal(open_as("b", GT_BARRIER, 2, 1), 0);
    assert_int_equal(open_as("b", GT_BARRIER, 2, 2), 0);
    wait_later(&a, "b", GT_BARRIER, GT_BARRIER_ARRIVE, 0, 1, SECOND);
    clock_move(SECOND);
    assert_int_equal(answer_wait(&a), -ATOLL_ETIMEDOUT);
    wait_later(&b, "b", GT_BARRIER, GT_BARRIER_ARRIVE, 0, 2, GT_FOREVER);
    assert_waiting(1);
    wait_later(&a, "b", GT_BARRIER, GT_BARRIER_ARRIVE, 0, 1, SECOND);
    assert_int_equal(answer_wait(&a), 0);
    assert_int_equal(a.result.value, 1);
    assert_int_equal(answer_wait(&b), 0);
    answer_free(&a);
    answer_free(&b);
}

/* ---- life ---- */

static void deleting_an_object_ends_the_waits_at_it(void **state)
{
    (void)state;
    struct gt_key q = key_of("q");
    struct answer a = {0};
    assert_int_equal(open_as("q", GT_QUEUE, 0, 1), 0);
    wait_later(&a, "q", GT_QUEUE, GT_QUEUE_POP, 0, 1, GT_FOREVER);
    assert_int_equal(GT(object_delete, &q), 0);
    assert_int_equal(answer_wait(&a), -ATOLL_ESTALE);
    assert_int_equal(GT(object_delete, &q), -ATOLL_ENOENT);
    assert_int_equal(open_as("q", GT_COUNTER, 0, 1), 0);
    answer_free(&a);
}

static void objects_keep_what_is_in_them_across_a_restart(void **state)
{
    (void)state;
    assert_int_equal(open_as("q", GT_QUEUE, 0, 1), 0);
    assert_int_equal(open_as("m", GT_MAP, 0, 1), 0);
    assert_int_equal(open_as("c", GT_CELL, 0, 1), 0);
    assert_int_equal(open_as("s", GT_SEMAPHORE, 5, 1), 0);
    assert_int_equal(call_bytes("q", GT_QUEUE, GT_QUEUE_PUSH, 0, "a", 1), 0);
    assert_int_equal(call_bytes("q", GT_QUEUE, GT_QUEUE_PUSH, 0, "b", 1), 0);
    assert_int_equal(call("q", GT_QUEUE, GT_QUEUE_POP, 0), 0);
    assert_int_equal(map_do(GT_MAP_PUT, 0, "k", "v"), 0);
    assert_int_equal(call_bytes("c", GT_CELL, GT_CELL_SET, 0, "cell", 4), 0);
    assert_int_equal(call("s", GT_SEMAPHORE, GT_SEMAPHORE_ACQUIRE, 2), 0);
    store_stop();
    store_start(&(struct store_options){.clock = fake_clock});
    assert_int_equal(call("q", GT_QUEUE, GT_QUEUE_POP, 0), 0);
    assert_memory_equal(last.result.data, "b", 1);
    assert_int_equal(map_do(GT_MAP_GET, 0, "k", NULL), 0);
    assert_memory_equal(last.result.data, "v", 1);
    assert_int_equal(call("c", GT_CELL, GT_CELL_GET, 0), 0);
    assert_memory_equal(last.result.data, "cell", 4);
    assert_int_equal(call("s", GT_SEMAPHORE, GT_SEMAPHORE_ACQUIRE, 3), 0);
    assert_int_equal(last.result.value, 0);
}

static void a_durable_push_reaches_one_that_waits(void **state)
{
    (void)state;
    struct gt_key q = key_of("q");
    struct answer a = {0};
    assert_int_equal(open_as("q", GT_QUEUE, 0, 1), 0);
    wait_later(&a, "q", GT_QUEUE, GT_QUEUE_POP, 0, 1, GT_FOREVER);
    struct gt_object_call push = {.op = GT_QUEUE_PUSH, .flags = GT_DURABLE, .in = "x", .in_len = 1};
    assert_int_equal(GT(object, &q, GT_QUEUE, &push), 0);
    assert_int_equal(answer_wait(&a), 0);
    assert_int_equal(GT(object, &q, GT_QUEUE, &push), 0);
    assert_int_equal(call("q", GT_QUEUE, GT_QUEUE_LEN, 0), 0);
    assert_int_equal(last.result.value, 1);
    answer_free(&a);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, store_setup_fake_clock, store_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_counter_counts_and_swaps),
        TEST(arguments_of_objects_are_checked),
        TEST(a_latch_lets_all_go_at_zero),
        TEST(a_semaphore_is_fair_however_many_permits_are_wanted),
        TEST(those_behind_one_that_gives_up_get_their_permits),
        TEST(a_queue_hands_items_over_in_order),
        TEST(an_item_too_large_for_one_that_waits_goes_to_the_next),
        TEST(a_map_keeps_values_by_key),
        TEST(a_map_is_scanned_in_order_and_in_parts),
        TEST(a_cell_is_set_by_version),
        TEST(a_barrier_gives_ranks_and_begins_again),
        TEST(a_lost_party_breaks_a_barrier_after_the_lease),
        TEST(a_party_that_ended_before_others_came_breaks_the_barrier_too),
        TEST(another_party_takes_the_place_of_a_lost_one),
        TEST(parties_of_an_earlier_run_do_not_break_a_later_one),
        TEST(a_party_that_gives_up_has_not_arrived),
        TEST(deleting_an_object_ends_the_waits_at_it),
        TEST(objects_keep_what_is_in_them_across_a_restart),
        TEST(a_durable_push_reaches_one_that_waits),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_destroy);
}
