/* The log: one JSON object a line whatever a guest writes, its levels and those who follow it. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/log.h"

#include <cjson/cJSON.h>
#include <string.h>

struct heard {
    uint32_t lines;
    char last[LOG_LINE_MAX + 1];
};

static void line_note(void *context, const char *text, size_t len)
{
    struct heard *h = context;
    assert_true(len <= LOG_LINE_MAX);
    assert_null(memchr(text, '\n', len));
    memcpy(h->last, text, len);
    h->last[len] = 0;
    h->lines++;
}

static const char *member(const cJSON *o, const char *name)
{
    const cJSON *m = cJSON_GetObjectItemCaseSensitive(o, name);
    return cJSON_IsString(m) ? m->valuestring : "";
}

static void whatever_a_guest_writes_is_one_line_of_json(void **state)
{
    (void)state;
    struct heard h = {0};
    struct log_about about = {.call = 0x17, .tenant = "acme", .function = "f"};
    struct log_follower *follower = log_follow(NULL, NULL, 0, line_note, &h);
    uint8_t bytes[256];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)i;
    static const char injected[] = "x\",\"level\":\"error\"}\n{\"a\":\"";
    log_guest(LOG_INFO, &about, injected, sizeof injected - 1);
    cJSON *o = cJSON_Parse(h.last);
    assert_non_null(o);
    assert_string_equal(member(o, "msg"), injected);
    assert_string_equal(member(o, "level"), "info");
    assert_string_equal(member(o, "tenant"), "acme");
    assert_true(cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(o, "guest")));
    cJSON_Delete(o);
    for (size_t begin = 0; begin < sizeof bytes; begin++) {
        log_guest(LOG_INFO, &about, bytes + begin, sizeof bytes - begin);
        o = cJSON_Parse(h.last);
        assert_non_null(o);
        cJSON_Delete(o);
    }
    assert_int_equal(h.lines, 257);
    log_unfollow(follower);
    log_guest(LOG_INFO, &about, "unheard", 7);
    assert_int_equal(h.lines, 257);
}

static void a_long_line_is_cut_and_still_whole_json(void **state)
{
    (void)state;
    static char text[3 * LOG_GUEST_MAX];
    struct heard h = {0};
    struct log_about about = {.tenant = "acme", .function = "f"};
    struct log_follower *follower = log_follow(NULL, NULL, 0, line_note, &h);
    static const char fillers[] = {'x', '"', '\n', 1, (char)0xff};
    for (size_t i = 0; i < sizeof fillers; i++) {
        memset(text, fillers[i], sizeof text);
        log_guest(LOG_INFO, &about, text, sizeof text);
        cJSON *o = cJSON_Parse(h.last);
        assert_non_null(o);
        cJSON_Delete(o);
    }
    assert_int_equal(h.lines, sizeof fillers);
    log_unfollow(follower);
}

static void a_follower_hears_only_what_it_asked_for(void **state)
{
    (void)state;
    struct heard acme = {0}, f = {0}, all = {0}, back = {0};
    struct log_about of[] = {{.tenant = "acme", .function = "f"},
                             {.tenant = "acme", .function = "g"},
                             {.tenant = "bob", .function = "f"}};
    struct log_follower *one = log_follow("acme", NULL, 0, line_note, &acme),
                        *two = log_follow("acme", "f", 0, line_note, &f),
                        *three = log_follow(NULL, NULL, 0, line_note, &all);
    for (size_t i = 0; i < 3; i++)
        log_guest(LOG_INFO, &of[i], "a line", 6);
    log_write(LOG_INFO, "node", NULL, "of nobody");
    log_write(LOG_DEBUG, "node", NULL, "below the level");
    assert_int_equal(acme.lines, 2);
    assert_int_equal(f.lines, 1);
    assert_int_equal(all.lines, 4);
    struct log_follower *four = log_follow("bob", NULL, 10, line_note, &back);
    assert_int_equal(back.lines, 1);
    log_unfollow(one);
    log_unfollow(two);
    log_unfollow(three);
    log_unfollow(four);
}

static void followers_are_bounded(void **state)
{
    (void)state;
    struct log_follower *list[LOG_FOLLOWERS];
    struct heard h = {0};
    for (uint32_t i = 0; i < LOG_FOLLOWERS; i++)
        assert_non_null(list[i] = log_follow(NULL, NULL, 0, line_note, &h));
    assert_null(log_follow(NULL, NULL, 0, line_note, &h));
    log_write(LOG_INFO, "node", NULL, "to all");
    assert_int_equal(h.lines, LOG_FOLLOWERS);
    for (uint32_t i = 0; i < LOG_FOLLOWERS; i++)
        log_unfollow(list[i]);
    log_unfollow(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_a_guest_writes_is_one_line_of_json),
        cmocka_unit_test(a_long_line_is_cut_and_still_whole_json),
        cmocka_unit_test(a_follower_hears_only_what_it_asked_for),
        cmocka_unit_test(followers_are_bounded),
    };
    log_configure(LOG_INFO, true);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
