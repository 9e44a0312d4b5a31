/* The file tree of a function: its base and overlay, its bounds, its reset. */
#define _GNU_SOURCE
#include "vfs_tree.h"

/* ---- the base ---- */

static void a_base_has_its_files_and_the_directories_on_the_way(void **state)
{
    (void)state;
    tree_of(SOME, (struct vfs_config){0});
    assert_string_equal(names("."), "./ ../ a dir/ empty/ link shared/ tmp/ ");
    assert_string_equal(names("dir"), "./ ../ b sub/ ");
    assert_string_equal(content("dir/sub/c"), "third");
    assert_string_equal(content("link"), "second");
    assert_string_equal(content("dir/none"), "-2");
    assert_int_equal(vfs_bytes(&tree), 0);
    assert_null(tree.overlay);
}

static void the_first_of_two_files_with_one_path_counts(void **state)
{
    (void)state;
    static const struct vfs_entry twice[] = {TEXT_FILE("x", "own"), TEXT_FILE("x", "others"),
                                             TEXT_FILE("y", "others")};
    tree_of(twice, 3, (struct vfs_config){0});
    assert_string_equal(content("x"), "own");
    assert_string_equal(content("y"), "others");
}

static void paths_that_would_not_stay_inside_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",       "/a",  "a/",   "a//b",  ".",   "..",
                                      "a/../b", "./a", "a/..", "a/./b", "tmp", "shared"};
    struct vfs_base *base;
    struct error e;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct vfs_entry entry = {.path = bad[i], .type = VFS_FILE, .bytes = "", .len = 0};
        assert_int_equal(vfs_base_create(&entry, 1, &base, &e), -ATOLL_EINVAL);
    }
    static const struct vfs_entry both[] = {TEXT_FILE("a", "x"), TEXT_FILE("a/b", "y")};
    assert_int_equal(vfs_base_create(both, 2, &base, &e), -ATOLL_EINVAL);
    assert_non_null(strstr(e.text, "a is a file"));
    char deep[5000];
    memset(deep, 'x', sizeof deep);
    deep[4999] = '\0';
    struct vfs_entry entry = {.path = deep, .type = VFS_FILE};
    assert_int_equal(vfs_base_create(&entry, 1, &base, &e), -ATOLL_EINVAL);
    for (size_t i = 100; i < sizeof deep - 1; i += 100) {
        deep[i] = '/';
    }
    assert_int_equal(vfs_base_create(&entry, 1, &base, &e), -ATOLL_EINVAL);
    deep[4000] = '\0';
    entry.path = deep;
    assert_int_equal(vfs_base_create(&entry, 1, &base, &e), 0);
    vfs_base_release(base);
}

static void files_come_from_sealed_memory_files_and_from_others(void **state)
{
    (void)state;
    static uint8_t bytes[50000];
    struct error e;
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(i * 7 + i / 251);
    }
    for (int sealed = 0; sealed < 2; sealed++) {
        int fd = memory_file("test", bytes, sizeof bytes, sizeof bytes, sealed, false, &e);
        assert_true(fd >= 0);
        const struct vfs_entry entries[] = {
            {.path = "large", .type = VFS_FILE, .fd = fd, .offset = 5000, .len = 40000},
            {.path = "small", .type = VFS_FILE, .fd = fd, .offset = 49990, .len = 10},
        };
        tree_of(entries, 2, (struct vfs_config){0});
        struct vfs_entry longer = entries[0];
        longer.len = 45001;
        struct vfs_base *base;
        assert_int_equal(vfs_base_create(&longer, 1, &base, &e), -ATOLL_ESIZE);
        close(fd);
        const uint8_t *seen;
        int node = open_at("large", O_RDONLY);
        assert_int_equal(vfs_peek(&tree, (uint32_t)node, 0, 100000, &seen), 40000);
        assert_memory_equal(seen, bytes + 5000, 40000);
        node = open_at("small", O_RDONLY);
        assert_int_equal(vfs_peek(&tree, (uint32_t)node, 3, 100, &seen), 7);
        assert_memory_equal(seen, bytes + 49993, 7);
        vfs_end(&tree);
    }
    tree.base = NULL;
}

static void a_base_of_many_files_is_searched_right(void **state)
{
    (void)state;
    enum { MANY = 3000 };
    static struct vfs_entry entries[MANY];
    static char paths[MANY][32];
    for (int i = 0; i < MANY; i++) {
        snprintf(paths[i], sizeof paths[i], "d%d/e%d/f%d", i * 37 % 61, i % 7, i * 7919 % MANY);
        entries[i] = (struct vfs_entry){
            .path = paths[i], .type = VFS_FILE, .bytes = paths[i], .len = strlen(paths[i])};
    }
    tree_of(entries, MANY, (struct vfs_config){0});
    for (int i = 0; i < MANY; i++) {
        assert_string_equal(content(paths[i]), paths[i]);
        assert_string_equal(vfs_base_path(&tree, vfs_base_find(&tree, paths[i])), paths[i]);
    }
    assert_int_equal(vfs_base_find(&tree, "d0/e0/none"), 0);
    assert_int_equal(vfs_base_find(&tree, "."), VFS_ROOT);
}

/* ---- the overlay ---- */

static void writing_a_file_of_the_base_changes_it_for_this_tree_only(void **state)
{
    (void)state;
    struct vfs_config config = {0};
    struct error e;
    struct vfs other;
    assert_int_equal(vfs_base_create(SOME, &config.base, &e), 0);
    vfs_begin(&tree, &config, open_count, NULL);
    vfs_begin(&other, &config, open_count, NULL);
    vfs_base_release(config.base);
    open_total = 0;
    int before = open_at("dir/b", O_RDONLY);
    assert_int_equal(write_at((uint32_t)before, 0, "SEC", 3), 0);
    assert_string_equal(content("dir/b"), "SECond");
    const uint8_t *bytes;
    assert_int_equal(vfs_peek(&tree, (uint32_t)before, 0, 100, &bytes), 6);
    assert_memory_equal(bytes, "SECond", 6);
    assert_int_equal(vfs_peek(&other, (uint32_t)before, 0, 100, &bytes), 6);
    assert_memory_equal(bytes, "second", 6);
    vfs_end(&other);
}

static void a_large_file_is_copied_page_by_page(void **state)
{
    (void)state;
    static char large[1 << 20];
    memset(large, 'x', sizeof large);
    const struct vfs_entry entry = {
        .path = "large", .type = VFS_FILE, .bytes = large, .len = sizeof large};
    tree_of(&entry, 1, (struct vfs_config){0});
    int node = open_at("large", O_RDWR);
    assert_int_equal(write_at((uint32_t)node, 500000, "changed", 7), 0);
    assert_in_range(vfs_bytes(&tree), 4096, 16384);
    const uint8_t *bytes;
    for (size_t at = 0, run; at < sizeof large; at += run) {
        run = vfs_peek(&tree, (uint32_t)node, at, sizeof large, &bytes);
        assert_true(run > 0);
        for (size_t i = 0; i < run; i++) {
            bool changed = at + i >= 500000 && at + i < 500007;
            assert_int_equal(bytes[i], changed ? "changed"[at + i - 500000] : 'x');
        }
    }
}

static void what_was_cut_off_does_not_come_back(void **state)
{
    (void)state;
    tree_of(SOME, (struct vfs_config){0});
    uint32_t node = (uint32_t)open_at("dir/b", O_RDWR);
    assert_int_equal(vfs_resize(&tree, node, 3), 0);
    assert_int_equal(vfs_resize(&tree, node, 6), 0);
    const uint8_t *bytes;
    size_t first = vfs_peek(&tree, node, 0, 6, &bytes);
    assert_int_equal(first, 3);
    assert_memory_equal(bytes, "sec", 3);
    assert_int_equal(vfs_peek(&tree, node, 3, 6, &bytes), 3);
    assert_memory_equal(bytes, "\0\0\0", 3);
    assert_int_equal(write_at(node, 0, "overwritten", 11), 0);
    assert_int_equal(vfs_resize(&tree, node, 2), 0);
    assert_int_equal(vfs_resize(&tree, node, 5), 0);
    assert_int_equal(vfs_peek(&tree, node, 0, 9, &bytes), 5);
    assert_memory_equal(bytes, "ov\0\0\0", 5);
}

static void removed_files_of_the_base_leave_no_trace_and_return_at_reset(void **state)
{
    (void)state;
    tree_of(SOME, (struct vfs_config){0});
    assert_int_equal(removed("dir/b", false), 0);
    assert_string_equal(content("dir/b"), "-2");
    assert_string_equal(content("link"), "-2");
    assert_string_equal(names("dir"), "./ ../ sub/ ");
    assert_int_equal(removed("dir/b", false), -ENOENT);
    assert_int_equal(removed("dir", true), -ENOTEMPTY);
    assert_int_equal(removed("dir/sub/c", false), 0);
    assert_int_equal(removed("dir/sub", true), 0);
    assert_int_equal(removed("dir", true), 0);
    assert_string_equal(names("."), "./ ../ a empty/ link shared/ tmp/ ");
    assert_int_equal(make("dir"), 0);
    assert_string_equal(names("dir"), "./ ../ ");
    assert_int_equal(put("dir/b", "mine"), 0);
    assert_string_equal(content("link"), "mine");
    vfs_reset(&tree);
    assert_null(tree.overlay);
    assert_string_equal(content("link"), "second");
    assert_string_equal(names("dir"), "./ ../ b sub/ ");
}

static void directories_of_the_base_move_with_all_that_is_in_them(void **state)
{
    (void)state;
    tree_of(SOME, (struct vfs_config){0});
    assert_int_equal(renamed("dir/sub", "dir/sub/inside"), -EINVAL);
    assert_int_equal(renamed("dir", "empty/moved"), 0);
    assert_string_equal(content("empty/moved/sub/c"), "third");
    assert_string_equal(content("empty/moved/sub/../b"), "second");
    assert_string_equal(content("dir/b"), "-2");
    assert_int_equal(renamed("empty", "empty/moved/sub/x"), -EINVAL);
    assert_int_equal(put("empty/moved/sub/new", "new"), 0);
    assert_int_equal(renamed("empty/moved", "dir"), 0);
    assert_string_equal(names("dir/sub"), "./ ../ c new ");
    struct vfs_status status;
    vfs_look_at(&tree, VFS_ROOT, &status);
    assert_int_equal(status.links, 2 + 4);
}

static void a_file_lives_on_while_it_is_open(void **state)
{
    (void)state;
    struct vfs_status status;
    tree_of(SOME, (struct vfs_config){0});
    uint32_t base = (uint32_t)open_at("a", O_RDWR), own = 0;
    assert_int_equal(removed("a", false), 0);
    assert_int_equal(write_at(base, 5, " and last", 9), 0);
    vfs_look_at(&tree, base, &status);
    assert_int_equal(status.links, 0);
    assert_int_equal(status.size, 14);
    assert_int_equal(put("own", "text"), 0);
    own = (uint32_t)open_at("own", O_RDWR);
    uint64_t bytes = vfs_bytes(&tree);
    assert_int_equal(renamed("link", "own"), 0);
    const uint8_t *seen;
    assert_int_equal(vfs_peek(&tree, own, 0, 100, &seen), 4);
    assert_memory_equal(seen, "text", 4);
    close_last();
    assert_true(vfs_bytes(&tree) < bytes);
    assert_string_equal(content("own"), "second");
}

static void hard_links_are_one_file(void **state)
{
    (void)state;
    struct vfs_status status;
    tree_of(SOME, (struct vfs_config){0});
    assert_int_equal(vfs_link(&tree, VFS_ROOT, "a", false, VFS_ROOT, "empty/again"), 0);
    assert_int_equal(vfs_link(&tree, VFS_ROOT, "dir", false, VFS_ROOT, "d"), -EPERM);
    assert_int_equal(vfs_link(&tree, VFS_ROOT, "link", false, VFS_ROOT, "l"), 0);
    assert_int_equal(vfs_link(&tree, VFS_ROOT, "link", true, VFS_ROOT, "b"), 0);
    assert_int_equal(put("a", "written"), 0);
    assert_string_equal(content("empty/again"), "written");
    assert_int_equal(vfs_look(&tree, VFS_ROOT, "a", true, &status), 0);
    assert_int_equal(status.links, 2);
    assert_int_equal(renamed("a", "empty/again"), 0); /* the same file: nothing happens */
    assert_int_equal(removed("a", false), 0);
    assert_string_equal(content("empty/again"), "written");
    assert_int_equal(vfs_look(&tree, VFS_ROOT, "l", false, &status), 0);
    assert_int_equal(status.type, VFS_LINK);
    assert_int_equal(status.links, 2);
    assert_int_equal(vfs_look(&tree, VFS_ROOT, "b", false, &status), 0);
    assert_int_equal(status.type, VFS_FILE);
}

static void links_are_followed_only_so_far_and_never_out(void **state)
{
    (void)state;
    char path[16], target[16];
    tree_of(SOME, (struct vfs_config){0});
    assert_int_equal(vfs_symlink(&tree, "loop", VFS_ROOT, "loop"), 0);
    assert_string_equal(content("loop"), "-40");
    assert_int_equal(vfs_symlink(&tree, "a", VFS_ROOT, "l0"), 0);
    for (int i = 1; i <= 40; i++) {
        snprintf(path, sizeof path, "l%d", i);
        snprintf(target, sizeof target, "l%d", i - 1);
        assert_int_equal(vfs_symlink(&tree, target, VFS_ROOT, path), 0);
    }
    assert_string_equal(content("l39"), "first");
    assert_string_equal(content("l40"), "-40");
    assert_int_equal(vfs_symlink(&tree, "../../a", VFS_ROOT, "dir/out"), 0);
    assert_int_equal(vfs_symlink(&tree, "/a", VFS_ROOT, "absolute"), 0);
    assert_string_equal(content("dir/out"), "-1");
    assert_string_equal(content("absolute"), "-1");
    assert_string_equal(content("../a"), "-1");
    assert_string_equal(content("/a"), "-1");
    assert_string_equal(content("dir/../a"), "first");
    /* Beneath a directory other than the root that is the end as well. */
    struct vfs_opened opened;
    uint32_t dir = vfs_base_find(&tree, "dir");
    assert_int_equal(vfs_open(&tree, dir, "../a", O_RDONLY, &opened), -EPERM);
    assert_int_equal(vfs_open(&tree, dir, "sub/../b", O_RDONLY, &opened), 0);
    vfs_close(&tree, opened.node);
}

/* ---- bounds ---- */

static void bytes_beyond_the_limit_are_refused_and_removing_makes_room(void **state)
{
    (void)state;
    static char block[65536];
    tree_of(SOME, (struct vfs_config){.byte_limit = 1 << 20});
    uint32_t node = (uint32_t)open_at("tmp/big", O_RDWR | O_CREAT);
    uint64_t at = 0;
    int result = 0;
    while (result == 0) {
        result = write_at(node, at, block, sizeof block);
        at += sizeof block;
    }
    assert_int_equal(result, -ENOSPC);
    assert_in_range(vfs_bytes(&tree), (1 << 20) - 8192, 1 << 20);
    assert_int_equal(vfs_allocate(&tree, node, 0, 2 << 20), -ENOSPC);
    /* Full as it is, names can be removed. */
    assert_int_equal(removed("dir/b", false), 0);
    assert_int_equal(removed("dir/sub/c", false), 0);
    assert_int_equal(removed("tmp/big", false), 0);
    close_last();
    assert_in_range(vfs_bytes(&tree), 0, 4096);
    assert_int_equal(put("tmp/next", "fits"), 0);
}

static void sparse_files_cost_what_is_written(void **state)
{
    (void)state;
    tree_of(SOME, (struct vfs_config){0});
    uint32_t node = (uint32_t)open_at("tmp/sparse", O_RDWR | O_CREAT);
    assert_int_equal(vfs_resize(&tree, node, VFS_MAX_SIZE), 0);
    assert_int_equal(vfs_resize(&tree, node, VFS_MAX_SIZE + 1), -EFBIG);
    assert_int_equal(write_at(node, 1 << 20, "x", 1), 0);
    assert_in_range(vfs_bytes(&tree), 4096, 16384);
    /* The array of pages is paid for, too. */
    assert_int_equal(write_at(node, VFS_MAX_SIZE - 1, "x", 1), -ENOSPC);
    assert_int_equal(write_at(node, VFS_MAX_SIZE, "x", 1), -EFBIG);
    const uint8_t *bytes;
    assert_int_equal(vfs_peek(&tree, node, VFS_MAX_SIZE - 10, 100, &bytes), 10);
    assert_int_equal(bytes[9], 0);
}

static void files_and_names_beyond_the_limit_are_refused(void **state)
{
    (void)state;
    char path[32];
    int result = 0, made = 0;
    tree_of(SOME, (struct vfs_config){.node_limit = 100});
    for (; result == 0 && made < 200; made++) {
        snprintf(path, sizeof path, "tmp/f%d", made);
        result = put(path, "");
    }
    assert_int_equal(result, -EDQUOT);
    assert_in_range(made, 90, 101);
    assert_int_equal(make("tmp/d"), -EDQUOT);
    assert_int_equal(vfs_symlink(&tree, "x", VFS_ROOT, "tmp/l"), -EDQUOT);
    assert_int_equal(removed("tmp/f0", false), 0);
    assert_int_equal(make("tmp/d"), 0);
    vfs_reset(&tree);
    assert_int_equal(put("tmp/f", ""), 0);
    for (result = 0, made = 0; result == 0 && made < 200; made++) {
        snprintf(path, sizeof path, "tmp/l%d", made);
        result = vfs_link(&tree, VFS_ROOT, "tmp/f", false, VFS_ROOT, path);
    }
    assert_int_equal(result, -EDQUOT);
}

static void a_reset_leaves_nothing_whatever_was_done(void **state)
{
    (void)state;
    tree_of(SOME, (struct vfs_config){0});
    char before[256];
    for (int round = 0; round < 50; round++) {
        strcpy(before, names("."));
        assert_int_equal(put("a", "overwritten"), 0);
        assert_int_equal(put("tmp/x", "secret"), 0);
        assert_int_equal(make("tmp/d"), 0);
        assert_int_equal(renamed("tmp/x", "tmp/d/y"), 0);
        assert_int_equal(renamed("dir", "tmp/moved"), 0);
        assert_int_equal(removed("link", false), 0);
        assert_int_equal(vfs_symlink(&tree, "tmp/d/y", VFS_ROOT, "link"), 0);
        assert_string_equal(content("link"), "secret");
        assert_true(open_at("tmp/d/y", O_RDWR) > 0);
        open_total = 0;
        vfs_reset(&tree);
        assert_int_equal(vfs_bytes(&tree), 0);
        assert_string_equal(names("."), before);
        assert_string_equal(names("tmp"), "./ ../ ");
        assert_string_equal(content("a"), "first");
        assert_string_equal(content("link"), "second");
        assert_string_equal(content("dir/sub/c"), "third");
    }
}

static void times_are_kept_and_writing_moves_them(void **state)
{
    (void)state;
    struct vfs_status status;
    const struct timespec times[2] = {{.tv_sec = 5}, {.tv_sec = 7, .tv_nsec = 1}};
    tree_of(SOME, (struct vfs_config){0});
    assert_int_equal(vfs_set_times(&tree, VFS_ROOT, "link", true, times), 0);
    assert_int_equal(vfs_look(&tree, VFS_ROOT, "dir/b", true, &status), 0);
    assert_int_equal(status.accessed_ns, 5000000000);
    assert_int_equal(status.modified_ns, 7000000001);
    assert_int_equal(put("dir/b", "now"), 0);
    assert_int_equal(vfs_look(&tree, VFS_ROOT, "dir/b", true, &status), 0);
    assert_true(status.modified_ns > 1600000000000000000);
    assert_int_equal(status.accessed_ns, 5000000000);
}

#define TEST(f) cmocka_unit_test_teardown(f, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_base_has_its_files_and_the_directories_on_the_way),
        TEST(the_first_of_two_files_with_one_path_counts),
        TEST(paths_that_would_not_stay_inside_are_refused),
        TEST(files_come_from_sealed_memory_files_and_from_others),
        TEST(a_base_of_many_files_is_searched_right),
        TEST(writing_a_file_of_the_base_changes_it_for_this_tree_only),
        TEST(a_large_file_is_copied_page_by_page),
        TEST(what_was_cut_off_does_not_come_back),
        TEST(removed_files_of_the_base_leave_no_trace_and_return_at_reset),
        TEST(directories_of_the_base_move_with_all_that_is_in_them),
        TEST(a_file_lives_on_while_it_is_open),
        TEST(hard_links_are_one_file),
        TEST(links_are_followed_only_so_far_and_never_out),
        TEST(bytes_beyond_the_limit_are_refused_and_removing_makes_room),
        TEST(sparse_files_cost_what_is_written),
        TEST(files_and_names_beyond_the_limit_are_refused),
        TEST(a_reset_leaves_nothing_whatever_was_done),
        TEST(times_are_kept_and_writing_moves_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
