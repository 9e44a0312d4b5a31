/* How errors are worded and coded (src/base/error.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/error.h"

#include <errno.h>
#include <string.h>

static void every_code_has_a_name_for_either_sign(void **state)
{
    (void)state;
    assert_string_equal(atoll_error_name(-ATOLL_ECPU), "ATOLL_ECPU");
    assert_string_equal(atoll_error_name(ATOLL_ESIGNATURE), "ATOLL_ESIGNATURE");
    for (int code = ATOLL_OK; code <= ATOLL_EPATH; code++)
        assert_ptr_equal(strstr(atoll_error_name(code), "ATOLL_"), atoll_error_name(code));
    assert_string_equal(atoll_error_name(ATOLL_EPATH + 1), "unknown error");
    assert_string_equal(atoll_error_name(INT32_MIN), "unknown error");
}

static void an_error_keeps_its_place_in_the_input(void **state)
{
    (void)state;
    struct error e;
    assert_int_equal(error_set_at(&e, ATOLL_EMALFORMED, 77, 3, "bad byte 0x%02x", 0xab),
                     -ATOLL_EMALFORMED);
    assert_int_equal(error_prefix(&e, "cannot load %s", "a.wasm"), -ATOLL_EMALFORMED);
    assert_string_equal(e.text, "cannot load a.wasm: bad byte 0xab");
    assert_int_equal(e.offset, 77);
    assert_int_equal(e.function, 3);
    error_set(&e, ATOLL_EINVAL, "again: %s", e.text);
    assert_string_equal(e.text, "again: cannot load a.wasm: bad byte 0xab");
    assert_true(e.offset == ERROR_NOWHERE);
    assert_true(e.function == UINT32_MAX);
}

static void errno_becomes_a_code_unless_one_is_given(void **state)
{
    (void)state;
    struct error e;
    errno = ENOENT;
    assert_int_equal(error_set_errno(&e, 0, "cannot open %s", "x"), -ATOLL_ENOENT);
    assert_string_equal(e.text, "cannot open x: No such file or directory");
    errno = ENOENT;
    assert_int_equal(error_set_errno(&e, ATOLL_EUNAVAIL, "no"), -ATOLL_EUNAVAIL);
}

static void long_texts_are_cut_and_terminated(void **state)
{
    (void)state;
    struct error e;
    char word[2 * sizeof e.text];
    memset(word, 'a', sizeof word - 1);
    word[sizeof word - 1] = '\0';
    error_set(&e, ATOLL_EINVAL, "%s", word);
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
    error_prefix(&e, "%s", word);
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
    errno = EIO;
    error_set_errno(&e, 0, "%s", word);
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_a_name_for_either_sign),
        cmocka_unit_test(an_error_keeps_its_place_in_the_input),
        cmocka_unit_test(errno_becomes_a_code_unless_one_is_given),
        cmocka_unit_test(long_texts_are_cut_and_terminated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
