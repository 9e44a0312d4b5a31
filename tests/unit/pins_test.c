/* What names of hosts have been found to mean (src/node/pins.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/pins.h"

#include <stdio.h>

static struct address address(uint32_t number)
{
    struct address a = {.family = 4};
    memcpy(a.bytes, &number, sizeof number);
    return a;
}

static void a_name_means_what_was_found_for_it_and_nothing_else(void **state)
{
    (void)state;
    struct pins *p = pins_create();
    struct address one = address(1), two = address(2);
    assert_false(pins_have(p, "db.internal", &one));
    pins_add(p, "db.internal", &one);
    assert_true(pins_have(p, "db.internal", &one));
    assert_true(pins_have(p, "DB.Internal", &one));
    assert_false(pins_have(p, "db.internal", &two));
    assert_false(pins_have(p, "db.interna", &one));
    assert_false(pins_have(p, "", &one));
    pins_add(p, "", &one);
    assert_false(pins_have(p, "", &one));
    pins_destroy(p);
}

static void a_name_that_is_none_is_not_kept(void **state)
{
    (void)state;
    char long_name[300];
    struct pins *p = pins_create();
    struct address one = address(1);
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = 0;
    pins_add(p, long_name, &one);
    assert_false(pins_have(p, long_name, &one));
    pins_destroy(p);
}

static void the_oldest_goes_when_there_are_too_many(void **state)
{
    (void)state;
    struct pins *p = pins_create();
    for (uint32_t k = 0; k < PINS_MAX; k++) {
        struct address a = address(k);
        pins_add(p, "many.example", &a);
    }
    struct address first = address(0), second = address(1), late = address(PINS_MAX);
    assert_true(pins_have(p, "many.example", &first));
    pins_add(p, "many.example", &first); /* new again */
    pins_add(p, "many.example", &late);
    assert_true(pins_have(p, "many.example", &first));
    assert_false(pins_have(p, "many.example", &second));
    assert_true(pins_have(p, "many.example", &late));
    pins_destroy(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_means_what_was_found_for_it_and_nothing_else),
        cmocka_unit_test(a_name_that_is_none_is_not_kept),
        cmocka_unit_test(the_oldest_goes_when_there_are_too_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
