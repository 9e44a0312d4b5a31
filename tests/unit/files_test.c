/* Shared files, in a node without workers. */
#define _GNU_SOURCE
#include "node_parts.h"
#include "scratch_directory.h"

#include "node/blob.h"
#include "node/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <uv.h>

static struct node *n;

struct got {
    bool done;
    int code;
    char text[256];
    uint64_t version;
};

static void got_note(void *context, int code, const struct error *e, struct blob *content,
                     const struct file_entry *entry)
{
    struct got *g = context;
    (void)e;
    *g = (struct got){.done = true, .code = code, .version = entry ? entry->version : 0};
    if (content)
        memcpy(g->text, blob_bytes(content), content->len);
}

static struct got wait_for(struct got *g)
{
    while (!g->done)
        uv_run(n->loop, UV_RUN_ONCE);
    return *g;
}

static int put(const char *tenant, const char *path, const char *text)
{
    struct got g = {0};
    struct blob *b = blob_create(text, strlen(text));
    files_put(n->files, tenant, path, b, got_note, &g);
    blob_release(b);
    return wait_for(&g).code;
}

static struct got get(const char *tenant, const char *path)
{
    struct got g = {0};
    files_get(n->files, tenant, path, got_note, &g);
    return wait_for(&g);
}

static int drop(const char *tenant, const char *path)
{
    struct got g = {0};
    files_remove(n->files, tenant, path, got_note, &g);
    return wait_for(&g).code;
}

static int begin(void **state)
{
    (void)state;
    n = node_parts_open();
    return 0;
}

static int end(void **state)
{
    (void)state;
    node_parts_close(n);
    scratch_remove(scratch_path("data"));
    return 0;
}

static void restart(void)
{
    node_parts_close(n);
    n = node_parts_open();
}

static void files_outlive_a_restart_and_belong_to_their_tenant(void **state)
{
    (void)state;
    assert_int_equal(put("acme", "a/b", "one"), 0);
    uint64_t version = files_version(n->files, "acme");
    assert_int_equal(put("acme", "a/b", "two"), 0);
    assert_int_equal(put("acme", "empty", ""), 0);
    assert_true(files_version(n->files, "acme") > version);
    restart();
    assert_string_equal(get("acme", "a/b").text, "two");
    assert_int_equal(get("acme", "empty").code, 0);
    assert_int_equal(get("bob", "a/b").code, -ATOLL_ENOENT);
    assert_int_equal(drop("bob", "a/b"), -ATOLL_ENOENT);
    assert_int_equal(drop("acme", "a/b"), 0);
    assert_int_equal(get("acme", "a/b").code, -ATOLL_ENOENT);
    restart();
    assert_int_equal(get("acme", "a/b").code, -ATOLL_ENOENT);
}

static void paths_are_relative_and_plain(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "/a", "a/", "a//b", ".", "..", "a/../b", "./a", "a/."};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(put("acme", bad[i], "x"), -ATOLL_EINVAL);
    assert_true(file_path_is_valid("a..b/.c/...", 11));
    assert_false(file_path_is_valid("a\0b", 3));
}

struct listing {
    char text[256];
    uint32_t most;
};

static bool list_note(void *context, const struct file_entry *entry)
{
    struct listing *l = context;
    strcat(strcat(l->text, entry->path), " ");
    return --l->most > 0;
}

static void a_list_is_ordered_and_has_what_begins_so(void **state)
{
    (void)state;
    static const char *const paths[] = {"b", "a/2", "a/1", "ab", "a/10", "c/a"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        assert_int_equal(put("acme", paths[i], paths[i]), 0);
    struct listing all = {.most = 100}, some = {.most = 100}, two = {.most = 2}, none = {.most = 9};
    files_list(n->files, "acme", "", list_note, &all);
    assert_string_equal(all.text, "a/1 a/10 a/2 ab b c/a ");
    files_list(n->files, "acme", "a/", list_note, &some);
    assert_string_equal(some.text, "a/1 a/10 a/2 ");
    files_list(n->files, "acme", "", list_note, &two);
    assert_string_equal(two.text, "a/1 a/10 ");
    files_list(n->files, "acme", "z", list_note, &none);
    assert_string_equal(none.text, "");
}

static uint32_t contents(void)
{
    uint32_t count = 0;
    DIR *d = opendir(scratch_path("data/files"));
    assert_non_null(d);
    for (struct dirent *entry; (entry = readdir(d)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(d);
    return count;
}

static void content_that_no_file_has_is_removed_by_the_next_start(void **state)
{
    (void)state;
    assert_int_equal(put("acme", "a", "the same"), 0);
    assert_int_equal(put("acme", "b", "the same"), 0);
    assert_int_equal(put("acme", "c", "another"), 0);
    assert_int_equal(contents(), 2);
    assert_int_equal(drop("acme", "c"), 0);
    int fd = open(scratch_path("data/files/half.XXXXXX"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    restart();
    assert_int_equal(contents(), 1);
    assert_string_equal(get("acme", "b").text, "the same");
}

static void content_of_another_length_is_told_not_handed_out(void **state)
{
    (void)state;
    char path[PATH_MAX];
    assert_int_equal(put("acme", "a", "content"), 0);
    DIR *d = opendir(scratch_path("data/files"));
    for (struct dirent *entry; (entry = readdir(d)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", scratch_path("data/files"), entry->d_name);
        assert_int_equal(truncate(path, 3), 0);
    }
    closedir(d);
    assert_int_equal(get("acme", "a").code, -ATOLL_ECORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
        TEST(files_outlive_a_restart_and_belong_to_their_tenant),
        TEST(paths_are_relative_and_plain),
        TEST(a_list_is_ordered_and_has_what_begins_so),
        TEST(content_that_no_file_has_is_removed_by_the_next_start),
        TEST(content_of_another_length_is_told_not_handed_out),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_destroy);
}
