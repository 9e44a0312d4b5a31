/* The reader of DWARF line programs (src/engine/line_table.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/line_table.h"
#include "object_writer.h"

#define SET_ADDRESS(low) 0, 9, 2, (low), 0, 0, 0, 0, 0, 0, 0
#define END_SEQUENCE     0, 1, 1
/* Special opcode: advance the address by a and the line by l (opcode base 13, base -5, range 14).
 */
#define SPECIAL(a, l) (uint8_t)((l) + 5 + 14 * (a) + 13)

static int read_program(uint16_t version, const uint8_t *program, size_t len, struct buffer *rows)
{
    struct buffer section = {0};
    struct error e;
    line_unit(&section, version, program, len);
    int rc = line_table_read(section.data, section.len, 1000, rows, &e);
    buffer_free(&section);
    return rc;
}

static void assert_row(const struct buffer *rows, size_t i, uint32_t code, uint32_t wasm)
{
    struct line_row row;
    assert_true((i + 1) * sizeof row <= rows->len);
    memcpy(&row, rows->data + i * sizeof row, sizeof row);
    assert_int_equal(row.code_offset, code);
    assert_int_equal(row.wasm_offset, wasm);
}

static void every_way_to_advance_address_and_line_is_understood(void **state)
{
    (void)state;
    static const uint8_t program[] = {
        SET_ADDRESS(16),
        3,
        0xe7,
        0x07,          /* advance line by 999: it starts at 1 */
        1,             /* copy */
        SPECIAL(3, 4), /* 19, 1004 */
        2,
        10,
        1, /* advance pc 10, copy: 29, 1004 */
        3,
        0x7b,
        1, /* advance line by -5, copy: 29, 999 */
        8,
        1, /* const_add_pc: 17 more: 46 */
        9,
        4,
        1,
        1, /* fixed_advance_pc 0x104: 306 */
        4,
        9,
        5,
        9,
        6,
        7,
        10,
        11,
        12,
        1, /* file, column, statement, block, prologue, epilogue, isa */
        0,
        2,
        0x80,
        7, /* an extended opcode of a vendor */
        END_SEQUENCE,
    };
    for (uint16_t version = 4; version <= 5; version++) {
        struct buffer rows = {0};
        assert_int_equal(read_program(version, program, sizeof program, &rows), 0);
        assert_int_equal(rows.len, 7 * sizeof(struct line_row));
        assert_row(&rows, 0, 16, 1000);
        assert_row(&rows, 1, 19, 1004);
        assert_row(&rows, 2, 29, 1004);
        assert_row(&rows, 3, 29, 999);
        assert_row(&rows, 4, 46, 999);
        assert_row(&rows, 5, 306, 999);
        assert_row(&rows, 6, 306, 0);
        buffer_free(&rows);
    }
}

static void a_sequence_starts_afresh_after_the_end_of_another(void **state)
{
    (void)state;
    static const uint8_t program[] = {SET_ADDRESS(8), 3, 9, 1, END_SEQUENCE, SET_ADDRESS(4), 1};
    struct buffer rows = {0};
    assert_int_equal(read_program(5, program, sizeof program, &rows), 0);
    assert_row(&rows, 0, 8, 10);
    assert_row(&rows, 1, 8, 0);
    assert_row(&rows, 2, 4, 1);
    buffer_free(&rows);
}

static void lines_may_use_all_32_bits(void **state)
{
    (void)state;
    static const uint8_t program[] = {SET_ADDRESS(0), 3, 0xfe, 0xff, 0xff, 0xff, 0x0f, 1};
    struct buffer rows = {0};
    assert_int_equal(read_program(5, program, sizeof program, &rows), 0);
    assert_row(&rows, 0, 0, UINT32_MAX);
    buffer_free(&rows);
}

static void a_row_beyond_the_code_is_refused(void **state)
{
    (void)state;
    static const uint8_t inside[] = {2, 0xe8, 0x07, 1}; /* 1000 */
    static const uint8_t outside[] = {2, 0xe9, 0x07, 1};
    struct buffer rows = {0};
    assert_int_equal(read_program(5, inside, sizeof inside, &rows), 0);
    assert_int_equal(read_program(5, outside, sizeof outside, &rows), -ATOLL_ECORRUPT);
    buffer_free(&rows);
}

static void a_section_cut_off_anywhere_is_refused_or_shorter(void **state)
{
    (void)state;
    static const uint8_t program[] = {SET_ADDRESS(16), SPECIAL(1, 1), 2, 0x90, 1, 1, END_SEQUENCE};
    struct buffer section = {0}, rows = {0};
    struct error e;
    line_unit(&section, 5, program, sizeof program);
    for (size_t len = 1; len < section.len; len++) {
        uint8_t *copy = malloc(len); /* so that a sanitizer sees a read beyond */
        assert_non_null(copy);
        memcpy(copy, section.data, len);
        assert_int_equal(line_table_read(copy, len, 1000, &rows, &e), -ATOLL_ECORRUPT);
        free(copy);
    }
    buffer_free(&section);
    buffer_free(&rows);
}

static void an_empty_section_has_no_rows(void **state)
{
    (void)state;
    struct buffer rows = {0};
    struct error e;
    assert_int_equal(line_table_read(NULL, 0, 1000, &rows, &e), 0);
    assert_int_equal(rows.len, 0);
}

static void headers_that_cannot_be_right_are_refused(void **state)
{
    (void)state;
    struct {
        size_t at;
        uint8_t value;
    } changes[] = {
        {4, 3},   /* version 3 */
        {6, 4},   /* 4-byte addresses */
        {8, 200}, /* header longer than the unit */
        {13, 4},  /* four operations per instruction */
        {16, 0},  /* line range 0 */
        {17, 0},  /* opcode base 0 */
        {17, 200} /* more operand counts than the header has */
    };
    struct error e;
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        struct buffer section = {0}, rows = {0};
        line_unit(&section, 5, "\x01", 1);
        assert_int_equal(line_table_read(section.data, section.len, 1000, &rows, &e), 0);
        section.data[changes[i].at] = changes[i].value;
        assert_int_equal(line_table_read(section.data, section.len, 1000, &rows, &e),
                         -ATOLL_ECORRUPT);
        buffer_free(&section);
        buffer_free(&rows);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_way_to_advance_address_and_line_is_understood),
        cmocka_unit_test(a_sequence_starts_afresh_after_the_end_of_another),
        cmocka_unit_test(lines_may_use_all_32_bits),
        cmocka_unit_test(a_row_beyond_the_code_is_refused),
        cmocka_unit_test(a_section_cut_off_anywhere_is_refused_or_shorter),
        cmocka_unit_test(an_empty_section_has_no_rows),
        cmocka_unit_test(headers_that_cannot_be_right_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
