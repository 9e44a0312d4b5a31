/* Values of the local tier from their first open to their end: who may open them, and deletion. */
#define _GNU_SOURCE
#include "state_world.h"

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
        cmocka_unit_test(a_deleted_value_is_stale_for_its_handles_and_new_for_the_next),
        cmocka_unit_test(a_value_deleted_elsewhere_is_found_out_at_the_next_pull_or_push),
        cmocka_unit_test(deleting_what_was_never_pushed_succeeds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
