/*
 * A guest without an engine (wasi_guest.h) in a temporary directory of the host, and short ways to
 * call WASI. Included by the wasi tests only, once per program.
 */
#ifndef TESTS_UNIT_WASI_WORLD_H
#define TESTS_UNIT_WASI_WORLD_H

#include "wasi_guest.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define SCRATCH 0x80000u /* results are stored from here on; texts grow from 0x1000 */

static enum host_status status;
static char top[64]; /* the host directory that the guest has as descriptor 3 */

/* Makes the call, or makes it again after a park. The preview 1 error, when it is done. */
static inline uint16_t call_again(host_function function, const uint64_t *args, size_t count,
                                  bool resumed)
{
    status = guest_call(function, args, count, resumed);
    return status == HOST_DONE ? (uint16_t)slots[0].u32 : UINT16_MAX;
}

#define ARGS(...) (const uint64_t[]){__VA_ARGS__}, sizeof((uint64_t[]){__VA_ARGS__}) / 8
/* A complete call: CALL(fd_close, 5) is its error; status says whether it finished or parked. */
#define CALL(name, ...)   call_again(preview1_##name, ARGS(__VA_ARGS__), false)
#define RESUME(name, ...) call_again(preview1_##name, ARGS(__VA_ARGS__), true)

/* Puts a text into guest memory. TEXT(t) is an address and a length, for the argument list. */
static inline uint32_t guest_text(const char *text)
{
    size_t len = strlen(text) + 1;
    if (arena.text_end < 0x1000 || arena.text_end + len > SCRATCH) {
        arena.text_end = 0x1000;
    }
    uint32_t address = arena.text_end;
    memcpy(arena.memory + address, text, len);
    arena.text_end += (uint32_t)len;
    return address;
}
#define TEXT(t) guest_text(t), strlen(t)

static inline uint32_t result_u32(uint32_t offset)
{
    return load_u32(arena.memory + SCRATCH + offset);
}

static inline uint64_t result_u64(uint32_t offset)
{
    return load_u64(arena.memory + SCRATCH + offset);
}

/* One vector at SCRATCH + 0x100 over these bytes of guest memory. */
#define VECTOR (SCRATCH + 0x100)
static inline uint32_t vector(uint32_t address, uint32_t len)
{
    store_u32(arena.memory + VECTOR, address);
    store_u32(arena.memory + VECTOR + 4, len);
    return VECTOR;
}

/* Opens a path beneath a descriptor with every right it may pass on. The descriptor's number, or
 * minus the error. */
static inline int open_from(uint32_t fd, const char *path, uint32_t lookup, uint32_t oflags,
                            uint64_t rights)
{
    uint16_t error = CALL(path_open, fd, lookup, guest_text(path), strlen(path), oflags, rights,
                          WASI_RIGHTS_ALL, 0, SCRATCH);
    return error == WASI_SUCCESS ? (int)result_u32(0) : -(int)error;
}

#define READ_RIGHTS                                                                              \
    (WASI_RIGHTS_ALL & ~(WASI_RIGHT_FD_WRITE | WASI_RIGHT_FD_DATASYNC | WASI_RIGHT_FD_ALLOCATE | \
                         WASI_RIGHT_FD_FILESTAT_SET_SIZE))

static inline int open_read(const char *path)
{
    return open_from(3, path, WASI_LOOKUP_SYMLINK_FOLLOW, 0, READ_RIGHTS);
}

static inline int open_write(const char *path, uint32_t oflags)
{
    return open_from(3, path, WASI_LOOKUP_SYMLINK_FOLLOW, oflags, WASI_RIGHTS_ALL);
}

/* Reads up to len bytes into guest memory at 0x40000; how many, or minus the error. */
#define DATA 0x40000u
static inline int guest_fd_read(int fd, uint32_t len)
{
    uint16_t error = CALL(fd_read, (uint64_t)fd, vector(DATA, len), 1, SCRATCH);
    return status != HOST_DONE ? -1000 : error == 0 ? (int)result_u32(0) : -(int)error;
}

static inline int guest_fd_write(int fd, const char *text)
{
    uint32_t address = guest_text(text);
    uint16_t error =
        CALL(fd_write, (uint64_t)fd, vector(address, (uint32_t)strlen(text)), 1, SCRATCH);
    return status != HOST_DONE ? -1000 : error == 0 ? (int)result_u32(0) : -(int)error;
}

/* ---- the host's side of the directory ---- */

static inline const char *host_path(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", top, name);
    return path;
}

static inline void host_file(const char *name, const char *content)
{
    FILE *f = fopen(host_path(name), "w");
    assert_non_null(f);
    assert_int_equal(fputs(content, f) >= 0, 1);
    assert_int_equal(fclose(f), 0);
}

static inline int remove_one(const char *path, const struct stat *s, int type, struct FTW *f)
{
    (void)s, (void)type, (void)f;
    return remove(path);
}

/* Makes the temporary directory NAME/top, so that NAME itself is "outside". */
static inline int directory_begin(void **state)
{
    (void)state;
    strcpy(top, "/tmp/atoll-wasi-XXXXXX");
    if (mkdtemp(top) == NULL) {
        return -1;
    }
    strcat(top, "/top");
    return mkdir(top, 0755);
}

static inline int directory_end(void **state)
{
    (void)state;
    wasi_destroy(wasi);
    wasi = NULL;
    *strrchr(top, '/') = '\0';
    return nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* A world with the directory as "/", and no standard streams. False where there is no openat2. */
static inline bool world_begin(enum wasi_resolution resolution, bool read_only)
{
    struct error e;
    struct wasi_preopen preopen = {.host_path = top, .guest_name = "/", .read_only = read_only};
    struct wasi_config config = {.stdin_fd = -1,
                                 .stdout_fd = -1,
                                 .stderr_fd = -1,
                                 .preopens = &preopen,
                                 .preopen_count = 1,
                                 .resolution = resolution};
    wasi_destroy(wasi);
    wasi = NULL;
    int result = wasi_create(&config, &wasi, &e);
    if (result == -ATOLL_EUNAVAIL) {
        print_message("# skipped here: %s\n", e.text);
        return false;
    }
    if (result != 0) {
        fail_msg("%s", e.text);
    }
    return true;
}

/* A world with a tree of these files, and no standard streams. */
static inline void tree_begin(const struct vfs_entry *entries, uint32_t count,
                              struct vfs_config *tree)
{
    struct error e;
    struct wasi_config config = {.stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1, .tree = tree};
    wasi_destroy(wasi);
    wasi = NULL;
    int result = vfs_base_create(entries, count, &tree->base, &e);
    if (result == 0) {
        result = wasi_create(&config, &wasi, &e);
        vfs_base_release(tree->base);
    }
    if (result != 0) {
        fail_msg("%s", e.text);
    }
}

#define TEXT_FILE(name, content) \
    {.path = (name), .type = VFS_FILE, .bytes = (content), .len = sizeof(content) - 1}
#define TEXT_LINK(name, target) \
    {.path = (name), .type = VFS_LINK, .bytes = (target), .len = sizeof(target) - 1}

#endif
