/* No path leads a guest outside its directories, whichever way paths are resolved. */
#define _GNU_SOURCE
#include "wasi_world.h"

#include <pthread.h>
#include <stdatomic.h>

static const enum wasi_resolution ways[] = {WASI_RESOLVE_OPENAT2, WASI_RESOLVE_WALK};
#define BOTH_WAYS(way)                   \
    for (size_t way = 0; way < 2; way++) \
        if (world_begin(ways[way], false))

static void link_to(const char *target, const char *name)
{
    assert_int_equal(symlink(target, host_path(name)), 0);
}

/* top/dir/nested/file, and a secret outside. */
static void tree(void)
{
    assert_int_equal(mkdir(host_path("dir"), 0755), 0);
    assert_int_equal(mkdir(host_path("dir/nested"), 0755), 0);
    host_file("dir/nested/file", "inside");
    host_file("../secret", "outside");
}

static void ordinary_paths_open_the_file(void **state)
{
    (void)state;
    static const char *const good[] = {
        "dir/nested/file",
        "./dir/nested/file",
        "dir/.//nested/../../dir/nested/../nested///./file",
        "dir/../dir/../dir/nested/file",
    };
    tree();
    BOTH_WAYS(way)
    {
        for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
            int fd = open_read(good[i]);
            assert_in_range(fd, 0, 100);
            assert_int_equal(guest_fd_read(fd, 100), 6);
            assert_memory_equal(arena.memory + DATA, "inside", 6);
            assert_int_equal(CALL(fd_close, (uint64_t)fd), WASI_SUCCESS);
        }
        assert_in_range(open_from(3, "dir/nested//////", 0, WASI_OFLAG_DIRECTORY, READ_RIGHTS), 0,
                        100);
        assert_in_range(open_from(3, ".", 0, 0, READ_RIGHTS), 0, 100);
        assert_in_range(open_from(3, "dir/..", 0, 0, READ_RIGHTS), 0, 100);
        assert_int_equal(open_read("dir/nested/file/"), -WASI_ENOTDIR);
        assert_int_equal(open_read("dir/nested/file/."), -WASI_ENOTDIR);
        assert_int_equal(open_read("dir/nested/missing"), -WASI_ENOENT);
        assert_int_equal(open_read("missing/file"), -WASI_ENOENT);
        assert_int_equal(open_read(""), -WASI_ENOENT);
    }
}

static void parents_and_absolute_paths_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "..",
        "../",
        "../secret",
        "/etc/passwd",
        "/",
        "//",
        "dir/../../secret",
        "dir/nested/../../../secret",
        "./../secret",
        "dir/nested/../../..",
        "../top/dir/nested/file",
    };
    tree();
    BOTH_WAYS(way)
    {
        for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
            assert_int_equal(open_read(bad[i]), -WASI_EPERM);
            assert_int_equal(CALL(path_filestat_get, 3, 0, TEXT(bad[i]), SCRATCH), WASI_EPERM);
            assert_int_equal(CALL(path_filestat_set_times, 3, 0, TEXT(bad[i]), 1, 1, 5),
                             WASI_EPERM);
            assert_int_equal(CALL(path_readlink, 3, TEXT(bad[i]), DATA, 100, SCRATCH), WASI_EPERM);
        }
    }
}

static void operations_on_a_path_outside_change_nothing(void **state)
{
    (void)state;
    struct stat before, after;
    tree();
    assert_int_equal(mkdir(host_path("../victim"), 0755), 0);
    link_to("..", "up");
    assert_int_equal(stat(host_path(".."), &before), 0);
    BOTH_WAYS(way)
    {
        assert_int_equal(CALL(path_create_directory, 3, TEXT("../made")), WASI_EPERM);
        assert_int_equal(CALL(path_create_directory, 3, TEXT("up/made")), WASI_EPERM);
        assert_int_equal(CALL(path_remove_directory, 3, TEXT("../victim")), WASI_EPERM);
        assert_int_equal(CALL(path_remove_directory, 3, TEXT("up/victim/")), WASI_EPERM);
        assert_int_equal(CALL(path_unlink_file, 3, TEXT("../secret")), WASI_EPERM);
        assert_int_equal(CALL(path_unlink_file, 3, TEXT("up/secret")), WASI_EPERM);
        assert_int_equal(CALL(path_rename, 3, TEXT("dir"), 3, TEXT("../dir")), WASI_EPERM);
        assert_int_equal(CALL(path_rename, 3, TEXT("../secret"), 3, TEXT("mine")), WASI_EPERM);
        assert_int_equal(CALL(path_link, 3, 0, TEXT("../secret"), 3, TEXT("mine")), WASI_EPERM);
        assert_int_equal(CALL(path_link, 3, 1, TEXT("up/secret"), 3, TEXT("mine")), WASI_EPERM);
        assert_int_equal(CALL(path_link, 3, 0, TEXT("dir/nested/file"), 3, TEXT("../mine")),
                         WASI_EPERM);
        assert_int_equal(CALL(path_symlink, TEXT("x"), 3, TEXT("../mine")), WASI_EPERM);
        /* The kernel refuses these on ".." itself. */
        assert_int_not_equal(CALL(path_remove_directory, 3, TEXT("..")), WASI_SUCCESS);
        assert_int_not_equal(CALL(path_unlink_file, 3, TEXT("..")), WASI_SUCCESS);
        assert_int_not_equal(CALL(path_rename, 3, TEXT(".."), 3, TEXT("mine")), WASI_SUCCESS);
        assert_int_not_equal(CALL(path_link, 3, 0, TEXT(".."), 3, TEXT("mine")), WASI_SUCCESS);
        assert_int_not_equal(CALL(path_create_directory, 3, TEXT("..")), WASI_SUCCESS);
    }
    assert_int_equal(stat(host_path(".."), &after), 0);
    assert_int_equal(before.st_mtim.tv_sec, after.st_mtim.tv_sec);
    assert_int_equal(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
    assert_int_equal(before.st_nlink, after.st_nlink);
    assert_int_equal(access(host_path("mine"), F_OK), -1);
}

static void links_that_stay_inside_are_followed_and_others_refused(void **state)
{
    (void)state;
    tree();
    link_to("dir/nested/file", "good");
    link_to("../dir/nested", "dir/sideways");
    link_to("../../secret", "dir/bad");
    link_to("/etc/passwd", "absolute");
    link_to("/", "root");
    link_to("../top/dir", "roundabout");
    link_to("../missing", "gone");
    BOTH_WAYS(way)
    {
        assert_in_range(open_read("good"), 0, 100);
        assert_in_range(open_read("dir/sideways/file"), 0, 100);
        assert_in_range(open_read("dir/sideways/../nested/file"), 0, 100);
        assert_int_equal(open_read("dir/bad"), -WASI_EPERM);
        assert_int_equal(open_read("absolute"), -WASI_EPERM);
        assert_int_equal(open_read("root/etc/passwd"), -WASI_EPERM);
        assert_int_equal(open_read("roundabout/nested/file"), -WASI_EPERM);
        assert_int_equal(open_write("dir/bad", WASI_OFLAG_CREAT), -WASI_EPERM);
        assert_int_equal(CALL(path_filestat_get, 3, 1, TEXT("dir/bad"), SCRATCH), WASI_EPERM);
        assert_int_equal(CALL(path_filestat_get, 3, 0, TEXT("root/"), SCRATCH), WASI_EPERM);
        assert_int_equal(CALL(path_filestat_set_times, 3, 0, TEXT("root/"), 1, 1, 5), WASI_EPERM);
        assert_int_equal(CALL(path_link, 3, 0, TEXT("root/"), 3, TEXT("mine")), WASI_EPERM);
        /* Not even whether something is there can be found out. */
        assert_int_equal(CALL(path_link, 3, 0, TEXT("gone/"), 3, TEXT("mine")), WASI_EPERM);
        assert_int_equal(CALL(path_filestat_get, 3, 1, TEXT("gone"), SCRATCH), WASI_EPERM);
        /* A link outside is not written through either when it dangles. */
        assert_int_equal(symlink("../fresh", host_path("dangling")), 0);
        assert_int_equal(open_write("dangling", WASI_OFLAG_CREAT), -WASI_EPERM);
        assert_int_equal(access(host_path("../fresh"), F_OK), -1);
        assert_int_equal(unlink(host_path("dangling")), 0);
    }
}

static void a_dangling_link_inside_is_created_through(void **state)
{
    (void)state;
    tree();
    BOTH_WAYS(way)
    {
        assert_int_equal(symlink("nested/fresh", host_path("dir/dangling")), 0);
        assert_int_equal(open_write("dir/dangling", WASI_OFLAG_CREAT | WASI_OFLAG_EXCL),
                         -WASI_EEXIST);
        assert_in_range(open_write("dir/dangling", WASI_OFLAG_CREAT), 0, 100);
        assert_int_equal(unlink(host_path("dir/nested/fresh")), 0);
        assert_int_equal(unlink(host_path("dir/dangling")), 0);
    }
}

static void loops_of_links_end(void **state)
{
    (void)state;
    link_to("b", "a");
    link_to("a", "b");
    link_to("c/x", "c");
    BOTH_WAYS(way)
    {
        assert_int_equal(open_read("a"), -WASI_ELOOP);
        assert_int_equal(open_read("a/x"), -WASI_ELOOP);
        assert_int_equal(open_read("c/x/y"), -WASI_ELOOP);
        assert_int_equal(CALL(path_filestat_get, 3, 1, TEXT("b"), SCRATCH), WASI_ELOOP);
    }
}

static void without_the_follow_flag_a_last_link_is_not_followed(void **state)
{
    (void)state;
    tree();
    link_to("dir/nested/file", "good");
    link_to("dir", "way");
    BOTH_WAYS(way)
    {
        assert_int_equal(open_from(3, "good", 0, 0, READ_RIGHTS), -WASI_ELOOP);
        assert_in_range(open_from(3, "way/nested/file", 0, 0, READ_RIGHTS), 0, 100);
        assert_int_equal(CALL(path_filestat_get, 3, 0, TEXT("good"), SCRATCH), WASI_SUCCESS);
        assert_int_equal(arena.memory[SCRATCH + 16], WASI_FILETYPE_SYMBOLIC_LINK);
        assert_int_equal(CALL(path_filestat_get, 3, 1, TEXT("good"), SCRATCH), WASI_SUCCESS);
        assert_int_equal(arena.memory[SCRATCH + 16], WASI_FILETYPE_REGULAR_FILE);
        assert_int_equal(result_u64(32), 6);
    }
}

static void link_targets_can_be_read_but_not_made_absolute(void **state)
{
    (void)state;
    link_to("/etc/passwd", "absolute");
    host_file("plain", "");
    BOTH_WAYS(way)
    {
        assert_int_equal(CALL(path_readlink, 3, TEXT("absolute"), DATA, 100, SCRATCH), 0);
        assert_int_equal(result_u32(0), 11);
        assert_memory_equal(arena.memory + DATA, "/etc/passwd", 11);
        assert_int_equal(CALL(path_readlink, 3, TEXT("absolute"), DATA, 4, SCRATCH), 0);
        assert_int_equal(result_u32(0), 4);
        assert_int_equal(CALL(path_readlink, 3, TEXT("plain"), DATA, 100, SCRATCH), WASI_EINVAL);
        assert_int_equal(CALL(path_symlink, TEXT("/etc"), 3, TEXT("new")), WASI_EPERM);
        assert_int_equal(CALL(path_symlink, TEXT("some/where"), 3, TEXT("new")), WASI_SUCCESS);
        assert_int_equal(CALL(path_readlink, 3, TEXT("new"), DATA, 100, SCRATCH), 0);
        assert_memory_equal(arena.memory + DATA, "some/where", 10);
        assert_int_equal(CALL(path_unlink_file, 3, TEXT("new")), WASI_SUCCESS);
    }
}

static void overlong_paths_and_hidden_zeros_are_refused(void **state)
{
    (void)state;
    memset(arena.memory + DATA, 'a', 8192);
    BOTH_WAYS(way)
    {
        assert_int_equal(CALL(path_unlink_file, 3, DATA, 300), WASI_ENAMETOOLONG);
        assert_int_equal(CALL(path_unlink_file, 3, DATA, 8192), WASI_ENAMETOOLONG);
        assert_int_equal(CALL(path_unlink_file, 3, DATA, UINT32_MAX), WASI_ENAMETOOLONG);
        assert_int_equal(CALL(path_unlink_file, 3, MEMORY_BYTES - 2, 4), WASI_EFAULT);
        assert_int_equal(CALL(path_unlink_file, 3, guest_text("file"), 5), WASI_EINVAL);
    }
}

static void deep_trees_are_reached_and_climbed(void **state)
{
    (void)state;
    char path[1200] = "";
    int at = open(top, O_RDONLY | O_DIRECTORY);
    for (int depth = 0; depth < 200; depth++) {
        assert_int_equal(mkdirat(at, "d", 0755), 0);
        int next = openat(at, "d", O_RDONLY | O_DIRECTORY);
        close(at);
        at = next;
        strcat(path, "d/");
    }
    close(at);
    for (int depth = 0; depth < 200; depth++) {
        strcat(path, "../");
    }
    BOTH_WAYS(way)
    {
        assert_in_range(open_read(path), 0, 100);
    }
    strcat(path, "../");
    BOTH_WAYS(way)
    {
        assert_int_equal(open_read(path), -WASI_EPERM);
    }
}

/* ---- somebody else changes the tree meanwhile ---- */

static atomic_bool stop;

/* Makes "swap" in turns a directory with a file, and a link to the directory outside. */
static void *swapper(void *unused)
{
    (void)unused;
    char swap[256], real[256], away[256];
    snprintf(swap, sizeof swap, "%s/swap", top);
    snprintf(real, sizeof real, "%s/real", top);
    snprintf(away, sizeof away, "%s/away", top);
    while (!atomic_load(&stop)) {
        (void)rename(real, swap);
        (void)rename(swap, real);
        (void)rename(away, swap);
        (void)rename(swap, away);
    }
    return NULL;
}

static void racing_link_swaps_never_lead_outside(void **state)
{
    (void)state;
    pthread_t thread;
    int opened = 0;
    assert_int_equal(mkdir(host_path("real"), 0755), 0);
    host_file("real/secret", "inside");
    host_file("../secret", "outside");
    link_to("..", "away");
    atomic_store(&stop, false);
    assert_int_equal(pthread_create(&thread, NULL, swapper, NULL), 0);
    BOTH_WAYS(way)
    {
        for (int i = 0; i < 4000 || (opened == 0 && i < 400000); i++) {
            int fd =
                open_from(3, i % 2 ? "swap/secret" : "swap/../swap/secret", i & 1, 0, READ_RIGHTS);
            if (fd >= 0) {
                opened++;
                assert_int_equal(guest_fd_read(fd, 100), 6);
                assert_memory_equal(arena.memory + DATA, "inside", 6);
                CALL(fd_close, (uint64_t)fd);
            }
            if (CALL(path_filestat_get, 3, 1, TEXT("swap/secret"), SCRATCH) == WASI_SUCCESS) {
                assert_int_equal(result_u64(32), 6);
            }
            CALL(path_unlink_file, 3, TEXT("swap/victim"));
        }
        assert_true(opened > 0);
        opened = 0;
    }
    atomic_store(&stop, true);
    pthread_join(thread, NULL);
}

/* The guest moves a directory up while it climbs out of it by "..". */
static void *mover(void *unused)
{
    (void)unused;
    char deep[256], high[256];
    snprintf(deep, sizeof deep, "%s/x/y/deep", top);
    snprintf(high, sizeof high, "%s/deep", top);
    while (!atomic_load(&stop)) {
        (void)rename(deep, high);
        (void)rename(high, deep);
    }
    return NULL;
}

static void climbing_out_of_a_directory_that_moves_stays_inside(void **state)
{
    (void)state;
    pthread_t thread;
    assert_int_equal(mkdir(host_path("x"), 0755), 0);
    assert_int_equal(mkdir(host_path("x/y"), 0755), 0);
    assert_int_equal(mkdir(host_path("x/y/deep"), 0755), 0);
    host_file("../secret", "outside");
    atomic_store(&stop, false);
    assert_int_equal(pthread_create(&thread, NULL, mover, NULL), 0);
    BOTH_WAYS(way)
    {
        for (int i = 0; i < 4000; i++) {
            assert_in_range(open_read("x/y/deep/../../../secret"), -100, -1);
            assert_in_range(open_read("x/y/deep/../../../../secret"), -100, -1);
        }
    }
    atomic_store(&stop, true);
    pthread_join(thread, NULL);
}

#define IN_DIRECTORY(f) cmocka_unit_test_setup_teardown(f, directory_begin, directory_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_DIRECTORY(ordinary_paths_open_the_file),
        IN_DIRECTORY(parents_and_absolute_paths_are_refused),
        IN_DIRECTORY(operations_on_a_path_outside_change_nothing),
        IN_DIRECTORY(links_that_stay_inside_are_followed_and_others_refused),
        IN_DIRECTORY(a_dangling_link_inside_is_created_through),
        IN_DIRECTORY(loops_of_links_end),
        IN_DIRECTORY(without_the_follow_flag_a_last_link_is_not_followed),
        IN_DIRECTORY(link_targets_can_be_read_but_not_made_absolute),
        IN_DIRECTORY(overlong_paths_and_hidden_zeros_are_refused),
        IN_DIRECTORY(deep_trees_are_reached_and_climbed),
        IN_DIRECTORY(racing_link_swaps_never_lead_outside),
        IN_DIRECTORY(climbing_out_of_a_directory_that_moves_stays_inside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
