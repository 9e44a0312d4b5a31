/* Bytes between the local and the global tier: pulls, pushes, merges, new sizes. */
#define _GNU_SOURCE
#include "state_world.h"

/* ---- pulling ---- */

static void only_the_missing_chunks_of_a_range_are_pulled(void **state)
{
    (void)state;
    world_begin(12, BIG);
    pattern("k", 10 * CHUNK + 5);
    struct view v = view_open(1, 10, "k", 0, STATE_OPEN_READ);
    assert_int_equal(gt->read_bytes, 0);
    assert_int_equal(view_ensure(&v, CHUNK + 1, CHUNK), 0);
    assert_int_equal(gt->read_bytes, 2 * CHUNK);
    assert_int_equal(last.reply.moved, 2 * CHUNK);
    assert_int_equal(last.reply.number, CHUNK);
    assert_int_equal(view_ensure(&v, CHUNK, 2 * CHUNK), 0);
    assert_int_equal(last.reply.moved, 0);
    assert_int_equal(last.reply.number, 2 * CHUNK);
    assert_int_equal(gt->read_bytes, 2 * CHUNK);
    assert_int_equal(view_ensure(&v, 0, 10 * CHUNK + 5), 0);
    assert_int_equal(gt->read_bytes, 11 * CHUNK);
    for (uint64_t i = 0; i < 10 * CHUNK + 5; i++)
        assert_int_equal(v.bytes[i], (uint8_t)(i * 7 + i / CHUNK));
    CHECK(view_ensure(&v, 10 * CHUNK, 6), ATOLL_ERANGE);
    CHECK(view_ensure(&v, UINT64_MAX, 2), ATOLL_ERANGE);
    view_drop(&v);
    world_end();
}

static void calls_that_want_the_same_chunk_share_one_pull(void **state)
{
    (void)state;
    world_begin(13, BIG);
    pattern("k", 4 * CHUNK);
    static struct asked asked[8];
    struct view views[8];
    for (uint64_t i = 0; i < 8; i++)
        views[i] = view_open(1 + i % 2, 10 + i, "k", 0, STATE_OPEN_READ);
    uint64_t reads = gt->reads;
    for (int i = 0; i < 8; i++)
        ask_begin(views[i].worker, views[i].call,
                  view_request(&views[i], STATE_OP_ENSURE, (uint64_t)i * 64, 2 * CHUNK, 0),
                  &asked[i]);
    world_settle();
    for (int i = 0; i < 8; i++) {
        assert_true(asked[i].done);
        assert_int_equal(asked[i].result, 0);
        view_drop(&views[i]);
    }
    /* The first wants two chunks, the second three, nobody a fourth. */
    assert_int_equal(gt->reads - reads, 2);
    assert_int_equal(gt->read_bytes, 3 * CHUNK);
    world_end();
}

static void a_pull_that_fails_tells_everybody_who_waited_and_can_be_tried_again(void **state)
{
    (void)state;
    world_begin(14, BIG);
    pattern("k", 2 * CHUNK);
    struct view v = view_open(1, 10, "k", 0, STATE_OPEN_READ);
    struct view w = view_open(2, 20, "k", 0, STATE_OPEN_READ);
    static struct asked a, b;
    gt->fail_reads = 1;
    ask_begin(1, 10, view_request(&v, STATE_OP_ENSURE, 0, 10, 0), &a);
    ask_begin(2, 20, view_request(&w, STATE_OP_ENSURE, 5, 10, 0), &b);
    world_settle();
    CHECK(a.result, ATOLL_EUNAVAIL);
    CHECK(b.result, ATOLL_EUNAVAIL);
    assert_int_equal(view_ensure(&v, 0, 10), 0);
    view_drop(&v);
    view_drop(&w);
    world_end();
}

static const struct state_slot *slot_of(const struct view *v)
{
    static struct state_slot *slots;
    if (slots)
        munmap(slots, STATE_SLOTS_MAX * sizeof *slots);
    assert_int_equal(ask(v->worker, v->call, (struct state_request){.op = STATE_OP_SEGMENT}, &last),
                     0);
    slots = mmap(NULL, STATE_SLOTS_MAX * sizeof *slots, PROT_READ, MAP_SHARED, last.fd, 0);
    assert_true((void *)slots != MAP_FAILED);
    assert_true(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, last.fd, 0) == MAP_FAILED);
    assert_true(ftruncate(last.fd, 0) != 0);
    close(last.fd);
    return &slots[v->slot];
}

static void a_slot_says_size_version_and_whether_all_is_here(void **state)
{
    (void)state;
    world_begin(15, BIG);
    pattern("k", 2 * CHUNK);
    struct view v = view_open(1, 10, "k", 0, RW);
    const struct state_slot *slot = slot_of(&v);
    struct state_slot_view s;
    assert_true(state_slot_read(slot, &s));
    assert_int_equal(s.gen, v.gen);
    assert_int_equal(s.size, 2 * CHUNK);
    assert_int_equal(s.version, 1);
    assert_int_equal(s.flags, 0);
    view_ensure(&v, 0, 2 * CHUNK);
    view_write(&v, 0, "x", 1);
    assert_int_equal(view_push(&v, STATE_PUSH_DIRTY), 2);
    assert_true(state_slot_read(slot, &s));
    assert_int_equal(s.flags, STATE_SLOT_COMPLETE);
    assert_int_equal(s.version, 2);
    key_ask(1, 10, STATE_OP_DELETE, "k");
    assert_true(state_slot_read(slot, &s));
    assert_int_equal(s.flags, STATE_SLOT_COMPLETE | STATE_SLOT_STALE);
    state_call_ended(tier, 1, 10);
    world_settle();
    assert_true(state_slot_read(slot, &s));
    assert_int_equal(s.gen, 0);
    view_drop(&v);
    world_end();
}

static void a_pull_refreshes_what_is_old_and_keeps_what_was_written_here(void **state)
{
    (void)state;
    world_begin(16, BIG);
    elsewhere_push("k", 0, "aaaaaaaa", 8, GT_SET);
    struct view v = view_open(1, 10, "k", 0, RW);
    view_write(&v, 2, "WW", 2);
    elsewhere_push("k", 0, "bbbbbbbb", 8, GT_SET);
    assert_int_equal(view_pull(&v, 0), 0);
    assert_memory_equal(v.bytes, "bbWWbbbb", 8);
    assert_int_equal(view_push(&v, STATE_PUSH_DIRTY), 3);
    assert_memory_equal(global("k")->bytes, "bbWWbbbb", 8);
    view_write(&v, 0, "XX", 2);
    assert_int_equal(view_pull(&v, STATE_PULL_DISCARD), 0);
    assert_memory_equal(v.bytes, "bbWWbbbb", 8);
    assert_int_equal(view_push(&v, STATE_PUSH_DIRTY), 3); /* nothing is left to push */
    view_drop(&v);
    world_end();
}

static void a_pull_follows_the_global_size_and_unchanged_chunks_are_not_moved(void **state)
{
    (void)state;
    world_begin(17, BIG);
    pattern("k", 4 * CHUNK);
    struct view v = view_open(1, 10, "k", 0, STATE_OPEN_READ);
    view_ensure(&v, 0, 4 * CHUNK);
    uint64_t before = gt->read_bytes;
    assert_int_equal(view_pull(&v, 0), 0);
    assert_int_equal(gt->read_bytes, before);
    elsewhere_push("k", CHUNK, "x", 1, GT_SET);
    assert_int_equal(view_pull(&v, 0), 0);
    assert_int_equal(gt->read_bytes, before + CHUNK);
    assert_int_equal(v.bytes[CHUNK], 'x');
    elsewhere_push("k", 6 * CHUNK, "end", 3, GT_SET);
    assert_int_equal(view_pull(&v, 0), 0);
    assert_int_equal(view_ensure(&v, 0, 6 * CHUNK + 3), 0);
    assert_memory_equal(v.bytes + 6 * CHUNK, "end", 3);
    view_drop(&v);
    world_end();
}

/* ---- pushing ---- */

static void a_dirty_push_sends_what_was_written_and_nothing_else(void **state)
{
    (void)state;
    world_begin(18, BIG);
    pattern("k", 3 * CHUNK);
    struct view v = view_open(1, 10, "k", 0, RW);
    view_write(&v, 10, "abc", 3);
    view_write(&v, CHUNK - 1, "xy", 2);
    v.bytes[500] = 0xff; /* nobody said so */
    uint64_t sent = gt->commit_bytes;
    assert_int_equal(view_push(&v, STATE_PUSH_DIRTY), 2);
    assert_int_equal(gt->commit_bytes - sent, 5);
    assert_int_equal(last.reply.moved, 5);
    assert_int_not_equal(global("k")->bytes[500], 0xff);
    assert_int_equal(view_push(&v, STATE_PUSH_DIRTY), 2);
    assert_int_equal(view_push(&v, 0), 3);
    assert_int_equal(global("k")->bytes[500], 0xff);
    CHECK(view_ask(&v, STATE_OP_PUSH, 0, 3 * CHUNK + 1, 0), ATOLL_ERANGE);
    view_drop(&v);
    world_end();
}

static void a_tracked_value_finds_by_itself_what_was_written(void **state)
{
    (void)state;
    world_begin(19, BIG);
    pattern("k", 2 * CHUNK);
    struct view v = view_open(1, 10, "k", 0, RW | STATE_OPEN_TRACK);
    view_ensure(&v, 0, 2 * CHUNK);
    memcpy(v.bytes + CHUNK - 4, "tracked!", 8); /* over two words, and two chunks */
    uint64_t sent = gt->commit_bytes;
    assert_int_equal(view_push(&v, STATE_PUSH_DIRTY), 2);
    assert_int_equal(gt->commit_bytes - sent, 16);
    assert_memory_equal(global("k")->bytes + CHUNK - 4, "tracked!", 8);
    v.bytes[0]++;
    elsewhere_push("k", 8, "theirs", 6, GT_SET);
    assert_int_equal(view_pull(&v, 0), 0);
    assert_int_equal(v.bytes[0], 1); /* kept */
    assert_memory_equal(v.bytes + 8, "theirs", 6);
    assert_int_equal(view_push(&v, STATE_PUSH_DIRTY), 4);
    assert_int_equal(global("k")->bytes[0], 1);
    view_drop(&v);
    world_end();
}

static void a_failed_push_forgets_nothing(void **state)
{
    (void)state;
    world_begin(20, BIG);
    pattern("k", CHUNK);
    struct view v = view_open(1, 10, "k", 0, RW);
    assert_int_equal(view_merge(&v, 64, 8, GT_ADD_I64), 0);
    view_ensure(&v, 0, CHUNK);
    uint64_t was = load_u64(global("k")->bytes + 64);
    view_write(&v, 10, "abc", 3);
    store_u64(v.bytes + 64, load_u64(v.bytes + 64) + 5);
    gt->fail_commits = 1;
    CHECK(view_push(&v, STATE_PUSH_DIRTY), ATOLL_EUNAVAIL);
    assert_int_equal(view_push(&v, STATE_PUSH_DIRTY), 2);
    assert_memory_equal(global("k")->bytes + 10, "abc", 3);
    assert_int_equal(load_u64(global("k")->bytes + 64), was + 5);
    view_drop(&v);
    world_end();
}

static void what_is_written_during_a_push_is_pushed_by_the_next(void **state)
{
    (void)state;
    world_begin(21, BIG);
    pattern("k", CHUNK);
    struct view v = view_open(1, 10, "k", 0, RW);
    view_write(&v, 0, "one", 3);
    static struct asked push;
    ask_begin(1, 10, view_request(&v, STATE_OP_PUSH, 0, 0, STATE_PUSH_DIRTY), &push);
    assert_false(push.done);
    memcpy(v.bytes, "two", 3);
    view_ask(&v, STATE_OP_DIRTY, 0, 3, 0);
    world_settle();
    assert_int_equal(push.result, 2);
    assert_memory_equal(global("k")->bytes, "one", 3);
    assert_int_equal(view_push(&v, STATE_PUSH_DIRTY), 3);
    assert_memory_equal(global("k")->bytes, "two", 3);
    view_drop(&v);
    world_end();
}

static void more_written_ranges_than_are_known_are_never_pushed_in_part(void **state)
{
    (void)state;
    world_begin(22, BIG);
    pattern("k", 3 * CHUNK);
    struct view v = view_open(1, 10, "k", 0, RW);
    view_ensure(&v, 0, 3 * CHUNK);
    for (uint64_t i = 0; i < 65537; i++)
        view_ask(&v, STATE_OP_DIRTY, 2 * i, 1, 0);
    v.bytes[131072] = 0xee;
    CHECK(view_push(&v, STATE_PUSH_DIRTY), ATOLL_ELIMIT);
    CHECK(view_pull(&v, 0), ATOLL_ELIMIT);
    assert_int_equal(view_push(&v, 0), 2);
    assert_int_equal(global("k")->bytes[131072], 0xee);
    view_write(&v, 0, "x", 1);
    assert_int_equal(view_push(&v, STATE_PUSH_DIRTY), 3);
    view_drop(&v);
    world_end();
}

static void merge_rules_are_for_whole_operands_without_unpushed_bytes(void **state)
{
    (void)state;
    world_begin(23, BIG);
    pattern("k", 100);
    struct view v = view_open(1, 10, "k", 0, RW);
    view_ensure(&v, 0, 100);
    CHECK(view_merge(&v, 4, 8, GT_ADD_I64), ATOLL_EINVAL);
    CHECK(view_merge(&v, 0, 0, GT_ADD_F64), ATOLL_EINVAL);
    assert_int_equal(view_merge(&v, 0, 0, GT_ADD_I32), 0);
    CHECK(view_merge(&v, 104, 8, GT_ADD_I64), ATOLL_ERANGE);
    store_u32(v.bytes, load_u32(v.bytes) + 1);
    CHECK(view_merge(&v, 0, 8, GT_SET), ATOLL_EBUSY);
    assert_int_equal(view_push(&v, STATE_PUSH_DIRTY), 2);
    assert_int_equal(view_merge(&v, 0, 8, GT_SET), 0);
    view_write(&v, 0, "x", 1);
    CHECK(view_merge(&v, 0, 8, GT_ADD_I64), ATOLL_EBUSY);
    view_drop(&v);
    world_end();
}

static void a_value_has_a_bounded_number_of_merge_rules(void **state)
{
    (void)state;
    world_begin(24, BIG);
    pattern("k", 2 * CHUNK);
    struct view v = view_open(1, 10, "k", 0, RW);
    for (uint64_t i = 0; i < 4096; i++)
        assert_int_equal(view_merge(&v, 16 * i, 8, GT_ADD_I64), 0);
    CHECK(view_merge(&v, 16 * 4096, 8, GT_ADD_I64), ATOLL_ELIMIT);
    assert_int_equal(view_merge(&v, 0, 16 * 4096, GT_ADD_I64), 0);
    view_drop(&v);
    world_end();
}

/* ---- size ---- */

static void a_new_size_is_local_until_pushed_and_needs_an_unchanged_value_then(void **state)
{
    (void)state;
    world_begin(25, BIG);
    pattern("k", CHUNK + 100);
    struct view v = view_open(1, 10, "k", 0, RW);
    view_ensure(&v, 0, CHUNK + 100);
    assert_int_equal(view_ask(&v, STATE_OP_RESIZE, 0, 50, 0), 0);
    assert_int_equal(view_ask(&v, STATE_OP_RESIZE, 0, 3 * CHUNK, 0), 0);
    assert_int_equal(global("k")->size, CHUNK + 100);
    assert_int_equal(v.bytes[49], (uint8_t)(49 * 7));
    for (uint64_t i = 50; i < 3 * CHUNK; i++)
        assert_int_equal(v.bytes[i], 0);
    elsewhere_push("k", 0, "theirs", 6, GT_SET);
    CHECK(view_push(&v, 0), ATOLL_ESTALE);
    assert_int_equal(view_pull(&v, 0), 0);
    assert_int_equal(view_push(&v, 0), 3);
    assert_int_equal(global("k")->size, 3 * CHUNK);
    assert_memory_equal(global("k")->bytes, "theirs", 6);
    assert_int_equal(global("k")->bytes[60], 0);
    view_drop(&v);
    world_end();
}

static void bytes_of_a_mapping_that_are_cut_off_become_zero_and_stay_readable(void **state)
{
    (void)state;
    world_begin(26, BIG);
    pattern("k", 4 * CHUNK);
    struct view v = view_open(1, 10, "k", 0, RW), w = view_open(1, 11, "k", 0, RW);
    view_ensure(&v, 0, 4 * CHUNK);
    assert_int_not_equal(w.bytes[3 * CHUNK], 0);
    assert_int_equal(view_ask(&v, STATE_OP_RESIZE, 0, 10, 0), 0);
    assert_int_equal(w.bytes[3 * CHUNK], 0);
    assert_int_equal(w.bytes[10], 0);
    view_drop(&v);
    view_drop(&w);
    world_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_missing_chunks_of_a_range_are_pulled),
        cmocka_unit_test(calls_that_want_the_same_chunk_share_one_pull),
        cmocka_unit_test(a_pull_that_fails_tells_everybody_who_waited_and_can_be_tried_again),
        cmocka_unit_test(a_slot_says_size_version_and_whether_all_is_here),
        cmocka_unit_test(a_pull_refreshes_what_is_old_and_keeps_what_was_written_here),
        cmocka_unit_test(a_pull_follows_the_global_size_and_unchanged_chunks_are_not_moved),
        cmocka_unit_test(a_dirty_push_sends_what_was_written_and_nothing_else),
        cmocka_unit_test(a_tracked_value_finds_by_itself_what_was_written),
        cmocka_unit_test(a_failed_push_forgets_nothing),
        cmocka_unit_test(what_is_written_during_a_push_is_pushed_by_the_next),
        cmocka_unit_test(more_written_ranges_than_are_known_are_never_pushed_in_part),
        cmocka_unit_test(merge_rules_are_for_whole_operands_without_unpushed_bytes),
        cmocka_unit_test(a_value_has_a_bounded_number_of_merge_rules),
        cmocka_unit_test(a_new_size_is_local_until_pushed_and_needs_an_unchanged_value_then),
        cmocka_unit_test(bytes_of_a_mapping_that_are_cut_off_become_zero_and_stay_readable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
