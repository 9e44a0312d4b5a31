/* Values of the store (src/store): commits, reads, merges, bounds, order. */
#define _GNU_SOURCE
#include "store_calls.h"

#include <math.h>

/* ---- values ---- */

static void what_was_committed_is_read_back(void **state)
{
    (void)state;
    struct gt_key k = key_of("k");
    assert_int_equal(GT(stat, &k), -ATOLL_ENOENT);
    assert_int_equal(get_bytes("k", 0, &(uint8_t){0}, 1), -ATOLL_ENOENT);
    assert_int_equal(commit_bytes("k", 0, "hello", 5), 0);
    assert_int_equal(last.result.version, 1);
    assert_int_equal(last.result.size, 5);
    assert_true(last.result.gen > 0);
    assert_get("k", 0, "hello", 5);
    assert_get("k", 3, "lo\0\0", 4);
    assert_int_equal(last.result.size, 5);
    assert_int_equal(commit_bytes("k", 1, "EL", 2), 0);
    assert_int_equal(last.result.version, 2);
    assert_get("k", 0, "hELlo", 5);
    assert_int_equal(GT(stat, &k), 0);
    assert_int_equal(last.result.version, 2);
    assert_int_equal(last.result.entries, 0);
}

static void ranges_cross_chunks_and_leave_holes_zero(void **state)
{
    (void)state;
    size_t len = 3 * CHUNK + 100;
    uint8_t *bytes = malloc(len), *zero = calloc(1, CHUNK);
    fill(bytes, len, 1);
    assert_int_equal(commit_bytes("k", 5 * CHUNK - 50, bytes, len), 0);
    assert_int_equal(last.result.size, 8 * CHUNK + 50);
    assert_get("k", 5 * CHUNK - 50, bytes, len);
    assert_get("k", 5 * CHUNK, bytes + 50, CHUNK);
    assert_get("k", 0, zero, CHUNK);
    assert_get("k", 8 * CHUNK + 49, (uint8_t[]){bytes[len - 1], 0, 0}, 3);
    assert_int_equal(commit_bytes("k", 6 * CHUNK - 1, "ab", 2), 0);
    bytes[CHUNK + 49] = 'a';
    bytes[CHUNK + 50] = 'b';
    assert_get("k", 5 * CHUNK - 50, bytes, len);
    free(bytes);
    free(zero);
}

static void spans_of_one_read_come_from_one_version(void **state)
{
    (void)state;
    struct gt_key k = key_of("k");
    uint8_t bytes[300], a[10], b[10];
    fill(bytes, sizeof bytes, 7);
    assert_int_equal(commit_bytes("k", 0, bytes, sizeof bytes), 0);
    struct gt_span spans[] = {{100, a, 10}, {0, b, 10}};
    assert_int_equal(GT(getrange, &k, 0, spans, 2), 0);
    assert_memory_equal(a, bytes + 100, 10);
    assert_memory_equal(b, bytes, 10);
    assert_int_equal(last.result.count, 2);
    assert_int_equal(last.result.extents[0].off, 100);
    assert_int_equal(last.result.extents[1].off, 0);
    assert_int_equal(last.result.extents[1].len, 10);
    assert_int_equal(last.result.version, 1);
}

static void a_read_since_a_version_brings_only_changed_chunks(void **state)
{
    (void)state;
    struct gt_key k = key_of("k");
    size_t len = 4 * CHUNK;
    uint8_t *bytes = malloc(len), *copy = malloc(len);
    fill(bytes, len, 3);
    assert_int_equal(commit_bytes("k", 0, bytes, len), 0);
    struct gt_span span = {0, copy, len};
    assert_int_equal(GT(getrange, &k, 0, &span, 1), 0);
    assert_int_equal(last.result.count, 1);
    assert_memory_equal(copy, bytes, len);
    assert_int_equal(commit_bytes("k", 2 * CHUNK + 5, "changed", 7), 0);
    memcpy(bytes + 2 * CHUNK + 5, "changed", 7);
    copy[0] ^= 1; /* a sign that this chunk is left alone */
    assert_int_equal(GT(getrange, &k, 1, &span, 1), 0);
    assert_int_equal(last.result.count, 1);
    assert_int_equal(last.result.extents[0].off, 2 * CHUNK);
    assert_int_equal(last.result.extents[0].len, CHUNK);
    copy[0] ^= 1;
    assert_memory_equal(copy, bytes, len);
    assert_int_equal(GT(getrange, &k, 2, &span, 1), 0);
    assert_int_equal(last.result.count, 0);
    free(bytes);
    free(copy);
}

static void what_was_cut_off_is_zero_also_for_reads_since_a_version(void **state)
{
    (void)state;
    struct gt_key k = key_of("k");
    size_t len = 2 * CHUNK;
    uint8_t *bytes = malloc(len), *copy = malloc(len);
    fill(bytes, len, 3);
    assert_int_equal(commit_bytes("k", 0, bytes, len), 0);
    struct gt_commit cut = {.expect_version = 1, .size = 100};
    assert_int_equal(GT(commit, &k, &cut), 0);
    assert_int_equal(last.result.version, 2);
    assert_int_equal(last.result.size, 100);
    struct gt_commit grow = {.expect_version = 2, .size = len};
    assert_int_equal(GT(commit, &k, &grow), 0);
    memset(bytes + 100, 0, len - 100);
    assert_get("k", 0, bytes, len);
    struct gt_span span = {0, copy, len};
    memset(copy, 1, len);
    assert_int_equal(GT(getrange, &k, 1, &span, 1), 0);
    assert_memory_equal(copy, bytes, len);
    free(bytes);
    free(copy);
}

static void a_commit_with_another_version_than_expected_changes_nothing(void **state)
{
    (void)state;
    struct gt_key k = key_of("k");
    struct gt_range range = {.off = 0, .bytes = "x", .len = 1};
    struct gt_commit c = {
        .expect_version = 0, .size = GT_SIZE_KEEP, .range_count = 1, .ranges = &range};
    assert_int_equal(GT(commit, &k, &c), 0);
    uint64_t gen = last.result.gen;
    assert_int_equal(GT(commit, &k, &c), -ATOLL_ESTALE);
    assert_int_equal(last.result.version, 1);
    c.expect_version = 7;
    range.bytes = "y";
    assert_int_equal(GT(commit, &k, &c), -ATOLL_ESTALE);
    c.expect_version = 1;
    c.expect_gen = gen + 1;
    assert_int_equal(GT(commit, &k, &c), -ATOLL_ESTALE);
    assert_get("k", 0, "x", 1);
    c.expect_gen = gen;
    assert_int_equal(GT(commit, &k, &c), 0);
    assert_get("k", 0, "y", 1);
}

static void a_range_beyond_the_end_is_refused_unless_the_value_may_grow(void **state)
{
    (void)state;
    struct gt_key k = key_of("k");
    assert_int_equal(commit_range("k", 0, "abc", 3, GT_SET, 0), 0);
    assert_int_equal(commit_range("k", 2, "de", 2, GT_SET, 0), -ATOLL_ERANGE);
    assert_get("k", 0, "abc", 3);
    assert_int_equal(commit_range("k", 2, "de", 2, GT_SET, GT_GROW), 0);
    assert_get("k", 0, "abde", 4);
    struct gt_range range = {.off = 3, .bytes = "zz", .len = 2};
    struct gt_commit c = {
        .expect_version = GT_VERSION_ANY, .size = 4, .range_count = 1, .ranges = &range};
    assert_int_equal(GT(commit, &k, &c), -ATOLL_ERANGE);
    c.size = 5;
    assert_int_equal(GT(commit, &k, &c), 0);
    assert_get("k", 0, "abdzz", 5);
}

static void a_deleted_key_made_again_has_another_gen(void **state)
{
    (void)state;
    struct gt_key k = key_of("k");
    assert_int_equal(GT(delete, &k, 0), -ATOLL_ENOENT);
    assert_int_equal(commit_bytes("k", 0, "old bytes", 9), 0);
    uint64_t gen = last.result.gen;
    assert_int_equal(GT(append, &k, "entry", 5, 0), 0);
    assert_int_equal(GT(delete, &k, 0), 0);
    assert_int_equal(GT(stat, &k), -ATOLL_ENOENT);
    assert_int_equal(GT(entries, &k, 0, 1, 100), -ATOLL_ENOENT);
    assert_int_equal(commit_bytes("k", 3, "new", 3), 0);
    assert_true(last.result.gen > gen);
    assert_int_equal(last.result.version, 1);
    assert_int_equal(last.result.entries, 0);
    assert_get("k", 0, "\0\0\0new", 6);
}

static void keys_of_tenants_are_apart(void **state)
{
    (void)state;
    struct gt_key a = {"a", "b-x", 3}, ab = {"a-b", "x", 1};
    struct gt_range range = {.bytes = "1", .len = 1};
    struct gt_commit c = {.size = GT_SIZE_KEEP, .range_count = 1, .ranges = &range};
    assert_int_equal(GT(commit, &a, &c), 0);
    assert_int_equal(GT(stat, &ab), -ATOLL_ENOENT);
    assert_int_equal(GT(commit, &ab, &c), 0);
    struct gt_key all = {"a", "", 0};
    assert_int_equal(GT(list, &all, "", 0, 1000), 0);
    assert_int_equal(last.result.count, 1);
}

static void bad_arguments_are_refused_at_once(void **state)
{
    (void)state;
    static char long_key[GT_KEY_MAX + 2];
    memset(long_key, 'k', sizeof long_key - 1);
    const struct gt_key bad[] = {{"tenant", "", 0},     {"tenant", long_key, GT_KEY_MAX + 1},
                                 {"tenant", "a\0b", 3}, {"", "k", 1},
                                 {"-tenant", "k", 1},   {"Tenant", "k", 1},
                                 {"ten/ant", "k", 1},   {long_key, "k", 1}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(GT(stat, &bad[i]), -ATOLL_EINVAL);
    struct gt_key longest = {"tenant", long_key, GT_KEY_MAX}, k = key_of("k");
    assert_int_equal(GT(append, &longest, "x", 1, 0), 0);
    assert_int_equal(commit_range("k", 0, "x", 1, GT_MERGES, 0), -ATOLL_EINVAL);
    assert_int_equal(commit_range("k", 0, "x", 1, GT_SET, 1u << 30), -ATOLL_EINVAL);
    assert_int_equal(commit_range("k", 4, "12345678", 8, GT_ADD_I64, 0), -ATOLL_EINVAL);
    assert_int_equal(commit_range("k", 8, "12345678", 7, GT_ADD_F64, 0), -ATOLL_EINVAL);
    assert_int_equal(commit_range("k", UINT64_MAX, "x", 1, GT_SET, 0), -ATOLL_ERANGE);
    assert_int_equal(commit_range("k", GT_VALUE_MAX, "x", 1, GT_SET, GT_GROW), -ATOLL_ERANGE);
    assert_int_equal(commit_range("k", 0, "x", (2ull << 30) + 1, GT_SET, 0), -ATOLL_ESIZE);
    struct gt_commit huge = {.size = GT_VALUE_MAX + 1};
    assert_int_equal(GT(commit, &k, &huge), -ATOLL_ESIZE);
    struct gt_span span = {GT_VALUE_MAX, NULL, 1};
    assert_int_equal(GT(getrange, &k, 0, &span, 1), -ATOLL_ERANGE);
    assert_int_equal(GT(append, &k, "x", GT_ENTRY_MAX + 1, 0), -ATOLL_ESIZE);
    assert_int_equal(GT(lock, &k, GT_LOCK_READ, 1, 0, 0), -ATOLL_EINVAL);
    assert_int_equal(GT(object_open, &k, 8, 0, 1), -ATOLL_EINVAL);
}

static int released;

static void bytes_release(void *context)
{
    assert_ptr_equal(context, &released);
    released++;
}

static void every_bound_holds(void **state)
{
    (void)state;
    static struct gt_range ranges[40000];
    static struct store_write writes[STORE_WRITES_MAX + 1];
    struct gt_key k = key_of("k");
    struct gt_commit c = {.expect_version = 5,
                          .size = GT_SIZE_KEEP,
                          .flags = GT_GROW,
                          .range_count = GT_RANGES_MAX + 1,
                          .ranges = ranges};
    assert_int_equal(GT(commit, &k, &c), -ATOLL_ELIMIT);
    assert_int_equal(GT(getrange, &k, 0, NULL, GT_RANGES_MAX + 1), -ATOLL_ELIMIT);
    /* a byte in each of too many chunks */
    for (uint64_t i = 0; i < 40000; i++)
        ranges[i] = (struct gt_range){i * CHUNK, "x", 1, GT_SET};
    c.range_count = 40000;
    assert_int_equal(GT(commit, &k, &c), -ATOLL_ESIZE);
    c.range_count = (2u << 30) / CHUNK;
    assert_int_equal(GT(commit, &k, &c), -ATOLL_ESTALE);
    assert_int_equal(RECORD(store_write, writes, STORE_WRITES_MAX + 1, 0), -ATOLL_ELIMIT);
    /* lent bytes count as outstanding until they are released */
    struct answer first = {0};
    struct gt_range huge = {.bytes = ranges, .len = 2ull << 30};
    c = (struct gt_commit){.expect_version = 5,
                           .size = GT_SIZE_KEEP,
                           .range_count = 1,
                           .ranges = &huge,
                           .release = bytes_release,
                           .release_context = &released};
    released = 0;
    GT_LATER(&first, commit, &k, &c);
    assert_int_equal(GT(commit, &k, &c), -ATOLL_ELIMIT);
    assert_int_equal(answer_wait(&first), -ATOLL_ESTALE);
    assert_int_equal(released, 1);
    answer_free(&first);
}

static void change_ignore(void *context, const struct gt_change *change)
{
    (void)context;
    (void)change;
}

static void there_are_at_most_so_many_watches(void **state)
{
    (void)state;
    struct gt *gt = store_gt(store);
    struct gt_key k = key_of("k");
    struct error e;
    uint64_t number = 0;
    for (uint32_t i = 0; i < GT_WATCHES_MAX; i++)
        assert_int_equal(gt->ops->watch(gt, &k, change_ignore, NULL, &number, &e), 0);
    assert_int_equal(gt->ops->watch(gt, &k, change_ignore, NULL, &number, &e), -ATOLL_ELIMIT);
    gt->ops->unwatch(gt, number);
    assert_int_equal(gt->ops->watch(gt, &k, change_ignore, NULL, &number, &e), 0);
}

/* ---- merging ---- */

static void merges_are_the_arithmetic_they_say(void **state)
{
    (void)state;
    int32_t i32[2] = {INT32_MAX, -5};
    int64_t i64[2] = {INT64_MIN, 7};
    double f64[2] = {1.5, -0.25};
    float f32 = 2.5f;
    assert_int_equal(commit_range("i32", 0, i32, sizeof i32, GT_ADD_I32, GT_GROW), 0);
    assert_int_equal(commit_range("i32", 0, (int32_t[]){1, 2}, 8, GT_ADD_I32, 0), 0);
    assert_get("i32", 0, (int32_t[]){INT32_MIN, -3}, 8);
    assert_int_equal(commit_range("i64", 8, i64, sizeof i64, GT_ADD_I64, GT_GROW), 0);
    assert_int_equal(commit_range("i64", 8, (int64_t[]){-1, -7}, 16, GT_ADD_I64, 0), 0);
    assert_get("i64", 0, (int64_t[]){0, INT64_MAX, 0}, 24);
    assert_int_equal(commit_range("f64", 0, f64, sizeof f64, GT_ADD_F64, GT_GROW), 0);
    assert_int_equal(commit_range("f64", 0, f64, sizeof f64, GT_ADD_F64, 0), 0);
    assert_get("f64", 0, (double[]){3, -0.5}, 16);
    assert_int_equal(commit_range("f32", 4, &f32, 4, GT_ADD_F32, GT_GROW), 0);
    assert_int_equal(commit_range("f32", 4, &f32, 4, GT_ADD_F32, 0), 0);
    assert_get("f32", 4, &(float){5}, 4);
    assert_int_equal(commit_range("x", 0, "\x0f\xff", 2, GT_XOR, GT_GROW), 0);
    assert_int_equal(commit_range("x", 0, "\xff\xff", 2, GT_XOR, 0), 0);
    assert_get("x", 0, "\xf0\x00", 2);
}

static void a_nan_gives_way_to_a_number_and_minus_zero_is_less(void **state)
{
    (void)state;
    const double start[] = {NAN, 1, -0.0, 0.0, INFINITY};
    const double with[] = {2, NAN, 0.0, -0.0, 3};
    double got[5];
    assert_int_equal(commit_bytes("min", 0, start, sizeof start), 0);
    assert_int_equal(commit_bytes("max", 0, start, sizeof start), 0);
    assert_int_equal(commit_range("min", 0, with, sizeof with, GT_MIN_F64, 0), 0);
    assert_int_equal(commit_range("max", 0, with, sizeof with, GT_MAX_F64, 0), 0);
    assert_int_equal(get_bytes("min", 0, got, sizeof got), 0);
    const double least[] = {2, 1, -0.0, -0.0, 3}, greatest[] = {2, 1, 0.0, 0.0, INFINITY};
    assert_memory_equal(got, least, sizeof least);
    assert_int_equal(get_bytes("max", 0, got, sizeof got), 0);
    assert_memory_equal(got, greatest, sizeof greatest);
}

static void merged_bytes_come_back_in_order_across_chunks(void **state)
{
    (void)state;
    struct gt_key k = key_of("k");
    uint64_t ones[3] = {1, 1, 1}, tens[3] = {10, 10, 10};
    struct gt_range ranges[] = {
        {CHUNK - 8, ones, 24, GT_ADD_I64}, {0, "set", 3, GT_SET}, {CHUNK, tens, 16, GT_ADD_I64}};
    struct gt_commit c = {.expect_version = GT_VERSION_ANY,
                          .size = GT_SIZE_KEEP,
                          .flags = GT_GROW | GT_RETURN_MERGED,
                          .range_count = 3,
                          .ranges = ranges};
    assert_int_equal(GT(commit, &k, &c), 0);
    assert_int_equal(last.result.len, 40);
    assert_memory_equal(last.result.data, ((uint64_t[]){1, 11, 11, 11, 11}), 40);
    assert_int_equal(last.result.version, 1);
}

static void lent_bytes_are_released_once_also_when_refused(void **state)
{
    (void)state;
    struct gt_key k = key_of("k");
    size_t len = 5 * CHUNK;
    uint8_t *bytes = malloc(len);
    fill(bytes, len, 9);
    struct gt_range range = {.bytes = bytes, .len = len};
    struct gt_commit c = {.size = GT_SIZE_KEEP,
                          .range_count = 1,
                          .ranges = &range,
                          .release = bytes_release,
                          .release_context = &released};
    released = 0;
    assert_int_equal(GT(commit, &k, &c), 0);
    assert_int_equal(released, 1);
    assert_get("k", 0, bytes, len);
    assert_int_equal(GT(commit, &k, &c), -ATOLL_ESTALE);
    assert_int_equal(released, 2);
    free(bytes);
}

static void a_large_commit_is_atomic_and_read_by_spans(void **state)
{
    (void)state;
    struct gt_key k = key_of("big");
    size_t len = 24u << 20;
    uint8_t *bytes = malloc(len), *copy = malloc(len);
    fill(bytes, len, 4);
    assert_int_equal(commit_bytes("small", 0, "s", 1), 0);
    assert_int_equal(commit_bytes("big", 0, bytes, len), 0);
    struct gt_span spans[24];
    for (size_t i = 0; i < 24; i++)
        spans[i] = (struct gt_span){i << 20, copy + (i << 20), 1 << 20};
    assert_int_equal(GT(getrange, &k, 0, spans, 24), 0);
    assert_memory_equal(copy, bytes, len);
    assert_get("small", 0, "s", 1);
    free(bytes);
    free(copy);
}

/* ---- order ---- */

static void every_operation_sees_those_called_before_it(void **state)
{
    (void)state;
    enum { ROUNDS = 300 };
    struct gt_key k = key_of("k");
    static struct answer writes[ROUNDS], reads[ROUNDS];
    static uint64_t got[ROUNDS];
    for (uint64_t i = 0; i < ROUNDS; i++) {
        struct gt_range range = {.bytes = &i, .len = 8};
        struct gt_commit c = {.expect_version = i, .size = 8, .range_count = 1, .ranges = &range};
        struct gt_span span = {0, &got[i], 8};
        GT_LATER(&writes[i], commit, &k, &c);
        GT_LATER(&reads[i], getrange, &k, 0, &span, 1);
    }
    for (uint64_t i = 0; i < ROUNDS; i++) {
        assert_int_equal(answer_wait(&writes[i]), 0);
        assert_int_equal(answer_wait(&reads[i]), 0);
        assert_int_equal(writes[i].result.version, i + 1);
        assert_true(got[i] >= i && reads[i].result.version == got[i] + 1);
        answer_free(&writes[i]);
        answer_free(&reads[i]);
    }
}

/* Each read that waited for the disk would have made a batch of its write. */
static void what_is_not_on_disk_yet_is_read_without_waiting_for_the_disk(void **state)
{
    (void)state;
    enum { ROUNDS = 100 };
    static uint8_t bytes[1 << 19];
    struct store_counters counters;
    for (int i = 0; i < ROUNDS; i++) {
        fill(bytes, sizeof bytes, (uint32_t)i);
        assert_int_equal(commit_bytes("k", 0, bytes, sizeof bytes), 0);
        assert_get("k", 0, bytes, sizeof bytes);
    }
    store_counters(store, &counters);
    assert_true(counters.commits < ROUNDS);
}

static void the_owner_is_woken_when_results_are_ready(void **state)
{
    (void)state;
    assert_int_equal(store_complete(store), 0);
    assert_int_equal(store_wait(store), 0);
    struct gt_key k = key_of("k");
    struct answer a = {0};
    GT_LATER(&a, append, &k, "x", 1, 0);
    assert_false(a.done);
    assert_int_equal(store_wait(store), 1);
    assert_true(a.done);
    answer_free(&a);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, store_setup, store_teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_was_committed_is_read_back),
        TEST(ranges_cross_chunks_and_leave_holes_zero),
        TEST(spans_of_one_read_come_from_one_version),
        TEST(a_read_since_a_version_brings_only_changed_chunks),
        TEST(what_was_cut_off_is_zero_also_for_reads_since_a_version),
        TEST(a_commit_with_another_version_than_expected_changes_nothing),
        TEST(a_range_beyond_the_end_is_refused_unless_the_value_may_grow),
        TEST(a_deleted_key_made_again_has_another_gen),
        TEST(keys_of_tenants_are_apart),
        TEST(bad_arguments_are_refused_at_once),
        TEST(every_bound_holds),
        TEST(there_are_at_most_so_many_watches),
        TEST(merges_are_the_arithmetic_they_say),
        TEST(a_nan_gives_way_to_a_number_and_minus_zero_is_less),
        TEST(merged_bytes_come_back_in_order_across_chunks),
        TEST(lent_bytes_are_released_once_also_when_refused),
        TEST(a_large_commit_is_atomic_and_read_by_spans),
        TEST(every_operation_sees_those_called_before_it),
        TEST(what_is_not_on_disk_yet_is_read_without_waiting_for_the_disk),
        TEST(the_owner_is_woken_when_results_are_ready),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_destroy);
}
