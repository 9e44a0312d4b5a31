/*
 * The public interface: what is kept of an arena. Snapshots and reset, WASI worlds, captured
 * images, dirty pages.
 */
#define _GNU_SOURCE
#include "embedding.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- snapshots ---- */

static struct atoll_snapshot *snapshot_of(struct atoll_instance *instance)
{
    struct atoll_snapshot *snapshot;
    GOOD(atoll_snapshot_take(atoll_instance_arena(instance), &snapshot, &error));
    return snapshot;
}

static struct atoll_instance *start_from(struct atoll_snapshot *snapshot)
{
    struct atoll_arena *arena;
    GOOD(atoll_arena_from_snapshot(snapshot, ATOLL_SLOT_ANY, &arena, &error));
    return atoll_arena_instance(arena, 0);
}

static void instances_of_a_snapshot_begin_alike_and_keep_apart(void **state)
{
    (void)state;
    struct atoll_instance *origin = guest_link("basics", TEST_IMPORTS), *instances[50];
    guest_call(origin, "store", 1000, 5);
    struct atoll_snapshot *snapshot = snapshot_of(origin);
    assert_true(atoll_snapshot_bytes(snapshot) >= 65536);
    guest_destroy(origin);
    for (int k = 0; k < 50; k++) {
        instances[k] = start_from(snapshot);
        assert_int_equal(guest_call(instances[k], "load", 1000, 0), 5);
        guest_call(instances[k], "store", 1000, k);
    }
    /* The instances hold what they need of it. */
    atoll_snapshot_release(snapshot);
    for (int k = 0; k < 50; k++) {
        assert_int_equal(guest_call(instances[k], "load", 1000, 0), k);
        assert_int_equal(guest_call(instances[k], "host_sum", 4, 0), 10);
        guest_destroy(instances[k]);
    }
}

static void a_reset_leaves_nothing_of_what_was_done(void **state)
{
    (void)state;
    struct atoll_instance *origin = guest_link("basics", TEST_IMPORTS);
    struct atoll_snapshot *snapshot = snapshot_of(origin);
    struct atoll_instance *instance = start_from(snapshot);
    struct atoll_arena *arena = atoll_instance_arena(instance);
    REFUSED(ATOLL_EINVAL, atoll_arena_reset(atoll_instance_arena(origin), &error));
    for (int round = 0; round < 3; round++) {
        struct atoll_outcome outcome;
        assert_int_equal(guest_call(instance, "load", 40000, 0), 0);
        assert_int_equal(guest_call(instance, "size", 0, 0), 1);
        atoll_snapshot_keep_pages(snapshot, round == 1 ? 0 : 64);
        guest_call(instance, "store", 40000, 7);
        guest_call(instance, "grow", 3, 0);
        atoll_interrupt(arena);
        outcome = guest_try(instance, "spin", 0, 0, NULL);
        assert_int_equal(outcome.status, ATOLL_INTERRUPTED);
        GOOD(atoll_arena_reset(arena, &error));
        assert_false(atoll_suspended(arena));
    }
    guest_destroy(instance);
    guest_destroy(origin);
    atoll_snapshot_release(snapshot);
}

static void what_is_not_quiescent_gives_no_snapshot(void **state)
{
    (void)state;
    struct atoll_instance *instance = guest_link("basics", TEST_IMPORTS);
    struct atoll_snapshot *snapshot;
    atoll_interrupt(atoll_instance_arena(instance));
    assert_int_equal(guest_try(instance, "spin", 0, 0, NULL).status, ATOLL_INTERRUPTED);
    REFUSED(ATOLL_EBUSY, atoll_snapshot_take(atoll_instance_arena(instance), &snapshot, &error));
    assert_null(snapshot);
    guest_destroy(instance);
}

static void *many_start(void *snapshot)
{
    for (int k = 0; k < 100; k++) {
        struct atoll_arena *arena;
        struct atoll_val argument = atoll_i32(10), result;
        struct atoll_outcome outcome;
        uint32_t fib;
        if (atoll_arena_from_snapshot(snapshot, ATOLL_SLOT_ANY, &arena, NULL) < 0 ||
            atoll_function(atoll_arena_instance(arena, 0), "fib", &fib, NULL) < 0 ||
            atoll_invoke(atoll_arena_instance(arena, 0), fib, &argument, 1, &result, 1, &outcome,
                         NULL) < 0 ||
            result.of.i32 != 55)
            return snapshot;
        atoll_arena_destroy(arena);
    }
    return NULL;
}

static void threads_start_instances_of_one_snapshot_at_once(void **state)
{
    (void)state;
    struct atoll_instance *origin = guest_link("basics", TEST_IMPORTS);
    struct atoll_snapshot *snapshot = snapshot_of(origin);
    pthread_t threads[4];
    void *failed;
    for (int k = 0; k < 4; k++)
        pthread_create(&threads[k], NULL, many_start, snapshot);
    for (int k = 0; k < 4; k++) {
        pthread_join(threads[k], &failed);
        assert_null(failed);
    }
    guest_destroy(origin);
    atoll_snapshot_release(snapshot);
}

/* ---- WASI ---- */

struct world {
    int out[2];
    const char *args[2];
    struct atoll_wasi_config config;
};

static void world_begin(struct world *w, const char *word)
{
    assert_int_equal(pipe2(w->out, O_CLOEXEC | O_NONBLOCK), 0);
    w->args[0] = "program";
    w->args[1] = word;
    w->config = (struct atoll_wasi_config){
        .args = w->args, .arg_count = 2, .stdin_fd = -1, .stdout_fd = w->out[1], .stderr_fd = -1};
}

/* What the guest printed; its end of the pipe is closed. */
static void world_expect(struct world *w, const char *printed)
{
    char text[64] = "";
    close(w->out[1]);
    assert_true(read(w->out[0], text, sizeof text - 1) >= 0);
    assert_string_equal(text, printed);
    close(w->out[0]);
}

static void a_program_sees_the_world_it_was_given(void **state)
{
    (void)state;
    struct world world;
    struct atoll_artefact *artefact = guest_compile("program", NULL);
    struct atoll_arena *arena = arena_new();
    struct atoll_instance *instance;
    world_begin(&world, "lagoon");
    REFUSED(ATOLL_ELINK, atoll_link(arena, artefact, NULL, 0, &instance, &error));
    assert_non_null(strstr(error.text, "WASI world"));
    GOOD(atoll_wasi_attach(arena, &world.config, &error));
    GOOD(atoll_link(arena, artefact, NULL, 0, &instance, &error));
    struct atoll_outcome outcome = guest_try(instance, "_start", 0, 0, NULL);
    assert_int_equal(outcome.status, ATOLL_EXITED);
    assert_int_equal(outcome.exit_code, 6);
    world_expect(&world, "lagoon");
    struct atoll_directory nowhere = {.host_path = "/nowhere", .guest_name = "/"};
    struct atoll_wasi_config config = ATOLL_WASI_CONFIG;
    config.directories = &nowhere;
    config.directory_count = 1;
    REFUSED(ATOLL_ENOENT, atoll_wasi_attach(arena, &config, &error));
    assert_non_null(strstr(error.text, "/nowhere"));
    atoll_arena_destroy(arena);
    atoll_artefact_release(artefact);
}

static void each_instance_of_a_snapshot_gets_a_world_of_its_own(void **state)
{
    (void)state;
    struct world origin_world, worlds[2];
    struct atoll_artefact *artefact = guest_compile("program", NULL);
    struct atoll_arena *arena = arena_new();
    struct atoll_instance *origin, *instances[2];
    world_begin(&origin_world, "origin");
    GOOD(atoll_wasi_attach(arena, &origin_world.config, &error));
    GOOD(atoll_link(arena, artefact, NULL, 0, &origin, &error));
    struct atoll_snapshot *snapshot = snapshot_of(origin);
    for (int k = 0; k < 2; k++) {
        instances[k] = start_from(snapshot);
        struct atoll_outcome outcome = guest_try(instances[k], "say", 0, 0, NULL);
        assert_int_equal(outcome.trap.kind, ATOLL_TRAP_HOST);
        assert_non_null(strstr(outcome.trap.message, "no WASI world"));
        world_begin(&worlds[k], k ? "second" : "first");
        GOOD(atoll_wasi_attach(atoll_instance_arena(instances[k]), &worlds[k].config, &error));
    }
    for (int k = 0; k < 2; k++)
        assert_int_equal(guest_try(instances[k], "say", 0, 0, NULL).status, ATOLL_DONE);
    /* A reset takes the world away with everything else. */
    GOOD(atoll_arena_reset(atoll_instance_arena(instances[0]), &error));
    assert_int_equal(guest_try(instances[0], "say", 0, 0, NULL).status, ATOLL_TRAPPED);
    guest_destroy(instances[0]);
    guest_destroy(instances[1]);
    atoll_arena_destroy(arena);
    world_expect(&worlds[0], "first");
    world_expect(&worlds[1], "second");
    world_expect(&origin_world, "");
    atoll_snapshot_release(snapshot);
    atoll_artefact_release(artefact);
}

/* ---- captured images ---- */

static char home[] = "/tmp/atoll-embed-XXXXXX";

static struct atoll_key *user_key(const char *name)
{
    char directory[64];
    struct atoll_key *key;
    snprintf(directory, sizeof directory, "%s/%s", home, name);
    setenv("ATOLL_HOME", directory, 1);
    GOOD(atoll_key_user(&key, &error));
    return key;
}

static struct atoll_bytes capture(struct atoll_arena *arena, const struct atoll_key *key,
                                  const char *note)
{
    struct atoll_capture *taken;
    struct atoll_bytes image;
    GOOD(atoll_capture_take(arena, &taken, &error));
    GOOD(atoll_capture_encode(taken, key, note, note ? strlen(note) : 0, NULL, 0, &image, &error));
    atoll_capture_destroy(taken);
    return image;
}

/* Stops fib at its first instruction, and destroys the arena once it is captured. */
static struct atoll_bytes fib_captured(const struct atoll_key *key, const char *note)
{
    struct atoll_instance *instance = guest_link("basics", TEST_IMPORTS);
    struct atoll_val result;
    atoll_interrupt(atoll_instance_arena(instance));
    assert_int_equal(guest_try(instance, "fib", 20, 0, &result).status, ATOLL_INTERRUPTED);
    struct atoll_bytes image = capture(atoll_instance_arena(instance), key, note);
    guest_destroy(instance);
    return image;
}

static int note_check(void *context, const void *note, size_t len, const void *policy,
                      size_t policy_len)
{
    (void)policy;
    return policy_len == 0 && len == strlen(context) && memcmp(note, context, len) == 0
               ? 0
               : -ATOLL_EREJECTED;
}

static void a_captured_run_ends_as_it_would_have(void **state)
{
    (void)state;
    struct atoll_key *key = user_key("own");
    uint8_t public_key[1][ATOLL_KEY_BYTES];
    char note[] = "resume me";
    struct atoll_restore_settings settings = {.trusted = public_key,
                                              .trusted_count = 1,
                                              .imports = test_imports,
                                              .import_count = 5,
                                              .context = note,
                                              .begin = note_check};
    struct atoll_arena *arena;
    struct atoll_outcome outcome;
    struct atoll_val result;
    atoll_key_public(key, public_key[0]);
    struct atoll_bytes image = fib_captured(key, note);
    GOOD(atoll_restore(image.data, image.len, &settings, &arena, &error));
    assert_true(atoll_suspended(arena));
    struct atoll_arena *second;
    REFUSED(ATOLL_EBUSY, atoll_restore(image.data, image.len, &settings, &second, &error));
    GOOD(atoll_resume(arena, &result, 1, &outcome, &error));
    assert_int_equal(outcome.status, ATOLL_DONE);
    assert_int_equal(result.type, ATOLL_I32);
    assert_int_equal(result.of.i32, 6765);
    struct atoll_instance *instance = atoll_arena_instance(arena, 0);
    assert_int_equal(guest_call(instance, "host_sum", 3, 0), 6);
    atoll_arena_destroy(arena);
    note[0] = 'R';
    REFUSED(ATOLL_EREJECTED, atoll_restore(image.data, image.len, &settings, &arena, &error));
    atoll_bytes_free(&image);
    atoll_key_destroy(key);
}

static void images_that_are_forged_or_lack_an_import_are_refused(void **state)
{
    (void)state;
    struct atoll_key *key = user_key("own"), *other = user_key("other");
    uint8_t public_key[1][ATOLL_KEY_BYTES];
    struct atoll_restore_settings settings = {
        .trusted = public_key, .trusted_count = 1, .imports = test_imports, .import_count = 5};
    struct atoll_arena *arena;
    atoll_key_public(key, public_key[0]);
    struct atoll_bytes image = fib_captured(other, NULL);
    REFUSED(ATOLL_ESIGNATURE, atoll_restore(image.data, image.len, &settings, &arena, &error));
    assert_null(arena);
    atoll_bytes_free(&image);
    image = fib_captured(key, NULL);
    image.data[image.len / 2] ^= 1;
    REFUSED(ATOLL_ESIGNATURE, atoll_restore(image.data, image.len, &settings, &arena, &error));
    image.data[image.len / 2] ^= 1;
    settings.import_count = 4;
    REFUSED(ATOLL_ELINK, atoll_restore(image.data, image.len, &settings, &arena, &error));
    assert_non_null(strstr(error.text, "exit"));
    struct atoll_import wrong[5];
    memcpy(wrong, test_imports, sizeof wrong);
    wrong[4].type = "i64 ->";
    settings.imports = wrong;
    settings.import_count = 5;
    REFUSED(ATOLL_ELINK, atoll_restore(image.data, image.len, &settings, &arena, &error));
    settings.imports = test_imports;
    settings.trusted_count = 0;
    REFUSED(ATOLL_ESIGNATURE, atoll_restore(image.data, image.len, &settings, &arena, &error));
    settings.trusted_count = 1;
    GOOD(atoll_restore(image.data, image.len, &settings, &arena, &error));
    atoll_arena_destroy(arena);
    atoll_bytes_free(&image);
    atoll_key_destroy(key);
    atoll_key_destroy(other);
}

static void a_captured_program_keeps_its_wasi_world(void **state)
{
    (void)state;
    struct world before, after;
    struct atoll_key *key = user_key("own");
    uint8_t public_key[1][ATOLL_KEY_BYTES];
    struct atoll_artefact *artefact = guest_compile("program", NULL);
    struct atoll_arena *arena = arena_new();
    struct atoll_instance *instance;
    struct atoll_outcome outcome;
    atoll_key_public(key, public_key[0]);
    world_begin(&before, "atoll");
    world_begin(&after, "another");
    GOOD(atoll_wasi_attach(arena, &before.config, &error));
    GOOD(atoll_link(arena, artefact, NULL, 0, &instance, &error));
    atoll_interrupt(arena);
    outcome = guest_try(instance, "say", 0, 0, NULL);
    assert_int_equal(outcome.status, ATOLL_INTERRUPTED);
    struct atoll_bytes image = capture(arena, key, NULL);
    atoll_arena_destroy(arena);
    struct atoll_restore_settings settings = {
        .trusted = public_key, .trusted_count = 1, .wasi = &after.config};
    GOOD(atoll_restore(image.data, image.len, &settings, &arena, &error));
    GOOD(atoll_resume(arena, NULL, 0, &outcome, &error));
    assert_int_equal(outcome.status, ATOLL_DONE);
    atoll_arena_destroy(arena);
    world_expect(&before, "");
    world_expect(&after, "atoll");
    atoll_bytes_free(&image);
    atoll_artefact_release(artefact);
    atoll_key_destroy(key);
}

static enum atoll_answer host_twice(struct atoll_call *call)
{
    call->slots[0].u64 = call->slots[0].u32 * 2;
    return ATOLL_CALL_DONE;
}

static void a_captured_arena_brings_all_its_modules(void **state)
{
    (void)state;
    struct atoll_key *key = user_key("own");
    uint8_t public_key[1][ATOLL_KEY_BYTES];
    struct atoll_instance *provider = guest_link("provider", NULL, 0), *consumer;
    struct atoll_arena *arena = atoll_instance_arena(provider);
    struct atoll_import imports[] = {
        {.module = "provider", .from = provider},
        {.module = "host", .name = "twice", .type = "i32 -> i32", .function = host_twice},
    };
    struct atoll_compile_options options = {.link = ATOLL_LINK_SHARED};
    struct atoll_artefact *artefact = guest_compile("consumer", &options);
    struct atoll_val result;
    struct atoll_outcome outcome;
    atoll_key_public(key, public_key[0]);
    GOOD(atoll_link(arena, artefact, imports, 2, &consumer, &error));
    assert_int_equal(guest_call(consumer, "work", 5, 0), 110);
    atoll_interrupt(arena);
    assert_int_equal(guest_try(consumer, "work", 7, 0, &result).status, ATOLL_INTERRUPTED);
    struct atoll_bytes image = capture(arena, key, NULL);
    atoll_arena_destroy(arena);
    atoll_artefact_release(artefact);
    struct atoll_restore_settings settings = {
        .trusted = public_key, .trusted_count = 1, .imports = imports, .import_count = 1};
    REFUSED(ATOLL_ELINK, atoll_restore(image.data, image.len, &settings, &arena, &error));
    assert_non_null(strstr(error.text, "host.twice"));
    settings.import_count = 2;
    GOOD(atoll_restore(image.data, image.len, &settings, &arena, &error));
    GOOD(atoll_resume(arena, &result, 1, &outcome, &error));
    assert_int_equal(outcome.status, ATOLL_DONE);
    assert_int_equal(result.of.i32, 124);
    assert_int_equal(guest_call(atoll_arena_instance(arena, 0), "load", 64, 0), 7);
    assert_int_equal(guest_call(atoll_arena_instance(arena, 1), "work", 1, 0), 126);
    atoll_arena_destroy(arena);
    atoll_bytes_free(&image);
    atoll_key_destroy(key);
}

static int lagoon = -1;

static int region_open(void *context, const char *name)
{
    (void)context;
    return strcmp(name, "lagoon") == 0 ? dup(lagoon) : -ATOLL_ENOENT;
}

static void a_captured_arena_finds_its_regions_by_name(void **state)
{
    (void)state;
    struct atoll_key *key = user_key("own");
    uint8_t public_key[1][ATOLL_KEY_BYTES];
    struct atoll_instance *instance = guest_link("basics", TEST_IMPORTS);
    struct atoll_arena *arena = atoll_instance_arena(instance);
    struct atoll_val result;
    uint32_t address, value = 31;
    atoll_key_public(key, public_key[0]);
    lagoon = memfd_create("lagoon", MFD_CLOEXEC);
    assert_int_equal(ftruncate(lagoon, 4096), 0);
    GOOD(atoll_region_map(arena, "lagoon", lagoon, 0, 4096, ATOLL_READ | ATOLL_WRITE, &address,
                          &error));
    atoll_interrupt(arena);
    assert_int_equal(guest_try(instance, "load", (int32_t)address, 0, &result).status,
                     ATOLL_INTERRUPTED);
    struct atoll_bytes image = capture(arena, key, NULL);
    guest_destroy(instance);
    assert_int_equal(pwrite(lagoon, &value, 4, 0), 4);
    struct atoll_restore_settings settings = {
        .trusted = public_key, .trusted_count = 1, .imports = test_imports, .import_count = 5};
    REFUSED(ATOLL_ENOENT, atoll_restore(image.data, image.len, &settings, &arena, &error));
    settings.region = region_open;
    GOOD(atoll_restore(image.data, image.len, &settings, &arena, &error));
    struct atoll_outcome outcome;
    GOOD(atoll_resume(arena, &result, 1, &outcome, &error));
    assert_int_equal(result.of.i32, 31);
    atoll_arena_destroy(arena);
    atoll_bytes_free(&image);
    close(lagoon);
    atoll_key_destroy(key);
}

static void an_arena_that_is_not_suspended_is_not_captured(void **state)
{
    (void)state;
    struct atoll_instance *instance = guest_link("basics", TEST_IMPORTS);
    struct atoll_capture *taken;
    REFUSED(ATOLL_EBUSY, atoll_capture_take(atoll_instance_arena(instance), &taken, &error));
    assert_null(taken);
    guest_destroy(instance);
}

/* ---- dirty pages ---- */

static bool is_dirty(const struct atoll_range *ranges, size_t count, const uint8_t *at)
{
    for (size_t k = 0; k < count; k++)
        if (at >= ranges[k].start && at < ranges[k].start + ranges[k].len)
            return true;
    return false;
}

static void written_pages_are_reported_once(void **state)
{
    (void)state;
    struct atoll_instance *instance = guest_link("basics", TEST_IMPORTS);
    struct atoll_arena *arena = atoll_instance_arena(instance);
    const uint8_t *memory = atoll_memory(instance);
    struct atoll_range *ranges;
    size_t count;
    REFUSED(ATOLL_EINVAL, atoll_dirty_collect(arena, &ranges, &count, &error));
    GOOD(atoll_dirty_start(arena, &error));
    REFUSED(ATOLL_EBUSY, atoll_dirty_start(arena, &error));
    guest_call(instance, "store", 20000, 1);
    GOOD(atoll_dirty_collect(arena, &ranges, &count, &error));
    assert_true(is_dirty(ranges, count, memory + 20000));
    assert_false(is_dirty(ranges, count, memory + 40000));
    free(ranges);
    guest_call(instance, "store", 40000, 1);
    GOOD(atoll_dirty_collect(arena, &ranges, &count, &error));
    assert_false(is_dirty(ranges, count, memory + 20000));
    assert_true(is_dirty(ranges, count, memory + 40000));
    free(ranges);
    atoll_dirty_stop(arena);
    REFUSED(ATOLL_EINVAL, atoll_dirty_collect(arena, &ranges, &count, &error));
    guest_destroy(instance);
}

static int group_begin(void **state)
{
    return mkdtemp(home) ? compiler_begin(state) : -1;
}

static int group_end(void **state)
{
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", home);
    return system(command) == 0 ? compiler_end(state) : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(instances_of_a_snapshot_begin_alike_and_keep_apart),
        cmocka_unit_test(a_reset_leaves_nothing_of_what_was_done),
        cmocka_unit_test(what_is_not_quiescent_gives_no_snapshot),
        cmocka_unit_test(threads_start_instances_of_one_snapshot_at_once),
        cmocka_unit_test(a_program_sees_the_world_it_was_given),
        cmocka_unit_test(each_instance_of_a_snapshot_gets_a_world_of_its_own),
        cmocka_unit_test(a_captured_run_ends_as_it_would_have),
        cmocka_unit_test(images_that_are_forged_or_lack_an_import_are_refused),
        cmocka_unit_test(a_captured_program_keeps_its_wasi_world),
        cmocka_unit_test(a_captured_arena_brings_all_its_modules),
        cmocka_unit_test(a_captured_arena_finds_its_regions_by_name),
        cmocka_unit_test(an_arena_that_is_not_suspended_is_not_captured),
        cmocka_unit_test(written_pages_are_reported_once),
    };
    return cmocka_run_group_tests(tests, group_begin, group_end);
}
