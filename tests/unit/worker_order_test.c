/* Which call is next, and when timers are due (src/node/worker/queue.c, timer.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/worker/process.h"

#include <stdlib.h>

static struct worker *w;

static int begin(void **state)
{
    (void)state;
    w = calloc(1, sizeof *w);
    w->instances_max = 1000;
    w->memory_max = 1ull << 40;
    queue_begin(&w->queue);
    return 0;
}

static int finish(void **state)
{
    (void)state;
    queue_free(&w->queue);
    free(w);
    return 0;
}

static struct version *version_make(uint32_t weight)
{
    struct version *v = calloc(1, sizeof *v);
    v->stage = VERSION_USABLE;
    v->manifest.cpu_weight = weight;
    v->charge = 1 << 20;
    w->version_count++;
    return v;
}

static void version_end(struct version *v)
{
    queue_version_free(v);
    free(v);
}

static struct call *call_make(struct version *v, uint32_t depth, uint32_t priority)
{
    struct call *c = calloc(1, sizeof *c);
    c->version = v;
    c->depth = (uint8_t)depth;
    c->priority = (uint8_t)priority;
    assert_true(queue_prepare(w, v, depth, priority));
    return c;
}

static struct call *queued(struct version *v, uint32_t depth, uint32_t priority)
{
    struct call *c = call_make(v, depth, priority);
    queue_new(w, c);
    return c;
}

/* The next call, which ends at once. */
static struct call *next(void)
{
    struct call *c = queue_take(w);
    if (c)
        queue_ended(w, c);
    return c;
}

static void expect(struct call *c)
{
    assert_ptr_equal(next(), c);
    free(c);
}

static void the_deepest_call_is_first_and_ready_ones_before_new_ones(void **state)
{
    (void)state;
    struct version *v = version_make(100);
    struct call *root = queued(v, 0, 5), *deep = queued(v, 64, 5), *child = queued(v, 1, 5);
    struct call *ready = call_make(v, 1, 0), *ready_root = call_make(v, 0, 0);
    queue_ready(w, ready_root);
    queue_ready(w, ready);
    expect(deep);
    expect(ready);
    expect(child);
    expect(ready_root);
    expect(root);
    assert_null(next());
    assert_false(queue_any(&w->queue));
    version_end(v);
}

static void what_only_has_to_end_is_before_all_however_deep_the_others_are(void **state)
{
    (void)state;
    struct version *v = version_make(100);
    struct call *deep = queued(v, 64, 5), *root = call_make(v, 0, 5), *child = call_make(v, 1, 5),
                *sliced = call_make(v, 3, 5), *late = call_make(v, 2, 5);
    root->root = true;
    queue_ready(w, root);
    queue_expired(w, sliced);
    atomic_store(&child->stop, STOP_CANCEL);
    queue_ready(w, child);
    queue_ready(w, late);
    struct call *const stopped[] = {sliced, late, root};
    for (size_t i = 0; i < 3; i++) {
        atomic_store(&stopped[i]->stop, STOP_DEADLINE);
        queue_hurry(w, stopped[i]);
        queue_hurry(w, stopped[i]); /* once is enough */
    }
    expect(root);
    expect(child);
    expect(sliced);
    expect(late);
    expect(deep);
    assert_null(next());
    assert_false(queue_any(&w->queue));
    version_end(v);
}

static void priority_decides_within_a_depth_and_arrival_within_a_version(void **state)
{
    (void)state;
    struct version *v = version_make(100);
    struct call *low = queued(v, 2, 1), *first = queued(v, 2, 5), *second = queued(v, 2, 5),
                *high = queued(v, 2, 9);
    expect(high);
    expect(first);
    expect(second);
    expect(low);
    version_end(v);
}

static void versions_share_the_processor_by_their_weights(void **state)
{
    (void)state;
    struct version *light = version_make(100), *heavy = version_make(300);
    int taken[2] = {0, 0};
    for (int k = 0; k < 400; k++) {
        queued(light, 0, 5);
        queued(heavy, 0, 5);
    }
    for (int k = 0; k < 400; k++) {
        struct call *c = next();
        bool is_heavy = c->version == heavy;
        taken[is_heavy]++;
        c->version->runtime += 1000000 * 100 / c->version->manifest.cpu_weight;
        free(c);
    }
    assert_in_range(taken[1], 295, 305);
    /* One that comes late starts where the others are, and does not get what it missed. */
    struct version *late = version_make(100);
    for (int k = 0; k < 100; k++)
        queued(late, 0, 5);
    int of_late = 0;
    for (int k = 0; k < 100; k++) {
        struct call *c = next();
        of_late += c->version == late;
        c->version->runtime += 1000000 * 100 / c->version->manifest.cpu_weight;
        free(c);
    }
    assert_in_range(of_late, 15, 25); /* of 100 + 300 + 100 */
    for (struct call *c; (c = next());)
        free(c);
    version_end(light);
    version_end(heavy);
    version_end(late);
}

static void a_call_whose_slice_is_over_competes_with_roots_however_deep_it_is(void **state)
{
    (void)state;
    struct version *hog = version_make(100), *other = version_make(100);
    struct call *sliced = call_make(hog, 30, 5);
    hog->runtime = 10000000;
    queue_expired(w, sliced);
    struct call *root = queued(other, 0, 5), *child = queued(other, 1, 5);
    other->runtime = 0;
    expect(child);
    expect(root); /* it has run less */
    assert_ptr_equal(queue_take(w), sliced);
    queue_expired(w, sliced);
    queue_hurry(w, sliced); /* it is to be ended */
    root = queued(other, 29, 5);
    expect(sliced);
    expect(root);
    version_end(hog);
    version_end(other);
}

static void a_call_starts_only_while_enough_slots_are_left_for_what_may_be_below(void **state)
{
    (void)state;
    struct version *v = version_make(100);
    w->instances_max = 70;
    struct call *calls[10];
    for (int k = 0; k < 10; k++)
        calls[k] = queued(v, 0, 5);
    for (int k = 0; k < 6; k++)
        assert_ptr_equal(queue_take(w), calls[k]);
    assert_null(queue_take(w));         /* 64 are left */
    assert_false(queue_any(&w->queue)); /* so nobody is to come for the rest */
    struct call *deep[64];
    for (uint32_t d = 1; d <= 64; d++) {
        deep[d - 1] = queued(v, d, 5);
        assert_ptr_equal(queue_take(w), deep[d - 1]);
    }
    assert_int_equal(w->slots_used, 70);
    for (int d = 0; d < 64; d++) {
        queue_ended(w, deep[d]);
        free(deep[d]);
    }
    queue_ended(w, calls[0]);
    assert_true(queue_any(&w->queue));
    assert_ptr_equal(queue_take(w), calls[6]);
    for (int k = 7; k < 10; k++)
        queue_remove(w, calls[k]);
    for (int k = 0; k < 10; k++)
        free(calls[k]);
    version_end(v);
}

static void memory_is_kept_back_like_slots_but_never_more_than_half(void **state)
{
    (void)state;
    struct version *v = version_make(100);
    w->memory_max = 128ull << 20;
    assert_true(queue_slots_free(w, v, 0, 1));
    w->memory_used = 63ull << 20;
    assert_true(queue_slots_free(w, v, 0, 1));
    w->memory_used = 64ull << 20;
    assert_false(queue_slots_free(w, v, 0, 1));
    assert_true(queue_slots_free(w, v, 64, 64));
    assert_false(queue_slots_free(w, v, 64, 65));
    v->charge = 1ull << 30; /* larger than all there is: alone it may run */
    w->memory_used = 0;
    assert_true(queue_slots_free(w, v, 0, 1));
    version_end(v);
}

static void concurrency_holds_back_all_but_calls_below_the_same_version(void **state)
{
    (void)state;
    struct version *v = version_make(100);
    v->manifest.concurrency = 1;
    struct call *a = queued(v, 0, 5), *b = queued(v, 0, 5), *c = queued(v, 1, 5);
    struct call *below = call_make(v, 1, 5);
    assert_ptr_equal(queue_take(w), c); /* deepest */
    assert_null(queue_take(w));
    below->exempt = true;
    queue_new(w, below);
    assert_ptr_equal(queue_take(w), below);
    assert_null(queue_take(w));
    queue_ended(w, below);
    assert_null(queue_take(w));
    queue_ended(w, c);
    assert_ptr_equal(queue_take(w), a);
    assert_null(queue_take(w));
    queue_ended(w, a);
    expect(b);
    free(a);
    free(c);
    free(below);
    version_end(v);
}

static void calls_of_a_version_that_is_loaded_wait_and_are_found_when_it_fails(void **state)
{
    (void)state;
    struct version *v = version_make(100);
    v->stage = VERSION_LOADING;
    struct call *a = queued(v, 0, 5), *b = queued(v, 3, 2);
    assert_null(next());
    v->stage = VERSION_USABLE;
    queue_version_unblocked(w, v);
    expect(b);
    queue_version_blocked(w, v);
    assert_null(next());
    assert_ptr_equal(queue_version_evict(w, v), a);
    assert_null(queue_version_evict(w, v));
    free(a);
    version_end(v);
}

/* ---- timers ---- */

#define MS 1000000ll

static void timers_are_due_at_their_time_and_not_before(void **state)
{
    (void)state;
    struct wheel *wheel = malloc(sizeof *wheel);
    struct timer timers[2000] = {0};
    int64_t now = 5000 * MS + 123, fired = 0;
    wheel_begin(wheel, now);
    assert_int_equal(wheel_next(wheel, now), INT64_MAX);
    srand(7);
    for (int k = 0; k < 2000; k++) /* up to three rounds of the wheel ahead */
        timer_set(wheel, &timers[k], now + (int64_t)(rand() % 12000) * MS + rand() % MS);
    for (int k = 0; k < 2000; k += 4)
        timer_clear(wheel, &timers[k]);
    while (wheel->count) {
        int64_t at = wheel_next(wheel, now);
        now = at > now ? at : now + 1;
        for (struct timer *t; (t = wheel_expire(wheel, now)); fired++) {
            assert_true(t->at_ns <= now);
            assert_true(now - t->at_ns < 3 * MS);
            assert_false(t->set);
            assert_int_not_equal((t - timers) % 4, 0);
        }
    }
    assert_int_equal(fired, 1500);
    free(wheel);
}

static void timers_that_were_slept_through_are_all_found(void **state)
{
    (void)state;
    struct wheel *wheel = malloc(sizeof *wheel);
    struct timer timers[100] = {0};
    wheel_begin(wheel, 0);
    for (int k = 0; k < 100; k++)
        timer_set(wheel, &timers[k], k * 100 * MS);
    int found = 0;
    while (wheel_expire(wheel, 100000 * MS))
        found++;
    assert_int_equal(found, 100);
    timer_set(wheel, &timers[0], 5); /* long past */
    assert_null(wheel_expire(wheel, 100000 * MS));
    assert_ptr_equal(wheel_expire(wheel, 100002 * MS), &timers[0]);
    free(wheel);
}

#define T(test) cmocka_unit_test_setup_teardown(test, begin, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_deepest_call_is_first_and_ready_ones_before_new_ones),
        T(what_only_has_to_end_is_before_all_however_deep_the_others_are),
        T(priority_decides_within_a_depth_and_arrival_within_a_version),
        T(versions_share_the_processor_by_their_weights),
        T(a_call_whose_slice_is_over_competes_with_roots_however_deep_it_is),
        T(a_call_starts_only_while_enough_slots_are_left_for_what_may_be_below),
        T(memory_is_kept_back_like_slots_but_never_more_than_half),
        T(concurrency_holds_back_all_but_calls_below_the_same_version),
        T(calls_of_a_version_that_is_loaded_wait_and_are_found_when_it_fails),
        cmocka_unit_test(timers_are_due_at_their_time_and_not_before),
        cmocka_unit_test(timers_that_were_slept_through_are_all_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
