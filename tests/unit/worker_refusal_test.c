/*
 * A worker whose functions cannot be loaded: no guest ever runs, all else does, so this holds under
 * ThreadSanitizer too. Four threads take messages, refuse calls, keep deadlines and end.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../guest/supervisor.h"

#include "base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define VERSIONS 8u
#define CALLS    64u

static struct supervisor *s;

static int begin(void **state)
{
    (void)state;
    const struct worker_settings settings = {.threads = 4};
    s = supervisor_start(&settings);
    return 0;
}

static int finish(void **state)
{
    (void)state;
    return supervisor_stop(s, 0) == 0 ? 0 : -1;
}

/* Sends a version whose artefact is none, and does not wait. */
static void nonsense_load(uint32_t version)
{
    static const char bytes[8192] = "this is no artefact", manifest[] = "{\"name\":\"acme/bad\"}";
    struct error e;
    int fd = memory_file("artefact", bytes, sizeof bytes, sizeof bytes, true, false, &e);
    struct message m = {.header = {.kind = MESSAGE_LOAD, .id = version},
                        .load = {.tenant = "acme", .function = "bad"},
                        .parts = {(const uint8_t *)manifest},
                        .part_len = {sizeof manifest - 1}};
    assert_true(fd >= 0);
    s->loaded_code = 1;
    supervisor_send(s, &m, &fd, 1);
    close(fd);
}

static void drop(uint32_t version)
{
    struct message m = {.header = {.kind = MESSAGE_DROP, .id = version}};
    supervisor_send(s, &m, NULL, 0);
}

static void expect_rejected(uint64_t id, int32_t code)
{
    const struct ended *r = supervisor_wait(s, id);
    assert_non_null(r);
    assert_int_equal(r->result.status, CALL_REJECTED);
    if (code)
        assert_int_equal(r->result.code, code);
}

static void calls_of_a_version_that_cannot_be_loaded_are_rejected_with_its_reason(void **state)
{
    (void)state;
    uint64_t ids[CALLS];
    for (uint32_t v = 1; v <= VERSIONS; v++) {
        nonsense_load(v);
        for (uint32_t k = 0; k < CALLS; k++) /* some before it is known to be bad, some after */
            ids[k] = supervisor_call(s, v, "input", 5, NULL);
        for (uint32_t k = 0; k < CALLS; k++)
            expect_rejected(ids[k], 0);
        while (s->loaded_code == 1)
            supervisor_listen(s, 1000000000);
        assert_int_not_equal(s->loaded_code, 0);
        expect_rejected(supervisor_call(s, v, "input", 5, NULL), s->loaded_code);
        supervisor_forget(s);
    }
}

static void calls_come_and_go_while_versions_do(void **state)
{
    (void)state;
    uint64_t ids[CALLS];
    for (uint32_t v = 1; v <= VERSIONS; v++) {
        nonsense_load(v);
        for (uint32_t k = 0; k < CALLS; k++) {
            const struct call_options o = {.timeout_ns = 1 + 100000 * (int64_t)(k % 3),
                                           .as_file = k % 8 == 0};
            ids[k] = supervisor_call(s, v, "input", 5, &o);
            if (k % 4 == 0)
                supervisor_cancel(s, ids[k]);
            if (k == CALLS / 2)
                drop(v);
        }
        for (uint32_t k = 0; k < CALLS; k++)
            assert_non_null(supervisor_wait(s, ids[k]));
        supervisor_forget(s);
    }
    expect_rejected(supervisor_call(s, 99, "", 0, NULL), -ATOLL_ENOENT);
}

static void a_worker_that_is_told_to_stop_refuses_what_comes_then(void **state)
{
    (void)state;
    nonsense_load(1);
    struct message stop = {.header.kind = MESSAGE_STOP, .stop.grace_ns = 1000000000};
    supervisor_send(s, &stop, NULL, 0);
    uint64_t id = supervisor_call(s, 1, "", 0, NULL);
    const struct ended *r = supervisor_wait(s, id);
    if (r) /* or it had ended by then */
        assert_int_equal(r->result.status, CALL_REJECTED);
}

#define T(test) cmocka_unit_test_setup_teardown(test, begin, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(calls_of_a_version_that_cannot_be_loaded_are_rejected_with_its_reason),
        T(calls_come_and_go_while_versions_do),
        T(a_worker_that_is_told_to_stop_refuses_what_comes_then),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
