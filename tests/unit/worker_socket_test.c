/* Sockets of guests, in a worker process that is driven over a link as the supervisor does it
 * (src/node/worker/import_net.c); what a node says to a worker that lies is in hostile_worker_test.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../guest/supervisor.h"
#include "own_address.h"

#include "base/clock.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CALLS GUEST_MODULES "/calls.wasm"
#define V     7u

static struct supervisor *s;

/* A worker with the function "calls" loaded as version V. */
static void start(uint32_t threads, const char *more)
{
    const struct worker_settings settings = {.threads = threads};
    char manifest[1024];
    snprintf(manifest, sizeof manifest, "{\"name\":\"acme/calls\"%s%s}", *more ? "," : "", more);
    s = supervisor_start(&settings);
    if (supervisor_load(s, V, CALLS, manifest, -1) != 0)
        fail_msg("%s", s->loaded_text);
}

static int finish(void **state)
{
    (void)state;
    int status = s ? supervisor_stop(s, 0) : 0;
    s = NULL;
    return status == 0 ? 0 : -1;
}

/* Runs a call that must end well; its output as text. */
static const char *run(const char *input)
{
    const struct ended *r = supervisor_run(s, V, input);
    if (!r)
        fail_msg("no result of %s", input);
    if (r->result.status != CALL_OK)
        fail_msg("%s: status %d, code %d, %s", input, r->result.status, r->result.code, r->text);
    return (const char *)r->output;
}

/* Gives back what comes. */
static void *echo_run(void *listener)
{
    static char bytes[65536];
    for (;;) {
        int fd = accept(*(int *)listener, NULL, NULL);
        if (fd < 0)
            return NULL;
        for (ssize_t got; (got = read(fd, bytes, sizeof bytes)) > 0;)
            if (write(fd, bytes, (size_t)got) != got)
                break;
        close(fd);
    }
}

static uint16_t echo_start(int *listener, pthread_t *thread)
{
    struct sockaddr_in any = {.sin_family = AF_INET};
    socklen_t len = sizeof any;
    *listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(*listener, (struct sockaddr *)&any, len), 0);
    assert_int_equal(listen(*listener, 8), 0);
    assert_int_equal(getsockname(*listener, (struct sockaddr *)&any, &len), 0);
    pthread_create(thread, NULL, echo_run, listener);
    return ntohs(any.sin_port);
}

static const char *talk(const char *host, uint16_t port, uint32_t bytes)
{
    char input[64];
    snprintf(input, sizeof input, "S%s %u %u", host, port, bytes);
    return run(input);
}

static void a_guest_reaches_what_the_manifest_names_and_nothing_else(void **state)
{
    (void)state;
    char host[INET_ADDRSTRLEN], more[256];
    int listener;
    pthread_t thread;
    if (!own_address(host))
        skip();
    uint16_t port = echo_start(&listener, &thread);
    snprintf(more, sizeof more, "\"net\":[{\"host\":\"%s\",\"port\":%u},{\"host\":\"127.0.0.1\"}]",
             host, port);
    start(2, more);
    assert_string_equal(talk(host, port, 100000), "100000");
    assert_string_equal(talk(host, (uint16_t)(port + 1), 1), "-3");
    assert_string_equal(talk("127.0.0.1", port, 1), "-3"); /* though the manifest names it */
    assert_string_equal(talk("8.8.8.8", port, 1), "-3");
    finish(NULL);
    start(2, "");
    assert_string_equal(talk(host, port, 1), "-3");
    finish(NULL);
    shutdown(listener, SHUT_RDWR);
    pthread_join(thread, NULL);
    close(listener);
}

/* Moves 400,000 bytes at 1 MiB/s, in a call of that kind. */
static void traffic_keeps_to_its_rate(char kind)
{
    char host[INET_ADDRSTRLEN], more[256], input[64];
    int listener;
    pthread_t thread;
    if (!own_address(host))
        skip();
    uint16_t port = echo_start(&listener, &thread);
    snprintf(more, sizeof more,
             "\"net\":[{\"host\":\"%s\",\"rate\":\"1MiB/s\",\"burst\":\"64KiB\"}]", host);
    start(1, more);
    int64_t begun = clock_monotonic_ns();
    int len = snprintf(input, sizeof input, "%c%s %u 400000", kind, host, port);
    uint64_t slow = supervisor_call(s, V, input, (size_t)len, NULL);
    for (int k = 0; k < 20; k++)
        assert_string_equal(run("c"), "1"); /* the only thread is free meanwhile */
    assert_int_equal(supervisor_wait(s, slow)->result.status, CALL_OK);
    /* (400,000 - 65,536) bytes / 1 MiB/s, less what the last piece may owe */
    assert_true(clock_monotonic_ns() - begun > 280000000);
    shutdown(listener, SHUT_RDWR);
    pthread_join(thread, NULL);
    close(listener);
}

static void traffic_keeps_to_the_rate_and_waits_without_a_thread(void **state)
{
    (void)state;
    traffic_keeps_to_its_rate('S');
}

static void a_socket_keeps_its_rate_under_another_number(void **state)
{
    (void)state;
    traffic_keeps_to_its_rate('V');
}

static void a_socket_that_is_not_connected_says_so(void **state)
{
    (void)state;
    start(1, "\"net\":[{\"host\":\"10.0.0.1\"}]");
    assert_string_equal(run("u"), "4");
    assert_string_equal(run("u"), "4");
    assert_int_equal(s->connects, 0);
}

static bool connect_refused(struct supervisor *me, const struct message *m, int fd)
{
    (void)fd;
    if (m->request.kind != REQUEST_CONNECT)
        return false;
    supervisor_answer(me, m->header.id, -ATOLL_EPERM, NULL, 0);
    return true;
}

static void what_the_supervisor_refuses_is_refused(void **state)
{
    (void)state;
    start(1, "\"net\":[{\"host\":\"0.0.0.0/0\"}]");
    s->request = connect_refused;
    assert_string_equal(talk("10.0.0.1", 80, 1), "-3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_guest_reaches_what_the_manifest_names_and_nothing_else, finish),
        cmocka_unit_test_teardown(traffic_keeps_to_the_rate_and_waits_without_a_thread, finish),
        cmocka_unit_test_teardown(a_socket_keeps_its_rate_under_another_number, finish),
        cmocka_unit_test_teardown(a_socket_that_is_not_connected_says_so, finish),
        cmocka_unit_test_teardown(what_the_supervisor_refuses_is_refused, finish),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
