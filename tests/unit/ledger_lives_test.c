/* Which starts of replicas are known (src/ledger/service/lives.c). */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ledger_objects.h"
#include "scratch_directory.h"

#include "base/file.h"
#include "ledger/service/lives.h"

#define N 4 /* f = 1 */

static struct service service;
static char directories[N][PATH_MAX + 8];
static struct lives *lives[N];

static void begin(unsigned replica, uint64_t starts)
{
    struct error e;
    assert_int_equal(lives_open(directories[replica], &service.genesis, (uint16_t)replica, starts,
                                &lives[replica], &e),
                     0);
}

static void end(unsigned replica)
{
    lives_close(lives[replica]);
    lives[replica] = NULL;
}

/* As on a new connection: both say first what they know. */
static void meet(unsigned a, unsigned b)
{
    struct buffer of_a = {0}, of_b = {0};
    struct error e;
    assert_true(lives_write(lives[a], (uint16_t)b, &of_a) &&
                lives_write(lives[b], (uint16_t)a, &of_b));
    assert_int_equal(lives_hear(lives[a], (uint16_t)b, slice_of_buffer(&of_b), &e), 0);
    assert_int_equal(lives_hear(lives[b], (uint16_t)a, slice_of_buffer(&of_a), &e), 0);
    buffer_free(&of_a);
    buffer_free(&of_b);
}

static void meet_all(unsigned replica)
{
    for (unsigned i = 0; i < N; i++)
        if (i != replica && lives[i])
            meet(replica, i);
}

static bool outlived(unsigned replica)
{
    struct error e;
    return lives_outlived(lives[replica], &e);
}

static int all_begin(void **state)
{
    (void)state;
    for (unsigned i = 0; i < N; i++) {
        snprintf(directories[i], sizeof directories[i], "%s/%u", scratch, i);
        assert_true(mkdir(directories[i], 0700) == 0);
        begin(i, 1);
    }
    for (unsigned i = 0; i < N; i++)
        meet_all(i);
    return 0;
}

static int all_end(void **state)
{
    (void)state;
    for (unsigned i = 0; i < N; i++) {
        if (lives[i])
            end(i);
        scratch_remove(directories[i]);
    }
    return 0;
}

static void a_replica_that_starts_again_goes_on(void **state)
{
    (void)state;
    for (uint64_t starts = 2; starts < 5; starts++) {
        end(0);
        begin(0, starts);
        meet_all(0);
        meet_all(0); /* connections break, too */
        assert_false(outlived(0));
    }
}

static void an_old_image_is_known_by_its_count(void **state)
{
    (void)state;
    end(0);
    begin(0, 5);
    meet_all(0);
    end(0);
    begin(0, 4);
    meet(0, 1);
    assert_false(outlived(0)); /* one may lie */
    meet(0, 1);
    assert_false(outlived(0));
    meet(0, 3);
    assert_true(outlived(0));
}

/* Replica 0 starts from an old image, which the others find out. */
static void image_found_out(void)
{
    end(0);
    begin(0, 5);
    meet_all(0);
    end(0);
    begin(0, 4);
    meet_all(0);
    assert_true(outlived(0));
    end(0);
}

static void who_was_outlived_once_does_not_start_again(void **state)
{
    (void)state;
    struct error e;
    image_found_out();
    /* However often it is tried. */
    for (uint64_t starts = 5; starts < 8; starts++)
        assert_int_equal(lives_open(directories[0], &service.genesis, 0, starts, &lives[0], &e),
                         -ATOLL_ESTALE);
}

static void the_true_one_goes_on_after_an_image_was_found_out(void **state)
{
    (void)state;
    char path[PATH_MAX + 16];
    image_found_out();
    snprintf(path, sizeof path, "%s/lives", directories[0]); /* of the image's directory */
    assert_int_equal(unlink(path), 0);
    begin(0, 6);
    meet_all(0);
    assert_false(outlived(0));
}

static void an_image_that_starts_as_often_as_the_true_one_is_known_by_its_mark(void **state)
{
    (void)state;
    end(0);
    begin(0, 2);
    meet_all(0);
    end(0);
    begin(0, 2);
    meet_all(0);
    assert_true(outlived(0));
}

static void what_is_known_outlives_those_who_know_it(void **state)
{
    (void)state;
    end(0);
    begin(0, 7);
    meet_all(0);
    for (unsigned i = 0; i < N; i++)
        end(i);
    for (unsigned i = 1; i < N; i++)
        begin(i, 2);
    begin(0, 6);
    meet_all(0);
    assert_true(outlived(0));
}

static void a_damaged_file_is_told_and_nothing_is_known(void **state)
{
    (void)state;
    char path[PATH_MAX + 16];
    struct buffer file = {0};
    struct error e;
    meet_all(1);
    end(1);
    snprintf(path, sizeof path, "%s/lives", directories[1]);
    assert_int_equal(file_read(path, 4096, &file, &e), 0);
    for (size_t i = 0; i < file.len; i++) {
        file.data[i] ^= 1;
        assert_int_equal(file_replace(path, file.data, file.len, 0600, &e), 0);
        begin(1, 2);
        assert_non_null(lives_lost(lives[1]));
        end(1);
        file.data[i] ^= 1;
    }
    assert_int_equal(file_replace(path, file.data, file.len, 0600, &e), 0);
    begin(1, 2);
    assert_null(lives_lost(lives[1]));
    buffer_free(&file);
}

static void what_is_no_message_changes_nothing(void **state)
{
    (void)state;
    struct buffer message = {0};
    struct error e;
    end(0);
    begin(0, 9);
    assert_true(lives_write(lives[0], 1, &message));
    for (size_t len = 0; len < message.len; len++)
        assert_true(lives_hear(lives[1], 0, slice_of(message.data, len), &e) < 0);
    end(0);
    begin(0, 8);
    meet_all(0);
    assert_false(outlived(0));
    buffer_free(&message);
}

static int service_begin(void **state)
{
    service_make(&service, N);
    return scratch_create(state);
}

static int service_end(void **state)
{
    service_free(&service);
    return scratch_destroy(state);
}

#define STORY(f) cmocka_unit_test_setup_teardown(f, all_begin, all_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(a_replica_that_starts_again_goes_on),
        STORY(an_old_image_is_known_by_its_count),
        STORY(who_was_outlived_once_does_not_start_again),
        STORY(the_true_one_goes_on_after_an_image_was_found_out),
        STORY(an_image_that_starts_as_often_as_the_true_one_is_known_by_its_mark),
        STORY(what_is_known_outlives_those_who_know_it),
        STORY(a_damaged_file_is_told_and_nothing_is_known),
        STORY(what_is_no_message_changes_nothing),
    };
    return cmocka_run_group_tests(tests, service_begin, service_end);
}
