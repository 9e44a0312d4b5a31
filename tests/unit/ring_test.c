/* Rings in shared memory (src/base/ring.c). */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/ring.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

static struct error failure;

struct ends {
    struct ring producer, consumer;
};

static struct ends ends_open(uint64_t capacity)
{
    struct ends e;
    int fd = ring_create(capacity, &failure);
    assert_true(fd >= 0);
    assert_int_equal(ring_open(fd, capacity, true, &e.producer, &failure), 0);
    assert_int_equal(ring_open(fd, capacity, false, &e.consumer, &failure), 0);
    close(fd);
    return e;
}

static void ends_close(struct ends *e)
{
    ring_close(&e->producer);
    ring_close(&e->consumer);
}

/* Record k of a stream: its length and bytes follow from k. */
static uint32_t record_len(uint32_t k)
{
    return (k * 2654435761u >> 8) % 3000;
}

static bool record_put(struct ring *r, uint32_t k)
{
    uint8_t *at = ring_reserve(r, record_len(k));
    if (!at)
        return false;
    memset(at, (uint8_t)k, record_len(k));
    ring_publish(r);
    return true;
}

/* 1 when the next record is k, 0 when there is none, -1 when it is something else. */
static int record_take(struct ring *r, uint32_t k)
{
    uint32_t len;
    const uint8_t *at = ring_peek(r, &len);
    if (!at)
        return r->broken ? -1 : 0;
    bool good = len == record_len(k);
    for (uint32_t i = 0; good && i < len; i++)
        good = at[i] == (uint8_t)k;
    ring_release(r);
    return good ? 1 : -1;
}

static void records_come_out_as_they_went_in_across_the_end_of_the_data(void **state)
{
    (void)state;
    struct ends e = ends_open(RING_CAPACITY_MIN);
    uint32_t in = 0, out = 0;
    while (out < 2000) { /* some 3 MB through 64 KiB */
        while (in < 2000 && record_put(&e.producer, in))
            in++;
        for (int k = 0; k < 7 && out < in; k++)
            assert_int_equal(record_take(&e.consumer, out++), 1);
    }
    assert_int_equal(record_take(&e.consumer, out), 0);
    ends_close(&e);
}

static void a_full_ring_takes_no_more_and_loses_nothing(void **state)
{
    (void)state;
    struct ends e = ends_open(RING_CAPACITY_MIN);
    uint32_t in = 0;
    while (record_put(&e.producer, in))
        in++;
    assert_true(in > 20);
    assert_false(record_put(&e.producer, in));
    assert_int_equal(record_take(&e.consumer, 0), 1);
    while (!record_put(&e.producer, in))
        assert_int_equal(record_take(&e.consumer, 1), 1); /* at most one more: lengths < 3000 */
    assert_false(e.producer.broken);
    ends_close(&e);
}

static void what_is_reserved_and_not_published_is_never_seen(void **state)
{
    (void)state;
    struct ends e = ends_open(RING_CAPACITY_MIN);
    assert_non_null(ring_reserve(&e.producer, 100));
    assert_int_equal(record_take(&e.consumer, 0), 0);
    assert_true(record_put(&e.producer, 5));
    assert_int_equal(record_take(&e.consumer, 5), 1);
    assert_int_equal(record_take(&e.consumer, 6), 0);
    ends_close(&e);
}

#define STREAM 200000u

static int producer_process(int fd)
{
    struct ring r;
    if (ring_open(fd, RING_CAPACITY_MIN, true, &r, &failure) < 0)
        return 2;
    for (uint32_t k = 0; k < STREAM;)
        if (record_put(&r, k))
            k++;
        else if (r.broken)
            return 3;
        else
            usleep(50);
    return 0;
}

static void two_processes_pass_a_stream_and_no_wake_is_lost(void **state)
{
    (void)state;
    int fd = ring_create(RING_CAPACITY_MIN, &failure);
    struct ring r;
    assert_int_equal(ring_open(fd, RING_CAPACITY_MIN, false, &r, &failure), 0);
    pid_t child = fork();
    if (child == 0)
        _exit(producer_process(fd));
    uint32_t k = 0;
    while (k < STREAM) {
        uint32_t seen = ring_signal(&r);
        int got = record_take(&r, k);
        assert_true(got >= 0);
        if (got)
            k++;
        else
            ring_wait(&r, seen, -1); /* for ever: a lost wake hangs the test */
    }
    int status;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    ring_close(&r);
    close(fd);
}

struct sleeper {
    struct ring *ring;
    _Atomic int awake;
};

static void *sleeper_run(void *context)
{
    struct sleeper *s = context;
    ring_wait(s->ring, ring_signal(s->ring), -1);
    s->awake = 1;
    return NULL;
}

static void a_publication_wakes_one_sleeping_thread_and_wake_all_the_rest(void **state)
{
    (void)state;
    struct ends e = ends_open(RING_CAPACITY_MIN);
    struct sleeper sleepers[3];
    pthread_t threads[3];
    for (int k = 0; k < 3; k++) {
        sleepers[k] = (struct sleeper){&e.consumer, 0};
        pthread_create(&threads[k], NULL, sleeper_run, &sleepers[k]);
    }
    while (ring_waiting(&e.producer) < 3)
        usleep(100);
    usleep(20000); /* from the count to the kernel's queue */
    assert_true(record_put(&e.producer, 1));
    int awake = 0;
    for (int tries = 0; tries < 2000 && awake == 0; tries++, usleep(1000))
        awake = sleepers[0].awake + sleepers[1].awake + sleepers[2].awake;
    assert_int_equal(awake, 1);
    ring_wake_all(&e.producer);
    for (int k = 0; k < 3; k++)
        pthread_join(threads[k], NULL);
    assert_int_equal(ring_waiting(&e.producer), 0);
    ends_close(&e);
}

static void a_wait_ends_at_its_time_or_at_once_when_the_signal_has_changed(void **state)
{
    (void)state;
    struct ends e = ends_open(RING_CAPACITY_MIN);
    uint32_t seen = ring_signal(&e.consumer);
    ring_wait(&e.consumer, seen, 1000000);
    ring_wake(&e.producer);
    assert_int_not_equal(ring_signal(&e.consumer), seen);
    ring_wait(&e.consumer, seen, -1);
    ends_close(&e);
}

static uint64_t events(int fd)
{
    uint64_t count = 0;
    return read(fd, &count, sizeof count) == sizeof count ? count : 0;
}

static void an_event_loop_is_woken_once_and_only_while_it_sleeps(void **state)
{
    (void)state;
    struct ends e = ends_open(RING_CAPACITY_MIN);
    int event = eventfd(0, EFD_NONBLOCK);
    e.producer.wake_fd = event;
    record_put(&e.producer, 0);
    assert_int_equal(events(event), 0);
    assert_false(ring_sleep_begin(&e.consumer)); /* there is a record: it must not sleep */
    assert_int_equal(record_take(&e.consumer, 0), 1);
    assert_true(ring_sleep_begin(&e.consumer));
    record_put(&e.producer, 1);
    record_put(&e.producer, 2);
    assert_int_equal(events(event), 1);
    ring_sleep_end(&e.consumer);
    ends_close(&e);
    close(event);
}

/* ---- the other end is hostile ---- */

static void counters_that_make_no_sense_break_the_ring_for_good(void **state)
{
    (void)state;
    static const uint64_t heads[] = {
        8,          4,          16 + RING_CAPACITY_MIN, RING_CAPACITY_MIN + 8,
        UINT64_MAX, 1ull << 63, UINT64_MAX - 7};
    for (size_t k = 0; k < sizeof heads / sizeof *heads; k++) {
        struct ends e = ends_open(RING_CAPACITY_MIN);
        uint32_t len;
        store_u32(e.producer.data, 64); /* a length that needs more than 8 bytes */
        atomic_store(&e.producer.header->head, heads[k]);
        assert_null(ring_peek(&e.consumer, &len));
        assert_true(e.consumer.broken);
        atomic_store(&e.producer.header->head, 0);
        assert_null(ring_peek(&e.consumer, &len));
        assert_true(ring_pending(&e.consumer)); /* so that an owner looks and learns of it */
        ends_close(&e);
    }
    static const uint64_t tails[] = {8, 4, UINT64_MAX, 1ull << 40};
    for (size_t k = 0; k < sizeof tails / sizeof *tails; k++) {
        struct ends e = ends_open(RING_CAPACITY_MIN);
        atomic_store(&e.consumer.header->tail, tails[k]);
        assert_null(ring_reserve(&e.producer, 8));
        assert_true(e.producer.broken);
        atomic_store(&e.consumer.header->tail, 0);
        assert_null(ring_reserve(&e.producer, 8));
        ends_close(&e);
    }
}

static void a_record_longer_than_what_is_published_is_refused(void **state)
{
    (void)state;
    static const uint32_t lengths[] = {101, 4096, RING_CAPACITY_MIN, UINT32_MAX, UINT32_MAX - 7};
    for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++) {
        struct ends e = ends_open(RING_CAPACITY_MIN);
        uint32_t len;
        uint8_t *at = ring_reserve(&e.producer, 96);
        store_u32(at - 8, lengths[k]);
        ring_publish(&e.producer);
        assert_null(ring_peek(&e.consumer, &len));
        assert_true(e.consumer.broken);
        ends_close(&e);
    }
    struct ends e = ends_open(RING_CAPACITY_MIN);
    uint32_t len;
    uint8_t *at = ring_reserve(&e.producer, 96);
    store_u32(at - 4, 1); /* the word that is zero */
    ring_publish(&e.producer);
    assert_null(ring_peek(&e.consumer, &len));
    ends_close(&e);
}

static void only_a_file_of_the_right_size_is_taken_for_a_ring(void **state)
{
    (void)state;
    struct ring r;
    int fd = ring_create(2 * RING_CAPACITY_MIN, &failure);
    assert_int_equal(ring_open(fd, RING_CAPACITY_MIN, true, &r, &failure), -ATOLL_EINVAL);
    assert_int_equal(ring_open(fd, 3 * RING_CAPACITY_MIN, true, &r, &failure), -ATOLL_EINVAL);
    assert_int_equal(ring_create(RING_CAPACITY_MIN + 4096, &failure), -ATOLL_EINVAL);
    assert_int_equal(ring_create(RING_CAPACITY_MAX * 2ull, &failure), -ATOLL_EINVAL);
    assert_int_not_equal(ftruncate(fd, 4096), 0); /* nobody can pull it away */
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_come_out_as_they_went_in_across_the_end_of_the_data),
        cmocka_unit_test(a_full_ring_takes_no_more_and_loses_nothing),
        cmocka_unit_test(what_is_reserved_and_not_published_is_never_seen),
        cmocka_unit_test(two_processes_pass_a_stream_and_no_wake_is_lost),
        cmocka_unit_test(a_publication_wakes_one_sleeping_thread_and_wake_all_the_rest),
        cmocka_unit_test(a_wait_ends_at_its_time_or_at_once_when_the_signal_has_changed),
        cmocka_unit_test(an_event_loop_is_woken_once_and_only_while_it_sleeps),
        cmocka_unit_test(counters_that_make_no_sense_break_the_ring_for_good),
        cmocka_unit_test(a_record_longer_than_what_is_published_is_refused),
        cmocka_unit_test(only_a_file_of_the_right_size_is_taken_for_a_ring),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
