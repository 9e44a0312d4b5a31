/* Merging relocatable objects to one code image (src/engine/object.c, elf_object.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/object.h"
#include "engine/wasm_read.h"
#include "module_bytes.h"
#include "object_writer.h"

#include <string.h>

/* (import "a" "b" (func)) (func) (func) (export "c" (func 1)): functions 1 and 2 are defined. */
static const uint8_t module_bytes[] = {
    0, 'a', 's', 'm', 1, 0, 0, 0, 1, 4, 1,   0x60, 0, 0,  2, 7, 1, 1, 'a',  1, 'b', 0,
    0, 3,   3,   2,   0, 0, 7, 5, 1, 1, 'c', 0,    1, 10, 7, 2, 2, 0, 0x0b, 2, 0,   0x0b,
};

static struct wasm_module module;

static int module_open(void **state)
{
    (void)state;
    struct error e;
    return wasm_read(module_bytes, sizeof module_bytes, &module, &e);
}

static int module_close(void **state)
{
    (void)state;
    wasm_module_free(&module);
    return 0;
}

static const uint8_t text[48] = {[0] = 0xc3, [16] = 0xe9, [32] = 0xc3, [40] = 0xc3};

/* A writer of an object that has everything the module needs: f1 at 0, f2 at 16 (a jump), e0 at 32,
 * i0 at 40. */
static struct object_writer *complete_object(uint32_t *text_section)
{
    struct object_writer *w = object_start();
    *text_section = object_text(w, text, sizeof text);
    object_function(w, "f1", *text_section, 0, 1);
    object_function(w, "f2", *text_section, 16, 5);
    object_function(w, "e0", *text_section, 32, 1);
    object_function(w, "i0", *text_section, 40, 1);
    return w;
}

static int merge(struct buffer *objects, uint32_t count, struct code_image *image, struct error *e)
{
    int rc = object_merge(&module, objects, count, image, e);
    for (uint32_t i = 0; i < count; i++)
        buffer_free(&objects[i]);
    return rc;
}

static int merge_writer(struct object_writer *w, struct code_image *image, struct error *e)
{
    struct buffer object = object_write(w);
    return merge(&object, 1, image, e);
}

static void assert_refused(struct object_writer *w, const char *word)
{
    struct code_image image;
    struct error e = {0};
    assert_int_equal(merge_writer(w, &image, &e), -ATOLL_ECORRUPT);
    if (!strstr(e.text, word))
        fail_msg("the error \"%s\" does not name %s", e.text, word);
    assert_null(image.bytes.data);
}

static void calls_between_shards_reach_their_functions(void **state)
{
    (void)state;
    uint32_t section;
    struct object_writer *a = object_start(), *b = object_start();
    /* Shard 1: f1 calls f2, and a constant lies behind it. */
    section = object_text(a, "\xe8\0\0\0\0\xc3", 6);
    object_function(a, "f1", section, 0, 6);
    uint32_t f2 = object_undefined(a, "f2");
    object_relocate(a, object_relocations(a, section), 1, R_X86_64_PLT32, f2, -4);
    /* Shard 2: f2 and the thunks. */
    section = object_text(b, text, sizeof text);
    object_function(b, "f2", section, 0, 1);
    object_function(b, "e0", section, 32, 1);
    object_function(b, "i0", section, 40, 1);
    struct buffer objects[2] = {object_write(a), object_write(b)};
    struct code_image image;
    struct error e;
    assert_int_equal(merge(objects, 2, &image, &e), 0);
    assert_int_equal(image.text_size, 16 + 48);
    assert_int_equal(image.function_offsets[0], 0);
    assert_int_equal(image.function_sizes[0], 6);
    assert_int_equal(image.function_offsets[1], 16);
    assert_int_equal(image.entry_offsets[0], 48);
    assert_int_equal(image.import_offsets[0], 56);
    assert_int_equal((int32_t)load_u32(image.bytes.data + 1), 16 - 5);
    /* The gap between the shards traps. */
    assert_memory_equal(image.bytes.data + 6, "\x0f\x0b\x0f\x0b\x0f\x0b\x0f\x0b\x0f\x0b", 10);
    code_image_free(&image);
}

static void constants_follow_all_text_and_refer_back_to_it(void **state)
{
    (void)state;
    uint32_t section;
    struct object_writer *w = complete_object(&section);
    uint32_t constants = object_section(w, ".rodata", SHT_PROGBITS, SHF_ALLOC, 8, "12345678", 8);
    uint32_t merged = object_section(w, ".rodata.cst16", SHT_PROGBITS, SHF_ALLOC | SHF_MERGE, 16,
                                     "abcdefghijklmnop", 16);
    uint32_t c = object_symbol(w, "", constants, 0, 0, STT_SECTION);
    uint32_t m = object_symbol(w, ".LCPI0_0", merged, 8, 0, STT_NOTYPE);
    uint32_t t = object_symbol(w, "", section, 0, 0, STT_SECTION);
    uint32_t r = object_relocations(w, section);
    object_relocate(w, r, 17, R_X86_64_PC32, c, 0);
    object_relocate(w, r, 4, R_X86_64_PC64, m, 1);
    /* A jump table: the entry at 4 holds the distance from the table to text + 32. */
    object_relocate(w, object_relocations(w, constants), 4, R_X86_64_PC32, t, 32 + 4);
    struct code_image image;
    struct error e;
    assert_int_equal(merge_writer(w, &image, &e), 0);
    assert_int_equal(image.text_size, 48);
    assert_int_equal(image.bytes.len, 48 + 8 + 8 + 16);
    assert_memory_equal(image.bytes.data + 48, "1234", 4);
    assert_memory_equal(image.bytes.data + 64, "abcd", 4);
    assert_int_equal((int32_t)load_u32(image.bytes.data + 17), 48 - 17);
    assert_int_equal((int64_t)load_u64(image.bytes.data + 4), 72 + 1 - 4);
    assert_int_equal((int32_t)load_u32(image.bytes.data + 52), 32 - 48);
    code_image_free(&image);
}

static void several_text_sections_are_all_placed(void **state)
{
    (void)state;
    struct object_writer *w = object_start();
    uint32_t flags = SHF_ALLOC | SHF_EXECINSTR;
    const char *names[] = {"f2", "f1", "i0", "e0"};
    for (size_t i = 0; i < 4; i++) {
        uint32_t s = object_section(w, names[i], SHT_PROGBITS, flags, 4, "\xc3", 1);
        object_function(w, names[i], s, 0, 1);
    }
    struct code_image image;
    struct error e;
    assert_int_equal(merge_writer(w, &image, &e), 0);
    assert_int_equal(image.function_offsets[0], 4);
    assert_int_equal(image.function_offsets[1], 0);
    assert_int_equal(image.import_offsets[0], 8);
    assert_int_equal(image.entry_offsets[0], 12);
    assert_int_equal(image.text_size, 13);
    code_image_free(&image);
}

static void rows_of_all_shards_are_sorted_and_without_repetition(void **state)
{
    (void)state;
    uint32_t section;
    struct object_writer *w = complete_object(&section);
    struct buffer lines = {0};
    /* Two sequences, the later code first: 40 -> 7; 0 -> 5, 4 -> 5, 8 -> 6 until 16. */
    static const uint8_t program[] = {
        0, 9, 2, 0, 0, 0, 0, 0, 0, 0, 0, 3, 6, 1, 2, 1, 0, 1, 1, /* at 40 */
        0, 9, 2, 0, 0, 0, 0, 0, 0, 0, 0, 3, 4, 1, 2, 4, 1, 2, 4, 3, 1, 1, 2, 8, 0, 1, 1,
    };
    line_unit(&lines, 5, program, sizeof program);
    size_t start = lines.len - sizeof program;
    uint32_t s = object_section(w, ".debug_line", SHT_PROGBITS, 0, 1, lines.data, lines.len);
    uint32_t r = object_relocations(w, s);
    uint32_t base = object_symbol(w, "", section, 0, 0, STT_SECTION);
    object_relocate(w, r, start + 3, R_X86_64_64, base, 40);
    object_relocate(w, r, start + 22, R_X86_64_64, base, 0);
    object_relocate(w, r, 4, R_X86_64_32, base, 0); /* a reference to strings: not followed */
    buffer_free(&lines);
    struct code_image image;
    struct error e;
    assert_int_equal(merge_writer(w, &image, &e), 0);
    static const struct line_row expected[] = {{0, 5}, {8, 6}, {16, 0}, {40, 7}, {41, 0}};
    assert_int_equal(image.row_count, 5);
    assert_memory_equal(image.rows, expected, sizeof expected);
    code_image_free(&image);
}

static void the_end_of_one_sequence_does_not_hide_the_start_of_the_next(void **state)
{
    (void)state;
    uint32_t section;
    struct object_writer *w = complete_object(&section);
    struct buffer lines = {0};
    /* The code at 16 is described first, the code that ends at 16 last. */
    static const uint8_t program[] = {
        0, 9, 2, 16, 0, 0, 0, 0, 0, 0, 0, 3, 8, 1, 2, 4,  0, 1, 1,
        0, 9, 2, 0,  0, 0, 0, 0, 0, 0, 0, 3, 4, 1, 2, 16, 0, 1, 1,
    };
    line_unit(&lines, 4, program, sizeof program);
    object_section(w, ".debug_line", SHT_PROGBITS, 0, 1, lines.data, lines.len);
    buffer_free(&lines);
    struct code_image image;
    struct error e;
    assert_int_equal(merge_writer(w, &image, &e), 0);
    static const struct line_row expected[] = {{0, 5}, {16, 9}, {20, 0}};
    assert_int_equal(image.row_count, 3);
    assert_memory_equal(image.rows, expected, sizeof expected);
    code_image_free(&image);
}

static void absolute_and_table_relocations_are_refused(void **state)
{
    (void)state;
    static const uint32_t kinds[] = {
        R_X86_64_64,      R_X86_64_32,        R_X86_64_32S,      R_X86_64_GOTPCREL,
        R_X86_64_TPOFF32, R_X86_64_GOTPCRELX, R_X86_64_RELATIVE, 0xffff};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        uint32_t section;
        struct object_writer *w = complete_object(&section);
        uint32_t f1 = object_undefined(w, "f1");
        object_relocate(w, object_relocations(w, section), 17, kinds[i], f1, 0);
        assert_refused(w, "relocation");
    }
}

static void names_outside_the_image_are_refused(void **state)
{
    (void)state;
    static const char *const names[] = {
        "memcpy", "f0", "f3", "f01", "f", "e1", "i1", "atoll_memset", "f99999999999999999999", ""};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        uint32_t section;
        struct object_writer *w = complete_object(&section);
        uint32_t s = object_undefined(w, names[i]);
        object_relocate(w, object_relocations(w, section), 17, R_X86_64_PLT32, s, -4);
        assert_refused(w, names[i]);
    }
}

static void the_bulk_routines_can_be_called_when_a_shard_has_them(void **state)
{
    (void)state;
    uint32_t section;
    struct object_writer *w = complete_object(&section);
    object_function(w, "atoll_memmove", section, 44, 1);
    uint32_t s = object_undefined(w, "atoll_memmove");
    object_relocate(w, object_relocations(w, section), 17, R_X86_64_PLT32, s, -4);
    struct code_image image;
    struct error e;
    assert_int_equal(merge_writer(w, &image, &e), 0);
    assert_int_equal((int32_t)load_u32(image.bytes.data + 17), 44 - 21);
    code_image_free(&image);
}

static void a_relocation_must_lie_in_its_section_and_reach_its_target(void **state)
{
    (void)state;
    struct {
        uint64_t offset;
        uint32_t kind;
        int64_t addend;
    } bad[] = {
        {45, R_X86_64_PC32, 0},          {48, R_X86_64_PC32, 0},
        {UINT64_MAX, R_X86_64_PC32, 0},  {41, R_X86_64_PC64, 0},
        {0, R_X86_64_PC32, 1ll << 31},   {0, R_X86_64_PC32, INT64_MIN},
        {16, R_X86_64_PLT32, INT64_MAX}, {16, R_X86_64_PC64, INT64_MIN},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint32_t section;
        struct object_writer *w = complete_object(&section);
        uint32_t f1 = object_undefined(w, "f1");
        object_relocate(w, object_relocations(w, section), bad[i].offset, bad[i].kind, f1,
                        bad[i].addend);
        assert_refused(w, "relocation");
    }
}

static void writable_and_thread_local_sections_are_refused(void **state)
{
    (void)state;
    struct {
        const char *name;
        uint32_t type;
        uint64_t flags;
    } bad[] = {
        {".data", SHT_PROGBITS, SHF_ALLOC | SHF_WRITE},
        {".data.rel.ro", SHT_PROGBITS, SHF_ALLOC | SHF_WRITE},
        {".bss", SHT_NOBITS, SHF_ALLOC | SHF_WRITE},
        {".tdata", SHT_PROGBITS, SHF_ALLOC | SHF_TLS},
        {".zero", SHT_NOBITS, SHF_ALLOC},
        {".init_array", SHT_INIT_ARRAY, SHF_ALLOC},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint32_t section;
        struct object_writer *w = complete_object(&section);
        object_section(w, bad[i].name, bad[i].type, bad[i].flags, 8, "12345678", 8);
        assert_refused(w, bad[i].name);
    }
}

static void sections_that_are_not_loaded_do_not_matter(void **state)
{
    (void)state;
    uint32_t section;
    struct object_writer *w = complete_object(&section);
    object_section(w, ".comment", SHT_PROGBITS, SHF_MERGE | SHF_STRINGS, 1, "compiler", 9);
    object_section(w, ".eh_frame", SHT_PROGBITS, SHF_ALLOC, 8, "12345678", 8);
    uint32_t info = object_section(w, ".debug_info", SHT_PROGBITS, 0, 1, "12345678", 8);
    object_relocate(w, object_relocations(w, info), 0, R_X86_64_64, 99, 0);
    struct code_image image;
    struct error e;
    assert_int_equal(merge_writer(w, &image, &e), 0);
    assert_int_equal(image.bytes.len, sizeof text);
    code_image_free(&image);
}

static void a_function_must_be_defined_once_inside_text(void **state)
{
    (void)state;
    uint32_t section;
    struct object_writer *w = complete_object(&section);
    object_function(w, "f1", section, 4, 1);
    assert_refused(w, "f1");
    w = complete_object(&section);
    object_function(w, "atoll_memset", section, 48, 1);
    assert_refused(w, "atoll_memset");
    w = complete_object(&section);
    object_function(w, "atoll_memset", section, UINT64_MAX, 2);
    assert_refused(w, "atoll_memset");
    w = complete_object(&section);
    object_function(w, "atoll_memset", section, 0, 0);
    assert_refused(w, "atoll_memset");
    w = complete_object(&section);
    object_symbol(w, "atoll_memset", section, 0, 4, STT_OBJECT);
    assert_refused(w, "atoll_memset");
    w = complete_object(&section);
    object_function(w, "atoll_memset", SHN_ABS, 0, 4);
    assert_refused(w, "atoll_memset");
    w = complete_object(&section);
    uint32_t constants = object_section(w, ".rodata", SHT_PROGBITS, SHF_ALLOC, 8, "12345678", 8);
    object_function(w, "atoll_memset", constants, 0, 4);
    assert_refused(w, "atoll_memset");
}

static void everything_the_module_needs_must_be_there(void **state)
{
    (void)state;
    static const char *const names[] = {"f1", "f2", "e0", "i0"};
    static const char *const words[] = {"function 1", "function 2", "entry thunk", "import 0"};
    for (size_t missing = 0; missing < 4; missing++) {
        struct object_writer *w = object_start();
        uint32_t section = object_text(w, text, sizeof text);
        for (size_t i = 0; i < 4; i++)
            if (i != missing)
                object_function(w, names[i], section, 8 * i, 1);
        assert_refused(w, words[missing]);
    }
}

static void equal_objects_give_equal_images(void **state)
{
    (void)state;
    struct code_image images[2];
    struct error e;
    for (int i = 0; i < 2; i++) {
        uint32_t section;
        struct object_writer *w = complete_object(&section);
        object_section(w, ".rodata", SHT_PROGBITS, SHF_ALLOC, 64, "12345678", 8);
        assert_int_equal(merge_writer(w, &images[i], &e), 0);
    }
    assert_int_equal(images[0].bytes.len, images[1].bytes.len);
    assert_memory_equal(images[0].bytes.data, images[1].bytes.data, images[0].bytes.len);
    code_image_free(&images[0]);
    code_image_free(&images[1]);
}

static struct buffer rich_object(void)
{
    uint32_t section;
    struct object_writer *w = complete_object(&section);
    uint32_t constants = object_section(w, ".rodata", SHT_PROGBITS, SHF_ALLOC, 8, "12345678", 8);
    uint32_t c = object_symbol(w, "", constants, 0, 0, STT_SECTION);
    object_relocate(w, object_relocations(w, section), 17, R_X86_64_PC32, c, 0);
    struct buffer lines = {0};
    line_unit(&lines, 5, "\x01\x02\x04\x01", 4);
    uint32_t s = object_section(w, ".debug_line", SHT_PROGBITS, 0, 1, lines.data, lines.len);
    object_relocate(w, object_relocations(w, s), 8, R_X86_64_64, c, 0);
    buffer_free(&lines);
    return object_write(w);
}

/* Under a sanitizer this finds reads beyond the object. */
static void an_object_cut_off_anywhere_is_refused(void **state)
{
    (void)state;
    struct buffer whole = rich_object();
    for (size_t len = 0; len < whole.len; len++) {
        struct buffer part = {0};
        struct code_image image;
        struct error e;
        assert_true(buffer_append(&part, whole.data, len));
        assert_int_equal(object_merge(&module, &part, 1, &image, &e), -ATOLL_ECORRUPT);
        buffer_free(&part);
    }
    buffer_free(&whole);
}

static void no_changed_byte_makes_the_merge_misbehave(void **state)
{
    (void)state;
    struct buffer whole = rich_object();
    static const uint8_t values[] = {0, 1, 0x7f, 0x80, 0xff};
    unsigned refused = 0;
    for (size_t at = 0; at < whole.len; at++) {
        uint8_t old = whole.data[at];
        for (size_t v = 0; v < sizeof values; v++) {
            struct code_image image;
            struct error e;
            whole.data[at] = values[v];
            if (object_merge(&module, &whole, 1, &image, &e) == 0)
                code_image_free(&image);
            else
                refused++;
        }
        whole.data[at] = old;
    }
    assert_true(refused > whole.len / 4);
    buffer_free(&whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_between_shards_reach_their_functions),
        cmocka_unit_test(constants_follow_all_text_and_refer_back_to_it),
        cmocka_unit_test(several_text_sections_are_all_placed),
        cmocka_unit_test(rows_of_all_shards_are_sorted_and_without_repetition),
        cmocka_unit_test(the_end_of_one_sequence_does_not_hide_the_start_of_the_next),
        cmocka_unit_test(absolute_and_table_relocations_are_refused),
        cmocka_unit_test(names_outside_the_image_are_refused),
        cmocka_unit_test(the_bulk_routines_can_be_called_when_a_shard_has_them),
        cmocka_unit_test(a_relocation_must_lie_in_its_section_and_reach_its_target),
        cmocka_unit_test(writable_and_thread_local_sections_are_refused),
        cmocka_unit_test(sections_that_are_not_loaded_do_not_matter),
        cmocka_unit_test(a_function_must_be_defined_once_inside_text),
        cmocka_unit_test(everything_the_module_needs_must_be_there),
        cmocka_unit_test(equal_objects_give_equal_images),
        cmocka_unit_test(an_object_cut_off_anywhere_is_refused),
        cmocka_unit_test(no_changed_byte_makes_the_merge_misbehave),
    };
    return cmocka_run_group_tests(tests, module_open, module_close);
}
