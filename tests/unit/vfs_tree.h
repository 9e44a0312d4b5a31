/*
 * A file tree of a function over a base and shared files, and short ways to use it. Included once
 * per program.
 */
#ifndef TESTS_UNIT_VFS_TREE_H
#define TESTS_UNIT_VFS_TREE_H

#include "vfs_shared.h"

#include "base/file.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static struct vfs tree;
static struct owner owner;
/* The caller's descriptors. */
static uint32_t open_nodes[64];
static uint32_t open_total;

static inline uint32_t open_count(void *caller, uint32_t node)
{
    uint32_t count = 0;
    (void)caller;
    for (uint32_t i = 0; i < open_total; i++) {
        count += open_nodes[i] == node;
    }
    return count;
}

#define TEXT_FILE(name, content) \
    {.path = (name), .type = VFS_FILE, .bytes = (content), .len = sizeof(content) - 1}

static inline void tree_of(const struct vfs_entry *entries, uint32_t count,
                           struct vfs_config config)
{
    struct error e;
    if (vfs_base_create(entries, count, &config.base, &e) != 0) {
        fail_msg("%s", e.text);
    }
    vfs_begin(&tree, &config, open_count, NULL);
    vfs_base_release(config.base);
    open_total = 0;
}

static inline int end(void **state)
{
    (void)state;
    if (tree.base != NULL) {
        vfs_end(&tree);
        tree.base = NULL;
    }
    owner_end(&owner);
    owner = (struct owner){0};
    return 0;
}

/* ---- short ways ---- */

static inline int open_at(const char *path, int flags)
{
    struct vfs_opened opened;
    int result = vfs_open(&tree, VFS_ROOT, path, flags, &opened);
    if (result == 0) {
        open_nodes[open_total++] = opened.node;
        free(opened.publish);
    }
    return result == 0 ? (int)opened.node : result;
}

static inline void close_last(void)
{
    vfs_close(&tree, open_nodes[--open_total]);
}

static inline int write_at(uint32_t node, uint64_t offset, const void *bytes, size_t len)
{
    for (size_t done = 0; done < len;) {
        uint8_t *room;
        ssize_t run = vfs_room(&tree, node, offset + done, len - done, &room);
        if (run < 0) {
            return (int)run;
        }
        memcpy(room, (const char *)bytes + done, (size_t)run);
        done += (size_t)run;
        vfs_wrote(&tree, node, offset + done);
    }
    return 0;
}

static inline int put(const char *path, const char *text)
{
    int node = open_at(path, O_WRONLY | O_CREAT | O_TRUNC);
    if (node < 0) {
        return node;
    }
    int result = write_at((uint32_t)node, 0, text, strlen(text));
    close_last();
    return result;
}

/* A file's content as text, or the error as "-2". */
static inline const char *content(const char *path)
{
    static char text[256];
    const uint8_t *bytes;
    size_t done = 0;
    int node = open_at(path, O_RDONLY);
    if (node < 0) {
        snprintf(text, sizeof text, "%d", node);
        return text;
    }
    for (size_t run; (run = vfs_peek(&tree, (uint32_t)node, done, sizeof text - 1 - done, &bytes));
         done += run) {
        memcpy(text + done, bytes, run);
    }
    text[done] = '\0';
    close_last();
    return text;
}

static inline int name_add(void *to, const char *name, size_t len, uint64_t inode,
                           enum vfs_type type)
{
    (void)inode;
    strncat(to, name, len);
    strcat(to, type == VFS_DIRECTORY ? "/ " : " ");
    return 0;
}

/* "./ ../ a b/ " */
static inline const char *names(const char *path)
{
    static char list[4096];
    int node = open_at(path, O_RDONLY | O_DIRECTORY);
    assert_true(node > 0);
    list[0] = '\0';
    assert_int_equal(vfs_list(&tree, (uint32_t)node, name_add, list), 0);
    close_last();
    return list;
}

static inline int make(const char *path)
{
    return vfs_make_directory(&tree, VFS_ROOT, path);
}

static inline int removed(const char *path, bool directory)
{
    return vfs_remove(&tree, VFS_ROOT, path, directory);
}

static inline int renamed(const char *from, const char *to)
{
    return vfs_rename(&tree, VFS_ROOT, from, VFS_ROOT, to);
}

static const struct vfs_entry some[] = {
    TEXT_FILE("a", "first"),
    TEXT_FILE("dir/b", "second"),
    TEXT_FILE("dir/sub/c", "third"),
    {.path = "link", .type = VFS_LINK, .bytes = "dir/b", .len = 5},
    {.path = "empty", .type = VFS_DIRECTORY},
};
#define SOME some, sizeof some / sizeof some[0]

#endif
