/*
 * A worker under stress that tells on races: its process is stopped and continued at random moments
 * while calls run, versions go while calls of them end, slots run out.
 *
 * ATOLL_STRESS_SECONDS: how long the first test goes on, 2 otherwise. ATOLL_STRESS_SEED: a number.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../guest/supervisor.h"

#include "base/clock.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CALLS    GUEST_MODULES "/calls.wasm"
#define V        7u
#define LATE_NS  10000000000ll /* no call here takes a hundredth of it */
#define ROOTS    12
#define VERSIONS 8u
#define PARKED   40

static struct supervisor *s;
static uint64_t random_state = 1;

static uint32_t any(uint32_t below)
{
    random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(random_state >> 33) % below;
}

static void start(uint32_t threads, uint32_t instances)
{
    const struct worker_settings settings = {.threads = threads, .instances_max = instances};
    s = supervisor_start(&settings);
    supervisor_name(s, "acme/calls", V, 0);
    if (supervisor_load(s, V, CALLS, "{\"name\":\"acme/calls\",\"call\":[\"acme/*\",\"other/*\"]}",
                        -1) != 0)
        fail_msg("%s", s->loaded_text);
}

static int finish(void **state)
{
    (void)state;
    int status = s ? supervisor_stop(s, 0) : 0;
    s = NULL;
    return status == 0 ? 0 : -1;
}

/* ---- stops ---- */

struct stopper {
    pthread_t thread;
    pid_t pid;
    _Atomic bool over;
};

/* Longer than a slice, so that whatever a thread was about to do comes after the slice's end. */
static void *stopper_main(void *context)
{
    struct stopper *stopper = context;
    while (!stopper->over) {
        kill(stopper->pid, SIGSTOP);
        usleep(11000);
        kill(stopper->pid, SIGCONT);
        usleep(any(3000));
    }
    return NULL;
}

/* What each call must put out, "" = anything; NULL: it must end by its deadline. */
static const struct kind {
    const char *input, *output;
} kinds[] = {{"f7", "13"}, {"F20", "20"}, {"d", "64"}, {"w20", ""}, {"l", NULL}, {"n", ""}};
#define KINDS (sizeof kinds / sizeof *kinds)

static void round_run(uint32_t roots)
{
    uint64_t ids[ROOTS];
    const struct kind *of[ROOTS];
    for (uint32_t k = 0; k < roots; k++) {
        of[k] = &kinds[any(KINDS)];
        const struct call_options o = {.timeout_ns = of[k]->output ? LATE_NS : 1 + any(30000000)};
        ids[k] = supervisor_call(s, V, of[k]->input, strlen(of[k]->input), &o);
    }
    for (uint32_t k = 0; k < roots; k++) {
        const struct ended *r = supervisor_wait(s, ids[k]);
        if (!r)
            fail_msg("no result of %s", of[k]->input);
        if (r->result.status != (of[k]->output ? CALL_OK : CALL_TIMEDOUT))
            fail_msg("%s: status %d, code %d, %s", of[k]->input, r->result.status, r->result.code,
                     r->text);
        if (of[k]->output && *of[k]->output)
            assert_string_equal((const char *)r->output, of[k]->output);
    }
    supervisor_forget(s);
}

static void a_worker_that_stalls_at_any_moment_loses_no_call(void **state)
{
    (void)state;
    const char *seconds = getenv("ATOLL_STRESS_SECONDS"), *seed = getenv("ATOLL_STRESS_SEED");
    random_state = seed ? strtoull(seed, NULL, 10) : 1;
    int64_t each = (seconds ? atoll(seconds) : 2) * 1000000000 / 3;
    for (uint32_t threads = 1; threads <= 4; threads *= 2) {
        struct stopper stopper = {0};
        start(threads, 0);
        stopper.pid = s->pid;
        pthread_create(&stopper.thread, NULL, stopper_main, &stopper);
        for (int64_t end = clock_monotonic_ns() + each; clock_monotonic_ns() < end;)
            round_run(1 + any(ROOTS));
        stopper.over = true;
        pthread_join(stopper.thread, NULL);
        assert_int_equal(finish(NULL), 0);
    }
}

/* ---- versions that go ---- */

static void versions_go_while_their_last_calls_end(void **state)
{
    (void)state;
    start(2, 0);
    for (uint32_t v = V + 1; v < V + VERSIONS; v++) {
        uint64_t ids[4];
        const struct message drop = {.header = {.kind = MESSAGE_DROP, .id = v}};
        struct message m = drop;
        assert_int_equal(supervisor_load(s, v, CALLS, "{\"name\":\"acme/calls\"}", -1), 0);
        for (int k = 0; k < 4; k++)
            ids[k] = supervisor_call(s, v, "n", 1, NULL);
        usleep(any(300));
        supervisor_send(s, &m, NULL, 0);
        for (int k = 0; k < 4; k++) {
            const struct ended *r = supervisor_wait(s, ids[k]);
            assert_non_null(r);
            assert_int_equal(r->result.status, CALL_OK);
        }
    }
    assert_int_equal(supervisor_wait(s, supervisor_call(s, V, "n", 1, NULL))->result.status,
                     CALL_OK);
}

/* ---- slots ---- */

static bool never_answered(struct supervisor *of, const struct message *m, int fd)
{
    (void)of;
    (void)fd;
    return m->request.kind == REQUEST_CALL || m->request.kind == REQUEST_CANCEL;
}

/* User and system time of a process in clock ticks. */
static uint64_t ticks_of(pid_t pid)
{
    char path[64], text[1024] = "";
    unsigned long user = 0, kernel = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t len = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[len] = 0;
    const char *at = strrchr(text, ')');
    assert_non_null(at);
    assert_int_equal(
        sscanf(at + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &kernel), 2);
    return user + kernel;
}

static void calls_that_wait_for_a_slot_cost_no_processor_time(void **state)
{
    (void)state;
    uint64_t ids[PARKED];
    start(2, 80); /* 16 calls at a time */
    s->request = never_answered;
    supervisor_name(s, "other/function", 99, 1);
    const struct call_options o = {.timeout_ns = 800000000};
    for (int k = 0; k < PARKED; k++)
        ids[k] = supervisor_call(s, V, "Nother/function", 15, &o);
    supervisor_listen(s, 200000000);
    for (int k = 0; k < 10; k++)
        supervisor_listen(s, 10000000);
    uint64_t before = ticks_of(s->pid);
    usleep(400000);
    uint64_t spent = ticks_of(s->pid) - before;
    for (int k = 0; k < PARKED; k++) {
        const struct ended *r = supervisor_wait(s, ids[k]);
        assert_non_null(r);
        assert_int_equal(r->result.status, CALL_TIMEDOUT);
    }
    /* Two threads that go round in circles take all they get; ticks are 10 ms. */
    if (spent * 10 * 5 >= 400)
        fail_msg("%d ms of processor time in 400 ms", (int)spent * 10);
}

#define OWN(test) cmocka_unit_test_teardown(test, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        OWN(a_worker_that_stalls_at_any_moment_loses_no_call),
        OWN(versions_go_while_their_last_calls_end),
        OWN(calls_that_wait_for_a_slot_cost_no_processor_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
