/* The HTTP server (src/net/http_server.c, http_connection.c) over loopback, as its clients see it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http_fixture.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"
#define HELLO     "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello"
#define HELD      "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Type: text/plain\r\n\r\nheld"
#define HELD_LAST                                                   \
    "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n" \
    "Content-Type: text/plain\r\n\r\nheld"

static void requests_on_one_connection_are_answered_in_order(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL, NULL);
    int fd = raw_open(&f);
    raw_send(fd, GET("/hello"));
    raw_expect(fd, HELLO);
    raw_send(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    raw_expect(fd, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc");
    raw_send(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                 "1\r\na\r\n2;x\r\nbc\r\n0\r\nX: y\r\n\r\n");
    raw_expect(fd, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc");
    close(fd);
    fixture_stop(&f);
}

static void pipelined_requests_are_answered_in_order_whenever_the_handler_answers(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL, NULL);
    int fd = raw_open(&f);
    raw_send(fd, GET("/hold") GET("/hello") GET("/hold") GET("/hello") GET("/hello"));
    for (int i = 0; i < 2; i++) {
        fixture_wait_held(&f, 1);
        assert_int_equal(f.requests, i ? 3 : 1);
        fixture_answer(&f);
    }
    raw_expect(fd, HELD HELLO HELD HELLO HELLO);
    close(fd);
    fixture_stop(&f);
}

static void many_pipelined_requests_leave_in_few_writes(void **state)
{
    (void)state;
    enum { COUNT = 3000 };
    struct fixture f;
    fixture_start(&f, NULL, NULL);
    int fd = raw_open(&f);
    static char requests[COUNT * sizeof GET("/hello")];
    for (int i = 0; i < COUNT; i++)
        strcat(requests + (size_t)i * (sizeof GET("/hello") - 1), GET("/hello"));
    raw_send(fd, requests);
    for (int i = 0; i < COUNT; i++)
        raw_expect(fd, HELLO);
    assert_true(fixture_counts(&f).served == COUNT);
    close(fd);
    fixture_stop(&f);
}

static void connections_are_kept_or_closed_as_both_sides_say(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL, NULL);
    int fd = raw_open(&f);
    raw_send(fd, "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" GET("/hello"));
    raw_expect(fd, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n"
                   "Content-Type: text/plain\r\n\r\nhello");
    raw_expect_end(fd);
    fd = raw_open(&f);
    raw_send(fd, "GET /hello HTTP/1.0\r\n\r\n");
    raw_expect(fd, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n"
                   "Content-Type: text/plain\r\n\r\nhello");
    raw_expect_end(fd);
    fd = raw_open(&f);
    raw_send(fd, "GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    raw_expect(fd, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n"
                   "Content-Type: text/plain\r\n\r\nhello");
    raw_send(fd, GET("/last") GET("/hello"));
    raw_expect(fd, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nlast");
    raw_expect_end(fd);
    fixture_stop(&f);
}

/* Requests of every kind and what is answered to them. */
static size_t conversation(unsigned *seed, char *requests, char *answers)
{
    static const struct {
        const char *request, *answer;
    } kinds[] = {
        {GET("/hello"), HELLO},
        {GET("/later"),
         "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\nlater"},
        {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
         "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"},
        {"POST /later HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
         "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\nlater"},
        {"PUT /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\n1234567",
         "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nContent-Type: text/plain\r\n\r\n7 bytes"},
        {"POST /deny HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nGET / HTT",
         "HTTP/1.1 403 Forbidden\r\nContent-Length: 56\r\n"
         "Content-Type: application/problem+json\r\n\r\n"
         "{\"type\":\"about:blank\",\"title\":\"Forbidden\",\"status\":403}\n"},
        {"HEAD /stream?pieces=2 HTTP/1.1\r\nHost: a\r\n\r\n",
         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"},
        {"GET /stream?pieces=0 HTTP/1.1\r\nHost: a\r\n\r\n",
         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
    };
    *requests = *answers = 0;
    for (int left = 1 + rand_r(seed) % 8; left > 0; left--) {
        size_t kind = (size_t)rand_r(seed) % (sizeof kinds / sizeof *kinds);
        strcat(requests, kinds[kind].request);
        strcat(answers, kinds[kind].answer);
    }
    return strlen(requests);
}

static void any_requests_cut_anywhere_get_their_answers_in_order(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL, NULL);
    for (unsigned round = 0; round < 300; round++) {
        unsigned seed = round;
        char requests[4096], answers[4096], piece[4096];
        size_t len = conversation(&seed, requests, answers);
        int fd = raw_open(&f);
        for (size_t at = 0, step; at < len; at += step) {
            step = 1 + (size_t)rand_r(&seed) % (rand_r(&seed) % 3 ? 40 : len);
            step = step < len - at ? step : len - at;
            memcpy(piece, requests + at, step);
            piece[step] = 0;
            raw_send(fd, piece);
            if (rand_r(&seed) % 4 == 0)
                sched_yield();
        }
        raw_expect(fd, answers);
        close(fd);
    }
    fixture_stop(&f);
}

static void clients_that_leave_at_any_moment_do_no_harm(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL, NULL);
    for (unsigned round = 0; round < 300; round++) {
        unsigned seed = round;
        char requests[4096], answers[4096];
        size_t len = conversation(&seed, requests, answers);
        /* At least the first request is whole, so that there is something to wait for. */
        size_t first = (size_t)(strstr(requests, "\r\n\r\n") - requests) + 24;
        if (first < len)
            requests[first + (size_t)rand_r(&seed) % (len - first)] = 0;
        int fd = raw_open(&f);
        raw_send(fd, requests);
        recv(fd, answers, 20, rand_r(&seed) % 2 ? MSG_DONTWAIT : 0);
        if (rand_r(&seed) % 2) {
            struct linger reset = {1, 0};
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        }
        close(fd);
    }
    int fd = raw_open(&f);
    raw_send(fd, GET("/hello"));
    raw_expect(fd, HELLO);
    close(fd);
    fixture_stop(&f);
}

static void head_gets_the_head_alone(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL, NULL);
    int fd = raw_open(&f);
    raw_send(fd, "HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n"
                 "HEAD /stream?pieces=3 HTTP/1.1\r\nHost: a\r\n\r\n"
                 "HEAD /nowhere HTTP/1.1\r\nHost: a\r\n\r\n" GET("/hello"));
    raw_expect(fd, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\n"
                   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                   "HTTP/1.1 404 Not Found\r\nContent-Length: 56\r\n"
                   "Content-Type: application/problem+json\r\n\r\n" HELLO);
    close(fd);
    fixture_stop(&f);
}

static void refused_requests_get_a_problem_and_the_connection_closes(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL, NULL);
    int fd = raw_open(&f);
    raw_send(fd, GET("/hello") "GET /hello HTTP/1.1\r\n\r\n" GET("/hello"));
    raw_expect(fd, HELLO "HTTP/1.1 400 Bad Request\r\nContent-Length: 95\r\nConnection: close\r\n"
                         "Content-Type: application/problem+json\r\n\r\n"
                         "{\"type\":\"about:blank\",\"title\":\"Bad Request\",\"status\":400,"
                         "\"detail\":\"the Host field is missing\"}\n");
    raw_expect_end(fd);
    assert_int_equal(f.requests, 1);
    assert_true(fixture_counts(&f).refused == 1);
    fixture_stop(&f);
}

static void a_body_above_the_limit_is_refused_before_it_is_read(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL, NULL);
    int fd = raw_open(&f);
    raw_send(fd, "POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789");
    raw_expect(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789");
    raw_send(fd, "POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n");
    raw_expect(fd, "HTTP/1.1 413 Content Too Large\r\n");
    close(fd);
    fd = raw_open(&f);
    raw_send(fd, "POST /small HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                 "Content-Length: 11\r\n\r\n");
    raw_expect(fd, "HTTP/1.1 413 Content Too Large\r\n");
    close(fd);
    fd = raw_open(&f);
    raw_send(fd, "POST /small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                 "a\r\n0123456789\r\n1\r\n");
    raw_expect(fd, "HTTP/1.1 413 Content Too Large\r\n");
    close(fd);
    assert_int_equal(f.requests, 1);
    fixture_stop(&f);
}

static void a_client_that_waits_to_be_asked_for_its_body_is_asked(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL, NULL);
    int fd = raw_open(&f);
    raw_send(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                 "Content-Length: 3\r\n\r\n");
    raw_expect(fd, "HTTP/1.1 100 Continue\r\n\r\n");
    raw_send(fd, "abc");
    raw_expect(fd, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc");
    raw_send(fd, "POST /deny HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                 "Content-Length: 3\r\n\r\n");
    raw_expect(fd, "HTTP/1.1 403 Forbidden\r\nContent-Length: 56\r\nConnection: close\r\n");
    close(fd);
    fixture_stop(&f);
}

static void a_request_answered_before_its_body_does_not_disturb_the_next(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL, NULL);
    int fd = raw_open(&f);
    raw_send(fd, "POST /deny HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na");
    raw_expect(fd, "HTTP/1.1 403 Forbidden\r\nContent-Length: 56\r\n"
                   "Content-Type: application/problem+json\r\n\r\n"
                   "{\"type\":\"about:blank\",\"title\":\"Forbidden\",\"status\":403}\n");
    raw_send(fd, "bc" GET("/hello"));
    raw_expect(fd, HELLO);
    raw_send(fd, "POST /deny HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    raw_expect(fd, "HTTP/1.1 403 Forbidden\r\nContent-Length: 56\r\nConnection: close\r\n");
    close(fd);
    fixture_stop(&f);
}

static void an_upload_is_streamed_at_the_pace_of_its_handler(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL, NULL);
    int fd = raw_open(&f);
    raw_send(fd, "PUT /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n");
    static char piece[100001];
    memset(piece, 'u', sizeof piece - 1);
    for (int i = 0; i < 30; i++)
        raw_send(fd, piece);
    raw_send(fd, GET("/hello"));
    raw_expect(fd, "HTTP/1.1 200 OK\r\nContent-Length: 13\r\nContent-Type: text/plain\r\n\r\n"
                   "3000000 bytes" HELLO);
    raw_send(fd, "PUT /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    raw_expect(fd,
               "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nContent-Type: text/plain\r\n\r\n3 bytes");
    raw_send(fd, "PUT /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    raw_expect(fd,
               "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nContent-Type: text/plain\r\n\r\n0 bytes");
    close(fd);
    fixture_stop(&f);
}

static void a_broken_upload_is_refused_and_its_handler_told(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL, NULL);
    int fd = raw_open(&f);
    raw_send(fd, "PUT /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                 "3\r\nabc\r\nx");
    raw_expect(fd, "HTTP/1.1 400 Bad Request\r\n");
    wait_until(&f.gone, 1);
    close(fd);
    fd = raw_open(&f);
    raw_send(fd, "PUT /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
    close(fd);
    wait_until(&f.gone, 2);
    assert_int_equal(f.requests, 0);
    fixture_stop(&f);
}

static void a_large_answer_reaches_a_slow_reader_whole(void **state)
{
    (void)state;
    enum { BYTES = 20000000 };
    struct fixture f;
    fixture_start(&f, NULL, NULL);
    int fd = raw_open(&f);
    raw_send(fd, GET("/big?bytes=20000000"));
    raw_expect(fd, "HTTP/1.1 200 OK\r\nContent-Length: 20000000\r\n\r\n");
    uint8_t *body = malloc(BYTES);
    for (size_t at = 0; at < BYTES; at += 1000000) {
        usleep(1000);
        assert_int_equal(raw_read(fd, body + at, 1000000), 1000000);
    }
    for (size_t i = 0; i < BYTES; i++) {
        if (body[i] != (uint8_t)(i * 13 + i / 251))
            fail_msg("byte %zu is wrong", i);
    }
    free(body);
    wait_until(&f.released, 1);
    raw_send(fd, GET("/big?bytes=100"));
    raw_expect(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n");
    wait_until(&f.released, 2);
    close(fd);
    fixture_stop(&f);
}

static void a_stream_waits_for_its_reader(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL, NULL);
    int fd = raw_open(&f);
    raw_send(fd, GET("/stream?pieces=10000") GET("/hello"));
    raw_expect(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    static char chunk[1008], expected[1008];
    memset(expected, 's', sizeof expected);
    memcpy(expected, "3e8\r\n", 5);
    memcpy(expected + 1005, "\r\n", 2);
    for (int i = 0; i < 10000; i++) {
        assert_int_equal(raw_read(fd, chunk, 1007), 1007);
        assert_memory_equal(chunk, expected, 1007);
    }
    raw_expect(fd, "0\r\n\r\n" HELLO);
    assert_true(f.drained > 0);
    close(fd);
    fd = raw_open(&f);
    raw_send(fd, "GET /stream?pieces=2 HTTP/1.0\r\n\r\n");
    raw_expect(fd, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
    assert_int_equal(raw_read(fd, chunk, 1000), 1000);
    assert_int_equal(raw_read(fd, chunk, 1000), 1000);
    raw_expect_end(fd);
    fixture_stop(&f);
}

static void the_handler_learns_that_the_client_has_gone(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL, NULL);
    int fd = raw_open(&f);
    raw_send(fd, GET("/hold"));
    fixture_wait_held(&f, 1);
    close(fd);
    wait_until(&f.gone, 1);
    fixture_answer(&f);
    fd = raw_open(&f);
    raw_send(fd, GET("/endless"));
    raw_expect(fd, "HTTP/1.1 200 OK\r\n");
    close(fd);
    wait_until(&f.gone, 2);
    fixture_stop(&f);
}

static void a_client_that_only_ends_its_own_side_still_gets_its_answers(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL, NULL);
    int fd = raw_open(&f);
    raw_send(fd, GET("/hold") GET("/hello"));
    shutdown(fd, SHUT_WR);
    wait_until(&f.gone, 1);
    fixture_answer(&f);
    raw_expect(fd, HELD HELLO);
    raw_expect_end(fd);
    fd = raw_open(&f);
    raw_send(fd, "GET /hello HTTP/1.1\r\nHost: a\r\n");
    shutdown(fd, SHUT_WR);
    raw_expect_end(fd);
    assert_int_equal(f.requests, 2);
    fixture_stop(&f);
}

static void a_dropped_request_ends_its_connection(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL, NULL);
    int fd = raw_open(&f);
    raw_send(fd, GET("/drop") GET("/hello"));
    raw_expect_end(fd);
    assert_int_equal(f.requests, 1);
    fixture_stop(&f);
}

static void a_head_that_may_not_be_sent_becomes_a_502(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL, NULL);
    int fd = raw_open(&f);
    raw_send(fd, GET("/split"));
    raw_expect(fd, "HTTP/1.1 502 Bad Gateway\r\n");
    close(fd);
    fixture_stop(&f);
}

static void beyond_the_cap_connections_wait_to_be_accepted(void **state)
{
    (void)state;
    struct http_server_options options = {.connections = 3};
    struct fixture f;
    fixture_start(&f, &options, NULL);
    int fds[8];
    for (int i = 0; i < 8; i++) {
        fds[i] = raw_open(&f);
        raw_send(fds[i], GET("/hello"));
    }
    for (int i = 0; i < 3; i++)
        raw_expect(fds[i], HELLO);
    assert_int_equal(fixture_counts(&f).connections, 3);
    assert_true(fixture_counts(&f).served == 3);
    for (int i = 0; i < 8; i++) {
        if (i >= 3)
            raw_expect(fds[i], HELLO);
        close(fds[i]);
    }
    fixture_stop(&f);
}

static void who_does_not_send_in_time_is_let_go(void **state)
{
    (void)state;
    struct http_server_options options = {.head_ms = 50, .body_ms = 50, .keep_alive_ms = 50};
    struct fixture f;
    fixture_start(&f, &options, NULL);
    int silent = raw_open(&f);
    raw_expect_end(silent);
    int slow = raw_open(&f);
    raw_send(slow, "GET /hello HT");
    raw_expect(slow, "HTTP/1.1 408 Request Timeout\r\n");
    close(slow);
    int body = raw_open(&f);
    raw_send(body, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na");
    raw_expect(body, "HTTP/1.1 408 Request Timeout\r\n");
    close(body);
    int kept = raw_open(&f);
    raw_send(kept, GET("/hello"));
    raw_expect(kept, HELLO);
    raw_expect_end(kept);
    int upload = raw_open(&f);
    raw_send(upload, "PUT /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na");
    raw_expect(upload, "HTTP/1.1 408 Request Timeout\r\n");
    wait_until(&f.gone, 1);
    close(upload);
    fixture_stop(&f);
}

static void one_byte_more_does_not_prolong_a_head(void **state)
{
    (void)state;
    struct http_server_options options = {.head_ms = 200};
    struct fixture f;
    fixture_start(&f, &options, NULL);
    int fd = raw_open(&f);
    char byte;
    raw_send(fd, "GET / HTTP/1.1\r\nX: ");
    int sent = 0;
    while (sent < 1000 && recv(fd, &byte, 1, MSG_DONTWAIT) < 0) {
        send(fd, "x", 1, MSG_NOSIGNAL);
        sent++;
        usleep(10000);
    }
    assert_true(sent < 1000);
    close(fd);
    fixture_stop(&f);
}

static void who_does_not_read_in_time_is_let_go(void **state)
{
    (void)state;
    struct http_server_options options = {.body_ms = 100};
    struct fixture f;
    fixture_start(&f, &options, NULL);
    int fd = raw_open(&f);
    raw_send(fd, GET("/big?bytes=30000000"));
    wait_until(&f.released, 1);
    int stream = raw_open(&f);
    raw_send(stream, GET("/endless"));
    wait_until(&f.gone, 1);
    close(fd);
    close(stream);
    fixture_stop(&f);
}

static void a_handler_has_all_the_time_it_wants(void **state)
{
    (void)state;
    struct http_server_options options = {.head_ms = 30, .body_ms = 30, .keep_alive_ms = 30};
    struct fixture f;
    fixture_start(&f, &options, NULL);
    int fd = raw_open(&f);
    raw_send(fd, GET("/hold"));
    fixture_wait_held(&f, 1);
    usleep(150000);
    fixture_answer(&f);
    raw_expect(fd, HELD);
    close(fd);
    fixture_stop(&f);
}

static void too_many_bytes_of_bodies_are_refused(void **state)
{
    (void)state;
    struct http_server_options options = {.bodies_bytes = 10};
    struct fixture f;
    fixture_start(&f, &options, NULL);
    int first = raw_open(&f), second = raw_open(&f);
    raw_send(first, "POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\n01234567");
    fixture_wait_held(&f, 1);
    raw_send(second, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n012");
    raw_expect(second, "HTTP/1.1 503 Service Unavailable\r\n");
    close(second);
    fixture_answer(&f);
    raw_expect(first, HELD);
    raw_send(first, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789");
    raw_expect(first, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789");
    close(first);
    fixture_stop(&f);
}

static void on_drained(void *context)
{
    struct fixture *f = context;
    f->ended++;
}

static void job_drain(struct fixture *f)
{
    http_server_drain(f->server, UINT32_MAX, on_drained, f);
}

static void job_drain_briefly(struct fixture *f)
{
    http_server_drain(f->server, 20, on_drained, f);
}

static void draining_lets_answers_through_and_nothing_new_in(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL, NULL);
    int idle = raw_open(&f), busy = raw_open(&f), begun = raw_open(&f);
    raw_send(idle, GET("/hello"));
    raw_expect(idle, HELLO);
    raw_send(busy, GET("/hold"));
    fixture_wait_held(&f, 1);
    raw_send(begun, GET("/hello") "GET /hello HTTP/1.1\r\n");
    raw_expect(begun, HELLO);
    fixture_do(&f, job_drain);
    raw_expect_end(idle);
    assert_int_equal(f.ended, 0);
    fixture_answer(&f);
    raw_expect(busy, HELD_LAST);
    raw_expect_end(busy);
    raw_send(begun, "Host: a\r\n\r\n");
    raw_expect(begun, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n"
                      "Content-Type: text/plain\r\n\r\nhello");
    raw_expect_end(begun);
    wait_until(&f.ended, 1);
    fixture_stop(&f);
}

static void draining_ends_a_connection_behind_the_stream_that_was_under_way(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL, NULL);
    int fd = raw_open(&f);
    raw_send(fd, GET("/stream?pieces=10000"));
    raw_expect(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    fixture_do(&f, job_drain);
    for (int i = 0; i < 10000; i++) {
        char chunk[1007];
        assert_int_equal(raw_read(fd, chunk, sizeof chunk), sizeof chunk);
    }
    raw_expect(fd, "0\r\n\r\n");
    raw_expect_end(fd);
    close(fd);
    wait_until(&f.ended, 1);
    fixture_stop(&f);
}

static void draining_ends_in_time(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL, NULL);
    int busy = raw_open(&f);
    raw_send(busy, GET("/hold"));
    fixture_wait_held(&f, 1);
    fixture_do(&f, job_drain_briefly);
    raw_expect_end(busy);
    wait_until(&f.gone, 1);
    assert_int_equal(f.ended, 0);
    fixture_answer(&f);
    wait_until(&f.ended, 1);
    fixture_stop(&f);
    fixture_start(&f, NULL, NULL);
    fixture_do(&f, job_drain_briefly);
    wait_until(&f.ended, 1);
    fixture_stop(&f);
}

static void job_listen_again(struct fixture *f)
{
    struct error e;
    assert_int_equal(http_server_listen(f->server, "127.0.0.1", f->port, NULL, NULL, &e),
                     -ATOLL_EBUSY);
    assert_int_equal(http_server_listen(f->server, "localhost", 0, NULL, NULL, &e), -ATOLL_EINVAL);
    assert_int_equal(http_server_listen(f->server, "192.0.2.1", 0, NULL, NULL, &e), -ATOLL_EIO);
}

static void an_address_that_cannot_be_had_is_an_error(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL, NULL);
    fixture_do(&f, job_listen_again);
    int fd = raw_open(&f);
    raw_send(fd, GET("/hello"));
    raw_expect(fd, HELLO);
    close(fd);
    fixture_stop(&f);
}

static void closing_with_requests_in_hand_waits_for_the_handler_alone(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL, NULL);
    int fds[4];
    for (int i = 0; i < 4; i++) {
        fds[i] = raw_open(&f);
        raw_send(fds[i], i % 2 ? GET("/hold") : GET("/endless"));
    }
    fixture_wait_held(&f, 2);
    fixture_stop(&f);
    for (int i = 0; i < 4; i++)
        close(fds[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_on_one_connection_are_answered_in_order),
        cmocka_unit_test(pipelined_requests_are_answered_in_order_whenever_the_handler_answers),
        cmocka_unit_test(many_pipelined_requests_leave_in_few_writes),
        cmocka_unit_test(connections_are_kept_or_closed_as_both_sides_say),
        cmocka_unit_test(any_requests_cut_anywhere_get_their_answers_in_order),
        cmocka_unit_test(clients_that_leave_at_any_moment_do_no_harm),
        cmocka_unit_test(head_gets_the_head_alone),
        cmocka_unit_test(refused_requests_get_a_problem_and_the_connection_closes),
        cmocka_unit_test(a_body_above_the_limit_is_refused_before_it_is_read),
        cmocka_unit_test(a_client_that_waits_to_be_asked_for_its_body_is_asked),
        cmocka_unit_test(a_request_answered_before_its_body_does_not_disturb_the_next),
        cmocka_unit_test(an_upload_is_streamed_at_the_pace_of_its_handler),
        cmocka_unit_test(a_broken_upload_is_refused_and_its_handler_told),
        cmocka_unit_test(a_large_answer_reaches_a_slow_reader_whole),
        cmocka_unit_test(a_stream_waits_for_its_reader),
        cmocka_unit_test(the_handler_learns_that_the_client_has_gone),
        cmocka_unit_test(a_client_that_only_ends_its_own_side_still_gets_its_answers),
        cmocka_unit_test(a_dropped_request_ends_its_connection),
        cmocka_unit_test(a_head_that_may_not_be_sent_becomes_a_502),
        cmocka_unit_test(beyond_the_cap_connections_wait_to_be_accepted),
        cmocka_unit_test(who_does_not_send_in_time_is_let_go),
        cmocka_unit_test(one_byte_more_does_not_prolong_a_head),
        cmocka_unit_test(who_does_not_read_in_time_is_let_go),
        cmocka_unit_test(a_handler_has_all_the_time_it_wants),
        cmocka_unit_test(too_many_bytes_of_bodies_are_refused),
        cmocka_unit_test(draining_lets_answers_through_and_nothing_new_in),
        cmocka_unit_test(draining_ends_a_connection_behind_the_stream_that_was_under_way),
        cmocka_unit_test(draining_ends_in_time),
        cmocka_unit_test(an_address_that_cannot_be_had_is_an_error),
        cmocka_unit_test(closing_with_requests_in_hand_waits_for_the_handler_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
