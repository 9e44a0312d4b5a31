/* Bytes that wait to be sent (src/net/output.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/output.h"

#include <stdlib.h>
#include <string.h>

static void released(void *context, const void *data, size_t len)
{
    (void)data;
    *(size_t *)context += len;
}

/* Takes up to len bytes off the output and compares them with what is expected. */
static void take(struct output *o, const uint8_t *expected, size_t len)
{
    while (len > 0) {
        uv_buf_t pieces[2];
        unsigned count = output_peek(o, pieces, 2);
        assert_true(count > 0);
        size_t piece = pieces[0].len < len ? pieces[0].len : len;
        assert_memory_equal(pieces[0].base, expected, piece);
        output_advance(o, piece);
        expected += piece;
        len -= piece;
    }
}

static void bytes_leave_in_the_order_they_came(void **state)
{
    (void)state;
    static uint8_t stream[200000];
    struct output_pool pool = {0};
    struct output o = {.pool = &pool};
    size_t in = 0, out = 0, lent = 0, given_back = 0;
    for (size_t i = 0; i < sizeof stream; i++)
        stream[i] = (uint8_t)(i * 7 + i / 251);
    for (unsigned round = 0; in < sizeof stream || out < in; round++) {
        size_t len = (round * 977) % 9000;
        if (len > sizeof stream - in)
            len = sizeof stream - in;
        if (round % 3 == 0) {
            lent += len;
            assert_true(output_lend(&o, stream + in, len, released, &given_back));
        } else {
            assert_true(output_append(&o, stream + in, len));
        }
        in += len;
        assert_int_equal(o.len, in - out);
        size_t wanted = (round * 631) % 10000;
        if (wanted > in - out)
            wanted = in - out;
        take(&o, stream + out, wanted);
        out += wanted;
    }
    assert_int_equal(o.len, 0);
    assert_int_equal(given_back, lent);
    output_clear(&o);
    output_pool_free(&pool);
}

static void pieces_stay_where_they_are_while_more_is_appended(void **state)
{
    (void)state;
    struct output_pool pool = {0};
    struct output o = {.pool = &pool};
    uv_buf_t before[1], after[16];
    output_append(&o, "first", 5);
    assert_int_equal(output_peek(&o, before, 1), 1);
    for (int i = 0; i < 100; i++) {
        static const char filler[1000];
        output_append(&o, filler, sizeof filler);
    }
    assert_int_equal(output_peek(&o, after, 16), 7);
    assert_ptr_equal(before[0].base, after[0].base);
    assert_memory_equal(before[0].base, "first", 5);
    output_clear(&o);
    assert_int_equal(output_peek(&o, after, 16), 0);
    output_pool_free(&pool);
}

static void lent_bytes_are_released_whatever_becomes_of_them(void **state)
{
    (void)state;
    static const char text[100];
    struct output_pool pool = {0};
    struct output o = {.pool = &pool};
    size_t given_back = 0;
    output_lend(&o, text, 10, released, &given_back);
    output_lend(&o, text, 20, released, &given_back);
    output_lend(&o, text, 0, released, &given_back);
    output_advance(&o, 9);
    assert_int_equal(given_back, 0);
    output_advance(&o, 1);
    assert_int_equal(given_back, 10);
    output_clear(&o);
    assert_int_equal(given_back, 30);
    output_pool_free(&pool);
}

static void empty_blocks_are_kept_up_to_a_bound(void **state)
{
    (void)state;
    static const char filler[OUTPUT_BLOCK_BYTES];
    struct output_pool pool = {0};
    struct output o = {.pool = &pool};
    for (int i = 0; i < OUTPUT_SPARE_MAX + 10; i++)
        output_append(&o, filler, sizeof filler);
    output_clear(&o);
    assert_int_equal(pool.spare_count, OUTPUT_SPARE_MAX);
    output_append(&o, "x", 1);
    assert_int_equal(pool.spare_count, OUTPUT_SPARE_MAX - 1);
    output_clear(&o);
    output_pool_free(&pool);
    assert_null(pool.spare);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_leave_in_the_order_they_came),
        cmocka_unit_test(pieces_stay_where_they_are_while_more_is_appended),
        cmocka_unit_test(lent_bytes_are_released_whatever_becomes_of_them),
        cmocka_unit_test(empty_blocks_are_kept_up_to_a_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
