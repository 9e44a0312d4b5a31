/* The operations of the local tier, one by one, and their errors. */
#define _GNU_SOURCE
#include "state_world.h"

#include <sys/resource.h>

#define BIG (1ull << 30)

/* ---- open ---- */

static void a_created_value_is_zero_and_becomes_global_with_its_first_push(void **state)
{
    (void)state;
    world_begin(1, BIG);
    struct view v = view_open(1, 10, "k", 100, NEW);
    assert_int_equal(last.reply.size, 100);
    assert_int_equal(last.reply.version, 0);
    for (int i = 0; i < 100; i++)
        assert_int_equal(v.bytes[i], 0);
    assert_false(global("k")->exists);
    view_write(&v, 3, "abc", 3);
    assert_int_equal(view_push(&v, STATE_PUSH_DIRTY), 1);
    assert_int_equal(global("k")->size, 100);
    assert_memory_equal(global("k")->bytes + 3, "abc", 3);
    view_drop(&v);
    world_end();
}

static void a_value_that_does_not_exist_is_opened_only_to_create_it(void **state)
{
    (void)state;
    world_begin(2, BIG);
    struct view v;
    CHECK(view_open_as(&v, 1, 10, "k", 0, STATE_OPEN_READ), ATOLL_ENOENT);
    elsewhere_push("k", 0, "hello", 5, GT_SET);
    v = view_open(1, 10, "k", 0, STATE_OPEN_READ);
    assert_int_equal(last.reply.size, 5);
    assert_int_equal(last.reply.version, 1);
    view_drop(&v);
    world_end();
}

static void an_open_with_another_size_is_refused_unless_it_truncates(void **state)
{
    (void)state;
    world_begin(3, BIG);
    struct view v, w;
    elsewhere_push("k", 0, "hello", 5, GT_SET);
    CHECK(view_open_as(&v, 1, 10, "k", 6, RW), ATOLL_ESIZE);
    v = view_open(1, 10, "k", 5, RW);
    assert_int_equal(view_ensure(&v, 0, 5), 0);
    assert_memory_equal(v.bytes, "hello", 5);
    w = view_open(1, 11, "k", 6, RW | STATE_OPEN_TRUNCATE);
    assert_int_equal(last.reply.size, 6);
    assert_memory_equal(v.bytes, "\0\0\0\0\0\0", 6);
    assert_int_equal(view_push(&w, STATE_PUSH_DIRTY), 2);
    assert_int_equal(global("k")->size, 6);
    assert_memory_equal(global("k")->bytes, "\0\0\0\0\0\0", 6);
    view_drop(&v);
    view_drop(&w);
    world_end();
}

static void of_two_creators_one_wins_and_the_exclusive_loser_hears_it(void **state)
{
    (void)state;
    world_begin(4, BIG);
    static struct asked a, b;
    struct state_request r = {.op = STATE_OP_OPEN,
                              .key = (const uint8_t *)"k",
                              .key_len = 1,
                              .len = 8,
                              .flags = NEW | STATE_OPEN_EXCLUSIVE};
    ask_begin(1, 10, r, &a);
    ask_begin(2, 20, r, &b);
    world_settle();
    assert_true(a.done && b.done);
    assert_int_equal(a.result, 0);
    CHECK(b.result, ATOLL_EEXIST);
    close(a.fd);
    world_end();
}

static void an_exclusive_creation_that_lost_against_another_node_hears_it_at_its_push(void **state)
{
    (void)state;
    world_begin(5, BIG);
    struct view v = view_open(1, 10, "k", 8, NEW | STATE_OPEN_EXCLUSIVE);
    elsewhere_push("k", 0, "theirs", 6, GT_SET);
    view_write(&v, 0, "ours", 4);
    CHECK(view_push(&v, 0), ATOLL_EEXIST);
    assert_memory_equal(global("k")->bytes, "theirs", 6);
    view_drop(&v);
    world_end();
}

static void open_refuses_flags_that_make_no_sense_together(void **state)
{
    (void)state;
    world_begin(6, BIG);
    struct view v;
    CHECK(view_open_as(&v, 1, 10, "k", 8, STATE_OPEN_CREATE), ATOLL_EINVAL);
    CHECK(view_open_as(&v, 1, 10, "k", 8, STATE_OPEN_READ | STATE_OPEN_CREATE), ATOLL_EPERM);
    CHECK(view_open_as(&v, 1, 10, "k", 8, STATE_OPEN_READ | STATE_OPEN_TRUNCATE), ATOLL_EPERM);
    CHECK(view_open_as(&v, 1, 10, "k", 8, RW | STATE_OPEN_EXCLUSIVE), ATOLL_EINVAL);
    CHECK(view_open_as(&v, 1, 10, "k", 8, NEW | STATE_OPEN_LAZY), ATOLL_ENOSYS);
    CHECK(view_open_as(&v, 1, 10, "@", 8, NEW), ATOLL_EINVAL);
    CHECK(view_open_as(&v, 1, 10, "@other/", 8, NEW), ATOLL_EINVAL);
    char key[STATE_KEY_MAX + 2];
    memset(key, 'k', sizeof key);
    key[STATE_KEY_MAX + 1] = 0;
    CHECK(view_open_as(&v, 1, 10, key, 8, NEW), ATOLL_EINVAL);
    key[STATE_KEY_MAX] = 0;
    v = view_open(1, 10, key, 8, NEW);
    view_drop(&v);
    world_end();
}

static void a_value_local_to_the_node_never_reaches_the_store(void **state)
{
    (void)state;
    world_begin(7, BIG);
    struct view v = view_open(1, 10, "k", 8, NEW | STATE_OPEN_LOCAL), w;
    assert_int_equal(gt->reads, 0);
    view_write(&v, 0, "local", 5);
    CHECK(view_push(&v, 0), ATOLL_EINVAL);
    assert_int_equal(view_pull(&v, 0), 0);
    CHECK(view_lock(&v, GT_LOCK_WRITE, STATE_SCOPE_GLOBAL, 0), ATOLL_EINVAL);
    state_call_ended(tier, 1, 10);
    w = view_open(2, 20, "k", 0, RW);
    assert_memory_equal(w.bytes, "local", 5);
    assert_int_equal(gt->reads + gt->commits, 0);
    elsewhere_push("global", 0, "g", 1, GT_SET);
    struct view g = view_open(1, 11, "global", 0, RW), x;
    CHECK(view_open_as(&x, 1, 11, "global", 0, RW | STATE_OPEN_LOCAL), ATOLL_ETYPE);
    view_drop(&v);
    view_drop(&w);
    view_drop(&g);
    world_end();
}

static void a_handle_of_another_call_or_a_closed_one_is_no_handle(void **state)
{
    (void)state;
    world_begin(8, BIG);
    struct view v = view_open(1, 10, "k", 8, NEW), stranger = v;
    stranger.call = 11;
    CHECK(view_ensure(&stranger, 0, 8), ATOLL_EBADF);
    stranger.call = 10;
    stranger.worker = 2;
    CHECK(view_ensure(&stranger, 0, 8), ATOLL_EBADF);
    stranger = v;
    stranger.gen++;
    CHECK(view_ensure(&stranger, 0, 8), ATOLL_EBADF);
    view_ask(&v, STATE_OP_CLOSE, 0, 0, 0);
    CHECK(view_ensure(&v, 0, 8), ATOLL_EBADF);
    view_drop(&v);
    world_end();
}

static void writing_needs_a_handle_for_writing(void **state)
{
    (void)state;
    world_begin(9, BIG);
    elsewhere_push("k", 0, "hello", 5, GT_SET);
    struct view v = view_open(1, 10, "k", 0, STATE_OPEN_READ);
    CHECK(view_push(&v, 0), ATOLL_EPERM);
    CHECK(view_ask(&v, STATE_OP_RESIZE, 0, 9, 0), ATOLL_EPERM);
    CHECK(view_ask(&v, STATE_OP_CLEAR, 0, 0, 0), ATOLL_EPERM);
    CHECK(view_merge(&v, 0, 0, GT_XOR), ATOLL_EPERM);
    view_drop(&v);
    world_end();
}

static void a_call_has_a_bounded_number_of_values_open(void **state)
{
    (void)state;
    world_begin(10, BIG);
    char key[16];
    for (uint32_t i = 0; i <= STATE_CALL_OPENS_MAX; i++) {
        snprintf(key, sizeof key, "k%u", i);
        struct view v;
        int64_t result = view_open_as(&v, 1, 10, key, 8, NEW | STATE_OPEN_LOCAL);
        if (i < STATE_CALL_OPENS_MAX)
            assert_int_equal(result, 0);
        else
            CHECK(result, ATOLL_ELIMIT);
        view_drop(&v);
    }
    world_end();
}

/* ---- other tenants ---- */

static void keys_of_others_need_a_grant(void **state)
{
    (void)state;
    world_begin(11, BIG);
    struct view theirs = view_open(3, 30, "k", 8, NEW), v;
    view_write(&theirs, 0, "theirs", 6);
    CHECK(view_open_as(&v, 1, 10, "@other/k", 0, STATE_OPEN_READ), ATOLL_EPERM);
    CHECK(view_open_as(&v, 1, 10, "@other/absent", 0, STATE_OPEN_READ), ATOLL_EPERM);
    CHECK(key_ask(1, 10, STATE_OP_DELETE, "@other/k"), ATOLL_EPERM);
    grants = STATE_GRANT_READ;
    CHECK(view_open_as(&v, 1, 10, "@other/k", 0, RW), ATOLL_EPERM);
    v = view_open(1, 10, "@other/k", 0, STATE_OPEN_READ);
    assert_memory_equal(v.bytes, "theirs", 6);
    /* What came is a descriptor that cannot write, not only a promise. */
    assert_true(mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, v.fd, 0) == MAP_FAILED);
    CHECK(view_lock(&v, GT_LOCK_READ, STATE_SCOPE_NODE, 0), ATOLL_EPERM);
    grants = STATE_GRANT_ALL;
    struct view w = view_open(1, 11, "@other/k", 0, RW);
    w.bytes[0] = 'T';
    assert_int_equal(theirs.bytes[0], 'T');
    assert_int_equal(view_lock(&w, GT_LOCK_WRITE, STATE_SCOPE_NODE, 0), 0);
    assert_int_equal(key_ask(1, 11, STATE_OP_DELETE, "@other/k"), 0);
    view_drop(&v);
    view_drop(&w);
    view_drop(&theirs);
    world_end();
}

/* ---- pulling ---- */

static void pattern(const char *key, uint64_t size)
{
    uint8_t *bytes = malloc(size);
    for (uint64_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(i * 7 + i / CHUNK);
    elsewhere_push(key, 0, bytes, size, GT_SET);
    free(bytes);
}

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
    assert_int_equal(view_ensure(&v, CHUNK, 2 * CHUNK), 0);
    assert_int_equal(last.reply.moved, 0);
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

/* ---- delete ---- */

static void a_deleted_value_is_stale_for_its_handles_and_new_for_the_next(void **state)
{
    (void)state;
    world_begin(27, BIG);
    pattern("k", 100);
    struct view v = view_open(1, 10, "k", 0, RW), w;
    view_ensure(&v, 0, 100);
    uint8_t first = v.bytes[1];
    assert_int_equal(key_ask(2, 20, STATE_OP_DELETE, "k"), 0);
    assert_false(global("k")->exists);
    CHECK(key_ask(2, 20, STATE_OP_DELETE, "k"), ATOLL_ENOENT);
    CHECK(view_push(&v, 0), ATOLL_ESTALE);
    CHECK(view_pull(&v, 0), ATOLL_ESTALE);
    CHECK(view_ensure(&v, 0, 1), ATOLL_ESTALE);
    assert_int_equal(v.bytes[1], first); /* what is mapped stays readable */
    w = view_open(1, 10, "k", 8, NEW);
    assert_int_equal(w.bytes[1], 0);
    assert_int_equal(view_push(&w, 0), 1);
    view_drop(&v);
    view_drop(&w);
    world_end();
}

static void a_value_deleted_elsewhere_is_found_out_at_the_next_pull_or_push(void **state)
{
    (void)state;
    world_begin(28, BIG);
    for (int push = 0; push < 2; push++) {
        pattern("k", 100);
        struct view v = view_open(1, 10, "k", 0, RW);
        view_write(&v, 0, "x", 1);
        elsewhere_delete("k");
        if (push)
            elsewhere_push("k", 0, "made again", 10, GT_SET);
        CHECK(push ? view_push(&v, 0) : view_pull(&v, 0), ATOLL_ESTALE);
        CHECK(view_push(&v, 0), ATOLL_ESTALE);
        state_call_ended(tier, 1, 10);
        view_drop(&v);
    }
    assert_memory_equal(global("k")->bytes, "made again", 10);
    world_end();
}

static void deleting_what_was_never_pushed_succeeds(void **state)
{
    (void)state;
    world_begin(29, BIG);
    struct view v = view_open(1, 10, "k", 8, NEW),
                l = view_open(1, 10, "l", 8, NEW | STATE_OPEN_LOCAL);
    assert_int_equal(key_ask(1, 10, STATE_OP_DELETE, "k"), 0);
    assert_int_equal(key_ask(1, 10, STATE_OP_DELETE, "l"), 0);
    CHECK(key_ask(1, 10, STATE_OP_DELETE, "l"), ATOLL_ENOENT);
    view_drop(&v);
    view_drop(&l);
    world_end();
}

/* ---- entries, lists, versions, objects ---- */

static int64_t append(const struct view *v, const char *text)
{
    struct state_request r = view_request(v, STATE_OP_APPEND, 0, 0, 0);
    r.data = (const uint8_t *)text;
    r.data_len = (uint32_t)strlen(text);
    return ask(v->worker, v->call, r, &last);
}

static int64_t entries(const struct view *v, uint64_t from, uint32_t max, uint64_t cap)
{
    struct state_request r = view_request(v, STATE_OP_ENTRIES, from, cap, 0);
    r.number = max;
    return ask(v->worker, v->call, r, &last);
}

static void entries_have_dense_indices_and_come_back_whole(void **state)
{
    (void)state;
    world_begin(30, BIG);
    struct view v = view_open(1, 10, "log", 0, NEW);
    assert_int_equal(entries(&v, 0, 10, 100), 0);
    assert_int_equal(append(&v, "first"), 0);
    assert_int_equal(append(&v, ""), 1);
    assert_int_equal(append(&v, "third"), 2);
    assert_int_equal(entries(&v, 0, 10, 9), 2);
    assert_memory_equal(last.data, "first", 5);
    assert_int_equal(last.lens[0], 5);
    assert_int_equal(last.lens[1], 0);
    CHECK(entries(&v, 2, 10, 4), ATOLL_ESIZE);
    assert_int_equal(last.reply.number, 5);
    assert_int_equal(entries(&v, 3, 10, 4), 0);
    assert_int_equal(view_ask(&v, STATE_OP_CLEAR, 0, 0, 0), 0);
    assert_int_equal(append(&v, "again"), 0);
    assert_int_equal(view_push(&v, STATE_PUSH_DIRTY), 1); /* the value itself, of no bytes */
    view_drop(&v);
    world_end();
}

static void keys_are_listed_in_the_order_of_their_bytes(void **state)
{
    (void)state;
    world_begin(31, BIG);
    const char *keys[] = {"b/2", "a", "b/1", "c", "b/10"};
    for (int i = 0; i < 5; i++)
        elsewhere_push(keys[i], 0, "x", 1, GT_SET);
    struct state_request r = {
        .op = STATE_OP_LIST, .key = (const uint8_t *)"b/", .key_len = 2, .len = 100};
    assert_int_equal(ask(1, 10, r, &last), 13);
    assert_memory_equal(last.data, "b/1\0b/10\0b/2\0", 13);
    r.len = 4;
    assert_int_equal(ask(1, 10, r, &last), 4);
    r.data = (const uint8_t *)"b/1";
    r.data_len = 3;
    CHECK(ask(1, 10, r, &last), ATOLL_ESIZE);
    r.len = 5;
    assert_int_equal(ask(1, 10, r, &last), 5);
    assert_memory_equal(last.data, "b/10\0", 5);
    world_end();
}

static void the_global_version_is_asked_for(void **state)
{
    (void)state;
    world_begin(32, BIG);
    pattern("k", 10);
    struct view v = view_open(1, 10, "k", 0, STATE_OPEN_READ);
    elsewhere_push("k", 0, "x", 1, GT_SET);
    assert_int_equal(view_ask(&v, STATE_OP_VERSION, 0, 0, 0), 2);
    elsewhere_delete("k");
    CHECK(view_ask(&v, STATE_OP_VERSION, 0, 0, 0), ATOLL_ESTALE);
    struct view n = view_open(1, 10, "new", 4, NEW);
    assert_int_equal(view_ask(&n, STATE_OP_VERSION, 0, 0, 0), 0);
    view_drop(&v);
    view_drop(&n);
    world_end();
}

static void objects_are_passed_on_to_the_store(void **state)
{
    (void)state;
    world_begin(33, BIG);
    struct state_request r = {
        .op = STATE_OP_OBJECT_OPEN, .key = (const uint8_t *)"c", .key_len = 1, .mode = GT_COUNTER};
    assert_int_equal(ask(1, 10, r, &last), 0);
    r.mode = GT_MAP;
    CHECK(ask(1, 10, r, &last), ATOLL_ETYPE);
    r = (struct state_request){.op = STATE_OP_OBJECT,
                               .key = (const uint8_t *)"c",
                               .key_len = 1,
                               .mode = GT_COUNTER,
                               .number = GT_COUNTER_ADD,
                               .a = -3,
                               .len = 8};
    assert_int_equal(ask(1, 10, r, &last), 0);
    assert_int_equal((int64_t)last.reply.number, -3);
    assert_int_equal((int64_t)load_u64(last.data), -3);
    r.number = 77;
    CHECK(ask(1, 10, r, &last), ATOLL_EAGAIN);
    r.timeout_ns = 5;
    CHECK(ask(1, 10, r, &last), ATOLL_ENOSYS);
    r.key = (const uint8_t *)"@other/c";
    r.key_len = 8;
    CHECK(ask(1, 10, r, &last), ATOLL_EPERM);
    state_call_ended(tier, 1, 10);
    assert_int_equal(gt->owners_ended, 1);
    world_end();
}

/* ---- room ---- */

static void values_that_nobody_uses_make_room_the_oldest_first(void **state)
{
    (void)state;
    world_begin(34, 4 * CHUNK);
    char key[8];
    for (int i = 0; i < 4; i++) {
        snprintf(key, sizeof key, "k%d", i);
        pattern(key, CHUNK);
        struct view v = view_open(1, 10 + (uint64_t)i, key, 0, RW);
        view_ensure(&v, 0, CHUNK);
        if (i != 1) /* stays in use */
            state_call_ended(tier, 1, 10 + (uint64_t)i);
        view_drop(&v);
    }
    uint64_t bytes = gt->read_bytes;
    struct view v = view_open(1, 50, "new", 2 * CHUNK, NEW);
    struct state_counters c;
    state_counters(tier, &c);
    assert_int_equal(c.evictions, 2);
    assert_int_equal(c.local_bytes, 4 * CHUNK);
    struct view k1 = view_open(1, 51, "k1", 0, STATE_OPEN_READ);
    struct view k3 = view_open(1, 51, "k3", 0, STATE_OPEN_READ);
    assert_int_equal(view_ensure(&k1, 0, CHUNK), 0);
    assert_int_equal(view_ensure(&k3, 0, CHUNK), 0);
    assert_int_equal(gt->read_bytes, bytes);
    /* All in use now. */
    struct view k0 = view_open(1, 51, "k0", 0, STATE_OPEN_READ), x;
    CHECK(view_ensure(&k0, 0, CHUNK), ATOLL_ENOMEM);
    CHECK(view_open_as(&x, 1, 51, "huge", BIG, NEW), ATOLL_ENOMEM);
    view_drop(&v);
    view_drop(&k0);
    view_drop(&k1);
    view_drop(&k3);
    world_end();
}

static void what_was_not_pushed_is_pushed_before_it_goes(void **state)
{
    (void)state;
    world_begin(35, 4 * CHUNK);
    struct view v = view_open(1, 10, "k", 3 * CHUNK, NEW);
    memcpy(v.bytes, "unmarked", 8); /* of a value that is new, all is news */
    state_call_ended(tier, 1, 10);
    struct view w = view_open(1, 11, "w", 2 * CHUNK, NEW);
    assert_memory_equal(global("k")->bytes, "unmarked", 8);
    struct state_counters c;
    state_counters(tier, &c);
    assert_int_equal(c.evictions, 1);
    view_drop(&v);
    view_drop(&w);
    world_end();
}

static void what_cannot_be_pushed_stays_and_the_newcomer_is_refused(void **state)
{
    (void)state;
    world_begin(36, 4 * CHUNK);
    struct view v = view_open(1, 10, "k", 3 * CHUNK, NEW), w;
    view_write(&v, 0, "precious", 8);
    state_call_ended(tier, 1, 10);
    view_drop(&v);
    gt->fail_commits = 1;
    CHECK(view_open_as(&w, 1, 11, "w", 2 * CHUNK, NEW), ATOLL_ENOMEM);
    v = view_open(1, 12, "k", 0, RW);
    assert_memory_equal(v.bytes, "precious", 8);
    state_call_ended(tier, 1, 12);
    w = view_open(1, 13, "w", 2 * CHUNK, NEW);
    assert_memory_equal(global("k")->bytes, "precious", 8);
    view_drop(&v);
    view_drop(&w);
    world_end();
}

static void when_descriptors_run_out_idle_values_give_theirs_up(void **state)
{
    (void)state;
    world_begin(43, BIG);
    struct rlimit before, few;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    int lowest = dup(0);
    close(lowest);
    few = before;
    few.rlim_cur = (rlim_t)lowest + 10;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    for (uint64_t i = 0; i < 200; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%llu", (unsigned long long)i % 40);
        struct gt_key k = global_key(key);
        double_find(gt, &k)->exists = true;
        struct state_request r = {.op = STATE_OP_OPEN,
                                  .key = (const uint8_t *)key,
                                  .key_len = (uint32_t)strlen(key),
                                  .flags = RW};
        assert_int_equal(ask(1, 1000 + i, r, &last), 0);
        if (last.fd >= 0)
            close(last.fd);
        state_call_ended(tier, 1, 1000 + i);
    }
    struct state_counters c;
    state_counters(tier, &c);
    assert_true(c.evictions > 0);
    setrlimit(RLIMIT_NOFILE, &before);
    world_end();
}

static uint64_t refused;

static void count_refusals(void *context, const struct state_answer *a)
{
    (void)context;
    refused += a->result == -ATOLL_ELIMIT;
}

static void a_worker_has_a_bounded_number_of_requests_waiting(void **state)
{
    (void)state;
    world_begin(44, BIG);
    struct state_request r = {
        .op = STATE_OP_OPEN, .key = (const uint8_t *)"k", .key_len = 1, .flags = NEW};
    refused = 0;
    for (uint32_t i = 0; i < STATE_REQUESTS_MAX + 3; i++)
        state_submit(tier, (struct state_client){1, 1 + i % 7}, &r, count_refusals, NULL);
    assert_int_equal(refused, 3);
    state_submit(tier, (struct state_client){2, 1}, &r, count_refusals, NULL);
    assert_int_equal(refused, 3); /* another worker is none the worse */
    world_settle();
    state_submit(tier, (struct state_client){1, 1}, &r, count_refusals, NULL);
    assert_int_equal(refused, 3);
    world_end();
}

/* ---- ends ---- */

static void when_a_worker_dies_unpushed_bytes_go_and_local_values_stay(void **state)
{
    (void)state;
    world_begin(37, BIG);
    pattern("k", CHUNK);
    struct view v = view_open(1, 10, "k", 0, RW);
    struct view l = view_open(1, 10, "l", 8, NEW | STATE_OPEN_LOCAL);
    struct view n = view_open(1, 10, "n", 8, NEW);
    struct view r = view_open(1, 10, "read", 8, NEW);
    assert_int_equal(view_push(&r, 0), 1);
    view_write(&v, 0, "unpushed", 8);
    view_write(&l, 0, "local", 5);
    view_write(&n, 0, "new", 3);
    assert_int_equal(view_lock(&l, GT_LOCK_WRITE, STATE_SCOPE_NODE, 0), 0);
    state_worker_lost(tier, 1);
    view_drop(&v);
    view_drop(&l);
    v = view_open(2, 20, "k", 0, RW);
    view_ensure(&v, 0, CHUNK);
    assert_int_equal(v.bytes[0], 0);
    assert_int_equal(v.bytes[1], 7);
    l = view_open(2, 20, "l", 0, RW);
    assert_memory_equal(l.bytes, "local", 5);
    assert_int_equal(view_lock(&l, GT_LOCK_WRITE, STATE_SCOPE_NODE, 0), 0);
    struct view gone;
    CHECK(view_open_as(&gone, 2, 20, "n", 0, RW), ATOLL_ENOENT);
    view_drop(&v);
    view_drop(&l);
    view_drop(&n);
    view_drop(&r);
    world_end();
}

static void others_that_had_the_dead_workers_value_open_see_it_as_it_is_globally(void **state)
{
    (void)state;
    world_begin(38, BIG);
    pattern("k", CHUNK);
    struct view v = view_open(1, 10, "k", 0, RW), w = view_open(2, 20, "k", 0, RW);
    view_write(&v, 0, "unpushed", 8);
    v.bytes[100] = 0xee; /* wild */
    state_worker_lost(tier, 1);
    world_settle();
    assert_int_equal(w.bytes[0], 0);
    assert_int_equal(w.bytes[1], 7);
    assert_int_equal(w.bytes[100], (uint8_t)(100 * 7));
    view_write(&w, 0, "next", 4);
    assert_int_equal(view_push(&w, STATE_PUSH_DIRTY), 2);
    view_drop(&v);
    view_drop(&w);
    world_end();
}

static void a_call_that_ends_leaves_nothing_waiting(void **state)
{
    (void)state;
    world_begin(39, BIG);
    pattern("k", CHUNK);
    struct view v = view_open(1, 10, "k", 0, RW), w = view_open(1, 11, "k", 0, RW);
    assert_int_equal(view_lock(&v, GT_LOCK_WRITE, STATE_SCOPE_NODE, 0), 0);
    static struct asked lock, ensure, push, open;
    ask_begin(1, 11, view_lock_request(&w, GT_LOCK_WRITE, STATE_SCOPE_NODE, UINT64_MAX), &lock);
    ask_begin(1, 11, view_request(&w, STATE_OP_ENSURE, 0, CHUNK, 0), &ensure);
    ask_begin(1, 11, view_request(&w, STATE_OP_PUSH, 0, 0, 0), &push);
    ask_begin(1, 11,
              (struct state_request){.op = STATE_OP_OPEN,
                                     .key = (const uint8_t *)"other",
                                     .key_len = 5,
                                     .flags = NEW,
                                     .len = 1},
              &open);
    state_call_ended(tier, 1, 11);
    CHECK(lock.result, ATOLL_ECANCELED);
    CHECK(ensure.result, ATOLL_ECANCELED);
    CHECK(open.result, ATOLL_ECANCELED);
    world_settle();
    assert_true(push.done);
    struct state_counters c;
    state_counters(tier, &c);
    assert_int_equal(c.waiting, 0);
    assert_int_equal(view_unlock(&v, STATE_SCOPE_NODE), 0);
    view_drop(&v);
    view_drop(&w);
    world_end();
}

static void closing_with_regions_left_keeps_the_bytes_and_frees_the_locks(void **state)
{
    (void)state;
    world_begin(40, 2 * CHUNK);
    struct view v = view_open(1, 10, "k", 2 * CHUNK, NEW), w, x;
    assert_int_equal(view_push(&v, 0), 1);
    assert_int_equal(view_lock(&v, GT_LOCK_WRITE, STATE_SCOPE_NODE, 0), 0);
    view_ask(&v, STATE_OP_CLOSE, 0, 0, STATE_CLOSE_MAPPED);
    CHECK(view_open_as(&x, 1, 11, "x", CHUNK, NEW), ATOLL_ENOMEM);
    w = view_open(1, 11, "k", 0, RW);
    assert_int_equal(view_lock(&w, GT_LOCK_WRITE, STATE_SCOPE_NODE, 0), 0);
    view_ask(&w, STATE_OP_CLOSE, 0, 0, 0);
    view_ask(&v, STATE_OP_CLOSE, 0, 0, 0);
    x = view_open(1, 11, "x", CHUNK, NEW);
    view_drop(&v);
    view_drop(&w);
    view_drop(&x);
    world_end();
}

static void a_worker_that_never_joined_is_answered_all_the_same(void **state)
{
    (void)state;
    world_begin(41, BIG);
    CHECK(key_ask(9, 1, STATE_OP_DELETE, "k"), ATOLL_ECANCELED);
    struct error e;
    CHECK(state_worker_join(tier, 1, "acme", &e), ATOLL_EEXIST);
    CHECK(state_worker_join(tier, 9, "Acme", &e), ATOLL_EINVAL);
    CHECK(state_worker_join(tier, 9, "-acme", &e), ATOLL_EINVAL);
    state_worker_lost(tier, 1);
    CHECK(key_ask(1, 1, STATE_OP_DELETE, "k"), ATOLL_ECANCELED);
    assert_int_equal(state_worker_join(tier, 1, "acme", &e), 0);
    CHECK(key_ask(1, 1, STATE_OP_DELETE, "k"), ATOLL_ENOENT);
    world_end();
}

/* ---- the supervisor's own changes ---- */

struct committed {
    bool done;
    int code;
    uint64_t version;
};

static void committed(void *context, const struct gt_result *r)
{
    *(struct committed *)context = (struct committed){true, r->code, r->version};
}

static void a_change_from_outside_is_seen_by_who_opens_next_and_by_who_has_it_open(void **state)
{
    (void)state;
    world_begin(42, BIG);
    pattern("k", 10);
    struct view v = view_open(1, 10, "k", 0, RW);
    view_ensure(&v, 0, 10);
    for (int open = 1; open >= 0; open--) {
        struct gt_key key = global_key("k");
        struct gt_range range = {0, open ? "outside 1" : "outside 2", 9, GT_SET};
        struct gt_commit commit = {
            .expect_version = GT_VERSION_ANY, .size = 9, .range_count = 1, .ranges = &range};
        struct committed c = {0};
        struct error e;
        assert_int_equal(state_commit(tier, &key, &commit, (struct gt_callback){committed, &c}, &e),
                         0);
        world_settle();
        assert_true(c.done);
        assert_int_equal(c.code, 0);
        if (open)
            assert_memory_equal(v.bytes, "outside 1", 9);
        state_call_ended(tier, 1, 10);
    }
    struct view w = view_open(1, 11, "k", 9, RW);
    view_ensure(&w, 0, 9);
    assert_memory_equal(w.bytes, "outside 2", 9);
    struct gt_key key = global_key("k");
    struct committed c = {0};
    struct error e;
    assert_int_equal(state_delete(tier, &key, 0, (struct gt_callback){committed, &c}, &e), 0);
    world_settle();
    assert_true(c.done && !c.code);
    CHECK(view_pull(&w, 0), ATOLL_ESTALE);
    view_drop(&v);
    view_drop(&w);
    world_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_created_value_is_zero_and_becomes_global_with_its_first_push),
        cmocka_unit_test(a_value_that_does_not_exist_is_opened_only_to_create_it),
        cmocka_unit_test(an_open_with_another_size_is_refused_unless_it_truncates),
        cmocka_unit_test(of_two_creators_one_wins_and_the_exclusive_loser_hears_it),
        cmocka_unit_test(an_exclusive_creation_that_lost_against_another_node_hears_it_at_its_push),
        cmocka_unit_test(open_refuses_flags_that_make_no_sense_together),
        cmocka_unit_test(a_value_local_to_the_node_never_reaches_the_store),
        cmocka_unit_test(a_handle_of_another_call_or_a_closed_one_is_no_handle),
        cmocka_unit_test(writing_needs_a_handle_for_writing),
        cmocka_unit_test(a_call_has_a_bounded_number_of_values_open),
        cmocka_unit_test(keys_of_others_need_a_grant),
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
        cmocka_unit_test(a_deleted_value_is_stale_for_its_handles_and_new_for_the_next),
        cmocka_unit_test(a_value_deleted_elsewhere_is_found_out_at_the_next_pull_or_push),
        cmocka_unit_test(deleting_what_was_never_pushed_succeeds),
        cmocka_unit_test(entries_have_dense_indices_and_come_back_whole),
        cmocka_unit_test(keys_are_listed_in_the_order_of_their_bytes),
        cmocka_unit_test(the_global_version_is_asked_for),
        cmocka_unit_test(objects_are_passed_on_to_the_store),
        cmocka_unit_test(values_that_nobody_uses_make_room_the_oldest_first),
        cmocka_unit_test(what_was_not_pushed_is_pushed_before_it_goes),
        cmocka_unit_test(what_cannot_be_pushed_stays_and_the_newcomer_is_refused),
        cmocka_unit_test(when_descriptors_run_out_idle_values_give_theirs_up),
        cmocka_unit_test(a_worker_has_a_bounded_number_of_requests_waiting),
        cmocka_unit_test(when_a_worker_dies_unpushed_bytes_go_and_local_values_stay),
        cmocka_unit_test(others_that_had_the_dead_workers_value_open_see_it_as_it_is_globally),
        cmocka_unit_test(a_call_that_ends_leaves_nothing_waiting),
        cmocka_unit_test(closing_with_regions_left_keeps_the_bytes_and_frees_the_locks),
        cmocka_unit_test(a_worker_that_never_joined_is_answered_all_the_same),
        cmocka_unit_test(a_change_from_outside_is_seen_by_who_opens_next_and_by_who_has_it_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
