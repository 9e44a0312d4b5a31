/* What the store keeps beside values: entries, lists, watches, records (src/store). */
#define _GNU_SOURCE
#include "store_calls.h"

/* ---- entries ---- */

static void entries_have_dense_indices_until_cleared(void **state)
{
    (void)state;
    struct gt_key k = key_of("log");
    char text[16];
    for (int i = 0; i < 50; i++) {
        int len = snprintf(text, sizeof text, "entry %d", i);
        assert_int_equal(GT(append, &k, text, (size_t)len, i == 49 ? GT_DURABLE : 0), 0);
        assert_int_equal(last.result.value, i);
    }
    assert_int_equal(last.result.entries, 50);
    assert_int_equal(last.result.version, 0);
    assert_int_equal(GT(entries, &k, 8, 3, 1000), 0);
    assert_int_equal(last.result.count, 3);
    assert_int_equal(last.result.len, 7 + 7 + 8);
    assert_memory_equal(last.result.data, "entry 8entry 9entry 10", 22);
    assert_int_equal(last.result.lens[2], 8);
    assert_int_equal(GT(entries, &k, 48, 10, 1000), 0);
    assert_int_equal(last.result.count, 2);
    assert_int_equal(GT(entries, &k, 50, 10, 1000), 0);
    assert_int_equal(last.result.count, 0);
    assert_int_equal(GT(entries, &k, 0, 10, 15), 0);
    assert_int_equal(last.result.count, 2);
    assert_int_equal(GT(entries, &k, 0, 10, 6), -ATOLL_ESIZE);
    assert_int_equal(last.result.value, 7);
    assert_int_equal(GT(clear, &k, 0), 0);
    assert_int_equal(GT(entries, &k, 0, 10, 1000), 0);
    assert_int_equal(last.result.count, 0);
    assert_int_equal(GT(append, &k, "", 0, 0), 0);
    assert_int_equal(last.result.value, 0);
    assert_int_equal(GT(entries, &k, 0, 10, 0), 0);
    assert_int_equal(last.result.count, 1);
    assert_int_equal(last.result.lens[0], 0);
}

/* ---- lists ---- */

static void a_list_goes_on_where_it_stopped(void **state)
{
    (void)state;
    char key[100] = "";
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof key, "%s/%02d", i % 2 ? "odd" : "even", i);
        assert_int_equal(commit_bytes(key, 0, key, (size_t)i), 0);
    }
    struct gt_key prefix = key_of("odd/");
    char after[16] = "";
    int seen = 0, rounds = 0;
    do {
        struct gt_listed r;
        size_t at = 0;
        assert_int_equal(GT(list, &prefix, after, strlen(after), 300), 0);
        while (gt_list_next(last.result.data, last.result.len, &at, &r)) {
            snprintf(key, sizeof key, "odd/%02d", 2 * seen + 1);
            assert_int_equal(r.key_len, strlen(key));
            assert_memory_equal(r.key, key, r.key_len);
            assert_int_equal(r.size, 2 * seen + 1);
            assert_int_equal(r.version, 1);
            memcpy(after, r.key, r.key_len);
            seen++;
        }
        assert_int_equal(at, last.result.len);
        rounds++;
    } while (last.result.value == 1);
    assert_int_equal(seen, 50);
    assert_true(rounds > 3);
    assert_int_equal(GT(list, &prefix, "a", 1, 300), 0); /* before the first: from the first */
    assert_true(last.result.count > 0);
    assert_int_equal(GT(list, &prefix, "z", 1, 300), 0);
    assert_int_equal(last.result.count, 0);
}

/* ---- watches ---- */

struct seen {
    int changed, appended, cleared, deleted;
    uint64_t version;
    uint64_t number;
    bool once;
};

static void change_see(void *context, const struct gt_change *c)
{
    struct seen *s = context;
    assert_string_equal(c->key.tenant, "tenant");
    assert_memory_equal(c->key.key, "model/a", c->key.key_len);
    s->changed += c->kind == GT_CHANGED;
    s->appended += c->kind == GT_APPENDED;
    s->cleared += c->kind == GT_CLEARED;
    s->deleted += c->kind == GT_DELETED;
    s->version = c->version;
    if (s->once)
        store_gt(store)->ops->unwatch(store_gt(store), s->number);
}

static void a_watcher_hears_of_changes_under_its_prefix(void **state)
{
    (void)state;
    struct seen all = {0}, once = {.once = true};
    struct gt *gt = store_gt(store);
    struct gt_key prefix = key_of("model/"), k = key_of("model/a");
    struct error e;
    assert_int_equal(gt->ops->watch(gt, &prefix, change_see, &once, &once.number, &e), 0);
    assert_int_equal(gt->ops->watch(gt, &prefix, change_see, &all, &all.number, &e), 0);
    assert_int_equal(commit_bytes("model/a", 0, "1", 1), 0);
    assert_int_equal(commit_bytes("other", 0, "1", 1), 0);
    assert_int_equal(commit_range("model/a", 9, "1", 1, GT_SET, 0), -ATOLL_ERANGE);
    assert_int_equal(GT(append, &k, "x", 1, 0), 0);
    assert_int_equal(GT(clear, &k, 0), 0);
    assert_int_equal(commit_bytes("model/a", 0, "2", 1), 0);
    assert_int_equal(GT(delete, &k, 0), 0);
    assert_int_equal(all.changed, 2);
    assert_int_equal(all.appended, 1);
    assert_int_equal(all.cleared, 1);
    assert_int_equal(all.deleted, 1);
    assert_int_equal(all.version, 2);
    assert_int_equal(once.changed, 1);
    gt->ops->unwatch(gt, all.number);
    assert_int_equal(commit_bytes("model/a", 0, "3", 1), 0);
    assert_int_equal(all.changed, 2);
}

/* ---- records ---- */

static void records_are_written_together_or_not_at_all(void **state)
{
    (void)state;
    struct store_write first[] = {put(STORE_PUT, STORE_FUNCTION, "acme/score", "v1"),
                                  put(STORE_CREATE, STORE_ALIAS, "acme/score/live", "v1")};
    assert_int_equal(RECORD(store_write, first, 2, GT_DURABLE), 0);
    assert_int_equal(RECORD(store_get, STORE_ALIAS, "acme/score/live", 15), 0);
    assert_int_equal(last.result.len, 2);
    struct store_write second[] = {put(STORE_REPLACE, STORE_FUNCTION, "acme/score", "v2"),
                                   put(STORE_DELETE, STORE_TOKEN, "nothing", NULL),
                                   put(STORE_CREATE, STORE_ALIAS, "acme/score/live", "v2")};
    assert_int_equal(RECORD(store_write, second, 3, 0), -ATOLL_EEXIST);
    assert_int_equal(last.result.value, 2);
    assert_int_equal(RECORD(store_get, STORE_FUNCTION, "acme/score", 10), 0);
    assert_memory_equal(last.result.data, "v1", 2);
    struct store_write third[] = {put(STORE_DELETE, STORE_FUNCTION, "acme/score", NULL),
                                  put(STORE_REPLACE, STORE_CALL, "1", "done")};
    assert_int_equal(RECORD(store_write, third, 2, 0), -ATOLL_ENOENT);
    assert_int_equal(RECORD(store_get, STORE_FUNCTION, "acme/score", 10), 0);
    assert_int_equal(RECORD(store_write, third, 1, 0), 0);
    assert_int_equal(RECORD(store_get, STORE_FUNCTION, "acme/score", 10), -ATOLL_ENOENT);
    assert_int_equal(RECORD(store_get, STORE_TABLES, "x", 1), -ATOLL_EINVAL);
    assert_int_equal(RECORD(store_get, STORE_CALL, "", 0), -ATOLL_EINVAL);
    assert_int_equal(RECORD(store_write, NULL, 0, 0), 0);
}

static void records_are_listed_by_prefix(void **state)
{
    (void)state;
    char key[16];
    for (int i = 0; i < 30; i++) {
        snprintf(key, sizeof key, "t%d/%02d", i % 3, i);
        struct store_write w = put(STORE_PUT, STORE_CALL, key, "result");
        assert_int_equal(RECORD(store_write, &w, 1, 0), 0);
    }
    struct store_listed r;
    int seen = 0;
    char after[16] = "";
    do {
        size_t at = 0;
        assert_int_equal(RECORD(store_list, STORE_CALL, "t1/", 3, after, strlen(after), 60), 0);
        while (store_list_next(last.result.data, last.result.len, &at, &r)) {
            assert_int_equal(r.key_len, 5);
            assert_memory_equal(r.key, "t1/", 3);
            assert_memory_equal(r.value, "result", 6);
            memcpy(after, r.key, 5);
            seen++;
        }
    } while (last.result.value == 1);
    assert_int_equal(seen, 10);
    assert_int_equal(RECORD(store_list, STORE_CALL, "", 0, "", 0, 1 << 20), 0);
    assert_int_equal(last.result.count, 30);
    assert_int_equal(RECORD(store_list, STORE_IDEMPOTENCY, "", 0, "", 0, 1 << 20), 0);
    assert_int_equal(last.result.count, 0);
}

static void a_large_record_is_kept_whole(void **state)
{
    (void)state;
    size_t len = 3u << 20;
    uint8_t *bytes = malloc(len);
    fill(bytes, len, 5);
    struct store_write w = {STORE_PUT, STORE_FILE, "f", 1, bytes, len};
    assert_int_equal(RECORD(store_write, &w, 1, 0), 0);
    assert_int_equal(RECORD(store_get, STORE_FILE, "f", 1), 0);
    assert_int_equal(last.result.len, len);
    assert_memory_equal(last.result.data, bytes, len);
    w.value_len = STORE_RECORD_MAX + 1;
    assert_int_equal(RECORD(store_write, &w, 1, 0), -ATOLL_ESIZE);
    free(bytes);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, store_setup, store_teardown)
    const struct CMUnitTest tests[] = {
        TEST(entries_have_dense_indices_until_cleared),
        TEST(a_list_goes_on_where_it_stopped),
        TEST(a_watcher_hears_of_changes_under_its_prefix),
        TEST(records_are_written_together_or_not_at_all),
        TEST(records_are_listed_by_prefix),
        TEST(a_large_record_is_kept_whole),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_destroy);
}
