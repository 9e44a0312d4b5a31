/* The node's configuration, the addresses it listens at, ranges of bytes in requests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/file.h"
#include "node/config.h"
#include "node/gateway/listen.h"
#include "node/gateway/range.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *written(const char *text)
{
    static char path[64];
    strcpy(path, "/tmp/atoll-config-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    return path;
}

static void the_file_changes_what_it_names_and_nothing_else(void **state)
{
    (void)state;
    static struct node_config c;
    struct error e;
    config_default(&c);
    const char *path =
        written("listen: 0.0.0.0:80\nlimits: { input: 2MiB }\nlog: { level: error }\n"
                "auth: { required: always }\ndrain: 5s\n");
    assert_int_equal(config_read(path, true, &c, &e), 0);
    unlink(path);
    assert_string_equal(c.listen, "0.0.0.0:80");
    assert_true(c.input_bytes == 2u << 20 && c.log_level == 4 && c.drain_ns == 5000000000);
    assert_true(c.authentication == AUTHENTICATION_ALWAYS && c.module_bytes == 64u << 20);
}

static void unknown_settings_are_errors(void **state)
{
    (void)state;
    static struct node_config c;
    struct error e;
    config_default(&c);
    const char *path = written("limits: { inptu: 2MiB }\n");
    assert_int_equal(config_read(path, true, &c, &e), -ATOLL_EINVAL);
    unlink(path);
    assert_non_null(strstr(e.text, "line 1, column 18: unknown key \"inptu\""));
    assert_int_equal(config_set(&c, "limits.inptu", "1", &e), -ATOLL_EINVAL);
    assert_int_equal(config_read("/nonexistent/atoll.yaml", false, &c, &e), 0);
    assert_int_equal(config_read("/nonexistent/atoll.yaml", true, &c, &e), -ATOLL_ENOENT);
}

static void the_environment_and_options_set_the_same_things(void **state)
{
    (void)state;
    static struct node_config c;
    struct error e;
    config_default(&c);
    setenv("ATOLL_LIMITS_INPUT", "5KiB", 1);
    assert_int_equal(config_environment(&c, &e), 0);
    assert_int_equal(c.input_bytes, 5 << 10);
    setenv("ATOLL_LIMITS_INPUT", "much", 1);
    assert_int_equal(config_environment(&c, &e), -ATOLL_EINVAL);
    assert_non_null(strstr(e.text, "environment variable ATOLL_LIMITS_INPUT"));
    unsetenv("ATOLL_LIMITS_INPUT");
    assert_int_equal(config_set(&c, "limits.input", "6K", &e), 0);
    assert_int_equal(c.input_bytes, 6 << 10);
    assert_int_equal(config_set(&c, "limits.compile", "0", &e), -ATOLL_EINVAL);
    assert_int_equal(config_set(&c, "limits.compile", "90s", &e), 0);
    assert_int_equal(c.compile_ns, 90000000000);
    assert_int_equal(config_set(&c, "limits.queue", "17", &e), 0);
    assert_int_equal(c.queue_max, 17);
}

static void addresses_are_numeric_and_have_a_port(void **state)
{
    (void)state;
    struct listen_address a;
    struct error e;
    char url[300];
    assert_int_equal(listen_parse("127.0.0.1:7777", &a, &e), 0);
    assert_true(a.loopback && !a.ipv6 && a.port == 7777);
    assert_int_equal(listen_parse("[::1]:80", &a, &e), 0);
    assert_true(a.loopback && a.ipv6);
    listen_url(&a, 80, true, url, sizeof url);
    assert_string_equal(url, "https://[::1]:80");
    assert_int_equal(listen_parse(":0", &a, &e), 0);
    assert_false(a.loopback);
    listen_url(&a, 99, false, url, sizeof url);
    assert_string_equal(url, "http://127.0.0.1:99");
    assert_int_equal(listen_parse("8080", &a, &e), 0);
    assert_true(a.loopback && a.port == 8080);
    static const char *const bad[] = {
        "",      "localhost:80", "127.0.0.1",     "127.0.0.1:", "1.2.3:80",
        "[::1]", "[::g]:80",     "1.2.3.4:65536", "1.2.3.4:8x", "1.2.3.4:-1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(listen_parse(bad[i], &a, &e), -ATOLL_EINVAL);
}

static void ranges_are_read_as_the_standard_says(void **state)
{
    (void)state;
    uint64_t off, end;
    assert_int_equal(range_parse("bytes=0-0", 10, &off, &end), RANGE_GOOD);
    assert_true(off == 0 && end == 1);
    assert_int_equal(range_parse("bytes=5-", 10, &off, &end), RANGE_GOOD);
    assert_true(off == 5 && end == 10);
    assert_int_equal(range_parse("bytes=-3", 10, &off, &end), RANGE_GOOD);
    assert_true(off == 7 && end == 10);
    assert_int_equal(range_parse("bytes=-30", 10, &off, &end), RANGE_GOOD);
    assert_true(off == 0 && end == 10);
    assert_int_equal(range_parse("bytes=3-99", 10, &off, &end), RANGE_GOOD);
    assert_true(off == 3 && end == 10);
    assert_int_equal(range_parse("bytes=3-18446744073709551615", 10, &off, &end), RANGE_GOOD);
    assert_true(end == 10);
    assert_int_equal(range_parse("bytes=10-", 10, &off, &end), RANGE_UNSATISFIABLE);
    assert_int_equal(range_parse("bytes=-0", 10, &off, &end), RANGE_UNSATISFIABLE);
    assert_int_equal(range_parse("bytes=0-", 0, &off, &end), RANGE_UNSATISFIABLE);
    static const char *const ignored[] = {
        "bytes=5-3", "bytes=0-1,3-4", "lines=0-1",
        "bytes=",    "bytes=a-b",     "bytes=18446744073709551616-"};
    for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++)
        assert_int_equal(range_parse(ignored[i], 10, &off, &end), RANGE_NONE);
    assert_true(content_range_parse("bytes 2-5/*", &off, &end) && off == 2 && end == 5);
    assert_true(content_range_parse("bytes 2-5/6", &off, &end));
    assert_false(content_range_parse("bytes 2-5/5", &off, &end));
    assert_false(content_range_parse("bytes 5-2/*", &off, &end));
    assert_false(content_range_parse("bytes 0-18446744073709551615/*", &off, &end));
}

struct names {
    char *text; /* the page */
    uint32_t found;
};

static void name_is_documented(void *context, const char *name)
{
    struct names *n = context;
    char row[128];
    snprintf(row, sizeof row, "\n| `%s` |", name);
    if (strstr(n->text, row) == NULL)
        fail_msg("docs/operations.md has no row for the setting %s", name);
    n->found++;
}

static void every_setting_is_documented_and_nothing_else(void **state)
{
    (void)state;
    struct buffer page = {0};
    struct error e;
    assert_int_equal(file_read(DOCUMENTS "/operations.md", 1 << 20, &page, &e), 0);
    assert_true(buffer_append(&page, "", 1));
    char *begin = strstr((char *)page.data, "\n## Settings\n"),
         *end = strstr((char *)page.data, "\n## Metrics\n");
    assert_true(begin && end && begin < end);
    *end = 0;
    struct names n = {.text = begin};
    config_names(name_is_documented, &n);
    uint32_t rows = 0;
    for (const char *at = begin; (at = strstr(at, "\n| `")) != NULL; at++)
        rows++;
    assert_int_equal(rows, n.found);
    buffer_free(&page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_file_changes_what_it_names_and_nothing_else),
        cmocka_unit_test(unknown_settings_are_errors),
        cmocka_unit_test(the_environment_and_options_set_the_same_things),
        cmocka_unit_test(addresses_are_numeric_and_have_a_port),
        cmocka_unit_test(ranges_are_read_as_the_standard_says),
        cmocka_unit_test(every_setting_is_documented_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
