/* The command line parser (src/cli/options.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/options.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct command command = {.name = "test", .usage = "...", .description = "Tests."};
static const char *const colours[] = {"red", "green", NULL};

struct values {
    bool flag;
    const char *text;
    struct text_list list, operands;
    uint64_t count, size;
    int64_t time;
    int colour;
};

static char said[4096]; /* what the last parse printed */

/* Parses a command line, given as words, into fresh values. */
static enum options_outcome parse(struct values *v, size_t least, size_t most, int argc,
                                  const char **words)
{
    free(v->list.items);
    free(v->operands.items);
    *v = (struct values){.colour = 7};
    const struct option_spec options[] = {
        {"flag", 'f', OPTION_FLAG, NULL, "a flag", &v->flag, NULL},
        {"text", 0, OPTION_TEXT, "TEXT", "a text", &v->text, NULL},
        {NULL, 'I', OPTION_LIST, "DIR", "a list", &v->list, NULL},
        {"count", 0, OPTION_COUNT, "N", "a number", &v->count, NULL},
        {"size", 0, OPTION_SIZE, "SIZE", "a size", &v->size, NULL},
        {"time", 0, OPTION_DURATION, "TIME", "a time", &v->time, NULL},
        {"colour", 0, OPTION_CHOICE, NULL, "a colour", &v->colour, colours},
    };
    char *argv[16] = {(char[]){"test"}};
    for (int i = 0; i < argc; i++)
        memcpy(&argv[i + 1], &words[i], sizeof argv[0]);
    FILE *capture = tmpfile();
    fflush(stdout);
    int out = dup(1), err = dup(2);
    dup2(fileno(capture), 1);
    dup2(fileno(capture), 2);
    enum options_outcome outcome =
        options_parse(&command, options, 7, argc + 1, argv, least, most, &v->operands);
    fflush(stdout);
    dup2(out, 1);
    dup2(err, 2);
    close(out);
    close(err);
    rewind(capture);
    said[fread(said, 1, sizeof said - 1, capture)] = '\0';
    fclose(capture);
    return outcome;
}

#define PARSE(v, least, most, ...)                                                       \
    parse(v, least, most, (int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)), \
          (const char *[]){__VA_ARGS__})

static void values_free(struct values *v)
{
    free(v->list.items);
    free(v->operands.items);
}

static void every_way_of_writing_a_value_is_read(void **state)
{
    (void)state;
    struct values v = {0};
    assert_int_equal(PARSE(&v, 0, 9, "--text=a b", "--count", "12", "-Ione", "-I", "two", "-f",
                           "--colour", "green", "--size=64K", "--time", "1.5s"),
                     OPTIONS_GO);
    assert_string_equal(v.text, "a b");
    assert_int_equal(v.count, 12);
    assert_int_equal(v.list.count, 2);
    assert_string_equal(v.list.items[1], "two");
    assert_true(v.flag);
    assert_int_equal(v.colour, 1);
    assert_int_equal(v.size, 65536);
    assert_int_equal(v.time, 1500000000);
    values_free(&v);
}

static void options_and_operands_mix_until_two_dashes(void **state)
{
    (void)state;
    struct values v = {0};
    assert_int_equal(PARSE(&v, 1, 9, "a", "--flag", "-", "--", "--flag", "--", "-x"), OPTIONS_GO);
    assert_int_equal(v.operands.count, 5);
    assert_string_equal(v.operands.items[1], "-");
    assert_string_equal(v.operands.items[2], "--flag");
    assert_string_equal(v.operands.items[4], "-x");
    values_free(&v);
}

static void an_unknown_option_is_refused_with_the_nearest_one(void **state)
{
    (void)state;
    struct values v = {0};
    assert_int_equal(PARSE(&v, 0, 9, "--cuont", "1"), OPTIONS_BAD);
    assert_non_null(strstr(said, "did you mean --count?"));
    assert_int_equal(PARSE(&v, 0, 9, "--elephant"), OPTIONS_BAD);
    assert_null(strstr(said, "did you mean"));
    assert_int_equal(PARSE(&v, 0, 9, "-z"), OPTIONS_BAD);
    assert_int_equal(PARSE(&v, 0, 9, "-fx"), OPTIONS_BAD);
    values_free(&v);
}

static void malformed_repeated_and_missing_values_are_refused(void **state)
{
    (void)state;
    struct values v = {0};
    assert_int_equal(PARSE(&v, 0, 9, "--count", "12x"), OPTIONS_BAD);
    assert_non_null(strstr(said, "--count takes a whole number, not \"12x\""));
    assert_int_equal(PARSE(&v, 0, 9, "--count", "18446744073709551616"), OPTIONS_BAD);
    assert_int_equal(PARSE(&v, 0, 9, "--count="), OPTIONS_BAD);
    assert_int_equal(PARSE(&v, 0, 9, "--count"), OPTIONS_BAD);
    assert_int_equal(PARSE(&v, 0, 9, "-I"), OPTIONS_BAD);
    assert_int_equal(PARSE(&v, 0, 9, "--flag=yes"), OPTIONS_BAD);
    assert_int_equal(PARSE(&v, 0, 9, "--count", "1", "--count", "2"), OPTIONS_BAD);
    assert_int_equal(PARSE(&v, 0, 9, "--colour", "blue"), OPTIONS_BAD);
    assert_non_null(strstr(said, "red green"));
    values_free(&v);
}

static void too_few_and_too_many_operands_are_refused(void **state)
{
    (void)state;
    struct values v = {0};
    assert_int_equal(PARSE(&v, 1, 1, "--flag"), OPTIONS_BAD);
    assert_int_equal(PARSE(&v, 1, 1, "a", "b"), OPTIONS_BAD);
    assert_non_null(strstr(said, "\"b\""));
    values_free(&v);
}

static void help_names_every_option(void **state)
{
    (void)state;
    struct values v = {0};
    assert_int_equal(PARSE(&v, 1, 1, "--help"), OPTIONS_HELP);
    assert_int_equal(PARSE(&v, 1, 1, "-h"), OPTIONS_HELP);
    static const char *const all[] = {"-f, --flag",  "--text TEXT", "-I DIR",   "--count N",
                                      "--size SIZE", "--time TIME", "red|green"};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        assert_non_null(strstr(said, all[i]));
    values_free(&v);
}

static void sizes_and_durations_are_strict(void **state)
{
    (void)state;
    uint64_t size;
    int64_t ns;
    assert_true(text_parse_size("2GiB", &size));
    assert_int_equal(size, UINT64_C(2) << 30);
    assert_true(text_parse_size("17", &size));
    assert_int_equal(size, 17);
    assert_false(text_parse_size("", &size));
    assert_false(text_parse_size("M", &size));
    assert_false(text_parse_size("-1", &size));
    assert_false(text_parse_size("1 M", &size));
    assert_false(text_parse_size("17179869184G", &size));
    assert_true(text_parse_duration("250ms", &ns));
    assert_int_equal(ns, 250000000);
    assert_true(text_parse_duration("2m", &ns));
    assert_int_equal(ns, INT64_C(120000000000));
    assert_false(text_parse_duration("", &ns));
    assert_false(text_parse_duration("1e3", &ns));
    assert_false(text_parse_duration("0x10", &ns));
    assert_false(text_parse_duration("1.2.3", &ns));
    assert_false(text_parse_duration("-1", &ns));
    assert_false(text_parse_duration("99999999999h", &ns));
}

static void distance_counts_single_changes(void **state)
{
    (void)state;
    assert_int_equal(text_distance("run", "run"), 0);
    assert_int_equal(text_distance("rnu", "run"), 1);
    assert_int_equal(text_distance("bulid", "build"), 1);
    assert_int_equal(text_distance("", "abc"), 3);
    assert_int_equal(text_distance("kitten", "sitting"), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_way_of_writing_a_value_is_read),
        cmocka_unit_test(options_and_operands_mix_until_two_dashes),
        cmocka_unit_test(an_unknown_option_is_refused_with_the_nearest_one),
        cmocka_unit_test(malformed_repeated_and_missing_values_are_refused),
        cmocka_unit_test(too_few_and_too_many_operands_are_refused),
        cmocka_unit_test(help_names_every_option),
        cmocka_unit_test(sizes_and_durations_are_strict),
        cmocka_unit_test(distance_counts_single_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
