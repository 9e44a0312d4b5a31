/* State in the native shim of the SDK: two tiers, versions, merging, mappings, entries, locks. */
#include "native_function.h"

#include <stdlib.h>

#define RW  (ATOLL_S_READ | ATOLL_S_WRITE)
#define NEW (RW | ATOLL_S_CREATE)

static atoll_h open_key(const char *key, uint64_t size, uint32_t flags)
{
    return atoll_state_open(key, (uint32_t)strlen(key), size, flags);
}

static atoll_h opened(const char *key, uint64_t size, uint32_t flags)
{
    atoll_h handle = open_key(key, size, flags);
    EXPECT(handle >= 0);
    return handle;
}

static void *mapped(atoll_h handle, uint64_t off, uint64_t len, uint32_t prot)
{
    atoll_addr address = 0;
    EXPECT(atoll_state_map(handle, off, len, prot, &address) == 0);
    return atoll_pointer(address);
}

/* ---- opening ---- */

static int32_t opener(void)
{
    char long_key[402];
    memset(long_key, 'k', sizeof long_key);
    EXPECT(open_key("k", 8, RW) == -ATOLL_ENOENT);
    EXPECT(open_key("", 8, NEW) == -ATOLL_EINVAL);
    EXPECT(atoll_state_open(long_key, 401, 8, NEW) == -ATOLL_EINVAL);
    EXPECT(atoll_state_open("a\0b", 3, 8, NEW) == -ATOLL_EINVAL);
    EXPECT(open_key("@other/k", 8, NEW) == -ATOLL_EPERM);
    EXPECT(open_key("k", 8, ATOLL_S_CREATE) == -ATOLL_EINVAL);
    EXPECT(open_key("k", 8, ATOLL_S_READ | ATOLL_S_CREATE) == -ATOLL_EPERM);
    EXPECT(open_key("k", 8, RW | ATOLL_S_EXCL) == -ATOLL_EINVAL);
    EXPECT(open_key("k", 8, NEW | 256) == -ATOLL_EINVAL);
    EXPECT(open_key("k", UINT64_MAX, NEW) == -ATOLL_ELIMIT);
    EXPECT(open_key("k", 8, RW) == -ATOLL_ENOENT); /* none of these made it */
    atoll_h a = opened("k", 8, NEW | ATOLL_S_EXCL), b = opened("k", 0, ATOLL_S_READ);
    EXPECT(a != b);
    EXPECT(open_key("k", 8, NEW | ATOLL_S_EXCL) == -ATOLL_EEXIST);
    EXPECT(open_key("k", 9, NEW) == -ATOLL_ESIZE);
    EXPECT(atoll_state_open(long_key, 400, 1, NEW) >= 0);
    EXPECT(atoll_state_size(a) == 8 && atoll_state_version(a, 0) == 0);
    EXPECT(atoll_state_version(a, 1) == 0 && atoll_state_version(a, 2) == -ATOLL_EINVAL);
    EXPECT(atoll_state_close(b) == 0 && atoll_state_close(b) == -ATOLL_EBADF);
    EXPECT(atoll_state_size(b) == -ATOLL_EBADF && atoll_state_size(-1) == -ATOLL_EBADF);
    EXPECT(atoll_state_size(1 << 30) == -ATOLL_EBADF);
    return 0;
}

static void values_are_opened_created_and_refused_as_the_flags_say(void **state)
{
    (void)state;
    function_ok(opener);
}

static int32_t truncater(void)
{
    uint64_t number = 5;
    atoll_h a = opened("k", 8, NEW);
    EXPECT(atoll_state_write(a, 0, &number, 8) == 8);
    atoll_h b = opened("k", 4, NEW | ATOLL_S_TRUNC);
    EXPECT(atoll_state_size(a) == 4 && atoll_state_read(b, 0, &number, 8) == 4);
    EXPECT((uint32_t)number == 0);
    return 0;
}

static void truncating_makes_zeros_of_the_new_size(void **state)
{
    (void)state;
    function_ok(truncater);
}

static int32_t hoarder(void)
{
    for (int i = 0; i < 256; i++)
        (void)opened("k", 8, NEW);
    EXPECT(open_key("k", 8, NEW) == -ATOLL_ELIMIT);
    return 0;
}

static void handles_are_limited(void **state)
{
    (void)state;
    function_ok(hoarder);
}

/* ---- rights ---- */

static int32_t limited(void)
{
    EXPECT(open_key("public/a", 1, ATOLL_S_READ) == -ATOLL_ENOENT);
    EXPECT(open_key("public/a", 1, NEW) == -ATOLL_EPERM);
    EXPECT(open_key("secret", 1, ATOLL_S_READ) == -ATOLL_EPERM);
    atoll_h own = opened("own/a", 8, NEW);
    EXPECT(atoll_state_lock(own, ATOLL_LOCK_READ, ATOLL_SCOPE_NODE, 0) == -ATOLL_EPERM);
    EXPECT(atoll_state_delete("own/a", 5) == -ATOLL_EPERM);
    EXPECT(atoll_state_delete("old/a", 5) == -ATOLL_ENOENT);
    atoll_h reader = opened("own/a", 0, ATOLL_S_READ), writer = opened("own/a", 0, ATOLL_S_WRITE);
    char byte = 0;
    atoll_addr address;
    EXPECT(atoll_state_write(reader, 0, &byte, 1) == -ATOLL_EPERM);
    EXPECT(atoll_state_map(reader, 0, 8, RW, &address) == -ATOLL_EPERM);
    EXPECT(atoll_state_push(reader, 0, 0, 0, 0) == -ATOLL_EPERM);
    EXPECT(atoll_state_append(reader, "x", 1) == -ATOLL_EPERM);
    EXPECT(atoll_state_resize(reader, 9) == -ATOLL_EPERM);
    EXPECT(atoll_state_read(writer, 0, &byte, 1) == -ATOLL_EPERM);
    EXPECT(atoll_state_map(writer, 0, 8, ATOLL_S_READ, &address) == -ATOLL_EPERM);
    char keys[64];
    EXPECT(atoll_state_list("", 0, "", 0, keys, sizeof keys) == 6);
    EXPECT(memcmp(keys, "own/a", 6) == 0); /* secret is not shown */
    return 0;
}

static void a_function_has_the_rights_of_its_manifest_alone(void **state)
{
    (void)state;
    struct atoll_native *node = node_of(limited);
    assert_int_equal(atoll_native_right(node, "f", "public/", "r"), 0);
    assert_int_equal(atoll_native_right(node, "f", "own/", "rw"), 0);
    assert_int_equal(atoll_native_right(node, "f", "old/", "d"), 0);
    assert_int_equal(atoll_native_right(node, "f", "x", "q"), -ATOLL_EINVAL);
    assert_true(atoll_native_state_put(node, "secret", "s", 1) > 0);
    run_ok(node, "f");
    atoll_native_close(node);
}

/* ---- reading, writing, mapping ---- */

static int32_t writer_and_reader(void)
{
    char bytes[8] = {0};
    atoll_h handle = opened("k", 8, NEW);
    EXPECT(atoll_state_write(handle, 2, "abc", 3) == 3);
    EXPECT(atoll_state_read(handle, 0, bytes, 8) == 8 && memcmp(bytes, "\0\0abc\0\0\0", 8) == 0);
    EXPECT(atoll_state_read(handle, 6, bytes, 8) == 2 &&
           atoll_state_read(handle, 8, bytes, 8) == 0);
    EXPECT(atoll_state_read(handle, UINT64_MAX, bytes, 8) == -ATOLL_ERANGE);
    EXPECT(atoll_state_write(handle, 6, bytes, 3) == -ATOLL_ERANGE);
    EXPECT(atoll_state_write(handle, UINT64_MAX, bytes, 2) == -ATOLL_ERANGE);
    EXPECT(atoll_state_write(handle, 8, bytes, 0) == 0);
    EXPECT(atoll_state_dirty(handle, 4, 5) == -ATOLL_ERANGE);
    EXPECT(atoll_state_dirty(handle, 8, 0) == 0 &&
           atoll_state_dirty(handle, 9, 0) == -ATOLL_ERANGE);
    return 0;
}

static void bytes_are_written_and_read_within_the_value(void **state)
{
    (void)state;
    function_ok(writer_and_reader);
}

static int32_t mapper(void)
{
    atoll_addr address;
    atoll_h handle = opened("k", 10000, NEW);
    char *all = mapped(handle, 0, 10000, RW), *part = mapped(handle, 5001, 7, RW);
    const char *reader = mapped(handle, 5000, 100, ATOLL_S_READ);
    part[0] = 'x';
    EXPECT(all[5001] == 'x' && reader[1] == 'x');
    char byte;
    EXPECT(atoll_state_read(handle, 5001, &byte, 1) == 1 && byte == 'x');
    EXPECT(mapped(handle, 5001, 7, RW) == part);
    EXPECT(atoll_state_unmap(atoll_address(part)) == 0 && part[0] == 'x'); /* twice mapped */
    EXPECT(atoll_state_unmap(atoll_address(part)) == 0);
    EXPECT(atoll_state_unmap(atoll_address(part)) == -ATOLL_ENOENT);
    EXPECT(atoll_state_close(handle) == 0);
    all[0] = 'y'; /* stays */
    handle = opened("k", 0, RW);
    EXPECT(atoll_state_map(handle, 0, 0, RW, &address) == -ATOLL_EINVAL);
    EXPECT(atoll_state_map(handle, 0, 10001, RW, &address) == -ATOLL_ERANGE);
    EXPECT(atoll_state_map(handle, UINT64_MAX, 2, RW, &address) == -ATOLL_ERANGE);
    EXPECT(atoll_state_map(handle, 0, 1, 0, &address) == -ATOLL_EINVAL);
    EXPECT(atoll_state_map(handle, 0, 1, ATOLL_S_WRITE, &address) == -ATOLL_EINVAL);
    return 0;
}

static void mappings_show_the_same_bytes_and_outlive_their_handle(void **state)
{
    (void)state;
    function_ok(mapper);
}

static int32_t resizer(void)
{
    char bytes[8] = "abcdefg";
    atoll_h handle = opened("k", 8, NEW);
    EXPECT(atoll_state_write(handle, 0, bytes, 8) == 8);
    const char *map = mapped(handle, 0, 8, ATOLL_S_READ);
    EXPECT(atoll_state_resize(handle, 2) == 0 && atoll_state_size(handle) == 2);
    EXPECT(map[7] == 0); /* still there, of zeros */
    EXPECT(atoll_state_resize(handle, 8) == 0);
    EXPECT(atoll_state_read(handle, 0, bytes, 8) == 8 && memcmp(bytes, "ab\0\0\0\0\0\0", 8) == 0);
    EXPECT(atoll_state_push(handle, 0, 0, 0, 0) == 1);
    return 0;
}

static void a_value_made_smaller_and_larger_has_zeros_there(void **state)
{
    (void)state;
    uint64_t len;
    struct atoll_native *node = node_of(resizer);
    run_ok(node, "f");
    char *bytes = atoll_native_state_get(node, "k", &len);
    assert_int_equal(len, 8);
    assert_memory_equal(bytes, "ab\0\0\0\0\0\0", 8);
    free(bytes);
    atoll_native_close(node);
}

/* ---- push and pull ---- */

static int32_t pusher(void)
{
    atoll_h handle = opened("k", 8, NEW);
    EXPECT(atoll_state_push(handle, 0, 0, ATOLL_PULL_DISCARD, 0) == -ATOLL_EINVAL);
    EXPECT(atoll_state_push(handle, 0, 9, 0, 0) == -ATOLL_ERANGE);
    EXPECT(atoll_state_write(handle, 0, "ab", 2) == 2);
    EXPECT(atoll_state_push(handle, 0, 0, ATOLL_PUSH_DIRTY, 0) == 1);
    EXPECT(atoll_state_version(handle, 0) == 1 && atoll_state_version(handle, 1) == 1);
    EXPECT(atoll_state_push(handle, 0, 0, ATOLL_PUSH_DIRTY, 0) == 1); /* nothing to send */
    char *bytes = mapped(handle, 0, 8, RW);
    bytes[4] = 'x'; /* not marked: not sent */
    EXPECT(atoll_state_write(handle, 6, "y", 1) == 1);
    EXPECT(atoll_state_push(handle, 0, 0, ATOLL_PUSH_DIRTY | ATOLL_PUSH_DURABLE, 0) == 2);
    EXPECT(atoll_state_push(handle, 0, 0, ATOLL_PUSH_IFVER, 1) == -ATOLL_ESTALE);
    return 0;
}

static void a_push_sends_what_was_written_and_counts_versions(void **state)
{
    (void)state;
    uint64_t len;
    struct atoll_native *node = node_of(pusher);
    run_ok(node, "f");
    char *bytes = atoll_native_state_get(node, "k", &len);
    assert_int_equal(len, 8);
    assert_memory_equal(bytes, "ab\0\0\0\0y\0", 8);
    free(bytes);
    atoll_native_close(node);
}

static int32_t tracker(void)
{
    atoll_h handle = opened("k", 20, NEW | ATOLL_S_TRACK);
    EXPECT(atoll_state_push(handle, 0, 0, 0, 0) == 1);
    char *bytes = mapped(handle, 0, 20, RW);
    bytes[3] = 'x';
    bytes[19] = 'y';
    EXPECT(atoll_state_push(handle, 0, 0, ATOLL_PUSH_DIRTY, 0) == 2);
    EXPECT(atoll_state_push(handle, 0, 0, ATOLL_PUSH_DIRTY, 0) == 2);
    return 0;
}

static void a_tracked_push_finds_what_was_written_through_mappings(void **state)
{
    (void)state;
    uint64_t len;
    struct atoll_native *node = node_of(tracker);
    run_ok(node, "f");
    char *bytes = atoll_native_state_get(node, "k", &len);
    assert_true(bytes[3] == 'x' && bytes[19] == 'y');
    free(bytes);
    atoll_native_close(node);
}

static int32_t puller(void)
{
    char bytes[4];
    atoll_h handle = opened("k", 0, RW);
    EXPECT(atoll_state_pull(handle, 0, 0, 16) == -ATOLL_EINVAL);
    EXPECT(atoll_state_pull(handle, 0, 5, 0) == -ATOLL_ERANGE);
    EXPECT(atoll_state_read(handle, 0, bytes, 4) == 4 && memcmp(bytes, "old.", 4) == 0);
    EXPECT(atoll_state_write(handle, 3, "!", 1) == 1);
    EXPECT(atoll_state_version(handle, 0) == 1);
    return 0;
}

static int32_t second_puller(void)
{
    char bytes[4];
    atoll_h handle = opened("k", 0, RW);
    EXPECT(atoll_state_read(handle, 0, bytes, 4) == 4 && memcmp(bytes, "old!", 4) == 0);
    EXPECT(atoll_state_version(handle, 0) == 1 && atoll_state_version(handle, 1) == 2);
    EXPECT(atoll_state_pull(handle, 0, 0, 0) == 0 && atoll_state_version(handle, 0) == 2);
    EXPECT(atoll_state_read(handle, 0, bytes, 4) == 4 && memcmp(bytes, "new!", 4) == 0);
    EXPECT(atoll_state_pull(handle, 0, 0, ATOLL_PULL_DISCARD) == 0);
    EXPECT(atoll_state_read(handle, 0, bytes, 4) == 4 && memcmp(bytes, "new.", 4) == 0);
    return 0;
}

static void what_another_node_pushed_is_seen_after_a_pull(void **state)
{
    (void)state;
    struct atoll_native *node = node_of(puller);
    assert_int_equal(atoll_native_function(node, "g", second_puller), 0);
    assert_int_equal(atoll_native_state_put(node, "k", "old.", 4), 1);
    run_ok(node, "f");
    assert_int_equal(atoll_native_state_put(node, "k", "new.", 4), 2);
    run_ok(node, "g");
    atoll_native_close(node);
}

static int32_t follower(void)
{
    atoll_h handle = opened("k", 0, RW);
    int64_t before = atoll_state_size(handle);
    EXPECT(atoll_state_pull(handle, 0, 0, 0) == 0);
    EXPECT(before == 4 && atoll_state_size(handle) == 6);
    char bytes[6];
    EXPECT(atoll_state_read(handle, 0, bytes, 6) == 6 && memcmp(bytes, "longer", 6) == 0);
    return 0;
}

static int32_t visitor(void)
{
    (void)opened("k", 0, RW);
    return 0;
}

static void a_pull_follows_the_global_size(void **state)
{
    (void)state;
    struct atoll_native *node = node_of(visitor);
    assert_int_equal(atoll_native_function(node, "g", follower), 0);
    assert_int_equal(atoll_native_state_put(node, "k", "four", 4), 1);
    run_ok(node, "f");
    assert_int_equal(atoll_native_state_put(node, "k", "longer", 6), 2);
    run_ok(node, "g");
    atoll_native_close(node);
}

/* ---- merging ---- */

struct merged {
    uint32_t i32[2];
    uint64_t i64, bits;
    float f32[2];
    double f64, least, greatest;
};

#define OFF(field) offsetof(struct merged, field), sizeof(((struct merged *)0)->field)

static int32_t merge_writer(void)
{
    struct merged *m;
    atoll_h handle = opened("m", sizeof *m, RW | ATOLL_S_TRACK);
    EXPECT(atoll_state_merge(handle, OFF(i32), ATOLL_M_ADD_I32) == 0);
    EXPECT(atoll_state_merge(handle, OFF(i64), ATOLL_M_ADD_I64) == 0);
    EXPECT(atoll_state_merge(handle, OFF(bits), ATOLL_M_XOR) == 0);
    EXPECT(atoll_state_merge(handle, OFF(f32), ATOLL_M_ADD_F32) == 0);
    EXPECT(atoll_state_merge(handle, OFF(f64), ATOLL_M_ADD_F64) == 0);
    EXPECT(atoll_state_merge(handle, OFF(least), ATOLL_M_MIN_F64) == 0);
    EXPECT(atoll_state_merge(handle, OFF(greatest), ATOLL_M_MAX_F64) == 0);
    EXPECT(atoll_state_merge(handle, 4, 8, ATOLL_M_ADD_I64) == -ATOLL_EINVAL);
    EXPECT(atoll_state_merge(handle, 0, 8, 8) == -ATOLL_EINVAL);
    EXPECT(atoll_state_merge(handle, 0, sizeof *m + 8, ATOLL_M_SET) == -ATOLL_ERANGE);
    m = mapped(handle, 0, sizeof *m, RW);
    m->i32[1] += 5;
    m->i64 -= 1;
    m->bits ^= 0xf0;
    m->f32[1] += 0.5f;
    m->f64 += 2.25;
    m->least = 3;
    m->greatest = 3;
    return 0;
}

static int32_t merge_pusher(void)
{
    atoll_h handle = opened("m", 0, RW);
    EXPECT(atoll_state_push(handle, 0, 0, ATOLL_PUSH_DIRTY, 0) == 3);
    struct merged *m = mapped(handle, 0, sizeof *m, ATOLL_S_READ);
    EXPECT(m->i32[1] == 105 && m->f64 == 102.25); /* the merged values are seen here */
    EXPECT(atoll_state_push(handle, 0, 0, ATOLL_PUSH_DIRTY, 0) == 3); /* and not sent again */
    return 0;
}

static void what_was_added_here_and_elsewhere_adds_up(void **state)
{
    (void)state;
    uint64_t len;
    struct merged start = {{1, 1}, 1, 1, {1, 1}, 1, 1, 1};
    struct merged other = {{100, 100}, 100, 0x0f, {100, 100}, 100, 2, 5};
    struct atoll_native *node = node_of(merge_writer);
    assert_int_equal(atoll_native_function(node, "g", merge_pusher), 0);
    assert_int_equal(atoll_native_state_put(node, "m", &start, sizeof start), 1);
    run_ok(node, "f");
    assert_int_equal(atoll_native_state_put(node, "m", &other, sizeof other), 2);
    run_ok(node, "g");
    struct merged *m = atoll_native_state_get(node, "m", &len);
    assert_int_equal(len, sizeof *m);
    assert_int_equal(m->i32[0], 100);
    assert_int_equal(m->i32[1], 105);
    assert_int_equal(m->i64, 99);
    assert_int_equal(m->bits, 0x0f ^ 0xf0);
    assert_true(m->f32[0] == 100 && m->f32[1] == 100.5f && m->f64 == 102.25);
    assert_true(m->least == 2 && m->greatest == 5);
    free(m);
    atoll_native_close(node);
}

static int32_t adder(void)
{
    int64_t number;
    atoll_h handle = opened("n", 8, NEW);
    EXPECT(atoll_state_merge(handle, 0, 0, ATOLL_M_ADD_I64) == 0);
    for (int i = 0; i < 100; i++) {
        EXPECT(atoll_state_lock(handle, ATOLL_LOCK_WRITE, ATOLL_SCOPE_NODE, ATOLL_FOREVER) == 0);
        EXPECT(atoll_state_read(handle, 0, &number, 8) == 8);
        number++;
        EXPECT(atoll_state_write(handle, 0, &number, 8) == 8);
        EXPECT(atoll_state_unlock(handle, ATOLL_SCOPE_NODE) == 0);
        if (i % 7 == 0)
            EXPECT(atoll_state_push(handle, 0, 0, ATOLL_PUSH_DIRTY, 0) > 0);
    }
    EXPECT(atoll_state_push(handle, 0, 0, ATOLL_PUSH_DIRTY, 0) > 0);
    return 0;
}

static int32_t add_spreader(void)
{
    static const uint64_t offs[9];
    atoll_call_t ids[8];
    struct atoll_result results[8];
    EXPECT(atoll_chain_batch("adder", 5, 8, offs, "", NULL, ids) == 0);
    EXPECT(atoll_await(ids, 8, 8, ATOLL_FOREVER, results) == 8);
    for (int i = 0; i < 8; i++)
        EXPECT(results[i].status == ATOLL_ST_OK);
    return 0;
}

static void no_addition_of_many_calls_at_once_is_lost(void **state)
{
    (void)state;
    uint64_t len;
    int64_t sum;
    struct atoll_native *node = atoll_native_open(&(struct atoll_native_options){.parallel = 4});
    assert_int_equal(atoll_native_function(node, "f", add_spreader), 0);
    assert_int_equal(atoll_native_function(node, "adder", adder), 0);
    run_ok(node, "f");
    void *bytes = atoll_native_state_get(node, "n", &len);
    memcpy(&sum, bytes, sizeof sum);
    free(bytes);
    assert_int_equal(sum, 800);
    atoll_native_close(node);
}

/* ---- entries, deleting, listing ---- */

static int32_t appender(void)
{
    static char large[ATOLL_ENTRY_MAX + 1];
    char bytes[8];
    uint64_t lens[8];
    atoll_h handle = opened("log", 0, NEW);
    EXPECT(atoll_state_entries(handle, 0, 8, bytes, 8, lens) == 0);
    EXPECT(atoll_state_append(handle, "one", 3) == 0 && atoll_state_append(handle, "", 0) == 1);
    EXPECT(atoll_state_append(handle, "three", 5) == 2);
    EXPECT(atoll_state_entries(handle, 0, 8, bytes, 8, lens) == 3);
    EXPECT(lens[0] == 3 && lens[1] == 0 && lens[2] == 5 && memcmp(bytes, "onethree", 8) == 0);
    EXPECT(atoll_state_entries(handle, 0, 1, bytes, 8, lens) == 1);
    EXPECT(atoll_state_entries(handle, 0, 8, bytes, 7, lens) == 2);
    EXPECT(atoll_state_entries(handle, 2, 8, bytes, 4, lens) == -ATOLL_ESIZE && lens[0] == 5);
    EXPECT(atoll_state_entries(handle, 3, 8, bytes, 8, lens) == 0);
    EXPECT(atoll_state_append(handle, large, sizeof large) == -ATOLL_ESIZE);
    EXPECT(atoll_state_append(handle, large, ATOLL_ENTRY_MAX) == 3);
    EXPECT(atoll_state_clear(handle) == 0 && atoll_state_append(handle, "x", 1) == 0);
    return 0;
}

static void entries_are_appended_read_as_a_whole_and_cleared(void **state)
{
    (void)state;
    function_ok(appender);
}

static int32_t deleter(void)
{
    char byte = 'x';
    uint64_t len;
    atoll_h handle = opened("k", 8, NEW);
    const char *map = mapped(handle, 0, 8, RW);
    EXPECT(atoll_state_write(handle, 0, &byte, 1) == 1);
    EXPECT(atoll_state_delete("k", 1) == 0 && atoll_state_delete("k", 1) == -ATOLL_ENOENT);
    EXPECT(atoll_state_delete("", 0) == -ATOLL_EINVAL);
    EXPECT(map[0] == 'x');
    EXPECT(atoll_state_push(handle, 0, 0, 0, 0) == -ATOLL_ESTALE);
    EXPECT(atoll_state_pull(handle, 0, 0, 0) == -ATOLL_ESTALE);
    EXPECT(atoll_state_append(handle, &byte, 1) == -ATOLL_ESTALE);
    EXPECT(atoll_state_entries(handle, 0, 1, &byte, 1, &len) == -ATOLL_ESTALE);
    EXPECT(atoll_state_version(handle, 1) == -ATOLL_ESTALE);
    EXPECT(open_key("k", 0, RW) == -ATOLL_ENOENT);
    atoll_h again = opened("k", 4, NEW);
    EXPECT(atoll_state_size(again) == 4 && atoll_state_size(handle) == 8);
    return 0;
}

static void handles_of_a_deleted_value_are_stale_and_mappings_stay(void **state)
{
    (void)state;
    function_ok(deleter);
}

static int32_t lister(void)
{
    char keys[16];
    (void)opened("b", 1, NEW);
    (void)opened("a/2", 1, NEW);
    (void)opened("a/1", 1, NEW);
    (void)opened("a/10", 1, NEW);
    EXPECT(atoll_state_list("a/", 2, "", 0, keys, 16) == 13);
    EXPECT(memcmp(keys, "a/1\0a/10\0a/2\0", 13) == 0);
    EXPECT(atoll_state_list("a/", 2, "a/1", 3, keys, 8) == 5 && memcmp(keys, "a/10", 5) == 0);
    EXPECT(atoll_state_list("a/", 2, "a/2", 3, keys, 16) == 0);
    EXPECT(atoll_state_list("", 0, "a/2", 3, keys, 16) == 2 && memcmp(keys, "b", 2) == 0);
    EXPECT(atoll_state_list("", 0, "", 0, keys, 3) == -ATOLL_ESIZE);
    EXPECT(atoll_state_list("a\0", 2, "", 0, keys, 3) == -ATOLL_EINVAL);
    return 0;
}

static void keys_are_listed_in_order_and_in_pieces(void **state)
{
    (void)state;
    function_ok(lister);
}

static int32_t local_keeper(void)
{
    atoll_h handle = opened("k", 8, NEW | ATOLL_S_LOCAL);
    EXPECT(atoll_state_push(handle, 0, 0, 0, 0) == -ATOLL_EINVAL);
    return 0;
}

static void a_local_value_is_never_pushed(void **state)
{
    (void)state;
    function_ok(local_keeper);
}

/* ---- locks ---- */

static int32_t locker(void)
{
    atoll_h a = opened("k", 8, NEW), b = opened("k", 8, NEW);
    EXPECT(atoll_state_lock(a, 2, 0, 0) == -ATOLL_EINVAL && atoll_state_lock(a, 0, 2, 0) < 0);
    EXPECT(atoll_state_unlock(a, ATOLL_SCOPE_NODE) == -ATOLL_ENOENT);
    EXPECT(atoll_state_lock(a, ATOLL_LOCK_WRITE, ATOLL_SCOPE_NODE, 0) == 0);
    EXPECT(atoll_state_lock(b, ATOLL_LOCK_READ, ATOLL_SCOPE_NODE, 0) == -ATOLL_EDEADLK);
    int64_t token = atoll_state_lock(a, ATOLL_LOCK_WRITE, ATOLL_SCOPE_GLOBAL, 0);
    EXPECT(token > 0);
    EXPECT(atoll_state_unlock(a, ATOLL_SCOPE_GLOBAL) == 0);
    EXPECT(atoll_state_lock(a, ATOLL_LOCK_WRITE, ATOLL_SCOPE_GLOBAL, 0) > token);
    EXPECT(atoll_state_close(a) == 0); /* gives both back */
    EXPECT(atoll_state_lock(b, ATOLL_LOCK_WRITE, ATOLL_SCOPE_NODE, 0) == 0);
    EXPECT(atoll_state_lock(b, ATOLL_LOCK_READ, ATOLL_SCOPE_GLOBAL, 0) > token);
    return 0;
}

static void a_lock_is_not_taken_twice_and_tokens_grow(void **state)
{
    (void)state;
    function_ok(locker);
}

static int32_t other_locker(void)
{
    uint32_t mode;
    EXPECT(atoll_input_read(0, &mode, sizeof mode) == sizeof mode);
    atoll_h handle = opened("k", 8, NEW);
    int64_t now = atoll_state_lock(handle, mode, ATOLL_SCOPE_NODE, 0);
    int64_t soon = now == 0 ? 0 : atoll_state_lock(handle, mode, ATOLL_SCOPE_NODE, 1000000);
    int64_t results[2] = {now, soon};
    return atoll_output_write(results, sizeof results) < 0;
}

static void expect_other(uint32_t mode, int64_t now, int64_t soon)
{
    atoll_call_t id;
    struct atoll_result result;
    int64_t results[2];
    EXPECT(atoll_chain("other", 5, &mode, sizeof mode, NULL, &id) == 0);
    EXPECT(atoll_await(&id, 1, 1, ATOLL_FOREVER, &result) == 1);
    EXPECT(atoll_result_read(id, 0, results, sizeof results) == sizeof results);
    EXPECT(results[0] == now && results[1] == soon);
}

static int32_t lock_holder(void)
{
    atoll_h handle = opened("k", 8, NEW);
    EXPECT(atoll_state_lock(handle, ATOLL_LOCK_READ, ATOLL_SCOPE_NODE, 0) == 0);
    expect_other(ATOLL_LOCK_READ, 0, 0);
    expect_other(ATOLL_LOCK_WRITE, -ATOLL_EAGAIN, -ATOLL_ETIMEDOUT);
    EXPECT(atoll_state_unlock(handle, ATOLL_SCOPE_NODE) == 0);
    expect_other(ATOLL_LOCK_WRITE, 0, 0); /* and its end released it */
    EXPECT(atoll_state_lock(handle, ATOLL_LOCK_WRITE, ATOLL_SCOPE_NODE, 0) == 0);
    expect_other(ATOLL_LOCK_READ, -ATOLL_EAGAIN, -ATOLL_ETIMEDOUT);
    return 0;
}

static void readers_share_a_writer_excludes_and_an_end_releases(void **state)
{
    (void)state;
    struct atoll_native *node = node_of(lock_holder);
    assert_int_equal(atoll_native_function(node, "other", other_locker), 0);
    run_ok(node, "f");
    atoll_native_close(node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_opened_created_and_refused_as_the_flags_say),
        cmocka_unit_test(truncating_makes_zeros_of_the_new_size),
        cmocka_unit_test(handles_are_limited),
        cmocka_unit_test(a_function_has_the_rights_of_its_manifest_alone),
        cmocka_unit_test(bytes_are_written_and_read_within_the_value),
        cmocka_unit_test(mappings_show_the_same_bytes_and_outlive_their_handle),
        cmocka_unit_test(a_value_made_smaller_and_larger_has_zeros_there),
        cmocka_unit_test(a_push_sends_what_was_written_and_counts_versions),
        cmocka_unit_test(a_tracked_push_finds_what_was_written_through_mappings),
        cmocka_unit_test(what_another_node_pushed_is_seen_after_a_pull),
        cmocka_unit_test(a_pull_follows_the_global_size),
        cmocka_unit_test(what_was_added_here_and_elsewhere_adds_up),
        cmocka_unit_test(no_addition_of_many_calls_at_once_is_lost),
        cmocka_unit_test(entries_are_appended_read_as_a_whole_and_cleared),
        cmocka_unit_test(handles_of_a_deleted_value_are_stale_and_mappings_stay),
        cmocka_unit_test(keys_are_listed_in_order_and_in_pieces),
        cmocka_unit_test(a_local_value_is_never_pushed),
        cmocka_unit_test(a_lock_is_not_taken_twice_and_tokens_grow),
        cmocka_unit_test(readers_share_a_writer_excludes_and_an_end_releases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
