/* Shared objects in the native shim of the SDK: each operation, its errors, and waiting. */
#include "native_function.h"

static atoll_h object(uint32_t type, const char *key, int64_t arg)
{
    atoll_h handle = atoll_obj_open(type, key, (uint32_t)strlen(key), arg);
    EXPECT(handle >= 0);
    return handle;
}

/* An operation with numbers alone. */
static int64_t number_op(atoll_h handle, uint32_t op, int64_t a, int64_t b)
{
    return atoll_obj_op(handle, op, a, b, NULL, 0, NULL, 0, 0);
}

static int64_t map_op(atoll_h handle, uint32_t op, const char *key, const char *value, int64_t a,
                      void *out, uint64_t cap)
{
    uint8_t in[64];
    uint32_t key_len = (uint32_t)strlen(key), value_len = (uint32_t)strlen(value);
    memcpy(in, &key_len, 4);
    memcpy(in + 4, key, key_len);
    memcpy(in + 4 + key_len, value, value_len);
    return atoll_obj_op(handle, op, a, 0, in, 4 + key_len + value_len, out, cap, 0);
}

static int32_t opener(void)
{
    EXPECT(atoll_obj_open(0, "k", 1, 0) == -ATOLL_EINVAL);
    EXPECT(atoll_obj_open(8, "k", 1, 0) == -ATOLL_EINVAL);
    EXPECT(atoll_obj_open(ATOLL_O_COUNTER, "", 0, 0) == -ATOLL_EINVAL);
    EXPECT(atoll_obj_open(ATOLL_O_LATCH, "k", 1, -1) == -ATOLL_EINVAL);
    EXPECT(atoll_obj_open(ATOLL_O_BARRIER, "k", 1, 0) == -ATOLL_EINVAL);
    EXPECT(atoll_obj_open(ATOLL_O_BARRIER, "k", 1, 65537) == -ATOLL_EINVAL);
    EXPECT(atoll_obj_open(ATOLL_O_QUEUE, "k", 1, 1048577) == -ATOLL_EINVAL);
    EXPECT(atoll_obj_open(ATOLL_O_MAP, "k", 1, 1) == -ATOLL_EINVAL);
    atoll_h counter = object(ATOLL_O_COUNTER, "k", 5);
    EXPECT(atoll_obj_open(ATOLL_O_LATCH, "k", 1, 0) == -ATOLL_ETYPE);
    EXPECT(number_op(object(ATOLL_O_COUNTER, "k", 9), ATOLL_COUNTER_GET, 0, 0) == 5);
    EXPECT(number_op(counter, 3, 0, 0) == -ATOLL_ENOSYS);
    EXPECT(number_op(77, 0, 0, 0) == -ATOLL_EBADF);
    atoll_h value = atoll_state_open("k", 1, 8, ATOLL_S_READ | ATOLL_S_WRITE | ATOLL_S_CREATE);
    EXPECT(value >= 0 && number_op(value, 0, 0, 0) == -ATOLL_EBADF);
    EXPECT(atoll_state_size(counter) == -ATOLL_EBADF);
    EXPECT(atoll_state_close(counter) == 0 && number_op(counter, 0, 0, 0) == -ATOLL_EBADF);
    return 0;
}

static void objects_keep_their_type_and_their_first_argument(void **state)
{
    (void)state;
    function_ok(opener);
}

static int32_t counting(void)
{
    int64_t count = 0;
    atoll_h counter = object(ATOLL_O_COUNTER, "c", 1);
    EXPECT(number_op(counter, ATOLL_COUNTER_ADD, 4, 0) == 5);
    EXPECT(number_op(counter, ATOLL_COUNTER_CAS, 4, 9) == 0);
    EXPECT(number_op(counter, ATOLL_COUNTER_CAS, 5, 9) == 1);
    EXPECT(atoll_obj_op(counter, ATOLL_COUNTER_ADD, -12, 0, NULL, 0, &count, 8, 0) == -3);
    EXPECT(count == -3);
    EXPECT(number_op(counter, ATOLL_COUNTER_ADD, INT64_MIN, 0) == INT64_MAX - 2);
    return 0;
}

static void a_counter_adds_compares_and_wraps(void **state)
{
    (void)state;
    function_ok(counting);
}

static int32_t latching(void)
{
    atoll_h latch = object(ATOLL_O_LATCH, "l", 3);
    EXPECT(number_op(latch, ATOLL_LATCH_WAIT, 0, 0) == -ATOLL_EAGAIN);
    EXPECT(atoll_obj_op(latch, ATOLL_LATCH_WAIT, 0, 0, NULL, 0, NULL, 0, 1000000) ==
           -ATOLL_ETIMEDOUT);
    EXPECT(number_op(latch, ATOLL_LATCH_DOWN, 0, 0) == -ATOLL_EINVAL);
    EXPECT(number_op(latch, ATOLL_LATCH_DOWN, 2, 0) == 1);
    EXPECT(number_op(latch, ATOLL_LATCH_GET, 0, 0) == 1);
    EXPECT(number_op(latch, ATOLL_LATCH_DOWN, 5, 0) == 0);
    EXPECT(number_op(latch, ATOLL_LATCH_WAIT, 0, 0) == 0);
    EXPECT(number_op(latch, 3, 0, 0) == -ATOLL_ENOSYS);
    return 0;
}

static void a_latch_opens_at_zero(void **state)
{
    (void)state;
    function_ok(latching);
}

static int32_t permitting(void)
{
    atoll_h semaphore = object(ATOLL_O_SEM, "s", 3);
    EXPECT(number_op(semaphore, ATOLL_SEM_ACQUIRE, 2, 0) == 1);
    EXPECT(number_op(semaphore, ATOLL_SEM_ACQUIRE, 2, 0) == -ATOLL_EAGAIN);
    EXPECT(number_op(semaphore, ATOLL_SEM_ACQUIRE, 0, 0) == -ATOLL_EINVAL);
    EXPECT(number_op(semaphore, ATOLL_SEM_RELEASE, 1, 0) == 2);
    EXPECT(number_op(semaphore, ATOLL_SEM_RELEASE, INT64_MAX, 0) == -ATOLL_ERANGE);
    EXPECT(number_op(semaphore, ATOLL_SEM_ACQUIRE, 2, 0) == 0);
    EXPECT(number_op(semaphore, 2, 1, 0) == -ATOLL_ENOSYS);
    return 0;
}

static void a_semaphore_gives_what_it_has(void **state)
{
    (void)state;
    function_ok(permitting);
}

static int32_t queueing(void)
{
    static char large[ATOLL_ENTRY_MAX + 1];
    char bytes[8];
    atoll_h queue = object(ATOLL_O_QUEUE, "q", 2);
    EXPECT(atoll_obj_op(queue, ATOLL_QUEUE_POP, 0, 0, NULL, 0, bytes, 8, 0) == -ATOLL_EAGAIN);
    EXPECT(atoll_obj_op(queue, ATOLL_QUEUE_PUSH, 0, 0, "first", 5, NULL, 0, 0) == 1);
    EXPECT(atoll_obj_op(queue, ATOLL_QUEUE_PUSH, 0, 0, "", 0, NULL, 0, 0) == 2);
    EXPECT(atoll_obj_op(queue, ATOLL_QUEUE_PUSH, 0, 0, "x", 1, NULL, 0, 0) == -ATOLL_ELIMIT);
    EXPECT(atoll_obj_op(queue, ATOLL_QUEUE_PUSH, 0, 0, large, sizeof large, NULL, 0, 0) ==
           -ATOLL_ESIZE);
    EXPECT(atoll_obj_op(queue, ATOLL_QUEUE_POP, 0, 0, NULL, 0, bytes, 4, 0) == -ATOLL_ESIZE);
    EXPECT(number_op(queue, ATOLL_QUEUE_LEN, 0, 0) == 2);
    EXPECT(atoll_obj_op(queue, ATOLL_QUEUE_POP, 0, 0, NULL, 0, bytes, 8, 0) == 5);
    EXPECT(memcmp(bytes, "first", 5) == 0);
    EXPECT(atoll_obj_op(queue, ATOLL_QUEUE_POP, 0, 0, NULL, 0, bytes, 8, 0) == 0);
    EXPECT(number_op(queue, 3, 0, 0) == -ATOLL_ENOSYS);
    return 0;
}

static void a_queue_gives_the_oldest_and_keeps_what_does_not_fit(void **state)
{
    (void)state;
    function_ok(queueing);
}

static int32_t mapping(void)
{
    char out[64];
    int64_t number = 0;
    uint32_t len = 100;
    atoll_h map = object(ATOLL_O_MAP, "m", 0);
    EXPECT(map_op(map, ATOLL_MAP_GET, "k", "", 0, out, 8) == -ATOLL_ENOENT);
    EXPECT(map_op(map, ATOLL_MAP_PUT, "k", "value", 0, NULL, 0) == 1);
    EXPECT(map_op(map, ATOLL_MAP_PUT, "k", "other", 0, NULL, 0) == 0);
    EXPECT(map_op(map, ATOLL_MAP_PUT, "a", "", 0, NULL, 0) == 1);
    EXPECT(map_op(map, ATOLL_MAP_GET, "k", "", 0, out, 4) == -ATOLL_ESIZE);
    EXPECT(map_op(map, ATOLL_MAP_GET, "k", "", 0, out, 8) == 5 && memcmp(out, "other", 5) == 0);
    EXPECT(number_op(map, ATOLL_MAP_SIZE, 0, 0) == 2);
    EXPECT(map_op(map, ATOLL_MAP_PUT, "", "x", 0, NULL, 0) == -ATOLL_EINVAL);
    EXPECT(atoll_obj_op(map, ATOLL_MAP_PUT, 0, 0, &len, 4, NULL, 0, 0) == -ATOLL_EINVAL);
    EXPECT(atoll_obj_op(map, ATOLL_MAP_PUT, 0, 0, &len, 3, NULL, 0, 0) == -ATOLL_EINVAL);
    EXPECT(map_op(map, ATOLL_MAP_INCR, "n", "", 5, &number, 8) == 5 && number == 5);
    EXPECT(map_op(map, ATOLL_MAP_INCR, "n", "", -7, &number, 8) == -2 && number == -2);
    EXPECT(map_op(map, ATOLL_MAP_INCR, "k", "", 1, NULL, 0) == -ATOLL_ETYPE);
    EXPECT(map_op(map, ATOLL_MAP_DEL, "n", "", 0, NULL, 0) == 1);
    EXPECT(map_op(map, ATOLL_MAP_DEL, "n", "", 0, NULL, 0) == 0);
    EXPECT(number_op(map, 6, 0, 0) == -ATOLL_ENOSYS);
    return 0;
}

static void a_map_keeps_values_by_key(void **state)
{
    (void)state;
    function_ok(mapping);
}

static int32_t scanning(void)
{
    char out[64];
    atoll_h map = object(ATOLL_O_MAP, "m", 0);
    EXPECT(map_op(map, ATOLL_MAP_SCAN, "", "", 0, out, 64) == 0);
    EXPECT(map_op(map, ATOLL_MAP_PUT, "b", "2", 0, NULL, 0) == 1);
    EXPECT(map_op(map, ATOLL_MAP_PUT, "a", "one", 0, NULL, 0) == 1);
    EXPECT(map_op(map, ATOLL_MAP_PUT, "ab", "", 0, NULL, 0) == 1);
    EXPECT(map_op(map, ATOLL_MAP_SCAN, "", "", 0, out, 64) == 3);
    EXPECT(memcmp(out, "\1\0\0\0a\3\0\0\0one", 12) == 0);
    EXPECT(memcmp(out + 12, "\2\0\0\0ab\0\0\0\0", 10) == 0);
    EXPECT(memcmp(out + 22, "\1\0\0\0b\1\0\0\0", 9) == 0 && out[31] == '2');
    EXPECT(map_op(map, ATOLL_MAP_SCAN, "", "", 0, out, 31) == 2);
    EXPECT(map_op(map, ATOLL_MAP_SCAN, "", "", 0, out, 11) == -ATOLL_ESIZE);
    EXPECT(map_op(map, ATOLL_MAP_SCAN, "aa", "", 0, out, 64) == 2);
    EXPECT(map_op(map, ATOLL_MAP_SCAN, "b", "", 0, out, 64) == 0);
    return 0;
}

static void a_map_is_scanned_in_the_order_of_its_keys(void **state)
{
    (void)state;
    function_ok(scanning);
}

static int32_t celling(void)
{
    char out[16];
    atoll_h cell = object(ATOLL_O_CELL, "c", 0);
    EXPECT(atoll_obj_op(cell, ATOLL_CELL_GET, 0, 0, NULL, 0, out, 3, 0) == -ATOLL_ESIZE);
    EXPECT(atoll_obj_op(cell, ATOLL_CELL_GET, 0, 0, NULL, 0, out, 4, 0) == 0);
    EXPECT(memcmp(out, "\0\0\0\0", 4) == 0);
    EXPECT(atoll_obj_op(cell, ATOLL_CELL_SET, 0, 0, "one", 3, NULL, 0, 0) == 1);
    EXPECT(atoll_obj_op(cell, ATOLL_CELL_CAS, 0, 0, "two", 3, NULL, 0, 0) == -ATOLL_ESTALE);
    EXPECT(atoll_obj_op(cell, ATOLL_CELL_CAS, 1, 0, "two", 3, NULL, 0, 0) == 2);
    EXPECT(atoll_obj_op(cell, ATOLL_CELL_GET, 0, 0, NULL, 0, out, 7, 0) == 2);
    EXPECT(memcmp(out, "\3\0\0\0two", 7) == 0);
    EXPECT(number_op(cell, 3, 0, 0) == -ATOLL_ENOSYS);
    return 0;
}

static void a_cell_changes_only_from_the_version_that_was_seen(void **state)
{
    (void)state;
    function_ok(celling);
}

/* ---- waiting for each other ---- */

static int32_t party(void)
{
    atoll_h barrier = object(ATOLL_O_BARRIER, "b", 4);
    for (int round = 0; round < 3; round++) {
        int64_t rank =
            atoll_obj_op(barrier, ATOLL_BARRIER_ARRIVE, 0, 0, NULL, 0, NULL, 0, ATOLL_FOREVER);
        EXPECT(rank >= 0 && rank < 4);
        EXPECT(number_op(object(ATOLL_O_COUNTER, "ranks", 0), ATOLL_COUNTER_ADD, rank, 0) >= 0);
    }
    return 0;
}

static void start_all(const char *fn, uint32_t n, int32_t status)
{
    static const uint64_t offs[9];
    atoll_call_t ids[8];
    struct atoll_result results[8];
    EXPECT(atoll_chain_batch(fn, (uint32_t)strlen(fn), n, offs, "", NULL, ids) == 0);
    EXPECT(atoll_await(ids, n, n, ATOLL_FOREVER, results) == (int32_t)n);
    for (uint32_t i = 0; i < n; i++)
        EXPECT(results[i].status == status);
}

static int32_t party_giver(void)
{
    atoll_h barrier = object(ATOLL_O_BARRIER, "b", 4);
    EXPECT(number_op(barrier, ATOLL_BARRIER_PARTIES, 0, 0) == 4);
    EXPECT(number_op(barrier, ATOLL_BARRIER_ARRIVE, 0, 0) == -ATOLL_EAGAIN);
    EXPECT(atoll_obj_op(barrier, ATOLL_BARRIER_ARRIVE, 0, 0, NULL, 0, NULL, 0, 1000000) ==
           -ATOLL_ETIMEDOUT);
    EXPECT(number_op(barrier, 2, 0, 0) == -ATOLL_ENOSYS);
    EXPECT(atoll_state_close(barrier) == 0);
    start_all("other", 4, ATOLL_ST_OK);
    EXPECT(number_op(object(ATOLL_O_COUNTER, "ranks", 0), ATOLL_COUNTER_GET, 0, 0) == 3 * 6);
    return 0;
}

static void with_other(int32_t (*entry)(void), int32_t (*other)(void), uint32_t parallel)
{
    struct atoll_native *node = atoll_native_open(
        &(struct atoll_native_options){.parallel = parallel, .barrier_loss_ms = 10});
    assert_int_equal(atoll_native_function(node, "f", entry), 0);
    assert_int_equal(atoll_native_function(node, "other", other), 0);
    run_ok(node, "f");
    atoll_native_close(node);
}

static void a_barrier_lets_all_go_on_together_round_after_round(void **state)
{
    (void)state;
    with_other(party_giver, party, 1);
    with_other(party_giver, party, 4);
}

static int32_t lost_party(void)
{
    atoll_h barrier = object(ATOLL_O_BARRIER, "b", 2);
    int64_t mine = number_op(object(ATOLL_O_COUNTER, "who", 0), ATOLL_COUNTER_ADD, 1, 0);
    if (mine == 2)
        return 0; /* ends without arriving */
    EXPECT(atoll_obj_op(barrier, ATOLL_BARRIER_ARRIVE, 0, 0, NULL, 0, NULL, 0, ATOLL_FOREVER) ==
           -ATOLL_ELOST);
    return 0;
}

static int32_t lost_party_giver(void)
{
    start_all("other", 2, ATOLL_ST_OK);
    return 0;
}

static void a_barrier_whose_party_is_gone_lets_the_others_know(void **state)
{
    (void)state;
    with_other(lost_party_giver, lost_party, 1);
}

static int32_t consumer(void)
{
    char bytes[8];
    atoll_h queue = object(ATOLL_O_QUEUE, "q", 0);
    int64_t len =
        atoll_obj_op(queue, ATOLL_QUEUE_POP, 0, 0, NULL, 0, bytes, sizeof bytes, ATOLL_FOREVER);
    return len != 3;
}

static int32_t producer(void)
{
    static const uint64_t offs[5];
    atoll_call_t ids[4];
    struct atoll_result results[4];
    atoll_h queue = object(ATOLL_O_QUEUE, "q", 0);
    EXPECT(atoll_chain_batch("other", 5, 4, offs, "", NULL, ids) == 0);
    EXPECT(atoll_await(ids, 4, 1, 1000000, results) == -ATOLL_ETIMEDOUT); /* all wait */
    for (int i = 0; i < 4; i++)
        EXPECT(atoll_obj_op(queue, ATOLL_QUEUE_PUSH, 0, 0, "abc", 3, NULL, 0, 0) >= 1);
    EXPECT(atoll_await(ids, 4, 4, ATOLL_FOREVER, results) == 4);
    for (int i = 0; i < 4; i++)
        EXPECT(results[i].status == ATOLL_ST_OK);
    return 0;
}

static void calls_that_wait_for_a_queue_go_on_when_it_is_filled(void **state)
{
    (void)state;
    with_other(producer, consumer, 1);
    with_other(producer, consumer, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_keep_their_type_and_their_first_argument),
        cmocka_unit_test(a_counter_adds_compares_and_wraps),
        cmocka_unit_test(a_latch_opens_at_zero),
        cmocka_unit_test(a_semaphore_gives_what_it_has),
        cmocka_unit_test(a_queue_gives_the_oldest_and_keeps_what_does_not_fit),
        cmocka_unit_test(a_map_keeps_values_by_key),
        cmocka_unit_test(a_map_is_scanned_in_the_order_of_its_keys),
        cmocka_unit_test(a_cell_changes_only_from_the_version_that_was_seen),
        cmocka_unit_test(a_barrier_lets_all_go_on_together_round_after_round),
        cmocka_unit_test(a_barrier_whose_party_is_gone_lets_the_others_know),
        cmocka_unit_test(calls_that_wait_for_a_queue_go_on_when_it_is_filled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
