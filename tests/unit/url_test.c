/* URLs, paths and queries (src/net/url.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/url.h"

#include <stdlib.h>
#include <string.h>

static void absolute_urls_are_taken_apart(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host, *target, *authority;
        uint16_t port;
        bool tls;
    } cases[] = {
        {"http://localhost:8420/v1/fn/t/f?alias=a", "localhost", "/v1/fn/t/f?alias=a",
         "localhost:8420", 8420, false},
        {"https://Example.ORG", "example.org", "/", "example.org", 443, true},
        {"HTTPS://example.org:443?x=%41", "example.org", "/?x=%41", "example.org", 443, true},
        {"http://[::1]:80/", "::1", "/", "[::1]", 80, false},
        {"http://[fe80::1]:8080/a/../b", "fe80::1", "/a/../b", "[fe80::1]:8080", 8080, false},
        {"http://10.0.0.1:65535/", "10.0.0.1", "/", "10.0.0.1:65535", 65535, false},
    };
    struct url *u = malloc(sizeof *u);
    char authority[URL_AUTHORITY_MAX + 1];
    struct error e;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(url_parse(cases[i].text, u, &e), 0);
        assert_string_equal(u->host, cases[i].host);
        assert_string_equal(u->target, cases[i].target);
        assert_int_equal(u->port, cases[i].port);
        assert_int_equal(u->tls, cases[i].tls);
        url_authority(u, authority);
        assert_string_equal(authority, cases[i].authority);
    }
    free(u);
}

static void malformed_urls_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "localhost",
        "localhost:8420",
        "//host/",
        "ftp://host/",
        "http:/host/",
        "http:host",
        "http://",
        "http:///path",
        "http://:80/",
        "http://host:/",
        "http://host:0/",
        "http://host:65536/",
        "http://host:+80/",
        "http://host:8o/",
        "http://host:80:80/",
        "http://user@host/",
        "http://u:p@host/",
        "http://host/#x",
        "http://host#x",
        "http://ho st/",
        "http://host/a b",
        "http://host/\xc3\xa9",
        "http://h\xc3\xa9/",
        "http://host/%",
        "http://host/%4",
        "http://host/%zz",
        "http://host/%00",
        "http://[::1/",
        "http://[]/",
        "http://[::g]/",
        "http://[::1]x/",
        "http://[127.0.0.1]/",
        "http://::1/",
        "http://host/\r\nX:",
        "http://host\\@evil/",
        "http://host/a\"b",
        "http://host/<",
        "http://host/a|b",
        "http://ho%73t/",
        "https//host/",
        "http://host/\x7f",
        "http://[::1%eth0]/",
        "http://host:080000/",
    };
    struct url *u = malloc(sizeof *u);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct error e = {0};
        if (url_parse(bad[i], u, &e) != -ATOLL_EINVAL)
            fail_msg("\"%s\" is taken for a URL", bad[i]);
        assert_true(strlen(e.text) > 10);
    }
    char *longer = malloc(URL_TARGET_MAX + 100);
    struct error e;
    memset(longer, 'a', URL_TARGET_MAX + 100);
    memcpy(longer, "http://h/", 9);
    longer[8 + URL_TARGET_MAX] = 0;
    assert_int_equal(url_parse(longer, u, &e), 0);
    longer[8 + URL_TARGET_MAX] = 'a';
    longer[9 + URL_TARGET_MAX] = 0;
    assert_int_equal(url_parse(longer, u, &e), -ATOLL_EINVAL);
    longer[7 + URL_HOST_MAX] = '/';
    longer[8] = 'a';
    longer[8 + URL_HOST_MAX] = 0;
    assert_int_equal(url_parse(longer, u, &e), 0);
    longer[7 + URL_HOST_MAX] = 'a';
    assert_int_equal(url_parse(longer, u, &e), -ATOLL_EINVAL);
    free(longer);
    free(u);
}

static void any_bytes_but_nul_survive_encoding_and_decoding(void **state)
{
    (void)state;
    char key[255], encoded[3 * sizeof key + 1], decoded[sizeof key + 1];
    struct error e;
    for (int i = 0; i < 255; i++)
        key[i] = (char)(i + 1);
    for (int slash = 0; slash < 2; slash++) {
        int len = url_encode(key, sizeof key, slash, encoded, sizeof encoded, &e);
        assert_true(len > 0);
        assert_int_equal(strlen(encoded), len);
        assert_int_equal(strchr(encoded, '/') != NULL, slash);
        assert_int_equal(url_decode(encoded, (size_t)len, false, decoded, sizeof decoded, &e), 255);
        assert_memory_equal(decoded, key, sizeof key);
        assert_int_equal(url_encode(key, sizeof key, slash, encoded, (size_t)len, &e),
                         -ATOLL_ESIZE);
        assert_int_equal(url_decode(encoded, (size_t)len, false, decoded, sizeof key, &e),
                         -ATOLL_ESIZE);
    }
    assert_int_equal(url_encode("", 0, false, encoded, 1, &e), 0);
    assert_int_equal(url_encode("", 0, false, encoded, 0, &e), -ATOLL_ESIZE);
}

static void broken_escapes_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"%",    "a%",  "%4",    "%4g", "%g4",
                                      "%%41", "%00", "a%00b", "%-1", "% 1"};
    char out[16];
    struct error e;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(url_decode(bad[i], strlen(bad[i]), false, out, sizeof out, &e),
                         -ATOLL_EINVAL);
    /* Text behind the given length is not looked at. */
    assert_int_equal(url_decode("%41", 2, false, out, sizeof out, &e), -ATOLL_EINVAL);
    assert_int_equal(url_decode("a\0b", 3, false, out, sizeof out, &e), -ATOLL_EINVAL);
    assert_int_equal(url_decode("%2B+", 4, true, out, sizeof out, &e), 2);
    assert_string_equal(out, "+ ");
    assert_int_equal(url_decode("%2b+", 4, false, out, sizeof out, &e), 2);
    assert_string_equal(out, "++");
}

static void a_path_is_walked_segment_by_segment(void **state)
{
    (void)state;
    const char *at = "/v1/state/te%6Eant/a%2Fb//c%20d/";
    char out[32];
    struct error e;
    assert_int_equal(url_path_next(&at, out, sizeof out, &e), 2);
    assert_string_equal(out, "v1");
    assert_int_equal(url_path_next(&at, out, sizeof out, &e), 5);
    assert_int_equal(url_path_next(&at, out, sizeof out, &e), 6);
    assert_string_equal(out, "tenant");
    assert_int_equal(url_path_rest(at, out, sizeof out, &e), 9);
    assert_string_equal(out, "a/b//c d/");
    assert_int_equal(url_path_next(&at, out, sizeof out, &e), 3);
    assert_string_equal(out, "a/b");
    assert_int_equal(url_path_next(&at, out, sizeof out, &e), -ATOLL_EINVAL);
    at = "/v1";
    assert_int_equal(url_path_next(&at, out, 2, &e), -ATOLL_ESIZE);
    assert_int_equal(url_path_next(&at, out, 3, &e), 2);
    assert_int_equal(url_path_next(&at, out, sizeof out, &e), -ATOLL_ENOENT);
    assert_int_equal(url_path_rest(at, out, sizeof out, &e), -ATOLL_ENOENT);
    assert_int_equal(url_path_rest("/", out, sizeof out, &e), -ATOLL_ENOENT);
    at = "*";
    assert_int_equal(url_path_next(&at, out, sizeof out, &e), -ATOLL_EINVAL);
}

static void dot_segments_are_refused_in_every_spelling(void **state)
{
    (void)state;
    static const char *const bad[] = {"/.",    "/..",   "/%2e",   "/%2E%2e",     "/.%2E",  "/%2e.",
                                      "/a/..", "/../a", "/a/./b", "/a/%2e%2E/b", "/a/.%2e"};
    static const char *const good[] = {"/...",       "/.a",  "/a.",     "/..%2Fx",
                                       "/%2e%2e%2f", "/..a", "/a%2F..", "/%2e%2e%2e"};
    char out[32];
    struct error e;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *at = bad[i];
        int result;
        while ((result = url_path_next(&at, out, sizeof out, &e)) >= 0)
            ;
        assert_int_equal(result, -ATOLL_EINVAL);
        assert_int_equal(url_path_rest(bad[i], out, sizeof out, &e), -ATOLL_EINVAL);
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        const char *at = good[i];
        assert_true(url_path_next(&at, out, sizeof out, &e) > 0);
        assert_true(url_path_rest(good[i], out, sizeof out, &e) > 0);
    }
}

static void query_parameters_are_found_once(void **state)
{
    (void)state;
    static const char query[] = "prefix=a%2Fb+c&wait=10s&flag&empty=&n%61me=1&eq=a=b";
    char out[32];
    struct error e;
    assert_int_equal(url_query_value(query, "prefix", out, sizeof out, &e), 5);
    assert_string_equal(out, "a/b c");
    assert_int_equal(url_query_value(query, "wait", out, sizeof out, &e), 3);
    assert_int_equal(url_query_value(query, "flag", out, sizeof out, &e), 0);
    assert_int_equal(url_query_value(query, "empty", out, sizeof out, &e), 0);
    assert_int_equal(url_query_value(query, "name", out, sizeof out, &e), 1);
    assert_int_equal(url_query_value(query, "eq", out, sizeof out, &e), 3);
    assert_string_equal(out, "a=b");
    assert_int_equal(url_query_value(query, "pre", out, sizeof out, &e), -ATOLL_ENOENT);
    assert_int_equal(url_query_value(NULL, "a", out, sizeof out, &e), -ATOLL_ENOENT);
    assert_int_equal(url_query_value("", "a", out, sizeof out, &e), -ATOLL_ENOENT);
    assert_int_equal(url_query_value(query, "prefix", out, 5, &e), -ATOLL_ESIZE);
    static const char *const bad[] = {"a=1&a=2", "a=1&%61=2", "a=%00",  "a=%",       "a=1&",
                                      "&a=1",    "a=1&&b=2",  "=1&a=1", "b%zz=1&a=1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(url_query_value(bad[i], "a", out, sizeof out, &e), -ATOLL_EINVAL);
    char many[4 * (URL_PARAMETERS_MAX + 1) + 1] = "";
    for (int i = 0; i < URL_PARAMETERS_MAX; i++)
        strcat(many, i ? "&b=1" : "b=1");
    assert_int_equal(url_query_value(many, "a", out, sizeof out, &e), -ATOLL_ENOENT);
    strcat(many, "&b=1");
    assert_int_equal(url_query_value(many, "a", out, sizeof out, &e), -ATOLL_ELIMIT);
}

static void an_unknown_parameter_is_named(void **state)
{
    (void)state;
    static const char *const known[] = {"alias", "version", NULL};
    char out[32];
    struct error e;
    assert_int_equal(url_query_unknown("alias=a&versoin=2", known, out, sizeof out, &e), 7);
    assert_string_equal(out, "versoin");
    assert_int_equal(url_query_unknown("version=2&alias", known, out, sizeof out, &e),
                     -ATOLL_ENOENT);
    assert_int_equal(url_query_unknown(NULL, known, out, sizeof out, &e), -ATOLL_ENOENT);
}

static void only_loopback_hosts_count_as_loopback(void **state)
{
    (void)state;
    static const char *const good[] = {"localhost",        "LocalHost:8420", "127.0.0.1",
                                       "127.8.9.1:1",      "[::1]",          "[::1]:8420",
                                       "[0:0:0:0:0:0:0:1]"};
    static const char *const bad[] = {"",
                                      "localhost.evil.org",
                                      "evil.org",
                                      "127.0.0.1.evil.org",
                                      "128.0.0.1",
                                      "[::2]",
                                      "[::1",
                                      "[::1]x",
                                      "localhost:",
                                      "localhost:8x",
                                      "127.1",
                                      "0.0.0.0",
                                      "evil.org:127.0.0.1"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(url_host_loopback(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(url_host_loopback(bad[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(absolute_urls_are_taken_apart),
        cmocka_unit_test(malformed_urls_are_refused),
        cmocka_unit_test(any_bytes_but_nul_survive_encoding_and_decoding),
        cmocka_unit_test(broken_escapes_are_refused),
        cmocka_unit_test(a_path_is_walked_segment_by_segment),
        cmocka_unit_test(dot_segments_are_refused_in_every_spelling),
        cmocka_unit_test(query_parameters_are_found_once),
        cmocka_unit_test(an_unknown_parameter_is_named),
        cmocka_unit_test(only_loopback_hosts_count_as_loopback),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
