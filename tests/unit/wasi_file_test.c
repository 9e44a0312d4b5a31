/* Files, directories, rights and flags, as a guest sees them. */
#define _GNU_SOURCE
#include "wasi_world.h"

#include <time.h>

static int begin(void **state)
{
    int result = directory_begin(state);
    return result != 0 ? result : (world_begin(WASI_RESOLVE_BEST, false), 0);
}

static int begin_read_only(void **state)
{
    int result = directory_begin(state);
    return result != 0 ? result : (world_begin(WASI_RESOLVE_BEST, true), 0);
}

#define CREATE (WASI_OFLAG_CREAT | WASI_OFLAG_TRUNC)

static uint64_t seek(int fd, int64_t offset, uint32_t whence)
{
    uint16_t error = CALL(fd_seek, (uint64_t)fd, (uint64_t)offset, whence, SCRATCH);
    return error == WASI_SUCCESS ? result_u64(0) : UINT64_MAX - error;
}

static void what_is_written_is_read_back(void **state)
{
    (void)state;
    int fd = open_write("file", CREATE);
    assert_int_equal(guest_fd_write(fd, "hello, file"), 11);
    assert_int_equal(seek(fd, 7, WASI_WHENCE_SET), 7);
    assert_int_equal(guest_fd_read(fd, 100), 4);
    assert_memory_equal(arena.memory + DATA, "file", 4);
    assert_int_equal(guest_fd_read(fd, 100), 0);
    assert_int_equal(seek(fd, -4, WASI_WHENCE_END), 7);
    assert_int_equal(seek(fd, -3, WASI_WHENCE_CUR), 4);
    assert_int_equal(CALL(fd_tell, (uint64_t)fd, SCRATCH), WASI_SUCCESS);
    assert_int_equal(result_u64(0), 4);
    assert_int_equal(seek(fd, -100, WASI_WHENCE_CUR), UINT64_MAX - WASI_EINVAL);
    assert_int_equal(seek(fd, 0, 3), UINT64_MAX - WASI_EINVAL);
}

static void vectors_scatter_gather_and_keep_the_position(void **state)
{
    (void)state;
    int fd = open_write("file", CREATE);
    assert_int_equal(guest_fd_write(fd, "0123456789"), 10);
    uint8_t *vectors = arena.memory + VECTOR;
    store_u32(vectors, DATA);
    store_u32(vectors + 4, 2);
    store_u32(vectors + 8, DATA + 100);
    store_u32(vectors + 12, 0);
    store_u32(vectors + 16, DATA + 50);
    store_u32(vectors + 20, 3);
    assert_int_equal(CALL(fd_pread, (uint64_t)fd, VECTOR, 3, 4, SCRATCH), WASI_SUCCESS);
    assert_int_equal(result_u32(0), 5);
    assert_memory_equal(arena.memory + DATA, "45", 2);
    assert_memory_equal(arena.memory + DATA + 50, "678", 3);
    assert_int_equal(CALL(fd_pwrite, (uint64_t)fd, VECTOR, 3, 8, SCRATCH), WASI_SUCCESS);
    assert_int_equal(result_u32(0), 5);
    assert_int_equal(seek(fd, 0, WASI_WHENCE_CUR), 10);
    assert_int_equal(CALL(fd_pread, (uint64_t)fd, vector(DATA, 100), 1, 0, SCRATCH), WASI_SUCCESS);
    assert_int_equal(result_u32(0), 13);
    assert_memory_equal(arena.memory + DATA, "0123456745678", 13);
    assert_int_equal(CALL(fd_pread, (uint64_t)fd, VECTOR, 1, UINT64_MAX, SCRATCH), WASI_EINVAL);
}

static void vectors_outside_of_memory_move_nothing(void **state)
{
    (void)state;
    host_file("file", "0123456789");
    int fd = open_read("file");
    uint64_t n = (uint64_t)fd;
    assert_int_equal(CALL(fd_read, n, vector(MEMORY_BYTES - 4, 5), 1, SCRATCH), WASI_EFAULT);
    assert_int_equal(CALL(fd_read, n, vector(UINT32_MAX, 1), 1, SCRATCH), WASI_EFAULT);
    assert_int_equal(CALL(fd_read, n, vector(8, UINT32_MAX), 1, SCRATCH), WASI_EFAULT);
    assert_int_equal(CALL(fd_read, n, MEMORY_BYTES - 4, 1, SCRATCH), WASI_EFAULT);
    assert_int_equal(CALL(fd_read, n, vector(DATA, 5), 1025, SCRATCH), WASI_EINVAL);
    assert_int_equal(CALL(fd_read, n, vector(DATA, 5), 1, MEMORY_BYTES - 3), WASI_EFAULT);
    assert_int_equal(seek(fd, 0, WASI_WHENCE_CUR), 0);
    assert_int_equal(guest_fd_read(fd, 10), 10);
}

static void append_and_sync_flags_act_on_each_write(void **state)
{
    (void)state;
    host_file("file", "start ");
    int fd = open_write("file", 0);
    uint64_t n = (uint64_t)fd;
    assert_int_equal(CALL(fd_fdstat_set_flags, n, WASI_FDFLAG_APPEND | WASI_FDFLAG_DSYNC), 0);
    assert_int_equal(CALL(fd_fdstat_get, n, SCRATCH), WASI_SUCCESS);
    assert_int_equal(arena.memory[SCRATCH], WASI_FILETYPE_REGULAR_FILE);
    assert_int_equal(load_u16(arena.memory + SCRATCH + 2), WASI_FDFLAG_APPEND | WASI_FDFLAG_DSYNC);
    assert_int_equal(guest_fd_write(fd, "appended"), 8);
    assert_int_equal(seek(fd, 0, WASI_WHENCE_CUR), 14);
    assert_int_equal(CALL(fd_fdstat_set_flags, n, WASI_FDFLAG_SYNC), WASI_SUCCESS);
    assert_int_equal(seek(fd, 0, WASI_WHENCE_SET), 0);
    assert_int_equal(guest_fd_write(fd, "START"), 5);
    assert_int_equal(CALL(fd_pread, n, vector(DATA, 100), 1, 0, SCRATCH), WASI_SUCCESS);
    assert_memory_equal(arena.memory + DATA, "START appended", 14);
    assert_int_equal(CALL(fd_fdstat_set_flags, n, 32), WASI_EINVAL);
    assert_int_equal(CALL(fd_sync, n), WASI_SUCCESS);
    assert_int_equal(CALL(fd_datasync, n), WASI_SUCCESS);
}

static void open_flags_do_what_they_say(void **state)
{
    (void)state;
    host_file("file", "content");
    assert_int_equal(open_write("file", WASI_OFLAG_CREAT | WASI_OFLAG_EXCL), -WASI_EEXIST);
    assert_int_equal(open_write("file", WASI_OFLAG_DIRECTORY), -WASI_ENOTDIR);
    assert_int_equal(open_write("none", 0), -WASI_ENOENT);
    assert_int_equal(open_write("x", WASI_OFLAG_CREAT | WASI_OFLAG_DIRECTORY), -WASI_EINVAL);
    assert_int_equal(open_write("x", 16), -WASI_EINVAL);
    assert_int_equal(guest_fd_read(open_write("file", 0), 100), 7);
    assert_int_equal(guest_fd_read(open_write("file", WASI_OFLAG_TRUNC), 100), 0);
    assert_in_range(open_write("new", WASI_OFLAG_CREAT | WASI_OFLAG_EXCL), 0, 100);
    assert_int_equal(access(host_path("new"), F_OK), 0);
    assert_int_equal(open_write(".", 0), -WASI_EISDIR);
    assert_int_equal(open_from(9999, "file", 0, 0, 0), -WASI_EBADF);
    int file = open_read("file");
    assert_int_equal(open_from((uint32_t)file, "file", 0, 0, 0), -WASI_ENOTDIR);
}

static void an_open_with_a_bad_result_pointer_leaves_nothing_open(void **state)
{
    (void)state;
    host_file("file", "content");
    int next = open_read("file");
    assert_int_equal(CALL(fd_close, (uint64_t)next), WASI_SUCCESS);
    assert_int_equal(CALL(path_open, 3, 0, TEXT("made"), WASI_OFLAG_CREAT, WASI_RIGHTS_ALL, 0, 0,
                          MEMORY_BYTES - 3),
                     WASI_EFAULT);
    assert_int_equal(access(host_path("made"), F_OK), -1);
    assert_int_equal(open_read("file"), next);
}

static void numbers_are_the_lowest_free_and_end_at_the_limit(void **state)
{
    (void)state;
    host_file("file", "content");
    assert_int_equal(open_read("file"), 0);
    assert_int_equal(open_read("file"), 1);
    assert_int_equal(CALL(fd_close, 0), WASI_SUCCESS);
    assert_int_equal(CALL(fd_close, 0), WASI_EBADF);
    assert_int_equal(open_read("file"), 0);
    int last = 0, fd;
    /* The process's own limit may come first. */
    while ((fd = open_read("file")) >= 0) {
        last = fd;
    }
    assert_int_equal(fd, -WASI_EMFILE);
    assert_in_range(last, 4, WASI_DESCRIPTOR_LIMIT - 1);
    assert_int_equal(CALL(fd_close, (uint64_t)last), WASI_SUCCESS);
    assert_int_equal(open_read("file"), last);
}

static void renumbering_replaces_the_other_descriptor(void **state)
{
    (void)state;
    host_file("a", "aaaa");
    host_file("b", "bb");
    int a = open_read("a"), b = open_read("b");
    assert_int_equal(CALL(fd_renumber, (uint64_t)a, (uint64_t)b), WASI_SUCCESS);
    assert_int_equal(guest_fd_read(b, 100), 4);
    assert_int_equal(guest_fd_read(a, 100), -WASI_EBADF);
    assert_int_equal(CALL(fd_renumber, (uint64_t)b, (uint64_t)b), WASI_SUCCESS);
    assert_int_equal(CALL(fd_renumber, (uint64_t)b, 77), WASI_EBADF);
    assert_int_equal(CALL(fd_renumber, 77, (uint64_t)b), WASI_EBADF);
    /* A preopen remains one under its new number. */
    assert_int_equal(CALL(fd_renumber, 3, (uint64_t)b), WASI_SUCCESS);
    assert_int_equal(CALL(fd_prestat_get, (uint64_t)b, SCRATCH), WASI_SUCCESS);
    assert_int_equal(CALL(fd_prestat_get, 3, SCRATCH), WASI_EBADF);
}

static void preopens_tell_their_names(void **state)
{
    (void)state;
    host_file("file", "");
    assert_int_equal(CALL(fd_prestat_get, 3, SCRATCH), WASI_SUCCESS);
    assert_int_equal(result_u32(0), 0);
    assert_int_equal(result_u32(4), 1);
    assert_int_equal(CALL(fd_prestat_dir_name, 3, DATA, 1), WASI_SUCCESS);
    assert_int_equal(arena.memory[DATA], '/');
    assert_int_equal(CALL(fd_prestat_dir_name, 3, DATA, 0), WASI_ENAMETOOLONG);
    int file = open_read("file");
    assert_int_equal(CALL(fd_prestat_get, (uint64_t)file, SCRATCH), WASI_EBADF);
    assert_int_equal(CALL(fd_prestat_get, 4, SCRATCH), WASI_EBADF);
}

static void rights_only_shrink(void **state)
{
    (void)state;
    host_file("file", "content");
    int fd = open_write("file", 0);
    uint64_t n = (uint64_t)fd, right = WASI_RIGHT_FD_READ | WASI_RIGHT_FD_FILESTAT_GET;
    assert_int_equal(CALL(fd_fdstat_set_rights, n, right, 0), WASI_SUCCESS);
    assert_int_equal(CALL(fd_fdstat_set_rights, n, right | WASI_RIGHT_FD_WRITE, 0),
                     WASI_ENOTCAPABLE);
    assert_int_equal(CALL(fd_fdstat_set_rights, n, 0, WASI_RIGHT_FD_READ), WASI_ENOTCAPABLE);
    assert_int_equal(guest_fd_write(fd, "x"), -WASI_ENOTCAPABLE);
    assert_int_equal(seek(fd, 0, WASI_WHENCE_SET), UINT64_MAX - WASI_ENOTCAPABLE);
    assert_int_equal(CALL(fd_tell, n, SCRATCH), WASI_ENOTCAPABLE);
    assert_int_equal(CALL(fd_filestat_set_size, n, 0), WASI_ENOTCAPABLE);
    assert_int_equal(CALL(fd_filestat_set_times, n, 0, 0, 5), WASI_ENOTCAPABLE);
    assert_int_equal(CALL(fd_allocate, n, 0, 1), WASI_ENOTCAPABLE);
    assert_int_equal(CALL(fd_advise, n, 0, 1, 0), WASI_ENOTCAPABLE);
    assert_int_equal(CALL(fd_sync, n), WASI_ENOTCAPABLE);
    assert_int_equal(CALL(fd_datasync, n), WASI_ENOTCAPABLE);
    assert_int_equal(CALL(fd_fdstat_set_flags, n, 0), WASI_ENOTCAPABLE);
    assert_int_equal(CALL(fd_pread, n, vector(DATA, 4), 1, 0, SCRATCH), WASI_ENOTCAPABLE);
    assert_int_equal(guest_fd_read(fd, 100), 7);
    assert_int_equal(CALL(fd_filestat_get, n, SCRATCH), WASI_SUCCESS);
}

static void a_directory_passes_on_only_its_inheriting_rights(void **state)
{
    (void)state;
    host_file("file", "content");
    assert_int_equal(mkdir(host_path("sub"), 0755), 0);
    uint64_t base = WASI_RIGHT_PATH_OPEN, passed = WASI_RIGHT_FD_READ | WASI_RIGHT_PATH_OPEN;
    assert_int_equal(CALL(fd_fdstat_set_rights, 3, base, passed), WASI_SUCCESS);
    assert_int_equal(open_write("file", 0), -WASI_ENOTCAPABLE);
    assert_int_equal(CALL(path_open, 3, 0, TEXT("file"), 0, WASI_RIGHT_FD_READ, 0, 0, SCRATCH), 0);
    assert_int_equal(guest_fd_read((int)result_u32(0), 100), 7);
    assert_int_equal(CALL(path_open, 3, 0, TEXT("file"), WASI_OFLAG_CREAT, 0, 0, 0, SCRATCH),
                     WASI_ENOTCAPABLE);
    assert_int_equal(CALL(path_open, 3, 0, TEXT("file"), WASI_OFLAG_TRUNC, 0, 0, 0, SCRATCH),
                     WASI_ENOTCAPABLE);
    assert_int_equal(CALL(path_open, 3, 0, TEXT("file"), 0, 0, 0, WASI_FDFLAG_SYNC, SCRATCH),
                     WASI_ENOTCAPABLE);
    assert_int_equal(CALL(path_open, 3, 0, TEXT("sub"), 0, base, WASI_RIGHT_FD_WRITE, 0, SCRATCH),
                     WASI_ENOTCAPABLE);
    assert_int_equal(CALL(path_open, 3, 0, TEXT("sub"), 0, base, WASI_RIGHT_FD_READ, 0, SCRATCH),
                     WASI_SUCCESS);
    uint32_t sub = result_u32(0);
    assert_int_equal(CALL(fd_fdstat_get, sub, SCRATCH), WASI_SUCCESS);
    assert_int_equal(result_u64(8), base);
    assert_int_equal(result_u64(16), WASI_RIGHT_FD_READ);
    assert_int_equal(CALL(path_create_directory, 3, TEXT("d")), WASI_ENOTCAPABLE);
    assert_int_equal(CALL(path_remove_directory, 3, TEXT("sub")), WASI_ENOTCAPABLE);
    assert_int_equal(CALL(path_unlink_file, 3, TEXT("file")), WASI_ENOTCAPABLE);
    assert_int_equal(CALL(path_rename, 3, TEXT("file"), 3, TEXT("f")), WASI_ENOTCAPABLE);
    assert_int_equal(CALL(path_link, 3, 0, TEXT("file"), 3, TEXT("f")), WASI_ENOTCAPABLE);
    assert_int_equal(CALL(path_symlink, TEXT("file"), 3, TEXT("f")), WASI_ENOTCAPABLE);
    assert_int_equal(CALL(path_readlink, 3, TEXT("file"), DATA, 9, SCRATCH), WASI_ENOTCAPABLE);
    assert_int_equal(CALL(path_filestat_get, 3, 0, TEXT("file"), SCRATCH), WASI_ENOTCAPABLE);
    assert_int_equal(CALL(path_filestat_set_times, 3, 0, TEXT("file"), 1, 1, 5), WASI_ENOTCAPABLE);
    assert_int_equal(CALL(fd_readdir, 3, DATA, 100, 0, SCRATCH), WASI_ENOTCAPABLE);
}

static void a_read_only_preopen_behaves_like_a_read_only_file_system(void **state)
{
    (void)state;
    host_file("file", "content");
    int fd = open_read("file");
    assert_int_equal(guest_fd_read(fd, 100), 7);
    assert_int_equal(CALL(fd_filestat_set_times, (uint64_t)fd, 1, 1, 5), WASI_EROFS);
    assert_int_equal(open_write("file", 0), -WASI_EROFS);
    assert_int_equal(open_from(3, "file", 0, WASI_OFLAG_TRUNC, READ_RIGHTS), -WASI_EROFS);
    assert_int_equal(open_from(3, "new", 0, WASI_OFLAG_CREAT, READ_RIGHTS), -WASI_EROFS);
    assert_in_range(open_from(3, "file", 0, WASI_OFLAG_CREAT, READ_RIGHTS), 0, 100);
    assert_int_equal(open_from(3, "file", 0, WASI_OFLAG_CREAT | WASI_OFLAG_EXCL, READ_RIGHTS),
                     -WASI_EEXIST);
    assert_int_equal(CALL(path_create_directory, 3, TEXT("d")), WASI_EROFS);
    assert_int_equal(CALL(path_remove_directory, 3, TEXT("d")), WASI_EROFS);
    assert_int_equal(CALL(path_unlink_file, 3, TEXT("file")), WASI_EROFS);
    assert_int_equal(CALL(path_rename, 3, TEXT("file"), 3, TEXT("f")), WASI_EROFS);
    assert_int_equal(CALL(path_link, 3, 0, TEXT("file"), 3, TEXT("f")), WASI_EROFS);
    assert_int_equal(CALL(path_symlink, TEXT("file"), 3, TEXT("f")), WASI_EROFS);
    assert_int_equal(CALL(path_filestat_set_times, 3, 0, TEXT("file"), 1, 1, 5), WASI_EROFS);
    assert_int_equal(CALL(path_filestat_get, 3, 0, TEXT("file"), SCRATCH), WASI_SUCCESS);
    int sub = open_from(3, ".", 0, WASI_OFLAG_DIRECTORY, READ_RIGHTS);
    assert_int_equal(open_from((uint32_t)sub, "file", 0, 0, WASI_RIGHTS_ALL), -WASI_EROFS);
}

static void filestat_tells_type_size_links_and_times(void **state)
{
    (void)state;
    struct stat host;
    host_file("file", "content");
    assert_int_equal(CALL(path_link, 3, 0, TEXT("file"), 3, TEXT("again")), WASI_SUCCESS);
    assert_int_equal(stat(host_path("file"), &host), 0);
    int fd = open_read("file");
    assert_int_equal(CALL(fd_filestat_get, (uint64_t)fd, SCRATCH), WASI_SUCCESS);
    assert_int_equal(result_u64(0), host.st_dev);
    assert_int_equal(result_u64(8), host.st_ino);
    assert_int_equal(arena.memory[SCRATCH + 16], WASI_FILETYPE_REGULAR_FILE);
    assert_int_equal(result_u64(24), 2);
    assert_int_equal(result_u64(32), 7);
    assert_int_equal(result_u64(48),
                     (uint64_t)host.st_mtim.tv_sec * 1000000000u + (uint64_t)host.st_mtim.tv_nsec);
    assert_int_equal(CALL(fd_filestat_get, 3, SCRATCH), WASI_SUCCESS);
    assert_int_equal(arena.memory[SCRATCH + 16], WASI_FILETYPE_DIRECTORY);
    assert_int_equal(CALL(fd_filestat_get, 3, MEMORY_BYTES - 63), WASI_EFAULT);
}

static void times_are_set_as_the_flags_say(void **state)
{
    (void)state;
    const uint64_t second = 1000000000u;
    host_file("file", "content");
    assert_int_equal(symlink("file", host_path("link")), 0);
    uint64_t fd = (uint64_t)open_read("file");
    uint32_t atim = WASI_FSTFLAG_ATIM, mtim = WASI_FSTFLAG_MTIM;
    assert_int_equal(CALL(fd_filestat_set_times, fd, 5 * second, 7 * second + 1, atim | mtim), 0);
    assert_int_equal(CALL(fd_filestat_set_times, fd, 9 * second, 9 * second, atim), 0);
    assert_int_equal(CALL(fd_filestat_get, fd, SCRATCH), WASI_SUCCESS);
    assert_int_equal(result_u64(40), 9 * second);
    assert_int_equal(result_u64(48), 7 * second + 1);
    assert_int_equal(CALL(fd_filestat_set_times, fd, 1, 1, WASI_FSTFLAG_MTIM_NOW), WASI_SUCCESS);
    assert_int_equal(CALL(fd_filestat_get, fd, SCRATCH), WASI_SUCCESS);
    assert_int_equal(result_u64(40), 9 * second);
    assert_true(result_u64(48) > 1000000 * second);
    assert_int_equal(CALL(fd_filestat_set_times, fd, 1, 1, 3), WASI_EINVAL);
    assert_int_equal(CALL(fd_filestat_set_times, fd, 1, 1, 12), WASI_EINVAL);
    assert_int_equal(CALL(fd_filestat_set_times, fd, 1, 1, 16), WASI_EINVAL);
    /* Of a link itself, and through it. */
    assert_int_equal(CALL(path_filestat_set_times, 3, 0, TEXT("link"), 0, 3 * second, mtim), 0);
    assert_int_equal(CALL(path_filestat_set_times, 3, 1, TEXT("link"), 0, 4 * second, mtim), 0);
    assert_int_equal(CALL(path_filestat_get, 3, 0, TEXT("link"), SCRATCH), WASI_SUCCESS);
    assert_int_equal(result_u64(48), 3 * second);
    assert_int_equal(CALL(path_filestat_get, 3, 1, TEXT("link"), SCRATCH), WASI_SUCCESS);
    assert_int_equal(result_u64(48), 4 * second);
}

static void sizes_are_set_allocated_and_bounded(void **state)
{
    (void)state;
    uint64_t fd = (uint64_t)open_write("file", CREATE);
    assert_int_equal(CALL(fd_filestat_set_size, fd, 1000), WASI_SUCCESS);
    assert_int_equal(CALL(fd_filestat_get, fd, SCRATCH), WASI_SUCCESS);
    assert_int_equal(result_u64(32), 1000);
    assert_int_equal(CALL(fd_filestat_set_size, fd, UINT64_MAX), WASI_EINVAL);
    uint16_t error = CALL(fd_allocate, fd, 500, 1000);
    assert_true(error == WASI_SUCCESS || error == WASI_ENOTSUP);
    if (error == WASI_SUCCESS) {
        assert_int_equal(CALL(fd_filestat_get, fd, SCRATCH), WASI_SUCCESS);
        assert_int_equal(result_u64(32), 1500);
    }
    assert_int_equal(CALL(fd_allocate, fd, UINT64_MAX, 1), WASI_EFBIG);
    assert_int_equal(CALL(fd_allocate, fd, 0, 0), WASI_EINVAL);
    assert_int_equal(CALL(fd_advise, fd, 0, 100, 3), WASI_SUCCESS);
    assert_int_equal(CALL(fd_advise, fd, 0, 100, 6), WASI_EINVAL);
    assert_int_equal(CALL(fd_advise, fd, UINT64_MAX, 100, 0), WASI_EINVAL);
}

static void names_are_made_moved_and_removed(void **state)
{
    (void)state;
    host_file("file", "content");
    assert_int_equal(CALL(path_create_directory, 3, TEXT("dir")), WASI_SUCCESS);
    assert_int_equal(CALL(path_create_directory, 3, TEXT("dir/")), WASI_EEXIST);
    assert_int_equal(CALL(path_create_directory, 3, TEXT("dir/sub//")), WASI_SUCCESS);
    assert_int_equal(CALL(path_create_directory, 3, TEXT("no/sub")), WASI_ENOENT);
    assert_int_equal(CALL(path_rename, 3, TEXT("file"), 3, TEXT("dir/sub/moved")), WASI_SUCCESS);
    assert_int_equal(access(host_path("dir/sub/moved"), F_OK), 0);
    assert_int_equal(CALL(path_remove_directory, 3, TEXT("dir")), WASI_ENOTEMPTY);
    assert_int_equal(CALL(path_remove_directory, 3, TEXT("dir/sub/moved")), WASI_ENOTDIR);
    assert_int_equal(CALL(path_unlink_file, 3, TEXT("dir/sub")), WASI_EISDIR);
    assert_int_equal(CALL(path_unlink_file, 3, TEXT("dir/sub/moved/")), WASI_ENOTDIR);
    assert_int_equal(CALL(path_unlink_file, 3, TEXT("dir/sub/moved")), WASI_SUCCESS);
    assert_int_equal(CALL(path_unlink_file, 3, TEXT("dir/sub/moved")), WASI_ENOENT);
    assert_int_equal(CALL(path_remove_directory, 3, TEXT("dir/sub/")), WASI_SUCCESS);
    assert_int_equal(CALL(path_remove_directory, 3, TEXT("dir")), WASI_SUCCESS);
}

static void directories_are_neither_read_nor_written_as_files(void **state)
{
    (void)state;
    assert_int_equal(guest_fd_read(3, 10), -WASI_EISDIR);
    assert_int_equal(guest_fd_write(3, "x"), -WASI_EISDIR);
    assert_int_equal(CALL(fd_pread, 3, vector(DATA, 4), 1, 0, SCRATCH), WASI_EISDIR);
    assert_int_equal(seek(3, 0, WASI_WHENCE_SET), UINT64_MAX - WASI_EBADF);
    assert_int_equal(CALL(fd_sync, 3), WASI_SUCCESS);
}

static void a_named_pipe_is_opened_without_waiting(void **state)
{
    (void)state;
    assert_int_equal(mkfifo(host_path("pipe"), 0644), 0);
    int fd = open_read("pipe");
    assert_in_range(fd, 0, 100);
    assert_int_equal(open_from(3, "pipe", 0, 0, WASI_RIGHT_FD_WRITE) >= 0, 1);
    assert_int_equal(seek(fd, 0, WASI_WHENCE_CUR), UINT64_MAX - WASI_ESPIPE);
}

/* ---- reading directories ---- */

static char names[4096];

/* Reads a whole directory with buffers of this size, from a cookie on; "name,name," sorted by the
 * order of arrival. Returns the cookie behind the first entry. */
static uint64_t list(uint32_t fd, uint32_t buffer, uint64_t cookie)
{
    uint64_t first = 0;
    names[0] = '\0';
    for (;;) {
        assert_int_equal(CALL(fd_readdir, fd, DATA, buffer, cookie, SCRATCH), WASI_SUCCESS);
        uint32_t used = result_u32(0), at = 0;
        assert_in_range(used, 0, buffer);
        while (used - at >= 24) {
            const uint8_t *entry = arena.memory + DATA + at;
            uint32_t len = load_u32(entry + 16);
            if (used - at < 24 + len) {
                break;
            }
            cookie = load_u64(entry);
            first = first == 0 ? cookie : first;
            if (entry[24] != '.') {
                strncat(names, (const char *)entry + 24, len);
                strcat(names, ",");
            }
            at += 24 + len;
        }
        if (used < buffer) {
            return first;
        }
        assert_true(at > 0); /* the buffers here always hold an entry */
    }
}

static void a_directory_reads_the_same_with_every_buffer_size(void **state)
{
    (void)state;
    char whole[4096], name[32];
    for (int i = 0; i < 50; i++) {
        snprintf(name, sizeof name, "f%0*d", 1 + i % 7, i);
        host_file(name, "");
    }
    list(3, 60000, 0);
    strcpy(whole, names);
    assert_int_equal(strlen(whole) > 150, 1);
    for (uint32_t size = 40; size < 200; size += 7) {
        list(3, size, 0);
        assert_string_equal(names, whole);
    }
}

static void entries_say_their_type_and_inode(void **state)
{
    (void)state;
    struct stat host;
    assert_int_equal(mkdir(host_path("d"), 0755), 0);
    assert_int_equal(stat(host_path("d"), &host), 0);
    assert_int_equal(CALL(fd_readdir, 3, DATA, 1000, 0, SCRATCH), WASI_SUCCESS);
    int seen = 0;
    for (uint32_t at = 0; at < result_u32(0);) {
        const uint8_t *entry = arena.memory + DATA + at;
        uint32_t len = load_u32(entry + 16);
        assert_int_equal(entry[20], WASI_FILETYPE_DIRECTORY);
        if (len == 1 && entry[24] == 'd') {
            assert_int_equal(load_u64(entry + 8), host.st_ino);
            seen++;
        } else {
            /* "." and "..": nothing outside shows. */
            assert_int_equal(stat(top, &host), 0);
            assert_int_equal(load_u64(entry + 8), host.st_ino);
            assert_int_equal(stat(host_path("d"), &host), 0);
        }
        at += 24 + len;
    }
    assert_int_equal(seen, 1);
}

static void a_short_buffer_gets_a_cut_entry_and_is_full(void **state)
{
    (void)state;
    host_file("a-long-enough-name", "");
    for (uint32_t size = 0; size < 48; size++) {
        memset(arena.memory + DATA, 0xaa, 100);
        assert_int_equal(CALL(fd_readdir, 3, DATA, size, 0, SCRATCH), WASI_SUCCESS);
        assert_int_equal(result_u32(0), size);
        assert_int_equal(arena.memory[DATA + size], 0xaa);
    }
    assert_int_equal(CALL(fd_readdir, 3, MEMORY_BYTES - 10, 11, 0, SCRATCH), WASI_EFAULT);
}

static void cookies_stay_good_while_entries_come_and_go(void **state)
{
    (void)state;
    char rest[4096];
    host_file("a", "");
    host_file("b", "");
    host_file("c", "");
    uint64_t second = list(3, 60000, 0);
    list(3, 60000, second);
    strcpy(rest, names);
    assert_int_equal(unlink(host_path("a")), 0);
    host_file("d", "");
    list(3, 60000, second);
    assert_string_equal(names, rest);
    /* A rewind sees the changes. */
    list(3, 60000, 0);
    assert_null(strstr(names, "a,"));
    assert_non_null(strstr(names, "d,"));
    /* Cookies beyond the end find the end. */
    assert_int_equal(CALL(fd_readdir, 3, DATA, 1000, UINT64_MAX, SCRATCH), WASI_SUCCESS);
    assert_int_equal(result_u32(0), 0);
}

static void only_directories_can_be_listed(void **state)
{
    (void)state;
    host_file("file", "");
    int fd = open_read("file");
    assert_int_equal(CALL(fd_readdir, (uint64_t)fd, DATA, 100, 0, SCRATCH), WASI_ENOTDIR);
    assert_int_equal(CALL(fd_readdir, 99, DATA, 100, 0, SCRATCH), WASI_EBADF);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, directory_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_written_is_read_back),
        TEST(vectors_scatter_gather_and_keep_the_position),
        TEST(vectors_outside_of_memory_move_nothing),
        TEST(append_and_sync_flags_act_on_each_write),
        TEST(open_flags_do_what_they_say),
        TEST(an_open_with_a_bad_result_pointer_leaves_nothing_open),
        TEST(numbers_are_the_lowest_free_and_end_at_the_limit),
        TEST(renumbering_replaces_the_other_descriptor),
        TEST(preopens_tell_their_names),
        TEST(rights_only_shrink),
        TEST(a_directory_passes_on_only_its_inheriting_rights),
        cmocka_unit_test_setup_teardown(a_read_only_preopen_behaves_like_a_read_only_file_system,
                                        begin_read_only, directory_end),
        TEST(filestat_tells_type_size_links_and_times),
        TEST(times_are_set_as_the_flags_say),
        TEST(sizes_are_set_allocated_and_bounded),
        TEST(names_are_made_moved_and_removed),
        TEST(directories_are_neither_read_nor_written_as_files),
        TEST(a_named_pipe_is_opened_without_waiting),
        TEST(a_directory_reads_the_same_with_every_buffer_size),
        TEST(entries_say_their_type_and_inode),
        TEST(a_short_buffer_gets_a_cut_entry_and_is_full),
        TEST(cookies_stay_good_while_entries_come_and_go),
        TEST(only_directories_can_be_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
