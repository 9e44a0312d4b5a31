/* Worlds of functions: streams, a tree, images, and what a reset leaves of a call: nothing. */
#define _GNU_SOURCE
#include "vfs_shared.h"
#include "wasi_world.h"

#include "base/clock.h"
#include "base/random.h"
#include "base/sanitized.h"

#include <linux/seccomp.h>
#include <malloc.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static struct owner owner;
static struct wasi_image *image;

/* ---- a call ---- */

static char output[4096], lines[8192];
static size_t output_len, output_limit;

static ssize_t take_output(void *context, const void *bytes, size_t len)
{
    assert_ptr_equal(context, output);
    if (output_len == output_limit) {
        return -EFBIG;
    }
    len = len < output_limit - output_len ? len : output_limit - output_len;
    memcpy(output + output_len, bytes, len);
    output_len += len;
    return (ssize_t)len;
}

static void take_line(void *context, const char *line, size_t len)
{
    assert_ptr_equal(context, output);
    assert_in_range(len, 0, WASI_MAX_LINE);
    strncat(lines, line, len);
    strcat(lines, "|");
}

static int64_t cpu_time;
static int64_t take_cpu(void *context)
{
    (void)context;
    return cpu_time;
}

static struct wasi_streams streams_of(const char *input)
{
    output_len = 0;
    output_limit = sizeof output;
    lines[0] = '\0';
    return (struct wasi_streams){.input = input,
                                 .input_len = strlen(input),
                                 .context = output,
                                 .output = take_output,
                                 .log = take_line,
                                 .cpu_ns = take_cpu};
}

static const struct vfs_entry entries[] = {
    TEXT_FILE("config", "0123456789"),
    TEXT_FILE("lib/module", "code"),
};

static struct vfs_base *base;

static struct vfs_config tree_config(void)
{
    return (struct vfs_config){.base = base, .shared = &owner_ops, .context = &owner};
}

/* The zygote's world. */
static void zygote_begin(void)
{
    static const char *const args[] = {"program"}, *const env[] = {"MODE=prod", "X=1"};
    struct error e;
    const struct wasi_streams streams = streams_of("");
    assert_int_equal(vfs_base_create(entries, 2, &base, &e), 0);
    struct vfs_config tree = tree_config();
    struct wasi_config config = {.args = args,
                                 .arg_count = 1,
                                 .env = env,
                                 .env_count = 2,
                                 .tree = &tree,
                                 .streams = &streams};
    assert_int_equal(wasi_create(&config, &wasi, &e), 0);
}

static void image_take(void)
{
    struct error e;
    if (wasi_image_take(wasi, &image, &e) != 0) {
        fail_msg("%s", e.text);
    }
    wasi_destroy(wasi);
}

static void instance_begin(void)
{
    struct error e;
    struct vfs_config tree = tree_config();
    assert_int_equal(wasi_instantiate(image, &tree, &wasi, &e), 0);
}

static void call_begin(const char *input)
{
    struct error e;
    const struct wasi_call call = {.streams = streams_of(input)};
    assert_int_equal(wasi_reset(wasi, &call, &e), 0);
}

static int begin(void **state)
{
    (void)state;
    zygote_begin();
    return 0;
}

/* An instance of a zygote that did nothing, in its first call. */
static int begin_instance(void **state)
{
    begin(state);
    image_take();
    instance_begin();
    call_begin("the input of the call");
    return 0;
}

static int end(void **state)
{
    (void)state;
    wasi_destroy(wasi);
    wasi_image_release(image);
    vfs_base_release(base);
    wasi = NULL;
    image = NULL;
    base = NULL;
    owner_end(&owner);
    owner = (struct owner){0};
    return 0;
}

/* ---- streams ---- */

static void standard_input_is_the_calls_input(void **state)
{
    (void)state;
    assert_int_equal(guest_fd_read(0, 3), 3);
    assert_memory_equal(arena.memory + DATA, "the", 3);
    assert_int_equal(guest_fd_read(0, 1000), 18);
    assert_memory_equal(arena.memory + DATA, " input of the call", 18);
    assert_int_equal(guest_fd_read(0, 1000), 0);
    assert_int_equal(guest_fd_write(0, "x"), -WASI_ENOTCAPABLE);
    assert_int_equal(CALL(fd_seek, 0, 0, 0, SCRATCH), WASI_ESPIPE);
    assert_int_equal(CALL(fd_filestat_get, 0, SCRATCH), WASI_SUCCESS);
    assert_int_equal(arena.memory[SCRATCH + 16], WASI_FILETYPE_UNKNOWN);
}

static void standard_output_goes_to_the_calls_output_up_to_its_limit(void **state)
{
    (void)state;
    output_limit = 10;
    assert_int_equal(guest_fd_write(1, "12345678"), 8);
    assert_int_equal(guest_fd_write(1, "90ab"), 2);
    assert_int_equal(guest_fd_write(1, "ab"), -WASI_EFBIG);
    assert_memory_equal(output, "1234567890", 10);
    assert_int_equal(guest_fd_read(1, 1), -WASI_ENOTCAPABLE);
}

static void standard_error_comes_as_lines(void **state)
{
    (void)state;
    static char text[3000];
    assert_int_equal(guest_fd_write(2, "one\ntwo"), 7);
    assert_string_equal(lines, "one|");
    assert_int_equal(guest_fd_write(2, " goes on\n\nlast"), 14);
    assert_string_equal(lines, "one|two goes on||");
    wasi_flush(wasi);
    assert_string_equal(lines, "one|two goes on||last|");
    lines[0] = '\0';
    memset(text, 'x', sizeof text - 1);
    assert_int_equal(guest_fd_write(2, text), 2999);
    assert_int_equal(guest_fd_write(2, "\n"), 1);
    assert_int_equal(strlen(lines), 2999 + 3);
    assert_int_equal(lines[WASI_MAX_LINE], '|');
    assert_int_equal(lines[2 * WASI_MAX_LINE + 1], '|');
    /* What is left of a line does not reach the next call. */
    assert_int_equal(guest_fd_write(2, "secret"), 6);
    call_begin("");
    assert_int_equal(guest_fd_write(2, "\n"), 1);
    assert_string_equal(lines, "|");
}

static void streams_are_always_ready(void **state)
{
    (void)state;
    uint8_t *s = arena.memory + DATA;
    memset(s, 0, 96);
    s[8] = WASI_EVENT_FD_READ;
    store_u32(s + 16, 0);
    s[48 + 8] = WASI_EVENT_FD_WRITE;
    store_u32(s + 48 + 16, 1);
    assert_int_equal(CALL(poll_oneoff, DATA, DATA + 0x1000, 2, SCRATCH), WASI_SUCCESS);
    assert_int_equal(result_u32(0), 2);
    assert_int_equal(load_u64(arena.memory + DATA + 0x1000 + 16), 21);
}

/* ---- the tree ---- */

static void the_tree_is_the_root_directory(void **state)
{
    (void)state;
    assert_int_equal(CALL(fd_prestat_get, 3, SCRATCH), WASI_SUCCESS);
    assert_int_equal(result_u32(4), 1);
    assert_int_equal(CALL(fd_prestat_get, 4, SCRATCH), WASI_EBADF);
    int fd = open_read("config");
    assert_int_equal(guest_fd_read(fd, 4), 4);
    assert_memory_equal(arena.memory + DATA, "0123", 4);
    assert_int_equal(CALL(fd_seek, (uint64_t)fd, (uint64_t)-2, WASI_WHENCE_END, SCRATCH), 0);
    assert_int_equal(guest_fd_read(fd, 100), 2);
    assert_int_equal(open_read("/etc/passwd"), -WASI_EPERM);
    assert_int_equal(open_read("../etc/passwd"), -WASI_EPERM);
    assert_int_equal(open_read("etc/passwd"), -WASI_ENOENT);
}

static void rights_shrink_in_the_tree_too(void **state)
{
    (void)state;
    int fd = open_from(3, "config", 0, 0, WASI_RIGHT_FD_READ);
    assert_int_equal(guest_fd_read(fd, 4), 4);
    assert_int_equal(guest_fd_write(fd, "x"), -WASI_ENOTCAPABLE);
    assert_int_equal(CALL(fd_filestat_set_size, (uint64_t)fd, 0), WASI_ENOTCAPABLE);
    assert_int_equal(CALL(fd_allocate, (uint64_t)fd, 0, 1), WASI_ENOTCAPABLE);
    assert_int_equal(CALL(fd_fdstat_set_rights, 3, WASI_RIGHT_PATH_OPEN, WASI_RIGHT_FD_READ), 0);
    assert_int_equal(open_write("config", 0), -WASI_ENOTCAPABLE);
    assert_int_equal(CALL(path_unlink_file, 3, TEXT("config")), WASI_ENOTCAPABLE);
    assert_int_equal(CALL(path_create_directory, 3, TEXT("d")), WASI_ENOTCAPABLE);
    assert_int_equal(CALL(fd_readdir, 3, DATA, 100, 0, SCRATCH), WASI_ENOTCAPABLE);
}

static void a_full_tree_is_no_space_and_too_many_files_a_quota(void **state)
{
    (void)state;
    struct error e;
    struct vfs_config tree = {.base = base, .byte_limit = 100000, .node_limit = 20};
    wasi_destroy(wasi);
    assert_int_equal(wasi_instantiate(image, &tree, &wasi, &e), 0);
    call_begin("");
    int fd = open_write("tmp/big", WASI_OFLAG_CREAT);
    assert_int_equal(CALL(fd_write, (uint64_t)fd, vector(0, 90000), 1, SCRATCH), WASI_SUCCESS);
    assert_int_equal(CALL(fd_write, (uint64_t)fd, vector(0, 90000), 1, SCRATCH), WASI_SUCCESS);
    assert_in_range(result_u32(0), 1, 10000); /* what fits is written */
    assert_int_equal(CALL(fd_write, (uint64_t)fd, vector(0, 9000), 1, SCRATCH), WASI_ENOSPC);
    call_begin("");
    char path[16];
    int last = 0;
    for (int i = 0; i < 30 && last >= 0; i++) {
        snprintf(path, sizeof path, "tmp/%d", i);
        last = open_write(path, WASI_OFLAG_CREAT);
    }
    assert_int_equal(last, -WASI_EDQUOT);
}

static void closing_a_published_file_waits_for_the_owner(void **state)
{
    (void)state;
    int fd = open_write("shared/result", WASI_OFLAG_CREAT | WASI_OFLAG_TRUNC);
    assert_int_equal(guest_fd_write(fd, "done"), 4);
    owner.waits = 2;
    CALL(fd_close, (uint64_t)fd);
    assert_int_equal(status, HOST_PARK);
    RESUME(fd_close, (uint64_t)fd);
    assert_int_equal(status, HOST_PARK);
    assert_null(owner_find(&owner, "result"));
    assert_int_equal(RESUME(fd_close, (uint64_t)fd), WASI_SUCCESS);
    assert_memory_equal(owner_find(&owner, "result")->bytes, "done", 4);
    assert_int_equal(CALL(fd_close, (uint64_t)fd), WASI_EBADF);
    /* So does opening, while bytes are fetched. */
    owner.waits = 1;
    CALL(path_open, 3, 0, TEXT("shared/result"), 0, READ_RIGHTS, 0, 0, SCRATCH);
    assert_int_equal(status, HOST_PARK);
    fd = open_read("shared/result");
    assert_int_equal(guest_fd_read(fd, 100), 4);
    /* A refusal is the error of the close, which closes all the same. */
    fd = open_write("shared/result", WASI_OFLAG_CREAT | WASI_OFLAG_TRUNC);
    owner.refuses = -EACCES;
    assert_int_equal(CALL(fd_close, (uint64_t)fd), WASI_EACCES);
    assert_int_equal(CALL(fd_close, (uint64_t)fd), WASI_EBADF);
    /* Renumbering over it closes it. */
    fd = open_write("shared/other", WASI_OFLAG_CREAT | WASI_OFLAG_TRUNC);
    int from = open_read("config");
    assert_int_equal(CALL(fd_renumber, (uint64_t)from, (uint64_t)fd), WASI_SUCCESS);
    assert_non_null(owner_find(&owner, "other"));
}

static void a_call_that_ends_without_closing_publishes_nothing(void **state)
{
    (void)state;
    int fd = open_write("shared/result", WASI_OFLAG_CREAT | WASI_OFLAG_TRUNC);
    assert_int_equal(guest_fd_write(fd, "half"), 4);
    call_begin("");
    assert_null(owner_find(&owner, "result"));
    assert_int_equal(open_read("shared/result"), -WASI_ENOENT);
}

/* ---- images and resets ---- */

static void the_zygotes_open_files_are_there_in_every_call(void **state)
{
    (void)state;
    int config = open_read("config");
    assert_int_equal(guest_fd_read(config, 4), 4);
    int lib = open_from(3, "lib", 0, WASI_OFLAG_DIRECTORY, READ_RIGHTS);
    assert_int_equal(CALL(fd_readdir, (uint64_t)lib, DATA, 100, 0, SCRATCH), WASI_SUCCESS);
    image_take();
    instance_begin();
    for (int call = 0; call < 3; call++) {
        call_begin("");
        assert_int_equal(guest_fd_read(config, 3), 3);
        assert_memory_equal(arena.memory + DATA, "456", 3);
        int module = open_from((uint32_t)lib, "module", 0, 0, READ_RIGHTS);
        assert_int_equal(guest_fd_read(module, 100), 4);
        assert_int_equal(CALL(fd_readdir, (uint64_t)lib, DATA, 100, 2, SCRATCH), WASI_SUCCESS);
        assert_int_equal(result_u32(0), 24 + 6);
        assert_int_equal(CALL(fd_close, (uint64_t)config), WASI_SUCCESS);
        assert_int_equal(CALL(fd_close, (uint64_t)lib), WASI_SUCCESS);
    }
}

static void nothing_of_a_call_is_left_in_the_next(void **state)
{
    (void)state;
    for (int call = 0; call < 3; call++) {
        assert_int_equal(open_read("tmp/secret"), -WASI_ENOENT);
        int fd = open_write("tmp/secret", WASI_OFLAG_CREAT);
        assert_int_equal(fd, 4);
        assert_int_equal(guest_fd_write(fd, "secret"), 6);
        for (int i = 0; i < 50; i++) {
            assert_in_range(open_write("config", WASI_OFLAG_TRUNC), 5, 60);
        }
        assert_int_equal(CALL(path_rename, 3, TEXT("lib"), 3, TEXT("tmp/lib")), WASI_SUCCESS);
        assert_int_equal(CALL(fd_close, 1), WASI_SUCCESS);
        assert_int_equal(CALL(fd_renumber, 4, 0), WASI_SUCCESS);
        assert_int_equal(CALL(fd_fdstat_set_rights, 3, 0, 0), WASI_SUCCESS);
        assert_int_equal(CALL(fd_fdstat_set_flags, 2, WASI_FDFLAG_APPEND), WASI_SUCCESS);
        call_begin("fresh");
        assert_int_equal(guest_fd_read(0, 100), 5);
        assert_int_equal(guest_fd_write(1, "out"), 3);
        assert_int_equal(CALL(fd_fdstat_get, 2, SCRATCH), WASI_SUCCESS);
        assert_int_equal(load_u16(arena.memory + SCRATCH + 2), 0);
        assert_int_equal(CALL(fd_fdstat_get, 4, SCRATCH), WASI_EBADF);
        assert_int_equal(CALL(fd_fdstat_get, 54, SCRATCH), WASI_EBADF);
        fd = open_read("lib/module");
        assert_int_equal(guest_fd_read(fd, 100), 4);
        fd = open_read("config");
        assert_int_equal(guest_fd_read(fd, 100), 10);
        call_begin("again");
    }
}

static void every_call_brings_its_arguments(void **state)
{
    (void)state;
    struct error e;
    assert_int_equal(CALL(args_sizes_get, SCRATCH, SCRATCH + 4), WASI_SUCCESS);
    assert_int_equal(result_u32(0), 1);
    assert_int_equal(CALL(environ_sizes_get, SCRATCH, SCRATCH + 4), WASI_SUCCESS);
    assert_int_equal(result_u32(0), 2);
    struct wasi_call call = {.streams = streams_of(""), .args = "fn\0a b\0", .args_len = 8};
    assert_int_equal(wasi_reset(wasi, &call, &e), 0);
    assert_int_equal(CALL(args_sizes_get, SCRATCH, SCRATCH + 4), WASI_SUCCESS);
    assert_int_equal(result_u32(0), 3);
    assert_int_equal(result_u32(4), 8);
    assert_int_equal(CALL(args_get, SCRATCH, DATA), WASI_SUCCESS);
    assert_string_equal((char *)arena.memory + result_u32(4), "a b");
    assert_string_equal((char *)arena.memory + result_u32(8), "");
    call.args_len = 7;
    call.args = "no end!";
    assert_int_equal(wasi_reset(wasi, &call, &e), -ATOLL_EINVAL);
    assert_int_equal(CALL(args_sizes_get, SCRATCH, SCRATCH + 4), WASI_SUCCESS);
    assert_int_equal(result_u32(0), 0);
    call_begin("");
    assert_int_equal(CALL(args_sizes_get, SCRATCH, SCRATCH + 4), WASI_SUCCESS);
    assert_int_equal(result_u32(0), 1);
}

static void refused(const char *why)
{
    struct error e;
    struct wasi_image *none = NULL;
    assert_int_equal(wasi_quiescent(wasi, &e), -ATOLL_EBUSY);
    assert_non_null(strstr(e.text, why));
    assert_int_equal(wasi_image_take(wasi, &none, &e), -ATOLL_EBUSY);
    assert_null(none);
    struct buffer saved = {0};
    assert_int_equal(wasi_save(wasi, &saved, &e), -ATOLL_EBUSY);
    assert_int_equal(saved.len, 0);
    buffer_free(&saved);
}

static void what_stands_in_the_way_of_an_image_is_named(void **state)
{
    (void)state;
    struct error e;
    int pair[2];
    uint32_t number;
    assert_int_equal(wasi_quiescent(wasi, &e), 0);
    uint64_t fd = (uint64_t)open_write("config", 0);
    refused("descriptor 4 is a file open for writing: config");
    assert_int_equal(CALL(fd_close, fd), WASI_SUCCESS);
    assert_int_equal(wasi_quiescent(wasi, &e), 0);
    fd = (uint64_t)open_write("tmp/new", WASI_OFLAG_CREAT);
    assert_int_equal(CALL(fd_close, fd), WASI_SUCCESS);
    assert_int_equal(wasi_quiescent(wasi, &e), 0);
    fd = (uint64_t)open_read("tmp/new");
    refused("descriptor 4 is a file or directory that was made or changed");
    assert_int_equal(CALL(fd_close, fd), WASI_SUCCESS);
    fd = (uint64_t)open_read("lib/module");
    assert_int_equal(CALL(path_rename, 3, TEXT("lib"), 3, TEXT("moved")), WASI_SUCCESS);
    refused("descriptor 4");
    assert_int_equal(CALL(path_rename, 3, TEXT("moved"), 3, TEXT("lib")), WASI_SUCCESS);
    assert_int_equal(CALL(fd_close, fd), WASI_SUCCESS);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(wasi_add_socket(wasi, pair[0], &number, &e), 0);
    assert_int_equal(number, 4);
    refused("descriptor 4 is a socket");
    close(pair[0]);
    close(pair[1]);
}

static void sockets_of_a_call_are_closed_with_it(void **state)
{
    (void)state;
    struct error e;
    int pair[2];
    uint32_t number;
    char byte;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(wasi_add_socket(wasi, pair[0], &number, &e), 0);
    close(pair[0]);
    assert_int_equal(guest_fd_write((int)number, "x"), 1);
    assert_int_equal(read(pair[1], &byte, 1), 1);
    call_begin("");
    assert_int_equal(read(pair[1], &byte, 1), 0);
    close(pair[1]);
}

static void a_zygotes_world_goes_through_bytes(void **state)
{
    (void)state;
    struct error e;
    struct buffer saved = {0};
    int config = open_read("config");
    assert_int_equal(guest_fd_read(config, 4), 4);
    assert_int_equal(CALL(fd_close, 2), WASI_SUCCESS);
    assert_int_equal(wasi_save(wasi, &saved, &e), 0);
    wasi_destroy(wasi);
    wasi = NULL;
    const struct wasi_streams streams = streams_of("");
    struct vfs_config tree = tree_config();
    struct wasi_config given = {.tree = &tree, .streams = &streams};
    assert_int_equal(wasi_restore(saved.data, saved.len, NULL, &wasi, &e), -ATOLL_EINVAL);
    assert_int_equal(wasi_restore(saved.data, saved.len, &given, &wasi, &e), 0);
    image_take();
    instance_begin();
    call_begin("in");
    assert_int_equal(guest_fd_read(config, 100), 6);
    assert_int_equal(guest_fd_read(0, 100), 2);
    assert_int_equal(CALL(fd_fdstat_get, 2, SCRATCH), WASI_EBADF);
    assert_int_equal(CALL(environ_sizes_get, SCRATCH, SCRATCH + 4), WASI_SUCCESS);
    assert_int_equal(result_u32(0), 2);
    /* Another tree, in which the file is another. */
    static const struct vfs_entry other[] = {TEXT_FILE("config", "shorter")};
    struct vfs_base *changed;
    assert_int_equal(vfs_base_create(other, 1, &changed, &e), 0);
    tree.base = changed;
    struct wasi *none = NULL;
    assert_int_equal(wasi_restore(saved.data, saved.len, &given, &none, &e), -ATOLL_ESTALE);
    assert_non_null(strstr(e.text, "config"));
    vfs_base_release(changed);
    /* Damaged bytes are refused, or make some world; they never do harm. */
    tree.base = base;
    for (size_t i = 0; i < saved.len; i++) {
        saved.data[i] ^= 0x41;
        if (wasi_restore(saved.data, saved.len, &given, &none, &e) == 0) {
            wasi_destroy(none);
        }
        assert_true(wasi_restore(saved.data, i, &given, &none, &e) < 0);
        saved.data[i] ^= 0x41;
    }
    buffer_free(&saved);
}

/* ---- clocks and randomness ---- */

static int64_t guest_clock(uint32_t clock)
{
    assert_int_equal(CALL(clock_time_get, clock, 1, SCRATCH), WASI_SUCCESS);
    return (int64_t)result_u64(0);
}

static void monotonic_clocks_differ_and_never_go_back(void **state)
{
    (void)state;
    int64_t seen = guest_clock(WASI_CLOCK_MONOTONIC), starts[8];
    image_take();
    for (int i = 0; i < 8; i++) {
        instance_begin();
        starts[i] = wasi_monotonic_at(wasi, 0);
        int64_t last = seen;
        for (int call = 0; call < 5; call++) {
            call_begin("");
            int64_t now = guest_clock(WASI_CLOCK_MONOTONIC);
            assert_true(now >= last);
            assert_int_equal(now % 1000, 0);
            last = now;
        }
        wasi_destroy(wasi);
        wasi = NULL;
    }
    int equal = 0;
    for (int i = 1; i < 8; i++) {
        equal += starts[i] - starts[0] < 1000000 && starts[0] - starts[i] < 1000000;
    }
    assert_in_range(equal, 0, 2);
}

static void cpu_clocks_are_those_of_the_call(void **state)
{
    (void)state;
    int64_t ns;
    cpu_time = 5000000;
    assert_int_equal(guest_clock(WASI_CLOCK_PROCESS), 0); /* begins when it is looked at */
    cpu_time = 7000000;
    assert_int_equal(guest_clock(WASI_CLOCK_PROCESS), 2000000);
    assert_int_equal(guest_clock(WASI_CLOCK_THREAD), 2000000);
    assert_int_equal(wasi_now(wasi, WASI_CLOCK_PROCESS, &ns), 0);
    assert_int_equal(ns, 2000000);
    assert_int_equal(wasi_now(wasi, 4, &ns), -ATOLL_EINVAL);
    call_begin("");
    assert_int_equal(guest_clock(WASI_CLOCK_PROCESS), 0);
    cpu_time = 0;
}

static void random_bytes_are_never_given_twice(void **state)
{
    (void)state;
    uint64_t seen[3000], mine;
    int channel[2];
    for (size_t i = 0; i < 3000; i++) {
        assert_int_equal(CALL(random_get, SCRATCH, 8), WASI_SUCCESS);
        seen[i] = result_u64(0);
        for (size_t k = 0; k < i; k++) {
            assert_int_not_equal(seen[k], seen[i]);
        }
        if (i == 1000) {
            random_drop();
        }
    }
    /* Nor to a child, which inherits this thread's memory. */
    assert_int_equal(pipe(channel), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    assert_int_equal(random_bytes(&mine, sizeof mine), 0);
    if (child == 0) {
        _exit(write(channel[1], &mine, sizeof mine) != sizeof mine);
    }
    assert_int_equal(read(channel[0], seen, sizeof mine), sizeof mine);
    assert_int_not_equal(seen[0], mine);
    assert_int_equal(waitpid(child, NULL, 0), child);
    close(channel[0]);
    close(channel[1]);
    /* Long ones arrive whole. */
    memset(arena.memory + DATA, 0, 5000);
    assert_int_equal(CALL(random_get, DATA, 4999), WASI_SUCCESS);
    int zeros = 0;
    for (uint32_t i = 0; i < 4999; i++) {
        zeros += arena.memory[DATA + i] == 0;
    }
    assert_in_range(zeros, 0, 100);
    assert_int_equal(arena.memory[DATA + 4999], 0);
    assert_int_equal(CALL(random_get, MEMORY_BYTES - 3, 4), WASI_EFAULT);
}

/* ---- what a world costs ---- */

/* In the child, every system call but reading, writing and ending would be its death. (So would a
 * look at a clock: strict mode takes the time stamp counter away.) */
static void a_call_on_memory_makes_no_system_call(void **state)
{
    (void)state;
    if (SANITIZED) {
        skip();
    }
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        mallopt(M_TRIM_THRESHOLD, 1 << 24); /* memory for malloc to give, and to keep */
        free(malloc(1 << 16));
        if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0) {
            _exit(2);
        }
        bool good = true;
        for (int i = 0; i < 100; i++) {
            call_begin("input");
            good = good && guest_fd_read(0, 100) == 5 && guest_fd_write(1, "output") == 6;
            good = good && guest_fd_write(2, "a line\n") == 7;
            int fd = open_read("config");
            good = good && guest_fd_read(fd, 100) == 10;
            fd = open_write("tmp/file", WASI_OFLAG_CREAT);
            good = good && guest_fd_write(fd, "text") == 4 && CALL(fd_close, (uint64_t)fd) == 0;
        }
        syscall(SYS_exit, good ? 0 : 1);
    }
    int ended;
    assert_int_equal(waitpid(child, &ended, 0), child);
    assert_true(WIFEXITED(ended));
    assert_int_equal(WEXITSTATUS(ended), 0);
}

static void an_idle_world_is_small_and_resets_take_nothing(void **state)
{
    (void)state;
    enum { WORLDS = 500 };
    static struct wasi *worlds[WORLDS];
    struct error e;
    struct vfs_config tree = tree_config();
    if (SANITIZED) {
        skip();
    }
    size_t before = mallinfo2().uordblks;
    for (int i = 0; i < WORLDS; i++) {
        assert_int_equal(wasi_instantiate(image, &tree, &worlds[i], &e), 0);
    }
    size_t each = (mallinfo2().uordblks - before) / WORLDS;
    print_message("# %zu bytes for a world\n", each);
    assert_in_range(each, 1, 2048);
    for (int i = 0; i < 2 * WORLDS; i++) {
        wasi = worlds[i % WORLDS];
        if (i == WORLDS) { /* a table that has grown once stays as it is */
            before = mallinfo2().uordblks;
        }
        call_begin("input");
        guest_fd_read(0, 100);
        guest_fd_write(1, "output");
        guest_fd_write(2, "half a line");
        int fd = open_write("tmp/file", WASI_OFLAG_CREAT);
        guest_fd_write(fd, "text");
        call_begin("");
    }
    assert_int_equal(mallinfo2().uordblks, before);
    for (int i = 0; i < WORLDS; i++) {
        wasi_destroy(worlds[i]);
    }
    wasi = NULL;
}

#define ZYGOTE(f) cmocka_unit_test_setup_teardown(f, begin, end)
#define TEST(f)   cmocka_unit_test_setup_teardown(f, begin_instance, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(standard_input_is_the_calls_input),
        TEST(standard_output_goes_to_the_calls_output_up_to_its_limit),
        TEST(standard_error_comes_as_lines),
        TEST(streams_are_always_ready),
        TEST(the_tree_is_the_root_directory),
        TEST(rights_shrink_in_the_tree_too),
        TEST(a_full_tree_is_no_space_and_too_many_files_a_quota),
        TEST(closing_a_published_file_waits_for_the_owner),
        TEST(a_call_that_ends_without_closing_publishes_nothing),
        ZYGOTE(the_zygotes_open_files_are_there_in_every_call),
        TEST(nothing_of_a_call_is_left_in_the_next),
        TEST(every_call_brings_its_arguments),
        ZYGOTE(what_stands_in_the_way_of_an_image_is_named),
        TEST(sockets_of_a_call_are_closed_with_it),
        ZYGOTE(a_zygotes_world_goes_through_bytes),
        ZYGOTE(monotonic_clocks_differ_and_never_go_back),
        TEST(cpu_clocks_are_those_of_the_call),
        TEST(random_bytes_are_never_given_twice),
        TEST(a_call_on_memory_makes_no_system_call),
        TEST(an_idle_world_is_small_and_resets_take_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
