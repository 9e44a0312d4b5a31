/* The file tree of a function: files shared with other functions, and publishing such. */
#define _GNU_SOURCE
#include "vfs_tree.h"

/* ---- shared files ---- */

static void shared_tree(void)
{
    owner_text(&owner, "models/m1", "weights");
    owner_text(&owner, "dir/b", "not seen: the function has its own");
    owner_text(&owner, "dir/d", "beside the function's own");
    owner_text(&owner, "top", "at the top");
    tree_of(SOME, (struct vfs_config){.shared = &owner_ops, .context = &owner});
}

static void shared_files_show_beneath_the_base_and_beneath_shared(void **state)
{
    (void)state;
    shared_tree();
    assert_string_equal(content("shared/models/m1"), "weights");
    assert_string_equal(content("models/m1"), "weights");
    assert_string_equal(content("dir/b"), "second");
    assert_string_equal(content("shared/dir/b"), "not seen: the function has its own");
    assert_string_equal(content("dir/d"), "beside the function's own");
    assert_string_equal(content("shared/none"), "-2");
    assert_string_equal(content("shared/top/x"), "-20");
    assert_string_equal(names("shared"), "./ ../ models/ dir/ top ");
    assert_string_equal(names("dir"), "./ ../ d b sub/ ");
    assert_string_equal(names("tmp"), "./ ../ ");
    assert_string_equal(names("models"), "./ ../ m1 ");
}

static void new_versions_are_seen_at_once_and_open_files_keep_theirs(void **state)
{
    (void)state;
    shared_tree();
    uint32_t node = (uint32_t)open_at("shared/top", O_RDONLY);
    owner_text(&owner, "top", "changed");
    owner_text(&owner, "added", "new");
    const uint8_t *bytes;
    assert_int_equal(vfs_peek(&tree, node, 0, 100, &bytes), 10);
    assert_memory_equal(bytes, "at the top", 10);
    assert_string_equal(content("shared/top"), "changed");
    assert_string_equal(content("added"), "new");
    close_last();
    owner_remove(&owner, "top");
    assert_string_equal(content("shared/top"), "-2");
    owner_text(&owner, "models/deep/er/m3", "deep");
    assert_string_equal(content("shared/models/m1"), "weights");
    uint32_t deep = (uint32_t)open_at("shared/models/deep/er/m3", O_RDONLY);
    owner_remove(&owner, "models/m1");
    owner_remove(&owner, "models/deep/er/m3");
    assert_string_equal(content("shared/models"), "-2");
    assert_int_equal(vfs_peek(&tree, deep, 0, 100, &bytes), 4);
    assert_memory_equal(bytes, "deep", 4);
    close_last();
    /* A directory in which the guest has something stays for it. */
    owner_text(&owner, "models/m1", "back");
    assert_int_equal(put("models/mine", "private"), 0);
    owner_remove(&owner, "models/m1");
    assert_string_equal(names("models"), "./ ../ mine ");
}

static void what_is_changed_of_a_shared_file_stays_private(void **state)
{
    (void)state;
    shared_tree();
    uint32_t node = (uint32_t)open_at("shared/top", O_RDWR);
    assert_int_equal(write_at(node, 0, "AT", 2), 0);
    close_last();
    owner_text(&owner, "top", "changed by another");
    assert_string_equal(content("shared/top"), "AT the top");
    assert_string_equal(content("top"), "changed by another"); /* another name, not written to */
    assert_int_equal(removed("shared/models/m1", false), 0);
    assert_string_equal(content("shared/models/m1"), "-2");
    assert_string_equal(content("models/m1"), "weights");
    assert_int_equal(removed("shared/models", true), 0);
    assert_int_equal(make("shared/models"), 0);
    assert_string_equal(names("shared/models"), "./ ../ ");
    assert_int_equal(renamed("dir/d", "tmp/d"), 0);
    assert_string_equal(content("tmp/d"), "beside the function's own");
    assert_string_equal(content("dir/d"), "-2");
    assert_int_equal(owner.publications, 0);
    vfs_reset(&tree);
    assert_string_equal(content("shared/models/m1"), "weights");
    assert_string_equal(content("dir/d"), "beside the function's own");
}

static void fetching_may_wait_and_find_a_newer_version(void **state)
{
    (void)state;
    shared_tree();
    owner.waits = 2;
    assert_int_equal(open_at("shared/top", O_RDONLY), VFS_WAIT);
    assert_int_equal(renamed("shared/top", "tmp/t"), VFS_WAIT);
    owner.stale = 3;
    assert_string_equal(content("shared/top"), "at the top");
    assert_int_equal(owner.fetches, 4);
    owner.stale = 100;
    owner_text(&owner, "top", "again");
    assert_string_equal(content("shared/top"), "-5");
    owner.stale = 0;
    assert_string_equal(content("shared/top"), "again");
}

static void looking_at_shared_files_fetches_nothing(void **state)
{
    (void)state;
    struct vfs_status status;
    shared_tree();
    assert_int_equal(vfs_look(&tree, VFS_ROOT, "shared/models/m1", true, &status), 0);
    assert_int_equal(status.size, 7);
    assert_int_equal(status.modified_ns, 5);
    assert_int_equal(status.type, VFS_FILE);
    uint64_t inode = status.inode;
    assert_int_equal(vfs_look(&tree, VFS_ROOT, "models/m1", true, &status), 0);
    assert_int_equal(status.inode, inode);
    assert_int_equal(vfs_look(&tree, VFS_ROOT, "shared/models", true, &status), 0);
    assert_int_equal(status.type, VFS_DIRECTORY);
    assert_int_equal(owner.fetches, 0);
}

static void reading_any_number_of_shared_files_meets_no_limit(void **state)
{
    (void)state;
    char path[32];
    shared_tree();
    tree.node_limit = 50;
    for (int i = 0; i < 2000; i++) {
        snprintf(path, sizeof path, "d%d/f%d", i % 40, i);
        owner_text(&owner, path, path);
    }
    for (int i = 0; i < 2000; i++) {
        snprintf(path, sizeof path, "shared/d%d/f%d", i % 40, i);
        assert_string_equal(content(path), path + 7);
        assert_in_range(vfs_bytes(&tree), 0, 300000);
    }
    assert_in_range(owner.holds, 0, 400);
    assert_int_equal(put("tmp/own", "room for this"), 0);
}

/* ---- publishing ---- */

/* Opens as fopen(path, "w") does; the path it is to be published under. */
static char *write_begin(const char *path, uint32_t *node)
{
    struct vfs_opened opened;
    assert_int_equal(vfs_open(&tree, VFS_ROOT, path, O_WRONLY | O_CREAT | O_TRUNC, &opened), 0);
    open_nodes[open_total++] = *node = opened.node;
    return opened.publish;
}

static int write_end(char *publish)
{
    int result = vfs_publish(&tree, open_nodes[open_total - 1], publish);
    if (result != VFS_WAIT) {
        free(publish);
        close_last();
    }
    return result;
}

static void a_file_written_beneath_shared_appears_whole_at_its_close(void **state)
{
    (void)state;
    uint32_t node;
    shared_tree();
    char *publish = write_begin("shared/top", &node);
    assert_string_equal(publish, "top");
    assert_int_equal(write_at(node, 0, "half", 4), 0);
    assert_string_equal(owner_find(&owner, "top")->bytes, "at the top");
    assert_int_equal(write_at(node, 4, " and half", 9), 0);
    assert_string_equal(content("shared/top"), "half and half"); /* it is the writer's own */
    assert_string_equal(content("top"), "at the top");
    owner.waits = 1;
    assert_int_equal(write_end(publish), VFS_WAIT);
    assert_int_equal(owner.publications, 0);
    assert_int_equal(write_end(publish), 0);
    assert_memory_equal(owner_find(&owner, "top")->bytes, "half and half", 13);
    assert_int_equal(owner_find(&owner, "top")->len, 13);
    /* From now on the writer sees what others publish, too. */
    owner_text(&owner, "top", "by another");
    assert_string_equal(content("shared/top"), "by another");
}

static void directories_made_beneath_shared_take_files_to_publish(void **state)
{
    (void)state;
    uint32_t node;
    shared_tree();
    assert_int_equal(make("shared/new"), 0);
    assert_int_equal(make("shared/new/deep"), 0);
    assert_int_equal(write_end(write_begin("shared/new/deep/file", &node)), 0);
    assert_non_null(owner_find(&owner, "new/deep/file"));
    assert_int_equal(owner_find(&owner, "new/deep/file")->len, 0);
    assert_int_equal(write_end(write_begin("shared/models/m2", &node)), 0);
    assert_string_equal(names("shared/models"), "./ ../ m1 m2 ");
    assert_int_equal(renamed("shared/new", "tmp/new"), -EXDEV);
    assert_int_equal(renamed("empty", "shared/empty"), -EXDEV);
    assert_int_equal(renamed("empty", "shared/new/deep"), -EXDEV);
    assert_int_equal(removed("shared", true), -EBUSY);
    assert_int_equal(renamed("shared", "elsewhere"), -EXDEV);
}

static void only_truncating_opens_beneath_shared_publish(void **state)
{
    (void)state;
    struct vfs_opened opened;
    static const struct {
        const char *path;
        int flags;
    } private[] = {
        {"shared/top", O_RDWR},
        {"shared/x", O_RDWR | O_CREAT},
        {"shared/top", O_RDWR | O_TRUNC},
        {"models/m1", O_RDWR | O_CREAT | O_TRUNC},
        {"tmp/x", O_RDWR | O_CREAT | O_TRUNC},
    };
    shared_tree();
    for (size_t i = 0; i < sizeof private / sizeof private[0]; i++) {
        assert_int_equal(vfs_open(&tree, VFS_ROOT, private[i].path, private[i].flags, &opened), 0);
        assert_null(opened.publish);
        vfs_close(&tree, opened.node);
    }
}

static void a_publication_that_is_refused_keeps_the_file_private(void **state)
{
    (void)state;
    uint32_t node;
    shared_tree();
    char *publish = write_begin("shared/top", &node);
    assert_int_equal(write_at(node, 0, "mine", 4), 0);
    owner.refuses = -EDQUOT;
    assert_int_equal(write_end(publish), -EDQUOT);
    assert_string_equal(content("shared/top"), "mine");
    assert_string_equal(owner_find(&owner, "top")->bytes, "at the top");
}

static void a_file_removed_before_its_close_is_not_published(void **state)
{
    (void)state;
    uint32_t node;
    shared_tree();
    char *publish = write_begin("shared/temporary", &node);
    assert_int_equal(removed("shared/temporary", false), 0);
    assert_int_equal(write_end(publish), 0);
    assert_null(owner_find(&owner, "temporary"));
}

static void two_writers_of_one_file_publish_it_twice(void **state)
{
    (void)state;
    uint32_t first, second;
    shared_tree();
    char *one = write_begin("shared/log", &first), *two = write_begin("shared/log", &second);
    assert_int_equal(first, second);
    assert_int_equal(write_at(first, 0, "one", 3), 0);
    assert_int_equal(write_end(one), 0);
    assert_int_equal(write_at(second, 3, " two", 4), 0);
    assert_int_equal(write_end(two), 0);
    assert_int_equal(owner.publications, 2);
    assert_memory_equal(owner_find(&owner, "log")->bytes, "one two", 7);
}

#define TEST(f) cmocka_unit_test_teardown(f, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(shared_files_show_beneath_the_base_and_beneath_shared),
        TEST(new_versions_are_seen_at_once_and_open_files_keep_theirs),
        TEST(what_is_changed_of_a_shared_file_stays_private),
        TEST(fetching_may_wait_and_find_a_newer_version),
        TEST(looking_at_shared_files_fetches_nothing),
        TEST(reading_any_number_of_shared_files_meets_no_limit),
        TEST(a_file_written_beneath_shared_appears_whole_at_its_close),
        TEST(directories_made_beneath_shared_take_files_to_publish),
        TEST(only_truncating_opens_beneath_shared_publish),
        TEST(a_publication_that_is_refused_keeps_the_file_private),
        TEST(a_file_removed_before_its_close_is_not_published),
        TEST(two_writers_of_one_file_publish_it_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
