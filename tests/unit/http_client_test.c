/* The blocking HTTP client (src/net/http_client.c), against the server and against worse ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "crypto/tls.h"
#include "http_fixture.h"
#include "net/http_client.h"
#include "tls_fixture.h"

#include "http_canned.h"

#include <stdio.h>
#include <stdlib.h>

static struct tls_fixture files;

static int files_make(void **state)
{
    (void)state;
    tls_fixture_make(&files);
    return 0;
}

static int files_remove(void **state)
{
    (void)state;
    tls_fixture_remove(&files);
    return 0;
}

static struct http_client *client_open(struct tls_context *tls, uint32_t idle_ms)
{
    struct http_client *c;
    struct error e;
    struct http_client_options options = {.tls = tls, .idle_ms = idle_ms, .body_max = 100000};
    assert_int_equal(http_client_create(&options, &c, &e), 0);
    return c;
}

static struct url url_of(const char *scheme, uint16_t port, const char *target)
{
    char text[512];
    struct url u;
    struct error e;
    snprintf(text, sizeof text, "%s://localhost:%u%s", scheme, port, target);
    assert_int_equal(url_parse(text, &u, &e), 0);
    return u;
}

/* One request whose response is expected to be this. */
static void expect(struct http_client *c, enum http_method method, const struct url *u,
                   const char *body, unsigned status, const char *text)
{
    struct http_client_response r = {0};
    struct error e = {0};
    struct http_client_request request = {
        .method = method, .url = u, .body = body, .body_len = body ? strlen(body) : 0};
    int result = http_client_request(c, &request, &r, &e);
    if (result < 0)
        fail_msg("%s", e.text);
    assert_int_equal(r.status, status);
    assert_int_equal(r.head->status, status);
    assert_int_equal(r.body.len, strlen(text));
    assert_memory_equal(r.body.data ? (char *)r.body.data : "", text, strlen(text));
    http_client_response_free(&r);
}

static void expect_error(struct http_client *c, enum http_method method, const struct url *u,
                         int code, const char *text)
{
    struct http_client_response r = {0};
    struct error e = {0};
    struct http_client_request request = {.method = method, .url = u};
    assert_int_equal(http_client_request(c, &request, &r, &e), code);
    if (!strstr(e.text, text))
        fail_msg("\"%s\" does not say \"%s\"", e.text, text);
    assert_null(r.head);
    http_client_response_free(&r);
}

static void requests_share_one_connection(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL, NULL);
    struct http_client *c = client_open(NULL, 0);
    struct url hello = url_of("http", f.port, "/hello"), echo = url_of("http", f.port, "/echo"),
               nowhere = url_of("http", f.port, "/nowhere");
    for (int i = 0; i < 3; i++) {
        expect(c, HTTP_GET, &hello, NULL, 200, "hello");
        expect(c, HTTP_HEAD, &hello, NULL, 200, "");
        expect(c, HTTP_POST, &echo, "some text", 200, "some text");
        expect(c, HTTP_POST, &echo, "", 200, "");
        expect(c, HTTP_GET, &nowhere, NULL, 404,
               "{\"type\":\"about:blank\",\"title\":\"Not Found\",\"status\":404}\n");
    }
    assert_true(fixture_counts(&f).accepted == 1);
    http_client_destroy(c);
    fixture_stop(&f);
}

static void a_connection_closed_in_the_meantime_is_opened_again(void **state)
{
    (void)state;
    struct http_server_options options = {.keep_alive_ms = 20};
    struct fixture f;
    fixture_start(&f, &options, NULL);
    struct http_client *c = client_open(NULL, 0);
    struct url hello = url_of("http", f.port, "/hello"), last = url_of("http", f.port, "/last");
    expect(c, HTTP_POST, &hello, "", 200, "hello");
    while (fixture_counts(&f).connections > 0)
        usleep(1000);
    expect(c, HTTP_POST, &hello, "", 200, "hello");
    expect(c, HTTP_POST, &last, "", 200, "last");
    expect(c, HTTP_POST, &last, "", 200, "last");
    http_client_destroy(c);
    fixture_stop(&f);
}

static void only_repeatable_requests_are_sent_again(void **state)
{
    (void)state;
    /* The second request of each connection is read and then cut off. */
    static const char *const answers[] = {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1+", "",
                                          "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2+", "",
                                          NULL};
    struct canned s;
    canned_start(&s, answers);
    struct http_client *c = client_open(NULL, 0);
    struct url u = url_of("http", s.port, "/");
    expect(c, HTTP_GET, &u, NULL, 200, "1");
    expect(c, HTTP_GET, &u, NULL, 200, "2");
    assert_int_equal(s.requests, 3);
    expect_error(c, HTTP_POST, &u, -ATOLL_ELOST, "closed");
    assert_int_equal(s.requests, 4);
    http_client_destroy(c);
    canned_stop(&s);
}

struct collected {
    size_t len, calls, limit;
    uint8_t sum;
};

static int collect(void *context, const void *data, size_t len)
{
    struct collected *c = context;
    c->calls++;
    for (size_t i = 0; i < len; i++)
        c->sum = (uint8_t)(c->sum + ((const uint8_t *)data)[i]);
    c->len += len;
    return c->limit && c->len > c->limit;
}

static int64_t supply(void *context, void *out, size_t cap, struct error *e)
{
    struct collected *c = context;
    (void)e;
    size_t len = cap < 7000 ? cap : 7000;
    memset(out, 'x', len);
    c->calls++;
    return (int64_t)len;
}

static void bodies_stream_both_ways(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL, NULL);
    struct http_client *c = client_open(NULL, 0);
    struct url big = url_of("http", f.port, "/big?bytes=5000000"),
               upload = url_of("http", f.port, "/upload"),
               stream = url_of("http", f.port, "/stream?pieces=5000"),
               nowhere = url_of("http", f.port, "/nowhere");
    struct http_client_response r = {0};
    struct error e;
    struct collected got = {0};
    struct http_client_request request = {
        .method = HTTP_GET, .url = &big, .write = collect, .context = &got};
    assert_int_equal(http_client_request(c, &request, &r, &e), 0);
    assert_int_equal(got.len, 5000000);
    assert_int_equal(r.body.len, 0);
    uint8_t sum = 0;
    for (size_t i = 0; i < 5000000; i++)
        sum = (uint8_t)(sum + (uint8_t)(i * 13 + i / 251));
    assert_int_equal(got.sum, sum);
    got = (struct collected){0};
    request.url = &stream;
    assert_int_equal(http_client_request(c, &request, &r, &e), 0);
    assert_int_equal(got.len, 5000000);
    /* What is not the thing asked for is no part of it. */
    got = (struct collected){0};
    request.url = &nowhere;
    assert_int_equal(http_client_request(c, &request, &r, &e), 0);
    assert_int_equal(r.status, 404);
    assert_int_equal(got.len, 0);
    assert_true(r.body.len > 0);
    /* 100,000 bytes are the limit of bodies that are collected. */
    http_client_response_free(&r);
    expect_error(c, HTTP_GET, &big, -ATOLL_ESIZE, "larger than 100000 bytes");
    got = (struct collected){0};
    request = (struct http_client_request){
        .method = HTTP_PUT, .url = &upload, .read = supply, .body_len = 3000000, .context = &got};
    assert_int_equal(http_client_request(c, &request, &r, &e), 0);
    assert_int_equal(r.body.len, 13);
    assert_memory_equal(r.body.data, "3000000 bytes", 13);
    http_client_response_free(&r);
    got = (struct collected){.limit = 100};
    request = (struct http_client_request){
        .method = HTTP_GET, .url = &stream, .write = collect, .context = &got};
    assert_int_equal(http_client_request(c, &request, &r, &e), -ATOLL_ECANCELED);
    http_client_response_free(&r);
    http_client_destroy(c);
    fixture_stop(&f);
}

static void a_refusal_sent_while_the_body_is_still_leaving_is_heard(void **state)
{
    (void)state;
    struct http_server_options options = {.body_max = 1000};
    struct fixture f;
    fixture_start(&f, &options, NULL);
    struct http_client *c = client_open(NULL, 0);
    struct url echo = url_of("http", f.port, "/echo");
    struct collected got = {0};
    struct http_client_response r = {0};
    struct error e;
    struct http_client_request request = {
        .method = HTTP_POST, .url = &echo, .read = supply, .body_len = 50000000, .context = &got};
    assert_int_equal(http_client_request(c, &request, &r, &e), 0);
    assert_int_equal(r.status, 413);
    http_client_response_free(&r);
    http_client_destroy(c);
    fixture_stop(&f);
}

static void bad_servers_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        const char *answer;
        int code;
        const char *text;
    } cases[] = {
        {"", -ATOLL_ELOST, "closed before its response was complete"},
        {"HTTP/1.1 200 OK\r\n", -ATOLL_ELOST, "closed before"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", -ATOLL_ELOST, "closed before"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", -ATOLL_ELOST,
         "closed"},
        {"SSH-2.0-x\r\n", -ATOLL_EIO, "proper HTTP"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef", -ATOLL_EIO,
         "content-length"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab", -ATOLL_EIO, "more than its response"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 100001\r\n\r\n", -ATOLL_ESIZE, "larger than 100000"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *answers[] = {cases[i].answer, NULL};
        struct canned s;
        canned_start(&s, answers);
        struct http_client *c = client_open(NULL, 0);
        struct url u = url_of("http", s.port, "/");
        expect_error(c, HTTP_POST, &u, cases[i].code, cases[i].text);
        http_client_destroy(c);
        canned_stop(&s);
    }
}

static void a_silent_server_is_given_up(void **state)
{
    (void)state;
    static const char *const answers[] = {"HTTP/1.1 200 OK\r\nContent-Le+", NULL};
    struct canned s;
    canned_start(&s, answers);
    struct http_client *c = client_open(NULL, 50);
    struct url u = url_of("http", s.port, "/");
    expect_error(c, HTTP_GET, &u, -ATOLL_ETIMEDOUT, "did not answer for 50 ms");
    http_client_destroy(c);
    canned_stop(&s);
}

static void nobody_there_is_told_from_no_such_name(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL, NULL);
    struct url u = url_of("http", f.port, "/");
    fixture_stop(&f);
    struct http_client *c = client_open(NULL, 0);
    expect_error(c, HTTP_GET, &u, -ATOLL_EUNAVAIL, "nobody listens on localhost port ");
    struct error e;
    assert_int_equal(url_parse("http://no-such-host.invalid/", &u, &e), 0);
    expect_error(c, HTTP_GET, &u, -ATOLL_ENOENT, "cannot find the host no-such-host.invalid");
    http_client_destroy(c);
}

static void over_tls_everything_is_the_same(void **state)
{
    (void)state;
    struct tls_context *server, *client;
    struct error e;
    assert_int_equal(
        tls_context_server(files.path[TLS_SERVER], files.path[TLS_SERVER_KEY], NULL, &server, &e),
        0);
    assert_int_equal(tls_context_client(files.path[TLS_AUTHORITY], NULL, NULL, &client, &e), 0);
    struct fixture f;
    fixture_start(&f, NULL, server);
    struct http_client *c = client_open(client, 0);
    struct url hello = url_of("https", f.port, "/hello"), echo = url_of("https", f.port, "/echo"),
               upload = url_of("https", f.port, "/upload"),
               big = url_of("https", f.port, "/big?bytes=3000000"),
               stream = url_of("https", f.port, "/stream?pieces=3000"),
               last = url_of("https", f.port, "/last");
    expect(c, HTTP_GET, &hello, NULL, 200, "hello");
    expect(c, HTTP_POST, &echo, "some text", 200, "some text");
    struct http_client_response r = {0};
    struct collected got = {0};
    struct http_client_request request = {
        .method = HTTP_GET, .url = &big, .write = collect, .context = &got};
    assert_int_equal(http_client_request(c, &request, &r, &e), 0);
    assert_int_equal(got.len, 3000000);
    request.url = &stream;
    assert_int_equal(http_client_request(c, &request, &r, &e), 0);
    assert_int_equal(got.len, 6000000);
    request = (struct http_client_request){
        .method = HTTP_PUT, .url = &upload, .read = supply, .body_len = 3000000, .context = &got};
    assert_int_equal(http_client_request(c, &request, &r, &e), 0);
    assert_memory_equal(r.body.data, "3000000 bytes", 13);
    http_client_response_free(&r);
    expect(c, HTTP_GET, &last, NULL, 200, "last");
    expect(c, HTTP_GET, &hello, NULL, 200, "hello");
    assert_true(fixture_counts(&f).accepted == 2);
    http_client_destroy(c);
    fixture_stop(&f);
    tls_context_destroy(server);
    tls_context_destroy(client);
}

static void tls_failures_are_told_apart(void **state)
{
    (void)state;
    struct tls_context *server, *good, *distrustful;
    struct error e;
    assert_int_equal(tls_context_server(files.path[TLS_SERVER], files.path[TLS_SERVER_KEY],
                                        files.path[TLS_AUTHORITY], &server, &e),
                     0);
    assert_int_equal(tls_context_client(files.path[TLS_AUTHORITY], NULL, NULL, &good, &e), 0);
    assert_int_equal(tls_context_client(files.path[TLS_STRANGER], NULL, NULL, &distrustful, &e), 0);
    struct fixture f, plain;
    fixture_start(&f, NULL, server);
    fixture_start(&plain, NULL, NULL);
    struct url u = url_of("https", f.port, "/hello"), p = url_of("https", plain.port, "/hello"),
               wrong = url_of("http", f.port, "/hello");
    struct http_client *c = client_open(distrustful, 0);
    expect_error(c, HTTP_GET, &u, -ATOLL_ESIGNATURE, "not trusted");
    http_client_destroy(c);
    c = client_open(good, 0);
    expect_error(c, HTTP_GET, &u, -ATOLL_EIO, "certificate required");
    expect_error(c, HTTP_GET, &p, -ATOLL_EIO, "TLS");
    http_client_destroy(c);
    c = client_open(NULL, 0);
    expect_error(c, HTTP_GET, &u, -ATOLL_EINVAL, "https");
    struct http_client_response r = {0};
    struct http_client_request request = {.url = &wrong};
    assert_true(http_client_request(c, &request, &r, &e) < 0);
    http_client_destroy(c);
    fixture_stop(&f);
    fixture_stop(&plain);
    tls_context_destroy(server);
    tls_context_destroy(good);
    tls_context_destroy(distrustful);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_share_one_connection),
        cmocka_unit_test(a_connection_closed_in_the_meantime_is_opened_again),
        cmocka_unit_test(only_repeatable_requests_are_sent_again),
        cmocka_unit_test(bodies_stream_both_ways),
        cmocka_unit_test(a_refusal_sent_while_the_body_is_still_leaving_is_heard),
        cmocka_unit_test(bad_servers_are_told_apart),
        cmocka_unit_test(a_silent_server_is_given_up),
        cmocka_unit_test(nobody_there_is_told_from_no_such_name),
        cmocka_unit_test(over_tls_everything_is_the_same),
        cmocka_unit_test(tls_failures_are_told_apart),
    };
    return cmocka_run_group_tests(tests, files_make, files_remove);
}
