/* Writing HTTP/1.1 heads and problem documents (src/net/http_write.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/http_write.h"

#include <cjson/cJSON.h>
#include <stdlib.h>

static void writes(const struct http_response_head *head, const char *expected)
{
    struct buffer out = {0};
    struct error e = {0};
    assert_int_equal(http_response_write(&out, head, &e), 0);
    buffer_append(&out, "", 1);
    assert_string_equal((char *)out.data, expected);
    buffer_free(&out);
}

static void a_response_head_frames_its_body(void **state)
{
    (void)state;
    struct http_header type = http_header_text("Content-Type", "text/plain");
    struct http_response_head head = {.status = 200,
                                      .headers = &type,
                                      .header_count = 1,
                                      .length = 1234567890123,
                                      .minor = 1,
                                      .keep_alive = true,
                                      .date = "Sun, 06 Nov 1994 08:49:37 GMT"};
    writes(&head, "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                  "Content-Length: 1234567890123\r\nContent-Type: text/plain\r\n\r\n");
    head = (struct http_response_head){.status = 404, .minor = 1};
    writes(&head, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    head = (struct http_response_head){
        .status = 200, .length = HTTP_LENGTH_UNKNOWN, .minor = 1, .keep_alive = true};
    writes(&head, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    head.minor = 0;
    head.keep_alive = false;
    writes(&head, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
    head = (struct http_response_head){.status = 200, .length = 1, .keep_alive = true};
    writes(&head, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\n");
    head = (struct http_response_head){.status = 204, .minor = 1, .keep_alive = true};
    writes(&head, "HTTP/1.1 204 No Content\r\n\r\n");
    head.status = 304;
    writes(&head, "HTTP/1.1 304 Not Modified\r\n\r\n");
}

static void fields_of_the_connection_are_dropped(void **state)
{
    (void)state;
    const struct http_header fields[] = {
        http_header_text("Connection", "X-Own"),
        http_header_text("KEEP-ALIVE", "1"),
        http_header_text("transfer-encoding", "gzip"),
        http_header_text("Content-Length", "7"),
        http_header_text("Upgrade", "h2c"),
        http_header_text("TE", "trailers"),
        http_header_text("Trailer", "X"),
        http_header_text("Proxy-Connection", "x"),
        http_header_text("Proxy-Authenticate", "x"),
        http_header_text("Date", "yesterday"),
        http_header_text("Proxy-Authorization", "x"),
        http_header_text("X-Own", "1"),
    };
    struct http_response_head head = {.status = 200,
                                      .headers = fields,
                                      .header_count = sizeof fields / sizeof *fields,
                                      .minor = 1,
                                      .keep_alive = true};
    writes(&head, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Own: 1\r\n\r\n");
}

static void a_field_that_could_split_a_response_is_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"", "X Y", "X:", "X\r\nY", "X\n", "\xc3\xa9", "X\t", "(X)"};
    static const char *const values[] = {
        "a\r\nSet-Cookie: b", "a\nb", "a\rb", "\x7f", "\x01", "\v"};
    struct buffer out = {0};
    struct error e;
    buffer_append(&out, "before", 6);
    for (size_t i = 0; i < sizeof names / sizeof *names + sizeof values / sizeof *values; i++) {
        size_t count = sizeof names / sizeof *names;
        const struct http_header fields[] = {http_header_text("X-Good", "1"),
                                             i < count ? http_header_text(names[i], "a")
                                                       : http_header_text("X", values[i - count])};
        struct http_response_head head = {
            .status = 200, .headers = fields, .header_count = 2, .minor = 1};
        assert_int_equal(http_response_write(&out, &head, &e), -ATOLL_EINVAL);
        assert_int_equal(out.len, 6);
        struct http_request_head request = {
            .target = "/", .host = "a", .headers = fields, .header_count = 2};
        assert_int_equal(http_request_write(&out, &request, &e), -ATOLL_EINVAL);
        assert_int_equal(out.len, 6);
    }
    struct http_header nul = {"X", "a\0b", 1, 3};
    struct http_response_head head = {.status = 200, .headers = &nul, .header_count = 1};
    assert_int_equal(http_response_write(&out, &head, &e), -ATOLL_EINVAL);
    buffer_free(&out);
}

static void statuses_and_sizes_have_bounds(void **state)
{
    (void)state;
    struct buffer out = {0};
    struct error e;
    static const unsigned statuses[] = {0, 100, 199, 600, 1000};
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        struct http_response_head head = {.status = statuses[i]};
        assert_int_equal(http_response_write(&out, &head, &e), -ATOLL_EINVAL);
    }
    static struct http_header many[HTTP_WRITE_HEADERS_MAX + 1];
    for (size_t i = 0; i <= HTTP_WRITE_HEADERS_MAX; i++)
        many[i] = http_header_text("X", "y");
    struct http_response_head head = {
        .status = 200, .headers = many, .header_count = HTTP_WRITE_HEADERS_MAX};
    assert_int_equal(http_response_write(&out, &head, &e), 0);
    head.header_count++;
    assert_int_equal(http_response_write(&out, &head, &e), -ATOLL_ELIMIT);
    static char value[HTTP_WRITE_HEAD_BYTES];
    memset(value, 'a', sizeof value);
    many[0] = (struct http_header){"X", value, 1, sizeof value};
    head.header_count = 1;
    assert_int_equal(http_response_write(&out, &head, &e), -ATOLL_ELIMIT);
    buffer_free(&out);
}

static void a_request_head_names_host_and_length(void **state)
{
    (void)state;
    struct buffer out = {0};
    struct error e;
    struct http_header token = http_header_text("Authorization", "Bearer x");
    struct http_request_head head = {.method = HTTP_POST,
                                     .target = "/v1/fn/t/f?alias=a",
                                     .host = "[::1]:8420",
                                     .headers = &token,
                                     .header_count = 1,
                                     .keep_alive = true};
    assert_int_equal(http_request_write(&out, &head, &e), 0);
    head = (struct http_request_head){.method = HTTP_GET, .target = "/", .host = "a"};
    assert_int_equal(http_request_write(&out, &head, &e), 0);
    buffer_append(&out, "", 1);
    assert_string_equal((char *)out.data, "POST /v1/fn/t/f?alias=a HTTP/1.1\r\nHost: [::1]:8420\r\n"
                                          "Content-Length: 0\r\nAuthorization: Bearer x\r\n\r\n"
                                          "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    static const char *const targets[] = {"", "/a b", "/\r\nX: y", "/\xc3\xa9", "/\x7f"};
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        head.target = targets[i];
        assert_int_equal(http_request_write(&out, &head, &e), -ATOLL_EINVAL);
    }
    head.target = "/";
    head.host = "a\r\nX: y";
    assert_int_equal(http_request_write(&out, &head, &e), -ATOLL_EINVAL);
    struct http_header host = http_header_text("hOST", "b");
    head =
        (struct http_request_head){.target = "/", .host = "a", .headers = &host, .header_count = 1};
    assert_int_equal(http_request_write(&out, &head, &e), -ATOLL_EINVAL);
    buffer_free(&out);
}

static void chunk_sizes_are_hexadecimal(void **state)
{
    (void)state;
    static const struct {
        uint64_t len;
        const char *text;
    } cases[] = {{1, "1\r\n"},
                 {15, "f\r\n"},
                 {16, "10\r\n"},
                 {0xabcdef, "abcdef\r\n"},
                 {UINT64_MAX, "ffffffffffffffff\r\n"}};
    char out[HTTP_CHUNK_HEAD_MAX];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(http_chunk_head(cases[i].len, out), strlen(cases[i].text));
        assert_memory_equal(out, cases[i].text, strlen(cases[i].text));
    }
}

static void a_problem_is_valid_json_whatever_bytes_it_tells_of(void **state)
{
    (void)state;
    struct buffer out = {0};
    struct http_problem p = {.status = 502,
                             .title = "a \"title\"\\",
                             .detail = "line\nfeed \x01\x1f\t\r tab, \xc3\xa9 kept, "
                                       "\xff\xc0\xaf\xed\xa0\x80\xf5 \xe2\x82",
                             .call = "c-1"};
    assert_true(http_problem_write(&out, &p));
    cJSON *read = cJSON_ParseWithLength((char *)out.data, out.len);
    assert_non_null(read);
    assert_string_equal(cJSON_GetObjectItem(read, "type")->valuestring, "about:blank");
    assert_string_equal(cJSON_GetObjectItem(read, "title")->valuestring, "a \"title\"\\");
    assert_int_equal(cJSON_GetObjectItem(read, "status")->valueint, 502);
    assert_string_equal(cJSON_GetObjectItem(read, "call")->valuestring, "c-1");
#define GONE "\xef\xbf\xbd"
    assert_string_equal(
        cJSON_GetObjectItem(read, "detail")->valuestring,
        "line\nfeed \x01\x1f\t\r tab, \xc3\xa9 kept, " GONE GONE GONE GONE GONE GONE GONE
        " " GONE GONE);
    cJSON_Delete(read);
    out.len = 0;
    p = (struct http_problem){.status = 404};
    assert_true(http_problem_write(&out, &p));
    buffer_append(&out, "", 1);
    assert_string_equal((char *)out.data,
                        "{\"type\":\"about:blank\",\"title\":\"Not Found\",\"status\":404}\n");
    buffer_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_response_head_frames_its_body),
        cmocka_unit_test(fields_of_the_connection_are_dropped),
        cmocka_unit_test(a_field_that_could_split_a_response_is_refused),
        cmocka_unit_test(statuses_and_sizes_have_bounds),
        cmocka_unit_test(a_request_head_names_host_and_length),
        cmocka_unit_test(chunk_sizes_are_hexadecimal),
        cmocka_unit_test(a_problem_is_valid_json_whatever_bytes_it_tells_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
