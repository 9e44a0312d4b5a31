/* Reading HTTP/1.1 messages (src/net/http1.c): what heads hold, how messages follow each other, and
 * responses. What is refused: http_smuggling_test.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http_trace.h"

/* Reads one message of which every byte is there; returns the number of body bytes. */
static size_t message_read(struct http1 *m, const char *text, size_t *used)
{
    struct http1_event event = {.kind = HTTP1_HEAD};
    size_t len = strlen(text), body = 0;
    while (event.kind != HTTP1_END) {
        *used += http1_read(m, text + *used, len - *used, &event);
        assert_int_not_equal(event.kind, HTTP1_ERROR);
        assert_int_not_equal(event.kind, HTTP1_NONE);
        if (event.kind == HTTP1_BODY)
            body += event.len;
    }
    return body;
}

static void a_head_has_its_parts_as_strings(void **state)
{
    (void)state;
    struct http1 m;
    size_t used = 0;
    http1_init(&m, HTTP1_SERVER);
    assert_true(http1_idle(&m));
    message_read(&m,
                 "PUT /v1/state/t/a%2Fb?from=1&x HTTP/1.1\r\nHost: node-1:8420\r\n"
                 "If-Match:\"7\"  \r\nX-Empty:\r\nCONTENT-TYPE: \t a b \t\r\n\r\n",
                 &used);
    assert_false(http1_idle(&m));
    const struct http_head *head = http1_head(&m);
    assert_int_equal(head->method, HTTP_PUT);
    assert_string_equal(head->path, "/v1/state/t/a%2Fb");
    assert_string_equal(head->query, "from=1&x");
    assert_int_equal(head->path_len, strlen(head->path));
    assert_int_equal(head->query_len, strlen(head->query));
    assert_string_equal(head->host, "node-1:8420");
    assert_int_equal(head->minor, 1);
    assert_true(head->keep_alive);
    assert_false(head->has_length || head->chunked || head->expect_continue);
    assert_int_equal(head->header_count, 4);
    assert_string_equal(http_head_value(head, "if-match"), "\"7\"");
    assert_string_equal(http_head_value(head, "x-empty"), "");
    assert_string_equal(http_head_value(head, "content-type"), "a b");
    assert_null(http_head_value(head, "content-length"));
    assert_string_equal(head->headers[3].name, "CONTENT-TYPE");
    http1_next(&m);
    assert_true(http1_idle(&m));
    http1_free(&m);
}

static void a_target_without_a_question_mark_has_no_query(void **state)
{
    (void)state;
    struct http1 m;
    size_t used = 0;
    http1_init(&m, HTTP1_SERVER);
    message_read(&m, "GET /a HTTP/1.1\r\nHost: b\r\n\r\n", &used);
    assert_null(http1_head(&m)->query);
    http1_next(&m);
    used = 0;
    message_read(&m, "GET /a? HTTP/1.1\r\nHost: b\r\n\r\n", &used);
    assert_string_equal(http1_head(&m)->path, "/a");
    assert_string_equal(http1_head(&m)->query, "");
    http1_free(&m);
}

static void requests_that_follow_each_other_are_read_one_by_one(void **state)
{
    (void)state;
    static const char text[] = "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
                               "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n"
                               "POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                               "2\r\nde\r\n0\r\n\r\n";
    struct http1 m;
    struct http1_event event;
    size_t used = 0;
    http1_init(&m, HTTP1_SERVER);
    assert_int_equal(message_read(&m, text, &used), 3);
    /* Nothing is taken before the message has been put away. */
    assert_int_equal(http1_read(&m, text + used, 10, &event), 0);
    assert_int_equal(event.kind, HTTP1_NONE);
    assert_string_equal(http1_head(&m)->path, "/1");
    http1_next(&m);
    assert_int_equal(message_read(&m, text, &used), 0);
    assert_string_equal(http1_head(&m)->path, "/2");
    http1_next(&m);
    assert_int_equal(message_read(&m, text, &used), 2);
    assert_int_equal(used, sizeof text - 1);
    http1_free(&m);
}

static void an_expectation_is_told_before_the_body_unless_it_is_too_large(void **state)
{
    (void)state;
    static const char text[] = "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\n"
                               "Content-Length: 3\r\n\r\nabc";
    static const enum http1_event_kind expected[2][4] = {
        {HTTP1_HEAD, HTTP1_CONTINUE, HTTP1_BODY, HTTP1_END},
        {HTTP1_HEAD, HTTP1_ERROR, HTTP1_ERROR, HTTP1_ERROR},
    };
    for (int small = 0; small < 2; small++) {
        struct http1 m;
        struct http1_event event;
        size_t used = 0;
        http1_init(&m, HTTP1_SERVER);
        for (int i = 0; i < 4; i++) {
            used += http1_read(&m, text + used, sizeof text - 1 - used, &event);
            assert_int_equal(event.kind, expected[small][i]);
            if (event.kind == HTTP1_HEAD)
                http1_body_max_set(&m, small ? 2 : 3);
        }
        if (small)
            assert_int_equal(event.status, 413);
        http1_free(&m);
    }
}

static void a_body_limit_holds_for_one_request(void **state)
{
    (void)state;
    static const char text[] = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    struct http1 m;
    struct http1_event event;
    size_t used = 0;
    http1_init(&m, HTTP1_SERVER);
    http1_read(&m, text, strlen(text), &event);
    http1_body_max_set(&m, 3);
    used = strlen(text) - 3;
    assert_int_equal(message_read(&m, text, &used), 3);
    http1_next(&m);
    assert_true(m.body_max == HTTP1_BODY_MAX);
    http1_free(&m);
}

static void usual_requests_need_no_memory_beyond_the_first(void **state)
{
    (void)state;
    static const char text[] = "POST /v1/fn/t/f HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
                               "A: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\nE: 5\r\n\r\nabc";
    struct http1 m;
    size_t used = 0;
    http1_init(&m, HTTP1_SERVER);
    message_read(&m, text, &used);
    const char *kept = m.text;
    const struct http_header *headers = m.headers;
    for (int i = 0; i < 100; i++) {
        http1_next(&m);
        assert_ptr_equal(m.text, kept);
        assert_ptr_equal(m.headers, headers);
        used = 0;
        message_read(&m, text, &used);
        assert_ptr_equal(m.text, kept);
        assert_ptr_equal(m.headers, headers);
    }
    http1_free(&m);
}

static void a_large_head_does_not_hold_its_memory(void **state)
{
    (void)state;
    static char text[12000] = "GET / HTTP/1.1\r\nHost: a\r\n";
    struct http1 m;
    size_t used = 0;
    for (int i = 0; i < 90; i++)
        strcat(text,
               "X: 0123456789012345678901234567890123456789012345678901234567890123456789\r\n");
    strcat(text, "\r\n");
    http1_init(&m, HTTP1_SERVER);
    message_read(&m, text, &used);
    http1_next(&m);
    assert_null(m.text);
    assert_null(m.headers);
    http1_free(&m);
}

static void reads_as(const char *bytes, uint64_t body_max, const char *reading)
{
    struct http_trace t;
    size_t len = strlen(bytes);
    for (size_t cut = 0; cut <= len; cut++) {
        trace_read(&t, HTTP1_CLIENT, bytes, len, cut, SIZE_MAX, body_max);
        if (strcmp(t.text, reading) != 0)
            fail_msg("cut at %zu: \"%s\", not \"%s\"", cut, t.text, reading);
    }
}

static void responses_are_read_with_each_framing(void **state)
{
    (void)state;
    reads_as(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabHTTP/1.1 404\r\nContent-Length: 0\r\n\r\n",
        100, "200 [ab]; 404");
    reads_as("HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX: y\r\n\r\n", 100,
             "200 [ab]");
    reads_as("HTTP/1.0 200 fine\r\n\r\nabc", 100, "200 [abc] until close");
    reads_as("HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 304 Same\r\nContent-Length: 9\r\n\r\n", 100,
             "204; 304");
    reads_as("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n"
             "HTTP/1.1 201 Made\r\nContent-Length: 1\r\n\r\na",
             100, "201 [a]");
}

static void broken_responses_are_refused(void **state)
{
    (void)state;
    static const char *const broken[] = {
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n",
        "HTTP/1.1 600 OK\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "HTTP/1.1 200OK\r\n\r\n",
        "HTTP/1.1 200 O\x7fK\r\n\r\n",
        "HTTP/1.1 200 OK\n\n",
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 101 Switching\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
        "<html>\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++)
        reads_as(broken[i], 100, "!400");
    reads_as("HTTP/2.0 200 OK\r\n\r\n", 100, "!505");
    reads_as("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", 2, "200; !413");
    reads_as("HTTP/1.1 200 OK\r\n\r\nabc", 2, "200 [ab]; !413");
    reads_as("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", 100, "200 [ab] ...");
    char many[4096] = "";
    for (int i = 0; i <= HTTP1_INTERIM_MAX; i++)
        strcat(many, "HTTP/1.1 100 Continue\r\n\r\n");
    reads_as(many, 100, "!400");
}

static void a_response_to_head_has_no_body(void **state)
{
    (void)state;
    struct http1 m;
    size_t used = 0;
    http1_init(&m, HTTP1_CLIENT);
    http1_response_to_head(&m);
    assert_int_equal(message_read(&m, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", &used), 0);
    assert_true(http1_head(&m)->content_length == 9);
    assert_true(http1_head(&m)->keep_alive);
    http1_free(&m);
}

static void dates_and_names_are_those_of_the_standard(void **state)
{
    (void)state;
    char date[HTTP_DATE_LEN + 1];
    http_date(784111777, date);
    assert_string_equal(date, "Sun, 06 Nov 1994 08:49:37 GMT");
    http_date(951782400, date);
    assert_string_equal(date, "Tue, 29 Feb 2000 00:00:00 GMT");
    assert_string_equal(http_status_text(431), "Request Header Fields Too Large");
    assert_string_equal(http_status_text(299), "Status");
    enum http_method method = HTTP_GET;
    for (int i = 0; i < HTTP_METHOD_COUNT; i++) {
        const char *name = http_method_name((enum http_method)i);
        assert_true(http_method_find(name, strlen(name), &method));
        assert_int_equal(method, i);
    }
    assert_false(http_method_find("GE", 2, &method));
    assert_false(http_method_find("get", 3, &method));
}

static void list_members_are_found_whole_and_in_any_case(void **state)
{
    (void)state;
    static const char list[] = "a, Keep-Alive ,\tclose";
    assert_true(http_list_has(list, strlen(list), "keep-alive"));
    assert_true(http_list_has(list, strlen(list), "close"));
    assert_false(http_list_has(list, strlen(list), "clos"));
    assert_false(http_list_has(list, strlen(list), "alive"));
    assert_false(http_list_has("", 0, "close"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_has_its_parts_as_strings),
        cmocka_unit_test(a_target_without_a_question_mark_has_no_query),
        cmocka_unit_test(requests_that_follow_each_other_are_read_one_by_one),
        cmocka_unit_test(an_expectation_is_told_before_the_body_unless_it_is_too_large),
        cmocka_unit_test(a_body_limit_holds_for_one_request),
        cmocka_unit_test(usual_requests_need_no_memory_beyond_the_first),
        cmocka_unit_test(a_large_head_does_not_hold_its_memory),
        cmocka_unit_test(responses_are_read_with_each_framing),
        cmocka_unit_test(broken_responses_are_refused),
        cmocka_unit_test(a_response_to_head_has_no_body),
        cmocka_unit_test(dates_and_names_are_those_of_the_standard),
        cmocka_unit_test(list_members_are_found_whole_and_in_any_case),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
