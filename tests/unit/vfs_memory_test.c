/* When memory runs out in the middle of any operation on a tree, it fails and changes nothing. */
#define _GNU_SOURCE
#include "base/sanitized.h"
#include "vfs_shared.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>

#include <cmocka.h>

/* ---- an allocator that fails on demand ---- */

static int allowed = -1; /* allocations until one fails; -1: none does */

#if !SANITIZED
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);

static bool denied(void)
{
    if (allowed < 0) {
        return false;
    }
    return allowed-- == 0;
}

void *malloc(size_t size)
{
    return denied() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return denied() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    return denied() ? NULL : __libc_realloc(old, size);
}
#endif

/* ---- the tree ---- */

static struct vfs tree;
static struct owner owner;
static uint32_t open_node;

static uint32_t open_count(void *caller, uint32_t node)
{
    (void)caller;
    return node == open_node;
}

#define TEXT_FILE(name, content) \
    {.path = (name), .type = VFS_FILE, .bytes = (content), .len = sizeof(content) - 1}

static void tree_begin(struct vfs_base *base)
{
    struct vfs_opened opened;
    const struct vfs_config config = {.base = base, .shared = &owner_ops, .context = &owner};
    open_node = 0;
    vfs_begin(&tree, &config, open_count, NULL);
    assert_int_equal(vfs_open(&tree, VFS_ROOT, "dir/open", O_RDWR, &opened), 0);
    open_node = opened.node;
    assert_int_equal(vfs_make_directory(&tree, VFS_ROOT, "own"), 0);
    assert_int_equal(vfs_symlink(&tree, "../dir/b", VFS_ROOT, "own/link"), 0);
}

static int listed(void *to, const char *name, size_t len, uint64_t inode, enum vfs_type type)
{
    (void)inode, (void)type;
    strncat(to, name, len);
    strcat(to, " ");
    return 0;
}

/* The names in the directories that the operations work on, and some sizes. */
static void dump(char text[2048])
{
    static const char *const directories[] = {".", "dir", "own", "shared", "tmp"};
    struct vfs_status status;
    text[0] = '\0';
    for (size_t i = 0; i < sizeof directories / sizeof directories[0]; i++) {
        struct vfs_opened opened;
        int flags = O_RDONLY | O_DIRECTORY;
        if (vfs_open(&tree, VFS_ROOT, directories[i], flags, &opened) == 0) {
            assert_int_equal(vfs_list(&tree, opened.node, listed, text), 0);
            vfs_look_at(&tree, opened.node, &status);
            sprintf(text + strlen(text), "%u | ", status.links);
            vfs_close(&tree, opened.node);
        }
    }
    vfs_look_at(&tree, open_node, &status);
    sprintf(text + strlen(text), "%llu %u", (unsigned long long)status.size, status.links);
}

/* ---- operations ---- */

static int open_new(void)
{
    struct vfs_opened opened;
    int result = vfs_open(&tree, VFS_ROOT, "own/new", O_RDWR | O_CREAT, &opened);
    return result;
}

static int open_published(void)
{
    struct vfs_opened opened;
    int result = vfs_open(&tree, VFS_ROOT, "shared/new", O_RDWR | O_CREAT | O_TRUNC, &opened);
    if (result == 0) {
        free(opened.publish);
    }
    return result;
}

static int open_shared(void)
{
    struct vfs_opened opened;
    return vfs_open(&tree, VFS_ROOT, "shared/models/m", O_RDONLY, &opened);
}

static int write_far(void)
{
    uint8_t *room;
    ssize_t run = vfs_room(&tree, open_node, 100000, 10, &room);
    if (run == 10) {
        vfs_wrote(&tree, open_node, 100010);
    }
    return run < 0 ? (int)run : 0;
}

static int make_directory(void)
{
    return vfs_make_directory(&tree, VFS_ROOT, "shared/made");
}

static int make_link(void)
{
    return vfs_symlink(&tree, "target", VFS_ROOT, "dir/link");
}

static int remove_base(void)
{
    return vfs_remove(&tree, VFS_ROOT, "dir/b", false);
}

static int remove_open(void)
{
    return vfs_remove(&tree, VFS_ROOT, "dir/open", false);
}

static int remove_shared(void)
{
    return vfs_remove(&tree, VFS_ROOT, "shared/models/m", false);
}

static int rename_file(void)
{
    return vfs_rename(&tree, VFS_ROOT, "dir/b", VFS_ROOT, "tmp/b");
}

static int rename_over_open(void)
{
    return vfs_rename(&tree, VFS_ROOT, "own/link", VFS_ROOT, "dir/open");
}

static int rename_directory(void)
{
    return vfs_rename(&tree, VFS_ROOT, "dir", VFS_ROOT, "own/dir");
}

static int link_file(void)
{
    return vfs_link(&tree, VFS_ROOT, "dir/b", false, VFS_ROOT, "own/b");
}

static int set_times(void)
{
    const struct timespec times[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
    return vfs_set_times(&tree, VFS_ROOT, "dir/b", true, times);
}

static void nothing_changes_when_memory_runs_out(void **state)
{
    (void)state;
    static int (*const operations[])(void) = {
        open_new,         open_published,   open_shared, write_far,     make_directory,
        make_link,        remove_base,      remove_open, remove_shared, rename_file,
        rename_over_open, rename_directory, link_file,   set_times,
    };
    static const struct vfs_entry entries[] = {TEXT_FILE("dir/b", "content"),
                                               TEXT_FILE("dir/open", "open")};
    struct vfs_base *base;
    struct error e;
#if SANITIZED
    skip();
#endif
    assert_int_equal(vfs_base_create(entries, 2, &base, &e), 0);
    owner_text(&owner, "models/m", "weights");
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++) {
        int result = -ENOMEM, failures = 0;
        while (result == -ENOMEM) {
            char before[2048], after[2048];
            tree_begin(base);
            dump(before);
            allowed = failures;
            result = operations[i]();
            bool ran_out = allowed < 0;
            allowed = -1;
            dump(after);
            if (result == -ENOMEM) {
                failures++;
                assert_true(ran_out);
                assert_string_equal(after, before);
            }
            vfs_end(&tree);
            assert_in_range(failures, 0, 50);
        }
        assert_int_equal(result, 0);
        assert_true(failures > 0);
    }
    vfs_base_release(base);
    owner_end(&owner);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_changes_when_memory_runs_out)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
