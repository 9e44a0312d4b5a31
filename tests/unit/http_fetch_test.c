/* Requests that a server makes by itself (src/net/http_fetch.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "crypto/tls.h"
#include "http_fixture.h"
#include "net/http_fetch.h"
#include "tls_fixture.h"

#include "http_canned.h"

#include <stdio.h>
#include <stdlib.h>

#define OK     "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define BUSY   "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
#define MANY   "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n"
#define DENIED "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"

struct outcome {
    unsigned done, status, tries, asked;
    bool allow;
    struct error why;
};

static void on_done(void *context, unsigned status, unsigned tries, const struct error *why)
{
    struct outcome *o = context;
    o->done++;
    o->status = status;
    o->tries = tries;
    o->why = *why;
}

static bool on_address(void *context, const struct sockaddr *address)
{
    struct outcome *o = context;
    assert_true(address->sa_family == AF_INET || address->sa_family == AF_INET6);
    o->asked++;
    return o->allow;
}

static struct http_fetch_options options_for(uint16_t port, struct outcome *o)
{
    char text[64];
    struct error e;
    struct http_fetch_options options = {.method = HTTP_POST,
                                         .body = "result",
                                         .body_len = 6,
                                         .first_delay_ms = 2,
                                         .done = on_done,
                                         .context = o};
    *o = (struct outcome){0};
    snprintf(text, sizeof text, "http://127.0.0.1:%u/callback?call=1", port);
    assert_int_equal(url_parse(text, &options.url, &e), 0);
    return options;
}

static void fetch(const struct http_fetch_options *options)
{
    uv_loop_t loop;
    struct http_fetch *f;
    struct error e;
    uv_loop_init(&loop);
    assert_int_equal(http_fetch_start(&loop, options, &f, &e), 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void a_receiver_is_tried_again_until_it_takes_the_result(void **state)
{
    (void)state;
    static const char *const answers[] = {BUSY, MANY, "", "nonsense\r\n\r\n", OK, NULL};
    struct canned s;
    struct outcome o;
    canned_start(&s, answers);
    struct http_header type = http_header_text("Content-Type", "text/plain");
    struct http_fetch_options options = options_for(s.port, &o);
    options.headers = &type;
    options.header_count = 1;
    fetch(&options);
    canned_stop(&s);
    assert_int_equal(o.done, 1);
    assert_int_equal(o.status, 200);
    assert_int_equal(o.tries, 5);
    assert_int_equal(s.requests, 5);
    char expected[256];
    snprintf(expected, sizeof expected,
             "POST /callback?call=1 HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nContent-Length: 6\r\n"
             "Connection: close\r\nContent-Type: text/plain\r\n\r\n",
             s.port);
    assert_string_equal(s.last, expected);
}

static void a_receiver_that_never_takes_it_is_given_up(void **state)
{
    (void)state;
    static const char *const answers[] = {BUSY, BUSY, BUSY, NULL};
    struct canned s;
    struct outcome o;
    canned_start(&s, answers);
    struct http_fetch_options options = options_for(s.port, &o);
    options.tries = 3;
    fetch(&options);
    canned_stop(&s);
    assert_int_equal(o.done, 1);
    assert_int_equal(o.status, 503);
    assert_int_equal(o.tries, 3);
}

static void a_receiver_that_refuses_has_decided(void **state)
{
    (void)state;
    static const char *const answers[] = {DENIED, NULL};
    struct canned s;
    struct outcome o;
    canned_start(&s, answers);
    struct http_fetch_options options = options_for(s.port, &o);
    fetch(&options);
    canned_stop(&s);
    assert_int_equal(o.status, 403);
    assert_int_equal(o.tries, 1);
}

static void redirects_are_an_answer_not_a_way(void **state)
{
    (void)state;
    static const char *const answers[] = {
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/\r\n"
        "Content-Length: 0\r\n\r\n",
        NULL};
    struct canned s;
    struct outcome o;
    canned_start(&s, answers);
    struct http_fetch_options options = options_for(s.port, &o);
    fetch(&options);
    canned_stop(&s);
    assert_int_equal(o.status, 307);
    assert_int_equal(o.tries, 1);
}

static void a_huge_answer_counts_by_its_status(void **state)
{
    (void)state;
    static const char *const answers[] = {"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\nx",
                                          NULL};
    struct canned s;
    struct outcome o;
    canned_start(&s, answers);
    struct http_fetch_options options = options_for(s.port, &o);
    fetch(&options);
    canned_stop(&s);
    assert_int_equal(o.status, 200);
    assert_int_equal(o.tries, 1);
}

static void a_silent_receiver_is_left_in_time(void **state)
{
    (void)state;
    static const char *const answers[] = {"HTTP/1.1 200 +", OK, NULL};
    struct canned s;
    struct outcome o;
    canned_start(&s, answers);
    struct http_fetch_options options = options_for(s.port, &o);
    options.try_ms = 200;
    fetch(&options);
    canned_stop(&s);
    assert_int_equal(o.status, 200);
    assert_int_equal(o.tries, 2);
}

static void nobody_there_is_an_error_with_a_reason(void **state)
{
    (void)state;
    struct fixture gone;
    struct outcome o;
    fixture_start(&gone, NULL, NULL);
    fixture_stop(&gone);
    struct http_fetch_options options = options_for(gone.port, &o);
    options.tries = 2;
    fetch(&options);
    assert_int_equal(o.status, 0);
    assert_int_equal(o.tries, 2);
    assert_int_equal(o.why.code, -ATOLL_EUNAVAIL);
    struct error e;
    assert_int_equal(url_parse("http://no-such-host.invalid/", &options.url, &e), 0);
    fetch(&options);
    assert_int_equal(o.done, 2);
    assert_int_equal(o.why.code, -ATOLL_ENOENT);
}

static void an_address_may_be_refused_after_the_name_is_resolved(void **state)
{
    (void)state;
    struct fixture f;
    struct outcome o;
    fixture_start(&f, NULL, NULL);
    struct http_fetch_options options = options_for(f.port, &o);
    options.tries = 1;
    options.address_allowed = on_address;
    fetch(&options);
    assert_int_equal(o.status, 0);
    assert_int_equal(o.why.code, -ATOLL_EPERM);
    assert_true(o.asked > 0);
    assert_true(fixture_counts(&f).accepted == 0);
    o.allow = true;
    fetch(&options);
    assert_int_equal(o.status, 404);
    fixture_stop(&f);
}

static void results_travel_over_tls(void **state)
{
    (void)state;
    struct tls_fixture files;
    struct tls_context *server, *client, *distrustful;
    struct fixture f;
    struct outcome o;
    struct error e;
    tls_fixture_make(&files);
    assert_int_equal(
        tls_context_server(files.path[TLS_SERVER], files.path[TLS_SERVER_KEY], NULL, &server, &e),
        0);
    assert_int_equal(tls_context_client(files.path[TLS_AUTHORITY], NULL, NULL, &client, &e), 0);
    assert_int_equal(tls_context_client(files.path[TLS_STRANGER], NULL, NULL, &distrustful, &e), 0);
    fixture_start(&f, NULL, server);
    struct http_fetch_options options = options_for(f.port, &o);
    char text[64];
    snprintf(text, sizeof text, "https://localhost:%u/hello", f.port);
    assert_int_equal(url_parse(text, &options.url, &e), 0);
    struct http_fetch *unset;
    uv_loop_t loop;
    uv_loop_init(&loop);
    assert_int_equal(http_fetch_start(&loop, &options, &unset, &e), -ATOLL_EINVAL);
    uv_loop_close(&loop);
    /* localhost may resolve to an address nobody listens on; then the next try takes the other. */
    options.tls = client;
    fetch(&options);
    assert_int_equal(o.status, 200);
    options.tls = distrustful;
    options.tries = 2;
    fetch(&options);
    assert_int_equal(o.status, 0);
    assert_true(o.why.code == -ATOLL_ESIGNATURE || o.why.code == -ATOLL_EUNAVAIL);
    fixture_stop(&f);
    tls_context_destroy(server);
    tls_context_destroy(client);
    tls_context_destroy(distrustful);
    tls_fixture_remove(&files);
}

static struct http_fetch *cancelled;

static void on_cancel(uv_timer_t *timer)
{
    http_fetch_cancel(cancelled);
    uv_close((uv_handle_t *)timer, NULL);
}

static void a_cancelled_fetch_says_nothing_at_whatever_moment(void **state)
{
    (void)state;
    struct fixture f;
    struct outcome o;
    struct error e;
    fixture_start(&f, NULL, NULL);
    for (uint64_t after = 0; after < 10; after++) {
        struct http_fetch_options options = options_for(f.port, &o);
        assert_int_equal(url_parse("http://127.0.0.1:1/", &options.url, &e), 0);
        if (after % 2) {
            options = options_for(f.port, &o);
            strcpy(options.url.target, "/hold");
        }
        options.tries = 16;
        uv_loop_t loop;
        uv_timer_t timer;
        uv_loop_init(&loop);
        uv_timer_init(&loop, &timer);
        uv_timer_start(&timer, on_cancel, after, 0);
        assert_int_equal(http_fetch_start(&loop, &options, &cancelled, &e), 0);
        uv_run(&loop, UV_RUN_DEFAULT);
        assert_int_equal(uv_loop_close(&loop), 0);
        assert_int_equal(o.done, 0);
    }
    fixture_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_receiver_is_tried_again_until_it_takes_the_result),
        cmocka_unit_test(a_receiver_that_never_takes_it_is_given_up),
        cmocka_unit_test(a_receiver_that_refuses_has_decided),
        cmocka_unit_test(redirects_are_an_answer_not_a_way),
        cmocka_unit_test(a_huge_answer_counts_by_its_status),
        cmocka_unit_test(a_silent_receiver_is_left_in_time),
        cmocka_unit_test(nobody_there_is_an_error_with_a_reason),
        cmocka_unit_test(an_address_may_be_refused_after_the_name_is_resolved),
        cmocka_unit_test(results_travel_over_tls),
        cmocka_unit_test(a_cancelled_fetch_says_nothing_at_whatever_moment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
