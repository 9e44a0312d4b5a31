/* What the local tier keeps beside bytes of values, and what it gives up when room or owners go. */
#define _GNU_SOURCE
#include "state_world.h"

#include <sys/resource.h>

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
