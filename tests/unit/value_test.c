/* Arguments and results as people write them (src/cli/value.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/value.h"

#include <math.h>
#include <string.h>

static union host_slot slot;
static struct error failure;

static bool accepts(uint8_t type, const char *text)
{
    return value_parse(NULL, type, text, &slot, &failure) == 0;
}

static const char *printed(uint8_t type, union host_slot value)
{
    static char text[VALUE_TEXT_MAX];
    value_print(NULL, type, &value, text);
    return text;
}

static void integers_are_taken_signed_unsigned_and_hexadecimal(void **state)
{
    (void)state;
    assert_true(accepts(WASM_I32, "-2147483648"));
    assert_int_equal(slot.i32, INT32_MIN);
    assert_true(accepts(WASM_I32, "4294967295"));
    assert_int_equal(slot.i32, -1);
    assert_true(accepts(WASM_I32, "0xFFffFFff"));
    assert_int_equal(slot.u64, 0xffffffffu);
    assert_true(accepts(WASM_I64, "18446744073709551615"));
    assert_int_equal(slot.i64, -1);
    assert_true(accepts(WASM_I64, "-9223372036854775808"));
    assert_true(slot.i64 == INT64_MIN);
}

static void what_does_not_fit_its_type_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"4294967296", "-2147483649", "",   "-",  "1.0",
                                      "1e3",        "0x",          " 1", "1 ", "--1",
                                      "ten",        "0x1g",        "+-1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(accepts(WASM_I32, bad[i]));
    assert_false(accepts(WASM_I64, "18446744073709551616"));
    assert_false(accepts(WASM_I64, "-9223372036854775809"));
    assert_false(accepts(WASM_F64, ""));
    assert_false(accepts(WASM_F64, "1x"));
    assert_false(accepts(WASM_V128, "0x00"));
    assert_false(accepts(WASM_FUNCREF, "1"));
    assert_non_null(strstr(failure.text, "type funcref"));
}

static void floats_read_back_exactly(void **state)
{
    (void)state;
    static const double values[] = {0.1, 1.0 / 3, 1e300, 5e-324, -0.0, 123456789012345680.0};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        assert_true(accepts(WASM_F64, printed(WASM_F64, (union host_slot){.f64 = values[i]})));
        assert_memory_equal(&slot.f64, &values[i], sizeof values[i]);
        float narrow = (float)values[i];
        if (!isfinite(narrow))
            continue;
        assert_true(accepts(WASM_F32, printed(WASM_F32, (union host_slot){.f32 = narrow})));
        assert_memory_equal(&slot.f32, &narrow, sizeof narrow);
    }
    assert_string_equal(printed(WASM_F64, (union host_slot){.f64 = 0.1}), "0.1");
    assert_string_equal(printed(WASM_F32, (union host_slot){.f32 = 0.1f}), "0.1");
    assert_true(accepts(WASM_F64, "-inf") && isinf(slot.f64) && slot.f64 < 0);
    assert_true(accepts(WASM_F32, "nan") && isnan(slot.f32));
    assert_string_equal(printed(WASM_F64, (union host_slot){.f64 = INFINITY}), "inf");
}

static void a_float_argument_is_rounded_once(void **state)
{
    (void)state;
    /* Halfway between two floats plus a little that a double does not hold: rounding to double
     * first gives the even neighbour, 1. */
    assert_true(accepts(WASM_F32, "1.00000005960464477539062500000000001"));
    assert_true(slot.f32 > 1.0f);
}

static void vectors_are_written_with_the_last_lane_first(void **state)
{
    (void)state;
    assert_true(accepts(WASM_V128, "0x0f0e0d0c0b0a09080706050403020100"));
    for (uint8_t i = 0; i < 16; i++)
        assert_int_equal(slot.bytes[i], i);
    assert_string_equal(printed(WASM_V128, slot), "0x0f0e0d0c0b0a09080706050403020100");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_are_taken_signed_unsigned_and_hexadecimal),
        cmocka_unit_test(what_does_not_fit_its_type_is_refused),
        cmocka_unit_test(floats_read_back_exactly),
        cmocka_unit_test(a_float_argument_is_rounded_once),
        cmocka_unit_test(vectors_are_written_with_the_last_lane_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
