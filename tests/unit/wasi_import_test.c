/* Imports are bound by name and type; and the small functions: arguments, clocks, randomness, end.
 */
#define _GNU_SOURCE
#include "wasi_world.h"

#include "base/clock.h"

static const uint8_t i32s[8] = {WASM_I32, WASM_I32, WASM_I32, WASM_I32,
                                WASM_I32, WASM_I32, WASM_I32, WASM_I32};

static int resolve(const char *module, const char *name, struct wasm_signature signature,
                   struct error *e)
{
    host_function function = NULL;
    void *data = NULL;
    int result = wasi_resolve(wasi, module, strlen(module), name, strlen(name), &signature,
                              &function, &data, e);
    assert_true((result == 0) == (function != NULL && data == wasi));
    return result;
}

static int begin(void **state)
{
    static const char *const args[] = {"program", "", "last one"};
    static const char *const env[] = {"A=1", "HOME=/"};
    struct wasi_config config = {.args = args,
                                 .arg_count = 3,
                                 .env = env,
                                 .env_count = 2,
                                 .stdin_fd = -1,
                                 .stdout_fd = -1,
                                 .stderr_fd = -1,
                                 .clock_resolution_ns = 1000,
                                 .monotonic_offset_ns = 5000000000000};
    struct error e;
    (void)state;
    return wasi_create(&config, &wasi, &e);
}

static int end(void **state)
{
    (void)state;
    wasi_destroy(wasi);
    wasi = NULL;
    return 0;
}

static void every_function_of_preview_1_is_there(void **state)
{
    (void)state;
    struct error e;
    int count = 0;
#define X(name, p, r)                                                                          \
    {                                                                                          \
        uint8_t types[16];                                                                     \
        uint32_t n = (uint32_t)strlen(p);                                                      \
        for (uint32_t i = 0; i < n; i++) {                                                     \
            types[i] = (p)[i] == 'i' ? WASM_I32 : WASM_I64;                                    \
        }                                                                                      \
        assert_int_equal(resolve("wasi_snapshot_preview1", #name,                              \
                                 (struct wasm_signature){types, i32s, n, (uint32_t)strlen(r)}, \
                                 &e),                                                          \
                         0);                                                                   \
        count++;                                                                               \
    }
    PREVIEW1_FUNCTIONS(X)
#undef X
    assert_int_equal(count, 46);
}

static void other_names_types_and_versions_are_told_apart(void **state)
{
    (void)state;
    struct error e;
    struct wasm_signature right = {i32s, i32s, 4, 1}, fewer = {i32s, i32s, 3, 1};
    struct wasm_signature nothing = {i32s, i32s, 4, 0};
    assert_int_equal(resolve("wasi_snapshot_preview1", "fd_read", right, &e), 0);
    assert_int_equal(resolve("wasi_snapshot_preview1", "fd_read", fewer, &e), -ATOLL_ELINK);
    assert_non_null(strstr(e.text, "incompatible import type"));
    assert_non_null(strstr(e.text, "(i32, i32, i32, i32) -> (i32)"));
    assert_int_equal(resolve("wasi_snapshot_preview1", "fd_read", nothing, &e), -ATOLL_ELINK);
    assert_int_equal(resolve("wasi_snapshot_preview1", "fd_seek", right, &e), -ATOLL_ELINK);
    assert_int_equal(resolve("wasi_snapshot_preview1", "fd_rea", right, &e), -ATOLL_ELINK);
    assert_non_null(strstr(e.text, "unknown import"));
    assert_int_equal(resolve("wasi_unstable", "fd_read", right, &e), -ATOLL_ELINK);
    assert_non_null(strstr(e.text, "wasi_unstable"));
    assert_int_equal(resolve("env", "fd_read", right, &e), -ATOLL_ENOENT);
    assert_int_equal(resolve("", "", right, &e), -ATOLL_ENOENT);
}

static void arguments_and_environment_arrive(void **state)
{
    (void)state;
    assert_int_equal(CALL(args_sizes_get, SCRATCH, SCRATCH + 4), WASI_SUCCESS);
    assert_int_equal(result_u32(0), 3);
    assert_int_equal(result_u32(4), 8 + 1 + 9);
    assert_int_equal(CALL(args_get, SCRATCH, DATA), WASI_SUCCESS);
    assert_string_equal((char *)arena.memory + result_u32(0), "program");
    assert_string_equal((char *)arena.memory + result_u32(4), "");
    assert_string_equal((char *)arena.memory + result_u32(8), "last one");
    assert_int_equal(CALL(environ_sizes_get, SCRATCH, SCRATCH + 4), WASI_SUCCESS);
    assert_int_equal(result_u32(0), 2);
    assert_int_equal(CALL(environ_get, SCRATCH, DATA), WASI_SUCCESS);
    assert_string_equal((char *)arena.memory + result_u32(4), "HOME=/");
    assert_int_equal(CALL(args_get, MEMORY_BYTES - 11, DATA), WASI_EFAULT);
    assert_int_equal(CALL(args_get, SCRATCH, MEMORY_BYTES - 17), WASI_EFAULT);
    assert_int_equal(CALL(args_sizes_get, SCRATCH, UINT32_MAX), WASI_EFAULT);
}

static uint64_t clock_now(uint32_t clock)
{
    assert_int_equal(CALL(clock_time_get, clock, 0, SCRATCH), WASI_SUCCESS);
    return result_u64(0);
}

static void clocks_are_coarse_shifted_and_never_go_back(void **state)
{
    (void)state;
    for (uint32_t clock = 0; clock < 4; clock++) {
        assert_int_equal(CALL(clock_res_get, clock, SCRATCH), WASI_SUCCESS);
        assert_true(result_u64(0) >= 1000);
        uint64_t before = clock_now(clock);
        for (int i = 0; i < 1000; i++) {
            uint64_t now = clock_now(clock);
            assert_true(now >= before);
            assert_int_equal(now % 1000, 0);
            before = now;
        }
    }
    uint64_t host = (uint64_t)clock_monotonic_ns();
    assert_true(clock_now(WASI_CLOCK_MONOTONIC) >= host + 5000000000000 - 1000);
    host = (uint64_t)clock_ns(CLOCK_REALTIME);
    assert_true(clock_now(WASI_CLOCK_REALTIME) >= host - 1000);
    assert_true(clock_now(WASI_CLOCK_PROCESS) <= (uint64_t)clock_ns(CLOCK_PROCESS_CPUTIME_ID));
    assert_int_equal(CALL(clock_res_get, 4, SCRATCH), WASI_EINVAL);
    assert_int_equal(CALL(clock_time_get, 4, 0, SCRATCH), WASI_EINVAL);
    assert_int_equal(CALL(clock_time_get, 0, 0, MEMORY_BYTES - 7), WASI_EFAULT);
}

static void random_bytes_fill_just_the_buffer(void **state)
{
    (void)state;
    memset(arena.memory + DATA, 0, 1000);
    assert_int_equal(CALL(random_get, DATA + 1, 600), WASI_SUCCESS);
    assert_int_equal(arena.memory[DATA], 0);
    assert_int_equal(arena.memory[DATA + 601], 0);
    int zeros = 0;
    for (uint32_t i = 1; i <= 600; i++) {
        zeros += arena.memory[DATA + i] == 0;
    }
    assert_in_range(zeros, 0, 60);
    assert_int_equal(CALL(random_get, MEMORY_BYTES - 5, 6), WASI_EFAULT);
    assert_int_equal(CALL(random_get, 0, UINT32_MAX), WASI_EINVAL);
}

static void exit_ends_with_its_code_and_raise_traps_with_its_name(void **state)
{
    (void)state;
    CALL(proc_exit, 42);
    assert_int_equal(status, HOST_EXIT);
    assert_int_equal(last_call.exit_code, 42);
    CALL(proc_raise, 6);
    assert_int_equal(status, HOST_TRAP);
    assert_non_null(strstr(last_call.message, "SIGABRT"));
    CALL(proc_raise, 30);
    assert_non_null(strstr(last_call.message, "SIGSYS"));
    assert_int_equal(CALL(proc_raise, 0), WASI_SUCCESS);
    assert_int_equal(CALL(proc_raise, 31), WASI_EINVAL);
    assert_int_equal(CALL(sched_yield, 0), WASI_SUCCESS);
    assert_int_equal(slots[0].u64, 0);
    assert_int_equal(load_u64(slots[0].bytes + 8), 0);
}

static void what_cannot_be_opened_is_named(void **state)
{
    (void)state;
    struct error e;
    struct wasi *made = NULL;
    struct wasi_preopen missing = {.host_path = "/no/such/directory", .guest_name = "/"};
    struct wasi_config config = WASI_CONFIG;
    config.preopens = &missing;
    config.preopen_count = 1;
    assert_int_equal(wasi_create(&config, &made, &e), -ATOLL_ENOENT);
    assert_non_null(strstr(e.text, "/no/such/directory"));
    struct wasi_socket no_socket = {.fd = 0, .guest_fd = WASI_ANY_FD};
    config = (struct wasi_config){.stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1};
    config.sockets = &no_socket;
    config.socket_count = 1;
    no_socket.fd = open("/dev/null", O_RDONLY);
    assert_int_equal(wasi_create(&config, &made, &e), -ATOLL_EINVAL);
    close(no_socket.fd);
    assert_null(made);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_function_of_preview_1_is_there),
        TEST(other_names_types_and_versions_are_told_apart),
        TEST(arguments_and_environment_arrive),
        TEST(clocks_are_coarse_shifted_and_never_go_back),
        TEST(random_bytes_fill_just_the_buffer),
        TEST(exit_ends_with_its_code_and_raise_traps_with_its_name),
        TEST(what_cannot_be_opened_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
