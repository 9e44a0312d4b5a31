/*
 * Captured images: what is refused, and continuation in another process.
 *
 * The program runs itself as the other process: `capture_test resume FILE EXPECTED`.
 */
#define _GNU_SOURCE
#include "../guest/guest.h"

#include "base/file.h"
#include "engine/arena.h"
#include "sandbox/capture.h"
#include "sandbox/image_format.h"
#include "sandbox/region.h"
#include "sandbox/vector_state.h"

#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <sodium.h>

extern char **environ;

static struct key_pair own_key, other_key;
static const uint8_t (*trusted)[KEY_PUBLIC_LEN] = &own_key.public_key;

static void keys_make(void)
{
    static const uint8_t seeds[2][crypto_sign_SEEDBYTES] = {{1}, {2}};
    assert_true(sodium_init() >= 0);
    crypto_sign_seed_keypair(own_key.public_key, own_key.secret_key, seeds[0]);
    crypto_sign_seed_keypair(other_key.public_key, other_key.secret_key, seeds[1]);
}

/* An arena stopped in the middle of an export of "work". */
static struct arena *stopped_work(const char *function, int32_t steps)
{
    struct artefact *artefact = guest_artefact("work", TIER_OPT, MODE_FAST);
    struct arena *arena = guest_arena(artefact, NULL);
    union host_slot slots[4];
    artefact_release(artefact);
    arena_interrupt(arena);
    assert_int_equal(guest_call(arena, function, slots, steps, 0, 0).status, RUN_INTERRUPTED);
    return arena;
}

static struct buffer image_of(struct arena *arena, const struct key_pair *key)
{
    struct error e = {0};
    struct capture *capture;
    struct buffer image = {0}, state = {0}, none = {0};
    buffer_append(&state, "host state", 10);
    if (capture_take(arena, &capture, &e) < 0 ||
        capture_encode(capture, key, &state, &none, &image, &e) < 0)
        fail_msg("%s", e.text);
    capture_destroy(capture);
    buffer_free(&state);
    return image;
}

static int begin(void *context, const uint8_t *state, size_t len, const uint8_t *policy,
                 size_t policy_len, struct error *e)
{
    (void)context;
    (void)policy;
    (void)e;
    return len == 10 && policy_len == 0 && memcmp(state, "host state", 10) == 0 ? 0
                                                                                : -ATOLL_ECORRUPT;
}

static const struct capture_host *host(void)
{
    static struct capture_host h = {.trusted_count = 1, .begin = begin, .resolve = guest_resolve};
    h.trusted = trusted;
    return &h;
}

static int restore(const struct buffer *image, struct arena **arena, struct error *e)
{
    return capture_restore(image->data, image->len, host(), arena, e);
}

/* ---- the other process ---- */

static int resume_main(const char *path, const char *expected)
{
    struct error e = {0};
    struct buffer image = {0};
    struct arena *arena;
    struct run_result r;
    union host_slot slots[4];
    if (file_read(path, 1u << 30, &image, &e) < 0 || restore(&image, &arena, &e) < 0 ||
        arena_resume(arena, slots, &r, &e) < 0) {
        fprintf(stderr, "%s\n", e.text);
        return 2;
    }
    while (r.status == RUN_PARKED)
        if (arena_wait(arena) < 0 || arena_resume(arena, slots, &r, &e) < 0)
            return 3;
    char found[32];
    snprintf(found, sizeof found, "%" PRIi64, slots[0].i64);
    arena_destroy(arena);
    buffer_free(&image);
    return r.status == RUN_DONE && strcmp(found, expected) == 0 ? 0 : 1;
}

static int resume_elsewhere(const struct buffer *image, int64_t expected)
{
    struct error e = {0};
    char path[] = "/tmp/atoll-capture-test-XXXXXX", number[32];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(file_write_all(fd, image->data, image->len, &e), 0);
    close(fd);
    snprintf(number, sizeof number, "%" PRIi64, expected);
    char *arguments[] = {"capture_test", "resume", path, number, NULL};
    pid_t child;
    int status = -1;
    assert_int_equal(posix_spawn(&child, "/proc/self/exe", NULL, NULL, arguments, environ), 0);
    waitpid(child, &status, 0);
    unlink(path);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* ---- tests ---- */

static void a_stopped_computation_ends_alike_in_another_process(void **state)
{
    (void)state;
    static const char *const functions[] = {"scalar", "vector", "recursive", "calling", "growing"};
    for (int k = 0; k < 5; k++) {
        struct artefact *artefact = guest_artefact("work", TIER_OPT, MODE_FAST);
        struct arena *plain = guest_arena(artefact, NULL);
        union host_slot slots[4];
        assert_int_equal(guest_call(plain, functions[k], slots, 300, 0, 0).status, RUN_DONE);
        int64_t expected = slots[0].i64;
        arena_destroy(plain);
        artefact_release(artefact);
        struct arena *arena = stopped_work(functions[k], 300);
        struct buffer image = image_of(arena, &own_key);
        arena_destroy(arena);
        assert_int_equal(resume_elsewhere(&image, expected), 0);
        buffer_free(&image);
    }
}

static void a_parked_call_goes_on_waiting_in_another_process(void **state)
{
    (void)state;
    struct artefact *artefact = guest_artefact("basics", TIER_QUICK, MODE_FAST);
    struct arena *arena = guest_arena(artefact, NULL);
    union host_slot slots[4];
    assert_int_equal(guest_call(arena, "host_wait", slots, 20000000, 0, 0).status, RUN_PARKED);
    struct buffer image = image_of(arena, &own_key);
    arena_destroy(arena);
    artefact_release(artefact);
    assert_int_equal(resume_elsewhere(&image, 101), 0);
    buffer_free(&image);
}

static void any_altered_byte_is_refused_before_parsing(void **state)
{
    (void)state;
    struct error e = {0};
    struct arena *arena = stopped_work("scalar", 1000), *restored;
    struct buffer image = image_of(arena, &own_key);
    arena_destroy(arena);
    for (size_t at = 0; at < image.len; at += at < 4096 ? 97 : image.len / 200) {
        image.data[at] ^= 0x10;
        int rc = restore(&image, &restored, &e);
        assert_int_equal(rc, -ATOLL_ESIGNATURE);
        image.data[at] ^= 0x10;
    }
    size_t len = image.len;
    for (size_t cut = 1; cut < len; cut = cut * 2 + 1) {
        image.len = len - cut;
        assert_int_equal(restore(&image, &restored, &e), -ATOLL_ESIGNATURE);
    }
    image.len = len;
    assert_int_equal(restore(&image, &restored, &e), 0);
    arena_destroy(restored);
    buffer_free(&image);
}

static void a_foreign_image_needs_its_key_to_be_trusted(void **state)
{
    (void)state;
    struct error e = {0};
    struct arena *arena = stopped_work("scalar", 1000), *restored;
    struct buffer image = image_of(arena, &other_key);
    arena_destroy(arena);
    assert_int_equal(restore(&image, &restored, &e), -ATOLL_ESIGNATURE);
    assert_non_null(strstr(e.text, "--trust"));
    trusted = &other_key.public_key;
    assert_int_equal(restore(&image, &restored, &e), 0);
    trusted = &own_key.public_key;
    arena_destroy(restored);
    buffer_free(&image);
}

/* Signs an image again after a change to its header, as an insider's mistake would. */
static void sign_again(struct buffer *image)
{
    uint8_t hash[HASH_LEN], *end = image->data + image->len;
    hash_blake2b(image->data, image->len - SIGNATURE_LEN, (const uint8_t *)IMAGE_DOMAIN,
                 sizeof IMAGE_DOMAIN - 1, hash);
    sign_detached(&own_key, hash, sizeof hash, end - SIGNATURE_LEN);
}

static void signed_nonsense_is_refused_with_its_reason(void **state)
{
    (void)state;
    struct error e = {0};
    struct arena *arena = stopped_work("scalar", 1000), *restored;
    struct buffer image = image_of(arena, &own_key);
    arena_destroy(arena);
    struct image_header good, *h = (struct image_header *)(void *)image.data;
    good = *h;
#define REFUSED(change, code)                                      \
    do {                                                           \
        change;                                                    \
        sign_again(&image);                                        \
        assert_int_equal(restore(&image, &restored, &e), -(code)); \
        *h = good;                                                 \
    } while (0)
    REFUSED(h->format = 99, ATOLL_ESTALE);
    REFUSED(h->gate[3] ^= 1, ATOLL_ESTALE);
    REFUSED(h->cpu_features = ~0ull, ATOLL_ECPU);
    REFUSED(h->slot = 3, ATOLL_EINVAL);
    REFUSED(h->suspended = 99, ATOLL_ECORRUPT);
    REFUSED(h->suspended_rsp = 0, ATOLL_ECORRUPT);
    REFUSED(h->module_count = 0, ATOLL_ECORRUPT);
    REFUSED(h->module_count = 2, ATOLL_ECORRUPT);
    REFUSED(h->part_count++, ATOLL_ECORRUPT);
    REFUSED(h->run_count = 1u << 20, ATOLL_ECORRUPT);
    REFUSED(h->run_bytes += 4096, ATOLL_ECORRUPT);
    REFUSED(h->rest_used = 1ull << 40, ATOLL_ECORRUPT);
    REFUSED(h->running_function = 1u << 20, ATOLL_ECORRUPT);
    REFUSED(h->host_state_len = UINT64_MAX, ATOLL_ECORRUPT);
    size_t artefact = sizeof *h + sizeof(struct vector_state) + sizeof(struct image_module) + 100;
    image.data[artefact] ^= 1;
    sign_again(&image);
    assert_int_equal(restore(&image, &restored, &e), -ATOLL_ECORRUPT);
    assert_non_null(strstr(e.text, "artefact"));
    buffer_free(&image);
}

static void *interrupt_soon(void *arena)
{
    usleep(3000);
    arena_interrupt(arena);
    return NULL;
}

static void registers_outside_the_arena_are_refused(void **state)
{
    (void)state;
    struct error e = {0};
    struct artefact *artefact = guest_artefact("basics", TIER_OPT, MODE_FAST);
    struct arena *arena = guest_arena(artefact, NULL), *restored;
    union host_slot slots[4];
    struct run_result r;
    artefact_release(artefact);
    arena_interrupt(arena);
    r = guest_call(arena, "spin", slots, 0, 0, 0);
    while (arena->context.suspended != LEAVE_INTERRUPTED) { /* until it stops inside the loop */
        pthread_t thread;
        pthread_create(&thread, NULL, interrupt_soon, arena);
        assert_int_equal(arena_resume(arena, slots, &r, &e), 0);
        pthread_join(thread, NULL);
    }
    struct buffer image = image_of(arena, &own_key);
    arena_destroy(arena);
    struct image_header *h = (struct image_header *)(void *)image.data, good = *h;
    REFUSED(h->rip = 0x400000, ATOLL_ECORRUPT);
    REFUSED(h->general[4] = 0, ATOLL_ECORRUPT);
    REFUSED(h->general[4] += 1, ATOLL_ECORRUPT);
    sign_again(&image);
    assert_int_equal(restore(&image, &restored, &e), 0);
    arena_destroy(restored);
    buffer_free(&image);
}

static void a_taken_slot_asks_for_another_process(void **state)
{
    (void)state;
    struct error e = {0};
    struct arena *arena = stopped_work("scalar", 1000), *restored;
    struct buffer image = image_of(arena, &own_key);
    assert_int_equal(restore(&image, &restored, &e), -ATOLL_EBUSY);
    arena_destroy(arena);
    assert_int_equal(restore(&image, &restored, &e), 0);
    arena_destroy(restored);
    buffer_free(&image);
}

static void a_running_arena_is_not_captured(void **state)
{
    (void)state;
    struct error e = {0};
    struct capture *capture;
    struct artefact *artefact = guest_artefact("work", TIER_QUICK, MODE_FAST);
    struct arena *arena = guest_arena(artefact, NULL);
    assert_int_equal(capture_take(arena, &capture, &e), -ATOLL_EBUSY);
    arena_destroy(arena);
    artefact_release(artefact);
}

static int region_fd = -1;

static int region_open(void *context, const char *name, struct error *e)
{
    (void)context;
    if (strcmp(name, "lagoon") != 0)
        return error_set(e, ATOLL_ENOENT, "no region %s", name);
    return dup(region_fd);
}

static void regions_come_back_by_name_with_their_own_contents(void **state)
{
    (void)state;
    struct error e = {0};
    struct arena *arena = stopped_work("scalar", 1000), *restored;
    uint32_t address;
    region_fd = memory_file("region", NULL, 0, 65536, false, false, &e);
    assert_int_equal(
        region_map(arena, "lagoon", region_fd, 4096, 8192, GUEST_READ | GUEST_WRITE, &address, &e),
        0);
    struct buffer image = image_of(arena, &own_key);
    arena_destroy(arena);
    uint32_t value = 99;
    assert_int_equal(pwrite(region_fd, &value, 4, 4096), 4);
    assert_int_equal(restore(&image, &restored, &e), -ATOLL_ENOENT);
    struct capture_host with = *host();
    with.region = region_open;
    assert_int_equal(capture_restore(image.data, image.len, &with, &restored, &e), 0);
    value = 0;
    assert_int_equal(guest_read(restored, &value, address, 4), 0);
    assert_int_equal(value, 99);
    arena_destroy(restored);
    close(region_fd);
    buffer_free(&image);
}

int main(int count, char **arguments)
{
    keys_make();
    if (count == 4 && strcmp(arguments[1], "resume") == 0)
        return resume_main(arguments[2], arguments[3]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stopped_computation_ends_alike_in_another_process),
        cmocka_unit_test(a_parked_call_goes_on_waiting_in_another_process),
        cmocka_unit_test(any_altered_byte_is_refused_before_parsing),
        cmocka_unit_test(a_foreign_image_needs_its_key_to_be_trusted),
        cmocka_unit_test(signed_nonsense_is_refused_with_its_reason),
        cmocka_unit_test(registers_outside_the_arena_are_refused),
        cmocka_unit_test(a_taken_slot_asks_for_another_process),
        cmocka_unit_test(a_running_arena_is_not_captured),
        cmocka_unit_test(regions_come_back_by_name_with_their_own_contents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
