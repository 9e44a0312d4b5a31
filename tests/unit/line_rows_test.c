/* The packed map from code to wasm (src/engine/line_rows.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/line_rows.h"

#include <stdlib.h>

struct packed {
    struct buffer blocks, bytes;
    struct line_rows rows;
};

static struct packed pack(const struct line_row *rows, uint32_t count)
{
    struct packed p = {0};
    assert_true(line_rows_pack(rows, count, &p.blocks, &p.bytes));
    assert_int_equal(p.blocks.len, row_blocks_count(count) * sizeof(struct row_block));
    p.rows = (struct line_rows){(const struct row_block *)(const void *)p.blocks.data, p.bytes.data,
                                count, (uint32_t)p.bytes.len};
    return p;
}

static void packed_free(struct packed *p)
{
    buffer_free(&p->blocks);
    buffer_free(&p->bytes);
}

/* Deterministic rows with small and large steps, forwards and backwards in wasm. */
static struct line_row *rows_make(uint32_t count)
{
    struct line_row *rows = calloc(count + 1u, sizeof *rows);
    uint32_t code = 5, random = 12345;
    assert_non_null(rows);
    for (uint32_t i = 0; i < count; i++) {
        rows[i] = (struct line_row){code, i % 11 == 0 ? 0 : random >> 2};
        random = random * 1664525 + 1013904223;
        code += 1 + (random >> 28) + (i % 97 == 0 ? random >> 12 : 0);
    }
    return rows;
}

static void every_row_is_found_at_its_place_and_up_to_the_next(void **state)
{
    (void)state;
    static const uint32_t counts[] = {1, 2, ROWS_PER_BLOCK, ROWS_PER_BLOCK + 1, 5000};
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        struct line_row *rows = rows_make(counts[c]);
        struct packed p = pack(rows, counts[c]);
        assert_int_equal(line_rows_find(&p.rows, 4), 0);
        for (uint32_t i = 0; i < counts[c]; i++) {
            uint32_t last = i + 1 < counts[c] ? rows[i + 1].code_offset - 1 : UINT32_MAX;
            assert_int_equal(line_rows_find(&p.rows, rows[i].code_offset), rows[i].wasm_offset);
            assert_int_equal(line_rows_find(&p.rows, last), rows[i].wasm_offset);
        }
        packed_free(&p);
        free(rows);
    }
}

static void without_rows_nothing_is_found(void **state)
{
    (void)state;
    struct packed p = pack(NULL, 0);
    assert_int_equal(line_rows_find(&p.rows, 0), 0);
    assert_int_equal(line_rows_find(&p.rows, UINT32_MAX), 0);
    packed_free(&p);
}

static void the_extremes_of_both_offsets_survive(void **state)
{
    (void)state;
    static const struct line_row rows[] = {
        {0, UINT32_MAX}, {1, 0}, {UINT32_MAX - 1, UINT32_MAX}, {UINT32_MAX, 1}};
    struct packed p = pack(rows, 4);
    for (int i = 0; i < 4; i++)
        assert_int_equal(line_rows_find(&p.rows, rows[i].code_offset), rows[i].wasm_offset);
    packed_free(&p);
}

/* Under a sanitizer this finds reads outside of the tables. */
static void damaged_tables_are_searched_without_leaving_them(void **state)
{
    (void)state;
    uint32_t count = 3 * ROWS_PER_BLOCK;
    struct line_row *rows = rows_make(count);
    struct packed p = pack(rows, count);
    uint32_t changed = 0;
    for (size_t at = 0; at < p.blocks.len + p.bytes.len; at++) {
        uint8_t *byte = at < p.blocks.len ? p.blocks.data + at : p.bytes.data + at - p.blocks.len;
        *byte ^= 0xff;
        for (uint32_t i = 0; i < count; i += 51)
            changed += line_rows_find(&p.rows, rows[i].code_offset) != rows[i].wasm_offset;
        *byte ^= 0xff;
    }
    assert_true(changed > 0);
    packed_free(&p);
    free(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_found_at_its_place_and_up_to_the_next),
        cmocka_unit_test(without_rows_nothing_is_found),
        cmocka_unit_test(the_extremes_of_both_offsets_survive),
        cmocka_unit_test(damaged_tables_are_searched_without_leaving_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
