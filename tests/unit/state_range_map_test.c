/* Maps from offsets to tags, against an array of one tag per byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "atoll/errors.h"
#include "state/range_map.h"

#include <cmocka.h>
#include <string.h>

#define BYTES 200

static uint64_t random_state;

static uint64_t below(uint64_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % n;
}

static void map_equals(const struct range_map *m, const uint32_t *tags)
{
    uint64_t until;
    for (uint64_t i = 0; i < BYTES; i++) {
        assert_int_equal(range_map_at(m, i, &until), tags[i]);
        assert_true(until > i);
        if (until < BYTES)
            assert_int_not_equal(tags[until], tags[i]);
    }
    for (uint32_t i = 0; i < m->count; i++) {
        const struct tagged_range *r = &m->ranges[i];
        assert_true(r->start < r->end && r->tag);
        if (i) /* apart, or touching with another tag */
            assert_true(r[-1].end < r->start || (r[-1].end == r->start && r[-1].tag != r->tag));
    }
}

static void a_map_is_what_an_array_of_tags_would_be(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct range_map m = {.limit = 1000};
        uint32_t tags[BYTES] = {0};
        random_state = seed;
        for (int n = 0; n < 400; n++) {
            uint64_t start = below(BYTES), end = start + below(BYTES - start + 1);
            uint32_t tag = (uint32_t)below(4);
            assert_int_equal(range_map_set(&m, start, end, tag), 0);
            for (uint64_t i = start; i < end; i++)
                tags[i] = tag;
            map_equals(&m, tags);
            uint64_t a = below(BYTES), b = a + below(BYTES - a);
            bool touches = false;
            for (uint64_t i = a; i < b; i++)
                touches |= tags[i] != 0;
            assert_int_equal(range_map_touches(&m, a, b), touches);
        }
        range_map_free(&m);
    }
}

static void a_full_map_takes_what_makes_it_no_longer_and_nothing_else(void **state)
{
    (void)state;
    struct range_map m = {.limit = 4};
    for (uint64_t i = 0; i < 4; i++)
        assert_int_equal(range_map_set(&m, 10 * i, 10 * i + 5, 1), 0);
    assert_int_equal(range_map_set(&m, 100, 101, 1), -ATOLL_ELIMIT);
    assert_int_equal(range_map_set(&m, 2, 3, 0), -ATOLL_ELIMIT); /* would be two */
    assert_int_equal(m.count, 4);
    assert_int_equal(range_map_set(&m, 5, 10, 1), 0);
    assert_int_equal(m.count, 3);
    assert_int_equal(range_map_set(&m, 0, 1, 0), 0);
    assert_int_equal(range_map_set(&m, 0, UINT64_MAX, 2), 0);
    assert_int_equal(m.count, 1);
    range_map_free(&m);
}

static void an_empty_range_changes_nothing(void **state)
{
    (void)state;
    struct range_map m = {.limit = 4};
    assert_int_equal(range_map_set(&m, 7, 7, 1), 0);
    assert_int_equal(m.count, 0);
    range_map_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_map_is_what_an_array_of_tags_would_be),
        cmocka_unit_test(a_full_map_takes_what_makes_it_no_longer_and_nothing_else),
        cmocka_unit_test(an_empty_range_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
