/* A world goes on from its checkpoint where it was, or the checkpoint says what stands against it.
 */
#define _GNU_SOURCE
#include "wasi_world.h"

#include "base/bytes.h"

#include <sys/socket.h>
#include <time.h>

static struct buffer saved;
static struct error error;

static int begin(void **state)
{
    int result = directory_begin(state);
    return result != 0 ? result : (world_begin(WASI_RESOLVE_BEST, false), 0);
}

static int end(void **state)
{
    buffer_free(&saved);
    return directory_end(state);
}

static const struct wasi_config closed = {.stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1};

static int save(void)
{
    buffer_free(&saved);
    saved = (struct buffer){0};
    return wasi_save(wasi, &saved, &error);
}

static int restore(const struct wasi_config *config)
{
    wasi_destroy(wasi);
    wasi = NULL;
    return wasi_restore(saved.data, saved.len, config, &wasi, &error);
}

static void save_and_restore(void)
{
    assert_int_equal(save(), 0);
    assert_int_equal(restore(&closed), 0);
}

static void open_files_go_on_at_their_position_with_their_rights(void **state)
{
    (void)state;
    host_file("file", "0123456789");
    assert_int_equal(mkdir(host_path("sub"), 0755), 0);
    int reader = open_read("file"), writer = open_write("file", 0);
    int sub = open_from(3, "sub", 0, WASI_OFLAG_DIRECTORY, READ_RIGHTS);
    assert_int_equal(guest_fd_read(reader, 4), 4);
    assert_int_equal(CALL(fd_seek, (uint64_t)writer, 8, WASI_WHENCE_SET, SCRATCH), WASI_SUCCESS);
    assert_int_equal(CALL(fd_fdstat_set_flags, (uint64_t)writer, WASI_FDFLAG_DSYNC), WASI_SUCCESS);
    assert_int_equal(
        CALL(fd_fdstat_set_rights, (uint64_t)reader, WASI_RIGHT_FD_READ | WASI_RIGHT_FD_TELL, 0),
        WASI_SUCCESS);
    save_and_restore();
    assert_int_equal(guest_fd_read(reader, 3), 3);
    assert_memory_equal(arena.memory + DATA, "456", 3);
    assert_int_equal(CALL(fd_seek, (uint64_t)reader, 0, WASI_WHENCE_SET, SCRATCH),
                     WASI_ENOTCAPABLE);
    assert_int_equal(guest_fd_write(writer, "abc"), 3);
    assert_int_equal(CALL(fd_fdstat_get, (uint64_t)writer, SCRATCH), WASI_SUCCESS);
    assert_int_equal(load_u16(arena.memory + SCRATCH + 2), WASI_FDFLAG_DSYNC);
    assert_int_equal(CALL(fd_pread, (uint64_t)writer, vector(DATA, 100), 1, 0, SCRATCH), 0);
    assert_memory_equal(arena.memory + DATA, "01234567abc", 11);
    assert_in_range(open_from((uint32_t)sub, "new", 0, WASI_OFLAG_CREAT, WASI_RIGHTS_ALL), 0, 100);
    assert_int_equal(access(host_path("sub/new"), F_OK), 0);
    assert_int_equal(CALL(fd_prestat_get, 3, SCRATCH), WASI_SUCCESS);
}

static void a_renamed_file_is_found_under_its_new_name(void **state)
{
    (void)state;
    host_file("file", "0123456789");
    int fd = open_read("file");
    char from[256];
    strcpy(from, host_path("file"));
    assert_int_equal(rename(from, host_path("renamed")), 0);
    save_and_restore();
    assert_int_equal(guest_fd_read(fd, 100), 10);
}

static void a_renumbered_or_closed_preopen_does_not_matter(void **state)
{
    (void)state;
    host_file("file", "0123456789");
    int fd = open_read("file");
    assert_int_equal(CALL(fd_close, 3), WASI_SUCCESS);
    save_and_restore();
    assert_int_equal(guest_fd_read(fd, 100), 10);
    assert_int_equal(CALL(fd_prestat_get, 3, SCRATCH), WASI_EBADF);
}

static void cookies_of_a_directory_survive(void **state)
{
    (void)state;
    static uint8_t rest[4096];
    char name[32];
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "name-%d", i);
        host_file(name, "");
    }
    assert_int_equal(CALL(fd_readdir, 3, DATA, 100, 0, SCRATCH), WASI_SUCCESS);
    uint64_t cookie = load_u64(arena.memory + DATA);
    assert_int_equal(CALL(fd_readdir, 3, DATA, 4096, cookie, SCRATCH), WASI_SUCCESS);
    uint32_t used = result_u32(0);
    memcpy(rest, arena.memory + DATA, used);
    assert_int_equal(save(), 0);
    assert_int_equal(unlink(host_path("name-3")), 0);
    assert_int_equal(restore(&closed), 0);
    assert_int_equal(CALL(fd_readdir, 3, DATA, 4096, cookie, SCRATCH), WASI_SUCCESS);
    assert_int_equal(result_u32(0), used);
    assert_memory_equal(arena.memory + DATA, rest, used);
}

static uint64_t clock_now(uint32_t clock)
{
    assert_int_equal(CALL(clock_time_get, clock, 0, SCRATCH), WASI_SUCCESS);
    return result_u64(0);
}

static void arguments_and_clocks_go_on(void **state)
{
    (void)state;
    static const char *const args[] = {"program", "argument"};
    struct wasi_config config = closed;
    config.args = args;
    config.arg_count = 2;
    config.monotonic_offset_ns = 1000000000000000;
    wasi_destroy(wasi);
    assert_int_equal(wasi_create(&config, &wasi, &error), 0);
    uint64_t monotonic = clock_now(WASI_CLOCK_MONOTONIC), cpu = clock_now(WASI_CLOCK_PROCESS);
    save_and_restore();
    assert_true(clock_now(WASI_CLOCK_MONOTONIC) >= monotonic);
    assert_true(clock_now(WASI_CLOCK_MONOTONIC) < monotonic + 1000000000000000 / 2);
    assert_true(clock_now(WASI_CLOCK_PROCESS) >= cpu);
    assert_int_equal(CALL(args_sizes_get, SCRATCH, SCRATCH + 4), WASI_SUCCESS);
    assert_int_equal(result_u32(0), 2);
    assert_int_equal(CALL(args_get, SCRATCH, DATA), WASI_SUCCESS);
    assert_string_equal((char *)arena.memory + result_u32(4), "argument");
}

static void standard_streams_are_those_of_the_new_process(void **state)
{
    (void)state;
    int first[2], second[2];
    char bytes[8];
    assert_int_equal(pipe(first), 0);
    assert_int_equal(pipe(second), 0);
    struct wasi_config config = closed;
    config.stdout_fd = first[1];
    wasi_destroy(wasi);
    assert_int_equal(wasi_create(&config, &wasi, &error), 0);
    assert_int_equal(save(), 0);
    config.stdout_fd = second[1];
    assert_int_equal(restore(&config), 0);
    assert_int_equal(guest_fd_write(1, "moved"), 5);
    assert_int_equal(read(second[0], bytes, sizeof bytes), 5);
    for (int i = 0; i < 2; i++) {
        close(first[i]);
        close(second[i]);
    }
}

/* Another directory may take the preopen's place, when it holds a copy of what is open. */
static void a_faithful_copy_elsewhere_is_accepted_and_another_file_is_not(void **state)
{
    (void)state;
    struct stat host;
    char other[256];
    host_file("file", "0123456789");
    int fd = open_read("file");
    assert_int_equal(guest_fd_read(fd, 5), 5);
    assert_int_equal(stat(host_path("file"), &host), 0);
    assert_int_equal(save(), 0);
    assert_int_equal(mkdir(host_path("../other"), 0755), 0);
    host_file("../other/file", "0123456789");
    struct wasi_preopen preopen = {.host_path = other, .guest_name = "/", .read_only = true};
    struct wasi_config config = closed;
    strcpy(other, host_path("../other"));
    config.preopens = &preopen;
    config.preopen_count = 1;
    assert_int_equal(restore(&config), -ATOLL_ESTALE);
    assert_non_null(strstr(error.text, "file"));
    const struct timespec times[2] = {host.st_atim, host.st_mtim};
    assert_int_equal(utimensat(AT_FDCWD, host_path("../other/file"), times, 0), 0);
    assert_int_equal(restore(&config), 0);
    assert_int_equal(guest_fd_read(fd, 100), 5);
    assert_int_equal(CALL(path_unlink_file, 3, TEXT("file")), WASI_EROFS);
}

static void a_replaced_or_missing_file_is_refused_by_name(void **state)
{
    (void)state;
    host_file("precious", "0123456789");
    assert_in_range(open_read("precious"), 0, 100);
    assert_int_equal(save(), 0);
    assert_int_equal(unlink(host_path("precious")), 0);
    assert_int_equal(restore(&closed), -ATOLL_ESTALE);
    assert_non_null(strstr(error.text, "precious"));
    assert_int_equal(symlink("elsewhere", host_path("precious")), 0);
    host_file("elsewhere", "0123456789");
    assert_int_equal(restore(&closed), -ATOLL_ESTALE);
    assert_int_equal(unlink(host_path("precious")), 0);
    /* The file system may give the new file the old one's inode; but not its time of birth, once
     * the kernel's clock has moved on. */
    poll(NULL, 0, 50);
    host_file("precious", "others");
    assert_int_equal(restore(&closed), -ATOLL_ESTALE);
    assert_null(wasi);
}

static void what_cannot_be_reopened_is_refused_by_number_and_name(void **state)
{
    (void)state;
    host_file("doomed", "x");
    int fd = open_read("doomed");
    assert_int_equal(save(), 0);
    assert_int_equal(unlink(host_path("doomed")), 0);
    assert_int_equal(save(), -ATOLL_EBUSY);
    assert_non_null(strstr(error.text, "doomed"));
    assert_int_equal(saved.len, 0);
    assert_int_equal(CALL(fd_close, (uint64_t)fd), WASI_SUCCESS);
    /* Moved out of the guest's reach. */
    host_file("leaving", "x");
    fd = open_read("leaving");
    char from[256];
    strcpy(from, host_path("leaving"));
    assert_int_equal(rename(from, host_path("../left")), 0);
    assert_int_equal(save(), -ATOLL_EBUSY);
    assert_int_equal(CALL(fd_close, (uint64_t)fd), WASI_SUCCESS);
    assert_int_equal(mkfifo(host_path("pipe"), 0644), 0);
    fd = open_read("pipe");
    assert_int_equal(save(), -ATOLL_EBUSY);
    assert_non_null(strstr(error.text, "pipe"));
}

static void sockets_are_refused(void **state)
{
    (void)state;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    struct wasi_socket socket = {.fd = pair[0], .guest_fd = 9};
    struct wasi_config config = closed;
    config.sockets = &socket;
    config.socket_count = 1;
    wasi_destroy(wasi);
    assert_int_equal(wasi_create(&config, &wasi, &error), 0);
    assert_int_equal(save(), -ATOLL_EBUSY);
    assert_non_null(strstr(error.text, "descriptor 9 is a socket"));
    close(pair[0]);
    close(pair[1]);
}

/* Cut anywhere, and with any byte changed, a checkpoint is refused or stands for some world; it
 * never does harm. */
static void damaged_checkpoints_do_no_harm(void **state)
{
    (void)state;
    host_file("file", "0123456789");
    assert_in_range(open_read("file"), 0, 100);
    assert_int_equal(CALL(fd_readdir, 3, DATA, 100, 0, SCRATCH), WASI_SUCCESS);
    assert_int_equal(save(), 0);
    size_t whole = saved.len;
    for (saved.len = 0; saved.len < whole; saved.len++) {
        assert_int_equal(restore(&closed), -ATOLL_ECORRUPT);
    }
    for (size_t i = 0; i < whole; i++) {
        for (int bit = 0; bit < 8; bit += 7) {
            saved.data[i] ^= (uint8_t)(1 << bit);
            int result = restore(&closed);
            assert_true(result <= 0);
            saved.data[i] ^= (uint8_t)(1 << bit);
        }
    }
    assert_int_equal(restore(&closed), 0);
    assert_true(buffer_append(&saved, "x", 1));
    assert_int_equal(restore(&closed), -ATOLL_ECORRUPT);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(open_files_go_on_at_their_position_with_their_rights),
        TEST(a_renamed_file_is_found_under_its_new_name),
        TEST(a_renumbered_or_closed_preopen_does_not_matter),
        TEST(cookies_of_a_directory_survive),
        TEST(arguments_and_clocks_go_on),
        TEST(standard_streams_are_those_of_the_new_process),
        TEST(a_faithful_copy_elsewhere_is_accepted_and_another_file_is_not),
        TEST(a_replaced_or_missing_file_is_refused_by_name),
        TEST(what_cannot_be_reopened_is_refused_by_number_and_name),
        TEST(sockets_are_refused),
        TEST(damaged_checkpoints_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
