/* The file of the store: opened again, growing, full, foreign (src/store). */
#define _GNU_SOURCE
#include "store_calls.h"

#include <lmdb.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* ---- the file ---- */

static void everything_is_there_after_reopening(void **state)
{
    (void)state;
    struct gt_key k = key_of("k"), c = key_of("counter");
    size_t len = 2 * CHUNK + 9;
    uint8_t *bytes = malloc(len);
    fill(bytes, len, 8);
    assert_int_equal(commit_bytes("k", 0, bytes, len), 0);
    uint64_t gen = last.result.gen;
    assert_int_equal(GT(append, &k, "entry", 5, 0), 0);
    assert_int_equal(GT(object_open, &c, GT_COUNTER, 5, 1), 0);
    struct gt_object_call add = {.op = GT_COUNTER_ADD, .a = 2};
    assert_int_equal(GT(object, &c, GT_COUNTER, &add), 0);
    struct store_write w = put(STORE_PUT, STORE_TENANT, "acme", "yes");
    assert_int_equal(RECORD(store_write, &w, 1, 0), 0);
    store_stop();
    store_start(NULL);
    assert_get("k", 0, bytes, len);
    assert_int_equal(last.result.gen, gen);
    assert_int_equal(last.result.entries, 1);
    assert_int_equal(GT(object, &c, GT_COUNTER, &add), 0);
    assert_int_equal(last.result.value, 9);
    assert_int_equal(RECORD(store_get, STORE_TENANT, "acme", 4), 0);
    struct gt_key other = key_of("other");
    assert_int_equal(GT(append, &other, "", 0, 0), 0);
    assert_true(last.result.gen > gen);
    free(bytes);
}

static void the_map_grows_under_writes_and_reads(void **state)
{
    (void)state;
    store_stop();
    store_start(&(struct store_options){.map_bytes = 1 << 20});
    enum { VALUES = 60, LEN = 2 * CHUNK };
    static struct answer answers[VALUES], reads[VALUES];
    static uint8_t bytes[VALUES][LEN], got[VALUES][LEN]; /* got[i]: of value i / 2 */
    struct gt_range range = {.len = LEN};
    struct gt_commit c = {.size = LEN, .range_count = 1, .ranges = &range};
    char key[8];
    for (unsigned i = 0; i < VALUES; i++) {
        fill(bytes[i], LEN, i);
        snprintf(key, sizeof key, "k%u", i);
        struct gt_key k = key_of(key);
        range.bytes = bytes[i];
        GT_LATER(&answers[i], commit, &k, &c);
        snprintf(key, sizeof key, "k%u", i / 2);
        k = key_of(key);
        struct gt_span span = {0, got[i], LEN};
        GT_LATER(&reads[i], getrange, &k, 0, &span, 1);
    }
    for (unsigned i = 0; i < VALUES; i++) {
        assert_int_equal(answer_wait(&answers[i]), 0);
        assert_int_equal(answer_wait(&reads[i]), 0);
        answer_free(&answers[i]);
        answer_free(&reads[i]);
    }
    for (unsigned i = 0; i < VALUES; i++) {
        snprintf(key, sizeof key, "k%u", i);
        assert_get(key, 0, bytes[i], LEN);
    }
    for (unsigned i = 0; i < VALUES; i++)
        assert_memory_equal(got[i], bytes[i / 2], LEN);
    struct store_counters counters;
    store_counters(store, &counters);
    assert_true(counters.map_grown >= 3);
    uint8_t *large = malloc(40u << 20);
    fill(large, 40u << 20, 1);
    assert_int_equal(commit_bytes("large", 0, large, 40u << 20), 0);
    assert_get("large", 0, large, 40u << 20);
    free(large);
}

static void deleted_values_leave_room_for_others(void **state)
{
    (void)state;
    size_t len = 4u << 20;
    uint8_t *bytes = malloc(len);
    struct gt_key k = key_of("k");
    struct store_counters before, after;
    fill(bytes, len, 2);
    for (int round = 0; round < 12; round++) {
        assert_int_equal(commit_bytes("k", 0, bytes, len), 0);
        for (int i = 0; i < 20; i++)
            assert_int_equal(GT(append, &k, bytes, 1000, 0), 0);
        assert_int_equal(GT(delete, &k, GT_DURABLE), 0);
        if (round == 5)
            store_counters(store, &before);
    }
    store_counters(store, &after);
    assert_true(after.used_bytes <= before.used_bytes + len);
    free(bytes);
}

static void cleared_entries_and_deleted_objects_leave_room_for_others(void **state)
{
    (void)state;
    static uint8_t bytes[4000];
    struct gt_key log = key_of("log"), queue = key_of("queue");
    struct gt_object_call push = {.op = GT_QUEUE_PUSH, .in = bytes, .in_len = sizeof bytes};
    struct store_counters before, after;
    for (int round = 0; round < 30; round++) {
        assert_int_equal(GT(object_open, &queue, GT_QUEUE, 0, 1), 0);
        for (int i = 0; i < 60; i++) {
            assert_int_equal(GT(append, &log, bytes, sizeof bytes, 0), 0);
            assert_int_equal(GT(object, &queue, GT_QUEUE, &push), 0);
        }
        assert_int_equal(GT(object_delete, &queue), 0);
        assert_int_equal(round % 2 ? GT(clear, &log, GT_DURABLE) : GT(delete, &log, GT_DURABLE), 0);
        if (round == 9)
            store_counters(store, &before);
    }
    store_counters(store, &after);
    assert_true(after.used_bytes <= before.used_bytes + 60 * sizeof bytes);
}

static void a_second_process_is_refused(void **state)
{
    (void)state;
    struct store *second;
    struct error e;
    struct store_options o = {.directory = scratch_path("store")};
    assert_int_equal(store_open(&o, &second, &e), -ATOLL_EBUSY);
    assert_null(second);
    assert_non_null(strstr(e.text, "another process"));
}

static void write_file(const char *name, const void *bytes, size_t len)
{
    FILE *f = fopen(scratch_path(name), "we");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, len, f), len);
    fclose(f);
}

static void what_is_no_store_is_refused(void **state)
{
    (void)state;
    static uint8_t junk[65536];
    struct store *other;
    struct error e;
    mkdir(scratch_path("junk"), 0700);
    struct store_options o = {.directory = scratch_path("junk")};
    char directory[PATH_MAX];
    snprintf(directory, sizeof directory, "%s", o.directory);
    o.directory = directory;
    write_file("junk/data.mdb", junk, sizeof junk);
    assert_int_equal(store_open(&o, &other, &e), -ATOLL_ETYPE);
    write_file("junk/data.mdb", junk, 100);
    assert_int_equal(store_open(&o, &other, &e), -ATOLL_ECORRUPT);
    unlink(scratch_path("junk/data.mdb"));
    assert_int_equal(store_open(&o, &other, &e), 0);
    assert_int_equal(store_close(other, &e), 0);
    o.directory = "/proc/nowhere";
    assert_true(store_open(&o, &other, &e) < 0);
    assert_true(strlen(e.text) > 10);
    scratch_remove(scratch_path("junk"));
}

/* As mdb_copy does; it would wait for a transaction that the store keeps open. */
static int store_copy(const char *from, const char *to)
{
    MDB_env *env;
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        alarm(20);
        bool copied = mdb_env_create(&env) == 0 && mdb_env_set_maxdbs(env, 32) == 0 &&
                      mdb_env_open(env, from, MDB_RDONLY, 0600) == 0 && mdb_env_copy(env, to) == 0;
        _exit(copied ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void other_programs_can_copy_a_store_that_rests(void **state)
{
    (void)state;
    char from[PATH_MAX], to[PATH_MAX];
    snprintf(from, sizeof from, "%s", scratch_path("store"));
    snprintf(to, sizeof to, "%s", scratch_path("copy"));
    assert_int_equal(mkdir(to, 0700), 0);
    assert_int_equal(commit_bytes("k", 0, "kept", 4), 0);
    store_stop();
    store_start(NULL);
    assert_get("k", 0, "kept", 4);
    assert_int_equal(store_copy(from, to), 0);
    store_stop();
    store_start(&(struct store_options){.directory = to});
    assert_get("k", 0, "kept", 4);
}

/* Lets the file grow no further, as a full disk would. */
static void disk_fill(bool full)
{
    struct stat status;
    struct rlimit limit;
    assert_int_equal(stat(scratch_path("store/data.mdb"), &status), 0);
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = full ? (rlim_t)status.st_size : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_full_disk_refuses_what_waits_for_it_and_nothing_else_is_lost(void **state)
{
    (void)state;
    static uint8_t bytes[10 * CHUNK], large[80 * CHUNK];
    struct answer synced = {0};
    struct error e;
    signal(SIGXFSZ, SIG_IGN);
    fill(bytes, sizeof bytes, 6);
    assert_int_equal(commit_range("before", 0, "kept", 4, GT_SET, GT_GROW | GT_DURABLE), 0);
    disk_fill(true);
    /* nothing acknowledged: as if it had never been */
    assert_int_equal(commit_range("durable", 0, bytes, sizeof bytes, GT_SET, GT_GROW | GT_DURABLE),
                     -ATOLL_EIO);
    assert_non_null(strstr(last.error.text, "disk is full"));
    assert_int_equal(get_bytes("durable", 0, bytes, 1), -ATOLL_ENOENT);
    assert_int_equal(commit_range("large", 0, large, sizeof large, GT_SET, GT_GROW), -ATOLL_EIO);
    assert_int_equal(get_bytes("large", 0, bytes, 1), -ATOLL_ENOENT);
    /* acknowledged before the disk was asked: kept and seen */
    assert_int_equal(commit_bytes("async", 0, bytes, sizeof bytes), 0);
    assert_int_equal(store_sync(store, answer_to(&synced), &e), 0);
    assert_int_equal(answer_wait(&synced), -ATOLL_EIO);
    assert_get("async", 0, bytes, sizeof bytes);
    assert_get("before", 0, "kept", 4);
    assert_int_equal(commit_bytes("later", 0, "x", 1), -ATOLL_EIO);
    assert_get("async", 0, bytes, sizeof bytes);
    disk_fill(false);
    while (store_sync(store, answer_to(&synced), &e) == 0 && answer_wait(&synced) < 0)
        usleep(10000);
    assert_int_equal(commit_bytes("later", 0, "x", 1), 0);
    store_stop();
    store_start(NULL);
    assert_get("async", 0, bytes, sizeof bytes);
    assert_get("later", 0, "x", 1);
    assert_int_equal(get_bytes("durable", 0, bytes, 1), -ATOLL_ENOENT);
    struct store_counters counters;
    store_counters(store, &counters);
    assert_int_equal(counters.commits_failed, 0);
    answer_free(&synced);
}

static void closing_says_when_acknowledged_changes_could_not_be_written(void **state)
{
    (void)state;
    static uint8_t bytes[10 * CHUNK];
    struct error e;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(commit_range("before", 0, "kept", 4, GT_SET, GT_GROW | GT_DURABLE), 0);
    disk_fill(true);
    assert_int_equal(commit_bytes("async", 0, bytes, sizeof bytes), 0);
    assert_int_equal(store_close(store, &e), -ATOLL_EIO);
    assert_non_null(strstr(e.text, "disk is full"));
    disk_fill(false);
    store_start(NULL);
    assert_get("before", 0, "kept", 4);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, store_setup, store_teardown)
    const struct CMUnitTest tests[] = {
        TEST(everything_is_there_after_reopening),
        TEST(the_map_grows_under_writes_and_reads),
        TEST(deleted_values_leave_room_for_others),
        TEST(cleared_entries_and_deleted_objects_leave_room_for_others),
        TEST(a_second_process_is_refused),
        TEST(what_is_no_store_is_refused),
        TEST(other_programs_can_copy_a_store_that_rests),
        TEST(a_full_disk_refuses_what_waits_for_it_and_nothing_else_is_lost),
        TEST(closing_says_when_acknowledged_changes_could_not_be_written),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_destroy);
}
