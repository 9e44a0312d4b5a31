/* Byte order, alignment and the growable buffer (src/base/bytes.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bytes.h"

static void numbers_are_little_endian_at_any_alignment(void **state)
{
    (void)state;
    uint8_t bytes[16] = {0};
    store_u32(bytes + 1, 0x04030201u);
    store_u64(bytes + 5, 0x0c0b0a0908070605u);
    for (uint8_t i = 1; i <= 12; i++)
        assert_int_equal(bytes[i], i);
    assert_int_equal(load_u16(bytes + 3), 0x0403);
    assert_int_equal(load_u32(bytes + 3), 0x06050403);
    assert_int_equal(load_u64(bytes + 3), 0x0a09080706050403u);
}

static void alignment_rounds_up_and_keeps_multiples(void **state)
{
    (void)state;
    assert_int_equal(align_up(0, 8), 0);
    assert_int_equal(align_up(1, 8), 8);
    assert_int_equal(align_up(8, 8), 8);
    assert_int_equal(align_up(4097, 4096), 8192);
}

static void a_buffer_keeps_what_was_appended_across_growth(void **state)
{
    (void)state;
    struct buffer b = {0};
    for (uint32_t i = 0; i < 10000; i++)
        assert_true(buffer_append_u32(&b, i));
    assert_int_equal(b.len, 40000);
    for (uint32_t i = 0; i < 10000; i++)
        assert_int_equal(load_u32(b.data + 4 * i), i);
    assert_true(buffer_append(&b, "x", 1));
    assert_true(buffer_align(&b, 16));
    assert_int_equal(b.len, 40016);
    assert_int_equal(b.data[40000], 'x');
    for (size_t i = 40001; i < 40016; i++)
        assert_int_equal(b.data[i], 0);
    buffer_free(&b);
    assert_null(b.data);
    assert_int_equal(b.capacity, 0);
}

static void appending_nothing_to_an_empty_buffer_succeeds(void **state)
{
    (void)state;
    struct buffer b = {0};
    assert_true(buffer_append(&b, NULL, 0));
    assert_true(buffer_align(&b, 4096));
    assert_int_equal(b.len, 0);
    buffer_free(&b);
}

static void an_impossible_reservation_leaves_the_buffer_unchanged(void **state)
{
    (void)state;
    struct buffer b = {0};
    assert_true(buffer_append(&b, "abc", 3));
    assert_false(buffer_reserve(&b, SIZE_MAX));
    assert_false(buffer_reserve(&b, SIZE_MAX / 2));
    assert_int_equal(b.len, 3);
    assert_memory_equal(b.data, "abc", 3);
    buffer_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_little_endian_at_any_alignment),
        cmocka_unit_test(alignment_rounds_up_and_keeps_multiples),
        cmocka_unit_test(a_buffer_keeps_what_was_appended_across_growth),
        cmocka_unit_test(appending_nothing_to_an_empty_buffer_succeeds),
        cmocka_unit_test(an_impossible_reservation_leaves_the_buffer_unchanged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
