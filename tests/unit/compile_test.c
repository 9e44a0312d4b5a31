/*
 * The client of the compiler process and the process itself, with shards that fail on demand
 * (src/engine/compile.c, compiler_process.c, src/atoll-cc, lower_double.c).
 */
#define _GNU_SOURCE
#include "base/file.h"
#include "base/sanitized.h"
#include "engine/compile.h"
#include "module_bytes.h"
#include "scratch_directory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define ITERATIONS 15

/* Under a sanitizer the shards have neither the filter nor the memory limit (confine.c). */
#define CONFINED (!SANITIZED)

static struct compiler *compiler;
static char program[PATH_MAX];
static struct compile_options options = {
    .tier = TIER_OPT, .mode = MODE_FAST, .cpu = CPU_V2, .link = LINK_PRIMARY};

/* ---- modules ---- */

/* (memory 1) (func) × functions (data (i32.const 0) how number): what lower_double.c obeys. */
static struct buffer module_make(char how, uint8_t functions, uint8_t number)
{
    struct buffer m = module_start(), types = {0}, bodies = {0};
    SECTION(&m, 1, 1, 0x60, 0, 0);
    append_byte(&types, functions);
    append_byte(&bodies, functions);
    for (uint8_t f = 0; f < functions; f++) {
        append_byte(&types, 0);
        append_bytes(&bodies, "\x02\x00\x0b", 3);
    }
    append_section_of(&m, 3, &types);
    SECTION(&m, 5, 1, 0, 1);
    append_section_of(&m, 10, &bodies);
    SECTION(&m, 11, 1, 0, 0x41, 0, 0x0b, 2, (uint8_t)how, number);
    return m;
}

/* Loads such a module; the artefact, if any, is released. */
static int load(char how, uint8_t number, bool *cached, bool *degraded, struct error *e)
{
    struct buffer m = module_make(how, 3, number);
    struct artefact *a;
    *e = (struct error){0};
    int rc = compiler_load(compiler, m.data, m.len, &options, &a, cached, e);
    if (rc == 0) {
        assert_int_equal(a->module.function_count, 3);
        if (degraded)
            *degraded = a->degraded;
    } else {
        assert_null(a);
    }
    artefact_release(a);
    buffer_free(&m);
    return rc;
}

static void assert_loads(char how, uint8_t number, bool expect_cached)
{
    struct error e;
    bool cached;
    if (load(how, number, &cached, NULL, &e) < 0)
        fail_msg("%s", e.text);
    assert_int_equal(cached, expect_cached);
}

static void assert_fails(char how, int code, const char *word)
{
    struct error e;
    assert_int_equal(load(how, 0, NULL, NULL, &e), code);
    if (!strstr(e.text, word))
        fail_msg("the error \"%s\" does not say \"%s\"", e.text, word);
}

/* ---- set-up ---- */

static uint32_t progress_seen, progress_total;
static void (*progress_hook)(void);

static void progress(void *context, uint32_t done, uint32_t total)
{
    assert_ptr_equal(context, &progress_seen);
    assert_true(done <= total);
    progress_seen++;
    progress_total = total;
    if (progress_hook)
        progress_hook();
}

static struct compiler *client_create(const char *path, const char *cache)
{
    struct compiler_settings settings = {.program = path,
                                         .cache = cache,
                                         .parallel = 2,
                                         .progress = progress,
                                         .progress_context = &progress_seen};
    struct compiler *c;
    struct error e;
    if (compiler_create(&settings, &c, &e) < 0)
        fail_msg("%s", e.text);
    return c;
}

static int client_start(void **state)
{
    (void)state;
    options.tier = TIER_OPT;
    progress_hook = NULL;
    progress_seen = 0;
    compiler = client_create(program, scratch_path("cache"));
    return 0;
}

static void client_stop(void)
{
    compiler_destroy(compiler);
    compiler = NULL;
}

static int client_end(void **state)
{
    (void)state;
    client_stop();
    scratch_remove(scratch_path("cache"));
    return 0;
}

/* The one child of this process: atoll-cc. */
static pid_t compiler_pid(void)
{
    char path[64], text[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/children", getpid());
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    ssize_t len = read(fd, text, sizeof text - 1);
    close(fd);
    assert_true(len > 0);
    text[len] = '\0';
    return atoi(text);
}

static void compiler_kill(void)
{
    kill(compiler_pid(), SIGKILL);
}

/* ---- success ---- */

static void a_module_is_compiled_once_and_then_cached(void **state)
{
    (void)state;
    struct artefact *a;
    struct error e;
    struct buffer m = module_make(' ', 3, 1);
    uint8_t sha256[HASH_LEN];
    hash_sha256(m.data, m.len, sha256);
    assert_int_equal(compiler_lookup(compiler, sha256, &options, &a, &e), -ATOLL_ENOENT);
    assert_loads(' ', 1, false);
    assert_loads(' ', 1, true);
    assert_int_equal(compiler_lookup(compiler, sha256, &options, &a, &e), 0);
    artefact_release(a);
    options.tier = TIER_QUICK;
    assert_loads(' ', 1, false);
    options.tier = TIER_OPT;
    assert_null(compiler_warning(compiler));
    buffer_free(&m);
}

static void another_client_finds_what_the_first_has_compiled(void **state)
{
    (void)state;
    assert_loads(' ', 1, false);
    client_stop();
    compiler = client_create(program, scratch_path("cache"));
    assert_loads(' ', 1, true);
}

static void without_a_cache_everything_is_compiled(void **state)
{
    (void)state;
    struct compiler *cached_client = compiler;
    compiler = client_create(program, "");
    assert_loads(' ', 1, false);
    assert_loads(' ', 1, false);
    client_stop();
    compiler = cached_client;
}

static void progress_counts_the_shards(void **state)
{
    (void)state;
    assert_loads(' ', 1, false);
    assert_int_equal(progress_seen, 3);
    assert_int_equal(progress_total, 3);
}

static void equal_modules_give_equal_artefacts(void **state)
{
    (void)state;
    struct buffer m = module_make(' ', 9, 1);
    uint8_t id[2][HASH_LEN];
    client_stop();
    for (int i = 0; i < 2; i++) {
        struct artefact *a;
        struct error e;
        compiler = client_create(program, "");
        assert_int_equal(compiler_load(compiler, m.data, m.len, &options, &a, NULL, &e), 0);
        memcpy(id[i], a->id, HASH_LEN);
        artefact_release(a);
        if (i == 0)
            client_stop();
    }
    assert_memory_equal(id[0], id[1], HASH_LEN);
    buffer_free(&m);
}

/* ---- bad modules ---- */

static void errors_of_modules_come_back_with_their_class_and_place(void **state)
{
    (void)state;
    struct artefact *a;
    struct error e;
    static const uint8_t truncated[] = {0, 'a', 's', 'm', 1, 0, 0, 0, 1, 9, 9};
    assert_int_equal(compiler_load(compiler, truncated, sizeof truncated, &options, &a, NULL, &e),
                     -ATOLL_EMALFORMED);
    assert_int_not_equal(e.offset, ERROR_NOWHERE);
    assert_int_equal(compiler_load(compiler, truncated, 0, &options, &a, NULL, &e),
                     -ATOLL_EMALFORMED);
    struct buffer m = module_start(); /* a function whose body leaves a value */
    SECTION(&m, 1, 1, 0x60, 0, 0);
    SECTION(&m, 3, 1, 0);
    SECTION(&m, 10, 1, 4, 0, 0x41, 1, 0x0b);
    assert_int_equal(compiler_load(compiler, m.data, m.len, &options, &a, NULL, &e),
                     -ATOLL_EINVALID);
    assert_int_equal(e.function, 0);
    assert_in_range(e.offset, 8, m.len);
    buffer_free(&m);
    assert_loads(' ', 1, false);
}

static void unknown_options_are_refused(void **state)
{
    (void)state;
    struct compile_options bad = options;
    struct buffer m = module_make(' ', 1, 1);
    struct artefact *a;
    struct error e;
    bad.cpu = 9;
    assert_int_equal(compiler_load(compiler, m.data, m.len, &bad, &a, NULL, &e), -ATOLL_EINVAL);
    assert_int_equal(
        compiler_load(compiler, m.data, (size_t)WASM_MAX_MODULE_BYTES + 1, &options, &a, NULL, &e),
        -ATOLL_ELIMIT);
    buffer_free(&m);
}

/* ---- shards that fail ---- */

static void a_killed_shard_is_reported_by_number_function_and_signal(void **state)
{
    (void)state;
    options.tier = TIER_QUICK;
    assert_fails('N', -ATOLL_ECOMPILE, "signal 4");
    assert_fails('N', -ATOLL_ECOMPILE, "shard 1 (functions 1 to 1)");
    options.tier = TIER_OPT;
    assert_loads(' ', 1, false);
}

static void what_the_compiler_said_before_it_died_is_passed_on(void **state)
{
    (void)state;
    assert_fails('L', -ATOLL_ECOMPILE, "exit status 7: DOUBLE ERROR: not today");
}

static void a_function_too_large_to_compile_is_reported_as_that(void **state)
{
    (void)state;
    assert_fails('B', -ATOLL_ECOMPILE, "functions 1 to 1 takes more memory than the limit");
}

static void an_error_of_lowering_keeps_its_code_and_place(void **state)
{
    (void)state;
    struct error e;
    assert_int_equal(load('E', 0, NULL, NULL, &e), -ATOLL_ELIMIT);
    assert_string_equal(e.text, "the double refuses function 1");
    assert_int_equal(e.offset, 77);
    assert_int_equal(e.function, 1);
}

static void a_shard_cannot_open_files(void **state)
{
    (void)state;
    if (!CONFINED)
        skip();
    assert_fails('S', -ATOLL_ECOMPILE, "signal 31");
}

static void a_shard_that_takes_all_memory_fails_alone(void **state)
{
    (void)state;
    if (!CONFINED)
        skip();
    assert_fails('M', -ATOLL_ECOMPILE, "shard 1");
    assert_loads(' ', 1, false);
}

static void an_answer_that_is_none_is_not_believed(void **state)
{
    (void)state;
    assert_fails('G', -ATOLL_ECOMPILE, "shard 1");
}

static void a_shard_that_fails_at_opt_is_tried_at_quick_and_the_artefact_says_so(void **state)
{
    (void)state;
    struct error e;
    bool degraded = false, cached;
    assert_int_equal(load('O', 0, &cached, &degraded, &e), 0);
    assert_true(degraded);
    degraded = false;
    assert_int_equal(load('O', 0, &cached, &degraded, &e), 0);
    assert_true(cached && degraded);
    options.tier = TIER_QUICK;
    assert_int_equal(load('O', 0, &cached, &degraded, &e), 0);
    options.tier = TIER_OPT;
    assert_false(cached || degraded);
}

static void code_with_forbidden_instructions_never_leaves_the_compiler(void **state)
{
    (void)state;
    assert_fails('I', -ATOLL_ECOMPILE, "syscall");
}

/* ---- processes that die ---- */

static void a_compiler_killed_between_modules_is_started_again(void **state)
{
    (void)state;
    assert_loads(' ', 1, false);
    pid_t first = compiler_pid();
    compiler_kill();
    assert_loads(' ', 2, false);
    assert_int_not_equal(compiler_pid(), first);
}

static unsigned kills_left;

/* Progress of a compiler that is dead already may still arrive: it is not killed twice. */
static void kill_some(void)
{
    static pid_t killed;
    if (kills_left && compiler_pid() != killed) {
        kills_left--;
        killed = compiler_pid();
        compiler_kill();
    }
}

static void a_compiler_killed_once_in_the_middle_still_delivers(void **state)
{
    (void)state;
    progress_hook = kill_some;
    kills_left = 1;
    assert_loads('T', 1, false);
    assert_int_equal(kills_left, 0);
}

static void a_compiler_killed_twice_over_a_module_is_reported(void **state)
{
    (void)state;
    progress_hook = kill_some;
    kills_left = 2;
    assert_fails('W', -ATOLL_ECOMPILE, "killed by signal 9");
    assert_loads(' ', 1, false);
}

static bool give_up_at_the_third_time(void *context)
{
    return ++*(unsigned *)context == 3;
}

static void a_compilation_that_nobody_wants_any_more_is_given_up(void **state)
{
    (void)state;
    struct compiler *before = compiler;
    unsigned asked = 0;
    struct error e;
    struct compiler_settings settings = {.program = program,
                                         .cache = "",
                                         .cancelled = give_up_at_the_third_time,
                                         .cancelled_context = &asked};
    assert_int_equal(compiler_create(&settings, &compiler, &e), 0);
    assert_fails('W', -ATOLL_ECANCELED, "given up"); /* its shards would run for ever */
    assert_int_equal(asked, 3);
    assert_loads(' ', 1, false);
    compiler_destroy(compiler);
    compiler = before;
}

static void programs_that_are_not_the_compiler_are_refused(void **state)
{
    (void)state;
    struct compiler *real = compiler;
    static const char *const wrong[] = {"/bin/true", "/bin/false", "/nonexistent/atoll-cc", "/tmp"};
    static const char *const caches[] = {"", NULL};
    for (size_t i = 0; i < 4; i++) {
        for (size_t k = 0; k < 2; k++) {
            struct error e;
            compiler = client_create(wrong[i], caches[k] ? caches[k] : scratch_path("cache"));
            assert_true(load(' ', 1, NULL, NULL, &e) < 0);
            assert_true(e.text[0] != '\0');
            client_stop();
        }
    }
    compiler = real;
}

static void a_changed_compiler_does_not_use_its_predecessors_artefacts(void **state)
{
    (void)state;
    struct buffer bytes = {0};
    struct error e;
    char copy[PATH_MAX];
    snprintf(copy, sizeof copy, "%s", scratch_path("atoll-cc"));
    assert_int_equal(file_read(program, 1u << 30, &bytes, &e), 0);
    assert_int_equal(file_replace(copy, bytes.data, bytes.len, 0755, &e), 0);
    client_stop();
    compiler = client_create(copy, scratch_path("cache"));
    assert_loads(' ', 1, false);
    client_stop();
    append_byte(&bytes, 0);
    assert_int_equal(file_replace(copy, bytes.data, bytes.len, 0755, &e), 0);
    compiler = client_create(copy, scratch_path("cache"));
    assert_loads(' ', 1, false);
    assert_loads(' ', 1, true);
    buffer_free(&bytes);
}

static void a_cache_that_vanishes_costs_a_warning_only(void **state)
{
    (void)state;
    assert_loads(' ', 1, false);
    scratch_remove(scratch_path("cache"));
    assert_loads(' ', 1, false);
    assert_non_null(compiler_warning(compiler));
}

/* ---- many processes ---- */

/* Loads modules in a process of its own until it has done or is killed; exits with the misses. */
static pid_t client_fork(uint8_t modules, char how)
{
    pid_t pid = fork();
    if (pid)
        return pid;
    compiler = client_create(program, scratch_path("cache"));
    int misses = 0;
    for (uint8_t i = 0; i < modules; i++) {
        struct error e;
        bool cached;
        if (load(how, i, &cached, NULL, &e) < 0)
            _exit(100);
        misses += !cached;
    }
    client_stop();
    _exit(misses);
}

static void clients_that_want_the_same_module_at_once_compile_it_once(void **state)
{
    (void)state;
    pid_t pids[4];
    int misses = 0;
    client_stop();
    for (int i = 0; i < 4; i++)
        pids[i] = client_fork(2, 'T');
    for (int i = 0; i < 4; i++) {
        int status;
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) < 100);
        misses += WEXITSTATUS(status);
    }
    assert_int_equal(misses, 2);
    compiler = client_create(program, scratch_path("cache"));
}

/* Every entry of the cache is whole. */
static void cache_check(void)
{
    DIR *stream = opendir(scratch_path("cache"));
    for (struct dirent *entry; stream && (entry = readdir(stream));) {
        size_t len = strlen(entry->d_name);
        char name[NAME_MAX + 16];
        struct artefact *a;
        struct error e;
        if (len < 9 || strcmp(entry->d_name + len - 9, ".artefact") != 0)
            continue;
        snprintf(name, sizeof name, "cache/%s", entry->d_name);
        if (artefact_load(scratch_path(name), &a, &e) < 0)
            fail_msg("%s", e.text);
        artefact_release(a);
    }
    if (stream)
        closedir(stream);
}

/* The client, its compiler and its shards end together: as the subreaper this process inherits
 * whatever outlives a client, and waits for it. A survivor would make it wait for ever. */
static void children_await(void)
{
    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
        ;
}

static void a_client_killed_at_any_moment_leaves_a_valid_cache_and_no_process(void **state)
{
    (void)state;
    client_stop();
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    for (int i = 0; i < ITERATIONS; i++) {
        pid_t pid = client_fork(200, ' ');
        usleep((useconds_t)(1000 + 3917 * i));
        kill(pid, SIGKILL);
        children_await();
        cache_check();
    }
    pid_t pid = client_fork(1, 'W'); /* its shards would run for ever */
    usleep(50000);
    kill(pid, SIGKILL);
    children_await();
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
    compiler = client_create(program, scratch_path("cache"));
    assert_loads(' ', 250, false);
    cache_check();
}

static void compilers_killed_at_any_moment_leave_a_valid_cache(void **state)
{
    (void)state;
    client_stop();
    for (int i = 0; i < ITERATIONS; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            compiler = client_create(program, scratch_path("cache"));
            for (uint8_t k = 0; k < 5; k++) {
                struct error e;
                kills_left = 1;
                /* Not for two modules in a row: a kill that comes after the answer counts for the
                 * next module, and two kills over one module are an error. */
                progress_hook = (i + k) % 2 ? kill_some : NULL;
                if (load(' ', (uint8_t)(5 * i + k), NULL, NULL, &e) < 0) {
                    print_error("%s\n", e.text);
                    _exit(1);
                }
            }
            client_stop();
            _exit(0);
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        cache_check();
    }
    compiler = client_create(program, scratch_path("cache"));
    assert_loads(' ', 3, true);
}

/* The double lies beside this program. */
static int group_start(void **state)
{
    ssize_t len = readlink("/proc/self/exe", program, sizeof program - 32);
    if (len < 0)
        return -1;
    program[len] = '\0';
    char *slash = strrchr(program, '/');
    strcpy(slash ? slash + 1 : program, "atoll-cc-double");
    return scratch_create(state);
}

#define CLIENT_TEST(name) cmocka_unit_test_setup_teardown(name, client_start, client_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLIENT_TEST(a_module_is_compiled_once_and_then_cached),
        CLIENT_TEST(another_client_finds_what_the_first_has_compiled),
        CLIENT_TEST(without_a_cache_everything_is_compiled),
        CLIENT_TEST(progress_counts_the_shards),
        CLIENT_TEST(equal_modules_give_equal_artefacts),
        CLIENT_TEST(errors_of_modules_come_back_with_their_class_and_place),
        CLIENT_TEST(unknown_options_are_refused),
        CLIENT_TEST(a_killed_shard_is_reported_by_number_function_and_signal),
        CLIENT_TEST(what_the_compiler_said_before_it_died_is_passed_on),
        CLIENT_TEST(a_function_too_large_to_compile_is_reported_as_that),
        CLIENT_TEST(an_error_of_lowering_keeps_its_code_and_place),
        CLIENT_TEST(a_shard_cannot_open_files),
        CLIENT_TEST(a_shard_that_takes_all_memory_fails_alone),
        CLIENT_TEST(an_answer_that_is_none_is_not_believed),
        CLIENT_TEST(a_shard_that_fails_at_opt_is_tried_at_quick_and_the_artefact_says_so),
        CLIENT_TEST(code_with_forbidden_instructions_never_leaves_the_compiler),
        CLIENT_TEST(a_compiler_killed_between_modules_is_started_again),
        CLIENT_TEST(a_compiler_killed_once_in_the_middle_still_delivers),
        CLIENT_TEST(a_compiler_killed_twice_over_a_module_is_reported),
        CLIENT_TEST(a_compilation_that_nobody_wants_any_more_is_given_up),
        CLIENT_TEST(programs_that_are_not_the_compiler_are_refused),
        CLIENT_TEST(a_changed_compiler_does_not_use_its_predecessors_artefacts),
        CLIENT_TEST(a_cache_that_vanishes_costs_a_warning_only),
        CLIENT_TEST(clients_that_want_the_same_module_at_once_compile_it_once),
        CLIENT_TEST(a_client_killed_at_any_moment_leaves_a_valid_cache_and_no_process),
        CLIENT_TEST(compilers_killed_at_any_moment_leave_a_valid_cache),
    };
    return cmocka_run_group_tests(tests, group_start, scratch_destroy);
}
