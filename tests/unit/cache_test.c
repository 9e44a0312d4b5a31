/* The cache of artefacts, and sealed artefact files (src/engine/cache.c, artefact_seal.c). */
#define _GNU_SOURCE
#include "artefact_sample.h"
#include "engine/artefact_seal.h"
#include "engine/cache.h"
#include "engine/compile.h"
#include "module_bytes.h"
#include "scratch_directory.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

static struct cache *cache;
static struct buffer sample; /* an artefact's bytes */
static uint8_t sample_id[HASH_LEN];

static int cache_start(void **state)
{
    (void)state;
    struct error e;
    sample = sample_bytes("baking_bounds", &sample_options);
    artefact_identify(sample.data, sample.len, sample_id);
    return cache_open(scratch_path("cache"), 0, &cache, &e);
}

static int cache_end(void **state)
{
    (void)state;
    cache_close(cache);
    buffer_free(&sample);
    scratch_remove(scratch_path("cache"));
    return 0;
}

static void key_of(uint8_t number, uint8_t out[static HASH_LEN])
{
    memset(out, number, HASH_LEN);
}

static const char *file_of(uint8_t number, const char *suffix)
{
    static char name[128];
    char hex[2 * HASH_LEN + 1];
    uint8_t key[HASH_LEN];
    key_of(number, key);
    hash_hex(key, hex);
    snprintf(name, sizeof name, "cache/%s%s", hex, suffix);
    return scratch_path(name);
}

static void put(uint8_t number)
{
    uint8_t key[HASH_LEN];
    struct error e = {0};
    key_of(number, key);
    if (cache_put(cache, key, sample_id, sample.data, sample.len, &e) < 0)
        fail_msg("%s", e.text);
}

static bool present(uint8_t number)
{
    return access(file_of(number, ".artefact"), F_OK) == 0;
}

/* 0, or the error of cache_get. */
static int get(uint8_t number)
{
    uint8_t key[HASH_LEN];
    struct artefact *a;
    struct error e;
    key_of(number, key);
    int rc = cache_get(cache, key, &a, &e);
    if (rc == 0) {
        assert_memory_equal(a->id, sample_id, HASH_LEN);
        assert_memory_equal(a->key, key, HASH_LEN);
    } else {
        assert_null(a);
    }
    artefact_release(a);
    return rc;
}

static struct buffer file_bytes(const char *path)
{
    struct buffer b = {0};
    struct error e;
    assert_int_equal(file_read(path, 1u << 24, &b, &e), 0);
    return b;
}

static void file_write(const char *path, const void *bytes, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), (ssize_t)len);
    close(fd);
}

static void file_age(const char *path, time_t seconds)
{
    struct timespec now, times[2];
    clock_gettime(CLOCK_REALTIME, &now);
    now.tv_sec -= seconds;
    times[0] = times[1] = now;
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

/* ---- entries ---- */

static void what_was_stored_is_found_under_its_key_only(void **state)
{
    (void)state;
    assert_int_equal(get(1), -ATOLL_ENOENT);
    put(1);
    assert_int_equal(get(1), 0);
    assert_int_equal(get(2), -ATOLL_ENOENT);
    struct stat status;
    assert_int_equal(stat(file_of(1, ".artefact"), &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
}

static void an_entry_with_any_bit_changed_is_a_miss_and_is_removed(void **state)
{
    (void)state;
    put(1);
    struct buffer file = file_bytes(file_of(1, ".artefact"));
    assert_int_equal(file.len, sample.len + SEAL_LEN);
    for (size_t at = 0; at < file.len; at += at < 400 || at + 80 > file.len ? 1 : 37) {
        file.data[at] ^= (uint8_t)(1u << at % 8);
        file_write(file_of(1, ".artefact"), file.data, file.len);
        file.data[at] ^= (uint8_t)(1u << at % 8);
        assert_int_equal(get(1), -ATOLL_ENOENT);
        assert_false(present(1));
    }
    file_write(file_of(1, ".artefact"), file.data, file.len);
    assert_int_equal(get(1), 0);
    buffer_free(&file);
}

static void an_entry_cut_off_or_extended_is_a_miss_and_is_removed(void **state)
{
    (void)state;
    put(1);
    struct buffer file = file_bytes(file_of(1, ".artefact"));
    for (size_t len = 0; len < file.len; len += len < 200 || len + 200 > file.len ? 1 : 101) {
        file_write(file_of(1, ".artefact"), file.data, len);
        assert_int_equal(get(1), -ATOLL_ENOENT);
        assert_false(present(1));
    }
    append_byte(&file, 0);
    file_write(file_of(1, ".artefact"), file.data, file.len);
    assert_int_equal(get(1), -ATOLL_ENOENT);
    buffer_free(&file);
}

static void an_entry_renamed_to_another_key_is_a_miss(void **state)
{
    (void)state;
    put(1);
    char from[PATH_MAX];
    snprintf(from, sizeof from, "%s", file_of(1, ".artefact"));
    assert_int_equal(rename(from, file_of(2, ".artefact")), 0);
    assert_int_equal(get(2), -ATOLL_ENOENT);
    assert_false(present(2));
}

static void an_entry_sealed_with_another_users_key_is_a_miss(void **state)
{
    (void)state;
    struct cache *other;
    struct error e;
    uint8_t key[HASH_LEN];
    key_of(1, key);
    assert_int_equal(mkdir(scratch_path("other"), 0700), 0);
    setenv("ATOLL_HOME", scratch_path("other"), 1);
    assert_int_equal(cache_open(scratch_path("cache"), 0, &other, &e), 0);
    setenv("ATOLL_HOME", scratch, 1);
    assert_memory_not_equal(other->mac_key, cache->mac_key, KEY_MAC_LEN);
    assert_int_equal(cache_put(other, key, sample_id, sample.data, sample.len, &e), 0);
    cache_close(other);
    assert_int_equal(get(1), -ATOLL_ENOENT);
    assert_false(present(1));
}

static void a_valid_seal_does_not_make_other_bytes_an_artefact(void **state)
{
    (void)state;
    uint8_t key[HASH_LEN], id[HASH_LEN];
    struct error e;
    key_of(1, key);
    artefact_identify((const uint8_t *)"nonsense", 8, id);
    assert_int_equal(cache_put(cache, key, id, (const uint8_t *)"nonsense", 8, &e), 0);
    assert_int_equal(get(1), -ATOLL_ENOENT);
    assert_false(present(1));
}

static void a_directory_or_link_in_the_place_of_an_entry_does_no_harm(void **state)
{
    (void)state;
    assert_int_equal(mkdir(file_of(1, ".artefact"), 0700), 0);
    assert_int_equal(get(1), -ATOLL_ENOENT);
    assert_int_equal(rmdir(file_of(1, ".artefact")), 0);
    assert_int_equal(symlink("/dev/zero", file_of(1, ".artefact")), 0);
    assert_int_equal(get(1), -ATOLL_ENOENT);
    put(1);
    assert_int_equal(get(1), 0);
}

static void an_entry_larger_than_any_artefact_is_a_miss_and_is_removed(void **state)
{
    (void)state;
    put(1);
    assert_int_equal(truncate(file_of(1, ".artefact"), (off_t)ARTEFACT_FILE_MAX + 1), 0);
    assert_int_equal(get(1), -ATOLL_ENOENT);
    assert_false(present(1));
}

/* ---- keys ---- */

static void every_input_of_compilation_changes_the_key(void **state)
{
    (void)state;
    struct compile_options plain = {.tier = TIER_QUICK, .mode = MODE_FAST, .cpu = CPU_V3};
    struct compile_options variants[] = {plain, plain, plain, plain, plain,
                                         plain, plain, plain, plain, plain};
    variants[1].tier = TIER_OPT;
    variants[2].mode = MODE_EXACT;
    variants[3].cpu = CPU_V2;
    variants[4].cpu = CPU_NATIVE;
    variants[5].link = LINK_SHARED;
    variants[6].link = LINK_OTHER;
    variants[7].fuel = true;
    variants[8].tail_calls = true;
    variants[9].deterministic = true;
    uint8_t wasm[HASH_LEN] = {1}, other_wasm[HASH_LEN] = {2}, keys[12][HASH_LEN];
    for (size_t i = 0; i < 10; i++)
        cache_key("build", &variants[i], wasm, keys[i]);
    cache_key("build", &plain, other_wasm, keys[10]);
    cache_key("other build", &plain, wasm, keys[11]);
    for (size_t i = 0; i < 12; i++)
        for (size_t k = 0; k < i; k++)
            assert_memory_not_equal(keys[i], keys[k], HASH_LEN);
    cache_key("build", &plain, wasm, keys[1]);
    assert_memory_equal(keys[0], keys[1], HASH_LEN);
}

/* ---- eviction ---- */

static void the_least_recently_used_entries_go_first(void **state)
{
    (void)state;
    for (uint8_t i = 1; i <= 4; i++) {
        put(i);
        file_age(file_of(i, ".artefact"), 1000 - 10 * i);
    }
    assert_int_equal(get(1), 0); /* now the most recently used */
    cache->limit = 3 * (sample.len + SEAL_LEN);
    put(5);
    assert_true(present(1));
    assert_false(present(2));
    assert_false(present(3));
    assert_true(present(4));
    assert_true(present(5));
}

static void the_entry_just_stored_stays_even_when_it_alone_exceeds_the_limit(void **state)
{
    (void)state;
    cache->limit = 1;
    put(1);
    assert_true(present(1));
    put(2);
    assert_false(present(1));
    assert_true(present(2));
}

static void leftovers_of_dead_processes_go_after_an_hour(void **state)
{
    (void)state;
    char old_part[PATH_MAX], new_part[PATH_MAX], old_lock[PATH_MAX], record[PATH_MAX];
    char old_record_part[PATH_MAX];
    snprintf(old_part, sizeof old_part, "%s", file_of(1, ".artefact.abcdef"));
    snprintf(new_part, sizeof new_part, "%s", file_of(2, ".artefact.abcdef"));
    snprintf(old_lock, sizeof old_lock, "%s", file_of(3, ".lock"));
    snprintf(record, sizeof record, "%s", scratch_path("cache/compiler-0123456789abcdef"));
    snprintf(old_record_part, sizeof old_record_part, "%s.abcdef", record);
    const char *all[] = {old_part, new_part, old_lock, record, old_record_part};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        file_write(all[i], "x", 1);
        if (all[i] != new_part)
            file_age(all[i], 3700);
    }
    put(9);
    assert_int_equal(access(old_part, F_OK), -1);
    assert_int_equal(access(new_part, F_OK), 0);
    assert_int_equal(access(old_lock, F_OK), -1);
    assert_int_equal(access(record, F_OK), 0);
    assert_int_equal(access(old_record_part, F_OK), -1);
}

/* ---- locks ---- */

static void a_held_lock_is_not_swept_away(void **state)
{
    (void)state;
    uint8_t key[HASH_LEN];
    struct error e;
    key_of(3, key);
    int lock = cache_lock(cache, key, &e);
    assert_true(lock >= 0);
    file_age(file_of(3, ".lock"), 3700);
    put(9);
    assert_int_equal(access(file_of(3, ".lock"), F_OK), 0);
    cache_unlock(cache, key, lock);
    assert_int_equal(access(file_of(3, ".lock"), F_OK), -1);
}

static void a_second_builder_waits_for_the_first(void **state)
{
    (void)state;
    uint8_t key[HASH_LEN];
    struct error e;
    int ends[2];
    char byte;
    key_of(3, key);
    assert_int_equal(pipe(ends), 0);
    int lock = cache_lock(cache, key, &e);
    assert_true(lock >= 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(lock); /* not the parent's lock: an open file's lock lives as long as any copy */
        byte = cache_lock(cache, key, &e) >= 0 ? 'L' : 'E';
        _exit(write(ends[1], &byte, 1) == 1 ? 0 : 1);
    }
    struct pollfd wait = {.fd = ends[0], .events = POLLIN};
    assert_int_equal(poll(&wait, 1, 100), 0);
    cache_unlock(cache, key, lock);
    assert_int_equal(read(ends[0], &byte, 1), 1);
    assert_int_equal(byte, 'L');
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    close(ends[0]);
    close(ends[1]);
}

static _Noreturn void builder_run(const uint8_t key[static HASH_LEN], const char *critical)
{
    for (int i = 0; i < 50; i++) {
        struct error e;
        int lock = cache_lock(cache, key, &e);
        int fd = lock < 0 ? -1 : open(critical, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
        if (fd < 0)
            _exit(1);
        close(fd);
        unlink(critical);
        cache_unlock(cache, key, lock);
    }
    _exit(0);
}

static void two_processes_never_hold_one_key(void **state)
{
    (void)state;
    uint8_t key[HASH_LEN];
    char critical[PATH_MAX];
    pid_t pids[4];
    key_of(4, key);
    snprintf(critical, sizeof critical, "%s", scratch_path("critical"));
    for (int i = 0; i < 4; i++)
        if ((pids[i] = fork()) == 0)
            builder_run(key, critical);
    for (int i = 0; i < 4; i++) {
        int status;
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
}

static void the_lock_of_a_killed_builder_is_free(void **state)
{
    (void)state;
    uint8_t key[HASH_LEN];
    struct error e;
    int ends[2];
    char byte;
    key_of(5, key);
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        byte = cache_lock(cache, key, &e) >= 0 ? 'L' : 'E';
        if (write(ends[1], &byte, 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    assert_int_equal(read(ends[0], &byte, 1), 1);
    assert_int_equal(byte, 'L');
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    int lock = cache_lock(cache, key, &e);
    assert_true(lock >= 0);
    cache_unlock(cache, key, lock);
    close(ends[0]);
    close(ends[1]);
}

/* ---- artefacts as files ---- */

static void a_saved_artefact_can_be_loaded_again_but_not_changed(void **state)
{
    (void)state;
    struct artefact *a = sample_open(&sample), *again;
    struct error e;
    assert_int_equal(artefact_save(a, scratch_path("saved"), &e), 0);
    artefact_release(a);
    assert_int_equal(artefact_load(scratch_path("saved"), &again, &e), 0);
    assert_memory_equal(again->id, sample_id, HASH_LEN);
    artefact_release(again);

    struct buffer file = file_bytes(scratch_path("saved"));
    file.data[file.len / 2] ^= 1;
    file_write(scratch_path("saved"), file.data, file.len);
    assert_int_equal(artefact_load(scratch_path("saved"), &again, &e), -ATOLL_ECORRUPT);
    assert_null(again);
    assert_int_equal(artefact_load(scratch_path("absent"), &again, &e), -ATOLL_ENOENT);
    buffer_free(&file);
}

static void an_artefact_for_another_processor_is_refused_by_name(void **state)
{
    (void)state;
    struct buffer file = {0};
    uint8_t key[HASH_LEN] = {0}, id[HASH_LEN], seal[SEAL_LEN];
    struct artefact *a;
    struct error e;
    append_bytes(&file, sample.data, sample.len);
    struct artefact_header *header = (struct artefact_header *)(void *)file.data;
    header->cpu_features |= 1ull << 63; /* no machine has what has no name */
    artefact_identify(file.data, file.len, id);
    seal_make(id, key, cache->mac_key, seal);
    append_bytes(&file, seal, sizeof seal);
    file_write(scratch_path("foreign"), file.data, file.len);
    assert_int_equal(artefact_load(scratch_path("foreign"), &a, &e), -ATOLL_ECPU);
    assert_non_null(strstr(e.text, "lacks unknown"));
    assert_null(a);
    buffer_free(&file);
}

#define CACHE_TEST(name) cmocka_unit_test_setup_teardown(name, cache_start, cache_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CACHE_TEST(what_was_stored_is_found_under_its_key_only),
        CACHE_TEST(an_entry_with_any_bit_changed_is_a_miss_and_is_removed),
        CACHE_TEST(an_entry_cut_off_or_extended_is_a_miss_and_is_removed),
        CACHE_TEST(an_entry_renamed_to_another_key_is_a_miss),
        CACHE_TEST(an_entry_sealed_with_another_users_key_is_a_miss),
        CACHE_TEST(a_valid_seal_does_not_make_other_bytes_an_artefact),
        CACHE_TEST(an_entry_larger_than_any_artefact_is_a_miss_and_is_removed),
        CACHE_TEST(a_directory_or_link_in_the_place_of_an_entry_does_no_harm),
        CACHE_TEST(every_input_of_compilation_changes_the_key),
        CACHE_TEST(the_least_recently_used_entries_go_first),
        CACHE_TEST(the_entry_just_stored_stays_even_when_it_alone_exceeds_the_limit),
        CACHE_TEST(leftovers_of_dead_processes_go_after_an_hour),
        CACHE_TEST(a_held_lock_is_not_swept_away),
        CACHE_TEST(a_second_builder_waits_for_the_first),
        CACHE_TEST(two_processes_never_hold_one_key),
        CACHE_TEST(the_lock_of_a_killed_builder_is_free),
        CACHE_TEST(an_artefact_for_another_processor_is_refused_by_name),
        CACHE_TEST(a_saved_artefact_can_be_loaded_again_but_not_changed),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_destroy);
}
