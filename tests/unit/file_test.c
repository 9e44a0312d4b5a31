/* Reading, replacing and anonymous files (src/base/file.c). */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/file.h"
#include "scratch_directory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static struct error failure;

static size_t entry_count(void)
{
    DIR *listing = opendir(scratch);
    assert_non_null(listing);
    size_t count = 0;
    while (readdir(listing))
        count++;
    closedir(listing);
    return count - 2;
}

static void replacing_leaves_exactly_the_new_bytes_and_mode(void **state)
{
    (void)state;
    assert_int_equal(file_replace(scratch_path("f"), "first", 5, 0600, &failure), 0);
    assert_int_equal(file_replace(scratch_path("f"), "second!", 7, 0640, &failure), 0);
    struct buffer b = {0};
    assert_int_equal(file_read(scratch_path("f"), 100, &b, &failure), 0);
    assert_int_equal(b.len, 7);
    assert_memory_equal(b.data, "second!", 7);
    struct stat status;
    assert_int_equal(stat(scratch_path("f"), &status), 0);
    assert_int_equal(status.st_mode & 0777, 0640);
    assert_int_equal(entry_count(), 1);
    buffer_free(&b);
}

static void a_failed_replacement_leaves_no_temporary_file(void **state)
{
    (void)state;
    assert_int_equal(mkdir(scratch_path("f"), 0700), 0);
    assert_true(file_replace(scratch_path("f"), "x", 1, 0600, &failure) < 0);
    assert_non_null(strstr(failure.text, scratch_path("f")));
    assert_int_equal(entry_count(), 1);
    assert_int_equal(file_replace(scratch_path("no/f"), "x", 1, 0600, &failure), -ATOLL_ENOENT);
}

static void what_is_no_regular_file_is_not_replaced(void **state)
{
    (void)state;
    struct stat status;
    assert_int_equal(mkfifo(scratch_path("pipe"), 0600), 0);
    assert_int_equal(symlink("pipe", scratch_path("link")), 0);
    assert_int_equal(file_replace(scratch_path("pipe"), "x", 1, 0600, &failure), -ATOLL_ETYPE);
    assert_int_equal(file_replace(scratch_path("link"), "x", 1, 0600, &failure), -ATOLL_ETYPE);
    assert_non_null(strstr(failure.text, "no regular file"));
    assert_int_equal(lstat(scratch_path("pipe"), &status), 0);
    assert_true(S_ISFIFO(status.st_mode));
    assert_int_equal(lstat(scratch_path("link"), &status), 0);
    assert_true(S_ISLNK(status.st_mode));
    assert_int_equal(entry_count(), 2);
}

static void reading_appends_and_stops_at_the_limit(void **state)
{
    (void)state;
    char block[100000];
    memset(block, 'z', sizeof block);
    assert_int_equal(file_replace(scratch_path("f"), block, sizeof block, 0600, &failure), 0);
    struct buffer b = {0};
    assert_true(buffer_append(&b, "head", 4));
    assert_int_equal(file_read(scratch_path("f"), sizeof block, &b, &failure), 0);
    assert_int_equal(b.len, 4 + sizeof block);
    assert_memory_equal(b.data, "headzz", 6);
    assert_int_equal(file_read(scratch_path("f"), sizeof block - 1, &b, &failure), -ATOLL_ESIZE);
    buffer_free(&b);
}

static void a_stream_that_never_ends_is_stopped_at_the_limit(void **state)
{
    (void)state;
    int fd = open("/dev/zero", O_RDONLY);
    struct buffer b = {0};
    assert_int_equal(file_read_fd(fd, "zeros", 1 << 20, &b, &failure), -ATOLL_ESIZE);
    assert_true(b.len < 4 << 20);
    close(fd);
    buffer_free(&b);
}

static void only_regular_files_are_read(void **state)
{
    (void)state;
    struct buffer b = {0};
    assert_int_equal(file_read(scratch, 100, &b, &failure), -ATOLL_ETYPE);
    assert_int_equal(mkfifo(scratch_path("pipe"), 0600), 0);
    assert_int_equal(file_read(scratch_path("pipe"), 100, &b, &failure), -ATOLL_ETYPE);
    assert_int_equal(file_read(scratch_path("absent"), 100, &b, &failure), -ATOLL_ENOENT);
    assert_non_null(strstr(failure.text, "absent"));
    buffer_free(&b);
}

static void directories_are_made_with_their_parents(void **state)
{
    (void)state;
    assert_int_equal(directory_make(scratch_path("a/b/c"), 0700, &failure), 0);
    assert_int_equal(directory_make(scratch_path("a/b/c"), 0700, &failure), 0);
    assert_int_equal(file_replace(scratch_path("a/f"), "", 0, 0600, &failure), 0);
    assert_int_equal(directory_make(scratch_path("a/f"), 0700, &failure), -ATOLL_EEXIST);
    assert_true(directory_make(scratch_path("a/f/g"), 0700, &failure) < 0);
}

static void bytes_go_to_an_offset_and_come_back_whole(void **state)
{
    (void)state;
    int fd = memory_file("test", "abcdef", 6, 8192, false, false, &failure);
    assert_true(fd >= 0);
    char bytes[4];
    assert_int_equal(file_write_at(fd, "XY", 2, 8191, &failure), 0);
    assert_int_equal(file_write_at(fd, "", 0, 100, &failure), 0);
    assert_int_equal(file_read_at(fd, bytes, 3, 8190, &failure), 0);
    assert_memory_equal(bytes, "\0XY", 3);
    assert_int_equal(lseek(fd, 0, SEEK_CUR), 0);
    assert_int_equal(file_read_at(fd, bytes, 4, 8190, &failure), -ATOLL_ESIZE);
    assert_non_null(strstr(failure.text, "1 bytes too early"));
    close(fd);
}

static void what_cannot_be_written_at_an_offset_is_an_error(void **state)
{
    (void)state;
    int fd = memory_file("test", "abc", 3, 3, true, false, &failure);
    assert_true(fd >= 0);
    assert_int_equal(file_write_at(fd, "x", 1, 0, &failure), -ATOLL_EPERM);
    char byte;
    assert_int_equal(file_read_at(fd, &byte, 1, 0, &failure), 0);
    assert_int_equal(byte, 'a');
    close(fd);
    assert_int_equal(file_read_at(fd, &byte, 1, 0, &failure), -ATOLL_EBADF);
}

/* One gibibyte more than what the kernel moves in one call. */
static void more_than_one_call_moves_goes_through(void **state)
{
    (void)state;
    size_t len = (3ul << 30);
    uint8_t *zeros = mmap(NULL, len, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_true(zeros != MAP_FAILED);
    int fd = open("/dev/null", O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(file_write_at(fd, zeros, len, 0, &failure), 0);
    close(fd);
    munmap(zeros, len);
}

static void a_sealed_memory_file_cannot_change(void **state)
{
    (void)state;
    int fd = memory_file("test", "abc", 3, 8192, true, false, &failure);
    assert_true(fd >= 0);
    char bytes[4];
    assert_int_equal(pread(fd, bytes, 4, 0), 4);
    assert_memory_equal(bytes, "abc\0", 4);
    assert_int_equal(pwrite(fd, "x", 1, 0), -1);
    assert_int_equal(ftruncate(fd, 0), -1);
    assert_int_equal(ftruncate(fd, 16384), -1);
    close(fd);
}

/* The code has no type in front of it for -fsanitize=function to look at. */
__attribute__((no_sanitize("function"))) static void
an_executable_memory_file_runs_and_a_full_one_is_refused(void **state)
{
    (void)state;
    static const uint8_t code[] = {0xb8, 42, 0, 0, 0, 0xc3}; /* mov eax, 42; ret */
    int fd = memory_file("code", code, sizeof code, 4096, true, true, &failure);
    assert_true(fd >= 0);
    void *at = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    assert_true(at != MAP_FAILED);
    int (*function)(void);
    memcpy(&function, &at, sizeof function);
    assert_int_equal(function(), 42);
    munmap(at, 4096);
    close(fd);
    assert_int_equal(memory_file("small", "abc", 3, 2, true, false, &failure), -ATOLL_ESIZE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(replacing_leaves_exactly_the_new_bytes_and_mode,
                                        scratch_create, scratch_destroy),
        cmocka_unit_test_setup_teardown(what_is_no_regular_file_is_not_replaced, scratch_create,
                                        scratch_destroy),
        cmocka_unit_test_setup_teardown(a_failed_replacement_leaves_no_temporary_file,
                                        scratch_create, scratch_destroy),
        cmocka_unit_test_setup_teardown(reading_appends_and_stops_at_the_limit, scratch_create,
                                        scratch_destroy),
        cmocka_unit_test(a_stream_that_never_ends_is_stopped_at_the_limit),
        cmocka_unit_test_setup_teardown(only_regular_files_are_read, scratch_create,
                                        scratch_destroy),
        cmocka_unit_test_setup_teardown(directories_are_made_with_their_parents, scratch_create,
                                        scratch_destroy),
        cmocka_unit_test(bytes_go_to_an_offset_and_come_back_whole),
        cmocka_unit_test(what_cannot_be_written_at_an_offset_is_an_error),
        cmocka_unit_test(more_than_one_call_moves_goes_through),
        cmocka_unit_test(a_sealed_memory_file_cannot_change),
        cmocka_unit_test(an_executable_memory_file_runs_and_a_full_one_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
